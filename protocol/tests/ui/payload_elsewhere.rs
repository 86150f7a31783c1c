//! A type of one's own does not pass for an event of the catalog.

use eventwire_protocol::{Envelope, Time};

#[derive(Clone, Debug)]
struct Forged {}

fn publish(event: &Forged, now: Time) {
    let _ = Envelope::to_everyone(event, now);
}

fn main() {}
