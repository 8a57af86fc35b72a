//! How many bytes went where, and how many may.
//!
//! Every substream of every connection is wrapped: what is read and written is counted for its peer and its protocol, and
//! waits when the cap on uploads or downloads is used up. The protocol is read off the negotiation at the beginning of the
//! substream (multistream-select 1.0). Counted is what the protocols send, before encryption and multiplexing, which add
//! some percent.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

use crate::bucket::Bucket;

/// The protocols that traffic is counted by.
pub const PROTOCOLS: [&str; 9] =
    ["gossip", "sync", "fetch", "search", "kademlia", "identify", "ping", "relay", "other"];
/// What stands in the name of a protocol, in the order of [`PROTOCOLS`].
const MARKS: [&[u8]; 8] = [
    b"/meshsub/",
    b"/synapsenet/sync/",
    b"/synapsenet/fetch/",
    b"/synapsenet/search/",
    b"/synapsenet/kad/",
    b"/ipfs/id/",
    b"/ipfs/ping/",
    b"/libp2p/circuit/",
];
const OTHER: usize = PROTOCOLS.len() - 1;
/// The negotiation names the protocol within so many bytes, or the substream counts as "other".
const MAX_HEAD: usize = 160;
/// How much a cap lets through at once after a pause: a quarter of a second's worth, and never less than this.
const MIN_BURST: u64 = 16 << 10;
/// How long a connection may take to say good-bye. Whoever does not listen any more would keep its seat for as long as it likes.
const MAX_CLOSE: Duration = Duration::from_secs(2);
/// The shortest wait for a cap: more often a timer is not worth while.
const MIN_WAIT: Duration = Duration::from_millis(5);
/// And the longest: a cap may be raised meanwhile.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Bytes in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// Counters of bytes by protocol.
#[derive(Debug, Default)]
pub(crate) struct Count {
    sent: [AtomicU64; PROTOCOLS.len()],
    received: [AtomicU64; PROTOCOLS.len()],
}

impl Count {
    /// By protocol, in the order of [`PROTOCOLS`].
    pub(crate) fn by_protocol(&self) -> Vec<Traffic> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.sent
            .iter()
            .zip(&self.received)
            .map(|(sent, received)| Traffic { sent: load(sent), received: load(received) })
            .collect()
    }

    /// All protocols together.
    pub(crate) fn sum(&self) -> Traffic {
        self.by_protocol().into_iter().fold(Traffic::default(), |sum, one| Traffic {
            sent: sum.sent + one.sent,
            received: sum.received + one.received,
        })
    }
}

/// The caps and the counters of the whole node.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) all: Count,
    upload: Mutex<Option<Cap>>,
    download: Mutex<Option<Cap>>,
}

impl Meter {
    /// Caps in bytes a second.
    pub(crate) fn new(upload: Option<u64>, download: Option<u64>) -> Arc<Self> {
        let meter = Self { all: Count::default(), upload: Mutex::default(), download: Mutex::default() };
        meter.set_caps(upload, download);
        Arc::new(meter)
    }

    /// Other caps from now on. What waits for one goes on by the new one when its wait is over.
    pub(crate) fn set_caps(&self, upload: Option<u64>, download: Option<u64>) {
        for (cap, rate) in [(&self.upload, upload), (&self.download, download)] {
            let mut cap = lock(cap);
            // One that stays is not filled anew.
            if cap.as_ref().map(|cap| cap.rate) != rate {
                *cap = rate.map(|rate| Cap::new(rate, Instant::now()));
            }
        }
    }
}

/// A cap on bytes: so many a second, in bursts of a quarter of that.
#[derive(Debug)]
struct Cap {
    rate: u64,
    bucket: Bucket,
}

impl Cap {
    fn new(rate: u64, now: Instant) -> Self {
        Self { rate, bucket: Bucket::new(rate.max(1) as f64, (rate / 4).max(MIN_BURST) as f64, now) }
    }

    /// Takes up to `wanted` bytes; when there are none, says how long to wait.
    fn take(&mut self, wanted: u64, now: Instant) -> Result<u64, Duration> {
        match self.bucket.take_up_to(wanted, now) {
            0 => Err(self.bucket.time_for(wanted.min(1 << 10) as f64).clamp(MIN_WAIT, MAX_WAIT)),
            taken => Ok(taken),
        }
    }

    /// Gives back what was taken and not used.
    fn give_back(&mut self, bytes: u64) {
        self.bucket.give_back(bytes);
    }
}

/// A connection whose substreams are counted and capped.
pub(crate) struct Metered {
    inner: StreamMuxerBox,
    meter: Arc<Meter>,
    peer: Arc<Count>,
    closing: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Metered {
    /// Wraps a connection to a peer, whose bytes go to `peer` as well.
    pub(crate) fn new(inner: StreamMuxerBox, meter: Arc<Meter>, peer: Arc<Count>) -> Self {
        Self { inner, meter, peer, closing: None }
    }

    fn wrap(&self, inner: SubstreamBox) -> Substream {
        Substream {
            inner,
            label: Label::Unknown { head: Vec::new(), sent: 0, received: 0 },
            meter: self.meter.clone(),
            peer: self.peer.clone(),
            upload_wait: None,
            download_wait: None,
        }
    }
}

impl StreamMuxer for Metered {
    type Substream = Substream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.wrap(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.wrap(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closing = this.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(MAX_CLOSE)));
        if closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// What a substream is for, as far as it is known.
#[derive(Debug)]
enum Label {
    /// The negotiation goes on; its bytes are counted once it has ended.
    Unknown { head: Vec<u8>, sent: u64, received: u64 },
    /// The position in [`PROTOCOLS`].
    Known(usize),
}

/// A counted and capped substream.
pub(crate) struct Substream {
    inner: SubstreamBox,
    label: Label,
    meter: Arc<Meter>,
    peer: Arc<Count>,
    upload_wait: Option<Pin<Box<tokio::time::Sleep>>>,
    download_wait: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Substream {
    fn count(&mut self, bytes: &[u8], is_sent: bool) {
        let count = bytes.len() as u64;
        let (label, sent, received) = match &mut self.label {
            Label::Known(label) if is_sent => (*label, count, 0),
            Label::Known(label) => (*label, 0, count),
            Label::Unknown { head, sent, received } => {
                *(if is_sent { &mut *sent } else { &mut *received }) += count;
                let room = MAX_HEAD.saturating_sub(head.len());
                head.extend_from_slice(&bytes[..bytes.len().min(room)]);
                let Some(label) = protocol_in(head) else { return };
                (label, *sent, *received)
            }
        };
        self.label = Label::Known(label);
        for counter in [&self.meter.all, &*self.peer] {
            counter.sent[label].fetch_add(sent, Ordering::Relaxed);
            counter.received[label].fetch_add(received, Ordering::Relaxed);
        }
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        // A substream that was refused in its negotiation carried bytes, too.
        if let Label::Unknown { sent, received, .. } = self.label {
            for counter in [&self.meter.all, &*self.peer] {
                counter.sent[OTHER].fetch_add(sent, Ordering::Relaxed);
                counter.received[OTHER].fetch_add(received, Ordering::Relaxed);
            }
        }
    }
}

/// The protocol that a negotiation is about; none when it is not clear yet.
fn protocol_in(head: &[u8]) -> Option<usize> {
    let contains = |mark: &&[u8]| head.windows(mark.len()).any(|window| window == *mark);
    MARKS.iter().position(contains).or((head.len() >= MAX_HEAD).then_some(OTHER))
}

/// Takes bytes from a cap, waiting for them when there are none.
fn poll_take(
    cap: &Mutex<Option<Cap>>,
    wait: &mut Option<Pin<Box<tokio::time::Sleep>>>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<usize> {
    loop {
        if let Some(sleep) = wait {
            ready!(sleep.as_mut().poll(cx));
            *wait = None;
        }
        let taken = lock(cap).as_mut().map(|cap| cap.take(wanted as u64, Instant::now()));
        match taken {
            None => return Poll::Ready(wanted),
            Some(Ok(bytes)) => return Poll::Ready(bytes as usize),
            Some(Err(time)) => *wait = Some(Box::pin(tokio::time::sleep(time))),
        }
    }
}

fn give_back(cap: &Mutex<Option<Cap>>, bytes: usize) {
    if let Some(cap) = lock(cap).as_mut() {
        cap.give_back(bytes as u64);
    }
}

fn lock(cap: &Mutex<Option<Cap>>) -> std::sync::MutexGuard<'_, Option<Cap>> {
    // A cap is whole between any two of its lines.
    cap.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let cap = &this.meter.download;
        let room = ready!(poll_take(cap, &mut this.download_wait, buf.len(), cx));
        let read = Pin::new(&mut this.inner).poll_read(cx, &mut buf[..room]);
        let used = if let Poll::Ready(Ok(read)) = &read { *read } else { 0 };
        give_back(cap, room - used);
        this.count(&buf[..used], false);
        read
    }
}

impl AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        }
        let cap = &this.meter.upload;
        let room = ready!(poll_take(cap, &mut this.upload_wait, buf.len(), cx));
        let written = Pin::new(&mut this.inner).poll_write(cx, &buf[..room]);
        let used = if let Poll::Ready(Ok(written)) = &written { *written } else { 0 };
        give_back(cap, room - used);
        this.count(&buf[..used], true);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_protocol_is_read_off_its_negotiation() {
        let head = b"\x13/multistream/1.0.0\n\x13/synapsenet/sync/1\n";
        assert_eq!(protocol_in(head).map(|at| PROTOCOLS[at]), Some("sync"));
        assert_eq!(protocol_in(b"\x13/multistream/1.0.0\n"), None);
        assert_eq!(protocol_in(&[0; MAX_HEAD]).map(|at| PROTOCOLS[at]), Some("other"));
    }

    #[tokio::test]
    async fn a_cap_that_is_lifted_holds_nothing_back_and_a_new_one_does() {
        let meter = Meter::new(Some(1), None);
        let mut wait = None;
        let mut take = async |wanted| {
            std::future::poll_fn(|cx| poll_take(&meter.upload, &mut wait, wanted, cx)).await as u64
        };
        assert_eq!(take(1 << 20).await, MIN_BURST);
        // A cap that stays is not filled anew.
        meter.set_caps(Some(1), Some(1));
        assert!(take(1 << 20).await < MIN_BURST);
        meter.set_caps(None, None);
        assert_eq!(take(1 << 20).await, 1 << 20);
        meter.set_caps(Some(1 << 20), None);
        assert_eq!(take(1 << 20).await, 1 << 18);
    }

    proptest! {
        #[test]
        fn a_cap_holds_over_any_time(rate in 1u64..10_000_000, steps in proptest::collection::vec((0u64..200, 1u64..100_000), 1..200)) {
            let start = Instant::now();
            let mut cap = Cap::new(rate, start);
            let (mut now, mut taken) = (start, 0);
            for (wait_ms, wanted) in steps {
                now += Duration::from_millis(wait_ms);
                taken += cap.take(wanted, now).unwrap_or(0);
            }
            let allowed = (now - start).as_secs_f64() * rate as f64 + (rate / 4).max(MIN_BURST) as f64;
            prop_assert!(taken as f64 <= allowed + 1.0, "{taken} of {allowed}");
        }

        #[test]
        fn a_cap_lets_through_what_is_allowed_in_the_end(rate in 100u64..1_000_000) {
            let start = Instant::now();
            let mut cap = Cap::new(rate, start);
            let (mut now, mut taken) = (start, 0);
            while now < start + Duration::from_secs(20) {
                match cap.take(10_000, now) {
                    Ok(bytes) => taken += bytes,
                    Err(wait) => now += wait,
                }
            }
            prop_assert!(taken as f64 >= 0.9 * 20.0 * rate as f64, "{taken} of {}", 20 * rate);
        }
    }
}
