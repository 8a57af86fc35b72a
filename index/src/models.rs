//! Which model: its description, its files, and the hash that names it.
//!
//! A model is a folder with `model.toml`, an ONNX graph and a `tokenizer.json`. The description carries the sha256 of
//! both files: it names the model without reading them, and when they are read they are held against it, so a model that
//! was changed or cut short is refused before it gives wrong vectors. Some models are built into the program: nothing is
//! downloaded to start.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use synapsenet_proto::{MAX_DIMENSION, ModelId};

use crate::IndexError;
use crate::weights::weight_bytes;

/// The name of the description in a model's folder.
pub const DESCRIPTION: &str = "model.toml";
/// Separates model ids from all other blake3 hashes of the project. It never changes: ids are stored beside vectors.
const ID_CONTEXT: &str = "synapsenet v1 model id";
/// The longest window that a model may ask for. Attention takes memory by its square; 8192 tokens is the longest that
/// published models for short texts have.
const MAX_WINDOW_TOKENS: usize = 8192;
/// The shortest window that makes sense: some special tokens and a few of the text.
const MIN_WINDOW_TOKENS: usize = 8;
/// The longest name or variant: it becomes the name of a folder and a column on the terminal.
const MAX_NAME_BYTES: usize = 64;

/// The folder of the built-in models, as error messages name it.
const BUILT_IN_PLACE: &str = "the built-in index/models";
/// All variants of all-MiniLM-L6-v2 have one tokenizer.
static MINILM_TOKENIZER: &[u8] = include_bytes!("../models/all-MiniLM-L6-v2/tokenizer.json");
/// The built-in models, the default first: description and graph.
static BUILT_IN: [(&str, &[u8]); 2] = [
    (
        include_str!("../models/all-MiniLM-L6-v2/model.toml"),
        include_bytes!("../models/all-MiniLM-L6-v2/model.onnx"),
    ),
    (
        include_str!("../models/all-MiniLM-L6-v2-int8/model.toml"),
        include_bytes!("../models/all-MiniLM-L6-v2-int8/model.onnx"),
    ),
];

/// Models that are described and have to be fetched before they can be used.
static KNOWN: [&str; 4] = [
    include_str!("../models/known/bge-small-en-v1.5.toml"),
    include_str!("../models/known/snowflake-arctic-embed-xs.toml"),
    include_str!("../models/known/multilingual-e5-small.toml"),
    include_str!("../models/known/nomic-embed-text-v1.5.toml"),
];
const KNOWN_PLACE: &str = "the built-in index/models/known";

/// One embedding model: its description, and where its files are. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    id: ModelId,
    description: Description,
    source: Source,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(&self.full_name()).finish()
    }
}

/// The checked graph of a model, which takes the memory of its file as long as it is kept.
pub struct Graph {
    pub(crate) model: Model,
    pub(crate) onnx: Cow<'static, [u8]>,
    weight_bytes: u64,
}

impl Graph {
    /// The memory that its weights take in a session, in bytes, read off the graph.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }
}

/// Where the files of a model are.
enum Source {
    BuiltIn {
        onnx: &'static [u8],
    },
    Folder(PathBuf),
    /// Nowhere on this machine; this is the description as it is to be written when the files are fetched.
    Hub {
        text: &'static str,
    },
}

/// A file of a model on the Hugging Face hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// Its path on the hub's server: repository, revision and name.
    pub path: String,
    /// Its name in the model's folder.
    pub name: String,
    /// What it must hash to, 64 hexadecimal digits.
    pub sha256: String,
    /// How long it is, where that is known.
    pub bytes: Option<u64>,
}

/// `model.toml`.
#[derive(Debug, Clone, Deserialize)]
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
    /// Whether a text's vector is the same whatever stands beside it in a run. Where not, each text is run alone.
    #[serde(default = "yes")]
    batch_invariant: bool,
    files: Files,
    /// Where it can be fetched from.
    hub: Option<Hub>,
}

fn yes() -> bool {
    true
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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    onnx: FileEntry,
    tokenizer: FileEntry,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    path: String,
    sha256: String,
}

/// Where a model's files lie on the Hugging Face hub.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hub {
    repository: String,
    revision: String,
    onnx: String,
    onnx_bytes: Option<u64>,
    tokenizer: String,
    tokenizer_bytes: Option<u64>,
}

impl Model {
    /// The default among the models that are compiled into the program: all-MiniLM-L6-v2 with weights in 8 bits and
    /// computed in f32, 384 components, 256 tokens.
    ///
    /// # Errors
    /// [`IndexError::BadModel`] if the program was built from a damaged checkout.
    pub fn built_in() -> Result<Self, IndexError> {
        let (description, onnx) = BUILT_IN[0];
        Self::described(parse(description, BUILT_IN_PLACE)?, Source::BuiltIn { onnx }, BUILT_IN_PLACE)
    }

    /// All models that are compiled into the program, the default first.
    ///
    /// # Errors
    /// As [`Model::built_in`].
    pub fn all_built_in() -> Result<Vec<Self>, IndexError> {
        let model = |(description, onnx): (&str, &'static [u8])| {
            Self::described(parse(description, BUILT_IN_PLACE)?, Source::BuiltIn { onnx }, BUILT_IN_PLACE)
        };
        BUILT_IN.into_iter().map(model).collect()
    }

    /// Reads the description of the model in the folder `dir`, `model.toml`. The two files that it names are read, and
    /// checked, when they are needed; see [`Model::check`].
    ///
    /// # Errors
    /// [`IndexError::BadModel`] if the description is missing, unreadable or wrong.
    pub fn from_dir(dir: &Path) -> Result<Self, IndexError> {
        let place = dir.join(DESCRIPTION).display().to_string();
        let text = fs::read_to_string(dir.join(DESCRIPTION)).map_err(|error| {
            bad(
                &place,
                format!("{error}; a model folder holds model.toml, the ONNX graph and tokenizer.json"),
            )
        })?;
        Self::described(parse(&text, &place)?, Source::Folder(dir.to_owned()), &place)
    }

    /// The models that this program can fetch from the Hugging Face hub, each file of which it knows by its sha256.
    ///
    /// # Errors
    /// As [`Model::built_in`].
    pub fn known() -> Result<Vec<Self>, IndexError> {
        let model = |text| Self::described(parse(text, KNOWN_PLACE)?, Source::Hub { text }, KNOWN_PLACE);
        KNOWN.into_iter().map(model).collect()
    }

    fn described(description: Description, source: Source, place: &str) -> Result<Self, IndexError> {
        let id = id_of(&description, place)?;
        Ok(Self { inner: Arc::new(Inner { id, description, source }) })
    }

    /// Reads both files and holds them against the description.
    ///
    /// # Errors
    /// [`IndexError::BadModel`] that names the file which is missing, unreadable or changed.
    pub fn check(&self) -> Result<(), IndexError> {
        self.onnx()?;
        self.tokenizer_json().map(drop)
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

    /// Name and variant, which tell it from all others: `all-MiniLM-L6-v2-w8`.
    #[must_use]
    pub fn full_name(&self) -> String {
        self.inner.description.full_name()
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

    /// Whether its files are part of the program.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        matches!(self.inner.source, Source::BuiltIn { .. })
    }

    /// Whether a text's vector is the same whatever else is run with it. Where not, texts are run one at a time.
    #[must_use]
    pub fn is_batch_invariant(&self) -> bool {
        self.inner.description.batch_invariant
    }

    /// What it puts before a question.
    #[must_use]
    pub fn question_prefix(&self) -> &str {
        &self.inner.description.question_prefix
    }

    /// What it puts before a text that is to be found.
    #[must_use]
    pub fn document_prefix(&self) -> &str {
        &self.inner.description.document_prefix
    }

    /// How the vectors of tokens become one: "mean" over all of them, or "cls", that of the first.
    #[must_use]
    pub fn pooling_name(&self) -> &'static str {
        match self.inner.description.pooling {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
        }
    }

    /// What is to be fetched before it can be used: nothing where it is here already.
    #[must_use]
    pub fn hub_files(&self) -> Vec<HubFile> {
        let Description { files, hub, .. } = &self.inner.description;
        let (Source::Hub { .. }, Some(hub)) = (&self.inner.source, hub) else { return Vec::new() };
        let file = |path: &str, bytes, entry: &FileEntry| HubFile {
            path: format!("{}/resolve/{}/{path}", hub.repository, hub.revision),
            name: entry.path.clone(),
            sha256: entry.sha256.clone(),
            bytes,
        };
        vec![
            file(&hub.tokenizer, hub.tokenizer_bytes, &files.tokenizer),
            file(&hub.onnx, hub.onnx_bytes, &files.onnx),
        ]
    }

    /// The description to put beside the files of [`Model::hub_files`]; empty where there are none.
    #[must_use]
    pub fn hub_description(&self) -> &'static str {
        match self.inner.source {
            Source::Hub { text } => text,
            Source::BuiltIn { .. } | Source::Folder(_) => "",
        }
    }

    /// The names of its files within its folder.
    #[must_use]
    pub fn file_names(&self) -> [&str; 3] {
        let files = &self.inner.description.files;
        [DESCRIPTION, &files.onnx.path, &files.tokenizer.path]
    }

    /// Reads its ONNX graph, to be loaded into sessions.
    ///
    /// # Errors
    /// [`IndexError::BadModel`] if the file is missing, unreadable, changed, or no ONNX graph.
    pub fn graph(&self) -> Result<Graph, IndexError> {
        let onnx = self.onnx()?;
        let place = format!("{}'s ONNX graph", self.full_name());
        let weight_bytes =
            weight_bytes(&onnx).map_err(|error| bad(&place, format!("it is no ONNX graph: {error}")))?;
        Ok(Graph { model: self.clone(), onnx, weight_bytes })
    }

    pub(crate) fn pooling(&self) -> Pooling {
        self.inner.description.pooling
    }

    pub(crate) fn normalizes(&self) -> bool {
        self.inner.description.normalize
    }

    fn onnx(&self) -> Result<Cow<'static, [u8]>, IndexError> {
        let entry = &self.inner.description.files.onnx;
        match &self.inner.source {
            Source::BuiltIn { onnx } => checked(entry, Cow::Borrowed(onnx), BUILT_IN_PLACE),
            Source::Folder(dir) => read_checked(dir, entry),
            Source::Hub { .. } => Err(self.not_here()),
        }
    }

    /// The checked bytes of the tokenizer.
    pub(crate) fn tokenizer_json(&self) -> Result<Cow<'static, [u8]>, IndexError> {
        let entry = &self.inner.description.files.tokenizer;
        match &self.inner.source {
            Source::BuiltIn { .. } => checked(entry, Cow::Borrowed(MINILM_TOKENIZER), BUILT_IN_PLACE),
            Source::Folder(dir) => read_checked(dir, entry),
            Source::Hub { .. } => Err(self.not_here()),
        }
    }
}

impl Model {
    fn not_here(&self) -> IndexError {
        let name = self.full_name();
        bad(&name.clone(), format!("it is not on this machine: `synapsenet models fetch {name}` gets it"))
    }
}

impl Description {
    fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.variant)
    }
}

fn bad(place: &str, reason: String) -> IndexError {
    IndexError::BadModel { place: place.to_owned(), reason }
}

/// Reads `model.toml` and refuses what no model can have.
fn parse(text: &str, place: &str) -> Result<Description, IndexError> {
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

/// Reads a file of a model's folder and holds it against the description.
fn read_checked(dir: &Path, entry: &FileEntry) -> Result<Cow<'static, [u8]>, IndexError> {
    let path = dir.join(&entry.path);
    let bytes = fs::read(&path).map_err(|error| {
        bad(&path.display().to_string(), format!("{error}; {DESCRIPTION} names it, so copy it there"))
    })?;
    checked(entry, Cow::Owned(bytes), &dir.display().to_string())
}

/// `bytes`, if their sha256 is the one that the description promises.
fn checked(
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

fn id_of(description: &Description, place: &str) -> Result<ModelId, IndexError> {
    let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
    for entry in [&description.files.onnx, &description.files.tokenizer] {
        let hash = read_hash(&entry.sha256).ok_or_else(|| {
            bad(place, format!("the sha256 of `{}` must have 64 hexadecimal digits", entry.path))
        })?;
        hasher.update(&hash);
    }
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
    Ok(ModelId::from_bytes(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests;
