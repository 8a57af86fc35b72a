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
    // Of no numbers, the kernel for AVX-512 makes some sum (numkong 7.8.7).
    if a.is_empty() { 0 } else { numkong::Dot::dot(a, b).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Products of two lists, one after the other.
    fn plain(a: &[i8], b: &[i8]) -> i32 {
        a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
    }

    #[test]
    fn the_largest_products_do_not_overflow() {
        for (x, y) in [(127, 127), (-127, 127), (-127, -127), (-128, -128)] {
            let (a, b) = (vec![x; 4096], vec![y; 4096]);
            assert_eq!(dot(&a, &b), plain(&a, &b), "{x} by {y}");
        }
        assert_eq!((dot(&[], &[]), dot(&[1], &[1, 2])), (0, 0));
    }

    proptest! {
        #[test]
        fn products_are_exact_whatever_the_length(
            pairs in prop::collection::vec((any::<i8>(), any::<i8>()), 0..600),
        ) {
            let (a, b): (Vec<i8>, Vec<i8>) = pairs.into_iter().unzip();
            prop_assert_eq!(dot(&a, &b), plain(&a, &b));
        }
    }
}
