//! A question as it is understood: its vector in each space, its words, and whether the model can read it at all.

use std::sync::Arc;

use synapsenet_index::{Model, Purpose, Tokenizer, WordQuestion, guess_language};
use synapsenet_proto::{SpaceId, Vector};
use synapsenet_storage::Slot;

use super::{Asked, Mode, Query, Question, SearchError};
use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::spaces::{Space, Spaces};
use crate::models::Models;

/// A text of which the model does not know more than this share of the tokens says nothing to it: all such look alike.
pub(crate) const MAX_UNKNOWN_SHARE: f32 = 0.5;
/// A text with more bytes is understood away from the async threads: the longest takes some milliseconds, and a call may ask many.
const MAX_PARSED_AT_ONCE: usize = 1024;

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

/// Reads questions, in their order, those that are texts in as few runs of the model as can be.
///
/// # Errors
/// [`SearchError`]; all fail together.
pub(super) async fn read(
    memory: &Arc<Memory>,
    spaces: &Arc<Spaces>,
    models: &Models,
    queries: &[Query],
) -> Result<Vec<Read>, SearchError> {
    let mut understood = Vec::with_capacity(queries.len());
    for query in queries {
        understood.push(match &query.question {
            Question::Text(text) => parse(spaces, models, text, query.mode).await?,
            Question::Like(id) => {
                let (memory, spaces, id) = (memory.clone(), spaces.clone(), *id);
                let read = blocking(move || like(&memory, &spaces, id)).await?;
                Understood { read, plain: None }
            }
            Question::Vector { components, space } => {
                Understood { read: near(spaces, components, *space)?, plain: None }
            }
        });
    }
    let texts: Vec<String> = understood.iter().filter_map(|one| one.plain.clone()).collect();
    let mut embedded = embed(spaces, models, &texts).await?.into_iter();
    let with_vectors = |Understood { mut read, plain }: Understood| {
        if plain.is_some() {
            read.asked = embedded.next().unwrap_or_default();
        }
        read
    };
    Ok(understood.into_iter().map(with_vectors).collect())
}

/// A question before the model has read it.
struct Understood {
    read: Read,
    /// What the model is to read of it, if anything.
    plain: Option<String>,
}

async fn parse(
    spaces: &Arc<Spaces>,
    models: &Models,
    text: &str,
    mode: Mode,
) -> Result<Understood, SearchError> {
    let model = &spaces.current.model;
    let tokenizer = if mode.counts_meaning() { Some(models.tokenizer(model).await?) } else { None };
    if text.len() <= MAX_PARSED_AT_ONCE {
        return Ok(understand(model, tokenizer.as_ref(), text, mode));
    }
    let (spaces, text) = (spaces.clone(), text.to_owned());
    Ok(blocking(move || understand(&spaces.current.model, tokenizer.as_ref(), &text, mode)).await)
}

/// Without a tokenizer, only its words count.
fn understand(model: &Model, tokenizer: Option<&Tokenizer>, text: &str, mode: Mode) -> Understood {
    let words = Arc::new(WordQuestion::parse(text));
    let mut read = Read { asked: vec![], words, mode, is_unreadable: false, foreign: None, itself: None };
    let Some(tokenizer) = tokenizer else { return Understood { read, plain: None } };
    // Of a question that only says what must not be there, nothing is left to read.
    let plain = if read.words.plain().is_empty() { text } else { read.words.plain() }.to_owned();
    let tokens = tokenizer.tokenize(&plain, Purpose::Question);
    let speaks = |tag: &&str| model.languages().iter().any(|known| known == tag);
    read.foreign = guess_language(&plain).filter(|tag| !model.languages().is_empty() && !speaks(tag));
    read.is_unreadable = tokenizer.unknown_share(&tokens) > MAX_UNKNOWN_SHARE;
    if read.is_unreadable {
        read.mode = Mode::Words;
        return Understood { read, plain: None };
    }
    Understood { read, plain: Some(plain) }
}

/// Each question in each space. A former model that cannot be used leaves its grains out, which the answer shows.
async fn embed(spaces: &Spaces, models: &Models, texts: &[String]) -> Result<Vec<Vec<Asked>>, SearchError> {
    let mut asked: Vec<Vec<Asked>> = texts.iter().map(|_| Vec::new()).collect();
    if texts.is_empty() {
        return Ok(asked);
    }
    let of = |space: &Arc<Space>| {
        let space = space.clone();
        async move {
            let vectors = models.questions(&space.model, texts).await;
            (space, vectors)
        }
    };
    for (space, vectors) in futures::future::join_all(spaces.all().map(of)).await {
        match vectors {
            Ok(vectors) => {
                for (asked, vector) in asked.iter_mut().zip(vectors) {
                    asked.push(Asked { space: space.clone(), vector });
                }
            }
            Err(error) if asked[0].is_empty() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(model = space.model.full_name(), %error, "a search goes without a model")
            }
        }
    }
    Ok(asked)
}

/// A vector as a question, in the space that it is of and in no other, without words.
fn near(spaces: &Spaces, components: &[f32], named: Option<SpaceId>) -> Result<Read, SearchError> {
    let refused = |field, reason| Err(SearchError::NoVector { field, reason });
    let space = &spaces.current;
    if let Some(named) = named.filter(|named| *named != space.id()) {
        let (id, name) = (space.id(), space.model.full_name());
        return refused(
            "space_id",
            format!(
                "the vector is of the space {named}, and this node embeds for {id} ({name}): compute it by that model"
            ),
        );
    }
    let dimension = space.model.dimension();
    if components.len() != dimension {
        let (given, name) = (components.len(), space.model.full_name());
        return refused(
            "vector",
            format!("the vector has {given} components; those of {name} have {dimension}"),
        );
    }
    let vector = match Vector::new(space.id(), components.to_vec()) {
        Ok(vector) => vector,
        Err(error) => return refused("vector", error.to_string()),
    };
    let asked = vec![Asked { space: space.clone(), vector }];
    let (words, mode) = (Arc::default(), Mode::Meaning);
    Ok(Read { asked, words, mode, is_unreadable: false, foreign: None, itself: None })
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
