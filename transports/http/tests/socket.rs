//! The API as warp filters, over real sockets: what the framework-free tests cannot show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use eventwire_http::{Api, recover, routes_of};
use eventwire_hub::{
    ApiKeys, Checkpoint, Credentials, History, Hub, KeyDigest, MemoryBounds, MemoryHistory, Principal, Secret,
    history::{Append, Heads, Outcome, Page, PageBounds},
};
use eventwire_protocol::{Claims, Epoch, ErrorBody, Position, Publication, Target, Time, envelope::Committed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use warp::Filter as _;

const DEADLINE: Duration = Duration::from_secs(20);

async fn serve(hub: &Hub) -> SocketAddr {
    serve_api(Api::new(hub.clone())).await
}

async fn serve_api(api: Api) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = warp::serve(routes_of(api).recover(recover)).incoming(listener);
    tokio::spawn(server.run());
    address
}

fn head(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n")
}

/// Sends bytes as they are and reads to the end: status, headers, body.
async fn talk(address: SocketAddr, parts: &[&[u8]]) -> (u16, String, Value) {
    let talk = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        for part in parts {
            // Whoever is refused may find the socket closed before everything is sent.
            if socket.write_all(part).await.is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_default())
    };
    tokio::time::timeout(DEADLINE, talk).await.expect("an answer in time")
}

const EVENT: &str = r#"{"type":"_test.note","to":"global","data":{}}"#;

#[tokio::test]
async fn http_01_an_event_is_published_through_the_filters() {
    let hub = Hub::new();
    let address = serve(&hub).await;
    let request =
        head("POST", "/v1/events", &format!("content-type: application/json\r\ncontent-length: {}\r\n", EVENT.len()));
    let (status, head, body) = talk(address, &[request.as_bytes(), EVENT.as_bytes()]).await;
    assert_eq!((status, &body["results"][0]["seq"]), (202, &Value::from(1)));
    assert!(head.contains("cache-control: no-store") && head.contains("x-content-type-options: nosniff"));
}

#[tokio::test]
async fn http_02_whatever_goes_wrong_the_answer_is_json_with_a_code() {
    let address = serve(&Hub::new()).await;
    for (method, target, more, status, code) in [
        ("GET", "/", "", 404, "not_found"),
        ("GET", "/v1/nothing", "", 404, "not_found"),
        ("PUT", "/v1/events", "", 405, "method_not_allowed"),
        ("POST", "/v1/events", "content-length: 0\r\n", 415, "unsupported_media_type"),
        ("GET", "/v1/connections?x=1", "", 400, "invalid_payload"),
        ("GET", "/health", "origin: https://evil.example\r\n", 403, "origin_not_allowed"),
    ] {
        let (got, head, body) = talk(address, &[head(method, target, more).as_bytes()]).await;
        assert_eq!((got, body["error"]["code"].as_str()), (status, Some(code)), "{method} {target}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(head.contains("allow: post"), status == 405, "{head}");
    }
    let foreign = b"GET /health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(talk(address, &[foreign]).await.2["error"]["code"], "host_not_allowed");
    let absolute = b"GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_ne!(talk(address, &[absolute]).await.0, 200);
}

#[tokio::test]
async fn http_03_head_is_answered_like_get_without_a_body() {
    let address = serve(&Hub::new()).await;
    let (status, head, body) = talk(address, &[head("HEAD", "/health", "").as_bytes()]).await;
    assert_eq!((status, body), (200, Value::Null));
    assert!(head.contains("content-type: application/json"));
}

#[tokio::test]
async fn http_05_whoever_sends_too_much_gets_to_read_the_answer() {
    let address = serve(&Hub::new()).await;
    let fill = vec![b' '; 9 << 20];
    let request =
        head("POST", "/v1/events", &format!("content-type: application/json\r\ncontent-length: {}\r\n", fill.len()));
    let (status, _, body) = talk(address, &[request.as_bytes(), &fill]).await;
    assert_eq!((status, body["error"]["code"].as_str()), (413, Some("too_large")));
    // Without a length, in chunks.
    let request = head("POST", "/v1/events", "content-type: application/json\r\ntransfer-encoding: chunked\r\n");
    let size = format!("{:x}\r\n", fill.len());
    let (status, ..) = talk(address, &[request.as_bytes(), size.as_bytes(), &fill, b"\r\n0\r\n\r\n"]).await;
    assert_eq!(status, 413);
    // Whoever asks first is told before sending anything.
    let request = head(
        "POST",
        "/v1/events",
        "content-type: application/json\r\ncontent-length: 99999999\r\nexpect: 100-continue\r\n",
    );
    assert_eq!(talk(address, &[request.as_bytes()]).await.0, 413);
}

#[tokio::test]
async fn http_09_a_body_that_stops_or_trickles_is_answered_after_the_deadline_and_publishes_nothing() {
    let hub = Hub::new();
    let address = serve_api(Api::new(hub.clone()).body_window(Duration::from_millis(300))).await;
    let half = head("POST", "/v1/events", "content-type: application/x-ndjson\r\ncontent-length: 100000\r\n");
    for trickles in [false, true] {
        let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
        writing.write_all(half.as_bytes()).await.unwrap();
        writing.write_all(format!("{EVENT}\n").as_bytes()).await.unwrap();
        let trickle = tokio::spawn(async move {
            while !trickles || writing.write_all(b"\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut answer = Vec::new();
        // The end may come as a reset, for there is always more that nobody reads.
        let _ = tokio::time::timeout(DEADLINE, reading.read_to_end(&mut answer)).await.expect("an end");
        trickle.abort();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"timeout\""), "{answer}");
    }
    assert_eq!(hub.head().await.unwrap().1.as_u64(), 0, "half a body was published");
}

#[tokio::test]
async fn http_02_half_a_request_publishes_nothing_and_disturbs_nobody() {
    let hub = Hub::new();
    let address = serve(&hub).await;
    let request = head("POST", "/v1/events", "content-type: application/json\r\ncontent-length: 1000\r\n");
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    socket.write_all(EVENT.as_bytes()).await.unwrap();
    drop(socket);
    let whole =
        head("POST", "/v1/events", &format!("content-type: application/json\r\ncontent-length: {}\r\n", EVENT.len()));
    let (status, _, body) = talk(address, &[whole.as_bytes(), EVENT.as_bytes()]).await;
    assert_eq!((status, &body["results"][0]["seq"]), (202, &Value::from(1)), "the half was not published");
}

/// A history that commits nothing before a signal.
struct Halted {
    memory: MemoryHistory,
    goes_on: tokio::sync::watch::Receiver<bool>,
}

#[async_trait]
impl History for Halted {
    async fn append(&self, now: Time, appends: Vec<Append>) -> Result<Vec<Result<Vec<Outcome>, ErrorBody>>, ErrorBody> {
        self.goes_on.clone().wait_for(|goes_on| *goes_on).await.unwrap();
        self.memory.append(now, appends).await
    }

    async fn heads(&self) -> Result<Heads, ErrorBody> {
        self.memory.heads().await
    }

    async fn read(&self, now: Time, from: &[(Target, Position)], bounds: PageBounds) -> Result<Page, ErrorBody> {
        self.memory.read(now, from, bounds).await
    }

    async fn latest(&self, now: Time, targets: &[Target]) -> Result<Vec<Arc<Committed>>, ErrorBody> {
        self.memory.latest(now, targets).await
    }

    async fn checkpoints(&self, source: &str) -> Result<Vec<Checkpoint>, ErrorBody> {
        self.memory.checkpoints(source).await
    }
}

#[tokio::test]
async fn limit_15_who_has_more_than_its_share_of_waiting_publications_gets_429_and_another_does_not() {
    let mut keys = ApiKeys::new();
    for name in ["ada", "tom"] {
        keys.add(KeyDigest::of(&format!("key-of-{name}")), Principal::new(name, Claims::loopback())).unwrap();
    }
    let (go_on, goes_on) = tokio::sync::watch::channel(false);
    let memory = MemoryHistory::new(Epoch::from_bits(1), MemoryBounds::default());
    let hub = Hub::builder().authenticator(keys).history(Arc::new(Halted { memory, goes_on })).build();
    let address = serve(&hub).await;
    let publish = |name: &'static str| async move {
        let more = format!(
            "authorization: Bearer key-of-{name}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            EVENT.len()
        );
        let request = head("POST", "/v1/events", &more);
        talk(address, &[request.as_bytes(), EVENT.as_bytes()]).await
    };
    // One publisher hands in most of what the queue takes.
    let token = Some(Secret::new("key-of-ada"));
    let ada = hub.authenticate(&Credentials { token, peer: None }).await.unwrap();
    let large = json!({"type": "_test.note", "to": "global", "data": {"fill": "x".repeat(1_000_000)}}).to_string();
    let mut waiting = Vec::new();
    for _ in 0..60 {
        let (hub, ada, publication) = (hub.clone(), ada.clone(), Publication::decode(&large));
        waiting.push(tokio::spawn(async move { hub.publish(&ada, vec![publication]).await.map(|_| ()) }));
    }
    tokio::task::yield_now().await;
    let other = tokio::spawn(publish("tom"));
    // As soon as the other has handed in its own, the first one is refused; before, it waits.
    let refused = async {
        loop {
            if let Ok((status, head, body)) = tokio::time::timeout(Duration::from_millis(500), publish("ada")).await {
                return (status, head, body);
            }
        }
    };
    let (status, head, body) = tokio::time::timeout(3 * DEADLINE, refused).await.expect("an answer");
    assert_eq!((status, body["error"]["code"].as_str()), (429, Some("rate_limited")), "{body}");
    assert!(head.contains("retry-after: 1"), "{head}");
    assert!(!other.is_finished(), "nothing is committed yet");
    go_on.send(true).unwrap();
    assert_eq!(other.await.unwrap().0, 202);
    assert_eq!(publish("ada").await.0, 202);
}
