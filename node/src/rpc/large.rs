//! A document in pieces: its bytes are more than one message may have.

use std::sync::Arc;
use std::time::Duration;

use synapsenet_proto::rpc;
use synapsenet_proto::rpc::add_large_document_request::Item;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::convert::read_document;
use super::status::status_of;
use crate::calls::error::invalid;
use crate::calls::grains::Added;
use crate::calls::{Call, CallError};

/// The longest that the next piece may take: whoever sends nothing keeps others from their turn.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Takes a document in and adds it.
///
/// # Errors
/// When it is not whole, too large, or not added.
pub(super) async fn add(
    call: &Call,
    mut pieces: Streaming<rpc::AddLargeDocumentRequest>,
) -> Result<Added, Status> {
    let no_document = || status_of(invalid("no document is named: it comes first, then its content"));
    let Some(Item::Document(first)) = next(&mut pieces).await? else { return Err(no_document()) };
    let rpc::LargeDocument { document, size } = first;
    let mut document = read_document(document.ok_or_else(no_document)?).map_err(status_of)?;
    let most = document.format().max_bytes() as u64;
    if size > most || document.content.len() as u64 > size {
        let reason = format!("the document has {size} bytes; at most {most} are allowed: split it");
        return Err(status_of(invalid(reason)));
    }
    document.held.extend(call.room_for_large().await.map(Arc::new));
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    document.content.reserve_exact(size - document.content.len());
    while let Some(item) = next(&mut pieces).await? {
        let Item::Content(bytes) = item else {
            return Err(status_of(invalid("a document comes once, and its content after it")));
        };
        // An empty one would only keep others waiting.
        if bytes.is_empty() || bytes.len() > size - document.content.len() {
            return Err(status_of(changed()));
        }
        document.content.extend_from_slice(&bytes);
    }
    if document.content.len() < size {
        return Err(status_of(changed()));
    }
    call.add_document(document).await.map_err(status_of)
}

fn changed() -> CallError {
    invalid(
        "the document has another size than was said: it was changed meanwhile, or broke off; add it again",
    )
}

/// The next piece. An empty one ends the stream like the end itself.
async fn next(pieces: &mut Streaming<rpc::AddLargeDocumentRequest>) -> Result<Option<Item>, Status> {
    match timeout(MAX_PAUSE, pieces.message()).await {
        Ok(piece) => Ok(piece?.and_then(|piece| piece.item)),
        Err(_) => Err(status_of(CallError::DeadlinePassed)),
    }
}
