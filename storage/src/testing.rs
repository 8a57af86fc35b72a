//! What the tests of this crate share: quick ways to a grain, a vector and a store.

use std::ops::ControlFlow;

use redb::backends::InMemoryBackend;
use synapsenet_proto::{Draft, EncodedVector, Encoding, Grain, Identity, SpaceId, Vector};

use crate::{Change, LANE_OWN, Origin, Outcome, Slot, Store, StoreOptions, View};

pub(crate) const MODEL: SpaceId = SpaceId::from_bytes([1; 32]);
pub(crate) const OTHER_MODEL: SpaceId = SpaceId::from_bytes([2; 32]);

pub(crate) fn author(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

pub(crate) fn draft(text: &str) -> Draft {
    Draft { text: text.to_owned(), ..Draft::default() }
}

/// A note by author 1.
pub(crate) fn note(text: &str, created_ms: u64) -> Grain {
    Grain::seal(draft(text), &author(1), created_ms).unwrap()
}

/// The withdrawal of a grain by author `n`.
pub(crate) fn retraction(of: &Grain, n: u8, created_ms: u64) -> Grain {
    Grain::retract(of.id(), of.topic().clone(), &author(n), created_ms).unwrap()
}

pub(crate) fn vector(model: SpaceId, n: u8) -> EncodedVector {
    Vector::new(model, vec![1.0, f32::from(n), 3.0]).unwrap().encode(Encoding::F16)
}

pub(crate) fn store() -> Store {
    Store::with_backend(InMemoryBackend::new(), &StoreOptions::default()).unwrap()
}

pub(crate) fn write_one(store: &Store, change: Change) -> Outcome {
    let outcomes = store.write(vec![change]).unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

pub(crate) fn put_change(grain: &Grain, shared: bool) -> Change {
    Change::Put {
        grain: grain.clone(),
        shared,
        received_ms: 77,
        claim: None,
        origin: Origin::Here,
        lane: LANE_OWN,
    }
}

pub(crate) fn put(store: &Store, grain: &Grain) -> Outcome {
    write_one(store, put_change(grain, false))
}

/// Stores a grain that is new, and says where.
pub(crate) fn add(store: &Store, grain: &Grain) -> Slot {
    match put(store, grain) {
        Outcome::Added { slot } => slot,
        other => panic!("expected the grain to be new, not {other:?}"),
    }
}

/// Stores a new note and makes it searchable.
pub(crate) fn add_searchable(store: &Store, grain: &Grain) -> Slot {
    let slot = add(store, grain);
    assert_eq!(write_one(store, Change::AddVector { slot, vector: vector(MODEL, 1) }), Outcome::Changed);
    slot
}

/// The newest notes that are not pending, at most `limit`.
pub(crate) fn newest_first(view: &View, limit: usize) -> Vec<Slot> {
    let mut slots = Vec::new();
    view.notes_newest_first(&mut |slot| {
        slots.push(slot);
        if slots.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    slots
}

pub(crate) fn problems(view: &View) -> Vec<String> {
    view.verify(&mut |_, _| ()).unwrap().iter().map(ToString::to_string).collect()
}

/// The notes that wait, by their lanes.
pub(crate) fn pending(view: &View) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut lane = Some(LANE_OWN);
    while let Some(this) = lane {
        let records = view.pending_in(this, 0, usize::MAX, &|_| false).unwrap();
        assert_eq!(records.len() as u64, view.pending_count(this).unwrap());
        slots.extend(records.iter().map(|record| record.slot));
        lane = view.lane_after(this).unwrap();
    }
    slots
}

/// Holds every table against every other.
pub(crate) fn assert_whole(store: &Store) {
    assert_eq!(problems(&store.view().unwrap()), Vec::<String>::new());
}

/// Numbers that look random and are the same in every run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
