//! Vectors for programs that keep texts of their own: computed by the model in use, when it has nothing better to do.

use synapsenet_index::{Purpose, Tokenized};
use synapsenet_proto::{MAX_TEXT_BYTES, SpaceId, Vector};

use crate::blocking::blocking;
use crate::calls::error::invalid;
use crate::calls::{Call, CallError};

/// Texts of one call: with 16 KiB each, a message of 1 MiB.
const MAX_TEXTS: usize = 64;
/// Calls that compute at the same time, so that programs leave room in the queue of the model to the node's own notes.
pub(crate) const MAX_EMBEDDING: usize = 2;
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
    /// The vectors of texts. They wait behind what the owner asks, and in the queue of documents.
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
        let _turn = self.parts.embedding.acquire().await.map_err(|_| CallError::Stopping)?;
        let model = self.parts.memory.current().model.clone();
        let models = &self.parts.models;
        let tokenizer = models.tokenizer(&model).await?;
        let tokens: Vec<Tokenized> =
            blocking(move || texts.iter().map(|text| tokenizer.tokenize(text, purpose)).collect()).await;
        let mut vectors = Vec::with_capacity(tokens.len());
        let mut rest = tokens.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at(texts_of_run(rest));
            self.parts.memory.wait_for_owner().await;
            vectors.extend(models.documents(&model, run).await?);
            rest = after;
        }
        let (space, dimension) = (model.id(), model.dimension());
        Ok(Embedded { vectors, space, model: model.full_name(), dimension })
    }
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
