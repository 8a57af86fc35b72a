//! Where to go on, as a text that tells nothing else: a place in the store would say how much lies beside what somebody may see, and a
//! name what that is called. The key stays in the store, so that what another store gave out is refused here.

use data_encoding::HEXLOWER;

/// Bytes by which a text proves that it was made here.
const PROOF: usize = 8;

/// Closes and opens such texts.
#[derive(Debug, Clone)]
pub(super) struct Seal([u8; 32]);

impl Seal {
    /// For one use of it in the store with this id.
    pub fn new(context: &'static str, store: u64) -> Self {
        Self(blake3::derive_key(context, &store.to_le_bytes()))
    }

    /// Hexadecimal digits: what the place proves itself by, and the place under a mask that is made of that.
    pub fn close(&self, place: &[u8]) -> String {
        let proof = self.proof(place);
        HEXLOWER.encode(&[&proof[..], &self.masked(&proof, place)].concat())
    }

    /// The place that was closed here; None for whatever else.
    pub fn open(&self, text: &str) -> Option<Vec<u8>> {
        let sealed = HEXLOWER.decode(text.as_bytes()).ok()?;
        let (proof, hidden) = sealed.split_at_checked(PROOF)?;
        let place = self.masked(proof, hidden);
        (self.proof(&place) == proof).then_some(place)
    }

    fn proof(&self, place: &[u8]) -> [u8; PROOF] {
        let mut proof = [0; PROOF];
        self.keyed(b"proof", place).fill(&mut proof);
        proof
    }

    fn masked(&self, proof: &[u8], place: &[u8]) -> Vec<u8> {
        let mut masked = vec![0; place.len()];
        self.keyed(b"mask", proof).fill(&mut masked);
        masked.iter_mut().zip(place).for_each(|(mask, byte)| *mask ^= byte);
        masked
    }

    fn keyed(&self, what: &[u8], of: &[u8]) -> blake3::OutputReader {
        blake3::Hasher::new_keyed(&self.0).update(what).update(of).finalize_xof()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: &str = "synapsenet test of a seal";

    proptest! {
        #[test]
        fn what_is_closed_opens_in_its_own_store_and_for_its_own_use_alone(
            place in proptest::collection::vec(any::<u8>(), 0..100),
            store: u64,
            other: u64,
        ) {
            let closed = Seal::new(CONTEXT, store).close(&place);
            prop_assert_eq!(Seal::new(CONTEXT, store).open(&closed), Some(place));
            prop_assert_eq!(Seal::new("synapsenet test of another", store).open(&closed), None);
            prop_assume!(store != other);
            prop_assert_eq!(Seal::new(CONTEXT, other).open(&closed), None);
        }

        #[test]
        fn whatever_text_is_given_opens_nothing(text in "\\PC{0,40}", hex in "[0-9a-f]{32}") {
            prop_assert_eq!(Seal::new(CONTEXT, 7).open(&text), None);
            prop_assert_eq!(Seal::new(CONTEXT, 7).open(&hex), None);
        }
    }

    #[test]
    fn neighbours_look_like_strangers() {
        let [one, two] = [b"/notes/a.md", b"/notes/b.md"].map(|name| Seal::new(CONTEXT, 7).close(name));
        assert_eq!(one.len(), two.len());
        let same = one.bytes().zip(two.bytes()).filter(|(one, two)| one == two).count();
        assert!(same < one.len() / 2, "{one} {two}");
    }
}
