//! The thread that writes: gathers changes, checks the rules that need state, commits, and tells what came of it.

use std::sync::Arc;
use std::time::Instant;

use synapsenet_net::PeerId;
use synapsenet_proto::{AuthorId, Grain, GrainId, Kind, MAX_CLOCK_SKEW_MS, Refusal, Topic};
use synapsenet_storage::{Change, Counts, LANE_OWN, Outcome, Slot, StorageError, View};
use tokio::sync::{Notify, mpsc, watch};

use super::{Command, IngestError, LOOK_FOR_ROOM, MAX_COMMIT, Origin, Put, Replaced, Reply, Via, now_ms};
use crate::memory::Memory;
use crate::memory::admission::{Admission, Brought};
use crate::memory::announcer::Announcer;
use crate::memory::emergence::Lowest;
use crate::memory::events::{Events, Happening};
use crate::metrics::timed;

/// Owns the right to write to the store.
pub(super) struct Writer {
    pub memory: Arc<Memory>,
    pub announcer: Announcer,
    pub events: Events,
    pub admission: Admission,
    /// Which grains of strangers are worth least.
    pub lowest: Lowest,
    /// How many notes of the owner wait for their vectors, where that was counted for this commit.
    pub own_pending: Option<u64>,
    pub changed: Arc<Notify>,
    /// Whether the disk is full, for whoever wants to know.
    pub full: watch::Sender<bool>,
    /// When writing failed last because it was.
    pub failed: Option<Instant>,
    /// Whether another machine seals in this node's name, for whoever wants to know.
    pub twin: watch::Sender<bool>,
    /// When this node started, in milliseconds since 1970-01-01 UTC.
    pub started_ms: u64,
}

/// Who waits for which part of a commit's outcomes.
enum Waiting {
    Put {
        put: Box<Arrival>,
        reply: Reply<Put>,
    },
    Together {
        puts: Vec<Arrival>,
        reply: Reply<Vec<Put>>,
    },
    Replace {
        old: GrainId,
        /// What comes, and the retraction of what goes.
        arrivals: Box<[Arrival; 2]>,
        reply: Reply<Replaced>,
    },
    /// Nobody: room is made for what comes after it.
    Room {
        /// Whether scores say what goes first.
        by_score: bool,
    },
    /// Nobody: it is counted how often grains were of use.
    Uses,
    Apply {
        count: usize,
        reply: Reply<Vec<Outcome>>,
    },
}

/// What is told of a grain once it is on disk.
struct Arrival {
    id: GrainId,
    topic: Topic,
    author: AuthorId,
    created_ms: u64,
    retracts: Option<GrainId>,
    shared: bool,
    peer: Option<(PeerId, Via)>,
    /// A retraction of this node's that may leave it: announced once it is on disk.
    announce: bool,
}

impl Arrival {
    fn new(grain: &Grain, origin: &Origin) -> Self {
        let retracts = grain.retracted();
        let (shared, peer) = match origin {
            Origin::Here { shared } => (*shared, None),
            Origin::Peer { peer, via, .. } => (true, Some((*peer, *via))),
        };
        let announce = retracts.is_some() && shared && peer.is_none();
        let (id, topic, author) = (grain.id(), grain.topic().clone(), grain.author());
        let created_ms = grain.created_ms();
        Self { id, topic, author, created_ms, retracts, shared, peer, announce }
    }
}

impl Waiting {
    /// How many changes of the commit are its.
    fn changes(&self) -> usize {
        match self {
            Self::Put { .. } | Self::Replace { .. } | Self::Room { .. } | Self::Uses => 1,
            Self::Together { puts, .. } => puts.len(),
            Self::Apply { count, .. } => *count,
        }
    }

    fn fail(self, error: &Arc<StorageError>) {
        match self {
            Self::Room { .. } | Self::Uses => {}
            Self::Put { reply, .. } => answer(reply, Err(IngestError::Storage(error.clone()))),
            Self::Together { reply, .. } => answer(reply, Err(IngestError::Storage(error.clone()))),
            Self::Replace { reply, .. } => answer(reply, Err(IngestError::Storage(error.clone()))),
            Self::Apply { reply, .. } => answer(reply, Err(IngestError::Storage(error.clone()))),
        }
    }
}

impl Writer {
    /// Works until the queue ends.
    ///
    /// # Errors
    /// Why the store can be read or written no more.
    pub fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), Arc<StorageError>> {
        while let Some(first) = commands.blocking_recv() {
            let held = match self.take_up_again() {
                Ok(()) => self.look(),
                Err(error) => Err(error),
            };
            match held {
                Ok((held, view)) => self.write(first, held, view, &mut commands)?,
                Err(error) if error.is_fatal() => return Err(Arc::new(error)),
                Err(error) => self.turn_away(first, &Arc::new(error), &mut commands)?,
            }
        }
        Ok(())
    }

    /// What is held before a commit, and the view that says so.
    fn look(&mut self) -> Result<(Counts, View), StorageError> {
        let view = self.memory.store.view()?;
        self.admission.begin(view.oldest_of_strangers()?);
        self.own_pending = None;
        Ok((view.counts()?, view))
    }

    /// Writes what waits, as much of it as fits into one commit.
    fn write(
        &mut self,
        first: Command,
        mut held: Counts,
        view: View,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<(), Arc<StorageError>> {
        let mut view = Some(view);
        let mut next = Some(first);
        let mut changes = Vec::new();
        let mut waiting = Vec::new();
        let mut writes_uses = false;
        while let Some(command) = next {
            match command {
                Command::Put { grain, origin, reply } => match self.admit(&grain, &origin, &mut view, held) {
                    Ok(Ok(admitted)) => {
                        count(&mut held, &grain, admitted);
                        let put = Box::new(Arrival::new(&grain, &origin));
                        waiting.push(Waiting::Put { put, reply });
                        changes.push(put_change(*grain, origin, admitted));
                    }
                    Ok(Err(refusal)) => {
                        self.refuse(&refusal, &origin);
                        answer(reply, Err(refusal.into()));
                    }
                    Err(error) if error.is_fatal() => return Err(Arc::new(error)),
                    Err(error) => answer(reply, Err(IngestError::Storage(Arc::new(error)))),
                },
                Command::Together { grains, reply } => {
                    let mut puts = Vec::with_capacity(grains.len());
                    for (grain, shared) in grains {
                        let origin = Origin::Here { shared };
                        puts.push(Arrival::new(&grain, &origin));
                        changes.push(put_change(grain, origin, synapsenet_storage::Origin::Here));
                    }
                    waiting.push(Waiting::Together { puts, reply });
                }
                Command::Replace { old, with, retraction, shared, reply } => {
                    let origin = Origin::Here { shared };
                    let arrivals = [&with, &retraction].map(|grain| Arrival::new(grain, &origin));
                    waiting.push(Waiting::Replace { old, arrivals: Box::new(arrivals), reply });
                    let (with, retraction, lane) = (*with, *retraction, origin.lane());
                    let received_ms = now_ms();
                    changes.push(Change::Replace { old, with, retraction, shared, received_ms, lane });
                }
                Command::Apply { changes: more, reply } => {
                    waiting.push(Waiting::Apply { count: more.len(), reply });
                    changes.extend(more);
                }
                // The last of what was counted goes with the last of all.
                Command::Stop => {
                    writes_uses = true;
                    commands.close();
                }
                Command::Uses => writes_uses = true,
                Command::Compact { reply } => {
                    // It waits until no view is open.
                    view = None;
                    self.compact(reply)?;
                }
                // That was done before this was called.
                Command::LookForRoom => {}
                Command::Limit(limits) => self.admission.limit(limits),
            }
            next = if changes.len() < MAX_COMMIT { commands.try_recv().ok() } else { None };
        }
        // It would keep what is overwritten from being used again.
        drop(view);
        if (writes_uses || !changes.is_empty())
            && let Some(uses) = self.memory.uses.take()
        {
            waiting.push(Waiting::Uses);
            changes.push(uses);
        }
        if held.strangers > 0 && !changes.is_empty() {
            let first = self.worth_least(held);
            waiting.push(Waiting::Room { by_score: !first.is_empty() });
            changes.push(self.admission.trim(first));
        }
        if changes.is_empty() { Ok(()) } else { self.commit(changes, waiting) }
    }

    /// The grains of strangers that go by their scores after this commit.
    fn worth_least(&mut self, held: Counts) -> Vec<Slot> {
        let count = self.admission.goes_by_score(held);
        if count == 0 {
            return Vec::new();
        }
        let own = self.announcer.author();
        let view = self.memory.store.view();
        let next = view.and_then(|view| self.lowest.next(&self.memory, &view, own, count));
        next.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is worth least cannot be read; the oldest go");
            Vec::new()
        })
    }

    fn compact(&mut self, reply: Reply<(u64, u64)>) -> Result<(), Arc<StorageError>> {
        let compacted = self.memory.store.compact().map_err(Arc::new);
        let told = compacted.clone().map_err(IngestError::Storage);
        answer(reply, told);
        match compacted {
            Err(error) if error.is_fatal() => Err(error),
            Err(error) if matches!(*error, StorageError::Full(_)) => {
                self.note_full();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Answers whoever wants something changed while the disk is full. Compacting may make room.
    fn turn_away(
        &mut self,
        command: Command,
        full: &Arc<StorageError>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<(), Arc<StorageError>> {
        match command {
            Command::Put { origin, reply, .. } => {
                if let Origin::Peer { via, .. } = origin {
                    self.memory.metrics.received(via.label(), "refused");
                }
                answer(reply, Err(IngestError::Storage(full.clone())));
            }
            Command::Together { reply, .. } => answer(reply, Err(IngestError::Storage(full.clone()))),
            Command::Replace { reply, .. } => answer(reply, Err(IngestError::Storage(full.clone()))),
            Command::Apply { reply, .. } => answer(reply, Err(IngestError::Storage(full.clone()))),
            Command::Compact { reply } => return self.compact(reply),
            Command::LookForRoom | Command::Uses => {}
            Command::Limit(limits) => self.admission.limit(limits),
            Command::Stop => commands.close(),
        }
        Ok(())
    }

    /// Looks whether a disk that was full has room again, unless that was tried just now.
    ///
    /// # Errors
    /// [`StorageError::Full`] when it has none, or another error of the store.
    fn take_up_again(&mut self) -> Result<(), StorageError> {
        if !*self.full.borrow() {
            return Ok(());
        }
        let is_too_soon = self.failed.is_some_and(|failed| failed.elapsed() < LOOK_FOR_ROOM);
        if is_too_soon || !self.memory.store.has_room() {
            return Err(StorageError::Full(std::io::ErrorKind::StorageFull.into()));
        }
        // Only a commit shows it.
        self.memory.store.write(Vec::new()).inspect_err(|_| self.failed = Some(Instant::now()))?;
        self.full.send_replace(false);
        tracing::info!("the disk has room again; changes are taken");
        // Whoever was turned away tries again, and what was refused may be there after all.
        self.changed.notify_one();
        Ok(())
    }

    /// Notes that the disk is full.
    fn note_full(&mut self) {
        self.failed = Some(Instant::now());
        if !self.full.send_replace(true) {
            tracing::warn!(
                "the disk is full: no change is taken until there is room; what is stored can be read"
            );
        }
    }

    /// Checks the rules that need state.
    fn admit(
        &mut self,
        grain: &Grain,
        origin: &Origin,
        view: &mut Option<View>,
        held: Counts,
    ) -> Result<Result<synapsenet_storage::Origin, Refusal>, StorageError> {
        let admitted = self.judge(grain, origin, view, held)?;
        if let (Err(why), Origin::Peer { .. }) = (&admitted, origin) {
            self.memory.scores.refused(grain, why);
        }
        Ok(admitted)
    }

    fn judge(
        &mut self,
        grain: &Grain,
        origin: &Origin,
        view: &mut Option<View>,
        held: Counts,
    ) -> Result<Result<synapsenet_storage::Origin, Refusal>, StorageError> {
        let ahead = grain.created_ms().saturating_sub(now_ms());
        if ahead > MAX_CLOCK_SKEW_MS {
            return Ok(Err(Refusal::FromTheFuture(ahead)));
        }
        let Origin::Peer { peer, claim, .. } = origin else {
            // A retraction makes room.
            let room = if grain.kind() == Kind::Note { held } else { Counts::default() };
            return Ok(self.admission.of_owner(room));
        };
        let view = match view {
            Some(view) => view,
            None => view.insert(self.memory.store.view()?),
        };
        if view.slot_of(&grain.id())?.is_some() {
            // What is here already takes no room and costs nobody anything.
            return Ok(Ok(synapsenet_storage::Origin::Known));
        }
        let bytes = (grain.as_bytes().len() + claim.as_ref().map_or(0, Vec::len)) as u64;
        let is_own = self.announcer.is_own(grain);
        // What the owner put in does not count against strangers.
        let own_pending = match self.own_pending {
            _ if held.pending == 0 || !self.admission.is_by_score() => 0,
            Some(counted) => counted,
            // Its time grows with what the owner put in: once in a commit.
            None => *self.own_pending.insert(view.pending_count(LANE_OWN)?),
        };
        let unscored = held.pending.saturating_sub(own_pending) + self.memory.scores.unscored();
        let uses = self.memory.scores.uses_of_author(&self.memory.uses, &grain.author());
        let brought = Brought { grain, by: *peer, bytes, is_own, unscored, uses };
        let admitted = self.admission.of_peer(&brought, &self.memory.rules(), view, held, Instant::now())?;
        match admitted {
            Err(Refusal::StrangersFull) => {
                self.memory.set_floor_ms(view.oldest_of_strangers()?.unwrap_or(u64::MAX));
            }
            _ if self.memory.floor_ms() > 0 && self.admission.is_roomy(held) => self.memory.set_floor_ms(0),
            _ => {}
        }
        Ok(admitted)
    }

    fn refuse(&self, refusal: &Refusal, origin: &Origin) {
        self.memory.metrics.refused(refusal);
        if let Origin::Peer { via, .. } = origin {
            self.memory.metrics.received(via.label(), "refused");
        }
    }

    /// Writes all of it in one transaction and answers everybody.
    ///
    /// # Errors
    /// Why the store can be written no more.
    fn commit(&mut self, changes: Vec<Change>, waiting: Vec<Waiting>) -> Result<(), Arc<StorageError>> {
        // Only needed when one damaged record spoils the transaction of all; a copy of a grain shares its bytes.
        let copy = if waiting.len() > 1 { changes.clone() } else { Vec::new() };
        let are_rules =
            |change: &Change| matches!(change, Change::SetAuthorRule { .. } | Change::SetTopicPolicy { .. });
        let has_rules = changes.iter().any(are_rules);
        match timed(&self.memory.metrics.commit, || self.memory.store.write(changes)) {
            Ok(outcomes) => {
                if has_rules && let Err(error) = self.memory.read_rules() {
                    tracing::error!(%error, "the rules about authors and topics cannot be read");
                }
                // Before anybody is answered: what is acknowledged is found by its words.
                if let Err(error) = self.memory.store.view().and_then(|view| self.memory.words.follow(&view))
                {
                    tracing::error!(%error, "the index of words is behind the store");
                }
                self.reply(outcomes, waiting);
                self.changed.notify_one();
                Ok(())
            }
            Err(error @ StorageError::Full(_)) => {
                let error = Arc::new(error);
                waiting.into_iter().for_each(|waiting| waiting.fail(&error));
                self.note_full();
                Ok(())
            }
            Err(error) if !error.is_fatal() && !copy.is_empty() => {
                tracing::warn!(%error, "a commit failed; its parts are written one by one");
                let mut changes = copy.into_iter();
                waiting.into_iter().try_for_each(|waiting| {
                    let part = changes.by_ref().take(waiting.changes()).collect();
                    self.commit(part, vec![waiting])
                })
            }
            Err(error) => {
                let fatal = error.is_fatal();
                tracing::error!(%error, fatal, "a commit failed; nothing of it is stored");
                let error = Arc::new(error);
                waiting.into_iter().for_each(|waiting| waiting.fail(&error));
                if fatal { Err(error) } else { Ok(()) }
            }
        }
    }

    fn reply(&self, outcomes: Vec<Outcome>, waiting: Vec<Waiting>) {
        let mut outcomes = outcomes.into_iter();
        for waiting in waiting {
            match waiting {
                Waiting::Room { by_score } => {
                    if let Some(Outcome::Dropped { count: count @ 1.. }) = outcomes.next() {
                        let reason = if by_score { "score" } else { "age" };
                        self.memory.metrics.let_go(reason, count);
                        self.raise_floor();
                    }
                }
                Waiting::Uses => drop(outcomes.next()),
                Waiting::Put { put, reply } => {
                    let outcome = outcomes.next().expect("the store answers every change");
                    answer(reply, self.put_outcome(outcome, *put));
                }
                Waiting::Together { puts, reply } => {
                    let put = |arrival| {
                        let outcome = outcomes.next().expect("the store answers every change");
                        self.put_outcome(outcome, arrival)
                    };
                    answer(reply, puts.into_iter().map(put).collect());
                }
                Waiting::Replace { old, arrivals, reply } => {
                    let outcome = outcomes.next().expect("the store answers every change");
                    answer(reply, self.replaced(outcome, old, *arrivals));
                }
                Waiting::Apply { count, reply } => answer(reply, Ok(outcomes.by_ref().take(count).collect())),
            }
        }
    }

    /// Remembers from when on strangers' grains are taken, now that the older ones went.
    fn raise_floor(&self) {
        match self.memory.store.view().and_then(|view| view.oldest_of_strangers()) {
            Ok(oldest) => self.memory.set_floor_ms(oldest.unwrap_or(u64::MAX)),
            // Older ones are fetched and refused meanwhile.
            Err(error) => tracing::warn!(%error, "the oldest grain of strangers cannot be read"),
        }
    }

    fn put_outcome(&self, outcome: Outcome, arrival: Arrival) -> Result<Put, IngestError> {
        let metrics = &self.memory.metrics;
        let (id, shared, via) = (arrival.id, arrival.shared, arrival.peer.map(|(_, via)| via.label()));
        let (label, put) = match outcome {
            Outcome::Added { slot } => {
                metrics.grains.inc();
                self.tell(slot, arrival);
                ("added", Ok(Put::Added))
            }
            Outcome::Duplicate { id, shared } => ("duplicate", Ok(Put::Duplicate { id, shared })),
            Outcome::Retracted => {
                metrics.refused(&Refusal::Retracted);
                ("refused", Err(Refusal::Retracted.into()))
            }
            Outcome::Forgotten => {
                metrics.refused(&Refusal::Forgotten);
                ("refused", Err(Refusal::Forgotten.into()))
            }
            Outcome::Unchanged
            | Outcome::Changed
            | Outcome::NoRoom
            | Outcome::OtherwiseShared { .. }
            | Outcome::Replaced { .. }
            | Outcome::Dropped { .. } => ("duplicate", Ok(Put::Duplicate { id, shared })),
        };
        if let Some(via) = via {
            metrics.received(via, label);
        }
        put
    }

    fn replaced(
        &self,
        outcome: Outcome,
        old: GrainId,
        [with, retraction]: [Arrival; 2],
    ) -> Result<Replaced, IngestError> {
        match outcome {
            Outcome::Replaced { id, is_new, shared, slot, retraction: retraction_slot } => {
                if is_new {
                    self.memory.metrics.grains.inc();
                    self.tell(slot, with);
                }
                self.memory.metrics.grains.inc();
                self.tell(retraction_slot, retraction);
                Ok(Replaced::Now { id, is_new, shared })
            }
            Outcome::Duplicate { id, shared } if id == old => Ok(Replaced::Same { shared }),
            Outcome::OtherwiseShared { id } => Ok(Replaced::OtherwiseShared { id }),
            Outcome::Unchanged => Ok(Replaced::NotFound),
            outcome => {
                // It may not come in.
                self.put_outcome(outcome, with)?;
                Ok(Replaced::NotFound)
            }
        }
    }

    /// Tells of a grain that is new.
    fn tell(&self, slot: Slot, arrival: Arrival) {
        let Arrival { id, topic, author, created_ms, retracts, peer, announce, .. } = arrival;
        // Peers bring back what was lost here with a disk or a backup; what was sealed since this node runs, it did not seal.
        if peer.is_some() && author == self.announcer.author() && created_ms > self.started_ms {
            self.twin.send_replace(true);
        }
        let peer = peer.map(|(peer, _)| peer);
        self.events.tell(Happening::GrainAdded { slot, id, topic, author, retracts, peer });
        if announce {
            match self.announcer.offer(&id) {
                Ok(Some(offer)) => self.announcer.announce(offer.outgoing),
                Ok(None) => {}
                // Synchronisation delivers.
                Err(error) => tracing::warn!(%error, "a retraction is not announced"),
            }
        }
    }
}

/// What a grain handed in changes in the store.
fn put_change(grain: Grain, origin: Origin, admitted: synapsenet_storage::Origin) -> Change {
    let (shared, lane) = (origin.is_shared(), origin.lane());
    let claim = match origin {
        Origin::Here { .. } => None,
        Origin::Peer { claim, .. } => claim,
    };
    Change::Put { grain, shared, received_ms: now_ms(), claim, origin: admitted, lane }
}

/// Counts a grain among what is held, before it is written: at a guess, which the next commit makes good.
fn count(held: &mut Counts, grain: &Grain, admitted: synapsenet_storage::Origin) {
    let is_note = grain.kind() == Kind::Note;
    if is_note {
        held.notes += 1;
    } else {
        held.retractions += 1;
    }
    if admitted == synapsenet_storage::Origin::Stranger {
        held.strangers += 1;
        held.stranger_notes += u64::from(is_note);
        held.stranger_bytes += grain.as_bytes().len() as u64;
    }
}

/// Answers a caller. One that hung up meanwhile no longer wants to know.
fn answer<T>(reply: Reply<T>, value: Result<T, IngestError>) {
    let _ = reply.send(value);
}
