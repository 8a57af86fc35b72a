//! The peers: who is connected, how good they are, who is dialled next, who has to go.

use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, kad};
use synapsenet_proto::Topic;

use super::connections::Peer;
use super::{DialReply, Task};
use crate::behaviour::gossip_topic;
use crate::dial::{is_dialable, split};
use crate::meter::PROTOCOLS;
use crate::metrics::{BY_HAND, Reason, Way};
use crate::place::ip_of;
use crate::score::Offence;
use crate::{DialError, Direction, Event, NetStatus, PeerStatus};

/// Peers that this node looks for by itself, whoever dialled; the other seats are for those who come. Gossipsub is content
/// with 6 to 12 for a topic.
const MAX_LOOKED_FOR: usize = 12;
/// Of the seats, so many may be taken by peers that this node dialled.
const OUTBOUND_SHARE: (usize, usize) = (2, 3);
/// Peers that are dialled first after the next start ...
const MAX_ANCHORS: usize = 4;
/// ... once they have been connected so long.
const ANCHOR_AFTER: Duration = Duration::from_secs(60);
/// Dials at the same time.
const MAX_DIALLING: usize = 8;
/// Relays on which this node wants a place: one may go.
const MAX_RELAYS: usize = 2;
/// A grain that was new is worth so much in a peer's score ...
const PRAISE: f64 = 0.01;
/// ... up to this.
const MAX_PRAISE: f64 = 20.0;

/// Whether an address leads to its node without a relay.
fn is_direct(address: &Multiaddr) -> bool {
    !address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Why a dial failed: what the system or the peer said, without the layers that passed it on.
pub(super) fn reason_of(error: &libp2p::swarm::DialError) -> String {
    let innermost = match error {
        libp2p::swarm::DialError::Transport(failures) => failures.last().map(|(_, error)| {
            let error: &dyn std::error::Error = error;
            let sources = std::iter::successors(Some(error), |error| error.source());
            sources.last().map(ToString::to_string).unwrap_or_default()
        }),
        _ => None,
    };
    let text = innermost.unwrap_or_else(|| error.to_string());
    // Each layer repeats what the one below it said.
    let last = text.lines().last().unwrap_or_default().trim_start_matches([' ', '-']);
    let mut parts: Vec<_> = last.split(": ").filter(|part| !part.is_empty()).collect();
    parts.dedup();
    parts.join(": ")
}

impl Task {
    /// Somebody connected to this address: it can be reached, at least from where that peer is.
    pub(super) fn was_reached(&mut self, local: &Multiaddr) {
        if is_direct(local)
            && is_dialable(local)
            && !self.swarm.external_addresses().any(|known| known == local)
        {
            self.swarm.add_external_address(local.clone());
        }
    }

    /// A peer sees this node at this address. When that is one of its own, no router translates between them, so the node
    /// can be reached where it listens, at least in that network. A firewall in between is found out by AutoNAT.
    pub(super) fn was_seen_at(&mut self, observed: &Multiaddr) {
        let Some(ip) = ip_of(observed) else { return };
        let own: Vec<Multiaddr> =
            self.listening.iter().filter(|address| ip_of(address) == Some(ip)).cloned().collect();
        own.iter().for_each(|address| self.was_reached(address));
    }

    fn is_reached_directly(&self) -> bool {
        self.swarm.external_addresses().any(is_direct)
    }

    /// Asks a peer that relays for others for a place, unless this node is reached directly or has places enough.
    pub(super) fn consider_relay(&mut self, peer: PeerId) {
        if self.is_reached_directly() || !self.config.relay_client || self.reserved_at.len() >= MAX_RELAYS {
            return;
        }
        let Some(address) = self.book.addresses(&peer).into_iter().find(is_direct) else { return };
        if !self.reserved_at.insert(peer) {
            return;
        }
        let circuit = address.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
        if let Err(error) = self.swarm.listen_on(circuit) {
            tracing::debug!(relay = %peer, %error, "a place at a relay cannot be asked for");
        }
    }

    /// A ping came back after this time, or twice in a row not at all. Behind a line that was cut a connection seems to live
    /// on for minutes, and nobody is dialled who seems to be there.
    pub(super) fn on_ping(&mut self, id: PeerId, time: Option<Duration>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if time.is_some() {
            peer.latency = time;
            return;
        }
        tracing::debug!(peer = %id, "a peer does not answer pings any more");
        self.disconnect(&id);
    }

    /// Closes every connection to a peer.
    pub(super) fn disconnect(&mut self, peer: &PeerId) {
        // An error means that there is none.
        let _ = self.swarm.disconnect_peer_id(*peer);
    }

    /// Hears no more announcements of a peer that is over its rate, until the next tick. What gossipsub hands over it
    /// remembers, so a peer over its rate could otherwise keep out what others send, by sending it first.
    pub(super) fn silence(&mut self, peer: PeerId) {
        if self.peers.contains_key(&peer) && self.silenced.insert(peer) {
            self.swarm.behaviour_mut().gossip.blacklist_peer(&peer);
        }
    }

    /// Listens to everybody again.
    pub(super) fn hear_again(&mut self) {
        for peer in std::mem::take(&mut self.silenced) {
            self.swarm.behaviour_mut().gossip.remove_blacklisted_peer(&peer);
        }
    }

    /// Something was out of order about what a peer sent.
    pub(super) fn offended(&mut self, id: PeerId, offence: Offence) {
        self.metrics.offences.get_or_create(&Reason { reason: offence.label() }).inc();
        let is_enough = self.penalties.add(id, offence, Instant::now());
        if is_enough && !self.swarm.behaviour().gate.is_reserved(&id) {
            tracing::warn!(peer = %id, offence = offence.label(), "a peer is banned for what it did");
            self.bans.offended(id, offence, Instant::now());
            self.metrics.bans.get_or_create(&Reason { reason: offence.label() }).inc();
            self.apply_bans();
            self.tell(Event::Banned { peer: id });
        }
    }

    pub(super) fn praise(&mut self, peer: &PeerId, grains: usize) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.praise = (peer.praise + grains as f64 * PRAISE).min(MAX_PRAISE);
        }
    }

    pub(super) fn ban_by_hand(&mut self, peer: PeerId, time: Option<Duration>) {
        self.bans.by_hand(peer, time, Instant::now());
        self.metrics.bans.get_or_create(&Reason { reason: BY_HAND }).inc();
        self.apply_bans();
    }

    pub(super) fn unban(&mut self, peer: &PeerId) -> bool {
        let was_banned = self.bans.lift(peer);
        self.apply_bans();
        was_banned
    }

    /// Tells the gate who is banned now, and closes their connections.
    pub(super) fn apply_bans(&mut self) {
        let banned = self.bans.banned(Instant::now());
        for peer in &banned {
            if self.swarm.is_connected(peer) {
                self.disconnect(peer);
            }
        }
        self.swarm.behaviour_mut().gate.set_banned(banned);
    }

    /// Tells gossipsub and the gate what is thought of each peer.
    pub(super) fn publish_scores(&mut self, now: Instant) {
        for (id, peer) in &self.peers {
            let worth = peer.praise - self.penalties.of(id, now);
            let behaviour = self.swarm.behaviour_mut();
            behaviour.gossip.set_application_score(id, worth);
            behaviour.gate.set_worth(id, worth);
        }
    }

    /// Brings the counters of bytes up to date.
    pub(super) fn count_traffic(&mut self) {
        for (protocol, traffic) in PROTOCOLS.iter().zip(self.meter.all.by_protocol()) {
            for (direction, bytes) in [("sent", traffic.sent), ("received", traffic.received)] {
                let counter = self.metrics.bytes.get_or_create(&Way { protocol, direction });
                counter.inc_by(bytes.saturating_sub(counter.get()));
            }
        }
        let refused = self.swarm.behaviour().gate.refused();
        self.metrics.refused_connections.inc_by(refused - self.counted_refused);
        self.counted_refused = refused;
    }

    /// Dials whom the book knows while too few peers are here, or too few that this node chose itself: those who come may
    /// all be one stranger's.
    pub(super) fn dial_some(&mut self, now: Instant) {
        let connected = self.peers.len();
        let pending: std::collections::HashSet<PeerId> = self.pending.values().copied().collect();
        let gate = &self.swarm.behaviour().gate;
        let is_free = |peer: &PeerId| {
            !self.peers.contains_key(peer) && !pending.contains(peer) && gate.is_welcome(peer)
        };
        let mut due = self.book.reserved_due(now, is_free);
        let wanted = MAX_LOOKED_FOR.min((self.config.max_peers * OUTBOUND_SHARE.0 / OUTBOUND_SHARE.1).max(1));
        let missing = wanted
            .saturating_sub(connected)
            .max(gate.outbound_seats().saturating_sub(gate.outbound() + pending.len()));
        let is_wanting = missing > 0 && gate.free_seats() > pending.len();
        if is_wanting {
            let room = missing.min(MAX_DIALLING.saturating_sub(pending.len()));
            due.extend(self.book.due(room, now, &gate.outbound_groups(), is_free));
            due.sort();
            due.dedup();
        }
        for peer in due {
            self.dial_known(peer, now);
        }
        let is_alone = connected < wanted.min(3) || self.swarm.behaviour().gate.outbound() == 0;
        if is_wanting && is_alone {
            for address in self.book.bootstrap_due(now) {
                // A failure comes as an event, or is of no interest: the next try is scheduled already.
                let _ = self.swarm.dial(DialOpts::unknown_peer_id().address(address).build());
            }
        }
    }

    fn dial_known(&mut self, peer: PeerId, now: Instant) {
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.book.addresses(&peer))
            .build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.pending.insert(connection, peer)),
            Err(_) => self.book.failed(&peer, now),
        }
    }

    /// Dials an address because somebody asks for it.
    pub(super) fn dial(&mut self, address: Multiaddr, reply: DialReply) {
        let now = Instant::now();
        let (plain, peer) = split(&address);
        let gate = &self.swarm.behaviour().gate;
        let refused = match peer {
            Some(peer) if peer == self.peer() => Some(DialError::Myself),
            Some(peer) if !gate.is_welcome(&peer) => Some(DialError::Forbidden(peer)),
            Some(peer) if self.peers.contains_key(&peer) => return self.on_dialled(peer, reply),
            _ if !is_dialable(&plain) => Some(DialError::BadAddress(address.clone())),
            _ if gate.free_seats() == 0 => Some(DialError::Full),
            _ => None,
        };
        if let Some(error) = refused {
            // Whoever asked has gone.
            let _ = reply.send(Err(error));
            return;
        }
        let options = match peer {
            Some(peer) => {
                self.book.add(peer, plain.clone(), now);
                DialOpts::peer_id(peer).addresses(vec![plain]).condition(PeerCondition::Always).build()
            }
            None => DialOpts::unknown_peer_id().address(plain).build(),
        };
        // Whoever asks for it knows who is there.
        self.near.vouch(&address);
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dialling.insert(connection, (reply, peer))),
            // As above.
            Err(error) => drop(reply.send(Err(DialError::Failed(reason_of(&error))))),
        }
    }

    /// The peers that this node chose and knows as good: dialled first after the next start, so that whoever surrounds a node
    /// once does not keep it for that.
    pub(super) fn anchors(&self, now: Instant) -> Vec<PeerId> {
        let is_good = |(id, peer): &(&PeerId, &Peer)| {
            let best = peer.best();
            let is_old = now.saturating_duration_since(peer.since) >= ANCHOR_AFTER;
            is_old
                && best.direction == Direction::Outbound
                && !best.is_relayed()
                && self.penalties.of(id, now) < 1.0
        };
        let mut good: Vec<(&PeerId, &Peer)> = self.peers.iter().filter(is_good).collect();
        good.sort_by(|a, b| b.1.praise.total_cmp(&a.1.praise).then(a.1.since.cmp(&b.1.since)));
        good.into_iter().take(MAX_ANCHORS).map(|(id, _)| *id).collect()
    }

    /// Forgets a peer. True when it was known.
    pub(super) fn remove(&mut self, peer: &PeerId) -> bool {
        let is_connected = self.peers.contains_key(peer);
        self.swarm.behaviour_mut().kademlia.remove_peer(peer);
        self.disconnect(peer);
        self.book.remove(peer) || is_connected
    }

    /// The connected peers of a topic, best first.
    pub(super) fn peers_of(&self, topic: &Topic) -> Vec<PeerId> {
        let hash = gossip_topic(topic).hash();
        let now = Instant::now();
        let gossip = &self.swarm.behaviour().gossip;
        let mut peers: Vec<(PeerId, &Peer)> = gossip
            .all_peers()
            .filter(|(_, topics)| topics.contains(&&hash))
            .filter_map(|(id, _)| Some((*id, self.peers.get(id)?)))
            .collect();
        let worth = |(id, peer): &(PeerId, &Peer)| peer.praise - self.penalties.of(id, now);
        peers.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then(a.1.latency.cmp(&b.1.latency)));
        peers.into_iter().map(|(id, _)| id).collect()
    }

    /// Tells the application about the peers that serve a topic which was subscribed to just now.
    pub(super) fn tell_shared(&mut self, topic: &Topic) {
        for peer in self.peers_of(topic) {
            self.tell(Event::Shares { peer, topic: topic.clone() });
        }
    }

    pub(super) fn peer_statuses(&self) -> Vec<PeerStatus> {
        let now = Instant::now();
        let behaviour = self.swarm.behaviour();
        let mut topics: std::collections::HashMap<PeerId, Vec<Topic>> = behaviour
            .gossip
            .all_peers()
            .map(|(id, topics)| {
                (*id, topics.iter().filter_map(|name| Topic::new(name.as_str()).ok()).collect())
            })
            .collect();
        let status = |(id, peer): (&PeerId, &Peer)| PeerStatus {
            peer: *id,
            address: peer.best().address.clone(),
            direction: peer.best().direction,
            transport: peer.best().transport,
            latency: peer.latency,
            score: behaviour.gossip.peer_score(id).unwrap_or(0.0),
            topics: topics.remove(id).unwrap_or_default(),
            traffic: peer.count.sum(),
            connected: now.saturating_duration_since(peer.since),
            agent: peer.agent.clone(),
            visiting: behaviour.gate.is_visiting(id),
            reserved: behaviour.gate.is_reserved(id),
            connections: peer.connections.len(),
        };
        let mut peers: Vec<PeerStatus> = self.peers.iter().map(status).collect();
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.connected));
        peers
    }

    pub(super) fn status(&mut self) -> NetStatus {
        let topics: Vec<Topic> = self.topics.values().cloned().collect();
        let topics = topics.into_iter().map(|topic| (topic.clone(), self.peers_of(&topic).len())).collect();
        let external: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        let (reachable, reachability) = match (&self.tested, self.is_reached_directly()) {
            (_, true) => {
                (Some(true), "a peer or a test reached this node at its external addresses".to_owned())
            }
            (_, false) if !self.relays.is_empty() => {
                (Some(false), "nobody reached this node directly; peers reach it through a relay".to_owned())
            }
            (Some(failure), false) => (Some(false), failure.clone()),
            (None, false) => (None, "nobody has reached this node yet".to_owned()),
        };
        let routing_peers =
            self.swarm.behaviour_mut().kademlia.kbuckets().map(|bucket| bucket.num_entries()).sum();
        NetStatus {
            peer: self.peer(),
            listening: self.listening.iter().cloned().collect(),
            external,
            reachable,
            reachability,
            serves_kademlia: self.swarm.behaviour().kademlia.mode() == kad::Mode::Server,
            routing_peers,
            relays: self.relays.iter().cloned().collect(),
            upnp: self.upnp.clone(),
            peers: self.peers.len(),
            max_peers: self.config.max_peers,
            known_peers: self.book.len(),
            traffic: self.meter.all.by_protocol(),
            topics,
            warnings: self.warnings(),
        }
    }
}
