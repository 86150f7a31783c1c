//! What a gateway says about itself: the schemas it was built with, and its figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Answer, Gateway, Socket, Source, api_key, ask, get, note, post, publish, write_private};
use hyper::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn http_13_the_schemas_are_served_by_every_listener_without_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    write_private(&secret, "a secret of at least thirty-two bytes");
    let gateway = Gateway::speaking(&["adw"], &["--jwt-key-file", secret.to_str().unwrap()]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/v1");
    for address in [gateway.address, gateway.at("adw")] {
        let index = ask(address, Method::GET, "/v1/schemas/", &[], "").await;
        assert_eq!((index.status, index.header("content-type")), (200, Some("application/json")));
        assert_eq!(index.body, std::fs::read(root.join("index.json")).unwrap());
        for event in index.json()["events"].as_array().unwrap().iter().take(3) {
            let name = event["type"].as_str().unwrap();
            let path = format!("/v1/schemas/events/{name}.schema.json");
            let schema = ask(address, Method::GET, &path, &[], "").await;
            assert_eq!(
                (schema.status, schema.header("content-type")),
                (200, Some("application/schema+json")),
                "{name}"
            );
            let tag = schema.header("etag").unwrap();
            let again = ask(address, Method::GET, &path, &[("if-none-match", tag)], "").await;
            assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)));
        }
    }
    let head = ask(gateway.address, Method::HEAD, "/v1/schemas/event.schema.json", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let without_slash = get(&gateway, "/v1/schemas").await;
    assert_eq!((without_slash.status, without_slash.header("location")), (308, Some("/v1/schemas/")));
    for name in ["asyncapi.json", "openapi.json"] {
        let answer = get(&gateway, &format!("/v1/{name}")).await;
        match std::fs::read(root.join(name)) {
            Ok(content) => assert_eq!((answer.status, &answer.body[..]), (200, &content[..])),
            Err(_) => assert_eq!((answer.status, answer.code().as_str()), (404, "not_found")),
        }
    }
    for path in ["/v1/schemas/../../Cargo.toml", "/v1/schemas/%2e%2e/%2e%2e/Cargo.toml", "/v1/schemas/nothing"] {
        let answer = get(&gateway, path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    let wrong = ask(gateway.address, Method::PUT, "/v1/schemas/index.json", &[], "").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
}

/// The samples of a page of Prometheus text; every name has its help and type before it.
fn samples(answer: &Answer) -> BTreeMap<String, f64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut typed = Vec::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed.push(rest.split(' ').next().unwrap().to_owned());
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let bare = name.split('{').next().unwrap();
        assert!(typed.iter().any(|typed| typed == bare), "{line}");
        assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
    }
    samples
}

#[tokio::test]
async fn http_14_the_figures_say_what_happened() {
    let gateway = Gateway::speaking(&["adw"], &[]);
    let before = samples(&get(&gateway, "/metrics").await);
    assert_eq!(before.get("eventwire_connections{dialect=\"canonical\",transport=\"websocket\"}"), None);
    assert_eq!(before["eventwire_frames_delivered_total"], 0.0);

    let (mut socket, _) = Socket::connect(&gateway, "").await;
    socket.subscribe(&["room:tasks"]).await;
    let mut source = Source::open(&gateway, "?room=tasks", None).await;
    for number in 0..5 {
        publish(&gateway, note("room:tasks", number)).await;
    }
    let adw = json!({"type": "adw.text_block", "to": "adw:29fb6a3e", "data": {"adw_id": "29fb6a3e", "content": "x"}});
    publish(&gateway, adw).await;
    let refused = json!([{"type": "adw.nothing", "to": "global", "data": {}}, {"type": "_a.b", "data": {}}, {"type": "_a.b", "data": {}}]);
    assert_eq!(post(&gateway, "/v1/events", "application/json", refused.to_string()).await.status, 422);
    for number in 0..5 {
        assert_eq!(socket.event().await["data"]["number"], number);
        while source.next().await.unwrap()["data"]["number"] != number {}
    }
    let after = samples(&get(&gateway, "/metrics").await);
    for (name, expected) in [
        ("eventwire_connections{dialect=\"canonical\",transport=\"websocket\"}", 1.0),
        ("eventwire_connections{dialect=\"canonical\",transport=\"sse\"}", 1.0),
        ("eventwire_connections_opened_total{dialect=\"canonical\",transport=\"websocket\"}", 1.0),
        ("eventwire_events_published_total{family=\"_\"}", 5.0),
        ("eventwire_events_published_total{family=\"adw\"}", 1.0),
        ("eventwire_publications_refused_total{code=\"missing_target\"}", 2.0),
        ("eventwire_publications_refused_total{code=\"unknown_type\"}", 1.0),
        // Welcome, subscribed and five notes, twice.
        ("eventwire_frames_delivered_total", 14.0),
        ("eventwire_mailbox_frames", 0.0),
        ("eventwire_gaps_total", 0.0),
        ("eventwire_commands_pending", 0.0),
        ("eventwire_history_bound_bytes{part=\"log\"}", 268_435_456.0),
        ("eventwire_history_entries{part=\"idempotency\"}", 0.0),
        ("eventwire_history_evictions_total{part=\"latest\"}", 0.0),
        ("eventwire_history_evictions_total{part=\"checkpoints\"}", 0.0),
        ("eventwire_draining", 0.0),
    ] {
        assert_eq!(after.get(name), Some(&expected), "{name}: {after:#?}");
    }
    assert!(after["eventwire_history_bytes{part=\"log\"}"] > 1_000.0);
    if cfg!(target_os = "linux") {
        assert!(after["process_resident_memory_bytes"] > 0.0);
    }
    // What gone connections did stays counted.
    let list = get(&gateway, "/v1/connections").await.json();
    for connection in list["connections"].as_array().unwrap() {
        let path = format!("/v1/connections/{}", connection["connection_id"].as_str().unwrap());
        assert_eq!(ask(gateway.address, Method::DELETE, &path, &[], "").await.status, 204);
    }
    while source.next().await.is_some() {}
    while socket.next().await.is_some_and(|message| !message.is_close()) {}
    while get(&gateway, "/health").await.json()["active_connections"] != 0 {}
    let end = samples(&get(&gateway, "/metrics").await);
    assert_eq!(end["eventwire_connections_closed_total{code=\"1008\"}"], 2.0);
    assert!(end["eventwire_frames_delivered_total"] >= 14.0);
    assert_eq!(end.get("eventwire_connections{dialect=\"canonical\",transport=\"sse\"}"), None);
}

#[tokio::test]
async fn http_14_figures_are_for_those_who_may_observe() {
    let entry = |name: &str, permission: &str| api_key(&["--name", name, "--permission", permission]);
    let (prometheus, publisher) = (entry("prometheus", "observe"), entry("publisher", "publish"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    let keys = json!({"key": [prometheus["entry"], publisher["entry"]]});
    write_private(&file, &toml::to_string(&keys).unwrap());
    let gateway = Gateway::start(&["--api-keys-file", file.to_str().unwrap()]);
    let bearer = |made: &Value| format!("Bearer {}", made["key"].as_str().unwrap());
    assert_eq!(get(&gateway, "/metrics").await.code(), "unauthorized");
    let headers = [("authorization", &*bearer(&publisher))];
    assert_eq!(ask(gateway.address, Method::GET, "/metrics", &headers, "").await.code(), "forbidden");
    let headers = [("authorization", &*bearer(&prometheus))];
    samples(&ask(gateway.address, Method::GET, "/metrics", &headers, "").await);
}
