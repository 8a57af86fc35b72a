//! Claims: the vector that an author signs for its grain, and the announcement in which both travel.

use prost::Message;

use crate::identity::CLAIM_CONTEXT;
use crate::{
    EncodedVector, Encoding, Grain, GrainId, Identity, MAX_GRAIN_BYTES, PASSAGE_RULE, Refusal, SpaceId,
    Vector, rpc,
};

/// The longest encoded vector in a claim: one byte for the encoding, a scale, and a byte for each of 4096 components.
const MAX_VECTOR_BYTES: usize = 1 + 4 + crate::MAX_DIMENSION;
/// A whole announcement: the largest grain, the largest claim, and what protobuf puts around them.
pub const MAX_ANNOUNCEMENT_BYTES: usize = 48 * 1024;
/// A field of a claim whose rule is not known here: two bytes for each of 4096 components, and something before them. It
/// is carried for others, unread, so it must not become a way to carry anything.
pub const MAX_UNKNOWN_CLAIM_FIELD_BYTES: usize = 2 * crate::MAX_DIMENSION + 64;

/// A vector (of the encoding [`Encoding::I8`]) that the author of a grain vouches for, made by the rule [`PASSAGE_RULE`]: its
/// signature is checked, whether the vector is the model's is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    vector: EncodedVector,
    signature: [u8; 64],
}

impl Claim {
    /// Vouches for the vector of a grain. `identity` is that of the grain's author.
    #[must_use]
    pub fn seal(grain: GrainId, vector: &Vector, identity: &Identity) -> Self {
        let vector = vector.encode(Encoding::I8);
        let signature = identity.sign(CLAIM_CONTEXT, &signed_bytes(grain, &vector));
        Self { vector, signature }
    }

    /// Checks a claim that came with `grain`: shape, size and signature. A claim of another rule is none to this program:
    /// nothing but its size can be judged here, and whoever passes it on, to those who know the rule, does no wrong.
    ///
    /// # Errors
    /// [`Refusal::BadClaim`].
    pub fn open(claim: rpc::Claim, grain: &Grain) -> Result<Option<Self>, Refusal> {
        if claim.passage_rule != PASSAGE_RULE {
            let fields = [&claim.space_id, &claim.vector, &claim.signature];
            let fits = fields.iter().all(|field| field.len() <= MAX_UNKNOWN_CLAIM_FIELD_BYTES);
            return if fits { Ok(None) } else { Err(Refusal::BadClaim) };
        }
        let claim = Self::read(claim)?;
        let signed = signed_bytes(grain.id(), &claim.vector);
        grain.author().verify(CLAIM_CONTEXT, &signed, &claim.signature).map_err(|_| Refusal::BadClaim)?;
        Ok(Some(claim))
    }

    /// Reads bytes that [`Claim::to_bytes`] gave and that were kept where only this program writes: the signature is
    /// not checked again.
    ///
    /// # Errors
    /// [`Refusal::BadClaim`], also for a claim of another rule, which is of no use.
    pub fn reopen(bytes: &[u8]) -> Result<Self, Refusal> {
        let claim = rpc::Claim::decode(bytes).map_err(|_| Refusal::BadClaim)?;
        if claim.passage_rule == PASSAGE_RULE { Self::read(claim) } else { Err(Refusal::BadClaim) }
    }

    fn read(claim: rpc::Claim) -> Result<Self, Refusal> {
        let model = claim.space_id.as_slice().try_into().map_err(|_| Refusal::BadClaim)?;
        let signature = claim.signature.as_slice().try_into().map_err(|_| Refusal::BadClaim)?;
        let is_i8 = claim.vector.first() == Some(&(Encoding::I8 as u8));
        if !is_i8 || claim.vector.len() > MAX_VECTOR_BYTES {
            return Err(Refusal::BadClaim);
        }
        let vector = EncodedVector::from_bytes(SpaceId::from_bytes(model), claim.vector);
        // Whoever has a claim can rely on a vector in it.
        vector.decode().map_err(|_| Refusal::BadClaim)?;
        Ok(Self { vector, signature })
    }

    /// The vector that is vouched for. It decodes.
    #[must_use]
    pub fn vector(&self) -> &EncodedVector {
        &self.vector
    }

    /// The encoded message, for the disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    /// The message, for the wire.
    #[must_use]
    pub fn to_message(&self) -> rpc::Claim {
        rpc::Claim {
            passage_rule: PASSAGE_RULE,
            space_id: self.vector.model().as_bytes().to_vec(),
            vector: self.vector.as_bytes().to_vec(),
            signature: self.signature.to_vec(),
        }
    }
}

/// What is signed. The parts before the vector have fixed lengths, so no two claims have the same bytes.
pub(crate) fn signed_bytes(grain: GrainId, vector: &EncodedVector) -> Vec<u8> {
    let rule = PASSAGE_RULE.to_le_bytes();
    [&grain.as_bytes()[..], vector.model().as_bytes(), &rule, vector.as_bytes()].concat()
}

/// A grain and, where its author vouches for a vector, that: what travels between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The grain.
    pub grain: Grain,
    /// The vector that its author vouches for. None, too, when it came with a claim of a rule that is not known here.
    pub claim: Option<Claim>,
}

impl Announcement {
    /// Reads an encoded announcement: checks size, form, grain and claim with both signatures.
    ///
    /// The same parts have one encoding, the one that [`Announcement::to_message`] gives: fields in order, each once,
    /// none besides. Otherwise somebody could wrap one grain in a thousand ways and make a thousand messages of it, which
    /// nodes would then hold against each other. A claim of a rule that is not known here is bound to that form, too.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong. Never panics, whatever the bytes.
    pub fn open(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_ANNOUNCEMENT_BYTES {
            return Err(Refusal::TooLarge(bytes.len()));
        }
        let message =
            rpc::Announcement::decode(bytes).map_err(|_| Refusal::Malformed("no Announcement message"))?;
        // Cheaper than a signature, so it comes first; of the grain's own wrapping below.
        let is_canonical = message.encode_to_vec() == bytes;
        let signed = rpc::SignedGrain::decode(message.grain.as_slice());
        let signed = signed.map_err(|_| Refusal::Malformed("no SignedGrain message"))?;
        if !is_canonical || signed.encode_to_vec() != message.grain {
            return Err(Refusal::NotCanonical);
        }
        Self::from_message(message)
    }

    /// As [`Announcement::open`], of a message that was decoded as a part of another, whatever its encoding was: it goes to
    /// nobody else as it came.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong.
    pub fn from_message(message: rpc::Announcement) -> Result<Self, Refusal> {
        let grain = Grain::open(&message.grain)?;
        let claim = message.claim.map(|claim| Claim::open(claim, &grain)).transpose()?;
        Ok(Self { grain, claim: claim.flatten() })
    }

    /// The message, for the wire.
    #[must_use]
    pub fn to_message(&self) -> rpc::Announcement {
        rpc::Announcement {
            grain: self.grain.as_bytes().to_vec(),
            claim: self.claim.as_ref().map(Claim::to_message),
        }
    }

    /// The id of the grain in an encoded announcement, without checking anything: for telling copies apart before the
    /// cost of a signature.
    #[must_use]
    pub fn peek_id(bytes: &[u8]) -> Option<GrainId> {
        if bytes.len() > MAX_ANNOUNCEMENT_BYTES {
            return None;
        }
        let message = rpc::Announcement::decode(bytes).ok()?;
        let signed = rpc::SignedGrain::decode(message.grain.as_slice()).ok()?;
        Some(GrainId::from_bytes(blake3::hash(&signed.body).into()))
    }
}

const _: () = assert!(MAX_GRAIN_BYTES + MAX_VECTOR_BYTES + 256 < MAX_ANNOUNCEMENT_BYTES);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Draft;

    const MODEL: SpaceId = SpaceId::from_bytes([9; 32]);

    fn grain(identity: &Identity, text: &str) -> Grain {
        Grain::seal(Draft { text: text.into(), ..Draft::default() }, identity, 1).unwrap()
    }

    fn announcement(identity: &Identity, text: &str) -> Announcement {
        let grain = grain(identity, text);
        let vector = Vector::new(MODEL, vec![0.1, -0.7, 0.2]).unwrap();
        let claim = Claim::seal(grain.id(), &vector, identity);
        Announcement { grain, claim: Some(claim) }
    }

    #[test]
    fn an_announcement_arrives_as_it_was_sent() {
        let sent = announcement(&Identity::from_seed(&[1; 32]), "a text");
        let bytes = sent.to_message().encode_to_vec();
        assert_eq!(Announcement::open(&bytes), Ok(sent.clone()));
        assert_eq!(Announcement::peek_id(&bytes), Some(sent.grain.id()));
        assert_eq!(Claim::reopen(&sent.claim.clone().unwrap().to_bytes()).ok(), sent.claim);
    }

    #[test]
    fn a_claim_fits_only_its_grain_its_model_and_its_author() {
        let (one, two) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let sent = announcement(&one, "a text").to_message();
        let mut other_grain = sent.clone();
        other_grain.grain = grain(&one, "another text").as_bytes().to_vec();
        let mut other_author = sent.clone();
        other_author.grain = grain(&two, "a text").as_bytes().to_vec();
        let mut other_model = sent.clone();
        other_model.claim.as_mut().unwrap().space_id[0] ^= 1;
        let mut other_vector = sent.clone();
        other_vector.claim.as_mut().unwrap().vector[6] ^= 1;
        for bad in [other_grain, other_author, other_model, other_vector] {
            assert_eq!(Announcement::from_message(bad), Err(Refusal::BadClaim));
        }
    }

    #[test]
    fn a_claim_without_a_direction_is_refused() {
        let identity = Identity::from_seed(&[1; 32]);
        let mut sent = announcement(&identity, "a text").to_message();
        for vector in [vec![], vec![2; 3], vec![2, 0, 0, 0, 0, 1, 1], vec![1, 0, 60], vec![2; 5000]] {
            sent.claim.as_mut().unwrap().vector = vector;
            assert_eq!(Announcement::from_message(sent.clone()), Err(Refusal::BadClaim));
        }
    }

    /// Version 2 of what is signed never changes: announcements that lie in stores are made of it.
    #[test]
    fn the_rule_is_signed_between_the_model_and_the_vector() {
        let vector = EncodedVector::from_bytes(MODEL, vec![2, 0, 0, 0, 1]);
        let signed = signed_bytes(GrainId::from_bytes([7; 32]), &vector);
        assert_eq!(signed, [&[7; 32][..], &[9; 32], &[1, 0, 0, 0], &[2, 0, 0, 0, 1]].concat());
    }

    /// A rule that comes after this program: its claims are signed and encoded in ways that are not known here. They go
    /// through the mesh in announcements of nodes that do know them, and whoever passes them on is no forger.
    #[test]
    fn a_claim_of_another_rule_is_none_and_spoils_nothing() {
        let sent = announcement(&Identity::from_seed(&[1; 32]), "a text");
        for rule in [0, 2, u32::MAX] {
            let mut message = sent.to_message();
            let claim = message.claim.as_mut().unwrap();
            claim.passage_rule = rule;
            assert_eq!(Claim::reopen(&claim.encode_to_vec()), Err(Refusal::BadClaim));
            let unknown = rpc::Claim { passage_rule: rule, vector: vec![200; 77], ..Default::default() };
            for claim in [claim.clone(), unknown] {
                let message = rpc::Announcement { claim: Some(claim), ..message.clone() };
                let opened = Announcement::open(&message.encode_to_vec()).unwrap();
                assert_eq!(opened, Announcement { claim: None, ..sent.clone() });
            }
        }
    }

    /// The claims of before there were rules, as they still lie in stores.
    #[test]
    fn a_claim_without_a_rule_is_none() {
        let model = [&[0x0a, 32][..], &[9; 32]].concat();
        let claim = [&model[..], &[0x12, 6, 2, 0, 0, 0, 63, 1, 0x1a, 64], &[5; 64]].concat();
        assert_eq!(Claim::reopen(&claim), Err(Refusal::BadClaim));
    }

    /// An attacker gave one valid grain to each of six nodes in another wrapping; they took each other for liars.
    #[test]
    fn an_announcement_has_one_encoding() {
        let sent = announcement(&Identity::from_seed(&[1; 32]), "a text");
        let message = sent.to_message();
        let bytes = message.encode_to_vec();
        assert_eq!(Announcement::open(&bytes), Ok(sent));
        let grain_field = rpc::Announcement { claim: None, ..message.clone() }.encode_to_vec();
        let claim_field = bytes[grain_field.len()..].to_vec();
        let unknown = [0xa2, 0x06, 1, 7];
        let mut in_grain = message.clone();
        in_grain.grain.extend(unknown);
        let length = message.grain.len();
        let long_length =
            [&[0x0a, (length & 127) as u8 | 128, (length >> 7) as u8 | 128, 0][..], &message.grain];
        let claim_with_more = [&message.claim.clone().unwrap().encode_to_vec()[..], &unknown].concat();
        let in_claim = [
            &[0x1a, (claim_with_more.len() & 127) as u8 | 128, (claim_with_more.len() >> 7) as u8][..],
            &claim_with_more,
        ];
        let others = [
            ("an unknown field", [&bytes[..], &unknown].concat()),
            ("one before the others", [&unknown[..], &bytes].concat()),
            ("one around the grain", in_grain.encode_to_vec()),
            ("one in the claim", [&grain_field[..], &in_claim.concat()].concat()),
            ("the fields in another order", [&claim_field[..], &grain_field].concat()),
            ("a field twice", [&grain_field[..], &bytes].concat()),
            ("a length in more bytes than it needs", [&long_length.concat()[..], &claim_field].concat()),
        ];
        for (name, other) in others {
            assert_eq!(Announcement::open(&other), Err(Refusal::NotCanonical), "{name}");
        }
    }

    #[test]
    fn a_claim_of_another_rule_is_carried_as_it_is_as_long_as_it_is_small() {
        let grain = grain(&Identity::from_seed(&[1; 32]), "a text");
        let bytes_of = |vector: usize, tail: &[u8]| {
            let claim = rpc::Claim { passage_rule: 9, vector: vec![7; vector], ..Default::default() };
            let claim = [&claim.encode_to_vec()[..], tail].concat();
            let mut bytes = Announcement { grain: grain.clone(), claim: None }.to_message().encode_to_vec();
            bytes.push(0x1a);
            prost::encoding::encode_varint(claim.len() as u64, &mut bytes);
            [bytes, claim].concat()
        };
        let most = MAX_UNKNOWN_CLAIM_FIELD_BYTES;
        assert_eq!(
            Announcement::open(&bytes_of(most, &[])),
            Ok(Announcement { grain: grain.clone(), claim: None })
        );
        assert_eq!(Announcement::open(&bytes_of(most + 1, &[])), Err(Refusal::BadClaim));
        assert_eq!(Announcement::open(&bytes_of(most, &[0xa2, 0x06, 0])), Err(Refusal::NotCanonical));
    }

    proptest! {
        #[test]
        fn whatever_a_claim_of_another_rule_holds_the_grain_is_welcome(
            rule in 2..=u32::MAX, model: Vec<u8>, vector: Vec<u8>, signature: Vec<u8>,
        ) {
            let grain = grain(&Identity::from_seed(&[1; 32]), "some words");
            let claim = Some(rpc::Claim { passage_rule: rule, space_id: model, vector, signature });
            let message = rpc::Announcement { grain: grain.as_bytes().to_vec(), claim };
            prop_assert_eq!(Announcement::from_message(message), Ok(Announcement { grain, claim: None }));
        }

        #[test]
        fn arbitrary_bytes_as_a_claim_of_this_rule_are_refused(
            model in proptest::collection::vec(any::<u8>(), 0..40),
            vector in proptest::collection::vec(any::<u8>(), 0..100),
            signature in proptest::collection::vec(any::<u8>(), 60..70),
        ) {
            let grain = grain(&Identity::from_seed(&[1; 32]), "some words");
            let claim = Some(rpc::Claim { passage_rule: PASSAGE_RULE, space_id: model, vector, signature });
            let message = rpc::Announcement { grain: grain.as_bytes().to_vec(), claim };
            prop_assert_eq!(Announcement::from_message(message), Err(Refusal::BadClaim));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(Announcement::open(&bytes).is_err());
            let _ = Announcement::peek_id(&bytes);
            let _ = Claim::reopen(&bytes);
        }

        #[test]
        fn a_changed_byte_never_passes_for_another_grain(at in 0usize..1000, bit in 0u8..8) {
            let sent = announcement(&Identity::from_seed(&[1; 32]), "some words");
            let mut bytes = sent.to_message().encode_to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(opened) = Announcement::open(&bytes) {
                // A flipped bit may make the rule one that is not known; what is left must be what was sent.
                prop_assert_eq!(opened.grain, sent.grain);
            }
        }
    }
}
