//! How fast the variants of a space compute on this machine, one beside the other.

use std::path::Path;
use std::time::{Duration, Instant};

use synapsenet_index::{Compute, Embedder, IndexError, Model, Purpose, Runtime, Tokenized, Tokenizer};

/// A question of twelve tokens with the special ones.
const QUESTION: &str = "how do I keep the server cool in summer";
/// Notes of 12 to 60 tokens; a batch is these, some times.
const NOTES: [&str; 4] = [
    "Bleed the radiators before the first frost.",
    "The router restarts itself on Sunday at four in the morning, and the telephone with it.",
    "Air must come in cool at the front and leave warm at the back without being drawn in again. Leave a hand's breadth free.",
    "A mirror is not a backup: what is deleted on one disk is gone from the other a moment later. Keep three copies of what \
     matters, on two kinds of media, and one of them in another house.",
];
const BATCH: usize = 32;

/// What was measured of one variant.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// The variant.
    pub model: Model,
    /// How long loading took.
    pub load: Duration,
    /// The least cosine of its vectors to those of the published weights.
    pub least_cosine: f32,
    /// The median time of a question.
    pub question: Duration,
    /// Notes embedded a second.
    pub notes_a_second: f64,
}

struct Running {
    model: Model,
    embedder: Embedder,
    tokenizer: Tokenizer,
    load: Duration,
    least_cosine: f32,
    questions: Vec<Duration>,
    notes: u64,
    busy: Duration,
}

impl Running {
    fn load(model: &Model, runtime: &Runtime, compute: &Compute) -> Result<Self, IndexError> {
        let begin = Instant::now();
        let tokenizer = Tokenizer::new(model)?;
        let mut embedder = Embedder::new(runtime, &model.graph()?, compute)?;
        let least_cosine = embedder.prove(model, &tokenizer)?;
        let (load, model) = (begin.elapsed(), model.clone());
        let (questions, notes, busy) = (Vec::new(), 0, Duration::ZERO);
        Ok(Self { model, embedder, tokenizer, load, least_cosine, questions, notes, busy })
    }

    fn turn(&mut self) -> Result<(), IndexError> {
        let question = [self.tokenizer.tokenize(QUESTION, Purpose::Question)];
        for _ in 0..8 {
            let begin = Instant::now();
            self.embedder.embed(&question)?;
            self.questions.push(begin.elapsed());
        }
        let notes: Vec<Tokenized> = NOTES
            .iter()
            .cycle()
            .take(BATCH)
            .map(|note| self.tokenizer.tokenize(note, Purpose::Document))
            .collect();
        let begin = Instant::now();
        self.embedder.embed(&notes)?;
        self.busy += begin.elapsed();
        self.notes += notes.len() as u64;
        Ok(())
    }

    fn trial(mut self) -> Trial {
        self.questions.sort_unstable();
        Trial {
            question: self.questions[self.questions.len() / 2],
            notes_a_second: self.notes as f64 / self.busy.as_secs_f64(),
            model: self.model,
            load: self.load,
            least_cosine: self.least_cosine,
        }
    }
}

/// Loads all of them and has them compute in turns for about this long together, so that what else the machine does meets all
/// alike. Calls `went_on` after each turn.
///
/// # Errors
/// When the library or a model cannot be used.
pub(crate) fn compare(
    models: &[Model],
    library: &Path,
    compute: &Compute,
    time: Duration,
    mut went_on: impl FnMut(Duration),
) -> Result<Vec<Trial>, IndexError> {
    let runtime = Runtime::load(library)?;
    let running = models.iter().map(|model| Running::load(model, &runtime, compute));
    let mut running = running.collect::<Result<Vec<_>, _>>()?;
    let begin = Instant::now();
    loop {
        running.iter_mut().try_for_each(Running::turn)?;
        went_on(begin.elapsed());
        if begin.elapsed() >= time {
            return Ok(running.into_iter().map(Running::trial).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_index::find_runtime;

    use super::*;

    #[test]
    fn each_variant_has_its_turns() {
        let (models, mut turns) = (Model::all_built_in().unwrap(), 0);
        let compute = Compute { threads: 1, ..Compute::default() };
        let library = find_runtime(None).unwrap();
        let trials = compare(&models, &library, &compute, Duration::ZERO, |_| turns += 1).unwrap();
        let names: Vec<String> = trials.iter().map(|trial| trial.model.full_name()).collect();
        assert_eq!((names, turns), (models.iter().map(Model::full_name).collect(), 1));
        for trial in trials {
            assert!(trial.notes_a_second > 0.0 && trial.question > Duration::ZERO, "{trial:?}");
            assert!(trial.least_cosine >= trial.model.least_cosine(), "{trial:?}");
        }
    }
}
