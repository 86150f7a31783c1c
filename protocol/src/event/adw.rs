//! Payloads of the `adw` family: what an AI developer workflow (ADW) run tells the people who watch it.
//!
//! Names and fields follow the system of origin; where its two servers disagreed, the API server's spelling is the
//! canonical one and what only the trigger server sent stays as an optional field. No payload carries a timestamp of
//! its own: `time` of the frame says when. The descriptions are what a frontend developer reads in the published
//! schemas.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::open::{MAX_INTEGER, closed_enum, open_enum};
use crate::id::AdwId;

// ---------------------------------------------------------------------------------------------------------------
// Words
// ---------------------------------------------------------------------------------------------------------------

closed_enum! {
    /// How important a log line is. Upper-case spellings are accepted when reading.
    pub enum LogLevel {
        /// Only of interest when something is being looked for.
        Debug = "debug" | "DEBUG",
        /// Normal progress.
        Info = "info" | "INFO",
        /// Something was finished well.
        Success = "success" | "SUCCESS",
        /// Something is odd, work goes on.
        Warning = "warning" | "WARNING",
        /// Something failed.
        Error = "error" | "ERROR",
    }
}

closed_enum! {
    /// What happened to a file. The older words `write`, `modify` and `delete` are accepted when reading.
    pub enum FileOperation {
        /// The file was read.
        Read = "read",
        /// The content of an existing file was changed.
        Modified = "modified" | "write" | "modify",
        /// The file did not exist before.
        Created = "created" | "create",
        /// The file is gone.
        Deleted = "deleted" | "delete",
    }
}

open_enum! {
    /// Where an agent's log line comes from.
    pub enum EventCategory {
        /// A hook of the agent's tool.
        Hook = "hook",
        /// What the agent or its user said, or the outcome of a turn.
        Response = "response",
        /// The agent's state: busy, idle, limited.
        Status = "status",
        /// The machinery around the agent.
        System = "system",
    }
}

open_enum! {
    /// Where a workflow or an agent stands.
    pub enum WorkflowStatus {
        /// Work has begun.
        Started = "started",
        /// Work is under way.
        InProgress = "in_progress",
        /// Work ended well.
        Completed = "completed",
        /// Work ended badly.
        Failed = "failed",
    }
}

open_enum! {
    /// How the text of a chat stream is to be shown.
    pub enum StreamType {
        /// Plain text.
        Text = "text",
        /// Source code.
        Code = "code",
        /// Markdown.
        Markdown = "markdown",
    }
}

open_enum! {
    /// What a summary sums up.
    pub enum SummaryType {
        /// A change of one file.
        FileChange = "file_change",
        /// The use of one tool.
        ToolUse = "tool_use",
        /// A whole session, or one turn of it.
        Session = "session",
    }
}

open_enum! {
    /// A phase of a workflow. Phases outside the usual five bear the name of the agent's role.
    pub enum WorkflowPhase {
        /// The plan is being written.
        Plan = "plan",
        /// The plan is being carried out.
        Build = "build",
        /// The result is being tested.
        Test = "test",
        /// The result is being reviewed.
        Review = "review",
        /// The result is being documented.
        Document = "document",
    }
}

open_enum! {
    /// The agent's role in the workflow; it is also the name of its directory.
    pub enum AgentRole {
        /// Writes the plan.
        Planner = "planner",
        /// Carries the plan out.
        Implementor = "implementor",
        /// Runs and writes tests.
        Tester = "tester",
        /// Compares the result with the plan.
        Reviewer = "reviewer",
        /// Writes the documentation.
        Documenter = "documenter",
    }
}

open_enum! {
    /// Why a screenshot was taken.
    pub enum ScreenshotType {
        /// For the review of the result.
        Review = "review",
        /// It shows something going wrong.
        Error = "error",
        /// It compares before and after.
        Comparison = "comparison",
    }
}

open_enum! {
    /// What a specification is for.
    pub enum SpecType {
        /// The plan of the whole work.
        Plan = "plan",
        /// A correction of work already done.
        Patch = "patch",
        /// The outcome of a review.
        Review = "review",
    }
}

open_enum! {
    /// What became of the wish to start a workflow.
    pub enum TriggerStatus {
        /// The workflow starts.
        Accepted = "accepted",
        /// The workflow could not be started.
        Error = "error",
        /// Nothing was done, on purpose.
        Ignored = "ignored",
    }
}

open_enum! {
    /// What became of a ticket notification.
    pub enum TicketStatus {
        /// The ticket was taken in.
        Received = "received",
        /// The ticket was refused.
        Error = "error",
    }
}

open_enum! {
    /// A column of the board that a ticket moves through.
    pub enum WorkflowStage {
        /// Not begun.
        Backlog = "backlog",
        /// The plan is being written.
        Plan = "plan",
        /// The plan is being carried out.
        Build = "build",
        /// The result is being tested.
        Test = "test",
        /// The result is being reviewed.
        Review = "review",
        /// The result is being documented.
        Document = "document",
        /// Everything is done, the merge is not.
        ReadyToMerge = "ready-to-merge",
        /// A pull request is open.
        Pr = "pr",
        /// Done.
        Completed = "completed",
        /// Stopped by an error.
        Errored = "errored",
    }
}

// ---------------------------------------------------------------------------------------------------------------
// What an agent does
// ---------------------------------------------------------------------------------------------------------------

/// One line for the log of a run: the start of an agent, a prompt, a hook, a limit, a warning, the cost of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentLog {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// Where the line comes from.
    pub event_category: EventCategory,
    /// The finer kind within the category, for instance `init`, `hook_response` or `PreToolUse`. Any text.
    pub event_type: String,
    /// How important the line is.
    pub level: LogLevel,
    /// The line itself. Plain text from outside: show it as text, never as markup.
    pub message: String,
    /// The line in fewer words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What the workflow is doing now, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
    /// The agent that the line is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Set when a subagent wrote the line: the `tool_use_id` of the call that started the subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
    /// Further values, by kind of event; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Map<String, Value>>,
}

/// Where a run stands now. A newer one replaces an older one of the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentSummaryUpdate {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// Where the run stands.
    pub status: WorkflowStatus,
    /// How much is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub progress_percent: Option<f64>,
    /// What the run is doing now, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
    /// The workflow that is running, for instance `adw_plan_iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// One line about the state, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The state as an object, as some producers keep it; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Map<String, Value>>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A piece of text as it is being written. The pieces of one stream, put one behind the other, are the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChatStream {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The next piece of the text. May be empty. Text from outside: `stream_type` says how to show it, and it is never
    /// markup of your own page.
    pub content: String,
    /// How the text is to be shown.
    pub stream_type: StreamType,
    /// True on the piece that ends the text.
    pub is_complete: bool,
    /// The orchestrating agent that writes the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestrator_agent_id: Option<String>,
}

/// A finished block of the agent's thinking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ThinkingBlock {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The thoughts. Empty when `withheld` is true. Plain text from outside: show it as text, never as markup.
    pub content: String,
    /// True when the agent thought but its text was not given out, only a signature over it. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<bool>,
    /// How long the agent thought, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub duration_ms: Option<u64>,
    /// Position of the block within its agent's output, counted by the producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub sequence: Option<u64>,
    /// The kind of thinking, for instance `planning`. Any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_type: Option<String>,
    /// The agent that thought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Set when a subagent thought: the `tool_use_id` of the call that started the subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
}

/// The agent is about to use a tool. `adw.tool_use_post` with the same `tool_use_id` follows, unless the agent was
/// stopped in between. Several calls may be under way at once, and their results come in any order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolUsePre {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The tool, for instance `Read` or `Bash`.
    pub tool_name: String,
    /// The arguments of the call, as the tool defines them.
    pub input: Map<String, Value>,
    /// Identifies the call within the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// The agent that uses the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Set when a subagent uses the tool: the `tool_use_id` of the call that started the subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
}

/// A tool has answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolUsePost {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The tool, as in `adw.tool_use_pre`. Empty when the call itself was not seen.
    pub tool_name: String,
    /// True when the tool did what was asked.
    pub success: bool,
    /// The call, as in `adw.tool_use_pre`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// What the tool answered. Plain text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What went wrong, when `success` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long the call took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub duration_ms: Option<u64>,
    /// The agent that used the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Set when a subagent used the tool: the `tool_use_id` of the call that started the subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
}

/// The agent has read or changed a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FileChanged {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The file, relative to the run's working directory, with `/` between the parts. A file outside of it is
    /// reduced to its name.
    pub file_path: String,
    /// What happened to the file.
    pub operation: FileOperation,
    /// The change as a unified diff. Plain text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// The change in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Lines that are new in the file.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub lines_added: u64,
    /// Lines that are no longer in the file.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub lines_removed: u64,
    /// The call that did it, as in `adw.tool_use_pre`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// The agent that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Set when a subagent did it: the `tool_use_id` of the call that started the subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
}

/// A summary of something that happened, written for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SummaryUpdate {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// What is summed up.
    pub summary_type: SummaryType,
    /// The summary. Plain text from outside: show it as text, never as markup.
    pub content: String,
    /// The file that the summary is about, relative to the run's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related_file: Option<String>,
    /// The agent that the summary is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A finished block of the agent's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TextBlock {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The text. Plain text from outside: show it as text, never as markup.
    pub content: String,
    /// Position of the block within its agent's output, counted by the producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub sequence: Option<u64>,
    /// The agent that wrote the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Set when a subagent wrote the text: the `tool_use_id` of the call that started the subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
}

/// The run has entered a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorkflowPhaseTransition {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The phase before; absent when this is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_from: Option<WorkflowPhase>,
    /// The phase that begins.
    pub phase_to: WorkflowPhase,
    /// The workflow that the phase belongs to, for instance `adw_sdlc_iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// The agent whose start began the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<AgentRole>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A line of an agent's raw output, or a part of a long line. All chunks of a file, each line closed with a line feed,
/// are the file, byte for byte. Raw output is not cleaned: reading it needs the permission `adw_raw`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentOutputChunk {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The agent whose output it is.
    pub agent_role: AgentRole,
    /// The text of the line or of the part, without the line feed; at most 32 KiB. Usually JSON, but any text may
    /// come. Show it as text, never as markup.
    pub content: String,
    /// The line in the file, counted from 1. All parts of a long line have the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_INTEGER))]
    pub line_number: Option<u64>,
    /// How many lines the file has, where the producer knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_lines: Option<u64>,
    /// True on the chunk that ends its line.
    pub is_complete: bool,
    /// Where in the file the first byte of this chunk stands, counted from 0, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub offset_bytes: Option<u64>,
    /// The exact bytes in base64 (standard alphabet, padded), only when they are not valid UTF-8. `content` then
    /// shows them with replacement characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
}

/// A screenshot can be fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ScreenshotAvailable {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The picture, relative to the run's own directory, for instance `reviewer/review_img/01.png`.
    pub screenshot_path: String,
    /// Why the screenshot was taken.
    pub screenshot_type: ScreenshotType,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A specification was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpecCreated {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The specification, relative to the root of the repository, for instance `agents/29fb6a3e/29fb6a3e_plan_spec.md`.
    pub spec_path: String,
    /// What the specification is for.
    pub spec_type: SpecType,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

// ---------------------------------------------------------------------------------------------------------------
// What the workflow servers say besides
// ---------------------------------------------------------------------------------------------------------------

/// One line for the log of the whole system; it belongs to no run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SystemLog {
    /// How important the line is.
    pub level: LogLevel,
    /// The line itself. Plain text from outside: show it as text, never as markup.
    pub message: String,
    /// More text about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Further values; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Map<String, Value>>,
}

/// The answer to the wish to start a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TriggerResponse {
    /// What became of the wish.
    pub status: TriggerStatus,
    /// One line about it, for a person to read.
    pub message: String,
    /// The run that was started; absent when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adw_id: Option<AdwId>,
    /// The workflow that was asked for, for instance `adw_plan_iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// The directory of the run's logs, relative to the root of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_path: Option<String>,
    /// What went wrong, when `status` is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a workflow is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StatusUpdate {
    /// The run that this event is about.
    pub adw_id: AdwId,
    /// The workflow, for instance `adw_plan_iso`.
    pub workflow_name: String,
    /// Where the workflow stands.
    pub status: WorkflowStatus,
    /// One line about it, for a person to read.
    pub message: String,
    /// How much is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub progress_percent: Option<f64>,
    /// What the workflow is doing now, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
}

/// One line for the log of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorkflowLog {
    /// The run that this event is about.
    pub adw_id: AdwId,
    /// The workflow, for instance `adw_plan_iso`.
    pub workflow_name: String,
    /// The line itself. Plain text from outside: show it as text, never as markup.
    pub message: String,
    /// How important the line is.
    pub level: LogLevel,
}

/// A ticket has moved on the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StageTransition {
    /// The run that this event is about.
    pub adw_id: AdwId,
    /// The column that the ticket comes from; absent when it is new on the board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_stage: Option<WorkflowStage>,
    /// The column that the ticket is in now.
    pub to_stage: WorkflowStage,
    /// The workflow that moved it, for instance `adw_sdlc_iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// One line about it, for a person to read. May be empty.
    #[serde(default)]
    pub message: String,
}

/// A frontend's session was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionRegistered {
    /// The session id that the frontend chose.
    pub session_id: String,
    /// One line about it, for a person to read.
    pub message: String,
}

/// The answer to a ticket notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TicketNotificationResponse {
    /// What became of the notification.
    pub status: TicketStatus,
    /// The ticket that it was about.
    pub ticket_id: String,
    /// One line about it, for a person to read.
    pub message: String,
    /// What went wrong, when `status` is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A run has a new agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentCreated {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// What is known of the agent, for instance `issue_number` and `workflow_type`; free form.
    #[serde(default)]
    pub agent: Map<String, Value>,
}

/// What is known of a run's agent has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentUpdated {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// What is known of the agent now; free form.
    #[serde(default)]
    pub state: Map<String, Value>,
    /// The names in `state` that changed; absent when the producer does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_fields: Option<Vec<String>>,
}

/// A run's agent is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentDeleted {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
}

/// A run's agent has changed its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AgentStatusChange {
    /// The run that this event belongs to.
    pub adw_id: AdwId,
    /// The state before. Any text.
    pub old_status: String,
    /// The state now. Any text.
    pub new_status: String,
    /// One line about it, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What is known of the orchestrating agent has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OrchestratorUpdated {
    /// What is known of the orchestrator now, for instance its tokens and cost; free form.
    pub orchestrator: Map<String, Value>,
}

/// A message in the chat with the orchestrating agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChatMessage {
    /// The message as the producer keeps it; free form.
    pub message: Map<String, Value>,
}

/// The orchestrating agent is writing, or has stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TypingIndicator {
    /// The orchestrating agent.
    pub orchestrator_agent_id: String,
    /// True while it is writing.
    pub is_typing: bool,
}

// ---------------------------------------------------------------------------------------------------------------
// Examples
// ---------------------------------------------------------------------------------------------------------------

/// One complete example per event of the family: its name without the family, and its `data` object.
///
/// The order is that of the payloads above. The examples go into the published schemas, the documentation and the
/// snapshot of the wire forms.
pub fn examples() -> Vec<(&'static str, Value)> {
    vec![
        (
            "agent_log",
            json!({
                "adw_id": "29fb6a3e", "event_category": "hook", "event_type": "PreToolUse", "level": "info",
                "message": "Reading file", "summary": "Read src/app.js", "current_step": "Stage: Build",
                "agent_role": "implementor", "parent_tool_use_id": "toolu_7", "payload": { "tool_name": "Read" },
            }),
        ),
        (
            "agent_summary_update",
            json!({
                "adw_id": "29fb6a3e", "status": "in_progress", "progress_percent": 40.0,
                "current_step": "Stage: Build", "workflow_name": "adw_sdlc_iso", "message": "Building",
                "summary": { "open_tasks": 3 }, "metadata": { "issue_number": "66" },
            }),
        ),
        (
            "chat_stream",
            json!({
                "adw_id": "29fb6a3e", "content": "hello", "stream_type": "text", "is_complete": false,
                "orchestrator_agent_id": "orchestrator-1",
            }),
        ),
        (
            "thinking_block",
            json!({
                "adw_id": "29fb6a3e", "content": "The route is missing a guard.", "withheld": false,
                "duration_ms": 1200, "sequence": 4, "reasoning_type": "planning", "agent_role": "planner",
                "parent_tool_use_id": "toolu_7",
            }),
        ),
        (
            "tool_use_pre",
            json!({
                "adw_id": "29fb6a3e", "tool_name": "Read", "input": { "file_path": "src/app.js" },
                "tool_use_id": "toolu_1", "agent_role": "implementor", "parent_tool_use_id": "toolu_7",
            }),
        ),
        (
            "tool_use_post",
            json!({
                "adw_id": "29fb6a3e", "tool_name": "Read", "success": false, "tool_use_id": "toolu_1",
                "output": "File does not exist.", "error": "File does not exist.", "duration_ms": 35,
                "agent_role": "implementor", "parent_tool_use_id": "toolu_7",
            }),
        ),
        (
            "file_changed",
            json!({
                "adw_id": "29fb6a3e", "file_path": "src/app.js", "operation": "modified",
                "diff": "--- a/src/app.js\n+++ b/src/app.js\n@@ -1,1 +1,2 @@\n a\n+b\n", "summary": "Added a line",
                "lines_added": 1, "lines_removed": 0, "tool_use_id": "toolu_2", "agent_role": "implementor",
                "parent_tool_use_id": "toolu_7",
            }),
        ),
        (
            "summary_update",
            json!({
                "adw_id": "29fb6a3e", "summary_type": "file_change", "content": "Added a line",
                "related_file": "src/app.js", "agent_role": "implementor", "metadata": { "num_turns": 3 },
            }),
        ),
        (
            "text_block",
            json!({
                "adw_id": "29fb6a3e", "content": "Done", "sequence": 5, "agent_role": "implementor",
                "parent_tool_use_id": "toolu_7",
            }),
        ),
        (
            "workflow_phase_transition",
            json!({
                "adw_id": "29fb6a3e", "phase_from": "plan", "phase_to": "build", "workflow_name": "adw_sdlc_iso",
                "agent_role": "implementor", "metadata": { "model": "claude-opus-4-1" },
            }),
        ),
        (
            "agent_output_chunk",
            json!({
                "adw_id": "29fb6a3e", "agent_role": "planner", "content": "caf\u{fffd}", "line_number": 1,
                "total_lines": 10, "is_complete": true, "offset_bytes": 0, "content_base64": "Y2Fm6Q==",
            }),
        ),
        (
            "screenshot_available",
            json!({
                "adw_id": "29fb6a3e", "screenshot_path": "reviewer/review_img/01.png", "screenshot_type": "review",
                "metadata": { "size_bytes": 73083 },
            }),
        ),
        (
            "spec_created",
            json!({
                "adw_id": "29fb6a3e", "spec_path": "specs/issue-66-adw-29fb6a3e.md", "spec_type": "plan",
                "metadata": { "size_bytes": 2688 },
            }),
        ),
        (
            "system_log",
            json!({
                "level": "warning", "message": "Two runs use the same port", "details": "port 9103",
                "context": { "component": "ports" },
            }),
        ),
        (
            "trigger_response",
            json!({
                "status": "error", "message": "The workflow could not be started", "adw_id": "abcd1234",
                "workflow_name": "adw_plan_iso", "logs_path": "agents/abcd1234/adw_plan_iso/",
                "error": "adw_plan_iso needs an issue number",
            }),
        ),
        (
            "status_update",
            json!({
                "adw_id": "abcd1234", "workflow_name": "adw_plan_iso", "status": "started", "message": "Starting",
                "progress_percent": 5.0, "current_step": "Stage: Plan",
            }),
        ),
        (
            "workflow_log",
            json!({
                "adw_id": "abcd1234", "workflow_name": "adw_plan_iso", "message": "Worktree is ready",
                "level": "info",
            }),
        ),
        (
            "stage_transition",
            json!({
                "adw_id": "abcd1234", "from_stage": "backlog", "to_stage": "plan", "workflow_name": "adw_plan_iso",
                "message": "Planning begins",
            }),
        ),
        ("session_registered", json!({ "session_id": "board-1", "message": "Session registered" })),
        (
            "ticket_notification_response",
            json!({
                "status": "error", "ticket_id": "66", "message": "The ticket was refused",
                "error": "title must not be empty",
            }),
        ),
        (
            "agent_created",
            json!({ "adw_id": "abcd1234", "agent": { "issue_number": "66", "workflow_type": "adw_plan_iso" } }),
        ),
        (
            "agent_updated",
            json!({ "adw_id": "abcd1234", "state": { "branch_name": "chore-66" }, "changed_fields": ["branch_name"] }),
        ),
        ("agent_deleted", json!({ "adw_id": "abcd1234" })),
        (
            "agent_status_change",
            json!({ "adw_id": "abcd1234", "old_status": "idle", "new_status": "executing", "message": "Starts" }),
        ),
        ("orchestrator_updated", json!({ "orchestrator": { "input_tokens": 1200, "total_cost": 0.42 } })),
        ("chat_message", json!({ "message": { "sender": "user", "text": "How far is it?" } })),
        ("typing_indicator", json!({ "orchestrator_agent_id": "orchestrator-1", "is_typing": true })),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_read_as_absent_and_never_written() {
        let block: ThinkingBlock = serde_json::from_value(
            json!({ "adw_id": "29fb6a3e", "content": "x", "duration_ms": null, "sequence": null }),
        )
        .unwrap();
        assert_eq!(serde_json::to_value(&block).unwrap(), json!({ "adw_id": "29fb6a3e", "content": "x" }));
    }

    #[test]
    fn older_spellings_are_read_and_canonical_ones_written() {
        for (old, new) in [("INFO", "info"), ("SUCCESS", "success"), ("warning", "warning")] {
            let level: LogLevel = serde_json::from_value(json!(old)).unwrap();
            assert_eq!(level.as_str(), new);
        }
        for (old, new) in [("write", "modified"), ("modify", "modified"), ("delete", "deleted"), ("read", "read")] {
            let operation: FileOperation = serde_json::from_value(json!(old)).unwrap();
            assert_eq!(operation.as_str(), new);
        }
    }

    #[test]
    fn a_role_or_phase_of_any_name_passes_unchanged() {
        let role: AgentRole = serde_json::from_value(json!("test_resolver_iter1_0")).unwrap();
        assert_eq!(serde_json::to_value(&role).unwrap(), json!("test_resolver_iter1_0"));
        assert_eq!(WorkflowPhase::from("build"), WorkflowPhase::Build);
    }

    #[test]
    fn a_bad_adw_id_is_an_error() {
        for bad in ["", "29fb6a3", "29fb6a3ee", "29fb/a3e", "29fb6a3é"] {
            assert!(serde_json::from_value::<AgentDeleted>(json!({ "adw_id": bad })).is_err(), "{bad:?}");
        }
    }
}
