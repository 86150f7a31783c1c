//! `adw_state.json`: what a workflow keeps about its run, and what a change of it means. Pure.

use eventwire_protocol::{
    event::adw::{AgentSummaryUpdate, WorkflowPhase, WorkflowStatus},
    id::AdwId,
};
use serde_json::{Map, Value};

use crate::{
    paths::{relative, sanitize_object},
    text::shortened,
};

/// Largest state file that is read, in bytes.
pub const MAX_STATE_BYTES: u64 = 256 * 1024;
/// Most entries of `all_adws` that are looked at.
const MAX_WORKFLOWS: usize = 200;
/// Longest line for people, in characters.
const SHORT: usize = 500;

/// Why a state file says nothing. It may be half written; the next change brings another try.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is no JSON.
    #[error("adw_state.json is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON, and no object.
    #[error("adw_state.json is no JSON object")]
    NoObject,
}

/// A state file that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    fields: Map<String, Value>,
}

impl RunState {
    /// Reads the bytes of a state file.
    ///
    /// # Errors
    /// When they are no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, StateError> {
        match serde_json::from_slice(bytes)? {
            Value::Object(fields) => Ok(Self { fields }),
            _ => Err(StateError::NoObject),
        }
    }

    /// The workflows that have worked on the run so far, in the order of the file, at most 200.
    pub fn workflows(&self) -> Vec<String> {
        let listed = self.fields.get("all_adws").and_then(Value::as_array);
        listed
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .take(MAX_WORKFLOWS)
            .map(|name| shortened(name, SHORT))
            .collect()
    }

    /// The working tree of the run, relative or absolute, as the file has it.
    pub fn worktree(&self) -> Option<&str> {
        self.text("worktree_path").filter(|path| !path.is_empty() && path.len() <= 4096)
    }

    /// All fields that have a value, with paths made relative to the repository or the working tree. Safe to show.
    pub fn sanitized(&self, repository: Option<&str>) -> Map<String, Value> {
        let bases: Vec<&str> = repository.into_iter().chain(self.worktree()).collect();
        let mut fields = sanitize_object(&self.fields, &bases);
        // A working tree is its own base; what it is called is the point of the field.
        if let Some(worktree) = self.worktree() {
            let shown = relative(worktree, &repository.into_iter().collect::<Vec<_>>());
            fields.insert("worktree_path".to_owned(), Value::String(shown));
        }
        fields.retain(|_, value| !value.is_null());
        fields
    }

    /// What a reader is told when the file was created or rewritten.
    pub fn summary(&self, adw_id: AdwId, repository: Option<&str>) -> AgentSummaryUpdate {
        let workflows = self.workflows();
        let metadata: Map<String, Value> =
            self.sanitized(repository).into_iter().filter(|(key, _)| key != "adw_id").collect();
        let about: Vec<String> = [("issue", "issue_number"), ("branch", "branch_name")]
            .iter()
            .filter_map(|(word, key)| Some(format!("{word} {}", shortened(&self.shown(key)?, SHORT))))
            .collect();
        AgentSummaryUpdate {
            adw_id,
            status: if workflows.is_empty() { WorkflowStatus::Started } else { WorkflowStatus::InProgress },
            progress_percent: None,
            current_step: workflows.last().map(|name| format!("Phase: {}", phase_of_workflow(name))),
            workflow_name: workflows.last().cloned(),
            message: (!about.is_empty()).then(|| about.join(", ")),
            summary: None,
            metadata: (!metadata.is_empty()).then_some(metadata),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }

    /// A text or number, for a person; issue numbers come as both.
    fn shown(&self, key: &str) -> Option<String> {
        match self.fields.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// The phase that a workflow stands for: its name without `adw_` before and `_iso` behind.
pub fn phase_of_workflow(name: &str) -> WorkflowPhase {
    let name = name.strip_prefix("adw_").unwrap_or(name);
    let name = name.strip_suffix("_iso").unwrap_or(name);
    WorkflowPhase::from(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(value: &Value) -> RunState {
        RunState::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_workflow_name_gives_its_phase() {
        assert_eq!(phase_of_workflow("adw_plan_iso"), WorkflowPhase::Plan);
        assert_eq!(phase_of_workflow("adw_document"), WorkflowPhase::Document);
        assert_eq!(phase_of_workflow("adw_plan_build_iso").as_str(), "plan_build");
    }

    #[test]
    fn a_summary_shows_what_has_a_value_and_no_path_of_the_machine() {
        let state = state(&json!({
            "adw_id": "29fb6a3e", "issue_number": 66, "branch_name": "chore-66", "issue_class": "/chore",
            "worktree_path": "/home/ada/repo/trees/29fb6a3e", "plan_file": "/home/ada/repo/specs/plan.md",
            "db_path": "/var/lib/app/data.db", "backend_port": 9103, "ux_signal": null,
            "all_adws": ["adw_plan_iso", "adw_build_iso"],
        }));
        let summary = state.summary("29fb6a3e".parse().unwrap(), Some("/home/ada/repo"));
        assert_eq!(summary.status, WorkflowStatus::InProgress);
        assert_eq!(summary.workflow_name.as_deref(), Some("adw_build_iso"));
        assert_eq!(summary.message.as_deref(), Some("issue 66, branch chore-66"));
        assert_eq!(
            Value::Object(summary.metadata.unwrap()),
            json!({
                "issue_number": 66, "branch_name": "chore-66", "issue_class": "/chore",
                "worktree_path": "trees/29fb6a3e", "plan_file": "specs/plan.md", "db_path": "data.db",
                "backend_port": 9103, "all_adws": ["adw_plan_iso", "adw_build_iso"],
            })
        );
    }

    #[test]
    fn a_state_without_workflows_says_that_work_has_begun() {
        let summary = state(&json!({ "all_adws": [] })).summary("29fb6a3e".parse().unwrap(), None);
        assert_eq!(summary.status, WorkflowStatus::Started);
        assert_eq!(summary.workflow_name, None);
    }

    #[test]
    fn half_a_file_is_an_error_and_no_more() {
        assert!(matches!(RunState::parse(b"{\"adw_id\": \"29f"), Err(StateError::Json(_))));
        assert!(matches!(RunState::parse(b"[1]"), Err(StateError::NoObject)));
        assert_eq!(state(&json!({ "all_adws": "none" })).workflows(), Vec::<String>::new());
    }
}
