use synapsenet_proto::{Draft, Link, Source, Topic};

use super::*;
use crate::testing::*;
use crate::{Filter, IndexEventKind, ListQuery, Selection, Store};

fn shared_of(store: &Store, slot: Slot) -> bool {
    store.view().unwrap().record(slot).unwrap().unwrap().shared
}

fn kinds(store: &Store, after: u64) -> Option<Vec<(u64, Slot, IndexEventKind)>> {
    let events = store.view().unwrap().index_log(after).unwrap()?;
    Some(events.iter().map(|event| (event.seq, event.slot, event.kind)).collect())
}

fn slots_of(store: &Store, filter: Filter) -> Vec<Slot> {
    let page = store.view().unwrap().list(&ListQuery { filter, limit: 100, ..ListQuery::default() }).unwrap();
    page.records.iter().map(|record| record.slot).collect()
}

#[test]
fn the_same_grain_is_stored_once() {
    let store = store();
    let grain = note("bread rises faster in a warm oven", 1);
    let slot = add(&store, &grain);
    assert_eq!(put(&store, &grain), Outcome::Duplicate { id: grain.id(), shared: false });
    let twice = store
        .write(vec![put_change(&note("twice", 1), false), put_change(&note("twice", 1), false)])
        .unwrap();
    assert!(matches!(twice[..], [Outcome::Added { .. }, Outcome::Duplicate { .. }]));
    assert_eq!(store.view().unwrap().counts().unwrap().notes, 2);
    assert_eq!(slot, 1);
    assert_whole(&store);
}

#[test]
fn the_same_words_at_another_time_are_a_duplicate_of_the_first() {
    let store = store();
    let (first, second) = (note("same words", 1), note("same words", 2));
    let slot = add(&store, &first);
    assert_eq!(put(&store, &second), Outcome::Duplicate { id: first.id(), shared: false });
    assert_eq!(store.view().unwrap().find_fingerprint(&second.body().fingerprint()).unwrap(), Some(slot));
    assert_eq!(store.view().unwrap().slot_of(&second.id()).unwrap(), None);
}

#[test]
fn the_same_words_by_another_author_are_another_note() {
    let store = store();
    add(&store, &note("same words", 1));
    add(&store, &Grain::seal(draft("same words"), &author(2), 1).unwrap());
    assert_whole(&store);
}

#[test]
fn a_duplicate_that_is_shared_makes_the_stored_one_shared_and_never_private_again() {
    let store = store();
    let (first, same_words) = (note("one", 1), note("one", 2));
    let slot = add(&store, &first);
    let shared = Outcome::Duplicate { id: first.id(), shared: true };
    assert_eq!(write_one(&store, put_change(&same_words, true)), shared);
    assert!(shared_of(&store, slot));
    assert_eq!(write_one(&store, put_change(&first, false)), shared);
    assert!(shared_of(&store, slot));
    assert_whole(&store);
}

#[test]
fn sharing_changes_a_private_grain_once() {
    let store = store();
    let grain = note("one", 1);
    assert_eq!(write_one(&store, Change::Share { id: grain.id() }), Outcome::Unchanged);
    let slot = add(&store, &grain);
    assert_eq!(write_one(&store, Change::Share { id: grain.id() }), Outcome::Changed);
    assert_eq!(write_one(&store, Change::Share { id: grain.id() }), Outcome::Unchanged);
    assert!(shared_of(&store, slot));
    assert_whole(&store);
}

#[test]
fn a_retraction_takes_everything_of_its_target_and_leaves_a_tombstone() {
    let store = store();
    let target = note("linked to", 1);
    let full = Draft {
        text: "everything at once".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        lang: "en-GB".to_owned(),
        source: Some(Source { uri: "file:///a".to_owned(), ordinal: 3 }),
        links: ["cites", "extends"].map(|r| Link { target: target.id(), relation: r.to_owned() }).to_vec(),
        topic: Topic::new("things").unwrap(),
        ..Draft::default()
    };
    let grain = Grain::seal(full, &author(1), 5).unwrap();
    let slot = add_searchable(&store, &grain);
    assert_eq!(
        write_one(&store, Change::AddVector { slot, vector: vector(OTHER_MODEL, 2) }),
        Outcome::Changed
    );
    assert_eq!(store.view().unwrap().links_to(&target.id()).unwrap(), 1);
    let withdrawal = retraction(&grain, 1, 9);
    let retraction_slot = add(&store, &withdrawal);

    assert_whole(&store);
    let view = store.view().unwrap();
    assert_eq!(view.record(slot).unwrap(), None);
    assert_eq!(view.slot_of(&grain.id()).unwrap(), None);
    assert_eq!(view.topics().unwrap(), vec![]);
    assert_eq!(view.vector(slot, MODEL).unwrap(), None);
    assert_eq!((view.vector_count(MODEL).unwrap(), view.vector_count(OTHER_MODEL).unwrap()), (0, 0));
    assert_eq!(view.links_to(&target.id()).unwrap(), 0);
    assert_eq!(view.chunks_of(author(1).author(), "file:///a").unwrap(), vec![]);
    assert_eq!(view.find_fingerprint(&grain.body().fingerprint()).unwrap(), None);
    let counts = view.counts().unwrap();
    assert_eq!((counts.notes, counts.retractions, counts.pending, counts.vectors), (0, 1, 0, 0));
    assert!(!view.record(retraction_slot).unwrap().unwrap().searchable);
    assert_eq!(kinds(&store, 2), Some(vec![(3, slot, IndexEventKind::Removed)]));

    assert_eq!(put(&store, &grain), Outcome::Retracted);
    assert_eq!(write_one(&store, put_change(&grain, true)), Outcome::Retracted);
    // The author may change their mind: the same words, said again, are another grain.
    let again = Grain::seal(grain.body().draft.clone(), &author(1), 10).unwrap();
    assert!(add(&store, &again) > retraction_slot);
    assert_whole(&store);
}

#[test]
fn a_retraction_that_arrives_first_wins_too() {
    let store = store();
    let grain = note("never here", 1);
    add(&store, &retraction(&grain, 1, 2));
    assert_eq!(put(&store, &grain), Outcome::Retracted);
    assert_eq!(store.view().unwrap().counts().unwrap().notes, 0);
    let both = store
        .write(vec![put_change(&retraction(&note("x", 1), 1, 2), false), put_change(&note("x", 1), false)]);
    assert!(matches!(both.unwrap()[..], [Outcome::Added { .. }, Outcome::Retracted]));
    assert_whole(&store);
}

#[test]
fn a_retraction_by_another_author_is_kept_and_powerless() {
    for retraction_first in [false, true] {
        let store = store();
        let grain = note("mine", 1);
        let withdrawal = retraction(&grain, 2, 2);
        let order = if retraction_first { [&withdrawal, &grain] } else { [&grain, &withdrawal] };
        for grain in order {
            add(&store, grain);
        }
        let counts = store.view().unwrap().counts().unwrap();
        assert_eq!((counts.notes, counts.retractions), (1, 1));
        assert_whole(&store);
    }
}

#[test]
fn a_retraction_does_not_withdraw_a_retraction() {
    let store = store();
    let grain = note("gone", 1);
    let first = retraction(&grain, 1, 2);
    add(&store, &grain);
    add(&store, &first);
    add(&store, &retraction(&first, 1, 3));
    assert_eq!(put(&store, &grain), Outcome::Retracted);
    assert_eq!(put(&store, &first), Outcome::Duplicate { id: first.id(), shared: false });
    assert_eq!(store.view().unwrap().counts().unwrap().retractions, 2);
    assert_whole(&store);
}

/// Whoever withdraws one grain ten thousand times fills nobody's disk, and two nodes that met the withdrawals in another
/// order keep the same one.
#[test]
fn of_several_withdrawals_of_a_grain_the_one_with_the_lowest_id_is_kept() {
    let grain = note("gone", 1);
    let all: Vec<Grain> = (2..8).map(|ms| retraction(&grain, 1, ms)).collect();
    let lowest = all.iter().map(Grain::id).min().unwrap();
    for turned in 0..all.len() {
        let store = store();
        add(&store, &grain);
        for retraction in all.iter().cycle().skip(turned).take(all.len()) {
            put(&store, retraction);
        }
        let by_another = retraction(&grain, 2, 9);
        add(&store, &by_another);
        let view = store.view().unwrap();
        assert_eq!(view.counts().unwrap().retractions, 2, "one for each author");
        assert!(view.slot_of(&lowest).unwrap().is_some());
        assert_eq!(put(&store, &grain), Outcome::Retracted);
        assert_whole(&store);
    }
}

#[test]
fn the_indexes_hear_of_a_note_that_goes_before_it_had_a_vector() {
    let store = store();
    let grain = note("pending", 1);
    let slot = add(&store, &grain);
    add(&store, &retraction(&grain, 1, 2));
    assert_eq!(kinds(&store, 0), Some(vec![(1, slot, IndexEventKind::Removed)]));
}

#[test]
fn a_vector_makes_a_note_searchable() {
    let store = store();
    let slot = add(&store, &note("one", 1));
    assert_eq!(pending(&store.view().unwrap()), [slot]);
    let filter = Filter { author: Some(author(1).author()), ..Filter::default() };
    assert_eq!(store.view().unwrap().select(&filter, 10).unwrap(), Selection::Few(vec![]));
    assert_eq!(store.view().unwrap().select_stored(&filter, 10).unwrap(), Selection::Few(vec![slot]));
    assert_eq!(write_one(&store, Change::AddVector { slot, vector: vector(MODEL, 1) }), Outcome::Changed);
    let view = store.view().unwrap();
    assert!(pending(&view).is_empty());
    assert!(view.record(slot).unwrap().unwrap().searchable);
    assert_eq!(view.vector(slot, MODEL).unwrap(), Some(vector(MODEL, 1)));
    assert_eq!(view.vector(slot, OTHER_MODEL).unwrap(), None);
    assert_eq!(view.select(&filter, 10).unwrap(), Selection::Few(vec![slot]));
    assert_eq!(view.select(&filter, 0).unwrap(), Selection::Many);
    assert_eq!(kinds(&store, 0), Some(vec![(1, slot, IndexEventKind::Added)]));
    assert_whole(&store);
}

#[test]
fn a_vector_for_what_is_gone_or_no_note_is_ignored() {
    let store = store();
    let grain = note("one", 1);
    let slot = add(&store, &grain);
    let retraction_slot = add(&store, &retraction(&grain, 1, 2));
    for slot in [slot, retraction_slot, 99] {
        let change = Change::AddVector { slot, vector: vector(MODEL, 1) };
        assert_eq!(write_one(&store, change), Outcome::Unchanged);
    }
    assert_eq!(store.view().unwrap().counts().unwrap().vectors, 0);
    assert_whole(&store);
}

#[test]
fn a_pruned_index_log_says_so() {
    let store = store();
    for n in 0..5 {
        add_searchable(&store, &note(&format!("note {n}"), n));
    }
    assert_eq!(write_one(&store, Change::PruneIndexLog { up_to: 3 }), Outcome::Changed);
    assert_eq!(write_one(&store, Change::PruneIndexLog { up_to: 2 }), Outcome::Unchanged);
    assert_eq!(kinds(&store, 2), None);
    assert_eq!(kinds(&store, 3).unwrap().len(), 2);
    assert_eq!(kinds(&store, 5), Some(vec![]));
    assert_eq!(kinds(&store, 6), None, "an index that is ahead of the store belongs to another one");
    assert_eq!(write_one(&store, Change::PruneIndexLog { up_to: 1_000 }), Outcome::Changed);
    assert_eq!(store.view().unwrap().last_index_seq().unwrap(), 5);
    assert_whole(&store);
}

#[test]
fn slots_are_never_given_twice() {
    let store = store();
    let grain = note("one", 1);
    assert_eq!(add(&store, &grain), 1);
    assert_eq!(add(&store, &retraction(&grain, 1, 2)), 2);
    assert_eq!(add(&store, &note("two", 1)), 3);
}

#[test]
fn chunks_come_in_the_order_of_the_document() {
    let store = store();
    let chunk = |text: &str, ordinal, who| {
        let source = Some(Source { uri: "file:///book".to_owned(), ordinal });
        Grain::seal(Draft { source, ..draft(text) }, &author(who), 9).unwrap()
    };
    let slots = [add(&store, &chunk("later", 1, 1)), add(&store, &chunk("sooner", 0, 1))];
    add(&store, &chunk("another author's", 0, 2));
    let chunks = store.view().unwrap().chunks_of(author(1).author(), "file:///book").unwrap();
    assert_eq!(chunks.iter().map(|record| record.slot).collect::<Vec<_>>(), [slots[1], slots[0]]);
    assert!(store.view().unwrap().chunks_of(author(1).author(), "file:///boo").unwrap().is_empty());
}

#[test]
fn a_language_filter_covers_regions_in_any_case_of_letters() {
    let store = store();
    let slots = ["en", "en-GB", "EN-us", "eng", "de", ""].map(|lang| {
        let lang = lang.to_owned();
        add_searchable(
            &store,
            &Grain::seal(Draft { lang: lang.clone(), ..draft(&format!("in {lang}.")) }, &author(1), 1)
                .unwrap(),
        )
    });
    let lang = |lang: &str| Filter { lang: Some(lang.to_owned()), ..Filter::default() };
    let select = |wanted: &str| match store.view().unwrap().select(&lang(wanted), 10).unwrap() {
        Selection::Few(slots) => slots,
        other => panic!("{other:?}"),
    };
    assert_eq!(select("En"), slots[..3]);
    assert_eq!(select("en-gb"), [slots[1]]);
    assert_eq!(select(""), [slots[5]]);
    assert_eq!(slots_of(&store, lang("eN")), [slots[2], slots[1], slots[0]]);
}
