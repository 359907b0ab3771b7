//! Pseudorandom numbers that a seed determines: for the simulator, for jitter and for tests.
//!
//! xoshiro256++ by Blackman and Vigna ("Scrambled linear pseudorandom number generators", 2019),
//! seeded through SplitMix64 as its authors advise. It is predictable: secrets and nonces come
//! from the operating system through `Env`.

use core::ops::RangeInclusive;

use crate::checksum::mix64;

/// A generator. Two of the same seed give the same numbers on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng([u64; 4]);

/// What SplitMix64 adds to its state per number.
const SPLITMIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The generator of `seed`; every seed is as good as any other.
    pub const fn new(seed: u64) -> Self {
        // The four words are outputs of a bijection at four different states, so they are not all
        // zero, which is the one state xoshiro never leaves.
        Self([
            mix64(seed),
            mix64(seed.wrapping_add(SPLITMIX_STEP)),
            mix64(seed.wrapping_add(SPLITMIX_STEP.wrapping_mul(2))),
            mix64(seed.wrapping_add(SPLITMIX_STEP.wrapping_mul(3))),
        ])
    }

    /// 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c = c ^ a;
        let d = d ^ b;
        self.0 = [a ^ d, b ^ c, c ^ b << 17, d.rotate_left(45)];
        result
    }

    /// A number below `bound`, each as likely as the others up to one part in 2^64 / `bound`.
    ///
    /// # Panics
    /// If `bound` is 0: no number is below it.
    pub const fn below(&mut self, bound: u64) -> u64 {
        assert!(0 < bound, "a number below zero was asked for");
        let wide = self.next_u64() as u128 * bound as u128;
        // The high half of the product is below the bound.
        (wide >> 64) as u64
    }

    /// A number of `range`, ends included.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (start, end) = range.into_inner();
        assert!(start <= end, "a number of an empty range was asked for: {start}..={end}");
        match (end - start).checked_add(1) {
            Some(count) => start + self.below(count),
            None => self.next_u64(),
        }
    }

    /// True in `permille` of 1000 cases; always from 1000 on.
    pub const fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < permille as u64
    }

    /// One of `items`, or nothing if there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            return None;
        }
        items.get(usize::try_from(self.below(items.len() as u64)).ok()?)
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1));
            items.swap(last, other.expect("at most `last`, a usize"));
        }
    }

    /// Fills `bytes` with random bits.
    pub fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }

    /// A generator of its own for the part named `label`. It does not advance this one, so adding
    /// a part to a simulation leaves the numbers of all others as they were.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let mut seed = self.0.iter().fold(0, |seed, word| mix64(seed ^ word));
        for byte in label.bytes() {
            seed = mix64(seed ^ u64::from(byte));
        }
        Self::new(seed)
    }
}

#[cfg(test)]
mod tests;
