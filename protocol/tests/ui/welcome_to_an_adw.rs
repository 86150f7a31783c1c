//! What the server says to a connection about itself goes to that connection alone.

use eventwire_protocol::{AdwId, Envelope, Time, event::connection::Welcome};

fn publish(adw: AdwId, event: &Welcome, now: Time) {
    let _ = Envelope::to_adw(adw, event, now);
}

fn main() {}
