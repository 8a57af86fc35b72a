//! What is counted and timed, under the names that users know. Each is recorded where it happens.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the histograms in seconds: from a cached lookup to a very slow disk.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_3, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RefusalLabels {
    /// [`synapsenet_proto::Refusal::label`].
    pub reason: &'static str,
}

/// What became of a grain that a peer brought.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReceivedLabels {
    /// "gossip" or "sync".
    pub via: &'static str,
    /// "added", "duplicate", "refused" or "dropped".
    pub outcome: &'static str,
}

/// How something turned out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    /// One of a fixed set of words.
    pub outcome: &'static str,
}

/// What was looked up, and how it turned out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CacheLabels {
    /// "question" or "document".
    pub kind: &'static str,
    /// "hit" or "miss".
    pub outcome: &'static str,
}

/// Which way something went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DirectionLabels {
    /// "sent" or "received".
    pub direction: &'static str,
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
    pub let_go: Counter,
    /// Texts whose vectors were looked up among those kept.
    pub cache: Family<CacheLabels, Counter>,
}

impl Metrics {
    /// Makes the metrics and registers them under their names in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("syn");
        let mut time = |name, help, histogram: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        time("embedding", "Time of one run of the model", &metrics.embedding);
        time("query", "Time of one search inside the node", &metrics.query);
        time("batch", "Time of one indexing batch", &metrics.batch);
        time("poe_calculation", "Time of one Proof of Emergence score", &metrics.poe_calculation);
        time("commit", "Time of one group commit to disk", &metrics.commit);
        registry.register("grains", "Grains that came in", metrics.grains.clone());
        registry.register("batch", "Indexing batches", metrics.batches.clone());
        registry.register("queries", "Searches answered", metrics.queries.clone());
        registry.register("refusals", "Grains refused, by reason", metrics.refusals.clone());
        registry.register("grains_received", "Grains that peers brought", metrics.received.clone());
        registry.register("syncs", "Comparisons with peers, by outcome", metrics.syncs.clone());
        registry.register("sync_grains", "Grains that comparisons brought", metrics.sync_grains.clone());
        registry.register("sync_bytes", "Bytes of comparisons and fetches", metrics.sync_bytes.clone());
        registry.register("claims", "Vector claims, by what became of them", metrics.claims.clone());
        registry.register("announced_grains", "Grains handed to the mesh", metrics.announced_grains.clone());
        registry.register("mesh_queries", "Questions to peers, by outcome", metrics.mesh_queries.clone());
        registry.register("calls_refused", "Calls turned away at the limit", metrics.calls_refused.clone());
        let bytes = |registry: &mut Registry, name, help, gauge: &Gauge| {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        };
        bytes(registry, "memory_usage", "Resident memory of the process", &metrics.memory_usage);
        bytes(registry, "storage_size", "Size of the database file", &metrics.storage_size);
        registry.register("models_loaded", "Embedding models in memory", metrics.models_loaded.clone());
        registry.register(
            "pending_grains",
            "Grains stored, not yet searchable",
            metrics.pending_grains.clone(),
        );
        registry.register("searchable_grains", "Grains in the index", metrics.searchable_grains.clone());
        registry.register(
            "unchecked_grains",
            "Grains whose vectors are claimed and not compared",
            metrics.unchecked_grains.clone(),
        );
        registry.register(
            "anew_grains",
            "Grains that only a former model has vectors of",
            metrics.anew_grains.clone(),
        );
        registry.register(
            "embedded_anew",
            "Grains embedded anew after the model was changed",
            metrics.embedded_anew.clone(),
        );
        registry.register(
            "let_go_grains",
            "Grains of strangers that gave way to younger ones",
            metrics.let_go.clone(),
        );
        registry.register("embedding_cache", "Texts looked up among kept vectors", metrics.cache.clone());
        metrics
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

    /// Counts grains of strangers that gave way to younger ones.
    pub fn let_go(&self, count: u64) {
        self.let_go.inc_by(count);
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
            let_go: Counter::default(),
            cache: Family::default(),
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

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub(crate) fn memory_bytes() -> u64 {
    // The second field of statm counts resident pages (proc(5)).
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
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

    #[test]
    fn a_process_knows_its_memory() {
        assert!(memory_bytes() > 100_000);
    }
}
