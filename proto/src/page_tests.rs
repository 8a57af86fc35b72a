//! What `PROTOCOL.md` says of this crate is held against it.

use crate::grain::FINGERPRINT_CONTEXT;
use crate::identity::{CLAIM_CONTEXT, GRAIN_CONTEXT, NETWORK_CONTEXT};
use crate::{
    MAX_ANNOUNCEMENT_BYTES, MAX_DIMENSION, MAX_GRAIN_BYTES, MAX_LANG_BYTES, MAX_LINKS, MAX_METADATA,
    MAX_METADATA_KEY_BYTES, MAX_METADATA_VALUE_BYTES, MAX_MIME_BYTES, MAX_RELATION_BYTES,
    MAX_SOURCE_URI_BYTES, MAX_TAG_BYTES, MAX_TAGS, MAX_TEXT_BYTES, MAX_TITLE_BYTES, MAX_TOPIC_BYTES,
};

/// Looks for a fenced block of names and values in the page, whole.
fn assert_page_says(block: &str, rows: &[(&str, String)]) {
    let page = include_str!("../PROTOCOL.md");
    let rows: String = rows.iter().map(|(name, value)| format!("{name} | {value}\n")).collect();
    let block = format!("```limits {block}\n{rows}```\n");
    assert!(page.contains(&block), "PROTOCOL.md is to say:\n{block}");
}

#[test]
fn the_page_for_implementers_says_the_contexts() {
    let contexts = [
        ("signature of a grain", GRAIN_CONTEXT),
        ("signature of a claim", CLAIM_CONTEXT),
        ("fingerprint of a grain's words", FINGERPRINT_CONTEXT),
        ("seed of a node's network key", NETWORK_CONTEXT),
    ];
    assert_page_says("contexts", &contexts.map(|(name, context)| (name, context.to_owned())));
}

#[test]
fn the_page_for_implementers_says_the_limits_of_grains() {
    let limits = [
        ("bytes of a signed grain", MAX_GRAIN_BYTES),
        ("bytes of a text", MAX_TEXT_BYTES),
        ("bytes of a title", MAX_TITLE_BYTES),
        ("tags", MAX_TAGS),
        ("bytes of a tag", MAX_TAG_BYTES),
        ("bytes of a language", MAX_LANG_BYTES),
        ("bytes of a media type", MAX_MIME_BYTES),
        ("bytes of a source's URI", MAX_SOURCE_URI_BYTES),
        ("links", MAX_LINKS),
        ("bytes of a relation", MAX_RELATION_BYTES),
        ("pairs of metadata", MAX_METADATA),
        ("bytes of a key of metadata", MAX_METADATA_KEY_BYTES),
        ("bytes of a value of metadata", MAX_METADATA_VALUE_BYTES),
        ("bytes of a topic", MAX_TOPIC_BYTES),
        ("bytes of an announcement", MAX_ANNOUNCEMENT_BYTES),
        ("components of a vector", MAX_DIMENSION),
    ];
    assert_page_says("grains", &limits.map(|(name, limit)| (name, limit.to_string())));
    let most = crate::MAX_UNKNOWN_CLAIM_FIELD_BYTES.to_string();
    assert_page_says("unknown-claims", &[("bytes of a field of a claim of an unknown rule", most)]);
}
