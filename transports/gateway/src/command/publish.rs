//! `eventwire publish`: events from the command line or a pipe to `POST /v1/events`.
//!
//! Lines from standard input are sent as they arrive: what is there is sent in one request, so that a slow pipe is not held back
//! and a fast one does not pay for a request per line. Order is kept, one request at a time.

use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use serde_json::Value;
use tokio::sync::mpsc;

use super::Gateway;
use crate::cli::Failure;
use crate::http_client::{Answer, HttpClient};
use crate::terminal::plain;

/// Most events in one request; the gateway takes 1,000.
const BATCH_ITEMS: usize = 500;
/// Most bytes in one request, but always at least one line; the gateway takes 8 MiB.
const BATCH_BYTES: usize = 1 << 20;

/// Flags of `publish`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without --type and --to, standard input is read as JSON lines, one event each:\n  \
                        {\"type\":\"adw.text_block\",\"to\":\"adw:29fb6a3e\",\"data\":{\"adw_id\":\"29fb6a3e\",\"content\":\"hello\"}}")]
pub struct PublishArgs {
    /// Whom the event is for: `adw:<id>`, `room:<name>`, `session:<id>`, `user:<id>`, `connection:<id>` or `global`
    #[arg(long, value_name = "AUDIENCE", requires = "event_type")]
    pub to: Option<String>,
    /// Type of the event, such as adw.text_block
    #[arg(long = "type", value_name = "TYPE", requires = "to")]
    pub event_type: Option<String>,
    /// Payload: a JSON object, @FILE to read one, or - to read one from standard input
    #[arg(long, value_name = "JSON", requires = "to")]
    pub data: Option<String>,
    /// Key that makes a repetition of the same event harmless
    #[arg(long, value_name = "KEY", requires = "to")]
    pub id: Option<String>,
    /// Print the gateway's result for every event as JSON lines; what happens in a pipe
    #[arg(long)]
    pub json: bool,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// Publishes what the flags or standard input say.
///
/// # Errors
/// Wrong flags, an unreachable gateway, an answer that is not one.
pub async fn run(flags: PublishArgs) -> Result<ExitCode, Failure> {
    let client = HttpClient::new(&flags.gateway.url, flags.gateway.token()?)?;
    let mut report = Report::new(flags.json || !std::io::stdout().is_terminal());
    match (&flags.event_type, &flags.to) {
        (Some(event_type), Some(to)) => {
            let item = single(event_type, to, flags.data.as_deref(), flags.id.as_deref())?;
            let answer = client.post("/v1/events", "application/json", item.to_string().into()).await?;
            report.results(&[1], &answer)?;
        }
        _ => {
            let mut lines = stdin_lines();
            while let Some(batch) = next_batch(&mut lines).await? {
                let numbers = batch.iter().map(|(number, _)| *number).collect::<Vec<_>>();
                let body = batch.into_iter().map(|(_, line)| line + "\n").collect::<String>();
                let answer = client.post("/v1/events", "application/x-ndjson", body.into()).await?;
                report.results(&numbers, &answer)?;
            }
        }
    }
    Ok(report.exit_code())
}

fn single(event_type: &str, to: &str, data: Option<&str>, id: Option<&str>) -> Result<Value, Failure> {
    let text = match data {
        None => "{}".to_owned(),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text)?;
            text
        }
        Some(data) => match data.strip_prefix('@') {
            Some(file) => {
                std::fs::read_to_string(file).map_err(|error| Failure::Usage(format!("--data {data}: {error}")))?
            }
            None => data.to_owned(),
        },
    };
    let data: Value =
        serde_json::from_str(&text).map_err(|error| Failure::Usage(format!("--data is not JSON: {error}")))?;
    if !data.is_object() {
        return Err(Failure::Usage("--data must be a JSON object".to_owned()));
    }
    let mut item = serde_json::json!({ "type": event_type, "to": to, "data": data });
    if let (Some(id), Some(item)) = (id, item.as_object_mut()) {
        item.insert("id".to_owned(), id.into());
    }
    Ok(item)
}

type Line = std::io::Result<(usize, String)>;

/// The lines of standard input with their numbers, read on a thread of its own: nothing else may wait for a pipe.
fn stdin_lines() -> mpsc::Receiver<Line> {
    let (sender, lines) = mpsc::channel(BATCH_ITEMS);
    std::thread::spawn(move || {
        for (index, line) in std::io::stdin().lock().lines().enumerate() {
            let blank = line.as_ref().is_ok_and(|line| line.trim().is_empty());
            if !blank && sender.blocking_send(line.map(|line| (index + 1, line))).is_err() {
                break;
            }
        }
    });
    lines
}

/// Waits for a line and takes what else is there; `None` at the end of the input.
async fn next_batch(lines: &mut mpsc::Receiver<Line>) -> Result<Option<VecDeque<(usize, String)>>, Failure> {
    let Some(first) = lines.recv().await else {
        return Ok(None);
    };
    let mut batch = VecDeque::from([first.map_err(unreadable)?]);
    let mut bytes = batch.iter().map(|(_, line)| line.len()).sum::<usize>();
    while batch.len() < BATCH_ITEMS && bytes < BATCH_BYTES {
        let Ok(line) = lines.try_recv() else { break };
        let line = line.map_err(unreadable)?;
        bytes += line.1.len();
        batch.push_back(line);
    }
    Ok(Some(batch))
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::Failed(format!("standard input: {error}"))
}

/// Tells what became of each event and remembers whether any was refused.
struct Report {
    json: bool,
    refused: usize,
}

impl Report {
    fn new(json: bool) -> Self {
        Self { json, refused: 0 }
    }

    fn results(&mut self, lines: &[usize], answer: &Answer) -> Result<(), Failure> {
        let results = answer.json.get("results").and_then(Value::as_array);
        let Some(results) = results else {
            return Err(answer.failure("/v1/events"));
        };
        let mut out = std::io::stdout().lock();
        for (index, result) in results.iter().enumerate() {
            if let Some(error) = result.get("error") {
                self.refused += 1;
                let field = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
                let line = lines.get(index).copied().unwrap_or(index + 1);
                eprintln!("eventwire: event {line}: {}: {}", plain(field("code")), plain(field("message")));
            }
            if self.json {
                writeln!(out, "{result}")?;
            } else if result.get("error").is_none() {
                let field = |name| result.get(name).and_then(Value::as_str).unwrap_or_default();
                let seq = result.get("seq").map(|seq| format!(" as {seq}")).unwrap_or_default();
                writeln!(out, "published {} to {}{seq}", plain(field("type")), plain(field("to")))?;
            }
        }
        Ok(())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(self.refused > 0))
    }
}
