//! What is counted and timed, under the names that users know. What happens is recorded where it happens, what there is
//! ([`Levels`]) when the page is asked for. `deploy/observe/METRICS.md` lists all.

mod doors;
mod labels;
mod levels;
mod methods;
mod process;
pub(crate) mod text_format;

use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

pub(crate) use doors::{Door, Doors};
pub(crate) use labels::{
    CacheLabels, DirectionLabels, KindLabels, LetGoLabels, OutcomeLabels, PeerLabels, ReceivedLabels,
    RefusalLabels, ScoreLabels, SearchLabels, StateLabels, WhoseLabels,
};
pub(crate) use levels::{Levels, TopicLevel};
pub(crate) use methods::{method_of, methods, name_of};
pub(crate) use process::memory_bytes;

/// Upper bounds of the histograms in seconds: from a cached lookup to a very slow disk.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_3, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// What the program was built from, as the build script found it.
const COMMIT: &str = env!("SYNAPSENET_BUILD_COMMIT");

/// A registry, in which a metric is named in one line.
struct Names<'a>(&'a mut Registry);

impl Names<'_> {
    fn plain(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register(name, help, metric.clone());
    }

    fn seconds(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
    }

    fn bytes(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register_with_unit(name, help, Unit::Bytes, metric.clone());
    }
}

/// Every metric of a node. Clones share their values.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// One run of the model, questions and batches alike.
    pub embedding: Histogram,
    /// One search, from the question's text to its hits.
    pub query: Histogram,
    /// One batch of the indexer, from pending to searchable.
    pub batch: Histogram,
    /// One Emergence score.
    pub poe_calculation: Histogram,
    /// One group commit.
    pub commit: Histogram,
    /// Grains that came in.
    pub grains: Counter,
    /// Batches of the indexer.
    pub batches: Counter,
    /// Searches answered.
    pub queries: Counter,
    /// Grains refused.
    pub refusals: Family<RefusalLabels, Counter>,
    /// Grains that peers brought.
    pub received: Family<ReceivedLabels, Counter>,
    /// Claims, by what became of them.
    pub claims: Family<OutcomeLabels, Counter>,
    /// Grains handed to the mesh.
    pub announced_grains: Counter,
    /// Questions to peers, by how they turned out.
    pub mesh_queries: Family<OutcomeLabels, Counter>,
    /// Comparisons with peers, by how they ended.
    pub syncs: Family<OutcomeLabels, Counter>,
    /// Grains that comparisons brought.
    pub sync_grains: Counter,
    /// Bytes of questions and answers of comparisons, fetches among them.
    pub sync_bytes: Family<DirectionLabels, Counter>,
    /// Calls turned away because too many were being served.
    pub calls_refused: Counter,
    /// Resident memory, read when the page is asked for.
    pub memory_usage: Gauge,
    /// Size of the database file, read when the page is asked for.
    pub storage_size: Gauge,
    /// Models in memory.
    pub models_loaded: Gauge,
    /// Grains stored and not yet searchable.
    pub pending_grains: Gauge,
    /// Grains in the index.
    pub searchable_grains: Gauge,
    /// Grains whose vectors are claimed by their authors and not compared.
    pub unchecked_grains: Gauge,
    /// Grains that only a former model has vectors of.
    pub anew_grains: Gauge,
    /// Grains embedded anew after the model was changed.
    pub embedded_anew: Counter,
    /// Grains of strangers that gave way to younger ones.
    pub let_go: Family<LetGoLabels, Counter>,
    /// Grains whose neighbours were looked at, by what they came to.
    pub scored: Family<ScoreLabels, Counter>,
    /// Texts whose vectors were looked up among those kept.
    pub cache: Family<CacheLabels, Counter>,
    /// Searches of clients.
    pub searches: Family<SearchLabels, Counter>,
    /// Looks at remembered folders.
    pub source_passes: Family<OutcomeLabels, Counter>,
    /// Files that these found, by what was done with them.
    pub source_files: Family<OutcomeLabels, Counter>,
    /// What clients do.
    pub doors: Doors,
    /// What there is when the page is asked for.
    pub levels: Levels,
}

impl Metrics {
    /// Makes the metrics and registers them under their names in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.begin();
        registry.register_collector(Box::new(process::Process::new()));
        let names = &mut Names(registry.sub_registry_with_prefix("syn"));
        let labels = vec![("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT)];
        names.0.register(
            "build",
            "The program: its version, and the commit that it was built from, where that is known",
            Info::new(labels),
        );
        names.seconds("embedding", "Time of one run of the model", &metrics.embedding);
        names.seconds("query", "Time of one search inside the node", &metrics.query);
        names.seconds("batch", "Time of one indexing batch", &metrics.batch);
        names.seconds("poe_calculation", "Time of one Proof of Emergence score", &metrics.poe_calculation);
        names.seconds("commit", "Time of one group commit to disk", &metrics.commit);
        names.plain("grains", "Grains that came in", &metrics.grains);
        names.plain("batch", "Indexing batches", &metrics.batches);
        names.plain("queries", "Searches answered", &metrics.queries);
        names.plain(
            "searches",
            "Searches that clients asked for, by mode: found something or nothing, refused because asked wrongly, or failed",
            &metrics.searches,
        );
        names.plain("refusals", "Grains refused, by reason", &metrics.refusals);
        names.plain(
            "grains_received",
            "Grains that peers brought: added, duplicate, refused, or dropped because too many waited",
            &metrics.received,
        );
        names.plain(
            "syncs",
            "Comparisons with peers: done, failed, or ended because this node takes no more (quota)",
            &metrics.syncs,
        );
        names.plain("sync_grains", "Grains that comparisons brought", &metrics.sync_grains);
        names.plain("sync_bytes", "Bytes of comparisons and fetches", &metrics.sync_bytes);
        names.plain("claims", "Vectors that authors claim: taken over unchecked (believed), compared and right (checked), compared and false, or taken back because their author lied elsewhere", &metrics.claims);
        names.plain("announced_grains", "Grains handed to the mesh", &metrics.announced_grains);
        names.plain(
            "mesh_queries",
            "Questions to peers: answered, late, failed, or refused by the peer",
            &metrics.mesh_queries,
        );
        names.plain(
            "calls_refused",
            "Calls turned away because api.max_calls were being served",
            &metrics.calls_refused,
        );
        names.bytes("memory_usage", "Resident memory of the process", &metrics.memory_usage);
        names.bytes("storage_size", "Size of the database file", &metrics.storage_size);
        names.plain("models_loaded", "Embedding models in memory", &metrics.models_loaded);
        names.plain(
            "pending_grains",
            "Grains stored, not yet searchable by meaning",
            &metrics.pending_grains,
        );
        names.plain("searchable_grains", "Grains that are found by meaning", &metrics.searchable_grains);
        names.plain(
            "unchecked_grains",
            "Grains whose vectors are claimed and not compared",
            &metrics.unchecked_grains,
        );
        names.plain("anew_grains", "Grains that only a former model has vectors of", &metrics.anew_grains);
        names.plain(
            "embedded_anew",
            "Grains embedded anew after the model was changed",
            &metrics.embedded_anew,
        );
        names.plain("let_go_grains", "Grains of strangers that gave way to others, by why these and no others: their score, or their age", &metrics.let_go);
        names.plain(
            "scored_grains",
            "Grains whose neighbours were looked at, by what they came to: nothing, below 0.3 (low), below 0.6 (middle), or more (high)",
            &metrics.scored,
        );
        names.plain(
            "embedding_cache",
            "Texts whose vectors were looked up among those kept from earlier",
            &metrics.cache,
        );
        names.plain(
            "source_passes",
            "Looks at remembered folders, by whether something was wrong",
            &metrics.source_passes,
        );
        names.plain(
            "source_files",
            "Files of remembered folders, by what a look did with them",
            &metrics.source_files,
        );
        metrics.doors.register(names);
        metrics.levels.register(names);
        metrics
    }

    /// Has the series of the words that are known begin at nothing: one that begins at some number tells nobody that it grew.
    fn begin(&self) {
        for via in ["gossip", "sync"] {
            for outcome in ["added", "duplicate", "refused"] {
                drop(self.received.get_or_create(&ReceivedLabels { via, outcome }));
            }
        }
        drop(self.received.get_or_create(&ReceivedLabels { via: "gossip", outcome: "dropped" }));
        for outcome in ["believed", "checked", "false", "taken_back"] {
            drop(self.claims.get_or_create(&OutcomeLabels { outcome }));
        }
        for score in ["nothing", "low", "middle", "high"] {
            drop(self.scored.get_or_create(&ScoreLabels { score }));
        }
        for reason in ["score", "age"] {
            drop(self.let_go.get_or_create(&LetGoLabels { reason }));
        }
        for outcome in ["done", "failed", "quota"] {
            drop(self.syncs.get_or_create(&OutcomeLabels { outcome }));
        }
        for direction in ["sent", "received"] {
            drop(self.sync_bytes.get_or_create(&DirectionLabels { direction }));
        }
        for kind in ["question", "document"] {
            for outcome in ["hit", "miss"] {
                drop(self.cache.get_or_create(&CacheLabels { kind, outcome }));
            }
        }
        for outcome in ["answered", "late", "failed", "refused"] {
            drop(self.mesh_queries.get_or_create(&OutcomeLabels { outcome }));
        }
        for reason in ["node_full", "strangers_full", "author_over_budget", "peer_over_budget", "blocked"] {
            drop(self.refusals.get_or_create(&RefusalLabels { reason }));
        }
        for mode in ["hybrid", "meaning", "words"] {
            for outcome in ["found", "nothing", "refused", "failed"] {
                drop(self.searches.get_or_create(&SearchLabels { mode, outcome }));
            }
        }
        for outcome in ["sound", "problem"] {
            drop(self.source_passes.get_or_create(&OutcomeLabels { outcome }));
        }
        for outcome in ["added", "edited", "moved", "withdrawn", "refused"] {
            drop(self.source_files.get_or_create(&OutcomeLabels { outcome }));
        }
    }

    /// Counts searches of one mode that turned out so.
    pub fn searched(&self, mode: &'static str, outcome: &'static str) {
        self.searches.get_or_create(&SearchLabels { mode, outcome }).inc();
    }

    /// Counts a look at a remembered folder, and files by what it did with them.
    pub fn looked_at_source(&self, is_sound: bool, files: [(&'static str, u64); 5]) {
        let outcome = if is_sound { "sound" } else { "problem" };
        self.source_passes.get_or_create(&OutcomeLabels { outcome }).inc();
        for (outcome, count) in files {
            self.source_files.get_or_create(&OutcomeLabels { outcome }).inc_by(count);
        }
    }

    /// Counts a comparison with a peer that has ended so, and the grains that it brought.
    pub fn synced(&self, outcome: &'static str, fetched: u64) {
        self.syncs.get_or_create(&OutcomeLabels { outcome }).inc();
        self.sync_grains.inc_by(fetched);
    }

    /// Counts bytes of a comparison. `direction` is "sent" or "received".
    pub fn sync_bytes(&self, direction: &'static str, bytes: u64) {
        self.sync_bytes.get_or_create(&DirectionLabels { direction }).inc_by(bytes);
    }

    /// Counts a refused grain.
    pub fn refused(&self, refusal: &synapsenet_proto::Refusal) {
        self.refusals.get_or_create(&RefusalLabels { reason: refusal.label() }).inc();
    }

    /// Counts grains of strangers that gave way to others, by their "score" or their "age".
    pub fn let_go(&self, reason: &'static str, count: u64) {
        self.let_go.get_or_create(&LetGoLabels { reason }).inc_by(count);
    }

    /// Counts a grain whose neighbours were looked at, by its score.
    pub fn scored(&self, score: f64) {
        let score = match score {
            0.0 => "nothing",
            low if low < 0.3 => "low",
            middle if middle < 0.6 => "middle",
            _ => "high",
        };
        self.scored.get_or_create(&ScoreLabels { score }).inc();
    }

    /// Counts a grain that a peer brought.
    pub fn received(&self, via: &'static str, outcome: &'static str) {
        self.received.get_or_create(&ReceivedLabels { via, outcome }).inc();
    }

    /// Counts claims of which the same became.
    pub fn claims(&self, outcome: &'static str, count: usize) {
        if count > 0 {
            self.claims.get_or_create(&OutcomeLabels { outcome }).inc_by(count as u64);
        }
    }

    /// Counts a text, a "question" or a "document", that was looked up among the kept vectors.
    pub fn cached(&self, kind: &'static str, is_hit: bool) {
        let outcome = if is_hit { "hit" } else { "miss" };
        self.cache.get_or_create(&CacheLabels { kind, outcome }).inc();
    }

    /// Counts a question to a peer.
    pub fn asked_peer(&self, outcome: &'static str) {
        self.mesh_queries.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        Self {
            embedding: histogram(),
            query: histogram(),
            batch: histogram(),
            poe_calculation: histogram(),
            commit: histogram(),
            grains: Counter::default(),
            batches: Counter::default(),
            queries: Counter::default(),
            refusals: Family::default(),
            received: Family::default(),
            claims: Family::default(),
            announced_grains: Counter::default(),
            mesh_queries: Family::default(),
            syncs: Family::default(),
            sync_grains: Counter::default(),
            sync_bytes: Family::default(),
            calls_refused: Counter::default(),
            memory_usage: Gauge::default(),
            storage_size: Gauge::default(),
            models_loaded: Gauge::default(),
            pending_grains: Gauge::default(),
            searchable_grains: Gauge::default(),
            unchecked_grains: Gauge::default(),
            anew_grains: Gauge::default(),
            embedded_anew: Counter::default(),
            let_go: Family::default(),
            scored: Family::default(),
            cache: Family::default(),
            searches: Family::default(),
            source_passes: Family::default(),
            source_files: Family::default(),
            doors: Doors::default(),
            levels: Levels::default(),
        }
    }
}

/// Runs `work` and records how long it took.
pub(crate) fn timed<T>(histogram: &Histogram, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    histogram.observe(start.elapsed().as_secs_f64());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_names_that_users_know() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.refused(&synapsenet_proto::Refusal::EmptyText);
        metrics.received("sync", "added");
        metrics.claims("believed", 3);
        metrics.asked_peer("late");
        metrics.sync_bytes("sent", 5);
        timed(&metrics.embedding, || ());
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for name in [
            "syn_embedding_seconds_count 1",
            "syn_query_seconds_bucket",
            "syn_batch_seconds_bucket",
            "syn_poe_calculation_seconds_bucket",
            "syn_grains_total 0",
            "syn_batch_total 0",
            "syn_queries_total 0",
            "syn_memory_usage_bytes 0",
            "syn_storage_size_bytes 0",
            "syn_models_loaded 0",
            "syn_refusals_total{reason=\"empty_text\"} 1",
            "syn_grains_received_total{via=\"sync\",outcome=\"added\"} 1",
            "syn_claims_total{outcome=\"believed\"} 3",
            "syn_unchecked_grains 0",
            "syn_announced_grains_total 0",
            "syn_mesh_queries_total{outcome=\"late\"} 1",
            "syn_sync_grains_total 0",
            "syn_sync_bytes_total{direction=\"sent\"} 5",
        ] {
            assert!(page.contains(name), "{name} is missing from:\n{page}");
        }
    }
}
