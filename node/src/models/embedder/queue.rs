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
    /// Of those that take questions only, how many wait for one.
    free_askers: usize,
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
        // One that takes questions only must not be the only one that hears of documents.
        self.changed.notify_all();
        Ok(())
    }

    /// How many questions wait, and how many batches of documents.
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.questions.len(), waiting.documents.len())
    }

    /// Has the threads end when nothing waits any more.
    pub fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_all();
    }
}

/// What a thread takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Questions only, before all others that wait.
    Questions,
    /// Questions that no thread of the first kind is free for, then documents.
    All,
}

/// The right of one thread to take jobs. When the last one is gone, whoever waits is told that nothing comes.
pub(super) struct Taker {
    queue: Arc<Queue>,
    takes: Takes,
}

impl Taker {
    pub fn new(queue: &Arc<Queue>, takes: Takes) -> Self {
        queue.lock().takers += 1;
        Self { queue: queue.clone(), takes }
    }

    /// Waits for the next job that somebody wants, a question first. None when it is time to end.
    pub fn next(&self) -> Option<Job> {
        let changed = &self.queue.changed;
        let mut waiting = self.queue.lock();
        loop {
            match self.take(&mut waiting) {
                Some(job) if job.is_wanted() => return Some(job),
                Some(_) => continue,
                None if waiting.is_ending => return None,
                None => {}
            }
            let is_asker = usize::from(self.takes == Takes::Questions);
            waiting.free_askers += is_asker;
            waiting = changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.free_askers -= is_asker;
        }
    }

    fn take(&self, waiting: &mut Waiting) -> Option<Job> {
        match self.takes {
            Takes::Questions => waiting.questions.pop_front(),
            Takes::All if waiting.questions.len() > waiting.free_askers => waiting.questions.pop_front(),
            Takes::All => waiting.documents.pop_front(),
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
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
        let taker = Taker::new(&queue, Takes::All);
        let _answers = [
            put(&queue, Purpose::Document, 2),
            put(&queue, Purpose::Document, 3),
            put(&queue, Purpose::Question, 1),
        ];
        queue.end();
        assert_eq!(order(&taker), [1, 2, 3]);
    }

    #[test]
    fn who_takes_questions_only_leaves_documents_and_has_questions_left_to_it() {
        let queue = Arc::new(Queue::default());
        let (asker, all) = (Taker::new(&queue, Takes::Questions), Taker::new(&queue, Takes::All));
        let _answers = [
            put(&queue, Purpose::Document, 2),
            put(&queue, Purpose::Question, 1),
            put(&queue, Purpose::Question, 3),
        ];
        assert_eq!(asker.next().unwrap().texts.len(), 1);
        // It is at work: others take what comes meanwhile.
        assert_eq!((all.next().unwrap().texts.len(), all.next().unwrap().texts.len()), (3, 2));
        // While it waits, a question is its own.
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| order(&asker));
            while queue.lock().free_askers == 0 {
                std::thread::yield_now();
            }
            let _late = [put(&queue, Purpose::Question, 5), put(&queue, Purpose::Document, 6)];
            assert_eq!(all.next().unwrap().texts.len(), 6);
            queue.end();
            assert_eq!((order(&all), asking.join().unwrap()), (vec![], vec![5]));
        });
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_computed() {
        let queue = Arc::new(Queue::default());
        let taker = Taker::new(&queue, Takes::All);
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
        let taker = Taker::new(&queue, Takes::All);
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
        let takers = [Taker::new(&queue, Takes::All), Taker::new(&queue, Takes::All)];
        let mut answer = put(&queue, Purpose::Question, 1);
        let [first, second] = takers;
        drop(first);
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty);
        drop(second);
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(matches!(queue.push(Purpose::Question, job(1).0), Err(EmbedError::Stopped)));
    }
}
