//! What clients send: commands, and everything that is none, down to bytes that are no frames.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::sync::LazyLock;

use common::{ADW, Client, PATIENCE, adw, client_frame, dial, dial_raw, serve, text};
use eventwire_hub::Hub;
use eventwire_websocket::{Options, WebSocketAcceptor};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

const PIPE: usize = 64 * 1024;

/// A connection that must not notice anything of what others do, past its first events.
async fn bystander(hub: &Hub) -> Client<DuplexStream> {
    let (mut client, _) = dial(hub, &format!("/v1/ws?adw={ADW}"), PIPE).await;
    client.expect("connection.subscribed").await;
    client
}

/// That it noticed nothing, and still gets what it wants.
async fn unharmed(hub: &Hub, bystander: &mut Client<DuplexStream>) {
    hub.adw(adw()).publish(text("still here")).await.unwrap();
    let seen = bystander.fence("unharmed").await;
    let types: Vec<&Value> = seen.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["adw.text_block"]);
}

async fn ended(serving: tokio::task::JoinHandle<()>) {
    timeout(PATIENCE, serving).await.expect("serving ends").expect("serving does not panic");
}

#[tokio::test]
async fn ws_03_one_event_is_one_text_frame() {
    let hub = Hub::new();
    let (mut client, _) = dial(&hub, &format!("/v1/ws?adw={ADW}"), PIPE).await;
    assert_eq!(client.event().await["type"], "connection.welcome");
    assert_eq!(client.event().await["data"]["streams"][0]["to"], format!("adw:{ADW}"));
    let receipt = hub.adw(adw()).publish(text("caf\u{e9} \u{1f980}")).await.unwrap();
    let event = client.event().await;
    assert_eq!(event["data"]["content"], "caf\u{e9} \u{1f980}");
    assert_eq!(event["seq"].as_u64(), receipt.seq.map(|seq| seq.as_u64()));
}

#[tokio::test]
async fn ws_03_a_binary_frame_gets_an_error_and_the_connection_stays() {
    let hub = Hub::new();
    let mut bystander = bystander(&hub).await;
    let (mut client, _) = dial(&hub, "/v1/ws", PIPE).await;
    client.send(Message::binary(&br#"{"type":"ping"}"#[..])).await;
    let error = client.expect("connection.error").await;
    assert_eq!(error["data"]["code"], "malformed_frame");
    assert!(error["data"]["message"].as_str().unwrap().contains("binary"));
    client.fence("after").await;
    unharmed(&hub, &mut bystander).await;
}

#[tokio::test]
async fn flow_05_a_frame_over_the_command_limit_gets_an_error_and_the_connection_stays() {
    let hub = Hub::new();
    let (mut client, _) = dial(&hub, "/v1/ws", PIPE).await;
    client.send(Message::text("x".repeat(64 * 1024 + 1))).await;
    assert_eq!(client.expect("connection.error").await["data"]["code"], "too_large");
    client.fence("after").await;
}

#[tokio::test]
async fn limit_02_binary_frames_count_as_commands() {
    let hub = Hub::new();
    let (mut client, serving) = dial(&hub, "/v1/ws", 4 * PIPE).await;
    for _ in 0..100 {
        client.send(Message::binary(&b"flood"[..])).await;
    }
    let (code, _) = client.closed().await;
    assert_eq!(code, 4029);
    drop(client);
    ended(serving).await;
}

/// What each breach of RFC 6455 is answered with: the error, and then the close code.
#[tokio::test]
async fn ws_09_what_breaks_rfc_6455_gets_an_error_then_its_close_code_and_nobody_else_notices() {
    let masked = |first: u8, payload: &[u8]| client_frame(first, payload, true);
    let huge = |length: u64| [&[0x81, 0xff][..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat();
    let mib = 1024 * 1024_u64;
    let breaches: Vec<(&str, Vec<u8>, &str, u16)> = vec![
        ("text that is not UTF-8", masked(0x81, b"{\"type\":\"\xff\"}"), "invalid_utf8", 1007),
        ("text that ends in a half character", masked(0x81, b"\xe2\x82"), "invalid_utf8", 1007),
        (
            "a half character over fragments",
            [masked(0x01, b"\xe2\x82"), masked(0x80, b"x")].concat(),
            "invalid_utf8",
            1007,
        ),
        ("a surrogate", masked(0x81, b"\xed\xa0\x80"), "invalid_utf8", 1007),
        ("a close reason that is not UTF-8", masked(0x88, b"\x03\xe8\xff"), "invalid_utf8", 1007),
        ("no mask", client_frame(0x81, b"{}", false), "malformed_frame", 1002),
        ("a reserved bit", masked(0xc1, b"{}"), "malformed_frame", 1002),
        ("a reserved opcode", masked(0x83, b"{}"), "malformed_frame", 1002),
        ("a reserved control opcode", masked(0x8b, b""), "malformed_frame", 1002),
        ("a fragmented ping", masked(0x09, b""), "malformed_frame", 1002),
        ("a long ping", masked(0x89, &[b'p'; 126]), "malformed_frame", 1002),
        ("a continuation of nothing", masked(0x80, b"{}"), "malformed_frame", 1002),
        ("a message within a message", [masked(0x01, b"{"), masked(0x81, b"{}")].concat(), "malformed_frame", 1002),
        ("a close frame of one byte", masked(0x88, b"\x03"), "malformed_frame", 1002),
        ("a message over the limit", huge(mib + 1), "too_large", 1009),
        (
            "fragments over the limit",
            [masked(0x01, &vec![b'x'; 600_000]), masked(0x80, &vec![b'x'; 600_000])].concat(),
            "too_large",
            1009,
        ),
        ("a length of 2^63", huge(1 << 63), "too_large", 1009),
        ("a length of 2^64-1", huge(u64::MAX), "too_large", 1009),
    ];
    let hub = Hub::new();
    let mut bystander = bystander(&hub).await;
    for (what, bytes, error, code) in breaches {
        let (mut client, serving) = dial(&hub, "/v1/ws", 2 * 1024 * 1024).await;
        // Something before it, which is answered before it.
        client.command(json!({"type": "ping", "id": "before"})).await;
        client.stream.get_mut().write_all(&bytes).await.unwrap();
        assert_eq!(client.event().await["type"], "connection.welcome", "{what}");
        assert_eq!(client.event().await["data"]["re"], "before", "{what}");
        let told = client.event().await;
        assert_eq!((&told["type"], &told["data"]["code"]), (&json!("connection.error"), &json!(error)), "{what}");
        let (closed, reason) = client.closed().await;
        assert_eq!(closed, code, "{what}");
        assert!((1..=123).contains(&reason.len()), "{what}: {reason}");
        drop(client);
        ended(serving).await;
        unharmed(&hub, &mut bystander).await;
    }
    assert_eq!(hub.connection_count(), 1);
}

#[tokio::test]
async fn ws_09_the_error_outlives_a_message_that_is_still_being_sent() {
    let hub = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let serving = serve(&WebSocketAcceptor::new(hub.clone()), "/v1/ws", listener.accept().await.unwrap().0).await;
    let mut client = Client::over(dialled).await;
    client.expect("connection.welcome").await;
    // Far more than fits into the buffers between the two: most of it is written after the server has refused it.
    client.send(Message::text("x".repeat(32 * 1024 * 1024))).await;
    assert_eq!(client.event().await["data"]["code"], "too_large");
    assert_eq!(client.closed().await.0, 1009);
    drop(client);
    ended(serving).await;
}

#[tokio::test]
async fn ws_08_a_ping_is_answered_at_once_with_its_payload() {
    let hub = Hub::new();
    let (mut client, _) = dial(&hub, "/v1/ws", PIPE).await;
    client.expect("connection.welcome").await;
    for payload in [&b""[..], b"are you there"] {
        client.send(Message::Ping(payload.to_vec().into())).await;
        match client.message().await {
            Some(Ok(Message::Pong(echo))) => assert_eq!(echo, payload),
            other => panic!("a pong was expected, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn ws_08_a_close_of_the_client_is_answered_with_its_code() {
    let hub = Hub::new();
    for (sent, answered) in [
        (CloseCode::Normal, 1000),
        (CloseCode::Away, 1001),
        (CloseCode::Library(4321), 4321),
        (CloseCode::Status, 1002),
    ] {
        let (mut client, serving) = dial(&hub, "/v1/ws", PIPE).await;
        client.expect("connection.welcome").await;
        client.stream.close(Some(CloseFrame { code: sent, reason: "bye".into() })).await.unwrap();
        assert_eq!(client.closed().await.0, answered);
        // The server ends the stream (RFC 6455, section 7.1.1), and the connection is gone.
        assert!(client.message().await.is_none());
        ended(serving).await;
        assert_eq!(hub.connection_count(), 0);
    }
}

#[tokio::test]
async fn ws_08_a_client_that_vanishes_is_forgotten() {
    let hub = Hub::new();
    let (mut client, serving) = dial(&hub, "/v1/ws", PIPE).await;
    client.expect("connection.welcome").await;
    // Half a frame, and gone.
    client.stream.get_mut().write_all(&[0x81, 0xfe, 0x10]).await.unwrap();
    drop(client);
    ended(serving).await;
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn ws_05_the_server_closes_with_the_code_of_its_reason() {
    let hub = Hub::new();
    let (mut kicked, serving) = dial(&hub, "/v1/ws", PIPE).await;
    let id = kicked.expect("connection.welcome").await["data"]["connection_id"].as_str().unwrap().to_owned();
    assert!(hub.kick(id.parse().unwrap()));
    assert_eq!(kicked.closed().await.0, 1008);
    assert!(kicked.message().await.is_none());
    ended(serving).await;

    let (mut drained, serving) = dial(&hub, "/v1/ws", PIPE).await;
    drained.expect("connection.welcome").await;
    let reading = tokio::spawn(async move {
        assert!(drained.expect("connection.closing").await["data"]["reconnect_after_ms"].is_u64());
        drained.closed().await.0
    });
    hub.drain(PATIENCE).await;
    assert_eq!(reading.await.unwrap(), 1012);
    ended(serving).await;
}

#[tokio::test]
async fn ws_05_a_hub_that_stopped_since_the_handshake_says_when_to_return() {
    let hub = Hub::new();
    let acceptor = WebSocketAcceptor::new(hub.clone());
    let handshake = acceptor.negotiate(&common::request("/v1/ws"), None).await.unwrap();
    hub.drain(std::time::Duration::ZERO).await;
    let (near, far) = tokio::io::duplex(PIPE);
    let serving = tokio::spawn(async move { acceptor.serve(handshake, far).await });
    let mut client = Client::over(near).await;
    assert_eq!(client.closed().await.0, 1012);
    assert!(client.message().await.is_none());
    ended(serving).await;
}

#[tokio::test]
async fn ws_05_a_busy_stream_does_not_keep_a_closed_connection_open() {
    let hub = Hub::new();
    let (mut client, serving) = dial(&hub, &format!("/v1/ws?adw={ADW}"), 1024).await;
    let id = client.expect("connection.welcome").await["data"]["connection_id"].as_str().unwrap().to_owned();
    client.expect("connection.subscribed").await;
    let flood = tokio::spawn({
        let to = hub.adw(adw());
        async move {
            loop {
                to.publish(text("x".repeat(400))).await.unwrap();
            }
        }
    });
    client.expect("adw.text_block").await;
    assert!(hub.kick(id.parse().unwrap()));
    assert_eq!(client.closed().await.0, 1008);
    flood.abort();
    drop(client);
    ended(serving).await;
}

#[tokio::test]
async fn ws_09_a_flood_of_tiny_fragments_ends_at_the_message_limit() {
    let hub = Hub::new();
    let mut bystander = bystander(&hub).await;
    let options = Options { max_message_bytes: 1024, ..Options::default() };
    let (raw, serving) = dial_raw(&hub, "/v1/ws", PIPE, options).await;
    let (mut reading, mut writing) = tokio::io::split(raw);
    let flood = tokio::spawn(async move {
        let mut flood = client_frame(0x01, b"x", true);
        // Empty ones do not make it larger.
        for _ in 0..2_000 {
            flood.extend(client_frame(0x00, b"", true));
        }
        flood.extend(client_frame(0x00, b"x", true).repeat(5_000));
        writing.write_all(&flood).await
    });
    let mut answer = Vec::new();
    timeout(PATIENCE, reading.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.windows(9).any(|window| window == b"too_large"), "{}", answer.escape_ascii());
    let _ = flood.await.unwrap();
    ended(serving).await;
    unharmed(&hub, &mut bystander).await;
}

#[tokio::test]
async fn ws_03_a_command_in_many_fragments_with_a_ping_between_is_one_command() {
    let hub = Hub::new();
    let (mut client, _) = dial(&hub, "/v1/ws", PIPE).await;
    let command = r#"{"type":"ping","id":"caf\u00e9 é"}"#.as_bytes();
    let mut bytes = client_frame(0x01, b"", true);
    for byte in command {
        bytes.extend(client_frame(0x00, &[*byte], true));
    }
    bytes.extend(client_frame(0x89, b"between", true));
    bytes.extend(client_frame(0x80, b"", true));
    for byte in bytes {
        // A byte at a time, so that every header and mask comes in pieces.
        client.stream.get_mut().write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.expect("connection.welcome").await;
    assert!(matches!(client.message().await, Some(Ok(Message::Pong(_)))));
    assert_eq!(client.event().await["data"]["re"], "caf\u{e9} \u{e9}");
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Bytes that look like frames more often than chance would have it.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let opcodes =
        prop::sample::select(vec![0x00, 0x01, 0x02, 0x08, 0x09, 0x0a, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x8f, 0xc1]);
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        Just(br#"{"type":"ping","id":"1"}"#.to_vec()),
        Just(br#"{"type":"subscribe","data":{"streams":[{"to":"adw:29fb6a3e","since":0}]}}"#.to_vec()),
        Just(b"\x03\xe8bye".to_vec()),
    ];
    let frame = (opcodes, payload, prop::bool::weighted(0.95))
        .prop_map(|(first, payload, masked)| client_frame(first, &payload, masked));
    let length = any::<u64>().prop_map(|length| [&[0x81, 0xff][..], &length.to_be_bytes()].concat());
    let part = prop_oneof![8 => frame, 1 => prop::collection::vec(any::<u8>(), 0..40), 1 => length];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn ws_09_no_bytes_end_more_than_the_connection_they_came_on(bytes in noise(), cut in any::<prop::sample::Index>()) {
        RUNTIME.block_on(async {
            let hub = Hub::new();
            let mut bystander = bystander(&hub).await;
            let options = Options { max_message_bytes: 1 << 20, close_grace: std::time::Duration::from_millis(200), ..Options::default() };
            let (raw, serving) = dial_raw(&hub, "/v1/ws", PIPE, options).await;
            let (mut reading, mut writing) = tokio::io::split(raw);
            // The peer may already have had enough.
            let cut = cut.index(bytes.len() + 1);
            let _ = writing.write_all(&bytes[..cut]).await;
            tokio::task::yield_now().await;
            let _ = writing.write_all(&bytes[cut..]).await;
            writing.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("the connection ends");
            ended(serving).await;
            unharmed(&hub, &mut bystander).await;
        });
    }
}
