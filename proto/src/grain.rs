//! The grain: the unit of knowledge. A short text, signed by its author, immutable, named by the hash of its body.
//!
//! ```text
//! Draft --seal(identity, now)--> Grain --as_bytes--> disk, wire --open--> Grain
//! ```
//!
//! The bytes that the author signed are the bytes that travel and are stored; nothing is ever encoded again, so no
//! canonical encoding exists to get wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::hex::hex_id;
use crate::identity::GRAIN_CONTEXT;
use crate::{AuthorId, Identity, Refusal, Topic, rpc};

/// A whole signed grain. Half of gossipsub's 64 KiB message, so that a vector fits beside it.
pub const MAX_GRAIN_BYTES: usize = 32 * 1024;
/// A grain's text: some four pages. Longer texts are split before they become grains.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;
/// A title: a long line.
pub const MAX_TITLE_BYTES: usize = 256;
/// Tags of a grain: more would be text.
pub const MAX_TAGS: usize = 16;
/// One tag.
pub const MAX_TAG_BYTES: usize = 64;
/// A language tag: the longest that RFC 5646 (section 4.4.1) says one must be able to hold.
pub const MAX_LANG_BYTES: usize = 35;
/// A media type: RFC 6838 allows 127 characters for each half; real ones are shorter than this together.
pub const MAX_MIME_BYTES: usize = 127;
/// The URI or path of a source.
pub const MAX_SOURCE_URI_BYTES: usize = 1024;
/// Links of a grain.
pub const MAX_LINKS: usize = 16;
/// The word that says what a link means.
pub const MAX_RELATION_BYTES: usize = 64;
/// Pairs of metadata of a grain: what programs say about a text, not a second text.
pub const MAX_METADATA: usize = 16;
/// A key of metadata.
pub const MAX_METADATA_KEY_BYTES: usize = 64;
/// A value of metadata: a long line, as a title.
pub const MAX_METADATA_VALUE_BYTES: usize = 256;
/// The relation by which a retraction names the grain that it withdraws.
pub const RETRACTS: &str = "retracts";

/// How far ahead of a node's clock a grain may be dated to be taken in, in milliseconds: clocks of home machines drift by
/// minutes when they lose their time server. One that is dated later is ignored and costs nobody anything, as it may be
/// this node's clock that is wrong.
pub const MAX_CLOCK_SKEW_MS: u64 = 10 * 60 * 1000;
/// How far ahead of a node's clock a grain may be dated to be passed on, in milliseconds. Less than what is taken in, so
/// that what one node passes on the next one takes, although its clock is behind.
pub const MAX_PASSED_SKEW_MS: u64 = MAX_CLOCK_SKEW_MS / 2;
/// How far a clock may be off, in milliseconds, for its node to notice nothing of it: between two of which one is so far
/// ahead and the other so far behind, whatever one passes on the other takes.
pub const MAX_CLOCK_ERROR_MS: u64 = (MAX_CLOCK_SKEW_MS - MAX_PASSED_SKEW_MS) / 2;

/// Separates fingerprints of words from other hashes.
pub(crate) const FINGERPRINT_CONTEXT: &str = "synapsenet v1 grain fingerprint";
/// The rules by which this program seals.
const BODY_VERSION: u32 = 1;
/// The rule by which a note becomes its vector: [`Grain::passage`], and how a model reads a passage that is longer than its
/// window. `Claim` in `schema/synapsenet/v1/mesh.proto` states all of it. Whoever changes any of it changes this number.
pub const PASSAGE_RULE: u32 = 1;

hex_id! {
    /// The name of a grain: the BLAKE3 hash of its body; shown as 64 lower-case hexadecimal digits.
    GrainId, Refusal, Refusal::Malformed("an id is 64 hexadecimal digits")
}

/// What a grain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A text to remember.
    Note,
    /// Withdraws an earlier grain of the same author.
    Retraction,
}

/// The document and the place in it that a text was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// URI or path of the document, 1 to [`MAX_SOURCE_URI_BYTES`] bytes.
    pub uri: String,
    /// Position of the chunk in the document when it was added, from 0.
    pub ordinal: u32,
}

/// A reference to another grain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// The grain that is meant. It need not be known here.
    pub target: GrainId,
    /// What it is to this one, 1 to [`MAX_RELATION_BYTES`] bytes.
    pub relation: String,
}

/// What an author wants to say, before it is sealed. All limits are checked by [`Grain::seal`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// The stream it is to belong to.
    pub topic: Topic,
    /// The text, UTF-8.
    pub text: String,
    /// A heading for people; may be empty.
    pub title: String,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// BCP 47 language tag; empty when unknown.
    pub lang: String,
    /// Media type of the original; empty means plain text.
    pub mime: String,
    /// Where it was taken from.
    pub source: Option<Source>,
    /// Other grains that it speaks of.
    pub links: Vec<Link>,
    /// What a program says about it, at most [`MAX_METADATA`] pairs.
    pub metadata: BTreeMap<String, String>,
}

/// What an author said, as read from the signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Note or retraction.
    pub kind: Kind,
    /// Who sealed it.
    pub author: AuthorId,
    /// When, in milliseconds since 1970-01-01 UTC by the author's clock.
    pub created_ms: u64,
    /// What was said.
    pub draft: Draft,
}

/// A well-formed, correctly signed grain together with the bytes it came in.
///
/// The only ways to have one are [`Grain::seal`], [`Grain::retract`], [`Grain::open`] and, for bytes that went
/// through one of these before they were stored, [`Grain::reopen`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grain {
    id: GrainId,
    body: Body,
    /// The encoded `SignedGrain`.
    bytes: Bytes,
}

impl Grain {
    /// Signs a draft into a note. `now_ms` is the time in milliseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// A [`Refusal`] that names the limit which the draft exceeds.
    pub fn seal(draft: Draft, identity: &Identity, now_ms: u64) -> Result<Self, Refusal> {
        Self::sign(Body { kind: Kind::Note, author: identity.author(), created_ms: now_ms, draft }, identity)
    }

    /// Signs the withdrawal of `target`. It belongs to the topic of the grain that it withdraws, so that it reaches
    /// whoever got that.
    ///
    /// # Errors
    /// None that a valid topic could cause; the type is that of [`Grain::seal`].
    pub fn retract(target: GrainId, topic: Topic, identity: &Identity, now_ms: u64) -> Result<Self, Refusal> {
        let links = vec![Link { target, relation: RETRACTS.to_owned() }];
        let draft = Draft { topic, links, ..Draft::default() };
        Self::sign(
            Body { kind: Kind::Retraction, author: identity.author(), created_ms: now_ms, draft },
            identity,
        )
    }

    fn sign(body: Body, identity: &Identity) -> Result<Self, Refusal> {
        body.check()?;
        let encoded = body.encode();
        let signature = identity.sign(GRAIN_CONTEXT, &encoded);
        Self::assemble(body, encoded, &signature)
    }

    /// Reads an encoded `SignedGrain` from anywhere: checks its size, shape, limits and signature.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong. Never panics, whatever the bytes.
    pub fn open(bytes: &[u8]) -> Result<Self, Refusal> {
        let (body, encoded, signature) = Self::read(bytes)?;
        body.author.verify(GRAIN_CONTEXT, &encoded, &signature)?;
        Self::assemble(body, encoded, &signature)
    }

    /// Reads bytes that [`Grain::as_bytes`] gave and that were kept where only this program writes.
    ///
    /// Everything is checked but the signature, which was checked when the grain first came in: that check takes
    /// as long as everything else about a search hit together. `verify` opens every stored grain with
    /// [`Grain::open`].
    ///
    /// # Errors
    /// As [`Grain::open`], but for the signature.
    pub fn reopen(bytes: &[u8]) -> Result<Self, Refusal> {
        let (body, encoded, signature) = Self::read(bytes)?;
        Self::assemble(body, encoded, &signature)
    }

    fn read(bytes: &[u8]) -> Result<(Body, Bytes, [u8; 64]), Refusal> {
        if bytes.len() > MAX_GRAIN_BYTES {
            return Err(Refusal::TooLarge(bytes.len()));
        }
        let signed =
            rpc::SignedGrain::decode(bytes).map_err(|_| Refusal::Malformed("no SignedGrain message"))?;
        let signature = signed.signature.as_slice();
        let signature =
            signature.try_into().map_err(|_| Refusal::Malformed("the signature is not 64 bytes"))?;
        let body = Body::decode(&signed.body)?;
        body.check()?;
        Ok((body, signed.body.into(), signature))
    }

    /// Puts the parts together. The outer message is always written by us, so it has one form for one body and
    /// signature, however a peer wrote it.
    fn assemble(body: Body, encoded: Bytes, signature: &[u8; 64]) -> Result<Self, Refusal> {
        let id = GrainId::from_bytes(blake3::hash(&encoded).into());
        let signed = rpc::SignedGrain { body: encoded.into(), signature: signature.to_vec() };
        let bytes: Bytes = signed.encode_to_vec().into();
        if bytes.len() > MAX_GRAIN_BYTES {
            return Err(Refusal::TooLarge(bytes.len()));
        }
        Ok(Self { id, body, bytes })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> GrainId {
        self.id
    }

    /// The encoded `SignedGrain`, for the disk and for the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// All that its author said.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Note or retraction.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.body.kind
    }

    /// Who sealed it.
    #[must_use]
    pub fn author(&self) -> AuthorId {
        self.body.author
    }

    /// When it was sealed, in milliseconds since 1970-01-01 UTC by the author's clock.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.body.created_ms
    }

    /// The stream it belongs to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.body.draft.topic
    }

    /// Its text; empty for a retraction.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.body.draft.text
    }

    /// The words of a note that a model reads, by rule [`PASSAGE_RULE`]: the text, when the title is empty or the text begins
    /// with the title, byte for byte; else the title, a line feed and the text.
    #[must_use]
    pub fn passage(&self) -> Cow<'_, str> {
        let Draft { title, text, .. } = &self.body.draft;
        if text.starts_with(title.as_str()) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(format!("{title}\n{text}"))
        }
    }

    /// The grain that it withdraws, when it is a retraction.
    #[must_use]
    pub fn retracted(&self) -> Option<GrainId> {
        match self.body.kind {
            Kind::Note => None,
            Kind::Retraction => self.body.draft.links.first().map(|link| link.target),
        }
    }
}

impl Body {
    fn encode(&self) -> Bytes {
        let draft = &self.draft;
        let link = |link: &Link| rpc::Link {
            target: link.target.as_bytes().to_vec(),
            relation: link.relation.clone(),
        };
        let datum =
            |(key, value): (&String, &String)| rpc::Metadatum { key: key.clone(), value: value.clone() };
        rpc::GrainBody {
            version: BODY_VERSION,
            kind: match self.kind {
                Kind::Note => rpc::GrainKind::Note.into(),
                Kind::Retraction => rpc::GrainKind::Retraction.into(),
            },
            author: self.author.as_bytes().to_vec(),
            created_ms: self.created_ms,
            topic: draft.topic.as_str().to_owned(),
            text: draft.text.clone(),
            title: draft.title.clone(),
            tags: draft.tags.clone(),
            lang: draft.lang.clone(),
            mime: draft.mime.clone(),
            source: draft.source.as_ref().map(|s| rpc::Source { uri: s.uri.clone(), ordinal: s.ordinal }),
            links: draft.links.iter().map(link).collect(),
            metadata: draft.metadata.iter().map(datum).collect(),
        }
        .encode_to_vec()
        .into()
    }

    fn decode(encoded: &[u8]) -> Result<Self, Refusal> {
        let body = rpc::GrainBody::decode(encoded).map_err(|_| Refusal::Malformed("no GrainBody message"))?;
        if body.version != BODY_VERSION {
            return Err(Refusal::UnknownVersion(body.version));
        }
        let kind = match rpc::GrainKind::try_from(body.kind) {
            Ok(rpc::GrainKind::Note) => Kind::Note,
            Ok(rpc::GrainKind::Retraction) => Kind::Retraction,
            Ok(rpc::GrainKind::Unspecified) | Err(_) => return Err(Refusal::UnknownKind(body.kind)),
        };
        let author = body.author.try_into().map_err(|_| Refusal::BadAuthor)?;
        let links = body.links.into_iter().map(Link::try_from).collect::<Result<_, _>>()?;
        let draft = Draft {
            topic: Topic::new(body.topic)?,
            text: body.text,
            title: body.title,
            tags: body.tags,
            lang: body.lang,
            mime: body.mime,
            source: body.source.map(Source::from),
            links,
            metadata: read_metadata(body.metadata)?,
        };
        Ok(Self { kind, author: AuthorId::from_bytes(author), created_ms: body.created_ms, draft })
    }

    fn check(&self) -> Result<(), Refusal> {
        self.draft.check_limits()?;
        match self.kind {
            Kind::Note if self.draft.text.trim().is_empty() => Err(Refusal::EmptyText),
            Kind::Note => Ok(()),
            Kind::Retraction => match self.draft.links.as_slice() {
                [link] if link.relation == RETRACTS && self.draft.text.is_empty() => Ok(()),
                _ => Err(Refusal::BadRetraction),
            },
        }
    }
}

impl Body {
    /// Names what an author said, whenever it was said: two grains with one fingerprint are the same words, by the same
    /// author, on the same topic, from the same document. The place in the document does not count, so that a chunk
    /// stays itself when text is put in before it.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let timeless = Self { created_ms: 0, ..self.clone() };
        let source = timeless.draft.source.map(|source| Source { ordinal: 0, ..source });
        let timeless = Self { draft: Draft { source, ..timeless.draft }, ..timeless };
        blake3::derive_key(FINGERPRINT_CONTEXT, &timeless.encode())
    }
}

impl Draft {
    /// Checks every limit on what an author may say.
    fn check_limits(&self) -> Result<(), Refusal> {
        if self.text.len() > MAX_TEXT_BYTES {
            return Err(Refusal::TextTooLong(self.text.len()));
        }
        if self.title.len() > MAX_TITLE_BYTES {
            return Err(Refusal::TitleTooLong(self.title.len()));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(Refusal::TooManyTags(self.tags.len()));
        }
        for (i, tag) in self.tags.iter().enumerate() {
            if !is_word(tag, MAX_TAG_BYTES) || self.tags[..i].contains(tag) {
                return Err(Refusal::BadTag(tag.chars().take(MAX_TAG_BYTES).collect()));
            }
        }
        let lang = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if self.lang.len() > MAX_LANG_BYTES || !self.lang.bytes().all(lang) {
            return Err(Refusal::BadLang(self.lang.chars().take(MAX_LANG_BYTES).collect()));
        }
        if self.mime.len() > MAX_MIME_BYTES || !self.mime.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(Refusal::BadMime(self.mime.chars().take(MAX_MIME_BYTES).collect()));
        }
        if self.source.as_ref().is_some_and(|source| !is_word(&source.uri, MAX_SOURCE_URI_BYTES)) {
            return Err(Refusal::BadSource);
        }
        if self.links.len() > MAX_LINKS {
            return Err(Refusal::TooManyLinks(self.links.len()));
        }
        if self.links.iter().any(|link| !is_word(&link.relation, MAX_RELATION_BYTES)) {
            return Err(Refusal::BadLink);
        }
        if self.metadata.len() > MAX_METADATA {
            return Err(Refusal::TooMuchMetadata(self.metadata.len()));
        }
        for (key, value) in &self.metadata {
            if !is_metadata(key, value) {
                return Err(Refusal::BadMetadata(key.chars().take(MAX_METADATA_KEY_BYTES).collect()));
            }
        }
        Ok(())
    }
}

/// Whether a pair of metadata is in the allowed form.
#[must_use]
pub fn is_metadata(key: &str, value: &str) -> bool {
    let of_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    (1..=MAX_METADATA_KEY_BYTES).contains(&key.len())
        && key.bytes().all(of_key)
        && value.len() <= MAX_METADATA_VALUE_BYTES
        && !value.chars().any(char::is_control)
}

/// Reads the pairs of a body. They have one order, so that the same pairs are the same bytes, and the same grain has one id.
fn read_metadata(pairs: Vec<rpc::Metadatum>) -> Result<BTreeMap<String, String>, Refusal> {
    if pairs.len() > MAX_METADATA {
        return Err(Refusal::TooMuchMetadata(pairs.len()));
    }
    if let Some(pair) = pairs.windows(2).find(|pair| pair[0].key >= pair[1].key) {
        return Err(Refusal::BadMetadata(pair[1].key.chars().take(MAX_METADATA_KEY_BYTES).collect()));
    }
    Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
}

/// Whether a short field is there, within its limit and free of control characters.
fn is_word(text: &str, max_bytes: usize) -> bool {
    !text.is_empty() && text.len() <= max_bytes && !text.chars().any(char::is_control)
}

impl From<rpc::Source> for Source {
    fn from(source: rpc::Source) -> Self {
        Self { uri: source.uri, ordinal: source.ordinal }
    }
}

impl TryFrom<rpc::Link> for Link {
    type Error = Refusal;

    fn try_from(link: rpc::Link) -> Result<Self, Refusal> {
        let target = link.target.try_into().map_err(|_| Refusal::BadLink)?;
        Ok(Self { target: GrainId::from_bytes(target), relation: link.relation })
    }
}

impl TryFrom<rpc::Draft> for Draft {
    type Error = Refusal;

    /// Reads a client's draft; an empty topic means [`crate::DEFAULT_TOPIC`].
    fn try_from(draft: rpc::Draft) -> Result<Self, Refusal> {
        let topic = if draft.topic.is_empty() { Topic::default() } else { Topic::new(draft.topic)? };
        Ok(Self {
            topic,
            text: draft.text,
            title: draft.title,
            tags: draft.tags,
            lang: draft.lang,
            mime: draft.mime,
            source: draft.source.map(Source::from),
            links: draft.links.into_iter().map(Link::try_from).collect::<Result<_, _>>()?,
            metadata: draft.metadata,
        })
    }
}

#[cfg(test)]
mod tests;
