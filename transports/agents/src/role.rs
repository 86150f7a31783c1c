//! Role directories: their names, their order in a workflow, and the phase that each stands for.

use std::{cmp::Ordering, fmt, str::FromStr};

use eventwire_protocol::event::adw::{AgentRole, WorkflowPhase};

/// The usual roles in the order of the workflow, each with its phase.
const WORKFLOW: [(&str, WorkflowPhase); 5] = [
    ("planner", WorkflowPhase::Plan),
    ("implementor", WorkflowPhase::Build),
    ("tester", WorkflowPhase::Test),
    ("reviewer", WorkflowPhase::Review),
    ("documenter", WorkflowPhase::Document),
];

/// Name of a role directory: 1 to 64 of `A-Z a-z 0-9 _ . -`, and neither `.` nor `..`.
///
/// Names are ordered as a workflow runs: planner, implementor, tester, reviewer, documenter, then others by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoleName(String);

/// A directory name that is no role name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role name has 1 to 64 of A-Z a-z 0-9 _ . - and is neither . nor ..")]
pub struct RoleNameError;

impl RoleName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The role as events carry it.
    pub fn agent_role(&self) -> AgentRole {
        AgentRole::from(self.as_str())
    }

    /// The phase that begins when this role starts: that of the five usual roles, else one with the role's name.
    pub fn phase(&self) -> WorkflowPhase {
        WORKFLOW
            .iter()
            .find(|(name, _)| *name == self.0)
            .map_or_else(|| WorkflowPhase::from(self.as_str()), |(_, phase)| phase.clone())
    }

    fn rank(&self) -> usize {
        WORKFLOW.iter().position(|(name, _)| *name == self.0).unwrap_or(WORKFLOW.len())
    }
}

impl FromStr for RoleName {
    type Err = RoleNameError;

    fn from_str(text: &str) -> Result<Self, RoleNameError> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if plain && (1..=64).contains(&text.len()) && !matches!(text, "." | "..") {
            Ok(Self(text.to_owned()))
        } else {
            Err(RoleNameError)
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for RoleName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for RoleName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_come_in_the_order_of_the_workflow_and_others_by_name() {
        let mut roles: Vec<RoleName> = ["zebra", "documenter", "alpha", "reviewer", "planner", "tester", "implementor"]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect();
        roles.sort();
        let names: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
        assert_eq!(names, ["planner", "implementor", "tester", "reviewer", "documenter", "alpha", "zebra"]);
    }

    #[test]
    fn a_name_that_could_leave_the_directory_is_no_role() {
        for name in ["", ".", "..", "a/b", "a\\b", "a b", "é", &"x".repeat(65)] {
            assert!(name.parse::<RoleName>().is_err(), "{name:?}");
        }
        assert!("test_resolver_iter1_0".parse::<RoleName>().is_ok());
        assert!("x".repeat(64).parse::<RoleName>().is_ok());
    }

    #[test]
    fn the_phase_of_an_unusual_role_is_its_name() {
        assert_eq!("implementor".parse::<RoleName>().unwrap().phase(), WorkflowPhase::Build);
        let phase = "patch_implementor".parse::<RoleName>().unwrap().phase();
        assert_eq!(phase.as_str(), "patch_implementor");
    }
}
