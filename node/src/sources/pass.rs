//! One look at a folder: what changed in it is done to the grains, and nothing else.
//!
//! ```text
//!  walk -> look at sizes and times -> read what may have changed -> moved? relocated
//!                                                                   new, edited? added      gone? withdrawn, after a while
//! ```
//!
//! A folder that is not there, or empty where it was not, is taken for a disk that is not mounted: nothing is withdrawn then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::difference::{Known, Seen, Stamp, Uri, find_moved, look};
use super::documents_of;
use super::list::Source;
use super::reading::{Outcome, Reading, hash_of, read};
use super::state::{State, mark};
use crate::blocking::blocking;
use crate::composed::composed;
use crate::files::{Entry, Found, Glob, LeftOut, Rules, file_uri};
use crate::memory::document::DocumentError;
use crate::memory::events::SourceChange;
use crate::memory::ingest::IngestError;
use crate::memory::library::Library;

/// Files that one folder may have.
const MAX_FILES: usize = 200_000;
/// Files that are being stored at the same time.
const MAX_FILES_IN_FLIGHT: usize = 4;
/// Refused files that a report names.
const MAX_NAMED: usize = 20;
/// How long a file must be missing before its grains are withdrawn: some programs save by removing a file and writing it anew,
/// and a folder that is synchronised may be half there for a while.
pub(super) const GRACE: Duration = Duration::from_secs(600);
/// A file that was changed so shortly before a look is read again by the next one: it may change once more at what its file
/// system takes for the same time.
const MIN_AGE_MS: u64 = 3000;
/// When more files than this are missing, and they are more than half, somebody has to say that this is meant.
const MANY_MISSING: usize = 20;

/// How far a look has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Files that are done.
    pub done: u64,
    /// Files that are to be read.
    pub total: u64,
}

/// What became of a look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// Files that were found and are meant.
    pub files: u64,
    /// Of these, those that say what they said.
    pub unchanged: u64,
    /// Files that are new.
    pub added: u64,
    /// Files that say something else.
    pub edited: u64,
    /// Files that lie elsewhere, or are called otherwise.
    pub moved: u64,
    /// Files that are gone, and whose grains were withdrawn.
    pub withdrawn: u64,
    /// Files that are gone since too short a time for that.
    pub missing: u64,
    /// Files that are no documents.
    pub skipped: u64,
    /// Files that should have been read and were not.
    pub refused: u64,
    /// The first of these, with the reasons.
    pub named: Vec<(String, String)>,
    /// What the walk left out, in words; empty when nothing.
    pub left_out: String,
    /// Grains that are new.
    pub grains_added: u64,
    /// Grains that were withdrawn.
    pub grains_retracted: u64,
    /// Why it ended early, or withdrew nothing; what to do about it.
    pub problem: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// Files by what was done with them, as they are counted.
    pub fn counted(&self) -> [(&'static str, u64); 5] {
        [
            ("added", self.added),
            ("edited", self.edited),
            ("moved", self.moved),
            ("withdrawn", self.withdrawn),
            ("refused", self.refused),
        ]
    }
}

/// How a look is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct How {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Withdraw at once what is gone, however much it is: somebody asked for it.
    pub withdraw: bool,
}

/// A look that is under way.
pub(super) struct Pass<'a> {
    pub library: &'a Library,
    pub source: Source,
    pub how: How,
    pub now_ms: u64,
    /// Told how far it is.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
    /// Cancelled when it is to end early, with what it has.
    pub stop: CancellationToken,
}

/// What a walk found.
struct Walked {
    found: BTreeMap<Uri, (PathBuf, Stamp)>,
    skipped: u64,
    refused: Vec<(PathBuf, String)>,
    left_out: LeftOut,
}

impl Pass<'_> {
    /// Looks at the folder and does what changed. Answers what became of it, and what is known of the folder now.
    pub async fn run(self, before: Option<State>) -> (Report, State) {
        let start = Instant::now();
        let mut report = Report::default();
        let is_known = before.is_some();
        let mut state = before.unwrap_or_default();
        if let Err(problem) = self.run_on(is_known, &mut state, &mut report).await {
            report.problem = Some(problem);
        }
        state.looked_ms = self.now_ms;
        report.elapsed = start.elapsed();
        (report, state)
    }

    async fn run_on(&self, is_known: bool, state: &mut State, report: &mut Report) -> Result<(), String> {
        if !is_known {
            state.files = self.stored().await?;
        }
        let was = match state.files.contains_key(&uri_of(&self.source.folder)) {
            _ if state.files.is_empty() => None,
            true => Some(Kind::File),
            false => Some(Kind::Folder),
        };
        let walked = self.walk(was).await?;
        let read_all = !is_known || state.terms != mark(&self.source);
        report.files = walked.found.len() as u64;
        report.skipped = walked.skipped;
        report.left_out =
            if walked.left_out.is_empty() { String::new() } else { walked.left_out.to_string() };
        for (path, reason) in &walked.refused {
            report.refuse(path.display().to_string(), reason.clone());
        }
        let stamps = walked.found.iter().map(|(uri, (_, stamp))| (uri.clone(), *stamp)).collect();
        let mut outside = look(&state.files, &stamps, read_all);
        report.count_unread(&state.files, &outside.unchanged);
        // What lies in a folder that cannot be looked into is not known to be gone.
        let closed: Vec<Uri> = walked.refused.iter().map(|(path, _)| uri_of(path)).collect();
        outside.missing.retain(|uri| !closed.iter().any(|closed| is_at_or_below(uri, closed)));
        for uri in stamps.keys() {
            if let Some(seen) = state.files.get_mut(uri) {
                seen.missing_since_ms = None;
            }
        }
        let to_read: Vec<(Uri, PathBuf, Stamp)> = outside
            .to_read
            .iter()
            .filter_map(|uri| walked.found.get(uri).map(|(path, stamp)| (uri.clone(), path.clone(), *stamp)))
            .collect();
        let mut missing = outside.missing;
        // Only what was there can have been moved.
        let moved = match missing.is_empty() && !self.how.dry_run {
            true => BTreeMap::new(),
            false => {
                let hashes = hashes(to_read.clone()).await;
                let moved = find_moved(&state.files, &hashes, &mut missing);
                if self.how.dry_run {
                    self.tell(state, report, &hashes, &moved, &missing);
                    return Ok(());
                }
                moved
            }
        };
        for (to, from) in &moved {
            self.library.relocate(from, to).await.map_err(|error| error.to_string())?;
            if let Some(seen) = state.files.remove(from) {
                state.files.insert(to.clone(), seen);
            }
        }
        report.moved = moved.len() as u64;
        self.add(to_read, &moved, state, report).await?;
        for seen in state.files.iter().filter(|(uri, _)| stamps.contains_key(*uri)) {
            if let (uri, Seen { refused: Some(reason), .. }) = seen {
                report.refuse(uri.clone(), reason.clone());
            }
        }
        self.withdraw(missing, state, report).await?;
        if !self.stop.is_cancelled() {
            state.terms = mark(&self.source);
        }
        Ok(())
    }

    /// What the store holds of the folder, where nothing else is known: each file has to be read.
    async fn stored(&self) -> Result<Known, String> {
        let documents = documents_of(self.library, &self.source.folder).await;
        let documents = documents.map_err(|error| error.to_string())?;
        let unread = Seen {
            stamp: Stamp { bytes: 0, modified_ns: 0 },
            hash: String::new(),
            is_added: true,
            refused: None,
            missing_since_ms: None,
            links: Vec::new(),
        };
        Ok(documents.into_iter().map(|uri| (composed(uri), unread.clone())).collect())
    }

    async fn walk(&self, was: Option<Kind>) -> Result<Walked, String> {
        let source = self.source.clone();
        blocking(move || walk(&source, was)).await
    }

    /// Tells what would be done.
    fn tell(
        &self,
        state: &State,
        report: &mut Report,
        hashes: &BTreeMap<Uri, String>,
        moved: &BTreeMap<Uri, Uri>,
        missing: &[Uri],
    ) {
        for (uri, hash) in hashes.iter().filter(|(uri, _)| !moved.contains_key(*uri)) {
            match state.files.get(uri) {
                Some(seen) if seen.hash == *hash && state.terms == mark(&self.source) => {
                    report.unchanged += 1
                }
                Some(seen) if seen.is_added => report.edited += 1,
                _ => report.added += 1,
            }
        }
        report.moved = moved.len() as u64;
        report.withdrawn =
            missing.iter().filter(|uri| state.files.get(*uri).is_some_and(|seen| seen.is_added)).count()
                as u64;
    }

    /// Reads and stores files, a few at the same time.
    async fn add(
        &self,
        to_read: Vec<(Uri, PathBuf, Stamp)>,
        moved: &BTreeMap<Uri, Uri>,
        state: &mut State,
        report: &mut Report,
    ) -> Result<(), String> {
        let total = to_read.len() as u64;
        let is_under_terms = state.terms == mark(&self.source);
        let known = Arc::new(std::mem::take(&mut state.files));
        let source = Arc::new(self.source.clone());
        let own = uri_of(&self.source.folder);
        let files = to_read.into_iter().map(|(uri, path, stamp)| {
            let before = known.get(&uri).filter(|seen| is_under_terms && seen.refused.is_none());
            let before = before.map(|seen| seen.hash.clone());
            let source = source.clone();
            async move { (read(self.library, &source, &uri, path, before).await, uri, stamp) }
        });
        let mut files = futures::stream::iter(files).buffered(MAX_FILES_IN_FLIGHT);
        let mut fresh: Vec<(Uri, Seen)> = Vec::new();
        let mut end = Ok(());
        let mut done = 0;
        while let Some((result, uri, stamp)) = files.next().await {
            done += 1;
            (self.progress)(Progress { done, total });
            let was_added = known.get(&uri).is_some_and(|seen| seen.is_added);
            let links = known.get(&uri).map(|seen| seen.links.clone()).unwrap_or_default();
            match result {
                Ok(Reading { hash, outcome }) => {
                    let stamp = match hash.is_empty() {
                        true => Stamp { modified_ns: 0, ..stamp },
                        false => self.sure(stamp),
                    };
                    let seen = Seen {
                        stamp,
                        hash,
                        is_added: was_added,
                        refused: None,
                        missing_since_ms: None,
                        links,
                    };
                    let seen = report.count(outcome, moved.contains_key(&uri), uri == own, seen);
                    fresh.push((uri, seen));
                }
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
            if self.stop.is_cancelled() {
                end = Err("the node is stopping: the rest is done when it runs again".to_owned());
                break;
            }
        }
        drop(files);
        state.files = Arc::try_unwrap(known).unwrap_or_else(|known| (*known).clone());
        state.files.extend(fresh);
        end
    }

    /// A stamp that a later change of the file cannot have, too: clocks of file systems go in steps.
    fn sure(&self, stamp: Stamp) -> Stamp {
        let age_ms = self.now_ms.saturating_sub(stamp.modified_ns / 1_000_000);
        if age_ms < MIN_AGE_MS { Stamp { modified_ns: 0, ..stamp } } else { stamp }
    }

    /// Withdraws what is gone, or remembers since when it is.
    async fn withdraw(
        &self,
        missing: Vec<Uri>,
        state: &mut State,
        report: &mut Report,
    ) -> Result<(), String> {
        let all = state.files.values().filter(|seen| seen.is_added).count();
        let is_much = missing.len() > MANY_MISSING && missing.len() * 2 > all;
        for uri in missing {
            let Some(seen) = state.files.get_mut(&uri) else { continue };
            let since = *seen.missing_since_ms.get_or_insert(self.now_ms);
            let is_over = u128::from(self.now_ms.saturating_sub(since)) >= GRACE.as_millis();
            if seen.is_added && !self.how.withdraw && (is_much || !is_over) {
                report.missing += 1;
                continue;
            }
            if seen.is_added {
                report.grains_retracted +=
                    self.library.withdraw(&uri).await.map_err(|error| error.to_string())?;
                report.withdrawn += 1;
            }
            state.files.remove(&uri);
        }
        if is_much && report.missing > 0 {
            return Err(format!(
                "{} of {all} files are gone, and nothing of them is withdrawn before you say that this is meant: `synapsenet sources sync --withdraw {}`",
                report.missing,
                self.source.folder.display()
            ));
        }
        Ok(())
    }
}

impl Report {
    /// What was changed, if anything was.
    pub(super) fn change(&self, folder: &Path) -> Option<SourceChange> {
        let &Self { added, edited, moved, withdrawn, grains_added, grains_retracted, .. } = self;
        let is_change = added + edited + moved + withdrawn > 0;
        let folder = folder.to_owned();
        is_change.then_some(SourceChange {
            folder,
            added,
            edited,
            moved,
            withdrawn,
            grains_added,
            grains_retracted,
        })
    }

    fn refuse(&mut self, name: String, reason: String) {
        self.refused += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push((name, reason));
        }
    }

    /// Counts files that look as they did: each is what it was.
    fn count_unread(&mut self, known: &Known, unread: &[Uri]) {
        for seen in unread.iter().filter_map(|uri| known.get(uri)) {
            match seen {
                // It is named below.
                Seen { refused: Some(_), .. } => {}
                Seen { is_added: true, .. } => self.unchanged += 1,
                _ => self.skipped += 1,
            }
        }
    }

    /// Counts what became of a file that was read, unless it was counted as moved; `is_asked` for one that is remembered by itself.
    /// Answers what is known of it.
    fn count(&mut self, outcome: Outcome, is_moved: bool, is_asked: bool, seen: Seen) -> Seen {
        const KEPT: &str = "what it said before is kept until it is read again, or withdrawn by `synapsenet retract --source FILE`";
        let was_added = seen.is_added;
        match outcome {
            Outcome::Unchanged => {
                match was_added {
                    true => self.unchanged += u64::from(!is_moved),
                    false => self.skipped += 1,
                }
                seen
            }
            Outcome::Stored { added, retracted, links } => {
                self.grains_added += added;
                self.grains_retracted += retracted;
                match (was_added, added + retracted) {
                    (true, 0) => self.unchanged += u64::from(!is_moved),
                    (true, _) => self.edited += 1,
                    (false, _) => self.added += 1,
                }
                Seen { is_added: true, links, ..seen }
            }
            Outcome::Empty => {
                self.skipped += 1;
                Seen { is_added: false, links: Vec::new(), ..seen }
            }
            // Of a folder, it was hardly meant.
            Outcome::NoDocument(_) if !was_added && !is_asked => {
                self.skipped += 1;
                seen
            }
            Outcome::NoDocument(reason) | Outcome::Refused(reason) if was_added => {
                Seen { refused: Some(format!("{reason}; {KEPT}")), ..seen }
            }
            Outcome::NoDocument(reason) | Outcome::Refused(reason) => Seen { refused: Some(reason), ..seen },
        }
    }
}

/// Why a pass has to end, where an error is not about one file.
pub(super) fn ends_pass(error: &DocumentError) -> bool {
    match error {
        DocumentError::Ingest(IngestError::Refused(_)) => false,
        DocumentError::Ingest(_) | DocumentError::Embed(_) | DocumentError::Storage(_) => true,
        _ => false,
    }
}

/// What is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

/// Looks what is there; `was` is what was there before, if anything is known of it.
fn walk(source: &Source, was: Option<Kind>) -> Result<Walked, String> {
    let folder = &source.folder;
    let name = folder.display();
    let found = Found::at(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "{name} is not there: what is remembered of it stays (`synapsenet sources remove` ends that)"
            )
        }
        kind => format!("{name} cannot be looked at: {kind}"),
    })?;
    let kind = match (folder.is_dir(), folder.is_file()) {
        (true, _) => Kind::Folder,
        (_, true) => Kind::File,
        _ => {
            return Err(format!(
                "{name} is neither a folder nor a file any more: what is remembered of it stays"
            ));
        }
    };
    if was.is_some_and(|was| was != kind) {
        let now = if kind == Kind::File { "a file and was a folder" } else { "a folder and was a file" };
        return Err(format!(
            "{name} is {now}: what is remembered of it stays (`synapsenet sources remove` ends that)"
        ));
    }
    let mut walked =
        Walked { found: BTreeMap::new(), skipped: 0, refused: Vec::new(), left_out: LeftOut::default() };
    if kind == Kind::File {
        walked.found.insert(uri_of(folder), (folder.clone(), stamp(&found)));
        return Ok(walked);
    }
    if was.is_some() && folder.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
        return Err(format!(
            "the folder {name} is empty, as if its disk were not mounted: nothing is withdrawn (`synapsenet sources remove \
             --retract` does that)"
        ));
    }
    let rules = rules(source)?;
    let mut walk = rules.walk(folder);
    for entry in walk.by_ref() {
        match entry {
            Entry::Found { path, found } => {
                walked.found.insert(uri_of(&path), (path, stamp(&found)));
            }
            Entry::Skipped { .. } => walked.skipped += 1,
            Entry::Refused { path, reason } => walked.refused.push((path, reason)),
        }
        if walked.found.len() > MAX_FILES {
            return Err(format!(
                "the folder {name} has more than {MAX_FILES} files: add parts of it, or use --exclude"
            ));
        }
    }
    walked.left_out = walk.left_out();
    Ok(walked)
}

/// Which files of a source are meant.
///
/// # Errors
/// When a glob is none.
pub(super) fn rules(source: &Source) -> Result<Rules, String> {
    let terms = &source.terms;
    let exclude = terms.exclude.iter().map(|glob| glob.parse::<Glob>().map_err(|error| error.to_string()));
    Ok(Rules {
        no_ignore: terms.no_ignore,
        include_secrets: terms.include_secrets,
        exclude: exclude.collect::<Result<_, _>>()?,
    })
}

/// What a file is called here: the same in whichever form its accents are written, as it is in the store.
fn uri_of(path: &Path) -> Uri {
    composed(file_uri(path))
}

fn stamp(found: &Found) -> Stamp {
    let since = found.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
    Stamp { bytes: found.size, modified_ns }
}

fn is_at_or_below(uri: &str, folder: &str) -> bool {
    uri.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What files say, one after the other. One that cannot be read is told when it is read to be stored.
async fn hashes(files: Vec<(Uri, PathBuf, Stamp)>) -> BTreeMap<Uri, String> {
    blocking(move || {
        files.into_iter().filter_map(|(uri, path, _)| Some((uri, hash_of(&path).ok()?))).collect()
    })
    .await
}
