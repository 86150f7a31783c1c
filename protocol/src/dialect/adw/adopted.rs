//! Decodes events of the kanban's two servers and of its producers into events of the catalog.
//!
//! The inverse of the encoder, and more forgiving: where the two servers disagreed either spelling is read, and both at once,
//! as they stand in our own frames. Paths are made fit to be shown (ADW-07) here, so that no way in can forget it.

use serde_json::{Map, Value, value::to_raw_value};

use super::text_or_number;
use crate::{
    address::{Audience, AudienceKind},
    catalog::{Event, EventType},
    dialect::Adopted,
    error::{ErrorBody, ErrorCode},
    id::AdwId,
    time::Time,
};

/// What the servers alone say, about a connection.
const THE_SERVERS_OWN: &[&str] = &["connection_ack", "subscription_ack", "heartbeat", "ping", "pong", "error"];

/// Reads an event as the system's back end builds it (ADW-06): `{type, data}`, or flat as its orchestrator wrote them.
pub(in crate::dialect) fn decode_event(frame: &Value) -> Result<Adopted, ErrorBody> {
    let frame = frame.as_object().ok_or_else(|| invalid("an event must be an object with type and data"))?;
    let name = frame.get("type").and_then(Value::as_str).ok_or_else(|| invalid("type must be a text"))?;
    let kind = kind_of(name)?;
    let mut data = match frame.get("data") {
        Some(Value::Object(data)) => data.clone(),
        Some(_) => return Err(invalid(format!("data of {name} must be an object"))),
        None => frame.iter().filter(|(name, _)| *name != "type").map(|(k, v)| (k.clone(), v.clone())).collect(),
    };
    data.retain(|_, value| !value.is_null());
    let time = match data.remove("timestamp") {
        Some(inner) => time_of(&inner)?,
        None => frame.get("timestamp").map(time_of).transpose()?.flatten(),
    };
    normalize(kind, &mut data)?;
    show_paths(kind, &mut data)?;
    let raw = to_raw_value(&data).map_err(|_| invalid(format!("data of {name} cannot be written")))?;
    Event::from_payload(kind, &raw)?;
    let to = target(kind, &data);
    Ok(Adopted { kind, data: Value::Object(data), to, time })
}

fn invalid(message: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidPayload, message.into())
}

/// The type of the catalog; C19: the orchestrator's spellings of two of them are read too.
fn kind_of(name: &str) -> Result<EventType, ErrorBody> {
    let ours = match name {
        "agent_status_changed" => "agent_status_change",
        "chat_typing" => "typing_indicator",
        other => other,
    };
    if let Some(kind) = EventType::from_name(&format!("adw.{ours}")) {
        return Ok(kind);
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Err(if THE_SERVERS_OWN.contains(&name) {
        let message = format!("{shown} is said by the server alone; nobody else can publish it");
        ErrorBody::new(ErrorCode::AudienceNotAllowed, message)
    } else {
        ErrorBody::new(ErrorCode::UnknownType, format!("the ADW system has no event type {shown:?}"))
    })
}

/// A time as its producers write it: RFC 3339, and without a zone where it is UTC all the same.
fn time_of(value: &Value) -> Result<Option<Time>, ErrorBody> {
    if value.is_null() {
        return Ok(None);
    }
    let time = value.as_str().and_then(|text| text.parse().ok().or_else(|| format!("{text}Z").parse().ok()));
    time.map(Some).ok_or_else(|| invalid("timestamp must be ISO 8601 in UTC, for instance 2025-11-05T19:22:35.1Z"))
}

/// Whom the event is for, where its members or its type leave one answer.
fn target(kind: EventType, data: &Map<String, Value>) -> Option<Audience> {
    let audiences = kind.spec().audiences;
    let adw: Option<AdwId> = data.get("adw_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    match adw {
        Some(id) if audiences.contains(&AudienceKind::Adw) => Some(Audience::adw(id)),
        _ if audiences.contains(&AudienceKind::Global) => Some(Audience::Global),
        _ => None,
    }
}

fn take(data: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = data.remove(from) {
        data.entry(to).or_insert(value);
    }
}

fn default(data: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    data.entry(name).or_insert_with(|| value.into());
}

/// Puts every member that is not named into the object `into`, for types whose producers write what they like.
fn gather(data: &mut Map<String, Value>, named: &[&str], into: &str) {
    let (kept, others): (Map<_, _>, Map<_, _>) =
        std::mem::take(data).into_iter().partition(|(name, _)| named.contains(&name.as_str()));
    *data = kept;
    if others.is_empty() {
        return;
    }
    match data.get_mut(into) {
        None => {
            data.insert(into.to_owned(), Value::Object(others));
        }
        Some(Value::Object(there)) => {
            for (name, value) in others {
                there.entry(name).or_insert(value);
            }
        }
        Some(_) => {}
    }
}

/// What is the producers' own takes the place of the object that holds it, unless that is there.
fn wrap(data: &mut Map<String, Value>, beside: &[&str], into: &str) {
    if data.get(into).is_some_and(Value::is_object) {
        return;
    }
    let (mut kept, object): (Map<_, _>, Map<_, _>) =
        std::mem::take(data).into_iter().partition(|(name, _)| beside.contains(&name.as_str()));
    kept.insert(into.to_owned(), Value::Object(object));
    *data = kept;
}

/// A level in any case, and two words that loggers have for the same.
fn level(data: &mut Map<String, Value>) -> Result<(), ErrorBody> {
    default(data, "level", "info");
    let word = data.get("level").and_then(Value::as_str).map(str::to_ascii_lowercase);
    let word = match word.as_deref() {
        Some("warn") => "warning",
        Some("critical" | "fatal") => "error",
        Some(word @ ("debug" | "info" | "success" | "warning" | "error")) => word,
        _ => return Err(invalid("level must be DEBUG, INFO, SUCCESS, WARNING or ERROR")),
    };
    let word = word.to_owned();
    data.insert("level".into(), word.into());
    Ok(())
}

fn percent(data: &Map<String, Value>) -> Result<(), ErrorBody> {
    match data.get("progress_percent") {
        None => Ok(()),
        Some(value) if value.as_f64().is_some_and(|percent| (0.0..=100.0).contains(&percent)) => Ok(()),
        Some(_) => Err(invalid("progress_percent must be a number from 0 to 100")),
    }
}

/// The one spelling of each type.
fn normalize(kind: EventType, data: &mut Map<String, Value>) -> Result<(), ErrorBody> {
    match kind {
        EventType::AdwAgentLog => {
            level(data)?;
            default(data, "event_category", "system");
            take(data, "type", "event_type");
            default(data, "event_type", "log");
            let named = [
                "adw_id",
                "event_category",
                "event_type",
                "level",
                "message",
                "summary",
                "current_step",
                "agent_role",
                "parent_tool_use_id",
                "payload",
            ];
            gather(data, &named, "payload");
        }
        EventType::AdwSystemLog => {
            level(data)?;
            gather(data, &["adw_id", "level", "message", "details", "context"], "context");
        }
        EventType::AdwWorkflowLog => level(data)?,
        EventType::AdwAgentSummaryUpdate => {
            percent(data)?;
            if data.get("summary").is_some_and(Value::is_string) {
                take(data, "summary", "message");
            }
            let status = data.get("summary").and_then(|summary| summary.get("status")).filter(|it| it.is_string());
            let status = status.cloned().unwrap_or_else(|| "in_progress".into());
            default(data, "status", status);
        }
        EventType::AdwStatusUpdate => percent(data)?,
        EventType::AdwChatStream => {
            take(data, "chunk", "content");
            default(data, "stream_type", "text");
            default(data, "is_complete", false);
        }
        EventType::AdwToolUsePre => {
            take(data, "tool_input", "input");
            default(data, "input", Map::new());
        }
        EventType::AdwToolUsePost => tool_answered(data)?,
        EventType::AdwFileChanged => file_operation(data)?,
        EventType::AdwAgentOutputChunk => default(data, "is_complete", false),
        EventType::AdwScreenshotAvailable => default(data, "screenshot_type", "review"),
        EventType::AdwSpecCreated => default(data, "spec_type", "plan"),
        EventType::AdwAgentCreated => wrap(data, &["adw_id"], "agent"),
        EventType::AdwAgentUpdated => wrap(data, &["adw_id", "changed_fields"], "state"),
        EventType::AdwOrchestratorUpdated => wrap(data, &[], "orchestrator"),
        EventType::AdwChatMessage => wrap(data, &[], "message"),
        EventType::AdwTicketNotificationResponse => {
            if let Some(id) = data.get("ticket_id").and_then(text_or_number) {
                data.insert("ticket_id".into(), id.into());
            }
        }
        _ => {}
    }
    Ok(())
}

/// C12: `output` and `success`, or `tool_output` and `status`. What a tool answered is text; anything else is shown as JSON.
fn tool_answered(data: &mut Map<String, Value>) -> Result<(), ErrorBody> {
    take(data, "tool_output", "output");
    if let Some(output) = data.get("output").filter(|output| !output.is_string()) {
        let text = output.to_string();
        data.insert("output".into(), text.into());
    }
    let by_status = match data.remove("status") {
        None => !data.contains_key("error"),
        Some(Value::String(status)) if status == "success" => true,
        Some(Value::String(status)) if status == "error" => false,
        Some(_) => return Err(invalid("status must be success or error")),
    };
    default(data, "success", by_status);
    Ok(())
}

/// C13: the trigger server's `write` is a new file, unless the event itself says that lines of an old one went.
fn file_operation(data: &mut Map<String, Value>) -> Result<(), ErrorBody> {
    let removed = data.get("lines_removed").and_then(Value::as_u64).is_some_and(|lines| lines > 0);
    let in_diff = |line: &str| line.starts_with('-') && !line.starts_with("---");
    let removed = removed || data.get("diff").and_then(Value::as_str).is_some_and(|diff| diff.lines().any(in_diff));
    let operation = match data.get("operation").and_then(Value::as_str) {
        Some("read") => "read",
        Some("write") if !removed => "created",
        Some("write" | "modify" | "modified") => "modified",
        Some("create" | "created") => "created",
        Some("delete" | "deleted") => "deleted",
        _ => return Err(invalid("operation must be read, modified, created or deleted; or write, modify, delete")),
    };
    data.insert("operation".into(), operation.into());
    Ok(())
}

/// What a path in an event is counted from.
#[derive(Clone, Copy)]
enum Base {
    /// The run's working directory; a file elsewhere is reduced to its name.
    WorkingDirectory,
    /// The run's own directory, and nothing else.
    Run,
    /// The root of the repository; what is elsewhere is refused.
    Repository,
    /// The root of the repository; what is elsewhere is reduced to its name.
    RepositoryOrName,
}

/// ADW-07: no path leaves that is absolute or climbs.
fn show_paths(kind: EventType, data: &mut Map<String, Value>) -> Result<(), ErrorBody> {
    let states: &[&str] = match kind {
        EventType::AdwAgentSummaryUpdate => &["summary", "metadata"],
        EventType::AdwAgentUpdated => &["state"],
        EventType::AdwAgentCreated => &["agent"],
        _ => &[],
    };
    let adw_id = data.get("adw_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    for name in states {
        if let Some(state) = data.get_mut(*name) {
            hide_paths(state, &adw_id);
        }
    }
    let (member, base) = match kind {
        EventType::AdwFileChanged => ("file_path", Base::WorkingDirectory),
        EventType::AdwSummaryUpdate => ("related_file", Base::WorkingDirectory),
        EventType::AdwScreenshotAvailable => ("screenshot_path", Base::Run),
        EventType::AdwSpecCreated => ("spec_path", Base::Repository),
        EventType::AdwTriggerResponse => ("logs_path", Base::RepositoryOrName),
        _ => return Ok(()),
    };
    let Some(path) = data.get(member).and_then(Value::as_str) else { return Ok(()) };
    let shown = relative(path, &adw_id, base).map_err(|problem| invalid(format!("{member} {problem}")))?;
    data.insert(member.into(), shown.into());
    Ok(())
}

/// Makes every text fit to be shown that is an absolute path of several parts: the state of a run as it is kept on disk is full
/// of them.
fn hide_paths(value: &mut Value, adw_id: &str) {
    match value {
        Value::String(text) => {
            let drive = matches!(text.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
            let deep = text.strip_prefix('/').is_some_and(|rest| rest.trim_end_matches('/').contains('/'));
            if (drive || deep || text.starts_with("~/") || text.starts_with("file://")) && !text.contains('\n') {
                let shown = relative(text, adw_id, Base::WorkingDirectory);
                // What is the run's own directory, or climbs, is shown by its name alone.
                let name = || text.rsplit(['/', '\\']).find(|part| !part.is_empty() && *part != "..").unwrap_or("..");
                *text = shown.unwrap_or_else(|_| name().to_owned());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide_paths(item, adw_id)),
        Value::Object(members) => members.values_mut().for_each(|member| hide_paths(member, adw_id)),
        _ => {}
    }
}

/// The path as it may be shown: as it is where it is relative, and otherwise what of it lies below the run's directory.
fn relative(path: &str, adw_id: &str, base: Base) -> Result<String, &'static str> {
    if path.trim().is_empty() || path.chars().any(char::is_control) {
        return Err("must be a path");
    }
    let has_drive = |text: &str| matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    let drive = has_drive(path);
    let foreign =
        drive || path.starts_with('\\') || path.starts_with("~\\") || path.contains("..\\") || path.contains("\\..");
    let text = if foreign { path.replace('\\', "/") } else { path.to_owned() };
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("must not climb with ..");
    }
    let begins_anew =
        |text: &str| has_drive(text) || text == "~" || text.starts_with("~/") || text.starts_with("file:");
    let absolute = text.starts_with('/') || begins_anew(&text);
    if !absolute {
        return if parts.is_empty() { Err("must be a path") } else { Ok(path.to_owned()) };
    }
    let run = parts.iter().rposition(|part| *part == adw_id);
    let start = match (run, base) {
        (Some(run), Base::Repository | Base::RepositoryOrName) if run > 0 && parts.get(run - 1) == Some(&"agents") => {
            run - 1
        }
        (Some(run), _) => run + 1,
        (None, Base::WorkingDirectory | Base::RepositoryOrName) => parts.len().saturating_sub(1),
        (None, Base::Run) => return Err("must be relative to the run's own directory"),
        (None, Base::Repository) => return Err("must be relative to the root of the repository"),
    };
    match parts.get(start..) {
        Some([first, rest @ ..]) if !begins_anew(first) => {
            Ok(rest.iter().fold((*first).to_owned(), |path, part| path + "/" + part))
        }
        _ => Err("must be a path"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn adopted(frame: &Value) -> Adopted {
        decode_event(frame).unwrap_or_else(|error| panic!("{frame}: {error}"))
    }

    fn data(kind: &str, data: Value) -> Value {
        adopted(&json!({"type": kind, "data": data})).data
    }

    fn refused(kind: &str, data: Value) -> ErrorBody {
        decode_event(&json!({"type": kind, "data": data})).expect_err(kind)
    }

    #[test]
    fn collision_c9_c10_the_free_forms_of_the_trigger_server_are_read() {
        let log = data("agent_log", json!({"adw_id": "29fb6a3e", "message": "x", "level": "warn", "tokens": 7}));
        assert_eq!(
            log,
            json!({
                "adw_id": "29fb6a3e", "message": "x", "level": "warning", "event_category": "system",
                "event_type": "log", "payload": {"tokens": 7},
            })
        );
        let log = json!({"adw_id": "29fb6a3e", "message": "x", "type": "hook", "a": 1, "payload": {"a": 2}});
        assert_eq!(data("agent_log", log.clone())["payload"], json!({"a": 2}));
        assert_eq!(data("agent_log", log)["event_type"], "hook");
        let summary = data("agent_summary_update", json!({"adw_id": "29fb6a3e", "summary": {"status": "completed"}}));
        assert_eq!(summary, json!({"adw_id": "29fb6a3e", "summary": {"status": "completed"}, "status": "completed"}));
        let words = data("agent_summary_update", json!({"adw_id": "29fb6a3e", "summary": "Halfway"}));
        assert_eq!(words, json!({"adw_id": "29fb6a3e", "message": "Halfway", "status": "in_progress"}));
        assert!(refused("agent_log", json!({"adw_id": "29fb6a3e"})).message.contains("message"));
        assert!(refused("agent_log", json!({"adw_id": "29fb6a3e", "level": "loud"})).message.contains("level"));
    }

    #[test]
    fn collision_c11_c12_either_spelling_is_read() {
        let chunk = json!({"adw_id": "29fb6a3e", "chunk": "a", "orchestrator_agent_id": "o", "is_complete": true});
        assert_eq!(
            data("chat_stream", chunk),
            json!({
                "adw_id": "29fb6a3e", "content": "a", "stream_type": "text", "is_complete": true,
                "orchestrator_agent_id": "o",
            })
        );
        let pre = json!({"adw_id": "29fb6a3e", "tool_name": "Read", "tool_input": {"a": 1}});
        assert_eq!(data("tool_use_pre", pre)["input"], json!({"a": 1}));
        let none = json!({"adw_id": "29fb6a3e", "tool_name": "Read", "input": null});
        assert_eq!(data("tool_use_pre", none)["input"], json!({}));
        for (members, success, output) in [
            (json!({"tool_output": "ok", "status": "success"}), true, json!("ok")),
            (json!({"tool_output": {"a": [1]}, "status": "error"}), false, json!("{\"a\":[1]}")),
            (json!({"output": "ok", "success": true, "status": "error"}), true, json!("ok")),
            (json!({"error": "exit 1"}), false, Value::Null),
            (json!({}), true, Value::Null),
        ] {
            let mut post = members;
            post["adw_id"] = "29fb6a3e".into();
            post["tool_name"] = "Bash".into();
            let post = data("tool_use_post", post);
            assert_eq!((post["success"].as_bool(), post["output"].clone()), (Some(success), output));
            assert!(post.get("status").is_none() && post.get("tool_output").is_none());
        }
        let odd = json!({"adw_id": "29fb6a3e", "tool_name": "Bash", "status": "maybe"});
        assert!(refused("tool_use_post", odd).message.contains("status"));
    }

    #[test]
    fn collision_c13_every_word_for_what_happened_to_a_file_is_read() {
        for (members, wanted) in [
            (json!({"operation": "read"}), "read"),
            (json!({"operation": "write"}), "created"),
            (json!({"operation": "write", "lines_removed": 2}), "modified"),
            (json!({"operation": "write", "diff": "--- a\n+++ b\n+x"}), "created"),
            (json!({"operation": "write", "diff": "--- a\n+++ b\n-y\n+x"}), "modified"),
            (json!({"operation": "modify"}), "modified"),
            (json!({"operation": "delete"}), "deleted"),
            (json!({"operation": "created"}), "created"),
            (json!({"operation": "modified"}), "modified"),
            (json!({"operation": "deleted"}), "deleted"),
        ] {
            let mut members = members;
            members["adw_id"] = "29fb6a3e".into();
            members["file_path"] = "src/app.js".into();
            assert_eq!(data("file_changed", members.clone())["operation"], wanted, "{members}");
        }
        let odd = json!({"adw_id": "29fb6a3e", "file_path": "a", "operation": "touch"});
        assert!(refused("file_changed", odd).message.contains("operation"));
    }

    #[test]
    fn collision_c19_the_orchestrators_spellings_are_read_flat_as_they_are() {
        let change = adopted(&json!({
            "type": "agent_status_changed", "adw_id": "29fb6a3e", "old_status": "idle", "new_status": "busy",
            "timestamp": "2025-11-05T19:22:35.123456",
        }));
        assert_eq!(change.kind, EventType::AdwAgentStatusChange);
        assert_eq!(change.time, Some("2025-11-05T19:22:35.123456Z".parse().unwrap()));
        assert_eq!(change.to, Some("adw:29fb6a3e".parse().unwrap()));
        let typing = json!({"type": "chat_typing", "orchestrator_agent_id": "o", "is_typing": true});
        let typing = adopted(&typing);
        assert_eq!((typing.kind, typing.to), (EventType::AdwTypingIndicator, Some(Audience::Global)));
        let updated = adopted(&json!({"type": "orchestrator_updated", "data": {"tokens": 7}}));
        assert_eq!(updated.data, json!({"orchestrator": {"tokens": 7}}));
        let created = data("agent_created", json!({"adw_id": "29fb6a3e", "issue_number": "66"}));
        assert_eq!(created, json!({"adw_id": "29fb6a3e", "agent": {"issue_number": "66"}}));
    }

    #[test]
    fn adw_06_what_a_publisher_may_not_say_is_refused_and_the_member_at_fault_is_named() {
        for name in THE_SERVERS_OWN {
            assert_eq!(refused(name, json!({})).code, ErrorCode::AudienceNotAllowed);
        }
        assert_eq!(refused("launch", json!({})).code, ErrorCode::UnknownType);
        for (kind, data, named) in [
            ("text_block", json!({"adw_id": "29fb6a3e"}), "content"),
            ("text_block", json!({"adw_id": "29fb6a3", "content": "x"}), "ADW id"),
            ("text_block", json!({"content": "x"}), "adw_id"),
            ("text_block", json!({"adw_id": "29fb6a3e", "content": "x", "timestamp": "yesterday"}), "timestamp"),
            ("status_update", json!({"adw_id": "29fb6a3e", "progress_percent": 101}), "progress_percent"),
            ("agent_summary_update", json!({"adw_id": "29fb6a3e", "progress_percent": "1"}), "progress_percent"),
        ] {
            let error = refused(kind, data);
            assert!(error.code == ErrorCode::InvalidPayload && error.message.contains(named), "{named}: {error}");
        }
        for frame in [json!([]), json!({}), json!({"type": 7}), json!({"type": "text_block", "data": []})] {
            assert_eq!(decode_event(&frame).unwrap_err().code, ErrorCode::InvalidPayload);
        }
    }

    #[test]
    fn adw_07_no_path_that_is_absolute_or_climbs_is_shown() {
        let path = |text: &str, base| relative(text, "29fb6a3e", base);
        for (text, base, wanted) in [
            ("src/app.js", Base::WorkingDirectory, Ok("src/app.js")),
            ("./src/a..b.js", Base::WorkingDirectory, Ok("./src/a..b.js")),
            ("/repo/trees/29fb6a3e/src/app.js", Base::WorkingDirectory, Ok("src/app.js")),
            ("/home/ada/.ssh/config", Base::WorkingDirectory, Ok("config")),
            ("C:\\Users\\ada\\app.js", Base::WorkingDirectory, Ok("app.js")),
            ("\\\\host\\share\\app.js", Base::WorkingDirectory, Ok("app.js")),
            ("~/secret", Base::WorkingDirectory, Ok("secret")),
            ("file:///etc/passwd", Base::WorkingDirectory, Ok("passwd")),
            ("/repo/agents/29fb6a3e/reviewer/review_img/1.png", Base::Run, Ok("reviewer/review_img/1.png")),
            ("/repo/other/1.png", Base::Run, Err(())),
            (
                "/repo/agents/29fb6a3e/29fb6a3e_plan_spec.md",
                Base::Repository,
                Ok("agents/29fb6a3e/29fb6a3e_plan_spec.md"),
            ),
            ("/repo/trees/29fb6a3e/specs/x.md", Base::Repository, Ok("specs/x.md")),
            ("/etc/passwd", Base::Repository, Err(())),
            ("/repo/agents/29fb6a3e/adw_plan_iso/", Base::RepositoryOrName, Ok("agents/29fb6a3e/adw_plan_iso")),
            ("agents/29fb6a3e/adw_plan_iso/", Base::RepositoryOrName, Ok("agents/29fb6a3e/adw_plan_iso/")),
            ("../../etc/passwd", Base::WorkingDirectory, Err(())),
            ("src/../../x", Base::WorkingDirectory, Err(())),
            ("..\\..\\x", Base::WorkingDirectory, Err(())),
            ("..", Base::Repository, Err(())),
            ("/", Base::WorkingDirectory, Err(())),
            ("/repo/29fb6a3e", Base::Run, Err(())),
            (" ", Base::Run, Err(())),
            ("a\u{0}b", Base::Run, Err(())),
        ] {
            assert_eq!(path(text, base).map_err(|_| ()), wanted.map(str::to_owned), "{text}");
        }
        let state = json!({
            "worktree_path": "/home/ada/repo/trees/29fb6a3e", "plan_file": "/home/ada/repo/trees/29fb6a3e/specs/x.md",
            "keys": ["/home/ada/.ssh/id", "C:\\Users\\ada\\x", "/home/ada/../../etc/x"], "url": "https://a.example/b/c",
            "route": "/feature", "text": "see /a/b\nand", "n": 1,
        });
        let shown = json!({
            "worktree_path": "29fb6a3e", "plan_file": "specs/x.md", "keys": ["id", "x", "x"],
            "url": "https://a.example/b/c", "route": "/feature", "text": "see /a/b\nand", "n": 1,
        });
        let change = json!({"adw_id": "29fb6a3e", "metadata": state.clone()});
        assert_eq!(data("agent_summary_update", change)["metadata"], shown);
        assert_eq!(data("agent_updated", json!({"adw_id": "29fb6a3e", "state": state}))["state"], shown);
        let changed = json!({"adw_id": "29fb6a3e", "operation": "read", "file_path": "../x"});
        assert!(refused("file_changed", changed).message.contains("file_path"));
    }
}
