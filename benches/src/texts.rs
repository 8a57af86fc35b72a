//! Texts to publish: some sentences of the sample notes together, no two texts the same, all the same for the same seed.

use std::collections::HashSet;

use crate::sample_texts;
use anyhow::ensure;

/// Shorter sentences say nothing alone.
const MIN_WORDS: usize = 4;

/// A sequence of numbers that follows from its seed (splitmix64; Steele, Lea and Flood, OOPSLA 2014).
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// An endless supply of texts, none twice.
pub struct Texts {
    sentences: Vec<String>,
    /// Sentences in one text.
    length: usize,
    random: Random,
    told: HashSet<Vec<usize>>,
}

impl Texts {
    /// Reads the sample notes. `length`: sentences in one text.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn new(seed: u64, length: usize) -> anyhow::Result<Self> {
        let mut sentences = Vec::new();
        for text in sample_texts()? {
            let parts = text.split_inclusive(". ").map(str::trim);
            let long = parts.filter(|part| part.split_whitespace().count() >= MIN_WORDS);
            sentences.extend(long.map(str::to_owned));
        }
        sentences.sort();
        sentences.dedup();
        ensure!(sentences.len() > 1, "the sample notes have no two sentences");
        Ok(Self { sentences, length, random: Random::new(seed), told: HashSet::new() })
    }

    /// The next text.
    ///
    /// # Errors
    /// When half of all texts were told: from then on it would take long to find a new one.
    pub fn another(&mut self) -> anyhow::Result<String> {
        let count = self.sentences.len();
        let all = (count as f64).powi(self.length as i32);
        ensure!((self.told.len() as f64) < all / 2.0, "the sample notes do not make so many texts");
        loop {
            let chosen: Vec<usize> = (0..self.length).map(|_| self.random.below(count)).collect();
            if self.told.insert(chosen.clone()) {
                let sentences: Vec<&str> = chosen.iter().map(|&at| self.sentences[at].as_str()).collect();
                return Ok(sentences.join(" "));
            }
        }
    }

    /// The next so many texts.
    ///
    /// # Errors
    /// As [`Texts::another`].
    pub fn take(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        (0..count).map(|_| self.another()).collect()
    }
}
