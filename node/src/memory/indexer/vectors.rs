//! The vectors of passages: planned in batches, computed a few ahead, and left off when the indexer is to stop.

use std::collections::HashMap;

use futures::StreamExt;
use synapsenet_index::{Model, Purpose, Tokenized, plan_batches};
use synapsenet_proto::Vector;
use synapsenet_storage::Slot;

use super::{Indexer, IndexerError};
use crate::blocking::blocking;
use crate::memory::search::MAX_UNKNOWN_SHARE;
use crate::models::embedder::EmbedError;

/// Texts in one run of the model: more are no faster, however short they are.
const MAX_BATCH_TEXTS: usize = 64;
/// Batches handed to the embedder beside those that it computes at once, so that none of its sessions waits for the indexer.
pub(super) const BATCHES_AHEAD: usize = 1;

impl Indexer {
    /// Computes the vectors of these passages. One that the model fails on has none in the answer, nor has one that it cannot read,
    /// as it would be like all others that it cannot read, nor have those that it has not come to when the indexer is to
    /// stop: the runs under way are left to themselves then.
    pub(super) async fn vectors(
        &self,
        model: &Model,
        notes: Vec<(Slot, String)>,
    ) -> Result<HashMap<Slot, Vector>, IndexerError> {
        if notes.is_empty() {
            return Ok(HashMap::new());
        }
        let Some(tokenizer) = self.stop.run_until_cancelled(self.models.tokenizer(model)).await else {
            return Ok(HashMap::new());
        };
        let tokenizer = tokenizer?;
        let (slots, texts): (Vec<Slot>, Vec<Tokenized>) = blocking(move || {
            let read = |(slot, text): &(Slot, String)| (*slot, tokenizer.tokenize(text, Purpose::Document));
            let is_readable =
                |(_, tokens): &(Slot, Tokenized)| tokenizer.unknown_share(tokens) <= MAX_UNKNOWN_SHARE;
            notes.iter().map(read).filter(is_readable).unzip()
        })
        .await;
        let lengths: Vec<usize> = texts.iter().map(Tokenized::len).collect();
        let batches = plan_batches(&lengths, self.models.runs(model).await?, MAX_BATCH_TEXTS);
        let runs = batches.into_iter().map(|batch| {
            let slots: Vec<Slot> = batch.iter().map(|&at| slots[at]).collect();
            let texts = batch.iter().map(|&at| texts[at].clone()).collect();
            self.embed_batch(model, slots, texts)
        });
        let in_flight = self.models.lanes(model).await? + BATCHES_AHEAD;
        let runs = futures::stream::iter(runs).buffer_unordered(in_flight);
        let mut runs = std::pin::pin!(runs.take_until(self.stop.cancelled()));
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
        model: &Model,
        slots: Vec<Slot>,
        texts: Vec<Tokenized>,
    ) -> Result<Vec<(Slot, Vector)>, EmbedError> {
        match self.models.documents(model, &texts).await {
            Ok(vectors) => return Ok(slots.into_iter().zip(vectors).collect()),
            Err(EmbedError::Failed(error)) => {
                tracing::warn!(%error, "the model failed on a batch; one by one now")
            }
            Err(error) => return Err(error),
        }
        let mut embedded = Vec::new();
        for (slot, text) in slots.into_iter().zip(texts) {
            match self.models.documents(model, &[text]).await {
                Ok(vectors) => embedded.extend(vectors.into_iter().map(|vector| (slot, vector))),
                Err(EmbedError::Failed(error)) => {
                    tracing::error!(slot, %error, "this grain stays unsearchable")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(embedded)
    }
}
