//! How much there may be, changed while the swarm runs.

use std::time::Instant;

use super::Task;
use crate::{Caps, Config};

impl Task {
    /// Takes over other caps. Answers how many peers have to leave.
    pub(super) fn set_caps(&mut self, caps: Caps) -> usize {
        let Caps { max_peers, max_per_address, max_upload, max_download, max_memory } = caps;
        self.meter.set_caps(max_upload, max_download);
        if self.config.max_memory != max_memory {
            self.swarm.behaviour_mut().set_max_memory(max_memory);
        }
        let before = self.config.clone();
        self.config = Config { max_peers, max_per_address, max_upload, max_download, max_memory, ..before };
        // Who has to leave is decided by what each is worth now.
        self.publish_scores(Instant::now());
        self.swarm.behaviour_mut().gate.resize(max_peers, max_per_address)
    }
}
