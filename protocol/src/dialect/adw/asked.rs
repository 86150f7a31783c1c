//! What the kanban's pages send: frames of `{type, ...}`, with `data` where there is more to say.
//!
//! Shapes are checked here, meanings are not: which workflows there are and what each of them needs is known to the back
//! end that starts them.

use serde_json::{Map, Value};

use super::{adopted::decode_event, text_or_number};
use crate::{
    catalog::EventType,
    command::{Command, Ping, Subscribe, Unsubscribe, Unwanted, Wanted},
    dialect::Adopted,
    error::{ErrorBody, ErrorCode},
    frame::read_document,
    id::AdwId,
};

/// Most characters of a name that a page chose: a session id, a workflow.
const MAX_NAME_CHARS: usize = 128;
/// Kinds of issues.
const ISSUE_TYPES: &[&str] = &["feature", "bug", "chore", "patch"];
/// Sets of models.
const MODEL_SETS: &[&str] = &["base", "heavy"];
/// Members that a line for the log of a workflow needs.
const LOG_MEMBERS: &[&str] = &["adw_id", "workflow_name", "message", "level", "timestamp"];

/// What a page asks (ADW-02).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Asked {
    /// Something that the hub answers itself.
    Hub(Command),
    /// A workflow is to be started: the members of `data`.
    TriggerWorkflow(Map<String, Value>),
    /// The page names the session that it belongs to.
    RegisterSession {
        /// The name.
        session_id: String,
        /// The members of `data`.
        data: Map<String, Value>,
    },
    /// The page tells of a ticket.
    TicketNotification {
        /// The ticket, as text.
        ticket_id: String,
        /// The members of `data`.
        data: Map<String, Value>,
    },
    /// The page told of a ticket in a way that cannot be read. Said in the answer to tickets, as an `error` would reject a
    /// workflow that the page is waiting for.
    BadTicket {
        /// The ticket, as far as it was named.
        ticket_id: String,
        /// What is wrong.
        error: ErrorBody,
    },
    /// A line for the log of a workflow, to be published.
    WorkflowLog(Adopted),
}

/// Reads a frame of a page, of at most `max_bytes`.
///
/// # Errors
/// Those of [`read_document`], `unknown_command`, `invalid_id` for an `adw_id` that is none, `invalid_payload` for anything
/// else, naming the member.
pub fn decode(bytes: &[u8], max_bytes: usize) -> Result<Asked, ErrorBody> {
    let text = &*read_document(bytes, max_bytes)?;
    let Ok(Value::Object(mut frame)) = serde_json::from_str(text) else {
        return Err(ErrorBody::new(ErrorCode::MalformedFrame, "a frame must be an object with a type"));
    };
    let Some(Value::String(kind)) = frame.remove("type") else {
        return Err(ErrorBody::new(ErrorCode::MalformedFrame, "a frame must have a type, which is a text"));
    };
    match kind.as_str() {
        "ping" => {
            let client_time = frame.remove("timestamp").filter(Value::is_number);
            Ok(Asked::Hub(Command::Ping(Ping { client_time })))
        }
        "subscribe" => {
            let to = format!("adw:{}", adw_id(&frame)?);
            Ok(Asked::Hub(Command::Subscribe(Subscribe { epoch: None, streams: vec![Wanted { to, since: None }] })))
        }
        "unsubscribe" => {
            let to = format!("adw:{}", adw_id(&frame)?);
            Ok(Asked::Hub(Command::Unsubscribe(Unsubscribe { streams: vec![Unwanted { to }] })))
        }
        "trigger_workflow" => trigger(data(frame, &kind)?),
        "register_session" => {
            let data = data(frame, &kind)?;
            let session_id = name("session_id", data.get("session_id"))?;
            optional(&data, "client_info", "an object", Value::is_object)?;
            Ok(Asked::RegisterSession { session_id, data })
        }
        "ticket_notification" => Ok(ticket(data(frame, &kind)?)),
        "workflow_log" => log_line(data(frame, &kind)?),
        other => {
            let shown: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
            let message = format!(
                "unknown message type {shown:?}; there are ping, subscribe, unsubscribe, trigger_workflow, \
                 register_session, ticket_notification, workflow_log"
            );
            Err(ErrorBody::new(ErrorCode::UnknownCommand, message))
        }
    }
}

fn invalid(message: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidPayload, message.into())
}

fn data(mut frame: Map<String, Value>, kind: &str) -> Result<Map<String, Value>, ErrorBody> {
    match frame.remove("data") {
        Some(Value::Object(data)) => Ok(data),
        _ => Err(invalid(format!("{kind} needs data, an object"))),
    }
}

/// The ADW that a frame is about; B5: one that is missing or bad is an error, never silence.
fn adw_id(frame: &Map<String, Value>) -> Result<AdwId, ErrorBody> {
    frame
        .get("adw_id")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ErrorBody::new(ErrorCode::InvalidId, "adw_id must be 8 alphanumeric characters"))
}

/// A name of 1 to [`MAX_NAME_CHARS`] characters that can be shown.
fn name(member: &str, value: Option<&Value>) -> Result<String, ErrorBody> {
    let name = value.and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(invalid(format!("{member} is required: a text of 1 to {MAX_NAME_CHARS} characters")));
    }
    Ok(name.to_owned())
}

/// A member that may be absent or null, and otherwise is as said.
fn optional(
    data: &Map<String, Value>,
    member: &str,
    what: &str,
    fits: impl Fn(&Value) -> bool,
) -> Result<(), ErrorBody> {
    match data.get(member) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if fits(value) => Ok(()),
        Some(_) => Err(invalid(format!("{member} must be {what}"))),
    }
}

fn trigger(data: Map<String, Value>) -> Result<Asked, ErrorBody> {
    let workflow = name("workflow_type", data.get("workflow_type"))?;
    if !workflow.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Err(invalid("workflow_type must be letters, digits, _ and -"));
    }
    if !matches!(data.get("adw_id"), None | Some(Value::Null)) {
        adw_id(&data)?;
    }
    let one_of = |value: &Value, words: &[&str]| value.as_str().is_some_and(|word| words.contains(&word));
    optional(&data, "issue_number", "a text or a number", |value| text_or_number(value).is_some())?;
    optional(&data, "issue_type", "feature, bug, chore, patch or null", |value| one_of(value, ISSUE_TYPES))?;
    optional(&data, "issue_json", "an object or null", Value::is_object)?;
    optional(&data, "model_set", "base or heavy", |value| one_of(value, MODEL_SETS))?;
    optional(&data, "stages", "a list of texts", |value| {
        value.as_array().is_some_and(|stages| stages.iter().all(Value::is_string))
    })?;
    optional(&data, "config", "an object", Value::is_object)?;
    optional(&data, "trigger_reason", "a text", Value::is_string)?;
    Ok(Asked::TriggerWorkflow(data))
}

fn ticket(data: Map<String, Value>) -> Asked {
    let named = data.get("id").and_then(text_or_number).or_else(|| data.get("ticket_id").and_then(text_or_number));
    let fits = |id: &String| id.chars().count() <= MAX_NAME_CHARS && !id.chars().any(char::is_control);
    let Some(ticket_id) = named.filter(fits) else {
        let error = invalid(format!("id is required: a text of 1 to {MAX_NAME_CHARS} characters, or a number"));
        return Asked::BadTicket { ticket_id: String::new(), error };
    };
    match data.get("title") {
        Some(Value::String(title)) if !title.trim().is_empty() => Asked::TicketNotification { ticket_id, data },
        _ => Asked::BadTicket { ticket_id, error: invalid("title is required and must not be empty") },
    }
}

fn log_line(data: Map<String, Value>) -> Result<Asked, ErrorBody> {
    let missing = LOG_MEMBERS.iter().filter(|member| data.get(**member).is_none_or(Value::is_null));
    let missing: Vec<&str> = missing.copied().collect();
    if !missing.is_empty() {
        return Err(invalid(format!("workflow_log lacks {}", missing.join(", "))));
    }
    adw_id(&data)?;
    let adopted = decode_event(&serde_json::json!({ "type": "workflow_log", "data": data }))?;
    debug_assert_eq!(adopted.kind, EventType::AdwWorkflowLog);
    Ok(Asked::WorkflowLog(adopted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MAX: usize = 1 << 20;

    fn read(frame: &Value) -> Result<Asked, ErrorBody> {
        decode(frame.to_string().as_bytes(), MAX)
    }

    fn refused(frame: &Value) -> ErrorBody {
        read(frame).expect_err(&frame.to_string())
    }

    #[test]
    fn adw_02_every_message_of_a_page_is_read() {
        let ping = |client_time| Ok(Asked::Hub(Command::Ping(Ping { client_time })));
        assert_eq!(read(&json!({"type": "ping"})), ping(None));
        let health = json!({"type": "ping", "timestamp": 1_762_370_560_000_u64, "healthCheck": true});
        assert_eq!(read(&health), ping(Some(json!(1_762_370_560_000_u64))));
        assert_eq!(read(&json!({"type": "ping", "timestamp": "2025-11-05T19:22:40Z"})), ping(None));
        let Ok(Asked::Hub(Command::Subscribe(subscribe))) = read(&json!({"type": "subscribe", "adw_id": "29fb6a3e"}))
        else {
            panic!("no subscribe")
        };
        assert_eq!(subscribe.streams[0].to, "adw:29fb6a3e");
        assert!(matches!(
            read(&json!({"type": "unsubscribe", "adw_id": "29fb6a3e"})),
            Ok(Asked::Hub(Command::Unsubscribe(_)))
        ));
        let trigger = json!({
            "workflow_type": "adw_plan_iso", "adw_id": null, "issue_number": 66, "issue_type": "chore",
            "issue_json": {"title": "x"}, "model_set": "base", "stages": ["plan"], "config": {},
            "trigger_reason": "Kanban task: x",
        });
        let asked = read(&json!({"type": "trigger_workflow", "data": trigger})).unwrap();
        assert_eq!(asked, Asked::TriggerWorkflow(trigger.as_object().unwrap().clone()));
        let asked = read(&json!({"type": "register_session", "data": {"session_id": "s", "client_info": {}}}));
        assert!(matches!(asked, Ok(Asked::RegisterSession { session_id, .. }) if session_id == "s"));
        for id in [json!({"id": 18, "title": "t"}), json!({"ticket_id": "18", "title": "t".repeat(500)})] {
            let asked = read(&json!({"type": "ticket_notification", "data": id})).unwrap();
            assert!(matches!(asked, Asked::TicketNotification { ticket_id, .. } if ticket_id == "18"));
        }
        let line = json!({
            "adw_id": "abcd1234", "workflow_name": "adw_plan_iso", "message": "line", "level": "INFO",
            "timestamp": "2025-11-05T19:22:35.4Z",
        });
        let Ok(Asked::WorkflowLog(line)) = read(&json!({"type": "workflow_log", "data": line})) else { panic!() };
        assert_eq!(line.to, Some("adw:abcd1234".parse().unwrap()));
        assert_eq!(line.time, Some("2025-11-05T19:22:35.4Z".parse().unwrap()));
    }

    #[test]
    fn bug_b5_a_subscription_without_a_proper_id_is_an_error() {
        for bad in [
            json!({}),
            json!({"adw_id": null}),
            json!({"adw_id": ""}),
            json!({"adw_id": "../etc"}),
            json!({"adw_id": "29fb6a3ee"}),
            json!({"adw_id": "29fb6a3"}),
            json!({"adw_id": "29fb6a3\u{e9}"}),
            json!({"adw_id": "a:b:c:d:"}),
            json!({"adw_id": 12_345_678}),
            json!({"adw_id": ["29fb6a3e"]}),
        ] {
            for kind in ["subscribe", "unsubscribe"] {
                let mut frame = bad.clone();
                frame["type"] = kind.into();
                assert_eq!(refused(&frame).code, ErrorCode::InvalidId, "{frame}");
            }
        }
    }

    #[test]
    fn adw_02_what_is_wrong_is_named() {
        let trigger = |member: &str, value: Value| {
            let mut data = json!({"workflow_type": "adw_plan_iso"});
            data[member] = value;
            json!({"type": "trigger_workflow", "data": data})
        };
        for (member, value) in [
            ("workflow_type", json!("")),
            ("workflow_type", json!("../adw")),
            ("workflow_type", json!(7)),
            ("workflow_type", json!("a".repeat(129))),
            ("adw_id", json!("../../x")),
            ("issue_number", json!({})),
            ("issue_number", json!("")),
            ("issue_type", json!("epic")),
            ("issue_json", json!("{}")),
            ("model_set", json!("huge")),
            ("stages", json!("plan")),
            ("stages", json!([1])),
            ("config", json!([])),
            ("trigger_reason", json!(1)),
        ] {
            let error = refused(&trigger(member, value.clone()));
            assert!(error.message.contains(member), "{member} {value}: {error}");
        }
        for (frame, named) in [
            (json!({"type": "trigger_workflow"}), "data"),
            (json!({"type": "trigger_workflow", "data": []}), "data"),
            (json!({"type": "register_session", "data": {}}), "session_id"),
            (json!({"type": "register_session", "data": {"session_id": "a\nb"}}), "session_id"),
            (json!({"type": "register_session", "data": {"session_id": "a", "client_info": 1}}), "client_info"),
            (json!({"type": "workflow_log", "data": {"adw_id": "abcd1234", "message": null}}), "message"),
            (json!({"type": "launch"}), "launch"),
            (json!({"type": 1}), "type"),
            (json!({"data": {}}), "type"),
            (json!([]), "object"),
        ] {
            let error = refused(&frame);
            assert!(error.message.contains(named), "{frame}: {error}");
        }
        assert_eq!(decode(b"{", MAX).unwrap_err().code, ErrorCode::MalformedFrame);
        assert_eq!(decode(b"{\"type\":\"ping\",\"type\":\"ping\"}", MAX).unwrap_err().code, ErrorCode::DuplicateKey);
        assert_eq!(decode(b"{\"type\":\"ping\"}", 4).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn trap_t8_a_bad_ticket_is_no_error_frame() {
        for (data, id) in [
            (json!({}), ""),
            (json!({"id": "", "title": "t"}), ""),
            (json!({"id": "66"}), "66"),
            (json!({"ticket_id": 66, "title": "  "}), "66"),
            (json!({"id": "66", "title": 7}), "66"),
            (json!({"id": "a\u{1b}", "title": "t"}), ""),
        ] {
            let asked = read(&json!({"type": "ticket_notification", "data": data})).unwrap();
            assert!(matches!(&asked, Asked::BadTicket { ticket_id, .. } if ticket_id == id), "{data}: {asked:?}");
        }
    }
}
