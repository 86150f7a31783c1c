//! Requests at `/socket.io/`: sessions of Engine.IO, and the connections in them.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::{
    AuditEntry, AuditEvent, Connection, Holder, Hub, RequestContext, metered::Metered, unfinished::Pace,
};
use eventwire_protocol::{Dialect, ErrorCode, limits};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::service::Service as _;
use hyper_util::rt::TokioIo;
use socketioxide::{
    ParserConfig, SocketIo,
    extract::{SocketRef, TryData},
    handler::ConnectHandler as _,
    service::SocketIoService,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    abortable_stream::AbortableStream,
    body,
    connect_handler::{Admitted, Attachments, ConnectHandler, ConnectInfo},
    connection::{self, End, Form},
    gate::Gated,
    inbox::{self, Outlet},
    sessions::{Evicted, Occupied, Refusal, Session, Sessions},
    unsent::PACKET_BYTES,
};

/// Where clients of Socket.IO look for a server.
pub const PATH: &str = "/socket.io/";
/// The largest message, and the largest body of a polling request, in bytes.
pub const MAX_PAYLOAD: usize = 1_000_000;
/// Between two pings of the server.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a client may take to answer one.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a session may be open without a connection to a namespace.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most packets that wait for one socket. The bound on their bytes is reached first. The library puts pings and
/// acknowledgements into the same queue, and closes a session when a ping finds it full.
const MAX_BUFFERED: usize = 4 * limits::SOCKETIO_UNSENT_BYTES / PACKET_BYTES;
/// Most bytes of the headers of a request that opens a session, which keeps them.
const MAX_OPENING_BYTES: usize = 16 * 1024;

/// What can be set about Socket.IO. The defaults are the limits of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most bytes of sessions without a connection to a namespace (SIO-22).
    pub idle_bytes: u64,
    /// How fast a message or the body of a request must come once it has begun (LIMIT-09).
    pub pace: Pace,
}

impl Default for Options {
    fn default() -> Self {
        Self { idle_bytes: limits::SOCKETIO_IDLE_BYTES as u64, pace: Pace::default() }
    }
}

/// How the packet begins that connects to a namespace. The name of one that is not there is repeated in the answer.
const CONNECT: [u8; 2] = *b"40";
/// What separates packets in the body of a polling request.
const SEPARATOR: u8 = 0x1e;

/// The peer of a session, beside its request.
#[derive(Clone, Copy)]
struct Peer(Option<IpAddr>);

/// What a connection waits with between its admission and its first frame.
struct Waiting {
    connection: Connection,
    outlet: Outlet,
    form: Form,
    attachments: Attachments,
    occupied: Option<Occupied>,
}

/// Where it waits: at the socket, so that it goes when the socket goes.
#[derive(Clone)]
struct Parked(Arc<Mutex<Option<Waiting>>>);

type Service = SocketIoService<NoOther>;

/// What is not Engine.IO's. Never asked: the acceptor answers one path.
#[derive(Clone)]
struct NoOther;

impl<B> hyper::service::Service<Request<B>> for NoOther {
    type Response = Response<Empty<Bytes>>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn call(&self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        std::future::ready(Ok(response))
    }
}

/// Answers requests at [`PATH`], and connects the clients behind them to a hub. Cheap to clone.
#[derive(Clone)]
pub struct SocketIoAcceptor {
    service: Service,
    io: SocketIo,
    sessions: Sessions,
    hub: Hub,
    options: Options,
}

impl fmt::Debug for SocketIoAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoAcceptor").finish_non_exhaustive()
    }
}

impl SocketIoAcceptor {
    /// An acceptor for these namespaces, which the handler judges. A client that asks for another namespace gets a
    /// `connect_error`. Must be called inside a tokio runtime.
    pub fn new(hub: Hub, namespaces: &[&'static str], connect_handler: Arc<dyn ConnectHandler>) -> Self {
        Self::with_options(hub, namespaces, connect_handler, Options::default())
    }

    /// An acceptor with other options. Must be called inside a tokio runtime.
    pub fn with_options(
        hub: Hub,
        namespaces: &[&'static str],
        connect_handler: Arc<dyn ConnectHandler>,
        options: Options,
    ) -> Self {
        // The parser keeps an event whose attachments do not come for as long as the session lives.
        let parser = ParserConfig::common().max_incoming_binaries(0).max_incoming_binary_buf_size(0);
        let (service, io) = SocketIo::builder()
            .with_parser(parser)
            .ping_interval(PING_INTERVAL)
            .ping_timeout(PING_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .max_payload(MAX_PAYLOAD as u64)
            .max_buffer_size(MAX_BUFFERED)
            .ws_read_buffer_size(4096)
            .ws_max_message_size(MAX_PAYLOAD)
            .ws_max_frame_size(MAX_PAYLOAD)
            .build_with_inner_svc(NoOther);
        let acceptor = Self { service, io, sessions: Sessions::new(options.idle_bytes), hub: hub.clone(), options };
        for namespace in namespaces {
            acceptor.open(hub.clone(), namespace, connect_handler.clone());
        }
        acceptor
    }

    /// Opens a namespace. A client is admitted, connected to the hub and listened to before it is told that it is connected,
    /// so that nothing it sends can come too early.
    fn open(&self, hub: Hub, namespace: &'static str, connect_handler: Arc<dyn ConnectHandler>) {
        let admit = move |socket: SocketRef, TryData(auth): TryData<serde_json::Value>| async move {
            let parts = socket.req_parts();
            let attachments = Attachments::default();
            let info = ConnectInfo {
                namespace: namespace.to_owned(),
                socket_id: socket.id.to_string(),
                auth: auth.ok(),
                headers: parts.headers.clone(),
                peer: parts.extensions.get::<Peer>().and_then(|peer| peer.0),
                attachments: attachments.clone(),
                handshake: parts.extensions.get::<Arc<Session>>().and_then(|session| session.take_handshake()),
            };
            let of_request = parts.extensions.get::<Arc<RequestContext>>().map(|context| context.again());
            let context = of_request.unwrap_or_else(|| RequestContext::new(info.peer, info.peer).path(PATH));
            let (connection, form) = Arc::new(context).run(connect(&hub, &*connect_handler, &info)).await?;
            let session = parts.extensions.get::<Arc<Session>>();
            let (inbox, outlet) = inbox::channel(session.cloned());
            socket.on_fallback(inbox);
            let occupied = session.map(Session::connect);
            let waiting = Waiting { connection, outlet, form, attachments, occupied };
            socket.extensions.insert(Parked(Arc::new(Mutex::new(Some(waiting)))));
            Ok::<(), eventwire_protocol::ErrorBody>(())
        };
        let acceptor = self.clone();
        let run = move |socket: SocketRef| async move {
            let Some(Parked(parked)) = socket.extensions.remove::<Parked>() else { return };
            let parked = parked.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(Waiting { connection, outlet, form, attachments, occupied }) = parked else { return };
            let gone = Arc::new(tokio::sync::Notify::new());
            let told = gone.clone();
            socket.on_disconnect(move || async move { told.notify_one() });
            if !socket.connected() {
                return;
            }
            let end = tokio::select! {
                end = connection::run(&socket, connection, outlet, form, &attachments) => end,
                () = gone.notified() => End::Gone,
            };
            match end {
                End::Gone => {}
                end if end.cuts() => acceptor.close(&socket).await,
                End::Closed(_) => {
                    if socket.clone().disconnect().is_err() {
                        acceptor.close(&socket).await;
                    }
                }
            }
            if let Some(occupied) = occupied {
                let session = Arc::downgrade(occupied.session());
                drop(occupied);
                acceptor.close_unless_used(session, socket.id.to_string());
            }
        };
        self.io.ns(namespace, run.with(admit));
    }

    /// Answers a request at [`PATH`]. Host and origin have been checked. The answer to a request for a WebSocket is 101; the
    /// socket is driven in the background, until it or the acceptor ends.
    pub async fn answer<B>(&self, request: Request<B>, peer: Option<IpAddr>) -> Response<Full<Bytes>>
    where
        B: Body + Send + Unpin + fmt::Debug + 'static,
        B::Data: Send,
        B::Error: fmt::Debug,
    {
        if request.method() == Method::OPTIONS {
            return preflight();
        }
        let query = Query::of(&request);
        if request.method() == Method::GET && query.websocket {
            return self.upgrade(request, &query, peer).await;
        }
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Peer(peer));
        parts.extensions.extend(of_request());
        let mut reserved = self.hub.unfinished().reader(Holder::of_peer(peer));
        let mut polled = None;
        let (opened_as, body) = match &query.sid {
            None if parts.method == Method::GET => match self.open_session(&parts.headers, peer).await {
                Ok(session) => {
                    parts.extensions.insert(session.clone());
                    (Some(session), Bytes::new())
                }
                Err(refused) => return refused,
            },
            // engineioxide says what is wrong with it.
            None => (None, Bytes::new()),
            Some(sid) => {
                let Some(session) = self.sessions.of(sid) else { return refusal(1, "Session ID unknown") };
                polled = (parts.method == Method::GET).then(|| session.clone());
                let most = if session.is_connected() { MAX_PAYLOAD } else { limits::SOCKETIO_EARLY_BYTES };
                let read = body::read(body, most, &mut reserved, self.options.pace).await;
                if parts.method == Method::POST {
                    session.room().await;
                }
                match read {
                    Ok(body) if has_large_connect(&body) => return too_early(),
                    Ok(body) if session.counts(body.len()) => (None, body),
                    Ok(_) => return too_early(),
                    Err(body::Unread::TooLarge) if !session.is_connected() => return too_early(),
                    Err(unread) => return refusal_with(unread.status(), 3, unread.message()),
                }
            }
        };
        let Ok(response) = self.service.call(Request::from_parts(parts, Full::new(body))).await;
        drop(reserved);
        let (mut parts, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return refusal(3, "Bad request"),
        };
        if let Some(session) = polled {
            session.unsent.take(bytes.len());
        }
        if let (Some(session), Some(sid)) = (opened_as, opened(&bytes)) {
            self.sessions.name(&session, sid.clone());
            if session.cut.is_cut() {
                // It made room for another one before its id was known.
                self.close_polling(&sid).await;
            }
        }
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if parts.status.is_client_error() {
            // The codes of errors are numbers with other servers.
            let (code, message) = reason(&bytes);
            let mut response = refusal(code, message);
            *response.status_mut() = parts.status;
            return response;
        }
        Response::from_parts(parts, Full::new(bytes))
    }

    /// Closes everything: clients see their transport end, and come back by themselves.
    pub async fn shut_down(&self) {
        self.io.close().await;
    }

    /// Bytes that were given to sessions to send and that their clients have not taken (SIO-06).
    pub fn unsent_bytes(&self) -> u64 {
        self.sessions.unsent_bytes()
    }

    /// Bytes of the sessions without a connection to a namespace, as they are counted (SIO-22).
    pub fn idle_bytes(&self) -> u64 {
        self.sessions.idle_bytes()
    }

    /// Counts a session before it is opened, and closes those that make room for it (LIMIT-07, SIO-22).
    async fn open_session(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Arc<Session>, Response<Full<Bytes>>> {
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > MAX_OPENING_BYTES {
            let message = "The headers of a request that opens a session may have 16 KiB";
            return Err(refusal_with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, 3, message));
        }
        let holder = Holder::of_peer(peer);
        let counted = self.hub.count_handshake(&holder).map_err(|_| Refusal::TooFast);
        let opened = counted.and_then(|()| self.sessions.open(holder, bytes as u64));
        let (session, evicted) = opened.map_err(|refusal| {
            let (status, code, message) = match refusal {
                Refusal::Full => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    ErrorCode::Unavailable,
                    "Too many sessions without a namespace; try again later",
                ),
                Refusal::TooFast => (
                    StatusCode::TOO_MANY_REQUESTS,
                    ErrorCode::RateLimited,
                    "Too many sessions a second; try again later",
                ),
            };
            let entry = AuditEntry::new(AuditEvent::ConnectionRefused).client(peer);
            self.hub.audit().record_refusal(entry.code(code));
            let mut response = refusal_with(status, 4, message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        })?;
        for Evicted { cut, sid } in evicted {
            cut.cut();
            if let Some(sid) = sid {
                self.close_polling(&sid).await;
            }
        }
        Ok(session)
    }

    /// Closes a session that has left its last namespace, unless it connects to one again in time.
    fn close_unless_used(&self, session: Weak<Session>, sid: String) {
        let unused = |session: &Weak<Session>| session.upgrade().filter(|session| !session.is_connected());
        if unused(&session).is_none() {
            return;
        }
        let acceptor = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CONNECT_TIMEOUT).await;
            if let Some(session) = unused(&session) {
                session.cut.cut();
                acceptor.close_polling(&sid).await;
            }
        });
    }

    async fn upgrade<B: Send + 'static>(
        &self,
        request: Request<B>,
        query: &Query,
        peer: Option<IpAddr>,
    ) -> Response<Full<Bytes>> {
        if !query.version_4 {
            return refusal(5, "Unsupported protocol version");
        }
        let polling = match &query.sid {
            None => None,
            Some(sid) => match self.sessions.of(sid) {
                Some(session) => Some(session),
                None => return refusal(1, "Session ID unknown"),
            },
        };
        let wants = |name: &header::HeaderName, value: &str| {
            let values = request.headers().get_all(name);
            values
                .iter()
                .filter_map(|it| it.to_str().ok())
                .any(|it| it.split(',').any(|token| token.trim().eq_ignore_ascii_case(value)))
        };
        let wanted = wants(&header::CONNECTION, "upgrade")
            && wants(&header::UPGRADE, "websocket")
            && wants(&header::SEC_WEBSOCKET_VERSION, "13");
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
        let Some(accept) = key.and_then(|key| HeaderValue::from_str(&key).ok()).filter(|_| wanted) else {
            return refusal(3, "Bad request");
        };
        let session = match polling {
            Some(session) => session,
            None => match self.open_session(request.headers(), peer).await {
                Ok(session) => session,
                Err(refused) => return refused,
            },
        };
        let (parts, _) = request.into_parts();
        let mut bare = Request::from_parts(parts.clone(), ());
        let mut opening = Request::from_parts(parts, ());
        opening.extensions_mut().insert(Peer(peer));
        opening.extensions_mut().extend(of_request());
        opening.extensions_mut().insert(session.clone());
        let (acceptor, sid) = (self.clone(), query.sid.clone());
        tokio::spawn(async move {
            let stream = match hyper::upgrade::on(&mut bare).await {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => return tracing::debug!(%error, "a socket was not upgraded"),
            };
            let (unfinished, pace) = (acceptor.hub.unfinished().clone(), acceptor.options.pace);
            let service = acceptor.service.clone();
            let intake = acceptor.hub.intake(Holder::of_peer(peer));
            // An upgrade that breaks off leaves a session that nothing else would end.
            let stream = AbortableStream::new(stream, &session, move || {
                if let (Some(sid), Ok(runtime)) = (sid, tokio::runtime::Handle::try_current()) {
                    runtime.spawn(async move { acceptor.close_polling(&sid).await });
                }
            });
            let stream = Metered::new(stream, &unfinished, Holder::of_peer(peer), pace, MAX_PAYLOAD)
                .limit(CONNECT, limits::SOCKETIO_EARLY_BYTES);
            let stream = Gated::new(stream, session, intake);
            let opened = hyper::service::Service::<(_, Request<()>)>::call(&service, (stream, opening)).await;
            if let Err(error) = opened {
                tracing::debug!(%error, "a socket was not opened");
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }

    /// Closes the transport of a socket, whatever it is.
    async fn close(&self, socket: &SocketRef) {
        if let Some(session) = socket.req_parts().extensions.get::<Arc<Session>>() {
            session.cut.cut();
        }
        self.close_polling(&socket.id.to_string()).await;
    }

    /// Closes a session that polls, with the packet that its client would send; of any other, nothing.
    async fn close_polling(&self, sid: &str) {
        let close = Request::post(format!("{PATH}?EIO=4&transport=polling&sid={sid}"));
        let Ok(close) = close.body(Full::new(Bytes::from_static(b"1"))) else { return };
        let Ok(_) = self.service.call(close).await;
    }
}

/// Judges a client and connects it to the hub; a refusal goes to the audit log, once.
async fn connect(
    hub: &Hub,
    connect_handler: &dyn ConnectHandler,
    info: &ConnectInfo,
) -> Result<(Connection, Form), eventwire_protocol::ErrorBody> {
    let admitted = connect_handler.admit(info).await;
    let Admitted { request, handler } = admitted.inspect_err(|error| {
        let entry = AuditEntry::new(AuditEvent::ConnectionRefused).client(info.peer);
        hub.audit().record_refusal(entry.code(error.code));
    })?;
    let form = if request.dialect == Dialect::Canonical { Form::Canonical } else { Form::Pair };
    let connection = match handler {
        Some(handler) => hub.connect_as(request, handler).await?,
        None => hub.connect(request).await?,
    };
    Ok((connection, form))
}

/// The request that is being served, as the audit log names it, for the handlers of its namespaces.
fn of_request() -> http::Extensions {
    let mut extensions = http::Extensions::new();
    if let Some(context) = RequestContext::current() {
        extensions.insert(context);
    }
    extensions
}

/// What the query of a request says.
struct Query {
    version_4: bool,
    websocket: bool,
    sid: Option<String>,
}

impl Query {
    fn of<B>(request: &Request<B>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Self {
            version_4: value("EIO") == Some("4"),
            websocket: value("transport") == Some("websocket"),
            sid: value("sid").map(str::to_owned),
        }
    }
}

/// The id of a session in the packet that opens it.
fn opened(packet: &[u8]) -> Option<String> {
    let packet: serde_json::Value = serde_json::from_slice(packet.strip_prefix(b"0")?).ok()?;
    Some(packet.get("sid")?.as_str()?.to_owned())
}

/// Why Engine.IO refused a request: its number and its words.
fn reason(body: &[u8]) -> (u8, &'static str) {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let code = body.get("code").map(|code| code.to_string());
    match code.as_deref().map(|code| code.trim_matches('"')) {
        Some("0") => (0, "Transport unknown"),
        Some("1") => (1, "Session ID unknown"),
        Some("2") => (2, "Bad handshake method"),
        Some("5") => (5, "Unsupported protocol version"),
        _ => (3, "Bad request"),
    }
}

/// A page of another origin asks whether it may ask. Which origins may is judged before, and said by who mounts this.
fn preflight() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(code: u8, message: &'static str) -> Response<Full<Bytes>> {
    refusal_with(StatusCode::BAD_REQUEST, code, message)
}

/// Whether a body has a packet that connects and is larger than such a packet may be.
fn has_large_connect(body: &[u8]) -> bool {
    let mut packets = body.split(|byte| *byte == SEPARATOR);
    packets.any(|packet| packet.len() > limits::SOCKETIO_EARLY_BYTES && packet.starts_with(&CONNECT))
}

/// More has come than the packet that connects may have, or than is read before it.
fn too_early() -> Response<Full<Bytes>> {
    let message = "A session may send 16 KiB before it is connected, and as much to connect to a namespace";
    refusal_with(StatusCode::PAYLOAD_TOO_LARGE, 3, message)
}

fn refusal_with(status: StatusCode, code: u8, message: &'static str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "code": code, "message": message }).to_string();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
