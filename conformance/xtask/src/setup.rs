//! What the tests need beside Rust, and how it gets onto the machine.

use std::path::PathBuf;
use std::time::Duration;

use crate::machine::Workspace;
use crate::process::{self, Outcome, capture};

/// A program that the tests call.
struct Tool {
    /// The program.
    program: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// What is tested with it.
    why: &'static str,
    /// Arguments with which it succeeds when it is there as it is needed.
    probe: &'static [&'static str],
}

const VERSION: &[&str] = &["--version"];

const TOOLS: &[Tool] = &[
    Tool {
        program: "node",
        package: "nodejs",
        why: "unit tests of the inspector and of generated types, back ends in JavaScript",
        probe: VERSION,
    },
    Tool { program: "npm", package: "npm", why: "packages of the browser test and of the generators", probe: VERSION },
    Tool { program: "chromium", package: "chromium", why: "the inspector in a browser", probe: VERSION },
    Tool {
        program: "python3",
        package: "python3",
        why: "the independent count of agent events, back ends in Python",
        probe: VERSION,
    },
    Tool {
        program: "python3",
        package: "python3-venv",
        why: "the Python package in an environment of its own",
        // Debian's python3 has the one without the other.
        probe: &["-c", "import ensurepip, venv"],
    },
    Tool { program: "ruby", package: "ruby", why: "back ends in Ruby", probe: VERSION },
    Tool { program: "nginx", package: "nginx", why: "the gateway behind a real proxy", probe: &["-v"] },
    Tool { program: "curl", package: "curl", why: "the commands in the README", probe: VERSION },
];

/// The oldest Node.js with the test runner that the unit tests use.
const NODE_MAJOR: u32 = 18;

/// Folders with a package-lock.json whose packages tests need.
pub(crate) const NODE_FOLDERS: &[&str] = &[
    "transports/gateway/web/test/browser",
    "schemas/tests/codegen",
    "schemas/tests/documents",
    "schemas/typescript",
    "conformance/seeds",
    "conformance/clients",
];

/// Checks every tool, installs the missing ones when it can, and installs the locked npm packages.
///
/// Returns one line that says what was done. Errors name what to install.
pub(crate) fn run(workspace: &Workspace) -> Result<String, String> {
    let mut done = Vec::new();
    for component in ["fmt", "clippy"] {
        let (outcome, _) = capture(&mut workspace.cargo(&[component, "--version"]), Duration::from_secs(60));
        let name = if component == "fmt" { "rustfmt" } else { component };
        outcome
            .require(&format!("cargo {component}"))
            .map_err(|why| format!("{why}; install it with `rustup component add {name}`"))?;
    }
    let missing = missing_tools(workspace);
    if !missing.is_empty() {
        install(workspace, &missing)?;
        let names: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
        done.push(format!("installed {}", names.join(" ")));
    }
    require_node(workspace)?;
    for folder in NODE_FOLDERS {
        if workspace.root().join(folder).join("package.json").is_file() {
            install_node_packages(workspace, folder)?;
            done.push(format!("npm ci in {folder}"));
        }
    }
    if install_python_packages(workspace)? {
        done.push(format!("pip install in {PYTHON_FOLDER}"));
    }
    if done.is_empty() {
        done.push("everything was there".to_owned());
    }
    Ok(done.join("; "))
}

fn missing_tools(workspace: &Workspace) -> Vec<&'static Tool> {
    TOOLS
        .iter()
        .filter(|tool| {
            let mut probe = workspace.command(tool.program);
            // Debian keeps servers where the path of a user does not look.
            let path = std::env::var("PATH").unwrap_or_default();
            probe.args(tool.probe).env("PATH", format!("{path}:/usr/sbin:/sbin"));
            let (outcome, _) = capture(&mut probe, Duration::from_secs(60));
            outcome != Outcome::Succeeded
        })
        .collect()
}

fn install(workspace: &Workspace, missing: &[&'static Tool]) -> Result<(), String> {
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let ask = || {
        let wanted: Vec<String> = missing.iter().map(|tool| format!("{} (for {})", tool.program, tool.why)).collect();
        format!(
            "missing: {}; install with `sudo apt-get install {}` and run again",
            wanted.join(", "),
            packages.join(" ")
        )
    };
    let (_, user) = capture(workspace.command("id").arg("-u"), Duration::from_secs(30));
    if user.trim() != "0" {
        return Err(ask());
    }
    let mut update = workspace.command("apt-get");
    update.args(["-q", "update"]).env("DEBIAN_FRONTEND", "noninteractive");
    done_or_ask(run_quietly(&mut update, Duration::from_secs(600)), &ask)?;
    let mut install = workspace.command("apt-get");
    install
        .args(["-q", "-y", "--no-install-recommends", "install"])
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Servers are called by tests; none is to be started because it was installed.
        .env("RUNLEVEL", "1");
    done_or_ask(run_quietly(&mut install, Duration::from_secs(1200)), &ask)?;
    let still = missing_tools(workspace);
    if still.is_empty() { Ok(()) } else { Err(ask()) }
}

fn done_or_ask(outcome: Outcome, ask: &dyn Fn() -> String) -> Result<(), String> {
    outcome.require("apt-get").map_err(|why| format!("{why}; {}", ask()))
}

fn run_quietly(command: &mut std::process::Command, limit: Duration) -> Outcome {
    let (outcome, said) = capture(command, limit);
    if outcome != Outcome::Succeeded {
        println!("{said}");
    }
    outcome
}

fn require_node(workspace: &Workspace) -> Result<(), String> {
    let (_, said) = capture(workspace.command("node").arg("--version"), Duration::from_secs(60));
    let major = said.trim().trim_start_matches('v').split('.').next().and_then(|number| number.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE_MAJOR => Ok(()),
        _ => Err(format!("node is {}, the tests need {NODE_MAJOR} or newer; install a newer nodejs", said.trim())),
    }
}

/// The folder of the Python package, with the requirements.txt of its tests.
pub(crate) const PYTHON_FOLDER: &str = "schemas/python";

/// The environment in which the Python package is tested, below the target directory.
pub(crate) fn python_environment(workspace: &Workspace) -> Result<PathBuf, String> {
    let binaries = workspace.binaries()?;
    Ok(binaries.parent().unwrap_or(&binaries).join("python"))
}

/// Makes the environment anew when the requirements or the interpreter are not those it was made from. Whether it was.
fn install_python_packages(workspace: &Workspace) -> Result<bool, String> {
    let folder = workspace.root().join(PYTHON_FOLDER);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let (_, interpreter) = capture(workspace.command("python3").arg("--version"), Duration::from_secs(60));
    let wanted = format!("{interpreter}{}{}", read("requirements.txt")?, read("pyproject.toml")?);
    let environment = python_environment(workspace)?;
    let stamp = environment.join("made-from.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(false);
    }
    let mut make = workspace.command("python3");
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    process::run(&mut make, Duration::from_secs(300)).require("python3 -m venv")?;
    let pip = |arguments: &[&str], what: &str| {
        let mut command = workspace.command(&environment.join("bin/python").to_string_lossy());
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(arguments).current_dir(&folder);
        process::run(&mut command, Duration::from_secs(900)).require(what)
    };
    pip(&["install", "--requirement", "requirements.txt"], "pip install -r requirements.txt")?;
    // What the clean environment of the wheel's test is made from, so that the test needs no network.
    let wheels = environment.join("wheels").to_string_lossy().into_owned();
    let offline = ["download", "--requirement", "requirements.txt", "--dest", &wheels, "--only-binary", ":all:"];
    pip(&offline, "pip download -r requirements.txt")?;
    // As it is in the checkout: the guides import it.
    pip(&["install", "--no-deps", "--no-build-isolation", "--editable", "."], "pip install -e schemas/python")?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(true)
}

fn install_node_packages(workspace: &Workspace, folder: &str) -> Result<(), String> {
    let mut command = workspace.command("npm");
    command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(workspace.root().join(folder));
    process::run(&mut command, Duration::from_secs(600)).require(&format!("npm ci in {folder}"))
}
