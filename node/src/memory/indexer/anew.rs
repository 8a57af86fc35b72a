//! Embedding anew what only a former model has vectors of: newest first, when nothing else is to be done, and slower
//! while questions come. What is done is in the store, so a crash repeats at worst one step.

use std::sync::Arc;
use std::time::Duration;

use synapsenet_proto::Vector;
use synapsenet_storage::{Slot, View};

use super::{Indexer, IndexerError};
use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::claims::{Plain, tokens_in};
use crate::memory::spaces::{Anchors, Backlog, Space, Spaces};

/// Grains of one step ...
const STEP: usize = 64;
/// ... and tokens, at a guess: some hundred milliseconds of work, after which new ones are seen. Short texts are as many.
const MAX_STEP_TOKENS: usize = 2048;
/// Nothing is embedded anew until so long after a question ...
const QUIET: Duration = Duration::from_millis(150);
/// ... but for questions without end it is not held up longer than this for a step, which is then so many times smaller: whoever
/// asks next finds the processor busy for a few hundredths of a second at most.
const MAX_HELD_UP: Duration = Duration::from_millis(250);
const HELD_UP_PART: usize = 8;

/// What one step found to do.
struct Step {
    /// To be embedded.
    notes: Vec<Plain>,
    shared_seq: u64,
    /// How many of those that were asked for it deals with.
    taken: usize,
}

impl Indexer {
    /// Embeds some grains anew. True when there may be more to do.
    pub(super) async fn embed_anew(&mut self) -> Result<bool, IndexerError> {
        let spaces = self.memory.spaces();
        let metrics = &self.memory.metrics;
        if spaces.is_complete {
            metrics.anew_grains.set(0);
            return Ok(false);
        }
        // The model was changed since somebody looked.
        let Some(backlog) = spaces.backlog.clone() else { return Ok(true) };
        metrics.anew_grains.set(backlog.remaining().len() as i64);
        if backlog.remaining().is_empty() {
            return self.let_former_go(&spaces).await;
        }
        let most_tokens = self.tokens_now(MAX_STEP_TOKENS).await;
        let slots: Vec<Slot> = backlog.remaining().iter().take(STEP).copied().collect();
        let (memory, current, wanted) = (self.memory.clone(), spaces.current.clone(), slots.clone());
        let Step { notes, shared_seq, taken } =
            blocking(move || read_step(&memory.store.view()?, &current, &wanted, most_tokens)).await?;
        let count = notes.len() as u64;
        let failed = match notes.is_empty() {
            true => Vec::new(),
            false => match self.embed(&spaces.current.model, notes, shared_seq).await {
                // It was unloaded, or removed, because another is in use now.
                Err(error) if self.is_out_of_use(&spaces.current, &error) => return Ok(true),
                embedded => embedded?,
            },
        };
        self.catch_up().await?;
        if self.stop.is_cancelled() {
            // What was not embedded is no failure, and found missing after the next start.
            return Ok(true);
        }
        backlog.advance(taken, &failed);
        self.memory.metrics.embedded_anew.inc_by(count);
        self.find_anchors(&spaces, &backlog).await?;
        Ok(true)
    }

    /// Makes the list of what is to be done, when there is none yet. It is made here and not where the model is changed, because
    /// a round that was under way then has ended now.
    pub(super) async fn look_for_backlog(&self) -> Result<(), IndexerError> {
        let spaces = self.memory.spaces();
        if spaces.is_complete || spaces.backlog.is_some() {
            return Ok(());
        }
        // What the round before this stored is in the indexes then; and one whose log was pruned begins before the list.
        self.catch_up().await?;
        let (memory, now) = (self.memory.clone(), spaces.clone());
        let backlog = blocking(move || Backlog::find(&memory.store.view()?, &now)).await?;
        let backlog = Arc::new(backlog);
        let grains = backlog.total();
        tracing::info!(grains, model = spaces.current.model.full_name(), "grains are embedded anew");
        self.change(&spaces, |spaces| {
            // Nobody is at work for a former one any more: those that hold nothing are of no use.
            let former = spaces.former.iter().filter(|space| !space.hnsw.is_empty()).cloned().collect();
            Spaces { backlog: Some(backlog.clone()), former, ..spaces.clone() }
        });
        self.find_anchors(&self.memory.spaces(), &backlog).await
    }

    /// All is done: saves the former indexes, in case somebody wants to go back, and takes them out of the searches. False:
    /// there is nothing more to do.
    async fn let_former_go(&self, spaces: &Arc<Spaces>) -> Result<bool, IndexerError> {
        if spaces.backlog.as_ref().is_some_and(|backlog| backlog.has_failed()) {
            // They are found by the former model, until the next start tries again.
            return Ok(false);
        }
        self.save().await?;
        let model = spaces.current.model.full_name();
        self.change(spaces, |spaces| Spaces::one(spaces.current.clone()));
        tracing::info!(model, "every grain has a vector of this model");
        Ok(true)
    }

    /// Makes other spaces of these, unless somebody else has changed them meanwhile.
    fn change(&self, from: &Arc<Spaces>, change: impl FnOnce(&Spaces) -> Spaces) {
        self.memory.change_spaces(|now| Arc::ptr_eq(&from.current, &now.current).then(|| change(now)));
    }

    /// Waits until nobody has asked anything for a moment, and answers how many tokens a step may have that has this many when
    /// nobody asks.
    pub(super) async fn tokens_now(&self, when_quiet: usize) -> usize {
        let quiet = async {
            while let Some(left) = self.memory.quiet_for().and_then(|quiet| QUIET.checked_sub(quiet))
                && !left.is_zero()
            {
                tokio::time::sleep(left).await;
            }
        };
        tokio::select! {
            waited = tokio::time::timeout(MAX_HELD_UP, quiet) => {
                if waited.is_ok() { when_quiet } else { when_quiet / HELD_UP_PART }
            }
            () = self.stop.cancelled() => when_quiet,
        }
    }

    /// Looks which grains have vectors of both models, by which their scores can be compared.
    async fn find_anchors(&self, spaces: &Arc<Spaces>, backlog: &Backlog) -> Result<(), IndexerError> {
        let (memory, now, held_twice) = (self.memory.clone(), spaces.clone(), backlog.held_twice());
        let anchors = blocking(move || find_anchors(&memory, &now, &held_twice)).await?;
        self.change(spaces, |spaces| Spaces { anchors, ..spaces.clone() });
        Ok(())
    }
}

/// Puts what has a vector already into the index, and reads what has none, as much as a step may have.
fn read_step(view: &View, current: &Space, slots: &[Slot], most_tokens: usize) -> Result<Step, IndexerError> {
    let (shared_seq, taken) = (view.shared_seq()?, slots.len());
    let mut step = Step { notes: Vec::new(), shared_seq, taken };
    let mut tokens = 0;
    // The step before may have put in some that it did not deal with.
    let missing: Vec<Slot> = slots.iter().copied().filter(|slot| !current.hnsw.contains(*slot)).collect();
    for slot in current.take_stored(view, &missing)? {
        if tokens >= most_tokens {
            step.taken = slots.iter().take_while(|other| **other != slot).count();
            break;
        }
        // It may have been withdrawn since the list was made.
        if let Some(record) = view.record(slot)? {
            let had_claim = view.claim(slot)?.is_some();
            tokens += tokens_in(&record.grain);
            step.notes.push(Plain { record, had_claim });
        }
    }
    Ok(step)
}

fn find_anchors(memory: &Memory, spaces: &Spaces, slots: &[Slot]) -> Result<Vec<Arc<Anchors>>, IndexerError> {
    let view = memory.store.view()?;
    let decoded = |slot, space: &Space| -> Result<Option<Vector>, IndexerError> {
        Ok(view.vector(slot, space.id())?.and_then(|vector| vector.decode().ok()))
    };
    let of = |former: &Arc<Space>| {
        let mut pairs = Vec::new();
        for &slot in slots {
            if let (Some(new), Some(old)) = (decoded(slot, &spaces.current)?, decoded(slot, former)?) {
                pairs.push((new, old));
            }
        }
        Ok(Arc::new(Anchors::new(former.id(), pairs)))
    };
    spaces.former.iter().map(of).collect()
}
