//! Where the checkout is, what machine this is, and which data the tests will use.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Outcome, capture};

/// The checkout that tasks work on.
pub(crate) struct Workspace {
    root: PathBuf,
    shared: Shared,
}

/// The recorded agent runs, which are kept outside of the repository because of their size.
enum Shared {
    /// Present at this path.
    Used(PathBuf),
    /// Looked for at this path; tests then use the samples of the repository.
    Absent(PathBuf),
}

impl Workspace {
    /// The workspace that this program was started from.
    ///
    /// Errors when neither cargo nor the current directory names one, and when `EVENTWIRE_SHARED` names a place that
    /// has no data: a wish that cannot be met is not silently dropped.
    pub(crate) fn find() -> Result<Self, String> {
        let here = env::current_dir().map_err(|error| format!("current directory: {error}"))?;
        let start = env::var_os("CARGO_MANIFEST_DIR").map_or(here, PathBuf::from);
        let root = start
            .ancestors()
            .find(|directory| directory.join("Cargo.lock").is_file() && directory.join("protocol").is_dir())
            .ok_or("no Eventwire checkout here; run `cargo xtask` inside one")?
            .to_owned();
        let shared = match env::var_os("EVENTWIRE_SHARED") {
            Some(asked) => {
                let asked = root.join(asked);
                if !asked.join("data/agents").is_dir() {
                    return Err(format!(
                        "EVENTWIRE_SHARED is {} but there is no data/agents in it; correct it, or unset it",
                        asked.display()
                    ));
                }
                Shared::Used(asked)
            }
            None => {
                let beside = root.parent().unwrap_or(&root).join("shared");
                if beside.join("data/agents").is_dir() { Shared::Used(beside) } else { Shared::Absent(beside) }
            }
        };
        Ok(Self { root, shared })
    }

    /// The top of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Which data the tests use, without its place.
    pub(crate) fn data(&self) -> &'static str {
        match self.shared {
            Shared::Used(_) => "the recorded agent runs",
            Shared::Absent(_) => "the small samples in the repository",
        }
    }

    /// Where tasks put logs and artifacts: inside the target directory, so that nothing of it is committed.
    pub(crate) fn scratch(&self) -> Result<PathBuf, String> {
        let directory = self.binaries()?.join("xtask-artifacts");
        std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(directory)
    }

    /// The directory that cargo puts binaries into: the one that this program is in.
    pub(crate) fn binaries(&self) -> Result<PathBuf, String> {
        let this = env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
        // A test of this program lies one level deeper, in `deps`.
        this.parent()
            .map(|at| if at.ends_with("deps") { at.parent().unwrap_or(at) } else { at })
            .map(Path::to_owned)
            .ok_or_else(|| "this program has no directory".to_owned())
    }

    /// A command that runs in the checkout with the data's place in its environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        // What cargo told this program about itself is wrong for the cargo that it starts, and the settings of a
        // developer's own gateway are wrong for the one under test.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "EVENTWIRE_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        if let Shared::Used(at) = &self.shared {
            command.env("EVENTWIRE_SHARED", at);
        }
        command
    }

    /// `cargo` with these arguments.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        command.args(arguments);
        command
    }

    /// What a reader of the log must know before the first result: machine, tools and data.
    pub(crate) fn describe(&self) -> String {
        let mut lines = vec![format!("machine: {}", hardware())];
        let tools: Vec<String> = ["rustc", "cargo", "node", "npm", "python3", "ruby", "chromium"]
            .iter()
            .map(|tool| self.version_of(tool))
            .collect();
        lines.push(format!("tools: {}", tools.join("; ")));
        lines.push(match &self.shared {
            Shared::Used(at) => format!("shared data: used, from {}", at.display()),
            Shared::Absent(at) => format!(
                "shared data: absent at {} (set EVENTWIRE_SHARED to name another place); tests use the small samples \
                 in the repository instead of the recorded runs, and the client code out of the older systems' descriptions \
                 is left out",
                at.display()
            ),
        });
        lines.join("\n")
    }

    fn version_of(&self, tool: &str) -> String {
        let (outcome, said) = capture(self.command(tool).arg("--version"), Duration::from_secs(30));
        match outcome {
            Outcome::Succeeded => {
                let line = said.lines().next().unwrap_or_default().trim().to_owned();
                if line.starts_with(tool) { line } else { format!("{tool} {line}") }
            }
            _ => format!("{tool}: none"),
        }
    }
}

/// System, cores and memory.
pub(crate) fn hardware() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
        })
        .map_or("unknown memory".to_owned(), |kib| format!("{} MiB memory", kib / 1024));
    format!("{} {}, {cores} cores, {memory}", env::consts::OS, env::consts::ARCH)
}
