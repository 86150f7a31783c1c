//! How far somebody has read is not the number of an event: 0 is a position.

use eventwire_protocol::{Audience, Position, resume::Tracker};

fn offer(tracker: &mut Tracker, audience: &Audience, at: Position) {
    tracker.offer(audience, at);
}

fn main() {}
