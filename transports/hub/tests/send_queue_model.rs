//! The splice between replay and live, model-checked: a sequencer that commits and offers, a link that takes and pages,
//! and commands that follow and lose, under every schedule that the explorer draws.
//!
//! Built only with the feature `shuttle`, which puts the send queue on the explorer's locks:
//! `cargo test -p eventwire-hub --features shuttle --test send_queue_model`. The variable `SHUTTLE_ITERATIONS` sets how many
//! schedules are drawn for each case.
#![cfg(feature = "shuttle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::sync::Arc;

use eventwire_hub::{
    history::Page,
    send_queue::{OutFrame, SendQueue, Taken},
};
use eventwire_protocol::{
    AdwId, Audience, Committed, ConnectionId, Dialect, Envelope, Epoch, Position, Seq, Target, Time,
    delivery::MailboxBounds, event::adw::AgentDeleted, frame::Logged,
};
use shuttle::{
    scheduler::{PctScheduler, RandomScheduler},
    sync::Mutex,
    thread,
};

const EVENTS: u64 = 6;
const NOW: fn() -> Time = || Time::from_unix_micros(0);

fn adw() -> AdwId {
    "29fb6a3e".parse().unwrap()
}

fn target() -> Target {
    Target::Adw(adw())
}

/// The log of one stream, behind a lock of its own, as a history keeps it.
#[derive(Default)]
struct Log(Mutex<Vec<Arc<Committed>>>);

impl Log {
    fn commit(&self, number: u64) -> Arc<Committed> {
        let envelope = Envelope::to_adw(adw(), &AgentDeleted { adw_id: adw() }, NOW()).unwrap();
        let logged = Logged { seq: Seq::new(number).unwrap(), prev: Position::new(number - 1).unwrap() };
        let event = Arc::new(Committed::new(envelope, Some(logged)));
        self.0.lock().unwrap().push(event.clone());
        event
    }

    fn page(&self, from: Position, most: usize) -> Page {
        let log = self.0.lock().unwrap();
        let after = log.iter().filter(|event| !from.covers(event.logged().unwrap().seq));
        let events: Vec<Arc<Committed>> = after.clone().take(most).cloned().collect();
        let end = events.len() == after.count();
        let last = if end { log.last() } else { events.last() };
        let upto = last.map_or(Position::START, |event| event.logged().unwrap().seq.into());
        Page { epoch: Epoch::from_bits(1), events, upto, end, floors: Vec::new() }
    }
}

fn send_queue(frames: usize) -> Arc<SendQueue> {
    let bounds = MailboxBounds { frames, bytes: 1 << 20 };
    Arc::new(SendQueue::new(
        ConnectionId::from_u64(1),
        Dialect::Canonical,
        bounds,
        Epoch::from_bits(1),
        Position::START,
        true,
    ))
}

fn numbers(frames: &[OutFrame], seen: &mut Vec<u64>) {
    for frame in frames {
        let frame: serde_json::Value = serde_json::from_slice(&frame.bytes).unwrap();
        seen.extend(frame["seq"].as_u64());
    }
}

/// What a link does until it has seen the last event: take, write, page.
fn drive(send_queue: &SendQueue, log: &Log, page: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&EVENTS) {
        match send_queue.take() {
            Taken::Frames(frames) => numbers(&frames, &mut seen),
            Taken::Behind(asked) => {
                let part = log.page(asked[0].1, page);
                // The page is a state of the past by the time it arrives.
                thread::yield_now();
                let frames = send_queue.page(&asked, &part, |_| true, |_| true, NOW());
                numbers(&frames, &mut seen);
            }
            Taken::Idle => thread::yield_now(),
            Taken::Latest(_) | Taken::Close(..) => panic!("nothing of the kind was asked for"),
        }
    }
    seen
}

fn publish(log: &Arc<Log>, send_queue: &Arc<SendQueue>) -> thread::JoinHandle<()> {
    let (log, send_queue) = (log.clone(), send_queue.clone());
    thread::spawn(move || {
        for number in 1..=EVENTS {
            let event = log.commit(number);
            // Between commit and delivery anything may happen.
            thread::yield_now();
            send_queue.offer(&event);
        }
    })
}

fn explore(case: fn()) {
    let iterations = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_500);
    shuttle::Runner::new(RandomScheduler::new(iterations), shuttle::Config::new()).run(case);
    shuttle::Runner::new(PctScheduler::new(3, iterations), shuttle::Config::new()).run(case);
}

#[test]
fn log_06_a_subscription_in_the_middle_of_publishing_misses_nothing_and_repeats_nothing() {
    explore(|| {
        let (log, send_queue) = (Arc::new(Log::default()), send_queue(100));
        let publisher = publish(&log, &send_queue);
        // As `subscribe` does: held, then followed from where the client stood, while events are committed.
        send_queue.hold(&target());
        thread::yield_now();
        send_queue.follow(&target(), Position::START, true, false, NOW());
        let seen = drive(&send_queue, &log, 2);
        publisher.join().unwrap();
        assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
    });
}

#[test]
fn log_07_a_subscription_from_now_on_has_no_hole_behind_its_head() {
    explore(|| {
        let (log, send_queue) = (Arc::new(Log::default()), send_queue(100));
        send_queue.hold(&target());
        let publisher = publish(&log, &send_queue);
        let head = log.page(Position::START, usize::MAX).upto;
        thread::yield_now();
        send_queue.follow_from_now(&target(), head);
        if head.as_u64() < EVENTS {
            let seen = drive(&send_queue, &log, 2);
            assert_eq!(seen, (head.as_u64() + 1..=EVENTS).collect::<Vec<_>>());
        }
        publisher.join().unwrap();
    });
}

#[test]
fn flow_02_a_mailbox_of_one_frame_loses_nothing_to_the_log() {
    explore(|| {
        let (log, send_queue) = (Arc::new(Log::default()), send_queue(1));
        send_queue.hold(&target());
        send_queue.follow(&target(), Position::START, false, false, NOW());
        let publisher = publish(&log, &send_queue);
        let seen = drive(&send_queue, &log, 1);
        publisher.join().unwrap();
        assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
    });
}

#[test]
fn log_06_following_again_further_back_brings_what_lies_between_in_order() {
    explore(|| {
        let (log, send_queue) = (Arc::new(Log::default()), send_queue(2));
        send_queue.hold(&target());
        send_queue.follow(&target(), Position::new(3).unwrap(), false, false, NOW());
        let publisher = publish(&log, &send_queue);
        let again = {
            let send_queue = send_queue.clone();
            thread::spawn(move || send_queue.follow(&target(), Position::START, true, false, NOW()))
        };
        let seen = drive(&send_queue, &log, 2);
        publisher.join().unwrap();
        again.join().unwrap();
        // The client asked for the beginning again after some of it: wherever that fell, each run has no hole.
        let restart = seen.windows(2).position(|pair| pair[1] <= pair[0]).map_or(0, |at| at + 1);
        let (before, after) = seen.split_at(restart);
        for run in [before, after] {
            assert!(run.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
        }
        assert_eq!(after.last(), Some(&EVENTS), "{seen:?}");
    });
}

/// The audience of every event in this file.
#[test]
fn the_log_of_the_model_is_the_stream_of_the_root() {
    shuttle::check_random(
        || {
            let log = Log::default();
            assert_eq!(log.commit(1).envelope().audience(), &Audience::adw(adw()));
            assert_eq!(log.page(Position::START, 1).upto.as_u64(), 1);
        },
        1,
    );
}
