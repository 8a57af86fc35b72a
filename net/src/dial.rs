//! Whom to dial, and when: the address book. A plain state machine; time comes as an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::score::Ban;

/// Peers whose addresses are remembered.
const MAX_PEERS: usize = 1000;
/// Addresses remembered for one peer: TCP and QUIC over IPv4 and IPv6, on its own machine, at home and outside, with room for
/// a second network.
const MAX_ADDRESSES: usize = 16;
/// The wait after a first failure. It doubles with each one ...
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// ... up to this, ...
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// ... or up to this for a peer that was once connected, so that a mesh that lost every link is soon back.
const LONGEST_WAIT_FOR_SEEN: Duration = Duration::from_secs(15);
/// Failures in a row after which a peer that somebody told of is forgotten. One that was once connected is kept.
const MAX_FAILURES: u32 = 10;

/// What is to be kept from one start to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// Known peers.
    pub peers: Vec<KnownPeer>,
    /// Bans, those that have ended included: the next one is longer.
    pub bans: Vec<Ban>,
}

/// A peer that is known, connected or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeer {
    /// Who, as text.
    pub peer: String,
    /// Where.
    pub addresses: Vec<String>,
    /// When it was last connected, in milliseconds since 1970-01-01 UTC; 0 when it never was.
    pub last_seen_ms: u64,
}

#[derive(Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    last_seen_ms: u64,
    failures: u32,
    /// Not dialled before.
    next: Instant,
    is_reserved: bool,
}

/// Addresses of peers, and the time of the next try of each.
#[derive(Debug)]
pub(crate) struct AddressBook {
    me: PeerId,
    entries: HashMap<PeerId, Entry>,
    /// Addresses to begin with whose peer is not known.
    bootstrap: Vec<(Multiaddr, u32, Instant)>,
}

impl AddressBook {
    pub(crate) fn new(me: PeerId, saved: &[KnownPeer], now: Instant) -> Self {
        let mut book = Self { me, entries: HashMap::new(), bootstrap: Vec::new() };
        for known in saved.iter().take(MAX_PEERS) {
            let Ok(peer) = known.peer.parse() else { continue };
            for address in known.addresses.iter().filter_map(|address| address.parse().ok()) {
                book.add(peer, address, now);
            }
            if let Some(entry) = book.entries.get_mut(&peer) {
                entry.last_seen_ms = known.last_seen_ms;
            }
        }
        book
    }

    /// Adds an address to begin with.
    pub(crate) fn add_bootstrap(&mut self, address: Multiaddr, now: Instant) {
        match split(&address) {
            (address, Some(peer)) => self.add(peer, address, now),
            (address, None) => self.bootstrap.push((address, 0, now)),
        }
    }

    /// Adds the address of a peer that is dialled whenever it is not connected.
    pub(crate) fn add_reserved(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        self.add(peer, address, now);
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.is_reserved = true;
        }
    }

    /// Remembers where a peer is, as somebody says.
    pub(crate) fn add(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        if peer == self.me || !is_dialable(&address) {
            return;
        }
        let (address, _) = split(&address);
        if self.entries.len() >= MAX_PEERS && !self.entries.contains_key(&peer) && !self.forget_one() {
            return;
        }
        let entry = self.entries.entry(peer).or_insert_with(|| Entry {
            addresses: Vec::new(),
            last_seen_ms: 0,
            failures: 0,
            next: now,
            is_reserved: false,
        });
        if !entry.addresses.contains(&address) {
            if entry.addresses.len() >= MAX_ADDRESSES {
                entry.addresses.remove(0);
            }
            entry.addresses.push(address);
        }
    }

    /// Forgets the peer that is least likely to be found. False when all are worth keeping.
    fn forget_one(&mut self) -> bool {
        let key = |(_, entry): &(&PeerId, &Entry)| (entry.last_seen_ms, u32::MAX - entry.failures);
        let worst = self.entries.iter().filter(|(_, entry)| !entry.is_reserved).min_by_key(key);
        let worst = worst.map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    /// Forgets a peer. True when it was known.
    pub(crate) fn remove(&mut self, peer: &PeerId) -> bool {
        self.entries.remove(peer).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.entries.get(peer).map(|entry| entry.addresses.clone()).unwrap_or_default()
    }

    /// A peer is connected: at this address, when this node dialled it.
    pub(crate) fn connected(&mut self, peer: PeerId, address: Option<Multiaddr>, now_ms: u64, now: Instant) {
        if let Some(address) = address {
            self.add(peer, address, now);
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            (entry.failures, entry.last_seen_ms) = (0, now_ms);
        }
    }

    /// A peer has gone: it is not dialled again at once.
    pub(crate) fn disconnected(&mut self, peer: &PeerId, now_ms: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.last_seen_ms = now_ms;
            entry.next = now + FIRST_WAIT;
        }
    }

    /// A peer could not be dialled.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: Instant) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures += 1;
        let longest = if entry.last_seen_ms > 0 { LONGEST_WAIT_FOR_SEEN } else { LONGEST_WAIT };
        entry.next = now + wait_after(entry.failures, longest, &self.me, peer);
        if entry.failures >= MAX_FAILURES && entry.last_seen_ms == 0 && !entry.is_reserved {
            self.entries.remove(peer);
        }
    }

    /// The next peers to dial, at most `count`, those that failed least first. `is_free` says who is neither connected nor
    /// being dialled.
    pub(crate) fn due(&self, count: usize, now: Instant, is_free: impl Fn(&PeerId) -> bool) -> Vec<PeerId> {
        let ready = |(peer, entry): &(&PeerId, &Entry)| entry.next <= now && is_free(peer);
        let mut due: Vec<(&PeerId, &Entry)> = self.entries.iter().filter(ready).collect();
        due.sort_by_key(|(_, entry)| (!entry.is_reserved, entry.failures, u64::MAX - entry.last_seen_ms));
        due.into_iter().take(count).map(|(peer, _)| *peer).collect()
    }

    /// Reserved peers that are due.
    pub(crate) fn reserved_due(&self, now: Instant, is_free: impl Fn(&PeerId) -> bool) -> Vec<PeerId> {
        let ready =
            |(peer, entry): &(&PeerId, &Entry)| entry.is_reserved && entry.next <= now && is_free(peer);
        self.entries.iter().filter(ready).map(|(peer, _)| *peer).collect()
    }

    /// Addresses to begin with that are due; each is due again after a wait that grows, so that a first peer that is
    /// switched on later is found.
    pub(crate) fn bootstrap_due(&mut self, now: Instant) -> Vec<Multiaddr> {
        let mut due = Vec::new();
        for (address, tries, next) in &mut self.bootstrap {
            if *next <= now {
                *tries += 1;
                *next = now + wait_after(*tries, LONGEST_WAIT, &self.me, &self.me);
                due.push(address.clone());
            }
        }
        due
    }

    /// The book as it is kept.
    pub(crate) fn save(&self) -> Vec<KnownPeer> {
        let known = |(peer, entry): (&PeerId, &Entry)| KnownPeer {
            peer: peer.to_string(),
            addresses: entry.addresses.iter().map(Multiaddr::to_string).collect(),
            last_seen_ms: entry.last_seen_ms,
        };
        let mut peers: Vec<KnownPeer> = self.entries.iter().map(known).collect();
        peers.sort_by(|a, b| b.last_seen_ms.cmp(&a.last_seen_ms).then(a.peer.cmp(&b.peer)));
        peers
    }
}

/// The wait after so many failures: doubling, and spread by up to a quarter, differently for each pair of peers, so that
/// a mesh that comes back does not dial in step.
fn wait_after(failures: u32, longest: Duration, me: &PeerId, peer: &PeerId) -> Duration {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let wait = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    let mut hasher = DefaultHasher::new();
    (me, peer, failures).hash(&mut hasher);
    wait.mul_f64(1.0 + (hasher.finish() % 256) as f64 / 1024.0)
}

/// An address without its peer, and the peer. What stands after a relay is a part of the address.
pub(crate) fn split(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut rest = address.clone();
    match rest.pop() {
        Some(Protocol::P2p(peer)) => (rest, Some(peer)),
        _ => (address.clone(), None),
    }
}

/// Whether an address could lead somewhere: "any address" does not, nor does a link-local one of IPv6, for which one would
/// have to know the interface.
pub(crate) fn is_dialable(address: &Multiaddr) -> bool {
    let leads_nowhere =
        |ip: IpAddr| ip.is_unspecified() || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let is_nowhere = crate::place::ip_of(address).is_some_and(leads_nowhere);
    let has_transport = address.iter().any(|part| {
        matches!(part, Protocol::Tcp(port) | Protocol::Udp(port) if port != 0)
            || matches!(part, Protocol::Memory(_) | Protocol::P2pCircuit)
    });
    has_transport && !is_nowhere && address.iter().count() <= 12
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_peer_that_fails_is_tried_less_and_less_and_forgotten_when_it_never_answered() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut book = AddressBook::new(PeerId::random(), &[], now);
        book.add(peer, address(1), now);
        assert_eq!(book.due(5, now, |_| true), [peer]);
        book.failed(&peer, now);
        assert_eq!(book.due(5, now, |_| true), []);
        assert_eq!(book.due(5, now + Duration::from_secs(2), |_| true), [peer]);
        for _ in 1..MAX_FAILURES {
            book.failed(&peer, now);
        }
        assert_eq!(book.len(), 0);
    }

    #[test]
    fn a_peer_that_was_connected_is_never_given_up() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut book = AddressBook::new(PeerId::random(), &[], now);
        book.connected(peer, Some(address(1)), 5, now);
        book.disconnected(&peer, 6, now);
        for _ in 0..50 {
            book.failed(&peer, now);
        }
        assert_eq!(book.due(5, now + LONGEST_WAIT_FOR_SEEN * 2, |_| true), [peer]);
    }

    #[test]
    fn the_book_survives_a_restart() {
        let (now, me, peer) = (Instant::now(), PeerId::random(), PeerId::random());
        let mut book = AddressBook::new(me, &[], now);
        book.connected(peer, Some(address(1)), 5, now);
        let saved = serde_json::to_string(&Saved { peers: book.save(), bans: vec![] }).unwrap();
        let saved: Saved = serde_json::from_str(&saved).unwrap();
        let again = AddressBook::new(me, &saved.peers, now);
        assert_eq!(again.save(), book.save());
        assert_eq!(again.addresses(&peer), [address(1)]);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_kept() {
        let (now, me) = (Instant::now(), PeerId::random());
        let mut book = AddressBook::new(me, &[], now);
        for nowhere in ["/ip4/0.0.0.0/tcp/1", "/ip4/192.0.2.1/tcp/0", "/ip4/192.0.2.1", "/ip6/fe80::1/tcp/1"]
        {
            book.add(PeerId::random(), nowhere.parse().unwrap(), now);
        }
        book.add(me, address(1), now);
        assert_eq!(book.len(), 0);
    }

    proptest! {
        #[test]
        fn the_book_is_bounded_whatever_it_is_told(peers in 1usize..1200, addresses in 1u16..20) {
            let now = Instant::now();
            let mut book = AddressBook::new(PeerId::random(), &[], now);
            let friend = PeerId::random();
            book.add_reserved(friend, address(7), now);
            for _ in 0..peers {
                let peer = PeerId::random();
                (1..=addresses).for_each(|port| book.add(peer, address(port), now));
            }
            prop_assert!(book.len() <= MAX_PEERS);
            prop_assert!(book.entries.values().all(|entry| entry.addresses.len() <= MAX_ADDRESSES));
            prop_assert!(book.entries.contains_key(&friend));
        }
    }
}
