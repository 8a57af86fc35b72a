//! Which notes are meant, as clients and as peers say it.
//!
//! Clients and peers have messages of their own: a client may ask by all that is known here, a peer only by what every
//! node knows alike. What neither a grain nor a filter can hold is refused, in both. A filter may name others, of which any or
//! none must fit; these name no more, so that what a filter costs is bounded, and everybody sees what it means.

use std::collections::BTreeMap;

use synapsenet_proto::{
    AuthorId, MAX_LANG_BYTES, MAX_METADATA, MAX_SOURCE_URI_BYTES, MAX_TAG_BYTES, MAX_TAGS, Refusal, Topic,
    is_metadata, rpc,
};
use synapsenet_storage::Filter;

use crate::composed::composed;

/// Filters in `any` of one, and in `none`.
pub(crate) const MAX_OTHERS: usize = 16;
/// Conditions of all these together: a note is held against each of them in memory.
pub(crate) const MAX_CONDITIONS: usize = 64;

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
    /// More filters in a list than there may be.
    #[error("{list} has {count} filters; at most {MAX_OTHERS} are allowed")]
    TooManyOthers {
        /// `any` or `none`.
        list: &'static str,
        count: usize,
    },
    /// More conditions in these than there may be.
    #[error("there are {0} conditions in any and none; at most {MAX_CONDITIONS} are allowed")]
    TooManyConditions(usize),
    /// One of these without a condition.
    #[error("it says nothing, and would mean every note: leave it out")]
    SaysNothing,
    /// One of these that names others.
    #[error("a filter in any or none names no others: say it as one more of them")]
    TooDeep,
    /// What is wrong with one of these.
    #[error("{list}[{place}]: {error}")]
    In {
        /// `any` or `none`.
        list: &'static str,
        /// Counted from 0.
        place: usize,
        error: Box<Self>,
    },
}

impl FilterError {
    /// The field of the message that is wrong, from the filter on: `any[2].tags`.
    pub fn field(&self) -> String {
        match self {
            Self::Topic(_) => "topic".to_owned(),
            Self::TooManyTags(_) | Self::LongTag(_) => "tags".to_owned(),
            Self::AuthorText(_) | Self::AuthorBytes(_) => "author".to_owned(),
            Self::LongLang(_) => "lang".to_owned(),
            Self::LongSource => "source_prefix".to_owned(),
            Self::TooMuchMetadata(_) | Self::BadMetadata(_) => "metadata".to_owned(),
            Self::TooManyOthers { list, .. } => (*list).to_owned(),
            Self::TooManyConditions(_) => "any".to_owned(),
            Self::SaysNothing | Self::TooDeep => String::new(),
            Self::In { list, place, error } => match error.field() {
                inner if inner.is_empty() => format!("{list}[{place}]"),
                inner => format!("{list}[{place}].{inner}"),
            },
        }
    }
}

/// Reads a client's filter. What is empty is no condition.
///
/// # Errors
/// [`FilterError`].
pub(crate) fn read_client(filter: Option<rpc::Filter>) -> Result<Filter, FilterError> {
    let mut filter = filter.unwrap_or_default();
    let (any, none) = (std::mem::take(&mut filter.any), std::mem::take(&mut filter.none));
    let other = |other: rpc::Filter| match other.any.is_empty() && other.none.is_empty() {
        true => plain_of_client(other),
        false => Err(FilterError::TooDeep),
    };
    with_others(plain_of_client(filter)?, (any, none), other)
}

fn plain_of_client(filter: rpc::Filter) -> Result<Filter, FilterError> {
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
        ..Filter::default()
    })
}

/// Reads the filter of a peer's question. What is empty is no condition; but whatever a peer asks, it is about what may
/// leave the node.
///
/// # Errors
/// [`FilterError`].
pub(crate) fn read_peer(filter: Option<rpc::QuestionFilter>) -> Result<Filter, FilterError> {
    let mut filter = filter.unwrap_or_default();
    let (any, none) = (std::mem::take(&mut filter.any), std::mem::take(&mut filter.none));
    let other = |other: rpc::QuestionFilter| match other.any.is_empty() && other.none.is_empty() {
        true => plain_of_peer(other),
        false => Err(FilterError::TooDeep),
    };
    with_others(Filter { shared_only: true, ..plain_of_peer(filter)? }, (any, none), other)
}

fn plain_of_peer(filter: rpc::QuestionFilter) -> Result<Filter, FilterError> {
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
        ..Filter::default()
    })
}

/// A filter with those that it names.
fn with_others<M>(
    filter: Filter,
    (any, none): (Vec<M>, Vec<M>),
    read: impl Fn(M) -> Result<Filter, FilterError>,
) -> Result<Filter, FilterError> {
    let read_all = |list, messages: Vec<M>| {
        if messages.len() > MAX_OTHERS {
            return Err(FilterError::TooManyOthers { list, count: messages.len() });
        }
        let one = |(place, message)| match read(message) {
            Ok(other) if other.is_empty() => Err((place, FilterError::SaysNothing)),
            other => other.map_err(|error| (place, error)),
        };
        let others: Result<Vec<Filter>, _> = messages.into_iter().enumerate().map(one).collect();
        others.map_err(|(place, error)| FilterError::In { list, place, error: Box::new(error) })
    };
    let (any, none) = (read_all("any", any)?, read_all("none", none)?);
    let conditions = any.iter().chain(&none).map(conditions).sum();
    match conditions <= MAX_CONDITIONS {
        true => Ok(Filter { any, none, ..filter }),
        false => Err(FilterError::TooManyConditions(conditions)),
    }
}

/// How many things a filter says by itself.
fn conditions(filter: &Filter) -> usize {
    let of_time = [filter.created_from_ms, filter.created_before_ms].iter().flatten().count();
    let others = [
        filter.topic.is_some(),
        filter.author.is_some(),
        filter.lang.is_some(),
        filter.source_prefix.is_some(),
    ];
    filter.tags.len() + filter.metadata.len() + of_time + others.iter().filter(|&&is_said| is_said).count()
}

/// Writes the filter of a question to peers. A path on this machine is nobody's business, and of metadata not every node knows: what
/// does not fit these is left out of the answers here. So peers are asked for all that fits, and for more.
pub(crate) fn write_peer(filter: &Filter) -> rpc::QuestionFilter {
    let tells_all = |other: &&Filter| other.source_prefix.is_none() && other.metadata.is_empty();
    let any: Vec<_> = filter.any.iter().map(plain_to_peer).collect();
    // Without its path or metadata, one may say nothing: then any note would do.
    let any = if any.contains(&rpc::QuestionFilter::default()) { Vec::new() } else { any };
    // Without these, one would forbid what it does not.
    let none = filter.none.iter().filter(tells_all).map(plain_to_peer).collect();
    rpc::QuestionFilter { any, none, ..plain_to_peer(filter) }
}

fn plain_to_peer(filter: &Filter) -> rpc::QuestionFilter {
    rpc::QuestionFilter {
        topic: filter.topic.as_ref().map(ToString::to_string).unwrap_or_default(),
        tags: filter.tags.clone(),
        author: filter.author.map(|author| author.as_bytes().to_vec()).unwrap_or_default(),
        created_from_ms: filter.created_from_ms,
        created_before_ms: filter.created_before_ms,
        lang: filter.lang.clone().unwrap_or_default(),
        any: Vec::new(),
        none: Vec::new(),
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

    use synapsenet_proto::{Draft, Grain, Source};

    use super::*;
    use crate::testing::author;

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

    /// What a client may say by itself.
    fn plain() -> impl Strategy<Value = rpc::Filter> {
        let of = |names: &'static [&'static str]| proptest::sample::select(names).prop_map(str::to_owned);
        (
            of(&["", "", "a", "b"]),
            proptest::sample::subsequence(vec!["x".to_owned(), "y".to_owned()], 0..=2),
            proptest::sample::select(vec![0_u8, 0, 1, 2]),
            of(&["", "", "en", "de"]),
            of(&["", "", "file:"]),
            proptest::option::weighted(0.2, 1_u64..4),
        )
            .prop_map(|(topic, tags, by, lang, source_prefix, created_from_ms)| rpc::Filter {
                topic,
                tags,
                author: if by == 0 { String::new() } else { author(by).author().to_string() },
                lang,
                source_prefix,
                created_from_ms,
                ..rpc::Filter::default()
            })
    }

    fn said() -> impl Strategy<Value = rpc::Filter> {
        let some = || proptest::collection::vec(plain(), 0..3);
        (plain(), some(), some()).prop_map(|(filter, any, none)| rpc::Filter { any, none, ..filter })
    }

    fn a_note() -> impl Strategy<Value = Grain> {
        let name = |names: &'static [&'static str]| proptest::sample::select(names);
        (
            name(&["a", "b"]),
            proptest::sample::subsequence(vec!["x", "y"], 0..=2),
            1_u8..3,
            name(&["", "en", "en-GB", "de"]),
            any::<bool>(),
            1_u64..4,
        )
            .prop_map(|(topic, tags, by, lang, of_file, created_ms)| {
                let draft = Draft {
                    topic: Topic::new(topic).unwrap(),
                    tags: tags.into_iter().map(str::to_owned).collect(),
                    lang: lang.to_owned(),
                    source: of_file.then(|| Source { uri: "file:notes".into(), ordinal: 0 }),
                    text: "text".into(),
                    ..Draft::default()
                };
                Grain::seal(draft, &author(by), created_ms).unwrap()
            })
    }

    /// What a message says of a note, read by the words of the schema alone.
    fn says(filter: &rpc::Filter, grain: &Grain) -> bool {
        let draft = &grain.body().draft;
        let uri = draft.source.as_ref().map_or("", |source| source.uri.as_str());
        let all = [
            filter.topic.is_empty() || filter.topic == draft.topic.as_str(),
            filter.tags.iter().all(|tag| draft.tags.contains(tag)),
            filter.author.is_empty() || filter.author == grain.author().to_string(),
            filter.lang.is_empty() || draft.lang.split('-').next() == Some(&filter.lang),
            uri.starts_with(&filter.source_prefix),
            filter.created_from_ms.is_none_or(|from| grain.created_ms() >= from),
        ];
        all.iter().all(|&is_so| is_so)
            && (filter.any.is_empty() || filter.any.iter().any(|other| says(other, grain)))
            && !filter.none.iter().any(|other| says(other, grain))
    }

    #[test]
    fn one_topic_or_another_without_a_tag_and_not_by_an_author() {
        let of = |topic: &str| rpc::Filter { topic: topic.into(), ..rpc::Filter::default() };
        let tagged = rpc::Filter { tags: vec!["x".into()], ..rpc::Filter::default() };
        let by = rpc::Filter { author: author(2).author().to_string(), ..rpc::Filter::default() };
        let (any, none) = (vec![of("a"), of("b")], vec![tagged, by]);
        let filter = read_client(Some(rpc::Filter { any, none, ..rpc::Filter::default() })).unwrap();
        let note = |topic: &str, tags: &[&str], by: u8| {
            let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
            let draft =
                Draft { topic: Topic::new(topic).unwrap(), tags, text: "t".into(), ..Draft::default() };
            Grain::seal(draft, &author(by), 1).unwrap()
        };
        assert!(filter.fits(&note("a", &[], 1)) && filter.fits(&note("b", &["y"], 1)));
        assert!(!filter.fits(&note("c", &[], 1)), "of neither topic");
        assert!(!filter.fits(&note("a", &["x"], 1)) && !filter.fits(&note("a", &[], 2)));
    }

    #[test]
    fn filters_in_a_filter_are_bounded_and_say_something() {
        let refused = |any: Vec<rpc::Filter>, none: Vec<rpc::Filter>| {
            let error = read_client(Some(rpc::Filter { any, none, ..rpc::Filter::default() })).unwrap_err();
            (error.field(), error.to_string())
        };
        let of = |topic: &str| rpc::Filter { topic: topic.into(), ..rpc::Filter::default() };
        let (field, words) = refused(vec![of("a"); 17], vec![]);
        assert!(field == "any" && words.contains("17 filters"), "{field} {words}");
        let tagged = rpc::Filter { tags: vec!["t".into(); 16], ..rpc::Filter::default() };
        assert!(refused(vec![], vec![tagged.clone(); 5]).1.contains("80 conditions"));
        assert_eq!(refused(vec![], vec![of("a"), of("No")]).0, "none[1].topic");
        let (field, words) = refused(vec![rpc::Filter::default()], vec![]);
        assert!(field == "any[0]" && words.contains("any[0]: it says nothing"), "{field} {words}");
        let deep = rpc::Filter { any: vec![of("a")], ..of("b") };
        assert!(refused(vec![of("a"), deep], vec![]).1.contains("names no others"));
        let most = rpc::Filter { none: vec![tagged; 4], ..rpc::Filter::default() };
        assert!(read_client(Some(most)).is_ok());
    }

    proptest! {
        #[test]
        fn a_filter_means_what_its_message_says(said in said(), grain in a_note()) {
            match read_client(Some(said.clone())) {
                Ok(filter) => prop_assert_eq!(filter.fits(&grain), says(&said, &grain)),
                Err(FilterError::In { error, .. }) => prop_assert_eq!(*error, FilterError::SaysNothing),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }

        #[test]
        fn peers_are_asked_for_all_that_fits(said in said(), grain in a_note()) {
            if let Ok(filter) = read_client(Some(said)) {
                let told = rpc::QuestionFilter::decode(write_peer(&filter).encode_to_vec().as_slice());
                let read = read_peer(Some(told.unwrap())).unwrap();
                prop_assert!(!filter.fits(&grain) || read.fits(&grain));
            }
        }

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
                ..Filter::default()
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
                prop_assert!(read.any.iter().chain(&read.none).map(conditions).sum::<usize>() <= MAX_CONDITIONS);
            }
        }
    }
}
