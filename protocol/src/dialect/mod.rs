//! How families of clients spell the protocol. A dialect is pure: events in, frames out; frames in, commands out.
//!
//! An event reaches a connection only through an encoder of that connection's dialect. Where there is none, nothing is
//! sent (ROUTE-05): a page that prints whatever it is handed must never be handed somebody else's event.

pub mod canonical;

use bytes::Bytes;

use crate::{envelope::Committed, frame::EventKind};

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

    /// Whether its clients can be told of events of this type. The five older dialects have no encoder in this version,
    /// so they can be told nothing.
    pub fn spells(self, _kind: &EventKind) -> bool {
        matches!(self, Self::Canonical)
    }

    /// The event as its clients read it; `None` when they cannot be told of it.
    pub fn encode(self, event: &Committed) -> Option<Bytes> {
        self.spells(event.envelope().kind()).then(|| canonical::encode(event))
    }
}

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
}
