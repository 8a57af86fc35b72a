//! The mesh side of the node: what comes out of the swarm finds its way, and what is to go out is handed to it.
//!
//! ```text
//!  swarm --announced--> ingest (never waits)          indexer --announcements--> swarm
//!        --asked------> serve --> swarm               sync <--> swarm
//! ```
//!
//! The loop here owns what the mesh keeps from one start to the next: the topics, the addresses of peers, the bans.

pub(crate) mod ask;
mod kept;
pub(crate) mod serve;
pub(crate) mod sync;

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use synapsenet_net::{Caps, Config, Event, Layer, Metrics, Multiaddr, Net, NetError, Request, Response};
use synapsenet_proto::{Identity, Topic, rpc};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::config::{MAX_TOPICS, NetworkConfig};
use crate::memory::Memory;
use crate::memory::announcer::Outgoing;
use crate::memory::events::{Events, Happening};
use crate::memory::ingest::Ingest;
use crate::mesh::serve::Serve;
use crate::mesh::sync::Sync;
use crate::tasks::joined;
use kept::{Kept, State};

/// How often addresses and bans are saved. What is younger is found out again ...
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// ... but for a ban: so long after one, with those that came meanwhile. Somebody with many keys must not keep the disk
/// busy.
const SAVE_AFTER_BAN: Duration = Duration::from_secs(5);

/// Why the mesh does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeshError {
    /// The node takes part in as many topics as it may.
    #[error(
        "this node takes part in {MAX_TOPICS} topics, and peers listen to no more: leave one with `synapsenet topics leave`"
    )]
    TooManyTopics,
    /// What has to outlive a restart cannot be written.
    #[error("{0:#}")]
    Unkept(anyhow::Error),
    /// The swarm does not do it.
    #[error(transparent)]
    Net(#[from] NetError),
}

/// The mesh, for those who ask something of it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Mesh {
    /// The swarm.
    pub net: Net,
    /// Bringing this node up to date.
    pub sync: Sync,
    state: Arc<Mutex<State>>,
    topics: watch::Sender<BTreeSet<Topic>>,
}

/// What the mesh is made of.
pub(crate) struct Parts {
    pub memory: Arc<Memory>,
    pub ingest: Ingest,
    pub events: Events,
    /// Own grains that are to be announced.
    pub announcements: mpsc::Receiver<Outgoing>,
    pub stop: CancellationToken,
}

type Task = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// The tasks of the mesh, for the node to spawn.
pub(crate) struct Tasks {
    /// The loop of this module. It ends the swarm when it ends.
    pub mesh: Task,
    /// Synchronisation.
    pub sync: Task,
}

/// A swarm that listens and takes part in its topics, before anything answers for it.
pub(crate) struct Listening {
    net: Net,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
    state: State,
    topics: BTreeSet<Topic>,
    sync_interval: Duration,
}

impl Listening {
    /// Starts the swarm and joins the topics. `may_move`: nobody chose the addresses, so other ports are taken when they are in
    /// use, and families that the machine has not are passed over.
    /// `layer` is put between the swarm and its connections, by tests.
    ///
    /// # Errors
    /// When an address cannot be listened on, or what was saved cannot be read.
    pub async fn start(
        config: &NetworkConfig,
        may_move: bool,
        data_dir: &Path,
        identity: &Identity,
        metrics: Metrics,
        layer: Option<Layer>,
    ) -> anyhow::Result<Self> {
        let state = State::load(data_dir)?;
        let swarm = Config { layer, listen_where_possible: may_move, ..config.to_swarm()? };
        let start = |swarm| Net::start(swarm, identity, state.saved(), metrics.clone());
        let (net, events, task) = match start(swarm.clone()).await {
            Err(NetError::Listen { address, reason }) if may_move => {
                tracing::info!(%address, reason, "the usual port is taken; the mesh listens on a free one");
                let listen = swarm.listen.iter().map(on_free_port).collect();
                start(Config { listen, ..swarm }).await
            }
            started => started,
        }
        .context("the mesh cannot start; see the section [network] of the configuration")?;
        let topics = state.topics(config.topics.iter().filter_map(|name| Topic::new(name.as_str()).ok()));
        for topic in &topics {
            net.subscribe(topic.clone()).await?;
        }
        let sync_interval = Duration::from_secs(config.sync_seconds);
        Ok(Self { net, events, task, state, topics, sync_interval })
    }
}

impl Mesh {
    /// Joins a swarm to the parts of the node.
    pub fn new(listening: Listening, parts: Parts) -> (Self, Tasks) {
        let Listening { net, events: net_events, task, state, topics, sync_interval } = listening;
        let (topics, watched) = watch::channel(topics);
        let (sync, syncing) = Sync::start(
            parts.memory.clone(),
            parts.ingest.clone(),
            net.clone(),
            watched.clone(),
            parts.events.clone(),
            parts.stop.clone(),
            sync_interval,
        );
        let serve = Serve::new(parts.memory.clone(), watched);
        let mesh = Self { net, sync, state: Arc::new(Mutex::new(state)), topics };
        let running = Loop { mesh: mesh.clone(), serve, parts };
        let run = async move {
            let net = running.mesh.net.clone();
            let ran = running.run(net_events).await;
            net.stop().await;
            // Its panic is the reason why the loop ended, and goes on here.
            joined(task.await);
            ran
        };
        let syncing = async move {
            syncing.await;
            Ok(())
        };
        (mesh, Tasks { mesh: Box::pin(run), sync: Box::pin(syncing) })
    }

    /// The topics that this node takes part in.
    pub fn topics(&self) -> BTreeSet<Topic> {
        self.topics.borrow().clone()
    }

    /// Whether this node takes part in a topic, or could.
    ///
    /// # Errors
    /// [`MeshError::TooManyTopics`].
    pub fn check_room(&self, topic: &Topic) -> Result<(), MeshError> {
        let topics = self.topics.borrow();
        let is_room = topics.len() < MAX_TOPICS || topics.contains(topic);
        if is_room { Ok(()) } else { Err(MeshError::TooManyTopics) }
    }

    /// Takes part in a topic from now on, and after the next start, too. True when it is new.
    ///
    /// # Errors
    /// [`MeshError`]; then it takes no part.
    pub async fn subscribe(&self, topic: Topic) -> Result<bool, MeshError> {
        let is_new =
            self.topics.send_if_modified(|topics| topics.len() < MAX_TOPICS && topics.insert(topic.clone()));
        if !is_new {
            let is_in = self.topics.borrow().contains(&topic);
            return if is_in { Ok(false) } else { Err(MeshError::TooManyTopics) };
        }
        let joined = topic.clone();
        if let Err(error) = self.keep(move |kept| kept.join(&joined)).await {
            self.topics.send_if_modified(|topics| topics.remove(&topic));
            return Err(error);
        }
        self.net.subscribe(topic).await?;
        Ok(true)
    }

    /// Takes no part in a topic any more. What is stored of it stays. True when it did before.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn unsubscribe(&self, topic: Topic) -> Result<bool, MeshError> {
        let left = topic.clone();
        self.keep(move |kept| kept.leave(&left)).await?;
        let was_in = self.topics.send_if_modified(|topics| topics.remove(&topic));
        self.net.unsubscribe(topic).await?;
        Ok(was_in)
    }

    /// Takes over other caps. Where there are fewer seats than peers, some have to leave.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn cap(&self, caps: Caps) -> Result<(), NetError> {
        let leaving = self.net.set_caps(caps).await?;
        if leaving > 0 {
            tracing::info!(leaving, max_peers = caps.max_peers, "peers leave, as there are fewer seats");
        }
        Ok(())
    }

    /// Where other nodes reach this one: each address with `/p2p/` and its id, those known to be reachable from outside
    /// first, loopback last.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn addresses(&self) -> Result<Vec<Multiaddr>, NetError> {
        let status = self.net.status().await?;
        Ok(dialable(status.external.into_iter().chain(status.listening), &self.net))
    }

    /// As [`Mesh::addresses`], of those that the node listened on when it started.
    pub fn first_addresses(&self) -> Vec<Multiaddr> {
        dialable(self.net.listening().iter().cloned(), &self.net)
    }

    /// Saves addresses and bans.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn save(&self) -> Result<(), MeshError> {
        let saved = self.net.saved().await?;
        self.keep(move |kept| kept.save(saved)).await
    }

    async fn keep(&self, change: impl FnOnce(&mut Kept) + Send + 'static) -> Result<(), MeshError> {
        let state = self.state.clone();
        // The state is whole between any two changes.
        let change = move || state.lock().unwrap_or_else(PoisonError::into_inner).change(change);
        blocking(change).await.map_err(MeshError::Unkept)
    }
}

/// Each address once, with the node's id, loopback last. Link-local ones of IPv6 mean nothing on another machine.
fn dialable(addresses: impl Iterator<Item = Multiaddr>, net: &Net) -> Vec<Multiaddr> {
    let mut seen = BTreeSet::new();
    let addresses = addresses.filter(|address| !address.to_string().starts_with("/ip6/fe80:"));
    let with_peer = |address: Multiaddr| address.with_p2p(net.peer()).unwrap_or_else(|address| address);
    let mut addresses: Vec<Multiaddr> =
        addresses.map(with_peer).filter(|address| seen.insert(address.clone())).collect();
    addresses.sort_by_key(|address| {
        let text = address.to_string();
        text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/")
    });
    addresses
}

/// The same address with a port that the system chooses.
fn on_free_port(address: &Multiaddr) -> Multiaddr {
    let text = address.to_string().replace("/tcp/7716", "/tcp/0").replace("/udp/7716", "/udp/0");
    text.parse().unwrap_or_else(|_| address.clone())
}

struct Loop {
    mesh: Mesh,
    serve: Serve,
    parts: Parts,
}

impl Loop {
    async fn run(mut self, mut net_events: mpsc::Receiver<Event>) -> anyhow::Result<()> {
        let mut save_at = Instant::now() + SAVE_EVERY;
        let mut rules = self.parts.memory.watch_rules();
        rules.mark_changed();
        let mut twin = self.parts.ingest.watch_twin();
        let mut has_twin = false;
        loop {
            tokio::select! {
                event = net_events.recv() => {
                    let event = event.context("the swarm ended unasked")?;
                    if matches!(event, Event::Banned { .. }) {
                        save_at = save_at.min(Instant::now() + SAVE_AFTER_BAN);
                    }
                    self.on_event(event);
                }
                Some(outgoing) = self.parts.announcements.recv() => {
                    self.mesh.net.publish(outgoing.into_announcement()).await?;
                }
                Ok(()) = rules.changed() => {
                    let blocked = rules.borrow_and_update().blocked().clone();
                    self.mesh.net.block_authors(blocked).await;
                }
                is_found = async { twin.wait_for(|found| *found).await.is_ok() }, if !has_twin => {
                    has_twin = true;
                    // It ends when the thread does, and the node with that.
                    if is_found {
                        self.mesh.net.report_twin().await;
                    }
                }
                () = tokio::time::sleep_until(save_at) => {
                    self.save().await;
                    save_at = Instant::now() + SAVE_EVERY;
                }
                () = self.parts.stop.cancelled() => break,
            }
        }
        self.save().await;
        Ok(())
    }

    fn on_event(&self, event: Event) {
        match event {
            Event::Announced { from, announcement } => {
                // A full queue is counted there; synchronisation brings what was dropped.
                self.parts.ingest.try_receive(*announcement, from);
            }
            Event::Asked { peer, request, reply } => {
                if let Request::Sync(rpc::SyncRequest { item: Some(rpc::sync_request::Item::News(news)) }) =
                    &*request
                {
                    if let Ok(topic) = Topic::new(news.topic.as_str()) {
                        self.mesh.sync.news(peer, topic);
                    }
                    reply.send(Response::Sync(rpc::SyncResponse::default()));
                    return;
                }
                // The swarm bounds how many of these there are, and `serve` how many work. A panic is the peer's to bear: it
                // gets no answer, and could bring the node down otherwise.
                let serve = self.serve.clone();
                tokio::spawn(async move { reply.send(serve.answer(peer, *request).await) });
            }
            Event::Joined { peer } => self.parts.events.tell(Happening::PeerJoined { peer }),
            Event::Left { peer } => self.parts.events.tell(Happening::PeerLeft { peer }),
            Event::Shares { peer, topic } => self.mesh.sync.shares(peer, topic),
            Event::Banned { peer } => self.parts.events.tell(Happening::PeerBanned { peer }),
        }
    }

    async fn save(&self) {
        if let Err(error) = self.mesh.save().await {
            tracing::warn!(%error, "addresses and bans of peers could not be saved");
        }
    }
}
