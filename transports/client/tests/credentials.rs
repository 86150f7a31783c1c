//! What a client shows to a server whose every word is in the test, over both transports and over TLS: tokens that end and
//! are replaced, tickets that open one connection, refusals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use eventwire_client::{
    Authorities, Backoff, BuildError, Builder, Client, CommandError, Credential, Draft, Item, Items, Liveness, Need,
    Phase, Publisher, Quality, State, Transport, reconnect::Ended,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

const PATIENCE: Duration = Duration::from_secs(20);
const EPOCH: &str = "00000000000000aa";
const NOW: &str = "2026-11-20T23:40:00Z";
const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Sse];

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A server, with TLS if it has a certificate.
struct Server {
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

/// A request, with the line it came on.
struct Asked {
    head: String,
    /// More of the head of an answer that is an event stream.
    more: &'static str,
    wire: Box<dyn Wire>,
}

impl Server {
    async fn start() -> Self {
        Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: None }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    fn builder(&self, over: Transport) -> Builder {
        let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(1), ..Backoff::default() };
        let liveness = Liveness { ping_every: Duration::from_secs(3600), ..Liveness::default() };
        Client::builder(self.url()).backoff(backoff).transports([over]).liveness(liveness)
    }

    /// The head of the next request. A line that is no TLS where it should be is passed over.
    async fn asked(&self) -> Asked {
        loop {
            let (stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
            let mut wire: Box<dyn Wire> = match &self.tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => continue,
                },
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(soon("a head", wire.read_u8()).await.unwrap());
            }
            return Asked { head: String::from_utf8(head).unwrap(), more: "", wire };
        }
    }
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    async fn refuse(mut self, status: u16) {
        let body = json!({"error": {"code": "unauthorized", "message": "not with that"}}).to_string();
        let answer = format!(
            "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        self.wire.write_all(answer.as_bytes()).await.unwrap();
        let _ = self.wire.shutdown().await;
    }

    /// Opens whatever was asked for, and says welcome.
    async fn welcome(mut self, expires_at: Option<&str>) -> Peer {
        let mut peer = if self.path().starts_with("/v1/ws") {
            let key = self.header("sec-websocket-key").unwrap().to_owned();
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-protocol: eventwire.v1\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            self.wire.write_all(answer.as_bytes()).await.unwrap();
            Peer::WebSocket(Box::new(WebSocketStream::from_raw_socket(self.wire, Role::Server, None).await))
        } else {
            assert!(self.path().starts_with("/v1/sse"), "{}", self.head);
            assert_eq!(self.header("accept"), Some("text/event-stream"));
            let agent = concat!("eventwire-client/", env!("CARGO_PKG_VERSION"));
            assert_eq!(self.header("user-agent"), Some(agent));
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n{}\r\n",
                self.more
            );
            self.wire.write_all(answer.as_bytes()).await.unwrap();
            self.wire.write_all(format!("retry: 5\nid: {EPOCH}-0\n\n").as_bytes()).await.unwrap();
            Peer::Sse(self.wire)
        };
        let mut welcome = json!({"connection_id": "c0000000000000001", "protocol": "v1", "epoch": EPOCH, "server": "scripted", "server_time": NOW, "permissions": [], "heartbeat_interval_ms": 30000,
            "limits": {"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 32, "command_burst": 64}});
        if let Some(end) = expires_at {
            welcome["expires_at"] = json!(end);
        }
        peer.say("welcome", welcome).await;
        if let Peer::WebSocket(_) = peer {
            let command = peer.command().await;
            let streams: Vec<Value> = command["data"]["streams"]
                .as_array()
                .unwrap()
                .iter()
                .map(|stream| json!({"to": stream["to"], "head": 0}))
                .collect();
            peer.say("subscribed", json!({"re": command["id"], "epoch": EPOCH, "streams": streams, "refused": []}))
                .await;
        }
        peer
    }
}

enum Peer {
    WebSocket(Box<WebSocketStream<Box<dyn Wire>>>),
    Sse(Box<dyn Wire>),
}

impl Peer {
    async fn send(&mut self, frame: Value) {
        match self {
            Peer::WebSocket(socket) => socket.send(Message::text(frame.to_string())).await.unwrap(),
            Peer::Sse(wire) => {
                let id = frame["seq"].as_u64().map(|seq| format!("id: {EPOCH}-{seq}\n")).unwrap_or_default();
                wire.write_all(format!("{id}data: {frame}\n\n").as_bytes()).await.unwrap();
            }
        }
    }

    async fn say(&mut self, kind: &str, data: Value) {
        self.send(json!({"type": format!("connection.{kind}"), "time": NOW, "to": "connection:c0000000000000001", "data": data})).await;
    }

    async fn event(&mut self, seq: u64) {
        self.send(json!({"type": "_test.event", "time": NOW, "to": "global", "seq": seq, "prev": seq - 1, "data": {}}))
            .await;
    }

    async fn command(&mut self) -> Value {
        let Peer::WebSocket(socket) = self else { panic!("an event stream has no commands") };
        loop {
            match soon("a command", socket.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a command, got {other:?}"),
            }
        }
    }

    /// Closes as a server does with this code.
    async fn close(mut self, code: u16) {
        self.say("closing", json!({"reason": "no longer", "code": code})).await;
        match self {
            Peer::WebSocket(mut socket) => {
                let frame = CloseFrame { code: CloseCode::from(code), reason: "no longer".into() };
                (*socket).close(Some(frame)).await.unwrap();
                while let Ok(Some(Ok(_))) = timeout(PATIENCE, socket.next()).await {}
            }
            Peer::Sse(mut wire) => wire.shutdown().await.unwrap(),
        }
    }
}

/// A source that counts what it was asked, and answers with `token-1`, `token-2` and so on.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<Vec<Need>>>);

impl Counted {
    fn asked(&self) -> Vec<Need> {
        self.0.lock().unwrap().clone()
    }

    fn next(&self, need: Need) -> usize {
        let mut asked = self.0.lock().unwrap();
        asked.push(need);
        asked.len()
    }
}

fn tokens(builder: Builder) -> (Builder, Counted) {
    let counted = Counted::default();
    let source = counted.clone();
    let builder = builder.token_source(move |need| {
        // As it is read from a file: the white space is not part of it.
        let token = format!(" token-{}\n", source.next(need));
        async move { Ok::<_, std::io::Error>(Credential::token(token)) }
    });
    (builder, counted)
}

async fn last(mut items: Items) -> Item {
    let mut last = None;
    while let Some(item) = soon("the end", items.next()).await {
        last = Some(item);
    }
    last.unwrap()
}

async fn expect_seq(items: &mut Items, seq: u64) {
    loop {
        match soon("an event", items.next()).await.expect("the client goes on") {
            Item::Event(event) if event.seq.is_some() => {
                assert_eq!(event.seq.unwrap().as_u64(), seq);
                return;
            }
            Item::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn auth_11_a_token_that_is_about_to_end_is_replaced_on_the_open_socket() {
    let server = Server::start().await;
    let (builder, counted) = tokens(server.builder(Transport::WebSocket));
    let (_client, mut items) = builder.build().unwrap();
    let asked = server.asked().await;
    assert_eq!(asked.header("authorization"), Some("Bearer token-1"));
    // By the clock of the server, which is another one than ours.
    let mut peer = asked.welcome(Some("2026-11-20T23:40:00.400Z")).await;
    let command = peer.command().await;
    assert_eq!((&command["type"], &command["data"]["token"]), (&json!("authenticate"), &json!("token-2")));
    // The answer names the next end.
    peer.say("reply", json!({"re": command["id"], "data": {"expires_at": "2026-11-20T23:40:01Z"}})).await;
    let command = peer.command().await;
    assert_eq!(command["data"]["token"], "token-3");
    peer.say("reply", json!({"re": command["id"], "data": {}})).await;
    peer.event(1).await;
    expect_seq(&mut items, 1).await;
    drop(peer);
    assert_eq!(server.asked().await.header("authorization"), Some("Bearer token-3"), "kept for the next connection");
    assert_eq!(counted.asked(), [Need::First, Need::Expiring, Need::Expiring]);
}

#[tokio::test]
async fn auth_11_an_event_stream_is_opened_again_before_its_token_ends_and_goes_on() {
    let server = Server::start().await;
    let (builder, counted) = tokens(server.builder(Transport::Sse).token("token-0"));
    let (_client, mut items) = builder.build().unwrap();
    let asked = server.asked().await;
    assert_eq!(asked.header("authorization"), Some("Bearer token-0"));
    let mut peer = asked.welcome(Some("2026-11-20T23:40:00.400Z")).await;
    peer.event(1).await;
    expect_seq(&mut items, 1).await;
    let asked = server.asked().await;
    assert_eq!(asked.header("authorization"), Some("Bearer token-1"));
    assert_eq!(asked.header("last-event-id"), Some(&*format!("{EPOCH}-1")), "goes on where it was");
    let mut peer = asked.welcome(None).await;
    peer.event(2).await;
    expect_seq(&mut items, 2).await;
    assert_eq!(counted.asked(), [Need::Expiring]);
}

#[tokio::test]
async fn ws_05_a_token_that_is_no_longer_taken_is_replaced_once() {
    for over in BOTH {
        let server = Server::start().await;
        let (builder, counted) = tokens(server.builder(over));
        let (client, items) = builder.build().unwrap();
        let peer = server.asked().await.welcome(None).await;
        peer.close(4001).await;
        let asked = server.asked().await;
        assert_eq!(asked.header("authorization"), Some("Bearer token-2"), "{over:?}");
        asked.refuse(401).await;
        assert!(
            matches!(last(items).await, Item::State(State::Closed { code: 401, reason }) if reason == "not with that")
        );
        assert_eq!(counted.asked(), [Need::First, Need::Refused]);
        assert_eq!((client.status().phase, client.status().quality), (Phase::Closed, Quality::Offline));
    }
}

#[tokio::test]
async fn ws_05_without_a_source_of_tokens_an_end_is_an_end() {
    for (over, code) in [(BOTH[0], 4001), (BOTH[1], 4001), (BOTH[0], 4003), (BOTH[1], 1008)] {
        let server = Server::start().await;
        let (_client, items) = server.builder(over).token("token").build().unwrap();
        let peer = server.asked().await.welcome(None).await;
        peer.close(code).await;
        let end = last(items).await;
        assert!(
            matches!(&end, Item::State(State::Closed { code: same, .. }) if *same == code),
            "{over:?} {code}: {end:?}"
        );
    }
}

#[tokio::test]
async fn auth_11_an_event_stream_that_breaks_after_its_end_was_said_ended_with_that_code() {
    let server = Server::start().await;
    let (_client, items) = server.builder(Transport::Sse).token("token").build().unwrap();
    // What was promised does not come: to the client that is an error, and no end.
    let asked = Asked { more: "content-length: 1000000\r\n", ..server.asked().await };
    asked.welcome(None).await.close(4003).await;
    let end = last(items).await;
    assert!(matches!(&end, Item::State(State::Closed { code: 4003, .. })), "{end:?}");
}

#[tokio::test]
async fn a_source_without_a_token_is_asked_again_and_nothing_is_dialled_meanwhile() {
    let server = Server::start().await;
    let counted = Counted::default();
    let source = counted.clone();
    let builder = server.builder(Transport::WebSocket).token_source(move |need| {
        let count = source.next(need);
        async move {
            match count {
                1 | 2 => Err("the login is gone"),
                // Shown nowhere, and no reason to come without any.
                3 => Ok(Credential::token_for("line\nbreak", Duration::ZERO)),
                _ => Ok(Credential::token("late")),
            }
        }
    });
    let (_client, mut items) = builder.build().unwrap();
    let mut told = 0;
    let asked = server.asked().await;
    assert_eq!(asked.header("authorization"), Some("Bearer late"));
    while let Item::State(state) = soon("a state", items.next()).await.unwrap() {
        match state {
            State::Reconnecting { because: Ended::NoToken(why), .. } => {
                told += 1;
                let expected =
                    if told < 3 { "the login is gone" } else { "the token has characters that cannot stand" };
                assert!(why.starts_with(expected), "{why}");
            }
            State::Connecting { .. } if told == 3 => break,
            _ => {}
        }
    }
    drop(asked);
}

#[tokio::test]
async fn auth_12_a_ticket_opens_one_connection_and_another_is_asked_for_before_the_next() {
    for over in BOTH {
        let server = Server::start().await;
        let counted = Counted::default();
        let source = counted.clone();
        let builder = server.builder(over).subscribe("room:tasks").token_source(move |need| {
            let ticket = format!("t&{}", source.next(need));
            async move { Ok::<_, std::io::Error>(Credential::ticket(ticket)) }
        });
        let (_client, _items) = builder.build().unwrap();
        for count in 1..4 {
            let asked = server.asked().await;
            let ticket = format!("ticket=t%26{count}");
            let path = match over {
                Transport::WebSocket => format!("/v1/ws?{ticket}"),
                Transport::Sse => format!("/v1/sse?to=room:tasks&{ticket}"),
            };
            assert_eq!(asked.path(), path);
            assert_eq!(asked.header("authorization"), None);
            drop(asked.welcome(None).await);
        }
        assert!(counted.asked().iter().all(|need| *need == Need::First));
    }
}

#[tokio::test]
async fn what_waits_for_a_connection_is_bounded() {
    let server = Server::start().await;
    let patience = Duration::from_secs(3);
    let (client, _items) = server.builder(Transport::Sse).command_timeout(patience).build().unwrap();
    // Accepted, and not answered.
    let asked = server.asked().await;
    let mut calls = Vec::new();
    for n in 0..70 {
        let client = client.clone();
        calls.push(tokio::spawn(async move { client.subscribe([(format!("room:r{n}"), None)]).await }));
        // What is asked for at once would be one command.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (mut waited, mut full) = (0, 0);
    for call in calls {
        match soon("an answer", call).await.unwrap() {
            Err(CommandError::Timeout) => waited += 1,
            Err(CommandError::Overflow { limit: 64 }) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((waited, full), (64, 6));
    assert!(matches!(client.ping().await, Err(CommandError::Disconnected)));
    drop(asked);
}

#[tokio::test]
async fn over_tls_only_a_certificate_that_is_trusted_will_do() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], made.signing_key.serialize_der().try_into().unwrap())
        .unwrap();
    let mut server = Server::start().await;
    server.tls = Some(Arc::new(config).into());
    let port = server.listener.local_addr().unwrap().port();
    let authorities = Authorities::default().and_pem(made.cert.pem().as_bytes()).unwrap();
    assert!(matches!(Authorities::default().and_pem(b"nothing"), Err(BuildError::Certificate { .. })));

    let strangers = Backoff { attempts: Some(1), base: Duration::ZERO, ..Backoff::default() };
    for (url, over) in [
        (format!("wss://localhost:{port}/v1/ws"), Transport::WebSocket),
        (format!("https://localhost:{port}"), Transport::Sse),
    ] {
        let (_client, items) = Client::builder(&url).transports([over]).backoff(strangers).build().unwrap();
        let listening = async {
            tokio::select! {
                _ = server.asked() => panic!("a stranger was trusted"),
                end = last(items) => end,
            }
        };
        let Item::State(State::Failed { because: Ended::Lost(why), .. }) = listening.await else {
            panic!("no failure")
        };
        assert!(why.contains("certificate"), "{why}");

        let builder = Client::builder(&url).transports([over]).authorities(authorities.clone());
        let (_client, mut items) = builder.build().unwrap();
        let mut peer = server.asked().await.welcome(None).await;
        peer.event(1).await;
        expect_seq(&mut items, 1).await;
    }

    let publisher = Publisher::trusting(&format!("https://localhost:{port}"), None, authorities).unwrap();
    let draft = Draft::raw("_test.event", "global".parse().unwrap(), &json!({})).unwrap();
    let (outcome, ()) = tokio::join!(publisher.publish(&draft), async {
        let asked = server.asked().await;
        assert_eq!(asked.path(), "/v1/events");
        asked.refuse(401).await;
    });
    assert!(outcome.unwrap_err().to_string().contains("not with that"));
}

#[tokio::test]
async fn a_ticket_is_bought_with_the_token_of_a_publisher() {
    let server = Server::start().await;
    let publisher = Publisher::new(&server.url(), Some("secret")).unwrap();
    let (ticket, ()) = tokio::join!(publisher.ticket(), async {
        let mut asked = server.asked().await;
        assert_eq!((asked.path(), asked.header("authorization")), ("/v1/tickets", Some("Bearer secret")));
        let body = json!({"ticket": "once", "expires_in_s": 30}).to_string();
        let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        asked.wire.write_all(answer.as_bytes()).await.unwrap();
    });
    let ticket = ticket.unwrap();
    assert_eq!((ticket.ticket.as_str(), ticket.expires_in_s), ("once", 30));
    assert!(!format!("{ticket:?}").contains("once"));
    let (refused, ()) = tokio::join!(publisher.ticket(), async { server.asked().await.refuse(401).await });
    assert!(refused.unwrap_err().to_string().contains("not with that"));
}

#[tokio::test]
async fn latency_and_quality_are_measured_and_a_silent_server_is_left() {
    let server = Server::start().await;
    let liveness =
        Liveness { ping_every: Duration::from_millis(100), answer_within: Duration::from_millis(400), silence: None };
    let (client, mut items) = server.builder(Transport::WebSocket).liveness(liveness).build().unwrap();
    let mut peer = server.asked().await.welcome(None).await;
    let mut changes = client.status_changes();
    let ping = peer.command().await;
    assert_eq!(ping["type"], "ping");
    tokio::time::sleep(Duration::from_millis(250)).await;
    peer.say("pong", json!({"re": ping["id"], "server_time": NOW})).await;
    let status = loop {
        let status = soon("a measurement", changes.next()).await.unwrap();
        if status.latency.is_some() {
            break status;
        }
    };
    assert!(status.latency.unwrap() >= Duration::from_millis(250), "{status:?}");
    assert_eq!((status.phase, status.transport), (Phase::Connected, Transport::WebSocket));
    assert!(status.quality == Quality::Fair || status.quality == Quality::Poor, "{status:?}");
    // From now on it takes everything and says nothing.
    loop {
        if let Item::State(State::Reconnecting { because: Ended::Silent(why), .. }) =
            soon("the end", items.next()).await.unwrap()
        {
            assert_eq!(why, "the connection is open, but the server does not answer");
            break;
        }
    }
    assert_eq!(client.status().quality, Quality::Offline);
    drop(peer);
}
