//! `eventwire publish`: events from the command line or a pipe to `POST /v1/events`.
//!
//! Lines from standard input are sent as they arrive: what is there is sent in one request, so that a slow pipe is not held back
//! and a fast one does not pay for a request per line. Order is kept, one request at a time. A line that cannot be sent is
//! refused with its number, and those behind it are sent.

use std::io::{BufRead, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use eventwire_protocol::error::ErrorCode;
use eventwire_protocol::limits::MAX_EVENT_BYTES;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Gateway;
use crate::cli::Failure;
use crate::http_client::HttpClient;
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
            let item = item.to_string();
            let line = if item.len() > MAX_EVENT_BYTES { Line::TooLong(item.len()) } else { Line::Text(item) };
            report.send(&client, vec![(1, line)]).await?;
        }
        _ => {
            let mut lines = stdin_lines();
            while let Some(batch) = next_batch(&mut lines).await? {
                report.send(&client, batch).await?;
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
    let data: Value = serde_json::from_str(without_mark(&text))
        .map_err(|error| Failure::Usage(format!("--data is not JSON: {error}")))?;
    if !data.is_object() {
        return Err(Failure::Usage("--data must be a JSON object".to_owned()));
    }
    let mut item = serde_json::json!({ "type": event_type, "to": to, "data": data });
    if let (Some(id), Some(item)) = (id, item.as_object_mut()) {
        item.insert("id".to_owned(), id.into());
    }
    Ok(item)
}

/// One line of standard input.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Text(String),
    /// Larger than an event may be; its bytes.
    TooLong(usize),
    NotUtf8,
}

impl Line {
    /// Why it is not sent.
    fn refusal(&self) -> Option<Value> {
        let (code, message) = match self {
            Line::Text(_) => return None,
            Line::TooLong(bytes) => (
                ErrorCode::TooLarge,
                format!("an event of {bytes} bytes is over the limit of {MAX_EVENT_BYTES}; it was not sent"),
            ),
            Line::NotUtf8 => (ErrorCode::InvalidUtf8, "the line is not UTF-8; it was not sent".to_owned()),
        };
        Some(json!({ "error": { "code": code, "message": message } }))
    }

    fn bytes(&self) -> usize {
        match self {
            Line::Text(text) => text.len(),
            Line::TooLong(_) | Line::NotUtf8 => 0,
        }
    }
}

/// A text without the byte order mark at its start, which some editors and shells write.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The next line that is not blank, with its number; `None` at the end. Of a line that is longer than an event may be no more
/// than that is kept.
fn next_line(input: &mut impl BufRead, number: &mut usize) -> std::io::Result<Option<(usize, Line)>> {
    loop {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        let ended = loop {
            let buffer = match input.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            bytes += part.len();
            // A carriage return at its end, and a mark at its start, do not count.
            if kept.len() <= MAX_EVENT_BYTES + 4 {
                kept.extend_from_slice(part);
            }
            let (used, is_last) = (end.map_or(buffer.len(), |end| end + 1), buffer.is_empty());
            input.consume(used);
            if end.is_some() || is_last {
                break is_last;
            }
        };
        if ended && bytes == 0 {
            return Ok(None);
        }
        *number += 1;
        let line = match String::from_utf8(kept) {
            _ if bytes > MAX_EVENT_BYTES + 4 => Line::TooLong(bytes),
            Err(_) => Line::NotUtf8,
            Ok(text) => {
                let text = if *number == 1 { without_mark(&text) } else { &text };
                match text.trim() {
                    "" => continue,
                    text if text.len() > MAX_EVENT_BYTES => Line::TooLong(text.len()),
                    text => Line::Text(text.to_owned()),
                }
            }
        };
        return Ok(Some((*number, line)));
    }
}

type Numbered = std::io::Result<(usize, Line)>;

/// The lines of standard input with their numbers, read on a thread of its own: nothing else may wait for a pipe.
fn stdin_lines() -> mpsc::Receiver<Numbered> {
    let (sender, lines) = mpsc::channel(BATCH_ITEMS);
    std::thread::spawn(move || {
        let (mut input, mut number) = (std::io::stdin().lock(), 0);
        while let Some(line) = next_line(&mut input, &mut number).transpose() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    lines
}

/// Waits for a line and takes what else is there; `None` at the end of the input.
async fn next_batch(lines: &mut mpsc::Receiver<Numbered>) -> Result<Option<Vec<(usize, Line)>>, Failure> {
    let Some(first) = lines.recv().await else {
        return Ok(None);
    };
    let mut batch = vec![first.map_err(unreadable)?];
    let mut bytes = batch.iter().map(|(_, line)| line.bytes()).sum::<usize>();
    while batch.len() < BATCH_ITEMS && bytes < BATCH_BYTES {
        let Ok(line) = lines.try_recv() else { break };
        let line = line.map_err(unreadable)?;
        bytes += line.1.bytes();
        batch.push(line);
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

    /// Sends what can be sent, and reports all of it in order.
    async fn send(&mut self, client: &HttpClient, batch: Vec<(usize, Line)>) -> Result<(), Failure> {
        let mut body = String::new();
        let mut sent = 0;
        for (_, line) in &batch {
            if let Line::Text(text) = line {
                sent += 1;
                body.push_str(text);
                body.push('\n');
            }
        }
        let mut results = Vec::new();
        if sent > 0 {
            let answer = client.post("/v1/events", "application/x-ndjson", body.into()).await?;
            match answer.json.get("results").and_then(Value::as_array) {
                Some(all) => results.clone_from(all),
                None => return Err(answer.failure("/v1/events")),
            }
        }
        let mut results = results.into_iter();
        let (lines, all): (Vec<_>, Vec<_>) = batch
            .iter()
            .filter_map(|(number, line)| Some((*number, line.refusal().or_else(|| results.next())?)))
            .unzip();
        self.results(&lines, &all)
    }

    fn results(&mut self, lines: &[usize], results: &[Value]) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(input: &[u8], buffer: usize) -> Vec<(usize, Line)> {
        let (mut input, mut number) = (BufReader::with_capacity(buffer, input), 0);
        std::iter::from_fn(|| next_line(&mut input, &mut number).unwrap()).collect()
    }

    #[test]
    fn lines_have_their_numbers_and_a_mark_at_the_start_is_skipped() {
        let text = |number: usize, text: &str| (number, Line::Text(text.to_owned()));
        for buffer in [1, 3, 4_096] {
            let input = "\u{feff}{\"a\":1}\r\n\n  \n{}\n\u{feff}x";
            assert_eq!(read(input.as_bytes(), buffer), [text(1, "{\"a\":1}"), text(4, "{}"), text(5, "\u{feff}x")]);
            assert_eq!(read(b"", buffer), []);
            assert_eq!(read(b"a\n\xff\nb\n", buffer), [text(1, "a"), (2, Line::NotUtf8), text(3, "b")]);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_not_kept_and_ends_nothing() {
        let mut input = vec![b'x'; MAX_EVENT_BYTES];
        input.extend_from_slice(b"\r\n");
        input.extend(vec![b'y'; MAX_EVENT_BYTES + 1]);
        input.push(b'\n');
        input.extend(vec![b'z'; 9 << 20]);
        input.extend_from_slice(b"\nend");
        let read = read(&input, 65_536);
        let sizes: Vec<_> =
            read.iter().map(|(number, line)| (*number, line.bytes(), line.refusal().is_some())).collect();
        assert_eq!(sizes, [(1, MAX_EVENT_BYTES, false), (2, 0, true), (3, 0, true), (4, 3, false)]);
        assert_eq!(read.get(2), Some(&(3, Line::TooLong(9 << 20))));
    }
}
