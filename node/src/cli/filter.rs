//! The conditions that `search`, `list`, `retract` and `share` have in common. What may be one of several becomes the filter's `any`,
//! what must not be its `none`.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use synapsenet_proto::{AuthorId, Topic, is_metadata, rpc};

use super::failure::Failure;
use super::many::Meant;
use super::source;
use super::time::Moment;

/// Filters in `any` of one: as many as a node takes.
const MAX_ANY: usize = 16;

/// Every condition that is given must hold.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only this topic; give it again for several, of which one must fit
    #[arg(long, value_parser = parse_topic)]
    topic: Vec<Topic>,
    /// Not this topic; may be given again
    #[arg(long, value_name = "TOPIC", value_parser = parse_topic)]
    not_topic: Vec<Topic>,
    /// Only grains with this tag; give it again for several, which must all be there
    #[arg(long)]
    tag: Vec<String>,
    /// Only grains with this tag; give it again for several, of which one must be there
    #[arg(long, value_name = "TAG")]
    any_tag: Vec<String>,
    /// Not grains with this tag; may be given again
    #[arg(long, value_name = "TAG")]
    not_tag: Vec<String>,
    /// Only this author, 64 hexadecimal digits (`synapsenet id` shows your own); give it again for several, of which one must fit
    #[arg(long)]
    author: Vec<AuthorId>,
    /// Not this author; may be given again
    #[arg(long, value_name = "AUTHOR")]
    not_author: Vec<AuthorId>,
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
    /// A time before 1970, a range that ends before it begins, or more ways to fit the conditions than a node takes.
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
            tags: self.tag.clone(),
            any: self.any()?,
            none: self.none(),
            created_from_ms: from,
            created_before_ms: before,
            lang: self.lang.clone().unwrap_or_default(),
            source_prefix: self
                .source
                .as_deref()
                .map(|text| source::place_of(text).prefix)
                .unwrap_or_default(),
            metadata: pairs(&self.meta)?,
            ..self.only()
        })
    }

    /// What is named once, and so must hold by itself.
    fn only(&self) -> rpc::Filter {
        let mut filter = rpc::Filter::default();
        if let [topic] = &self.topic[..] {
            filter.topic = topic.to_string();
        }
        if let [author] = &self.author[..] {
            filter.author = author.to_string();
        }
        filter
    }

    /// Each way to fit what is named several times: one of the topics with one of the tags by one of the authors.
    fn any(&self) -> Result<Vec<rpc::Filter>, Failure> {
        /// Says one name of a filter.
        type Say = fn(&mut rpc::Filter, &str);
        let several = |names: Vec<String>| if names.len() > 1 { names } else { Vec::new() };
        let topics = several(self.topic.iter().map(ToString::to_string).collect());
        let authors = several(self.author.iter().map(ToString::to_string).collect());
        let mut ways = vec![rpc::Filter::default()];
        let set: [(&[String], Say); 3] = [
            (&topics, |filter, topic| filter.topic = topic.to_owned()),
            (&self.any_tag, |filter, tag| filter.tags.push(tag.to_owned())),
            (&authors, |filter, author| filter.author = author.to_owned()),
        ];
        for (names, say) in set.into_iter().filter(|(names, _)| !names.is_empty()) {
            let with = |way: rpc::Filter| {
                names.iter().map(move |name| {
                    let mut way = way.clone();
                    say(&mut way, name);
                    way
                })
            };
            // Far more than may be are not made to be counted.
            ways = ways.into_iter().flat_map(with).take(MAX_ANY + 1).collect();
        }
        if ways.len() > MAX_ANY {
            return Err(Failure::usage(
                format!(
                    "topics, tags and authors make more than {MAX_ANY} combinations of which one must fit"
                ),
                "name fewer of them, or ask in several commands",
            ));
        }
        ways.retain(|way| *way != rpc::Filter::default());
        Ok(ways)
    }

    fn none(&self) -> Vec<rpc::Filter> {
        let filter = rpc::Filter::default;
        let topics = self.not_topic.iter().map(|topic| rpc::Filter { topic: topic.to_string(), ..filter() });
        let tags = self.not_tag.iter().map(|tag| rpc::Filter { tags: vec![tag.clone()], ..filter() });
        let authors =
            self.not_author.iter().map(|author| rpc::Filter { author: author.to_string(), ..filter() });
        topics.chain(tags).chain(authors).collect()
    }
}

impl FilterArgs {
    /// The file, folder or URI of the source, as it was given.
    pub(crate) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether there is a condition.
    pub(crate) fn is_given(&self) -> bool {
        let Self {
            topic,
            not_topic,
            tag,
            any_tag,
            not_tag,
            meta,
            author,
            not_author,
            lang,
            source,
            since,
            until,
        } = self;
        let topics = !topic.is_empty() || !not_topic.is_empty();
        let tags = !tag.is_empty() || !any_tag.is_empty() || !not_tag.is_empty();
        topics
            || tags
            || !meta.is_empty()
            || !author.is_empty()
            || !not_author.is_empty()
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
    fn what_is_named_several_times_is_one_of_several_and_what_is_not_meant_is_left_out() {
        let filter = filter(&[
            "--topic",
            "a",
            "--topic",
            "b",
            "--any-tag",
            "x",
            "--any-tag",
            "y",
            "--not-tag",
            "draft",
            "--not-topic",
            "c",
        ]);
        let filter = filter.unwrap();
        let ways =
            filter.any.iter().map(|way| format!("{} {}", way.topic, way.tags.concat())).collect::<Vec<_>>();
        assert_eq!(
            (filter.topic.as_str(), ways),
            ("", ["a x", "a y", "b x", "b y"].map(str::to_owned).to_vec())
        );
        assert_eq!((filter.none.len(), &*filter.none[0].topic, &*filter.none[1].tags[0]), (2, "c", "draft"));
        let one = self::filter(&["--any-tag", "x"]).unwrap();
        assert_eq!((one.any.len(), one.any[0].tags.len()), (1, 1));
        let many: Vec<String> = (0..5).flat_map(|n| ["--any-tag".into(), n.to_string()]).collect();
        let topics: Vec<String> = (0..4).flat_map(|n| ["--topic".into(), format!("t{n}")]).collect();
        let all: Vec<&str> = many.iter().chain(&topics).map(String::as_str).collect();
        assert!(self::filter(&all).is_err(), "twenty ways");
        assert!(self::filter(&all[2..]).is_ok(), "sixteen");
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
