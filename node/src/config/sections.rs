//! The settings by section, with their defaults.

use serde::{Deserialize, Serialize};

use super::NetworkConfig;

/// Every setting of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The database and the index.
    pub storage: StorageConfig,
    /// The embedding model.
    pub ai: AiConfig,
    /// The gRPC API.
    pub api: ApiConfig,
    /// The metrics page.
    pub metrics: MetricsConfig,
    /// The mesh.
    pub network: NetworkConfig,
    /// What others may bring.
    pub admission: AdmissionConfig,
    /// What grains add, and how they are used.
    pub emergence: EmergenceConfig,
    /// What is written to the log.
    pub log: LogConfig,
}

/// The database and the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Links of a grain in each layer of the HNSW graph (M): more finds more and needs more memory.
    pub hnsw_m: usize,
    /// Candidates looked at when a grain is put into the graph: more finds more and adds slower.
    pub hnsw_ef_construction: usize,
    /// Candidates looked at in a search: more finds more and answers slower.
    pub hnsw_ef_search: usize,
    /// Grains that the index may hold; more are refused. Bounds the node's memory.
    pub hnsw_max_elements: usize,
    /// Memory for database pages, in bytes.
    pub cache_bytes: usize,
    /// Bytes that grains of strangers may take in the database, as counted at a guess; 0 means without limit. Beyond it the
    /// oldest of theirs go. One's own grains, and those of authors that are followed, do not count.
    pub quota_bytes: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            hnsw_m: 16,
            hnsw_ef_construction: 200,
            hnsw_ef_search: 112,
            hnsw_max_elements: 1_000_000,
            cache_bytes: 64 << 20,
            quota_bytes: 8 << 30,
        }
    }
}

/// What strangers may bring: authors that are neither this node's own nor followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Share of storage.hnsw_max_elements, in percent, that is kept for the owner's grains and those of authors it follows.
    pub reserved_percent: u64,
    /// Grains of one author that are taken in a day however little room is left; with much room, more are.
    pub author_grains: u64,
    /// Bytes of one author, likewise.
    pub author_bytes: u64,
    /// Grains of strangers that are taken from one peer in a day however little room is left; with much room, more are.
    pub peer_grains: u64,
    /// Bytes from one peer, likewise.
    pub peer_bytes: u64,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            reserved_percent: 25,
            author_grains: 1000,
            author_bytes: 8 << 20,
            peer_grains: 10_000,
            peer_bytes: 64 << 20,
        }
    }
}

/// What grains add to what is known here, and how they are used: `E = novelty * N + coherence * C + reuse * ln(1 + R)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmergenceConfig {
    /// Whether grains are scored.
    pub enabled: bool,
    /// Whether it is counted how often each grain is of use: a number a day, kept for 90 days, and nothing of who or what for.
    pub track_access: bool,
    /// Which grains of strangers go when their share is full: the "oldest", or those of the lowest "score" once something was of use to
    /// the owner (benches/README.md has what either keeps).
    pub retention: String,
    /// How much it counts that a grain is unlike those that are older.
    pub novelty: f64,
    /// How much it counts that others are near it.
    pub coherence: f64,
    /// How much it counts that it was of use.
    pub reuse: f64,
    /// By how much the highest score raises a hit in searches, 0 to 1; 0 ranks by words and meaning alone.
    pub ranking_weight: f64,
    /// A grain whose novelty is below this ...
    pub least_novelty: f64,
    /// ... and whose coherence is below this earns nothing.
    pub least_coherence: f64,
}

impl Default for EmergenceConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            track_access: true,
            retention: "oldest".into(),
            novelty: 0.5,
            coherence: 0.3,
            reuse: 0.2,
            ranking_weight: 0.0,
            least_novelty: 0.1,
            least_coherence: 0.1,
        }
    }
}

/// The embedding model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AiConfig {
    /// Name of the model to use, or of a space; empty means what `synapsenet models use` chose last, else the built-in space.
    pub model: String,
    /// Which variant computes a space that is named alone: "auto" takes the one that suits the processor.
    pub variant: String,
    /// What computes: "cpu", "cuda", "coreml" or "directml".
    pub provider: String,
    /// Which device of that kind, counted from 0.
    pub device: usize,
    /// Whether the processor computes where the provider cannot be had; otherwise that is an error.
    pub fallback: bool,
    /// Threads that compute vectors, in all sessions together; 0 means one for each core.
    pub threads: usize,
    /// Sessions of a model that compute texts side by side; 0 means one for each thread, at most 8, and another one for questions, where a
    /// variant computes in integers, else one for each four threads.
    pub sessions: usize,
    /// Tokens in one run of the model, padding counted; 0 means what suits the provider. A question waits for at most one
    /// run.
    pub batch_tokens: usize,
    /// Bytes of weights that may be in memory at the same time; what was used longest ago goes first.
    pub memory_budget: u64,
    /// Vectors of questions that are kept for when they are asked again, and as many of texts; 0 means none.
    pub cache_entries: usize,
    /// Server that `synapsenet models fetch` fetches from.
    pub hub: String,
    /// Path of the ONNX Runtime library; empty means `ORT_DYLIB_PATH`, else beside the program.
    pub onnxruntime: String,
}

impl Default for AiConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            variant: "auto".into(),
            provider: "cpu".into(),
            device: 0,
            fallback: false,
            threads: 0,
            sessions: 0,
            batch_tokens: 0,
            memory_budget: 1 << 30,
            cache_entries: 2048,
            hub: "https://huggingface.co".into(),
            onnxruntime: String::new(),
        }
    }
}

/// The gRPC API. The unix socket `api.sock` in the data folder is always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// TCP address to listen on as well, such as "127.0.0.1:7717"; empty means none. Callers need the token in
    /// `api.token`, or one with a name. Beyond loopback it has TLS.
    pub listen: String,
    /// When TCP has TLS where no files are named: "auto" beyond loopback, "always" on loopback, too. Then the node makes a certificate
    /// of its own, which clients know by its fingerprint.
    pub tls: String,
    /// PEM file of the certificate chain.
    pub tls_cert: String,
    /// PEM file of its private key.
    pub tls_key: String,
    /// Calls served at the same time; more are answered RESOURCE_EXHAUSTED.
    pub max_calls: usize,
    /// Whether it is written down in `audit.log` who changed what.
    pub audit: bool,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7717".into(),
            tls: "auto".into(),
            tls_cert: String::new(),
            tls_key: String::new(),
            max_calls: 256,
            audit: true,
        }
    }
}

/// The metrics page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// TCP address of the OpenMetrics page `/metrics`; empty means none.
    pub listen: String,
    /// Names under which the page may be asked for, besides localhost and the address that it listens on.
    pub hosts: Vec<String>,
    /// Origins of pages in browsers that may use JSON and agents over HTTP, with a token: each exactly as a browser writes it,
    /// `https://notes.example` or `http://localhost:3000`, at most 32. No page may otherwise.
    pub cors_origins: Vec<String>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7718".into(), hosts: Vec::new(), cors_origins: Vec::new() }
    }
}

/// What is written to the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// "error", "warn", "info", "debug", "trace", or a filter such as "info,synapsenet::memory::ingest=debug".
    pub level: String,
    /// "text" or "json".
    pub format: String,
    /// Address of a collector of OpenTelemetry that traces of calls are sent to, by OTLP over gRPC: "http://HOST:4317". Empty means
    /// that none are recorded.
    pub otlp: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: "text".into(), otlp: String::new() }
    }
}
