//! What is measured when the page is asked for: how much there is, how much there may be, how much waits and for how long.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Names;
use super::labels::{KindLabels, MeasuredLabels, PeerLabels, StateLabels, TopicLabels, WhoseLabels};

/// Topics that have series of their own, the first by name. A node may take part in four times as many.
const MAX_TOPIC_SERIES: usize = 64;
/// The label of the others together: no topic can be called so.
const OTHER_TOPICS: &str = "(others)";

/// A number of seconds.
pub(crate) type Seconds = Gauge<f64, AtomicU64>;

/// A topic that this node takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicLevel {
    /// Its name.
    pub topic: String,
    /// How long ago a synchronisation of it was complete.
    pub sync_age: Duration,
    /// Connected peers that take part in it.
    pub peers: usize,
}

/// Gauges of what there is. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levels {
    /// Grains, retractions included, by whose they are.
    pub held: Family<WhoseLabels, Gauge>,
    /// Notes.
    pub notes: Gauge,
    /// Retractions.
    pub retractions: Gauge,
    /// Notes that may be held.
    pub capacity: Gauge,
    /// The share of strangers in all grains.
    pub stranger_capacity: Gauge,
    /// Bytes that strangers' grains may take; 0 is without limit.
    pub quota: Gauge,
    /// Bytes that they are counted for.
    pub quota_used: Gauge,
    /// Notes that the model cannot read or failed on.
    pub unreadable: Gauge,
    /// How long the oldest note waits that is still to be embedded.
    pub oldest_pending_age: Seconds,
    /// Changes that wait for the thread that writes.
    pub ingest_queue: Gauge,
    /// What waits for models.
    pub embed_queue: Family<KindLabels, Gauge>,
    /// Room on the disk of the data folder, for this user.
    pub disk_free: Gauge,
    /// Size of that disk.
    pub disk_size: Gauge,
    /// Whether nothing can be changed.
    pub read_only: Gauge,
    /// Whether the node is ready, as /readyz says.
    pub ready: Gauge,
    /// Memory of the indexes.
    pub index_memory: Gauge,
    /// How long ago the index was saved.
    pub snapshot_age: Seconds,
    /// Changes of the index since.
    pub unsaved: Gauge,
    /// Remembered folders.
    pub sources: Family<StateLabels, Gauge>,
    /// Connected peers.
    pub peers: Family<PeerLabels, Gauge>,
    /// Peers whose addresses are known.
    pub known_peers: Gauge,
    /// Bans that hold.
    pub banned_peers: Gauge,
    topic_peers: Family<TopicLabels, Gauge>,
    sync_age: Family<TopicLabels, Seconds>,
    topics: Arc<Mutex<BTreeSet<TopicLabels>>>,
    measured: Family<MeasuredLabels, Counter>,
}

impl Levels {
    pub(super) fn register(&self, names: &mut Names<'_>) {
        self.begin();
        names.plain(
            "held_grains",
            "Grains held, retractions included: the node's own, those of authors that are followed or that the owner put in, those of strangers",
            &self.held,
        );
        names.plain("held_notes", "Notes held", &self.notes);
        names.plain("held_retractions", "Retractions held", &self.retractions);
        names.plain("capacity_notes", "Notes that may be held (storage.hnsw_max_elements)", &self.capacity);
        names.plain(
            "stranger_capacity_grains",
            "Grains of strangers that may be held, retractions included",
            &self.stranger_capacity,
        );
        names.bytes(
            "quota",
            "Bytes that grains of strangers may take (storage.quota_bytes); 0 is without limit",
            &self.quota,
        );
        names.bytes("quota_used", "Bytes that grains of strangers are counted for", &self.quota_used);
        names.plain(
            "unreadable_grains",
            "Pending grains that the model cannot read or failed on",
            &self.unreadable,
        );
        names.seconds(
            "oldest_pending_age",
            "How long the oldest pending grain waits that the model can read; 0 without one",
            &self.oldest_pending_age,
        );
        names.plain(
            "ingest_queue_changes",
            "Changes that wait to be written, of at most 1024",
            &self.ingest_queue,
        );
        names.plain(
            "embed_queue_jobs",
            "Runs that wait for a model, of at most 128 questions and 64 batches of documents",
            &self.embed_queue,
        );
        names.bytes(
            "disk_free",
            "Room on the file system of the data folder, for the user of the node",
            &self.disk_free,
        );
        names.bytes("disk_size", "Size of the file system of the data folder", &self.disk_size);
        names.plain("read_only", "1 while nothing can be changed because the disk is full", &self.read_only);
        names.plain("ready", "1 while /readyz says that the node is ready", &self.ready);
        names.bytes("index_memory", "Memory of the indexes of vectors", &self.index_memory);
        names.seconds(
            "index_snapshot_age",
            "Time since the index was saved, or since the node started where it was never saved",
            &self.snapshot_age,
        );
        names.plain(
            "index_unsaved_changes",
            "Changes of the index since it was saved, which a start after a crash repeats",
            &self.unsaved,
        );
        names.plain("sources", "Remembered folders, by how they stand", &self.sources);
        names.plain("connected_peers", "Connected peers, by who dialled and over what", &self.peers);
        names.plain("known_peers", "Peers whose addresses are known", &self.known_peers);
        names.plain("banned_peers", "Bans that hold now", &self.banned_peers);
        names.plain("topic_peers", "Connected peers that take part in a topic; \"(others)\" has the fewest of those beyond 64 topics", &self.topic_peers);
        names.seconds(
            "sync_age",
            "Time since a synchronisation of a topic was complete, or since the node takes part in it; \"(others)\" has the longest of \
             those beyond 64 topics",
            &self.sync_age,
        );
        names.plain(
            "measurements",
            "Parts of this page that were measured anew (done), or show what they were before (late)",
            &self.measured,
        );
    }

    /// Has the series that there always are begin at nothing.
    fn begin(&self) {
        for whose in ["own", "followed", "stranger"] {
            drop(self.held.get_or_create(&WhoseLabels { whose }));
        }
        for kind in ["question", "document"] {
            drop(self.embed_queue.get_or_create(&KindLabels { kind }));
        }
        for state in ["sound", "paused", "problem"] {
            drop(self.sources.get_or_create(&StateLabels { state }));
        }
        for direction in ["inbound", "outbound"] {
            for transport in ["tcp", "quic", "relayed", "other"] {
                drop(self.peers.get_or_create(&PeerLabels { direction, transport }));
            }
        }
        for part in ["store", "mesh"] {
            for outcome in ["done", "late"] {
                drop(self.measured.get_or_create(&MeasuredLabels { part, outcome }));
            }
        }
    }

    /// Sets how many peers are connected in each way.
    pub fn set_peers(&self, ways: &[PeerLabels]) {
        for direction in ["inbound", "outbound"] {
            for transport in ["tcp", "quic", "relayed", "other"] {
                let way = PeerLabels { direction, transport };
                let count = ways.iter().filter(|other| **other == way).count();
                self.peers.get_or_create(&way).set(count as i64);
            }
        }
    }

    /// Sets what there is of each topic. Those that are not named have no series any more.
    pub fn set_topics(&self, mut levels: Vec<TopicLevel>) {
        levels.sort_by(|a, b| a.topic.cmp(&b.topic));
        let others = levels.split_off(levels.len().min(MAX_TOPIC_SERIES));
        let worst = others.into_iter().reduce(|a, b| TopicLevel {
            topic: OTHER_TOPICS.to_owned(),
            sync_age: a.sync_age.max(b.sync_age),
            peers: a.peers.min(b.peers),
        });
        levels.extend(worst.map(|worst| TopicLevel { topic: OTHER_TOPICS.to_owned(), ..worst }));
        // Whole between any two changes.
        let mut shown = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *shown);
        for TopicLevel { topic, sync_age, peers } in levels {
            let label = TopicLabels { topic };
            self.sync_age.get_or_create(&label).set(sync_age.as_secs_f64());
            self.topic_peers.get_or_create(&label).set(peers as i64);
            gone.remove(&label);
            shown.insert(label);
        }
        for label in gone {
            self.sync_age.remove(&label);
            self.topic_peers.remove(&label);
        }
    }

    /// Counts whether a part was measured in time.
    pub fn measured(&self, part: &'static str, in_time: bool) {
        let outcome = if in_time { "done" } else { "late" };
        self.measured.get_or_create(&MeasuredLabels { part, outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(number: usize) -> TopicLevel {
        TopicLevel {
            topic: format!("t{number:04}"),
            sync_age: Duration::from_secs(number as u64),
            peers: 1000 - number,
        }
    }

    #[test]
    fn topics_make_a_bounded_number_of_series_and_none_is_hidden() {
        let levels = Levels::default();
        levels.set_topics((0..256).map(level).collect());
        assert_eq!(levels.topics.lock().unwrap().len(), MAX_TOPIC_SERIES + 1);
        let others = TopicLabels { topic: OTHER_TOPICS.into() };
        assert_eq!(levels.sync_age.get(&others).unwrap().get(), 255.0);
        assert_eq!(levels.topic_peers.get(&others).unwrap().get(), 745);
        levels.set_topics(vec![level(3)]);
        assert!(levels.sync_age.get(&others).is_none() && levels.topic_peers.get(&others).is_none());
        assert_eq!(levels.sync_age.get(&TopicLabels { topic: "t0003".into() }).unwrap().get(), 3.0);
        assert!(synapsenet_proto::Topic::new(OTHER_TOPICS).is_err());
    }

    #[test]
    fn one_topic_too_many_is_among_the_others() {
        let levels = Levels::default();
        levels.set_topics((0..=MAX_TOPIC_SERIES).map(level).collect());
        let others = TopicLabels { topic: OTHER_TOPICS.into() };
        assert_eq!(levels.sync_age.get(&others).unwrap().get(), MAX_TOPIC_SERIES as f64);
    }
}
