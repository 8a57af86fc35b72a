//! Arbitrary bytes as a signed grain: they are refused, or they are a grain that reads back as itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use synapsenet_proto::{Grain, rpc};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // The fuzzer cannot sign, and wrapping a body by chance takes it long: so the bytes are tried as a body, too.
    let signed = rpc::SignedGrain { body: bytes.to_vec(), signature: vec![0; 64] };
    read(&signed.encode_to_vec());
});

fn read(bytes: &[u8]) {
    let reopened = Grain::reopen(bytes);
    if let Ok(grain) = Grain::open(bytes) {
        assert_eq!(reopened.as_ref(), Ok(&grain), "what opens, reopens");
    }
    if let Ok(grain) = reopened {
        assert_eq!(Grain::reopen(grain.as_bytes()), Ok(grain.clone()), "a grain reads back as itself");
        let _ = grain.body().fingerprint();
    }
}
