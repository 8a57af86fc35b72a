//! What the changes of vectors do: which note has a vector of which model, and which has to wait for one.

use redb::ReadableTable;
use synapsenet_proto::{EncodedVector, SpaceId};

use super::Writer;
use crate::tables::{LOG_ADDED, LOG_REMOVED};
use crate::{LANE_AGAIN, Outcome, Slot, StorageError};

/// A model that the file knows.
pub(super) struct Known {
    pub(super) id: [u8; 32],
    /// Its number in this file.
    pub(super) number: u16,
    /// How many vectors of it are stored.
    pub(super) count: u64,
}

impl Writer<'_> {
    pub(super) fn add_vector(&mut self, slot: Slot, vector: &EncodedVector) -> Result<Outcome, StorageError> {
        if !self.is_note(slot)? {
            return Ok(Outcome::Unchanged);
        }
        let model = vector.model();
        let known = self.tables.models.get(model.as_bytes())?.map(|entry| entry.value());
        let (number, count) = match known {
            Some(known) => known,
            None => (self.next_model_number()?, 0),
        };
        self.end_wait(slot)?;
        if self.tables.vectors.get((number, slot))?.is_some() {
            // What an index has of this slot stays true.
            return Ok(Outcome::Unchanged);
        }
        self.tables.vectors.insert((number, slot), vector.as_bytes())?;
        self.tables.models.insert(model.as_bytes(), (number, count + 1))?;
        self.log(slot, LOG_ADDED)?;
        Ok(Outcome::Changed)
    }

    /// Models are never forgotten, so their count is the next number.
    fn next_model_number(&self) -> Result<u16, StorageError> {
        let known = redb::ReadableTableMetadata::len(&self.tables.models)?;
        u16::try_from(known).map_err(|_| StorageError::Damaged("it knows more than 65535 models".to_owned()))
    }

    pub(super) fn drop_vectors(&mut self, model: SpaceId, limit: usize) -> Result<Outcome, StorageError> {
        let (of_model, others): (Vec<Known>, Vec<Known>) =
            self.known_models()?.into_iter().partition(|known| known.id == *model.as_bytes());
        let Some(known) = of_model.first() else { return Ok(Outcome::Dropped { count: 0 }) };
        let slots = self.take_vectors(known.number, limit)?;
        let count = slots.len() as u64;
        if count == 0 {
            return Ok(Outcome::Dropped { count });
        }
        self.tables.models.insert(&known.id, (known.number, known.count.saturating_sub(count)))?;
        for slot in slots {
            self.unmark(slot, known.number)?;
            if !self.has_vector_of(&others, slot)? {
                self.wait(slot, LANE_AGAIN)?;
                self.log(slot, LOG_REMOVED)?;
            }
        }
        Ok(Outcome::Dropped { count })
    }

    pub(super) fn rename_model(&mut self, from: SpaceId, to: SpaceId) -> Result<Outcome, StorageError> {
        let entry = |writer: &Self, id: SpaceId| -> Result<Option<(u16, u64)>, StorageError> {
            Ok(writer.tables.models.get(id.as_bytes())?.map(|entry| entry.value()))
        };
        let (Some(former), new) = (entry(self, from)?, entry(self, to)?) else {
            return Ok(Outcome::Unchanged);
        };
        if from == to || former.1 == 0 || new.is_some_and(|(_, count)| count > 0) {
            return Ok(Outcome::Unchanged);
        }
        self.tables.models.insert(to.as_bytes(), former)?;
        // No number is given twice, so one that the new id had goes to the former one.
        match new {
            Some(number) => self.tables.models.insert(from.as_bytes(), number)?,
            None => self.tables.models.remove(from.as_bytes())?,
        };
        Ok(Outcome::Changed)
    }

    /// Removes the vectors of the lowest slots that have one of the model with this number; gives the slots.
    fn take_vectors(&mut self, number: u16, limit: usize) -> Result<Vec<Slot>, StorageError> {
        let mut slots = Vec::new();
        // Only what is read from it is removed, so the rest of the model's vectors are not even looked at.
        let mut vectors =
            self.tables.vectors.extract_from_if((number, 0)..=(number, u64::MAX), |_, _| true)?;
        for entry in vectors.by_ref().take(limit) {
            slots.push(entry?.0.value().1);
        }
        vectors.close()?;
        Ok(slots)
    }

    fn has_vector_of(&self, models: &[Known], slot: Slot) -> Result<bool, StorageError> {
        for known in models {
            if self.tables.vectors.get((known.number, slot))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the vectors of a note that goes, and tells that it does.
    pub(super) fn remove_vectors(&mut self, slot: Slot) -> Result<(), StorageError> {
        self.tables.unchecked.remove(slot)?;
        for Known { id, number, count } in self.known_models()? {
            if self.tables.vectors.remove((number, slot))?.is_some() {
                self.tables.models.insert(&id, (number, count.saturating_sub(1)))?;
            }
        }
        self.log(slot, LOG_REMOVED)
    }

    pub(super) fn known_models(&self) -> Result<Vec<Known>, StorageError> {
        let mut models = Vec::new();
        for entry in self.tables.models.iter()? {
            let (id, entry) = entry?;
            let (number, count) = entry.value();
            models.push(Known { id: *id.value(), number, count });
        }
        Ok(models)
    }
}

#[cfg(test)]
mod tests;
