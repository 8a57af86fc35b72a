//! What authors claim: which vectors nobody here has compared yet, what becomes of an author that was caught, and in which
//! lane a note waits for its vector.

use redb::ReadableTable;
use synapsenet_proto::{AuthorId, EncodedVector};

use super::Writer;
use crate::tables::LOG_REMOVED;
use crate::{LANE_AGAIN, Lane, Outcome, Slot, StorageError};

impl Writer<'_> {
    /// Lets a note wait for its vector.
    pub(super) fn wait(&mut self, slot: Slot, lane: Lane) -> Result<(), StorageError> {
        self.tables.waiting.insert(slot, lane)?;
        self.tables.lanes.insert((lane, slot), ())?;
        Ok(())
    }

    /// It waits no more.
    pub(super) fn end_wait(&mut self, slot: Slot) -> Result<(), StorageError> {
        let lane = self.tables.waiting.remove(slot)?.map(|lane| lane.value());
        if let Some(lane) = lane {
            self.tables.lanes.remove((lane, slot))?;
        }
        Ok(())
    }

    pub(super) fn add_claimed(
        &mut self,
        slot: Slot,
        author: &AuthorId,
        vector: &EncodedVector,
    ) -> Result<Outcome, StorageError> {
        if self.standing(author)?.1 {
            self.tables.claims.remove(slot)?;
            return Ok(Outcome::Unchanged);
        }
        let outcome = self.add_vector(slot, vector)?;
        let model = vector.model();
        let number = self.tables.models.get(model.as_bytes())?.map(|entry| entry.value().0);
        if let (Outcome::Changed, Some(number)) = (outcome, number) {
            self.tables.unchecked.insert(slot, number)?;
        }
        Ok(outcome)
    }

    pub(super) fn checked(&mut self, slot: Slot, author: &AuthorId) -> Result<Outcome, StorageError> {
        if self.tables.unchecked.remove(slot)?.is_none() {
            return Ok(Outcome::Unchanged);
        }
        let (agreed, distrusted) = self.standing(author)?;
        self.tables.standings.insert(author.as_bytes(), (agreed.saturating_add(1), distrusted))?;
        Ok(Outcome::Changed)
    }

    pub(super) fn distrust(&mut self, author: &AuthorId) -> Result<Outcome, StorageError> {
        let (agreed, was_distrusted) = self.standing(author)?;
        if was_distrusted {
            return Ok(Outcome::Unchanged);
        }
        self.tables.standings.insert(author.as_bytes(), (agreed, true))?;
        self.tables.purges.insert(author.as_bytes(), (0, 0))?;
        Ok(Outcome::Changed)
    }

    pub(super) fn purge(&mut self, limit: usize) -> Result<Outcome, StorageError> {
        let first = self.tables.purges.first()?.map(|(author, from)| (*author.value(), from.value()));
        let Some((author, (from_ms, from))) = first else { return Ok(Outcome::Dropped { count: 0 }) };
        let mut places = Vec::new();
        for entry in
            self.tables.by_author.range((&author, from_ms, from)..=(&author, u64::MAX, u64::MAX))?.take(limit)
        {
            let (_, created_ms, slot) = entry?.0.value();
            places.push((created_ms, slot));
        }
        let mut count = 0;
        for &(_, slot) in &places {
            self.tables.claims.remove(slot)?;
            count += u64::from(self.drop_unchecked(slot)?);
        }
        match places.last().filter(|_| places.len() == limit) {
            // Slots only grow, so the next one exists.
            Some(&(created_ms, slot)) => self.tables.purges.insert(&author, (created_ms, slot + 1))?,
            None => self.tables.purges.remove(&author)?,
        };
        Ok(Outcome::Dropped { count })
    }

    /// Whether there was one.
    fn drop_unchecked(&mut self, slot: Slot) -> Result<bool, StorageError> {
        let number = self.tables.unchecked.remove(slot)?.map(|number| number.value());
        let Some(number) = number else { return Ok(false) };
        let mut has_other = false;
        for known in self.known_models()? {
            if known.number != number {
                has_other |= self.tables.vectors.get((known.number, slot))?.is_some();
            } else if self.tables.vectors.remove((number, slot))?.is_some() {
                self.tables.models.insert(&known.id, (number, known.count.saturating_sub(1)))?;
            }
        }
        self.log(slot, LOG_REMOVED)?;
        if !has_other {
            self.wait(slot, LANE_AGAIN)?;
        }
        Ok(true)
    }

    /// Takes the mark from a vector that goes.
    pub(super) fn unmark(&mut self, slot: Slot, number: u16) -> Result<(), StorageError> {
        let is_meant = self.tables.unchecked.get(slot)?.is_some_and(|marked| marked.value() == number);
        if is_meant {
            self.tables.unchecked.remove(slot)?;
        }
        Ok(())
    }

    /// How many claims of an author were found right, and whether one was found false.
    pub(super) fn standing(&self, author: &AuthorId) -> Result<(u32, bool), StorageError> {
        Ok(self.tables.standings.get(author.as_bytes())?.map(|standing| standing.value()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
