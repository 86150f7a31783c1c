//! AMIGA monitoring: a Socket.IO event, that is its name and one argument; times in seconds with a fraction.

mod adopt;
mod ask;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    catalog::{Event, EventType},
    envelope::Envelope,
    event::metrics::{CostMetrics, MetricsOverview, MetricsUpdate},
    time::Time,
};

pub(super) use adopt::decode_event;
pub use ask::{
    Asked, DEFAULT_HOURS, DEFAULT_INTERVAL, Groups, MAX_FRAME_BYTES, MAX_HOURS, MAX_INTERVAL, Subscription, decode,
    hours_of,
};

/// What its clients can be told of.
pub(super) const SUPPORTED: &[EventType] = &[
    EventType::ConnectionWelcome,
    EventType::ConnectionPong,
    EventType::ConnectionError,
    EventType::ConnectionReply,
    EventType::MetricsUpdate,
    EventType::MetricsIntervalUpdated,
    EventType::TaskUpdate,
    EventType::TaskProgress,
    EventType::TaskComplete,
    EventType::TaskFailed,
    EventType::TaskStopped,
    EventType::TaskToolExecution,
    EventType::AssistantResponse,
    EventType::AssistantCommandResult,
    EventType::AssistantCleared,
];

/// The event as its clients read it.
pub(super) fn encode(event: &Event, envelope: &Envelope) -> Option<Value> {
    let now = seconds(envelope.time());
    let (name, argument) = match event {
        Event::ConnectionWelcome(welcome) => {
            ("connected", json!({ "status": "connected", "client_id": welcome.connection_id }))
        }
        Event::ConnectionPong(pong) => ("pong", json!({ "timestamp": seconds(pong.server_time) })),
        Event::ConnectionError(error) => ("error", json!({ "error": error.message, "timestamp": now })),
        Event::ConnectionReply(reply) => {
            let name = match reply.data.get("status").and_then(Value::as_str) {
                Some("subscribed") => "subscribed",
                Some("unsubscribed") => "unsubscribed",
                _ => "reply",
            };
            (name, Value::Object(reply.data.clone()))
        }
        Event::MetricsUpdate(update) => ("metrics_update", figures(update, now)?),
        Event::MetricsIntervalUpdated(updated) => ("interval_updated", json!({ "interval": updated.interval_seconds })),
        Event::TaskUpdate(task) => ("task_update", with(task, [])?),
        Event::TaskProgress(task) => ("task_progress", with(task, [])?),
        Event::TaskComplete(task) => ("task_complete", with(task, [("status", json!("completed"))])?),
        Event::TaskFailed(task) => ("task_failed", with(task, [("status", json!("failed"))])?),
        Event::TaskStopped(task) => {
            ("task_stopped", json!({ "task_id": task.task_id, "message": task.message, "timestamp": now }))
        }
        Event::TaskToolExecution(call) => (
            "tool_execution",
            json!({
                "task_id": call.task_id,
                "tool_name": call.tool_name,
                "timestamp": now,
                "duration_ms": call.duration_ms,
                "success": call.success,
                "error": call.error,
                "parameters": call.parameters.clone().unwrap_or_default(),
                "output_preview": call.output_preview,
                "status": call.status,
            }),
        ),
        Event::AssistantResponse(response) => {
            let mut argument = members(response)?;
            let kind = argument.shift_remove("response_type")?;
            argument.insert("type".to_owned(), kind);
            ("response", Value::Object(argument))
        }
        Event::AssistantCommandResult(result) => ("command_result", with(result, [])?),
        Event::AssistantCleared(cleared) => (
            "clear_chat",
            cleared.reason.as_ref().map_or_else(|| json!({ "success": true }), |reason| json!({ "reason": reason })),
        ),
        _ => return None,
    };
    Some(json!([name, argument]))
}

/// The welcome of a client that knows itself by a name of its transport's, the `socket.id` of Socket.IO.
pub fn connected(client_id: &str) -> Bytes {
    json!(["connected", { "status": "connected", "client_id": client_id }]).to_string().into()
}

/// The figures as an answer of HTTP or an event of server-sent events has them: the argument of `metrics_update`. `None`
/// for a payload that cannot be written.
pub fn metrics_update(update: &MetricsUpdate, time: Time) -> Option<Value> {
    figures(update, seconds(time))
}

/// The figures of the dashboard. All four members are there always, for the page looks into each of them.
fn figures(update: &MetricsUpdate, now: f64) -> Option<Value> {
    let activity: Vec<Value> = update
        .activity
        .iter()
        .map(|entry| json!({ "description": entry.description, "timestamp": seconds(entry.time) }))
        .collect();
    let sessions = match &update.sessions {
        Some(sessions) => members(sessions)?,
        None => Map::new(),
    };
    Some(json!({
        "overview": overview(&update.overview)?,
        "sessions": sessions,
        "activity": activity,
        "timestamp": now,
    }))
}

/// Groups that are not counted are absent. What a back end counts besides stands beside the groups and never in the
/// place of one.
fn overview(overview: &MetricsOverview) -> Option<Map<String, Value>> {
    let mut groups = overview.more.clone().unwrap_or_default();
    let mut known = members(overview)?;
    known.shift_remove("more");
    if let Some(CostMetrics { total_cost_usd, haiku_cost_usd, sonnet_cost_usd }) = &overview.costs {
        let mut costs = Map::from_iter([("total_cost".to_owned(), json!(total_cost_usd))]);
        costs.extend(haiku_cost_usd.map(|cost| ("haiku_cost".to_owned(), json!(cost))));
        costs.extend(sonnet_cost_usd.map(|cost| ("sonnet_cost".to_owned(), json!(cost))));
        known.insert("costs".to_owned(), Value::Object(costs));
    }
    groups.extend(known);
    Some(groups)
}

fn with<const N: usize>(payload: &impl Serialize, more: [(&str, Value); N]) -> Option<Value> {
    let mut argument = members(payload)?;
    argument.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Some(Value::Object(argument))
}

fn members(payload: &impl Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(payload) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "instants of our age are exact to the microsecond")]
fn seconds(time: Time) -> f64 {
    time.as_unix_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(time: &str) -> Value {
        let data = crate::event::metrics::examples().into_iter().find(|(name, _)| *name == "metrics.update").unwrap().1;
        let event_type = EventType::MetricsUpdate;
        let event = Event::from_payload(event_type, &serde_json::value::to_raw_value(&data).unwrap()).unwrap();
        let Event::MetricsUpdate(update) = event else { unreachable!("that is what was read") };
        figures(&update, seconds(time.parse().unwrap())).unwrap()
    }

    #[test]
    fn trap_t10_figures_that_have_not_changed_differ_in_their_outer_timestamp_only() {
        let (mut one, mut other) = (update("2025-10-20T13:35:23.4Z"), update("2025-10-20T13:35:25.4Z"));
        assert_ne!(one, other);
        one.as_object_mut().unwrap().remove("timestamp");
        other.as_object_mut().unwrap().remove("timestamp");
        assert_eq!(one, other);
    }

    #[test]
    fn trap_t11_a_figure_of_the_back_end_never_takes_the_place_of_a_group() {
        let data = json!({ "tasks": { "total": 1 }, "more": { "tasks": "none", "task_statistics": { "total": 1 } } });
        let figures = overview(&serde_json::from_value(data).unwrap()).unwrap();
        assert_eq!(figures["tasks"]["total"], 1);
        assert_eq!(figures["task_statistics"]["total"], 1);
        assert!(!figures.contains_key("more"));
    }

    #[test]
    fn times_are_seconds_to_the_microsecond() {
        assert_eq!(json!(seconds("2025-10-20T13:35:23.400001Z".parse().unwrap())).to_string(), "1760967323.400001");
        assert_eq!(json!(seconds("1970-01-01T00:00:01Z".parse().unwrap())).to_string(), "1.0");
    }
}
