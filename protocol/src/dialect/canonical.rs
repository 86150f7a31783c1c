//! The protocol's own spelling: frames of section 2, commands of [`crate::command`].

use bytes::Bytes;

use crate::{envelope::Committed, frame};

/// The event as a canonical client reads it.
pub fn encode(event: &Committed) -> Bytes {
    let envelope = event.envelope();
    frame::encode(envelope.kind().as_str(), envelope.time(), envelope.audience(), event.logged(), envelope.data())
}
