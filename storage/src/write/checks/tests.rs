use synapsenet_proto::{Claim, Encoding, Grain, Vector};

use crate::testing::*;
use crate::{Change, IndexEventKind, LANE_AGAIN, LANE_OWN, Outcome, Slot, Standing, Store};

fn by(n: u8, text: &str, created_ms: u64) -> Grain {
    Grain::seal(draft(text), &author(n), created_ms).unwrap()
}

fn add_claimed(store: &Store, n: u8, slot: Slot) -> Outcome {
    write_one(store, Change::AddClaimed { slot, author: author(n).author(), vector: vector(MODEL, 1) })
}

/// A store with notes of authors 1 and 2 in turn, all with claimed vectors.
fn claimed(count: u64) -> Store {
    let store = store();
    for n in 1..=count {
        let by_whom = 1 + (n % 2) as u8;
        let slot = add(&store, &by(by_whom, &format!("note {n}"), n));
        assert_eq!((slot, add_claimed(&store, by_whom, slot)), (n, Outcome::Changed));
    }
    store
}

#[test]
fn a_claimed_vector_is_unchecked_until_it_is_found_right() {
    let store = claimed(2);
    let view = store.view().unwrap();
    assert_eq!(view.unchecked(MODEL).unwrap(), [1, 2]);
    assert!(view.is_unchecked(1, MODEL).unwrap() && !view.is_unchecked(1, OTHER_MODEL).unwrap());
    let checked = Change::Checked { slot: 1, author: author(2).author() };
    assert_eq!(write_one(&store, checked.clone()), Outcome::Changed);
    assert_eq!(write_one(&store, checked), Outcome::Unchanged);
    let view = store.view().unwrap();
    assert_eq!(view.unchecked(MODEL).unwrap(), [2]);
    let standing = view.author_standing(&author(2).author()).unwrap();
    assert_eq!(standing, Standing { agreed: 1, distrusted: false });
    assert_whole(&store);
}

#[test]
fn an_author_that_was_caught_loses_what_is_unchecked_and_is_believed_no_more() {
    let store = claimed(20);
    let liar = author(2).author();
    write_one(&store, Change::Checked { slot: 1, author: liar });
    let seq = store.view().unwrap().last_index_seq().unwrap();
    assert_eq!(write_one(&store, Change::Distrust { author: liar }), Outcome::Changed);
    assert_eq!(write_one(&store, Change::Distrust { author: liar }), Outcome::Unchanged);
    // A round that was under way believed it still.
    let late = add(&store, &by(2, "late", 30));
    assert_eq!(add_claimed(&store, 2, late), Outcome::Unchanged);
    let mut dropped = Vec::new();
    while store.view().unwrap().is_purging().unwrap() {
        dropped.push(write_one(&store, Change::PurgeClaims { limit: 4 }));
        assert_whole(&store);
    }
    assert_eq!(
        dropped,
        [3, 4, 2].map(|count| Outcome::Dropped { count }),
        "in steps, and the first one was right"
    );
    let view = store.view().unwrap();
    assert_eq!(view.unchecked(MODEL).unwrap(), (1..=10).map(|n| 2 * n).collect::<Vec<_>>());
    let again = view.pending_in(LANE_AGAIN, 0, 100, &|_| false).unwrap();
    assert_eq!(again.iter().map(|record| record.slot).collect::<Vec<_>>(), [3, 5, 7, 9, 11, 13, 15, 17, 19]);
    let events = view.index_log(seq).unwrap().unwrap();
    assert!(events.len() == 9 && events.iter().all(|event| event.kind == IndexEventKind::Removed));
}

#[test]
fn notes_wait_in_lanes() {
    let store = store();
    for (n, lane) in [(1, 7), (2, LANE_OWN), (3, 9), (4, 7)] {
        let mut change = put_change(&note(&format!("note {n}"), n), true);
        if let Change::Put { lane: of, .. } = &mut change {
            *of = lane;
        }
        write_one(&store, change);
    }
    let view = store.view().unwrap();
    assert_eq!(pending(&view), [2, 1, 4, 3]);
    assert_eq!((view.lane_after(LANE_OWN).unwrap(), view.lane_after(7).unwrap()), (Some(7), Some(9)));
    assert_eq!(view.lane_after(9).unwrap(), None);
    assert_eq!(view.first_pending(None, &|slot| slot == 1).unwrap(), Some(2));
    assert_eq!(view.first_pending(Some(7), &|slot| slot == 1).unwrap(), Some(4));
    assert_whole(&store);
}

#[test]
fn what_has_a_claim_and_a_vector_in_a_store_of_format_2_is_unchecked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grains.redb");
    {
        let store = Store::open(&path, &crate::StoreOptions::default()).unwrap();
        for n in 1..=4 {
            let grain = note(&format!("note {n}"), n);
            let stated = Vector::new(MODEL, vec![1.0, n as f32, 3.0]).unwrap();
            let claim = (n < 3).then(|| Claim::seal(grain.id(), &stated, &author(1)).to_bytes());
            let shared = n != 4;
            let put =
                Change::Put { grain, shared, received_ms: 1, claim, origin: crate::Origin::Known, lane: 5 };
            write_one(&store, put);
            if n == 1 || n == 3 {
                let vector = stated.encode(Encoding::F16);
                write_one(&store, Change::AddVector { slot: n, vector });
            }
        }
    }
    // As the program before this one left it.
    let db = redb::Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let waiting = redb::TableDefinition::<u64, u32>::new("waiting");
        let lanes = redb::TableDefinition::<(u32, u64), ()>::new("lanes");
        txn.delete_table(waiting).unwrap();
        txn.delete_table(lanes).unwrap();
        let mut pending = txn.open_table(redb::TableDefinition::<u64, ()>::new("pending")).unwrap();
        pending.insert(2, ()).unwrap();
        pending.insert(4, ()).unwrap();
        let mut meta = txn.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap();
        meta.insert("format", 2).unwrap();
    }
    txn.commit().unwrap();
    drop(db);
    let store = Store::open(&path, &crate::StoreOptions::default()).unwrap();
    let view = store.view().unwrap();
    assert_eq!(view.unchecked(MODEL).unwrap(), [1]);
    assert_eq!(pending(&view), [4, 2], "what is private is this node's own");
    assert_eq!(view.first_pending(Some(LANE_AGAIN), &|_| false).unwrap(), Some(2));
    assert_whole(&store);
}
