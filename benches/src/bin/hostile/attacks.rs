//! The attacks, each made by a peer of its own for as long as it is let.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use prost::Message;
use synapsenet_benches::texts::Random;
use synapsenet_proto::{
    Announcement, Claim, DEFAULT_TOPIC, Draft, Encoding, Grain, GrainId, Identity, MAX_CLOCK_SKEW_MS,
    MAX_PASSED_SKEW_MS, rpc,
};
use tokio::net::TcpStream;

use crate::answers::{framed, identity, of};
use crate::attacker::{Attacker, Bytes, Line};
use crate::bait::LIE;
use crate::front::Front;

/// Before one that was cut off comes again.
const ABSENCE: Duration = Duration::from_secs(2);
/// Grains of a fresh author before the next one.
const GRAINS_OF_AN_AUTHOR: u64 = 5;
/// Lies of an author, after as many truths as once sufficed to be believed.
const LIES_OF_AN_AUTHOR: u64 = 16;
/// Sockets that one peer holds open at each of the two doors of each victim ...
const SOCKETS: usize = 30;
/// ... and for how long, before it opens others.
const SILENCE: Duration = Duration::from_secs(10);
/// How far apart the dates of grains at the limit are.
const NEAR_MS: u64 = 1000;

/// What a hostile peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that are nothing, forgeries, grains of other topics, messages over the limit.
    Garbage,
    /// One grain in many forms, another at each node.
    Wrappings,
    /// Grains dated ahead, near both limits and beyond.
    Ahead,
    /// Grains of many authors of whom nobody has heard.
    Strangers,
    /// Withdrawals of what others said, and of nothing.
    Retractions,
    /// True vectors and then false ones, aimed at questions.
    Lies,
    /// Questions that stall, that cannot be read, and more than anybody may ask.
    Questions,
    /// Calls attention to itself, and gives answers that are none.
    NoAnswers,
    /// The same, with answers that lie.
    Lists,
    /// Topics without end.
    Subscriptions,
    /// Sockets that say nothing, at both doors.
    Silence,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Garbage,
        Self::Wrappings,
        Self::Ahead,
        Self::Strangers,
        Self::Retractions,
        Self::Lies,
        Self::Questions,
        Self::NoAnswers,
        Self::Lists,
        Self::Subscriptions,
        Self::Silence,
    ];

    /// The kinds whose names begin so.
    ///
    /// # Errors
    /// When none does.
    pub fn named(beginning: &str) -> anyhow::Result<Vec<Self>> {
        let named = |kind: &Self| format!("{kind:?}").to_lowercase().starts_with(beginning);
        let kinds: Vec<_> = Self::ALL.into_iter().filter(named).collect();
        ensure!(!kinds.is_empty(), "the attacks are {:?}", Self::ALL);
        Ok(kinds)
    }

    /// From one attack of a peer to the next.
    fn pause(self) -> Duration {
        Duration::from_millis(match self {
            Self::Subscriptions => 5,
            Self::Questions => 20,
            Self::Garbage | Self::Strangers | Self::Retractions => 50,
            Self::Wrappings | Self::Ahead | Self::Lies => 100,
            Self::NoAnswers | Self::Lists => 500,
            Self::Silence => 0,
        })
    }
}

/// The life of a hostile peer, which has no end.
pub async fn live(front: Arc<Front>, kind: Kind, number: usize, mut random: Random) {
    for life in 0.. {
        if kind == Kind::Silence {
            be_silent(&front, &mut random).await;
            continue;
        }
        let name = (number as u64) << 32 | life;
        let addresses: Vec<_> = front.choose(&mut random).iter().map(|victim| victim.mesh.clone()).collect();
        match Attacker::connect(&addresses, identity(name, u64::MAX), of(kind, &front, name)).await {
            Ok(attacker) => {
                front.came(attacker.peer.to_string());
                attack(&front, kind, name, &attacker, &mut random).await;
                front.cut_off.fetch_add(1, Relaxed);
            }
            // The seats may be taken.
            Err(_) => {
                front.not_let_in.fetch_add(1, Relaxed);
            }
        }
        tokio::time::sleep(ABSENCE).await;
    }
}

/// Attacks until nobody is left who listens.
async fn attack(front: &Front, kind: Kind, name: u64, attacker: &Attacker, random: &mut Random) {
    let mut pace = tokio::time::interval(kind.pause() * front.slower);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0.. {
        pace.tick().await;
        let goes_on = match kind {
            Kind::Garbage => garbage(attacker, n).await,
            Kind::Questions => ask(front, attacker, n).await,
            Kind::NoAnswers | Kind::Lists => {
                let news = rpc::News { topic: DEFAULT_TOPIC.into() };
                let news = framed(&rpc::SyncRequest { item: Some(rpc::sync_request::Item::News(news)) });
                attacker.ask(Line::Sync, Bytes::Whole(news)).await
            }
            Kind::Subscriptions => attacker.subscribe(format!("topic-{name}-{n}")).await,
            Kind::Silence => false,
            Kind::Wrappings | Kind::Ahead | Kind::Strangers | Kind::Retractions | Kind::Lies => {
                match announcement(front, kind, name, n, attacker, random) {
                    Some(bytes) => attacker.publish(DEFAULT_TOPIC, bytes).await,
                    None => true,
                }
            }
        };
        if !goes_on {
            return;
        }
        front.attacked();
    }
}

/// What goes out by gossip and is in order, as far as its bytes say. None when there is nothing to aim at yet.
fn announcement(
    front: &Front,
    kind: Kind,
    name: u64,
    n: u64,
    attacker: &Attacker,
    random: &mut Random,
) -> Option<Vec<u8>> {
    match kind {
        Kind::Wrappings => {
            // All who do this wrap the same grain at the same time, each in its own way.
            let second = now_ms() / 1000;
            let draft = Draft { text: format!("The time is {second}."), ..Draft::default() };
            let grain = Grain::seal(draft, &identity(0, 0), second * 1000).ok()?;
            let claim =
                rpc::Claim { passage_rule: 9, vector: name.to_le_bytes().to_vec(), ..Default::default() };
            let message = rpc::Announcement { grain: grain.as_bytes().to_vec(), claim: Some(claim) };
            let mut bytes = message.encode_to_vec();
            if n.is_multiple_of(20) {
                // A field that nobody knows.
                bytes.extend([0xa2, 0x06, 8].iter().chain(&n.to_le_bytes()));
            }
            Some(bytes)
        }
        Kind::Ahead => {
            let ahead = match n % 3 {
                0 => MAX_PASSED_SKEW_MS - NEAR_MS + random.below(2 * NEAR_MS as usize) as u64,
                1 => MAX_CLOCK_SKEW_MS - NEAR_MS + random.below(2 * NEAR_MS as usize) as u64,
                _ => MAX_CLOCK_SKEW_MS + 120_000,
            };
            let draft = Draft { text: format!("Tomorrow, {name}, {n}."), ..Draft::default() };
            Some(plain(&Grain::seal(draft, &attacker.identity, now_ms() + ahead).ok()?))
        }
        Kind::Strangers => {
            let author = identity(name, n / GRAINS_OF_AN_AUTHOR);
            Some(plain(&note(&author, format!("I am stranger {name}, and this is my note number {n}."))?))
        }
        Kind::Retractions => {
            let target = match random.below(4) {
                0 => GrainId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()),
                _ => front.target(random)?,
            };
            let author = identity(name, n / GRAINS_OF_AN_AUTHOR);
            Some(plain(&Grain::retract(target, DEFAULT_TOPIC.parse().ok()?, &author, now_ms()).ok()?))
        }
        Kind::Lies => {
            let bait = &front.bait;
            let (truths, of_one) = (bait.truths.len() as u64, bait.truths.len() as u64 + LIES_OF_AN_AUTHOR);
            let (author, said) = (identity(name, n / of_one), n % of_one);
            let (text, vector) = match bait.truths.get(said as usize) {
                Some((text, vector)) => (text.clone(), vector),
                None => {
                    let fact = (n / of_one + said - truths) as usize % bait.facts.len();
                    (lie(name << 16 | n), &bait.facts[fact].vector)
                }
            };
            let grain = note(&author, text)?;
            let claim = Some(Claim::seal(grain.id(), vector, &author));
            Some(Announcement { grain, claim }.to_message().encode_to_vec())
        }
        _ => None,
    }
}

async fn garbage(attacker: &Attacker, n: u64) -> bool {
    let text = format!("Garbage {n} of {}.", attacker.peer);
    let noise = |length| {
        let mut noise = vec![0; length];
        blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut noise);
        noise
    };
    let bytes = match n % 4 {
        0 => Some(noise(200)),
        1 => Some(noise(60 << 10)),
        2 => note(&attacker.identity, text.clone()).map(|grain| {
            let mut message = Announcement { grain, claim: None }.to_message();
            if let Ok(mut signed) = rpc::SignedGrain::decode(message.grain.as_slice()) {
                signed.signature[0] ^= 1;
                message.grain = signed.encode_to_vec();
            }
            message.encode_to_vec()
        }),
        _ => "elsewhere".parse().ok().and_then(|topic| {
            let draft = Draft { topic, text: text.clone(), ..Draft::default() };
            Grain::seal(draft, &attacker.identity, now_ms()).ok().map(|grain| plain(&grain))
        }),
    };
    attacker.publish(DEFAULT_TOPIC, bytes.unwrap_or_default()).await
}

async fn ask(front: &Front, attacker: &Attacker, n: u64) -> bool {
    const LINES: [Line; 3] = [Line::Sync, Line::Fetch, Line::Search];
    let line = LINES[(n / 8) as usize % LINES.len()];
    let bytes = match (n % 8, line) {
        (0..3, _) => Bytes::Stalled,
        // Not often, so that the others come to their turn before the ban.
        (3, _) if n.is_multiple_of(5) => Bytes::Whole(vec![0x7f; 127]),
        (_, Line::Sync) => {
            // The opening message of a comparison of nothing: protocol version 1, and no ranges.
            let opening =
                rpc::Reconcile { topic: DEFAULT_TOPIC.into(), message: vec![0x61], ..Default::default() };
            let question = rpc::SyncRequest { item: Some(rpc::sync_request::Item::Reconcile(opening)) };
            Bytes::Whole(framed(&question))
        }
        (_, Line::Fetch) => {
            let ids: Vec<u8> =
                (0..512u64).flat_map(|at| *blake3::hash(&at.to_le_bytes()).as_bytes()).collect();
            Bytes::Whole(framed(&rpc::FetchRequest { ids, space_id: Vec::new() }))
        }
        (_, Line::Search) => {
            let fact = &front.bait.facts[n as usize % front.bait.facts.len()];
            let vector = fact.vector.encode(Encoding::I8).as_bytes().to_vec();
            let model = front.bait.model.as_bytes().to_vec();
            Bytes::Whole(framed(&rpc::Question { space_id: model, vector, k: 64, filter: None }))
        }
    };
    attacker.ask(line, bytes).await
}

/// Opens sockets at both doors of its victims and says nothing.
async fn be_silent(front: &Front, random: &mut Random) {
    let mut silent = Vec::new();
    for victim in front.choose(random) {
        for _ in 0..SOCKETS {
            for address in [&victim.port, &victim.api] {
                // They may refuse some.
                silent.extend(TcpStream::connect(address).await);
                front.attacked();
            }
        }
    }
    tokio::time::sleep(SILENCE).await;
}

/// The text of a lie.
pub fn lie(n: u64) -> String {
    format!("{LIE} Offer {n}.")
}

/// A note of this moment, if it is one.
pub fn note(author: &Identity, text: String) -> Option<Grain> {
    Grain::seal(Draft { text, ..Draft::default() }, author, now_ms()).ok()
}

fn plain(grain: &Grain) -> Vec<u8> {
    Announcement { grain: grain.clone(), claim: None }.to_message().encode_to_vec()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
