//! Product Demo: flat frames in camel case.

use serde_json::Value;

use crate::{
    catalog::{Event, EventType},
    envelope::Envelope,
};

/// What its clients can be told of.
pub(super) const SPELLS: &[EventType] = &[];

/// The event as its clients read it.
pub(super) fn encode(_event: &Event, _envelope: &Envelope) -> Option<Value> {
    None
}
