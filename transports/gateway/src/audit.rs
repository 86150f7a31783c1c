//! The audit log: one JSON line for each entry, to a file or to standard error (AUTH-25).
//!
//! Entries come from where events are delivered, so nothing here waits: an entry becomes a line in a bounded queue, and a
//! thread of its own writes it. A peer that causes entries faster than [`PEER_RATE`] loses the rest; what was suppressed and
//! what the queue could not take is counted and reported in lines of their own.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eventwire_hub::{Audit, AuditEntry, AuditEvent, AuditSink, Clock as _, Holder, SystemClock};
use serde::Serialize;
use tokio::signal::unix::Signal;

use crate::config::AuditTo;
use crate::terminal;

/// Lines that wait for the writer at most.
const QUEUE: usize = 8_192;
/// Peers whose rate is watched one by one at most; further ones share one rate.
const PEERS: usize = 4_096;
/// Entries that a peer may cause at once.
const PEER_BURST: f64 = 100.0;
/// Entries per second that a peer may cause.
const PEER_RATE: f64 = 10.0;
/// Between two reports of what was left out, and between two summaries of refusals in the log.
const REPORT: Duration = Duration::from_secs(10);
/// Characters of a text that a client may have chosen.
const TEXT_CHARS: usize = 256;
/// How long the writer may take to write what waits when the gateway stops.
const FINISH: Duration = Duration::from_secs(2);

/// Mode of a file that is created: a log of who connected is for its owner.
const MODE: u32 = 0o600;

/// The end of the log that belongs to the gateway: reopens it, and finishes it at the stop.
pub(crate) struct AuditLog {
    queue: Option<SyncSender<Job>>,
}

enum Job {
    Line(String),
    Reopen,
    Finish(SyncSender<()>),
}

/// Opens the log.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn open(to: &AuditTo) -> io::Result<(Audit, AuditLog)> {
    let output = match to {
        AuditTo::Off => return Ok((Audit::off(), AuditLog { queue: None })),
        AuditTo::Stderr => Output::Stderr,
        AuditTo::File(path) => Output::file(path.clone())?,
    };
    let (queue, jobs) = sync_channel(QUEUE);
    let counts = Arc::new(Counts::default());
    let writer = Writer { output, counts: Arc::clone(&counts), failed: 0 };
    std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&jobs))?;
    Ok((Audit::to(Sink { queue: queue.clone(), counts }), AuditLog { queue: Some(queue) }))
}

impl AuditLog {
    /// Whether entries are written.
    pub(crate) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Opens the file again under its name, after it was moved away.
    pub(crate) fn reopen(&self) {
        if let Some(queue) = &self.queue {
            // A full queue means a writer that is stuck; the next signal tries again.
            let _ = queue.try_send(Job::Reopen);
        }
    }

    /// Waits until what was recorded is written, for a moment.
    pub(crate) async fn finish(&self) {
        let Some(queue) = self.queue.clone() else { return };
        let _ = tokio::task::spawn_blocking(move || {
            let (told, done) = sync_channel(1);
            let deadline = Instant::now() + FINISH;
            let mut job = Job::Finish(told);
            while let Err(TrySendError::Full(back)) = queue.try_send(job) {
                if Instant::now() > deadline {
                    return;
                }
                job = back;
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = done.recv_timeout(FINISH);
        })
        .await;
    }
}

/// Reopens the file at every SIGHUP, which is what log rotation sends after it has moved the file away.
pub(crate) async fn reopen_on_hangup(log: Arc<AuditLog>, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        log.reopen();
    }
}

/// Says at the default log level how many refusals there were since the last time; nothing when there were none.
pub(crate) async fn summarize(audit: Audit) {
    let mut interval = tokio::time::interval(REPORT);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        log_refusals(&audit);
    }
}

/// Logs the refusals since the last time; nothing when there were none.
pub(crate) fn log_refusals(audit: &Audit) {
    if let Some(summary) = summary(&audit.take_refusals()) {
        tracing::info!("{summary}");
    }
}

fn summary(refused: &BTreeMap<&'static str, u64>) -> Option<String> {
    let counts: Vec<String> = refused.iter().map(|(code, count)| format!("{code} {}", grouped(*count))).collect();
    let seconds = REPORT.as_secs();
    (!counts.is_empty()).then(|| format!("refused in the last {seconds} s: {}", counts.join(", ")))
}

/// A number with a comma before every third digit.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What was left out, until it is reported.
#[derive(Default)]
struct Counts {
    dropped: AtomicU64,
    peers: Mutex<Peers>,
}

impl Counts {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rate of each peer. Bounded: a peer beyond the table shares a rate with the others beyond it.
#[derive(Default)]
struct Peers {
    buckets: HashMap<Account, Bucket>,
    others: Option<Bucket>,
}

/// What a rate is kept for. Refusals have one of their own, so that a flood of them cannot hide that the peer got in.
type Account = (Holder, Outcome);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Granted,
    Refused,
}

struct Bucket {
    allowed: f64,
    at: Instant,
    suppressed: u64,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { allowed: PEER_BURST, at: now, suppressed: 0 }
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.allowed = (self.allowed + seconds * PEER_RATE).min(PEER_BURST);
        self.at = now;
    }

    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let allowed = self.allowed >= 1.0;
        if allowed {
            self.allowed -= 1.0;
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        allowed
    }
}

impl Peers {
    fn take(&mut self, client: Option<IpAddr>, outcome: Outcome, now: Instant) -> bool {
        let account = (Holder::of_peer(client), outcome);
        let room = self.buckets.len() < PEERS;
        let bucket = match self.buckets.entry(account) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) if room => entry.insert(Bucket::full(now)),
            std::collections::hash_map::Entry::Vacant(_) => self.others.get_or_insert_with(|| Bucket::full(now)),
        };
        bucket.take(now)
    }

    /// What was suppressed since the last time, by peer. Forgets peers that have been quiet.
    fn report(&mut self, now: Instant) -> Vec<(Option<IpAddr>, u64)> {
        let mut suppressed = Vec::new();
        self.buckets.retain(|(holder, _), bucket| {
            let count = std::mem::take(&mut bucket.suppressed);
            if count > 0 {
                let client = if let Holder::Peer(client) = holder { *client } else { None };
                suppressed.push((client, count));
            }
            bucket.refill(now);
            count > 0 || bucket.allowed < PEER_BURST
        });
        if let Some(others) = &mut self.others {
            let count = std::mem::take(&mut others.suppressed);
            if count > 0 {
                suppressed.push((None, count));
            }
        }
        suppressed
    }
}

/// Where the hub hands entries over.
struct Sink {
    queue: SyncSender<Job>,
    counts: Arc<Counts>,
}

impl AuditSink for Sink {
    fn record(&self, entry: &AuditEntry<'_>) {
        let outcome = if entry.event.is_refusal() { Outcome::Refused } else { Outcome::Granted };
        if is_limited(entry.event) && !self.counts.peers().take(entry.client, outcome, Instant::now()) {
            return;
        }
        if self.queue.try_send(Job::Line(line(entry))).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a client can cause such entries as often as it wants. What administrators do is never suppressed.
const fn is_limited(event: AuditEvent) -> bool {
    !matches!(event, AuditEvent::CredentialRevoked | AuditEvent::ConnectionKicked | AuditEvent::Reload)
}

/// One line of the log.
#[derive(Serialize)]
struct Line<T> {
    time: String,
    #[serde(flatten)]
    what: T,
}

/// What the log says about itself.
#[derive(Serialize)]
struct Omitted {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    count: u64,
}

fn line(entry: &AuditEntry<'_>) -> String {
    let cut = |text: Option<&str>| text.map(|text| text.chars().take(TEXT_CHARS).collect::<String>());
    let (principal, credential) = (cut(entry.principal), cut(entry.credential));
    let (path, request_id, subject) = (cut(entry.path), cut(entry.request_id), cut(entry.subject));
    let mut entry = entry.clone();
    entry.principal = principal.as_deref();
    entry.credential = credential.as_deref();
    entry.path = path.as_deref();
    entry.request_id = request_id.as_deref();
    entry.subject = subject.as_deref();
    written(&entry)
}

fn written(what: impl Serialize) -> String {
    let line = Line { time: SystemClock.now().to_string(), what };
    // Texts, numbers and nulls under text keys can always be written.
    let mut text = terminal::escaped_json(&serde_json::to_string(&line).unwrap_or_default());
    text.push('\n');
    text
}

/// Where lines go.
enum Output {
    Stderr,
    File { path: PathBuf, file: File },
}

impl Output {
    fn file(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(&path)?;
        Ok(Self::File { path, file })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().write_all(lines),
            Self::File { file, .. } => file.write_all(lines),
        }
    }
}

/// The thread that writes.
struct Writer {
    output: Output,
    counts: Arc<Counts>,
    /// Lines that could not be written since the last report.
    failed: u64,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut next_report = Instant::now() + REPORT;
        let mut text = String::new();
        loop {
            let wait = next_report.saturating_duration_since(Instant::now());
            let mut finished = None;
            let first = match jobs.recv_timeout(wait) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // What waits is written together.
            let mut lines = 0;
            for job in first.into_iter().chain(jobs.try_iter().take(QUEUE)) {
                match job {
                    Job::Line(line) => {
                        text.push_str(&line);
                        lines += 1;
                    }
                    Job::Reopen => {
                        self.flush(&mut text, &mut lines);
                        self.reopen();
                    }
                    Job::Finish(told) => {
                        finished = Some(told);
                        break;
                    }
                }
            }
            self.flush(&mut text, &mut lines);
            if finished.is_some() || Instant::now() >= next_report {
                self.report();
                next_report = Instant::now() + REPORT;
            }
            if let Some(told) = finished {
                let _ = told.send(());
                return;
            }
        }
    }

    fn flush(&mut self, text: &mut String, lines: &mut u64) {
        if !text.is_empty() && self.output.write(text.as_bytes()).is_err() {
            self.failed += *lines;
        }
        text.clear();
        *lines = 0;
    }

    fn reopen(&mut self) {
        let Output::File { path, .. } = &self.output else { return };
        match Output::file(path.clone()) {
            Ok(output) => self.output = output,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the audit log cannot be opened again; going on with the open file");
            }
        }
    }

    /// Says what was left out.
    fn report(&mut self) {
        let suppressed = self.counts.peers().report(Instant::now());
        let dropped = self.counts.dropped.swap(0, Ordering::Relaxed);
        let omitted = suppressed
            .into_iter()
            .map(|(client, count)| Omitted { event: "audit.suppressed", client, count })
            .chain((dropped > 0).then_some(Omitted { event: "audit.dropped", client: None, count: dropped }))
            .chain((self.failed > 0).then_some(Omitted { event: "audit.failed", client: None, count: self.failed }));
        let text: String = omitted.map(written).collect();
        if text.is_empty() {
            return;
        }
        match self.output.write(text.as_bytes()) {
            Ok(()) => self.failed = 0,
            Err(error) => {
                tracing::error!(lines = self.failed, dropped, %error, "the audit log cannot be written");
            }
        }
        if dropped > 0 {
            tracing::warn!(lines = dropped, "the audit log is written too slowly; lines were dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from(number).into())
    }

    #[test]
    fn auth_25_a_line_is_json_without_control_characters_and_of_bounded_length() {
        let hostile = "a\u{1b}]0;t\u{7}\n\u{9b}2J\u{202e}\u{2028}\"\\".repeat(100);
        let mut entry = AuditEntry::new(AuditEvent::ConnectionOpened).subject(&hostile);
        entry.principal = Some(&hostile);
        let line = line(&entry);
        let text = line.strip_suffix('\n').unwrap();
        assert!(
            !text.chars().any(|character| character.is_control() || "\u{202e}\u{2028}".contains(character)),
            "{text}"
        );
        let read: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(read["subject"].as_str().unwrap(), hostile.chars().take(TEXT_CHARS).collect::<String>());
        assert_eq!(read["event"], "connection.opened");
        assert!(read["time"].as_str().unwrap().parse::<eventwire_protocol::Time>().is_ok(), "{text}");
    }

    #[test]
    fn auth_25_the_table_of_peers_is_bounded_and_counts_what_it_suppresses() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let burst = PEER_BURST as u32;
        let taken = |peers: &mut Peers, peer, outcome, times: u32| {
            (0..times).filter(|_| peers.take(address(peer), outcome, now)).count()
        };
        assert_eq!(taken(&mut peers, 0, Outcome::Refused, burst + 7), burst as usize);
        // Another peer, and the same one where it is let in, have their own.
        assert_eq!(taken(&mut peers, 1, Outcome::Refused, 1), 1);
        assert_eq!(taken(&mut peers, 0, Outcome::Granted, 1), 1);
        for peer in 2..2 * PEERS as u32 {
            peers.take(address(peer), Outcome::Refused, now);
        }
        assert_eq!(peers.buckets.len(), PEERS);
        let report = peers.report(now);
        assert!(report.contains(&(address(0), 7)), "{report:?}");
        // Peer 0 is there twice.
        let beyond = 2 * PEERS as u64 + 1 - PEERS as u64 - u64::from(burst);
        assert!(report.contains(&(None, beyond)), "{report:?} and {beyond} peers beyond the table");
        // Quiet peers are forgotten once they may do everything again.
        peers.report(now + Duration::from_secs(60));
        assert_eq!((peers.buckets.len(), peers.report(now).len()), (0, 0));
    }

    #[test]
    fn auth_25_a_full_queue_drops_and_counts() {
        let (queue, jobs) = sync_channel(2);
        let sink = Sink { queue, counts: Arc::default() };
        for _ in 0..5 {
            sink.record(&AuditEntry::new(AuditEvent::Reload));
        }
        assert_eq!((jobs.try_iter().count(), sink.counts.dropped.load(Ordering::Relaxed)), (2, 3));
    }

    #[test]
    fn auth_25_the_summary_names_each_code_with_its_count() {
        let refused = BTreeMap::from([("forbidden", 7), ("unauthorized", 1_234_567)]);
        assert_eq!(summary(&refused).as_deref(), Some("refused in the last 10 s: forbidden 7, unauthorized 1,234,567"));
        assert_eq!(summary(&BTreeMap::new()), None);
        let read = [0, 12, 123, 1_234, 100_000].map(grouped);
        assert_eq!(read, ["0", "12", "123", "1,234", "100,000"]);
    }
}
