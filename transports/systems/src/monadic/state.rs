//! What is kept of all browser sessions, as exactly as old as what their pages have received.
//!
//! The room is shared fairly between those whose pages opened the sessions (LIMIT-14): where there is none, the holder with the
//! most loses the session that it heard of least recently, and its next page is told.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use eventwire_hub::{Holder, Tap};
use eventwire_protocol::{
    Audience, BrowserSession, Committed, ConnectionId, Event, EventKind, EventType, SessionId, Time,
    delivery::MailboxBounds,
    dialect::monadic::spell,
    event::chat,
    shares::{Decision, Shares},
};
use serde_json::{Map, Value, value::RawValue};

use super::conversation::{Conversation, ConversationBounds};

/// The least that pages are told of messages, in bytes, before frames are left out.
const LEAST_BYTES: usize = 1_024;

/// How much is kept of all sessions together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBounds {
    /// Of each session.
    pub conversation: ConversationBounds,
    /// Sessions. Where there are as many, one of the holder with the most goes: the one that was heard of least recently.
    pub sessions: usize,
    /// Bytes of all sessions, roughly; sessions go in the same order.
    pub bytes: usize,
}

impl Default for StateBounds {
    /// 10,000 sessions and 256 MiB.
    fn default() -> Self {
        Self { conversation: ConversationBounds::default(), sessions: 10_000, bytes: 256 * 1024 * 1024 }
    }
}

/// What is kept of all browser sessions. A [`Tap`] of the hub; the pages that open are told out of it.
#[derive(Debug)]
pub struct State {
    bounds: StateBounds,
    /// How many bytes the frames may have together that a page is told when it opens.
    told_bytes: AtomicUsize,
    inner: Mutex<Inner>,
    /// One change of parameters of a session at a time, so that none is lost between reading and storing.
    turns: [tokio::sync::Mutex<()>; 32],
}

/// Part of each bound that is reserved for holders with credentials.
const RESERVE: u64 = 10;

#[derive(Debug)]
struct Inner {
    sessions: HashMap<BrowserSession, Session>,
    /// The sessions of each holder by when they were last heard of.
    order: HashMap<Holder, BTreeMap<u64, BrowserSession>>,
    clock: u64,
    /// What each holder has, in sessions and in bytes.
    places: Shares<Holder>,
    bytes: Shares<Holder>,
    /// Sessions that were dropped and whose owner has not been told, oldest first; as many as may be kept.
    dropped: VecDeque<BrowserSession>,
    untold: HashSet<BrowserSession>,
    /// Sessions whose cookie was given out by this process and of which nothing is kept yet, oldest first; as many as may be
    /// kept. Their conversations are known from the beginning (MON-15).
    begun: VecDeque<BrowserSession>,
    is_begun: HashSet<BrowserSession>,
    /// The lists of voices, which are everybody's, by the name of their type.
    voices: BTreeMap<String, Bytes>,
    /// The session of each connection, for what is said to one connection and stands for its session.
    connections: HashMap<ConnectionId, BrowserSession>,
    /// Who opened the pages of each session that has some, and how many there are.
    pages: HashMap<BrowserSession, (Holder, usize)>,
}

#[derive(Debug)]
struct Session {
    /// Whose page opened it first; [`Holder::Local`] until one does.
    holder: Holder,
    conversation: Conversation,
    bytes: usize,
    heard: u64,
    /// Counts changes, so that frames which were made of an older one are not taken for new.
    version: u64,
    frames: Option<Frames>,
    /// When the last part of an answer was published.
    written: Time,
}

/// What a page that opens is told, before the lists of voices and behind them.
#[derive(Clone, Debug, Default)]
struct Frames {
    before: Vec<Bytes>,
    after: Vec<Bytes>,
}

impl State {
    /// Keeps nothing yet. Pass it to [`Builder::tap`](eventwire_hub::Builder::tap) of the hub, and to
    /// [`Monadic::new`](super::Monadic::new).
    pub fn new() -> Arc<Self> {
        Self::with_bounds(StateBounds::default())
    }

    /// As [`State::new`], with bounds.
    pub fn with_bounds(bounds: StateBounds) -> Arc<Self> {
        let state = Self {
            bounds,
            told_bytes: AtomicUsize::default(),
            inner: Mutex::new(Inner::new(bounds)),
            turns: <[tokio::sync::Mutex<()>; 32]>::default(),
        };
        state.suit(MailboxBounds::default());
        Arc::new(state)
    }

    /// Suits what pages are told to the mailboxes that it waits in: what is said to one connection alone may take twice
    /// their size, and some of that is left for the lists of voices.
    pub(super) fn suit(&self, mailbox: MailboxBounds) {
        let bytes = mailbox.bytes.saturating_mul(2);
        self.told_bytes.store(bytes - bytes / 8, Ordering::Relaxed);
    }

    fn told_bytes(&self) -> usize {
        self.told_bytes.load(Ordering::Relaxed)
    }

    /// How many sessions something is known of.
    pub fn sessions(&self) -> usize {
        self.lock().sessions.len()
    }

    /// What a page of the session that opens now is told, frame by frame.
    pub(super) fn told(&self, session: BrowserSession) -> Vec<Bytes> {
        let mut inner = self.lock();
        inner.touch(session);
        let Inner { sessions, voices, .. } = &mut *inner;
        let mut answer = None;
        let frames = sessions.get_mut(&session).map(|kept| {
            let Session { conversation, frames, written, .. } = kept;
            answer = conversation.answer().and_then(|event| spell(&event, *written));
            frames.get_or_insert_with(|| Frames::of(conversation, self.told_bytes())).clone()
        });
        let Frames { before, after } = frames.unwrap_or_default();
        let frames = before.into_iter().chain(voices.values().cloned()).chain(after);
        let mut frames: Vec<Bytes> = frames.filter(|frame| !frame.is_empty()).collect();
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        // The text so far takes the place of an answer that the page has, so it comes last, and whole or not at all.
        frames.extend(answer.filter(|answer| bytes + answer.len() <= self.told_bytes()));
        frames
    }

    /// A browser gets its cookie now: its conversation begins here, and is known from the beginning (MON-15).
    pub(super) fn begin(&self, session: BrowserSession) {
        let mut inner = self.lock();
        if inner.is_begun.insert(session) {
            inner.begun.push_back(session);
        }
        while inner.begun.len() > self.bounds.sessions
            && let Some(oldest) = inner.begun.pop_front()
        {
            inner.is_begun.remove(&oldest);
        }
    }

    /// Makes the frames of a session ahead of time, so that nobody waits for it under the lock of the roster.
    pub(super) fn prepare(&self, session: BrowserSession) {
        let kept = {
            let inner = self.lock();
            inner
                .sessions
                .get(&session)
                .filter(|kept| kept.frames.is_none())
                .map(|it| (it.conversation.clone(), it.version))
        };
        let Some((conversation, version)) = kept else { return };
        let frames = Frames::of(&conversation, self.told_bytes());
        if let Some(kept) = self.lock().sessions.get_mut(&session)
            && kept.version == version
        {
            kept.frames = Some(frames);
        }
    }

    /// The messages of the session, as one frame; none where nothing is known of it.
    pub(super) fn told_messages(&self, session: BrowserSession) -> Vec<Bytes> {
        let inner = self.lock();
        let Some(kept) = inner.sessions.get(&session) else { return Vec::new() };
        if kept.conversation.is_partial() {
            return Vec::new();
        }
        let frame = |budget| spelled(&kept.conversation.told_messages(budget)).into_iter().collect();
        within(self.told_bytes(), frame)
    }

    /// Waits until nobody else changes parameters of the session.
    pub(super) async fn turn(&self, session: BrowserSession) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(session);
        let turn = usize::try_from(hash % self.turns.len() as u64).ok().and_then(|place| self.turns.get(place))?;
        Some(turn.lock().await)
    }

    /// All parameters of the session, with these changed.
    pub(super) fn merged(&self, session: BrowserSession, changes: Map<String, Value>) -> Map<String, Value> {
        match self.lock().sessions.get(&session) {
            Some(kept) => kept.conversation.merged(changes),
            None => changes,
        }
    }

    /// Changes what is kept of a session, if something is.
    pub(super) fn change<T>(&self, session: BrowserSession, change: impl FnOnce(&mut Conversation) -> T) -> Option<T> {
        let mut inner = self.lock();
        let kept = inner.sessions.get_mut(&session)?;
        let answer = change(&mut kept.conversation);
        inner.changed(session, self.bounds);
        Some(answer)
    }

    /// As [`State::change`], of a session of which nothing need be known.
    pub(super) fn change_or_begin(&self, session: BrowserSession, change: impl FnOnce(&mut Conversation)) {
        let mut inner = self.lock();
        change(&mut inner.session(session).conversation);
        inner.changed(session, self.bounds);
    }

    /// A connection of the session is there. Gives what its page is told if the session was dropped since the last one.
    pub(super) fn entered(&self, id: ConnectionId, session: BrowserSession, holder: &Holder) -> Option<Bytes> {
        let mut inner = self.lock();
        inner.connections.insert(id, session);
        let (holder, pages) = inner.pages.entry(session).or_insert_with(|| (holder.clone(), 0));
        *pages += 1;
        let holder = holder.clone();
        inner.adopt(session, &holder);
        inner.untold.remove(&session).then(|| {
            inner.dropped.retain(|dropped| *dropped != session);
            dropped_notice()
        })?
    }

    /// A connection is gone; what is kept of its session stays.
    pub(super) fn left(&self, id: ConnectionId) {
        let mut inner = self.lock();
        let Some(session) = inner.connections.remove(&id) else { return };
        if let Some((_, pages)) = inner.pages.get_mut(&session) {
            *pages -= 1;
            if *pages == 0 {
                inner.pages.remove(&session);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(bounds: StateBounds) -> Self {
        let shares = |bound: usize| {
            let bound = u64::try_from(bound).unwrap_or(u64::MAX);
            Shares::new(bound, bound / RESERVE)
        };
        Self {
            sessions: HashMap::new(),
            order: HashMap::new(),
            clock: 0,
            places: shares(bounds.sessions),
            bytes: shares(bounds.bytes),
            dropped: VecDeque::new(),
            untold: HashSet::new(),
            begun: VecDeque::new(),
            is_begun: HashSet::new(),
            voices: BTreeMap::new(),
            connections: HashMap::new(),
            pages: HashMap::new(),
        }
    }

    /// What is kept of a session, which may be nothing yet. Its holder is whose page is open, or nobody's page.
    fn session(&mut self, session: BrowserSession) -> &mut Session {
        let holder = self.pages.get(&session).map_or(Holder::Local, |(holder, _)| holder.clone());
        let is_begun = &mut self.is_begun;
        self.sessions.entry(session).or_insert_with(|| Session {
            holder,
            conversation: if is_begun.remove(&session) { Conversation::default() } else { Conversation::of_before() },
            bytes: 0,
            heard: 0,
            version: 0,
            frames: None,
            written: Time::from_unix_micros(0),
        })
    }

    /// A page opens a session that a back end began: from now on it is on the account of the page.
    fn adopt(&mut self, session: BrowserSession, holder: &Holder) {
        let Some(kept) = self.sessions.get_mut(&session).filter(|kept| kept.holder == Holder::Local) else { return };
        let (before, bytes) = (std::mem::replace(&mut kept.holder, holder.clone()), amount(kept.bytes));
        self.places.release(&before, 1);
        self.bytes.release(&before, bytes);
        self.places.add(holder.clone(), holder.standing(), 1);
        self.bytes.add(holder.clone(), holder.standing(), bytes);
        let heard = kept.heard;
        self.leave_order(&before, heard);
        self.order.entry(holder.clone()).or_default().insert(heard, session);
    }

    fn leave_order(&mut self, holder: &Holder, heard: u64) {
        if let Some(order) = self.order.get_mut(holder) {
            order.remove(&heard);
            if order.is_empty() {
                self.order.remove(holder);
            }
        }
    }

    /// Something was heard of the session.
    fn touch(&mut self, session: BrowserSession) {
        let Some(kept) = self.sessions.get_mut(&session) else { return };
        self.clock += 1;
        let before = std::mem::replace(&mut kept.heard, self.clock);
        let (holder, heard) = (kept.holder.clone(), kept.heard);
        self.leave_order(&holder, before);
        self.order.entry(holder).or_default().insert(heard, session);
    }

    /// The session is another now.
    fn changed(&mut self, session: BrowserSession, bounds: StateBounds) {
        if let Some(kept) = self.sessions.get_mut(&session) {
            kept.conversation.fit(bounds.conversation);
            kept.version += 1;
            kept.frames = None;
        }
        self.weigh(session);
    }

    /// Counts what is kept of the session anew, and makes room for it.
    fn weigh(&mut self, session: BrowserSession) {
        self.touch(session);
        let Some(kept) = self.sessions.get_mut(&session) else { return };
        // The frames are as large again as what they are made of.
        let bytes = 2 * kept.conversation.bytes() + 512;
        let before = std::mem::replace(&mut kept.bytes, bytes);
        let holder = kept.holder.clone();
        self.untold.remove(&session);
        if bytes < before {
            return self.bytes.release(&holder, amount(before - bytes));
        }
        self.make_room(session, &holder, u64::from(before == 0), amount(bytes - before));
        self.places.add(holder.clone(), holder.standing(), u64::from(before == 0));
        self.bytes.add(holder.clone(), holder.standing(), amount(bytes - before));
    }

    /// Drops sessions until a holder may have so much more, or has nothing but the session that grows.
    fn make_room(&mut self, session: BrowserSession, holder: &Holder, places: u64, bytes: u64) {
        loop {
            let standing = holder.standing();
            let decisions = [(&self.places, places), (&self.bytes, bytes)].map(|(of, more)| {
                match of.decide(holder, standing, more) {
                    // Nothing more is wanted of it.
                    _ if more == 0 => Decision::Admit,
                    decision => decision,
                }
            });
            let loser = match decisions {
                [Decision::Admit, Decision::Admit] => return,
                [Decision::Evict(largest), _] | [_, Decision::Evict(largest)] => largest,
                _ => holder.clone(),
            };
            let oldest = self.order.get(&loser).and_then(|order| order.values().find(|of| **of != session)).copied();
            let Some(oldest) = oldest else { return };
            self.drop_session(oldest, bounds_of(&self.places));
        }
    }

    fn drop_session(&mut self, session: BrowserSession, most_untold: usize) {
        let Some(gone) = self.sessions.remove(&session) else { return };
        self.leave_order(&gone.holder, gone.heard);
        self.places.release(&gone.holder, 1);
        self.bytes.release(&gone.holder, amount(gone.bytes));
        tracing::warn!(%session, holder = ?gone.holder, bytes = gone.bytes, "a kept conversation was dropped to make room");
        if self.untold.insert(session) {
            self.dropped.push_back(session);
        }
        while self.dropped.len() > most_untold {
            if let Some(oldest) = self.dropped.pop_front() {
                self.untold.remove(&oldest);
            }
        }
    }
}

fn amount(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn bounds_of(places: &Shares<Holder>) -> usize {
    usize::try_from(places.bound()).unwrap_or(usize::MAX)
}

/// What a page is told whose session was dropped.
fn dropped_notice() -> Option<Bytes> {
    let message = "This server no longer keeps the conversation of this browser, to make room for others; reload it from the \
                   application";
    spelled(&Event::ChatError(chat::Error { message: message.into(), key: None, details: None }))
}

impl Frames {
    fn of(conversation: &Conversation, limit: usize) -> Self {
        let mut split = 0;
        let frames = within(limit, |budget| {
            let (before, after) = conversation.told(budget);
            let before: Vec<Bytes> = before.iter().filter_map(spelled).collect();
            split = before.len();
            before.into_iter().chain(after.iter().filter_map(spelled)).collect()
        });
        let after = frames.iter().skip(split).cloned().collect();
        Self { before: frames.into_iter().take(split).collect(), after }
    }
}

/// Frames that have no more bytes than the limit: fewer messages as long as there are too many, and then none of the frames
/// that do not fit, for a page that cannot take what it is told would come back for ever.
fn within(limit: usize, mut frames: impl FnMut(usize) -> Vec<Bytes>) -> Vec<Bytes> {
    let mut budget = limit;
    loop {
        let made = frames(budget);
        let bytes: usize = made.iter().map(Bytes::len).sum();
        if bytes <= limit {
            return made;
        }
        if budget < LEAST_BYTES {
            tracing::warn!(bytes, limit, "a page is not told all of its session: apps or parameters are too large");
            let mut left = limit;
            let fits = |frame: Bytes| match left.checked_sub(frame.len()) {
                Some(rest) => {
                    left = rest;
                    frame
                }
                // Kept in its place, for the lists of voices come between.
                None => Bytes::new(),
            };
            return made.into_iter().map(fits).collect();
        }
        budget /= 2;
    }
}

/// None of these frames says when it was made.
fn spelled(event: &Event) -> Option<Bytes> {
    spell(event, Time::from_unix_micros(0))
}

/// The types that say something which is kept.
fn is_kept(event_type: EventType) -> bool {
    use EventType as T;
    matches!(
        event_type,
        T::ChatApps
            | T::ChatParameters
            | T::ChatPastMessages
            | T::ChatUser
            | T::ChatHtml
            | T::ChatDisplaySample
            | T::ChatEditSuccess
            | T::ChatChangeStatus
            | T::ChatStats
            | T::ChatMcpStatus
            | T::ChatPrivacyState
            | T::ChatVoices
            | T::ChatFragment
            | T::ChatFragmentWithAudio
            | T::ChatStreamingComplete
            | T::ChatClearFragments
            | T::ChatCleared
            | T::ChatCancel
            | T::ChatError
    )
}

/// What an event changes of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Anything: the frames are made anew.
    All,
    /// The answer that is being written, which is in none of the frames that are made ahead.
    Answer(Part),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Next,
    End,
}

fn change_of(event_type: EventType) -> Change {
    use EventType as T;
    match event_type {
        T::ChatFragment | T::ChatFragmentWithAudio => Change::Answer(Part::Next),
        T::ChatStreamingComplete | T::ChatClearFragments | T::ChatCleared | T::ChatCancel | T::ChatError => {
            Change::Answer(Part::End)
        }
        _ => Change::All,
    }
}

impl Tap for State {
    fn committed(&self, event: &Committed) {
        let envelope = event.envelope();
        let EventKind::Known(event_type) = envelope.kind() else { return };
        if !is_kept(*event_type) {
            return;
        }
        let Ok(data) = serde_json::from_str::<&RawValue>(envelope.data()) else { return };
        let Ok(payload) = Event::from_payload(*event_type, data) else { return };
        let mut inner = self.lock();
        let session = match (envelope.audience(), &payload) {
            (Audience::Global, Event::ChatVoices(voices)) => {
                if let Some(frame) = spelled(&payload) {
                    inner.voices.insert(voices.provider.to_string(), frame);
                }
                return;
            }
            (Audience::Session(SessionId::Browser(session), _), _) => *session,
            // Said to one connection, it is about what all tabs of its session show.
            (Audience::Connection(id), Event::ChatMcpStatus(_) | Event::ChatPrivacyState(_)) => {
                let Some(session) = inner.connections.get(id) else { return };
                *session
            }
            _ => return,
        };
        let change = change_of(*event_type);
        if change == Change::Answer(Part::End) && !inner.sessions.contains_key(&session) {
            return;
        }
        let kept = inner.session(session);
        kept.conversation.apply(&payload, self.bounds.conversation);
        match change {
            Change::All => inner.changed(session, self.bounds),
            Change::Answer(_) => {
                kept.written = envelope.time();
                inner.weigh(session);
            }
        }
    }
}
