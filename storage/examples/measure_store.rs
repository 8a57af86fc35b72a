//! Measures the store on real texts.
//!
//! ```text
//! cargo run --release -p synapsenet-storage --example measure_store -- FOLDER TEXTS [COUNT]
//! ```
//!
//! FOLDER is where the store is made (on the disk that is to be measured); TEXTS has one text a line; COUNT of them are
//! stored, 100,000 if it is not given.

use std::error::Error;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use synapsenet_proto::{Draft, EncodedVector, Encoding, Grain, Identity, Source, SpaceId, Topic, Vector};
use synapsenet_storage::{
    Change, Filter, LANE_OWN, ListQuery, Origin, Outcome, Selection, Store, StoreOptions,
};

const MODEL: SpaceId = SpaceId::from_bytes([1; 32]);
const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("the first argument is a folder")?;
    let texts = std::fs::read_to_string(arguments.next().ok_or("the second argument is a file of texts")?)?;
    let count: usize = arguments.next().map_or(Ok(100_000), |count| count.parse())?;
    let path = Path::new(&folder).join("measured.redb");
    let _ = std::fs::remove_file(&path);
    let options = StoreOptions::default();
    let grains: Vec<Grain> =
        texts.lines().take(count).enumerate().map(|(n, text)| seal(text, n)).collect::<Result<_, _>>()?;
    let bytes: usize = grains.iter().map(|grain| grain.as_bytes().len()).sum();
    println!("{} grains of {} bytes", grains.len(), bytes / grains.len());

    let store = Store::open(&path, &options)?;
    add(&store, &grains)?;
    drop(store);
    read(&Store::open(&path, &options)?, &grains)?;
    change(&Store::open(&path, &options)?)?;
    opening(&path, &options)?;
    let store = Store::open(&path, &options)?;
    let started = Instant::now();
    let problems = store.view()?.verify(&mut |_, _| ())?;
    println!("verify: {} problems, {:?}", problems.len(), started.elapsed());
    let started = Instant::now();
    let (before, after) = store.compact()?;
    println!("compact: {before} to {after} bytes in {:?}", started.elapsed());
    println!("on disk: {} bytes a grain with its vector", after as usize / grains.len());
    change_model(&store)
}

/// One grain in ten has a topic of its own kind, and so on, so that filters of every width can be asked.
fn seal(text: &str, n: usize) -> Result<Grain, Box<dyn Error>> {
    let identity = Identity::from_seed(&[u8::from(n.is_multiple_of(3)); 32]);
    let draft = Draft {
        text: text.to_owned(),
        topic: Topic::new(if n.is_multiple_of(10) { "tenth" } else { "commons" })?,
        tags: if n.is_multiple_of(100) { vec!["hundredth".to_owned()] } else { Vec::new() },
        lang: if n.is_multiple_of(1000) { "de" } else { "en" }.to_owned(),
        source: Some(Source { uri: format!("/home/anna/notes/{}.md", n / 50), ordinal: (n % 50) as u32 }),
        ..Draft::default()
    };
    Ok(Grain::seal(draft, &identity, 1_790_000_000_000 + n as u64 * 1_000)?)
}

fn vector(n: u64) -> Result<EncodedVector, Box<dyn Error>> {
    let values = (0..384u64).map(|i| ((n * 7919 + i * 104_729) % 1_009) as f32 - 504.0).collect();
    Ok(Vector::new(MODEL, values)?.encode(Encoding::I8))
}

/// Prints the median and the worst of some durations.
fn tell(what: &str, mut times: Vec<f64>, unit: &str) {
    times.sort_by(f64::total_cmp);
    println!(
        "{what}: median {:.2} {unit}, worst {:.2} {unit} of {}",
        times[times.len() / 2],
        times[times.len() - 1],
        times.len()
    );
}

fn timed<T, E: Into<Box<dyn Error>>>(
    scale: f64,
    run: impl FnOnce() -> Result<T, E>,
) -> Result<(f64, T), Box<dyn Error>> {
    let started = Instant::now();
    let value = run().map_err(Into::into)?;
    Ok((started.elapsed().as_secs_f64() * scale, value))
}

fn add(store: &Store, grains: &[Grain]) -> Result<(), Box<dyn Error>> {
    let put = |grain: &Grain| Change::Put {
        grain: grain.clone(),
        shared: false,
        received_ms: 1,
        claim: None,
        origin: Origin::Here,
        lane: LANE_OWN,
    };
    let mut times = Vec::new();
    for batch in grains.chunks(BATCH) {
        let changes = batch.iter().map(put).collect();
        times.push(timed(1e3, || store.write(changes))?.0);
    }
    tell("commit of 1,000 grains", times, "ms");
    println!(
        "on disk: {} bytes a grain without vectors, not compacted",
        store.size_bytes() as usize / grains.len()
    );
    let mut times = Vec::new();
    let slots: Vec<u64> = (1..=grains.len() as u64).collect();
    for batch in slots.chunks(BATCH) {
        let mut changes = Vec::new();
        for &slot in batch {
            changes.push(Change::AddVector { slot, vector: vector(slot)? });
        }
        times.push(timed(1e3, || store.write(changes))?.0);
    }
    tell("commit of 1,000 vectors", times, "ms");
    println!("on disk: {} bytes a grain, not compacted", store.size_bytes() as usize / grains.len());
    Ok(())
}

fn read(store: &Store, grains: &[Grain]) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..1_000 {
        times.push(timed(1e6, || store.view())?.0);
    }
    tell("view", times, "us");
    let view = store.view()?;
    let some = || (0..10_000).map(|i| &grains[i * 7919 % grains.len()]);
    let (mut by_id, mut by_slot, mut matching) = (Vec::new(), Vec::new(), Vec::new());
    let narrow =
        Filter { topic: Some(Topic::new("tenth")?), lang: Some("en".to_owned()), ..Filter::default() };
    for grain in some() {
        by_id.push(
            timed(1e6, || view.slot_of(&grain.id()).and_then(|slot| view.record(slot.unwrap_or(0))))?.0,
        );
        let slot = view.slot_of(&grain.id())?.ok_or("a grain is missing")?;
        by_slot.push(timed(1e6, || view.record(black_box(slot)))?.0);
        matching.push(timed(1e6, || view.matches(slot, &narrow))?.0);
    }
    tell("get by id, 10,000 spread over all", by_id, "us");
    tell("record by slot, just read", by_slot, "us");
    tell("matches (topic and language)", matching, "us");
    let mut times = Vec::new();
    let mut query = ListQuery { limit: 100, ..ListQuery::default() };
    for _ in 0..grains.len() / 100 {
        let (time, page) = timed(1e3, || view.list(&query))?;
        times.push(time);
        query.after = page.next;
    }
    tell("list page of 100", times, "ms");
    select(store, narrow)
}

fn select(store: &Store, narrow: Filter) -> Result<(), Box<dyn Error>> {
    let topic = |name: &str| Topic::new(name).ok();
    let filters = [
        ("topic of 10 %", Filter { topic: topic("tenth"), ..Filter::default() }),
        ("topic of 90 %", Filter { topic: topic("commons"), ..Filter::default() }),
        ("tag of 1 %", Filter { tags: vec!["hundredth".to_owned()], ..Filter::default() }),
        (
            "tag of 1 % in topic of 10 %",
            Filter { tags: vec!["hundredth".to_owned()], topic: topic("tenth"), ..Filter::default() },
        ),
        ("language of 0.1 %", Filter { lang: Some("de".to_owned()), ..Filter::default() }),
        ("language of 99.9 % in topic of 10 %", narrow),
        (
            "language of 0.1 % in topic of 90 % (none)",
            Filter { lang: Some("de".to_owned()), topic: topic("commons"), ..Filter::default() },
        ),
        (
            "source of 50",
            Filter { source_prefix: Some("/home/anna/notes/77.md".to_owned()), ..Filter::default() },
        ),
        ("source of all", Filter { source_prefix: Some("/home/anna/".to_owned()), ..Filter::default() }),
        (
            "100 seconds",
            Filter {
                created_from_ms: Some(1_790_000_000_000),
                created_before_ms: Some(1_790_000_100_000),
                ..Filter::default()
            },
        ),
    ];
    let view = store.view()?;
    for limit in [1_000, usize::MAX] {
        for (name, filter) in &filters {
            let mut times = Vec::new();
            let mut answer = String::new();
            for _ in 0..7 {
                let (time, selection) = timed(1e3, || view.select(filter, limit))?;
                times.push(time);
                answer = match selection {
                    Selection::Few(slots) => format!("few ({})", slots.len()),
                    other => format!("{other:?}").to_lowercase(),
                };
            }
            let limit = if limit == usize::MAX { "none".to_owned() } else { limit.to_string() };
            tell(&format!("select {name}, limit {limit}: {answer}"), times, "ms");
        }
    }
    for (name, filter) in filters {
        let query = ListQuery { filter, limit: 100, ..ListQuery::default() };
        let (time, page) = timed(1e3, || view.list(&query))?;
        println!("list {name}: {} records in {time:.2} ms", page.records.len());
    }
    Ok(())
}

/// Single commits into a store that is full already.
fn change(store: &Store) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    let mut late = Vec::new();
    for n in 0..200 {
        let grain = seal(&format!("a late thought, number {n}"), 1_000_000 + n)?;
        let changes = vec![Change::Put {
            grain,
            shared: false,
            received_ms: 1,
            claim: None,
            origin: Origin::Here,
            lane: LANE_OWN,
        }];
        let (time, outcomes) = timed(1e3, || store.write(changes))?;
        times.push(time);
        if let Some(Outcome::Added { slot }) = outcomes.first() {
            late.push(*slot);
        }
    }
    tell("commit of one grain", times, "ms");
    let mut times = Vec::new();
    for slot in late {
        let changes = vec![Change::AddVector { slot, vector: vector(slot)? }];
        times.push(timed(1e3, || store.write(changes))?.0);
    }
    tell("commit of one vector", times, "ms");
    Ok(())
}

/// Walks all notes as a change of the model does, and drops the vectors of the model that is not needed any more.
fn change_model(store: &Store) -> Result<(), Box<dyn Error>> {
    let view = store.view()?;
    let mut count = 0;
    let count_all = &mut |_| {
        count += 1;
        ControlFlow::Continue(())
    };
    let (time, ()) = timed(1e3, || view.notes_newest_first(count_all))?;
    drop(view);
    println!("all notes, newest first: {count} in {time:.2} ms");
    let mut times = Vec::new();
    loop {
        let changes = vec![Change::DropVectors { model: MODEL, limit: BATCH }];
        let (time, outcomes) = timed(1e3, || store.write(changes))?;
        if outcomes == [Outcome::Dropped { count: 0 }] {
            break;
        }
        times.push(time);
    }
    tell("drop of 1,000 vectors", times, "ms");
    Ok(())
}

/// Opens the store after it was closed in order, and a copy that was taken while it was open: what a killed process
/// leaves.
fn opening(path: &Path, options: &StoreOptions) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..7 {
        times.push(open(path, options)?);
    }
    tell("open and count", times, "ms");
    let killed = path.with_extension("killed");
    let mut times = Vec::new();
    for n in 0..5 {
        let store = Store::open(path, options)?;
        let grain = seal(&format!("just before the kill, number {n}"), 2_000_000 + n)?;
        store.write(vec![Change::Put {
            grain,
            shared: false,
            received_ms: 1,
            claim: None,
            origin: Origin::Here,
            lane: LANE_OWN,
        }])?;
        std::fs::copy(path, &killed)?;
        times.push(open(&killed, options)?);
        std::fs::remove_file(&killed)?;
    }
    tell("open and count after a kill", times, "ms");
    Ok(())
}

/// The time, in milliseconds, until an opened store has answered once; closing it is not counted.
fn open(path: &Path, options: &StoreOptions) -> Result<f64, Box<dyn Error>> {
    let open = || Store::open(path, options).and_then(|store| Ok((store.view()?.counts()?, store)));
    Ok(timed(1e3, open)?.0)
}
