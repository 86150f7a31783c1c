//! The endpoints of the older systems.

use eventwire_protocol::ErrorCode as E;
use serde_json::{Value, json};

use super::canonical::socket;
use super::{
    Access, Form, Operation, header, in_path, json_answer, json_body, media, operation, query, switching, text,
    text_answer,
};
use crate::profile::reference;

const TIME: &str = "2025-11-05T19:22:35.123456Z";

pub(super) fn operations() -> Vec<Operation> {
    let mut all = adw_sockets();
    all.push(agent_state());
    all.extend(producers());
    all.extend(amiga());
    all.extend(product());
    all.extend(shared_context());
    all
}

// ---------------------------------------------------------------------------------------------------------------
// ADW
// ---------------------------------------------------------------------------------------------------------------

fn adw_sockets() -> Vec<Operation> {
    let kanban = operation("get", "/ws", "openKanbanSocket", "adw", "Opens the socket of a page of the kanban.")
        .says("On a listener of Product Demo, or with `?dialect=product` or the subprotocol `eventwire.product`, it is the socket of a page of Product Demo; without a login that one is closed at once with 1008.")
        .access(Access::Visitor, Form::Coded)
        .answers(101, switching("The socket is open."));
    let trigger = operation(
        "get",
        "/ws/trigger",
        "openTriggerSocket",
        "adw",
        "Opens the socket of a page of the kanban's trigger server.",
    )
    .access(Access::Visitor, Form::Coded)
    .answers(101, switching("The socket is open."));
    vec![socket(kanban), socket(trigger)]
}

fn agent_state() -> Operation {
    let example = json!({ "adw_id": "29fb6a3e", "state": { "issue_number": "66" }, "timestamp": TIME });
    operation("get", "/api/agent-state/{adw_id}", "getAgentState", "adw", "The state of a run.")
        .says("For credentials that reach the run.")
        .access(Access::Caller, Form::Detail)
        .parameter(in_path("adw_id", "The run: 8 ASCII letters and digits.", reference("AdwId"), "29fb6a3e"))
        .answers(200, json_answer("The state.", "AgentStateAnswer", example))
        .refuses(400, Form::Detail, &[E::InvalidId])
        .refuses(403, Form::Detail, &[E::Forbidden])
        .refuses(404, Form::Detail, &[E::NotFound])
        .refuses(413, Form::Detail, &[E::TooLarge])
        .refuses(500, Form::Detail, &[E::Internal])
        .and_head()
}

/// One path where workflows post.
struct Producer {
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: &'static str,
    /// With their summaries.
    examples: Vec<(&'static str, &'static str, Value)>,
    /// What is said beside what every answer says.
    answer: Value,
    /// The sentence of the answer.
    message: &'static str,
}

fn producers() -> Vec<Operation> {
    let run = "29fb6a3e";
    let table = vec![
        Producer {
            path: "/api/agent-state-update",
            id: "postStateUpdate",
            summary: "An event of any kind.",
            body: "StateUpdatePost",
            examples: vec![
                (
                    "state_change",
                    "A run goes on.",
                    json!({ "adw_id": run, "event_type": "state_change", "data": { "status": "in_progress", "progress_percent": 40 }, "timestamp": TIME }),
                ),
                (
                    "text_block",
                    "An agent says something.",
                    json!({ "adw_id": run, "event_type": "text_block", "data": { "content": "Done", "sequence": 5 } }),
                ),
            ],
            answer: json!({ "event_type": "state_change", "timestamp": TIME }),
            message: "Agent state update broadcasted",
        },
        Producer {
            path: "/api/agent-log-entry",
            id: "postLogEntry",
            summary: "A line of a run's log.",
            body: "LogEntryPost",
            examples: vec![(
                "entry",
                "An error.",
                json!({ "adw_id": run, "message": "The build failed", "level": "ERROR", "details": "exit code 1", "context": { "attempt": 2 } }),
            )],
            answer: json!({}),
            message: "Log entry broadcasted",
        },
        Producer {
            path: "/api/file-operation",
            id: "postFileOperation",
            summary: "A file was read or changed.",
            body: "FileOperationPost",
            examples: vec![(
                "changed",
                "A file was changed.",
                json!({ "adw_id": run, "file_path": "src/app.js", "operation": "modify", "diff": "-a\n+b", "summary": "b for a", "lines_added": 1, "lines_removed": 1 }),
            )],
            answer: json!({ "file_path": "src/app.js" }),
            message: "File operation broadcasted",
        },
        Producer {
            path: "/api/agent-thinking",
            id: "postThinking",
            summary: "An agent thinks.",
            body: "ThinkingPost",
            examples: vec![(
                "thought",
                "A thought.",
                json!({ "adw_id": run, "content": "The test is wrong.", "duration_ms": 1200, "sequence": 4, "reasoning_type": "analysis" }),
            )],
            answer: json!({}),
            message: "Thinking block broadcasted",
        },
        Producer {
            path: "/api/tool-execution",
            id: "postToolExecution",
            summary: "A tool is used, or was.",
            body: "ToolExecutionPost",
            examples: vec![
                (
                    "before",
                    "It is about to be used.",
                    json!({ "adw_id": run, "tool_name": "Read", "phase": "pre", "tool_use_id": "toolu_1", "input_data": { "file_path": "src/app.js" } }),
                ),
                (
                    "after",
                    "It was used.",
                    json!({ "adw_id": run, "tool_name": "Bash", "phase": "post", "tool_use_id": "toolu_2", "output": "no", "duration_ms": 35, "success": false, "error": "exit code 1" }),
                ),
            ],
            answer: json!({ "tool_name": "Read" }),
            message: "Tool execution (pre) broadcasted",
        },
        Producer {
            path: "/api/workflow-phase-transition",
            id: "postPhaseTransition",
            summary: "A run goes from one phase to the next.",
            body: "PhaseTransitionPost",
            examples: vec![(
                "plan",
                "A plan is there to be built.",
                json!({ "adw_id": run, "phase_from": "plan", "phase_to": "build", "workflow_name": "adw_sdlc_iso", "metadata": { "issue": 66 } }),
            )],
            answer: json!({ "phase_to": "build" }),
            message: "Phase transition broadcasted",
        },
        Producer {
            path: "/api/agent-output-chunk",
            id: "postOutputChunk",
            summary: "A piece of what an agent writes, word for word.",
            body: "OutputChunkPost",
            examples: vec![(
                "chunk",
                "One line.",
                json!({ "adw_id": run, "agent_role": "planner", "content": "{\"type\":\"text\"}", "line_number": 1, "total_lines": 10, "is_complete": false }),
            )],
            answer: json!({ "agent_role": "planner" }),
            message: "Output chunk broadcasted",
        },
        Producer {
            path: "/api/screenshot-available",
            id: "postScreenshot",
            summary: "A screenshot is there.",
            body: "ScreenshotPost",
            examples: vec![(
                "picture",
                "A picture of the review.",
                json!({ "adw_id": run, "screenshot_path": "reviewer/review_img/01.png", "screenshot_type": "review", "metadata": { "width": 1280 } }),
            )],
            answer: json!({ "screenshot_path": "reviewer/review_img/01.png" }),
            message: "Screenshot notification broadcasted",
        },
        Producer {
            path: "/api/spec-created",
            id: "postSpec",
            summary: "A specification was written.",
            body: "SpecPost",
            examples: vec![(
                "plan",
                "A plan.",
                json!({ "adw_id": run, "spec_path": "specs/issue-66.md", "spec_type": "plan", "metadata": { "issue": 66 } }),
            )],
            answer: json!({ "spec_path": "specs/issue-66.md" }),
            message: "Spec notification broadcasted",
        },
        Producer {
            path: "/api/workflow-updates",
            id: "postWorkflowUpdate",
            summary: "Where a workflow stands, or a line of its log.",
            body: "WorkflowUpdatePost",
            examples: vec![
                (
                    "status",
                    "Where it stands.",
                    json!({ "type": "status_update", "data": { "adw_id": run, "workflow_name": "adw_plan_iso", "status": "started", "message": "Planning", "timestamp": TIME, "progress_percent": 5, "current_step": "plan" } }),
                ),
                (
                    "log",
                    "A line of its log.",
                    json!({ "type": "workflow_log", "data": { "adw_id": run, "workflow_name": "adw_plan_iso", "message": "Planning", "level": "INFO", "timestamp": TIME } }),
                ),
            ],
            answer: json!({ "type": "status_update" }),
            message: "Workflow update broadcasted",
        },
        Producer {
            path: "/api/stage-event",
            id: "postStageEvent",
            summary: "A ticket moves.",
            body: "StageEventPost",
            examples: vec![
                (
                    "outright",
                    "Said outright.",
                    json!({ "adw_id": run, "from_stage": "plan", "to_stage": "build", "workflow_name": "adw_sdlc_iso", "message": "Building", "timestamp": TIME }),
                ),
                (
                    "reported",
                    "As the orchestrator reports it.",
                    json!({ "adw_id": run, "event_type": "stage_completed", "stage_name": "build", "next_stage": "ready-to-merge" }),
                ),
            ],
            answer: json!({ "to_stage": "build" }),
            message: "Stage transition broadcasted",
        },
    ];
    table.into_iter().map(produced).collect()
}

fn produced(producer: Producer) -> Operation {
    let Producer { path, id, summary, body, examples, answer, message } = producer;
    // Two paths were the trigger server's, which writes refusals in another way.
    let is_triggers = matches!(path, "/api/workflow-updates" | "/api/stage-event");
    let form = if is_triggers { Form::Plain } else { Form::Detail };
    let mut told = json!({ "status": "success", "message": message, "adw_id": "29fb6a3e" });
    if let (Value::Object(told), Value::Object(more)) = (&mut told, answer) {
        told.extend(more);
    }
    let invalid = [E::InvalidPayload, E::InvalidId, E::MalformedFrame, E::InvalidUtf8, E::DuplicateKey, E::TooDeep];
    let operation = operation("post", path, id, "adw", summary)
        .access(Access::Holder("publish"), form)
        .body(json_body(body, &examples))
        .answers(200, json_answer("It was published to `adw:<adw_id>`.", "Broadcasted", told))
        .refuses(408, form, &[E::Timeout])
        .refuses(413, form, &[E::TooLarge])
        .refuses(415, form, &[E::UnsupportedMediaType])
        .refuses(500, form, &[E::Unavailable]);
    if is_triggers {
        return operation.refuses(400, Form::Plain, &invalid);
    }
    let operation = operation.refuses(422, Form::Validation, &invalid);
    if path == "/api/tool-execution" { operation.refuses(400, Form::Detail, &[E::InvalidPayload]) } else { operation }
}

// ---------------------------------------------------------------------------------------------------------------
// AMIGA
// ---------------------------------------------------------------------------------------------------------------

fn amiga() -> Vec<Operation> {
    let overview = json!({
        "tasks": { "total": 7, "running": 1, "completed": 5, "failed": 1 },
        "costs": { "total_cost": 1.25, "haiku_cost": 0.25, "sonnet_cost": 1.0 },
    });
    let windowed = |operation: Operation| {
        let hours = json!({ "type": "integer" });
        operation
            .parameter(query(
                "hours",
                "How far back the figures count, 1 to 168; 24 when absent. Less is taken for 1, more for 168.",
                hours,
                24,
            ))
            .access(Access::Visitor, Form::Plain)
            .refuses(422, Form::Plain, &[E::InvalidPayload])
            .and_head()
    };
    let line = format!(
        "data: {}\n\n: heartbeat\n\n",
        json!({ "overview": overview, "sessions": {}, "activity": [], "timestamp": 1_763_682_001.5 })
    );
    vec![
        windowed(
            operation("get", "/api/stream/metrics", "streamMetrics", "amiga", "The figures as server-sent events.")
                .says("Figures without a name when one has changed, errors as `event: error`, and a comment where there is nothing to say. HEAD opens a stream and shows none of it.")
                .answers(200, text_answer("Figures, until either side ends it.", "text/event-stream", "Server-sent events.", &line))
                .refuses(503, Form::Plain, &[E::Unavailable]),
        ),
        windowed(
            operation("get", "/api/metrics/overview", "getMetrics", "amiga", "The figures of now.")
                .answers(200, json_answer("The figures.", "AmigaOverview", overview))
                .refuses(500, Form::Plain, &[E::Unavailable]),
        ),
        operation("get", "/websocket-test", "getTestPage", "amiga", "A page to try the connection with.")
            .answers(200, text_answer("The page.", "text/html", "The page.", "<!doctype html>"))
            .and_head(),
    ]
}

// ---------------------------------------------------------------------------------------------------------------
// Product Demo
// ---------------------------------------------------------------------------------------------------------------

fn product() -> Vec<Operation> {
    let lines = json!({ "installId": "i-7", "stage": "download", "percent": 40 });
    let summary = json!({ "success": true, "installId": "i-7", "events": 2 });
    let body = json!({
        "required": true,
        "description": "A JSON object in each line, or what the program writes. Read as it comes, up to 64 MiB.",
        "content": {
            "application/x-ndjson": { "schema": text(), "example": format!("{lines}\n") },
            "application/ndjson": { "schema": text(), "example": format!("{lines}\n") },
            "application/json": media(json!({ "type": "object", "description": "The one line." }), &[("line", "One line.", lines)]),
            "text/plain": { "schema": text(), "example": "Get:1 http://deb.example.org stable InRelease\n" },
        },
    });
    let item = json!({ "type": "string", "minLength": 1, "maxLength": 128 });
    let stats = json!({ "totalConnections": 3, "uniqueUsers": 2, "userConnections": [{ "userId": "maria", "connectionCount": 1 }] });
    vec![
        operation("post", "/api/mcp/ssh/install/stream", "streamInstall", "product", "Tells a user what an installation writes, as it comes.")
            .says("A page speaks for its own user, by its cookie. Whoever may publish names the user: then it needs a key with the permission `publish`.")
            .access(Access::User, Form::Plain)
            .parameter(query("user", "Whose installation it is; needs a key with `publish`.", reference("UserId"), "maria"))
            .parameter(query("installId", "Which installation it is; needed with `text/plain`.", item.clone(), "i-7"))
            .parameter(header("X-Install-Id", "The same as `installId`.", item, "i-7"))
            .body(body)
            .answers(200, json_answer("The body has ended; this was done with it.", "InstallSummary", summary))
            .refuses(400, Form::Install, &[E::MalformedFrame])
            .refuses(403, Form::Plain, &[E::Forbidden])
            .refuses(408, Form::Install, &[E::Timeout])
            .refuses(413, Form::Install, &[E::TooLarge])
            .refuses(415, Form::Plain, &[E::UnsupportedMediaType])
            .refuses(422, Form::Plain, &[E::InvalidPayload, E::InvalidId])
            .refuses(503, Form::Plain, &[E::Unavailable]),
        operation("get", "/api/websocket/stats", "getSocketStats", "product", "How many sockets there are.")
            .says("Of whose they are, a user learns their own alone.")
            .access(Access::User, Form::Plain)
            .answers(200, json_answer("The counts.", "SocketStats", stats))
            .refuses(503, Form::Plain, &[E::Unavailable]),
    ]
}

// ---------------------------------------------------------------------------------------------------------------
// Shared Context
// ---------------------------------------------------------------------------------------------------------------

fn shared_context() -> Vec<Operation> {
    let context = || in_path("session", "The context.", reference("ContextId"), "planning");
    let opened = "The socket is open. It is closed at once with 1008 where the credentials do not reach the context.";
    let nameless = "The socket is open, and closed at once with 1008: a context is missing.";
    let iso = "2025-08-13T14:48:21.000000+00:00";
    let message = json!({ "type": "new_message", "data": {
        "id": 43, "sender": "claude", "sender_type": "claude", "content": "hello", "visibility": "public",
        "message_type": "agent_response", "timestamp": iso, "metadata": { "component": "database" },
    } });
    let update = json!({ "type": "session_update", "session_id": "planning", "agent_id": "claude", "message_count": 12, "timestamp": iso });
    let memory = json!({ "type": "memory_update", "data": {
        "agent_id": "claude", "key": "plan", "value": { "step": 2 }, "session_id": "planning", "scope": "session", "updated_at": iso,
    } });
    let typing = json!({ "type": "typing", "agent_id": "otto", "is_typing": true });
    let named = |path, id, summary| {
        let operation = operation("get", path, id, "shared_context", summary).access(Access::Visitor, Form::Coded);
        socket(operation.parameter(context()).answers(101, switching(opened)))
    };
    let unnamed = |path, id| {
        let operation =
            operation("get", path, id, "shared_context", "A socket without a context, which is closed at once.");
        socket(operation.access(Access::Everybody, Form::Coded).answers(101, switching(nameless)))
    };
    vec![
        named("/ws/{session}", "openContextSocket", "Opens the socket of a page in a context."),
        named("/ui/ws/{session}", "openContextSocketBelowUi", "The same as `/ws/{session}`, on a listener of its own."),
        unnamed("/ws/", "openContextSocketUnnamed"),
        named("/mcp/{session}", "openContextAgentSocket", "Opens the socket of an agent in a context."),
        unnamed("/mcp/", "openContextAgentSocketUnnamed"),
        operation("post", "/broadcast/{session}", "broadcastToContext", "shared_context", "Publishes an event to a context.")
            .says("Its callers look at `success` and expect 200, whatever became of the event; those who may not publish, and those whose request was no event, are told by the status as well.")
            .access(Access::Holder("publish"), Form::Broadcast)
            .parameter(context())
            .body(json_body("ContextEventPost", &[
                ("message", "A message.", message),
                ("update", "The context has changed.", update),
                ("memory", "A value has changed.", memory),
                ("typing", "Somebody types.", typing),
            ]))
            .answers(200, json_answer("What became of the event.", "BroadcastAnswer", json!({ "success": true, "session_id": "planning" })))
            .refuses(413, Form::Broadcast, &[E::TooLarge])
            .refuses(415, Form::Broadcast, &[E::UnsupportedMediaType]),
    ]
}
