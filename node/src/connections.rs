//! How many connections a listener holds, and who gives way when all its seats are taken.
//!
//! Each connection costs a descriptor, and when those are gone a node can neither accept nor open a file. So a listener has as
//! many seats as its share of the descriptors allows. Whoever says nothing goes after some seconds. When all seats are
//! taken, a newcomer takes that of the oldest stranger, one who has asked nothing yet that only those may ask whom the node
//! knows, or else that of a client who may ask no more, because its token ended; where there are none left, the newcomer is
//! turned away. So silent sockets push each other out, and never a client.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::Stream;
use futures::task::AtomicWaker;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::Door;

/// How long a connection may say nothing after it was made: clients of HTTP begin by speaking.
const MAX_SILENCE: Duration = Duration::from_secs(10);
/// The seats of a listener at most, however many descriptors there are, for what a connection costs in memory besides: as many as calls
/// are served at the same time, unless that is configured otherwise.
const MAX_SEATS: u64 = 256;
/// And at least, however few there are.
const MIN_SEATS: u64 = 16;
/// After an error that is no one connection's: there are no descriptors or no memory now.
const PAUSE: Duration = Duration::from_secs(1);

/// Lets this process have as many descriptors as the system allows it; many systems begin with 1,024.
pub(crate) fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, ?current, ?maximum, "the limit of descriptors stays as it is");
    }
}

/// The seats of a listener that may have one of `share` parts of the descriptors of this process.
pub(crate) fn seats_for(share: u64) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((descriptors / share).clamp(MIN_SEATS, MAX_SEATS)).unwrap_or(usize::MAX)
}

/// The seats of one listener. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    max: usize,
    door: Door,
    max_silence: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    next: u64,
    /// Those who are not known, by when they came.
    strangers: BTreeMap<u64, Arc<Dismissal>>,
    /// Those who are, by when they came.
    known: BTreeMap<u64, (Arc<Dismissal>, Right)>,
}

impl State {
    /// Who gives way to a newcomer: the oldest stranger, else the oldest of those who may ask no more.
    fn take_dispensable(&mut self) -> Option<Arc<Dismissal>> {
        if let Some((_, oldest)) = self.strangers.pop_first() {
            return Some(oldest);
        }
        let now = Instant::now();
        let is_over = |(_, (_, right)): &(&u64, &(Arc<Dismissal>, Right))| right.is_over(now);
        let number = self.known.iter().find(is_over).map(|(number, _)| *number)?;
        self.known.remove(&number).map(|(dismissal, _)| dismissal)
    }
}

/// For how long somebody may ask.
#[derive(Debug, Clone)]
pub(crate) enum Right {
    /// As long as the node runs.
    Lasting,
    /// Until it is taken back, or until then.
    Until {
        /// Cancelled when it is taken back.
        revoked: CancellationToken,
        /// None where no time is set.
        end: Option<Instant>,
    },
}

impl Right {
    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Lasting => false,
            Self::Until { revoked, end } => revoked.is_cancelled() || end.is_some_and(|end| end <= now),
        }
    }
}

/// How a connection hears that it has lost its seat.
#[derive(Debug, Default)]
struct Dismissal {
    told: AtomicBool,
    waker: AtomicWaker,
}

impl Seats {
    /// This many. What becomes of them is counted at `door`.
    pub fn new(max: usize, door: Door) -> Self {
        Self { max, door, max_silence: MAX_SILENCE, state: Arc::default() }
    }

    /// Gives a connection a seat; none when all are taken by those who are known.
    fn seat<S>(&self, stream: S) -> Option<Seated<S>> {
        let mut state = self.lock();
        if state.taken >= self.max {
            let dispensable = state.take_dispensable()?;
            dispensable.told.store(true, Relaxed);
            dispensable.waker.wake();
            state.taken -= 1;
            self.door.gave_way.inc();
        }
        state.taken += 1;
        self.door.open.set(state.taken as i64);
        let number = state.next;
        state.next += 1;
        let dismissal = Arc::new(Dismissal::default());
        state.strangers.insert(number, dismissal.clone());
        let guest = Guest { seats: self.clone(), number };
        let silence = Some(Box::pin(tokio::time::sleep(self.max_silence)));
        Some(Seated { stream, guest, dismissal, silence })
    }

    /// Connections as they come, for ever. What is wrong with one of them, or with the system for a while, ends nothing.
    pub fn fill<L: Listen>(self, listener: L) -> impl Stream<Item = io::Result<Seated<L::Stream>>> + Send {
        futures::stream::unfold((self, listener), |(seats, listener)| async {
            let (seated, _) = seats.next(&listener).await;
            Some((Ok(seated), (seats, listener)))
        })
    }

    /// The next connection that gets a seat, and where it comes from.
    pub async fn next<L: Listen>(&self, listener: &L) -> (Seated<L::Stream>, L::Address) {
        loop {
            match listener.next().await {
                Ok((stream, address)) => match self.seat(stream) {
                    Some(seated) => return (seated, address),
                    None => {
                        self.door.full.inc();
                        tracing::debug!("a connection was turned away: all seats are taken");
                    }
                },
                Err(error) if is_of_one(&error) => tracing::debug!(%error, "a connection was gone at once"),
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken for a moment");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error of accepting is about the one connection.
fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// What connections come in by.
pub(crate) trait Listen: Send + Sync {
    /// A connection.
    type Stream: Send;
    /// Where it comes from.
    type Address: Send;
    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Address)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    /// It sends each answer at once: one that waits for the client to confirm the one before comes some 40 ms late.
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.accept().await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection sends its answers late");
        }
        Ok((stream, address))
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;
    type Address = ();

    async fn next(&self) -> io::Result<(UnixStream, ())> {
        Ok((self.accept().await?.0, ()))
    }
}

/// Who sits on a seat.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    seats: Seats,
    number: u64,
}

impl Guest {
    /// It showed that it may ask: as long as that holds, it does not give way to others any more. Where several come over one
    /// connection, the right counts that was shown first, until it is over.
    pub fn is_known(&self, right: Right) {
        let mut state = self.seats.lock();
        if let Some(dismissal) = state.strangers.remove(&self.number) {
            state.known.insert(self.number, (dismissal, right));
        } else if let Some((_, known)) = state.known.get_mut(&self.number)
            && known.is_over(Instant::now())
        {
            *known = right;
        }
    }
}

/// A connection with a seat, which it leaves when it is dropped.
#[derive(Debug)]
pub(crate) struct Seated<S> {
    stream: S,
    guest: Guest,
    dismissal: Arc<Dismissal>,
    /// Until it has said something.
    silence: Option<Pin<Box<Sleep>>>,
}

impl<S> Drop for Seated<S> {
    fn drop(&mut self) {
        let mut state = self.guest.seats.lock();
        state.strangers.remove(&self.guest.number);
        state.known.remove(&self.guest.number);
        // Who was dismissed has left already.
        if !self.dismissal.told.load(Relaxed) {
            state.taken -= 1;
            self.guest.seats.door.open.set(state.taken as i64);
        }
    }
}

impl<S> Seated<S> {
    /// The connection itself.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Who sits here.
    pub fn guest(&self) -> Guest {
        self.guest.clone()
    }

    /// # Errors
    /// When it has lost its seat.
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.dismissal.waker.register(cx.waker());
        let lost = || io::Error::new(ErrorKind::ConnectionAborted, "another connection has its seat now");
        if self.dismissal.told.load(Relaxed) { Err(lost()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Seated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let this = &mut *self;
        let before = to.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, to);
        if to.filled().len() > before {
            this.silence = None;
        }
        let is_over = |silence: &mut Pin<Box<Sleep>>| silence.as_mut().poll(cx).is_ready();
        if read.is_pending() && this.silence.as_mut().is_some_and(is_over) {
            this.silence = None;
            this.guest.seats.door.silent.inc();
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client said nothing")));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seated<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn the_oldest_stranger_gives_way_and_nobody_who_is_known() {
        let (listener, address) = listening().await;
        let seats = Seats::new(2, Door::default());
        let mut incoming = std::pin::pin!(seats.clone().fill(listener));
        let mut clients = Vec::new();
        let mut seated = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
            seated.push(incoming.next().await.unwrap().unwrap());
        }
        let mut byte = [0];
        assert_eq!(seated[0].read(&mut byte).await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        clients[1].write_all(b"a").await.unwrap();
        assert_eq!(seated[1].read(&mut byte).await.unwrap(), 1, "its seat is its own");

        for seated in &seated[1..] {
            seated.guest().is_known(Right::Lasting);
        }
        let mut turned_away = TcpStream::connect(address).await.unwrap();
        let gone = tokio::select! {
            read = turned_away.read(&mut byte) => matches!(read, Ok(0) | Err(_)),
            _ = incoming.next() => false,
        };
        assert!(gone, "both seats are those of clients");
        drop(seated.pop());
        clients.push(TcpStream::connect(address).await.unwrap());
        assert!(incoming.next().await.unwrap().is_ok(), "who leaves makes room");
        assert_eq!((seats.door.gave_way.get(), seats.door.full.get(), seats.door.silent.get()), (1, 1, 0));
    }

    #[tokio::test]
    async fn whose_right_is_over_gives_way_and_nobody_whose_right_holds() {
        let seats = Seats::new(2, Door::default());
        let seat = || seats.seat(tokio::io::duplex(16).0);
        let until = |revoked: &CancellationToken, end| Right::Until { revoked: revoked.clone(), end };
        let (lasting, revoked) = (seat().unwrap(), CancellationToken::new());
        lasting.guest().is_known(Right::Lasting);
        let ending = seat().unwrap();
        let later = Instant::now() + Duration::from_secs(3600);
        ending.guest().is_known(until(&revoked, Some(later)));
        assert!(seat().is_none(), "both may ask");

        revoked.cancel();
        let expired = seat().expect("a token was revoked");
        assert!(ending.dismissal.told.load(Relaxed) && !lasting.dismissal.told.load(Relaxed));
        ending.guest().is_known(Right::Lasting);
        assert!(expired.guest.seats.lock().known.len() == 1, "who has lost its seat does not get it back");
        drop(ending);
        expired.guest().is_known(until(&CancellationToken::new(), Some(Instant::now())));
        let renewed = seat().expect("another has expired");
        drop(expired);
        // Who shows another token in time stays.
        renewed.guest().is_known(until(&revoked, None));
        renewed.guest().is_known(Right::Lasting);
        assert!(seat().is_none());
        drop((lasting, renewed));
        let state = seats.lock();
        assert_eq!((state.taken, state.known.len(), state.strangers.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_connection_that_waits_hears_at_once_that_it_lost_its_seat() {
        let (listener, address) = listening().await;
        let mut incoming = std::pin::pin!(Seats::new(1, Door::default()).fill(listener));
        let _one = TcpStream::connect(address).await.unwrap();
        let mut seated = incoming.next().await.unwrap().unwrap();
        let reading = tokio::spawn(async move { seated.read(&mut [0]).await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        let _two = TcpStream::connect(address).await.unwrap();
        let _seated = incoming.next().await.unwrap().unwrap();
        assert_eq!(reading.await.unwrap(), ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn who_says_nothing_goes_and_who_said_something_stays() {
        let seats = Seats { max_silence: Duration::from_millis(1), ..Seats::new(1, Door::default()) };
        let (_client, server) = tokio::io::duplex(16);
        let mut seated = seats.seat(server).unwrap();
        assert_eq!(seated.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!((seats.door.open.get(), seats.door.silent.get()), (1, 1));
        drop(seated);
        assert_eq!(seats.door.open.get(), 0);

        let (mut client, server) = tokio::io::duplex(16);
        client.write_all(b"a").await.unwrap();
        let mut seated = seats.seat(server).unwrap();
        assert_eq!(seated.read(&mut [0]).await.unwrap(), 1);
        assert!(seated.silence.is_none(), "it may be idle from now on");
    }

    #[tokio::test]
    async fn answers_over_tcp_wait_for_nothing() {
        let (listener, address) = listening().await;
        let seats = Seats::new(1, Door::default());
        let (client, (seated, _)) = tokio::join!(TcpStream::connect(address), seats.next(&listener));
        client.unwrap();
        assert!(seated.stream.nodelay().unwrap());
    }

    #[test]
    fn there_are_seats_however_few_descriptors_there_are() {
        assert_eq!(seats_for(u64::MAX), 16);
        assert!(seats_for(1) <= 256);
    }
}
