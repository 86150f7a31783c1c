//! The real binary, driven as users' programs drive it: what is wrong is told to whoever sent it, nobody else notices, and the
//! process stays up and stops cleanly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use bytes::Bytes;
use common::{
    Answer, Gateway, PATIENCE, Socket, Source, api_key, eventwire, finish, get, note, post, publish, raw, request, run,
    send, soon, write_private,
};
use http_body_util::Full;
use hyper::{Method, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// A connection that must notice nothing of what others do wrong.
struct Witness {
    socket: Socket,
    fences: u64,
}

impl Witness {
    async fn new(gateway: &Gateway) -> Self {
        let (mut socket, _) = Socket::connect(gateway, "").await;
        socket.subscribe(&["*"]).await;
        Self { socket, fences: 0 }
    }

    /// Publishes an event and reads up to it: nothing else may have come, and the process is there.
    async fn saw_nothing(&mut self, gateway: &mut Gateway, after: &str) {
        self.fences += 1;
        publish(gateway, note("room:fence", self.fences)).await;
        let event = self.socket.event().await;
        assert_eq!(event["to"], "room:fence", "after {after}: {event}");
        assert_eq!(event["data"]["number"], self.fences, "after {after}: {event}");
        assert!(gateway.is_up(), "after {after}");
    }
}

fn text_block(to: &str, adw_id: &str) -> Value {
    json!({"type": "adw.text_block", "to": to, "data": {"adw_id": adw_id, "content": "x"}})
}

#[tokio::test]
async fn http_02_every_malformed_publication_is_told_and_nobody_else_notices() {
    let mut gateway = Gateway::start(&[]);
    let mut witness = Witness::new(&gateway).await;
    let json_type = "application/json";
    let good = text_block("adw:29fb6a3e", "29fb6a3e").to_string();
    let deep =
        format!("{{\"type\":\"_a.b\",\"to\":\"global\",\"data\":{{\"a\":{}1{}}}}}", "[".repeat(100), "]".repeat(100));
    let deeper = "[".repeat(100_000);
    let large = json!({"type": "_a.b", "to": "global", "data": {"a": "x".repeat(1_100_000)}}).to_string();
    let many = format!("[{}]", vec![good.as_str(); 1_001].join(","));

    // Bodies that cannot be read as a whole.
    let unreadable: &[(&str, &str, &[u8], u16, &str)] = &[
        ("half a frame", json_type, b"{\"type\":", 400, "malformed_frame"),
        ("an empty body", json_type, b"", 400, "malformed_frame"),
        ("a bare number", json_type, b"17", 400, "malformed_frame"),
        (
            "bad UTF-8",
            json_type,
            b"{\"type\":\"_a.b\",\"to\":\"global\",\"data\":{\"a\":\"\xff\"}}",
            400,
            "invalid_utf8",
        ),
        ("deeper than any limit", json_type, deeper.as_bytes(), 400, "too_deep"),
        ("too many items", json_type, many.as_bytes(), 413, "too_many_items"),
        ("a foreign content type", "text/plain", good.as_bytes(), 415, "unsupported_media_type"),
        ("a form", "application/x-www-form-urlencoded", b"a=b", 415, "unsupported_media_type"),
    ];
    for (what, content_type, body, status, code) in unreadable {
        let answer = post(&gateway, "/v1/events", content_type, body.to_vec()).await;
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{what}: {answer:?}");
        witness.saw_nothing(&mut gateway, what).await;
    }

    // Events that are refused one by one.
    let refused: &[(&str, String, &str)] = &[
        (
            "an unknown type",
            json!({"type": "adw.nothing", "to": "adw:29fb6a3e", "data": {}}).to_string(),
            "unknown_type",
        ),
        ("a bad ADW id", text_block("adw:../etc", "29fb6a3e").to_string(), "invalid_id"),
        ("a long ADW id", text_block("adw:29fb6a3e9", "29fb6a3e9").to_string(), "invalid_id"),
        ("a missing target", json!({"type": "_a.b", "data": {}}).to_string(), "missing_target"),
        ("a wrong audience", text_block("global", "29fb6a3e").to_string(), "audience_not_allowed"),
        ("another subject", text_block("adw:29fb6a3e", "29fb6a3f").to_string(), "subject_mismatch"),
        (
            "a wrong payload",
            json!({"type": "adw.text_block", "to": "adw:29fb6a3e", "data": {"adw_id": "29fb6a3e"}}).to_string(),
            "invalid_payload",
        ),
        (
            "a payload that is no object",
            json!({"type": "_a.b", "to": "global", "data": 1}).to_string(),
            "invalid_payload",
        ),
        (
            "a connection event",
            json!({"type": "connection.closing", "to": "global", "data": {"reason": "x"}}).to_string(),
            "audience_not_allowed",
        ),
        (
            "an unknown member",
            json!({"type": "_a.b", "to": "global", "data": {}, "too": 1}).to_string(),
            "malformed_frame",
        ),
        ("an oversize event", large, "too_large"),
        ("deep nesting", deep, "too_deep"),
        (
            "a duplicate key",
            "{\"type\":\"_a.b\",\"to\":\"global\",\"to\":\"room:x\",\"data\":{}}".to_owned(),
            "duplicate_key",
        ),
    ];
    for (what, body, code) in refused {
        let answer = post(&gateway, "/v1/events", json_type, body.clone()).await;
        let json = answer.json();
        // Whatever makes the whole body unreadable refuses the request, the rest refuses the item.
        let error =
            json.pointer("/results/0/error").or(json.pointer("/error")).unwrap_or_else(|| panic!("{what}: {json}"));
        assert_eq!(error["code"], *code, "{what}: {json}");
        assert!([400, 413, 422].contains(&answer.status), "{what}: {answer:?}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{what}: {json}");
        witness.saw_nothing(&mut gateway, what).await;
    }
}

#[tokio::test]
async fn http_03_unknown_paths_and_wrong_methods_are_told() {
    let mut gateway = Gateway::start(&[]);
    let mut witness = Witness::new(&gateway).await;
    for (method, path, status, code, allow) in [
        (Method::GET, "/nowhere", 404, "not_found", None),
        (Method::POST, "/v1/event", 404, "not_found", None),
        (Method::GET, "/v1/../etc/passwd", 404, "not_found", None),
        (Method::GET, "/v1/events", 405, "method_not_allowed", Some("POST, OPTIONS")),
        (Method::POST, "/v1/ws", 405, "method_not_allowed", Some("GET, OPTIONS")),
        (Method::PUT, "/", 405, "method_not_allowed", Some("GET, HEAD, OPTIONS")),
        (Method::DELETE, "/health", 405, "method_not_allowed", Some("GET, HEAD, OPTIONS")),
        (Method::GET, "/v1/ws", 426, "upgrade_required", None),
        (Method::GET, "/v1/sse?nonsense=1", 400, "invalid_payload", None),
        (Method::DELETE, "/v1/connections/c0000000000000000", 404, "not_found", None),
        (Method::DELETE, "/v1/connections/nonsense", 404, "not_found", None),
        (Method::GET, "/v1/agents/29fb6a3e", 404, "not_found", None),
        (Method::GET, "/v1/agents/..%2f..%2fx", 404, "not_found", None),
    ] {
        let asked = request(method.clone(), path, &gateway).body(Full::default()).unwrap();
        let answer = send(&gateway, asked).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}: {answer:?}");
        if let Some(allow) = allow {
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        }
        witness.saw_nothing(&mut gateway, path).await;
    }
    let told = post(&gateway, "/v1/event", "application/json", "{}").await.json().to_string();
    assert!(told.contains("did you mean /v1/events?"), "{told}");
}

#[tokio::test]
async fn auth_02_and_03_a_foreign_host_or_origin_is_refused_on_every_path_and_method() {
    let mut gateway =
        Gateway::start(&["--allowed-hosts", "events.example", "--allowed-origins", "https://app.example"]);
    let mut witness = Witness::new(&gateway).await;
    let paths = ["/", "/health", "/v1/events", "/v1/sse", "/v1/ws", "/v1/connections", "/nowhere", "/assets/theme.js"];
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS, Method::PUT] {
        for path in paths {
            let with = |name: header::HeaderName, value: &str| {
                let mut asked = request(method.clone(), path, &gateway).body(Full::<Bytes>::default()).unwrap();
                asked.headers_mut().insert(name, value.parse().unwrap());
                asked
            };
            for host in ["evil.example", "localhost.evil.example", "evil.example:4800", ""] {
                let answer = send(&gateway, with(header::HOST, host)).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (403, "host_not_allowed"),
                    "{method} {path} {host}"
                );
            }
            for origin in ["null", "https://evil.example", "http://app.example", "https://app.example.evil"] {
                let answer = send(&gateway, with(header::ORIGIN, origin)).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (403, "origin_not_allowed"),
                    "{method} {path} {origin}"
                );
                assert!(answer.json().to_string().contains("allowed_origins"), "the message names the setting");
                assert_eq!(answer.header("access-control-allow-origin"), None);
            }
        }
    }
    witness.saw_nothing(&mut gateway, "foreign hosts and origins").await;

    for (name, value) in [
        (header::HOST, "events.example"),
        (header::HOST, "localhost:1"),
        (header::ORIGIN, "https://app.example"),
        (header::ORIGIN, "http://localhost:5173"),
    ] {
        let mut asked = request(Method::GET, "/health", &gateway).body(Full::<Bytes>::default()).unwrap();
        asked.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(send(&gateway, asked).await.status, 200, "{value}");
    }
    // The same for the handshake of a WebSocket, which no same-origin rule protects.
    for (name, value, allowed) in [
        ("origin", "https://evil.example", false),
        ("origin", "null", false),
        ("host", "evil.example", false),
        ("origin", "https://app.example", true),
    ] {
        let opened = Socket::open_with(&gateway, "", &[(name, value)]).await;
        assert_eq!(opened.is_ok(), allowed, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_read_and_publish() {
    let gateway = Gateway::start(&[]);
    let origin = "http://localhost:5173";
    let ask = request(Method::OPTIONS, "/v1/events", &gateway)
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type");
    let allowed = send(&gateway, ask.body(Full::default()).unwrap()).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("content-type"));

    let published = request(Method::POST, "/v1/events", &gateway)
        .header(header::ORIGIN, origin)
        .header(header::CONTENT_TYPE, "application/json");
    let published = send(&gateway, published.body(Full::from(note("room:a", 1).to_string())).unwrap()).await;
    assert_eq!((published.status, published.header("access-control-allow-origin")), (202, Some(origin)));
    // An origin on this machine may send the cookie of an event stream (AUTH-14).
    assert_eq!(published.header("access-control-allow-credentials"), Some("true"));
}

#[tokio::test]
async fn what_is_not_a_request_is_told_and_nobody_else_notices() {
    let mut gateway = Gateway::start(&[]);
    let mut witness = Witness::new(&gateway).await;
    let host = gateway.address;
    let long = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let cases: &[(&str, Vec<u8>, &str, &str)] = &[
        ("half a request", b"GET / HTTP/1.1\r\nHost: ".to_vec(), "400", "malformed_frame"),
        ("half a request line", b"GET /hea".to_vec(), "400", "malformed_frame"),
        ("noise", vec![0xff; 300], "400", "malformed_frame"),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "400", "malformed_frame"),
        ("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "400", "malformed_frame"),
        ("endless headers", long.into_bytes(), "431", "too_large"),
        ("no host", b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(), "403", "host_not_allowed"),
        (
            "two hosts",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_vec(),
            "403",
            "host_not_allowed",
        ),
        (
            "a foreign absolute target",
            b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
            "403",
            "host_not_allowed",
        ),
    ];
    for (what, bytes, status, code) in cases {
        let answer = raw(&gateway, bytes, what.starts_with("half")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{what}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("content-type: application/json"), "{what}: {answer}");
        witness.saw_nothing(&mut gateway, what).await;
    }
    // Half a body: whoever still listens is told, and the event is not published.
    let half = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"type\""
    );
    let answer = raw(&gateway, half.as_bytes(), true).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    witness.saw_nothing(&mut gateway, "half a body").await;
    // Somebody who says nothing and leaves.
    drop(TcpStream::connect(gateway.address).await.unwrap());
    witness.saw_nothing(&mut gateway, "nothing at all").await;
}

#[tokio::test]
async fn http_09_headers_that_come_too_slowly_are_told_after_the_deadline_while_others_are_served() {
    let mut gateway = Gateway::start(&[]);
    let mut witness = Witness::new(&gateway).await;
    let mut slow = TcpStream::connect(gateway.address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.unwrap();
    let mut answer = String::new();
    let (mut reading, mut writing) = slow.split();
    let dripping = async {
        // One byte at a time, for ever: only the deadline ends it.
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = dripping => {}
        read = soon("an answer", reading.read_to_string(&mut answer)) => { let _ = read; }
    }
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"timeout\""), "{answer}");
    witness.saw_nothing(&mut gateway, "slow headers").await;
}

#[tokio::test]
async fn cmd_03_every_malformed_frame_is_told_to_its_sender_only() {
    let mut gateway = Gateway::start(&[]);
    let mut witness = Witness::new(&gateway).await;
    let frames: &[(&str, String, &str)] = &[
        ("half a frame", "{\"type\":".to_owned(), "malformed_frame"),
        ("no object", "17".to_owned(), "malformed_frame"),
        ("an empty frame", String::new(), "malformed_frame"),
        ("an unknown command", "{\"type\":\"dance\",\"data\":{}}".to_owned(), "unknown_command"),
        ("a wrong payload", "{\"type\":\"subscribe\",\"data\":{\"streams\":7}}".to_owned(), "invalid_payload"),
        ("a duplicate key", "{\"type\":\"ping\",\"type\":\"ping\",\"data\":{}}".to_owned(), "duplicate_key"),
        (
            "deep nesting",
            format!("{{\"type\":\"ping\",\"data\":{{\"client_time\":{}1{}}}}}", "[".repeat(90), "]".repeat(90)),
            "too_deep",
        ),
        ("an event", text_block("adw:29fb6a3e", "29fb6a3e").to_string(), "malformed_frame"),
    ];
    for (what, frame, code) in frames {
        let (mut sender, _) = Socket::connect(&gateway, "").await;
        sender.send_text(frame.clone()).await;
        let error = sender.event().await;
        assert_eq!(
            (&error["type"], &error["data"]["code"]),
            (&json!("connection.error"), &json!(code)),
            "{what}: {error}"
        );
        // The connection stays open and works.
        let (pong, before) = sender.command("ping", json!({"client_time": 7})).await;
        assert_eq!(
            (&pong["type"], &pong["data"]["client_time"]),
            (&json!("connection.pong"), &json!(7)),
            "{what}: {pong}"
        );
        assert_eq!(before, Vec::<Value>::new(), "{what}");
        witness.saw_nothing(&mut gateway, what).await;
    }

    let (mut sender, _) = Socket::connect(&gateway, "").await;
    sender.send(Message::binary(vec![1, 2, 3])).await;
    let error = sender.event().await;
    assert_eq!(error["type"], "connection.error", "a binary frame: {error}");
    witness.saw_nothing(&mut gateway, "a binary frame").await;

    let (mut sender, _) = Socket::connect(&gateway, "").await;
    let (error, _) = sender.command("subscribe", json!({"streams": [{"to": "adw:no"}, {"to": "room:fine"}]})).await;
    assert_eq!(error["data"]["streams"][0]["to"], "room:fine", "{error}");
    assert_eq!(error["data"]["refused"][0]["code"], "invalid_id", "{error}");
    witness.saw_nothing(&mut gateway, "a bad target").await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_or_not_utf_8_ends_at_most_its_own_connection() {
    let mut gateway = Gateway::start(&[]);
    let mut witness = Witness::new(&gateway).await;
    for (what, message) in [
        (
            "an oversize frame",
            Message::text(format!("{{\"type\":\"ping\",\"data\":{{\"client_time\":\"{}\"}}}}", "x".repeat(70_000))),
        ),
        ("a huge frame", Message::text("x".repeat(3_000_000))),
    ] {
        let (mut sender, _) = Socket::connect(&gateway, "").await;
        sender.send(message).await;
        match sender.next().await {
            Some(Message::Text(text)) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["data"]["code"], "too_large", "{what}: {event}");
            }
            Some(Message::Close(frame)) => {
                assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1009), "{what}");
            }
            other => panic!("{what}: the connection ended without a word: {other:?}"),
        }
        witness.saw_nothing(&mut gateway, what).await;
    }
    // Bytes on the wire that no client library would send: a text frame that is not UTF-8, and a reserved opcode.
    for (what, frame) in [
        ("bad UTF-8", [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]),
        ("a reserved opcode", [0x83, 0x82, 0, 0, 0, 0, 0x41, 0x41]),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let handshake = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            gateway.address
        );
        stream.write_all(handshake.as_bytes()).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        let mut answer = Vec::new();
        // Either an error event on a connection that stays open, or a close that says so.
        soon(what, async {
            let mut bytes = [0; 4096];
            loop {
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                answer.extend_from_slice(&bytes[..read]);
                let text = String::from_utf8_lossy(&answer);
                let closed =
                    [1002_u16, 1007, 4000].iter().any(|code| answer.windows(2).any(|pair| pair == code.to_be_bytes()));
                if text.contains("connection.error") || closed {
                    break;
                }
                assert!(read > 0, "{what}: ended without a word: {text}");
            }
        })
        .await;
        witness.saw_nothing(&mut gateway, what).await;
    }
}

#[tokio::test]
async fn route_01_two_browsers_see_their_own_run_and_nothing_of_the_other() {
    let gateway = Gateway::start(&[]);
    let (mut one, welcome_one) = Socket::connect(&gateway, "?adw=aaaaaaaa").await;
    let (mut two, welcome_two) = Socket::connect(&gateway, "?adw=bbbbbbbb").await;
    let mut source = Source::open(&gateway, "?adw=bbbbbbbb", None).await;
    assert_ne!(welcome_one["data"]["connection_id"], welcome_two["data"]["connection_id"]);
    assert_eq!(one.event().await["type"], "connection.subscribed");
    assert_eq!(two.event().await["type"], "connection.subscribed");
    assert_eq!(source.next().await.unwrap()["type"], "connection.welcome");
    assert_eq!(source.next().await.unwrap()["type"], "connection.subscribed");

    for number in 0..5 {
        publish(&gateway, note("adw:aaaaaaaa", number)).await;
    }
    publish(&gateway, note("adw:bbbbbbbb", 100)).await;
    for number in 0..5 {
        let event = one.event().await;
        assert_eq!((&event["to"], &event["data"]["number"]), (&json!("adw:aaaaaaaa"), &json!(number)), "{event}");
    }
    for event in [two.event().await, source.next().await.unwrap()] {
        assert_eq!((&event["to"], &event["data"]["number"]), (&json!("adw:bbbbbbbb"), &json!(100)), "{event}");
    }
}

#[tokio::test]
async fn the_page_and_its_files_are_served_with_headers_that_bind_it() {
    let gateway = Gateway::start(&[]);
    let page = get(&gateway, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for script in text.match_indices("src=\"").map(|(at, found)| text[at + found.len()..].split('"').next().unwrap()) {
        let answer = get(&gateway, &format!("/{script}")).await;
        assert_eq!(answer.status, 200, "{script}");
    }
    for (name, part) in [
        ("content-security-policy", "frame-ancestors 'none'"),
        ("content-security-policy", "script-src 'self'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert!(page.header(name).is_some_and(|value| value.contains(part)), "{name}");
    }
    let head = send(&gateway, request(Method::HEAD, "/", &gateway).body(Full::default()).unwrap()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn health_and_readiness_answer() {
    let gateway = Gateway::start(&[]);
    let health = get(&gateway, "/health").await.json();
    assert_eq!(
        (&health["status"], &health["service"], &health["websocket_support"]),
        (&json!("healthy"), &json!("eventwire"), &json!(true))
    );
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    for number in ["uptime_seconds", "active_connections"] {
        assert!(health[number].is_number(), "{health}");
    }
    assert_eq!(get(&gateway, "/ready").await.json(), json!({"status": "ready"}));
}

#[tokio::test]
async fn flow_08_sigint_and_sigterm_stop_cleanly_and_tell_everyone() {
    for name in ["INT", "TERM"] {
        let gateway = Gateway::start(&[]);
        let (mut socket, _) = Socket::connect(&gateway, "").await;
        let mut source = Source::open(&gateway, "?room=a", None).await;
        gateway.signal(name);
        let closing = socket.events_until(|event| event["type"] == "connection.closing").await.pop().unwrap();
        assert!(closing["data"]["reconnect_after_ms"].is_number(), "{closing}");
        assert_eq!(socket.close_code().await, Some(1012));
        let mut last = None;
        while let Some(sent) = source.next().await {
            last = Some(sent);
        }
        assert_eq!(last.unwrap()["type"], "connection.closing");
        let ended = gateway.ended();
        assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
        assert!(!ended.stderr.contains("panic"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let gateway = Gateway::start_as(&["serve", "--listen", "0", "--no-sample", "--drain-seconds", "3600"]);
    // A client that never answers the close keeps the drain waiting.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let handshake = format!("GET /v1/sse?room=a HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address);
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut bytes = [0; 1024];
    assert!(soon("a stream", stream.read(&mut bytes)).await.unwrap() > 0);
    gateway.signal("TERM");
    gateway.signal("TERM");
    let started = std::time::Instant::now();
    let ended = gateway.ended();
    assert!(started.elapsed() < PATIENCE && ended.code.is_some(), "{ended:?}");
}

#[test]
fn auth_05_an_address_that_others_reach_needs_keys_or_a_word() {
    for address in ["0.0.0.0:0", "[::]:0", "0.0.0.0:4801"] {
        let ended = run(&["serve", "--listen", address, "--no-sample"], "");
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains("api_keys_file") && ended.stderr.contains("--insecure"), "{ended:?}");
    }
}

#[test]
fn a_busy_port_and_too_few_files_are_told_in_one_line() {
    let gateway = Gateway::start(&[]);
    let ended = run(&["serve", "--no-sample", "--listen", &gateway.address.to_string()], "");
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr.contains("another program listens there"), "{ended:?}");

    let limited = |files: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh", files, env!("CARGO_BIN_EXE_eventwire")]);
        command
    };
    let mut command = limited("40");
    let ended = finish(command.args(["serve", "--listen", "0", "--no-sample"]), "");
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr.contains("may open 40 files") && ended.stderr.contains("ulimit"), "{ended:?}");
    // A few more are enough to start, with a warning; the busy port ends this one.
    let mut command = limited("500");
    let ended = finish(command.args(["serve", "--no-sample", "--listen", &gateway.address.to_string()]), "");
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 2), "{ended:?}");
    assert!(ended.stderr.contains("WARN") && ended.stderr.contains("open_files=500"), "{ended:?}");
}

#[tokio::test]
async fn connections_beyond_the_cap_are_told_and_the_place_of_one_that_leaves_is_free_again() {
    let gateway = Gateway::start(&["--max-connections", "2"]);
    let (one, _) = Socket::connect(&gateway, "").await;
    let (_two, _) = Socket::connect(&gateway, "").await;
    let refused = get(&gateway, "/health").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"));
    drop(one);
    let answered = soon("a free place", async {
        loop {
            let answer = get(&gateway, "/health").await;
            if answer.status == 200 {
                return answer;
            }
        }
    });
    assert_eq!(answered.await.json()["status"], "healthy");
}

#[test]
fn the_port_file_holds_the_address() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("port");
    let gateway = Gateway::start(&["--port-file", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), format!("{}\n", gateway.address));
}

#[test]
fn configuration_mistakes_end_in_one_line_with_code_2() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("eventwire.toml"), "lissten = 1").unwrap();
    let in_file = finish(eventwire(&["serve"]).current_dir(directory.path()), "");
    let in_environment = finish(eventwire(&["serve"]).env("EVENTWIRE_LISSTEN", "1"), "");
    let in_flag = run(&["serve", "--lissten", "1"], "");
    let keys = run(&["serve", "--api-keys-file", "/nowhere"], "");
    for (ended, expected) in [
        (in_file, "listen"),
        (in_environment, "EVENTWIRE_LISTEN"),
        (in_flag, "--listen"),
        (keys, "api_keys_file /nowhere"),
    ] {
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(2), 1), "{ended:?}");
        assert!(ended.stderr.starts_with("eventwire: ") && ended.stderr.contains(expected), "{ended:?}");
    }
}

#[tokio::test]
async fn auth_01_a_key_opens_what_its_entry_grants_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let key = |arguments: &[&str]| {
        let made = api_key(arguments);
        let entry = toml::to_string(&json!({"key": [made["entry"]]})).unwrap();
        (made["key"].as_str().unwrap().to_owned(), entry)
    };
    let (publisher, one) = key(&[
        "--name",
        "publisher",
        "--permission",
        "publish",
        "--adw",
        "aaaaaaaa",
        "--room",
        "fence",
        "--session",
        "none",
    ]);
    let (reader, two) = key(&["--name", "reader", "--permission", "observe", "--adw", "aaaaaaaa"]);
    let file = directory.path().join("keys.toml");
    write_private(&file, &format!("{one}\n{two}"));
    let gateway = Gateway::start(&["--api-keys-file", file.to_str().unwrap()]);
    assert!(gateway.start_block.contains("2 API keys"), "{}", gateway.start_block);

    let with_key = |method: Method, path: &str, token: &str| {
        request(method, path, &gateway)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
    };
    let publishing = |token: &str, event: Value| {
        with_key(Method::POST, "/v1/events", token).body(Full::<Bytes>::from(event.to_string())).unwrap()
    };
    let code = |answer: &Answer| {
        let json = answer.json();
        json.pointer("/error/code").or(json.pointer("/results/0/error/code")).and_then(Value::as_str).map(str::to_owned)
    };

    let open = post(&gateway, "/v1/events", "application/json", note("adw:aaaaaaaa", 1).to_string()).await;
    assert_eq!((open.status, open.code().as_str()), (401, "unauthorized"));
    let wrong = send(&gateway, publishing("ew_wrong", note("adw:aaaaaaaa", 1))).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "unauthorized"));
    let granted = send(&gateway, publishing(&publisher, note("adw:aaaaaaaa", 1))).await;
    assert_eq!(granted.status, 202, "{granted:?}");
    for to in ["adw:bbbbbbbb", "room:other"] {
        let refused = send(&gateway, publishing(&publisher, note(to, 1))).await;
        assert_eq!(code(&refused).as_deref(), Some("forbidden"), "{to}: {refused:?}");
    }
    let refused = send(&gateway, publishing(&reader, note("adw:aaaaaaaa", 1))).await;
    assert_eq!(code(&refused).as_deref(), Some("forbidden"), "{refused:?}");
    let refused =
        send(&gateway, with_key(Method::GET, "/v1/connections", &reader).body(Full::default()).unwrap()).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
    assert_eq!(get(&gateway, "/health").await.status, 200, "health needs no key");

    assert!(Socket::open(&gateway, "").await.is_err());
    let bearer = format!("Bearer {reader}");
    let mut socket = Socket::open_with(&gateway, "", &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(socket.event().await["data"]["permissions"], json!(["observe"]));
    // A browser cannot set headers; it offers the key as a subprotocol.
    let offered = format!("eventwire.v1, eventwire.token.{}", base64url(reader.as_bytes()));
    let mut socket = Socket::open_with(&gateway, "", &[("sec-websocket-protocol", &offered)]).await.unwrap();
    assert_eq!(socket.event().await["data"]["permissions"], json!(["observe"]));
    let ended = gateway.ended_by("TERM");
    for secret in [&publisher, &reader] {
        assert!(!ended.stderr.contains(secret.as_str()), "a key stands in the log");
    }
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

#[tokio::test]
async fn cmd_07_what_comes_without_asking_is_live_at_once_and_comes_again_in_its_replay() {
    let gateway = Gateway::start(&[]);
    publish(&gateway, note("global", 1)).await;
    let (mut socket, _) = Socket::connect(&gateway, "").await;
    publish(&gateway, note("global", 2)).await;
    assert_eq!(socket.event().await["data"]["number"], 2, "live before anything was asked for");
    let (answer, before) = socket.command("subscribe", json!({"streams": [{"to": "global", "since": 0}]})).await;
    assert_eq!((answer["type"].as_str(), before), (Some("connection.subscribed"), vec![]));
    let replay = socket.events_until(|event| event["type"] == "connection.recovered").await;
    let numbers = replay.iter().filter_map(|event| event["data"]["number"].as_u64()).collect::<Vec<_>>();
    assert_eq!(numbers, [1, 2], "{replay:?}");
}

#[tokio::test]
async fn route_01_every_kind_of_audience_reaches_those_it_names_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let key = |arguments: &[&str]| {
        let made = api_key(arguments);
        (made["key"].as_str().unwrap().to_owned(), toml::to_string(&json!({"key": [made["entry"]]})).unwrap())
    };
    let (ada, one) = key(&["--name", "ada", "--user", "ada", "--permission", "publish"]);
    let (bob, two) = key(&["--name", "bob", "--user", "bob", "--permission", "publish"]);
    let (inspector, three) = key(&["--name", "inspector", "--permission", "observe"]);
    let file = directory.path().join("keys.toml");
    write_private(&file, &[one, two, three].join("\n"));
    let gateway = Gateway::start(&["--api-keys-file", file.to_str().unwrap()]);

    // Who is there, as whom, and what they asked for.
    let people = [
        ("nothing", &bob, &[][..]),
        ("run", &bob, &["adw:aaaaaaaa"]),
        ("other run", &bob, &["adw:bbbbbbbb"]),
        ("room", &bob, &["room:tasks"]),
        ("context", &bob, &["session:chat"]),
        ("ada", &ada, &[]),
        ("ada again", &ada, &["room:tasks"]),
        ("observer", &inspector, &["*"]),
    ];
    let mut sockets = Vec::new();
    for (name, token, targets) in people {
        let mut socket =
            Socket::open_with(&gateway, "", &[("authorization", &format!("Bearer {token}"))]).await.unwrap();
        let welcome = socket.event().await;
        if !targets.is_empty() {
            socket.subscribe(targets).await;
        }
        sockets.push((name, socket, format!("connection:{}", welcome["data"]["connection_id"].as_str().unwrap())));
    }
    let direct = sockets[0].2.clone();
    let audiences = [
        (direct.as_str(), &["nothing"][..]),
        ("adw:aaaaaaaa", &["run", "observer"]),
        ("adw:cccccccc", &["observer"]),
        ("room:tasks", &["room", "ada again", "observer"]),
        ("session:chat", &["context", "observer"]),
        ("user:ada", &["ada", "ada again", "observer"]),
        ("user:nobody", &["observer"]),
    ];
    let publishing = async |event: Value| {
        let asked = request(Method::POST, "/v1/events", &gateway)
            .header(header::AUTHORIZATION, format!("Bearer {bob}"))
            .header(header::CONTENT_TYPE, "application/json");
        let answer = send(&gateway, asked.body(Full::from(event.to_string())).unwrap()).await;
        assert_eq!(answer.status, 202, "{event}: {answer:?}");
    };
    for (number, (to, _)) in (1..).zip(&audiences) {
        publishing(note(to, number)).await;
    }
    // The fence: what has not come before it does not come.
    publishing(note("global", 0)).await;
    for (name, socket, _) in &mut sockets {
        let seen = socket.events_until(|event| event["to"] == "global").await;
        let seen = seen.iter().map(|event| event["to"].as_str().unwrap()).collect::<Vec<_>>();
        let expected = audiences.iter().filter(|(_, receivers)| receivers.contains(name)).map(|(to, _)| *to);
        assert_eq!(seen, expected.chain(["global"]).collect::<Vec<_>>(), "{name}");
    }
}
