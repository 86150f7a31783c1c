//! The history of one process: everything in memory, bounded, gone at the end (LOG-10).
//!
//! Each stream is a queue of shared events. A realm-wide index by number serves observers and the realm's own bound. A
//! stream remembers the highest number it evicted (its floor), so that whoever comes back later is told exactly whether
//! something is missing (LOG-04).

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use eventwire_protocol::{
    Audience, Committed, Delivery, Envelope, Epoch, ErrorBody, ErrorCode, EventId, Position, Root, Seq, Time,
    frame::Logged,
    limits::{self, StreamBounds},
};

use super::{Append, Checkpoint, Floor, Heads, History, Idempotency, Outcome, Page, PageBounds, Receipt, Record};

/// How much a memory history keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// Of each ADW stream.
    pub adw: StreamBounds,
    /// Of every other stream.
    pub other: StreamBounds,
    /// Bytes over all streams.
    pub realm_bytes: usize,
    /// Streams that are remembered at all; the one that was quiet longest goes first.
    pub streams: usize,
    /// Keys whose newest value is kept.
    pub latest_keys: usize,
}

impl Default for MemoryBounds {
    fn default() -> Self {
        Self {
            adw: StreamBounds::ADW,
            other: StreamBounds::DEFAULT,
            realm_bytes: limits::REALM_BYTES,
            streams: 100_000,
            latest_keys: limits::LATEST_KEYS,
        }
    }
}

/// A history in memory.
#[derive(Debug)]
pub struct MemoryHistory {
    epoch: Epoch,
    bounds: MemoryBounds,
    log: Mutex<Log>,
}

impl MemoryHistory {
    /// An empty history of a new epoch.
    pub fn new(epoch: Epoch, bounds: MemoryBounds) -> Self {
        Self { epoch, bounds, log: Mutex::default() }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Log {
    head: Position,
    streams: HashMap<Audience, Stream>,
    /// The streams of each root; a root has one stream for each part of its audience.
    roots: HashMap<Root, Vec<Audience>>,
    /// Every kept event by number.
    order: BTreeMap<u64, Kept>,
    bytes: usize,
    /// The highest number of any event that was evicted or whose stream was forgotten.
    realm_floor: Position,
    /// The highest number of any stream that was forgotten.
    forgotten: Position,
    latest: Latest,
    keys: HashMap<(Arc<str>, EventId), Answered>,
    keys_by_age: VecDeque<(Time, (Arc<str>, EventId))>,
    checkpoints: BTreeMap<(String, String), String>,
    appended: u64,
    swept: Option<Time>,
}

#[derive(Debug)]
struct Stream {
    events: VecDeque<Kept>,
    bytes: usize,
    head: Position,
    floor: Position,
}

#[derive(Clone, Debug)]
struct Kept {
    event: Arc<Committed>,
    seq: Seq,
    since: Time,
}

#[derive(Debug)]
struct Answered {
    digest: [u8; 32],
    receipt: Receipt,
}

/// The newest value of each key, and the order in which keys were last written.
#[derive(Debug, Default)]
struct Latest {
    values: HashMap<LatestKey, (u64, Time, Arc<Committed>)>,
    by_root: HashMap<Root, Vec<LatestKey>>,
    by_age: BTreeMap<u64, LatestKey>,
    writes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LatestKey {
    audience: Audience,
    kind: Arc<str>,
    key: Option<Arc<str>>,
}

fn age(since: Time, now: Time) -> u128 {
    u128::try_from(now.as_unix_micros().saturating_sub(since.as_unix_micros())).unwrap_or(0)
}

impl Log {
    /// Refuses an append before anything of it is written.
    fn check(&self, records: &[Record]) -> Result<(), ErrorBody> {
        let mut heads: HashMap<&Audience, Option<Position>> = HashMap::new();
        for record in records {
            let audience = record.envelope.audience();
            if let Some(Idempotency { principal, key, digest }) = &record.idempotency
                && let Some(answered) = self.keys.get(&(principal.clone(), key.clone()))
            {
                if answered.digest != *digest {
                    return Err(ErrorBody::new(
                        ErrorCode::Conflict,
                        format!("id {key} was used for another event within the last 10 minutes"),
                    ));
                }
                continue;
            }
            if let Some(expected) = record.expected_prev {
                // Behind an event of the same append the head is not known before it is numbered.
                let head = heads
                    .get(audience)
                    .copied()
                    .unwrap_or(Some(self.streams.get(audience).map_or(Position::START, |stream| stream.head)));
                if head != Some(expected) {
                    return Err(ErrorBody::new(
                        ErrorCode::Fenced,
                        format!("expected_prev is {expected}, but the stream {audience} has moved on"),
                    ));
                }
            }
            if record.envelope.is_logged() {
                heads.insert(audience, None);
            }
        }
        Ok(())
    }

    fn write(&mut self, now: Time, record: Record, bounds: &MemoryBounds) -> Result<Outcome, ErrorBody> {
        let name = record.idempotency.as_ref().map(|it| (it.principal.clone(), it.key.clone()));
        if let Some(answered) = name.as_ref().and_then(|name| self.keys.get(name)) {
            return Ok(Outcome::Repeated(answered.receipt));
        }
        let envelope = record.envelope;
        let outcome = match envelope.delivery() {
            _ if envelope.is_logged() => self.log(now, envelope, bounds)?,
            Delivery::Latest { .. } if !matches!(envelope.audience(), Audience::Connection(_)) => {
                let event = Arc::new(Committed::new(envelope, None));
                self.latest.keep(now, event.clone(), bounds.latest_keys);
                event
            }
            _ => Arc::new(Committed::new(envelope, None)),
        };
        let outcome = Outcome::Committed(outcome);
        if let (Some(name), Some(Idempotency { digest, .. })) = (name, record.idempotency) {
            self.keys_by_age.push_back((now, name.clone()));
            self.keys.insert(name, Answered { digest, receipt: outcome.receipt() });
        }
        Ok(outcome)
    }

    fn log(&mut self, now: Time, envelope: Envelope, bounds: &MemoryBounds) -> Result<Arc<Committed>, ErrorBody> {
        let Some(seq) = Seq::new(self.head.as_u64() + 1) else {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "the history has used up its numbers"));
        };
        let audience = envelope.audience().clone();
        let forgotten = self.forgotten;
        let stream = match self.streams.entry(audience.clone()) {
            Entry::Occupied(stream) => stream.into_mut(),
            Entry::Vacant(place) => {
                if let Some(root) = audience.root() {
                    self.roots.entry(root).or_default().push(audience.clone());
                }
                // Forgotten streams may have been this one: whoever is older than that may lack something (LOG-04).
                place.insert(Stream { events: VecDeque::new(), bytes: 0, head: Position::START, floor: forgotten })
            }
        };
        let event = Arc::new(Committed::new(envelope, Some(Logged { seq, prev: stream.head })));
        let kept = Kept { event: event.clone(), seq, since: now };
        stream.head = seq.into();
        stream.bytes += event.size();
        stream.events.push_back(kept.clone());
        self.bytes += event.size();
        self.head = seq.into();
        self.order.insert(seq.as_u64(), kept);
        self.trim(&audience, now, bounds);
        while self.bytes > bounds.realm_bytes {
            let Some(oldest) = self.order.first_key_value().map(|(_, kept)| kept.event.envelope().audience().clone())
            else {
                break;
            };
            self.evict(&oldest);
        }
        Ok(event)
    }

    /// Evicts what exceeds the bounds of a stream.
    fn trim(&mut self, audience: &Audience, now: Time, bounds: &MemoryBounds) {
        let limit = match audience {
            Audience::Adw(..) => bounds.adw,
            _ => bounds.other,
        };
        loop {
            let Some(stream) = self.streams.get(audience) else { return };
            let Some(oldest) = stream.events.front() else { return };
            let over = stream.events.len() > limit.events
                || stream.bytes > limit.bytes
                || age(oldest.since, now) > limit.age.as_micros();
            if !over {
                return;
            }
            self.evict(audience);
        }
    }

    /// Evicts the oldest event of a stream.
    fn evict(&mut self, audience: &Audience) {
        let Some(stream) = self.streams.get_mut(audience) else { return };
        let Some(kept) = stream.events.pop_front() else { return };
        stream.bytes -= kept.event.size();
        stream.floor = kept.seq.into();
        self.bytes -= kept.event.size();
        self.order.remove(&kept.seq.as_u64());
        self.realm_floor = self.realm_floor.max(kept.seq.into());
    }

    /// Evicts what has become too old anywhere, and forgets streams beyond the bound. Now and then.
    fn sweep(&mut self, now: Time, bounds: &MemoryBounds) {
        self.swept = Some(now);
        let audiences: Vec<Audience> = self.streams.keys().cloned().collect();
        for audience in &audiences {
            self.trim(audience, now, bounds);
        }
        if self.streams.len() > bounds.streams {
            let mut quiet: Vec<(Position, Audience)> =
                self.streams.iter().map(|(audience, stream)| (stream.head, audience.clone())).collect();
            quiet.sort_unstable();
            for (head, audience) in quiet.into_iter().take(self.streams.len() - bounds.streams) {
                while self.streams.get(&audience).is_some_and(|stream| !stream.events.is_empty()) {
                    self.evict(&audience);
                }
                self.streams.remove(&audience);
                if let Some(root) = audience.root()
                    && let Some(streams) = self.roots.get_mut(&root)
                {
                    streams.retain(|of| *of != audience);
                    if streams.is_empty() {
                        self.roots.remove(&root);
                    }
                }
                self.forgotten = self.forgotten.max(head);
                self.realm_floor = self.realm_floor.max(head);
            }
        }
        self.latest.sweep(now);
    }

    /// Forgets idempotency keys whose time is over.
    fn expire_keys(&mut self, now: Time) {
        while let Some((since, name)) = self.keys_by_age.front() {
            if age(*since, now) <= limits::IDEMPOTENCY_AGE.as_micros() {
                break;
            }
            self.keys.remove(name);
            self.keys_by_age.pop_front();
        }
    }

    fn head_of(&self, root: &Root) -> Position {
        match root {
            Root::Realm => self.head,
            root => self
                .roots
                .get(root)
                .into_iter()
                .flatten()
                .filter_map(|audience| self.streams.get(audience))
                .map(|stream| stream.head)
                .max()
                .unwrap_or_default(),
        }
    }

    fn floors(&self, from: &[(Root, Position)]) -> Vec<Floor> {
        let mut floors = Vec::new();
        for (root, since) in from {
            let mut missing = |stream: Option<&Audience>, floor: Position| {
                if *since < floor {
                    floors.push(Floor { root: root.clone(), stream: stream.cloned(), floor });
                }
            };
            match (root, self.roots.get(root)) {
                (Root::Realm, _) => missing(None, self.realm_floor),
                (_, Some(streams)) => {
                    for audience in streams {
                        if let Some(stream) = self.streams.get(audience) {
                            missing(Some(audience), stream.floor);
                        }
                    }
                }
                (_, None) => missing(None, self.forgotten),
            }
        }
        floors
    }

    /// The streams to read, each with the position to read from.
    fn wanted(&self, from: &[(Root, Position)]) -> Vec<(&Stream, Position)> {
        from.iter()
            .filter_map(|(root, at)| self.roots.get(root).map(|streams| (streams, *at)))
            .flat_map(|(streams, at)| streams.iter().map(move |audience| (audience, at)))
            .filter_map(|(audience, at)| self.streams.get(audience).map(|stream| (stream, at)))
            .collect()
    }

    fn page(&self, epoch: Epoch, from: &[(Root, Position)], bounds: PageBounds) -> Page {
        let mut page = Page { epoch, events: Vec::new(), upto: self.head, end: true, floors: self.floors(from) };
        let mut bytes = 0;
        let mut take = |kept: &Kept| {
            let size = kept.event.size();
            if !page.events.is_empty() && (page.events.len() == bounds.events || bytes + size > bounds.bytes) {
                page.end = false;
                return false;
            }
            bytes += size;
            page.events.push(kept.event.clone());
            true
        };
        // Whoever observes reads the index of the realm; everybody else a merge of the streams they ask for.
        if let Some((_, at)) = from.iter().find(|(root, _)| *root == Root::Realm) {
            let lowest = from.iter().map(|(_, at)| *at).min().unwrap_or(*at);
            let wanted = |kept: &Kept| {
                let root = kept.event.envelope().audience().root();
                let named = from.iter().find(|(of, _)| Some(of) == root.as_ref());
                !named.map_or(*at, |(_, at)| *at).covers(kept.seq)
            };
            for kept in self.order.range(lowest.as_u64() + 1..).map(|(_, kept)| kept).filter(|kept| wanted(kept)) {
                if !take(kept) {
                    break;
                }
            }
        } else {
            let mut streams: Vec<_> = self
                .wanted(from)
                .into_iter()
                .map(|(stream, at)| {
                    let first = stream.events.partition_point(|kept| at.covers(kept.seq));
                    stream.events.range(first..).peekable()
                })
                .collect();
            loop {
                let next = streams
                    .iter_mut()
                    .filter_map(|events| events.peek().map(|kept| kept.seq).map(|seq| (seq, events)))
                    .min_by_key(|(seq, _)| *seq);
                let Some((_, events)) = next else { break };
                let Some(kept) = events.peek() else { break };
                if !take(kept) {
                    break;
                }
                events.next();
            }
        }
        if !page.end
            && let Some(last) = page.events.last().and_then(|event| event.logged())
        {
            page.upto = last.seq.into();
        }
        page
    }
}

impl Latest {
    fn keep(&mut self, now: Time, event: Arc<Committed>, bound: usize) {
        let envelope = event.envelope();
        let key = LatestKey {
            audience: envelope.audience().clone(),
            kind: envelope.kind().as_str().into(),
            key: envelope.key().map(Into::into),
        };
        self.writes += 1;
        match self.values.insert(key.clone(), (self.writes, now, event)) {
            Some((before, ..)) => {
                self.by_age.remove(&before);
            }
            None => {
                if let Some(root) = key.audience.root() {
                    self.by_root.entry(root).or_default().push(key.clone());
                }
            }
        }
        self.by_age.insert(self.writes, key);
        while self.values.len() > bound {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.by_age.pop_first() else { return };
        self.values.remove(&key);
        if let Some(root) = key.audience.root()
            && let Some(keys) = self.by_root.get_mut(&root)
        {
            keys.retain(|of| *of != key);
            if keys.is_empty() {
                self.by_root.remove(&root);
            }
        }
    }

    fn sweep(&mut self, now: Time) {
        while let Some(key) = self.by_age.first_key_value().map(|(_, key)| key) {
            let fresh =
                self.values.get(key).is_some_and(|(_, since, _)| age(*since, now) <= limits::LATEST_AGE.as_micros());
            if fresh {
                break;
            }
            self.forget_oldest();
        }
    }

    fn of(&self, roots: &[Root]) -> Vec<Arc<Committed>> {
        let mut found: Vec<&(u64, Time, Arc<Committed>)> = if roots.contains(&Root::Realm) {
            self.values.values().collect()
        } else {
            roots
                .iter()
                .filter_map(|root| self.by_root.get(root))
                .flatten()
                .filter_map(|key| self.values.get(key))
                .collect()
        };
        found.sort_unstable_by_key(|(write, ..)| *write);
        found.into_iter().map(|(.., event)| event.clone()).collect()
    }
}

/// Appends between two sweeps.
const SWEEP_EVERY: u64 = 1_024;

/// How long whoever observes everything may still find what has become too old.
const SWEEP_AGE: Duration = Duration::from_secs(1);

#[async_trait]
impl History for MemoryHistory {
    async fn append(&self, now: Time, appends: Vec<Append>) -> Result<Vec<Result<Vec<Outcome>, ErrorBody>>, ErrorBody> {
        let mut log = self.log();
        let mut write = |append: Append| {
            log.expire_keys(now);
            log.check(&append.records)?;
            let outcomes: Result<Vec<Outcome>, ErrorBody> =
                append.records.into_iter().map(|record| log.write(now, record, &self.bounds)).collect();
            for Checkpoint { source, place, state } in append.checkpoints {
                match state {
                    Some(state) => log.checkpoints.insert((source, place), state),
                    None => log.checkpoints.remove(&(source, place)),
                };
            }
            log.appended += 1;
            if log.appended.is_multiple_of(SWEEP_EVERY) {
                log.sweep(now, &self.bounds);
            }
            outcomes
        };
        Ok(appends.into_iter().map(&mut write).collect())
    }

    async fn heads(&self, roots: &[Root]) -> Result<Heads, ErrorBody> {
        let log = self.log();
        Ok(Heads { epoch: self.epoch, head: log.head, roots: roots.iter().map(|root| log.head_of(root)).collect() })
    }

    async fn read(&self, now: Time, from: &[(Root, Position)], bounds: PageBounds) -> Result<Page, ErrorBody> {
        let mut log = self.log();
        if from.iter().any(|(root, _)| *root == Root::Realm)
            && log.swept.is_none_or(|swept| age(swept, now) >= SWEEP_AGE.as_micros())
        {
            log.sweep(now, &self.bounds);
        }
        let streams: Vec<Audience> =
            from.iter().filter_map(|(root, _)| log.roots.get(root)).flatten().cloned().collect();
        for audience in &streams {
            log.trim(audience, now, &self.bounds);
        }
        Ok(log.page(self.epoch, from, bounds))
    }

    async fn latest(&self, now: Time, roots: &[Root]) -> Result<Vec<Arc<Committed>>, ErrorBody> {
        let mut log = self.log();
        log.latest.sweep(now);
        Ok(log.latest.of(roots))
    }

    async fn checkpoints(&self, source: &str) -> Result<Vec<Checkpoint>, ErrorBody> {
        let log = self.log();
        Ok(log
            .checkpoints
            .iter()
            .filter(|((of, _), _)| of == source)
            .map(|((source, place), state)| Checkpoint {
                source: source.clone(),
                place: place.clone(),
                state: Some(state.clone()),
            })
            .collect())
    }
}
