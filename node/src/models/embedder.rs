//! A model at work: OS threads that own its ONNX sessions, fed by two bounded queues.
//!
//! A question overtakes every batch of documents that has not begun, so it waits at most for the one being computed,
//! which is kept small. What was asked before is answered from memory.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};
use lru::LruCache;
use synapsenet_index::{Embedder, IndexError, Provider, Purpose, Tokenized, Tokenizer};
use synapsenet_proto::Vector;
use tokio::sync::oneshot;

use crate::metrics::{Metrics, timed};
use crate::tasks::Alarm;

/// Questions that may wait: at some 5 ms each, more would not be answered within a second.
const MAX_WAITING_QUESTIONS: usize = 128;
/// Batches that may wait for a thread. The indexer keeps fewer in flight.
const MAX_WAITING_BATCHES: usize = 64;

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

struct Job {
    texts: Vec<Tokenized>,
    reply: oneshot::Sender<Result<Vec<Vector>, EmbedError>>,
}

/// The threads that compute. Dropping this lets them end after what waits for them, and waits for that: a process that
/// exits meanwhile would take ONNX Runtime apart under a running session, which aborts.
#[derive(Debug)]
pub(crate) struct EmbedderThreads {
    /// Nothing is ever sent: dropping it is the signal.
    stop: Option<Sender<()>>,
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
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            // It catches its own panic, and tells of it.
            let _ = thread.join();
        }
    }
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
    questions: Sender<Job>,
    documents: Sender<Job>,
    /// Apart, so that many documents do not push out the questions.
    asked: Cache,
    read: Cache,
    metrics: Metrics,
}

impl EmbedderHandle {
    /// Starts a thread for each session. `cache_entries` vectors of questions are kept, and as many of documents. A thread
    /// that panics raises the `alarm`.
    pub fn start(
        tokenizer: Tokenizer,
        sessions: Vec<Embedder>,
        cache_entries: usize,
        metrics: Metrics,
        alarm: &Alarm,
    ) -> (Self, EmbedderThreads) {
        let provider = sessions.first().map_or(Provider::Cpu, Embedder::provider);
        let (questions, question_jobs) = bounded(MAX_WAITING_QUESTIONS);
        let (documents, document_jobs) = bounded(MAX_WAITING_BATCHES);
        let (stop, stopped) = bounded(0);
        let start = |session| {
            let (questions, documents) = (question_jobs.clone(), document_jobs.clone());
            let (stopped, metrics) = (stopped.clone(), metrics.clone());
            let worker = Worker { session, questions, documents, stopped, metrics };
            alarm.thread("embedder", move || {
                worker.run();
                Ok(())
            })
        };
        let threads = sessions.into_iter().map(start).collect();
        let cache = || NonZeroUsize::new(cache_entries).map(|entries| Mutex::new(LruCache::new(entries)));
        let (asked, read) = (cache(), cache());
        let shared = Arc::new(Shared { tokenizer, provider, questions, documents, asked, read, metrics });
        (Self { shared }, EmbedderThreads { stop: Some(stop), threads })
    }

    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.shared.tokenizer
    }

    /// What computes.
    pub fn provider(&self) -> Provider {
        self.shared.provider
    }

    /// The vector of a question. It overtakes documents.
    ///
    /// # Errors
    /// [`EmbedError`]; [`EmbedError::Busy`] at once when too many wait.
    pub async fn embed_question(&self, text: &str) -> Result<Vector, EmbedError> {
        let shared = &*self.shared;
        let tokens = shared.tokenizer.tokenize(text, Purpose::Question);
        if let Some(vector) = shared.recall(&shared.asked, &tokens, "question") {
            return Ok(vector);
        }
        let mut vectors = run(&shared.questions, vec![tokens.clone()]).await?;
        let vector = vectors.pop().ok_or(EmbedError::Stopped)?;
        remember(&shared.asked, tokens, &vector);
        Ok(vector)
    }

    /// The vectors of one batch of documents, in its order.
    ///
    /// # Errors
    /// [`EmbedError`]; the whole batch fails together.
    pub async fn embed_documents(&self, texts: Vec<Tokenized>) -> Result<Vec<Vector>, EmbedError> {
        let shared = &*self.shared;
        let mut vectors: Vec<Option<Vector>> =
            texts.iter().map(|text| shared.recall(&shared.read, text, "document")).collect();
        let unknown: Vec<usize> = (0..texts.len()).filter(|&at| vectors[at].is_none()).collect();
        if !unknown.is_empty() {
            let jobs = unknown.iter().map(|&at| texts[at].clone()).collect();
            let computed = run(&shared.documents, jobs).await?;
            for (&at, vector) in unknown.iter().zip(computed) {
                remember(&shared.read, texts[at].clone(), &vector);
                vectors[at] = Some(vector);
            }
        }
        // Whatever was not known has been computed.
        vectors.into_iter().map(|vector| vector.ok_or(EmbedError::Stopped)).collect()
    }
}

impl Shared {
    fn recall(&self, cache: &Cache, text: &Tokenized, kind: &'static str) -> Option<Vector> {
        let mut entries = cache.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let vector = entries.get(text).cloned();
        self.metrics.cached(kind, vector.is_some());
        vector
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

async fn run(queue: &Sender<Job>, texts: Vec<Tokenized>) -> Result<Vec<Vector>, EmbedError> {
    let (reply, answer) = oneshot::channel();
    queue.try_send(Job { texts, reply }).map_err(|error| match error {
        TrySendError::Full(_) => EmbedError::Busy,
        TrySendError::Disconnected(_) => EmbedError::Stopped,
    })?;
    answer.await.map_err(|_| EmbedError::Stopped)?
}

struct Worker {
    session: Embedder,
    questions: Receiver<Job>,
    documents: Receiver<Job>,
    stopped: Receiver<()>,
    metrics: Metrics,
}

impl Worker {
    /// Computes until it is stopped, and then what still waits.
    fn run(mut self) {
        while let Some(job) = self.next() {
            let result = timed(&self.metrics.embedding, || self.session.embed(&job.texts));
            // A caller that hung up meanwhile no longer wants to know.
            let _ = job.reply.send(result.map_err(|error| EmbedError::Failed(Arc::new(error))));
        }
    }

    /// The next job, questions first. None when it is time to end.
    fn next(&self) -> Option<Job> {
        // select_biased takes the first ready arm in order: that is how a question overtakes.
        select_biased! {
            recv(self.questions) -> job => job.ok(),
            recv(self.documents) -> job => job.ok(),
            recv(self.stopped) -> _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_index::{Compute, Model, Runtime, find_runtime};

    use super::*;
    use crate::testing::tiny_model;

    fn job(texts: usize) -> Job {
        Job {
            texts: vec![
                Tokenizer::new(&Model::built_in().unwrap())
                    .unwrap()
                    .tokenize("a text", Purpose::Document);
                texts
            ],
            reply: oneshot::channel().0,
        }
    }

    #[test]
    fn a_question_overtakes_the_documents_that_wait_and_the_end_comes_after_all() {
        let dir = tempfile::tempdir().unwrap();
        let model = Model::from_dir(&tiny_model(dir.path(), "tiny", "sines.onnx")).unwrap();
        let runtime = Runtime::load(&find_runtime(None).unwrap()).unwrap();
        let session = Embedder::new(&runtime, &model.graph().unwrap(), &Compute::default()).unwrap();
        let (ask, questions) = bounded(1);
        let (read, documents) = bounded(2);
        let (stop, stopped) = bounded(0);
        let worker = Worker { session, questions, documents, stopped, metrics: Metrics::default() };
        read.send(job(2)).unwrap();
        read.send(job(3)).unwrap();
        ask.send(job(1)).unwrap();
        drop(stop);
        let order: Vec<usize> = std::iter::from_fn(|| worker.next()).map(|job| job.texts.len()).collect();
        assert_eq!(order, [1, 2, 3]);
    }
}
