//! What the attack costs: memory, disk, offences and bans.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use futures::future::try_join_all;
use synapsenet_benches::member::Member;
use synapsenet_proto::rpc;
use tokio::task::JoinHandle;

use crate::front::Front;

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(250);

/// The look at the memory, which goes on until it is ended.
pub struct Watch {
    before: u64,
    most: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

/// What was seen.
pub struct Seen {
    /// Resident memory of the process before the attack, and at most during it.
    pub memory_before: u64,
    pub memory_most: u64,
    /// Of the node that has most: the database file, what grains of strangers take in it as it counts them, and these.
    pub file_bytes: u64,
    pub stranger_bytes: u64,
    pub strangers: u64,
    pub max_strangers: u64,
    /// By reason, of all nodes together.
    pub offences: BTreeMap<String, f64>,
    /// Bans of all nodes together, and peers that somebody banned: honest ones and hostile ones.
    pub bans: f64,
    pub honest_banned: usize,
    pub hostile_banned: usize,
}

impl Watch {
    /// Looks at the process of these nodes from now on.
    ///
    /// # Errors
    /// When a node fails.
    pub async fn begin(members: &[Member]) -> anyhow::Result<Self> {
        let first = members.first().context("there are nodes")?;
        let before = first.status().await?.memory_bytes;
        let most = Arc::new(AtomicU64::new(before));
        let (mut client, peak) = (first.client.clone(), most.clone());
        let looking = tokio::spawn(async move {
            while let Ok(status) = client.status(rpc::StatusRequest {}).await {
                peak.fetch_max(status.into_inner().memory_bytes, Relaxed);
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self { before, most, looking })
    }

    /// Tells what there was, and is.
    ///
    /// # Errors
    /// When a node fails.
    pub async fn end(self, members: &[Member], front: &Front) -> anyhow::Result<Seen> {
        self.looking.abort();
        let status = try_join_all(members.iter().map(Member::status)).await?;
        let most = |of: fn(&rpc::StatusResponse) -> u64| status.iter().map(of).max().unwrap_or(0);
        let (mut offences, mut bans) = (BTreeMap::new(), 0.0);
        for metrics in try_join_all(members.iter().map(Member::metrics)).await? {
            for (name, value) in metrics {
                if let Some(reason) = name.strip_prefix("syn_offences_total{reason=\"") {
                    *offences.entry(reason.trim_end_matches("\"}").to_owned()).or_insert(0.0) += value;
                } else if name.starts_with("syn_bans_total{") {
                    bans += value;
                }
            }
        }
        let honest: HashSet<_> = members.iter().filter_map(|member| member.node().peer_id()).collect();
        let banned = try_join_all(members.iter().map(Member::banned)).await?;
        let banned: HashSet<_> = banned.into_iter().flatten().map(|ban| ban.peer_id).collect();
        Ok(Seen {
            memory_before: self.before,
            memory_most: self.most.load(Relaxed),
            file_bytes: most(|status| status.storage_bytes),
            stranger_bytes: most(|status| status.stranger_bytes),
            strangers: most(|status| status.strangers),
            max_strangers: most(|status| status.max_strangers),
            offences,
            bans,
            honest_banned: banned.intersection(&honest).count(),
            hostile_banned: banned.iter().filter(|peer| front.is_hostile(peer)).count(),
        })
    }
}
