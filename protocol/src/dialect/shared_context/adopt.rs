//! Events and rows as the back end of Shared Context builds them, read into the words of the catalog (CTX-10).

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ask::context_id;
use crate::{
    address::Audience,
    dialect::Adopted,
    error::{ErrorBody, ErrorCode},
    event::{
        AnyValue, Payload,
        context::{MemoryUpdate, Messages, NewMessage, SessionInfo, SessionUpdate, StoredMessage, Typing},
    },
    id::{ContextId, SessionId},
    limits,
    time::Time,
};

/// Most characters of a message.
pub const MAX_CONTENT_CHARS: usize = 100_000;

/// A number below this counts seconds, any other milliseconds: builds of the system of origin disagree (T1). As
/// milliseconds it is the year 1973, as seconds 5138.
const FEWEST_MILLIS: f64 = 1e11;

fn invalid(message: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidPayload, message)
}

/// The members of one object, and where it stands in the frame.
struct Reader<'a> {
    members: &'a Map<String, Value>,
    place: &'static str,
}

impl<'a> Reader<'a> {
    fn of(value: Option<&'a Value>, place: &'static str) -> Result<Self, ErrorBody> {
        match value {
            Some(Value::Object(members)) => Ok(Self { members, place }),
            _ => Err(invalid(format!("{} must be an object", place.trim_end_matches('.')))),
        }
    }

    /// A member; null is absent.
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, problem: impl std::fmt::Display) -> ErrorBody {
        invalid(format!("{}{name}: {problem}", self.place))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ErrorBody> {
        let value = self.value(name).map(|value| T::deserialize(value).map_err(|error| self.wrong(name, error)));
        value.transpose()
    }

    fn need<T: DeserializeOwned>(&self, name: &str) -> Result<T, ErrorBody> {
        self.read(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn context(&self, name: &str) -> Result<Option<ContextId>, ErrorBody> {
        let text: Option<String> = self.read(name)?;
        text.map(|text| context_id(&text).map_err(|error| self.wrong(name, error.message))).transpose()
    }

    fn time(&self, name: &str) -> Result<Option<Time>, ErrorBody> {
        let read = |value| time_of(value).ok_or_else(|| self.wrong(name, "must be a time, ISO 8601 or a number"));
        self.value(name).map(read).transpose()
    }

    /// Free-form values: an object, or in a row the JSON text of one.
    fn metadata(&self, name: &str) -> Result<Option<Map<String, Value>>, ErrorBody> {
        let wrong = || self.wrong(name, "must be an object, or the JSON text of one");
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members.clone())),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Object(members)) => Ok(Some(members)),
                Ok(Value::Null) => Ok(None),
                _ => Err(wrong()),
            },
            Some(_) => Err(wrong()),
        }
    }

    /// A message, as an event or as a row has it.
    fn message(&self) -> Result<NewMessage, ErrorBody> {
        let content: String = self.need("content")?;
        // Only a text with so many bytes can have so many characters.
        if content.len() > MAX_CONTENT_CHARS && content.chars().count() > MAX_CONTENT_CHARS {
            return Err(self.wrong("content", format!("has more than {MAX_CONTENT_CHARS} characters")));
        }
        Ok(NewMessage {
            id: self.need("id")?,
            sender: self.need("sender")?,
            content,
            visibility: self.need("visibility")?,
            sender_type: self.read("sender_type")?,
            message_type: self.read("message_type")?,
            parent_message_id: self.read("parent_message_id")?,
            // Always there in a frame, empty if there is none.
            metadata: self.metadata("metadata")?.filter(|members| !members.is_empty()),
        })
    }
}

/// A time as the back end writes one: ISO 8601, with a space and without a zone if it comes from the database, which
/// reckons in UTC; or a number.
fn time_of(value: &Value) -> Option<Time> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64()?;
            let per_unit = if number.abs() < FEWEST_MILLIS { 1e6 } else { 1e3 };
            // Out of range becomes the end of the range, which `Time` has anyway.
            Some(Time::from_unix_micros((number * per_unit).round() as i64))
        }
        Value::String(text) => {
            let (day, rest) = text.trim().split_at_checked(10)?;
            let clock = rest.strip_prefix(['T', 't', ' '])?;
            let zoned = clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']);
            format!("{day}T{clock}{}", if zoned { "" } else { "Z" }).parse().ok()
        }
        _ => None,
    }
}

fn adopted<P: Payload>(payload: &P, to: Option<Audience>, time: Option<Time>) -> Result<Adopted, ErrorBody> {
    let data = serde_json::to_value(payload).map_err(|error| invalid(error.to_string()))?;
    Ok(Adopted { kind: P::TYPE, data, to, time })
}

/// Reads an event as the system's back end builds it.
pub(in crate::dialect) fn decode_event(frame: &Value) -> Result<Adopted, ErrorBody> {
    let frame = Reader::of(Some(frame), "")?;
    let kind: String = frame.need("type")?;
    let session = |context: Option<ContextId>| context.map(Audience::session);
    match kind.as_str() {
        "new_message" => {
            let data = Reader::of(frame.value("data"), "data.")?;
            // Not in a frame of the origin; but where somebody names a context, it is that one or none.
            adopted(&data.message()?, session(data.context("session_id")?), data.time("timestamp")?)
        }
        "session_update" => {
            let update =
                SessionUpdate { agent_id: frame.read("agent_id")?, message_count: frame.read("message_count")? };
            adopted(&update, session(frame.context("session_id")?), frame.time("timestamp")?)
        }
        "memory_update" => {
            let data = Reader::of(frame.value("data"), "data.")?;
            // A value that belongs to no context, or to more than one, has nobody here to be told of it.
            if data.read::<String>("scope")?.is_some_and(|scope| scope != "session") {
                return Err(data.wrong("scope", "must be session"));
            }
            let context = data.context("session_id")?.ok_or_else(|| data.wrong("session_id", "is missing"))?;
            let update = MemoryUpdate {
                agent_id: data.need("agent_id")?,
                key: data.need("key")?,
                value: data.need::<AnyValue>("value")?,
                created_at: data.time("created_at")?,
            };
            adopted(&update, session(Some(context)), data.time("updated_at")?)
        }
        "typing" => {
            let typing = Typing { agent_id: frame.need("agent_id")?, is_typing: frame.need("is_typing")? };
            adopted(&typing, session(frame.context("session_id")?), frame.time("timestamp")?)
        }
        "tool_result" => tool_result(&frame),
        other => {
            let other: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
            let message =
                format!("no event {other:?}; there are new_message, session_update, memory_update and typing");
            Err(ErrorBody::new(ErrorCode::UnknownType, message))
        }
    }
}

/// An answer that a back end gives to one connection itself.
fn tool_result(frame: &Reader<'_>) -> Result<Adopted, ErrorBody> {
    let re: Option<String> = frame.read("id")?;
    if re.as_ref().is_some_and(|re| re.chars().count() > limits::MAX_COMMAND_ID_CHARACTERS) {
        return Err(frame.wrong("id", "must be at most 128 characters long"));
    }
    let result = Reader::of(frame.value("result"), "result.")?;
    let context = result.context("session_id")?.ok_or_else(|| result.wrong("session_id", "is missing"))?;
    match frame.need::<String>("tool")?.as_str() {
        "get_messages" => {
            let rows: Vec<Value> = result.need("messages")?;
            let messages = rows.iter().map(|row| stored_message(row, &context)).collect::<Result<_, _>>()?;
            let (since_id, truncated) = (result.read("since_id")?, result.read("truncated")?);
            let session_id = SessionId::Context(context);
            adopted(&Messages { re, session_id, messages, since_id, truncated }, None, None)
        }
        "get_session_info" => {
            let row = result.value("session").ok_or_else(|| result.wrong("session", "is missing"))?;
            adopted(&SessionInfo { re, ..session_info(row, &context)? }, None, None)
        }
        _ => Err(ErrorBody::new(ErrorCode::UnknownType, "tool: get_messages or get_session_info")),
    }
}

/// Reads a row of the table of messages.
///
/// # Errors
/// `invalid_payload`, naming the member; `subject_mismatch` for a message of another context.
pub fn stored_message(row: &Value, of: &ContextId) -> Result<StoredMessage, ErrorBody> {
    let row = Reader::of(Some(row), "messages.")?;
    belongs(row.context("session_id")?, of)?;
    let time = row.time("timestamp")?.ok_or_else(|| row.wrong("timestamp", "is missing"))?;
    Ok(StoredMessage::new(row.message()?, time))
}

/// Reads a row of the table of sessions.
///
/// # Errors
/// `invalid_payload`, naming the member; `subject_mismatch` for another context.
pub fn session_info(row: &Value, of: &ContextId) -> Result<SessionInfo, ErrorBody> {
    let row = Reader::of(Some(row), "session.")?;
    belongs(row.context("id")?, of)?;
    // SQLite has no boolean.
    let is_active = match row.value("is_active") {
        Some(Value::Bool(is_active)) => *is_active,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        _ => return Err(row.wrong("is_active", "must be true or false")),
    };
    Ok(SessionInfo {
        re: None,
        session_id: SessionId::Context(of.clone()),
        is_active,
        purpose: row.read("purpose")?,
        created_by: row.read("created_by")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        metadata: row.metadata("metadata")?,
    })
}

fn belongs(named: Option<ContextId>, of: &ContextId) -> Result<(), ErrorBody> {
    match named {
        Some(named) if named != *of => Err(ErrorBody::new(
            ErrorCode::SubjectMismatch,
            format!("a row of another context stands among those of {of}"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(frame: Value) -> (ErrorCode, String) {
        let error = decode_event(&frame).unwrap_err();
        (error.code, error.message.into_owned())
    }

    fn message(changed: Value) -> Value {
        let mut data = json!({
            "id": 43, "sender": "claude", "sender_type": "claude", "content": "hello", "visibility": "public",
            "timestamp": "2025-08-13T14:48:21+00:00", "metadata": {},
        });
        data.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        json!({"type": "new_message", "data": data})
    }

    #[test]
    fn ctx_10_what_is_wrong_with_an_event_is_told_by_member() {
        for (changed, member) in [
            (json!({"id": "43"}), "data.id"),
            (json!({"id": null}), "data.id"),
            (json!({"sender": ""}), "data.sender"),
            (json!({"sender": "a b"}), "data.sender"),
            (json!({"content": 7}), "data.content"),
            (json!({"content": "x".repeat(MAX_CONTENT_CHARS + 1)}), "data.content"),
            (json!({"visibility": "admin_only"}), "data.visibility"),
            (json!({"visibility": null}), "data.visibility"),
            (json!({"timestamp": "yesterday"}), "data.timestamp"),
            (json!({"timestamp": []}), "data.timestamp"),
            (json!({"metadata": "[1]"}), "data.metadata"),
            (json!({"metadata": 7}), "data.metadata"),
            (json!({"session_id": "~0123456789abcdef0123456789abcdef"}), "data.session_id"),
        ] {
            let (code, message) = refused(message(changed.clone()));
            assert_eq!(code, ErrorCode::InvalidPayload, "{changed}");
            assert!(message.starts_with(member), "{changed}: {message}");
        }
        for (frame, code, part) in [
            (json!({"type": "foo"}), ErrorCode::UnknownType, "foo"),
            (json!({"type": "subscribed", "session_id": "s"}), ErrorCode::UnknownType, "subscribed"),
            (json!({"data": {}}), ErrorCode::InvalidPayload, "type"),
            (json!([]), ErrorCode::InvalidPayload, "object"),
            (json!({"type": "new_message"}), ErrorCode::InvalidPayload, "data must be an object"),
            (json!({"type": "typing", "agent_id": "a"}), ErrorCode::InvalidPayload, "is_typing"),
            (json!({"type": "session_update", "message_count": -1}), ErrorCode::InvalidPayload, "message_count"),
            (
                json!({"type": "tool_result", "tool": "x", "result": {"session_id": "s"}}),
                ErrorCode::UnknownType,
                "tool",
            ),
        ] {
            let (given, message) = refused(frame.clone());
            assert_eq!(given, code, "{frame}");
            assert!(message.contains(part), "{frame}: {message}");
        }
    }

    #[test]
    fn ctx_10_a_value_that_is_not_of_one_context_is_told_to_nobody() {
        let memory = |data: Value| json!({"type": "memory_update", "data": data});
        let (_, message) = refused(memory(json!({"agent_id": "a", "key": "k", "value": "v", "scope": "global"})));
        assert!(message.starts_with("data.scope"), "{message}");
        let (_, message) = refused(memory(json!({"agent_id": "a", "key": "k", "value": "v", "session_id": null})));
        assert!(message.starts_with("data.session_id"), "{message}");
    }

    #[test]
    fn trap_t1_every_way_to_write_a_time_is_read() {
        let expected: Time = "2025-08-13T14:48:21.5Z".parse().unwrap();
        for written in [
            json!("2025-08-13T14:48:21.500000+00:00"),
            json!("2025-08-13T16:48:21.5+02:00"),
            json!("2025-08-13T14:48:21.5Z"),
            json!("2025-08-13T14:48:21.500000"),
            json!("2025-08-13 14:48:21.5"),
            json!(1_755_096_501_500_i64),
            json!(1_755_096_501.5),
        ] {
            let event = decode_event(&message(json!({"timestamp": written}))).unwrap();
            assert_eq!(event.time, Some(expected), "{written}");
        }
        for written in [json!(""), json!("2025-08-13"), json!("2025-08-13T"), json!("\u{e9}".repeat(10))] {
            refused(message(json!({"timestamp": written})));
        }
    }

    #[test]
    fn ctx_10_a_content_of_100_000_characters_of_any_script_is_read() {
        let content = "\u{1f600}".repeat(MAX_CONTENT_CHARS);
        assert_eq!(decode_event(&message(json!({"content": content}))).unwrap().data["content"], content);
    }

    #[test]
    fn ctx_07_a_row_of_another_context_is_refused() {
        let of: ContextId = "s".parse().unwrap();
        let row = json!({
            "id": 1, "session_id": "s", "sender": "u", "content": "x", "visibility": "private",
            "metadata": "{\"a\":1}", "timestamp": "2025-08-13 14:48:21", "parent_message_id": null,
        });
        let read = stored_message(&row, &of).unwrap();
        assert_eq!((read.id, read.metadata.unwrap()["a"].clone()), (1, json!(1)));
        assert_eq!(stored_message(&row, &"t".parse().unwrap()).unwrap_err().code, ErrorCode::SubjectMismatch);
        let session = json!({"id": "s", "is_active": 1, "purpose": null, "created_at": "2025-08-13 14:48:21"});
        assert!(session_info(&session, &of).unwrap().is_active);
        assert_eq!(session_info(&session, &"t".parse().unwrap()).unwrap_err().code, ErrorCode::SubjectMismatch);
    }
}
