//! The bodies of requests and answers over HTTP: what is asked of a server, and what it says.
//!
//! Pure types. The transports write exactly these, and the published `openapi.json` describes exactly these, so that the
//! two cannot differ (DOC-02). What an event or a publication is stands in [`crate::frame`] and the catalog; what only
//! the older systems have, in [`systems`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    address::{Audience, Target},
    claims::{Permission, Role},
    error::ErrorBody,
    explain::Explanation,
    frame::EventKind,
    id::{AdwId, ConnectionId, Epoch, Seq, SessionId},
    time::Time,
};

pub mod systems;

// ---------------------------------------------------------------------------------------------------------------
// Every path
// ---------------------------------------------------------------------------------------------------------------

/// A request that was refused (HTTP-02).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refused {
    /// Why.
    pub error: ErrorBody,
}

/// That the process lives (HTTP-08). Pages of Shared Context read two members more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Health {
    /// `healthy`: there is no other word, as what is not healthy does not answer.
    #[schemars(extend("const" = "healthy"))]
    pub status: String,
    /// What answers: `eventwire`.
    pub service: String,
    /// Its version.
    pub version: String,
    /// When it answered, by its clock.
    pub timestamp: Time,
    /// Since how long it has been running.
    pub uptime_seconds: u64,
    /// How many connections there are, over all transports and listeners.
    pub active_connections: usize,
    /// Whether WebSockets can be opened: always.
    #[schemars(extend("const" = true))]
    pub websocket_support: bool,
    /// Where its other endpoints are. On a listener of Shared Context only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<systems::ContextEndpoints>,
    /// Where a page opens its socket: at the address that it asked at. On a listener of Shared Context only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<systems::ContextConfig>,
}

/// Whether connections are taken (HTTP-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Ready {
    /// Whether they are, and why not.
    pub status: Readiness,
}

/// Whether a server takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It does.
    Ready,
    /// Not yet: its history does not answer.
    Starting,
    /// No more: it is stopping.
    Draining,
}

// ---------------------------------------------------------------------------------------------------------------
// Publishing
// ---------------------------------------------------------------------------------------------------------------

/// What became of the events of one request, in their order (HTTP-01).
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct PublishResults {
    /// One entry for each event, in the order of the request.
    pub results: Vec<PublishResult>,
    /// What made room of your earlier publications since the last answer that had this member. Absent where nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evicted: Option<Evicted>,
}

/// Entries of one publisher that the server dropped before their time, because its memory for them was used up (LIMIT-10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Evicted {
    /// How many newest values. Receivers that subscribe from now on do not get them; publish them again if they matter.
    pub newest_values: u64,
    /// How many `id`s. An event that is published again under one of them is a new event.
    pub ids: u64,
}

/// What became of one event. `error` is there when it was refused, and only then; of a refused event nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct PublishResult {
    /// What it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventName>,
    /// Whom it is for, as the publisher wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Audience>,
    /// Its number. Events that are not logged have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// An event's type by its name, `<family>.<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventName(pub EventKind);

impl Serialize for EventName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl schemars::JsonSchema for EventName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "The type of an event: `<family>.<name>`. One with a leading `_` is from vendor space.",
            "pattern": "^_?[a-z0-9][a-z0-9_]*\\.[a-z0-9_]+$",
        })
    }
}

/// Asks for the session that a cookie opens (HTTP-12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveSession {
    /// The value of the cookie, 1 to 4,096 bytes. It is not repeated, kept or logged.
    #[schemars(length(min = 1, max = 4096))]
    pub cookie: String,
}

/// The session that a cookie opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ResolvedSession {
    /// Its id; events are addressed to `session:<this>`. The id opens nothing.
    pub session_id: SessionId,
}

// ---------------------------------------------------------------------------------------------------------------
// Credentials
// ---------------------------------------------------------------------------------------------------------------

/// Asks for a ticket; there is nothing to be said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueTicket {}

/// A ticket: it opens one connection as the credentials that it was bought with would (AUTH-12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct IssuedTicket {
    /// What goes into `?ticket=`, once.
    pub ticket: String,
    /// For how many seconds it is good.
    pub expires_in_s: u64,
}

/// Takes back everything that a user was given before (AUTH-13).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeUser {
    /// The user.
    #[schemars(with = "crate::id::UserId")]
    pub user: String,
}

/// Takes back one token or API key (AUTH-13).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Its name, never itself: the `jti` of a token, or the name of an API key.
    #[schemars(length(min = 1, max = 256))]
    pub token: String,
}

/// Takes back everything that was issued before: tokens, logins, tickets and cookies, not API keys (AUTH-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeAll {
    /// Always `true`.
    #[schemars(extend("const" = true))]
    pub all: bool,
}

/// What a revocation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Revoked {
    /// How many connections it closed.
    pub closed: usize,
}

// ---------------------------------------------------------------------------------------------------------------
// Looking and administering
// ---------------------------------------------------------------------------------------------------------------

/// Who is connected (HTTP-06).
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Connections {
    /// The history that positions are of now.
    pub epoch: Epoch,
    /// How many connections there are.
    pub count: usize,
    /// All of them.
    pub connections: Vec<ConnectionInfo>,
}

// As far as the grants of the asker reach (AUTH-16): where they reach a subscription of a connection but not who it is, its
// role, permissions, credentials, address and figures are left out or 0.
/// One row of the list of connections.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ConnectionInfo {
    /// Its id.
    pub connection_id: ConnectionId,
    /// How it spells the protocol.
    pub dialect: &'static str,
    /// Its transport: `websocket`, `sse`, `socketio` or `memory`.
    pub transport: &'static str,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Its browser session (the hash, never the cookie).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Its part in contexts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// The name of its credentials, by which they can be revoked: the `jti` of a token, the name of an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// When its credentials end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// What it asked for.
    pub subscriptions: Vec<Target>,
    /// The peer's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<String>,
    /// What the peer calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Since when.
    pub connected_at: Time,
    /// Frames that wait for its socket.
    pub queued_frames: usize,
    /// Bytes that wait for its socket.
    pub queued_bytes: usize,
    /// Frames handed to its link.
    pub delivered: u64,
    /// Events dropped or not spellable.
    pub dropped: u64,
    /// Whether it is being fed from the log.
    pub lagging: bool,
}

/// Who would receive an event now, and why (HTTP-07).
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Explained {
    /// The type that was asked about.
    #[serde(rename = "type")]
    pub kind: EventName,
    /// The part of the audience that such an event belongs to.
    pub to: Audience,
    /// The number that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// What is decided of each connection.
    pub connections: Vec<Explanation>,
}

// ---------------------------------------------------------------------------------------------------------------
// Agent runs
// ---------------------------------------------------------------------------------------------------------------

/// The agent runs on disk (HTTP-10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentRuns {
    /// Whether the server watches a directory of runs at all.
    pub root: bool,
    /// The runs that the credentials reach.
    pub agents: Vec<AgentRun>,
}

/// One run, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentRun {
    /// Its id.
    pub adw_id: AdwId,
    /// The agents that worked in it, in the order of the workflow.
    pub roles: Vec<String>,
    /// The phases of those agents.
    pub phases: Vec<String>,
    /// Its screenshots, as `<role>/review_img/<file>`.
    pub screenshots: Vec<String>,
    /// Whether it has a state that can be read.
    pub state: bool,
}

/// One run, with its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentRunDetail {
    /// Its id.
    pub adw_id: AdwId,
    /// The agents that worked in it, in the order of the workflow.
    pub roles: Vec<String>,
    /// The phases of those agents.
    pub phases: Vec<String>,
    /// Its screenshots, as `<role>/review_img/<file>`.
    pub screenshots: Vec<String>,
    /// The content of `adw_state.json`, fit to be shown; absent while it cannot be read. Free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Map<String, Value>>,
}

// ---------------------------------------------------------------------------------------------------------------
// Commands for back ends
// ---------------------------------------------------------------------------------------------------------------

/// Acknowledges several commands (CMD-11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The ids of the commands.
    #[schemars(length(max = 1000))]
    pub ids: Vec<String>,
}

/// What became of acknowledgements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Acknowledged {
    /// Commands that were waiting for it. They are not brought again.
    pub acknowledged: Vec<String>,
    /// Ids of which no command was waiting: acknowledged before, given up, or never there.
    pub unknown: Vec<String>,
}
