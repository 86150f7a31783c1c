//! The line itself: what a program can do to it, and what the hub notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use common::{kinds, publish};
use eventwire_hub::{ApiKeys, Hub, KeyDigest, Secret, Settings};
use eventwire_memory::{Closed, ConnectOptions, Faults, MemoryClient, Step, Window};
use eventwire_protocol::{CloseCode, Command, ErrorCode, command::Ping, delivery::MailboxBounds};
use serde_json::json;

const ADW: &str = "adw:aaaaaaaa";

async fn watch(hub: &Hub, faults: Faults) -> MemoryClient {
    MemoryClient::connect(hub, ConnectOptions { faults, ..ConnectOptions::wanting([ADW]) }).await.unwrap()
}

async fn publish_some(hub: &Hub, count: usize) {
    for n in 0..count {
        publish(hub, "_test.event", ADW, json!({"n": n})).await.unwrap();
    }
}

#[tokio::test]
async fn a_link_does_one_thing_in_one_step_and_nothing_in_between() {
    let hub = Hub::new();
    let options = ConnectOptions { window: Window::ONE, ..ConnectOptions::wanting([ADW]) };
    let (mut client, mut link) = MemoryClient::with_link(&hub, options).await.unwrap();
    assert_eq!(client.try_next_frame(), Ok(None));
    assert_eq!(link.step().await, Step::Wrote);
    assert_eq!(link.step().await, Step::Blocked);
    assert_eq!(kinds(&client.drain().await), ["connection.welcome"]);
    assert_eq!(link.step().await, Step::Wrote);
    client.send(&Command::Ping(Ping::default()), Some("1")).await.unwrap();
    assert_eq!(link.step().await, Step::Received);
    assert_eq!(link.step().await, Step::Blocked);
    assert_eq!(kinds(&client.drain().await), ["connection.subscribed"]);
    assert_eq!(link.step().await, Step::Wrote);
    let pong = client.next_frame().await.unwrap().value();
    assert_eq!((&pong["type"], &pong["data"]["re"]), (&json!("connection.pong"), &json!("1")));
    assert_eq!(link.step().await, Step::Idle);
    drop(client);
    assert_eq!(hub.connection_count(), 1);
    assert_eq!(link.step().await, Step::Ended);
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn a_cut_loses_what_is_on_its_way_and_the_hub_knows() {
    let hub = Hub::new();
    let mut client = watch(&hub, Faults::default()).await;
    client.read_until(|frame| frame.kind() == "connection.subscribed").await.unwrap();
    publish_some(&hub, 3).await;
    client.cut().await;
    assert_eq!(client.next_frame().await, Err(Closed::Cut));
    assert_eq!(client.send_text("{}").await, Err(Closed::Cut));
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn a_scripted_cut_comes_after_exactly_so_many_frames() {
    for after in 0..6 {
        let hub = Hub::new();
        let mut client = watch(&hub, Faults { cut_after: Some(after), ..Faults::default() }).await;
        publish_some(&hub, 10).await;
        let mut read = 0;
        while client.next_frame().await.is_ok() {
            read += 1;
        }
        assert_eq!(read, after);
        while hub.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_scripted_pause_lasts_until_it_is_resumed() {
    let hub = Hub::new();
    let mut client = watch(&hub, Faults { pause_after: Some(4), ..Faults::default() }).await;
    publish_some(&hub, 10).await;
    assert_eq!(client.drain().await.len(), 4);
    assert_eq!(client.try_next_frame(), Ok(None));
    client.resume();
    assert_eq!(client.drain().await.len(), 8);
}

#[tokio::test]
async fn held_frames_are_delivered_for_the_hub_and_arrive_when_they_are_released() {
    let hub = Hub::new();
    let options = ConnectOptions { window: Window::ONE, ..ConnectOptions::wanting([ADW]) };
    let mut client = MemoryClient::connect(&hub, options).await.unwrap();
    assert_eq!(client.drain().await.len(), 2);
    client.hold();
    publish_some(&hub, 5).await;
    while client.held() < 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.connections()[0].queued_frames, 0);
    assert_eq!(client.try_next_frame(), Ok(None));
    assert_eq!(client.release(2), 2);
    assert_eq!(client.drain().await.len(), 2);
    client.release_all();
    publish_some(&hub, 1).await;
    assert_eq!(client.drain().await.len(), 4);
}

#[tokio::test]
async fn auth_01_a_token_is_shown_to_the_authenticator() {
    let mut keys = ApiKeys::new();
    keys.add(KeyDigest::of("key"), common::user("maria")).unwrap();
    let hub = Hub::builder().authenticator(keys).build();
    let with = |token: Option<&str>| ConnectOptions { token: token.map(Secret::new), ..ConnectOptions::default() };
    for token in [None, Some("other")] {
        let refused = MemoryClient::connect(&hub, with(token)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unauthorized);
    }
    let mut client = MemoryClient::connect(&hub, with(Some("key"))).await.unwrap();
    assert_eq!(client.next_frame().await.unwrap().value()["data"]["user_id"], "maria");
}

#[tokio::test]
async fn cmd_03_a_frame_of_any_bytes_is_answered_and_the_connection_stays_open() {
    let hub = Hub::new();
    let mut client = watch(&hub, Faults::default()).await;
    client.drain().await;
    client.send_bytes(&b"{\"type\":\"\xff\"}"[..]).await.unwrap();
    client.send_text("nope").await.unwrap();
    client.send_bytes(vec![b' '; 65 * 1024]).await.unwrap();
    client.send_text(r#"{"type":"ping","id":"7"}"#).await.unwrap();
    let values: Vec<_> = client.drain().await.iter().map(|frame| frame.value()["data"].clone()).collect();
    let codes: Vec<_> = values.iter().filter_map(|data| data["code"].as_str()).collect();
    assert_eq!(codes, ["invalid_utf8", "malformed_frame", "too_large"]);
    assert_eq!(values.last().unwrap()["re"], "7");
}

#[tokio::test]
async fn many_commands_at_once_wait_for_room_and_none_is_lost() {
    let hub = Hub::new();
    let mut client = watch(&hub, Faults::default()).await;
    for n in 0..200 {
        let ping = Command::Ping(Ping { client_time: Some(n.into()) });
        if client.send(&ping, None).await.is_err() {
            break;
        }
    }
    let frames = client.drain().await;
    let answers = kinds(&frames);
    let of = |kind: &str| answers.iter().filter(|of| *of == kind).count();
    // The burst is answered, then the rate limit speaks, then the connection is closed for flooding (LIMIT-03).
    assert!(of("connection.pong") >= 64, "{answers:?}");
    assert_eq!(of("connection.error"), 10);
    let Err(Closed::ByServer(code, _)) = client.next_frame().await else { panic!("open") };
    assert_eq!(code, CloseCode::RateLimited);
}

#[tokio::test]
async fn http_06_a_kicked_client_reads_what_was_sent_before_and_is_closed_with_1008() {
    let hub = Hub::new();
    let (mut client, mut other) = (watch(&hub, Faults::default()).await, watch(&hub, Faults::default()).await);
    publish_some(&hub, 2).await;
    assert!(hub.kick(client.id()));
    assert_eq!(client.drain().await.len(), 4);
    let Err(Closed::ByServer(code, reason)) = client.next_frame().await else { panic!("open") };
    assert_eq!((code, code.as_u16()), (CloseCode::Policy, 1008));
    assert!(reason.contains("administrator"));
    assert!(!hub.kick(client.id()));
    publish_some(&hub, 1).await;
    assert_eq!(other.drain().await.len(), 5);
}

#[tokio::test]
async fn a_client_that_leaves_has_left_when_it_is_told_so() {
    let hub = Hub::new();
    let client = watch(&hub, Faults::default()).await;
    assert_eq!(hub.connection_count(), 1);
    client.leave().await;
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn flow_01_volatile_events_are_the_first_to_go_and_are_counted() {
    let mailbox = MailboxBounds { frames: 4, bytes: 4_096 };
    let hub = Hub::builder().settings(Settings { mailbox, ..Settings::default() }).build();
    let (mut client, mut link) = MemoryClient::with_link(&hub, ConnectOptions::wanting([ADW])).await.unwrap();
    link.settle().await;
    client.drain().await;
    for typing in [true, false, true, false, true, false] {
        publish(&hub, "adw.typing_indicator", "global", json!({"orchestrator_agent_id": "o", "is_typing": typing}))
            .await;
    }
    assert_eq!(hub.connections()[0].dropped, 2);
    publish_some(&hub, 4).await;
    link.settle().await;
    let frames = client.drain().await;
    assert_eq!(frames.iter().filter_map(|frame| frame.seq()).count(), 4, "{:?}", kinds(&frames));
    assert!(!hub.connections()[0].lagging);
}
