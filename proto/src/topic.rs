//! The named stream that a grain belongs to; nodes subscribe to topics.

use std::fmt;
use std::str::FromStr;

use crate::Refusal;

/// The name of a topic.
pub const MAX_TOPIC_BYTES: usize = 64;
/// The topic of a grain that names none.
pub const DEFAULT_TOPIC: &str = "commons";

/// The named stream that a grain belongs to: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(String);

impl Topic {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Refusal::BadTopic`] when it is not in the allowed form.
    pub fn new(name: impl Into<String>) -> Result<Self, Refusal> {
        let name = name.into();
        let bytes = name.as_bytes();
        let first = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && bytes.len() <= MAX_TOPIC_BYTES {
            Ok(Self(name))
        } else {
            Err(Refusal::BadTopic(name))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Topic {
    fn default() -> Self {
        Self(DEFAULT_TOPIC.to_owned())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Topic {
    type Err = Refusal;

    fn from_str(name: &str) -> Result<Self, Refusal> {
        Self::new(name)
    }
}
