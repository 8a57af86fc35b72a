//! Calls about models: which there are, and using, adding, fetching and removing them.

use std::collections::HashMap;
use std::path::PathBuf;

use synapsenet_proto::SpaceId;
use tokio::sync::watch;
use tokio::task::JoinError;

use crate::calls::error::invalid;
use crate::calls::{Call, CallError};
use crate::memory::spaces::Spaces;
pub(crate) use crate::models::{FetchProgress, Installed, Presence};

/// The longest name or path that a call may carry.
const MAX_NAME_BYTES: usize = 4096;

/// A model, and what it is to this node.
pub(crate) struct ModelState {
    /// What is on disk of it.
    pub installed: Installed,
    /// Whether it is in memory. Absent, when it is broken.
    pub presence: Presence,
    /// Whether searches go by it.
    pub role: Role,
    /// Stored vectors of it.
    pub vectors: u64,
}

/// What a model is to searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What comes in is embedded for it.
    InUse,
    /// It finds what the one in use does not hold yet.
    Former,
    /// Nothing.
    None,
}

impl Call {
    /// Every model that is known here.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn models(&self) -> Result<Vec<ModelState>, CallError> {
        let (spaces, vectors) = self.model_facts().await?;
        let installed = self.parts.models.all();
        Ok(installed.into_iter().map(|model| self.model_state(model, &spaces, &vectors)).collect())
    }

    /// One of them by its name, in any case of letters.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn model(&self, name: &str) -> Result<ModelState, CallError> {
        check_name(name)?;
        let (spaces, vectors) = self.model_facts().await?;
        let models = &self.parts.models;
        let found = models.all().into_iter().find(|model| model.name.eq_ignore_ascii_case(name));
        let found = match found {
            Some(found) => found,
            // Says which there are.
            None => {
                let model = models.find(name)?;
                Installed { name: model.full_name(), model: Ok(model) }
            }
        };
        Ok(self.model_state(found, &spaces, &vectors))
    }

    /// Uses a model from now on. Answers it, whether another one was in use, and how many grains are to be embedded anew.
    ///
    /// # Errors
    /// [`CallError`]; then everything is as before.
    pub async fn use_model(&self, name: &str) -> Result<(ModelState, bool, u64), CallError> {
        self.note_about(name);
        check_name(name)?;
        let (switch, wanted) = (self.parts.switch.clone(), name.to_owned());
        // Whoever asks may hang up; what has begun is brought to its end.
        let switched = joined(tokio::spawn(async move { switch.use_model(&wanted).await }).await)??;
        let counts = self.read(|_, view| Ok(view.counts()?)).await?;
        let to_embed_anew = self.parts.memory.spaces().to_embed_anew(counts);
        Ok((self.model(name).await?, switched.changed, to_embed_anew))
    }

    /// Adds the model in a folder on the node's machine, given as an absolute path.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn add_model(&self, path: &str) -> Result<ModelState, CallError> {
        self.note_about(path);
        check_name(path)?;
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(invalid("path is not absolute: say where the folder is on the node's machine"));
        }
        let models = self.parts.models.clone();
        let model = joined(tokio::spawn(async move { models.add(&path).await }).await)??;
        self.model(&model.full_name()).await
    }

    /// Fetches a known model from the hub, telling how far it is. When nobody listens any more, it is given up.
    ///
    /// # Errors
    /// [`CallError`]; what came stays, and the next time goes on with it.
    pub async fn fetch_model(
        &self,
        name: &str,
        told: watch::Sender<FetchProgress>,
    ) -> Result<ModelState, CallError> {
        self.note_about(name);
        check_name(name)?;
        let (models, hub, wanted) = (self.parts.models.clone(), self.parts.hub.clone(), name.to_owned());
        // A task of its own: what has come whole is registered, though nobody waits for it any more.
        let fetching = tokio::spawn(async move { models.fetch(&wanted, hub, told).await });
        let model = tokio::select! {
            fetched = fetching => joined(fetched)??,
            () = self.stopping() => return Err(CallError::Stopping),
        };
        self.model(&model.full_name()).await
    }

    /// Removes a model that was added, with its vectors. Answers how many these were.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remove_model(&self, name: &str) -> Result<u64, CallError> {
        self.note_about(name);
        check_name(name)?;
        let (switch, name) = (self.parts.switch.clone(), name.to_owned());
        Ok(joined(tokio::spawn(async move { switch.remove(&name).await }).await)??)
    }

    /// Drops the vectors of a model that no grain needs. Answers how many there were.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn drop_vectors(&self, name: &str) -> Result<u64, CallError> {
        self.note_about(name);
        check_name(name)?;
        let (switch, name) = (self.parts.switch.clone(), name.to_owned());
        Ok(joined(tokio::spawn(async move { switch.drop_vectors(&name).await }).await)??)
    }

    async fn model_facts(&self) -> Result<(std::sync::Arc<Spaces>, HashMap<SpaceId, u64>), CallError> {
        let vectors = self.read(|_, view| Ok(view.models()?)).await?.into_iter().collect();
        Ok((self.parts.memory.spaces(), vectors))
    }

    fn model_state(
        &self,
        installed: Installed,
        spaces: &Spaces,
        vectors: &HashMap<SpaceId, u64>,
    ) -> ModelState {
        let Ok(model) = &installed.model else {
            return ModelState { installed, presence: Presence::Absent, role: Role::None, vectors: 0 };
        };
        let (id, models) = (model.id(), &self.parts.models);
        // Of the variants of a space, one computes it.
        let space = spaces.of(id).filter(|_| models.variant_for(model).full_name() == model.full_name());
        let role = match space {
            Some(space) if space.id() == spaces.current.id() => Role::InUse,
            Some(_) => Role::Former,
            None => Role::None,
        };
        let (presence, vectors) = (models.presence(model), vectors.get(&id).copied().unwrap_or(0));
        ModelState { installed, presence, role, vectors }
    }
}

/// What a task answers; its panic is told in the log.
fn joined<T>(result: Result<T, JoinError>) -> Result<T, CallError> {
    result.map_err(|error| CallError::Broken(anyhow::Error::new(error).context("the node failed")))
}

fn check_name(name: &str) -> Result<(), CallError> {
    match name.len() {
        0 => Err(invalid("no model is named")),
        1..=MAX_NAME_BYTES => Ok(()),
        bytes => Err(invalid(format!("the name has {bytes} bytes; at most {MAX_NAME_BYTES} are read"))),
    }
}
