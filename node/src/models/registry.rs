//! The models on disk: those that are part of the program, and one folder each for those that were added.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use synapsenet_index::{DESCRIPTION, HubFile, IndexError, Model};
use synapsenet_proto::SpaceId;

use super::fetch::MAX_STALLED_SECONDS;
use super::{Computing, Variant, lock};
use crate::data_folder::{self, private_dir};

/// Holds the name of the model that was chosen last.
const CHOSEN: &str = "chosen";
/// Folders that are not whole yet begin so; a model's name never begins with a dot.
const PARTIAL: &str = ".partial-";
/// Models that may be added: a list that people read.
const MAX_MODELS: usize = 64;
/// The longest file of a model. Published models for short texts are below 2 GiB, which is also the most that one ONNX
/// file can hold.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// Why something cannot be done with a model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelsError {
    /// There is no model of this name.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// The model is there and cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// A file could not be read, written or fetched.
    #[error("{0:#}")]
    Failed(anyhow::Error),
    /// Whoever asked for it has gone.
    #[error("nobody waits for it any more")]
    GivenUp,
}

impl From<IndexError> for ModelsError {
    fn from(error: IndexError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// A model that is on disk, or what is wrong with it.
#[derive(Clone)]
pub(crate) struct Installed {
    /// What it is called: [`Model::full_name`], or of a broken one its folder.
    pub name: String,
    /// The model, or why it cannot be used.
    pub model: Result<Model, String>,
}

pub(super) struct Registry {
    dir: PathBuf,
    models: Mutex<Vec<Installed>>,
    known: Vec<Model>,
    /// Held by whoever changes the folder; only for as long as that takes, and not while a model is fetched.
    changing: Mutex<()>,
    /// The names of the models that are being fetched.
    fetching: Mutex<HashSet<String>>,
}

/// Takes the name of a model off the list of those that are being fetched, when it is dropped.
struct Fetching<'a> {
    names: &'a Mutex<HashSet<String>>,
    name: String,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        lock(self.names).remove(&self.name);
    }
}

impl Registry {
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let usable = |model: Model| Installed { name: model.full_name(), model: Ok(model) };
        let mut models: Vec<Installed> = Model::all_built_in()?.into_iter().map(usable).collect();
        let known = Model::known()?;
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let mut folders: Vec<PathBuf> = entries
            .with_context(|| format!("cannot read the folder of models {}", dir.display()))?
            .iter()
            .map(fs::DirEntry::path)
            .filter(|path| path.is_dir())
            .collect();
        let is_missing = |model: &&Model| !dir.join(model.full_name()).exists();
        let begun: Vec<String> = known.iter().filter(is_missing).map(being_fetched).collect();
        folders.iter().filter(|path| begins_with(path, PARTIAL)).for_each(|path| sweep(path, &begun));
        // Whatever else is hidden is somebody's own.
        folders.retain(|path| !begins_with(path, "."));
        folders.sort();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let model = match Model::from_dir(&folder) {
                Ok(model) if model.full_name() == name => Ok(model),
                Ok(model) => Err(format!("{} lies in a folder of another name", model.full_name())),
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = &model {
                tracing::warn!(name, reason, "a model cannot be used");
            }
            if models.iter().all(|known| known.name != name) {
                models.push(Installed { name, model });
            }
        }
        let (changing, fetching, models) = (Mutex::default(), Mutex::default(), Mutex::new(models));
        Ok(Self { dir: dir.to_owned(), models, known, changing, fetching })
    }

    pub fn all(&self) -> Vec<Installed> {
        let mut models = lock(&self.models).clone();
        for known in &self.known {
            let name = known.full_name();
            if models.iter().all(|installed| installed.name != name) {
                models.push(Installed { name, model: Ok(known.clone()) });
            }
        }
        models
    }

    /// The model of this name; of the name of a space, the variant that is meant.
    pub fn find(&self, name: &str, computing: &Computing) -> Result<Model, ModelsError> {
        let all = self.all();
        if all.iter().all(|installed| !installed.name.eq_ignore_ascii_case(name)) {
            let mut usable = all.into_iter().filter_map(|installed| installed.model.ok());
            let of_space = usable.find(|model| is_usable(model) && model.name().eq_ignore_ascii_case(name));
            if let Some(model) = of_space {
                return meant(&self.variants_of(model.id()), computing);
            }
        }
        let Installed { name, model } = self.find_any(name)?;
        let unusable = |reason| ModelsError::Unusable(format!("the model {name} cannot be used: {reason}"));
        let model = model.map_err(unusable)?;
        if !model.hub_files().is_empty() {
            return Err(not_here(&name));
        }
        Ok(model)
    }

    /// All variants of a space that can be used.
    pub fn variants_of(&self, id: SpaceId) -> Vec<Model> {
        let models = lock(&self.models);
        let usable = models.iter().filter_map(|installed| installed.model.as_ref().ok());
        usable.filter(|model| model.id() == id).cloned().collect()
    }

    /// The variant of a space that is meant, or another one if that is not here.
    pub fn with_id(&self, id: SpaceId, computing: &Computing) -> Option<Model> {
        let variants = self.variants_of(id);
        meant(&variants, computing).ok().or_else(|| variants.first().cloned())
    }

    /// The model of this name, whole or broken, when it was added.
    pub fn find_added(&self, name: &str) -> Result<Installed, ModelsError> {
        let found = self.find_any(name)?;
        match &found.model {
            Ok(model) if model.is_built_in() => {
                let name = &found.name;
                Err(ModelsError::Refused(format!("the model {name} is part of the program; it stays")))
            }
            Ok(model) if !model.hub_files().is_empty() => Err(not_here(&found.name)),
            _ => Ok(found),
        }
    }

    /// What is listed under this name.
    fn find_any(&self, name: &str) -> Result<Installed, ModelsError> {
        let mut models = self.all();
        match models.iter().position(|installed| installed.name.eq_ignore_ascii_case(name)) {
            Some(at) => Ok(models.swap_remove(at)),
            None => {
                let names: Vec<&str> = models.iter().map(|installed| installed.name.as_str()).collect();
                let names = names.join(", ");
                Err(ModelsError::NotFound(format!("there is no model {name:?}; there are {names}")))
            }
        }
    }

    /// The model of this name, when it is known and not here yet.
    pub fn fetchable(&self, name: &str) -> Result<Model, ModelsError> {
        let is_meant = |model: &&Model| {
            model.full_name().eq_ignore_ascii_case(name) || model.name().eq_ignore_ascii_case(name)
        };
        let Some(model) = self.known.iter().find(is_meant) else {
            let names: Vec<String> = self.known.iter().map(Model::full_name).collect();
            return Err(ModelsError::NotFound(format!(
                "no model {name:?} is known; those that can be fetched are {}",
                names.join(", ")
            )));
        };
        self.refuse_known(model)?;
        Ok(model.clone())
    }

    fn refuse_known(&self, model: &Model) -> Result<(), ModelsError> {
        let name = model.full_name();
        let models = lock(&self.models);
        let taken = models.iter().any(|installed| installed.name.eq_ignore_ascii_case(&name));
        if taken {
            return Err(ModelsError::Refused(format!("the model {name} is here already")));
        }
        let is_same =
            |known: &Model| known.id() == model.id() && known.graph_sha256() == model.graph_sha256();
        let same = models.iter().find(|installed| installed.model.as_ref().is_ok_and(is_same));
        if let Some(same) = same {
            return Err(ModelsError::Refused(format!(
                "this is the model {}, which is here already",
                same.name
            )));
        }
        if models.len() >= MAX_MODELS {
            return Err(ModelsError::Refused(format!("there are {MAX_MODELS} models: remove one first")));
        }
        Ok(())
    }

    /// Copies a model's folder in and checks the copy. It is not listed before [`Registry::admit`].
    pub fn copy_in(&self, source: &Path) -> Result<Model, ModelsError> {
        let _alone = lock(&self.changing);
        let model = Model::from_dir(source)?;
        self.refuse_known(&model)?;
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(self.make_dir()?)
            .map_err(|error| failed(&self.dir, "cannot write to", error))?;
        for name in model.file_names() {
            copy(&source.join(name), &partial.path().join(name))?;
        }
        Model::from_dir(partial.path())?.check()?;
        // What is left behind, when it cannot take its place, goes with `partial`.
        self.put_in_place(partial.path(), &model)
    }

    /// Fetches the files of a known model with `fetch` into a folder that outlives an interruption, checks them, and lists
    /// the model.
    pub fn fetch_in(
        &self,
        known: &Model,
        mut fetch: impl FnMut(&HubFile, &Path) -> Result<(), ModelsError>,
    ) -> Result<Model, ModelsError> {
        let _fetching = self.begin_fetching(known)?;
        self.refuse_known(known)?;
        let partial = self.make_dir()?.join(being_fetched(known));
        fs::create_dir_all(&partial).map_err(|error| failed(&partial, "cannot make the folder", error))?;
        for file in known.hub_files() {
            fetch(&file, &partial.join(&file.name))?;
        }
        let description = partial.join(DESCRIPTION);
        data_folder::write(&description, known.hub_description().as_bytes())
            .map_err(|error| failed(&description, "cannot write", error))?;
        Model::from_dir(&partial)?.check()?;
        let _alone = lock(&self.changing);
        self.refuse_known(known)?;
        let model = self.put_in_place(&partial, known)?;
        self.admit(&model);
        Ok(model)
    }

    fn begin_fetching(&self, known: &Model) -> Result<Fetching<'_>, ModelsError> {
        let name = known.full_name();
        if !lock(&self.fetching).insert(name.clone()) {
            return Err(ModelsError::Refused(format!(
                "the model {name} is being fetched already; a connection that stalled is given up after {MAX_STALLED_SECONDS} seconds"
            )));
        }
        Ok(Fetching { names: &self.fetching, name })
    }

    fn put_in_place(&self, partial: &Path, model: &Model) -> Result<Model, ModelsError> {
        let place = self.dir.join(model.full_name());
        if place.exists() {
            let place = place.display();
            return Err(ModelsError::Refused(format!(
                "there is a folder {place} already: is the model being added?"
            )));
        }
        fs::rename(partial, &place).map_err(|error| failed(&place, "cannot make the folder", error))?;
        sync_dir(&self.dir);
        Ok(Model::from_dir(&place)?)
    }

    /// Lists a model whose folder is in place.
    pub fn admit(&self, model: &Model) {
        lock(&self.models).push(Installed { name: model.full_name(), model: Ok(model.clone()) });
    }

    /// Removes the folder of a model that was not admitted.
    pub fn discard(&self, model: &Model) {
        let place = self.dir.join(model.full_name());
        if let Err(error) = fs::remove_dir_all(&place) {
            tracing::warn!(%error, path = %place.display(), "a model that cannot be used was not removed");
        }
    }

    /// Removes the folder of a model that was added.
    pub fn remove(&self, name: &str) -> Result<(), ModelsError> {
        let _alone = lock(&self.changing);
        let place = self.dir.join(name);
        // Out of sight in one step, so that a model is whole or gone whenever the machine stops.
        let going = self.dir.join(format!("{PARTIAL}removed-{name}"));
        fs::rename(&place, &going).map_err(|error| failed(&place, "cannot remove", error))?;
        lock(&self.models).retain(|installed| installed.name != name);
        if let Err(error) = fs::remove_dir_all(&going) {
            tracing::warn!(%error, path = %going.display(), "what is left of a model is removed at the next start");
        }
        Ok(())
    }

    pub fn chosen(&self) -> anyhow::Result<Option<String>> {
        let path = self.dir.join(CHOSEN);
        match fs::read_to_string(&path) {
            Ok(name) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub fn choose(&self, name: &str) -> Result<(), ModelsError> {
        let path = self.make_dir()?.join(CHOSEN);
        data_folder::write(&path, format!("{name}\n").as_bytes())
            .map_err(|error| failed(&path, "cannot write", error))?;
        Ok(())
    }

    fn make_dir(&self) -> Result<&Path, ModelsError> {
        private_dir(&self.dir).map_err(|error| failed(&self.dir, "cannot make the folder", error))?;
        Ok(&self.dir)
    }
}

/// Which of some variants of a space is meant.
fn meant(variants: &[Model], computing: &Computing) -> Result<Model, ModelsError> {
    let found = match &computing.variant {
        Variant::Auto => Model::best(variants, computing.compute.provider),
        Variant::Named(name) => variants.iter().find(|model| model.variant().eq_ignore_ascii_case(name)),
    };
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = variants.iter().map(Model::variant).collect();
        let (space, names) = (variants.first().map_or("", Model::name), names.join(", "));
        ModelsError::NotFound(format!(
            "ai.variant is \"{}\", and of {space} there are {names}: name one of these, or \"auto\"",
            computing.variant
        ))
    })
}

fn is_usable(model: &Model) -> bool {
    model.hub_files().is_empty()
}

fn not_here(name: &str) -> ModelsError {
    ModelsError::Refused(format!(
        "the model {name} is known and not on this machine: `synapsenet models fetch {name}` gets it"
    ))
}

/// The folder of a model that is being fetched.
fn being_fetched(model: &Model) -> String {
    format!("{PARTIAL}{}", model.full_name())
}

/// Removes what a crash left of adding or removing a model, unless it is one of those that were `begun`: they can be fetched on.
fn sweep(partial: &Path, begun: &[String]) {
    if begun.iter().all(|name| !partial.ends_with(name))
        && let Err(error) = fs::remove_dir_all(partial)
    {
        tracing::warn!(%error, path = %partial.display(), "the rest of a model was not removed");
    }
}

fn begins_with(path: &Path, beginning: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning))
}

fn failed(path: &Path, doing: &str, error: std::io::Error) -> ModelsError {
    ModelsError::Failed(anyhow::Error::new(error).context(format!("{doing} {}", path.display())))
}

fn copy(from: &Path, to: &Path) -> Result<(), ModelsError> {
    let file = fs::metadata(from).map_err(|error| failed(from, "cannot read", error))?;
    if !file.is_file() || file.len() > MAX_FILE_BYTES {
        let reason = format!("{} is no file of at most {MAX_FILE_BYTES} bytes", from.display());
        return Err(ModelsError::Unusable(reason));
    }
    fs::copy(from, to).map_err(|error| failed(from, "cannot copy", error))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|error| failed(to, "cannot write", error))
}

/// Makes the names in a folder durable. Where that fails, a crash may leave a model out, which is then added again.
fn sync_dir(dir: &Path) {
    if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
        tracing::warn!(%error, path = %dir.display(), "the folder of models was not synced");
    }
}
