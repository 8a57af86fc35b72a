//! Which subscriptions of peers are taken in: those to topics that there can be.
//!
//! The others are passed over, and cost nothing: a newer program may know other names.

use libp2p::gossipsub::{MaxCountSubscriptionFilter, TopicHash, TopicSubscriptionFilter};
use synapsenet_proto::Topic;

use crate::behaviour::MAX_TOPICS;

/// Takes in names of topics only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TopicsOnly;

impl TopicSubscriptionFilter for TopicsOnly {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        Topic::new(topic.as_str()).is_ok()
    }
}

/// Names of topics, so many of each peer: a message with more changes nothing.
pub(crate) type Subscriptions = MaxCountSubscriptionFilter<TopicsOnly>;

/// The filter of a node.
pub(crate) fn subscriptions() -> Subscriptions {
    MaxCountSubscriptionFilter {
        filter: TopicsOnly,
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_topics_are_taken_in() {
        let mut filter = subscriptions();
        let mut takes = |name: &str| filter.can_subscribe(&TopicHash::from_raw(name));
        assert!(takes("commons"));
        assert!(!takes("A b") && !takes("") && !takes(&"x".repeat(60_000)) && !takes("a\u{1b}[2J"));
    }
}
