//! Which model: its description, its files, the space that its vectors lie in, and the hash that names the space.
//!
//! A model is a folder with `model.toml`, an ONNX graph and a `tokenizer.json`. The description carries the sha256 of
//! both files: it names the model without reading them, and when they are read they are held against it, so a model that
//! was changed or cut short is refused before it gives wrong vectors. Some models are built into the program: nothing is
//! downloaded to start.
//!
//! Weights, tokenizer, pooling and prefixes make a *space*, in which vectors are compared. There may be several *variants* of
//! one, graphs that compute the same weights by other arithmetic: each promises how close its vectors are to those of the
//! published weights, and is held to that when it is loaded (see [`reference`]).

mod description;
mod reference;

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use synapsenet_proto::SpaceId;

use crate::processor::is_quick_at_integers;
use crate::weights::weight_bytes;
use crate::{IndexError, Provider};
pub use description::{Arithmetic, Pooling, Weights};
use description::{Description, FileEntry, checked, id_of, parse, read_checked};
pub(crate) use reference::{Reference, ReferenceText};

/// The name of the description in a model's folder.
pub const DESCRIPTION: &str = "model.toml";

/// The longest description; ours have some 600 bytes.
const MAX_DESCRIPTION_BYTES: u64 = 64 << 10;

/// The folder of the built-in models, as error messages name it.
const BUILT_IN_PLACE: &str = "the built-in index/models";
/// All variants of all-MiniLM-L6-v2 have one tokenizer, and are held against the same vectors.
static MINILM_TOKENIZER: &[u8] = include_bytes!("../models/all-MiniLM-L6-v2/tokenizer.json");
static MINILM_REFERENCE: &[u8] = include_bytes!("../models/all-MiniLM-L6-v2/reference.json");
/// The built-in models, two variants of one space: description and graph.
static BUILT_IN: [(&str, &[u8]); 2] = [
    (
        include_str!("../models/all-MiniLM-L6-v2/model.toml"),
        include_bytes!("../models/all-MiniLM-L6-v2/model.onnx"),
    ),
    (
        include_str!("../models/all-MiniLM-L6-v2-row8/model.toml"),
        include_bytes!("../models/all-MiniLM-L6-v2-row8/model.onnx"),
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

/// One embedding model, a variant of a space: its description, and where its files are. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    id: SpaceId,
    former_id: SpaceId,
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

impl Model {
    /// The default: that variant of all-MiniLM-L6-v2 (384 components, 256 tokens), of those compiled into the program, which
    /// suits this processor; see [`Model::best`].
    ///
    /// # Errors
    /// [`IndexError::BadModel`] if the program was built from a damaged checkout.
    pub fn built_in() -> Result<Self, IndexError> {
        let all = Self::all_built_in()?;
        Ok(Self::best(&all, Provider::Cpu).expect("there are built-in models").clone())
    }

    /// All models that are compiled into the program, variants of one space.
    ///
    /// # Errors
    /// As [`Model::built_in`].
    pub fn all_built_in() -> Result<Vec<Self>, IndexError> {
        let model = |(description, onnx): (&str, &'static [u8])| {
            Self::described(parse(description, BUILT_IN_PLACE)?, Source::BuiltIn { onnx }, BUILT_IN_PLACE)
        };
        BUILT_IN.into_iter().map(model).collect()
    }

    /// Of some variants of a space, the first whose arithmetic is what `provider` is quick at: products of integers on a
    /// processor that gains by them ([`is_quick_at_integers`]), floating point elsewhere. When none is, the first.
    #[must_use]
    pub fn best(variants: &[Self], provider: Provider) -> Option<&Self> {
        let quick = match provider == Provider::Cpu && is_quick_at_integers() {
            true => Arithmetic::Int8,
            false => Arithmetic::Float32,
        };
        variants.iter().find(|variant| variant.arithmetic() == quick).or(variants.first())
    }

    /// Reads the description of the model in the folder `dir`, `model.toml`. The two files that it names are read, and
    /// checked, when they are needed; see [`Model::check`].
    ///
    /// # Errors
    /// [`IndexError::BadModel`] if the description is missing, unreadable or wrong.
    pub fn from_dir(dir: &Path) -> Result<Self, IndexError> {
        let path = dir.join(DESCRIPTION);
        let place = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            let holds = "a model folder holds model.toml, the ONNX graph and tokenizer.json";
            bad(&place, format!("{error}; {holds}"))
        };
        let file = fs::metadata(&path).map_err(unreadable)?;
        if !file.is_file() || file.len() > MAX_DESCRIPTION_BYTES {
            return Err(bad(&place, format!("it must be a file of at most {MAX_DESCRIPTION_BYTES} bytes")));
        }
        let text = fs::read_to_string(&path).map_err(unreadable)?;
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
        let graph = &description.files.onnx.sha256;
        let id = id_of(&description, description.weights.as_ref().unwrap_or(graph), place)?;
        let former_id = id_of(&description, graph, place)?;
        Ok(Self { inner: Arc::new(Inner { id, former_id, description, source }) })
    }

    /// Reads its files and holds them against the description.
    ///
    /// # Errors
    /// [`IndexError::BadModel`] that names the file which is missing, unreadable or changed.
    pub fn check(&self) -> Result<(), IndexError> {
        self.onnx()?;
        self.reference()?;
        self.tokenizer_json().map(drop)
    }

    /// The id of its space, the hash over all that decides what its vectors mean: the published weights, tokenizer, pooling,
    /// normalisation, dimension, token limit and prefixes, but not its name.
    #[must_use]
    pub fn id(&self) -> SpaceId {
        self.inner.id
    }

    /// What [`Model::id`] was before weights were named: then its graph stood in their place. Stored vectors may have it.
    #[must_use]
    pub fn former_id(&self) -> SpaceId {
        self.inner.former_id
    }

    /// The sha256 of its graph, which no other variant has: 64 hexadecimal digits.
    #[must_use]
    pub fn graph_sha256(&self) -> &str {
        &self.inner.description.files.onnx.sha256
    }

    /// The languages that it was made for, as BCP 47 tags; none where they are many, or not known.
    #[must_use]
    pub fn languages(&self) -> &[String] {
        &self.inner.description.languages
    }

    /// How its cosines and the words of a question are weighed against each other.
    #[must_use]
    pub fn search_weights(&self) -> Weights {
        self.inner.description.search
    }

    /// What its graph multiplies.
    #[must_use]
    pub fn arithmetic(&self) -> Arithmetic {
        self.inner.description.arithmetic
    }

    /// The least cosine that it promises of its vectors to those of the published weights. One where its graph is what was
    /// published.
    #[must_use]
    pub fn least_cosine(&self) -> f32 {
        self.inner.description.least_cosine.unwrap_or(1.0)
    }

    /// Its published name, such as `all-MiniLM-L6-v2`, which all variants of the space have.
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

    /// How the vectors of tokens become one.
    #[must_use]
    pub fn pooling(&self) -> Pooling {
        self.inner.description.pooling
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
    pub fn file_names(&self) -> Vec<&str> {
        let files = &self.inner.description.files;
        let named = [&files.onnx, &files.tokenizer].into_iter().chain(&files.reference);
        std::iter::once(DESCRIPTION).chain(named.map(|entry| entry.path.as_str())).collect()
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

    /// What its vectors are held against. None where its graph is what was published.
    pub(crate) fn reference(&self) -> Result<Option<Reference>, IndexError> {
        let Some(entry) = &self.inner.description.files.reference else { return Ok(None) };
        let bytes = match &self.inner.source {
            Source::BuiltIn { .. } => checked(entry, Cow::Borrowed(MINILM_REFERENCE), BUILT_IN_PLACE)?,
            // Whoever brings a variant of a built-in space does not say what is right in it.
            Source::Folder(_) if self.is_of_built_in_space()? => Cow::Borrowed(MINILM_REFERENCE),
            Source::Folder(dir) => read_checked(dir, entry)?,
            Source::Hub { .. } => return Err(self.not_here()),
        };
        Reference::read(&bytes, self.dimension()).map(Some).map_err(|reason| bad(&entry.path, reason))
    }

    fn is_of_built_in_space(&self) -> Result<bool, IndexError> {
        Ok(Self::all_built_in()?.iter().any(|built_in| built_in.id() == self.id()))
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

fn bad(place: &str, reason: String) -> IndexError {
    IndexError::BadModel { place: place.to_owned(), reason }
}

#[cfg(test)]
mod tests;
