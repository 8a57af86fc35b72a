//! From stored to searchable: pending grains get vectors, and the indexes follow the store's log.
//!
//! ```text
//! pending --claims believed, or embedded in batches--> vectors + log entries + no longer pending (one transaction)
//!         --apply log--> HNSW
//! ```
//!
//! When nothing is pending, grains that only a former model has vectors of are embedded anew; see [`anew`].
//!
//! A note whose author's claim is believed (see [`crate::memory::claims`]) needs no model. Of this node's own shared notes it
//! is the indexer that makes claims, and announces them: only here their vectors are at hand.
//!
//! An index only ever changes here. A crash anywhere repeats at worst one batch of embedding.

mod anew;
mod vectors;

use std::sync::Arc;
use std::time::Instant;

use synapsenet_index::Model;
use synapsenet_proto::{AuthorId, GrainId};
use synapsenet_storage::{Change, Slot, StorageError};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::memory::announcer::Outgoing;
use crate::memory::claims::{Dice, Plain, Round};
use crate::memory::ingest::{Ingest, IngestError};
use crate::memory::spaces::{Space, SpaceError};
use crate::memory::{Memory, VECTOR_ENCODING};
use crate::models::Models;
use crate::models::embedder::EmbedError;

/// Authors of false claims that may wait to be reported. One that does not fit is distrusted all the same.
pub(crate) const MAX_FALSE_CLAIMS: usize = 64;
/// Log entries after which the index is saved, so that a start after a crash has little to replay.
const SNAPSHOT_EVERY: u64 = 20_000;

/// How far indexing has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Every note with a slot up to this one is in the index, or gone.
    pub done_slot: Slot,
    /// Notes stored and not yet searchable.
    pub pending: u64,
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
    /// The last note that was taken from the pending ones. Slots only grow, so nothing new comes before it; a note
    /// that the model failed on stays pending until the next start.
    taken: Slot,
    /// Takes the authors whose claims turned out false.
    false_claims: mpsc::Sender<AuthorId>,
    dice: Dice,
    /// Cancelled when it is to stop.
    stop: CancellationToken,
}

/// What an indexer is made of.
pub(crate) struct Parts {
    pub memory: Arc<Memory>,
    pub models: Models,
    pub ingest: Ingest,
    /// Told after each commit.
    pub changed: Arc<Notify>,
    /// Takes the authors of claims that turned out false, if anybody wants to know.
    pub false_claims: mpsc::Sender<AuthorId>,
    /// Cancelled when it is to stop.
    pub stop: CancellationToken,
}

impl Indexer {
    /// Makes the loop, and where its progress is told.
    pub fn new(parts: Parts) -> (Self, watch::Receiver<Progress>) {
        let (progress, watched) = watch::channel(Progress::default());
        let Parts { memory, models, ingest, changed, false_claims, stop } = parts;
        let dice = Dice::new();
        let indexer = Self { memory, models, ingest, changed, progress, taken: 0, false_claims, dice, stop };
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
            if self.round().await? {
                continue;
            }
            if self.memory.spaces().all().any(|space| space.applied() >= space.saved() + SNAPSHOT_EVERY) {
                self.save().await?;
            }
            if !self.embed_anew().await? {
                break;
            }
        }
        Ok(())
    }

    async fn finish(&self) -> Result<(), IndexerError> {
        apply_log(self.memory.clone()).await?;
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
    /// one, which the next call takes into the indexes.
    async fn round(&mut self) -> Result<bool, IndexerError> {
        let start = Instant::now();
        if self.memory.take_look_again() {
            self.taken = 0;
        }
        let (memory, taken, own) = (self.memory.clone(), self.taken, self.own());
        // A model that is chosen meanwhile finds these grains in the space of this one.
        let space = memory.current();
        let model = space.model.clone();
        let mut dice = self.dice.fork();
        let round = blocking(move || Round::read(&memory, &model, own, taken, &mut dice)).await?;
        let applying = apply_log(self.memory.clone());
        let Some(last) = round.last else {
            applying.await?;
            self.publish(None).await?;
            return Ok(false);
        };
        self.taken = last;
        // While these are embedded, the indexes take in what the round before stored.
        let (settled, applied) = tokio::join!(self.settle(&space.model, round), applying);
        let settled = applied.and(settled);
        match settled {
            // It was unloaded because another is in use now, and cannot come back: its grains are that one's to read.
            Err(error) if self.is_out_of_use(&space, &error) => self.taken = taken,
            Err(error) => {
                self.taken = taken;
                return Err(error);
            }
            Ok(()) => {}
        }
        self.publish(Some(taken)).await?;
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

    /// Gives the notes of a round their vectors: first those that something is claimed about, then the others.
    async fn settle(&mut self, model: &Model, mut round: Round) -> Result<(), IndexerError> {
        let shared_seq = round.shared_seq;
        let plain = std::mem::take(&mut round.plain);
        let audited =
            round.audits.iter().map(|audit| (audit.slot, audit.grain.passage().into_owned())).collect();
        let vectors = self.vectors(model, audited).await?;
        let verdict = round.judge(&self.memory, self.own(), vectors);
        if let Some(first) = verdict.again_from {
            // What was settled after it is pending no more.
            self.taken = first - 1;
        }
        if !verdict.changes.is_empty() {
            self.ingest.apply(verdict.changes).await?;
        }
        for author in verdict.liars {
            // Without a mesh, or with a long queue, nobody is told; the author is distrusted here.
            let _ = self.false_claims.try_send(author);
        }
        if plain.is_empty() {
            return Ok(());
        }
        self.embed(model, plain, shared_seq).await.map(drop)
    }

    /// Computes and stores the vectors of these notes, which were read when the store's `shared_seq` was this. Vouches for
    /// this node's own ones that may leave it, and announces them. Answers those that it was not able to embed.
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
                failed.push(slot);
                continue;
            };
            changes.push(Change::AddVector { slot, vector: vector.encode(VECTOR_ENCODING) });
            if !announcer.is_own(&record.grain) {
                continue;
            }
            let id = record.grain.id();
            let Some(outgoing) = Outgoing::of(record) else {
                private.push(id);
                continue;
            };
            let claim = announcer.claim(id, &vector);
            changes.push(Change::AddClaim { slot, claim: claim.to_bytes() });
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

    /// Tells how far it has come. `done`: up to which note everything is in the index; none when nothing was pending as the
    /// log was applied.
    async fn publish(&self, done: Option<Slot>) -> Result<(), IndexerError> {
        let (memory, taken) = (self.memory.clone(), self.taken);
        let (progress, searchable) = blocking(move || -> Result<_, StorageError> {
            let view = memory.store.view()?;
            let done_slot = match done {
                Some(slot) => slot,
                // One may have come since.
                None => match view.pending_after(taken, 1)?.first() {
                    Some(next) => next.slot - 1,
                    None => view.last_slot()?,
                },
            };
            let counts = view.counts()?;
            Ok((Progress { done_slot, pending: counts.pending }, memory.spaces().searchable(counts)))
        })
        .await?;
        let metrics = &self.memory.metrics;
        metrics.pending_grains.set(progress.pending as i64);
        metrics.searchable_grains.set(searchable as i64);
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
            let oldest = spaces.all().map(|space| space.saved()).min();
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

/// Brings the indexes up to the store's log.
async fn apply_log(memory: Arc<Memory>) -> Result<(), IndexerError> {
    blocking(move || {
        let view = memory.store.view()?;
        for space in memory.spaces().all() {
            space.apply_log(&view)?;
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use synapsenet_index::Purpose;
    use synapsenet_proto::Vector;

    use super::vectors::MAX_BATCHES_IN_FLIGHT;
    use super::*;
    use crate::memory::claims::MIN_AGREED;
    use crate::testing::{Fixture, author, claimed, note, peer};

    type Liars = mpsc::Receiver<AuthorId>;

    impl Fixture {
        fn indexer(&self, models: &Models) -> (Indexer, Liars) {
            let (false_claims, liars) = mpsc::channel(MAX_FALSE_CLAIMS);
            let (indexer, _) = Indexer::new(Parts {
                memory: self.memory.clone(),
                models: models.clone(),
                ingest: self.ingest.clone(),
                changed: self.changed.clone(),
                false_claims,
                stop: self.stop.clone(),
            });
            (indexer, liars)
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
    async fn a_believed_claim_makes_a_note_searchable_without_a_model() {
        let node = Fixture::new();
        let standing = synapsenet_storage::Standing { agreed: MIN_AGREED, distrusted: false };
        let author_1 = author(1).author();
        node.ingest.apply(vec![Change::SetStanding { author: author_1, standing }]).await.unwrap();
        let brought = claimed(&author(1), "a text", &node.vector(7));
        let id = brought.grain.id();
        node.ingest.receive(brought, peer(1)).await.unwrap();
        // This model cannot be loaded, so a round that needed it would fail.
        let models = node.models(false);
        let (mut indexer, _liars) = node.indexer(&models);
        // Dice under which the first claim is not audited.
        indexer.dice = Dice::from_seed(&[1; 32]);
        while indexer.round().await.unwrap() {}
        assert!(node.is_searchable(id));
        let hits = node.memory.current().hnsw.search(&node.vector(7), 1, None).unwrap();
        assert_eq!(hits[0].key, node.slot_of(id));
    }

    #[tokio::test]
    async fn a_lie_is_found_and_the_note_found_by_what_it_says() {
        let node = Fixture::new();
        let models = node.models(true);
        let truth = embed(&models, "Bees dance to tell where the flowers are.").await;
        let honest = claimed(&author(1), "Bees dance to tell where the flowers are.", &truth);
        let lie = claimed(&author(2), "Buy cheap watches.", &truth);
        for brought in [&honest, &lie] {
            node.ingest.receive(brought.clone(), peer(3)).await.unwrap();
        }
        let (mut indexer, mut liars) = node.indexer(&models);
        while indexer.round().await.unwrap() {}
        assert_eq!(liars.try_recv().unwrap(), author(2).author());
        assert!(liars.try_recv().is_err());
        let view = node.view();
        let slot = node.slot_of(lie.grain.id());
        assert_eq!(view.claim(slot).unwrap(), None);
        let kept = view.vector(slot, node.model()).unwrap().unwrap().decode().unwrap();
        assert!(kept.cosine(&truth).unwrap() < 0.8);
        assert_eq!(view.author_standing(&author(1).author()).unwrap().agreed, 1);
        assert!(node.is_searchable(lie.grain.id()) && node.is_searchable(honest.grain.id()));
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
        });
        node.ingest.apply(changes.collect()).await.unwrap();
        let models = node.models(true);
        let (indexer, _liars) = node.indexer(&models);
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
        assert!(after - before <= 1 + MAX_BATCHES_IN_FLIGHT as u64, "{} runs after the stop", after - before);
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
        let (mut indexer, _liars) = node.indexer(&models);

        // Shared after the indexer has read it and before it has its vector.
        let (memory, own) = (node.memory.clone(), node.identity.author());
        let model = Model::built_in().unwrap();
        let round = Round::read(&memory, &model, own, 0, &mut Dice::new()).unwrap();
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
