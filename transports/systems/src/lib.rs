//! What the five older systems do around their dialects: behavior that is not pure spelling, one file each.
//!
//! A [`System`] judges who may open one of its sockets and answers its HTTP endpoints. It knows the hub and no socket: the
//! gateway hands it requests, and carries out what it decides. What a connection does afterwards is its
//! [`ConnectionHandler`]; what has to be remembered of published events, a [`Tap`](eventwire_hub::Tap).
//!
//! Terms are defined in the [glossary](https://github.com/eventwire/eventwire/blob/main/docs/glossary.md); the
//! [architecture](https://github.com/eventwire/eventwire/blob/main/docs/architecture.md) maps the code.

pub mod adw;
pub mod amiga;
pub mod answer;
pub mod monadic;
pub mod product;
pub mod shared_context;
pub mod token_claims;

use std::net::IpAddr;

use async_trait::async_trait;
use eventwire_hub::{
    ConnectRequest, ConnectionHandler, Credentials, Holder, Hub, Principal, Secret, handshake,
    unfinished::{Pace, Receiving},
};
use eventwire_protocol::{CloseCode, Dialect, ErrorBody};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};

pub use answer::Body;

/// The examples in the README run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Something that the systems answer: a path and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path; a segment in braces stands for one segment that is not empty.
    pub pattern: &'static str,
    /// The methods it takes, HEAD included where it is. A path that is only a socket takes GET.
    pub methods: &'static [Method],
    /// Whether a WebSocket can be opened there.
    pub socket: bool,
    /// Whether it is there only on a listener of the system's own dialect, because other systems have another meaning for
    /// the path.
    pub own_listener_only: bool,
}

impl Route {
    /// Whether the path is this one.
    pub fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let all = self.pattern.split('/').all(|expected| match segments.next() {
            Some(segment) if expected.starts_with('{') => !segment.is_empty(),
            segment => segment == Some(expected),
        });
        all && segments.next().is_none()
    }

    /// What the segment in braces is in a path that matches; empty when the pattern has none.
    pub fn segment<'a>(&self, path: &'a str) -> &'a str {
        let mut pairs = self.pattern.split('/').zip(path.split('/'));
        pairs.find(|(expected, _)| expected.starts_with('{')).map_or("", |(_, segment)| segment)
    }
}

/// The head of a request for a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The route that matched.
    pub route: &'static Route,
    /// The path, as it came.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The peer's address.
    pub peer: Option<IpAddr>,
    /// The dialect or variant that the listener, or the request, chose.
    pub dialect: Dialect,
}

/// What becomes of a request for a WebSocket.
pub enum Admission {
    /// The client is connected.
    Connect {
        /// How.
        request: Box<ConnectRequest>,
        /// How it behaves.
        handler: Box<dyn ConnectionHandler>,
        /// Further headers of the answer, such as a cookie.
        headers: HeaderMap,
    },
    /// The socket is opened, and closed at once with this code and reason.
    Close(CloseCode, String),
    /// There is no socket: the request is answered with the status of the code.
    Refuse(ErrorBody),
}

/// One of the older systems.
#[async_trait]
pub trait System: Send + Sync + 'static {
    /// The dialect of its clients; of a family, the first.
    fn dialect(&self) -> Dialect;

    /// Every path it answers.
    fn routes(&self) -> &'static [Route];

    /// The largest message that its clients send, in bytes.
    fn max_message_bytes(&self) -> usize;

    /// Judges a request for a WebSocket. Host, origin and the form of the request have been checked.
    async fn admit(&self, ask: Ask<'_>) -> Admission;

    /// Headers for the answer to a visit of one of the application's pages on a listener of this system, such as a cookie. It is
    /// given the headers of the request and those of the application's answer.
    fn visit(&self, request: &HeaderMap, answer: &HeaderMap) -> HeaderMap {
        let _ = (request, answer);
        HeaderMap::new()
    }

    /// Answers a request at one of its paths that asks for no WebSocket. Host, origin and method have been checked.
    async fn answer(&self, route: &'static Route, request: Request<Body>, peer: Option<IpAddr>) -> Response<Body>;
}

/// Who opens a socket or a stream of a dialect, by the header `Authorization`; a stranger, where strangers may (AUTH-09).
///
/// # Errors
/// `unauthorized`.
pub async fn authenticate_or_anonymous(
    hub: &Hub,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    dialect: Dialect,
) -> Result<Principal, ErrorBody> {
    hub.authenticate_or_anonymous(&Credentials { token: token(headers)?, peer }, dialect).await
}

fn token(headers: &HeaderMap) -> Result<Option<Secret>, ErrorBody> {
    handshake::bearer(headers.get_all(header::AUTHORIZATION).into_iter().map(HeaderValue::as_bytes))
}

/// Who sends a request, by its header `Authorization`.
///
/// # Errors
/// `unauthorized`.
pub async fn principal(hub: &Hub, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Principal, ErrorBody> {
    hub.authenticate(&Credentials { token: token(headers)?, peer }).await
}

/// The budget and the pace of a body that a principal sends (LIMIT-08, LIMIT-09).
pub fn receiving(hub: &Hub, principal: &Principal, peer: Option<IpAddr>) -> Receiving {
    Receiving::begin(hub.unfinished(), Holder::of(principal, peer), Pace::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_matches_segment_by_segment() {
        let route = Route { pattern: "/ws/{session}", methods: &[], socket: true, own_listener_only: false };
        assert!(route.matches("/ws/a"));
        assert_eq!(route.segment("/ws/a"), "a");
        for path in ["/ws", "/ws/", "/ws/a/b", "/wx/a", "ws/a"] {
            assert!(!route.matches(path), "{path}");
        }
    }
}
