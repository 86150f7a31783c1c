//! Verbatim output needs a permission of its own; it never goes to everyone.

use eventwire_protocol::{Envelope, Time, event::adw::AgentOutputChunk};

fn publish(event: &AgentOutputChunk, now: Time) {
    let _ = Envelope::to_everyone(event, now);
}

fn main() {}
