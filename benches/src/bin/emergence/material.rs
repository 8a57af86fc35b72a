//! Texts and their vectors: judged collections, and what attackers make of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use synapsenet_benches::texts::Random;
use synapsenet_benches::{Matrix, texts_in};
use synapsenet_index::{
    Compute, Embedder, Model, Provider, Purpose, Runtime, Tokenized, Tokenizer, find_runtime, plan_batches,
};
use synapsenet_proto::Vector;

use super::Arguments;

/// Texts that are read by the model between two words of progress.
const ROUND: usize = 512;
/// Texts in one run of the model at most.
const BATCH_TEXTS: usize = 64;
/// Of the words of a paraphrase that have one that means the same, so many of ten are exchanged.
const EXCHANGED_OF_TEN: usize = 6;
/// An edited copy has one change for so many words.
const WORDS_FOR_AN_EDIT: usize = 25;
/// Words of a title.
const TITLE: usize = 10;
/// Words that one theme has.
const THEME: usize = 40;

/// A question with what people judged to answer it: documents by their places, and grades.
pub(super) struct Question {
    pub vector: Vector,
    pub grades: HashMap<usize, f64>,
}

/// A text and its vector.
#[derive(Clone)]
pub(super) struct Text {
    pub text: String,
    pub vector: Vector,
}

/// Everything that texts are made of.
pub(super) struct Material {
    pub documents: Vec<Text>,
    pub questions: Vec<Question>,
    pub random: Random,
    /// All words of the documents, as often as they stand there.
    words: Vec<String>,
    same: HashMap<String, String>,
    reader: Reader,
}

impl Material {
    pub fn read(arguments: &Arguments) -> anyhow::Result<Self> {
        let folder =
            arguments.collections.as_deref().context("--collections names the judged collections")?;
        let mut reader = Reader::new(arguments)?;
        let (documents, asked) = collections(folder)?;
        let words = documents.iter().flat_map(|text| text.split_whitespace()).map(plain_word);
        let words = words.filter(|word| word.len() > 2).collect();
        let documents = reader.read(documents, Purpose::Document)?;
        let (texts, grades): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let questions = reader.read(texts, Purpose::Question)?.into_iter().zip(grades);
        let questions = questions.map(|(read, grades)| Question { vector: read.vector, grades }).collect();
        let same = same_words(&arguments.texts)?;
        Ok(Self { documents, questions, random: Random::new(arguments.seed), words, same, reader })
    }

    pub fn vectors_of(&mut self, texts: Vec<String>) -> anyhow::Result<Vec<Text>> {
        self.reader.read(texts, Purpose::Document)
    }

    fn word(&mut self) -> String {
        self.words[self.random.below(self.words.len())].clone()
    }

    /// Words drawn at random from all documents.
    pub fn noise(&mut self) -> String {
        let count = 20 + self.random.below(80);
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    /// Texts of words drawn at random from a few: near to each other, about nothing.
    pub fn themed(&mut self, count: usize) -> Vec<String> {
        let theme: Vec<String> = (0..THEME).map(|_| self.word()).collect();
        let mut text = || {
            let length = 20 + self.random.below(60);
            (0..length).map(|_| theme[self.random.below(THEME)].as_str()).collect::<Vec<_>>().join(" ")
        };
        (0..count).map(|_| text()).collect()
    }

    /// An advertisement, each a little other than the rest.
    pub fn advertisement(&mut self) -> String {
        let [a, b, c] = [self.word(), self.word(), self.word()];
        format!("Buy {a} {b} now at the best price, free shipping on every order of {c} from our shop.")
    }

    /// A copy with a word added, left out or exchanged here and there.
    pub fn edited(&mut self, text: &str) -> String {
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        for _ in 0..words.len() / WORDS_FOR_AN_EDIT + 1 {
            let at = self.random.below(words.len());
            let other = self.word();
            match self.random.below(3) {
                0 => words[at] = other,
                1 => words.insert(at, other),
                _ => words[at].clear(),
            }
        }
        words.retain(|word| !word.is_empty());
        // Of a text of one word that was left out, something is left to say.
        if words.is_empty() { self.word() } else { words.join(" ") }
    }

    /// The sentences in another order, and many words exchanged for others that mean the same.
    pub fn paraphrased(&mut self, text: &str) -> String {
        let mut sentences: Vec<&str> = text.split_inclusive(". ").collect();
        for at in (1..sentences.len()).rev() {
            sentences.swap(at, self.random.below(at + 1));
        }
        let whole = sentences.concat();
        let words = whole.split_whitespace().map(|word| match self.same.get(&plain_word(word)) {
            Some(same) if self.random.below(10) < EXCHANGED_OF_TEN => same.as_str(),
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The first words of a text, as a title has them.
    pub fn title(text: &str) -> String {
        text.split_whitespace().take(TITLE).collect::<Vec<_>>().join(" ")
    }
}

pub(super) fn plain_word(word: &str) -> String {
    word.chars().filter(|c| c.is_alphabetic()).collect::<String>().to_lowercase()
}

/// Of lines `word, word: meaning`, for each word another one of its line.
fn same_words(file: &Path) -> anyhow::Result<HashMap<String, String>> {
    let mut same = HashMap::new();
    for line in texts_in(file)? {
        let Some((words, _)) = line.split_once(':') else { continue };
        let words: Vec<&str> = words.split(',').map(str::trim).collect();
        for (at, word) in words.iter().enumerate() {
            if let Some(other) = words.iter().enumerate().find(|(other, _)| *other != at) {
                same.entry((*word).to_owned()).or_insert_with(|| (*other.1).to_owned());
            }
        }
    }
    Ok(same)
}

type Asked = (String, HashMap<usize, f64>);

/// The documents of all collections, and the questions of which something is judged.
fn collections(folder: &Path) -> anyhow::Result<(Vec<String>, Vec<Asked>)> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    folders.retain(|folder| folder.join("qrels.tsv").exists());
    folders.sort();
    ensure!(!folders.is_empty(), "{} holds no judged collection", folder.display());
    let (mut documents, mut questions) = (Vec::new(), Vec::new());
    for folder in folders {
        let mut places = HashMap::new();
        for (id, text) in entries(&unpacked(&folder.join("docs.jsonl.gz"))?)? {
            places.insert(id, documents.len());
            documents.push(text);
        }
        let mut grades: HashMap<String, HashMap<usize, f64>> = HashMap::new();
        for line in std::fs::read_to_string(folder.join("qrels.tsv"))?.lines().skip(1) {
            let [question, document, grade] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
            if let (Some(&place), Ok(grade)) = (places.get(document), grade.parse::<f64>())
                && grade > 0.0
            {
                grades.entry(question.to_owned()).or_default().insert(place, grade);
            }
        }
        for (id, text) in entries(&std::fs::read_to_string(folder.join("queries.jsonl"))?)? {
            questions.extend(grades.remove(&id).map(|grades| (text, grades)));
        }
    }
    Ok((documents, questions))
}

/// `{"id", "text"}` a line.
fn entries(lines: &str) -> anyhow::Result<Vec<(String, String)>> {
    let entry = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| entry[name].as_str().map(str::to_owned).context("a line lacks id or text");
        Ok((field("id")?, field("text")?))
    };
    lines.lines().filter(|line| !line.is_empty()).map(entry).collect()
}

fn unpacked(file: &Path) -> anyhow::Result<String> {
    let unpacked = Command::new("gzip").arg("-dc").arg(file).output().context("gzip cannot be run")?;
    ensure!(unpacked.status.success(), "{} cannot be unpacked", file.display());
    Ok(String::from_utf8(unpacked.stdout)?)
}

/// Reads texts with the built-in model, each once.
struct Reader {
    model: Model,
    tokenizer: Tokenizer,
    embedder: Embedder,
    limits: synapsenet_index::Runs,
    kept: Option<PathBuf>,
}

impl Reader {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let (all, provider) = (Model::all_built_in()?, Provider::Cpu);
        let model = Model::best(&all, provider).cloned().context("there are models")?;
        let limits = provider.runs(0);
        let compute = Compute {
            provider,
            threads: arguments.threads,
            run_tokens: limits.max_tokens,
            ..Compute::default()
        };
        let embedder = Embedder::new(&Runtime::load(&find_runtime(None)?)?, &model.graph()?, &compute)?;
        let kept = arguments.vectors.clone();
        if let Some(folder) = &kept {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self { tokenizer: Tokenizer::new(&model)?, model, embedder, limits, kept })
    }

    fn read(&mut self, texts: Vec<String>, purpose: Purpose) -> anyhow::Result<Vec<Text>> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.model.full_name().as_bytes());
        for text in &texts {
            hasher.update(text.as_bytes()).update(&[0]);
        }
        let file =
            self.kept.as_ref().map(|folder| folder.join(format!("{}.npy", hasher.finalize().to_hex())));
        let columns = self.model.dimension();
        let values = match &file {
            Some(file) if file.exists() => Matrix::read_npy(file)?.values,
            _ => {
                let mut values = Vec::with_capacity(texts.len() * columns);
                for (round, some) in texts.chunks(ROUND).enumerate() {
                    eprintln!("reading {} of {} texts", round * ROUND, texts.len());
                    values.extend(self.embed(some, purpose)?);
                }
                if let Some(file) = &file {
                    Matrix { columns, values: values.clone() }.write_npy(file)?;
                }
                values
            }
        };
        let id = self.model.id();
        let vectors = values.chunks_exact(columns).map(|row| Ok(Vector::new(id, row.to_vec())?));
        let vectors = vectors.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(texts.into_iter().zip(vectors).map(|(text, vector)| Text { text, vector }).collect())
    }

    fn embed(&mut self, texts: &[String], purpose: Purpose) -> anyhow::Result<Vec<f32>> {
        let tokenized: Vec<Tokenized> =
            texts.iter().map(|text| self.tokenizer.tokenize(text, purpose)).collect();
        let lengths: Vec<usize> = tokenized.iter().map(Tokenized::len).collect();
        let mut vectors: Vec<Option<Vector>> = vec![None; texts.len()];
        for batch in plan_batches(&lengths, self.limits, BATCH_TEXTS) {
            let some: Vec<Tokenized> = batch.iter().map(|&at| tokenized[at].clone()).collect();
            for (at, vector) in batch.into_iter().zip(self.embedder.embed(&some)?) {
                vectors[at] = Some(vector);
            }
        }
        Ok(vectors.into_iter().flatten().flat_map(|vector| vector.values().to_vec()).collect())
    }
}
