//! What the kanban's back ends say, read and said again: the golden vectors, from right to left (ADW-06).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use std::{fs, path::Path};

use eventwire_protocol::{
    Command, Committed, Dialect, Envelope, EventKind, EventType, Publication, Time,
    address::Modifiers,
    catalog,
    dialect::{
        Adopted,
        adw::{Asked, decode},
    },
};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json, value::to_raw_value};

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

/// Members that are paths.
const PATHS: &[&str] = &["file_path", "related_file", "screenshot_path", "spec_path", "logs_path"];

/// JSON of any shape, small, with words in it that mean something here.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!(1.5)),
        select(&["29fb6a3e", "success", "write", "read", "info", "2025-11-05T19:22:40Z", "", "plan"][..])
            .prop_map(Value::from),
        path().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Paths out of hostile parts.
fn path() -> impl Strategy<Value = String> {
    let part = select(&["..", ".", "", "a", "29fb6a3e", "agents", "C:", "~", "file:", "\u{0}", "b..c", "etc"][..]);
    (prop::collection::vec(part, 0..6), select(&["/", "\\"][..])).prop_map(|(parts, slash)| parts.join(slash))
}

/// An example of a type of the system, some of whose members are something else, or a hostile path.
fn frame() -> impl Strategy<Value = Value> {
    let examples = catalog::examples().into_iter().filter_map(|(kind, data)| {
        let name = kind.spec().name.strip_prefix("adw.")?;
        Some((name, data.as_object().unwrap().clone()))
    });
    let examples: Vec<_> = examples.collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), json()), 0..3);
    (select(examples), changes, path(), any::<bool>()).prop_map(|((name, mut data), changes, path, hostile)| {
        let members: Vec<String> = data.keys().cloned().collect();
        for (at, value) in changes {
            data.insert(at.get(&members).clone(), value);
        }
        for member in PATHS {
            if let Some(there) = data.get_mut(*member).filter(|_| hostile) {
                *there = path.clone().into();
            }
        }
        json!({"type": name, "data": data})
    })
}

/// Whether a text is a path that must not leave; written from the rule, not from the code.
fn must_not_leave(path: &str) -> bool {
    let unified = path.replace('\\', "/");
    let drive = unified.as_bytes().get(1) == Some(&b':') && unified.as_bytes()[0].is_ascii_alphabetic();
    unified.starts_with('/')
        || unified.starts_with("~/")
        || unified == "~"
        || unified.starts_with("file:")
        || unified.split('/').any(|part| part == "..")
        || drive
        || path.contains('\u{0}')
}

proptest! {
    #![proptest_config(support::config(4))]

    #[test]
    fn adw_07_whatever_is_read_is_admitted_and_names_no_path_that_must_not_leave(frame in frame()) {
        if let Ok(Adopted { kind, data, to, time }) = Dialect::Adw.decode_event(&frame) {
            for member in PATHS {
                let path = data.get(*member).and_then(Value::as_str);
                prop_assert!(!path.is_some_and(must_not_leave), "{}: {:?}", frame, path);
            }
            let to = to.unwrap_or_else(|| "connection:c0000000000000001".parse().unwrap());
            let publication = Publication {
                kind: EventKind::Known(kind), to, data: to_raw_value(&data).unwrap(), time, id: None, expected_prev: None,
                modifiers: Modifiers::default(),
            };
            let admitted = Envelope::admit(publication, Time::from_unix_micros(0));
            prop_assert!(admitted.is_ok(), "{frame}: {admitted:?}");
            let committed = Committed::new(admitted.unwrap(), None);
            prop_assert!(committed.frame(Dialect::Adw).is_some() && committed.frame(Dialect::AdwTrigger).is_some());
        }
    }

    #[test]
    fn adw_02_no_bytes_of_a_page_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..64), members in json(),
        kind in select(&["ping", "subscribe", "trigger_workflow", "register_session", "ticket_notification", "workflow_log"][..])) {
        let _ = decode(&bytes, 1 << 20);
        for frame in [json!({"type": kind, "data": members}), json!({"type": kind, "adw_id": members, "timestamp": members})] {
            if let Ok(Asked::Hub(Command::Subscribe(subscribe))) = decode(frame.to_string().as_bytes(), 1 << 20) {
                prop_assert_eq!(&subscribe.streams[0].to, "adw:29fb6a3e");
            }
        }
    }
}
