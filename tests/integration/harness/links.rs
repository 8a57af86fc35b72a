//! Links that are slow, lose packets, or are cut: put between a node's swarm and its connections.
//!
//! A lost packet on a reliable connection is one that comes late and holds up those behind it, so that is what loss does
//! here. Who loses what is drawn from a seed.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use libp2p::core::transport::{Boxed, Transport};
use libp2p::futures::future::ready as at_once;
use synapsenet_net::Layer;
use tokio::time::{Instant, Interval, Sleep};

use super::Random;

/// What a substream may have under way.
const MAX_UNDER_WAY: usize = 256 << 10;
/// How often a connection looks whether it was cut.
const LOOK: Duration = Duration::from_millis(50);
/// How late a lost packet comes: when TCP sends it again.
const AGAIN: Duration = Duration::from_millis(400);

/// The links of some nodes, for a test to change while they run.
#[derive(Clone)]
pub(crate) struct Links {
    state: Arc<Mutex<State>>,
}

struct State {
    delay: Duration,
    loss: f64,
    /// Peers on one side of a cut.
    island: HashSet<PeerId>,
    is_cut: bool,
    random: Random,
}

impl Links {
    /// Links that take `delay` for each direction and lose this fraction of what is sent.
    pub fn new(delay: Duration, loss: f64, seed: u64) -> Self {
        let random = Random::new(seed);
        let state = State { delay, loss, island: HashSet::new(), is_cut: false, random };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Cuts every link between these peers and the others, until [`Links::heal`].
    pub fn cut_off(&self, peers: impl IntoIterator<Item = PeerId>) {
        let mut state = self.state.lock().unwrap();
        state.island = peers.into_iter().collect();
        state.is_cut = true;
    }

    /// Lets all meet again.
    pub fn heal(&self) {
        self.state.lock().unwrap().is_cut = false;
    }

    /// The layer for the node `me`.
    pub fn layer(&self, me: PeerId) -> Layer {
        let links = self.clone();
        Arc::new(move |transport: Boxed<(PeerId, StreamMuxerBox)>| {
            let links = links.clone();
            let connected = move |(peer, muxer): (PeerId, StreamMuxerBox), _| {
                let look = tokio::time::interval(LOOK);
                let link = Link { inner: muxer, links: links.clone(), ends: (me, peer), look };
                at_once(if links.is_cut((me, peer)) {
                    Err(io::Error::other("the link is cut"))
                } else {
                    Ok((peer, StreamMuxerBox::new(link)))
                })
            };
            transport.and_then(connected).boxed()
        })
    }

    fn is_cut(&self, ends: (PeerId, PeerId)) -> bool {
        let state = self.state.lock().unwrap();
        state.is_cut && state.island.contains(&ends.0) != state.island.contains(&ends.1)
    }

    /// How long the next packet takes.
    fn time(&self) -> Duration {
        let mut state = self.state.lock().unwrap();
        let is_lost = (state.random.below(1_000_000) as f64) < state.loss * 1_000_000.0;
        state.delay + if is_lost { AGAIN } else { Duration::ZERO }
    }
}

/// One connection.
struct Link {
    inner: StreamMuxerBox,
    links: Links,
    ends: (PeerId, PeerId),
    look: Interval,
}

impl Link {
    fn wrap(&self, inner: SubstreamBox) -> Slow {
        Slow { inner, links: self.links.clone(), under_way: VecDeque::new(), bytes: 0, next: None }
    }
}

impl StreamMuxer for Link {
    type Substream = Slow;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Slow>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.wrap(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Slow>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.wrap(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        while self.look.poll_tick(cx).is_ready() {}
        if self.links.is_cut(self.ends) {
            return Poll::Ready(Err(io::Error::other("the link is cut")));
        }
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A substream whose bytes take their time, in order.
struct Slow {
    inner: SubstreamBox,
    links: Links,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    next: Option<Pin<Box<Sleep>>>,
}

impl Slow {
    /// Hands on what has arrived. Ready when nothing is under way any more.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((due, chunk)) = self.under_way.front_mut() {
            let due = *due;
            let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            ready!(next.as_mut().poll(cx));
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, chunk))?;
            chunk.drain(..written);
            self.bytes -= written;
            if chunk.is_empty() {
                self.under_way.pop_front();
                self.next = None;
            }
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // Whoever waits for an answer has sent the question: it goes on its way meanwhile.
        if let Poll::Ready(Err(error)) = self.poll_deliver(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let delivered = self.poll_deliver(cx);
        if let Poll::Ready(Err(error)) = delivered {
            return Poll::Ready(Err(error));
        }
        if self.bytes >= MAX_UNDER_WAY {
            return Poll::Pending;
        }
        let after = self.under_way.back().map_or_else(Instant::now, |(due, _)| *due);
        let due = after.max(Instant::now() + self.links.time());
        self.under_way.push_back((due, buf.to_vec()));
        self.bytes += buf.len();
        // Registers the timer for what was just put under way.
        if let Poll::Ready(Err(error)) = self.poll_deliver(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_deliver(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_deliver(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
