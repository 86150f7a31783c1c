//! Messages that begin and do not end: how much of them is held, how fast they must come, and what their peers are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Client, PATIENCE, client_frame, request};
use eventwire_hub::{Hub, Settings, unfinished::Pace};
use eventwire_websocket::{Options, WebSocketAcceptor};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message;

const MIB: usize = 1 << 20;

fn hub(unfinished_bytes: u64) -> Hub {
    Hub::builder().settings(Settings { unfinished_bytes, ..Settings::default() }).build()
}

/// A stream that is served for a peer without credentials.
async fn dial_from(hub: &Hub, peer: &str, options: Options) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = duplex(64 * 1024);
    let acceptor = WebSocketAcceptor::with_options(hub.clone(), options);
    let handshake = acceptor.negotiate(&request("/v1/ws"), Some(peer.parse().unwrap())).await.unwrap();
    (near, tokio::spawn(async move { acceptor.serve(handshake, far).await }))
}

/// The beginning of a text message of so many bytes, of which as many are there.
fn begun(whole: usize, there: usize) -> Vec<u8> {
    let mut frame = client_frame(0x81, &vec![b' '; whole], true);
    frame.truncate(frame.len() - whole + there);
    frame
}

/// Writes as much as is taken within a short while.
async fn push(stream: &mut DuplexStream, bytes: &[u8]) {
    let _ = timeout(Duration::from_millis(200), stream.write_all(bytes)).await;
}

/// Everything that the server writes until it closes: whether a text is in it, and the code of the close frame.
async fn last_words(mut stream: DuplexStream, text: &str) -> (bool, Option<u16>) {
    let mut read = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the server closes").unwrap();
    let code = read.windows(4).rfind(|frame| frame[0] == 0x88 && frame[1] >= 2);
    let code = code.map(|frame| u16::from_be_bytes([frame[2], frame[3]]));
    (read.windows(text.len()).any(|window| window == text.as_bytes()), code)
}

#[tokio::test(start_paused = true)]
async fn limit_08_one_peer_fills_the_budget_and_another_reads_and_writes_as_before() {
    const SOCKETS: usize = 24;
    let hub = hub(4 * MIB as u64);
    let mut attackers = Vec::new();
    for _ in 0..SOCKETS {
        let (mut stream, serving) = dial_from(&hub, "10.0.0.1", Options::default()).await;
        push(&mut stream, &begun(MIB, 700_000)).await;
        assert!(hub.unfinished().used() <= 4 * MIB as u64, "{}", hub.unfinished().used());
        attackers.push((stream, serving));
    }
    assert!(hub.unfinished().used() > 3 * MIB as u64, "{}", hub.unfinished().used());

    let (near, _serving) = dial_from(&hub, "10.0.0.2", Options::default()).await;
    let mut honest = Client::over(near).await;
    honest.expect("connection.welcome").await;
    let padding = " ".repeat(60_000);
    for id in ["1", "2", "3"] {
        honest.send(Message::text(format!(r#"{{"type":"ping",{padding}"id":"{id}"}}"#))).await;
        assert_eq!(honest.expect("connection.pong").await["data"]["re"], id);
    }
    // The peer with the most has given up messages, and was told.
    sleep(Duration::from_secs(5)).await;
    let mut closed = 0;
    for (stream, serving) in attackers {
        if serving.is_finished() {
            assert_eq!(last_words(stream, "no room").await, (true, Some(1013)));
            closed += 1;
        }
    }
    assert!(closed > 0);
}

#[tokio::test(start_paused = true)]
async fn limit_08_what_a_closed_socket_has_held_is_given_back() {
    let hub = hub(4 * MIB as u64);
    let (mut stream, serving) = dial_from(&hub, "10.0.0.1", Options::default()).await;
    push(&mut stream, &begun(MIB, 500_000)).await;
    sleep(Duration::from_secs(1)).await;
    let held = hub.unfinished().used();
    assert!((490_000..540_000).contains(&held), "{held}");
    drop(stream);
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert_eq!(hub.unfinished().used(), 0);
}

#[tokio::test(start_paused = true)]
async fn limit_09_a_large_message_over_one_megabit_arrives_and_a_trickle_is_closed() {
    let options = Options { max_message_bytes: 16 * MIB, ..Options::default() };
    let hub = hub(64 * MIB as u64);
    let (mut slow, _serving) = dial_from(&hub, "10.0.0.1", options).await;
    // 1 Mbit/s for 134 s, with a pong now and then.
    let whole = vec![b' '; 16 * MIB];
    let fragments: Vec<&[u8]> = whole.chunks(MIB).collect();
    for (at, fragment) in fragments.iter().enumerate() {
        let first = match at {
            0 => 0x01,
            at if at + 1 == fragments.len() => 0x80,
            _ => 0x00,
        };
        for piece in client_frame(first, fragment, true).chunks(125_000) {
            timeout(PATIENCE, slow.write_all(piece)).await.expect("the server reads on").unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        slow.write_all(&client_frame(0x8a, b"", true)).await.unwrap();
    }
    let mut slow = Client::over(slow).await;
    // It is larger than a command may be, which the server says after it has read all of it.
    assert_eq!(slow.expect("connection.error").await["data"]["code"], "too_large");
    slow.fence("after").await;

    let (mut trickle, serving) = dial_from(&hub, "10.0.0.1", options).await;
    trickle.write_all(&begun(MIB, 1_000)).await.unwrap();
    while !serving.is_finished() {
        let _ = trickle.write_all(&[b' '; 1_000]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(last_words(trickle, "too slowly").await, (true, Some(1013)));
}

#[tokio::test(start_paused = true)]
async fn limit_09_pings_do_not_keep_a_message_alive_that_does_not_come() {
    let pace = Pace { window: Duration::from_secs(5), ..Pace::default() };
    let hub = hub(64 * MIB as u64);
    let (mut stream, serving) = dial_from(&hub, "10.0.0.1", Options { pace, ..Options::default() }).await;
    stream.write_all(&client_frame(0x01, &vec![b' '; 20_000], true)).await.unwrap();
    let mut seconds = 0;
    while !serving.is_finished() {
        let _ = stream.write_all(&client_frame(0x89, &[b'x'; 125], true).repeat(10)).await;
        sleep(Duration::from_secs(1)).await;
        seconds += 1;
        assert!(seconds < 20, "closed after one window");
    }
    assert!(seconds >= 5, "{seconds}");
    assert_eq!(last_words(stream, "too slowly").await, (true, Some(1013)));
}

#[tokio::test(start_paused = true)]
async fn limit_09_a_peer_that_takes_no_pongs_does_not_stop_the_clock() {
    let pace = Pace { window: Duration::from_secs(5), ..Pace::default() };
    let options = Options { pace, stall: Duration::from_secs(3600), ..Options::default() };
    let hub = hub(64 * MIB as u64);
    let (mut stream, serving) = dial_from(&hub, "10.0.0.1", options).await;
    stream.write_all(&client_frame(0x01, &vec![b' '; 20_000], true)).await.unwrap();
    // More pongs than are taken: the server reads no further, and the message is not held for that.
    push(&mut stream, &client_frame(0x89, &[b'x'; 125], true).repeat(2_000)).await;
    assert!(hub.unfinished().used() > 0);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(hub.unfinished().used(), 0);
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn ws_12_too_many_fragments_and_control_frames_end_their_connection_alone() {
    let hub = hub(64 * MIB as u64);
    let (near, _serving) = dial_from(&hub, "10.0.0.1", Options::default()).await;
    let mut other = Client::over(near).await;
    for (frame, code, text) in [
        (client_frame(0x8a, b"", true), 4029_u16, "control frames"),
        (client_frame(0x00, b"", true), 4029, "control frames"),
        (client_frame(0x00, &[b' '; 64], true), 1009, "fragments"),
    ] {
        let (mut stream, serving) =
            dial_from(&hub, "10.0.0.1", Options { max_message_bytes: 4 * MIB, ..Options::default() }).await;
        stream.write_all(&client_frame(0x01, b"{", true)).await.unwrap();
        let mut drained = Vec::new();
        let (mut reading, mut writing) = tokio::io::split(stream);
        let flood = tokio::spawn(async move {
            for _ in 0..20_000 {
                if writing.write_all(&frame).await.is_err() {
                    break;
                }
            }
        });
        timeout(PATIENCE, reading.read_to_end(&mut drained)).await.expect("the server closes").unwrap();
        flood.abort();
        assert!(drained.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
        let close = code.to_be_bytes();
        assert!(drained.windows(4).any(|it| it[0] == 0x88 && it[2..] == close[..]), "{code}");
        timeout(PATIENCE, serving).await.unwrap().unwrap();
    }
    other.command(json!({"type": "ping", "id": "still here"})).await;
    assert_eq!(other.expect("connection.pong").await["data"]["re"], "still here");
}
