//! Why a grain is refused: a status to a client, a verdict and a counter to a peer.

use crate::AuthorId;
use crate::grain::{
    MAX_GRAIN_BYTES, MAX_LANG_BYTES, MAX_LINKS, MAX_METADATA, MAX_METADATA_KEY_BYTES,
    MAX_METADATA_VALUE_BYTES, MAX_MIME_BYTES, MAX_RELATION_BYTES, MAX_SOURCE_URI_BYTES, MAX_TAG_BYTES,
    MAX_TAGS, MAX_TEXT_BYTES, MAX_TITLE_BYTES,
};

/// Why bytes are no grain, or a draft cannot become one, or a grain may not come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no protobuf message of the expected shape.
    #[error("the bytes are not a grain: {0}")]
    Malformed(&'static str),
    /// The announcement is not encoded in the one way that its parts have.
    #[error(
        "the announcement is not in its canonical form: fields in order, each once, none that is unknown"
    )]
    NotCanonical,
    /// The encoded grain is over [`MAX_GRAIN_BYTES`].
    #[error("the grain has {0} bytes; at most {MAX_GRAIN_BYTES} are allowed: split its text")]
    TooLarge(usize),
    /// The body was made by rules that this program does not know.
    #[error("the grain has version {0} and this program reads version 1: update it")]
    UnknownVersion(u32),
    /// The kind is none of those known.
    #[error("the grain's kind {0} is unknown")]
    UnknownKind(i32),
    /// The author's key is not a usable ed25519 public key.
    #[error("the author is not an ed25519 public key")]
    BadAuthor,
    /// The signature does not fit the body and its author.
    #[error("the signature does not fit the author and the body")]
    BadSignature,
    /// The topic is not in the allowed form.
    #[error(
        "the topic {0:?} is not valid: 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
    )]
    BadTopic(String),
    /// A note without text.
    #[error("the text is empty: a note needs at least one character that is not white space")]
    EmptyText,
    /// The text is over [`MAX_TEXT_BYTES`].
    #[error(
        "the text has {0} bytes; at most {MAX_TEXT_BYTES} are allowed: add it as a document to have it split"
    )]
    TextTooLong(usize),
    /// The title is over [`MAX_TITLE_BYTES`].
    #[error("the title has {0} bytes; at most {MAX_TITLE_BYTES} are allowed")]
    TitleTooLong(usize),
    /// More than [`MAX_TAGS`] tags.
    #[error("there are {0} tags; at most {MAX_TAGS} are allowed")]
    TooManyTags(usize),
    /// A tag is empty, too long, has control characters, or stands twice.
    #[error("the tag {0:?} is not valid: 1 to {MAX_TAG_BYTES} bytes, no control characters, each tag once")]
    BadTag(String),
    /// The language is no BCP 47 tag.
    #[error("the language {0:?} is not a BCP 47 tag of at most {MAX_LANG_BYTES} bytes, such as \"en\"")]
    BadLang(String),
    /// The media type is too long or has characters that none has.
    #[error("the media type {0:?} is not valid: at most {MAX_MIME_BYTES} visible ASCII characters")]
    BadMime(String),
    /// The source's URI is empty, too long or has control characters.
    #[error("the source URI is not valid: 1 to {MAX_SOURCE_URI_BYTES} bytes, no control characters")]
    BadSource,
    /// More than [`MAX_LINKS`] links.
    #[error("there are {0} links; at most {MAX_LINKS} are allowed")]
    TooManyLinks(usize),
    /// A link's target is not 32 bytes or its relation is empty, too long or has control characters.
    #[error(
        "a link is not valid: it needs an id of 32 bytes and a relation of 1 to {MAX_RELATION_BYTES} bytes"
    )]
    BadLink,
    /// More than [`MAX_METADATA`] pairs of metadata.
    #[error("there are {0} pairs of metadata; at most {MAX_METADATA} are allowed")]
    TooMuchMetadata(usize),
    /// A key of metadata or its value is not in the allowed form, or the keys are not in order, each once.
    #[error(
        "the metadata {0:?} is not valid: a key is 1 to {MAX_METADATA_KEY_BYTES} of a-z, 0-9, '_', '.' and '-', a value at most {MAX_METADATA_VALUE_BYTES} bytes without control characters"
    )]
    BadMetadata(String),
    /// A retraction that is not exactly one link "retracts" without a text.
    #[error("a retraction has no text and exactly one link, with the relation \"retracts\"")]
    BadRetraction,
    /// A vector claim that is malformed or not signed by the grain's author.
    #[error("the vector claim is not well-formed or not signed by the grain's author")]
    BadClaim,
    /// The author withdrew this grain earlier.
    #[error("its author withdrew this grain")]
    Retracted,
    /// The node's clock and the grain's disagree too much.
    #[error(
        "the grain is dated {0} ms ahead of this node's clock: set the clock of the machine that sealed it"
    )]
    FromTheFuture(u64),
    /// The node holds as many grains as its index may.
    #[error("the node holds {0} grains, as many as storage.hnsw_max_elements allows: raise it and restart")]
    NodeFull(u64),
    /// The share of strangers is full, and this grain is older than all of theirs that are held.
    #[error(
        "the share of strangers is full, and this grain is older than what is held of them: raise storage.hnsw_max_elements or storage.quota_bytes, or follow its author"
    )]
    StrangersFull,
    /// Its author brought as much today as one stranger may.
    #[error("its author brought as much today as a stranger may: follow it to take more")]
    AuthorOverBudget,
    /// The peer brought as much today as one may.
    #[error("the peer brought as much of strangers today as a peer may")]
    PeerOverBudget,
    /// The owner of this node blocks the author.
    #[error("its author is blocked here")]
    Blocked,
    /// The topic does not take grains of this author.
    #[error("its topic takes no grains of this author here")]
    NotListed,
    /// The owner of this node forgot the grain.
    #[error("this grain was forgotten here")]
    Forgotten,
    /// A retraction by an author of whom nothing is held.
    #[error("the retraction withdraws nothing: nothing of its author is held here")]
    IdleRetraction(AuthorId),
    /// A retraction of what another wrote.
    #[error("the retraction withdraws nothing: another wrote what it names")]
    ForeignRetraction,
}

impl Refusal {
    /// The reason as a metric label: a short snake_case word, one of a fixed set.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NotCanonical => "not_canonical",
            Self::TooLarge(_) => "too_large",
            Self::UnknownVersion(_) => "unknown_version",
            Self::UnknownKind(_) => "unknown_kind",
            Self::BadAuthor => "bad_author",
            Self::BadSignature => "bad_signature",
            Self::BadTopic(_) => "bad_topic",
            Self::EmptyText => "empty_text",
            Self::TextTooLong(_) => "text_too_long",
            Self::TitleTooLong(_) => "title_too_long",
            Self::TooManyTags(_) => "too_many_tags",
            Self::BadTag(_) => "bad_tag",
            Self::BadLang(_) => "bad_lang",
            Self::BadMime(_) => "bad_mime",
            Self::BadSource => "bad_source",
            Self::TooManyLinks(_) => "too_many_links",
            Self::BadLink => "bad_link",
            Self::TooMuchMetadata(_) => "too_much_metadata",
            Self::BadMetadata(_) => "bad_metadata",
            Self::BadRetraction => "bad_retraction",
            Self::BadClaim => "bad_claim",
            Self::Retracted => "retracted",
            Self::FromTheFuture(_) => "from_the_future",
            Self::NodeFull(_) => "node_full",
            Self::StrangersFull => "strangers_full",
            Self::AuthorOverBudget => "author_over_budget",
            Self::PeerOverBudget => "peer_over_budget",
            Self::Blocked => "blocked",
            Self::NotListed => "not_listed",
            Self::Forgotten => "forgotten",
            Self::IdleRetraction(_) => "idle_retraction",
            Self::ForeignRetraction => "foreign_retraction",
        }
    }
}
