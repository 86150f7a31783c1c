//! `cargo xtask`: what a developer and continuous integration run.
//!
//! One command sets a machine up and proves the whole repository ([`suite`]), one spends an evening on the same claims
//! with larger sizes ([`long`]), the others regenerate what is generated and committed. Everything a task starts runs
//! in a process group of its own, has a time limit and is ended with this program, however this program ends
//! ([`process`]).

#![allow(clippy::print_stdout, reason = "a command-line tool reports on stdout")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::campaigns::isolation;

mod campaigns;
mod gateway;
mod long;
mod machine;
mod markdown;
mod packages;
mod process;
mod setup;
mod suite;
#[cfg(test)]
mod workflows;

/// Developer tasks of Eventwire.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Sets the machine up and runs every check; the last line counts the steps that passed and failed.
    Test {
        /// Runs only the named step; may be given several times.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Lists the steps and what each one proves, and runs nothing.
        #[arg(long)]
        list: bool,
    },
    /// Runs the randomized checks with larger sizes and writes docs/reference/long-report.md.
    Long {
        /// Random cases per property; five times as many where a case is cheap, a twentieth where it is megabytes.
        #[arg(long, default_value_t = 15_000, value_name = "N")]
        cases: u32,
        /// Random cases of isolation: one connection of some tenant and one event each.
        #[arg(long, default_value_t = isolation::LONG, value_name = "N")]
        isolation: u64,
        /// Schedules explored per concurrency model, by each of two schedulers.
        #[arg(long, default_value_t = 300_000, value_name = "N")]
        schedules: u32,
        /// Repetitions of the tests in which connections, servers and readers are cut off, killed and restarted.
        #[arg(long, default_value_t = 20, value_name = "N")]
        repeats: u32,
        /// Rounds of the conformance suite against one gateway with keys, and as many against one without.
        #[arg(long, default_value_t = 20, value_name = "N")]
        rounds: u32,
    },
    /// Checks the tools that the tests need and installs what it can.
    Setup,
    /// Regenerates schemas/v1, the generated pages of docs/reference, and the types of the TypeScript and Python packages.
    Schemas,
    /// Accepts the wire snapshots as they are now (review the diff before committing).
    Snapshots,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let workspace = match machine::Workspace::find() {
        Ok(workspace) => workspace,
        Err(why) => {
            eprintln!("xtask: {why}");
            return ExitCode::FAILURE;
        }
    };
    let done = match arguments.task {
        Task::Test { list: true, .. } => {
            suite::list();
            Ok(())
        }
        Task::Test { only, .. } => suite::run(&workspace, &only),
        Task::Long { cases, isolation, schedules, repeats, rounds } => {
            long::run(&workspace, &long::Sizes { cases, isolation, schedules, repeats, rounds })
        }
        Task::Setup => setup::run(&workspace).map(|note| println!("{note}")),
        Task::Schemas => suite::regenerate_schemas(&workspace),
        Task::Snapshots => suite::accept_snapshots(&workspace),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
