//! What an agent does goes to the watchers of its run, not to one connection of them.

use eventwire_protocol::{ConnectionId, Envelope, Time, event::adw::ToolUsePre};

fn publish(connection: ConnectionId, event: &ToolUsePre, now: Time) {
    let _ = Envelope::to_connection(connection, event, now);
}

fn main() {}
