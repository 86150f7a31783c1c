//! Commands of many sockets of one holder: who waits for them, and who does not (LIMIT-16).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::time::Duration;

use common::{ADW, Client, adw, client_frame, request, text};
use eventwire_hub::{Hub, Settings, WorkBounds, unfinished::Pace};
use eventwire_protocol::limits;
use eventwire_websocket::{Options, WebSocketAcceptor};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_tungstenite::tungstenite::Message;

/// A hub for so many plain commands a second, and as many at once as in half a second.
fn hub(commands_per_second: u32) -> Hub {
    let per_second = commands_per_second * limits::WORK_OF_COMMAND;
    let work = WorkBounds { per_second, burst: per_second / 2 };
    Hub::builder().settings(Settings { work, ..Settings::default() }).build()
}

async fn dial(hub: &Hub, peer: &str, options: Options) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = duplex(64 * 1024);
    let acceptor = WebSocketAcceptor::with_options(hub.clone(), options);
    let handshake = acceptor.negotiate(&request("/v1/ws"), Some(peer.parse().unwrap())).await.unwrap();
    (near, tokio::spawn(async move { acceptor.serve(handshake, far).await }))
}

async fn connect(hub: &Hub, peer: &str) -> Client<DuplexStream> {
    let mut client = Client::over(dial(hub, peer, Options::default()).await.0).await;
    client.expect("connection.welcome").await;
    client
}

/// The next pong, however long it takes; transport pings are answered meanwhile.
async fn pong(client: &mut Client<DuplexStream>) -> String {
    loop {
        match client.stream.next().await {
            Some(Ok(Message::Text(text))) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["type"] == "connection.pong" {
                    return event["data"]["re"].as_str().unwrap().to_owned();
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => client.stream.flush().await.unwrap(),
            other => panic!("a pong was expected, not {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn limit_16_many_sockets_of_one_peer_wait_and_are_served_and_another_peer_is_answered_at_once() {
    const SOCKETS: usize = 20;
    const COMMANDS: usize = 30;
    let hub = hub(40);
    let began = Instant::now();
    let mut watching = connect(&hub, "10.0.0.1").await;
    watching.command(json!({"type": "subscribe", "data": {"streams": [{"to": format!("adw:{ADW}")}]}})).await;
    watching.expect("connection.subscribed").await;
    let mut busy = Vec::new();
    for _ in 0..SOCKETS {
        let mut client = connect(&hub, "10.0.0.1").await;
        busy.push(tokio::spawn(async move {
            for number in 0..COMMANDS {
                client.command(json!({"type": "ping", "id": number.to_string()})).await;
            }
            // Each is answered, in its order, and none refused.
            for number in 0..COMMANDS {
                assert_eq!(client.expect("connection.pong").await["data"]["re"], number.to_string());
            }
        }));
    }
    watching.command(json!({"type": "ping", "id": "in turn"})).await;
    sleep(Duration::from_secs(2)).await;

    let mut other = connect(&hub, "10.0.0.2").await;
    for id in ["1", "2", "3"] {
        let asked = Instant::now();
        other.command(json!({"type": "ping", "id": id})).await;
        assert_eq!(other.expect("connection.pong").await["data"]["re"], id);
        assert_eq!(asked.elapsed(), Duration::ZERO, "ping {id} has waited");
        sleep(Duration::from_millis(300)).await;
    }
    // What is published reaches the peer that waits as before.
    let asked = Instant::now();
    hub.adw(adw()).publish(text("live")).await.unwrap();
    assert_eq!(watching.expect("adw.text_block").await["data"]["content"], "live");
    assert_eq!(asked.elapsed(), Duration::ZERO);
    for client in busy {
        client.await.unwrap();
    }
    let least = Duration::from_secs((SOCKETS * COMMANDS / 40) as u64 - 1);
    assert!(began.elapsed() >= least, "served after {:?}", began.elapsed());
    assert_eq!(hub.stats().turned_away.get("rate_limited"), None);
}

#[tokio::test(start_paused = true)]
async fn limit_16_who_waits_for_longer_than_pings_may_is_not_closed() {
    // One command a second, so that the last socket is served after 100 s.
    let hub = hub(1);
    let mut clients = Vec::new();
    for number in 0..100 {
        let mut client = connect(&hub, "10.0.0.1").await;
        clients.push(tokio::spawn(async move {
            client.command(json!({"type": "ping", "id": number.to_string()})).await;
            assert_eq!(pong(&mut client).await, number.to_string());
        }));
    }
    let began = Instant::now();
    for client in clients {
        client.await.unwrap();
    }
    assert!(began.elapsed() > 3 * limits::PING, "{:?}", began.elapsed());
    assert!(hub.stats().closed.keys().all(|code| *code != Some(4002)), "{:?}", hub.stats().closed);
}

#[tokio::test(start_paused = true)]
async fn limit_16_targets_bytes_control_frames_and_tiny_fragments_are_work() {
    let hub = hub(10);
    let streams: Vec<_> = (0..40).map(|number| json!({"to": format!("room:{number}")})).collect();
    for work in [
        Message::text(json!({"type": "subscribe", "data": {"streams": streams}}).to_string()),
        Message::text(json!({"type": "unsubscribe", "data": {"streams": streams}}).to_string()),
        Message::text(format!(r#"{{"type":"ping",{}"id":"large"}}"#, " ".repeat(40_000))),
    ] {
        let mut client = connect(&hub, "10.0.0.1").await;
        let asked = Instant::now();
        client.send(work.clone()).await;
        client.fence("after").await;
        // As much as ten commands, of which five may be owed.
        assert!(asked.elapsed() >= Duration::from_millis(400), "{work} was done after {:?}", asked.elapsed());
        sleep(Duration::from_secs(60)).await;
    }
    // Forty pongs, or a command in forty fragments.
    let fragments = (0..40).map(|at| match at {
        0 => client_frame(0x01, br#"{"type":"ping","id":"parts"}"#, true),
        39 => client_frame(0x80, b" ", true),
        _ => client_frame(0x00, b" ", true),
    });
    for frames in [client_frame(0x8a, b"", true).repeat(40), fragments.flatten().collect()] {
        let (stream, _serving) = dial(&hub, "10.0.0.1", Options::default()).await;
        let mut client = Client::over(stream).await;
        client.expect("connection.welcome").await;
        let asked = Instant::now();
        client.stream.get_mut().write_all(&frames).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        client.fence("after").await;
        assert!(asked.elapsed() >= Duration::from_millis(400), "{:?}", asked.elapsed());
        sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn limit_16_and_limit_09_a_message_that_has_to_wait_does_not_come_too_slowly() {
    let hub = hub(10);
    let pace = Pace { window: Duration::from_secs(2), ..Pace::default() };
    let (mut begun, serving) = dial(&hub, "10.0.0.1", Options { pace, ..Options::default() }).await;
    let command = [&br#"{"type":"ping","id":"begun","data":{}}"#[..], &[b' '; 200]].concat();
    let frame = client_frame(0x81, &command, true);
    begun.write_all(&frame[..100]).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    // Those that began to wait before it take longer than its message may.
    let mut busy = Vec::new();
    for number in 0..60 {
        let mut client = connect(&hub, "10.0.0.1").await;
        client.command(json!({"type": "ping", "id": number.to_string()})).await;
        busy.push(client);
    }
    sleep(Duration::from_millis(1_500)).await;
    begun.write_all(&frame[100..]).await.unwrap();
    assert_eq!(pong(&mut Client::over(begun).await).await, "begun");
    assert!(!serving.is_finished());
}
