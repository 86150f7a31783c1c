//! Product Demo: flat frames in camel case.
//!
//! Its progress is a whole number where it can be, its stages are in capitals, and every frame of one kind has the same
//! members: what an event leaves out is filled in where the system of origin implied it, and left out otherwise.

use serde_json::{Number, Value, json};

use super::Adopted;
use crate::{
    catalog::{Event, EventType},
    envelope::Envelope,
    error::{ErrorBody, ErrorCode},
    event::product::{
        DocumentState, DocumentStatus, InstallProgress, InstallStage, InstallStatus, RagProgress, RagStage,
    },
};

/// What its clients can be told of.
///
/// `connection.closing` is not among them. The one closing that they know a frame for is the one in favour of a newer
/// connection, after which they do not come back; told of any other in those words, they would stay away from a server
/// that only restarts. The closing of the socket itself tells them enough.
pub(super) const SPELLS: &[EventType] = &[
    EventType::ConnectionWelcome,
    EventType::ConnectionPong,
    EventType::ConnectionError,
    EventType::DocumentStatus,
    EventType::RagProgress,
    EventType::MessageChunk,
    EventType::InstallProgress,
    EventType::SessionExpiring,
    EventType::UserActivity,
    EventType::McpConnecting,
    EventType::McpConnected,
    EventType::McpConnectError,
    EventType::McpToolResult,
    EventType::McpDisconnected,
    EventType::McpReconnecting,
    EventType::McpSseEvent,
];

/// The event as its clients read it.
pub(super) fn encode(event: &Event, envelope: &Envelope) -> Option<Value> {
    let frame = match event {
        Event::ConnectionWelcome(_) => json!({"type": "connection_established", "message": "You are connected."}),
        Event::ConnectionPong(_) => {
            json!({"type": "pong", "timestamp": envelope.time().as_unix_micros().div_euclid(1000)})
        }
        Event::ConnectionError(error) => json!({"type": "error", "error": error.message}),
        Event::DocumentStatus(status) => document_status(status),
        Event::RagProgress(progress) => rag_progress(progress),
        Event::MessageChunk(chunk) => json!({
            "type": "message_chunk",
            "messageId": chunk.message_id,
            "sessionId": chunk.session_id,
            "content": chunk.content,
            "isComplete": chunk.is_complete,
        }),
        Event::InstallProgress(progress) => install_progress(progress),
        Event::SessionExpiring(login) => json!({
            "type": "session_update",
            "status": login.status,
            "expiresIn": login.expires_in_seconds,
        }),
        Event::UserActivity(activity) => json!({
            "type": "user_activity",
            "userId": activity.user_id,
            "username": activity.username,
            "action": activity.action,
            "documentId": activity.document_id,
        }),
        Event::McpConnecting(mcp) => json!({
            "type": "mcp_connecting",
            "connectionId": mcp.mcp_connection_id,
            "host": mcp.host,
            "port": mcp.port,
        }),
        Event::McpConnected(mcp) => json!({
            "type": "mcp_connected",
            "connectionId": mcp.mcp_connection_id,
            "clientId": mcp.client_id,
            "host": mcp.host,
            "port": mcp.port,
        }),
        Event::McpConnectError(mcp) => json!({
            "type": "mcp_connect_error",
            "error": mcp.error,
            "connectionId": mcp.mcp_connection_id,
            "host": mcp.host,
            "port": mcp.port,
        }),
        Event::McpToolResult(mcp) => json!({
            "type": "mcp_tool_result",
            "connectionId": mcp.mcp_connection_id,
            "result": mcp.result,
        }),
        Event::McpDisconnected(mcp) => json!({"type": "mcp_disconnected", "connectionId": mcp.mcp_connection_id}),
        Event::McpReconnecting(mcp) => json!({
            "type": "mcp_reconnecting",
            "connectionId": mcp.mcp_connection_id,
            "message": mcp.message,
        }),
        Event::McpSseEvent(mcp) => json!({
            "type": "mcp_sse_event",
            "connectionId": mcp.mcp_connection_id,
            "event": mcp.event,
        }),
        _ => return None,
    };
    Some(without_absent(frame))
}

/// The frame without the members that the event does not have: null is a value to these clients.
fn without_absent(mut frame: Value) -> Value {
    if let Value::Object(members) = &mut frame {
        members.retain(|_, value| !value.is_null());
    }
    frame
}

/// A percentage as the system of origin wrote it, 75 rather than 75.0.
fn number(percent: f64) -> Option<Number> {
    percent.to_string().parse().ok()
}

/// Every frame of the origin has a percentage, so an event without one gets the one that its status stands for.
fn document_status(status: &DocumentStatus) -> Value {
    let (word, implied) = match &status.status {
        // The client compares words as they are, and this one it knows in small letters only.
        DocumentState::Pending => ("pending".to_owned(), 0.0),
        state @ DocumentState::Uploaded => (capitals(state.as_str()), 10.0),
        state @ DocumentState::Processing => (capitals(state.as_str()), 30.0),
        state @ DocumentState::Embedding => (capitals(state.as_str()), 70.0),
        state @ DocumentState::Processed => (capitals(state.as_str()), 100.0),
        state @ DocumentState::Error => (capitals(state.as_str()), 0.0),
        state @ DocumentState::Other(_) => (capitals(state.as_str()), 50.0),
    };
    json!({
        "type": "document_status",
        "documentId": status.document_id,
        "status": word,
        "progress": number(status.percent.unwrap_or(implied)),
        // `error` is of later clients; the first ones know `message` alone, so what went wrong stands there as well
        // when nothing else does.
        "message": status.message.as_ref().or(status.error.as_ref()),
        "error": status.error,
    })
}

/// As with documents, the stage stands for a percentage; a stage that is not known stands for none.
fn rag_progress(progress: &RagProgress) -> Value {
    let implied = match progress.stage {
        RagStage::Started => Some(0.0),
        RagStage::Embedding => Some(20.0),
        RagStage::Retrieval => Some(40.0),
        RagStage::Generation => Some(70.0),
        RagStage::Complete => Some(100.0),
        RagStage::Other(_) => None,
    };
    json!({
        "type": "rag_progress",
        "queryId": progress.query_id,
        "stage": capitals(progress.stage.as_str()),
        "message": progress.message,
        "progress": progress.percent.or(implied).and_then(number),
        "result": progress.result,
    })
}

/// One frame, although later clients split it in two: `status` and `message` are of the one half, `stream` is of the
/// other, and clients of the one frame pass over all three. These know how an installation fares by its stage alone, so
/// that is made out of the status where the event has none; output without either is of a command that is running.
fn install_progress(progress: &InstallProgress) -> Value {
    let executing = || capitals(InstallStage::Executing.as_str());
    let stage = match (&progress.stage, &progress.status) {
        (Some(stage), _) => Some(capitals(stage.as_str())),
        (None, Some(InstallStatus::Installing)) => Some(executing()),
        (None, Some(status)) => Some(capitals(status.as_str())),
        (None, None) => progress.output.as_ref().map(|_| executing()),
    };
    json!({
        "type": "mcp_install_progress",
        "installId": progress.install_id,
        "stage": stage,
        "status": progress.status,
        "message": progress.message,
        "output": progress.output,
        "stream": progress.stream,
        "progress": progress.percent.and_then(number),
    })
}

fn capitals(word: &str) -> String {
    word.to_ascii_uppercase()
}

/// The event as the clients of the variant read it.
pub(super) fn encode_nested(event: &Event, envelope: &Envelope) -> Option<Value> {
    encode(event, envelope)
}

/// Reads an event as the system's back end builds it.
pub(super) fn decode_event(frame: &Value) -> Result<Adopted, ErrorBody> {
    let _ = frame;
    Err(ErrorBody::new(ErrorCode::UnknownType, "to be written"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Audience, frame::EventKind, time::Time};

    fn encoded(event_type: EventType, data: &Value) -> Value {
        let event = Event::from_payload(event_type, &serde_json::value::to_raw_value(data).unwrap()).unwrap();
        let envelope = Envelope::probe(EventKind::Known(event_type), event_type.spec().an_audience()).unwrap();
        encode(&event, &envelope).unwrap()
    }

    /// An unknown owner made the system of origin tell everyone.
    #[test]
    fn bug_b2_what_is_one_users_cannot_be_addressed_to_everyone() {
        for event_type in SPELLS {
            let everyone = event_type.spec().admit(Audience::Global);
            assert_eq!(everyone.is_ok(), *event_type == EventType::UserActivity, "{event_type}");
        }
    }

    /// The example of the description says 50 for this stage and its code says 40: what the event says is passed on.
    #[test]
    fn trap_t15_every_percentage_is_passed_on_as_a_number_that_says_the_same() {
        for percent in [json!(0), json!(40), json!(50), json!(50.0), json!(33.25), json!(100)] {
            let frame = encoded(
                EventType::RagProgress,
                &json!({"query_id": "query-123", "stage": "retrieval", "percent": percent}),
            );
            let written = frame.get("progress").unwrap();
            assert_eq!(written.as_f64(), percent.as_f64());
            assert_eq!(written.is_u64(), percent.as_f64().unwrap().fract() == 0.0);
        }
    }

    #[test]
    fn no_frame_has_a_null() {
        for (event_type, example) in crate::catalog::examples() {
            if !SPELLS.contains(&event_type) {
                continue;
            }
            let frame = encoded(event_type, &example);
            assert!(frame.as_object().unwrap().values().all(|value| !value.is_null()), "{frame}");
        }
        let frame = encoded(EventType::InstallProgress, &json!({"install_id": "install-123"}));
        assert_eq!(frame, json!({"type": "mcp_install_progress", "installId": "install-123"}));
    }

    #[test]
    fn trap_c2_the_pong_counts_whole_milliseconds_also_before_1970() {
        let pong =
            crate::event::connection::Pong { re: None, client_time: None, server_time: Time::from_unix_micros(0) };
        let id = "c0000000000000001".parse().unwrap();
        for (micros, millis) in [(1_747_735_200_000_999, 1_747_735_200_000_i64), (-1, -1), (0, 0)] {
            let envelope = Envelope::to_connection(id, &pong, Time::from_unix_micros(micros)).unwrap();
            let frame = encode(&pong.clone().into(), &envelope).unwrap();
            assert_eq!(frame, json!({"type": "pong", "timestamp": millis}));
        }
    }
}
