//! What can be changed, and what may become of it.

use synapsenet_proto::{AuthorId, EncodedVector, Grain, GrainId, SpaceId, Topic};

use crate::{Lane, Slot};

/// One thing to do. [`crate::Store::write`] does many at once.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "most changes are puts, and a box would only be one allocation more"
)]
pub enum Change {
    /// Stores a grain. A note becomes pending; a retraction removes the note that it withdraws, if that is stored and
    /// by the same author, and keeps it from ever coming (back) in. Of several retractions by one author of one grain, the
    /// one with the lowest id is kept, so that all stores keep the same one.
    ///
    /// [`Outcome::Added`], [`Outcome::Duplicate`], [`Outcome::Retracted`] or [`Outcome::Forgotten`].
    Put {
        /// What is to be stored.
        grain: Grain,
        /// Whether it may leave the node. When the grain is stored already and private, this makes it shared.
        shared: bool,
        /// When it came in, in milliseconds since 1970-01-01 UTC by this node's clock.
        received_ms: u64,
        /// What its author claims about the vector of a note. Kept when the note is new.
        claim: Option<Vec<u8>>,
        /// Who brings it, and so whose room it takes.
        origin: Origin,
        /// Where a new note waits for its vector: [`crate::LANE_OWN`], or a number above [`crate::LANE_AGAIN`] that is the same
        /// for all that one peer delivers.
        lane: Lane,
    },
    /// Puts a note in the place of another by the same author, at this node: stores the one and its retraction of the other, or
    /// neither. It may leave the node if the other might, and is kept if the other was.
    ///
    /// [`Outcome::Replaced`]; [`Outcome::OtherwiseShared`] of the other, when it is not as `shared` says, or of a private note that says
    /// what would be shared; [`Outcome::Unchanged`] when the other is not here; what a put of the note would come to when that is
    /// not stored, and [`Outcome::Duplicate`] of the other when both say the same.
    Replace {
        /// The note that goes.
        old: GrainId,
        /// The note that comes.
        with: Grain,
        /// The retraction of the one that goes.
        retraction: Grain,
        /// Whether the one that goes may leave the node: what is known of it by who judged what comes.
        shared: bool,
        /// As in [`Change::Put`].
        received_ms: u64,
        /// As in [`Change::Put`].
        lane: Lane,
    },
    /// Keeps a claim about the vector of a note, in place of an earlier one.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when the slot holds no note.
    AddClaim {
        /// Where the note lies.
        slot: Slot,
        /// The encoded claim.
        claim: Vec<u8>,
    },
    /// Forgets the claim about the vector of a note.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when there was none.
    DropClaim {
        /// Where the note lies.
        slot: Slot,
    },
    /// As [`Change::AddVector`], of a vector that the note's author claims and nobody here has compared: it is marked as
    /// unchecked. When a claim of the author was found false, it is not stored, and the claim is forgotten.
    AddClaimed {
        /// Where the note lies.
        slot: Slot,
        /// Who wrote it.
        author: AuthorId,
        /// What is claimed. The caller has made sure that it decodes.
        vector: EncodedVector,
    },
    /// Takes the mark from an unchecked vector that was found right, and counts that for its author.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when there was no mark.
    Checked {
        /// Where the note lies.
        slot: Slot,
        /// Who wrote it.
        author: AuthorId,
    },
    /// Remembers that a claim of this author was found false: none is believed any more, and those that were go with
    /// [`Change::PurgeClaims`].
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when that is known.
    Distrust {
        /// The author.
        author: AuthorId,
    },
    /// Looks at no more than `limit` grains of authors that were caught: drops their claims and their unchecked vectors. A
    /// note that is left without a vector waits again, in [`crate::LANE_AGAIN`]. It goes on where it stopped, until
    /// [`crate::View::is_purging`] says no.
    ///
    /// [`Outcome::Dropped`] with the number of vectors, which may be 0 before the end.
    PurgeClaims {
        /// Grains looked at.
        limit: usize,
    },
    /// Lets a private grain leave the node from now on.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when it is shared already or not stored.
    Share {
        /// The grain that is meant.
        id: GrainId,
    },
    /// Drops what lies at these slots, notes and retractions, from this store alone: nothing is withdrawn. `remember`
    /// keeps their ids out from now on, unless they are put at this node itself; the oldest of the ids that are
    /// remembered give way to new ones.
    ///
    /// [`Outcome::Dropped`].
    Forget {
        /// Where they lie; empty slots are passed over.
        slots: Vec<Slot>,
        /// Whether they are kept out from now on.
        remember: bool,
    },
    /// Forgets strangers' grains until the others are within these bounds: those at `first`, in that order, and then those of the
    /// lowest times. Where the lowest times alone go, nothing need keep them out: whoever makes room so takes nothing that is
    /// older than what is left.
    ///
    /// [`Outcome::Dropped`].
    TrimStrangers {
        /// How many of theirs may stay.
        grains: u64,
        /// How many notes may stay, the owner's included.
        notes: u64,
        /// The bytes that those may be counted for.
        bytes: u64,
        /// The most that are forgotten in this change.
        limit: usize,
        /// Where those lie that go first. What is no stranger's is passed over.
        first: Vec<Slot>,
        /// Whether those that go are kept out from now on.
        remember: bool,
    },
    /// Keeps a note from now on, whoever wrote it, or keeps it no more. While it is pinned it counts as the owner's, and not as a
    /// stranger's; afterwards it counts as whose it is. Its author may withdraw it, and the owner may forget it, all the same.
    ///
    /// [`Outcome::Changed`], [`Outcome::Unchanged`] when that is so already, or when the slot holds no note, or [`Outcome::NoRoom`] when
    /// as many are kept as may be.
    Pin {
        /// Where the note lies.
        slot: Slot,
        /// Whether it is kept.
        pinned: bool,
        /// How many notes may be kept.
        most: u64,
    },
    /// Counts on how many occasions notes were of use on a day. What is no note is passed over.
    ///
    /// [`Outcome::Changed`].
    CountUses {
        /// Days since 1970-01-01 UTC.
        day: u32,
        /// Where each note lies, and how many occasions there were.
        uses: Vec<(Slot, Occasions)>,
    },
    /// Forgets on how many occasions the notes of these slots were of use before a day.
    ///
    /// [`Outcome::Changed`].
    DropUses {
        /// Days since 1970-01-01 UTC.
        before_day: u32,
        /// Which notes: its time grows with what they have.
        slots: std::ops::Range<Slot>,
    },
    /// Says where the document lies now that these notes were taken from, whatever they say themselves: it was moved. A note
    /// whose own word that is forgets that it was moved. What is no note, and notes without a source, are passed over.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when all of it is known.
    MoveSource {
        /// Where the notes lie.
        slots: Vec<Slot>,
        /// The source by which they are found from now on.
        uri: String,
    },
    /// Says what the owner thinks of an author. What is stored of an author that is followed no longer counts as a
    /// stranger's; of one that no longer is followed, it does.
    ///
    /// [`Outcome::Changed`].
    SetAuthorRule {
        /// The author.
        author: AuthorId,
        /// None takes back what was said.
        rule: Option<AuthorRule>,
    },
    /// Says from whom grains of a topic are taken.
    ///
    /// [`Outcome::Changed`].
    SetTopicPolicy {
        /// The topic.
        topic: Topic,
        /// Whom it takes from.
        policy: TopicPolicy,
    },
    /// Stores the vector of a note, takes its pending mark away, and tells the index log. The caller has made sure that
    /// the vector decodes.
    ///
    /// A vector that is stored is never replaced by another: an index relies on it and looks at no slot again that it
    /// has. When the note has a vector of this model already, that one is kept, only the pending mark is taken away, and
    /// the log is told nothing.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when there was a vector of this model, or when the slot holds no
    /// note (it was retracted meanwhile).
    AddVector {
        /// Where the note lies.
        slot: Slot,
        /// What was made of it.
        vector: EncodedVector,
    },
    /// Removes at most `limit` vectors of a model, those of the lowest slots first. Its time grows with `limit`, not
    /// with what is stored, so that a caller may drop them all in steps between which others write. The model's number
    /// in the file stays taken.
    ///
    /// A note that is left without a vector of any model becomes pending, so that it is not lost from every search for
    /// ever, and the index log is told that it went. Of the others the log is told nothing: an index of this model would
    /// keep them, and would not hear of the vectors that they are given later. So no index may follow the model by now,
    /// and an index of it that was saved must not be loaded again.
    ///
    /// [`Outcome::Dropped`].
    DropVectors {
        /// The model whose vectors are not needed any more.
        model: SpaceId,
        /// The most vectors that are removed.
        limit: usize,
    },
    /// Gives the vectors of a model to another id, when the rules by which ids are made changed. Nothing is told to the index
    /// log: an index of the former id that was saved is of no use, and one of the new id is made from all vectors.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when the former id has no vectors or the new one has some.
    RenameModel {
        /// The former id.
        from: SpaceId,
        /// The new one.
        to: SpaceId,
    },
    /// Forgets what the index log said up to and with `up_to`, once a snapshot of the index holds it durably.
    ///
    /// [`Outcome::Changed`], or [`Outcome::Unchanged`] when it was forgotten already.
    PruneIndexLog {
        /// The last sequence number that is not needed any more.
        up_to: u64,
    },
}

/// On how many occasions a note was of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occasions {
    /// To the owner of this node.
    pub by_owner: u32,
    /// To others: peers that were told it, and who has a token of this node.
    pub by_others: u32,
}

impl Occasions {
    /// All of them.
    #[must_use]
    pub fn all(self) -> u32 {
        self.by_owner.saturating_add(self.by_others)
    }

    /// These and others.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            by_owner: self.by_owner.saturating_add(other.by_owner),
            by_others: self.by_others.saturating_add(other.by_others),
        }
    }
}

/// What is known of an author's claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// How many were compared with the vector computed here and found right.
    pub agreed: u32,
    /// Whether one was found false: none is believed any more.
    pub distrusted: bool,
}

/// Who brings a grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody at this node. A note that says the same words as another of this origin or [`Origin::Known`] counts as
    /// that one, and what was forgotten is taken again.
    Here,
    /// A peer, of an author that the owner knows: itself, or one that it follows. What peers bring is stored under each of
    /// its ids, so that the sets of two nodes can become equal.
    Known,
    /// A peer, of anybody else.
    Stranger,
}

/// What the owner thinks of an author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthorRule {
    /// Its grains are kept like the owner's.
    Followed,
    /// Nothing of it is taken.
    Blocked,
}

/// From whom grains of a topic are taken when peers bring them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TopicPolicy {
    /// From anybody, within budgets.
    #[default]
    Open,
    /// From authors that the owner follows.
    Known,
    /// From these authors.
    Listed(Vec<AuthorId>),
}

/// What became of a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The grain is stored.
    Added {
        /// Where.
        slot: Slot,
    },
    /// The same grain, or a note that says the same, was stored already.
    Duplicate {
        /// The grain that is stored.
        id: GrainId,
        /// Whether it may leave the node now.
        shared: bool,
    },
    /// A note stands in the place of another.
    Replaced {
        /// The note that is stored.
        id: GrainId,
        /// Whether it was not before.
        is_new: bool,
        /// Whether it may leave the node.
        shared: bool,
        /// Where it lies.
        slot: Slot,
        /// Where the retraction of the other lies.
        retraction: Slot,
    },
    /// Its author withdrew this grain: it was not stored.
    Retracted,
    /// This grain was forgotten here: it was not stored.
    Forgotten,
    /// There was nothing to do.
    Unchanged,
    /// There are as many as may be: nothing was done.
    NoRoom,
    /// A note may leave the node where that was not said of it, or stays private where the other would have it leave: nothing was done.
    OtherwiseShared {
        /// That note.
        id: GrainId,
    },
    /// It was done.
    Changed,
    /// Vectors or grains were removed.
    Dropped {
        /// How many; 0 when there are none left.
        count: u64,
    },
}
