//! Commands that are not the server's to answer: chat turns, edits, workflows to be started (CMD-09).
//!
//! A client of an older system asks its application through the same socket that it listens on. The server hands what was
//! asked to a back end; the answers come back as published events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{ConnectionId, SessionId, UserId},
    time::Time,
};

/// Something a client asks of the application behind the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ApplicationCommand {
    /// Tells commands apart. A command is brought at least once; a back end that must not act twice remembers this.
    pub id: String,
    /// When it came, RFC 3339.
    pub time: Time,
    /// The dialect that it was asked in: `monadic`, `product`, `amiga`, `shared_context` or `adw`.
    pub dialect: String,
    /// What is asked, as the system of the dialect calls it: `EDIT`, `trigger_workflow`.
    pub name: String,
    /// Who asks. An answer that concerns nobody else is published to `connection:<this>`.
    pub connection_id: ConnectionId,
    /// The session of who asks: a browser session, or the context that was joined by the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The user who asks, where somebody is known by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Whether it overtakes what waits: to cancel is of no use behind what is to be cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// The members of the frame, without the one that names the command.
    pub data: Map<String, Value>,
}

impl ApplicationCommand {
    /// What it keeps its place in: commands of one session are brought in order, those of a connection without one too.
    pub fn lane(&self) -> String {
        match &self.session_id {
            Some(session) => session.to_string(),
            None => self.connection_id.to_string(),
        }
    }
}
