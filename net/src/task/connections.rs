//! Connections: what a peer is connected by, and what happens when one comes or goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::{DialReply, Task, now_ms};
use crate::dial::split;
use crate::meter::Count;
use crate::status::{Direction, Transport};
use crate::transport::count_of;
use crate::{DialError, Event};

/// Two that dial each other at the same moment have two connections so close together, over slow lines as well.
const SAME_MOMENT: Duration = Duration::from_secs(2);
/// A second connection of a peer stays so long beside the one that is kept: until the peer has that one, too, and what was
/// asked through the other is answered. QUIC notices within this time that a peer was started anew.
const BESIDE_ANOTHER: Duration = Duration::from_secs(15);

/// A connected peer.
pub(crate) struct Peer {
    /// Never empty.
    pub(super) connections: HashMap<ConnectionId, Connection>,
    pub(super) since: Instant,
    pub(super) latency: Option<Duration>,
    pub(super) agent: String,
    pub(super) praise: f64,
    pub(super) count: Arc<Count>,
    /// Whether it said who it is: one that has no seat for this node closes the connection before that.
    has_greeted: bool,
    /// Those who wait for that.
    waiting: Vec<DialReply>,
}

/// One connection to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) address: Multiaddr,
    pub(super) direction: Direction,
    pub(super) transport: Transport,
    since: Instant,
}

impl Connection {
    pub(super) fn is_relayed(&self) -> bool {
        self.transport == Transport::Relayed
    }
}

impl Peer {
    /// The connection that counts: the eldest direct one, else the eldest through a relay.
    pub(super) fn best(&self) -> &Connection {
        let order = |connection: &&Connection| (connection.is_relayed(), connection.since);
        self.connections.values().min_by_key(order).expect("a connected peer has a connection")
    }

    /// The connection that is kept beside others. Both ends choose the same: a direct one before a relayed one, the one
    /// that is older by more than a moment, and of two that were made in one moment the one that the peer with the smaller
    /// id dialled.
    fn kept(&self, is_smaller: bool) -> &Connection {
        let best = self.best();
        let rivals = self.connections.values().filter(|other| {
            other.is_relayed() == best.is_relayed()
                && other.since.saturating_duration_since(best.since) <= SAME_MOMENT
        });
        let by_smaller =
            |connection: &&Connection| (connection.direction == Direction::Outbound) == is_smaller;
        rivals.min_by_key(|other| (!by_smaller(other), other.since)).unwrap_or(best)
    }

    /// Connections that have stood beside the one that is kept for long enough. `is_smaller`: whether this node's id is
    /// smaller than the peer's.
    fn outlived(&self, is_smaller: bool, now: Instant) -> Vec<ConnectionId> {
        let kept = self.kept(is_smaller);
        let is_enough =
            |other: &Connection| now.saturating_duration_since(other.since.max(kept.since)) >= BESIDE_ANOTHER;
        let others = self.connections.iter().filter(|(_, other)| *other != kept && is_enough(other));
        others.map(|(id, _)| *id).collect()
    }
}

/// Whether those that go on began well after the one that closed, which began at `since`. Then the peer dialled while this
/// node thought it connected: its program was started anew, and behind QUIC nothing told this node for ten seconds. What
/// is said once at the beginning, gossipsub's topics above all, was said to the program before.
fn is_another_session(since: Instant, mut others: impl Iterator<Item = Instant>) -> bool {
    others.all(|other| other.saturating_duration_since(since) > SAME_MOMENT)
}

/// What an endpoint runs over.
fn transport_of(endpoint: &ConnectedPoint, address: &Multiaddr) -> Transport {
    if endpoint.is_relayed() {
        return Transport::Relayed;
    }
    let mut transport = Transport::Other;
    for part in address {
        match part {
            Protocol::Tcp(_) => transport = Transport::Tcp,
            Protocol::QuicV1 => transport = Transport::Quic,
            _ => {}
        }
    }
    transport
}

impl Task {
    pub(super) fn on_connected(&mut self, id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let (address, direction) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (split(address).0, Direction::Outbound),
            ConnectedPoint::Listener { send_back_addr, local_addr } => {
                self.was_reached(local_addr);
                (send_back_addr.clone(), Direction::Inbound)
            }
        };
        let dialled = (direction == Direction::Outbound).then(|| address.clone());
        self.book.connected(id, dialled, now_ms(), now);
        let made = Connection { transport: transport_of(endpoint, &address), address, direction, since: now };
        if !made.is_relayed() {
            self.near.vouch(&made.address);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.best().is_relayed() && !made.is_relayed() {
                tracing::info!(peer = %id, address = %made.address, "a peer behind a relay is reached directly now");
            }
            peer.connections.insert(connection, made);
            return;
        }
        let peer = Peer {
            connections: HashMap::from([(connection, made)]),
            since: now,
            latency: None,
            agent: String::new(),
            praise: 0.0,
            count: count_of(&self.counts, id),
            has_greeted: false,
            waiting: Vec::new(),
        };
        self.peers.insert(id, peer);
        self.metrics.peers.set(self.peers.len() as i64);
    }

    /// A dial that somebody waits for made a connection.
    pub(super) fn on_dialled(&mut self, id: PeerId, reply: DialReply) {
        match self.peers.get_mut(&id) {
            Some(peer) if !peer.has_greeted => peer.waiting.push(reply),
            // Whoever asked has gone.
            _ => drop(reply.send(Ok(id))),
        }
    }

    /// A peer said who it is, so it means to stay.
    pub(super) fn on_greeted(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if std::mem::replace(&mut peer.has_greeted, true) {
            return;
        }
        for reply in peer.waiting.drain(..) {
            // As above.
            let _ = reply.send(Ok(id));
        }
        self.tell(Event::Joined { peer: id });
    }

    pub(super) fn on_disconnected(&mut self, id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(closed) = peer.connections.remove(&connection) else { return };
        if !peer.connections.is_empty() {
            // A connection that was relayed gives way to a direct one, and all goes on.
            let others = peer.connections.values().map(|other| other.since);
            if !closed.is_relayed() && is_another_session(closed.since, others) {
                tracing::debug!(peer = %id, "a peer began anew; the connections begin anew, too");
                self.disconnect(&id);
            }
            return;
        }
        let Some(peer) = self.peers.remove(&id) else { return };
        self.reserved_at.remove(&id);
        self.clocks.forget(&id);
        if self.silenced.remove(&id) {
            // Gossipsub would not notice that it comes again.
            self.swarm.behaviour_mut().gossip.remove_blacklisted_peer(&id);
        }
        self.book.disconnected(&id, now_ms(), Instant::now());
        self.metrics.peers.set(self.peers.len() as i64);
        for reply in peer.waiting {
            let reason =
                "the peer closed the connection at once: it is full, or it does not let this node in";
            // Whoever asked has gone.
            let _ = reply.send(Err(DialError::Failed(reason.to_owned())));
        }
        if peer.has_greeted {
            self.tell(Event::Left { peer: id });
        }
    }

    /// Leaves each peer one connection: each holds memory, and a relay's room is small, and for those who have no other way.
    pub(super) fn leave_others(&mut self, now: Instant) {
        let me = self.peer();
        for (id, peer) in &self.peers {
            for connection in peer.outlived(me < *id, now) {
                tracing::info!(peer = %id, "a connection is left for another one to the same peer");
                self.swarm.close_connection(connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_outlives_a_much_older_one_is_another_session() {
        let (began, later) = (Instant::now(), |ms| Instant::now() + Duration::from_millis(ms));
        assert!(is_another_session(began, [later(5000), later(9000)].into_iter()));
        assert!(!is_another_session(began, [later(500)].into_iter()), "both dialled, over a slow line");
        assert!(
            !is_another_session(began, [later(5000), began].into_iter()),
            "one of the first moment goes on"
        );
        assert!(!is_another_session(later(5000), [began].into_iter()), "the later one closed");
    }

    #[test]
    fn a_direct_connection_counts_and_takes_the_place_of_a_relayed_one_after_a_while() {
        let begin = Instant::now();
        let (ids, mut peer) = peer_with(&[(Transport::Relayed, Direction::Outbound, begin)]);
        let late = begin + Duration::from_secs(1000);
        assert_eq!(peer.best().transport, Transport::Relayed);
        assert!(peer.outlived(true, late).is_empty(), "there is no other");
        let direct = connection(Transport::Tcp, Direction::Inbound, begin + Duration::from_secs(100));
        peer.connections.insert(ids[1], direct);
        assert_eq!(peer.best().transport, Transport::Tcp);
        let after = |seconds| peer.outlived(true, begin + Duration::from_secs(seconds));
        assert!(after(105).is_empty(), "the peer may not have it yet");
        assert_eq!(after(116), [ids[0]]);
    }

    #[test]
    fn of_two_connections_both_ends_keep_the_same() {
        use Direction::{Inbound, Outbound};
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        // Two that dialled each other: each end saw its own dial through first.
        let (ids, smaller) =
            peer_with(&[(Transport::Tcp, Outbound, after(0)), (Transport::Tcp, Inbound, after(700))]);
        let (_, larger) =
            peer_with(&[(Transport::Tcp, Inbound, after(600)), (Transport::Tcp, Outbound, after(10))]);
        let late = after(60_000);
        assert_eq!(
            (smaller.outlived(true, late), larger.outlived(false, late)),
            (vec![ids[1]], vec![ids[1]])
        );
        assert!(smaller.outlived(true, after(10_000)).is_empty(), "what was asked there is to be answered");
        // One that came much later, whoever dialled it.
        for is_smaller in [true, false] {
            let (ids, peer) =
                peer_with(&[(Transport::Tcp, Inbound, after(0)), (Transport::Quic, Inbound, after(5000))]);
            assert_eq!(peer.outlived(is_smaller, late), [ids[1]]);
        }
    }

    fn connection(transport: Transport, direction: Direction, since: Instant) -> Connection {
        Connection { address: "/ip4/192.0.2.1/tcp/1".parse().unwrap(), direction, transport, since }
    }

    fn peer_with(connections: &[(Transport, Direction, Instant)]) -> (Vec<ConnectionId>, Peer) {
        let ids: Vec<ConnectionId> = (0..3).map(ConnectionId::new_unchecked).collect();
        let made = connections
            .iter()
            .map(|(transport, direction, since)| connection(*transport, *direction, *since));
        let peer = Peer {
            connections: ids.iter().copied().zip(made).collect(),
            since: Instant::now(),
            latency: None,
            agent: String::new(),
            praise: 0.0,
            count: Arc::default(),
            has_greeted: true,
            waiting: Vec::new(),
        };
        (ids, peer)
    }
}
