//! What somebody sees and changes who is limited to topics. To such a caller there is nothing else: what lies elsewhere is answered
//! like what does not exist.

use std::sync::Arc;

use synapsenet_proto::{Grain, Topic};
use synapsenet_storage::{Filter, Record};

use crate::calls::{Call, CallError};

/// The topics that somebody is limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topics(Option<Arc<[Topic]>>);

impl Topics {
    /// All of them, also those that come.
    pub fn all() -> Self {
        Self(None)
    }

    /// These alone; none named is all of them.
    pub fn only(topics: Vec<Topic>) -> Self {
        Self((!topics.is_empty()).then(|| topics.into()))
    }

    /// Whether there are others.
    pub fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a topic is among them.
    pub fn has(&self, topic: &Topic) -> bool {
        self.0.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    /// Those that somebody is limited to; none where there is no limit.
    pub fn named(&self) -> impl Iterator<Item = &Topic> {
        self.0.iter().flat_map(|topics| topics.iter())
    }

    /// Whether what stands in a record may be seen.
    pub fn shows(&self, record: &Record) -> bool {
        self.has(record.grain.topic())
    }

    /// # Errors
    /// When there are others.
    pub(super) fn check_all(&self) -> Result<(), CallError> {
        match &self.0 {
            None => Ok(()),
            Some(topics) => Err(CallError::TopicForbidden(format!(
                "this token is limited to {}, and this call is about all that the node holds",
                named(topics)
            ))),
        }
    }

    /// # Errors
    /// When the topic is not among them.
    pub fn check(&self, topic: &Topic) -> Result<(), CallError> {
        match &self.0 {
            Some(topics) if !topics.contains(topic) => Err(CallError::TopicForbidden(format!(
                "this token is limited to {}, and this is about {topic}",
                named(topics)
            ))),
            _ => Ok(()),
        }
    }

    /// What a filter means within them: one that names no topic means the only one that there is. Whatever else it says, all that
    /// it lets through is of these topics.
    ///
    /// # Errors
    /// When it may mean others.
    pub fn narrow(&self, filter: Filter) -> Result<Filter, CallError> {
        let Some(topics) = &self.0 else { return Ok(filter) };
        match (filter.topics(), &**topics) {
            (Some(named), _) => {
                named.into_iter().try_for_each(|topic| self.check(topic))?;
                Ok(filter)
            }
            (None, [only]) => Ok(Filter { topic: Some(only.clone()), ..filter }),
            (None, _) => Err(CallError::TopicForbidden(format!(
                "this token is limited to {}: name the one that you mean",
                named(topics)
            ))),
        }
    }
}

fn named(topics: &[Topic]) -> String {
    let names: Vec<String> = topics.iter().map(ToString::to_string).collect();
    let word = if names.len() == 1 { "the topic" } else { "the topics" };
    format!("{word} {}", names.join(", "))
}

impl Call {
    /// The topics that this caller is limited to.
    pub fn topics_of_caller(&self) -> &Topics {
        &self.caller.topics
    }

    /// Refuses what would be written to a topic that the caller does not have.
    pub(in crate::calls) fn check_caller(&self, topic: &Topic) -> Result<(), CallError> {
        self.caller.topics.check(topic)
    }

    /// Refuses a grain that was sealed elsewhere and would be written, or withdraw something, outside the caller's topics. What it
    /// withdraws may lie anywhere, whatever topic it says itself.
    pub(in crate::calls) fn check_sealed(&self, grain: &Grain) -> Result<(), CallError> {
        self.check_caller(grain.topic())?;
        if grain.retracted().is_some() && self.caller.topics.is_limited() {
            let reason = "this token is limited to topics, and a sealed retraction may be about any: withdraw by the id";
            return Err(CallError::TopicForbidden(reason.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synapsenet_proto::Draft;

    use super::*;
    use crate::testing::author;

    fn topics(names: &[&str]) -> Topics {
        Topics::only(names.iter().map(|name| Topic::new(*name).unwrap()).collect())
    }

    fn about(topic: Option<&str>) -> Filter {
        Filter { topic: topic.map(|name| Topic::new(name).unwrap()), ..Filter::default() }
    }

    #[test]
    fn a_filter_means_nothing_outside_the_topics() {
        let (all, one, two) = (topics(&[]), topics(&["a"]), topics(&["a", "b"]));
        assert_eq!(all.narrow(about(None)).unwrap(), about(None));
        assert_eq!(all.narrow(about(Some("c"))).unwrap(), about(Some("c")));
        assert_eq!(one.narrow(about(None)).unwrap(), about(Some("a")));
        assert_eq!(two.narrow(about(Some("b"))).unwrap(), about(Some("b")));
        for (limited, topic) in [(&one, Some("b")), (&two, Some("c")), (&two, None)] {
            let refused = limited.narrow(about(topic)).unwrap_err();
            assert!(matches!(refused, CallError::TopicForbidden(_)));
        }
        assert!(two.narrow(about(None)).unwrap_err().to_string().contains("a, b"));
    }
    /// A filter as a caller may make it, with others in it.
    fn any_filter() -> impl Strategy<Value = Filter> {
        let plain = || {
            let topic = proptest::sample::select(vec![None, Some("a"), Some("b"), Some("c")]);
            let tags = proptest::sample::subsequence(vec!["x", "y"], 0..=2);
            (topic, tags).prop_map(|(topic, tags)| Filter {
                tags: tags.into_iter().map(str::to_owned).collect(),
                ..about(topic)
            })
        };
        let some = move || proptest::collection::vec(plain(), 0..4);
        (plain(), some(), some()).prop_map(|(filter, any, none)| Filter { any, none, ..filter })
    }

    proptest! {
        #[test]
        fn whatever_a_caller_says_it_sees_nothing_of_other_topics(
            filter in any_filter(),
            limits in proptest::sample::subsequence(vec!["a", "b"], 1..=2),
            topic in proptest::sample::select(vec!["a", "b", "c"]),
            tags in proptest::sample::subsequence(vec!["x", "y"], 0..=2),
        ) {
            let limited = topics(&limits);
            let draft = Draft {
                topic: Topic::new(topic).unwrap(),
                tags: tags.into_iter().map(str::to_owned).collect(),
                text: "text".into(),
                ..Draft::default()
            };
            let grain = Grain::seal(draft, &author(1), 1).unwrap();
            if let Ok(narrowed) = limited.narrow(filter.clone()) {
                prop_assert!(!narrowed.fits(&grain) || limited.has(grain.topic()));
                // And nothing of its own is hidden from it that it asked for.
                prop_assert_eq!(narrowed.fits(&grain), filter.fits(&grain) && limited.has(grain.topic()));
            }
        }
    }

    #[test]
    fn several_topics_of_a_token_can_be_asked_at_once() {
        let any = |names: &[&str]| Filter {
            any: names.iter().map(|name| about(Some(name))).collect(),
            ..Filter::default()
        };
        let two = topics(&["a", "b"]);
        assert_eq!(two.narrow(any(&["a", "b"])).unwrap(), any(&["a", "b"]));
        assert!(matches!(two.narrow(any(&["a", "c"])), Err(CallError::TopicForbidden(_))));
        let tagged = Filter { tags: vec!["x".into()], ..Filter::default() };
        let either = Filter { any: vec![about(Some("a")), tagged], ..Filter::default() };
        assert!(two.narrow(either.clone()).is_err(), "what has the tag may be of any topic");
        let one = topics(&["a"]).narrow(either).unwrap();
        assert_eq!(one.topic, about(Some("a")).topic, "and is of this one alone where there is one");
    }
}
