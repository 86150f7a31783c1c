//! Figures of the runs below an agents root: tasks, costs, requests, tokens, tools, sessions, and what happened of late.
//!
//! A [`Ledger`] reads transcripts by itself, beside the source of events: figures count what is in the files, whatever of it
//! was told as events. Each byte is read once. What is kept are sums of five minutes each, for one week, so memory does
//! not grow with what is read.
//!
//! What the figures mean:
//!
//! - A task is a run. It is running while a role of it has begun and not ended; otherwise it ended as the role that was
//!   at work last ended.
//! - Costs are those of `result` lines. In one session they add up from line to line, so only what was added counts.
//! - A request is a message of the model; a message that is written in several lines is one. Tokens read include those
//!   from a cache. While a turn is under way its tokens are those of its messages; its `result` line brings the rest.
//! - Something happened at the time that its line carries, else when its file was written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

use eventwire_protocol::{
    Time,
    event::metrics::{
        ActivityEntry, ClaudeApiMetrics, CostMetrics, MetricsOverview, MetricsUpdate, SessionMetrics, TaskMetrics,
        ToolMetrics,
    },
    id::AdwId,
};
use serde_json::Value;

use crate::{
    follow::MAX_ROLES,
    paths::{AgentsRoot, TRANSCRIPT_FILE},
    role::RoleName,
    tail::{FileIdentity, READ_BYTES},
    text::{one_line, shortened},
};

/// How far back figures count at most, in hours.
pub const MAX_HOURS: u32 = 168;
/// What one sum covers, in microseconds: five minutes.
const SPAN: i64 = 5 * 60 * 1_000_000;
const HOUR: i64 = 3600 * 1_000_000;
/// Most runs that are counted; of more, those with the first names.
const MAX_RUNS: usize = 10_000;
/// Longest line that is read; a longer one is skipped.
const MAX_LINE: usize = 1024 * 1024;
/// Ids of messages, calls and sessions of one file that are remembered. Parts of one message stand near each other.
const RECENT: usize = 64;
/// Most different names of tools; calls of further ones count under `other`.
const MAX_TOOLS: usize = 256;
/// Most things of late that are kept, and that are told.
const MAX_ACTIVITY: usize = 200;
const TOLD_ACTIVITY: usize = 20;
/// Longest name of a tool, in characters.
const MAX_NAME: usize = 100;

/// Sums of one span.
#[derive(Clone, Debug, Default)]
struct Sums {
    cost_usd: f64,
    haiku_usd: f64,
    sonnet_usd: f64,
    requests: u64,
    read_tokens: u64,
    written_tokens: u64,
    sessions: u64,
    tools: BTreeMap<String, u64>,
}

/// Where a role stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    NotBegun,
    AtWork,
    Completed,
    Failed,
}

/// What was counted already, as far as something may come again.
#[derive(Clone, Debug, Default)]
struct Recent(VecDeque<(String, [u64; 2])>);

impl Recent {
    /// How much more than before is known under an id; all of it for a new one.
    fn more(&mut self, id: &str, now: [u64; 2]) -> (bool, [u64; 2]) {
        if let Some((_, before)) = self.0.iter_mut().rev().find(|(known, _)| known == id) {
            let more = [now[0].saturating_sub(before[0]), now[1].saturating_sub(before[1])];
            *before = [now[0].max(before[0]), now[1].max(before[1])];
            return (false, more);
        }
        if self.0.len() >= RECENT {
            self.0.pop_front();
        }
        self.0.push_back((id.to_owned(), now));
        (true, now)
    }
}

/// One transcript.
#[derive(Debug)]
struct Counted {
    identity: FileIdentity,
    offset: u64,
    written: SystemTime,
    /// A line that has begun; `None` while one that is too long is skipped.
    begun: Option<Vec<u8>>,
    stand: Stand,
    active: Time,
    messages: Recent,
    calls: Recent,
    sessions: Recent,
    /// Cost in the session so far, in all and by family, of the sessions that came last.
    spent: VecDeque<(String, [f64; 3])>,
    /// Tokens of the turn under way, read and written, as its messages say.
    turn: [u64; 2],
}

/// The figures of all runs below a root.
#[derive(Debug)]
pub struct Ledger {
    root: PathBuf,
    files: HashMap<(AdwId, RoleName), Counted>,
    sums: BTreeMap<i64, Sums>,
    tools: BTreeSet<String>,
    activity: VecDeque<ActivityEntry>,
}

impl Ledger {
    /// Nothing is counted yet. The directory need not exist.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            root: root.as_ref().to_owned(),
            files: HashMap::new(),
            sums: BTreeMap::new(),
            tools: BTreeSet::new(),
            activity: VecDeque::new(),
        }
    }

    /// Reads what was added since the last time. Blocks on the disk. What cannot be read is left out until it can.
    pub fn catch_up(&mut self, now: Time) {
        let Ok(root) = AgentsRoot::open(&self.root) else { return };
        let Ok(runs) = root.runs() else { return };
        let mut there = HashSet::new();
        for adw_id in runs.into_iter().take(MAX_RUNS) {
            for role in root.roles(adw_id, MAX_ROLES).unwrap_or_default() {
                self.read(&root, adw_id, &role);
                there.insert((adw_id, role));
            }
        }
        self.files.retain(|key, _| there.contains(key));
        let oldest = (now.as_unix_micros() - i64::from(MAX_HOURS) * HOUR) / SPAN - 1;
        self.sums = self.sums.split_off(&oldest);
    }

    /// The figures of the last `hours`, 1 to 168, of what was read.
    pub fn figures(&self, now: Time, hours: u32) -> MetricsUpdate {
        let hours = hours.clamp(1, MAX_HOURS);
        let since = now.as_unix_micros() - i64::from(hours) * HOUR;
        let mut all = Sums::default();
        for sums in self.sums.range(since.div_euclid(SPAN)..).map(|(_, sums)| sums) {
            all.cost_usd += sums.cost_usd;
            all.haiku_usd += sums.haiku_usd;
            all.sonnet_usd += sums.sonnet_usd;
            all.requests += sums.requests;
            all.read_tokens += sums.read_tokens;
            all.written_tokens += sums.written_tokens;
            all.sessions += sums.sessions;
            for (name, count) in &sums.tools {
                *all.tools.entry(name.clone()).or_default() += count;
            }
        }
        let total_calls = all.tools.values().sum();
        let mut activity: Vec<ActivityEntry> =
            self.activity.iter().rev().filter(|entry| entry.time.as_unix_micros() >= since).cloned().collect();
        activity.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        activity.truncate(TOLD_ACTIVITY);
        MetricsUpdate {
            overview: MetricsOverview {
                tasks: Some(self.tasks(since)),
                costs: Some(CostMetrics {
                    total_cost_usd: rounded(all.cost_usd),
                    haiku_cost_usd: Some(rounded(all.haiku_usd)),
                    sonnet_cost_usd: Some(rounded(all.sonnet_usd)),
                }),
                claude_api: Some(ClaudeApiMetrics {
                    total_requests: all.requests,
                    total_input_tokens: all.read_tokens,
                    total_output_tokens: all.written_tokens,
                }),
                tools: Some(ToolMetrics { total_calls, by_type: all.tools.clone() }),
                more: None,
            },
            sessions: Some(SessionMetrics {
                total_sessions: all.sessions,
                total_tools: total_calls,
                tools_by_type: all.tools,
            }),
            activity,
            window_hours: Some(hours),
        }
    }

    fn tasks(&self, since: i64) -> TaskMetrics {
        let mut runs: HashMap<AdwId, (bool, Time, Stand)> = HashMap::new();
        for ((adw_id, _), file) in self.files.iter().filter(|(_, file)| file.stand != Stand::NotBegun) {
            let run = runs.entry(*adw_id).or_insert((false, file.active, file.stand));
            run.0 |= file.stand == Stand::AtWork;
            if file.active > run.1 || (file.active == run.1 && file.stand == Stand::Failed) {
                (run.1, run.2) = (file.active, file.stand);
            }
        }
        let mut tasks = TaskMetrics { total: 0, running: 0, completed: 0, failed: 0 };
        for (at_work, active, stand) in runs.into_values() {
            if active.as_unix_micros() < since {
                continue;
            }
            tasks.total += 1;
            match stand {
                _ if at_work => tasks.running += 1,
                Stand::Failed => tasks.failed += 1,
                _ => tasks.completed += 1,
            }
        }
        tasks
    }

    /// Reads what was added to one transcript.
    fn read(&mut self, root: &AgentsRoot, adw_id: AdwId, role: &RoleName) {
        let key = (adw_id, role.clone());
        // Most have not changed; they are not opened.
        let path = root.path().join(adw_id.as_str()).join(role.as_str()).join(TRANSCRIPT_FILE);
        let Ok(metadata) = fs::symlink_metadata(&path) else { return };
        let unchanged = |file: &Counted, metadata: &fs::Metadata| {
            file.identity == FileIdentity::of(metadata) && file.offset == metadata.len()
        };
        if self.files.get(&key).is_some_and(|file| unchanged(file, &metadata)) {
            return;
        }
        let Ok((mut opened, metadata)) = root.file(adw_id, &[role.as_str(), TRANSCRIPT_FILE]) else { return };
        let identity = FileIdentity::of(&metadata);
        let written = metadata.modified().unwrap_or_else(|_| SystemTime::now());
        let mut file = match self.files.remove(&key) {
            Some(mut file) => {
                // Another file, or one that was written anew: what is in it is read from its start.
                if file.identity != identity || metadata.len() < file.offset {
                    (file.identity, file.offset, file.begun) = (identity, 0, Some(Vec::new()));
                }
                file.written = written;
                file
            }
            None => Counted::new(identity, written),
        };
        if opened.seek(SeekFrom::Start(file.offset)).is_ok() {
            // As much as there was when it was opened: a file that grows as fast as it is read ends all the same.
            let mut left = opened.take(metadata.len().saturating_sub(file.offset));
            let mut buffer = vec![0; READ_BYTES];
            while let Ok(read @ 1..) = left.read(&mut buffer) {
                file.offset += read as u64;
                for (at, piece) in buffer.get(..read).unwrap_or_default().split(|byte| *byte == b'\n').enumerate() {
                    if at > 0 {
                        self.end_of_line(&mut file, adw_id, role);
                    }
                    file.take(piece);
                }
            }
        }
        self.files.insert(key, file);
    }

    fn end_of_line(&mut self, file: &mut Counted, adw_id: AdwId, role: &RoleName) {
        let Some(line) = file.begun.replace(Vec::new()) else { return };
        let Ok(line) = serde_json::from_slice::<Value>(&line) else { return };
        let time = line.get("timestamp").and_then(Value::as_str).and_then(|time| time.parse().ok());
        let time: Time = time.unwrap_or_else(|| instant(file.written));
        match (text(&line, "type"), text(&line, "subtype")) {
            (Some("system"), Some("init")) => {
                let session = text(&line, "session_id").unwrap_or_default();
                if file.sessions.more(session, [0, 0]).0 {
                    self.sums_at(time).sessions += 1;
                }
                if file.stand != Stand::AtWork {
                    self.happened(time, format!("{adw_id}: {role} at work"));
                }
                (file.stand, file.active, file.turn) = (Stand::AtWork, time, [0, 0]);
            }
            (Some("assistant"), _) => self.message(file, &line, time),
            (Some("result"), subtype) => {
                let failed = subtype != Some("success") || line.get("is_error").and_then(Value::as_bool) == Some(true);
                self.ended(file, &line, time);
                let how = if failed { "failed" } else { "completed" };
                self.happened(time, format!("{adw_id}: {role} {how}"));
                (file.stand, file.active) = (if failed { Stand::Failed } else { Stand::Completed }, time);
            }
            _ => {}
        }
    }

    fn message(&mut self, file: &mut Counted, line: &Value, time: Time) {
        let Some(message) = line.get("message") else { return };
        file.active = file.active.max(time);
        if let Some(id) = text(message, "id") {
            let (new, more) = file.messages.more(id, tokens(message.get("usage")));
            file.turn = [file.turn[0] + more[0], file.turn[1] + more[1]];
            let sums = self.sums_at(time);
            sums.requests += u64::from(new);
            sums.read_tokens += more[0];
            sums.written_tokens += more[1];
        }
        for block in message.get("content").and_then(Value::as_array).into_iter().flatten() {
            if text(block, "type") != Some("tool_use") {
                continue;
            }
            let known = text(block, "id").is_some_and(|id| !file.calls.more(id, [0, 0]).0);
            if let (Some(name), false) = (text(block, "name"), known) {
                let name = self.tool(name);
                *self.sums_at(time).tools.entry(name).or_default() += 1;
            }
        }
    }

    fn ended(&mut self, file: &mut Counted, line: &Value, time: Time) {
        let session = text(line, "session_id").unwrap_or_default();
        let models = line.get("modelUsage").and_then(Value::as_object);
        let of = |family: &str| {
            let named = models.into_iter().flatten().filter(|(model, _)| model.to_ascii_lowercase().contains(family));
            named.map(|(_, used)| number(used.get("costUSD"))).sum()
        };
        let more = file.spent(session, [number(line.get("total_cost_usd")), of("haiku"), of("sonnet")]);
        let whole = tokens(line.get("usage"));
        let rest = [whole[0].saturating_sub(file.turn[0]), whole[1].saturating_sub(file.turn[1])];
        file.turn = [0, 0];
        let sums = self.sums_at(time);
        sums.cost_usd += more[0];
        sums.haiku_usd += more[1];
        sums.sonnet_usd += more[2];
        sums.read_tokens += rest[0];
        sums.written_tokens += rest[1];
    }

    fn sums_at(&mut self, time: Time) -> &mut Sums {
        self.sums.entry(time.as_unix_micros().div_euclid(SPAN)).or_default()
    }

    /// The name under which calls of a tool count.
    fn tool(&mut self, name: &str) -> String {
        let name = shortened(&one_line(name, MAX_NAME), MAX_NAME);
        if self.tools.contains(&name) {
            return name;
        }
        if self.tools.len() >= MAX_TOOLS {
            return "other".to_owned();
        }
        self.tools.insert(name.clone());
        name
    }

    fn happened(&mut self, time: Time, description: String) {
        self.activity.push_back(ActivityEntry { description, time });
        // Twice as many as are kept: they come file by file, not in the order of time.
        if self.activity.len() > 2 * MAX_ACTIVITY {
            let mut entries: Vec<ActivityEntry> = self.activity.drain(..).collect();
            entries.sort_by_key(|entry| entry.time);
            self.activity = entries.split_off(entries.len().saturating_sub(MAX_ACTIVITY)).into();
        }
    }
}

impl Counted {
    fn new(identity: FileIdentity, written: SystemTime) -> Self {
        Self {
            identity,
            offset: 0,
            written,
            begun: Some(Vec::new()),
            stand: Stand::NotBegun,
            active: instant(written),
            messages: Recent::default(),
            calls: Recent::default(),
            sessions: Recent::default(),
            spent: VecDeque::new(),
            turn: [0, 0],
        }
    }

    /// A piece of the line that has begun.
    fn take(&mut self, piece: &[u8]) {
        if self.begun.as_ref().is_some_and(|line| line.len() + piece.len() > MAX_LINE) {
            self.begun = None;
        }
        if let Some(line) = &mut self.begun {
            line.extend_from_slice(piece);
        }
    }

    /// What was spent in a session since it was looked at last. A sum that is lower than before is that of another process
    /// that went on with the session, and counts from nothing.
    fn spent(&mut self, session: &str, now: [f64; 3]) -> [f64; 3] {
        let place = self.spent.iter().position(|(known, _)| known == session);
        let before = place.and_then(|place| self.spent.remove(place)).map_or([0.0; 3], |(_, before)| before);
        if self.spent.len() >= RECENT {
            self.spent.pop_front();
        }
        self.spent.push_back((session.to_owned(), now));
        if now[0] < before[0] {
            return now;
        }
        [now[0] - before[0], (now[1] - before[1]).max(0.0), (now[2] - before[2]).max(0.0)]
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn number(value: Option<&Value>) -> f64 {
    value.and_then(Value::as_f64).filter(|number| (0.0..1e9).contains(number)).unwrap_or_default()
}

/// Tokens of a usage, read and written.
fn tokens(usage: Option<&Value>) -> [u64; 2] {
    let of =
        |key: &str| usage.and_then(|usage| usage.get(key)).and_then(Value::as_u64).unwrap_or_default().min(1 << 40);
    [of("input_tokens") + of("cache_creation_input_tokens") + of("cache_read_input_tokens"), of("output_tokens")]
}

/// To a millionth of a dollar: sums of fractions differ behind that with the order in which they were added.
fn rounded(dollars: f64) -> f64 {
    (dollars * 1e6).round() / 1e6
}

fn instant(time: SystemTime) -> Time {
    let micros = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
    Time::from_unix_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
