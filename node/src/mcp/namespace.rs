//! What of the node an agent is about, by the configuration of its owner and not by the agent's choice. It keeps agents apart that
//! share a node; what somebody may see and change is for tokens to say.

use synapsenet_proto::rpc;

use super::arguments::Which;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// The topic and tags of an agent: what it looks for has them, and what it puts gets them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// None where the agent may name one.
    pub topic: Option<String>,
    /// Beside those that the agent names.
    pub tags: Vec<String>,
}

impl Namespace {
    /// The topic of what is meant.
    ///
    /// # Errors
    /// When the agent names another than its own.
    pub fn topic(&self, named: Option<String>) -> Result<String, String> {
        match (&self.topic, named) {
            (Some(own), Some(named)) if *own != named => {
                Err(format!("this connection is about the topic {own} alone: leave the topic out"))
            }
            (Some(own), _) => Ok(own.clone()),
            (None, named) => Ok(named.unwrap_or_default()),
        }
    }

    /// The tags of what is meant.
    pub fn tags(&self, named: Vec<String>) -> Vec<String> {
        let mut tags = self.tags.clone();
        for tag in named {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }

    /// A filter for what is asked at this time.
    ///
    /// # Errors
    /// As [`Namespace::topic`].
    pub fn filter(&self, which: Which, now_ms: u64) -> Result<rpc::Filter, String> {
        let without = |tag| rpc::Filter { tags: vec![tag], ..rpc::Filter::default() };
        let since = |days: u64| now_ms.saturating_sub(days.saturating_mul(DAY_MS));
        Ok(rpc::Filter {
            topic: self.topic(which.topic)?,
            tags: self.tags(which.tags),
            created_from_ms: which.days.map(since),
            // Beside what must hold: it can take away from the namespace alone.
            none: which.not_tags.into_iter().map(without).collect(),
            ..rpc::Filter::default()
        })
    }

    /// Whether a grain lies in it.
    pub fn holds(&self, grain: &rpc::Grain) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == grain.topic)
            && self.tags.iter().all(|tag| grain.tags.contains(tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synapsenet_proto::{Draft, Grain, Topic};

    use super::*;
    use crate::filter;
    use crate::testing::author;

    fn own() -> Namespace {
        Namespace { topic: Some("notes".into()), tags: vec!["agent".into()] }
    }

    #[test]
    fn what_is_asked_stays_in_the_namespace() {
        let (tags, not_tags) = (vec!["x".into(), "agent".into()], vec!["draft".into()]);
        let which = Which { topic: None, tags, not_tags, days: Some(1) };
        let filter = own().filter(which, DAY_MS + 5).unwrap();
        assert!(filter.any.is_empty() && filter.none[0].tags == ["draft"]);
        assert_eq!((filter.topic.as_str(), filter.created_from_ms), ("notes", Some(5)));
        assert_eq!(filter.tags, ["agent", "x"]);
        let other = Which { topic: Some("other".into()), ..Which::default() };
        assert!(own().filter(other, 0).unwrap_err().contains("notes alone"));
        let free = Which { topic: Some("other".into()), ..Which::default() };
        assert_eq!(Namespace::default().filter(free, 0).unwrap().topic, "other");
    }

    proptest! {
        #[test]
        fn nothing_outside_it_is_let_through_whatever_the_agent_names(
            named in proptest::option::of(proptest::sample::select(vec!["notes", "other"])),
            tags in proptest::sample::subsequence(vec!["x", "agent"], 0..=2),
            not_tags in proptest::sample::subsequence(vec!["x", "agent", "y"], 0..=3),
            topic in proptest::sample::select(vec!["notes", "other"]),
            there in proptest::sample::subsequence(vec!["x", "agent", "y"], 0..=3),
        ) {
            let all = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let (topic, tagged) = (Topic::new(topic).unwrap(), all(there));
            let draft = Draft { topic, tags: tagged, text: "text".into(), ..Draft::default() };
            let grain = Grain::seal(draft, &author(1), 1).unwrap();
            let message = rpc::Grain {
                topic: grain.topic().to_string(),
                tags: grain.body().draft.tags.clone(),
                ..rpc::Grain::default()
            };
            let which = Which {
                topic: named.map(str::to_owned), tags: all(tags), not_tags: all(not_tags), days: None,
            };
            if let Ok(filter) = own().filter(which, 0) {
                let filter = filter::read_client(Some(filter)).unwrap();
                prop_assert!(!filter.fits(&grain) || own().holds(&message));
            }
        }
    }

    #[test]
    fn a_grain_lies_in_it_with_its_topic_and_all_its_tags() {
        let grain = |topic: &str, tags: &[&str]| rpc::Grain {
            topic: topic.into(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..rpc::Grain::default()
        };
        assert!(own().holds(&grain("notes", &["agent", "x"])));
        assert!(!own().holds(&grain("notes", &["x"])) && !own().holds(&grain("other", &["agent"])));
        assert!(Namespace::default().holds(&grain("other", &[])));
    }
}
