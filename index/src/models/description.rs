//! `model.toml`: what a variant of a space says about itself, and what is held against it.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use synapsenet_proto::{MAX_DIMENSION, SpaceId};

use super::{DESCRIPTION, bad};
use crate::IndexError;

/// Separates the ids of spaces from all other blake3 hashes of the project. It never changes: ids are stored beside vectors.
pub(super) const ID_CONTEXT: &str = "synapsenet v1 model id";
/// The longest window that a model may ask for. Attention takes memory by its square; 8192 tokens is the longest that
/// published models for short texts have.
const MAX_WINDOW_TOKENS: usize = 8192;
/// The shortest window that makes sense: some special tokens and a few of the text.
const MIN_WINDOW_TOKENS: usize = 8;
/// The longest name or variant: it becomes the name of a folder and a column on the terminal.
const MAX_NAME_BYTES: usize = 64;

/// `model.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) variant: String,
    pub(super) dimension: usize,
    pub(super) max_tokens: usize,
    pub(super) pooling: Pooling,
    pub(super) normalize: bool,
    pub(super) question_prefix: String,
    pub(super) document_prefix: String,
    pub(super) license: String,
    /// Whether a text's vector is the same whatever stands beside it in a run. Where not, each text is run alone.
    #[serde(default = "yes")]
    pub(super) batch_invariant: bool,
    #[serde(default)]
    pub(super) arithmetic: Arithmetic,
    /// The languages that it was made for, as BCP 47 tags; nothing where they are many, or not known.
    #[serde(default)]
    pub(super) languages: Vec<String>,
    /// How its cosines and words are weighed against each other.
    #[serde(default)]
    pub(super) search: Weights,
    /// The sha256 of the published weights that the graph computes. Where nothing is said, the graph itself is what is
    /// published.
    pub(super) weights: Option<String>,
    /// With `weights`: the least cosine of a vector to the one that the published weights give.
    pub(super) least_cosine: Option<f32>,
    pub(super) files: Files,
    /// Where it can be fetched from.
    pub(super) hub: Option<Hub>,
}

fn yes() -> bool {
    true
}

/// How the cosines of a space and the words of a question are weighed against each other in one score. What is not said in a
/// description is what suits a model of short texts that nobody measured.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// The share of the words, 0 to 1; the cosine has the rest.
    pub words: f32,
    /// The BM25 score that counts half of what words can count, as a multiple of the natural logarithm of how many notes there
    /// are; above 0.
    pub half_words: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { words: 0.5, half_words: 2.5 }
    }
}

/// How the vectors of a text's tokens become the vector of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// The vector of the first token.
    Cls,
}

/// What a graph multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// Floating point numbers of 32 bits.
    #[default]
    Float32,
    /// Integers of 8 bits.
    Int8,
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Int8 => "int8",
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    pub(super) onnx: FileEntry,
    pub(super) tokenizer: FileEntry,
    /// With `weights`: texts, and the vectors that the published weights give them.
    pub(super) reference: Option<FileEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) path: String,
    pub(super) sha256: String,
}

/// Where a model's files lie on the Hugging Face hub.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hub {
    pub(super) repository: String,
    pub(super) revision: String,
    pub(super) onnx: String,
    pub(super) onnx_bytes: Option<u64>,
    pub(super) tokenizer: String,
    pub(super) tokenizer_bytes: Option<u64>,
}

impl Description {
    pub(super) fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.variant)
    }
}

/// Reads `model.toml` and refuses what no model can have.
pub(super) fn parse(text: &str, place: &str) -> Result<Description, IndexError> {
    let description: Description = toml::from_str(text).map_err(|error| bad(place, error.to_string()))?;
    for name in [&description.name, &description.variant] {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || name.starts_with('.')
            || !name.bytes().all(is_plain)
        {
            let rule = "letters, digits, `.`, `_` and `-`, and does not begin with a dot";
            return Err(bad(
                place,
                format!("a name or variant has 1 to {MAX_NAME_BYTES} {rule}; `{name}` is none"),
            ));
        }
    }
    if description.dimension == 0 || description.dimension > MAX_DIMENSION {
        let reason = format!("dimension is {}, but must be 1 to {MAX_DIMENSION}", description.dimension);
        return Err(bad(place, reason));
    }
    if !(MIN_WINDOW_TOKENS..=MAX_WINDOW_TOKENS).contains(&description.max_tokens) {
        let range = format!("{MIN_WINDOW_TOKENS} to {MAX_WINDOW_TOKENS}");
        return Err(bad(place, format!("max_tokens is {}, but must be {range}", description.max_tokens)));
    }
    let Weights { words, half_words } = description.search;
    if !(0.0..=1.0).contains(&words) || half_words <= 0.0 || !half_words.is_finite() {
        let reason = format!(
            "[search] has words = {words} and half_words = {half_words}, but words must be 0 to 1 and half_words over 0"
        );
        return Err(bad(place, reason));
    }
    let Files { onnx, tokenizer, reference } = &description.files;
    for entry in [onnx, tokenizer].into_iter().chain(reference) {
        // A plain name: a description from a stranger must not point at other files of this machine.
        if Path::new(&entry.path).file_name().is_none_or(|name| name != entry.path.as_str()) {
            return Err(bad(
                place,
                format!("`{}` must be the name of a file beside {DESCRIPTION}", entry.path),
            ));
        }
    }
    match (&description.weights, description.least_cosine, reference) {
        (None, None, None) => {}
        (Some(_), Some(least), Some(_)) if least > 0.0 && least <= 1.0 => {}
        (Some(_), Some(least), Some(_)) => {
            return Err(bad(place, format!("least_cosine is {least}, but must be over 0 and at most 1")));
        }
        _ => {
            let reason = "weights, least_cosine and [files.reference] belong together: a graph that computes other weights \
                          than its own promises how well, and brings vectors to hold it against";
            return Err(bad(place, reason.to_owned()));
        }
    }
    Ok(description)
}

/// Reads a file of a model's folder and holds it against the description.
pub(super) fn read_checked(dir: &Path, entry: &FileEntry) -> Result<Cow<'static, [u8]>, IndexError> {
    let path = dir.join(&entry.path);
    let bytes = fs::read(&path).map_err(|error| {
        bad(&path.display().to_string(), format!("{error}; {DESCRIPTION} names it, so copy it there"))
    })?;
    checked(entry, Cow::Owned(bytes), &dir.display().to_string())
}

/// `bytes`, if their sha256 is the one that the description promises.
pub(super) fn checked(
    entry: &FileEntry,
    bytes: Cow<'static, [u8]>,
    dir: &str,
) -> Result<Cow<'static, [u8]>, IndexError> {
    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    if read_hash(&entry.sha256) == Some(hash) {
        return Ok(bytes);
    }
    let found = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let reason = format!(
        "its sha256 is {found}, but {DESCRIPTION} promises {}; it was changed or cut short, so copy the model again",
        entry.sha256
    );
    Err(bad(&format!("{dir}/{}", entry.path), reason))
}

/// A sha256 from its 64 hexadecimal digits.
fn read_hash(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

/// The id of the space: the hash over all that decides what its vectors mean. `weights` stands for what is published: its sha256,
/// or that of the graph.
pub(super) fn id_of(description: &Description, weights: &str, place: &str) -> Result<SpaceId, IndexError> {
    let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
    let Files { onnx, tokenizer, reference } = &description.files;
    let sha256 = |name: &str, digits: &str| {
        read_hash(digits)
            .ok_or_else(|| bad(place, format!("the sha256 of `{name}` must have 64 hexadecimal digits")))
    };
    for entry in [onnx, tokenizer].into_iter().chain(reference) {
        sha256(&entry.path, &entry.sha256)?;
    }
    hasher.update(&sha256("weights", weights)?);
    hasher.update(&sha256(&tokenizer.path, &tokenizer.sha256)?);
    let pooling = match description.pooling {
        Pooling::Mean => 0,
        Pooling::Cls => 1,
    };
    hasher.update(&[pooling, u8::from(description.normalize)]);
    for number in [description.dimension, description.max_tokens] {
        hasher.update(&(number as u64).to_le_bytes());
    }
    for prefix in [&description.question_prefix, &description.document_prefix] {
        // With its length, so that no two pairs of prefixes look the same.
        hasher.update(&(prefix.len() as u64).to_le_bytes());
        hasher.update(prefix.as_bytes());
    }
    Ok(SpaceId::from_bytes(*hasher.finalize().as_bytes()))
}
