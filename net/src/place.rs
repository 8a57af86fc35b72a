//! Where an address is: which are one owner's, and which are near.
//!
//! Whoever has a line of IPv6 has 2^64 addresses, and a server's owner has a row of IPv4. Peers are counted by what is
//! costly to have many of: by host and by group.

use std::net::{IpAddr, Ipv6Addr};

use libp2p::core::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Addresses that one owner can easily have many of: an IPv4 network of 256 (/24), or a site of IPv6 (/48). Loopback and
/// private networks have groups of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Group {
    V4([u8; 3]),
    V6([u8; 6]),
}

/// Who can reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This machine.
    Loopback,
    /// Machines of one network, or of one provider.
    Private,
    /// Everybody.
    Public,
}

/// IPv4 in the clothes of IPv6 counts as what it is.
pub(crate) fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(inner) => inner.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The group that an address belongs to.
pub(crate) fn group_of(address: IpAddr) -> Group {
    match plain(address) {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Group::V4([a, b, c])
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.octets();
            Group::V6([a, b, c, d, e, f])
        }
    }
}

/// The address of a host: of IPv6 its network (/64), within which it may call itself as it likes.
pub(crate) fn host_of(address: IpAddr) -> IpAddr {
    match plain(address) {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// Who can reach an address.
pub(crate) fn reach_of(address: IpAddr) -> Reach {
    let address = plain(address);
    let is_private = match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            // The last is shared by the customers of a provider (RFC 6598).
            address.is_private() || address.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    match (address.is_loopback(), is_private) {
        (true, _) => Reach::Loopback,
        (false, true) => Reach::Private,
        (false, false) => Reach::Public,
    }
}

/// The IP address in a multiaddress; of one behind a relay, that of the relay.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(address.into()),
        Protocol::Ip6(address) => Some(address.into()),
        _ => None,
    })
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_that_one_owner_has_are_of_one_group() {
        assert_eq!(group_of(ip("203.0.113.5")), group_of(ip("203.0.113.200")));
        assert_eq!(group_of(ip("203.0.113.5")), group_of(ip("::ffff:203.0.113.9")));
        assert_ne!(group_of(ip("203.0.113.5")), group_of(ip("203.0.114.5")));
        assert_ne!(group_of(ip("127.0.1.1")), group_of(ip("127.0.2.1")));
        assert_eq!(group_of(ip("2001:db8:1:2::5")), group_of(ip("2001:db8:1:ffff::1")));
        assert_ne!(group_of(ip("2001:db8:1::5")), group_of(ip("2001:db8:2::5")));
    }

    #[test]
    fn a_host_of_ipv6_is_its_network() {
        assert_eq!(host_of(ip("2001:db8:1:2::5")), host_of(ip("2001:db8:1:2:ffff:ffff:ffff:ffff")));
        assert_ne!(host_of(ip("2001:db8:1:2::5")), host_of(ip("2001:db8:1:3::5")));
        assert_eq!(host_of(ip("::ffff:203.0.113.9")), ip("203.0.113.9"));
    }

    #[test]
    fn who_reaches_an_address_is_known() {
        for near in
            ["10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.1.1", "100.64.0.1", "fd00::1", "fe80::1"]
        {
            assert_eq!(reach_of(ip(near)), Reach::Private, "{near}");
        }
        for here in ["127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(reach_of(ip(here)), Reach::Loopback, "{here}");
        }
        for far in ["100.128.0.1", "203.0.113.5", "2001:db8::1"] {
            assert_eq!(reach_of(ip(far)), Reach::Public, "{far}");
        }
    }
}
