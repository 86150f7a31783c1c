//! The sessions of Engine.IO, and the bound on those without a connection to a namespace (SIO-22).
//!
//! A session is made by one request without credentials and lives without any TCP connection, so it is counted before
//! engineioxide makes it. The bound is on the bytes of the sessions that have no connection to a namespace; the others are
//! connections of the hub, which has bounds of its own. Where the bound is reached, the peer with the most gives up the
//! session that has been idle for the longest time.
//!
//! engineioxide keeps the memory of a session that has ended without a connection until its time to connect is over. So what
//! has not been freed is counted apart: where it is much, each peer opens further sessions at a limited rate.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use eventwire_hub::Holder;
use eventwire_protocol::{
    limits::{self, TokenBucket},
    shares::{Decision, Shares, Standing},
};
use tokio::{sync::watch, time::Instant};

use crate::{abortable_stream::Cut, unsent::Unsent};

/// Peers whose rate is remembered; beyond, all begin anew.
const MAX_PEERS: usize = 65_536;
/// What a session without a connection costs beside its request: the session, its tasks and timers, and an answer to
/// everything that it may send before it is connected.
pub(crate) const SESSION_BYTES: u64 = 12 * 1024 + limits::SOCKETIO_EARLY_BYTES as u64;

/// Events of a session that wait to be looked at, from which on nothing more is read of it. What one read brings comes on top.
const CROWD: usize = 64;

/// Why a session is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer has its share of sessions without a connection, or there are too many of them.
    Full,
    /// The peer opens sessions too fast.
    TooFast,
}

/// A session, from before it is opened until engineioxide forgets it.
pub(crate) struct Session {
    sessions: Sessions,
    number: u64,
    pub(crate) cut: Cut,
    /// Whose handshake was counted, until a connection to a namespace uses it.
    handshake: Mutex<Option<Holder>>,
    /// Connections to namespaces.
    connections: AtomicUsize,
    /// Bytes that came while there was none.
    early_bytes: AtomicU64,
    /// Events that wait to be looked at.
    events: watch::Sender<usize>,
    /// What its client has not taken.
    pub(crate) unsent: Unsent,
}

impl Session {
    /// Whether it has a connection to a namespace.
    pub(crate) fn is_connected(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }

    /// Counts bytes of the client. Says whether it may go on: without a connection, only so much is read.
    pub(crate) fn counts(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        self.is_connected()
            || self.early_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= limits::SOCKETIO_EARLY_BYTES as u64
    }

    /// The holder whose handshake opened the session, for the first that asks: its connection was counted with it.
    pub(crate) fn take_handshake(&self) -> Option<Holder> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// An event has come.
    pub(crate) fn event_came(&self) {
        self.events.send_if_modified(|events| {
            *events += 1;
            false
        });
    }

    /// An event was looked at.
    pub(crate) fn event_went(&self) {
        self.events.send_if_modified(|events| {
            *events = events.saturating_sub(1);
            *events + 1 == CROWD
        });
    }

    /// Whether so many events wait that nothing more is read.
    pub(crate) fn is_crowded(&self) -> bool {
        *self.events.borrow() >= CROWD
    }

    /// Waits until there is room for further events.
    pub(crate) fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut events = self.events.subscribe();
        Box::pin(async move {
            // Without a session nothing waits any more.
            let _ = events.wait_for(|events| *events < CROWD).await;
        })
    }

    /// Counts a connection to a namespace, for as long as the answer is held.
    pub(crate) fn connect(self: &Arc<Self>) -> Occupied {
        if self.connections.fetch_add(1, Ordering::Relaxed) == 0 {
            self.sessions.lock().connect(self.number);
        }
        Occupied(self.clone())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.lock().forget(self.number);
    }
}

/// A connection to a namespace, as far as its session is concerned.
pub(crate) struct Occupied(Arc<Session>);

impl Occupied {
    /// The session.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let Session { sessions, number, connections, early_bytes, .. } = &*self.0;
        if connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            early_bytes.store(0, Ordering::Relaxed);
            sessions.lock().idle(*number);
        }
    }
}

/// A session that makes room for another one: its owner finds it closed.
#[derive(Debug)]
pub(crate) struct Evicted {
    pub(crate) cut: Cut,
    pub(crate) sid: Option<String>,
}

/// All sessions. Clones are the same.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<Mutex<Known>>);

struct Entry {
    holder: Holder,
    session: Weak<Session>,
    cut: Cut,
    bytes: u64,
    /// Whether it has never been connected.
    unconnected: bool,
    sid: Option<String>,
    /// Since when it is idle, where it counts as a session without a connection.
    idle_since: Option<u64>,
}

struct Known {
    entries: HashMap<u64, Entry>,
    numbers: HashMap<String, u64>,
    idle: Shares<Holder>,
    /// Sessions without a connection, the longest idle first.
    idle_order: BTreeSet<(Holder, u64, u64)>,
    rates: HashMap<Holder, TokenBucket>,
    /// Bytes of sessions that have never been connected, those included that have ended and are not freed.
    unconnected: u64,
    next: u64,
    origin: Instant,
}

impl Sessions {
    /// None yet, and at most so many bytes of sessions without a connection.
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Known {
            entries: HashMap::new(),
            numbers: HashMap::new(),
            // Credentials are shown to a namespace, so none are known here and there is nothing to reserve for them.
            idle: Shares::new(bytes, 0),
            idle_order: BTreeSet::new(),
            rates: HashMap::new(),
            unconnected: 0,
            next: 0,
            origin: Instant::now(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a session that is about to be opened by this peer, with a request of so many bytes. Says which others have to be
    /// closed for it.
    pub(crate) fn open(&self, holder: Holder, request_bytes: u64) -> Result<(Arc<Session>, Vec<Evicted>), Refusal> {
        let mut known = self.lock();
        known.check_rate(&holder)?;
        let bytes = SESSION_BYTES + request_bytes;
        let mut evicted = Vec::new();
        loop {
            match known.idle.decide(&holder, Standing::Anonymous, bytes) {
                Decision::Admit => break,
                Decision::Refuse => return Err(Refusal::Full),
                Decision::Evict(largest) => evicted.push(known.evict(&largest).ok_or(Refusal::Full)?),
            }
        }
        let number = known.next_number();
        let session = Arc::new(Session {
            sessions: self.clone(),
            number,
            cut: Cut::new(),
            handshake: Mutex::new(Some(holder.clone())),
            connections: AtomicUsize::new(0),
            early_bytes: AtomicU64::new(0),
            events: watch::Sender::new(0),
            unsent: Unsent::new(),
        });
        let entry = Entry {
            holder,
            session: Arc::downgrade(&session),
            cut: session.cut.clone(),
            bytes,
            unconnected: true,
            sid: None,
            idle_since: None,
        };
        known.entries.insert(number, entry);
        known.unconnected += bytes;
        known.idle(number);
        Ok((session, evicted))
    }

    /// Notes the id by which the client of a session knows it.
    pub(crate) fn name(&self, session: &Session, sid: String) {
        let mut known = self.lock();
        if let Some(entry) = known.entries.get_mut(&session.number) {
            entry.sid = Some(sid.clone());
            known.numbers.insert(sid, session.number);
        }
    }

    /// The session of this id, which is no longer idle.
    pub(crate) fn of(&self, sid: &str) -> Option<Arc<Session>> {
        let mut known = self.lock();
        let number = *known.numbers.get(sid)?;
        let session = known.entries.get(&number)?.session.upgrade()?;
        if known.entries.get(&number).is_some_and(|entry| entry.idle_since.is_some()) {
            known.leave(number);
            known.idle(number);
        }
        Some(session)
    }

    /// Bytes that clients of all sessions have not taken.
    pub(crate) fn unsent_bytes(&self) -> u64 {
        // The last owner of a session takes the lock when it goes.
        let sessions: Vec<Arc<Session>> =
            self.lock().entries.values().filter_map(|entry| entry.session.upgrade()).collect();
        sessions.iter().map(|session| session.unsent.bytes() as u64).sum()
    }

    /// Bytes of the sessions without a connection to a namespace.
    pub(crate) fn idle_bytes(&self) -> u64 {
        self.lock().idle.total()
    }
}

impl Known {
    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Where many sessions hold memory, whether still open or not, a peer may open further ones at a limited rate.
    fn check_rate(&mut self, holder: &Holder) -> Result<(), Refusal> {
        let now = self.origin.elapsed();
        if self.rates.len() >= MAX_PEERS {
            self.rates.clear();
        }
        let (rate, burst) = (limits::SOCKETIO_SESSIONS_PER_SECOND, limits::SOCKETIO_SESSION_BURST);
        let bucket = self.rates.entry(holder.clone()).or_insert_with(|| TokenBucket::new(rate, burst, now));
        let too_fast = bucket.take(now).is_err();
        match self.unconnected {
            few if few < self.idle.bound() / 2 => Ok(()),
            much if much >= 2 * self.idle.bound() => Err(Refusal::Full),
            _ if too_fast => Err(Refusal::TooFast),
            _ => Ok(()),
        }
    }

    /// Counts a session as one without a connection.
    fn idle(&mut self, number: u64) {
        let order = self.next_number();
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| entry.idle_since.is_none()) else { return };
        entry.idle_since = Some(order);
        self.idle.add(entry.holder.clone(), Standing::Anonymous, entry.bytes);
        self.idle_order.insert((entry.holder.clone(), order, number));
    }

    /// Counts it no longer.
    fn leave(&mut self, number: u64) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if let Some(order) = entry.idle_since.take() {
            self.idle.release(&entry.holder, entry.bytes);
            self.idle_order.remove(&(entry.holder.clone(), order, number));
        }
    }

    /// Notes the first connection of a session.
    fn connect(&mut self, number: u64) {
        self.leave(number);
        if let Some(entry) = self.entries.get_mut(&number)
            && std::mem::take(&mut entry.unconnected)
        {
            self.unconnected -= entry.bytes;
        }
    }

    /// Takes the longest idle session of a holder.
    fn evict(&mut self, holder: &Holder) -> Option<Evicted> {
        let range = (holder.clone(), 0, 0)..=(holder.clone(), u64::MAX, u64::MAX);
        let number = self.idle_order.range(range).next().map(|(.., number)| *number)?;
        self.leave(number);
        let entry = self.entries.get(&number)?;
        Some(Evicted { cut: entry.cut.clone(), sid: entry.sid.clone() })
    }

    fn forget(&mut self, number: u64) {
        self.connect(number);
        if let Some(sid) = self.entries.remove(&number).and_then(|entry| entry.sid) {
            self.numbers.remove(&sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(text: &str) -> Holder {
        Holder::of_peer(Some(text.parse::<IpAddr>().unwrap()))
    }

    #[tokio::test]
    async fn sio_22_a_peer_with_many_idle_sessions_makes_room_for_another_peer() {
        let sessions = Sessions::new(10 * SESSION_BYTES);
        let mut held = Vec::new();
        for number in 0..10 {
            let (session, evicted) = sessions.open(peer("10.0.0.1"), 0).unwrap();
            sessions.name(&session, number.to_string());
            assert!(evicted.is_empty());
            held.push(session);
        }
        assert_eq!(sessions.open(peer("10.0.0.1"), 0).err(), Some(Refusal::Full));
        // The first one was used since.
        assert!(sessions.of("0").is_some());
        let (_, evicted) = sessions.open(peer("10.0.0.2"), 0).unwrap();
        assert_eq!(evicted.iter().map(|it| it.sid.as_deref()).collect::<Vec<_>>(), [Some("1")]);
    }

    #[tokio::test]
    async fn sio_22_a_connected_session_is_not_counted_until_it_has_left() {
        let sessions = Sessions::new(10 * SESSION_BYTES);
        let (session, _) = sessions.open(peer("10.0.0.1"), 100).unwrap();
        assert_eq!(sessions.idle_bytes(), SESSION_BYTES + 100);
        let (first, second) = (session.connect(), session.connect());
        assert_eq!(sessions.idle_bytes(), 0);
        assert!(session.counts(1 << 30));
        drop(first);
        assert!(session.is_connected());
        drop(second);
        assert_eq!(sessions.idle_bytes(), SESSION_BYTES + 100);
        assert!(session.counts(limits::SOCKETIO_EARLY_BYTES) && !session.counts(1));
        drop(session);
        assert_eq!(sessions.idle_bytes(), 0);
        assert!(sessions.lock().entries.is_empty() && sessions.lock().numbers.is_empty());
    }

    #[tokio::test]
    async fn sio_22_sessions_that_ended_and_are_not_freed_slow_their_own_peer_alone() {
        let sessions = Sessions::new(2 * u64::from(limits::SOCKETIO_SESSION_BURST) * SESSION_BYTES);
        let mut kept = Vec::new();
        let refused = loop {
            match sessions.open(peer("10.0.0.1"), 0) {
                // Ended at once, which engineioxide would do as well, and not freed.
                Ok((session, _)) => {
                    sessions.lock().leave(session.number);
                    kept.push(session);
                }
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refused, Refusal::TooFast);
        assert!(kept.len() <= 2 * limits::SOCKETIO_SESSION_BURST as usize, "{}", kept.len());
        assert!(sessions.open(peer("10.0.0.2"), 0).is_ok());
    }
}
