//! Which pending notes the indexer takes next, and what becomes of the vectors that authors vouch for.
//!
//! A note waits in a lane: one for what was put at this node, one for each peer that delivers. What was put here goes first
//! and alone; then the others come in turns, each with a small share of a round that is small itself. So no peer holds up
//! another, and the owner's next note waits for at most one round of theirs.
//!
//! A claim spares the model's work: its vector is taken over at once, marked as unchecked. Nothing unchecked is shown; what a
//! search finds, and in idle hours all the rest, is embedded and compared (see [`is_right`]). One false claim is enough:
//! then all that is unchecked of its author goes, and its notes are embedded here.

use std::collections::{HashMap, HashSet};

use synapsenet_index::Model;
use synapsenet_proto::{AuthorId, Claim, Grain, Vector};
use synapsenet_storage::{Change, LANE_OWN, Lane, Record, Slot, StorageError, View};

use crate::memory::Memory;

/// A claim is right from this cosine on. The packing to 8 bits and different processors cost less than 0.001; another
/// sentence is below 0.9.
pub(crate) const MIN_COSINE: f32 = 0.98;
/// Notes embedded in one round: enough to sort by length.
pub(crate) const MAX_EMBEDDED: usize = 512;
/// Tokens embedded in one round of this node's own notes, at a guess (see [`tokens_in`]): a few seconds of work on two cores,
/// which a crash repeats. Short texts come to no more than this before they are [`MAX_EMBEDDED`].
pub(crate) const MAX_ROUND_TOKENS: usize = 16 << 10;
/// Tokens embedded in one round of peers' notes: a second of work, for which the owner's next note waits.
pub(crate) const MAX_PEERS_TOKENS: usize = 4 << 10;
/// Of those, for one lane before it is the next one's turn.
const MAX_TURN_TOKENS: usize = 1 << 10;
/// Bytes of text for a token, on average, of prose in English. Of noise, or where a letter takes three bytes, it is half of
/// that; then a round takes twice as long.
const BYTES_PER_TOKEN: usize = 4;
/// Notes taken in one round when claims spare their embedding: one commit of some 2 MiB.
const MAX_BELIEVED: usize = 4096;
/// Pending notes read at once: few enough that of long ones not many are read in vain.
const PAGE: usize = 64;

/// A guess at how many tokens a note has, without a tokenizer: nothing needs a model that is believed by its claim.
pub(crate) fn tokens_in(grain: &Grain) -> usize {
    let draft = &grain.body().draft;
    (draft.title.len() + draft.text.len()).div_ceil(BYTES_PER_TOKEN)
}

/// Whether a claimed vector is the one that was computed here.
pub(crate) fn is_right(claimed: &Vector, computed: &Vector) -> bool {
    computed.cosine(claimed).is_ok_and(|cosine| cosine >= MIN_COSINE)
}

/// A note to be embedded, of which nothing is believed.
pub(crate) struct Plain {
    /// The note.
    pub record: Record,
    /// Whether its author claimed something about another model, so that it was announced before.
    pub had_claim: bool,
}

/// Some pending notes, sorted by what is to be done about them.
#[derive(Default)]
pub(crate) struct Round {
    /// To be embedded.
    pub plain: Vec<Plain>,
    /// What follows from claims, in one commit.
    pub changes: Vec<Change>,
    /// How many claims are taken over.
    pub believed: usize,
    /// Whether it is one of this node's own notes.
    pub is_own: bool,
    /// The lane that had its turn last.
    pub turn: Lane,
    /// [`View::shared_seq`] when it was read.
    pub shared_seq: u64,
    /// At a guess, of what is to be embedded.
    tokens: usize,
}

/// What a round is read with.
pub(crate) struct Reading<'a> {
    /// Vectors of this model are wanted.
    pub model: &'a Model,
    /// This node's author, whose claims are true.
    pub own: AuthorId,
    /// The lane that had its turn last.
    pub turn: Lane,
    /// Notes that the model failed on: they are left where they are.
    pub failed: &'a HashSet<Slot>,
}

impl Round {
    /// Takes pending notes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(memory: &Memory, reading: &Reading<'_>) -> Result<Self, StorageError> {
        let view = memory.store.view()?;
        let mut round = Self { shared_seq: view.shared_seq()?, turn: reading.turn, ..Self::default() };
        let mut from = 0;
        while round.turn_of(&view, reading, LANE_OWN, &mut from, MAX_ROUND_TOKENS, MAX_ROUND_TOKENS)? {
            round.is_own = true;
        }
        if !round.is_own {
            round.read_peers(&view, reading)?;
        }
        Ok(round)
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.changes.is_empty()
    }

    /// Gives each lane its turn, again and again, until the round is full or every lane is at its end.
    fn read_peers(&mut self, view: &View, reading: &Reading<'_>) -> Result<(), StorageError> {
        let mut places: HashMap<Lane, Slot> = HashMap::new();
        let mut first_at_end = None;
        while !self.is_full(MAX_PEERS_TOKENS) {
            let next = match view.lane_after(self.turn)? {
                Some(lane) => Some(lane),
                None => view.lane_after(LANE_OWN)?,
            };
            let Some(lane) = next else { break };
            self.turn = lane;
            let from = places.entry(lane).or_default();
            if self.turn_of(view, reading, lane, from, MAX_TURN_TOKENS, MAX_PEERS_TOKENS)? {
                first_at_end = None;
            } else if first_at_end == Some(lane) {
                break;
            } else {
                first_at_end = first_at_end.or(Some(lane));
            }
        }
        Ok(())
    }

    /// Takes a page of a lane, from the slot `from` on, or less when its share or the round is full. False when there is
    /// nothing more.
    fn turn_of(
        &mut self,
        view: &View,
        reading: &Reading<'_>,
        lane: Lane,
        from: &mut Slot,
        share: usize,
        most: usize,
    ) -> Result<bool, StorageError> {
        let end = self.tokens.saturating_add(share);
        let mut took = false;
        if self.is_full(most) {
            return Ok(took);
        }
        for record in view.pending_in(lane, *from, PAGE, &|slot| reading.failed.contains(&slot))? {
            if self.tokens >= end || self.is_full(most) {
                break;
            }
            *from = record.slot + 1;
            took = true;
            self.take(view, reading, record)?;
        }
        Ok(took)
    }

    fn is_full(&self, tokens: usize) -> bool {
        self.plain.len() >= MAX_EMBEDDED || self.tokens >= tokens || self.believed >= MAX_BELIEVED
    }

    fn take(&mut self, view: &View, reading: &Reading<'_>, record: Record) -> Result<(), StorageError> {
        let &Reading { model, own, .. } = reading;
        let bytes = view.claim(record.slot)?;
        let claim = bytes.as_deref().and_then(|bytes| Claim::reopen(bytes).ok());
        let claim = claim.filter(|claim| claim.vector().model() == model.id());
        let claim = claim.and_then(|claim| Some((claim.vector().decode().ok()?, claim)));
        let (slot, author) = (record.slot, record.grain.author());
        match claim {
            Some(_) if view.author_standing(&author)?.distrusted => {}
            // A vector of another length cannot be of this model, whoever says so.
            Some((claimed, _)) if claimed.values().len() != model.dimension() => {
                tracing::warn!(%author, grain = %record.grain.id(), "a false claim; this author is believed no more");
                self.changes.push(Change::Distrust { author });
            }
            Some((_, claim)) => {
                let vector = claim.vector().clone();
                self.believed += 1;
                self.changes.push(match author == own {
                    true => Change::AddVector { slot, vector },
                    false => Change::AddClaimed { slot, author, vector },
                });
                return Ok(());
            }
            None => {}
        }
        self.tokens += tokens_in(&record.grain);
        self.plain.push(Plain { record, had_claim: bytes.is_some() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, assert_page_says, author, claimed, note, peer};
    use synapsenet_proto::Announcement;

    impl Fixture {
        fn round(&self, turn: Lane) -> Round {
            let model = self.memory.current().model.clone();
            let failed = HashSet::new();
            let reading = Reading { model: &model, own: author(0).author(), turn, failed: &failed };
            Round::read(&self.memory, &reading).unwrap()
        }

        /// Puts notes of so many bytes into a lane.
        async fn fill(&self, lane: Lane, count: usize, bytes: usize) {
            let put = |n: usize| {
                let grain = note(&author(9), &format!("{lane} {n} {}", "word ".repeat(bytes / 5)));
                Change::Put {
                    grain,
                    shared: true,
                    received_ms: 1,
                    claim: None,
                    origin: synapsenet_storage::Origin::Known,
                    lane,
                }
            };
            self.ingest.apply((0..count).map(put).collect()).await.unwrap();
        }
    }

    /// The lanes of what is embedded, in its order.
    fn lanes(round: &Round) -> Vec<Lane> {
        let lane = |plain: &Plain| plain.record.grain.text().split(' ').next().unwrap().parse().unwrap();
        round.plain.iter().map(lane).collect()
    }

    #[tokio::test]
    async fn claims_are_taken_over_unchecked_and_those_of_this_node_are_true() {
        let node = Fixture::new();
        for by in [1, 0, 2] {
            let brought = claimed(&author(by), &format!("by {by}"), &node.vector(1));
            node.ingest.receive(brought, peer(1)).await.unwrap();
        }
        node.ingest.apply(vec![Change::Distrust { author: author(2).author() }]).await.unwrap();
        let round = node.round(LANE_OWN);
        assert_eq!((round.believed, round.plain.len()), (2, 1));
        node.ingest.apply(round.changes).await.unwrap();
        assert_eq!(node.view().unchecked(node.model()).unwrap(), [1]);
        assert_eq!(node.view().counts().unwrap().pending, 1);
    }

    #[tokio::test]
    async fn a_vector_of_another_length_is_a_false_claim() {
        let node = Fixture::new();
        let short = Vector::new(node.model(), vec![1.0, 2.0]).unwrap();
        node.ingest.receive(claimed(&author(1), "a text", &short), peer(1)).await.unwrap();
        let round = node.round(LANE_OWN);
        assert_eq!((round.believed, round.plain.len()), (0, 1));
        node.ingest.apply(round.changes).await.unwrap();
        assert!(node.view().author_standing(&author(1).author()).unwrap().distrusted);
    }

    #[tokio::test]
    async fn what_was_put_here_comes_first_and_alone() {
        let node = Fixture::new();
        node.fill(7, 20, 4000).await;
        node.fill(LANE_OWN, 2, 40).await;
        let round = node.round(LANE_OWN);
        assert!(round.is_own);
        assert_eq!(lanes(&round), [LANE_OWN; 2]);
    }

    #[tokio::test]
    async fn peers_come_in_turns_each_with_a_small_share_of_a_small_round() {
        let node = Fixture::new();
        node.fill(7, 500, 2000).await;
        node.fill(8, 3, 40).await;
        node.fill(9, 500, 2000).await;
        // 500 tokens a note: two in a turn, eight in a round, and the short ones are as good as nothing.
        let round = node.round(LANE_OWN);
        assert!(!round.is_own);
        assert_eq!(lanes(&round)[..9], [7, 7, 7, 8, 8, 8, 9, 9, 9]);
        assert!(round.plain.len() < 16, "{}", round.plain.len());
        // The next round goes on with whose turn it is.
        assert_eq!(lanes(&node.round(7))[0], 8);
        assert_eq!(lanes(&node.round(9))[0], 7);
    }

    /// Everybody passes on what a flooder says, so an honest note came by a peer of which hundreds waited for the model, and
    /// waited behind them.
    #[tokio::test]
    async fn a_claimed_note_does_not_wait_for_a_flood_that_came_by_the_same_peer() {
        let node = Fixture::new();
        for n in 0..500 {
            let grain = note(&author(9), &format!("{n} {}", "Buy cheap watches today. ".repeat(20)));
            node.ingest.receive(Announcement { grain, claim: None }, peer(1)).await.unwrap();
        }
        node.ingest.receive(claimed(&author(1), "an honest one", &node.vector(1)), peer(1)).await.unwrap();
        let rounds = [node.round(LANE_OWN), node.round(node.round(LANE_OWN).turn)];
        assert!(rounds.iter().any(|round| round.believed == 1));
    }

    #[tokio::test]
    async fn a_round_takes_no_more_to_embed_than_it_may_and_passes_over_what_failed() {
        let node = Fixture::new();
        node.fill(LANE_OWN, MAX_EMBEDDED + 5, 5).await;
        assert_eq!(node.round(LANE_OWN).plain.len(), MAX_EMBEDDED);
        let failed: HashSet<Slot> = (1..=MAX_EMBEDDED as Slot).collect();
        let model = node.memory.current().model.clone();
        let reading = Reading { model: &model, own: author(0).author(), turn: LANE_OWN, failed: &failed };
        assert_eq!(Round::read(&node.memory, &reading).unwrap().plain.len(), 5);
    }

    #[test]
    fn the_page_for_implementers_says_which_claims_are_true() {
        use crate::memory::search::{MAX_CHECKED, MAX_CHECKED_TOKENS};
        assert_page_says(
            "claims",
            &[
                ("claims compared for one search", MAX_CHECKED.to_string()),
                ("tokens of these, at a guess", MAX_CHECKED_TOKENS.to_string()),
                ("least cosine of a true claim", MIN_COSINE.to_string()),
            ],
        );
    }
}
