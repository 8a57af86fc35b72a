//! On how many occasions each note was of use: a number for each day, and nothing of who or what for.

use std::ops::Range;

use redb::ReadableTable;

use super::Writer;
use crate::{Occasions, Outcome, Slot, StorageError};

impl Writer<'_> {
    pub(super) fn count_uses(
        &mut self,
        day: u32,
        uses: &[(Slot, Occasions)],
    ) -> Result<Outcome, StorageError> {
        for &(slot, occasions) in uses {
            if occasions.all() == 0 || !self.is_note(slot)? {
                continue;
            }
            let key = (slot, day);
            let before = self.tables.grain_access.get(key)?.map_or(0, |count| count.value());
            self.tables.grain_access.insert(key, before.saturating_add(occasions.all()))?;
            if occasions.by_owner > 0 {
                let before = self.tables.owner_access.get(key)?.map_or(0, |count| count.value());
                self.tables.owner_access.insert(key, before.saturating_add(occasions.by_owner))?;
            }
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn drop_uses(&mut self, before_day: u32, slots: Range<Slot>) -> Result<Outcome, StorageError> {
        let range = (slots.start, 0)..(slots.end, 0);
        self.tables.grain_access.retain_in(range.clone(), |(_, day), _| day >= before_day)?;
        self.tables.owner_access.retain_in(range, |(_, day), _| day >= before_day)?;
        Ok(Outcome::Changed)
    }
}
