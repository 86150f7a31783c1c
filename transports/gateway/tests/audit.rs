//! The audit log of the running binary: what it names, what it never has, and what happens under a flood.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use common::{Gateway, PATIENCE, Socket, ask, run};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const ADMIN: &str = "ew_admin_0123456789abcdef0123456789abcdef";
const ROOM: &str = "ew_room_0123456789abcdef0123456789abcdef0";

/// The flag of Linux; elsewhere the pipe is filled as long as it takes something.
const O_NONBLOCK: i32 = 0o4000;

/// A directory with API keys, and the name of the audit file in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let digest = |key: &str| eventwire_hub::KeyDigest::of(key);
        let keys = format!(
            "[[key]]\nname = \"admin\"\nsha256 = \"{}\"\npermissions = [\"publish\", \"observe\", \"admin\"]\nrooms = [\"*\"]\n\n\
             [[key]]\nname = \"room\"\nsha256 = \"{}\"\npermissions = [\"publish\"]\nrooms = [\"mine\"]\n",
            digest(ADMIN),
            digest(ROOM)
        );
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, keys).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { folder }
    }

    fn audit(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn start(&self, more: &[&str]) -> Gateway {
        let keys = format!("--api-keys-file={}", self.folder.path().join("keys.toml").display());
        let audit = format!("--audit={}", self.audit().display());
        Gateway::start(&[&[keys.as_str(), &audit], more].concat())
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// The first line that has all these members, once it is there.
async fn line(file: &Path, wanted: Value) -> Value {
    let deadline = std::time::Instant::now() + PATIENCE;
    let fits = |line: &Value| wanted.as_object().unwrap().iter().all(|(name, value)| &line[name] == value);
    loop {
        if let Some(line) = lines(file).into_iter().find(fits) {
            return line;
        }
        assert!(std::time::Instant::now() < deadline, "no line {wanted} in {:#?}", lines(file));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn asked(gateway: &Gateway, method: Method, path: &str, token: &str, body: Value) -> common::Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask(gateway.address, method, path, &headers, body).await
}

#[tokio::test]
async fn auth_25_each_happening_is_one_line_without_a_secret() {
    let place = Place::new();
    let file = place.audit();
    let gateway = place.start(&[]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // Opened: by a key in a header, and by a ticket.
    let bearer = format!("Bearer {ADMIN}");
    let authorization = ("authorization", bearer.as_str());
    let mut socket = Socket::open_with(&gateway, "?room=tasks", &[authorization]).await.unwrap();
    let welcome = socket.event().await;
    let opened = line(&file, json!({"event": "connection.opened", "transport": "websocket"})).await;
    assert_eq!(opened["connection"], welcome["data"]["connection_id"]);
    let expected = json!({
        "event": "connection.opened", "time": opened["time"], "connection": opened["connection"],
        "peer": "127.0.0.1", "client": "127.0.0.1", "principal": "admin", "credential": "admin",
        "dialect": "canonical", "transport": "websocket", "path": "/v1/ws",
    });
    assert_eq!(opened, expected);
    let ticket = asked(&gateway, Method::POST, "/v1/tickets", ADMIN, Value::Null).await.json()["ticket"].clone();
    let ticket = ticket.as_str().unwrap();
    let (_bought, _) = Socket::connect(&gateway, &format!("?ticket={ticket}")).await;

    // Refused: without credentials, with wrong ones, with a ticket that is spent, for a foreign host.
    let wrong = "hush_wrong_key_that_no_file_has";
    assert!(Socket::open(&gateway, "").await.is_err());
    line(&file, json!({"event": "request.refused", "code": "unauthorized", "path": "/v1/ws"})).await;
    assert_eq!(asked(&gateway, Method::GET, "/v1/connections", wrong, Value::Null).await.status, 401);
    line(&file, json!({"event": "credential.failed", "code": "unauthorized", "path": "/v1/connections"})).await;
    assert!(Socket::open(&gateway, &format!("?ticket={ticket}")).await.is_err());
    line(&file, json!({"event": "credential.failed", "code": "unauthorized", "path": "/v1/ws"})).await;
    assert_eq!(
        ask(gateway.address, Method::GET, "/health?hush=1", &[("origin", "http://evil.example")], "").await.status,
        403
    );
    line(&file, json!({"event": "request.refused", "code": "origin_not_allowed", "path": "/health"})).await;
    let unreadable = common::raw(&gateway, b"hush\r\n\r\n", false).await;
    assert!(unreadable.starts_with("HTTP/1.1 400 "), "{unreadable}");
    line(&file, json!({"event": "connection.refused", "code": "malformed_frame"})).await;
    // A second credential on an open connection, too.
    socket.command("authenticate", json!({"token": wrong})).await;
    line(&file, json!({"event": "credential.failed", "path": "/v1/ws", "principal": "admin"})).await;

    // Forbidden.
    let beyond = json!({"type": "_test.note", "to": "room:theirs", "data": {"secret": "hush"}});
    assert_eq!(asked(&gateway, Method::POST, "/v1/events", ROOM, beyond).await.status, 422);
    let forbidden = line(&file, json!({"event": "publication.forbidden"})).await;
    assert_eq!(
        (&forbidden["principal"], &forbidden["subject"], &forbidden["code"]),
        (&json!("room"), &json!("room:theirs"), &json!("forbidden"))
    );

    // What administrators do.
    let id = welcome["data"]["connection_id"].as_str().unwrap();
    asked(&gateway, Method::DELETE, &format!("/v1/connections/{id}"), ADMIN, Value::Null).await;
    line(&file, json!({"event": "connection.kicked", "connection": id, "principal": "admin"})).await;
    let user = json!({"user": "maria"});
    assert_eq!(asked(&gateway, Method::POST, "/v1/revocations", ADMIN, user).await.status, 200);
    line(&file, json!({"event": "credential.revoked", "subject": "user:maria", "closed": 0, "principal": "admin"}))
        .await;

    let ended = gateway.ended_by("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in [ADMIN, ROOM, ticket, wrong, "hush", "_test.note"] {
        assert!(!text.contains(secret), "{secret:?} is in the audit log:\n{text}");
    }
    let refusals = lines(&file).iter().filter(|line| line["path"] == "/health").count();
    assert_eq!(refusals, 1, "one refusal is one line:\n{text}");
}

#[tokio::test]
async fn auth_25_a_connection_that_a_system_or_socket_io_refuses_is_one_line() {
    let place = Place::new();
    let file = place.audit();
    let keys = format!("--api-keys-file={}", place.folder.path().join("keys.toml").display());
    let gateway = Gateway::speaking(&["product"], &[&keys, &format!("--audit={}", file.display())]);
    let opened = |url: String| tokio_tungstenite::connect_async(url);
    let (mut page, _) = opened(format!("ws://{}/ws", gateway.at("product"))).await.unwrap();
    let end = common::soon("a close", page.next()).await;
    assert!(matches!(end, Some(Ok(Message::Close(Some(_))))), "{end:?}");
    line(&file, json!({"event": "connection.refused", "path": "/ws"})).await;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", gateway.address);
    let (mut client, _) = opened(url).await.unwrap();
    client.send(Message::text("40/v1,")).await.unwrap();
    line(&file, json!({"event": "request.refused", "code": "unauthorized", "path": "/socket.io/"})).await;
    assert_eq!(lines(&file).len(), 2, "one refusal is one line: {:#?}", lines(&file));
}

#[tokio::test]
async fn auth_25_a_flood_of_one_peer_is_cut_and_counted_and_hides_nothing_else() {
    const GUESSES: usize = 400;
    let place = Place::new();
    let file = place.audit();
    let gateway = place.start(&[]);
    for _ in 0..GUESSES {
        ask(gateway.address, Method::GET, "/health", &[("origin", "http://evil.example")], "").await;
    }
    // The peer has used up its refusals, and gets in all the same.
    let bearer = format!("Bearer {ADMIN}");
    let _socket = Socket::open_with(&gateway, "", &[("authorization", bearer.as_str())]).await.unwrap();
    line(&file, json!({"event": "connection.opened"})).await;
    asked(&gateway, Method::POST, "/v1/revocations", ADMIN, json!({"user": "maria"})).await;
    line(&file, json!({"event": "credential.revoked"})).await;

    let ended = gateway.ended_by("TERM");
    let written = lines(&file);
    let refused = written.iter().filter(|line| line["event"] == "request.refused").count();
    let suppressed = written.iter().filter(|line| line["event"] == "audit.suppressed");
    let suppressed: u64 = suppressed.map(|line| line["count"].as_u64().unwrap()).sum();
    assert!(suppressed > 0, "{refused} lines for {GUESSES} refusals");
    assert_eq!(refused as u64 + suppressed, GUESSES as u64);
    assert!(!ended.stderr.contains("WARN") && !ended.stderr.contains("origin_not_allowed: "), "{}", ended.stderr);
}

#[tokio::test]
async fn auth_25_refusals_appear_in_the_log_as_a_rate() {
    const REFUSALS: usize = 30;
    let gateway = Gateway::start(&["--audit=off"]);
    for _ in 0..REFUSALS {
        ask(gateway.address, Method::GET, "/health", &[("origin", "http://evil.example")], "").await;
    }
    // At the end the last summary comes at once.
    let ended = gateway.ended_by("TERM");
    let counts = ended.stderr.lines().filter_map(|line| line.split_once(" s: origin_not_allowed "));
    let counts: Vec<usize> = counts.map(|(_, count)| count.trim().parse().unwrap()).collect();
    assert_eq!(counts.iter().sum::<usize>(), REFUSALS, "{}", ended.stderr);
    assert!(counts.len() < REFUSALS / 2, "{}", ended.stderr);
}

#[tokio::test]
async fn auth_25_a_rotated_file_is_opened_again_and_an_old_one_is_appended_to() {
    let place = Place::new();
    let file = place.audit();
    std::fs::write(&file, "{\"event\":\"before\"}\n").unwrap();
    let secret = place.folder.path().join("tokens.secret");
    std::fs::write(&secret, "hush: a secret of at least thirty-two bytes").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = place.start(&[&format!("--jwt-key-file={}", secret.display())]);
    let refuse = async || {
        ask(gateway.address, Method::GET, "/ready", &[("origin", "http://evil.example")], "").await;
    };
    refuse().await;
    line(&file, json!({"event": "request.refused"})).await;
    assert_eq!(lines(&file)[0]["event"], "before");

    let moved = place.folder.path().join("audit.jsonl.1");
    std::fs::rename(&file, &moved).unwrap();
    gateway.signal("HUP");
    let deadline = std::time::Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(std::time::Instant::now() < deadline, "the file is not opened again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The same signal reads keys again; either may come first.
    let deadline = std::time::Instant::now() + PATIENCE;
    let is_reload = |line: &Value| line["event"] == "reload" && line["subject"] == "jwt_key_file";
    while !lines(&moved).iter().chain(&lines(&file)).any(is_reload) {
        assert!(std::time::Instant::now() < deadline, "no line for the reload");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let before = lines(&moved).len();
    refuse().await;
    line(&file, json!({"event": "request.refused"})).await;
    assert_eq!(lines(&moved).len(), before);
}

#[tokio::test]
async fn auth_25_a_reader_that_stops_reading_delays_nothing() {
    // A pipe that is full and that nothing is taken out of.
    let place = Place::new();
    let pipe = place.folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut held = std::fs::OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(&pipe).unwrap();
    while held.write(&[b'x'; 4096]).is_ok() {}
    let gateway = Gateway::start(&[&format!("--audit={}", pipe.display())]);
    let (mut socket, _) = Socket::connect(&gateway, "?room=tasks").await;
    for number in 0..60 {
        ask(gateway.address, Method::GET, "/health", &[("origin", "http://evil.example")], "").await;
        if number % 20 == 0 {
            common::publish(&gateway, common::note("room:tasks", number)).await;
            while socket.event().await["type"] != "_test.note" {}
        }
    }
    let ended = gateway.ended_by("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    drop(held);
}

#[test]
fn auth_25_a_file_that_cannot_be_opened_stops_the_start() {
    let ended = run(&["serve", "--no-sample", "--listen", "127.0.0.1:0", "--audit", "/does/not/exist/audit"], "");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("audit /does/not/exist/audit: "), "{}", ended.stderr);
}
