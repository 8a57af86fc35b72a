//! Which notes are meant, and which page of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use synapsenet_proto::{AuthorId, Grain, Kind, Topic};

use crate::{Record, Slot};

/// Which notes are meant: those that fit everything that is said here. The default says nothing and lets all through. "(of topic a or
/// b) and without the tag x" is `{any: [{topic: a}, {topic: b}], none: [{tags: [x]}]}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this topic.
    pub topic: Option<Topic>,
    /// With each of these tags, in exactly this spelling.
    pub tags: Vec<String>,
    /// By this author.
    pub author: Option<AuthorId>,
    /// Sealed at or after this time, in milliseconds since 1970-01-01 UTC.
    pub created_from_ms: Option<u64>,
    /// Sealed before this time, in milliseconds since 1970-01-01 UTC.
    pub created_before_ms: Option<u64>,
    /// In this language. "en" also lets "en-GB" through, not the other way round; the case of letters does not count.
    pub lang: Option<String>,
    /// Taken from a source whose URI begins so.
    pub source_prefix: Option<String>,
    /// With each of these keys, and this very value.
    pub metadata: BTreeMap<String, String>,
    /// That may leave the node.
    pub shared_only: bool,
    /// And fit at least one of these, where there are any.
    pub any: Vec<Filter>,
    /// And fit none of these.
    pub none: Vec<Filter>,
}

impl Filter {
    /// Whether it says nothing, so that all notes fit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a note fits that need not be stored here. Whether it may leave the node is not asked.
    #[must_use]
    pub fn fits(&self, grain: &Grain) -> bool {
        let uri = grain.body().draft.source.as_ref().map(|source| source.uri.as_str());
        grain.kind() == Kind::Note && self.fits_read(grain, uri, true)
    }

    /// Whether a grain fits that was read, a retraction too, whose source is called so by now.
    pub(crate) fn fits_read(&self, grain: &Grain, uri: Option<&str>, is_shared: bool) -> bool {
        let draft = &grain.body().draft;
        (is_shared || !self.shared_only)
            && self.fits_time(grain.created_ms())
            && self.fits_lang(&draft.lang.to_ascii_lowercase())
            && self.topic.as_ref().is_none_or(|topic| topic == grain.topic())
            && self.author.is_none_or(|author| author == grain.author())
            && self.tags.iter().all(|tag| draft.tags.contains(tag))
            && self.metadata.iter().all(|(key, value)| draft.metadata.get(key) == Some(value))
            && self.source_prefix.as_ref().is_none_or(|prefix| uri.is_some_and(|uri| uri.starts_with(prefix)))
            && self.fits_others(grain, uri, is_shared)
    }

    /// Whether a grain fits as far as the filters in this one go.
    pub(crate) fn fits_others(&self, grain: &Grain, uri: Option<&str>, is_shared: bool) -> bool {
        let fits = |other: &Self| other.fits_read(grain, uri, is_shared);
        (self.any.is_empty() || self.any.iter().any(fits)) && !self.none.iter().any(fits)
    }

    /// The topics that it stays within: what fits is of one of these. None where it may be of any.
    #[must_use]
    pub fn topics(&self) -> Option<BTreeSet<&Topic>> {
        if let Some(topic) = &self.topic {
            return Some(BTreeSet::from([topic]));
        }
        let of_any: Option<Vec<_>> = self.any.iter().map(Self::topics).collect();
        of_any.filter(|of_any| !of_any.is_empty()).map(|of_any| of_any.into_iter().flatten().collect())
    }

    /// The times that it lets through, as `from..before`.
    pub(crate) fn times(&self) -> (u64, Option<u64>) {
        (self.created_from_ms.unwrap_or(0), self.created_before_ms)
    }

    /// Whether a grain of this time fits as far as time goes.
    pub(crate) fn fits_time(&self, created_ms: u64) -> bool {
        let (from, before) = self.times();
        created_ms >= from && before.is_none_or(|before| created_ms < before)
    }

    /// Whether a grain of this language, in lower case, fits as far as language goes.
    pub(crate) fn fits_lang(&self, lang: &str) -> bool {
        self.lang.as_ref().is_none_or(|wanted| lang_covers(&wanted.to_ascii_lowercase(), lang))
    }
}

/// Whether the language range `wanted` covers `lang` (RFC 4647, section 3.3.1), both in lower case.
pub(crate) fn lang_covers(wanted: &str, lang: &str) -> bool {
    lang.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// What [`crate::View::select`] found about a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The filter says nothing: every searchable note is meant.
    All,
    /// These searchable notes are meant, all of them, in no particular order.
    Few(Vec<Slot>),
    /// More searchable notes are meant than were to be counted.
    Many,
}

/// Which page of which grains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// The notes that are meant.
    pub filter: Filter,
    /// Where the page before this one ended; none for the first page.
    pub after: Option<Position>,
    /// How many records the page may have.
    pub limit: usize,
    /// How many bytes the signed grains on the page may have together; none sets no limit. The first grain is on the page
    /// however large it is.
    pub max_bytes: Option<usize>,
    /// Whether retractions are listed too. They have no tags, language or source, and a filter on these leaves them out.
    pub with_retractions: bool,
}

/// Some grains, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most as many as were asked for.
    pub records: Vec<Record>,
    /// Where the next page begins; none when this one is the last.
    pub next: Option<Position>,
}

/// Where a page ended: the grain that it showed last. As text it is 33 characters, whose meaning is this crate's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub(crate) created_ms: u64,
    pub(crate) slot: Slot,
}

/// A text is no [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no page token: use the one that came with the page before")]
pub struct BadPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.created_ms, self.slot)
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (created, slot) = text.split_once('-').ok_or(BadPosition)?;
        let number = |digits: &str| {
            let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten().ok_or(BadPosition)
        };
        Ok(Self { created_ms: number(created)?, slot: number(slot)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_covers_its_regions_and_nothing_else() {
        assert!(lang_covers("en", "en") && lang_covers("en", "en-gb"));
        assert!(!lang_covers("en-gb", "en") && !lang_covers("en", "eng") && !lang_covers("en", ""));
    }

    #[test]
    fn a_position_reads_back_from_its_text() {
        let position = Position { created_ms: 1_700_000_000_000, slot: 7 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "-", "1-2", "+000000000000001-0000000000000001", "ä"] {
            assert_eq!(bad.parse::<Position>(), Err(BadPosition));
        }
    }

    #[test]
    fn a_filter_stays_within_topics_only_where_each_way_to_fit_it_names_one() {
        let of = |name: &str| Filter { topic: Some(Topic::new(name).unwrap()), ..Filter::default() };
        let any = |any: &[Filter]| Filter { any: any.to_vec(), ..Filter::default() };
        let names =
            |filter: &Filter| filter.topics().map(|topics| topics.into_iter().cloned().collect::<Vec<_>>());
        let topics =
            |names: &[&str]| Some(names.iter().map(|name| Topic::new(*name).unwrap()).collect::<Vec<_>>());
        assert_eq!(names(&of("a")), topics(&["a"]));
        assert_eq!(names(&any(&[of("b"), of("a")])), topics(&["a", "b"]));
        assert_eq!(names(&Filter { any: vec![of("b")], ..of("a") }), topics(&["a"]), "both must hold");
        let tagged = Filter { tags: vec!["x".into()], ..Filter::default() };
        assert_eq!(names(&any(&[of("a"), tagged])), None, "what has the tag may be of any topic");
        assert_eq!(names(&Filter { none: vec![of("a")], ..Filter::default() }), None);
        assert_eq!(names(&Filter::default()), None);
    }

    #[test]
    fn only_a_filter_that_says_nothing_is_empty() {
        assert!(Filter::default().is_empty());
        assert!(!Filter { lang: Some(String::new()), ..Filter::default() }.is_empty());
    }
}
