//! Bodies of requests and answers that only the older systems have, in their words.
//!
//! What producers post is read leniently, as their servers of origin did: members beyond those named here are passed over,
//! null counts as absent. So these requests say what is understood, and nothing is refused for what they do not say.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    event::{AnyValue, context::MessageVisibility},
    id::{AdwId, ContextId, ItemId, MAX_SEQ, UserId},
    time::Time,
};

// ---------------------------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------------------------

/// A refusal as AMIGA, Product Demo and the kanban's trigger server write it: one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlainError {
    /// What was wrong.
    pub error: String,
}

/// A refusal as the kanban's API server writes it: one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DetailError {
    /// What was wrong.
    pub detail: String,
}

/// A body that does not fit, as the kanban's API server writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ValidationError {
    /// What is wrong, place by place.
    pub detail: Vec<ValidationProblem>,
}

/// One place of a body that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ValidationProblem {
    /// `missing`, or `value_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where: `body`, and the member.
    pub loc: Vec<String>,
    /// What is wrong there.
    pub msg: String,
}

// ---------------------------------------------------------------------------------------------------------------
// ADW: what workflows post
// ---------------------------------------------------------------------------------------------------------------

/// One event of any kind of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StateUpdatePost {
    /// The run.
    pub adw_id: AdwId,
    /// `state_change`, `log_entry`, `file_operation`, `thinking`, `tool_execution_pre`, `tool_execution_post` or
    /// `text_block`; any other word is told as a log entry.
    #[schemars(length(min = 1))]
    pub event_type: String,
    /// What happened: the members of the event.
    pub data: Map<String, Value>,
    /// When, ISO 8601 in UTC; the server's clock when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// One line of a run's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LogEntryPost {
    /// The run.
    pub adw_id: AdwId,
    /// The line.
    #[schemars(length(min = 1))]
    pub message: String,
    /// `DEBUG`, `INFO`, `SUCCESS`, `WARNING` or `ERROR`, in any case; `INFO` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// More about it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// What belongs to it; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Map<String, Value>>,
}

/// A file that an agent read or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FileOperationPost {
    /// The run.
    pub adw_id: AdwId,
    /// The file, relative to the run's working directory.
    #[schemars(length(min = 1))]
    pub file_path: String,
    /// `read`, `write`, `modify`, `delete`, `created`, `modified` or `deleted`.
    #[schemars(length(min = 1))]
    pub operation: String,
    /// What changed, as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// What changed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// How many lines came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_added: Option<u64>,
    /// How many lines went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_removed: Option<u64>,
}

/// What an agent thought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ThinkingPost {
    /// The run.
    pub adw_id: AdwId,
    /// The thought.
    #[schemars(length(min = 1))]
    pub content: String,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Its place among the run's blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// What kind of thought it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_type: Option<String>,
}

/// The use of a tool, before or after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolExecutionPost {
    /// The run.
    pub adw_id: AdwId,
    /// The tool.
    #[schemars(length(min = 1))]
    pub tool_name: String,
    /// `pre` or `post`.
    pub phase: ToolPhase,
    /// Which use of it; the same before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// What the tool was given; read with `pre`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_data: Option<Map<String, Value>>,
    /// What the tool answered; read with `post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<AnyValue>,
    /// How long it took; read with `post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Whether it went well; true when absent. Read with `post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// What went wrong; read with `post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which side of the use of a tool is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolPhase {
    /// It is about to be used.
    Pre,
    /// It has been used.
    Post,
}

/// A run goes from one phase to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PhaseTransitionPost {
    /// The run.
    pub adw_id: AdwId,
    /// The phase that ends; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_from: Option<String>,
    /// The phase that begins.
    #[schemars(length(min = 1))]
    pub phase_to: String,
    /// The workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// What belongs to it; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A piece of what an agent writes, word for word. Who reads it needs the permission `adw_raw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OutputChunkPost {
    /// The run.
    pub adw_id: AdwId,
    /// Who wrote it.
    #[schemars(length(min = 1))]
    pub agent_role: String,
    /// What was written.
    pub content: String,
    /// Its place, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_number: Option<u64>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_lines: Option<u64>,
    /// Whether it is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_complete: Option<bool>,
}

/// A screenshot is there to be fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ScreenshotPost {
    /// The run.
    pub adw_id: AdwId,
    /// The file, relative to the run's own directory.
    #[schemars(length(min = 1))]
    pub screenshot_path: String,
    /// `review` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screenshot_type: Option<String>,
    /// What belongs to it; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A specification was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpecPost {
    /// The run.
    pub adw_id: AdwId,
    /// The file, relative to the root of the repository.
    #[schemars(length(min = 1))]
    pub spec_path: String,
    /// `plan` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_type: Option<String>,
    /// What belongs to it; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A message of the trigger server: where a workflow stands, or a line of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorkflowUpdatePost {
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: WorkflowUpdateKind,
    /// The message.
    pub data: WorkflowUpdateData,
}

/// What a message of the trigger server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowUpdateKind {
    /// Where a workflow stands; needs `status`.
    StatusUpdate,
    /// A line of its log; needs `level`.
    WorkflowLog,
}

/// The message of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorkflowUpdateData {
    /// The run.
    pub adw_id: AdwId,
    /// The workflow.
    pub workflow_name: String,
    /// What is to be said.
    pub message: String,
    /// When, ISO 8601 in UTC.
    pub timestamp: String,
    /// Where it stands; needed with `status_update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `DEBUG`, `INFO`, `SUCCESS`, `WARNING` or `ERROR`; needed with `workflow_log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress_percent: Option<u64>,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
}

/// A ticket moves: said outright with `to_stage`, or as what the orchestrator reports of its stages with `event_type` and
/// `stage_name`. One of the two is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StageEventPost {
    /// The run.
    pub adw_id: AdwId,
    /// Where the ticket comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_stage: Option<Stage>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_stage: Option<Stage>,
    /// What the orchestrator reports; read where `to_stage` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<StageReport>,
    /// The stage that it reports of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_name: Option<Stage>,
    /// The stage before; read with `stage_started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_stage: Option<Stage>,
    /// The stage after; read with `stage_completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_stage: Option<Stage>,
    /// The workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// What is to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When, ISO 8601 in UTC; the server's clock when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// What an orchestrator reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageReport {
    /// A workflow has begun, with this stage.
    WorkflowStarted,
    /// A stage has begun.
    StageStarted,
    /// A stage has ended well; the ticket moves where a stage follows.
    StageCompleted,
    /// A stage is passed by; the ticket does not move.
    StageSkipped,
    /// A stage has failed.
    StageFailed,
    /// A workflow has failed.
    WorkflowFailed,
    /// A workflow has ended well.
    WorkflowCompleted,
}

/// A column of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Not begun.
    Backlog,
    /// It is planned.
    Plan,
    /// It is built.
    Build,
    /// It is tested.
    Test,
    /// It is reviewed.
    Review,
    /// It is documented.
    Document,
    /// It can be merged.
    ReadyToMerge,
    /// It is a pull request.
    Pr,
    /// It is done.
    Completed,
    /// It went wrong.
    Errored,
}

impl Stage {
    /// Every column, from left to right.
    pub const ALL: &[Self] = &[
        Self::Backlog,
        Self::Plan,
        Self::Build,
        Self::Test,
        Self::Review,
        Self::Document,
        Self::ReadyToMerge,
        Self::Pr,
        Self::Completed,
        Self::Errored,
    ];
}

/// What a producer is told: the event was published. The members behind `adw_id` are those of the request that its path
/// repeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Broadcasted {
    /// `success`.
    #[schemars(extend("const" = "success"))]
    pub status: String,
    /// What was done, in a sentence.
    pub message: String,
    /// The run.
    pub adw_id: String,
    /// Repeated by `/api/agent-state-update` and `/api/stage-event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// When it happened; told by `/api/agent-state-update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Repeated by `/api/file-operation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_path: Option<String>,
    /// Repeated by `/api/tool-execution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// Repeated by `/api/workflow-phase-transition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_to: Option<String>,
    /// Repeated by `/api/agent-output-chunk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<String>,
    /// Repeated by `/api/screenshot-available`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screenshot_path: Option<String>,
    /// Repeated by `/api/spec-created`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_path: Option<String>,
    /// Repeated by `/api/workflow-updates`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Repeated by `/api/stage-event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_stage: Option<String>,
}

impl Broadcasted {
    /// The member of the answer that repeats the member of a request with this name; `None` for a name that no path
    /// repeats.
    pub fn echo(&mut self, member: &str) -> Option<&mut Option<String>> {
        Some(match member {
            "event_type" => &mut self.event_type,
            "timestamp" => &mut self.timestamp,
            "file_path" => &mut self.file_path,
            "tool_name" => &mut self.tool_name,
            "phase_to" => &mut self.phase_to,
            "agent_role" => &mut self.agent_role,
            "screenshot_path" => &mut self.screenshot_path,
            "spec_path" => &mut self.spec_path,
            "type" => &mut self.kind,
            "to_stage" => &mut self.to_stage,
            _ => return None,
        })
    }
}

/// The state of a run, for the kanban.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentStateAnswer {
    /// The run.
    pub adw_id: AdwId,
    /// The content of its `adw_state.json`, fit to be shown; free form.
    pub state: Map<String, Value>,
    /// When it was read.
    pub timestamp: Time,
}

// ---------------------------------------------------------------------------------------------------------------
// Shared Context
// ---------------------------------------------------------------------------------------------------------------

/// Where the endpoints of Shared Context are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextEndpoints {
    /// Sockets of pages.
    pub websocket: String,
    /// Sockets of agents.
    pub mcp: String,
    /// Where its back end publishes.
    pub broadcast: String,
    /// This.
    pub health: String,
}

/// Where a page opens its socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextConfig {
    /// At this port.
    pub websocket_port: u16,
    /// Of this host.
    pub websocket_host: String,
}

/// A message of a context, as its back end builds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextMessagePost {
    /// `new_message`.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "new_message"))]
    pub kind: String,
    /// The message.
    pub data: ContextMessagePostData,
}

/// The message itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextMessagePostData {
    /// Its number; it grows within the context.
    #[schemars(range(min = 1, max = MAX_SEQ))]
    pub id: u64,
    /// Who wrote it.
    pub sender: UserId,
    /// The text.
    #[schemars(length(max = 100_000))]
    pub content: String,
    /// Who may see it.
    pub visibility: MessageVisibility,
    /// What kind of agent the sender is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_type: Option<String>,
    /// What kind of message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
    /// Number of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_SEQ))]
    pub parent_message_id: Option<u64>,
    /// The context; that of the path, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ContextId>,
    /// When, ISO 8601; the server's clock when absent. A number counts milliseconds, a small one seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// Something about a context has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextUpdatePost {
    /// `session_update`.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "session_update"))]
    pub kind: String,
    /// Who changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<UserId>,
    /// How many messages there are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_count: Option<u64>,
    /// The context; that of the path, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ContextId>,
    /// When, ISO 8601; the server's clock when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// A value of a context has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextMemoryPost {
    /// `memory_update`.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "memory_update"))]
    pub kind: String,
    /// The value.
    pub data: ContextMemoryPostData,
}

/// The value of a context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextMemoryPostData {
    /// Who set it.
    pub agent_id: UserId,
    /// Its name.
    pub key: String,
    /// What it is now.
    pub value: AnyValue,
    /// The context of the path.
    pub session_id: ContextId,
    /// `session`, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("const" = "session"))]
    pub scope: Option<String>,
    /// When it was made, ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When it was changed, ISO 8601; the server's clock when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// Somebody types, or has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ContextTypingPost {
    /// `typing`.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "typing"))]
    pub kind: String,
    /// Who.
    pub agent_id: UserId,
    /// Whether it goes on.
    pub is_typing: bool,
    /// The context; that of the path, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ContextId>,
    /// When, ISO 8601; the server's clock when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// What the back end of Shared Context is told. `error` says why nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BroadcastAnswer {
    /// Whether the event was published.
    pub success: bool,
    /// The context; there when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<ContextId>,
    /// Why it was not; there when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

// ---------------------------------------------------------------------------------------------------------------
// Product Demo
// ---------------------------------------------------------------------------------------------------------------

/// How many sockets of Product Demo there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SocketStats {
    /// All of them.
    pub total_connections: usize,
    /// How many users they belong to.
    pub unique_users: usize,
    /// Those of the user who asks; nobody learns of others.
    pub user_connections: Vec<UserSockets>,
}

/// The sockets of one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserSockets {
    /// The user.
    pub user_id: UserId,
    /// How many sockets are open.
    pub connection_count: usize,
}

/// What was done with the output of an installation (PRD-08).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallSummary {
    /// Whether all of it was told.
    pub success: bool,
    /// The installation; absent when no line said which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_id: Option<ItemId>,
    /// How many events were told.
    pub events: u64,
    /// How many lines could not be read; absent when all could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_lines: Option<u64>,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad_line: Option<BadLine>,
    /// Why the reading ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub error: String,
}

// ---------------------------------------------------------------------------------------------------------------
// AMIGA
// ---------------------------------------------------------------------------------------------------------------

/// The figures of the whole system, as the dashboard reads them. Groups that are not counted are absent; what is counted
/// besides stands beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AmigaOverview {
    /// How many tasks there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<crate::event::metrics::TaskMetrics>,
    /// What the models cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<AmigaCosts>,
    /// How much the models were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claude_api: Option<crate::event::metrics::ClaudeApiMetrics>,
    /// How often tools were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<crate::event::metrics::ToolMetrics>,
}

/// What the models cost, in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AmigaCosts {
    /// All models together.
    #[schemars(range(min = 0.0))]
    pub total_cost: f64,
    /// The models named Haiku.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub haiku_cost: Option<f64>,
    /// The models named Sonnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub sonnet_cost: Option<f64>,
}
