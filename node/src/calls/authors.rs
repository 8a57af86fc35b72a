//! Calls about authors: who wrote what is stored, whom the owner follows or blocks, and forgetting.

use synapsenet_proto::{AuthorId, Topic};
use synapsenet_storage::{
    AuthorRule, Change, Filter, ListQuery, Outcome, Record, Slot, Standing, TopicPolicy, View,
};

use crate::calls::error::invalid;
use crate::calls::grains::find_record;
use crate::calls::many::is_of_source;
use crate::calls::{Call, CallError};
use crate::memory::admission::Rules;

/// Authors on a page at most, and when a list names no number.
const MAX_PAGE: usize = 1000;
const DEFAULT_PAGE: usize = 100;
/// Authors that may be followed or blocked together, and those that a topic may list: all are kept in memory.
const MAX_RULES: usize = 100_000;
const MAX_LISTED: usize = 1000;
/// Ids that one call forgets.
const MAX_IDS: usize = 1000;
/// Grains that are dropped in one commit: some tens of milliseconds, in which others wait.
const FORGOTTEN_AT_ONCE: usize = 256;

/// Whose a grain is, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Own,
    Followed,
    Stranger,
}

/// An author of whom something is stored, or about whom the owner said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorReport {
    pub author: AuthorId,
    /// Grains of it, retractions included.
    pub grains: u64,
    pub rule: Option<AuthorRule>,
    pub whose: Whose,
    pub standing: Standing,
}

/// Which authors are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthorQuery {
    /// Hexadecimal digits that the key begins with.
    pub prefix: String,
    /// Only those about whom the owner said something.
    pub with_rule_only: bool,
    /// 0 is [`DEFAULT_PAGE`].
    pub limit: usize,
    /// The last of the page before; empty for the first page.
    pub after: String,
}

/// What is to be forgotten.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forget {
    /// Ids or their beginnings.
    pub ids: Vec<String>,
    /// Conditions that must all hold. They or the ids are empty.
    pub filter: Filter,
    /// The source of the filter is a whole URI, not only the beginning of one.
    pub whole_source: bool,
    /// Only counts.
    pub dry_run: bool,
    /// Blocks the author of the filter, too.
    pub block: bool,
}

impl Call {
    /// Whose the grains of an author are.
    pub fn whose(&self, author: &AuthorId) -> Whose {
        whose(*author, self.parts.identity.author(), &self.parts.memory.rules())
    }

    /// A page of authors by their keys, and where the next one begins.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn authors(
        &self,
        query: AuthorQuery,
    ) -> Result<(Vec<AuthorReport>, Option<AuthorId>), CallError> {
        let limit = match query.limit {
            0 => DEFAULT_PAGE,
            limit if limit <= MAX_PAGE => limit,
            limit => return Err(invalid(format!("page_size is {limit}; at most {MAX_PAGE} are allowed"))),
        };
        let (first, last) = key_range(&query.prefix)?;
        let after = (!query.after.is_empty()).then(|| read_author(&query.after)).transpose()?;
        let own = self.parts.identity.author();
        self.read(move |memory, view| {
            let rules = memory.rules();
            let is_meant = |author: &AuthorId| {
                (first..=last).contains(author) && after.is_none_or(|after| *author > after)
            };
            // Two sorted lists become one: who is stored, and who is only spoken of.
            let mut keys: Vec<AuthorId> = rules.all().filter(is_meant).collect();
            if !query.with_rule_only {
                let begin = after.max(Some(first));
                let mut stored = view.authors(begin, limit + 1)?;
                if begin == Some(first) {
                    stored.push((first, view.grains_by(&first)?));
                }
                keys.extend(
                    stored
                        .into_iter()
                        .filter(|(_, grains)| *grains > 0)
                        .map(|(author, _)| author)
                        .filter(is_meant),
                );
            }
            keys.sort_unstable();
            keys.dedup();
            let is_last = keys.len() <= limit;
            keys.truncate(limit);
            let next = if is_last { None } else { keys.last().copied() };
            let report = |author: &AuthorId| report(view, &rules, own, *author);
            Ok((keys.iter().map(report).collect::<Result<_, _>>()?, next))
        })
        .await
    }

    /// Follows or blocks an author, or takes that back. Of one that is blocked, what is stored is dropped; answers how much.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_author_rule(&self, author: &str, rule: Option<AuthorRule>) -> Result<u64, CallError> {
        let author = read_author(author)?;
        self.note_about(&author.to_string());
        if author == self.parts.identity.author() {
            return Err(invalid("that is this node's own author"));
        }
        let rules = self.parts.memory.rules();
        if rule.is_some() && rules.of(&author).is_none() && rules.len() >= MAX_RULES {
            return Err(CallError::TooManyRules(MAX_RULES));
        }
        self.parts.ingest.apply(vec![Change::SetAuthorRule { author, rule }]).await?;
        match rule {
            Some(AuthorRule::Blocked) => {
                let filter = Filter { author: Some(author), ..Filter::default() };
                // Nothing of it is taken; and if it is let in again one day, so is what it said.
                self.forget_all(filter, false, false).await
            }
            _ => Ok(0),
        }
    }

    /// Says from whom grains of a topic are taken. `policy` is read once it is known that there is a mesh.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_topic_policy(
        &self,
        topic: String,
        policy: impl FnOnce() -> Result<TopicPolicy, CallError>,
    ) -> Result<(), CallError> {
        self.mesh()?;
        let (topic, policy) = (Topic::new(topic)?, policy()?);
        self.note_topic(topic.as_str());
        if matches!(&policy, TopicPolicy::Listed(authors) if authors.len() > MAX_LISTED) {
            return Err(invalid(format!("a topic lists at most {MAX_LISTED} authors")));
        }
        self.parts.ingest.apply(vec![Change::SetTopicPolicy { topic, policy }]).await?;
        Ok(())
    }

    /// Drops grains from this node alone and keeps them out; answers how many, or how many are meant.
    ///
    /// # Errors
    /// [`CallError`]; what was dropped before it is gone, and doing it again goes on.
    pub async fn forget(&self, forget: Forget) -> Result<u64, CallError> {
        let Forget { ids, filter, whole_source, dry_run, block } = forget;
        let filter = self.by_signed_source(filter);
        filter.topic.iter().for_each(|topic| self.note_topic(topic.as_str()));
        if ids.is_empty() == filter.is_empty() {
            return Err(invalid("say which grains: their ids, or an author, a topic or a source"));
        }
        if ids.len() > MAX_IDS {
            return Err(invalid(format!("{} ids are given; at most {MAX_IDS} are allowed", ids.len())));
        }
        if block {
            let author = filter.author.ok_or_else(|| invalid("to block somebody, name the author"))?;
            if !dry_run {
                return self.set_author_rule(&author.to_string(), Some(AuthorRule::Blocked)).await;
            }
        }
        if !ids.is_empty() {
            let slots = self.slots_of(ids).await?;
            let count = slots.len() as u64;
            return if dry_run { Ok(count) } else { self.drop_slots(slots, true).await };
        }
        if !dry_run {
            return self.forget_all(filter, whole_source, true).await;
        }
        self.read(move |_, view| {
            let mut query = query_of(filter);
            let mut count = 0;
            loop {
                let page = view.list(&query)?;
                let is_meant = |record: &&Record| !whole_source || is_of_source(record, &query.filter);
                count += page.records.iter().filter(is_meant).count() as u64;
                query.after = page.next;
                if query.after.is_none() {
                    return Ok(count);
                }
            }
        })
        .await
    }

    async fn slots_of(&self, ids: Vec<String>) -> Result<Vec<Slot>, CallError> {
        let topics = self.topics_of_caller().clone();
        self.read(move |_, view| {
            let mut slots: Vec<Slot> = ids
                .iter()
                .map(|id| Ok(find_record(view, id, &topics)?.slot))
                .collect::<Result<_, CallError>>()?;
            slots.sort_unstable();
            slots.dedup();
            Ok(slots)
        })
        .await
    }

    async fn forget_all(&self, filter: Filter, whole_source: bool, remember: bool) -> Result<u64, CallError> {
        let (mut count, mut after) = (0, None);
        loop {
            let query = ListQuery { after, ..query_of(filter.clone()) };
            let page = self.read(move |_, view| Ok(view.list(&query)?)).await?;
            let is_meant = |record: &&Record| !whole_source || is_of_source(record, &filter);
            let slots = page.records.iter().filter(is_meant).map(|record| record.slot).collect();
            let dropped = self.drop_slots(slots, remember).await?;
            count += dropped;
            // What is not meant stays and is passed over; else what came in meanwhile is dropped, too.
            after = page.next.filter(|_| whole_source);
            if after.is_none() && (whole_source || dropped == 0) {
                return Ok(count);
            }
        }
    }

    async fn drop_slots(&self, slots: Vec<Slot>, remember: bool) -> Result<u64, CallError> {
        let mut count = 0;
        for slots in slots.chunks(FORGOTTEN_AT_ONCE) {
            let forget = Change::Forget { slots: slots.to_vec(), remember };
            for outcome in self.parts.ingest.apply(vec![forget]).await? {
                if let Outcome::Dropped { count: dropped } = outcome {
                    self.note_grains(dropped);
                    count += dropped;
                }
            }
        }
        Ok(count)
    }
}

fn query_of(filter: Filter) -> ListQuery {
    ListQuery { filter, limit: FORGOTTEN_AT_ONCE, with_retractions: true, ..ListQuery::default() }
}

pub(super) fn whose(author: AuthorId, own: AuthorId, rules: &Rules) -> Whose {
    match author {
        author if author == own => Whose::Own,
        author if rules.follows(&author) => Whose::Followed,
        _ => Whose::Stranger,
    }
}

fn report(view: &View, rules: &Rules, own: AuthorId, author: AuthorId) -> Result<AuthorReport, CallError> {
    Ok(AuthorReport {
        author,
        grains: view.grains_by(&author)?,
        rule: rules.of(&author),
        whose: whose(author, own, rules),
        standing: view.author_standing(&author)?,
    })
}

/// Reads an author's key.
///
/// # Errors
/// [`CallError::Invalid`].
pub(crate) fn read_author(text: &str) -> Result<AuthorId, CallError> {
    text.to_ascii_lowercase()
        .parse()
        .map_err(|_| invalid(format!("{text:?} is no author: give 64 hexadecimal digits")))
}

/// The lowest and the highest key that begin with these digits.
fn key_range(prefix: &str) -> Result<(AuthorId, AuthorId), CallError> {
    let prefix = prefix.to_ascii_lowercase();
    if prefix.len() > 64 || !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(invalid(format!("{prefix:?} begins no author: give hexadecimal digits, at most 64")));
    }
    Ok((read_author(&format!("{prefix:0<64}"))?, read_author(&format!("{prefix:f<64}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_a_key_spans_all_keys_that_begin_so() {
        let (first, last) = key_range("aB3").unwrap();
        assert_eq!(first.to_string(), format!("{:0<64}", "ab3"));
        assert_eq!(last.to_string(), format!("{:f<64}", "ab3"));
        assert!(key_range("xy").is_err() && key_range(&"0".repeat(65)).is_err());
    }
}
