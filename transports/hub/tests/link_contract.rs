//! What the hub promises to whoever drives a connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use eventwire_hub::{
    Checkpoint, ConnectRequest, Connection, Credentials, History, Hub, MemoryBounds, MemoryHistory, Outgoing, Settings,
    history::{Append, Heads, Outcome, Page, PageBounds},
};
use eventwire_protocol::{
    AdwId, CloseCode, Committed, Envelope, Epoch, ErrorBody, Position, Target, Time,
    delivery::MailboxBounds,
    event::adw::{AgentSummaryUpdate, TextBlock},
};
use serde_json::json;
use tokio::time::timeout;

const ADW: &str = "29fb6a3e";

fn adw() -> AdwId {
    ADW.parse().unwrap()
}

fn said(content: &str) -> TextBlock {
    serde_json::from_value(json!({"adw_id": ADW, "content": content})).unwrap()
}

fn stands(step: &str) -> AgentSummaryUpdate {
    serde_json::from_value(json!({"adw_id": ADW, "status": "in_progress", "current_step": step})).unwrap()
}

async fn watch(hub: &Hub) -> Connection {
    let principal = hub.authenticate(&Credentials::default()).await.unwrap();
    let mut request = ConnectRequest::new(principal, "memory");
    request.targets = vec![format!("adw:{ADW}")];
    hub.connect(request).await.unwrap()
}

/// What the link would write next, as text.
async fn frames(connection: &mut Connection) -> String {
    match connection.next().await {
        Outgoing::Frames(frames) => frames.iter().map(|frame| String::from_utf8_lossy(&frame.bytes) + "\n").collect(),
        other => panic!("frames were expected, not {other:?}"),
    }
}

/// A history whose newest values take forever to come, once.
struct Hesitant {
    history: MemoryHistory,
    hesitates: AtomicBool,
    asked: AtomicUsize,
}

#[async_trait]
impl History for Hesitant {
    async fn append(&self, now: Time, appends: Vec<Append>) -> Result<Vec<Result<Vec<Outcome>, ErrorBody>>, ErrorBody> {
        self.history.append(now, appends).await
    }

    async fn heads(&self) -> Result<Heads, ErrorBody> {
        self.history.heads().await
    }

    async fn read(&self, now: Time, from: &[(Target, Position)], bounds: PageBounds) -> Result<Page, ErrorBody> {
        self.history.read(now, from, bounds).await
    }

    async fn latest(&self, now: Time, targets: &[Target]) -> Result<Vec<Arc<Committed>>, ErrorBody> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hesitates.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.history.latest(now, targets).await
    }

    async fn checkpoints(&self, source: &str) -> Result<Vec<Checkpoint>, ErrorBody> {
        self.history.checkpoints(source).await
    }
}

#[tokio::test(start_paused = true)]
async fn flow_04_a_newest_value_is_not_lost_when_the_link_turns_to_something_else() {
    let history = Arc::new(Hesitant {
        history: MemoryHistory::new(Epoch::from_bits(7), MemoryBounds::default()),
        hesitates: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
    });
    let mailbox = MailboxBounds { frames: 1, ..MailboxBounds::default() };
    let settings = Settings { mailbox, ..Settings::default() };
    let hub = Hub::builder().settings(settings).history(history.clone()).build();
    let mut connection = watch(&hub).await;
    while !frames(&mut connection).await.contains("connection.subscribed") {}
    assert!(timeout(Duration::from_millis(1), connection.next()).await.is_err(), "all is said, and live");

    // The second finds no room and has to be fetched later.
    let now = hub.now();
    let events = [Envelope::to_adw(adw(), &said("fills it"), now), Envelope::to_adw(adw(), &stands("one"), now)];
    hub.append(events.into_iter().collect::<Result<_, _>>().unwrap(), Vec::new()).await.unwrap();
    history.hesitates.store(true, Ordering::SeqCst);
    let before = history.asked.load(Ordering::SeqCst);
    assert!(frames(&mut connection).await.contains("fills it"));
    assert!(timeout(Duration::from_millis(1), connection.next()).await.is_err(), "the history hesitates");
    assert!(frames(&mut connection).await.contains("\"current_step\":\"one\""));
    assert_eq!(history.asked.load(Ordering::SeqCst) - before, 2);

    // What came live during an abandoned fetch is not taken for newer than a later one.
    hub.adw(adw()).publish(stands("two")).await.unwrap();
    assert!(frames(&mut connection).await.contains("\"current_step\":\"two\""));
}

#[tokio::test(start_paused = true)]
async fn ws_05_a_connection_that_is_being_closed_says_what_waits_and_nothing_new() {
    let hub = Hub::new();
    let mut connection = watch(&hub).await;
    assert!(frames(&mut connection).await.contains("connection.welcome"));
    assert!(timeout(Duration::from_millis(1), connection.next()).await.is_err(), "all is said, and live");
    hub.adw(adw()).publish(said("waits")).await.unwrap();
    connection.close(CloseCode::Policy, "enough");
    for _ in 0..3 {
        hub.adw(adw()).publish(said("new")).await.unwrap();
    }
    let mut seen = String::new();
    let (code, reason) = loop {
        match connection.next().await {
            Outgoing::Frames(frames) => {
                seen.extend(frames.iter().map(|frame| String::from_utf8_lossy(&frame.bytes).into_owned()));
            }
            Outgoing::Close(code, reason) => break (code, reason),
            Outgoing::Ping => {}
        }
    };
    assert_eq!((code, reason.as_str()), (CloseCode::Policy, "enough"));
    assert!(seen.contains("\"waits\"") && !seen.contains("\"new\""), "{seen}");
}
