//! What is on its way to one connection: its mailbox and its place in every stream, under one lock.
//!
//! Three parties meet here. The sequencer *offers* committed events, in order. The connection's own task *takes* what
//! waits and *pages* in what it is behind on. Commands *follow* and *forget* targets. Each call takes the lock once and
//! never waits under it; that any order of these calls gives every event exactly once is what `tests/send_queue_model.rs`
//! checks over schedules.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use eventwire_protocol::{
    AddressedTo, Audience, CloseCode, Committed, Delivery, Dialect, Envelope, Epoch, Position, Target, Time,
    address::to,
    delivery::{Mailbox, MailboxBounds, Put},
    dialect::kept::OnJoining,
    event::connection::{Gap, GapReason, Recovered, Replaying},
    id::ConnectionId,
    resume::{Cursor, Notice, Offer, Tracker},
};

use crate::{
    deferred::{Deferred, LatestKey, latest_key},
    history::{Floor, Page},
    sync::{Mutex, lock},
};

/// One frame for the link, with the place its receiver has reached when it holds it.
#[derive(Clone, Debug)]
pub struct OutFrame {
    /// The event in the connection's dialect; shared with every other receiver.
    pub bytes: bytes::Bytes,
    /// Where a receiver stands that has this frame and all before it. Only logged frames move it.
    pub cursor: Option<Cursor>,
}

/// What the link is to do next.
#[derive(Debug)]
pub enum Taken {
    /// Write these.
    Frames(Vec<OutFrame>),
    /// Read the log from these positions and bring the page.
    Behind(Vec<(Target, Position)>),
    /// Fetch the newest values of these targets and bring them.
    Latest(Vec<Target>),
    /// Close, for this reason.
    Close(CloseCode, String),
    /// Nothing.
    Idle,
}

/// Where a target that is followed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With what happens from now on.
    Now,
    /// After this position; the receiver is sent the bounds of the replay.
    After(Position),
    /// At the start of this history, after a gap: the receiver's position belongs to another one.
    OtherEpoch,
}

/// What was counted for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed to the link.
    pub delivered: u64,
    /// Volatile events dropped for want of room.
    pub dropped: u64,
    /// Events that the dialect cannot spell.
    pub unspeakable: u64,
    /// How often the mailbox overflowed into the log.
    pub overflowed: u64,
    /// Events that took the place of an older value, or were joined to the part before, while they waited.
    pub conflated: u64,
    /// Gaps that were reported.
    pub gaps: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        let Self { delivered, dropped, unspeakable, overflowed, conflated, gaps } = other;
        self.delivered += delivered;
        self.dropped += dropped;
        self.unspeakable += unspeakable;
        self.overflowed += overflowed;
        self.conflated += conflated;
        self.gaps += gaps;
    }
}

/// How much waits for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Frames in the mailbox.
    pub frames: usize,
    /// Bytes in the mailbox.
    pub bytes: usize,
    /// Whether some target is behind.
    pub behind: bool,
    /// What was counted.
    pub counters: Counters,
}

/// What is on its way to one connection.
#[derive(Debug)]
pub struct SendQueue {
    id: ConnectionId,
    dialect: Dialect,
    epoch: Epoch,
    cursors: bool,
    state: Mutex<State>,
    #[cfg(not(feature = "shuttle"))]
    wake: tokio::sync::Notify,
}

#[derive(Debug)]
struct State {
    mailbox: Mailbox,
    tracker: Tracker,
    closing: Option<(CloseCode, String)>,
    counters: Counters,
    /// Up to where each stream's gap was reported, so that it is reported once.
    reported: BTreeMap<String, Position>,
    /// Up to which eviction each target's missing newest values were reported.
    missed: BTreeMap<Target, u64>,
    /// Newest values that found no room.
    deferred: Deferred,
    /// While newest values are being fetched: the ones that came live meanwhile, which are newer.
    fresh: Option<HashSet<LatestKey>>,
    fetching: u32,
    page_next: bool,
}

impl SendQueue {
    /// A send queue of a connection that begins when the log has reached `head`. With `cursors`, frames say where they lead.
    pub fn new(
        id: ConnectionId,
        dialect: Dialect,
        bounds: MailboxBounds,
        epoch: Epoch,
        head: Position,
        cursors: bool,
    ) -> Self {
        let state = State {
            mailbox: Mailbox::new(dialect, bounds),
            tracker: Tracker::new(head),
            closing: None,
            counters: Counters::default(),
            reported: BTreeMap::new(),
            missed: BTreeMap::new(),
            deferred: Deferred::default(),
            fresh: None,
            fetching: 0,
            page_next: false,
        };
        Self {
            id,
            dialect,
            epoch,
            cursors,
            state: Mutex::new(state),
            #[cfg(not(feature = "shuttle"))]
            wake: tokio::sync::Notify::new(),
        }
    }

    #[cfg(not(feature = "shuttle"))]
    fn wake(&self) {
        self.wake.notify_one();
    }

    #[cfg(feature = "shuttle")]
    fn wake(&self) {}

    /// Waits until something may have changed.
    #[cfg(not(feature = "shuttle"))]
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Waits until something may have changed.
    #[cfg(feature = "shuttle")]
    pub async fn changed(&self) {}

    /// A committed event that was routed here. Called in the order of numbers. A connection that is being closed gets
    /// nothing new, or a busy stream could keep it open.
    pub fn offer(&self, event: &Arc<Committed>) {
        let mut state = lock(&self.state);
        if state.closing.is_some() {
            return;
        }
        if let Some(logged) = event.logged() {
            let offer = state.tracker.offer(event.envelope().audience(), logged.seq);
            if offer != Offer::Deliver {
                // Withheld: the pager will find it in the log; let it look.
                drop(state);
                return self.wake();
            }
        } else if let (Some(fresh), Delivery::Latest { .. }) = (&mut state.fresh, event.envelope().delivery()) {
            fresh.insert(latest_key(event.envelope()));
        }
        self.put(&mut state, event.clone());
        drop(state);
        self.wake();
    }

    fn put(&self, state: &mut State, event: Arc<Committed>) {
        let news = self.is_news(event.envelope());
        let put = state.mailbox.put(event.clone());
        if news && put != Put::Deferred {
            state.deferred.take_news(&latest_key(event.envelope()));
        }
        match put {
            Put::Queued | Put::Dropped => {}
            Put::Replaced | Put::Joined => state.counters.conflated += 1,
            Put::Unsupported => state.counters.unspeakable += 1,
            Put::Deferred => {
                state.deferred.add(event.envelope().audience().target());
                if news {
                    state.deferred.add_news(&latest_key(event.envelope()));
                }
                if state.deferred.is_over() {
                    // It gets newest values when it returns (LIMIT-17).
                    let reason = "too many newest values wait for this connection";
                    state.closing.get_or_insert((CloseCode::SlowConsumer, reason.into()));
                }
            }
            Put::Overflow => {
                state.counters.overflowed += 1;
                let lost = state.mailbox.give_back();
                for event in lost.iter().chain([&event]) {
                    if let Some(logged) = event.logged()
                        && let Some(notice) = state.tracker.lose(event.envelope().audience(), logged.seq)
                    {
                        self.notify(state, notice, event.envelope().time());
                    }
                }
            }
            Put::Rejected => {
                state.closing.get_or_insert((CloseCode::SlowConsumer, "answers pile up unread".into()));
            }
        }
    }

    /// Whether an event is a kept one that the client would take for news when it is sent again (FLOW-10).
    fn is_news(&self, envelope: &Envelope) -> bool {
        matches!(envelope.delivery(), Delivery::Latest { .. })
            && self.dialect.on_joining(envelope.kind()) == OnJoining::Withheld
    }

    /// Says something to this connection alone.
    pub fn send<P: AddressedTo<to::Connection>>(&self, payload: &P, now: Time) {
        let mut state = lock(&self.state);
        // A client that goes on asking must not put off its own end with the answers.
        if state.closing.is_none() {
            self.say(&mut state, payload, now);
        }
        drop(state);
        self.wake();
    }

    /// Says something in the words of the connection's dialect.
    pub fn send_encoded(&self, words: bytes::Bytes, now: Time) {
        self.deliver_committed(Arc::new(Committed::in_words(self.id, self.dialect, words, now)));
    }

    /// Puts an event into the mailbox that was not committed now: it has no number, and moves no position.
    pub fn deliver(&self, event: Envelope) {
        self.deliver_committed(Arc::new(Committed::new(event, None)));
    }

    fn deliver_committed(&self, event: Arc<Committed>) {
        let mut state = lock(&self.state);
        if state.closing.is_none() {
            self.put(&mut state, event);
        }
        drop(state);
        self.wake();
    }

    fn say<P: AddressedTo<to::Connection>>(&self, state: &mut State, payload: &P, now: Time) {
        if let Some(envelope) = self.envelope(payload, now) {
            self.put(state, Arc::new(Committed::new(envelope, None)));
        }
    }

    /// Payloads of this family are small, name no ADW and are made within their bounds, so admission refuses none. If it
    /// did, the fault would be the server's own, and its log says so.
    fn envelope<P: AddressedTo<to::Connection>>(&self, payload: &P, now: Time) -> Option<Envelope> {
        Envelope::to_connection(self.id, payload, now)
            .inspect_err(|error| tracing::error!(%error, kind = %P::TYPE, "an event of the server cannot be sent"))
            .ok()
    }

    fn notify(&self, state: &mut State, notice: Notice, now: Time) {
        match notice {
            Notice::Replaying(stream, from) => {
                self.say(state, &Replaying { stream, from }, now);
                // The notice waits in the mailbox; no page may overtake it.
                state.page_next = false;
            }
            Notice::Recovered(stream, recovered, upto) => {
                self.say(state, &Recovered { stream, recovered, upto }, now);
            }
        }
    }

    /// Withholds a target until it is followed. Says whether it is new here.
    pub fn hold(&self, target: &Target) -> bool {
        lock(&self.state).tracker.hold(target)
    }

    /// Withholds targets until they are followed, under one lock. Says of each whether it is new here.
    pub fn hold_all<'a>(&self, targets: impl IntoIterator<Item = &'a Target>) -> Vec<bool> {
        let mut state = lock(&self.state);
        targets.into_iter().map(|target| state.tracker.hold(target)).collect()
    }

    /// Follows each target where it begins, under one lock and with one pass over what waits: as
    /// [`follow_from_now`](Self::follow_from_now) from `head` on and, announced, as [`follow`](Self::follow).
    pub fn follow_all(&self, targets: Vec<(Target, Begin)>, head: Position, now: Time) {
        let mut state = lock(&self.state);
        let anew: HashSet<&Target> =
            targets.iter().filter(|(_, begin)| *begin != Begin::Now).map(|(target, _)| target).collect();
        if !anew.is_empty() {
            state.mailbox.purge_logged(|audience| audience.target().is_some_and(|target| anew.contains(&target)));
        }
        drop(anew);
        for (target, begin) in targets {
            match begin {
                Begin::Now => state.tracker.follow_from_now(&target, head),
                Begin::After(at) => self.begin(&mut state, &target, at, true, now),
                Begin::OtherEpoch => {
                    self.report_epoch(&mut state, &target, now);
                    self.begin(&mut state, &target, Position::START, true, now);
                }
            }
        }
        drop(state);
        self.wake();
    }

    /// Follows a target from a position on; with `announce`, the receiver is told of the replay. After a change of epoch it
    /// is told of the gap first.
    pub fn follow(&self, target: &Target, at: Position, announce: bool, other_epoch: bool, now: Time) {
        let mut state = lock(&self.state);
        state.mailbox.purge_logged(|audience| audience.target().as_ref() == Some(target));
        if other_epoch {
            self.report_epoch(&mut state, target, now);
        }
        self.begin(&mut state, target, at, announce, now);
        drop(state);
        self.wake();
    }

    fn report_epoch(&self, state: &mut State, target: &Target, now: Time) {
        let gap = Gap { stream: target.to_string(), reason: GapReason::EpochChanged, from_seq: None, to_seq: None };
        state.counters.gaps += 1;
        self.say(state, &gap, now);
    }

    fn begin(&self, state: &mut State, target: &Target, at: Position, announce: bool, now: Time) {
        // What the new history has already evicted is part of the gap that was just reported. Without `announce`
        // nothing older was asked for.
        if let Some(notice) = state.tracker.follow(target.clone(), at, announce) {
            self.notify(state, notice, now);
        }
    }

    /// Follows a target from `head` on, which is how far the log reached after the target was held (LOG-06).
    pub fn follow_from_now(&self, target: &Target, head: Position) {
        lock(&self.state).tracker.follow_from_now(target, head);
        self.wake();
    }

    /// No longer follows a target by name. What waits of it is taken out, unless everything is followed and it with that.
    pub fn forget(&self, target: &Target) {
        let mut state = lock(&self.state);
        state.tracker.forget(target);
        if !state.tracker.follows(&Target::Realm) {
            state.mailbox.purge(|audience| audience.target().as_ref() == Some(target));
            state.deferred.forget(&HashSet::from([target]));
            state.missed.remove(target);
        }
    }

    /// No longer follows targets by name, as [`forget`](Self::forget), under one lock and with one pass over what waits.
    pub fn forget_all(&self, targets: &[Target]) {
        if targets.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for target in targets {
            state.tracker.forget(target);
        }
        if !state.tracker.follows(&Target::Realm) {
            let forgotten: HashSet<&Target> = targets.iter().collect();
            state.mailbox.purge(|audience| audience.target().is_some_and(|target| forgotten.contains(&target)));
            state.deferred.forget(&forgotten);
            state.missed.retain(|target, _| !forgotten.contains(target));
        }
    }

    /// Takes out what the connection would no longer receive. What is for this connection alone stays: answers, brackets and
    /// frames that only its dialect has.
    pub fn retain(&self, admits: impl Fn(&Envelope) -> bool) {
        let keeps = |event: &Envelope| matches!(event.audience(), Audience::Connection(_)) || admits(event);
        lock(&self.state).mailbox.retain(keeps);
    }

    /// Begins to fetch newest values; what comes live from now on is newer than what is fetched.
    pub fn begin_latest(&self) {
        let mut state = lock(&self.state);
        state.fetching += 1;
        state.fresh.get_or_insert_default();
    }

    /// Gives up fetching the newest values of targets, which are still to be fetched.
    pub fn abandon_latest(&self, targets: &[Target]) {
        lock(&self.state).deferred.add(targets.iter().cloned());
        self.end_latest(Vec::new());
    }

    /// Brings the newest values that were fetched, without those that the client would take for news: of these it gets the
    /// ones that came while it was there and found no room (FLOW-10).
    pub fn end_latest(&self, values: Vec<Arc<Committed>>) {
        let mut state = lock(&self.state);
        for value in values {
            let key = latest_key(value.envelope());
            let newer = state.fresh.as_ref().is_some_and(|fresh| fresh.contains(&key));
            let withheld = self.is_news(value.envelope()) && !state.deferred.take_news(&key);
            if !newer && !withheld {
                self.put(&mut state, value);
            }
        }
        state.fetching = state.fetching.saturating_sub(1);
        if state.fetching == 0 {
            state.fresh = None;
            if state.deferred.is_empty() {
                state.deferred.clear_news();
            }
        }
        drop(state);
        self.wake();
    }

    /// Reports that newest values of a target were evicted (LOG-12): once for all evictions up to `number`.
    pub fn miss_values(&self, target: &Target, number: u64, now: Time) {
        let mut state = lock(&self.state);
        let reported = state.missed.get(target).copied().unwrap_or_default();
        if number <= reported || state.closing.is_some() || !self.dialect.can_tell_gaps() {
            return;
        }
        state.missed.insert(target.clone(), number);
        state.counters.gaps += 1;
        let gap = Gap { stream: target.to_string(), reason: GapReason::Expired, from_seq: None, to_seq: None };
        self.say(&mut state, &gap, now);
        drop(state);
        self.wake();
    }

    /// Closes the connection once what waits has been written. The first reason counts.
    pub fn close(&self, code: CloseCode, reason: impl Into<String>) {
        lock(&self.state).closing.get_or_insert((code, reason.into()));
        self.wake();
    }

    /// Closes the connection at once, or as soon as its socket takes the word: what waits is no longer for it.
    pub fn close_now(&self, code: CloseCode, reason: impl Into<String>) {
        let mut state = lock(&self.state);
        state.mailbox.purge(|_| true);
        state.closing.get_or_insert((code, reason.into()));
        drop(state);
        self.wake();
    }

    /// The code that the connection is being closed with.
    pub fn closing(&self) -> Option<CloseCode> {
        lock(&self.state).closing.as_ref().map(|(code, _)| *code)
    }

    /// Whether the connection is being closed.
    pub fn is_closing(&self) -> bool {
        self.closing().is_some()
    }

    /// What to do next. What waits comes first, but a connection that is behind gets a page after every batch, so that
    /// neither starves the other.
    pub fn take(&self) -> Taken {
        let mut state = lock(&self.state);
        let behind = if state.closing.is_none() { state.tracker.behind() } else { Vec::new() };
        if !behind.is_empty() && (state.page_next || state.mailbox.is_empty()) {
            state.page_next = false;
            return Taken::Behind(behind);
        }
        if !state.mailbox.is_empty() {
            state.page_next = true;
            let events = state.mailbox.take();
            let frames = events.iter().filter_map(|event| {
                if let Some(logged) = event.logged() {
                    state.tracker.handed_over(logged.seq);
                }
                let cursor = (self.cursors && event.logged().is_some()).then(|| state.tracker.cursor(self.epoch));
                event.frame(self.dialect).map(|bytes| OutFrame { bytes: bytes.clone(), cursor })
            });
            let frames: Vec<OutFrame> = frames.collect();
            state.counters.delivered += frames.len() as u64;
            return Taken::Frames(frames);
        }
        if let Some((code, reason)) = &state.closing {
            return Taken::Close(*code, reason.clone());
        }
        if !state.deferred.is_empty() {
            return Taken::Latest(state.deferred.take_targets());
        }
        Taken::Idle
    }

    /// Brings a page that [`Taken::Behind`] asked for, without the events that `admits` withholds and without the gaps of
    /// streams that the connection does not receive. Gives what to write.
    pub fn page(
        &self,
        asked: &[(Target, Position)],
        page: &Page,
        receives: impl Fn(&Audience) -> bool,
        admits: impl Fn(&Envelope) -> bool,
        now: Time,
    ) -> Vec<OutFrame> {
        let mut state = lock(&self.state);
        let mut frames = Vec::new();
        for floor in &page.floors {
            frames.extend(self.gap(&mut state, floor, &receives, now));
        }
        let events: Vec<&Arc<Committed>> = page.events.iter().filter(|event| admits(event.envelope())).collect();
        // One event at a time, so that each frame's cursor says exactly how far it leads.
        let mut wanted = Vec::with_capacity(events.len());
        for event in &events {
            let Some(logged) = event.logged() else { continue };
            let one = [(event.envelope().audience(), logged.seq)];
            let paged = state.tracker.page(asked, one, Position::START, false);
            if paged.wanted.first() == Some(&true) {
                let cursor = self.cursors.then(|| state.tracker.cursor(self.epoch));
                wanted.extend(event.frame(self.dialect).map(|bytes| OutFrame { bytes: bytes.clone(), cursor }));
            }
        }
        frames.extend(wanted);
        let paged = state.tracker.page(asked, [], page.upto, page.end);
        for notice in paged.notices {
            if let Notice::Recovered(stream, recovered, upto) = notice {
                let prefix = stream.to_string();
                state.reported.retain(|of, _| *of != prefix && !of.starts_with(&format!("{prefix}/")));
                frames.extend(self.frame(&Recovered { stream, recovered, upto }, now));
            }
        }
        state.counters.delivered += frames.len() as u64;
        frames
    }

    fn gap(
        &self,
        state: &mut State,
        floor: &Floor,
        receives: &impl Fn(&Audience) -> bool,
        now: Time,
    ) -> Option<OutFrame> {
        if floor.stream.as_ref().is_some_and(|stream| !receives(stream)) {
            return None;
        }
        let (_, at) = state.tracker.behind().into_iter().find(|(target, _)| *target == floor.target)?;
        let stream = floor.stream.as_ref().map_or_else(|| floor.target.to_string(), Audience::to_string);
        let since = state.reported.get(&stream).copied().unwrap_or_default().max(at);
        if since >= floor.floor {
            return None;
        }
        let reason = state.tracker.reason(&floor.target);
        if reason == GapReason::SlowConsumer && !self.dialect.can_tell_gaps() {
            // FLOW-09: what it cannot be told it must not overlook either; it comes back and catches up in its own way.
            let missed = "events were missed, and are no longer kept";
            state.closing.get_or_insert((CloseCode::SlowConsumer, missed.into()));
            return None;
        }
        state.reported.insert(stream.clone(), floor.floor);
        state.counters.gaps += 1;
        let from_seq = Position::new(since.as_u64() + 1);
        self.frame(&Gap { stream, reason, from_seq, to_seq: Some(floor.floor) }, now)
    }

    fn frame<P: AddressedTo<to::Connection>>(&self, payload: &P, now: Time) -> Option<OutFrame> {
        let event = Committed::new(self.envelope(payload, now)?, None);
        event.frame(self.dialect).map(|bytes| OutFrame { bytes: bytes.clone(), cursor: None })
    }

    /// How far each target has been sent or queued.
    pub fn positions(&self) -> Vec<(Target, Position)> {
        lock(&self.state).tracker.positions()
    }

    /// How far each target was handed to the link, where its beginning is settled.
    pub fn handed(&self) -> Vec<(Target, Position)> {
        lock(&self.state).tracker.handed()
    }

    /// The history that its positions belong to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How much waits.
    pub fn depth(&self) -> Depth {
        let state = lock(&self.state);
        Depth {
            frames: state.mailbox.len(),
            bytes: state.mailbox.bytes(),
            behind: state.tracker.is_behind(),
            counters: Counters { dropped: state.mailbox.dropped(), ..state.counters },
        }
    }
}
