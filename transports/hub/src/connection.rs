//! One connection, as its link sees it: what to write next, and where to put what was read.
//!
//! This is the whole trait between the hub and its adapters. A link loops over [`Connection::next`] and writes what it is
//! given, and hands every frame it reads to [`Connection::receive`]. It knows nothing of events, and the hub knows nothing
//! of sockets. The link pulls: a socket that does not drain costs its mailbox and nothing else.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use eventwire_protocol::{
    AddressedTo, Audience, BrowserSession, CloseCode, Command, Committed, ConnectionId, Dialect, Envelope, ErrorBody,
    ErrorCode, Member, Position, Request, SessionId, Target, Time,
    address::to,
    api::ConnectionInfo,
    command::{Authenticate, Ping, Subscribe, Unsubscribe},
    event::connection::{
        ConnectionLimits, Error, Heartbeat, Pong, RefusedStream, Reply, StreamPosition, Subscribed, SubscribedStream,
        Unsubscribed, UnsubscribedStream, Welcome,
    },
    explain::{Origin, SubscribedAt},
    id::MAX_SEQ,
    inspect::{Extent, Inspection},
    limits::{self, TokenBucket},
    resume::{self, Cursor, Start},
    roster::Subscription,
    route, version,
};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    auth::{Credential, Credentials, Principal, Secret},
    carrier,
    handler::ConnectionHandler,
    history::{MissedValue, PageBounds},
    holder::Holder,
    hub::{EXPIRED, FULL, Hub, Place, Registry},
    intake::{Intake, WorkAccount},
    records::SubscribedTimes,
    send_queue::{Begin, OutFrame, SendQueue, Taken},
    subscriptions::Room,
};

/// How a client wants to be connected.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// Who it is.
    pub principal: Principal,
    /// How it spells the protocol.
    pub dialect: Dialect,
    /// Its browser session, if it came with the cookie.
    pub home: Option<BrowserSession>,
    /// What it wants from the start, as it wrote it; each is accepted or refused on its own.
    pub targets: Vec<String>,
    /// Where it stood when it was here before.
    pub cursor: Option<Cursor>,
    /// Whether frames are to say where they lead, for transports that resume by cursor.
    pub cursors: bool,
    /// Whether to answer with `connection.subscribed` even when nothing was wanted.
    pub announce: bool,
    /// Whether each refused target is a `connection.error` as well, for clients that send no commands and so do not look for
    /// an answer.
    pub errors: bool,
    /// What is known about the peer.
    pub meta: Meta,
}

impl ConnectRequest {
    /// A canonical client that wants nothing yet.
    pub fn new(principal: Principal, transport: &'static str) -> Self {
        Self {
            principal,
            dialect: Dialect::Canonical,
            home: None,
            targets: Vec::new(),
            cursor: None,
            cursors: false,
            announce: false,
            errors: false,
            meta: Meta { transport, remote_address: None, user_agent: None },
        }
    }
}

/// What is known about the peer of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The transport: `websocket`, `sse`, `socketio`, `memory`.
    pub transport: &'static str,
    /// The peer's address.
    pub remote_address: Option<IpAddr>,
    /// What the peer calls itself.
    pub user_agent: Option<String>,
}

/// What the hub keeps of one connection beside the roster.
pub(crate) struct Link {
    pub(crate) send_queue: SendQueue,
    meta: Meta,
    connected_at: Time,
    /// What the connection lives by now; `authenticate` puts another in its place.
    credential: Mutex<Credential>,
    /// Since when it has its subscriptions.
    pub(crate) subscribed: SubscribedTimes,
}

impl Link {
    pub(crate) fn transport(&self) -> &'static str {
        self.meta.transport
    }

    /// What the peer calls itself.
    pub(crate) fn user_agent(&self) -> Option<&str> {
        self.meta.user_agent.as_deref()
    }

    pub(crate) fn credential(&self) -> Credential {
        self.credential.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The row of a connection in the list, as far as it may be shown (AUTH-16).
    pub(crate) fn row(&self, id: ConnectionId, member: &Member, seen: Inspection) -> ConnectionInfo {
        let Inspection { extent, user, session, subscriptions } = seen;
        let whole = self.info(id, member);
        match extent {
            Extent::Whole => ConnectionInfo { subscriptions, ..whole },
            Extent::Shared => ConnectionInfo {
                connection_id: id,
                dialect: whole.dialect,
                transport: whole.transport,
                user_id: user.map(|user| user.to_string()),
                session_id: session.map(|session| session.to_string()),
                role: None,
                permissions: Vec::new(),
                credential: None,
                expires_at: None,
                subscriptions,
                remote_address: None,
                user_agent: None,
                connected_at: whole.connected_at,
                queued_frames: 0,
                queued_bytes: 0,
                delivered: 0,
                dropped: 0,
                lagging: false,
            },
        }
    }

    pub(crate) fn info(&self, id: ConnectionId, member: &Member) -> ConnectionInfo {
        let depth = self.send_queue.depth();
        let claims = member.claims();
        let Credential { id: credential, expires_at, .. } = self.credential();
        ConnectionInfo {
            credential: credential.as_deref().map(str::to_owned),
            expires_at,
            connection_id: id,
            dialect: member.dialect().as_str(),
            transport: self.meta.transport,
            user_id: claims.user.as_ref().map(ToString::to_string),
            session_id: member.home().map(|home| home.to_string()),
            role: claims.role,
            permissions: claims.permissions.iter().copied().collect(),
            subscriptions: member.subscriptions(),
            remote_address: self.meta.remote_address.map(|address| address.to_string()),
            user_agent: self.meta.user_agent.clone(),
            connected_at: self.connected_at,
            queued_frames: depth.frames,
            queued_bytes: depth.bytes,
            delivered: depth.counters.delivered,
            dropped: depth.counters.dropped + depth.counters.unspeakable,
            lagging: depth.behind,
        }
    }
}

/// What a link does next.
#[derive(Debug)]
pub enum Outgoing {
    /// Write these, in one go if possible.
    Frames(Vec<OutFrame>),
    /// Send a transport ping; the answer goes to [`Connection::pong`].
    Ping,
    /// Close, and stop.
    Close(CloseCode, String),
}

/// One connection. Dropping it disconnects.
pub struct Connection {
    hub: Hub,
    id: ConnectionId,
    link: Arc<Link>,
    /// When its credentials are no longer taken, if they have an end.
    refused_from: Option<Time>,
    bucket: TokenBucket,
    /// New targets that it may begin to receive (LIMIT-12).
    targets: TokenBucket,
    violations: Vec<Instant>,
    opened: Instant,
    next_heartbeat: Instant,
    next_ping: Instant,
    unanswered_pings: u32,
    place: Place,
    wrong_credentials: u32,
    peer: Option<IpAddr>,
    holder: Holder,
    /// Charges the work of its commands (LIMIT-16).
    work: WorkAccount,
    /// Of a connection that is not canonical; absent while it is at work.
    handler: Option<Box<dyn ConnectionHandler>>,
    max_frame_bytes: usize,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut registry = self.hub.core.registry_mut();
        registry.roster.disconnect(self.id);
        registry.links.remove(&self.id);
        registry.subscriptions.remove(self.id);
        if let Some(handler) = &mut self.handler {
            let send_queue = &self.link.send_queue;
            handler.leaving(self.id, send_queue.epoch(), &send_queue.handed());
        }
        // Under the lock, so that no figure has it twice or not at all.
        self.hub.core.stats.closed(self.link.send_queue.closing(), self.link.send_queue.depth().counters);
        drop(registry);
        if let Some(handler) = &mut self.handler {
            handler.closed(self.id);
        }
    }
}

/// Newest values that are being fetched. Dropped before they came, it leaves them to be fetched later: the one who waits
/// for [`Connection::next`] may turn to something else at any time.
struct Fetch<'a> {
    send_queue: &'a SendQueue,
    targets: &'a [Target],
    over: bool,
}

impl<'a> Fetch<'a> {
    fn begin(send_queue: &'a SendQueue, targets: &'a [Target]) -> Self {
        send_queue.begin_latest();
        Self { send_queue, targets, over: false }
    }

    fn end(mut self, values: Vec<Arc<Committed>>) {
        self.over = true;
        self.send_queue.end_latest(values);
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.send_queue.abandon_latest(self.targets);
        }
    }
}

/// A wanted target and where it begins.
struct TargetRequest {
    target: Target,
    since: Option<Position>,
}

/// Wanted targets, each once, in the order in which they were first named.
#[derive(Default)]
struct TargetRequests {
    all: Vec<TargetRequest>,
    places: HashMap<Target, usize>,
}

impl TargetRequests {
    /// Parts of one audience have one target; its frames come in the order of numbers, so the highest position that was
    /// reached in any part was reached in all of them.
    fn add(&mut self, request: TargetRequest) {
        match self.places.entry(request.target.clone()) {
            Entry::Vacant(place) => {
                place.insert(self.all.len());
                self.all.push(request);
            }
            Entry::Occupied(place) => {
                if let Some(before) = self.all.get_mut(*place.get()) {
                    before.since = before.since.max(request.since);
                }
            }
        }
    }
}

/// Why a command was not carried out.
struct Refusal {
    error: ErrorBody,
    /// After how long the command may be sent again; it was one too many until then.
    wait: Option<Duration>,
}

impl From<ErrorBody> for Refusal {
    fn from(error: ErrorBody) -> Self {
        Self { error, wait: None }
    }
}

impl Connection {
    pub(crate) async fn open(
        hub: Hub,
        request: ConnectRequest,
        mut handler: Option<Box<dyn ConnectionHandler>>,
    ) -> Result<Self, ErrorBody> {
        let core = &hub.core;
        if core.is_draining() {
            return Err(ErrorBody::new(ErrorCode::Unavailable, "the server is stopping; connect again in a moment"));
        }
        let id = core.next_id();
        // Before anything is kept of the connection. Every early end gives the place back.
        let place = core.enter(id, &Holder::of(&request.principal, request.meta.remote_address))?;
        let heads = core.history.heads().await?;
        let now = core.clock.now();
        let settings = &core.settings;
        let ConnectRequest { principal, dialect, home, targets, cursor, cursors, announce, errors, meta } = request;
        let send_queue = SendQueue::new(id, dialect, settings.mailbox, heads.epoch, heads.head, cursors);
        let claims = principal.claims.clone();
        let context = handler.as_ref().and_then(|handler| handler.context()).cloned().map(SessionId::Context);
        match handler.as_mut().and_then(|handler| handler.welcome()) {
            Some(words) => send_queue.send_encoded(words, now),
            None => send_queue.send(
                &Welcome {
                    connection_id: id,
                    protocol: version::PROTOCOL.into(),
                    epoch: heads.epoch,
                    server: version::SERVER.into(),
                    server_time: now,
                    session_id: home.map(SessionId::Browser).or_else(|| context.clone()),
                    user_id: claims.user.clone(),
                    permissions: claims.permissions.iter().copied().collect(),
                    expires_at: principal.credential.expires_at,
                    // Whatever was set: a welcome out of its bounds would not be sent (EVT-08).
                    heartbeat_interval_ms: millis(settings.heartbeat).clamp(1, MAX_SEQ),
                    limits: ConnectionLimits {
                        max_frame_bytes: limits::MAX_COMMAND_BYTES as u64,
                        max_subscriptions: limits::MAX_SUBSCRIPTIONS as u64,
                        commands_per_second: limits::COMMANDS_PER_SECOND.into(),
                        command_burst: limits::COMMAND_BURST.into(),
                        targets_per_second: Some(limits::TARGETS_PER_SECOND.into()),
                        target_burst: Some(limits::TARGET_BURST.into()),
                    },
                },
                now,
            ),
        }
        let member = Member::new(dialect, claims, home);
        let implicit = member.implicit();
        for target in &implicit {
            send_queue.hold(target);
        }
        let peer = meta.remote_address;
        let credential = Mutex::new(principal.credential.clone());
        let link =
            Arc::new(Link { send_queue, meta, connected_at: now, credential, subscribed: SubscribedTimes::default() });
        {
            let mut registry = core.registry_mut();
            // Again, now that a revocation would find the connection: one that came in between did not (AUTH-13).
            core.still_holds(&principal)?;
            // And now that the newcomer that displaces it would find it.
            if place.is_lost() {
                return Err(ErrorBody::new(ErrorCode::Unavailable, FULL));
            }
            if let Some(handler) = &mut handler {
                for event in handler.greet(id, &member) {
                    link.send_queue.deliver(event);
                }
                for words in handler.initial_frames(id, &member) {
                    link.send_queue.send_encoded(words, now);
                }
            }
            registry.roster.connect(id, member);
            registry.links.insert(id, link.clone());
            core.stats.opened(link.transport(), dialect.as_str());
        }
        if let Some(carrier) = carrier::current() {
            carrier.carries(id);
        }
        let opened = Instant::now();
        let (next_heartbeat, next_ping) = (opened + settings.heartbeat, opened + settings.ping);
        let burst = handler.as_ref().map_or(limits::COMMAND_BURST, |handler| handler.burst());
        let bucket = TokenBucket::new(limits::COMMANDS_PER_SECOND, burst, Duration::ZERO);
        let mut connection = Self {
            link,
            id,
            refused_from: core.refused_from(&principal.credential),
            bucket,
            targets: TokenBucket::new(limits::TARGETS_PER_SECOND, limits::TARGET_BURST, Duration::ZERO),
            violations: Vec::new(),
            opened,
            next_heartbeat,
            next_ping,
            unanswered_pings: 0,
            place,
            wrong_credentials: 0,
            peer,
            work: WorkAccount::new(&core.work, Holder::of(&principal, peer)),
            holder: Holder::of(&principal, peer),
            max_frame_bytes: handler.as_ref().map_or(limits::MAX_COMMAND_BYTES, |handler| handler.max_frame_bytes()),
            handler,
            hub,
        };
        // What the client receives without asking comes first, without an answer of its own unless it resumes.
        let since = |target: &Target| cursor.as_ref().map(|cursor| cursor.position(target));
        let epoch = cursor.as_ref().map(|cursor| cursor.epoch);
        let answer = !targets.is_empty() || cursor.is_some() || announce;
        let mut refused = Vec::new();
        let mut wanted = TargetRequests::default();
        for to in targets {
            match to.parse::<Target>() {
                Ok(target) => wanted.add(TargetRequest { since: since(&target), target }),
                Err(error) => {
                    refused.push(RefusedStream { to, code: ErrorCode::InvalidId, message: error.to_string() });
                }
            }
        }
        let unnamed = implicit.into_iter().filter(|target| !wanted.places.contains_key(target));
        let wishes = unnamed.map(|target| TargetRequest { since: since(&target), target }).collect();
        let subscribed = connection.subscribe(Some(wishes), wanted, refused, epoch, None, answer).await;
        let refused = subscribed.map_err(|refusal| refusal.error)?;
        for RefusedStream { to, code, message } in refused.into_iter().filter(|_| errors) {
            let details = Some(Map::from_iter([("to".to_owned(), Value::String(to))]));
            let error = Error { code, message, re: None, retryable: code.retryable(), retry_after_ms: None, details };
            connection.send(&error);
        }
        if let Some(context) = context {
            let context = Target::Session(context);
            connection.join(context.clone()).await?;
            connection.link.subscribed.record([&context], SubscribedAt { origin: Origin::Connect, at: now });
        }
        Ok(connection)
    }

    /// Its id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The hub that it is connected to.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The time by the hub's clock.
    pub fn now(&self) -> Time {
        self.hub.now()
    }

    /// On whose account its work is put (LIMIT-04).
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// When its next command may be read (LIMIT-16). A link over a socket asks before each read.
    pub fn intake(&self) -> Intake {
        self.work.intake()
    }

    /// How the roster has it now; `None` once it is gone.
    pub fn member(&self) -> Option<Member> {
        self.hub.core.registry().roster.member(self.id).cloned()
    }

    /// Tells this client something of the catalog, if its dialect can say it.
    pub fn send<P: AddressedTo<to::Connection>>(&self, payload: &P) {
        self.link.send_queue.send(payload, self.now());
    }

    /// Tells this client something that only its dialect has words for.
    pub fn send_encoded(&self, words: impl Into<bytes::Bytes>) {
        self.link.send_queue.send_encoded(words.into(), self.now());
    }

    /// Shows this client an event as if it had just been delivered, whatever its class. Whoever calls this knows that the
    /// client is among those whom routing would have named.
    pub fn deliver(&self, event: Envelope) {
        self.link.send_queue.deliver(event);
    }

    /// Waits for what to do next. Cancel safe.
    pub async fn next(&mut self) -> Outgoing {
        loop {
            self.close_if_expired();
            match self.link.send_queue.take() {
                Taken::Frames(frames) => return Outgoing::Frames(frames),
                Taken::Close(code, reason) => return Outgoing::Close(code, reason),
                Taken::Behind(asked) => match self.page(&asked).await {
                    Ok(frames) if frames.is_empty() => {}
                    Ok(frames) => return Outgoing::Frames(frames),
                    Err(error) => return Outgoing::Close(CloseCode::Restart, error.message.into_owned()),
                },
                Taken::Latest(_) if self.renew() => {}
                Taken::Latest(targets) => {
                    if let Err(error) = self.bring_latest(&targets).await {
                        return Outgoing::Close(CloseCode::Restart, error.message.into_owned());
                    }
                }
                Taken::Idle => {
                    let mut next = self.next_heartbeat.min(self.next_ping);
                    if let Some(end) = self.refused_from {
                        // Asked anew at every turn, so that a wall clock that is set is believed after a heartbeat.
                        next = next.min(Instant::now() + self.hub.until(end));
                    }
                    tokio::select! {
                        () = self.link.send_queue.changed() => {}
                        () = tokio::time::sleep_until(next) => {}
                    }
                }
            }
            let now = Instant::now();
            if now >= self.next_ping {
                self.next_ping = now + self.hub.core.settings.ping;
                if self.work.waits() {
                    // Answers of the peer are not read.
                    self.unanswered_pings = 0;
                }
                if self.unanswered_pings >= limits::UNANSWERED_PINGS {
                    self.link.send_queue.close(CloseCode::PingTimeout, "transport pings stay unanswered");
                    return Outgoing::Close(CloseCode::PingTimeout, "transport pings stay unanswered".into());
                }
                self.unanswered_pings += 1;
                return Outgoing::Ping;
            }
            if now >= self.next_heartbeat {
                self.next_heartbeat = now + self.hub.core.settings.heartbeat;
                self.heartbeat();
            }
        }
    }

    /// Closes the connection when its credentials have ended (AUTH-11).
    fn close_if_expired(&self) {
        if self.refused_from.is_some_and(|end| end <= self.now()) {
            self.link.send_queue.close(CloseCode::Unauthorized, EXPIRED);
        }
    }

    /// The peer answered a transport ping, or showed in another way that it is there.
    pub fn pong(&mut self) {
        self.unanswered_pings = 0;
        self.place.heard();
    }

    fn heartbeat(&self) {
        let positions = self.link.send_queue.positions();
        let heartbeat = Heartbeat {
            server_time: self.now(),
            active_connections: self.hub.connection_count() as u64,
            server_status: if self.hub.is_draining() { "draining" } else { "healthy" }.into(),
            positions: positions.into_iter().map(|(to, seq)| StreamPosition { to, seq }).collect(),
        };
        self.link.send_queue.send(&heartbeat, heartbeat.server_time);
    }

    /// Reads the log where this connection is behind, and gives what of it may be written.
    async fn page(&self, asked: &[(Target, Position)]) -> Result<Vec<OutFrame>, ErrorBody> {
        let bounds = PageBounds { events: limits::PAGE_EVENTS, bytes: limits::PAGE_BYTES };
        let core = &self.hub.core;
        let now = core.clock.now();
        let page = core.history.read(now, asked, bounds).await?;
        // Under the lock, so that a permission that was lost before this point counts.
        let registry = core.registry();
        let Some(member) = registry.roster.member(self.id) else { return Ok(Vec::new()) };
        let admits = |event: &Envelope| self.admits_kept(member, event);
        let receives = |stream: &Audience| route::receives(self.id, member, stream);
        Ok(self.link.send_queue.page(asked, &page, receives, admits, now))
    }

    /// Has the handler say how everything stands, in place of newest values; whether it does.
    fn renew(&mut self) -> bool {
        let now = self.now();
        let registry = self.hub.core.registry_mut();
        let (Some(handler), Some(member)) = (&mut self.handler, registry.roster.member(self.id)) else { return false };
        let Some(renewed) = handler.snapshot_frames(self.id, member) else { return false };
        for words in renewed {
            self.link.send_queue.send_encoded(words, now);
        }
        true
    }

    /// Fetches the newest values of targets and puts them into the mailbox, unless newer ones came meanwhile.
    async fn bring_latest(&self, targets: &[Target]) -> Result<(), ErrorBody> {
        let core = &self.hub.core;
        let fetch = Fetch::begin(&self.link.send_queue, targets);
        let now = core.clock.now();
        let values = core.history.latest(now, targets).await;
        // Behind the values, so that one that is evicted in between is reported.
        let missed = core.history.incomplete(targets).await;
        {
            // Under the lock, so that a permission that was lost before this point counts.
            let registry = core.registry();
            let member = registry.roster.member(self.id);
            let admits = |event: &Envelope| member.is_some_and(|member| self.admits_kept(member, event));
            // The fetch is over, whether it brought something or not.
            let values = values.iter().flatten().filter(|value| admits(value.envelope()));
            fetch.end(values.cloned().collect());
            let missed = missed.iter().flatten().filter(|missed| admits(&missed.event));
            for (target, number) in newest_of_targets(targets, missed) {
                self.link.send_queue.miss_values(target, number, now);
            }
        }
        values?;
        missed.map(|_| ())
    }

    /// Whether something that was kept is delivered to this connection: as live, and not older than its claims allow.
    fn admits_kept(&self, member: &Member, event: &Envelope) -> bool {
        let from = member.claims().history_from;
        route::admits(self.id, member, event) && from.is_none_or(|from| event.time() >= from)
    }

    /// Puts a frame of the client to work and the answer into the mailbox. Never fails: what is wrong with the frame is
    /// told to its sender and to nobody else (CMD-03).
    pub async fn receive(&mut self, bytes: &[u8]) {
        self.close_if_expired();
        // Whoever is on the way out asks for nothing more.
        if self.link.send_queue.is_closing() || !self.check_rate_limit(bytes.len()) {
            return;
        }
        if let Some(mut handler) = self.handler.take() {
            if bytes.len() > self.max_frame_bytes {
                let message = format!("a frame of {} bytes is over the limit of {}", bytes.len(), self.max_frame_bytes);
                self.refuse(None, ErrorBody::new(ErrorCode::TooLarge, message), None);
                self.record_violation();
            } else {
                handler.receive(self, bytes).await;
            }
            self.handler = Some(handler);
            return;
        }
        match Request::decode(bytes) {
            Ok(request) => self.perform(request).await,
            Err(reject) => {
                let strikes = reject.error.code == ErrorCode::TooLarge;
                self.refuse(reject.re, reject.error, None);
                if strikes {
                    self.record_violation();
                }
            }
        }
    }

    /// Tells the client that something it sent was refused before it could be read, for instance a binary frame. It counts
    /// as a command, so that nobody can ask for refusals faster than for answers.
    pub fn reject(&mut self, error: ErrorBody) {
        if self.check_rate_limit(0) {
            self.refuse(None, error, None);
        }
    }

    /// Closes the connection: [`Connection::next`] gives what waits, and then [`Outgoing::Close`]. The first reason counts.
    pub fn close(&mut self, code: CloseCode, reason: impl Into<String>) {
        self.link.send_queue.close(code, reason);
    }

    /// Whether a frame of the client may be looked at, or came too soon (LIMIT-02).
    fn check_rate_limit(&mut self, bytes: usize) -> bool {
        self.pong();
        let kibs = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        self.work.charge(limits::WORK_OF_COMMAND.saturating_add(kibs.saturating_mul(limits::WORK_OF_KIB)));
        let Err(wait) = self.bucket.take(self.opened.elapsed()) else { return true };
        let message = format!("more than {} commands a second; wait {} ms", limits::COMMANDS_PER_SECOND, millis(wait));
        self.refuse(None, ErrorBody::new(ErrorCode::RateLimited, message), Some(wait));
        self.record_violation();
        false
    }

    /// Puts a command of this protocol to work; what is wrong with it is told to the client.
    pub async fn perform(&mut self, request: Request) {
        let Request { id, command } = request;
        if let Err(Refusal { error, wait }) = self.execute(id.clone(), command).await {
            self.refuse(id, error, wait);
            if wait.is_some() {
                self.record_violation();
            }
        }
    }

    /// Tells the client that something it asked was refused. `re` is the id of what it asked, `wait` when to ask again.
    pub fn refuse(&self, re: Option<String>, error: ErrorBody, wait: Option<Duration>) {
        tracing::debug!(connection = %self.id, code = %error.code, reason = %error.message, "a command was refused");
        let payload = Error {
            code: error.code,
            message: error.message.into_owned(),
            re,
            retryable: error.code.retryable(),
            // Rounded up, or a client that waits for so long would come too soon.
            retry_after_ms: wait.map(|wait| millis(wait + Duration::from_nanos(999_999))),
            details: None,
        };
        self.link.send_queue.send(&payload, self.now());
    }

    /// Counts a refusal for flooding; too many in a minute close the connection (LIMIT-03).
    fn record_violation(&mut self) {
        let now = Instant::now();
        self.violations.retain(|at| now.duration_since(*at) < Duration::from_secs(60));
        self.violations.push(now);
        if self.violations.len() >= limits::STRIKES_PER_MINUTE as usize {
            self.link.send_queue.close(CloseCode::RateLimited, "too many refused frames");
        }
    }

    /// Counts wrong credentials; too many close the connection (LIMIT-06).
    fn count_wrong_credentials(&mut self) {
        self.wrong_credentials += 1;
        if self.wrong_credentials >= limits::FAILED_CREDENTIALS_PER_CONNECTION {
            self.link.send_queue.close(CloseCode::RateLimited, "too many wrong credentials");
        }
    }

    async fn execute(&mut self, re: Option<String>, command: Command) -> Result<(), Refusal> {
        match command {
            Command::Ping(Ping { client_time }) => {
                let server_time = self.now();
                self.link.send_queue.send(&Pong { re, client_time, server_time }, server_time);
                Ok(())
            }
            Command::Subscribe(Subscribe { epoch, streams }) => {
                let mut refused = Vec::new();
                let mut wanted = TargetRequests::default();
                for stream in streams {
                    match stream.to.parse::<Target>() {
                        Ok(target) => wanted.add(TargetRequest { target, since: stream.since }),
                        Err(error) => refused.push(RefusedStream {
                            to: stream.to,
                            code: ErrorCode::InvalidId,
                            message: error.to_string(),
                        }),
                    }
                }
                self.subscribe(None, wanted, refused, epoch, re, true).await.map(|_| ())
            }
            Command::Unsubscribe(Unsubscribe { streams }) => Ok(self.unsubscribe(re, streams)?),
            Command::Authenticate(Authenticate { token }) => Ok(self.authenticate(re, token).await?),
            _ => Err(ErrorBody::new(ErrorCode::UnknownCommand, "this server does not know the command").into()),
        }
    }

    /// Subscribes to a target from now on and says nothing of it: for a handler that answers in words of its own.
    ///
    /// # Errors
    /// `forbidden`, `too_many_subscriptions`, `rate_limited`, and what the history says.
    pub async fn join(&mut self, target: Target) -> Result<(), ErrorBody> {
        let mut wanted = TargetRequests::default();
        wanted.add(TargetRequest { target, since: None });
        let subscribed = self.subscribe(None, wanted, Vec::new(), None, None, false).await;
        let refused = subscribed.map_err(|refusal| {
            if refusal.wait.is_some() {
                self.record_violation();
            }
            refusal.error
        })?;
        refused.into_iter().next().map_or(Ok(()), |refused| Err(ErrorBody::new(refused.code, refused.message)))
    }

    /// Subscribes to what is wanted and begins everything where it should begin: what was missed from the log, the
    /// newest values at once, the rest live. Gives what was refused, which an answer has said by then.
    ///
    /// All targets of a command are one change of the roster, under one lock. Those that begin here are charged to the
    /// bucket of targets; where it has too few, nothing of the command is done (LIMIT-12). `implicit` is what a new
    /// connection receives without having named it.
    async fn subscribe(
        &mut self,
        implicit: Option<Vec<TargetRequest>>,
        wanted: TargetRequests,
        mut refused: Vec<RefusedStream>,
        epoch: Option<eventwire_protocol::Epoch>,
        re: Option<String>,
        answer: bool,
    ) -> Result<Vec<RefusedStream>, Refusal> {
        self.charge_targets(wanted.all.len() + refused.len());
        let send_queue = &self.link.send_queue;
        let is_new = implicit.is_some();
        let mut silent = implicit.unwrap_or_default();
        let TargetRequests { all: wanted, places: named } = wanted;
        send_queue.begin_latest();
        let outcomes = {
            let mut registry = self.hub.core.registry_mut();
            let member = registry.roster.member(self.id);
            let receives = |target| member.is_some_and(|it| it.is_implicit(target) || it.is_subscribed(target));
            let begin = wanted.iter().filter(|request| request.since.is_some() || !receives(&request.target)).count();
            let charge = u32::try_from(begin + refused.len()).unwrap_or(u32::MAX);
            let named = wanted.iter().filter(|request| !receives(&request.target));
            let bytes: usize = named.map(|request| Member::bytes_of(&request.target)).sum();
            let admitted = match self.targets.take_many(charge, self.opened.elapsed()) {
                Err(wait) => Err(too_many_targets(wait)),
                Ok(()) => make_room(&mut registry, &self.holder, bytes),
            };
            match admitted {
                Ok(()) => {
                    // Held before routing can deliver anything of them: nothing may overtake the replay.
                    let held = send_queue.hold_all(wanted.iter().map(|request| &request.target));
                    let outcomes = registry.roster.subscribe_all(self.id, wanted.iter().map(|request| &request.target));
                    registry.account(self.id, &self.holder);
                    let origin = if is_new { Origin::Connect } else { Origin::Command };
                    let added = outcomes.iter().flatten().zip(&wanted);
                    let added = added.filter(|(outcome, _)| matches!(outcome, Ok(Subscription::Added)));
                    let since = SubscribedAt { origin, at: self.now() };
                    self.link.subscribed.record(added.map(|(_, request)| &request.target), since);
                    outcomes.map(|outcomes| held.into_iter().zip(outcomes).collect::<Vec<_>>()).map_err(Refusal::from)
                }
                Err(refusal) => Err(refusal),
            }
        };
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(refusal) => {
                send_queue.end_latest(Vec::new());
                return Err(refusal);
            }
        };
        let mut accepted = Vec::new();
        let mut everything_since = None;
        // Roots whose newest values the client may not have yet; of a target that it has already nothing begins anew.
        let mut begun = Vec::new();
        let mut lost = Vec::new();
        for (request, (held, outcome)) in wanted.into_iter().zip(outcomes) {
            match outcome {
                Ok(outcome) => {
                    if request.target == Target::Realm {
                        everything_since = request.since;
                    }
                    if outcome == Subscription::Added || request.since.is_some() || is_new {
                        begun.push(request.target.clone());
                    }
                    accepted.push(request);
                }
                Err(error) => {
                    refused.push(RefusedStream {
                        to: request.target.to_string(),
                        code: error.code,
                        message: error.message.into_owned(),
                    });
                    lost.extend(held.then_some(request.target));
                }
            }
        }
        send_queue.forget_all(&lost);
        for RefusedStream { to, code, message } in &refused {
            tracing::debug!(connection = %self.id, to, %code, reason = message, "a subscription was refused");
        }
        // Whoever missed everything has also missed what comes to it without asking (LOG-11).
        if everything_since.is_some() {
            let registry = self.hub.core.registry();
            let own = registry.roster.member(self.id).map(Member::implicit).unwrap_or_default();
            let unnamed =
                |target: &Target| !named.contains_key(target) && silent.iter().all(|request| request.target != *target);
            let owed: Vec<Target> = own.into_iter().filter(unnamed).collect();
            silent.extend(owed.into_iter().map(|target| TargetRequest { target, since: everything_since }));
        }
        let heads = match self.hub.core.history.heads().await {
            Ok(heads) => heads,
            Err(error) => {
                send_queue.end_latest(Vec::new());
                send_queue.close(CloseCode::Restart, error.message.clone());
                return Err(error.into());
            }
        };
        let now = self.now();
        if answer {
            // The head of the whole history: that of one stream would count what this connection may not see (AUTH-16).
            let stream = |request: &TargetRequest| SubscribedStream { to: request.target.clone(), head: heads.head };
            let subscribed = Subscribed {
                re,
                epoch: heads.epoch,
                streams: accepted.iter().map(stream).collect(),
                refused: refused.clone(),
            };
            send_queue.send(&subscribed, now);
        }
        send_queue.end_latest(Vec::new());
        if self.handler.as_ref().is_none_or(|handler| handler.wants_latest()) {
            begun.extend(silent.iter().map(|request| request.target.clone()));
            if !begun.is_empty() {
                self.bring_latest(&begun).await?;
            }
        }
        let begins = silent.into_iter().chain(accepted).map(|TargetRequest { target, since }| {
            let begin = match resume::plan(since, epoch, heads.epoch) {
                Start::Now => Begin::Now,
                // A position that this history has not reached comes from another life of it.
                Start::After(since) if since > heads.head => Begin::OtherEpoch,
                Start::After(since) => Begin::After(since),
                Start::OtherEpoch => Begin::OtherEpoch,
            };
            (target, begin)
        });
        self.link.send_queue.follow_all(begins.collect(), heads.head, now);
        Ok(refused)
    }

    fn charge_targets(&self, count: usize) {
        self.work.charge(u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(limits::WORK_OF_TARGET));
    }

    fn unsubscribe(
        &mut self,
        re: Option<String>,
        streams: Vec<eventwire_protocol::command::Unwanted>,
    ) -> Result<(), ErrorBody> {
        self.charge_targets(streams.len());
        let targets = streams.iter().map(|stream| {
            stream
                .to
                .parse::<Target>()
                .map_err(|error| ErrorBody::new(ErrorCode::InvalidId, format!("{}: {error}", "to")))
        });
        let targets = targets.collect::<Result<Vec<Target>, ErrorBody>>()?;
        {
            let mut registry = self.hub.core.registry_mut();
            registry.roster.unsubscribe_all(self.id, &targets)?;
            self.link.subscribed.forget(&targets);
            registry.account(self.id, &self.holder);
            let member = registry.roster.member(self.id);
            let implicit = |target: &&Target| member.is_some_and(|member| member.is_implicit(target));
            let lost: Vec<Target> = targets.iter().filter(|target| !implicit(target)).cloned().collect();
            self.link.send_queue.forget_all(&lost);
        }
        let streams = targets.into_iter().map(|to| UnsubscribedStream { to }).collect();
        self.link.send_queue.send(&Unsubscribed { re, streams }, self.now());
        Ok(())
    }

    async fn authenticate(&mut self, re: Option<String>, token: String) -> Result<(), ErrorBody> {
        let credentials = Credentials { token: Some(Secret::new(token.trim_ascii())), peer: self.peer };
        let principal = match self.hub.authenticate(&credentials).await {
            Ok(principal) => principal,
            Err(error) => {
                if error.code == ErrorCode::Unauthorized {
                    self.count_wrong_credentials();
                }
                return Err(error);
            }
        };
        let Principal { claims, credential, .. } = &principal;
        let lost = {
            let mut registry = self.hub.core.registry_mut();
            self.hub.core.still_holds(&principal)?;
            if registry.roster.member(self.id).is_some_and(|member| member.claims().user != claims.user) {
                return Err(ErrorBody::new(
                    ErrorCode::Forbidden,
                    "a connection cannot become somebody else's; open a new one",
                ));
            }
            let lost = registry.roster.set_claims(self.id, claims.clone())?;
            self.link.subscribed.forget(&lost);
            for target in &lost {
                self.link.send_queue.forget(target);
            }
            // What waits is judged as if it were delivered now (AUTH-06).
            if let Some(member) = registry.roster.member(self.id) {
                self.link.send_queue.retain(|event| route::admits(self.id, member, event));
            }
            *self.link.credential.lock().unwrap_or_else(PoisonError::into_inner) = credential.clone();
            lost
        };
        // Where the principal has its share the connection goes on in the account that it was opened in.
        let _ = self.place.transfer(&Holder::of(&principal, self.peer));
        self.refused_from = self.hub.core.refused_from(credential);
        self.holder = Holder::of(&principal, self.peer);
        self.work.set_holder(self.holder.clone());
        self.hub.core.registry_mut().account(self.id, &self.holder);
        let now = self.now();
        if !lost.is_empty() {
            let streams = lost.into_iter().map(|to| UnsubscribedStream { to }).collect();
            self.link.send_queue.send(&Unsubscribed { re: None, streams }, now);
        }
        let mut data = serde_json::Map::new();
        data.insert("permissions".into(), claims.permissions.iter().map(|it| it.as_str()).collect());
        if let Some(end) = credential.expires_at {
            data.insert("expires_at".into(), end.to_string().into());
        }
        self.link.send_queue.send(&Reply { re, data }, now);
        Ok(())
    }
}

/// Of each target the number of the last eviction, where values of it were evicted.
fn newest_of_targets<'a>(
    targets: &'a [Target],
    missed: impl Iterator<Item = &'a MissedValue>,
) -> impl Iterator<Item = (&'a Target, u64)> {
    let mut newest: HashMap<Target, u64> = HashMap::new();
    for MissedValue { event, number } in missed {
        for target in event.audience().target().into_iter().chain([Target::Realm]) {
            let newest = newest.entry(target).or_default();
            *newest = (*newest).max(*number);
        }
    }
    targets.iter().filter_map(move |target| Some((target, *newest.get(target)?)))
}

fn too_many_targets(wait: Duration) -> Refusal {
    let (most, ms) = (limits::TARGETS_PER_SECOND, millis(wait + Duration::from_nanos(999_999)));
    let message = format!("more than {most} new targets a second; nothing was subscribed, wait {ms} ms");
    Refusal { error: ErrorBody::new(ErrorCode::RateLimited, message), wait: Some(wait) }
}

/// Makes room for subscriptions of a holder: closes connections of whoever has the most of them (LIMIT-14).
fn make_room(registry: &mut Registry, holder: &Holder, bytes: usize) -> Result<(), Refusal> {
    if bytes == 0 {
        return Ok(());
    }
    loop {
        match registry.subscriptions.decide(holder, u64::try_from(bytes).unwrap_or(u64::MAX)) {
            Room::Admit => return Ok(()),
            Room::Close(id) => {
                tracing::warn!(connection = %id, "closed: it has most of the subscriptions, and there is no room for others");
                if let Some(link) = registry.links.get(&id) {
                    link.send_queue.close_now(
                        CloseCode::TryAgainLater,
                        "the server needs the room of your subscriptions for others",
                    );
                }
                registry.subscriptions.remove(id);
            }
            Room::Refuse => {
                let message = "the server has as many subscriptions as it may, and your share is used up; nothing was \
                               subscribed, unsubscribe from others first or try again later";
                return Err(ErrorBody::new(ErrorCode::Unavailable, message).into());
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
