//! What the tests of this crate share: a memory in a folder of its own, its ingest thread, and quick ways to grains and
//! claims.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use prometheus_client::registry::Registry;
use sha2::Digest;
use synapsenet_index::{Compute, HnswOptions, Model, find_runtime};
use synapsenet_net::{PeerId, peer_of};
use synapsenet_proto::{Announcement, Claim, Draft, Grain, GrainId, Identity, SpaceId, Vector};
use synapsenet_storage::{Slot, Store, StoreOptions, View};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::config::EmergenceConfig;
use crate::memory::Memory;
use crate::memory::admission::Budget;
use crate::memory::announcer::{Announcer, MAX_OUTBOX, Outgoing};
use crate::memory::emergence::{Scores, Uses};
use crate::memory::events::Events;
use crate::memory::ingest::{self, Ingest, Limits};
use crate::memory::spaces::{Fill, Space, Spaces};
use crate::memory::words::WordIndex;
use crate::metrics::Metrics;
use crate::models::{self, Computing, Models, ModelsEnd, Variant};
use crate::tasks::Alarm;

/// A store with all that hangs on it. Its ingest thread ends with it.
pub(crate) struct Fixture {
    pub memory: Arc<Memory>,
    pub ingest: Ingest,
    pub identity: Arc<Identity>,
    pub events: Events,
    pub changed: Arc<Notify>,
    /// Stops an indexer of it.
    pub stop: CancellationToken,
    /// What was to be announced.
    pub announced: mpsc::Receiver<Outgoing>,
    registry: Registry,
    models: Mutex<Vec<ModelsEnd>>,
    _dir: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with_quota(0)
    }

    pub fn with_quota(quota_bytes: u64) -> Self {
        let day = Budget { grains: 100_000, bytes: 1 << 30 };
        Self::with_limits(Limits::new(100_000, 25, quota_bytes, day, day))
    }

    pub fn with_limits(limits: Limits) -> Self {
        Self::with(limits, &EmergenceConfig::default())
    }

    pub fn with_scores(config: &EmergenceConfig) -> Self {
        let day = Budget { grains: 100_000, bytes: 1 << 30 };
        Self::with(Limits::new(100_000, 25, 0, day, day), config)
    }

    fn with(limits: Limits, emergence: &EmergenceConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = Model::built_in().unwrap();
        let options =
            HnswOptions { m: 16, ef_construction: 64, ef_search: 64, max_elements: 100_000, max_searches: 2 };
        let store = Store::open(&dir.path().join("grains.redb"), &StoreOptions::default()).unwrap();
        let index_dir = dir.path().join("index");
        let space = Space::open(&store, model, &index_dir, options, Fill::Now).unwrap();
        let spaces = Spaces::one(Arc::new(space));
        let words = WordIndex::open(&store, &index_dir).unwrap();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let scores = Scores::open(&store, &index_dir, emergence).unwrap();
        let uses = Uses::open(&store, true).unwrap();
        let memory = Arc::new(Memory::new(store, words, (scores, uses), spaces, index_dir, options, metrics));
        let identity = Arc::new(author(0));
        let (outbox, announced) = mpsc::channel(MAX_OUTBOX);
        let (events, changed) = (Events::new(), Arc::new(Notify::new()));
        let (ingest, _) = Ingest::start(ingest::Start {
            memory: memory.clone(),
            announcer: Announcer::new(memory.clone(), identity.clone(), outbox),
            events: events.clone(),
            limits,
            changed: changed.clone(),
            alarm: Alarm::new().0,
        });
        let (stop, models) = (CancellationToken::new(), Mutex::default());
        Self { memory, ingest, identity, events, changed, stop, announced, registry, models, _dir: dir }
    }

    pub fn view(&self) -> View {
        self.memory.store.view().unwrap()
    }

    pub fn slot_of(&self, id: GrainId) -> Slot {
        self.view().slot_of(&id).unwrap().unwrap()
    }

    pub fn model(&self) -> SpaceId {
        self.memory.current().id()
    }

    /// A vector of this memory's model that points mostly into one direction.
    pub fn vector(&self, towards: usize) -> Vector {
        let mut values = vec![0.01; self.memory.current().model.dimension()];
        values[towards] = 1.0;
        Vector::new(self.model(), values).unwrap()
    }

    /// Scores everything that the index has, in steps of so many.
    pub fn score_all(&self, most: usize) {
        let memory = &self.memory;
        while memory
            .scores
            .step(&self.view(), &memory.current(), (&memory.metrics, &memory.uses), most)
            .unwrap()
        {}
    }

    /// How often a model was run.
    pub fn runs(&self) -> u64 {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        let count = page.lines().find_map(|line| line.strip_prefix("syn_embedding_seconds_count "));
        count.unwrap().parse().unwrap()
    }

    /// Ends the models that were made of it, after what they were given.
    pub fn end_models(&self) {
        self.models.lock().unwrap().clear();
    }

    /// Models that can be loaded, or that cannot, so that using one fails.
    pub fn models(&self, works: bool) -> Models {
        let mut start = models_options(&self._dir.path().join("models"), self.memory.metrics.clone());
        if !works {
            start.library = PathBuf::from("/there/is/no/runtime");
        }
        let models = Models::open(start).unwrap();
        self.models.lock().unwrap().push(ModelsEnd(models.clone()));
        models
    }
}

/// Waits until something is so; not for ever.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.unwrap();
}

/// Models in this folder, each with one session and one thread, that remember nothing.
pub(crate) fn models_options(dir: &Path, metrics: Metrics) -> models::Options {
    models::Options {
        dir: dir.to_owned(),
        library: find_runtime(None).unwrap(),
        computing: Computing {
            compute: Compute { threads: 1, ..Compute::default() },
            variant: Variant::Auto,
            sessions: 1,
        },
        budget_bytes: 1 << 30,
        memory_limit: None,
        cache_entries: 0,
        metrics,
        alarm: Alarm::new().0,
    }
}

/// Writes the folder of a tiny model that any text gives vectors of 16 components: `graph` is a file in tests/models. Its
/// id is another for each name.
pub(crate) fn tiny_model(dir: &Path, name: &str, graph: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let onnx = std::fs::read(root.join("tests/models").join(graph)).unwrap();
    let tokenizer = std::fs::read(root.join("index/models/all-MiniLM-L6-v2/tokenizer.json")).unwrap();
    let folder = dir.join(format!("{name}-tiny"));
    std::fs::create_dir_all(&folder).unwrap();
    let hash = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes));
    let description = format!(
        "name = \"{name}\"\nvariant = \"tiny\"\ndimension = 16\nmax_tokens = 64\npooling = \"mean\"\nnormalize = true\n\
         question_prefix = \"{name}: \"\ndocument_prefix = \"\"\nlicense = \"Apache-2.0\"\n\
         [files.onnx]\npath = \"model.onnx\"\nsha256 = \"{}\"\n[files.tokenizer]\npath = \"tokenizer.json\"\nsha256 = \"{}\"\n",
        hash(&onnx),
        hash(&tokenizer),
    );
    std::fs::write(folder.join("model.toml"), description).unwrap();
    std::fs::write(folder.join("model.onnx"), onnx).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    folder
}

/// Authors with numbers; 0 is the node itself.
pub(crate) fn author(number: u8) -> Identity {
    Identity::from_seed(&[number; 32])
}

pub(crate) fn peer(number: u8) -> PeerId {
    peer_of(&author(number))
}

pub(crate) fn note(author: &Identity, text: &str) -> Grain {
    Grain::seal(Draft { text: text.to_owned(), ..Draft::default() }, author, ingest::now_ms()).unwrap()
}

/// A note and what its author claims about its vector.
pub(crate) fn claimed(author: &Identity, text: &str, vector: &Vector) -> Announcement {
    let grain = note(author, text);
    let claim = Some(Claim::seal(grain.id(), vector, author));
    Announcement { grain, claim }
}

/// Looks for a fenced block of names and values in the page for other implementers, whole.
pub(crate) fn assert_page_says(block: &str, rows: &[(&str, String)]) {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/PROTOCOL.md"));
    let rows: String = rows.iter().map(|(name, value)| format!("{name} | {value}\n")).collect();
    let block = format!("```limits {block}\n{rows}```\n");
    assert!(page.contains(&block), "PROTOCOL.md is to say:\n{block}");
}
