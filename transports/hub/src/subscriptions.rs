//! What the subscriptions of all connections cost, and whose they are (LIMIT-14).

use std::collections::HashMap;

use eventwire_protocol::{
    ConnectionId,
    shares::{Decision, Shares},
};

use crate::holder::Holder;

/// Part of the bound that is reserved for holders with credentials.
const RESERVE: u64 = 10;

/// What becomes of a connection that wants more subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room.
    Admit,
    /// There is none until this connection is closed; it has the most of the holder with the most.
    Close(ConnectionId),
    /// Its holder has its share.
    Refuse,
}

/// The bytes of each connection's subscriptions, by holder.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    shares: Shares<Holder>,
    connections: HashMap<ConnectionId, (Holder, u64)>,
}

impl Subscriptions {
    /// No subscriptions, and room for so many bytes of them.
    pub(crate) fn new(bytes: usize) -> Self {
        let bound = u64::try_from(bytes).unwrap_or(u64::MAX);
        Self { shares: Shares::new(bound, bound / RESERVE), connections: HashMap::new() }
    }

    /// Whether a holder may have so many bytes more.
    pub(crate) fn decide(&self, holder: &Holder, bytes: u64) -> Room {
        match self.shares.decide(holder, holder.standing(), bytes) {
            Decision::Admit => Room::Admit,
            Decision::Refuse => Room::Refuse,
            Decision::Evict(largest) => {
                let of_largest = self.connections.iter().filter(|(_, (of, _))| *of == largest);
                let most = of_largest.max_by_key(|(id, (_, bytes))| (*bytes, **id));
                most.map_or(Room::Refuse, |(id, _)| Room::Close(*id))
            }
        }
    }

    /// A connection of a holder has so many bytes now.
    pub(crate) fn set(&mut self, id: ConnectionId, holder: &Holder, bytes: u64) {
        match self.connections.get_mut(&id) {
            Some((of, before)) if of == holder => {
                let before = std::mem::replace(before, bytes);
                if bytes >= before {
                    self.shares.add(holder.clone(), holder.standing(), bytes - before);
                } else {
                    self.shares.release(holder, before - bytes);
                }
            }
            _ => {
                self.remove(id);
                self.shares.add(holder.clone(), holder.standing(), bytes);
                self.connections.insert(id, (holder.clone(), bytes));
            }
        }
    }

    /// A connection has none any more.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        if let Some((holder, bytes)) = self.connections.remove(&id) {
            self.shares.release(&holder, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_14_the_connection_with_the_most_of_the_largest_holder_makes_room() {
        let id = ConnectionId::from_u64;
        let peer = |last: u8| Holder::Peer(Some([127, 0, 0, last].into()));
        let mut subscriptions = Subscriptions::new(1_000);
        subscriptions.set(id(1), &peer(1), 300);
        subscriptions.set(id(2), &peer(1), 500);
        subscriptions.set(id(3), &peer(1), 100);
        assert_eq!(subscriptions.decide(&peer(1), 1), Room::Refuse);
        assert_eq!(subscriptions.decide(&peer(2), 100), Room::Close(id(2)));
        assert_eq!(subscriptions.decide(&Holder::Principal("ada".into()), 100), Room::Admit);
        // Less, another holder, and none.
        subscriptions.set(id(2), &peer(1), 100);
        assert_eq!(subscriptions.shares.total(), 500);
        subscriptions.set(id(2), &Holder::Principal("ada".into()), 100);
        assert_eq!((subscriptions.shares.held(&peer(1)), subscriptions.shares.total()), (400, 500));
        for number in 1..=3 {
            subscriptions.remove(id(number));
            subscriptions.remove(id(number));
        }
        assert_eq!((subscriptions.shares.total(), subscriptions.connections.len()), (0, 0));
    }
}
