//! What an agent does goes to the watchers of its run, not to a session.

use eventwire_protocol::{Envelope, SessionId, Time, event::adw::ToolUsePre};

fn publish(session: SessionId, event: &ToolUsePre, now: Time) {
    let _ = Envelope::to_session(session, event, now);
}

fn main() {}
