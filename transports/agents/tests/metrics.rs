//! Figures of runs: compared with an independent count over real transcripts and over the sample run, read in any pieces,
//! within windows, and bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // A test may fail in any way.

mod support;

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use eventwire_agents::Ledger;
use eventwire_protocol::{Time, event::metrics::MetricsUpdate};
use serde_json::{Value, json};
use support::shared_data;

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Time::from_unix_micros(since.as_micros() as i64)
}

/// The figures in the words of the independent script.
fn in_short(update: &MetricsUpdate) -> Value {
    let overview = &update.overview;
    let (tasks, costs) = (overview.tasks.as_ref().unwrap(), overview.costs.as_ref().unwrap());
    let (api, sessions) = (overview.claude_api.as_ref().unwrap(), update.sessions.as_ref().unwrap());
    let tools = overview.tools.as_ref().unwrap();
    assert_eq!(tools.by_type, sessions.tools_by_type);
    assert_eq!(tools.by_type.values().sum::<u64>(), tools.total_calls);
    json!({
        "tasks": tasks,
        "costs": {
            "total_cost": costs.total_cost_usd,
            "haiku_cost": costs.haiku_cost_usd,
            "sonnet_cost": costs.sonnet_cost_usd,
        },
        "requests": api.total_requests,
        "input_tokens": api.total_input_tokens,
        "output_tokens": api.total_output_tokens,
        "sessions": sessions.total_sessions,
        "tools": tools.by_type,
    })
}

/// What the independent script counts.
fn expected(root: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/scripts/expected_metrics.py");
    let output = Command::new("python3").arg(&script).arg(root).output().expect("python3 is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Written now, so that everything is within the window.
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Real runs where this machine has them, and the sample run anywhere.
fn roots() -> Vec<PathBuf> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/sample");
    [Some(sample), shared_data().map(|data| data.join("agents"))].into_iter().flatten().collect()
}

/// Runs copied without the times in their lines, so that only the times of their files count.
fn without_times(root: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    copy(root, copied.path());
    let mut places = vec![copied.path().to_owned()];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                places.push(entry.path());
            } else if entry.file_name() == "raw_output.jsonl" {
                let text =
                    String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).replace("\"timestamp\":", "\"then\":");
                fs::write(entry.path(), text).unwrap();
            }
        }
    }
    copied
}

#[test]
fn the_figures_of_whole_runs_are_those_of_an_independent_count() {
    for root in roots() {
        let copied = without_times(&root);
        let mut ledger = Ledger::new(copied.path());
        ledger.catch_up(now());
        let counted = in_short(&ledger.figures(now(), 168));
        assert_eq!(counted, expected(copied.path()), "{}", root.display());
        assert!(counted["requests"].as_u64().unwrap() > 10 && counted["costs"]["total_cost"].as_f64().unwrap() > 0.1);
        // Nothing is counted twice.
        ledger.catch_up(now());
        assert_eq!(in_short(&ledger.figures(now(), 24)), counted);
    }
}

#[test]
fn files_that_grow_in_any_pieces_come_to_the_same_figures() {
    for root in roots() {
        let whole = without_times(&root);
        let grown = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::new(grown.path());
        let mut step = 1;
        let mut places = vec![PathBuf::new()];
        while let Some(place) = places.pop() {
            for entry in fs::read_dir(whole.path().join(&place)).unwrap().map(Result::unwrap) {
                let name = place.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    places.push(name);
                    continue;
                }
                fs::create_dir_all(grown.path().join(&place)).unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                let mut file = File::create(grown.path().join(&name)).unwrap();
                for piece in bytes.chunks((bytes.len() / 7).max(1) + step) {
                    file.write_all(piece).unwrap();
                    ledger.catch_up(now());
                }
                step = (step * 7) % 101;
            }
        }
        let mut expected = expected(whole.path());
        let mut counted = in_short(&ledger.figures(now(), 168));
        // The files were written in another order, so the one that was last may be another.
        expected["tasks"].take();
        counted["tasks"].take();
        assert_eq!(counted, expected);
    }
}

struct Run {
    root: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn write(&self, run: &str, role: &str, lines: &[Value], age: Duration) {
        let place = self.root.path().join(run).join(role);
        fs::create_dir_all(&place).unwrap();
        let mut file = File::options().append(true).create(true).open(place.join("raw_output.jsonl")).unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn figures(&self, hours: u32) -> Value {
        let mut ledger = Ledger::new(self.root.path());
        ledger.catch_up(now());
        in_short(&ledger.figures(now(), hours))
    }
}

fn init(session: &str) -> Value {
    json!({"type": "system", "subtype": "init", "session_id": session})
}

fn message(id: &str, tool: &str, tokens: u64) -> Value {
    json!({"type": "assistant", "message": {
        "id": id, "usage": {"input_tokens": tokens, "cache_read_input_tokens": 10, "output_tokens": 1},
        "content": [{"type": "tool_use", "id": format!("{id}-{tool}"), "name": tool}],
    }})
}

fn result(session: &str, cost: f64, bad: bool) -> Value {
    json!({"type": "result", "subtype": "success", "is_error": bad, "session_id": session, "total_cost_usd": cost,
        "modelUsage": {"claude-haiku-4-5": {"costUSD": cost / 4.0}, "claude-opus-4": {"costUSD": cost * 0.75}},
        "usage": {"input_tokens": 100, "output_tokens": 50}})
}

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_happened_counts_within_the_window_that_holds_the_time_of_its_file() {
    let run = Run::new();
    run.write("aaaaaaaa", "planner", &[init("s1"), message("m1", "Read", 5), result("s1", 0.4, false)], NOW);
    run.write("bbbbbbbb", "planner", &[init("s2"), message("m2", "Edit", 5), result("s2", 0.8, true)], HOUR * 5);
    run.write("cccccccc", "planner", &[init("s3"), message("m3", "Bash", 5)], HOUR * 200);
    let (short, long) = (run.figures(1), run.figures(24));
    assert_eq!(short["tasks"], json!({"total": 1, "running": 0, "completed": 1, "failed": 0}));
    assert_eq!(long["tasks"], json!({"total": 2, "running": 0, "completed": 1, "failed": 1}));
    assert_eq!((&short["costs"]["total_cost"], &long["costs"]["total_cost"]), (&json!(0.4), &json!(1.2)));
    assert_eq!(long["costs"]["haiku_cost"], json!(0.3));
    assert_eq!(long["tools"], json!({"Edit": 1, "Read": 1}));
    // What is older than the longest window is not kept at all.
    assert_eq!(run.figures(168)["tasks"]["total"], 2);
}

#[test]
fn the_time_of_a_line_counts_before_that_of_its_file() {
    let run = Run::new();
    let mut old = message("m1", "Read", 5);
    old["timestamp"] = json!(now().plus_micros(-3 * 3_600_000_000));
    run.write("aaaaaaaa", "planner", &[init("s1"), old, message("m2", "Read", 5)], NOW);
    assert_eq!(run.figures(1)["requests"], 1);
    assert_eq!(run.figures(24)["requests"], 2);
}

#[test]
fn a_message_in_several_lines_is_one_request_and_a_call_that_is_repeated_is_one_call() {
    let run = Run::new();
    let lines = [
        init("s1"),
        message("m1", "Read", 5),
        message("m1", "Edit", 5),
        message("m1", "Edit", 9),
        message("m2", "Read", 5),
    ];
    run.write("aaaaaaaa", "planner", &lines, NOW);
    let figures = run.figures(24);
    assert_eq!((&figures["requests"], &figures["tools"]), (&json!(2), &json!({"Edit": 1, "Read": 2})));
    assert_eq!(figures["input_tokens"], 9 + 10 + 5 + 10);
}

#[test]
fn costs_that_add_up_within_a_session_count_once_and_another_process_begins_anew() {
    let run = Run::new();
    let lines = [
        init("s1"),
        result("s1", 0.1, false),
        init("s1"),
        result("s1", 0.3, false),
        init("s2"),
        result("s2", 0.4, false),
        result("s1", 0.2, false),
    ];
    run.write("aaaaaaaa", "tester", &lines, NOW);
    let figures = run.figures(24);
    assert_eq!(figures["costs"]["total_cost"], json!(0.9));
    assert_eq!(figures["sessions"], 2);
    assert_eq!(figures["output_tokens"], 200);
}

#[test]
fn a_run_is_running_while_a_role_is_and_ends_as_its_last_role_ended() {
    let run = Run::new();
    run.write("aaaaaaaa", "planner", &[init("s1"), result("s1", 0.1, false)], HOUR);
    assert_eq!(run.figures(24)["tasks"]["completed"], 1);
    run.write("aaaaaaaa", "tester", &[init("s2")], HOUR / 2);
    assert_eq!(run.figures(24)["tasks"]["running"], 1);
    run.write("aaaaaaaa", "tester", &[result("s2", 0.1, true)], HOUR / 3);
    assert_eq!(run.figures(24)["tasks"]["failed"], 1);
    run.write("aaaaaaaa", "implementor", &[init("s3"), result("s3", 0.1, false)], NOW);
    assert_eq!(run.figures(24)["tasks"], json!({"total": 1, "running": 0, "completed": 1, "failed": 0}));
}

#[test]
fn what_is_no_line_of_a_transcript_is_left_out_and_memory_stays_bounded() {
    let run = Run::new();
    run.write("aaaaaaaa", "planner", &[init("s1")], NOW);
    let path = run.root.path().join("aaaaaaaa/planner/raw_output.jsonl");
    let mut file = File::options().append(true).open(&path).unwrap();
    writeln!(
        file,
        "not json\n[1]\n\"x\"\n{{\"type\":\"assistant\"}}\n{{\"type\":\"result\",\"total_cost_usd\":\"much\"}}"
    )
    .unwrap();
    file.write_all(&vec![b'x'; 3 << 20]).unwrap();
    writeln!(file).unwrap();
    for number in 0..1000 {
        writeln!(file, "{}", message(&format!("m{number}"), &format!("Tool{number}"), 1)).unwrap();
    }
    let figures = run.figures(24);
    assert_eq!(figures["requests"], 1000);
    let tools = figures["tools"].as_object().unwrap();
    assert_eq!((tools.len(), &tools["other"]), (257, &json!(744)));
}

#[test]
fn activity_is_what_came_last_newest_first_and_little_of_it() {
    let run = Run::new();
    for number in 0..60_u32 {
        let lines = [init("s"), result("s", 0.1, number == 0)];
        run.write(&format!("{number:08}"), "planner", &lines, Duration::from_secs(60) * number);
    }
    let mut ledger = Ledger::new(run.root.path());
    ledger.catch_up(now());
    let activity = ledger.figures(now(), 24).activity;
    assert_eq!(activity.len(), 20);
    assert_eq!(activity[0].description, "00000000: planner failed");
    assert!(activity.is_sorted_by(|one, other| one.time >= other.time));
}

#[test]
fn a_root_that_is_not_there_counts_as_nothing_until_it_is() {
    let run = Run::new();
    let mut ledger = Ledger::new(run.root.path().join("later"));
    ledger.catch_up(now());
    assert_eq!(in_short(&ledger.figures(now(), 24))["tasks"]["total"], 0);
    let later = Run { root: tempfile::TempDir::new_in(run.root.path()).unwrap() };
    later.write("aaaaaaaa", "planner", &[init("s1")], NOW);
    fs::rename(later.root.path(), run.root.path().join("later")).unwrap();
    ledger.catch_up(now());
    assert_eq!(in_short(&ledger.figures(now(), 24))["tasks"]["running"], 1);
}
