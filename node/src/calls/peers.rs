//! Calls about the mesh: peers, topics, synchronising.

use std::collections::BTreeMap;
use std::time::Duration;

use synapsenet_net::{Ban, KnownPeer, Multiaddr, NetStatus, PeerId, PeerStatus};
use synapsenet_proto::Topic;
use synapsenet_storage::TopicPolicy;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::calls::error::invalid;
use crate::calls::{Call, CallError, Happening, SyncProgress};

/// Longer bans are for ever.
const MAX_BAN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// How an address is written, for those who wrote another.
const LIKE: &str = "write it like /ip4/192.168.1.20/tcp/7716";

/// A topic as this node knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicState {
    /// Grains of it that are stored here.
    pub grains: u64,
    /// Whether this node takes part in it.
    pub joined: bool,
    /// Connected peers that take part in it.
    pub peers: usize,
    /// From whom it takes.
    pub policy: TopicPolicy,
}

impl Call {
    /// Who is connected.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, CallError> {
        Ok(self.mesh()?.net.peers().await?)
    }

    /// Whose addresses are known.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn known_peers(&self) -> Result<Vec<KnownPeer>, CallError> {
        Ok(self.mesh()?.net.known().await?)
    }

    /// Who is banned.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bans(&self) -> Result<Vec<Ban>, CallError> {
        Ok(self.mesh()?.net.bans().await?)
    }

    /// Connects to the peer at a multiaddress and remembers it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn add_peer(&self, address: &str) -> Result<PeerId, CallError> {
        let net = &self.mesh()?.net;
        self.note_about(address);
        let parsed = address.parse::<Multiaddr>();
        let parsed =
            parsed.map_err(|error| invalid(format!("{address:?} is no multiaddress ({error}); {LIKE}")))?;
        if parsed.is_empty() {
            return Err(invalid(format!("no multiaddress is given; {LIKE}")));
        }
        Ok(net.dial(parsed).await?)
    }

    /// Disconnects a peer and forgets it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remove_peer(&self, peer: &str) -> Result<(), CallError> {
        let net = &self.mesh()?.net;
        self.note_about(peer);
        let peer = read_peer(peer)?;
        let is_known = net.remove(peer).await?;
        if is_known { Ok(()) } else { Err(CallError::NoPeer(format!("no peer {peer} is known here"))) }
    }

    /// Bans a peer for a time, or for ever.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ban_peer(&self, peer: &str, seconds: Option<u64>) -> Result<(), CallError> {
        let mesh = self.mesh()?;
        self.note_about(peer);
        let peer = read_peer(peer)?;
        if peer == mesh.net.peer() {
            return Err(invalid("that is this node itself"));
        }
        if seconds == Some(0) {
            return Err(invalid("a ban lasts at least one second"));
        }
        let time = seconds.map(Duration::from_secs).filter(|time| *time < MAX_BAN);
        mesh.net.ban(peer, time).await?;
        Ok(mesh.save().await?)
    }

    /// Lets a banned peer in again.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unban_peer(&self, peer: &str) -> Result<(), CallError> {
        let mesh = self.mesh()?;
        self.note_about(peer);
        let peer = read_peer(peer)?;
        if !mesh.net.unban(peer).await? {
            return Err(CallError::NoPeer(format!("peer {peer} is not banned")));
        }
        Ok(mesh.save().await?)
    }

    /// Topics that are stored here, joined, or of connected peers.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn topics(&self) -> Result<BTreeMap<Topic, TopicState>, CallError> {
        let mesh = self.mesh()?;
        let status = mesh.net.status().await?;
        let stored = self.read(|_, view| Ok(view.topics()?)).await?;
        let mut topics: BTreeMap<Topic, TopicState> = BTreeMap::new();
        for (topic, grains) in stored {
            topics.entry(topic).or_default().grains = grains;
        }
        for topic in mesh.topics() {
            topics.entry(topic).or_default().joined = true;
        }
        for (topic, peers) in status.topics {
            topics.entry(topic).or_default().peers = peers;
        }
        let rules = self.parts.memory.rules();
        for (topic, policy) in rules.policies() {
            topics.entry(topic.clone()).or_default().policy = policy.clone();
        }
        topics.retain(|topic, _| self.topics_of_caller().has(topic));
        Ok(topics)
    }

    /// Takes part in a topic. True when it is new.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn join_topic(&self, topic: String) -> Result<bool, CallError> {
        self.note_topic(&topic);
        Ok(self.mesh()?.subscribe(Topic::new(topic)?).await?)
    }

    /// Takes no part in a topic any more. True when it did before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn leave_topic(&self, topic: String) -> Result<bool, CallError> {
        self.note_topic(&topic);
        Ok(self.mesh()?.unsubscribe(Topic::new(topic)?).await?)
    }

    /// Synchronises a topic, or all, with peers now. Tells how far it is, as far as whoever listens keeps up; None when whoever
    /// listened has gone.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sync_now(
        &self,
        topic: Option<String>,
        told: mpsc::Sender<SyncProgress>,
    ) -> Result<Option<Vec<SyncProgress>>, CallError> {
        let mesh = self.mesh()?;
        topic.iter().for_each(|topic| self.note_topic(topic));
        let topic = topic.map(Topic::new).transpose()?;
        if let Some(topic) = topic.as_ref().filter(|topic| !mesh.topics().contains(topic)) {
            return Err(CallError::NotJoined(topic.to_string()));
        }
        let mut events = self.listen();
        let done = mesh.sync.now(topic.clone());
        tokio::pin!(done);
        loop {
            tokio::select! {
                ended = &mut done => return Ok(Some(ended)),
                () = told.closed() => return Ok(None),
                event = events.recv() => match event {
                    Ok(Happening::Sync(progress)) if topic.as_ref().is_none_or(|topic| *topic == progress.topic) => {
                        // A slow client misses some progress.
                        let _ = told.try_send(progress);
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(CallError::Stopping),
                },
            }
        }
    }

    /// How this node is reached, and what it sends and receives.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn net_status(&self) -> Result<NetStatus, CallError> {
        Ok(self.mesh()?.net.status().await?)
    }
}

fn read_peer(text: &str) -> Result<PeerId, CallError> {
    text.parse().map_err(|_| {
        invalid(format!("{text:?} is no peer id; it looks like 12D3KooW... and `peers` shows it whole"))
    })
}
