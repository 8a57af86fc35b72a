//! What the owner is told that nobody is punished for.

use super::Task;
use crate::Warning;

impl Task {
    /// Tells once when the peers' clocks disagree with this one, and once when they agree again.
    pub(super) fn look_at_clock(&mut self) {
        let off_ms = self.clocks.off_ms();
        match (off_ms, self.clock_off_ms) {
            (Some(ahead_ms), None) => tracing::warn!("{}", Warning::Clock { ahead_ms }),
            (None, Some(_)) => tracing::info!("this machine's clock agrees with those of its peers again"),
            _ => {}
        }
        self.clock_off_ms = off_ms;
    }

    /// Another machine runs with this node's identity. That is told once.
    pub(super) fn note_twin(&mut self) {
        if !std::mem::replace(&mut self.has_twin, true) {
            tracing::warn!("{}", Warning::Twin);
        }
    }

    /// What the owner should know.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let clock = self.clocks.off_ms().map(|ahead_ms| Warning::Clock { ahead_ms });
        clock.into_iter().chain(self.has_twin.then_some(Warning::Twin)).collect()
    }
}
