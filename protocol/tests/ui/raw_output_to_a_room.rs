//! Verbatim output needs a permission of its own; it never goes to a room.

use eventwire_protocol::{Envelope, RoomName, Time, event::adw::AgentOutputChunk};

fn publish(room: RoomName, event: &AgentOutputChunk, now: Time) {
    let _ = Envelope::to_room(room, event, now);
}

fn main() {}
