//! Every path the gateway answers and the methods it takes there, in one table.
//!
//! The table is asked before anything else looks at a request, so that an unknown path is 404 and a wrong method 405 with `Allow`,
//! whatever the parts behind it would have made of it (HTTP-03).

use http::Method;

/// One path; a segment in braces stands for any one segment, and `{path}` for everything from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    /// How it is written.
    pub(crate) pattern: &'static str,
    methods: &'static [Method],
}

/// Where GET is taken, HEAD is too, but not where the answer never ends.
const READ: &[Method] = &[Method::GET, Method::HEAD];

/// The table.
pub(crate) const PATHS: &[Path] = &[
    Path { pattern: "/", methods: READ },
    Path { pattern: "/assets/{file}", methods: READ },
    Path { pattern: "/health", methods: READ },
    Path { pattern: "/ready", methods: READ },
    Path { pattern: "/metrics", methods: READ },
    Path { pattern: "/v1/ws", methods: &[Method::GET] },
    Path { pattern: "/v1/sse", methods: &[Method::GET] },
    Path { pattern: "/v1/events", methods: &[Method::POST] },
    Path { pattern: "/v1/sessions/resolve", methods: &[Method::POST] },
    Path { pattern: "/v1/tickets", methods: &[Method::POST] },
    Path { pattern: "/v1/revocations", methods: &[Method::POST] },
    Path { pattern: "/v1/commands", methods: &[Method::GET] },
    Path { pattern: "/v1/commands/ack", methods: &[Method::POST] },
    Path { pattern: "/v1/commands/{id}/ack", methods: &[Method::POST] },
    Path { pattern: "/v1/connections", methods: READ },
    Path { pattern: "/v1/connections/{id}", methods: &[Method::DELETE] },
    Path { pattern: "/v1/explain", methods: READ },
    Path { pattern: "/v1/schemas", methods: READ },
    Path { pattern: "/v1/schemas/{path}", methods: READ },
    Path { pattern: "/v1/asyncapi.json", methods: READ },
    Path { pattern: "/v1/openapi.json", methods: READ },
    Path { pattern: "/v1/agents", methods: READ },
    Path { pattern: "/v1/agents/{adw_id}", methods: READ },
    Path { pattern: "/v1/agents/{adw_id}/screenshots/{file}", methods: READ },
];

/// What the table says about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It goes on.
    Path,
    /// The path is there, the method is not; these are.
    Methods(String),
    /// Nothing is there; perhaps this was meant.
    Nothing(Option<&'static str>),
}

/// Looks a request up.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    match PATHS.iter().find(|known| known.matches(path)) {
        Some(known) if known.methods.contains(method) => Found::Path,
        Some(known) => Found::Methods(known.allow()),
        None => Found::Nothing(nearest(path)),
    }
}

impl Path {
    fn matches(&self, path: &str) -> bool {
        if let Some(before) = self.pattern.strip_suffix("{path}") {
            return path.starts_with(before);
        }
        let mut segments = path.split('/');
        let all = self.pattern.split('/').all(|expected| {
            let segment = segments.next();
            if expected.starts_with('{') {
                segment.is_some_and(|segment| !segment.is_empty())
            } else {
                segment == Some(expected)
            }
        });
        all && segments.next().is_none()
    }

    fn allow(&self) -> String {
        let names = self.methods.iter().map(Method::as_str).chain(["OPTIONS"]);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Whether the path is the inspector's.
pub(crate) fn is_inspector(path: &str) -> bool {
    path == "/" || path.starts_with("/assets/")
}

/// The path that was probably meant.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    let path = path.get(..200).unwrap_or(path);
    let fixed = PATHS.iter().map(|known| known.pattern).filter(|pattern| pattern.len() > 1 && !pattern.contains('{'));
    let scored = fixed.map(|pattern| {
        let score = strsim::normalized_damerau_levenshtein(path, pattern);
        // Without the version is the commonest slip.
        let score = if path.len() > 1 && pattern.ends_with(path) { 1.0 } else { score };
        (score, pattern)
    });
    scored.filter(|(score, _)| *score > 0.7).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, pattern)| pattern)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use eventwire_hub::Hub;
    use eventwire_systems::System as _;
    use eventwire_systems::amiga::{Amiga, NoMetrics};

    use super::*;
    use crate::command_backend::BackEnd;
    use crate::config::Settings;
    use crate::systems::{self, Remembered};

    #[test]
    fn a_path_matches_segment_by_segment() {
        for (path, method, expected) in [
            ("/", Method::GET, Found::Path),
            ("/v1/ws", Method::GET, Found::Path),
            ("/v1/agents/29fb6a3e/screenshots/01.png", Method::HEAD, Found::Path),
            ("/v1/connections/c1", Method::DELETE, Found::Path),
            ("/v1/ws", Method::POST, Found::Methods("GET, OPTIONS".to_owned())),
            ("/v1/sse", Method::HEAD, Found::Methods("GET, OPTIONS".to_owned())),
            ("/v1/events", Method::GET, Found::Methods("POST, OPTIONS".to_owned())),
            ("/v1/connections/", Method::GET, Found::Nothing(Some("/v1/connections"))),
            ("/v1/schemas/", Method::GET, Found::Path),
            ("/v1/schemas/events/adw.text_block.schema.json", Method::HEAD, Found::Path),
            ("/v1/schemas/index.json", Method::POST, Found::Methods("GET, HEAD, OPTIONS".to_owned())),
            ("/v1/schema", Method::GET, Found::Nothing(Some("/v1/schemas"))),
            ("/v1/agents/a/b/c", Method::GET, Found::Nothing(None)),
            ("//", Method::GET, Found::Nothing(None)),
            ("/v1/event", Method::POST, Found::Nothing(Some("/v1/events"))),
            ("/events", Method::POST, Found::Nothing(Some("/v1/events"))),
            ("/index.html", Method::GET, Found::Nothing(None)),
        ] {
            assert_eq!(find(&method, path), expected, "{method} {path}");
        }
    }

    /// Every path and method of the tables, of this file and of the systems.
    fn answered() -> BTreeSet<(String, String)> {
        let settings = Settings::default();
        let hub = Hub::new();
        let back_end = BackEnd::of(&settings, &hub).unwrap_or_else(|_| panic!("the defaults are settings"));
        let remembered = Remembered::new(&settings);
        let systems = systems::all(&settings, &hub, None, &back_end.sink(), remembered, None)
            .unwrap_or_else(|_| panic!("the defaults are settings"));
        let amiga =
            Amiga::new(hub, back_end.sink(), Arc::new(NoMetrics), eventwire_systems::amiga::Settings::default());
        let of_systems =
            systems.mounted.iter().map(|mounted| mounted.system.routes()).chain([amiga.routes()]).flatten();
        let own = PATHS.iter().map(|path| (path.pattern, path.methods));
        // Socket.IO has a server of its own, below this path.
        let socketio = ("/socket.io/", &[Method::GET, Method::POST][..]);
        let all = own.chain(of_systems.map(|route| (route.pattern, route.methods))).chain([socketio]);
        all.flat_map(|(pattern, methods)| methods.iter().map(move |method| (method.to_string(), pattern.to_owned())))
            .collect()
    }

    #[tokio::test]
    async fn doc_02_the_document_has_exactly_the_paths_and_methods_that_are_answered() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/v1/openapi.json");
        let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let paths = document.pointer("/paths").and_then(serde_json::Value::as_object).unwrap();
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().keys().map(|method| (method.to_ascii_uppercase(), path.clone()))
            })
            .collect();
        let answered = answered();
        let only = |one: &BTreeSet<(String, String)>, other| one.difference(other).cloned().collect::<Vec<_>>();
        assert_eq!(only(&answered, &described), [], "answered and not described in schemas/src/openapi");
        assert_eq!(only(&described, &answered), [], "described and not answered");
    }

    #[test]
    fn http_03_every_path_of_the_api_is_in_the_table_with_its_methods() {
        let api = eventwire_http::paths::ROUTES.iter().map(|route| (route.pattern, route.methods));
        let feed = eventwire_commands::FEED_ROUTES.iter().map(|route| (route.pattern, route.methods));
        for (pattern, methods) in api.chain(feed) {
            let path = pattern.replace("{}", "x").replace("{id}", "x");
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
                let takes = methods.contains(&method);
                assert_eq!(find(&method, &path) == Found::Path, takes, "{method} {path}");
            }
        }
    }
}
