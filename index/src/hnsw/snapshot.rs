//! The graph on disk. The graph library trusts what it reads, and crashes on some damage, so it only sees bytes whose
//! hash was checked.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use usearch::Index;

use crate::IndexError;
use crate::snapshot::{self, Names};

/// The version of what is on disk; another one is not read. Until 1 each vector had a scale of its own.
const FORMAT: u32 = 2;
/// How the graph holds components.
const SCALAR_KIND: &str = "i8";
const NAMES: Names = Names {
    description: "snapshot.json",
    partial_description: "snapshot-partial.json",
    prefix: "graph-",
    partial: "graph-partial",
};

/// What must agree between a snapshot and the index that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// A number that tells the caller's store from others.
    pub(crate) store: u64,
    /// The id of the model, in hexadecimal digits.
    pub(crate) model: String,
    pub(crate) dimension: usize,
    pub(crate) m: usize,
}

/// What a snapshot says beside its graph.
pub(crate) struct Loaded {
    /// The caller's mark.
    pub(crate) seq: u64,
    /// Places of removed vectors in the graph.
    pub(crate) vacant: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    scalar_kind: String,
    shape: Shape,
    seq: u64,
    count: usize,
    graph: String,
    blake3: String,
}

/// Writes `index` into `dir`. Nobody changes it meanwhile.
pub(crate) fn save(dir: &Path, index: &Index, shape: &Shape, seq: u64) -> Result<(), IndexError> {
    snapshot::save(
        dir,
        &NAMES,
        |path| write(path, index),
        |content| Description {
            format: FORMAT,
            scalar_kind: SCALAR_KIND.to_owned(),
            shape: shape.clone(),
            seq,
            count: index.size(),
            graph: content.name,
            blake3: content.blake3,
        },
    )
}

fn write(path: &Path, index: &Index) -> Result<(), IndexError> {
    let name = path.to_str().ok_or_else(|| {
        let reason = "the graph library takes only UTF-8 paths: move the data folder to such a path";
        IndexError::File {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidInput, reason),
        }
    })?;
    index
        .save(name)
        .map_err(|error| IndexError::Graph { doing: "writing the snapshot", reason: error.to_string() })
}

/// Reads the snapshot in `dir` into the empty `index`, which nobody else knows yet. `None` when there is none or it
/// does not fit; the index is then not to be used.
pub(crate) fn load(dir: &Path, index: &Index, shape: &Shape) -> Option<Loaded> {
    snapshot::load(dir, &NAMES, || try_load(dir, index, shape))
}

/// Loads, or says why not.
fn try_load(dir: &Path, index: &Index, shape: &Shape) -> Result<Loaded, String> {
    let description: Description = snapshot::read_description(dir, &NAMES)?;
    if description.format != FORMAT {
        return Err(format!("it has format {}, this program reads {FORMAT}", description.format));
    }
    if description.scalar_kind != SCALAR_KIND {
        return Err(format!("it holds {} components, this program {SCALAR_KIND}", description.scalar_kind));
    }
    if description.shape != *shape {
        return Err(format!("it was made for {:?}, not for {shape:?}", description.shape));
    }
    let graph = snapshot::path_of(dir, &description.graph)?;
    let hash = snapshot::hash_file(&graph).map_err(|error| format!("its graph is unreadable: {error}"))?;
    if hash.to_string() != description.blake3 {
        return Err("its graph is damaged: the hash differs".to_owned());
    }
    let name = graph.to_str().ok_or("its path is not UTF-8")?;
    let metadata = Index::metadata(name).map_err(|error| format!("its graph has no head: {error}"))?;
    index.load(name).map_err(|error| format!("its graph cannot be loaded: {error}"))?;
    if index.dimensions() != shape.dimension || index.size() != description.count {
        return Err("its graph is not the one described".to_owned());
    }
    Ok(Loaded { seq: description.seq, vacant: metadata.count_deleted as usize })
}
