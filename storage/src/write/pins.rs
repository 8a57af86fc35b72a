//! What the owner wants kept, whoever wrote it: a pinned note counts as the owner's, and nothing that makes room looks at it.

use redb::{ReadableTable, ReadableTableMetadata};

use super::Writer;
use crate::tables::Header;
use crate::{Outcome, Slot, StorageError};

impl Writer<'_> {
    pub(super) fn pin(&mut self, slot: Slot, pinned: bool, most: u64) -> Result<Outcome, StorageError> {
        let before = self.tables.pins.get(slot)?.map(|is_strangers| is_strangers.value());
        if pinned == before.is_some() || !self.is_note(slot)? {
            return Ok(Outcome::Unchanged);
        }
        let Some(created_ms) = self.created_ms(slot)? else { return Ok(Outcome::Unchanged) };
        match before {
            None if self.tables.pins.len()? >= most => return Ok(Outcome::NoRoom),
            None => {
                let is_strangers = self.is_strangers(slot)?;
                self.leave_strangers(slot, created_ms)?;
                self.tables.pins.insert(slot, is_strangers)?;
            }
            Some(is_strangers) => {
                self.tables.pins.remove(slot)?;
                if is_strangers {
                    self.make_strangers(slot, created_ms)?;
                }
            }
        }
        Ok(Outcome::Changed)
    }

    /// Counts a grain as the owner's from now on, pinned or not.
    pub(super) fn count_as_owners(&mut self, slot: Slot, created_ms: u64) -> Result<(), StorageError> {
        if self.tables.pins.get(slot)?.is_some() {
            self.tables.pins.insert(slot, false)?;
        }
        self.leave_strangers(slot, created_ms)
    }

    /// Whether a note is pinned, and would be a stranger's if it were not.
    pub(super) fn is_pinned_strangers(&self, slot: Slot) -> Result<bool, StorageError> {
        Ok(self.tables.pins.get(slot)?.is_some_and(|is_strangers| is_strangers.value()))
    }

    fn created_ms(&self, slot: Slot) -> Result<Option<u64>, StorageError> {
        let Some(record) = self.record(slot)? else { return Ok(None) };
        Ok(Some(Header::split(slot, record.value())?.0.created_ms))
    }
}
