use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::*;

const STORE: u64 = 7;
const MODEL: SpaceId = SpaceId::from_bytes([1; 32]);
const OTHER_MODEL: SpaceId = SpaceId::from_bytes([2; 32]);
const DIMENSION: usize = 48;

fn options() -> HnswOptions {
    HnswOptions {
        ef_construction: 64,
        ef_search: 48,
        max_elements: 10_000,
        max_searches: 4,
        ..HnswOptions::default()
    }
}

fn index() -> Hnsw {
    Hnsw::new(MODEL, DIMENSION, options()).unwrap()
}

/// The same numbers at every run (splitmix64), in -1..1.
fn noise(seed: u64) -> f32 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// A vector in one of 64 clusters, as texts cluster by subject.
fn vector(seed: u64) -> Vector {
    let cluster = (seed % 64 + 1) * 1_000_003;
    let values =
        (0..DIMENSION as u64).map(|i| noise(cluster + i) + 0.7 * noise((seed + 1) * 7_000_003 + i)).collect();
    Vector::new(MODEL, values).unwrap()
}

fn add(index: &Hnsw, keys: impl IntoIterator<Item = u64>) {
    let vectors: Vec<(u64, Vector)> = keys.into_iter().map(|key| (key, vector(key))).collect();
    let items: Vec<(u64, &Vector)> = vectors.iter().map(|(key, vector)| (*key, vector)).collect();
    index.add(&items).unwrap();
}

/// The keys of the `k` vectors among `keys` that are nearest to `question`, by comparing all.
fn nearest(question: &Vector, k: usize, keys: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut all: Vec<(f32, u64)> =
        keys.into_iter().map(|key| (vector(key).cosine(question).unwrap(), key)).collect();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(k).map(|(_, key)| key).collect()
}

/// As the node does: asks for more than is needed, and ranks them by the exact vectors.
fn rescored(found: &[Neighbour], question: &Vector, k: usize) -> Vec<u64> {
    nearest(question, k, found.iter().map(|neighbour| neighbour.key))
}

fn keys(found: &[Neighbour]) -> Vec<u64> {
    found.iter().map(|neighbour| neighbour.key).collect()
}

fn recall(index: &Hnsw, held: &[u64]) -> f64 {
    let questions = 100;
    let hits: usize = (0..questions)
        .map(|question| {
            let question = vector(1_000_000 + question);
            let found = rescored(&index.search(&question, 40, None).unwrap(), &question, 10);
            nearest(&question, 10, held.iter().copied()).iter().filter(|key| found.contains(key)).count()
        })
        .sum();
    hits as f64 / (10 * questions) as f64
}

#[test]
fn the_true_neighbours_are_found() {
    let index = index();
    add(&index, 0..3000);
    let recall = recall(&index, &(0..3000).collect::<Vec<_>>());
    assert!(recall >= 0.97, "{recall}");
}

#[test]
fn similarities_are_cosines_nearest_first() {
    let index = index();
    add(&index, 0..500);
    let question = vector(77);
    let found = index.search(&question, 20, None).unwrap();
    assert_eq!((found.len(), found[0].key), (20, 77));
    assert!(found.is_sorted_by(|a, b| a.similarity >= b.similarity));
    for Neighbour { key, similarity } in found {
        assert!((vector(key).cosine(&question).unwrap() - similarity).abs() < 0.01);
    }
}

/// As models are whose vectors all have one component far beyond the others, and some vectors another one of their own.
fn spiked(seed: u64) -> Vector {
    let mut values = vector(seed).values().to_vec();
    values[3] = 1.0;
    if seed.is_multiple_of(10) {
        values[4 + (seed / 10) as usize % (DIMENSION - 4)] = 1.5;
    }
    Vector::new(MODEL, values).unwrap()
}

#[test]
fn vectors_with_a_component_far_beyond_the_others_are_found() {
    let index = index();
    let held = (0..2000).map(|key| (key, spiked(key))).collect::<Vec<_>>();
    index.add(&held.iter().map(|(key, vector)| (*key, vector)).collect::<Vec<_>>()).unwrap();
    let (mut right, mut wanted) = (0, 0);
    for seed in (0..100).map(|nth| 1_000_000 + nth) {
        let question = spiked(seed);
        let mut all =
            held.iter().map(|(key, vector)| (vector.cosine(&question).unwrap(), *key)).collect::<Vec<_>>();
        all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let found = keys(&index.search(&question, 40, None).unwrap());
        right += all[..10].iter().filter(|(_, key)| found.contains(key)).count();
        wanted += 10;
    }
    assert!(right * 100 >= wanted * 97, "{right} of {wanted}");
    let finds_itself =
        |(key, vector): &(u64, Vector)| keys(&index.search(vector, 40, None).unwrap()).contains(key);
    let lost = held.iter().step_by(10).filter(|&item| !finds_itself(item)).count();
    assert!(lost <= 4, "{lost} of 200 are not found by their own vector");
}

#[test]
fn an_empty_index_finds_nothing_and_k_may_be_any() {
    let index = index();
    assert!(index.is_empty() && index.search(&vector(1), 10, None).unwrap().is_empty());
    assert!(index.search_filtered(&vector(1), 10, &|_| true, None).unwrap().is_empty());
    add(&index, 0..5);
    assert!(index.search(&vector(1), 0, None).unwrap().is_empty());
    assert_eq!(index.search(&vector(1), usize::MAX, None).unwrap().len(), 5);
    assert_eq!(index.search(&vector(1), 3, Some(1)).unwrap().len(), 3);
    assert!(index.search_among(&vector(1), 0, &[1, 2]).unwrap().is_empty());
}

#[test]
fn what_was_removed_is_not_found_and_its_place_is_used_again() {
    let index = index();
    add(&index, 0..2000);
    for key in (0..2000).step_by(2) {
        assert!(index.remove(key).unwrap());
        assert!(!index.remove(key).unwrap());
    }
    assert_eq!(index.len(), 1000);
    assert_eq!(index.missing(&[0, 1, 2, 3, 9999]), [0, 2, 9999]);
    for question in 0..50 {
        assert!(index.search(&vector(question), 20, None).unwrap().iter().all(|found| found.key % 2 == 1));
    }
    let room = index.index.capacity();
    add(&index, 2000..3000);
    assert_eq!((index.len(), index.index.capacity(), index.writer().vacant), (2000, room, 0));
    let held: Vec<u64> = (1..2000).step_by(2).chain(2000..3000).collect();
    let recall = recall(&index, &held);
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn a_key_that_is_added_again_gets_the_new_vector() {
    let index = index();
    add(&index, 0..200);
    index.add(&[(7, &vector(5000)), (900, &vector(1)), (900, &vector(6000))]).unwrap();
    assert_eq!(index.len(), 201);
    assert_eq!(index.search(&vector(5000), 1, None).unwrap()[0].key, 7);
    assert_eq!(index.search(&vector(6000), 1, None).unwrap()[0].key, 900);
    assert_ne!(index.search(&vector(7), 1, None).unwrap()[0].key, 7);
}

#[test]
fn a_filtered_search_gives_only_what_is_allowed_and_all_of_it() {
    let index = index();
    add(&index, 0..2000);
    for step in [2, 10, 100, 1000] {
        let allowed: Vec<u64> = (0..2000).step_by(step).collect();
        for question in (0..20).map(|seed| vector(1_000_000 + seed)) {
            let found = index.search_filtered(&question, 40, &|key| key % step as u64 == 0, None).unwrap();
            assert!(found.iter().all(|found| found.key % step as u64 == 0));
            assert_eq!(found.len(), allowed.len().min(40));
            let exact = index.search_among(&question, 40, &allowed).unwrap();
            assert_eq!(rescored(&exact, &question, 10), nearest(&question, 10, allowed.iter().copied()));
            assert!(exact.is_sorted_by(|a, b| a.similarity >= b.similarity));
        }
    }
    assert!(index.search_filtered(&vector(3), 10, &|_| false, None).unwrap().is_empty());
    assert_eq!(keys(&index.search_among(&vector(3), 10, &[3, 5000]).unwrap()), [3]);
}

#[test]
fn a_full_index_takes_no_more_but_lets_be_replaced() {
    let index = Hnsw::new(MODEL, DIMENSION, HnswOptions { max_elements: 100, ..options() }).unwrap();
    add(&index, 0..99);
    let (one, two) = (vector(99), vector(100));
    assert!(matches!(
        index.add(&[(99, &one), (100, &two)]),
        Err(IndexError::IndexFull { max_elements: 100 })
    ));
    assert_eq!(index.len(), 99);
    index.add(&[(99, &one)]).unwrap();
    assert!(matches!(index.add(&[(100, &two)]), Err(IndexError::IndexFull { .. })));
    index.add(&[(99, &two)]).unwrap();
    index.remove(0).unwrap();
    index.add(&[(100, &one)]).unwrap();
    assert_eq!(index.len(), 100);
}

#[test]
fn vectors_of_another_model_and_reserved_keys_are_refused() {
    let index = index();
    let foreign = Vector::new(OTHER_MODEL, vec![1.0; DIMENSION]).unwrap();
    let short = Vector::new(MODEL, vec![1.0; 3]).unwrap();
    assert!(matches!(index.add(&[(1, &vector(1)), (2, &foreign)]), Err(IndexError::WrongModel { .. })));
    assert!(matches!(
        index.add(&[(2, &short)]),
        Err(IndexError::WrongDimension { wanted: DIMENSION, given: 3 })
    ));
    assert!(matches!(index.add(&[(u64::MAX, &vector(1))]), Err(IndexError::BadOption(_))));
    assert!(matches!(index.search(&foreign, 1, None), Err(IndexError::WrongModel { .. })));
    assert!(matches!(index.search_among(&short, 1, &[1]), Err(IndexError::WrongDimension { .. })));
    assert!(index.is_empty());
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let with = |change: fn(&mut HnswOptions)| {
        let mut options = options();
        change(&mut options);
        Hnsw::new(MODEL, DIMENSION, options).err().expect("this option is refused").to_string()
    };
    assert!(with(|options| options.m = 1).contains("hnsw_m is 1"));
    assert!(with(|options| options.ef_construction = 0).contains("hnsw_ef_construction"));
    assert!(with(|options| options.max_elements = 0).contains("hnsw_max_elements"));
    assert!(with(|options| options.max_searches = 0).contains("searches at once"));
    assert!(Hnsw::new(MODEL, 0, options()).is_err());
}

#[test]
fn many_threads_search_while_others_add_remove_and_save() {
    // usearch alone crashes here (reserve during add), or fails with "Reserve capacity ahead of searches!" as soon as
    // more threads call than it has working memory for; 12 search here, and 4 may.
    let folder = tempfile::tempdir().unwrap();
    let index = index();
    add(&index, 0..100);
    let (stop, found) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..12u64 {
            let (index, stop, found) = (&index, &stop, &found);
            scope.spawn(move || {
                for round in 0.. {
                    let question = vector(round * 12 + thread);
                    let hits = match thread % 3 {
                        0 => index.search(&question, 10, None).unwrap(),
                        1 => index.search_filtered(&question, 10, &|key| key % 2 == 0, None).unwrap(),
                        _ => index.search_among(&question, 10, &[1, 2, 3, 5000]).unwrap(),
                    };
                    found.fetch_add(hits.len(), SeqCst);
                    if stop.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        let writers: Vec<_> = (1..4u64)
            .map(|thread| {
                let (index, folder) = (&index, folder.path());
                scope.spawn(move || {
                    let first = thread * 10_000;
                    for start in (first..first + 1500).step_by(50) {
                        add(index, start..start + 50);
                        assert!(index.remove(start).unwrap());
                        if start % 500 == 0 {
                            index.save(folder, STORE, start).unwrap();
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        stop.store(true, SeqCst);
    });
    assert_eq!(index.len(), 100 + 3 * (1500 - 30));
    assert!(found.load(SeqCst) > 0);
    let held: Vec<u64> = (0..100)
        .chain((1..4).flat_map(|t| (0..1500).filter(|i| i % 50 > 0).map(move |i| t * 10_000 + i)))
        .collect();
    assert!(index.missing(&held).is_empty());
    let recall = recall(&index, &held);
    assert!(recall >= 0.95, "{recall}");
    assert!(Hnsw::load(folder.path(), STORE, MODEL, DIMENSION, options()).unwrap().is_some());
}

/// A folder with a snapshot of 300 vectors and 20 places of removed ones, saved under 42.
fn saved() -> (tempfile::TempDir, Hnsw) {
    let folder = tempfile::tempdir().unwrap();
    let index = index();
    add(&index, 0..320);
    (300..320).for_each(|key| assert!(index.remove(key).unwrap()));
    index.save(folder.path(), STORE, 42).unwrap();
    (folder, index)
}

fn load(folder: &Path) -> Option<(Hnsw, u64)> {
    Hnsw::load(folder, STORE, MODEL, DIMENSION, options()).unwrap()
}

fn graph_file(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let graphs: Vec<PathBuf> =
        files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("graph-")).collect();
    assert_eq!(graphs.len(), 1, "old graphs are swept");
    graphs[0].clone()
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let (folder, index) = saved();
    let (loaded, seq) = load(folder.path()).unwrap();
    assert_eq!((loaded.len(), seq, loaded.writer().vacant), (300, 42, 20));
    for question in (0..50).map(|seed| vector(1_000_000 + seed)) {
        assert_eq!(index.search(&question, 10, None).unwrap(), loaded.search(&question, 10, None).unwrap());
    }
    // A loaded graph has no room of its own, and must grow like any other.
    add(&loaded, 1000..4000);
    assert!(loaded.remove(5).unwrap());
    assert_eq!(loaded.len(), 3299);
    loaded.save(folder.path(), STORE, 43).unwrap();
    let (again, seq) = load(folder.path()).unwrap();
    assert_eq!((again.len(), seq), (3299, 43));
    graph_file(folder.path());
}

#[test]
fn an_empty_index_can_be_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path()).is_none());
    assert!(load(&folder.path().join("missing")).is_none());
    index().save(&folder.path().join("deep/folder"), STORE, 0).unwrap();
    let (loaded, seq) = load(&folder.path().join("deep/folder")).unwrap();
    assert!(loaded.is_empty() && seq == 0);
    add(&loaded, 0..10);
}

#[test]
fn a_snapshot_that_does_not_fit_is_not_used() {
    let (folder, _) = saved();
    assert!(Hnsw::load(folder.path(), STORE + 1, MODEL, DIMENSION, options()).unwrap().is_none());
    assert!(Hnsw::load(folder.path(), STORE, OTHER_MODEL, DIMENSION, options()).unwrap().is_none());
    assert!(Hnsw::load(folder.path(), STORE, MODEL, DIMENSION + 1, options()).unwrap().is_none());
    assert!(
        Hnsw::load(folder.path(), STORE, MODEL, DIMENSION, HnswOptions { m: 8, ..options() })
            .unwrap()
            .is_none()
    );
    let other_effort =
        HnswOptions { ef_construction: 99, ef_search: 9, max_elements: 5000, max_searches: 1, ..options() };
    assert!(Hnsw::load(folder.path(), STORE, MODEL, DIMENSION, other_effort).unwrap().is_some());
    let path = folder.path().join("snapshot.json");
    let description = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"format\": 2", "\"format\": 1"),
        ("\"i8\"", "\"f16\""),
        ("\"count\": 300", "\"count\": 299"),
        ("\"graph-", "\"../graph-"),
        ("{\n", "{\n\"colour\": 1,"),
    ] {
        assert!(description.contains(from), "{from}");
        fs::write(&path, description.replacen(from, to, 1)).unwrap();
        assert!(load(folder.path()).is_none(), "{to}");
    }
}

#[test]
fn a_damaged_snapshot_is_not_used_wherever_the_damage_is() {
    let (folder, _) = saved();
    for path in [graph_file(folder.path()), folder.path().join("snapshot.json")] {
        let whole = fs::read(&path).unwrap();
        for part in 0..64 {
            let mut damaged = whole.clone();
            let place = part * whole.len() / 64;
            damaged[place] ^= 0x55;
            fs::write(&path, &damaged).unwrap();
            // A digit of the caller's mark is all that may change unseen in the description: it is not the graph's.
            let seen = load(folder.path()).is_none_or(|(_, seq)| seq != 42);
            assert!(seen, "{} at {place}", path.display());
            fs::write(&path, &whole[..place]).unwrap();
            assert!(load(folder.path()).is_none(), "{} cut at {place}", path.display());
        }
        fs::write(&path, &whole).unwrap();
        assert!(load(folder.path()).is_some());
    }
    fs::remove_file(graph_file(folder.path())).unwrap();
    assert!(load(folder.path()).is_none());
}

#[test]
fn memory_grows_with_what_is_held() {
    let index = index();
    let before = index.memory_bytes();
    add(&index, 0..5000);
    let per_vector = (index.memory_bytes() - before) / 5000;
    assert!((DIMENSION as u64..1000).contains(&per_vector), "{per_vector}");
}
