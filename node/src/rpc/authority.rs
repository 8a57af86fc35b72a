//! Lets those in who call a unix socket by its path.
//!
//! A request of HTTP/2 names a host, its `:authority` (RFC 9113, section 8.3.1). A socket has none, and gRPC for C++, Python,
//! Ruby, PHP, Java and Swift names the path of the socket instead, as it is or percent-encoded. h2, below tonic, ends such a
//! request as malformed, and nothing in it can be told otherwise. So what comes in over the socket is looked through for blocks of
//! headers, and an authority that is none is replaced before h2 reads it; nothing here asks for an authority. Whatever else
//! comes in passes as it is, also what is no HTTP/2 at all: h2 judges it.

mod hpack;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// How a client begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The head of a frame: three bytes of length, type, flags, four of the stream (section 4.1).
const HEAD: usize = 9;
/// The largest frame that a client may send, as long as nobody allows it more (section 6.5.2). A request's headers are one
/// such frame: larger ones, and those in more than one frame, are not looked into.
const MAX_FRAME: usize = 16_384;
/// The type of a frame that begins a block of headers, and its flags (section 6.2).
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Bytes that are read at once.
const CHUNK: usize = 8 << 10;

/// A connection on which any text may stand for an authority.
#[derive(Debug)]
pub(super) struct AnyAuthority<S, N> {
    stream: S,
    /// Who is at the other end.
    neighbour: N,
    next: Next,
    /// Read, and not looked at: less than a frame of headers and a chunk.
    raw: Vec<u8>,
    /// Looked at, and not handed on, from `handed_on`.
    seen: Vec<u8>,
    handed_on: usize,
}

/// What comes next in what was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Preface,
    Frame,
    /// The rest of a frame that is of no interest.
    Rest(usize),
    /// It is no HTTP/2.
    Anything,
}

impl<S, N> AnyAuthority<S, N> {
    pub(super) fn new(stream: S, neighbour: N) -> Self {
        Self { stream, neighbour, next: Next::Preface, raw: Vec::new(), seen: Vec::new(), handed_on: 0 }
    }

    /// Looks at the next piece. False when more has to be read first.
    fn look(&mut self) -> bool {
        let available = self.raw.len();
        match self.next {
            Next::Preface => {
                let same =
                    PREFACE.iter().zip(&self.raw).take_while(|(wanted, given)| wanted == given).count();
                if same == PREFACE.len() {
                    self.pass(same, Next::Frame);
                } else if same < available {
                    self.next = Next::Anything;
                } else {
                    return false;
                }
            }
            Next::Frame => {
                let Some(&[high, middle, low, kind, flags, ..]) = self.raw.first_chunk::<HEAD>() else {
                    return false;
                };
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                if kind != HEADERS || flags & END_HEADERS == 0 || length > MAX_FRAME {
                    self.pass(HEAD, Next::Rest(length));
                } else if available < HEAD + length {
                    return false;
                } else {
                    let frame: Vec<u8> = self.raw.drain(..HEAD + length).collect();
                    self.seen.extend_from_slice(&with_authority(&frame).unwrap_or(frame));
                }
            }
            Next::Rest(0) => self.next = Next::Frame,
            Next::Rest(left) => {
                let piece = left.min(available);
                self.pass(piece, Next::Rest(left - piece));
                return piece > 0;
            }
            Next::Anything => {
                self.pass(available, Next::Anything);
                return available > 0;
            }
        }
        true
    }

    fn pass(&mut self, length: usize, next: Next) {
        self.seen.extend(self.raw.drain(..length));
        self.next = next;
    }
}

/// The frame of headers with an authority that is one; nothing when it has one, or none can be put in.
fn with_authority(frame: &[u8]) -> Option<Vec<u8>> {
    let (head, payload) = frame.split_first_chunk::<HEAD>()?;
    let flags = head[4];
    let padding = if flags & PADDED != 0 { usize::from(*payload.first()?) } else { 0 };
    let begin = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = payload.len().checked_sub(padding)?;
    let block = hpack::with_authority(payload.get(begin..end)?)?;
    let length = begin + block.len() + padding;
    if length > MAX_FRAME {
        return None;
    }
    let [_, high, middle, low] = (length as u32).to_be_bytes();
    Some([&[high, middle, low], &head[3..], &payload[..begin], &block, &payload[end..]].concat())
}

impl<S: AsyncRead + Unpin, N: Unpin> AsyncRead for AnyAuthority<S, N> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.handed_on == this.seen.len() {
            this.seen.clear();
            this.handed_on = 0;
            while this.look() {}
            if this.seen.is_empty() {
                let mut chunk = [0; CHUNK];
                let mut chunk = ReadBuf::new(&mut chunk);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
                if chunk.filled().is_empty() {
                    // What was broken off is handed on, too, and the end after it.
                    this.seen.append(&mut this.raw);
                    this.next = Next::Anything;
                    if this.seen.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                this.raw.extend_from_slice(chunk.filled());
            }
        }
        let piece = to.remaining().min(this.seen.len() - this.handed_on);
        to.put_slice(&this.seen[this.handed_on..this.handed_on + piece]);
        this.handed_on += piece;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, N: Unpin> AsyncWrite for AnyAuthority<S, N> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S, N: Clone + Send + Sync + 'static> Connected for AnyAuthority<S, N> {
    type ConnectInfo = N;

    fn connect_info(&self) -> N {
        self.neighbour.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = (payload.len() as u32).to_be_bytes();
        [&[high, middle, low, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// What is read from the connection of a client that writes these pieces and goes.
    fn read(pieces: Vec<Vec<u8>>) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(64);
            let write = async move {
                for piece in pieces {
                    client.write_all(&piece).await.unwrap();
                }
            };
            let mut read = Vec::new();
            let (_, count) =
                tokio::join!(write, async { AnyAuthority::new(server, ()).read_to_end(&mut read).await });
            assert_eq!(count.unwrap(), read.len());
            read
        })
    }

    /// A request's headers with this authority, and the same after they were mended.
    fn request(authority: &[u8], flags: u8) -> (Vec<u8>, Vec<u8>) {
        let block = |authority: &[u8]| {
            let block = [b"\x83\x86\x41", [authority.len() as u8].as_slice(), authority, b"\x84"].concat();
            match flags {
                PADDED => [b"\x02", block.as_slice(), b"\0\0"].concat(),
                PRIORITY => [b"\0\0\0\0\x10", block.as_slice()].concat(),
                _ => block,
            }
        };
        let mended = vec![b'x'; authority.len()];
        let frame = |authority: &[u8]| frame(HEADERS, flags | END_HEADERS, &block(authority));
        (frame(authority), frame(&mended))
    }

    proptest! {
        #[test]
        fn however_the_bytes_come_only_the_authority_changes(size in 1usize..70, flags in 0usize..3, end in 0usize..400) {
            let flags = [0, PADDED, PRIORITY][flags];
            let (given, mended) = request(b"%2Frun%2Fsynapsenet%2Fapi.sock", flags);
            let (other, _) = request(b"localhost:7717", flags);
            let between = [frame(0, 0, &[7; 100]), frame(4, 0, &[]), other, frame(0, 1, b"x")].concat();
            let [given, wanted] = [given, mended].map(|headers| [PREFACE, &headers, &between, &headers].concat());
            prop_assert_eq!(read(given.chunks(size).map(<[u8]>::to_vec).collect()), wanted);
            // A client that breaks off is heard to the end.
            let part = &given[..end.min(given.len())];
            let heard = read(part.chunks(size).map(<[u8]>::to_vec).collect());
            prop_assert_eq!(heard.len(), part.len());
        }

        #[test]
        fn what_is_no_request_passes_as_it_is(bytes in proptest::collection::vec(any::<u8>(), 0..300), begins in any::<bool>()) {
            let preface = if begins { PREFACE } else { b"GET / HTTP/1.1\r\n" };
            // Of all frames, those of headers are left to the test above.
            let bytes = [preface, &frame(0, 0, &bytes), &frame(9, END_HEADERS, &bytes)].concat();
            prop_assert_eq!(read(vec![bytes.clone()]), bytes);
        }
    }

    #[test]
    fn headers_that_are_too_long_or_in_parts_pass_as_they_are() {
        let (headers, _) = request(b"/run/a.sock", 0);
        let mut parts = headers.clone();
        parts[4] = 0;
        let large = [&headers[HEAD..], [0x84; MAX_FRAME].as_slice()].concat();
        for frame in
            [parts, frame(HEADERS, END_HEADERS, &large), frame(HEADERS, END_HEADERS | PADDED, b"\xff")]
        {
            let bytes = [PREFACE, &frame, &headers[..4]].concat();
            assert_eq!(read(vec![bytes.clone()]), bytes);
        }
    }
}
