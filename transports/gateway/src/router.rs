//! What is at a path of one listener: the gateway's own paths, those of the older systems, and the pages of the application.
//!
//! The order is always the same. First the system whose dialect the listener speaks, then the gateway's table, then, on the
//! canonical listener, the paths that only one of the older systems claims; what is left belongs to the application.

use std::sync::Arc;

use eventwire_protocol::Dialect;
use eventwire_systems::{Route, System};
use eventwire_websocket::{Options, WebSocketAcceptor};
use http::header::HeaderMap;
use http::{Method, header};

use crate::documents;
use crate::pages::Pages;
use crate::paths::{self, Found};
use crate::pipeline::Routes;

/// Subprotocols that choose a dialect begin so.
const SUBPROTOCOL_PREFIX: &str = "eventwire.";

/// One of the older systems, and what takes its sockets.
#[derive(Clone)]
pub(crate) struct Mounted {
    pub(crate) system: Arc<dyn System>,
    pub(crate) acceptor: WebSocketAcceptor,
}

impl Mounted {
    pub(crate) fn new(hub: &eventwire_hub::Hub, system: Arc<dyn System>) -> Self {
        let options = Options { max_message_bytes: system.max_message_bytes(), ..Options::default() };
        Self { acceptor: WebSocketAcceptor::with_options(hub.clone(), options), system }
    }

    /// Its route for a path; one without a variable before one with.
    fn route(&self, path: &str) -> Option<&'static Route> {
        let routes = self.system.routes().iter().filter(|route| route.matches(path));
        routes.min_by_key(|route| route.pattern.contains('{'))
    }
}

/// A listener, as far as paths are concerned.
pub(crate) struct Router {
    pub(crate) dialect: Dialect,
    pub(crate) systems: Vec<Mounted>,
    pub(crate) socketio: SocketIo,
    pub(crate) pages: Pages,
}

/// The Socket.IO server of a listener.
pub(crate) enum SocketIo {
    /// It answers at `/socket.io/`.
    At(Routes),
    /// It is switched off.
    Off,
    /// The dialect of the listener has none.
    None,
}

/// Where a request goes.
pub(crate) enum Place<'a> {
    /// To the gateway's own routes.
    Gateway,
    /// To the inspector.
    Inspector,
    /// To the published schemas and documents.
    Document,
    /// To one of the older systems, which is asked in this dialect.
    System(&'a Mounted, &'static Route, Dialect),
    /// To the Socket.IO server.
    SocketIo(&'a Routes),
    /// To the Socket.IO server, which is switched off.
    NoSocketIo,
    /// To the application.
    Pages,
    /// The path is there, the method is not; these are.
    Methods(String),
    /// Nowhere; perhaps this was meant.
    Nothing(Option<&'static str>),
}

impl Place<'_> {
    /// Whether the path belongs to the application, or to nothing.
    pub(crate) fn is_application(&self) -> bool {
        matches!(self, Self::Pages | Self::Nothing(_))
    }
}

impl Router {
    /// A listener of our own protocol alone.
    #[cfg(test)]
    pub(crate) fn canonical() -> Self {
        Self { dialect: Dialect::Canonical, systems: Vec::new(), socketio: SocketIo::None, pages: Pages::None }
    }

    /// How the pages of the listener come from an origin that is let in.
    pub(crate) fn where_pages_are(&self) -> String {
        let dialect = self.dialect.as_str();
        let prefix = if self.dialect == Dialect::Canonical { String::new() } else { format!("{dialect}=") };
        let served = format!("--static {prefix}DIRECTORY serves it on this listener");
        match self.dialect.family() {
            Dialect::Amiga => format!("{served}, and /websocket-test has a test page"),
            _ => served,
        }
    }

    /// The system whose dialect the listener speaks.
    pub(crate) fn own(&self) -> Option<&Mounted> {
        self.system_of(self.dialect)
    }

    fn system_of(&self, dialect: Dialect) -> Option<&Mounted> {
        self.systems.iter().find(|mounted| mounted.system.dialect() == dialect.family())
    }

    /// Finds the place of a request.
    pub(crate) fn place(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Place<'_> {
        let mut allowed = None;
        let chosen = chosen_dialect(query, headers);
        // A request may choose where the listener has no dialect of its own.
        let dialect = match chosen {
            Some(dialect) if self.dialect == Dialect::Canonical || dialect.family() == self.dialect.family() => dialect,
            _ => self.dialect,
        };
        if let Some(mounted) = self.system_of(dialect)
            && let Some(route) = mounted.route(path)
        {
            if is_for_pages(route, headers) && self.dialect != Dialect::Canonical {
                return self.pages_or_nothing(path);
            }
            if route.methods.contains(method) {
                return Place::System(mounted, route, dialect);
            }
            allowed.get_or_insert_with(|| allow(route));
        }
        if self.dialect == Dialect::Canonical || !paths::is_inspector(path) {
            match paths::find(method, path) {
                Found::Path if paths::is_inspector(path) => return Place::Inspector,
                Found::Path if documents::is_document(path) => return Place::Document,
                Found::Path => return Place::Gateway,
                Found::Methods(methods) => allowed = Some(allowed.unwrap_or(methods)),
                Found::Nothing(_) => {}
            }
        }
        if self.dialect == Dialect::Canonical {
            let others = self.systems.iter().filter_map(|mounted| Some((mounted, mounted.route(path)?)));
            // A path without a variable wins over one with, whoever claims it.
            let shared = others.filter(|(_, route)| !route.own_listener_only);
            if let Some((mounted, route)) = shared.min_by_key(|(_, route)| route.pattern.contains('{')) {
                if route.methods.contains(method) {
                    return Place::System(mounted, route, mounted.system.dialect());
                }
                allowed.get_or_insert_with(|| allow(route));
            }
        }
        if path == "/socket.io" || path.starts_with("/socket.io/") {
            match &self.socketio {
                SocketIo::At(routes) => return Place::SocketIo(routes),
                // An application behind may have a server of its own.
                SocketIo::Off if matches!(self.pages, Pages::None) => return Place::NoSocketIo,
                SocketIo::Off | SocketIo::None => {}
            }
        }
        match allowed {
            Some(methods) => Place::Methods(methods),
            None => self.pages_or_nothing(path),
        }
    }

    fn pages_or_nothing(&self, path: &str) -> Place<'_> {
        match &self.pages {
            Pages::None => Place::Nothing(paths::nearest(path)),
            _ => Place::Pages,
        }
    }
}

/// Whether the request is for the page that shares its path with a socket.
fn is_for_pages(route: &Route, headers: &HeaderMap) -> bool {
    route.socket && route.pattern == "/" && !asks_for_socket(headers)
}

/// Whether a request asks for a WebSocket.
pub(crate) fn asks_for_socket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The dialect that a request names, in its query or among its subprotocols.
pub(crate) fn chosen_dialect(query: &str, headers: &HeaderMap) -> Option<Dialect> {
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("dialect="));
    in_query.and_then(Dialect::from_name).or_else(|| chosen_subprotocol(headers).map(|(_, dialect)| dialect))
}

/// The subprotocol by which a request names a dialect.
pub(crate) fn chosen_subprotocol(headers: &HeaderMap) -> Option<(&'static str, Dialect)> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.find_map(|name| {
        let dialect = Dialect::from_name(name.strip_prefix(SUBPROTOCOL_PREFIX)?)?;
        Some((subprotocol(dialect)?, dialect))
    })
}

/// The name of the subprotocol that chooses a dialect; the canonical one has a version in its own.
const fn subprotocol(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Monadic => Some("eventwire.monadic"),
        Dialect::Product => Some("eventwire.product"),
        Dialect::ProductNested => Some("eventwire.product_nested"),
        Dialect::SharedContext => Some("eventwire.shared_context"),
        Dialect::SharedContextTools => Some("eventwire.shared_context_tools"),
        Dialect::Adw => Some("eventwire.adw"),
        Dialect::AdwTrigger => Some("eventwire.adw_trigger"),
        _ => None,
    }
}

fn allow(route: &Route) -> String {
    let names = route.methods.iter().map(Method::as_str).chain(["OPTIONS"]);
    names.collect::<Vec<_>>().join(", ")
}
