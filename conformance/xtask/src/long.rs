//! `cargo xtask long`: the randomised checks with sizes that no change can wait for.
//!
//! The result is a page, docs/reference/long-report.md, which says when, where, with which sizes, and how it went. The
//! page is written whatever the outcome, so that a bad night is on record, too.

use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::gateway::{Access, Gateway};
use crate::machine::Workspace;
use crate::process::{Outcome, capture};
use crate::suite;

const REPORT: &str = "docs/reference/long-report.md";

/// How much is tried.
pub(crate) struct Sizes {
    /// Random cases per property.
    pub(crate) cases: u32,
    /// Schedules per concurrency model.
    pub(crate) schedules: u32,
    /// Conformance rounds against one gateway.
    pub(crate) rounds: u32,
}

/// One line of the report.
struct Line {
    what: String,
    size: String,
    result: Result<String, String>,
    took: Duration,
}

/// Crates whose tests are worth more cases, and why.
const PROPERTIES: &[(&str, &str)] = &[
    ("eventwire-protocol", "routing and delivery laws, state machine, frame decoding on hostile bytes"),
    ("eventwire-hub", "mailboxes, history and resume of the running core"),
    ("eventwire-memory", "scripted faults on the in-memory transport"),
    ("eventwire-agents", "transcripts cut, torn and rotated at random places"),
];

/// Runs everything, prints each line as it comes, and writes the report. Errors when a line failed.
pub(crate) fn run(workspace: &Workspace, sizes: &Sizes) -> Result<(), String> {
    println!("{}\n", workspace.describe());
    let mut lines = Vec::new();
    for (package, what) in PROPERTIES {
        let mut command = workspace.cargo(&["test", "-p", package, "--tests", "--no-fail-fast"]);
        command.env("PROPTEST_CASES", sizes.cases.to_string()).env("EVENTWIRE_LONG", "1");
        lines.push(line(&format!("{package}: {what}"), &format!("{} cases per property", sizes.cases), || {
            tests(&mut command)
        }));
    }
    let mut shuttle =
        workspace.cargo(&["test", "-p", "eventwire-hub", "--features", "shuttle", "--test", "outbox_model"]);
    shuttle.env("SHUTTLE_ITERATIONS", sizes.schedules.to_string());
    lines.push(line(
        "eventwire-hub: the outbox under explored schedules",
        &format!("{} schedules per model", sizes.schedules),
        || tests(&mut shuttle),
    ));
    lines.push(line(
        "conformance: one gateway, all cases, again and again",
        &format!("{} rounds", sizes.rounds),
        || rounds(workspace, sizes.rounds),
    ));
    let text = report(workspace, &lines)?;
    let path = workspace.root().join(REPORT);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\nwrote {REPORT}");
    let failed = lines.iter().filter(|line| line.result.is_err()).count();
    println!("{} passed, {failed} failed", lines.len() - failed);
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} long checks failed, see {REPORT}", lines.len())) }
}

fn line(what: &str, size: &str, work: impl FnOnce() -> Result<String, String>) -> Line {
    println!("== {what} ({size})");
    let begun = Instant::now();
    let result = work();
    let took = begun.elapsed();
    match &result {
        Ok(note) => println!("passed in {} s: {note}", took.as_secs()),
        Err(why) => println!("FAILED after {} s: {why}", took.as_secs()),
    }
    Line { what: what.to_owned(), size: size.to_owned(), result, took }
}

/// Runs a `cargo test` and says how many tests passed; none at all is a failure.
fn tests(command: &mut Command) -> Result<String, String> {
    let (outcome, said) = capture(command, Duration::from_secs(4 * 3600));
    if outcome != Outcome::Succeeded {
        println!("{said}");
        outcome.require("cargo test")?;
    }
    match passed_tests(&said) {
        0 => Err("no test ran".to_owned()),
        count => Ok(format!("{count} tests passed")),
    }
}

/// The sum over the closing lines of a `cargo test`.
fn passed_tests(said: &str) -> u32 {
    said.lines().filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok()).sum()
}

fn rounds(workspace: &Workspace, count: u32) -> Result<String, String> {
    suite::build(workspace)?;
    let gateway = Gateway::start(workspace, "long-conformance", Access::Open)?;
    let binary = workspace.binaries()?.join("eventwire-conformance");
    for round in 1..=count {
        let mut command = workspace.command(&binary.to_string_lossy());
        command.args(["run", &gateway.url()]);
        let (outcome, said) = capture(&mut command, Duration::from_secs(600));
        if outcome != Outcome::Succeeded {
            println!("{said}");
            outcome.require(&format!("round {round}"))?;
        }
    }
    gateway.stop()?;
    Ok(format!("{count} rounds passed, the gateway stopped cleanly"))
}

fn report(workspace: &Workspace, lines: &[Line]) -> Result<String, String> {
    let ask = |program: &str, arguments: &[&str]| {
        let (_, said) = capture(workspace.command(program).args(arguments), Duration::from_secs(60));
        said.trim().to_owned()
    };
    let date = ask("date", &["-u", "+%Y-%m-%d"]);
    let commit = ask("git", &["rev-parse", "--short=12", "HEAD"]);
    let rustc = ask("rustc", &["--version"]);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "# Long run\n\nWritten by `cargo xtask long` on {date}, at commit {commit}, with {rustc}, on {cores} cores.\n\n\
         | check | size | result | time |\n| --- | --- | --- | --- |\n"
    );
    for line in lines {
        let result = match &line.result {
            Ok(note) => format!("passed: {note}"),
            Err(why) => format!("**failed**: {}", why.lines().next().unwrap_or_default()),
        };
        writeln!(text, "| {} | {} | {result} | {} s |", line.what, line.size, line.took.as_secs())
            .map_err(|error| error.to_string())?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::passed_tests;

    #[test]
    fn passed_tests_are_summed_over_all_closing_lines() {
        let said = "running 3 tests\ntest result: ok. 3 passed; 0 failed; 0 ignored\n\
                    noise\ntest result: ok. 39 passed; 0 failed; 1 ignored; finished in 1s\n";
        assert_eq!(passed_tests(said), 42);
        assert_eq!(passed_tests("test result: FAILED. 3 passed; 1 failed"), 0);
    }
}
