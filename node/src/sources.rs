//! Which folders are remembered, and that what the node knows of them is what they say now.
//!
//! ```text
//!  list (what is remembered, and how) --> schedule --> pass: walk, difference, library --> report
//!                                            ^
//!                        watch (inotify) ----+---- somebody asked
//! ```
//!
//! A look at a folder is cheap when nothing changed: its files are only read when their sizes or times did. Looks are made one
//! after the other. This room knows no protocol, no peer and no client.

mod difference;
mod list;
mod pass;
mod reading;
mod schedule;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::files::file_uri;
use crate::memory::document::DocumentError;
use crate::memory::ingest::now_ms;
use crate::memory::library::Library;
use list::MAX_SOURCES;
pub(crate) use list::{List, Rhythm, Source, Terms};
use pass::Pass;
pub(crate) use pass::{How, Progress, Report};
use schedule::Marks;
use state::States;

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
    /// Held by the look that is under way.
    turn: tokio::sync::Mutex<()>,
    /// Folders in which something changed.
    marks: Marks,
    /// Told when what is remembered changed, or something in a folder.
    changed: Arc<Notify>,
    stop: CancellationToken,
}

impl Sources {
    /// Takes over what is remembered in a data folder. Looks end early when `stop` is cancelled.
    pub fn new(list: List, data_dir: &Path, library: Library, stop: CancellationToken) -> Self {
        let changed = Arc::new(Notify::new());
        let inner = Inner {
            list: Mutex::new(list),
            states: States::new(data_dir),
            library,
            latest: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
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
        let _turn = self.inner.turn.lock().await;
        let mut grains = 0;
        if retract {
            let library = &self.inner.library;
            let documents = library.below(&format!("{}/", file_uri(folder))).await;
            for uri in documents.map_err(DocumentError::from)? {
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
        let _turn = inner.turn.lock().await;
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
        }
        self.note(folder, |latest| latest.running = None);
        Ok(report)
    }

    fn get(&self, folder: &Path) -> Result<Source, SourceError> {
        let found = lock(&self.inner.list).get(folder).cloned();
        found.ok_or_else(|| SourceError::NotRemembered(folder.display().to_string()))
    }

    fn note(&self, folder: &Path, change: impl FnOnce(&mut Latest)) {
        change(lock(&self.inner.latest).entry(folder.to_owned()).or_default());
    }
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
