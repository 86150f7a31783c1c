//! The hub: what publishers and transports hold.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use eventwire_protocol::{
    AddressedTo, AdwId, Audience, BrowserSession, Claims, CloseCode, ConnectionId, Dialect, Envelope, Epoch, ErrorBody,
    ErrorCode, EventKind, Permission, Position, PublicScope, Publication, RoomName, Roster, SessionId, Time, UserId,
    address::to,
    api::ConnectionInfo,
    delivery::MailboxBounds,
    dialect::product_users::ProductUsers,
    event::connection::{Closing, Error},
    explain::{self, Explanation},
    id::MAX_SEQ,
    inspect::{self, Extent},
    limits, route,
    work::WorkBounds,
};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, broadcast};

use crate::{
    audit::{self, Audit, AuditEntry, AuditEvent},
    auth::{
        Authenticator, Credential, CredentialKind, Credentials, KeyChange, NoAuthentication, Principal, Secret,
        SupersededKey, Thumbprint,
    },
    backplane::{Backplane, SingleNode},
    carrier,
    clock::{Clock, SystemClock},
    connection::{ConnectRequest, Connection, Link},
    guard::Guard,
    guesses::Guesses,
    handler::{ConnectionHandler, Tap},
    history::{Append, Checkpoint, Evictions, History, Idempotency, MemoryBounds, MemoryHistory, Receipt, Record},
    holder::Holder,
    intake::{self, CommandWork, Intake, WorkAccount},
    logins::Logins,
    places::{self, Activity, Entered, Places, Stage},
    rates::{self, Rates},
    records::HubRecords,
    revocation::{Ending, REVOKED, Revocation, Revocations, WITHDRAWN},
    sequencer::{self, Answers, Jobs},
    session_key::SessionKey,
    state::{Durability, LoginDigest, Room, StateEntry, StateLog},
    stats::{SharedStats, Stats, TurnedAway},
    subscriptions::Subscriptions,
    tickets::{SseCookie, Ticket, TicketStore, WhenFull},
    unfinished::Budget,
};

/// Everything that can be set about a hub. The defaults are the limits of the specification.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much may wait for one connection.
    pub mailbox: MailboxBounds,
    /// Between two heartbeat events.
    pub heartbeat: Duration,
    /// Between two transport pings.
    pub ping: Duration,
    /// Which Host and Origin headers are answered.
    pub guard: Guard,
    /// Most connections at once.
    pub max_connections: usize,
    /// Bytes that the subscriptions of all connections may take (LIMIT-14).
    pub subscription_bytes: usize,
    /// How long credentials are still taken after their end (AUTH-11).
    pub expiry_grace: Duration,
    /// Longest life of a token, from its issue to its end (AUTH-11).
    pub max_token_age: Duration,
    /// Whether a token has to say when it was issued. Of one that does not, only what is left of its life can be judged, and
    /// once its user was revoked it is refused for good (AUTH-13).
    pub require_issued_at: bool,
    /// Dialects whose clients may connect without credentials where others need them (AUTH-09); of a family, any.
    pub anonymous: Vec<Dialect>,
    /// Most bytes of messages and request bodies that have begun and not ended (LIMIT-08).
    pub unfinished_bytes: u64,
    /// How much work commands may cause over all connections (LIMIT-16).
    pub work: WorkBounds,
    /// What connections without credentials may join, and with it any other connection; `None` lets them join everything and
    /// adds nothing to what others may (AUTH-17).
    pub anonymous_scope: Option<Arc<PublicScope>>,
    /// Whether the logins of Product Demo are the users of the same id that credentials name (AUTH-17).
    pub product_users: ProductUsers,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mailbox: MailboxBounds::default(),
            heartbeat: limits::HEARTBEAT,
            ping: limits::PING,
            guard: Guard::default(),
            max_connections: 100_000,
            subscription_bytes: limits::SUBSCRIPTION_BYTES,
            expiry_grace: limits::EXPIRY_GRACE,
            max_token_age: limits::MAX_TOKEN_AGE,
            require_issued_at: true,
            anonymous: Vec::new(),
            unfinished_bytes: limits::UNFINISHED_BYTES as u64,
            work: WorkBounds::for_processors(limits::WORK_PER_SECOND, intake::processors()),
            anonymous_scope: None,
            product_users: ProductUsers::default(),
        }
    }
}

/// Puts a hub together.
pub struct Builder {
    settings: Settings,
    authenticator: Arc<dyn Authenticator>,
    history: Option<Arc<dyn History>>,
    bounds: MemoryBounds,
    backplane: Arc<dyn Backplane>,
    clock: Arc<dyn Clock>,
    taps: Vec<Arc<dyn Tap>>,
    session_key: Option<SessionKey>,
    state: Option<Box<dyn StateLog>>,
    remembered: Vec<StateEntry>,
    audit: Audit,
}

impl Builder {
    /// Sets what keeps revocations beyond the process, and what it kept so far (AUTH-19). Without it they are in memory only.
    pub fn state(mut self, log: impl StateLog, entries: Vec<StateEntry>) -> Self {
        self.state = Some(Box::new(log));
        self.remembered = entries;
        self
    }

    /// Adds somebody who sees every event as it is delivered.
    pub fn tap(mut self, tap: Arc<dyn Tap>) -> Self {
        self.taps.push(tap);
        self
    }

    /// Sets the secret behind the ids of browser sessions; without it one is drawn at every start. Nodes of one cluster, and
    /// back ends that remember session ids over a restart, need the same one.
    pub fn session_key(mut self, key: SessionKey) -> Self {
        self.session_key = Some(key);
        self
    }

    /// Sets where connections, refusals and what administrators do are recorded (AUTH-25); the default counts refusals only.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// Sets limits, intervals and the guard.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets who recognizes people; the default is nobody, which suits loopback only.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Arc::new(authenticator);
        self
    }

    /// Sets how much the default history, memory, keeps.
    pub fn memory_bounds(mut self, bounds: MemoryBounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Sets another history.
    pub fn history(mut self, history: Arc<dyn History>) -> Self {
        self.history = Some(history);
        self
    }

    /// Sets how nodes exchange what they commit.
    pub fn backplane(mut self, backplane: impl Backplane) -> Self {
        self.backplane = Arc::new(backplane);
        self
    }

    /// Sets the wall clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts the hub. Must be called inside a tokio runtime.
    pub fn build(self) -> Hub {
        let history =
            self.history.unwrap_or_else(|| Arc::new(MemoryHistory::new(Epoch::from_bits(random()), self.bounds)));
        let jobs = Jobs::new();
        let subscription_bytes = self.settings.subscription_bytes;
        let mut revocations = Revocations::new(self.settings.expiry_grace, limits::REVOCATIONS);
        let mut logins = Logins::new(limits::LOGINS);
        for entry in self.remembered {
            if let Some(StateEntry::LoginSeen { login, at }) = revocations.restore(entry) {
                logins.restore(login, at);
            }
        }
        let max_connections = self.settings.max_connections;
        // Without credentials there is nothing to reserve places for.
        let reserve = if self.authenticator.authenticates() { max_connections / 10 } else { 0 };
        let core = Arc::new(Core {
            jobs: jobs.clone(),
            places: Mutex::new(Places::new(max_connections, reserve, places::most_leaving(max_connections))),
            handshakes: Mutex::new(Handshakes::new(max_connections)),
            guesses: Mutex::new(Guesses::new()),
            tickets: TicketStore::new(limits::TICKET_AGE, limits::TICKETS, WhenFull::Refuse),
            cookies: TicketStore::new(limits::SSE_COOKIE_AGE, limits::SSE_COOKIES, WhenFull::DropOldest),
            revocations: Mutex::new(revocations),
            logins: Mutex::new(logins),
            state: self.state.map(AsyncMutex::new),
            revoked: broadcast::Sender::new(64),
            unfinished: Budget::new(self.settings.unfinished_bytes),
            work: CommandWork::new(self.settings.work),
            settings: self.settings,
            authenticator: self.authenticator,
            history,
            backplane: self.backplane,
            clock: self.clock,
            taps: self.taps,
            session_key: self.session_key.unwrap_or_else(SessionKey::random),
            audit: self.audit,
            stats: SharedStats::default(),
            registry: RwLock::new(Registry::new(subscription_bytes)),
            // The upper bits tell nodes apart, the lower ones count: ids of one node grow with time.
            next_id: AtomicU64::new(((random() & 0x00ff_ffff) << 40) | 1),
            draining: AtomicBool::new(false),
            started: tokio::time::Instant::now(),
        });
        tokio::spawn(sequencer::run(Arc::downgrade(&core), jobs));
        Hub { core }
    }
}

/// Longer than this nobody sleeps at once: the wall clock may be set.
const FAR: Duration = Duration::from_secs(30);

/// 64 random bits of the operating system. Without a working source of randomness there is no safe epoch; the process
/// then mixes what it has, which still differs from start to start.
pub fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let mut hasher: DefaultHasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        hasher.finish()
    })
}

/// What all handles of one hub share.
pub(crate) struct Core {
    jobs: Arc<Jobs>,
    pub(crate) settings: Settings,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) backplane: Arc<dyn Backplane>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) taps: Vec<Arc<dyn Tap>>,
    session_key: SessionKey,
    audit: Audit,
    pub(crate) tickets: TicketStore,
    pub(crate) cookies: TicketStore,
    revocations: Mutex<Revocations>,
    logins: Mutex<Logins>,
    /// Keeps what outlives the process.
    state: Option<AsyncMutex<Box<dyn StateLog>>>,
    /// Tells streams that are not connections of the hub.
    revoked: broadcast::Sender<Ending>,
    pub(crate) stats: SharedStats,
    unfinished: Budget,
    pub(crate) work: CommandWork,
    places: Mutex<Places<ConnectionId>>,
    handshakes: Mutex<Handshakes>,
    guesses: Mutex<Guesses>,
    registry: RwLock<Registry>,
    next_id: AtomicU64,
    draining: AtomicBool,
    started: tokio::time::Instant,
}

/// Locks. Nothing kept under these locks has a broken middle.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rates at which connections may be opened (LIMIT-07).
struct Handshakes {
    of: Rates<Holder>,
    /// Of all holders without credentials together.
    anonymous: Rates<()>,
}

impl Handshakes {
    fn new(max_connections: usize) -> Self {
        // Every place may be taken and given back once without a pause.
        let places = u32::try_from(max_connections.saturating_mul(2)).unwrap_or(u32::MAX / 2);
        let burst = places.max(limits::HANDSHAKE_BURST);
        Self {
            of: Rates::new(limits::HANDSHAKES_PER_SECOND, burst, rates::KEYS),
            anonymous: Rates::new(limits::ANONYMOUS_HANDSHAKES_PER_SECOND, burst.saturating_mul(2), 1),
        }
    }

    /// Counts one; or how long to wait.
    fn take(&mut self, holder: &Holder, now: Duration) -> Result<(), Duration> {
        let anonymous = matches!(holder, Holder::Peer(_));
        let of_all = if anonymous { self.anonymous.wait(&(), now) } else { Duration::ZERO };
        let wait = self.of.wait(holder, now).max(of_all);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.of.take(holder, Duration::ZERO, now);
        if anonymous {
            self.anonymous.take(&(), Duration::ZERO, now);
        }
        Ok(())
    }
}

/// The place of one connection (LIMIT-05). Dropping it gives the place back.
pub(crate) struct Place {
    core: Arc<Core>,
    id: ConnectionId,
    pub(crate) activity: Arc<Activity>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.core.places).leave(&self.id);
    }
}

impl Place {
    /// Notes that something was heard from the peer.
    pub(crate) fn heard(&self) {
        self.activity.touch(self.core.started.elapsed());
    }

    /// Whether another connection has taken the place meanwhile.
    pub(crate) fn is_lost(&self) -> bool {
        lock(&self.core.places).is_leaving(&self.id)
    }

    /// Moves the place to the account of another holder.
    ///
    /// # Errors
    /// `unavailable` when that one has its share.
    pub(crate) fn transfer(&self, holder: &Holder) -> Result<(), ErrorBody> {
        let now = self.core.started.elapsed();
        let entered = lock(&self.core.places).transfer(&self.id, holder, now);
        self.core.settle(entered)
    }
}

/// Who is connected, and the send queue of each.
pub(crate) struct Registry {
    pub(crate) roster: Roster,
    pub(crate) links: HashMap<ConnectionId, Arc<Link>>,
    pub(crate) subscriptions: Subscriptions,
}

impl Registry {
    fn new(subscription_bytes: usize) -> Self {
        let subscriptions = Subscriptions::new(subscription_bytes);
        Self { roster: Roster::new(), links: HashMap::new(), subscriptions }
    }

    /// The subscriptions of a connection have changed, or its holder.
    pub(crate) fn account(&mut self, id: ConnectionId, holder: &Holder) {
        if let Some(member) = self.roster.member(id) {
            let bytes = u64::try_from(member.subscription_bytes()).unwrap_or(u64::MAX);
            self.subscriptions.set(id, holder, bytes);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

impl Core {
    pub(crate) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn registry_mut(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId::from_u64(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Takes a place for a connection (LIMIT-05).
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn enter(self: &Arc<Self>, id: ConnectionId, holder: &Holder) -> Result<Place, ErrorBody> {
        let (now, activity) = (self.started.elapsed(), Arc::new(Activity::default()));
        let entered = lock(&self.places).enter(id, holder, Stage::Open, &activity, now);
        self.settle(entered)?;
        Ok(Place { core: self.clone(), id, activity })
    }

    /// Closes what has lost its place.
    fn settle(&self, entered: Entered<ConnectionId>) -> Result<(), ErrorBody> {
        match entered {
            Entered::Admitted => Ok(()),
            Entered::Displaced(id) => {
                self.close_displaced(id);
                Ok(())
            }
            Entered::Refused => {
                self.stats.turned_away(TurnedAway::Place);
                Err(ErrorBody::new(ErrorCode::Unavailable, FULL))
            }
        }
    }

    fn close_displaced(&self, id: ConnectionId) {
        self.stats.turned_away(TurnedAway::Displaced);
        // One that is not in the registry yet looks again when it gets there.
        if let Some(link) = self.registry().links.get(&id) {
            link.send_queue.close_now(CloseCode::TryAgainLater, DISPLACED);
        }
    }

    /// When credentials are no longer taken, for those that have an end (AUTH-11).
    pub(crate) fn refused_from(&self, credential: &Credential) -> Option<Time> {
        let grace = i64::try_from(self.settings.expiry_grace.as_micros()).unwrap_or(i64::MAX);
        credential.expires_at.map(|end| end.plus_micros(grace))
    }

    /// Whether credentials that were right when they were looked at still are: not ended, not taken back, and their key
    /// still accepted (AUTH-11, AUTH-13, AUTH-18).
    pub(crate) fn still_holds(&self, principal: &Principal) -> Result<(), ErrorBody> {
        let now = self.clock.now();
        if self.refused_from(&principal.credential).is_some_and(|end| end <= now) {
            return Err(ErrorBody::new(ErrorCode::Unauthorized, EXPIRED));
        }
        if principal.credential.key.is_some_and(|key| !self.authenticator.accepts_key(&key)) {
            return Err(ErrorBody::new(ErrorCode::Unauthorized, WITHDRAWN));
        }
        if lock(&self.revocations).refuses(principal) {
            return Err(ErrorBody::new(ErrorCode::Unauthorized, REVOKED));
        }
        Ok(())
    }

    /// Closes every connection that an ending concerns and voids what was bought. Returns the number of connections.
    fn close_affected(&self, ending: Ending) -> usize {
        let affected = |principal: &Principal| ending.affects(&principal.credential, principal.claims.user.as_ref());
        self.tickets.take_back(affected);
        self.cookies.take_back(affected);
        let registry = self.registry();
        let links = registry.roster.members().filter_map(|(id, member)| {
            let link = registry.links.get(&id)?;
            ending.affects(&link.credential(), member.claims().user.as_ref()).then_some(link)
        });
        let closed = links.inspect(|link| link.send_queue.close_now(ending.close_code(), ending.reason())).count();
        drop(registry);
        let subject = ending.to_string();
        let _ = self.revoked.send(ending);
        let entry = AuditEntry { closed: Some(closed), ..AuditEntry::new(AuditEvent::CredentialRevoked) };
        self.audit.record(entry.subject(&subject));
        closed
    }

    /// Keeps an entry beyond the process, where there is something to keep it.
    async fn keep(&self, entry: StateEntry, durability: Durability) -> io::Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let mut log = state.lock().await;
        match log.append(&entry, durability).await {
            Ok(Room::Left) => Ok(()),
            // What is in memory has the entry, too. A rewrite also mends a line that was written in part.
            Ok(Room::Short) | Err(_) => log.rewrite(self.remembered()).await,
        }
    }

    fn remembered(&self) -> Vec<StateEntry> {
        let revoked: Vec<StateEntry> = lock(&self.revocations).entries().collect();
        revoked.into_iter().chain(lock(&self.logins).entries()).collect()
    }

    /// Judges the age of credentials that were recognized (AUTH-11).
    fn judge_age(&self, credential: &Credential) -> Result<(), ErrorBody> {
        if credential.kind != CredentialKind::Token {
            return Ok(());
        }
        let refused = |message: String| Err(ErrorBody::new(ErrorCode::Unauthorized, message));
        let Settings { max_token_age, expiry_grace, require_issued_at, .. } = &self.settings;
        let (longest, grace) = (micros(*max_token_age), micros(*expiry_grace));
        let now = self.clock.now();
        let Some(end) = credential.expires_at else {
            return refused("the token has no end (exp); issue it with one".into());
        };
        let begin = match credential.issued_at {
            // It could have been issued before any revocation.
            Some(issued) if issued > now.plus_micros(grace) => {
                return refused(
                    "the token was issued in the future (iat); compare the clocks of issuer and gateway".into(),
                );
            }
            Some(issued) => issued,
            None if *require_issued_at => {
                return refused(
                    "the token does not say when it was issued (iat); issue it with iat, or set jwt_require_iat = false".into(),
                );
            }
            None => now.plus_micros(grace),
        };
        if end > begin.plus_micros(longest) {
            return refused(format!(
                "the token holds for longer than {} seconds from its issue (iat) to its end (exp); issue shorter ones, or raise jwt_max_seconds",
                max_token_age.as_secs()
            ));
        }
        Ok(())
    }
}

/// A duration in microseconds.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What somebody is told whose credentials have ended.
pub(crate) const EXPIRED: &str = "your credentials have expired; come back with new ones";
/// The answer to a holder for whose connection there is no place.
pub(crate) const FULL: &str =
    "the server has as many connections as it may have, and you have your share of them; close some or try again later";
/// The close reason of a connection whose place another has taken.
pub(crate) const DISPLACED: &str =
    "the server has no place left and you have the most connections; come back later, or with fewer";
/// A running realm on one node. Cheap to clone; all clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    pub(crate) core: Arc<Core>,
}

impl Hub {
    /// Begins to put a hub together.
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::default(),
            authenticator: Arc::new(NoAuthentication::loopback()),
            history: None,
            bounds: MemoryBounds::default(),
            backplane: Arc::new(SingleNode),
            clock: Arc::new(SystemClock),
            taps: Vec::new(),
            session_key: None,
            state: None,
            remembered: Vec::new(),
            audit: Audit::off(),
        }
    }

    /// A hub with all defaults. Must be called inside a tokio runtime.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Which Host and Origin headers are answered.
    pub fn guard(&self) -> &Guard {
        &self.core.settings.guard
    }

    /// Where connections, refusals and what administrators do are recorded.
    pub fn audit(&self) -> &Audit {
        &self.core.audit
    }

    /// The limits and intervals in force.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// The time by the hub's clock.
    pub fn now(&self) -> Time {
        self.core.clock.now()
    }

    /// How long the hub has been running.
    pub fn uptime(&self) -> Duration {
        self.core.started.elapsed()
    }

    /// What is left for messages and request bodies that have begun and not ended (LIMIT-08).
    pub fn unfinished(&self) -> &Budget {
        &self.core.unfinished
    }

    /// Whether strangers are turned away.
    pub fn authenticates(&self) -> bool {
        self.core.authenticator.authenticates()
    }

    /// Who shows these credentials.
    ///
    /// # Errors
    /// `unauthorized`.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let recognized = self.recognize(credentials);
        let recognized = match &credentials.token {
            Some(token) => self.attempt(credentials.peer, token, recognized).await,
            None => recognized.await,
        };
        match &recognized {
            Ok(principal) => audit::note_principal(principal),
            Err(error) => {
                let shown = credentials.token.is_some();
                let event = if shown { AuditEvent::CredentialFailed } else { AuditEvent::RequestRefused };
                self.core.audit.record(AuditEntry::new(event).client(credentials.peer).code(error.code));
            }
        }
        let principal = recognized?;
        self.let_in(&principal, credentials.peer)?;
        Ok(principal)
    }

    async fn recognize(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let mut principal = self.core.authenticator.authenticate(credentials).await?;
        principal.peer = credentials.peer;
        if principal.authenticated {
            // What a stranger sees, everyone does (AUTH-17).
            principal.claims.public = self.core.settings.anonymous_scope.clone();
        }
        self.core.still_holds(&principal)?;
        self.core.judge_age(&principal.credential)?;
        Ok(principal)
    }

    /// Who opens a connection of a dialect: as [`authenticate`](Self::authenticate), unless the settings let strangers
    /// connect in it. Then whoever shows nothing may listen to what strangers may, and do nothing else (AUTH-09).
    ///
    /// # Errors
    /// `unauthorized`, also for credentials that are shown and wrong.
    pub async fn authenticate_or_anonymous(
        &self,
        credentials: &Credentials,
        dialect: Dialect,
    ) -> Result<Principal, ErrorBody> {
        let open = self.core.settings.anonymous.iter().any(|open| open.family() == dialect.family());
        if open && credentials.token.is_none() && self.authenticates() {
            let scope = self.core.settings.anonymous_scope.as_deref();
            let claims = scope.map_or_else(Claims::anonymous, Claims::stranger);
            let stranger = Principal { peer: credentials.peer, ..Principal::anonymous(claims) };
            self.let_in(&stranger, credentials.peer)?;
            return Ok(stranger);
        }
        self.authenticate(credentials).await
    }

    /// Looks at credentials of a peer: right away, or after a wait where the peer has shown too many wrong ones (LIMIT-06).
    /// `look` verifies them; its `unauthorized` counts as a failure. For credentials that do not pass through
    /// [`authenticate`](Self::authenticate), such as cookies of an application.
    ///
    /// # Errors
    /// Those of `look`.
    pub async fn attempt<T>(
        &self,
        peer: Option<IpAddr>,
        shown: &Secret,
        look: impl Future<Output = Result<T, ErrorBody>>,
    ) -> Result<T, ErrorBody> {
        // Without an address the peer is part of this process.
        let Some(peer) = peer.map(|peer| Holder::of_peer(Some(peer))) else { return look.await };
        let core = &self.core;
        let attempt = lock(&core.guesses).begin(&peer, shown, core.started.elapsed());
        if !attempt.wait.is_zero() {
            core.stats.turned_away(TurnedAway::Slowed);
            tokio::time::sleep(attempt.wait).await;
        }
        let looked = look.await;
        if looked.as_ref().is_err_and(|error| error.code == ErrorCode::Unauthorized) {
            lock(&core.guesses).refused(&peer, &attempt, core.started.elapsed());
            core.stats.turned_away(TurnedAway::Credentials);
            if let Some(carrier) = carrier::current() {
                carrier.refused();
            }
        } else {
            lock(&core.guesses).accepted(&peer, &attempt, looked.is_ok(), core.started.elapsed());
        }
        looked
    }

    /// Reports to the socket of the request whose work it is (LIMIT-05).
    ///
    /// # Errors
    /// `unavailable`.
    pub fn let_in(&self, principal: &Principal, peer: Option<IpAddr>) -> Result<(), ErrorBody> {
        carrier::current().map_or(Ok(()), |carrier| carrier.accepted(&Holder::of(principal, peer)))
    }

    /// Whether a connection may be opened now: to be asked before the handshake is answered, where any HTTP client can read
    /// the refusal. Counts the handshake (LIMIT-07).
    ///
    /// # Errors
    /// `unavailable` while draining and where there is no place for the holder (LIMIT-05); `rate_limited`.
    pub fn check_admission(&self, holder: &Holder) -> Result<(), ErrorBody> {
        self.check_room(holder)?;
        self.count_handshake(holder)
    }

    /// Counts a handshake (LIMIT-07), for transports that open a session before they know whether there will be a connection.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn count_handshake(&self, holder: &Holder) -> Result<(), ErrorBody> {
        let core = &self.core;
        lock(&core.handshakes).take(holder, core.started.elapsed()).map_err(|wait| {
            core.stats.turned_away(TurnedAway::Handshake);
            let message = format!("too many connections were opened at once; try again in {} ms", wait.as_millis() + 1);
            ErrorBody::new(ErrorCode::RateLimited, message)
        })
    }

    /// Whether there is a place for one more connection of a holder (LIMIT-05). Takes none.
    ///
    /// # Errors
    /// `unavailable`.
    pub fn check_room(&self, holder: &Holder) -> Result<(), ErrorBody> {
        if self.is_draining() {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "the server is stopping; connect again in a moment"));
        }
        if lock(&self.core.places).has_room(holder) {
            return Ok(());
        }
        self.core.stats.turned_away(TurnedAway::Place);
        Err(ErrorBody::new(ErrorCode::Unavailable, FULL))
    }

    /// Takes the place of a connection, because its socket has lost its own, and closes it with 1013 (LIMIT-05). Says whether
    /// there was one.
    pub fn displace(&self, id: ConnectionId) -> bool {
        let had = lock(&self.core.places).expel(&id);
        if had {
            self.core.close_displaced(id);
        }
        had
    }

    /// When more may be read from a holder, for what a transport reads before it has a connection or beside it (LIMIT-16).
    pub fn intake(&self, holder: Holder) -> Intake {
        WorkAccount::new(&self.core.work, holder).intake()
    }

    /// Counts something that was turned away by a server in front of the hub.
    pub fn count_turned_away(&self, why: TurnedAway) {
        self.core.stats.turned_away(why);
    }

    /// Gives out a ticket, which opens one connection as by the credentials of the principal (AUTH-12).
    ///
    /// # Errors
    /// `rate_limited` when too many of the principal's wait to be redeemed; `unavailable`.
    pub fn issue_ticket(&self, principal: &Principal) -> Result<Ticket, ErrorBody> {
        let ticket = self.core.tickets.issue(principal)?;
        Ok(Ticket { ticket, expires_in: self.core.tickets.age() })
    }

    /// Who bought a ticket. Whatever becomes of the connection, it is good for no other.
    ///
    /// # Errors
    /// `unauthorized`, with the same words for a ticket that was never given out, was redeemed, came too late, or was bought
    /// with credentials that have ended since.
    ///
    /// Costs no wait however often it is tried; see [`handshake::authenticate_request`](crate::handshake::authenticate_request).
    pub fn redeem_ticket(&self, ticket: &Secret) -> Result<Principal, ErrorBody> {
        let principal = self.core.tickets.redeem(ticket).filter(|principal| self.core.still_holds(principal).is_ok());
        principal.map(Arc::unwrap_or_clone).inspect(audit::note_principal).ok_or_else(|| {
            audit::note_credential_failure();
            let message = "the ticket is not good, or no longer; buy another: POST /v1/tickets";
            ErrorBody::new(ErrorCode::Unauthorized, message)
        })
    }

    /// Whose ticket it is, if it is good. It still is afterwards.
    pub(crate) fn holder_of_ticket(&self, ticket: &Secret, peer: Option<IpAddr>) -> Option<Holder> {
        self.core.tickets.show(ticket).map(|principal| Holder::of(&principal, peer))
    }

    /// Gives out a cookie with which an `EventSource` of this principal comes back (AUTH-12).
    ///
    /// # Errors
    /// `unavailable`.
    pub fn issue_sse_cookie(&self, principal: &Principal) -> Result<SseCookie, ErrorBody> {
        let left = principal.credential.expires_at.map(|end| {
            let micros = end.as_unix_micros().saturating_sub(self.now().as_unix_micros());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        });
        let value = self.core.cookies.issue(principal)?;
        Ok(SseCookie { value, max_age: left.unwrap_or(Duration::MAX).min(self.core.cookies.age()) })
    }

    /// Whose cookie it is.
    ///
    /// # Errors
    /// `unauthorized`.
    pub fn recognize_sse_cookie(&self, value: &Secret) -> Result<Principal, ErrorBody> {
        let principal = self.core.cookies.show(value).filter(|principal| self.core.still_holds(principal).is_ok());
        principal.map(Arc::unwrap_or_clone).inspect(audit::note_principal).ok_or_else(|| {
            audit::note_credential_failure();
            ErrorBody::new(ErrorCode::Unauthorized, "the cookie is not good any more; buy a ticket: POST /v1/tickets")
        })
    }

    /// Whether the credentials of a principal that was recognized before still hold.
    ///
    /// # Errors
    /// `unauthorized` when they have ended, were revoked, or their key was withdrawn.
    pub fn still_holds(&self, principal: &Principal) -> Result<(), ErrorBody> {
        self.core.still_holds(principal).inspect_err(|error| {
            let entry = AuditEntry::new(AuditEvent::CredentialFailed).principal(principal).code(error.code);
            self.core.audit.record(entry);
        })
    }

    /// The credential of a login that an application vouches for (AUTH-13). `shown` is what tells this login from others of its
    /// user, the value of a session cookie or a token; `id` and `issued_at` are what the application says of it.
    ///
    /// A cookie often has no date, so the hub notes when it first saw it, by a digest.
    pub async fn login(&self, shown: &Secret, id: Option<Arc<str>>, issued_at: Option<Time>) -> Credential {
        let login = LoginDigest::of(shown);
        let (first_seen, entry) = lock(&self.core.logins).show(login, self.now());
        if let Some(entry) = entry
            && let Err(error) = self.core.keep(entry, Durability::Buffered).await
        {
            tracing::error!(%error, "the state log does not keep when a login was first seen; a restart forgets it");
        }
        Credential { kind: CredentialKind::Login, id, issued_at, first_seen: Some(first_seen), ..Credential::default() }
    }

    /// Takes credentials back (AUTH-13): they are refused from now on, as are tickets and cookies that were bought with them, and
    /// every connection that was opened with them is closed with 4001. Returns the number of connections that are being closed,
    /// once a restart would not forget the revocation.
    ///
    /// A user's revocation refuses every token and login that was issued up to now. API keys have no date of issue: their
    /// connections as that user are closed, and they are taken back themselves by their names. [`Revocation::All`] closes
    /// every connection that was opened with credentials; those with an API key may come back.
    ///
    /// # Errors
    /// `unavailable` when the state log does not keep it. It is in force all the same, until the process ends.
    pub async fn revoke(&self, revocation: &Revocation) -> Result<usize, ErrorBody> {
        let core = &self.core;
        let mut entries = Vec::new();
        {
            // First nothing new is accepted, then what is open is closed: a connection between the two is judged again when it is
            // put into the roster.
            let mut revocations = lock(&core.revocations);
            entries.push(revocations.add(revocation, self.now()));
            if let Revocation::Token(id) = revocation
                && core.authenticator.is_permanent(id)
            {
                entries.push(revocations.add_api_key(id.clone(), core.authenticator.key_named(id)));
            }
        }
        let closed = core.close_affected(Ending::Revoked(revocation.clone()));
        // The caller may go away meanwhile; what it asked for is kept all the same.
        let keeping = Arc::clone(core);
        let kept = tokio::spawn(async move {
            for entry in entries {
                keeping.keep(entry, Durability::Synced).await?;
            }
            io::Result::Ok(())
        });
        match kept.await.map_err(io::Error::other).and_then(|kept| kept) {
            Ok(()) => Ok(closed),
            Err(error) => {
                tracing::error!(%error, "a revocation is in force, and the state log does not keep it; a restart forgets it");
                let message = "the revocation is in force, and the state file cannot be written: a restart would forget it; \
                    make room for the file and revoke again";
                Err(ErrorBody::new(ErrorCode::Unavailable, message))
            }
        }
    }

    /// Ends what a withdrawn key vouched for (AUTH-18): connections are closed with 4001, tickets and cookies are void. Returns
    /// the number of connections that are being closed.
    ///
    /// Call it once the authenticator no longer accepts the key. The hub keeps no memory of it: a key that is accepted
    /// again vouches again.
    pub fn withdraw_key(&self, key: Thumbprint) -> usize {
        self.core.close_affected(Ending::Withdrawn(key))
    }

    /// Ends what a key vouched for with grants that it no longer has (AUTH-20). Where the key is still accepted, connections are
    /// closed with 1012, so that clients connect again and are judged by the new grants; otherwise as
    /// [`withdraw_key`](Self::withdraw_key). Returns the number of connections that are being closed.
    pub fn supersede_key(&self, superseded: SupersededKey) -> usize {
        match superseded.change {
            KeyChange::Withdrawn => self.withdraw_key(superseded.key),
            KeyChange::Regranted => self.core.close_affected(Ending::Regranted(superseded.key)),
        }
    }

    /// Waits until the credentials of a principal end or are taken back, and says which: for streams that are no connections
    /// of the hub and outlive the request that opened them.
    pub fn until_refused(&self, principal: &Principal) -> impl Future<Output = ErrorBody> + Send + use<> {
        // Subscribed before the first look, so that nothing falls between.
        let mut revoked = self.core.revoked.subscribe();
        let (hub, principal) = (self.clone(), principal.clone());
        async move {
            loop {
                if let Err(error) = hub.core.still_holds(&principal) {
                    return error;
                }
                let left = hub.core.refused_from(&principal.credential).map_or(FAR, |end| hub.until(end));
                tokio::select! {
                    ending = revoked.recv() => match ending {
                        Ok(it) if it.affects(&principal.credential, principal.claims.user.as_ref()) => {
                            return ErrorBody::new(ErrorCode::Unauthorized, it.reason());
                        }
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                    },
                    () = tokio::time::sleep(left.min(FAR)) => {}
                }
            }
        }
    }

    /// How long it is until a moment of the wall clock; nothing once it is over.
    pub(crate) fn until(&self, moment: Time) -> Duration {
        let micros = moment.as_unix_micros().saturating_sub(self.now().as_unix_micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Connects a client. The answer is the link's to drive; dropping it disconnects.
    ///
    /// # Errors
    /// `unavailable` while draining or full, and what the history says.
    pub async fn connect(&self, request: ConnectRequest) -> Result<Connection, ErrorBody> {
        self.open(request, None).await
    }

    /// Connects a client of an older system, which behaves as the handler says.
    ///
    /// # Errors
    /// As [`Hub::connect`].
    pub async fn connect_as(
        &self,
        request: ConnectRequest,
        handler: Box<dyn ConnectionHandler>,
    ) -> Result<Connection, ErrorBody> {
        self.open(request, Some(handler)).await
    }

    async fn open(
        &self,
        request: ConnectRequest,
        handler: Option<Box<dyn ConnectionHandler>>,
    ) -> Result<Connection, ErrorBody> {
        let (name, id) = (request.principal.name.clone(), request.principal.credential.id.clone());
        let (client, transport) = (request.meta.remote_address, request.meta.transport);
        let dialect = request.dialect.as_str();
        let opened = Connection::open(self.clone(), request, handler).await;
        let entry = match &opened {
            Ok(connection) => {
                AuditEntry { connection: Some(connection.id()), ..AuditEntry::new(AuditEvent::ConnectionOpened) }
            }
            Err(error) => AuditEntry::new(AuditEvent::ConnectionRefused).code(error.code),
        };
        self.core.audit.record(AuditEntry {
            client,
            principal: Some(&name),
            credential: id.as_deref(),
            dialect: Some(dialect),
            transport: Some(transport),
            ..entry
        });
        opened
    }

    /// The browser session of a cookie value: a keyed hash, from which the value cannot be found again (AUTH-08).
    pub fn browser_session(&self, cookie: &Secret) -> BrowserSession {
        self.core.session_key.session_of(cookie)
    }

    /// The seal of a cookie value: proof that this hub, or another with the same session key, made or vouched for it.
    pub fn seal_cookie(&self, value: &str) -> String {
        self.core.session_key.seal(value)
    }

    /// Whether a cookie value has this seal.
    pub fn is_sealed_cookie(&self, value: &str, seal: &str) -> bool {
        self.core.session_key.is_sealed(value, seal)
    }

    async fn submit(&self, holder: &Holder, appends: Vec<Append>) -> Result<Answers, ErrorBody> {
        let answers = self.core.jobs.push(holder, appends).await?;
        answers.await.map_err(|_| sequencer::stopped())?
    }

    /// Commits events and the places of their source together, then delivers them: what a source inside the process
    /// uses.
    ///
    /// # Errors
    /// `unavailable`; then nothing was committed.
    pub async fn append(&self, events: Vec<Envelope>, checkpoints: Vec<Checkpoint>) -> Result<Vec<Receipt>, ErrorBody> {
        self.append_for(&Holder::Local, events, checkpoints).await
    }

    /// The same on the account of a holder (LIMIT-10, LIMIT-15): for what a client caused.
    ///
    /// # Errors
    /// `unavailable`, and `rate_limited` when the holder has more than its share; then nothing was committed.
    pub async fn append_for(
        &self,
        holder: &Holder,
        events: Vec<Envelope>,
        checkpoints: Vec<Checkpoint>,
    ) -> Result<Vec<Receipt>, ErrorBody> {
        let record = |envelope| Record { holder: holder.clone(), ..Record::from(envelope) };
        let records = events.into_iter().map(record).collect();
        let answers = self.submit(holder, vec![Append { holder: holder.clone(), records, checkpoints }]).await?;
        answers.into_iter().next().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Where a source stood when its last events were committed.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn checkpoints(&self, source: &str) -> Result<Vec<Checkpoint>, ErrorBody> {
        self.core.history.checkpoints(source).await
    }

    /// Publishes what a principal hands in, each event on its own. The answers come in the same order. Principals take turns
    /// (LIMIT-15).
    ///
    /// # Errors
    /// Of the whole call: `rate_limited` when publications of others wait and the principal's are more than its share;
    /// `unavailable`. Of each event: what admission, permission and history say.
    pub async fn publish(
        &self,
        principal: &Principal,
        publications: Vec<Result<Publication, ErrorBody>>,
    ) -> Result<Vec<Result<Receipt, ErrorBody>>, ErrorBody> {
        let now = self.now();
        let holder = Holder::of(principal, principal.peer);
        let mut appends = Vec::new();
        let admitted: Vec<Result<(), ErrorBody>> = publications
            .into_iter()
            .map(|publication| {
                let publication = publication.and_then(|it| self.core.settings.product_users.admit(it));
                let record = publication.and_then(|publication| self.admit(principal, publication, now))?;
                appends.push(Append { records: vec![record], ..Append::default() });
                Ok(())
            })
            .collect();
        let mut answers =
            if appends.is_empty() { Vec::new() } else { self.submit(&holder, appends).await? }.into_iter();
        let lost = || ErrorBody::new(ErrorCode::Internal, "the history gave no answer");
        let outcomes: Vec<Result<Receipt, ErrorBody>> = admitted
            .into_iter()
            .map(|admitted| {
                admitted?;
                answers.next().ok_or_else(lost)??.into_iter().next().ok_or_else(lost)
            })
            .collect();
        self.core.stats.refused(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(|error| error.code));
        Ok(outcomes)
    }

    /// What the history evicted before its time of what a principal published, since this was last asked (LIMIT-10).
    pub fn take_evictions(&self, principal: &Principal) -> Evictions {
        self.core.history.take_evictions(&Holder::of(principal, principal.peer))
    }

    /// Tells everyone who would receive `event` and reads the dialect something else in its place, in the words of the
    /// dialect and as of one moment: `words` is asked under the lock in which events are delivered, so every event that a
    /// [`Tap`] has seen by then belongs in them, and every later one is delivered behind them. It must not wait and not
    /// call the hub. Nothing of it is kept, and it reaches the connections of this node only. Says how many were told.
    pub fn send_encoded(&self, event: &Envelope, dialect: Dialect, words: impl FnOnce() -> Vec<bytes::Bytes>) -> usize {
        let now = self.now();
        let registry = self.core.registry_mut();
        let reads = |id: &ConnectionId| registry.roster.member(*id).is_some_and(|member| member.dialect() == dialect);
        let told: Vec<ConnectionId> = route::route(&registry.roster, event).into_iter().filter(reads).collect();
        let words = if told.is_empty() { Vec::new() } else { words() };
        for link in told.iter().filter_map(|id| registry.links.get(id)) {
            for words in &words {
                link.send_queue.send_encoded(words.clone(), now);
            }
        }
        told.len()
    }

    /// Admission of what a principal hands in: permission first, so that a refusal reveals nothing else.
    fn admit(&self, principal: &Principal, publication: Publication, now: Time) -> Result<Record, ErrorBody> {
        let Principal { name, claims, .. } = principal;
        self.may_publish(claims, &publication.to).inspect_err(|error| {
            let entry = AuditEntry::new(AuditEvent::PublicationForbidden).principal(principal).code(error.code);
            self.core.audit.record(entry.subject(&publication.to.to_string()));
        })?;
        let (id, expected_prev) = (publication.id.clone(), publication.expected_prev);
        let digest = id.is_some().then(|| digest(&publication));
        let envelope = Envelope::admit(publication, now)?;
        let idempotency = id.zip(digest).map(|(key, digest)| Idempotency { principal: name.clone(), key, digest });
        Ok(Record { envelope, idempotency, expected_prev, holder: Holder::of(principal, principal.peer) })
    }

    /// Whether a publisher may address the audience (AUTH-04).
    ///
    /// # Errors
    /// `forbidden`.
    pub fn may_publish(&self, claims: &Claims, audience: &Audience) -> Result<(), ErrorBody> {
        if !claims.may(Permission::Publish) {
            return Err(ErrorBody::new(ErrorCode::Forbidden, "your credentials do not allow publishing"));
        }
        // Only what depends on who is connected needs the lock.
        let reached = match audience {
            Audience::Connection(_) => inspect::may_address(&self.core.registry().roster, claims, audience),
            _ => claims.may_address(audience),
        };
        if !reached {
            return Err(ErrorBody::new(ErrorCode::Forbidden, format!("your credentials do not reach {audience}")));
        }
        Ok(())
    }

    async fn publish_one(&self, holder: &Holder, envelope: Result<Envelope, ErrorBody>) -> Result<Receipt, ErrorBody> {
        let receipts = self.append_for(holder, vec![envelope?], Vec::new()).await?;
        receipts.into_iter().next().ok_or_else(|| ErrorBody::new(ErrorCode::Internal, "the history gave no answer"))
    }

    /// A handle that publishes to one connection.
    pub fn connection(&self, id: ConnectionId) -> ToConnection {
        ToConnection { hub: self.clone(), id, holder: Holder::Local }
    }

    /// A handle that publishes to one session.
    pub fn session(&self, id: impl Into<SessionId>) -> ToSession {
        ToSession { hub: self.clone(), id: id.into(), holder: Holder::Local }
    }

    /// A handle that publishes to one user.
    pub fn user(&self, id: UserId) -> ToUser {
        ToUser { hub: self.clone(), id, holder: Holder::Local }
    }

    /// A handle that publishes to the watchers of one ADW.
    pub fn adw(&self, id: AdwId) -> ToAdw {
        ToAdw { hub: self.clone(), id, holder: Holder::Local }
    }

    /// A handle that publishes to one room.
    pub fn room(&self, name: RoomName) -> ToRoom {
        ToRoom { hub: self.clone(), id: name, holder: Holder::Local }
    }

    /// A handle that publishes to everyone.
    pub fn everyone(&self) -> ToEveryone {
        ToEveryone { hub: self.clone(), holder: Holder::Local }
    }

    /// Everyone whom a principal may know of, oldest first, with what it may know of each (AUTH-16).
    pub fn connections_seen_by(&self, claims: &Claims) -> Vec<ConnectionInfo> {
        let registry = self.core.registry();
        let members = registry.roster.members();
        members
            .filter_map(|(id, member)| {
                Some(registry.links.get(&id)?.row(id, member, inspect::inspect(claims, member)?))
            })
            .collect()
    }

    /// Everyone who is connected, oldest first: for the application that this hub is a part of.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let registry = self.core.registry();
        registry
            .roster
            .members()
            .filter_map(|(id, member)| registry.links.get(&id).map(|link| link.info(id, member)))
            .collect()
    }

    /// Stats since the start. Costs a look at every mailbox.
    pub fn stats(&self) -> Stats {
        let registry = self.core.registry();
        let present = registry.roster.members().filter_map(|(id, member)| {
            let link = registry.links.get(&id)?;
            Some((link.transport(), member.dialect().as_str(), link.send_queue.depth()))
        });
        let figures = self.core.stats.with(present);
        Stats {
            history: self.core.history.usage(),
            unfinished: self.core.unfinished.usage(),
            commands_waiting: self.core.work.waiting(),
            command_waits: self.core.work.waits(),
            ..figures
        }
    }

    /// Whether a connection of this id is there.
    pub fn is_connected(&self, id: ConnectionId) -> bool {
        self.core.registry().roster.member(id).is_some()
    }

    /// How many are connected.
    pub fn connection_count(&self) -> usize {
        self.core.registry().roster.len()
    }

    /// The name of the history, and its highest number.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn head(&self) -> Result<(Epoch, Position), ErrorBody> {
        let heads = self.core.history.heads().await?;
        Ok((heads.epoch, heads.head))
    }

    /// For every connection that the asker may know of, whether it would receive an event of this type for this audience
    /// now, and why (AUTH-16).
    ///
    /// # Errors
    /// `audience_not_allowed`, and `forbidden` for an audience that the asker's grants do not reach.
    pub fn explain(&self, asker: &Claims, kind: EventKind, audience: Audience) -> Result<Vec<Explanation>, ErrorBody> {
        let audience = self.core.settings.product_users.audience(&kind, audience)?;
        let event = Envelope::probe(kind, audience)?;
        if !asker.may_explain(event.audience()) {
            let message = format!("your credentials do not reach {}", event.audience());
            return Err(ErrorBody::new(ErrorCode::Forbidden, message));
        }
        let registry = self.core.registry();
        let records = HubRecords { registry: &registry, now: self.now() };
        Ok(explain::explain(&registry.roster, &records, asker, &event))
    }

    /// Tells a client that something it asked for was not done, in the words of its dialect: what becomes known after the
    /// frame itself was taken. Says whether the client is still there. Not for what a publisher says: `connection.error` is
    /// the server's own.
    pub fn send_error(&self, id: ConnectionId, error: &ErrorBody) -> bool {
        let payload = Error {
            code: error.code,
            message: error.message.to_string(),
            re: None,
            retryable: error.code.retryable(),
            retry_after_ms: None,
            details: None,
        };
        self.tell(id, &payload)
    }

    /// Sends a connection something of the catalog, if its dialect can say it. Returns whether the connection is there.
    pub fn tell<P: AddressedTo<to::Connection>>(&self, id: ConnectionId, payload: &P) -> bool {
        let registry = self.core.registry();
        let link = registry.links.get(&id);
        if let Some(link) = link {
            link.send_queue.send(payload, self.now());
        }
        link.is_some()
    }

    /// Closes a connection for an administrator whose grants reach it as a whole (AUTH-16).
    pub fn kick_for(&self, claims: &Claims, id: ConnectionId) -> Kick {
        let extent = inspect::extent(&self.core.registry().roster, claims, id);
        match extent {
            Some(Extent::Whole) if self.kick(id) => Kick::Closed,
            Some(Extent::Shared) => Kick::Shared,
            _ => Kick::Unknown,
        }
    }

    /// Closes a connection because an administrator wants it. Says whether there was one.
    pub fn kick(&self, id: ConnectionId) -> bool {
        let closed = self.close(id, CloseCode::Policy, "closed by an administrator");
        if closed {
            let entry = AuditEntry::new(AuditEvent::ConnectionKicked);
            self.core.audit.record(AuditEntry { connection: Some(id), ..entry });
        }
        closed
    }

    /// Closes a connection once what waits for it has been written. Says whether there was one; the first reason counts.
    pub fn close(&self, id: ConnectionId, code: CloseCode, reason: impl Into<String>) -> bool {
        let registry = self.core.registry();
        let link = registry.links.get(&id);
        if let Some(link) = link {
            link.send_queue.close(code, reason);
        }
        link.is_some()
    }

    /// Whether the hub has stopped taking new connections.
    pub fn is_draining(&self) -> bool {
        self.core.is_draining()
    }

    /// Takes no new connections, tells everyone to come back at a moment of their own within `window`, and closes them
    /// (FLOW-08). Returns when all are gone, or after `window`.
    pub async fn drain(&self, window: Duration) {
        self.core.draining.store(true, Ordering::Release);
        let now = self.now();
        let links: Vec<Arc<Link>> = self.core.registry().links.values().cloned().collect();
        let count = u32::try_from(links.len()).unwrap_or(u32::MAX).max(1);
        for (place, link) in (0_u32..).zip(&links) {
            let wait = window.saturating_mul(place) / count;
            let closing = Closing {
                reason: "the server is stopping".into(),
                code: Some(CloseCode::Restart.as_u16()),
                reconnect_after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(0).saturating_add(500).min(MAX_SEQ)),
            };
            link.send_queue.send(&closing, now);
            link.send_queue.close(CloseCode::Restart, "the server is stopping");
        }
        let gone = async {
            while self.connection_count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(window.max(Duration::from_secs(1)), gone).await.is_err() {
            tracing::warn!(left = self.connection_count(), "connections did not close in time");
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of a connection that an administrator wanted closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// It is being closed.
    Closed,
    /// The grants reach some of its subscriptions, and not who it is.
    Shared,
    /// There is none, or none that the grants reach.
    Unknown,
}

fn digest(publication: &Publication) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let to = publication.to.to_string();
    for part in [publication.kind.as_str(), &to, publication.data.get()] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident($marker:ident, $id:ty) by $admit:ident;)+) => {
        $(
            $(#[$doc])*
            ///
            /// Cheap to clone and to move into a task: what runs later publishes to whom it was made for.
            #[derive(Clone)]
            pub struct $name {
                hub: Hub,
                id: $id,
                holder: Holder,
            }

            impl $name {
                /// Whom this handle publishes to.
                pub fn id(&self) -> &$id {
                    &self.id
                }

                /// The same handle, on the account of a holder: for what a client caused. Without it the account is that of the process
                /// (LIMIT-10, LIMIT-15).
                pub fn on_account_of(self, holder: Holder) -> Self {
                    Self { holder, ..self }
                }

                /// Publishes an event; returns when it is committed and in every receiver's mailbox.
                ///
                /// # Errors
                /// `too_large`, `subject_mismatch`, `unavailable`.
                pub async fn publish<P: AddressedTo<to::$marker>>(&self, payload: P) -> Result<Receipt, ErrorBody> {
                    let now = self.hub.now();
                    self.hub.publish_one(&self.holder, Envelope::$admit(self.id.clone(), &payload, now)).await
                }
            }
        )+
    };
}

handles! {
    /// Publishes to one connection.
    ToConnection(Connection, ConnectionId) by to_connection;
    /// Publishes to one session.
    ToSession(Session, SessionId) by to_session;
    /// Publishes to one user.
    ToUser(User, UserId) by to_user;
    /// Publishes to the watchers of one ADW.
    ToAdw(Adw, AdwId) by to_adw;
    /// Publishes to one room.
    ToRoom(Room, RoomName) by to_room;
}

/// Publishes to everyone.
#[derive(Clone)]
pub struct ToEveryone {
    hub: Hub,
    holder: Holder,
}

impl ToEveryone {
    /// The same handle, on the account of a holder: for what a client caused. Without it the account is that of the process
    /// (LIMIT-10, LIMIT-15).
    pub fn on_account_of(self, holder: Holder) -> Self {
        Self { holder, ..self }
    }

    /// Publishes an event; returns when it is committed and in every receiver's mailbox.
    ///
    /// # Errors
    /// `too_large`, `unavailable`.
    pub async fn publish<P: AddressedTo<to::Global>>(&self, payload: P) -> Result<Receipt, ErrorBody> {
        self.hub.publish_one(&self.holder, Envelope::to_everyone(&payload, self.hub.now())).await
    }
}
