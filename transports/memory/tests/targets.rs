//! What new targets cost a connection (LIMIT-12).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::time::Duration;

use common::{kinds, publish, user};
use eventwire_hub::{Hub, Settings};
use eventwire_memory::{Closed, ConnectOptions, ManualClock, MemoryClient};
use serde_json::{Value, json};

fn start() -> (ManualClock, Hub) {
    let clock = ManualClock::starting("2026-11-20T23:40:00Z".parse().unwrap());
    let hub = Hub::builder().clock(clock.clone()).build();
    (clock, hub)
}

/// Sends one command and gives the frame that answers it.
async fn ask(client: &mut MemoryClient, command: &str, rooms: impl IntoIterator<Item = usize>) -> Value {
    let streams: Vec<Value> = rooms.into_iter().map(|room| json!({"to": format!("room:r{room}")})).collect();
    answer(client, command, streams).await
}

async fn answer(client: &mut MemoryClient, command: &str, streams: Vec<Value>) -> Value {
    client.send_text(json!({"type": command, "id": "1", "data": {"streams": streams}}).to_string()).await.unwrap();
    let frames = client.read_until(|frame| frame.value()["data"]["re"] == "1").await.unwrap();
    frames.last().unwrap().value()
}

fn subscriptions(hub: &Hub) -> usize {
    hub.connections()[0].subscriptions.len()
}

#[tokio::test(start_paused = true)]
async fn limit_12_new_targets_are_counted_over_commands_and_a_command_is_done_as_a_whole_or_not_at_all() {
    let (clock, hub) = start();
    // 256 of the burst of 1,024 are wanted by the connection itself.
    let wanted = ConnectOptions::wanting((0..256).map(|room| format!("room:r{room}")));
    let mut client = MemoryClient::connect(&hub, wanted).await.unwrap();
    let welcome = client.next_frame().await.unwrap().value();
    assert_eq!(welcome["data"]["limits"]["targets_per_second"], 256);
    assert_eq!(welcome["data"]["limits"]["target_burst"], 1024);
    for set in 1..4 {
        assert_eq!(
            ask(&mut client, "unsubscribe", (set - 1) * 256..set * 256).await["type"],
            "connection.unsubscribed"
        );
        let subscribed = ask(&mut client, "subscribe", set * 256..(set + 1) * 256).await;
        assert_eq!(subscribed["data"]["streams"].as_array().unwrap().len(), 256, "set {set}");
    }
    assert_eq!(subscriptions(&hub), 256);
    // The burst is used up: one more is refused, with all of its command.
    ask(&mut client, "unsubscribe", 768..769).await;
    let refused = ask(&mut client, "subscribe", [769, 5_000]).await;
    assert_eq!((&refused["type"], &refused["data"]["code"]), (&json!("connection.error"), &json!("rate_limited")));
    assert_eq!((&refused["data"]["retryable"], &refused["data"]["retry_after_ms"]), (&json!(true), &json!(4)));
    assert_eq!(subscriptions(&hub), 255, "nothing of it was done");
    publish(&hub, "_test.event", "room:r5000", json!({})).await;
    publish(&hub, "_test.event", "room:r769", json!({})).await;
    assert_eq!(kinds(&client.drain().await), ["_test.event"], "what it had it still has, once");
    // As long as was said, and not a moment less.
    clock.advance(Duration::from_micros(3_900)).await;
    assert_eq!(ask(&mut client, "subscribe", [5_000]).await["type"], "connection.error");
    clock.advance(Duration::from_micros(100)).await;
    assert_eq!(ask(&mut client, "subscribe", [5_000]).await["type"], "connection.subscribed");
    assert_eq!(subscriptions(&hub), 256);
}

#[tokio::test(start_paused = true)]
async fn limit_12_targets_that_a_connection_has_cost_nothing_and_a_replay_of_them_does() {
    let (clock, hub) = start();
    let mut client = MemoryClient::connect(&hub, ConnectOptions::default()).await.unwrap();
    ask(&mut client, "subscribe", 0..256).await;
    for _ in 0..40 {
        // The bucket of commands is another one.
        clock.advance(Duration::from_millis(32)).await;
        assert_eq!(ask(&mut client, "subscribe", 0..256).await["data"]["refused"], json!([]));
    }
    clock.advance(Duration::from_secs(10)).await;
    let replay: Vec<Value> = (0..256).map(|room| json!({"to": format!("room:r{room}"), "since": 0})).collect();
    for _ in 0..4 {
        assert_eq!(answer(&mut client, "subscribe", replay.clone()).await["type"], "connection.subscribed");
        client.drain().await;
    }
    assert_eq!(answer(&mut client, "subscribe", replay.clone()).await["data"]["code"], "rate_limited");
    // So does what is refused for another reason.
    clock.advance(Duration::from_secs(10)).await;
    let bad: Vec<Value> = vec![json!({"to": "nothing"}); 256];
    for _ in 0..4 {
        assert_eq!(answer(&mut client, "subscribe", bad.clone()).await["type"], "connection.subscribed");
    }
    assert_eq!(answer(&mut client, "subscribe", bad).await["data"]["code"], "rate_limited");
}

#[tokio::test(start_paused = true)]
async fn limit_12_newest_values_come_when_a_target_begins_and_not_again_for_one_that_is_kept() {
    let (_clock, hub) = start();
    let mut client = MemoryClient::connect(&hub, ConnectOptions::default()).await.unwrap();
    let summary = json!({"adw_id": "aaaaaaaa", "status": "in_progress", "progress_percent": 40.0});
    publish(&hub, "adw.agent_summary_update", "adw:aaaaaaaa", summary).await;
    let adw = vec![json!({"to": "adw:aaaaaaaa"})];
    answer(&mut client, "subscribe", adw.clone()).await;
    assert_eq!(kinds(&client.drain().await), ["adw.agent_summary_update"]);
    answer(&mut client, "subscribe", adw.clone()).await;
    assert_eq!(kinds(&client.drain().await), [""; 0]);
    answer(&mut client, "unsubscribe", adw.clone()).await;
    answer(&mut client, "subscribe", adw).await;
    assert_eq!(kinds(&client.drain().await), ["adw.agent_summary_update"]);
}

#[tokio::test(start_paused = true)]
async fn limit_14_where_subscriptions_find_no_room_the_peer_with_the_most_loses_a_connection_and_is_told() {
    let settings = Settings { subscription_bytes: 240_000, ..Settings::default() };
    let hub = Hub::builder().settings(settings).build();
    let named = |name: &str| ConnectOptions { principal: Some(user(name)), ..ConnectOptions::default() };
    let mut greedy = Vec::new();
    for _ in 0..3 {
        let mut client = MemoryClient::connect(&hub, ConnectOptions::default()).await.unwrap();
        // Each that is let takes about 98,000 bytes.
        let last = ask(&mut client, "subscribe", 0..200).await;
        greedy.push((client, last));
    }
    let outcomes: Vec<&Value> = greedy.iter().map(|(_, last)| &last["type"]).collect();
    assert_eq!(outcomes, ["connection.subscribed", "connection.subscribed", "connection.error"]);
    assert_eq!(greedy[2].1["data"]["code"], "unavailable");
    // Others are not shut out, and the one that makes room is told.
    let mut ada = MemoryClient::connect(&hub, named("ada")).await.unwrap();
    assert_eq!(ask(&mut ada, "subscribe", 0..100).await["type"], "connection.subscribed");
    let closed = loop {
        if let Err(closed) = greedy[1].0.next_frame().await {
            break closed;
        }
    };
    assert!(matches!(closed, Closed::ByServer(code, _) if code.as_u16() == 1013), "{closed:?}");
    // What is given back can be had again.
    assert_eq!(ask(&mut greedy[2].0, "subscribe", 0..50).await["type"], "connection.subscribed");
}

#[tokio::test(start_paused = true)]
async fn limit_12_a_connection_that_goes_on_wanting_too_much_is_closed() {
    let (_clock, hub) = start();
    let mut client = MemoryClient::connect(&hub, ConnectOptions::default()).await.unwrap();
    for set in 0..4 {
        ask(&mut client, "subscribe", set * 256..(set + 1) * 256).await;
    }
    for _ in 0..10 {
        ask(&mut client, "subscribe", 2_000..2_256).await;
    }
    let closed = loop {
        if let Err(closed) = client.next_frame().await {
            break closed;
        }
    };
    assert!(matches!(closed, Closed::ByServer(code, _) if code.as_u16() == 4029), "{closed:?}");
}
