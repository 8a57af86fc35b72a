//! Changing the model while the node runs: the new one is loaded first, then takes its place in one step.

use std::sync::Arc;

use synapsenet_index::Model;
use synapsenet_proto::SpaceId;
use synapsenet_storage::Change;
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::ingest::{Ingest, IngestError};
use crate::memory::spaces::{Fill, MAX_FORMER, Space};
use crate::models::embedder::EmbedError;
use crate::models::{Computing, Models, ModelsError};

/// Vectors that are dropped in one transaction: some tens of milliseconds, which others wait.
const DROPPED_AT_ONCE: usize = 4096;

/// Why the model is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwitchError {
    #[error(transparent)]
    Models(#[from] ModelsError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Its index cannot be opened.
    #[error("{0:#}")]
    Space(anyhow::Error),
}

/// What changing the model did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switched {
    /// False when it was in use already.
    pub changed: bool,
}

/// Changes the model. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Switch {
    memory: Arc<Memory>,
    models: Models,
    ingest: Ingest,
    /// Held by whoever changes or drops something; inside is the name that the configuration asks for.
    configured: Arc<Mutex<String>>,
}

impl Switch {
    /// `configured`: the model that the configuration names, or nothing.
    pub fn new(memory: Arc<Memory>, models: Models, ingest: Ingest, configured: String) -> Self {
        Self { memory, models, ingest, configured: Arc::new(Mutex::new(configured)) }
    }

    /// Uses the model of this name from now on. When this returns, searches and new grains go by it; grains that it has no
    /// vectors of are found by the model before it until they have.
    ///
    /// # Errors
    /// [`SwitchError`]; then everything is as before.
    pub async fn use_model(&self, name: &str) -> Result<Switched, SwitchError> {
        let configured = self.configured.lock().await;
        let model = self.models.find(name)?;
        let is_configured = |configured: &str| {
            self.models.find(configured).is_ok_and(|known| known.full_name() == model.full_name())
        };
        if !configured.is_empty() && !is_configured(&configured) {
            return Err(ModelsError::Refused(format!(
                "the configuration says ai.model = {configured:?}: change it there, and send the node a SIGHUP or start it again"
            ))
            .into());
        }
        self.change_to(name).await
    }

    /// Uses the model that a configuration read anew names, the one in use when it names none, and computes it as that says.
    ///
    /// # Errors
    /// As [`Switch::use_model`].
    pub async fn reconfigure(&self, name: &str, computing: Computing) -> Result<Switched, SwitchError> {
        let mut configured = self.configured.lock().await;
        let former = self.models.set_computing(computing);
        let switched = match name {
            "" => self.compute_current().await,
            name => self.change_to(name).await,
        };
        match switched {
            Ok(switched) => {
                name.clone_into(&mut configured);
                Ok(switched)
            }
            Err(error) => {
                self.models.set_computing(former);
                Err(error)
            }
        }
    }

    /// Has the space in use computed as its model would be if the node were started now.
    async fn compute_current(&self) -> Result<Switched, SwitchError> {
        let space = self.memory.current();
        let chosen = self.models.chosen().map_err(ModelsError::Failed)?;
        let chosen =
            chosen.and_then(|name| self.models.find(&name).ok()).filter(|model| model.id() == space.id());
        let model = match chosen {
            Some(model) => model,
            None => self.models.find(space.model.name())?,
        };
        self.compute_by(&model).await
    }

    /// Has this variant of the space in use compute it.
    async fn compute_by(&self, model: &Model) -> Result<Switched, SwitchError> {
        let changed = self.models.change_variant(model).await?;
        if changed {
            tracing::info!(
                model = model.full_name(),
                "the model is computed otherwise; nothing is embedded anew"
            );
        }
        Ok(Switched { changed })
    }

    async fn change_to(&self, name: &str) -> Result<Switched, SwitchError> {
        let model = self.models.find(name)?;
        // As it is spelled, and by the space where that is what was named.
        let name =
            if model.name().eq_ignore_ascii_case(name) { model.name().to_owned() } else { model.full_name() };
        let spaces = self.memory.spaces();
        if spaces.current.id() == model.id() {
            let switched = self.compute_by(&model).await?;
            self.models.choose(&name).await?;
            return Ok(switched);
        }
        let former = spaces.of(model.id()).cloned();
        if former.is_none() && spaces.former.len() >= MAX_FORMER {
            return Err(ModelsError::Refused(format!(
                "grains of {} models are still being embedded anew: wait until `synapsenet status` says that it is done, or \
                 go back to one of them",
                spaces.former.len() + 1
            ))
            .into());
        }
        self.models.change_variant(&model).await?;
        let space = match former {
            Some(space) => space,
            None => {
                let (memory, model) = (self.memory.clone(), model.clone());
                let open =
                    move || Space::open(&memory.store, model, &memory.index_dir, memory.hnsw, Fill::Later);
                Arc::new(blocking(open).await.map_err(SwitchError::Space)?)
            }
        };
        self.models.choose(&name).await?;
        self.models.set_in_use(model.id());
        self.memory.change_spaces(|spaces| Some(spaces.with_current(space)));
        tracing::info!(model = model.full_name(), "the model is changed");
        Ok(Switched { changed: true })
    }

    /// Removes a model that was added, with its vectors.
    ///
    /// # Errors
    /// [`SwitchError`]; a model that grains need is refused.
    pub async fn remove(&self, name: &str) -> Result<u64, SwitchError> {
        let _alone = self.configured.lock().await;
        let added = self.models.find_added(name)?;
        // The vectors first: without the model nobody could name them any more. Of a broken one they are not known.
        let dropped = match &added.model {
            Ok(model) if self.models.variants_of(model.id()).len() > 1 => {
                self.refuse_computing(model)?;
                0
            }
            Ok(model) => {
                self.refuse_needed(model.id(), &added.name)?;
                self.drop_all(model.id()).await?
            }
            Err(_) => 0,
        };
        self.models.remove(added).await?;
        Ok(dropped)
    }

    /// Drops the vectors of a model that no grain needs. Answers how many there were.
    ///
    /// # Errors
    /// [`SwitchError`].
    pub async fn drop_vectors(&self, name: &str) -> Result<u64, SwitchError> {
        let _alone = self.configured.lock().await;
        let model = self.models.find(name)?;
        self.refuse_needed(model.id(), &model.full_name())?;
        self.drop_all(model.id()).await
    }

    /// Refuses to take a variant away that computes, though another one of its space would stay.
    fn refuse_computing(&self, model: &Model) -> Result<(), ModelsError> {
        let is_needed = self.memory.spaces().of(model.id()).is_some();
        if is_needed && self.models.variant_for(model).full_name() == model.full_name() {
            let name = model.full_name();
            return Err(ModelsError::Refused(format!(
                "the model {name} is in use: use another variant of {} first",
                model.name()
            )));
        }
        Ok(())
    }

    fn refuse_needed(&self, id: SpaceId, name: &str) -> Result<(), ModelsError> {
        let spaces = self.memory.spaces();
        if spaces.current.id() == id {
            return Err(ModelsError::Refused(format!("the model {name} is in use: use another one first")));
        }
        if spaces.of(id).is_some() {
            return Err(ModelsError::Refused(format!(
                "grains are still found by the model {name}: wait until `synapsenet status` says that all are embedded anew"
            )));
        }
        Ok(())
    }

    async fn drop_all(&self, model: SpaceId) -> Result<u64, SwitchError> {
        // The saved index goes first: one that has what the store has not would never get it again.
        let dir = self.memory.index_dir.clone();
        let forgotten = blocking(move || Space::forget(&dir, model)).await;
        forgotten.map_err(|error| {
            let context = "cannot remove the saved index of the model; its vectors stay";
            SwitchError::Space(anyhow::Error::new(error).context(context))
        })?;
        let mut dropped = 0;
        // Grains that had no other vector are pending again: the indexer sees it after each commit.
        loop {
            let change = Change::DropVectors { model, limit: DROPPED_AT_ONCE };
            match self.ingest.apply(vec![change]).await?.first() {
                Some(synapsenet_storage::Outcome::Dropped { count }) if *count > 0 => dropped += count,
                _ => break,
            }
        }
        Ok(dropped)
    }
}
