//! One negentropy session, seen from the side that asks. A value without I/O: messages go out and come in, and what is
//! missing on either side comes out.

use negentropy::{Error, Id, Negentropy, NegentropyStorageBase, PROTOCOL_VERSION};
use synapsenet_proto::GrainId;

use super::items::Items;

/// The longest negentropy message: what one question or answer may hold.
pub(crate) const MAX_FRAME_BYTES: u64 = 1 << 20;
/// With fewer grains than this, negentropy begins with a list of them, and the answer is all that the peer has.
pub(super) const FEW_GRAINS: usize = 32;

/// What one answer brought.
#[derive(Debug)]
pub(super) struct Step {
    /// Ids that the peer lacks.
    pub have: Vec<Id>,
    /// Ids that are missing here.
    pub need: Vec<GrainId>,
    /// The next message; none when the session is over.
    pub next: Option<Vec<u8>>,
}

/// A session over the grains of a span as they were when it began.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub items: Items,
    /// Whether it is the first one of a synchronisation, about all of time that is asked about.
    pub is_first: bool,
}

impl Session {
    /// The message that opens it. The first session always begins with fingerprints, so that the first
    /// answer is short and tells how much there is to come.
    pub fn open(&self) -> Result<Vec<u8>, Error> {
        if !self.is_first || self.items.len() >= FEW_GRAINS {
            return self.negentropy()?.initiate();
        }
        // One range, without end (0) and without an id (0), of mode 1: a fingerprint.
        let mut message = vec![PROTOCOL_VERSION as u8, 0, 0, 1];
        message.extend_from_slice(&*self.items.fingerprint(0, self.items.len())?);
        Ok(message)
    }

    /// Reads an answer.
    pub fn step(&self, answer: &[u8]) -> Result<Step, Error> {
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut negentropy = self.negentropy()?;
        negentropy.set_initiator();
        let next = negentropy.reconcile_with_ids(answer, &mut have, &mut need)?;
        let need = need.into_iter().map(|id| GrainId::from_bytes(id.to_bytes())).collect();
        Ok(Step { have, need, next })
    }

    fn negentropy(&self) -> Result<Negentropy<'_, Items>, Error> {
        Negentropy::borrowed(&self.items, MAX_FRAME_BYTES)
    }
}

/// Counts how long a session goes on, and how long it goes nowhere.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    all: u32,
    fruitless: u32,
}

/// Why a session is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endless {
    /// It leads nowhere: an honest peer does not do that.
    Fruitless,
    /// There are too many differences for one session. What came is stored, so the next one has fewer.
    Long,
}

impl Rounds {
    /// Rounds in one session: each may bring 32,000 ids.
    pub(super) const MAX: u32 = 64;
    /// Rounds in a row that bring neither ids nor a shorter message. Two of them happen, one for each 256 times more
    /// grains than the first 500: differences that lie scattered are closed in on for so long.
    pub(super) const MAX_FRUITLESS: u32 = 3;

    /// Counts a round; the question before and what its answer brought.
    pub fn count(&mut self, asked: &[u8], step: &Step) -> Result<(), Endless> {
        let Some(next) = &step.next else { return Ok(()) };
        let is_fruitful = !step.have.is_empty() || !step.need.is_empty() || next.len() < asked.len();
        self.fruitless = if is_fruitful { 0 } else { self.fruitless + 1 };
        self.all += 1;
        if self.fruitless == Self::MAX_FRUITLESS {
            Err(Endless::Fruitless)
        } else if self.all == Self::MAX {
            Err(Endless::Long)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(count: u64) -> Session {
        Session { items: Items::of_times(0..count), is_first: true }
    }

    #[test]
    fn whoever_has_little_asks_for_no_list_of_everything() {
        let (newcomer, peer) = (session(3), session(100_000));
        let answer = Negentropy::borrowed(&peer.items, MAX_FRAME_BYTES)
            .unwrap()
            .reconcile(&newcomer.open().unwrap())
            .unwrap();
        assert!(answer.len() < 500, "{}", answer.len());
        let step = newcomer.step(&answer).unwrap();
        assert!(step.next.is_some() && step.need.is_empty());
    }

    #[test]
    fn a_session_that_leads_nowhere_is_told_from_a_long_one() {
        let step = |need: usize, next: usize| Step {
            have: vec![],
            need: vec![GrainId::from_bytes([1; 32]); need],
            next: Some(vec![0; next]),
        };
        let mut rounds = Rounds::default();
        assert_eq!(rounds.count(&[0; 10], &step(0, 10)), Ok(()));
        assert_eq!(rounds.count(&[0; 10], &step(0, 10)), Ok(()));
        assert_eq!(rounds.count(&[0; 10], &step(0, 10)), Err(Endless::Fruitless));
        let mut rounds = Rounds::default();
        for _ in 1..Rounds::MAX {
            assert_eq!(rounds.count(&[0; 10], &step(1, 10)), Ok(()));
        }
        assert_eq!(rounds.count(&[0; 10], &step(1, 10)), Err(Endless::Long));
    }

    proptest! {
        #[test]
        fn an_answer_of_arbitrary_bytes_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = session(100).step(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = PROTOCOL_VERSION as u8;
            }
            let _ = session(100).step(&bytes);
            let _ = Negentropy::borrowed(&session(100).items, MAX_FRAME_BYTES).unwrap().reconcile(&bytes);
        }
    }
}
