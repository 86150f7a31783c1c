//! When commands of connections may be read: the sockets of one holder in turn, another holder at once (LIMIT-16).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::time::Duration;

use eventwire_hub::{ApiKeys, ConnectRequest, Connection, Hub, KeyDigest, Meta, Principal, Settings, WorkBounds};
use eventwire_protocol::Claims;
use tokio::time::{Instant, timeout};

/// A plain command.
const PING: &[u8] = br#"{"type":"ping","data":{}}"#;

fn hub() -> Hub {
    let work = WorkBounds { per_second: 1_600, burst: 160 };
    let mut keys = ApiKeys::new();
    keys.add(KeyDigest::of("key-of-ada"), Principal::new("ada", Claims::loopback())).unwrap();
    Hub::builder().settings(Settings { work, ..Settings::default() }).authenticator(keys).build()
}

async fn connect(hub: &Hub, last: u8) -> Connection {
    let mut request = ConnectRequest::new(Principal::anonymous(Claims::anonymous()), "test");
    request.meta = Meta { remote_address: Some([10, 0, 0, last].into()), ..request.meta };
    hub.connect(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn limit_16_sockets_of_one_holder_go_on_in_turn_and_another_holder_does_not_wait() {
    let hub = hub();
    let began = Instant::now();
    let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for socket in 0..50 {
        let mut connection = connect(&hub, 1).await;
        let sender = sender.clone();
        tasks.push(tokio::spawn(async move {
            let mut intake = connection.intake();
            for _ in 0..4 {
                intake.open().await;
                connection.receive(PING).await;
                sender.send(socket).unwrap();
                tokio::task::yield_now().await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(hub.stats().commands_waiting > 0 && hub.stats().command_waits > 0);
    connect(&hub, 2).await.intake().open().await;
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    for task in tasks {
        task.await.unwrap();
    }
    drop(sender);
    // 200 commands at 100 a second.
    assert!((1_800..2_200).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let mut counts = [0_u32; 50];
    while let Some(socket) = order.recv().await {
        counts[socket] += 1;
        let (fewest, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - fewest <= 2, "{counts:?}");
    }
    assert_eq!((counts, hub.stats().commands_waiting), ([4; 50], 0));
}

#[tokio::test(start_paused = true)]
async fn limit_16_a_socket_that_goes_while_it_waits_lets_the_next_one_on() {
    let hub = hub();
    let mut connections = [connect(&hub, 1).await, connect(&hub, 1).await];
    for _ in 0..60 {
        connections[0].receive(PING).await;
    }
    let mut first = connections[0].intake();
    assert!(timeout(Duration::from_millis(10), first.open()).await.is_err());
    let mut second = connections[1].intake();
    let waiting = tokio::spawn(async move { second.open().await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(hub.stats().commands_waiting, 2);
    drop(first);
    timeout(Duration::from_secs(10), waiting).await.expect("the second goes on").unwrap();
    assert_eq!(hub.stats().commands_waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn limit_16_credentials_that_are_shown_later_have_an_account_of_their_own() {
    let hub = hub();
    let mut connection = connect(&hub, 1).await;
    for _ in 0..60 {
        connection.receive(PING).await;
    }
    let mut intake = connection.intake();
    assert!(timeout(Duration::from_millis(10), intake.open()).await.is_err());
    connection.receive(br#"{"type":"authenticate","data":{"token":"key-of-ada"}}"#).await;
    let began = Instant::now();
    intake.open().await;
    assert_eq!((began.elapsed(), hub.stats().commands_waiting), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn limit_16_a_socket_that_may_read_and_does_not_look_is_passed_by() {
    let hub = hub();
    let mut connections = [connect(&hub, 1).await, connect(&hub, 1).await];
    for _ in 0..60 {
        connections[0].receive(PING).await;
    }
    let mut first = connections[0].intake();
    assert!(timeout(Duration::from_millis(10), first.open()).await.is_err());
    let mut second = connections[1].intake();
    timeout(Duration::from_secs(10), second.open()).await.expect("the second goes on");
    assert_eq!(hub.stats().commands_waiting, 1);
    timeout(Duration::from_secs(10), first.open()).await.expect("the first does, too");
    assert_eq!(hub.stats().commands_waiting, 0);
}
