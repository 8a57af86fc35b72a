//! Numbers that are the same on every machine: cosines and logarithms in millionths, by whole numbers alone.

use synapsenet_proto::{EncodedVector, VectorError};

/// A number in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Millionths(pub u64);

impl Millionths {
    /// One.
    pub const ONE: Self = Self(1_000_000);

    /// What somebody wrote as a decimal number; what is negative or none is nothing.
    pub fn from_setting(value: f64) -> Self {
        // The cast takes what is too large for the largest, and what is no number for 0.
        Self((value * 1e6).round() as u64)
    }

    /// As others read it.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Rounded down.
    pub fn times(self, other: Self) -> Self {
        let product = u128::from(self.0) * u128::from(other.0) / 1_000_000;
        Self(u64::try_from(product).unwrap_or(u64::MAX))
    }

    /// Nothing where it would be negative.
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A vector as whole numbers, with the square of its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    components: Vec<i16>,
    square: u64,
}

impl Whole {
    /// # Errors
    /// As [`EncodedVector::decode`].
    pub fn of(vector: &EncodedVector) -> Result<Self, VectorError> {
        let components = vector.whole_components()?;
        let square = dot(&components, &components).unsigned_abs();
        Ok(Self { components, square })
    }

    /// The cosine of two vectors of one space; what points away from each other is as far as what has nothing in common.
    pub fn cosine(&self, other: &Self) -> Millionths {
        /// Bits that the root gets behind its point: the squares of 4096 components have at most 42 bits each.
        const POINT: u32 = 20;
        if self.components.len() != other.components.len() {
            return Millionths(0);
        }
        let dot = dot(&self.components, &other.components).max(0) as u128;
        let root = ((u128::from(self.square) * u128::from(other.square)) << (2 * POINT)).isqrt();
        let cosine = ((dot * 1_000_000) << POINT).checked_div(root).unwrap_or(0);
        Millionths(u64::try_from(cosine).unwrap_or(u64::MAX)).min(Millionths::ONE)
    }
}

/// In steps whose sums fit into 64 bits: 4096 products of at most 30 bits each.
fn dot(a: &[i16], b: &[i16]) -> i64 {
    a.iter().zip(b).map(|(&x, &y)| i64::from(i32::from(x) * i32::from(y))).sum()
}

/// The natural logarithm of `1 + n`, rounded down from its 32 binary places.
pub(super) fn ln_1p(n: u64) -> Millionths {
    /// ln 2, in 10^-12.
    const LN_2: u128 = 693_147_180_560;
    const PLACES: u32 = 32;
    let x = n.saturating_add(1);
    let whole = x.ilog2();
    // In 1 to 2, with 32 binary places: what is cut off is far below a millionth.
    let mut mantissa = if whole > PLACES { x >> (whole - PLACES) } else { x << (PLACES - whole) };
    let mut log2 = u128::from(whole) << PLACES;
    for place in (0..PLACES).rev() {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> PLACES;
        mantissa = square as u64;
        if mantissa >= 2 << PLACES {
            mantissa >>= 1;
            log2 |= 1 << place;
        }
    }
    let millionths = ((log2 * LN_2) >> PLACES) / 1_000_000;
    Millionths(u64::try_from(millionths).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synapsenet_proto::{Encoding, SpaceId, Vector};

    use super::*;

    fn vector(values: &[f32]) -> Vector {
        Vector::new(SpaceId::from_bytes([1; 32]), values.to_vec()).unwrap()
    }

    fn whole(values: &[f32], encoding: Encoding) -> Whole {
        Whole::of(&vector(values).encode(encoding)).unwrap()
    }

    #[test]
    fn what_points_the_same_way_has_the_cosine_one_and_what_points_away_none() {
        let a = whole(&[3.0, 4.0, -1.0], Encoding::F16);
        assert_eq!(a.cosine(&a), Millionths::ONE);
        assert_eq!(a.cosine(&whole(&[-3.0, -4.0, 1.0], Encoding::I8)), Millionths(0));
        assert_eq!(
            whole(&[1.0, 0.0], Encoding::I8).cosine(&whole(&[1.0, 1.0], Encoding::I8)),
            Millionths(707_106)
        );
        assert_eq!(a.cosine(&whole(&[1.0], Encoding::I8)), Millionths(0));
    }

    #[test]
    fn logarithms_are_those_that_everybody_knows() {
        for (n, expected) in [(0, 0), (1, 693_147), (2, 1_098_612), (9, 2_302_585), (999_999, 13_815_510)] {
            assert_eq!(ln_1p(n), Millionths(expected), "{n}");
        }
        assert_eq!(ln_1p(u64::MAX).0 / 1000, 44_361);
    }

    #[test]
    fn a_setting_is_rounded_and_nonsense_is_nothing() {
        let of = |value| Millionths::from_setting(value).0;
        assert_eq!((of(0.1), of(0.3), of(-1.0), of(f64::NAN)), (100_000, 300_000, 0, 0));
    }

    proptest! {
        #[test]
        fn a_cosine_is_what_it_is_and_the_same_from_both_sides(
            a in proptest::collection::vec(-1f32..1.0, 384), b in proptest::collection::vec(-1f32..1.0, 384),
        ) {
            for encoding in [Encoding::F16, Encoding::I8] {
                let (whole_a, whole_b) = (whole(&a, encoding), whole(&b, Encoding::I8));
                let cosine = whole_a.cosine(&whole_b);
                prop_assert_eq!(cosine, whole_b.cosine(&whole_a));
                let decoded = |values: &[f32], encoding| vector(values).encode(encoding).decode().unwrap();
                let plain = decoded(&a, encoding).cosine(&decoded(&b, Encoding::I8)).unwrap();
                prop_assert!((cosine.as_f64() - f64::from(plain).max(0.0)).abs() < 1e-4);
            }
        }

        #[test]
        fn logarithms_grow_and_are_close(n in 0u64..10_000_000) {
            prop_assert!(ln_1p(n) <= ln_1p(n + 1));
            prop_assert!((ln_1p(n).as_f64() - (1.0 + n as f64).ln()).abs() < 2e-6);
        }
    }
}
