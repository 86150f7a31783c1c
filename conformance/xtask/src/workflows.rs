//! Compares `.github` with the table of steps, the manifests and the npm folders. A step that no workflow names would never run.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{setup, suite};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The values of a key, without comment lines.
fn values<'a>(file: &'a str, key: &str) -> Vec<&'a str> {
    let lines = file.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim).collect()
}

/// Faults of the matrix: each step belongs to one shard, `setup` to all that need it.
fn faults(workflow: &str, steps: &[&str]) -> Vec<String> {
    let mut shards: BTreeMap<&str, usize> = BTreeMap::new();
    for checks in values(workflow, "checks") {
        for check in checks.split_whitespace() {
            *shards.entry(check).or_default() += 1;
        }
    }
    let unknown =
        shards.keys().filter(|check| !steps.contains(*check)).map(|check| format!("no step is called {check}"));
    let counted = steps.iter().filter_map(|step| match shards.get(step).copied().unwrap_or_default() {
        0 => Some(format!("no shard runs {step}")),
        1 => None,
        _ if *step == "setup" => None,
        count => Some(format!("{count} shards run {step}")),
    });
    unknown.chain(counted).collect()
}

#[test]
fn each_step_is_run_by_one_shard_of_continuous_integration() {
    let workflow = read(".github/workflows/ci.yml");
    assert_eq!(faults(&workflow, &suite::names()), Vec::<String>::new());
    // The matrix reaches the command.
    assert!(workflow.contains("CHECKS: ${{ matrix.checks }}"));
    assert!(workflow.contains(r#"for check in $CHECKS; do set -- "$@" --only "$check"; done"#));
    assert!(workflow.contains(r#"cargo xtask test "$@""#));
}

#[test]
fn a_step_without_a_shard_and_a_shard_without_a_step_are_found() {
    let workflow =
        "matrix:\n  include:\n    - shard: a\n      checks: setup fmt\n    - shard: b\n      checks: setup doc doc\n";
    assert_eq!(faults(workflow, &["setup", "fmt"]), ["no step is called doc"]);
    assert_eq!(faults(workflow, &["setup", "fmt", "doc", "test"]), ["2 shards run doc", "no shard runs test"]);
}

#[test]
fn each_stated_rust_version_has_a_job() {
    let workflow = read(".github/workflows/ci.yml");
    let listed = values(&workflow, "toolchain").into_iter().find(|value| value.starts_with('[')).unwrap();
    let listed: BTreeSet<&str> = listed.split('"').skip(1).step_by(2).collect();
    let workspace = read("Cargo.toml");
    let members = workspace.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let stated: BTreeSet<String> = members
        .split('"')
        .skip(1)
        .step_by(2)
        .map(|member| {
            let manifest = read(&format!("{member}/Cargo.toml"));
            let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
            version.unwrap_or_else(|| panic!("{member} states no rust-version")).trim_matches('"').to_owned()
        })
        .collect();
    assert_eq!(stated.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn dependabot_looks_at_every_npm_folder() {
    let file = read(".github/dependabot.yml");
    let listed: BTreeSet<&str> = file.lines().filter_map(|line| line.trim().strip_prefix("- /")).collect();
    assert_eq!(listed, setup::NODE_FOLDERS.iter().copied().collect());
    assert!(values(&file, "directory").contains(&format!("/{}", setup::PYTHON_FOLDER).as_str()));
}

#[test]
fn nothing_is_published_without_being_asked_for() {
    let workflow = read(".github/workflows/release.yml");
    let jobs = workflow.split("\njobs:\n").nth(1).unwrap();
    let mut publishing = 0;
    // A job begins at two spaces.
    for job in jobs.split("\n\n") {
        let is_dry = |line: &&str| line.contains("--dry-run");
        let publishes = |line: &&str| {
            ["cargo publish", "npm publish", "twine upload", "gh-action-pypi-publish"]
                .iter()
                .any(|it| line.contains(it))
        };
        if job.lines().filter(publishes).any(|line| !is_dry(&line)) {
            assert!(job.contains("\n    if: inputs.publish\n"), "{job}");
            publishing += 1;
        }
    }
    assert_eq!(publishing, 3);
    assert!(workflow.contains("default: false"));
}
