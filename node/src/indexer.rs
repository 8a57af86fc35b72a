//! From stored to searchable: pending grains get vectors, and the HNSW index follows the store's log.
//!
//! ```text
//! pending --claims believed, or embedded in batches--> vectors + log entries + no longer pending (one transaction)
//!         --apply log--> HNSW
//! ```
//!
//! A note whose author's claim is believed (see [`crate::claims`]) needs no model. Of this node's own shared notes it
//! is the indexer that makes claims, and announces them: only here their vectors are at hand.
//!
//! The index only ever changes by applying the log, at start-up and while running alike. A crash anywhere repeats at
//! worst one batch of embedding.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use synapsenet_index::{IndexError, Purpose, Tokenized, plan_batches};
use synapsenet_proto::{Announcement, AuthorId, EncodedVector, Grain, GrainId, Vector};
use synapsenet_storage::{Change, IndexEvent, IndexEventKind, Slot, StorageError, View};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::claims::{Dice, Plain, Round};
use crate::embedder::{EmbedError, EmbedderHandle};
use crate::ingest::{Ingest, IngestError};
use crate::memory::{Memory, VECTOR_ENCODING};

/// Authors of false claims that may wait to be reported. One that does not fit is distrusted all the same.
pub(crate) const MAX_FALSE_CLAIMS: usize = 64;
/// Tokens in one run of the model, padding counted: a question waits for at most this many.
const MAX_BATCH_TOKENS: usize = 512;
/// Texts in one run of the model: more are no faster on a CPU.
const MAX_BATCH_TEXTS: usize = 16;
/// Batches handed to the embedder ahead of being needed, so that it never waits for the indexer.
const MAX_BATCHES_IN_FLIGHT: usize = 2;
/// Log entries applied at once.
const MAX_LOG_STEP: usize = 4096;
/// Log entries after which the index is saved, so that a start after a crash has little to replay.
const SNAPSHOT_EVERY: u64 = 20_000;

/// How far indexing has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Every note with a slot up to this one is in the index, or gone.
    pub done_slot: Slot,
    /// Notes stored and not yet searchable.
    pub pending: u64,
    /// The last entry of the log that is in the index.
    pub applied: u64,
}

/// Why the indexer cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexerError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// The loop that makes stored grains searchable.
pub(crate) struct Indexer {
    memory: Arc<Memory>,
    embedder: EmbedderHandle,
    ingest: Ingest,
    /// Told after each commit.
    changed: Arc<Notify>,
    progress: watch::Sender<Progress>,
    /// The last log entry that the index has.
    applied: u64,
    /// The last log entry that the saved index has.
    saved: u64,
    /// The last note that was taken from the pending ones. Slots only grow, so nothing new comes before it; a note
    /// that the model failed on stays pending until the next start.
    taken: Slot,
    /// Takes the authors whose claims turned out false.
    false_claims: mpsc::Sender<AuthorId>,
    dice: Dice,
}

impl Indexer {
    /// Makes the loop. `false_claims` takes the authors of claims that turned out false, if anybody wants to know;
    /// `applied` is the last log entry in the index, `saved` the last in its snapshot.
    pub fn new(
        memory: Arc<Memory>,
        embedder: EmbedderHandle,
        ingest: Ingest,
        changed: Arc<Notify>,
        false_claims: mpsc::Sender<AuthorId>,
        (applied, saved): (u64, u64),
    ) -> (Self, watch::Receiver<Progress>) {
        let (progress, watched) = watch::channel(Progress { applied, ..Progress::default() });
        let dice = Dice::new();
        let indexer = Self {
            memory,
            embedder,
            ingest,
            changed,
            progress,
            applied,
            saved,
            taken: 0,
            false_claims,
            dice,
        };
        (indexer, watched)
    }

    /// Runs until `stop`; then ends its round, saves the index and returns.
    ///
    /// # Errors
    /// What it cannot go on after: the node has to stop.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), IndexerError> {
        loop {
            while !stop.is_cancelled() && self.round().await? {}
            if stop.is_cancelled() {
                return self.save().await;
            }
            if self.applied >= self.saved + SNAPSHOT_EVERY {
                self.save().await?;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Takes one round of pending grains to the index. True when more wait.
    async fn round(&mut self) -> Result<bool, IndexerError> {
        let start = Instant::now();
        let (memory, taken, own) = (self.memory.clone(), self.taken, self.own());
        let mut dice = self.dice.fork();
        let round = blocking(move || Round::read(&memory, own, taken, &mut dice)).await?;
        if let Some(last) = round.last {
            self.taken = last;
            self.settle(round).await?;
        }
        let indexed = self.apply_log().await?;
        let more = self.publish().await?;
        if indexed > 0 {
            self.memory.metrics.batches.inc();
            self.memory.metrics.batch.observe(start.elapsed().as_secs_f64());
        }
        Ok(more)
    }

    fn own(&self) -> AuthorId {
        self.ingest.announcer().author()
    }

    /// Gives the notes of a round their vectors: first those that something is claimed about, then the others.
    async fn settle(&mut self, mut round: Round) -> Result<(), IndexerError> {
        let shared_seq = round.shared_seq;
        let plain = std::mem::take(&mut round.plain);
        let audited = round.audits.iter().map(|audit| (audit.slot, passage(&audit.grain))).collect();
        let vectors = self.vectors(audited).await?;
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
        self.embed(plain, shared_seq).await
    }

    /// Computes and stores the vectors of these notes, which were read when the store's `shared_seq` was this. Vouches for
    /// this node's own ones that may leave it, and announces them.
    async fn embed(&self, notes: Vec<Plain>, shared_seq: u64) -> Result<(), IndexerError> {
        let announcer = self.ingest.announcer();
        let texts = notes.iter().map(|note| (note.record.slot, passage(&note.record.grain))).collect();
        let mut vectors = self.vectors(texts).await?;
        let mut changes = Vec::with_capacity(vectors.len());
        let mut announcements = Vec::new();
        let mut private: Vec<GrainId> = Vec::new();
        for Plain { record, had_claim } in notes {
            let Some(vector) = vectors.remove(&record.slot) else { continue };
            let slot = record.slot;
            changes.push(Change::AddVector { slot, vector: vector.encode(VECTOR_ENCODING) });
            if announcer.vouches_for(&record) {
                let claim = announcer.claim(record.grain.id(), &vector);
                changes.push(Change::AddClaim { slot, claim: claim.to_bytes() });
                // With a claim for an earlier model, it was announced long ago.
                if !had_claim {
                    announcements.push(Announcement { grain: record.grain, claim: Some(claim) });
                }
            } else if announcer.is_own(&record.grain) {
                private.push(record.grain.id());
            }
        }
        self.ingest.apply(changes).await?;
        announcements.into_iter().for_each(|announcement| announcer.announce(announcement));
        self.offer_shared_meanwhile(private, shared_seq).await
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

    /// Computes the vectors of these passages. One that the model fails on has none in the answer.
    async fn vectors(&self, notes: Vec<(Slot, String)>) -> Result<HashMap<Slot, Vector>, IndexerError> {
        if notes.is_empty() {
            return Ok(HashMap::new());
        }
        let tokenizer = self.embedder.tokenizer().clone();
        let (slots, texts): (Vec<Slot>, Vec<Tokenized>) = blocking(move || {
            let tokenize = |text: &str| tokenizer.tokenize(text, Purpose::Document);
            notes.iter().map(|(slot, text)| (*slot, tokenize(text))).unzip()
        })
        .await;
        let lengths: Vec<usize> = texts.iter().map(Tokenized::len).collect();
        let batches = plan_batches(&lengths, MAX_BATCH_TOKENS, MAX_BATCH_TEXTS);
        let runs = batches.into_iter().map(|batch| {
            let slots: Vec<Slot> = batch.iter().map(|&at| slots[at]).collect();
            let texts = batch.iter().map(|&at| texts[at].clone()).collect();
            self.embed_batch(slots, texts)
        });
        let mut runs = futures::stream::iter(runs).buffer_unordered(MAX_BATCHES_IN_FLIGHT);
        let mut vectors = HashMap::with_capacity(lengths.len());
        while let Some(run) = runs.next().await {
            vectors.extend(run?);
        }
        Ok(vectors)
    }

    /// The vectors of one batch. When the model fails on it, each text is tried alone and only those that fail again
    /// are left out.
    async fn embed_batch(
        &self,
        slots: Vec<Slot>,
        texts: Vec<Tokenized>,
    ) -> Result<Vec<(Slot, Vector)>, EmbedError> {
        match self.embedder.embed_documents(texts.clone()).await {
            Ok(vectors) => return Ok(slots.into_iter().zip(vectors).collect()),
            Err(EmbedError::Failed(error)) => {
                tracing::warn!(%error, "the model failed on a batch; one by one now")
            }
            Err(error) => return Err(error),
        }
        let mut embedded = Vec::new();
        for (slot, text) in slots.into_iter().zip(texts) {
            match self.embedder.embed_documents(vec![text]).await {
                Ok(vectors) => embedded.extend(vectors.into_iter().map(|vector| (slot, vector))),
                Err(EmbedError::Failed(error)) => {
                    tracing::error!(slot, %error, "this grain stays unsearchable")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(embedded)
    }

    /// Brings the index up to the store's log. Answers how many entries were applied.
    async fn apply_log(&mut self) -> Result<usize, IndexerError> {
        let (memory, applied) = (self.memory.clone(), self.applied);
        let (applied, count) = blocking(move || apply_log(&memory, applied)).await?;
        self.applied = applied;
        Ok(count)
    }

    /// Tells how far it has come. True when notes are pending.
    async fn publish(&self) -> Result<bool, IndexerError> {
        let (memory, taken, applied) = (self.memory.clone(), self.taken, self.applied);
        let (progress, more) = blocking(move || -> Result<_, StorageError> {
            let view = memory.store.view()?;
            let next = view.pending_after(taken, 1)?.first().map(|record| record.slot);
            let done_slot = next.map_or(view.last_slot()?, |slot| slot - 1);
            Ok((Progress { done_slot, pending: view.counts()?.pending, applied }, next.is_some()))
        })
        .await?;
        let metrics = &self.memory.metrics;
        metrics.pending_grains.set(progress.pending as i64);
        metrics.searchable_grains.set(self.memory.hnsw.len() as i64);
        self.progress.send_replace(progress);
        Ok(more)
    }

    /// Saves the index and lets the store forget the log before it.
    async fn save(&mut self) -> Result<(), IndexerError> {
        if self.applied == self.saved {
            return Ok(());
        }
        let (memory, applied) = (self.memory.clone(), self.applied);
        let saved = blocking(move || -> Result<(), IndexerError> {
            let store_id = memory.store.view()?.store_id()?;
            Ok(memory.hnsw.save(&memory.index_dir, store_id, applied)?)
        });
        if let Err(error) = saved.await {
            // The snapshot only makes the next start quick; everything in it can be made again.
            tracing::warn!(%error, "the index could not be saved; the next start replays the log instead");
            return Ok(());
        }
        self.saved = applied;
        self.ingest.apply(vec![Change::PruneIndexLog { up_to: applied }]).await?;
        tracing::info!(grains = self.memory.hnsw.len(), "the index is saved");
        Ok(())
    }
}

/// Applies the store's log after entry `applied` to the index. Answers the last entry applied and how many there were.
/// Where the log does not reach back far enough, which only happens to the empty index of a start without a snapshot,
/// the index is built from the stored vectors.
///
/// # Errors
/// When the store cannot be read or the index cannot take a vector.
pub(crate) fn apply_log(memory: &Memory, applied: u64) -> Result<(u64, usize), IndexerError> {
    let view = memory.store.view()?;
    let Some(events) = view.index_log(applied)? else {
        return rebuild(memory, &view);
    };
    for step in events.chunks(MAX_LOG_STEP) {
        apply_step(memory, &view, step)?;
    }
    Ok((events.last().map_or(applied, |event| event.seq), events.len()))
}

fn apply_step(memory: &Memory, view: &View, step: &[IndexEvent]) -> Result<(), IndexerError> {
    // The view is newer than any entry, so a slot without a vector here has been removed since, whatever the entry says.
    let mut added = Vec::with_capacity(step.len());
    for event in step {
        let vector = match event.kind {
            IndexEventKind::Added => view.vector(event.slot, memory.model.id())?,
            IndexEventKind::Removed => None,
        };
        match vector.map(|vector| vector.decode()) {
            Some(Ok(vector)) => added.push((event.slot, vector)),
            Some(Err(error)) => {
                tracing::warn!(slot = event.slot, %error, "a stored vector is damaged; run `verify`")
            }
            None => {
                memory.hnsw.remove(event.slot)?;
            }
        }
    }
    let added: Vec<_> = added.iter().map(|(slot, vector)| (*slot, vector)).collect();
    Ok(memory.hnsw.add(&added)?)
}

/// Makes the index from the stored vectors.
fn rebuild(memory: &Memory, view: &View) -> Result<(u64, usize), IndexerError> {
    let start = Instant::now();
    let model = memory.model.id();
    let mut result = Ok(());
    let mut batch: Vec<(Slot, EncodedVector)> = Vec::new();
    let mut count = 0;
    view.for_each_vector(model, &mut |slot, vector| {
        batch.push((slot, vector));
        if batch.len() == MAX_LOG_STEP {
            count += batch.len();
            result = add_batch(memory, &mut batch);
        }
        if result.is_ok() { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
    })?;
    result?;
    count += batch.len();
    add_batch(memory, &mut batch)?;
    if count > 0 {
        tracing::info!(
            grains = count,
            seconds = start.elapsed().as_secs_f64(),
            "the index was rebuilt from the store"
        );
    }
    Ok((view.last_index_seq()?, count))
}

fn add_batch(memory: &Memory, batch: &mut Vec<(Slot, EncodedVector)>) -> Result<(), IndexError> {
    let decoded: Vec<_> =
        batch.drain(..).filter_map(|(slot, vector)| Some((slot, vector.decode().ok()?))).collect();
    let decoded: Vec<_> = decoded.iter().map(|(slot, vector)| (*slot, vector)).collect();
    memory.hnsw.add(&decoded)
}

/// The words of a grain that the model reads: the title, unless the text begins with it, and the text.
pub(crate) fn passage(grain: &Grain) -> String {
    let draft = &grain.body().draft;
    if draft.title.is_empty() || draft.text.starts_with(&draft.title) {
        draft.text.clone()
    } else {
        format!("{}\n{}", draft.title, draft.text)
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_index::Tokenizer;

    use super::*;
    use crate::claims::MIN_AGREED;
    use crate::testing::{Fixture, author, claimed, note, peer};

    type Liars = mpsc::Receiver<AuthorId>;

    impl Fixture {
        fn indexer(&self, embedder: &EmbedderHandle) -> (Indexer, Liars) {
            let (false_claims, liars) = mpsc::channel(MAX_FALSE_CLAIMS);
            let (memory, ingest) = (self.memory.clone(), self.ingest.clone());
            let (indexer, _) =
                Indexer::new(memory, embedder.clone(), ingest, self.changed.clone(), false_claims, (0, 0));
            (indexer, liars)
        }

        fn is_searchable(&self, id: GrainId) -> bool {
            self.memory.hnsw.contains(self.slot_of(id))
        }
    }

    async fn embed(embedder: &EmbedderHandle, text: &str) -> Vector {
        let tokenizer: &Tokenizer = embedder.tokenizer();
        let text = tokenizer.tokenize(text, Purpose::Document);
        embedder.embed_documents(vec![text]).await.unwrap().remove(0)
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
        let (embedder, _thread) = node.embedder(false);
        let (mut indexer, _liars) = node.indexer(&embedder);
        // Dice under which the first claim is not audited.
        indexer.dice = Dice::from_seed(&[1; 32]);
        indexer.round().await.unwrap();
        assert!(node.is_searchable(id));
        let hits = node.memory.hnsw.search(&node.vector(7), 1, None).unwrap();
        assert_eq!(hits[0].key, node.slot_of(id));
    }

    #[tokio::test]
    async fn a_lie_is_found_and_the_note_found_by_what_it_says() {
        let node = Fixture::new();
        let (embedder, _thread) = node.embedder(true);
        let truth = embed(&embedder, "Bees dance to tell where the flowers are.").await;
        let honest = claimed(&author(1), "Bees dance to tell where the flowers are.", &truth);
        let lie = claimed(&author(2), "Buy cheap watches.", &truth);
        for brought in [&honest, &lie] {
            node.ingest.receive(brought.clone(), peer(3)).await.unwrap();
        }
        let (mut indexer, mut liars) = node.indexer(&embedder);
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
    async fn own_shared_notes_are_vouched_for_and_announced_and_private_ones_are_not() {
        let mut node = Fixture::new();
        let (private, shared, late) =
            (note(&author(0), "a secret"), note(&author(0), "a song"), note(&author(0), "a late one"));
        node.ingest.put(private.clone(), false).await.unwrap();
        node.ingest.put(shared.clone(), true).await.unwrap();
        node.ingest.put(late.clone(), false).await.unwrap();
        let (embedder, _thread) = node.embedder(true);
        let (mut indexer, _liars) = node.indexer(&embedder);

        // Shared after the indexer has read it and before it has its vector.
        let (memory, own) = (node.memory.clone(), node.identity.author());
        let round = Round::read(&memory, own, 0, &mut Dice::new()).unwrap();
        node.ingest.share(late.id()).await.unwrap();
        assert!(node.announced.try_recv().is_err());
        indexer.settle(round).await.unwrap();

        let announced = [node.announced.try_recv().unwrap(), node.announced.try_recv().unwrap()];
        assert_eq!([announced[0].grain.id(), announced[1].grain.id()], [shared.id(), late.id()]);
        for announcement in announced {
            let slot = node.slot_of(announcement.grain.id());
            assert_eq!(node.view().claim(slot).unwrap(), Some(announcement.claim.unwrap().to_bytes()));
        }
        assert!(node.announced.try_recv().is_err());
        assert_eq!(node.view().claim(node.slot_of(private.id())).unwrap(), None);
    }
}
