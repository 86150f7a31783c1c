//! What is remembered of one run across its roles: which phases it went through, what its state file said last, and which
//! of its files have been announced. Pure; the disk is read elsewhere.

use std::collections::BTreeSet;

use eventwire_protocol::{
    event::adw::{ScreenshotAvailable, ScreenshotType, SpecCreated, SpecType, WorkflowPhase, WorkflowPhaseTransition},
    id::AdwId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    event::AgentEvent,
    role::RoleName,
    state::{RunState, phase_of_workflow},
    transcript::{Fingerprint, warning},
};

/// Most files of one run that are announced. Later ones are left out, with a warning the first time.
pub const MAX_ANNOUNCED_FILES: usize = 1024;
/// Most phases of one run that are reported.
const MAX_PHASES: usize = 1024;

/// What must survive a restart of a run; serialized as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCheckpoint {
    /// Phases that were reported, in their order.
    pub phases: Vec<String>,
    /// Fingerprint of the state file as it was looked at last; absent when there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Fingerprint>,
    /// `all_adws` of the last state file that could be read; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflows: Option<Vec<String>>,
    /// Working tree of the run, from the last state file that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Files that were announced and still exist, relative to the run's directory.
    pub announced: BTreeSet<String>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    adw_id: AdwId,
    memory: RunCheckpoint,
}

impl Run {
    /// A run of which nothing has been reported.
    pub fn new(adw_id: AdwId) -> Self {
        Self::restore(adw_id, RunCheckpoint::default())
    }

    /// A run that goes on where it stood.
    pub fn restore(adw_id: AdwId, memory: RunCheckpoint) -> Self {
        Self { adw_id, memory }
    }

    /// What must survive a restart.
    pub fn checkpoint(&self) -> RunCheckpoint {
        self.memory.clone()
    }

    /// Working tree of the run, as its state file says.
    pub fn worktree(&self) -> Option<&str> {
        self.memory.worktree.as_deref()
    }

    /// A role has started for the first time: the phase begins, unless it was reported before.
    pub fn role_started(&mut self, role: &RoleName) -> Option<AgentEvent> {
        let phase = role.phase();
        let workflows = self.memory.workflows.as_deref().unwrap_or_default();
        let workflow_name = workflows.iter().find(|name| phase_of_workflow(name) == phase).cloned();
        self.begin(phase, workflow_name, Some(role))
    }

    /// The state file has these bytes now. The first one is what later ones are compared with: it brings no phases.
    /// Bytes that were seen before bring nothing, and a file that cannot be read brings a warning.
    pub fn state_changed(&mut self, bytes: &[u8], repository: Option<&str>) -> Vec<AgentEvent> {
        let fingerprint = Fingerprint::of(bytes);
        if self.memory.state == Some(fingerprint) {
            return Vec::new();
        }
        self.memory.state = Some(fingerprint);
        let state = match RunState::parse(bytes) {
            Ok(state) => state,
            Err(error) => return vec![warning(self.adw_id, None, "state_unreadable", error.to_string()).into()],
        };
        self.memory.worktree = state.worktree().map(str::to_owned);
        let workflows = state.workflows();
        let before = self.memory.workflows.replace(workflows.clone());
        let mut events = vec![state.summary(self.adw_id, repository).into()];
        if let Some(before) = before {
            for name in workflows.into_iter().filter(|name| !before.contains(name)) {
                events.extend(self.begin(phase_of_workflow(&name), Some(name), None));
            }
        }
        events
    }

    /// The plan exists, as `file` in the run's directory; `directory` is the name of the agents root.
    pub fn spec_found(&mut self, file: &str, size_bytes: u64, directory: &str) -> Option<AgentEvent> {
        self.announce(file, |run| {
            SpecCreated {
                adw_id: run.adw_id,
                spec_path: format!("{directory}/{}/{file}", run.adw_id),
                spec_type: SpecType::Plan,
                metadata: Some(Map::from_iter([("size_bytes".to_owned(), json!(size_bytes))])),
            }
            .into()
        })
    }

    /// A screenshot exists at `path` below the run's directory.
    pub fn screenshot_found(&mut self, path: &str, role: &RoleName) -> Option<AgentEvent> {
        self.announce(path, |run| {
            ScreenshotAvailable {
                adw_id: run.adw_id,
                screenshot_path: path.to_owned(),
                screenshot_type: ScreenshotType::Review,
                metadata: Some(Map::from_iter([("agent_role".to_owned(), json!(role.as_str()))])),
            }
            .into()
        })
    }

    /// Only these of the announced files below `prefix` still exist: another one that comes back is announced again.
    pub fn keep_announced(&mut self, prefix: &str, present: &BTreeSet<String>) {
        self.memory.announced.retain(|path| !path.starts_with(prefix) || present.contains(path));
    }

    fn announce(&mut self, path: &str, event: impl FnOnce(&Self) -> AgentEvent) -> Option<AgentEvent> {
        let announced = self.memory.announced.len();
        if announced > MAX_ANNOUNCED_FILES || self.memory.announced.contains(path) {
            return None;
        }
        self.memory.announced.insert(path.to_owned());
        if announced == MAX_ANNOUNCED_FILES {
            let message = format!("More than {MAX_ANNOUNCED_FILES} files; the others are not announced");
            return Some(warning(self.adw_id, None, "too_many_files", message).into());
        }
        Some(event(self))
    }

    fn begin(
        &mut self,
        phase: WorkflowPhase,
        workflow_name: Option<String>,
        role: Option<&RoleName>,
    ) -> Option<AgentEvent> {
        let phases = &mut self.memory.phases;
        if phases.len() >= MAX_PHASES || phases.iter().any(|known| known == phase.as_str()) {
            return None;
        }
        let phase_from = phases.last().map(|name| WorkflowPhase::from(name.as_str()));
        phases.push(phase.as_str().to_owned());
        let event = WorkflowPhaseTransition {
            adw_id: self.adw_id,
            phase_from,
            phase_to: phase,
            workflow_name,
            agent_role: role.map(RoleName::agent_role),
            metadata: None::<Map<String, Value>>,
        };
        Some(event.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run::new("29fb6a3e".parse().unwrap())
    }

    fn role(name: &str) -> RoleName {
        name.parse().unwrap()
    }

    fn transitions(events: &[AgentEvent]) -> Vec<(Option<String>, String, Option<String>)> {
        events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::WorkflowPhaseTransition(transition) => Some((
                    transition.phase_from.as_ref().map(ToString::to_string),
                    transition.phase_to.to_string(),
                    transition.workflow_name.clone(),
                )),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_first_state_is_a_baseline_and_later_workflows_are_phases() {
        let mut run = run();
        let first = run.state_changed(br#"{"all_adws":["adw_plan_iso"]}"#, None);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].event_type(), "adw.agent_summary_update");
        let second = run.state_changed(br#"{"all_adws":["adw_plan_iso","adw_build_iso","adw_test_iso"]}"#, None);
        assert_eq!(
            transitions(&second),
            [
                (None, "build".to_owned(), Some("adw_build_iso".to_owned())),
                (Some("build".to_owned()), "test".to_owned(), Some("adw_test_iso".to_owned())),
            ]
        );
    }

    #[test]
    fn a_phase_is_reported_once_whoever_reports_it() {
        let mut run = run();
        run.state_changed(br#"{"all_adws":["adw_plan_iso"]}"#, None);
        let planned = run.role_started(&role("planner")).unwrap();
        assert_eq!(transitions(&[planned]), [(None, "plan".to_owned(), Some("adw_plan_iso".to_owned()))]);
        let built = run.role_started(&role("implementor")).unwrap();
        assert_eq!(transitions(&[built]), [(Some("plan".to_owned()), "build".to_owned(), None)]);
        assert_eq!(run.role_started(&role("implementor")), None);
        let later = run.state_changed(br#"{"all_adws":["adw_plan_iso","adw_build_iso"]}"#, None);
        assert_eq!(transitions(&later), []);
    }

    #[test]
    fn the_same_state_again_says_nothing_and_a_broken_one_warns_once() {
        let mut run = run();
        assert_eq!(run.state_changed(b"{}", None).len(), 1);
        assert_eq!(run.state_changed(b"{}", None).len(), 0);
        let broken = run.state_changed(b"{\"all", None);
        assert_eq!(broken[0].event_type(), "adw.agent_log");
        assert_eq!(run.state_changed(b"{\"all", None).len(), 0);
    }

    #[test]
    fn a_file_is_announced_once_and_again_after_it_was_gone() {
        let mut run = run();
        let path = "reviewer/review_img/01.png";
        assert!(run.screenshot_found(path, &role("reviewer")).is_some());
        assert!(run.screenshot_found(path, &role("reviewer")).is_none());
        run.keep_announced("planner/review_img/", &BTreeSet::new());
        assert!(run.screenshot_found(path, &role("reviewer")).is_none());
        run.keep_announced("reviewer/review_img/", &BTreeSet::new());
        assert!(run.screenshot_found(path, &role("reviewer")).is_some());
    }

    #[test]
    fn too_many_files_are_left_out_with_one_warning() {
        let mut run = run();
        let mut types = Vec::new();
        for number in 0..MAX_ANNOUNCED_FILES + 3 {
            types.extend(run.screenshot_found(&format!("reviewer/review_img/{number}.png"), &role("reviewer")));
        }
        assert_eq!(types.len(), MAX_ANNOUNCED_FILES + 1);
        assert_eq!(types.last().unwrap().event_type(), "adw.agent_log");
    }

    #[test]
    fn a_restored_run_goes_on_where_it_stood() {
        let mut run = run();
        run.state_changed(br#"{"all_adws":["adw_plan_iso"]}"#, None);
        run.role_started(&role("planner"));
        let text = serde_json::to_string(&run.checkpoint()).unwrap();
        let mut restored = Run::restore(run.adw_id, serde_json::from_str(&text).unwrap());
        assert_eq!(restored.role_started(&role("planner")), None);
        assert_eq!(restored.role_started(&role("tester")), run.role_started(&role("tester")));
    }
}
