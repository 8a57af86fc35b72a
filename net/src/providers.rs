//! Who has what: the records that Kademlia keeps of the peers of a topic.
//!
//! What this node provides is kept apart, so no stranger's records are in its way. Of others' records there are
//! [`MAX_RECORDS`], of each peer [`MAX_RECORDS_PER_PEER`] at most; when there is no room, the oldest of whoever has most goes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter;

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use crate::behaviour::MAX_TOPICS;

/// Peers of a topic that provide it.
pub(crate) const MAX_PROVIDERS: usize = 20;
/// Records of other peers.
pub(crate) const MAX_RECORDS: usize = 4096;
/// Of these, of one peer: as many as it may have topics.
pub(crate) const MAX_RECORDS_PER_PEER: usize = MAX_TOPICS;
/// Addresses kept with a record.
const MAX_ADDRESSES: usize = 8;
/// Bytes of a key: a hash of the topic's name. Other keys are nobody's topic.
const KEY_BYTES: usize = 32;

/// A record, and when it came.
#[derive(Debug)]
struct Kept {
    record: ProviderRecord,
    number: u64,
}

/// The records of providers. Other records are refused.
#[derive(Debug)]
pub(crate) struct Providers {
    me: PeerId,
    own: HashMap<RecordKey, ProviderRecord>,
    others: HashMap<RecordKey, Vec<Kept>>,
    /// How many of the others' records each peer has.
    counts: HashMap<PeerId, usize>,
    next: u64,
}

impl Providers {
    pub(crate) fn new(me: PeerId) -> Self {
        Self { me, own: HashMap::new(), others: HashMap::new(), counts: HashMap::new(), next: 0 }
    }

    fn add_other(&mut self, mut record: ProviderRecord) -> Result<()> {
        if record.key.as_ref().len() != KEY_BYTES {
            return Err(Error::ValueTooLarge);
        }
        record.addresses.truncate(MAX_ADDRESSES);
        let (key, peer) = (record.key.clone(), record.provider);
        self.remove_other(&key, &peer);
        if self.others.get(&key).is_some_and(|kept| kept.len() >= MAX_PROVIDERS) {
            // Those who were there first are kept, so that a crowd does not drive the others out.
            return Err(Error::MaxProvidedKeys);
        }
        if self.counts.get(&peer).is_some_and(|count| *count >= MAX_RECORDS_PER_PEER) {
            self.forget_oldest_of(&peer);
        } else if self.counts.values().sum::<usize>() >= MAX_RECORDS {
            let most =
                self.counts.iter().max_by_key(|(peer, count)| (**count, **peer)).map(|(peer, _)| *peer);
            most.inspect(|peer| self.forget_oldest_of(peer));
        }
        self.next += 1;
        self.others.entry(key).or_default().push(Kept { record, number: self.next });
        *self.counts.entry(peer).or_default() += 1;
        Ok(())
    }

    fn forget_oldest_of(&mut self, peer: &PeerId) {
        let kept = self.others.values().flatten().filter(|kept| kept.record.provider == *peer);
        let oldest = kept.min_by_key(|kept| kept.number).map(|kept| kept.record.key.clone());
        if let Some(key) = oldest {
            self.remove_other(&key, peer);
        }
    }

    fn remove_other(&mut self, key: &RecordKey, peer: &PeerId) {
        let Some(kept) = self.others.get_mut(key) else { return };
        let before = kept.len();
        kept.retain(|kept| kept.record.provider != *peer);
        if kept.len() == before {
            return;
        }
        if kept.is_empty() {
            self.others.remove(key);
        }
        if let Some(count) = self.counts.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(peer);
            }
        }
    }
}

impl RecordStore for Providers {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = iter::Map<
        std::collections::hash_map::Values<'a, RecordKey, ProviderRecord>,
        fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>,
    >;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider != self.me {
            return self.add_other(record);
        }
        if self.own.len() >= MAX_TOPICS && !self.own.contains_key(&record.key) {
            return Err(Error::MaxProvidedKeys);
        }
        self.own.insert(record.key.clone(), record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.others.get(key).into_iter().flatten().map(|kept| &kept.record);
        self.own.get(key).into_iter().chain(others).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.own.values().map(Cow::Borrowed)
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        if *peer == self.me {
            self.own.remove(key);
        } else {
            self.remove_other(key, peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: usize, provider: PeerId) -> ProviderRecord {
        let key = RecordKey::new(blake3::hash(&number.to_le_bytes()).as_bytes());
        ProviderRecord { key, provider, expires: None, addresses: Vec::new() }
    }

    #[test]
    fn strangers_records_never_stop_a_node_providing_its_own_topics() {
        let me = PeerId::random();
        let mut providers = Providers::new(me);
        let honest = record(0, PeerId::random());
        providers.add_provider(honest.clone()).unwrap();
        let junk = PeerId::random();
        for number in 1..1100 {
            providers.add_provider(record(number, junk)).unwrap();
        }
        assert_eq!(providers.counts[&junk], MAX_RECORDS_PER_PEER);
        for number in 1..6000 {
            providers.add_provider(record(number, PeerId::random())).unwrap();
        }
        assert!(providers.counts.values().sum::<usize>() <= MAX_RECORDS);
        for number in 5000..5000 + MAX_TOPICS {
            providers.add_provider(record(number, me)).unwrap();
        }
        assert_eq!(providers.provided().count(), MAX_TOPICS);
        assert!(providers.providers(&record(5000, me).key).iter().any(|record| record.provider == me));
    }

    #[test]
    fn who_has_most_records_makes_room() {
        let mut providers = Providers::new(PeerId::random());
        let (honest, crowd): (_, Vec<PeerId>) =
            (PeerId::random(), (0..32).map(|_| PeerId::random()).collect());
        providers.add_provider(record(0, honest)).unwrap();
        for number in 0..6000 {
            providers.add_provider(record(number + 1, crowd[number % crowd.len()])).unwrap();
        }
        assert_eq!(providers.providers(&record(0, honest).key), [record(0, honest)]);
    }

    #[test]
    fn keys_that_are_no_topics_are_refused_and_a_topic_has_so_many_providers() {
        let mut providers = Providers::new(PeerId::random());
        let odd = ProviderRecord { key: RecordKey::new(&[0; 5000]), ..record(0, PeerId::random()) };
        assert!(providers.add_provider(odd).is_err());
        let added = (0..100).filter(|_| providers.add_provider(record(1, PeerId::random())).is_ok()).count();
        assert_eq!(added, MAX_PROVIDERS);
        assert_eq!(providers.providers(&record(1, PeerId::random()).key).len(), MAX_PROVIDERS);
    }
}
