//! `eventwire-schemas`: generates, checks and lints the published schemas.

#![allow(clippy::print_stdout, reason = "a command-line tool reports on stdout")]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use eventwire_schemas::{Error, committed, drift, generate, lint, write};

/// Generates, checks and lints the JSON Schemas of Eventwire.
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
    /// Writes schemas/v1 and docs/reference/events.md from the catalogue.
    Generate,
    /// Tells whether the committed files are what the catalogue generates; changes nothing.
    Check,
    /// Tells whether the committed schemas keep the profile, rule by rule; changes nothing.
    Lint,
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
    let Some(workspace) = arguments.workspace.clone().or_else(workspace) else {
        return Err(Error::NoWorkspace);
    };
    match arguments.command {
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
                println!("the committed schemas are what the catalogue generates");
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

/// The checkout around the current directory.
fn workspace() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors()
        .find(|directory| directory.join("Cargo.lock").is_file() && directory.join("protocol").is_dir())
        .map(PathBuf::from)
}
