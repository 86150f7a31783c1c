//! Every path of this API and the methods it takes, in one table (HTTP-03).

use http::{HeaderValue, Method};

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Publishes.
    Events,
    /// Gives the session of a cookie.
    Resolve,
    /// Gives out a ticket.
    Tickets,
    /// Takes credentials back.
    Revocations,
    /// Lists connections.
    Connections,
    /// Closes a connection.
    Connection,
    /// Explains routing.
    Explain,
    /// Says that the process lives.
    Health,
    /// Says whether it takes connections.
    Ready,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What is there.
    pub endpoint: Endpoint,
    /// The path; `{}` stands for one segment that is not empty.
    pub pattern: &'static str,
    /// The methods it takes. Where it takes GET it takes HEAD, which is answered alike, without the body.
    pub methods: &'static [Method],
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

/// The table.
pub const ROUTES: &[Route] = &[
    Route { endpoint: Endpoint::Events, pattern: "/v1/events", methods: &[Method::POST] },
    Route { endpoint: Endpoint::Resolve, pattern: "/v1/sessions/resolve", methods: &[Method::POST] },
    Route { endpoint: Endpoint::Tickets, pattern: "/v1/tickets", methods: &[Method::POST] },
    Route { endpoint: Endpoint::Revocations, pattern: "/v1/revocations", methods: &[Method::POST] },
    Route { endpoint: Endpoint::Connections, pattern: "/v1/connections", methods: READ },
    Route { endpoint: Endpoint::Connection, pattern: "/v1/connections/{}", methods: &[Method::DELETE] },
    Route { endpoint: Endpoint::Explain, pattern: "/v1/explain", methods: READ },
    Route { endpoint: Endpoint::Health, pattern: "/health", methods: READ },
    Route { endpoint: Endpoint::Ready, pattern: "/ready", methods: READ },
];

impl Route {
    /// Whether the path is this one; gives the segment that `{}` stands for, or an empty text.
    fn matches<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.pattern.strip_suffix("{}") {
            Some(before) => path.strip_prefix(before).filter(|rest| !rest.is_empty() && !rest.contains('/')),
            None => (self.pattern == path).then_some(""),
        }
    }

    /// The methods as the header `Allow` lists them.
    pub fn allow(&self) -> HeaderValue {
        let names: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// What is at a path, and the segment that `{}` stands for. `None` when nothing is.
pub fn find(path: &str) -> Option<(&'static Route, &str)> {
    ROUTES.iter().find_map(|route| route.matches(path).map(|segment| (route, segment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_03_a_path_is_found_whole_or_not_at_all() {
        let at = |path| find(path).map(|(route, segment)| (route.endpoint, segment));
        assert_eq!(at("/v1/events"), Some((Endpoint::Events, "")));
        assert_eq!(at("/v1/connections"), Some((Endpoint::Connections, "")));
        assert_eq!(at("/v1/connections/c1"), Some((Endpoint::Connection, "c1")));
        assert_eq!(at("/ready"), Some((Endpoint::Ready, "")));
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/events/",
            "/v1/connections/",
            "/v1/connections/a/b",
            "//v1/events",
            "/V1/events",
        ] {
            assert_eq!(at(path), None, "{path}");
        }
    }
}
