//! A disk that fails at any write or flush: what was acknowledged is there after opening again, and fits together.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use synapsenet_proto::{GrainId, ModelId};

use crate::testing::*;
use crate::{Change, IndexEvent, ListQuery, Slot, StorageError, Store, StoreOptions};

/// What a write or a change of length does to a file.
#[derive(Debug, Clone)]
enum Step {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Step {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::SetLen(length) => file.resize(*length, 0),
            Self::Write { at, bytes } => {
                if file.len() < at + bytes.len() {
                    file.resize(at + bytes.len(), 0);
                }
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// A file in memory that knows what a power failure would leave of it.
#[derive(Debug, Default)]
struct Disk {
    /// What the next read sees.
    seen: Vec<u8>,
    /// What is certain to survive.
    flushed: Vec<u8>,
    /// What came after that, in order.
    unflushed: Vec<Step>,
    /// How many operations go well before one fails.
    left: u64,
    /// Whether everything fails after that, or only that one.
    stays_broken: bool,
    failed: bool,
}

#[derive(Debug, Clone, Default)]
struct FailingDisk(Arc<Mutex<Disk>>);

impl FailingDisk {
    fn new(content: Vec<u8>, left: u64, stays_broken: bool) -> Self {
        let disk = Disk { seen: content.clone(), flushed: content, left, stays_broken, ..Disk::default() };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn operations_left(&self) -> u64 {
        self.0.lock().unwrap().left
    }

    /// What a power failure leaves: each step since the last flush is kept or lost, the last write perhaps torn.
    fn after_power_failure(&self, random: &mut Random) -> Vec<u8> {
        let disk = self.0.lock().unwrap();
        let mut file = disk.flushed.clone();
        for (i, step) in disk.unflushed.iter().enumerate() {
            let is_last = i + 1 == disk.unflushed.len();
            match step {
                Step::Write { at, bytes } if is_last => {
                    let kept = random.below(bytes.len() as u64 + 1) as usize;
                    Step::Write { at: *at, bytes: bytes[..kept].to_vec() }.apply(&mut file);
                }
                step if random.below(2) == 0 => step.apply(&mut file),
                _ => {}
            }
        }
        file
    }
}

impl Disk {
    fn operate(&mut self) -> io::Result<()> {
        if self.failed && self.stays_broken {
            return Err(io::Error::other("the disk is gone"));
        }
        if self.left == 0 && !self.failed {
            self.failed = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        let result = self.operate();
        if result.is_ok() {
            step.apply(&mut self.seen);
        }
        if result.is_ok() || !self.stays_broken {
            self.unflushed.push(step);
        }
        result
    }
}

impl StorageBackend for FailingDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let at = offset as usize;
        let bytes = disk.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().unwrap().step(Step::SetLen(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operate()?;
        disk.flushed = disk.seen.clone();
        disk.unflushed.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().step(Step::Write { at: offset as usize, bytes: data.to_vec() })
    }
}

/// All that a store says, in a form that can be compared.
type Content = (Vec<(Slot, GrainId, bool, bool)>, Vec<IndexEvent>, Vec<(ModelId, u64)>);

fn content(store: &Store) -> Content {
    let view = store.view().unwrap();
    let query = ListQuery { limit: 1_000, with_retractions: true, ..ListQuery::default() };
    let records = view.list(&query).unwrap().records;
    let records = records.iter().map(|r| (r.slot, r.grain.id(), r.shared, r.searchable)).collect();
    (records, view.index_log(0).unwrap().unwrap(), view.models().unwrap())
}

/// Commits of every kind, small and large.
fn workload() -> Vec<Vec<Change>> {
    let grains: Vec<_> =
        (0..40).map(|n| note(&format!("note {n} {}", "and more ".repeat(n as usize * 4)), n)).collect();
    let vectors = |slots: std::ops::Range<Slot>, model| {
        slots.map(|slot| Change::AddVector { slot, vector: vector(model, slot as u8) }).collect()
    };
    vec![
        vec![put_change(&grains[0], false)],
        grains[1..12].iter().map(|grain| put_change(grain, true)).collect(),
        vectors(1..8, MODEL),
        vec![put_change(&retraction(&grains[3], 1, 90), true), Change::Share { id: grains[0].id() }],
        grains[12..].iter().map(|grain| put_change(grain, false)).collect(),
        vectors(9..20, MODEL),
        grains[20..30].iter().map(|grain| put_change(&retraction(grain, 1, 91), true)).collect(),
        vectors(4..14, OTHER_MODEL),
        // Of these twelve notes, five become pending; the others have a vector of the other model, too.
        vec![Change::DropVectors { model: MODEL, limit: 12 }],
        vec![put_change(&note("last", 99), true)],
    ]
}

/// What the store holds before the first commit and after each.
fn contents() -> Vec<Content> {
    let store = store();
    let mut contents = vec![content(&store)];
    for changes in workload() {
        store.write(changes).unwrap();
        contents.push(content(&store));
    }
    contents
}

/// Runs the workload until the disk fails; gives the number of commits that were acknowledged, or none when the store
/// could not even be made.
fn run(disk: &FailingDisk) -> Option<usize> {
    let store = match Store::with_backend(disk.clone(), &StoreOptions::default()) {
        Ok(store) => store,
        Err(error) => {
            assert!(error.is_fatal(), "{error:?}");
            return None;
        }
    };
    for (done, changes) in workload().into_iter().enumerate() {
        if let Err(error) = store.write(changes) {
            assert!(matches!(error, StorageError::Full(_)), "{error:?}");
            assert!(error.is_fatal());
            let next = store.write(workload().swap_remove(0)).unwrap_err();
            assert!(matches!(next, StorageError::Closed) && next.is_fatal(), "{next:?}");
            return Some(done);
        }
    }
    Some(workload().len())
}

fn assert_survived(file: Vec<u8>, acknowledged: Option<usize>, contents: &[Content], story: &str) {
    let disk = FailingDisk::new(file, u64::MAX, false);
    let store = match (Store::with_backend(disk, &StoreOptions::default()), acknowledged) {
        (Ok(store), _) => store,
        // `Store::open` makes a store under another name for this reason, and begins anew.
        (Err(StorageError::NotADatabase), None) => return,
        (Err(error), _) => panic!("{story}: not opened again: {error:?}"),
    };
    let acknowledged = acknowledged.unwrap_or(0);
    let found = content(&store);
    let next = contents.get(acknowledged + 1);
    assert!(
        found == contents[acknowledged] || Some(&found) == next,
        "{story}: after {acknowledged} acknowledged commits: {found:?}"
    );
    assert_eq!(problems(&store.view().unwrap()), Vec::<String>::new(), "{story}");
    // And it goes on working.
    write_one(&store, put_change(&note("after the failure", 1_000), false));
    assert_whole(&store);
}

/// How many operations of the disk the workload takes.
fn operations() -> u64 {
    let disk = FailingDisk::new(Vec::new(), u64::MAX, true);
    assert_eq!(run(&disk), Some(workload().len()));
    u64::MAX - disk.operations_left()
}

#[test]
fn a_power_failure_at_any_operation_loses_nothing_that_was_acknowledged() {
    let contents = contents();
    let operations = operations();
    assert!(operations > 50, "the workload has only {operations} operations");
    for n in 0..=operations {
        let mut random = Random(n);
        let disk = FailingDisk::new(Vec::new(), n, true);
        let acknowledged = run(&disk);
        for round in 0..2 {
            let file = disk.after_power_failure(&mut random);
            assert_survived(file, acknowledged, &contents, &format!("operation {n}, round {round}"));
        }
    }
}

#[test]
fn one_failed_operation_closes_the_store_and_opening_it_again_finds_everything() {
    let contents = contents();
    for n in 0..operations() {
        let disk = FailingDisk::new(Vec::new(), n, false);
        let acknowledged = run(&disk);
        let file = disk.0.lock().unwrap().seen.clone();
        assert_survived(file, acknowledged, &contents, &format!("operation {n}"));
    }
}
