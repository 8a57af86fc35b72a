//! Updating: a draft in the place of a note of this node's own author, as one change of the store.
//!
//! A grain is what was signed, so nothing in it can change: the new one is added and the former one withdrawn, both or neither.
//! The two do not name each other: a note says the same whatever stood there before, and is found as a duplicate by that.

use synapsenet_proto::{Draft, Grain, GrainId};
use synapsenet_storage::Record;

use crate::calls::error::invalid;
use crate::calls::grains::Stored;
use crate::calls::waiting::Wait;
use crate::calls::{Call, CallError};
use crate::composed::composed_draft;
use crate::memory::ingest::{Replaced, now_ms};

/// What became of a note that was to be updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Updated {
    /// The note that says it now.
    pub stored: Stored,
    /// Whether search finds that by its meaning, where it was waited for.
    pub is_searchable: bool,
    /// The retraction of the former one; none when it says the same.
    pub retraction: Option<GrainId>,
}

impl Call {
    /// Puts a draft in the place of a note of this node's own author, which stays as shared or private as it was. `keeps_topic`: the
    /// draft names no topic, and so means that of the note.
    ///
    /// # Errors
    /// [`CallError`]; then all is as before.
    pub async fn update(
        &self,
        id: String,
        draft: Draft,
        keeps_topic: bool,
        wait: Wait,
    ) -> Result<Updated, CallError> {
        let old = self.own_note(id).await?;
        let topic = old.grain.topic().clone();
        let mut draft = composed_draft(draft);
        if keeps_topic {
            draft.topic = topic.clone();
        }
        if draft.topic != topic {
            return Err(invalid(format!(
                "the note is of the topic {topic}: retract it, and add it to the other"
            )));
        }
        let path = self.name_source(&mut draft, &old);
        let with =
            self.counted(Grain::seal(draft, &self.parts.identity, now_ms()).map_err(CallError::from))?;
        let same = Stored { id: old.grain.id(), is_new: false, shared: old.shared };
        if with.body().fingerprint() == old.grain.body().fingerprint() {
            return self.updated(same, None, wait).await;
        }
        self.check_path(&with, old.shared)?;
        let retraction = Grain::retract(old.grain.id(), topic.clone(), &self.parts.identity, now_ms())?;
        let withdrawal = retraction.id();
        match self.parts.ingest.replace(old.grain.id(), with, retraction, old.shared).await? {
            Replaced::Now { id, is_new, shared } => {
                self.note_grain(&old.grain.id(), &topic);
                self.note_grain(&id, &topic);
                if let Some(path) = path.filter(|_| !self.topics_of_caller().is_limited()) {
                    self.remember_folder(path).await;
                }
                self.updated(Stored { id, is_new, shared }, Some(withdrawal), wait).await
            }
            Replaced::Same { shared } => self.updated(Stored { shared, ..same }, None, wait).await,
            Replaced::OtherwiseShared { id } if id == old.grain.id() => {
                Err(invalid("the note was shared meanwhile: look at it, and update it again".to_owned()))
            }
            Replaced::OtherwiseShared { id } => Err(invalid(format!(
                "the note {id} says this already and is private, where the one to update is shared: share that one, and retract this one"
            ))),
            // Somebody else was quicker.
            Replaced::NotFound => Err(CallError::NoGrain(old.grain.id().to_string())),
        }
    }

    async fn updated(
        &self,
        stored: Stored,
        retraction: Option<GrainId>,
        wait: Wait,
    ) -> Result<Updated, CallError> {
        let is_searchable = self.wait_for(stored, wait).await?;
        Ok(Updated { stored, is_searchable, retraction })
    }

    /// Gives the source of a draft the name that is signed, and answers the path that it had. One that names the document of the
    /// former note means where that lies now.
    fn name_source(&self, draft: &mut Draft, old: &Record) -> Option<String> {
        let source = draft.source.as_mut()?;
        let signed = self.parts.places.signed(&source.uri);
        let path = std::mem::replace(&mut source.uri, signed);
        let said = old.grain.body().draft.source.as_ref().map(|source| &source.uri);
        if let Some(moved) = old.moved_to.as_ref().filter(|_| said == Some(&source.uri)) {
            source.uri.clone_from(moved);
        }
        Some(path)
    }
}
