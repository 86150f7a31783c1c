//! Product Demo: pages of logged-in users, who are told what concerns them and nobody else.
//!
//! A socket belongs to the user behind the session cookie, whom only the application knows ([`login`]); without one it is
//! closed. A user may have many sockets, and all of them are told. A user who has none is told within ten minutes of what
//! was missed (`presence`). Logins that end soon are announced, and end (`expiry`). An installation can be streamed in
//! as its program writes (`install`).

pub mod login;

mod expiry;
mod install;
mod presence;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use eventwire_hub::{
    CommandSink, ConnectRequest, Connection, ConnectionHandler, Credential, Holder, Hub, Meta, Principal,
};
use eventwire_protocol::{
    ApplicationCommand, Claims, CloseCode, Command, CommandEffect, ConnectionId, Dialect, Envelope, Epoch, ErrorBody,
    ErrorCode, Member, Position, Request as HubRequest, Scope, Target, Time, UserId,
    api::systems::{SocketStats, UserSockets},
    command::Ping,
    dialect::product::{self, Asked},
    event::product::UserActivity,
    resume::Cursor,
};
use http::{Method, Request, Response, StatusCode, header};
use serde_json::json;

pub use login::{JwtUsers, KnowsNobody, LoginProof, LookupUsers, ResolvedUser, Shown, UserResolver};

use crate::{Admission, Ask, Body, Route, System, answer};
use presence::{Login, QUEUE_AGE, State, Watch};

const SOCKET: &Route = &Route { pattern: "/ws", methods: &[Method::GET], socket: true, own_listener_only: true };
const INSTALL: &Route = &Route {
    pattern: "/api/mcp/ssh/install/stream",
    methods: &[Method::POST],
    socket: false,
    own_listener_only: false,
};
const STATS: &Route =
    &Route { pattern: "/api/websocket/stats", methods: &[Method::GET], socket: false, own_listener_only: false };

const ROUTES: &[Route] = &[*SOCKET, *INSTALL, *STATS];

/// What can be set.
#[derive(Clone)]
pub struct Settings {
    /// The name of the session cookie. Default `connect.sid`.
    pub cookie: String,
    /// Who knows the users. Default nobody: every socket is closed.
    pub users: Arc<dyn UserResolver>,
    /// Between two looks at logins that end soon. Default 60 s.
    pub expiry_check: Duration,
    /// A login that ends within this is announced. Default 300 s.
    pub expiry_notice: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cookie: "connect.sid".into(),
            users: Arc::new(KnowsNobody),
            expiry_check: Duration::from_secs(60),
            expiry_notice: Duration::from_secs(300),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// What the system and its connections share.
struct Shared {
    hub: Hub,
    commands: Arc<dyn CommandSink>,
    settings: Settings,
    state: State,
}

impl Shared {
    /// The user of the hub behind what a request shows (AUTH-17); `None` for a login that cannot be one.
    async fn user_behind(&self, shown: &Shown) -> Result<Option<ResolvedUser>, ErrorBody> {
        let found = self.settings.users.resolve(shown).await?;
        let users = self.hub.settings().product_users;
        Ok(found.and_then(|found| Some(ResolvedUser { user: users.user_of(&found.user)?, ..found })))
    }

    /// What a login may do. Its end is the application's to say (PRD-07); the hub knows it by what revokes it (AUTH-13).
    async fn principal(&self, found: &ResolvedUser, history_from: Option<Time>) -> Principal {
        let LoginProof { shown, id, issued_at, key } = &found.proof;
        let credential = Credential { key: *key, ..self.hub.login(shown, id.clone(), *issued_at).await };
        let claims = Claims {
            user: Some(found.user.clone()),
            role: found.role,
            contexts: Scope::none(),
            adws: Scope::none(),
            rooms: Scope::none(),
            users: Scope::none(),
            browser_sessions: Scope::none(),
            global: false,
            public: None,
            permissions: std::collections::BTreeSet::new(),
            history_from,
        };
        Principal { credential, ..Principal::new(format!("product:{}", found.user), claims) }
    }

    /// The id by which the application and its pages know a user.
    fn login_of(&self, user: &UserId) -> UserId {
        self.hub.settings().product_users.login_of(user)
    }
}

/// The system.
pub struct Product(Arc<Shared>);

impl Product {
    /// Puts the system on a hub. Must be called inside a tokio runtime: a task checks logins until the system is dropped.
    pub fn new(hub: Hub, commands: Arc<dyn CommandSink>, settings: Settings) -> Self {
        let shared = Arc::new(Shared { hub, commands, settings, state: State::default() });
        tokio::spawn(expiry::watch(Arc::downgrade(&shared), shared.settings.expiry_check));
        Self(shared)
    }

    fn shown(&self, headers: &http::HeaderMap) -> Shown {
        Shown::read(headers, &self.0.settings.cookie)
    }

    /// Who sends a request, by the cookies that it shows, if the login was not revoked.
    async fn user(
        &self,
        headers: &http::HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<(ResolvedUser, Principal), ErrorBody> {
        self.resolve(&self.shown(headers), peer).await
    }

    /// Asks whose login it is, as any credentials are looked at (LIMIT-06).
    ///
    /// # Errors
    /// `unauthorized` when it is none, or one that has ended or was revoked; `unavailable`.
    async fn resolve(&self, shown: &Shown, peer: Option<IpAddr>) -> Result<(ResolvedUser, Principal), ErrorBody> {
        let hub = &self.0.hub;
        let unknown = || ErrorBody::new(ErrorCode::Unauthorized, "not logged in");
        let resolved = async {
            let found = self.0.user_behind(shown).await?;
            let found = found.filter(|it| it.expires_at.is_none_or(|end| end > hub.now())).ok_or_else(unknown)?;
            let principal = self.0.principal(&found, None).await;
            hub.still_holds(&principal)?;
            Ok((found, principal))
        };
        match shown.session.as_ref().or(shown.bearer.as_ref()) {
            Some(login) => hub.attempt(peer, login, resolved).await,
            None => resolved.await,
        }
    }

    /// How many sockets there are. Whose they are, a user learns of nobody but themselves.
    async fn stats(&self, headers: &http::HeaderMap, peer: Option<IpAddr>) -> Result<Response<Body>, ErrorBody> {
        let (me, _) = self.user(headers, peer).await?;
        let present = self.0.state.table().present();
        let mine = present
            .get(&me.user)
            .map(|count| UserSockets { user_id: self.0.login_of(&me.user), connection_count: *count });
        let stats = SocketStats {
            total_connections: present.values().sum(),
            unique_users: present.len(),
            user_connections: mine.into_iter().collect(),
        };
        Ok(answer::json(StatusCode::OK, &stats))
    }
}

#[async_trait]
impl System for Product {
    fn dialect(&self) -> Dialect {
        Dialect::Product
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn max_message_bytes(&self) -> usize {
        product::MAX_FRAME_BYTES
    }

    async fn admit(&self, ask: Ask<'_>) -> Admission {
        let shared = &self.0;
        let shown = self.shown(ask.headers);
        if shown.is_empty() {
            return Admission::Close(CloseCode::Policy, "No cookie header found".into());
        }
        let (found, mut principal) = match self.resolve(&shown, ask.peer).await {
            Ok(resolved) => resolved,
            Err(error) if error.code == ErrorCode::Unauthorized => {
                return Admission::Close(CloseCode::Policy, "Authentication failed".into());
            }
            // Nobody is let in on a guess; the page may come back.
            Err(_) => return Admission::Close(CloseCode::Restart, "Authentication is unavailable".into()),
        };
        let (epoch, head) = match shared.hub.head().await {
            Ok(head) => head,
            Err(error) => return Admission::Refuse(error),
        };
        let now = shared.hub.now();
        let from = now.plus_micros(-i64::try_from(QUEUE_AGE.as_micros()).unwrap_or(i64::MAX));
        principal.claims.history_from = Some(from);
        let holder = Holder::of(&principal, ask.peer);
        let seat = Seat::take(shared, &found.user, epoch, now);
        let cursor = seat.start.map(|start| Cursor {
            epoch,
            // What everyone is told is of the moment: only what is the user's own is brought.
            low: head,
            others: [(Target::User(found.user.clone()), start)].into(),
        });
        let agent = ask.headers.get(header::USER_AGENT);
        let user_agent = agent.and_then(|value| eventwire_hub::handshake::user_agent(value.as_bytes()));
        let dialect = if ask.dialect.family() == Dialect::Product { ask.dialect } else { Dialect::Product };
        let request = ConnectRequest {
            dialect,
            cursor,
            meta: Meta { transport: "websocket", remote_address: ask.peer, user_agent },
            ..ConnectRequest::new(principal, "websocket")
        };
        let handler = Page { shared: shared.clone(), user: found, holder, shown, seat };
        Admission::Connect { request: Box::new(request), handler: Box::new(handler), headers: http::HeaderMap::new() }
    }

    async fn answer(&self, route: &'static Route, request: Request<Body>, peer: Option<IpAddr>) -> Response<Body> {
        let answered = match route.pattern {
            pattern if pattern == INSTALL.pattern => self.install(request, peer).await,
            pattern if pattern == STATS.pattern => {
                let headers = request.into_parts().0.headers;
                self.stats(&headers, peer).await
            }
            _ => Err(ErrorBody::new(ErrorCode::UpgradeRequired, "this path is a WebSocket")),
        };
        answered.unwrap_or_else(|error| refusal(&error))
    }
}

/// A refusal as the system's own endpoints write it.
fn refusal(error: &ErrorBody) -> Response<Body> {
    answer::plain_refusal(answer::status_of(error), error)
}

/// The place that a socket takes up with its user. Given back when it is dropped, whatever became of the socket.
struct Seat {
    shared: Arc<Shared>,
    user: UserId,
    /// Where the log is to be read from, if this socket brings the missed events.
    start: Option<Position>,
    /// The connection, while it is in the roster.
    id: Option<ConnectionId>,
    /// Whether it never was.
    vacant: bool,
}

impl Seat {
    fn take(shared: &Arc<Shared>, user: &UserId, epoch: Epoch, now: Time) -> Self {
        let start = shared.state.table().admit(user, epoch, now);
        Self { shared: shared.clone(), user: user.clone(), start, id: None, vacant: true }
    }

    fn enter(&mut self, id: ConnectionId, login: Login) {
        (self.id, self.vacant) = (Some(id), false);
        self.shared.state.table().enter(id, login, self.start.is_some());
    }

    fn leave(&mut self, reached: Option<(Epoch, Position)>) {
        if let Some(id) = self.id.take() {
            self.shared.state.table().leave(id, reached, self.shared.hub.now());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.vacant {
            self.shared.state.table().give_up(&self.user, self.start.is_some());
        }
        // Of a socket that left in order this was done already.
        self.leave(None);
    }
}

/// One socket of a page.
struct Page {
    shared: Arc<Shared>,
    user: ResolvedUser,
    holder: Holder,
    shown: Shown,
    seat: Seat,
}

#[async_trait]
impl ConnectionHandler for Page {
    fn greet(&mut self, id: ConnectionId, _: &Member) -> Vec<Envelope> {
        let login = Login {
            user: self.user.user.clone(),
            holder: self.holder.clone(),
            expires_at: self.user.expires_at,
            shown: std::mem::take(&mut self.shown),
            watch: Watch::New,
        };
        // The hub brings the newest status of each document, oldest first, so that a page that shows one shows the newest (FLOW-10).
        self.seat.enter(id, login);
        self.shared.state.changed().notify_one();
        Vec::new()
    }

    fn max_frame_bytes(&self) -> usize {
        product::MAX_FRAME_BYTES
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        let done = match product::decode(frame) {
            Ok(asked) => self.perform(connection, asked).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            connection.refuse(None, error, None);
        }
    }

    fn leaving(&mut self, _: ConnectionId, epoch: Epoch, handed: &[(Target, Position)]) {
        self.seat.leave(presence::reached(&self.user.user, epoch, handed));
    }
}

impl Page {
    async fn perform(&self, connection: &mut Connection, asked: Asked) -> Result<(), ErrorBody> {
        let ResolvedUser { user, username, .. } = &self.user;
        match asked {
            Asked::Ping { timestamp } => {
                let command = Command::Ping(Ping { client_time: timestamp });
                connection.perform(HubRequest { id: None, command }).await;
            }
            Asked::ManualConnection => {
                let timestamp = connection.now().as_unix_micros().div_euclid(1_000);
                let words = json!({
                    "type": "manual_connection_confirmed",
                    "userId": self.shared.login_of(user),
                    "timestamp": timestamp,
                    "message": "The connection is there.",
                });
                connection.send_encoded(words.to_string());
            }
            Asked::UserActivity { action, document_id } => {
                let username = username.clone().unwrap_or_else(|| self.shared.login_of(user).to_string());
                let activity = UserActivity { user_id: user.clone(), username, action, document_id };
                let everyone = self.shared.hub.everyone().on_account_of(connection.holder().clone());
                everyone.publish(activity).await?;
            }
            Asked::Application { name, data } => {
                let command = ApplicationCommand {
                    id: format!("{}-{}", connection.id(), next_number()),
                    time: connection.now(),
                    dialect: Dialect::Product.as_str().into(),
                    name: name.into(),
                    connection_id: connection.id(),
                    session_id: None,
                    user_id: Some(self.shared.login_of(user)),
                    urgent: CommandEffect::of(Dialect::Product.as_str(), name).is_urgent(),
                    cancels: None,
                    data,
                };
                self.shared.commands.submit_for(connection.holder().clone(), command).await?;
            }
            _ => return Err(ErrorBody::new(ErrorCode::UnknownCommand, "this server does not know the command")),
        }
        Ok(())
    }
}

/// A number that no other command of this process has.
fn next_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
