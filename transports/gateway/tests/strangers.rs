//! Pages of older systems on a gateway with keys: let in without one where the operator says so, and able to listen only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;

use common::{Gateway, api_key, ask, soon, write_private};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Page = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(url: String, authorization: Option<&str>) -> Result<Page, u16> {
    let mut request = url.into_client_request().unwrap();
    if let Some(value) = authorization {
        request.headers_mut().insert("authorization", value.parse().unwrap());
    }
    match soon("an answer", connect_async(request)).await {
        Ok((page, _)) => Ok(page),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn frame(page: &mut Page) -> Value {
    loop {
        if let Message::Text(text) = soon("a frame", page.next()).await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn publish(at: SocketAddr, bearer: &str, event: Value) -> u16 {
    let headers = [("content-type", "application/json"), ("authorization", bearer)];
    ask(at, Method::POST, "/v1/events", &headers, event.to_string()).await.status
}

#[tokio::test]
async fn auth_09_strangers_listen_where_the_operator_lets_them_and_do_nothing_else() {
    let made = api_key(&["--name", "producer", "--permission", "publish,admin", "--adw", "*", "--session", "*"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    write_private(&file, &toml::to_string(&json!({"key": [made["entry"]]})).unwrap());
    let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
    let keys = ["--api-keys-file", file.to_str().unwrap(), "--anonymous", "monadic,adw,amiga"];
    let gateway = Gateway::speaking(&["monadic", "adw", "shared_context", "amiga"], &keys);
    let (monadic, adw) = (gateway.at("monadic"), gateway.at("adw"));
    assert!(gateway.start_block.contains("strangers may listen as clients of monadic, adw, amiga"));

    // The ones that are named, and no others; what is shown must be right all the same.
    assert_eq!(open(format!("ws://{}/ws/s", gateway.at("shared_context")), None).await.unwrap_err(), 401);
    assert_eq!(open(format!("ws://{}/v1/ws", gateway.address), None).await.unwrap_err(), 401);
    assert_eq!(open(format!("ws://{adw}/v1/ws"), None).await.unwrap_err(), 401);
    assert_eq!(open(format!("ws://{adw}/ws"), Some("Bearer wrong")).await.unwrap_err(), 401);
    let overview = ask(gateway.at("amiga"), Method::GET, "/api/metrics/overview", &[], "").await;
    assert_ne!(overview.status, 401, "{overview:?}");

    // Each in its own browser session, and told what is for it.
    let mut chat = open(format!("ws://{monadic}/"), None).await.unwrap();
    let mut other = open(format!("ws://{monadic}/"), None).await.unwrap();
    let headers = [("authorization", bearer.as_str())];
    // A socket is open for its client a moment before it is in the list.
    let mut listed = Value::Null;
    for _ in 0..100 {
        listed = ask(gateway.address, Method::GET, "/v1/connections", &headers, "").await.json();
        if listed["connections"].as_array().is_some_and(|pages| pages.len() == 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let pages = listed["connections"].as_array().unwrap();
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert!(pages.iter().all(|page| page["permissions"] == json!([])), "{pages:?}");
    let session = pages[0]["session_id"].as_str().unwrap();
    assert_ne!(session, pages[1]["session_id"].as_str().unwrap());
    let cancel = json!({"type": "chat.cancel", "to": format!("session:{session}"), "data": {}});
    assert_eq!(publish(gateway.address, &bearer, cancel).await, 202);
    assert_eq!(frame(&mut chat).await, json!({"type": "cancel"}));
    other.send(Message::text(r#"{"message":"PING"}"#)).await.unwrap();
    assert_eq!(frame(&mut other).await, json!({"type": "pong"}), "the other browser was told nothing before");

    // Listening is all: no publishing in any way, no raw output, no list.
    let mut kanban = open(format!("ws://{adw}/ws"), None).await.unwrap();
    assert_eq!(frame(&mut kanban).await["type"], "connection_ack");
    let line = json!({"adw_id": "29fb6a3e", "workflow_name": "w", "message": "m", "level": "INFO",
        "timestamp": "2025-11-05T19:22:35.4Z"});
    kanban.send(Message::text(json!({"type": "workflow_log", "data": line}).to_string())).await.unwrap();
    assert_eq!(frame(&mut kanban).await["type"], "error");
    let body = json!({"adw_id": "29fb6a3e", "content": "hm"});
    let json_type = [("content-type", "application/json")];
    assert_eq!(ask(adw, Method::POST, "/api/agent-thinking", &json_type, body.to_string()).await.status, 401);
    assert_eq!(ask(monadic, Method::POST, "/v1/events?dialect=monadic", &json_type, "{}").await.status, 401);
    assert_eq!(ask(monadic, Method::GET, "/v1/connections", &[], "").await.status, 401);
    let raw = json!({"adw_id": "29fb6a3e", "agent_role": "planner", "content": "verbatim", "is_complete": false});
    for (kind, data) in [("adw.agent_output_chunk", raw), ("adw.text_block", body)] {
        assert_eq!(
            publish(gateway.address, &bearer, json!({"type": kind, "to": "adw:29fb6a3e", "data": data})).await,
            202
        );
    }
    assert_eq!(frame(&mut kanban).await["type"], "text_block", "verbatim output needs a permission");
}
