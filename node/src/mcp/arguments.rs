//! What the tools are given, read strictly: an argument that a tool does not know is an error, which says so to the agent.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Characters of text in an answer, unless the agent says otherwise: about a thousand tokens.
const USUAL_CHARS: usize = 4000;
/// The most.
pub(super) const MAX_CHARS: usize = 50_000;
/// Hits or grains in an answer, unless the agent says otherwise.
const USUAL_K: u32 = 8;
/// The most.
pub(super) const MAX_K: u32 = 50;
/// Texts that are put, or grains that are withdrawn, in one call.
pub(super) const MAX_AT_ONCE: usize = 32;
/// Parts of a document on either side of one.
pub(super) const MAX_CONTEXT: u32 = 10;

/// What is looked at: every condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Which {
    pub topic: Option<String>,
    pub tags: Vec<String>,
    /// None of these.
    pub not_tags: Vec<String>,
    /// Of the last so many days.
    pub days: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    #[default]
    Hybrid,
    Meaning,
    Words,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    pub query: String,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default = "usual_k")]
    pub k: u32,
    #[serde(default = "usual_chars")]
    pub max_chars: usize,
    pub topic: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub not_tags: Vec<String>,
    pub days: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Get {
    pub id: String,
    #[serde(default)]
    pub context: u32,
    #[serde(default = "usual_chars")]
    pub max_chars: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recent {
    #[serde(default = "usual_k")]
    pub k: u32,
    #[serde(default = "usual_chars")]
    pub max_chars: usize,
    pub topic: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub not_tags: Vec<String>,
    pub days: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Related {
    pub id: String,
    #[serde(default = "usual_k")]
    pub k: u32,
    #[serde(default = "usual_chars")]
    pub max_chars: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remember {
    pub texts: Vec<String>,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub tags: Vec<String>,
    pub topic: Option<String>,
    #[serde(default = "yes")]
    pub wait: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forget {
    pub ids: Vec<String>,
}

fn usual_k() -> u32 {
    USUAL_K
}

fn usual_chars() -> usize {
    USUAL_CHARS
}

fn yes() -> bool {
    true
}

/// The arguments of a tool.
///
/// # Errors
/// What is wrong with them.
pub(super) fn read<T: DeserializeOwned>(arguments: Option<Map<String, Value>>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments.unwrap_or_default()))
        .map_err(|error| format!("the arguments are wrong: {error}"))
}

/// # Errors
/// When a number is out of its bounds.
pub(super) fn check<T: PartialOrd + Copy + std::fmt::Display>(
    name: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, String> {
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(format!("{name} is {value}; it must be {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_search(value: Value) -> Result<Search, String> {
        read(value.as_object().cloned())
    }

    #[test]
    fn what_is_left_out_has_its_usual_value_and_what_is_unknown_is_named() {
        let search = read_search(json!({"query": "x"})).unwrap();
        assert_eq!((search.k, search.max_chars), (USUAL_K, USUAL_CHARS));
        assert!(matches!(search.mode, Mode::Hybrid));
        assert!(read_search(json!({"query": "x", "limit": 3})).unwrap_err().contains("limit"));
        assert!(read_search(json!({})).unwrap_err().contains("query"));
        assert!(read::<Recent>(None).is_ok(), "no arguments at all");
    }

    #[test]
    fn a_number_out_of_its_bounds_is_told_with_them() {
        assert_eq!(check("k", 3, 1, MAX_K), Ok(3));
        assert!(check("k", 51, 1, MAX_K).unwrap_err().contains("1 to 50"));
    }
}
