//! The source on real directories: what appears, grows, shrinks, moves and vanishes. Every wait is for a state of the sink
//! and has a bound; that nothing was told is shown by something later that was.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // A test may fail in any way.

mod support;

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use eventwire_agents::{AgentEvent, AgentsSource, Mode};
use eventwire_protocol::event::adw::{AgentLog, LogLevel, WorkflowStatus};
use serde_json::{Value, json};
use support::*;
use tempfile::TempDir;

const RUN: &str = "29fb6a3e";

/// A directory of runs that goes away with the test.
struct Agents(TempDir);

impl Agents {
    fn new() -> Self {
        let agents = Self::absent();
        fs::create_dir_all(agents.root()).unwrap();
        agents
    }

    fn absent() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("agents")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(RUN).join(path)
    }

    fn transcript(&self, role: &str) -> PathBuf {
        self.path(&format!("{role}/raw_output.jsonl"))
    }

    fn source(&self, mode: Mode) -> AgentsSource {
        AgentsSource::new(self.root()).mode(mode)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.path(path), content);
    }

    fn append(&self, role: &str, content: impl AsRef<[u8]>) {
        let path = self.transcript(role);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(content.as_ref()).unwrap();
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Replaces a file as careful writers do: a new file under another name, then renamed.
fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let other = path.with_extension("new");
    write(&other, content);
    fs::rename(other, path).unwrap();
}

fn text(said: &str) -> String {
    format!("{}\n", json!({ "type": "assistant", "message": { "content": [{ "type": "text", "text": said }] } }))
}

fn init() -> String {
    format!("{}\n", json!({ "type": "system", "subtype": "init", "cwd": "/home/ada/repo", "model": "m", "tools": [] }))
}

/// What the agents said, in order.
fn said(events: &[AgentEvent]) -> Vec<String> {
    of_kind!(events, TextBlock).iter().map(|block| block.content.clone()).collect()
}

/// Where in their file the chunks with a text stand: line and offset.
fn places(events: &[AgentEvent]) -> Vec<(u64, u64)> {
    of_kind!(events, AgentOutputChunk)
        .iter()
        .map(|chunk| (chunk.line_number.unwrap(), chunk.offset_bytes.unwrap()))
        .collect()
}

fn warnings(events: &[AgentEvent]) -> Vec<&AgentLog> {
    of_kind!(events, AgentLog).into_iter().filter(|log| log.level == LogLevel::Warning).collect()
}

async fn until_said(sink: &MemorySink, expected: &[&str]) -> Vec<AgentEvent> {
    let stored =
        sink.until(&format!("{expected:?} to be said"), |stored| said(&stored.events).len() >= expected.len()).await;
    assert_eq!(said(&stored.events), expected);
    stored.events
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_root_is_waited_for() {
    let agents = Agents::absent();
    let deep = agents.0.path().join("not/yet/there");
    let sink = MemorySink::new();
    let _running = sink.run_until_caught_up(AgentsSource::new(&deep)).await;
    for step in ["not", "not/yet", "not/yet/there"] {
        fs::create_dir(agents.0.path().join(step)).unwrap();
    }
    write(&deep.join(RUN).join("planner/raw_output.jsonl"), init() + &text("late"));
    let events = until_said(&sink, &["late"]).await;
    assert_eq!(types(&events), ["agent_log", "workflow_phase_transition", "text_block"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_moved_into_place_is_told_whole() {
    let agents = Agents::absent();
    let elsewhere = agents.0.path().join("elsewhere");
    write(&elsewhere.join(RUN).join("planner/raw_output.jsonl"), text("moved"));
    let sink = MemorySink::new();
    let _running = sink.run_until_caught_up(agents.source(Mode::Tail)).await;
    // Something that is told only once the source is at work: the root of an earlier life.
    write(&agents.root().join("aaaa1111/planner/raw_output.jsonl"), text("before"));
    until_said(&sink, &["before"]).await;
    fs::remove_dir_all(agents.root()).unwrap();
    fs::rename(elsewhere, agents.root()).unwrap();
    until_said(&sink, &["before", "moved"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_told_first_when_asked_for_and_then_what_comes() {
    let agents = Agents::new();
    agents.write("adw_state.json", r#"{"all_adws":["adw_plan_iso"],"issue_number":"7"}"#);
    agents.write(&format!("{RUN}_plan_spec.md"), "# Plan");
    agents.append("tester", init());
    agents.append("planner", init());
    agents.write("reviewer/review_img/01.png", "png");
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    let expected = [
        "agent_summary_update",
        "spec_created",
        "agent_log",
        "workflow_phase_transition",
        "agent_log",
        "workflow_phase_transition",
        "screenshot_available",
    ];
    let stored = sink.until_types(&expected).await;
    assert_eq!(of_kind!(stored.events, SpecCreated)[0].spec_path, format!("agents/{RUN}/{RUN}_plan_spec.md"));
    assert_eq!(of_kind!(stored.events, ScreenshotAvailable)[0].screenshot_path, "reviewer/review_img/01.png");
    let phases: Vec<_> =
        of_kind!(stored.events, WorkflowPhaseTransition).iter().map(|event| event.phase_to.to_string()).collect();
    assert_eq!(phases, ["plan", "test"]);

    agents.append("tester", text("later"));
    until_said(&sink, &["later"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_takes_in_silently_what_is_there_and_tells_what_comes_exactly() {
    let agents = Agents::new();
    let call = json!({ "type": "assistant", "message": { "content": [
        { "type": "tool_use", "id": "t1", "name": "Edit", "input": { "file_path": "/home/ada/repo/a.rs" } }
    ] } });
    let before = format!("{}{}{call}\n", init(), text("old"));
    agents.append("planner", format!("{before}{{\"type\":\"stream_"));
    agents.write("adw_state.json", r#"{"all_adws":["adw_plan_iso"]}"#);
    agents.write("reviewer/review_img/01.png", "png");
    let sink = MemorySink::new();
    let _running = sink.run_until_caught_up(agents.source(Mode::Tail)).await;

    agents.append("planner", "event\"}\n");
    let result = json!({ "type": "user", "message": { "content": [
        { "type": "tool_result", "tool_use_id": "t1", "content": "ok" }
    ] } });
    agents.append("planner", format!("{result}\n{}", init()));
    agents.append("planner", text("new"));
    let events = until_said(&sink, &["new"]).await;
    assert_eq!(types(&events), ["tool_use_post", "file_changed", "agent_log", "text_block"]);
    assert_eq!(places(&events)[0], (4, before.len() as u64));
    assert_eq!(of_kind!(events, AgentOutputChunk)[0].content, r#"{"type":"stream_event"}"#);
    assert_eq!(of_kind!(events, ToolUsePost)[0].tool_name, "Edit");
    assert_eq!(of_kind!(events, FileChanged)[0].file_path, "a.rs");

    agents.write("adw_state.json", r#"{"all_adws":["adw_plan_iso","adw_build_iso"]}"#);
    let stored = sink.until("a new phase", |stored| !of_kind!(stored.events, WorkflowPhaseTransition).is_empty()).await;
    let transition = of_kind!(stored.events, WorkflowPhaseTransition)[0];
    assert_eq!(transition.phase_from.as_ref().map(ToString::to_string).as_deref(), Some("plan"));
    assert_eq!(transition.phase_to.as_str(), "build");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_told_when_its_end_comes_and_not_before() {
    let agents = Agents::new();
    let sink = MemorySink::new();
    let _running = sink.run_until_caught_up(agents.source(Mode::Tail)).await;
    let line = text("whole");
    agents.append("planner", &line[..20]);
    agents.append("tester", text("a fence"));
    until_said(&sink, &["a fence"]).await;
    agents.append("planner", &line[20..]);
    until_said(&sink, &["a fence", "whole"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_roles_that_come_later_are_followed_whatever_their_name() {
    let agents = Agents::new();
    let sink = MemorySink::new();
    let _running = sink.run_until_caught_up(agents.source(Mode::Tail)).await;
    agents.append("planner", text("1"));
    until_said(&sink, &["1"]).await;
    agents.append("patch_implementor-2.b", init() + &text("2"));
    until_said(&sink, &["1", "2"]).await;
    // A whole run that is moved into place.
    let elsewhere = agents.0.path().join("elsewhere");
    write(&elsewhere.join("tester/raw_output.jsonl"), text("3"));
    fs::rename(&elsewhere, agents.root().join("bbbb2222")).unwrap();
    let events = until_said(&sink, &["1", "2", "3"]).await;
    assert_eq!(of_kind!(events, WorkflowPhaseTransition)[0].phase_to.as_str(), "patch_implementor-2.b");
    assert_eq!(events.last().unwrap().adw_id().as_str(), "bbbb2222");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_are_no_runs_or_roles_are_left_alone() {
    let agents = Agents::new();
    for name in ["short", "muchtoolong", "29fb-a3e", "29fb6a3é"] {
        write(&agents.root().join(name).join("planner/raw_output.jsonl"), text("no run"));
    }
    agents.append("no role", text("no role"));
    agents.write("raw_output.jsonl", text("no role"));
    agents.write("planner/other.jsonl", text("no transcript"));
    agents.write("planner/deeper/raw_output.jsonl", text("too deep"));
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    agents.append("zebra", text("a fence"));
    until_said(&sink, &["a fence"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_read_again_from_its_start() {
    let agents = Agents::new();
    agents.append("planner", init() + &text("a long line that was there before") + "unfin");
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["a long line that was there before"]).await;
    fs::write(agents.transcript("planner"), "").unwrap();
    agents.append("planner", init() + &text("x"));
    let events = until_said(&sink, &["a long line that was there before", "x"]).await;
    let messages: Vec<_> = warnings(&events).iter().map(|log| log.message.as_str()).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("truncated after line 2"), "{messages:?}");
    assert!(messages[0].contains("5 bytes of an unfinished line are dropped"), "{messages:?}");
    assert_eq!(places(&events)[2..], [(1, 0), (2, init().len() as u64)]);
    assert_eq!(of_kind!(events, WorkflowPhaseTransition).len(), 1, "the role has started before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_lost_its_unfinished_line_goes_on() {
    let agents = Agents::new();
    let kept = text("kept");
    agents.append("planner", format!("{kept}unfinished"));
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["kept"]).await;
    let file = OpenOptions::new().write(true).open(agents.transcript("planner")).unwrap();
    file.set_len(kept.len() as u64).unwrap();
    let stored = sink.until("a warning", |stored| !warnings(&stored.events).is_empty()).await;
    assert!(warnings(&stored.events)[0].message.contains("10 bytes"), "{:?}", warnings(&stored.events));
    agents.append("planner", text("next"));
    let events = until_said(&sink, &["kept", "next"]).await;
    assert_eq!(places(&events), [(1, 0), (2, kept.len() as u64)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_file_is_read_from_its_start() {
    let agents = Agents::new();
    agents.append("planner", text("one") + &text("two"));
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["one", "two"]).await;
    fs::rename(agents.transcript("planner"), agents.path("planner/raw_output.1.jsonl")).unwrap();
    agents.append("planner", text("three") + &text("four") + &text("five"));
    let events = until_said(&sink, &["one", "two", "three", "four", "five"]).await;
    assert_eq!(warnings(&events).len(), 1);
    assert_eq!(places(&events)[2], (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_replaces_its_original_repeats_nothing() {
    let agents = Agents::new();
    agents.append("planner", text("one") + "{\"type\":");
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["one"]).await;
    replace(&agents.transcript("planner"), text("one") + "{\"type\":\"stream_event\"}\n" + &text("two"));
    let events = until_said(&sink, &["one", "two"]).await;
    assert!(warnings(&events).is_empty());
    assert_eq!(reassembled(&of_kind!(events, AgentOutputChunk)), fs::read(agents.transcript("planner")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_only_resembles_its_original_is_read_from_its_start() {
    let agents = Agents::new();
    let same = text("the same words at the same place, and enough of them to fill what is compared first");
    agents.append("planner", text("one") + &same);
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    sink.until("two lines", |stored| said(&stored.events).len() == 2).await;
    replace(&agents.transcript("planner"), text("two") + &same + &text("three"));
    let stored = sink.until("three more", |stored| said(&stored.events).len() == 5).await;
    assert_eq!(said(&stored.events)[2], "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_rewritten_in_place_and_longer_than_before_is_noticed() {
    let agents = Agents::new();
    agents.append("planner", text("one"));
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["one"]).await;
    let mut file = OpenOptions::new().write(true).open(agents.transcript("planner")).unwrap();
    file.write_all((text("other") + &text("more")).as_bytes()).unwrap();
    until_said(&sink, &["one", "other", "more"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_may_come_back() {
    let agents = Agents::new();
    agents.append("planner", text("one"));
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["one"]).await;
    fs::remove_file(agents.transcript("planner")).unwrap();
    agents.append("planner", text("two"));
    until_said(&sink, &["one", "two"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_and_comes_back_unchanged_repeats_nothing() {
    let agents = Agents::new();
    agents.write("adw_state.json", "{}");
    agents.append("planner", init() + &text("one"));
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["one"]).await;
    let away = agents.0.path().join("away");
    fs::rename(agents.root().join(RUN), &away).unwrap();
    // A fence: by the time it is told, the run has been seen to be gone.
    write(&agents.root().join("bbbb2222/planner/raw_output.jsonl"), text("fence"));
    until_said(&sink, &["one", "fence"]).await;
    fs::rename(&away, agents.root().join(RUN)).unwrap();
    agents.append("planner", text("two"));
    let events = until_said(&sink, &["one", "fence", "two"]).await;
    assert_eq!(of_kind!(events, AgentSummaryUpdate).len(), 1);
    assert_eq!(of_kind!(events, WorkflowPhaseTransition).len(), 1);
    // And it is followed as before.
    agents.append("tester", text("three"));
    until_said(&sink, &["one", "fence", "two", "three"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_deleted_and_made_again_at_once_is_followed_on() {
    let agents = Agents::new();
    agents.append("planner", text("0"));
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["0"]).await;
    let mut expected = vec!["0".to_owned()];
    for round in 1..20 {
        fs::remove_dir_all(agents.root().join(RUN)).unwrap();
        agents.append("planner", text(&format!("a{round}")));
        agents.append("planner", text(&format!("b{round}")));
        expected.extend([format!("a{round}"), format!("b{round}")]);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        until_said(&sink, &expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_leads_out_of_a_run() {
    let agents = Agents::new();
    let outside = agents.0.path().join("outside");
    write(&outside.join("raw_output.jsonl"), text("secret"));
    write(&outside.join("planner/raw_output.jsonl"), text("secret"));
    write(&outside.join("adw_state.json"), r#"{"secret":1}"#);
    write(&outside.join("01.png"), "secret");
    write(&agents.root().join("bbbb2222/planner/raw_output.jsonl"), text("another run"));
    fs::create_dir_all(agents.path("tester")).unwrap();
    symlink(outside.join("raw_output.jsonl"), agents.transcript("tester")).unwrap();
    symlink(&outside, agents.path("planner")).unwrap();
    symlink(outside.join("adw_state.json"), agents.path("adw_state.json")).unwrap();
    symlink(outside.join("raw_output.jsonl"), agents.path(&format!("{RUN}_plan_spec.md"))).unwrap();
    symlink(&outside, agents.path("tester/review_img")).unwrap();
    fs::create_dir_all(agents.path("reviewer/review_img")).unwrap();
    symlink(outside.join("01.png"), agents.path("reviewer/review_img/01.png")).unwrap();
    symlink(agents.root().join("bbbb2222"), agents.path("documenter")).unwrap();
    symlink(&outside, agents.root().join("cccc3333")).unwrap();
    symlink(agents.root().join("bbbb2222"), agents.root().join("dddd4444")).unwrap();
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["another run"]).await;
    // Also not when the links come while the source is watching, or when what they point at changes.
    fs::create_dir_all(agents.path("late")).unwrap();
    symlink(outside.join("raw_output.jsonl"), agents.transcript("late")).unwrap();
    symlink(&outside, agents.root().join("eeee5555")).unwrap();
    write(&outside.join("raw_output.jsonl"), text("secret") + &text("more"));
    agents.append("zebra", text("a fence"));
    let events = until_said(&sink, &["another run", "a fence"]).await;
    assert_eq!(types(&events), ["text_block", "text_block"]);
    assert!(events.iter().all(|event| !serde_json::to_string(event).unwrap().contains("secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_state_rewrites_is_told_by_its_last_value() {
    let agents = Agents::new();
    agents.write("adw_state.json", r#"{"issue_number":0,"all_adws":["adw_plan_iso"]}"#);
    let sink = MemorySink::new();
    // The time to settle is long, so that a burst is one however slow the machine.
    let source = agents.source(Mode::FromStart).settling(Duration::from_millis(400), Duration::from_secs(10));
    let _running = sink.run(source);
    sink.until("the first state", |stored| !stored.events.is_empty()).await;
    for number in 1..=40 {
        let state = json!({ "issue_number": number, "all_adws": ["adw_plan_iso", "adw_build_iso"] });
        if number % 2 == 0 {
            replace(&agents.path("adw_state.json"), state.to_string());
        } else {
            agents.write("adw_state.json", state.to_string());
        }
    }
    let last = |stored: &Stored| {
        let updates = of_kind!(stored.events, AgentSummaryUpdate);
        updates.last().unwrap().metadata.as_ref().unwrap()["issue_number"] == 40
    };
    let stored = sink.until("the last state", last).await;
    let updates = of_kind!(stored.events, AgentSummaryUpdate);
    assert!(updates.len() < 10, "{} updates for 40 rewrites", updates.len());
    assert_eq!(updates[0].status, WorkflowStatus::InProgress);
    assert_eq!(updates.last().unwrap().workflow_name.as_deref(), Some("adw_build_iso"));
    assert_eq!(of_kind!(stored.events, WorkflowPhaseTransition).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_never_rests_is_told_all_the_same() {
    let agents = Agents::new();
    agents.write("adw_state.json", "{}");
    let sink = MemorySink::new();
    let source = agents.source(Mode::FromStart).settling(Duration::from_secs(60), Duration::from_millis(50));
    let _running = sink.run(source);
    sink.until("the first state", |stored| !stored.events.is_empty()).await;
    agents.write("adw_state.json", r#"{"issue_number":1}"#);
    sink.until("the second state", |stored| stored.events.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_read_is_a_warning_and_the_next_one_counts() {
    let agents = Agents::new();
    agents.write("adw_state.json", "{\"issue_num");
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    sink.until_types(&["agent_log"]).await;
    agents.write("adw_state.json", r#"{"issue_number":1}"#);
    sink.until_types(&["agent_log", "agent_summary_update"]).await;
    agents.write("adw_state.json", format!("{{\"x\":\"{}\"}}", "x".repeat(300_000)));
    let stored = sink.until_types(&["agent_log", "agent_summary_update", "agent_log"]).await;
    assert!(warnings(&stored.events)[1].message.contains("adw_state.json"), "{:?}", warnings(&stored.events));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_half_written_when_it_is_met_gets_time_to_be_finished() {
    let agents = Agents::new();
    agents.write("adw_state.json", "{\"issue_num");
    let sink = MemorySink::new();
    // Long enough that even a slow machine finishes the file before it has been quiet.
    let source = agents.source(Mode::FromStart).settling(Duration::from_millis(1500), Duration::from_secs(60));
    let _running = sink.run_until_caught_up(source).await;
    agents.write("adw_state.json", r#"{"issue_number":1}"#);
    sink.until_types(&["agent_summary_update"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_and_screenshots_are_told_once_each_as_they_appear() {
    let agents = Agents::new();
    agents.append("planner", text("start"));
    let sink = MemorySink::new();
    let _running = sink.run_until_caught_up(agents.source(Mode::Tail)).await;
    agents.write(&format!("{RUN}_plan_spec.md"), "# Plan");
    sink.until_types(&["spec_created"]).await;
    agents.write("reviewer/review_img/01.png", "png");
    sink.until_types(&["spec_created", "screenshot_available"]).await;
    agents.write("reviewer/review_img/notes.txt", "no picture");
    agents.write("reviewer/review_img/01.png", "png again");
    agents.write(&format!("{RUN}_plan_spec.md"), "# Plan, better");
    agents.write("reviewer/review_img/02.PNG", "png");
    let expected = ["spec_created", "screenshot_available", "screenshot_available"];
    let stored = sink.until_types(&expected).await;
    assert_eq!(of_kind!(stored.events, ScreenshotAvailable)[1].screenshot_path, "reviewer/review_img/02.PNG");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was_and_misses_nothing_in_between() {
    let agents = Agents::new();
    agents.append("planner", init() + &text("1") + "{\"type\":\"stream");
    agents.write("adw_state.json", r#"{"all_adws":[]}"#);
    let sink = MemorySink::new();
    let running = sink.run_until_caught_up(agents.source(Mode::FromStart)).await;
    agents.append("tester", text("while it runs"));
    until_said(&sink, &["1", "while it runs"]).await;
    running.stop();
    // While nobody is looking.
    agents.append("planner", "_event\"}\n".to_owned() + &text("2"));
    agents.append("reviewer", init() + &text("3"));
    agents.write("adw_state.json", r#"{"all_adws":["adw_ship_iso"]}"#);
    agents.write(&format!("{RUN}_plan_spec.md"), "# Plan");
    // Known runs are read on whatever the mode.
    let _running = sink.run_until_caught_up(agents.source(Mode::Tail)).await;
    agents.append("tester", text("afterwards"));
    let stored = sink.until("what was missed", |stored| said(&stored.events).len() >= 5).await;
    let mut texts = said(&stored.events);
    texts.sort();
    assert_eq!(texts, ["1", "2", "3", "afterwards", "while it runs"]);
    let planner: Vec<AgentEvent> = stored
        .events
        .iter()
        .filter(|event| matches!(event, AgentEvent::AgentOutputChunk(chunk) if chunk.agent_role.as_str() == "planner"))
        .cloned()
        .collect();
    assert_eq!(reassembled(&of_kind!(planner, AgentOutputChunk)), fs::read(agents.transcript("planner")).unwrap());
    let phases: Vec<_> =
        of_kind!(stored.events, WorkflowPhaseTransition).iter().map(|event| event.phase_to.to_string()).collect();
    assert_eq!(phases, ["plan", "ship", "review"]);
    assert_eq!(of_kind!(stored.events, SpecCreated).len(), 1);
    assert_eq!(of_kind!(stored.events, AgentSummaryUpdate).len(), 2);
}

/// A run whose lines give rise to more events than fit in a batch.
fn crowded(agents: &Agents) {
    let blocks: Vec<Value> = (0..700).map(|n| json!({ "type": "text", "text": format!("block {n}") })).collect();
    let line = json!({ "type": "assistant", "message": { "content": blocks } });
    let big = json!({ "type": "assistant", "message": { "content": [
        { "type": "text", "text": "x".repeat(600_000) }, { "type": "text", "text": "y".repeat(400_000) }
    ] } });
    agents.append("planner", format!("{}{line}\n{big}\n{}", init(), init()));
    agents.append("implementor", init() + &format!("{line}\n"));
    agents.write("adw_state.json", r#"{"all_adws":["adw_plan_iso"]}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_their_limits() {
    let agents = Agents::new();
    crowded(&agents);
    let sink = MemorySink::new();
    let _running = sink.run(agents.source(Mode::FromStart));
    agents.append("zebra", text("the end"));
    let stored =
        sink.until("the end", |stored| said(&stored.events).last().is_some_and(|text| text == "the end")).await;
    let mut events = stored.events.iter();
    for size in stored.batches {
        assert!(size <= 256);
        let bytes: usize = events.by_ref().take(size).map(AgentEvent::encoded_bytes).sum();
        assert!(bytes <= 1024 * 1024 || size == 1, "{size} events of {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_cut_off_after_any_batch_ends_with_the_same_events() {
    let agents = Agents::new();
    crowded(&agents);
    agents.append("tester", text("the end"));
    let ended = |stored: &Stored| said(&stored.events).last().is_some_and(|text| text == "the end");
    let whole = MemorySink::new();
    let _running = whole.run(agents.source(Mode::FromStart));
    let expected = whole.until("the end", ended).await;
    assert!(expected.batches.len() > 10, "{:?}", expected.batches);

    let cut = MemorySink::new();
    let mut starts = 0;
    while !ended(&cut.stored()) {
        let count = cut.events().len();
        // One batch more, then the sink is gone.
        cut.set_faults(Faults { closes_after: Some(count + 1), ..Faults::default() });
        tokio::select! {
            result = agents.source(Mode::FromStart).run(cut.clone()) => result.unwrap(),
            _ = cut.until("the end", ended) => {}
        }
        assert!(cut.events().len() > count, "a start that told nothing");
        starts += 1;
    }
    assert!(starts >= 8, "{starts} starts");
    assert_eq!(cut.events(), expected.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_stopped_at_any_moment_while_agents_write_repeats_and_skips_nothing() {
    const ROLES: [&str; 3] = ["planner", "implementor", "tester"];
    let agents = Agents::new();
    fs::create_dir_all(agents.path("")).unwrap();
    let sink = MemorySink::new();
    let mut random = 7_u64;
    let mut next = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut running = sink.run_until_caught_up(agents.source(Mode::FromStart)).await;
    for round in 0..300 {
        let role = ROLES[next(3) as usize];
        let line = text(&format!("{role} {round} {}", "é".repeat(next(3000) as usize)));
        // Written in two pieces, cut anywhere, also inside a character.
        let (start, end) = line.as_bytes().split_at(next(line.len() as u64) as usize);
        agents.append(role, start);
        if next(6) == 0 {
            running.stop();
            running = sink.run(agents.source(Mode::FromStart));
        }
        agents.append(role, end);
    }
    agents.append("zebra", text("the end"));
    let complete = |stored: &Stored| of_kind!(stored.events, TextBlock).len() > 300;
    let events = sink.until("all of it", complete).await.events;
    for role in ROLES {
        let own: Vec<AgentEvent> = events
            .iter()
            .filter(|event| matches!(event, AgentEvent::AgentOutputChunk(chunk) if chunk.agent_role.as_str() == role))
            .cloned()
            .collect();
        assert_eq!(reassembled(&of_kind!(own, AgentOutputChunk)), fs::read(agents.transcript(role)).unwrap());
    }
    assert_eq!(said(&events).len(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_not_ready_is_asked_again() {
    let agents = Agents::new();
    agents.append("planner", text("1"));
    let sink = MemorySink::with_faults(Faults { unavailable: 3, ..Faults::default() });
    let _running = sink.run(agents.source(Mode::FromStart));
    until_said(&sink, &["1"]).await;
    sink.set_faults(Faults { unavailable: 2, ..Faults::default() });
    agents.append("planner", text("2"));
    until_said(&sink, &["1", "2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_replaced_by_a_warning_and_holds_up_nothing() {
    let agents = Agents::new();
    agents.append("planner", text("1") + &text("FORBIDDEN") + &text("2"));
    let sink = MemorySink::with_faults(Faults { refused: Some("FORBIDDEN".to_owned()), ..Faults::default() });
    let _running = sink.run(agents.source(Mode::FromStart));
    let events = until_said(&sink, &["1", "2"]).await;
    // The raw line and the block were refused, one by one.
    assert_eq!(types(&events), ["text_block", "agent_log", "agent_log", "text_block"]);
    agents.append("planner", text("3"));
    until_said(&sink, &["1", "2", "3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_sink_ends_the_source() {
    let agents = Agents::new();
    agents.append("planner", text("1"));
    let sink = MemorySink::with_faults(Faults { closes_after: Some(0), ..Faults::default() });
    let ended = tokio::time::timeout(DEADLINE, agents.source(Mode::FromStart).run(sink.clone())).await;
    ended.expect("the source goes on without a sink").unwrap();
    assert!(sink.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_without_a_root_is_an_error_that_names_it() {
    let agents = Agents::absent();
    let error = agents.source(Mode::Replay(eventwire_agents::Speed::LIFE)).run(MemorySink::new()).await.unwrap_err();
    assert!(error.to_string().contains("agents") && !error.to_string().contains('\n'), "{error}");
}
