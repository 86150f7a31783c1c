//! The kanban's server over real sockets: what its pages read, ask and fetch, and what its workflows post.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;

use common::{Answer, Gateway, api_key, ask, post, publish, soon, write_private};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A page of the kanban.
struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    connection_id: String,
}

impl Page {
    async fn open(address: SocketAddr, path: &str) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("user-agent", "Mozilla/5.0 (kanban)".parse().unwrap());
        request.headers_mut().insert("origin", "http://localhost:5173".parse().unwrap());
        let (socket, _) = soon("a socket", tokio_tungstenite::connect_async(request)).await.unwrap();
        let mut page = Self { socket, connection_id: String::new() };
        let greeting = page.frame().await;
        assert_eq!(greeting["type"], "connection_ack", "{greeting}");
        assert!(greeting["data"]["connected_at"].is_string() && greeting["data"]["message"].is_string());
        page.connection_id = greeting["data"]["connection_id"].as_str().unwrap().to_owned();
        page
    }

    async fn message(&mut self) -> Option<Message> {
        loop {
            match soon("a message", self.socket.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    async fn frame(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    async fn send(&mut self, text: impl ToString) {
        self.socket.send(Message::text(text.to_string())).await.unwrap();
    }

    async fn answer(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        self.frame().await
    }
}

fn vectors(dialect: &str) -> Vec<Value> {
    let path = format!("{}/../../conformance/vectors/{dialect}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn trap_t7_every_documented_frame_is_read_at_both_sockets() {
    let gateway = Gateway::speaking(&["adw", "adw_trigger"], &[]);
    for (listener, path, dialect) in [
        ("adw", "/ws", "adw"),
        ("adw", "/ws/trigger", "adw_trigger"),
        ("adw_trigger", "/ws/trigger", "adw_trigger"),
        ("adw_trigger", "/ws", "adw_trigger"),
    ] {
        let mut page = Page::open(gateway.at(listener), path).await;
        // Where the runs of the round before stand comes first.
        page.send(json!({"type": "ping"})).await;
        while page.frame().await["type"] != "pong" {}
        let mut read = 0;
        for vector in vectors(dialect) {
            let Value::Object(frame) = &vector["frame"] else { continue };
            if vector["type"].as_str().unwrap().starts_with("connection.") {
                continue;
            }
            let to = vector["to"].as_str().unwrap().replace("c00000000000000ff", &page.connection_id);
            let (kind, time, data) = (&vector["type"], &vector["time"], &vector["data"]);
            publish(&gateway, json!({"type": kind, "to": to, "time": time, "data": data})).await;
            assert_eq!(page.frame().await, Value::Object(frame.clone()), "{listener}{path} {kind}");
            read += 1;
        }
        assert!(read > 30, "{read}");
    }
    // On a canonical listener both are there as well.
    for path in ["/ws", "/ws/trigger"] {
        Page::open(gateway.address, path).await;
    }
}

#[tokio::test]
async fn adw_02_a_page_is_answered_what_it_asks_and_nobody_else_hears_of_it() {
    let gateway = Gateway::speaking(&["adw_trigger"], &[]);
    let at = gateway.at("adw_trigger");
    let mut page = Page::open(at, "/ws/trigger").await;
    let mut other = Page::open(at, "/ws/trigger").await;

    let pong = page.answer(json!({"type": "ping", "timestamp": 1_762_370_560_000_u64, "healthCheck": true})).await;
    assert_eq!((&pong["type"], &pong["timestamp"]), (&json!("pong"), &json!(1_762_370_560_000_u64)));
    let registered = page.answer(json!({"type": "register_session", "data": {"session_id": "board-1"}})).await;
    assert_eq!(registered["data"]["session_id"], "board-1");
    let trigger = json!({"type": "trigger_workflow", "data": {"workflow_type": "adw_plan_iso", "issue_number": 66}});
    let error = page.answer(trigger).await;
    assert_eq!((&error["type"], &error["data"]["error_code"]), (&json!("error"), &json!("unavailable")));
    assert_eq!(error["data"]["message"], error["data"]["error_message"]);
    let ticket = page.answer(json!({"type": "ticket_notification", "data": {"id": 66, "title": "x"}})).await;
    assert_eq!((&ticket["data"]["status"], &ticket["data"]["ticket_id"]), (&json!("error"), &json!("66")));
    for bad in ["{", "{\"type\":\"subscribe\",\"adw_id\":\"../etc\"}", "{\"type\":\"launch\"}"] {
        page.send(bad).await;
        assert_eq!(page.frame().await["type"], "error", "{bad}");
    }
    let ack = page.answer(json!({"type": "subscribe", "adw_id": "29fb6a3e"})).await;
    assert_eq!((&ack["type"], &ack["data"]["status"]), (&json!("subscription_ack"), &json!("subscribed")));

    // The next that either hears is what is for it.
    for run in ["abcd1234", "29fb6a3e"] {
        let data = json!({"adw_id": run, "content": run});
        publish(&gateway, json!({"type": "adw.text_block", "to": format!("adw:{run}"), "data": data})).await;
    }
    assert_eq!(page.frame().await["data"]["content"], "29fb6a3e");
    assert_eq!(other.frame().await["data"]["content"], "abcd1234");

    let listed = ask(gateway.address, Method::GET, "/v1/connections", &[], "").await.json();
    let rows = listed.as_array().or_else(|| listed["connections"].as_array()).unwrap().clone();
    let row = rows.iter().find(|row| row["connection_id"] == page.connection_id).unwrap();
    assert_eq!((&row["dialect"], &row["user_agent"]), (&json!("adw_trigger"), &json!("Mozilla/5.0 (kanban)")));
    assert_eq!((&row["remote_address"], &row["subscriptions"]), (&json!("127.0.0.1"), &json!(["adw:29fb6a3e"])));
}

#[tokio::test]
async fn adw_06_workflows_post_where_they_did_and_pages_read_it() {
    let gateway = Gateway::speaking(&["adw", "adw_trigger"], &[]);
    let mut page = Page::open(gateway.at("adw"), "/ws").await;
    let posted: Vec<Value> = serde_json::from_str(include_str!("../../systems/tests/adw/paths.json")).unwrap();
    for address in [gateway.at("adw"), gateway.at("adw_trigger"), gateway.address] {
        for one in &posted {
            let path = one["path"].as_str().unwrap();
            let headers = [("content-type", "application/json")];
            let answer = ask(address, Method::POST, path, &headers, one["body"].to_string()).await;
            assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("success")), "{path} {answer:?}");
            let frame = page.frame().await;
            assert_eq!(frame["type"], one["frame"]["type"], "{path}");
            assert_eq!(frame["data"]["adw_id"], "29fb6a3e", "{path}");
            let wrong = ask(address, Method::GET, path, &[], "").await;
            assert_eq!(wrong.status, 405, "{path}");
        }
    }
    // What another site's page can post without being asked is not taken.
    let plain = ask(gateway.address, Method::POST, "/api/stage-event", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(plain.status, 415);
    let foreign = [("content-type", "application/json"), ("origin", "https://evil.example")];
    let foreign = ask(gateway.address, Method::POST, "/api/stage-event", &foreign, "{}").await;
    assert_eq!(foreign.status, 403);
}

#[tokio::test]
async fn adw_09_a_heartbeat_comes_and_a_stop_says_come_back() {
    let gateway = Gateway::start_as(&[
        "serve",
        "--listen=127.0.0.1:0=adw",
        "--no-sample",
        "--heartbeat-seconds",
        "1",
        "--drain-seconds",
        "0",
    ]);
    let mut page = Page::open(gateway.at("adw"), "/ws").await;
    let beat = page.frame().await;
    assert_eq!((&beat["type"], &beat["data"]["active_connections"]), (&json!("heartbeat"), &json!(1)));
    assert_eq!(beat["data"]["server_status"], "healthy");
    gateway.signal("TERM");
    let code = loop {
        match page.message().await {
            Some(Message::Close(frame)) => break frame.map(|frame| u16::from(frame.code)),
            Some(Message::Text(text)) => assert!(text.contains("\"heartbeat\""), "{text}"),
            other => panic!("{other:?}"),
        }
    };
    // A kanban page never returns after 1000.
    assert_eq!(code, Some(1012));
}

#[tokio::test]
async fn adw_11_a_state_is_read_below_the_root_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let agents = directory.path().join("agents");
    let state = |id: &str| agents.join(id).join("adw_state.json");
    for id in ["29fb6a3e", "abcd1234", "linked00"] {
        std::fs::create_dir_all(agents.join(id)).unwrap();
    }
    let inside = json!({"adw_id": "29fb6a3e", "branch_name": "chore-66", "plan_file": "/home/ada/repo/specs/x.md"});
    std::fs::write(state("29fb6a3e"), inside.to_string()).unwrap();
    let secret = directory.path().join("secret.json");
    std::fs::write(&secret, json!({"adw_id": "linked00", "secret": "hush"}).to_string()).unwrap();
    std::os::unix::fs::symlink(&secret, state("linked00")).unwrap();
    std::os::unix::fs::symlink(directory.path(), agents.join("linked01")).unwrap();
    let gateway = Gateway::speaking(&["adw"], &["--agents", agents.to_str().unwrap()]);
    let get = async |id: &str| -> Answer {
        ask(gateway.at("adw"), Method::GET, &format!("/api/agent-state/{id}"), &[], "").await
    };
    let found = get("29fb6a3e").await;
    assert_eq!((found.status, &found.json()["state"]["branch_name"]), (200, &json!("chore-66")));
    assert!(!String::from_utf8_lossy(&found.body).contains("/home/ada"), "{found:?}");
    for (id, wanted) in [
        ("abcd1234", 404),
        ("linked00", 404),
        ("linked01", 404),
        ("nowhere0", 404),
        ("29fb6a3", 400),
        ("..%2f..%2f..", 400),
        ("%2e%2e%2fetc", 400),
    ] {
        let answer = get(id).await;
        assert_eq!(answer.status, wanted, "{id} {answer:?}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.json()["detail"].is_string() && !text.contains("hush"), "{text}");
        assert!(!text.contains(directory.path().to_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn adw_01_with_keys_nobody_watches_or_posts_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let made = api_key(&["--name", "producer", "--permission", "publish", "--adw", "29fb6a3e"]);
    let file = directory.path().join("keys.toml");
    write_private(&file, &toml::to_string(&json!({"key": [made["entry"]]})).unwrap());
    let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
    let gateway = Gateway::speaking(&["adw"], &["--api-keys-file", file.to_str().unwrap()]);
    let refused = tokio_tungstenite::connect_async(format!("ws://{}/ws", gateway.at("adw"))).await;
    let Err(Error::Http(response)) = refused else { panic!("{refused:?}") };
    assert_eq!(response.status(), 401);
    let body = json!({"adw_id": "29fb6a3e", "content": "hm"}).to_string();
    let json_type = ("content-type", "application/json");
    let at = gateway.at("adw");
    assert_eq!(ask(at, Method::POST, "/api/agent-thinking", &[json_type], body.clone()).await.status, 401);
    let headers = [json_type, ("authorization", bearer.as_str())];
    assert_eq!(ask(at, Method::POST, "/api/agent-thinking", &headers, body.clone()).await.status, 200);
    let foreign = body.replace("29fb6a3e", "abcd1234");
    assert_eq!(ask(at, Method::POST, "/api/agent-thinking", &headers, foreign).await.status, 403);
    let canonical = post(&gateway, "/v1/events", "application/json", "{}").await;
    assert_eq!(canonical.status, 401);
}
