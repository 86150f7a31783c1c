//! Coming back with `Last-Event-ID`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;

use common::{Event, EventSource, Parser, open, pieces, publish, serve};
use eventwire_hub::{Hub, Settings};
use eventwire_protocol::delivery::MailboxBounds;
use eventwire_sse::SseAcceptor;
use proptest::prelude::*;
use serde_json::json;

const TARGET: &str = "/v1/sse?adw=aaaaaaaa,bbbbbbbb&room=tasks";
const STREAMS: [&str; 4] = ["adw:aaaaaaaa", "room:tasks", "adw:bbbbbbbb", "global"];

fn data(events: &[Event]) -> Vec<String> {
    events.iter().filter(|event| event.seq().is_some()).map(|event| event.data.clone()).collect()
}

#[tokio::test]
async fn sse_02_a_client_that_returns_at_any_position_gets_the_sequence_of_one_that_stayed() {
    const EVENTS: usize = 48;
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    let mut stayed = EventSource::open(address, TARGET).await;
    stayed.until(|event| event.name() == "connection.subscribed").await;
    let mut sources = Vec::new();
    for _ in 0..=EVENTS {
        let mut source = EventSource::open(address, TARGET).await;
        source.until(|event| event.name() == "connection.subscribed").await;
        sources.push(source);
    }
    for n in 0..EVENTS / 2 {
        publish(&hub, STREAMS[n % 4], json!({"n": n})).await;
        publish(&hub, "room:others", json!({"n": n})).await;
    }
    // Position by position: so many events read before the cut, the rest after it. Whoever is cut off in the first half
    // is away while the second half is published.
    let mut seen = Vec::new();
    for (position, source) in sources.iter_mut().enumerate() {
        seen.push(source.logged(position.min(EVENTS / 2)).await);
        if position <= EVENTS / 2 {
            source.disconnect();
        }
    }
    for n in EVENTS / 2..EVENTS {
        publish(&hub, STREAMS[n % 4], json!({"n": n})).await;
    }
    let all = data(&stayed.logged(EVENTS).await);
    for (position, (mut source, mut seen)) in sources.into_iter().zip(seen).enumerate() {
        let more = position.saturating_sub(EVENTS / 2);
        seen.extend(source.logged(more).await);
        source.reconnect().await;
        seen.extend(source.logged(EVENTS - position).await);
        // Order is kept within each target; between targets the replay may order otherwise.
        let (mut got, mut expected) = (data(&seen), all.clone());
        for stream in STREAMS {
            let of = |events: &[String]| {
                events.iter().filter(|data| data.contains(&format!("\"to\":\"{stream}\""))).cloned().collect::<Vec<_>>()
            };
            assert_eq!(of(&got), of(&expected), "{position} {stream}");
        }
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "{position}");
    }
}

#[tokio::test]
async fn sse_02_a_client_cut_off_before_its_first_event_misses_nothing() {
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    publish(&hub, "room:tasks", json!({"n": 0})).await;
    let mut source = EventSource::open(address, TARGET).await;
    let welcome = source.next().await.unwrap();
    assert_eq!(welcome.name(), "connection.welcome");
    assert!(!source.parser.last_id.is_empty());
    publish(&hub, "room:tasks", json!({"n": 1})).await;
    source.reconnect().await;
    assert_eq!(source.logged(1).await[0].value()["data"]["n"], 1);
}

#[tokio::test]
async fn sse_02_the_header_wins_over_the_query_and_either_resumes() {
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    let mut source = EventSource::open(address, "/v1/sse?room=tasks").await;
    source.until(|event| event.name() == "connection.subscribed").await;
    for n in 0..4 {
        publish(&hub, "room:tasks", json!({"n": n})).await;
    }
    let ids: Vec<String> = source.logged(4).await.into_iter().map(|event| event.last_id).collect();
    let target = format!("/v1/sse?room=tasks&cursor={}", ids[0].replace(',', "%2C").replace('=', "%3D"));
    let mut by_query = EventSource::open(address, &target).await;
    assert_eq!(by_query.logged(3).await[0].value()["data"]["n"], 1);
    // EventSource reconnects to the same address: the old cursor is still in it.
    by_query.stand_at(&ids[2]);
    by_query.reconnect().await;
    assert_eq!(by_query.logged(1).await[0].value()["data"]["n"], 3);
}

#[tokio::test]
async fn sse_08_a_cursor_that_a_client_wrote_from_its_positions_gets_what_is_behind_each_of_them() {
    let hub = Hub::new();
    let address = serve(SseAcceptor::new(hub.clone())).await;
    let mut numbers = Vec::new();
    for n in 0..6 {
        numbers.push(publish(&hub, ["room:tasks", "global"][n % 2], json!({"n": n})).await);
    }
    let mut source = EventSource::open(address, "/v1/sse?room=tasks").await;
    // As one would that read over a socket all of the room (0, 2, 4), and of what is for everybody (1, 3, 5) the first.
    let welcome = source.next().await.unwrap().value();
    let epoch = welcome["data"]["epoch"].as_str().unwrap().to_owned();
    source.stand_at(&format!("{epoch}-{},global={}", numbers[4], numbers[1]));
    source.reconnect().await;
    publish(&hub, "room:tasks", json!({"n": 6})).await;
    let mut rest: Vec<_> = source.logged(3).await.iter().map(|event| event.value()["data"]["n"].clone()).collect();
    rest.sort_by_key(|n| n.as_u64());
    assert_eq!(rest, [3, 5, 6]);
}

#[tokio::test]
async fn log_05_a_cursor_of_another_history_is_answered_with_a_gap_and_all_that_this_one_holds() {
    let (old, new) = (Hub::new(), Hub::new());
    let mut source = EventSource::open(serve(SseAcceptor::new(old.clone())).await, TARGET).await;
    source.until(|event| event.name() == "connection.subscribed").await;
    publish(&old, "room:tasks", json!({"n": "old"})).await;
    let last_id = source.logged(1).await[0].last_id.clone();
    for n in 0..5 {
        publish(&new, "room:tasks", json!({"n": n})).await;
    }
    let mut source = EventSource::open(serve(SseAcceptor::new(new.clone())).await, TARGET).await;
    source.stand_at(&last_id);
    source.reconnect().await;
    publish(&new, "global", json!({"n": "fence"})).await;
    let events = source.until(|event| event.value()["data"]["n"] == "fence").await;
    let gaps: Vec<_> = events
        .iter()
        .filter(|event| event.name() == "connection.gap")
        .map(|event| event.value()["data"].clone())
        .collect();
    assert!(gaps.contains(&json!({"stream": "room:tasks", "reason": "epoch_changed"})), "{gaps:?}");
    let numbers: Vec<_> =
        events.iter().filter(|event| event.seq().is_some()).map(|event| event.value()["data"]["n"].clone()).collect();
    let mut numbers = numbers;
    numbers.retain(|n| n != "fence");
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// The line may break anywhere, also in the middle of an event, of an id, of a character.
    #[test]
    fn sse_02_a_stream_cut_at_any_byte_resumes_without_hole_or_repetition(
        events in prop::collection::vec((0_usize..4, 0_usize..400, 0_usize..3), 1..60),
        cuts in prop::collection::vec(0_usize..3_000, 1..8),
        frames in 5_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mailbox = MailboxBounds { frames, bytes: 4_000 };
            let hub = Hub::builder().settings(Settings { mailbox, ..Settings::default() }).build();
            let acceptor = SseAcceptor::new(hub.clone());
            let mut cuts = cuts.into_iter();
            let mut parser = Parser::default();
            let mut seen: Vec<Event> = Vec::new();
            let mut body = open(&acceptor, TARGET, "").await;
            // The first block is there before the answer counts as answered: without an id nobody could return.
            seen.extend(parser.feed(&common::piece(&mut body).await.unwrap()));
            let mut left = cuts.next();
            let mut published = Vec::new();
            for (n, (stream, size, rounds)) in events.into_iter().enumerate() {
                let seq = publish(&hub, STREAMS[stream], json!({"n": n, "fill": "é".repeat(size)})).await;
                published.push((seq, STREAMS[stream].to_owned()));
                for _ in 0..rounds {
                    let Some(piece) = common::piece(&mut body).await else { break };
                    let room = left.unwrap_or(usize::MAX);
                    seen.extend(parser.feed(&piece[..piece.len().min(room)]));
                    if piece.len() < room {
                        left = left.map(|left| left - piece.len());
                    } else {
                        parser = parser.reconnected();
                        body = open(&acceptor, TARGET, &parser.last_id).await;
                        left = cuts.next();
                    }
                }
            }
            seen.extend(parser.feed(&pieces(&mut body).await));
            let mut got: Vec<(u64, String)> = Vec::new();
            for event in seen.iter().map(Event::value).filter(|event| event["seq"].is_u64()) {
                got.push((event["seq"].as_u64().unwrap(), event["to"].as_str().unwrap().to_owned()));
            }
            for stream in STREAMS {
                let of = |events: &[(u64, String)]| events.iter().filter(|(_, to)| to == stream).cloned().collect::<Vec<_>>();
                prop_assert_eq!(of(&got), of(&published), "{}", stream);
            }
            prop_assert_eq!(got.len(), published.len());
            Ok(())
        })?;
    }
}
