//! Who may connect, where there is a seat, and whose place a newcomer may take.
//!
//! There are `max_peers` seats, never more peers. Some are for peers that this node dialled: whoever comes from outside
//! cannot fill those, so no crowd of strangers is all that this node sees. Peers that are reserved have seats that nobody else
//! gets. When the others are taken, a newcomer whose group of addresses has fewer peers here takes the place of the worst
//! one of the most crowded group. Else it is a visitor for some seconds, long enough to find others through this node, and
//! is then asked to leave. The gate is the first behaviour that is asked about a connection.

mod fewer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};

use crate::place::{Group, Reach, group_of, host_of, ip_of, is_relayed, reach_of};

/// How long a visitor may stay: identify and a Kademlia query take a second over a slow line, and others wait. Nobody is
/// sent away for a newcomer before that either.
pub(crate) const MAX_VISIT: Duration = Duration::from_secs(2);
/// How long a visitor has to stay away after its visit, so that those who were never let in get their turn.
pub(crate) const VISIT_EVERY: Duration = Duration::from_secs(60);
/// Visitors that are remembered for that.
const MAX_VISITED: usize = 1024;
/// Direct connections of one peer: one, and for a moment a second, as two may dial each other at the same time.
pub(crate) const MAX_DIRECT_CONNECTIONS: usize = 2;
/// Connections of one peer through relays, until there is a direct one.
pub(crate) const MAX_RELAYED_CONNECTIONS: usize = 1;
/// Seats that are only for peers that this node dialled, as in Bitcoin Core. Fewer when there are few seats at all: ...
pub(crate) const MAX_OUTBOUND_SEATS: usize = 8;
/// ... one of so many.
const OUTBOUND_SEAT_OF: usize = 4;
/// A group of public addresses has one of so many seats at most.
pub(crate) const GROUP_SEAT_OF: usize = 4;
/// Of those who came from outside, one of so many is safe for being the most useful, and as many for being here longest:
/// an attacker would have to be either to drive them out.
const PROTECTED_OF: usize = 4;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the peer is banned, blocked or not among those allowed")]
    Forbidden,
    #[error("every seat is taken")]
    Full,
    #[error("too many peers come from this address")]
    TooManyFromAddress,
    #[error("the peer is connected already")]
    Connected,
}

/// A connection that asks for a seat.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    peer: PeerId,
    connection: ConnectionId,
    /// None when it is not known where the peer is, as behind a relay.
    address: Option<IpAddr>,
    is_outbound: bool,
    is_relayed: bool,
}

impl Arrival {
    fn new(peer: PeerId, connection: ConnectionId, remote: &Multiaddr, is_outbound: bool) -> Self {
        let is_relayed = is_relayed(remote);
        let address = if is_relayed { None } else { ip_of(remote) };
        Self { peer, connection, address, is_outbound, is_relayed }
    }
}

#[derive(Debug)]
struct Seat {
    /// Whether each leads through a relay.
    connections: HashMap<ConnectionId, bool>,
    address: Option<IpAddr>,
    is_outbound: bool,
    since: Instant,
    visiting_since: Option<Instant>,
    /// Somebody else got its place; its connections are being closed.
    is_leaving: bool,
    /// What the peer did for this node, less what it did to it.
    worth: f64,
}

impl Seat {
    /// Those whose place is not known are one group.
    fn group(&self) -> Option<Group> {
        self.address.map(group_of)
    }

    fn stays(&self) -> bool {
        self.visiting_since.is_none() && !self.is_leaving
    }
}

/// The gate as a behaviour of the swarm: it opens no substream and tells nothing.
#[derive(Debug)]
pub(crate) struct Gate {
    max_peers: usize,
    max_per_address: usize,
    allow: HashSet<PeerId>,
    block: HashSet<PeerId>,
    reserved: HashSet<PeerId>,
    banned: HashSet<PeerId>,
    seats: HashMap<PeerId, Seat>,
    /// Peers whose places were given to others and whose connections are to be closed. Never more than there are seats.
    leaving: VecDeque<PeerId>,
    /// When visits began.
    visited: HashMap<PeerId, Instant>,
    refused: u64,
}

impl Gate {
    pub(crate) fn new(
        max_peers: usize,
        max_per_address: usize,
        allow: HashSet<PeerId>,
        block: HashSet<PeerId>,
        reserved: HashSet<PeerId>,
    ) -> Self {
        Self {
            max_peers,
            max_per_address,
            allow,
            block,
            reserved,
            banned: HashSet::new(),
            seats: HashMap::new(),
            leaving: VecDeque::new(),
            visited: HashMap::new(),
            refused: 0,
        }
    }

    /// Says who is kept out from now on. Connections that they have are for the caller to close.
    pub(crate) fn set_banned(&mut self, banned: HashSet<PeerId>) {
        self.banned = banned;
    }

    /// Says what a peer is worth: of those who may have to go, the least goes first.
    pub(crate) fn set_worth(&mut self, peer: &PeerId, worth: f64) {
        if let Some(seat) = self.seats.get_mut(peer) {
            seat.worth = worth;
        }
    }

    /// Whether the peer may come at all.
    pub(crate) fn is_welcome(&self, peer: &PeerId) -> bool {
        let allowed = self.allow.is_empty() || self.allow.contains(peer) || self.reserved.contains(peer);
        allowed && !self.block.contains(peer) && !self.banned.contains(peer)
    }

    pub(crate) fn is_reserved(&self, peer: &PeerId) -> bool {
        self.reserved.contains(peer)
    }

    pub(crate) fn is_visiting(&self, peer: &PeerId) -> bool {
        self.seats.get(peer).is_some_and(|seat| seat.visiting_since.is_some())
    }

    /// Connections refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Peers that this node dialled and that stay.
    pub(crate) fn outbound(&self) -> usize {
        self.seats.values().filter(|seat| seat.is_outbound && seat.stays()).count()
    }

    /// The groups of public addresses where this node has dialled somebody.
    pub(crate) fn outbound_groups(&self) -> HashSet<Group> {
        let dialled = self.seats.values().filter(|seat| seat.is_outbound);
        let public = dialled.filter_map(|seat| seat.address).filter(|ip| reach_of(*ip) == Reach::Public);
        public.map(group_of).collect()
    }

    /// Seats that nobody who dials this node gets.
    pub(crate) fn outbound_seats(&self) -> usize {
        (self.max_peers / OUTBOUND_SEAT_OF).min(MAX_OUTBOUND_SEATS)
    }

    /// Seats for those who come when the others are taken: for visitors, and while one peer goes and another comes.
    fn passing_seats(&self) -> usize {
        match self.max_peers {
            0..4 => 0,
            4..8 => 1,
            _ => 3,
        }
    }

    /// Visitors at the same time. One seat is left for newcomers that take somebody's place, where there are seats enough.
    fn max_visitors(&self) -> usize {
        self.passing_seats().saturating_sub(1).max(self.passing_seats().min(1))
    }

    /// Seats for peers that stay, those kept for absent reserved peers not counted. Only a peer that is dialled gets the
    /// last ones.
    pub(crate) fn free_seats(&self) -> usize {
        let absent = self.reserved.iter().filter(|peer| !self.seats.contains_key(peer)).count();
        let staying = self.seats.values().filter(|seat| seat.stays()).count();
        (self.max_peers - self.passing_seats()).saturating_sub(absent + staying)
    }

    /// Seats for peers that come by themselves and stay.
    fn free_inbound_seats(&self) -> usize {
        let inbound = self.seats.values().filter(|seat| !seat.is_outbound && seat.stays()).count();
        let seats = (self.max_peers - self.passing_seats()).saturating_sub(self.outbound_seats());
        self.free_seats().min(seats.saturating_sub(inbound))
    }

    /// Gives visitors the seats that are free, longest waiting first, and names those whose time is up.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<PeerId> {
        let visiting = |(peer, seat): (&PeerId, &Seat)| Some((seat.visiting_since?, *peer));
        let mut visitors: Vec<(Instant, PeerId)> = self.seats.iter().filter_map(visiting).collect();
        visitors.sort();
        let stay = self.free_inbound_seats().min(visitors.len());
        for (_, peer) in visitors.drain(..stay) {
            if let Some(seat) = self.seats.get_mut(&peer) {
                seat.visiting_since = None;
            }
        }
        let is_overdue = |since: Instant| now.saturating_duration_since(since) >= MAX_VISIT;
        visitors.into_iter().filter(|(since, _)| is_overdue(*since)).map(|(_, peer)| peer).collect()
    }

    /// Finds a seat for a connection, or says why there is none.
    fn admit(&mut self, arrival: Arrival, now: Instant) -> Result<(), Refused> {
        let Arrival { peer, connection, address, is_outbound, is_relayed } = arrival;
        if !self.is_welcome(&peer) {
            return Err(Refused::Forbidden);
        }
        if let Some(seat) = self.seats.get_mut(&peer) {
            let alike = seat.connections.values().filter(|relayed| **relayed == is_relayed).count();
            let most = if is_relayed { MAX_RELAYED_CONNECTIONS } else { MAX_DIRECT_CONNECTIONS };
            return match (seat.is_leaving, alike < most) {
                (true, _) => Err(Refused::Full),
                (false, false) => Err(Refused::Connected),
                (false, true) => {
                    seat.connections.insert(connection, is_relayed);
                    Ok(())
                }
            };
        }
        let is_reserved = self.reserved.contains(&peer);
        if !is_reserved && self.is_crowded(address) {
            return Err(Refused::TooManyFromAddress);
        }
        let free = if is_outbound { self.free_seats() } else { self.free_inbound_seats() };
        let has_room = self.has_room(is_outbound || is_reserved);
        let visiting_since = if has_room && (is_reserved || free > 0) {
            None
        } else if is_outbound || !has_room {
            return Err(Refused::Full);
        } else if let Some(worst) = self.worst_for(address.map(group_of), now) {
            self.dismiss(worst);
            None
        } else if self.has_room_for_visitor() && self.may_visit(peer, now) {
            Some(now)
        } else {
            return Err(Refused::Full);
        };
        let connections = HashMap::from([(connection, is_relayed)]);
        let seat = Seat {
            connections,
            address,
            is_outbound,
            since: now,
            visiting_since,
            is_leaving: false,
            worth: 0.0,
        };
        self.seats.insert(peer, seat);
        Ok(())
    }

    /// Whether one more may sit down at all, those who are still on their way out counted.
    fn has_room(&self, may_be_outbound: bool) -> bool {
        let inbound = self.seats.values().filter(|seat| !seat.is_outbound).count();
        let room = may_be_outbound || inbound < self.max_peers - self.outbound_seats();
        room && self.seats.len() < self.max_peers
    }

    /// Whether a host or a group of public addresses has as many seats as it gets. On one's own machine and in a private
    /// network, one address may stand for as many nodes as somebody cares to start.
    fn is_crowded(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.filter(|address| reach_of(*address) == Reach::Public) else {
            return false;
        };
        let (host, group) = (host_of(address), group_of(address));
        let count = |is_near: &dyn Fn(IpAddr) -> bool| {
            self.seats.values().filter_map(|seat| seat.address).filter(|other| is_near(*other)).count()
        };
        count(&|other| host_of(other) == host) >= self.max_per_address
            || count(&|other| group_of(other) == group) >= self.max_per_group()
    }

    fn max_per_group(&self) -> usize {
        self.max_per_address.max(self.max_peers / GROUP_SEAT_OF)
    }

    /// The peer whose place a newcomer of this group may take: of the most crowded group of those who came from outside, as
    /// long as that has more peers than the newcomer's group will have, the one that is worth least, and of several the
    /// one that came last. The most useful and the oldest of all are safe.
    fn worst_for(&self, newcomer: Option<Group>, now: Instant) -> Option<PeerId> {
        let inbound: Vec<(&PeerId, &Seat)> =
            self.seats.iter().filter(|(_, seat)| !seat.is_outbound && seat.stays()).collect();
        let mut crowds: HashMap<Option<Group>, usize> = HashMap::new();
        inbound.iter().for_each(|(_, seat)| *crowds.entry(seat.group()).or_default() += 1);
        let will_be = crowds.get(&newcomer).copied().unwrap_or_default() + 1;

        let is_settled = |seat: &Seat| now.saturating_duration_since(seat.since) >= MAX_VISIT;
        let mut candidates: Vec<(&PeerId, &Seat)> = inbound.clone();
        candidates.retain(|(peer, seat)| !self.reserved.contains(peer) && is_settled(seat));
        let safe = inbound.len() / PROTECTED_OF;
        candidates.sort_by(|a, b| b.1.worth.total_cmp(&a.1.worth));
        let useful = candidates.iter().take(safe).take_while(|(_, seat)| seat.worth > 0.0).count();
        candidates.drain(..useful);
        candidates.sort_by_key(|(_, seat)| seat.since);
        candidates.drain(..safe.min(candidates.len()));

        candidates.retain(|(_, seat)| crowds[&seat.group()] > will_be);
        let order = |a: &Seat, b: &Seat| {
            let by_crowd = crowds[&a.group()].cmp(&crowds[&b.group()]).then(a.group().cmp(&b.group()));
            by_crowd.then(b.worth.total_cmp(&a.worth)).then(a.since.cmp(&b.since))
        };
        candidates.into_iter().max_by(|a, b| order(a.1, b.1)).map(|(peer, _)| *peer)
    }

    fn dismiss(&mut self, peer: PeerId) {
        tracing::debug!(%peer, "a peer of a crowded group gives its place to a newcomer");
        self.show_out(peer);
    }

    /// Has the connections of a peer closed.
    fn show_out(&mut self, peer: PeerId) {
        if let Some(seat) = self.seats.get_mut(&peer) {
            seat.is_leaving = true;
            self.leaving.push_back(peer);
        }
    }

    fn has_room_for_visitor(&self) -> bool {
        self.seats.values().filter(|seat| seat.visiting_since.is_some()).count() < self.max_visitors()
    }

    /// Whether a peer's last visit is long enough ago; if so, this is one.
    fn may_visit(&mut self, peer: PeerId, now: Instant) -> bool {
        self.visited.retain(|_, visit| now.saturating_duration_since(*visit) < VISIT_EVERY);
        let may = self.visited.len() < MAX_VISITED && !self.visited.contains_key(&peer);
        if may {
            self.visited.insert(peer, now);
        }
        may
    }

    fn leave(&mut self, peer: &PeerId, connection: &ConnectionId) {
        if let Some(seat) = self.seats.get_mut(peer) {
            seat.connections.remove(connection);
            if seat.connections.is_empty() {
                self.seats.remove(peer);
            }
        }
    }

    fn denied(&mut self, refused: Refused) -> ConnectionDenied {
        self.refused += 1;
        ConnectionDenied::new(refused)
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        match self.admit(Arrival::new(peer, connection, remote, false), Instant::now()) {
            Ok(()) => Ok(dummy::ConnectionHandler),
            Err(refused) => Err(self.denied(refused)),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        match self.admit(Arrival::new(peer, connection, address, true), Instant::now()) {
            Ok(()) => Ok(dummy::ConnectionHandler),
            Err(refused) => Err(self.denied(refused)),
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.leave(&peer_id, &connection_id);
            }
            // Another behaviour refused what was let in here, or the handshake failed.
            FromSwarm::ListenFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.leave(&peer, &failure.connection_id);
                }
            }
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.leave(&peer, &failure.connection_id);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    /// The swarm asks again after each connection that it tells of and after each command, so nobody has to wake it.
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.leaving.pop_front() {
            Some(peer_id) => {
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All })
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn gate(max_peers: usize, reserved: &[PeerId]) -> Gate {
        Gate::new(max_peers, 2, HashSet::new(), HashSet::new(), reserved.iter().copied().collect())
    }

    pub(super) fn arrival(peer: PeerId, number: usize, address: Option<&str>, is_outbound: bool) -> Arrival {
        let address = address.map(|address| address.parse().unwrap());
        let connection = ConnectionId::new_unchecked(number);
        Arrival { peer, connection, address, is_outbound, is_relayed: false }
    }

    fn come(gate: &mut Gate, peer: PeerId, number: usize, now: Instant) -> Result<(), Refused> {
        gate.admit(arrival(peer, number, None, false), now)
    }

    /// Somebody new from this address.
    pub(super) fn come_from(
        gate: &mut Gate,
        address: &str,
        number: usize,
        now: Instant,
    ) -> Result<PeerId, Refused> {
        let peer = PeerId::random();
        gate.admit(arrival(peer, number, Some(address), false), now).map(|()| peer)
    }

    /// Closes what the gate wants closed, as the swarm does, and says whose connections these were.
    pub(super) fn close_leaving(gate: &mut Gate) -> Vec<PeerId> {
        let mut gone = Vec::new();
        while let Poll::Ready(ToSwarm::CloseConnection { peer_id, .. }) =
            gate.poll(&mut Context::from_waker(std::task::Waker::noop()))
        {
            gate.seats.remove(&peer_id);
            gone.push(peer_id);
        }
        gone
    }

    #[test]
    fn there_are_never_more_peers_than_seats() {
        let (mut gate, now) = (gate(8, &[]), Instant::now());
        let results: Vec<_> = (0..30).map(|n| come(&mut gate, PeerId::random(), n, now)).collect();
        // Two seats are for those that are dialled, one is for a peer that takes another's place.
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
        assert_eq!(results[5], Err(Refused::Full));
        assert_eq!(gate.seats.values().filter(|seat| seat.visiting_since.is_some()).count(), 2);
    }

    #[test]
    fn who_comes_from_outside_leaves_seats_for_those_that_are_dialled() {
        let (mut gate, now) = (gate(50, &[]), Instant::now());
        for n in 0..100 {
            let _ = come_from(&mut gate, &format!("10.0.{n}.1"), n, now);
        }
        assert_eq!(gate.free_inbound_seats(), 0);
        let dial = |gate: &mut Gate, n| gate.admit(arrival(PeerId::random(), n, None, true), now);
        assert!((100..108).all(|n| dial(&mut gate, n).is_ok()));
        assert_eq!(dial(&mut gate, 108), Err(Refused::Full));
        assert_eq!(gate.outbound(), 8);
    }

    #[test]
    fn a_visitor_has_to_go_and_one_that_waits_gets_a_seat_that_becomes_free() {
        let (mut gate, now) = (gate(5, &[]), Instant::now());
        let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        for (n, peer) in peers.iter().enumerate() {
            come(&mut gate, *peer, n, now).unwrap();
        }
        assert!(gate.is_visiting(&peers[3]));
        assert_eq!(gate.overdue(now), []);
        assert_eq!(gate.overdue(now + MAX_VISIT), [peers[3]]);
        gate.leave(&peers[0], &ConnectionId::new_unchecked(0));
        assert_eq!(gate.overdue(now + MAX_VISIT), []);
        assert!(!gate.is_visiting(&peers[3]));
    }

    #[test]
    fn a_visitor_does_not_come_back_at_once() {
        let (mut gate, now) = (gate(5, &[]), Instant::now());
        let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        for (n, peer) in peers.iter().enumerate() {
            come(&mut gate, *peer, n, now).unwrap();
        }
        gate.leave(&peers[3], &ConnectionId::new_unchecked(3));
        assert_eq!(come(&mut gate, peers[3], 4, now), Err(Refused::Full));
        assert_eq!(come(&mut gate, PeerId::random(), 5, now), Ok(()));
        gate.seats.retain(|_, seat| seat.visiting_since.is_none());
        assert_eq!(come(&mut gate, peers[3], 6, now + VISIT_EVERY), Ok(()));
    }

    #[test]
    fn a_reserved_peer_finds_its_seat() {
        let (friend, now) = (PeerId::random(), Instant::now());
        let mut gate = gate(5, &[friend]);
        let results: Vec<_> = (0..10).map(|n| come(&mut gate, PeerId::random(), n, now)).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4);
        assert_eq!(come(&mut gate, friend, 10, now), Ok(()));
        assert_eq!(gate.seats.len(), 5);
    }

    #[test]
    fn a_banned_peer_is_refused_until_it_is_not() {
        let (mut gate, peer, now) = (gate(8, &[]), PeerId::random(), Instant::now());
        gate.set_banned([peer].into());
        assert_eq!(come(&mut gate, peer, 1, now), Err(Refused::Forbidden));
        gate.set_banned(HashSet::new());
        assert_eq!(come(&mut gate, peer, 1, now), Ok(()));
    }

    #[test]
    fn one_public_host_or_network_does_not_take_every_seat() {
        let (mut gate, now) = (gate(50, &[]), Instant::now());
        let refused = Err(Refused::TooManyFromAddress);
        let mut from = |address: &str, number| come_from(&mut gate, address, number, now).map(drop);
        assert_eq!((from("203.0.113.5", 1), from("203.0.113.5", 2)), (Ok(()), Ok(())));
        assert_eq!(from("203.0.113.5", 3), refused);
        // A host of IPv6 calls itself as it likes.
        assert_eq!((from("2001:db8::1", 4), from("2001:db8::2", 5)), (Ok(()), Ok(())));
        assert_eq!(from("2001:db8::3", 6), refused);
        let neighbours = (10..30).filter(|n| from(&format!("203.0.113.{n}"), *n).is_ok()).count();
        assert_eq!(neighbours + 2, 50 / GROUP_SEAT_OF);
        assert!((40..48).all(|number| from("127.0.0.1", number).is_ok()), "one machine may run many nodes");
    }

    #[test]
    fn a_newcomer_of_another_group_takes_the_place_of_the_worst_of_a_crowd() {
        let (mut gate, start) = (gate(50, &[]), Instant::now());
        let mut crowd = Vec::new();
        for n in 0..60 {
            crowd.extend(come_from(&mut gate, "10.0.0.1", n, start + Duration::from_millis(n as u64)));
        }
        let (later, inbound) = (start + Duration::from_secs(60), crowd.len());
        let (useful, bad) = (crowd[20], crowd[inbound / 2]);
        gate.set_worth(&useful, 1.0);
        gate.set_worth(&bad, -1.0);
        assert_eq!(
            come_from(&mut gate, "10.0.0.2", 100, start),
            Err(Refused::Full),
            "one of the crowd itself"
        );

        gate.overdue(later).iter().for_each(|visitor| drop(gate.seats.remove(visitor)));
        let honest = come_from(&mut gate, "127.0.1.1", 101, later).unwrap();
        assert!(!gate.is_visiting(&honest));
        assert!(gate.seats.len() <= 50);
        assert_eq!(close_leaving(&mut gate), [bad]);
        // Many more come, each from elsewhere: the crowd shrinks, but not to nothing.
        for n in 2..200 {
            let _ = come_from(&mut gate, &format!("127.0.{n}.1"), 100 + n, later);
            assert!(!close_leaving(&mut gate).contains(&useful));
            gate.overdue(later + MAX_VISIT).iter().for_each(|visitor| drop(gate.seats.remove(visitor)));
        }
        let left: Vec<bool> = crowd.iter().map(|peer| gate.seats.contains_key(peer)).collect();
        assert!(left[0], "the oldest is safe");
        assert!(left.iter().filter(|is_here| **is_here).count() >= 9);
        assert!(gate.seats.contains_key(&honest));
    }

    #[test]
    fn who_has_just_come_and_who_is_reserved_is_not_sent_away() {
        let (friend, now) = (PeerId::random(), Instant::now());
        let mut gate = gate(16, &[friend]);
        gate.admit(arrival(friend, 0, Some("10.0.0.1"), false), now).unwrap();
        gate.set_worth(&friend, -50.0);
        for n in 1..20 {
            let _ = come_from(&mut gate, "10.0.0.1", n, now);
        }
        assert_eq!(come_from(&mut gate, "127.0.1.1", 100, now), Err(Refused::Full));
        for n in 2..100 {
            let _ = come_from(&mut gate, &format!("127.0.{n}.1"), 100 + n, now + MAX_VISIT);
            close_leaving(&mut gate);
        }
        assert!(gate.seats.contains_key(&friend));
    }

    #[test]
    fn a_peer_has_one_connection_and_for_a_moment_a_second_and_a_relayed_one() {
        let (mut gate, peer, now) = (gate(8, &[]), PeerId::random(), Instant::now());
        let mut connect = |number, is_relayed| {
            gate.admit(Arrival { is_relayed, ..arrival(peer, number, None, false) }, now)
        };
        assert_eq!((connect(1, false), connect(2, false), connect(3, true)), (Ok(()), Ok(()), Ok(())));
        assert_eq!((connect(4, false), connect(5, true)), (Err(Refused::Connected), Err(Refused::Connected)));
    }

    /// What may happen at the gate: who comes from which group, dialled or not, and who goes.
    #[derive(Debug, Clone)]
    enum Step {
        Come { group: u8, host: u8, is_outbound: bool },
        Leave(usize),
        Wait(u64),
        Tick,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let come = (0u8..6, 1u8..40, prop::bool::weighted(0.2))
            .prop_map(|(group, host, is_outbound)| Step::Come { group, host, is_outbound });
        let step = prop_oneof![
            8 => come,
            1 => (0usize..100).prop_map(Step::Leave),
            1 => (0u64..5000).prop_map(Step::Wait),
            1 => Just(Step::Tick),
        ];
        prop::collection::vec(step, 1..300)
    }

    proptest! {
        #[test]
        fn seats_are_shared_out_whatever_comes(max_peers in 1usize..70, steps in steps()) {
            let (mut gate, mut now) = (gate(max_peers, &[]), Instant::now());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Come { group, host, is_outbound } => {
                        let address = match group {
                            0 => format!("203.0.113.{host}"),
                            1 => format!("2001:db8:1:{host}::1"),
                            2 => format!("10.0.0.{host}"),
                            3 => format!("127.0.0.{host}"),
                            _ => format!("127.0.{group}.{host}"),
                        };
                        let _ = gate.admit(arrival(PeerId::random(), number, Some(&address), is_outbound), now);
                    }
                    Step::Leave(at) => {
                        let mut peers: Vec<PeerId> = gate.seats.keys().copied().collect();
                        peers.sort();
                        if let Some(peer) = peers.get(at) {
                            gate.seats.remove(peer);
                        }
                    }
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                    Step::Tick => {
                        close_leaving(&mut gate);
                        gate.overdue(now).iter().for_each(|visitor| drop(gate.seats.remove(visitor)));
                    }
                }
                prop_assert!(gate.seats.len() <= max_peers);
                let inbound = gate.seats.values().filter(|seat| !seat.is_outbound).count();
                prop_assert!(inbound <= max_peers - gate.outbound_seats(), "{inbound} came by themselves");
                let public = |group| gate.seats.values().filter(|seat| seat.group() == Some(group)).count();
                let most = (max_peers / GROUP_SEAT_OF).max(2);
                prop_assert!(public(group_of("203.0.113.1".parse().unwrap())) <= most);
                prop_assert!(public(group_of("2001:db8:1::1".parse().unwrap())) <= most);
            }
        }

        #[test]
        fn one_group_never_keeps_a_newcomer_of_another_out(max_peers in 16usize..70, crowd in 1usize..200) {
            let (mut gate, now) = (gate(max_peers, &[]), Instant::now());
            for n in 0..crowd {
                let _ = come_from(&mut gate, "10.0.0.1", n, now);
            }
            let honest = come_from(&mut gate, "127.0.1.1", 1000, now + MAX_VISIT).unwrap();
            close_leaving(&mut gate);
            prop_assert!(!gate.is_visiting(&honest));
            prop_assert!(gate.seats.len() <= max_peers);
        }
    }
}
