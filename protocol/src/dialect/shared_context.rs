//! Shared Context: messages under `data`, everything else flat.
//!
//! Its two kinds of client read time differently. The page reckons with the time of a message, so `new_message` says
//! milliseconds; agents, who call tools, and every other frame have ISO 8601 as Python writes it.

mod adopt;
mod ask;

pub(super) use adopt::decode_event;
pub use adopt::{MAX_CONTENT_CHARS, session_info, stored_message};
pub use ask::{
    Asked, Fault, Form, MAX_FRAME_BYTES, Refused, Tool, context_id, decode, error, failure, initialized,
    messages_result, no_messages, session_info_result, subscribed, subscribed_result,
};

use serde_json::{Map, Value, json};

use crate::{
    address::{Audience, Target},
    catalog::{Event, EventType},
    envelope::Envelope,
    event::{
        connection::{Subscribed, Welcome},
        context::{MemoryUpdate, Messages, NewMessage, SessionInfo, StoredMessage},
    },
    id::SessionId,
    time::Time,
};

/// What its clients can be told of. That somebody is writing was planned in the system of origin; its clients ignore types
/// that they do not know.
pub(super) const SUPPORTED: &[EventType] = &[
    EventType::ConnectionWelcome,
    EventType::ConnectionPong,
    EventType::ConnectionSubscribed,
    EventType::ConnectionError,
    EventType::ConnectionReply,
    EventType::ContextNewMessage,
    EventType::ContextSessionUpdate,
    EventType::ContextMemoryUpdate,
    EventType::ContextTyping,
    EventType::ContextMessages,
    EventType::ContextSessionInfo,
];

/// The event as its clients read it.
pub(super) fn encode(event: &Event, envelope: &Envelope) -> Option<Value> {
    let frame = match event {
        Event::ConnectionWelcome(welcome) => connected(welcome),
        Event::ConnectionPong(_) => json!({"type": "pong"}),
        Event::ConnectionSubscribed(subscribed) => answer_to_subscribe(subscribed),
        Event::ConnectionError(error) => json!({"type": "error", "message": error.message}),
        Event::ConnectionReply(reply) => json!({"type": "tool_result", "id": reply.re, "result": reply.data}),
        // T1: the page's own reckoning.
        Event::ContextNewMessage(message) => {
            new_message(message, envelope.time().as_unix_micros().div_euclid(1000).into())
        }
        Event::ContextSessionUpdate(update) => json!({
            "type": "session_update",
            "session_id": session_of(envelope)?,
            "agent_id": update.agent_id,
            "timestamp": iso(envelope.time()),
            "message_count": update.message_count,
        }),
        Event::ContextMemoryUpdate(update) => memory_update(update, session_of(envelope)?, envelope.time()),
        Event::ContextTyping(typing) => json!({
            "type": "typing",
            "session_id": session_of(envelope)?,
            "agent_id": typing.agent_id,
            "is_typing": typing.is_typing,
            "timestamp": iso(envelope.time()),
        }),
        Event::ContextMessages(messages) => get_messages(messages),
        Event::ContextSessionInfo(info) => get_session_info(info),
        _ => return None,
    };
    Some(without_absent(frame))
}

/// The members without those that the event does not have: null is a value to these clients.
fn without_absent(mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, value| !value.is_null());
    }
    object
}

/// The context that an event is for, whichever part of it may see the event.
fn session_of(envelope: &Envelope) -> Option<&SessionId> {
    match envelope.audience() {
        Audience::Session(id, _) => Some(id),
        _ => None,
    }
}

/// An instant as Python writes it: the offset as `+00:00`, and always six digits of the second's fraction.
fn iso(time: Time) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    let (instant, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{instant}.{fraction:0<6}+00:00")
}

/// A free-form value for clients that read a text here: a text is itself, and everything else is JSON text.
fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn metadata_text(metadata: Option<&Map<String, Value>>) -> Option<String> {
    metadata.and_then(|members| serde_json::to_string(members).ok())
}

/// A browser session is not a context: an agent that took it for one would ask for messages that nobody ever wrote.
fn connected(welcome: &Welcome) -> Value {
    let context = welcome.session_id.as_ref().filter(|id| matches!(id, SessionId::Context(_)));
    json!({"type": "connected", "session_id": context, "server_time": iso(welcome.server_time)})
}

/// The only frame about a subscription says `success`. Where nothing at all was accepted that would be a lie, and the
/// client hears what was wrong.
fn answer_to_subscribe(subscribed: &Subscribed) -> Value {
    if let (true, Some(refused)) = (subscribed.streams.is_empty(), subscribed.refused.first()) {
        return json!({"type": "error", "message": refused.message});
    }
    let context = subscribed.streams.iter().find_map(|stream| match &stream.to {
        Target::Session(id @ SessionId::Context(_)) => Some(id),
        _ => None,
    });
    json!({"type": "subscribed", "session_id": context, "status": "success"})
}

/// The page takes the time of a message off its own clock, before it shows anything: a text makes it throw and lose
/// the message, a number of milliseconds does not. `metadata` is always there, empty if need be, as in the origin's frames.
fn new_message(message: &NewMessage, timestamp: Value) -> Value {
    let data = json!({
        "id": message.id,
        "sender": message.sender,
        "sender_type": message.sender_type,
        "content": message.content,
        "visibility": message.visibility,
        "message_type": message.message_type,
        "timestamp": timestamp,
        "metadata": message.metadata.clone().unwrap_or_default(),
        "parent_message_id": message.parent_message_id,
    });
    json!({"type": "new_message", "data": without_absent(data)})
}

fn memory_update(update: &MemoryUpdate, session_id: &SessionId, time: Time) -> Value {
    let data = json!({
        "agent_id": update.agent_id,
        "key": update.key,
        "value": as_text(update.value.as_value()),
        "session_id": session_id,
        // The only scope there is here: the event is addressed to one context.
        "scope": "session",
        "created_at": update.created_at.map(iso),
        "updated_at": iso(time),
    });
    json!({"type": "memory_update", "data": without_absent(data)})
}

/// The result of a tool is a row of a table: what is absent is null there, and `metadata` is text.
fn get_messages(messages: &Messages) -> Value {
    json!({"type": "tool_result", "id": messages.re, "tool": "get_messages", "result": get_messages_result(messages)})
}

fn get_messages_result(messages: &Messages) -> Value {
    let row = |message: &StoredMessage| {
        json!({
            "id": message.id,
            "session_id": messages.session_id,
            "sender": message.sender,
            "sender_type": message.sender_type,
            "content": message.content,
            "visibility": message.visibility,
            "message_type": message.message_type,
            "metadata": metadata_text(message.metadata.as_ref()),
            "timestamp": iso(message.time),
            "parent_message_id": message.parent_message_id,
        })
    };
    let mut result = json!({
        "session_id": messages.session_id,
        "messages": messages.messages.iter().map(row).collect::<Vec<_>>(),
        "count": messages.messages.len(),
        "since_id": messages.since_id,
    });
    // Ours; the origin's clients do not look for it, and it is there only when there is something to say.
    if let (Some(truncated), Some(members)) = (messages.truncated, result.as_object_mut()) {
        members.insert("truncated".into(), truncated.into());
    }
    result
}

fn get_session_info(info: &SessionInfo) -> Value {
    json!({"type": "tool_result", "id": info.re, "tool": "get_session_info", "result": get_session_info_result(info)})
}

fn get_session_info_result(info: &SessionInfo) -> Value {
    json!({
        "session_id": info.session_id,
        "session": {
            "id": info.session_id,
            "purpose": info.purpose,
            "created_at": info.created_at.map(iso),
            "updated_at": info.updated_at.map(iso),
            "is_active": info.is_active,
            "created_by": info.created_by,
            "metadata": metadata_text(info.metadata.as_ref()),
        },
        "status": if info.is_active { "active" } else { "inactive" },
    })
}

/// The event as agents read it: the time of a message is text there (T1).
pub(super) fn encode_for_tools(event: &Event, envelope: &Envelope) -> Option<Value> {
    match event {
        Event::ContextNewMessage(message) => Some(new_message(message, iso(envelope.time()).into())),
        _ => encode(event, envelope),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::context::MessageVisibility;

    fn message() -> NewMessage {
        NewMessage {
            id: 43,
            sender: "claude".parse().unwrap(),
            content: "hello".to_owned(),
            visibility: MessageVisibility::Public,
            sender_type: None,
            message_type: None,
            parent_message_id: None,
            metadata: None,
        }
    }

    /// The page subtracts it from its own clock in milliseconds: a fraction or a text would not do.
    #[test]
    fn trap_t1_the_time_of_a_message_is_a_whole_number_of_milliseconds() {
        for (micros, millis) in [(1_755_096_501_000_999, 1_755_096_501_000_i64), (0, 0), (-1, -1)] {
            let envelope =
                Envelope::to_session("s".parse().unwrap(), &message(), Time::from_unix_micros(micros)).unwrap();
            let frame = encode(&message().into(), &envelope).unwrap();
            assert_eq!(frame.pointer("/data/timestamp").unwrap().as_i64(), Some(millis));
            let frame = encode_for_tools(&message().into(), &envelope).unwrap();
            assert!(frame.pointer("/data/timestamp").unwrap().is_string());
        }
    }

    /// The same message through the tool has its time as text: agents read it as the server of origin wrote it.
    #[test]
    fn trap_t1_the_time_of_a_message_is_text_on_the_way_of_tools() {
        for (micros, text) in [
            (1_755_096_501_000_000, "2025-08-13T14:48:21.000000+00:00"),
            (1_755_096_501_120_000, "2025-08-13T14:48:21.120000+00:00"),
            (1_755_096_501_000_001, "2025-08-13T14:48:21.000001+00:00"),
        ] {
            assert_eq!(iso(Time::from_unix_micros(micros)), text);
        }
    }

    /// Both names are `session_update` on the wire, and one says of a login what the other says of a context.
    #[test]
    fn trap_c7_nobody_hears_of_a_login_where_a_context_is_meant() {
        assert!(!SUPPORTED.contains(&EventType::SessionExpiring));
        assert!(!super::super::product::SUPPORTED.contains(&EventType::ContextSessionUpdate));
    }

    #[test]
    fn route_04_a_private_message_is_spelled_like_any_other_and_names_no_more() {
        let private = NewMessage { visibility: MessageVisibility::Private, ..message() };
        let envelope =
            Envelope::to_session("session_abc123".parse().unwrap(), &private, Time::from_unix_micros(0)).unwrap();
        let frame = encode(&private.into(), &envelope).unwrap();
        assert_eq!(frame.pointer("/data/visibility"), Some(&json!("private")));
        assert_eq!(frame.as_object().unwrap().len(), 2);
    }
}
