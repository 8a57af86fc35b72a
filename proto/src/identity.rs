//! Who signs: the ed25519 identity of a node and the public key that names it.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::Refusal;
use crate::hex::hex_id;

/// Separates signatures over grains from every other use of the same key.
pub(crate) const GRAIN_CONTEXT: &str = "synapsenet v1 grain signature";
/// Separates the key that a node is known by on the network from the one that signs its grains.
pub(crate) const NETWORK_CONTEXT: &str = "synapsenet v1 network key";
/// Separates signatures over claims. The first version did not sign by which rule a grain became its vector.
pub(crate) const CLAIM_CONTEXT: &str = "synapsenet v2 vector claim";

hex_id! {
    /// An author's ed25519 public key, 32 bytes; shown as 64 lower-case hexadecimal digits. Whether the bytes are a usable
    /// key shows when a signature is checked.
    AuthorId, Refusal, Refusal::BadAuthor
}

impl AuthorId {
    /// Checks `signature` over `message` in `context` by the strict rules of RFC 8032 (no small-order keys, canonical encodings).
    ///
    /// # Errors
    /// [`Refusal::BadAuthor`] or [`Refusal::BadSignature`].
    pub(crate) fn verify(
        &self,
        context: &'static str,
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), Refusal> {
        let key = VerifyingKey::from_bytes(self.as_bytes()).map_err(|_| Refusal::BadAuthor)?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(&signed_hash(context, message), &signature).map_err(|_| Refusal::BadSignature)
    }
}

/// The secret behind an [`AuthorId`]: a 32-byte ed25519 seed, wiped from memory when dropped.
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// The identity of a 32-byte seed (RFC 8032, section 5.1.5). The seed must come from a secure random source.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed) }
    }

    /// The seed, for keeping it in a file.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The ed25519 seed of the key that the node of this identity is known by on the network. It is derived one way, so that
    /// one backup holds both keys, and nobody can tell from an author which node it is, nor from a node whose grains it seals.
    #[must_use]
    pub fn network_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(NETWORK_CONTEXT, &*self.seed()))
    }

    /// The public key.
    #[must_use]
    pub fn author(&self) -> AuthorId {
        AuthorId::from_bytes(self.key.verifying_key().to_bytes())
    }

    /// Signs the bytes of a message for the use that `context` names.
    pub(crate) fn sign(&self, context: &'static str, message: &[u8]) -> [u8; 64] {
        self.key.sign(&signed_hash(context, message)).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.author())
    }
}

/// What is signed in place of the message: its BLAKE3 hash in the key-derivation mode, under the context of the use.
fn signed_hash(context: &'static str, message: &[u8]) -> [u8; 32] {
    blake3::derive_key(context, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_only_its_body_and_its_author() {
        let one = Identity::from_seed(&[1; 32]);
        let two = Identity::from_seed(&[2; 32]);
        let signature = one.sign(GRAIN_CONTEXT, b"body");
        assert_eq!(one.author().verify(GRAIN_CONTEXT, b"body", &signature), Ok(()));
        assert_eq!(one.author().verify(GRAIN_CONTEXT, b"bodY", &signature), Err(Refusal::BadSignature));
        assert_eq!(two.author().verify(GRAIN_CONTEXT, b"body", &signature), Err(Refusal::BadSignature));
    }

    #[test]
    fn a_small_order_key_is_refused() {
        // The identity point signs anything under the lax rules; the strict ones refuse it.
        let mut point = [0u8; 32];
        point[0] = 1;
        let mut signature = [0u8; 64];
        signature[0] = 1;
        assert!(AuthorId::from_bytes(point).verify(GRAIN_CONTEXT, b"body", &signature).is_err());
    }

    #[test]
    fn an_author_reads_back_from_its_text() {
        let author = Identity::from_seed(&[7; 32]).author();
        assert_eq!(author.to_string().parse::<AuthorId>(), Ok(author));
        assert_eq!("abc".parse::<AuthorId>(), Err(Refusal::BadAuthor));
    }

    #[test]
    fn the_key_of_the_network_is_another_one_and_always_the_same() {
        let (one, two) = (Identity::from_seed(&[7; 32]), Identity::from_seed(&[8; 32]));
        assert_eq!(one.network_seed(), Identity::from_seed(&one.seed()).network_seed());
        assert_ne!(*one.network_seed(), *two.network_seed());
        assert_ne!(*one.network_seed(), *one.seed());
        let key = SigningKey::from_bytes(&one.network_seed()).verifying_key();
        assert_ne!(&key.to_bytes(), one.author().as_bytes());
    }

    #[test]
    fn debug_output_does_not_show_the_seed() {
        let identity = Identity::from_seed(&[7; 32]);
        assert!(!format!("{identity:?}").contains("0707"));
    }
}
