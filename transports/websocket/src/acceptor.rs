//! From an HTTP request to a WebSocket: every check of the handshake, in order, without a framework.
//!
//! RFC 6455 leaves most of what can be wrong with a handshake to silence. Here everything that is wrong gets an HTTP status
//! and a sentence, because the person who reads it is usually writing a client.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use eventwire_hub::{
    ConnectQuery, ConnectRequest, ConnectionHandler, Credentials, Holder, Hub, Secret,
    handshake::{authenticate_request, bearer, single, token_of, user_agent},
    unfinished::Pace,
};
use eventwire_protocol::{CloseCode, ErrorBody, ErrorCode, limits, version};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{link, rejection::Rejection};

/// What can be set about WebSockets. The defaults are the limits of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Largest message that is read at all, in bytes; a larger one ends the connection with 1009. The hub refuses what is
    /// over its own, smaller limit (FLOW-05) without ending anything.
    pub max_message_bytes: usize,
    /// Bytes of the buffer for reading, which every connection keeps.
    pub read_buffer_bytes: usize,
    /// A socket that accepts nothing for so long is closed with 4008 (FLOW-07).
    pub stall: Duration,
    /// How fast a message must come once it has begun (LIMIT-09).
    pub pace: Pace,
    /// How long a closing connection may take: to write what is left, and to wait for the peer's own close.
    pub close_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_message_bytes: 1024 * 1024,
            read_buffer_bytes: 4 * 1024,
            stall: limits::STALL,
            pace: Pace::default(),
            close_grace: Duration::from_secs(2),
        }
    }
}

/// Takes WebSockets for a hub. Cheap to clone.
#[derive(Clone)]
pub struct WebSocketAcceptor {
    hub: Hub,
    options: Options,
}

impl From<Hub> for WebSocketAcceptor {
    fn from(hub: Hub) -> Self {
        Self::new(hub)
    }
}

/// A request that may become a WebSocket: the answer to write, and what [`WebSocketAcceptor::serve`] needs.
pub struct Handshake {
    accept: HeaderValue,
    subprotocol: Option<HeaderValue>,
    pub(crate) then: Then,
    /// Further headers of the answer, such as a cookie.
    pub headers: HeaderMap,
}

/// What becomes of a socket once it is open.
pub(crate) enum Then {
    /// A client of the hub.
    Connect(Box<ConnectRequest>, Option<Box<dyn ConnectionHandler>>),
    /// It is closed at once: some clients only understand a refusal that is a close code.
    Close(CloseCode, String),
}

/// A request that asks for a WebSocket in due form, from a page that may; who asks, and for what, is still open.
///
/// This is where listeners for other dialects begin: they judge path, query, cookie and subprotocols in their own way.
#[derive(Clone, Debug)]
pub struct Accepted {
    accept: HeaderValue,
}

impl Accepted {
    /// The client is connected, and behaves as the handler says.
    pub fn connect(self, request: ConnectRequest, handler: Box<dyn ConnectionHandler>) -> Handshake {
        self.then(Then::Connect(Box::new(request), Some(handler)))
    }

    /// The socket is opened and closed at once with this code and reason.
    pub fn close(self, code: CloseCode, reason: impl Into<String>) -> Handshake {
        self.then(Then::Close(code, reason.into()))
    }

    fn then(self, then: Then) -> Handshake {
        Handshake { accept: self.accept, subprotocol: None, then, headers: HeaderMap::new() }
    }
}

impl Handshake {
    /// Names the subprotocol that was chosen among the offered ones.
    #[must_use]
    pub fn subprotocol(mut self, name: &'static str) -> Self {
        self.subprotocol = Some(HeaderValue::from_static(name));
        self
    }

    /// How the client will be connected; `None` when it will not.
    pub fn request(&self) -> Option<&ConnectRequest> {
        match &self.then {
            Then::Connect(request, _) => Some(request),
            Then::Close(..) => None,
        }
    }

    /// The answer, `101 Switching Protocols`. Of the offered subprotocols it names `eventwire.v1` or none (WS-01), and never
    /// the one that carries the token (WS-02).
    pub fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(name) = &self.subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name.clone());
        }
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        response
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Handshake");
        match &self.then {
            Then::Connect(request, _) => debug.field("connect", request),
            Then::Close(code, reason) => debug.field("close", &(code, reason)),
        };
        debug.finish_non_exhaustive()
    }
}

impl WebSocketAcceptor {
    /// An acceptor with the default options.
    pub fn new(hub: Hub) -> Self {
        Self::with_options(hub, Options::default())
    }

    /// An acceptor with other options.
    pub fn with_options(hub: Hub, options: Options) -> Self {
        Self { hub, options }
    }

    /// The hub that it takes WebSockets for.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Checks a request. The path is not looked at; the body is not touched. `peer` is the address of the client as the
    /// socket sees it, for authenticators and the list of connections.
    ///
    /// The request is read before the first `await`, so that a future that holds it need not be able to share it between
    /// threads.
    ///
    /// # Errors
    /// In the order of the checks: 405 `method_not_allowed`; 426 `upgrade_required` and `unsupported_version`; 400 for the
    /// key; 403 `host_not_allowed` and `origin_not_allowed` (AUTH-02, AUTH-03); 400 `unsupported_subprotocol` (WS-01); 400
    /// for the query (WS-04); 503 `unavailable` while the hub stops; 401 `unauthorized` (WS-02, AUTH-12); 503 `unavailable`
    /// where there is no place (LIMIT-05); 429 `rate_limited` (LIMIT-07).
    pub fn negotiate<'a, B>(
        &'a self,
        request: &Request<B>,
        peer: Option<IpAddr>,
    ) -> impl Future<Output = Result<Handshake, Rejection>> + Send + use<'a, B> {
        let read = Head::read(&self.hub, request);
        let agent = request.headers().get(header::USER_AGENT).and_then(|value| user_agent(value.as_bytes()));
        async move {
            let Head { accept, subprotocol, query, token } = read?;
            check_running(&self.hub)?;
            let shown = Credentials { token, peer };
            let principal = authenticate_request(&self.hub, query.ticket.as_ref(), &shown).await?;
            self.hub.check_admission(&Holder::of(&principal, peer))?;
            let mut connect = ConnectRequest::new(principal, "websocket");
            connect.cursor = query.begin(&self.hub).await?;
            connect.targets = query.targets;
            connect.meta.remote_address = peer;
            connect.meta.user_agent = agent;
            let subprotocol = subprotocol.then(|| HeaderValue::from_static(version::SUBPROTOCOL));
            let then = Then::Connect(Box::new(connect), None);
            Ok(Handshake { accept, subprotocol, then, headers: HeaderMap::new() })
        }
    }

    /// Checks what every request for a WebSocket must fulfil, whatever is spoken on it.
    ///
    /// # Errors
    /// As [`negotiate`](Self::negotiate), without those for subprotocol, query and token.
    pub fn accept<B>(&self, request: &Request<B>) -> Result<Accepted, Rejection> {
        let accept = Head::check(&self.hub, request)?;
        check_running(&self.hub)?;
        Ok(Accepted { accept })
    }

    /// Connects the client of a handshake, whose response has been written, and drives the connection until it ends.
    ///
    /// Says nothing about how it ended: that is the client's to know, and it was told in the close frame. Dropping the
    /// future drops the connection.
    pub async fn serve<S>(&self, handshake: Handshake, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        link::serve(&self.hub, &self.options, handshake.then, stream).await;
    }
}

/// Refuses before the upgrade while the hub stops, so that any HTTP client can read why.
fn check_running(hub: &Hub) -> Result<(), ErrorBody> {
    if hub.is_draining() {
        return Err(ErrorBody::new(ErrorCode::Unavailable, "the server is stopping; connect again in a moment"));
    }
    Ok(())
}

/// What the head of an acceptable request says.
struct Head {
    accept: HeaderValue,
    subprotocol: bool,
    query: ConnectQuery,
    token: Option<Secret>,
}

impl Head {
    fn check<B>(hub: &Hub, request: &Request<B>) -> Result<HeaderValue, Rejection> {
        let headers = request.headers();
        check_method(request.method())?;
        check_upgrade(headers)?;
        check_version(headers)?;
        let accept = accept_key(headers)?;
        check_host_and_origin(hub, request)?;
        Ok(accept)
    }

    fn read<B>(hub: &Hub, request: &Request<B>) -> Result<Self, Rejection> {
        let headers = request.headers();
        let accept = Self::check(hub, request)?;
        let offer = Offer::read(headers)?;
        let query = ConnectQuery::parse(request.uri().query().unwrap_or_default()).map_err(Rejection::bad_request)?;
        let token = match bearer(values(headers, header::AUTHORIZATION))? {
            Some(token) => Some(token),
            None => offer.token()?,
        };
        Ok(Self { accept, subprotocol: offer.spoken, query, token })
    }
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// The members of a header that is a comma-separated list, over all its lines.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// A header that may stand once.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Rejection> {
    let values = values(headers, name.clone());
    single(name.as_str(), values).map_err(Rejection::bad_request)
}

fn check_method(method: &Method) -> Result<(), ErrorBody> {
    if method == Method::GET {
        return Ok(());
    }
    Err(ErrorBody::new(ErrorCode::MethodNotAllowed, "a WebSocket is opened with GET"))
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), ErrorBody> {
    let has = |name, wanted: &[u8]| members(headers, name).any(|member| member.eq_ignore_ascii_case(wanted));
    if has(header::UPGRADE, b"websocket") && has(header::CONNECTION, b"upgrade") {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::UpgradeRequired,
        "this path is a WebSocket; send Connection: Upgrade and Upgrade: websocket over HTTP/1.1",
    ))
}

fn check_version(headers: &HeaderMap) -> Result<(), Rejection> {
    match only(headers, header::SEC_WEBSOCKET_VERSION)?.map(str::trim) {
        Some("13") => Ok(()),
        _ => Err(ErrorBody::new(ErrorCode::UnsupportedVersion, "the header Sec-WebSocket-Version must be 13").into()),
    }
}

/// The answer to the client's key, which must be 16 bytes in base64 (RFC 6455, section 4.2.1).
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Rejection> {
    let wrong = || {
        Rejection::bad_request(ErrorBody::new(
            ErrorCode::InvalidPayload,
            "the header Sec-WebSocket-Key must be 16 random bytes in base64, such as dGhlIHNhbXBsZSBub25jZQ==",
        ))
    };
    let key = only(headers, header::SEC_WEBSOCKET_KEY)?.map(str::trim).ok_or_else(wrong)?;
    // The length and the alphabet are what a careless proxy would break; what the bytes are is the client's affair.
    let digits = key.strip_suffix("==").ok_or_else(wrong)?;
    if digits.len() != 22 || !digits.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/') {
        return Err(wrong());
    }
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| wrong())
}

fn check_host_and_origin<B>(hub: &Hub, request: &Request<B>) -> Result<(), Rejection> {
    let guard = hub.guard();
    guard.check_host(only(request.headers(), header::HOST)?)?;
    if let Some(authority) = request.uri().authority() {
        // A request line that names a host counts more than the header (RFC 9112, section 3.2.2).
        guard.check_host(Some(authority.as_str()))?;
    }
    guard.check_origin(only(request.headers(), header::ORIGIN)?)?;
    Ok(())
}

/// The subprotocols that a client offers.
struct Offer<'a> {
    /// Whether ours is among them.
    spoken: bool,
    /// Those that carry a token.
    tokens: Vec<&'a [u8]>,
}

impl<'a> Offer<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Rejection> {
        let mut offer = Self { spoken: false, tokens: Vec::new() };
        let mut anything = false;
        for name in members(headers, header::SEC_WEBSOCKET_PROTOCOL) {
            anything = true;
            offer.spoken |= name == version::SUBPROTOCOL.as_bytes();
            offer.tokens.extend(name.strip_prefix(version::TOKEN_SUBPROTOCOL_PREFIX.as_bytes()));
        }
        if offer.spoken || !anything {
            return Ok(offer);
        }
        // A browser closes at once when it offered something and nothing of it is chosen; the token cannot be chosen.
        let message = if offer.tokens.is_empty() {
            "none of the offered subprotocols is spoken here; offer eventwire.v1, or none"
        } else {
            "a token is no subprotocol to speak; offer eventwire.v1 beside it"
        };
        Err(Rejection::bad_request(ErrorBody::new(ErrorCode::UnsupportedSubprotocol, message)))
    }

    fn token(&self) -> Result<Option<Secret>, ErrorBody> {
        let unreadable = || {
            ErrorBody::new(
                ErrorCode::Unauthorized,
                "unreadable credentials: one subprotocol eventwire.token.<base64url of the token, without padding>",
            )
        };
        match self.tokens.as_slice() {
            [] => Ok(None),
            [token] => {
                let token = BASE64URL_NOPAD.decode(token).map_err(|_| unreadable())?;
                let token = String::from_utf8(token).map_err(|_| unreadable())?;
                token_of(&token).map(Some).ok_or_else(unreadable)
            }
            _ => Err(unreadable()),
        }
    }
}
