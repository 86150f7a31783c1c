//! Messages of contexts as they were published: what a listener without a back end to ask answers from.
//!
//! Kept is what has passed since the server started, within bounds. What had to go leaves a floor behind, the highest number
//! that went, for each part of the context by itself: whether something is missing depends on what one may see, and says
//! nothing about what one may not (ROUTE-04).
//!
//! A context is on the account of the publisher that published to it first. What exceeds a bound of all contexts goes from the
//! largest account, so no publisher takes the room of another (LIMIT-14).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use eventwire_hub::{Holder, Tap};
use eventwire_protocol::{
    Audience, Claims, Committed, ContextId, Envelope, ErrorBody, ErrorCode, EventKind, EventType, SessionId, Time,
    address::Visibility,
    event::context::{NewMessage, SessionInfo, StoredMessage},
    shares::Shares,
};
use serde::Deserialize;

use super::store::{ContextStore, Found, MOST_MESSAGES};

/// How much is kept. What exceeds any of these goes: of a context its lowest numbers; of the publisher with the most bytes the
/// lowest numbers of its largest context, and of the one with the most contexts the one that was published to or asked for
/// least recently (LIMIT-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages of one context.
    pub messages: usize,
    /// Bytes of one context.
    pub context_bytes: usize,
    /// Contexts of which messages are kept.
    pub contexts: usize,
    /// Bytes of all contexts.
    pub bytes: usize,
    /// Floors that are remembered of contexts of which no message is kept.
    pub past_floors: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { messages: 1_000, context_bytes: 4 << 20, contexts: 10_000, bytes: 64 << 20, past_floors: 200_000 }
    }
}

/// What a message costs beside its payload, roughly.
const ROW_BYTES: usize = 256;
/// What a floor costs, roughly.
const FLOOR_BYTES: usize = 256;
/// Most floors of one context. A context with more private parts remembers the least of them together.
const MOST_FLOORS: usize = 1_024;

/// Messages of contexts, as they were published. A [`Tap`] of the hub.
#[derive(Debug)]
pub struct KeptStore {
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    contexts: HashMap<ContextId, Kept>,
    past: HashMap<ContextId, Past>,
    accounts: HashMap<Holder, Account>,
    /// Contexts of each publisher of which messages are kept, their bytes, and floors of the other contexts.
    counts: Shares<Holder>,
    bytes: Shares<Holder>,
    past_floors: Shares<Holder>,
    /// Whether a context was forgotten altogether: then nobody can say what one that is not known had.
    forgot: bool,
    clock: u64,
}

/// The contexts of one publisher.
#[derive(Debug, Default)]
struct Account {
    /// By when they were last used.
    order: BTreeMap<u64, ContextId>,
    by_size: BTreeSet<(usize, ContextId)>,
    /// Those of which no message is kept, by when the last one went.
    past_order: BTreeMap<u64, ContextId>,
}

/// A context of which messages may be kept.
#[derive(Debug, Default)]
struct Kept {
    /// The publisher that published to it first.
    holder: Holder,
    rows: BTreeMap<u64, Envelope>,
    bytes: usize,
    floors: Floors,
    updated_at: Option<Time>,
    used: u64,
}

/// A context of which no message is kept.
#[derive(Debug)]
struct Past {
    holder: Holder,
    floors: Floors,
    updated_at: Option<Time>,
    used: u64,
}

/// Up to where messages have gone.
#[derive(Debug, Default)]
struct Floors {
    by_part: HashMap<Visibility, Floor>,
    /// Of parts that found no room. Whoever is known by name or role may have been in one of them.
    elsewhere: Option<Floor>,
    /// Nobody can say.
    unknown: bool,
}

#[derive(Clone, Copy, Debug)]
struct Floor {
    id: u64,
    /// The latest time of any that went.
    time: Time,
}

impl Floor {
    fn with(self, other: Self) -> Self {
        Self { id: self.id.max(other.id), time: self.time.max(other.time) }
    }

    /// Whether something may be missing that has a higher number, for somebody who is shown what is not older than `from`.
    fn hides(self, since_id: Option<u64>, from: Option<Time>) -> bool {
        since_id.is_none_or(|since| self.id > since) && from.is_none_or(|from| self.time >= from)
    }
}

impl Floors {
    fn note(&mut self, part: Visibility, gone: Floor) {
        if let Some(floor) = self.by_part.get_mut(&part) {
            *floor = floor.with(gone);
        } else if self.by_part.len() < MOST_FLOORS || part == Visibility::Public {
            self.by_part.insert(part, gone);
        } else {
            self.elsewhere = Some(self.elsewhere.map_or(gone, |floor| floor.with(gone)));
        }
    }

    fn hide_from(&self, viewer: &Claims, since_id: Option<u64>) -> bool {
        let hides = |floor: &Floor| floor.hides(since_id, viewer.history_from);
        self.unknown
            || self.by_part.iter().any(|(part, floor)| hides(floor) && viewer.is_visible(part))
            || (self.elsewhere.as_ref().is_some_and(hides) && (viewer.user.is_some() || viewer.role.is_some()))
    }

    fn bytes(&self) -> usize {
        self.by_part.len() * FLOOR_BYTES
    }
}

impl Kept {
    fn size(&self) -> usize {
        self.bytes + self.floors.bytes()
    }

    fn drop_first(&mut self) -> bool {
        let Some((id, event)) = self.rows.pop_first() else { return false };
        self.bytes -= cost(&event);
        if let Audience::Session(_, part) = event.audience() {
            self.floors.note(part.clone(), Floor { id, time: event.time() });
        }
        true
    }
}

fn cost(event: &Envelope) -> usize {
    event.data().len() + ROW_BYTES
}

impl State {
    fn new(bounds: &Bounds) -> Self {
        // A tenth is reserved for publishers with credentials (LIMIT-04).
        let shares = |bound: usize| Shares::new(amount(bound), amount(bound / 10));
        Self {
            contexts: HashMap::new(),
            past: HashMap::new(),
            accounts: HashMap::new(),
            counts: shares(bounds.contexts),
            bytes: shares(bounds.bytes),
            past_floors: shares(bounds.past_floors),
            forgot: false,
            clock: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn account(&mut self, holder: &Holder) -> &mut Account {
        self.accounts.entry(holder.clone()).or_default()
    }

    /// Drops an account without contexts.
    fn tidy(&mut self, holder: &Holder) {
        let is_empty = |account: &Account| account.order.is_empty() && account.past_order.is_empty();
        if self.accounts.get(holder).is_some_and(is_empty) {
            self.accounts.remove(holder);
        }
    }

    /// Makes a context the one of its account that was used last.
    fn touch(&mut self, id: &ContextId) {
        let used = self.tick();
        let Some(kept) = self.contexts.get_mut(id) else { return };
        let before = std::mem::replace(&mut kept.used, used);
        let holder = kept.holder.clone();
        let account = self.account(&holder);
        account.order.remove(&before);
        account.order.insert(used, id.clone());
    }

    /// A context that something is published to; it is the one that was used last. A new one is on the account of the
    /// publisher.
    fn enter(&mut self, id: &ContextId, publisher: &Holder) {
        if !self.contexts.contains_key(id) {
            let kept = match self.past.remove(id) {
                Some(Past { holder, floors, updated_at, used }) => {
                    self.account(&holder).past_order.remove(&used);
                    self.past_floors.release(&holder, amount(1 + floors.by_part.len()));
                    Kept { holder, floors, updated_at, ..Kept::default() }
                }
                None => {
                    let floors = Floors { unknown: self.forgot, ..Floors::default() };
                    Kept { holder: publisher.clone(), floors, ..Kept::default() }
                }
            };
            let (holder, size) = (kept.holder.clone(), kept.size());
            self.counts.add(holder.clone(), holder.standing(), 1);
            self.bytes.add(holder.clone(), holder.standing(), amount(size));
            self.account(&holder).by_size.insert((size, id.clone()));
            self.contexts.insert(id.clone(), kept);
        }
        self.touch(id);
    }

    /// A context that is asked for, if messages of it are kept.
    fn look_up(&mut self, id: &ContextId) -> Option<&Kept> {
        self.touch(id);
        self.contexts.get(id)
    }

    /// Changes a context and what is known of its size.
    fn resize<T>(&mut self, id: &ContextId, change: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let kept = self.contexts.get_mut(id)?;
        let before = kept.size();
        let answer = change(kept);
        let after = kept.size();
        let holder = kept.holder.clone();
        if after > before {
            self.bytes.add(holder.clone(), holder.standing(), amount(after - before));
        } else {
            self.bytes.release(&holder, amount(before - after));
        }
        let account = self.account(&holder);
        account.by_size.remove(&(before, id.clone()));
        account.by_size.insert((after, id.clone()));
        Some(answer)
    }

    /// No message of a context is kept any more, only that there were some.
    fn retire(&mut self, id: &ContextId) {
        let Some(mut kept) = self.contexts.remove(id) else { return };
        let (size, used) = (kept.size(), self.tick());
        while kept.drop_first() {}
        let Kept { holder, floors, updated_at, used: before, .. } = kept;
        self.counts.release(&holder, 1);
        self.bytes.release(&holder, amount(size));
        self.past_floors.add(holder.clone(), holder.standing(), amount(1 + floors.by_part.len()));
        let account = self.account(&holder);
        account.by_size.remove(&(size, id.clone()));
        account.order.remove(&before);
        account.past_order.insert(used, id.clone());
        self.past.insert(id.clone(), Past { holder, floors, updated_at, used });
    }

    /// Forgets until the bounds hold.
    fn shrink(&mut self) {
        while let Some(account) = self.counts.overdrawn().and_then(|holder| self.accounts.get(holder)) {
            let Some(id) = account.order.first_key_value().map(|(_, id)| id.clone()) else { break };
            self.retire(&id);
        }
        while let Some(account) = self.bytes.overdrawn().and_then(|holder| self.accounts.get(holder)) {
            let Some(id) = account.by_size.last().map(|(_, id)| id.clone()) else { break };
            match self.resize(&id, |kept| kept.drop_first() && !kept.rows.is_empty()) {
                Some(true) => {}
                _ => self.retire(&id),
            }
        }
        while let Some(holder) = self.past_floors.overdrawn().cloned() {
            let Some((_, id)) = self.account(&holder).past_order.pop_first() else { break };
            if let Entry::Occupied(past) = self.past.entry(id) {
                let floors = past.remove().floors;
                self.past_floors.release(&holder, amount(1 + floors.by_part.len()));
            }
            self.tidy(&holder);
            self.forgot = true;
        }
    }
}

fn amount(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl KeptStore {
    /// An empty store. It fills by what it is given as a [`Tap`]: `Hub::builder().tap(store.clone())`.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::new(State::new(&bounds)) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many contexts and how many bytes are kept.
    pub fn size(&self) -> (usize, usize) {
        let state = self.state();
        (state.contexts.len(), usize::try_from(state.bytes.total()).unwrap_or(usize::MAX))
    }

    fn keep(&self, holder: &Holder, context: &ContextId, part: &Visibility, event: &Envelope, id: Option<u64>) {
        let mut state = self.state();
        state.enter(context, holder);
        state.resize(context, |kept| {
            // When something was said that not everybody sees must not show.
            if *part == Visibility::Public {
                kept.updated_at = kept.updated_at.max(Some(event.time()));
            }
            let Some(id) = id else { return };
            kept.bytes += cost(event);
            // A message that is published again, perhaps for other eyes, takes the place of what it was.
            if let Some(older) = kept.rows.insert(id, event.clone()) {
                kept.bytes -= cost(&older);
            }
            while kept.rows.len() > self.bounds.messages || kept.bytes > self.bounds.context_bytes {
                kept.drop_first();
            }
        });
        state.shrink();
    }
}

impl Tap for KeptStore {
    fn committed(&self, event: &Committed) {
        self.committed_for(event, &Holder::Local);
    }

    fn committed_for(&self, event: &Committed, holder: &Holder) {
        /// Only the number is read here, where everybody waits; the rest when somebody asks.
        #[derive(Deserialize)]
        struct Numbered {
            id: u64,
        }
        let envelope = event.envelope();
        let Audience::Session(SessionId::Context(context), part) = envelope.audience() else { return };
        match envelope.kind() {
            EventKind::Known(EventType::ContextNewMessage) => {
                let Ok(Numbered { id }) = serde_json::from_str(envelope.data()) else { return };
                self.keep(holder, context, part, envelope, Some(id));
            }
            EventKind::Known(EventType::ContextSessionUpdate | EventType::ContextMemoryUpdate) => {
                self.keep(holder, context, part, envelope, None);
            }
            _ => {}
        }
    }
}

#[async_trait]
impl ContextStore for KeptStore {
    async fn messages(&self, context: &ContextId, since_id: Option<u64>, viewer: &Claims) -> Result<Found, ErrorBody> {
        let (events, truncated) = {
            let mut state = self.state();
            match state.look_up(context) {
                Some(kept) => {
                    let above = (since_id.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
                    let visible = |event: &&Envelope| viewer.may_look_up(event.audience(), event.time());
                    let rows = kept.rows.range(above).map(|(_, event)| event).filter(visible);
                    let events: Vec<Envelope> = rows.take(MOST_MESSAGES).cloned().collect();
                    (events, kept.floors.hide_from(viewer, since_id))
                }
                None => {
                    let past = state.past.get(context);
                    (Vec::new(), past.map_or(state.forgot, |past| past.floors.hide_from(viewer, since_id)))
                }
            }
        };
        let rows = events.iter().map(|event| {
            let message: NewMessage = serde_json::from_str(event.data())?;
            Ok(StoredMessage::new(message, event.time()))
        });
        let rows = rows.collect::<serde_json::Result<_>>();
        let rows = rows.map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))?;
        Ok(Found { rows, truncated })
    }

    /// A context is known from the first event on that was published to it, and then it is active: nothing that is published
    /// says that one has ended.
    async fn session_info(&self, context: &ContextId) -> Result<Option<SessionInfo>, ErrorBody> {
        let mut state = self.state();
        let updated_at = match state.look_up(context) {
            Some(kept) => Some(kept.updated_at),
            None => state.past.get(context).map(|past| past.updated_at),
        };
        Ok(updated_at.map(|updated_at| SessionInfo {
            re: None,
            session_id: context.clone().into(),
            is_active: true,
            purpose: None,
            created_by: None,
            created_at: None,
            updated_at,
            metadata: None,
        }))
    }
}
