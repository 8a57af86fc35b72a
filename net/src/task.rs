//! The task that owns the swarm: commands come in, events go out, and nothing in here waits for anybody.

mod asked;
mod caps;
mod connections;
mod peers;
mod swarm_events;
mod warnings;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use libp2p::gossipsub::PublishError;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use prost::Message;
use socket2::{Domain, Socket, Type};
use synapsenet_proto::{Announcement, AuthorId, Identity, Topic};
use tokio::sync::{mpsc, oneshot};

use crate::behaviour::{Behaviour, gossip_topic, topic_key, topic_scoring};
use crate::clock::Clocks;
use crate::dial::{AddressBook, Saved, split};
use crate::handle::network_key;
use crate::meter::Meter;
use crate::near::Near;
use crate::place::ip_of;
use crate::score::{Ban, Bans, Offence, Penalties};
use crate::transport::{self, PeerCounts};
use crate::twin::SharedEnds;
use crate::verdict::Judge;
use crate::{
    AskError, Caps, Config, DialError, Event, Metrics, NetError, NetStatus, PeerStatus, Request, Response,
};
use asked::Answering;
use connections::Peer;

/// How often the task looks after what no event reminds it of.
const TICK: Duration = Duration::from_secs(1);
/// A connection over which nothing is agreed on is closed after this time. Gossipsub keeps those that it uses.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// How long listening on the first addresses may take.
const MAX_LISTEN: Duration = Duration::from_secs(10);
/// Questions to peers that may be under way.
const MAX_ASKED: usize = 512;
/// Answers to peers that may be under way.
const MAX_ANSWERING: usize = 256;
/// Ticks between two looks for peers of topics that have too few.
const LOOK_FOR_PROVIDERS_EVERY: u64 = 30;
/// Peers of a topic below which more are looked for: half of what gossipsub wants in its mesh.
const FEW_TOPIC_PEERS: usize = 3;

/// What the handle asks.
pub(crate) enum Command {
    Subscribe { topic: Topic, reply: oneshot::Sender<bool> },
    Unsubscribe { topic: Topic, reply: oneshot::Sender<bool> },
    Publish { announcement: Box<Announcement>, reply: oneshot::Sender<bool> },
    Ask { peer: PeerId, request: Box<Request>, reply: AskReply },
    Peers { reply: oneshot::Sender<Vec<PeerStatus>> },
    PeersOf { topic: Topic, reply: oneshot::Sender<Vec<PeerId>> },
    Status { reply: oneshot::Sender<NetStatus> },
    Dial { address: Multiaddr, reply: DialReply },
    Remove { peer: PeerId, reply: oneshot::Sender<bool> },
    Ban { peer: PeerId, time: Option<Duration>, reply: oneshot::Sender<()> },
    Unban { peer: PeerId, reply: oneshot::Sender<bool> },
    Bans { reply: oneshot::Sender<Vec<Ban>> },
    Report { peer: PeerId, offence: Offence },
    BlockAuthors { authors: HashSet<AuthorId> },
    SetCaps { caps: Caps, reply: oneshot::Sender<usize> },
    ReportTwin,
    Praise { peer: PeerId, grains: usize },
    Saved { reply: oneshot::Sender<Saved> },
    Stop,
}

pub(crate) type AskReply = oneshot::Sender<Result<Response, AskError>>;
pub(crate) type DialReply = oneshot::Sender<Result<PeerId, DialError>>;

/// Which of the protocols for questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    Sync,
    Fetch,
    Search,
}

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    config: Config,
    metrics: Metrics,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    meter: Arc<Meter>,
    counts: PeerCounts,
    book: AddressBook,
    near: Near,
    bans: Bans,
    penalties: Penalties,
    judge: Judge,
    /// Peers over their rate, whose messages gossipsub drops until the next tick.
    silenced: BTreeSet<PeerId>,
    peers: HashMap<PeerId, Peer>,
    topics: BTreeMap<String, Topic>,
    /// Questions that were asked and are not answered yet.
    asked: HashMap<(Line, OutboundRequestId), (AskReply, Instant)>,
    /// Questions of peers whose answers are being made.
    answering: FuturesUnordered<Answering>,
    /// Dials that somebody waits for.
    dialling: HashMap<swarm::ConnectionId, (DialReply, Option<PeerId>)>,
    /// Peers being dialled.
    pending: HashMap<swarm::ConnectionId, PeerId>,
    listening: BTreeSet<Multiaddr>,
    relays: BTreeSet<Multiaddr>,
    /// Relays on which this node has a place, or asked for one.
    reserved_at: BTreeSet<PeerId>,
    upnp: Option<Result<Multiaddr, String>>,
    /// What the last test of an address said.
    tested: Option<String>,
    clocks: Clocks,
    /// What was said of this machine's clock last.
    clock_off_ms: Option<i64>,
    ends: SharedEnds,
    /// Whether another machine runs with this node's identity.
    has_twin: bool,
    ticks: u64,
    counted_refused: u64,
    is_stopping: bool,
}

impl Task {
    /// Makes the swarm. Nothing is dialled before [`Task::run`].
    pub(crate) fn new(
        config: Config,
        identity: &Identity,
        saved: Saved,
        metrics: Metrics,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, NetError> {
        let key = network_key(identity);
        let me = key.public().to_peer_id();
        let meter = Meter::new(config.max_upload, config.max_download);
        let (near, ends) = (Near::default(), SharedEnds::default());
        let parts = transport::build(&config, &key, &meter, &near, &ends)?;
        let behaviour = Behaviour::new(&config, &key, parts.relay)?;
        let settings = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE)
            .with_max_negotiating_inbound_streams(32);
        let swarm = Swarm::new(parts.transport, behaviour, me, settings);

        let now = Instant::now();
        let mut book = AddressBook::new(me, &saved.peers, now);
        book.set_anchors(&saved.anchors);
        for address in config.bootstrap.iter().chain(&config.reserved) {
            near.vouch(address);
        }
        book.seen_addresses().for_each(|address| near.vouch(address));
        for address in &config.bootstrap {
            book.add_bootstrap(address.clone(), now);
        }
        for address in &config.reserved {
            if let (address, Some(peer)) = split(address) {
                book.add_reserved(peer, address, now);
            }
        }
        let mut task = Self {
            swarm,
            metrics,
            commands,
            events,
            meter,
            counts: parts.counts,
            book,
            near,
            bans: Bans::from_saved(saved.bans, now),
            penalties: Penalties::default(),
            judge: Judge::new(),
            silenced: BTreeSet::new(),
            peers: HashMap::new(),
            topics: BTreeMap::new(),
            asked: HashMap::new(),
            answering: FuturesUnordered::new(),
            dialling: HashMap::new(),
            pending: HashMap::new(),
            listening: BTreeSet::new(),
            relays: BTreeSet::new(),
            reserved_at: BTreeSet::new(),
            upnp: None,
            tested: None,
            clocks: Clocks::default(),
            clock_off_ms: None,
            ends,
            has_twin: false,
            ticks: 0,
            counted_refused: 0,
            is_stopping: false,
            config,
        };
        task.apply_bans();
        for address in task.config.external.clone() {
            task.swarm.add_external_address(address);
        }
        Ok(task)
    }

    /// This node's id.
    pub(crate) fn peer(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Listens on every configured address and waits until each has said where.
    pub(crate) async fn listen(&mut self) -> Result<Vec<Multiaddr>, NetError> {
        let mut waiting = HashMap::new();
        for address in self.config.listen.clone() {
            if self.config.listen_where_possible && !has_family_of(&address) {
                tracing::info!(%address, "this machine has no addresses of this family; nothing listens there");
                continue;
            }
            let failed = |reason: String| NetError::Listen { address: address.clone(), reason };
            is_free(&address).map_err(|error| failed(error.to_string()))?;
            let id = self.swarm.listen_on(address.clone()).map_err(|error| failed(error.to_string()))?;
            waiting.insert(id, address);
        }
        if let (true, Some(address)) = (waiting.is_empty(), self.config.listen.first().cloned()) {
            let reason = "this machine has no addresses of any of these families".to_owned();
            return Err(NetError::Listen { address, reason });
        }
        let deadline = tokio::time::Instant::now() + MAX_LISTEN;
        while !waiting.is_empty() {
            let event = tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await;
            let Ok(event) = event else {
                let address = waiting.into_values().next().expect("somebody is waited for");
                return Err(NetError::Listen { address, reason: "no address in time".to_owned() });
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(address) = waiting.remove(listener_id) {
                        let reason = reason.as_ref().err().map_or("closed".to_owned(), ToString::to_string);
                        return Err(NetError::Listen { address, reason });
                    }
                }
                _ => {}
            }
            self.on_swarm(event);
        }
        // A listener on every interface tells of the others right after the first.
        while let Some(event) = self.swarm.select_next_some().now_or_never() {
            self.on_swarm(event);
        }
        Ok(self.listening.iter().cloned().collect())
    }

    /// Runs until it is told to stop or the last handle is gone.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.is_stopping {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(answered) = self.answering.next(), if !self.answering.is_empty() => self.on_answered(answered),
                _ = tick.tick() => self.on_tick(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        // Whoever does not wait for its reply any more no longer wants it.
        match command {
            Command::Subscribe { topic, reply } => drop(reply.send(self.subscribe(topic))),
            Command::Unsubscribe { topic, reply } => drop(reply.send(self.unsubscribe(&topic))),
            Command::Publish { announcement, reply } => drop(reply.send(self.publish(&announcement))),
            Command::Ask { peer, request, reply } => self.ask(peer, *request, reply),
            Command::Peers { reply } => drop(reply.send(self.peer_statuses())),
            Command::PeersOf { topic, reply } => drop(reply.send(self.peers_of(&topic))),
            Command::Status { reply } => drop(reply.send(self.status())),
            Command::Dial { address, reply } => self.dial(address, reply),
            Command::Remove { peer, reply } => drop(reply.send(self.remove(&peer))),
            Command::Ban { peer, time, reply } => {
                self.ban_by_hand(peer, time);
                let _ = reply.send(());
            }
            Command::Unban { peer, reply } => drop(reply.send(self.unban(&peer))),
            Command::Bans { reply } => {
                drop(reply.send(self.bans.active(Instant::now())));
            }
            Command::Report { peer, offence } => self.offended(peer, offence),
            Command::BlockAuthors { authors } => self.judge.block_authors(authors),
            Command::SetCaps { caps, reply } => drop(reply.send(self.set_caps(caps))),
            Command::ReportTwin => self.note_twin(),
            Command::Praise { peer, grains } => self.praise(&peer, grains),
            Command::Saved { reply } => {
                drop(reply.send(self.saved(Instant::now())));
            }
            Command::Stop => self.is_stopping = true,
        }
    }

    fn subscribe(&mut self, topic: Topic) -> bool {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let named = gossip_topic(&topic);
        let is_new = match gossip.subscribe(&named) {
            Ok(is_new) => is_new,
            Err(error) => {
                tracing::warn!(%topic, %error, "the topic cannot be subscribed to");
                return false;
            }
        };
        if is_new {
            // A parameter that gossipsub does not take is a mistake in this program.
            gossip.set_topic_params(named, topic_scoring()).expect("the scoring of topics is valid");
            self.topics.insert(topic.as_str().to_owned(), topic.clone());
            self.provide(&topic);
            self.tell_shared(&topic);
        }
        is_new
    }

    fn unsubscribe(&mut self, topic: &Topic) -> bool {
        let behaviour = self.swarm.behaviour_mut();
        behaviour.kademlia.stop_providing(&topic_key(topic));
        self.topics.remove(topic.as_str());
        behaviour.gossip.unsubscribe(&gossip_topic(topic))
    }

    /// Tells the network that this node serves a topic.
    fn provide(&mut self, topic: &Topic) {
        if let Err(error) = self.swarm.behaviour_mut().kademlia.start_providing(topic_key(topic)) {
            tracing::warn!(%topic, %error, "the network cannot be told that this node serves the topic");
        }
    }

    /// True when it went to somebody.
    fn publish(&mut self, announcement: &Announcement) -> bool {
        let grain = &announcement.grain;
        self.judge.saw(grain.id());
        let bytes = announcement.to_message().encode_to_vec();
        let topic = gossip_topic(grain.topic());
        match self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
            Ok(_) => true,
            // Nobody is there, or their queues are full: synchronisation delivers.
            Err(
                PublishError::NoPeersSubscribedToTopic
                | PublishError::AllQueuesFull(_)
                | PublishError::Duplicate,
            ) => false,
            Err(error) => {
                tracing::warn!(id = %grain.id(), %error, "a grain could not be announced");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.ticks += 1;
        self.hear_again();
        self.look_at_clock();
        if self.ends.lock().is_another_machine(now) {
            self.note_twin();
        }
        for peer in self.swarm.behaviour_mut().gate.overdue(now) {
            tracing::debug!(%peer, "a visitor has to go");
            self.disconnect(&peer);
        }
        self.leave_others(now);
        self.dial_some(now);
        self.publish_scores(now);
        self.count_traffic();
        if self.ticks % LOOK_FOR_PROVIDERS_EVERY == 3 {
            self.look_for_providers();
        }
        if self.ticks.is_multiple_of(5) {
            self.apply_bans();
        }
    }

    /// What is to be kept from this run to the next.
    fn saved(&mut self, now: Instant) -> Saved {
        let anchors = self.anchors(now);
        // A node that loses its line keeps those that it had.
        if !anchors.is_empty() {
            self.book.set_anchors(&anchors);
        }
        Saved { peers: self.book.save(), anchors: self.book.anchors(), bans: self.bans.save(now) }
    }

    /// Looks for peers of the topics that have few.
    fn look_for_providers(&mut self) {
        let topics: Vec<Topic> = self.topics.values().cloned().collect();
        for topic in topics {
            if self.peers_of(&topic).len() < FEW_TOPIC_PEERS {
                self.swarm.behaviour_mut().kademlia.get_providers(topic_key(&topic));
            }
        }
    }

    /// Hands an event to the application, or drops it when there is no room.
    fn tell(&mut self, event: Event) -> bool {
        match self.events.try_send(event) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(event)) => {
                tracing::debug!(?event, "an event was dropped: the node is busy");
                false
            }
            // Nobody listens any more: the node is stopping.
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// Whether a TCP port can be had: libp2p lets several programs listen on one port, and the system would then give each
/// connection to any of them.
fn is_free(address: &Multiaddr) -> std::io::Result<()> {
    let port = address.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    let (Some(ip), Some(port)) = (ip_of(address), port.filter(|port| *port != 0)) else { return Ok(()) };
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // As libp2p listens: IPv4 has a socket of its own on the same port.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// Whether this machine has addresses of the family of this one. Loopback has one of each family that is switched on.
fn has_family_of(address: &Multiaddr) -> bool {
    let loopback: IpAddr = match ip_of(address) {
        Some(IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        None => return true,
    };
    std::net::UdpSocket::bind((loopback, 0)).is_ok()
}

/// The time in milliseconds since 1970-01-01 UTC.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests;
