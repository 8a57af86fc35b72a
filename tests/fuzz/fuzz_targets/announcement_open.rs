//! Arbitrary bytes as an announcement, and as a claim beside a real grain: they are refused, or they are what was signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use synapsenet_proto::{
    Announcement, Claim, Draft, Grain, Identity, MAX_UNKNOWN_CLAIM_FIELD_BYTES, PASSAGE_RULE, rpc,
};

fuzz_target!(|bytes: &[u8]| {
    let id = Announcement::peek_id(bytes);
    if let Ok(opened) = Announcement::open(bytes) {
        assert_eq!(id, Some(opened.grain.id()), "the id is that of the grain");
        let message = rpc::Announcement::decode(bytes).expect("it was decoded before");
        assert_eq!(message.encode_to_vec(), bytes, "it has one encoding");
        if opened.claim.is_some() || message.claim.is_none() {
            assert_eq!(opened.to_message(), message, "and this program's is the same");
        }
        assert_eq!(Announcement::from_message(opened.to_message()), Ok(opened), "it reads back as itself");
    }
    if let Ok(claim) = Claim::reopen(bytes) {
        assert!(claim.vector().decode().is_ok(), "the vector of a claim decodes");
    }
    // A claim needs a grain to stand beside.
    let draft = Draft { text: "a text".into(), ..Draft::default() };
    let grain = Grain::seal(draft, &Identity::from_seed(&[1; 32]), 1).expect("the draft is within limits");
    if let Ok(claim) = rpc::Claim::decode(bytes) {
        let is_known = claim.passage_rule == PASSAGE_RULE;
        let fields = [&claim.space_id, &claim.vector, &claim.signature];
        let is_small = fields.iter().all(|field| field.len() <= MAX_UNKNOWN_CLAIM_FIELD_BYTES);
        let message = rpc::Announcement { grain: grain.as_bytes().to_vec(), claim: Some(claim) };
        let opened = Announcement::from_message(message);
        // A claim of a rule that is not known here is none, whatever it holds, if it is no burden.
        let is_none = opened.is_ok_and(|opened| opened.claim.is_none());
        assert!(is_none == (!is_known && is_small), "nobody forges a signature by chance");
    }
});
