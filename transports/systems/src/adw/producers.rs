//! Where workflows post what they do, and where the state of one is read (ADW-06, ADW-07).
//!
//! Each path makes one event as the system's back end would have built it; the dialect reads that, so what a path takes and
//! what `POST /v1/events?dialect=adw` takes cannot differ. Two servers stood here: the API server's answers are the rule, and
//! the two paths that only the trigger server had answer as that one did.

use std::net::IpAddr;

use eventwire_hub::Principal;
use eventwire_protocol::{
    AdwId, Dialect, ErrorBody, ErrorCode, Permission, Target,
    api::systems::{
        AgentStateAnswer, Broadcasted, DetailError, PlainError, Stage, StageReport, ValidationError, ValidationProblem,
    },
    frame::read_document,
};
use http::{HeaderMap, Request, Response, StatusCode, header};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::{Adw, kanban::publication};
use crate::{Body, Route, answer};

/// Largest body, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Whose answers a path gives.
#[derive(Clone, Copy)]
enum Manner {
    /// The API server: `{"detail": ..}`, and 422 for a body that does not fit.
    Api,
    /// The trigger server: `{"error": ..}`, and 400.
    Trigger,
}

/// Why nothing was published.
enum Refused {
    /// The body does not fit; the member at fault, where it is one.
    Body(Option<&'static str>, String),
    /// The body fits, and what it asks for does not exist: 400 from either server.
    Choice(String),
    /// Anything else.
    Error(ErrorBody),
}

impl From<ErrorBody> for Refused {
    fn from(error: ErrorBody) -> Self {
        match error.code {
            ErrorCode::InvalidPayload
            | ErrorCode::InvalidId
            | ErrorCode::MalformedFrame
            | ErrorCode::InvalidUtf8
            | ErrorCode::DuplicateKey
            | ErrorCode::TooDeep
            | ErrorCode::SubjectMismatch
            | ErrorCode::AudienceNotAllowed
            | ErrorCode::UnknownType => Self::Body(None, error.message.into_owned()),
            _ => Self::Error(error),
        }
    }
}

/// What a body asks for.
struct Wanted {
    /// Events, as the back end builds them.
    frames: Vec<Value>,
    /// The sentence of the answer.
    message: String,
    /// Members of the body that the answer repeats.
    echo: &'static [&'static str],
}

impl Wanted {
    fn one(kind: &str, data: Value, message: &str, echo: &'static [&'static str]) -> Self {
        Self { frames: vec![json!({ "type": kind, "data": data })], message: message.to_owned(), echo }
    }
}

/// Answers a POST.
pub(super) async fn publish(
    adw: &Adw,
    route: &'static Route,
    request: Request<Body>,
    peer: Option<IpAddr>,
) -> Response<Body> {
    let manner = match route.pattern {
        "/api/workflow-updates" | "/api/stage-event" => Manner::Trigger,
        _ => Manner::Api,
    };
    match taken(adw, route, request, peer).await {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(refused) => refusal(manner, refused),
    }
}

async fn taken(
    adw: &Adw,
    route: &'static Route,
    request: Request<Body>,
    peer: Option<IpAddr>,
) -> Result<Broadcasted, Refused> {
    let (head, body) = request.into_parts();
    let principal = crate::principal(&adw.hub, &head.headers, peer).await?;
    if !principal.claims.may(Permission::Publish) {
        return Err(Refused::Error(ErrorBody::new(
            ErrorCode::Forbidden,
            "your credentials do not allow publishing; the key needs the permission publish",
        )));
    }
    is_json(&head.headers)?;
    let bytes = answer::read(body, MAX_BODY_BYTES, crate::receiving(&adw.hub, &principal, peer)).await?;
    let text = &*read_document(&bytes, MAX_BODY_BYTES)?;
    let Ok(Value::Object(mut body)) = serde_json::from_str(text) else {
        return Err(Refused::Body(None, "the body must be an object".to_owned()));
    };
    // Producers write null for what they do not have.
    body.retain(|_, value| !value.is_null());
    let adw_id = subject(route, &body)?;
    let wanted = wanted(adw, route, &body)?;
    let times: Vec<String> = publish_all(adw, &principal, wanted.frames).await?;
    let mut told = Broadcasted {
        status: "success".to_owned(),
        message: wanted.message,
        adw_id: adw_id.to_string(),
        ..Broadcasted::default()
    };
    for member in wanted.echo {
        let value = match (*member, body.get(*member)) {
            ("timestamp", None) => times.first().cloned(),
            (_, value) => value.and_then(Value::as_str).map(str::to_owned),
        };
        if let Some(place) = told.echo(member) {
            *place = value;
        }
    }
    Ok(told)
}

/// Publishes; says when each event happened.
async fn publish_all(adw: &Adw, principal: &Principal, frames: Vec<Value>) -> Result<Vec<String>, ErrorBody> {
    if frames.is_empty() {
        return Ok(Vec::new());
    }
    let now = adw.hub.now();
    let adopted = frames.iter().map(|frame| Dialect::Adw.decode_event(frame)).collect::<Result<Vec<_>, _>>()?;
    let times = adopted.iter().map(|event| event.time.unwrap_or(now).to_string()).collect();
    let publications = adopted.into_iter().map(publication).collect();
    let answers = adw.hub.publish(principal, publications).await?;
    answers.into_iter().try_for_each(|answer| answer.map(drop))?;
    Ok(times)
}

/// No page of another site can post `application/json` without being asked who it is.
fn is_json(headers: &HeaderMap) -> Result<(), Refused> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refused::Error(ErrorBody::new(ErrorCode::UnsupportedMediaType, "the body must be application/json")))
}

fn missing(member: &'static str) -> Refused {
    Refused::Body(Some(member), format!("{member} is required"))
}

fn text(body: &Map<String, Value>, member: &'static str) -> Result<String, Refused> {
    match body.get(member) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None => Err(missing(member)),
        Some(_) => Err(Refused::Body(Some(member), format!("{member} must be a text that is not empty"))),
    }
}

fn object(body: &Map<String, Value>, member: &'static str) -> Result<Map<String, Value>, Refused> {
    match body.get(member) {
        Some(Value::Object(object)) => Ok(object.clone()),
        None => Err(missing(member)),
        Some(_) => Err(Refused::Body(Some(member), format!("{member} must be an object"))),
    }
}

/// The run that a body is about.
fn subject(route: &'static Route, body: &Map<String, Value>) -> Result<AdwId, Refused> {
    let inner = match route.pattern {
        "/api/workflow-updates" => &object(body, "data")?,
        _ => body,
    };
    text(inner, "adw_id")?
        .parse()
        .map_err(|_| Refused::Body(Some("adw_id"), "adw_id must be 8 alphanumeric characters".to_owned()))
}

/// The members of the body that are named, as members of an event.
fn members(body: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    body.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn wanted(adw: &Adw, route: &'static Route, body: &Map<String, Value>) -> Result<Wanted, Refused> {
    let pick = |names: &[&str]| Value::Object(members(body, names));
    Ok(match route.pattern {
        "/api/agent-state-update" => return state_update(adw, body),
        "/api/agent-log-entry" => {
            let mut data = members(body, &["adw_id", "message", "level"]);
            data.insert("event_category".into(), "system".into());
            data.insert("event_type".into(), "log_entry".into());
            data.extend(body.get("details").map(|details| ("summary".to_owned(), details.clone())));
            data.extend(body.get("context").map(|context| ("payload".to_owned(), context.clone())));
            text(body, "message")?;
            Wanted::one("agent_log", data.into(), "Log entry broadcasted", &[])
        }
        "/api/file-operation" => {
            text(body, "file_path")?;
            text(body, "operation")?;
            let names = ["adw_id", "file_path", "operation", "diff", "summary", "lines_added", "lines_removed"];
            Wanted::one("file_changed", pick(&names), "File operation broadcasted", &["file_path"])
        }
        "/api/agent-thinking" => {
            text(body, "content")?;
            let data = pick(&["adw_id", "content", "duration_ms", "sequence", "reasoning_type"]);
            Wanted::one("thinking_block", data, "Thinking block broadcasted", &[])
        }
        "/api/tool-execution" => return tool_execution(body),
        "/api/workflow-phase-transition" => {
            text(body, "phase_to")?;
            let data = pick(&["adw_id", "phase_from", "phase_to", "workflow_name", "metadata"]);
            Wanted::one("workflow_phase_transition", data, "Phase transition broadcasted", &["phase_to"])
        }
        "/api/agent-output-chunk" => {
            text(body, "agent_role")?;
            body.get("content").ok_or_else(|| missing("content"))?;
            let data = pick(&["adw_id", "agent_role", "content", "line_number", "total_lines", "is_complete"]);
            Wanted::one("agent_output_chunk", data, "Output chunk broadcasted", &["agent_role"])
        }
        "/api/screenshot-available" => {
            text(body, "screenshot_path")?;
            let data = pick(&["adw_id", "screenshot_path", "screenshot_type", "metadata"]);
            Wanted::one("screenshot_available", data, "Screenshot notification broadcasted", &["screenshot_path"])
        }
        "/api/spec-created" => {
            text(body, "spec_path")?;
            let data = pick(&["adw_id", "spec_path", "spec_type", "metadata"]);
            Wanted::one("spec_created", data, "Spec notification broadcasted", &["spec_path"])
        }
        "/api/workflow-updates" => return workflow_update(body),
        _ => return stage_event(body),
    })
}

/// The one path for events of every kind.
fn state_update(adw: &Adw, body: &Map<String, Value>) -> Result<Wanted, Refused> {
    let event_type = text(body, "event_type")?;
    let inner = object(body, "data")?;
    let adw_id = body.get("adw_id").cloned().unwrap_or_default();
    let mut data = inner.clone();
    // The run is the one that the body names, whatever its data say.
    data.insert("adw_id".into(), adw_id.clone());
    data.remove("timestamp");
    let mut frames = Vec::new();
    let kind = match event_type.as_str() {
        "state_change" => {
            let known = ["adw_id", "status", "progress_percent", "current_step", "workflow_name", "message"];
            data.retain(|name, _| known.contains(&name.as_str()));
            data.insert("metadata".into(), inner.clone().into());
            if adw.settings.agent_updated_too {
                frames.push(json!({ "type": "agent_updated", "data": { "adw_id": adw_id, "state": inner } }));
            }
            "agent_summary_update"
        }
        "log_entry" => {
            data.entry("message").or_insert_with(|| "".into());
            "agent_log"
        }
        "file_operation" => {
            data.entry("operation").or_insert_with(|| "modified".into());
            "file_changed"
        }
        "thinking" => "thinking_block",
        "tool_execution_pre" => "tool_use_pre",
        "tool_execution_post" => "tool_use_post",
        "text_block" => "text_block",
        other => {
            let message = Value::Object(inner.clone()).to_string();
            data = Map::from_iter([
                ("adw_id".to_owned(), adw_id),
                ("event_category".to_owned(), "system".into()),
                ("event_type".to_owned(), other.into()),
                ("message".to_owned(), message.into()),
                ("payload".to_owned(), inner.into()),
            ]);
            "agent_log"
        }
    };
    frames.insert(0, json!({ "type": kind, "data": data }));
    for frame in &mut frames {
        if let (Some(time), Some(data)) = (body.get("timestamp"), frame.get_mut("data").and_then(Value::as_object_mut))
        {
            data.insert("timestamp".into(), time.clone());
        }
    }
    Ok(Wanted { frames, message: "Agent state update broadcasted".to_owned(), echo: &["event_type", "timestamp"] })
}

fn tool_execution(body: &Map<String, Value>) -> Result<Wanted, Refused> {
    let (_, phase) = (text(body, "tool_name")?, text(body, "phase")?);
    let (kind, names): (_, &[&str]) = match phase.as_str() {
        "pre" => ("tool_use_pre", &["adw_id", "tool_name", "tool_use_id"]),
        "post" => {
            ("tool_use_post", &["adw_id", "tool_name", "tool_use_id", "output", "duration_ms", "success", "error"])
        }
        other => {
            let shown: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Refused::Choice(format!("phase must be pre or post, not {shown:?}")));
        }
    };
    let mut data = members(body, names);
    if kind == "tool_use_pre" {
        data.insert("input".into(), body.get("input_data").cloned().unwrap_or_else(|| json!({})));
    } else {
        data.entry("success").or_insert(Value::Bool(true));
    }
    let message = format!("Tool execution ({phase}) broadcasted");
    Ok(Wanted::one(kind, data.into(), &message, &["tool_name"]))
}

fn workflow_update(body: &Map<String, Value>) -> Result<Wanted, Refused> {
    let kind = text(body, "type")?;
    let mut data = object(body, "data")?;
    data.retain(|_, value| !value.is_null());
    let required: &[&'static str] = match kind.as_str() {
        "status_update" => &["workflow_name", "status", "message", "timestamp"],
        "workflow_log" => &["workflow_name", "message", "level", "timestamp"],
        _ => return Err(Refused::Choice("type must be status_update or workflow_log".to_owned())),
    };
    if let Some(member) = required.iter().find(|member| !data.contains_key(**member)) {
        return Err(missing(member));
    }
    Ok(Wanted::one(&kind, data.into(), "Workflow update broadcasted", &["type"]))
}

/// A ticket moves: said outright, or as what the orchestrator reports of its stages.
fn stage_event(body: &Map<String, Value>) -> Result<Wanted, Refused> {
    let stage = |member: &'static str| match body.get(member) {
        None => Ok(None),
        Some(value) => match Stage::deserialize(value) {
            Ok(stage) => Ok(Some(json!(stage))),
            Err(_) => {
                let names: Vec<String> =
                    Stage::ALL.iter().filter_map(|it| Some(json!(it).as_str()?.to_owned())).collect();
                Err(Refused::Choice(format!("{member} must be one of {}", names.join(", "))))
            }
        },
    };
    let (from, to) = if let Some(to) = stage("to_stage")? {
        (stage("from_stage")?, Some(to))
    } else {
        let Some(event_type) = body.get("event_type") else { return Err(missing("to_stage")) };
        let name = stage("stage_name")?.ok_or_else(|| missing("stage_name"))?;
        match StageReport::deserialize(event_type) {
            Ok(StageReport::StageStarted) => (stage("previous_stage")?, Some(name)),
            Ok(StageReport::WorkflowStarted) => (Some(json!(Stage::Backlog)), Some(name)),
            // Where nothing follows, the end of the workflow says where the ticket goes.
            Ok(StageReport::StageCompleted) => (Some(name), stage("next_stage")?),
            // The ticket passes this stage by; what follows will say that it has begun.
            Ok(StageReport::StageSkipped) => (Some(name), None),
            Ok(StageReport::StageFailed | StageReport::WorkflowFailed) => (Some(name), Some(json!(Stage::Errored))),
            Ok(StageReport::WorkflowCompleted) => (Some(name), Some(json!(Stage::ReadyToMerge))),
            Err(_) => return Err(Refused::Choice("event_type is none of a stage or a workflow".to_owned())),
        }
    };
    let Some(to) = to else {
        let message = "Stage event received; the ticket does not move".to_owned();
        return Ok(Wanted { frames: Vec::new(), message, echo: &["event_type"] });
    };
    let mut data = members(body, &["adw_id", "workflow_name", "message", "timestamp"]);
    data.extend(from.map(|from| ("from_stage".to_owned(), from)));
    data.insert("to_stage".into(), to);
    let mut wanted = Wanted::one("stage_transition", data.into(), "Stage transition broadcasted", &[]);
    wanted.echo = if body.contains_key("to_stage") { &["to_stage"] } else { &["event_type"] };
    Ok(wanted)
}

/// Answers `GET /api/agent-state/{adw_id}`.
pub(super) async fn state(
    adw: &Adw,
    route: &'static Route,
    request: Request<Body>,
    peer: Option<IpAddr>,
) -> Response<Body> {
    let (head, _) = request.into_parts();
    match read_state(adw, route.segment(head.uri.path()), &head.headers, peer).await {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(refused) => refusal(Manner::Api, refused),
    }
}

async fn read_state(
    adw: &Adw,
    id: &str,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<AgentStateAnswer, Refused> {
    let principal = crate::principal(&adw.hub, headers, peer).await?;
    let adw_id: AdwId =
        id.parse().map_err(|_| Refused::Choice("the ADW id must be 8 alphanumeric characters".to_owned()))?;
    if !principal.claims.may_subscribe(&Target::Adw(adw_id)) {
        let message = format!("your credentials do not reach adw:{adw_id}");
        return Err(Refused::Error(ErrorBody::new(ErrorCode::Forbidden, message)));
    }
    let unknown = || ErrorBody::new(ErrorCode::NotFound, format!("no state is known of ADW {adw_id}"));
    let agents = adw.settings.agents.clone().ok_or_else(unknown)?;
    let read = tokio::task::spawn_blocking(move || agents.state(adw_id)).await;
    let state = read.map_err(|_| ErrorBody::new(ErrorCode::Internal, "the state cannot be read"))??;
    let state = state.ok_or_else(unknown)?;
    Ok(AgentStateAnswer { adw_id, state, timestamp: adw.hub.now() })
}

fn refusal(manner: Manner, refused: Refused) -> Response<Body> {
    match (manner, refused) {
        (Manner::Api, Refused::Body(member, message)) => {
            let loc = ["body"].into_iter().chain(member).map(str::to_owned).collect();
            let kind = if message.ends_with("is required") { "missing" } else { "value_error" }.to_owned();
            let detail = vec![ValidationProblem { kind, loc, msg: message }];
            answer::json(StatusCode::UNPROCESSABLE_ENTITY, &ValidationError { detail })
        }
        (Manner::Api, Refused::Choice(detail)) => answer::json(StatusCode::BAD_REQUEST, &DetailError { detail }),
        (Manner::Trigger, Refused::Body(_, error) | Refused::Choice(error)) => {
            answer::json(StatusCode::BAD_REQUEST, &PlainError { error })
        }
        (manner, Refused::Error(error)) => {
            let status = match error.code {
                ErrorCode::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
                _ => answer::status_of(&error),
            };
            match manner {
                Manner::Api => answer::json(status, &DetailError { detail: error.message.into_owned() }),
                Manner::Trigger => answer::plain_refusal(status, &error),
            }
        }
    }
}
