//! The model at work: an OS thread that owns the ONNX session, fed by two bounded queues.
//!
//! A question overtakes every batch of documents that has not begun, so it waits at most for the one being computed,
//! which is kept small. One session computes with all threads: a second one would hold the weights once more, 75 MB.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};
use synapsenet_index::{Embedder, IndexError, Model, Purpose, Runtime, Tokenized, Tokenizer};
use synapsenet_proto::Vector;
use tokio::sync::{oneshot, watch};

use crate::metrics::{Metrics, timed};

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
    /// The model could not be loaded, or the node is stopping.
    #[error("no model is running")]
    Stopped,
}

/// How far loading has come.
#[derive(Debug, Clone)]
pub(crate) enum ModelState {
    /// The session is being made.
    Loading,
    /// It answers; the provider that the session really runs on.
    Ready {
        /// For example "cpu".
        provider: String,
    },
    /// It could not be loaded; the node stops.
    Failed(Arc<anyhow::Error>),
}

struct Job {
    texts: Vec<Tokenized>,
    reply: oneshot::Sender<Result<Vec<Vector>, EmbedError>>,
}

/// The thread that computes. Dropping this lets it end after what it is computing and waits for that: a process that
/// exits meanwhile would take ONNX Runtime apart under a running session, which aborts.
#[derive(Debug)]
pub(crate) struct EmbedderThread {
    /// Nothing is ever sent: dropping it is the signal.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbedderThread {
    /// Lets the thread end, and waits for it.
    ///
    /// # Errors
    /// When it panicked.
    pub fn stop(mut self) -> std::thread::Result<()> {
        self.end()
    }

    fn end(&mut self) -> std::thread::Result<()> {
        drop(self.stop.take());
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for EmbedderThread {
    fn drop(&mut self) {
        // Its panic was told when it happened.
        let _ = self.end();
    }
}

/// The way to the model. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EmbedderHandle {
    tokenizer: Tokenizer,
    questions: Sender<Job>,
    documents: Sender<Job>,
    state: watch::Receiver<ModelState>,
}

/// What the thread needs to start.
pub(crate) struct Start {
    /// Path of the ONNX Runtime library.
    pub library: std::path::PathBuf,
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Threads that compute, at least one.
    pub threads: usize,
    /// Where runs are timed and the loaded model is counted.
    pub metrics: Metrics,
}

impl EmbedderHandle {
    /// Starts the thread. The model loads in it while the node goes on starting.
    pub fn start(start: Start) -> (Self, EmbedderThread) {
        let tokenizer = start.tokenizer.clone();
        let (questions, question_jobs) = bounded(MAX_WAITING_QUESTIONS);
        let (documents, document_jobs) = bounded(MAX_WAITING_BATCHES);
        let (stop, stopped) = bounded(0);
        let (state, watched) = watch::channel(ModelState::Loading);
        let worker = Worker { start, questions: question_jobs, documents: document_jobs, stopped, state };
        let thread = std::thread::Builder::new().name("embedder".into()).spawn(move || worker.run());
        let thread = thread.expect("the system starts a thread at start-up");
        (
            Self { tokenizer, questions, documents, state: watched },
            EmbedderThread { stop: Some(stop), thread: Some(thread) },
        )
    }

    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How far loading has come, now and later.
    pub fn state(&self) -> watch::Receiver<ModelState> {
        self.state.clone()
    }

    /// The vector of a question. It overtakes documents.
    ///
    /// # Errors
    /// [`EmbedError`]; [`EmbedError::Busy`] at once when too many wait.
    pub async fn embed_question(&self, text: &str) -> Result<Vector, EmbedError> {
        let texts = vec![self.tokenizer.tokenize(text, Purpose::Question)];
        let (reply, answer) = oneshot::channel();
        match self.questions.try_send(Job { texts, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(EmbedError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(EmbedError::Stopped),
        }
        let mut vectors = answer.await.map_err(|_| EmbedError::Stopped)??;
        vectors.pop().ok_or(EmbedError::Stopped)
    }

    /// The vectors of one batch of documents, in its order.
    ///
    /// # Errors
    /// [`EmbedError`]; the whole batch fails together.
    pub async fn embed_documents(&self, texts: Vec<Tokenized>) -> Result<Vec<Vector>, EmbedError> {
        let (reply, answer) = oneshot::channel();
        self.documents.try_send(Job { texts, reply }).map_err(|error| match error {
            TrySendError::Full(_) => EmbedError::Busy,
            TrySendError::Disconnected(_) => EmbedError::Stopped,
        })?;
        answer.await.map_err(|_| EmbedError::Stopped)?
    }
}

struct Worker {
    start: Start,
    questions: Receiver<Job>,
    documents: Receiver<Job>,
    stopped: Receiver<()>,
    state: watch::Sender<ModelState>,
}

impl Worker {
    /// Loads the model and computes until it is stopped.
    fn run(self) {
        let Start { library, model, threads, metrics, .. } = &self.start;
        let loaded = Runtime::load(library).and_then(|runtime| Embedder::new(&runtime, model, *threads));
        let mut embedder = match loaded {
            Ok(embedder) => embedder,
            Err(error) => {
                tracing::error!(%error, "the model could not be loaded");
                self.state.send_replace(ModelState::Failed(Arc::new(error.into())));
                return;
            }
        };
        metrics.models_loaded.inc();
        tracing::info!(model = model.name(), provider = embedder.provider(), "the model is loaded");
        self.state.send_replace(ModelState::Ready { provider: embedder.provider().to_owned() });
        while let Some(job) = self.next() {
            let result = timed(&metrics.embedding, || embedder.embed(&job.texts));
            // A caller that hung up meanwhile no longer wants to know.
            let _ = job.reply.send(result.map_err(|error| EmbedError::Failed(Arc::new(error))));
        }
        metrics.models_loaded.dec();
    }

    /// The next job, questions first. None when it is time to end.
    fn next(&self) -> Option<Job> {
        // select_biased takes the first ready arm in order: that is how a question overtakes.
        select_biased! {
            recv(self.stopped) -> _ => None,
            recv(self.questions) -> job => job.ok(),
            recv(self.documents) -> job => job.ok(),
        }
    }
}
