//! What clients and back ends of Product Demo may send: anything, and nothing of it breaks a reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use eventwire_protocol::{
    Audience, Dialect, Envelope, EventKind, Modifiers, Publication, Time, dialect::product, error::ErrorCode,
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

const TYPES: &[&str] = &[
    "ping",
    "manual_connection",
    "mcp_connect",
    "document_status",
    "document_status_update",
    "rag_progress",
    "message_chunk",
    "mcp_install_progress",
    "mcp_install",
    "mcp_install_output",
    "session_update",
    "user_activity",
    "mcp_connecting",
    "mcp_tool_result",
    "pong",
    "",
];
const MEMBERS: &[&str] = &[
    "documentId",
    "queryId",
    "messageId",
    "sessionId",
    "installId",
    "connectionId",
    "userId",
    "username",
    "action",
    "status",
    "stage",
    "progress",
    "message",
    "output",
    "stream",
    "content",
    "isComplete",
    "expiresIn",
    "payload",
    "timestamp",
    "result",
    "host",
    "port",
    "error",
    "data",
    "to",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(&["doc-1", "EXECUTING", "failed", "2025-05-20T10:00:00Z", "a b", "", "~x", "\u{0}"][..])
            .prop_map(Value::from),
        (0..=100_u8).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((select(MEMBERS), inner), 0..6).prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(&str, Value)]) -> Value {
    members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>().into()
}

fn frame() -> impl Strategy<Value = Value> {
    (select(TYPES), vec((select(MEMBERS), value()), 0..8)).prop_map(|(kind, members)| {
        let mut frame = object(&members);
        frame["type"] = json!(kind);
        frame
    })
}

proptest! {
    #![proptest_config(support::config(4))]

    /// What is read as an event is one that admission lets through, unless it is too large.
    #[test]
    fn prd_09_whatever_a_back_end_builds_is_an_event_or_an_error_that_says_what_is_wrong(frame in frame()) {
        match Dialect::Product.decode_event(&frame) {
            Ok(adopted) => {
                let user = Audience::User("u".parse().unwrap());
                let publication = Publication {
                    kind: EventKind::Known(adopted.kind),
                    to: adopted.to.unwrap_or(user),
                    data: serde_json::value::to_raw_value(&adopted.data).unwrap(),
                    time: adopted.time,
                    id: None,
                    expected_prev: None,
                    modifiers: Modifiers::default(),
                };
                Envelope::admit(publication, Time::from_unix_micros(0)).unwrap();
            }
            Err(error) => {
                prop_assert!(matches!(error.code, ErrorCode::InvalidPayload | ErrorCode::UnknownType), "{error}");
                prop_assert!(!error.message.contains('\n'));
            }
        }
    }

    #[test]
    fn prd_04_whatever_a_client_sends_is_a_command_or_an_error_in_one_line(frame in frame(), bytes in vec(any::<u8>(), 0..40)) {
        for bytes in [frame.to_string().into_bytes(), bytes] {
            if let Err(error) = product::decode(&bytes) {
                prop_assert!(!error.message.contains('\n'), "{error}");
            }
        }
    }
}
