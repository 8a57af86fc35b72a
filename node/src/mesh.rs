//! The mesh side of the node: what comes out of the swarm finds its way, and what is to go out is handed to it.
//!
//! ```text
//!  swarm --announced--> ingest (never waits)          indexer --announcements--> swarm
//!        --asked------> serve --> swarm               sync <--> swarm
//! ```
//!
//! The loop here owns what the mesh keeps from one start to the next: the topics, the addresses of peers, the bans.

mod state;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use synapsenet_net::{
    Config, Event, Layer, Metrics, Multiaddr, Net, NetError, Offence, Request, Response, peer_of,
};
use synapsenet_proto::{Announcement, AuthorId, Identity, Topic, rpc};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::NetworkConfig;
use crate::events::{Events, Happening};
use crate::ingest::Ingest;
use crate::memory::Memory;
use crate::serve::Serve;
use crate::sync::Sync;
use state::State;

/// How often addresses and bans are saved. What is younger is found out again.
const SAVE_EVERY: Duration = Duration::from_secs(60);

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
    pub identity: Arc<Identity>,
    pub events: Events,
    pub metrics: Metrics,
    /// Own grains that are to be announced.
    pub announcements: mpsc::Receiver<Announcement>,
    /// Authors whose claims turned out false.
    pub false_claims: mpsc::Receiver<AuthorId>,
    /// Put between the swarm and its connections, by tests.
    pub layer: Option<Layer>,
}

/// The tasks of the mesh, for the node to spawn.
pub(crate) struct Tasks {
    /// The loop of this module. It ends the swarm when it ends.
    pub mesh: std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
    /// Synchronisation.
    pub sync: std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

impl Mesh {
    /// Starts the swarm and joins the topics. `may_move`: nobody chose the ports, so others are taken when they are in use.
    ///
    /// # Errors
    /// When an address cannot be listened on, or what was saved cannot be read.
    pub async fn start(
        parts: Parts,
        config: &NetworkConfig,
        may_move: bool,
        data_dir: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Self, Tasks)> {
        let state = State::load(data_dir)?;
        let swarm = Config { layer: parts.layer.clone(), ..config.to_swarm()? };
        let start = |swarm| Net::start(swarm, &parts.identity, state.saved(), parts.metrics.clone());
        let (net, net_events, swarm_task) = match start(swarm.clone()).await {
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
        let (topics, watched) = watch::channel(topics);
        let interval = Duration::from_secs(config.sync_seconds);
        let (sync, syncing) = Sync::start(
            parts.memory.clone(),
            parts.ingest.clone(),
            net.clone(),
            watched.clone(),
            parts.events.clone(),
            stop.clone(),
            interval,
        );
        let serve = Serve::new(parts.memory, watched);
        let mesh = Self { net, sync, state: Arc::new(Mutex::new(state)), topics };
        let running = Loop {
            mesh: mesh.clone(),
            ingest: parts.ingest,
            serve,
            events: parts.events,
            announcements: parts.announcements,
            false_claims: parts.false_claims,
            stop: stop.clone(),
        };
        let run = async move {
            running.run(net_events).await?;
            swarm_task.await.context("the swarm's task panicked")
        };
        let syncing = async move {
            syncing.await;
            Ok(())
        };
        Ok((mesh, Tasks { mesh: Box::pin(run), sync: Box::pin(syncing) }))
    }

    /// The topics that this node takes part in.
    pub fn topics(&self) -> BTreeSet<Topic> {
        self.topics.borrow().clone()
    }

    /// Takes part in a topic from now on, and after the next start, too. True when it is new.
    ///
    /// # Errors
    /// When that cannot be saved, or the node is stopping.
    pub async fn subscribe(&self, topic: Topic) -> anyhow::Result<bool> {
        let is_new = self.topics.send_if_modified(|topics| topics.insert(topic.clone()));
        if is_new {
            self.change(|state| state.joined(&topic))?;
            self.net.subscribe(topic).await?;
        }
        Ok(is_new)
    }

    /// Takes no part in a topic any more. What is stored of it stays. True when it did before.
    ///
    /// # Errors
    /// As [`Mesh::subscribe`].
    pub async fn unsubscribe(&self, topic: Topic) -> anyhow::Result<bool> {
        let was_in = self.topics.send_if_modified(|topics| topics.remove(&topic));
        if was_in {
            self.change(|state| state.left(&topic))?;
            self.net.unsubscribe(topic).await?;
        }
        Ok(was_in)
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
    /// When the file cannot be written.
    pub async fn save(&self) -> anyhow::Result<()> {
        let saved = self.net.saved().await?;
        self.change(|state| state.set_saved(saved))
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> anyhow::Result<()> {
        // The state is whole between any two changes.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.save()
    }
}

/// Each address once, with the node's id, loopback last.
fn dialable(addresses: impl Iterator<Item = Multiaddr>, net: &Net) -> Vec<Multiaddr> {
    let mut seen = BTreeSet::new();
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
    ingest: Ingest,
    serve: Serve,
    events: Events,
    announcements: mpsc::Receiver<Announcement>,
    false_claims: mpsc::Receiver<AuthorId>,
    stop: CancellationToken,
}

impl Loop {
    async fn run(mut self, mut net_events: mpsc::Receiver<Event>) -> anyhow::Result<()> {
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        save.tick().await;
        loop {
            tokio::select! {
                event = net_events.recv() => self.on_event(event.context("the swarm ended unasked")?).await,
                Some(announcement) = self.announcements.recv() => {
                    self.mesh.net.publish(announcement).await?;
                }
                Some(author) = self.false_claims.recv() => {
                    if let Some(peer) = peer_of(&author) {
                        self.mesh.net.report(peer, Offence::FalseClaim).await;
                    }
                }
                _ = save.tick() => self.save().await,
                () = self.stop.cancelled() => break,
            }
        }
        self.save().await;
        self.mesh.net.stop().await;
        Ok(())
    }

    async fn on_event(&self, event: Event) {
        match event {
            Event::Announced { from, announcement } => {
                // A full queue is counted there; synchronisation brings what was dropped.
                self.ingest.try_receive(*announcement, from);
            }
            Event::Asked { peer, request, reply } => {
                if let Request::Sync(rpc::SyncRequest { item: Some(rpc::sync_request::Item::News(news)) }) =
                    &request
                {
                    if let Ok(topic) = Topic::new(news.topic.as_str()) {
                        self.mesh.sync.news(peer, topic);
                    }
                    reply.send(Response::Sync(rpc::SyncResponse::default()));
                    return;
                }
                // The swarm bounds how many of these there are, and `serve` how many work.
                let serve = self.serve.clone();
                tokio::spawn(async move { reply.send(serve.answer(peer, request).await) });
            }
            Event::Joined { peer } => self.events.tell(Happening::PeerJoined { peer }),
            Event::Left { peer } => self.events.tell(Happening::PeerLeft { peer }),
            Event::Shares { peer, topic } => self.mesh.sync.shares(peer, topic),
            Event::Banned { peer } => {
                self.events.tell(Happening::PeerBanned { peer });
                self.save().await;
            }
        }
    }

    async fn save(&self) {
        if let Err(error) = self.mesh.save().await {
            tracing::warn!(%error, "addresses and bans of peers could not be saved");
        }
    }
}
