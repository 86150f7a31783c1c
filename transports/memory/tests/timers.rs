//! Everything that happens because time passes: heartbeats, pings, stalls, drain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use std::time::Duration;

use common::{kinds, publish};
use eventwire_hub::Hub;
use eventwire_memory::{Closed, ConnectOptions, Faults, ManualClock, MemoryClient, Window};
use eventwire_protocol::{CloseCode, ErrorCode};
use serde_json::json;

const ADW: &str = "adw:aaaaaaaa";

fn start() -> (ManualClock, Hub) {
    let clock = ManualClock::starting("2026-11-20T23:40:00Z".parse().unwrap());
    let hub = Hub::builder().clock(clock.clone()).build();
    (clock, hub)
}

async fn watch(hub: &Hub, faults: Faults, window: Window) -> MemoryClient {
    MemoryClient::connect(hub, ConnectOptions { faults, window, ..ConnectOptions::wanting([ADW]) }).await.unwrap()
}

async fn seconds(clock: &ManualClock, count: u64) {
    for _ in 0..count {
        clock.advance(Duration::from_secs(1)).await;
        // Whoever became due gets its turn before more time passes.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn flow_06_a_heartbeat_comes_every_30_seconds_and_says_how_far_each_root_was_sent() {
    let (clock, hub) = start();
    let mut client = watch(&hub, Faults::default(), Window::default()).await;
    client.drain().await;
    let seq = publish(&hub, "_test.event", ADW, json!({})).await.unwrap();
    seconds(&clock, 29).await;
    assert_eq!(kinds(&client.drain().await), ["_test.event"]);
    for minute in ["23:40:30Z", "23:41:00Z", "23:41:30Z"] {
        seconds(&clock, 1).await;
        let frames = client.drain().await;
        assert_eq!(kinds(&frames), ["connection.heartbeat"]);
        let data = frames[0].value()["data"].clone();
        assert_eq!(data["server_time"], format!("2026-11-20T{minute}"));
        assert_eq!(data["active_connections"], 1);
        assert_eq!(data["server_status"], "healthy");
        let positions: Vec<_> = data["positions"].as_array().unwrap().iter().filter(|at| at["to"] == ADW).collect();
        assert_eq!(positions, [&json!({"to": ADW, "seq": seq})]);
        seconds(&clock, 29).await;
    }
}

#[tokio::test(start_paused = true)]
async fn flow_06_a_client_that_answers_pings_stays_and_one_that_does_not_is_closed_with_4002() {
    let (clock, hub) = start();
    let mut answering = watch(&hub, Faults::default(), Window::default()).await;
    let mut mute = watch(&hub, Faults { mute: true, ..Faults::default() }, Window::default()).await;
    let mut paused = watch(&hub, Faults::default(), Window::default()).await;
    paused.pause();
    seconds(&clock, 74).await;
    assert_eq!(hub.connection_count(), 3, "two pings may stay unanswered");
    seconds(&clock, 1).await;
    assert_eq!(hub.connection_count(), 1);
    for client in [&mut mute, &mut paused] {
        client.resume();
        client.drain().await;
        let Err(Closed::ByServer(code, _)) = client.next_frame().await else { panic!("open") };
        assert_eq!(code, CloseCode::PingTimeout);
    }
    seconds(&clock, 300).await;
    assert!(answering.drain().await.len() > 10);
    assert_eq!(hub.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn flow_06_a_command_shows_that_a_client_is_there() {
    let (clock, hub) = start();
    let mut client = watch(&hub, Faults { mute: true, ..Faults::default() }, Window::default()).await;
    for _ in 0..20 {
        seconds(&clock, 20).await;
        client.send_text(r#"{"type":"ping"}"#).await.unwrap();
        client.drain().await;
    }
    assert_eq!(hub.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn flow_07_a_line_that_accepts_nothing_for_10_seconds_is_closed_with_4008() {
    let (clock, hub) = start();
    let mut stalled = watch(&hub, Faults::default(), Window::ONE).await;
    let mut slow = watch(&hub, Faults::default(), Window::ONE).await;
    stalled.drain().await;
    slow.drain().await;
    stalled.pause();
    for _ in 0..4 {
        publish(&hub, "_test.event", ADW, json!({})).await.unwrap();
    }
    for _ in 0..4 {
        seconds(&clock, 9).await;
        // One frame in nine seconds is slow, but it is progress.
        slow.next_frame().await.unwrap();
    }
    assert_eq!(hub.connection_count(), 1);
    stalled.resume();
    stalled.drain().await;
    let Err(Closed::ByServer(code, _)) = stalled.next_frame().await else { panic!("open") };
    assert_eq!(code, CloseCode::SlowConsumer);
}

#[tokio::test(start_paused = true)]
async fn flow_08_a_server_that_stops_says_when_to_return_spread_over_the_window_and_closes_with_1012() {
    let (_clock, hub) = start();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(watch(&hub, Faults::default(), Window::default()).await);
    }
    publish(&hub, "_test.event", ADW, json!({})).await.unwrap();
    hub.drain(Duration::from_secs(20)).await;
    assert_eq!(hub.connection_count(), 0);
    let refused = MemoryClient::connect(&hub, ConnectOptions::default()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    let mut waits = Vec::new();
    for mut client in clients {
        let frames = client.drain().await;
        assert_eq!(
            kinds(&frames),
            ["connection.welcome", "connection.subscribed", "_test.event", "connection.closing"],
            "what was sent before is still delivered"
        );
        waits.push(frames[3].value()["data"]["reconnect_after_ms"].as_u64().unwrap());
        let Err(Closed::ByServer(code, _)) = client.next_frame().await else { panic!("open") };
        assert_eq!(code, CloseCode::Restart);
    }
    waits.sort_unstable();
    waits.dedup();
    assert_eq!(waits.len(), 10, "{waits:?}");
    assert!(waits[9] - waits[0] >= 15_000, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn env_04_events_are_dated_by_the_clock_of_the_hub_and_a_clock_that_is_set_back_changes_no_order() {
    let (clock, hub) = start();
    let mut client = watch(&hub, Faults::default(), Window::default()).await;
    client.drain().await;
    clock.advance(Duration::from_millis(1_500)).await;
    publish(&hub, "_test.event", ADW, json!({})).await.unwrap();
    clock.set_off(-3_600_000_000);
    publish(&hub, "_test.event", ADW, json!({})).await.unwrap();
    let frames = client.drain().await;
    let times: Vec<_> = frames.iter().map(|frame| frame.value()["time"].clone()).collect();
    assert_eq!(times, ["2026-11-20T23:40:01.5Z", "2026-11-20T22:40:01.5Z"]);
    assert!(frames[0].seq() < frames[1].seq());
}
