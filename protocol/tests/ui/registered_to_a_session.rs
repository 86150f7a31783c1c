//! An answer goes to the connection that asked.

use eventwire_protocol::{Envelope, SessionId, Time, event::adw::SessionRegistered};

fn publish(session: SessionId, event: &SessionRegistered, now: Time) {
    let _ = Envelope::to_session(session, event, now);
}

fn main() {}
