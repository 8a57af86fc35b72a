//! Who may connect, and where there is a seat.
//!
//! There are `max_peers` seats, never more peers. A few of them are for visitors: a peer that comes when all others are
//! taken sits there for some seconds, long enough to find others through this node, and is then asked to leave. Peers that
//! are reserved have seats that nobody else gets. The gate is the first behaviour that is asked about a connection.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};

/// How long a visitor may stay: identify and a Kademlia query take a second over a slow line, and others wait.
pub(crate) const MAX_VISIT: Duration = Duration::from_secs(2);
/// How long a visitor has to stay away after its visit, so that those who were never let in get their turn.
pub(crate) const VISIT_EVERY: Duration = Duration::from_secs(60);
/// Visitors that are remembered for that.
const MAX_VISITED: usize = 1024;
/// Connections from one address that may be on their way in at the same time.
pub(crate) const MAX_PENDING_PER_ADDRESS: usize = 16;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the peer is banned, blocked or not among those allowed")]
    Forbidden,
    #[error("every seat is taken")]
    Full,
    #[error("too many peers come from this address")]
    TooManyFromAddress,
}

#[derive(Debug)]
struct Seat {
    connections: HashSet<ConnectionId>,
    address: Option<IpAddr>,
    visiting_since: Option<Instant>,
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
    pending: HashMap<ConnectionId, IpAddr>,
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
            pending: HashMap::new(),
            visited: HashMap::new(),
            refused: 0,
        }
    }

    /// Says who is kept out from now on. Connections that they have are for the caller to close.
    pub(crate) fn set_banned(&mut self, banned: HashSet<PeerId>) {
        self.banned = banned;
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

    /// Seats that visitors cannot take from those who stay, nor the other way round.
    fn visitor_seats(&self) -> usize {
        match self.max_peers {
            0..4 => 0,
            4..8 => 1,
            _ => 2,
        }
    }

    /// Seats for peers that stay, those kept for absent reserved peers not counted.
    pub(crate) fn free_seats(&self) -> usize {
        let absent = self.reserved.iter().filter(|peer| !self.seats.contains_key(peer)).count();
        let staying = self.seats.values().filter(|seat| seat.visiting_since.is_none()).count();
        (self.max_peers - self.visitor_seats()).saturating_sub(absent + staying)
    }

    /// Gives visitors the seats that are free, longest waiting first, and names those whose time is up.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<PeerId> {
        let mut visitors: Vec<(Instant, PeerId)> =
            self.seats.iter().filter_map(|(peer, seat)| Some((seat.visiting_since?, *peer))).collect();
        visitors.sort();
        let stay = self.free_seats().min(visitors.len());
        for (_, peer) in visitors.drain(..stay) {
            if let Some(seat) = self.seats.get_mut(&peer) {
                seat.visiting_since = None;
            }
        }
        let is_overdue = |since: Instant| now.saturating_duration_since(since) >= MAX_VISIT;
        visitors.into_iter().filter(|(since, _)| is_overdue(*since)).map(|(_, peer)| peer).collect()
    }

    /// Finds a seat. `is_outbound`: who was dialled does not sit down as a visitor.
    fn admit(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        address: Option<IpAddr>,
        is_outbound: bool,
        now: Instant,
    ) -> Result<(), Refused> {
        if !self.is_welcome(&peer) {
            return Err(Refused::Forbidden);
        }
        if let Some(seat) = self.seats.get_mut(&peer) {
            seat.connections.insert(connection);
            return Ok(());
        }
        let neighbours = |seats: &HashMap<PeerId, Seat>| {
            seats.values().filter(|seat| address.is_some() && seat.address == address).count()
        };
        let is_reserved = self.reserved.contains(&peer);
        if !is_reserved && address.is_some_and(is_counted) && neighbours(&self.seats) >= self.max_per_address
        {
            return Err(Refused::TooManyFromAddress);
        }
        let visitors = self.seats.values().filter(|seat| seat.visiting_since.is_some()).count();
        let has_seat = self.seats.len() < self.max_peers && (is_reserved || self.free_seats() > 0);
        let visiting_since = if has_seat {
            None
        } else if !is_outbound
            && visitors < self.visitor_seats()
            && self.seats.len() < self.max_peers
            && self.may_visit(peer, now)
        {
            Some(now)
        } else {
            return Err(Refused::Full);
        };
        self.seats.insert(peer, Seat { connections: [connection].into(), address, visiting_since });
        Ok(())
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

/// Whether peers at this address are counted: on one's own machine and in a private network, one address may stand for
/// as many nodes as somebody cares to start.
fn is_counted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_private() && !address.is_link_local(),
        IpAddr::V6(address) => {
            !address.is_loopback() && !address.is_unique_local() && !address.is_unicast_link_local()
        }
    }
}

/// The IP address in a multiaddress.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(address.into()),
        Protocol::Ip6(address) => Some(address.into()),
        _ => None,
    })
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if let Some(address) = ip_of(remote) {
            let same = self.pending.values().filter(|pending| **pending == address).count();
            if is_counted(address) && same >= MAX_PENDING_PER_ADDRESS {
                return Err(self.denied(Refused::TooManyFromAddress));
            }
            self.pending.insert(connection, address);
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        match self.admit(peer, connection, ip_of(remote), false, Instant::now()) {
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
        match self.admit(peer, connection, ip_of(address), true, Instant::now()) {
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
                self.pending.remove(&failure.connection_id);
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

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max_peers: usize, reserved: &[PeerId]) -> Gate {
        Gate::new(max_peers, 2, HashSet::new(), HashSet::new(), reserved.iter().copied().collect())
    }

    fn come(gate: &mut Gate, peer: PeerId, number: usize, now: Instant) -> Result<(), Refused> {
        gate.admit(peer, ConnectionId::new_unchecked(number), None, false, now)
    }

    #[test]
    fn there_are_never_more_peers_than_seats() {
        let (mut gate, now) = (gate(8, &[]), Instant::now());
        let results: Vec<_> = (0..30).map(|n| come(&mut gate, PeerId::random(), n, now)).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 8);
        assert_eq!(results[8], Err(Refused::Full));
        assert_eq!(gate.seats.values().filter(|seat| seat.visiting_since.is_some()).count(), 2);
    }

    #[test]
    fn a_visitor_has_to_go_and_one_that_waits_gets_a_seat_that_becomes_free() {
        let (mut gate, now) = (gate(4, &[]), Instant::now());
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
        let (mut gate, now) = (gate(4, &[]), Instant::now());
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
        let mut gate = gate(4, &[friend]);
        let results: Vec<_> = (0..10).map(|n| come(&mut gate, PeerId::random(), n, now)).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
        assert_eq!(come(&mut gate, friend, 10, now), Ok(()));
        assert_eq!(gate.seats.len(), 4);
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
    fn one_public_address_does_not_take_every_seat() {
        let (mut gate, now) = (gate(8, &[]), Instant::now());
        let mut from = |address: &str, number| {
            let address = Some(address.parse().unwrap());
            gate.admit(PeerId::random(), ConnectionId::new_unchecked(number), address, false, now)
        };
        assert_eq!(from("203.0.113.5", 1), Ok(()));
        assert_eq!(from("203.0.113.5", 2), Ok(()));
        assert_eq!(from("203.0.113.5", 3), Err(Refused::TooManyFromAddress));
        assert!((4..8).all(|number| from("127.0.0.1", number).is_ok()));
    }
}
