//! Writing: whole mailboxes at once, sockets that take nothing, peers that do not answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use common::{ADW, Client, PATIENCE, adw, dial, dial_raw, serve, text};
use eventwire_hub::Hub;
use eventwire_protocol::Envelope;
use eventwire_websocket::{Options, WebSocketAcceptor};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;

const EVENTS: u64 = 1024;
/// So large that 1,024 events make 4 MiB.
const LARGE: usize = 4096;

/// Counts the calls that write.
struct Counting {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
    vectored: bool,
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(self.vectored, "this stream takes one piece at a time");
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Publishes so many events in one commit.
async fn publish(hub: &Hub, count: u64, size: usize) {
    let now = hub.now();
    let event = |number: u64| Envelope::to_adw(adw(), &text(format!("{number:08}{}", "x".repeat(size))), now);
    hub.append((0..count).map(event).collect::<Result<_, _>>().unwrap(), Vec::new()).await.unwrap();
}

/// Reads `count` events and checks that they are the ones from `first` on, in order, without hole or duplicate.
async fn read_chain<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, first: u64, count: u64) {
    let mut last = None;
    for number in first..first + count {
        let event = client.expect("adw.text_block").await;
        assert!(event["data"]["content"].as_str().unwrap().starts_with(&format!("{number:08}")), "event {number}");
        let (seq, prev) = (event["seq"].as_u64().unwrap(), event["prev"].as_u64().unwrap());
        assert!(last.is_none_or(|last| last == prev), "{last:?} {event}");
        last = Some(seq);
    }
}

/// The opcode and payload of the next frame of the server, of which only short ones are needed.
async fn frame(stream: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    let length = match head[1] {
        126 => usize::from(stream.read_u16().await.unwrap()),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.unwrap();
    (head[0], payload)
}

/// The payload of the close frame, which must be the last frame; what comes before it is left aside.
async fn last_word(stream: &mut DuplexStream) -> Vec<u8> {
    loop {
        if let (0x88, close) = timeout(PATIENCE, frame(stream)).await.expect("a frame in time") {
            assert_eq!(
                timeout(PATIENCE, stream.read_u8()).await.expect("the end in time").ok(),
                None,
                "the last frame"
            );
            return close;
        }
    }
}

#[tokio::test]
async fn ws_07_a_hundred_waiting_events_are_one_write() {
    for vectored in [true, false] {
        let hub = Hub::new();
        let (near, far) = duplex(1024 * 1024);
        let writes = Arc::new(AtomicUsize::new(0));
        let far = Counting { stream: far, writes: writes.clone(), vectored };
        serve(&WebSocketAcceptor::new(hub.clone()), &format!("/v1/ws?adw={ADW}"), far).await;
        let mut client = Client::over(near).await;
        client.expect("connection.subscribed").await;
        client.fence("live").await;
        let before = writes.load(Ordering::SeqCst);
        publish(&hub, 100, 300).await;
        read_chain(&mut client, 0, 100).await;
        let writes = writes.load(Ordering::SeqCst) - before;
        assert!(writes <= 2, "{writes} writes, vectored {vectored}");
    }
}

#[tokio::test]
async fn flow_02_a_reader_that_stops_delays_nobody_and_catches_up_without_hole_or_duplicate() {
    let hub = Hub::new();
    // The deadline for stalled sockets is another test's.
    let options = Options { stall: Duration::from_secs(3600), ..Options::default() };
    let path = format!("/v1/ws?adw={ADW}");
    let (stopped, _) = dial_raw(&hub, &path, 8 * 1024, options).await;
    let (mut other, _) = dial(&hub, &path, 64 * 1024).await;
    other.expect("connection.subscribed").await;
    for batch in 0..EVENTS {
        // One at a time, and the other reads each at once: nothing waits for the one that reads nothing.
        let large = text(format!("{batch:08}{}", "x".repeat(LARGE)));
        timeout(PATIENCE, hub.adw(adw()).publish(large)).await.expect("publishing waits for nobody").unwrap();
        read_chain(&mut other, batch, 1).await;
    }
    let queued = hub.connections()[0].queued_bytes;
    assert!(queued <= 1024 * 1024, "{queued} bytes wait");
    assert!(hub.connections()[0].lagging);

    let mut stopped = Client::over(stopped).await;
    assert_eq!(stopped.event().await["type"], "connection.welcome");
    read_chain(&mut stopped, 0, EVENTS).await;
    // Live again, and told so.
    hub.adw(adw()).publish(text("live")).await.unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &Value| event["data"]["content"] != "live") {
        seen.push(stopped.event().await);
    }
    assert!(seen.iter().any(|event| event["type"] == "connection.recovered"), "{seen:?}");
    assert!(stopped.fence("end").await.is_empty());
    assert!(other.fence("end").await.iter().all(|event| event["data"]["content"] == "live"));
}

#[tokio::test]
async fn flow_02_four_mebibytes_resume_through_a_mailbox_of_one_over_a_real_socket() {
    let hub = Hub::new();
    let (epoch, _) = hub.head().await.unwrap();
    publish(&hub, EVENTS, LARGE).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = WebSocketAcceptor::new(hub.clone());
    for target in [format!("adw:{ADW}"), "*".to_owned()] {
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        serve(&acceptor, "/v1/ws", listener.accept().await.unwrap().0).await;
        let mut client = Client::over(dialled).await;
        let wanted = json!({"epoch": epoch, "streams": [{"to": target, "since": 0}]});
        client.command(json!({"type": "subscribe", "id": "resume", "data": wanted})).await;
        assert_eq!(client.expect("connection.subscribed").await["data"]["re"], "resume");
        // Beside everything, what comes without asking is replayed as well (LOG-11); here it is nothing.
        let streams = if target == "*" { vec![("global", 0), ("*", EVENTS)] } else { vec![(&*target, EVENTS)] };
        for (stream, _) in &streams {
            let replaying = client.event().await;
            assert_eq!((&replaying["type"], &replaying["data"]["from"]), (&json!("connection.replaying"), &json!(0)));
            assert_eq!(replaying["data"]["stream"], *stream);
        }
        read_chain(&mut client, 0, EVENTS).await;
        for (stream, count) in streams {
            let recovered = client.event().await;
            assert_eq!(
                (&recovered["type"], &recovered["data"]["stream"]),
                (&json!("connection.recovered"), &json!(stream))
            );
            assert_eq!(recovered["data"]["recovered"], count);
        }
    }
}

#[tokio::test]
async fn ws_04_a_cursor_in_the_query_resumes_before_anything_live() {
    let hub = Hub::new();
    let (epoch, _) = hub.head().await.unwrap();
    publish(&hub, 10, 0).await;
    let (mut client, _) = dial(&hub, &format!("/v1/ws?adw={ADW}&cursor={epoch}-7"), 64 * 1024).await;
    let mut types = Vec::new();
    for _ in 0..7 {
        let event = client.event().await;
        types.push(format!("{} {}", event["type"].as_str().unwrap(), event["seq"]));
    }
    let order = ["connection.welcome null", "connection.subscribed null"];
    assert_eq!(types[..2], order);
    let replayed: Vec<&str> = types.iter().filter(|of| of.starts_with("adw.")).map(String::as_str).collect();
    assert_eq!(replayed, ["adw.text_block 8", "adw.text_block 9", "adw.text_block 10"], "{types:?}");
}

#[tokio::test(start_paused = true)]
async fn flow_07_a_socket_that_accepts_nothing_for_ten_seconds_is_closed_4008() {
    let hub = Hub::new();
    let path = format!("/v1/ws?adw={ADW}");
    let (mut other, _) = dial(&hub, &path, 8 * 1024 * 1024).await;
    let (mut stalled, serving) = dial_raw(&hub, &path, 4096, Options::default()).await;
    other.expect("connection.subscribed").await;
    let began = Instant::now();
    publish(&hub, 100, LARGE).await;
    read_chain(&mut other, 0, 100).await;
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(hub.connection_count(), 2, "not yet");
    // Just behind the deadline it is gone from the hub, but its socket is still given a moment for the last word.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(hub.connection_count(), 1);
    // The message that had begun, then the close frame, and nothing behind it.
    assert_eq!(last_word(&mut stalled).await[..2], 4008_u16.to_be_bytes());
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(13));
    assert!(other.fence("unharmed").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn flow_07_a_socket_that_takes_not_even_the_close_frame_is_dropped() {
    let hub = Hub::new();
    let (mut stalled, serving) = dial_raw(&hub, &format!("/v1/ws?adw={ADW}"), 4096, Options::default()).await;
    tokio::task::yield_now().await;
    publish(&hub, 100, LARGE).await;
    timeout(Duration::from_secs(15), serving).await.expect("serving ends").unwrap();
    assert_eq!(hub.connection_count(), 0);
    let mut left = Vec::new();
    stalled.read_to_end(&mut left).await.unwrap();
    assert_eq!(left.len(), 4096, "what was in the pipe, and the end");
}

#[tokio::test(start_paused = true)]
async fn flow_07_a_reader_that_is_slow_but_reads_is_not_stalled() {
    let hub = Hub::new();
    let (mut slow, serving) = dial_raw(&hub, &format!("/v1/ws?adw={ADW}"), 1024, Options::default()).await;
    tokio::task::yield_now().await;
    publish(&hub, 20, LARGE).await;
    let (mut read, mut buffer) = (0, vec![0; 1024]);
    // 80 KiB, 1 KiB every 9 seconds: the batch takes twelve minutes.
    while read < 20 * LARGE {
        tokio::time::sleep(Duration::from_secs(9)).await;
        read += slow.read(&mut buffer).await.unwrap();
        assert!(!serving.is_finished());
    }
    assert_eq!(hub.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn ws_07_a_ping_is_answered_in_the_middle_of_a_batch_and_commands_are_read_while_writing_waits() {
    let hub = Hub::new();
    let (mut raw, _) = dial_raw(&hub, &format!("/v1/ws?adw={ADW}"), 8 * 1024, Options::default()).await;
    tokio::task::yield_now().await;
    publish(&hub, 100, LARGE).await;
    tokio::task::yield_now().await;
    // The pipe is full of the batch by now.
    raw.write_all(&common::client_frame(0x89, b"ping", true)).await.unwrap();
    let unsubscribe = json!({"type": "unsubscribe", "data": {"streams": [{"to": format!("adw:{ADW}")}]}});
    raw.write_all(&common::client_frame(0x81, unsubscribe.to_string().as_bytes(), true)).await.unwrap();
    let mut turns = 0;
    while !hub.connections()[0].subscriptions.is_empty() {
        turns += 1;
        assert!(turns < 10_000, "the command is executed while the pipe is full");
        tokio::task::yield_now().await;
    }
    let mut client = Client::over(raw).await;
    let mut before = 0;
    loop {
        match client.message().await {
            Some(Ok(Message::Pong(payload))) => {
                assert_eq!(payload, &b"ping"[..]);
                break;
            }
            Some(Ok(Message::Text(_))) => before += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(before < 10, "{before} messages before the answer");
    client.expect("connection.unsubscribed").await;
}

#[tokio::test(start_paused = true)]
async fn ws_08_the_answer_to_a_close_frame_is_the_last_frame_also_in_the_middle_of_a_batch() {
    let hub = Hub::new();
    let (mut raw, serving) = dial_raw(&hub, &format!("/v1/ws?adw={ADW}"), 8 * 1024, Options::default()).await;
    tokio::task::yield_now().await;
    publish(&hub, 100, LARGE).await;
    raw.write_all(&common::client_frame(0x88, &[0x03, 0xe9], true)).await.unwrap();
    assert_eq!(last_word(&mut raw).await, 1001_u16.to_be_bytes());
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ws_07_a_peer_that_pings_and_takes_no_answer_is_not_read_any_further() {
    let hub = Hub::new();
    let (raw, serving) = dial_raw(&hub, "/v1/ws", 4096, Options::default()).await;
    let (mut reading, mut writing) = tokio::io::split(raw);
    let pings = common::client_frame(0x89, &[b'p'; 125], true).repeat(1000);
    let flood = tokio::spawn(async move { writing.write_all(&pings).await });
    // Nobody takes the pongs: reading stops, the flood stands, and the socket counts as stalled.
    timeout(Duration::from_secs(15), serving).await.expect("serving ends").unwrap();
    assert!(flood.await.unwrap().is_err());
    let mut left = Vec::new();
    reading.read_to_end(&mut left).await.unwrap();
    assert!(left.len() <= 4096);
}

#[tokio::test(start_paused = true)]
async fn flow_06_two_unanswered_pings_close_4002() {
    let hub = Hub::new();
    let (mut raw, serving) = dial_raw(&hub, "/v1/ws", 64 * 1024, Options::default()).await;
    let began = Instant::now();
    let (mut pings, mut heartbeats) = (Vec::new(), 0);
    loop {
        match frame(&mut raw).await {
            (0x89, _) => pings.push(began.elapsed().as_secs()),
            (0x81, event) if String::from_utf8_lossy(&event).contains("connection.heartbeat") => heartbeats += 1,
            (0x88, close) => {
                assert_eq!(close[..2], 4002_u16.to_be_bytes());
                break;
            }
            _ => {}
        }
    }
    assert_eq!((pings, heartbeats), (vec![25, 50], 2));
    assert_eq!(began.elapsed().as_secs(), 75);
    assert_eq!(hub.connection_count(), 0);
    drop(raw);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn flow_06_a_peer_that_answers_pings_stays_and_heartbeats_say_how_far_it_was_sent() {
    let hub = Hub::new();
    let (mut client, _) = dial(&hub, &format!("/v1/ws?adw={ADW}"), 64 * 1024).await;
    client.expect("connection.subscribed").await;
    publish(&hub, 3, 0).await;
    read_chain(&mut client, 0, 3).await;
    let began = Instant::now();
    // tungstenite answers pings while it reads.
    while began.elapsed() < Duration::from_secs(600) {
        let heartbeat = client.expect("connection.heartbeat").await;
        let positions = heartbeat["data"]["positions"].as_array().unwrap();
        assert!(positions.contains(&json!({"to": format!("adw:{ADW}"), "seq": 3})), "{heartbeat}");
    }
    assert_eq!(hub.connection_count(), 1);
}
