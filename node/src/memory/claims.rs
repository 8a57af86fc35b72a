//! Which claims are believed: the vectors that authors vouch for, held against those computed here.
//!
//! An author's first grains are embedded here and compared with its claims, and so is a random share of the rest. One
//! false claim is enough: from then on every grain of that author is embedded here. So a claim saves the model's work
//! wherever its author was found honest, and a lie costs its author all of that.
//!
//! This module decides and does not compute: [`Round::read`] says what is to be embedded, [`Round::judge`] says what
//! follows from the vectors.

use std::collections::{HashMap, HashSet};

use synapsenet_index::Model;
use synapsenet_proto::{AuthorId, Claim, EncodedVector, Grain, Vector};
use synapsenet_storage::{Change, Record, Slot, Standing, StorageError, View};

use crate::memory::{Memory, VECTOR_ENCODING};

/// Claims of an author that must have been found right before others of it are believed: what a fresh key costs the one
/// that lies with it.
pub(crate) const MIN_AGREED: u32 = 8;
/// The share of later claims that is compared, in 65536ths: 2 %. A lie in every tenth grain is found, more likely than
/// not, within 350 grains.
const AUDITED_SHARE: u16 = 1311;
/// A claim is right from this cosine on. The packing to 8 bits and different processors cost less than 0.001; another
/// sentence is below 0.9.
pub(crate) const MIN_COSINE: f32 = 0.98;
/// Notes embedded in one round: enough to sort by length.
pub(crate) const MAX_EMBEDDED: usize = 512;
/// Tokens embedded in one round, at a guess (see [`tokens_in`]): a few seconds of work on two cores, which a crash repeats and
/// which others wait for. Short texts come to no more than this before they are [`MAX_EMBEDDED`].
pub(crate) const MAX_ROUND_TOKENS: usize = 16 << 10;
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

/// Decides by chance, so that no author can foretell which of its claims are compared.
pub(crate) struct Dice {
    stream: blake3::OutputReader,
}

impl Dice {
    /// Dice that nobody else knows.
    pub fn new() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("a system that started this node has random bytes");
        Self::from_seed(&seed)
    }

    /// Dice that fall the same way for the same seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { stream: blake3::Hasher::new_keyed(seed).finalize_xof() }
    }

    /// Others that fall in their own way, to be given away.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.stream.fill(&mut seed);
        Self::from_seed(&seed)
    }

    fn says_audit(&mut self) -> bool {
        let mut bytes = [0; 2];
        self.stream.fill(&mut bytes);
        u16::from_le_bytes(bytes) < AUDITED_SHARE
    }
}

/// A note that nothing of use is claimed about.
pub(crate) struct Plain {
    /// The note.
    pub record: Record,
    /// Whether its author claimed something about another model, so that it was announced before.
    pub had_claim: bool,
}

/// A note whose claim is compared with the vector computed here.
pub(crate) struct Audit {
    /// Where it lies.
    pub slot: Slot,
    /// The note.
    pub grain: Grain,
    claimed: Vector,
}

struct Believed {
    slot: Slot,
    author: AuthorId,
    vector: EncodedVector,
}

/// What is known of an author, with what this round adds.
#[derive(Default)]
struct Author {
    standing: Standing,
    /// Claims of it that this round compares.
    audits: u32,
    is_changed: bool,
}

/// Some pending notes, sorted by what is to be done about them.
#[derive(Default)]
pub(crate) struct Round {
    /// To be embedded.
    pub plain: Vec<Plain>,
    /// To be embedded and compared, before [`Round::judge`].
    pub audits: Vec<Audit>,
    /// The last note that was taken. None when no note is pending.
    pub last: Option<Slot>,
    /// [`View::shared_seq`] when it was read.
    pub shared_seq: u64,
    believed: Vec<Believed>,
    authors: HashMap<AuthorId, Author>,
    /// At a guess, of what is to be embedded.
    tokens: usize,
}

/// What follows from the vectors of the audited notes.
#[derive(Default)]
pub(crate) struct Verdict {
    /// To be made in one commit.
    pub changes: Vec<Change>,
    /// Authors that were found lying just now.
    pub liars: HashSet<AuthorId>,
    /// The first note that was taken and is not to be believed after all: it is taken again in a later round.
    pub again_from: Option<Slot>,
}

impl Round {
    /// Takes pending notes after slot `after`, for vectors of `model`. Claims of `own` are this node's, and true.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(
        memory: &Memory,
        model: &Model,
        own: AuthorId,
        after: Slot,
        dice: &mut Dice,
    ) -> Result<Self, StorageError> {
        let view = memory.store.view()?;
        let mut round = Self { shared_seq: view.shared_seq()?, ..Self::default() };
        loop {
            let page = view.pending_after(round.last.unwrap_or(after), PAGE)?;
            if page.is_empty() {
                return Ok(round);
            }
            for record in page {
                round.last = Some(record.slot);
                round.take(model, &view, own, record, dice)?;
                if round.plain.len() + round.audits.len() >= MAX_EMBEDDED
                    || round.tokens >= MAX_ROUND_TOKENS
                    || round.believed.len() >= MAX_BELIEVED
                {
                    return Ok(round);
                }
            }
        }
    }

    fn take(
        &mut self,
        model: &Model,
        view: &View,
        own: AuthorId,
        record: Record,
        dice: &mut Dice,
    ) -> Result<(), StorageError> {
        let bytes = view.claim(record.slot)?;
        let claim = bytes.as_deref().and_then(|bytes| Claim::reopen(bytes).ok());
        let claim = claim.filter(|claim| claim.vector().model() == model.id());
        let claim = claim.and_then(|claim| Some((claim.vector().decode().ok()?, claim)));
        let Some((claimed, claim)) = claim else {
            self.tokens += tokens_in(&record.grain);
            self.plain.push(Plain { record, had_claim: bytes.is_some() });
            return Ok(());
        };
        let Record { slot, grain, .. } = record;
        let key = grain.author();
        let author = match self.authors.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Author { standing: view.author_standing(&key)?, ..Author::default() })
            }
        };
        let Standing { agreed, distrusted } = author.standing;
        // A vector of another length cannot be of this model, whoever says so.
        let must_audit = distrusted || claimed.values().len() != model.dimension();
        let is_new = agreed.saturating_add(author.audits) < MIN_AGREED;
        if must_audit || key != own && (is_new || dice.says_audit()) {
            author.audits += 1;
            self.tokens += tokens_in(&grain);
            self.audits.push(Audit { slot, grain, claimed });
        } else {
            self.believed.push(Believed { slot, author: key, vector: claim.vector().clone() });
        }
        Ok(())
    }

    /// Compares claims with `vectors`, those computed here by the slots of the audited notes; a note without one stays
    /// as it is. Counts in the metrics of `memory`.
    pub fn judge(&mut self, memory: &Memory, own: AuthorId, vectors: HashMap<Slot, Vector>) -> Verdict {
        let mut verdict = Verdict::default();
        for Audit { slot, grain, claimed } in self.audits.drain(..) {
            let Some(vector) = vectors.get(&slot) else { continue };
            let author = self.authors.entry(grain.author()).or_default();
            let is_right = vector.cosine(&claimed).is_ok_and(|cosine| cosine >= MIN_COSINE);
            let outcome = match (author.standing.distrusted, is_right) {
                (true, _) => "distrusted",
                (false, true) => "confirmed",
                (false, false) => "false",
            };
            memory.metrics.claims(outcome, 1);
            verdict.changes.push(Change::AddVector { slot, vector: vector.encode(VECTOR_ENCODING) });
            if !is_right {
                verdict.changes.push(Change::DropClaim { slot });
            }
            match outcome {
                "confirmed" => {
                    author.standing.agreed = author.standing.agreed.saturating_add(1);
                    author.is_changed = true;
                }
                "false" => {
                    tracing::warn!(author = %grain.author(), grain = %grain.id(), "a false claim; this author is believed no more");
                    author.standing.distrusted = true;
                    author.is_changed = true;
                    verdict.liars.insert(grain.author());
                }
                _ => {}
            }
        }
        self.believe(memory, own, &mut verdict);
        for (&author, known) in self.authors.iter().filter(|(_, known)| known.is_changed) {
            verdict.changes.push(Change::SetStanding { author, standing: known.standing });
        }
        verdict
    }

    /// Takes over what is claimed by authors that are believed still, now that the comparisons of this round are known.
    fn believe(&mut self, memory: &Memory, own: AuthorId, verdict: &mut Verdict) {
        let mut count = 0;
        for Believed { slot, author, vector } in self.believed.drain(..) {
            let standing = self.authors.get(&author).map(|known| known.standing).unwrap_or_default();
            if !standing.distrusted && (standing.agreed >= MIN_AGREED || author == own) {
                count += 1;
                verdict.changes.push(Change::AddVector { slot, vector });
            } else if verdict.again_from.is_none_or(|first| slot < first) {
                verdict.again_from = Some(slot);
            }
        }
        memory.metrics.claims("believed", count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, assert_page_says, author, claimed, peer};

    /// Dice of which none of the first two hundred throws says to audit.
    fn lucky() -> Dice {
        let is_lucky = |seed: &[u8; 32]| {
            !(0..200).any({
                let mut dice = Dice::from_seed(seed);
                move |_| dice.says_audit()
            })
        };
        let seeds = (0..=u16::MAX).map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes());
        Dice::from_seed(&seeds.into_iter().find(is_lucky).expect("one in sixty seeds is lucky"))
    }

    impl Fixture {
        async fn receive_claims(&self, by: u8, count: usize) {
            for n in 0..count {
                let note =
                    claimed(&author(by), &format!("note {n} by {by}, {}", rand_word()), &self.vector(n));
                self.ingest.receive(note, peer(by)).await.unwrap();
            }
        }

        fn round(&self, after: Slot) -> Round {
            let model = self.memory.current().model.clone();
            Round::read(&self.memory, &model, author(0).author(), after, &mut lucky()).unwrap()
        }

        fn judge(&self, round: &mut Round, vectors: HashMap<Slot, Vector>) -> Verdict {
            round.judge(&self.memory, author(0).author(), vectors)
        }

        /// What an honest author claims: the vectors of `receive_claims`.
        fn truth(&self, round: &Round) -> HashMap<Slot, Vector> {
            round.audits.iter().map(|audit| (audit.slot, audit.claimed.clone())).collect()
        }
    }

    /// Texts of one test do not repeat.
    fn rand_word() -> u64 {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    #[tokio::test]
    async fn the_first_eight_of_an_author_are_compared_and_the_others_believed() {
        let node = Fixture::new();
        node.receive_claims(1, 20).await;
        let mut round = node.round(0);
        assert_eq!((round.plain.len(), round.audits.len(), round.believed.len()), (0, 8, 12));
        let truth = node.truth(&round);
        let verdict = node.judge(&mut round, truth);
        assert!(verdict.liars.is_empty() && verdict.again_from.is_none());
        node.ingest.apply(verdict.changes).await.unwrap();
        let view = node.view();
        let standing = view.author_standing(&author(1).author()).unwrap();
        assert_eq!(standing, Standing { agreed: 8, distrusted: false });
        assert_eq!(view.vector_count(node.model()).unwrap(), 20);
        assert_eq!(view.counts().unwrap().pending, 0);

        node.receive_claims(1, 20).await;
        let round = node.round(0);
        assert_eq!((round.audits.len(), round.believed.len()), (0, 20));
    }

    #[tokio::test]
    async fn a_false_claim_is_dropped_and_its_author_believed_no_more() {
        let node = Fixture::new();
        node.receive_claims(1, 20).await;
        node.receive_claims(2, 9).await;
        let mut round = node.round(0);
        let mut vectors = node.truth(&round);
        vectors.insert(5, node.vector(300));
        let verdict = node.judge(&mut round, vectors);
        assert_eq!(verdict.liars, HashSet::from([author(1).author()]));
        assert_eq!(verdict.again_from, Some(9), "the first of those that were not compared");
        node.ingest.apply(verdict.changes).await.unwrap();

        let view = node.view();
        assert!(view.author_standing(&author(1).author()).unwrap().distrusted);
        assert!(!view.author_standing(&author(2).author()).unwrap().distrusted);
        assert!(view.claim(5).unwrap().is_none() && view.claim(4).unwrap().is_some());
        let kept = view.vector(5, node.model()).unwrap().unwrap().decode().unwrap();
        assert!(kept.cosine(&node.vector(300)).unwrap() > 0.999, "the vector computed here is kept");

        // What lies after slot 8 is all that is left, and none of it is believed.
        let mut round = node.round(8);
        assert_eq!((round.audits.len(), round.believed.len()), (12, 0));
        let truth = node.truth(&round);
        let verdict = node.judge(&mut round, truth);
        assert!(verdict.liars.is_empty(), "nobody is reported twice");
        node.ingest.apply(verdict.changes).await.unwrap();
        assert!(node.view().author_standing(&author(1).author()).unwrap().distrusted);
        assert_eq!(node.view().counts().unwrap().pending, 0);
    }

    #[tokio::test]
    async fn a_claim_that_could_not_be_compared_proves_nothing() {
        let node = Fixture::new();
        node.receive_claims(1, 20).await;
        let mut round = node.round(0);
        let verdict = node.judge(&mut round, HashMap::new());
        assert_eq!(verdict.again_from, Some(9));
        assert!(verdict.changes.is_empty());
    }

    #[tokio::test]
    async fn a_vector_of_another_length_is_a_false_claim_whoever_makes_it() {
        let node = Fixture::new();
        node.receive_claims(1, 8).await;
        let mut round = node.round(0);
        let truth = node.truth(&round);
        let verdict = node.judge(&mut round, truth);
        node.ingest.apply(verdict.changes).await.unwrap();

        let short = Vector::new(node.model(), vec![1.0, 2.0]).unwrap();
        node.ingest.receive(claimed(&author(1), "a text", &short), peer(1)).await.unwrap();
        let mut round = node.round(0);
        assert_eq!((round.audits.len(), round.believed.len()), (1, 0));
        let verdict = node.judge(&mut round, HashMap::from([(9, node.vector(1))]));
        assert!(verdict.liars.contains(&author(1).author()));
    }

    #[tokio::test]
    async fn a_round_takes_no_more_to_embed_than_it_may() {
        let node = Fixture::new();
        let puts = (0..MAX_EMBEDDED + 5).map(|n| {
            let grain = crate::testing::note(&author(3), &format!("plain {n}"));
            Change::Put {
                grain,
                shared: true,
                received_ms: 1,
                claim: None,
                origin: synapsenet_storage::Origin::Known,
            }
        });
        node.ingest.apply(puts.collect()).await.unwrap();
        let round = node.round(0);
        assert_eq!((round.plain.len(), round.last), (MAX_EMBEDDED, Some(MAX_EMBEDDED as Slot)));
        assert_eq!(node.round(MAX_EMBEDDED as Slot).plain.len(), 5);
    }

    #[test]
    fn the_page_for_implementers_says_how_claims_are_believed() {
        assert_page_says(
            "claims",
            &[
                ("claims of an author that are compared first", MIN_AGREED.to_string()),
                ("later claims that are compared, of 65536", AUDITED_SHARE.to_string()),
                ("least cosine of a true claim", MIN_COSINE.to_string()),
            ],
        );
    }

    #[test]
    fn dice_say_audit_about_twice_in_a_hundred() {
        let mut dice = Dice::new();
        let audits = (0..100_000).filter(|_| dice.says_audit()).count();
        assert!((1700..2300).contains(&audits), "{audits} of 100,000");
        let (mut one, mut two) = (dice.fork(), dice.fork());
        let draw = |dice: &mut Dice| (0..1000).map(|_| dice.says_audit()).collect::<Vec<_>>();
        assert_ne!(draw(&mut one), draw(&mut two));
    }
}
