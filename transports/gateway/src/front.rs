//! What every request passes before a route sees it, and every answer after: the guard, the table of paths, errors as JSON, and a
//! net under the code behind.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use eventwire_hub::Hub;
use eventwire_protocol::error::{ErrorBody, ErrorCode};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::answer::{self, Body};
use crate::inspector;
use crate::paths::{self, Found};
use crate::server::Answerer;

/// The routes behind: what the adapters make of a request.
pub(crate) type Routes = Arc<dyn Fn(Request<Incoming>, SocketAddr) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Request headers that pages of allowed origins may send.
const PAGE_HEADERS: &str = "authorization, content-type, last-event-id";
/// Seconds for which a browser may remember the answer to its question whether a page may ask.
const PREFLIGHT_SECONDS: &str = "600";

/// The front of the gateway.
pub(crate) struct Front {
    hub: Hub,
    routes: Routes,
}

impl Front {
    pub(crate) fn new(hub: Hub, routes: Routes) -> Self {
        Self { hub, routes }
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
        self.hub.guard().check_origin(origin)
    }

    async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if let Err(error) = self.guard(&request) {
            tracing::debug!(%peer, code = %error.code, message = %error.message, "refused");
            return answer::refusal(error.code, error.message);
        }
        let (method, path) = (request.method().clone(), request.uri().path());
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = match paths::find(&method, path) {
            Found::Path => match inspector::serve(path) {
                Some(file) => file,
                None => self.behind(request, peer).await,
            },
            Found::Methods(allow) => wrong_method(&method, path, &allow),
            Found::Nothing(nearest) => {
                let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
                answer::refusal(ErrorCode::NotFound, format!("nothing is at {}{hint}", shown(path)))
            }
        };
        if let Some(origin) = origin {
            // The guard let this origin in; its pages may read the answer.
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        response
    }

    /// What the routes answer; a panic in them is an error of this one request, and whatever they answer with an error status is
    /// an error that programs can read.
    async fn behind(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        // The answer to HEAD is that to GET without its body, which the server leaves out by itself.
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let path = request.uri().path().to_owned();
        let call = AssertUnwindSafe(|| (self.routes)(request, peer));
        let answered = match std::panic::catch_unwind(call) {
            Ok(answer) => AssertUnwindSafe(answer).catch_unwind().await,
            Err(panic) => Err(panic),
        };
        match answered {
            Ok(response) => as_json(response),
            Err(panic) => {
                tracing::error!(path, panic = panic_text(&*panic), "a request made the gateway panic");
                answer::refusal(ErrorCode::Internal, "the gateway has a fault; it has been logged")
            }
        }
    }
}

impl Answerer for Front {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        self.respond(request, peer).await
    }
}

fn wrong_method(method: &Method, path: &str, allow: &str) -> Response<Body> {
    let mut response = if method == Method::OPTIONS {
        let mut response = Response::new(answer::full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        for (name, value) in
            [(header::ACCESS_CONTROL_ALLOW_HEADERS, PAGE_HEADERS), (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS)]
        {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Ok(allow) = HeaderValue::from_str(allow) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
        }
        response
    } else {
        answer::refusal(ErrorCode::MethodNotAllowed, format!("{} takes {allow}", shown(path)))
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
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorised,
        StatusCode::FORBIDDEN => ErrorCode::Forbidden,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        status if status.is_server_error() => ErrorCode::Internal,
        _ => ErrorCode::MalformedFrame,
    };
    let message = status.canonical_reason().unwrap_or("the request was refused").to_ascii_lowercase();
    answer::with_status(status, &ErrorBody::new(code, message))
}

/// Text of a request, safe and short enough to be shown to its sender.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(120).collect()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
