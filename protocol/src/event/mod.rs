//! Payload types, one module for each family. The doc comments are the schema descriptions, so they speak to the people
//! who read events in a frontend.
//!
//! Which of these may go where, and how they are delivered, stands in [`crate::catalog`].

pub mod adw;
pub mod connection;
mod open;

use crate::catalog::EventType;

/// A payload that the catalogue knows.
///
/// Implemented by the catalogue's table and nowhere else.
pub trait Payload:
    Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned + schemars::JsonSchema + Send + Sync + 'static
{
    /// The event type this is the payload of.
    const TYPE: EventType;
}
