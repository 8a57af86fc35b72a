//! An index on disk: a snapshot that is whole or absent.
//!
//! Two files: the content, named by its hash, and a description, which says what it is and is renamed into place last.
//! Whenever the machine stops, the description names a content that was written and synced before. The hash is checked
//! before anyone reads the content.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::IndexError;

/// The most bytes that a description takes; more is not one.
const MAX_DESCRIPTION_BYTES: u64 = 4096;

/// How the files of one kind of snapshot are called. What is partial is being written and not yet in place; left over
/// from a crash, it is overwritten or swept.
pub(crate) struct Names {
    pub(crate) description: &'static str,
    pub(crate) partial_description: &'static str,
    /// What the names of contents begin with.
    pub(crate) prefix: &'static str,
    pub(crate) partial: &'static str,
}

/// The content of a snapshot, as a description names it.
pub(crate) struct Content {
    /// Its name in the folder.
    pub(crate) name: String,
    /// Its hash, in hexadecimal digits.
    pub(crate) blake3: String,
}

/// Writes a snapshot into `dir`: `write` makes a file of its content, `describe` says what it is.
pub(crate) fn save<D: Serialize>(
    dir: &Path,
    names: &Names,
    write: impl FnOnce(&Path) -> Result<(), IndexError>,
    describe: impl FnOnce(Content) -> D,
) -> Result<(), IndexError> {
    let saved = save_beside(dir, names, write, describe);
    if saved.is_err() {
        // What is half written is of no use, and may be what fills the disk. That it stays costs space alone.
        for partial in [names.partial, names.partial_description] {
            let _ = fs::remove_file(dir.join(partial));
        }
    }
    saved
}

fn save_beside<D: Serialize>(
    dir: &Path,
    names: &Names,
    write: impl FnOnce(&Path) -> Result<(), IndexError>,
    describe: impl FnOnce(Content) -> D,
) -> Result<(), IndexError> {
    fs::create_dir_all(dir).map_err(IndexError::file(dir))?;
    let partial = dir.join(names.partial);
    write(&partial)?;
    // Read back: what is hashed is what the disk has, not what was meant to be written.
    let blake3 = hash_file(&partial).map_err(IndexError::file(&partial))?.to_string();
    File::open(&partial).and_then(|file| keep(&file)).map_err(IndexError::file(&partial))?;
    let name = format!("{}{}", names.prefix, &blake3[..32]);
    fs::rename(&partial, dir.join(&name)).map_err(IndexError::file(dir.join(&name)))?;
    let description = describe(Content { name: name.clone(), blake3 });
    let path = dir.join(names.description);
    write_description(dir, names, &description).map_err(IndexError::file(path))?;
    sweep(dir, names, &name);
    Ok(())
}

fn write_description(dir: &Path, names: &Names, description: &impl Serialize) -> io::Result<()> {
    let partial = dir.join(names.partial_description);
    let mut file = File::create(&partial)?;
    file.write_all(&serde_json::to_vec_pretty(description)?)?;
    keep(&file)?;
    // The folder before and after: the content's name must be on disk before the description that names it.
    sync_folder(dir)?;
    fs::rename(&partial, dir.join(names.description))?;
    sync_folder(dir)
}

/// Makes a file durable, and private: what is near what, and which words there are, tells something of the texts.
fn keep(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.sync_all()
}

/// Makes the names in a folder durable. Only Unix can, and only there is it needed.
fn sync_folder(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Removes all contents but `current`. That it fails costs space, not truth, so it is only logged.
fn sweep(dir: &Path, names: &Names, current: &str) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(names.prefix) && name != current)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "an old index snapshot could not be removed");
        }
    }
}

/// Reads the snapshot in `dir` by `read`, which says why it cannot. `None` when there is none or it does not fit, which
/// is logged.
pub(crate) fn load<T>(dir: &Path, names: &Names, read: impl FnOnce() -> Result<T, String>) -> Option<T> {
    if !dir.join(names.description).exists() {
        return None;
    }
    match read() {
        Ok(loaded) => Some(loaded),
        Err(reason) => {
            tracing::warn!(%reason, path = %dir.display(), "the index snapshot is not used; the index is built anew");
            None
        }
    }
}

/// The description of the snapshot in `dir`, or why there is none.
pub(crate) fn read_description<D: DeserializeOwned>(dir: &Path, names: &Names) -> Result<D, String> {
    let path = dir.join(names.description);
    let size = path.metadata().map_err(|error| format!("its description is unreadable: {error}"))?.len();
    if size > MAX_DESCRIPTION_BYTES {
        return Err(format!("its description has {size} bytes, which none has"));
    }
    let bytes = fs::read(&path).map_err(|error| format!("its description is unreadable: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("its description is damaged: {error}"))
}

/// The path of a described content; or that it is not one within the folder.
pub(crate) fn path_of(dir: &Path, content: &str) -> Result<PathBuf, String> {
    if Path::new(content).file_name().is_none_or(|name| name != content) {
        return Err(format!("it names {content:?}, which is outside its folder"));
    }
    Ok(dir.join(content))
}

/// The hash of a file.
pub(crate) fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}
