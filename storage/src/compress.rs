//! How a grain becomes a few bytes: zstd, with a dictionary that knows what grains look like.
//!
//! A grain is too short for zstd to learn anything from it, so what grains have in common (English, the layout of the
//! message, common field values) is given in a dictionary. Each record names the one that it was packed with, by the
//! number under which it stands in [`DICTIONARIES`]: a better one can be added there, an old one must stay for ever.

use std::cell::RefCell;
use std::sync::LazyLock;

use synapsenet_proto::MAX_GRAIN_BYTES;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

/// The dictionary number of a grain that is stored as it is, because packing made it no shorter.
const PLAIN: u8 = 0;

/// The dictionaries, from number 1 on. `examples/train_dictionary.rs` made them.
const DICTIONARIES: [&[u8]; 1] = [include_bytes!("../dictionaries/1.zdict")];

/// The number of the one that new grains are packed with.
const CURRENT: u8 = 1;

/// How hard zstd tries. See `dictionaries/README.md` for what the levels cost and gain.
const LEVEL: i32 = 9;

/// Prepared once for the whole process: what zstd derives from a dictionary takes longer to make than a grain to pack.
static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARIES[usize::from(CURRENT) - 1], LEVEL));
static DECODERS: LazyLock<[DecoderDictionary<'static>; DICTIONARIES.len()]> =
    LazyLock::new(|| DICTIONARIES.map(DecoderDictionary::copy));

thread_local! {
    /// zstd's working memory, kept because making it takes longer than packing a grain.
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::new(new_compressor());
    static DECOMPRESSOR: RefCell<Decompressor<'static>> =
        RefCell::new(Decompressor::new().expect("zstd needs only memory for a context"));
}

fn new_compressor() -> Compressor<'static> {
    let mut compressor =
        Compressor::with_prepared_dictionary(&ENCODER).expect("zstd needs only memory for a context");
    // The record names the dictionary, and `verify` checks the signature: neither has to stand here again.
    compressor.include_dictid(false).expect("every zstd can leave the dictionary's id out");
    compressor.include_checksum(false).expect("every zstd can leave the checksum out");
    compressor
}

/// Packs a grain; gives the number of the dictionary that [`unpack`] is to be told, and the bytes.
pub(crate) fn pack(grain: &[u8]) -> (u8, Vec<u8>) {
    let packed = COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(grain));
    match packed {
        Ok(packed) if packed.len() < grain.len() => (CURRENT, packed),
        Ok(_) | Err(_) => (PLAIN, grain.to_vec()),
    }
}

/// Why packed bytes do not unpack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("it names the dictionary {0}, which this program does not have: update it")]
    UnknownDictionary(u8),
    #[error("it does not unpack: {0}")]
    Broken(#[from] std::io::Error),
}

/// Unpacks a grain. The result has at most [`MAX_GRAIN_BYTES`], whatever the bytes say, or is an error.
pub(crate) fn unpack(dictionary: u8, packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
    if dictionary == PLAIN {
        return Ok(packed.to_vec());
    }
    let decoder =
        DECODERS.get(usize::from(dictionary) - 1).ok_or(UnpackError::UnknownDictionary(dictionary))?;
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        decompressor.set_prepared_dictionary(decoder)?;
        Ok(decompressor.decompress(packed, MAX_GRAIN_BYTES)?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_packing_does_not_shorten_is_kept_plain() {
        let noise: [u8; 32] = blake3::hash(b"noise").into();
        assert_eq!(pack(&noise), (PLAIN, noise.to_vec()));
    }

    /// Grains were packed with them: whoever changes one makes these grains unreadable. A better dictionary is added.
    #[test]
    fn the_dictionaries_never_change() {
        let hashes = DICTIONARIES.map(|dictionary| blake3::hash(dictionary).to_string());
        assert_eq!(hashes, ["1706946a21e16218b7450d26b43f4df04e5b7cb5d8d92461cd1de2eb50122703"]);
    }

    #[test]
    fn a_short_grain_packs_well_with_the_dictionary() {
        let text = "A surge protector wears out: replace it when its indicator light has gone out.";
        let grain = crate::testing::note(text, 1_790_000_000_000);
        let (dictionary, packed) = pack(grain.as_bytes());
        // 96 of the bytes are a key and a signature, which nothing makes shorter.
        assert_eq!(dictionary, CURRENT);
        assert!(packed.len() < grain.as_bytes().len() - 25, "{} of {}", packed.len(), grain.as_bytes().len());
        assert_eq!(unpack(dictionary, &packed).unwrap(), grain.as_bytes().to_vec());
    }

    #[test]
    fn a_dictionary_of_a_later_program_is_named_as_the_reason() {
        let error = unpack(200, b"anything").unwrap_err();
        assert!(matches!(error, UnpackError::UnknownDictionary(200)), "{error}");
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0; 100 << 20], 1).unwrap();
        assert!(bomb.len() < 20_000);
        assert!(unpack(CURRENT, &bomb).is_err());
    }

    proptest! {
        #[test]
        fn what_was_packed_unpacks(bytes in proptest::collection::vec(0u8..4, 0..3000)) {
            let (dictionary, packed) = pack(&bytes);
            prop_assert!(packed.len() <= bytes.len());
            prop_assert_eq!(unpack(dictionary, &packed).unwrap(), bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(dictionary: u8, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(dictionary, &bytes);
        }
    }
}
