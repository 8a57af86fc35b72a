//! A disk that fails at any write or flush: what was acknowledged is there after opening again, and fits together. When the
//! disk was only full, the store opens itself again and goes on.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use synapsenet_proto::{GrainId, SpaceId};

use crate::testing::*;
use crate::{Change, IndexEvent, LANE_OWN, ListQuery, Slot, StorageError, Store, StoreOptions};

/// Bytes of a block of the disk.
const BLOCK: usize = 4096;

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
    /// How many blocks it has; without a limit when this is none.
    blocks: Option<usize>,
    /// Those that were ever written to.
    taken: BTreeSet<usize>,
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

    /// As a file system that gives a block to a file when that is written to for the first time.
    fn take_blocks(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::SetLen(length) => self.taken.retain(|block| block * BLOCK < *length),
            Step::Write { at, bytes } => {
                let wanted = at / BLOCK..(at + bytes.len()).div_ceil(BLOCK);
                let new = wanted.clone().filter(|block| !self.taken.contains(block)).count();
                if new > 0 && self.blocks.is_some_and(|blocks| self.taken.len() + new > blocks) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.taken.extend(wanted);
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        self.take_blocks(&step)?;
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
type Content = (Vec<(Slot, GrainId, bool, bool)>, Vec<IndexEvent>, Vec<(SpaceId, u64)>);

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
        vec![Change::Replace {
            old: grains[1].id(),
            with: note("in its place", 98),
            retraction: retraction(&grains[1], 1, 92),
            shared: false,
            received_ms: 77,
            lane: LANE_OWN,
        }],
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

/// Runs the workload until the disk fails for good; gives the number of commits that were acknowledged, or none when the
/// store could not even be made.
fn run(disk: &FailingDisk) -> Option<usize> {
    let store = match Store::with_backend(disk.clone(), &StoreOptions::default()) {
        Ok(store) => store,
        Err(error) => {
            assert!(error.is_fatal() || matches!(error, StorageError::Full(_)), "{error:?}");
            return None;
        }
    };
    for (done, changes) in workload().into_iter().enumerate() {
        if let Err(error) = store.write(changes) {
            // The first operation that fails says that the disk is full, and the others that it is gone.
            assert!(error.is_fatal() || matches!(error, StorageError::Full(_)), "{error:?}");
            let next = store.write(workload().swap_remove(0)).unwrap_err();
            assert!(next.is_fatal(), "{next:?}");
            return Some(done);
        }
    }
    Some(workload().len())
}

/// Runs the workload on a disk that fails once; what was refused then is tried again. False when the store could not even be
/// made.
fn run_through(disk: &FailingDisk, contents: &[Content], story: &str) -> bool {
    let Ok(store) = Store::with_backend(disk.clone(), &StoreOptions::default()) else { return false };
    for (done, changes) in workload().into_iter().enumerate() {
        if let Err(error) = store.write(changes.clone()) {
            assert!(matches!(error, StorageError::Full(_)) && !error.is_fatal(), "{story}: {error:?}");
            let found = content(&store);
            if found == contents[done] {
                store.write(changes).unwrap();
            } else {
                assert_eq!(found, contents[done + 1], "{story}: all of a commit, or nothing");
            }
        }
        assert_eq!(content(&store), contents[done + 1], "{story}");
    }
    assert_whole(&store);
    true
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
fn a_disk_that_is_full_for_a_moment_at_any_operation_costs_one_refusal() {
    let contents = contents();
    for n in 0..operations() {
        let story = format!("operation {n}");
        let disk = FailingDisk::new(Vec::new(), n, false);
        let acknowledged = run_through(&disk, &contents, &story).then_some(workload().len());
        let file = disk.0.lock().unwrap().seen.clone();
        assert_survived(file, acknowledged, &contents, &story);
    }
}

/// A note that nothing makes smaller.
fn noise(n: u64) -> Change {
    let mut bytes = [0; 4096];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    put_change(&note(&text, n), true)
}

#[test]
fn a_store_on_a_full_disk_is_read_as_before_and_written_again_once_there_is_room() {
    // Each of these is full at another step of a commit.
    for blocks in (120..160).step_by(3) {
        let disk = FailingDisk::new(Vec::new(), u64::MAX, false);
        let store = Store::with_backend(disk.clone(), &StoreOptions::default()).unwrap();
        disk.0.lock().unwrap().blocks = Some(blocks);
        let mut acknowledged = 0;
        while store.write(vec![noise(acknowledged)]).is_ok() {
            acknowledged += 1;
            assert!(acknowledged < 200, "{blocks} blocks are full at last");
        }
        assert!(acknowledged > 0, "{blocks} blocks hold a note");
        for other in 0..3 {
            let refused = store.write(vec![noise(1_000 + other)]);
            match refused {
                // A smaller commit may still have found room.
                Ok(_) => acknowledged += 1,
                Err(error) => {
                    assert!(matches!(error, StorageError::Full(_)) && !error.is_fatal(), "{error:?}");
                }
            }
            assert_eq!(store.view().unwrap().counts().unwrap().notes, acknowledged, "{blocks} blocks");
        }
        disk.0.lock().unwrap().blocks = None;
        store.write(vec![noise(2_000)]).unwrap();
        assert_eq!(store.view().unwrap().counts().unwrap().notes, acknowledged + 1);
        assert_whole(&store);
    }
}

#[test]
fn a_view_that_was_open_when_the_disk_was_full_errs_and_the_next_one_does_not() {
    let disk = FailingDisk::new(Vec::new(), u64::MAX, false);
    // So little is kept in memory that a view has to read.
    let store = Store::with_backend(disk.clone(), &StoreOptions { cache_bytes: 0 }).unwrap();
    for n in 0..20 {
        store.write(vec![noise(n)]).unwrap();
    }
    let view = store.view().unwrap();
    disk.0.lock().unwrap().blocks = Some(0);
    assert!(matches!(store.write(vec![noise(100)]), Err(StorageError::Full(_))));
    let failed = (1..=20).find_map(|slot| view.record(slot).err()).unwrap();
    assert!(matches!(failed, StorageError::Closed), "{failed:?}");
    let view = store.view().unwrap();
    for slot in 1..=20 {
        assert!(view.record(slot).unwrap().is_some());
    }
}
