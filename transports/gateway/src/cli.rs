//! The command line: what can be asked, and how the answer ends.
//!
//! Exit codes, the same for every command: 0 done (or stopped on request), 1 it failed, 2 the command line or the configuration is
//! wrong. A failure is one line on standard error.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::command::{api_key, explain, publish, tail, token};
use crate::config::{self, ENV_PREFIX, Layer};

/// Real-time events from back ends to the people watching them.
///
/// Without a command the gateway is served; `eventwire serve --help` lists its settings.
#[derive(Debug, Parser)]
#[command(name = "eventwire", version, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong command line or configuration.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the gateway (this is what happens without a command)
    Serve(Box<ServeArgs>),
    /// Publish one event, or many as JSON lines from standard input
    Publish(publish::PublishArgs),
    /// Watch events as they come
    Tail(tail::TailArgs),
    /// Ask who would receive an event now, and why
    Explain(explain::ExplainArgs),
    /// Make an API key and the entry for the api_keys_file
    ApiKey(api_key::ApiKeyArgs),
    /// Make a short-lived token (JWT) for trying things, with a key of your own
    Token(token::TokenArgs),
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each setting can also be written in the TOML file (listen = \"..\") or the environment (EVENTWIRE_LISTEN=..).\n\
                        Flags win over the environment, the environment over the file."
)]
pub struct ServeArgs {
    /// TOML file with settings; ./eventwire.toml is read when it is there and no other is named [env: EVENTWIRE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings themselves.
    #[command(flatten)]
    pub settings: Layer,
}

/// Why a command ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was asked for wrongly; the person who typed it can mend it. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It was asked for rightly and did not work. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Whoever read the output has gone, such as `head`; nothing is left to say. Exit code 0.
    #[error("nobody reads the output")]
    Unread,
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Unread => ExitCode::SUCCESS,
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl From<config::ConfigError> for Failure {
    fn from(error: config::ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Runs the command that the arguments name (the program's name first) and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(with_default_command(arguments.into_iter().collect())) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            return report(&Failure::Usage(config::one_line(&error.to_string())));
        }
        // Help and version: what was asked for, on standard output.
        Err(error) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let ended = match Cli::from_arg_matches(&matches) {
        Ok(cli) => dispatch(cli.command),
        Err(error) => Err(Failure::Usage(config::one_line(&error.to_string()))),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => report(&failure),
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(flags) => crate::serve::run(*flags),
        Command::Publish(flags) => in_runtime(publish::run(flags)),
        Command::Tail(flags) => in_runtime(tail::run(flags)),
        Command::Explain(flags) => in_runtime(explain::run(flags)),
        Command::ApiKey(flags) => api_key::run(&flags),
        Command::Token(flags) => token::run(&flags),
    }
}

fn in_runtime(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

fn report(failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::Unread) {
        let _ = writeln!(std::io::stderr(), "eventwire: {failure}");
    }
    failure.exit_code()
}

/// The command line with what a person wants to see in its help: the default and the variable of each setting.
#[must_use]
pub fn command() -> clap::Command {
    let described = config::describe();
    Cli::command().mut_subcommand("serve", |serve| {
        described.iter().fold(serve, |serve, setting| {
            let default = setting.default.as_deref().filter(|default| !matches!(*default, "[]" | "false"));
            let default =
                default.map(|default| format!("[default: {}] ", default.trim_matches('"'))).unwrap_or_default();
            let variable = setting.key.to_ascii_uppercase();
            serve.mut_arg(&setting.key, |argument| {
                argument.help(format!("{} {default}[env: {ENV_PREFIX}{variable}]", setting.help))
            })
        })
    })
}

/// `eventwire` and `eventwire --listen 4801` mean `eventwire serve ..`.
fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let asks_for_itself = |first: &OsString| {
        let first = first.to_string_lossy();
        !first.starts_with('-') || matches!(&*first, "-h" | "--help" | "-V" | "--version")
    };
    if !arguments.get(1).is_some_and(asks_for_itself) {
        arguments.insert(1.min(arguments.len()), OsString::from("serve"));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let arguments = std::iter::once("eventwire").chain(line.split_whitespace()).map(OsString::from);
        let matches = command().try_get_matches_from(with_default_command(arguments.collect()));
        let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
        cli.map(|cli| cli.command).map_err(|error| config::one_line(&error.to_string()))
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_command_means_serve() {
        for line in ["", "--listen 0", "serve", "serve --from-start --agents x"] {
            assert!(matches!(parse(line), Ok(Command::Serve(_))), "{line:?}: {:?}", parse(line));
        }
    }

    #[test]
    fn a_misspelt_command_or_flag_is_told_in_one_line_with_the_nearest_one() {
        for (line, expected) in [("tial", "tail"), ("serve --agent x", "--agents"), ("--listn 0", "--listen")] {
            let told = parse(line).unwrap_err();
            assert!(told.contains(expected) && !told.contains('\n') && !told.contains("Usage"), "{line:?}: {told}");
        }
    }

    #[test]
    fn a_switch_can_be_turned_off_again() {
        let switch = |line| match parse(line) {
            Ok(Command::Serve(flags)) => flags.settings.from_start,
            other => panic!("{other:?}"),
        };
        assert_eq!(switch("--from-start"), Some(true));
        assert_eq!(switch("--from-start=false"), Some(false));
        assert_eq!(switch(""), None);
    }

    #[test]
    fn serve_help_names_every_setting_with_its_variable() {
        let help = command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        for setting in config::describe() {
            assert!(help.contains(&format!("--{}", setting.key.replace('_', "-"))), "{}", setting.key);
            assert!(help.contains(&format!("{ENV_PREFIX}{}", setting.key.to_ascii_uppercase())), "{}", setting.key);
        }
    }

    #[test]
    fn no_command_takes_a_secret_as_a_flag() {
        for subcommand in command().get_subcommands() {
            for argument in subcommand.get_arguments() {
                assert!(!matches!(argument.get_long(), Some("token" | "key" | "password")), "{argument}");
            }
        }
    }
}
