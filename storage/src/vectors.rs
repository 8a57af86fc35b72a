//! What indexes are made from: the notes, which vectors each has, how many a model has, and which notes wait for one.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use redb::{ReadableTable, ReadableTableMetadata};
use synapsenet_proto::{EncodedVector, Kind, SpaceId};

use crate::{Filter, Lane, Record, Slot, StorageError, View};

impl View {
    /// The models of which at least one vector is stored, with the number of their vectors: the one with the most first,
    /// those with equally many by their id.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn models(&self) -> Result<Vec<(SpaceId, u64)>, StorageError> {
        let mut models = Vec::new();
        for entry in self.tables.models.iter()? {
            let (model, entry) = entry?;
            let (_, count) = entry.value();
            if count > 0 {
                models.push((SpaceId::from_bytes(*model.value()), count));
            }
        }
        models.sort_by_key(|&(_, count)| Reverse(count));
        Ok(models)
    }

    /// The vector of a note in the space of `model`.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn vector(&self, slot: Slot, model: SpaceId) -> Result<Option<EncodedVector>, StorageError> {
        let Some((number, _)) = self.model(model)? else { return Ok(None) };
        let bytes = self.tables.vectors.get((number, slot))?;
        Ok(bytes.map(|bytes| EncodedVector::from_bytes(model, bytes.value().to_vec())))
    }

    /// Shows every vector of `model` in the order of slots, until `visit` breaks it off.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn for_each_vector(
        &self,
        model: SpaceId,
        visit: &mut dyn FnMut(Slot, EncodedVector) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let Some((number, _)) = self.model(model)? else { return Ok(()) };
        for entry in self.tables.vectors.range((number, 0)..=(number, u64::MAX))? {
            let (key, bytes) = entry?;
            let vector = EncodedVector::from_bytes(model, bytes.value().to_vec());
            if visit(key.value().1, vector).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How many vectors of `model` are stored, in constant time.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn vector_count(&self, model: SpaceId) -> Result<u64, StorageError> {
        Ok(self.model(model)?.map_or(0, |(_, count)| count))
    }

    /// The notes that wait in a lane, by their slots, from `from` on and but for those that `skip` names; at most `limit`.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn pending_in(
        &self,
        lane: Lane,
        from: Slot,
        limit: usize,
        skip: &dyn Fn(Slot) -> bool,
    ) -> Result<Vec<Record>, StorageError> {
        let mut records = Vec::new();
        for entry in self.tables.lanes.range((lane, from)..=(lane, Slot::MAX))? {
            let slot = entry?.0.value().1;
            if records.len() == limit {
                break;
            }
            if !skip(slot) {
                records.push(self.existing_record(slot)?);
            }
        }
        Ok(records)
    }

    /// The lowest slot that is pending, in one lane or in any, but for those that `skip` names.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn first_pending(
        &self,
        lane: Option<Lane>,
        skip: &dyn Fn(Slot) -> bool,
    ) -> Result<Option<Slot>, StorageError> {
        let Some(lane) = lane else {
            for entry in self.tables.waiting.iter()? {
                let slot = entry?.0.value();
                if !skip(slot) {
                    return Ok(Some(slot));
                }
            }
            return Ok(None);
        };
        for entry in self.tables.lanes.range((lane, 0)..=(lane, Slot::MAX))? {
            let slot = entry?.0.value().1;
            if !skip(slot) {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// The first lane after this one that notes wait in.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn lane_after(&self, lane: Lane) -> Result<Option<Lane>, StorageError> {
        let Some(next) = lane.checked_add(1) else { return Ok(None) };
        let mut lanes = self.tables.lanes.range((next, 0)..)?;
        Ok(lanes.next().transpose()?.map(|entry| entry.0.value().0))
    }

    /// How many notes wait in a lane. Its time grows with that number.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn pending_count(&self, lane: Lane) -> Result<u64, StorageError> {
        let mut count = 0;
        for entry in self.tables.lanes.range((lane, 0)..=(lane, Slot::MAX))? {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    /// Whether the vector of `model` that a note has was claimed by its author, and not compared here.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn is_unchecked(&self, slot: Slot, model: SpaceId) -> Result<bool, StorageError> {
        let Some(marked) = self.tables.unchecked.get(slot)?.map(|number| number.value()) else {
            return Ok(false);
        };
        Ok(self.model(model)?.is_some_and(|(number, _)| number == marked))
    }

    /// The slots whose vectors of `model` are unchecked, in order: eight bytes for each.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn unchecked(&self, model: SpaceId) -> Result<Vec<Slot>, StorageError> {
        let Some((number, _)) = self.model(model)? else { return Ok(Vec::new()) };
        let mut slots = Vec::new();
        for entry in self.tables.unchecked.iter()? {
            let (slot, marked) = entry?;
            if marked.value() == number {
                slots.push(slot.value());
            }
        }
        Ok(slots)
    }

    /// Whether vectors of authors that were caught are still to go; see [`crate::Change::PurgeClaims`].
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn is_purging(&self) -> Result<bool, StorageError> {
        Ok(!self.tables.purges.is_empty()?)
    }

    /// Shows the slots of all notes that are not pending, the newest first (by the time that their authors gave them; of
    /// one time, the last to arrive first), until `visit` breaks it off. No grain is unpacked: a hundred thousand take a
    /// tenth of a second.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn notes_newest_first(
        &self,
        visit: &mut dyn FnMut(Slot) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let any_note = Filter::default();
        let any_pending = !self.tables.waiting.is_empty()?;
        for entry in self.tables.by_time.iter()?.rev() {
            let (_, slot) = entry?.0.value();
            let is_meant = self.matches(slot, &any_note)? && !(any_pending && self.is_pending(slot)?);
            if is_meant && visit(slot).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The notes with slots above `after`, the lowest slots first, at most `limit`. In the place of one that is damaged stands
    /// None.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn notes_after(
        &self,
        after: Slot,
        limit: usize,
    ) -> Result<Vec<(Slot, Option<Record>)>, StorageError> {
        self.of_kinds_after(after, limit, |kind| kind == Kind::Note)
    }

    /// As [`View::notes_after`], retractions included: what came in since, and is here still.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn grains_after(
        &self,
        after: Slot,
        limit: usize,
    ) -> Result<Vec<(Slot, Option<Record>)>, StorageError> {
        self.of_kinds_after(after, limit, |_| true)
    }

    fn of_kinds_after(
        &self,
        after: Slot,
        limit: usize,
        is_meant: impl Fn(Kind) -> bool,
    ) -> Result<Vec<(Slot, Option<Record>)>, StorageError> {
        let mut grains = Vec::new();
        for entry in self.tables.records.range(after.saturating_add(1)..)? {
            let slot = entry?.0.value();
            match self.record(slot) {
                Ok(Some(record)) if is_meant(record.grain.kind()) => grains.push((slot, Some(record))),
                Ok(_) => continue,
                Err(StorageError::DamagedRecord { .. }) => grains.push((slot, None)),
                Err(error) => return Err(error),
            }
            if grains.len() == limit {
                break;
            }
        }
        Ok(grains)
    }

    /// The number of a model in this file, and how many vectors of it are stored.
    fn model(&self, model: SpaceId) -> Result<Option<(u16, u64)>, StorageError> {
        Ok(self.tables.models.get(model.as_bytes())?.map(|entry| entry.value()))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::*;
    use crate::{Change, Outcome};

    #[test]
    fn models_come_with_the_one_that_has_most_vectors_first() {
        let store = store();
        assert!(store.view().unwrap().models().unwrap().is_empty());
        let slots = [1, 2].map(|n| add_searchable(&store, &note(&format!("note {n}"), n)));
        for slot in slots {
            write_one(&store, Change::AddVector { slot, vector: vector(OTHER_MODEL, 1) });
        }
        let equal = vec![(MODEL, 2), (OTHER_MODEL, 2)];
        assert_eq!(store.view().unwrap().models().unwrap(), equal);
        write_one(&store, Change::DropVectors { model: MODEL, limit: 1 });
        assert_eq!(store.view().unwrap().models().unwrap(), vec![(OTHER_MODEL, 2), (MODEL, 1)]);
        // A model that has none left is known to the file still, and shown no more.
        let dropped = write_one(&store, Change::DropVectors { model: MODEL, limit: 9 });
        assert_eq!(dropped, Outcome::Dropped { count: 1 });
        assert_eq!(store.view().unwrap().models().unwrap(), vec![(OTHER_MODEL, 2)]);
    }

    #[test]
    fn notes_come_by_their_slots_without_retractions() {
        let store = store();
        let slots = [1, 2, 3].map(|n| add(&store, &note(&format!("note {n}"), n)));
        add(&store, &retraction(&note("note 2", 2), 1, 9));
        let last = add(&store, &note("note 4", 4));
        let view = store.view().unwrap();
        let after = |slot, limit| {
            let notes = view.notes_after(slot, limit).unwrap();
            notes.into_iter().map(|(slot, note)| (slot, note.unwrap().grain.created_ms())).collect::<Vec<_>>()
        };
        assert_eq!(after(0, 9), [(slots[0], 1), (slots[2], 3), (last, 4)]);
        assert_eq!(after(slots[0], 1), [(slots[2], 3)]);
        assert_eq!(after(slots[2], 9), [(last, 4)]);
        assert_eq!(after(last, 9), []);
        let all = view.grains_after(slots[0], 9).unwrap();
        let slots: Vec<_> = all.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(slots, [3, 4, 5], "the second note is gone, and its retraction stands behind the third");
    }

    #[test]
    fn notes_are_walked_from_the_newest_without_retractions_and_pending_ones() {
        let store = store();
        let old = add_searchable(&store, &note("old", 1));
        let new = add_searchable(&store, &note("new", 8));
        let also_old = add_searchable(&store, &note("as old, and came later", 1));
        let withdrawn = note("withdrawn", 5);
        add_searchable(&store, &withdrawn);
        add(&store, &retraction(&withdrawn, 1, 6));
        let pending = add(&store, &note("pending", 7));
        let view = store.view().unwrap();
        assert_eq!(newest_first(&view, usize::MAX), [new, also_old, old]);
        assert_eq!(newest_first(&view, 2), [new, also_old]);
        write_one(&store, Change::AddVector { slot: pending, vector: vector(OTHER_MODEL, 1) });
        assert_eq!(newest_first(&store.view().unwrap(), 2), [new, pending]);
    }
}
