//! The holder of a share: whose account a place, a command or a byte is put on (LIMIT-04).

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use eventwire_protocol::shares::Standing;

use crate::auth::Principal;

/// Whose account something is put on.
///
/// Work with credentials counts for its principal alone, from whatever address it comes. Work without counts for the peer
/// address; everyone behind one address translator or untrusted proxy is one holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A source inside the process.
    #[default]
    Local,
    /// A peer without credentials: an IPv4 address, or the /64 network of an IPv6 address. Absent where the transport has none.
    Peer(Option<IpAddr>),
    /// The principal of this name.
    Principal(Arc<str>),
}

impl Holder {
    /// The holder of what a principal does from a peer address.
    pub fn of(principal: &Principal, peer: Option<IpAddr>) -> Self {
        if principal.authenticated { Self::Principal(principal.name.clone()) } else { Self::of_peer(peer) }
    }

    /// The holder of what a peer does before it has shown credentials.
    pub fn of_peer(peer: Option<IpAddr>) -> Self {
        Self::Peer(peer.map(network))
    }

    /// Whether it may use what is reserved for credentials.
    pub fn standing(&self) -> Standing {
        match self {
            Self::Local | Self::Principal(_) => Standing::Authenticated,
            Self::Peer(_) => Standing::Anonymous,
        }
    }
}

/// The addresses that count as one peer: one provider gives a whole /64 to one subscriber.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use eventwire_protocol::Claims;

    use super::*;

    #[test]
    fn limit_04_credentials_count_by_principal_and_others_by_their_network() {
        let at = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let ada = Principal::new("ada", Claims::anonymous());
        assert_eq!(Holder::of(&ada, at("10.0.0.1")), Holder::of(&ada, at("10.0.0.2")));
        let stranger = Principal::anonymous(Claims::anonymous());
        let of = |text: &str| Holder::of(&stranger, at(text));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        // A key may be called anything.
        assert_ne!(Holder::of(&Principal::new("anonymous", Claims::anonymous()), None), Holder::of(&stranger, None));
        assert_eq!(
            (of("::1").standing(), Holder::of(&ada, None).standing()),
            (Standing::Anonymous, Standing::Authenticated)
        );
    }
}
