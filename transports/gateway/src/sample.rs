//! The sample run: a small story that we wrote ourselves, played once when there is nothing else to look at.
//!
//! It is a directory of transcripts like any other and goes the same way, through the agents' source and its replay, so what
//! people see first is what they get with agents of their own.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The run that is played.
pub(crate) const ADW_ID: &str = "demo0001";

macro_rules! files {
    ($($path:literal)+) => {
        &[$(($path, include_str!(concat!("../sample/demo0001/", $path)))),+]
    };
}

const FILES: &[(&str, &str)] = files! {
    "adw_state.json"
    "demo0001_plan_spec.md"
    "planner/raw_output.jsonl"
    "implementor/raw_output.jsonl"
    "tester/raw_output.jsonl"
    "reviewer/raw_output.jsonl"
    "documenter/raw_output.jsonl"
};

/// The sample on disk; it goes when this is dropped.
pub(crate) struct Unpacked {
    _directory: TempDir,
    root: PathBuf,
}

impl Unpacked {
    /// The agents root with the one run in it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// Puts the run into a directory of its own, as agents would have left it.
///
/// # Errors
/// The system's directory for temporary files cannot be written.
pub(crate) fn unpack() -> io::Result<Unpacked> {
    let directory = tempfile::Builder::new().prefix("eventwire-sample-").tempdir()?;
    // Events name paths from the directory above the root on, where people expect `agents`.
    let root = directory.path().join("agents");
    for (path, content) in FILES {
        let path = root.join(ADW_ID).join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        std::fs::write(path, content)?;
    }
    Ok(Unpacked { _directory: directory, root })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use eventwire_agents::{
        AgentEvent, AgentsSource, Checkpoint, CheckpointKey, CheckpointValue, Mode, Sink, SinkError, Speed,
    };

    #[derive(Default)]
    struct Seen(Mutex<Vec<AgentEvent>>);

    #[async_trait]
    impl Sink for Seen {
        async fn publish_batch(&self, events: &[AgentEvent], _: &Checkpoint) -> Result<(), SinkError> {
            self.0.lock().unwrap().extend_from_slice(events);
            Ok(())
        }

        async fn load_checkpoint(&self, _: &CheckpointKey) -> Result<Option<CheckpointValue>, SinkError> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn the_sample_tells_a_whole_run_and_nothing_in_it_is_odd() {
        let root = unpack().unwrap();
        let seen = Arc::new(Seen::default());
        let speed = Speed::new(10_000.0).unwrap();
        AgentsSource::new(root.root()).mode(Mode::Replay(speed)).run(Arc::clone(&seen)).await.unwrap();
        let events = seen.0.lock().unwrap();

        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut phases = Vec::new();
        for event in events.iter() {
            *counts.entry(event.event_type()).or_default() += 1;
            assert_eq!(event.adw_id().as_str(), ADW_ID);
            match event {
                AgentEvent::WorkflowPhaseTransition(phase) => {
                    phases.push(serde_json::to_value(&phase.phase_to).unwrap())
                }
                AgentEvent::FileChanged(change) => assert!(!change.file_path.starts_with('/'), "{}", change.file_path),
                AgentEvent::SpecCreated(spec) => assert_eq!(spec.spec_path, "agents/demo0001/demo0001_plan_spec.md"),
                AgentEvent::AgentLog(log) => {
                    let level = serde_json::to_value(log.level).unwrap();
                    assert!(level != "warning" && level != "error", "{log:?}");
                }
                _ => {}
            }
        }
        for kind in [
            "thinking_block",
            "text_block",
            "tool_use_pre",
            "tool_use_post",
            "file_changed",
            "spec_created",
            "agent_log",
        ] {
            assert!(counts.get(&*format!("adw.{kind}")).is_some_and(|count| *count > 0), "no {kind}: {counts:?}");
        }
        assert_eq!(counts["adw.tool_use_pre"], counts["adw.tool_use_post"], "a call without a result");
        let roles = ["plan", "build", "test", "review", "document"].map(serde_json::Value::from);
        assert!(roles.iter().all(|role| phases.contains(role)), "{phases:?}");
    }

    #[test]
    fn every_file_of_the_sample_is_embedded() {
        fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample").join(ADW_ID);
        let mut found = Vec::new();
        walk(&root, &root, &mut found);
        found.sort();
        let mut embedded = FILES.iter().map(|(path, _)| (*path).to_owned()).collect::<Vec<_>>();
        embedded.sort();
        assert_eq!(found, embedded);
    }
}
