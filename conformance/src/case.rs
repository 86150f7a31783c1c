//! The case format: what a case file may say. Cases are data, so that an implementation in any language can run them;
//! `cases.schema.json` says the same for readers who do not know Rust.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One file of cases: everything about one topic.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Name of the schema, for editors. Not read.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The topic, one word.
    pub topic: String,
    /// What the cases of this file have in common, in a sentence.
    pub about: String,
    /// The cases, in the order in which they run.
    pub cases: Vec<Case>,
}

/// One check of one rule.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `<rule>-<slug>`: the same for pass and fail, never reused.
    pub id: String,
    /// The rule of `docs/spec` that this case holds an implementation to.
    pub rule: String,
    /// Whether breaking it is a failure or a warning.
    pub level: Level,
    /// The claim, in a sentence.
    pub title: String,
    /// What the target must offer. A target that lacks it fails the case, it does not skip it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// What is done and expected, in order.
    pub steps: Vec<Step>,
}

/// How much a case weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A broken rule: the run fails.
    Must,
    /// A recommendation that is not followed: a warning.
    Should,
}

/// What a case asks of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A server that speaks WebSocket, below the level of text frames.
    Websocket,
    /// A server that speaks server-sent events.
    Sse,
    /// A server that answers HTTP requests.
    Http,
    /// The API keys of `principals.json` are known to the server.
    Keys,
}

impl Need {
    /// The word used in case files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Need::Websocket => "websocket",
            Need::Sse => "sse",
            Need::Http => "http",
            Need::Keys => "keys",
        }
    }
}

/// One step of a case.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Opens a connection.
    Connect(Connect),
    /// Sends `subscribe` and expects every target accepted, unless `refused` says otherwise.
    Subscribe(Subscribe),
    /// Sends `unsubscribe` and expects it confirmed.
    Unsubscribe(Unsubscribe),
    /// Sends a command and expects its reply.
    Command(Command),
    /// Sends bytes that need not be a command.
    Raw(Raw),
    /// Publishes one event, or the same one several times.
    Publish(Publish),
    /// The next frames of a client, in order and without others between them.
    Expect(Expect),
    /// Takes frames, whatever they are, up to one that matches, or until so many logged ones were seen.
    ReadUntil(ReadUntil),
    /// Takes everything that a client still has to get, whatever it is.
    ReadAll(ClientName),
    /// A client has nothing: proven by a fence, an event sent to that connection alone after everything else.
    ExpectNothing(ExpectNothing),
    /// Cuts a connection without a goodbye.
    Drop(ClientName),
    /// Opens a dropped connection again, as the same client.
    Reconnect(Reconnect),
    /// The server closes the connection.
    Closed(Closed),
    /// An HTTP request and its answer.
    Http(Http),
    /// A relation between two remembered numbers.
    Compare(Compare),
    /// The logged frames of one stream that a client has seen, across its connections, form an unbroken chain.
    Chain(Chain),
    /// Several clients have seen the same logged frames of a stream.
    SameHistory(SameHistory),
    /// The parts of a text that a client has seen, put together, are that text, however many frames it came in.
    Joined(Joined),
}

impl Step {
    /// The word that names the step in a case file.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Connect(_) => "connect",
            Step::Subscribe(_) => "subscribe",
            Step::Unsubscribe(_) => "unsubscribe",
            Step::Command(_) => "command",
            Step::Raw(_) => "raw",
            Step::Publish(_) => "publish",
            Step::Expect(_) => "expect",
            Step::ReadUntil(_) => "read_until",
            Step::ReadAll(_) => "read_all",
            Step::ExpectNothing(_) => "expect_nothing",
            Step::Drop(_) => "drop",
            Step::Reconnect(_) => "reconnect",
            Step::Closed(_) => "closed",
            Step::Http(_) => "http",
            Step::Compare(_) => "compare",
            Step::Chain(_) => "chain",
            Step::SameHistory(_) => "same_history",
            Step::Joined(_) => "joined",
        }
    }
}

/// See [`Step::Connect`]. The welcome, and the `subscribed` that answers an initial set, are taken off unless `greeting` is
/// given.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// The name by which later steps call it.
    pub client: String,
    /// The principal whose key is presented; `operator` when absent, nobody when `nobody`.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Which transport; the target's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// ADW ids of the initial set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adw: Vec<String>,
    /// Contexts of the initial set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// Rooms of the initial set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub room: Vec<String>,
    /// Ask for everything an observer may see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observe: bool,
    /// Begin at the last cursor of this other client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_from: Option<String>,
    /// Begin at this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Show this ticket, which an earlier step bought. Beside it a key is shown only if `as` names somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The first frames, when the case is about them; nothing is taken off then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<Vec<Value>>,
    /// The connection is refused with this error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The transport of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// `/v1/ws`.
    Websocket,
    /// `/v1/sse`.
    Sse,
}

/// A target of `subscribe`: bare, or with the position to continue from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Target {
    /// An audience text, or `*`.
    Bare(String),
    /// With a position.
    Since(SinceTarget),
}

/// An audience with the position to continue from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SinceTarget {
    /// An audience text, or `*`.
    pub to: String,
    /// The last `seq` already seen: a number, or the name of a remembered one.
    pub since: Value,
}

/// See [`Step::Subscribe`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Who subscribes.
    pub client: String,
    /// To what.
    pub to: Vec<Target>,
    /// The epoch the positions belong to; the one of the welcome when absent and a position is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Targets that are refused, with the error code of each. All others must be accepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, String>,
}

/// See [`Step::Unsubscribe`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    /// Who unsubscribes.
    pub client: String,
    /// From what.
    pub to: Vec<String>,
}

/// See [`Step::Command`]. An `id` is added when the case gives none; the reply is the frame whose `data.re` is that id.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Who sends it.
    pub client: String,
    /// The whole command frame.
    pub send: Value,
    /// What the reply matches.
    pub reply: Value,
}

/// See [`Step::Raw`]. Exactly one of `text`, `hex`, `binary` is given.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Who sends it.
    pub client: String,
    /// A text frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Bytes sent as a text frame, in hexadecimal; they need not be UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// Bytes sent as a binary frame, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// Repeats `text` between `before` and `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<usize>,
    /// Sends the frame this many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// Stands before the repeated text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Stands after the repeated text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// See [`Step::Publish`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The principal who publishes; `operator` when absent.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The item as a publisher writes it: `type`, `to`, `data`, and what else.
    pub event: Value,
    /// Publishes it this many times; `${n}` counts from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What comes of it; accepted when absent.
    #[serde(default, skip_serializing_if = "Published::is_accepted")]
    pub expect: Published,
    /// Remembers the `seq` under this name, the last one when `times` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remember: Option<String>,
}

/// The outcome of publishing one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Published {
    /// Accepted.
    #[default]
    Accepted,
    /// Refused with this error code, and delivered to nobody.
    Error(String),
}

impl Published {
    fn is_accepted(&self) -> bool {
        *self == Published::Accepted
    }
}

/// See [`Step::Expect`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Whose frames.
    pub client: String,
    /// Patterns, see `matching`. `{"$repeat": n, "$frame": {..}}` stands for n frames, with `${n}` counting from 1 or from
    /// `$from`.
    pub frames: Vec<Value>,
    /// The order among them is free.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_order: bool,
}

/// See [`Step::ReadUntil`]. One of `frame` and `count` is given. What was taken can be looked at by `chain`,
/// `same_history` and `joined`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReadUntil {
    /// Whose frames.
    pub client: String,
    /// Up to a frame that matches this pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Value>,
    /// Until the client has seen so many logged frames in all of its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// See [`Step::ExpectNothing`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectNothing {
    /// Whose mailbox; every connected client when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// A step that names a client and nothing else.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientName {
    /// Which client.
    pub client: String,
}

/// See [`Step::Reconnect`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reconnect {
    /// Which client.
    pub client: String,
    /// Continue where it stopped: on WebSocket one `subscribe` with every position it has, on SSE `Last-Event-ID`.
    #[serde(default)]
    pub resume: bool,
}

/// See [`Step::Closed`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Which client.
    pub client: String,
    /// The close code; 1006 for an end without one.
    pub code: u16,
    /// Takes what came before it, whatever it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discard: bool,
}

/// See [`Step::Http`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The principal whose key is presented; `operator` when absent, nobody when `nobody`.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers beside those that every request has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A JSON body, with its content type unless `headers` names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// A body that is not JSON, or not only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_text: Option<String>,
    /// A body in hexadecimal, which need not be text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_hex: Option<String>,
    /// Repeats `body_text` this many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<usize>,
    /// Sends only the first half of the body, and hangs up. Nothing is expected then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub half: bool,
    /// The expected status. Required unless `half`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The expected code of the error body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the body matches.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub body_match: Option<Value>,
    /// Headers that the answer has, compared without regard to case; the value must contain the given text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answer_headers: BTreeMap<String, String>,
}

/// See [`Step::Compare`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// A number.
    pub left: Value,
    /// The relation that must hold.
    pub is: Relation,
    /// A number.
    pub right: Value,
}

/// A relation between numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Less.
    Less,
    /// Equal.
    Equal,
    /// Greater.
    Greater,
}

/// See [`Step::Chain`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Whose frames.
    pub client: String,
    /// Of which stream: the exact `to`.
    pub to: String,
    /// How many.
    pub count: usize,
    /// The `prev` of the first one; not looked at when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// See [`Step::SameHistory`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SameHistory {
    /// Whose frames.
    pub clients: Vec<String>,
    /// Of which stream: the exact `to`.
    pub to: String,
    /// How many each has.
    pub count: usize,
}

/// See [`Step::Joined`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// Whose frames.
    pub client: String,
    /// Of which stream: the exact `to`.
    pub to: String,
    /// Of which type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The member of `data` that holds a part.
    pub field: String,
    /// The whole text.
    pub is: String,
}
