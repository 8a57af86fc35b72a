//! Comparing what authors claim, when nothing else is to be done, and taking back what was believed of one that was caught.
//! Every step is in the store, so a crash repeats at worst one.

use std::collections::HashSet;
use std::sync::Arc;

use synapsenet_proto::Vector;
use synapsenet_storage::{Change, Outcome, Record, Slot};

use super::{Indexer, IndexerError};
use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::claims::{is_right, tokens_in};
use crate::memory::spaces::Space;

/// Grains of authors that were caught that are looked at in one commit: some milliseconds.
const PURGE_STEP: usize = 1024;
/// Claims compared in one step ...
const STEP: usize = 64;
/// ... and tokens, at a guess, while nobody asks: a fraction of a second, after which new notes are seen.
const MAX_STEP_TOKENS: usize = 1024;

/// A note whose claimed vector is to be compared.
struct Claimed {
    record: Record,
    vector: Vector,
}

impl Indexer {
    /// Takes back some of what was believed of authors that were caught. True when there was something to do.
    pub(super) async fn purge(&self) -> Result<bool, IndexerError> {
        let memory = self.memory.clone();
        if !blocking(move || memory.store.view()?.is_purging()).await? {
            return Ok(false);
        }
        let outcomes = self.ingest.apply(vec![Change::PurgeClaims { limit: PURGE_STEP }]).await?;
        if let Some(&Outcome::Dropped { count }) = outcomes.first() {
            self.memory.metrics.claims("taken_back", count as usize);
        }
        Ok(true)
    }

    /// Compares some claims that are unchecked. True when there may be more to do.
    pub(super) async fn check_some(&mut self) -> Result<bool, IndexerError> {
        let space = self.memory.current();
        self.memory.metrics.unchecked_grains.set(space.unchecked.len() as i64);
        if space.unchecked.is_empty() {
            self.checked = 0;
            return Ok(false);
        }
        let most_tokens = self.tokens_now(MAX_STEP_TOKENS).await;
        let (memory, failed, after) = (self.memory.clone(), self.failed.of(space.id()), self.checked);
        let of = space.clone();
        let (notes, last) = blocking(move || read_step(&memory, &of, &failed, after, most_tokens)).await?;
        let Some(last) = last else {
            // What is left is what the model failed on. Those that come next may lie before it.
            self.checked = 0;
            return Ok(false);
        };
        let texts =
            notes.iter().map(|note| (note.record.slot, note.record.grain.passage().into_owned())).collect();
        let vectors = match self.vectors(&space.model, texts).await {
            Err(error) if self.is_out_of_use(&space, &error) => return Ok(true),
            vectors => vectors?,
        };
        if self.stop.is_cancelled() {
            return Ok(false);
        }
        let (mut changes, mut right, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut liars = HashSet::new();
        for Claimed { record, vector } in notes {
            let (slot, author) = (record.slot, record.grain.author());
            match vectors.get(&slot).map(|computed| is_right(&vector, computed)) {
                None => failed.push(slot),
                Some(true) => {
                    changes.push(Change::Checked { slot, author });
                    right.push(slot);
                }
                Some(false) if liars.insert(author) => {
                    let grain = record.grain.id();
                    tracing::warn!(%author, %grain, "a false claim; this author is believed no more");
                    changes.push(Change::Distrust { author });
                }
                Some(false) => {}
            }
        }
        self.ingest.apply(changes).await?;
        right.iter().for_each(|&slot| space.unchecked.remove(slot));
        self.memory.metrics.claims("checked", right.len());
        self.memory.metrics.claims("false", liars.len());
        self.failed.extend(failed);
        self.checked = last;
        Ok(true)
    }
}

/// Unchecked notes after a slot, as many as a step may have, and the last slot that was looked at; None at the end.
fn read_step(
    memory: &Memory,
    space: &Arc<Space>,
    failed: &HashSet<Slot>,
    after: Slot,
    most_tokens: usize,
) -> Result<(Vec<Claimed>, Option<Slot>), IndexerError> {
    let view = memory.store.view()?;
    let (mut notes, mut last, mut tokens) = (Vec::new(), None, 0);
    for slot in space.unchecked.after(after, STEP) {
        if tokens >= most_tokens {
            break;
        }
        last = Some(slot);
        if !view.is_unchecked(slot, space.id())? {
            // A search compared it, or it is gone.
            space.unchecked.remove(slot);
        } else if !failed.contains(&slot)
            && let Some(record) = view.record(slot)?
            && let Some(Ok(vector)) = view.vector(slot, space.id())?.map(|vector| vector.decode())
        {
            tokens += tokens_in(&record.grain);
            notes.push(Claimed { record, vector });
        }
    }
    Ok((notes, last))
}
