//! Vectors: where a text lies in a space, and the two ways they are kept.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::hex::hex_id;

/// The widest vector that is accepted: models for short texts have 256 to 4096.
pub const MAX_DIMENSION: usize = 4096;

hex_id! {
    /// The name of a space: a hash over all that decides what its vectors mean (published weights, tokenizer, pooling, dimension,
    /// token limit, prefixes); shown as 64 lower-case hexadecimal digits. Vectors of different spaces are never compared; messages
    /// call it `space_id`.
    SpaceId, VectorError, VectorError::BadSpaceId
}

/// Why numbers or bytes are no vector, or two vectors cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// No components, or more than [`MAX_DIMENSION`].
    #[error("a vector has 1 to {MAX_DIMENSION} components, not {0}")]
    BadDimension(usize),
    /// A component is infinite or not a number, or all are zero.
    #[error("the vector has no direction: a component is not finite, or all are zero")]
    NoDirection,
    /// Encoded bytes of an unknown kind or a wrong length.
    #[error("the bytes are not an encoded vector")]
    Malformed,
    /// The id of a space is not 64 hexadecimal digits.
    #[error("the id of a space is 64 hexadecimal digits")]
    BadSpaceId,
    /// The two belong to different spaces.
    #[error("vectors of different spaces cannot be compared")]
    DifferentSpaces,
}

/// A unit vector in a space.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    model: SpaceId,
    values: Vec<f32>,
}

impl Vector {
    /// Scales `values` to unit length.
    ///
    /// # Errors
    /// [`VectorError::BadDimension`] or [`VectorError::NoDirection`].
    pub fn new(model: SpaceId, mut values: Vec<f32>) -> Result<Self, VectorError> {
        if values.is_empty() || values.len() > MAX_DIMENSION {
            return Err(VectorError::BadDimension(values.len()));
        }
        // f64, so that neither tiny nor huge components under- or overflow when squared.
        let norm = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm == 0.0 {
            return Err(VectorError::NoDirection);
        }
        for value in &mut values {
            *value = (f64::from(*value) / norm) as f32;
        }
        Ok(Self { model, values })
    }

    /// The model that it belongs to.
    #[must_use]
    pub fn model(&self) -> SpaceId {
        self.model
    }

    /// Its components, `dimension` of them.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The cosine of the angle between two vectors, in -1..1.
    ///
    /// # Errors
    /// [`VectorError::DifferentSpaces`].
    pub fn cosine(&self, other: &Self) -> Result<f32, VectorError> {
        if self.model != other.model || self.values.len() != other.values.len() {
            return Err(VectorError::DifferentSpaces);
        }
        Ok(dot(&self.values, &other.values).clamp(-1.0, 1.0))
    }

    /// Packs it for the disk or the wire.
    #[must_use]
    pub fn encode(&self, encoding: Encoding) -> EncodedVector {
        let mut bytes = vec![encoding as u8];
        match encoding {
            Encoding::F16 => bytes.extend(self.values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes())),
            Encoding::I8 => {
                let scale = self.values.iter().fold(0f32, |max, x| max.max(x.abs())) / 127.0;
                bytes.extend(scale.to_le_bytes());
                bytes.extend(self.values.iter().map(|&x| (x / scale).round() as i8 as u8));
            }
        }
        EncodedVector { model: self.model, bytes }
    }
}

/// The sum of products of two slices of equal length, in a form that the compiler turns into wide instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>()
}

/// How the components of a vector are packed. The numbers are on disks and wires: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// Two bytes a component (IEEE 754 half precision); cosines are off by less than 0.001.
    F16 = 1,
    /// One byte a component and one f32 scale for all; cosines are off by less than 0.01.
    I8 = 2,
}

/// A vector as it is stored and sent: one byte for the encoding, then the components.
///
/// F16: `dimension` little-endian halves. I8: the scale as a little-endian f32, then `dimension` signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedVector {
    model: SpaceId,
    bytes: Vec<u8>,
}

impl EncodedVector {
    /// Takes bytes that [`EncodedVector::as_bytes`] gave; [`EncodedVector::decode`] checks them.
    #[must_use]
    pub fn from_bytes(model: SpaceId, bytes: Vec<u8>) -> Self {
        Self { model, bytes }
    }

    /// The model that it belongs to.
    #[must_use]
    pub fn model(&self) -> SpaceId {
        self.model
    }

    /// The packed form, without the model.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Unpacks it.
    ///
    /// # Errors
    /// [`VectorError::Malformed`] for an unknown encoding or an odd length, else as [`Vector::new`].
    pub fn decode(&self) -> Result<Vector, VectorError> {
        let (&encoding, payload) = self.bytes.split_first().ok_or(VectorError::Malformed)?;
        if payload.len() > 2 * MAX_DIMENSION {
            return Err(VectorError::Malformed);
        }
        let values = if encoding == Encoding::F16 as u8 {
            let (halves, rest) = payload.as_chunks::<2>();
            if !rest.is_empty() {
                return Err(VectorError::Malformed);
            }
            let halves: Vec<f16> = halves.iter().map(|&half| f16::from_le_bytes(half)).collect();
            let mut values = vec![0f32; halves.len()];
            halves.convert_to_f32_slice(&mut values);
            values
        } else if encoding == Encoding::I8 as u8 {
            let (scale, bytes) = payload.split_first_chunk::<4>().ok_or(VectorError::Malformed)?;
            let scale = f32::from_le_bytes(*scale);
            bytes.iter().map(|&byte| f32::from(byte as i8) * scale).collect()
        } else {
            return Err(VectorError::Malformed);
        };
        Vector::new(self.model, values)
    }

    /// Its components as whole numbers in their proportions, the largest with at most 15 bits. Made of its bytes by whole
    /// numbers alone, so that every machine gets the same; [`EncodedVector::decode`] rounds as its processor does.
    ///
    /// # Errors
    /// As [`EncodedVector::decode`].
    pub fn whole_components(&self) -> Result<Vec<i16>, VectorError> {
        let (&encoding, payload) = self.bytes.split_first().ok_or(VectorError::Malformed)?;
        if payload.len() > 2 * MAX_DIMENSION {
            return Err(VectorError::Malformed);
        }
        let wide: Vec<i64> = if encoding == Encoding::F16 as u8 {
            let (halves, rest) = payload.as_chunks::<2>();
            if !rest.is_empty() {
                return Err(VectorError::Malformed);
            }
            let whole = halves.iter().map(|&half| whole_half(u16::from_le_bytes(half)));
            whole.collect::<Option<_>>().ok_or(VectorError::NoDirection)?
        } else if encoding == Encoding::I8 as u8 {
            let (_, bytes) = payload.split_first_chunk::<4>().ok_or(VectorError::Malformed)?;
            bytes.iter().map(|&byte| i64::from(byte as i8)).collect()
        } else {
            return Err(VectorError::Malformed);
        };
        if wide.is_empty() || wide.len() > MAX_DIMENSION {
            return Err(VectorError::BadDimension(wide.len()));
        }
        let largest = wide.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
        if largest == 0 {
            return Err(VectorError::NoDirection);
        }
        let bits = u64::BITS - largest.leading_zeros();
        let shift = bits.saturating_sub(WHOLE_BITS);
        let narrow = |value: i64| {
            let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
            let size = ((value.unsigned_abs() + half) >> shift).min(i16::MAX as u64);
            let size = i16::try_from(size).unwrap_or(i16::MAX);
            if value < 0 { -size } else { size }
        };
        Ok(wide.into_iter().map(narrow).collect())
    }
}

/// Bits of the largest of [`EncodedVector::whole_components`].
const WHOLE_BITS: u32 = 15;

/// A half of IEEE 754 in units of 2^-24, of which each finite one is a whole number. None for what is not finite.
fn whole_half(bits: u16) -> Option<i64> {
    let (exponent, fraction) = (bits >> 10 & 0x1f, i64::from(bits & 0x3ff));
    let size = match exponent {
        0x1f => return None,
        0 => fraction,
        exponent => (fraction | 0x400) << (exponent - 1),
    };
    Some(if bits >> 15 == 0 { size } else { -size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODEL: SpaceId = SpaceId::from_bytes([1; 32]);

    fn vector(values: &[f32]) -> Vector {
        Vector::new(MODEL, values.to_vec()).unwrap()
    }

    #[test]
    fn a_vector_has_unit_length_by_construction() {
        assert_eq!(vector(&[3.0, 4.0]).values(), &[0.6, 0.8]);
        assert_eq!(vector(&[f32::MAX, 0.0]).values(), &[1.0, 0.0]);
        assert_eq!(vector(&[f32::MIN_POSITIVE, 0.0]).values(), &[1.0, 0.0]);
    }

    #[test]
    fn what_has_no_direction_is_refused() {
        for bad in [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
            assert_eq!(Vector::new(MODEL, bad), Err(VectorError::NoDirection));
        }
        assert_eq!(Vector::new(MODEL, vec![]), Err(VectorError::BadDimension(0)));
        assert_eq!(Vector::new(MODEL, vec![1.0; 4097]), Err(VectorError::BadDimension(4097)));
    }

    #[test]
    fn vectors_of_two_models_are_not_compared() {
        let other = Vector::new(SpaceId::from_bytes([2; 32]), vec![1.0, 0.0]).unwrap();
        assert_eq!(vector(&[1.0, 0.0]).cosine(&other), Err(VectorError::DifferentSpaces));
    }

    proptest! {
        #[test]
        fn an_encoded_vector_points_where_it_did(values in proptest::collection::vec(-1f32..1.0, 8..500)) {
            prop_assume!(values.iter().any(|x| x.abs() > 0.01));
            let vector = vector(&values);
            for (encoding, tolerance) in [(Encoding::F16, 1e-5), (Encoding::I8, 1e-3)] {
                let back = vector.encode(encoding).decode().unwrap();
                prop_assert!(vector.cosine(&back).unwrap() > 1.0 - tolerance);
            }
        }

        #[test]
        fn whole_components_point_where_the_vector_does(values in proptest::collection::vec(-1f32..1.0, 8..500)) {
            prop_assume!(values.iter().any(|x| x.abs() > 0.01));
            for encoding in [Encoding::F16, Encoding::I8] {
                let encoded = vector(&values).encode(encoding);
                let whole = encoded.whole_components().unwrap();
                let largest = whole.iter().map(|value| value.unsigned_abs()).max().unwrap();
                prop_assert!(largest >= 127 && whole.len() == values.len());
                let whole = vector(&whole.iter().map(|&value| f32::from(value)).collect::<Vec<_>>());
                prop_assert!(whole.cosine(&encoded.decode().unwrap()).unwrap() > 1.0 - 1e-5);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
            let encoded = EncodedVector::from_bytes(MODEL, bytes);
            if let Ok(whole) = encoded.whole_components() {
                prop_assert!(whole.iter().any(|&value| value != 0));
            }
            if let Ok(vector) = encoded.decode() {
                let norm: f32 = vector.values().iter().map(|x| x * x).sum();
                prop_assert!((norm - 1.0).abs() < 1e-3);
            }
        }

        #[test]
        fn the_cosine_is_the_sum_of_products(
            a in proptest::collection::vec(-1f32..1.0, 40), b in proptest::collection::vec(-1f32..1.0, 40),
        ) {
            let (a, b) = (vector(&a), vector(&b));
            let plain: f32 = a.values().iter().zip(b.values()).map(|(x, y)| x * y).sum();
            prop_assert!((a.cosine(&b).unwrap() - plain).abs() < 1e-5);
        }
    }
}
