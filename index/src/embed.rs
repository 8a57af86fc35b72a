//! Text to vectors: tokens, windows, batches, and the model's run.
//!
//! A model sees a bounded window of tokens. A longer text is cut into several windows, and its vector is their mean,
//! weighted by how many tokens each holds: nothing is cut off in silence.

use std::sync::Arc;

use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::Tensor;
use synapsenet_proto::{SpaceId, Vector};
use tokenizers::Tokenizer as Inner;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use crate::models::{Pooling, ReferenceText};
use crate::{Compute, Graph, IndexError, Model, Provider, Runs, Runtime};

/// The output of a BERT-like graph that holds a vector for each token, [windows, tokens, dimension].
const TOKEN_VECTORS: &str = "last_hidden_state";
/// The names of the inputs that such graphs may have, each [windows, tokens] of 64-bit integers.
const INPUT_IDS: &str = "input_ids";
const ATTENTION_MASK: &str = "attention_mask";
const TOKEN_TYPES: &str = "token_type_ids";
/// How vocabularies name the token for what they do not hold.
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];

/// Cuts texts into the tokens of one model. Cheap to clone, and may be used from many threads.
#[derive(Clone)]
pub struct Tokenizer {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Inner,
    max_tokens: usize,
    /// The token that stands for what the vocabulary does not hold, if it has one.
    unknown: Option<u32>,
    /// The special tokens that the model wants before and after a text.
    before: Vec<u32>,
    after: Vec<u32>,
    question_prefix: String,
    document_prefix: String,
    /// How many tokens the document prefix has.
    prefix_tokens: usize,
    /// Whether the tokens of two words do not depend on each other; see [`Tokenizer::splits_at_spaces`].
    splits_at_spaces: bool,
}

/// What a text is embedded for: some models want another prefix for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A question that looks for documents.
    Question,
    /// A text that is to be found.
    Document,
}

/// The tokens of one text, in one or more windows that the model can see whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tokenized {
    windows: Vec<Vec<u32>>,
}

impl Tokenizer {
    /// Reads the model's tokenizer. Padding and truncation that its file may ask for are switched off: the file of
    /// MiniLM cuts every text at 128 tokens.
    ///
    /// # Errors
    /// [`IndexError::BadModel`] if the file cannot be read, was changed, or knows no token for unknown words.
    pub fn new(model: &Model) -> Result<Self, IndexError> {
        let json = model.tokenizer_json()?;
        let bad = |reason: String| IndexError::BadModel {
            place: format!("{}'s tokenizer", model.full_name()),
            reason: format!("{reason}; it must be a tokenizer.json of Hugging Face's tokenizers"),
        };
        let mut inner = Inner::from_bytes(&json).map_err(|error| bad(error.to_string()))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| bad(error.to_string()))?;
        // A word that no vocabulary holds shows whether unknown words have a token; after this, no text can fail.
        let probe = "a\u{10fffd}";
        let bare =
            inner.encode_fast(probe, false).map_err(|error| bad(error.to_string()))?.get_ids().to_vec();
        let whole =
            inner.encode_fast(probe, true).map_err(|error| bad(error.to_string()))?.get_ids().to_vec();
        let start = whole.windows(bare.len().max(1)).position(|window| window == bare);
        let start =
            start.ok_or_else(|| bad("it changes a text's tokens beside adding special ones".to_owned()))?;
        let (before, after) = (whole[..start].to_vec(), whole[start + bare.len()..].to_vec());
        if before.len() + after.len() >= model.max_tokens() {
            return Err(bad(format!("its special tokens fill the window of {}", model.max_tokens())));
        }
        let splits_at_spaces =
            matches!(inner.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        let mut shared = Shared {
            max_tokens: model.max_tokens(),
            unknown: UNKNOWN.iter().find_map(|token| inner.token_to_id(token)),
            inner,
            before,
            after,
            question_prefix: model.question_prefix().to_owned(),
            document_prefix: model.document_prefix().to_owned(),
            prefix_tokens: 0,
            splits_at_spaces,
        };
        shared.prefix_tokens = shared.encode(&shared.document_prefix).len();
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How many tokens `text` has as a document, with the prefix and the special tokens around it. A text within the
    /// model's limit by this count is one window.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.overhead() + self.count_bare(text)
    }

    /// Cuts `text` into tokens, with the prefix that the model wants for `purpose`. A text that is longer than the
    /// model's window is cut into several, at the borders of words where a window has any.
    #[must_use]
    pub fn tokenize(&self, text: &str, purpose: Purpose) -> Tokenized {
        let shared = &*self.shared;
        let prefix = match purpose {
            Purpose::Question => &shared.question_prefix,
            Purpose::Document => &shared.document_prefix,
        };
        let encoding =
            if prefix.is_empty() { shared.encode(text) } else { shared.encode(&format!("{prefix}{text}")) };
        let room = shared.max_tokens - shared.before.len() - shared.after.len();
        let windows = cut_windows(encoding.get_word_ids(), room)
            .into_iter()
            .map(|window| [&shared.before, &encoding.get_ids()[window], &shared.after].concat())
            .collect();
        Tokenized { windows }
    }

    /// The share of the text's tokens, 0 to 1, that stand for what the model's vocabulary does not hold: near 1 for a script that it
    /// cannot read, of which every text looks the same to it. 0 for an empty text.
    #[must_use]
    pub fn unknown_share(&self, text: &Tokenized) -> f32 {
        let special = (self.shared.before.len() + self.shared.after.len()) * text.windows.len();
        let read = text.len().saturating_sub(special);
        let is_unknown = |token: &&u32| Some(**token) == self.shared.unknown;
        let unknown = text.windows.iter().flatten().filter(is_unknown).count();
        if read == 0 { 0.0 } else { unknown as f32 / read as f32 }
    }

    /// The tokens that every document has beside its text: special ones and the prefix.
    pub(crate) fn overhead(&self) -> usize {
        self.shared.before.len() + self.shared.after.len() + self.shared.prefix_tokens
    }

    /// How many tokens `text` itself has.
    pub(crate) fn count_bare(&self, text: &str) -> usize {
        self.shared.encode(text).len()
    }

    /// Whether a text that is put together of words with white space between has just their tokens, as with BERT's
    /// tokenizers. Where not, counts of parts only estimate the count of the whole.
    pub(crate) fn splits_at_spaces(&self) -> bool {
        self.shared.splits_at_spaces
    }
}

impl Shared {
    /// The tokens of `text` without special ones.
    fn encode(&self, text: &str) -> tokenizers::Encoding {
        self.inner.encode_fast(text, false).unwrap_or_else(|error| {
            // The probe in Tokenizer::new rules this out for all tokenizers known to us; a text without tokens is then
            // better than a node that stops.
            tracing::error!(%error, bytes = text.len(), "the tokenizer could not read a text");
            tokenizers::Encoding::default()
        })
    }
}

/// Cuts tokens, given by the word that each belongs to, into ranges of at most `room`. A range ends before a word that
/// does not fit, unless the word alone is longer than half a range.
fn cut_windows(words: &[Option<u32>], room: usize) -> Vec<std::ops::Range<usize>> {
    let mut windows = Vec::new();
    let mut start = 0;
    while words.len() - start > room {
        let full = start + room;
        let border =
            (start + room / 2..=full).rev().find(|&end| words[end].is_none() || words[end] != words[end - 1]);
        let end = border.unwrap_or(full);
        windows.push(start..end);
        start = end;
    }
    windows.push(start..words.len());
    windows
}

impl Tokenized {
    /// How many tokens all windows hold together, with the special ones. At least as long as its longest window.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "even an empty text has its special tokens")]
    pub fn len(&self) -> usize {
        self.windows.iter().map(Vec::len).sum()
    }

    /// The windows, in the order of the text.
    #[must_use]
    pub fn windows(&self) -> &[Vec<u32>] {
        &self.windows
    }
}

/// One session of a model. A run takes `&mut self`: for two runs at once, make two.
pub struct Embedder {
    session: Session,
    provider: Provider,
    options: RunOptions<HasSelectedOutputs>,
    has_token_types: bool,
    /// The most windows of one run.
    max_run_windows: usize,
    runs: Runs,
    head: Head,
}

/// How the vectors of tokens become the vector of a text.
struct Head {
    model: SpaceId,
    dimension: usize,
    pooling: Pooling,
    normalizes: bool,
}

impl Embedder {
    /// Loads a graph into a session that computes as `compute` says, and lets it read a text, so that a model which gives
    /// no vectors, or those of another dimension than it says, is found out at once.
    ///
    /// # Errors
    /// [`IndexError::ProviderMissing`] if what is to compute cannot be had, [`IndexError::Onnx`] if the runtime refuses
    /// the graph, [`IndexError::BadModel`] if it has other inputs or outputs than a BERT-like model,
    /// [`IndexError::BadOutput`] if what comes out of it is no vector of the model's dimension.
    pub fn new(runtime: &Runtime, graph: &Graph, compute: &Compute) -> Result<Self, IndexError> {
        let model = &graph.model;
        let (session, provider) = runtime.session(&graph.onnx, compute)?;
        let bad = |reason: String| IndexError::BadModel {
            place: format!("{}'s ONNX graph", model.full_name()),
            reason,
        };
        for input in session.inputs() {
            if ![INPUT_IDS, ATTENTION_MASK, TOKEN_TYPES].contains(&input.name()) {
                return Err(bad(format!(
                    "it wants an input `{}` that this program does not know",
                    input.name()
                )));
            }
        }
        if !session.outputs().iter().any(|output| output.name() == TOKEN_VECTORS) {
            return Err(bad(format!("it has no output `{TOKEN_VECTORS}`: export it without a pooling head")));
        }
        let options = RunOptions::new()
            .map_err(IndexError::onnx("loading the model"))?
            .with_outputs(OutputSelector::no_default().with(TOKEN_VECTORS));
        let mut embedder = Self {
            has_token_types: session.inputs().iter().any(|input| input.name() == TOKEN_TYPES),
            session,
            provider,
            options,
            max_run_windows: if model.is_batch_invariant() { usize::MAX } else { 1 },
            runs: provider.runs(compute.run_tokens),
            head: Head {
                model: model.id(),
                dimension: model.dimension(),
                pooling: model.pooling(),
                normalizes: model.normalizes(),
            },
        };
        // Any token that the vocabulary has will do: 0 to 3 are in all of them.
        embedder.embed(&[Tokenized { windows: vec![vec![0, 1, 2, 3]] }])?;
        Ok(embedder)
    }

    /// Holds the model against the vectors of its space, and answers the least cosine to them; 1 where there are none, because
    /// its graph is what was published.
    ///
    /// # Errors
    /// [`IndexError::BrokenPromise`] if a vector is farther off than the model promises, and as [`Embedder::embed`].
    pub fn prove(&mut self, model: &Model, tokenizer: &Tokenizer) -> Result<f32, IndexError> {
        let Some(reference) = model.reference()? else { return Ok(1.0) };
        let promised = model.least_cosine();
        let mut least = 1.0f32;
        for ReferenceText { text, vector } in reference.texts {
            let given = self.embed(&[tokenizer.tokenize(&text, Purpose::Document)])?;
            let cosine = given[0].cosine(&Vector::new(model.id(), vector)?).unwrap_or(0.0);
            if cosine < promised {
                let model = model.full_name();
                return Err(IndexError::BrokenPromise { model, cosine, promised, text });
            }
            least = least.min(cosine);
        }
        Ok(least)
    }

    /// What computes, as it is and not as it was wished.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Embeds texts, however many and in whatever order: their windows are run in batches of like length. Gives one
    /// vector for each text, in order; a text's vector does not depend on what else is in the call.
    ///
    /// # Errors
    /// [`IndexError::Onnx`] if a run fails, [`IndexError::BadOutput`] if what comes out is no vector.
    pub fn embed(&mut self, texts: &[Tokenized]) -> Result<Vec<Vector>, IndexError> {
        let windows: Vec<&[u32]> = texts.iter().flat_map(|text| &text.windows).map(Vec::as_slice).collect();
        let lengths: Vec<usize> = windows.iter().map(|window| window.len()).collect();
        let mut pooled = vec![Vec::new(); windows.len()];
        for batch in plan_batches(&lengths, self.runs, self.max_run_windows) {
            let run: Vec<&[u32]> = batch.iter().map(|&index| windows[index]).collect();
            for (&index, vector) in batch.iter().zip(self.run(&run)?) {
                pooled[index] = vector;
            }
        }
        let mut pooled = pooled.into_iter();
        texts.iter().map(|text| self.head.combine(text, &mut pooled)).collect()
    }

    /// Runs the model over windows of tokens and gives the pooled vector of each.
    fn run(&mut self, windows: &[&[u32]]) -> Result<Vec<Vec<f32>>, IndexError> {
        const DOING: &str = "running the model";
        let Some(longest) = windows.iter().map(|window| window.len()).max() else {
            return Ok(Vec::new());
        };
        let shape = [windows.len(), longest];
        let mut ids = vec![0i64; windows.len() * longest];
        let mut mask = ids.clone();
        for (row, window) in windows.iter().enumerate() {
            for (column, &id) in window.iter().enumerate() {
                ids[row * longest + column] = i64::from(id);
                mask[row * longest + column] = 1;
            }
        }
        let tensor = |values: Vec<i64>| Tensor::from_array((shape, values)).map_err(IndexError::onnx(DOING));
        let mut inputs: Vec<(&str, SessionInputValue)> = Vec::with_capacity(3);
        if self.has_token_types {
            inputs.push((TOKEN_TYPES, tensor(vec![0; ids.len()])?.into()));
        }
        inputs.push((INPUT_IDS, tensor(ids)?.into()));
        inputs.push((ATTENTION_MASK, tensor(mask)?.into()));
        let outputs =
            self.session.run_with_options(inputs, &self.options).map_err(IndexError::onnx(DOING))?;
        let dimension = self.head.dimension;
        let (found, values) =
            outputs[TOKEN_VECTORS].try_extract_tensor::<f32>().map_err(IndexError::onnx(DOING))?;
        let wanted = [windows.len() as i64, longest as i64, dimension as i64];
        if **found != wanted {
            return Err(IndexError::BadOutput(format!(
                "its shape is {found:?}, but {wanted:?} was expected"
            )));
        }
        let rows = values.chunks_exact(longest * dimension);
        windows
            .iter()
            .zip(rows)
            .map(|(window, tokens)| self.head.pool(&tokens[..window.len() * dimension]))
            .collect()
    }
}

impl Head {
    /// The vector of a text from those of its windows, which `pooled` gives in order.
    fn combine(
        &self,
        text: &Tokenized,
        pooled: &mut impl Iterator<Item = Vec<f32>>,
    ) -> Result<Vector, IndexError> {
        let mut sum = vec![0f32; self.dimension];
        for (window, vector) in text.windows.iter().zip(pooled) {
            let weight = window.len() as f32;
            sum.iter_mut().zip(&vector).for_each(|(sum, x)| *sum += weight * x);
        }
        self.vector(sum)
    }

    /// Pools the vectors of a window's tokens, [tokens, dimension].
    fn pool(&self, tokens: &[f32]) -> Result<Vec<f32>, IndexError> {
        let mut vector = tokens[..self.dimension].to_vec();
        if self.pooling == Pooling::Mean {
            for token in tokens[self.dimension..].chunks_exact(self.dimension) {
                vector.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
            }
            let count = (tokens.len() / self.dimension) as f32;
            vector.iter_mut().for_each(|sum| *sum /= count);
        }
        if self.normalizes { Ok(self.vector(vector)?.values().to_vec()) } else { Ok(vector) }
    }

    fn vector(&self, values: Vec<f32>) -> Result<Vector, IndexError> {
        Vector::new(self.model, values).map_err(|error| IndexError::BadOutput(error.to_string()))
    }
}

/// Groups texts of the given token counts ([`Tokenized::len`]) into batches of neighbours by length, so that the tokens of
/// padding and the cost of the runs are the least together. At most `max_texts` a batch; and at most `runs.max_tokens` with
/// the padding counted, except that a longer text has a batch of its own. Gives indices into `lengths`, each exactly once,
/// the shortest texts first.
#[must_use]
pub fn plan_batches(lengths: &[usize], runs: Runs, max_texts: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| lengths[index]);
    // For the first so many texts in order: the least cost in tokens, and where the last batch of that plan begins.
    let mut plans = vec![(0, 0)];
    for end in 1..=order.len() {
        // Sorted, so the last text is the longest of its batch, and all are padded to it.
        let longest = lengths[order[end - 1]];
        let most = (runs.max_tokens / longest.max(1)).clamp(1, max_texts.max(1));
        let with_last_from = |start: usize| (plans[start].0 + runs.cost + (end - start) * longest, start);
        let plan = (end.saturating_sub(most)..end).map(with_last_from).min();
        plans.push(plan.expect("a batch of one text is always allowed"));
    }
    let mut batches = Vec::new();
    let mut end = order.len();
    while end > 0 {
        let start = plans[end].1;
        batches.push(order[start..end].to_vec());
        end = start;
    }
    batches.reverse();
    batches
}

#[cfg(test)]
mod tests;
