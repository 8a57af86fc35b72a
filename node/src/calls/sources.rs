//! Calls about folders that are remembered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use synapsenet_proto::{Draft, Grain, Topic};
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::calls::error::invalid;
use crate::calls::{Call, CallError, now_ms};
pub(crate) use crate::sources::{How, Progress, Report, Rhythm, Source, Standing, Terms};

/// Seconds from one look at a folder to the next.
const INTERVALS: std::ops::RangeInclusive<u64> = 10..=31_536_000;
/// Globs of one folder.
const MAX_EXCLUDED: usize = 256;

impl Call {
    /// Remembers a folder, or changes how it is remembered. Answers how it is remembered now, and how it was.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn add_source(&self, source: Source) -> Result<(Source, Option<Source>), CallError> {
        self.note_about(&source.folder.display().to_string());
        let terms = &source.terms;
        let topic = Topic::new(terms.topic.as_str()).map_err(CallError::from)?;
        if let Rhythm::Every(seconds) = source.rhythm
            && !INTERVALS.contains(&seconds)
        {
            let (least, most) = (INTERVALS.start(), INTERVALS.end());
            return Err(invalid(format!("every_seconds is {seconds}; {least} to {most} are allowed")));
        }
        if terms.exclude.len() > MAX_EXCLUDED {
            let globs = terms.exclude.len();
            return Err(invalid(format!("there are {globs} globs; at most {MAX_EXCLUDED} are allowed")));
        }
        // What no grain could have is refused now and not for each file.
        let trial = Draft {
            topic: topic.clone(),
            text: "x".to_owned(),
            tags: terms.tags.clone(),
            lang: terms.lang.clone(),
            ..Draft::default()
        };
        Grain::seal(trial, &self.parts.identity, now_ms()).map_err(CallError::from)?;
        let share = terms.share;
        self.check_topic(&topic, share)?;
        let folder = source.folder.clone();
        let folder = blocking(move || read_folder(&folder)).await?;
        let source = Source { folder, ..source };
        let (sources, remembered) = (self.parts.sources.clone(), source.clone());
        let before = blocking(move || sources.remember(remembered)).await?;
        self.take_part(topic, share).await?;
        Ok((source, before))
    }

    /// The folders that are remembered, of the caller's topics; with `covering` only the one that this path is, or lies in.
    pub fn sources(&self, covering: Option<&Path>) -> Vec<Standing> {
        let topics = self.topics_of_caller();
        let is_seen = |one: &Standing| {
            !topics.is_limited() || Topic::new(&*one.source.terms.topic).is_ok_and(|topic| topics.has(&topic))
        };
        let mut all = self.parts.sources.all();
        all.retain(is_seen);
        match covering {
            Some(path) => all.into_iter().filter(|one| path.starts_with(&one.source.folder)).collect(),
            None => all,
        }
    }

    /// Looks at a folder now. `progress` is told how far it is.
    ///
    /// # Errors
    /// When it is not remembered. What goes wrong with the look stands in its report.
    pub async fn sync_source(
        &self,
        folder: &Path,
        how: How,
        progress: watch::Sender<Progress>,
    ) -> Result<Report, CallError> {
        self.note_about(&folder.display().to_string());
        // Nobody may listen.
        let tell = |now| {
            let _ = progress.send(now);
        };
        Ok(self.parts.sources.look_at(folder, how, tell).await?)
    }

    /// Leaves a folder as it is, or no longer.
    ///
    /// # Errors
    /// When it is not remembered, or that cannot be written.
    pub async fn pause_source(&self, folder: PathBuf, is_paused: bool) -> Result<(), CallError> {
        self.note_about(&folder.display().to_string());
        let sources = self.parts.sources.clone();
        Ok(blocking(move || sources.pause(&folder, is_paused)).await?)
    }

    /// Remembers a folder no longer; with `retract`, its grains are withdrawn. Answers how many.
    ///
    /// # Errors
    /// When it is not remembered, or a grain cannot be withdrawn; then it is still remembered.
    pub async fn remove_source(&self, folder: &Path, retract: bool) -> Result<u64, CallError> {
        self.note_about(&folder.display().to_string());
        let retracted = self.parts.sources.remove(folder, retract).await?;
        self.note_grains(retracted);
        Ok(retracted)
    }
}

/// The path of a folder, or of a single file, that this process can look into.
fn read_folder(folder: &Path) -> Result<PathBuf, CallError> {
    let name = folder.display();
    if !folder.is_absolute() {
        return Err(invalid(format!("{name:?} is no absolute path of a folder")));
    }
    let cannot = |error: std::io::Error| {
        invalid(format!(
            "the node cannot look into {name}: {}; it runs as another user, or its service keeps it from there",
            error.kind()
        ))
    };
    let folder = folder.canonicalize().map_err(cannot)?;
    if folder.to_str().is_none() {
        return Err(invalid(format!("the path of {name} is not UTF-8: rename the folder")));
    }
    if crate::data_folder::is_part_of_one(&folder) {
        return Err(invalid(format!("{name} belongs to a node's data folder")));
    }
    match (folder.is_dir(), folder.is_file()) {
        (true, _) => drop(folder.read_dir().map_err(cannot)?),
        (_, true) => drop(std::fs::File::open(&folder).map_err(cannot)?),
        _ => return Err(invalid(format!("{name} is neither a folder nor a file"))),
    }
    Ok(folder)
}

/// How long a look took, for doors.
pub(crate) fn elapsed_us(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
