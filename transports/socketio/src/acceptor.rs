//! Requests at `/socket.io/`: sessions of Engine.IO, and the connections in them.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::{AuditEntry, AuditEvent, Connection, Hub, RequestContext};
use eventwire_protocol::Dialect;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
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
    cut::{Cut, Cuttable, WeakCut},
    drive::{self, End, Form},
    inbox::{self, Outlet},
    reception::{Admitted, Arrival, Attachments, Reception},
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
/// Most packets that wait for one socket; what is beyond waits in the mailbox of its connection, which is bounded in bytes.
const MAX_BUFFERED: usize = 32;
/// Most attachments that one event may announce. They are not read, only counted.
const MAX_ATTACHMENTS: usize = 8;

/// The peer of a session, beside its request.
#[derive(Clone, Copy)]
struct Peer(Option<IpAddr>);

/// What a connection waits with between its admission and its first frame.
struct Waiting {
    connection: Connection,
    outlet: Outlet,
    form: Form,
    attachments: Attachments,
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
}

impl fmt::Debug for SocketIoAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoAcceptor").finish_non_exhaustive()
    }
}

impl SocketIoAcceptor {
    /// An acceptor for these namespaces, whose clients the reception judges. A client that asks for another namespace gets a
    /// `connect_error`. Must be called inside a tokio runtime.
    pub fn new(hub: Hub, namespaces: &[&'static str], reception: Arc<dyn Reception>) -> Self {
        let parser = ParserConfig::common()
            .max_incoming_binaries(MAX_ATTACHMENTS)
            .max_incoming_binary_buf_size(MAX_PAYLOAD)
            .packet_completion_timeout(PING_TIMEOUT);
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
        let acceptor = Self { service, io, sessions: Sessions::default() };
        for namespace in namespaces {
            acceptor.open(hub.clone(), namespace, reception.clone());
        }
        acceptor
    }

    /// Opens a namespace. A client is admitted, connected to the hub and listened to before it is told that it is connected,
    /// so that nothing it sends can come too early.
    fn open(&self, hub: Hub, namespace: &'static str, reception: Arc<dyn Reception>) {
        let admit = move |socket: SocketRef, TryData(auth): TryData<serde_json::Value>| async move {
            let parts = socket.req_parts();
            let attachments = Attachments::default();
            let arrival = Arrival {
                namespace: namespace.to_owned(),
                socket_id: socket.id.to_string(),
                auth: auth.ok(),
                headers: parts.headers.clone(),
                peer: parts.extensions.get::<Peer>().and_then(|peer| peer.0),
                attachments: attachments.clone(),
            };
            let of_request = parts.extensions.get::<Arc<RequestContext>>().map(|context| context.again());
            let context = of_request.unwrap_or_else(|| RequestContext::new(arrival.peer, arrival.peer).path(PATH));
            let (connection, form) = Arc::new(context).run(connect(&hub, &*reception, &arrival)).await?;
            let (inbox, outlet) = inbox::channel();
            socket.on_fallback(inbox);
            let waiting = Waiting { connection, outlet, form, attachments };
            socket.extensions.insert(Parked(Arc::new(Mutex::new(Some(waiting)))));
            Ok::<(), eventwire_protocol::ErrorBody>(())
        };
        let acceptor = self.clone();
        let run = move |socket: SocketRef| async move {
            let Some(Parked(parked)) = socket.extensions.remove::<Parked>() else { return };
            let parked = parked.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(Waiting { connection, outlet, form, attachments }) = parked else { return };
            let gone = Arc::new(tokio::sync::Notify::new());
            let told = gone.clone();
            socket.on_disconnect(move || async move { told.notify_one() });
            if !socket.connected() {
                return;
            }
            let end = tokio::select! {
                end = drive::drive(&socket, connection, outlet, form, &attachments) => end,
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
            return self.upgrade(request, &query, peer);
        }
        let opens = request.method() == Method::GET && query.sid.is_none();
        let cut = Cut::new();
        let mut request = request;
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().extend(of_request());
        request.extensions_mut().insert(cut.clone());
        let Ok(response) = self.service.call(request).await;
        let (mut parts, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return refusal(3, "Bad request"),
        };
        if let Some(sid) = opened(&bytes).filter(|_| opens && parts.status == StatusCode::OK) {
            self.sessions.remember(sid, &cut);
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

    fn upgrade<B: Send + 'static>(
        &self,
        request: Request<B>,
        query: &Query,
        peer: Option<IpAddr>,
    ) -> Response<Full<Bytes>> {
        if !query.version_4 {
            return refusal(5, "Unsupported protocol version");
        }
        let cut = match &query.sid {
            None => Cut::new(),
            Some(sid) => match self.sessions.of(sid) {
                Some(cut) => cut,
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
        let (parts, _) = request.into_parts();
        let mut bare = Request::from_parts(parts.clone(), ());
        let mut opening = Request::from_parts(parts, ());
        opening.extensions_mut().insert(Peer(peer));
        opening.extensions_mut().extend(of_request());
        opening.extensions_mut().insert(cut.clone());
        let (acceptor, sid) = (self.clone(), query.sid.clone());
        tokio::spawn(async move {
            let stream = match hyper::upgrade::on(&mut bare).await {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => return tracing::debug!(%error, "a socket was not upgraded"),
            };
            let service = acceptor.service.clone();
            // An upgrade that breaks off leaves a session that nothing else would end.
            let stream = Cuttable::new(stream, &cut, move || {
                if let (Some(sid), Ok(runtime)) = (sid, tokio::runtime::Handle::try_current()) {
                    runtime.spawn(async move { acceptor.close_polling(&sid).await });
                }
            });
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
        if let Some(cut) = socket.req_parts().extensions.get::<Cut>() {
            cut.cut();
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
    reception: &dyn Reception,
    arrival: &Arrival,
) -> Result<(Connection, Form), eventwire_protocol::ErrorBody> {
    let admitted = reception.admit(arrival).await;
    let Admitted { request, conduct } = admitted.inspect_err(|error| {
        let entry = AuditEntry::new(AuditEvent::ConnectionRefused).client(arrival.peer);
        hub.audit().record_refusal(entry.code(error.code));
    })?;
    let form = if request.dialect == Dialect::Canonical { Form::Canonical } else { Form::Pair };
    let connection = match conduct {
        Some(conduct) => hub.connect_as(request, conduct).await?,
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
    let body = serde_json::json!({ "code": code, "message": message }).to_string();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The sessions that began by polling, for as long as they live: a WebSocket may take over each of them.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    sessions: HashMap<String, WeakCut>,
    sweep_at: usize,
}

impl Sessions {
    fn remember(&self, sid: String, cut: &Cut) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.sessions.len() >= known.sweep_at {
            known.sessions.retain(|_, cut| cut.upgrade().is_some());
            known.sweep_at = known.sessions.len() * 2 + 64;
        }
        known.sessions.insert(sid, cut.downgrade());
    }

    fn of(&self, sid: &str) -> Option<Cut> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sessions.get(sid)?.upgrade()
    }
}
