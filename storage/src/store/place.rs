//! Where the bytes of a store are: making the file, opening it, and finding out whether the disk has room.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, StorageBackend};

use super::StoreOptions;
use crate::{StorageError, tables};

/// How much the disk must give before a store that found it full is written again: more than a commit of a few grains takes,
/// so that it does not come and go with every one.
const ROOM_BYTES: usize = 1 << 20;

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Place {
    File(PathBuf),
    Backend(Shared),
}

impl Place {
    pub fn open(&self, options: &StoreOptions) -> Result<Database, StorageError> {
        match self {
            Self::File(path) => Ok(builder(options).open(path)?),
            Self::Backend(backend) => Ok(builder(options).create_with_backend(backend.clone())?),
        }
    }

    /// Writes [`ROOM_BYTES`] beside the file, and removes them.
    pub fn make_sure_of_room(&self) -> io::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let probe = beside(path, ".room");
        // No file system stores these in less room than they have.
        let mut noise = vec![0; ROOM_BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let written = private_file().create(true).truncate(true).open(&probe).and_then(|mut file| {
            file.write_all(&noise)?;
            file.sync_data()
        });
        std::fs::remove_file(&probe).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        written
    }
}

/// A backend that can be opened more than once.
#[derive(Debug, Clone)]
pub(super) struct Shared(pub Arc<dyn StorageBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

fn builder(options: &StoreOptions) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(options.cache_bytes);
    builder
}

/// Makes an empty store in the file `path`. It is made under another name first and given its own when it is whole: redb
/// does not open a file of its own whose first writing was cut off.
pub(super) fn create(path: &Path, options: &StoreOptions) -> Result<(), StorageError> {
    let unfinished = beside(path, ".new");
    let db = match create_private(&unfinished, options) {
        // Another process is about to make the same store.
        Err(StorageError::AlreadyOpen) => return Err(StorageError::AlreadyOpen),
        Err(_) if unfinished.exists() => {
            tracing::debug!(file = %unfinished.display(), "removing what an interrupted first start left");
            std::fs::remove_file(&unfinished)?;
            create_private(&unfinished, options)?
        }
        other => other?,
    };
    tables::prepare(&db)?;
    db.close()?;
    std::fs::rename(&unfinished, path)?;
    // A name is on disk when its folder is; elsewhere than on Unix a folder cannot be flushed.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Opens or makes a database in a file that only its owner can read: redb would let others read it.
fn create_private(path: &Path, options: &StoreOptions) -> Result<Database, StorageError> {
    match private_file().create_new(true).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    Ok(builder(options).create(path)?)
}

/// The path with this at the end of its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    beside.into()
}

/// How to open a file that only its owner can read.
fn private_file() -> OpenOptions {
    let mut open = OpenOptions::new();
    open.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        open.mode(0o600);
    }
    open
}
