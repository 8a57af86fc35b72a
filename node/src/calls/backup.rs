//! A backup, as a stream of pieces: what is in it, then the bytes of one file after the other.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backup::{ALWAYS, MAX_FILES, SECRETS, is_name_of_backup};
pub(crate) use crate::backup::{Plan, PlannedFile};
use crate::calls::{Call, CallError, now_ms};
use crate::data_folder::{DATABASE, MODELS};
use crate::memory::Memory;

/// Bytes of a file in one piece.
const PIECE: usize = 128 << 10;
/// Pieces that wait for a slow client.
const QUEUE: usize = 4;
/// How long a client may take for one piece: who stopped keeps the copy on the disk, and others from theirs.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// What a backup leaves free on the disk, in bytes: a node goes on writing meanwhile.
const RESERVE: u64 = 64 << 20;
/// How deep the folders of models lie in each other.
const MAX_DEPTH: usize = 4;

/// What a backup is to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// What makes the node the one that it is: the secret behind the author key, and what lets clients in.
    pub with_identity: bool,
    /// The models that were added.
    pub with_models: bool,
}

/// A piece of a backup.
#[derive(Debug)]
pub(crate) enum Piece {
    /// How far the database is copied.
    Copied {
        /// Entries that are copied.
        copied: u64,
        /// How many there are.
        total: u64,
    },
    /// What comes.
    Plan(Plan),
    /// The next bytes of a file of the plan.
    Content {
        /// Which one, from 0.
        file: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

type Told = mpsc::Sender<Result<Piece, CallError>>;

impl Call {
    /// Makes a backup, piece by piece, as fast as they are taken. Who stops taking them ends it.
    ///
    /// # Errors
    /// [`CallError::BackupRuns`].
    pub fn backup(&self, extent: Extent) -> Result<mpsc::Receiver<Result<Piece, CallError>>, CallError> {
        let place = self.parts.backups.clone().try_acquire_owned().map_err(|_| CallError::BackupRuns)?;
        let (told, pieces) = mpsc::channel(QUEUE);
        let call = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = call.back_up(extent, &told) {
                // Whoever hung up, or takes nothing, needs no reason.
                let _ = told.try_send(Err(error));
            }
            drop(place);
        });
        Ok(pieces)
    }

    fn back_up(&self, extent: Extent, told: &Told) -> Result<(), CallError> {
        let parts = &self.parts;
        let (dir, stopping) = (&parts.data_dir, &parts.stopping);
        let Some((database, notes, retractions)) = copy(&parts.memory, dir, told)? else { return Ok(()) };
        let mut files = vec![Opened::of(DATABASE, database)?];
        let secrets = if extent.with_identity { &SECRETS[..] } else { &[] };
        for name in ALWAYS.iter().chain(secrets) {
            files.extend(Opened::at(dir, name)?);
        }
        if extent.with_models {
            add_models(dir, Path::new(MODELS), MAX_DEPTH, &mut files)?;
        }
        let planned = files.iter().map(|file| file.planned.clone()).collect();
        let plan = Plan {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            author: parts.identity.author().to_string(),
            created_ms: now_ms(),
            grains: notes,
            retractions,
            files: planned,
            ..Plan::default()
        };
        if !tell(told, Piece::Plan(plan), MAX_PAUSE)? {
            return Ok(());
        }
        tell_files(told, files, stopping, MAX_PAUSE)
    }
}

/// Hands on what is in the files, one after the other, for as long as somebody takes it.
fn tell_files(
    told: &Told,
    files: Vec<Opened>,
    stopping: &CancellationToken,
    patience: Duration,
) -> Result<(), CallError> {
    for (number, file) in (0..).zip(files) {
        let mut left = file.planned.size_bytes;
        let mut from = file.content.take(left);
        while left > 0 {
            if stopping.is_cancelled() {
                return Err(CallError::Stopping);
            }
            let mut bytes = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            from.read_exact(&mut bytes)
                .with_context(|| format!("{} changed while it was read", file.planned.name))
                .map_err(CallError::Broken)?;
            left -= bytes.len() as u64;
            if !tell(told, Piece::Content { file: number, bytes }, patience)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Hands a piece on. Answers whether somebody still waits for it.
fn tell(told: &Told, piece: Piece, patience: Duration) -> Result<bool, CallError> {
    let sending = tokio::time::timeout(patience, told.send(Ok(piece)));
    match tokio::runtime::Handle::current().block_on(sending) {
        Ok(sent) => Ok(sent.is_ok()),
        Err(_) => Err(CallError::DeadlinePassed),
    }
}

/// Copies what the store holds now into a file without a name, which is gone when it is closed, however that comes about. Answers
/// it, how many notes are in it and how many retractions; nothing when nobody waits for it any more.
fn copy(memory: &Memory, dir: &Path, told: &Told) -> Result<Option<(File, u64, u64)>, CallError> {
    let disk = rustix::fs::statvfs(dir)
        .with_context(|| format!("cannot see how much room there is in {}", dir.display()))
        .map_err(CallError::Broken)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = memory.store.size_bytes().saturating_add(RESERVE);
    if needed > free {
        return Err(CallError::NoRoomForBackup { needed, free });
    }
    let file = tempfile::tempfile_in(dir)
        .with_context(|| format!("cannot write into {}", dir.display()))
        .map_err(CallError::Broken)?;
    let view = memory.store.view()?;
    let counts = view.counts()?;
    let writing = file.try_clone().map_err(|error| CallError::Broken(error.into()))?;
    let is_whole = view.copy_to(writing, &mut |copied, total| {
        // A slow client misses some progress.
        let _ = told.try_send(Ok(Piece::Copied { copied, total }));
        if told.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(is_whole.then_some((file, counts.notes, counts.retractions)))
}

/// A file that goes into a backup.
struct Opened {
    planned: PlannedFile,
    content: File,
}

impl Opened {
    /// The file of this name in the folder of the node, if there is one.
    fn at(dir: &Path, name: &str) -> Result<Option<Self>, CallError> {
        match File::open(dir.join(name)) {
            Ok(content) => Self::of(name, content).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let error =
                    anyhow::Error::new(error).context(format!("cannot read {name} in the data folder"));
                Err(CallError::Broken(error))
            }
        }
    }

    fn of(name: &str, mut content: File) -> Result<Self, CallError> {
        let size = content.rewind().and_then(|()| content.metadata()).map(|metadata| metadata.len());
        let size_bytes = size.with_context(|| format!("cannot read {name}")).map_err(CallError::Broken)?;
        Ok(Self { planned: PlannedFile { name: name.to_owned(), size_bytes }, content })
    }
}

/// Adds the files of the models that were added, and the name of the one that was chosen.
fn add_models(dir: &Path, below: &Path, depth: usize, files: &mut Vec<Opened>) -> Result<(), CallError> {
    let listed = |below: &Path| -> anyhow::Result<Vec<(PathBuf, bool)>> {
        let entries = match fs::read_dir(dir.join(below)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", below.display())),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            listed.push((below.join(entry.file_name()), entry.file_type()?.is_dir()));
        }
        listed.sort();
        Ok(listed)
    };
    for (path, is_dir) in listed(below).map_err(CallError::Broken)? {
        // What is being fetched begins with a dot, and is not whole.
        let name = path.to_string_lossy().into_owned();
        if !is_name_of_backup(&name) {
            continue;
        }
        if is_dir && depth > 0 {
            add_models(dir, &path, depth - 1, files)?;
        } else if !is_dir {
            files.extend(Opened::at(dir, &name)?);
        }
        if files.len() > MAX_FILES {
            return Err(CallError::Broken(anyhow!(
                "the folder of models has more than {MAX_FILES} files: remove what is no model, or leave the models out"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::blocking::blocking;

    /// A file of some pieces more than wait for a slow client.
    fn file() -> Opened {
        let mut content = tempfile::tempfile().unwrap();
        content.write_all(&vec![7; PIECE * (QUEUE + 3)]).unwrap();
        Opened::of("grains.redb", content).unwrap()
    }

    async fn told(patience: Duration, stopping: CancellationToken) -> (Result<(), CallError>, usize) {
        let (told, mut pieces) = mpsc::channel(QUEUE);
        let ended = blocking(move || tell_files(&told, vec![file()], &stopping, patience)).await;
        let mut count = 0;
        while let Some(Ok(_)) = pieces.recv().await {
            count += 1;
        }
        (ended, count)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_takes_nothing_any_more_ends_a_backup() {
        let (ended, count) = told(Duration::from_millis(1), CancellationToken::new()).await;
        assert!(matches!(ended, Err(CallError::DeadlinePassed)), "{ended:?}");
        assert_eq!(count, QUEUE, "no more was read than waits");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_stops_ends_a_backup() {
        let stopping = CancellationToken::new();
        stopping.cancel();
        let (ended, count) = told(MAX_PAUSE, stopping).await;
        assert!(matches!(ended, Err(CallError::Stopping)) && count == 0, "{ended:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_hangs_up_ends_a_backup_at_once() {
        let (told, pieces) = mpsc::channel(QUEUE);
        drop(pieces);
        let ended = blocking(move || tell_files(&told, vec![file()], &CancellationToken::new(), MAX_PAUSE));
        assert!(ended.await.is_ok());
    }
}
