use crate::testing::*;
use crate::{Change, IndexEventKind, Outcome, Slot, Store};

fn log(store: &Store, after: u64) -> Vec<(Slot, IndexEventKind)> {
    let events = store.view().unwrap().index_log(after).unwrap().unwrap();
    events.iter().map(|event| (event.slot, event.kind)).collect()
}

fn pending(store: &Store) -> Vec<Slot> {
    crate::testing::pending(&store.view().unwrap())
}

/// The slots that have a vector of the model.
fn with_vector(store: &Store, model: synapsenet_proto::SpaceId) -> Vec<Slot> {
    let view = store.view().unwrap();
    let has_one = |slot: &Slot| view.vector(*slot, model).unwrap().is_some();
    (0..=view.last_slot().unwrap()).filter(has_one).collect()
}

fn add_other(store: &Store, slot: Slot) {
    let change = Change::AddVector { slot, vector: vector(OTHER_MODEL, 9) };
    assert_eq!(write_one(store, change), Outcome::Changed);
}

fn drop_vectors(store: &Store, limit: usize) -> u64 {
    match write_one(store, Change::DropVectors { model: MODEL, limit }) {
        Outcome::Dropped { count } => count,
        other => panic!("expected a number of dropped vectors, not {other:?}"),
    }
}

/// A store with this many searchable notes, in slots from 1 on.
fn searchable(count: u64) -> Store {
    let store = store();
    for n in 1..=count {
        assert_eq!(add_searchable(&store, &note(&format!("note {n}"), n)), n);
    }
    store
}

#[test]
fn a_vector_is_never_replaced_by_another_of_its_model() {
    let store = searchable(1);
    let again = Change::AddVector { slot: 1, vector: vector(MODEL, 2) };
    assert_eq!(write_one(&store, again), Outcome::Unchanged);
    let view = store.view().unwrap();
    assert_eq!(view.vector(1, MODEL).unwrap(), Some(vector(MODEL, 1)));
    assert_eq!(view.vector_count(MODEL).unwrap(), 1);
    assert_eq!(log(&store, 0), [(1, IndexEventKind::Added)]);
    // Not even within one transaction.
    let twice = [1, 2].map(|n| Change::AddVector { slot: 1, vector: vector(OTHER_MODEL, n) });
    assert_eq!(store.write(twice.to_vec()).unwrap(), [Outcome::Changed, Outcome::Unchanged]);
    assert_eq!(store.view().unwrap().vector(1, OTHER_MODEL).unwrap(), Some(vector(OTHER_MODEL, 1)));
    assert_whole(&store);
}

#[test]
fn the_vectors_of_a_model_go_over_to_another_id_unless_that_has_some() {
    let store = searchable(3);
    let rename = |from, to| write_one(&store, Change::RenameModel { from, to });
    assert_eq!(rename(OTHER_MODEL, MODEL), Outcome::Unchanged, "none to give");
    assert_eq!(rename(MODEL, MODEL), Outcome::Unchanged);
    assert_eq!(rename(MODEL, OTHER_MODEL), Outcome::Changed);
    assert_eq!((with_vector(&store, MODEL), with_vector(&store, OTHER_MODEL)), (vec![], vec![1, 2, 3]));
    assert_eq!(
        store.view().unwrap().vector(2, OTHER_MODEL).unwrap().unwrap().as_bytes(),
        vector(MODEL, 1).as_bytes()
    );
    // The former id is a model like any other, and may come back.
    write_one(&store, Change::AddVector { slot: 1, vector: vector(MODEL, 5) });
    assert_eq!(rename(OTHER_MODEL, MODEL), Outcome::Unchanged, "both have some");
    assert_eq!(drop_vectors(&store, 9), 1);
    assert_eq!(rename(OTHER_MODEL, MODEL), Outcome::Changed);
    assert_eq!((with_vector(&store, MODEL), with_vector(&store, OTHER_MODEL)), (vec![1, 2, 3], vec![]));
    add_other(&store, 2);
    assert_eq!(store.view().unwrap().models().unwrap(), [(MODEL, 3), (OTHER_MODEL, 1)]);
    assert_whole(&store);
}

#[test]
fn dropping_begins_with_the_lowest_slots_and_ends_when_none_are_left() {
    let store = searchable(5);
    for slot in 1..=5 {
        add_other(&store, slot);
    }
    assert_eq!(drop_vectors(&store, 0), 0);
    assert_eq!(drop_vectors(&store, 2), 2);
    assert_eq!(with_vector(&store, MODEL), [3, 4, 5]);
    assert_eq!(store.view().unwrap().vector_count(MODEL).unwrap(), 3);
    assert_whole(&store);
    assert_eq!(drop_vectors(&store, usize::MAX), 3);
    assert_eq!(drop_vectors(&store, usize::MAX), 0);
    assert_eq!(with_vector(&store, OTHER_MODEL), [1, 2, 3, 4, 5]);
    // Every note still has a vector, so nothing waits for one, and no index of the other model hears of it.
    assert!(pending(&store).is_empty());
    assert_eq!(log(&store, 10), []);
    assert_whole(&store);
}

#[test]
fn a_note_that_loses_its_last_vector_waits_for_a_new_one() {
    let store = searchable(3);
    add_other(&store, 2);
    assert_eq!(drop_vectors(&store, 10), 3);
    assert_eq!(pending(&store), [1, 3]);
    assert_eq!(log(&store, 4), [(1, IndexEventKind::Removed), (3, IndexEventKind::Removed)]);
    assert_whole(&store);
    // Here another vector of the same model may come: the first one is gone.
    let change = Change::AddVector { slot: 1, vector: vector(MODEL, 7) };
    assert_eq!(write_one(&store, change), Outcome::Changed);
    assert_eq!(store.view().unwrap().vector(1, MODEL).unwrap(), Some(vector(MODEL, 7)));
    assert_eq!(pending(&store), [3]);
    assert_eq!(log(&store, 6), [(1, IndexEventKind::Added)]);
    assert_whole(&store);
}

#[test]
fn dropping_what_was_never_there_does_nothing() {
    let store = store();
    add(&store, &note("pending", 1));
    assert_eq!(drop_vectors(&store, 10), 0);
    assert_eq!(pending(&store), [1]);
    assert_eq!(log(&store, 0), []);
    assert_whole(&store);
}

/// The number of a model is a part of the keys of its vectors: if it were given again, two models would share them.
#[test]
fn the_number_of_a_model_without_vectors_is_not_given_to_another() {
    let store = searchable(2);
    assert_eq!(drop_vectors(&store, 10), 2);
    add_other(&store, 1);
    assert_eq!(with_vector(&store, MODEL), []);
    let change = Change::AddVector { slot: 2, vector: vector(MODEL, 3) };
    assert_eq!(write_one(&store, change), Outcome::Changed);
    assert_eq!((with_vector(&store, OTHER_MODEL), with_vector(&store, MODEL)), (vec![1], vec![2]));
    assert_whole(&store);
}
