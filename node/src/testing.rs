//! What the tests of this crate share: a memory in a folder of its own, its ingest thread, and quick ways to grains and
//! claims.

use std::path::PathBuf;
use std::sync::Arc;

use synapsenet_index::{Hnsw, HnswOptions, Model, Tokenizer, find_runtime};
use synapsenet_net::{PeerId, peer_of};
use synapsenet_proto::{Announcement, Claim, Draft, Grain, GrainId, Identity, ModelId, Vector};
use synapsenet_storage::{Slot, Store, StoreOptions, View};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::announcer::{Announcer, MAX_OUTBOX};
use crate::embedder::{EmbedderHandle, EmbedderThread, Start};
use crate::events::Events;
use crate::ingest::{self, Ingest, Limits};
use crate::memory::Memory;
use crate::metrics::Metrics;

/// A store with all that hangs on it. Its ingest thread ends with it.
pub(crate) struct Fixture {
    pub memory: Arc<Memory>,
    pub ingest: Ingest,
    pub identity: Arc<Identity>,
    pub events: Events,
    pub changed: Arc<Notify>,
    /// What was to be announced.
    pub announced: mpsc::Receiver<Announcement>,
    _dir: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with_quota(0)
    }

    pub fn with_quota(quota_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = Model::built_in().unwrap();
        let options =
            HnswOptions { m: 16, ef_construction: 64, ef_search: 64, max_elements: 100_000, max_searches: 2 };
        let memory = Arc::new(Memory {
            store: Store::open(&dir.path().join("grains.redb"), &StoreOptions::default()).unwrap(),
            hnsw: Hnsw::new(model.id(), model.dimension(), options).unwrap(),
            model,
            index_dir: dir.path().to_owned(),
            metrics: Metrics::default(),
        });
        let identity = Arc::new(author(0));
        let (outbox, announced) = mpsc::channel(MAX_OUTBOX);
        let (events, changed) = (Events::new(), Arc::new(Notify::new()));
        let (ingest, _) = Ingest::start(ingest::Start {
            memory: memory.clone(),
            announcer: Announcer::new(memory.clone(), identity.clone(), outbox),
            events: events.clone(),
            limits: Limits { max_notes: 100_000, quota_bytes },
            changed: changed.clone(),
            ended: CancellationToken::new(),
        });
        Self { memory, ingest, identity, events, changed, announced, _dir: dir }
    }

    pub fn view(&self) -> View {
        self.memory.store.view().unwrap()
    }

    pub fn slot_of(&self, id: GrainId) -> Slot {
        self.view().slot_of(&id).unwrap().unwrap()
    }

    pub fn model(&self) -> ModelId {
        self.memory.model.id()
    }

    /// A vector of this memory's model that points mostly into one direction.
    pub fn vector(&self, towards: usize) -> Vector {
        let mut values = vec![0.01; self.memory.model.dimension()];
        values[towards] = 1.0;
        Vector::new(self.model(), values).unwrap()
    }

    /// A model at work, or one that cannot be loaded, so that using it fails.
    pub fn embedder(&self, works: bool) -> (EmbedderHandle, EmbedderThread) {
        let library = if works { find_runtime(None).unwrap() } else { PathBuf::from("/there/is/no/runtime") };
        let model = self.memory.model.clone();
        let tokenizer = Tokenizer::new(&model).unwrap();
        let metrics = self.memory.metrics.clone();
        EmbedderHandle::start(Start { library, model, tokenizer, threads: 1, metrics })
    }
}

/// Authors with numbers; 0 is the node itself.
pub(crate) fn author(number: u8) -> Identity {
    Identity::from_seed(&[number; 32])
}

pub(crate) fn peer(number: u8) -> PeerId {
    peer_of(&author(number).author()).unwrap()
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
