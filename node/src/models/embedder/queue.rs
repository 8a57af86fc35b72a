//! What waits for a model: questions before documents, each in its turn, and nothing that nobody waits for any more.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use synapsenet_index::{Purpose, Tokenized};
use synapsenet_proto::Vector;
use tokio::sync::oneshot;

use super::EmbedError;

/// Questions that may wait: at some 5 ms each, more would not be answered within a second.
pub(super) const MAX_WAITING_QUESTIONS: usize = 128;
/// Batches that may wait for a thread. The indexer keeps fewer in flight.
pub(super) const MAX_WAITING_BATCHES: usize = 64;

/// Texts of which somebody wants the vectors.
pub(super) struct Job {
    pub texts: Vec<Tokenized>,
    pub reply: oneshot::Sender<Result<Vec<Vector>, EmbedError>>,
}

impl Job {
    /// Whether somebody still waits: a client may hang up, its deadline pass, the indexer abandon a round.
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }
}

#[derive(Default)]
struct Waiting {
    questions: VecDeque<Job>,
    documents: VecDeque<Job>,
    /// Threads that take jobs. Without one, nothing waits.
    takers: usize,
    /// What waits is done, and then it is over.
    is_ending: bool,
}

/// The way of jobs to the threads of a model.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    /// What is held is whole after every statement, so a poisoned lock is used on.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job behind the others of its kind. Jobs that nobody waits for any more make room.
    pub fn push(&self, purpose: Purpose, job: Job) -> Result<(), EmbedError> {
        let mut waiting = self.lock();
        if waiting.takers == 0 {
            return Err(EmbedError::Stopped);
        }
        let (jobs, most) = match purpose {
            Purpose::Question => (&mut waiting.questions, MAX_WAITING_QUESTIONS),
            Purpose::Document => (&mut waiting.documents, MAX_WAITING_BATCHES),
        };
        if jobs.len() >= most {
            jobs.retain(Job::is_wanted);
        }
        if jobs.len() >= most {
            return Err(EmbedError::Busy);
        }
        jobs.push_back(job);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Has the threads end when nothing waits any more.
    pub fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_all();
    }
}

/// The right of one thread to take jobs. When the last one is gone, whoever waits is told that nothing comes.
pub(super) struct Taker(Arc<Queue>);

impl Taker {
    pub fn new(queue: &Arc<Queue>) -> Self {
        queue.lock().takers += 1;
        Self(queue.clone())
    }

    /// Waits for the next job that somebody wants, a question first. None when it is time to end.
    pub fn next(&self) -> Option<Job> {
        let mut waiting = self.0.lock();
        loop {
            let next = waiting.questions.pop_front().or_else(|| waiting.documents.pop_front());
            match next {
                Some(job) if job.is_wanted() => return Some(job),
                Some(_) => {}
                None if waiting.is_ending => return None,
                None => waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.takers -= 1;
        if waiting.takers == 0 {
            waiting.questions.clear();
            waiting.documents.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use synapsenet_index::{Model, Tokenizer};
    use tokio::sync::oneshot::Receiver;

    use super::*;

    static TEXT: LazyLock<Tokenized> = LazyLock::new(|| {
        let tokenizer = Tokenizer::new(&Model::built_in().unwrap()).unwrap();
        tokenizer.tokenize("a text", Purpose::Document)
    });

    type Answer = Receiver<Result<Vec<Vector>, EmbedError>>;

    /// A job of so many texts, and where its answer comes.
    fn job(texts: usize) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        (Job { texts: vec![TEXT.clone(); texts], reply }, answer)
    }

    /// Puts a job of so many texts; gives where its answer comes.
    fn put(queue: &Queue, purpose: Purpose, texts: usize) -> Answer {
        let (job, answer) = job(texts);
        queue.push(purpose, job).unwrap();
        answer
    }

    fn order(taker: &Taker) -> Vec<usize> {
        std::iter::from_fn(|| taker.next()).map(|job| job.texts.len()).collect()
    }

    #[test]
    fn a_question_overtakes_the_documents_that_wait_and_the_end_comes_after_all() {
        let queue = Arc::new(Queue::default());
        let taker = Taker::new(&queue);
        let _answers = [
            put(&queue, Purpose::Document, 2),
            put(&queue, Purpose::Document, 3),
            put(&queue, Purpose::Question, 1),
        ];
        queue.end();
        assert_eq!(order(&taker), [1, 2, 3]);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_computed() {
        let queue = Arc::new(Queue::default());
        let taker = Taker::new(&queue);
        for texts in 1..5 {
            for purpose in [Purpose::Question, Purpose::Document] {
                drop(put(&queue, purpose, texts));
            }
        }
        let _answers = [put(&queue, Purpose::Document, 7), put(&queue, Purpose::Question, 6)];
        queue.end();
        assert_eq!(order(&taker), [6, 7]);
    }

    #[test]
    fn askers_who_have_gone_leave_their_place_to_others() {
        let queue = Arc::new(Queue::default());
        let taker = Taker::new(&queue);
        for (purpose, most) in
            [(Purpose::Question, MAX_WAITING_QUESTIONS), (Purpose::Document, MAX_WAITING_BATCHES)]
        {
            let mut answers: Vec<Answer> = (0..most).map(|texts| put(&queue, purpose, texts)).collect();
            let full = queue.push(purpose, job(1).0);
            assert!(matches!(full, Err(EmbedError::Busy)), "{full:?}");
            // Every other one goes; nothing was taken out meanwhile.
            let mut number = 0;
            answers.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            answers.extend((0..most / 2).map(|_| put(&queue, purpose, most)));
            assert!(matches!(queue.push(purpose, job(1).0), Err(EmbedError::Busy)), "it is full again");
            let left: Vec<usize> = (0..most).map(|_| taker.next().unwrap().texts.len()).collect();
            let stayed: Vec<usize> = (0..most).filter(|texts| texts % 2 == 1).collect();
            assert_eq!(left[..most / 2], stayed, "they kept their turn");
        }
    }

    #[test]
    fn who_waits_is_told_when_the_last_thread_ends() {
        let queue = Arc::new(Queue::default());
        let takers = [Taker::new(&queue), Taker::new(&queue)];
        let mut answer = put(&queue, Purpose::Question, 1);
        let [first, second] = takers;
        drop(first);
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty);
        drop(second);
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(matches!(queue.push(Purpose::Question, job(1).0), Err(EmbedError::Stopped)));
    }
}
