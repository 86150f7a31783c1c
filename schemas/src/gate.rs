//! The compatibility gate: what is released stays compatible, or says loudly that it does not.
//!
//! `schemas/released.json` holds the schemas of the last release without their texts. The committed schemas are compared
//! with it. Whatever changes needs a higher version; whatever breaks needs a version that permits it, and one line in the
//! changelog's entry for that version, in a form that a program reads: `breaking: FILE#POINTER: KIND`, as `diff` prints
//! it. An announcement of something that did not change is stale and fails, too.

use std::fs;
use std::path::Path;

use semver::Version;

use crate::diff::{Change, Report, Severity, diff};
use crate::snapshot::{RELEASED, Snapshot};
use crate::{CHANGELOG, DIRECTORY, Error, committed, drift, generate};

/// What the gate found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgment {
    /// The changes since the last release.
    pub report: Report,
    /// The version that was released last.
    pub released: String,
    /// The version of what is committed.
    pub version: String,
    /// What is wrong and what to do, one line each; empty when the gate is open.
    pub problems: Vec<String>,
}

/// The newest entry of a changelog.
struct Entry<'a> {
    version: &'a str,
    is_released: bool,
    lines: Vec<&'a str>,
}

/// Behind the version of an entry that is not released yet.
const UNRELEASED: &str = " (unreleased)";

fn newest(changelog: &str) -> Option<Entry<'_>> {
    let mut lines = changelog.lines().skip_while(|line| !line.starts_with("## "));
    let heading = lines.next()?.trim_start_matches("## ").trim();
    let version = heading.strip_suffix(UNRELEASED).unwrap_or(heading);
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).map(str::trim).collect();
    Some(Entry { version, is_released: version == heading, lines })
}

impl<'a> Entry<'a> {
    /// The lines that announce, without the list's bullet.
    fn announcements(&self) -> impl Iterator<Item = &'a str> {
        let line = |line: &&'a str| line.trim_start_matches("- ").trim().trim_matches('`');
        self.lines.iter().map(line).filter(|line| line.starts_with("breaking:"))
    }

    fn says_something(&self) -> bool {
        self.lines.iter().any(|line| !line.is_empty())
    }
}

/// Judges a tree against a release.
///
/// # Errors
/// [`Error::NotComparable`] when one of them has no version, or the two cannot be compared.
pub fn judge(released: &Snapshot, tree: &Snapshot, changelog: &str) -> Result<Judgment, Error> {
    let report = diff(released, tree)?;
    let version_of = |snapshot: &Snapshot| -> Result<Version, Error> {
        let text = snapshot.version().unwrap_or_default();
        Version::parse(text)
            .map_err(|error| Error::NotComparable(format!("{}: the version `{text}`: {error}", snapshot.origin)))
    };
    let (before, now) = (version_of(released)?, version_of(tree)?);
    let mut problems = Vec::new();
    match report.severity() {
        None if now < before => problems.push(format!("the version is {now}, and {before} is released already")),
        None => {}
        Some(severity) => problems.extend(version_problem(&before, &now, severity)),
    }
    let entry = newest(changelog);
    match &entry {
        None => problems.push(format!("{CHANGELOG} has no entry; begin one with `## {now}{UNRELEASED}`")),
        Some(entry) if entry.version != now.to_string() => {
            problems.push(format!("the newest entry of {CHANGELOG} is for {}, the schemas are {now}", entry.version));
        }
        Some(entry) if entry.is_released && now != before => problems.push(format!(
            "the newest entry of {CHANGELOG} reads as released; until `release` it is `## {now}{UNRELEASED}`"
        )),
        Some(_) => {}
    }
    let announced: Vec<&str> = entry.iter().filter(|entry| !entry.is_released).flat_map(Entry::announcements).collect();
    let breaking: Vec<&Change> = report.changes.iter().filter(|it| it.severity == Severity::Major).collect();
    for change in &breaking {
        if !announced.iter().any(|line| change.is_announced_by(line)) {
            problems.push(format!(
                "not announced: {} ({}); take it back, or add to {CHANGELOG}: {}",
                change.name,
                change.detail,
                change.announcement()
            ));
        }
    }
    for line in announced {
        if !breaking.iter().any(|change| change.is_announced_by(line)) {
            problems.push(format!("announced, but it did not happen: {line}"));
        }
    }
    Ok(Judgment { report, released: before.to_string(), version: now.to_string(), problems })
}

/// What a change of some severity asks of the version. Before 1.0 the second number is the one that tells of breakage.
fn version_problem(before: &Version, now: &Version, severity: Severity) -> Option<String> {
    if now <= before {
        return Some(format!("the schemas changed since {before}; the version is {now} and must be higher"));
    }
    if severity < Severity::Major {
        return None;
    }
    if before.major == 0 {
        let permits = now.major > 0 || now.minor > before.minor;
        let least = Version::new(0, before.minor + 1, 0);
        return (!permits).then(|| format!("a breaking change since {before} needs {least}, not {now}"));
    }
    Some(format!("{before} is stable: a breaking change is a new protocol version beside this one, not {now}"))
}

/// Judges what is committed below `workspace` against the last release.
///
/// # Errors
/// [`Error::NotComparable`] when there is no baseline or it cannot be read, [`Error::File`] for other files.
pub fn judge_workspace(workspace: &Path) -> Result<Judgment, Error> {
    let path = workspace.join(RELEASED);
    if !path.is_file() {
        let what = format!("there is no {RELEASED}; `eventwire-schemas release` writes the first one");
        return Err(Error::NotComparable(what));
    }
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let released = Snapshot::of_baseline(RELEASED, &text)?;
    let tree = committed(workspace)?;
    let changelog = tree.get(CHANGELOG).cloned().unwrap_or_default();
    judge(&released, &Snapshot::of_tree(DIRECTORY, &tree)?, &changelog)
}

/// Makes what is committed the release that later changes are judged by: writes the baseline and marks the changelog's
/// entry as released. Answers with the version.
///
/// # Errors
/// [`Error::NotReleasable`] when the files are not what the catalog generates, the version is released already, the
/// changelog has no entry for it, or the gate is closed.
pub fn release(workspace: &Path) -> Result<String, Error> {
    let drift = drift(&generate()?, workspace)?;
    if !drift.is_empty() {
        let what = format!("{} files are not what the catalog generates; run `cargo xtask schemas`", drift.len());
        return Err(Error::NotReleasable(what));
    }
    release_tree(workspace)
}

/// [`release`] without asking the catalog.
///
/// # Errors
/// As [`release`].
pub fn release_tree(workspace: &Path) -> Result<String, Error> {
    let tree = committed(workspace)?;
    let snapshot = Snapshot::of_tree(DIRECTORY, &tree)?;
    let changelog = tree.get(CHANGELOG).cloned().unwrap_or_default();
    let version = snapshot.version().unwrap_or_default().to_owned();
    let mut problems = Vec::new();
    if workspace.join(RELEASED).exists() {
        let judgment = judge_workspace(workspace)?;
        if judgment.released == version {
            problems.push(format!("{version} is released already; raise VERSION in schemas/src/lib.rs"));
        }
        problems.extend(judgment.problems);
    }
    match newest(&changelog) {
        Some(entry) if entry.version == version && !entry.is_released && entry.says_something() => {}
        Some(entry) if entry.version == version && !entry.is_released => {
            problems.push(format!("the entry for {version} in {CHANGELOG} says nothing"));
        }
        _ => problems.push(format!("{CHANGELOG} does not begin with an entry `## {version}{UNRELEASED}`")),
    }
    if !problems.is_empty() {
        return Err(Error::NotReleasable(problems.join("\n")));
    }
    let path = workspace.join(RELEASED);
    fs::write(&path, snapshot.baseline()?).map_err(Error::file(&path))?;
    let path = workspace.join(DIRECTORY).join(CHANGELOG);
    let marked = changelog.replacen(&format!("## {version}{UNRELEASED}"), &format!("## {version}"), 1);
    fs::write(&path, marked).map_err(Error::file(&path))?;
    Ok(version)
}
