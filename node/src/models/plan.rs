//! How many sessions compute a model, and with how many threads each.

use synapsenet_index::{Arithmetic, Compute, Provider};

/// The most sessions that a model is given unasked; on more cores each gets more threads.
pub(super) const MAX_SESSIONS: usize = 8;
/// Threads that share a session of floating point numbers.
const THREADS_PER_SESSION: usize = 4;
/// Threads of the session for questions: a question is too short for more.
const MAX_ASKED_THREADS: usize = 4;

/// The sessions of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Sessions that compute documents, and questions that the other one is not free for.
    pub documents: usize,
    /// Threads of each of these.
    pub threads: usize,
    /// Threads of one session more, for questions only.
    pub asked: Option<usize>,
}

impl Plan {
    /// Products of integers are over so soon that threads which share a run mostly wait for each other, above all on a busy machine:
    /// documents are computed by sessions of one thread each. A question is still sooner computed by several together.
    /// With floating point numbers that gains little, and each session holds more. `sessions`: as configured, or 0;
    /// `most`: for how many there is room.
    pub fn new(arithmetic: Arithmetic, compute: &Compute, sessions: usize, most: usize) -> Self {
        let threads = compute.threads.max(1);
        let is_alone = arithmetic == Arithmetic::Int8 && compute.provider == Provider::Cpu;
        let documents = match sessions {
            0 if is_alone => threads.min(MAX_SESSIONS).min(most.saturating_sub(1)).max(1),
            0 => threads.div_ceil(THREADS_PER_SESSION).min(most),
            sessions => sessions.min(threads),
        };
        let asked = (is_alone && documents > 1).then_some(threads.min(MAX_ASKED_THREADS));
        Self { documents, threads: threads / documents, asked }
    }

    /// How many there are in all.
    pub fn sessions(self) -> usize {
        self.documents + usize::from(self.asked.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_computed_by_sessions_of_one_thread_and_a_question_by_several() {
        let on = |threads| Compute { threads, ..Compute::default() };
        let plan = |arithmetic, threads, sessions, most| {
            let plan = Plan::new(arithmetic, &on(threads), sessions, most);
            (plan.documents, plan.threads, plan.asked)
        };
        let (int8, float) = (Arithmetic::Int8, Arithmetic::Float32);
        assert_eq!(plan(int8, 2, 0, 9), (2, 1, Some(2)));
        assert_eq!(plan(int8, 6, 0, 9), (6, 1, Some(4)));
        assert_eq!(plan(int8, 32, 0, 9), (8, 4, Some(4)));
        assert_eq!(plan(float, 2, 0, 9), (1, 2, None));
        assert_eq!(plan(float, 6, 0, 9), (2, 3, None));
        // Where there is no room for more, one does it all.
        for arithmetic in [int8, float] {
            assert_eq!(plan(arithmetic, 8, 0, 1), (1, 8, None));
            assert_eq!(plan(arithmetic, 1, 0, 9), (1, 1, None));
            assert_eq!(plan(arithmetic, 0, 0, 9), (1, 1, None));
        }
        assert_eq!(plan(int8, 8, 0, 3), (2, 4, Some(4)));
        assert_eq!(plan(int8, 8, 1, 9), (1, 8, None), "as it is configured");
        assert_eq!(plan(int8, 2, 5, 9), (2, 1, Some(2)));
        let device = Compute { provider: Provider::Cuda, ..on(8) };
        assert_eq!(Plan::new(int8, &device, 0, 9).sessions(), 2);
    }
}
