//! A person who cancels, through a page over a real socket, with a back end that fails first and one whose feed is cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;

use common::{Gateway, ask, post, publish, soon, write_private};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A page of Monadic Chat in a browser of its own.
struct Page(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Page {
    async fn open(gateway: &Gateway) -> Self {
        let url = format!("ws://{}/", gateway.at("monadic"));
        Self(soon("a socket", tokio_tungstenite::connect_async(url)).await.unwrap().0)
    }

    async fn say(&mut self, messages: &[&str]) {
        for message in messages {
            self.0.send(Message::text(json!({ "message": message }).to_string())).await.unwrap();
        }
    }

    /// The types of all frames up to one of this type, without the lists and states that a page gets when it opens.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut types = Vec::new();
        while types.last().is_none_or(|kind| kind != last) {
            if let Some(Ok(Message::Text(text))) = soon("a frame", self.0.next()).await {
                let frame: Value = serde_json::from_str(&text).unwrap();
                types.push(frame["type"].as_str().unwrap().to_owned());
            }
        }
        types
    }
}

/// Reads one request and answers it. Gives its head and body.
async fn exchange(socket: &mut BufReader<TcpStream>, answer: impl FnOnce(&Value) -> String) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let command = serde_json::from_slice(&body).unwrap();
    let text = format!("HTTP/1.1 {}content-length: 0\r\nconnection: close\r\n\r\n", answer(&command));
    socket.write_all(text.as_bytes()).await.ok()?;
    Some(command)
}

/// A back end that is called. It refuses each command once, as one that is just starting does, and gives what it got.
async fn failing_back_end() -> (SocketAddr, mpsc::UnboundedReceiver<(u16, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(HashSet::new()));
        while let Ok((socket, _)) = listener.accept().await {
            let (tell, seen) = (tell.clone(), seen.clone());
            tokio::spawn(async move {
                let mut status = 503;
                let answer = |command: &Value| {
                    if seen.lock().unwrap().insert(command["id"].to_string()) {
                        // A turn is asked for again late, a cancellation soon.
                        let after = if command["name"] == "CHAT" { "retry-after: 10\r\n" } else { "" };
                        format!("503 Service Unavailable\r\n{after}")
                    } else {
                        status = 202;
                        "202 Accepted\r\n".to_owned()
                    }
                };
                if let Some(command) = exchange(&mut BufReader::new(socket), answer).await {
                    let _ = tell.send((status, command));
                }
            });
        }
    });
    (address, told)
}

fn id(command: &Value) -> Value {
    command["id"].clone()
}

/// What a back end publishes when it was asked to cancel.
async fn cancelled(gateway: &Gateway, command: &Value) {
    let to = format!("session:{}", command["session_id"].as_str().unwrap());
    let event =
        json!({ "type": "chat.cancel", "to": to, "id": format!("{}.0", command["id"].as_str().unwrap()), "data": {} });
    publish(gateway, event).await;
}

#[tokio::test]
async fn cmd_15_and_cmd_16_a_person_cancels_while_the_webhook_answers_503() {
    let (back_end, mut got) = failing_back_end().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    write_private(&file, SECRET);
    let webhook = format!("http://{back_end}/");
    let arguments = ["--commands-webhook", &webhook, "--commands-secret-file", file.to_str().unwrap()];
    let gateway = Gateway::speaking(&["monadic"], &arguments);
    let mut page = Page::open(&gateway).await;
    let mut next = async || soon("a command", got.recv()).await.unwrap();

    page.say(&["one"]).await;
    let (status, one) = next().await;
    assert_eq!((status, &one["data"]["message"]), (503, &json!("one")));
    // The first turn waits for its second attempt, the second one waits for the first.
    page.say(&["two", "CANCEL", "three"]).await;
    let (status, cancel) = next().await;
    assert_eq!((status, &cancel["name"]), (503, &json!("CANCEL")));
    let cancels = &cancel["cancels"];
    assert_eq!(
        (&cancels["in_work"], &cancels["ended"], &cancels["stale"]),
        (&json!([id(&one)]), &json!([]), &json!(false))
    );
    assert_eq!(cancels["withdrawn"].as_array().unwrap().len(), 1, "{cancel}");
    let (status, again) = next().await;
    assert_eq!((status, &again), (202, &cancel), "brought again, it means the same");
    cancelled(&gateway, &again).await;
    assert_eq!(page.until("cancel").await, ["cancel"], "the page gets no error");
    // The turn that was sent after it is the next one that comes; neither of the others comes any more.
    let (_, three) = next().await;
    assert_eq!(three["data"]["message"], "three");
    page.say(&["CANCEL", "UPDATE_LANGUAGE"]).await;
    let mut rest = Vec::new();
    while rest.len() < 4 {
        rest.push(next().await);
    }
    let cancels: Vec<&Value> =
        rest.iter().filter(|(_, it)| it["name"] == "CANCEL").map(|(_, it)| &it["cancels"]).collect();
    assert_eq!(cancels.len(), 2, "{rest:?}");
    assert!(cancels.iter().all(|it| it["in_work"].as_array().unwrap().contains(&id(&three))), "{cancels:?}");
    assert!(rest.iter().all(|(_, it)| it["name"] != "CHAT"), "a cancelled turn came again: {rest:?}");
}

/// A back end that reads the stream. Dropping it cuts the stream.
struct Feed(BufReader<TcpStream>);

impl Feed {
    async fn open(gateway: &Gateway) -> Self {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        let request = format!("GET /v1/commands HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address);
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut feed = Self(BufReader::new(socket));
        while !feed.line().await.starts_with("retry:") {}
        feed
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(soon("a line", self.0.read_line(&mut line)).await.unwrap(), 0, "the stream ended");
        line
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(data) = self.line().await.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

async fn acknowledge(gateway: &Gateway, command: &Value) {
    let path = format!("/v1/commands/{}/ack", command["id"].as_str().unwrap());
    let answer = ask(gateway.address, Method::POST, &path, &[], "").await;
    assert_eq!(answer.json()["acknowledged"], json!([id(command)]));
}

#[tokio::test]
async fn cmd_15_and_cmd_16_a_person_cancels_while_the_feed_is_cut() {
    let gateway = Gateway::speaking(&["monadic"], &[]);
    let mut feed = Feed::open(&gateway).await;
    let mut page = Page::open(&gateway).await;
    page.say(&["one"]).await;
    let one = feed.next().await;
    assert_eq!(one["data"]["message"], "one");
    page.say(&["two", "UPDATE_LANGUAGE", "CANCEL", "three"]).await;
    let cancel = feed.next().await;
    assert_eq!((&cancel["name"], &cancel["cancels"]["in_work"]), (&json!("CANCEL"), &json!([id(&one)])));
    // The stream is cut before anything is acknowledged, twice.
    for _ in 0..2 {
        drop(feed);
        feed = Feed::open(&gateway).await;
        let mut again = [feed.next().await, feed.next().await];
        again.sort_by_key(|command| command["name"] != "CANCEL");
        assert_eq!(again[0], cancel, "brought again, it means the same");
        assert_eq!(again[1]["name"], "UPDATE_LANGUAGE", "the cancelled turn is not brought again");
    }
    assert_eq!(cancel["cancels"]["withdrawn"].as_array().unwrap().len(), 1, "{cancel}");
    cancelled(&gateway, &cancel).await;
    acknowledge(&gateway, &cancel).await;
    // The cancelled turn has ended, and its acknowledgement counts although it comes late.
    acknowledge(&gateway, &one).await;
    // A lost acknowledgement that is repeated is no error, and changes nothing.
    let repeated =
        post(&gateway, "/v1/commands/ack", "application/json", json!({ "ids": [id(&cancel)] }).to_string()).await;
    assert_eq!(repeated.json()["unknown"], json!([id(&cancel)]));
    assert_eq!(page.until("cancel").await, ["cancel"], "the page gets no error");
    drop(feed);
    let mut feed = Feed::open(&gateway).await;
    let language = feed.next().await;
    assert_eq!(language["name"], "UPDATE_LANGUAGE");
    acknowledge(&gateway, &language).await;
    let three = feed.next().await;
    assert_eq!(three["data"]["message"], "three");
    // A cancellation of a turn that has ended is stale, and names it.
    acknowledge(&gateway, &three).await;
    page.say(&["CANCEL"]).await;
    let stale = feed.next().await;
    let cancels = &stale["cancels"];
    assert_eq!((&cancels["stale"], &cancels["in_work"], &cancels["withdrawn"]), (&json!(true), &json!([]), &json!([])));
    assert!(cancels["ended"].as_array().unwrap().contains(&id(&three)), "{stale}");
}
