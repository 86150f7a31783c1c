//! How families of clients spell the protocol. A dialect is pure: events in, frames out; frames in, commands out.
//!
//! An event reaches a connection only through an encoder of that connection's dialect. Where there is none, nothing is
//! sent (ROUTE-05): a page that prints whatever it is handed must never be handed somebody else's event.

mod adw;
mod amiga;
pub mod canonical;
mod monadic;
mod product;
mod shared_context;

use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use crate::{
    catalog::{Event, EventType},
    envelope::{Committed, Envelope},
    frame::EventKind,
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
    /// Shared Context.
    SharedContext,
    /// ADW, the agentic kanban.
    Adw,
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
    pub const ALL: &[Self] =
        &[Self::Canonical, Self::Monadic, Self::Product, Self::Amiga, Self::SharedContext, Self::Adw];
    /// How many dialects there are.
    pub const COUNT: usize = 6;

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
        }
    }

    /// What its clients hear of ADWs before their first subscription: the kanban page never subscribes.
    pub const fn adw_default(self) -> AdwDefault {
        match self {
            Self::Adw => AdwDefault::All,
            _ => AdwDefault::None,
        }
    }

    /// The event types of the catalogue that its clients can be told of, and how; `None` where that is all of them, and
    /// vendor space as well.
    fn encoder(self) -> Option<(&'static [EventType], Encoder)> {
        match self {
            Self::Canonical => None,
            Self::Monadic => Some((monadic::SPELLS, monadic::encode)),
            Self::Product => Some((product::SPELLS, product::encode)),
            Self::Amiga => Some((amiga::SPELLS, amiga::encode)),
            Self::SharedContext => Some((shared_context::SPELLS, shared_context::encode)),
            Self::Adw => Some((adw::SPELLS, adw::encode)),
        }
    }

    /// Whether its clients can be told of events of this type.
    pub fn spells(self, kind: &EventKind) -> bool {
        match (self.encoder(), kind) {
            (None, _) => true,
            (Some((spells, _)), EventKind::Known(event_type)) => spells.contains(event_type),
            (Some(_), EventKind::Vendor(_)) => false,
        }
    }

    /// The event as its clients read it; `None` when they cannot be told of it.
    pub fn encode(self, event: &Committed) -> Option<Bytes> {
        let Some((spells, encode)) = self.encoder() else {
            return Some(canonical::encode(event));
        };
        let EventKind::Known(event_type) = event.envelope().kind() else {
            return None;
        };
        if !spells.contains(event_type) {
            return None;
        }
        let data: &RawValue = serde_json::from_str(event.envelope().data()).ok()?;
        let payload = Event::from_payload(*event_type, data).ok()?;
        let frame = encode(&payload, event.envelope())?;
        serde_json::to_vec(&frame).ok().map(Bytes::from)
    }
}

/// Spells one event of the catalogue; what the frame says beside the payload stands in the envelope.
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
                let Some((spells, encode)) = dialect.encoder() else { continue };
                let probe = Envelope::probe(EventKind::Known(event_type), event_type.spec().an_audience()).unwrap();
                let frame = encode(&event, &probe);
                assert_eq!(frame.is_some(), spells.contains(&event_type), "{dialect:?} {event_type}");
            }
        }
    }
}
