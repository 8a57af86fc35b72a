//! What lies are made of: questions whose answers every honest node knows, and vectors that the node's own model computes.

use anyhow::{Context, ensure};
use synapsenet_index::{Compute, Embedder, Model, Purpose, Runtime, Tokenizer, find_runtime};
use synapsenet_proto::{SpaceId, Vector};

/// What every lie says.
pub const LIE: &str = "Buy cheap watches today, the best price in town!";
/// A lie that is scored higher than this is shown by what it claims, for what it says is nowhere near a question.
pub const MAX_TRUE_SCORE: f64 = 0.5;

/// Questions and their answers.
const FACTS: [(&str, &str); 8] = [
    (
        "how long does dough rise before baking",
        "The baker lets the dough rise for two hours before baking it in the oven.",
    ),
    ("when do swallows fly south", "Swallows gather on the wires in September and fly south to Africa."),
    (
        "which key opens the cellar door",
        "The cellar door is opened by the small brass key on the kitchen hook.",
    ),
    ("how deep is the old well in the garden", "The old well in the garden is eleven metres deep."),
    ("what makes the sea salty", "Rivers wash salt out of rocks into the sea, which makes the sea salty."),
    (
        "who repairs the church organ",
        "The church organ is repaired by a craftsman who comes from Bremen each spring.",
    ),
    (
        "why do leaves turn red in autumn",
        "Leaves turn red in autumn because the tree makes pigments as the green fades.",
    ),
    (
        "how often is the boiler serviced",
        "The boiler is serviced once a year, always in the first week of October.",
    ),
];

/// A question, its vector, and what answers it.
pub struct Fact {
    pub question: &'static str,
    pub answer: &'static str,
    pub vector: Vector,
}

/// All that is known beforehand.
pub struct Bait {
    /// The model of all vectors.
    pub model: SpaceId,
    pub facts: Vec<Fact>,
    /// Texts with the vectors that they have, by which an author gets believed.
    pub truths: Vec<(String, Vector)>,
}

impl Bait {
    /// Reads everything with the model that the nodes use, which is dropped again.
    ///
    /// # Errors
    /// When the model cannot be loaded, or a lie would be a good answer to a question.
    pub fn prepare(truths: Vec<String>) -> anyhow::Result<Self> {
        let model = Model::built_in()?;
        let tokenizer = Tokenizer::new(&model)?;
        let runtime = Runtime::load(&find_runtime(None)?)?;
        let mut embedder =
            Embedder::new(&runtime, &model.graph()?, &Compute { threads: 1, ..Compute::default() })?;
        let mut embed = |text: &str, purpose| -> anyhow::Result<Vector> {
            let vectors = embedder.embed(&[tokenizer.tokenize(text, purpose)])?;
            vectors.into_iter().next().context("a text has a vector")
        };
        let lie = embed(LIE, Purpose::Document)?;
        let mut facts = Vec::new();
        for (question, answer) in FACTS {
            let vector = embed(question, Purpose::Question)?;
            ensure!(f64::from(vector.cosine(&lie)?) < MAX_TRUE_SCORE, "the lie answers {question:?}");
            facts.push(Fact { question, answer, vector });
        }
        let truths = truths.into_iter().map(|text| {
            let vector = embed(&text, Purpose::Document)?;
            anyhow::Ok((text, vector))
        });
        Ok(Self { model: model.id(), truths: truths.collect::<Result<_, _>>()?, facts })
    }
}
