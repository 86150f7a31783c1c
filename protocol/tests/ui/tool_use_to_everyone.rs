//! What an agent does goes to the watchers of its run, not to everyone.

use eventwire_protocol::{Envelope, Time, event::adw::ToolUsePre};

fn publish(event: &ToolUsePre, now: Time) {
    let _ = Envelope::to_everyone(event, now);
}

fn main() {}
