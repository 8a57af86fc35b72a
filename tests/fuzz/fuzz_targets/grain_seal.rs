//! Arbitrary drafts: they are refused, or they become a grain that anybody can open and that says the same.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use synapsenet_proto::{Draft, Grain, Identity, rpc};

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[7; 32]));

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = rpc::Draft::decode(bytes) else { return };
    let Ok(draft) = Draft::try_from(message) else { return };
    let Ok(grain) = Grain::seal(draft.clone(), &IDENTITY, 1) else { return };
    let opened = Grain::open(grain.as_bytes()).expect("what was sealed here opens everywhere");
    assert_eq!(opened, grain);
    assert_eq!(opened.body().draft, draft, "sealing changes no word");
    // One bit of the signature changed is a forgery.
    let mut forged = grain.as_bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(Grain::open(&forged).is_err(), "a forged grain is refused");
});
