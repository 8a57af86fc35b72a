//! What can go wrong, in words that say what to do.

use std::io;
use std::path::PathBuf;

use synapsenet_proto::{SpaceId, VectorError};

use crate::Provider;

/// Why a model, the ONNX Runtime or the index did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A model folder is incomplete, was changed, or is described wrongly.
    #[error("the model at {place} cannot be used: {reason}")]
    BadModel {
        /// The file or folder at fault.
        place: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// No ONNX Runtime library was found.
    #[error(
        "the ONNX Runtime library was not found; looked at {}. Run deploy/provision, or install onnxruntime 1.24 or \
         newer and name its shared library with ORT_DYLIB_PATH",
        .looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    RuntimeMissing {
        /// The paths that were tried, in order.
        looked: Vec<PathBuf>,
    },
    /// A file is there, but it is no ONNX Runtime that works here.
    #[error(
        "{} cannot be used as the ONNX Runtime: {reason}. It must be the shared library of onnxruntime 1.24 or newer \
         for this system: run deploy/provision, or name another with ORT_DYLIB_PATH",
        .library.display()
    )]
    BadRuntime {
        /// The file.
        library: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The process was not told to keep the ONNX Runtime from sending anything.
    #[error(
        "the ONNX Runtime is not loaded, because newer ones send an event to their maker while they are loaded: start this \
         program with ORT_DISABLE_TELEMETRY=1 in its environment"
    )]
    TelemetryOn,
    /// The ONNX Runtime refused a graph or failed while it ran.
    #[error("the ONNX Runtime failed {doing}: {source}")]
    Onnx {
        /// What was being done, such as "running the model".
        doing: &'static str,
        /// What it said.
        source: ort::Error,
    },
    /// What is to compute is not there.
    #[error("the provider {provider} cannot be had: {source}. {}", capital(.remedy))]
    ProviderMissing {
        /// What was asked for.
        provider: Provider,
        /// What has to be done to have it.
        remedy: &'static str,
        /// What the ONNX Runtime said.
        source: ort::Error,
    },
    /// The model answered with something that is no vector: a wrong shape, or numbers that are not finite.
    #[error("the model gave no usable vector: {0}")]
    BadOutput(String),
    /// A variant gives other vectors than its space has.
    #[error(
        "the model {model} gives wrong vectors: their cosine to those of the published weights is {cosine:.4} for {text:?}, \
         and {promised} is promised. The ONNX Runtime computes it wrongly on this machine, or its files are not what they \
         say: name another variant with ai.model"
    )]
    BrokenPromise {
        /// Its full name.
        model: String,
        /// What came out.
        cosine: f32,
        /// The least that may come out.
        promised: f32,
        /// For which text.
        text: String,
    },
    /// A vector of another model or dimension than the index holds.
    #[error(
        "the vector belongs to model {given}, the index to model {wanted}: embed the text with the index's model"
    )]
    WrongModel {
        /// The model of the index.
        wanted: SpaceId,
        /// The model of the vector.
        given: SpaceId,
    },
    /// The vector has the right model but not its dimension.
    #[error("the vector has {given} components, the index {wanted}")]
    WrongDimension {
        /// Components that the index wants.
        wanted: usize,
        /// Components that came.
        given: usize,
    },
    /// The index holds as many vectors as it was allowed to.
    #[error(
        "the index is full: it holds its limit of {max_elements} vectors; raise storage.hnsw_max_elements"
    )]
    IndexFull {
        /// The limit.
        max_elements: usize,
    },
    /// An option of the index makes no sense.
    #[error("{0}")]
    BadOption(String),
    /// The graph library refused a call.
    #[error("the HNSW index failed {doing}: {reason}")]
    Graph {
        /// What was being done.
        doing: &'static str,
        /// What the library said.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The numbers are no vector.
    #[error(transparent)]
    Vector(#[from] VectorError),
}

/// A sentence with a capital where it begins.
fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

impl IndexError {
    /// An error of the file system at `path`, for `map_err`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// An error of the ONNX Runtime while `doing` something, for `map_err`.
    pub(crate) fn onnx(doing: &'static str) -> impl FnOnce(ort::Error) -> Self {
        move |source| Self::Onnx { doing, source }
    }
}
