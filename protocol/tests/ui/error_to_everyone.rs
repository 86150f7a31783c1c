//! What was wrong with a command is told to its sender and to nobody else.

use eventwire_protocol::{Envelope, Time, event::connection::Error};

fn publish(event: &Error, now: Time) {
    let _ = Envelope::to_everyone(event, now);
}

fn main() {}
