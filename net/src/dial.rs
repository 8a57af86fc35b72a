//! Whom to dial, and when: the address book. A plain state machine; time comes as an argument.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::place::{Group, group_of, ip_of};
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

/// Failures after which an anchor has no precedence any more.
const ANCHOR_TRIES: u32 = 3;
/// Peers that somebody told of and that are dialled in one group of addresses at a time: what is said to be there may be
/// somebody's other machines.
const MAX_TRIED_OF_GROUP: usize = 3;
/// Failures in one group that do not slow it down. Each one after that doubles the wait for all that is only told of there ...
const FREE_FAILURES: u32 = 8;
/// ... up to this. One that answers ends it.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// Groups that are remembered for that.
const MAX_SILENT: usize = 256;

/// What is to be kept from one start to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// Known peers.
    pub peers: Vec<KnownPeer>,
    /// Those of them that are dialled first, as text.
    pub anchors: Vec<String>,
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
    is_anchor: bool,
}

impl Entry {
    /// The groups of its addresses.
    fn groups(&self) -> HashSet<Group> {
        self.addresses.iter().filter_map(ip_of).map(group_of).collect()
    }

    /// Whether it is more than hearsay.
    fn is_proven(&self) -> bool {
        self.is_reserved || self.last_seen_ms > 0
    }
}

/// Addresses of peers, and the time of the next try of each.
#[derive(Debug)]
pub(crate) struct AddressBook {
    me: PeerId,
    entries: HashMap<PeerId, Entry>,
    /// Addresses to begin with whose peer is not known.
    bootstrap: Vec<(Multiaddr, u32, Instant)>,
    /// Groups in which peers that somebody told of do not answer: failures, and when the next is tried.
    silent: HashMap<Group, (u32, Instant)>,
}

impl AddressBook {
    pub(crate) fn new(me: PeerId, saved: &[KnownPeer], now: Instant) -> Self {
        let mut book = Self { me, entries: HashMap::new(), bootstrap: Vec::new(), silent: HashMap::new() };
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

    /// Says which peers are dialled first from now on.
    pub(crate) fn set_anchors<P: ToString>(&mut self, anchors: &[P]) {
        let anchors: Vec<String> = anchors.iter().map(ToString::to_string).collect();
        for (peer, entry) in &mut self.entries {
            entry.is_anchor = anchors.contains(&peer.to_string());
        }
    }

    /// The peers that are dialled first, as text.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let anchors = self.entries.iter().filter(|(_, entry)| entry.is_anchor);
        let mut anchors: Vec<String> = anchors.map(|(peer, _)| peer.to_string()).collect();
        anchors.sort();
        anchors
    }

    /// Addresses of peers that were once connected.
    pub(crate) fn seen_addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        self.entries.values().filter(|entry| entry.last_seen_ms > 0).flat_map(|entry| &entry.addresses)
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
            is_anchor: false,
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
            ip_of(&address).map(|ip| self.silent.remove(&group_of(ip)));
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
        if entry.last_seen_ms > 0 || entry.is_reserved {
            return;
        }
        let groups = entry.groups();
        if entry.failures >= MAX_FAILURES {
            self.entries.remove(peer);
        }
        groups.into_iter().for_each(|group| self.was_silent(group, now));
    }

    /// Somebody who was only told of did not answer in this group: after a while fewer are tried there.
    fn was_silent(&mut self, group: Group, now: Instant) {
        if self.silent.len() >= MAX_SILENT && !self.silent.contains_key(&group) {
            let first = self.silent.iter().min_by_key(|(_, (_, next))| *next).map(|(group, _)| *group);
            first.map(|group| self.silent.remove(&group));
        }
        let (failures, next) = self.silent.entry(group).or_insert((0, now));
        *failures += 1;
        if *failures > FREE_FAILURES {
            let wait = FIRST_WAIT.saturating_mul(1 << (*failures - FREE_FAILURES).min(16));
            *next = now + wait.min(LONGEST_SILENCE);
        }
    }

    /// The next peers to dial, at most `count`: anchors first, then those of groups that are not `had` already, then those that
    /// failed least. Of those that somebody told of, few in one group. `is_free` says who is neither connected nor being
    /// dialled.
    pub(crate) fn due(
        &self,
        count: usize,
        now: Instant,
        had: &HashSet<Group>,
        is_free: impl Fn(&PeerId) -> bool,
    ) -> Vec<PeerId> {
        let is_silent = |group: &Group| self.silent.get(group).is_some_and(|(_, next)| *next > now);
        let ready = |(peer, entry): &(&PeerId, &Entry)| {
            let is_hopeless = || {
                let groups = entry.groups();
                !groups.is_empty() && groups.iter().all(is_silent)
            };
            entry.next <= now && is_free(peer) && (entry.is_proven() || !is_hopeless())
        };
        let mut due: Vec<(&PeerId, &Entry)> = self.entries.iter().filter(ready).collect();
        due.sort_by_cached_key(|(_, entry)| {
            let is_anchor = entry.is_anchor && entry.failures < ANCHOR_TRIES;
            let is_near = !entry.groups().is_empty() && entry.groups().is_subset(had);
            (!entry.is_reserved, !is_anchor, is_near, entry.failures, u64::MAX - entry.last_seen_ms)
        });
        let mut tried: HashMap<Group, usize> = HashMap::new();
        due.retain(|(_, entry)| {
            let groups = entry.groups();
            let is_too_many =
                |group: &Group| tried.get(group).is_some_and(|count| *count >= MAX_TRIED_OF_GROUP);
            let fits = entry.is_proven() || !groups.iter().any(is_too_many);
            if fits {
                groups.into_iter().for_each(|group| *tried.entry(group).or_default() += 1);
            }
            fits
        });
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
    let is_nowhere = ip_of(address).is_some_and(leads_nowhere);
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
        assert_eq!(book.due(5, now, &HashSet::new(), |_| true), [peer]);
        book.failed(&peer, now);
        assert_eq!(book.due(5, now, &HashSet::new(), |_| true), []);
        assert_eq!(book.due(5, now + Duration::from_secs(2), &HashSet::new(), |_| true), [peer]);
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
        assert_eq!(book.due(5, now + LONGEST_WAIT_FOR_SEEN * 2, &HashSet::new(), |_| true), [peer]);
    }

    #[test]
    fn the_book_survives_a_restart() {
        let (now, me, peer) = (Instant::now(), PeerId::random(), PeerId::random());
        let mut book = AddressBook::new(me, &[], now);
        book.connected(peer, Some(address(1)), 5, now);
        let saved = Saved { peers: book.save(), ..Saved::default() };
        let saved = serde_json::to_string(&saved).unwrap();
        let saved: Saved = serde_json::from_str(&saved).unwrap();
        let again = AddressBook::new(me, &saved.peers, now);
        assert_eq!(again.save(), book.save());
        assert_eq!(again.addresses(&peer), [address(1)]);
    }

    #[test]
    fn anchors_are_dialled_first_after_a_restart() {
        let (now, me) = (Instant::now(), PeerId::random());
        let mut book = AddressBook::new(me, &[], now);
        let (anchor, crowd): (_, Vec<PeerId>) =
            (PeerId::random(), (0..50).map(|_| PeerId::random()).collect());
        book.connected(anchor, Some(address(1)), 5, now);
        crowd.iter().for_each(|peer| book.connected(*peer, Some(address(2)), 1000, now));
        book.set_anchors(&[anchor]);
        let (peers, anchors) = (book.save(), book.anchors());
        let mut again = AddressBook::new(me, &peers, now);
        again.set_anchors(&anchors);
        assert_eq!(again.due(1, now, &HashSet::new(), |_| true), [anchor]);
        assert_eq!(again.anchors(), [anchor.to_string()]);
        (0..ANCHOR_TRIES).for_each(|_| again.failed(&anchor, now));
        let later = now + LONGEST_WAIT;
        assert_ne!(again.due(1, later, &HashSet::new(), |_| true), [anchor], "one that is gone gives way");
    }

    #[test]
    fn what_is_only_told_of_is_dialled_a_little_at_a_time_and_less_when_nobody_answers() {
        let now = Instant::now();
        let mut book = AddressBook::new(PeerId::random(), &[], now);
        for _ in 0..100 {
            book.add(PeerId::random(), address(22), now);
        }
        let none = HashSet::new();
        let mut tried = 0;
        // A minute, second by second, and nobody answers.
        for second in 0..60 {
            let now = now + Duration::from_secs(second);
            let due = book.due(8, now, &none, |_| true);
            assert!(due.len() <= MAX_TRIED_OF_GROUP);
            tried += due.len();
            due.iter().for_each(|peer| book.failed(peer, now));
        }
        assert!(tried <= 30, "{tried} dials at strangers' machines");
        let (honest, elsewhere) = (PeerId::random(), "/ip4/198.51.100.1/tcp/1".parse().unwrap());
        book.add(honest, elsewhere, now);
        assert!(book.due(8, now + Duration::from_secs(60), &none, |_| true).contains(&honest));
        book.connected(PeerId::random(), Some(address(7)), 5, now);
        assert!(book.silent.is_empty(), "somebody is there after all");
    }

    #[test]
    fn groups_that_are_had_already_come_later() {
        let now = Instant::now();
        let mut book = AddressBook::new(PeerId::random(), &[], now);
        let (near, far) = (PeerId::random(), PeerId::random());
        book.connected(near, Some(address(1)), 1000, now);
        book.connected(far, Some("/ip4/198.51.100.1/tcp/1".parse().unwrap()), 5, now);
        assert_eq!(book.due(1, now, &HashSet::new(), |_| true), [near]);
        let had = [group_of("192.0.2.77".parse().unwrap())].into();
        assert_eq!(book.due(1, now, &had, |_| true), [far]);
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
