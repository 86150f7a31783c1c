//! Decodes events of AMIGA's back end into events of the catalog.

use serde_json::{Map, Value, json, value::to_raw_value};

use crate::{
    address::Audience,
    catalog::{Event, EventType},
    dialect::Adopted,
    error::{ErrorBody, ErrorCode},
    time::Time,
};

/// Reads an event as the system's back end builds it: `[name, argument]`, or `{"event": .., "data": .., "room": ..}` with
/// the members of its `emit` (SIO-20). Whom it is for is said by `room` alone.
pub(in crate::dialect) fn decode_event(frame: &Value) -> Result<Adopted, ErrorBody> {
    let Emitted { name, argument, to } = emitted(frame)?;
    let mut members = argument.clone();
    let mut time = None;
    let kind = match name {
        "metrics_update" => {
            time = taken_time(name, &mut members)?;
            members = figures(name, members)?;
            EventType::MetricsUpdate
        }
        "interval_updated" => {
            rename(&mut members, "interval", "interval_seconds");
            EventType::MetricsIntervalUpdated
        }
        "task_update" => EventType::TaskUpdate,
        "task_progress" => EventType::TaskProgress,
        "task_complete" => {
            members.shift_remove("status");
            EventType::TaskComplete
        }
        "task_failed" => {
            members.shift_remove("status");
            EventType::TaskFailed
        }
        "task_stopped" => {
            time = taken_time(name, &mut members)?;
            EventType::TaskStopped
        }
        "tool_execution" => {
            time = taken_time(name, &mut members)?;
            if members.get("parameters").and_then(Value::as_object).is_some_and(Map::is_empty) {
                members.shift_remove("parameters");
            }
            EventType::TaskToolExecution
        }
        "response" => {
            rename(&mut members, "type", "response_type");
            EventType::AssistantResponse
        }
        "command_result" => EventType::AssistantCommandResult,
        "clear_chat" => {
            members.shift_remove("success");
            EventType::AssistantCleared
        }
        "connected" | "subscribed" | "unsubscribed" | "error" | "pong" => {
            return Err(ErrorBody::new(ErrorCode::UnknownType, format!("{name} is said by the server itself")));
        }
        other => {
            let shown: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(ErrorBody::new(ErrorCode::UnknownType, format!("this system has no event {shown:?}")));
        }
    };
    members.retain(|_, value| !value.is_null());
    let data = Value::Object(members);
    let raw = to_raw_value(&data).map_err(|_| wrong(name, "data", "cannot be read"))?;
    Event::from_payload(kind, &raw)?;
    Ok(Adopted { kind, data, to, time })
}

/// What the back end emitted.
struct Emitted<'a> {
    name: &'a str,
    argument: &'a Map<String, Value>,
    to: Option<Audience>,
}

fn emitted(frame: &Value) -> Result<Emitted<'_>, ErrorBody> {
    let malformed = || {
        ErrorBody::new(
            ErrorCode::MalformedFrame,
            "an event is [name, argument] or {\"event\": name, \"data\": argument, \"room\": room}",
        )
    };
    match frame {
        Value::Array(event) => match event.as_slice() {
            [Value::String(name), Value::Object(argument)] => Ok(Emitted { name, argument, to: None }),
            _ => Err(malformed()),
        },
        Value::Object(event) => {
            let name = event.get("event").and_then(Value::as_str).ok_or_else(malformed)?;
            let argument =
                event.get("data").and_then(Value::as_object).ok_or_else(|| wrong(name, "data", "must be an object"))?;
            let to = match event.get("room") {
                None | Some(Value::Null) => None,
                Some(Value::String(room)) => {
                    let room = room.parse().map_err(|error| wrong(name, "room", &format!("{error}")))?;
                    Some(Audience::Room(room))
                }
                Some(_) => return Err(wrong(name, "room", "must be the name of a room")),
            };
            Ok(Emitted { name, argument, to })
        }
        _ => Err(malformed()),
    }
}

fn wrong(event: &str, member: &str, what: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidPayload, format!("{event}: {member} {what}"))
}

fn rename(members: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = members.shift_remove(from) {
        members.insert(to.to_owned(), value);
    }
}

/// The member `timestamp`, seconds, as an instant.
fn taken_time(event: &str, members: &mut Map<String, Value>) -> Result<Option<Time>, ErrorBody> {
    match members.shift_remove("timestamp") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => instant(&value).map(Some).ok_or_else(|| wrong(event, "timestamp", "must be seconds since 1970")),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "within the years that an instant has")]
fn instant(value: &Value) -> Option<Time> {
    let seconds = value.as_f64().filter(|seconds| (-60e9..=250e9).contains(seconds))?;
    Some(Time::from_unix_micros((seconds * 1e6).round() as i64))
}

/// The figures of the dashboard: known groups by their names, and the rest in `more`, where nothing is lost.
fn figures(event: &str, mut members: Map<String, Value>) -> Result<Map<String, Value>, ErrorBody> {
    let mut overview = Map::new();
    let mut more = Map::new();
    let groups = match members.shift_remove("overview") {
        Some(Value::Object(groups)) => groups,
        _ => return Err(wrong(event, "overview", "must be an object")),
    };
    for (name, mut group) in groups {
        match name.as_str() {
            "costs" => {
                if let Value::Object(costs) = &mut group {
                    for name in ["total_cost", "haiku_cost", "sonnet_cost"] {
                        rename(costs, name, &format!("{name}_usd"));
                    }
                }
                overview.insert(name, group);
            }
            "tasks" | "claude_api" | "tools" => {
                overview.insert(name, group);
            }
            _ => {
                more.insert(name, group);
            }
        }
    }
    if !more.is_empty() {
        overview.insert("more".to_owned(), Value::Object(more));
    }
    members.insert("overview".to_owned(), Value::Object(overview));
    if members.get("sessions").and_then(Value::as_object).is_some_and(Map::is_empty) {
        members.shift_remove("sessions");
    }
    if let Some(Value::Array(activity)) = members.get_mut("activity") {
        for entry in activity {
            let time = entry.get("timestamp").and_then(instant);
            let Some(entry) = entry.as_object_mut() else { continue };
            let time =
                time.ok_or_else(|| wrong(event, "activity", "has an entry whose timestamp is not in seconds"))?;
            entry.shift_remove("timestamp");
            entry.insert("time".to_owned(), json!(time));
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, Modifiers, Publication, frame::EventKind};

    #[test]
    fn sio_20_every_golden_frame_is_read_as_an_event_that_is_written_as_that_frame() {
        let vectors: Vec<Value> =
            serde_json::from_str(include_str!("../../../../conformance/vectors/amiga.json")).unwrap();
        let mut read = 0;
        for vector in vectors {
            let event_type = EventType::from_name(vector["type"].as_str().unwrap()).unwrap();
            if vector["frame"].is_null() || event_type.spec().is_the_servers_own() {
                continue;
            }
            let adopted = decode_event(&vector["frame"]).unwrap_or_else(|error| panic!("{vector}: {error}"));
            assert_eq!(adopted.kind, event_type);
            let data = to_raw_value(&adopted.data).unwrap();
            let publication = Publication {
                kind: EventKind::Known(adopted.kind),
                to: vector["to"].as_str().unwrap().parse().unwrap(),
                data: data.clone(),
                time: adopted.time,
                id: None,
                expected_prev: None,
                modifiers: Modifiers::default(),
            };
            let now = vector["time"].as_str().unwrap().parse().unwrap();
            let envelope = Envelope::admit(publication, now).unwrap();
            let event = Event::from_payload(event_type, &data).unwrap();
            assert_eq!(super::super::encode(&event, &envelope), Some(vector["frame"].clone()));
            read += 1;
        }
        assert!(read > 10, "{read}");
    }

    #[test]
    fn sio_20_the_room_of_an_emit_is_whom_an_event_is_for() {
        let frame = json!({"event": "task_update", "data": {"task_id": "t1", "status": "running"}, "room": "tasks"});
        let adopted = decode_event(&frame).unwrap();
        assert_eq!(adopted.to.unwrap().to_string(), "room:tasks");
        for room in [json!(null), Value::Null] {
            let mut frame = frame.clone();
            frame["room"] = room;
            assert_eq!(decode_event(&frame).unwrap().to, None);
        }
    }

    #[test]
    fn sio_20_a_wrong_or_missing_member_is_named() {
        for (frame, code, named) in [
            (json!(["metrics_update", {}]), ErrorCode::InvalidPayload, "overview"),
            (json!(["metrics_update", {"overview": {}, "timestamp": "now"}]), ErrorCode::InvalidPayload, "timestamp"),
            (
                json!(["metrics_update", {"overview": {}, "activity": [{"description": "x"}]}]),
                ErrorCode::InvalidPayload,
                "timestamp",
            ),
            (json!(["task_update", {"task_id": "t1"}]), ErrorCode::InvalidPayload, "status"),
            (json!(["task_failed", {"task_id": "t1"}]), ErrorCode::InvalidPayload, "error"),
            (json!({"event": "task_update", "data": 1}), ErrorCode::InvalidPayload, "data"),
            (json!({"event": "task_update", "data": {}, "room": "a b"}), ErrorCode::InvalidPayload, "room"),
            (json!(["connected", {}]), ErrorCode::UnknownType, "server itself"),
            (json!(["chat_fragment", {}]), ErrorCode::UnknownType, "chat_fragment"),
            (json!(["task_update"]), ErrorCode::MalformedFrame, "argument"),
            (json!("task_update"), ErrorCode::MalformedFrame, "argument"),
        ] {
            let error = decode_event(&frame).expect_err(&frame.to_string());
            assert_eq!(error.code, code, "{frame}: {error}");
            assert!(error.message.contains(named), "{frame}: {error}");
        }
    }
}
