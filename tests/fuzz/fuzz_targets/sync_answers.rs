//! Arbitrary bytes as what a hostile peer answers to the questions of a synchronisation: each answer is refused or read, no question
//! that follows from it is larger than a frame, and every session ends.
//!
//! The sources are those of the node, without what lies around them. An input is a list of answers, each after two bytes of length;
//! the first two bytes say how many grains are here.

#![no_main]
#![allow(dead_code, unreachable_pub, reason = "only a part of these sources is used here")]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use synapsenet_proto::{Draft, Grain, Identity, Topic, rpc};
use synapsenet_storage::{Change, Origin, Store, StoreOptions};

#[path = "../../../node/src/mesh/sync/items.rs"]
mod items;
#[path = "../../../node/src/mesh/sync/session.rs"]
mod session;

use items::{Items, Span};
use session::{MAX_FRAME_BYTES, Rounds, Session};

const GRAINS: u64 = 300;

/// Some grains of one topic, a second apart, read from a store as the node reads them.
static ITEMS: LazyLock<Items> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("there is a folder for temporary files");
    let store = Store::open(&dir.path().join("grains.redb"), &StoreOptions::default()).expect("a new store opens");
    let put = |n: u64| {
        let draft = Draft { text: n.to_string(), ..Draft::default() };
        let grain = Grain::seal(draft, &Identity::from_seed(&[1; 32]), n * 1000).expect("it is within limits");
        Change::Put { grain, shared: true, received_ms: 1, claim: None, origin: Origin::Known, lane: 9 }
    };
    store.write((0..GRAINS).map(put).collect()).expect("it is written");
    let view = store.view().expect("it is read");
    Items::read(&view, &Topic::default(), Span::WHOLE).expect("it is read")
});

fuzz_target!(|bytes: &[u8]| {
    let Some((head, mut rest)) = bytes.split_first_chunk::<2>() else { return };
    let span = Span { from_ms: 0, before_ms: u64::from(u16::from_le_bytes(*head)) * 5 + 1 };
    let session = Session { items: ITEMS.within(span), is_first: head[0] & 1 == 0 };
    let mut asked = session.open().expect("what is here is in order");
    let mut rounds = Rounds::default();
    for round in 0.. {
        assert!(round < Rounds::MAX, "a session ends");
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return };
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (answer, after) = after.split_at(length);
        rest = after;
        // As it comes over the wire, and as the message alone, which is what an attacker changes.
        let answer = rpc::SyncResponse::decode(answer)
            .unwrap_or_else(|_| rpc::SyncResponse { message: answer.to_vec(), ..Default::default() });
        if let Some(pages) = span.pages(&answer.pages) {
            assert!(pages.iter().all(|page| page.is_valid()), "each page begins before it ends");
            let held: usize = pages.iter().map(|page| session.items.within(*page).len()).sum();
            assert!(pages.is_empty() || held == session.items.len(), "each grain is on one page");
        }
        let Ok(step) = session.step(&answer.message) else { return };
        assert!(step.need.len() <= answer.message.len() / 32, "only what was listed is missing");
        assert!(step.have.len() <= session.items.len(), "only what is here can be lacked");
        let ended = rounds.count(&asked, &step).is_err();
        let Some(next) = step.next.filter(|_| !ended) else { return };
        assert!(next.len() as u64 <= MAX_FRAME_BYTES, "a question fits into a frame");
        asked = next;
    }
});
