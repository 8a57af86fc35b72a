//! Checked before shown: the best candidates whose vectors are only claimed are embedded here and compared, as many as one
//! run of the model takes. What is right is shown, what is a lie costs its author all of its claims, and what there is no
//! time for is left out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use synapsenet_index::{Purpose, Tokenized};
use synapsenet_proto::{SpaceId, Vector};
use synapsenet_storage::{Change, Slot, StorageError, View};

use super::{Asked, Hit, Measure, Ranked, load_one};
use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::claims::{is_right, tokens_in};
use crate::memory::ingest::Ingest;
use crate::models::Models;

/// Claims compared for one search: a page of hits and some more ...
pub(crate) const MAX_CHECKED: usize = 16;
/// ... and their tokens, at a guess: some 15 to 30 ms on two cores. Who asks waits for it, and the limit for
/// a search is 60 ms.
pub(crate) const MAX_CHECKED_TOKENS: usize = 128;

/// The best candidates, sorted by what is known of their vectors.
#[derive(Default)]
pub(super) struct Picked {
    measure: Measure,
    /// To be shown.
    pub checked: Vec<Hit>,
    /// To be shown for their words alone: what is claimed of them is not compared, or is not believed.
    by_words: Vec<Hit>,
    /// To be compared first.
    pub claimed: Vec<Hit>,
    /// The scores of unchecked ones that there is no time for.
    pub left_out: Vec<f32>,
    /// Candidates of authors that were caught.
    pub lies: usize,
}

impl Picked {
    /// Takes candidates, best first, until `k` of them are checked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pick(
        view: &View,
        ranked: Vec<Ranked>,
        (k, measure): (usize, Measure),
    ) -> Result<Self, StorageError> {
        let (mut picked, mut tokens) = (Self { measure, ..Self::default() }, 0);
        for candidate in ranked {
            if picked.checked.len() == k {
                break;
            }
            let is_unchecked = candidate.is_unchecked;
            let Some(hit) = load_one(view, candidate)? else { continue };
            if !is_unchecked {
                picked.checked.push(hit);
                continue;
            }
            if view.author_standing(&hit.record.grain.author())?.distrusted {
                picked.lies += 1;
                picked.keep_words(hit);
                continue;
            }
            let more = tokens_in(&hit.record.grain);
            if picked.claimed.len() < MAX_CHECKED && tokens + more <= MAX_CHECKED_TOKENS {
                tokens += more;
                picked.claimed.push(hit);
            } else {
                picked.leave_out(hit);
            }
        }
        Ok(picked)
    }

    /// Leaves out what is claimed of a hit.
    fn leave_out(&mut self, hit: Hit) {
        self.left_out.push(hit.score);
        self.keep_words(hit);
    }

    /// Keeps a hit for its words, without what is claimed of it.
    fn keep_words(&mut self, hit: Hit) {
        if hit.words > 0.0 {
            let score = self.measure.score(None, hit.words);
            self.by_words.push(Hit { score, cosine: None, model: None, ..hit });
        }
    }

    /// What may be shown, in no order.
    pub fn take_hits(&mut self) -> Vec<Hit> {
        let mut hits = std::mem::take(&mut self.checked);
        hits.append(&mut self.by_words);
        hits
    }

    /// Whether candidates fell away, so that there may be others behind them.
    pub fn has_lost(&self) -> bool {
        self.lies + self.left_out.len() > 0
    }

    /// How many that were left out would stand among these hits, of which `k` were wanted.
    pub fn missing(&self, hits: &[Hit], k: usize) -> usize {
        let last = hits.last().filter(|_| hits.len() == k).map_or(f32::NEG_INFINITY, |hit| hit.score);
        self.left_out.iter().filter(|score| **score > last).count()
    }

    /// Compares what is only claimed: what is right may be shown, and lies are dropped. Remembers both, and does not wait
    /// for that. What the model cannot read now is left out.
    pub async fn check(
        &mut self,
        memory: &Arc<Memory>,
        models: &Models,
        ingest: &Ingest,
        asked: &[Asked],
    ) -> Result<(), StorageError> {
        let claimed = std::mem::take(&mut self.claimed);
        if claimed.is_empty() {
            return Ok(());
        }
        let computed = compute(models, asked, &claimed).await;
        let keys = claimed.iter().filter_map(|hit| Some((hit.record.slot, hit.model?))).collect();
        let stored = {
            let memory = memory.clone();
            blocking(move || stored(&memory.store.view()?, keys)).await?
        };
        let (mut changes, mut liars, mut right) = (Vec::new(), HashSet::new(), 0);
        let before = self.lies;
        for hit in claimed {
            let (slot, author) = (hit.record.slot, hit.record.grain.author());
            let Some(vector) = computed.get(&slot) else {
                self.leave_out(hit);
                continue;
            };
            if stored.get(&slot).is_some_and(|stored| is_right(stored, vector)) {
                if let Some(asked) = asked.iter().find(|asked| Some(asked.space.id()) == hit.model) {
                    asked.space.unchecked.remove(slot);
                }
                changes.push(Change::Checked { slot, author });
                right += 1;
                self.checked.push(hit);
            } else {
                self.lies += 1;
                if liars.insert(author) {
                    let grain = hit.record.grain.id();
                    tracing::warn!(%author, %grain, "a false claim; this author is believed no more");
                    changes.push(Change::Distrust { author });
                }
                self.keep_words(hit);
            }
        }
        memory.metrics.claims("checked", right);
        memory.metrics.claims("false", self.lies - before);
        ingest.try_apply(changes);
        Ok(())
    }
}

/// The vectors of these notes, each by the model that found it. Where a model cannot be used now, there are none.
async fn compute(models: &Models, asked: &[Asked], claimed: &[Hit]) -> HashMap<Slot, Vector> {
    let mut computed = HashMap::new();
    for Asked { space, .. } in asked {
        let of_model: Vec<&Hit> = claimed.iter().filter(|hit| hit.model == Some(space.id())).collect();
        if of_model.is_empty() {
            continue;
        }
        let Ok(tokenizer) = models.tokenizer(&space.model).await else { continue };
        let tokenize = |hit: &&Hit| tokenizer.tokenize(&hit.record.grain.passage(), Purpose::Document);
        let texts: Vec<Tokenized> = of_model.iter().map(tokenize).collect();
        match models.documents_now(&space.model, &texts).await {
            Ok(vectors) => {
                computed.extend(of_model.iter().map(|hit| hit.record.slot).zip(vectors));
            }
            Err(error) => tracing::debug!(%error, "hits of a search are left out: they cannot be compared"),
        }
    }
    computed
}

/// The stored vectors of these slots.
fn stored(view: &View, keys: Vec<(Slot, SpaceId)>) -> Result<HashMap<Slot, Vector>, StorageError> {
    let mut vectors = HashMap::with_capacity(keys.len());
    for (slot, model) in keys {
        if let Some(Ok(vector)) = view.vector(slot, model)?.map(|vector| vector.decode()) {
            vectors.insert(slot, vector);
        }
    }
    Ok(vectors)
}
