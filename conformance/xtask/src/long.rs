//! `cargo xtask long`: the randomized checks with sizes that no change can wait for.
//!
//! The result is a page, docs/reference/long-report.md, which says when, where, with which sizes, and how it went. The
//! page is written whatever the outcome, so that a bad night is on record, too.

use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::campaigns::{PROPERTIES, SERIES, cuts, isolation, schedules};
use crate::gateway::{Access, Gateway};
use crate::machine::{self, Workspace};
use crate::packages;
use crate::process::{Outcome, capture};
use crate::suite;

const REPORT: &str = "docs/reference/long-report.md";

/// The folder with clones of the older systems.
const PUBLISHED: &str = "EVENTWIRE_PUBLISHED";
const PAGES: &str = "transports/gateway/tests/published_pages.rs: pages of the older systems as published, over a restart of the gateway";

/// How long one `cargo test` may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// How much is tried.
pub(crate) struct Sizes {
    /// Random cases per property, where a case costs what most do.
    pub(crate) cases: u32,
    /// Random cases of isolation: one connection and one event each.
    pub(crate) isolation: u64,
    /// Schedules per concurrency model and scheduler.
    pub(crate) schedules: u32,
    /// Repetitions of the tests in which timing decides.
    pub(crate) repeats: u32,
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

/// Runs everything, prints each line as it comes, and writes the report. Errors when a line failed.
pub(crate) fn run(workspace: &Workspace, sizes: &Sizes) -> Result<(), String> {
    println!("{}\n", workspace.describe());
    let begun = Instant::now();
    let sources = Sources::now(workspace);
    suite::build(workspace)?;
    let mut lines = Vec::new();
    for property in PROPERTIES {
        let cases = property.cases(sizes.cases);
        let mut command = test(workspace, property.package, property.arguments);
        command.env("PROPTEST_CASES", cases.to_string());
        lines.push(line(
            &format!("{}: {}", property.source, property.what),
            &format!("{cases} cases per property"),
            || tests(&mut command),
        ));
    }
    let mut tenants = workspace.cargo(isolation::ARGUMENTS);
    tenants.env(isolation::VARIABLE, sizes.isolation.to_string());
    lines.push(line(
        &format!("{}: random topologies of tenants leak nothing by any path", isolation::SOURCE),
        &format!("{} cases", sizes.isolation),
        || tests(&mut tenants),
    ));
    let mut shuttle = workspace.cargo(schedules::ARGUMENTS);
    shuttle.env("SHUTTLE_ITERATIONS", sizes.schedules.to_string());
    lines.push(line(
        &format!("{}: the send queue under explored schedules", schedules::SOURCE),
        &format!("{} schedules per model, random and by priorities", sizes.schedules),
        || tests(&mut shuttle),
    ));
    let (clients, each) = cuts::LONG;
    lines.push(line(
        &format!("{}: clients that are cut off while agents write end as one that stayed", cuts::SOURCE),
        &format!("{} random cut points in {} runs", 2 * clients * each * sizes.repeats, sizes.repeats),
        || {
            repeat(sizes.repeats, || {
                let mut command = workspace.cargo(cuts::ARGUMENTS);
                command.env("EVENTWIRE_LONG", "1");
                command
            })
        },
    ));
    for series in SERIES {
        lines.push(line(&format!("{}: {}", series.source, series.what), &format!("{} runs", sizes.repeats), || {
            repeat(sizes.repeats, || test(workspace, series.package, series.arguments))
        }));
    }
    lines.push(line("every packed crate builds from its package, without the checkout", "all crates", || {
        packages::build(workspace, LIMIT)
    }));
    for (what, name, access) in [
        ("conformance: one gateway with keys, all cases", "long-keys", Access::Keys),
        ("conformance: one gateway without keys, all other cases", "long-open", Access::Open),
    ] {
        lines.push(line(what, &format!("{} rounds", sizes.rounds), || {
            suite::with_gateway(workspace, name, access, |gateway| rounds(workspace, gateway, sizes.rounds))
        }));
    }
    let mut left_out = Vec::new();
    match std::env::var_os(PUBLISHED) {
        Some(_) => lines.push(line(PAGES, "each page once, and each over a restart", || {
            tests(&mut test(workspace, "eventwire-gateway", &["--test", "published_pages", "--", "--ignored"]))
        })),
        None => left_out.push(format!("{PAGES}: {PUBLISHED} names no folder with clones")),
    }
    for what in &left_out {
        println!("left out: {what}");
    }
    let text = report(workspace, &lines, &left_out, &sources, begun.elapsed())?;
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

fn test(workspace: &Workspace, package: &str, arguments: &[&str]) -> Command {
    let mut command = workspace.cargo(&["test", "-p", package]);
    command.args(arguments);
    command
}

/// Runs a `cargo test` and says how many tests passed; none at all is a failure.
fn tests(command: &mut Command) -> Result<String, String> {
    match count(command)? {
        1 => Ok("1 test".to_owned()),
        many => Ok(format!("{many} tests")),
    }
}

/// Runs the same tests again and again, until they fail or have run so often.
fn repeat(times: u32, command: impl Fn() -> Command) -> Result<String, String> {
    let mut sum = 0;
    for time in 1..=times {
        sum += count(&mut command()).map_err(|why| format!("run {time}: {why}"))?;
    }
    Ok(format!("{sum} tests"))
}

fn count(command: &mut Command) -> Result<u32, String> {
    let (outcome, said) = capture(command, LIMIT);
    if outcome != Outcome::Succeeded {
        println!("{said}");
        return outcome.require("cargo test").map(|()| 0).map_err(|why| format!("{why}{}", failed_tests(&said)));
    }
    match passed_tests(&said) {
        0 => Err("no test ran".to_owned()),
        count => Ok(count),
    }
}

/// The sum over the closing lines of a `cargo test`.
fn passed_tests(said: &str) -> u32 {
    said.lines().filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok()).sum()
}

/// The names of the tests that a `cargo test` saw fail, to be said behind something else.
fn failed_tests(said: &str) -> String {
    let names: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

fn rounds(workspace: &Workspace, gateway: &Gateway, count: u32) -> Result<String, String> {
    let mut last = String::new();
    for round in 1..=count {
        last = suite::conformance_on(workspace, gateway).map_err(|why| format!("round {round}: {why}"))?;
    }
    Ok(format!("{last} in each"))
}

/// What was tested.
struct Sources {
    commit: String,
    changed: bool,
}

impl Sources {
    fn now(workspace: &Workspace) -> Self {
        let changes = ask(workspace, "git", &["status", "--porcelain", "--untracked-files=no"]);
        Self {
            commit: ask(workspace, "git", &["rev-parse", "--short=12", "HEAD"]),
            changed: changes.lines().any(|line| !line.ends_with(REPORT)),
        }
    }
}

fn ask(workspace: &Workspace, program: &str, arguments: &[&str]) -> String {
    let (_, said) = capture(workspace.command(program).args(arguments), Duration::from_secs(60));
    said.trim().to_owned()
}

fn report(
    workspace: &Workspace,
    lines: &[Line],
    left_out: &[String],
    sources: &Sources,
    took: Duration,
) -> Result<String, String> {
    let date = ask(workspace, "date", &["-u", "+%Y-%m-%d %H:%M UTC"]);
    let rustc = ask(workspace, "rustc", &["--version"]);
    let after = Sources::now(workspace);
    let mut commit = sources.commit.clone();
    if after.commit != sources.commit {
        commit.push_str(&format!(" and, at the end, {}", after.commit));
    }
    if sources.changed || after.changed {
        commit.push_str(" with changes that were not committed");
    }
    let failed = lines.iter().filter(|line| line.result.is_err()).count();
    let mut text = format!(
        "# Long run\n\nWritten by `cargo xtask long`, which tries at random what `cargo xtask test` tries less often.\n\n\
         - finished: {date}, after {} min\n- commit: {commit}\n- machine: {}\n- compiler: {rustc}\n\
         - data: {}\n- result: {} passed, {failed} failed\n- left out: {}\n\n\
         | check | size | result | time |\n| --- | --- | --- | --- |\n",
        took.as_secs().div_ceil(60),
        machine::hardware(),
        workspace.data(),
        lines.len() - failed,
        if left_out.is_empty() { "nothing".to_owned() } else { left_out.join("; ") },
    );
    for line in lines {
        let result = match &line.result {
            Ok(note) => format!("passed: {note}"),
            Err(why) => format!("**failed**: {}", cell(why, workspace)),
        };
        writeln!(text, "| {} | {} | {result} | {} s |", line.what, line.size, line.took.as_secs())
            .map_err(|error| error.to_string())?;
    }
    Ok(text)
}

/// The first line of an error as it fits into a table that others read.
fn cell(why: &str, workspace: &Workspace) -> String {
    let root = workspace.root().to_string_lossy();
    why.lines().next().unwrap_or_default().replace(&*root, ".").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::{failed_tests, passed_tests};

    #[test]
    fn passed_tests_are_summed_over_all_closing_lines() {
        let said = "running 3 tests\ntest result: ok. 3 passed; 0 failed; 0 ignored\n\
                    noise\ntest result: ok. 39 passed; 0 failed; 1 ignored; finished in 1s\n";
        assert_eq!(passed_tests(said), 42);
        assert_eq!(passed_tests("test result: FAILED. 3 passed; 1 failed"), 0);
    }

    #[test]
    fn failed_tests_are_named() {
        assert_eq!(failed_tests("test a ... ok\ntest b::c ... FAILED\ntest d ... FAILED\n"), " (b::c, d)");
        assert_eq!(failed_tests("error: could not compile"), "");
    }
}
