//! A pong never leaves its connection.

use eventwire_protocol::{Envelope, Time, UserId, event::connection::Pong};

fn publish(user: UserId, event: &Pong, now: Time) {
    let _ = Envelope::to_user(user, event, now);
}

fn main() {}
