//! Opening what lies in the data folder: the store, the keys, the models, and the spaces that answer from the start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use prometheus_client::registry::Registry;
use synapsenet_index::{Compute, HnswOptions, Model, find_runtime};
use synapsenet_proto::Identity;
use synapsenet_storage::{Change, Outcome, Store, StoreOptions};

use crate::config::{AiConfig, Config};
use crate::data_folder::{DATABASE, INDEX, MODELS, keeps_modes, private_dir};
use crate::identity;
use crate::machine;
use crate::memory::Memory;
use crate::memory::emergence::{Scores, Uses};
use crate::memory::spaces::{Fill, MAX_FORMER, Space, Spaces};
use crate::memory::words::WordIndex;
use crate::metrics::Metrics;
use crate::models::{self, Computing, Models, Variant};
use crate::tasks::Alarm;

/// Searches that walk the index at the same time; more wait for each other.
const MAX_CONCURRENT_SEARCHES: usize = 16;
/// Models that were part of the program once.
const GONE: [&str; 1] = ["all-MiniLM-L6-v2-int8"];

/// What [`open`] makes from the data folder before anything runs.
pub(crate) struct Opened {
    /// The store and the spaces.
    pub memory: Memory,
    /// The keys.
    pub identity: Identity,
    /// What is measured.
    pub registry: Registry,
    /// The models, of which none is loaded.
    pub models: Models,
}

/// Opens everything in the data folder: the store first, because its lock proves that nobody else uses the folder. Threads
/// that are started later raise the `alarm` when they panic.
///
/// # Errors
/// When the folder or something in it cannot be used; the message says what to do.
pub(crate) fn open(data_dir: &Path, config: &Config, alarm: &Alarm) -> anyhow::Result<Opened> {
    make_private_dir(data_dir)?;
    refuse_open_folder(data_dir)?;
    let options = StoreOptions { cache_bytes: config.storage.cache_bytes };
    let database = data_dir.join(DATABASE);
    let store =
        Store::open(&database, &options).with_context(|| format!("cannot use {}", database.display()))?;
    let identity = identity::load_or_create(data_dir)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let models = Models::open(models_options(config, data_dir, &metrics, alarm)?)?;
    let model = model_in_use(&models, &config.ai)?;
    models.set_in_use(model.id());
    models.set_variant(&model);
    let index_dir = data_dir.join(INDEX);
    make_private_dir(&index_dir)?;
    sweep(&index_dir);
    rename_former(&store, &models, &index_dir)?;
    let hnsw = HnswOptions {
        m: config.storage.hnsw_m,
        ef_construction: config.storage.hnsw_ef_construction,
        ef_search: config.storage.hnsw_ef_search,
        max_elements: config.storage.hnsw_max_elements,
        max_searches: MAX_CONCURRENT_SEARCHES,
    };
    // The slow parts of a start have nothing to do with each other.
    let (spaces, words, checked) = std::thread::scope(|scope| {
        // What is part of the program is as it was built; its files are checked when they are loaded.
        let checking = scope.spawn(|| if model.is_built_in() { Ok(()) } else { model.check() });
        let reading = scope.spawn(|| WordIndex::open(&store, &index_dir));
        let spaces = open_spaces(&store, &models, model.clone(), &index_dir, hnsw);
        let words = reading.join().expect("opening the index of words does not panic");
        (spaces, words, checking.join().expect("checking a model does not panic"))
    });
    checked?;
    let spaces = spaces?;
    let words = words?;
    let scores = Scores::open(&store, &index_dir, &config.emergence)?;
    let uses = Uses::open(&store, config.emergence.enabled && config.emergence.track_access)?;
    let memory = Memory::new(store, words, (scores, uses), spaces, index_dir, hnsw, metrics);
    memory.read_rules()?;
    Ok(Opened { memory, identity, registry, models })
}

/// The space of the model in use, and while it does not hold every grain, those of the models before it.
fn open_spaces(
    store: &Store,
    models: &Models,
    model: Model,
    index_dir: &Path,
    hnsw: HnswOptions,
) -> anyhow::Result<Spaces> {
    let open = |model, fill| Space::open(store, model, index_dir, hnsw, fill).map(Arc::new);
    let view = store.view()?;
    let counts = view.counts()?;
    let wanted = counts.notes.saturating_sub(counts.pending);
    // In the middle of a change, the indexer fills it while the former spaces answer; otherwise it has to answer at once.
    let is_changing = view.vector_count(model.id())? < wanted;
    let current = open(model, if is_changing { Fill::Later } else { Fill::Now })?;
    if current.hnsw.len() as u64 >= wanted {
        return Ok(Spaces::one(current));
    }
    // Those that hold most come first; one that holds all is enough.
    let mut former = Vec::new();
    for (id, count) in view.models()?.into_iter().filter(|(id, _)| *id != current.id()) {
        let Some(model) = models.with_id(id) else { continue };
        former.push(open(model, Fill::Now)?);
        if count >= wanted || former.len() == MAX_FORMER {
            break;
        }
    }
    Ok(Spaces::incomplete(current.clone(), former))
}

/// The model that the configuration names, else the one that was chosen last, else the built-in space. Of a space, the variant that
/// is meant.
fn model_in_use(models: &Models, ai: &AiConfig) -> anyhow::Result<Model> {
    if !ai.model.is_empty() {
        return models.find(&ai.model).context("ai.model cannot be used");
    }
    let built_in = Model::built_in()?;
    match models.chosen()? {
        None => Ok(models.find(built_in.name())?),
        Some(name) if GONE.contains(&name.as_str()) => {
            tracing::warn!(name, "the model is no longer part of the program; its grains are embedded anew");
            Ok(models.find(built_in.name())?)
        }
        Some(name) => models.find(&name).with_context(|| {
            format!("the model {name}, which was in use, cannot be used: bring it back, or name another with ai.model")
        }),
    }
}

/// What the models of the node of a data folder are loaded with.
///
/// # Errors
/// When what the configuration says cannot be used.
pub(crate) fn models_options(
    config: &Config,
    data_dir: &Path,
    metrics: &Metrics,
    alarm: &Alarm,
) -> anyhow::Result<models::Options> {
    let ai = &config.ai;
    let configured = (!ai.onnxruntime.is_empty()).then(|| Path::new(&ai.onnxruntime));
    Ok(models::Options {
        dir: data_dir.join(MODELS),
        library: find_runtime(configured)?,
        computing: computing(ai)?,
        budget_bytes: ai.memory_budget,
        memory_limit: machine::memory_limit(),
        cache_entries: ai.cache_entries,
        metrics: metrics.clone(),
        alarm: alarm.clone(),
    })
}

/// How models are computed, as the configuration says.
///
/// # Errors
/// When it names something that there is not.
pub(crate) fn computing(ai: &AiConfig) -> anyhow::Result<Computing> {
    let threads = match ai.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let compute = Compute {
        provider: ai.provider.parse()?,
        device: i32::try_from(ai.device)?,
        fallback: ai.fallback,
        threads,
        run_tokens: ai.batch_tokens,
    };
    Ok(Computing { compute, variant: Variant::from_config(&ai.variant), sessions: ai.sessions })
}

/// Gives vectors that lie under the ids which models had before to their spaces: of two variants, those of which there are more.
fn rename_former(store: &Store, models: &Models, index_dir: &Path) -> anyhow::Result<()> {
    let installed: Vec<Model> =
        models.all().into_iter().filter_map(|installed| installed.model.ok()).collect();
    for (former, count) in store.view()?.models()? {
        let is_former = |model: &&Model| model.former_id() == former && model.id() != former;
        let Some(model) = installed.iter().find(is_former) else { continue };
        let outcome = store.write(vec![Change::RenameModel { from: former, to: model.id() }])?;
        if outcome == [Outcome::Changed] {
            tracing::info!(space = model.name(), count, "vectors go over to the id of their space");
        }
        if let Err(error) = Space::forget(index_dir, former) {
            tracing::warn!(%error, "the saved index of a former id was not removed");
        }
    }
    Ok(())
}

/// Removes files beside the folders of the indexes: an earlier layout had one index there. That it fails costs space alone.
fn sweep(index_dir: &Path) {
    for entry in std::fs::read_dir(index_dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "an old index was not removed");
        }
    }
}

/// Refuses a data folder that others may look into: in it lie the grains, private ones too, and the socket that lets in whoever
/// reaches it. Where the file system keeps no permissions, the identity in it is refused with what can be done there.
fn refuse_open_folder(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    let looking = || format!("cannot look at {shown}");
    let mode = std::fs::metadata(dir).with_context(looking)?.permissions().mode();
    if mode & 0o077 != 0 && keeps_modes(dir).with_context(looking)? {
        bail!(
            "the data folder {shown} is open to others (mode {:03o}), and with it every private grain: run `chmod 700 {shown}`",
            mode & 0o777
        );
    }
    Ok(())
}

fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    private_dir(dir)
        .with_context(|| format!("cannot make the folder {}: name another with --data-dir", dir.display()))
}

#[cfg(test)]
mod tests {
    use synapsenet_proto::Vector;

    use super::*;
    use crate::memory::VECTOR_ENCODING;
    use crate::testing::{author, note};

    #[test]
    fn vectors_under_the_id_that_a_variant_had_go_over_to_its_space() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        private_dir(&data).unwrap();
        let model = Model::built_in().unwrap();
        let grain = note(&author(1), "said long ago");
        {
            let store = Store::open(&data.join(DATABASE), &StoreOptions::default()).unwrap();
            let put = Change::Put {
                grain: grain.clone(),
                shared: false,
                received_ms: 1,
                claim: None,
                origin: synapsenet_storage::Origin::Here,
                lane: synapsenet_storage::LANE_OWN,
            };
            let vector = Vector::new(model.former_id(), vec![0.5; model.dimension()]).unwrap();
            let vector = vector.encode(VECTOR_ENCODING);
            store.write(vec![put, Change::AddVector { slot: 1, vector }]).unwrap();
        }
        let saved = data.join(INDEX).join(&model.former_id().to_string()[..16]);
        std::fs::create_dir_all(&saved).unwrap();
        let (alarm, _) = Alarm::new();
        let opened = open(&data, &Config::default(), &alarm).unwrap();
        let space = opened.memory.current();
        assert_eq!((space.id(), space.hnsw.len()), (model.id(), 1));
        assert_eq!(opened.memory.store.view().unwrap().models().unwrap(), [(model.id(), 1)]);
        assert!(!saved.exists());
    }

    #[test]
    fn a_data_folder_that_is_open_to_others_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let set = |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o755, 0o750, 0o701] {
            set(mode);
            let message = refuse_open_folder(dir.path()).unwrap_err().to_string();
            assert!(message.contains(&format!("{mode:o}")) && message.contains("chmod 700"), "{message}");
        }
        set(0o700);
        refuse_open_folder(dir.path()).unwrap();
        let made = dir.path().join("made/below");
        private_dir(&made).unwrap();
        refuse_open_folder(&made).unwrap();
    }
}
