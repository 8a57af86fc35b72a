//! When folders are looked at: by the clock, or soon after the system said that something changed in one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{How, Rhythm, Source, Sources, lock};

/// A folder is looked at when nothing changed in it for this long: programs write a file in several steps ...
const SETTLED: Duration = Duration::from_secs(2);
/// ... or when it changed all the time since.
const MAX_UNSETTLED: Duration = Duration::from_secs(30);
/// A folder that is watched is looked at as often in any case: the system forgets to tell when much happens at once.
const FULL_LOOK: Duration = Duration::from_secs(3600);
/// A folder that cannot be watched is looked at as often.
const UNWATCHED_LOOK: Duration = Duration::from_secs(60);

/// In which folders something changed, and when.
#[derive(Clone)]
pub(super) struct Marks {
    marks: Arc<Mutex<HashMap<PathBuf, Mark>>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    first: Instant,
    last: Instant,
}

impl Mark {
    /// When the folder is to be looked at.
    fn due(self) -> Instant {
        (self.last + SETTLED).min(self.first + MAX_UNSETTLED)
    }
}

impl Marks {
    /// None yet. `changed` is told of each.
    pub fn new(changed: Arc<Notify>) -> Self {
        Self { marks: Arc::default(), changed }
    }

    fn set(&self, folder: &Path, now: Instant) {
        lock(&self.marks)
            .entry(folder.to_owned())
            .and_modify(|mark| mark.last = now)
            .or_insert(Mark { first: now, last: now });
        self.changed.notify_one();
    }

    fn take(&self, folder: &Path) {
        lock(&self.marks).remove(folder);
    }

    fn due(&self, folder: &Path) -> Option<Instant> {
        lock(&self.marks).get(folder).map(|mark| mark.due())
    }
}

/// When a folder is next looked at by the clock. None when somebody has to say so.
fn interval(rhythm: Rhythm, is_watched: bool) -> Option<Duration> {
    match rhythm {
        Rhythm::Manual => None,
        Rhythm::Every(seconds) => Some(Duration::from_secs(seconds)),
        Rhythm::Watch if is_watched => Some(FULL_LOOK),
        Rhythm::Watch => Some(UNWATCHED_LOOK),
    }
}

impl Sources {
    /// Looks at each folder when it is due, until the node stops.
    pub async fn run(self) {
        let mut watchers: HashMap<PathBuf, Option<RecommendedWatcher>> = HashMap::new();
        let mut next: HashMap<PathBuf, Instant> = HashMap::new();
        let mut looks = FuturesUnordered::new();
        let mut looked_at = HashSet::new();
        let stop = self.inner.stop.clone();
        while !stop.is_cancelled() {
            let sources: Vec<Source> = self.all().into_iter().map(|standing| standing.source).collect();
            self.watch(&sources, &mut watchers).await;
            let is_due_by_clock = |source: &&Source| !source.is_paused && source.rhythm != Rhythm::Manual;
            next.retain(|folder, _| sources.iter().filter(is_due_by_clock).any(|s| s.folder == *folder));
            let mut soonest = None;
            for source in sources.iter().filter(is_due_by_clock) {
                let folder = &source.folder;
                // It comes up again when it is done.
                if looked_at.contains(folder) {
                    continue;
                }
                let is_watched = watchers.get(folder).is_some_and(Option::is_some);
                // At the start, each is looked at: nobody knows what happened before.
                let by_clock = *next.entry(folder.clone()).or_insert_with(Instant::now);
                let due = self.inner.marks.due(folder).map_or(by_clock, |marked| marked.min(by_clock));
                if due > Instant::now() {
                    soonest = Some(soonest.map_or(due, |soonest: Instant| soonest.min(due)));
                    continue;
                }
                looked_at.insert(folder.clone());
                looks.push(self.look_when_due(folder.clone(), interval(source.rhythm, is_watched)));
            }
            let waiting = async {
                match soonest {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waiting => {}
                Some((folder, due)) = looks.next() => {
                    next.extend(due.map(|due| (folder.clone(), due)));
                    looked_at.remove(&folder);
                }
                () = self.inner.changed.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        // They end early, with what they have.
        while looks.next().await.is_some() {}
    }

    /// Looks at a folder. Answers when it is due again by the clock.
    async fn look_when_due(&self, folder: PathBuf, interval: Option<Duration>) -> (PathBuf, Option<Instant>) {
        // What changes from here on asks for another look: it may come too late for this one.
        self.inner.marks.take(&folder);
        // One that was removed meanwhile is no loss.
        if let Ok(report) = self.look_at(&folder, How::default(), |_| ()).await {
            tell(&folder, &report);
        }
        (folder, interval.map(|interval| Instant::now() + interval))
    }

    /// Watches what is to be watched, and nothing else.
    async fn watch(&self, sources: &[Source], watchers: &mut HashMap<PathBuf, Option<RecommendedWatcher>>) {
        let is_watched = |source: &&Source| source.rhythm == Rhythm::Watch && !source.is_paused;
        watchers.retain(|folder, _| sources.iter().filter(is_watched).any(|source| source.folder == *folder));
        for source in sources.iter().filter(is_watched) {
            if watchers.contains_key(&source.folder) {
                continue;
            }
            let (marks, folder) = (self.inner.marks.clone(), source.folder.clone());
            // A large folder takes a while: each folder in it is asked for alone.
            let watcher = crate::blocking::blocking(move || watcher(marks, &folder)).await;
            let not_watched = watcher.as_ref().err().map(|error| {
                tracing::warn!(%error, folder = %source.folder.display(), "a folder is looked at every minute instead of being watched");
                error.to_string()
            });
            self.note(&source.folder, |latest| latest.not_watched = not_watched);
            watchers.insert(source.folder.clone(), watcher.ok());
        }
    }
}

/// Marks a folder when something changes in it. A single file is watched from the folder that it lies in: many programs save by
/// putting another file in its place.
fn watcher(marks: Marks, folder: &Path) -> Result<RecommendedWatcher, notify::Error> {
    let is_file = folder.is_file();
    let marked = folder.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
        // That a file was read changes nothing, and each look reads some.
        let is_meant = |event: &notify::Event| {
            !is_file || event.need_rescan() || event.paths.is_empty() || event.paths.contains(&marked)
        };
        if event.as_ref().map_or(true, |event| !event.kind.is_access() && is_meant(event)) {
            marks.set(&marked, Instant::now());
        }
    })?;
    match folder.parent().filter(|_| is_file) {
        Some(parent) => watcher.watch(parent, RecursiveMode::NonRecursive)?,
        None => watcher.watch(folder, RecursiveMode::Recursive)?,
    }
    Ok(watcher)
}

fn tell(folder: &Path, report: &super::Report) {
    let folder = folder.display();
    match &report.problem {
        Some(problem) => tracing::warn!(%folder, problem, "a remembered folder"),
        None if report.added + report.edited + report.moved + report.withdrawn > 0 => tracing::info!(
            %folder,
            added = report.added,
            edited = report.edited,
            moved = report.moved,
            withdrawn = report.withdrawn,
            "a remembered folder changed"
        ),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_looked_at_when_it_has_settled_and_at_last_in_any_case() {
        let (marks, folder, start) = (Marks::new(Arc::default()), Path::new("/a"), Instant::now());
        assert_eq!(marks.due(folder), None);
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            marks.set(folder, now);
            assert_eq!(marks.due(folder), Some((now + SETTLED).min(start + MAX_UNSETTLED)));
        }
        marks.take(folder);
        assert_eq!(marks.due(folder), None);
    }

    #[test]
    fn each_rhythm_has_its_interval() {
        assert_eq!(interval(Rhythm::Manual, false), None);
        assert_eq!(interval(Rhythm::Every(90), false), Some(Duration::from_secs(90)));
        assert_eq!(interval(Rhythm::Watch, true), Some(FULL_LOOK));
        assert_eq!(interval(Rhythm::Watch, false), Some(UNWATCHED_LOOK));
    }
}
