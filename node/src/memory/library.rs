//! The documents of this node's owner, each called by where it lies: added, moved and withdrawn.
//!
//! What is signed never tells where a file lies (`places`); whoever calls this says paths, and the names are made here.

use std::collections::BTreeSet;
use std::sync::Arc;

use synapsenet_proto::Identity;
use synapsenet_storage::{Change, Record, StorageError, View};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::document::{self, Added, By, Document, DocumentError};
use super::ingest::Ingest;
use super::places::Places;
use crate::blocking::blocking;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::models::Models;

/// Documents in memory at the same time that are larger than a text may be, of the owner and of others: at most 192 MiB in all.
const MAX_LARGE: usize = 2;
const MAX_LARGE_OF_OTHERS: usize = 1;

/// The owner's documents.
#[derive(Clone)]
pub(crate) struct Library {
    memory: Arc<Memory>,
    ingest: Ingest,
    models: Models,
    identity: Arc<Identity>,
    places: Arc<Places>,
    /// Room for large documents of the owner, and of others.
    large: Arc<Semaphore>,
    large_of_others: Arc<Semaphore>,
}

impl Library {
    /// Makes the library of a node.
    pub fn new(
        memory: Arc<Memory>,
        ingest: Ingest,
        models: Models,
        identity: Arc<Identity>,
        places: Arc<Places>,
    ) -> Self {
        let large = Arc::new(Semaphore::new(MAX_LARGE));
        let large_of_others = Arc::new(Semaphore::new(MAX_LARGE_OF_OTHERS));
        Self { memory, ingest, models, identity, places, large, large_of_others }
    }

    /// Waits for room in memory for a document that is larger than a text may be. It is given back when what is answered is
    /// dropped. The owner never waits for others.
    pub async fn room(&self, by: By) -> Option<OwnedSemaphorePermit> {
        let room = if by == By::Owner { &self.large } else { &self.large_of_others };
        // Nobody closes it.
        room.clone().acquire_owned().await.ok()
    }

    /// Where it is counted what becomes of documents.
    pub fn metrics(&self) -> &Metrics {
        &self.memory.metrics
    }

    /// Splits a document into grains and stores what is new in it; what it no longer says is withdrawn.
    ///
    /// # Errors
    /// [`DocumentError`]; what was stored before an error is stored, and doing it again goes on.
    pub async fn add(&self, mut document: Document) -> Result<Added, DocumentError> {
        let (uri, by) = (document.uri, document.by);
        document.uri = self.places.signed(&uri);
        let model = self.memory.current().model.clone();
        let tokenizer = self.models.tokenizer(&model).await?;
        let (memory, identity) = (self.memory.clone(), self.identity.clone());
        let added = document::add(memory, &self.ingest, identity, (model, tokenizer), document).await?;
        // Where a file lies is remembered once something of it is stored, and never for those who may not see all that is.
        if by != By::Limited && !added.ids.is_empty() {
            self.sign(&uri).await;
        }
        Ok(added)
    }

    /// Says that a document lies elsewhere now. Nothing is withdrawn, signed or embedded for it. Answers how many grains it has.
    ///
    /// # Errors
    /// When that cannot be stored.
    pub async fn relocate(&self, from: &str, to: &str) -> Result<usize, DocumentError> {
        let grains = self.grains_of(from).await?;
        let slots: Vec<_> = grains.iter().map(|record| record.slot).collect();
        let count = slots.len();
        let uri = self.sign(to).await;
        self.ingest.apply(vec![Change::MoveSource { slots, uri }]).await?;
        Ok(count)
    }

    /// Withdraws all grains of a document, in one commit. Answers how many.
    ///
    /// # Errors
    /// When the retractions are not stored; then none is.
    pub async fn withdraw(&self, uri: &str) -> Result<u64, DocumentError> {
        let grains = self.grains_of(uri).await?;
        let count = grains.len() as u64;
        document::retract_all(&self.ingest, &self.identity, grains).await?;
        Ok(count)
    }

    /// Where the documents lie that are stored of a folder, as URIs. One whose folder is not known any more is not among them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn below(&self, folder: &str) -> Result<BTreeSet<String>, StorageError> {
        let (memory, places, author) = (self.memory.clone(), self.places.clone(), self.identity.author());
        let prefix = places.signed(folder);
        blocking(move || {
            let signed = memory.store.view()?.sources_of(author, &prefix)?;
            Ok(signed.iter().filter_map(|uri| places.path_of(uri)).collect())
        })
        .await
    }

    async fn grains_of(&self, uri: &str) -> Result<Vec<Record>, StorageError> {
        let (memory, author) = (self.memory.clone(), self.identity.author());
        let signed = self.places.signed(uri);
        blocking(move || {
            let view: View = memory.store.view()?;
            view.chunks_of(author, &signed)
        })
        .await
    }

    async fn sign(&self, uri: &str) -> String {
        let (places, uri) = (self.places.clone(), uri.to_owned());
        blocking(move || places.sign(&uri)).await
    }
}
