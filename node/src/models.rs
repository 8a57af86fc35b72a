//! Which models there are, and which of them are at work.
//!
//! A model is loaded when it is used first, by a thread of its own, while others go on answering. All that are loaded
//! stay within a memory budget: whatever was used longest ago goes first, but never the model in use.

mod fetch;
mod registry;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use synapsenet_index::{Compute, Embedder, Model, Provider, Runtime, Tokenized, Tokenizer};
use synapsenet_proto::{ModelId, Vector};
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::embedder::{EmbedError, EmbedderHandle, EmbedderThreads};
use crate::metrics::Metrics;
pub(crate) use fetch::{FetchProgress, Hub};
use registry::Registry;
pub(crate) use registry::{Installed, ModelsError};

/// What models are loaded with.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The folder of the models that were added.
    pub dir: PathBuf,
    /// Path of the ONNX Runtime library.
    pub library: PathBuf,
    /// What computes.
    pub compute: Compute,
    /// Sessions of a model, each of which computes by itself.
    pub sessions: usize,
    /// Bytes of weights that may be loaded at once.
    pub budget_bytes: u64,
    /// Vectors of questions that are remembered, and as many of documents.
    pub cache_entries: usize,
    /// Where runs are timed and loaded models are counted.
    pub metrics: Metrics,
}

/// The models of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Models {
    inner: Arc<Inner>,
}

/// Ends the models when it is dropped, and waits for that: a process that exits while one is loaded, or at work, would take
/// ONNX Runtime apart under it, which aborts.
pub(crate) struct ModelsEnd(pub Models);

impl Drop for ModelsEnd {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Inner {
    start: Start,
    registry: Registry,
    places: Mutex<HashMap<ModelId, Place>>,
    /// The model that is never unloaded.
    in_use: Mutex<Option<ModelId>>,
    /// Held by whoever loads, so that two do not take the same room.
    loading: Mutex<()>,
    loaders: Mutex<Vec<JoinHandle<()>>>,
    /// Counts uses, to know which was longest ago.
    uses: AtomicU64,
    is_stopped: AtomicBool,
}

type Outcome = Option<Result<EmbedderHandle, EmbedError>>;

/// What stands for a model that is, or will be, in memory.
enum Place {
    Loading(watch::Receiver<Outcome>),
    Loaded(Loaded),
}

struct Loaded {
    handle: EmbedderHandle,
    threads: EmbedderThreads,
    bytes: u64,
    used: u64,
}

/// Whether a model is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// On disk only.
    Absent,
    /// On its way.
    Loading,
    /// At work.
    Loaded {
        /// On what.
        provider: Provider,
        /// What its weights take.
        bytes: u64,
    },
}

impl Models {
    /// Looks which models there are. None is loaded.
    ///
    /// # Errors
    /// When the folder of models cannot be read. A model in it that is broken is listed as that.
    pub fn open(start: Start) -> anyhow::Result<Self> {
        let registry = Registry::open(&start.dir)?;
        let inner = Inner {
            start,
            registry,
            places: Mutex::default(),
            in_use: Mutex::default(),
            loading: Mutex::default(),
            loaders: Mutex::default(),
            uses: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tokens in one run of a model, padding counted.
    pub fn batch_tokens(&self) -> usize {
        let Compute { provider, run_tokens, .. } = self.inner.start.compute;
        if run_tokens == 0 { provider.run_tokens() } else { run_tokens }
    }

    /// Every model that can be used, and those that cannot, with the reason.
    pub fn installed(&self) -> Vec<Installed> {
        self.inner.registry.installed()
    }

    /// The model of this name.
    ///
    /// # Errors
    /// [`ModelsError`] that says what to do.
    pub fn find(&self, name: &str) -> Result<Model, ModelsError> {
        self.inner.registry.find(name)
    }

    /// The model of this id, when it is installed.
    pub fn with_id(&self, id: ModelId) -> Option<Model> {
        self.installed()
            .into_iter()
            .filter_map(|installed| installed.model.ok())
            .find(|model| model.id() == id)
    }

    /// The name of the model that was chosen last; none was when this is None.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn chosen(&self) -> anyhow::Result<Option<String>> {
        self.inner.registry.chosen()
    }

    /// Remembers which model is chosen, for the next start.
    ///
    /// # Errors
    /// When that cannot be written.
    pub async fn choose(&self, model: &Model) -> Result<(), ModelsError> {
        let (inner, name) = (self.inner.clone(), model.full_name());
        blocking(move || inner.registry.choose(&name)).await
    }

    /// Names the model that is never unloaded.
    pub fn set_in_use(&self, id: ModelId) {
        *lock(&self.inner.in_use) = Some(id);
    }

    /// Copies the model in the folder `dir` in, once it was loaded and gave a vector.
    ///
    /// # Errors
    /// [`ModelsError`]; then nothing is left of it.
    pub async fn add(&self, dir: &Path) -> Result<Model, ModelsError> {
        let (inner, dir) = (self.inner.clone(), dir.to_owned());
        let model = blocking(move || inner.registry.copy_in(&dir)).await?;
        self.admit(model).await
    }

    /// Fetches a model that this program knows, and adds it. Tells `progress` on the way; what was fetched before an
    /// interruption is not fetched again.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn fetch(
        &self,
        name: &str,
        hub: Hub,
        progress: watch::Sender<FetchProgress>,
    ) -> Result<Model, ModelsError> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        let model = blocking(move || {
            let known = inner.registry.fetchable(&name)?;
            inner.registry.fetch_in(&known, |file, to| hub.fetch(file, to, &progress))
        });
        self.admit(model.await?).await
    }

    /// Registers a model whose folder is in place, when it can be loaded.
    async fn admit(&self, model: Model) -> Result<Model, ModelsError> {
        let tried = self.embedder(&model).await;
        let inner = self.inner.clone();
        match tried {
            Ok(_) => blocking(move || inner.registry.admit(model)).await,
            Err(error) => {
                blocking(move || inner.registry.discard(&model)).await;
                Err(ModelsError::Unusable(error.to_string()))
            }
        }
    }

    /// Removes a model that was added. The caller has made sure that no grain needs it.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn remove(&self, name: &str) -> Result<Model, ModelsError> {
        let (models, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let model = models.inner.registry.remove(&name)?;
            models.unload(model.id());
            Ok(model)
        })
        .await
    }

    /// Whether a model is in memory.
    pub fn presence(&self, id: ModelId) -> Presence {
        match lock(&self.inner.places).get(&id) {
            None => Presence::Absent,
            Some(Place::Loading(_)) => Presence::Loading,
            Some(Place::Loaded(loaded)) => {
                Presence::Loaded { provider: loaded.handle.provider(), bytes: loaded.bytes }
            }
        }
    }

    /// The vector of a question by `model`, which is loaded if need be.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub async fn question(&self, model: &Model, text: &str) -> Result<Vector, EmbedError> {
        loop {
            match self.embedder(model).await?.embed_question(text).await {
                // It was unloaded between the two calls.
                Err(EmbedError::Stopped) if !self.is_stopped() => self.bury(model.id()),
                result => return result,
            }
        }
    }

    /// The vectors of one batch of documents by `model`, which is loaded if need be, in its order.
    ///
    /// # Errors
    /// [`EmbedError`]; the whole batch fails together.
    pub async fn documents(&self, model: &Model, texts: &[Tokenized]) -> Result<Vec<Vector>, EmbedError> {
        loop {
            match self.embedder(model).await?.embed_documents(texts.to_vec()).await {
                Err(EmbedError::Stopped) if !self.is_stopped() => self.bury(model.id()),
                result => return result,
            }
        }
    }

    /// The tokenizer of `model`, which is loaded if need be.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub async fn tokenizer(&self, model: &Model) -> Result<Tokenizer, EmbedError> {
        Ok(self.embedder(model).await?.tokenizer().clone())
    }

    /// Loads a model, unless it is loaded.
    ///
    /// # Errors
    /// [`EmbedError::NotLoaded`] with the reason; the next use tries again.
    pub async fn warm(&self, model: &Model) -> Result<Provider, EmbedError> {
        Ok(self.embedder(model).await?.provider())
    }

    async fn embedder(&self, model: &Model) -> Result<EmbedderHandle, EmbedError> {
        let mut waiting = match self.place_of(model) {
            Ok(handle) => return Ok(handle),
            Err(waiting) => waiting,
        };
        match waiting.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            Ok(None) | Err(_) if self.is_stopped() => Err(EmbedError::Stopped),
            Ok(None) | Err(_) => {
                lock(&self.inner.places).remove(&model.id());
                Err(EmbedError::NotLoaded(Arc::new(anyhow::anyhow!(
                    "loading the model broke off; see the log"
                ))))
            }
        }
    }

    /// The handle of a loaded model, or where it will be told; when nobody loads it yet, a loader is started.
    fn place_of(&self, model: &Model) -> Result<EmbedderHandle, watch::Receiver<Outcome>> {
        let mut places = lock(&self.inner.places);
        match places.get_mut(&model.id()) {
            Some(Place::Loaded(loaded)) => {
                loaded.used = self.inner.uses.fetch_add(1, Ordering::Relaxed);
                Ok(loaded.handle.clone())
            }
            Some(Place::Loading(waiting)) => Err(waiting.clone()),
            None => {
                let (told, waiting) = watch::channel(None);
                if self.is_stopped() {
                    return Err(waiting);
                }
                places.insert(model.id(), Place::Loading(waiting.clone()));
                drop(places);
                let (models, model) = (self.clone(), model.clone());
                let loader = std::thread::Builder::new().name("model loader".into());
                let loader = loader.spawn(move || {
                    told.send_replace(Some(models.load_into_place(&model)));
                });
                let mut loaders = lock(&self.inner.loaders);
                loaders.retain(|loader| !loader.is_finished());
                loaders.push(loader.expect("the system starts a thread"));
                Err(waiting)
            }
        }
    }

    fn load_into_place(&self, model: &Model) -> Result<EmbedderHandle, EmbedError> {
        let loaded = self.load(model);
        let mut places = lock(&self.inner.places);
        match loaded {
            Ok(loaded) => {
                let handle = loaded.handle.clone();
                places.insert(model.id(), Place::Loaded(loaded));
                Ok(handle)
            }
            Err(error) => {
                places.remove(&model.id());
                tracing::warn!(
                    model = model.full_name(),
                    error = format!("{error:#}"),
                    "a model was not loaded"
                );
                Err(EmbedError::NotLoaded(Arc::new(error)))
            }
        }
    }

    fn load(&self, model: &Model) -> anyhow::Result<Loaded> {
        let Inner { start, .. } = &*self.inner;
        let _alone = lock(&self.inner.loading);
        let began = std::time::Instant::now();
        let runtime = Runtime::load(&start.library)?;
        let graph = model.graph()?;
        let bytes = graph.weight_bytes().saturating_mul(start.sessions as u64);
        self.make_room(model, bytes)?;
        let tokenizer = Tokenizer::new(model).context("the model's tokenizer cannot be used")?;
        let sessions = (0..start.sessions).map(|_| Embedder::new(&runtime, &graph, &start.compute));
        let sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        let (handle, threads) =
            EmbedderHandle::start(tokenizer, sessions, start.cache_entries, start.metrics.clone());
        start.metrics.models_loaded.inc();
        let (provider, ms) = (handle.provider(), began.elapsed().as_millis() as u64);
        tracing::info!(model = model.full_name(), %provider, ms, "the model is loaded");
        Ok(Loaded { handle, threads, bytes, used: self.inner.uses.fetch_add(1, Ordering::Relaxed) })
    }

    /// Unloads models, those used longest ago first, until `bytes` more fit into the budget.
    fn make_room(&self, model: &Model, bytes: u64) -> anyhow::Result<()> {
        loop {
            let victim = {
                let in_use = *lock(&self.inner.in_use);
                let mut places = lock(&self.inner.places);
                let loaded = places.iter().filter_map(|(id, place)| match place {
                    Place::Loaded(loaded) => Some((*id, loaded.bytes, loaded.used)),
                    Place::Loading(_) => None,
                });
                let loaded: Vec<_> = loaded.collect();
                let taken = loaded.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
                if taken.saturating_add(bytes) <= self.inner.start.budget_bytes {
                    return Ok(());
                }
                let idle = loaded.iter().filter(|(id, ..)| Some(*id) != in_use);
                let victim = idle.min_by_key(|(.., used)| *used).map(|(id, ..)| *id);
                let Some(victim) = victim else { return Err(self.no_room(model, bytes, taken)) };
                places.remove(&victim)
            };
            self.let_go(victim);
        }
    }

    fn no_room(&self, model: &Model, bytes: u64, taken: u64) -> anyhow::Error {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        anyhow::anyhow!(
            "the model {} needs {} MiB beside the {} MiB of the model in use, and ai.memory_budget is {} MiB: raise it",
            model.full_name(),
            mib(bytes),
            mib(taken),
            mib(self.inner.start.budget_bytes),
        )
    }

    /// Clears the place of a model whose threads have ended unasked, so that the next use loads it again.
    fn bury(&self, id: ModelId) {
        let mut places = lock(&self.inner.places);
        let is_dead = matches!(places.get(&id), Some(Place::Loaded(loaded)) if loaded.threads.have_ended());
        let place = if is_dead { places.remove(&id) } else { None };
        drop(places);
        self.let_go(place);
    }

    fn unload(&self, id: ModelId) {
        let place = lock(&self.inner.places).remove(&id);
        self.let_go(place);
    }

    /// Waits until the threads of a model, which nobody finds any more, have done what they were given.
    fn let_go(&self, place: Option<Place>) {
        if let Some(Place::Loaded(loaded)) = place {
            drop(loaded.handle);
            drop(loaded.threads);
            self.inner.start.metrics.models_loaded.dec();
        }
    }

    fn is_stopped(&self) -> bool {
        self.inner.is_stopped.load(Ordering::Relaxed)
    }

    /// Ends all threads, and waits for them. Nothing is embedded any more.
    pub fn stop(&self) {
        self.inner.is_stopped.store(true, Ordering::Relaxed);
        let loaders = std::mem::take(&mut *lock(&self.inner.loaders));
        for loader in loaders {
            // Its panic was told when it happened.
            let _ = loader.join();
        }
        let places = std::mem::take(&mut *lock(&self.inner.places));
        places.into_values().for_each(|place| self.let_go(Some(place)));
    }
}

/// What these hold is whole after every statement, so a poisoned lock is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
