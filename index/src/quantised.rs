//! Vectors in 8 bits a component, as the graph holds them.

use synapsenet_proto::Vector;

/// What the graph holds for 1: one scale for all makes the products of two vectors as good as their cosines. A component is off by half of
/// 1/127 at most, and a cosine by some thousandths.
const UNIT: f32 = 127.0;

/// The components in 8 bits, for the graph: unit length is 127.
pub(crate) fn quantise_held(vector: &Vector) -> Vec<i8> {
    quantise(vector, UNIT)
}

/// The components of a question in 8 bits, the largest as 127: how long it is changes nothing in the order of what is found.
pub(crate) fn quantise_asked(vector: &Vector) -> Vec<i8> {
    let largest = vector.values().iter().fold(0f32, |max, x| max.max(x.abs()));
    quantise(vector, UNIT / largest)
}

/// What a product of a question and a held vector, both in 8 bits, is divided by to be their cosine.
pub(crate) fn unit(question: &[i8]) -> f32 {
    f64::from(dot(question, question)).sqrt() as f32 * UNIT
}

fn quantise(vector: &Vector, scale: f32) -> Vec<i8> {
    vector.values().iter().map(|x| (x * scale).round() as i8).collect()
}

/// The sum of products of as many numbers; exact, since 4096 products of 127 by 127 fit 32 bits. Nothing for vectors of two lengths.
pub(crate) fn dot(a: &[i8], b: &[i8]) -> i32 {
    numkong::Dot::dot(a, b).unwrap_or_default()
}
