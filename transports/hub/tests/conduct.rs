//! Connections of older systems: what they are told first, what becomes of their frames, and what they miss.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use eventwire_hub::{Conduct, ConnectRequest, Connection, Hub, MemoryBounds, Outgoing, Principal, Settings, Tap};
use eventwire_protocol::{
    Claims, Committed, ConnectionId, ContextId, Dialect, Envelope, ErrorCode, Member, Scope,
    delivery::MailboxBounds,
    event::{adw::TextBlock, context::SessionUpdate},
    limits::StreamBounds,
};

/// Everything that was committed, by payload.
#[derive(Default)]
struct Seen(Mutex<Vec<Envelope>>);

impl Tap for Seen {
    fn committed(&self, event: &Committed) {
        self.0.lock().unwrap().push(event.envelope().clone());
    }
}

/// Tells what was seen so far, and answers every frame with itself.
struct Echo(Arc<Seen>);

#[async_trait]
impl Conduct for Echo {
    fn greet(&mut self, _: ConnectionId, _: &Member) -> Vec<Envelope> {
        self.0.0.lock().unwrap().clone()
    }

    fn max_frame_bytes(&self) -> usize {
        16
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        connection.tell_in_words(frame.to_vec());
    }
}

fn request(dialect: Dialect) -> ConnectRequest {
    let principal = Principal { name: "anonymous".into(), claims: Claims::loopback() };
    ConnectRequest { dialect, ..ConnectRequest::new(principal, "memory") }
}

fn text(content: impl ToString) -> TextBlock {
    serde_json::from_value(serde_json::json!({"adw_id": "29fb6a3e", "content": content.to_string()})).unwrap()
}

async fn read(connection: &mut Connection) -> Vec<String> {
    match connection.next().await {
        Outgoing::Frames(frames) => {
            frames.iter().map(|frame| String::from_utf8(frame.bytes.to_vec()).unwrap()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_greeting_and_what_follows_hold_every_event_once() {
    let seen = Arc::new(Seen::default());
    let hub = Hub::builder().tap(seen.clone()).build();
    let adw = hub.adw("29fb6a3e".parse().unwrap());
    let publisher = tokio::spawn(async move {
        for count in 0..200 {
            adw.publish(text(count)).await.unwrap();
        }
    });
    let mut last = Vec::new();
    while !publisher.is_finished() || last.is_empty() {
        let connection = hub.connect_as(request(Dialect::Adw), Box::new(Echo(seen.clone()))).await.unwrap();
        last.push(connection);
        tokio::task::yield_now().await;
    }
    publisher.await.unwrap();
    for mut connection in last {
        let mut told = Vec::new();
        while told.len() < 201 {
            told.extend(read(&mut connection).await);
        }
        assert!(told[0].contains("connection_ack"), "{}", told[0]);
        for (count, frame) in told[1..].iter().enumerate() {
            assert!(frame.contains(&format!("\"content\":\"{count}\"")), "{count}: {frame}");
        }
    }
}

#[tokio::test]
async fn cmd_03_a_frame_over_the_limit_of_the_dialect_is_refused_in_its_words_and_no_other_is_looked_at_by_the_hub() {
    let hub = Hub::new();
    let conduct = Box::new(Echo(Arc::default()));
    let mut connection = hub.connect_as(request(Dialect::Adw), conduct).await.unwrap();
    assert!(read(&mut connection).await[0].contains("connection_ack"));
    connection.receive(b"{\"type\":\"ping\"}").await;
    assert_eq!(read(&mut connection).await, ["{\"type\":\"ping\"}"]);
    connection.receive(b"{\"type\":\"pingping\"}").await;
    let refused = read(&mut connection).await.remove(0);
    assert!(refused.contains("over the limit of 16") && refused.contains("\"type\":\"error\""), "{refused}");
}

#[tokio::test]
async fn flow_09_an_older_client_that_has_missed_what_is_no_longer_kept_is_closed() {
    let bounds = StreamBounds { events: 20, bytes: 1 << 20, age: std::time::Duration::from_secs(3600) };
    let hub = Hub::builder()
        .settings(Settings { mailbox: MailboxBounds { frames: 10, bytes: 1 << 20 }, ..Settings::default() })
        .memory_bounds(MemoryBounds { adw: bounds, ..MemoryBounds::default() })
        .build();
    let mut slow = hub.connect_as(request(Dialect::Adw), Box::new(Echo(Arc::default()))).await.unwrap();
    let mut lagging = hub.connect_as(request(Dialect::Adw), Box::new(Echo(Arc::default()))).await.unwrap();
    read(&mut slow).await;
    read(&mut lagging).await;
    let adw = hub.adw("29fb6a3e".parse().unwrap());
    // As many as the log keeps: it is fed from there, and misses nothing.
    for count in 0..18 {
        adw.publish(text(count)).await.unwrap();
    }
    let mut told = Vec::new();
    while told.len() < 18 {
        told.extend(read(&mut lagging).await);
    }
    assert!(told[17].contains("\"content\":\"17\""), "{told:?}");
    // More than that.
    for count in 18..100 {
        adw.publish(text(count)).await.unwrap();
    }
    loop {
        match slow.next().await {
            Outgoing::Frames(_) | Outgoing::Ping => {}
            Outgoing::Close(code, _) => break assert_eq!(code.as_u16(), 4008),
        }
    }
}

/// Comes for a context, and joins another that a frame names.
struct Visitor(ContextId);

#[async_trait]
impl Conduct for Visitor {
    fn context(&self) -> Option<&ContextId> {
        Some(&self.0)
    }

    fn max_frame_bytes(&self) -> usize {
        1024
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        let target = std::str::from_utf8(frame).unwrap().parse().unwrap();
        let said = connection.join(target).await.map_or_else(|error| error.code.to_string(), |()| "joined".into());
        connection.tell_in_words(said);
    }
}

#[tokio::test]
async fn a_connection_that_comes_for_a_context_is_in_it_from_the_start_and_is_not_told_so() {
    let hub = Hub::new();
    let claims =
        Claims { contexts: Scope::Only(["a".parse().unwrap(), "b".parse().unwrap()].into()), ..Claims::anonymous() };
    let request = |context: &str| {
        let principal = Principal { name: "u".into(), claims: claims.clone() };
        let request = ConnectRequest { dialect: Dialect::SharedContext, ..ConnectRequest::new(principal, "memory") };
        (request, Box::new(Visitor(context.parse().unwrap())))
    };
    let (refused, conduct) = request("c");
    assert_eq!(hub.connect_as(refused, conduct).await.err().unwrap().code, ErrorCode::Forbidden);
    assert_eq!(hub.connection_count(), 0);

    let (permitted, conduct) = request("a");
    let mut connection = hub.connect_as(permitted, conduct).await.unwrap();
    let welcome = read(&mut connection).await;
    assert!(welcome.len() == 1 && welcome[0].contains("\"session_id\":\"a\""), "{welcome:?}");
    assert!(connection.member().unwrap().is_in(&"a".parse().unwrap()));

    connection.receive(b"session:b").await;
    connection.receive(b"session:c").await;
    assert_eq!(read(&mut connection).await, ["joined", "forbidden"]);
    let update: SessionUpdate = serde_json::from_str("{}").unwrap();
    for context in ["b", "c", "a"] {
        hub.session(context.parse::<ContextId>().unwrap()).publish(update.clone()).await.unwrap();
    }
    let told = read(&mut connection).await;
    assert!(told.len() == 2 && told[0].contains("\"b\"") && told[1].contains("\"a\""), "{told:?}");
}

/// Words its own welcome.
struct Named;

#[async_trait]
impl Conduct for Named {
    fn welcome(&mut self) -> Option<bytes::Bytes> {
        Some(r#"["connected",{"client_id":"x"}]"#.into())
    }

    fn max_frame_bytes(&self) -> usize {
        16
    }

    async fn receive(&mut self, _: &mut Connection, _: &[u8]) {}
}

#[tokio::test]
async fn a_conduct_may_word_the_welcome_and_it_is_still_the_first_that_is_told() {
    let hub = Hub::new();
    let mut connection = hub.connect_as(request(Dialect::Amiga), Box::new(Named)).await.unwrap();
    assert_eq!(read(&mut connection).await, [r#"["connected",{"client_id":"x"}]"#]);
}
