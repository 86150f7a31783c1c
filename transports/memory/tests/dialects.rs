//! Clients of every dialect on one hub: each is told what its golden vectors know, and nothing else (ROUTE-05).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use eventwire_hub::{Hub, Principal};
use eventwire_memory::{ConnectOptions, MemoryClient};
use eventwire_protocol::{Claims, Dialect, Publication, address::AudienceKind, catalog};
use proptest::proptest;
use serde_json::{Value, json};

/// What a frame calls itself, in whatever dialect it is.
fn name(frame: &Value) -> &str {
    frame.get("type").or_else(|| frame.get(0)).and_then(Value::as_str).unwrap_or_default()
}

/// Of each event type, what the clients of a dialect read its frames as.
fn vocabulary(dialect: Dialect) -> BTreeMap<String, BTreeSet<String>> {
    let read = |dialect: Dialect| -> Vec<Value> {
        let path = format!("{}/../../conformance/vectors/{}.json", env!("CARGO_MANIFEST_DIR"), dialect.as_str());
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let mut vectors = read(dialect);
    if dialect.family() != dialect {
        let told: BTreeSet<String> = vectors.iter().map(|vector| vector["type"].to_string()).collect();
        let inherited = read(dialect.family());
        vectors.extend(inherited.into_iter().filter(|vector| !told.contains(&vector["type"].to_string())));
    }
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for vector in vectors.iter().filter(|vector| !vector["frame"].is_null()) {
        names.entry(vector["type"].as_str().unwrap().into()).or_default().insert(name(&vector["frame"]).into());
    }
    names
}

#[tokio::test]
async fn route_05_no_frame_of_one_dialect_reaches_a_connection_of_another() {
    let hub = Hub::new();
    let principal = Principal::new("u", Claims { user: Some("u".parse().unwrap()), ..Claims::loopback() });
    let mut clients = Vec::new();
    for dialect in Dialect::ALL {
        let options = ConnectOptions {
            dialect: *dialect,
            principal: Some(principal.clone()),
            ..ConnectOptions::wanting(["session:s", "room:tasks", "adw:29fb6a3e"])
        };
        let mut client = MemoryClient::connect(&hub, options).await.unwrap();
        client.drain().await;
        clients.push((*dialect, client));
    }
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for (event_type, example) in catalog::examples() {
        let spec = event_type.spec();
        let to = match spec.audiences.iter().find(|kind| **kind != AudienceKind::Connection) {
            Some(AudienceKind::Session) => "session:s".to_owned(),
            Some(AudienceKind::User) => "user:u".to_owned(),
            Some(AudienceKind::Room) => "room:tasks".to_owned(),
            Some(AudienceKind::Global) => "global".to_owned(),
            Some(AudienceKind::Adw) => "adw:29fb6a3e".to_owned(),
            Some(AudienceKind::Connection) | None => continue,
        };
        let mut data = example;
        // What is about a run goes to those who watch it, and what only its author may see goes to its author.
        for (member, value) in [("adw_id", "29fb6a3e"), ("sender", "u")] {
            if data.get(member).is_some() && (member == "adw_id" || spec.name == "context.new_message") {
                data[member] = json!(value);
            }
        }
        let text = json!({"type": spec.name, "to": to, "data": data}).to_string();
        hub.publish(&principal, vec![Publication::decode(&text)]).await.unwrap().remove(0).unwrap();
        for (dialect, client) in &mut clients {
            let frames: Vec<Value> = client.drain().await.iter().map(eventwire_memory::Frame::value).collect();
            let names: Vec<&str> = frames.iter().map(name).collect();
            if *dialect == Dialect::Canonical {
                assert_eq!(names, [spec.name]);
            } else {
                match vocabulary(*dialect).get(spec.name) {
                    Some(known) => assert!(names.len() == 1 && known.contains(names[0]), "{dialect:?} {names:?}"),
                    None => assert!(frames.is_empty(), "{dialect:?} was told of {}: {frames:?}", spec.name),
                }
            }
            *told.entry(dialect.as_str()).or_default() += names.len();
        }
    }
    assert!(told.len() == Dialect::COUNT && told.values().all(|count| *count >= 3), "{told:?}");
}

/// A frame that belongs to some dialect of a family reads as that family writes it: flat with a `type`, or an array.
fn is_of(dialect: Dialect, frame: &Value, words: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let form = match dialect.family() {
        Dialect::Amiga => frame.is_array(),
        Dialect::Canonical => frame.get("to").is_some(),
        _ => frame.is_object() && frame.get("to").is_none(),
    };
    form && (dialect == Dialect::Canonical || words.values().any(|names| names.contains(name(frame))))
}

const SESSIONS: [&str; 3] = ["session:s", "session:t", "session:~00000000000000000000000000000007"];

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, ..Default::default() })]

    /// Whatever is published to whom, and whoever is there: each client reads its own dialect and no other, and of each
    /// event at most one frame.
    #[test]
    fn route_05_whatever_is_published_each_client_reads_its_own_dialect(
        crowd in proptest::collection::vec((0..Dialect::COUNT, 0..2usize, 0..3usize, proptest::bool::ANY), 1..12),
        sent in proptest::collection::vec((0..catalog::examples().len(), 0..6usize), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hub = Hub::new();
            let mut clients = Vec::new();
            for (dialect, user, session, home) in crowd {
                let dialect = Dialect::ALL[dialect];
                let user = ["u", "v"][user];
                let claims = Claims { user: Some(user.parse().unwrap()), ..Claims::loopback() };
                let target = if session == 2 { "room:other" } else { SESSIONS[session] };
                let options = ConnectOptions {
                    dialect,
                    principal: Some(Principal::new(user, claims)),
                    home: home.then(|| eventwire_protocol::BrowserSession::from_hash(7)),
                    ..ConnectOptions::wanting([target, "room:tasks", "adw:29fb6a3e"])
                };
                let mut client = MemoryClient::connect(&hub, options).await.unwrap();
                client.drain().await;
                clients.push((dialect, vocabulary_or_none(dialect), client));
            }
            let publisher = Principal::new("p", Claims::loopback());
            for (place, target) in sent {
                let (event_type, mut data) = catalog::examples().remove(place);
                let spec = event_type.spec();
                let to = match spec.audiences.get(target % spec.audiences.len()) {
                    Some(AudienceKind::Session) => SESSIONS[target % 3].to_owned(),
                    Some(AudienceKind::User) => format!("user:{}", ["u", "v"][target % 2]),
                    Some(AudienceKind::Room) => "room:tasks".to_owned(),
                    Some(AudienceKind::Global) => "global".to_owned(),
                    Some(AudienceKind::Adw) => "adw:29fb6a3e".to_owned(),
                    Some(AudienceKind::Connection) | None if spec.is_the_servers_own() => continue,
                    Some(AudienceKind::Connection) | None => format!("connection:{}", clients[target % clients.len()].2.id()),
                };
                if data.get("adw_id").is_some() {
                    data["adw_id"] = json!("29fb6a3e");
                }
                let text = json!({"type": spec.name, "to": to, "data": data}).to_string();
                hub.publish(&publisher, vec![Publication::decode(&text)]).await.unwrap().remove(0).unwrap();
                for (dialect, words, client) in &mut clients {
                    let frames: Vec<Value> = client.drain().await.iter().map(eventwire_memory::Frame::value).collect();
                    assert!(frames.len() <= 1, "{dialect:?} {frames:?}");
                    for frame in frames {
                        assert!(is_of(*dialect, &frame, words), "{dialect:?} read {frame}");
                        let known = words.get(spec.name).is_some_and(|names| names.contains(name(&frame)));
                        assert!(*dialect == Dialect::Canonical || known, "{dialect:?}: {} became {frame}", spec.name);
                    }
                }
            }
        });
    }
}

fn vocabulary_or_none(dialect: Dialect) -> BTreeMap<String, BTreeSet<String>> {
    if dialect == Dialect::Canonical { BTreeMap::new() } else { vocabulary(dialect) }
}
