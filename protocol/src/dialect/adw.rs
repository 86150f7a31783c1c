//! ADW, the agentic kanban: `{type, data}`, times as ISO 8601 with microseconds and `Z`.
//!
//! Its two servers told the same things under different names; where one frame can hold both spellings it does, since a
//! member too many never broke a page and a missing one did. What its pages ask and what its back ends say is read in the
//! modules below.

mod adopted;
mod asked;

pub(super) use adopted::decode_event;
pub use asked::{Asked, decode};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    address::{Audience, Target},
    catalog::{Event, EventType},
    envelope::Envelope,
    error::ErrorCode,
    event::{
        adw::FileOperation,
        connection::{Pong, Subscribed, Unsubscribed},
    },
    time::Time,
};

macro_rules! supported {
    (of the connection: $($own:ident)+; of runs: $($variant:ident)+) => {
        /// What its clients can be told of.
        pub(super) const SUPPORTED: &[EventType] = &[$(EventType::$own,)+ $(EventType::$variant,)+];

        /// The payload of an event that keeps its name and its members.
        fn of_a_run(event: &Event) -> Option<Map<String, Value>> {
            match event {
                $(Event::$variant(payload) => members(payload),)+
                _ => None,
            }
        }
    };
}

supported! {
    of the connection:
        ConnectionWelcome ConnectionPong ConnectionHeartbeat ConnectionSubscribed ConnectionUnsubscribed ConnectionError;
    of runs:
        AdwAgentLog AdwAgentSummaryUpdate AdwChatStream AdwThinkingBlock AdwToolUsePre AdwToolUsePost AdwFileChanged
        AdwSummaryUpdate AdwTextBlock AdwWorkflowPhaseTransition AdwAgentOutputChunk AdwScreenshotAvailable
        AdwSpecCreated AdwSystemLog AdwTriggerResponse AdwStatusUpdate AdwWorkflowLog AdwStageTransition
        AdwSessionRegistered AdwTicketNotificationResponse AdwAgentCreated AdwAgentUpdated AdwAgentDeleted
        AdwAgentStatusChange AdwOrchestratorUpdated AdwChatMessage AdwTypingIndicator
}

/// The event as its clients read it.
pub(super) fn encode(event: &Event, envelope: &Envelope) -> Option<Value> {
    let time = envelope.time();
    match event {
        Event::ConnectionWelcome(welcome) => frame(
            "connection_ack",
            time,
            json!({
                "connection_id": welcome.connection_id,
                "connected_at": iso(welcome.server_time),
                "message": "Connected",
            }),
        ),
        Event::ConnectionPong(pong) => pong_frame(pong, envelope),
        Event::ConnectionHeartbeat(heartbeat) => frame(
            "heartbeat",
            time,
            json!({
                "server_time": iso(heartbeat.server_time),
                "active_connections": heartbeat.active_connections,
                "server_status": heartbeat.server_status,
            }),
        ),
        Event::ConnectionSubscribed(answer) => subscribed(answer, time),
        Event::ConnectionUnsubscribed(Unsubscribed { streams, .. }) => {
            acknowledgement("unsubscribed", streams.iter().map(|stream| &stream.to), time)
        }
        Event::ConnectionError(error) => refusal(error.code, &error.message, error.details.clone(), time),
        _ => {
            let name = event.event_type().spec().name.strip_prefix("adw.")?;
            let mut data = of_a_run(event)?;
            respell(event, &mut data);
            frame(name, time, Value::Object(data))
        }
    }
}

/// What a payload says otherwise, or says twice, than the event of the catalog.
fn respell(event: &Event, data: &mut Map<String, Value>) {
    match event {
        Event::AdwAgentLog(log) => {
            set(data, "level", log.level.as_str().to_ascii_uppercase());
            default(data, "payload", json!({}));
            nulls(data, &["summary", "current_step"]);
        }
        Event::AdwSystemLog(log) => {
            set(data, "level", log.level.as_str().to_ascii_uppercase());
            default(data, "context", json!({}));
        }
        Event::AdwWorkflowLog(log) => set(data, "level", log.level.as_str().to_ascii_uppercase()),
        Event::AdwChatStream(stream) => set(data, "chunk", stream.content.clone()),
        Event::AdwToolUsePre(call) => set(data, "tool_input", Value::Object(call.input.clone())),
        Event::AdwToolUsePost(call) => {
            nulls(data, &["output", "error"]);
            default(data, "duration_ms", json!(0));
            set(data, "tool_output", call.output.clone());
            set(data, "status", if call.success { "success" } else { "error" });
        }
        Event::AdwAgentSummaryUpdate(_)
        | Event::AdwSummaryUpdate(_)
        | Event::AdwScreenshotAvailable(_)
        | Event::AdwSpecCreated(_) => default(data, "metadata", json!({})),
        Event::AdwWorkflowPhaseTransition(_) => {
            default(data, "metadata", json!({}));
            nulls(data, &["phase_from"]);
        }
        Event::AdwStatusUpdate(_) => nulls(data, &["progress_percent", "current_step"]),
        Event::AdwTriggerResponse(_) => nulls(data, &["adw_id", "workflow_name", "logs_path", "error"]),
        _ => {}
    }
}

/// The page takes the outer `timestamp` from its own clock, so that is a number always: the one that it sent, or the
/// server's milliseconds where it sent none.
fn pong_frame(pong: &Pong, envelope: &Envelope) -> Option<Value> {
    let Audience::Connection(id) = envelope.audience() else { return None };
    let timestamp = match &pong.client_time {
        Some(Value::Number(number)) => Value::Number(number.clone()),
        _ => json!(pong.server_time.as_unix_micros().div_euclid(1000)),
    };
    let mut pong = frame("pong", envelope.time(), json!({}))?;
    let members = pong.as_object_mut()?;
    set(members, "timestamp", timestamp);
    set(members, "connection_id", id.to_string());
    Some(pong)
}

/// Where nothing was granted, the page is told of the first refusal: no silence, and no word that it is subscribed.
fn subscribed(answer: &Subscribed, time: Time) -> Option<Value> {
    match answer.refused.first() {
        Some(refused) if answer.streams.is_empty() => {
            let details = Map::from_iter([("to".to_owned(), json!(refused.to))]);
            refusal(refused.code, &refused.message, Some(details), time)
        }
        _ => acknowledgement("subscribed", answer.streams.iter().map(|stream| &stream.to), time),
    }
}

fn acknowledgement<'a>(status: &str, streams: impl Iterator<Item = &'a Target>, time: Time) -> Option<Value> {
    let adws = streams.filter_map(|stream| match stream {
        Target::Adw(id) => Some(id),
        _ => None,
    });
    let adws: Vec<_> = adws.collect();
    frame("subscription_ack", time, json!({ "adw_id": adws.first(), "status": status, "adw_ids": adws }))
}

fn refusal(code: ErrorCode, message: &str, details: Option<Map<String, Value>>, time: Time) -> Option<Value> {
    let details = details.unwrap_or_default();
    frame(
        "error",
        time,
        json!({
            "error_code": code,
            "error_type": error_type(code),
            "error_message": message,
            "message": message,
            "details": details,
        }),
    )
}

/// The code in the trigger server's words; B4: its model of an error has these three and no word for a limit.
fn error_type(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal => "system_error",
        _ => "validation_error",
    }
}

/// A frame, and in its `data` the time of the event.
fn frame(name: &str, time: Time, mut data: Value) -> Option<Value> {
    set(data.as_object_mut()?, "timestamp", iso(time));
    Some(json!({ "type": name, "data": data }))
}

fn members(payload: &impl Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(payload) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

fn set(members: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    members.insert(name.to_owned(), value.into());
}

fn default(members: &mut Map<String, Value>, name: &str, value: Value) {
    members.entry(name).or_insert(value);
}

fn nulls(members: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        default(members, name, Value::Null);
    }
}

/// An instant with six digits after the point, whatever they are.
fn iso(time: Time) -> String {
    let text = time.to_string();
    let text = text.strip_suffix('Z').unwrap_or(&text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<6}Z")
}

/// The event as the clients of the trigger server read it (ADW-08): its time stands beside the type as well, and what
/// happened to a file is said in that server's words. A pong has a number there already (T6).
pub(super) fn encode_for_trigger(event: &Event, envelope: &Envelope) -> Option<Value> {
    let mut frame = encode(event, envelope)?;
    let members = frame.as_object_mut()?;
    default(members, "timestamp", json!(iso(envelope.time())));
    if let (Event::AdwFileChanged(change), Some(Value::Object(data))) = (event, members.get_mut("data")) {
        let operation = match change.operation {
            FileOperation::Read => "read",
            FileOperation::Created => "write",
            FileOperation::Modified => "modify",
            FileOperation::Deleted => "delete",
        };
        set(data, "operation", operation);
    }
    Some(frame)
}

/// A text that is not empty, or a number as text: ids of issues and tickets come as both.
fn text_or_number(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(name: &str, to: &str, data: &Value) -> Option<Value> {
        let event_type = EventType::from_name(name).unwrap();
        let event = Event::from_payload(event_type, &serde_json::value::to_raw_value(data).unwrap()).unwrap();
        let probe = Envelope::probe(crate::frame::EventKind::Known(event_type), to.parse().unwrap()).unwrap();
        encode(&event, &probe)
    }

    #[test]
    fn trap_t6_the_outer_timestamp_of_a_pong_is_a_number_whatever_the_client_sent() {
        for client_time in [json!(null), json!("2025-11-05T19:22:40Z"), json!(1.5), json!({"at": 7}), json!(u64::MAX)] {
            let data = json!({ "client_time": client_time, "server_time": "2025-11-05T19:22:40Z" });
            let pong = spelled("connection.pong", "connection:c0000000000000001", &data).unwrap();
            let wanted = if client_time.is_number() { client_time } else { json!(1_762_370_560_000_u64) };
            assert_eq!(pong["timestamp"], wanted);
            assert!(pong["data"]["timestamp"].is_string());
        }
    }

    #[test]
    fn trap_t8_an_error_frame_is_made_only_of_what_goes_to_one_connection() {
        for (event_type, example) in crate::catalog::examples() {
            let spec = event_type.spec();
            let frame = spelled(spec.name, &spec.an_audience().to_string(), &example);
            if frame.is_some_and(|frame| frame["type"] == "error") {
                assert_eq!(spec.audiences, [crate::address::AudienceKind::Connection], "{event_type}");
            }
        }
    }

    #[test]
    fn bug_b4_every_error_is_of_a_type_that_the_pages_model_has() {
        for code in ErrorCode::ALL {
            let data = json!({ "code": code, "message": "no", "retryable": code.retryable() });
            let frame = spelled("connection.error", "connection:c0000000000000001", &data).unwrap();
            let word = frame["data"]["error_type"].as_str().unwrap();
            assert!(["validation_error", "workflow_error", "system_error"].contains(&word), "{code}: {word}");
        }
    }

    #[test]
    fn every_frame_has_data_and_a_time_of_six_digits() {
        for (event_type, example) in crate::catalog::examples() {
            let spec = event_type.spec();
            let Some(frame) = spelled(spec.name, &spec.an_audience().to_string(), &example) else { continue };
            let timestamp = frame["data"]["timestamp"].as_str().unwrap();
            assert_eq!(timestamp.len(), "2025-11-05T19:22:35.123456Z".len(), "{event_type}: {timestamp}");
        }
    }

    #[test]
    fn collision_c1_an_error_says_what_either_servers_page_reads() {
        let data = json!({ "code": "invalid_id", "message": "no", "retryable": false, "details": { "to": "x" } });
        let frame = spelled("connection.error", "connection:c0000000000000001", &data).unwrap();
        let data = &frame["data"];
        assert_eq!((&data["error_code"], &data["error_type"]), (&json!("invalid_id"), &json!("validation_error")));
        assert_eq!((&data["message"], &data["error_message"]), (&json!("no"), &json!("no")));
        assert_eq!(data["details"], json!({ "to": "x" }));
    }

    #[test]
    fn collision_c2_adw_08_a_pong_is_spelled_alike_for_either_server() {
        let event_type = EventType::ConnectionPong;
        let data = json!({ "client_time": 7, "server_time": "2025-11-05T19:22:40Z" });
        let event = Event::from_payload(event_type, &serde_json::value::to_raw_value(&data).unwrap()).unwrap();
        let to = "connection:c0000000000000001".parse().unwrap();
        let probe = Envelope::probe(crate::frame::EventKind::Known(event_type), to).unwrap();
        assert_eq!(encode_for_trigger(&event, &probe), encode(&event, &probe));
        assert_eq!(encode(&event, &probe).unwrap()["timestamp"], 7);
    }

    #[test]
    fn collision_c8_a_heartbeat_has_the_members_of_both_servers() {
        let now = "2025-11-05T19:22:40Z";
        let data = json!({ "server_time": now, "active_connections": 3, "server_status": "healthy", "positions": [] });
        let frame = spelled("connection.heartbeat", "connection:c0000000000000001", &data).unwrap();
        let data = frame["data"].as_object().unwrap();
        let mut members: Vec<&str> = data.keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["active_connections", "server_status", "server_time", "timestamp"]);
        assert_eq!(data["server_time"], "2025-11-05T19:22:40.000000Z");
    }

    #[test]
    fn collision_c11_c12_both_spellings_say_the_same() {
        let examples = crate::catalog::examples();
        for (event_type, example) in examples {
            let spec = event_type.spec();
            for (name, one, other) in [
                ("adw.chat_stream", "content", "chunk"),
                ("adw.tool_use_pre", "input", "tool_input"),
                ("adw.tool_use_post", "output", "tool_output"),
                ("connection.error", "error_message", "message"),
            ] {
                if name == spec.name {
                    let frame = spelled(name, &spec.an_audience().to_string(), &example).unwrap();
                    assert_eq!(frame["data"][one], frame["data"][other], "{name}");
                    assert!(!frame["data"][one].is_null(), "{name}");
                }
            }
        }
    }

    #[test]
    fn bug_b5_a_subscription_that_was_refused_is_answered_with_an_error() {
        let refused = json!({ "to": "adw:29fb6a3e", "code": "forbidden", "message": "not yours" });
        let data = json!({ "epoch": "9f3a77c2d1e05b64", "streams": [], "refused": [refused] });
        let frame = spelled("connection.subscribed", "connection:c0000000000000001", &data).unwrap();
        assert_eq!(frame["type"], "error");
        assert_eq!(frame["data"]["error_code"], "forbidden");
    }
}
