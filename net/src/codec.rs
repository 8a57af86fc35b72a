//! Questions and answers as protobuf messages: the length, the message, then the end of that direction of the substream.
//! A substream that ends without a message is no message: an answer that is not given must not look like an empty one.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;
use prost::Message;

/// How long a question may take to arrive: the largest one in half of that over 1 Mbit/s.
pub(crate) const MAX_QUESTION_TIME: Duration = Duration::from_secs(20);
/// Tests wait less.
const QUESTION_TIME: Duration = if cfg!(test) { Duration::from_secs(2) } else { MAX_QUESTION_TIME };

/// What a peer asks. The swarm is not told of questions that fail while they are read, and these must cost the peer
/// something, so they are read as what they are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked<Q> {
    /// This.
    Question(Q),
    /// Something that is no question.
    Unreadable,
    /// Something that did not come to its end in time.
    Stalled,
}

/// Reads and writes messages of one protocol, none longer than its limits in bytes.
pub(crate) struct Protobuf<Q, A> {
    max_question: u64,
    max_answer: u64,
    messages: PhantomData<fn() -> (Q, A)>,
}

impl<Q, A> Protobuf<Q, A> {
    pub(crate) fn new(max_question: u64, max_answer: u64) -> Self {
        Self { max_question, max_answer, messages: PhantomData }
    }
}

impl<Q, A> Clone for Protobuf<Q, A> {
    fn clone(&self) -> Self {
        Self::new(self.max_question, self.max_answer)
    }
}

/// A message that does not decode, although all of it came: told from a broken connection by its kind.
fn unreadable(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

pub(crate) async fn read<M: Message + Default>(
    io: &mut (impl AsyncRead + Unpin + Send),
    max: u64,
) -> io::Result<M> {
    let mut bytes = Vec::new();
    // The buffer grows with what arrives, never with what is announced.
    io.take(max + 1).read_to_end(&mut bytes).await?;
    if bytes.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if bytes.len() as u64 > max {
        return Err(unreadable(format!("the message has more than {max} bytes")));
    }
    let announced = prost::decode_length_delimiter(bytes.as_slice()).map_err(unreadable)?;
    if bytes.len() - prost::length_delimiter_len(announced) < announced {
        // A substream ends like this, too, when the connection under it breaks.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut rest = bytes.as_slice();
    let message = M::decode_length_delimited(&mut rest).map_err(unreadable)?;
    if rest.is_empty() { Ok(message) } else { Err(unreadable("something follows the message")) }
}

pub(crate) async fn write(
    io: &mut (impl AsyncWrite + Unpin + Send),
    message: impl Message,
) -> io::Result<()> {
    io.write_all(&message.encode_length_delimited_to_vec()).await?;
    io.close().await
}

impl<Q, A> request_response::Codec for Protobuf<Q, A>
where
    Q: Message + Default,
    A: Message + Default,
{
    type Protocol = StreamProtocol;
    type Request = Asked<Q>;
    type Response = A;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Asked<Q>>
    where
        T: AsyncRead + Unpin + Send,
    {
        match tokio::time::timeout(QUESTION_TIME, read(io, self.max_question)).await {
            Ok(Ok(question)) => Ok(Asked::Question(question)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Ok(Asked::Unreadable),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Asked::Stalled),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<A>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.max_answer).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, question: Asked<Q>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match question {
            Asked::Question(question) => write(io, question).await,
            Asked::Unreadable | Asked::Stalled => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: A) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, answer).await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use proptest::prelude::*;
    use synapsenet_proto::rpc;

    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let sent = rpc::FetchRequest { ids: vec![7; 64], space_id: vec![] };
        let mut io = Cursor::new(Vec::new());
        block_on(write(&mut io, sent.clone())).unwrap();
        let read: rpc::FetchRequest = block_on(read(&mut Cursor::new(io.into_inner()), 100)).unwrap();
        assert_eq!(read, sent);
    }

    #[tokio::test]
    async fn what_is_no_question_and_what_does_not_end_is_read_as_that() {
        use futures::{StreamExt, TryStreamExt, stream};
        use request_response::Codec;
        let mut codec = Protobuf::<rpc::FetchRequest, rpc::FetchResponse>::new(100, 100);
        let protocol = StreamProtocol::new("/test");
        let mut garbage = Cursor::new(vec![0xff; 50]);
        assert_eq!(codec.read_request(&protocol, &mut garbage).await.unwrap(), Asked::Unreadable);
        let one_byte = stream::iter([Ok(vec![7_u8])]).chain(stream::pending::<io::Result<Vec<u8>>>());
        let mut stalled = one_byte.into_async_read();
        assert_eq!(codec.read_request(&protocol, &mut stalled).await.unwrap(), Asked::Stalled);
    }

    /// A node that was stopped while it answered took its peers' points for a liar's.
    #[test]
    fn a_line_that_breaks_within_a_message_is_nobodys_fault() {
        let mut io = Cursor::new(Vec::new());
        block_on(write(&mut io, rpc::FetchRequest { ids: vec![7; 200], space_id: vec![] })).unwrap();
        let whole = io.into_inner();
        for length in 1..whole.len() {
            let cut = block_on(read::<rpc::FetchRequest>(&mut Cursor::new(&whole[..length]), 300));
            let kind = cut.unwrap_err().kind();
            // Of the length itself half may be missing.
            assert!(kind == io::ErrorKind::UnexpectedEof || length == 1, "{length}: {kind}");
        }
    }

    #[test]
    fn no_message_is_not_an_empty_message() {
        let error = block_on(read::<rpc::SyncResponse>(&mut Cursor::new(Vec::new()), 100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let mut io = Cursor::new(Vec::new());
        block_on(write(&mut io, rpc::SyncResponse::default())).unwrap();
        let read = block_on(read::<rpc::SyncResponse>(&mut Cursor::new(io.into_inner()), 100));
        assert_eq!(read.unwrap(), rpc::SyncResponse::default());
    }

    #[test]
    fn a_message_over_the_limit_is_not_read_to_its_end() {
        let mut io = Cursor::new(vec![0; 10_000]);
        let error = block_on(read::<rpc::FetchRequest>(&mut io, 100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(io.position(), 101);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = block_on(read::<rpc::SyncRequest>(&mut Cursor::new(&bytes), 400));
            let _ = block_on(read::<rpc::FetchResponse>(&mut Cursor::new(&bytes), 400));
            let _ = block_on(read::<rpc::Question>(&mut Cursor::new(&bytes), 400));
        }
    }
}
