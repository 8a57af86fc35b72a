//! What the metrics page measures each time it is asked for: counts that are held already, and never a walk through the store. It waits
//! for nobody who has something for long: what is not told in time shows its last value, and is counted as late.

use std::sync::Arc;
use std::time::Duration;

use rustix::fs::statvfs;
use synapsenet_net::{Direction, Transport};
use tokio::time::timeout;

use super::{Calls, Parts, now_ms};
use crate::blocking::blocking;
use crate::mesh::Mesh;
use crate::metrics::{KindLabels, PeerLabels, StateLabels, TopicLevel, WhoseLabels, memory_bytes};

/// How long all of it may take: a fraction of the ten seconds that Prometheus waits for a page.
const MAX_MEASURE: Duration = Duration::from_secs(2);

/// What the page is measured with.
#[derive(Clone)]
pub(crate) struct Gauges(Arc<Parts>);

impl Gauges {
    /// Measures these parts.
    pub fn new(calls: &Calls) -> Self {
        Self(calls.parts.clone())
    }

    /// Measures anew what can be had in time.
    pub async fn refresh(&self) {
        let parts = &self.0;
        let metrics = &parts.memory.metrics;
        metrics.memory_usage.set(memory_bytes() as i64);
        metrics.levels.ingest_queue.set(parts.ingest.waiting() as i64);
        let store = async {
            let is_done = timeout(MAX_MEASURE, self.measure_store()).await == Ok(true);
            metrics.levels.measured("store", is_done);
        };
        let mesh = async {
            let Some(mesh) = &parts.mesh else { return };
            let is_done = timeout(MAX_MEASURE, measure_mesh(parts, mesh)).await == Ok(true);
            metrics.levels.measured("mesh", is_done);
        };
        tokio::join!(store, mesh);
    }

    /// True when all could be measured.
    async fn measure_store(&self) -> bool {
        // On a disk that hangs one thread waits, and not one for each time that the page is asked for.
        let look = self.0.looks.clone().lock_owned().await;
        let parts = self.0.clone();
        blocking(move || {
            let _look = look;
            parts.measure()
        })
        .await
    }
}

impl Parts {
    /// Measures what may block. True when all of it was to be had.
    fn measure(&self) -> bool {
        let (metrics, levels) = (&self.memory.metrics, &self.memory.metrics.levels);
        let spaces = self.memory.spaces();
        levels.index_memory.set(spaces.all().map(|space| space.hnsw.memory_bytes()).sum::<u64>() as i64);
        levels.unsaved.set(spaces.current.applied().saturating_sub(spaces.current.saved()) as i64);
        levels.snapshot_age.set(seconds_since(spaces.current.saved_ms()));
        metrics.unchecked_grains.set(spaces.current.unchecked.len() as i64);
        let progress = *self.progress.borrow();
        levels.unreadable.set(progress.unreadable as i64);
        levels.oldest_pending_age.set(progress.oldest_pending_ms.map_or(0.0, seconds_since));
        let (questions, documents) = self.models.waiting();
        for (kind, count) in [("question", questions), ("document", documents)] {
            levels.embed_queue.get_or_create(&KindLabels { kind }).set(count as i64);
        }
        let limits = *self.limits.borrow();
        levels.capacity.set(limits.max_notes as i64);
        levels.stranger_capacity.set(limits.max_strangers as i64);
        levels.quota.set(limits.quota_bytes as i64);
        levels.read_only.set(i64::from(self.ingest.is_disk_full()));
        levels.ready.set(i64::from(self.readiness().is_ready));
        self.measure_sources();
        self.measure_counts().unwrap_or(false) & self.measure_disk()
    }

    fn measure_sources(&self) {
        let (mut sound, mut paused, mut problem) = (0, 0, 0);
        for standing in self.sources.all() {
            let is_sound = standing.last.as_ref().is_none_or(|report| report.problem.is_none());
            match (standing.source.is_paused, is_sound) {
                (true, _) => paused += 1,
                (false, true) => sound += 1,
                (false, false) => problem += 1,
            }
        }
        for (state, count) in [("sound", sound), ("paused", paused), ("problem", problem)] {
            self.memory.metrics.levels.sources.get_or_create(&StateLabels { state }).set(count);
        }
    }

    /// None when somebody has the store for itself just now, or it cannot be read.
    fn measure_counts(&self) -> Option<bool> {
        let (metrics, levels) = (&self.memory.metrics, &self.memory.metrics.levels);
        let view = self.memory.store.view_at_once().ok()??;
        let counts = view.counts().ok()?;
        let own = view.grains_by(&self.identity.author()).ok()?;
        let followed = (counts.notes + counts.retractions).saturating_sub(own + counts.strangers);
        for (whose, count) in [("own", own), ("followed", followed), ("stranger", counts.strangers)] {
            levels.held.get_or_create(&WhoseLabels { whose }).set(count as i64);
        }
        levels.notes.set(counts.notes as i64);
        levels.retractions.set(counts.retractions as i64);
        levels.quota_used.set(counts.stranger_bytes as i64);
        metrics.pending_grains.set(counts.pending as i64);
        metrics.searchable_grains.set(self.memory.spaces().searchable(counts) as i64);
        metrics.storage_size.set(self.memory.store.size_bytes() as i64);
        Some(true)
    }

    fn measure_disk(&self) -> bool {
        let Ok(disk) = statvfs(&self.data_dir) else { return false };
        let levels = &self.memory.metrics.levels;
        levels.disk_free.set(disk.f_bavail.saturating_mul(disk.f_frsize) as i64);
        levels.disk_size.set(disk.f_blocks.saturating_mul(disk.f_frsize) as i64);
        true
    }
}

/// True when the swarm answered.
async fn measure_mesh(parts: &Parts, mesh: &Mesh) -> bool {
    let levels = &parts.memory.metrics.levels;
    let (status, peers, bans) = tokio::join!(mesh.net.status(), mesh.net.peers(), mesh.net.bans());
    let (Ok(status), Ok(peers), Ok(bans)) = (status, peers, bans) else { return false };
    levels.known_peers.set(status.known_peers as i64);
    levels.banned_peers.set(bans.len() as i64);
    let way = |peer: &synapsenet_net::PeerStatus| PeerLabels {
        direction: match peer.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        },
        transport: match peer.transport {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
            Transport::Relayed => "relayed",
            Transport::Other => "other",
        },
    };
    levels.set_peers(&peers.iter().map(way).collect::<Vec<_>>());
    let peers_of = |topic: &str| {
        status.topics.iter().find(|(name, _)| name.as_str() == topic).map_or(0, |(_, count)| *count)
    };
    let topics = mesh.sync.ages().into_iter().map(|(topic, sync_age)| {
        let topic = topic.to_string();
        TopicLevel { peers: peers_of(&topic), topic, sync_age }
    });
    levels.set_topics(topics.collect());
    true
}

/// Seconds since a time in milliseconds since 1970-01-01 UTC; 0 for one that is still to come.
fn seconds_since(ms: u64) -> f64 {
    now_ms().saturating_sub(ms) as f64 / 1000.0
}
