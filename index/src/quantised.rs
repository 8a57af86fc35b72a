//! Vectors in 8 bits a component, as the graph holds them.

use synapsenet_proto::Vector;

/// The components in 8 bits, the largest as 127.
pub(crate) fn quantise(vector: &Vector) -> Vec<i8> {
    let largest = vector.values().iter().fold(0f32, |max, x| max.max(x.abs()));
    let scale = 127.0 / largest;
    vector.values().iter().map(|x| (x * scale).round() as i8).collect()
}

/// The cosine of two vectors in 8 bits.
pub(crate) fn cosine(a: &[i8], b: &[i8]) -> f32 {
    (f64::from(dot(a, b)) / (f64::from(dot(a, a)) * f64::from(dot(b, b))).sqrt()) as f32
}

/// The sum of products; exact, since 4096 products of 127 by 127 fit 32 bits.
fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
}
