//! From stored to searchable: pending grains get vectors, and the HNSW index follows the store's log.
//!
//! ```text
//! pending --embed in batches--> vectors + log entries + no longer pending (one transaction) --apply log--> HNSW
//! ```
//!
//! The index only ever changes by applying the log, at start-up and while running alike. A crash anywhere repeats at
//! worst one batch of embedding.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use synapsenet_index::{IndexError, Purpose, Tokenized, plan_batches};
use synapsenet_proto::{EncodedVector, Grain, Vector};
use synapsenet_storage::{Change, IndexEvent, IndexEventKind, Record, Slot, StorageError, View};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::embedder::{EmbedError, EmbedderHandle};
use crate::ingest::{Ingest, IngestError};
use crate::memory::{Memory, VECTOR_ENCODING};

/// Pending grains taken at once: enough to sort by length, and a second or two of work to repeat after a crash.
const MAX_ROUND_GRAINS: usize = 512;
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
}

impl Indexer {
    /// Makes the loop. `applied` is the last log entry in the index, `saved` the last in its snapshot.
    pub fn new(
        memory: Arc<Memory>,
        embedder: EmbedderHandle,
        ingest: Ingest,
        changed: Arc<Notify>,
        (applied, saved): (u64, u64),
    ) -> (Self, watch::Receiver<Progress>) {
        let (progress, watched) = watch::channel(Progress::default());
        (Self { memory, embedder, ingest, changed, progress, applied, saved, taken: 0 }, watched)
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
        let (memory, taken) = (self.memory.clone(), self.taken);
        let pending = blocking(move || memory.store.view()?.pending_after(taken, MAX_ROUND_GRAINS)).await?;
        if let Some(last) = pending.last() {
            self.taken = last.slot;
            self.embed(pending).await?;
        }
        let indexed = self.apply_log().await?;
        let more = self.publish().await?;
        if indexed > 0 {
            self.memory.metrics.batches.inc();
            self.memory.metrics.batch.observe(start.elapsed().as_secs_f64());
        }
        Ok(more)
    }

    /// Computes and stores the vectors of these notes.
    async fn embed(&self, pending: Vec<Record>) -> Result<(), IndexerError> {
        let tokenizer = self.embedder.tokenizer().clone();
        let (slots, texts): (Vec<Slot>, Vec<Tokenized>) = blocking(move || {
            let tokenize = |record: &Record| tokenizer.tokenize(&passage(&record.grain), Purpose::Document);
            pending.iter().map(|record| (record.slot, tokenize(record))).unzip()
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
        let mut changes = Vec::with_capacity(lengths.len());
        while let Some(run) = runs.next().await {
            for (slot, vector) in run? {
                changes.push(Change::AddVector { slot, vector: vector.encode(VECTOR_ENCODING) });
            }
        }
        self.ingest.apply(changes).await?;
        Ok(())
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
        let (memory, taken) = (self.memory.clone(), self.taken);
        let (progress, more) = blocking(move || -> Result<_, StorageError> {
            let view = memory.store.view()?;
            let next = view.pending_after(taken, 1)?.first().map(|record| record.slot);
            let done_slot = next.map_or(view.last_slot()?, |slot| slot - 1);
            Ok((Progress { done_slot, pending: view.counts()?.pending }, next.is_some()))
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
