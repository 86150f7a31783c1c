//! Shared Context over real sockets: its pages, its agents and its back end against a gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use common::{Answer, Gateway, ask, soon};
use eventwire_hub::KeyDigest;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _, protocol::CloseFrame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const TIME: &str = "2025-08-13T14:48:21.000000+00:00";

/// A page or an agent.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn open(address: SocketAddr, path: &str, key: Option<&str>) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        if let Some(key) = key {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        }
        let (socket, _) = soon("a socket", tokio_tungstenite::connect_async(request)).await?;
        Ok(Self(socket))
    }

    /// Opens one and reads what it is greeted with.
    async fn join(address: SocketAddr, path: &str, key: Option<&str>) -> Self {
        let mut client = Self::open(address, path, key).await.unwrap();
        let greeting = client.frame().await;
        assert_eq!(greeting["type"], "connected", "{greeting}");
        client
    }

    async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    async fn text(&mut self) -> String {
        loop {
            match soon("a frame", self.0.next()).await.expect("an open socket").unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn frame(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }

    async fn ask(&mut self, frame: Value) -> Value {
        self.say(frame.to_string()).await;
        self.frame().await
    }

    /// Nothing has come: the answer to a ping is the next frame.
    async fn heard_nothing(&mut self) {
        self.say("ping").await;
        assert_eq!(self.text().await, "pong");
    }

    async fn closed(&mut self) -> CloseFrame {
        match soon("a close", self.0.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => frame,
            other => panic!("{other:?}"),
        }
    }
}

async fn broadcast(address: SocketAddr, context: &str, key: Option<&str>, event: &Value) -> Answer {
    let bearer = format!("Bearer {}", key.unwrap_or_default());
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|_| ("authorization", bearer.as_str())));
    ask(address, Method::POST, &format!("/broadcast/{context}"), &headers, event.to_string()).await
}

fn message(id: u64, sender: &str, visibility: &str) -> Value {
    json!({"type": "new_message", "data": {
        "id": id, "sender": sender, "sender_type": "claude", "content": format!("{visibility} of {sender}"),
        "visibility": visibility, "timestamp": TIME, "metadata": {},
    }})
}

/// T1: pages of the first releases and of later ones read times differently, and each kind has its listener.
#[tokio::test]
async fn ctx_13_each_listener_writes_the_times_that_its_pages_read() {
    for setting in ["by_path", "milliseconds"] {
        let gateway = Gateway::speaking(&["shared_context", "shared_context_tools"], &["--context-times", setting]);
        let (first, later) = (gateway.at("shared_context"), gateway.at("shared_context_tools"));
        let mut pages = Vec::new();
        for (address, is_text) in [(first, false), (later, true)] {
            for path in ["/ws/s", "/ui/ws/s"] {
                pages.push((Client::join(address, path, None).await, is_text));
            }
        }
        let published = broadcast(first, "s", None, &message(1, "claude", "public")).await;
        assert_eq!(published.json()["success"], true);
        for (page, is_text) in &mut pages {
            let timestamp = page.frame().await["data"]["timestamp"].clone();
            assert_eq!(timestamp, if *is_text { json!(TIME) } else { json!(1_755_096_501_000_u64) }, "{setting}");
        }
        // The page looks for the port of its socket in the health of its own listener.
        for address in [first, later] {
            let health = ask(address, Method::GET, "/health", &[], "").await.json();
            assert_eq!(health["config"]["websocket_port"], address.port());
        }
    }
}

#[tokio::test]
async fn ctx_01_the_path_below_ui_is_the_same_socket_and_only_on_its_own_listener() {
    let gateway = Gateway::speaking(&["shared_context"], &[]);
    let address = gateway.at("shared_context");
    let mut page = Client::open(address, "/ui/ws/session_abc123", None).await.unwrap();
    assert_eq!(page.frame().await["session_id"], "session_abc123");
    let answer = page.ask(json!({"type": "subscribe", "session_id": "session_abc123"})).await;
    assert_eq!(answer["type"], "subscribed");
    // A later announcement reaches the page once, and a page that reloads on it is not sent it again.
    let update = json!({"type": "session_update", "session_id": "session_abc123", "agent_id": "claude"});
    broadcast(address, "session_abc123", None, &update).await;
    assert_eq!(page.frame().await["type"], "session_update");
    for _ in 0..3 {
        let mut reloaded = Client::join(address, "/ui/ws/session_abc123", None).await;
        assert_eq!(
            reloaded.ask(json!({"type": "subscribe", "session_id": "session_abc123"})).await["type"],
            "subscribed"
        );
        reloaded.heard_nothing().await;
    }
    assert!(Client::open(gateway.address, "/ui/ws/session_abc123", None).await.is_err());
}

/// What the documentation of the system shows, frame by frame, as a page and as an agent read it.
#[tokio::test]
async fn ctx_01_to_08_every_documented_frame_is_sent_as_it_is_documented() {
    let gateway = Gateway::speaking(&["shared_context"], &[]);
    let address = gateway.at("shared_context");
    let mut page = Client::open(address, "/ws/session_abc123", None).await.unwrap();
    let connected = page.frame().await;
    assert_eq!((&connected["type"], &connected["session_id"]), (&json!("connected"), &json!("session_abc123")));
    let server_time = connected["server_time"].as_str().unwrap();
    assert!(server_time.len() == TIME.len() && server_time.ends_with("+00:00"), "{server_time}");
    assert_eq!(connected.as_object().unwrap().len(), 3);

    let subscribed = json!({"type": "subscribed", "session_id": "session_abc123", "status": "success"});
    assert_eq!(page.ask(json!({"type": "subscribe", "session_id": "session_abc123"})).await, subscribed);
    page.say("subscribe:session_abc123").await;
    assert_eq!(page.frame().await, subscribed);
    assert_eq!(page.ask(json!({"type": "ping"})).await, json!({"type": "pong"}));
    page.heard_nothing().await;
    assert_eq!(
        page.ask(json!({"type": "foo"})).await,
        json!({"type": "error", "message": "Unknown message type: foo"})
    );
    page.say("help").await;
    assert_eq!(page.frame().await, json!({"type": "error", "message": "Unknown command"}));

    let mut agent = Client::join(address, "/mcp/session_abc123", None).await;
    for event in [
        message(43, "claude", "public"),
        json!({
            "type": "session_update", "session_id": "session_abc123", "agent_id": "claude", "timestamp": TIME,
            "message_count": 12,
        }),
        json!({"type": "memory_update", "data": {
            "agent_id": "claude", "key": "plan", "value": "{}", "session_id": "session_abc123", "scope": "session",
            "created_at": TIME, "updated_at": TIME,
        }}),
        json!({
            "type": "typing", "session_id": "session_abc123", "agent_id": "claude", "is_typing": true, "timestamp": TIME,
        }),
    ] {
        let answer = broadcast(address, "session_abc123", None, &event).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"success": true, "session_id": "session_abc123"})));
        assert_eq!(agent.frame().await, event);
        let mut told = page.frame().await;
        if event["type"] == "new_message" {
            assert_eq!(told["data"]["timestamp"], 1_755_096_501_000_u64);
            told["data"]["timestamp"] = json!(TIME);
        }
        assert_eq!(told, event);
    }

    let arguments = json!({"session_id": "session_abc123", "since_id": 42});
    let found = agent.ask(json!({"tool": "get_messages", "arguments": arguments})).await;
    let row = json!({
        "id": 43, "session_id": "session_abc123", "sender": "claude", "sender_type": "claude",
        "content": "public of claude", "visibility": "public", "message_type": null, "metadata": null,
        "timestamp": TIME, "parent_message_id": null,
    });
    let result = json!({"session_id": "session_abc123", "messages": [row], "count": 1, "since_id": 42});
    assert_eq!(found, json!({"type": "tool_result", "tool": "get_messages", "result": result}));
    for method in ["/tools/get_messages", "get_messages"] {
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": arguments});
        assert_eq!(agent.ask(asked).await, json!({"jsonrpc": "2.0", "id": 1, "result": result}));
    }
    let info = agent.ask(json!({"tool": "get_session_info", "arguments": arguments, "id": "x"})).await;
    assert_eq!((&info["id"], &info["result"]["status"]), (&json!("x"), &json!("active")));
    let missing = agent.ask(json!({"tool": "get_session_info", "arguments": {"session_id": "never"}})).await;
    assert_eq!(missing["result"], json!({"error": "Session not found", "session_id": "never"}));
    let joined = agent.ask(json!({"tool": "subscribe", "arguments": arguments})).await;
    assert_eq!(joined["result"], json!({"status": "subscribed", "session_id": "session_abc123"}));
    assert_eq!(agent.frame().await, subscribed);
    page.heard_nothing().await;
}

#[tokio::test]
async fn ctx_02_over_sockets_nobody_gets_where_no_context_is() {
    let gateway = Gateway::speaking(&["shared_context"], &[]);
    let address = gateway.at("shared_context");
    for (path, reason) in [
        ("/ws/", "Missing session_id"),
        ("/mcp/", "Missing session_id"),
        ("/ws/trigger", "trigger is not a session id"),
        ("/ws/~0123456789abcdef0123456789abcdef", "session_id"),
        ("/ws/%7e0123456789abcdef0123456789abcdef", "session_id"),
        ("/ws/..%2f..%2fetc", "session_id"),
        (&format!("/ws/{}", "x".repeat(129)), "session_id"),
    ] {
        let close = Client::open(address, path, None).await.unwrap().closed().await;
        assert_eq!(u16::from(close.code), 1008, "{path}");
        assert!(close.reason.contains(reason), "{path}: {close}");
    }
    let answer = ask(address, Method::GET, "/ws/s", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (426, "upgrade_required"));
    let answer = ask(address, Method::POST, "/broadcast/s", &[("content-type", "text/plain")], "{}").await;
    assert_eq!((answer.status, &answer.json()["success"]), (415, &json!(false)));
    let answer = ask(address, Method::GET, "/broadcast/s", &[], "").await;
    assert_eq!(answer.status, 405);
    let origin = [("content-type", "application/json"), ("origin", "https://evil.example")];
    let answer = ask(address, Method::POST, "/broadcast/s", &origin, message(1, "a", "public").to_string()).await;
    assert_eq!(answer.code(), "origin_not_allowed");
}

#[tokio::test]
async fn ctx_14_the_page_finds_the_port_of_its_socket_in_the_health_of_the_listener() {
    let gateway = Gateway::speaking(&["shared_context"], &[]);
    let address = gateway.at("shared_context");
    let health = ask(address, Method::GET, "/health", &[], "").await.json();
    assert_eq!((&health["status"], &health["config"]["websocket_port"]), (&json!("healthy"), &json!(address.port())));
    let own = common::get(&gateway, "/health").await.json();
    for member in own.as_object().unwrap().keys() {
        assert!(health.get(member).is_some(), "{member} is missing");
    }
}

/// Two people with two tabs each and an agent, with keys: who sees what, who may publish, and who gets in at all.
#[tokio::test]
async fn ctx_02_07_11_and_route_04_with_keys_each_tab_sees_what_is_its_own() {
    let mut keys = String::new();
    for (name, more) in [
        ("maria", "user = \"maria\"\nrole = \"human\"\nsessions = [\"*\"]"),
        ("otto", "user = \"otto\"\nrole = \"human\"\nsessions = [\"*\"]"),
        ("claude", "user = \"claude\"\nrole = \"agent\"\nsessions = [\"*\"]"),
        ("outsider", "user = \"outsider\"\nsessions = [\"lobby\"]"),
        ("backend", "permissions = [\"publish\"]\nsessions = [\"*\"]"),
    ] {
        let digest = KeyDigest::of(&format!("key-of-{name}"));
        keys.push_str(&format!("[[key]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n{more}\n\n"));
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    common::write_private(&file, &keys);
    let gateway = Gateway::speaking(&["shared_context"], &["--api-keys-file", file.to_str().unwrap()]);
    let address = gateway.at("shared_context");

    match Client::open(address, "/ws/s", None).await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 401),
        _ => panic!("a stranger was let in"),
    }
    let close = Client::open(address, "/ws/s", Some("key-of-outsider")).await.unwrap().closed().await;
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, "your credentials do not reach session:s"));

    let people = ["maria", "maria", "otto", "otto", "claude"];
    let mut tabs = Vec::new();
    for name in people {
        tabs.push(Client::join(address, "/ws/s", Some(&format!("key-of-{name}"))).await);
    }
    let mut id = 0;
    for sender in ["maria", "otto", "claude"] {
        for visibility in ["public", "private", "agent_only"] {
            id += 1;
            let answer = broadcast(address, "s", Some("key-of-backend"), &message(id, sender, visibility)).await;
            assert_eq!(answer.json()["success"], true, "{answer:?}");
            for (tab, name) in tabs.iter_mut().zip(people) {
                let due = match visibility {
                    "public" => true,
                    "private" => name == sender,
                    _ => name == sender || name == "claude",
                };
                if due {
                    let frame = tab.frame().await;
                    assert_eq!(frame["data"]["id"], id, "{name}: {frame}");
                } else {
                    tab.heard_nothing().await;
                }
            }
        }
    }
    for (tab, (name, due)) in tabs.iter_mut().zip(people.into_iter().zip([5, 5, 5, 5, 7])) {
        let found = tab.ask(json!({"tool": "get_messages", "arguments": {"session_id": "s"}})).await;
        assert_eq!(found["result"]["count"], due, "{name}: {found}");
    }
    for (key, status) in [(None, 401), (Some("key-of-maria"), 403)] {
        let answer = broadcast(address, "s", key, &message(99, "maria", "public")).await;
        assert_eq!((answer.status, &answer.json()["success"]), (status, &json!(false)));
    }
    tabs[0].say(json!({"type": "typing", "is_typing": true, "agent_id": "otto"}).to_string()).await;
    tabs[0].heard_nothing().await;
    tabs[1].heard_nothing().await;
    assert_eq!(tabs[2].frame().await["agent_id"], "maria");
}

#[tokio::test]
async fn ctx_07_a_page_that_lost_its_line_asks_for_what_it_missed() {
    let gateway = Gateway::speaking(&["shared_context"], &[]);
    let address = gateway.at("shared_context");
    let mut page = Client::join(address, "/ws/s", None).await;
    broadcast(address, "s", None, &message(1, "claude", "public")).await;
    assert_eq!(page.frame().await["data"]["id"], 1);
    drop(page);
    for id in 2..=120 {
        broadcast(address, "s", None, &message(id, "claude", "public")).await;
    }
    let mut page = Client::join(address, "/ws/s", None).await;
    let (mut last, mut ids) = (1, Vec::new());
    loop {
        let asked = json!({"tool": "get_messages", "arguments": {"session_id": "s", "since_id": last}});
        let rows = page.ask(asked).await["result"]["messages"].as_array().unwrap().clone();
        let Some(newest) = rows.last() else { break };
        last = newest["id"].as_u64().unwrap();
        ids.extend(rows.iter().map(|row| row["id"].as_u64().unwrap()));
    }
    assert_eq!(ids, (2..=120).collect::<Vec<u64>>());
}

#[tokio::test]
async fn ctx_09_with_a_query_address_messages_come_from_the_application() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/query", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|request: Request<Incoming>| async {
                let asked = request.into_body().collect().await.unwrap().to_bytes();
                let asked: Value = serde_json::from_slice(&asked).unwrap();
                let row = |id: u64, visibility: &str| {
                    let mut row = message(id, "claude", visibility)["data"].clone();
                    row["session_id"] = asked["session_id"].clone();
                    row["metadata"] = Value::Null;
                    row
                };
                let answer = json!({"messages": [row(7, "public"), row(8, "private"), row(9, "agent_only")]});
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string()))))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let gateway = Gateway::speaking(&["shared_context"], &["--context-query-url", &url, "--context-times", "iso"]);
    let address = gateway.at("shared_context");
    let mut page = Client::join(address, "/ws/s", None).await;
    let found = page.ask(json!({"tool": "get_messages", "arguments": {"session_id": "s", "since_id": 3}})).await;
    assert_eq!((&found["result"]["count"], &found["result"]["messages"][0]["id"]), (&json!(1), &json!(7)));
    broadcast(address, "s", None, &message(10, "claude", "public")).await;
    assert_eq!(page.frame().await["data"]["timestamp"], TIME);
}

#[tokio::test]
async fn ctx_01_a_restart_closes_pages_so_that_they_come_back() {
    let gateway = Gateway::speaking(&["shared_context"], &[]);
    let mut page = Client::join(gateway.at("shared_context"), "/ws/s", None).await;
    gateway.signal("TERM");
    assert_eq!(u16::from(page.closed().await.code), 1012);
}
