//! The one door in: every change of the store goes through this thread, many in one commit.
//!
//! ```text
//! put, receive, apply, ... --queue--> ingest thread --one transaction, one sync--> store
//!                                        `--oneshot replies once it is on disk
//! ```
//!
//! Rules that need state are checked here (the clock; what [`crate::memory::admission`] says of peers); a [`Grain`] in hand is already
//! well-formed and signed. While one commit is being written, the next changes gather in the queue and share the commit
//! after it. Whoever is told of what came in ([`Events`], the mesh) is told after the commit.
//!
//! A full disk is no failure: every change is refused for it, what is stored can be read, and once there is room the thread
//! takes up again by itself.

mod writer;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use synapsenet_net::PeerId;
use synapsenet_proto::{Announcement, Grain, GrainId, Refusal};
use synapsenet_storage::{Change, LANE_AGAIN, LANE_OWN, Lane, Outcome, StorageError};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::admission::Admission;
pub(crate) use crate::memory::admission::Limits;
use crate::memory::announcer::Announcer;
use crate::memory::emergence::Lowest;
use crate::memory::events::Events;
use crate::tasks::Alarm;
use crate::traces;
use writer::Writer;

/// Changes that may wait: at 36 KiB a grain with its claim at most 36 MiB.
const QUEUE: usize = 1024;
/// Changes in one commit: a commit of this many takes some tens of milliseconds, which bounds a single caller's wait.
const MAX_COMMIT: usize = 1024;

/// How often it is looked whether a disk that was full has room again: soon enough for somebody who has just made some, and
/// nothing beside what a node does all the time.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum IngestError {
    /// The grain breaks a rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not write. The grain is not stored. With [`StorageError::Full`] it can be tried again when there is
    /// room.
    #[error("not stored: {0}")]
    Storage(Arc<StorageError>),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// What became of a grain that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is on disk now.
    Added,
    /// The grain named here says the same and was there already.
    Duplicate {
        /// Which one.
        id: GrainId,
        /// Whether that one may leave the node.
        shared: bool,
    },
}

/// What became of the wish to put a note in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// It stands there now.
    Now {
        /// The note that is stored.
        id: GrainId,
        /// Whether it was not before.
        is_new: bool,
        /// Whether it may leave the node.
        shared: bool,
    },
    /// Both say the same: nothing was changed.
    Same {
        /// Whether the note may leave the node.
        shared: bool,
    },
    /// The other is not here.
    NotFound,
    /// This note is shared where it was thought to be private, or the reverse: nothing was changed.
    OtherwiseShared {
        /// The other itself, or one that says already what was to be said.
        id: GrainId,
    },
}

/// What became of the wish to share a grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    /// It was private and may leave the node from now on.
    Now,
    /// It might leave the node before.
    Already,
    /// No grain has this id here.
    NotFound,
}

/// How a peer's grain came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    /// It was announced.
    Gossip,
    /// It was fetched, because it was missing.
    Sync,
}

impl Via {
    fn label(self) -> &'static str {
        match self {
            Self::Gossip => "gossip",
            Self::Sync => "sync",
        }
    }
}

/// Who hands a grain in.
enum Origin {
    /// Somebody at this node.
    Here { shared: bool },
    /// A peer; what it brings is shared already.
    Peer { peer: PeerId, via: Via, claim: Option<Vec<u8>> },
}

impl Origin {
    /// Where a note of it waits for its vector: what one peer delivers waits together, and not with what others do. What
    /// comes with a claim waits apart, since it needs no model, and peers pass on floods of notes that do.
    fn lane(&self) -> Lane {
        match self {
            Self::Here { .. } => LANE_OWN,
            Self::Peer { peer, claim, .. } => {
                let mut name = peer.to_bytes();
                name.push(u8::from(claim.is_some()));
                let hash = *blake3::hash(&name).as_bytes();
                let lane = Lane::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
                if lane > LANE_AGAIN { lane } else { lane + LANE_AGAIN + 1 }
            }
        }
    }

    fn is_shared(&self) -> bool {
        match self {
            Self::Here { shared } => *shared,
            Self::Peer { .. } => true,
        }
    }
}

type Reply<T> = oneshot::Sender<Result<T, IngestError>>;

enum Command {
    Put {
        grain: Box<Grain>,
        origin: Origin,
        reply: Reply<Put>,
    },
    /// Several of somebody at this node, in one commit: all or none.
    Together {
        grains: Vec<(Grain, bool)>,
        reply: Reply<Vec<Put>>,
    },
    Replace {
        old: GrainId,
        with: Box<Grain>,
        retraction: Box<Grain>,
        shared: bool,
        reply: Reply<Replaced>,
    },
    Apply {
        changes: Vec<Change>,
        reply: Reply<Vec<Outcome>>,
    },
    Compact {
        reply: Reply<(u64, u64)>,
    },
    /// Looks whether a disk that was full has room again.
    LookForRoom,
    /// Writes on how many occasions grains were of use.
    Uses,
    /// Takes other limits.
    Limit(Limits),
    Stop,
}

/// What the thread needs to start.
pub(crate) struct Start {
    /// The store that it writes, and where it counts.
    pub memory: Arc<Memory>,
    /// Where shared grains of this node go.
    pub announcer: Announcer,
    /// Told of every grain that came in.
    pub events: Events,
    /// What is taken in at most.
    pub limits: Limits,
    /// Told after each commit.
    pub changed: Arc<Notify>,
    /// Told when the thread cannot go on.
    pub alarm: Alarm,
}

/// The way to the ingest thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ingest {
    queue: mpsc::Sender<Command>,
    memory: Arc<Memory>,
    announcer: Announcer,
    is_full: watch::Receiver<bool>,
    has_twin: watch::Receiver<bool>,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").finish_non_exhaustive()
    }
}

impl Ingest {
    /// Starts the thread.
    pub fn start(start: Start) -> (Self, JoinHandle<()>) {
        let (queue, commands) = mpsc::channel(QUEUE);
        let Start { memory, announcer, events, limits, changed, alarm } = start;
        let (full, is_full) = watch::channel(false);
        let (twin, has_twin) = watch::channel(false);
        let ingest = Self { queue, memory: memory.clone(), announcer: announcer.clone(), is_full, has_twin };
        let admission = Admission::new(limits, Instant::now());
        let started_ms = now_ms();
        let writer = Writer {
            memory,
            announcer,
            events,
            admission,
            lowest: Lowest::default(),
            own_pending: None,
            changed,
            full,
            failed: None,
            twin,
            started_ms,
        };
        let run = move || writer.run(commands).context("the database cannot be written any more");
        (ingest, alarm.thread("ingest", run))
    }

    /// What seals claims and announces grains in the name of this node.
    pub fn announcer(&self) -> &Announcer {
        &self.announcer
    }

    /// Whether the disk is full, so that nothing can be changed; what is stored can be read.
    pub fn is_disk_full(&self) -> bool {
        *self.is_full.borrow()
    }

    /// Tells whoever waits when the disk is full, and when it has room again.
    pub fn watch_disk(&self) -> watch::Receiver<bool> {
        self.is_full.clone()
    }

    /// Tells whoever waits once a peer brought a grain that was sealed in this node's name while it runs, and not here.
    pub fn watch_twin(&self) -> watch::Receiver<bool> {
        self.has_twin.clone()
    }

    /// Has it looked, while the disk is full, whether there is room again. Runs until `stop`: a part of the node.
    pub async fn look_for_room(self, stop: CancellationToken) {
        let mut is_full = self.is_full.clone();
        let looking = async {
            // The other end is the thread's; without it nothing can be changed any more.
            while is_full.wait_for(|is_full| *is_full).await.is_ok() {
                tokio::time::sleep(LOOK_FOR_ROOM).await;
                let _ = self.queue.send(Command::LookForRoom).await;
            }
            std::future::pending::<()>().await;
        };
        stop.run_until_cancelled(looking).await;
    }

    /// How many changes wait for the thread.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Takes in by other limits from now on.
    pub async fn limit(&self, limits: Limits) {
        // A thread that has ended takes nothing in.
        let _ = self.queue.send(Command::Limit(limits)).await;
    }

    /// Lets the thread end once everything before this in the queue is on disk. What comes later is answered
    /// [`IngestError::Stopped`].
    pub async fn stop(&self) {
        // A thread that has ended already needs no word.
        let _ = self.queue.send(Command::Stop).await;
    }

    /// Stores a grain of somebody at this node and answers once it is on disk.
    ///
    /// # Errors
    /// [`IngestError`]; then the grain is not stored.
    pub async fn put(&self, grain: Grain, shared: bool) -> Result<Put, IngestError> {
        let is_own_note = grain.retracted().is_none() && self.announcer.is_own(&grain);
        let origin = Origin::Here { shared };
        let put = self.ask(|reply| Command::Put { grain: Box::new(grain), origin, reply }).await?;
        if let Put::Duplicate { id, .. } = put
            && shared
            && is_own_note
        {
            self.offer(id, true).await?;
        }
        Ok(put)
    }

    /// Stores retractions of somebody at this node, each shared or not, in one commit: all or none. There are as many
    /// as a document has notes at most ([`synapsenet_storage::MAX_CHUNKS`]).
    ///
    /// # Errors
    /// [`IngestError`]; then none is stored.
    pub async fn retract_together(&self, retractions: Vec<(Grain, bool)>) -> Result<Vec<Put>, IngestError> {
        if retractions.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|reply| Command::Together { grains: retractions, reply }).await
    }

    /// Puts a note of this node's own author in the place of another, whose retraction is given: stores both, or neither. `shared` says
    /// whether the other may leave the node, as the caller saw it.
    ///
    /// # Errors
    /// [`IngestError`]; then all is as before.
    pub async fn replace(
        &self,
        old: GrainId,
        with: Grain,
        retraction: Grain,
        shared: bool,
    ) -> Result<Replaced, IngestError> {
        let (with, retraction) = (Box::new(with), Box::new(retraction));
        let replaced = self.ask(|reply| Command::Replace { old, with, retraction, shared, reply }).await?;
        if let Replaced::Now { id, is_new: false, shared: true } = replaced {
            self.offer(id, true).await?;
        }
        Ok(replaced)
    }

    /// Stores a grain that was fetched from a peer, and answers once it is on disk: whoever fetches goes no faster than
    /// that.
    ///
    /// # Errors
    /// [`IngestError`]; then the grain is not stored.
    pub async fn receive(&self, announcement: Announcement, from: PeerId) -> Result<Put, IngestError> {
        let (grain, origin) = self.arriving(announcement, from, Via::Sync);
        self.ask(|reply| Command::Put { grain, origin, reply }).await
    }

    /// Takes in a grain that a peer announced, without waiting for anything. False when the queue is full or the node
    /// is stopping: then it is dropped here, and synchronisation brings it again.
    pub fn try_receive(&self, announcement: Announcement, from: PeerId) -> bool {
        let (grain, origin) = self.arriving(announcement, from, Via::Gossip);
        // Nobody waits for the answer; what becomes of the grain is counted.
        let (reply, _) = oneshot::channel();
        let is_taken = self.queue.try_send(Command::Put { grain, origin, reply }).is_ok();
        if !is_taken {
            self.memory.metrics.received(Via::Gossip.label(), "dropped");
        }
        is_taken
    }

    fn arriving(&self, announcement: Announcement, peer: PeerId, via: Via) -> (Box<Grain>, Origin) {
        let Announcement { grain, claim } = announcement;
        // What another model says of a text is of no use here.
        let model = self.memory.current().id();
        let claim = claim.filter(|claim| claim.vector().model() == model);
        let claim = claim.map(|claim| claim.to_bytes());
        (Box::new(grain), Origin::Peer { peer, via, claim })
    }

    /// Lets a grain leave the node from now on, and announces it; a note whose vector is still to come is announced
    /// when it has one.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn share(&self, id: GrainId) -> Result<Shared, IngestError> {
        let outcomes = self.apply(vec![Change::Share { id }]).await?;
        if outcomes.first() == Some(&Outcome::Changed) {
            self.offer(id, false).await?;
            return Ok(Shared::Now);
        }
        let memory = self.memory.clone();
        let slot = blocking(move || memory.store.view()?.slot_of(&id)).await.map_err(storage_error)?;
        Ok(if slot.is_some() { Shared::Already } else { Shared::NotFound })
    }

    /// Vouches for a stored grain and announces it. `only_new`: unless there is nothing new to say of it.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn offer(&self, id: GrainId, only_new: bool) -> Result<(), IngestError> {
        let announcer = self.announcer.clone();
        let offer = blocking(move || announcer.offer(&id)).await.map_err(storage_error)?;
        let Some(offer) = offer.filter(|offer| !only_new || offer.new_claim.is_some()) else { return Ok(()) };
        if let Some(claim) = offer.new_claim {
            self.apply(vec![Change::AddClaim { slot: offer.outgoing.slot(), claim }]).await?;
        }
        self.announcer.announce(offer.outgoing);
        Ok(())
    }

    /// Makes changes that are no grains (vectors, marks), all in one commit.
    ///
    /// # Errors
    /// [`IngestError`]; then none is made.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, IngestError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|reply| Command::Apply { changes, reply }).await
    }

    /// Makes changes that nobody waits for. When the queue is full they are dropped: what they say is found out again.
    pub fn try_apply(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            let (reply, _) = oneshot::channel();
            let _ = self.queue.try_send(Command::Apply { changes, reply });
        }
    }

    /// Has it written how often grains were of use, as long as nothing else is. A full queue brings it with what it holds.
    pub fn write_uses(&self) {
        let _ = self.queue.try_send(Command::Uses);
    }

    /// Compacts the database file. Answers its size before and after, in bytes.
    ///
    /// # Errors
    /// [`IngestError::Storage`].
    pub async fn compact(&self) -> Result<(u64, u64), IngestError> {
        self.ask(|reply| Command::Compact { reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, IngestError> {
        let _part = traces::part("store");
        let (reply, answer) = oneshot::channel();
        self.queue.send(command(reply)).await.map_err(|_| IngestError::Stopped)?;
        answer.await.map_err(|_| IngestError::Stopped)?
    }
}

fn storage_error(error: StorageError) -> IngestError {
    IngestError::Storage(Arc::new(error))
}

/// The time in milliseconds since 1970-01-01 UTC, by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use synapsenet_proto::{Identity, MAX_CLOCK_SKEW_MS, SpaceId, Vector};

    use super::*;
    use crate::memory::events::Happening;
    use crate::testing::{Fixture, author, claimed, note, peer};

    fn without_claim(grain: Grain) -> Announcement {
        Announcement { grain, claim: None }
    }

    fn retraction(of: &Grain, by: &Identity) -> Grain {
        Grain::retract(of.id(), of.topic().clone(), by, now_ms()).unwrap()
    }

    #[tokio::test]
    async fn what_a_peer_brings_is_stored_shared_and_told() {
        let node = Fixture::new();
        let mut told = node.events.listen();
        let brought = claimed(&author(1), "a text", &node.vector(1));
        assert_eq!(node.ingest.receive(brought.clone(), peer(9)).await.unwrap(), Put::Added);
        let again = node.ingest.receive(brought.clone(), peer(8)).await.unwrap();
        assert_eq!(again, Put::Duplicate { id: brought.grain.id(), shared: true });
        let slot = node.slot_of(brought.grain.id());
        assert!(node.view().record(slot).unwrap().unwrap().shared);
        assert_eq!(node.view().claim(slot).unwrap(), Some(brought.claim.unwrap().to_bytes()));
        let Ok(Happening::GrainAdded { id, peer: from, retracts, .. }) = told.try_recv() else { panic!() };
        assert_eq!((id, from, retracts), (brought.grain.id(), Some(peer(9)), None));
        assert!(told.try_recv().is_err(), "a duplicate is no news");
    }

    #[tokio::test]
    async fn a_claim_about_another_model_is_not_kept() {
        let node = Fixture::new();
        let other = Vector::new(SpaceId::from_bytes([9; 32]), node.vector(1).values().to_vec()).unwrap();
        let brought = claimed(&author(1), "a text", &other);
        let id = brought.grain.id();
        node.ingest.receive(brought, peer(9)).await.unwrap();
        assert_eq!(node.view().claim(node.slot_of(id)).unwrap(), None);
    }

    #[tokio::test]
    async fn peers_may_say_the_same_words_twice_and_people_here_may_not() {
        let node = Fixture::new();
        let draft = |ms| {
            let draft = synapsenet_proto::Draft { text: "the same".into(), ..Default::default() };
            Grain::seal(draft, &author(1), ms).unwrap()
        };
        assert_eq!(node.ingest.put(draft(1), false).await.unwrap(), Put::Added);
        let again = node.ingest.put(draft(2), false).await.unwrap();
        assert_eq!(again, Put::Duplicate { id: draft(1).id(), shared: false });
        assert_eq!(node.ingest.receive(without_claim(draft(3)), peer(9)).await.unwrap(), Put::Added);
    }

    #[tokio::test]
    async fn the_quota_keeps_out_what_strangers_say_unless_it_makes_room() {
        let node = Fixture::with_quota(1);
        let refused = node.ingest.receive(without_claim(note(&author(1), "a text")), peer(1)).await;
        assert!(matches!(refused, Err(IngestError::Refused(Refusal::StrangersFull))), "{refused:?}");
        let own = note(&author(0), "my own");
        assert_eq!(node.ingest.put(own.clone(), true).await.unwrap(), Put::Added);
        // Anybody can withdraw what was never here, without end.
        let withdrawn = retraction(&note(&author(1), "a text"), &author(1));
        let refused = node.ingest.receive(without_claim(withdrawn), peer(1)).await;
        assert!(matches!(refused, Err(IngestError::Refused(Refusal::IdleRetraction(_)))), "{refused:?}");
        let withdrawn = retraction(&own, &author(0));
        assert_eq!(node.ingest.receive(without_claim(withdrawn), peer(1)).await.unwrap(), Put::Added);
    }

    #[tokio::test]
    async fn a_peer_may_not_date_grains_into_the_future() {
        let node = Fixture::new();
        let draft = synapsenet_proto::Draft { text: "soon".into(), ..Default::default() };
        let grain = Grain::seal(draft, &author(1), now_ms() + 2 * MAX_CLOCK_SKEW_MS).unwrap();
        let refused = node.ingest.receive(without_claim(grain), peer(1)).await;
        assert!(matches!(refused, Err(IngestError::Refused(Refusal::FromTheFuture(_)))), "{refused:?}");
    }

    /// Somebody copied the data folder to another machine and runs both.
    #[tokio::test]
    async fn a_grain_in_this_nodes_name_that_it_did_not_seal_tells_of_another_machine() {
        let node = Fixture::new();
        let seal = |by: u8, ms| {
            let draft = synapsenet_proto::Draft { text: format!("at {ms}"), ..Default::default() };
            Grain::seal(draft, &author(by), ms).unwrap()
        };
        let later = now_ms() + 60_000;
        let here = seal(0, later);
        node.ingest.put(here.clone(), true).await.unwrap();
        for innocent in [here, seal(0, 1), seal(1, later)] {
            node.ingest.receive(without_claim(innocent), peer(3)).await.unwrap();
            assert!(!*node.ingest.watch_twin().borrow());
        }
        node.ingest.receive(without_claim(seal(0, later + 1)), peer(3)).await.unwrap();
        assert!(*node.ingest.watch_twin().borrow());
    }

    #[tokio::test]
    async fn a_note_takes_the_place_of_another_and_both_are_told() {
        let mut node = Fixture::new();
        let (old, new) = (note(&author(0), "the old one"), note(&author(0), "the new one"));
        let gone = retraction(&old, &author(0));
        let missing = node.ingest.replace(old.id(), new.clone(), gone.clone(), true).await.unwrap();
        assert_eq!(missing, Replaced::NotFound);
        node.ingest.put(old.clone(), true).await.unwrap();
        let same =
            node.ingest.replace(old.id(), note(&author(0), "the old one"), gone.clone(), true).await.unwrap();
        assert_eq!(same, Replaced::Same { shared: true });
        let private = note(&author(0), "what is nobody's business");
        node.ingest.put(private.clone(), false).await.unwrap();
        for (with, shared, in_the_way) in [(&private, true, private.id()), (&new, false, old.id())] {
            let refused = node.ingest.replace(old.id(), with.clone(), gone.clone(), shared).await.unwrap();
            assert_eq!(refused, Replaced::OtherwiseShared { id: in_the_way });
            assert!(node.view().shared_record(&private.id()).unwrap().is_none());
            assert!(node.view().shared_record(&old.id()).unwrap().is_some());
        }
        let mut told = node.events.listen();
        let replaced = node.ingest.replace(old.id(), new.clone(), gone.clone(), true).await.unwrap();
        assert_eq!(replaced, Replaced::Now { id: new.id(), is_new: true, shared: true });
        let mut next = || match told.try_recv().unwrap() {
            Happening::GrainAdded { slot, id, retracts, .. } => (slot, id, retracts),
            other => panic!("{other:?}"),
        };
        assert_eq!(next(), (node.slot_of(new.id()), new.id(), None));
        assert_eq!(next(), (node.slot_of(gone.id()), gone.id(), Some(old.id())));
        assert_eq!(node.announced.try_recv().unwrap().grain(), &gone);
        assert_eq!(node.view().slot_of(&old.id()).unwrap(), None);
    }

    #[tokio::test]
    async fn nothing_to_change_is_no_reason_to_end() {
        assert_eq!(Fixture::new().ingest.apply(Vec::new()).await.unwrap(), Vec::new());
    }

    #[tokio::test]
    async fn a_full_queue_drops_what_was_announced_and_does_not_wait() {
        let node = Fixture::new();
        // Nobody takes anything out of this queue.
        let (queue, _commands) = mpsc::channel(1);
        let ingest = Ingest { queue, ..node.ingest.clone() };
        assert!(ingest.try_receive(without_claim(note(&author(1), "one")), peer(1)));
        assert!(!ingest.try_receive(without_claim(note(&author(1), "two")), peer(1)));
    }

    #[tokio::test]
    async fn a_retraction_is_announced_at_once_if_it_may_leave() {
        let mut node = Fixture::new();
        let (private, shared) = (note(&author(0), "private"), note(&author(0), "shared"));
        node.ingest.put(retraction(&private, &author(0)), false).await.unwrap();
        assert!(node.announced.try_recv().is_err());
        let withdrawn = retraction(&shared, &author(0));
        node.ingest.put(withdrawn.clone(), true).await.unwrap();
        assert_eq!(node.announced.try_recv().unwrap().grain(), &withdrawn);
        node.ingest.receive(without_claim(note(&author(1), "a note")), peer(1)).await.unwrap();
        node.ingest.receive(without_claim(retraction(&shared, &author(1))), peer(1)).await.unwrap();
        assert!(node.announced.try_recv().is_err(), "a peer's retraction is the mesh's own business");
    }

    #[tokio::test]
    async fn a_note_that_is_shared_once_it_has_its_vector_is_vouched_for_and_announced() {
        let mut node = Fixture::new();
        let grain = note(&author(0), "a text");
        node.ingest.put(grain.clone(), false).await.unwrap();
        let slot = node.slot_of(grain.id());
        let vector = node.vector(3).encode(crate::memory::VECTOR_ENCODING);
        node.ingest.apply(vec![Change::AddVector { slot, vector }]).await.unwrap();

        assert_eq!(node.ingest.share(grain.id()).await.unwrap(), Shared::Now);
        let announced = node.announced.try_recv().unwrap().into_announcement();
        let claim = announced.claim.unwrap();
        assert!(claim.vector().decode().unwrap().cosine(&node.vector(3)).unwrap() > 0.999);
        assert_eq!(node.view().claim(slot).unwrap(), Some(claim.to_bytes()));
        assert_eq!(node.ingest.share(grain.id()).await.unwrap(), Shared::Already);
        assert_eq!(node.ingest.share(GrainId::from_bytes([0; 32])).await.unwrap(), Shared::NotFound);
        node.ingest.put(note(&author(0), "a text"), true).await.unwrap();
        assert!(node.announced.try_recv().is_err(), "it is announced once");
    }
}
