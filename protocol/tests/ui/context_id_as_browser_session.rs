//! A context is never taken for a browser session.

use eventwire_protocol::{ContextId, SessionId};

fn session(context: ContextId) -> SessionId {
    SessionId::Browser(context)
}

fn main() {}
