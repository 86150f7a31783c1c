//! The `connection` family: what the server says to one connection about itself. Never logged, never shared.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::open::MAX_INTEGER;
use crate::{
    address::{Audience, Target},
    claims::Permission,
    error::ErrorCode,
    id::{ConnectionId, Epoch, Position, SessionId, UserId},
    time::Time,
};

/// The first event of every connection: who you are, what you may do, and the limits you live under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Welcome {
    /// Id of this connection, made by the server.
    pub connection_id: ConnectionId,
    /// Version of the protocol, `v1`.
    pub protocol: String,
    /// Name of the history that sequence numbers belong to. Send it back when you resume.
    pub epoch: Epoch,
    /// Name and version of the server, for instance `eventwire/0.1.0`.
    pub server: String,
    /// The server's clock.
    pub server_time: Time,
    /// Your browser session, if you came with its cookie; else the context that you came for by the path, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Who you are, if you are known by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// What you may do beyond receiving.
    pub permissions: Vec<Permission>,
    /// When your credentials end. Send `authenticate` with newer ones before that; a few seconds after it the connection is
    /// closed with 4001. Absent when they have no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Milliseconds between two `connection.heartbeat` events.
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub heartbeat_interval_ms: u64,
    /// The limits of this connection.
    pub limits: ConnectionLimits,
}

/// The limits of one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConnectionLimits {
    /// Largest frame you may send, in bytes.
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub max_frame_bytes: u64,
    /// How many targets you may be subscribed to.
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub max_subscriptions: u64,
    /// Commands per second, sustained.
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub commands_per_second: u64,
    /// Commands that may come at once after a pause.
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub command_burst: u64,
    /// New targets per second that you may subscribe to, sustained. A target counts unless you receive it already and ask
    /// for nothing older of it. Absent when the server does not count targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub targets_per_second: Option<u64>,
    /// New targets that you may subscribe to at once after a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub target_burst: Option<u64>,
}

/// The answer to `ping`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pong {
    /// The `id` of the command this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// What the command said in `client_time`, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_time: Option<Value>,
    /// The server's clock.
    pub server_time: Time,
}

/// Sent at a fixed interval, so that you notice a dead connection and a lost tail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Heartbeat {
    /// The server's clock.
    pub server_time: Time,
    /// How many connections the server has.
    #[schemars(range(max = MAX_INTEGER))]
    pub active_connections: u64,
    /// `healthy`, or `draining` when the server is about to stop.
    pub server_status: String,
    /// How far each of your streams has been sent. If you are behind one of these, you lost its tail.
    pub positions: Vec<StreamPosition>,
}

/// How far one stream reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StreamPosition {
    /// The stream.
    pub to: Target,
    /// Its last sequence number that was sent to you.
    pub seq: Position,
}

/// The answer to `subscribe`: what you now receive and what was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Subscribed {
    /// The `id` of the command this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// Name of the history that sequence numbers belong to.
    pub epoch: Epoch,
    /// The targets that were accepted.
    pub streams: Vec<SubscribedStream>,
    /// The targets that were refused.
    pub refused: Vec<RefusedStream>,
}

/// One accepted target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SubscribedStream {
    /// The target.
    pub to: Target,
    // Not that of the target, which would count private messages (AUTH-16).
    /// The highest sequence number of the history, 0 for none.
    pub head: Position,
}

/// One refused target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RefusedStream {
    /// The target as you wrote it.
    pub to: String,
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people.
    pub message: String,
}

/// The answer to `unsubscribe`, also sent when a permission was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Unsubscribed {
    /// The `id` of the command this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// The targets you no longer receive.
    pub streams: Vec<UnsubscribedStream>,
}

/// One target that is no longer received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UnsubscribedStream {
    /// The target.
    pub to: Target,
}

/// Older events of a stream follow, until `connection.recovered`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Replaying {
    /// The stream.
    pub stream: Target,
    /// The replay holds what comes after this position.
    pub from: Position,
}

/// The replay of a stream is complete; what follows is live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Recovered {
    /// The stream.
    pub stream: Target,
    /// How many events were replayed.
    #[schemars(range(max = MAX_INTEGER))]
    pub recovered: u64,
    /// The stream is complete up to this position.
    pub upto: Position,
}

/// Events of a stream that you can no longer get. Load the present state from where it is kept. With the reason `expired` and
/// without numbers, newest values are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gap {
    /// The stream that has the gap.
    pub stream: String,
    /// Why.
    pub reason: GapReason,
    /// First sequence number that may be missing. Absent when the history is another one, or newest values are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_seq: Option<Position>,
    /// Last sequence number that may be missing. Absent when the history is another one, or newest values are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_seq: Option<Position>,
}

/// Why events cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// They were older than the history keeps.
    Expired,
    /// The connection was so slow that the history dropped them before they could be sent.
    SlowConsumer,
    /// The position belongs to another history, for instance from before a restart.
    EpochChanged,
    /// A reason of a later version, as a reader of this one sees it. Never sent.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Something you sent was refused. Nobody else sees this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Error {
    /// What went wrong, as a word that programs compare.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do, in one line.
    pub message: String,
    /// The `id` of the command this answers, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// Whether the same command may succeed later.
    pub retryable: bool,
    /// Wait so many milliseconds before you try again; absent when there is nothing to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = MAX_INTEGER))]
    pub retry_after_ms: Option<u64>,
    /// More about it, for people; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Map<String, Value>>,
}

/// The answer to a command that has no event of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reply {
    /// The `id` of the command this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// The answer, in the form of whoever gave it; free form.
    pub data: Map<String, Value>,
}

/// The server is about to close this connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Closing {
    /// Why, for people.
    pub reason: String,
    /// The code that the connection is closed with, for transports whose end has none. What to do then stands in the table
    /// of close codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1000, max = 4999))]
    pub code: Option<u16>,
    /// Come back after so many milliseconds; absent when you should not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = MAX_INTEGER))]
    pub reconnect_after_ms: Option<u64>,
}

/// The stream name of a gap in a part of an audience.
impl From<&Audience> for Gap {
    fn from(audience: &Audience) -> Self {
        Self { stream: audience.to_string(), reason: GapReason::Expired, from_seq: None, to_seq: None }
    }
}

/// One complete payload for each event of the family, by name.
pub fn examples() -> Vec<(&'static str, Value)> {
    use serde_json::json;
    vec![
        (
            "welcome",
            json!({
                "connection_id": "c00000000000000ff", "protocol": "v1", "epoch": "9f3a77c2d1e05b64",
                "server": "eventwire/0.1.0", "server_time": "2026-11-20T23:40:01.123456Z", "user_id": "maria",
                "session_id": "~0123456789abcdef0123456789abcdef", "permissions": ["observe"],
                "expires_at": "2026-11-21T00:40:01Z",
                "heartbeat_interval_ms": 30000,
                "limits": {
                    "max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 32, "command_burst": 64,
                    "targets_per_second": 256, "target_burst": 1024,
                },
            }),
        ),
        ("pong", json!({"re": "7", "client_time": 1763682001123_u64, "server_time": "2026-11-20T23:40:01.123456Z"})),
        (
            "heartbeat",
            json!({
                "server_time": "2026-11-20T23:40:31Z", "active_connections": 3, "server_status": "healthy",
                "positions": [{"to": "adw:29fb6a3e", "seq": 4711}],
            }),
        ),
        (
            "subscribed",
            json!({
                "re": "1", "epoch": "9f3a77c2d1e05b64", "streams": [{"to": "adw:29fb6a3e", "head": 4711}],
                "refused": [{"to": "room:staff", "code": "forbidden", "message": "your credentials do not reach room:staff"}],
            }),
        ),
        ("unsubscribed", json!({"re": "2", "streams": [{"to": "adw:29fb6a3e"}]})),
        ("replaying", json!({"stream": "adw:29fb6a3e", "from": 4702})),
        ("recovered", json!({"stream": "adw:29fb6a3e", "recovered": 2, "upto": 4711})),
        ("gap", json!({"stream": "adw:29fb6a3e", "reason": "expired", "from_seq": 4100, "to_seq": 4388})),
        (
            "error",
            json!({
                "code": "rate_limited", "message": "more than 32 commands a second; wait 250 ms", "re": "9",
                "retryable": true, "retry_after_ms": 250, "details": {"limit": "commands"},
            }),
        ),
        ("reply", json!({"re": "4", "data": {"accepted": true}})),
        ("closing", json!({"reason": "the server restarts", "code": 1012, "reconnect_after_ms": 1800})),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ver_02_a_reason_of_a_later_version_is_read() {
        let gap: Gap = serde_json::from_str(r#"{"stream":"*","reason":"from_the_future"}"#).unwrap();
        assert_eq!(gap.reason, GapReason::Unknown);
        assert_eq!(serde_json::to_value(GapReason::EpochChanged).unwrap(), "epoch_changed");
    }
}
