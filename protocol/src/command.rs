//! What clients may ask (CMD-01). A command has the shape of an event: `type`, `data`, and an `id` that replies echo.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    error::{ErrorBody, ErrorCode},
    frame::read_document,
    id::{Epoch, Position},
    limits,
};

/// Something a client asks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Answer with `connection.pong`.
    Ping(Ping),
    /// Receive these targets, from these positions on.
    Subscribe(Subscribe),
    /// No longer receive these targets.
    Unsubscribe(Unsubscribe),
    /// Go on with these credentials.
    Authenticate(Authenticate),
}

/// Asks for `connection.pong`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// A number or a text, usually your clock; the answer carries it unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_time: Option<Value>,
}

/// Asks to receive targets, and to get what was missed of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// The history that the positions belong to, as `connection.welcome` named it. Needed when a `since` is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The targets, at most 256. Each is accepted or refused on its own.
    #[schemars(length(min = 1, max = limits::MAX_SUBSCRIPTIONS))]
    pub streams: Vec<Wanted>,
}

/// One wanted target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The target: `adw:<id>`, `room:<name>`, `session:<id>`, `user:<id>`, `global`, or `*` for all you may observe.
    pub to: String,
    /// The last sequence number you hold of this target, 0 for none: you get everything after it that is still kept.
    /// Without it you get what happens from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Position>,
}

/// Asks to no longer receive targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    /// The targets, at most 256.
    #[schemars(length(min = 1, max = limits::MAX_SUBSCRIPTIONS))]
    pub streams: Vec<Unwanted>,
}

/// One target that is no longer wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unwanted {
    /// The target, as it was subscribed.
    pub to: String,
}

/// Replaces the credentials of the connection without closing it.
#[derive(Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authenticate {
    /// The new token.
    pub token: String,
}

impl std::fmt::Debug for Authenticate {
    /// Never prints the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticate(..)")
    }
}

/// A command with the id that its reply echoes.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// At most 128 characters.
    pub id: Option<String>,
    /// What is asked.
    pub command: Command,
}

/// A frame that is no command, with its `id` if that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// The `id` of the frame.
    pub re: Option<String>,
    /// What is wrong.
    pub error: ErrorBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandFrame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Request {
    /// Reads one frame of a client.
    ///
    /// # Errors
    /// The error to answer with: everything of [`read_document`], `unknown_command`, `invalid_payload`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let anonymous = |error| Reject { re: None, error };
        let text = &*read_document(bytes, limits::MAX_COMMAND_BYTES).map_err(anonymous)?;
        let frame: CommandFrame<'_> = serde_json::from_str(text).map_err(|error| {
            anonymous(ErrorBody::new(
                ErrorCode::MalformedFrame,
                format!("not a command, which is {{\"type\", \"id\"?, \"data\"?}}: {error}"),
            ))
        })?;
        let id = match frame.id {
            Some(id) if id.chars().count() > limits::MAX_COMMAND_ID_CHARACTERS => {
                return Err(anonymous(ErrorBody::new(
                    ErrorCode::InvalidId,
                    format!("id must be at most {} characters long", limits::MAX_COMMAND_ID_CHARACTERS),
                )));
            }
            id => id.map(Cow::into_owned),
        };
        match Command::decode(&frame.kind, frame.data) {
            Ok(command) => Ok(Self { id, command }),
            Err(error) => Err(Reject { re: id, error }),
        }
    }
}

impl Command {
    fn decode(kind: &str, data: Option<&RawValue>) -> Result<Self, ErrorBody> {
        fn body<'a, T: Deserialize<'a>>(kind: &str, data: Option<&'a RawValue>) -> Result<T, ErrorBody> {
            serde_json::from_str(data.map_or("{}", RawValue::get))
                .map_err(|error| ErrorBody::new(ErrorCode::InvalidPayload, format!("data of {kind}: {error}")))
        }
        let command = match kind {
            "ping" => Self::Ping(body(kind, data)?),
            "subscribe" => Self::Subscribe(body(kind, data)?),
            "unsubscribe" => Self::Unsubscribe(body(kind, data)?),
            "authenticate" => Self::Authenticate(body(kind, data)?),
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(ErrorBody::new(
                    ErrorCode::UnknownCommand,
                    format!("no command {shown:?}; there are ping, subscribe, unsubscribe, authenticate"),
                ));
            }
        };
        let targets = match &command {
            Self::Ping(Ping { client_time: Some(time) }) if !time.is_number() && !time.is_string() => {
                return Err(ErrorBody::new(
                    ErrorCode::InvalidPayload,
                    "data of ping: client_time must be a number or a text",
                ));
            }
            Self::Subscribe(subscribe) => subscribe.streams.len(),
            Self::Unsubscribe(unsubscribe) => unsubscribe.streams.len(),
            _ => return Ok(command),
        };
        if targets == 0 || targets > limits::MAX_SUBSCRIPTIONS {
            return Err(ErrorBody::new(
                ErrorCode::TooManySubscriptions,
                format!("{kind} takes 1 to {} streams, not {targets}", limits::MAX_SUBSCRIPTIONS),
            ));
        }
        Ok(command)
    }

    /// The command's `type`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Authenticate(_) => "authenticate",
        }
    }

    /// Writes the command as a client sends it.
    ///
    /// # Errors
    /// What serde_json says; commands have none.
    pub fn encode(&self, id: Option<&str>) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Out<'a, T> {
            #[serde(rename = "type")]
            kind: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            data: &'a T,
        }
        fn write<T: Serialize>(kind: &'static str, id: Option<&str>, data: &T) -> serde_json::Result<String> {
            serde_json::to_string(&Out { kind, id, data })
        }
        match self {
            Self::Ping(data) => write(self.name(), id, data),
            Self::Subscribe(data) => write(self.name(), id, data),
            Self::Unsubscribe(data) => write(self.name(), id, data),
            Self::Authenticate(data) => write(self.name(), id, data),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Option<String>, ErrorCode) {
        let reject = Request::decode(text.as_bytes()).unwrap_err();
        (reject.re, reject.error.code)
    }

    #[test]
    fn cmd_01_commands_read_back_as_written() {
        let epoch = Some("9f3a77c2d1e05b64".parse().unwrap());
        let wanted = Wanted { to: "adw:29fb6a3e".into(), since: Position::new(7) };
        for command in [
            Command::Ping(Ping { client_time: Some(1.5.into()) }),
            Command::Subscribe(Subscribe { epoch, streams: vec![wanted] }),
            Command::Unsubscribe(Unsubscribe { streams: vec![Unwanted { to: "room:x".into() }] }),
            Command::Authenticate(Authenticate { token: "t".into() }),
        ] {
            let text = command.encode(Some("7")).unwrap();
            let request = Request::decode(text.as_bytes()).unwrap();
            assert_eq!(request, Request { id: Some("7".into()), command });
        }
        assert!(Request::decode(br#"{"type":"ping"}"#).is_ok());
    }

    #[test]
    fn cmd_02_a_bad_command_is_refused_with_its_id_where_that_can_be_read() {
        assert_eq!(refused(r#"{"type":"pong","id":"1"}"#), (Some("1".into()), ErrorCode::UnknownCommand));
        assert_eq!(refused(r#"{"type":"subscribe","id":"2"}"#), (Some("2".into()), ErrorCode::InvalidPayload));
        assert_eq!(
            refused(r#"{"type":"subscribe","id":"3","data":{"streams":[]}}"#),
            (Some("3".into()), ErrorCode::TooManySubscriptions)
        );
        assert_eq!(refused(r#"{"type":"ping","data":{"x":1}}"#), (None, ErrorCode::InvalidPayload));
        let nested = r#"{"type":"ping","id":"4","data":{"client_time":{"a":1}}}"#;
        assert_eq!(refused(nested), (Some("4".into()), ErrorCode::InvalidPayload));
        assert_eq!(refused("ping"), (None, ErrorCode::MalformedFrame));
        assert_eq!(refused(r#"{"type":"ping","id":7}"#), (None, ErrorCode::MalformedFrame));
        assert_eq!(refused(r#"{"type":"ping","type":"ping"}"#), (None, ErrorCode::DuplicateKey));
        let of_length = |length: usize| format!(r#"{{"type":"ping","id":"{}"}}"#, "é".repeat(length));
        assert_eq!(refused(&of_length(129)), (None, ErrorCode::InvalidId));
        // Characters are counted, as a schema counts them, and not bytes.
        assert!(Request::decode(of_length(128).as_bytes()).is_ok());
    }

    #[test]
    fn cmd_02_a_token_is_never_printed() {
        let command = Command::Authenticate(Authenticate { token: "secret".into() });
        assert!(!format!("{command:?}").contains("secret"));
    }
}
