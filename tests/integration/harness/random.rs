//! Numbers that look random and can be had again.

/// A sequence of numbers that follows from its seed (splitmix64; Steele, Lea and Flood, OOPSLA 2014).
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the variable `TEST_SEED`, or else by the clock; the seed is printed, so that a failure can be repeated.
    pub fn from_environment() -> Self {
        let given = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(super::now_ms);
        println!("seed: run again with TEST_SEED={seed}");
        Self(seed)
    }

    /// Seeded by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// `length` letters and digits that do not become less when they are compressed, the same for the same `seed`. To the model
/// they are one word that it does not know, so they take next to no time to read.
pub(crate) fn noise(seed: u64, length: usize) -> String {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut random = Random(seed);
    (0..length).map(|_| char::from(LETTERS[random.below(62) as usize])).collect()
}
