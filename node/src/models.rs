//! Which models there are, and which of them are at work.
//!
//! A model is loaded when it is used first, by a thread of its own, while others go on answering. All that are loaded
//! stay within a memory budget: whatever was used longest ago goes first, but never the model in use.

pub(crate) mod embedder;
mod fetch;
mod plan;
mod pool;
mod registry;
pub(crate) mod trial;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synapsenet_index::{Compute, IndexError, Model, Provider, Runs, Tokenized, Tokenizer};
use synapsenet_proto::{SpaceId, Vector};
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::metrics::Metrics;
use crate::models::embedder::{EmbedError, EmbedderHandle};
use crate::tasks::Alarm;
pub(crate) use fetch::{FetchProgress, Hub};
use pool::Pool;
pub(crate) use pool::Presence;
use registry::Registry;
pub(crate) use registry::{Installed, ModelsError};

/// Times that a model is loaded for one call. More than two mean that its threads panic on what they are asked.
const MAX_TRIES: usize = 4;

/// Which variant of a space is meant where only the space is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The one that suits what computes.
    #[default]
    Auto,
    /// The one of this name, if the space has it.
    Named(String),
}

/// How models are computed. It can be changed while the node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Computing {
    /// What computes, with the threads of all sessions together.
    pub compute: Compute,
    /// Which variant of a space is meant where only the space is named.
    pub variant: Variant,
    /// Sessions of a model that compute documents; 0 means as many as is quick.
    pub sessions: usize,
}

impl Computing {
    /// Whether a model that was loaded for the one is as it would be if it were loaded for the other.
    fn loads_as(&self, other: &Self) -> bool {
        (self.compute, self.sessions) == (other.compute, other.sessions)
    }
}

/// What models are loaded with.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The folder of the models that were added.
    pub dir: PathBuf,
    /// Path of the ONNX Runtime library.
    pub library: PathBuf,
    /// How they are computed until that is changed.
    pub computing: Computing,
    /// Bytes of weights that may be loaded at once.
    pub budget_bytes: u64,
    /// Bytes that this process may have, when that is known.
    pub memory_limit: Option<u64>,
    /// Vectors of questions that are remembered, and as many of documents.
    pub cache_entries: usize,
    /// Where runs are timed and loaded models are counted.
    pub metrics: Metrics,
    /// Told when a thread that computes panics.
    pub alarm: Alarm,
}

/// The models of a node: those on disk, and the pool of those in memory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Models {
    registry: Arc<Registry>,
    pool: Pool,
}

/// Ends the models when it is dropped, and waits for that: a process that exits while one is loaded, or at work, would take
/// ONNX Runtime apart under it, which aborts.
pub(crate) struct ModelsEnd(pub Models);

impl Drop for ModelsEnd {
    fn drop(&mut self) {
        self.0.pool.stop();
    }
}

impl Variant {
    /// From what the configuration says.
    pub fn from_config(text: &str) -> Self {
        if text.is_empty() || text.eq_ignore_ascii_case("auto") {
            Self::Auto
        } else {
            Self::Named(text.to_owned())
        }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Named(name) => name,
        })
    }
}

impl Models {
    /// Looks which models there are. None is loaded.
    ///
    /// # Errors
    /// When the folder of models cannot be read. A model in it that is broken is listed as that.
    pub fn open(start: Options) -> anyhow::Result<Self> {
        let registry = Arc::new(Registry::open(&start.dir)?);
        Ok(Self { registry, pool: Pool::new(start) })
    }

    /// Every model that can be used, and those that cannot, with the reason.
    pub fn all(&self) -> Vec<Installed> {
        self.registry.all()
    }

    /// The model of this name; of the name of a space, the variant of it that is meant.
    ///
    /// # Errors
    /// [`ModelsError`] that says what to do.
    pub fn find(&self, name: &str) -> Result<Model, ModelsError> {
        self.registry.find(name, &self.pool.computing())
    }

    /// The variant of this space that is meant, when one is installed.
    pub fn with_id(&self, id: SpaceId) -> Option<Model> {
        self.registry.with_id(id, &self.pool.computing())
    }

    /// What they are loaded with.
    pub fn options(&self) -> &Options {
        self.pool.start()
    }

    /// Has models computed so from the next time on that they are loaded; [`Models::change_variant`] loads one anew. Answers how
    /// they were computed before.
    pub fn set_computing(&self, computing: Computing) -> Computing {
        self.pool.set_computing(computing)
    }

    /// All variants of this space that are installed.
    pub fn variants_of(&self, id: SpaceId) -> Vec<Model> {
        self.registry.variants_of(id)
    }

    /// The name of the model that was chosen last; none was when this is None.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn chosen(&self) -> anyhow::Result<Option<String>> {
        self.registry.chosen()
    }

    /// Remembers which model is chosen, by its name or that of its space, for the next start.
    ///
    /// # Errors
    /// When that cannot be written.
    pub async fn choose(&self, name: &str) -> Result<(), ModelsError> {
        let (registry, name) = (self.registry.clone(), name.to_owned());
        blocking(move || registry.choose(&name)).await
    }

    /// Names the space whose model is never unloaded.
    pub fn set_in_use(&self, id: SpaceId) {
        self.pool.set_in_use(id);
    }

    /// Has this variant compute its space, once it is loaded.
    pub fn set_variant(&self, model: &Model) {
        self.pool.set_variant(model);
    }

    /// Has this variant compute its space from now on, and loads it unless it is loaded as models are computed now. Answers whether
    /// that changed anything.
    ///
    /// # Errors
    /// [`EmbedError::NotLoaded`] with the reason; then all is as before.
    pub async fn change_variant(&self, model: &Model) -> Result<bool, EmbedError> {
        self.pool.change_variant(model).await
    }

    /// The variant that computes the space of `model`.
    pub fn variant_for(&self, model: &Model) -> Model {
        self.pool.variant_for(model)
    }

    /// Copies the model in the folder `dir` in, once it was loaded and gave a vector.
    ///
    /// # Errors
    /// [`ModelsError`]; then nothing is left of it.
    pub async fn add(&self, dir: &Path) -> Result<Model, ModelsError> {
        let (registry, dir) = (self.registry.clone(), dir.to_owned());
        let model = blocking(move || registry.copy_in(&dir)).await?;
        let registry = self.registry.clone();
        // No other may stand in for it: this is its trial.
        match self.pool.embedder(&model).await {
            Ok(_) => {
                registry.admit(&model);
                Ok(model)
            }
            Err(error) => {
                blocking(move || registry.discard(&model)).await;
                Err(ModelsError::Unusable(error.to_string()))
            }
        }
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
        let (registry, pool, name) = (self.registry.clone(), self.pool.clone(), name.to_owned());
        let model = blocking(move || {
            let known = registry.fetchable(&name)?;
            // Of these, the file is as long as its weights.
            let bytes = known.hub_files().iter().filter_map(|file| file.bytes).max().unwrap_or(0);
            pool.refuse_too_large(&known, bytes).map_err(|error| ModelsError::Refused(error.to_string()))?;
            registry.fetch_in(&known, |file, to| hub.fetch(file, to, &progress))
        });
        let model = model.await?;
        // Its files are those that are known: it stays, whatever keeps it from being loaded now.
        self.pool.embedder(&model).await.map_err(|error| {
            ModelsError::Unusable(format!("{} is here, and cannot be loaded: {error}", model.full_name()))
        })?;
        Ok(model)
    }

    /// The model of this name, whole or broken, when it was added.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub fn find_added(&self, name: &str) -> Result<Installed, ModelsError> {
        self.registry.find_added(name)
    }

    /// Removes a model that was added. The caller has made sure that no grain needs it.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn remove(&self, added: Installed) -> Result<(), ModelsError> {
        let models = self.clone();
        blocking(move || {
            models.registry.remove(&added.name)?;
            if let Ok(model) = added.model {
                models.pool.unload(&model);
            }
            Ok(())
        })
        .await
    }

    /// How many questions and batches of documents wait for the models in memory.
    pub fn waiting(&self) -> (usize, usize) {
        self.pool.waiting()
    }

    /// Whether a model is in memory.
    pub fn presence(&self, model: &Model) -> Presence {
        self.pool.presence(model)
    }

    /// The vector of a question by `model`, which is loaded if need be.
    ///
    /// # Errors
    /// [`EmbedError`].
    #[cfg(test)]
    pub async fn question(&self, model: &Model, text: &str) -> Result<Vector, EmbedError> {
        self.questions(model, &[text.to_owned()]).await.map(|mut vectors| vectors.remove(0))
    }

    /// The vectors of questions by `model`, which is loaded if need be, in their order and as many as there are.
    ///
    /// # Errors
    /// [`EmbedError`]; all fail together.
    pub async fn questions(&self, model: &Model, texts: &[String]) -> Result<Vec<Vector>, EmbedError> {
        for _ in 1..MAX_TRIES {
            let vectors = self.embedder(model).await?.embed_questions(texts).await;
            if !self.was_unloaded(model, &vectors) {
                return vectors;
            }
        }
        self.embedder(model).await?.embed_questions(texts).await
    }

    /// The vectors of one batch of documents by `model`, which is loaded if need be, in its order.
    ///
    /// # Errors
    /// [`EmbedError`]; the whole batch fails together.
    pub async fn documents(&self, model: &Model, texts: &[Tokenized]) -> Result<Vec<Vector>, EmbedError> {
        for _ in 1..MAX_TRIES {
            let vectors = self.embedder(model).await?.embed_documents(texts.to_vec()).await;
            if !self.was_unloaded(model, &vectors) {
                return vectors;
            }
        }
        self.embedder(model).await?.embed_documents(texts.to_vec()).await
    }

    /// As [`Models::documents`], for somebody who waits for an answer: it overtakes what the indexer has embedded.
    ///
    /// # Errors
    /// [`EmbedError`]; the whole batch fails together.
    pub async fn documents_now(&self, model: &Model, texts: &[Tokenized]) -> Result<Vec<Vector>, EmbedError> {
        for _ in 1..MAX_TRIES {
            let vectors = self.embedder(model).await?.embed_documents_now(texts.to_vec()).await;
            if !self.was_unloaded(model, &vectors) {
                return vectors;
            }
        }
        self.embedder(model).await?.embed_documents_now(texts.to_vec()).await
    }

    /// Whether a model was unloaded between being found and being asked, so that it is to be asked once more.
    fn was_unloaded<T>(&self, model: &Model, result: &Result<T, EmbedError>) -> bool {
        let was = matches!(result, Err(EmbedError::Stopped)) && !self.pool.is_stopped();
        if was {
            self.pool.bury(model.id());
        }
        was
    }

    /// The tokenizer of `model`, which is loaded if need be.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub async fn tokenizer(&self, model: &Model) -> Result<Tokenizer, EmbedError> {
        Ok(self.embedder(model).await?.tokenizer().clone())
    }

    /// How runs of `model`, which is loaded if need be, are planned.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub async fn runs(&self, model: &Model) -> Result<Runs, EmbedError> {
        let provider = self.embedder(model).await?.provider();
        Ok(provider.runs(self.pool.computing().compute.run_tokens))
    }

    /// How many batches of documents `model`, which is loaded if need be, computes at once.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub async fn lanes(&self, model: &Model) -> Result<usize, EmbedError> {
        Ok(self.embedder(model).await?.lanes())
    }

    /// Loads a model, unless it is loaded.
    ///
    /// # Errors
    /// [`EmbedError::NotLoaded`] with the reason; the next use tries again.
    pub async fn warm(&self, model: &Model) -> Result<Provider, EmbedError> {
        Ok(self.embedder(model).await?.provider())
    }

    /// The way to a model, which is loaded if need be. Where its variant was taken unasked and does not keep its promise on this
    /// machine, another one of its space stands in: a node that computes more slowly is better than none.
    async fn embedder(&self, model: &Model) -> Result<EmbedderHandle, EmbedError> {
        let error = match self.pool.embedder(model).await {
            Err(error) if self.may_be_stood_in_for(model, &error) => error,
            answer => return answer,
        };
        let broken = self.pool.variant_for(model);
        let others = self.registry.variants_of(model.id()).into_iter();
        for other in others.filter(|other| other.full_name() != broken.full_name()) {
            if self.pool.change_variant(&other).await.is_ok() {
                tracing::warn!(%error, model = other.full_name(), "another variant stands in");
                return self.pool.embedder(&other).await;
            }
        }
        Err(error)
    }

    fn may_be_stood_in_for(&self, model: &Model, error: &EmbedError) -> bool {
        let EmbedError::NotLoaded(error) = error else { return false };
        let computing = self.pool.computing();
        let broken = self.pool.variant_for(model);
        let is_meant = self.registry.with_id(model.id(), &computing).map(|model| model.full_name());
        matches!(error.downcast_ref(), Some(IndexError::BrokenPromise { .. }))
            && computing.variant == Variant::Auto
            && is_meant.is_some_and(|name| name == broken.full_name())
    }
}

/// What these hold is whole after every statement, so a poisoned lock is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
