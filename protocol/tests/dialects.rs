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
            let spelled = dialect.supports(&EventKind::Known(*event_type));
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

/// Who is told of an event of this type, and under which name; variants as their families.
fn told(kind: &str) -> Vec<(&'static str, String)> {
    let event_type = EventType::from_name(kind).unwrap();
    let mut told = Vec::new();
    for dialect in older().filter(|dialect| dialect.family() == *dialect) {
        let vector = vectors(dialect).into_iter().find(|vector| vector.kind == kind && !vector.frame.is_null());
        assert_eq!(vector.is_some(), dialect.supports(&EventKind::Known(event_type)), "{dialect:?} {kind}");
        if let Some(vector) = vector {
            let frame = committed(&vector).frame(dialect).map(|bytes| serde_json::from_slice::<Value>(bytes).unwrap());
            let frame = frame.unwrap();
            let name = frame.get("type").or_else(|| frame.get(0)).and_then(Value::as_str).unwrap();
            told.push((dialect.as_str(), name.to_owned()));
        }
    }
    told
}

fn is(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    expected.iter().map(|(dialect, name)| (*dialect, (*name).to_owned())).collect()
}

#[test]
fn collision_c6_each_system_greets_in_its_own_words_or_not_at_all() {
    let expected = [
        ("product", "connection_established"),
        ("amiga", "connected"),
        ("shared_context", "connected"),
        ("adw", "connection_ack"),
    ];
    assert_eq!(told("connection.welcome"), is(&expected));
}

#[test]
fn collision_c7_one_name_for_a_context_and_for_a_login_is_two_events() {
    assert_eq!(told("context.session_update"), is(&[("shared_context", "session_update")]));
    assert_eq!(told("session.expiring"), is(&[("product", "session_update")]));
}

#[test]
fn collision_c10_a_log_line_is_the_kanbans_alone() {
    assert_eq!(told("adw.agent_log"), is(&[("adw", "agent_log")]));
}

#[test]
fn collision_c12_a_use_of_a_tool_has_the_members_of_both_servers() {
    for (kind, members) in [
        ("adw.tool_use_pre", ["input", "tool_input"].as_slice()),
        ("adw.tool_use_post", &["output", "tool_output", "success", "status"]),
    ] {
        for dialect in [Dialect::Adw, Dialect::AdwTrigger] {
            let vector = vectors(dialect).into_iter().find(|vector| vector.kind == kind).unwrap();
            let frame: Value = serde_json::from_slice(committed(&vector).frame(dialect).unwrap()).unwrap();
            for member in members {
                assert!(frame["data"].get(*member).is_some(), "{dialect:?} {kind} {member}: {frame}");
            }
        }
    }
}

#[test]
fn collision_c16_and_c22_five_vocabularies_for_a_piece_of_text_stay_apart() {
    for (kind, dialect, name) in [
        ("chat.fragment", "monadic", "fragment"),
        ("chat.streaming_complete", "monadic", "streaming_complete"),
        ("message.chunk", "product", "message_chunk"),
        ("adw.chat_stream", "adw", "chat_stream"),
        ("adw.text_block", "adw", "text_block"),
        ("chat.thinking", "monadic", "thinking"),
        ("adw.thinking_block", "adw", "thinking_block"),
    ] {
        assert_eq!(told(kind), is(&[(dialect, name)]), "{kind}");
    }
}

#[test]
fn collision_c17_a_message_is_never_a_type_of_the_catalog() {
    assert!(EventType::ALL.iter().all(|event_type| event_type.spec().name.split('.').nth(1) != Some("message")));
    assert_eq!(told("chat.turn_finished"), is(&[("monadic", "message")]));
    assert_eq!(told("chat.cleared"), is(&[("monadic", "message")]));
}

#[test]
fn collision_c18_progress_is_told_in_the_words_of_each_system() {
    for (kind, dialect, name) in [
        ("chat.wait", "monadic", "wait"),
        ("chat.tts_progress", "monadic", "tts_progress"),
        ("rag.progress", "product", "rag_progress"),
        ("document.status", "product", "document_status"),
        ("task.update", "amiga", "task_update"),
        ("adw.status_update", "adw", "status_update"),
    ] {
        assert_eq!(told(kind), is(&[(dialect, name)]), "{kind}");
    }
}
