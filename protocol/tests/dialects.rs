//! What clients of the older systems read, compared with `conformance/vectors`, which were written from the descriptions of
//! those systems (ROUTE-05).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use eventwire_protocol::{
    Committed, Dialect, Envelope, EventType, Publication, Time, catalog::Event, frame::EventKind,
};
use serde_json::{Value, json, value::to_raw_value};

/// One event, and the frame that clients of a dialect read; `null` where they are told nothing.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    /// What the vector is about, beside its type.
    #[serde(default)]
    about: String,
    #[serde(rename = "type")]
    kind: String,
    to: String,
    time: Time,
    data: Value,
    frame: Value,
}

/// The vectors of a dialect. A variant has those of its family, but for the types that its own file is about.
fn vectors(dialect: Dialect) -> Vec<Vector> {
    let read = |dialect: Dialect| -> Vec<Vector> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors");
        let path = folder.join(format!("{}.json", dialect.as_str()));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut own = read(dialect);
    if dialect.family() != dialect {
        let told: BTreeSet<String> = own.iter().map(|vector| vector.kind.clone()).collect();
        own.extend(read(dialect.family()).into_iter().filter(|vector| !told.contains(&vector.kind)));
    }
    own
}

fn committed(vector: &Vector) -> Committed {
    let Vector { kind, to, time, data, .. } = vector;
    let event_type = EventType::from_name(kind).unwrap_or_else(|| panic!("no event type {kind}"));
    let envelope = if event_type.spec().is_the_servers_own() {
        let id = to.strip_prefix("connection:").unwrap().parse().unwrap();
        let event = Event::from_payload(event_type, &to_raw_value(data).unwrap()).unwrap();
        macro_rules! to_connection {
            ($($variant:ident)+) => {
                match &event {
                    $(Event::$variant(payload) => Envelope::to_connection(id, payload, *time),)+
                    other => panic!("{other:?}"),
                }
            };
        }
        to_connection!(
            ConnectionWelcome ConnectionPong ConnectionHeartbeat ConnectionSubscribed ConnectionUnsubscribed
            ConnectionReplaying ConnectionRecovered ConnectionGap ConnectionError ConnectionReply ConnectionClosing
        )
    } else {
        let text = json!({"type": kind, "to": to, "time": time, "data": data}).to_string();
        Envelope::admit(Publication::decode(&text).unwrap(), *time)
    };
    Committed::new(envelope.unwrap_or_else(|error| panic!("{kind}: {error}")), None)
}

/// Every dialect but the canonical one.
fn older() -> impl Iterator<Item = Dialect> {
    Dialect::ALL.iter().copied().filter(|dialect| *dialect != Dialect::Canonical)
}

#[test]
fn route_05_every_event_is_spelled_as_its_golden_vector_says() {
    let mut wrong = Vec::new();
    for dialect in older() {
        for vector in vectors(dialect) {
            let frame = committed(&vector).frame(dialect).map(|bytes| serde_json::from_slice::<Value>(bytes).unwrap());
            let frame = frame.unwrap_or_default();
            if frame != vector.frame {
                let Vector { kind, about, frame: wanted, .. } = vector;
                wrong.push(format!("{dialect:?} {kind} {about}\n   wanted {wanted}\n  written {frame}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn route_05_every_type_that_a_dialect_spells_has_a_golden_vector() {
    for dialect in older() {
        let shown: BTreeSet<String> =
            vectors(dialect).into_iter().filter(|vector| !vector.frame.is_null()).map(|vector| vector.kind).collect();
        for event_type in EventType::ALL {
            let spelled = dialect.spells(&EventKind::Known(*event_type));
            assert_eq!(spelled, shown.contains(event_type.spec().name), "{dialect:?} {event_type}");
        }
    }
}

/// Reads every frame of a dialect's vectors that a back end may have built, and writes it again.
fn adopted_again(dialect: Dialect) {
    for vector in vectors(dialect) {
        let Vector { kind, about, frame, to, .. } = &vector;
        let own = EventType::from_name(kind).unwrap().spec().is_the_servers_own();
        if frame.is_null() || own {
            continue;
        }
        let adopted = dialect.decode_event(frame).unwrap_or_else(|error| panic!("{kind} {about}: {error}"));
        assert_eq!(adopted.kind.spec().name, kind, "{about}");
        let to = adopted.to.map_or(to.clone(), |to| to.to_string());
        let time = adopted.time.unwrap_or(vector.time);
        let again =
            Vector { to, time, data: adopted.data, kind: kind.clone(), about: about.clone(), frame: Value::Null };
        let written = committed(&again).frame(dialect).map(|bytes| serde_json::from_slice::<Value>(bytes).unwrap());
        assert_eq!(written.as_ref(), Some(frame), "{kind} {about}");
    }
}

#[test]
fn mon_12_a_frame_that_a_back_end_built_is_read_and_written_again_as_it_was() {
    adopted_again(Dialect::Monadic);
}
