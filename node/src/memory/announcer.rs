//! This node's own part in claims: it vouches for the vectors of its own grains, and hands what may leave the node to
//! the mesh. What leaves goes as an [`Outgoing`], which a private grain cannot become.

use std::sync::Arc;

use synapsenet_proto::{Announcement, AuthorId, Claim, Grain, GrainId, Identity, Vector};
use synapsenet_storage::{Record, Slot, StorageError};
use tokio::sync::mpsc;

use crate::memory::Memory;

/// Grains that may wait to be announced. What does not fit is brought to peers by synchronisation.
pub(crate) const MAX_OUTBOX: usize = 1024;

/// Where grains go that are to be announced.
pub(crate) type Outbox = mpsc::Sender<Outgoing>;

/// A grain that may leave the node. Only a shared record becomes one, and what is shared is never made private again: so
/// whoever holds one need not check.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    slot: Slot,
    grain: Grain,
    claim: Option<Claim>,
}

impl Outgoing {
    /// The way out for a record. None when it is private.
    pub fn of(record: Record) -> Option<Self> {
        let Record { slot, grain, shared, .. } = record;
        shared.then_some(Self { slot, grain, claim: None })
    }

    /// Where it lies.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The grain itself.
    pub fn grain(&self) -> &Grain {
        &self.grain
    }

    /// The same, with what its author claims about its vector.
    pub fn with_claim(self, claim: Claim) -> Self {
        Self { claim: Some(claim), ..self }
    }

    /// What peers get.
    pub fn into_announcement(self) -> Announcement {
        Announcement { grain: self.grain, claim: self.claim }
    }
}

/// Seals claims and announces grains. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Announcer {
    memory: Arc<Memory>,
    identity: Arc<Identity>,
    outbox: Outbox,
}

/// A stored grain that may leave the node and was not announced with a claim yet.
pub(crate) struct Offer {
    /// The claim that is to be stored, when it is new.
    pub new_claim: Option<Vec<u8>>,
    /// What is to be announced.
    pub outgoing: Outgoing,
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

    /// Whether this node sealed a grain.
    pub fn is_own(&self, grain: &Grain) -> bool {
        grain.author() == self.author()
    }

    /// Vouches for the vector of an own grain.
    pub fn claim(&self, grain: GrainId, vector: &Vector) -> Claim {
        Claim::seal(grain, vector, &self.identity)
    }

    /// Hands a grain to the mesh, never waiting for it.
    pub fn announce(&self, outgoing: Outgoing) {
        // A full outbox, or none: synchronisation delivers.
        if self.outbox.try_send(outgoing).is_ok() {
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
        let Some(outgoing) = view.shared_record(id)?.and_then(Outgoing::of) else { return Ok(None) };
        let slot = outgoing.slot();
        if outgoing.grain().retracted().is_some() {
            return Ok(Some(Offer { new_claim: None, outgoing }));
        }
        // A claim of another rule, made before this program, says nothing to anybody.
        if view.claim(slot)?.is_some_and(|claim| Claim::reopen(&claim).is_ok()) {
            return Ok(None);
        }
        if !self.is_own(outgoing.grain()) {
            return Ok(Some(Offer { new_claim: None, outgoing }));
        }
        let Some(vector) = view.vector(slot, self.memory.current().id())? else { return Ok(None) };
        // A damaged vector is found by `verify`; nothing is claimed about it.
        let Ok(vector) = vector.decode() else { return Ok(None) };
        let claim = self.claim(*id, &vector);
        let new_claim = Some(claim.to_bytes());
        Ok(Some(Offer { new_claim, outgoing: outgoing.with_claim(claim) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, author, note};

    #[tokio::test]
    async fn a_private_grain_cannot_leave_and_a_shared_one_can() {
        let node = Fixture::new();
        let (private, shared) = (note(&author(0), "a secret"), note(&author(0), "a song"));
        node.ingest.put(private.clone(), false).await.unwrap();
        node.ingest.put(shared.clone(), true).await.unwrap();
        let record = |id| node.view().record(node.slot_of(id)).unwrap().unwrap();
        assert!(Outgoing::of(record(private.id())).is_none());
        let outgoing = Outgoing::of(record(shared.id())).unwrap();
        assert_eq!((outgoing.slot(), outgoing.grain()), (node.slot_of(shared.id()), &shared));
        assert_eq!(outgoing.into_announcement(), Announcement { grain: shared, claim: None });
        node.ingest.share(private.id()).await.unwrap();
        assert!(Outgoing::of(record(private.id())).is_some());
    }
}
