//! The examples are whole services; here they are run, and talked to as a browser would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

#[allow(dead_code, unreachable_pub, reason = "a program of its own")]
#[path = "../examples/axum.rs"]
mod axum;
#[allow(dead_code, unreachable_pub, reason = "a program of its own")]
#[path = "../examples/hyper.rs"]
mod hyper;
#[allow(dead_code, unreachable_pub, reason = "a program of its own")]
#[path = "../examples/warp.rs"]
mod warp;

use std::{error::Error, net::SocketAddr};

use common::{ADW, Client, PATIENCE};
use eventwire_hub::Hub;
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, client::IntoClientRequest as _},
};

type Served = Result<(), Box<dyn Error + Send + Sync>>;

/// Starts a service and talks to it.
async fn talk<F: Future<Output = Served> + Send + 'static>(serve: impl FnOnce(TcpListener, Hub) -> F) {
    let hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, hub.clone()));
    timeout(PATIENCE, watch(address, &hub)).await.expect("an event in time");
    timeout(PATIENCE, are_refused(address)).await.expect("answers in time");
    assert!(!serving.is_finished());
    serving.abort();
}

async fn watch(address: SocketAddr, hub: &Hub) {
    let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", HeaderValue::from_static("eventwire.v1"));
    headers.insert("origin", HeaderValue::from_static("http://localhost:3000"));
    headers.insert("user-agent", HeaderValue::from_static("examples/1"));
    let (stream, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "eventwire.v1");
    let mut client = Client { stream };
    assert_eq!(client.event().await["type"], "connection.welcome");
    let wanted = json!({"streams": [{"to": format!("adw:{ADW}")}]});
    client.command(json!({"type": "subscribe", "id": "1", "data": wanted})).await;
    assert_eq!(client.expect("connection.subscribed").await["data"]["re"], "1");
    assert_eq!(client.expect("adw.text_block").await["data"]["content"], "tick");

    let info = serde_json::to_value(&hub.connections()[0]).unwrap();
    let known = ["transport", "remote_address", "user_agent"].map(|member| info[member].as_str().unwrap());
    assert_eq!(known, ["websocket", "127.0.0.1", "examples/1"]);
    client.stream.close(None).await.unwrap();
    while client.message().await.is_some() {}
}

/// What is wrong with a request is said by the acceptor, through whatever framework.
async fn are_refused(address: SocketAddr) {
    let ask = async |path: &str, change: fn(&mut http::HeaderMap)| {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        change(request.headers_mut());
        match connect_async(request).await {
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                (response.status().as_u16(), body["error"]["code"].as_str().unwrap_or_default().to_owned())
            }
            other => panic!("a refusal was expected, not {other:?}"),
        }
    };
    let foreign =
        ask("/v1/ws", |headers| drop(headers.insert("origin", HeaderValue::from_static("https://evil.example"))));
    assert_eq!(foreign.await, (403, "origin_not_allowed".into()));
    let unspoken =
        ask("/v1/ws", |headers| drop(headers.insert("sec-websocket-protocol", HeaderValue::from_static("graphql-ws"))));
    assert_eq!(unspoken.await, (400, "unsupported_subprotocol".into()));
    assert_eq!(ask("/v1/ws?adws=1", |_| {}).await, (400, "invalid_payload".into()));
    assert_eq!(ask("/elsewhere", |_| {}).await.0, 404);
}

#[tokio::test]
async fn ws_11_warp_mounts_the_acceptor() {
    talk(warp::serve).await;
}

#[tokio::test]
async fn ws_11_axum_mounts_the_acceptor() {
    talk(axum::serve).await;
}

#[tokio::test]
async fn ws_11_hyper_mounts_the_acceptor() {
    talk(hyper::serve).await;
}
