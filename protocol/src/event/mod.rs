//! Payload types, one module for each system that events come from. The doc comments are the schema descriptions, so they speak to the people
//! who read events in a frontend.
//!
//! Which of these may go where, and how they are delivered, stands in [`crate::catalog`].

pub mod adw;
pub mod chat;
pub mod connection;
pub mod context;
pub mod mcp;
pub mod metrics;
mod open;
pub mod product;
mod value;

pub use value::AnyValue;

use crate::{
    address::Visibility,
    catalog::{Event, EventType},
    id::UserId,
};

/// A payload that the catalog knows.
///
/// Implemented by the catalog's table and nowhere else (EVT-03): a type of another crate does not pass for an event.
///
/// ```compile_fail
/// #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// struct Mine {}
///
/// impl eventwire_protocol::Payload for Mine {
///     const TYPE: eventwire_protocol::EventType = eventwire_protocol::EventType::AdwToolUsePre;
/// }
/// ```
pub trait Payload:
    sealed::Sealed
    + Clone
    + std::fmt::Debug
    + serde::Serialize
    + serde::de::DeserializeOwned
    + schemars::JsonSchema
    + Into<Event>
    + TryFrom<Event, Error = Event>
    + Send
    + Sync
    + 'static
{
    /// The event type this is the payload of.
    const TYPE: EventType;

    /// ROUTE-04: the part of a session that may see this event. Everyone in it, unless the catalog's row names who
    /// reads it out of the payload.
    fn visibility(&self) -> Visibility {
        Visibility::Public
    }

    /// ROUTE-06: the user to whom this event says nothing new, because it is about what they do. Nobody, unless the
    /// catalog's row names who reads it out of the payload.
    fn spares(&self) -> Option<&UserId> {
        None
    }
}

pub(crate) mod sealed {
    /// Keeps other crates from passing types of their own for payloads of the catalog.
    pub trait Sealed {}
}
