//! The source over real transcripts, where this machine has them: `$EVENTWIRE_SHARED/data`, else `../shared/data` beside the
//! workspace. Three witnesses must agree: the source, the counts that the data's own README states, and an independent
//! script (`conformance/scripts/expected_events.py`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // A test may fail in any way.

mod support;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use eventwire_agents::{AgentEvent, AgentsSource, Mode, Speed};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::*;

/// The data, or a note about what is not tested here.
fn data(what: &str) -> Option<PathBuf> {
    let data = shared_data();
    if data.is_none() {
        // Past the capture of the test harness: what was not tested is to be seen.
        let _ = writeln!(
            std::io::stderr(),
            "left out: {what} (no shared data; set EVENTWIRE_SHARED to the directory that holds data/agents)"
        );
    }
    data
}

/// Everything the source tells about the data, from the start.
async fn told(data: &Path) -> Vec<AgentEvent> {
    let expected = expected(data);
    let total: u64 = expected.values().map(|run| sum(&run["events"])).sum();
    let sink = MemorySink::new();
    let _running = sink.run(AgentsSource::new(data.join("agents")).mode(Mode::FromStart));
    let stored = sink.until(&format!("{total} events"), |stored| stored.events.len() as u64 >= total).await;
    assert!(stored.batches.iter().all(|events| *events <= 256));
    stored.events
}

/// What the independent script says.
fn expected(data: &Path) -> BTreeMap<String, Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/scripts/expected_events.py");
    let output = Command::new("python3").arg(&script).arg(data.join("agents")).output().expect("python3 is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

fn field(event: &AgentEvent, name: &str) -> Option<String> {
    serde_json::to_value(event).unwrap().get(name)?.as_str().map(str::to_owned)
}

/// Counts events by a key.
fn counted<K: Ord>(events: &[AgentEvent], key: impl Fn(&AgentEvent) -> Option<K>) -> BTreeMap<K, u64> {
    let mut counts = BTreeMap::new();
    for key in events.iter().filter_map(key) {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// The `expected events:` lines of the README: per transcript the counts that it names.
fn stated(data: &Path) -> BTreeMap<(String, String), BTreeMap<String, u64>> {
    let readme = std::fs::read_to_string(data.join("README.md")).unwrap();
    let mut stated = BTreeMap::new();
    let mut transcript = None;
    for line in readme.lines() {
        if let Some(rest) = line.strip_prefix("- `agents/") {
            transcript = rest
                .split_once("/raw_output.jsonl`")
                .and_then(|(path, _)| path.split_once('/'))
                .map(|(run, role)| (run.to_owned(), role.to_owned()));
        } else if let Some(counts) = line.trim().strip_prefix("- expected events: ") {
            let counts = counts.split_once(';').map_or(counts, |(counts, _)| counts);
            let mut named: BTreeMap<String, u64> = BTreeMap::new();
            for item in counts.split(", ") {
                let (count, remark) =
                    item.split_once(" (").map_or((item, None), |(count, remark)| (count, Some(remark)));
                let (name, number) = count.split_once(' ').unwrap();
                named.insert(name.to_owned(), number.parse().unwrap());
                if let Some(remark) = remark {
                    let (number, _) = remark.split_once(' ').unwrap();
                    named.insert(format!("{name} marked"), number.parse().unwrap());
                }
            }
            stated.insert(transcript.clone().expect("a transcript before its counts"), named);
        }
    }
    stated
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_per_transcript_are_those_that_the_data_states() {
    let Some(data) = data("counts per transcript against data/README.md") else { return };
    let stated = stated(&data);
    assert!(stated.len() >= 18, "the README states {} transcripts", stated.len());
    let events = told(&data).await;
    for ((run, role), counts) in stated {
        let own: Vec<AgentEvent> = events
            .iter()
            .filter(|event| {
                event.adw_id().as_str() == run && field(event, "agent_role").as_deref() == Some(role.as_str())
            })
            .cloned()
            .collect();
        let types = counted(&own, |event| event.event_type().strip_prefix("adw.").map(str::to_owned));
        for (name, count) in &counts {
            let found = match name.as_str() {
                "thinking_block marked" => {
                    of_kind!(own, ThinkingBlock).iter().filter(|block| block.withheld == Some(true)).count() as u64
                }
                "tool_use_post marked" => of_kind!(own, ToolUsePost).iter().filter(|post| !post.success).count() as u64,
                name => types.get(name).copied().unwrap_or_default(),
            };
            assert_eq!(found, *count, "{name} of {run}/{role}");
        }
        assert_eq!(counts.len(), 7, "what is stated of {run}/{role}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_and_every_byte_agrees_with_the_independent_script() {
    let Some(data) = data("all types and bytes against expected_events.py") else { return };
    let expected = expected(&data);
    let events = told(&data).await;
    let runs = counted(&events, |event| Some(event.adw_id().to_string()));
    assert_eq!(runs.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (run, expected) in expected {
        let own: Vec<AgentEvent> = events.iter().filter(|event| event.adw_id().as_str() == run).cloned().collect();
        let counts = counted(&own, |event| Some(event.event_type().to_owned()));
        assert_eq!(serde_json::to_value(&counts).unwrap(), sorted(&expected["events"]), "{run}");

        for (role, expected) in expected["roles"].as_object().unwrap() {
            let of_role: Vec<AgentEvent> =
                own.iter().filter(|event| field(event, "agent_role").as_deref() == Some(role)).cloned().collect();
            let bytes = reassembled(&of_kind!(of_role, AgentOutputChunk));
            assert_eq!(bytes.len() as u64, expected["complete_bytes"], "{run}/{role}");
            assert_eq!(hex(&Sha256::digest(&bytes)), expected["complete_sha256"], "{run}/{role}");
            let file = std::fs::read(data.join("agents").join(&run).join(role).join("raw_output.jsonl")).unwrap();
            assert!(file.starts_with(&bytes), "{run}/{role}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_in_the_order_of_the_workflow() {
    let Some(data) = data("the order of a run") else { return };
    let events = told(&data).await;
    let own: Vec<AgentEvent> = events.into_iter().filter(|event| event.adw_id().as_str() == "69cf33a6").collect();
    assert_eq!(types(&own)[..2], ["agent_summary_update", "spec_created"]);
    let mut roles: Vec<String> =
        of_kind!(own, AgentOutputChunk).iter().map(|chunk| chunk.agent_role.to_string()).collect();
    roles.dedup();
    assert_eq!(
        roles,
        ["planner", "implementor", "tester", "reviewer", "documenter", "patch_implementor", "test_resolver_iter1_0"]
    );
    let phases: Vec<(String, String)> = of_kind!(own, WorkflowPhaseTransition)
        .iter()
        .map(|t| (t.phase_from.as_ref().map(ToString::to_string).unwrap_or_default(), t.phase_to.to_string()))
        .collect();
    let phase = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(
        phases,
        [
            phase("", "plan"),
            phase("plan", "build"),
            phase("build", "test"),
            phase("test", "review"),
            phase("review", "document"),
            phase("document", "patch_implementor"),
            phase("patch_implementor", "test_resolver_iter1_0"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_field_shows_where_the_authors_worked() {
    let Some(data) = data("path fields of real transcripts") else { return };
    let mut seen = 0;
    for event in told(&data).await {
        let value = serde_json::to_value(&event).unwrap();
        let input = value.get("input");
        let paths = ["file_path", "notebook_path", "path", "cwd"].iter().filter_map(|key| input?.get(*key)?.as_str());
        let own = ["file_path", "screenshot_path", "spec_path"].iter().filter_map(|key| value.get(*key)?.as_str());
        for path in paths.chain(own) {
            seen += 1;
            assert!(!path.starts_with(['/', '~']) && !path.split('/').any(|part| part == ".."), "{path}");
            for name in ["studibudi", "kocienda", "marshal"] {
                assert!(!path.contains(name), "{path}");
            }
        }
        if let Some(metadata) = value.get("metadata") {
            let text = metadata.to_string();
            assert!(!text.contains("/Users/") && !text.contains("/home/"), "{text}");
        }
    }
    assert!(seen > 200, "{seen} path fields");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_tells_the_same_as_a_start_from_the_beginning() {
    let Some(data) = data("a replay of the runs") else { return };
    let sink = MemorySink::new();
    let speed = Speed::new(10_000.0).unwrap();
    AgentsSource::new(data.join("agents")).mode(Mode::Replay(speed)).run(sink.clone()).await.unwrap();
    let replayed = sink.events();
    let told = told(&data).await;
    for run in expected(&data).keys() {
        let of_run = |events: &[AgentEvent]| {
            let mut own: Vec<AgentEvent> =
                events.iter().filter(|event| event.adw_id().as_str() == run).cloned().collect();
            // Screenshots come with their role in a replay, and at the end otherwise.
            own.sort_by_key(|event| matches!(event, AgentEvent::ScreenshotAvailable(_)));
            own
        };
        assert_eq!(of_run(&replayed), of_run(&told), "{run}");
    }
    assert!(sink.stored().checkpoints.is_empty());
}

fn sorted(counts: &Value) -> Value {
    let counts: BTreeMap<String, Value> = serde_json::from_value(counts.clone()).unwrap();
    serde_json::to_value(counts).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
