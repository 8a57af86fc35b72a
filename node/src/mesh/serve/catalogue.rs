//! The sorted ids of the topics that peers ask about, kept because reading them takes time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use synapsenet_proto::Topic;
use synapsenet_storage::{StorageError, Store};

use crate::mesh::sync::items::{Items, Span};

/// Topics kept: at 40 bytes a grain 4 MiB for each hundred thousand.
const MAX_KEPT: usize = 4;
/// A catalogue is used for so long although something changed since ...
const MAX_STALE: Duration = Duration::from_secs(5);
/// ... and no longer than so many times what it took to read: so that peers never cost this node more than a twentieth
/// of a processor for reading, and a small topic is always fresh.
const STALE_FACTOR: u32 = 20;

/// The shared grains of a topic.
#[derive(Clone)]
pub(super) struct Catalogue {
    /// In order.
    pub items: Items,
    /// Times that part them into pages, newest first.
    pub page_times: Arc<[u64]>,
}

struct Kept {
    topic: Topic,
    catalogue: Catalogue,
    /// The state of the store that it was read from.
    seq: u64,
    read: Instant,
    took: Duration,
}

impl Kept {
    fn read(store: &Store, topic: &Topic) -> Result<Self, StorageError> {
        let start = Instant::now();
        let view = store.view()?;
        let items = Items::read(&view, topic, Span::WHOLE)?;
        let page_times = items.page_times().into();
        let catalogue = Catalogue { items, page_times };
        let seq = view.shared_seq()?;
        Ok(Self { topic: topic.clone(), catalogue, seq, read: start, took: start.elapsed() })
    }

    fn is_fresh(&self, seq: u64) -> bool {
        self.seq == seq || self.read.elapsed() < (self.took * STALE_FACTOR).min(MAX_STALE)
    }
}

/// The catalogues of the topics asked about last.
#[derive(Default)]
pub(super) struct Catalogues {
    /// The one used last comes last.
    kept: Mutex<Vec<Kept>>,
}

impl Catalogues {
    /// The catalogue of a topic. Whoever else wants one waits while it is read: that is cheaper than reading it twice.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(&self, store: &Store, topic: &Topic) -> Result<Catalogue, StorageError> {
        let seq = store.view()?.shared_seq()?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|kept| kept.topic == *topic).map(|place| kept.remove(place));
        let next = match found {
            Some(found) if found.is_fresh(seq) => found,
            _ => Kept::read(store, topic)?,
        };
        let catalogue = next.catalogue.clone();
        if kept.len() == MAX_KEPT {
            kept.remove(0);
        }
        kept.push(next);
        Ok(catalogue)
    }
}
