//! The protocols of the swarm, each with its limits.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::kad;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, autonat, connection_limits, dcutr, identify, mdns, memory_connection_limits,
    ping, relay, upnp,
};
use synapsenet_proto::{MAX_ANNOUNCEMENT_BYTES, Topic, rpc};

use crate::codec::Protobuf;
use crate::dial::split;
use crate::gate::Gate;
use crate::providers::Providers;
use crate::subscriptions::{Subscriptions, subscriptions};
use crate::{Config, NetError};

/// Says which network this is, and who speaks.
pub(crate) const PROTOCOL: &str = "/synapsenet/1";
const AGENT: &str = concat!("synapsenet/", env!("CARGO_PKG_VERSION"));
/// The protocols on which peers ask each other, and where they find each other.
pub(crate) const SYNC_PROTOCOL: &str = "/synapsenet/sync/1";
pub(crate) const FETCH_PROTOCOL: &str = "/synapsenet/fetch/1";
pub(crate) const SEARCH_PROTOCOL: &str = "/synapsenet/search/2";
pub(crate) const KADEMLIA_PROTOCOL: &str = "/synapsenet/kad/1";
/// Separates the keys of providers from other uses of a topic's name.
pub(crate) const PROVIDER_CONTEXT: &str = "synapsenet v1 topic providers";
/// Separates the names of messages from other uses of their bytes.
pub(crate) const MESSAGE_NAME_CONTEXT: &str = "synapsenet v1 gossip message";
/// Bytes of a hash that name a message.
pub(crate) const MESSAGE_ID_BYTES: usize = 20;
/// Broken promises a second that are forgiven: of as many topics at the same time, and what gossipsub remembers of the second
/// before.
const FORGIVEN_PROMISES: f64 = 16.0;
/// A whole gossipsub message: an announcement with what gossipsub puts around it.
pub(crate) const MAX_GOSSIP_BYTES: usize = 64 << 10;
/// Dials under way. What comes in is bounded by the entrance.
pub(crate) const MAX_PENDING: u32 = 64;
/// A ping takes at most so long. libp2p sends one every 15 s and keeps the first of several failures to itself, so a line
/// that was cut is noticed after two: 45 to 60 s.
pub(crate) const MAX_PING_TIME: Duration = Duration::from_secs(15);
/// Topics that one peer may subscribe to, and subscriptions in one message.
pub(crate) const MAX_TOPICS: usize = 256;
/// A negentropy frame of 1 MiB with what stands around it.
pub(crate) const MAX_SYNC_BYTES: u64 = (1 << 20) + (64 << 10);
/// Grains of 2 MiB with what stands around them.
pub(crate) const MAX_FETCH_BYTES: u64 = (2 << 20) + (256 << 10);
/// 64 grains, the largest there are.
pub(crate) const MAX_SEARCH_BYTES: u64 = 64 * MAX_ANNOUNCEMENT_BYTES as u64 + (64 << 10);
/// A question to fetch or search: 512 ids, or a vector and a filter.
pub(crate) const MAX_QUESTION_BYTES: u64 = 32 << 10;
/// A question takes at most so long, its answer included: as long as the largest answer takes over 1 Mbit/s.
pub(crate) const MAX_ANSWER_TIME: Duration = Duration::from_secs(30);
/// Streams of one question protocol that a connection may have open: what a peer can make this node hold is this times
/// the largest question.
pub(crate) const MAX_QUESTION_STREAMS: usize = 8;
/// Sync messages are large, and there is one session at a time.
pub(crate) const MAX_SYNC_STREAMS: usize = 2;

type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, Subscriptions>;
type Questions<Q, A> = request_response::Behaviour<Protobuf<Q, A>>;

/// Everything that the swarm does. The gate is asked first.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) gate: Gate,
    limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    pub(crate) identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) kademlia: kad::Behaviour<Providers>,
    pub(crate) gossip: Gossip,
    pub(crate) sync: Questions<rpc::SyncRequest, rpc::SyncResponse>,
    pub(crate) fetch: Questions<rpc::FetchRequest, rpc::FetchResponse>,
    pub(crate) search: Questions<rpc::Question, rpc::Answer>,
    mdns: Toggle<mdns::tokio::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    autonat_client: Toggle<autonat::v2::client::Behaviour>,
    autonat_server: Toggle<autonat::v2::server::Behaviour>,
    relay_client: Toggle<relay::client::Behaviour>,
    relay_server: Toggle<relay::Behaviour>,
    dcutr: Toggle<dcutr::Behaviour>,
}

impl Behaviour {
    pub(crate) fn new(
        config: &Config,
        key: &Keypair,
        relay_client: Option<relay::client::Behaviour>,
    ) -> Result<Self, NetError> {
        let me = key.public().to_peer_id();
        let reserved: HashSet<PeerId> =
            config.reserved.iter().filter_map(|address| split(address).1).collect();
        let gate = Gate::new(
            config.max_peers,
            config.max_per_address,
            config.allow.iter().copied().collect(),
            config.block.iter().copied().collect(),
            reserved,
        );
        let limits =
            connection_limits::ConnectionLimits::default().with_max_pending_outgoing(Some(MAX_PENDING));
        let identify = identify::Config::new(PROTOCOL.to_owned(), key.public())
            .with_agent_version(AGENT.to_owned())
            .with_push_listen_addr_updates(true);
        let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), me)).transpose();
        let mdns = mdns.unwrap_or_else(|error| {
            tracing::warn!(%error, "peers on the local network cannot be looked for");
            None
        });
        let has_relay = relay_client.is_some();
        Ok(Self {
            gate,
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_limit(config.max_memory),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_timeout(MAX_PING_TIME)),
            kademlia: kademlia(me),
            gossip: gossip()?,
            sync: questions(SYNC_PROTOCOL, MAX_SYNC_BYTES, MAX_SYNC_BYTES, MAX_SYNC_STREAMS),
            fetch: questions(FETCH_PROTOCOL, MAX_QUESTION_BYTES, MAX_FETCH_BYTES, MAX_QUESTION_STREAMS),
            search: questions(SEARCH_PROTOCOL, MAX_QUESTION_BYTES, MAX_SEARCH_BYTES, MAX_QUESTION_STREAMS),
            mdns: mdns.into(),
            upnp: config.upnp.then(upnp::tokio::Behaviour::default).into(),
            autonat_client: config.autonat.then(autonat::v2::client::Behaviour::default).into(),
            autonat_server: config.autonat.then(autonat::v2::server::Behaviour::default).into(),
            relay_client: relay_client.into(),
            relay_server: config
                .relay_server
                .then(|| relay::Behaviour::new(me, relay::Config::default()))
                .into(),
            dcutr: has_relay.then(|| dcutr::Behaviour::new(me)).into(),
        })
    }

    /// Another bound for the memory of the process. The protocol keeps nothing of connections that there are.
    pub(crate) fn set_max_memory(&mut self, max_memory: Option<usize>) {
        self.memory = memory_limit(max_memory);
    }
}

/// Refuses connections while the process has more memory than this.
fn memory_limit(max_memory: Option<usize>) -> Toggle<memory_connection_limits::Behaviour> {
    max_memory.map(memory_connection_limits::Behaviour::with_max_bytes).into()
}

fn questions<Q, A>(name: &'static str, question: u64, answer: u64, streams: usize) -> Questions<Q, A>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let config = request_response::Config::default()
        .with_request_timeout(MAX_ANSWER_TIME)
        .with_max_concurrent_streams(streams);
    let protocols = [(StreamProtocol::new(name), ProtocolSupport::Full)];
    request_response::Behaviour::with_codec(Protobuf::new(question, answer), protocols, config)
}

/// Kademlia finds peers and the peers of a topic. It keeps no content: records are refused, providers are filtered by the
/// task.
fn kademlia(me: PeerId) -> kad::Behaviour<Providers> {
    let mut config = kad::Config::new(StreamProtocol::new(KADEMLIA_PROTOCOL));
    config
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_query_timeout(Duration::from_secs(20))
        // Refreshing the table is most of what an idle node sends. New peers are met in other ways, too.
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(1200)))
        .set_provider_publication_interval(Some(Duration::from_secs(1800)))
        .set_provider_record_ttl(Some(Duration::from_secs(3 * 3600)))
        .set_replication_factor(NonZeroUsize::MIN.saturating_add(9));
    kad::Behaviour::with_config(me, Providers::new(me), config)
}

/// Gossipsub 1.3 without signatures of its own: grains are signed by their authors, and who passes one on is nobody's
/// business.
fn gossip() -> Result<Gossip, NetError> {
    let setup = |error: &dyn std::fmt::Display| NetError::Setup(error.to_string());
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| message_id(message.topic.as_str(), &message.data))
        .max_transmit_size(MAX_GOSSIP_BYTES)
        // Messages are flooded to every peer of the topic by their publisher: slower lines lose less that way. Whoever is
        // connected to many and compares who said it first can guess the publisher, with or without this.
        .flood_publish(true)
        // A message is offered by its name for this many heartbeats after it came.
        .history_length(6)
        .history_gossip(3)
        .idontwant_message_size_threshold(1000)
        .build()
        .map_err(|error| setup(&error))?;
    let mut gossip =
        Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, subscriptions())
            .map_err(|error| setup(&error))?;
    let (params, thresholds) = scoring();
    gossip.with_peer_score(params, thresholds).map_err(|error| setup(&error))?;
    Ok(gossip)
}

/// Gossipsub 1.1's scoring of peers: invalid messages cost by its own count, everything else through the application's
/// score, which is minus a peer's penalty (`score.rs`). Addresses shared by many peers are judged by the gate, so that ten
/// nodes on one machine do not shun each other.
///
/// What a line cannot carry costs nothing: somebody else may have filled it. A message that was offered and did not come in
/// time is such a case; a peer offers once a second for each topic, so a few of these are forgiven, and what is left to
/// punish is joining a mesh again and again.
fn scoring() -> (gossipsub::PeerScoreParams, gossipsub::PeerScoreThresholds) {
    let mut params = gossipsub::PeerScoreParams {
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        topic_score_cap: 50.0,
        slow_peer_weight: 0.0,
        behaviour_penalty_threshold: FORGIVEN_PROMISES,
        ..gossipsub::PeerScoreParams::default()
    };
    params.ip_colocation_factor_whitelist.insert(IpAddr::V4(Ipv4Addr::LOCALHOST));
    params.ip_colocation_factor_whitelist.insert(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let thresholds = gossipsub::PeerScoreThresholds {
        gossip_threshold: -20.0,
        publish_threshold: -40.0,
        // Never reached: whoever is ignored altogether would never earn its ban.
        graylist_threshold: -1e9,
        ..gossipsub::PeerScoreThresholds::default()
    };
    (params, thresholds)
}

/// How a topic counts in gossipsub's score: being the first to deliver is a merit, invalid messages are not; how many
/// messages a peer of the mesh delivers is not judged, because topics of notes are quiet.
pub(crate) fn topic_scoring() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.2,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 100.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.9,
        ..gossipsub::TopicScoreParams::default()
    }
}

/// The name of a message: a hash of its topic and all its bytes.
///
/// Gossipsub remembers a name for a minute before anybody has judged the message, and drops whatever comes under it. So a
/// name must cover all that a verdict looks at: were it the grain's id alone, somebody could send the grain with a forged
/// claim first, or on another topic, and keep the real one out. Nor may it say whether the signatures fit: a node of another
/// version, which knows other claims, would name the same message otherwise, and each would wait for what the other offered.
/// As announcements have one encoding, a grain has one name for each claim that stands beside it; of these a node passes on
/// the first, by the grain's id ([`crate::verdict::Judge`]), and holds the others against nobody.
pub(crate) fn message_id(topic: &str, data: &[u8]) -> MessageId {
    let mut hash = blake3::Hasher::new_derive_key(MESSAGE_NAME_CONTEXT);
    // With its length, so that no part of the topic can stand for a part of the data.
    hash.update(&(topic.len() as u64).to_le_bytes()).update(topic.as_bytes()).update(data);
    MessageId::from(hash.finalize().as_bytes()[..MESSAGE_ID_BYTES].to_vec())
}

/// The name of a topic on the wire.
pub(crate) fn gossip_topic(topic: &Topic) -> IdentTopic {
    IdentTopic::new(topic.as_str())
}

/// The key under which the peers of a topic are found.
pub(crate) fn topic_key(topic: &Topic) -> kad::RecordKey {
    kad::RecordKey::new(&blake3::derive_key(PROVIDER_CONTEXT, topic.as_str().as_bytes()))
}
