//! Which folders are remembered, and that what the node knows of them is what they say now.
//!
//! ```text
//!  list (what is remembered, and how) --> schedule --> pass: walk, difference, library --> report
//!                                            ^
//!                        watch (inotify) ----+---- somebody asked
//! ```
//!
//! A look at a folder is cheap when nothing changed: its files are only read when their sizes or times did. A few folders are looked at
//! at the same time, so that a slow drive holds up no other. A single file, such as a mailbox, is remembered like a folder of one file.
//! This room knows no protocol, no peer and no client.

mod difference;
mod links;
mod list;
mod pass;
mod reading;
mod schedule;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use synapsenet_storage::StorageError;
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::composed::composed;
use crate::files::file_uri;
use crate::memory::document::DocumentError;
use crate::memory::events::{Events, Happening};
use crate::memory::ingest::now_ms;
use crate::memory::library::Library;
pub(crate) use links::{Links, NoteLink};
use list::MAX_SOURCES;
pub(crate) use list::{List, Rhythm, Source, Terms};
use pass::Pass;
pub(crate) use pass::{How, Progress, Report};
use schedule::Marks;
use state::States;

/// Folders that are looked at at the same time: a drive that does not answer, and one that is large, leave a turn to the others.
const MAX_LOOKS: usize = 3;

/// Why nothing was done about a folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// It is not remembered.
    #[error("{0} is not remembered: `synapsenet sources list` shows what is")]
    NotRemembered(String),
    /// It cannot be.
    #[error("{0}")]
    Refused(String),
    /// The list cannot be written.
    #[error("{0:#}")]
    NotKept(anyhow::Error),
    /// A grain was not withdrawn.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// A remembered folder and how it is with it.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub source: Source,
    /// What became of the last look since the node started.
    pub last: Option<Report>,
    /// When it was looked at last, in milliseconds since 1970-01-01 UTC; None when it never was.
    pub looked_ms: Option<u64>,
    /// How far a look is that is under way.
    pub running: Option<Progress>,
    /// Why it is not watched, though it should be: it is looked at every minute instead.
    pub not_watched: Option<String>,
}

/// What is known of a folder while the node runs.
#[derive(Debug, Clone, Default)]
struct Latest {
    report: Option<Report>,
    looked_ms: Option<u64>,
    running: Option<Progress>,
    not_watched: Option<String>,
}

/// The remembered folders. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources {
    inner: Arc<Inner>,
}

struct Inner {
    list: Mutex<List>,
    states: States,
    library: Library,
    latest: Mutex<HashMap<PathBuf, Latest>>,
    /// Each held by the look at its folder that is under way.
    busy: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    /// Turns of looks.
    turns: Semaphore,
    events: Events,
    /// Folders in which something changed.
    marks: Marks,
    /// Told when what is remembered changed, or something in a folder.
    changed: Arc<Notify>,
    stop: CancellationToken,
}

impl Sources {
    /// Takes over what is remembered in a data folder. Looks end early when `stop` is cancelled.
    pub fn new(
        list: List,
        data_dir: &Path,
        library: Library,
        events: Events,
        stop: CancellationToken,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let inner = Inner {
            list: Mutex::new(list),
            states: States::new(data_dir),
            library,
            latest: Mutex::default(),
            busy: Mutex::default(),
            turns: Semaphore::new(MAX_LOOKS),
            events,
            marks: Marks::new(changed.clone()),
            changed,
            stop,
        };
        let latest = |source: &Source| {
            let looked_ms = inner.states.load(source).map(|state| state.looked_ms);
            (source.folder.clone(), Latest { looked_ms, ..Latest::default() })
        };
        let known = lock(&inner.list).sources().iter().map(latest).collect();
        *lock(&inner.latest) = known;
        Self { inner: Arc::new(inner) }
    }

    /// Remembers a folder, or changes how it is remembered. Answers how it was remembered before, if it was.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn remember(&self, source: Source) -> Result<Option<Source>, SourceError> {
        pass::rules(&source).map_err(SourceError::Refused)?;
        let mut list = lock(&self.inner.list);
        let before = list.get(&source.folder).cloned();
        if before.is_none() {
            check_room(list.sources(), &source.folder)?;
        }
        list.change(|sources| {
            sources.retain(|other| other.folder != source.folder);
            sources.push(source);
        })
        .map_err(SourceError::NotKept)?;
        self.inner.changed.notify_one();
        Ok(before)
    }

    /// All of them, by their paths.
    pub fn all(&self) -> Vec<Standing> {
        let sources = lock(&self.inner.list).sources().to_vec();
        let latest = lock(&self.inner.latest);
        let standing = |source: Source| {
            let Latest { report, looked_ms, running, not_watched } =
                latest.get(&source.folder).cloned().unwrap_or_default();
            Standing { source, last: report, looked_ms, running, not_watched }
        };
        sources.into_iter().map(standing).collect()
    }

    /// The links between a file, named by its URI, and the others of the folder that it lies in. None where no folder is remembered
    /// that it lies in, or has not been looked at.
    pub async fn links_of(&self, uri: String) -> Links {
        let path = percent_encoding::percent_decode_str(uri.strip_prefix("file://").unwrap_or_default());
        let path = PathBuf::from(path.decode_utf8_lossy().into_owned());
        let covers = |source: &&Source| path.starts_with(&source.folder);
        let Some(source) = lock(&self.inner.list).sources().iter().find(covers).cloned() else {
            return Links::default();
        };
        let states = self.inner.states.clone();
        blocking(move || {
            let known = states.load(&source).map(|state| state.files).unwrap_or_default();
            links::links_of(&known, &composed(file_uri(&source.folder)), &composed(uri))
        })
        .await
    }

    /// Leaves a folder as it is, or no longer.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn pause(&self, folder: &Path, is_paused: bool) -> Result<(), SourceError> {
        let source = self.get(folder)?;
        self.remember(Source { is_paused, ..source }).map(drop)
    }

    /// Forgets that a folder is remembered; with `retract`, all its grains are withdrawn. Answers how many.
    ///
    /// # Errors
    /// [`SourceError`]; doing it again goes on.
    pub async fn remove(&self, folder: &Path, retract: bool) -> Result<u64, SourceError> {
        let source = self.get(folder)?;
        // A look that is under way would add what is withdrawn.
        let _alone = self.alone_with(folder).await;
        let mut grains = 0;
        if retract {
            let library = &self.inner.library;
            for uri in documents_of(library, folder).await.map_err(DocumentError::from)? {
                grains += library.withdraw(&uri).await?;
            }
        }
        let removed =
            lock(&self.inner.list).change(|sources| sources.retain(|other| other.folder != source.folder));
        removed.map_err(SourceError::NotKept)?;
        self.inner.states.remove(&source);
        lock(&self.inner.latest).remove(&source.folder);
        self.inner.changed.notify_one();
        Ok(grains)
    }

    /// Looks at a folder now, when its turn comes, paused or not. `progress` is told how far it is.
    ///
    /// # Errors
    /// [`SourceError::NotRemembered`]. What goes wrong with a look stands in its report.
    pub async fn look_at(
        &self,
        folder: &Path,
        how: How,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Report, SourceError> {
        self.get(folder)?;
        let inner = &self.inner;
        let _alone = self.alone_with(folder).await;
        // Nobody closes it.
        let _turn = inner.turns.acquire().await;
        // It may have been changed, or removed, while others had their turns.
        let source = self.get(folder)?;
        let (states, of) = (inner.states.clone(), source.clone());
        let before = blocking(move || states.load(&of)).await;
        self.note(folder, |latest| latest.running = Some(Progress::default()));
        let told = |now: Progress| {
            self.note(folder, |latest| latest.running = Some(now));
            progress(now);
        };
        let pass = Pass {
            library: &inner.library,
            source: source.clone(),
            how,
            now_ms: now_ms(),
            progress: &told,
            stop: inner.stop.clone(),
        };
        let (mut report, state) = pass.run(before).await;
        if !how.dry_run {
            inner.library.metrics().looked_at_source(report.problem.is_none(), report.counted());
            let looked_ms = state.looked_ms;
            let states = inner.states.clone();
            if let Err(error) = blocking(move || states.save(&source, &state)).await {
                tracing::warn!(%error, "what is known of a folder is not kept");
                report.problem.get_or_insert(format!("what is known of it is not kept: {error}"));
            }
            self.note(folder, |latest| {
                latest.report = Some(report.clone());
                latest.looked_ms = Some(looked_ms);
            });
            if let Some(change) = report.change(folder) {
                inner.events.tell(Happening::SourceChanged(change));
            }
        }
        self.note(folder, |latest| latest.running = None);
        Ok(report)
    }

    /// Waits until nobody looks at a folder, and keeps others from it.
    async fn alone_with(&self, folder: &Path) -> OwnedMutexGuard<()> {
        let busy = {
            let mut busy = lock(&self.inner.busy);
            // Those that nobody holds or waits for.
            busy.retain(|_, one| Arc::strong_count(one) > 1);
            busy.entry(folder.to_owned()).or_default().clone()
        };
        busy.lock_owned().await
    }

    fn get(&self, folder: &Path) -> Result<Source, SourceError> {
        let found = lock(&self.inner.list).get(folder).cloned();
        found.ok_or_else(|| SourceError::NotRemembered(folder.display().to_string()))
    }

    fn note(&self, folder: &Path, change: impl FnOnce(&mut Latest)) {
        change(lock(&self.inner.latest).entry(folder.to_owned()).or_default());
    }
}

/// Where the documents lie that are stored of a folder, or of the one file that is remembered.
///
/// # Errors
/// When the store cannot be read.
async fn documents_of(library: &Library, folder: &Path) -> Result<BTreeSet<String>, StorageError> {
    let uri = file_uri(folder);
    let mut documents = library.below(&format!("{uri}/")).await?;
    // Those whose names only begin like that of the file are others'.
    let own = composed(uri.clone());
    documents.extend(library.below(&uri).await?.into_iter().filter(|found| composed(found.clone()) == own));
    Ok(documents)
}

/// Whether there is room for one more folder, and nobody else looks after it.
fn check_room(sources: &[Source], folder: &Path) -> Result<(), SourceError> {
    let refused = |reason: String| Err(SourceError::Refused(reason));
    if sources.len() >= MAX_SOURCES {
        return refused(format!("{MAX_SOURCES} folders are remembered, and no more may be: remove some"));
    }
    let name = folder.display();
    for other in sources {
        let theirs = other.folder.display();
        if folder.starts_with(&other.folder) {
            return refused(format!("{name} lies in {theirs}, which is remembered already"));
        }
        if other.folder.starts_with(folder) {
            return refused(format!("{theirs}, which is remembered, lies in {name}: remove that first"));
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
