//! Proof of Emergence: what a grain adds to what is known here, and how it is used. Which grain is worth keeping?
//!
//! ```text
//! E = novelty * N + coherence * C + reuse * ln(1 + R)        0 when N and C are both below their least
//! N = 1 - the highest cosine to an older grain of its topic
//! C = the mean cosine of its nearest neighbours there, of 0.6 and more, times how many there are of 20
//! R = the occasions on which it was of use
//! ```
//!
//! The later of two grains that say the same earns nothing, nor does a text that its author repeats in a hundred places. Older is
//! what has the lower `(created_ms, id)`, as the authors say.
//!
//! Reuse is local: who opened what here, and who of those that link to a grain are strangers *here*, of whom no more than three
//! count. Two nodes agree on novelty and coherence, and on the score only where they agree on that.
//!
//! All of it is whole numbers, in millionths ([`arithmetic`]), made of the bytes that are stored or vouched for: two nodes with the
//! same grains, the same vectors of them and the same reuse agree to the last digit, in whatever order these came. One thing is
//! left to the graph: in a topic of more than [`neighbours::COMPARE_ALL`] grains it names the candidates, and a neighbour that it
//! misses from both sides is missed.
//!
//! | question | module |
//! |---|---|
//! | How is a number like a cosine or a logarithm the same everywhere? | [`arithmetic`] |
//! | What is kept of each grain, and what follows when one comes or goes? | [`column`] |
//! | Which grains are near one? | [`neighbours`] |
//! | How far has it come, and when is it at work? | [`scores`] |
//! | What is told of many grains at once? | [`report`] |
//! | On how many occasions was a grain of use? | [`uses`] |
//! | Which grains of strangers are to go next? | [`lowest`] |
//! | How does it get to the disk and back? | [`snapshot`] |
//!
//! It is derived, like the graph and the words, and follows the store's log: deleting it is harmless. It knows no peer and no
//! client, and does not decide what becomes of a grain.

mod arithmetic;
mod column;
mod lowest;
mod neighbours;
mod report;
mod scores;
mod snapshot;
pub(crate) mod uses;

pub(crate) use arithmetic::Millionths;
pub(crate) use column::{Emergence, Nothing};
pub(crate) use lowest::Lowest;
pub(crate) use report::{Scored, Standing, Wanted};
pub(crate) use scores::Scores;
pub(crate) use uses::Uses;

use crate::config::EmergenceConfig;

/// How much each part counts, and from when on a grain earns anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weights {
    pub novelty: Millionths,
    pub coherence: Millionths,
    pub reuse: Millionths,
    pub least_novelty: Millionths,
    pub least_coherence: Millionths,
}

impl Weights {
    /// What a configuration says, rounded to millionths.
    pub fn of(config: &EmergenceConfig) -> Self {
        let of = Millionths::from_setting;
        Self {
            novelty: of(config.novelty),
            coherence: of(config.coherence),
            reuse: of(config.reuse),
            least_novelty: of(config.least_novelty),
            least_coherence: of(config.least_coherence),
        }
    }
}

#[cfg(test)]
mod tests;
