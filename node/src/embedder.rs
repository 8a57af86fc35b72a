//! The model at work: OS threads that own one ONNX session each, fed by two bounded queues.
//!
//! A question overtakes every batch of documents that has not begun, so it waits at most for the batches being
//! computed, which are kept small.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};
use synapsenet_index::{IndexError, Model, Purpose, Runtime, Tokenized, Tokenizer};
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

/// The threads that compute. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct EmbedderThreads {
    /// Nothing is ever sent: dropping it is the signal.
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl EmbedderThreads {
    /// Lets the threads end after what they are computing, and waits for them.
    ///
    /// # Errors
    /// When one of them panicked.
    pub fn stop(self) -> std::thread::Result<()> {
        drop(self.stop);
        self.threads.into_iter().try_for_each(JoinHandle::join)
    }
}

/// The way to the model. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EmbedderHandle {
    tokenizer: Tokenizer,
    questions: Sender<Job>,
    documents: Sender<Job>,
    state: watch::Receiver<ModelState>,
    workers: usize,
}

/// What the threads need to start.
pub(crate) struct Start {
    /// Path of the ONNX Runtime library.
    pub library: std::path::PathBuf,
    /// The model.
    pub model: Model,
    /// Threads that compute, at least one.
    pub threads: usize,
    /// Where runs are timed and the loaded model is counted.
    pub metrics: Metrics,
}

impl EmbedderHandle {
    /// Starts the threads. The model loads in them while the node goes on starting.
    ///
    /// # Errors
    /// When the tokenizer cannot be read.
    pub fn start(start: Start) -> Result<(Self, EmbedderThreads), IndexError> {
        let tokenizer = Tokenizer::new(&start.model)?;
        let (questions, question_jobs) = bounded(MAX_WAITING_QUESTIONS);
        let (documents, document_jobs) = bounded(MAX_WAITING_BATCHES);
        let (stop, stopped) = bounded(0);
        let (state, watched) = watch::channel(ModelState::Loading);
        let plan = Plan::for_threads(start.threads);
        let start = Arc::new(start);
        let state = Arc::new(state);
        let threads = (0..plan.sessions)
            .map(|number| {
                let worker = Worker {
                    start: start.clone(),
                    threads: plan.threads_per_session,
                    questions: question_jobs.clone(),
                    documents: document_jobs.clone(),
                    stopped: stopped.clone(),
                    state: state.clone(),
                };
                std::thread::Builder::new()
                    .name(format!("embedder-{number}"))
                    .spawn(move || worker.run(number == 0))
                    .expect("the system starts a thread at start-up")
            })
            .collect();
        let handle = Self { tokenizer, questions, documents, state: watched, workers: plan.sessions };
        Ok((handle, EmbedderThreads { stop, threads }))
    }

    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How many batches can be computed at the same time.
    pub fn workers(&self) -> usize {
        self.workers
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

/// How the threads are shared out among sessions.
struct Plan {
    sessions: usize,
    threads_per_session: usize,
}

impl Plan {
    fn for_threads(threads: usize) -> Self {
        Self { sessions: 1, threads_per_session: threads.max(1) }
    }
}

struct Worker {
    start: Arc<Start>,
    threads: usize,
    questions: Receiver<Job>,
    documents: Receiver<Job>,
    stopped: Receiver<()>,
    state: Arc<watch::Sender<ModelState>>,
}

impl Worker {
    /// Loads the model and computes until it is stopped. The `first` worker tells how loading went.
    fn run(self, first: bool) {
        let Start { library, model, metrics, .. } = &*self.start;
        let loaded = Runtime::load(library)
            .and_then(|runtime| synapsenet_index::Embedder::new(&runtime, model, self.threads));
        let mut embedder = match loaded {
            Ok(embedder) => embedder,
            Err(error) => {
                tracing::error!(%error, "the model could not be loaded");
                self.state.send_replace(ModelState::Failed(Arc::new(error.into())));
                return;
            }
        };
        if first {
            metrics.models_loaded.inc();
            tracing::info!(model = model.name(), provider = embedder.provider(), "the model is loaded");
            self.state.send_replace(ModelState::Ready { provider: embedder.provider().to_owned() });
        }
        while let Some(job) = self.next() {
            let result = timed(&metrics.embedding, || embedder.embed(&job.texts));
            // A caller that hung up meanwhile no longer wants to know.
            let _ = job.reply.send(result.map_err(|error| EmbedError::Failed(Arc::new(error))));
        }
        if first {
            metrics.models_loaded.dec();
        }
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
