//! The conditions that `search`, `list`, `retract` and `share` have in common.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use synapsenet_proto::{AuthorId, Topic, is_metadata, rpc};

use super::failure::Failure;
use super::many::Meant;
use super::source;
use super::time::Moment;

/// Every condition that is given must hold.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only this topic
    #[arg(long, value_parser = parse_topic)]
    topic: Option<Topic>,
    /// Only grains with this tag; give it again for several, which must all be there
    #[arg(long)]
    tag: Vec<String>,
    /// Only this author, 64 hexadecimal digits (`synapsenet id` shows your own)
    #[arg(long)]
    author: Option<AuthorId>,
    /// Only grains with this metadata; give it again for several, which must all be there
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
    /// Only this language, a BCP 47 tag; "en" covers "en-GB"
    #[arg(long)]
    lang: Option<String>,
    /// Only what was taken from this file, from below this folder, or from URIs that begin so
    ///
    /// Files and folders that are gone are named as they were, a folder with a slash at its end.
    #[arg(long, value_name = "PATH|URI")]
    source: Option<String>,
    /// Only from this time on: a day (2026-11-23), a time (2026-11-23T08:00:00Z), or an age (12h, 7d, 2w)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only up to this time, a day with all of its hours
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

impl FilterArgs {
    /// The filter as a node takes it; ages count from now.
    ///
    /// # Errors
    /// A time before 1970, or a range that ends before it begins.
    pub(crate) fn to_filter(&self) -> Result<rpc::Filter, Failure> {
        let (now, zone) = (Timestamp::now(), TimeZone::system());
        let beyond = |name| {
            Failure::usage(format!("{name} is before 1970 or too far ahead"), "give a day such as 2026-11-23")
        };
        let from =
            self.since.map(|at| at.begin_ms(now, &zone).ok_or_else(|| beyond("--since"))).transpose()?;
        let before =
            self.until.map(|at| at.end_ms(now, &zone).ok_or_else(|| beyond("--until"))).transpose()?;
        if from.zip(before).is_some_and(|(from, before)| from >= before) {
            return Err(Failure::usage(
                "--until is not after --since",
                "no grain can match: exchange the two",
            ));
        }
        Ok(rpc::Filter {
            topic: self.topic.as_ref().map(ToString::to_string).unwrap_or_default(),
            tags: self.tag.clone(),
            author: self.author.as_ref().map(ToString::to_string).unwrap_or_default(),
            created_from_ms: from,
            created_before_ms: before,
            lang: self.lang.clone().unwrap_or_default(),
            source_prefix: self
                .source
                .as_deref()
                .map(|text| source::place_of(text).prefix)
                .unwrap_or_default(),
            metadata: pairs(&self.meta)?,
            ..rpc::Filter::default()
        })
    }
}

impl FilterArgs {
    /// The file, folder or URI of the source, as it was given.
    pub(crate) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether there is a condition.
    pub(crate) fn is_given(&self) -> bool {
        let Self { topic, tag, meta, author, lang, source, since, until } = self;
        topic.is_some()
            || !tag.is_empty()
            || !meta.is_empty()
            || author.is_some()
            || lang.is_some()
            || source.is_some()
            || since.is_some()
            || until.is_some()
    }

    /// The conditions for what changes grains: the path of a file means this one, not those whose paths begin so.
    ///
    /// # Errors
    /// As [`FilterArgs::to_filter`].
    pub(crate) fn to_meant(&self) -> Result<Meant, Failure> {
        let whole_source = self.source.as_deref().is_some_and(|text| source::place_of(text).is_whole);
        Ok(Meant { filter: self.to_filter()?, whole_source })
    }
}

/// A topic on the command line.
pub(crate) fn parse_topic(text: &str) -> Result<Topic, String> {
    Topic::new(text).map_err(|refusal| refusal.to_string())
}

/// A pair of metadata on the command line: `key=value`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, value)| is_metadata(key, value));
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| {
        "give KEY=VALUE: a key of at most 64 of a-z, 0-9, '_', '.' and '-', a value of at most 256 bytes"
            .into()
    })
}

/// Pairs as they go over the wire.
///
/// # Errors
/// When a key is given twice.
pub(crate) fn pairs(given: &[(String, String)]) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    for (key, value) in given {
        if pairs.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("--meta {key} is given twice"), "a key has one value"));
        }
    }
    Ok(pairs)
}

/// An id or its beginning on the command line.
pub(crate) fn parse_id(text: &str) -> Result<String, String> {
    let id = text.trim().to_ascii_lowercase();
    if (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(id)
    } else {
        Err("an id is 64 hexadecimal digits, or at least 8 that begin one".into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    fn filter(args: &[&str]) -> Result<rpc::Filter, Failure> {
        Line::try_parse_from([&["x"], args].concat()).unwrap().filter.to_filter()
    }

    #[test]
    fn conditions_reach_the_filter() {
        let author = "ab".repeat(32);
        let args = ["--topic", "t", "--tag", "a", "--tag", "b", "--author", &author, "--lang", "en"];
        let filter = filter(&args).unwrap();
        assert_eq!(
            (filter.topic.as_str(), filter.tags, filter.author),
            ("t", vec!["a".into(), "b".into()], author)
        );
        assert_eq!(filter.lang, "en");
        assert_eq!((filter.created_from_ms, filter.created_before_ms), (None, None));
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let range = filter(&["--since", "2026-11-22", "--until", "2026-11-22"]).unwrap();
        let day = range.created_before_ms.unwrap() - range.created_from_ms.unwrap();
        assert!((23..=25).contains(&(day / 3_600_000)), "one day is a range, daylight saving or not");
        assert!(filter(&["--since", "2026-11-23", "--until", "2026-11-22"]).is_err());
        assert!(filter(&["--since", "1960-01-01"]).is_err());
    }

    #[test]
    fn metadata_is_a_key_and_what_it_is_there() {
        let filter = filter(&["--meta", "app=notes", "--meta", "url=http://a/?b=c"]).unwrap();
        assert_eq!(filter.metadata["url"], "http://a/?b=c");
        assert_eq!(parse_pair("a=").unwrap(), ("a".into(), String::new()));
        for wrong in ["a", "A=b", "=b", "a b=c", "a=b\nc"] {
            assert!(parse_pair(wrong).is_err(), "{wrong}");
        }
        assert!(pairs(&[("a".into(), "1".into()), ("a".into(), "2".into())]).is_err());
    }

    #[test]
    fn an_id_has_at_least_eight_digits() {
        assert_eq!(parse_id("ABCDEF12").as_deref(), Ok("abcdef12"));
        for bad in ["abcdef1", "abcdefgh", "", &"a".repeat(65)] {
            assert!(parse_id(bad).is_err());
        }
    }

    #[test]
    fn a_bad_topic_is_a_wrong_command_line() {
        assert!(Line::try_parse_from(["x", "--topic", "Not A Topic"]).is_err());
        assert!(Line::try_parse_from(["x", "--author", "me"]).is_err());
    }
}
