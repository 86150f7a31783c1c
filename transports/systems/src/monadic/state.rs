//! What is kept of all browser sessions, as exactly as old as what their pages have received.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use eventwire_hub::Tap;
use eventwire_protocol::{
    Audience, BrowserSession, Committed, ConnectionId, Event, EventKind, EventType, SessionId, Time,
    delivery::MailboxBounds, dialect::monadic::spell,
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
    /// Sessions; the one that nothing was heard of for the longest time goes first.
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

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<BrowserSession, Session>,
    /// Sessions by when they were last heard of.
    order: BTreeMap<u64, BrowserSession>,
    clock: u64,
    bytes: usize,
    /// The lists of voices, which are everybody's, by the name of their type.
    voices: BTreeMap<String, Bytes>,
    /// The session of each connection, for what is said to one connection and stands for its session.
    connections: HashMap<ConnectionId, BrowserSession>,
}

#[derive(Debug, Default)]
struct Session {
    conversation: Conversation,
    bytes: usize,
    heard: u64,
    /// Counts changes, so that frames which were made of an older one are not taken for new.
    version: u64,
    frames: Option<Frames>,
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
            inner: Mutex::default(),
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
        let frames = sessions.get_mut(&session).map(|kept| {
            let Session { conversation, frames, .. } = kept;
            frames.get_or_insert_with(|| Frames::of(conversation, self.told_bytes())).clone()
        });
        let Frames { before, after } = frames.unwrap_or_default();
        let frames = before.into_iter().chain(voices.values().cloned()).chain(after);
        frames.filter(|frame| !frame.is_empty()).collect()
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
        change(&mut inner.sessions.entry(session).or_default().conversation);
        inner.changed(session, self.bounds);
    }

    /// A connection of the session is there.
    pub(super) fn entered(&self, id: ConnectionId, session: BrowserSession) {
        self.lock().connections.insert(id, session);
    }

    /// A connection is gone; what is kept of its session stays.
    pub(super) fn left(&self, id: ConnectionId) {
        self.lock().connections.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Something was heard of the session.
    fn touch(&mut self, session: BrowserSession) {
        let Some(kept) = self.sessions.get_mut(&session) else { return };
        self.order.remove(&kept.heard);
        self.clock += 1;
        kept.heard = self.clock;
        self.order.insert(kept.heard, session);
    }

    /// The session is another now.
    fn changed(&mut self, session: BrowserSession, bounds: StateBounds) {
        self.touch(session);
        if let Some(kept) = self.sessions.get_mut(&session) {
            kept.conversation.fit(bounds.conversation);
            kept.version += 1;
            kept.frames = None;
            // The frames are as large again as what they are made of.
            let bytes = 2 * kept.conversation.bytes() + 512;
            self.bytes = self.bytes + bytes - std::mem::replace(&mut kept.bytes, bytes);
        }
        while self.sessions.len() > bounds.sessions || (self.bytes > bounds.bytes && self.sessions.len() > 1) {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            if let Some(gone) = self.sessions.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
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
    )
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
        inner.sessions.entry(session).or_default().conversation.apply(&payload, self.bounds.conversation);
        inner.changed(session, self.bounds);
    }
}
