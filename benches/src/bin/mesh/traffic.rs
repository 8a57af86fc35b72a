//! What a mesh costs while nobody says anything.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use synapsenet_benches::member::Member;

/// Bytes that all nodes together sent and received, by protocol.
pub struct Bytes(Vec<(String, f64, f64)>);

impl Bytes {
    /// Since the nodes started.
    ///
    /// # Errors
    /// When a node fails.
    pub async fn of(members: &[Member]) -> anyhow::Result<Self> {
        let mut sums: Vec<(String, f64, f64)> = Vec::new();
        for net in try_join_all(members.iter().map(Member::net)).await? {
            for one in net.traffic {
                let traffic = one.traffic.unwrap_or_default();
                let (sent, received) = (traffic.sent as f64, traffic.received as f64);
                match sums.iter_mut().find(|(protocol, ..)| *protocol == one.protocol) {
                    Some(sum) => (sum.1, sum.2) = (sum.1 + sent, sum.2 + received),
                    None => sums.push((one.protocol, sent, received)),
                }
            }
        }
        Ok(Self(sums))
    }

    /// What was sent and received of one protocol; of all when none is named.
    pub fn sum(&self, protocol: Option<&str>) -> (f64, f64) {
        let named = self.0.iter().filter(|(name, ..)| protocol.is_none_or(|protocol| protocol == name));
        named.fold((0.0, 0.0), |sum, (_, sent, received)| (sum.0 + sent, sum.1 + received))
    }

    /// What came in one direction since `before`, by protocol, largest first, without those that were silent.
    fn received_since(&self, before: &Self) -> Vec<(String, f64)> {
        let named = |(name, ..): &(String, f64, f64)| {
            (name.clone(), self.sum(Some(name)).1 - before.sum(Some(name)).1)
        };
        let mut bytes: Vec<_> = self.0.iter().map(named).filter(|(_, bytes)| *bytes > 0.0).collect();
        bytes.sort_by(|one, two| two.1.total_cmp(&one.1));
        bytes
    }
}

/// What an idle mesh costs, for one node and one second.
pub struct Idle {
    /// How long it was watched.
    pub seconds: f64,
    pub sent: f64,
    pub received: f64,
    /// Of what was received, the bytes of each protocol.
    pub by_protocol: Vec<(String, f64)>,
    /// Share of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory of the process for each node in it.
    pub memory_bytes: f64,
}

/// Watches a mesh for a while.
///
/// # Errors
/// When a node fails.
pub async fn idle(members: &[Member], time: Duration) -> anyhow::Result<Idle> {
    let (before, cpu, start) = (Bytes::of(members).await?, cpu_seconds()?, Instant::now());
    tokio::time::sleep(time).await;
    let (after, seconds) = (Bytes::of(members).await?, start.elapsed().as_secs_f64());
    let share = seconds * members.len() as f64;
    let ((sent, received), (sent_before, received_before)) = (after.sum(None), before.sum(None));
    let by_protocol = after.received_since(&before);
    let first = members.first().context("a mesh has nodes")?;
    Ok(Idle {
        seconds,
        sent: (sent - sent_before) / share,
        received: (received - received_before) / share,
        by_protocol: by_protocol.into_iter().map(|(name, bytes)| (name, bytes / share)).collect(),
        cpu_percent: (cpu_seconds()? - cpu) / share * 100.0,
        memory_bytes: first.status().await?.memory_bytes as f64 / members.len() as f64,
    })
}

/// Processor time of this process so far.
fn cpu_seconds() -> anyhow::Result<f64> {
    // Linux counts it in hundredths of a second here, whatever the kernel's own clock (proc(5), utime and stime).
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").context("this bench needs Linux's /proc")?;
    // The second field is the name of the program, which may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS)
}
