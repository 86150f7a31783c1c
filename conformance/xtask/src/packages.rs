//! The crates as they are published: that each packs, what is in it, and that it builds from what is in it.

use std::time::{Duration, SystemTime};

use crate::machine::Workspace;
use crate::process::{Outcome, capture};

/// What never belongs into a package: folders at its top.
const FOREIGN_AT_TOP: &[&str] = &["target", "artifacts", "tests"];
/// And names anywhere in it.
const FOREIGN: &[&str] = &["node_modules", "shared", "dist-info", "__pycache__", ".git", "seeds"];

/// What every package has.
const NEEDED: &[&str] = &["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Largest package, packed, in bytes. The largest one today is that of the schemas, with a quarter of a MiB.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// Packs every crate and looks at what is in it. Nothing is compiled.
pub(crate) fn pack(workspace: &Workspace) -> Result<String, String> {
    let said = cargo_package(workspace, &["--no-verify"], Duration::from_secs(600))?;
    let names = packed(&said);
    if names.is_empty() {
        return Err("cargo package packed no crate".to_owned());
    }
    let mut wrong = Vec::new();
    let mut largest = (0, "");
    for name in &names {
        let path = workspace.root().join(format!("target/package/{name}.crate"));
        let bytes = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        if bytes > MOST_BYTES {
            wrong.push(format!("{name} has {bytes} bytes packed, more than {MOST_BYTES}"));
        }
        largest = largest.max((bytes, name));
        let mut list = workspace.command("tar");
        list.arg("-tzf").arg(&path);
        let (outcome, files) = capture(&mut list, Duration::from_secs(60));
        outcome.require(&format!("tar -tzf {}", path.display()))?;
        wrong.extend(faults(name, &files));
    }
    match wrong.is_empty() {
        true => Ok(format!("{} crates, the largest {} with {} KiB", names.len(), largest.1, largest.0 / 1024)),
        false => Err(wrong.join("; ")),
    }
}

/// Packs every crate and builds it from its package.
///
/// Cargo keeps what it unpacked by the place of the packages and their versions, and does not look again: of a version that
/// it has seen in the same place it builds what was in it then. So each run has a place of its own.
pub(crate) fn build(workspace: &Workspace, limit: Duration) -> Result<String, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let place = workspace.root().join(format!("target/verified-{}", now.as_nanos()));
    let done = cargo_package(workspace, &["--target-dir", &place.to_string_lossy()], limit);
    let removed = std::fs::remove_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()));
    let said = done?;
    removed?;
    let count = said.lines().filter(|line| line.trim_start().starts_with("Verifying ")).count();
    match count {
        0 => Err("cargo package verified no crate".to_owned()),
        count => Ok(format!("{count} crates")),
    }
}

/// `cargo package` of everything that is published. What is not committed yet is packed as it is.
fn cargo_package(workspace: &Workspace, arguments: &[&str], limit: Duration) -> Result<String, String> {
    let mut command = workspace.cargo(&["package", "--workspace", "--exclude", "xtask", "--allow-dirty"]);
    command.args(arguments);
    let (outcome, said) = capture(&mut command, limit);
    if outcome != Outcome::Succeeded {
        println!("{said}");
        outcome.require("cargo package --workspace")?;
    }
    Ok(said)
}

/// The crates that cargo says it packed, as `name-version`.
fn packed(said: &str) -> Vec<String> {
    let named = |line: &str| {
        let mut words = line.trim_start().strip_prefix("Packaging ")?.split(' ');
        Some(format!("{}-{}", words.next()?, words.next()?.strip_prefix('v')?))
    };
    said.lines().filter_map(named).collect()
}

/// What is wrong with the files of a crate, which are all below one folder of its name.
fn faults(name: &str, files: &str) -> Vec<String> {
    let files: Vec<&str> = files.lines().filter_map(|file| file.strip_prefix(name)?.strip_prefix('/')).collect();
    let missing = NEEDED.iter().filter(|needed| !files.contains(needed)).map(|needed| format!("{name} lacks {needed}"));
    let foreign = files
        .iter()
        .filter(|file| {
            let at_top = file.split('/').next().is_some_and(|part| FOREIGN_AT_TOP.contains(&part));
            at_top || file.split('/').any(|part| FOREIGN.contains(&part))
        })
        .map(|file| format!("{name} holds {file}"));
    missing.chain(foreign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_are_those_that_cargo_packed() {
        let said = "   Packaging eventwire-hub v0.1.0 (/somewhere/transports/hub)\n    Packaged 3 files\n\
                    warning: x\n   Packaging other v1.2.3 (/x)\n";
        assert_eq!(packed(said), ["eventwire-hub-0.1.0", "other-1.2.3"]);
    }

    #[test]
    fn what_is_missing_and_what_does_not_belong_there_is_named() {
        let good = "a-1/Cargo.toml\na-1/README.md\na-1/LICENSE-MIT\na-1/LICENSE-APACHE\na-1/src/lib.rs\n";
        assert_eq!(faults("a-1", good), Vec::<String>::new());
        assert_eq!(faults("a-1", &format!("{good}a-1/src/target/mod.rs\n")), Vec::<String>::new());
        assert_eq!(faults("a-1", &format!("{good}a-1/target/x\n")), ["a-1 holds target/x"]);
        assert_eq!(faults("a-1", &format!("{good}a-1/web/node_modules/x.js\n")), ["a-1 holds web/node_modules/x.js"]);
        assert_eq!(faults("a-1", &good.replace("a-1/README.md\n", "")), ["a-1 lacks README.md"]);
    }
}
