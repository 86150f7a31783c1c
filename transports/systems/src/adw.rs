//! ADW, the agentic kanban: sockets at `/ws` and `/ws/trigger`, and the paths where workflows post what they do.
//!
//! Its published server told everybody everything. Here whatever is about a run goes to `adw:<id>`, and routing decides who
//! watches that run: every page that never subscribed, as before, as far as its claims reach; and only the pages of that run
//! once they subscribe. What a page asks of the application goes to the [`CommandSink`]; answers come back as events for its
//! connection.

mod kanban;
mod producers;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use eventwire_hub::{CommandSink, ConnectRequest, Hub, Meta, handshake};
use eventwire_protocol::{AdwId, Dialect, ErrorBody};
use http::{Method, Request, Response, header};
use serde_json::{Map, Value};

use crate::{Admission, Ask, Body, Route, System, authenticate_or_anonymous};

/// Reads what is kept of a run on disk. Implemented where the agents' directory is known; may block.
pub trait AgentState: Send + Sync + 'static {
    /// The content of `adw_state.json` of a run, fit to be shown; `None` when there is no such run or no readable state.
    ///
    /// # Errors
    /// `too_large` or `internal`. The message never names a path.
    fn state(&self, adw_id: AdwId) -> Result<Option<Map<String, Value>>, ErrorBody>;
}

/// What can be set about the system.
#[derive(Clone)]
pub struct Settings {
    /// Largest message of a page, in bytes. Tickets carry their pictures, so the default is what the trigger server took:
    /// 16 MiB (ADW-02).
    pub max_message_bytes: usize,
    /// Workflows that one connection may ask for in a minute (ADW-04); 30.
    pub triggers_per_minute: usize,
    /// Whether `state_change` tells the trigger server's `agent_updated` as well (ADW-06); not by default.
    pub agent_updated_too: bool,
    /// Where `GET /api/agent-state/{adw_id}` reads; without it no run has a state.
    pub agents: Option<Arc<dyn AgentState>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_message_bytes: 16 * 1024 * 1024, triggers_per_minute: 30, agent_updated_too: false, agents: None }
    }
}

/// The kanban's server.
pub struct Adw {
    hub: Hub,
    commands: Arc<dyn CommandSink>,
    settings: Settings,
    triggered: Arc<AtomicU64>,
}

impl Adw {
    /// A server over a hub; what its pages ask of the application goes to `commands`.
    pub fn new(hub: Hub, commands: Arc<dyn CommandSink>, settings: Settings) -> Self {
        Self { hub, commands, settings, triggered: Arc::default() }
    }

    /// How many workflows a back end has taken over since the start: `total_workflows_triggered` of the health body.
    pub fn total_workflows_triggered(&self) -> u64 {
        self.triggered.load(Ordering::Relaxed)
    }
}

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];

macro_rules! routes {
    (sockets: $($socket:literal)+; reads: $($read:literal)+; writes: $($write:literal)+) => {
        const ROUTES: &[Route] = &[
            $(Route { pattern: $socket, methods: GET, socket: true, own_listener_only: false },)+
            $(Route { pattern: $read, methods: &[Method::GET, Method::HEAD], socket: false, own_listener_only: false },)+
            $(Route { pattern: $write, methods: POST, socket: false, own_listener_only: false },)+
        ];
    };
}

routes! {
    // Product Demo has a socket at /ws too; where the listener is neither's, it is the kanban's unless the request says otherwise.
    sockets: "/ws" "/ws/trigger";
    reads: "/api/agent-state/{adw_id}";
    writes:
        "/api/agent-state-update" "/api/agent-log-entry" "/api/file-operation" "/api/agent-thinking"
        "/api/tool-execution" "/api/workflow-phase-transition" "/api/agent-output-chunk" "/api/screenshot-available"
        "/api/spec-created" "/api/workflow-updates" "/api/stage-event"
}

#[async_trait]
impl System for Adw {
    fn dialect(&self) -> Dialect {
        Dialect::Adw
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn max_message_bytes(&self) -> usize {
        self.settings.max_message_bytes
    }

    /// ADW-01: what stands in the query is the page's own; nothing of it is needed.
    async fn admit(&self, ask: Ask<'_>) -> Admission {
        let principal = match authenticate_or_anonymous(&self.hub, ask.headers, ask.peer, Dialect::Adw).await {
            Ok(principal) => principal,
            Err(error) => return Admission::Refuse(error),
        };
        let user_agent = ask.headers.get(header::USER_AGENT);
        let meta = Meta {
            transport: "websocket",
            remote_address: ask.peer,
            user_agent: user_agent.and_then(|value| handshake::user_agent(value.as_bytes())),
        };
        let dialect = match ask.route.pattern {
            "/ws/trigger" => Dialect::AdwTrigger,
            _ if ask.dialect.family() == Dialect::Adw => ask.dialect,
            _ => Dialect::Adw,
        };
        let handler = kanban::Kanban::new(&principal, self.commands.clone(), &self.settings, self.triggered.clone());
        let request = ConnectRequest { dialect, meta, ..ConnectRequest::new(principal, "websocket") };
        Admission::Connect { request: Box::new(request), handler: Box::new(handler), headers: http::HeaderMap::new() }
    }

    async fn answer(&self, route: &'static Route, request: Request<Body>, peer: Option<IpAddr>) -> Response<Body> {
        if route.methods.contains(&Method::POST) {
            producers::publish(self, route, request, peer).await
        } else {
            producers::state(self, route, request, peer).await
        }
    }
}
