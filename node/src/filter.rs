//! Which notes are meant, as clients and as peers say it.
//!
//! Clients and peers have messages of their own: a client may ask by all that is known here, a peer only by what every
//! node knows alike. What neither a grain nor a filter can hold is refused, in both.

use std::collections::BTreeMap;

use synapsenet_proto::{
    AuthorId, MAX_LANG_BYTES, MAX_METADATA, MAX_SOURCE_URI_BYTES, MAX_TAG_BYTES, MAX_TAGS, Refusal, Topic,
    is_metadata, rpc,
};
use synapsenet_storage::Filter;

use crate::composed::composed;

/// Why a message is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// The topic is not in the allowed form.
    #[error(transparent)]
    Topic(Refusal),
    /// More tags than a grain has.
    #[error("the filter has {0} tags; no grain has more than {MAX_TAGS}")]
    TooManyTags(usize),
    /// A tag that no grain has.
    #[error("a tag of the filter has {0} bytes; no tag has more than {MAX_TAG_BYTES}")]
    LongTag(usize),
    /// A client's author is not one.
    #[error("{0:?} is no author: give 64 hexadecimal digits")]
    AuthorText(String),
    /// A peer's author is not one.
    #[error("an author has 32 bytes, not {0}")]
    AuthorBytes(usize),
    /// A language that no grain has.
    #[error("the language of the filter has {0} bytes; none has more than {MAX_LANG_BYTES}")]
    LongLang(usize),
    /// More pairs of metadata than a grain has.
    #[error("the filter has {0} pairs of metadata; no grain has more than {MAX_METADATA}")]
    TooMuchMetadata(usize),
    /// A pair that no grain has.
    #[error("no grain has the metadata {0:?} with such a value: keys are of a-z, 0-9, '_', '.' and '-'")]
    BadMetadata(String),
    /// A source that no grain has.
    #[error("source_prefix is longer than any source ({MAX_SOURCE_URI_BYTES} bytes)")]
    LongSource,
}

/// Reads a client's filter. What is empty is no condition.
///
/// # Errors
/// [`FilterError`].
pub(crate) fn read_client(filter: Option<rpc::Filter>) -> Result<Filter, FilterError> {
    let filter = filter.unwrap_or_default();
    if filter.source_prefix.len() > MAX_SOURCE_URI_BYTES {
        return Err(FilterError::LongSource);
    }
    let author = given(filter.author)
        .map(|author| author.parse::<AuthorId>().map_err(|_| FilterError::AuthorText(author)));
    Ok(Filter {
        topic: topic(filter.topic)?,
        tags: tags(filter.tags)?,
        author: author.transpose()?,
        created_from_ms: filter.created_from_ms,
        created_before_ms: filter.created_before_ms,
        lang: lang(filter.lang)?,
        source_prefix: given(filter.source_prefix),
        metadata: metadata(filter.metadata)?,
        shared_only: false,
    })
}

/// Reads the filter of a peer's question. What is empty is no condition; but whatever a peer asks, it is about what may
/// leave the node.
///
/// # Errors
/// [`FilterError`].
pub(crate) fn read_peer(filter: Option<rpc::QuestionFilter>) -> Result<Filter, FilterError> {
    let filter = filter.unwrap_or_default();
    let author = match filter.author.as_slice() {
        [] => None,
        bytes => {
            let bytes = bytes.try_into().map_err(|_| FilterError::AuthorBytes(bytes.len()))?;
            Some(AuthorId::from_bytes(bytes))
        }
    };
    Ok(Filter {
        topic: topic(filter.topic)?,
        tags: tags(filter.tags)?,
        author,
        created_from_ms: filter.created_from_ms,
        created_before_ms: filter.created_before_ms,
        lang: lang(filter.lang)?,
        source_prefix: None,
        metadata: BTreeMap::new(),
        shared_only: true,
    })
}

/// Writes the filter of a question to peers. A path on this machine is nobody's business, and of metadata not every node knows: what
/// does not fit these is left out of the answers here.
pub(crate) fn write_peer(filter: &Filter) -> rpc::QuestionFilter {
    rpc::QuestionFilter {
        topic: filter.topic.as_ref().map(ToString::to_string).unwrap_or_default(),
        tags: filter.tags.clone(),
        author: filter.author.map(|author| author.as_bytes().to_vec()).unwrap_or_default(),
        created_from_ms: filter.created_from_ms,
        created_before_ms: filter.created_before_ms,
        lang: filter.lang.clone().unwrap_or_default(),
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn topic(name: String) -> Result<Option<Topic>, FilterError> {
    given(name).map(Topic::new).transpose().map_err(FilterError::Topic)
}

fn tags(tags: Vec<String>) -> Result<Vec<String>, FilterError> {
    if tags.len() > MAX_TAGS {
        return Err(FilterError::TooManyTags(tags.len()));
    }
    let tags: Vec<String> = tags.into_iter().map(composed).collect();
    match tags.iter().find(|tag| tag.len() > MAX_TAG_BYTES) {
        Some(long) => Err(FilterError::LongTag(long.len())),
        None => Ok(tags),
    }
}

fn metadata(pairs: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, FilterError> {
    if pairs.len() > MAX_METADATA {
        return Err(FilterError::TooMuchMetadata(pairs.len()));
    }
    match pairs.iter().find(|(key, value)| !is_metadata(key, value)) {
        Some((key, _)) => Err(FilterError::BadMetadata(key.chars().take(64).collect())),
        None => Ok(pairs),
    }
}

fn lang(lang: String) -> Result<Option<String>, FilterError> {
    if lang.len() > MAX_LANG_BYTES { Err(FilterError::LongLang(lang.len())) } else { Ok(given(lang)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    #[test]
    fn a_wrong_filter_of_a_client_is_refused_with_the_reason() {
        let reason = |filter| read_client(Some(filter)).unwrap_err().to_string();
        let filter = rpc::Filter::default;
        assert!(reason(rpc::Filter { topic: "No".into(), ..filter() }).contains("topic"));
        assert!(reason(rpc::Filter { author: "me".into(), ..filter() }).contains("64 hexadecimal"));
        assert!(reason(rpc::Filter { tags: vec!["t".into(); 17], ..filter() }).contains("17 tags"));
        assert!(reason(rpc::Filter { tags: vec!["t".repeat(65)], ..filter() }).contains("65 bytes"));
        assert!(reason(rpc::Filter { lang: "l".repeat(36), ..filter() }).contains("36 bytes"));
        assert!(reason(rpc::Filter { source_prefix: "s".repeat(1025), ..filter() }).contains("source"));
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let metadata = |given: &[(&str, &str)]| rpc::Filter { metadata: pairs(given), ..filter() };
        assert!(reason(metadata(&[("A", "")])).contains("\"A\""));
        assert!(reason(metadata(&[("a", "\n")])).contains("\"a\""));
        let many = (0..17).map(|n| (n.to_string(), String::new())).collect();
        assert!(reason(rpc::Filter { metadata: many, ..filter() }).contains("17 pairs"));
        assert_eq!(read_client(Some(metadata(&[("a", "1")]))).unwrap().metadata, pairs(&[("a", "1")]));
        assert!(read_client(None).unwrap().is_empty());
    }

    #[test]
    fn a_tag_is_the_same_whether_its_accents_are_composed_or_not() {
        let tags = vec!["Ku\u{308}che".to_owned()];
        let client = read_client(Some(rpc::Filter { tags: tags.clone(), ..rpc::Filter::default() })).unwrap();
        let peer = read_peer(Some(rpc::QuestionFilter { tags, ..rpc::QuestionFilter::default() })).unwrap();
        assert_eq!((client.tags, peer.tags), (vec!["Küche".to_owned()], vec!["Küche".to_owned()]));
    }

    #[test]
    fn a_wrong_filter_of_a_peer_is_refused() {
        let error = |filter| read_peer(Some(filter)).unwrap_err();
        let filter = rpc::QuestionFilter::default;
        assert!(matches!(
            error(rpc::QuestionFilter { topic: "No".into(), ..filter() }),
            FilterError::Topic(_)
        ));
        for bytes in [1, 31, 33, 64] {
            let author = vec![7; bytes];
            assert_eq!(error(rpc::QuestionFilter { author, ..filter() }), FilterError::AuthorBytes(bytes));
        }
        let tags = vec!["t".into(); 17];
        assert_eq!(error(rpc::QuestionFilter { tags, ..filter() }), FilterError::TooManyTags(17));
        let tags = vec!["t".repeat(65)];
        assert_eq!(error(rpc::QuestionFilter { tags, ..filter() }), FilterError::LongTag(65));
        let lang = "l".repeat(36);
        assert_eq!(error(rpc::QuestionFilter { lang, ..filter() }), FilterError::LongLang(36));
    }

    #[test]
    fn whatever_a_peer_asks_is_about_what_may_leave_the_node() {
        let shared = Filter { shared_only: true, ..Filter::default() };
        assert_eq!(read_peer(None), Ok(shared.clone()));
        assert_eq!(read_peer(Some(rpc::QuestionFilter::default())), Ok(shared));
    }

    proptest! {
        #[test]
        fn a_peer_reads_what_was_asked(
            topic in proptest::option::of("[a-z0-9][a-z0-9._-]{0,63}"),
            tags in proptest::collection::vec("[a-zäöü ]{1,20}", 0..=MAX_TAGS),
            author in proptest::option::of(any::<[u8; 32]>()),
            created_from_ms: Option<u64>,
            created_before_ms: Option<u64>,
            lang in proptest::option::of("[a-zA-Z0-9-]{1,35}"),
            source_prefix in proptest::option::of("[a-z/]{1,20}"),
        ) {
            let asked = Filter {
                topic: topic.map(|name| Topic::new(name).unwrap()),
                tags,
                author: author.map(AuthorId::from_bytes),
                created_from_ms,
                created_before_ms,
                lang,
                source_prefix,
                metadata: BTreeMap::new(),
                shared_only: false,
            };
            let bytes = write_peer(&asked).encode_to_vec();
            let read = read_peer(Some(rpc::QuestionFilter::decode(bytes.as_slice()).unwrap()));
            prop_assert_eq!(read, Ok(Filter { source_prefix: None, shared_only: true, ..asked }));
        }

        #[test]
        fn any_message_of_a_peer_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(filter) = rpc::QuestionFilter::decode(bytes.as_slice())
                && let Ok(read) = read_peer(Some(filter))
            {
                prop_assert!(read.shared_only && read.tags.len() <= MAX_TAGS);
            }
        }
    }
}
