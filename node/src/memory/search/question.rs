//! A question as it is understood: its vector in each space, its words, and whether the model can read it at all.

use std::sync::Arc;

use synapsenet_index::{Purpose, WordQuestion, guess_language};
use synapsenet_storage::Slot;

use super::{Asked, Mode, Query, Question, SearchError};
use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::spaces::{Space, Spaces};
use crate::models::Models;

/// A text of which the model does not know more than this share of the tokens says nothing to it: all such look alike.
pub(crate) const MAX_UNKNOWN_SHARE: f32 = 0.5;

/// A question as it is understood.
pub(super) struct Read {
    /// Empty where only words count.
    pub asked: Vec<Asked>,
    pub words: Arc<WordQuestion>,
    pub mode: Mode,
    pub is_unreadable: bool,
    /// The language of the question, where the model was not made for it.
    pub foreign: Option<&'static str>,
    /// The grain whose like is asked for.
    pub itself: Option<Slot>,
}

/// Reads a question.
///
/// # Errors
/// [`SearchError`].
pub(super) async fn read(
    memory: &Arc<Memory>,
    spaces: &Arc<Spaces>,
    models: &Models,
    query: &Query,
) -> Result<Read, SearchError> {
    let text = match &query.question {
        Question::Text(text) => text,
        Question::Like(id) => {
            let (memory, spaces, id) = (memory.clone(), spaces.clone(), *id);
            return blocking(move || like(&memory, &spaces, id)).await;
        }
    };
    let words = Arc::new(WordQuestion::parse(text));
    // Of a question that only says what must not be there, nothing is left to read.
    let plain = if words.plain().is_empty() { text } else { words.plain() };
    let mut mode = query.mode;
    let mut is_unreadable = false;
    let mut foreign = None;
    if mode.counts_meaning() {
        let model = &spaces.current.model;
        let tokenizer = models.tokenizer(model).await?;
        let tokens = tokenizer.tokenize(plain, Purpose::Question);
        is_unreadable = tokenizer.unknown_share(&tokens) > MAX_UNKNOWN_SHARE;
        let speaks = |tag: &&str| model.languages().iter().any(|known| known == tag);
        foreign = guess_language(plain).filter(|tag| !model.languages().is_empty() && !speaks(tag));
        if is_unreadable {
            mode = Mode::Words;
        }
    }
    let asked = if mode.counts_meaning() { embed(spaces, models, plain).await? } else { Vec::new() };
    Ok(Read { asked, words, mode, is_unreadable, foreign, itself: None })
}

/// The question in each space. A former model that cannot be used leaves its grains out, which the answer shows.
async fn embed(spaces: &Spaces, models: &Models, text: &str) -> Result<Vec<Asked>, SearchError> {
    let of = |space: &Arc<Space>| {
        let space = space.clone();
        async move {
            let vector = models.question(&space.model, text).await;
            (space, vector)
        }
    };
    let vectors = futures::future::join_all(spaces.all().map(of)).await;
    let mut asked = Vec::with_capacity(vectors.len());
    for (space, vector) in vectors {
        match vector {
            Ok(vector) => asked.push(Asked { space, vector }),
            Err(error) if asked.is_empty() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(model = space.model.full_name(), %error, "a search goes without a model")
            }
        }
    }
    Ok(asked)
}

/// A stored grain as a question: its own vectors, and no words.
fn like(memory: &Memory, spaces: &Spaces, id: synapsenet_proto::GrainId) -> Result<Read, SearchError> {
    let view = memory.store.view()?;
    let slot = view.slot_of(&id)?.ok_or(SearchError::NotHere(id))?;
    let mut asked = Vec::new();
    for space in spaces.all() {
        // What only its author says of it is no question.
        let is_checked = !space.unchecked.contains(slot);
        let vector = view.vector(slot, space.id())?.filter(|_| is_checked);
        if let Some(Ok(vector)) = vector.map(|vector| vector.decode()) {
            asked.push(Asked { space: space.clone(), vector });
        }
    }
    if asked.is_empty() {
        return Err(SearchError::NotRead(id));
    }
    let words = Arc::default();
    Ok(Read { asked, words, mode: Mode::Meaning, is_unreadable: false, foreign: None, itself: Some(slot) })
}
