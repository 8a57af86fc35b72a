//! What can be read about authors: how much of each is here, what the owner thinks of them, and what is kept out.

use redb::{ReadableTable, ReadableTableMetadata};
use synapsenet_proto::{AuthorId, GrainId, Topic};

use crate::tables::{Header, POLICY_KNOWN, POLICY_LISTED, RULE_BLOCKED, RULE_FOLLOWED};
use crate::{AuthorRule, Slot, StorageError, TopicPolicy, View};

impl View {
    /// The authors of what is stored, with the number of their grains, in the order of their keys: at most `limit` after
    /// `after`.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn authors(
        &self,
        after: Option<AuthorId>,
        limit: usize,
    ) -> Result<Vec<(AuthorId, u64)>, StorageError> {
        let mut authors = Vec::new();
        let start = after.map_or([0; 32], |author| *author.as_bytes());
        for entry in self.tables.authors.range::<&[u8; 32]>(&start..)? {
            let (author, count) = entry?;
            let author = AuthorId::from_bytes(*author.value());
            if Some(author) == after {
                continue;
            }
            if authors.len() == limit {
                break;
            }
            authors.push((author, count.value()));
        }
        Ok(authors)
    }

    /// How many grains of an author are stored.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn grains_by(&self, author: &AuthorId) -> Result<u64, StorageError> {
        Ok(self.tables.authors.get(author.as_bytes())?.map_or(0, |count| count.value()))
    }

    /// What the owner thinks of each author of whom it said anything.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn author_rules(&self) -> Result<Vec<(AuthorId, AuthorRule)>, StorageError> {
        let mut rules = Vec::new();
        for entry in self.tables.author_rules.iter()? {
            let (author, rule) = entry?;
            let rule = match rule.value() {
                RULE_FOLLOWED => AuthorRule::Followed,
                RULE_BLOCKED => AuthorRule::Blocked,
                other => {
                    return Err(StorageError::Damaged(format!("an author has the unknown rule {other}")));
                }
            };
            rules.push((AuthorId::from_bytes(*author.value()), rule));
        }
        Ok(rules)
    }

    /// The topics that do not take from everybody, with whom they take from.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn topic_policies(&self) -> Result<Vec<(Topic, TopicPolicy)>, StorageError> {
        let mut policies = Vec::new();
        for entry in self.tables.topic_policies.iter()? {
            let (name, policy) = entry?;
            let name = name.value();
            let policy = match policy.value() {
                POLICY_KNOWN => TopicPolicy::Known,
                POLICY_LISTED => {
                    let mut authors = Vec::new();
                    for entry in self.tables.topic_authors.range((name, &[0; 32])..=(name, &[0xff; 32]))? {
                        authors.push(AuthorId::from_bytes(*entry?.0.value().1));
                    }
                    TopicPolicy::Listed(authors)
                }
                other => {
                    return Err(StorageError::Damaged(format!("a topic has the unknown policy {other}")));
                }
            };
            let topic = Topic::new(name).map_err(|why| StorageError::Damaged(why.to_string()))?;
            policies.push((topic, policy));
        }
        Ok(policies)
    }

    /// The time of the oldest of strangers' grains, in milliseconds since 1970-01-01 UTC; none when there are none.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn oldest_of_strangers(&self) -> Result<Option<u64>, StorageError> {
        Ok(self.tables.strangers.first()?.map(|entry| entry.0.value().0))
    }

    /// Whether a grain counts as a stranger's.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn is_strangers(&self, slot: Slot) -> Result<bool, StorageError> {
        let Some(record) = self.tables.records.get(slot)? else { return Ok(false) };
        let created_ms = Header::split(slot, record.value())?.0.created_ms;
        Ok(self.tables.strangers.get((created_ms, slot))?.is_some())
    }

    /// Whether a grain was forgotten here and is kept out.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn is_forgotten(&self, id: &GrainId) -> Result<bool, StorageError> {
        Ok(self.tables.forgotten.get(id.as_bytes())?.is_some())
    }

    /// How many grains were forgotten and are kept out.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn forgotten(&self) -> Result<u64, StorageError> {
        Ok(self.tables.forgotten.len()?)
    }
}
