//! Proof of Emergence: what a grain adds to what is known here, and how it is used. Which grain is worth keeping?
//!
//! ```text
//! E = backing * (novelty * N + coherence * C + reuse * ln(1 + R))        0 when N and C are both below their least
//! N = 1 - the highest cosine to an older grain of its topic
//! C = the mean cosine of its nearest neighbours there, of 0.6 and more and at most five of one author, times how many there are of 20
//! R = the occasions on which it was of use
//! backing = 1 for whom the owner knows, and for what was of use to the owner; else
//!           (other authors near it) of 3 * (0.1 + 0.3 * how often grains of its author were of use to the owner), each at most 1
//! ```
//!
//! The later of two grains that say the same earns nothing, nor does a text that its author repeats in a hundred places. Older is
//! what has the lower `(created_ms, id)`, as the authors say.
//!
//! Backing is there because noise is unlike everything, and grains and keys cost nothing to make: what is only new, and a crowd of
//! strangers that agree with each other, count for little until the owner found a use for something of theirs.
//!
//! What was refused of an author today for what it did itself takes from its standing, and from how often it was of use.
//!
//! Reuse and backing are local: who opened what here, who is a stranger *here*, and who of those that link to a grain is one, of whom no
//! more than three count, nor more than three occasions of others than the owner. Two nodes agree on novelty and coherence, and on the
//! score only where they agree on that.
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
//! | What does a grain earn by that, and is it worth keeping? | [`worth`] |
//! | Which grains are near one? | [`neighbours`] |
//! | How far has it come, and when is it at work? | [`scores`] |
//! | What is told of many grains at once? | [`report`] |
//! | On how many occasions was a grain of use? | [`uses`] |
//! | Whose grains were refused for what their author did? | [`refusals`] |
//! | Which grains of strangers are to go next? | [`lowest`] |
//! | How does it get to the disk and back? | [`snapshot`] |
//!
//! It is derived, like the graph and the words, and follows the store's log: deleting it is harmless. It knows no peer and no
//! client, and does not decide what becomes of a grain.

mod arithmetic;
mod column;
mod lowest;
mod neighbours;
mod numbers;
mod refusals;
mod report;
mod scores;
mod snapshot;
pub(crate) mod uses;
mod worth;

pub(crate) use arithmetic::Millionths;
pub(crate) use lowest::Lowest;
pub(crate) use report::{Scored, Standing, Wanted};
pub(crate) use scores::Scores;
pub(crate) use uses::Uses;
pub(crate) use worth::{Emergence, Nothing};

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
