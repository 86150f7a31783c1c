//! Payloads of the families that come from AMIGA, which watches AI agents at work: `metrics`, the figures of its
//! dashboard, `task`, what becomes of the work it was given, and `assistant`, its answers in the chat.
//!
//! Names are those of the system of origin, with these exceptions: units are in the names (`total_cost_usd`,
//! `interval_seconds`), `task_update` and its kind are `task.update`, `tool_execution` belongs to the task it names, and
//! `response`, `command_result` and `clear_chat`, which say nothing of where they come from, are of the family
//! `assistant`. The overview has a member for each of the four groups of figures that the dashboard is known to show;
//! whatever else a back end counts goes into `more`, where nothing is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::open::{MAX_INTEGER, open_enum};
use crate::{id::ItemId, time::Time};

// ---------------------------------------------------------------------------------------------------------------
// Words
// ---------------------------------------------------------------------------------------------------------------

open_enum! {
    /// Where a task stands.
    pub enum TaskStatus {
        /// It waits for its turn.
        Pending = "pending",
        /// It is being worked on.
        Running = "running",
        /// It ended well.
        Completed = "completed",
        /// It ended badly.
        Failed = "failed",
        /// A person stopped it.
        Stopped = "stopped",
    }
}

open_enum! {
    /// Where the use of a tool stands.
    pub enum ToolExecutionStatus {
        /// The tool is at work.
        InProgress = "in_progress",
        /// The tool has done what was asked.
        Completed = "completed",
        /// The tool has failed.
        Failed = "failed" | "error",
    }
}

open_enum! {
    /// What kind of answer the assistant gave.
    pub enum ResponseType {
        /// The message is the whole answer.
        Direct = "direct",
        /// The message says that a task was started, which `task_id` names.
        TaskStarted = "task_started",
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Figures
// ---------------------------------------------------------------------------------------------------------------

/// The figures of the dashboard, as they are now, counted over the window that this connection asked for. They come
/// when one of them has changed, and when they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MetricsUpdate {
    /// Figures of the whole system.
    pub overview: MetricsOverview,
    /// Figures of the agents' own sessions; absent when the producer does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionMetrics>,
    /// What has happened of late, newest first.
    #[serde(default)]
    pub activity: Vec<ActivityEntry>,
    /// How far back the figures count, in hours, 1 to 168.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 168))]
    pub window_hours: Option<u32>,
}

/// Figures of the whole system. A group that the producer does not count is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MetricsOverview {
    /// How many tasks there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskMetrics>,
    /// What the models cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<CostMetrics>,
    /// How much the models were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claude_api: Option<ClaudeApiMetrics>,
    /// How often tools were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolMetrics>,
    /// What the producer counts besides, by name; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<Map<String, Value>>,
}

/// How many tasks there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskMetrics {
    /// All tasks of the window.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total: u64,
    /// Of these, the ones that are being worked on.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub running: u64,
    /// Of these, the ones that ended well.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub completed: u64,
    /// Of these, the ones that ended badly.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub failed: u64,
}

/// What the models cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CostMetrics {
    /// All models together, in US dollars.
    #[schemars(range(min = 0.0))]
    pub total_cost_usd: f64,
    /// The models named Haiku, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub haiku_cost_usd: Option<f64>,
    /// The models named Sonnet, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub sonnet_cost_usd: Option<f64>,
}

/// How much the models were used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClaudeApiMetrics {
    /// Requests to the models.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_requests: u64,
    /// Tokens that the models read.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_input_tokens: u64,
    /// Tokens that the models wrote.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_output_tokens: u64,
}

/// How often tools were used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolMetrics {
    /// Calls of all tools together.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_calls: u64,
    /// Calls of each tool, by its name, for instance `Read`.
    #[serde(default)]
    pub by_type: BTreeMap<String, u64>,
}

/// Figures of the agents' own sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionMetrics {
    /// Sessions of the window.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_sessions: u64,
    /// Calls of tools in all of them together.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub total_tools: u64,
    /// Calls of each tool, by its name, for instance `Read`.
    #[serde(default)]
    pub tools_by_type: BTreeMap<String, u64>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ActivityEntry {
    /// What, in one line. Plain text from outside: show it as text, never as markup.
    pub description: String,
    /// When it happened.
    pub time: Time,
}

/// The answer to the wish to have figures more often or less often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MetricsIntervalUpdated {
    /// The `id` of the command this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// The shortest time between two updates from now on, in seconds, 1 to 60. A wish outside of that was cut to it.
    #[schemars(range(min = 1, max = 60))]
    pub interval_seconds: u32,
}

// ---------------------------------------------------------------------------------------------------------------
// Tasks
// ---------------------------------------------------------------------------------------------------------------

/// A task was given, has begun, or has changed its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskUpdate {
    /// The task.
    pub task_id: ItemId,
    /// Where it stands.
    pub status: TaskStatus,
    /// One line about it, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the task is to do. Plain text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A sign of life of a task. Nothing is kept of it: who comes later sees the next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskProgress {
    /// The task.
    pub task_id: ItemId,
    /// Where it stands.
    pub status: TaskStatus,
    /// What is being done, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long the task has been worked on, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub elapsed_seconds: Option<u64>,
    /// How much is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: Option<f64>,
}

/// A task has ended well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskComplete {
    /// The task.
    pub task_id: ItemId,
    /// One line about it, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What came out of it, or the beginning of that. Plain text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// A task has ended badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskFailed {
    /// The task.
    pub task_id: ItemId,
    /// What went wrong, or the beginning of that. Plain text from outside: show it as text, never as markup.
    pub error: String,
    /// One line about it, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A person has stopped a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskStopped {
    /// The task.
    pub task_id: ItemId,
    /// One line about it, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A task uses a tool, or has used one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskToolExecution {
    /// The task.
    pub task_id: ItemId,
    /// The tool, for instance `Read` or `Bash`.
    pub tool_name: String,
    /// Whether the tool did what was asked; absent while it is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Where the use stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ToolExecutionStatus>,
    /// How long the tool took, in milliseconds; absent while it is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub duration_ms: Option<u64>,
    /// What went wrong, when `success` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The arguments of the call, as the tool defines them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// The beginning of what the tool answered. Plain text from outside: show it as text, never as markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_preview: Option<String>,
}

// ---------------------------------------------------------------------------------------------------------------
// The chat
// ---------------------------------------------------------------------------------------------------------------

/// The assistant's answer to a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AssistantResponse {
    /// The answer. Plain text from outside: show it as text, never as markup.
    pub message: String,
    /// What kind of answer it is.
    pub response_type: ResponseType,
    /// The task that was started, when `response_type` is `task_started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<ItemId>,
    /// How much the answer took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<ResponseTokens>,
}

/// How many tokens an answer took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ResponseTokens {
    /// Tokens that the model read.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub input: u64,
    /// Tokens that the model wrote.
    #[schemars(range(min = 0, max = MAX_INTEGER))]
    pub output: u64,
}

/// The outcome of a command in the chat, for instance of `/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AssistantCommandResult {
    /// The outcome, for a person to read. Plain text from outside: show it as text, never as markup.
    pub message: String,
    /// Whether the command did what was asked.
    pub success: bool,
    /// The outcome for programs; free form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
}

/// The chat was emptied: show none of its messages any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AssistantCleared {
    /// Why, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

// ---------------------------------------------------------------------------------------------------------------
// Examples
// ---------------------------------------------------------------------------------------------------------------

/// One complete payload for each event of these families, by its whole name.
pub fn examples() -> Vec<(&'static str, Value)> {
    vec![
        (
            "metrics.update",
            json!({
                "overview": {
                    "tasks": { "total": 42, "running": 3, "completed": 35, "failed": 4 },
                    "costs": { "total_cost_usd": 12.45, "haiku_cost_usd": 8.2, "sonnet_cost_usd": 4.25 },
                    "claude_api": {
                        "total_requests": 156, "total_input_tokens": 45000, "total_output_tokens": 23000,
                    },
                    "tools": { "total_calls": 234, "by_type": { "Bash": 67, "Edit": 45, "Read": 89 } },
                    "more": { "queue": { "waiting": 2 } },
                },
                "sessions": { "total_sessions": 15, "total_tools": 234, "tools_by_type": { "Bash": 67, "Read": 89 } },
                "activity": [{ "description": "A task has ended", "time": "2026-11-20T23:39:12.5Z" }],
                "window_hours": 24,
            }),
        ),
        ("metrics.interval_updated", json!({ "re": "4", "interval_seconds": 5 })),
        (
            "task.update",
            json!({
                "task_id": "t1", "status": "running", "message": "Work has begun",
                "description": "Repair the login page",
            }),
        ),
        (
            "task.progress",
            json!({
                "task_id": "t1", "status": "running", "message": "Reading the tests", "elapsed_seconds": 45,
                "percent": 20.0,
            }),
        ),
        ("task.complete", json!({ "task_id": "t1", "message": "Done", "result": "The login page works again." })),
        (
            "task.failed",
            json!({ "task_id": "t1", "error": "no space left on device", "message": "The task has failed" }),
        ),
        ("task.stopped", json!({ "task_id": "t1", "message": "Stopped by its owner" })),
        (
            "task.tool_execution",
            json!({
                "task_id": "t1", "tool_name": "Bash", "success": false, "status": "failed", "duration_ms": 1200,
                "error": "exit code 1", "parameters": { "command": "npm test" }, "output_preview": "1 failing",
            }),
        ),
        (
            "assistant.response",
            json!({
                "message": "I have begun.", "response_type": "task_started", "task_id": "t1",
                "tokens": { "input": 1200, "output": 85 },
            }),
        ),
        (
            "assistant.command_result",
            json!({ "message": "One task is running.", "success": true, "data": { "running": ["t1"] } }),
        ),
        ("assistant.cleared", json!({ "reason": "A new conversation has begun" })),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_are_not_counted_are_absent() {
        let little = json!({ "overview": { "tasks": { "total": 42 } }, "sessions": null });
        let update: MetricsUpdate = serde_json::from_value(little).unwrap();
        assert_eq!(
            serde_json::to_value(&update).unwrap(),
            json!({
                "overview": { "tasks": { "total": 42, "running": 0, "completed": 0, "failed": 0 } },
                "activity": [],
            })
        );
    }
}
