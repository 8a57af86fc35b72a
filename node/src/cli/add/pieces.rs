//! A large file as the messages that carry it: what is said of it, then its bytes, read as they are sent.

use std::path::PathBuf;

use futures::{Stream, stream};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::add_large_document_request::Item;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Bytes of one message.
const PIECE_BYTES: usize = 1 << 20;

/// The messages of a file of `size` bytes. What cannot be read ends them early, and the node sees by the size that it is not all.
pub(super) fn of(
    document: rpc::AddDocumentRequest,
    path: PathBuf,
    size: u64,
) -> impl Stream<Item = rpc::AddLargeDocumentRequest> + Send + use<> {
    let message = |item| rpc::AddLargeDocumentRequest { item: Some(item) };
    let first = message(Item::Document(rpc::LargeDocument { document: Some(document), size }));
    let rest = stream::unfold(None::<File>, move |file| {
        let path = path.clone();
        async move {
            let mut file = match file {
                Some(file) => file,
                None => File::open(&path).await.ok()?,
            };
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).await.ok()?;
            (!piece.is_empty()).then(|| (message(Item::Content(piece)), Some(file)))
        }
    });
    futures::StreamExt::chain(stream::iter([first]), rest)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn the_pieces_of_a_file_are_all_of_it_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.epub");
        let bytes: Vec<u8> = (0..2 * PIECE_BYTES + 7).map(|n| (n / 1000) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let size = bytes.len() as u64;
        let messages: Vec<_> = of(rpc::AddDocumentRequest::default(), path, size).collect().await;
        let Some(Item::Document(first)) = &messages[0].item else { panic!("what is said of it comes first") };
        assert_eq!((first.size, messages.len()), (size, 4));
        let pieces = messages[1..].iter().map(|message| match &message.item {
            Some(Item::Content(piece)) => piece.as_slice(),
            other => panic!("{other:?}"),
        });
        assert_eq!(pieces.collect::<Vec<_>>().concat(), bytes);
        let gone = of(rpc::AddDocumentRequest::default(), dir.path().join("gone"), 9);
        assert_eq!(gone.count().await, 1);
    }
}
