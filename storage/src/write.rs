//! What each change does to every table; what concerns vectors is in `vectors`, and what authors claim of them in `checks`.

mod authors;
mod checks;
mod pins;
mod uses;
mod vectors;

use std::collections::BTreeSet;

use redb::ReadableTable;
use synapsenet_proto::{Grain, GrainId, Kind};

#[cfg(test)]
pub(crate) use authors::MAX_FORGOTTEN;

use crate::tables::{self, Header, LOG_CLAIMED, LOG_MOVED, WriteTables, meta};
use crate::{Change, Lane, Origin, Outcome, Slot, StorageError};

/// The changes of one transaction.
pub(crate) struct Writer<'txn> {
    tables: WriteTables<'txn>,
    last_slot: Slot,
    retractions: u64,
    last_seq: u64,
    pruned_seq: u64,
    shared_seq: u64,
    stranger_bytes: u64,
    stranger_notes: u64,
    forgotten_seq: u64,
}

impl<'txn> Writer<'txn> {
    pub(crate) fn new(tables: WriteTables<'txn>) -> Result<Self, StorageError> {
        let number = |key: &str| -> Result<u64, StorageError> {
            let number = tables.meta.get(key)?.map(|number| number.value());
            number.ok_or_else(|| StorageError::Damaged(format!("the number {key} is missing")))
        };
        let (last_slot, retractions) = (number(meta::LAST_SLOT)?, number(meta::RETRACTIONS)?);
        let (last_seq, pruned_seq) = (number(meta::LAST_SEQ)?, number(meta::PRUNED_SEQ)?);
        let shared_seq = number(meta::SHARED_SEQ)?;
        let (stranger_bytes, forgotten_seq) = (number(meta::STRANGER_BYTES)?, number(meta::FORGOTTEN_SEQ)?);
        let stranger_notes = number(meta::STRANGER_NOTES)?;
        Ok(Self {
            tables,
            last_slot,
            retractions,
            last_seq,
            pruned_seq,
            shared_seq,
            stranger_bytes,
            stranger_notes,
            forgotten_seq,
        })
    }

    /// Writes the numbers back. Called once, before the commit.
    pub(crate) fn finish(mut self) -> Result<(), StorageError> {
        let numbers = [
            (meta::LAST_SLOT, self.last_slot),
            (meta::RETRACTIONS, self.retractions),
            (meta::LAST_SEQ, self.last_seq),
            (meta::PRUNED_SEQ, self.pruned_seq),
            (meta::SHARED_SEQ, self.shared_seq),
            (meta::STRANGER_BYTES, self.stranger_bytes),
            (meta::STRANGER_NOTES, self.stranger_notes),
            (meta::FORGOTTEN_SEQ, self.forgotten_seq),
        ];
        for (key, number) in numbers {
            self.tables.meta.insert(key, number)?;
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, change: Change) -> Result<Outcome, StorageError> {
        match change {
            Change::Put { grain, shared, received_ms, claim, origin, lane } => {
                let outcome = self.put(&grain, shared, received_ms, origin)?;
                let Outcome::Added { slot } = outcome else { return Ok(outcome) };
                if grain.kind() == Kind::Note {
                    self.wait(slot, lane)?;
                    // What somebody says who was caught is not even kept.
                    if let Some(claim) = claim
                        && !self.standing(&grain.author())?.1
                    {
                        self.tables.claims.insert(slot, claim.as_slice())?;
                    }
                }
                if origin == Origin::Stranger {
                    self.make_strangers(slot, grain.created_ms())?;
                }
                Ok(outcome)
            }
            Change::Replace { old, with, retraction, shared, received_ms, lane } => {
                self.replace(&old, with, retraction, shared, (received_ms, lane))
            }
            Change::Forget { slots, remember } => self.forget(&slots, remember),
            Change::TrimStrangers { grains, notes, bytes, limit, first, remember } => {
                let goes = self.too_many_strangers(grains, notes, bytes, limit, &first)?;
                self.forget(&goes, remember)
            }
            Change::Pin { slot, pinned, most } => self.pin(slot, pinned, most),
            Change::CountUses { day, uses } => self.count_uses(day, &uses),
            Change::DropUses { before_day, slots } => self.drop_uses(before_day, slots),
            Change::MoveSource { slots, uri } => self.move_source(&slots, &uri),
            Change::SetAuthorRule { author, rule } => self.set_author_rule(author, rule),
            Change::SetTopicPolicy { topic, policy } => self.set_topic_policy(&topic, &policy),
            Change::AddClaim { slot, claim } => self.add_claim(slot, &claim),
            Change::DropClaim { slot } => Ok(if self.tables.claims.remove(slot)?.is_some() {
                Outcome::Changed
            } else {
                Outcome::Unchanged
            }),
            Change::AddClaimed { slot, author, vector } => self.add_claimed(slot, &author, &vector),
            Change::Checked { slot, author } => self.checked(slot, &author),
            Change::Distrust { author } => self.distrust(&author),
            Change::PurgeClaims { limit } => self.purge(limit),
            Change::Share { id } => self.share(&id),
            Change::AddVector { slot, vector } => self.add_vector(slot, &vector),
            Change::DropVectors { model, limit } => self.drop_vectors(model, limit),
            Change::RenameModel { from, to } => self.rename_model(from, to),
            Change::PruneIndexLog { up_to } => self.prune_index_log(up_to),
        }
    }

    fn put(
        &mut self,
        grain: &Grain,
        mut shared: bool,
        received_ms: u64,
        origin: Origin,
    ) -> Result<Outcome, StorageError> {
        let id = grain.id();
        if let Some(slot) = self.slot_of(&id)? {
            if origin == Origin::Here {
                self.count_as_owners(slot, grain.created_ms())?;
            }
            return self.duplicate(slot, id, shared);
        }
        match origin {
            Origin::Here => self.take_again(&id)?,
            _ if self.tables.forgotten.get(id.as_bytes())?.is_some() => return Ok(Outcome::Forgotten),
            _ => {}
        }
        if grain.kind() == Kind::Note {
            if self.tables.tombstones.get((id.as_bytes(), grain.author().as_bytes()))?.is_some() {
                return Ok(Outcome::Retracted);
            }
            let same = if origin == Origin::Here { self.first_with_words_of(grain)? } else { None };
            if let Some(slot) = same {
                let (_, stored) = self.load(slot)?;
                return self.duplicate(slot, stored.id(), shared);
            }
        }
        if let Some(target) = grain.retracted() {
            if let Some((slot, was_shared, other)) = self.retraction_of(&target, grain)? {
                if other.id() < id {
                    return self.duplicate(slot, other.id(), shared);
                }
                shared |= was_shared;
                self.remove_retraction(slot, &other)?;
            }
            self.withdraw(&target, grain)?;
        }
        self.last_slot += 1;
        let slot = self.last_slot;
        let record = tables::encode_record(grain, shared, received_ms);
        self.tables.records.insert(slot, record.as_slice())?;
        self.tables.ids.insert(id.as_bytes(), slot)?;
        self.enter_orders(slot, grain)?;
        if shared {
            self.enter_shared(slot, grain)?;
        }
        match grain.retracted() {
            None => self.enter_note(slot, grain)?,
            Some(target) => {
                self.retractions += 1;
                self.tables.tombstones.insert((target.as_bytes(), grain.author().as_bytes()), slot)?;
            }
        }
        Ok(Outcome::Added { slot })
    }

    /// Puts a note in the place of another, or leaves all as it is.
    fn replace(
        &mut self,
        old: &GrainId,
        with: Grain,
        retraction: Grain,
        shared: bool,
        (received_ms, lane): (u64, Lane),
    ) -> Result<Outcome, StorageError> {
        let Some(slot) = self.slot_of(old)? else { return Ok(Outcome::Unchanged) };
        if self.is_shared(slot)? != shared {
            return Ok(Outcome::OtherwiseShared { id: *old });
        }
        // Who updates one note asks for no other to be shared.
        if let Some(same) = self
            .slot_of(&with.id())?
            .map_or_else(|| self.first_with_words_of(&with), |slot| Ok(Some(slot)))?
            && shared
            && !self.is_shared(same)?
        {
            return Ok(Outcome::OtherwiseShared { id: self.load(same)?.1.id() });
        }
        let put = |grain| Change::Put { grain, shared, received_ms, claim: None, origin: Origin::Here, lane };
        let id = with.id();
        let (id, is_new, shared) = match self.apply(put(with))? {
            Outcome::Added { .. } => (id, true, shared),
            Outcome::Duplicate { id, shared } if id != *old => (id, false, shared),
            // It says what the other said, or may not come in.
            outcome => return Ok(outcome),
        };
        let withdrawal = retraction.id();
        let was_pinned = self.tables.pins.get(slot)?.is_some();
        self.apply(put(retraction))?;
        let lies = |id: &GrainId| self.slot_of(id).map(Option::unwrap_or_default);
        let (slot, retraction) = (lies(&id)?, lies(&withdrawal)?);
        if was_pinned && self.slot_of(old)?.is_none() {
            // As many are pinned as before. No stranger's: it was put here, or found among what is none's.
            self.tables.pins.insert(slot, false)?;
        }
        Ok(Outcome::Replaced { id, is_new, shared, slot, retraction })
    }

    /// The note that came first of those that say the same, and are no stranger's: a stranger's can go any day, and the
    /// owner's words with it. One whose document lies elsewhere by now is of another document.
    fn first_with_words_of(&self, grain: &Grain) -> Result<Option<Slot>, StorageError> {
        /// Copies of strangers that are passed over; behind more, the owner's words are stored once more.
        const MAX_PASSED: usize = 64;
        let words = grain.body().fingerprint();
        for entry in self.tables.by_words.range((&words, 0)..=(&words, u64::MAX))?.take(MAX_PASSED) {
            let (_, slot) = entry?.0.value();
            let may_go = self.is_strangers(slot)? || self.is_pinned_strangers(slot)?;
            if !may_go && self.tables.moved.get(slot)?.is_none() {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// The retraction by the author of this one that withdraws the same.
    fn retraction_of(
        &self,
        target: &GrainId,
        retraction: &Grain,
    ) -> Result<Option<(Slot, bool, Grain)>, StorageError> {
        let key = (target.as_bytes(), retraction.author());
        let Some(slot) = self.tables.tombstones.get((key.0, key.1.as_bytes()))?.map(|slot| slot.value())
        else {
            return Ok(None);
        };
        let (shared, other) = self.load(slot)?;
        Ok(Some((slot, shared, other)))
    }

    /// What is there already is only ever made shared, never private again.
    fn duplicate(&mut self, slot: Slot, id: GrainId, shared: bool) -> Result<Outcome, StorageError> {
        let was_shared = if shared { !self.mark_shared(slot)? } else { self.is_shared(slot)? };
        Ok(Outcome::Duplicate { id, shared: shared || was_shared })
    }

    fn share(&mut self, id: &GrainId) -> Result<Outcome, StorageError> {
        match self.slot_of(id)? {
            Some(slot) if self.mark_shared(slot)? => Ok(Outcome::Changed),
            Some(_) | None => Ok(Outcome::Unchanged),
        }
    }

    /// Says whether the record was private until now.
    fn mark_shared(&mut self, slot: Slot) -> Result<bool, StorageError> {
        if self.is_shared(slot)? {
            return Ok(false);
        }
        let record = self.record(slot)?;
        let record = record.map(|record| tables::mark_shared(record.value()));
        let record = record.ok_or_else(|| missing(slot))?;
        self.tables.records.insert(slot, record.as_slice())?;
        let (_, grain) = self.load(slot)?;
        self.enter_shared(slot, &grain)?;
        Ok(true)
    }

    fn is_shared(&self, slot: Slot) -> Result<bool, StorageError> {
        let record = self.record(slot)?.ok_or_else(|| missing(slot))?;
        Ok(Header::split(slot, record.value())?.0.shared)
    }

    /// Removes the note `target` if `retraction` may withdraw it. Whether it is here or not, the tombstone that the
    /// caller sets keeps it out from now on, so that the order in which the two arrive makes no difference.
    fn withdraw(&mut self, target: &GrainId, retraction: &Grain) -> Result<(), StorageError> {
        let Some(slot) = self.slot_of(target)? else { return Ok(()) };
        let (_, grain) = self.load(slot)?;
        if grain.kind() == Kind::Note && grain.author() == retraction.author() {
            self.remove_note(slot, &grain)?;
        }
        Ok(())
    }

    fn add_claim(&mut self, slot: Slot, claim: &[u8]) -> Result<Outcome, StorageError> {
        if !self.is_note(slot)? {
            return Ok(Outcome::Unchanged);
        }
        self.tables.claims.insert(slot, claim)?;
        // Whoever compares what authors vouch for has looked at the note already.
        if self.tables.waiting.get(slot)?.is_none() {
            self.log(slot, LOG_CLAIMED)?;
        }
        Ok(Outcome::Changed)
    }

    fn enter_shared(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        self.shared_seq += 1;
        let key = (grain.topic().as_str(), grain.created_ms(), grain.id());
        self.tables.shared.insert((key.0, key.1, key.2.as_bytes()), slot)?;
        Ok(())
    }

    fn prune_index_log(&mut self, up_to: u64) -> Result<Outcome, StorageError> {
        let up_to = up_to.min(self.last_seq);
        if up_to <= self.pruned_seq {
            return Ok(Outcome::Unchanged);
        }
        self.tables.index_log.retain_in(..=up_to, |_, _| false)?;
        self.pruned_seq = up_to;
        Ok(Outcome::Changed)
    }

    fn log(&mut self, slot: Slot, kind: u8) -> Result<(), StorageError> {
        self.last_seq += 1;
        self.tables.index_log.insert(self.last_seq, (slot, kind))?;
        Ok(())
    }

    fn slot_of(&self, id: &GrainId) -> Result<Option<Slot>, StorageError> {
        Ok(self.tables.ids.get(id.as_bytes())?.map(|slot| slot.value()))
    }

    fn record(&self, slot: Slot) -> Result<Option<redb::AccessGuard<'_, &'static [u8]>>, StorageError> {
        Ok(self.tables.records.get(slot)?)
    }

    fn is_note(&self, slot: Slot) -> Result<bool, StorageError> {
        let Some(record) = self.record(slot)? else { return Ok(false) };
        Ok(Header::split(slot, record.value())?.0.kind == Kind::Note)
    }

    /// The grain at a slot that some table names; gives whether it is shared, too.
    fn load(&self, slot: Slot) -> Result<(bool, Grain), StorageError> {
        let record = self.record(slot)?.ok_or_else(|| missing(slot))?;
        let (header, packed) = Header::split(slot, record.value())?;
        Ok((header.shared, tables::decode_grain(slot, &header, packed)?))
    }

    /// Enters a note where only notes stand.
    fn enter_note(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        let created_ms = grain.created_ms();
        let draft = &grain.body().draft;
        for tag in &draft.tags {
            self.tables.by_tag.insert((tag.as_str(), created_ms, slot), ())?;
        }
        for (key, value) in &draft.metadata {
            let pair = tables::pair(key, value);
            self.tables.by_metadata.insert((pair.as_str(), created_ms, slot), ())?;
        }
        if let Some(source) = &draft.source {
            self.tables.by_source.insert((source.uri.as_str(), created_ms, slot), ())?;
        }
        if !draft.lang.is_empty() {
            self.tables.by_lang.insert((draft.lang.to_ascii_lowercase().as_str(), created_ms, slot), ())?;
        }
        for target in link_targets(grain) {
            self.tables.links.insert((target.as_bytes(), slot), ())?;
        }
        self.tables.by_words.insert((&grain.body().fingerprint(), slot), ())?;
        self.count_topic(grain, 1)
    }

    /// Enters a grain in the orders that all grains stand in.
    fn enter_orders(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        let created_ms = grain.created_ms();
        self.tables.by_time.insert((created_ms, slot), ())?;
        self.tables.by_topic.insert((grain.topic().as_str(), created_ms, slot), ())?;
        self.tables.by_author.insert((grain.author().as_bytes(), created_ms, slot), ())?;
        self.count_author(&grain.author(), 1)
    }

    /// Undoes [`Writer::enter_orders`], and takes record and id away.
    fn remove_grain(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        let (created_ms, id) = (grain.created_ms(), grain.id());
        self.tables.by_time.remove((created_ms, slot))?;
        self.tables.by_topic.remove((grain.topic().as_str(), created_ms, slot))?;
        self.tables.by_author.remove((grain.author().as_bytes(), created_ms, slot))?;
        self.count_author(&grain.author(), -1)?;
        let key = (grain.topic().as_str(), created_ms, id.as_bytes());
        if self.tables.shared.remove(key)?.is_some() {
            self.shared_seq += 1;
        }
        self.leave_strangers(slot, created_ms)?;
        self.tables.pins.remove(slot)?;
        self.tables.ids.remove(id.as_bytes())?;
        self.tables.records.remove(slot)?;
        Ok(())
    }

    /// Takes a retraction away, and that what it withdraws may not come.
    fn remove_retraction(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        if let Some(target) = grain.retracted() {
            let (author, key) = (grain.author(), target.as_bytes());
            let named = self.tables.tombstones.get((key, author.as_bytes()))?.map(|slot| slot.value());
            if named == Some(slot) {
                self.tables.tombstones.remove((key, author.as_bytes()))?;
            }
        }
        self.retractions = self.retractions.saturating_sub(1);
        self.remove_grain(slot, grain)
    }

    /// Undoes [`Writer::enter_orders`] and [`Writer::enter_note`], and takes record, id and vectors away.
    fn remove_note(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        let created_ms = grain.created_ms();
        let draft = &grain.body().draft;
        for tag in &draft.tags {
            self.tables.by_tag.remove((tag.as_str(), created_ms, slot))?;
        }
        for (key, value) in &draft.metadata {
            self.tables.by_metadata.remove((tables::pair(key, value).as_str(), created_ms, slot))?;
        }
        if let Some(source) = &draft.source {
            let moved = self.tables.moved.remove(slot)?.map(|uri| uri.value().to_owned());
            let uri = moved.as_deref().unwrap_or(&source.uri);
            self.tables.by_source.remove((uri, created_ms, slot))?;
        }
        self.tables.by_lang.remove((draft.lang.to_ascii_lowercase().as_str(), created_ms, slot))?;
        for target in link_targets(grain) {
            self.tables.links.remove((target.as_bytes(), slot))?;
        }
        self.tables.by_words.remove((&grain.body().fingerprint(), slot))?;
        self.tables.claims.remove(slot)?;
        self.tables.grain_access.retain_in((slot, 0)..=(slot, u32::MAX), |_, _| false)?;
        self.tables.owner_access.retain_in((slot, 0)..=(slot, u32::MAX), |_, _| false)?;
        self.end_wait(slot)?;
        self.count_topic(grain, -1)?;
        self.remove_grain(slot, grain)?;
        self.remove_vectors(slot)
    }

    fn move_source(&mut self, slots: &[Slot], uri: &str) -> Result<Outcome, StorageError> {
        let mut outcome = Outcome::Unchanged;
        for &slot in slots {
            if !self.is_note(slot)? {
                continue;
            }
            let (_, grain) = self.load(slot)?;
            let Some(source) = &grain.body().draft.source else { continue };
            let moved = self.tables.moved.get(slot)?.map(|uri| uri.value().to_owned());
            let before = moved.as_deref().unwrap_or(&source.uri);
            if before == uri {
                continue;
            }
            let created_ms = grain.created_ms();
            self.tables.by_source.remove((before, created_ms, slot))?;
            self.tables.by_source.insert((uri, created_ms, slot), ())?;
            if source.uri == uri {
                self.tables.moved.remove(slot)?;
            } else {
                self.tables.moved.insert(slot, uri)?;
            }
            self.log(slot, LOG_MOVED)?;
            outcome = Outcome::Changed;
        }
        Ok(outcome)
    }

    fn count_topic(&mut self, grain: &Grain, change: i64) -> Result<(), StorageError> {
        let topic = grain.topic().as_str();
        let count = self.tables.topics.get(topic)?.map_or(0, |count| count.value());
        match count.saturating_add_signed(change) {
            0 => self.tables.topics.remove(topic)?,
            count => self.tables.topics.insert(topic, count)?,
        };
        Ok(())
    }
}

/// The grains that a note links to, each once.
pub(crate) fn link_targets(grain: &Grain) -> BTreeSet<GrainId> {
    grain.body().draft.links.iter().map(|link| link.target).collect()
}

/// Some table names a slot that has no record.
fn missing(slot: Slot) -> StorageError {
    StorageError::bad_record(slot, "it is named elsewhere and is not there")
}

#[cfg(test)]
mod tests;
