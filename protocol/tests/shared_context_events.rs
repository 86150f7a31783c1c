//! Events of the Shared Context Server's back end, read and written again (CTX-10).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use eventwire_protocol::{Committed, Dialect, Envelope, EventType, Publication, Time, dialect::Adopted};
use proptest::prelude::*;
use serde_json::{Value, json};

fn vectors(dialect: Dialect) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors");
    let text = fs::read_to_string(folder.join(format!("{}.json", dialect.as_str()))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn admitted(event: Adopted, to: &str) -> Envelope {
    let Adopted { kind, data, to: named, time } = event;
    if let Some(named) = &named {
        assert_eq!(named.to_string(), to);
    }
    let time = time.unwrap_or(Time::from_unix_micros(0));
    let text = json!({"type": kind.spec().name, "to": to, "time": time, "data": data}).to_string();
    Envelope::admit(Publication::decode(&text).unwrap(), time).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn ctx_10_every_frame_that_a_back_end_may_build_is_read_and_written_again() {
    let mut read = BTreeSet::new();
    for dialect in [Dialect::SharedContext, Dialect::SharedContextTools] {
        for vector in vectors(dialect).iter().filter(|vector| !vector["frame"].is_null()) {
            let kind = EventType::from_name(vector["type"].as_str().unwrap()).unwrap();
            let frame = &vector["frame"];
            if kind.spec().is_the_servers_own() {
                assert!(dialect.decode_event(frame).is_err(), "nobody else may say {frame}");
                continue;
            }
            let event = dialect.decode_event(frame).unwrap_or_else(|error| panic!("{frame}: {error}"));
            assert_eq!(event.kind, kind);
            let committed = Committed::new(admitted(event, vector["to"].as_str().unwrap()), None);
            let again: Value = serde_json::from_slice(committed.frame(dialect).unwrap()).unwrap();
            assert_eq!(&again, frame);
            read.insert(kind.spec().name);
        }
    }
    assert_eq!(read.len(), 6, "{read:?}");
}

proptest! {
    /// Whatever a back end sends: an event of this system, or an error; and what is read is admitted or refused, never less
    /// hidden than it was.
    #[test]
    fn ctx_10_and_route_04_what_is_read_is_never_seen_by_more_than_its_frame_says(
        visibility in prop_oneof![
            Just("public"), Just("private"), Just("agent_only"), Just("admin_only"), Just("Public"), Just("")
        ],
        sender in "[a-z @/~]{0,4}",
        timestamp in prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)],
    ) {
        let frame = json!({"type": "new_message", "data": {
            "id": 1, "sender": sender, "content": "x", "visibility": visibility, "timestamp": timestamp,
        }});
        let Ok(event) = Dialect::SharedContext.decode_event(&frame) else { return Ok(()) };
        let to = admitted(event, "session:s").audience().to_string();
        let expected = match visibility {
            "public" => "session:s".to_owned(),
            word => format!("session:s/{word}/{sender}"),
        };
        prop_assert_eq!(to, expected);
    }
}
