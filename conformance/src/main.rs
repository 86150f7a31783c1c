//! `eventwire-conformance`: run the suite, list it, explain a case, print the keys that a server under test needs.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use eventwire_conformance::{
    case::{Case, Level},
    cases,
    principals::{Principal, Principals},
    report::{self, Lines, Progress, Quiet, Report},
    target::{Target, memory::MemoryTarget, url::UrlTarget},
};
use sha2::{Digest, Sha256};

/// Proves that an implementation keeps the rules of Eventwire.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays the cases against a target. Exit code 1 when a MUST does not hold.
    Run(Run),
    /// Lists the cases.
    List {
        /// Only cases whose id begins so.
        #[arg(long, value_name = "PREFIX")]
        only: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a case: what it claims, and its steps.
    Explain {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Prints the API keys that the cases use, as an `api_keys_file` of the gateway. They are public: for tests only.
    Keys {
        /// The principals with their tokens, as JSON, for other servers.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Run {
    /// The server, for instance http://127.0.0.1:4800.
    #[arg(required_unless_present = "memory", conflicts_with = "memory")]
    url: Option<String>,
    /// The hub in this process, without sockets.
    #[arg(long)]
    memory: bool,
    /// The token of a principal who may do everything, where the server does not know the suite's own keys.
    #[arg(long, value_name = "TOKEN", env = "EVENTWIRE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The server asks nobody who they are: leaves out the cases about keys. Without this they fail there.
    #[arg(long, conflicts_with = "memory")]
    open: bool,
    /// Only cases whose id begins so.
    #[arg(long, value_name = "PREFIX")]
    only: Option<String>,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
    /// A line for cases that pass, too.
    #[arg(long, short)]
    verbose: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(run) => play(&run).await,
        Command::List { only, json } => list(only.as_deref(), json),
        Command::Explain { id } => explain(&id),
        Command::Keys { json } => keys(json),
    };
    match done {
        Ok(code) => code,
        // Whoever read our output has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            // Without stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "eventwire-conformance: {error}");
            ExitCode::from(2)
        }
    }
}

type Done = Result<ExitCode, Box<dyn Error>>;

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn play(run: &Run) -> Done {
    let mut principals = Principals::builtin()?;
    if let Some(token) = &run.token {
        principals = principals.with_operator_token(token);
    }
    let target: Box<dyn Target> = match &run.url {
        Some(url) if run.open => Box::new(UrlTarget::new(url)?.open()),
        Some(url) => Box::new(UrlTarget::new(url)?),
        None => Box::new(MemoryTarget::start(&principals)?),
    };
    let chosen = chosen(run.only.as_deref())?;
    let mut lines = Lines::new(io::stdout(), io::stdout().is_terminal(), run.verbose);
    let progress: &mut dyn Progress = if run.json { &mut Quiet } else { &mut lines };
    let report = report::run(&chosen, &*target, &principals, nonces()?, progress).await?;
    let mut out = io::stdout().lock();
    if run.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        close(&mut out, &report)?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn close(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if report.elsewhere > 0 {
        writeln!(out, "{} more cases are about what {} does not have", report.elsewhere, report.target)?;
    }
    if report.warned > 0 {
        writeln!(out, "{} recommendations not followed", report.warned)?;
    }
    writeln!(out, "{report}")
}

/// Ids that no two cases of any run share: a random beginning and a count.
fn nonces() -> Result<impl FnMut() -> String, Box<dyn Error>> {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut next = getrandom::u64()?;
    Ok(move || {
        next = next.wrapping_add(1);
        let mut rest = next;
        (0..5)
            .map(|_| {
                let digit = DIGITS.get((rest % 36) as usize).copied().unwrap_or(b'0');
                rest /= 36;
                char::from(digit)
            })
            .collect()
    })
}

fn chosen(prefix: Option<&str>) -> Result<Vec<Case>, Box<dyn Error>> {
    let prefix = prefix.unwrap_or_default();
    let mut chosen = cases::all()?;
    chosen.retain(|case| case.id.starts_with(prefix));
    if chosen.is_empty() {
        return Err(format!("no case begins with {prefix:?}; `eventwire-conformance list` shows them").into());
    }
    Ok(chosen)
}

fn list(only: Option<&str>, json: bool) -> Done {
    let chosen = chosen(only)?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&chosen)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = chosen.iter().map(|case| case.id.len()).max().unwrap_or(0);
    for case in &chosen {
        writeln!(out, "{:width$}  {}  {}", case.id, word(case.level), case.title)?;
    }
    writeln!(out, "{} cases", chosen.len())?;
    Ok(ExitCode::SUCCESS)
}

fn explain(id: &str) -> Done {
    let mut out = io::stdout().lock();
    for case in chosen(Some(id))? {
        writeln!(out, "{} ({}, {})\n  {}", case.id, case.rule, word(case.level), case.title)?;
        if !case.needs.is_empty() {
            let needs: Vec<_> = case.needs.iter().map(|need| need.name()).collect();
            writeln!(out, "  needs {}", needs.join(", "))?;
        }
        for (index, step) in case.steps.iter().enumerate() {
            writeln!(out, "  {}. {}", index + 1, serde_json::to_string(step)?)?;
        }
        writeln!(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Must => "MUST",
        Level::Should => "SHOULD",
    }
}

fn keys(json: bool) -> Done {
    let principals = Principals::builtin()?;
    let mut out = io::stdout().lock();
    if json {
        let known: Vec<&Principal> = principals.known().collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&known)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "# Keys of the conformance suite. They are public: use them for tests only.\nversion = 2")?;
    for principal in principals.known() {
        let digest: String = Sha256::digest(&principal.token).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "\n[[key]]\nname = \"conformance-{}\"\nsha256 = \"{digest}\"", principal.name)?;
        for (name, value) in [("user", &principal.user), ("role", &principal.role)] {
            if let Some(value) = value {
                writeln!(out, "{name} = \"{value}\"")?;
            }
        }
        writeln!(out, "permissions = {:?}", principal.permissions)?;
        let everything = vec!["*".to_owned()];
        let scopes = [
            ("adws", &principal.adws),
            ("rooms", &principal.rooms),
            ("sessions", &principal.contexts),
            ("users", &principal.users),
            ("browser_sessions", &principal.browser_sessions),
        ];
        for (name, ids) in scopes {
            writeln!(out, "{name} = {:?}", ids.as_ref().unwrap_or(&everything))?;
        }
        writeln!(out, "global = {}", principal.global.unwrap_or(true))?;
    }
    Ok(ExitCode::SUCCESS)
}
