//! How every event is written, byte for byte, and the tables of codes that go with them.
//!
//! One snapshot for each type in the catalog: its example, addressed to the first kind of audience that its row lists,
//! as a canonical frame. A change here is a change of the wire format (ENV-10): look at it before you accept it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use eventwire_protocol::{
    AudienceKind, CloseCode, Delivery, Dialect, ErrorCode, EventFrame, EventType, catalog, close::AfterClose,
    envelope::Committed, frame::Incoming,
};
use insta::{assert_snapshot, with_settings};
use serde_json::Value;

/// The audience of the example: the first kind of the row, with the id that the example speaks of.
fn audience(event_type: EventType, data: &Value) -> String {
    match event_type.spec().audiences[0] {
        AudienceKind::Connection => "connection:c00000000000000ff".into(),
        AudienceKind::Session => "session:board-1".into(),
        AudienceKind::User => "user:maria".into(),
        AudienceKind::Adw => format!("adw:{}", data["adw_id"].as_str().unwrap_or("29fb6a3e")),
        AudienceKind::Room => "room:tasks".into(),
        AudienceKind::Global => "global".into(),
    }
}

fn frame(event_type: EventType, data: &Value) -> String {
    let envelope = support::event(event_type.spec().name, &audience(event_type, data));
    let committed = match envelope.is_logged() {
        true => support::committed(envelope, 4711, 4702),
        false => Committed::new(envelope, None),
    };
    String::from_utf8(committed.frame(Dialect::Canonical).unwrap().to_vec()).unwrap()
}

#[test]
fn env_10_every_event_is_written_as_in_its_snapshot() {
    let examples = catalog::examples();
    assert_eq!(examples.len(), EventType::ALL.len());
    for (event_type, data) in &examples {
        let name = event_type.spec().name;
        with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, description => event_type.spec().summary }, {
            assert_snapshot!(name, frame(*event_type, data));
        });
    }
}

#[test]
fn env_10_a_frame_has_these_members_in_this_order_and_reads_back_as_it_was_written() {
    for (event_type, data) in catalog::examples() {
        let spec = event_type.spec();
        let text = frame(event_type, &data);
        let members: Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = members.as_object().unwrap().keys().map(String::as_str).collect();
        let logged = matches!(spec.delivery, Delivery::Durable | Delivery::Append { .. })
            && spec.audiences[0] != AudienceKind::Connection;
        let expected: &[&str] =
            if logged { &["type", "time", "to", "seq", "prev", "data"] } else { &["type", "time", "to", "data"] };
        assert_eq!(names, expected, "{}", spec.name);
        assert_eq!(members["data"], data, "{}", spec.name);
        assert!(!text.contains(":null"), "{}: absent, not null", spec.name);
        let read = EventFrame::decode(&text).unwrap();
        assert!(matches!(read.data, Incoming::Known(_)));
        assert_eq!(read.encode().unwrap(), text.as_bytes(), "{}", spec.name);
    }
}

#[test]
fn env_10_there_is_no_snapshot_of_an_event_that_is_gone() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let found: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".snap")?.to_owned()))
        .collect();
    let tables = ["close_codes", "error_codes"].map(str::to_owned);
    let expected = EventType::ALL.iter().map(|event_type| event_type.spec().name.to_owned()).chain(tables).collect();
    assert_eq!(found, expected);
}

#[test]
fn http_02_the_table_of_error_codes_is_as_in_its_snapshot() {
    let rows = ErrorCode::ALL.iter().map(|code| {
        format!("{:<24} {} {}\n", code.as_str(), code.http_status(), if code.retryable() { "retry" } else { "final" })
    });
    with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!("error_codes", rows.collect::<String>());
    });
}

#[test]
fn ws_05_the_table_of_close_codes_is_as_in_its_snapshot() {
    let rows = CloseCode::ALL.iter().map(|code| {
        let next = match code.next() {
            AfterClose::Reconnect => "reconnect",
            AfterClose::RefreshToken => "refresh the token",
            AfterClose::Stop => "stay away",
        };
        format!("{} {code:?}: {next}\n", code.as_u16())
    });
    with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!("close_codes", rows.collect::<String>());
    });
}
