//! Arbitrary bytes as a stored vector: they are refused, or they are a unit vector that survives being packed again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use synapsenet_proto::{EncodedVector, Encoding, SpaceId};

const MODEL: SpaceId = SpaceId::from_bytes([1; 32]);

fuzz_target!(|bytes: &[u8]| {
    let Ok(vector) = EncodedVector::from_bytes(MODEL, bytes.to_vec()).decode() else { return };
    let norm: f64 = vector.values().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    assert!((norm - 1.0).abs() < 1e-3, "the length is {norm}");
    for (encoding, least) in [(Encoding::F16, 0.999), (Encoding::I8, 0.99)] {
        let again = vector.encode(encoding).decode().expect("what was encoded here decodes");
        let cosine = vector.cosine(&again).expect("both are of one model");
        assert!(cosine > least, "{encoding:?} turned the vector: {cosine}");
    }
});
