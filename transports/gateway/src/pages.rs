//! The pages of an application on a listener: files of a directory, or another HTTP server behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventwire_protocol::error::{ErrorBody, ErrorCode};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::files::Directory;
use crate::proxy::Forwarded;
use crate::response::{self, Body};
use crate::router::asks_for_socket;

/// Where the pages come from.
pub(crate) enum Pages {
    /// There are none.
    None,
    /// A directory.
    Directory(Box<Directory>),
    /// Another server.
    Upstream(Box<Upstream>),
}

impl Pages {
    /// Answers a request that is the application's.
    pub(crate) async fn answer(&self, request: Request<Incoming>, from: &Forwarded) -> Response<Body> {
        match self {
            Self::None => response::refusal(ErrorCode::NotFound, "nothing is here"),
            Self::Directory(directory) => directory.answer(request).await,
            Self::Upstream(upstream) => upstream.answer(request, from).await,
        }
    }

    /// Whether another program writes the answers, with all their headers.
    pub(crate) fn is_upstream(&self) -> bool {
        matches!(self, Self::Upstream(_))
    }
}

/// Headers that concern one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

/// Another HTTP server. It sees the request as the browser sent it, with the address of the client beside it; a WebSocket is
/// passed through byte by byte. The headers that name the client are written here and never taken over (HTTP-22).
pub(crate) struct Upstream {
    authority: Authority,
    base: String,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    /// The server at an `http:` URL; `None` if it is none.
    pub(crate) fn new(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(std::time::Duration::from_secs(5)));
        Some(Self {
            authority: url.authority()?.clone(),
            base: url.path().trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    fn target(&self, uri: &Uri) -> Option<Uri> {
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(format!("{}{path}", self.base)).ok()?);
        Uri::from_parts(parts).ok()
    }

    async fn answer(&self, mut request: Request<Incoming>, from: &Forwarded) -> Response<Body> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return response::refusal(ErrorCode::MethodNotAllowed, "this method is not passed on to the application");
        }
        let Some(target) = self.target(request.uri()) else {
            return response::refusal(ErrorCode::NotFound, "no such path");
        };
        let socket = asks_for_socket(request.headers());
        let client_side = request.extensions_mut().remove::<OnUpgrade>();
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        strip(headers);
        if socket {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        } else {
            headers.remove(header::UPGRADE);
        }
        if let Ok(address) = HeaderValue::from_str(&from.client.ip().to_string()) {
            headers.insert("x-forwarded-for", address);
        }
        if let Some(host) = headers.get(header::HOST).cloned() {
            headers.insert("x-forwarded-host", host);
        }
        let scheme = if from.secure { "https" } else { "http" };
        headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme));

        let broken = Arc::new(AtomicBool::new(false));
        let is_broken = Arc::clone(&broken);
        let request = request.map(|body| {
            let read = body.map_err(move |error| {
                is_broken.store(true, Ordering::Relaxed);
                error.into()
            });
            read.boxed_unsync()
        });
        let mut response = match self.client.request(request).await {
            Ok(response) => response,
            Err(_) if broken.load(Ordering::Relaxed) => {
                return response::refusal(
                    ErrorCode::MalformedFrame,
                    "the body of the request cannot be read to its end",
                );
            }
            Err(error) => {
                tracing::warn!(upstream = %self.authority, %error, "the application did not answer");
                let error = ErrorBody::new(
                    ErrorCode::Unavailable,
                    "the application behind this listener does not answer; is it running at the address of the setting upstream?",
                );
                return response::with_status(StatusCode::BAD_GATEWAY, &error);
            }
        };
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switching && !socket {
            tracing::warn!(upstream = %self.authority, "the application switched protocols without being asked");
            let error = ErrorBody::new(ErrorCode::Unavailable, "the application answered out of turn");
            return response::with_status(StatusCode::BAD_GATEWAY, &error);
        }
        if switching {
            let server_side = hyper::upgrade::on(&mut response);
            if let Some(client_side) = client_side {
                tokio::spawn(join(client_side, server_side));
            }
        } else {
            strip(response.headers_mut());
        }
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

fn strip(headers: &mut http::HeaderMap) {
    // What `Connection` names concerns this connection too. In a request it names no header that is for the application.
    let named: Vec<HeaderName> = named_by_connection(headers)
        .filter_map(|name| name?.parse().ok())
        .filter(|name| *name != header::UPGRADE)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What the header `Connection` names; `None` for a line that is not ASCII.
fn named_by_connection(headers: &http::HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let lines = headers.get_all(header::CONNECTION).into_iter().map(|value| value.to_str().ok());
    lines.flat_map(|line| match line {
        Some(line) => line.split(',').map(|name| Some(name.trim())).collect(),
        None => vec![None],
    })
}

/// Headers for the application, or that decide where a message ends: a request that has them taken out by `Connection` would
/// reach the application as another one.
const END_TO_END: [&str; 17] = [
    "authorization",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "from",
    "host",
    "idempotency-key",
    "last-event-id",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "set-cookie",
    "user-agent",
    "via",
];
/// Whole families of them.
const END_TO_END_FAMILIES: [&str; 8] =
    ["accept", "access-control-", "cache-", "content-", "eventwire-", "if-", "sec-", "x-forwarded-"];

/// Checks that `Connection` names nothing but what concerns one connection (HTTP-22).
///
/// # Errors
/// `malformed_frame`, naming the header.
pub(crate) fn check_connection(headers: &http::HeaderMap) -> Result<(), ErrorBody> {
    for name in named_by_connection(headers) {
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return Err(ErrorBody::new(ErrorCode::MalformedFrame, "the header Connection is not ASCII"));
        };
        if END_TO_END.contains(&name.as_str()) || END_TO_END_FAMILIES.iter().any(|family| name.starts_with(family)) {
            let message = format!("the header Connection names {name}, which is not for one connection; leave it out");
            return Err(ErrorBody::new(ErrorCode::MalformedFrame, message));
        }
    }
    Ok(())
}

/// Passes bytes both ways until one side ends.
async fn join(client: OnUpgrade, server: OnUpgrade) {
    if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
