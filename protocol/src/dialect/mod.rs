//! How families of clients spell the protocol. A dialect is pure: events in, frames out; frames in, commands out.
//!
//! An event reaches a connection only through an encoder of that connection's dialect. Where there is none, nothing is
//! sent (ROUTE-05): a page that prints whatever it is handed must never be handed somebody else's event.

pub mod adw;
pub mod amiga;
pub mod canonical;
pub mod effects;
pub mod kept;
pub mod monadic;
pub mod product;
pub mod product_users;
pub mod shared_context;

use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use crate::{
    address::Audience,
    catalog::{Event, EventType},
    envelope::{Committed, Envelope},
    error::{ErrorBody, ErrorCode},
    frame::EventKind,
    time::Time,
};

/// A family of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// This protocol itself.
    Canonical,
    /// Monadic Chat.
    Monadic,
    /// Product Demo.
    Product,
    /// AMIGA monitoring.
    Amiga,
    /// Shared Context, its pages: messages carry their time as milliseconds.
    SharedContext,
    /// ADW, the agentic kanban.
    Adw,
    /// Product Demo, its later releases: the status of a document is nested under `payload`.
    ProductNested,
    /// Shared Context, its agents: messages carry their time as ISO 8601.
    SharedContextTools,
    /// ADW, the trigger server: file operations in its own words, the time beside the type as well.
    AdwTrigger,
}

/// What a connection hears of ADWs before its first subscription (ROUTE-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdwDefault {
    /// Every ADW within its permissions.
    All,
    /// None.
    None,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: &[Self] = &[
        Self::Canonical,
        Self::Monadic,
        Self::Product,
        Self::Amiga,
        Self::SharedContext,
        Self::Adw,
        Self::ProductNested,
        Self::SharedContextTools,
        Self::AdwTrigger,
    ];
    /// How many dialects there are.
    pub const COUNT: usize = 9;

    /// The dialect that this one is a variant of; itself, if it is none.
    pub const fn family(self) -> Self {
        match self {
            Self::ProductNested => Self::Product,
            Self::SharedContextTools => Self::SharedContext,
            Self::AdwTrigger => Self::Adw,
            itself => itself,
        }
    }

    /// The dialect of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.as_str() == name)
    }

    /// The dialect's place in [`Dialect::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The dialect as settings and admin pages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Monadic => "monadic",
            Self::Product => "product",
            Self::Amiga => "amiga",
            Self::SharedContext => "shared_context",
            Self::Adw => "adw",
            Self::ProductNested => "product_nested",
            Self::SharedContextTools => "shared_context_tools",
            Self::AdwTrigger => "adw_trigger",
        }
    }

    /// What its clients hear of ADWs before their first subscription: the kanban page never subscribes.
    pub const fn adw_default(self) -> AdwDefault {
        match self.family() {
            Self::Adw => AdwDefault::All,
            _ => AdwDefault::None,
        }
    }

    /// Whether its clients can be told that something is missing, and repair it. The others are closed instead, and have
    /// their own way to catch up when they return (FLOW-09).
    pub fn can_tell_gaps(self) -> bool {
        self.supports(&EventKind::Known(EventType::ConnectionGap))
    }

    /// What its clients get of a kept event when they join or subscribe (FLOW-10).
    pub fn on_joining(self, kind: &EventKind) -> kept::OnJoining {
        match kind {
            EventKind::Known(event_type) => kept::on_joining(self, *event_type),
            EventKind::Vendor(_) => kept::OnJoining::Sent,
        }
    }

    /// Reads an event as a back end of the dialect's system builds it: what `POST /v1/events?dialect=` takes.
    ///
    /// # Errors
    /// `unknown_type` for a type that the system does not have, `invalid_payload` where members are missing or wrong.
    pub fn decode_event(self, frame: &Value) -> Result<Adopted, ErrorBody> {
        match self.family() {
            Self::Monadic => monadic::decode_event(frame),
            Self::Product => product::decode_event(frame),
            Self::Amiga => amiga::decode_event(frame),
            Self::SharedContext => shared_context::decode_event(frame),
            Self::Adw => adw::decode_event(frame),
            _ => Err(ErrorBody::new(ErrorCode::UnknownType, "the canonical form needs no dialect")),
        }
    }

    /// The event types of the catalog that its clients can be told of, and how; `None` where that is all of them, and
    /// vendor space as well.
    fn encoder(self) -> Option<(&'static [EventType], Encoder)> {
        match self {
            Self::Canonical => None,
            Self::Monadic => Some((monadic::SUPPORTED, monadic::encode)),
            Self::Product => Some((product::SUPPORTED, product::encode)),
            Self::Amiga => Some((amiga::SUPPORTED, amiga::encode)),
            Self::SharedContext => Some((shared_context::SUPPORTED, shared_context::encode)),
            Self::Adw => Some((adw::SUPPORTED, adw::encode)),
            Self::ProductNested => Some((product::SUPPORTED, product::encode_nested)),
            Self::SharedContextTools => Some((shared_context::SUPPORTED, shared_context::encode_for_tools)),
            Self::AdwTrigger => Some((adw::SUPPORTED, adw::encode_for_trigger)),
        }
    }

    /// Whether its clients can be told of events of this type.
    pub fn supports(self, kind: &EventKind) -> bool {
        match (self.encoder(), kind) {
            (None, _) => true,
            (Some((supported, _)), EventKind::Known(event_type)) => supported.contains(event_type),
            (Some(_), EventKind::Vendor(_)) => false,
        }
    }

    /// The event as its clients read it; `None` when they cannot be told of it.
    pub fn encode(self, event: &Committed) -> Option<Bytes> {
        let Some((supported, encode)) = self.encoder() else {
            return Some(canonical::encode(event));
        };
        let EventKind::Known(event_type) = event.envelope().kind() else {
            return None;
        };
        if !supported.contains(event_type) {
            return None;
        }
        let data: &RawValue = serde_json::from_str(event.envelope().data()).ok()?;
        let payload = Event::from_payload(*event_type, data).ok()?;
        let frame = encode(&payload, event.envelope())?;
        serde_json::to_vec(&frame).ok().map(Bytes::from)
    }
}

/// An event of a back end of an older system, decoded to an event of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// Its type.
    pub kind: EventType,
    /// Its payload.
    pub data: Value,
    /// Whom it is for, where the frame itself says so or the system knows only one answer.
    pub to: Option<Audience>,
    /// When it happened, where the frame says so.
    pub time: Option<Time>,
}

/// Spells one event of the catalog; what the frame says beside the payload stands in the envelope.
type Encoder = fn(&Event, &Envelope) -> Option<Value>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects_are_counted_and_named_once() {
        assert_eq!(Dialect::ALL.len(), Dialect::COUNT);
        for (index, dialect) in Dialect::ALL.iter().enumerate() {
            assert_eq!(dialect.index(), index);
        }
    }
    #[test]
    fn route_05_a_dialect_spells_exactly_the_types_that_it_names() {
        for (event_type, example) in crate::catalog::examples() {
            let event = Event::from_payload(event_type, &serde_json::value::to_raw_value(&example).unwrap()).unwrap();
            for dialect in Dialect::ALL {
                let Some((supported, encode)) = dialect.encoder() else { continue };
                let probe = Envelope::probe(EventKind::Known(event_type), event_type.spec().an_audience()).unwrap();
                let frame = encode(&event, &probe);
                assert_eq!(frame.is_some(), supported.contains(&event_type), "{dialect:?} {event_type}");
            }
        }
    }
}
