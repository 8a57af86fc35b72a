//! Yamux with a bound on what a connection may hold unread.
//!
//! Yamux promises each stream a window of 256 KiB, so 256 streams that nobody reads yet, because their negotiation waits
//! for its turn, hold 64 MiB of whatever a peer cares to send. Here the connection reads no more from its socket while
//! [`MAX_UNREAD`] bytes of its streams are unread: the peer waits, and nobody is punished. What waits in a stream that is
//! never read is freed when the stream's negotiation runs out of time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures::future::{Ready, ready as at_once};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};

use crate::gate::{MAX_DIRECT_CONNECTIONS, MAX_RELAYED_CONNECTIONS};

/// Bytes that a connection may hold unread: four windows of a stream, so that only who is not read waits. Of QUIC it is the
/// window of a connection.
pub(crate) const MAX_UNREAD: usize = 1 << 20;
/// The same of a peer, with all the connections that it may have for a moment. `max_peers` times this is what all hold:
/// 150 MiB of 50.
pub(crate) const MAX_UNREAD_OF_PEER: usize = MAX_UNREAD * (MAX_DIRECT_CONNECTIONS + MAX_RELAYED_CONNECTIONS);
const _: () = assert!(50 * MAX_UNREAD_OF_PEER <= 150 << 20, "fifty peers hold more than is said");
/// What a piece of data costs beside its bytes, so that many small ones are no way around the bound.
const PIECE_COST: usize = 64;
/// Streams that wait to be taken; more are reset. As many as libp2p's own multiplexer holds.
const MAX_WAITING: usize = 256;
/// Bytes of a frame's header (yamux specification, "Framing").
const HEADER_BYTES: usize = 12;
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const SYN: u16 = 1;

/// What the streams of one connection hold unread.
#[derive(Debug, Default)]
struct Unread {
    total: usize,
    /// The pieces of each open stream, the first of them what is left of it.
    streams: HashMap<u32, VecDeque<usize>>,
    /// Whoever waits until there is room.
    waiting: Option<Waker>,
}

impl Unread {
    fn open(&mut self, stream: u32) {
        self.streams.entry(stream).or_default();
    }

    /// A piece of data comes. What comes for streams that are gone is thrown away.
    fn came(&mut self, stream: u32, bytes: usize) {
        if bytes > 0
            && let Some(pieces) = self.streams.get_mut(&stream)
        {
            pieces.push_back(bytes);
            self.total += bytes + PIECE_COST;
        }
    }

    fn was_read(&mut self, stream: u32, mut bytes: usize) {
        let Some(pieces) = self.streams.get_mut(&stream) else { return };
        while bytes > 0
            && let Some(first) = pieces.front_mut()
        {
            let read = bytes.min(*first);
            (*first, bytes, self.total) = (*first - read, bytes - read, self.total - read);
            if *first == 0 {
                pieces.pop_front();
                self.total -= PIECE_COST;
            }
        }
        self.wake();
    }

    fn close(&mut self, stream: u32) {
        let pieces = self.streams.remove(&stream).unwrap_or_default();
        self.total -= pieces.into_iter().map(|bytes| bytes + PIECE_COST).sum::<usize>();
        self.wake();
    }

    fn wake(&mut self) {
        if self.total < MAX_UNREAD
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }
}

type Shared = Arc<Mutex<Unread>>;

fn lock(unread: &Mutex<Unread>) -> MutexGuard<'_, Unread> {
    // It is whole between any two of its lines.
    unread.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads along which frames pass, whatever the pieces in which they come.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER_BYTES],
    filled: usize,
    /// Of the body of the frame that passes.
    left: usize,
}

impl Frames {
    fn passed(&mut self, mut bytes: &[u8], unread: &mut Unread) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                (self.left, bytes) = (self.left - skipped, &bytes[skipped..]);
                continue;
            }
            let taken = (HEADER_BYTES - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            (self.filled, bytes) = (self.filled + taken, &bytes[taken..]);
            if self.filled == HEADER_BYTES {
                self.filled = 0;
                self.begin(unread);
            }
        }
    }

    /// A frame begins: version, type, flags, stream, length. Its memory is taken at once, before its body is there.
    fn begin(&mut self, unread: &mut Unread) {
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = self.header;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let is_new = u16::from_be_bytes([f0, f1]) & SYN != 0;
        if is_new && (kind == DATA || kind == WINDOW_UPDATE) {
            unread.open(stream);
        }
        if kind == DATA {
            self.left = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            unread.came(stream, self.left);
        }
    }
}

/// The socket below the streams: it waits when too much is unread.
pub(crate) struct Gauge<S> {
    socket: S,
    frames: Frames,
    unread: Shared,
}

impl<S: AsyncRead + Unpin> AsyncRead for Gauge<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        {
            let mut unread = lock(&this.unread);
            if unread.total >= MAX_UNREAD {
                unread.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let read = ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        this.frames.passed(&buf[..read], &mut lock(&this.unread));
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gauge<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// One stream of a connection.
pub(crate) struct Stream {
    inner: yamux::Stream,
    number: u32,
    unread: Shared,
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.unread).close(self.number);
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        lock(&self.unread).was_read(self.number, read);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// A connection of bounded streams.
pub(crate) struct Muxer<S> {
    connection: yamux::Connection<Gauge<S>>,
    unread: Shared,
    /// Streams that came while others were looked after.
    waiting: VecDeque<Stream>,
    waker: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Muxer<S> {
    fn new(socket: S, max_streams: usize, mode: yamux::Mode) -> Self {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(max_streams);
        let unread = Shared::default();
        let gauge = Gauge { socket, frames: Frames::default(), unread: unread.clone() };
        let connection = yamux::Connection::new(gauge, config, mode);
        Self { connection, unread, waiting: VecDeque::new(), waker: None }
    }

    fn stream(&self, inner: yamux::Stream) -> Stream {
        let number = inner.id().val();
        lock(&self.unread).open(number);
        Stream { inner, number, unread: self.unread.clone() }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        let closed = Err(yamux::ConnectionError::Closed);
        Poll::Ready(next.unwrap_or(closed).map(|stream| self.stream(stream)).map_err(to_io))
    }
}

fn to_io(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<S> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let stream = ready!(self.connection.poll_new_outbound(cx)).map_err(to_io)?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(to_io)
    }

    /// Yamux gets on only while somebody asks for the next stream.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = ready!(self.poll_next(cx))?;
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(stream);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        // There may be more, and others want their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Makes connections of bounded streams.
#[derive(Debug, Clone)]
pub(crate) struct Yamux {
    /// Streams of a connection, of both ends together; a peer that opens more is cut off.
    pub(crate) max_streams: usize,
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<S> for Yamux {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<S>>>;

    fn upgrade_inbound(self, socket: S, _: &'static str) -> Self::Future {
        at_once(Ok(Muxer::new(socket, self.max_streams, yamux::Mode::Server)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<S> for Yamux {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<S>>>;

    fn upgrade_outbound(self, socket: S, _: &'static str) -> Self::Future {
        at_once(Ok(Muxer::new(socket, self.max_streams, yamux::Mode::Client)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u16, stream: u32, body: usize) -> Vec<u8> {
        let mut frame = vec![0, kind];
        frame.extend(flags.to_be_bytes());
        frame.extend(stream.to_be_bytes());
        frame.extend((body as u32).to_be_bytes());
        frame.extend(std::iter::repeat_n(7, if kind == DATA { body } else { 0 }));
        frame
    }

    #[test]
    fn what_is_unread_is_what_came_and_was_not_read_of_streams_that_are_open() {
        let (mut frames, mut unread) = (Frames::default(), Unread::default());
        let bytes = [
            frame(DATA, SYN, 1, 100),
            frame(WINDOW_UPDATE, SYN, 3, 1 << 20),
            frame(2, 1, 0, 5),
            frame(DATA, 0, 3, 50),
            frame(DATA, 0, 9, 1000),
        ];
        frames.passed(&bytes.concat(), &mut unread);
        assert_eq!(unread.total, 150 + 2 * PIECE_COST);
        unread.was_read(1, 30);
        assert_eq!(unread.total, 120 + 2 * PIECE_COST);
        unread.was_read(1, 70);
        assert_eq!(unread.total, 50 + PIECE_COST);
        unread.close(3);
        unread.close(1);
        assert_eq!((unread.total, unread.streams.len()), (0, 0));
    }

    proptest! {
        /// However the bytes are cut, the same frames are seen.
        #[test]
        fn frames_are_followed_whatever_the_pieces(
            sizes in prop::collection::vec((1u32..5, 0usize..300), 1..40),
            cut in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            let mut expected = 0;
            for (stream, size) in &sizes {
                bytes.extend(frame(DATA, SYN, *stream, *size));
                expected += if *size > 0 { size + PIECE_COST } else { 0 };
            }
            let (mut frames, mut unread) = (Frames::default(), Unread::default());
            bytes.chunks(cut).for_each(|piece| frames.passed(piece, &mut unread));
            prop_assert_eq!(unread.total, expected);
            for (stream, size) in sizes {
                unread.was_read(stream, size);
            }
            prop_assert_eq!(unread.total, 0);
        }
    }

    /// Both ends of a pipe that holds little.
    async fn pipe() -> (impl AsyncRead + AsyncWrite + Unpin + Send, impl AsyncRead + AsyncWrite + Unpin + Send)
    {
        use futures::StreamExt;
        use libp2p::Transport;
        use libp2p::core::transport::{DialOpts, ListenerId, MemoryTransport, PortUse, TransportEvent};
        let mut listener = MemoryTransport::new().boxed();
        listener.listen_on(ListenerId::next(), "/memory/0".parse().unwrap()).unwrap();
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = listener.next().await else {
            panic!("it listens")
        };
        let options = DialOpts { role: libp2p::core::Endpoint::Dialer, port_use: PortUse::New };
        let dialling = MemoryTransport::new().dial(listen_addr, options).unwrap();
        let coming = async {
            loop {
                if let Some(TransportEvent::Incoming { upgrade, .. }) = listener.next().await {
                    return upgrade.await.unwrap();
                }
            }
        };
        let (here, there) = futures::join!(coming, dialling);
        (here, there.unwrap())
    }

    const STREAMS: usize = 100;
    const WRITTEN: usize = 200 << 10;

    /// A peer that opens many streams and writes to each as much as it is let.
    async fn write_to_many(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        use futures::AsyncWriteExt;
        let mut peer = yamux::Connection::new(socket, yamux::Config::default(), yamux::Mode::Client);
        for _ in 0..STREAMS {
            let mut stream = std::future::poll_fn(|cx| peer.poll_new_outbound(cx)).await.unwrap();
            tokio::spawn(async move {
                stream.write_all(&vec![7; WRITTEN]).await.unwrap();
                stream.close().await.unwrap();
                // It ends when the other end has read it all.
                std::future::pending::<()>().await;
            });
        }
        while std::future::poll_fn(|cx| peer.poll_next_inbound(cx)).await.is_some() {}
    }

    /// They used to hold a window each, 64 MiB in all.
    #[tokio::test]
    async fn streams_that_nobody_reads_are_held_within_a_bound_and_go_on_when_they_are_read() {
        use futures::AsyncReadExt;
        let (here, there) = pipe().await;
        tokio::spawn(write_to_many(there));
        let mut muxer = Muxer::new(here, 256, yamux::Mode::Server);
        let unread = muxer.unread.clone();
        std::future::poll_fn(|cx| {
            assert!(Pin::new(&mut muxer).poll(cx).is_pending());
            if lock(&unread).total < MAX_UNREAD { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        for _ in 0..2000 {
            tokio::task::yield_now().await;
            std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut muxer).poll(cx).is_pending())).await;
            assert!(lock(&unread).total < MAX_UNREAD + (32 << 10));
        }

        let (reading, mut read) = tokio::sync::mpsc::channel(STREAMS);
        tokio::spawn(std::future::poll_fn(move |cx| {
            while let Some(mut stream) = muxer.waiting.pop_front() {
                let reading = reading.clone();
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).await.unwrap();
                    reading.send(bytes.len()).await.unwrap();
                });
            }
            Pin::new(&mut muxer).poll(cx).map(drop)
        }));
        for _ in 0..STREAMS {
            assert_eq!(read.recv().await, Some(WRITTEN));
        }
        assert_eq!(lock(&unread).total, 0);
    }
}
