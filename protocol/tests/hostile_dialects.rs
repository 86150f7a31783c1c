//! What clients and back ends of the older systems may send, and worse: no bytes do harm, and what is read as an event is
//! an event that can be admitted and spelled, or an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{fs, path::Path, sync::LazyLock};

use eventwire_protocol::{
    Audience, Committed, Dialect, Envelope, EventKind, Modifiers, Publication, Time,
    dialect::{adw, amiga, monadic, product, shared_context},
};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json, value::to_raw_value};

/// The golden frames of every dialect, as its back end would build them.
static FRAMES: LazyLock<Vec<(Dialect, Value)>> = LazyLock::new(|| {
    let read = |dialect: &Dialect| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors");
        let text = fs::read_to_string(folder.join(format!("{}.json", dialect.as_str()))).unwrap();
        let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
        let frames = vectors.into_iter().map(|mut vector| vector["frame"].take()).filter(|frame| !frame.is_null());
        frames.map(|frame| (*dialect, frame)).collect::<Vec<_>>()
    };
    Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Canonical).flat_map(read).collect()
});

/// What pages ask, one of each.
static COMMANDS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    vec![
        json!({"message": "UPDATE_PARAMS", "params": {"app_name": "Chat", "model": "m"}}),
        json!({"message": "EDIT", "mid": "a1b2c3d4", "content": "new", "role": "user"}),
        json!({"message": "AUDIO", "content": "UklGRg==", "format": "webm"}),
        json!({"message": "Tell me a joke", "app_name": "Chat", "images": [], "auto_speech": "false"}),
        json!({"type": "ping", "timestamp": 1, "healthCheck": true}),
        json!({"type": "user_activity", "action": "viewing_document", "documentId": "doc-1"}),
        json!({"type": "mcp_execute_tool", "tool": "x", "arguments": {}}),
        json!(["subscribe", {"hours": 24, "update_interval": 2, "metrics": ["overview"], "binary": true}]),
        json!(["set_interval", {"interval": 5}]),
        json!(["message", {"message": "hello"}]),
        json!({"type": "subscribe", "session_id": "s"}),
        json!({"type": "typing", "is_typing": true}),
        json!({"tool": "get_messages", "arguments": {"session_id": "s", "since_id": 42}, "id": 1}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "/tools/subscribe", "params": {"session_id": "s"}}),
        json!({"type": "subscribe", "adw_id": "29fb6a3e"}),
        json!({"type": "trigger_workflow", "data": {"workflow_type": "w", "issue_number": "5", "issue_json": {}}}),
        json!({"type": "ticket_notification", "data": {"id": "t", "title": "x"}}),
        json!({"type": "workflow_log", "data": {"adw_id": "29fb6a3e", "workflow_name": "w", "message": "m", "level": "INFO",
            "timestamp": "2025-11-05T19:22:35.4Z"}}),
    ]
});

/// Values that stand where others are expected.
fn hostile() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "a",
        "~0123456789abcdef0123456789abcdef",
        "../../etc/passwd",
        "\u{0}\u{1b}[31m",
        "\u{e9}\u{20ac}\u{1f980}",
        "2025-11-05T19:22:35.4Z",
        "9999-99-99T99:99:99Z",
        "true",
        "NaN",
        "connection:c0000000000000001",
        "global",
    ];
    let numbers = [json!(0), json!(-1), json!(i64::MIN), json!(u64::MAX), json!(1e308), json!(-0.0), json!(0.1)];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        select(texts.to_vec()).prop_map(Value::from),
        (1..6_000_usize).prop_map(|length| Value::from("\u{20ac}".repeat(length))),
        select(numbers.to_vec()),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[1, {"a": null}], "x"])),
        Just(json!({"type": "global", "to": "global", "data": {"adw_id": "aaaaaaaa"}})),
    ]
}

/// How many values there are in a value, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum::<usize>(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

/// Puts another value at a place, counted in the order in which they stand.
fn replace(value: &mut Value, place: &mut usize, by: &Value) -> bool {
    if *place == 0 {
        *value = by.clone();
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, place, by)),
        Value::Object(members) => members.values_mut().any(|member| replace(member, place, by)),
        _ => false,
    }
}

fn spoilt(mut value: Value, changes: &[(prop::sample::Index, Value)]) -> Value {
    for (place, by) in changes {
        let mut place = place.index(size(&value));
        assert!(replace(&mut value, &mut place, by));
    }
    value
}

/// Reads a frame as every older page could have sent it.
fn read_by_all(bytes: &[u8]) {
    let _ = monadic::decode(bytes);
    let _ = product::decode(bytes);
    let _ = amiga::decode(bytes);
    let _ = shared_context::decode(bytes).map_err(|refused| refused.frame());
    let _ = adw::decode(bytes, 1 << 20);
}

/// Reads a frame as a back end could have built it, admits it and spells it for everybody.
fn adopt(dialect: Dialect, frame: &Value) {
    let Ok(adopted) = dialect.decode_event(frame) else { return };
    let own = adopted.to.clone();
    let wanted =
        own.clone().into_iter().chain(["session:s", "user:u", "room:tasks", "global"].map(|to| to.parse().unwrap()));
    for to in wanted {
        let publication = Publication {
            kind: EventKind::Known(adopted.kind),
            to,
            data: to_raw_value(&adopted.data).unwrap(),
            time: adopted.time,
            id: None,
            expected_prev: None,
            modifiers: Modifiers::default(),
        };
        let Ok(envelope) = Envelope::admit(publication, Time::from_unix_micros(0)) else { continue };
        // EVT-04: what names a run is for the watchers of that run.
        if let Audience::Adw(id, _) = envelope.audience() {
            let data: Value = serde_json::from_str(envelope.data()).unwrap();
            assert!(data.get("adw_id").is_none_or(|subject| subject == id.as_str()), "{frame}");
        }
        let committed = Committed::new(envelope, None);
        for reader in Dialect::ALL {
            if let Some(words) = committed.frame(*reader) {
                let words: Value = serde_json::from_slice(words).unwrap();
                assert!(words.is_object() || words.is_array());
            }
        }
    }
}

proptest! {
    #[test]
    fn cmd_03_no_bytes_of_an_older_page_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        read_by_all(&bytes);
    }

    #[test]
    fn cmd_03_no_command_of_an_older_page_does_harm_however_it_is_spoilt(
        command in select(COMMANDS.clone()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), hostile()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let text = spoilt(command, &changes).to_string();
        let end = cut.map_or(text.len(), |cut| cut.index(text.len() + 1));
        read_by_all(&text.as_bytes()[..end]);
    }

    #[test]
    fn evt_02_what_an_older_back_end_builds_is_an_event_or_an_error_however_it_is_spoilt(
        golden in select(FRAMES.clone()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), hostile()), 0..4),
        by in select(Dialect::ALL),
    ) {
        let (dialect, frame) = golden;
        let frame = spoilt(frame, &changes);
        adopt(dialect, &frame);
        // In the words of another system it is an error, or that system's event; never harm.
        adopt(by, &frame);
    }
}
