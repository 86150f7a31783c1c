//! From an HTTP request to a stream of events: every check in order, without a framework.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use eventwire_hub::{
    ConnectQuery, ConnectRequest, Credentials, Holder, Hub, Principal, Secret,
    handshake::{authenticate_request, bearer, cursor, single, user_agent},
};
use eventwire_protocol::{ConnectionId, ErrorBody, ErrorCode, limits, resume::Cursor};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};

use crate::{
    body::{SseBody, pair},
    cookie,
    encode::{self, Beside},
    feed::Feed,
    rejection::Rejection,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What can be set about streams. The defaults are those of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a client waits before it reconnects.
    pub retry: Duration,
    /// Longest silence on a stream; a comment ends it, so that no proxy takes the stream for dead.
    pub keep_alive: Duration,
    /// A socket that takes nothing for so long, while there is something to send, is given up (FLOW-07).
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { retry: Duration::from_secs(2), keep_alive: Duration::from_secs(15), stall: limits::STALL }
    }
}

/// Opens streams of events for a hub. Cheap to clone.
#[derive(Clone)]
pub struct SseAcceptor {
    hub: Hub,
    options: Options,
    /// Clients that were sent away, modulo 32.
    sent_away: Arc<AtomicU32>,
}

impl From<Hub> for SseAcceptor {
    fn from(hub: Hub) -> Self {
        Self::new(hub)
    }
}

/// What the head of an acceptable request says.
struct Head {
    query: ConnectQuery,
    last: Option<Cursor>,
    token: Option<Secret>,
    cookie: Option<Secret>,
    /// Whether the client asks for an event stream by name, as every `EventSource` does.
    by_name: bool,
    /// Whether the browser speaks TLS to whoever stands in front.
    secure: bool,
    agent: Option<String>,
}

impl SseAcceptor {
    /// An acceptor with the default options.
    pub fn new(hub: Hub) -> Self {
        Self::with_options(hub, Options::default())
    }

    /// An acceptor with other options.
    pub fn with_options(hub: Hub, options: Options) -> Self {
        Self { hub, options, sent_away: Arc::default() }
    }

    /// Connects a client. The path is not looked at; the body of the request is not touched. `peer` is the address of the
    /// client as the socket sees it, for authenticators and the list of connections.
    ///
    /// The request is read before the first `await`, so that a future that holds it need not be able to share it between
    /// threads. Must be called in a tokio runtime, in which the connection is then driven by a task of its own.
    ///
    /// # Errors
    /// In the order of the checks: 405 `method_not_allowed`; 403 `host_not_allowed` and `origin_not_allowed` (AUTH-02,
    /// AUTH-03); 406 `not_acceptable`; 400 for the query (WS-04) and a cursor that cannot be read (SSE-03); 401
    /// `unauthorized`. 503 `unavailable` while the hub stops and where there is no place (LIMIT-05), and 429 `rate_limited`
    /// (LIMIT-07), are the answer to a client whose `Accept` does not name `text/event-stream`; every other client gets a
    /// stream that says when to return and ends (SSE-07).
    pub fn open<'a, B>(
        &'a self,
        request: &Request<B>,
        peer: Option<IpAddr>,
    ) -> impl Future<Output = Result<Response<SseBody>, Rejection>> + Send + use<'a, B> {
        let head = self.read(request);
        async move { self.connect(head?, peer).await }
    }

    fn read<B>(&self, request: &Request<B>) -> Result<Head, Rejection> {
        if request.method() != Method::GET {
            return Err(ErrorBody::new(ErrorCode::MethodNotAllowed, "a stream of events is opened with GET").into());
        }
        let headers = request.headers();
        let guard = self.hub.guard();
        let host = header_of(headers, header::HOST, ErrorCode::HostNotAllowed)?;
        // A request line that names a host counts more than the header (RFC 9112, section 3.2.2).
        guard.check_host(request.uri().authority().map(http::uri::Authority::as_str).or(host))?;
        let origin = header_of(headers, header::ORIGIN, ErrorCode::OriginNotAllowed)?;
        guard.check_origin(origin)?;
        let accepted = accepts_events(headers);
        if accepted == Accepted::Nothing {
            let message = "this path answers with text/event-stream; the header Accept must allow it";
            return Err(ErrorBody::new(ErrorCode::NotAcceptable, message).into());
        }
        let query = request.uri().query().unwrap_or_default();
        let query = ConnectQuery::parse_of_event_stream(query).map_err(Rejection::bad_request)?;
        let last = single(LAST_EVENT_ID.as_str(), values(headers, LAST_EVENT_ID))
            .and_then(|last| last.filter(|text| !text.is_empty()).map(|text| cursor("Last-Event-ID", text)).transpose())
            .map_err(Rejection::bad_request)?;
        let token = bearer(values(headers, header::AUTHORIZATION))?;
        let agent = headers.get(header::USER_AGENT).and_then(|value| user_agent(value.as_bytes()));
        // Not for pages of everywhere, even where they may connect (AUTH-14).
        let cookie = cookie::read(headers).filter(|_| origin.is_none_or(|origin| guard.trusts_origin(origin)));
        let secure = cookie::is_secure(headers);
        Ok(Head { query, last, token, cookie, by_name: accepted == Accepted::ByName, secure, agent })
    }

    /// Who it is, and the cookie with which an `EventSource` comes back, which does so with the ticket of its first time in
    /// the address (AUTH-12).
    async fn authenticate_or_anonymous(
        &self,
        shown: &Credentials,
        ticket: Option<&Secret>,
        cookie: Option<&Secret>,
        secure: bool,
    ) -> Result<(Principal, Option<HeaderValue>), ErrorBody> {
        let known = async || {
            let cookie = cookie.filter(|_| shown.token.is_none())?;
            let recognized = async { self.hub.recognize_sse_cookie(cookie) };
            let principal = self.hub.attempt(shown.peer, cookie, recognized).await.ok()?;
            Some(self.hub.let_in(&principal, shown.peer).map(|()| (principal, None)))
        };
        if ticket.is_none()
            && let Some(known) = known().await
        {
            return known;
        }
        match authenticate_request(&self.hub, ticket, shown).await {
            Ok(principal) if ticket.is_some() => {
                let cookie = self.hub.issue_sse_cookie(&principal)?;
                Ok((principal, Some(cookie::write(&cookie, secure))))
            }
            Ok(principal) => Ok((principal, None)),
            // Without a ticket the cookie has been tried.
            Err(error) if ticket.is_none() => Err(error),
            Err(error) => known().await.unwrap_or(Err(error)),
        }
    }

    async fn connect(&self, head: Head, peer: Option<IpAddr>) -> Result<Response<SseBody>, Rejection> {
        let by_name = head.by_name;
        match self.admit(head, peer).await {
            Err(error) if by_name && passes(error.code) => Ok(self.turn_away(&error)),
            answer => Ok(answer?),
        }
    }

    async fn admit(&self, head: Head, peer: Option<IpAddr>) -> Result<Response<SseBody>, ErrorBody> {
        let Head { mut query, last, token, cookie, secure, agent, by_name: _ } = head;
        let shown = Credentials { token, peer };
        let visitor = self.authenticate_or_anonymous(&shown, query.ticket.as_ref(), cookie.as_ref(), secure);
        let (principal, cookie) = visitor.await?;
        let holder = Holder::of(&principal, peer);
        self.hub.check_admission(&holder)?;
        if let Some(last) = last {
            query.last_event_id = Some(last);
        }
        let mut connect = ConnectRequest::new(principal, "sse");
        connect.cursor = query.begin(&self.hub).await?;
        connect.targets = query.targets;
        connect.cursors = true;
        connect.announce = true;
        connect.errors = true;
        connect.meta.remote_address = peer;
        connect.meta.user_agent = agent;
        let mut response = response(self.start(connect).await?);
        if let Some(cookie) = cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }

    fn turn_away(&self, error: &ErrorBody) -> Response<SseBody> {
        let (head, body) = self.turned_away(error);
        let mut response = head.map(|()| SseBody::only(body));
        // For the audit log and the counts of a server around this.
        response.extensions_mut().insert(error.code);
        response
    }

    /// The whole answer to an event source for which there is no room now, head and body: a stream of one event that says why
    /// and when to return. After an error `EventSource` would never come back (SSE-07).
    pub fn turned_away(&self, error: &ErrorBody) -> (Response<()>, Bytes) {
        let after = self.spread();
        let closing = encode::closing(error.message.clone(), None, Some(after));
        let frame = encode::frame(ConnectionId::NONE, &closing, self.hub.now());
        let beside = Beside { last: encode::retry(after), ..Beside::default() };
        (response(()), encode::events(frame.as_slice(), beside).concat().into())
    }

    /// One to three times the usual wait, another for each client, so that those who were sent away together do not return
    /// together.
    fn spread(&self) -> Duration {
        let turn = self.sent_away.fetch_add(1, Ordering::Relaxed);
        // Eleven and thirty-two have no common divisor, so 32 clients in a row get 32 different waits.
        self.options.retry + self.options.retry * (turn % 32 * 11 % 32) / 16
    }

    async fn start(&self, connect: ConnectRequest) -> Result<SseBody, ErrorBody> {
        // What is committed between this and the connection is not delivered live; resuming from here brings it.
        let start = match &connect.cursor {
            Some(cursor) => cursor.clone(),
            None => {
                let (epoch, low) = self.hub.head().await?;
                Cursor { epoch, low, others: BTreeMap::new() }
            }
        };
        let connection = self.hub.connect(connect).await?;
        let (body, sender, demand) = pair();
        let feed = Feed { hub: self.hub.clone(), connection, options: self.options, body: sender, demand };
        tokio::spawn(feed.run(encode::preamble(self.options.retry, &start)));
        Ok(body)
    }
}

fn response<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // nginx would otherwise keep events back until its buffer is full.
        (ACCEL_BUFFERING, "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// A header that may stand once, refused with the code of the check that it decides.
fn header_of(headers: &HeaderMap, name: HeaderName, code: ErrorCode) -> Result<Option<&str>, ErrorBody> {
    single(name.as_str(), values(headers, name.clone())).map_err(|error| ErrorBody::new(code, error.message))
}

/// Whether a refusal may be over when the client comes again.
fn passes(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited)
}

/// What `Accept` says of `text/event-stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    /// It is not allowed.
    Nothing,
    /// It is allowed among other things, or there is no such header.
    Anything,
    /// It is named.
    ByName,
}

/// Whether a client takes an event stream, by its `Accept`.
fn accepts_events(headers: &HeaderMap) -> Accepted {
    let mut any = false;
    let mut accepted = Accepted::Nothing;
    for range in values(headers, header::ACCEPT).flat_map(|value| value.split(|byte| *byte == b',')) {
        any = true;
        let range = String::from_utf8_lossy(range);
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix("q=").or(parameter.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse().is_ok_and(|weight: f32| weight <= 0.0))
        });
        match name.as_str() {
            _ if refused => {}
            "text/event-stream" => return Accepted::ByName,
            "text/*" | "*/*" => accepted = Accepted::Anything,
            _ => {}
        }
    }
    if any { accepted } else { Accepted::Anything }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sse_05_accept_must_allow_an_event_stream() {
        let accepts = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            accepts_events(&headers)
        };
        for values in [&["text/event-stream"][..], &["*/*, application/json, TEXT/Event-Stream;q=0.1"]] {
            assert_eq!(accepts(values), Accepted::ByName, "{values:?}");
        }
        for values in [&[][..], &["*/*"], &["text/html", "text/*"], &["*/*, text/event-stream;q=0"]] {
            assert_eq!(accepts(values), Accepted::Anything, "{values:?}");
        }
        for values in
            [&["application/json"][..], &["text/html, image/*"], &["text/event-stream;q=0"], &["*/*; q=0.0"], &[""]]
        {
            assert_eq!(accepts(values), Accepted::Nothing, "{values:?}");
        }
    }
}
