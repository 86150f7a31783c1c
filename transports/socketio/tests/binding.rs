//! The binding over real sockets, as bytes of Engine.IO 4 and Socket.IO 5: every transport, order, limits, ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use eventwire_hub::{
    ApiKeys, ConnectRequest, Connection, ConnectionHandler, Credentials, Holder, Hub, KeyDigest, Meta, Principal,
    Settings, WorkBounds, unfinished::Pace,
};
use eventwire_protocol::{Claims, Dialect, ErrorBody, event::adw::TextBlock, limits};
use eventwire_socketio::{Admitted, Attachments, ConnectHandler, ConnectInfo, Options, SocketIoAcceptor};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(90);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Answers every event with itself, `bytes` with an attachment.
struct Echo {
    socket_id: String,
    attachments: Attachments,
    /// Whether many events may come at once.
    patient: bool,
}

#[async_trait]
impl ConnectionHandler for Echo {
    fn welcome(&mut self) -> Option<Bytes> {
        Some(json!(["welcome", self.socket_id]).to_string().into())
    }

    fn max_frame_bytes(&self) -> usize {
        1_000_000
    }

    fn burst(&self) -> u32 {
        if self.patient { 1_000 } else { limits::COMMAND_BURST }
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        if frame.starts_with(b"[\"bytes\"") {
            self.attachments.set("bytes", true);
        }
        // A frame of this dialect has an argument.
        let event: Value = serde_json::from_slice(frame).unwrap();
        connection.send_encoded(json!([event[0], event[1]]).to_string());
    }
}

/// `/` echoes, `/v1` is canonical.
struct Doors(Hub);

#[async_trait]
impl ConnectHandler for Doors {
    async fn admit(&self, info: &ConnectInfo) -> Result<Admitted, ErrorBody> {
        let principal = self.0.authenticate(&Credentials { token: info.token()?, peer: info.peer }).await?;
        info.check_admission(&self.0, &Holder::of(&principal, info.peer))?;
        let request = ConnectRequest::new(principal, "socketio");
        if info.namespace == "/v1" {
            return Ok(Admitted { request, handler: None });
        }
        let patient = info.auth.as_ref().is_some_and(|auth| auth["patient"] == true);
        let echo = Echo { socket_id: info.socket_id.clone(), attachments: info.attachments.clone(), patient };
        let meta = Meta { remote_address: info.peer, ..request.meta.clone() };
        let request = ConnectRequest { dialect: Dialect::Amiga, meta, ..request };
        Ok(Admitted { request, handler: Some(Box::new(echo)) })
    }
}

struct Server {
    hub: Hub,
    acceptor: SocketIoAcceptor,
    address: SocketAddr,
}

impl Server {
    /// Waits until so many are connected.
    async fn holds(&self, count: usize) {
        soon("that many connections", async {
            while self.hub.connection_count() != count {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

async fn serve(hub: Hub) -> Server {
    serve_with(hub, Options::default()).await
}

async fn serve_with(hub: Hub, options: Options) -> Server {
    let doors = Arc::new(Doors(hub.clone()));
    let acceptor = SocketIoAcceptor::with_options(hub.clone(), &["/", "/v1"], doors, options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answering = acceptor.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let acceptor = answering.clone();
            let service = hyper::service::service_fn(move |request| {
                let acceptor = acceptor.clone();
                async move { Ok::<_, Infallible>(acceptor.answer(request, Some(peer.ip())).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving.with_upgrades());
        }
    });
    Server { hub, acceptor, address }
}

type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client over a WebSocket, connected to a namespace.
struct Client {
    socket: Ws,
    sid: String,
}

impl Client {
    async fn open(server: &Server) -> Ws {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let opened = text(&mut socket).await.unwrap();
        let opened: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(
            (&opened["pingInterval"], &opened["pingTimeout"], &opened["maxPayload"]),
            (&json!(25_000), &json!(20_000), &json!(1_000_000))
        );
        socket
    }

    async fn connect(server: &Server, namespace: &str) -> Self {
        let mut socket = Self::open(server).await;
        let prefix = if namespace == "/" { "40".to_owned() } else { format!("40{namespace},") };
        send(&mut socket, &prefix).await;
        let connected = text(&mut socket).await.unwrap();
        let connected: Value = serde_json::from_str(connected.strip_prefix(&prefix).unwrap()).unwrap();
        let mut client = Self { socket, sid: connected["sid"].as_str().unwrap().to_owned() };
        if namespace == "/" {
            assert_eq!(client.event().await, json!(["welcome", client.sid]));
        }
        client
    }

    async fn send(&mut self, packet: &str) {
        send(&mut self.socket, packet).await;
    }

    /// The next event of any namespace.
    async fn event(&mut self) -> Value {
        let packet = text(&mut self.socket).await.unwrap();
        let at = packet.find('[').unwrap_or_else(|| panic!("{packet}"));
        serde_json::from_str(&packet[at..]).unwrap()
    }

    async fn watches(&mut self) {
        self.send(WATCH).await;
        while self.event().await[0] != "connection.subscribed" {}
    }
}

const WATCH: &str = r#"42/v1,["command",{"type":"subscribe","data":{"streams":[{"to":"adw:29fb6a3e"}]}}]"#;

async fn send(socket: &mut Ws, packet: &str) {
    socket.send(Message::Text(packet.into())).await.unwrap();
}

/// The next text that is no ping, or `None` at the end.
async fn text(socket: &mut Ws) -> Option<String> {
    // Pings come for ever, so the bound is over all of it.
    soon("a message", async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text == "2" => send(socket, "3").await,
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    })
    .await
}

async fn ask(server: &Server, method: &str, query: &str, body: impl Into<Bytes>) -> (StatusCode, String) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(format!("/socket.io/{query}")).header("host", "localhost");
    let answer = soon("an answer", sender.send_request(request.body(Full::new(body.into())).unwrap())).await.unwrap();
    let status = answer.status();
    let body = soon("the end of an answer", answer.into_body().collect())
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    (status, String::from_utf8_lossy(&body).into_owned())
}

const POLL: &str = "?EIO=4&transport=polling";

/// A polling session connected to a namespace: its id, and the query of its requests.
async fn poll(server: &Server, connect: &str) -> (String, String) {
    let (status, body) = ask(server, "GET", POLL, "").await;
    assert_eq!(status, StatusCode::OK);
    let opened: Value = serde_json::from_str(body.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(opened["upgrades"], json!(["websocket"]));
    let sid = opened["sid"].as_str().unwrap().to_owned();
    let session = format!("{POLL}&sid={sid}");
    assert_eq!(ask(server, "POST", &session, connect.to_owned()).await, (StatusCode::OK, "ok".into()));
    (sid, session)
}

/// Polls until this text has come.
async fn poll_until(server: &Server, session: &str, wanted: &str) -> String {
    let began = tokio::time::Instant::now();
    let mut told = String::new();
    while !told.contains(wanted) {
        assert!(began.elapsed() < PATIENCE, "{wanted} did not come: {told}");
        let (status, body) = ask(server, "GET", session, "").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        told.push_str(&body);
        told.push('\u{1e}');
    }
    told
}

fn block(content: impl ToString) -> TextBlock {
    serde_json::from_value(json!({"adw_id": "29fb6a3e", "content": content.to_string()})).unwrap()
}

#[tokio::test]
async fn sio_01_errors_of_the_transport_are_those_of_engine_io() {
    let server = serve(Hub::new()).await;
    for (method, query, code, message) in [
        ("GET", "", 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=carrier-pigeon", 0, "Transport unknown"),
        ("GET", "?EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "?EIO=3&transport=websocket", 5, "Unsupported protocol version"),
        ("GET", "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("GET", "?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("GET", "?EIO=4&transport=websocket", 3, "Bad request"),
        ("POST", "?EIO=4&transport=polling", 2, "Bad handshake method"),
    ] {
        let (status, body) = ask(&server, method, query, "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"code": code, "message": message}), "{query}");
    }
    // A page of another origin asks first.
    assert_eq!(ask(&server, "OPTIONS", POLL, "").await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn sio_04_a_session_that_polls_is_a_connection_and_knows_itself_by_its_socket_id() {
    let server = serve(Hub::new()).await;
    let (sid, session) = poll(&server, "40").await;
    let told = poll_until(&server, &session, "welcome").await;
    // The first ping comes a moment after the session was opened.
    let told = told.trim_start_matches("2\u{1e}");
    assert!(told.starts_with(&format!("40{{\"sid\":\"{sid}\"}}")), "{told}");
    assert!(told.contains(&format!("42[\"welcome\",\"{sid}\"]")), "{told}");
    assert_eq!(ask(&server, "POST", &session, "42[\"one\",{}]\u{1e}42[\"two\"]").await.0, StatusCode::OK);
    let told = poll_until(&server, &session, "two").await;
    assert!(told.find("one").unwrap() < told.find("two").unwrap());
    server.holds(1).await;
    let listed = format!("{:?}", server.hub.connections());
    assert!(!listed.contains(&sid), "the id is a key to the session: {listed}");
    assert_eq!(ask(&server, "POST", &session, "1").await.0, StatusCode::OK);
    server.holds(0).await;
}

#[tokio::test]
async fn sio_01_a_websocket_takes_over_a_session_that_polls_and_one_that_breaks_off_ends_it() {
    let server = serve(Hub::new()).await;
    for completed in [true, false] {
        let (sid, _) = poll(&server, "40").await;
        server.holds(1).await;
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={sid}", server.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        send(&mut socket, "2probe").await;
        assert_eq!(text(&mut socket).await.unwrap(), "3probe");
        if completed {
            send(&mut socket, "5").await;
            let first = text(&mut socket).await.unwrap();
            assert!(first.starts_with("40{"), "{first}");
            assert!(text(&mut socket).await.unwrap().starts_with("42[\"welcome\""));
        }
        drop(socket);
        server.holds(0).await;
    }
}

#[tokio::test]
async fn sio_03_who_is_refused_gets_a_connect_error_and_may_try_again() {
    let mut keys = ApiKeys::new();
    let claims = Claims { user: Some("maria".parse().unwrap()), ..Claims::anonymous() };
    keys.add(KeyDigest::of("key-of-maria"), Principal::new("maria", claims)).unwrap();
    let server = serve(Hub::builder().authenticator(keys).build()).await;
    let mut socket = Client::open(&server).await;
    for auth in ["", r#"{"token":"hush"}"#, r#"{"token":["hush"]}"#, "{}"] {
        send(&mut socket, &format!("40{auth}")).await;
        let refused = text(&mut socket).await.unwrap();
        let error: Value = serde_json::from_str(refused.strip_prefix("44").unwrap()).unwrap();
        assert!(error["message"].as_str().unwrap().starts_with("unauthorized"), "{error}");
        assert!(!refused.contains("hush"));
    }
    assert_eq!(server.hub.connection_count(), 0);
    send(&mut socket, r#"40{"token":"key-of-maria"}"#).await;
    assert!(text(&mut socket).await.unwrap().starts_with("40{"));
    assert_eq!(server.hub.connections()[0].user_id.as_deref(), Some("maria"));
    assert!(text(&mut socket).await.unwrap().starts_with("42[\"welcome\""));
    send(&mut socket, "40/elsewhere,").await;
    assert_eq!(text(&mut socket).await.unwrap(), r#"44/elsewhere,{"message":"Invalid namespace"}"#);
}

fn numbers(event: &Value) -> Option<usize> {
    (event[0] == "adw.text_block").then(|| event[1]["data"]["content"].as_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_05_thousands_of_events_come_in_their_order_on_every_transport() {
    const EVENTS: usize = 5_000;
    let server = serve(Hub::new()).await;
    let mut socket = Client::connect(&server, "/v1").await;
    socket.watches().await;
    let (_, session) = poll(&server, "40/v1,").await;
    poll_until(&server, &session, "40/v1").await;
    ask(&server, "POST", &session, WATCH).await;
    poll_until(&server, &session, "connection.subscribed").await;
    let adw = server.hub.adw("29fb6a3e".parse().unwrap());
    let publishing = tokio::spawn(async move {
        for number in 0..EVENTS {
            adw.publish(block(number)).await.unwrap();
        }
    });
    let over_socket = async {
        let mut seen = Vec::new();
        while seen.len() < EVENTS {
            seen.extend(numbers(&socket.event().await));
        }
        seen
    };
    let over_polling = async {
        let mut seen = Vec::new();
        while seen.len() < EVENTS {
            let (status, body) = ask(&server, "GET", &session, "").await;
            assert_eq!(status, StatusCode::OK);
            for packet in body.split('\u{1e}') {
                match packet.strip_prefix("42/v1,") {
                    Some(event) => seen.extend(numbers(&serde_json::from_str(event).unwrap())),
                    None if packet == "2" => assert_eq!(ask(&server, "POST", &session, "3").await.0, StatusCode::OK),
                    None => {}
                }
            }
        }
        seen
    };
    let (over_socket, over_polling) = tokio::join!(over_socket, over_polling);
    publishing.await.unwrap();
    let expected: Vec<usize> = (0..EVENTS).collect();
    assert!(over_socket == expected && over_polling == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_10_what_a_client_sends_at_once_is_answered_in_its_order_and_acknowledged() {
    let server = serve(Hub::new()).await;
    let mut client = Client::connect(&server, "/").await;
    for number in 0..60 {
        client.send(&format!("42[\"say\",{{\"number\":{number}}}]")).await;
    }
    for number in 0..60 {
        assert_eq!(client.event().await, json!(["say", {"number": number}]));
    }
    client.send("427[\"say\"]").await;
    let mut answers = [text(&mut client.socket).await.unwrap(), text(&mut client.socket).await.unwrap()];
    answers.sort();
    assert_eq!(answers, ["42[\"say\",null]", "437[]"]);
}

#[tokio::test]
async fn sio_09_an_argument_goes_as_bytes_where_that_was_asked_for() {
    let server = serve(Hub::new()).await;
    let mut client = Client::connect(&server, "/").await;
    client.send("42[\"bytes\",{\"a\":1}]").await;
    assert_eq!(text(&mut client.socket).await.unwrap(), "451-[\"bytes\",{\"_placeholder\":true,\"num\":0}]");
    let Some(Ok(Message::Binary(bytes))) = soon("bytes", client.socket.next()).await else { panic!() };
    assert_eq!(&bytes[..], b"{\"a\":1}");
}

#[tokio::test]
async fn sio_02_an_event_with_attachments_ends_its_own_connection() {
    let server = serve(Hub::new()).await;
    let mut other = Client::connect(&server, "/").await;
    // Of the first, the attachment would never come.
    for packet in ["451-[\"say\",{\"_placeholder\":true,\"num\":0}]", "4599999-[\"say\"]"] {
        let mut client = Client::connect(&server, "/").await;
        client.send(packet).await;
        while text(&mut client.socket).await.is_some() {}
        other.send("42[\"say\",1]").await;
        assert_eq!(other.event().await, json!(["say", 1]));
        server.holds(1).await;
    }
}

#[tokio::test]
async fn sio_02_what_is_larger_than_may_be_or_no_packet_ends_its_own_connection_alone() {
    let server = serve(Hub::new()).await;
    let mut other = Client::connect(&server, "/").await;
    let mut client = Client::connect(&server, "/").await;
    client.send(&format!("42[\"say\",{{\"text\":\"{}\"}}]", "x".repeat(990_000))).await;
    assert_eq!(client.event().await[1]["text"].as_str().unwrap().len(), 990_000);
    let larger = format!("42[\"say\",{{\"text\":\"{}\"}}]", "x".repeat(1_100_000));
    let _ = client.socket.send(Message::Text(larger.as_str().into())).await;
    while text(&mut client.socket).await.is_some() {}
    let (_, session) = poll(&server, "40").await;
    assert!(ask(&server, "POST", &session, larger).await.0.is_client_error());
    for packet in ["4", "49", "42", "42{", "42[1]", "9", "zzz", "42[\"unclosed", "4\u{0}", ""] {
        let mut bad = Client::connect(&server, "/").await;
        let _ = bad.socket.send(Message::Text(packet.into())).await;
        bad.socket.close(None).await.ok();
    }
    other.send("42[\"say\",1]").await;
    assert_eq!(other.event().await, json!(["say", 1]));
    server.holds(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_06_a_client_that_floods_is_disconnected() {
    let server = serve(Hub::new()).await;
    let mut client = Client::connect(&server, "/").await;
    let mut other = Client::connect(&server, "/").await;
    for _ in 0..5_000 {
        if client.socket.feed(Message::Text("42[\"say\",{}]".into())).await.is_err() {
            break;
        }
    }
    let _ = client.socket.flush().await;
    // What the server had not read makes the end of the connection a reset.
    let ended = async { while let Some(Ok(_)) = client.socket.next().await {} };
    soon("an end", ended).await;
    other.send("42[\"say\",1]").await;
    assert_eq!(other.event().await, json!(["say", 1]));
    server.holds(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_06_a_client_that_takes_nothing_is_cut_off_and_delays_nobody() {
    let server = serve(Hub::new()).await;
    let mut stalled = Client::connect(&server, "/v1").await;
    let mut reading = Client::connect(&server, "/v1").await;
    stalled.watches().await;
    reading.watches().await;
    let adw = server.hub.adw("29fb6a3e".parse().unwrap());
    let large = "x".repeat(60_000);
    let publishing = tokio::spawn(async move {
        for _ in 0..400 {
            adw.publish(block(&large)).await.unwrap();
        }
    });
    for _ in 0..400 {
        while reading.event().await[0] != "adw.text_block" {}
    }
    publishing.await.unwrap();
    // What waits for the other is its mailbox, and in the transport what a session may be given.
    let unsent = server.acceptor.unsent_bytes();
    // The acceptor counts both sessions; of the one that reads, the last events may still be on their way.
    assert!(unsent <= 2 * limits::SOCKETIO_UNSENT_BYTES as u64, "{unsent} bytes were handed over and not taken");
    let queued = server.hub.connections().iter().map(|info| info.queued_bytes).max().unwrap();
    assert!(queued <= 2 << 20, "{queued} bytes wait for one client");
    server.holds(1).await;
    // Its stream has ended, once what was under way is read.
    soon("the end of its stream", async { while let Some(Ok(_)) = stalled.socket.next().await {} }).await;
}

/// The library puts its pings behind the events, and ends a session for whose ping there is no room.
#[tokio::test]
async fn sio_06_a_ping_finds_room_behind_a_burst_of_events() {
    const EVENTS: usize = 300;
    let server = serve(Hub::new()).await;
    let (_, session) = poll(&server, "40/v1,").await;
    poll_until(&server, &session, "40/v1").await;
    ask(&server, "POST", &session, WATCH).await;
    poll_until(&server, &session, "connection.subscribed").await;
    ask(&server, "POST", &session, "3").await;
    let adw = server.hub.adw("29fb6a3e".parse().unwrap());
    for number in 0..EVENTS {
        adw.publish(block(format!("number {number}."))).await.unwrap();
    }
    // Nothing polls meanwhile. A queue with less room than this is full after the wait.
    for _ in 0..200 {
        if server.acceptor.unsent_bytes() > (EVENTS * 64) as u64 {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    // The clock goes on by itself from just before the ping.
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(24_500)).await;
    tokio::time::resume();
    sleep(Duration::from_secs(1)).await;
    let told = poll_until(&server, &session, &format!("number {}.", EVENTS - 1)).await;
    assert_eq!(told.matches("[\"adw.text_block\"").count(), EVENTS);
    assert!(told.split('\u{1e}').any(|packet| packet == "2"), "the ping comes behind the burst");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_06_large_events_wait_within_their_bytes_and_all_of_them_come() {
    const EVENTS: usize = 8;
    let server = serve(Hub::new()).await;
    let mut socket = Client::connect(&server, "/v1").await;
    socket.watches().await;
    let (_, session) = poll(&server, "40/v1,").await;
    poll_until(&server, &session, "40/v1").await;
    ask(&server, "POST", &session, WATCH).await;
    poll_until(&server, &session, "connection.subscribed").await;
    let large = "x".repeat(700_000);
    for number in 0..EVENTS {
        let event = json!({"type": "_test.note", "to": "adw:29fb6a3e", "data": {"number": number, "fill": large}});
        let event = eventwire_protocol::Publication::decode(&event.to_string());
        let credentials = Credentials { token: None, peer: None };
        let publisher = server.hub.authenticate(&credentials).await.unwrap();
        server.hub.publish(&publisher, vec![event]).await.unwrap()[0].as_ref().unwrap();
        // One event for each, which is larger than the bound and goes alone.
        let unsent = server.acceptor.unsent_bytes();
        assert!(unsent < 2 * 800_000, "{unsent} bytes were handed over and not taken");
    }
    let over_socket = async {
        let mut number = 0;
        while number < EVENTS {
            let event = socket.event().await;
            if event[0] == "_test.note" {
                assert_eq!(event[1]["data"]["number"], number);
                number += 1;
            }
        }
    };
    let over_polling = async {
        let mut told = String::new();
        for number in 0..EVENTS {
            let wanted = format!("\"number\":{number}");
            while !told.contains(&wanted) {
                told = poll_until(&server, &session, "_test.note").await;
            }
        }
    };
    tokio::join!(over_socket, over_polling);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_07_who_may_not_come_back_is_told_and_who_may_sees_the_transport_end() {
    let server = serve(Hub::new()).await;
    let mut kicked = Client::connect(&server, "/").await;
    assert!(server.hub.kick(server.hub.connections()[0].connection_id));
    assert_eq!(text(&mut kicked.socket).await.unwrap(), "41");
    server.holds(0).await;
    // The transport is there, and its user may ask again.
    kicked.send("40").await;
    assert!(text(&mut kicked.socket).await.unwrap().starts_with("40{"));
    let (_, session) = poll(&server, "40").await;
    poll_until(&server, &session, "welcome").await;
    server.hub.drain(Duration::from_secs(2)).await;
    // No packet that says goodbye for good, but the end.
    while let Some(packet) = text(&mut kicked.socket).await {
        assert_ne!(packet, "41");
    }
    soon("the end of the session that polls", async {
        while ask(&server, "GET", &session, "").await.0 == StatusCode::OK {}
    })
    .await;
    soon("the end of everything", server.acceptor.shut_down()).await;
}

#[tokio::test]
async fn sio_06_a_session_without_a_connection_is_ended() {
    let server = serve(Hub::new()).await;
    let mut socket = Client::open(&server).await;
    // The packet that closes, and the end.
    assert_eq!(text(&mut socket).await.as_deref(), Some("1"));
    assert_eq!(text(&mut socket).await, None);
}

/// A request over a connection of its own, from this address.
async fn ask_from(server: &Server, from: &str, head: &str, body: &[u8]) -> String {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let head =
        format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = soon("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const OPEN: &str = "GET /socket.io/?EIO=4&transport=polling";

/// The query of a session's requests, from the answer that opened it.
fn session_in(answer: &str) -> String {
    let sid = answer.split("\"sid\":\"").nth(1).unwrap_or_else(|| panic!("{answer}")).split('"').next().unwrap();
    format!("{POLL}&sid={sid}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_22_a_peer_that_opens_sessions_without_end_is_refused_and_makes_room_for_another() {
    let idle_bytes = 100 * 28 * 1024;
    let server = serve_with(Hub::new(), Options { idle_bytes, ..Options::default() }).await;
    let mut opened = Vec::new();
    let mut refused = 0;
    for _ in 0..300 {
        let answer = ask_from(&server, "127.0.0.1", OPEN, b"").await;
        match &answer[..12] {
            "HTTP/1.1 200" => opened.push(session_in(&answer)),
            "HTTP/1.1 503" | "HTTP/1.1 429" => {
                assert!(answer.contains("\"code\":4") && answer.contains("retry-after: 1"), "{answer}");
                refused += 1;
            }
            _ => panic!("{answer}"),
        }
        assert!(server.acceptor.idle_bytes() <= idle_bytes);
    }
    assert!(opened.len() <= 100 && refused >= 200, "{} opened, {refused} refused", opened.len());

    // Another peer connects, and the session that has been idle for the longest time is gone.
    let answer = ask_from(&server, "127.0.0.2", OPEN, b"").await;
    let session = session_in(&answer);
    let connect = ask_from(&server, "127.0.0.2", &format!("POST /socket.io/{session}"), b"40").await;
    assert!(connect.ends_with("ok"), "{connect}");
    server.holds(1).await;
    let (status, body) = ask(&server, "POST", &opened[0], "3").await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("Session ID unknown"), "{status} {body}");

    // Sessions that connect to a namespace do not count, and what is not connected in time is given back.
    soon("the end of all other sessions", async {
        while server.acceptor.idle_bytes() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(ask_from(&server, "127.0.0.1", OPEN, b"").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_22_little_is_read_of_a_session_without_a_connection() {
    let server = serve(Hub::new()).await;
    // Names of namespaces are repeated in the answer.
    let large = format!("40/{},", "x".repeat(20_000));
    let session = session_in(&ask_from(&server, "127.0.0.1", OPEN, b"").await);
    let answer = ask(&server, "POST", &session, large.clone()).await;
    assert_eq!(answer.0, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.1);
    for _ in 0..2 {
        let part = format!("40/{},", "x".repeat(8_000));
        assert_eq!(ask(&server, "POST", &session, part).await.0, StatusCode::OK);
    }
    assert_eq!(ask(&server, "POST", &session, "x".repeat(8_000)).await.0, StatusCode::PAYLOAD_TOO_LARGE);

    let mut socket = Client::open(&server).await;
    let _ = socket.send(Message::Text(large.into())).await;
    while text(&mut socket).await.is_some() {}

    // A connected session may send more, but not to connect to another namespace.
    let mut client = Client::connect(&server, "/").await;
    client.send(&format!("40/{},", "x".repeat(20_000))).await;
    while text(&mut client.socket).await.is_some() {}
    let (_, session) = poll(&server, "40").await;
    poll_until(&server, &session, "welcome").await;
    let body = format!("42[\"say\",1]\u{1e}40/{},", "x".repeat(20_000));
    assert_eq!(ask(&server, "POST", &session, body).await.0, StatusCode::PAYLOAD_TOO_LARGE);

    let head = format!("{OPEN} HTTP/1.1\r\nX-Long: {}", "x".repeat(17_000));
    let answer = ask_from(&server, "127.0.0.1", &head, b"").await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sio_22_a_session_that_has_left_its_namespace_is_ended() {
    let server = serve(Hub::new()).await;
    let mut client = Client::connect(&server, "/").await;
    assert_eq!(server.acceptor.idle_bytes(), 0);
    client.send("41").await;
    server.holds(0).await;
    while text(&mut client.socket).await.is_some() {}
    soon("the end of the session", async {
        while server.acceptor.idle_bytes() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_09_a_packet_and_a_polling_body_that_trickle_are_ended() {
    let pace = Pace { bytes_per_second: 8 * 1024, window: Duration::from_secs(2) };
    let server = serve_with(Hub::new(), Options { pace, ..Options::default() }).await;
    let mut other = Client::connect(&server, "/").await;
    let mut client = Client::connect(&server, "/").await;
    // The head of a frame of 100,000 bytes, and a few of them.
    let mut begun = vec![0x81, 0xff];
    begun.extend(100_000_u64.to_be_bytes());
    begun.extend([0; 100]);
    let MaybeTlsStream::Plain(stream) = client.socket.get_mut() else { panic!("plain") };
    stream.write_all(&begun).await.unwrap();
    while text(&mut client.socket).await.is_some() {}
    server.holds(1).await;

    let (_, session) = poll(&server, "40").await;
    server.holds(2).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /socket.io/{session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n42[");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    soon("an answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    other.send("42[\"say\",1]").await;
    assert_eq!(other.event().await, json!(["say", 1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_08_unfinished_packets_and_bodies_are_in_the_budget() {
    const BUDGET: u64 = 2 << 20;
    let hub = Hub::builder().settings(Settings { unfinished_bytes: BUDGET, ..Settings::default() }).build();
    let server = serve(hub.clone()).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        // While large messages are under way, small ones come through.
        let (_, session) = poll(&server, "40").await;
        poll_until(&server, &session, "welcome").await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST /socket.io/{session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n");
        // As much as is taken: where the budget is used up, the rest is not read.
        held.push(tokio::spawn(async move {
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&[b'x'; 800_000]).await;
            std::future::pending::<()>().await
        }));
        let mut client = Client::connect(&server, "/").await;
        let mut begun = vec![0x81, 0xff];
        begun.extend(900_000_u64.to_be_bytes());
        begun.resize(600_000, 0);
        held.push(tokio::spawn(async move {
            let MaybeTlsStream::Plain(socket) = client.socket.get_mut() else { panic!("plain") };
            let _ = socket.write_all(&begun).await;
            std::future::pending::<()>().await
        }));
        assert!(hub.unfinished().used() <= BUDGET, "{}", hub.unfinished().used());
    }
    soon("a full budget", async {
        while hub.unfinished().used() < BUDGET / 2 {
            assert!(hub.unfinished().used() <= BUDGET);
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    held.iter().for_each(tokio::task::JoinHandle::abort);
    soon("an empty budget", async {
        while hub.unfinished().used() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_16_events_that_wait_for_their_share_are_not_read_and_another_peer_is_answered() {
    // 200 events a second.
    let work = WorkBounds { per_second: 3_200, burst: 320 };
    let server = serve(Hub::builder().settings(Settings { work, ..Settings::default() }).build()).await;
    let began = tokio::time::Instant::now();
    let mut socket = Client::open(&server).await;
    send(&mut socket, "40{\"patient\":true}").await;
    // More than a few bytes are read of a connected session alone.
    while !text(&mut socket).await.expect("a connection").contains("welcome") {}
    let fill = "x".repeat(60);
    for number in 0..300 {
        send(&mut socket, &format!("42[\"say\",{{\"number\":{number},\"fill\":\"{fill}\"}}]")).await;
    }
    let (_, session) = poll(&server, "40{\"patient\":true}").await;
    let posting = async {
        for post in 0..6 {
            let event = |number| format!("42[\"say\",{{\"number\":{}}}]", post * 40 + number);
            let body = (0..40).map(event).collect::<Vec<_>>().join("\u{1e}");
            assert_eq!(ask(&server, "POST", &session, body).await, (StatusCode::OK, "ok".into()));
        }
    };
    let answered = async {
        let mut number = 0;
        while number < 300 {
            let packet = text(&mut socket).await.expect("the client stays connected");
            if let Some(at) = packet.find("[\"say\"") {
                let event: Value = serde_json::from_str(&packet[at..]).unwrap();
                assert_eq!(event[1]["number"], number);
                number += 1;
            }
        }
    };
    let other = async {
        sleep(Duration::from_millis(300)).await;
        let session = session_in(&ask_from(&server, "127.0.0.2", OPEN, b"").await);
        ask_from(&server, "127.0.0.2", &format!("POST /socket.io/{session}"), b"40").await;
        ask_from(&server, "127.0.0.2", &format!("POST /socket.io/{session}"), b"42[\"say\",{\"from\":\"other\"}]")
            .await;
        let mut told = String::new();
        while !told.contains("other") {
            told += &ask_from(&server, "127.0.0.2", &format!("GET /socket.io/{session}"), b"").await;
        }
        began.elapsed()
    };
    let polling = poll_until(&server, &session, "\"number\":239}");
    let ((), (), other, _) = tokio::join!(answered, posting, other, polling);
    // 540 events at 200 a second, and the other among the first.
    assert!(began.elapsed() >= Duration::from_millis(2_500), "{:?}", began.elapsed());
    assert!(other < began.elapsed() - Duration::from_millis(500), "{other:?} of {:?}", began.elapsed());
}

/// A request that is answered without a socket, in time that a test moves.
async fn answered(acceptor: &SocketIoAcceptor, method: &str, query: &str, body: &'static str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(format!("/socket.io/{query}"));
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let peer = Some([10, 0, 0, 1].into());
    let answer = acceptor.answer(request.body(Full::new(Bytes::from(body))).unwrap(), peer).await;
    if answer.status() == StatusCode::TOO_MANY_REQUESTS {
        assert_eq!(answer.headers()["retry-after"], "1");
    }
    let status = answer.status();
    (status, String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned())
}

#[tokio::test(start_paused = true)]
async fn limit_07_opening_a_session_is_a_handshake_and_its_first_namespace_is_not_another() {
    let hub = Hub::new();
    let doors = Arc::new(Doors(hub.clone()));
    let acceptor = SocketIoAcceptor::new(hub.clone(), &["/", "/v1"], doors);
    let one = Holder::of_peer(Some([10, 0, 0, 1].into()));
    let use_up = || while hub.check_admission(&one).is_ok() {};
    use_up();
    for query in [POLL, "?EIO=4&transport=websocket"] {
        let (status, body) = answered(&acceptor, "GET", query, "").await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{query}: {body}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["code"], 4, "{body}");
    }
    assert!(hub.stats().turned_away["handshake_rate"] >= 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut session = String::new();
    for _ in 0..limits::HANDSHAKES_PER_SECOND {
        let (status, body) = answered(&acceptor, "GET", POLL, "").await;
        assert_eq!(status, StatusCode::OK);
        session = session_in(&body);
    }
    assert_eq!(answered(&acceptor, "GET", POLL, "").await.0, StatusCode::TOO_MANY_REQUESTS);
    // Nothing is left, and the session has its connection; for a second one it needs another handshake.
    for (packet, wanted) in [("40", "40{"), ("40/v1,", "44/v1,{\"message\":\"rate_limited")] {
        use_up();
        assert_eq!(answered(&acceptor, "POST", &session, packet).await.0, StatusCode::OK);
        let mut told = String::new();
        while !told.contains(wanted) {
            assert!(!told.contains("44{"), "{told}");
            use_up();
            let (status, body) = soon("an answer", answered(&acceptor, "GET", &session, "")).await;
            assert_eq!(status, StatusCode::OK);
            told += &body;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_16_packets_of_the_transport_are_work_of_their_peer() {
    // 800 frames a second.
    let work = WorkBounds { per_second: 3_200, burst: 320 };
    let server = serve(Hub::builder().settings(Settings { work, ..Settings::default() }).build()).await;
    let mut client = Client::connect(&server, "/").await;
    let began = tokio::time::Instant::now();
    for _ in 0..2_000 {
        client.socket.feed(Message::Text("3".into())).await.unwrap();
    }
    client.send("42[\"say\",1]").await;
    assert_eq!(client.event().await, json!(["say", 1]));
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
}
