//! The one place where errors become gRPC statuses.

use synapsenet_index::IndexError;
use synapsenet_proto::Refusal;
use synapsenet_storage::StorageError;
use tonic::{Code, Status};

use crate::memory::document::DocumentError;
use crate::memory::ingest::IngestError;
use crate::memory::query::QueryError;
use crate::memory::switch::SwitchError;
use crate::mesh::MeshError;
use crate::models::ModelsError;
use crate::models::embedder::EmbedError;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The request can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// What it names is not here.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// It can be done later.
    #[error("{0}")]
    Busy(String),
    /// The node takes no part in a mesh.
    #[error("this node takes no part in a mesh: start it without --offline and with network.enabled = true")]
    Offline,
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// Something is wrong with the node, its disk above all.
    #[error("{0:#}")]
    Broken(anyhow::Error),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Ingest(refusal.into())
    }
}

impl From<QueryError> for CallError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Embed(error) => error.into(),
            QueryError::Index(error) => error.into(),
            QueryError::Storage(error) => error.into(),
        }
    }
}

impl From<SwitchError> for CallError {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::Models(error) => error.into(),
            SwitchError::Embed(error) => error.into(),
            SwitchError::Ingest(error) => error.into(),
            SwitchError::Space(error) => Self::Broken(error),
        }
    }
}

impl From<DocumentError> for CallError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Refused(reason) => Self::Invalid(reason),
            DocumentError::Html(error) => Self::Invalid(error.to_string()),
            DocumentError::Ingest(error) => error.into(),
            DocumentError::Storage(error) => error.into(),
        }
    }
}

/// A request that can never succeed, and why.
pub(super) fn invalid(reason: impl Into<String>) -> CallError {
    CallError::Invalid(reason.into())
}

/// The status for an error: its code tells programs what to do, its message people.
pub(super) fn status_of(error: CallError) -> Status {
    let code = match &error {
        CallError::Invalid(_) => Code::InvalidArgument,
        CallError::NotFound(_) => Code::NotFound,
        CallError::Offline | CallError::Refused(_) => Code::FailedPrecondition,
        CallError::Busy(_) => Code::ResourceExhausted,
        CallError::Mesh(MeshError::TooManyTopics) => Code::FailedPrecondition,
        CallError::Mesh(MeshError::Net(_)) => Code::Unavailable,
        CallError::Mesh(MeshError::Unkept(_)) | CallError::Broken(_) => Code::Internal,
        CallError::Models(ModelsError::NotFound(_)) => Code::NotFound,
        CallError::Models(ModelsError::Refused(_)) => Code::FailedPrecondition,
        CallError::Models(ModelsError::Unusable(_)) => Code::InvalidArgument,
        CallError::Models(ModelsError::Failed(_)) => Code::Unavailable,
        CallError::Models(ModelsError::GivenUp) => Code::Cancelled,
        CallError::Ingest(IngestError::Refused(refusal)) => match refusal {
            Refusal::NodeFull(_) => Code::ResourceExhausted,
            Refusal::Retracted => Code::FailedPrecondition,
            _ => Code::InvalidArgument,
        },
        CallError::Ingest(IngestError::Storage(error)) => storage_code(error),
        CallError::Storage(error) => storage_code(error),
        CallError::Embed(EmbedError::Busy) => Code::ResourceExhausted,
        CallError::Ingest(IngestError::Stopped) | CallError::Embed(EmbedError::Stopped) => Code::Unavailable,
        CallError::Embed(EmbedError::NotLoaded(_)) => Code::FailedPrecondition,
        CallError::Embed(EmbedError::Failed(_)) | CallError::Index(_) => Code::Internal,
    };
    if code == Code::Internal {
        tracing::error!(%error, "a call failed");
    }
    Status::new(code, error.to_string())
}

fn storage_code(error: &StorageError) -> Code {
    match error {
        StorageError::Full { .. } => Code::ResourceExhausted,
        _ => Code::Internal,
    }
}
