//! From stored to searchable: pending grains get vectors, and the indexes follow the store's log.
//!
//! ```text
//! pending --claims taken over, or embedded in batches--> vectors + log entries + no longer pending (one transaction)
//!         --apply log--> HNSW
//! ```
//!
//! When nothing is pending, what each grain adds is computed; see [`score`]. Then grains that only a former model has vectors of are embedded anew; see [`anew`]. Then the vectors
//! that authors claim are compared, until none is unchecked; see [`check`].
//!
//! A note whose vector its author claims (see [`crate::memory::claims`]) needs no model to be indexed. Of this node's own
//! shared notes it is the indexer that makes claims, and announces them: only here their vectors are at hand.
//!
//! An index only ever changes here. A crash anywhere repeats at worst one batch of embedding.

mod anew;
mod check;
mod score;
mod vectors;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use synapsenet_index::Model;
use synapsenet_proto::{AuthorId, GrainId, SpaceId};
use synapsenet_storage::{Change, LANE_OWN, Lane, Slot, StorageError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::memory::announcer::Outgoing;
use crate::memory::claims::{Plain, Reading, Round};
use crate::memory::ingest::{Ingest, IngestError};
use crate::memory::spaces::{Space, SpaceError};
use crate::memory::{Memory, VECTOR_ENCODING};
use crate::models::Models;
use crate::models::embedder::EmbedError;
use score::Scoring;

/// Log entries after which the index is saved, so that a start after a crash has little to replay.
const SNAPSHOT_EVERY: u64 = 20_000;

/// How far indexing has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Every note with a slot up to this one is in the index, or gone, or the model failed on it.
    pub done_slot: Slot,
    /// The same of the notes that were put at this node, which do not wait for those of others.
    pub own_done_slot: Slot,
    /// Notes stored and not yet searchable.
    pub pending: u64,
    /// Of these, those that were put at this node.
    pub own_pending: u64,
    /// Of the pending ones, those that the model cannot read, or failed on.
    pub unreadable: u64,
    /// When the oldest of the other pending ones came in, in milliseconds since 1970-01-01 UTC. None when there are none.
    pub oldest_pending_ms: Option<u64>,
}

/// Why the indexer cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexerError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// The loop that makes stored grains searchable.
pub(crate) struct Indexer {
    memory: Arc<Memory>,
    models: Models,
    ingest: Ingest,
    /// Told after each commit.
    changed: Arc<Notify>,
    progress: watch::Sender<Progress>,
    /// The lane that had its turn last.
    turn: Lane,
    /// The notes that a model failed on. They stay as they are until the next start, or another model.
    failed: Failed,
    /// How far the unchecked vectors have been gone through.
    checked: Slot,
    /// When notes were taken in last, and when all that could be scored was.
    took: Option<Instant>,
    level: Instant,
    /// Cancelled when it is to stop.
    stop: CancellationToken,
}

/// Notes that a model cannot read, or failed on.
#[derive(Debug, Clone, Default)]
struct Failed {
    model: Option<SpaceId>,
    slots: Arc<HashSet<Slot>>,
}

impl Failed {
    /// Those of this model. What another one failed on is forgotten.
    fn of(&mut self, model: SpaceId) -> Arc<HashSet<Slot>> {
        if self.model != Some(model) {
            *self = Self { model: Some(model), slots: Arc::default() };
        }
        self.slots.clone()
    }

    fn extend(&mut self, slots: Vec<Slot>) {
        if !slots.is_empty() {
            Arc::make_mut(&mut self.slots).extend(slots);
        }
    }
}

/// What an indexer is made of.
pub(crate) struct Parts {
    pub memory: Arc<Memory>,
    pub models: Models,
    pub ingest: Ingest,
    /// Told after each commit.
    pub changed: Arc<Notify>,
    /// Cancelled when it is to stop.
    pub stop: CancellationToken,
}

impl Indexer {
    /// Makes the loop, and where its progress is told.
    pub fn new(parts: Parts) -> (Self, watch::Receiver<Progress>) {
        let (progress, watched) = watch::channel(Progress::default());
        let Parts { memory, models, ingest, changed, stop } = parts;
        let (turn, failed, checked) = (LANE_OWN, Failed::default(), 0);
        let (took, level) = (None, Instant::now());
        let indexer =
            Self { memory, models, ingest, changed, progress, turn, failed, checked, took, level, stop };
        (indexer, watched)
    }

    /// Runs until it is to stop; then stores what the model has given so far, saves the index and returns.
    ///
    /// # Errors
    /// What it cannot go on after: the node has to stop.
    pub async fn run(mut self) -> Result<(), IndexerError> {
        let mut spaces = self.memory.watch_spaces();
        while !self.stop.is_cancelled() {
            spaces.mark_unchanged();
            match self.work().await {
                Ok(()) => {}
                Err(error) if self.was_disk_full(&error).await => {
                    self.wait_for_room().await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = self.changed.notified() => {}
                _ = spaces.changed() => {}
                () = self.stop.cancelled() => {}
            }
        }
        match self.finish().await {
            Err(error) if self.was_disk_full(&error).await => Ok(()),
            finished => finished,
        }
    }

    /// Does what there is to do, until nothing is left or it is to stop.
    async fn work(&mut self) -> Result<(), IndexerError> {
        while !self.stop.is_cancelled() {
            self.look_for_backlog().await?;
            let has_purged = self.purge().await?;
            if self.round().await? || has_purged {
                continue;
            }
            if self.memory.spaces().all().any(|space| space.applied() >= space.saved() + SNAPSHOT_EVERY) {
                self.save().await?;
            }
            let scoring = self.score_some().await?;
            if scoring == Scoring::Busy || self.embed_anew().await? || self.check_some().await? {
                continue;
            }
            match scoring {
                Scoring::HeldBack(left) => self.wait_for_more(left).await,
                Scoring::Busy | Scoring::Done => break,
            }
        }
        Ok(())
    }

    async fn finish(&self) -> Result<(), IndexerError> {
        self.catch_up().await?;
        self.save().await
    }

    /// Whether an error only means that the disk is full, or was when a view was open: then what was under way is done again
    /// once there is room.
    async fn was_disk_full(&self, error: &IndexerError) -> bool {
        let error = match error {
            IndexerError::Storage(error) | IndexerError::Space(SpaceError::Storage(error)) => error,
            IndexerError::Ingest(IngestError::Storage(error)) => error,
            _ => return false,
        };
        let memory = self.memory.clone();
        match error {
            StorageError::Full(_) => true,
            StorageError::Closed => blocking(move || memory.store.view().is_ok()).await,
            _ => false,
        }
    }

    async fn wait_for_room(&self) {
        let mut is_full = self.ingest.watch_disk();
        // When the thread that writes has ended, the node stops.
        self.stop.run_until_cancelled(is_full.wait_for(|is_full| !is_full)).await;
    }

    /// Takes one round of pending grains into the store's log, and the round before into the indexes. True when there was
    /// one, which the next call takes into the indexes, unless it was of this node's own notes: those are in them now.
    async fn round(&mut self) -> Result<bool, IndexerError> {
        let start = Instant::now();
        // A model that is chosen meanwhile finds these grains in the space of this one.
        let space = self.memory.current();
        let (memory, model, own, turn) = (self.memory.clone(), space.model.clone(), self.own(), self.turn);
        let failed = self.failed.of(space.id());
        let reading = move || Round::read(&memory, &Reading { model: &model, own, turn, failed: &failed });
        let round = blocking(reading).await?;
        if round.is_empty() {
            self.catch_up().await?;
            return Ok(false);
        }
        self.turn = round.turn;
        let is_own = round.is_own;
        // While these are embedded, the indexes take in what the round before stored.
        let (settled, applied) = tokio::join!(self.settle(&space.model, round), self.catch_up());
        match applied.and(settled) {
            // It was unloaded because another is in use now, and cannot come back: its grains are that one's to read.
            Err(error) if self.is_out_of_use(&space, &error) => {}
            Err(error) => return Err(error),
            Ok(failed) => self.failed.extend(failed),
        }
        if is_own {
            // Whoever put them may wait for it, and the next round may be one of others.
            self.catch_up().await?;
        }
        self.took = Some(Instant::now());
        self.memory.metrics.batches.inc();
        self.memory.metrics.batch.observe(start.elapsed().as_secs_f64());
        Ok(true)
    }

    /// Whether this error means that the model of a space that is no longer the current one is not there any more.
    fn is_out_of_use(&self, space: &Space, error: &IndexerError) -> bool {
        matches!(error, IndexerError::Embed(EmbedError::NotLoaded(_)))
            && self.memory.current().id() != space.id()
    }

    fn own(&self) -> AuthorId {
        self.ingest.announcer().author()
    }

    /// Gives the notes of a round their vectors: first those that are claimed, then the others. Answers those that the
    /// model failed on.
    async fn settle(&self, model: &Model, round: Round) -> Result<Vec<Slot>, IndexerError> {
        self.ingest.apply(round.changes).await?;
        self.memory.metrics.claims("believed", round.believed);
        match round.plain.is_empty() {
            true => Ok(Vec::new()),
            false => self.embed(model, round.plain, round.shared_seq).await,
        }
    }

    /// Computes and stores the vectors of these notes, which were read when the store's `shared_seq` was this. Vouches for
    /// this node's own ones that may leave it, and announces them. Answers those that the model failed on.
    async fn embed(
        &self,
        model: &Model,
        notes: Vec<Plain>,
        shared_seq: u64,
    ) -> Result<Vec<Slot>, IndexerError> {
        let announcer = self.ingest.announcer();
        let texts =
            notes.iter().map(|note| (note.record.slot, note.record.grain.passage().into_owned())).collect();
        let mut vectors = self.vectors(model, texts).await?;
        let mut failed = Vec::new();
        let mut changes = Vec::with_capacity(vectors.len());
        let mut announced = Vec::new();
        let mut private: Vec<GrainId> = Vec::new();
        for Plain { record, had_claim } in notes {
            let slot = record.slot;
            let Some(vector) = vectors.remove(&slot) else {
                if !self.stop.is_cancelled() {
                    failed.push(slot);
                }
                continue;
            };
            let stored = Change::AddVector { slot, vector: vector.encode(VECTOR_ENCODING) };
            if !announcer.is_own(&record.grain) {
                changes.push(stored);
                continue;
            }
            let id = record.grain.id();
            let Some(outgoing) = Outgoing::of(record) else {
                private.push(id);
                changes.push(stored);
                continue;
            };
            let claim = announcer.claim(id, &vector);
            // The claim first: what becomes searchable has it from the beginning, and the log need not tell of it.
            changes.push(Change::AddClaim { slot, claim: claim.to_bytes() });
            changes.push(stored);
            // With a claim for an earlier model, it was announced long ago.
            if !had_claim {
                announced.push(outgoing.with_claim(claim));
            }
        }
        self.ingest.apply(changes).await?;
        announced.into_iter().for_each(|outgoing| announcer.announce(outgoing));
        self.offer_shared_meanwhile(private, shared_seq).await?;
        Ok(failed)
    }

    /// Announces those of these notes, private when they were read, that were shared while they were embedded: whoever
    /// shared them saw no vector yet, and left that to the indexer.
    async fn offer_shared_meanwhile(
        &self,
        private: Vec<GrainId>,
        shared_seq: u64,
    ) -> Result<(), IndexerError> {
        let memory = self.memory.clone();
        let seq = blocking(move || memory.store.view()?.shared_seq());
        if private.is_empty() || seq.await? == shared_seq {
            return Ok(());
        }
        for id in private {
            self.ingest.offer(id, true).await?;
        }
        Ok(())
    }

    /// Brings the indexes up to the store's log, and tells how far that is.
    async fn catch_up(&self) -> Result<(), IndexerError> {
        let (memory, failed) = (self.memory.clone(), self.failed.slots.clone());
        let progress = blocking(move || -> Result<_, IndexerError> {
            let view = memory.store.view()?;
            for space in memory.spaces().all() {
                space.apply_log(&view)?;
            }
            let (counts, last) = (view.counts()?, view.last_slot()?);
            let oldest = view.first_pending(None, &|slot| failed.contains(&slot))?;
            let own = view.first_pending(Some(LANE_OWN), &|slot| failed.contains(&slot))?;
            let oldest_pending_ms = oldest.map(|slot| view.received_ms(slot)).transpose()?.flatten();
            Ok(Progress {
                done_slot: oldest.map_or(last, |slot| slot - 1),
                own_done_slot: own.map_or(last, |slot| slot - 1),
                pending: counts.pending,
                own_pending: view.pending_count(LANE_OWN)?,
                unreadable: (failed.len() as u64).min(counts.pending),
                oldest_pending_ms,
            })
        })
        .await?;
        self.progress.send_replace(progress);
        Ok(())
    }

    /// Saves the indexes and lets the store forget the log before them.
    async fn save(&self) -> Result<(), IndexerError> {
        let memory = self.memory.clone();
        let saved = blocking(move || {
            let spaces = memory.spaces();
            let saved: Vec<bool> =
                spaces.all().map(|space| space.save(&memory.store)).collect::<Result<_, _>>()?;
            memory.words.save(&memory.store)?;
            memory.scores.save(&memory.store)?;
            let derived = [memory.words.saved(), memory.scores.saved()];
            let oldest = spaces.all().map(|space| space.saved()).chain(derived).min();
            Ok::<_, IndexerError>(oldest.filter(|_| saved.contains(&true)))
        });
        match saved.await {
            Ok(Some(up_to)) => {
                tracing::info!(grains = self.memory.spaces().held(), "the index is saved");
                match self.ingest.apply(vec![Change::PruneIndexLog { up_to }]).await {
                    Err(IngestError::Storage(error)) if matches!(*error, StorageError::Full(_)) => {
                        tracing::warn!(
                            "the disk is full; the log before the saved index is kept until it is saved again"
                        );
                    }
                    pruned => drop(pruned?),
                }
            }
            Ok(None) => {}
            Err(error) => {
                // The snapshot only makes the next start quick; everything in it can be made again.
                tracing::warn!(%error, "the index could not be saved; the next start replays the log instead");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use synapsenet_index::Purpose;
    use synapsenet_proto::Vector;

    use super::vectors::BATCHES_AHEAD;
    use super::*;
    use crate::testing::{Fixture, author, claimed, note, peer};

    impl Fixture {
        /// Takes all that is pending into the index, without checking what is claimed.
        pub async fn index(&self, mut indexer: Indexer) -> Indexer {
            // Changes that nobody waits for stand before this one.
            self.ingest.apply(vec![Change::PruneIndexLog { up_to: 0 }]).await.unwrap();
            while indexer.purge().await.unwrap() | indexer.round().await.unwrap() {}
            indexer
        }

        pub fn indexer(&self, models: &Models) -> Indexer {
            let (indexer, _) = Indexer::new(Parts {
                memory: self.memory.clone(),
                models: models.clone(),
                ingest: self.ingest.clone(),
                changed: self.changed.clone(),
                stop: self.stop.clone(),
            });
            indexer
        }

        fn is_searchable(&self, id: GrainId) -> bool {
            self.memory.current().hnsw.contains(self.slot_of(id))
        }
    }

    async fn embed(models: &Models, text: &str) -> Vector {
        let model = Model::built_in().unwrap();
        let text = models.tokenizer(&model).await.unwrap().tokenize(text, Purpose::Document);
        models.documents(&model, &[text]).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_claim_makes_a_note_searchable_without_a_model() {
        let node = Fixture::new();
        let brought = claimed(&author(1), "a text", &node.vector(7));
        let id = brought.grain.id();
        node.ingest.receive(brought, peer(1)).await.unwrap();
        // This model cannot be loaded, so a round that needed it would fail.
        let models = node.models(false);
        let mut indexer = node.indexer(&models);
        while indexer.round().await.unwrap() {}
        assert!(node.is_searchable(id));
        let hits = node.memory.current().hnsw.search(&node.vector(7), 1, None).unwrap();
        assert_eq!(hits[0].key, node.slot_of(id));
        assert!(node.memory.current().unchecked.contains(node.slot_of(id)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn while_somebody_asks_steps_are_small() {
        let node = Fixture::new();
        let models = node.models(false);
        let indexer = node.indexer(&models);
        assert_eq!(indexer.tokens_now(800).await, 800);
        let asking = tokio::spawn({
            let memory = node.memory.clone();
            async move {
                loop {
                    drop(memory.note_question());
                    tokio::task::yield_now().await;
                }
            }
        });
        // A machine that stands still for a moment looks quiet.
        while indexer.tokens_now(800).await != 100 {}
        asking.abort();
        while indexer.tokens_now(800).await != 800 {}
    }

    #[tokio::test]
    async fn what_comes_goes_before_scores_which_come_at_last() {
        const LATER: Duration = Duration::from_secs(3600);
        let node = Fixture::new();
        let models = node.models(true);
        let [one, two] = ["one", "two"].map(|text| note(&author(0), text));
        let is_scored = |id| node.memory.emergence(node.slot_of(id)).is_some();
        node.ingest.put(one.clone(), false).await.unwrap();
        let mut indexer = node.index(node.indexer(&models)).await;
        let now = Instant::now();
        (indexer.took, indexer.level) = (Some(now + LATER), now + LATER);
        let held_back = indexer.score_some().await.unwrap();
        assert!(matches!(held_back, Scoring::HeldBack(_)) && !is_scored(one.id()), "more may come");
        // In a stream without end all are scored all the same ...
        indexer.level = now.checked_sub(LATER).unwrap_or(now);
        while indexer.score_some().await.unwrap() == Scoring::Busy {}
        assert!(is_scored(one.id()) && indexer.level >= now);
        // ... and when nothing more comes, without another word.
        node.ingest.put(two.clone(), false).await.unwrap();
        indexer.work().await.unwrap();
        assert!(is_scored(two.id()));
    }

    #[tokio::test]
    async fn an_idle_node_checks_every_claim_and_one_lie_costs_its_author_all_of_them() {
        let node = Fixture::new();
        let models = node.models(true);
        let truth = embed(&models, "Bees dance to tell where the flowers are.").await;
        let honest = claimed(&author(1), "Bees dance to tell where the flowers are.", &truth);
        node.ingest.receive(honest.clone(), peer(3)).await.unwrap();
        let mut lies = Vec::new();
        for n in 0..100 {
            let lie = claimed(&author(2), &format!("Buy cheap watches, number {n}."), &truth);
            node.ingest.receive(lie.clone(), peer(3)).await.unwrap();
            lies.push(lie.grain.id());
        }
        let mut indexer = node.indexer(&models);
        let runs = node.runs();
        while indexer.round().await.unwrap() {}
        let space = node.memory.current();
        assert_eq!((node.runs(), space.unchecked.len()), (runs, 101), "a newcomer waits for no model");
        assert!(indexer.check_some().await.unwrap());
        assert!(node.view().is_purging().unwrap());

        // What a crash leaves here, the next indexer goes on with.
        let mut indexer = node.indexer(&models);
        indexer.work().await.unwrap();
        let view = node.view();
        assert_eq!((space.unchecked.len(), view.unchecked(node.model()).unwrap().len()), (0, 0));
        assert!(!view.is_purging().unwrap());
        assert!(view.author_standing(&author(2).author()).unwrap().distrusted);
        let standing = view.author_standing(&author(1).author()).unwrap();
        assert_eq!((standing.agreed, standing.distrusted), (1, false));
        assert_eq!(view.counts().unwrap().pending, 0);
        for id in lies {
            let slot = node.slot_of(id);
            let kept = view.vector(slot, node.model()).unwrap().unwrap().decode().unwrap();
            assert!(kept.cosine(&truth).unwrap() < 0.8, "embedded here");
            assert_eq!(view.claim(slot).unwrap(), None);
        }
        // The graph has forgotten the lie, too.
        let nearest = space.hnsw.search_among(&truth, 2, &(1..=101).collect::<Vec<_>>()).unwrap();
        assert_eq!(nearest[0].key, node.slot_of(honest.grain.id()));
        assert!(nearest[1].similarity < 0.8, "{nearest:?}");
    }

    #[tokio::test]
    async fn a_note_of_the_owner_waits_for_at_most_one_round_of_others() {
        const LONG: usize = 500;
        let node = Fixture::new();
        for n in 0..LONG {
            let grain = note(&author(5), &format!("{n} {}", "It rained again, and nobody came. ".repeat(60)));
            node.ingest
                .receive(synapsenet_proto::Announcement { grain, claim: None }, peer(5))
                .await
                .unwrap();
        }
        let models = node.models(true);
        let (mut indexer, progress) = {
            let mut parts = node.indexer(&models);
            let (sender, receiver) = watch::channel(Progress::default());
            parts.progress = sender;
            (parts, receiver)
        };
        assert!(indexer.round().await.unwrap());
        let own = note(&author(0), "Where I put the keys");
        node.ingest.put(own.clone(), false).await.unwrap();
        let slot = node.slot_of(own.id());
        indexer.catch_up().await.unwrap();
        assert!(progress.borrow().own_done_slot < slot);
        let left = node.view().counts().unwrap().pending;
        assert!(left > LONG as u64 - 20, "a round of others is small: {left}");
        assert!(indexer.round().await.unwrap());
        assert!(node.is_searchable(own.id()));
        let told = *progress.borrow();
        assert_eq!((told.own_done_slot, told.own_pending), (slot, 0));
        assert!(told.done_slot < slot && told.pending >= left - 1);
    }

    #[tokio::test]
    async fn long_texts_come_a_few_at_a_time_and_a_stop_is_heard_between_two_runs_and_loses_none() {
        const TEXTS: usize = 40;
        let node = Fixture::new();
        let long = |n: usize| format!("Chapter {n}. {}", "It rained again, and nobody came. ".repeat(480));
        let changes = (0..TEXTS).map(|n| Change::Put {
            grain: note(&author(0), &long(n)),
            shared: false,
            received_ms: 0,
            claim: None,
            origin: synapsenet_storage::Origin::Here,
            lane: LANE_OWN,
        });
        node.ingest.apply(changes.collect()).await.unwrap();
        let models = node.models(true);
        let in_flight = models.lanes(&Model::built_in().unwrap()).await.unwrap() + BATCHES_AHEAD;
        let indexer = node.indexer(&models);
        let indexing = tokio::spawn(indexer.run());
        while node.runs() == 0 {
            tokio::task::yield_now().await;
        }
        let before = node.runs();
        node.stop.cancel();
        indexing.await.unwrap().unwrap();
        drop(models);
        node.end_models();
        let after = node.runs();
        assert!(after - before <= 1 + in_flight as u64, "{} runs after the stop", after - before);
        let counts = node.view().counts().unwrap();
        assert_eq!(counts.pending + counts.vectors, TEXTS as u64);
        assert!(counts.pending >= TEXTS as u64 - after);
    }

    #[tokio::test]
    async fn own_shared_notes_are_vouched_for_and_announced_and_private_ones_are_not() {
        let mut node = Fixture::new();
        let (private, shared, late) =
            (note(&author(0), "a secret"), note(&author(0), "a song"), note(&author(0), "a late one"));
        node.ingest.put(private.clone(), false).await.unwrap();
        node.ingest.put(shared.clone(), true).await.unwrap();
        node.ingest.put(late.clone(), false).await.unwrap();
        let models = node.models(true);
        let indexer = node.indexer(&models);

        // Shared after the indexer has read it and before it has its vector.
        let (memory, own) = (node.memory.clone(), node.identity.author());
        let model = Model::built_in().unwrap();
        let failed = HashSet::new();
        let reading = Reading { model: &model, own, turn: LANE_OWN, failed: &failed };
        let round = Round::read(&memory, &reading).unwrap();
        node.ingest.share(late.id()).await.unwrap();
        assert!(node.announced.try_recv().is_err());
        indexer.settle(&model, round).await.unwrap();

        let mut next = || node.announced.try_recv().unwrap().into_announcement();
        let announced = [next(), next()];
        assert_eq!([announced[0].grain.id(), announced[1].grain.id()], [shared.id(), late.id()]);
        for announcement in announced {
            let slot = node.slot_of(announcement.grain.id());
            assert_eq!(node.view().claim(slot).unwrap(), Some(announcement.claim.unwrap().to_bytes()));
        }
        assert!(node.announced.try_recv().is_err());
        assert_eq!(node.view().claim(node.slot_of(private.id())).unwrap(), None);
    }
}
