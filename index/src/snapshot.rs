//! The index on disk: a snapshot that is whole or absent.
//!
//! Two files: the graph, named by the hash of its content, and `snapshot.json`, which says what it is and is renamed
//! into place last. Whenever the machine stops, `snapshot.json` names a graph that was written and synced before. The
//! hash is checked before the graph library sees a byte: it trusts what it reads, and crashes on some damage.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use usearch::Index;

use crate::IndexError;

/// The version of what is on disk; another one is not read.
const FORMAT: u32 = 1;
/// How the graph holds components.
const SCALAR_KIND: &str = "i8";
const DESCRIPTION: &str = "snapshot.json";
const GRAPH_PREFIX: &str = "graph-";
/// What is being written and not yet in place; left over from a crash, it is overwritten or swept.
const PARTIAL_GRAPH: &str = "graph-partial";
const PARTIAL_DESCRIPTION: &str = "snapshot-partial.json";
/// The most bytes that a description takes; more is not one.
const MAX_DESCRIPTION_BYTES: u64 = 4096;

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
    let saved = save_beside(dir, index, shape, seq);
    if saved.is_err() {
        // What is half written is of no use, and may be what fills the disk. That it stays costs space alone.
        for partial in [PARTIAL_GRAPH, PARTIAL_DESCRIPTION] {
            let _ = fs::remove_file(dir.join(partial));
        }
    }
    saved
}

fn save_beside(dir: &Path, index: &Index, shape: &Shape, seq: u64) -> Result<(), IndexError> {
    fs::create_dir_all(dir).map_err(IndexError::file(dir))?;
    let partial = dir.join(PARTIAL_GRAPH);
    let name = partial.to_str().ok_or_else(|| {
        let reason = "the graph library takes only UTF-8 paths: move the data folder to such a path";
        IndexError::File {
            path: partial.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, reason),
        }
    })?;
    index
        .save(name)
        .map_err(|error| IndexError::Graph { doing: "writing the snapshot", reason: error.to_string() })?;
    // Read back: what is hashed is what the disk has, not what the library meant to write.
    let hash = hash_file(&partial).map_err(IndexError::file(&partial))?.to_string();
    File::open(&partial).and_then(|file| keep(&file)).map_err(IndexError::file(&partial))?;
    let graph = format!("{GRAPH_PREFIX}{}", &hash[..32]);
    fs::rename(&partial, dir.join(&graph)).map_err(IndexError::file(dir.join(&graph)))?;

    let description = Description {
        format: FORMAT,
        scalar_kind: SCALAR_KIND.to_owned(),
        shape: shape.clone(),
        seq,
        count: index.size(),
        graph: graph.clone(),
        blake3: hash,
    };
    write_description(dir, &description).map_err(IndexError::file(dir.join(DESCRIPTION)))?;
    sweep(dir, &graph);
    Ok(())
}

fn write_description(dir: &Path, description: &Description) -> io::Result<()> {
    let partial = dir.join(PARTIAL_DESCRIPTION);
    let mut file = File::create(&partial)?;
    file.write_all(&serde_json::to_vec_pretty(description)?)?;
    keep(&file)?;
    // The folder before and after: the graph's name must be on disk before the description that names it.
    sync_folder(dir)?;
    fs::rename(&partial, dir.join(DESCRIPTION))?;
    sync_folder(dir)
}

/// Makes a file durable, and private: what is near what tells something of the texts.
fn keep(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.sync_all()
}

/// Makes the names in a folder durable. Only Unix can, and only there is it needed.
fn sync_folder(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Removes all graphs but `current`. That it fails costs space, not truth, so it is only logged.
fn sweep(dir: &Path, current: &str) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(GRAPH_PREFIX) && name != current)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "an old index snapshot could not be removed");
        }
    }
}

/// Reads the snapshot in `dir` into the empty `index`, which nobody else knows yet. `None` when there is none or it
/// does not fit; the index is then not to be used.
pub(crate) fn load(dir: &Path, index: &Index, shape: &Shape) -> Option<Loaded> {
    if !dir.join(DESCRIPTION).exists() {
        return None;
    }
    match try_load(dir, index, shape) {
        Ok(loaded) => Some(loaded),
        Err(reason) => {
            tracing::warn!(%reason, path = %dir.display(), "the index snapshot is not used; the index is built anew");
            None
        }
    }
}

/// Loads, or says why not.
fn try_load(dir: &Path, index: &Index, shape: &Shape) -> Result<Loaded, String> {
    let path = dir.join(DESCRIPTION);
    let size = path.metadata().map_err(|error| format!("its description is unreadable: {error}"))?.len();
    if size > MAX_DESCRIPTION_BYTES {
        return Err(format!("its description has {size} bytes, which none has"));
    }
    let bytes = fs::read(&path).map_err(|error| format!("its description is unreadable: {error}"))?;
    let description: Description =
        serde_json::from_slice(&bytes).map_err(|error| format!("its description is damaged: {error}"))?;
    if description.format != FORMAT {
        return Err(format!("it has format {}, this program reads {FORMAT}", description.format));
    }
    if description.scalar_kind != SCALAR_KIND {
        return Err(format!("it holds {} components, this program {SCALAR_KIND}", description.scalar_kind));
    }
    if description.shape != *shape {
        return Err(format!("it was made for {:?}, not for {shape:?}", description.shape));
    }
    if Path::new(&description.graph).file_name().is_none_or(|name| name != description.graph.as_str()) {
        return Err("it names a graph outside its folder".to_owned());
    }
    let graph = dir.join(&description.graph);
    let hash = hash_file(&graph).map_err(|error| format!("its graph is unreadable: {error}"))?;
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

fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}
