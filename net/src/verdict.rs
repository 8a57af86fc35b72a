//! Whether a message is welcome. Decided at once, in the swarm's task, and cheapest question first: a flood costs a
//! counter, not a signature.
//!
//! Peers pass on what others made. So a verdict may cost its peer something only for what an honest node, whatever its
//! clock and whatever it heard before, would not have passed on itself: the questions that end in [`Verdict::Reject`] look
//! at the topic and the bytes alone, and all nodes of one version answer them alike. Whatever else there is to say against
//! a message (its date, that it is not new, that there are too many) is counted and costs nothing. `forwarding_tests` goes
//! through all of it.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use libp2p::PeerId;
use synapsenet_proto::{
    Announcement, AuthorId, GrainId, MAX_ANNOUNCEMENT_BYTES, MAX_CLOCK_SKEW_MS, MAX_PASSED_SKEW_MS, Refusal,
};

use crate::bucket::Buckets;
use crate::score::Offence;

/// Announcements a second that one peer may pass on, and how many at once. A peer passes on what all authors behind it say.
pub(crate) const PEER_RATE: (f64, f64) = (1000.0, 8000.0);
/// Grains a second that one author may announce, and how many at once. Whoever adds more than that in one go is brought up
/// to date by synchronisation.
pub(crate) const AUTHOR_RATE: (f64, f64) = (200.0, 4000.0);
/// Peers and authors whose rates are known at the same time.
const MAX_RATED: usize = 4096;
/// Ids of grains that were announced lately: far more than gossipsub's own memory of a minute holds at full rate, and
/// 3 MB.
pub(crate) const MAX_SEEN: usize = 32_768;

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Passed on, and handed to the application.
    Accept(Box<Announcement>),
    /// Handed to the application, and not passed on: it is dated so far ahead that others might not take it.
    Keep(Box<Announcement>),
    /// Not passed on, and nobody's fault. What is said of it is counted.
    Ignore(Option<Offence>),
    /// Not passed on, and whoever sent it should have known.
    Reject(Offence),
}

/// What is remembered to judge by.
#[derive(Debug)]
pub(crate) struct Judge {
    peers: Buckets<PeerId>,
    authors: Buckets<AuthorId>,
    /// Authors that the owner does not want to hear.
    blocked: HashSet<AuthorId>,
    seen: HashSet<GrainId>,
    order: VecDeque<GrainId>,
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self {
            peers: Buckets::new(PEER_RATE.0, PEER_RATE.1, MAX_RATED),
            authors: Buckets::new(AUTHOR_RATE.0, AUTHOR_RATE.1, MAX_RATED),
            blocked: HashSet::new(),
            seen: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Judges a message that `from` passed on, on the topic of this name.
    pub(crate) fn judge(
        &mut self,
        from: PeerId,
        topic: &str,
        bytes: &[u8],
        now: Instant,
        now_ms: u64,
    ) -> Verdict {
        if !self.peers.take(from, now) {
            return Verdict::Ignore(Some(Offence::Flood));
        }
        if bytes.len() > MAX_ANNOUNCEMENT_BYTES {
            return Verdict::Reject(Offence::Oversize);
        }
        let Some(id) = Announcement::peek_id(bytes) else { return Verdict::Reject(Offence::Malformed) };
        if self.seen.contains(&id) {
            return Verdict::Ignore(Some(Offence::Replayed));
        }
        let announcement = match Announcement::open(bytes) {
            Ok(announcement) => announcement,
            Err(Refusal::BadSignature | Refusal::BadAuthor | Refusal::BadClaim) => {
                return Verdict::Reject(Offence::Forged);
            }
            // Made by newer rules than this program's: others may understand it, this node cannot vouch for it.
            Err(Refusal::UnknownVersion(_) | Refusal::UnknownKind(_)) => return Verdict::Ignore(None),
            Err(_) => return Verdict::Reject(Offence::Malformed),
        };
        let grain = &announcement.grain;
        if grain.topic().as_str() != topic {
            return Verdict::Reject(Offence::ForeignTopic);
        }
        let ahead = grain.created_ms().saturating_sub(now_ms);
        if ahead > MAX_CLOCK_SKEW_MS {
            return Verdict::Ignore(Some(Offence::FromTheFuture));
        }
        if self.blocked.contains(&grain.author()) || !self.authors.take(grain.author(), now) {
            return Verdict::Ignore(None);
        }
        self.saw(id);
        let announcement = Box::new(announcement);
        if ahead > MAX_PASSED_SKEW_MS { Verdict::Keep(announcement) } else { Verdict::Accept(announcement) }
    }

    /// Says whose grains are neither taken nor passed on from now on; whoever brings one is not to blame.
    pub(crate) fn block_authors(&mut self, blocked: HashSet<AuthorId>) {
        self.blocked = blocked;
    }

    /// Remembers that a grain was announced, here or by a peer.
    pub(crate) fn saw(&mut self, id: GrainId) {
        if self.seen.insert(id) {
            self.order.push_back(id);
            if self.order.len() > MAX_SEEN
                && let Some(oldest) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use synapsenet_proto::{Draft, Grain, Identity, rpc};

    use super::*;

    const NOW: u64 = 1_000_000_000_000;

    fn bytes(text: &str, created_ms: u64) -> Vec<u8> {
        let draft = Draft { text: text.into(), ..Draft::default() };
        let grain = Grain::seal(draft, &Identity::from_seed(&[1; 32]), created_ms).unwrap();
        Announcement { grain, claim: None }.to_message().encode_to_vec()
    }

    fn judge(judge: &mut Judge, bytes: &[u8]) -> Verdict {
        judge.judge(PeerId::random(), "commons", bytes, Instant::now(), NOW)
    }

    #[test]
    fn a_grain_is_welcome_once() {
        let mut judge_ = Judge::new();
        let bytes = bytes("hello", NOW);
        assert!(matches!(judge(&mut judge_, &bytes), Verdict::Accept(_)));
        assert_eq!(judge(&mut judge_, &bytes), Verdict::Ignore(Some(Offence::Replayed)));
    }

    #[test]
    fn an_author_that_is_blocked_is_not_passed_on_and_whoever_brings_it_is_not_to_blame() {
        let mut judge_ = Judge::new();
        let author = Identity::from_seed(&[1; 32]).author();
        judge_.block_authors(HashSet::from([author]));
        assert_eq!(judge(&mut judge_, &bytes("hello", NOW)), Verdict::Ignore(None));
        judge_.block_authors(HashSet::new());
        assert!(matches!(judge(&mut judge_, &bytes("hello", NOW)), Verdict::Accept(_)));
    }

    #[test]
    fn each_kind_of_bad_message_has_its_verdict() {
        let mut judge_ = Judge::new();
        let good = bytes("hello", NOW);
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(judge(&mut judge_, &forged), Verdict::Reject(Offence::Forged));
        assert_eq!(judge(&mut judge_, b"\xff\xff"), Verdict::Reject(Offence::Malformed));
        assert_eq!(
            judge(&mut judge_, &vec![0; MAX_ANNOUNCEMENT_BYTES + 1]),
            Verdict::Reject(Offence::Oversize)
        );
        let foreign = judge_.judge(PeerId::random(), "other", &good, Instant::now(), NOW);
        assert_eq!(foreign, Verdict::Reject(Offence::ForeignTopic));
        let wrapped = [&good[..], &[0xa2, 0x06, 1, 7]].concat();
        assert_eq!(judge(&mut judge_, &wrapped), Verdict::Reject(Offence::Malformed));
        let future = bytes("hello", NOW + MAX_CLOCK_SKEW_MS + 1);
        assert_eq!(judge(&mut judge_, &future), Verdict::Ignore(Some(Offence::FromTheFuture)));
        assert!(
            matches!(judge(&mut judge_, &good), Verdict::Accept(_)),
            "none of these keeps the good one out"
        );
    }

    #[test]
    fn what_others_might_not_take_is_taken_and_not_passed_on() {
        let last = bytes("passed on", NOW + MAX_PASSED_SKEW_MS);
        assert!(matches!(judge(&mut Judge::new(), &last), Verdict::Accept(_)));
        let (mut judge_, kept) = (Judge::new(), bytes("kept", NOW + MAX_PASSED_SKEW_MS + 1));
        assert!(matches!(judge(&mut judge_, &kept), Verdict::Keep(_)));
        assert_eq!(judge(&mut judge_, &kept), Verdict::Ignore(Some(Offence::Replayed)));
        let latest = bytes("the latest", NOW + MAX_CLOCK_SKEW_MS);
        assert!(matches!(judge(&mut judge_, &latest), Verdict::Keep(_)));
    }

    /// A node of a later version vouches for its grains by a rule that came after this program. Whoever passes that on is
    /// honest, and those behind this node may know the rule: the message goes on, as it is.
    #[test]
    fn a_claim_of_an_unknown_rule_is_passed_on_and_nobodys_fault() {
        let mut message = rpc::Announcement::decode(bytes("hello", NOW).as_slice()).unwrap();
        message.claim = Some(rpc::Claim { passage_rule: 2, vector: vec![3; 400], ..Default::default() });
        let Verdict::Accept(accepted) = judge(&mut Judge::new(), &message.encode_to_vec()) else {
            panic!("an honest forwarder was not believed")
        };
        assert_eq!(accepted.claim, None, "here it is of no use");
        message.claim.as_mut().unwrap().passage_rule = 1;
        assert_eq!(
            judge(&mut Judge::new(), &message.encode_to_vec()),
            Verdict::Reject(Offence::Forged),
            "one of this rule is judged"
        );
    }

    #[test]
    fn a_flood_is_ignored_without_being_looked_at() {
        let (mut judge, peer, now) = (Judge::new(), PeerId::random(), Instant::now());
        let verdicts: Vec<_> = (0..9000).map(|_| judge.judge(peer, "commons", b"\xff", now, NOW)).collect();
        let flood = Verdict::Ignore(Some(Offence::Flood));
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == flood).count(), 1000);
    }

    #[test]
    fn what_was_seen_is_bounded() {
        let mut judge = Judge::new();
        for n in 0..MAX_SEEN as u64 + 100 {
            judge.saw(GrainId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()));
        }
        assert_eq!((judge.seen.len(), judge.order.len()), (MAX_SEEN, MAX_SEEN));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_never_welcome(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!matches!(judge(&mut Judge::new(), &bytes), Verdict::Accept(_)));
        }
    }
}
