//! Vectors to neighbours: a hierarchical navigable small world graph (Malkov and Yashunin, 2016, arXiv:1603.09320).
//!
//! The graph holds each vector in 8 bits a component, all by one scale, so that the product of two is as good as their cosine: for a
//! cosine the graph library computes both lengths anew with each pair (benches/README.md has what that costs). That is a quarter of
//! the memory of f32 and finds nearly the same neighbours, but their order is only roughly right: ask for more than you need, and
//! rank them by the exact vectors.

mod snapshot;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use synapsenet_proto::{MAX_DIMENSION, SpaceId, Vector};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use crate::IndexError;
use crate::gate::Gate;
use crate::quantised::{dot, quantise_asked, quantise_held, unit};

/// Room for vectors that a new graph starts with; it doubles whenever it is full.
const FIRST_CAPACITY: usize = 1024;
/// Vectors that each thread adds before waiting searches get their turn: some milliseconds of work.
const SLICE_PER_THREAD: usize = 8;
/// The most threads that add at once: beyond this the graph's own locks cost more than the threads bring.
const MAX_ADDERS: usize = 16;
/// Marks a removed vector within the graph, so no vector can have it.
const RESERVED_KEY: u64 = u64::MAX;
/// The widest graph that makes sense; its memory grows by 8 bytes a vector for each step of M.
const MAX_M: usize = 256;

/// What a graph is made of, and how much of it there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HnswOptions {
    /// Links of a vector on each upper level, twice as many at the bottom (M of the paper).
    pub m: usize,
    /// Candidates that are weighed when a vector is added.
    pub ef_construction: usize,
    /// Candidates that a search weighs where it does not say otherwise.
    pub ef_search: usize,
    /// The most vectors that it may hold.
    pub max_elements: usize,
    /// Searches that may run at once; more wait.
    pub max_searches: usize,
}

impl Default for HnswOptions {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, ef_search: 112, max_elements: 1_000_000, max_searches: 16 }
    }
}

/// A vector that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// The key it was added with.
    pub key: u64,
    /// The approximate cosine of its angle to the question, off by less than 0.02.
    pub similarity: f32,
}

/// An approximate nearest-neighbour index over the vectors of one model. All of it may be used from many threads:
/// searches run at the same time, and wait while a few vectors are being added.
pub struct Hnsw {
    model: SpaceId,
    dimension: usize,
    options: HnswOptions,
    /// Threads that add at once.
    adders: usize,
    index: Index,
    /// Guards `index`: searches pass as shared, whatever changes it as exclusive.
    gate: Gate,
    /// Held by whoever adds, removes or saves. Who goes through the gate as exclusive holds it.
    writer: Mutex<Writer>,
}

/// What only a writer needs.
struct Writer {
    /// Places in the graph that removed vectors left; added vectors fill them first.
    vacant: usize,
}

impl Hnsw {
    /// Makes an empty index for vectors of `model`, which have `dimension` components.
    ///
    /// # Errors
    /// [`IndexError::BadOption`] for a dimension or option out of range.
    pub fn new(model: SpaceId, dimension: usize, options: HnswOptions) -> Result<Self, IndexError> {
        check_options(dimension, &options)?;
        let index = Index::new(&IndexOptions {
            dimensions: dimension,
            metric: MetricKind::IP,
            quantization: ScalarKind::I8,
            connectivity: options.m,
            expansion_add: options.ef_construction,
            // A search names its number of candidates itself; see `wanted`.
            expansion_search: 1,
            multi: false,
        })
        .map_err(graph("making the graph"))?;
        let adders = thread::available_parallelism().map_or(1, usize::from).min(MAX_ADDERS);
        let gate = Gate::new(options.max_searches);
        let writer = Mutex::new(Writer { vacant: 0 });
        let hnsw = Self { model, dimension, options, adders, index, gate, writer };
        hnsw.reserve(FIRST_CAPACITY.min(options.max_elements))?;
        Ok(hnsw)
    }

    /// The model whose vectors it holds.
    #[must_use]
    pub fn model(&self) -> SpaceId {
        self.model
    }

    /// How many components its vectors have.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &HnswOptions {
        &self.options
    }

    /// How many vectors it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        let _pass = self.gate.shared();
        self.index.size()
    }

    /// Whether it holds no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds a vector with `key`.
    #[must_use]
    pub fn contains(&self, key: u64) -> bool {
        let _pass = self.gate.shared();
        self.index.contains(key)
    }

    /// Those of `keys` that it does not hold, in their order.
    #[must_use]
    pub fn missing(&self, keys: &[u64]) -> Vec<u64> {
        let _pass = self.gate.shared();
        keys.iter().copied().filter(|&key| !self.index.contains(key)).collect()
    }

    /// The memory that it takes, in bytes: what vectors and links fill, and the tables that find them.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        /// For each place: a pointer to the links, a pointer to the vector, and about 32 bytes of a hash table from
        /// keys to places, which has 12 bytes an entry and grows by doubling.
        const TABLE_BYTES_PER_PLACE: usize = 8 + 8 + 32;
        let _pass = self.gate.shared();
        let stats = self.index.memory_stats();
        // Both are filled from large mappings; what is not yet filled is not in memory.
        let graph = stats.graph_allocated - stats.graph_wasted - stats.graph_reserved;
        let vectors = stats.vectors_allocated - stats.vectors_wasted - stats.vectors_reserved;
        (graph + vectors + self.index.capacity() * TABLE_BYTES_PER_PLACE) as u64
    }

    /// Adds vectors under their keys. A key that is already there gets the new vector; when a key stands twice in
    /// `items`, the last one counts. Many items are added by several threads, in slices between which searches run.
    ///
    /// # Errors
    /// [`IndexError::WrongModel`] or [`IndexError::WrongDimension`] for a vector of another model, and
    /// [`IndexError::IndexFull`] if they would not all find room: in both cases nothing is added.
    /// [`IndexError::BadOption`] for the key `u64::MAX`, which the graph needs for itself.
    pub fn add(&self, items: &[(u64, &Vector)]) -> Result<(), IndexError> {
        for (key, vector) in items {
            self.check(vector)?;
            if *key == RESERVED_KEY {
                return Err(IndexError::BadOption(format!(
                    "the key {RESERVED_KEY} is reserved: use another"
                )));
            }
        }
        let mut seen = HashSet::with_capacity(items.len());
        let mut latest: Vec<(u64, &Vector)> =
            items.iter().rev().filter(|(key, _)| seen.insert(*key)).copied().collect();
        latest.reverse();
        let mut writer = self.writer();
        // Only writers change the graph, and this is the writer: it may look without passing the gate.
        let added = latest.iter().filter(|(key, _)| !self.index.contains(*key)).count();
        let wanted = self.index.size() + added;
        if wanted > self.options.max_elements {
            return Err(IndexError::IndexFull { max_elements: self.options.max_elements });
        }
        if wanted > self.index.capacity() {
            let _alone = self.gate.exclusive();
            self.reserve(wanted.max((2 * self.index.capacity()).min(self.options.max_elements)))?;
        }
        for slice in latest.chunks(SLICE_PER_THREAD * self.adders) {
            self.add_slice(slice, &mut writer)?;
        }
        Ok(())
    }

    /// Adds a few vectors while searches wait.
    fn add_slice(&self, slice: &[(u64, &Vector)], writer: &mut Writer) -> Result<(), IndexError> {
        const DOING: &str = "adding a vector";
        let ready: Vec<(u64, Vec<i8>)> =
            slice.iter().map(|(key, vector)| (*key, quantise_held(vector))).collect();
        let add = |part: &[(u64, Vec<i8>)]| {
            part.iter().try_for_each(|(key, values)| self.index.add(*key, values)).map_err(graph(DOING))
        };
        let _alone = self.gate.exclusive();
        for (key, _) in slice {
            writer.vacant += self.index.remove(*key).map_err(graph("replacing a vector"))?;
        }
        // The graph refills the places of removed vectors without locking them, so one thread does it alone.
        let (refill, rest) = ready.split_at(writer.vacant.min(ready.len()));
        add(refill)?;
        writer.vacant -= refill.len();
        if rest.len() < self.adders {
            return add(rest);
        }
        thread::scope(|scope| {
            let parts = rest.chunks(rest.len().div_ceil(self.adders));
            let threads: Vec<_> = parts.map(|part| scope.spawn(|| add(part))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("adding a vector does not panic"))
        })
    }

    /// Removes the vector with `key`; says whether there was one.
    ///
    /// # Errors
    /// [`IndexError::Graph`] if memory runs out.
    pub fn remove(&self, key: u64) -> Result<bool, IndexError> {
        let mut writer = self.writer();
        let _alone = self.gate.exclusive();
        let removed = self.index.remove(key).map_err(graph("removing a vector"))?;
        writer.vacant += removed;
        Ok(removed > 0)
    }

    /// The `k` nearest to `question`, nearest first; fewer if the index holds fewer. `ef` candidates are weighed: more
    /// find more of the true neighbours and take longer.
    ///
    /// # Errors
    /// [`IndexError::WrongModel`] or [`IndexError::WrongDimension`] for a vector of another model.
    pub fn search(
        &self,
        question: &Vector,
        k: usize,
        ef: Option<usize>,
    ) -> Result<Vec<Neighbour>, IndexError> {
        self.check(question)?;
        let values = quantise_asked(question);
        let _pass = self.gate.shared();
        let wanted = self.wanted(k, ef);
        let found = self.index.search(&values, wanted).map_err(graph("searching"))?;
        Ok(neighbours(&found.keys, &found.distances, unit(&values), k))
    }

    /// As [`Hnsw::search`], but only among the keys that `allow` accepts. The walk goes through the others, and calls
    /// `allow` for each vector it meets: where few keys are allowed, [`Hnsw::search_among`] is quicker and exact.
    ///
    /// `allow` must not panic: that would end the process. It must not call this index.
    ///
    /// # Errors
    /// As [`Hnsw::search`].
    pub fn search_filtered(
        &self,
        question: &Vector,
        k: usize,
        allow: &dyn Fn(u64) -> bool,
        ef: Option<usize>,
    ) -> Result<Vec<Neighbour>, IndexError> {
        self.check(question)?;
        let values = quantise_asked(question);
        let _pass = self.gate.shared();
        let wanted = self.wanted(k, ef);
        let found = self.index.filtered_search(&values, wanted, allow).map_err(graph("searching"))?;
        Ok(neighbours(&found.keys, &found.distances, unit(&values), k))
    }

    /// The `k` nearest to `question` among `keys`, nearest first, by comparing it with each of them; keys that the
    /// index does not hold are passed over.
    ///
    /// # Errors
    /// As [`Hnsw::search`].
    pub fn search_among(
        &self,
        question: &Vector,
        k: usize,
        keys: &[u64],
    ) -> Result<Vec<Neighbour>, IndexError> {
        self.check(question)?;
        let question = quantise_asked(question);
        let unit = unit(&question);
        let mut found = Vec::with_capacity(keys.len());
        let mut values = vec![0i8; self.dimension];
        let pass = self.gate.shared();
        for &key in keys {
            if self.index.get(key, &mut values).map_err(graph("reading a vector"))? > 0 {
                found.push(Neighbour { key, similarity: dot(&question, &values) as f32 / unit });
            }
        }
        drop(pass);
        let nearest_first =
            |a: &Neighbour, b: &Neighbour| b.similarity.total_cmp(&a.similarity).then(a.key.cmp(&b.key));
        if k > 0 && found.len() > k {
            found.select_nth_unstable_by(k - 1, nearest_first);
        }
        found.truncate(k);
        found.sort_unstable_by(nearest_first);
        Ok(found)
    }

    /// Writes a snapshot into the folder `dir`, which is made if need be; a snapshot that is there is replaced at once
    /// or not at all, whenever the machine stops. `store` tells the caller's store from others, and `seq` is its mark of
    /// how far the index has come. Searches go on meanwhile; additions wait.
    ///
    /// # Errors
    /// [`IndexError::File`], or [`IndexError::Graph`] if the graph cannot be written.
    pub fn save(&self, dir: &Path, store: u64, seq: u64) -> Result<(), IndexError> {
        let _writer = self.writer();
        // Only writers change the graph, so it stays as it is without passing the gate.
        snapshot::save(dir, &self.index, &self.shape(store), seq)
    }

    /// Reads the snapshot in `dir` with the mark it was saved under. `None` when there is none, or when it does not fit
    /// (another store, model, dimension or M, another format, or damaged), which is logged with the reason: build it anew.
    ///
    /// # Errors
    /// As [`Hnsw::new`]. A snapshot at fault is no error.
    pub fn load(
        dir: &Path,
        store: u64,
        model: SpaceId,
        dimension: usize,
        options: HnswOptions,
    ) -> Result<Option<(Self, u64)>, IndexError> {
        let hnsw = Self::new(model, dimension, options)?;
        let Some(loaded) = snapshot::load(dir, &hnsw.index, &hnsw.shape(store)) else {
            return Ok(None);
        };
        hnsw.writer().vacant = loaded.vacant;
        hnsw.index.change_expansion_add(options.ef_construction);
        hnsw.index.change_expansion_search(1);
        // A loaded graph has room for just what it holds, and working memory for none.
        hnsw.reserve(hnsw.index.capacity().max(FIRST_CAPACITY.min(options.max_elements)))?;
        Ok(Some((hnsw, loaded.seq)))
    }

    fn shape(&self, store: u64) -> snapshot::Shape {
        snapshot::Shape { store, model: self.model.to_string(), dimension: self.dimension, m: self.options.m }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for `capacity` vectors, and working memory for all who may call at once. Alone: either nobody knows
    /// the index yet, or the caller has passed the gate as exclusive.
    fn reserve(&self, capacity: usize) -> Result<(), IndexError> {
        let callers = self.options.max_searches + self.adders;
        self.index.reserve_capacity_and_threads(capacity, callers).map_err(graph("making room"))
    }

    /// How many to ask the graph for, to get `k`: it weighs as many candidates as it is asked for.
    fn wanted(&self, k: usize, ef: Option<usize>) -> usize {
        if k == 0 { 0 } else { k.max(ef.unwrap_or(self.options.ef_search)).min(self.index.size()) }
    }

    fn check(&self, vector: &Vector) -> Result<(), IndexError> {
        if vector.model() != self.model {
            return Err(IndexError::WrongModel { wanted: self.model, given: vector.model() });
        }
        let given = vector.values().len();
        if given != self.dimension {
            return Err(IndexError::WrongDimension { wanted: self.dimension, given });
        }
        Ok(())
    }
}

fn check_options(dimension: usize, options: &HnswOptions) -> Result<(), IndexError> {
    // The graph numbers vectors with 32 bits.
    let limits = [
        ("the dimension", dimension, 1, MAX_DIMENSION),
        ("hnsw_m", options.m, 2, MAX_M),
        ("hnsw_ef_construction", options.ef_construction, 1, 10_000),
        ("hnsw_ef_search", options.ef_search, 1, 10_000),
        ("hnsw_max_elements", options.max_elements, 1, u32::MAX as usize - 1),
        ("the number of searches at once", options.max_searches, 1, 1024),
    ];
    match limits.iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
        Some((name, value, least, most)) => {
            Err(IndexError::BadOption(format!("{name} is {value}, but must be {least} to {most}")))
        }
        None => Ok(()),
    }
}

/// The first `k` of what the graph found. A vector that was being removed may come with the reserved key.
fn neighbours(keys: &[u64], distances: &[f32], unit: f32, k: usize) -> Vec<Neighbour> {
    let found = keys.iter().zip(distances).filter(|&(&key, _)| key != RESERVED_KEY);
    found.take(k).map(|(&key, &distance)| Neighbour { key, similarity: (1.0 - distance) / unit }).collect()
}

/// An error of the graph library while `doing` something, for `map_err`.
fn graph<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> IndexError {
    move |error| IndexError::Graph { doing, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
