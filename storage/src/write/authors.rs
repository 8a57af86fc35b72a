//! What the changes about authors do: whose room a grain takes, who is followed or blocked, and what is forgotten.

use std::collections::BTreeSet;

use redb::{ReadableTable, ReadableTableMetadata};
use synapsenet_proto::{AuthorId, GrainId, Kind, Topic};

use super::Writer;
use crate::tables::{self, Header, POLICY_KNOWN, POLICY_LISTED, RULE_BLOCKED, RULE_FOLLOWED};
use crate::{AuthorRule, Outcome, Slot, StorageError, TopicPolicy};

/// Ids that are remembered as forgotten: 25 MB on disk. Of more, the eldest could come back.
pub(crate) const MAX_FORGOTTEN: u64 = if cfg!(test) { 4 } else { 1 << 18 };

impl Writer<'_> {
    pub(super) fn leave_strangers(&mut self, slot: Slot, created_ms: u64) -> Result<(), StorageError> {
        if let Some(counted) = self.tables.strangers.remove((created_ms, slot))? {
            let (bytes, is_note) = counted.value();
            self.stranger_bytes = self.stranger_bytes.saturating_sub(bytes);
            self.stranger_notes = self.stranger_notes.saturating_sub(u64::from(is_note));
        }
        Ok(())
    }

    pub(super) fn is_strangers(&self, slot: Slot) -> Result<bool, StorageError> {
        let Some(record) = self.record(slot)? else { return Ok(false) };
        let created_ms = Header::split(slot, record.value())?.0.created_ms;
        Ok(self.tables.strangers.get((created_ms, slot))?.is_some())
    }

    pub(super) fn count_author(&mut self, author: &AuthorId, change: i64) -> Result<(), StorageError> {
        let count = self.tables.authors.get(author.as_bytes())?.map_or(0, |count| count.value());
        match count.saturating_add_signed(change) {
            0 => self.tables.authors.remove(author.as_bytes())?,
            count => self.tables.authors.insert(author.as_bytes(), count)?,
        };
        Ok(())
    }

    pub(super) fn set_author_rule(
        &mut self,
        author: AuthorId,
        rule: Option<AuthorRule>,
    ) -> Result<Outcome, StorageError> {
        let key = author.as_bytes();
        let before = match rule {
            None => self.tables.author_rules.remove(key)?,
            Some(AuthorRule::Followed) => self.tables.author_rules.insert(key, RULE_FOLLOWED)?,
            Some(AuthorRule::Blocked) => self.tables.author_rules.insert(key, RULE_BLOCKED)?,
        };
        let was_followed = before.is_some_and(|before| before.value() == RULE_FOLLOWED);
        let is_followed = rule == Some(AuthorRule::Followed);
        if was_followed != is_followed {
            for (created_ms, slot) in self.places_of(&author)? {
                if is_followed {
                    self.count_as_owners(slot, created_ms)?;
                } else if self.tables.pins.get(slot)?.is_some() {
                    self.tables.pins.insert(slot, true)?;
                } else {
                    self.make_strangers(slot, created_ms)?;
                }
            }
        }
        Ok(Outcome::Changed)
    }

    fn places_of(&self, author: &AuthorId) -> Result<Vec<(u64, Slot)>, StorageError> {
        let (first, last) = ((author.as_bytes(), 0, 0), (author.as_bytes(), u64::MAX, u64::MAX));
        let mut places = Vec::new();
        for entry in self.tables.by_author.range(first..=last)? {
            let key = entry?.0;
            let (_, created_ms, slot) = key.value();
            places.push((created_ms, slot));
        }
        Ok(places)
    }

    /// Counts a grain, with its claim, as a stranger's.
    pub(super) fn make_strangers(&mut self, slot: Slot, created_ms: u64) -> Result<(), StorageError> {
        let record = self.record(slot)?.map_or(0, |record| record.value().len());
        let claim = self.tables.claims.get(slot)?.map_or(0, |claim| claim.value().len());
        let (bytes, is_note) = (tables::counted_bytes(record, claim), self.is_note(slot)?);
        // It may be counted already, with another claim.
        self.leave_strangers(slot, created_ms)?;
        self.tables.strangers.insert((created_ms, slot), (bytes, is_note))?;
        self.stranger_bytes += bytes;
        self.stranger_notes += u64::from(is_note);
        Ok(())
    }

    pub(super) fn set_topic_policy(
        &mut self,
        topic: &Topic,
        policy: &TopicPolicy,
    ) -> Result<Outcome, StorageError> {
        let topic = topic.as_str();
        self.tables.topic_authors.retain_in((topic, &[0; 32])..=(topic, &[0xff; 32]), |_, ()| false)?;
        match policy {
            TopicPolicy::Open => drop(self.tables.topic_policies.remove(topic)?),
            TopicPolicy::Known => drop(self.tables.topic_policies.insert(topic, POLICY_KNOWN)?),
            TopicPolicy::Listed(authors) => {
                self.tables.topic_policies.insert(topic, POLICY_LISTED)?;
                for author in authors {
                    self.tables.topic_authors.insert((topic, author.as_bytes()), ())?;
                }
            }
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn forget(&mut self, slots: &[Slot], remember: bool) -> Result<Outcome, StorageError> {
        let mut count = 0;
        for &slot in slots {
            if self.record(slot)?.is_none() {
                continue;
            }
            let (_, grain) = self.load(slot)?;
            match grain.kind() {
                Kind::Note => self.remove_note(slot, &grain)?,
                Kind::Retraction => self.remove_retraction(slot, &grain)?,
            }
            if remember {
                self.remember_forgotten(&grain.id())?;
            }
            count += 1;
        }
        Ok(Outcome::Dropped { count })
    }

    /// The strangers' grains that go so that the others are within bounds.
    pub(super) fn too_many_strangers(
        &self,
        grains: u64,
        notes: u64,
        bytes: u64,
        limit: usize,
        first: &[Slot],
    ) -> Result<Vec<Slot>, StorageError> {
        let (mut held, mut counted) = (self.tables.strangers.len()?, self.stranger_bytes);
        let mut held_notes = self.tables.records.len()?.saturating_sub(self.retractions);
        let mut goes = BTreeSet::new();
        let mut order = Vec::new();
        let mut let_go = |slot: Slot, (of_one, is_note): (u64, bool)| {
            if held <= grains && held_notes <= notes && counted <= bytes || order.len() == limit {
                return false;
            }
            if goes.insert(slot) {
                order.push(slot);
                held -= 1;
                held_notes = held_notes.saturating_sub(u64::from(is_note));
                counted = counted.saturating_sub(of_one);
            }
            true
        };
        for &slot in first {
            let Some(record) = self.record(slot)? else { continue };
            let created_ms = Header::split(slot, record.value())?.0.created_ms;
            let Some(of_one) = self.tables.strangers.get((created_ms, slot))?.map(|it| it.value()) else {
                continue;
            };
            if !let_go(slot, of_one) {
                return Ok(order);
            }
        }
        for entry in self.tables.strangers.iter()? {
            let (key, value) = entry?;
            if !let_go(key.value().1, value.value()) {
                break;
            }
        }
        Ok(order)
    }

    fn remember_forgotten(&mut self, id: &GrainId) -> Result<(), StorageError> {
        self.take_again(id)?;
        self.forgotten_seq += 1;
        self.tables.forgotten.insert(id.as_bytes(), self.forgotten_seq)?;
        self.tables.forgotten_order.insert(self.forgotten_seq, id.as_bytes())?;
        while self.tables.forgotten_order.len()? > MAX_FORGOTTEN {
            let Some((_, eldest)) = self.tables.forgotten_order.pop_first()? else { break };
            self.tables.forgotten.remove(eldest.value())?;
        }
        Ok(())
    }

    /// Takes an id off the list of what is kept out.
    pub(super) fn take_again(&mut self, id: &GrainId) -> Result<(), StorageError> {
        let place = self.tables.forgotten.remove(id.as_bytes())?.map(|place| place.value());
        if let Some(place) = place {
            self.tables.forgotten_order.remove(place)?;
        }
        Ok(())
    }
}
