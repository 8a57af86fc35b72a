//! The way in before anybody is known: handshakes under way, bounded so that silent ones give way to newcomers.
//!
//! It is also the way out: what strangers name in private networks is not dialled (`near`), whichever protocol wants it.
//!
//! A socket that says nothing costs its owner nothing. So none is refused for others being silent: each group of addresses
//! has so many handshakes under way, and when a group, or all together, have too many, the oldest ends.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::{AbortHandle, AbortRegistration, Abortable};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};

use crate::near::Near;
use crate::place::{Group, group_of, ip_of};

/// Handshakes of newcomers under way: they cost a key exchange each, and a socket.
pub(crate) const MAX_HALF_OPEN: usize = 64;
/// Of these, from one group of addresses.
pub(crate) const MAX_HALF_OPEN_PER_GROUP: usize = 16;

type Output = (PeerId, StreamMuxerBox);

/// The handshakes under way, in the order in which they began.
#[derive(Debug, Default)]
struct HalfOpen {
    next: u64,
    /// What is behind a relay has no group.
    under_way: BTreeMap<u64, (Option<Group>, AbortHandle)>,
}

impl HalfOpen {
    /// Takes a handshake in. The oldest one of a group that has too many ends for it.
    fn begin(&mut self, group: Option<Group>) -> (u64, AbortRegistration) {
        let mut crowds: HashMap<Option<Group>, usize> = HashMap::new();
        self.under_way.values().for_each(|(group, _)| *crowds.entry(*group).or_default() += 1);
        if crowds.get(&group).is_some_and(|count| *count >= MAX_HALF_OPEN_PER_GROUP) {
            self.end_oldest_of(group);
        } else if self.under_way.len() >= MAX_HALF_OPEN
            && let Some((crowded, _)) = crowds.into_iter().max_by_key(|(group, count)| (*count, *group))
        {
            self.end_oldest_of(crowded);
        }
        let (handle, registration) = AbortHandle::new_pair();
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number, (group, handle));
        (number, registration)
    }

    fn end_oldest_of(&mut self, group: Option<Group>) {
        let oldest = self.under_way.iter().find(|(_, (other, _))| *other == group).map(|(number, _)| *number);
        if let Some((_, handle)) = oldest.and_then(|number| self.under_way.remove(&number)) {
            handle.abort();
        }
    }
}

/// Ends the account of a handshake, however it ended.
struct UnderWay {
    number: u64,
    half_open: Arc<Mutex<HalfOpen>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.half_open).under_way.remove(&self.number);
    }
}

fn lock(half_open: &Mutex<HalfOpen>) -> MutexGuard<'_, HalfOpen> {
    // It is whole between any two of its lines.
    half_open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transport whose handshakes with newcomers are bounded, and that dials nobody's private network.
pub(crate) struct Entrance {
    inner: Boxed<Output>,
    half_open: Arc<Mutex<HalfOpen>>,
    near: Near,
}

impl Entrance {
    pub(crate) fn new(inner: Boxed<Output>, near: Near) -> Self {
        Self { inner, half_open: Arc::default(), near }
    }
}

type Upgrade = Pin<Box<dyn Future<Output = io::Result<Output>> + Send>>;

impl Transport for Entrance {
    type Output = Output;
    type Error = io::Error;
    type ListenerUpgrade = Upgrade;
    type Dial = <Boxed<Output> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        if !self.near.allows(&address) {
            let reason = "nobody who is connected or named by the owner is in this private network";
            return Err(TransportError::Other(io::Error::new(io::ErrorKind::PermissionDenied, reason)));
        }
        self.inner.dial(address, options)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Upgrade, io::Error>> {
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        let group = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => ip_of(send_back_addr).map(group_of),
            _ => None,
        };
        Poll::Ready(event.map_upgrade(|upgrade| -> Upgrade {
            let (number, registration) = lock(&self.half_open).begin(group);
            let under_way = UnderWay { number, half_open: self.half_open.clone() };
            Box::pin(async move {
                let _under_way = under_way;
                let ended = |_| io::Error::new(io::ErrorKind::TimedOut, "a newer handshake took its place");
                Abortable::new(upgrade, registration).await.map_err(ended)?
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(number: u8) -> Option<Group> {
        Some(Group::V4([127, 0, number]))
    }

    #[test]
    fn the_oldest_silent_one_gives_way_to_a_newcomer() {
        let mut half_open = HalfOpen::default();
        for n in 0..100 {
            half_open.begin(group(1));
            assert!(half_open.under_way.len() <= MAX_HALF_OPEN_PER_GROUP, "after {n}");
        }
        let (honest, _registration) = half_open.begin(group(2));
        for _ in 0..100 {
            half_open.begin(group(1));
        }
        assert!(half_open.under_way.contains_key(&honest), "another group's silence is not its loss");
        assert!(half_open.under_way.contains_key(&(half_open.next - 1)), "the newest is let in");
    }

    proptest! {
        #[test]
        fn handshakes_are_bounded_and_each_newcomer_is_taken_in(groups in prop::collection::vec(0u8..20, 1..500)) {
            let mut half_open = HalfOpen::default();
            for number in groups {
                let (newest, _registration) = half_open.begin(group(number));
                prop_assert!(half_open.under_way.len() <= MAX_HALF_OPEN);
                prop_assert!(half_open.under_way.contains_key(&newest));
                let alike = half_open.under_way.values().filter(|(other, _)| *other == group(number)).count();
                prop_assert!(alike <= MAX_HALF_OPEN_PER_GROUP);
            }
        }
    }
}
