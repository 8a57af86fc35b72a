//! What a client may ask of the node, in plain types, and what it is answered.
//!
//! ```text
//!  door (rpc, http, ...) --begin(caller)--> Call --put, get, search, ...--> memory, mesh, models
//! ```
//!
//! Doors translate their protocol to this and back; this decides: what is allowed, which limits hold, in which order
//! things are done, and how what is known here and what peers know becomes one answer. It knows no protocol.

pub(crate) mod access;
pub(crate) mod authors;
pub(crate) mod backup;
pub(crate) mod by_ids;
pub(crate) mod documents;
pub(crate) mod embed;
pub(crate) mod emergence;
pub(crate) mod error;
pub(crate) mod facets;
pub(crate) mod gauges;
pub(crate) mod grains;
pub(crate) mod links;
pub(crate) mod many;
pub(crate) mod models;
pub(crate) mod peers;
pub(crate) mod readiness;
pub(crate) mod report;
mod sealed;
pub(crate) mod search;
pub(crate) mod sources;
pub(crate) mod trial;
pub(crate) mod update;
pub(crate) mod verify;
pub(crate) mod waiting;
pub(crate) mod watching;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use synapsenet_proto::Identity;
use synapsenet_storage::View;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::blocking::blocking;
use crate::log;
use crate::memory::Memory;
use crate::memory::events::Events;
use crate::memory::indexer::Progress;
use crate::memory::ingest::{Ingest, Limits};
use crate::memory::library::Library;
use crate::memory::places::Places as FilePlaces;
use crate::memory::switch::Switch;
use crate::mesh::Mesh;
use crate::metrics::Metrics;
use crate::models::{Hub, Models};
use crate::sources::Sources;
use crate::traces::{self, Traces};
use access::audit::Audit;
use access::{Caller, Keys};
pub(crate) use error::{CallError, Reason};
// What calls answer with: doors name nothing that lies below this room.
pub(crate) use crate::memory::events::{Happening, SourceChange, SyncProgress, SyncState};
pub(crate) use crate::memory::ingest::now_ms;

/// What calls need of the node.
pub(crate) struct Parts {
    /// None when the node takes no part in a mesh.
    pub mesh: Option<Mesh>,
    pub memory: Arc<Memory>,
    pub ingest: Ingest,
    pub events: Events,
    /// Cancelled when the node stops: what would never end does.
    pub stopping: CancellationToken,
    pub models: Models,
    pub switch: Switch,
    /// Where models are fetched from.
    pub hub: Hub,
    pub identity: Arc<Identity>,
    pub places: Arc<FilePlaces>,
    pub library: Library,
    pub sources: Sources,
    /// The tokens that open.
    pub keys: Keys,
    /// Who records what is changed; None when nobody does.
    pub audit: Option<Audit>,
    /// Who records where the time of calls goes.
    pub traces: Traces,
    pub progress: watch::Receiver<Progress>,
    pub started: Instant,
    pub data_dir: PathBuf,
    /// A place for the one backup that may be made at a time: each takes room on the disk.
    pub backups: Arc<Semaphore>,
    /// Turns of programs that want vectors.
    pub embedding: embed::Turns,
    /// Turns of others than the owner who ask something.
    pub asking: Arc<Semaphore>,
    pub api_addresses: Vec<String>,
    /// SHA-256 of the certificate that the API shows; empty without TLS.
    pub api_fingerprint: String,
    pub metrics_address: String,
    pub limits: watch::Receiver<Limits>,
    /// Held by whoever looks at the disk to measure: one at a time, so that a disk that hangs keeps one thread.
    pub looks: Arc<tokio::sync::Mutex<()>>,
}

/// How many calls are served at the same time. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<RwLock<(usize, Arc<Semaphore>)>>);

impl Places {
    fn new(count: usize) -> Self {
        Self(Arc::new(RwLock::new((count, Arc::new(Semaphore::new(count))))))
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        let places = self.0.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        places.try_acquire_owned().ok()
    }

    /// So many from now on. Calls that are being served keep the places that they have, beside the new ones.
    pub fn resize(&self, count: usize) {
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if places.0 != count {
            *places = (count, Arc::new(Semaphore::new(count)));
        }
    }
}

/// Lets calls in. Clones share one limit.
#[derive(Clone)]
pub(crate) struct Calls {
    parts: Arc<Parts>,
    places: Places,
}

impl Calls {
    /// Serves at most `max_calls` calls at the same time.
    pub fn new(parts: Parts, max_calls: usize) -> Self {
        Self { parts: Arc::new(parts), places: Places::new(max_calls) }
    }

    /// Tells whoever waits when the disk is full, so that nothing can be changed, and when it can again.
    pub fn watch_disk(&self) -> watch::Receiver<bool> {
        self.parts.ingest.watch_disk()
    }

    /// What doors count with.
    pub fn metrics(&self) -> &Metrics {
        &self.parts.memory.metrics
    }

    /// How many calls are served at the same time.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The tokens that open.
    pub fn keys(&self) -> &Keys {
        &self.parts.keys
    }

    /// Who records what is changed.
    pub fn audit(&self) -> Option<&Audit> {
        self.parts.audit.as_ref()
    }

    /// Who records where the time of calls goes.
    pub fn traces(&self) -> &Traces {
        &self.parts.traces
    }

    /// Takes a place among the calls being served, for somebody who may make this call.
    ///
    /// # Errors
    /// [`CallError::TooManyCalls`].
    pub fn begin(&self, caller: Caller) -> Result<Call, CallError> {
        match self.places.take() {
            Some(place) => Ok(Call { parts: self.parts.clone(), caller, place: Arc::new(place) }),
            None => {
                self.parts.memory.metrics.calls_refused.inc();
                Err(CallError::TooManyCalls)
            }
        }
    }
}

/// A call that is being served: what may be asked is done by its methods. Its place is given back when the last clone is
/// dropped.
#[derive(Clone)]
pub(crate) struct Call {
    parts: Arc<Parts>,
    caller: Caller,
    place: Arc<OwnedSemaphorePermit>,
}

impl Call {
    /// Runs `read` with one consistent view of the store, away from the async threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Memory, &View) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        // Reading goes on when nobody waits for it any more, and keeps the place of the call for as long.
        let (memory, place) = (self.parts.memory.clone(), self.place.clone());
        blocking(move || {
            let (_place, _part) = (place, traces::part("store"));
            let view = memory.store.view()?;
            read(&memory, &view)
        })
        .await
    }

    fn mesh(&self) -> Result<&Mesh, CallError> {
        self.parts.mesh.as_ref().ok_or(CallError::NoMesh)
    }

    /// What happens on the node from now on, for a call that looks on itself.
    fn listen(&self) -> broadcast::Receiver<Happening> {
        self.parts.events.listen()
    }

    /// Waits until the node stops.
    pub fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.parts.stopping.clone().cancelled_owned()
    }

    /// Lets another filter say what is written to the log, until the configuration is read anew or the node starts again. Answers the
    /// one before.
    ///
    /// # Errors
    /// [`CallError::Invalid`] when the filter cannot be used.
    pub fn set_log_level(&self, level: &str) -> Result<String, CallError> {
        self.note_about(level);
        log::check(level).map_err(|reason| error::invalid(format!("{reason}: {}", log::LEVELS)))?;
        // Told by the rules that held until now: who reads the log learns why it says more, or less.
        let (who, before) = (self.caller.who(), log::level());
        tracing::warn!(%who, before, now = level, "the level of the log is changed until the next start");
        log::set_level(level).map_err(error::invalid)
    }

    /// Compacts the database file. Answers its size before and after, in bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn compact(&self) -> Result<(u64, u64), CallError> {
        Ok(self.parts.ingest.compact().await?)
    }
}
