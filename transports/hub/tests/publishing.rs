//! Publishing, subscriptions, permissions and the end of a hub, without any socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use eventwire_hub::{
    Audit, AuditEntry, AuditSink, Authenticator, ConnectRequest, Connection, Credentials, Holder, Hub, MemoryBounds,
    Outgoing, Principal, Receipt, Secret, history::Evictions,
};
use eventwire_protocol::{
    AdwId, Claims, CloseCode, ErrorBody, ErrorCode, Permission, Position, Publication, Scope,
    event::{
        adw::{AgentLog, TextBlock},
        product::DocumentStatus,
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

fn adw(id: &str) -> AdwId {
    id.parse().unwrap()
}

fn said(id: &str, content: &str) -> TextBlock {
    serde_json::from_value(json!({"adw_id": id, "content": content})).unwrap()
}

fn publication(value: &Value) -> Result<Publication, ErrorBody> {
    Publication::decode(&value.to_string())
}

async fn publish(hub: &Hub, principal: &Principal, value: Value) -> Result<Receipt, ErrorBody> {
    hub.publish(principal, vec![publication(&value)]).await.unwrap().remove(0)
}

async fn anyone(hub: &Hub) -> Principal {
    hub.authenticate(&Credentials::default()).await.unwrap()
}

async fn connect(hub: &Hub, targets: &[&str]) -> Connection {
    let mut request = ConnectRequest::new(anyone(hub).await, "memory");
    request.targets = targets.iter().map(ToString::to_string).collect();
    hub.connect(request).await.unwrap()
}

/// Frames until one of the type comes, that one included.
async fn until(connection: &mut Connection, kind: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    timeout(Duration::from_secs(10), async {
        loop {
            if let Outgoing::Frames(frames) = connection.next().await {
                seen.extend(frames.iter().map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap()));
                if seen.iter().any(|frame| frame["type"] == kind) {
                    break;
                }
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {kind} in {seen:?}"));
    seen
}

/// Everything that reached a connection before a fence that is addressed to it alone.
async fn before_fence(hub: &Hub, connection: &mut Connection) -> Vec<Value> {
    let fence: AgentLog = serde_json::from_value(json!({
        "adw_id": "ffffffff", "event_category": "system", "event_type": "fence", "level": "info", "message": "fence",
    }))
    .unwrap();
    hub.connection(connection.id()).publish(fence).await.unwrap();
    until(connection, "adw.agent_log").await.into_iter().filter(|frame| frame["type"] != "adw.agent_log").collect()
}

fn texts(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .filter(|frame| frame["type"] == "adw.text_block")
        .filter_map(|frame| frame["data"]["content"].as_str())
        .collect()
}

#[tokio::test]
async fn evt_03_a_scoped_handle_moved_into_tasks_publishes_to_its_own_audience_only() {
    let hub = Hub::new();
    let (mut a, mut b) = (connect(&hub, &["adw:aaaaaaaa"]).await, connect(&hub, &["adw:bbbbbbbb"]).await);
    let tasks: Vec<_> = ["aaaaaaaa", "bbbbbbbb"]
        .into_iter()
        .map(|id| {
            let handle = hub.adw(adw(id));
            tokio::spawn(async move {
                for number in 0..50 {
                    tokio::task::yield_now().await;
                    handle.publish(said(id, &format!("{id} {number}"))).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for (connection, id) in [(&mut a, "aaaaaaaa"), (&mut b, "bbbbbbbb")] {
        let frames = before_fence(&hub, connection).await;
        let expected: Vec<String> = (0..50).map(|number| format!("{id} {number}")).collect();
        assert_eq!(texts(&frames), expected);
    }
}

#[tokio::test]
async fn log_09_the_same_id_gets_the_first_answer_and_another_body_is_a_conflict() {
    let hub = Hub::new();
    let principal = anyone(&hub).await;
    let event = |content: &str| json!({"type": "adw.text_block", "to": "adw:aaaaaaaa", "id": "once", "data": {"adw_id": "aaaaaaaa", "content": content}});
    let mut watcher = connect(&hub, &["adw:aaaaaaaa"]).await;
    let first = publish(&hub, &principal, event("x")).await.unwrap();
    let again = publish(&hub, &principal, event("x")).await.unwrap();
    assert_eq!((again.seq, again.repeated), (first.seq, true));
    assert_eq!(publish(&hub, &principal, event("y")).await.unwrap_err().code, ErrorCode::Conflict);
    // Another principal's key of the same name is another key.
    let other = Principal { name: "other".into(), ..principal };
    assert!(!publish(&hub, &other, event("z")).await.unwrap().repeated);
    assert_eq!(texts(&before_fence(&hub, &mut watcher).await), ["x", "z"]);
}

#[tokio::test]
async fn log_08_a_second_writer_is_fenced() {
    let hub = Hub::new();
    let principal = anyone(&hub).await;
    let event = |prev: u64| json!({"type": "_t.x", "to": "room:r", "expected_prev": prev, "data": {}});
    let first = publish(&hub, &principal, event(0)).await.unwrap();
    let fenced = publish(&hub, &principal, event(0)).await.unwrap_err();
    assert_eq!(fenced.code, ErrorCode::Fenced);
    let newest = first.seq.unwrap();
    assert_eq!(fenced.message, format!("expected_prev is 0, but the newest event of room:r is {newest}"));
    let second = publish(&hub, &principal, event(first.seq.unwrap().as_u64())).await.unwrap();
    assert_eq!(second.prev, first.seq.map(Position::from));
}

#[tokio::test]
async fn log_03_what_is_refused_in_a_batch_leaves_the_rest_alone() {
    let hub = Hub::new();
    let principal = anyone(&hub).await;
    let mut watcher = connect(&hub, &["adw:aaaaaaaa"]).await;
    let event = |to: &str, content: &str| {
        publication(&json!({"type": "adw.text_block", "to": to, "data": {"adw_id": "aaaaaaaa", "content": content}}))
    };
    let results = hub
        .publish(
            &principal,
            vec![
                event("adw:aaaaaaaa", "one"),
                event("global", "no"),
                event("adw:bbbbbbbb", "no"),
                event("adw:aaaaaaaa", "two"),
            ],
        )
        .await
        .unwrap();
    let codes: Vec<_> = results.iter().map(|result| result.as_ref().err().map(|error| error.code)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::AudienceNotAllowed), Some(ErrorCode::SubjectMismatch), None]);
    assert_eq!(texts(&before_fence(&hub, &mut watcher).await), ["one", "two"]);
}

#[tokio::test]
async fn auth_04_publishing_needs_the_permission_and_the_reach() {
    let hub = Hub::new();
    let event = json!({"type": "_t.x", "to": "adw:aaaaaaaa", "data": {}});
    let mut principal = Principal::new("p", Claims::anonymous());
    assert_eq!(publish(&hub, &principal, event.clone()).await.unwrap_err().code, ErrorCode::Forbidden);
    principal.claims.permissions.insert(Permission::Publish);
    assert!(publish(&hub, &principal, event.clone()).await.is_ok());
    principal.claims.adws = Scope::Only([adw("bbbbbbbb")].into());
    assert_eq!(publish(&hub, &principal, event).await.unwrap_err().code, ErrorCode::Forbidden);
}

/// Tokens `all` and `less`, of the same nameless principal; `less` has lost the verbatim layer and one ADW.
struct TwoTokens;

#[async_trait]
impl Authenticator for TwoTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let mut claims = Claims::loopback();
        match credentials.token.as_ref().map(Secret::reveal) {
            Some("all") => {}
            Some("less") => {
                claims.permissions.remove(&Permission::AdwRaw);
                claims.permissions.remove(&Permission::Observe);
                claims.adws = Scope::Only([adw("aaaaaaaa")].into());
            }
            _ => return Err(ErrorBody::new(ErrorCode::Unauthorized, "no")),
        }
        Ok(Principal::new("p", claims))
    }

    fn authenticates(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn auth_06_new_credentials_are_judged_at_once_and_what_was_lost_is_purged_and_said() {
    let hub = Hub::builder().authenticator(TwoTokens).build();
    let all = hub.authenticate(&Credentials { token: Some(Secret::new("all")), peer: None }).await.unwrap();
    let mut request = ConnectRequest::new(all.clone(), "memory");
    request.targets = vec!["adw:aaaaaaaa".into(), "adw:bbbbbbbb".into(), "*".into()];
    let mut watcher = hub.connect(request).await.unwrap();
    until(&mut watcher, "connection.subscribed").await;
    let chunk = |id: &str| json!({"type": "adw.agent_output_chunk", "to": format!("adw:{id}"), "data": {"adw_id": id, "agent_role": "tester", "content": "raw", "is_complete": true}});
    // The chunk waits in the mailbox when the permission goes: it must not come out any more.
    publish(&hub, &all, chunk("aaaaaaaa")).await.unwrap();
    watcher.receive(br#"{"type":"authenticate","id":"1","data":{"token":"wrong"}}"#).await;
    watcher.receive(br#"{"type":"authenticate","id":"2","data":{"token":"less"}}"#).await;
    hub.adw(adw("bbbbbbbb")).publish(said("bbbbbbbb", "lost")).await.unwrap();
    hub.adw(adw("aaaaaaaa")).publish(said("aaaaaaaa", "kept")).await.unwrap();
    publish(&hub, &all, chunk("aaaaaaaa")).await.unwrap();
    let frames = before_fence(&hub, &mut watcher).await;
    assert_eq!(texts(&frames), ["kept"]);
    assert!(!frames.iter().any(|frame| frame["type"] == "adw.agent_output_chunk"), "{frames:?}");
    let error = frames.iter().find(|frame| frame["type"] == "connection.error").unwrap();
    assert_eq!((&error["data"]["code"], &error["data"]["re"]), (&json!("unauthorized"), &json!("1")));
    let lost = frames.iter().find(|frame| frame["type"] == "connection.unsubscribed").unwrap();
    assert_eq!(lost["data"]["streams"], json!([{"to": "adw:bbbbbbbb"}, {"to": "*"}]));
    assert!(frames.iter().any(|frame| frame["type"] == "connection.reply" && frame["data"]["re"] == "2"));
}

/// Notes the names of entries and their principals.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<Entry>>>);

/// The event of an entry and its code.
type Entry = (String, Option<String>);

impl AuditSink for Noted {
    fn record(&self, entry: &AuditEntry<'_>) {
        let event = serde_json::to_value(entry.event).unwrap().as_str().unwrap().to_owned();
        self.0.lock().unwrap().push((event, entry.principal.map(str::to_owned)));
    }
}

#[tokio::test]
async fn auth_25_a_connection_that_the_hub_opens_or_refuses_is_one_entry() {
    let noted = Noted::default();
    let hub = Hub::builder().audit(Audit::to(noted.clone())).build();
    let request = || ConnectRequest::new(Principal::new("ada", Claims::loopback()), "memory");
    let connection = hub.connect(request()).await.unwrap();
    drop(connection);
    hub.drain(Duration::ZERO).await;
    assert_eq!(hub.connect(request()).await.err().unwrap().code, ErrorCode::Unavailable);
    let ada = Some("ada".to_owned());
    let expected = ["connection.opened", "connection.refused"].map(|event| (event.to_owned(), ada.clone()));
    assert_eq!(*noted.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn flow_08_a_hub_that_drains_takes_nobody_new_and_says_when_to_come_back() {
    let hub = Hub::new();
    let mut connections = [connect(&hub, &[]).await, connect(&hub, &[]).await];
    let principal = anyone(&hub).await;
    let draining = tokio::spawn({
        let hub = hub.clone();
        async move { hub.drain(Duration::from_secs(4)).await }
    });
    let mut returns = Vec::new();
    for connection in &mut connections {
        let frames = until(connection, "connection.closing").await;
        returns.push(frames.last().unwrap()["data"]["reconnect_after_ms"].as_u64().unwrap());
        assert!(matches!(connection.next().await, Outgoing::Close(CloseCode::Restart, _)));
    }
    assert_ne!(returns[0], returns[1], "everybody at once");
    let refused = hub.connect(ConnectRequest::new(principal, "memory")).await.err().unwrap();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    drop(connections);
    timeout(Duration::from_secs(5), draining).await.unwrap().unwrap();
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn auth_07_a_closed_connection_is_gone_from_every_audience() {
    let hub = Hub::new();
    let mut watcher = connect(&hub, &["adw:aaaaaaaa"]).await;
    assert!(hub.kick(watcher.id()));
    loop {
        match watcher.next().await {
            Outgoing::Close(code, _) => break assert_eq!(code, CloseCode::Policy),
            Outgoing::Frames(_) | Outgoing::Ping => {}
        }
    }
    let id = watcher.id();
    drop(watcher);
    assert!(!hub.kick(id));
    assert!(hub.connections().is_empty());
}

#[tokio::test]
async fn log_11_whoever_missed_everything_gets_what_comes_without_asking_as_well() {
    let hub = Hub::new();
    let anyone = anyone(&hub).await;
    let note = |to: &str, n: u32| json!({"type": "_test.note", "to": to, "data": {"n": n}});
    for (n, to) in ["global", "adw:aaaaaaaa", "global", "room:x"].into_iter().enumerate() {
        publish(&hub, &anyone, note(to, n as u32)).await.unwrap();
    }
    let numbers = |frames: &[Value]| -> Vec<(String, u64)> {
        let notes = frames.iter().filter(|frame| frame["type"] == "_test.note");
        let number = |frame: &Value| (frame["to"].as_str().unwrap().to_owned(), frame["data"]["n"].as_u64().unwrap());
        let mut numbers: Vec<_> = notes.map(number).collect();
        numbers.sort();
        numbers
    };
    let expected =
        |of: &[(&str, u64)]| -> Vec<(String, u64)> { of.iter().map(|(to, n)| ((*to).to_owned(), *n)).collect() };
    let welcome = until(&mut connect(&hub, &[]).await, "connection.welcome").await;
    let epoch = &welcome[0]["data"]["epoch"];
    for (streams, due) in [
        (json!([{"to": "*", "since": 0}]), &[("adw:aaaaaaaa", 1), ("global", 0), ("global", 2), ("room:x", 3)][..]),
        // What is named begins where it is named.
        (
            json!([{"to": "*", "since": 0}, {"to": "global", "since": 1}]),
            &[("adw:aaaaaaaa", 1), ("global", 2), ("room:x", 3)],
        ),
        (json!([{"to": "*", "since": 0}, {"to": "global"}]), &[("adw:aaaaaaaa", 1), ("room:x", 3)]),
        (json!([{"to": "*", "since": 2}]), &[("global", 2), ("room:x", 3)]),
        (json!([{"to": "*"}]), &[]),
        (json!([{"to": "room:x", "since": 0}]), &[("room:x", 3)]),
    ] {
        let mut client = connect(&hub, &[]).await;
        let command = json!({"type": "subscribe", "data": {"epoch": epoch, "streams": streams}});
        client.receive(command.to_string().as_bytes()).await;
        let frames = before_fence(&hub, &mut client).await;
        let mut all = frames;
        // A page may come behind the fence: it is live, and a replay disturbs no other stream.
        let replays = |frames: &[Value], kind: &str| frames.iter().filter(|frame| frame["type"] == kind).count();
        let replay = async {
            while replays(&all, "connection.replaying") > replays(&all, "connection.recovered") {
                if let Outgoing::Frames(frames) = client.next().await {
                    all.extend(frames.iter().map(|frame| serde_json::from_slice::<Value>(&frame.bytes).unwrap()));
                }
            }
        };
        timeout(Duration::from_secs(10), replay).await.unwrap();
        assert_eq!(numbers(&all), expected(due), "{streams}");
        let subscribed = all.iter().find(|frame| frame["type"] == "connection.subscribed").unwrap();
        assert_eq!(subscribed["data"]["streams"].as_array().unwrap().len(), streams.as_array().unwrap().len());
    }
}

#[tokio::test]
async fn log_06_taking_back_a_name_takes_nothing_from_whoever_observes_everything() {
    let hub = Hub::new();
    let anyone = anyone(&hub).await;
    let mut client = connect(&hub, &["adw:aaaaaaaa"]).await;
    client.receive(br#"{"type": "subscribe", "data": {"streams": [{"to": "*"}]}}"#).await;
    before_fence(&hub, &mut client).await;
    publish(
        &hub,
        &anyone,
        json!({"type": "adw.text_block", "to": "adw:aaaaaaaa", "data": {"adw_id": "aaaaaaaa", "content": "waits"}}),
    )
    .await
    .unwrap();
    client.receive(br#"{"type": "unsubscribe", "data": {"streams": [{"to": "adw:aaaaaaaa"}]}}"#).await;
    assert_eq!(texts(&before_fence(&hub, &mut client).await), ["waits"]);
    // Without `*` it is no longer wanted.
    client.receive(br#"{"type": "subscribe", "data": {"streams": [{"to": "adw:aaaaaaaa"}]}}"#).await;
    client.receive(br#"{"type": "unsubscribe", "data": {"streams": [{"to": "*"}]}}"#).await;
    before_fence(&hub, &mut client).await;
    publish(
        &hub,
        &anyone,
        json!({"type": "adw.text_block", "to": "adw:aaaaaaaa", "data": {"adw_id": "aaaaaaaa", "content": "unwanted"}}),
    )
    .await
    .unwrap();
    client.receive(br#"{"type": "unsubscribe", "data": {"streams": [{"to": "adw:aaaaaaaa"}]}}"#).await;
    assert!(texts(&before_fence(&hub, &mut client).await).is_empty());
}

/// Publishes newest values under so many keys as the principal, to one user.
async fn values(hub: &Hub, principal: &Principal, user: &str, keys: std::ops::Range<usize>) {
    let value = |key: usize| {
        let data = json!({"document_id": format!("d{key}"), "status": "processing", "message": "x".repeat(200)});
        publication(&json!({"type": "document.status", "to": format!("user:{user}"), "data": data}))
    };
    for answer in hub.publish(principal, keys.map(value).collect()).await.unwrap() {
        answer.unwrap();
    }
}

/// What a user that connects, or an observer of everything, receives of gaps and values.
async fn subscriber(hub: &Hub, user: Option<&str>) -> (Vec<Value>, usize) {
    let mut request = ConnectRequest::new(anyone(hub).await, "memory");
    match user {
        Some(user) => request.principal.claims.user = Some(user.parse().unwrap()),
        None => request.targets = vec!["*".into()],
    }
    let mut connection = hub.connect(request).await.unwrap();
    let (mut gaps, mut values) = (Vec::new(), 0);
    while let Ok(Outgoing::Frames(frames)) = timeout(Duration::from_secs(1), connection.next()).await {
        for frame in frames {
            let frame: Value = serde_json::from_slice(&frame.bytes).unwrap();
            match frame["type"].as_str().unwrap() {
                "connection.gap" => gaps.push(frame["data"].clone()),
                "document.status" => values += 1,
                _ => {}
            }
        }
    }
    (gaps, values)
}

#[tokio::test(start_paused = true)]
async fn log_12_a_flood_of_newest_values_evicts_its_own_and_publisher_and_readers_learn_of_it() {
    let bounds = MemoryBounds { latest_bytes: 400_000, ..MemoryBounds::default() };
    let hub = Hub::builder().memory_bounds(bounds).build();
    let claims = anyone(&hub).await.claims;
    let [small, large] = ["small", "large"].map(|name| Principal::new(name, claims.clone()));
    values(&hub, &small, "b", 0..3).await;
    assert_eq!(hub.take_evictions(&small), Evictions::default());
    values(&hub, &large, "a", 0..11_000).await;
    let evicted = hub.take_evictions(&large);
    assert!(evicted.values > 10_000 && evicted.ids == 0, "{evicted:?}");
    assert_eq!(hub.take_evictions(&large), Evictions::default(), "each is counted once");
    assert_eq!(hub.take_evictions(&small), Evictions::default());
    // What was acknowledged to the small publisher is there, and no reader of it hears of a gap.
    assert_eq!(subscriber(&hub, Some("b")).await, (vec![], 3));
    let gap = |stream: &str| vec![json!({"stream": stream, "reason": "expired"})];
    let (gaps, kept) = subscriber(&hub, Some("a")).await;
    assert_eq!((gaps, kept), (gap("user:a"), 11_000 - evicted.values as usize));
    assert_eq!(subscriber(&hub, None).await.0, gap("*"));
}

#[tokio::test(start_paused = true)]
async fn limit_10_a_stranger_is_one_publisher_for_each_of_its_addresses() {
    let bounds = MemoryBounds { latest_bytes: 400_000, ..MemoryBounds::default() };
    let hub = Hub::builder().memory_bounds(bounds).build();
    let at = async |address: &str| {
        let credentials = Credentials { token: None, peer: Some(address.parse().unwrap()) };
        hub.authenticate(&credentials).await.unwrap()
    };
    let (small, large) = (at("10.0.0.1").await, at("10.0.0.2").await);
    values(&hub, &small, "b", 0..3).await;
    values(&hub, &large, "a", 0..2_000).await;
    assert_eq!(subscriber(&hub, Some("b")).await.1, 3);
    assert!(hub.take_evictions(&large).values > 0);
}

#[tokio::test(start_paused = true)]
async fn limit_10_what_a_client_caused_is_on_its_account_and_not_on_that_of_the_process() {
    let bounds = MemoryBounds { latest_bytes: 400_000, ..MemoryBounds::default() };
    let hub = Hub::builder().memory_bounds(bounds).build();
    let status = |number: usize| -> DocumentStatus {
        let data = json!({"document_id": format!("d{number}"), "status": "processing", "message": "x".repeat(200)});
        serde_json::from_value(data).unwrap()
    };
    let own = hub.user("b".parse().unwrap());
    for number in 0..3 {
        own.publish(status(number)).await.unwrap();
    }
    let stranger = Holder::of_peer(Some("10.0.0.2".parse().unwrap()));
    let caused = hub.user("a".parse().unwrap()).on_account_of(stranger);
    for number in 0..2_000 {
        caused.publish(status(number)).await.unwrap();
    }
    assert_eq!(subscriber(&hub, Some("b")).await, (vec![], 3));
}
