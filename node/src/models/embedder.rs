//! A model at work: OS threads that own its ONNX sessions, fed by two bounded queues.
//!
//! A question overtakes every batch of documents that has not begun, so it waits at most for the one being computed,
//! which is kept small. What was asked before is answered from memory, and what nobody waits for any more is not computed.

mod queue;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use lru::LruCache;
use synapsenet_index::{Embedder, IndexError, Provider, Purpose, Tokenized, Tokenizer};
use synapsenet_proto::Vector;
use tokio::sync::oneshot;

use crate::blocking::blocking;
use crate::metrics::{Metrics, timed};
use crate::tasks::Alarm;
use queue::{Job, MAX_WAITING_QUESTIONS, Queue, Taker, Takes};

/// Why a text has no vector.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EmbedError {
    /// Too many questions wait.
    #[error("{MAX_WAITING_QUESTIONS} questions wait for the model already: ask again in a moment")]
    Busy,
    /// The model gave no usable answer for this text.
    #[error("the model failed on this text: {0}")]
    Failed(Arc<IndexError>),
    /// The model cannot be loaded.
    #[error("{0}")]
    NotLoaded(Arc<anyhow::Error>),
    /// The node is stopping.
    #[error("no model is running")]
    Stopped,
}

/// The threads that compute. Dropping this lets them end after what waits for them, and waits for that: a process that
/// exits meanwhile would take ONNX Runtime apart under a running session, which aborts.
pub(crate) struct EmbedderThreads {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl EmbedderThreads {
    /// Whether they have ended, which without being told they only do by a panic.
    pub fn have_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for EmbedderThreads {
    fn drop(&mut self) {
        self.queue.end();
        for thread in self.threads.drain(..) {
            // It catches its own panic, and tells of it.
            let _ = thread.join();
        }
    }
}

/// Questions of one caller that are read in one run of the model, and tokens of them but for a single one that has more: others wait
/// for it.
const QUESTIONS_A_RUN: usize = 16;
const TOKENS_A_RUN: usize = 512;
/// Above so many bytes, texts are tokenized away from the async threads: some milliseconds.
const MAX_TOKENIZED_AT_ONCE: usize = 4096;

/// Whose vectors are remembered apart.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Question,
    Document,
}

/// Vectors of texts by their tokens, the latest used ones. None when it is switched off.
type Cache = Option<Mutex<LruCache<Tokenized, Vector>>>;

/// The way to a loaded model. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EmbedderHandle {
    shared: Arc<Shared>,
}

struct Shared {
    tokenizer: Tokenizer,
    provider: Provider,
    /// How many sessions take documents.
    lanes: usize,
    queue: Arc<Queue>,
    /// Apart, so that many documents do not push out the questions.
    questions: Cache,
    read: Cache,
    metrics: Metrics,
}

impl EmbedderHandle {
    /// Starts a thread for each session; that of `asked` takes questions only. `cache_entries` vectors of questions are kept, and as many of documents. A thread
    /// that panics raises the `alarm`.
    pub fn start(
        tokenizer: Tokenizer,
        sessions: Vec<Embedder>,
        asked: Option<Embedder>,
        cache_entries: usize,
        metrics: Metrics,
        alarm: &Alarm,
    ) -> (Self, EmbedderThreads) {
        let provider = sessions.first().map_or(Provider::Cpu, Embedder::provider);
        let queue = Arc::new(Queue::default());
        let lanes = sessions.len();
        let sessions = sessions.into_iter().map(|session| (session, Takes::All));
        let sessions = asked.map(|session| (session, Takes::Questions)).into_iter().chain(sessions);
        // All, before one of them can be the last that goes.
        let workers: Vec<_> = sessions.map(|(session, takes)| (session, Taker::new(&queue, takes))).collect();
        let start = |(session, jobs)| {
            let worker = Worker { session, jobs, metrics: metrics.clone() };
            alarm.thread("embedder", move || {
                worker.run();
                Ok(())
            })
        };
        let threads = workers.into_iter().map(start).collect();
        let cache = || NonZeroUsize::new(cache_entries).map(|entries| Mutex::new(LruCache::new(entries)));
        let (questions, read) = (cache(), cache());
        let shared =
            Arc::new(Shared { tokenizer, provider, lanes, queue: queue.clone(), questions, read, metrics });
        (Self { shared }, EmbedderThreads { queue, threads })
    }

    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.shared.tokenizer
    }

    /// What computes.
    pub fn provider(&self) -> Provider {
        self.shared.provider
    }

    /// How many questions wait, and how many batches of documents.
    pub fn waiting(&self) -> (usize, usize) {
        self.shared.queue.waiting()
    }

    /// How many batches of documents are computed at once.
    pub fn lanes(&self) -> usize {
        self.shared.lanes
    }

    /// The vectors of questions, in their order, at most [`QUESTIONS_A_RUN`] in a run. They overtake documents.
    ///
    /// # Errors
    /// [`EmbedError`]; [`EmbedError::Busy`] at once when too many wait.
    pub async fn embed_questions(&self, texts: &[String]) -> Result<Vec<Vector>, EmbedError> {
        let mut texts = self.tokenize(texts).await;
        let mut vectors = Vec::with_capacity(texts.len());
        while !texts.is_empty() {
            let later = texts.split_off(questions_of_run(&texts));
            vectors.extend(self.embed(Purpose::Question, Kind::Question, texts).await?);
            texts = later;
        }
        Ok(vectors)
    }

    async fn tokenize(&self, questions: &[String]) -> Vec<Tokenized> {
        let tokenize = |tokenizer: &Tokenizer, texts: &[String]| -> Vec<Tokenized> {
            texts.iter().map(|text| tokenizer.tokenize(text, Purpose::Question)).collect()
        };
        if questions.iter().map(String::len).sum::<usize>() <= MAX_TOKENIZED_AT_ONCE {
            return tokenize(&self.shared.tokenizer, questions);
        }
        let (shared, texts) = (self.shared.clone(), questions.to_vec());
        blocking(move || tokenize(&shared.tokenizer, &texts)).await
    }

    /// The vectors of one batch of documents, in its order.
    ///
    /// # Errors
    /// [`EmbedError`]; the whole batch fails together.
    pub async fn embed_documents(&self, texts: Vec<Tokenized>) -> Result<Vec<Vector>, EmbedError> {
        self.embed(Purpose::Document, Kind::Document, texts).await
    }

    /// As [`EmbedderHandle::embed_documents`], and overtakes like a question.
    ///
    /// # Errors
    /// As [`EmbedderHandle::embed_questions`].
    pub async fn embed_documents_now(&self, texts: Vec<Tokenized>) -> Result<Vec<Vector>, EmbedError> {
        self.embed(Purpose::Question, Kind::Document, texts).await
    }

    /// `turn`: as what these texts wait for their turn.
    async fn embed(
        &self,
        turn: Purpose,
        kind: Kind,
        texts: Vec<Tokenized>,
    ) -> Result<Vec<Vector>, EmbedError> {
        let shared = &*self.shared;
        let mut vectors: Vec<Option<Vector>> = texts.iter().map(|text| shared.recall(kind, text)).collect();
        let unknown: Vec<usize> = (0..texts.len()).filter(|&at| vectors[at].is_none()).collect();
        if !unknown.is_empty() {
            let jobs = unknown.iter().map(|&at| texts[at].clone()).collect();
            let computed = shared.run(turn, jobs).await?;
            for (&at, vector) in unknown.iter().zip(computed) {
                remember(shared.cache(kind), texts[at].clone(), &vector);
                vectors[at] = Some(vector);
            }
        }
        // Whatever was not known has been computed.
        vectors.into_iter().map(|vector| vector.ok_or(EmbedError::Stopped)).collect()
    }
}

impl Shared {
    fn cache(&self, kind: Kind) -> &Cache {
        match kind {
            Kind::Question => &self.questions,
            Kind::Document => &self.read,
        }
    }

    fn recall(&self, kind: Kind, text: &Tokenized) -> Option<Vector> {
        let mut entries = self.cache(kind).as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let vector = entries.get(text).cloned();
        let name = match kind {
            Kind::Question => "question",
            Kind::Document => "document",
        };
        self.metrics.cached(name, vector.is_some());
        vector
    }

    /// Has the threads compute. A caller that goes away meanwhile takes its texts along.
    async fn run(&self, purpose: Purpose, texts: Vec<Tokenized>) -> Result<Vec<Vector>, EmbedError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(purpose, Job { texts, reply })?;
        answer.await.map_err(|_| EmbedError::Stopped)?
    }
}

/// Keeps a vector, unless its text is longer than one window of the model: such come again seldom, and would make the memory
/// of the caches that of their texts.
fn remember(cache: &Cache, text: Tokenized, vector: &Vector) {
    if let Some(entries) = cache
        && text.windows().len() == 1
    {
        entries.lock().unwrap_or_else(PoisonError::into_inner).put(text, vector.clone());
    }
}

/// How many of these are read in one run: at least one.
fn questions_of_run(texts: &[Tokenized]) -> usize {
    let mut tokens = 0;
    let fits = |text: &&Tokenized| {
        tokens += text.len();
        tokens <= TOKENS_A_RUN
    };
    texts.iter().take(QUESTIONS_A_RUN).take_while(fits).count().max(1)
}

struct Worker {
    session: Embedder,
    jobs: Taker,
    metrics: Metrics,
}

impl Worker {
    /// Computes until it is stopped, and then what still waits.
    fn run(mut self) {
        while let Some(job) = self.jobs.next() {
            let result = timed(&self.metrics.embedding, || self.session.embed(&job.texts));
            // A caller that hung up meanwhile no longer wants to know.
            let _ = job.reply.send(result.map_err(|error| EmbedError::Failed(Arc::new(error))));
        }
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_index::Model;

    use super::*;

    /// Sixteen of the longest questions were one run, for which everybody else waited for seconds.
    #[test]
    fn a_run_has_so_many_questions_and_so_many_tokens_and_at_least_one() {
        let tokenizer = Tokenizer::new(&Model::built_in().unwrap()).unwrap();
        let of = |words: usize| tokenizer.tokenize(&"word ".repeat(words), Purpose::Question);
        let (short, long, longest) = (of(3), of(200), of(3000));
        assert_eq!(questions_of_run(&vec![short.clone(); 40]), QUESTIONS_A_RUN);
        assert_eq!(questions_of_run(&vec![long.clone(); 40]), 2);
        assert_eq!(questions_of_run(&[longest.clone(), short.clone()]), 1);
        assert_eq!(questions_of_run(&[short.clone(), longest, short.clone()]), 1);
        assert_eq!(questions_of_run(&[short]), 1);
    }
}
