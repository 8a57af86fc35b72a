//! Calls about emergence: why a grain has its score, what adds most, whose it is, and what emerged since a time. None is for who is
//! limited to topics: a score tells what else is known.

use std::cmp::Reverse;

use synapsenet_proto::{AuthorId, Topic};
use synapsenet_storage::{Record, Slot, View};

use crate::calls::authors::{Whose, whose};
use crate::calls::error::invalid;
use crate::calls::grains::find_record;
use crate::calls::{Call, CallError};
pub(crate) use crate::memory::emergence::Wanted;
use crate::memory::emergence::{Emergence, Millionths, Scored, Standing, Weights};

/// Grains on a list at most, and when it names no number: with 32 KiB each, an answer stays below 4 MiB.
const MAX_TOP: usize = 100;
const DEFAULT_TOP: usize = 20;
/// Authors on a list at most.
const MAX_AUTHORS: usize = 1000;
/// Groups, and grains of each kind, in a digest.
const MAX_IN_DIGEST: usize = 10;

/// Why a grain has its score.
#[derive(Debug)]
pub(crate) struct Explained {
    pub record: Record,
    /// None while its neighbours were not looked at, and when nothing is scored.
    pub emergence: Option<Emergence>,
    pub weights: Option<Weights>,
    /// The nearest older one first.
    pub neighbours: Vec<ExplainedNeighbour>,
}

/// A grain that made a part of a score.
#[derive(Debug)]
pub(crate) struct ExplainedNeighbour {
    pub record: Record,
    pub cosine: Millionths,
    pub is_older: bool,
}

/// A grain and what it adds.
pub(crate) type ScoredRecord = (Record, Emergence);

/// An author by what its grains add.
#[derive(Debug, Clone)]
pub(crate) struct StandingOf {
    pub author: AuthorId,
    pub whose: Whose,
    /// Nothing when a claim was found false.
    pub standing: Standing,
    pub distrusted: bool,
}

/// New grains that are near to each other.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub central: ScoredRecord,
    /// Their ids, in hexadecimal digits.
    pub ids: Vec<String>,
    pub size: usize,
}

/// What emerged since a time.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    pub grains: u64,
    pub clusters: Vec<Cluster>,
    pub novel: Vec<ScoredRecord>,
    pub reused: Vec<ScoredRecord>,
}

impl Call {
    /// Why a grain has its score, by its id or a beginning of it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn explain_emergence(&self, id: String) -> Result<Explained, CallError> {
        let topics = self.topics_of_caller().clone();
        self.read(move |memory, view| {
            let record = find_record(view, &id, &topics)?;
            let order = |record: &Record| (record.grain.created_ms(), record.grain.id());
            let mut neighbours = Vec::new();
            for (slot, cosine) in memory.scores.neighbours(record.slot) {
                // One that went since is no neighbour any more.
                if let Some(other) = view.record(slot)? {
                    let is_older = order(&other) < order(&record);
                    neighbours.push(ExplainedNeighbour { record: other, cosine, is_older });
                }
            }
            let (emergence, weights) = (memory.emergence(record.slot), memory.scores.weights().copied());
            Ok(Explained { record, emergence, weights, neighbours })
        })
        .await
    }

    /// The grains that add most, or the newest. A limit of 0 is [`DEFAULT_TOP`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn top_emergence(
        &self,
        wanted: Wanted,
        by_time: bool,
        limit: usize,
    ) -> Result<Vec<ScoredRecord>, CallError> {
        let most = limited(limit, MAX_TOP)?;
        self.read(move |memory, view| records(view, memory.scores.top(&memory.uses, &wanted, by_time, most)))
            .await
    }

    /// The authors by what their grains add, on a topic or in all. A limit of 0 is [`DEFAULT_TOP`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn emergence_authors(
        &self,
        topic: Option<Topic>,
        limit: usize,
    ) -> Result<Vec<StandingOf>, CallError> {
        let most = limited(limit, MAX_AUTHORS)?;
        let own = self.parts.identity.author();
        self.read(move |memory, view| {
            let rules = memory.rules();
            let mut authors = Vec::new();
            for (author, mut standing) in memory.scores.standings(&memory.uses, topic.as_ref()) {
                let distrusted = view.author_standing(&author)?.distrusted;
                if distrusted {
                    standing.sum = Millionths(0);
                }
                let whose = whose(author, own, &rules);
                authors.push(StandingOf { author, whose, standing, distrusted });
            }
            authors.sort_unstable_by_key(|of| (Reverse(of.standing.sum), of.author));
            authors.truncate(most);
            Ok(authors)
        })
        .await
    }

    /// What emerged since a time.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn digest(&self, wanted: Wanted) -> Result<Digest, CallError> {
        /// Ids of a group that are named.
        const MAX_IDS: usize = 100;
        self.read(move |memory, view| {
            let emerged = memory.scores.emerged(&memory.uses, &wanted, MAX_IN_DIGEST);
            let mut clusters = Vec::new();
            for group in emerged.groups {
                let emergence = memory.emergence(group.central);
                let central = view.record(group.central)?.zip(emergence);
                let Some(central) = central else { continue };
                let mut ids = Vec::new();
                for &slot in group.slots.iter().take(MAX_IDS) {
                    ids.extend(id_at(view, slot)?);
                }
                clusters.push(Cluster { central, ids, size: group.slots.len() });
            }
            Ok(Digest {
                grains: emerged.grains,
                clusters,
                novel: records(view, emerged.novel)?,
                reused: records(view, emerged.reused)?,
            })
        })
        .await
    }
}

fn id_at(view: &View, slot: Slot) -> Result<Option<String>, CallError> {
    Ok(view.record(slot)?.map(|record| record.grain.id().to_string()))
}

/// The records of grains that are still there.
fn records(view: &View, scored: Vec<Scored>) -> Result<Vec<ScoredRecord>, CallError> {
    let mut records = Vec::with_capacity(scored.len());
    for (slot, emergence) in scored {
        records.extend(view.record(slot)?.map(|record| (record, emergence)));
    }
    Ok(records)
}

fn limited(limit: usize, most: usize) -> Result<usize, CallError> {
    match limit {
        0 => Ok(DEFAULT_TOP),
        limit if limit <= most => Ok(limit),
        limit => Err(invalid(format!("limit is {limit}; at most {most} are allowed"))),
    }
}
