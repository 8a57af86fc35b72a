//! What one honest node passes on never costs it anything at another, whatever an attacker makes of it, whatever each of
//! them heard before, and however far their clocks are apart.
//!
//! Two judges stand for two nodes. Attackers give messages of every kind to both; whatever the first passes on, its very
//! bytes, is judged by the second.

use std::time::{Duration, Instant};

use libp2p::PeerId;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use prost::Message as _;
use synapsenet_proto::{
    Announcement, Claim, Draft, Grain, Identity, MAX_CLOCK_ERROR_MS, MAX_CLOCK_SKEW_MS, SpaceId, Topic,
    Vector, rpc,
};

use crate::score::Offence;
use crate::verdict::{Judge, PEER_RATE, Verdict};

/// The true time when a test begins, in milliseconds since 1970-01-01 UTC.
const START: u64 = 1_790_000_000_000;
const TOPICS: [&str; 2] = ["commons", "bees"];

/// What an attacker says of a grain's vector.
#[derive(Debug, Clone)]
enum Says {
    Nothing,
    Truth,
    AnotherTruth,
    Forgery,
    OfUnknownRule(u32, Vec<u8>),
}

/// What it does to the bytes.
#[derive(Debug, Clone)]
enum Spoils {
    Nothing,
    AppendsField(u8),
    PrependsField(u8),
    WrapsGrain(u8),
    SwapsFields,
    WritesTwice,
    FlipsBit(usize, u8),
    CutsOff(usize),
}

/// One message of an attacker.
#[derive(Debug, Clone)]
struct Attack {
    attacker: usize,
    author: u8,
    text: u8,
    topic: usize,
    gossip_topic: usize,
    /// Against the true time.
    ahead_ms: i64,
    says: Says,
    spoils: Spoils,
    /// The first node gets it, the second one, or both.
    reaches: (bool, bool),
    /// From the one before, in milliseconds.
    pause: u64,
}

fn attack() -> impl Strategy<Value = Attack> {
    let says = prop_oneof![
        3 => Just(Says::Nothing),
        2 => Just(Says::Truth),
        1 => Just(Says::AnotherTruth),
        1 => Just(Says::Forgery),
        2 => (2u32..5, proptest::collection::vec(any::<u8>(), 0..9000))
            .prop_map(|(rule, bytes)| Says::OfUnknownRule(rule, bytes)),
    ];
    let spoils = prop_oneof![
        6 => Just(Spoils::Nothing),
        1 => any::<u8>().prop_map(Spoils::AppendsField),
        1 => any::<u8>().prop_map(Spoils::PrependsField),
        1 => any::<u8>().prop_map(Spoils::WrapsGrain),
        1 => Just(Spoils::SwapsFields),
        1 => Just(Spoils::WritesTwice),
        1 => (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Spoils::FlipsBit(at, bit)),
        1 => any::<usize>().prop_map(Spoils::CutsOff),
    ];
    let skew = MAX_CLOCK_SKEW_MS as i64;
    let ahead = prop_oneof![-3 * skew..3 * skew, Just(0), Just(skew / 2), Just(skew)];
    let places = (0..3usize, 0..3u8, 0..3u8, 0..2usize, prop_oneof![4 => Just(0usize), 1 => Just(1)]);
    (places, ahead, says, spoils, any::<(bool, bool)>(), 0u64..90_000).prop_map(
        |((attacker, author, text, topic, off), ahead_ms, says, spoils, reaches, pause)| Attack {
            attacker,
            author,
            text,
            topic,
            gossip_topic: (topic + off) % 2,
            ahead_ms,
            says,
            spoils,
            reaches,
            pause,
        },
    )
}

fn unknown_field(byte: u8) -> [u8; 4] {
    [0xa2, 0x06, 1, byte]
}

impl Attack {
    fn grain(&self) -> Grain {
        let draft = Draft {
            topic: Topic::new(TOPICS[self.topic]).unwrap(),
            text: format!("text {}", self.text),
            ..Draft::default()
        };
        // The date is not that of the moment, so that one grain can come several times.
        let created = START.saturating_add_signed(self.ahead_ms);
        Grain::seal(draft, &Identity::from_seed(&[self.author; 32]), created).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let grain = self.grain();
        let claim = |x: f32| {
            let vector = Vector::new(SpaceId::from_bytes([9; 32]), vec![x, 1.0, 0.5]).unwrap();
            Claim::seal(grain.id(), &vector, &Identity::from_seed(&[self.author; 32])).to_message()
        };
        let claim = match &self.says {
            Says::Nothing => None,
            Says::Truth => Some(claim(0.1)),
            Says::AnotherTruth => Some(claim(0.7)),
            Says::Forgery => Some(rpc::Claim { signature: vec![7; 64], ..claim(0.1) }),
            Says::OfUnknownRule(rule, bytes) => {
                Some(rpc::Claim { passage_rule: *rule, vector: bytes.clone(), ..Default::default() })
            }
        };
        let message = rpc::Announcement { grain: grain.as_bytes().to_vec(), claim };
        let whole = message.encode_to_vec();
        let only_grain = rpc::Announcement { claim: None, ..message.clone() }.encode_to_vec();
        match self.spoils {
            Spoils::Nothing => whole,
            Spoils::AppendsField(byte) => [&whole[..], &unknown_field(byte)].concat(),
            Spoils::PrependsField(byte) => [&unknown_field(byte)[..], &whole].concat(),
            Spoils::WrapsGrain(byte) => {
                let grain = [&message.grain[..], &unknown_field(byte)].concat();
                rpc::Announcement { grain, ..message }.encode_to_vec()
            }
            Spoils::SwapsFields => [&whole[only_grain.len()..], &only_grain].concat(),
            Spoils::WritesTwice => [&only_grain[..], &whole].concat(),
            Spoils::FlipsBit(at, bit) => {
                let mut bytes = whole;
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
                bytes
            }
            Spoils::CutsOff(at) => whole[..at % whole.len()].to_vec(),
        }
    }
}

/// A clock that is off by so many milliseconds.
fn shown(true_ms: u64, off_ms: i64) -> u64 {
    true_ms.saturating_add_signed(off_ms)
}

/// What the verdict costs the peer: by this crate's account, and by gossipsub's.
fn cost(verdict: &Verdict) -> f64 {
    match verdict {
        Verdict::Accept(_) | Verdict::Keep(_) | Verdict::Ignore(None) => 0.0,
        Verdict::Ignore(Some(offence)) => offence.penalty(),
        Verdict::Reject(offence) => offence.penalty().max(1.0),
    }
}

/// Runs the attacks, and answers the second node's verdicts about what the first one passed on.
fn forwarded(attacks: &[Attack], off_ms: (i64, i64), delay_ms: u64) -> Vec<Verdict> {
    let (mut first, mut second) = (Judge::new(), Judge::new());
    let attackers: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
    let forwarder = PeerId::random();
    let (begin, mut passed_ms, mut verdicts) = (Instant::now(), 0, Vec::new());
    for attack in attacks {
        passed_ms += attack.pause;
        let time = |ms: u64| (begin + Duration::from_millis(passed_ms + ms), START + passed_ms + ms);
        let (topic, bytes, from) = (TOPICS[attack.gossip_topic], attack.bytes(), attackers[attack.attacker]);
        let (now, true_ms) = time(0);
        if attack.reaches.1 {
            second.judge(from, topic, &bytes, now, shown(true_ms, off_ms.1));
        }
        if !attack.reaches.0 {
            continue;
        }
        if let Verdict::Accept(_) = first.judge(from, topic, &bytes, now, shown(true_ms, off_ms.0)) {
            let (now, true_ms) = time(delay_ms);
            verdicts.push(second.judge(forwarder, topic, &bytes, now, shown(true_ms, off_ms.1)));
        }
    }
    verdicts
}

proptest! {
    #[test]
    fn what_an_honest_node_passes_on_never_costs_it_anything(
        attacks in proptest::collection::vec(attack(), 1..40),
        off_ms in (-86_400_000i64..86_400_000, -86_400_000i64..86_400_000),
        delay_ms in 0u64..120_000,
    ) {
        for verdict in forwarded(&attacks, off_ms, delay_ms) {
            prop_assert_eq!(cost(&verdict), 0.0, "{:?}", verdict);
        }
    }

    /// Between clocks that are off by what PROTOCOL.md allows, and both ways.
    #[test]
    fn what_is_passed_on_between_honest_clocks_is_not_even_ignored_for_its_date(
        attacks in proptest::collection::vec(attack(), 1..40),
        off_ms in (-(MAX_CLOCK_ERROR_MS as i64)..=MAX_CLOCK_ERROR_MS as i64, -(MAX_CLOCK_ERROR_MS as i64)..=MAX_CLOCK_ERROR_MS as i64),
    ) {
        for verdict in forwarded(&attacks, off_ms, 0) {
            prop_assert_ne!(verdict, Verdict::Ignore(Some(Offence::FromTheFuture)));
        }
    }
}

/// The attacks are no idle ones: an honest peer does pass on what the next one ignores as announced before and as dated ahead,
/// each of which had its price once. Clocks of one machine that is slow and one that is fast.
#[test]
fn the_attacks_reach_what_used_to_be_punished() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let some = proptest::collection::vec(attack(), 40);
    let off_ms = (MAX_CLOCK_SKEW_MS as i64, -(MAX_CLOCK_SKEW_MS as i64));
    let (mut replayed, mut from_the_future, mut accepted) = (0, 0, 0);
    for _ in 0..50 {
        let attacks = some.new_tree(&mut runner).unwrap().current();
        for verdict in forwarded(&attacks, off_ms, 0) {
            match verdict {
                Verdict::Ignore(Some(Offence::Replayed)) => replayed += 1,
                Verdict::Ignore(Some(Offence::FromTheFuture)) => from_the_future += 1,
                Verdict::Accept(_) => accepted += 1,
                _ => {}
            }
        }
    }
    assert!(
        replayed > 20 && from_the_future > 20 && accepted > 20,
        "{replayed} {from_the_future} {accepted}"
    );
}

/// Three attackers, each within its rate, have one honest peer pass on three times what one peer may bring.
#[test]
fn a_flood_that_comes_through_an_honest_peer_is_dropped_and_costs_it_nothing() {
    let (mut second, forwarder, now) = (Judge::new(), PeerId::random(), Instant::now());
    let grain =
        Grain::seal(Draft { text: "Buy!".into(), ..Draft::default() }, &Identity::from_seed(&[1; 32]), START);
    let bytes = Announcement { grain: grain.unwrap(), claim: None }.to_message().encode_to_vec();
    let over = (0..3 * PEER_RATE.1 as usize)
        .map(|_| second.judge(forwarder, TOPICS[0], &bytes, now, START))
        .inspect(|verdict| assert_eq!(cost(verdict), 0.0, "{verdict:?}"))
        .filter(|verdict| *verdict == Verdict::Ignore(Some(Offence::Flood)));
    assert_eq!(over.count(), 2 * PEER_RATE.1 as usize);
}

/// Every offence, and how it stands to forwarding: this list is complete, or it does not compile.
#[test]
fn whatever_may_come_through_an_honest_peer_is_free() {
    use Offence::*;
    let may_come_through_an_honest_peer = |offence| match offence {
        // Its clock, its line, and who comes first of its peers.
        Replayed | FromTheFuture | Flood | Stalled => true,
        // Looked at before anything is passed on, by the topic and the bytes alone.
        Malformed | Oversize | Forged | ForeignTopic => false,
        // Said to this node alone: an answer's grains were opened by the peer before it stored them.
        BadAnswer | BadRequest | EndlessSync => false,
    };
    for offence in [
        Malformed,
        Oversize,
        Forged,
        ForeignTopic,
        Replayed,
        FromTheFuture,
        Flood,
        BadAnswer,
        BadRequest,
        Stalled,
        EndlessSync,
    ] {
        assert_eq!(offence.penalty() == 0.0, may_come_through_an_honest_peer(offence), "{offence:?}");
    }
}
