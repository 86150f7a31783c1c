//! Product Demo: flat frames in camel case.
//!
//! Its progress is a whole number where it can be, its stages are in capitals, and every frame of one kind has the same
//! members: what an event leaves out is filled in where the system of origin implied it, and left out otherwise.

use serde_json::{Map, Number, Value, json};

use super::{Adopted, product_users::login_id};
use crate::{
    address::Audience,
    catalog::{Event, EventType},
    envelope::Envelope,
    error::{ErrorBody, ErrorCode},
    event::product::{
        DocumentState, DocumentStatus, InstallProgress, InstallStage, InstallStatus, OutputStream, RagProgress,
        RagStage, UserAction,
    },
    frame,
    id::ItemId,
    time::Time,
};

/// Largest frame that its clients send, in bytes: what a tool is called with, and nothing larger.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// What its clients can be told of.
///
/// `connection.closing` is not among them. The one closing that they know a frame for is the one in favor of a newer
/// connection, after which they do not come back; told of any other in those words, they would stay away from a server
/// that only restarts. The closing of the socket itself tells them enough.
pub(super) const SUPPORTED: &[EventType] = &[
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
            "userId": login_id(activity.user_id.as_str()),
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

/// The percentage that a status stands for: every frame of the origin has one, so an event without gets this.
fn implied(status: &DocumentState) -> f64 {
    match status {
        DocumentState::Pending | DocumentState::Error => 0.0,
        DocumentState::Uploaded => 10.0,
        DocumentState::Processing => 30.0,
        DocumentState::Embedding => 70.0,
        DocumentState::Processed => 100.0,
        DocumentState::Other(_) => 50.0,
    }
}

fn document_status(status: &DocumentStatus) -> Value {
    let word = match &status.status {
        // The client compares words as they are, and this one it knows in small letters only.
        DocumentState::Pending => "pending".to_owned(),
        state => capitals(state.as_str()),
    };
    json!({
        "type": "document_status",
        "documentId": status.document_id,
        "status": word,
        "progress": number(status.percent.unwrap_or_else(|| implied(&status.status))),
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

/// The event as the clients of the later releases read it: they know the status of a document nested under `payload`
/// (C14), and everything else as the first ones do.
pub(super) fn encode_nested(event: &Event, envelope: &Envelope) -> Option<Value> {
    match event {
        Event::DocumentStatus(status) => Some(document_status_update(status, envelope.time())),
        other => encode(other, envelope),
    }
}

fn document_status_update(status: &DocumentStatus, time: Time) -> Value {
    // Where these clients know a word in small letters as well as in capitals, their own servers wrote the small ones.
    let word = match &status.status {
        DocumentState::Pending => "pending".to_owned(),
        DocumentState::Processing => "processing".to_owned(),
        DocumentState::Processed => "completed".to_owned(),
        DocumentState::Error => "error".to_owned(),
        state => capitals(state.as_str()),
    };
    let payload = json!({
        "documentId": status.document_id,
        "status": word,
        "progress": number(status.percent.unwrap_or_else(|| implied(&status.status))),
        "message": status.message.as_ref().or(status.error.as_ref()),
        "timestamp": iso_millis(time),
        "error": status.error,
    });
    json!({"type": "document_status_update", "payload": without_absent(payload)})
}

/// An instant as `Date.prototype.toISOString` writes it: three digits after the point, always.
fn iso_millis(time: Time) -> String {
    let micros = time.as_unix_micros();
    let whole = Time::from_unix_micros(micros.div_euclid(1_000_000) * 1_000_000).to_string();
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), micros.rem_euclid(1_000_000) / 1_000)
}

// ---------------------------------------------------------------------------------------------------------------
// What clients send
// ---------------------------------------------------------------------------------------------------------------

/// What a client asks for (PRD-04).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Asked {
    /// `ping`: to be answered with `pong`.
    Ping {
        /// The client's clock, in its own units.
        timestamp: Option<Value>,
    },
    /// `manual_connection`: a person pressed a button to see whether the connection is there.
    ManualConnection,
    /// `user_activity`: others are to be told what the user does. Who the user is, the frame does not say: the
    /// connection knows.
    UserActivity {
        /// What the user does.
        action: UserAction,
        /// With which document.
        document_id: Option<ItemId>,
    },
    /// Something for the application behind the server.
    Application {
        /// `mcp_connect` or `mcp_execute_tool`.
        name: &'static str,
        /// The members of the frame but its type, as they came.
        data: Map<String, Value>,
    },
}

/// The commands that are the application's to answer.
const APPLICATION: &[&str] = &["mcp_connect", "mcp_execute_tool"];

/// Reads a frame of a client.
///
/// # Errors
/// What strict reading says, `malformed_frame` for what is no object with a `type`, `unknown_command`, and
/// `invalid_payload` naming the member that is wrong.
pub fn decode(bytes: &[u8]) -> Result<Asked, ErrorBody> {
    let text = &*frame::read_document(bytes, MAX_FRAME_BYTES)?;
    let malformed = || ErrorBody::new(ErrorCode::MalformedFrame, "a frame is a JSON object with a \"type\"");
    let Ok(Value::Object(mut members)) = serde_json::from_str(text) else { return Err(malformed()) };
    let Some(Value::String(kind)) = members.shift_remove("type") else { return Err(malformed()) };
    let read = Members { kind: &kind, members: &members };
    match kind.as_str() {
        "ping" => {
            let timestamp = read.member("timestamp").filter(|it| it.is_number() || it.is_string()).cloned();
            Ok(Asked::Ping { timestamp })
        }
        "manual_connection" => Ok(Asked::ManualConnection),
        "user_activity" => Ok(Asked::UserActivity {
            action: UserAction::from(read.required("action", Members::text)?),
            document_id: read.id("documentId")?,
        }),
        other => match APPLICATION.iter().find(|name| **name == other) {
            Some(name) => Ok(Asked::Application { name, data: members }),
            None => {
                let message = format!(
                    "no command {:?} here; there are ping, manual_connection, user_activity, {}",
                    shown(other),
                    APPLICATION.join(", ")
                );
                Err(ErrorBody::new(ErrorCode::UnknownCommand, message))
            }
        },
    }
}

/// Text of a frame, short enough to be shown to its sender.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

// ---------------------------------------------------------------------------------------------------------------
// What its back ends build
// ---------------------------------------------------------------------------------------------------------------

/// The words of an installation's phase: as later back ends write them under `status`, and as the one frame has them under
/// `stage` (C15). A command that runs is the one phase whose two names differ.
const PHASES: &[(&str, &str)] = &[
    ("connecting", "CONNECTING"),
    ("connected", "CONNECTED"),
    ("preparing", "PREPARING"),
    ("installing", "EXECUTING"),
    ("success", "SUCCESS"),
    ("failed", "FAILED"),
    ("error", "ERROR"),
];

/// Reads an event as the system's back end builds it (PRD-09): the frames of the first clients, and what later releases
/// made of two of them. Whom it is for, a frame does not say, but for `user_activity`, which is for everyone else.
pub(super) fn decode_event(frame: &Value) -> Result<Adopted, ErrorBody> {
    let malformed = || ErrorBody::new(ErrorCode::MalformedFrame, "an event is a JSON object with a \"type\"");
    let members = frame.as_object().ok_or_else(malformed)?;
    let kind = members.get("type").and_then(Value::as_str).ok_or_else(malformed)?;
    let read = Members { kind, members };
    let mut time = None;
    let event_type = match kind {
        "document_status" | "document_status_update" => EventType::DocumentStatus,
        "rag_progress" => EventType::RagProgress,
        "message_chunk" => EventType::MessageChunk,
        "mcp_install_progress" | "mcp_install" | "mcp_install_output" => EventType::InstallProgress,
        "session_update" => EventType::SessionExpiring,
        "user_activity" => EventType::UserActivity,
        "mcp_connecting" => EventType::McpConnecting,
        "mcp_connected" => EventType::McpConnected,
        "mcp_connect_error" => EventType::McpConnectError,
        "mcp_tool_result" => EventType::McpToolResult,
        "mcp_disconnected" => EventType::McpDisconnected,
        "mcp_reconnecting" => EventType::McpReconnecting,
        "mcp_sse_event" => EventType::McpSseEvent,
        other => {
            let message = format!("Product Demo's back ends build no event {:?}", shown(other));
            return Err(ErrorBody::new(ErrorCode::UnknownType, message));
        }
    };
    let data = match kind {
        "document_status_update" => {
            let Some(Value::Object(payload)) = read.member("payload") else {
                return Err(read.wrong("payload", "an object"));
            };
            let read = Members { kind, members: payload };
            if let Some(text) = read.text("timestamp")? {
                let parsed =
                    text.parse().map_err(|_| read.wrong("timestamp", "a time such as 2025-05-20T10:00:00Z"))?;
                time = Some(parsed);
            }
            adopted_document(&read)?
        }
        "document_status" => adopted_document(&read)?,
        "rag_progress" => json!({
            "query_id": read.required("queryId", Members::id)?,
            "stage": RagStage::from(read.required("stage", Members::text)?),
            "message": read.text("message")?,
            "percent": read.percent("progress")?,
            "result": read.member("result"),
        }),
        "message_chunk" => json!({
            "message_id": read.required("messageId", Members::id)?,
            "session_id": read.required("sessionId", Members::id)?,
            "content": read.required("content", Members::text)?,
            "is_complete": read.required("isComplete", Members::truth)?,
        }),
        "mcp_install_progress" | "mcp_install" | "mcp_install_output" => adopted_installation(&read)?,
        "session_update" => json!({
            "status": read.required("status", Members::text)?,
            "expires_in_seconds": read.required("expiresIn", Members::whole)?,
        }),
        "user_activity" => json!({
            "user_id": read.required("userId", Members::text)?,
            "username": read.required("username", Members::text)?,
            "action": read.required("action", Members::text)?,
            "document_id": read.id("documentId")?,
        }),
        _ => json!({
            "mcp_connection_id": read.id("connectionId")?,
            "client_id": read.text("clientId")?,
            "host": read.text("host")?,
            "port": read.whole("port")?,
            "error": read.text("error")?,
            "message": read.text("message")?,
            "result": read.member("result"),
            "event": read.member("event"),
        }),
    };
    let data = without_absent(data);
    // What the members are in themselves was asked above; what an event cannot be without, its payload knows.
    let raw = serde_json::value::to_raw_value(&data)
        .map_err(|_| ErrorBody::new(ErrorCode::Internal, "the event could not be written"))?;
    let payload = Event::from_payload(event_type, &raw)
        .and_then(|event| {
            event.payload().map_err(|_| ErrorBody::new(ErrorCode::Internal, "the event could not be written"))
        })
        .map_err(|error| ErrorBody::new(error.code, format!("{kind}: {}", in_its_words(&error.message))))?;
    let data = serde_json::from_str(payload.get())
        .map_err(|_| ErrorBody::new(ErrorCode::Internal, "the event could not be written"))?;
    let to = (event_type == EventType::UserActivity).then_some(Audience::Global);
    Ok(Adopted { kind: event_type, data, to, time })
}

fn adopted_document(read: &Members<'_>) -> Result<Value, ErrorBody> {
    Ok(json!({
        "document_id": read.required("documentId", Members::id)?,
        "status": DocumentState::from(read.required("status", Members::text)?),
        "percent": read.percent("progress")?,
        "message": read.text("message")?,
        "error": read.text("error")?,
    }))
}

/// One event out of the one frame or either of the two (C15).
fn adopted_installation(read: &Members<'_>) -> Result<Value, ErrorBody> {
    let small = |text: &str| text.to_ascii_lowercase();
    let stage = read.text("stage")?;
    let mut status = read.text("status")?.map(small);
    let phase = stage.and_then(|stage| PHASES.iter().find(|(_, of_one)| of_one.eq_ignore_ascii_case(stage)));
    let stage = match (stage, phase) {
        // A command runs: that is a stage of the catalog's own, and says no more than that.
        (Some(_), Some((_, "EXECUTING"))) => Some(InstallStage::Executing.as_str().to_owned()),
        // Any other phase is what the catalog calls the status; it is told as stage again to those who know stages.
        (Some(_), Some((phase, _))) if status.as_deref().is_none_or(|status| status == *phase) => {
            status = Some((*phase).to_owned());
            None
        }
        (stage, _) => stage.map(str::to_owned),
    };
    if read.kind == "mcp_install" && status.is_none() {
        return Err(read.wrong("status", "a string"));
    }
    if read.kind == "mcp_install_output" && read.text("output")?.is_none() {
        return Err(read.wrong("output", "a string"));
    }
    Ok(json!({
        "install_id": read.required("installId", Members::id)?,
        "stage": stage.as_deref().map(InstallStage::from),
        "status": status.as_deref().map(InstallStatus::from),
        "message": read.text("message")?,
        "output": read.text("output")?,
        "stream": read.text("stream")?.map(OutputStream::from),
        "percent": read.percent("progress")?,
    }))
}

/// What the catalog says of a payload, with the names that its members have in these frames.
fn in_its_words(message: &str) -> String {
    [("mcp_connection_id", "connectionId"), ("client_id", "clientId"), ("user_id", "userId")]
        .iter()
        .fold(message.to_owned(), |message, (new, old)| message.replace(new, old))
}

/// The members of a frame, read one by one, so that a wrong one can be named. Null counts as absent.
struct Members<'a> {
    kind: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    fn wrong(&self, name: &str, wanted: &str) -> ErrorBody {
        ErrorBody::new(ErrorCode::InvalidPayload, format!("{}: {name} must be {wanted}", self.kind))
    }

    fn member(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// A member that must be there.
    fn required<T>(
        &self,
        name: &'static str,
        read: impl Fn(&Self, &'static str) -> Result<Option<T>, ErrorBody>,
    ) -> Result<T, ErrorBody> {
        read(self, name)?
            .ok_or_else(|| ErrorBody::new(ErrorCode::InvalidPayload, format!("{}: {name} is missing", self.kind)))
    }

    fn text(&self, name: &'static str) -> Result<Option<&'a str>, ErrorBody> {
        self.member(name).map(|value| value.as_str().ok_or_else(|| self.wrong(name, "a string"))).transpose()
    }

    fn truth(&self, name: &'static str) -> Result<Option<bool>, ErrorBody> {
        self.member(name).map(|value| value.as_bool().ok_or_else(|| self.wrong(name, "true or false"))).transpose()
    }

    fn whole(&self, name: &'static str) -> Result<Option<u64>, ErrorBody> {
        let whole = |value: &Value| value.as_u64().ok_or_else(|| self.wrong(name, "a whole number, 0 or more"));
        self.member(name).map(whole).transpose()
    }

    fn id(&self, name: &'static str) -> Result<Option<ItemId>, ErrorBody> {
        let id = |text: &str| {
            text.parse()
                .map_err(|error| ErrorBody::new(ErrorCode::InvalidPayload, format!("{}: {name}: {error}", self.kind)))
        };
        self.text(name)?.map(id).transpose()
    }

    /// Any percentage: the system's own description and its code disagree about some (T15).
    fn percent(&self, name: &'static str) -> Result<Option<f64>, ErrorBody> {
        let percent = |value: &Value| {
            let fits = value.as_f64().filter(|number| (0.0..=100.0).contains(number));
            fits.ok_or_else(|| self.wrong(name, "a number from 0 to 100"))
        };
        self.member(name).map(percent).transpose()
    }
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
        for event_type in SUPPORTED {
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
            if !SUPPORTED.contains(&event_type) {
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

    fn adopt(frame: Value) -> Result<Adopted, ErrorBody> {
        decode_event(&frame)
    }

    #[test]
    fn prd_04_a_clients_frames_are_read_and_anything_else_is_refused_by_name() {
        let read = |frame: Value| decode(frame.to_string().as_bytes());
        assert_eq!(
            read(json!({"type": "ping", "timestamp": 1_747_735_200_123_u64})).unwrap(),
            Asked::Ping { timestamp: Some(json!(1_747_735_200_123_u64)) }
        );
        assert_eq!(read(json!({"type": "ping"})).unwrap(), Asked::Ping { timestamp: None });
        assert_eq!(read(json!({"type": "manual_connection"})).unwrap(), Asked::ManualConnection);
        assert_eq!(
            // Whoever it says that it is.
            read(json!({"type": "user_activity", "action": "viewing_document", "documentId": "doc-1", "userId": "x"}))
                .unwrap(),
            Asked::UserActivity { action: UserAction::ViewingDocument, document_id: Some("doc-1".parse().unwrap()) }
        );
        let asked = read(json!({"type": "mcp_connect", "host": "tools.example.org", "port": 8080})).unwrap();
        let Asked::Application { name, data } = asked else { panic!("{asked:?}") };
        assert_eq!((name, Value::Object(data)), ("mcp_connect", json!({"host": "tools.example.org", "port": 8080})));
        for (frame, code, named) in [
            (json!({"type": "subscribe", "session_id": "s"}), ErrorCode::UnknownCommand, "subscribe"),
            (json!({"type": "user_activity"}), ErrorCode::InvalidPayload, "action"),
            (
                json!({"type": "user_activity", "action": "x", "documentId": "a b"}),
                ErrorCode::InvalidPayload,
                "documentId",
            ),
            (json!({"typ": "ping"}), ErrorCode::MalformedFrame, "type"),
            (json!({"type": 7}), ErrorCode::MalformedFrame, "type"),
            (json!(["ping"]), ErrorCode::MalformedFrame, "object"),
        ] {
            let error = read(frame).unwrap_err();
            assert!(error.code == code && error.message.contains(named), "{error}");
        }
        for bytes in [&b"{"[..], b"", b"\xff", br#"{"type":"ping","type":"ping"}"#, b"ping"] {
            assert!(decode(bytes).is_err());
        }
    }

    #[test]
    fn collision_c14_either_form_of_a_documents_status_is_the_same_event_and_each_variant_reads_its_own() {
        let flat = json!({"type": "document_status", "documentId": "doc-1", "status": "PROCESSING", "progress": 30,
            "message": "Text extracted"});
        let nested = json!({"type": "document_status_update", "payload": {"documentId": "doc-1", "status": "processing",
            "progress": 30, "message": "Text extracted", "timestamp": "2025-05-20T10:00:00.250Z"}});
        let (one, other) = (adopt(flat.clone()).unwrap(), adopt(nested.clone()).unwrap());
        assert_eq!((one.kind, &one.data), (other.kind, &other.data));
        assert_eq!((one.time, other.time), (None, Some("2025-05-20T10:00:00.25Z".parse().unwrap())));
        let event = Event::from_payload(one.kind, &serde_json::value::to_raw_value(&one.data).unwrap()).unwrap();
        let payload: DocumentStatus = serde_json::from_value(one.data).unwrap();
        let envelope = Envelope::to_user("u".parse().unwrap(), &payload, other.time.unwrap()).unwrap();
        assert_eq!(encode(&event, &envelope), Some(flat));
        assert_eq!(encode_nested(&event, &envelope), Some(nested));
    }

    #[test]
    fn collision_c15_one_kind_of_event_out_of_the_one_frame_or_the_two() {
        let phase =
            |status: &str| adopt(json!({"type": "mcp_install", "installId": "i", "status": status})).unwrap().data;
        let stage =
            |word: &str| adopt(json!({"type": "mcp_install_progress", "installId": "i", "stage": word})).unwrap().data;
        for (status, word) in PHASES {
            assert_eq!(phase(status), json!({"install_id": "i", "status": status}));
            let told = encoded(EventType::InstallProgress, &phase(status));
            assert_eq!(
                told,
                json!({"type": "mcp_install_progress", "installId": "i", "stage": word, "status": status})
            );
            // And back: the stage alone says the same, but that a running command is no more than a running command.
            let running = *status == "installing";
            let wanted = if running { json!({"install_id": "i", "stage": "executing"}) } else { phase(status) };
            assert_eq!(stage(word), wanted);
        }
        assert_eq!(stage("VERIFYING"), json!({"install_id": "i", "stage": "VERIFYING"}));
        let output = json!({"type": "mcp_install_output", "installId": "i", "output": "added 96 packages\n", "stream": "stdout"});
        assert_eq!(
            adopt(output).unwrap().data,
            json!({"install_id": "i", "output": "added 96 packages\n", "stream": "stdout"})
        );
        for (frame, named) in [
            (json!({"type": "mcp_install", "installId": "i"}), "status"),
            (json!({"type": "mcp_install_output", "installId": "i"}), "output"),
            (json!({"type": "mcp_install_progress", "stage": "EXECUTING"}), "installId"),
        ] {
            assert!(adopt(frame).unwrap_err().message.contains(named));
        }
    }

    #[test]
    fn trap_t15_a_back_end_may_say_any_percentage_from_0_to_100_and_no_other() {
        let frame = |progress: Value| json!({"type": "rag_progress", "queryId": "q", "stage": "RETRIEVAL", "progress": progress});
        for progress in [json!(0), json!(40), json!(50), json!(33.3), json!(100)] {
            assert_eq!(adopt(frame(progress.clone())).unwrap().data["percent"].as_f64(), progress.as_f64());
        }
        for progress in [json!(-1), json!(100.5), json!("50"), json!([])] {
            assert!(adopt(frame(progress)).unwrap_err().message.contains("progress must be a number from 0 to 100"));
        }
    }

    #[test]
    fn prd_09_a_wrong_or_missing_member_of_a_back_ends_event_is_named() {
        for (frame, code, named) in [
            (
                json!({"type": "document_status", "status": "PROCESSING"}),
                ErrorCode::InvalidPayload,
                "documentId is missing",
            ),
            (
                json!({"type": "document_status", "documentId": 7, "status": "x"}),
                ErrorCode::InvalidPayload,
                "documentId",
            ),
            (json!({"type": "document_status_update", "documentId": "d"}), ErrorCode::InvalidPayload, "payload"),
            (
                json!({"type": "document_status_update", "payload": {"documentId": "d", "status": "x", "timestamp": "now"}}),
                ErrorCode::InvalidPayload,
                "timestamp",
            ),
            (
                json!({"type": "message_chunk", "messageId": "m", "sessionId": "s", "content": "x"}),
                ErrorCode::InvalidPayload,
                "isComplete is missing",
            ),
            (
                json!({"type": "session_update", "status": "expiring_soon", "expiresIn": -1}),
                ErrorCode::InvalidPayload,
                "expiresIn",
            ),
            (json!({"type": "user_activity", "userId": "u", "action": "x"}), ErrorCode::InvalidPayload, "username"),
            (json!({"type": "mcp_connecting", "host": "h", "port": 1}), ErrorCode::InvalidPayload, "connectionId"),
            (
                json!({"type": "mcp_connecting", "connectionId": "m", "host": "h", "port": 70_000}),
                ErrorCode::InvalidPayload,
                "mcp_connecting",
            ),
            (json!({"type": "pong", "timestamp": 1}), ErrorCode::UnknownType, "pong"),
            (json!({"documentId": "d"}), ErrorCode::MalformedFrame, "type"),
            (json!([1]), ErrorCode::MalformedFrame, "object"),
        ] {
            let error = adopt(frame).unwrap_err();
            assert!(error.code == code && error.message.contains(named), "{error}");
        }
    }

    #[test]
    fn an_instant_is_written_as_a_browser_writes_it() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_747_735_200_007_999, "2025-05-20T10:00:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso_millis(Time::from_unix_micros(micros)), text);
        }
    }

    /// The golden vectors, backwards: what a client reads is what a back end builds.
    #[test]
    fn prd_09_every_golden_frame_is_read_as_an_event_that_is_written_as_that_frame() {
        let mut read = 0;
        for (text, encode) in [
            (include_str!("../../../conformance/vectors/product.json"), encode as super::super::Encoder),
            (include_str!("../../../conformance/vectors/product_nested.json"), encode_nested),
        ] {
            for vector in serde_json::from_str::<Vec<Value>>(text).unwrap() {
                let event_type = EventType::from_name(vector["type"].as_str().unwrap()).unwrap();
                if vector["frame"].is_null() || event_type.spec().is_the_servers_own() {
                    continue;
                }
                let adopted = adopt(vector["frame"].clone()).unwrap();
                assert_eq!(adopted.kind, event_type);
                let to = adopted.to.unwrap_or_else(|| vector["to"].as_str().unwrap().parse().unwrap());
                assert_eq!(to.to_string(), vector["to"].as_str().unwrap());
                let data = serde_json::value::to_raw_value(&adopted.data).unwrap();
                let publication = crate::Publication {
                    kind: EventKind::Known(adopted.kind),
                    to,
                    data: data.clone(),
                    time: adopted.time,
                    id: None,
                    expected_prev: None,
                    modifiers: crate::Modifiers::default(),
                };
                let now = vector["time"].as_str().unwrap().parse().unwrap();
                let envelope = Envelope::admit(publication, now).unwrap();
                let event = Event::from_payload(event_type, &data).unwrap();
                assert_eq!(encode(&event, &envelope), Some(vector["frame"].clone()));
                read += 1;
            }
        }
        assert!(read > 25, "{read}");
    }
}
