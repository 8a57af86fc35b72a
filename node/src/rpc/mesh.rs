//! The calls that control the mesh side of the node.

use std::collections::BTreeMap;
use std::time::Duration;

use synapsenet_net::{DialError, Direction, Multiaddr, NetError, PROTOCOLS, PeerId, PeerStatus, Transport};
use synapsenet_proto::Topic;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::mesh_service_server::MeshService;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response};

use super::status::{CallError, invalid, status_of};
use super::{Api, PROGRESS_QUEUE, Reply, ReplyStream};
use crate::memory::events::Happening;
use crate::mesh::sync::{SyncProgress, SyncState};
use crate::mesh::{Mesh, MeshError};

/// Longer bans are for ever.
const MAX_BAN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Api {
    pub(super) fn mesh(&self) -> Result<&Mesh, CallError> {
        self.parts.mesh.as_ref().ok_or(CallError::Offline)
    }
}

#[tonic::async_trait]
impl MeshService for Api {
    async fn list_peers(&self, request: Request<rpc::ListPeersRequest>) -> Reply<rpc::ListPeersResponse> {
        let _permit = self.admit()?;
        let request = request.into_inner();
        let net = &self.mesh().map_err(status_of)?.net;
        let list = async {
            let mut response = rpc::ListPeersResponse {
                peers: net.peers().await?.into_iter().map(peer_message).collect(),
                ..Default::default()
            };
            if request.with_known {
                let known = net.known().await?.into_iter();
                response.known = known
                    .map(|known| rpc::KnownPeer {
                        peer_id: known.peer,
                        addresses: known.addresses,
                        last_seen_ms: known.last_seen_ms,
                    })
                    .collect();
            }
            if request.with_banned {
                let bans = net.bans().await?.into_iter();
                response.banned = bans
                    .map(|ban| rpc::BannedPeer {
                        peer_id: ban.peer,
                        until_ms: ban.until_ms,
                        times: ban.times,
                        reason: ban.reason,
                    })
                    .collect();
            }
            Ok::<_, NetError>(response)
        };
        Ok(Response::new(list.await.map_err(stopping)?))
    }

    async fn add_peer(&self, request: Request<rpc::AddPeerRequest>) -> Reply<rpc::AddPeerResponse> {
        let _permit = self.admit()?;
        let net = &self.mesh().map_err(status_of)?.net;
        let text = request.into_inner().address;
        let address = text.parse::<Multiaddr>().map_err(|error| {
            let like = "/ip4/192.168.1.20/tcp/7716";
            status_of(invalid(format!("{text:?} is no multiaddress ({error}); write it like {like}")))
        })?;
        if address.is_empty() {
            return Err(status_of(invalid(
                "no multiaddress is given; write it like /ip4/192.168.1.20/tcp/7716",
            )));
        }
        let peer = net.dial(address).await.map_err(|error| {
            status_of(match error {
                DialError::BadAddress(_) | DialError::Myself => invalid(error.to_string()),
                DialError::Forbidden(_) | DialError::Failed(_) => CallError::Refused(error.to_string()),
                DialError::Full => CallError::Busy(error.to_string()),
                DialError::Stopped => MeshError::from(NetError::Stopped).into(),
            })
        })?;
        Ok(Response::new(rpc::AddPeerResponse { peer_id: peer.to_string() }))
    }

    async fn remove_peer(&self, request: Request<rpc::RemovePeerRequest>) -> Reply<rpc::RemovePeerResponse> {
        let _permit = self.admit()?;
        let net = &self.mesh().map_err(status_of)?.net;
        let peer = read_peer(&request.into_inner().peer_id)?;
        if !net.remove(peer).await.map_err(stopping)? {
            return Err(status_of(CallError::NotFound(format!("no peer {peer} is known here"))));
        }
        Ok(Response::new(rpc::RemovePeerResponse {}))
    }

    async fn ban_peer(&self, request: Request<rpc::BanPeerRequest>) -> Reply<rpc::BanPeerResponse> {
        let _permit = self.admit()?;
        let mesh = self.mesh().map_err(status_of)?;
        let rpc::BanPeerRequest { peer_id, seconds } = request.into_inner();
        let peer = read_peer(&peer_id)?;
        if peer == mesh.net.peer() {
            return Err(status_of(invalid("that is this node itself")));
        }
        if seconds == Some(0) {
            return Err(status_of(invalid("a ban lasts at least one second")));
        }
        let time = seconds.map(Duration::from_secs).filter(|time| *time < MAX_BAN);
        mesh.net.ban(peer, time).await.map_err(stopping)?;
        mesh.save().await.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::BanPeerResponse {}))
    }

    async fn unban_peer(&self, request: Request<rpc::UnbanPeerRequest>) -> Reply<rpc::UnbanPeerResponse> {
        let _permit = self.admit()?;
        let mesh = self.mesh().map_err(status_of)?;
        let peer = read_peer(&request.into_inner().peer_id)?;
        if !mesh.net.unban(peer).await.map_err(stopping)? {
            return Err(status_of(CallError::NotFound(format!("peer {peer} is not banned"))));
        }
        mesh.save().await.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::UnbanPeerResponse {}))
    }

    async fn list_topics(&self, _: Request<rpc::ListTopicsRequest>) -> Reply<rpc::ListTopicsResponse> {
        let _permit = self.admit()?;
        let mesh = self.mesh().map_err(status_of)?;
        let status = mesh.net.status().await.map_err(stopping)?;
        let stored = self.read(|_, view| Ok(view.topics()?)).await?;
        let mut topics: BTreeMap<String, rpc::MeshTopic> = BTreeMap::new();
        for (topic, grains) in stored {
            topics.entry(topic.to_string()).or_default().grains = grains;
        }
        for topic in mesh.topics() {
            topics.entry(topic.to_string()).or_default().joined = true;
        }
        for (topic, peers) in status.topics {
            topics.entry(topic.to_string()).or_default().peers = peers as u32;
        }
        let named = |(topic, state)| rpc::MeshTopic { topic, ..state };
        Ok(Response::new(rpc::ListTopicsResponse { topics: topics.into_iter().map(named).collect() }))
    }

    async fn join_topic(&self, request: Request<rpc::JoinTopicRequest>) -> Reply<rpc::JoinTopicResponse> {
        let _permit = self.admit()?;
        let mesh = self.mesh().map_err(status_of)?;
        let topic = read_topic(request.into_inner().topic)?;
        let changed = mesh.subscribe(topic).await.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::JoinTopicResponse { changed }))
    }

    async fn leave_topic(&self, request: Request<rpc::LeaveTopicRequest>) -> Reply<rpc::LeaveTopicResponse> {
        let _permit = self.admit()?;
        let mesh = self.mesh().map_err(status_of)?;
        let topic = read_topic(request.into_inner().topic)?;
        let changed = mesh.unsubscribe(topic).await.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::LeaveTopicResponse { changed }))
    }

    type SyncNowStream = ReplyStream<rpc::SyncNowResponse>;

    async fn sync_now(&self, request: Request<rpc::SyncNowRequest>) -> Reply<Self::SyncNowStream> {
        use rpc::sync_now_response::Item;
        let permit = self.admit()?;
        let mesh = self.mesh().map_err(status_of)?.clone();
        let topic = match request.into_inner().topic {
            topic if topic.is_empty() => None,
            topic => Some(read_topic(topic)?),
        };
        if let Some(topic) = topic.as_ref().filter(|topic| !mesh.topics().contains(topic)) {
            let reason = format!("this node takes no part in the topic {topic}: join it first");
            return Err(status_of(CallError::Refused(reason)));
        }
        let mut events = self.parts.events.listen();
        let (sender, messages) = mpsc::channel(PROGRESS_QUEUE);
        tokio::spawn(async move {
            let _permit = permit;
            let message = |item| Ok(rpc::SyncNowResponse { item: Some(item) });
            let done = mesh.sync.now(topic.clone());
            tokio::pin!(done);
            let ended = loop {
                tokio::select! {
                    ended = &mut done => break ended,
                    () = sender.closed() => return,
                    event = events.recv() => match event {
                        Ok(Happening::Sync(progress)) if topic.as_ref().is_none_or(|topic| *topic == progress.topic) => {
                            // A slow client misses some progress.
                            let _ = sender.try_send(message(Item::Progress(sync_message(&progress))));
                        }
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    },
                }
            };
            let ended = ended.iter().map(sync_message).collect();
            // A client that hung up no longer wants to know.
            let _ = sender.send(message(Item::Summary(rpc::SyncSummary { ended }))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn get_net_status(&self, _: Request<rpc::GetNetStatusRequest>) -> Reply<rpc::GetNetStatusResponse> {
        let _permit = self.admit()?;
        let net = &self.mesh().map_err(status_of)?.net;
        let status = net.status().await.map_err(stopping)?;
        let texts = |addresses: Vec<Multiaddr>| addresses.iter().map(ToString::to_string).collect();
        let traffic = PROTOCOLS.iter().zip(&status.traffic);
        Ok(Response::new(rpc::GetNetStatusResponse {
            peer_id: status.peer.to_string(),
            listening: texts(status.listening),
            external: texts(status.external),
            reachable: status.reachable,
            reachability: status.reachability,
            serves_kademlia: status.serves_kademlia,
            routing_peers: status.routing_peers as u32,
            relays: texts(status.relays),
            upnp: match status.upnp {
                Some(Ok(address)) => address.to_string(),
                Some(Err(reason)) => reason,
                None => String::new(),
            },
            peers: status.peers as u32,
            max_peers: status.max_peers as u32,
            known_peers: status.known_peers as u32,
            traffic: traffic
                .map(|(protocol, traffic)| rpc::ProtocolTraffic {
                    protocol: (*protocol).to_owned(),
                    traffic: Some(traffic_message(traffic)),
                })
                .collect(),
        }))
    }
}

/// A synchronisation as a client sees it.
pub(super) fn sync_message(progress: &SyncProgress) -> rpc::SyncProgress {
    let (state, reason) = match &progress.state {
        _ if progress.quota_reached => (rpc::SyncState::Quota, ""),
        SyncState::Running => (rpc::SyncState::Running, ""),
        SyncState::Done => (rpc::SyncState::Done, ""),
        SyncState::Failed(reason) => (rpc::SyncState::Failed, reason.as_str()),
    };
    rpc::SyncProgress {
        topic: progress.topic.to_string(),
        peer_id: progress.peer.to_string(),
        state: state.into(),
        reason: reason.to_owned(),
        missing: progress.missing,
        fetched: progress.fetched,
        refused: progress.refused,
        with_claim: progress.with_claim,
        round_trips: progress.round_trips,
        traffic: Some(rpc::Traffic { sent: progress.bytes_sent, received: progress.bytes_received }),
        elapsed_ms: progress.elapsed.as_millis() as u64,
        comparison_bytes: progress.comparison_bytes,
        fetches: progress.fetches,
    }
}

fn peer_message(peer: PeerStatus) -> rpc::Peer {
    rpc::Peer {
        peer_id: peer.peer.to_string(),
        address: peer.address.to_string(),
        direction: match peer.direction {
            Direction::Inbound => rpc::Direction::Inbound.into(),
            Direction::Outbound => rpc::Direction::Outbound.into(),
        },
        transport: match peer.transport {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
            Transport::Relayed => "relayed",
            Transport::Other => "other",
        }
        .to_owned(),
        latency_us: peer.latency.map(|latency| latency.as_micros() as u64),
        score: peer.score,
        topics: peer.topics.iter().map(ToString::to_string).collect(),
        traffic: Some(traffic_message(&peer.traffic)),
        connected_ms: peer.connected.as_millis() as u64,
        agent: peer.agent,
        visiting: peer.visiting,
        reserved: peer.reserved,
    }
}

fn traffic_message(traffic: &synapsenet_net::Traffic) -> rpc::Traffic {
    rpc::Traffic { sent: traffic.sent, received: traffic.received }
}

fn read_peer(text: &str) -> Result<PeerId, tonic::Status> {
    text.parse().map_err(|_| {
        status_of(invalid(format!(
            "{text:?} is no peer id; it looks like 12D3KooW... and `peers` shows it whole"
        )))
    })
}

fn read_topic(text: String) -> Result<Topic, tonic::Status> {
    Topic::new(text).map_err(|refusal| status_of(refusal.into()))
}

fn stopping(error: NetError) -> tonic::Status {
    status_of(MeshError::from(error).into())
}
