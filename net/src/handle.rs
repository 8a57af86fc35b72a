//! The handle to the swarm's task.

use std::collections::HashSet;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use synapsenet_proto::{Announcement, AuthorId, Identity, Topic};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::dial::{KnownPeer, Saved};
use crate::score::{Ban, Offence};
use crate::task::{self, Command};
use crate::{
    AskError, Caps, Config, DialError, Event, Metrics, NetError, NetStatus, PeerStatus, Request, Response,
};

/// Commands that may wait for the swarm: it takes them in microseconds.
const COMMANDS: usize = 256;
/// Events that may wait for whoever uses the swarm: at 48 KiB an announcement at most 48 MiB.
const EVENTS: usize = 1024;

/// How long whoever asks for a dial waits for the one at the other end to say who it is.
const MAX_DIAL_TIME: Duration = Duration::from_secs(30);

/// The way to the swarm. Cheap to clone; the swarm's task ends when the last clone is dropped or [`Net::stop`] is called.
#[derive(Debug, Clone)]
pub struct Net {
    commands: mpsc::Sender<Command>,
    peer: PeerId,
    listening: Vec<Multiaddr>,
}

impl Net {
    /// Starts the swarm on the network key of `identity`, with what was [`Net::saved`] earlier. It listens when this returns.
    ///
    /// # Errors
    /// [`NetError::Listen`] or [`NetError::Setup`].
    pub async fn start(
        config: Config,
        identity: &Identity,
        saved: Saved,
        metrics: Metrics,
    ) -> Result<(Self, mpsc::Receiver<Event>, JoinHandle<()>), NetError> {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (events, receive_events) = mpsc::channel(EVENTS);
        let mut swarm_task = task::Task::new(config, identity, saved, metrics, receiver, events)?;
        let listening = swarm_task.listen().await?;
        let peer = swarm_task.peer();
        let running = tokio::spawn(swarm_task.run());
        Ok((Self { commands, peer, listening }, receive_events, running))
    }

    /// Ends the swarm: says goodbye to nobody, closes every connection.
    pub async fn stop(&self) {
        // A task that has ended already needs no word.
        let _ = self.commands.send(Command::Stop).await;
    }

    /// This node's id on the network. Its author id is made of another key.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Addresses that the node listened on when it started, without `/p2p/`.
    #[must_use]
    pub fn listening(&self) -> &[Multiaddr] {
        &self.listening
    }

    /// Takes part in a topic from now on. Answers whether that is new.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn subscribe(&self, topic: Topic) -> Result<bool, NetError> {
        self.command(|reply| Command::Subscribe { topic, reply }).await
    }

    /// Takes no part in a topic any more. Answers whether it did.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn unsubscribe(&self, topic: Topic) -> Result<bool, NetError> {
        self.command(|reply| Command::Unsubscribe { topic, reply }).await
    }

    /// Announces a grain to the peers of its topic. Answers whether it went to any; none is no error, because
    /// synchronisation brings it to them later.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn publish(&self, announcement: Announcement) -> Result<bool, NetError> {
        let announcement = Box::new(announcement);
        self.command(|reply| Command::Publish { announcement, reply }).await
    }

    /// Asks a connected peer and waits for its answer, at most `patience`.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        peer: PeerId,
        request: Request,
        patience: Duration,
    ) -> Result<Response, AskError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Ask { peer, request: Box::new(request), reply };
        self.commands.send(command).await.map_err(|_| AskError::Stopped)?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AskError::Stopped),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// The connected peers.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, NetError> {
        self.command(|reply| Command::Peers { reply }).await
    }

    /// The connected peers that are subscribed to a topic, best first.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn peers_of(&self, topic: Topic) -> Result<Vec<PeerId>, NetError> {
        self.command(|reply| Command::PeersOf { topic, reply }).await
    }

    /// How this node stands in the network.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn status(&self) -> Result<NetStatus, NetError> {
        self.command(|reply| Command::Status { reply }).await
    }

    /// Dials an address and remembers it. Answers who is there once connected.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, DialError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Dial { address, reply }).await.map_err(|_| DialError::Stopped)?;
        match tokio::time::timeout(MAX_DIAL_TIME, answer).await {
            Ok(answer) => answer.map_err(|_| DialError::Stopped)?,
            Err(_) => {
                let seconds = MAX_DIAL_TIME.as_secs();
                Err(DialError::Failed(format!("nobody there said who it is within {seconds} s")))
            }
        }
    }

    /// Disconnects a peer and forgets its addresses. Answers whether it was known.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn remove(&self, peer: PeerId) -> Result<bool, NetError> {
        self.command(|reply| Command::Remove { peer, reply }).await
    }

    /// Disconnects a peer and keeps it away: for a time, or without one until [`Net::unban`].
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn ban(&self, peer: PeerId, time: Option<Duration>) -> Result<(), NetError> {
        self.command(|reply| Command::Ban { peer, time, reply }).await
    }

    /// Lets a banned peer come again. Answers whether it was banned.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn unban(&self, peer: PeerId) -> Result<bool, NetError> {
        self.command(|reply| Command::Unban { peer, reply }).await
    }

    /// The bans that hold now.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn bans(&self) -> Result<Vec<Ban>, NetError> {
        self.command(|reply| Command::Bans { reply }).await
    }

    /// Tells that something was out of order about what a peer sent, found out by whoever uses the swarm.
    pub async fn report(&self, peer: PeerId, offence: Offence) {
        // A swarm that has ended has no use for it.
        let _ = self.commands.send(Command::Report { peer, offence }).await;
    }

    /// Says whose grains are neither taken nor passed on from now on, in place of what was said before.
    pub async fn block_authors(&self, authors: HashSet<AuthorId>) {
        // As above.
        let _ = self.commands.send(Command::BlockAuthors { authors }).await;
    }

    /// Takes over other caps. Answers how many peers are asked to leave, because they have no seat any more.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn set_caps(&self, caps: Caps) -> Result<usize, NetError> {
        self.command(|reply| Command::SetCaps { caps, reply }).await
    }

    /// Tells that another machine runs with this node's identity, found out by whoever uses the swarm.
    pub async fn report_twin(&self) {
        // As above.
        let _ = self.commands.send(Command::ReportTwin).await;
    }

    /// Tells that a peer was of use: so many grains came from it that were new.
    pub async fn praise(&self, peer: PeerId, grains: usize) {
        // As above.
        let _ = self.commands.send(Command::Praise { peer, grains }).await;
    }

    /// Peers whose addresses are known, connected or not.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn known(&self) -> Result<Vec<KnownPeer>, NetError> {
        Ok(self.saved().await?.peers)
    }

    /// What is to be kept for the next start: known addresses and bans.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn saved(&self) -> Result<Saved, NetError> {
        self.command(|reply| Command::Saved { reply }).await
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NetError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| NetError::Stopped)?;
        answer.await.map_err(|_| NetError::Stopped)
    }
}

/// The key that the node of an identity is known by on the network.
pub(crate) fn network_key(identity: &Identity) -> Keypair {
    Keypair::ed25519_from_bytes(*identity.network_seed()).expect("any 32 bytes are an ed25519 seed")
}

/// The id on the network of the node of an identity. Its author does not tell it: that takes the secret.
#[must_use]
pub fn peer_of(identity: &Identity) -> PeerId {
    network_key(identity).public().to_peer_id()
}
