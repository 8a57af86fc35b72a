//! What happens on the network, one short answer to each.

use std::time::Instant;

use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryResult};
use libp2p::swarm::{self, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, mdns, ping, relay, upnp};

use super::asked::Channel;
use super::connections::Peer;
use super::peers::reason_of;
use super::{Line, Task, now_ms};
use crate::behaviour::{BehaviourEvent, KADEMLIA_PROTOCOL};
use crate::dial::is_dialable;
use crate::metrics::Judged;
use crate::near::fits;
use crate::score::Offence;
use crate::twin::End;
use crate::verdict::Verdict;
use crate::{DialError, Event, Request, Response};

/// Addresses of a peer that are taken over from what it says about itself.
const MAX_IDENTIFIED: usize = 16;

impl Task {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.pending.remove(&connection_id);
                self.on_connected(peer_id, connection_id, &endpoint);
                if let Some((reply, _)) = self.dialling.remove(&connection_id) {
                    self.on_dialled(peer_id, reply);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.on_disconnected(peer_id, connection_id);
            }
            SwarmEvent::IncomingConnectionError {
                error: ListenError::LocalPeerId { .. },
                local_addr,
                ..
            } if is_quic(&local_addr) => self.ends.lock().met(End::Came, Instant::now()),
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                let is_myself = self.is_myself(&error);
                if is_myself && dialled_over_quic(&error) {
                    self.ends.lock().met(End::Dialled, Instant::now());
                }
                let pending = self.pending.remove(&connection_id);
                if let Some(peer) = peer_id.or(pending) {
                    self.book.failed(&peer, Instant::now());
                }
                if let Some((reply, _)) = self.dialling.remove(&connection_id) {
                    // Whoever asked has gone.
                    let failed = || DialError::Failed(reason_of(&error));
                    let _ = reply.send(Err(if is_myself { DialError::Myself } else { failed() }));
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if address.iter().any(|part| part == libp2p::multiaddr::Protocol::P2pCircuit) {
                    self.relays.insert(address.clone());
                }
                self.listening.insert(address);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.relays.remove(&address);
                self.swarm.remove_external_address(&address);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::warn!(%error, "a listener closed");
                }
                for address in addresses {
                    self.listening.remove(&address);
                    self.relays.remove(&address);
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::debug!(%error, "a listener failed for a moment")
            }
            _ => {}
        }
    }

    /// Whether a dial led to this node's own id, whoever was looked for.
    fn is_myself(&self, error: &swarm::DialError) -> bool {
        match error {
            swarm::DialError::LocalPeerId { .. } => true,
            swarm::DialError::WrongPeerId { obtained, .. } => *obtained == self.peer(),
            _ => false,
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Sync(event) => {
                self.on_question(Line::Sync, event, Request::Sync, Response::Sync, Channel::Sync);
            }
            BehaviourEvent::Fetch(event) => {
                self.on_question(Line::Fetch, event, Request::Fetch, Response::Fetch, Channel::Fetch);
            }
            BehaviourEvent::Search(event) => {
                self.on_question(Line::Search, event, Request::Search, Response::Search, Channel::Search);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            // Other programs need not speak it.
            BehaviourEvent::Ping(ping::Event { result: Err(ping::Failure::Unsupported), .. }) => {}
            BehaviourEvent::Ping(event) => self.on_ping(event.peer, event.result.ok()),
            BehaviourEvent::Kademlia(event) => self.on_kademlia(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                let now = Instant::now();
                for (peer, address) in found {
                    self.near.vouch(&address);
                    self.book.add(peer, address, now);
                }
                self.dial_some(now);
            }
            BehaviourEvent::Upnp(event) => self.on_upnp(event),
            BehaviourEvent::AutonatClient(event) => {
                let tested = event.tested_addr;
                self.tested = match event.result {
                    Ok(()) => None,
                    Err(error) => Some(format!("peer {} could not reach {tested}: {error}", event.server)),
                };
            }
            BehaviourEvent::RelayServer(event) => tracing::debug!(?event, "what this node relays"),
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                ..
            }) => {
                tracing::info!(relay = %relay_peer_id, "this node can be reached through a relay");
            }
            _ => {}
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let topic = message.topic.as_str();
                let verdict =
                    self.judge.judge(propagation_source, topic, &message.data, Instant::now(), now_ms());
                let (acceptance, label) = match &verdict {
                    Verdict::Accept(_) => (MessageAcceptance::Accept, "accepted"),
                    Verdict::Keep(_) => (MessageAcceptance::Ignore, "accepted"),
                    Verdict::Ignore(_) => (MessageAcceptance::Ignore, "ignored"),
                    Verdict::Reject(_) => (MessageAcceptance::Reject, "rejected"),
                };
                self.metrics.messages.get_or_create(&Judged { verdict: label }).inc();
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
                match verdict {
                    Verdict::Accept(announcement) | Verdict::Keep(announcement) => {
                        if !self.tell(Event::Announced { from: propagation_source, announcement }) {
                            self.metrics.dropped_announcements.inc();
                        }
                    }
                    Verdict::Ignore(Some(offence)) | Verdict::Reject(offence) => {
                        if offence == Offence::Flood {
                            self.silence(propagation_source);
                        }
                        self.offended(propagation_source, offence);
                    }
                    Verdict::Ignore(None) => {}
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if let Some(topic) = self.topics.get(topic.as_str()).cloned() {
                    self.tell(Event::Shares { peer: peer_id, topic });
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => tracing::debug!(peer = %peer_id, "a peer is slow"),
            _ => {}
        }
    }

    /// A peer said who it is and where it listens.
    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let now = Instant::now();
        if let Some(known) = self.peers.get_mut(&peer) {
            known.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(64).collect();
        }
        self.on_greeted(peer);
        self.was_seen_at(&info.observed_addr);
        let relays = info.protocols.contains(&relay::HOP_PROTOCOL_NAME);
        let serves = info.protocols.iter().any(|protocol| protocol.as_ref() == KADEMLIA_PROTOCOL);
        let remote = self.peers.get(&peer).map(Peer::best).filter(|best| !best.is_relayed());
        let remote = remote.map_or_else(Multiaddr::empty, |best| best.address.clone());
        let told = info.listen_addrs.into_iter().filter(|told| is_dialable(told) && fits(told, &remote));
        for address in told.take(MAX_IDENTIFIED) {
            self.book.add(peer, address.clone(), now);
            if serves {
                self.swarm.behaviour_mut().kademlia.add_address(&peer, address);
            }
        }
        if relays {
            self.consider_relay(peer);
        }
    }

    /// Somebody says where a peer is: bait is left alone.
    fn heard_of(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        if self.near.allows(&address) {
            self.book.add(peer, address, now);
        }
    }

    fn on_kademlia(&mut self, event: kad::Event) {
        let now = Instant::now();
        match event {
            kad::Event::RoutingUpdated { peer, is_new_peer, addresses, .. } => {
                for address in addresses.iter() {
                    self.heard_of(peer, address.clone(), now);
                }
                if is_new_peer && self.swarm.behaviour_mut().kademlia.kbuckets().count() == 1 {
                    // The first one: what could be told to nobody before is told now.
                    let topics: Vec<_> = self.topics.values().cloned().collect();
                    topics.iter().for_each(|topic| self.provide(topic));
                }
            }
            kad::Event::RoutablePeer { peer, address }
            | kad::Event::PendingRoutablePeer { peer, address } => {
                self.heard_of(peer, address, now);
            }
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                // The store holds so many and refuses more, which is nobody's fault.
                let _ = kad::store::RecordStore::add_provider(
                    self.swarm.behaviour_mut().kademlia.store_mut(),
                    record,
                );
            }
            kad::Event::OutboundQueryProgressed {
                result: QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
                ..
            } => {
                for provider in providers {
                    if provider != self.peer() && !self.peers.contains_key(&provider) {
                        // Where it is, the routing table knows or Kademlia finds out.
                        self.swarm.behaviour_mut().kademlia.get_closest_peers(provider);
                    }
                }
            }
            kad::Event::OutboundQueryProgressed {
                result: QueryResult::GetClosestPeers(Ok(found)), ..
            } => {
                for peer in found.peers {
                    for address in peer.addrs {
                        self.heard_of(peer.peer_id, address, now);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_upnp(&mut self, event: upnp::Event) {
        self.upnp = Some(match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => Ok(external_addr),
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
                Err(format!("the router no longer forwards {external_addr}"))
            }
            upnp::Event::GatewayNotFound => Err("no router that forwards ports was found".to_owned()),
            upnp::Event::NonRoutableGateway => Err("the router has no public address itself".to_owned()),
        });
    }
}

/// Over QUIC encryption and connection are one, and the swarm is the first to know who is there.
fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == libp2p::multiaddr::Protocol::QuicV1)
}

fn dialled_over_quic(error: &swarm::DialError) -> bool {
    match error {
        swarm::DialError::LocalPeerId { address } | swarm::DialError::WrongPeerId { address, .. } => {
            is_quic(address)
        }
        _ => false,
    }
}
