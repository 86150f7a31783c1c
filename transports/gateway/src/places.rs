//! Places of sockets (LIMIT-05): who counts how many, which socket makes room, and how it is closed.
//!
//! A socket counts for its peer address, or the client that a header of the PROXY protocol names, until a request on it was let
//! in with credentials, and for that principal from then on. Where the peer has its share, a newcomer is *provisional*: it gets as far as its head, in a small pool of its own.
//! A head without credentials is then answered with 503, one with credentials gets the place of their principal or the same
//! answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use eventwire_hub::carrier::Carrier;
use eventwire_hub::places::{Activity, Entered, Places, Stage};
use eventwire_hub::unfinished::Reservation;
use eventwire_hub::{Holder, Hub, TurnedAway};
use eventwire_protocol::ConnectionId;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_protocol::limits;
use futures_util::task::AtomicWaker;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::response::Body;

/// Of how many places one more is kept for sockets that are provisional.
const PLACES_PER_PROVISIONAL: usize = 16;
/// Fewest and most provisional sockets.
const PROVISIONAL: std::ops::RangeInclusive<usize> = 32..=512;

/// The answer to a socket without a place.
pub(crate) const FULL: &str =
    "the gateway is full, and you have your share of its connections; close some or try again later";

/// How many connections there may be at a time, over all listeners. Clones share them.
#[derive(Clone)]
pub(crate) struct SocketPlaces(Arc<Shared>);

struct Shared {
    hub: Hub,
    state: Mutex<State>,
    began: Instant,
}

struct State {
    places: Places<u64>,
    provisional: Places<u64>,
    sockets: HashMap<u64, Weak<Account>>,
    next_id: u64,
}

/// The account of one socket. Dropping it gives the place back.
pub(crate) struct Account {
    shared: Arc<Shared>,
    id: u64,
    /// Whom the socket counts for without credentials.
    peer: Mutex<IpAddr>,
    activity: Arc<Activity>,
    /// The connection of the hub that lives on the socket.
    connection: Mutex<Option<ConnectionId>>,
    /// Whether a request is being answered.
    busy: AtomicBool,
    /// Whether something of the last answer may wait to be written.
    unsent: AtomicBool,
    upgraded: AtomicBool,
    wrong_credentials: AtomicU32,
    ended: AtomicBool,
    /// Wakes the HTTP server of the socket when it has lost its place.
    lost: Notify,
    /// Wakes the reader of an upgraded socket when it has lost its place.
    reader: AtomicWaker,
}

/// Files beside one for each place that the sockets of a server may need.
pub(crate) fn files_beside(max_connections: usize) -> usize {
    2 * provisional(max_connections) + eventwire_hub::places::most_leaving(max_connections)
}

fn provisional(max_connections: usize) -> usize {
    (max_connections / PLACES_PER_PROVISIONAL).clamp(*PROVISIONAL.start(), *PROVISIONAL.end())
}

impl SocketPlaces {
    /// Places for sockets whose requests go to this hub.
    pub(crate) fn new(max_connections: usize, hub: Hub) -> Self {
        // Without credentials there is nothing to reserve places for.
        let reserve = if hub.authenticates() { max_connections / 10 } else { 0 };
        let pool = provisional(max_connections);
        let state = State {
            places: Places::new(max_connections, reserve, eventwire_hub::places::most_leaving(max_connections)),
            // Displaced there means closed at once; until then there may be as many again.
            provisional: Places::new(pool, 0, pool),
            sockets: HashMap::new(),
            next_id: 0,
        };
        Self(Arc::new(Shared { hub, state: Mutex::new(state), began: Instant::now() }))
    }

    /// The account of a socket that was accepted; `None` when it has to be closed at once.
    pub(crate) fn arrive(&self, peer: SocketAddr) -> Option<Arc<Account>> {
        let shared = &self.0;
        let activity = Arc::new(Activity::default());
        let mut state = shared.state();
        let id = state.next_id;
        state.next_id += 1;
        let entered = state.enter(id, &Holder::of_peer(Some(peer.ip())), &activity, shared.now());
        let displaced = match entered {
            Entered::Admitted => None,
            Entered::Displaced(id) => state.socket(id),
            Entered::Refused => {
                drop(state);
                shared.hub.count_turned_away(TurnedAway::Place);
                return None;
            }
        };
        let account = Arc::new(Account {
            shared: shared.clone(),
            id,
            peer: Mutex::new(peer.ip()),
            activity,
            connection: Mutex::default(),
            busy: AtomicBool::new(false),
            unsent: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            wrong_credentials: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            lost: Notify::new(),
            reader: AtomicWaker::new(),
        });
        state.sockets.insert(id, Arc::downgrade(&account));
        drop(state);
        shared.close(displaced);
        Some(account)
    }
}

impl State {
    /// A place for a socket without a head, or a provisional one, in which the oldest head of the same peer makes room.
    fn enter(&mut self, id: u64, holder: &Holder, activity: &Arc<Activity>, now: Duration) -> Entered<u64> {
        if self.places.enter_free(id, holder, Stage::Head, activity, now) {
            return Entered::Admitted;
        }
        // Idle in the sense of the pool.
        self.provisional.enter(id, holder, Stage::Idle, activity, now)
    }

    fn socket(&self, id: u64) -> Option<Arc<Account>> {
        self.sockets.get(&id).and_then(Weak::upgrade)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Closes a socket that has lost its place. Not under the lock: the last account of a socket takes it when it goes.
    fn close(&self, displaced: Option<Arc<Account>>) {
        if let Some(account) = displaced {
            account.close();
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.sockets.remove(&self.id);
        state.places.leave(&self.id);
        state.provisional.leave(&self.id);
    }
}

impl Account {
    fn peer(&self) -> IpAddr {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header of a trusted proxy names the client of a socket that has brought nothing else: it counts for the client from
    /// now on, as if it had come from there (HTTP-24).
    ///
    /// # Errors
    /// `unavailable` when the socket has to be closed.
    pub(crate) fn named(&self, client: IpAddr) -> Result<(), ErrorBody> {
        let holder = Holder::of_peer(Some(client));
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = client;
        let shared = &self.shared;
        let mut state = shared.state();
        if state.places.is_leaving(&self.id) || state.provisional.is_leaving(&self.id) {
            // It has made room for another one, and is being closed.
            return Ok(());
        }
        state.places.leave(&self.id);
        state.provisional.leave(&self.id);
        let entered = state.enter(self.id, &holder, &self.activity, shared.now());
        let displaced = if let Entered::Displaced(id) = entered { state.socket(id) } else { None };
        drop(state);
        shared.close(displaced);
        if entered == Entered::Refused {
            shared.hub.count_turned_away(TurnedAway::Place);
            return Err(ErrorBody::new(ErrorCode::Unavailable, FULL));
        }
        Ok(())
    }

    /// Asks for a place now that the head is there. `shows` says whether it brings credentials, with which a provisional
    /// socket may get as far as its answer.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn settle(&self, shows: bool) -> Result<(), ErrorBody> {
        if !self.is_provisional() {
            return Ok(());
        }
        match self.claim(&Holder::of_peer(Some(self.peer()))) {
            Err(_) if shows && self.shared.hub.authenticates() => {
                self.shared.state().provisional.set_stage(&self.id, Stage::Request, self.shared.now());
                Ok(())
            }
            settled => settled,
        }
    }

    /// Whether the socket has no place of its own.
    pub(crate) fn is_provisional(&self) -> bool {
        self.shared.state().places.holder(&self.id).is_none()
    }

    /// Whether the connection ends with the present answer.
    pub(crate) fn ends(&self) -> bool {
        self.wrong_credentials.load(Ordering::Relaxed) >= limits::FAILED_CREDENTIALS_PER_CONNECTION
            || self.is_provisional()
    }

    /// A request begins. It ends with the value.
    pub(crate) fn request(self: &Arc<Self>) -> Answering {
        self.busy.store(true, Ordering::Relaxed);
        self.set_stage(Stage::Request);
        Answering(self.clone())
    }

    /// The socket no longer speaks HTTP.
    pub(crate) fn upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
        self.set_stage(Stage::Open);
    }

    /// Whether it is one that no longer speaks HTTP.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Whether what comes now is the head of a request.
    pub(crate) fn awaits_head(&self) -> bool {
        !self.busy.load(Ordering::Relaxed) && !self.is_upgraded()
    }

    /// What a head of this socket takes of the budget of unfinished bytes (LIMIT-08).
    pub(crate) fn unfinished(&self) -> Reservation {
        self.shared.hub.unfinished().reader(Holder::of_peer(Some(self.peer())))
    }

    /// Notes that everything was written. After an answer the socket is idle from now on.
    pub(crate) fn flushed(&self) {
        if self.unsent.load(Ordering::Relaxed) && !self.busy.load(Ordering::Relaxed) {
            self.unsent.store(false, Ordering::Relaxed);
            self.set_stage(Stage::Idle);
        }
    }

    /// Waits until the socket has lost its place.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Whether an upgraded socket has to end; otherwise its reader is woken when it has.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> bool {
        self.reader.register(cx.waker());
        self.ended.load(Ordering::Acquire)
    }

    /// Notes that bytes came from the peer.
    pub(crate) fn heard(&self) {
        self.activity.touch(self.shared.now());
    }

    fn set_stage(&self, stage: Stage) {
        self.shared.state().places.set_stage(&self.id, stage, self.shared.now());
    }

    fn connection(&self) -> Option<ConnectionId> {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes or moves a place for a holder.
    fn claim(&self, holder: &Holder) -> Result<(), ErrorBody> {
        let shared = &self.shared;
        let now = shared.now();
        let (entered, displaced) = {
            let mut state = shared.state();
            let entered = if state.places.holder(&self.id).is_some() {
                state.places.transfer(&self.id, holder, now)
            } else if state.places.is_leaving(&self.id) {
                Entered::Refused
            } else {
                let entered = state.places.enter(self.id, holder, Stage::Request, &self.activity, now);
                if entered != Entered::Refused {
                    state.provisional.leave(&self.id);
                }
                entered
            };
            let displaced = if let Entered::Displaced(id) = entered { state.socket(id) } else { None };
            (entered, displaced)
        };
        shared.close(displaced);
        if entered == Entered::Refused {
            shared.hub.count_turned_away(TurnedAway::Place);
            return Err(ErrorBody::new(ErrorCode::Unavailable, FULL));
        }
        Ok(())
    }

    /// Closes the socket, which has lost its place.
    fn close(&self) {
        // A connection of the hub is told why, in a close frame or an event.
        if !self.connection().is_some_and(|connection| self.shared.hub.displace(connection)) {
            self.shared.hub.count_turned_away(TurnedAway::Displaced);
            self.ended.store(true, Ordering::Release);
            self.reader.wake();
        }
        self.lost.notify_one();
    }
}

impl Carrier for Account {
    fn accepted(&self, holder: &Holder) -> Result<(), ErrorBody> {
        // Within a place that it has anyway, work without credentials changes nothing.
        if matches!(holder, Holder::Peer(_)) && !self.is_provisional() {
            return Ok(());
        }
        self.claim(holder)
    }

    fn refused(&self) {
        self.wrong_credentials.fetch_add(1, Ordering::Relaxed);
    }

    fn forwarded(&self, client: IpAddr) {
        let known = |holder: &Holder| *holder == Holder::of_peer(Some(client));
        if client == self.peer() || self.shared.state().places.holder(&self.id).is_some_and(known) {
            return;
        }
        // Without room the place stays with the proxy, which is the peer then.
        let _ = self.claim(&Holder::of_peer(Some(client)));
    }

    fn carries(&self, connection: ConnectionId) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        self.set_stage(Stage::Open);
    }
}

/// A request that is being answered. Once its answer is written the socket is idle again, unless it has become another kind
/// of connection.
pub(crate) struct Answering(Arc<Account>);

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.0.is_upgraded() {
            *self.0.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
            // The HTTP server has the whole answer; the peer may not.
            self.0.set_stage(Stage::Request);
            self.0.unsent.store(true, Ordering::Relaxed);
        }
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

impl Answering {
    /// The body of the answer, with which the request ends.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        Sending { body, _request: self }.boxed_unsync()
    }
}

/// A body that holds on to its request.
struct Sending {
    body: Body,
    _request: Answering,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
