//! A memory without doors, models and peers, for benches: what admission, scores and retention make of grains that somebody brings
//! with their vectors. The parts are those of a node, joined as a node joins them; who calls gives the vectors, the hour of scoring,
//! and what the owner opens.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use futures::future::join_all;
use synapsenet_net::peer_of;
use synapsenet_proto::{Announcement, AuthorId, Grain, GrainId, Identity, Vector};
use synapsenet_storage::{Change, Slot};
use tokio::sync::{Notify, mpsc};

use crate::config::Config;
use crate::memory::announcer::{Announcer, MAX_OUTBOX};
use crate::memory::emergence::uses::{Asker, today};
use crate::memory::events::Events;
use crate::memory::ingest::{self, Ingest, IngestError, Limits, Put};
use crate::memory::{Memory, VECTOR_ENCODING, opening};
use crate::tasks::Alarm;

/// Grains whose neighbours are looked for in one step.
const STEP: usize = 1024;

/// A memory and its ingest thread, which ends when this is dropped.
pub struct Rehearsal {
    memory: Arc<Memory>,
    ingest: Ingest,
    config: Config,
}

/// What a grain adds, as far as a bench asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Score {
    /// The whole.
    pub score: f64,
    /// How much vouches for it, 0 to 1.
    pub backing: f64,
}

impl Rehearsal {
    /// Opens a memory in a folder, as a node with this configuration does.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(dir: &Path, config: Config) -> anyhow::Result<Self> {
        let alarm = Alarm::new().0;
        let opened = opening::open(dir, &config, &alarm)?;
        let (memory, identity) = (Arc::new(opened.memory), Arc::new(opened.identity));
        let (outbox, _) = mpsc::channel(MAX_OUTBOX);
        let (ingest, _) = Ingest::start(ingest::Start {
            memory: memory.clone(),
            announcer: Announcer::new(memory.clone(), identity, outbox),
            events: Events::new(),
            limits: Limits::of(&config),
            changed: Arc::new(Notify::new()),
            alarm,
        });
        Ok(Self { memory, ingest, config })
    }

    /// A peer brings grains, in this order, whose vectors are given; then all that has one is scored. Answers how many were taken.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn bring(&self, grains: &[(Grain, Vector)], peer: &Identity) -> anyhow::Result<usize> {
        let announced = grains.iter().map(|(grain, _)| {
            self.ingest.receive(Announcement { grain: grain.clone(), claim: None }, peer_of(peer))
        });
        let mut changes = Vec::new();
        let outcomes = join_all(announced).await;
        let view = self.memory.store.view()?;
        for (outcome, (grain, vector)) in outcomes.into_iter().zip(grains) {
            match outcome {
                Ok(Put::Added) => {}
                Ok(Put::Duplicate { .. }) | Err(IngestError::Refused(_)) => continue,
                Err(error) => return Err(error.into()),
            }
            // It may have given way already to what came with it.
            if let Some(slot) = view.slot_of(&grain.id())? {
                changes.push(Change::AddVector { slot, vector: vector.encode(VECTOR_ENCODING) });
            }
        }
        drop(view);
        let taken = changes.len();
        self.ingest.apply(changes).await?;
        self.score()?;
        Ok(taken)
    }

    fn score(&self) -> anyhow::Result<()> {
        let (memory, space) = (&self.memory, self.memory.current());
        space.apply_log(&memory.store.view()?)?;
        while memory.scores.step(&memory.store.view()?, &space, (&memory.metrics, &memory.uses), STEP)? {}
        Ok(())
    }

    /// Leaves room for so many grains of strangers from now on, and lets go what is more.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn shrink(&self, strangers: u64) -> anyhow::Result<()> {
        self.ingest.limit(Limits { max_strangers: strangers, ..Limits::of(&self.config) }).await;
        loop {
            let held = self.memory.store.view()?.counts()?.strangers;
            if held <= strangers {
                return self.score();
            }
            // Any change has it looked whether there are too many.
            self.ingest.apply(vec![Change::PruneIndexLog { up_to: 0 }]).await?;
            self.score()?;
        }
    }

    /// The owner finds grains and opens some of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open_hits(&self, hits: &[GrainId], opened: &[GrainId]) -> anyhow::Result<()> {
        let uses = &self.memory.uses;
        uses.note_hits(Asker::Owner("owner"), self.slots(hits)?.into_iter(), today());
        self.slots(opened)?
            .into_iter()
            .for_each(|slot| uses.note_opened(Asker::Owner("owner"), slot, today()));
        Ok(())
    }

    /// Peers ask, and are told grains, on each of so many days that ended yesterday.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tell(&self, peers: usize, days: u32, told: &[GrainId]) -> anyhow::Result<()> {
        let slots = self.slots(told)?;
        for day in today().saturating_sub(days)..today() {
            for peer in 0..peers {
                self.memory.uses.note_told(peer, &slots, day);
            }
        }
        Ok(())
    }

    fn slots(&self, ids: &[GrainId]) -> anyhow::Result<Vec<Slot>> {
        let view = self.memory.store.view()?;
        let mut slots = Vec::with_capacity(ids.len());
        for id in ids {
            slots.extend(view.slot_of(id)?);
        }
        Ok(slots)
    }

    /// Which of these are held.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn held(&self, ids: &[GrainId]) -> anyhow::Result<Vec<bool>> {
        let view = self.memory.store.view()?;
        ids.iter().map(|id| Ok(view.slot_of(id)?.is_some())).collect()
    }

    /// What a grain adds; none for one that is not held.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn score_of(&self, id: &GrainId) -> anyhow::Result<Option<Score>> {
        let slot = self.memory.store.view()?.slot_of(id).context("the store cannot be read")?;
        let emergence = slot.and_then(|slot| self.memory.emergence(slot));
        Ok(emergence.map(|it| Score { score: it.score.as_f64(), backing: it.backing.as_f64() }))
    }

    /// What the grains of each author are worth here.
    #[must_use]
    pub fn standings(&self) -> HashMap<AuthorId, f64> {
        let standings = self.memory.scores.standings(&self.memory.uses, None);
        standings.into_iter().map(|(author, standing)| (author, standing.sum.as_f64())).collect()
    }
}
