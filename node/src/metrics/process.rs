//! The process as the system sees it, under the names that Prometheus gives these figures in all its clients. Read anew for each page:
//! nobody has to keep them up to date. What the system does not tell is left out.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Reads the figures of this process.
#[derive(Debug)]
pub(super) struct Process {
    /// When the node started, in seconds since 1970-01-01 UTC. Read once: computed anew each time it would move with the clock,
    /// and look like a restart.
    started: f64,
}

impl Process {
    /// One that starts now.
    pub fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: since.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let mut write = |name, help, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        write(
            "process_start_time",
            "When the node started, since 1970-01-01 UTC.",
            seconds,
            &ConstGauge::new(self.started),
        )?;
        write(
            "process_cpu",
            "Processor time that the process took.",
            seconds,
            &ConstCounter::new(cpu_seconds()),
        )?;
        if let Some((virtual_bytes, resident_bytes)) = memory() {
            write(
                "process_virtual_memory",
                "Address space of the process.",
                bytes,
                &ConstGauge::new(virtual_bytes),
            )?;
            write(
                "process_resident_memory",
                "Resident memory of the process.",
                bytes,
                &ConstGauge::new(resident_bytes),
            )?;
        }
        if let Some(open) = open_descriptors() {
            write(
                "process_open_fds",
                "Descriptors that the process has open.",
                None,
                &ConstGauge::new(open),
            )?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            write(
                "process_max_fds",
                "Descriptors that the process may have open.",
                None,
                &ConstGauge::new(most),
            )?;
        }
        Ok(())
    }
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
pub(crate) fn memory_bytes() -> u64 {
    memory().map_or(0, |(_, resident)| resident)
}

/// Address space and resident memory in bytes: the first two fields of statm, in pages (proc(5)).
fn memory() -> Option<(u64, u64)> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_whitespace().map_while(|field| field.parse::<u64>().ok());
    let page = rustix::param::page_size() as u64;
    Some((pages.next()? * page, pages.next()? * page))
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn open_descriptors() -> Option<u64> {
    // The one that reads the folder is among them.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory_its_time_and_its_descriptors() {
        assert!(memory_bytes() > 100_000);
        let before = cpu_seconds();
        let open = open_descriptors().unwrap();
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/proc/self/statm").unwrap()).collect();
        // Other tests of this process open and close theirs.
        assert!(open_descriptors().unwrap() > open / 2 && !files.is_empty());
        assert!((before..before + 3600.0).contains(&cpu_seconds()));
    }
}
