//! What the mesh keeps from one start to the next, in one small file beside the database. Losing it costs a search for
//! peers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use synapsenet_net::Saved;
use synapsenet_proto::Topic;

use crate::config::MAX_TOPICS;
use crate::data_folder::{self, MESH};

/// Topics left by hand that are remembered; of more, the first by name.
const MAX_LEFT: usize = 1024;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    joined: BTreeSet<String>,
    left: BTreeSet<String>,
    #[serde(flatten)]
    saved: Saved,
}

/// The file and what is in it.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    kept: Kept,
}

impl State {
    /// Reads the file in `data_dir`; there need not be one. One that cannot be understood is set aside.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(MESH);
        let kept = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, file = %path.display(), "what was known of the mesh cannot be read and is begun anew");
                Kept::default()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, kept })
    }

    /// Changes what is kept and writes the file, whole or not at all, unless nothing is new.
    ///
    /// # Errors
    /// What the system says; then nothing is changed.
    pub fn change(&mut self, change: impl FnOnce(&mut Kept)) -> anyhow::Result<()> {
        let mut kept = self.kept.clone();
        change(&mut kept);
        if kept == self.kept {
            return Ok(());
        }
        let write =
            || -> std::io::Result<()> { data_folder::write(&self.path, &serde_json::to_vec_pretty(&kept)?) };
        write().with_context(|| format!("cannot write {}", self.path.display()))?;
        self.kept = kept;
        Ok(())
    }

    /// The topics to take part in: those configured and those joined by hand, without those left by hand.
    pub fn topics(&self, configured: impl Iterator<Item = Topic>) -> BTreeSet<Topic> {
        let joined = self.kept.joined.iter().filter_map(|name| Topic::new(name.as_str()).ok());
        let topics = configured.chain(joined).filter(|topic| !self.kept.left.contains(topic.as_str()));
        topics.take(MAX_TOPICS).collect()
    }

    /// Addresses and bans, for the swarm.
    pub fn saved(&self) -> Saved {
        self.kept.saved.clone()
    }
}

impl Kept {
    /// Somebody joined a topic by hand.
    pub fn join(&mut self, topic: &Topic) {
        self.left.remove(topic.as_str());
        self.joined.insert(topic.to_string());
    }

    /// Somebody left a topic by hand.
    pub fn leave(&mut self, topic: &Topic) {
        self.joined.remove(topic.as_str());
        if self.left.len() < MAX_LEFT {
            self.left.insert(topic.to_string());
        }
    }

    /// The swarm knows these addresses and bans.
    pub fn save(&mut self, saved: Saved) {
        self.saved = saved;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    #[test]
    fn topics_joined_and_left_by_hand_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::load(dir.path()).unwrap();
        state.change(|kept| kept.join(&topic("a"))).unwrap();
        state.change(|kept| kept.leave(&topic("commons"))).unwrap();
        let state = State::load(dir.path()).unwrap();
        let topics = state.topics([topic("commons"), topic("b")].into_iter());
        assert_eq!(topics, [topic("a"), topic("b")].into());
    }

    #[test]
    fn what_cannot_be_written_is_not_changed_and_what_is_not_new_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::load(&dir.path().join("gone")).unwrap();
        state.change(|_| ()).expect("nothing is written");
        let error = state.change(|kept| kept.join(&topic("a"))).unwrap_err();
        assert!(error.to_string().contains("mesh.json"), "{error}");
        assert_eq!(state.kept, Kept::default());
    }

    #[test]
    fn a_file_that_cannot_be_understood_costs_no_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MESH), "{").unwrap();
        assert_eq!(State::load(dir.path()).unwrap().kept, Kept::default());
    }
}
