//! What is said in a context stays in it.

use eventwire_protocol::{Envelope, Time, event::context::NewMessage};

fn publish(event: &NewMessage, now: Time) {
    let _ = Envelope::to_everyone(event, now);
}

fn main() {}
