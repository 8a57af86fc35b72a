//! Which model: its description, its files, and the hash that names it.
//!
//! A model is a folder with `model.toml`, an ONNX graph and a `tokenizer.json`. The description carries the sha256 of
//! both files, so a model that was changed or cut short is refused before it gives wrong vectors. One model is built
//! into the program: nothing is downloaded to start.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use synapsenet_proto::{MAX_DIMENSION, ModelId};

use crate::IndexError;

/// The name of the description in a model's folder.
const DESCRIPTION: &str = "model.toml";
/// Separates model ids from all other blake3 hashes of the project. It never changes: ids are stored beside vectors.
const ID_CONTEXT: &str = "synapsenet v1 model id";
/// The longest window that a model may ask for. Attention takes memory by its square; 8192 tokens is the longest that
/// published models for short texts have.
const MAX_WINDOW_TOKENS: usize = 8192;
/// The shortest window that makes sense: some special tokens and a few of the text.
const MIN_WINDOW_TOKENS: usize = 8;

/// The folder of the built-in model, as error messages name it.
const BUILT_IN_PLACE: &str = "the built-in index/models/all-MiniLM-L6-v2";
const BUILT_IN_DESCRIPTION: &str = include_str!("../models/all-MiniLM-L6-v2/model.toml");
static BUILT_IN_ONNX: &[u8] = include_bytes!("../models/all-MiniLM-L6-v2/model.onnx");
static BUILT_IN_TOKENIZER: &[u8] = include_bytes!("../models/all-MiniLM-L6-v2/tokenizer.json");

/// One embedding model: its description and the checked bytes of its files. Cloning shares them.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    id: ModelId,
    description: Description,
    onnx: Cow<'static, [u8]>,
    tokenizer: Cow<'static, [u8]>,
}

/// `model.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: String,
    variant: String,
    dimension: usize,
    max_tokens: usize,
    pooling: Pooling,
    normalize: bool,
    question_prefix: String,
    document_prefix: String,
    license: String,
    files: Files,
}

/// How the vectors of a text's tokens become the vector of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// The vector of the first token.
    Cls,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    onnx: FileEntry,
    tokenizer: FileEntry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    path: String,
    sha256: String,
}

impl Model {
    /// The model that is compiled into the program: all-MiniLM-L6-v2, 384 components, 256 tokens.
    ///
    /// # Errors
    /// [`IndexError::BadModel`] if the program was built from a damaged checkout.
    pub fn built_in() -> Result<Self, IndexError> {
        let description = parse(BUILT_IN_DESCRIPTION, BUILT_IN_PLACE)?;
        let (onnx, tokenizer) = (Cow::Borrowed(BUILT_IN_ONNX), Cow::Borrowed(BUILT_IN_TOKENIZER));
        Self::checked(description, onnx, tokenizer, BUILT_IN_PLACE)
    }

    /// Reads the model in the folder `dir`: `model.toml` and the two files that it names.
    ///
    /// # Errors
    /// [`IndexError::BadModel`] that names the file which is missing, unreadable, changed or wrongly described.
    pub fn from_dir(dir: &Path) -> Result<Self, IndexError> {
        let place = dir.join(DESCRIPTION).display().to_string();
        let text = fs::read_to_string(dir.join(DESCRIPTION)).map_err(|error| {
            bad(
                &place,
                format!("{error}; a model folder holds model.toml, the ONNX graph and tokenizer.json"),
            )
        })?;
        let description = parse(&text, &place)?;
        let read = |entry: &FileEntry| {
            let path = dir.join(&entry.path);
            fs::read(&path).map(Cow::Owned).map_err(|error| {
                bad(&path.display().to_string(), format!("{error}; {DESCRIPTION} names it, so copy it there"))
            })
        };
        let (onnx, tokenizer) = (read(&description.files.onnx)?, read(&description.files.tokenizer)?);
        Self::checked(description, onnx, tokenizer, &dir.display().to_string())
    }

    fn checked(
        description: Description,
        onnx: Cow<'static, [u8]>,
        tokenizer: Cow<'static, [u8]>,
        dir: &str,
    ) -> Result<Self, IndexError> {
        let onnx_hash = check_hash(&description.files.onnx, &onnx, dir)?;
        let tokenizer_hash = check_hash(&description.files.tokenizer, &tokenizer, dir)?;
        let id = id_of(&description, &onnx_hash, &tokenizer_hash);
        Ok(Self { inner: Arc::new(Inner { id, description, onnx, tokenizer }) })
    }

    /// The hash over all that decides its vectors: both files, pooling, normalisation, dimension, token limit and
    /// prefixes, but not its name.
    #[must_use]
    pub fn id(&self) -> ModelId {
        self.inner.id
    }

    /// Its published name, such as `all-MiniLM-L6-v2`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.description.name
    }

    /// Which rendering of it, such as `w8`: weights in 8 bits, computed in f32.
    #[must_use]
    pub fn variant(&self) -> &str {
        &self.inner.description.variant
    }

    /// The licence of its weights, an SPDX expression.
    #[must_use]
    pub fn license(&self) -> &str {
        &self.inner.description.license
    }

    /// How many components its vectors have.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.inner.description.dimension
    }

    /// How many tokens it sees at once, the special ones included.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.inner.description.max_tokens
    }

    pub(crate) fn pooling(&self) -> Pooling {
        self.inner.description.pooling
    }

    pub(crate) fn normalizes(&self) -> bool {
        self.inner.description.normalize
    }

    pub(crate) fn question_prefix(&self) -> &str {
        &self.inner.description.question_prefix
    }

    pub(crate) fn document_prefix(&self) -> &str {
        &self.inner.description.document_prefix
    }

    pub(crate) fn onnx_bytes(&self) -> &[u8] {
        &self.inner.onnx
    }

    pub(crate) fn tokenizer_bytes(&self) -> &[u8] {
        &self.inner.tokenizer
    }
}

fn bad(place: &str, reason: String) -> IndexError {
    IndexError::BadModel { place: place.to_owned(), reason }
}

/// Reads `model.toml` and refuses what no model can have.
fn parse(text: &str, place: &str) -> Result<Description, IndexError> {
    let description: Description = toml::from_str(text).map_err(|error| bad(place, error.to_string()))?;
    if description.dimension == 0 || description.dimension > MAX_DIMENSION {
        let reason = format!("dimension is {}, but must be 1 to {MAX_DIMENSION}", description.dimension);
        return Err(bad(place, reason));
    }
    if !(MIN_WINDOW_TOKENS..=MAX_WINDOW_TOKENS).contains(&description.max_tokens) {
        let range = format!("{MIN_WINDOW_TOKENS} to {MAX_WINDOW_TOKENS}");
        return Err(bad(place, format!("max_tokens is {}, but must be {range}", description.max_tokens)));
    }
    for entry in [&description.files.onnx, &description.files.tokenizer] {
        // A plain name: a description from a stranger must not point at other files of this machine.
        if Path::new(&entry.path).file_name().is_none_or(|name| name != entry.path.as_str()) {
            return Err(bad(
                place,
                format!("`{}` must be the name of a file beside {DESCRIPTION}", entry.path),
            ));
        }
    }
    Ok(description)
}

/// The sha256 of `bytes`, if it is the one that the description promises.
fn check_hash(entry: &FileEntry, bytes: &[u8], dir: &str) -> Result<[u8; 32], IndexError> {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let found = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if found == entry.sha256.to_ascii_lowercase() {
        return Ok(hash);
    }
    let reason = format!(
        "its sha256 is {found}, but {DESCRIPTION} promises {}; it was changed or cut short, so copy the model again",
        entry.sha256
    );
    Err(bad(&format!("{dir}/{}", entry.path), reason))
}

fn id_of(description: &Description, onnx_hash: &[u8; 32], tokenizer_hash: &[u8; 32]) -> ModelId {
    let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
    hasher.update(onnx_hash);
    hasher.update(tokenizer_hash);
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
    ModelId::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests;
