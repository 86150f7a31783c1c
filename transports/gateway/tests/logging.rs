//! What the log of a gateway shows at the level `debug`: every refusal with its code (docs/guides/operate.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use common::{Gateway, Socket, api_key, ask, write_private};
use hyper::Method;
use serde_json::json;

#[tokio::test]
async fn each_refusal_is_one_line_at_debug_with_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.toml");
    let made = api_key(&["--name", "reader", "--permission", "publish", "--room", "tasks"]);
    write_private(&keys, &toml::to_string(&json!({"version": 2, "key": [made["entry"]]})).unwrap());
    let key = made["key"].as_str().unwrap();
    let gateway = Gateway::start(&["--log", "debug", "--api-keys-file", keys.to_str().unwrap()]);

    let bearer = format!("Bearer {key}");
    let with_key = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let address = gateway.address;
    let to = |room: &str| json!({"type": "_test.note", "to": room, "data": {}}).to_string();
    for (status, method, path, headers, body) in [
        (401, Method::GET, "/v1/connections", &[][..], String::new()),
        (403, Method::GET, "/health", &[("origin", "http://evil.example")][..], String::new()),
        (403, Method::GET, "/v1/connections", &with_key, String::new()),
        (404, Method::GET, "/v1/nothing", &with_key, String::new()),
        (405, Method::DELETE, "/v1/events", &with_key, String::new()),
        (
            415,
            Method::POST,
            "/v1/events",
            &[("authorization", bearer.as_str()), ("content-type", "text/plain")],
            to("room:tasks"),
        ),
        (422, Method::POST, "/v1/events", &with_key, to("room:others")),
        (422, Method::POST, "/v1/events", &with_key, to("nowhere")),
        (401, Method::GET, "/v1/sse?to=room:tasks", &[], String::new()),
    ] {
        let answer = ask(address, method, path, headers, body).await;
        assert_eq!(answer.status, status, "{path}");
    }
    let mut socket = Socket::open_with(&gateway, "", &[("authorization", &bearer)]).await.unwrap();
    socket.event().await;
    socket.command("subscribe", json!({"streams": [{"to": "room:others"}]})).await;
    socket.command("publish", json!({})).await;
    assert!(Socket::open(&gateway, "").await.is_err());

    let log = gateway.ended_by("TERM").stderr;
    for (what, code, place) in [
        ("a request was refused", "unauthorized", "/v1/connections"),
        ("refused before routing", "origin_not_allowed", "evil.example"),
        ("a request was refused", "origin_not_allowed", "/health"),
        ("a request was refused", "forbidden", "/v1/connections"),
        ("a request was refused", "not_found", "/v1/nothing"),
        ("a request was refused", "method_not_allowed", "/v1/events"),
        ("a request was refused", "unsupported_media_type", "/v1/events"),
        ("an event was refused", "forbidden", "room:others"),
        ("an event was refused", "invalid_id", "an audience must be"),
        ("a request was refused", "unauthorized", "/v1/sse"),
        ("a request was refused", "unauthorized", "/v1/ws"),
        ("a subscription was refused", "forbidden", "room:others"),
        ("a command was refused", "unknown_command", "publish"),
    ] {
        let found = log.lines().any(|line| line.contains(what) && line.contains(code) && line.contains(place));
        assert!(found, "no line with {what}, {code} and {place} in\n{log}");
    }
    assert!(!log.contains(key), "a secret is in the log");
}
