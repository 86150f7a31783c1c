//! AMIGA monitoring: a dashboard of figures, over Socket.IO, server-sent events and plain requests.
//!
//! Figures come from a [`MetricsSource`]. One task looks at it for everyone: it sleeps until the first client is due,
//! computes each window of hours once, however many clients look through it, and tells each client what has changed for
//! it. Everything that a client is told goes through the hub, addressed to its connection. A stream of server-sent events is
//! a connection like any other, subscribed from its first moment.
//!
//! - `windows`: a computation of one window, shared by all who ask for it meanwhile;
//! - `watchers`: who is subscribed to what, and the task that looks;
//! - `handler`: what a client's events do;
//! - `stream`: a connection as a stream of server-sent events.

mod handler;
mod stream;
mod watchers;
mod windows;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use eventwire_hub::{
    CommandSink, ConnectRequest, ConnectionHandler, Credentials, Holder, Hub, Meta, Principal, Secret, handshake,
};
use eventwire_protocol::{
    Dialect, ErrorBody, ErrorCode,
    dialect::amiga::{self, Subscription},
    event::metrics::MetricsUpdate,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use serde_json::json;

use crate::{
    Admission, Ask, Body, Route, System,
    answer::{self, status_of},
};
use handler::Watcher;
use watchers::Watchers;
use windows::Windows;

/// Where figures come from.
#[async_trait]
pub trait MetricsSource: Send + Sync + 'static {
    /// The figures as they are now, counted over this many hours, 1 to 168. Asked for one window at a time, and for no
    /// window again before it has answered for it.
    ///
    /// # Errors
    /// Whatever keeps them from being computed. Who is due is told; the next attempt comes when somebody is due again.
    async fn metrics(&self, hours: u32) -> Result<MetricsUpdate, ErrorBody>;
}

/// Nothing is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

#[async_trait]
impl MetricsSource for NoMetrics {
    async fn metrics(&self, _: u32) -> Result<MetricsUpdate, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::Unavailable, "nothing is counted here: no source of metrics is set"))
    }
}

/// What can be set about the system.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the source may take for one window. The default is 10 seconds.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { patience: Duration::from_secs(10) }
    }
}

/// A client that wants to connect over Socket.IO. Host and origin have been checked.
pub struct Newcomer {
    /// Its token, wherever it came from.
    pub token: Option<Secret>,
    /// What it knows itself by, its `socket.id`. Told to this client and to nobody else.
    pub socket_id: String,
    /// The peer's address.
    pub peer: Option<IpAddr>,
    /// What the peer calls itself.
    pub user_agent: Option<String>,
    /// Called with the name of an event, and whether its argument is to go to this client as bytes from now on.
    pub as_bytes: Arc<dyn Fn(&'static str, bool) + Send + Sync>,
}

impl fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Newcomer").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// AMIGA monitoring, over one hub. Clones are the same.
#[derive(Clone)]
pub struct Amiga {
    hub: Hub,
    commands: Arc<dyn CommandSink>,
    windows: Arc<Windows>,
    watchers: Arc<Watchers>,
}

impl fmt::Debug for Amiga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amiga").finish_non_exhaustive()
    }
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

/// `/api/stream/metrics`: figures as server-sent events.
const STREAM: Route = route("/api/stream/metrics");
/// `/api/metrics/overview`: the overview of now.
const OVERVIEW: Route = route("/api/metrics/overview");
/// `/websocket-test`: a page to try the connection with.
const TEST_PAGE: Route = route("/websocket-test");

const fn route(pattern: &'static str) -> Route {
    Route { pattern, methods: READ, socket: false, own_listener_only: false }
}

impl Amiga {
    /// The system over a hub. Must be called inside a tokio runtime; the task that looks at the source ends when the last
    /// clone, and the last connection, has gone.
    pub fn new(hub: Hub, commands: Arc<dyn CommandSink>, source: Arc<dyn MetricsSource>, settings: Settings) -> Self {
        let windows = Arc::new(Windows::new(source, settings.patience));
        let watchers = Watchers::start(hub.clone(), windows.clone());
        Self { hub, commands, windows, watchers }
    }

    /// How many connections are known here, subscribed or not.
    pub fn connections(&self) -> usize {
        self.watchers.len()
    }

    /// Judges a client that wants to connect to one of the namespaces, `/` or `/metrics`: both are the same.
    ///
    /// # Errors
    /// `unauthorized`.
    pub async fn receive(&self, newcomer: Newcomer) -> Result<(ConnectRequest, Box<dyn ConnectionHandler>), ErrorBody> {
        let Newcomer { token, socket_id, peer, user_agent, as_bytes } = newcomer;
        let principal = self.hub.authenticate_or_anonymous(&Credentials { token, peer }, Dialect::Amiga).await?;
        let watcher = Watcher::new(self, Some(socket_id), Holder::of(&principal, peer), as_bytes, None);
        Ok((self.request(principal, "socketio", peer, user_agent), Box::new(watcher)))
    }

    fn request(
        &self,
        principal: Principal,
        transport: &'static str,
        remote_address: Option<IpAddr>,
        user_agent: Option<String>,
    ) -> ConnectRequest {
        let meta = Meta { transport, remote_address, user_agent };
        ConnectRequest { dialect: Dialect::Amiga, meta, ..ConnectRequest::new(principal, transport) }
    }

    async fn stream(&self, request: &Parts, peer: Option<IpAddr>) -> Result<Response<Body>, ErrorBody> {
        let hours = hours(request)?;
        let principal = crate::authenticate_or_anonymous(&self.hub, &request.headers, peer, Dialect::Amiga).await?;
        let holder = Holder::of(&principal, peer);
        self.hub.check_admission(&holder)?;
        let user_agent =
            request.headers.get(header::USER_AGENT).and_then(|value| handshake::user_agent(value.as_bytes()));
        let subscription = Subscription { hours, ..Subscription::default() };
        let watcher = Watcher::new(self, None, holder, Arc::new(|_, _| {}), Some(subscription));
        let request = self.request(principal, "sse", peer, user_agent);
        let connection = self.hub.connect_as(request, Box::new(watcher)).await?;
        let mut response = Response::new(stream::body(connection));
        for (name, value) in [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONNECTION, "keep-alive"),
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    async fn overview(&self, request: &Parts, peer: Option<IpAddr>) -> Result<Response<Body>, ErrorBody> {
        let hours = hours(request)?;
        crate::authenticate_or_anonymous(&self.hub, &request.headers, peer, Dialect::Amiga).await?;
        let update = match self.windows.metrics(hours).await {
            Ok(update) => update,
            // The system of origin has one status for this, and its pages look for it.
            Err(error) => {
                return Ok(answer::plain_refusal(StatusCode::INTERNAL_SERVER_ERROR, &error));
            }
        };
        let figures = amiga::metrics_update(&update, self.hub.now());
        let overview = figures.as_ref().and_then(|figures| figures.get("overview"));
        Ok(answer::json(StatusCode::OK, &overview.unwrap_or(&json!({}))))
    }
}

/// `?hours=`; other keys are left alone, as pages add some against caches.
fn hours(request: &Parts) -> Result<u32, ErrorBody> {
    let query = request.uri.query().unwrap_or_default();
    let hours = query.split('&').find_map(|pair| pair.strip_prefix("hours="));
    hours.map_or(Ok(amiga::DEFAULT_HOURS), amiga::hours_of)
}

/// A page that tries the connection; nothing in it comes from elsewhere.
fn test_page() -> Response<Body> {
    let mut response =
        answer::text(StatusCode::OK, "text/html; charset=utf-8", include_str!("amiga/websocket-test.html"));
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

#[async_trait]
impl System for Amiga {
    fn dialect(&self) -> Dialect {
        Dialect::Amiga
    }

    fn routes(&self) -> &'static [Route] {
        const ROUTES: &[Route] = &[STREAM, OVERVIEW, TEST_PAGE];
        ROUTES
    }

    fn max_message_bytes(&self) -> usize {
        amiga::MAX_FRAME_BYTES
    }

    /// It has no plain WebSocket.
    async fn admit(&self, _: Ask<'_>) -> Admission {
        Admission::Refuse(ErrorBody::new(ErrorCode::NotFound, "there is no WebSocket here; clients use Socket.IO"))
    }

    async fn answer(&self, route: &'static Route, request: Request<Body>, peer: Option<IpAddr>) -> Response<Body> {
        let (request, _) = request.into_parts();
        let answered = match route.pattern {
            pattern if pattern == STREAM.pattern => self.stream(&request, peer).await,
            pattern if pattern == OVERVIEW.pattern => self.overview(&request, peer).await,
            _ => Ok(test_page()),
        };
        answered.unwrap_or_else(|error| answer::plain_refusal(status_of(&error), &error))
    }
}
