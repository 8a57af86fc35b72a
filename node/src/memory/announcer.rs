//! This node's own part in claims: it vouches for the vectors of its own grains, and hands what may leave the node to
//! the mesh.

use std::sync::Arc;

use synapsenet_proto::{Announcement, AuthorId, Claim, Grain, GrainId, Identity, Vector};
use synapsenet_storage::{Record, Slot, StorageError};
use tokio::sync::mpsc;

use crate::memory::Memory;

/// Grains that may wait to be announced. What does not fit is brought to peers by synchronisation.
pub(crate) const MAX_OUTBOX: usize = 1024;

/// Where grains go that are to be announced.
pub(crate) type Outbox = mpsc::Sender<Announcement>;

/// Seals claims and announces grains. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Announcer {
    memory: Arc<Memory>,
    identity: Arc<Identity>,
    outbox: Outbox,
}

/// A stored grain that may leave the node and was not announced with a claim yet.
pub(crate) struct Offer {
    /// Where it lies.
    pub slot: Slot,
    /// The claim that is to be stored, when it is new.
    pub new_claim: Option<Vec<u8>>,
    /// What is to be announced.
    pub announcement: Announcement,
}

impl Announcer {
    /// Announces in the name of `identity`. Without a mesh, the other end of `outbox` is simply gone.
    pub fn new(memory: Arc<Memory>, identity: Arc<Identity>, outbox: Outbox) -> Self {
        Self { memory, identity, outbox }
    }

    /// The author of this node's own grains.
    pub fn author(&self) -> AuthorId {
        self.identity.author()
    }

    /// Whether a grain is one that this node vouches for: its own, and free to leave.
    pub fn vouches_for(&self, record: &Record) -> bool {
        record.shared && self.is_own(&record.grain)
    }

    /// Whether this node sealed a grain.
    pub fn is_own(&self, grain: &Grain) -> bool {
        grain.author() == self.author()
    }

    /// Vouches for the vector of an own grain.
    pub fn claim(&self, grain: GrainId, vector: &Vector) -> Claim {
        Claim::seal(grain, vector, &self.identity)
    }

    /// Hands a grain to the mesh, never waiting for it.
    pub fn announce(&self, announcement: Announcement) {
        // A full outbox, or none: synchronisation delivers.
        if self.outbox.try_send(announcement).is_ok() {
            self.memory.metrics.announced_grains.inc();
        }
    }

    /// What to announce of a shared grain that is stored already. None when it is not there, may not leave, was offered
    /// before, or is an own note whose vector is still to come: the indexer announces those.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn offer(&self, id: &GrainId) -> Result<Option<Offer>, StorageError> {
        let view = self.memory.store.view()?;
        let Some(Record { slot, grain, .. }) = view.shared_record(id)? else { return Ok(None) };
        if grain.retracted().is_some() {
            let announcement = Announcement { grain, claim: None };
            return Ok(Some(Offer { slot, new_claim: None, announcement }));
        }
        if view.claim(slot)?.is_some() {
            return Ok(None);
        }
        if !self.is_own(&grain) {
            let announcement = Announcement { grain, claim: None };
            return Ok(Some(Offer { slot, new_claim: None, announcement }));
        }
        let Some(vector) = view.vector(slot, self.memory.current().id())? else { return Ok(None) };
        // A damaged vector is found by `verify`; nothing is claimed about it.
        let Ok(vector) = vector.decode() else { return Ok(None) };
        let claim = self.claim(grain.id(), &vector);
        let new_claim = Some(claim.to_bytes());
        Ok(Some(Offer { slot, new_claim, announcement: Announcement { grain, claim: Some(claim) } }))
    }
}
