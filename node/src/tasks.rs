//! The parts of a running node. Each is supervised: one that ends unasked, with an error or in a panic is a failure of the
//! node, which then stops; it never goes on half dead.
//!
//! A *part* is a task or a thread that the whole node needs. What is started for one call alone (a model that is added, a
//! question of a peer that is answered) is none: its panic is the error of that call, and takes nothing else with it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::JoinHandle as ThreadHandle;

use anyhow::anyhow;
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Failures that may wait to be heard. The first one stops the node, so that those which follow from it find room, and more
/// than its parts cannot fail; every one is in the log.
const MAX_FAILURES: usize = 16;

/// Tells whoever runs the node that a part of it failed. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Alarm {
    failures: mpsc::Sender<anyhow::Error>,
}

impl Alarm {
    /// An alarm, and where it is heard.
    pub fn new() -> (Self, mpsc::Receiver<anyhow::Error>) {
        let (failures, heard) = mpsc::channel(MAX_FAILURES);
        (Self { failures }, heard)
    }

    /// Says that the part of this name failed.
    fn raise(&self, failure: anyhow::Error) {
        tracing::error!("{failure:#}");
        // When the queue is full, or nobody hears it, the node is stopping for an earlier failure already.
        let _ = self.failures.try_send(failure);
    }

    /// Starts a thread that is a part of the node: it may end when it has done what it was made for, and not with an error or
    /// in a panic.
    pub fn thread(
        &self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> ThreadHandle<()> {
        let alarm = self.clone();
        let supervised = move || match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => alarm.raise(error.context(format!("the {name} thread failed"))),
            Err(panic) => alarm.raise(anyhow!("the {name} thread panicked: {}", words(&*panic))),
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(supervised);
        thread.expect("the system starts a thread")
    }
}

/// Tasks that are parts of the node and are stopped together.
#[derive(Debug)]
pub(crate) struct Tasks {
    alarm: Alarm,
    stop: CancellationToken,
    running: Vec<(&'static str, JoinHandle<()>)>,
}

impl Tasks {
    /// None yet. Their failures go to `alarm`.
    pub fn new(alarm: Alarm) -> Self {
        Self { alarm, stop: CancellationToken::new(), running: Vec::new() }
    }

    /// Cancelled when they are to stop. Before that, none of them may end.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a part as a task.
    pub fn run(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let (alarm, stop) = (self.alarm.clone(), self.stop.clone());
        let supervised = async move {
            match AssertUnwindSafe(part).catch_unwind().await {
                Ok(Ok(())) if stop.is_cancelled() => {}
                Ok(Ok(())) => alarm.raise(anyhow!("{name} ended unasked")),
                Ok(Err(error)) => alarm.raise(error.context(format!("{name} failed"))),
                Err(panic) => alarm.raise(anyhow!("{name} panicked: {}", words(&*panic))),
            }
        };
        self.running.push((name, tokio::spawn(supervised)));
    }

    /// Tells all of them to stop, and waits until they have or `deadline` is over. Answers the names of those that have not;
    /// they are let go of where they are.
    pub async fn stop(self, deadline: Instant) -> Vec<&'static str> {
        self.stop.cancel();
        let mut stuck = Vec::new();
        for (name, mut task) in self.running {
            // A task of this kind catches its own panic.
            if timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                stuck.push(name);
            }
        }
        stuck
    }
}

/// What a task came to that was waited for. Its panic goes on in the caller. None when it was cancelled.
pub(crate) fn joined<T>(joined: Result<T, JoinError>) -> Option<T> {
    match joined {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no words)")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blocking::blocking;

    /// Far longer than anything here takes.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// What is heard of a part that nobody asked to stop.
    async fn failure_of(part: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> String {
        let (alarm, mut heard) = Alarm::new();
        let mut tasks = Tasks::new(alarm);
        tasks.run("the part", part);
        let failure = heard.recv().await.unwrap();
        assert_eq!(tasks.stop(later()).await, [""; 0]);
        format!("{failure:#}")
    }

    #[tokio::test]
    async fn a_part_that_panics_errs_or_ends_unasked_is_a_failure_with_its_name_and_its_words() {
        let number = 7;
        assert_eq!(failure_of(async { panic!("a bug") }).await, "the part panicked: a bug");
        let formatted = async move { panic!("bug number {number}") };
        assert_eq!(failure_of(formatted).await, "the part panicked: bug number 7");
        assert_eq!(failure_of(async { Err(anyhow!("no luck")) }).await, "the part failed: no luck");
        assert_eq!(failure_of(async { Ok(()) }).await, "the part ended unasked");
    }

    #[tokio::test]
    async fn a_panic_in_blocking_work_or_in_a_task_that_a_part_waits_for_is_the_parts() {
        let blocked = async {
            blocking(|| panic!("the disk is odd")).await;
            Ok(())
        };
        assert_eq!(failure_of(blocked).await, "the part panicked: the disk is odd");
        let waiting = async {
            let _: Option<()> = joined(tokio::spawn(async { panic!("the peer is odd") }).await);
            Ok(())
        };
        assert_eq!(failure_of(waiting).await, "the part panicked: the peer is odd");
    }

    #[tokio::test]
    async fn a_thread_that_errs_or_panics_is_a_failure_and_one_that_is_done_is_not() {
        let (alarm, mut heard) = Alarm::new();
        alarm.thread("worker", || Ok(())).join().unwrap();
        alarm.thread("worker", || Err(anyhow!("no luck"))).join().unwrap();
        alarm.thread("worker", || panic!("a bug")).join().unwrap();
        drop(alarm);
        assert_eq!(format!("{:#}", heard.recv().await.unwrap()), "the worker thread failed: no luck");
        assert_eq!(heard.recv().await.unwrap().to_string(), "the worker thread panicked: a bug");
        assert!(heard.recv().await.is_none());
    }

    #[tokio::test]
    async fn what_stops_when_it_is_told_to_is_no_failure_and_what_fails_then_is_one() {
        let (alarm, mut heard) = Alarm::new();
        let mut tasks = Tasks::new(alarm.clone());
        let stop = tasks.stopping();
        tasks.run("the good one", async move {
            stop.cancelled().await;
            Ok(())
        });
        let stop = tasks.stopping();
        tasks.run("the bad one", async move {
            stop.cancelled().await;
            panic!("at the end")
        });
        assert_eq!(tasks.stop(later()).await, [""; 0]);
        drop(alarm);
        assert_eq!(heard.recv().await.unwrap().to_string(), "the bad one panicked: at the end");
        assert!(heard.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_part_that_does_not_end_is_named_when_the_deadline_is_over() {
        let (alarm, _heard) = Alarm::new();
        let mut tasks = Tasks::new(alarm);
        tasks.run("the deaf one", std::future::pending());
        assert_eq!(tasks.stop(Instant::now()).await, ["the deaf one"]);
    }
}
