//! Models: which there are, and changing them while the node runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use synapsenet_index::{Compute, Embedder, Model, Purpose, Runtime, Tokenizer, find_runtime};
use synapsenet_proto::{Vector, rpc};
use tonic::Code;

use super::harness::{
    BUILT_IN, Client, PASSAGES, SINES, TestNode, TestProcess, config, folder, passages_model, tiny_model,
    wait_for,
};
use super::metrics::scrape;

/// A model of these tests at work beside the node, to know what its vectors are.
pub(crate) struct Reference {
    model: Model,
    tokenizer: Tokenizer,
    embedder: Embedder,
}

impl Reference {
    pub fn of(model: Model) -> Self {
        let runtime = Runtime::load(&find_runtime(None).unwrap()).unwrap();
        let compute = Compute { threads: 1, ..Compute::default() };
        let embedder = Embedder::new(&runtime, &model.graph().unwrap(), &compute).unwrap();
        Self { tokenizer: Tokenizer::new(&model).unwrap(), model, embedder }
    }

    pub fn vector(&mut self, text: &str, purpose: Purpose) -> Vector {
        self.embedder.embed(&[self.tokenizer.tokenize(text, purpose)]).unwrap().remove(0)
    }
}

/// Notes of which each is nearest to the question about it.
fn note(n: usize) -> String {
    const SUBJECTS: [&str; 8] =
        ["backups", "radiators", "tomatoes", "routers", "passwords", "photographs", "bicycles", "invoices"];
    format!("Note {n} about {}: shelf {} holds what is needed, box {n}.", SUBJECTS[n % 8], n * 7 % 31)
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_model_under_load_loses_and_mixes_nothing() {
    let outside = folder();
    let node = TestNode::fresh().await;
    for n in 0..150 {
        node.put(note(n)).await;
    }
    node.wait_indexed().await;
    let tiny = node.try_add_model(&tiny_model(outside.path(), "sines", "sines.onnx")).await.unwrap();
    assert_eq!((tiny.name.as_str(), tiny.state(), tiny.dimension), (SINES, rpc::ModelState::Loaded, 16));

    let is_over = Arc::new(AtomicBool::new(false));
    let adding = tokio::spawn({
        let (client, is_over) = ((*node).clone(), is_over.clone());
        async move {
            let mut n = 150;
            while !is_over.load(Ordering::Relaxed) && n < 400 {
                client.put(note(n)).await;
                n += 1;
                tokio::task::yield_now().await;
            }
            n
        }
    });
    // Two that ask without pause. What they hear is compared afterwards.
    let asked = Arc::new(AtomicU64::new(0));
    let asking: Vec<_> = (0..2)
        .map(|asker| {
            let (client, is_over, asked) = ((*node).clone(), is_over.clone(), asked.clone());
            tokio::spawn(async move {
                let mut heard = Vec::new();
                let mut n = asker;
                while !is_over.load(Ordering::Relaxed) {
                    n = (n + 2) % 150;
                    let found = client.search_in(&note(n), 10, rpc::Filter::default()).await;
                    // By one model, it is nearest to itself; of two, the order is an estimate.
                    let near = if found.summary.models.len() == 1 { 1 } else { 10 };
                    let is_found = found.texts().iter().take(near).any(|text| *text == note(n));
                    let shown = || -> Vec<String> {
                        let shown = |hit: &rpc::Hit| {
                            format!(
                                "{:.4} {} {}",
                                hit.score,
                                &hit.space_id[..4],
                                hit.grain.as_ref().unwrap().text
                            )
                        };
                        found.hits.iter().map(shown).collect()
                    };
                    assert!(
                        is_found,
                        "a grain that was there is found throughout: {n} in {:#?}, {:?}",
                        shown(),
                        found.summary
                    );
                    heard.push((n, found));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                heard
            })
        })
        .collect();
    let more = async |count| {
        let until = asked.load(Ordering::Relaxed) + count;
        wait_for("some searches", async || asked.load(Ordering::Relaxed) >= until).await;
    };
    more(10).await;
    node.use_model(SINES).await;
    more(10).await;
    node.wait_embedded_anew().await;
    more(10).await;
    // And back: these vectors are all there but for the latest.
    node.use_model(&BUILT_IN).await;
    node.wait_embedded_anew().await;
    more(10).await;
    is_over.store(true, Ordering::Relaxed);
    let put = adding.await.unwrap();
    node.wait_indexed().await;
    node.wait_embedded_anew().await;

    let mut references = [
        Reference::of(Model::built_in().unwrap()),
        Reference::of(Model::from_dir(&outside.path().join("sines")).unwrap()),
    ];
    let mut seen = [0, 0];
    for asking in asking {
        for (n, found) in asking.await.unwrap() {
            for hit in &found.hits {
                let at = references.iter().position(|it| it.model.id().to_string() == hit.space_id);
                let at = at.expect("a hit is of one of the two models");
                assert!(found.summary.models.iter().any(|model| model.space_id == hit.space_id));
                let text = &hit.grain.as_ref().unwrap().text;
                seen[at] += 1;
                if seen[at] % 400 == 1 {
                    let question = references[at].vector(&note(n), Purpose::Question);
                    let score = references[at].vector(text, Purpose::Document).cosine(&question).unwrap();
                    assert!((f64::from(score) - hit.cosine()).abs() < 2e-3, "{score} and {}", hit.cosine());
                }
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    let status = node.status().await;
    assert_eq!((status.grains, status.searchable, status.pending), (put as u64, put as u64, 0));
    for n in 0..put {
        assert_eq!(node.search(&note(n)).await.texts()[0], note(n));
    }
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_while_grains_are_embedded_anew_says_by_which_models_it_was() {
    let outside = folder();
    let node = TestNode::fresh().await;
    for n in 0..300 {
        node.put(note(n)).await;
    }
    node.wait_indexed().await;
    node.try_add_model(&tiny_model(outside.path(), "sines", "sines.onnx")).await.unwrap();
    node.use_model(SINES).await;
    let found = node.search(&note(7)).await;
    let names: Vec<&str> = found.summary.models.iter().map(|model| model.name.as_str()).collect();
    assert!(names == [SINES, BUILT_IN.as_str()] || names == [SINES], "{names:?}");
    assert!(found.texts().contains(&note(7).as_str()), "{:?}", found.texts());
    assert_eq!(found.summary.searched, 300);
    node.wait_embedded_anew().await;
    let found = node.search(&note(7)).await;
    assert_eq!(found.summary.models.len(), 1);
    assert_eq!(found.hits[0].space_id, node.model(SINES).await.space_id);
    assert_eq!((node.model(SINES).await.vectors, node.model(&BUILT_IN).await.vectors), (300, 300));

    // Old vectors are dropped when asked, and not before they can be spared.
    Client::assert_refused(node.drop_vectors(SINES).await, Code::FailedPrecondition, "in use");
    assert_eq!(node.drop_vectors(&BUILT_IN).await.unwrap(), 300);
    assert_eq!(node.model(&BUILT_IN).await.vectors, 0);
    assert_eq!(node.search(&note(8)).await.texts()[0], note(8));
    node.use_model(&BUILT_IN).await;
    node.wait_embedded_anew().await;
    assert_eq!(node.search(&note(8)).await.texts()[0], note(8));
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_changed_back_and_removed_at_once_stops_nothing() {
    let outside = folder();
    let node = TestNode::fresh().await;
    for n in 0..300 {
        node.put(note(n)).await;
    }
    let sines = tiny_model(outside.path(), "sines", "sines.onnx");
    for turn in 0..4 {
        node.try_add_model(&sines).await.unwrap();
        // Also in the middle of the first round.
        node.use_model(SINES).await;
        node.use_model(&BUILT_IN).await;
        wait_for("the model to be removed", async || {
            let request = rpc::RemoveModelRequest { name: SINES.into() };
            match node.models.clone().remove_model(request).await {
                Ok(_) => true,
                // The indexer is at work for it, or grains are found by it still.
                Err(status) => {
                    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
                    false
                }
            }
        })
        .await;
        node.wait_indexed().await;
        node.wait_embedded_anew().await;
        assert_eq!(node.search(&note(turn)).await.texts()[0], note(turn));
    }
    assert_eq!(node.model(&BUILT_IN).await.vectors, 300);
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_model_goes_on_after_the_node_was_killed() {
    let dir = folder();
    let data = dir.path().join("data");
    let node = TestProcess::start(&data).await;
    for n in 0..200 {
        node.put(note(n)).await;
    }
    node.wait_indexed().await;
    let outside = folder();
    node.try_add_model(&passages_model(outside.path())).await.unwrap();
    node.use_model(PASSAGES).await;
    wait_for("some grains to be embedded anew", async || node.model(PASSAGES).await.vectors > 0).await;
    let before = node.model(PASSAGES).await.vectors;
    node.kill().await;

    let node = TestProcess::start(&data).await;
    assert_eq!(node.status().await.model.unwrap().name, PASSAGES);
    // Whatever is not embedded anew yet is found all the same.
    for n in [0, 100, 199] {
        assert_eq!(node.search(&note(n)).await.texts()[0], note(n));
    }
    node.wait_embedded_anew().await;
    assert_eq!(node.model(PASSAGES).await.vectors, 200);
    node.verify_sound().await;
    let page = node.ready["metrics"].as_str().unwrap();
    let page = page.trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap();
    let page = scrape(page).await;
    // Nothing is embedded twice but what was under way when it died.
    let anew = page.value("syn_embedded_anew_total");
    assert!(anew <= (200 - before) as f64, "{anew}, and {before} before");
    assert_eq!(page.value("syn_anew_grains"), 0.0);
    assert!(page.value("syn_models_loaded") >= 1.0);
    node.stop().await;

    // Stopped in order, it starts with what it has.
    let node = TestProcess::start(&data).await;
    assert_eq!(node.to_embed_anew().await, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_used_is_refused_and_the_node_goes_on() {
    let outside = folder();
    let node = TestNode::fresh().await;
    node.put("The fuse box is behind the door.").await;
    node.wait_indexed().await;
    let nan = tiny_model(outside.path(), "nan", "nan.onnx");
    Client::assert_refused(node.try_add_model(&nan).await, Code::InvalidArgument, "finite");
    let wide = tiny_model(outside.path(), "wide", "sines.onnx");
    let description = std::fs::read_to_string(wide.join("model.toml")).unwrap();
    std::fs::write(wide.join("model.toml"), description.replace("= 16", "= 24")).unwrap();
    Client::assert_refused(node.try_add_model(&wide).await, Code::InvalidArgument, "shape");
    let none = outside.path().join("none");
    Client::assert_refused(node.try_add_model(&none).await, Code::InvalidArgument, "model.toml");
    Client::assert_refused(node.try_add_model(Path::new("here")).await, Code::InvalidArgument, "absolute");

    // One that was sound when it was added, and is broken now.
    let sines = tiny_model(outside.path(), "sines", "sines.onnx");
    node.try_add_model(&sines).await.unwrap();
    let node = node.restart().await;
    let place = node.dir().join("models").join(SINES);
    std::fs::write(place.join("model.onnx"), "cut short").unwrap();
    Client::assert_refused(node.try_use(SINES).await, Code::FailedPrecondition, "sha256");
    Client::assert_refused(node.try_use("nobody").await, Code::NotFound, &BUILT_IN);
    Client::assert_refused(
        node.try_use("bge-small-en-v1.5-fp32").await,
        Code::FailedPrecondition,
        "models fetch",
    );
    assert_eq!(node.status().await.model.unwrap().name, *BUILT_IN);
    assert_eq!(node.search("Where are the fuses?").await.best().text, "The fuse box is behind the door.");
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grain_that_a_model_fails_on_stays_found_by_the_one_before() {
    let outside = folder();
    let node = TestNode::fresh().await;
    let striped = "The zebra at the zoo has its own stable.";
    node.put(striped).await;
    for n in 0..30 {
        node.put(note(n)).await;
    }
    node.wait_indexed().await;
    node.try_add_model(&tiny_model(outside.path(), "picky", "picky.onnx")).await.unwrap();
    node.use_model("picky-tiny").await;
    wait_for("all but one to be embedded anew", async || node.to_embed_anew().await == 1).await;
    let built_in = node.model(&BUILT_IN).await;
    let is_found = async |node: &Client| {
        let found = node.search("an animal with stripes").await;
        assert_eq!(found.summary.searched, 31);
        let by_built_in = found.hits.iter().filter(|hit| hit.space_id == built_in.space_id);
        by_built_in.map(|hit| hit.grain.as_ref().unwrap().text.as_str()).eq([striped])
    };
    wait_for("the grain to be found", async || is_found(&node).await).await;
    // The vectors that it is found by are needed.
    Client::assert_refused(node.drop_vectors(&BUILT_IN).await, Code::FailedPrecondition, "still found by");
    // The next start tries again, and fails again.
    let node = node.restart().await;
    wait_for("the grain to be found again", async || is_found(&node).await).await;
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_models_are_in_memory_than_the_budget_allows() {
    let outside = folder();
    // The built-in one takes 53 MiB of weights, five of these five times as much.
    let mut small = config();
    small.ai.memory_budget = 120 << 20;
    let node = TestNode::fresh_with(small).await;
    let names: Vec<String> = (0..5).map(|n| format!("copy{n}")).collect();
    for name in &names {
        let model = node.try_add_model(&copy_of_built_in(outside.path(), name)).await.unwrap();
        let listed =
            node.models.clone().list_models(rpc::ListModelsRequest {}).await.unwrap().into_inner().models;
        let taken: u64 = listed.iter().map(|model| model.memory_bytes).sum();
        assert!(model.memory_bytes > 40 << 20 && taken <= 120 << 20, "{taken}");
    }
    for name in &names {
        let name = format!("all-MiniLM-L6-v2-{name}");
        node.use_model(&name).await;
        node.put(format!("A word about {name}.")).await;
        node.wait_indexed().await;
        node.wait_embedded_anew().await;
        let listed =
            node.models.clone().list_models(rpc::ListModelsRequest {}).await.unwrap().into_inner().models;
        assert!(listed.iter().map(|model| model.memory_bytes).sum::<u64>() <= 120 << 20);
        assert_eq!(node.search("a word").await.hits.len(), node.status().await.grains as usize);
    }
    node.verify_sound().await;
}

/// The built-in model with another variant, and a prefix that makes it another model.
fn copy_of_built_in(dir: &Path, variant: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../index/models/all-MiniLM-L6-v2");
    let to = dir.join(variant);
    std::fs::create_dir(&to).unwrap();
    for file in ["model.onnx", "tokenizer.json", "reference.json"] {
        std::os::unix::fs::symlink(from.join(file), to.join(file)).unwrap();
    }
    let description = std::fs::read_to_string(from.join("model.toml")).unwrap();
    let description = description
        .replace("variant = \"w8\"", &format!("variant = \"{variant}\""))
        .replace("question_prefix = \"\"", &format!("question_prefix = \"{variant}: \""));
    std::fs::write(to.join("model.toml"), description).unwrap();
    to
}
