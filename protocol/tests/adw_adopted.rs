//! What the kanban's back ends say, read and said again: the golden vectors, from right to left (ADW-06).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{fs, path::Path};

use eventwire_protocol::{
    Committed, Dialect, Envelope, EventKind, EventType, Publication, Time, address::Modifiers, dialect::Adopted,
};
use serde_json::{Value, value::to_raw_value};

fn vectors(dialect: Dialect) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../conformance/vectors/{}.json", dialect.as_str()));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn adw_06_every_frame_that_a_publisher_may_say_is_read_and_said_again_as_it_was() {
    let mut read = 0;
    for dialect in [Dialect::Adw, Dialect::AdwTrigger] {
        for vector in vectors(dialect) {
            let event_type = EventType::from_name(vector["type"].as_str().unwrap()).unwrap();
            let frame = &vector["frame"];
            if frame.is_null() {
                continue;
            }
            if event_type.spec().is_the_servers_own() {
                assert!(dialect.decode_event(frame).is_err(), "{frame}");
                continue;
            }
            let Adopted { kind, data, to, time } =
                dialect.decode_event(frame).unwrap_or_else(|e| panic!("{frame}: {e}"));
            let wanted = vector["to"].as_str().unwrap().parse().unwrap();
            // What is about one run goes to its watchers, whatever the vector is addressed to; what has no target of its
            // own goes where its publisher says.
            let adw = data.get("adw_id").map(|id| format!("adw:{}", id.as_str().unwrap()).parse().unwrap());
            match &to {
                Some(to) => assert!(Some(to) == adw.as_ref() || *to == wanted, "{frame}: {to}"),
                None => assert!(wanted.to_string().starts_with("connection:"), "{frame}"),
            }
            assert_eq!((kind, time), (event_type, Some(vector["time"].as_str().unwrap().parse::<Time>().unwrap())));
            let publication = Publication {
                kind: EventKind::Known(kind),
                to: to.unwrap_or(wanted),
                data: to_raw_value(&data).unwrap(),
                time,
                id: None,
                expected_prev: None,
                modifiers: Modifiers::default(),
            };
            let envelope = Envelope::admit(publication, Time::from_unix_micros(0)).unwrap();
            let again = Committed::new(envelope, None);
            let again: Value = serde_json::from_slice(again.frame(dialect).unwrap()).unwrap();
            assert_eq!(again, *frame, "{dialect:?}");
            read += 1;
        }
    }
    assert!(read > 60, "{read}");
}
