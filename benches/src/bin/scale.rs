//! What a node does at 1,000, 10,000, 100,000 grains (and more when asked): one row of a table for each size.
//!
//! The node is a process of its own; texts go in through its bulk stream and questions through its search, over the
//! unix socket. `recall@10` compares the hits with all vectors of the store compared one by one.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use futures::StreamExt;
use synapsenet::SOCKET;
use synapsenet_benches::{Arguments, channel, connect, project_dir, quantile, sample_texts, texts_in};
use synapsenet_index::{Compute, Embedder, Model, Purpose, Runtime, Tokenizer, find_runtime};
use synapsenet_proto::rpc::model_service_client::ModelServiceClient;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::{Vector, rpc};
use synapsenet_storage::{Store, StoreOptions};
use tonic::Code;
use tonic::transport::Channel;

const USAGE: &str =
    "usage: scale [--texts FILE] [--sizes 1000,10000] [--questions 200] [--node BINARY] [--data-dir DIR] [--model DIR]
  --texts      one text a line; without it the sample notes, numbered to make enough of them
  --model      the folder of a model; without it the built-in one
  --data-dir   where the node keeps its grains; a temporary folder without it";
const HITS: usize = 10;

type Client = NodeServiceClient<Channel>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    synapsenet_index::restart_with(&[synapsenet_index::TELEMETRY_OFF]);
    let arguments = Arguments::read(&["texts", "sizes", "questions", "node", "data-dir", "model"], USAGE)?;
    let sizes = arguments.get("sizes").unwrap_or("1000,10000");
    let sizes: Vec<usize> = sizes.split(',').map(str::parse).collect::<Result<_, _>>().context(USAGE)?;
    let count = arguments.number("questions", 200)?;
    let most = *sizes.iter().max().context(USAGE)?;
    let mut texts = match arguments.get("texts") {
        Some(file) => texts_in(Path::new(file))?,
        None => numbered_samples(most + count)?,
    };
    anyhow::ensure!(
        texts.len() >= most + count,
        "the file has {} texts; {} are needed",
        texts.len(),
        most + count
    );
    shuffle(&mut texts);
    let questions: Vec<String> =
        texts.split_off(texts.len() - count).iter().map(|text| as_question(text)).collect();
    let binary =
        arguments.get("node").map_or_else(|| project_dir().join("target/release/synapsenet"), PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let data_dir = arguments.get("data-dir").map_or_else(|| temporary.path().join("node"), PathBuf::from);

    println!(
        "| grains | added in s | grains/s | search p50 ms | p99 ms | inside p50 ms | p99 ms | of it model p50 ms | \
         recall@10 | bytes/grain on disk | memory MB | start ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let added_model = arguments.get("model").map(Path::new);
    let model = added_model.map_or_else(Model::built_in, Model::from_dir)?;
    if let Some(dir) = added_model {
        let (mut node, _, _) = Node::start(&binary, &data_dir).await?;
        use_model(&data_dir, dir, &model).await?;
        node.stop()?;
    }
    let mut held = 0;
    for size in sizes {
        let (mut node, mut client, _) = Node::start(&binary, &data_dir).await?;
        let added = Instant::now();
        add(&mut client, &texts[held..size]).await?;
        let seconds = added.elapsed().as_secs_f64();
        let row = measure(&mut client, &questions).await?;
        node.stop()?;
        let (mut node, mut client, start_ms) = Node::start(&binary, &data_dir).await?;
        search(&mut client, &questions[0]).await?;
        let status = client.status(rpc::StatusRequest {}).await?.into_inner();
        node.stop()?;
        let recall = recall(&data_dir, &model, &questions, &row.found)?;
        let disk = folder_bytes(&data_dir)? / status.grains.max(1);
        println!(
            "| {} | {seconds:.1} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {recall:.4} | {disk} | {:.0} (restarted {:.0}) | {start_ms:.0} |",
            status.grains,
            (size - held) as f64 / seconds,
            row.client.0,
            row.client.1,
            row.inside.0,
            row.inside.1,
            row.model,
            row.memory_bytes as f64 / 1e6,
            status.memory_bytes as f64 / 1e6,
        );
        held = size;
    }
    Ok(())
}

struct Row {
    client: (f64, f64),
    inside: (f64, f64),
    model: f64,
    memory_bytes: u64,
    found: Vec<Vec<String>>,
}

/// A node process, killed when it is dropped before it was stopped.
struct Node {
    process: Child,
}

impl Node {
    /// Starts a node and waits until it says that it is ready. Answers how many milliseconds that took.
    async fn start(binary: &Path, data_dir: &Path) -> anyhow::Result<(Self, Client, f64)> {
        let start = Instant::now();
        let mut process = Command::new(binary)
            .args(["--json", "--data-dir"])
            .arg(data_dir)
            .args(["run", "--offline", "--api-listen", "", "--metrics-listen", ""])
            .env("SYNAPSENET_LOG__LEVEL", "warn")
            .env("SYNAPSENET_STORAGE__HNSW_MAX_ELEMENTS", "2000000")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}: build it with `cargo build --release --workspace`",
                    binary.display()
                )
            })?;
        let output = process.stdout.take().context("the output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        if !line.contains("\"ready\"") {
            bail!("the node did not start: {line}");
        }
        let client = connect(data_dir.join(SOCKET)).await?;
        Ok((Self { process }, client, milliseconds))
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = self.process.id().to_string();
        Command::new("kill").arg(pid).status()?;
        anyhow::ensure!(self.process.wait()?.success(), "the node did not stop in order");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail when the process has ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has the running node use a model that it does not know yet.
async fn use_model(data_dir: &Path, dir: &Path, model: &Model) -> anyhow::Result<()> {
    let mut models = ModelServiceClient::new(channel(data_dir.join(SOCKET)).await?);
    let path = dir.canonicalize()?.display().to_string();
    // A folder that was measured before has it already.
    match models.add_model(rpc::AddModelRequest { path }).await {
        Err(status) if status.code() != Code::FailedPrecondition => return Err(status.into()),
        _ => {}
    }
    models.use_model(rpc::UseModelRequest { name: model.full_name() }).await?;
    Ok(())
}

/// Puts all texts through the bulk stream and waits until each can be found.
async fn add(client: &mut Client, texts: &[String]) -> anyhow::Result<()> {
    let items: Vec<_> = texts
        .iter()
        .map(|text| {
            let draft = rpc::Draft { text: text.clone(), ..Default::default() };
            rpc::BulkPutRequest {
                item: Some(rpc::bulk_put_request::Item::Draft(draft)),
                share: false,
                ..Default::default()
            }
        })
        .collect();
    let mut results = client.bulk_put(tokio_stream::iter(items)).await?.into_inner();
    while let Some(result) = results.next().await {
        let result = result?;
        anyhow::ensure!(result.reason.is_empty(), "refused: {}", result.reason);
    }
    let mut waiting = client.wait_indexed(rpc::WaitIndexedRequest::default()).await?.into_inner();
    while waiting.message().await?.is_some() {}
    Ok(())
}

/// Asks as anybody would, by words and by meaning.
async fn search(client: &mut Client, question: &str) -> anyhow::Result<(Vec<String>, rpc::SearchSummary)> {
    ask(client, rpc::SearchRequest { text: question.to_owned(), k: HITS as u32, ..Default::default() }).await
}

/// Asks for what is nearest in meaning, copies or not: what recall is measured by.
async fn nearest(client: &mut Client, question: &str) -> anyhow::Result<Vec<String>> {
    let request = rpc::SearchRequest {
        text: question.to_owned(),
        k: HITS as u32,
        mode: rpc::SearchMode::Meaning.into(),
        min_score: Some(-1.0),
        all_copies: true,
        ..Default::default()
    };
    Ok(ask(client, request).await?.0)
}

async fn ask(
    client: &mut Client,
    request: rpc::SearchRequest,
) -> anyhow::Result<(Vec<String>, rpc::SearchSummary)> {
    let mut answer = client.search(request).await?.into_inner();
    let mut ids = Vec::new();
    while let Some(message) = answer.message().await? {
        match message.item {
            Some(rpc::search_response::Item::Hit(hit)) => ids.extend(hit.grain.map(|grain| grain.id)),
            Some(rpc::search_response::Item::Summary(summary)) => return Ok((ids, summary)),
            None => {}
        }
    }
    bail!("the answer has no summary")
}

async fn measure(client: &mut Client, questions: &[String]) -> anyhow::Result<Row> {
    for question in questions.iter().take(10) {
        search(client, question).await?;
    }
    let (mut outside, mut inside, mut model, mut found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for question in questions {
        let start = Instant::now();
        let (_, summary) = search(client, question).await?;
        outside.push(start.elapsed().as_secs_f64() * 1e3);
        inside.push(summary.elapsed_us as f64 / 1e3);
        model.push(summary.embed_us as f64 / 1e3);
    }
    // Afterwards, so that no question is known already when its time is taken.
    for question in questions {
        found.push(nearest(client, question).await?);
    }
    let memory_bytes = client.status(rpc::StatusRequest {}).await?.into_inner().memory_bytes;
    let both = |samples: &mut [f64]| (quantile(samples, 0.5), quantile(samples, 0.99));
    Ok(Row {
        client: both(&mut outside),
        inside: both(&mut inside),
        model: quantile(&mut model, 0.5),
        memory_bytes,
        found,
    })
}

/// The mean share of the true ten nearest that were found; the store's vectors are compared one by one.
fn recall(
    data_dir: &Path,
    model: &Model,
    questions: &[String],
    found: &[Vec<String>],
) -> anyhow::Result<f64> {
    let tokenizer = Tokenizer::new(model)?;
    let runtime = Runtime::load(&find_runtime(None)?)?;
    let compute = Compute { threads: 2, ..Compute::default() };
    let mut embedder = Embedder::new(&runtime, &model.graph()?, &compute)?;
    let mut vectors = Vec::new();
    for question in questions {
        vectors.extend(embedder.embed(&[tokenizer.tokenize(question, Purpose::Question)])?);
    }
    let store = Store::open(&data_dir.join("grains.redb"), &StoreOptions::default())?;
    let view = store.view()?;
    let mut best: Vec<Vec<(f32, u64)>> = vec![Vec::new(); vectors.len()];
    view.for_each_vector(model.id(), &mut |slot, vector| {
        if let Ok(vector) = vector.decode() {
            for (question, best) in vectors.iter().zip(&mut best) {
                keep_best(question, &vector, slot, best);
            }
        }
        std::ops::ControlFlow::Continue(())
    })?;
    let mut sum = 0.0;
    for (best, found) in best.iter().zip(found) {
        let found: HashSet<&String> = found.iter().collect();
        let mut right = 0;
        for (_, slot) in best {
            let record = view.record(*slot)?.context("a vector has a grain")?;
            right += usize::from(found.contains(&record.grain.id().to_string()));
        }
        sum += right as f64 / best.len().max(1) as f64;
    }
    Ok(sum / questions.len() as f64)
}

fn keep_best(question: &Vector, vector: &Vector, slot: u64, best: &mut Vec<(f32, u64)>) {
    let Ok(score) = question.cosine(vector) else { return };
    if best.len() < HITS || best.last().is_some_and(|(worst, _)| score > *worst) {
        let at = best.partition_point(|(other, _)| *other >= score);
        best.insert(at, (score, slot));
        best.truncate(HITS);
    }
}

fn folder_bytes(dir: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

fn numbered_samples(count: usize) -> anyhow::Result<Vec<String>> {
    let samples = sample_texts()?;
    Ok((0..count).map(|i| format!("{} ({})", samples[i % samples.len()], i / samples.len())).collect())
}

/// A question of a person: the last few words of a text, without the marks that would make phrases or exclusions of them.
fn as_question(text: &str) -> String {
    let plain = text.replace(['"', '-'], " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    words[words.len().saturating_sub(8)..].join(" ")
}

/// Fisher-Yates with a fixed seed, so that every run measures the same.
fn shuffle(texts: &mut [String]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..texts.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        texts.swap(at, (state % (at as u64 + 1)) as usize);
    }
}
