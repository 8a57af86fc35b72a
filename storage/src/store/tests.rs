use redb::backends::InMemoryBackend;
use redb::{ReadableTable, TableDefinition};
use synapsenet_proto::{Draft, Grain, Source};

use super::*;
use crate::testing::{
    add, add_searchable, assert_whole, author, draft, note, problems, put_change, retraction, store,
    write_one,
};
use crate::{Documents, LANE_OWN, ListQuery, Occasions, Origin, Outcome, Slot};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Result<Store, StorageError> {
    Store::open(path, &StoreOptions::default())
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    let grain = note("the fuse box is behind the coats", 5);
    let slot = add(&open(&path).unwrap(), &grain);
    let store = open(&path).unwrap();
    let record = store.view().unwrap().record(slot).unwrap().unwrap();
    assert_eq!(
        (record.grain, record.shared, record.received_ms, record.searchable),
        (grain, false, 77, false)
    );
    assert!(store.size_bytes() > 0);
    assert_whole(&store);
}

#[cfg(unix)]
#[test]
fn others_may_not_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let path = folder.path().join("grains.redb");
    let _store = open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_is_opened_once_at_a_time() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    let store = open(&path).unwrap();
    assert!(matches!(open(&path), Err(StorageError::AlreadyOpen)));
    drop(store);
    open(&path).unwrap();
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let folder = folder();
    let path = folder.path().join("letter.txt");
    for content in ["Dear Sir,\n".to_owned(), "Dear Sir,\n".repeat(100_000)] {
        std::fs::write(&path, &content).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StorageError::NotADatabase), "{error:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let folder = folder();
    let path = folder.path().join("other.redb");
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap();
    txn.commit().unwrap();
    drop(db);
    assert!(matches!(open(&path), Err(StorageError::NotADatabase)));
}

#[test]
fn a_store_of_an_unknown_version_is_refused_with_the_way_out() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    drop(open(&path).unwrap());
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 99).unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StorageError::UnknownVersion { found: 99, known: 6 }));
    assert!(error.to_string().contains("export"), "{error}");
}

#[test]
fn a_store_of_the_first_format_is_brought_to_this_one() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    let store = open(&path).unwrap();
    add(&store, &note("private", 1));
    let (shared, retracted) = (note("shared", 2), note("withdrawn", 3));
    store.write(vec![put_change(&shared, true), put_change(&retracted, true)]).unwrap();
    store.write(vec![put_change(&retraction(&retracted, 1, 4), true)]).unwrap();
    let items = |store: &Store| store.view().unwrap().shared_items(shared.topic(), 0, None).unwrap();
    let before = items(&store);
    assert_eq!(before.len(), 2);
    drop(store);

    // As the first format was.
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let by_words: TableDefinition<(&[u8; 32], u64), ()> = TableDefinition::new("by_words");
        let fingerprints: TableDefinition<&[u8; 32], u64> = TableDefinition::new("fingerprints");
        let (from, mut to) = (txn.open_table(by_words).unwrap(), txn.open_table(fingerprints).unwrap());
        for entry in from.iter().unwrap() {
            let (words, slot) = entry.as_ref().unwrap().0.value();
            to.insert(words, slot).unwrap();
        }
        drop(from);
        txn.delete_table(by_words).unwrap();
        txn.delete_table(TableDefinition::<(&str, u64, &[u8; 32]), u64>::new("shared")).unwrap();
        txn.delete_table(TableDefinition::<&[u8; 32], u64>::new("authors")).unwrap();
        txn.delete_table(TableDefinition::<u64, &str>::new("moved")).unwrap();
        txn.delete_table(TableDefinition::<(u64, u32), u32>::new("grain_access")).unwrap();
        txn.delete_table(TableDefinition::<u64, bool>::new("pins")).unwrap();
        txn.delete_table(TableDefinition::<(u64, u32), u32>::new("owner_access")).unwrap();
        let mut meta = txn.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap();
        meta.insert("format", 1).unwrap();
        for later in ["shared_seq", "stranger_bytes", "stranger_notes", "forgotten_seq"] {
            meta.remove(later).unwrap();
        }
    }
    txn.commit().unwrap();
    drop(db);

    let store = open(&path).unwrap();
    assert_eq!(items(&store), before);
    assert_eq!(problems(&store.view().unwrap()), Vec::<String>::new());
    drop(store);
    assert_eq!(items(&open(&path).unwrap()), before);
}

#[test]
fn a_store_of_the_fourth_format_has_counted_no_uses() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    let store = open(&path).unwrap();
    let slot = add(&store, &note("of use", 1));
    drop(store);
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.delete_table(TableDefinition::<(u64, u32), u32>::new("grain_access")).unwrap();
    txn.delete_table(TableDefinition::<u64, bool>::new("pins")).unwrap();
    txn.delete_table(TableDefinition::<(u64, u32), u32>::new("owner_access")).unwrap();
    txn.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 4).unwrap();
    txn.commit().unwrap();
    drop(db);
    let store = open(&path).unwrap();
    let uses = |store: &Store| {
        let mut uses = Vec::new();
        store.view().unwrap().for_each_use(0, &mut |slot, count| uses.push((slot, count))).unwrap();
        uses
    };
    assert_eq!(uses(&store), []);
    let two = Occasions { by_owner: 1, by_others: 1 };
    store.write(vec![Change::CountUses { day: 3, uses: vec![(slot, two), (slot + 9, two)] }]).unwrap();
    assert_eq!(uses(&store), [(slot, two)], "an empty slot is of no use");
    assert_eq!(problems(&store.view().unwrap()), Vec::<String>::new());
    drop(store);
    assert_eq!(uses(&open(&path).unwrap()), [(slot, two)]);
}

#[test]
fn what_is_pinned_is_no_strangers_stays_pinned_and_counts_again_afterwards() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    let store = open(&path).unwrap();
    let strangers = |n: u64| {
        let mut change = put_change(&note(&format!("note {n}"), n), true);
        if let Change::Put { origin, .. } = &mut change {
            *origin = Origin::Stranger;
        }
        change
    };
    store.write((1..=4).map(strangers).collect()).unwrap();
    let outcomes = store.write(vec![
        Change::Pin { slot: 1, pinned: true, most: 1 },
        Change::Pin { slot: 1, pinned: true, most: 1 },
        Change::Pin { slot: 9, pinned: true, most: 1 },
    ]);
    assert_eq!(outcomes.unwrap(), [Outcome::Changed, Outcome::Unchanged, Outcome::Unchanged]);
    // Of several in one commit, too, no more are kept than may be.
    let more = store.write(vec![Change::Pin { slot: 2, pinned: true, most: 1 }]);
    assert_eq!(more.unwrap(), [Outcome::NoRoom]);
    let trim = |grains, first| Change::TrimStrangers {
        grains,
        notes: u64::MAX,
        bytes: u64::MAX,
        limit: 9,
        first,
        remember: false,
    };
    // It is the oldest, and it is named.
    store.write(vec![trim(1, vec![1])]).unwrap();
    drop(store);
    let store = open(&path).unwrap();
    let held = |store: &Store| -> Vec<Slot> {
        let view = store.view().unwrap();
        (1..=4).filter(|&slot| view.record(slot).unwrap().is_some()).collect()
    };
    assert_eq!(held(&store), [1, 4]);
    assert!(store.view().unwrap().record(1).unwrap().unwrap().pinned);
    assert_eq!(store.view().unwrap().counts().unwrap().strangers, 1);
    store.write(vec![Change::Pin { slot: 1, pinned: false, most: 1 }, trim(1, vec![])]).unwrap();
    assert_eq!((held(&store), store.view().unwrap().pinned_count().unwrap()), (vec![4], 0));
    assert_eq!(problems(&store.view().unwrap()), Vec::<String>::new());
}

#[test]
fn what_takes_the_place_of_something_pinned_is_pinned() {
    let store = store();
    let (old, stands_already) = (note("at 40 Hz", 1), note("at 50 Hz", 2));
    for grain in [&old, &stands_already] {
        add(&store, grain);
    }
    store.write(vec![Change::Pin { slot: 1, pinned: true, most: 1 }]).unwrap();
    let mut last = old;
    for with in [note("at 45 Hz", 3), note("at 50 Hz", 4)] {
        let (old, retraction) = (last.id(), retraction(&last, 1, 5));
        let change = Change::Replace { old, with, retraction, shared: false, received_ms: 6, lane: LANE_OWN };
        let outcome = write_one(&store, change);
        let Outcome::Replaced { slot, .. } = outcome else { panic!("{outcome:?}") };
        let view = store.view().unwrap();
        last = view.record(slot).unwrap().filter(|record| record.pinned).expect("it is pinned").grain;
        assert_eq!(view.pinned_count().unwrap(), 1, "and what it took the place of is no more");
    }
    assert_eq!(last.id(), stands_already.id());
    assert_eq!(problems(&store.view().unwrap()), Vec::<String>::new());
}

#[test]
fn a_walk_over_documents_ends_where_it_may_look_no_further_and_goes_on_from_there() {
    let store = store();
    let put = |n: u8, uri: &str, ordinal: u32| {
        let source = Some(Source { uri: uri.to_owned(), ordinal });
        let draft = Draft { source, ..draft(&format!("{uri} {ordinal}")) };
        add(&store, &Grain::seal(draft, &author(n), 1).unwrap());
    };
    // Between two documents lie those of another author, and one of them has many notes.
    for ordinal in 0..3 {
        put(1, "a", ordinal);
        put(1, "z", ordinal);
    }
    for n in 0..20 {
        put(2, &format!("m{n:02}"), 0);
        put(2, "x", n);
    }
    let view = store.view().unwrap();
    let walk = |after: Option<&str>, bounds| {
        let Documents { found, next_after } =
            view.documents_of(author(1).author(), "", after, bounds, &|_| Ok(true)).unwrap();
        (found.into_iter().map(|document| (document.uri, document.grains)).collect::<Vec<_>>(), next_after)
    };
    let (a, z) = (("a".to_owned(), 3), ("z".to_owned(), 3));
    assert_eq!(walk(None, (9, 99)), (vec![a.clone(), z.clone()], None));
    assert_eq!(walk(None, (2, 99)), (vec![a.clone(), z.clone()], None));
    assert_eq!(walk(None, (1, 99)), (vec![a.clone()], Some("a".into())));
    assert_eq!(walk(Some("a"), (1, 99)), (vec![z.clone()], None));
    // A document is counted whole, and each walk comes further.
    let (mut found, mut after, mut walks) = (Vec::new(), None::<String>, 0);
    loop {
        let (some, next) = walk(after.as_deref(), (9, 2));
        found.extend(some);
        walks += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, walks), (vec![a, z], 13));
    let last = view.documents_of(author(1).author(), "a", Some("a"), (9, 99), &|_| Ok(true)).unwrap();
    assert_eq!(last, Documents { found: vec![], next_after: None });
}

#[test]
fn a_truncated_file_is_an_error() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    let store = open(&path).unwrap();
    for n in 0..50 {
        add(&store, &note(&format!("note number {n}"), n));
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    for keep in [1, 100, 4096, whole.len() / 2] {
        std::fs::write(&path, &whole[..keep]).unwrap();
        assert!(open(&path).is_err(), "{keep} of {} bytes were opened", whole.len());
    }
}

#[test]
fn what_an_interrupted_first_start_left_is_replaced() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    drop(open(&path).unwrap());
    let whole = std::fs::read(&path).unwrap();
    for left in [&whole[..0], &[0; 5000], &whole[..1], &whole[..5000], &whole] {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(folder.path().join("grains.redb.new"), left).unwrap();
        let store = open(&path).unwrap();
        add(&store, &note("first", 1));
        assert!(!folder.path().join("grains.redb.new").exists());
    }
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = folder();
    let path = folder.path().join("grains.redb");
    std::fs::write(&path, "").unwrap();
    assert_whole(&open(&path).unwrap());
}

#[test]
fn a_folder_that_is_missing_is_an_error_of_the_disk() {
    let folder = folder();
    assert!(matches!(open(&folder.path().join("not/there.redb")), Err(StorageError::Io(_))));
}

#[test]
fn a_view_does_not_see_what_comes_later() {
    let store = store();
    add(&store, &note("early", 1));
    let view = store.view().unwrap();
    add(&store, &note("late", 2));
    assert_eq!(view.counts().unwrap().notes, 1);
    assert_eq!(store.view().unwrap().counts().unwrap().notes, 2);
}

#[test]
fn compacting_keeps_everything_and_gives_space_back() {
    let folder = folder();
    let store = open(&folder.path().join("grains.redb")).unwrap();
    let noise = |n: u64| blake3::hash(&n.to_le_bytes()).to_hex().repeat(100);
    let grains: Vec<_> = (0..300).map(|n| note(&noise(n), n)).collect();
    let changes =
        |of: &[synapsenet_proto::Grain]| of.iter().map(|g| crate::testing::put_change(g, false)).collect();
    store.write(changes(&grains)).unwrap();
    let gone: Vec<_> = grains[..200].iter().map(|grain| retraction(grain, 1, 1_000)).collect();
    store.write(changes(&gone)).unwrap();
    let (before, after) = store.compact().unwrap();
    assert!(after < before / 2, "{before} bytes became {after}");
    assert_eq!(store.size_bytes(), after);
    assert_eq!(store.view().unwrap().counts().unwrap().notes, 100);
    assert_whole(&store);
    add(&store, &note("and it goes on", 9));
}

#[test]
fn compacting_waits_for_views_and_then_gives_up() {
    let gate = Arc::new(Gate::default());
    let pass = gate.enter();
    assert!(matches!(gate.close(Duration::ZERO), Err(StorageError::Busy)));
    // A refusal leaves the gate open.
    drop(gate.enter());
    drop(pass);
    let closed = gate.close(Duration::ZERO).unwrap();
    assert!(matches!(gate.close(Duration::ZERO), Err(StorageError::Busy)));
    drop(closed);
    drop(gate.enter());
}

/// Whoever reads the metrics used to wait for the end of it.
#[test]
fn who_only_measures_does_not_wait_for_who_has_the_file_for_itself() {
    let store = store();
    assert_eq!(
        store.view_at_once().unwrap().unwrap().counts().unwrap(),
        store.view().unwrap().counts().unwrap()
    );
    let closed = store.inner.gate.close(Duration::ZERO).unwrap();
    assert!(store.view_at_once().unwrap().is_none(), "it is being compacted");
    drop(closed);
    let opening = store.inner.db.write().unwrap();
    assert!(store.view_at_once().unwrap().is_none(), "it is being opened again");
    drop(opening);
    assert!(store.view_at_once().unwrap().is_some());
    store.inner.gate.close(Duration::ZERO).expect("no view is counted that was not given");
}

#[test]
fn compacting_goes_on_when_the_last_view_is_dropped() {
    let store = store();
    add(&store, &note("here", 1));
    let view = store.view().unwrap();
    std::thread::scope(|scope| {
        let compacting = scope.spawn(|| store.compact());
        while !store.inner.gate.lock().closed {
            std::thread::yield_now();
        }
        drop(view);
        compacting.join().unwrap().unwrap();
    });
    assert_whole(&store);
}

#[test]
fn many_threads_read_and_write_at_once() {
    let store = store();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..20 {
                    let slot = add(&store, &note(&format!("thread {thread} says {n}"), n));
                    assert!(store.view().unwrap().record(slot).unwrap().is_some());
                }
            });
        }
    });
    assert_eq!(
        store.view().unwrap().list(&ListQuery { limit: 100, ..ListQuery::default() }).unwrap().records.len(),
        80
    );
    assert_whole(&store);
}

#[test]
fn a_list_without_changes_is_allowed() {
    assert_eq!(store().write(Vec::new()).unwrap(), Vec::<Outcome>::new());
}

#[test]
fn a_damaged_record_is_an_error_of_its_own_and_verify_names_it() {
    let store = Store::with_backend(InMemoryBackend::new(), &StoreOptions::default()).unwrap();
    let slot = add_searchable(&store, &note("soon to be damaged", 1));
    let other = add_searchable(&store, &note("unharmed", 2));
    let mut random = crate::testing::Random(7);
    for round in 0..300 {
        let length = random.below(120) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        // Some pass for a header, so that the packed grain is looked at, too.
        if round % 2 == 0 && length > 19 {
            (bytes[0], bytes[1], bytes[18]) = ((random.below(4)) as u8, random.below(3) as u8, 0);
        }
        let db = store.database();
        let txn = db.as_ref().unwrap().begin_write().unwrap();
        WriteTables::open(&txn).unwrap().records.insert(slot, bytes.as_slice()).unwrap();
        txn.commit().unwrap();
        drop(db);
        let view = store.view().unwrap();
        let error = view.record(slot).unwrap_err();
        assert!(matches!(error, StorageError::DamagedRecord { .. }) && !error.is_fatal(), "{error:?}");
        assert!(!crate::testing::problems(&view).is_empty());
        assert!(view.record(other).unwrap().is_some());
        // Asking by filter neither panics nor invents anything.
        let _ =
            view.matches(slot, &crate::Filter { source_prefix: Some("x".to_owned()), ..Default::default() });
    }
}
