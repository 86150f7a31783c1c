//! The orchestrating agent writes to everyone.

use eventwire_protocol::{AdwId, Envelope, Time, event::adw::TypingIndicator};

fn publish(adw: AdwId, event: &TypingIndicator, now: Time) {
    let _ = Envelope::to_adw(adw, event, now);
}

fn main() {}
