//! Payloads of the `context` family: agents and people who share a context, which comes from the Shared Context Server.
//!
//! A message says in `visibility` who may see it. Admission reads that word and nothing else decides
//! (ROUTE-04): a private message is on a stream of its own, which the others in the context do not receive. The list of
//! words is closed, because each of them grants something.
//!
//! The context itself is the audience of an event, so payloads name it only in answers to one connection. Agents and
//! people have one kind of id: whoever takes part is known by the name they are authenticated under.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    AnyValue,
    open::{MAX_INTEGER, closed_enum, open_enum},
};
use crate::{
    address::Visibility,
    id::{SessionId, UserId},
    time::Time,
};

// ---------------------------------------------------------------------------------------------------------------
// Words
// ---------------------------------------------------------------------------------------------------------------

closed_enum! {
    /// Who in the context may see a message.
    pub enum MessageVisibility {
        /// Everyone in it.
        Public = "public",
        /// The sender alone.
        Private = "private",
        /// The agents in it, and the sender.
        AgentOnly = "agent_only",
    }
}

open_enum! {
    /// What kind of message it is.
    pub enum MessageType {
        /// What an agent has to say.
        AgentResponse = "agent_response",
        /// What a person has to say.
        HumanInput = "human_input",
        /// How something stands.
        SystemStatus = "system_status",
        /// What a tool has put out.
        ToolOutput = "tool_output",
        /// Who does what.
        Coordination = "coordination",
    }
}

// ---------------------------------------------------------------------------------------------------------------
// What happens in a context
// ---------------------------------------------------------------------------------------------------------------

/// A message was added to the context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NewMessage {
    /// Number of the message; it grows within the context. Ask for what comes after the last one you hold.
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub id: u64,
    /// Who wrote it.
    pub sender: UserId,
    /// The text; 100,000 characters at most. Plain text from outside: show it as text, never as markup.
    pub content: String,
    /// Who may see it. You receive it because you may.
    pub visibility: MessageVisibility,
    /// What kind of agent the sender is, for instance `claude`. Any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_type: Option<String>,
    /// What kind of message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<MessageType>,
    /// Number of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub parent_message_id: Option<u64>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// ROUTE-04: the part of its session that may see a message.
pub(crate) fn visibility_of(message: &NewMessage) -> Visibility {
    message.visibility.of(&message.sender)
}

impl MessageVisibility {
    /// The part of a session that may see a message of this sender (ROUTE-04).
    pub fn of(self, sender: &UserId) -> Visibility {
        match self {
            Self::Public => Visibility::Public,
            Self::Private => Visibility::Private(sender.clone()),
            Self::AgentOnly => Visibility::AgentOnly(sender.clone()),
        }
    }
}

/// Something about the context itself has changed, as it stands now. A newer one replaces an older one. Not sent for
/// every message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionUpdate {
    /// Who changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<UserId>,
    /// How many messages the context has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub message_count: Option<u64>,
}

/// An agent has written something into its memory of this context. Everyone in the context is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemoryUpdate {
    /// The agent.
    pub agent_id: UserId,
    /// What the value is called; 255 characters at most. The newest value of an agent and a key is the one that counts.
    pub key: String,
    /// The value, in the agent's own form.
    pub value: AnyValue,
    /// When the agent first wrote a value of this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
}

/// Somebody is writing a message, or has stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Typing {
    /// Who.
    pub agent_id: UserId,
    /// True while they are writing.
    pub is_typing: bool,
}

// ---------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------

/// The answer to the wish for the messages of a context that came after a number: those that the asker may see, oldest
/// first. There may be more than one answer holds; ask again from the last number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Messages {
    /// The `id` of the command this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// The context.
    pub session_id: SessionId,
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// The number that was asked from; absent when all messages were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub since_id: Option<u64>,
    /// True when messages that were asked for are no longer kept. Absent when nothing is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
}

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StoredMessage {
    /// Number of the message; it grows within the context.
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub id: u64,
    /// When it was added.
    pub time: Time,
    /// Who wrote it.
    pub sender: UserId,
    /// The text; 100,000 characters at most. Plain text from outside: show it as text, never as markup.
    pub content: String,
    /// Who may see it.
    pub visibility: MessageVisibility,
    /// What kind of agent the sender is, for instance `claude`. Any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_type: Option<String>,
    /// What kind of message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<MessageType>,
    /// Number of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub parent_message_id: Option<u64>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl StoredMessage {
    /// A message as it was published, with the time of its event.
    pub fn new(message: NewMessage, time: Time) -> Self {
        let NewMessage { id, sender, content, visibility, sender_type, message_type, parent_message_id, metadata } =
            message;
        Self { id, time, sender, content, visibility, sender_type, message_type, parent_message_id, metadata }
    }

    /// The part of its session that may see it (ROUTE-04).
    pub fn seen_by(&self) -> Visibility {
        self.visibility.of(&self.sender)
    }
}

/// The answer to the wish to know about a context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionInfo {
    /// The `id` of the command this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// The context.
    pub session_id: SessionId,
    /// Whether messages are still added to it.
    pub is_active: bool,
    /// What it is for, 1,000 characters at most. Plain text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<UserId>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When something about it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Time>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

// ---------------------------------------------------------------------------------------------------------------
// Examples
// ---------------------------------------------------------------------------------------------------------------

/// One complete payload for each event of the family, by name.
pub fn examples() -> Vec<(&'static str, Value)> {
    vec![
        (
            "new_message",
            json!({
                "id": 43, "sender": "claude-main", "content": "The database schema is ready for review.",
                "visibility": "public", "sender_type": "claude", "message_type": "agent_response",
                "parent_message_id": 42, "metadata": { "component": "database" },
            }),
        ),
        ("session_update", json!({ "agent_id": "claude-main", "message_count": 12 })),
        (
            "memory_update",
            json!({
                "agent_id": "claude-main", "key": "plan", "value": { "next": "review" },
                "created_at": "2026-11-20T23:12:00Z",
            }),
        ),
        ("typing", json!({ "agent_id": "claude-main", "is_typing": true })),
        (
            "messages",
            json!({
                "re": "5", "session_id": "planning", "since_id": 41, "truncated": true,
                "messages": [{
                    "id": 42, "time": "2026-11-20T23:35:00Z", "sender": "maria", "content": "How far are you?",
                    "visibility": "public", "sender_type": "human", "message_type": "human_input",
                    "parent_message_id": 40, "metadata": { "component": "database" },
                }],
            }),
        ),
        (
            "session_info",
            json!({
                "re": "6", "session_id": "planning", "is_active": true, "purpose": "Plan the new login page",
                "created_by": "maria", "created_at": "2026-11-20T22:00:00Z", "updated_at": "2026-11-20T23:35:00Z",
                "metadata": { "project": "shop" },
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(visibility: &str) -> serde_json::Result<NewMessage> {
        serde_json::from_value(json!({ "id": 1, "sender": "u", "content": "", "visibility": visibility }))
    }

    #[test]
    fn a_word_that_grants_something_is_one_of_three() {
        let sender: UserId = "u".parse().unwrap();
        assert_eq!(visibility_of(&message("public").unwrap()), Visibility::Public);
        assert_eq!(visibility_of(&message("private").unwrap()), Visibility::Private(sender.clone()));
        assert_eq!(visibility_of(&message("agent_only").unwrap()), Visibility::AgentOnly(sender));
        for word in ["admin_only", "Public", "", "public ", "AGENT_ONLY", "everyone"] {
            assert!(message(word).is_err(), "{word:?}");
        }
    }
}
