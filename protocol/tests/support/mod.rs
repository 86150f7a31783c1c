//! What several of the tests need: settings of proptest, hostile names, and events by type and audience.

#![allow(dead_code, reason = "each test crate uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use eventwire_protocol::{
    Audience, ConnectionId, Envelope, Event, EventKind, EventType, Publication, Time, catalog, envelope::Committed,
    frame::Logged,
};
use proptest::{prelude::*, sample::select, test_runner::Config};
use serde_json::json;

/// The settings of a property. `PROPTEST_CASES` scales all of them alike; `times` is for properties whose cases are short
/// and whose faults hide in rare schedules.
pub(crate) fn config(times: u32) -> Config {
    let default = Config::default();
    Config { cases: default.cases.saturating_mul(times), failure_persistence: None, ..default }
}

/// Names that are close to each other, and that would be mistaken for each other if they were ever joined with a
/// separator, folded, trimmed or cut.
pub(crate) const NAMES: &[&str] = &[
    "a",
    "b",
    "A",
    "aa",
    "a:a",
    "a.a",
    "a_a",
    "a-a",
    "a@a",
    "session:a",
    "user:a",
    "room:a",
    "global",
    "a:private:a",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxy",
];

/// ADW ids that are close to each other.
pub(crate) const ADWS: &[&str] = &["aaaaaaaa", "aaaaaaaA", "aaaaaaab", "00000000"];

/// One of the hostile names, the short ones more often, so that connections meet.
pub(crate) fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => select(&NAMES[..4]), 1 => select(NAMES)].prop_map(str::to_owned)
}

/// One of the ADW ids.
pub(crate) fn adw() -> impl Strategy<Value = String> {
    select(ADWS).prop_map(str::to_owned)
}

/// The text of one of a few browser sessions.
pub(crate) fn browser_session() -> impl Strategy<Value = String> {
    select(&[0_u128, 1, 0x10][..]).prop_map(|hash| format!("~{hash:032x}"))
}

/// The instant of every event here.
pub(crate) fn now() -> Time {
    Time::from_unix_micros(1_795_218_001_123_456)
}

/// The example payload of a type; if it is about an ADW, about the one it is addressed to.
pub(crate) fn payload(kind: &str, to: &str) -> serde_json::Value {
    let example = catalog::examples().into_iter().find(|(event_type, _)| event_type.spec().name == kind);
    let mut data = example.map_or_else(|| json!({}), |(_, data)| data);
    if let Some(id) = to.strip_prefix("adw:")
        && let Some(subject) = data.get_mut("adw_id")
    {
        *subject = json!(id);
    }
    data
}

/// An event with a payload, as a publisher hands it in and admission lets it through.
pub(crate) fn publish(kind: &str, to: &str, data: &serde_json::Value) -> Envelope {
    let text = json!({"type": kind, "to": to, "data": data}).to_string();
    Envelope::admit(Publication::decode(&text).unwrap(), now()).unwrap()
}

/// What the server says to a connection.
pub(crate) fn said(kind: &str, to: ConnectionId, data: &serde_json::Value) -> Envelope {
    let raw = serde_json::value::to_raw_value(data).unwrap();
    macro_rules! typed {
        ($($variant:ident)+) => {
            match Event::from_payload(EventType::from_name(kind).unwrap(), &raw).unwrap() {
                $(Event::$variant(payload) => Envelope::to_connection(to, &payload, now()).unwrap(),)+
                other => panic!("{} is not of the connection family", other.event_type()),
            }
        };
    }
    typed! {
        ConnectionWelcome ConnectionPong ConnectionHeartbeat ConnectionSubscribed ConnectionUnsubscribed
        ConnectionReplaying ConnectionRecovered ConnectionGap ConnectionError ConnectionReply ConnectionClosing
    }
}

/// An event of a type for an audience; a part of an audience, which no publisher can name, included.
pub(crate) fn event(kind: &str, to: &str) -> Envelope {
    let audience: Audience = to.parse().unwrap();
    if audience.is_part() {
        return Envelope::probe(EventKind::parse(kind).unwrap(), audience).unwrap();
    }
    match audience {
        Audience::Connection(id) if kind.starts_with("connection.") => said(kind, id, &payload(kind, to)),
        _ => publish(kind, to, &payload(kind, to)),
    }
}

/// An event as it comes out of the log.
pub(crate) fn committed(envelope: Envelope, seq: u64, prev: u64) -> Committed {
    let seq = eventwire_protocol::Seq::new(seq).unwrap();
    Committed::new(envelope, Some(Logged { seq, prev: eventwire_protocol::Position::new(prev).unwrap() }))
}
