//! One peer that takes all it can get, beside another that wants little (LIMIT-13, LIMIT-14).
//!
//! Both come to one gateway over loopback, from two addresses of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{collections::BTreeSet, net::SocketAddr};

use common::{Gateway, get, post, request, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message, tungstenite::client::IntoClientRequest as _};

const ATTACKER: [u8; 4] = [127, 0, 0, 1];
const VICTIM: [u8; 4] = [127, 0, 0, 2];

/// A page of Monadic Chat.
struct Page(WebSocketStream<TcpStream>);

impl Page {
    async fn open(from: [u8; 4], to: SocketAddr, cookie: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = soon("a connection", socket.connect(to)).await.unwrap();
        let mut request = format!("ws://{to}/").into_client_request().unwrap();
        request.headers_mut().insert("cookie", format!("_monadic_session_id={cookie}").parse().unwrap());
        let (page, _) = soon("a page", tokio_tungstenite::client_async(request, stream)).await.unwrap();
        Self(page)
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// What the page is told up to the answer to a ping.
    async fn told(&mut self) -> Vec<Value> {
        self.send(json!({"message": "PING"})).await;
        let mut told = Vec::new();
        loop {
            if let Message::Text(text) = soon("a frame", self.0.next()).await.unwrap().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "pong" {
                    return told;
                }
                told.push(frame);
            }
        }
    }
}

/// A back end that reads commands.
struct BackEnd {
    body: hyper::body::Incoming,
    text: String,
    _sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl BackEnd {
    async fn open(gateway: &Gateway) -> Self {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = request(Method::GET, "/v1/commands", gateway).body(Full::default()).unwrap();
        let answer = soon("a stream", sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), 200);
        Self { body: answer.into_body(), text: String::new(), _sender: sender }
    }

    /// The next command.
    async fn next(&mut self) -> Value {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let command = block.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
                self.text = rest.to_owned();
                match command {
                    Some(command) => return serde_json::from_str(&command).unwrap(),
                    None => continue,
                }
            }
            let frame = soon("a command", self.body.frame()).await.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
}

async fn pending(gateway: &Gateway) -> u64 {
    let metrics = String::from_utf8(get(gateway, "/metrics").await.body.to_vec()).unwrap();
    let line = metrics.lines().find(|line| line.starts_with("eventwire_commands_pending "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}

#[tokio::test]
async fn limit_13_one_peer_with_160_sockets_does_not_keep_anothers_chat_from_the_back_end() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let monadic = gateway.at("monadic");
    let mut back_end = BackEnd::open(&gateway).await;
    let mut attackers = Vec::new();
    for number in 0..160 {
        let mut page = Page::open(ATTACKER, monadic, &format!("attacker{number}")).await;
        for _ in 0..63 {
            page.send(json!({"message": "fill", "app_name": "Chat"})).await;
        }
        attackers.push(page);
    }
    let mut refused = false;
    for page in &mut attackers {
        refused |= page.told().await.iter().any(|frame| frame.to_string().contains("too many commands wait"));
    }
    assert!(refused, "one peer fills no more than its part");
    // It stays, and then it leaves: what it asked for waits on, for it belongs to sessions.
    let mut victim = Page::open(VICTIM, monadic, "victim").await;
    victim.send(json!({"message": "here", "app_name": "Chat"})).await;
    assert_eq!(victim.told().await, Vec::<Value>::new());
    drop(attackers);
    victim.send(json!({"message": "still here", "app_name": "Chat"})).await;
    assert_eq!(victim.told().await, Vec::<Value>::new());
    let waiting = pending(&gateway).await;
    assert!((8_000..=9_000).contains(&waiting), "{waiting}");
    // The back end works one thing off after the other, and comes to the victim's among the first.
    let mut texts = BTreeSet::new();
    for _ in 0..200 {
        let command = back_end.next().await;
        texts.insert(command["data"]["message"].as_str().unwrap_or_default().to_owned());
        let ids = json!({"ids": [command["id"]]}).to_string();
        assert_eq!(post(&gateway, "/v1/commands/ack", "application/json", ids).await.status, 200);
        if texts.contains("still here") {
            return;
        }
    }
    panic!("200 commands, and none of the victim's: {texts:?}");
}
