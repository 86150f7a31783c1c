//! Connections of older systems: what they are told first, what becomes of their frames, and what they miss.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use eventwire_hub::{
    ConnectRequest, Connection, ConnectionHandler, Hub, MemoryBounds, Outgoing, Principal, Settings, Tap,
};
use eventwire_protocol::{
    Claims, CloseCode, Committed, ConnectionId, ContextId, Dialect, Envelope, Epoch, ErrorCode, Member, Position,
    Scope, Target,
    delivery::MailboxBounds,
    event::{adw::TextBlock, context::SessionUpdate, product::RagProgress},
    limits::StreamBounds,
    resume::Cursor,
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
impl ConnectionHandler for Echo {
    fn greet(&mut self, _: ConnectionId, _: &Member) -> Vec<Envelope> {
        self.0.0.lock().unwrap().clone()
    }

    fn max_frame_bytes(&self) -> usize {
        16
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        connection.send_encoded(frame.to_vec());
    }
}

fn request(dialect: Dialect) -> ConnectRequest {
    let principal = Principal::new("anonymous", Claims::loopback());
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

/// Says in words what was seen so far.
struct Words(Arc<Seen>);

impl Words {
    fn of(seen: &Seen) -> Vec<bytes::Bytes> {
        let seen = seen.0.lock().unwrap();
        vec![format!("{{\"type\":\"words\",\"seen\":{}}}", seen.len()).into()]
    }
}

#[async_trait]
impl ConnectionHandler for Words {
    fn initial_frames(&mut self, _: ConnectionId, _: &Member) -> Vec<bytes::Bytes> {
        Self::of(&self.0)
    }

    fn max_frame_bytes(&self) -> usize {
        16
    }

    async fn receive(&mut self, _: &mut Connection, _: &[u8]) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn words_about_what_was_seen_and_what_follows_hold_every_event_once() {
    let seen = Arc::new(Seen::default());
    let hub = Hub::builder().tap(seen.clone()).build();
    let watching = |dialect| ConnectRequest { targets: vec!["adw:29fb6a3e".into()], ..request(dialect) };
    let mut adw = hub.connect_as(watching(Dialect::Adw), Box::new(Words(seen.clone()))).await.unwrap();
    let mut trigger = hub.connect_as(watching(Dialect::AdwTrigger), Box::new(Words(seen.clone()))).await.unwrap();
    let mut elsewhere = hub.connect_as(request(Dialect::Monadic), Box::new(Words(seen.clone()))).await.unwrap();
    let publisher = {
        let adw = hub.adw("29fb6a3e".parse().unwrap());
        tokio::spawn(async move {
            for count in 0..100 {
                adw.publish(text(count)).await.unwrap();
            }
        })
    };
    let kind = eventwire_protocol::EventKind::Known(eventwire_protocol::EventType::AdwTextBlock);
    let event = Envelope::probe(kind, "adw:29fb6a3e".parse().unwrap()).unwrap();
    let mut asked = 0;
    // Not more than fit into the mailbox.
    while asked == 0 || (asked < 300 && !publisher.is_finished()) {
        let words = || {
            let words = Words::of(&seen);
            // Long enough for an event to come in between, if one could.
            std::thread::sleep(std::time::Duration::from_micros(200));
            words
        };
        let told = hub.send_encoded(&event, Dialect::Adw, words);
        // Who reads another dialect, and who would not receive the event, is not told.
        assert_eq!(told, 1);
        asked += 1;
        tokio::task::yield_now().await;
    }
    publisher.await.unwrap();
    let (mut events, mut words) = (0, 0);
    while events < 100 || words <= asked {
        for frame in read(&mut adw).await {
            match frame.strip_prefix("{\"type\":\"words\",\"seen\":") {
                // As many as came before, none of which comes later.
                Some(seen) => {
                    assert_eq!(seen.trim_end_matches('}').parse::<usize>().unwrap(), events);
                    words += 1;
                }
                None if frame.contains("text_block") => events += 1,
                None => assert!(frame.contains("connection_ack") || frame.contains("subscri"), "{frame}"),
            }
        }
    }
    let mut events = 0;
    while events < 100 {
        let frames = read(&mut trigger).await;
        assert!(!frames.iter().any(|frame| frame.contains("\"words\",\"seen\":1")), "{frames:?}");
        events += frames.iter().filter(|frame| frame.contains("text_block")).count();
    }
    assert_eq!(read(&mut elsewhere).await, ["{\"type\":\"words\",\"seen\":0}"]);
}

#[tokio::test]
async fn cmd_03_a_frame_over_the_limit_of_the_dialect_is_refused_in_its_words_and_no_other_is_looked_at_by_the_hub() {
    let hub = Hub::new();
    let handler = Box::new(Echo(Arc::default()));
    let mut connection = hub.connect_as(request(Dialect::Adw), handler).await.unwrap();
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
impl ConnectionHandler for Visitor {
    fn context(&self) -> Option<&ContextId> {
        Some(&self.0)
    }

    fn max_frame_bytes(&self) -> usize {
        1024
    }

    async fn receive(&mut self, connection: &mut Connection, frame: &[u8]) {
        let target = std::str::from_utf8(frame).unwrap().parse().unwrap();
        let said = connection.join(target).await.map_or_else(|error| error.code.to_string(), |()| "joined".into());
        connection.send_encoded(said);
    }
}

#[tokio::test]
async fn a_connection_that_comes_for_a_context_is_in_it_from_the_start_and_is_not_told_so() {
    let hub = Hub::new();
    let claims =
        Claims { contexts: Scope::Only(["a".parse().unwrap(), "b".parse().unwrap()].into()), ..Claims::anonymous() };
    let request = |context: &str| {
        let principal = Principal::new("u", claims.clone());
        let request = ConnectRequest { dialect: Dialect::SharedContext, ..ConnectRequest::new(principal, "memory") };
        (request, Box::new(Visitor(context.parse().unwrap())))
    };
    let (refused, handler) = request("c");
    assert_eq!(hub.connect_as(refused, handler).await.err().unwrap().code, ErrorCode::Forbidden);
    assert_eq!(hub.connection_count(), 0);

    let (permitted, handler) = request("a");
    let mut connection = hub.connect_as(permitted, handler).await.unwrap();
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

/// Says where it had got when it leaves.
struct Leaver(Arc<Mutex<Vec<(Target, u64)>>>);

#[async_trait]
impl ConnectionHandler for Leaver {
    fn max_frame_bytes(&self) -> usize {
        16
    }

    async fn receive(&mut self, _: &mut Connection, _: &[u8]) {}

    fn leaving(&mut self, _: ConnectionId, _: Epoch, handed: &[(Target, Position)]) {
        self.0.lock().unwrap().extend(handed.iter().map(|(target, at)| (target.clone(), at.as_u64())));
    }
}

#[tokio::test]
async fn who_leaves_says_how_far_its_link_was_handed_the_log() {
    let hub = Hub::new();
    let maria = hub.user("maria".parse().unwrap());
    let told = |number: u32| -> RagProgress {
        serde_json::from_value(serde_json::json!({"query_id": number.to_string(), "stage": "retrieval"})).unwrap()
    };
    let open = async |handed: &Arc<Mutex<Vec<(Target, u64)>>>, cursor: Option<Cursor>| {
        let claims = Claims { user: Some("maria".parse().unwrap()), ..Claims::loopback() };
        let principal = Principal::new("maria", claims);
        let request = ConnectRequest { dialect: Dialect::Product, cursor, ..ConnectRequest::new(principal, "memory") };
        hub.connect_as(request, Box::new(Leaver(handed.clone()))).await.unwrap()
    };
    let place = |handed: &Mutex<Vec<(Target, u64)>>| {
        let target = Target::User("maria".parse().unwrap());
        handed.lock().unwrap().iter().find(|(of, _)| *of == target).unwrap().1
    };
    maria.publish(told(1)).await.unwrap();
    let handed = Arc::default();
    let mut connection = open(&handed, None).await;
    read(&mut connection).await;
    maria.publish(told(2)).await.unwrap();
    read(&mut connection).await;
    maria.publish(told(3)).await.unwrap();
    // It waits in the mailbox, and nobody has taken it out.
    drop(connection);
    assert_eq!(place(&handed), 2);

    // Of a replay that was not handed over, nothing was had.
    let (epoch, low) = hub.head().await.unwrap();
    let others = [(Target::User("maria".parse().unwrap()), Position::new(1).unwrap())].into();
    let cursor = Some(Cursor { epoch, low, others });
    let handed = Arc::default();
    drop(open(&handed, cursor.clone()).await);
    assert_eq!(place(&handed), 1);
    let handed = Arc::default();
    let mut connection = open(&handed, cursor).await;
    while read(&mut connection).await.iter().all(|frame| !frame.contains("\"3\"")) {}
    drop(connection);
    assert_eq!(place(&handed), 3);
}

#[tokio::test]
async fn a_connection_can_be_closed_with_a_code_and_a_reason() {
    let hub = Hub::new();
    let mut connection = hub.connect_as(request(Dialect::Adw), Box::new(Echo(Arc::default()))).await.unwrap();
    assert!(hub.close(connection.id(), CloseCode::Policy, "Session expired"));
    // The first reason counts.
    assert!(hub.kick(connection.id()));
    read(&mut connection).await;
    let Outgoing::Close(code, reason) = connection.next().await else { panic!() };
    assert_eq!((code, reason.as_str()), (CloseCode::Policy, "Session expired"));
    let id = connection.id();
    drop(connection);
    assert!(!hub.close(id, CloseCode::Policy, "again"));
}

/// Words its own welcome.
struct Named;

#[async_trait]
impl ConnectionHandler for Named {
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
