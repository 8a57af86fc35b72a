//! `cargo bench`: what each part of a node costs, on real sealed grains, real vectors and real disks.
//!
//! Where one figure only means something beside another, both stand in one group and run in the same breath.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use synapsenet::{Config, Node, SOCKET, Settings};
use synapsenet_benches::{connect, sample_texts};
use synapsenet_index::{
    Compute, Embedder, Hnsw, HnswOptions, Model, Provider, Purpose, Runtime, Tokenized, Tokenizer,
    find_runtime, plan_batches,
};
use synapsenet_proto::{Draft, Encoding, Grain, Identity, SpaceId, Vector, rpc};
use synapsenet_storage::{Change, LANE_OWN, ListQuery, Origin, Outcome, Slot, Store, StoreOptions};
use tokio::runtime::Runtime as Tokio;

const NOW: u64 = 1_790_000_000_000;
/// Grains in the stores and indexes that are searched.
const STORED: usize = 10_000;
const DIMENSION: usize = 384;

fn identity() -> Identity {
    Identity::from_seed(&[7; 32])
}

/// `count` different grains made of the sample notes.
fn grains(count: usize) -> Vec<Grain> {
    let texts = sample_texts().expect("the sample notes are there");
    let seal = |i: usize| {
        let text = format!("{} ({i})", texts[i % texts.len()]);
        Grain::seal(Draft { text, ..Draft::default() }, &identity(), NOW + i as u64)
            .expect("a sample note is valid")
    };
    (0..count).map(seal).collect()
}

fn put(grain: Grain) -> Change {
    Change::Put { grain, shared: false, received_ms: NOW, claim: None, origin: Origin::Here, lane: LANE_OWN }
}

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("grains.redb"), &StoreOptions::default()).expect("an empty folder takes a store")
}

/// Clustered vectors: real ones gather around subjects, which is what makes a graph's work hard or easy.
fn vectors(model: SpaceId, count: usize) -> Vec<Vector> {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..200).map(|_| (0..DIMENSION).map(|_| random()).collect()).collect();
    let near = |centre: &Vec<f32>, random: &mut dyn FnMut() -> f32| {
        centre.iter().map(|x| x + 0.7 * random()).collect()
    };
    (0..count)
        .map(|i| {
            Vector::new(model, near(&centres[i % centres.len()], &mut random)).expect("it has a direction")
        })
        .collect()
}

fn grain_creation(c: &mut Criterion) {
    let mut group = c.benchmark_group("grain_creation");
    let text = sample_texts().expect("the sample notes are there").remove(0);
    let identity = identity();
    let draft = Draft { text, ..Draft::default() };
    let grain = Grain::seal(draft.clone(), &identity, NOW).expect("a sample note is valid");
    group.bench_function("seal", |b| {
        b.iter_batched(|| draft.clone(), |draft| Grain::seal(draft, &identity, NOW), BatchSize::SmallInput);
    });
    group.bench_function("open", |b| b.iter(|| Grain::open(black_box(grain.as_bytes()))));
    // The same without the signature: what the store saves by not checking it again.
    group.bench_function("reopen", |b| b.iter(|| Grain::reopen(black_box(grain.as_bytes()))));
    group.finish();
}

fn storage(c: &mut Criterion) {
    let mut group = c.benchmark_group("storage");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for count in [1, 100, 1000] {
        let dir = tempfile::tempdir().expect("the system has a temporary folder");
        let store = store(dir.path());
        // Sealing is not what is measured, so enough grains are made before.
        let mut supply = grains(count * 200).into_iter();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("commit", count), |b| {
            b.iter_batched(
                || {
                    let fresh: Vec<Change> = supply.by_ref().take(count).map(put).collect();
                    if fresh.is_empty() { grains(count).into_iter().map(put).collect() } else { fresh }
                },
                |changes| store.write(changes).expect("the disk has room"),
                BatchSize::PerIteration,
            );
        });
    }
    group.throughput(Throughput::Elements(1));
    let dir = tempfile::tempdir().expect("the system has a temporary folder");
    let (store, slots) = filled(dir.path());
    let view = store.view().expect("the store can be read");
    let ids: Vec<_> =
        slots.iter().map(|slot| view.record(*slot).expect("readable").expect("stored").grain.id()).collect();
    let mut next = (0..ids.len()).cycle();
    group.bench_function("get_by_id", |b| {
        b.iter(|| {
            let id = ids[next.next().expect("a cycle has no end")];
            let view = store.view().expect("the store can be read");
            let slot = view.slot_of(&id).expect("readable").expect("stored");
            view.record(slot).expect("readable").expect("stored")
        });
    });
    group.bench_function("list_page_of_100", |b| {
        let query = ListQuery { limit: 100, ..ListQuery::default() };
        b.iter(|| view.list(&query).expect("readable"));
    });
    group.finish();
}

/// A store of [`STORED`] grains with vectors.
fn filled(dir: &Path) -> (Store, Vec<Slot>) {
    let store = store(dir);
    let model = SpaceId::from_bytes([1; 32]);
    let changes = grains(STORED).into_iter().map(put).collect();
    let slot = |outcome: Outcome| match outcome {
        Outcome::Added { slot } => Some(slot),
        _ => None,
    };
    let slots: Vec<Slot> =
        store.write(changes).expect("the disk has room").into_iter().filter_map(slot).collect();
    let vectors = vectors(model, slots.len());
    let add = |(slot, vector): (&Slot, Vector)| Change::AddVector {
        slot: *slot,
        vector: vector.encode(Encoding::F16),
    };
    store.write(slots.iter().zip(vectors).map(add).collect()).expect("the disk has room");
    (store, slots)
}

fn hnsw_index(c: &mut Criterion) {
    let mut group = c.benchmark_group("hnsw_index");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let model = SpaceId::from_bytes([1; 32]);
    let mut all = vectors(model, 2 * STORED);
    let questions = vectors(model, 200);
    let options =
        HnswOptions { m: 16, ef_construction: 200, ef_search: 96, max_elements: 1_000_000, max_searches: 4 };
    let hnsw = Hnsw::new(model, DIMENSION, options).expect("the options are valid");
    let spare = all.split_off(STORED);
    let keyed: Vec<_> = all.iter().enumerate().map(|(key, vector)| (key as u64, vector)).collect();
    hnsw.add(&keyed).expect("there is room");
    let mut question = (0..questions.len()).cycle();
    let mut next = move || question.next().expect("a cycle has no end");
    group.bench_function("search_10_of_10k", |b| {
        b.iter(|| hnsw.search(&questions[next()], 10, None).expect("an index answers"));
    });
    // What the graph is measured against: every vector compared.
    let keys: Vec<u64> = (0..STORED as u64).collect();
    group.bench_function("brute_force_10_of_10k", |b| {
        b.iter(|| hnsw.search_among(&questions[3], 10, &keys).expect("an index answers"));
    });
    let mut key = STORED as u64;
    group.bench_function("add_to_10k", |b| {
        b.iter(|| {
            let vector = &spare[key as usize % spare.len()];
            hnsw.add(&[(key, vector)]).expect("there is room");
            key += 1;
        });
    });
    group.finish();
}

fn embedding(c: &mut Criterion) {
    let mut group = c.benchmark_group("embedding");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let model = Model::built_in().expect("the built-in model is whole");
    let tokenizer = Tokenizer::new(&model).expect("its tokenizer is readable");
    let library = find_runtime(None).expect("deploy/provision has run");
    let runtime = Runtime::load(&library).expect("the library is ONNX Runtime");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let graph = model.graph().expect("the built-in graph is whole");
    let compute = Compute { threads, ..Compute::default() };
    let mut embedder = Embedder::new(&runtime, &graph, &compute).expect("the built-in model loads");
    let question = "how do I keep the server cool in summer";
    group.bench_function("tokenize_question", |b| b.iter(|| tokenizer.tokenize(question, Purpose::Question)));
    group.bench_function("question", |b| {
        b.iter(|| {
            embedder.embed(&[tokenizer.tokenize(question, Purpose::Question)]).expect("the model answers")
        });
    });
    let texts = sample_texts().expect("the sample notes are there");
    let tokenized: Vec<Tokenized> =
        texts.iter().take(64).map(|text| tokenizer.tokenize(text, Purpose::Document)).collect();
    let lengths: Vec<usize> = tokenized.iter().map(Tokenized::len).collect();
    group.throughput(Throughput::Elements(tokenized.len() as u64));
    let mut run = |batches: &[Vec<usize>]| {
        for batch in batches {
            let texts: Vec<Tokenized> = batch.iter().map(|&at| tokenized[at].clone()).collect();
            black_box(embedder.embed(&texts).expect("the model answers"));
        }
    };
    let planned = plan_batches(&lengths, Provider::Cpu.runs(0), 64);
    let one_by_one: Vec<Vec<usize>> = (0..lengths.len()).map(|at| vec![at]).collect();
    let unsorted: Vec<Vec<usize>> =
        (0..lengths.len()).collect::<Vec<_>>().chunks(32).map(<[usize]>::to_vec).collect();
    group.bench_function("64_notes_planned", |b| b.iter(|| run(&planned)));
    group.bench_function("64_notes_one_by_one", |b| b.iter(|| run(&one_by_one)));
    group.bench_function("64_notes_unsorted_32", |b| b.iter(|| run(&unsorted)));
    group.finish();
}

/// A whole node with the sample notes, asked over its socket.
fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("search");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let tokio = Tokio::new().expect("the system starts threads");
    let dir = tempfile::tempdir().expect("the system has a temporary folder");
    let mut config = Config::default();
    config.api.listen.clear();
    config.metrics.listen.clear();
    config.network.enabled = false;
    let node = tokio.block_on(Node::start(Settings::from(config), dir.path())).expect("a node starts");
    let mut client = tokio.block_on(connect(dir.path().join(SOCKET))).expect("the node answers");
    let put_and_wait = |texts: Vec<String>| {
        let mut client = client.clone();
        tokio.block_on(async move {
            let items: Vec<_> = texts
                .into_iter()
                .map(|text| rpc::BulkPutRequest {
                    item: Some(rpc::bulk_put_request::Item::Draft(rpc::Draft { text, ..Default::default() })),
                    share: false,
                    ..Default::default()
                })
                .collect();
            let mut results = client.bulk_put(tokio_stream::iter(items)).await.expect("taken").into_inner();
            while results.message().await.expect("answered").is_some() {}
            let mut waiting =
                client.wait_indexed(rpc::WaitIndexedRequest::default()).await.expect("taken").into_inner();
            while waiting.message().await.expect("answered").is_some() {}
        });
    };
    let texts = sample_texts().expect("the sample notes are there");
    put_and_wait(texts.clone());
    let mut round = 0;
    for count in [10, 100] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("add_until_searchable", count), |b| {
            b.iter_batched(
                || {
                    round += 1;
                    texts.iter().take(count).map(|text| format!("{text} {round}")).collect()
                },
                put_and_wait,
                BatchSize::PerIteration,
            );
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("question_to_answer_over_grpc", |b| {
        b.iter(|| {
            let request =
                rpc::SearchRequest { text: "keep the server cool".into(), k: 10, ..Default::default() };
            tokio.block_on(async {
                let mut answer = client.search(request).await.expect("taken").into_inner();
                let mut hits = 0;
                while answer.message().await.expect("answered").is_some() {
                    hits += 1;
                }
                hits
            })
        });
    });
    tokio.block_on(node.stop()).expect("the node stops");
    group.finish();
}

criterion_group!(benches, grain_creation, storage, hnsw_index, embedding, search);
criterion_main!(benches);
