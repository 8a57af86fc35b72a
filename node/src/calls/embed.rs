//! Vectors for programs that keep texts of their own: computed by the model in use, when it has nothing better to do.

use std::sync::Arc;

use synapsenet_index::{Model, Purpose, Tokenized};
use synapsenet_proto::{MAX_TEXT_BYTES, SpaceId, Vector};
use tokio::sync::Semaphore;

use crate::blocking::blocking;
use crate::calls::error::invalid;
use crate::calls::{Call, CallError};
use crate::memory::Memory;
use crate::models::Models;
use crate::models::embedder::EmbedError;

/// Texts of one call: with 16 KiB each, a message of 1 MiB.
const MAX_TEXTS: usize = 64;
/// Calls that compute at the same time, so that programs leave room in the queue of the model to the node's own notes: of the owner, and
/// of others.
const MAX_EMBEDDING: usize = 2;
/// Windows that the model is given at once, but for a single text that has more: between two runs of them, what the owner asks is
/// answered.
const WINDOWS_A_RUN: usize = 8;

/// What a text is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Something to be found.
    Passage,
    /// A question.
    Question,
}

/// The turns of those who want vectors. The owner waits for nobody else.
#[derive(Debug)]
pub(crate) struct Turns {
    owner: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Turns {
    pub fn new() -> Self {
        let [owner, others] = [(); 2].map(|()| Arc::new(Semaphore::new(MAX_EMBEDDING)));
        Self { owner, others }
    }

    fn of(&self, is_owner: bool) -> Arc<Semaphore> {
        if is_owner { self.owner.clone() } else { self.others.clone() }
    }
}

/// Vectors of one space.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// One for each text, in their order.
    pub vectors: Vec<Vector>,
    /// Their space.
    pub space: SpaceId,
    /// The name of the model.
    pub model: String,
    /// Components of each.
    pub dimension: usize,
}

impl Call {
    /// The vectors of texts. They give way to what the owner asks, and wait in the queue of documents.
    ///
    /// # Errors
    /// [`CallError`]; all fail together.
    pub async fn embed(&self, texts: Vec<String>, role: Role) -> Result<Embedded, CallError> {
        check(&texts)?;
        let purpose = match role {
            Role::Passage => Purpose::Document,
            Role::Question => Purpose::Question,
        };
        // Nobody closes it.
        let turn = self.parts.embedding.of(self.caller.is_owner()).acquire_owned().await;
        let turn = Arc::new(turn.map_err(|_| CallError::Stopping)?);
        let model = self.parts.memory.current().model.clone();
        let models = &self.parts.models;
        let tokenizer = models.tokenizer(&model).await?;
        // Reading goes on when nobody waits for it any more, and keeps its turn and its place for as long.
        let held = (turn.clone(), self.place.clone());
        let tokens: Vec<Tokenized> = blocking(move || {
            let _held = held;
            texts.iter().map(|text| tokenizer.tokenize(text, purpose)).collect()
        })
        .await;
        let vectors = compute(&self.parts.memory, models, &model, &tokens).await?;
        let (space, dimension) = (model.id(), model.dimension());
        Ok(Embedded { vectors, space, model: model.full_name(), dimension })
    }
}

/// The vectors of texts, in runs between which the owner's questions are answered.
async fn compute(
    memory: &Memory,
    models: &Models,
    model: &Model,
    texts: &[Tokenized],
) -> Result<Vec<Vector>, EmbedError> {
    let mut vectors = Vec::with_capacity(texts.len());
    let mut rest = texts;
    while !rest.is_empty() {
        let (run, after) = rest.split_at(texts_of_run(rest));
        memory.give_way().await;
        vectors.extend(models.documents(model, run).await?);
        rest = after;
    }
    Ok(vectors)
}

/// How many of these texts are given to the model at once: at least one.
fn texts_of_run(texts: &[Tokenized]) -> usize {
    let mut windows = 0;
    let fits = |text: &&Tokenized| {
        windows += text.windows().len();
        windows <= WINDOWS_A_RUN
    };
    texts.iter().take_while(fits).count().max(1)
}

fn check(texts: &[String]) -> Result<(), CallError> {
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        return Err(invalid(format!("there are {} texts; 1 to {MAX_TEXTS} are allowed", texts.len())));
    }
    for (place, text) in texts.iter().enumerate() {
        if text.trim().is_empty() {
            return Err(invalid(format!("text {} is empty: leave it out", place + 1)));
        }
        if text.len() > MAX_TEXT_BYTES {
            let bytes = text.len();
            return Err(invalid(format!(
                "text {} has {bytes} bytes; at most {MAX_TEXT_BYTES} are allowed: split it",
                place + 1
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn the_owner_waits_for_no_vectors_of_others() {
        let turns = Turns::new();
        let _taken: Vec<_> =
            (0..MAX_EMBEDDING).map(|_| turns.of(false).try_acquire_owned().unwrap()).collect();
        assert!(turns.of(false).try_acquire_owned().is_err());
        assert!(turns.of(true).try_acquire_owned().is_ok());
    }

    /// Whoever asked all the time kept everybody else from having a vector, for good.
    #[tokio::test]
    async fn vectors_are_computed_though_questions_never_end() {
        let node = Fixture::new();
        let (models, memory) = (node.models(true), node.memory.clone());
        let model = memory.current().model.clone();
        let tokenizer = models.tokenizer(&model).await.unwrap();
        let texts = ["one", "two"].map(|text| tokenizer.tokenize(text, Purpose::Document));
        let _asking = memory.note_question();
        let vectors = compute(&memory, &models, &model, &texts);
        let vectors = tokio::time::timeout(std::time::Duration::from_secs(180), vectors).await;
        assert_eq!(vectors.expect("it ends").unwrap().len(), 2);
    }

    #[test]
    fn texts_say_something_and_are_no_more_than_there_may_be() {
        let texts = |count, text: &str| vec![text.to_owned(); count];
        check(&texts(MAX_TEXTS, &"x".repeat(MAX_TEXT_BYTES))).unwrap();
        for wrong in [texts(0, ""), texts(MAX_TEXTS + 1, "x"), texts(1, " \n"), texts(1, &"x".repeat(16_385))]
        {
            assert!(matches!(check(&wrong), Err(CallError::Invalid(_))));
        }
    }
}
