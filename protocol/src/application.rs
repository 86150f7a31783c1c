//! Commands that are not the server's to answer: chat turns, edits, workflows to be started (CMD-09).
//!
//! A client of an older system asks its application through the same socket that it listens on. The server hands what was
//! asked to a back end; the answers come back as published events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    dialect::{Dialect, effects},
    id::{ConnectionId, SessionId, UserId},
    time::Time,
};

/// Work of the application that a person can stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// An answer that is being made: a chat turn, a tool call, a workflow.
    Turn,
    /// Text that is being read aloud.
    Speech,
}

/// What a command does to the work of its session (CMD-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandEffect {
    /// The command keeps its place and is carried out, whatever is cancelled.
    KeepsPlace,
    /// The command begins work, and is withdrawn when that is cancelled.
    Begins(Work),
    /// The command cancels work that was asked for before it, and overtakes what waits.
    Cancels(Work),
}

impl CommandEffect {
    /// The effect of a command, by the table of its dialect. A command that no table names keeps its place.
    pub fn of(dialect: &str, name: &str) -> Self {
        let table = Dialect::from_name(dialect).map_or(&[][..], effects::table);
        table.iter().find(|(of, _)| *of == name).map_or(Self::KeepsPlace, |(_, effect)| *effect)
    }

    /// Whether the command overtakes what waits: a cancellation is of no use behind what it cancels.
    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::Cancels(_))
    }

    /// The work that the command begins, if it begins any.
    pub const fn begins(self) -> Option<Work> {
        match self {
            Self::Begins(work) => Some(work),
            Self::KeepsPlace | Self::Cancels(_) => None,
        }
    }
}

/// What the sender of a command is sent that was taken and that no back end carried out in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnGivenUp {
    /// The error of its dialect.
    Error,
    /// `adw.ticket_notification_response`: an error would reject a workflow that the page waits for (ADW-05).
    TicketResponse,
    /// Nothing: the server did its own part of the command (MON-06, ADW-05).
    Nothing,
}

impl OnGivenUp {
    /// What the sender of a command of a dialect is sent.
    pub fn of(dialect: &str, name: &str) -> Self {
        match (Dialect::from_name(dialect).map(Dialect::family), name) {
            (Some(Dialect::Monadic), "LOAD" | "UPDATE_PARAMS") | (Some(Dialect::Adw), "register_session") => {
                Self::Nothing
            }
            (Some(Dialect::Adw), "ticket_notification") => Self::TicketResponse,
            _ => Self::Error,
        }
    }
}

/// What an urgent command cancels, by the ids of commands of its session that were sent before it (CMD-15).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cancels {
    /// Commands that a back end was brought and whose work may still go on, oldest first. Stop these and no others.
    pub in_work: Vec<String>,
    /// Commands that no back end was brought, oldest first. The server has withdrawn them, and they do not come.
    pub withdrawn: Vec<String>,
    /// Commands whose work had ended before this command was brought, oldest first.
    pub ended: Vec<String>,
    /// Whether nothing is left to cancel: `in_work` and `withdrawn` are empty. Newer work is not meant.
    pub stale: bool,
}

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
    /// What an urgent command cancels, as of this delivery. Every urgent command has it, and no other does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancels: Option<Cancels>,
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

    /// What it does to the work of its session. An urgent command that no table names cancels turns.
    pub fn effect(&self) -> CommandEffect {
        match CommandEffect::of(&self.dialect, &self.name) {
            CommandEffect::KeepsPlace if self.urgent => CommandEffect::Cancels(Work::Turn),
            effect => effect,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(dialect: &str, name: &str, urgent: bool) -> ApplicationCommand {
        serde_json::from_value(json!({
            "id": "a1", "time": "2026-11-20T23:40:01Z", "dialect": dialect, "name": name,
            "connection_id": "c00000000000000ff", "urgent": urgent, "data": {},
        }))
        .unwrap()
    }

    #[test]
    fn cmd_15_an_effect_comes_from_the_table_of_the_dialect() {
        let of = |dialect, name, urgent| command(dialect, name, urgent).effect();
        assert_eq!(of("monadic", "CANCEL", true), CommandEffect::Cancels(Work::Turn));
        assert_eq!(of("monadic", "STOP_TTS", true), CommandEffect::Cancels(Work::Speech));
        assert_eq!(of("monadic", "CHAT", false), CommandEffect::Begins(Work::Turn));
        // A name of another dialect, and a name that no table has.
        assert_eq!(of("adw", "CHAT", false), CommandEffect::KeepsPlace);
        assert_eq!(of("a dialect of an embedder", "stop", false), CommandEffect::KeepsPlace);
        assert_eq!(of("a dialect of an embedder", "stop", true), CommandEffect::Cancels(Work::Turn));
    }

    #[test]
    fn cmd_16_what_is_cancelled_has_four_members_every_time() {
        let plain = serde_json::to_value(command("monadic", "CHAT", false)).unwrap();
        assert_eq!(plain.get("cancels"), None);
        let cancel = ApplicationCommand { cancels: Some(Cancels::default()), ..command("monadic", "CANCEL", true) };
        let written = serde_json::to_value(&cancel).unwrap();
        assert_eq!(written["cancels"], json!({ "in_work": [], "withdrawn": [], "ended": [], "stale": false }));
        assert_eq!(serde_json::from_value::<ApplicationCommand>(written).unwrap(), cancel);
    }
}
