//! Which addresses in private networks may be dialled.
//!
//! A peer may say of itself, or of others, that it is at 192.168.1.1: whoever believes that knocks at the doors of
//! somebody's home for a stranger. An address that only some can reach is dialled only when somebody vouched for peers in
//! its block: the owner, the local network itself, or a peer that is connected from there.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::place::{Reach, plain, reach_of};

/// A block of private addresses: this machine, 10/8, 192.168/16 and so on. One network may have any part of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Block(u8);

/// The private blocks in which peers are known to be. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Near {
    blocks: Arc<Mutex<HashSet<Block>>>,
}

/// The block of an address that not everybody reaches; none of a public one. Blocks differ in their first byte.
fn block_of(address: IpAddr) -> Option<Block> {
    match (reach_of(address), plain(address)) {
        (Reach::Public, _) => None,
        (Reach::Loopback, _) => Some(Block(127)),
        (Reach::Private, IpAddr::V4(address)) => Some(Block(address.octets()[0])),
        (Reach::Private, IpAddr::V6(address)) => Some(Block(address.octets()[0])),
    }
}

/// The block of each address in a multiaddress that not everybody reaches: of a relay, and of what is behind it.
fn blocks(address: &Multiaddr) -> impl Iterator<Item = Block> {
    let ips = address.iter().filter_map(|part| match part {
        Protocol::Ip4(address) => Some(IpAddr::from(address)),
        Protocol::Ip6(address) => Some(IpAddr::from(address)),
        _ => None,
    });
    ips.filter_map(block_of)
}

impl Near {
    /// Somebody who knows says that there are peers at this address.
    pub(crate) fn vouch(&self, address: &Multiaddr) {
        // It is whole between any two of its lines.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).extend(blocks(address));
    }

    /// Whether an address may be dialled, whoever told it: everybody reaches it, or somebody vouched for its block.
    pub(crate) fn allows(&self, address: &Multiaddr) -> bool {
        let vouched = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks(address).all(|block| vouched.contains(&block))
    }
}

/// Whether a peer that is connected from `remote` may say of itself that it is at `told`: not in a network that it does not
/// come from.
pub(crate) fn fits(told: &Multiaddr, remote: &Multiaddr) -> bool {
    blocks(told).all(|block| blocks(remote).any(|home| home == block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_private_address_is_dialled_only_where_somebody_vouched_for() {
        let near = Near::default();
        let (home, other) = (at("/ip4/192.168.1.20/tcp/1"), at("/ip4/192.168.1.1/tcp/22"));
        let (machine, lan) = (at("/ip4/127.0.5.1/tcp/1"), at("/ip4/10.0.0.1/tcp/1"));
        assert!([&home, &other, &machine, &lan].into_iter().all(|address| !near.allows(address)));
        near.vouch(&home);
        near.vouch(&at("/ip4/203.0.113.1/tcp/1"));
        near.vouch(&at("/ip6/::1/tcp/1"));
        assert!(near.allows(&other) && near.allows(&machine) && !near.allows(&lan));
        assert!(near.allows(&at("/ip4/203.0.113.1/tcp/1")) && near.allows(&at("/dns4/peer.example/tcp/1")));
        let through = "/ip4/203.0.113.1/tcp/1/p2p-circuit/ip4/10.0.0.1/tcp/1";
        assert!(!near.allows(&at(through)) && !near.allows(&at("/ip6/::ffff:10.0.0.1/tcp/1")));
    }

    #[test]
    fn a_peer_says_only_that_it_is_where_it_comes_from() {
        let (public, home) = (at("/ip4/203.0.113.1/tcp/1"), at("/ip4/192.168.1.20/tcp/1"));
        assert!(!fits(&home, &public) && !fits(&at("/ip4/127.0.0.1/tcp/1"), &public));
        assert!(!fits(&at("/ip4/10.2.1.1/tcp/1"), &home) && !fits(&at("/ip6/::1/tcp/1"), &home));
        assert!(
            fits(&at("/ip4/192.168.7.21/tcp/1"), &home) && fits(&public, &home) && fits(&public, &public)
        );
    }
}
