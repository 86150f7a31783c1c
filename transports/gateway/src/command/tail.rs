//! `eventwire tail`: events as they come, for a person on a terminal or a program behind a pipe.
//!
//! The client crate holds the connection: it reconnects and resumes, so a gateway that restarts costs a remark and no event that
//! its history still has.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;

use eventwire_client::{Checkpoint, Client, Fallback, Gap, GapReason, Item, Items, State, Transport};
use eventwire_protocol::address::Target;
use eventwire_protocol::catalog::EventType;
use eventwire_protocol::frame::{EventFrame, EventKind};
use eventwire_protocol::id::Position;
use futures_util::FutureExt as _;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use self::line::Painter;
use super::Gateway;
use crate::cli::Failure;
use crate::terminal::{self, Color, Pen, colored, plain};

mod line;

/// The one event type that is nothing but noise to most who watch.
const VERBATIM: &str = "adw.agent_output_chunk";

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Targets: adw:<id>, room:<name>, session:<context>, user:<id>, global, or * for everything that an observer sees.\n\
                        On a terminal, one readable line per event; in a pipe, one frame per line as JSON."
)]
pub struct TailArgs {
    /// What to watch; several separated by commas or spaces, everything that an observer sees when none is named
    #[arg(value_name = "TARGET", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// The same as a flag
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    pub to: Vec<String>,
    /// Only events of this type, family (adw) or prefix (adw.tool_*); may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Begin after this sequence number instead of now; 0 begins with the oldest event that is kept
    #[arg(long, value_name = "SEQ")]
    pub since: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// Also the verbatim output of agents
    #[arg(long)]
    pub raw: bool,
    /// Frames as JSON lines also on a terminal
    #[arg(long)]
    pub json: bool,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// Watches until the count is reached, the gateway sends us away or somebody stops it.
///
/// # Errors
/// Wrong flags, a gateway that cannot be reached at first or does not want us, targets that are all refused.
pub async fn run(flags: TailArgs) -> Result<ExitCode, Failure> {
    let filter = Filter::new(&flags.types, flags.raw)?;
    let mut targets =
        flags.targets.iter().chain(&flags.to).map(|target| parse_target(target)).collect::<Result<Vec<_>, _>>()?;
    if targets.is_empty() {
        targets.push(Target::Realm);
    }
    // One attempt is enough to see that a gateway can be reached and its WebSocket cannot.
    let fallback = Fallback { after: 1, ..Fallback::default() };
    let mut builder = Client::builder(&flags.gateway.url).fallback(fallback);
    if let Some(token) = flags.gateway.token()? {
        builder = builder.token(token);
    }
    if let Some(since) = flags.since {
        let since = Position::new(since)
            .ok_or_else(|| Failure::Usage(format!("--since {since}: no sequence number is so large")))?;
        let positions = targets.iter().map(|target| (target.clone(), since)).collect();
        builder = builder.resume(Checkpoint { epoch: None, positions });
    }
    for target in &targets {
        builder = builder.subscribe(target);
    }
    let (client, items) = builder.build().map_err(|error| Failure::Usage(error.to_string()))?;

    let stdout = io::stdout();
    let json = flags.json || !stdout.is_terminal();
    let painter = Painter::new(Pen::new(colored(&stdout)), terminal::width(&stdout));
    let mut tail = Tail {
        out: BufWriter::new(stdout),
        form: if json { Form::Json } else { Form::Lines(painter) },
        filter,
        left: flags.count,
        remarks: Remarks { pen: Pen::new(colored(&io::stderr())), on_terminal: io::stderr().is_terminal() },
        url: flags.gateway.url,
        targets: targets.len(),
        connected: false,
        over: Transport::default(),
    };
    let watched = tokio::select! {
        watched = tail.watch(items) => watched,
        _ = tokio::signal::ctrl_c() => Ok(()),
        () = reader_gone() => Ok(()),
    };
    tail.out.flush()?;
    client.close().await;
    watched.map(|()| ExitCode::SUCCESS)
}

/// Ends when the program that reads standard output has ended: `eventwire tail | head -1` does not wait for the next event.
async fn reader_gone() {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, because a descriptor may be closed; standard output is not"
    )]
    let stdout = AsyncFd::with_interest(io::stdout(), Interest::ERROR);
    // A file cannot be waited for, and has no reader.
    if let Ok(stdout) = stdout
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

fn parse_target(target: &str) -> Result<Target, Failure> {
    target.parse().map_err(|error| Failure::Usage(format!("{target}: {error}")))
}

enum Form {
    Json,
    Lines(Painter),
}

/// One run of the command.
struct Tail {
    out: BufWriter<io::Stdout>,
    form: Form,
    filter: Filter,
    left: Option<u64>,
    remarks: Remarks,
    url: String,
    targets: usize,
    connected: bool,
    /// What the last attempt to connect was made over.
    over: Transport,
}

impl Tail {
    async fn watch(&mut self, mut items: Items) -> Result<(), Failure> {
        while self.left != Some(0) {
            // Write at once what a person waits for, but many events that are there already in one go.
            let item = match items.next().now_or_never() {
                Some(item) => item,
                None => {
                    self.out.flush()?;
                    items.next().await
                }
            };
            match item {
                Some(item) => self.take(item)?,
                None => return Err(Failure::Failed(format!("{}: the connection ended", self.url))),
            }
        }
        Ok(())
    }

    fn take(&mut self, item: Item) -> Result<(), Failure> {
        match item {
            Item::Event(event) => return self.event(&event),
            Item::Gap(gap) => self.remarks.warn(&gap_text(&gap)),
            Item::Refused(refused) => {
                let text = format!("{}: {}: {}", refused.to, refused.code, plain(&refused.message));
                self.targets = self.targets.saturating_sub(1);
                if self.targets == 0 {
                    return Err(Failure::Failed(text));
                }
                self.remarks.warn(&text);
            }
            Item::Unreadable { error, .. } => {
                self.remarks.warn(&format!("a frame that cannot be read: {}", plain(&error.message)))
            }
            Item::State(State::Connected(welcome)) => {
                self.connected = true;
                self.remarks.note(&format!("connected to {} as {}", self.url, welcome.connection_id));
            }
            Item::State(State::Connecting { over }) => self.over = over,
            Item::State(State::Reconnecting { after, because, .. }) if self.connected => {
                let seconds = after.as_secs_f32();
                self.remarks
                    .warn(&format!("connection lost ({}); trying again in {seconds:.1} s", ended_text(&because)));
            }
            Item::State(State::Reconnecting { because, over, .. }) if over == Transport::Sse && over != self.over => {
                self.remarks.warn(&format!("{}; trying {}", ended_text(&because), over.as_str()));
            }
            Item::State(State::Reconnecting { because, .. }) => {
                return Err(Failure::Failed(format!(
                    "{}: {}; is the gateway running?",
                    self.url,
                    ended_text(&because)
                )));
            }
            Item::State(State::Closed { code, reason }) => {
                return Err(Failure::Failed(format!("{}: closed with {code}: {}", self.url, plain(&reason))));
            }
            Item::State(State::Failed { attempts, because }) => {
                let why = ended_text(&because);
                return Err(Failure::Failed(format!("{}: gave up after {attempts} attempts: {why}", self.url)));
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &EventFrame) -> Result<(), Failure> {
        if !self.filter.takes(&event.kind) {
            return Ok(());
        }
        match &self.form {
            Form::Json => {
                let frame = event.encode().map_err(|error| Failure::Failed(error.to_string()))?;
                self.out.write_all(&frame)?;
                self.out.write_all(b"\n")?;
            }
            Form::Lines(painter) => writeln!(self.out, "{}", painter.line(event))?,
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(())
    }
}

/// What is said beside the events, on standard error.
struct Remarks {
    pen: Pen,
    on_terminal: bool,
}

impl Remarks {
    fn warn(&self, text: &str) {
        eprintln!("{} {text}", self.pen.paint(Color::Yellow, "eventwire:"));
    }

    /// Of interest to a person only.
    fn note(&self, text: &str) {
        if self.on_terminal {
            eprintln!("{}", self.pen.paint(Color::Dim, text));
        }
    }
}

fn gap_text(gap: &Gap) -> String {
    let why = match gap.reason {
        GapReason::SlowConsumer => "this reader was too slow for what the history keeps",
        GapReason::EpochChanged => "the gateway began a new history",
        GapReason::Hole => "they never arrived",
        _ => "the history no longer has them",
    };
    let range = match (gap.from_seq, gap.to_seq) {
        (Some(from), Some(to)) => format!("events {from} to {to}"),
        _ => "events".to_owned(),
    };
    format!("{}: {range} are missing: {why}", plain(&gap.stream))
}

fn ended_text(ended: &eventwire_client::reconnect::Ended) -> String {
    use eventwire_client::reconnect::Ended;
    match ended {
        Ended::Lost(why) | Ended::Silent(why) | Ended::NoToken(why) => plain(why).into_owned(),
        Ended::Closed { code, reason } => format!("closed with {code}: {}", plain(reason)),
        Ended::Refused { status, reason } => format!("status {status}: {}", plain(reason)),
    }
}

/// Which types are shown.
#[derive(Debug)]
struct Filter {
    wanted: Vec<Wanted>,
    raw: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Exactly(String),
    Prefix(String),
}

impl Filter {
    fn new(types: &[String], raw: bool) -> Result<Self, Failure> {
        Ok(Self { wanted: types.iter().map(|written| Wanted::parse(written)).collect::<Result<_, _>>()?, raw })
    }

    /// Without a wish everything but the talk of the connection itself and agents' verbatim output.
    fn takes(&self, kind: &str) -> bool {
        if self.wanted.is_empty() {
            return !kind.starts_with("connection.") && (self.raw || kind != VERBATIM);
        }
        self.wanted.iter().any(|wanted| match wanted {
            Wanted::Exactly(name) => name == kind,
            Wanted::Prefix(prefix) => kind.starts_with(prefix),
        }) || (self.raw && kind == VERBATIM)
    }
}

impl Wanted {
    fn parse(written: &str) -> Result<Self, Failure> {
        let known = || EventType::ALL.iter().map(|event_type| event_type.spec());
        if let Some(prefix) = written.strip_suffix('*') {
            return Ok(Self::Prefix(prefix.to_owned()));
        }
        if known().any(|spec| spec.family == written) {
            return Ok(Self::Prefix(format!("{written}.")));
        }
        if EventKind::parse(written).is_ok() {
            return Ok(Self::Exactly(written.to_owned()));
        }
        let scored = known().map(|spec| (strsim::jaro_winkler(written, spec.name), spec.name));
        let nearest = scored.filter(|(score, _)| *score > 0.75).max_by(|(a, _), (b, _)| a.total_cmp(b));
        let hint = nearest.map(|(_, name)| format!("; did you mean {name}?")).unwrap_or_default();
        Err(Failure::Usage(format!("--type {written}: no such event type{hint}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(types: &[&str], raw: bool) -> Filter {
        Filter::new(&types.iter().map(ToString::to_string).collect::<Vec<_>>(), raw).unwrap()
    }

    #[test]
    fn without_a_wish_everything_but_noise_is_shown() {
        let all = filter(&[], false);
        assert!(all.takes("adw.text_block") && all.takes("_own.thing"));
        assert!(!all.takes("connection.heartbeat") && !all.takes(VERBATIM));
        assert!(filter(&[], true).takes(VERBATIM));
    }

    #[test]
    fn a_wish_is_a_type_a_family_or_a_prefix() {
        assert!(filter(&["adw.text_block"], false).takes("adw.text_block"));
        assert!(!filter(&["adw.text_block"], false).takes("adw.thinking_block"));
        let tools = filter(&["adw.tool_*"], false);
        assert!(tools.takes("adw.tool_use_pre") && tools.takes("adw.tool_use_post") && !tools.takes("adw.text_block"));
        let families = filter(&["connection", "_own.thing"], false);
        assert!(
            families.takes("connection.error") && families.takes("_own.thing") && !families.takes("adw.text_block")
        );
        assert!(filter(&[VERBATIM], false).takes(VERBATIM));
    }

    #[test]
    fn a_type_that_does_not_exist_is_told_with_the_nearest_one() {
        let told = Filter::new(&["adw.text_blok".to_owned()], false).unwrap_err().to_string();
        assert!(told.contains("did you mean adw.text_block?"), "{told}");
    }
}
