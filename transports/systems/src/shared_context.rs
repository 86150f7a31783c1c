//! Shared Context: pages and agents around one context, its messages, and the endpoint that its back end publishes by.
//!
//! Whoever opens `/ws/{session_id}` is in the context from then on. A page that comes back asks for what it missed with
//! `get_messages`; nothing is replayed to it. Where the messages are asked of is a [`ContextStore`]: what was published
//! here ([`KeptStore`]), or the application's database ([`QueryStore`]).

mod kept;
mod query;
mod store;
mod visitor;

pub use kept::{Bounds, KeptStore};
pub use query::{DEADLINE, QueryStore};
pub use store::{ContextStore, Found, MOST_ANSWER_BYTES, MOST_MESSAGES};

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use eventwire_hub::{ConnectRequest, Hub, Meta, handshake};
use eventwire_protocol::{
    Audience, CloseCode, ContextId, Dialect, ErrorBody, ErrorCode, EventKind, Modifiers, Publication, Target,
    api::{
        Health,
        systems::{BroadcastAnswer, ContextConfig, ContextEndpoints},
    },
    dialect::{
        Adopted,
        shared_context::{MAX_FRAME_BYTES, context_id},
    },
    frame::read_document,
    limits, version,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, value::to_raw_value};

use crate::{Admission, Ask, Body, Route, System, answer, authenticate_or_anonymous, principal};
use visitor::Visitor;

/// How the time of a message is written (T1), for clients that did not choose the variant `shared_context_tools`. Pages of the
/// first releases want milliseconds, pages of later ones ISO 8601, so a listener for these has that variant as its dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// As milliseconds at `/ws/{session_id}`, where pages are, and as ISO 8601 at `/mcp/{session_id}`, where agents are.
    #[default]
    ByPath,
    /// As milliseconds at both.
    Milliseconds,
    /// As ISO 8601 at both.
    Iso,
}

/// What can be set about the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How the time of a message is written. A client that asks for the variant `shared_context_tools` gets ISO 8601.
    pub times: Times,
}

/// The system.
pub struct SharedContext {
    hub: Hub,
    store: Arc<dyn ContextStore>,
    settings: Settings,
}

/// Sockets of pages.
const PAGE: &str = "/ws/{session}";
/// Sockets of pages that come through the server of their page.
const PAGE_BELOW_UI: &str = "/ui/ws/{session}";
/// Sockets of agents.
const AGENT: &str = "/mcp/{session}";
const BROADCAST: &str = "/broadcast/{session}";
const HEALTH: &str = "/health";

const fn socket(pattern: &'static str) -> Route {
    Route { pattern, methods: &[Method::GET], socket: true, own_listener_only: false }
}

const ROUTES: &[Route] = &[
    socket(PAGE),
    socket("/ws/"),
    Route { own_listener_only: true, ..socket(PAGE_BELOW_UI) },
    socket(AGENT),
    socket("/mcp/"),
    Route { pattern: BROADCAST, methods: &[Method::POST], socket: false, own_listener_only: false },
    Route { pattern: HEALTH, methods: &[Method::GET, Method::HEAD], socket: false, own_listener_only: true },
];

impl SharedContext {
    /// The system over a hub. A [`KeptStore`] must be a tap of the same hub, or it stays empty.
    pub fn new(hub: Hub, store: Arc<dyn ContextStore>, settings: Settings) -> Self {
        Self { hub, store, settings }
    }

    fn variant(&self, ask: &Ask<'_>) -> Dialect {
        let iso = match self.settings.times {
            Times::ByPath => ask.route.pattern == AGENT,
            Times::Milliseconds => false,
            Times::Iso => true,
        };
        if iso || ask.dialect == Dialect::SharedContextTools {
            Dialect::SharedContextTools
        } else {
            Dialect::SharedContext
        }
    }

    /// CTX-11: what a back end says about a context, as it built it.
    async fn broadcast(
        &self,
        context: &ContextId,
        headers: &HeaderMap,
        body: Body,
        peer: Option<IpAddr>,
    ) -> Result<(), ErrorBody> {
        let principal = principal(&self.hub, headers, peer).await?;
        is_json(headers)?;
        let body = answer::read(body, limits::MAX_EVENT_BYTES, crate::receiving(&self.hub, &principal, peer)).await?;
        let text = &*read_document(&body, limits::MAX_EVENT_BYTES)?;
        let frame: Value =
            serde_json::from_str(text).map_err(|error| ErrorBody::new(ErrorCode::MalformedFrame, error.to_string()))?;
        let Adopted { kind, data, to, time } = Dialect::SharedContext.decode_event(&frame)?;
        let audience = Audience::session(context.clone());
        if to.is_some_and(|to| to != audience) {
            let message = format!("the event names another session than the path, which names {context}");
            return Err(ErrorBody::new(ErrorCode::SubjectMismatch, message));
        }
        let data = to_raw_value(&data).map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))?;
        let publication = Publication {
            kind: EventKind::Known(kind),
            to: audience,
            data,
            time,
            id: None,
            expected_prev: None,
            modifiers: Modifiers::default(),
        };
        let receipts = self.hub.publish(&principal, vec![Ok(publication)]).await?;
        receipts.into_iter().next().map_or(Ok(()), |receipt| receipt.map(|_| ()))
    }

    /// The body that pages of this system read, over that of every listener. Which port they are to open a socket at is
    /// the one that they asked at.
    fn health(&self, headers: &HeaderMap) -> Response<Body> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<http::uri::Authority>().ok());
        let health = Health {
            status: "healthy".to_owned(),
            service: "eventwire".to_owned(),
            version: version::SERVER.rsplit('/').next().unwrap_or_default().to_owned(),
            timestamp: self.hub.now(),
            uptime_seconds: self.hub.uptime().as_secs(),
            active_connections: self.hub.connection_count(),
            websocket_support: true,
            endpoints: Some(ContextEndpoints {
                websocket: "/ws/{session_id}".to_owned(),
                mcp: "/mcp/{session_id}".to_owned(),
                broadcast: "/broadcast/{session_id}".to_owned(),
                health: HEALTH.to_owned(),
            }),
            config: host.and_then(|host| {
                Some(ContextConfig { websocket_port: host.port_u16()?, websocket_host: host.host().to_owned() })
            }),
        };
        answer::json(StatusCode::OK, &health)
    }
}

/// Reads the context that a path names.
fn context_of(segment: &str) -> Result<ContextId, ErrorBody> {
    // What is not UTF-8 becomes U+FFFD, which no id holds.
    context_id(&percent_decode_str(segment).decode_utf8_lossy())
}

/// A page of another site can send a body that calls itself text, without being asked whether it may.
fn is_json(headers: &HeaderMap) -> Result<(), ErrorBody> {
    let mut types = headers.get_all(header::CONTENT_TYPE).into_iter();
    let essence = types.next().and_then(|value| value.to_str().ok()?.split(';').next());
    let is_json = essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    if is_json && types.next().is_none() && !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    Err(ErrorBody::new(ErrorCode::UnsupportedMediaType, "the body must be application/json, not packed"))
}

#[async_trait]
impl System for SharedContext {
    fn dialect(&self) -> Dialect {
        Dialect::SharedContext
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn max_message_bytes(&self) -> usize {
        MAX_FRAME_BYTES
    }

    async fn admit(&self, ask: Ask<'_>) -> Admission {
        let segment = ask.route.segment(ask.path);
        if segment.is_empty() {
            return Admission::Close(CloseCode::Policy, "Missing session_id".into());
        }
        let context = match context_of(segment) {
            Ok(context) => context,
            Err(error) => return Admission::Close(CloseCode::Policy, error.message.into_owned()),
        };
        let principal = match authenticate_or_anonymous(&self.hub, ask.headers, ask.peer, Dialect::SharedContext).await
        {
            Ok(principal) => principal,
            Err(error) => return Admission::Refuse(error),
        };
        let target = Target::Session(context.clone().into());
        if !principal.claims.may_subscribe(&target) {
            // A page can read the reason of a close, and nothing of a socket that was refused.
            return Admission::Close(CloseCode::Policy, format!("your credentials do not reach {target}"));
        }
        let user = principal.claims.user.clone();
        let user_agent = ask.headers.get(header::USER_AGENT).and_then(|it| handshake::user_agent(it.as_bytes()));
        let meta = Meta { transport: "websocket", remote_address: ask.peer, user_agent };
        let request =
            ConnectRequest { dialect: self.variant(&ask), meta, ..ConnectRequest::new(principal, "websocket") };
        let handler = Visitor::new(self.hub.clone(), self.store.clone(), context, user);
        Admission::Connect { request: Box::new(request), handler: Box::new(handler), headers: HeaderMap::new() }
    }

    async fn answer(&self, route: &'static Route, request: Request<Body>, peer: Option<IpAddr>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match route.pattern {
            HEALTH => self.health(&parts.headers),
            BROADCAST => {
                let told = match context_of(route.segment(parts.uri.path())) {
                    Ok(context) => self.broadcast(&context, &parts.headers, body, peer).await.map(|()| context),
                    Err(error) => Err(error),
                };
                match told {
                    Ok(context) => {
                        let told = BroadcastAnswer { success: true, session_id: Some(context), error: None };
                        answer::json(StatusCode::OK, &told)
                    }
                    Err(error) => {
                        let status = broadcast_status(&error);
                        let refused = BroadcastAnswer {
                            success: false,
                            session_id: None,
                            error: Some(error.message.into_owned()),
                        };
                        answer::json(status, &refused)
                    }
                }
            }
            _ => answer::refusal(&ErrorBody::new(
                ErrorCode::UpgradeRequired,
                "this path is a WebSocket; connect with Upgrade: websocket",
            )),
        }
    }
}

/// The callers of the system of origin look at `success`, and expect 200 whatever happened to the event. Those who may not
/// publish, and those whose request was no event, are told in the way of HTTP too.
fn broadcast_status(error: &ErrorBody) -> StatusCode {
    match error.code {
        ErrorCode::Unauthorized | ErrorCode::Forbidden | ErrorCode::UnsupportedMediaType | ErrorCode::TooLarge => {
            answer::status_of(error)
        }
        _ => StatusCode::OK,
    }
}
