//! What every request passes before a route sees it, and every answer after: the guard, the table of paths, errors as JSON, and a
//! net under the code behind.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use eventwire_hub::guard::is_opaque;
use eventwire_hub::{Audit, AuditEntry, AuditEvent, Holder, Hub, RequestContext, audit, carrier};
use eventwire_protocol::Dialect;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use eventwire_sse::SseAcceptor;
use eventwire_systems::{Admission, Ask, Route};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::preflight::Asker;
use crate::proxy::{Forwarded, Proxies};
use crate::response::{self, Body};
use crate::router::{self, Mounted, Place, Router};
use crate::server::Service;
use crate::{documents, inspector, pages};

/// The routes behind: what the adapters make of a request.
pub(crate) type Routes = Arc<dyn Fn(Request<Incoming>, SocketAddr) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Request headers that pages of allowed origins may send, beside those that they ask for.
const PAGE_HEADERS: &str = "authorization, cache-control, content-type, last-event-id, traceparent";
/// Longest list of headers that a page may ask for.
const MAX_ASKED_BYTES: usize = 1024;
/// Headers of answers that such pages may read, beside those that every page may.
const EXPOSED_HEADERS: &str = "allow, etag, retry-after, www-authenticate";
/// Seconds for which a browser may remember the answer to its question whether a page may ask.
const PREFLIGHT_SECONDS: &str = "600";

/// The front of one listener.
pub(crate) struct Pipeline {
    hub: Hub,
    routes: Routes,
    site: Router,
    proxies: Arc<Proxies>,
    /// Answers event sources for which there is no room.
    streams: SseAcceptor,
}

impl Pipeline {
    pub(crate) fn new(hub: Hub, routes: Routes, site: Router) -> Self {
        let streams = SseAcceptor::new(hub.clone());
        Self { hub, routes, site, proxies: Arc::default(), streams }
    }

    /// Sets whose word about clients is taken.
    #[must_use]
    pub(crate) fn behind(mut self, proxies: Arc<Proxies>) -> Self {
        self.proxies = proxies;
        self
    }

    /// Refuses what the guard refuses, on every method and path, before anything else looks at the request (AUTH-02, AUTH-03).
    fn guard(&self, request: &Request<Incoming>) -> Result<(), ErrorBody> {
        let headers = request.headers();
        let host =
            single(headers, &header::HOST).map_err(|message| ErrorBody::new(ErrorCode::HostNotAllowed, message))?;
        // An absolute target wins over the Host header (RFC 9112, section 3.2.2), so it is checked instead.
        let host = request.uri().authority().map(http::uri::Authority::as_str).or(host);
        self.hub.guard().check_host(host)?;
        let origin =
            single(headers, &header::ORIGIN).map_err(|message| ErrorBody::new(ErrorCode::OriginNotAllowed, message))?;
        self.hub.guard().check_origin(origin).map_err(|error| match origin {
            Some(origin) if is_opaque(origin) => {
                let message = format!("{}: {}", error.message, self.site.where_pages_are());
                ErrorBody::new(error.code, message)
            }
            _ => error,
        })
    }

    async fn respond(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let from = self.proxies.settle(peer, request.headers_mut());
        let client = from.as_ref().map_or(peer, |from| from.client);
        if let Some(socket) = carrier::current() {
            // Behind a trusted proxy the place counts for the client.
            socket.forwarded(client.ip());
        }
        let request_id = from.as_ref().ok().and_then(|from| from.request_id.as_deref());
        let mut context = RequestContext::new(Some(peer.ip()), Some(client.ip())).request_id(request_id);
        let place = self.place(&request);
        let (is_application, is_pages) = (place.is_application(), matches!(place, Place::Pages));
        if !is_application {
            // A path of the application may hold what only the application may know.
            context = context.path(request.uri().path());
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let judged = async {
            let response = match from {
                Ok(from) => self.judge(request, place, &from).await,
                Err(error) => self.refuse(peer, error),
            };
            let status = response.status();
            let code = response.extensions().get::<ErrorCode>().copied();
            if !is_pages && (code.is_some() || status.is_client_error() || status.is_server_error()) {
                let code = code.map_or("none", ErrorCode::as_str);
                tracing::debug!(%peer, %client, %method, path, status = status.as_u16(), code, "a request was refused");
            }
            // What the application refuses is the application's.
            if let Some(code) = refusal_of(&response).filter(|_| !is_application) {
                self.hub.audit().record_refusal(AuditEntry::new(AuditEvent::RequestRefused).code(code));
            }
            response
        };
        Arc::new(context).run(judged).await
    }

    fn refuse(&self, peer: SocketAddr, error: ErrorBody) -> Response<Body> {
        tracing::debug!(%peer, code = %error.code, reason = %error.message, "refused before routing");
        self.hub.audit().record(AuditEntry::new(AuditEvent::RequestRefused).code(error.code));
        response::refusal(error.code, error.message)
    }

    fn place(&self, request: &Request<Incoming>) -> Place<'_> {
        let uri = request.uri();
        self.site.place(request.method(), uri.path(), uri.query().unwrap_or_default(), request.headers())
    }

    async fn judge(&self, mut request: Request<Incoming>, place: Place<'_>, from: &Forwarded) -> Response<Body> {
        let peer = from.client;
        if let Err(error) = self.guard(&request).and_then(|()| settle(&mut request)) {
            return self.refuse(peer, error);
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let path = path.as_str();
        let origin = request.headers().get(header::ORIGIN).cloned();
        let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let mut response = match place {
            Place::Inspector => match inspector::serve(path) {
                Some(file) => file,
                None => response::refusal(ErrorCode::NotFound, "the inspector has no such file"),
            },
            Place::Document => documents::serve(path, request.headers()),
            Place::Gateway => {
                let routes = self.routes.clone();
                as_json(safely(request, |request| routes(request, peer)).await)
            }
            Place::SocketIo(routes) => {
                let routes = routes.clone();
                safely(request, |request| routes(request, peer)).await
            }
            Place::NoSocketIo => response::refusal(
                ErrorCode::NotFound,
                "Socket.IO is switched off on this listener; set socketio = true, or connect to /v1/ws",
            ),
            Place::System(mounted, route, dialect) => {
                safely(request, |request| mounted.answer(route, dialect, request, peer, self.hub.audit()).boxed()).await
            }
            Place::Pages => {
                let own = self.site.own().map(|own| (own, request.headers().clone()));
                let mut response = safely(request, |request| self.site.pages.answer(request, from).boxed()).await;
                let visit = own.map(|(own, asked)| own.system.visit(&asked, response.headers()));
                // Beside what the application sets: to extend would take its cookies away.
                for (name, value) in visit.iter().flatten() {
                    response.headers_mut().append(name, value.clone());
                }
                if self.site.pages.is_upstream() {
                    // Which pages may read it is for the application to say (HTTP-22).
                    return response;
                }
                response
            }
            Place::Methods(allow) => wrong_method(&method, path, &allow, asked.as_ref()),
            Place::Nothing(_) if path == "/" => {
                let dialect = self.site.dialect.as_str();
                response::refusal(
                    ErrorCode::NotFound,
                    format!(
                        "this listener is for clients of {dialect}, and has no pages; --static {dialect}=DIRECTORY or \
                         --upstream {dialect}=URL gives it some"
                    ),
                )
            }
            Place::Nothing(nearest) => {
                let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
                response::refusal(ErrorCode::NotFound, format!("nothing is at {}{hint}", shown(path)))
            }
        };
        self.let_pages_read(origin, response.headers_mut());
        response
    }

    /// Lets the pages of an origin that the guard let in read the answer (AUTH-14).
    fn let_pages_read(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        // Also where there was no origin: a cache must not give that answer to a page.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        // Cookies are for origins that somebody named, and not for all the world.
        if origin.to_str().is_ok_and(|origin| self.hub.guard().trusts_origin(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}

/// Makes a request mean one thing to every program that reads it (HTTP-22): an absolute target becomes the Host header that it
/// wins over (RFC 9112, section 3.2.2), and `Connection` takes out nothing that counts.
fn settle(request: &mut Request<Incoming>) -> Result<(), ErrorBody> {
    pages::check_connection(request.headers())?;
    let Some(authority) = request.uri().authority() else { return Ok(()) };
    let unreadable = || ErrorBody::new(ErrorCode::MalformedFrame, "the target of the request cannot be read");
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| unreadable())?;
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

/// What is answered; a panic in it is an error of this one request.
async fn safely<'a>(
    mut request: Request<Incoming>,
    answer: impl FnOnce(Request<Incoming>) -> BoxFuture<'a, Response<Body>>,
) -> Response<Body> {
    // The answer to HEAD is that to GET without its body, which the server leaves out by itself.
    if request.method() == Method::HEAD {
        *request.method_mut() = Method::GET;
    }
    let path = request.uri().path().to_owned();
    let call = AssertUnwindSafe(|| answer(request));
    let answered = match std::panic::catch_unwind(call) {
        Ok(answer) => AssertUnwindSafe(answer).catch_unwind().await,
        Err(panic) => Err(panic),
    };
    match answered {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(path, panic = panic_text(&*panic), "a request made the gateway panic");
            response::refusal(ErrorCode::Internal, "the gateway has a fault; it has been logged")
        }
    }
}

impl Mounted {
    /// What a system makes of a request: a socket, or an answer.
    async fn answer(
        &self,
        route: &'static Route,
        dialect: Dialect,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        audit: &Audit,
    ) -> Response<Body> {
        if !(route.socket && (router::asks_for_socket(request.headers()) || route.methods == [Method::GET])) {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            return self.system.answer(route, request, Some(peer.ip())).await;
        }
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let accepted = match self.acceptor.accept(&request) {
            Ok(accepted) => accepted,
            Err(rejection) => return Response::from(rejection).map(response::full),
        };
        let (parts, _) = request.into_parts();
        let ask = Ask {
            route,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            peer: Some(peer.ip()),
            dialect,
        };
        let mut handshake = match self.system.admit(ask).await {
            Admission::Connect { request, handler, headers } => {
                let hub = self.acceptor.hub();
                let holder = Holder::of(&request.principal, Some(peer.ip()));
                let let_in = hub.let_in(&request.principal, Some(peer.ip()));
                if let Err(error) = let_in.and_then(|()| hub.check_admission(&holder)) {
                    return response::refusal(error.code, error.message);
                }
                let mut handshake = accepted.connect(*request, handler);
                handshake.headers = headers;
                handshake
            }
            Admission::Close(code, reason) => {
                let entry = AuditEntry::new(AuditEvent::ConnectionRefused).code(audit::code_of(code));
                audit.record_refusal(entry);
                accepted.close(code, reason)
            }
            Admission::Refuse(error) => return response::refusal(error.code, error.message),
        };
        if let Some((name, _)) = router::chosen_subprotocol(&parts.headers) {
            handshake = handshake.subprotocol(name);
        }
        self.acceptor.finish(handshake, upgrade).map(response::full)
    }
}

impl Service for Pipeline {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        self.respond(request, peer).await
    }

    fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxies.expects_header(peer)
    }

    fn refused(&self, peer: SocketAddr, code: ErrorCode) {
        let entry = AuditEntry::new(AuditEvent::ConnectionRefused).client(Some(peer.ip()));
        self.hub.audit().record(entry.code(code));
    }

    fn refusal(&self, status: StatusCode, error: &ErrorBody, asker: &Asker) -> Vec<u8> {
        let origin = asker.origin.as_deref().filter(|origin| self.hub.guard().check_origin(Some(origin)).is_ok());
        let mut headers = HeaderMap::new();
        self.let_pages_read(origin.and_then(|origin| HeaderValue::from_str(origin).ok()), &mut headers);
        if asker.event_source && matches!(error.code, ErrorCode::Unavailable | ErrorCode::RateLimited) {
            let (mut answer, body) = self.streams.turned_away(error);
            answer.headers_mut().extend(headers);
            return response::written(&answer, &body);
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        response::raw(status, error, &headers)
    }
}

/// The code of an answer that refuses access or a share; `None` for every other answer.
fn refusal_of(response: &Response<Body>) -> Option<ErrorCode> {
    let by_status = match response.status() {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized,
        StatusCode::FORBIDDEN => ErrorCode::Forbidden,
        StatusCode::REQUEST_TIMEOUT => ErrorCode::Timeout,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        // An event source that was sent away gets a stream and no error (SSE-07).
        StatusCode::OK => return response.extensions().get().copied(),
        _ => return None,
    };
    Some(response.extensions().get().copied().unwrap_or(by_status))
}

/// The headers that a page may send: it passed the guard, so it may send every header that it asks for (Fetch, section 3.3.2).
fn page_headers(asked: Option<&HeaderValue>) -> HeaderValue {
    let is_list = |value: &&HeaderValue| {
        let is_name = |name: &str| name.trim().parse::<HeaderName>().is_ok();
        value.len() <= MAX_ASKED_BYTES && value.to_str().is_ok_and(|names| names.split(',').all(is_name))
    };
    let both = |asked: &HeaderValue| HeaderValue::from_str(&format!("{PAGE_HEADERS}, {}", asked.to_str().ok()?)).ok();
    asked.filter(is_list).and_then(both).unwrap_or(const { HeaderValue::from_static(PAGE_HEADERS) })
}

/// The answer to a method that a path does not have; `asked` are the headers that a page wants to send.
fn wrong_method(method: &Method, path: &str, allow: &str, asked: Option<&HeaderValue>) -> Response<Body> {
    let mut response = if method == Method::OPTIONS {
        let mut response = Response::new(response::full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, page_headers(asked));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
        headers.append(header::VARY, HeaderValue::from_static("access-control-request-headers"));
        if let Ok(allow) = HeaderValue::from_str(allow) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
        }
        response
    } else {
        response::refusal(ErrorCode::MethodNotAllowed, format!("{} takes {allow}", shown(path)))
    };
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// A header that may stand there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(format!("the request has more than one {name} header"));
    }
    value.map(|value| value.to_str().map_err(|_| format!("the {name} header is not ASCII"))).transpose()
}

/// An error answer without a JSON body gets one.
fn as_json(response: Response<Body>) -> Response<Body> {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if !is_error || content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json")) {
        return response;
    }
    let code = match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ErrorCode::MethodNotAllowed,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
        StatusCode::NOT_ACCEPTABLE => ErrorCode::NotAcceptable,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
        StatusCode::REQUEST_TIMEOUT => ErrorCode::Timeout,
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized,
        StatusCode::FORBIDDEN => ErrorCode::Forbidden,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        status if status.is_server_error() => ErrorCode::Internal,
        _ => ErrorCode::MalformedFrame,
    };
    let message = status.canonical_reason().unwrap_or("the request was refused").to_ascii_lowercase();
    response::with_status(status, &ErrorBody::new(code, message))
}

/// Text of a request, safe and short enough to be shown to its sender.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(120).collect()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    /// A gateway whose routes do what the query says.
    async fn odd() -> (SocketAddr, watch::Sender<bool>) {
        let routes: Routes = Arc::new(|request, peer| {
            assert_ne!(request.uri().query(), Some("panic=now"), "at once");
            async move {
                assert_ne!(request.uri().query(), Some("panic=later"), "{peer}");
                let mut response = Response::new(response::full("plain text"));
                if request.uri().query() == Some("error") {
                    *response.status_mut() = StatusCode::IM_A_TEAPOT;
                }
                response
            }
            .boxed()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let front = Arc::new(Pipeline::new(Hub::new(), routes, Router::canonical()));
        let places = crate::places::SocketPlaces::new(10, Hub::new());
        tokio::spawn(server::serve(listener, front, places, server::Deadlines::default(), stopped));
        (address, stop)
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn http_25_a_page_may_send_what_it_asks_for() {
        let asked =
            |names: &str| page_headers(Some(&HeaderValue::from_str(names).unwrap())).to_str().unwrap().to_owned();
        assert_eq!(page_headers(None), PAGE_HEADERS);
        assert_eq!(asked("x-mine, baggage"), format!("{PAGE_HEADERS}, x-mine, baggage"));
        for wrong in ["", "x mine", "x-mine,", "a\"b"] {
            assert_eq!(asked(wrong), PAGE_HEADERS, "{wrong:?}");
        }
        assert_eq!(asked(&"x".repeat(MAX_ASKED_BYTES + 1)), PAGE_HEADERS);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_one_request() {
        let (address, _stop) = odd().await;
        for when in ["now", "later"] {
            let answer = ask(address, &format!("GET /health?panic={when}")).await;
            assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("\"code\":\"internal\""), "{answer}");
            assert!(!answer.contains("at once"), "what the panic says is not for strangers: {answer}");
        }
        assert!(ask(address, "GET /health").await.ends_with("plain text"));
    }

    #[tokio::test]
    async fn an_error_that_is_not_json_becomes_json() {
        let (address, _stop) = odd().await;
        let answer = ask(address, "GET /health?error").await;
        assert!(answer.starts_with("HTTP/1.1 418 ") && answer.contains("content-type: application/json"), "{answer}");
        assert!(!answer.contains("plain text"), "{answer}");
    }

    #[tokio::test]
    async fn head_is_get_without_the_body() {
        let (address, _stop) = odd().await;
        let answer = ask(address, "HEAD /health").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_server_that_stops_lets_answers_finish_and_takes_nobody() {
        let (address, stop) = odd().await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut byte = [0];
        idle.read_exact(&mut byte).await.unwrap();
        stop.send(true).unwrap();
        let mut rest = String::new();
        idle.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("plain text"), "{rest}");
    }
}
