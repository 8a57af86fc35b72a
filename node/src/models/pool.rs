//! The models in memory, one of each space: loaded when they are used first, unloaded when others need the room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use synapsenet_index::{Compute, Embedder, Model, Provider, Runtime, Tokenizer};
use synapsenet_proto::SpaceId;
use tokio::sync::{oneshot, watch};

use super::plan::{MAX_SESSIONS, Plan};
use super::{Computing, Options, lock};
use crate::machine;
use crate::models::embedder::{EmbedError, EmbedderHandle, EmbedderThreads};

/// The models in memory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    start: Options,
    /// How the next one that is loaded is computed.
    computing: Mutex<Computing>,
    /// By their spaces.
    places: Mutex<HashMap<SpaceId, Place>>,
    /// Which variant computes a space, where it is not the one that is asked for.
    variants: Mutex<HashMap<SpaceId, Model>>,
    /// The space whose model is never unloaded.
    in_use: Mutex<Option<SpaceId>>,
    /// Held by whoever loads, so that two do not take the same room.
    loading: Mutex<()>,
    loaders: Mutex<Vec<JoinHandle<()>>>,
    /// Counts uses, to know which was longest ago.
    uses: AtomicU64,
    /// Only changed while `places` is held, so that no loader starts behind the back of whoever stops.
    is_stopped: AtomicBool,
}

type Outcome = Option<Result<EmbedderHandle, EmbedError>>;

/// What stands for a model that is, or will be, in memory.
enum Place {
    Loading(watch::Receiver<Outcome>),
    Loaded(Loaded),
}

struct Loaded {
    model: Model,
    /// How it is computed.
    computing: Computing,
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

impl Pool {
    /// A pool without a model.
    pub fn new(start: Options) -> Self {
        let inner = Inner {
            computing: Mutex::new(start.computing.clone()),
            start,
            places: Mutex::default(),
            variants: Mutex::default(),
            in_use: Mutex::default(),
            loading: Mutex::default(),
            loaders: Mutex::default(),
            uses: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What models are loaded with.
    pub fn start(&self) -> &Options {
        &self.inner.start
    }

    /// How the next one that is loaded is computed.
    pub fn computing(&self) -> Computing {
        lock(&self.inner.computing).clone()
    }

    /// Has those that are loaded next computed so. Answers how they were before.
    pub fn set_computing(&self, computing: Computing) -> Computing {
        std::mem::replace(&mut *lock(&self.inner.computing), computing)
    }

    /// Names the space whose model is never unloaded.
    pub fn set_in_use(&self, id: SpaceId) {
        *lock(&self.inner.in_use) = Some(id);
    }

    /// The variant that computes the space of `model`.
    pub fn variant_for(&self, model: &Model) -> Model {
        lock(&self.inner.variants).get(&model.id()).unwrap_or(model).clone()
    }

    /// Has this variant compute its space from the next time on that it is loaded.
    pub fn set_variant(&self, model: &Model) {
        lock(&self.inner.variants).insert(model.id(), model.clone());
    }

    /// Has this variant compute its space from now on. It is loaded first, unless it is loaded as models are computed now; what
    /// another is at work on is done by that. Answers whether anything changed.
    ///
    /// # Errors
    /// [`EmbedError::NotLoaded`] when it cannot be loaded; then all is as before.
    pub async fn change_variant(&self, model: &Model) -> Result<bool, EmbedError> {
        let changes = self.variant_for(model).full_name() != model.full_name();
        if self.is_loaded_as_now(model) {
            self.set_variant(model);
            return Ok(changes);
        }
        // Whatever is not in memory is loaded so at its next use anyway.
        let changes = changes || self.is_loaded(model);
        let (told, outcome) = oneshot::channel();
        {
            let _not_behind_the_back_of_whoever_stops = lock(&self.inner.places);
            if self.is_stopped() {
                return Err(EmbedError::Stopped);
            }
            let (pool, model) = (self.clone(), model.clone());
            self.start_loader(move || drop(told.send(pool.put_in_place(&model))));
        }
        outcome.await.unwrap_or_else(|_| Err(broken_off())).map(|()| changes)
    }

    fn is_loaded(&self, model: &Model) -> bool {
        matches!(self.presence(model), Presence::Loaded { .. })
    }

    /// Whether this variant is in memory, and computed as one that is loaded now would be.
    fn is_loaded_as_now(&self, model: &Model) -> bool {
        let now = self.computing();
        match lock(&self.inner.places).get(&model.id()) {
            Some(Place::Loaded(loaded)) => {
                loaded.model.full_name() == model.full_name() && loaded.computing.loads_as(&now)
            }
            _ => false,
        }
    }

    fn put_in_place(&self, model: &Model) -> Result<(), EmbedError> {
        let loaded = self.load(model).map_err(|error| EmbedError::NotLoaded(Arc::new(error)))?;
        let former = {
            let mut places = lock(&self.inner.places);
            self.set_variant(model);
            // Those of other spaces are loaded anew when they are used next.
            let is_outdated = |_: &SpaceId, place: &mut Place| matches!(place, Place::Loaded(other) if !other.computing.loads_as(&loaded.computing));
            let mut former: Vec<Place> = places.extract_if(is_outdated).map(|(_, place)| place).collect();
            former.extend(places.insert(model.id(), Place::Loaded(loaded)));
            former
        };
        former.into_iter().for_each(|place| self.let_go(Some(place)));
        Ok(())
    }

    fn start_loader(&self, work: impl FnOnce() + Send + 'static) {
        let loader = std::thread::Builder::new().name("model loader".into()).spawn(work);
        let mut loaders = lock(&self.inner.loaders);
        loaders.retain(|loader| !loader.is_finished());
        loaders.push(loader.expect("the system starts a thread"));
    }

    /// Whether this variant is in memory.
    pub fn presence(&self, model: &Model) -> Presence {
        match lock(&self.inner.places).get(&model.id()) {
            Some(Place::Loading(_)) if self.variant_for(model).full_name() == model.full_name() => {
                Presence::Loading
            }
            Some(Place::Loaded(loaded)) if loaded.model.full_name() == model.full_name() => {
                Presence::Loaded { provider: loaded.handle.provider(), bytes: loaded.bytes }
            }
            _ => Presence::Absent,
        }
    }

    /// How many questions and batches of documents wait for the models in memory.
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = |place: &Place| match place {
            Place::Loaded(loaded) => loaded.handle.waiting(),
            Place::Loading(_) => (0, 0),
        };
        let places = lock(&self.inner.places);
        places.values().map(waiting).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// What a space's model takes of the memory, when it is loaded.
    fn bytes_of(&self, id: SpaceId) -> u64 {
        match lock(&self.inner.places).get(&id) {
            Some(Place::Loaded(loaded)) => loaded.bytes,
            _ => 0,
        }
    }

    /// The way to a model, which is loaded if need be.
    ///
    /// # Errors
    /// [`EmbedError::NotLoaded`] with the reason; the next use tries again.
    pub async fn embedder(&self, model: &Model) -> Result<EmbedderHandle, EmbedError> {
        let mut waiting = match self.place_of(model) {
            Ok(handle) => return Ok(handle),
            Err(waiting) => waiting,
        };
        let told = waiting.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        match told {
            Some(outcome) => outcome,
            None if self.is_stopped() => Err(EmbedError::Stopped),
            None => {
                let mut places = lock(&self.inner.places);
                // Whoever waited as well may have started another loader meanwhile.
                if matches!(places.get(&model.id()), Some(Place::Loading(other)) if other.same_channel(&waiting))
                {
                    places.remove(&model.id());
                }
                Err(broken_off())
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
                let (pool, model) = (self.clone(), self.variant_for(model));
                self.start_loader(move || {
                    told.send_replace(Some(pool.load_into_place(&model)));
                });
                Err(waiting)
            }
        }
    }

    fn load_into_place(&self, model: &Model) -> Result<EmbedderHandle, EmbedError> {
        let loaded = self.load(model);
        let mut places = lock(&self.inner.places);
        match loaded {
            Ok(loaded) => {
                if let Some(Place::Loaded(other)) = places.get(&model.id()) {
                    // The variant was changed meanwhile.
                    let handle = other.handle.clone();
                    drop(places);
                    self.let_go(Some(Place::Loaded(loaded)));
                    return Ok(handle);
                }
                let handle = loaded.handle.clone();
                places.insert(model.id(), Place::Loaded(loaded));
                Ok(handle)
            }
            Err(error) => {
                if matches!(places.get(&model.id()), Some(Place::Loading(_))) {
                    places.remove(&model.id());
                }
                tracing::warn!(model = model.full_name(), %error, "a model was not loaded");
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
        let computing = self.computing();
        let plan = self.plan(model, graph.weight_bytes());
        let bytes = graph.weight_bytes().saturating_mul(plan.sessions() as u64);
        self.make_room(model, bytes)?;
        self.refuse_over_limit(model, graph.weight_bytes(), plan)?;
        let tokenizer = Tokenizer::new(model)?;
        let session = |threads| Embedder::new(&runtime, &graph, &Compute { threads, ..computing.compute });
        let mut first = session(plan.threads)?;
        let least_cosine = first.prove(model, &tokenizer)?;
        let others = (1..plan.documents).map(|_| session(plan.threads));
        let sessions = std::iter::once(Ok(first)).chain(others).collect::<Result<Vec<_>, _>>()?;
        let asked = plan.asked.map(session).transpose()?;
        let (handle, threads) = EmbedderHandle::start(
            tokenizer,
            sessions,
            asked,
            start.cache_entries,
            start.metrics.clone(),
            &start.alarm,
        );
        start.metrics.models_loaded.inc();
        let (provider, ms) = (handle.provider(), began.elapsed().as_millis() as u64);
        tracing::info!(model = model.full_name(), %provider, least_cosine, ms, "the model is loaded");
        let used = self.inner.uses.fetch_add(1, Ordering::Relaxed);
        Ok(Loaded { model: model.clone(), computing, handle, threads, bytes, used })
    }

    /// How a model whose weights take so many bytes is computed: with as many sessions as there is room for.
    fn plan(&self, model: &Model, weight_bytes: u64) -> Plan {
        let Options { budget_bytes, memory_limit, .. } = &self.inner.start;
        let Computing { compute, sessions, .. } = self.computing();
        // Another model, to which it may be changed, has to fit beside it.
        let by_budget = budget_bytes / 2 / weight_bytes.max(1);
        let held = machine::own_memory().unwrap_or(0);
        let fits = |sessions: &usize| {
            memory_limit
                .is_none_or(|limit| held.saturating_add(needed_to_load(weight_bytes, *sessions)) <= limit)
        };
        let most = usize::try_from(by_budget).unwrap_or(usize::MAX).min(MAX_SESSIONS + 1);
        let most = (1..=most).rev().find(fits).unwrap_or(1);
        Plan::new(model.arithmetic(), &compute, sessions, most)
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

    /// Whether a model whose weights take so many bytes in a session may be loaded beside the one in use.
    ///
    /// # Errors
    /// When it may not; the message says what to do.
    pub fn refuse_too_large(&self, model: &Model, weight_bytes: u64) -> anyhow::Result<()> {
        let bytes = weight_bytes.saturating_mul(self.plan(model, weight_bytes).sessions() as u64);
        let in_use = *lock(&self.inner.in_use);
        let taken = in_use.map_or(0, |id| self.bytes_of(id));
        if taken.saturating_add(bytes) <= self.inner.start.budget_bytes {
            return Ok(());
        }
        Err(self.no_room(model, bytes, taken))
    }

    /// A process that takes more than a container lets it have is killed without a word, so that is said before.
    fn refuse_over_limit(&self, model: &Model, weight_bytes: u64, plan: Plan) -> anyhow::Result<()> {
        let Some(limit) = self.inner.start.memory_limit else { return Ok(()) };
        let (held, needed) =
            (machine::own_memory().unwrap_or(0), needed_to_load(weight_bytes, plan.sessions()));
        if held.saturating_add(needed) <= limit {
            return Ok(());
        }
        anyhow::bail!(
            "the model {} takes about {} MiB while it is loaded, beside the {} MiB that this process holds, and its memory \
             limit is {} MiB: give the container or the service more memory, or take a smaller model",
            model.full_name(),
            mib(needed),
            mib(held),
            mib(limit),
        )
    }

    fn no_room(&self, model: &Model, bytes: u64, taken: u64) -> anyhow::Error {
        anyhow::anyhow!(
            "the model {} needs {} MiB beside the {} MiB of the model in use, and ai.memory_budget is {} MiB: raise it",
            model.full_name(),
            mib(bytes),
            mib(taken),
            mib(self.inner.start.budget_bytes),
        )
    }

    /// Clears the place of a model whose threads have ended unasked, so that the next use loads it again.
    pub fn bury(&self, id: SpaceId) {
        let mut places = lock(&self.inner.places);
        let is_dead = matches!(places.get(&id), Some(Place::Loaded(loaded)) if loaded.threads.have_ended());
        let place = if is_dead { places.remove(&id) } else { None };
        drop(places);
        self.let_go(place);
    }

    /// Unloads a model that is gone, and waits until it has done what it was given.
    pub fn unload(&self, model: &Model) {
        let place = {
            let mut places = lock(&self.inner.places);
            if self.variant_for(model).full_name() != model.full_name() {
                return;
            }
            lock(&self.inner.variants).remove(&model.id());
            places.remove(&model.id())
        };
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

    /// Whether nothing is embedded any more.
    pub fn is_stopped(&self) -> bool {
        self.inner.is_stopped.load(Ordering::Relaxed)
    }

    /// Ends all threads, and waits for them. Nothing is embedded any more.
    pub fn stop(&self) {
        let loaders = {
            let _no_loader_starts = lock(&self.inner.places);
            self.inner.is_stopped.store(true, Ordering::Relaxed);
            std::mem::take(&mut *lock(&self.inner.loaders))
        };
        for loader in loaders {
            // Its panic was the error of whoever waited for the model.
            let _ = loader.join();
        }
        let places = std::mem::take(&mut *lock(&self.inner.places));
        places.into_values().for_each(|place| self.let_go(Some(place)));
    }
}

fn broken_off() -> EmbedError {
    EmbedError::NotLoaded(Arc::new(anyhow::anyhow!("loading the model broke off; see the log")))
}

/// Bytes that loading takes at its worst: for each session its weights with what ONNX Runtime puts around them (1.2 of
/// them), and once the graph as it was read and is rewritten (1.6). Measured with the built-in models, whose peaks were
/// 2.7 (one session), 1.9 (each of two) and 1.5 (int8) of their weights.
fn needed_to_load(weight_bytes: u64, sessions: usize) -> u64 {
    let tenths = 12u64.saturating_mul(sessions as u64).saturating_add(16);
    (weight_bytes / 10).saturating_mul(tenths)
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
impl Pool {
    /// Holds up whoever loads a model, as a slow disk would.
    pub fn hold_up(&self) -> std::sync::MutexGuard<'_, ()> {
        lock(&self.inner.loading)
    }
}
