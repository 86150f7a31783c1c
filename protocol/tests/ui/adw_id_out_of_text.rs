//! An ADW id is parsed; no text becomes one unseen.

use eventwire_protocol::{AdwId, Audience};

fn audience(text: &str) -> Audience {
    Audience::adw(AdwId::from(text))
}

fn main() {}
