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

    /// What a filter means within them: one that names no topic means the only one that there is.
    ///
    /// # Errors
    /// When it names another, or none where there are several.
    pub fn narrow(&self, filter: Filter) -> Result<Filter, CallError> {
        let Some(topics) = &self.0 else { return Ok(filter) };
        match (&filter.topic, &**topics) {
            (Some(topic), _) => self.check(topic).map(|()| filter),
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
    use super::*;

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
}
