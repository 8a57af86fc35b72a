//! Whether this node can be used: the one answer that `/readyz` and gRPC health give.
//!
//! Ready is who can answer a search: the model in use is in memory and the store can be read. A full disk does not take the
//! node out of use, because what it holds is found as before; it is told beside that, and health tells it under a name of its own.

use std::time::Duration;

use tokio::time::timeout;

use super::report::DISK_FULL;
use super::{Calls, Parts};
use crate::blocking::blocking;
use crate::models::Presence;

/// How long is waited for the store. Whoever asks for readiness waits for some seconds.
const MAX_LOOK: Duration = Duration::from_secs(2);

/// Whether the node can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub is_ready: bool,
    /// What is wrong, or is to be known, in sentences.
    pub notes: Vec<String>,
}

impl Calls {
    /// Whether the node can be used. Answers within some seconds, whatever the disk does.
    pub async fn readiness(&self) -> Readiness {
        let parts = self.parts.clone();
        // A look that hangs keeps a thread; those after it do not begin one.
        let looked = timeout(MAX_LOOK, async {
            let look = parts.looks.clone().lock_owned().await;
            let looking = parts.clone();
            blocking(move || {
                let _look = look;
                looking.readiness()
            })
            .await
        });
        looked.await.unwrap_or_else(|_| {
            let seconds = MAX_LOOK.as_secs();
            let note = format!(
                "the database did not answer within {seconds} s: look at the disk of the data folder"
            );
            Readiness { is_ready: false, notes: vec![note] }
        })
    }
}

impl Parts {
    /// As [`Calls::readiness`], on a thread that may block.
    pub(super) fn readiness(&self) -> Readiness {
        let model = self.models.variant_for(&self.memory.current().model);
        let view = self.memory.store.view_at_once();
        Seen {
            model: model.full_name(),
            presence: self.models.presence(&model),
            store: view.map(|view| view.is_some()).map_err(|error| error.to_string()),
            is_disk_full: self.ingest.is_disk_full(),
            is_stopping: self.stopping.is_cancelled(),
        }
        .judged()
    }
}

/// How the parts of a node are.
#[derive(Debug, Clone)]
struct Seen {
    /// The name of the model in use.
    model: String,
    presence: Presence,
    /// Whether it can be read at once; or why not at all.
    store: Result<bool, String>,
    is_disk_full: bool,
    is_stopping: bool,
}

impl Seen {
    fn judged(self) -> Readiness {
        let (mut is_ready, mut notes) = (true, Vec::new());
        let name = self.model;
        match self.presence {
            Presence::Loaded { .. } => {}
            Presence::Loading => {
                is_ready = false;
                notes.push(format!("the model {name} is being loaded; searches wait for it"));
            }
            Presence::Absent => {
                is_ready = false;
                notes.push(format!("the model {name} is not in memory yet; the log says why if it stays so"));
            }
        }
        match self.store {
            Ok(true) => {}
            Ok(false) => {
                notes.push("the database is being compacted or opened again; calls wait for that".to_owned())
            }
            Err(error) => {
                is_ready = false;
                notes.push(format!("the database cannot be read: {error}"));
            }
        }
        if self.is_disk_full {
            notes.push(format!("nothing can be changed: {DISK_FULL}"));
        }
        if self.is_stopping {
            is_ready = false;
            notes.push("the node is stopping".to_owned());
        }
        Readiness { is_ready, notes }
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_index::Provider;

    use super::*;

    fn sound() -> Seen {
        let presence = Presence::Loaded { provider: Provider::Cpu, bytes: 1 };
        Seen {
            model: "small-fp32".into(),
            presence,
            store: Ok(true),
            is_disk_full: false,
            is_stopping: false,
        }
    }

    fn told(seen: Seen) -> (bool, String) {
        let Readiness { is_ready, notes } = seen.judged();
        (is_ready, notes.join("; "))
    }

    #[test]
    fn a_node_is_ready_with_its_model_and_its_store() {
        assert_eq!(told(sound()), (true, String::new()));
        for (presence, word) in [(Presence::Loading, "being loaded"), (Presence::Absent, "not in memory")] {
            let (is_ready, note) = told(Seen { presence, ..sound() });
            assert!(!is_ready && note.contains("small-fp32") && note.contains(word), "{note}");
        }
        let (is_ready, note) = told(Seen { store: Err("it is damaged".into()), ..sound() });
        assert!(!is_ready && note.contains("cannot be read: it is damaged"), "{note}");
        let (is_ready, note) = told(Seen { is_stopping: true, ..sound() });
        assert!(!is_ready && note.contains("stopping"), "{note}");
    }

    #[test]
    fn what_only_limits_a_node_is_told_and_takes_it_out_of_no_use() {
        let (is_ready, note) = told(Seen { is_disk_full: true, ..sound() });
        assert!(is_ready && note.contains("make room"), "{note}");
        let (is_ready, note) = told(Seen { store: Ok(false), ..sound() });
        assert!(is_ready && note.contains("compacted"), "{note}");
        let (is_ready, note) = told(Seen { presence: Presence::Loading, is_disk_full: true, ..sound() });
        assert!(!is_ready && note.contains("; nothing can be changed"), "all that is wrong is told: {note}");
    }
}
