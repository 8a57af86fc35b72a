//! The part of the door about the mesh.

use synapsenet_net::{Direction, Multiaddr, NetStatus, PROTOCOLS, PeerStatus, Transport};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::mesh_service_server::MeshService;
use synapsenet_storage::TopicPolicy;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response};

use super::convert::{sync_message, traffic_message};
use super::status::status_of;
use super::{Api, PROGRESS_QUEUE, Reply, ReplyStream};
use crate::calls::authors::read_author;
use crate::calls::error::invalid;
use crate::calls::{CallError, now_ms};

#[tonic::async_trait]
impl MeshService for Api {
    async fn list_peers(&self, request: Request<rpc::ListPeersRequest>) -> Reply<rpc::ListPeersResponse> {
        let call = self.begin(&request)?;
        let rpc::ListPeersRequest { with_known, with_banned } = request.into_inner();
        let peers = call.peers().await.map_err(status_of)?;
        let known = if with_known { call.known_peers().await.map_err(status_of)? } else { Vec::new() };
        let bans = if with_banned { call.bans().await.map_err(status_of)? } else { Vec::new() };
        Ok(Response::new(rpc::ListPeersResponse {
            peers: peers.into_iter().map(peer_message).collect(),
            known: known
                .into_iter()
                .map(|known| rpc::KnownPeer {
                    peer_id: known.peer,
                    addresses: known.addresses,
                    last_seen_ms: known.last_seen_ms,
                })
                .collect(),
            banned: bans
                .into_iter()
                .map(|ban| rpc::BannedPeer {
                    peer_id: ban.peer,
                    until_ms: ban.left_ms.map(|left| now_ms().saturating_add(left)),
                    times: ban.times,
                    reason: ban.reason,
                })
                .collect(),
        }))
    }

    async fn add_peer(&self, request: Request<rpc::AddPeerRequest>) -> Reply<rpc::AddPeerResponse> {
        let call = self.begin(&request)?;
        let peer = call.add_peer(&request.into_inner().address).await.map_err(status_of)?;
        Ok(Response::new(rpc::AddPeerResponse { peer_id: peer.to_string() }))
    }

    async fn remove_peer(&self, request: Request<rpc::RemovePeerRequest>) -> Reply<rpc::RemovePeerResponse> {
        let call = self.begin(&request)?;
        call.remove_peer(&request.into_inner().peer_id).await.map_err(status_of)?;
        Ok(Response::new(rpc::RemovePeerResponse {}))
    }

    async fn ban_peer(&self, request: Request<rpc::BanPeerRequest>) -> Reply<rpc::BanPeerResponse> {
        let call = self.begin(&request)?;
        let rpc::BanPeerRequest { peer_id, seconds } = request.into_inner();
        call.ban_peer(&peer_id, seconds).await.map_err(status_of)?;
        Ok(Response::new(rpc::BanPeerResponse {}))
    }

    async fn unban_peer(&self, request: Request<rpc::UnbanPeerRequest>) -> Reply<rpc::UnbanPeerResponse> {
        let call = self.begin(&request)?;
        call.unban_peer(&request.into_inner().peer_id).await.map_err(status_of)?;
        Ok(Response::new(rpc::UnbanPeerResponse {}))
    }

    async fn list_topics(&self, request: Request<rpc::ListTopicsRequest>) -> Reply<rpc::ListTopicsResponse> {
        let topics = self.begin(&request)?.topics().await.map_err(status_of)?;
        let topics = topics.into_iter().map(|(topic, state)| rpc::MeshTopic {
            topic: topic.to_string(),
            grains: state.grains,
            joined: state.joined,
            peers: state.peers as u32,
            policy: match &state.policy {
                TopicPolicy::Open => rpc::TopicPolicy::Open,
                TopicPolicy::Known => rpc::TopicPolicy::Known,
                TopicPolicy::Listed(_) => rpc::TopicPolicy::Listed,
            }
            .into(),
            listed: match &state.policy {
                TopicPolicy::Listed(authors) => authors.iter().map(ToString::to_string).collect(),
                TopicPolicy::Open | TopicPolicy::Known => Vec::new(),
            },
        });
        Ok(Response::new(rpc::ListTopicsResponse { topics: topics.collect() }))
    }

    async fn join_topic(&self, request: Request<rpc::JoinTopicRequest>) -> Reply<rpc::JoinTopicResponse> {
        let call = self.begin(&request)?;
        let changed = call.join_topic(request.into_inner().topic).await.map_err(status_of)?;
        Ok(Response::new(rpc::JoinTopicResponse { changed }))
    }

    async fn leave_topic(&self, request: Request<rpc::LeaveTopicRequest>) -> Reply<rpc::LeaveTopicResponse> {
        let call = self.begin(&request)?;
        let changed = call.leave_topic(request.into_inner().topic).await.map_err(status_of)?;
        Ok(Response::new(rpc::LeaveTopicResponse { changed }))
    }

    async fn set_topic_policy(
        &self,
        request: Request<rpc::SetTopicPolicyRequest>,
    ) -> Reply<rpc::SetTopicPolicyResponse> {
        let call = self.begin(&request)?;
        let request = request.into_inner();
        let (policy, listed) = (request.policy(), request.listed);
        let read = move || read_policy(policy, &listed);
        call.set_topic_policy(request.topic, read).await.map_err(status_of)?;
        Ok(Response::new(rpc::SetTopicPolicyResponse {}))
    }

    type SyncNowStream = ReplyStream<rpc::SyncNowResponse>;

    async fn sync_now(&self, request: Request<rpc::SyncNowRequest>) -> Reply<Self::SyncNowStream> {
        use rpc::sync_now_response::Item;
        let call = self.begin(&request)?;
        let topic = Some(request.into_inner().topic).filter(|topic| !topic.is_empty());
        let (sender, messages) = mpsc::channel(PROGRESS_QUEUE);
        let (told, mut progress) = mpsc::channel(PROGRESS_QUEUE);
        let syncing = tokio::spawn(async move { call.sync_now(topic, told).await });
        tokio::spawn(async move {
            let message = |item| Ok(rpc::SyncNowResponse { item: Some(item) });
            // Once nobody listens here, the call sees that nobody listens to it, and ends.
            loop {
                tokio::select! {
                    told = progress.recv() => {
                        let Some(progress) = told else { break };
                        // Whether it is still heard is seen beside this.
                        let _ = sender.send(message(Item::Progress(sync_message(&progress)))).await;
                    }
                    () = sender.closed() => return,
                }
            }
            let last = match syncing.await {
                Ok(Ok(Some(ended))) => message(Item::Summary(rpc::SyncSummary {
                    ended: ended.iter().map(sync_message).collect(),
                })),
                Ok(Ok(None)) => return,
                Ok(Err(error)) => Err(status_of(error)),
                Err(error) => Err(status_of(CallError::Broken(error.into()))),
            };
            // A client that hung up no longer wants to know.
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn get_net_status(
        &self,
        request: Request<rpc::GetNetStatusRequest>,
    ) -> Reply<rpc::GetNetStatusResponse> {
        let status = self.begin(&request)?.net_status().await.map_err(status_of)?;
        Ok(Response::new(net_status_message(status)))
    }
}

fn read_policy(policy: rpc::TopicPolicy, listed: &[String]) -> Result<TopicPolicy, CallError> {
    match policy {
        rpc::TopicPolicy::Unspecified => Err(invalid("say the policy: open, known or listed")),
        rpc::TopicPolicy::Listed => {
            let authors = listed.iter().map(|author| read_author(author));
            Ok(TopicPolicy::Listed(authors.collect::<Result<_, _>>()?))
        }
        _ if !listed.is_empty() => Err(invalid("only a topic with the policy listed lists authors")),
        rpc::TopicPolicy::Open => Ok(TopicPolicy::Open),
        rpc::TopicPolicy::Known => Ok(TopicPolicy::Known),
    }
}

fn net_status_message(status: NetStatus) -> rpc::GetNetStatusResponse {
    let texts = |addresses: Vec<Multiaddr>| addresses.iter().map(ToString::to_string).collect();
    let traffic = PROTOCOLS.iter().zip(&status.traffic).map(|(protocol, traffic)| rpc::ProtocolTraffic {
        protocol: (*protocol).to_owned(),
        traffic: Some(traffic_message(traffic)),
    });
    rpc::GetNetStatusResponse {
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
        traffic: traffic.collect(),
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
            Transport::Tcp => rpc::Transport::Tcp.into(),
            Transport::Quic => rpc::Transport::Quic.into(),
            Transport::Relayed => rpc::Transport::Relayed.into(),
            Transport::Other => rpc::Transport::Other.into(),
        },
        latency_us: peer.latency.map(|latency| latency.as_micros() as u64),
        score: peer.score,
        topics: peer.topics.iter().map(ToString::to_string).collect(),
        traffic: Some(traffic_message(&peer.traffic)),
        connected_ms: peer.connected.as_millis() as u64,
        agent: peer.agent,
        visiting: peer.visiting,
        reserved: peer.reserved,
        connections: peer.connections as u32,
    }
}
