//! `eventwire-schemas`: generates, checks, lints, compares and releases the published schemas.

#![allow(clippy::print_stdout, reason = "a command-line tool reports on stdout")]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use eventwire_schemas::diff::{Report, Severity, diff};
use eventwire_schemas::snapshot::{RELEASED, Snapshot};
use eventwire_schemas::{Error, committed, drift, gate, generate, lint, write};

/// Generates, checks, lints, compares and releases the JSON Schemas of Eventwire.
#[derive(Parser)]
#[command(name = "eventwire-schemas", version)]
struct Arguments {
    /// The checkout to work on; by default the one around the current directory.
    #[arg(long, global = true, value_name = "DIR")]
    workspace: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes schemas/v1 and the generated pages of docs/reference from the catalog.
    Generate,
    /// Tells whether the committed files are what the catalog generates; changes nothing.
    Check,
    /// Tells whether the committed schemas keep the profile, rule by rule; changes nothing.
    Lint,
    /// Tells what changed between two published trees, and whom it breaks; needs no checkout.
    ///
    /// OLD and NEW are each a directory with schemas, `git:REV` (schemas/v1 as it was at a revision; `git:REV:PATH` for
    /// another path), or a released.json. Ends with 0 when nothing breaks, 1 when something does, 2 when the two cannot
    /// be compared.
    Diff {
        /// The tree that is in use.
        old: String,
        /// The tree that would take its place.
        new: String,
        /// For programs: one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Tells whether the committed schemas may follow the released ones: breaking changes are announced in the changelog
    /// and the version permits them; changes nothing.
    Compatibility,
    /// Makes the committed schemas the released ones that later changes are judged by.
    Release,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("eventwire-schemas: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is well.
fn run(arguments: &Arguments) -> Result<bool, Error> {
    if let Command::Diff { old, new, json } = &arguments.command {
        return compare(old, new, *json);
    }
    let Some(workspace) = arguments.workspace.clone().or_else(workspace) else {
        return Err(Error::NoWorkspace);
    };
    match &arguments.command {
        Command::Diff { .. } => Ok(true),
        Command::Compatibility => {
            let judgment = gate::judge_workspace(&workspace)?;
            print_changes(&judgment.report);
            judgment.problems.iter().for_each(|problem| println!("{problem}"));
            let (released, version) = (&judgment.released, &judgment.version);
            let changes = judgment.report.changes.len();
            match judgment.problems.len() {
                0 => println!("{version} may follow {released}: {changes} changes, all permitted"),
                problems => println!("{version} may not follow {released}: {changes} changes, {problems} problems"),
            }
            Ok(judgment.problems.is_empty())
        }
        Command::Release => {
            let version = gate::release(&workspace)?;
            println!("{version} is released; {RELEASED} holds it, commit it with the changelog");
            Ok(true)
        }
        Command::Generate => {
            let changes = write(&generate()?, &workspace)?;
            changes.written.iter().for_each(|path| println!("wrote {path}"));
            changes.removed.iter().for_each(|path| println!("removed {path}"));
            println!("{} written, {} removed", changes.written.len(), changes.removed.len());
            Ok(true)
        }
        Command::Check => {
            let differences = drift(&generate()?, &workspace)?;
            differences.iter().for_each(|difference| println!("{difference}"));
            if differences.is_empty() {
                println!("the committed schemas are what the catalog generates");
            } else {
                println!("{} files differ; run `cargo xtask schemas` and review the change", differences.len());
            }
            Ok(differences.is_empty())
        }
        Command::Lint => {
            let findings = lint::lint(&committed(&workspace)?);
            findings.iter().for_each(|finding| println!("{finding}"));
            println!("{} findings", findings.len());
            Ok(findings.is_empty())
        }
    }
}

/// Prints what changed; whether nothing breaks.
fn compare(old: &str, new: &str, json: bool) -> Result<bool, Error> {
    let here = env::current_dir().unwrap_or_default();
    let report = diff(&Snapshot::read(old, &here)?, &Snapshot::read(new, &here)?)?;
    if json {
        println!("{:#}", report.to_json());
        return Ok(!report.is_breaking());
    }
    print_changes(&report);
    let count = |severity| report.changes.iter().filter(|change| change.severity == severity).count();
    let (major, minor, patch) = (count(Severity::Major), count(Severity::Minor), count(Severity::Patch));
    let verdict = if report.is_breaking() { "breaking" } else { "compatible" };
    println!("{verdict}: {major} major, {minor} minor, {patch} patch");
    Ok(!report.is_breaking())
}

/// Files with other texts only are many as a rule, so they are counted.
fn print_changes(report: &Report) {
    let (texts, rest): (Vec<_>, Vec<_>) = report.changes.iter().partition(|it| it.severity == Severity::Patch);
    rest.iter().for_each(|change| println!("{change}"));
    match texts.as_slice() {
        [] => {}
        [only] => println!("{only}"),
        [first, ..] => println!("patch texts of {} files, {} the first; --json names all", texts.len(), first.file),
    }
}

/// The checkout around the current directory.
fn workspace() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors()
        .find(|directory| directory.join("Cargo.lock").is_file() && directory.join("protocol").is_dir())
        .map(PathBuf::from)
}
