//! The steps of `cargo xtask test`: every check of the repository, in one table.
//!
//! A failing step does not end the run, so that one run tells everything that is wrong. Nothing is skipped in silence:
//! a prerequisite that is missing fails the step that needs it. The one exception is said in the table and in the last
//! line: the WebAssembly build needs a target that not every toolchain has, and what it shows is proven in another way
//! by the protocol's purity test.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::campaigns;
use crate::gateway::{Access, Gateway};
use crate::machine::Workspace;
use crate::markdown;
use crate::packages;
use crate::process::{self, Outcome, capture};
use crate::setup;

/// What a step says when it did not fail.
enum Verdict {
    /// The check ran and holds; the text is a remark or empty.
    Passed(String),
    /// The check cannot run here; the text says why and what covers it instead.
    NotInstalled(String),
}

/// One named check.
struct Step {
    name: &'static str,
    proves: &'static str,
    run: fn(&Workspace) -> Result<Verdict, String>,
}

const STEPS: &[Step] = &[
    Step {
        name: "setup",
        proves: "the tools and packages that the tests need are here",
        run: |workspace| setup::run(workspace).map(Verdict::Passed),
    },
    Step {
        name: "fmt",
        proves: "the code is formatted",
        run: |workspace| cargo(workspace, &["fmt", "--all", "--check"], minutes(5)),
    },
    Step {
        name: "clippy",
        proves: "no lint fires in any target",
        run: |workspace| {
            let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            cargo(workspace, &lint, minutes(45))
        },
    },
    Step {
        name: "doc",
        proves: "the API documentation builds without a warning",
        run: |workspace| {
            let mut command = workspace.cargo(&["doc", "--workspace", "--no-deps"]);
            command.env("RUSTDOCFLAGS", "-D warnings");
            passed(process::run(&mut command, minutes(30)), "cargo doc")
        },
    },
    Step {
        name: "test",
        proves: "unit, property, model, snapshot, compile-fail and behavior tests of all crates",
        run: |workspace| {
            let test = ["test", "--workspace", "--all-targets", "--no-fail-fast"];
            cargo(workspace, &test, minutes(60))
        },
    },
    Step {
        name: "doctest",
        proves: "the examples in the documentation run",
        run: |workspace| {
            let test = ["test", "--workspace", "--doc", "--no-fail-fast"];
            cargo(workspace, &test, minutes(30))
        },
    },
    Step {
        name: "shuttle",
        proves: "the send queue holds under every schedule that the explorer tries",
        run: |workspace| cargo(workspace, campaigns::schedules::ARGUMENTS, minutes(30)),
    },
    Step { name: "wasm", proves: "the protocol builds where there is no operating system", run: wasm },
    Step {
        name: "schemas",
        proves: "schemas/v1 and the generated pages of docs/reference are what the catalog generates",
        run: |workspace| schemas(workspace, "check"),
    },
    Step {
        name: "compatibility",
        proves: "schemas/v1 may follow schemas/released.json: what breaks is announced and has the version for it",
        run: |workspace| schemas(workspace, "compatibility"),
    },
    Step {
        name: "codegen",
        proves: "types that real generators make of the schemas are whole; TypeScript narrows in an exhaustive switch",
        run: |workspace| {
            let folder = node_folder(workspace, "schemas/tests/codegen")?;
            let mut command = workspace.command("node");
            command.args(["--test", "check.mjs", "instances.mjs", "quicktype.mjs"]).current_dir(folder);
            passed(process::run(&mut command, minutes(10)), "the generated types")
        },
    },
    Step {
        name: "typescript",
        proves: "the TypeScript client: types and dist/ are fresh, 6 KiB, models, frameworks, and against a gateway in Node",
        run: |workspace| typescript(workspace, &["unit", "gateway"]),
    },
    Step {
        name: "typescript-browser",
        proves: "the TypeScript client in Chromium: its example page, cuts, kills and switches of transport",
        run: |workspace| typescript(workspace, &["browser"]),
    },
    Step {
        name: "python",
        proves: "the Python package: generated from the schemas, type-checked, against a gateway, as a wheel",
        run: python,
    },
    Step {
        name: "documents",
        proves: "real tools accept asyncapi.json and openapi.json, and types generated from the latter are usable",
        run: |workspace| {
            let folder = node_folder(workspace, "schemas/tests/documents")?;
            let mut command = workspace.command("node");
            command.args(["--test", "check.mjs"]).current_dir(folder);
            passed(process::run(&mut command, minutes(10)), "the documents")
        },
    },
    Step {
        name: "conformance-memory",
        proves: "every conformance case holds on the in-memory transport",
        run: |workspace| {
            build(workspace)?;
            conformance(workspace, &["--memory"]).map(Verdict::Passed)
        },
    },
    Step {
        name: "conformance-gateway",
        proves: "every conformance case holds on a running gateway, with keys and without",
        run: |workspace| {
            build(workspace)?;
            let play = |gateway: &Gateway| conformance_on(workspace, gateway);
            let keyed = with_gateway(workspace, "conformance-keys", Access::Keys, play)?;
            let open = with_gateway(workspace, "conformance-open", Access::Open, play)?;
            Ok(Verdict::Passed(format!("with keys: {keyed}; without: {open}")))
        },
    },
    Step { name: "node", proves: "the inspector's parts, without a browser", run: node },
    Step {
        name: "browser",
        proves: "the inspector and the test page of AMIGA in headless Chromium, with screenshots; axe-core on every view",
        run: browser,
    },
    Step {
        name: "package",
        proves: "every crate that is published packs, and holds nothing that it should not",
        run: |workspace| packages::pack(workspace).map(Verdict::Passed),
    },
    Step { name: "readme", proves: "the marked commands of README.md and the guides do what they say", run: readme },
];

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Prints the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:<20} {}", step.name, step.proves);
    }
}

/// The names of the steps.
#[cfg(test)]
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs the steps, all of them or only those named, and prints a table of how each went.
///
/// The last line on standard output is `N passed, N failed`, with `, N skipped` only when a step could not apply.
/// Errors when a step failed or a name is unknown.
pub(crate) fn run(workspace: &Workspace, only: &[String]) -> Result<(), String> {
    if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("no step is called `{unknown}`; there are {}", known.join(", ")));
    }
    println!("{}\n{}", workspace.describe(), campaigns::usual_sizes());
    let mut rows = Vec::new();
    let begun = Instant::now();
    let chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    for step in STEPS.iter().filter(chosen) {
        println!("\n== {}: {}", step.name, step.proves);
        let begun = Instant::now();
        let result = (step.run)(workspace);
        let took = begun.elapsed();
        match &result {
            Ok(Verdict::Passed(note)) if note.is_empty() => {}
            Ok(Verdict::Passed(note) | Verdict::NotInstalled(note)) => println!("{note}"),
            Err(why) => println!("{}: FAILED: {why}", step.name),
        }
        rows.push(Row { name: step.name, took, result });
    }
    print!("\n{}", table(&rows, begun.elapsed()));
    let (passed, failed, skipped) = count(&rows);
    if skipped == 0 {
        println!("{passed} passed, {failed} failed");
    } else {
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
    match failed {
        0 => Ok(()),
        1 => Err("one step failed, see the table above".to_owned()),
        many => Err(format!("{many} steps failed, see the table above")),
    }
}

/// How one step went.
struct Row {
    name: &'static str,
    took: Duration,
    result: Result<Verdict, String>,
}

fn count(rows: &[Row]) -> (usize, usize, usize) {
    rows.iter().fold((0, 0, 0), |(passed, failed, skipped), row| match row.result {
        Ok(Verdict::Passed(_)) => (passed + 1, failed, skipped),
        Ok(Verdict::NotInstalled(_)) => (passed, failed, skipped + 1),
        Err(_) => (passed, failed + 1, skipped),
    })
}

fn table(rows: &[Row], total: Duration) -> String {
    let mut text = format!("{:<20} {:<13} {:>8}  remark\n", "step", "result", "time");
    for row in rows {
        let (result, remark) = match &row.result {
            Ok(Verdict::Passed(note)) => ("passed", note),
            Ok(Verdict::NotInstalled(note)) => ("not installed", note),
            Err(why) => ("FAILED", why),
        };
        let remark = remark.lines().next().unwrap_or_default();
        let line = format!("{:<20} {result:<13} {:>6.1} s  {remark}", row.name, row.took.as_secs_f64());
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(&format!("{:<34} {:>6.1} s\n", "all", total.as_secs_f64()));
    text
}

fn passed(outcome: Outcome, what: &str) -> Result<Verdict, String> {
    outcome.require(what).map(|()| Verdict::Passed(String::new()))
}

fn cargo(workspace: &Workspace, arguments: &[&str], limit: Duration) -> Result<Verdict, String> {
    let what = format!("cargo {}", arguments.join(" "));
    passed(process::run(&mut workspace.cargo(arguments), limit), &what)
}

/// Builds every binary; quick when they are fresh.
///
/// All targets of the whole workspace are named, as in the step `test`: with fewer, Cargo selects fewer features of the
/// dependencies and compiles most of them a second time.
pub(crate) fn build(workspace: &Workspace) -> Result<(), String> {
    cargo(workspace, &["build", "--workspace", "--all-targets"], minutes(45)).map(|_| ())
}

/// One command of the generator of the schemas.
fn schemas(workspace: &Workspace, command: &str) -> Result<Verdict, String> {
    build(workspace)?;
    let binary = workspace.binaries()?.join("eventwire-schemas");
    let mut generator = workspace.command(&binary.to_string_lossy());
    passed(process::run(generator.arg(command), minutes(20)), &format!("eventwire-schemas {command}"))
}

/// Plays the conformance cases and returns the count that the runner ends with.
fn conformance(workspace: &Workspace, arguments: &[&str]) -> Result<String, String> {
    let binary = workspace.binaries()?.join("eventwire-conformance");
    let mut command = workspace.command(&binary.to_string_lossy());
    command.arg("run").args(arguments);
    let (outcome, said) = capture(&mut command, minutes(10));
    print!("{said}");
    let count = said.lines().rfind(|line| line.contains(" passed, ")).map(str::to_owned);
    let what = format!("eventwire-conformance run {}", arguments.join(" "));
    match (outcome, count) {
        (Outcome::Succeeded, Some(count)) => Ok(count),
        (Outcome::Succeeded, None) => Err(format!("{what} ended without a count")),
        (outcome, count) => {
            let count = count.map(|count| format!(" ({count})")).unwrap_or_default();
            outcome.require(&what).map(|()| String::new()).map_err(|why| why + &count)
        }
    }
}

/// Plays the cases against a gateway. One without keys cannot keep the rules about them, so those are left out there.
pub(crate) fn conformance_on(workspace: &Workspace, gateway: &Gateway) -> Result<String, String> {
    let url = gateway.url();
    match gateway.access() {
        Access::Keys => conformance(workspace, &[&url]),
        Access::Open => conformance(workspace, &[&url, "--open"]),
    }
}

/// Does `work` with a gateway, stops the gateway whatever happened, and reports the first thing that went wrong.
pub(crate) fn with_gateway<T>(
    workspace: &Workspace,
    name: &str,
    access: Access,
    work: impl FnOnce(&Gateway) -> Result<T, String>,
) -> Result<T, String> {
    let gateway = Gateway::start(workspace, name, access)?;
    let done = work(&gateway);
    let stopped = gateway.stop();
    let done = done?;
    stopped.map(|()| done)
}

fn wasm(workspace: &Workspace) -> Result<Verdict, String> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let mut ask = workspace.command("rustc");
    ask.args(["--print", "target-libdir", "--target", TARGET]);
    let (outcome, libraries) = capture(&mut ask, minutes(1));
    outcome.require("rustc --print target-libdir")?;
    if !std::path::Path::new(libraries.trim()).is_dir() {
        return Ok(Verdict::NotInstalled(format!(
            "{TARGET} is not installed; purity is proven by the protocol's purity test"
        )));
    }
    cargo(workspace, &["build", "-p", "eventwire-protocol", "--target", TARGET], minutes(20))
}

fn python(workspace: &Workspace) -> Result<Verdict, String> {
    let environment = setup::python_environment(workspace)?;
    let interpreter = environment.join("bin/python");
    if !interpreter.is_file() {
        return Err("there is no Python environment; run `cargo xtask setup`".to_owned());
    }
    build(workspace)?;
    let binary = workspace.binaries()?.join("eventwire");
    let module = |arguments: &[&str]| {
        let mut command = workspace.command(&interpreter.to_string_lossy());
        command
            .args(["-B", "-m"])
            .args(arguments)
            .current_dir(workspace.root().join(setup::PYTHON_FOLDER))
            .env("EVENTWIRE_BINARY", &binary)
            .env("EVENTWIRE_WHEELS", environment.join("wheels"));
        command
    };
    for check in [["ruff", "check", "."].as_slice(), &["ruff", "format", "--check", "."], &["mypy"]] {
        process::run(&mut module(check), minutes(10)).require(&check.join(" "))?;
    }
    let (outcome, said) = capture(&mut module(&["pytest"]), minutes(30));
    println!("{}", said.trim_end());
    outcome.require("pytest")?;
    // pytest fails by itself when it finds no test.
    Ok(Verdict::Passed(said.lines().last().unwrap_or_default().to_owned()))
}

fn node(workspace: &Workspace) -> Result<Verdict, String> {
    let folder = workspace.root().join("transports/gateway/web/test");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "mjs" || extension == "js"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{} has no tests (*.mjs, *.js)", folder.display()));
    }
    let mut command = workspace.command("node");
    command.args(["--test", "--test-reporter=tap"]).args(&files);
    let (outcome, said) = capture(&mut command, minutes(5));
    if outcome != Outcome::Succeeded {
        println!("{said}");
        outcome.require("node --test")?;
    }
    match tap_count(&said, "pass") {
        None | Some(0) => Err("no test ran".to_owned()),
        Some(count) => Ok(Verdict::Passed(format!("{count} tests in {} files", files.len()))),
    }
}

/// The number that the closing lines of a TAP report give for `word`.
fn tap_count(said: &str, word: &str) -> Option<u32> {
    said.lines().rev().find_map(|line| line.strip_prefix("# ")?.strip_prefix(word)?.trim().parse().ok())
}

/// A folder whose npm packages are installed, if it needs any.
fn node_folder(workspace: &Workspace, name: &str) -> Result<PathBuf, String> {
    let folder = workspace.root().join(name);
    if folder.join("package-lock.json").is_file() && !folder.join("node_modules").is_dir() {
        return Err(format!("{name} has no node_modules; run `cargo xtask setup`"));
    }
    Ok(folder)
}

/// The tests of `@eventwire/client`, which start gateways of their own.
fn typescript(workspace: &Workspace, groups: &[&str]) -> Result<Verdict, String> {
    let folder = node_folder(workspace, "schemas/typescript")?;
    build(workspace)?;
    let binary = workspace.binaries()?.join("eventwire");
    let mut tests = 0;
    let mut remarks = Vec::new();
    for group in groups {
        let mut command = workspace.command("node");
        command
            .args(["test/run.mjs", group, "--test-reporter=tap"])
            .env("EVENTWIRE_BINARY", &binary)
            .current_dir(&folder);
        let (outcome, said) = capture(&mut command, minutes(10));
        println!("{said}");
        outcome.require(&format!("node test/run.mjs {group}"))?;
        match tap_count(&said, "pass") {
            None | Some(0) => return Err(format!("no test ran in {group}")),
            Some(count) => tests += count,
        }
        // What was measured: the size of the core, and how many switches there were.
        let measured = |line: &&str| {
            line.starts_with("# ")
                && (line.contains(" bytes gzip") || line.contains(" switches and") || line.contains(" of "))
        };
        let figures = said.lines().filter(measured).filter(|line| !line.contains("Subtest") && !line.contains("\\n"));
        remarks.extend(figures.map(|line| line.trim_start_matches("# ").to_owned()));
    }
    remarks.dedup();
    remarks.insert(0, format!("{tests} tests"));
    Ok(Verdict::Passed(remarks.join("; ")))
}

fn browser(workspace: &Workspace) -> Result<Verdict, String> {
    let folder = node_folder(workspace, "transports/gateway/web/test/browser")?;
    if !folder.join("inspector.mjs").is_file() {
        return Err(format!("{} has no inspector.mjs", folder.display()));
    }
    build(workspace)?;
    let artifacts = workspace.scratch()?.join("browser");
    std::fs::create_dir_all(&artifacts).map_err(|error| format!("{}: {error}", artifacts.display()))?;
    with_gateway(workspace, "browser", Access::Open, |gateway| {
        for script in ["inspector.mjs", "websocket-test.mjs"] {
            let mut command = workspace.command("node");
            command.arg(script).arg(gateway.url()).arg(&artifacts).current_dir(&folder);
            process::run(&mut command, minutes(10)).require(&format!("node {script}"))?;
        }
        Ok(Verdict::Passed(format!("artifacts in {}", artifacts.display())))
    })
}

fn readme(workspace: &Workspace) -> Result<Verdict, String> {
    build(workspace)?;
    let documents = markdown::documents(workspace.root())?;
    let mut ran = 0;
    for name in &documents {
        let path = workspace.root().join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        let blocks = markdown::blocks(&text).map_err(|why| format!("{name}: {why}"))?;
        if name == "README.md" && blocks.is_empty() {
            return Err("README.md has no block marked <!-- tested -->".to_owned());
        }
        // A gateway of its own for each document, so that what one text publishes is not seen by the next.
        if blocks.is_empty() {
            continue;
        }
        let log = format!("readme-{}", name.replace(['/', '.'], "-"));
        with_gateway(workspace, &log, Access::Open, |gateway| {
            for block in &blocks {
                for promise in &block.commands {
                    keep(workspace, gateway, promise)
                        .map_err(|why| format!("{name}, block at line {}: {why}", block.line))?;
                    ran += 1;
                }
            }
            Ok(())
        })?;
    }
    Ok(Verdict::Passed(format!("{ran} commands")))
}

/// Runs one documented command against the gateway under test.
fn keep(workspace: &Workspace, gateway: &Gateway, promise: &markdown::Promise) -> Result<(), String> {
    let text = gateway.place(&promise.command);
    println!("$ {text}");
    let path = std::env::var("PATH").unwrap_or_default();
    // What a reader has installed: the programs of this repository, the Python package, the npm generators.
    let installed = [
        workspace.binaries()?,
        setup::python_environment(workspace)?.join("bin"),
        workspace.root().join("schemas/tests/codegen/node_modules/.bin"),
    ];
    let installed = installed.map(|folder| folder.display().to_string()).join(":");
    let mut command = workspace.command("bash");
    command
        .args(["-euo", "pipefail", "-c", &text])
        .env("PATH", format!("{installed}:{path}"))
        .env("NODE_PATH", workspace.root().join("schemas/tests/codegen/node_modules"))
        // The text leaves the address out where it is the default.
        .env("EVENTWIRE_URL", gateway.url());
    let (outcome, said) = capture(&mut command, minutes(1));
    println!("{}", said.trim_end());
    let first = text.lines().next().unwrap_or_default();
    outcome.require(&format!("`{first}`"))?;
    let said = gateway.displace(&said);
    markdown::keeps(&promise.prints, &said).map_err(|missing| format!("`{first}` did not print: {missing}"))
}

/// `cargo xtask schemas`.
pub(crate) fn regenerate_schemas(workspace: &Workspace) -> Result<(), String> {
    schemas(workspace, "generate")?;
    // What is made from the schemas follows, each with the real generator: the types of both packages.
    setup::run(workspace)?;
    let folder = workspace.root().join("schemas/typescript");
    for script in ["generate", "build"] {
        let mut command = workspace.command("npm");
        command.args(["run", "--silent", script]).current_dir(&folder);
        process::run(&mut command, minutes(10)).require(&format!("npm run {script}"))?;
    }
    let interpreter = setup::python_environment(workspace)?.join("bin/python");
    let mut command = workspace.command(&interpreter.to_string_lossy());
    command.arg("generate.py").current_dir(workspace.root().join(setup::PYTHON_FOLDER));
    process::run(&mut command, minutes(10)).require("generate.py")
}

/// `cargo xtask snapshots`.
pub(crate) fn accept_snapshots(workspace: &Workspace) -> Result<(), String> {
    let mut command = workspace.cargo(&["test", "-p", "eventwire-protocol", "--tests"]);
    command.env("INSTA_UPDATE", "always");
    process::run(&mut command, minutes(30)).require("cargo test -p eventwire-protocol")?;
    println!("accepted; read `git diff protocol` before you commit");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, result: Result<Verdict, String>) -> Row {
        Row { name, took: Duration::from_millis(1500), result }
    }

    #[test]
    fn the_table_says_how_each_step_went_and_the_count_agrees() {
        let rows = [
            row("fmt", Ok(Verdict::Passed(String::new()))),
            row("test", Err("cargo test failed: exit status: 101".to_owned())),
            row("wasm", Ok(Verdict::NotInstalled("no target".to_owned()))),
        ];
        assert_eq!(count(&rows), (1, 1, 1));
        let text = table(&rows, Duration::from_secs(5));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("fmt") && lines[1].contains("passed"));
        assert!(lines[2].contains("FAILED") && lines[2].ends_with("exit status: 101"));
        assert!(lines[3].contains("not installed") && lines[3].ends_with("no target"));
        assert!(lines[4].starts_with("all"));
    }

    #[test]
    fn the_count_of_a_tap_report_is_its_last() {
        let said = "# pass 1\nok 1 - something\n1..79\n# tests 79\n# pass 78\n# fail 1\n";
        assert_eq!((tap_count(said, "pass"), tap_count(said, "fail")), (Some(78), Some(1)));
        assert_eq!(tap_count("", "pass"), None);
    }

    #[test]
    fn step_names_are_unique() {
        let names: std::collections::BTreeSet<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
