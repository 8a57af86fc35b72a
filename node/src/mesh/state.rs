//! What the mesh keeps from one start to the next, in one small file beside the database. Losing it costs a search for
//! peers.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use synapsenet_net::Saved;
use synapsenet_proto::Topic;

/// Name of the file in the data folder.
const FILE: &str = "mesh.json";
/// Topics joined or left by hand: more than any peer may subscribe to.
const MAX_TOPICS: usize = 256;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
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
        let path = data_dir.join(FILE);
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

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self) -> anyhow::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer_pretty(&mut file, &self.kept)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// The topics to take part in: those configured and those joined by hand, without those left by hand.
    pub fn topics(&self, configured: impl Iterator<Item = Topic>) -> BTreeSet<Topic> {
        let joined = self.kept.joined.iter().filter_map(|name| Topic::new(name.as_str()).ok());
        configured.chain(joined).filter(|topic| !self.kept.left.contains(topic.as_str())).collect()
    }

    pub fn joined(&mut self, topic: &Topic) {
        self.kept.left.remove(topic.as_str());
        if self.kept.joined.len() < MAX_TOPICS {
            self.kept.joined.insert(topic.to_string());
        }
    }

    pub fn left(&mut self, topic: &Topic) {
        self.kept.joined.remove(topic.as_str());
        if self.kept.left.len() < MAX_TOPICS {
            self.kept.left.insert(topic.to_string());
        }
    }

    /// Addresses and bans, for the swarm.
    pub fn saved(&self) -> Saved {
        self.kept.saved.clone()
    }

    pub fn set_saved(&mut self, saved: Saved) {
        self.kept.saved = saved;
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
        state.joined(&topic("a"));
        state.left(&topic("commons"));
        state.save().unwrap();
        let state = State::load(dir.path()).unwrap();
        let topics = state.topics([topic("commons"), topic("b")].into_iter());
        assert_eq!(topics, [topic("a"), topic("b")].into());
    }

    #[test]
    fn a_file_that_cannot_be_understood_costs_no_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(State::load(dir.path()).unwrap().kept, Kept::default());
    }
}
