//! Ids of different kinds are different types.

use eventwire_protocol::{Audience, UserId};

fn room(user: UserId) -> Audience {
    Audience::Room(user)
}

fn main() {}
