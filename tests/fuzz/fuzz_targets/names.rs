//! Arbitrary text as a topic, an id, an author or a model: refused, or read in one form only.

#![no_main]

use libfuzzer_sys::fuzz_target;
use synapsenet_proto::{AuthorId, GrainId, MAX_TOPIC_BYTES, SpaceId, Topic};

fuzz_target!(|text: &str| {
    if let Ok(topic) = Topic::new(text) {
        assert_eq!(topic.as_str(), text);
        assert!(!text.is_empty() && text.len() <= MAX_TOPIC_BYTES);
        assert!(!text.bytes().any(|b| b.is_ascii_uppercase() || b.is_ascii_whitespace() || b == b'/'));
    }
    let lower = text.to_ascii_lowercase();
    if let Ok(id) = text.parse::<GrainId>() {
        assert_eq!(id.to_string(), lower);
    }
    if let Ok(author) = text.parse::<AuthorId>() {
        assert_eq!(author.to_string(), lower);
    }
    if let Ok(model) = text.parse::<SpaceId>() {
        assert_eq!(model.to_string(), lower);
    }
});
