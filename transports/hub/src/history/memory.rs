//! The history of one process: everything in memory, bounded, gone at the end (LOG-10).
//!
//! Four pots hold what publishers made: the log, the newest values, the idempotency keys and the checkpoints, each with a bound
//! in resident bytes and an account for every publisher (LIMIT-10, LIMIT-11). In the log each stream is a queue of events, and
//! what is evicted is always the oldest event of a stream, so that one number, its floor, says exactly what a reader
//! misses (LOG-04). Frames are not kept: they live as long as a receiver holds the event, and are shared meanwhile.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use async_trait::async_trait;
use eventwire_protocol::{
    Audience, Committed, Delivery, Envelope, Epoch, ErrorBody, ErrorCode, Position, Seq, SessionId, Stored, Target,
    Time,
    address::{AdwLayer, Visibility},
    footprint,
    frame::Logged,
    limits::{self, StreamBounds},
};
use hashbrown::HashTable;

use super::{
    Append, Checkpoint, Evictions, Floor, Heads, History, MissedValue, Outcome, Page, PageBounds, PotUsage, Record,
    Usage,
    checkpoints::Checkpoints,
    keys::Keys,
    latest::Latest,
    pot::{INDEX_BYTES, Lane, Pot, Slot},
};
use crate::holder::Holder;

/// How much a memory history keeps. Bytes are resident bytes (LIMIT-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// Of each ADW stream.
    pub adw: StreamBounds,
    /// Of every other stream.
    pub other: StreamBounds,
    /// Bytes of the log: all events, and what is remembered of their streams.
    pub realm_bytes: usize,
    /// Bytes of the newest values.
    pub latest_bytes: usize,
    /// Keys whose newest value is kept.
    pub latest_keys: usize,
    /// Bytes of the idempotency keys.
    pub idempotency_bytes: usize,
    /// Bytes of the checkpoints of sources.
    pub checkpoint_bytes: usize,
}

impl Default for MemoryBounds {
    fn default() -> Self {
        Self {
            adw: StreamBounds::ADW,
            other: StreamBounds::DEFAULT,
            realm_bytes: limits::REALM_BYTES,
            latest_bytes: limits::LATEST_BYTES,
            latest_keys: limits::LATEST_KEYS,
            idempotency_bytes: limits::IDEMPOTENCY_BYTES,
            checkpoint_bytes: limits::CHECKPOINT_BYTES,
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
        Self { epoch, bounds, log: Mutex::new(Log::new(&bounds)) }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Log {
    head: Position,
    /// Events and streams. Events age in two lanes, for those of ADWs live longer; streams do not age.
    entries: Pot<Item>,
    streams: HashTable<Slot>,
    hasher: RandomState,
    /// The parts of sessions that are streams of their own; those of other targets can be counted on one hand.
    parts: HashMap<SessionId, Vec<Slot>>,
    /// In each lane, the first event of every run of numbers, for readers to find where to begin.
    adw_runs: BTreeMap<u64, Slot>,
    other_runs: BTreeMap<u64, Slot>,
    /// The highest number of any event that was evicted.
    realm_floor: Position,
    /// The highest number of any stream that was forgotten.
    forgotten: Position,
    evicted: u64,
    latest: Latest,
    keys: Keys,
    checkpoints: Checkpoints,
    /// What was evicted of each holder since it last asked.
    unreported: HashMap<Holder, Evictions>,
    warned: Option<Time>,
}

#[derive(Debug)]
enum Item {
    Event(Kept),
    Stream(Box<Stream>),
}

#[derive(Debug)]
struct Kept {
    stored: Arc<Stored>,
    /// With its frames, as long as a receiver holds it.
    shared: Weak<Committed>,
    stream: Slot,
}

impl Kept {
    fn seq(&self) -> Option<Seq> {
        self.stored.logged().map(|logged| logged.seq)
    }
}

#[derive(Debug)]
struct Stream {
    audience: Audience,
    events: VecDeque<Slot>,
    bytes: usize,
    head: Position,
    floor: Position,
    /// The highest number of another stream of the same target that was forgotten. A reader of the target has only this one to
    /// learn it from (LOG-04).
    lost: Position,
}

/// Resident bytes of the place for frames of one event. It outlasts the frames themselves.
pub(super) const FRAMES_BYTES: usize = footprint::shared(size_of::<Committed>());

/// Resident bytes of one event in the queue of its stream, half of which may be free.
const QUEUED_BYTES: usize = 2 * size_of::<Slot>();

/// Resident bytes of a stream without its events and identifiers: itself, its index, the smallest queue.
const STREAM_BYTES: usize =
    footprint::allocated(size_of::<Stream>()) + INDEX_BYTES + footprint::allocated(4 * size_of::<Slot>());

/// Resident bytes of a part of a session in the table of parts.
const PART_BYTES: usize = 160;

/// Numbers in one run of the index.
const RUN: u64 = 256;

/// Holders in the list of unreported evictions. Evictions of further holders are only counted.
const UNREPORTED: usize = 1_024;

/// Between two lines in the log about evicted values or keys, in microseconds.
const WARN_EVERY: u128 = 60_000_000;

/// Microseconds since a moment; none for a moment of the future.
pub(super) fn age(since: Time, now: Time) -> u128 {
    u128::try_from(now.as_unix_micros().saturating_sub(since.as_unix_micros())).unwrap_or(0)
}

/// The event with the frames that other receivers have of it now.
pub(super) fn shared(stored: &Arc<Stored>, frames: &mut Weak<Committed>) -> Arc<Committed> {
    frames.upgrade().unwrap_or_else(|| {
        let event = Arc::new(Committed::from(stored.clone()));
        *frames = Arc::downgrade(&event);
        event
    })
}

fn lane_of(audience: &Audience) -> Lane {
    if matches!(audience, Audience::Adw(..)) { Lane::Second } else { Lane::First }
}

impl Log {
    fn new(bounds: &MemoryBounds) -> Self {
        Self {
            head: Position::START,
            entries: Pot::new(bounds.realm_bytes, None),
            streams: HashTable::new(),
            hasher: RandomState::new(),
            parts: HashMap::new(),
            adw_runs: BTreeMap::new(),
            other_runs: BTreeMap::new(),
            realm_floor: Position::START,
            forgotten: Position::START,
            evicted: 0,
            latest: Latest::new(bounds.latest_bytes, bounds.latest_keys),
            keys: Keys::new(bounds.idempotency_bytes),
            checkpoints: Checkpoints::new(bounds.checkpoint_bytes),
            unreported: HashMap::new(),
            warned: None,
        }
    }

    fn stream(&self, slot: Slot) -> Option<&Stream> {
        match self.entries.get(slot)? {
            Item::Stream(stream) => Some(stream),
            Item::Event(_) => None,
        }
    }

    fn stream_mut(&mut self, slot: Slot) -> Option<&mut Stream> {
        match self.entries.get_mut(slot)? {
            Item::Stream(stream) => Some(stream),
            Item::Event(_) => None,
        }
    }

    fn kept(&self, slot: Slot) -> Option<&Kept> {
        match self.entries.get(slot)? {
            Item::Event(kept) => Some(kept),
            Item::Stream(_) => None,
        }
    }

    fn seq(&self, slot: Slot) -> Option<Seq> {
        self.kept(slot).and_then(Kept::seq)
    }

    fn find(&self, audience: &Audience) -> Option<Slot> {
        let is_it = |slot: &Slot| self.stream(*slot).is_some_and(|stream| stream.audience == *audience);
        self.streams.find(self.hasher.hash_one(audience), is_it).copied()
    }

    /// The streams of a target.
    fn streams_of(&self, target: &Target) -> Vec<Slot> {
        let one = |audience: Audience| self.find(&audience);
        match target {
            Target::Adw(id) => [AdwLayer::Blocks, AdwLayer::Raw]
                .into_iter()
                .filter_map(|layer| one(Audience::Adw(*id, layer)))
                .collect(),
            Target::Session(id) => {
                let whole = one(Audience::Session(id.clone(), Visibility::Public));
                whole.into_iter().chain(self.parts.get(id).into_iter().flatten().copied()).collect()
            }
            Target::User(id) => one(Audience::User(id.clone())).into_iter().collect(),
            Target::Room(name) => one(Audience::Room(name.clone())).into_iter().collect(),
            Target::Global => one(Audience::Global).into_iter().collect(),
            Target::Realm => Vec::new(),
        }
    }

    fn head_in(&self, audience: &Audience) -> Position {
        self.find(audience).and_then(|slot| self.stream(slot)).map_or(Position::START, |stream| stream.head)
    }

    /// Refuses an append before anything of it is written.
    fn check(&self, records: &[Record]) -> Result<(), ErrorBody> {
        // Streams that an earlier event of the same append moves on. Their heads are not known before it is numbered.
        let mut moved: Vec<&Audience> = Vec::new();
        for record in records {
            let audience = record.envelope.audience();
            if let Some(of) = &record.idempotency
                && let Some(answer) = self.keys.find(of)
            {
                if answer.digest != of.digest {
                    return Err(ErrorBody::new(
                        ErrorCode::Conflict,
                        format!("id {} was used for another event within the last 10 minutes", of.key),
                    ));
                }
                continue;
            }
            if let Some(expected) = record.expected_prev
                && (moved.contains(&audience) || self.head_in(audience) != expected)
            {
                // The number of an earlier event of the same append is not known yet.
                let newest = match moved.contains(&audience) {
                    true => "an event before it in the same request".to_owned(),
                    false => self.head_in(audience).to_string(),
                };
                return Err(ErrorBody::new(
                    ErrorCode::Fenced,
                    format!("expected_prev is {expected}, but the newest event of {audience} is {newest}"),
                ));
            }
            if records.len() > 1 && record.envelope.is_logged() && !moved.contains(&audience) {
                moved.push(audience);
            }
        }
        Ok(())
    }

    fn write(&mut self, now: Time, record: Record, bounds: &MemoryBounds) -> Result<Outcome, ErrorBody> {
        let Record { envelope, idempotency, holder, .. } = record;
        if let Some(answer) = idempotency.as_ref().and_then(|of| self.keys.find(of)) {
            return Ok(Outcome::Repeated(answer.receipt()));
        }
        let event = match envelope.delivery() {
            _ if envelope.is_logged() => self.log(now, &holder, envelope, bounds)?,
            Delivery::Latest { .. } if !matches!(envelope.audience(), Audience::Connection(_)) => {
                let event = Arc::new(Committed::new(envelope, None));
                self.latest.keep(now, &holder, &event);
                while let Some(of) = self.latest.evict(now) {
                    self.note(now, of, Evictions { values: 1, ..Evictions::default() });
                }
                event
            }
            _ => Arc::new(Committed::new(envelope, None)),
        };
        if let Some(of) = idempotency {
            self.keys.keep(now, &holder, of, event.logged());
            while let Some(of) = self.keys.evict() {
                self.note(now, of, Evictions { ids: 1, ..Evictions::default() });
            }
        }
        Ok(Outcome::Committed(event))
    }

    /// Notes an eviction for its holder, and writes a line to the log now and then.
    fn note(&mut self, now: Time, of: Holder, evicted: Evictions) {
        if self.warned.is_none_or(|warned| age(warned, now) >= WARN_EVERY) {
            self.warned = Some(now);
            let (values, ids) = (self.latest.usage().evicted, self.keys.usage().evicted);
            let checkpoints = self.checkpoints.usage().evicted;
            tracing::warn!(
                holder = ?of, values, ids, checkpoints,
                "newest values, idempotency keys or checkpoints of the largest publisher were evicted: raise latest_bytes, \
                 idempotency_bytes or checkpoint_bytes, or publish fewer keys"
            );
        }
        if self.unreported.len() < UNREPORTED || self.unreported.contains_key(&of) {
            *self.unreported.entry(of).or_default() += evicted;
        }
    }

    /// Takes over where a source is.
    fn write_checkpoint(&mut self, now: Time, holder: &Holder, checkpoint: Checkpoint) {
        self.checkpoints.keep(now, holder, checkpoint);
        while let Some(of) = self.checkpoints.evict() {
            self.note(now, of, Evictions { checkpoints: 1, ..Evictions::default() });
        }
    }

    fn log(
        &mut self,
        now: Time,
        holder: &Holder,
        envelope: Envelope,
        bounds: &MemoryBounds,
    ) -> Result<Arc<Committed>, ErrorBody> {
        let full = || ErrorBody::new(ErrorCode::Unavailable, "the history has used up its numbers");
        let seq = Seq::new(self.head.as_u64() + 1).ok_or_else(full)?;
        let lane = lane_of(envelope.audience());
        let at = match self.find(envelope.audience()) {
            Some(at) => at,
            None => self.open(now, holder, envelope.audience()).ok_or_else(full)?,
        };
        let prev = self.stream(at).map_or(Position::START, |stream| stream.head);
        let event = Arc::new(Committed::new(envelope, Some(Logged { seq, prev })));
        let stored = event.stored().clone();
        let cost = stored.footprint() + FRAMES_BYTES + QUEUED_BYTES;
        let kept = Item::Event(Kept { stored, shared: Arc::downgrade(&event), stream: at });
        let slot = self.entries.push(holder, Some(lane), now, cost, kept).ok_or_else(full)?;
        if let Some(stream) = self.stream_mut(at) {
            stream.head = seq.into();
            stream.bytes += cost + Pot::<Item>::SLOT_BYTES;
            stream.events.push_back(slot);
        }
        // A stream is as old as its last event.
        self.entries.renew(at);
        self.runs_mut(lane).entry(seq.as_u64() / RUN).or_insert(slot);
        self.head = seq.into();
        self.trim(at, bounds);
        self.make_room();
        Ok(event)
    }

    /// Begins a stream.
    fn open(&mut self, now: Time, holder: &Holder, audience: &Audience) -> Option<Slot> {
        let part = match audience {
            Audience::Session(id, Visibility::Private(_) | Visibility::AgentOnly(_)) => Some(id),
            _ => None,
        };
        let cost = STREAM_BYTES + audience.footprint() + part.map_or(0, |_| PART_BYTES);
        let stream = Stream {
            audience: audience.clone(),
            events: VecDeque::new(),
            bytes: 0,
            head: Position::START,
            // Forgotten streams may have been this one: a reader that is older than that may lack something (LOG-04).
            floor: self.forgotten,
            lost: Position::START,
        };
        let slot = self.entries.push(holder, None, now, cost, Item::Stream(Box::new(stream)))?;
        let hash = self.hasher.hash_one(audience);
        let Self { streams, entries, hasher, .. } = self;
        streams.insert_unique(hash, slot, |slot| match entries.get(*slot) {
            Some(Item::Stream(stream)) => hasher.hash_one(&stream.audience),
            _ => 0,
        });
        if let Some(id) = part {
            self.parts.entry(id.clone()).or_default().push(slot);
        }
        Some(slot)
    }

    fn runs_mut(&mut self, lane: Lane) -> &mut BTreeMap<u64, Slot> {
        match lane {
            Lane::First => &mut self.other_runs,
            Lane::Second => &mut self.adw_runs,
        }
    }

    /// Evicts what exceeds the bounds of a stream in events and bytes.
    fn trim(&mut self, at: Slot, bounds: &MemoryBounds) {
        while let Some(stream) = self.stream(at) {
            let limit = match stream.audience {
                Audience::Adw(..) => &bounds.adw,
                _ => &bounds.other,
            };
            if (stream.events.len() <= limit.events && stream.bytes <= limit.bytes) || !self.evict(at) {
                return;
            }
        }
    }

    /// Evicts what has become too old. The oldest event of a lane is the oldest of its stream, too.
    fn expire(&mut self, now: Time, bounds: &MemoryBounds) {
        for (lane, limit) in [(Lane::First, bounds.other.age), (Lane::Second, bounds.adw.age)] {
            while let Some(slot) = self.entries.oldest(lane)
                && self.entries.since(slot).is_some_and(|since| age(since, now) > limit.as_micros())
                && let Some(stream) = self.kept(slot).map(|kept| kept.stream)
            {
                if !self.evict(stream) {
                    return;
                }
            }
        }
    }

    /// Evicts until the log is within its bound again: of the largest holder what it published longest ago (LIMIT-10).
    fn make_room(&mut self) {
        while let Some(slot) = self.entries.overdrawn() {
            let evicted = match self.entries.get(slot) {
                // What other holders published in the stream before it goes first: a floor is one number (LOG-04).
                Some(Item::Event(Kept { stream, .. })) => self.evict(*stream),
                Some(Item::Stream(_)) => self.forget(slot),
                None => false,
            };
            if !evicted {
                return;
            }
            self.evicted += 1;
        }
    }

    /// Evicts the oldest event of a stream, if it has one.
    fn evict(&mut self, at: Slot) -> bool {
        let Some(stream) = self.stream_mut(at) else { return false };
        let lane = lane_of(&stream.audience);
        let Some(slot) = stream.events.pop_front() else { return false };
        if stream.events.len() < stream.events.capacity() / 4 {
            stream.events.shrink_to(2 * stream.events.len().max(2));
        }
        let cost = self.entries.cost(slot);
        let seq = self.seq(slot);
        if let Some(stream) = self.stream_mut(at) {
            stream.bytes -= cost;
            stream.floor = seq.map_or(stream.floor, Position::from);
        }
        if let Some(seq) = seq {
            self.realm_floor = self.realm_floor.max(seq.into());
            let run = seq.as_u64() / RUN;
            let next =
                self.entries.newer(slot).filter(|next| self.seq(*next).is_some_and(|it| it.as_u64() / RUN == run));
            let runs = self.runs_mut(lane);
            if runs.get(&run) == Some(&slot) {
                match next {
                    Some(next) => runs.insert(run, next),
                    None => runs.remove(&run),
                };
            }
        }
        self.entries.remove(slot, Some(lane)).is_some()
    }

    /// Forgets a stream, with what others may still have in it.
    fn forget(&mut self, at: Slot) -> bool {
        while self.evict(at) {}
        let Some(Item::Stream(stream)) = self.entries.remove(at, None) else { return false };
        if let Ok(entry) = self.streams.find_entry(self.hasher.hash_one(&stream.audience), |it| *it == at) {
            entry.remove();
        }
        if let Audience::Session(id, Visibility::Private(_) | Visibility::AgentOnly(_)) = &stream.audience
            && let Some(parts) = self.parts.get_mut(id)
        {
            parts.retain(|part| *part != at);
            if parts.is_empty() {
                self.parts.remove(id);
            }
        }
        let sibling = stream.audience.target().and_then(|target| self.streams_of(&target).first().copied());
        if let Some(sibling) = sibling.and_then(|sibling| self.stream_mut(sibling)) {
            sibling.lost = sibling.lost.max(stream.head).max(stream.lost);
        }
        self.forgotten = self.forgotten.max(stream.head);
        true
    }

    fn floors(&self, from: &[(Target, Position)]) -> Vec<Floor> {
        let mut floors = Vec::new();
        for (target, since) in from {
            let mut missing = |stream: Option<&Audience>, floor: Position| {
                if *since < floor {
                    floors.push(Floor { target: target.clone(), stream: stream.cloned(), floor });
                }
            };
            let streams = self.streams_of(target);
            match target {
                Target::Realm => missing(None, self.realm_floor),
                _ if streams.is_empty() => missing(None, self.forgotten),
                _ => {
                    let mut lost = Position::START;
                    for stream in streams.into_iter().filter_map(|slot| self.stream(slot)) {
                        missing(Some(&stream.audience), stream.floor);
                        lost = lost.max(stream.lost);
                    }
                    missing(None, lost);
                }
            }
        }
        floors
    }

    /// The first event of a lane behind a position.
    fn seek(&self, lane: Lane, at: Position) -> Option<Slot> {
        let runs = if lane == Lane::Second { &self.adw_runs } else { &self.other_runs };
        let mut next = runs.range(at.as_u64() / RUN..).next().map(|(_, slot)| *slot);
        while let Some(slot) = next
            && self.seq(slot).is_some_and(|seq| at.covers(seq))
        {
            next = self.entries.newer(slot);
        }
        next
    }

    /// Every event behind a position, in the order of numbers.
    fn after(&self, at: Position) -> impl Iterator<Item = (Slot, &Kept)> {
        let (mut other, mut adw) = (self.seek(Lane::First, at), self.seek(Lane::Second, at));
        std::iter::from_fn(move || {
            let seq = |slot: Option<Slot>| slot.and_then(|slot| self.seq(slot));
            let lane = match (seq(other), seq(adw)) {
                (Some(one), Some(two)) if one < two => &mut other,
                (Some(_), None) => &mut other,
                _ => &mut adw,
            };
            let slot = (*lane)?;
            *lane = self.entries.newer(slot);
            self.kept(slot).map(|kept| (slot, kept))
        })
    }

    fn page(&mut self, epoch: Epoch, from: &[(Target, Position)], bounds: PageBounds) -> Page {
        let (mut slots, mut bytes, mut end) = (Vec::new(), 0, true);
        let mut take = |slot: Slot, kept: &Kept| {
            let size = kept.stored.size();
            if !slots.is_empty() && (slots.len() == bounds.events || bytes + size > bounds.bytes) {
                end = false;
                return false;
            }
            bytes += size;
            slots.push(slot);
            true
        };
        // An observer reads the order of the realm; every other reader a merge of the streams it asks for.
        if let Some((_, at)) = from.iter().find(|(target, _)| *target == Target::Realm) {
            let lowest = from.iter().map(|(_, at)| *at).min().unwrap_or(*at);
            let wanted = |kept: &Kept| {
                let target = kept.stored.envelope().audience().target();
                let named = from.iter().find(|(of, _)| Some(of) == target.as_ref());
                kept.seq().is_some_and(|seq| !named.map_or(*at, |(_, at)| *at).covers(seq))
            };
            for (slot, kept) in self.after(lowest).filter(|(_, kept)| wanted(kept)) {
                if !take(slot, kept) {
                    break;
                }
            }
        } else {
            let mut streams: Vec<_> = from
                .iter()
                .flat_map(|(target, at)| self.streams_of(target).into_iter().map(|stream| (stream, *at)))
                .filter_map(|(stream, at)| self.stream(stream).map(|stream| (stream, at)))
                .map(|(stream, at)| {
                    let is_covered = |slot: &Slot| self.seq(*slot).is_some_and(|seq| at.covers(seq));
                    stream.events.range(stream.events.partition_point(is_covered)..).copied().peekable()
                })
                .collect();
            loop {
                let next = streams
                    .iter_mut()
                    .filter_map(|events| {
                        let slot = *events.peek()?;
                        Some((self.seq(slot)?, slot, events))
                    })
                    .min_by_key(|(seq, ..)| *seq);
                let Some((_, slot, events)) = next else { break };
                let Some(kept) = self.kept(slot) else { break };
                if !take(slot, kept) {
                    break;
                }
                events.next();
            }
        }
        let last = slots.last().and_then(|slot| self.seq(*slot));
        let upto = last.filter(|_| !end).map_or(self.head, Position::from);
        let floors = self.floors(from);
        let event = |slot: Slot| match self.entries.get_mut(slot)? {
            Item::Event(kept) => Some(shared(&kept.stored, &mut kept.shared)),
            Item::Stream(_) => None,
        };
        Page { epoch, events: slots.into_iter().filter_map(event).collect(), upto, end, floors }
    }

    fn usage(&self, bounds: &MemoryBounds) -> Usage {
        Usage {
            log: PotUsage {
                bytes: self.entries.bytes(),
                bound: bounds.realm_bytes as u64,
                entries: (self.entries.len() - self.streams.len()) as u64,
                evicted: self.evicted,
            },
            latest: self.latest.usage(),
            idempotency: self.keys.usage(),
            checkpoints: self.checkpoints.usage(),
        }
    }
}

#[async_trait]
impl History for MemoryHistory {
    async fn append(&self, now: Time, appends: Vec<Append>) -> Result<Vec<Result<Vec<Outcome>, ErrorBody>>, ErrorBody> {
        let mut log = self.log();
        log.keys.expire(now);
        log.latest.expire(now);
        log.expire(now, &self.bounds);
        let mut write = |append: Append| {
            log.check(&append.records)?;
            let outcomes: Result<Vec<Outcome>, ErrorBody> =
                append.records.into_iter().map(|record| log.write(now, record, &self.bounds)).collect();
            for checkpoint in append.checkpoints {
                log.write_checkpoint(now, &append.holder, checkpoint);
            }
            outcomes
        };
        Ok(appends.into_iter().map(&mut write).collect())
    }

    async fn heads(&self) -> Result<Heads, ErrorBody> {
        Ok(Heads { epoch: self.epoch, head: self.log().head })
    }

    async fn read(&self, now: Time, from: &[(Target, Position)], bounds: PageBounds) -> Result<Page, ErrorBody> {
        let mut log = self.log();
        log.expire(now, &self.bounds);
        Ok(log.page(self.epoch, from, bounds))
    }

    async fn latest(&self, now: Time, targets: &[Target]) -> Result<Vec<Arc<Committed>>, ErrorBody> {
        let mut log = self.log();
        log.latest.expire(now);
        Ok(log.latest.of(targets))
    }

    async fn incomplete(&self, targets: &[Target]) -> Result<Vec<MissedValue>, ErrorBody> {
        Ok(self.log().latest.incomplete(targets))
    }

    async fn checkpoints(&self, source: &str) -> Result<Vec<Checkpoint>, ErrorBody> {
        Ok(self.log().checkpoints.of(source))
    }

    fn take_evictions(&self, holder: &Holder) -> Evictions {
        let mut log = self.log();
        if log.unreported.is_empty() { Evictions::default() } else { log.unreported.remove(holder).unwrap_or_default() }
    }

    fn usage(&self) -> Usage {
        self.log().usage(&self.bounds)
    }
}
