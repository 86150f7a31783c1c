//! Clients of every dialect on one hub: each is told what its golden vectors know, and nothing else (ROUTE-05).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use eventwire_hub::{Hub, Principal};
use eventwire_memory::{ConnectOptions, MemoryClient};
use eventwire_protocol::{Claims, Dialect, Publication, address::AudienceKind, catalog};
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
    let principal =
        Principal { name: "u".into(), claims: Claims { user: Some("u".parse().unwrap()), ..Claims::loopback() } };
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
