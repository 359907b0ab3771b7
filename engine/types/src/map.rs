//! Hash maps whose layout is the same in every process and build.
//!
//! The standard maps are seeded at random, so the order of iteration differs between runs and a
//! failing seed would not replay (V5). The hasher here is fixed and fast, and it does not resist
//! keys chosen by an attacker: it is for keys this cluster generates (ids, slots), never for names
//! that users choose. Where order is visible to anyone, use a `BTreeMap`.

use core::hash::{BuildHasherDefault, Hasher};

/// A hash map with the fixed hasher.
pub type Map<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<FixedHasher>>;
/// A hash set with the fixed hasher.
pub type Set<K> = hashbrown::HashSet<K, BuildHasherDefault<FixedHasher>>;

/// Multiply and rotate per word, one stronger mix at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedHasher(u64);

/// The golden ratio in 64 bits, odd: multiplying by it is a bijection that spreads low bits up.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl FixedHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for FixedHasher {
    /// The table takes its index from the low bits and its tag from the highest seven, so the
    /// well-mixed high half is folded onto the low one.
    fn finish(&self) -> u64 {
        let folded = self.0 ^ self.0 >> 32;
        folded.wrapping_mul(FACTOR).rotate_left(29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !tail.is_empty() {
            let mut word = [0; 8];
            word[..tail.len()].copy_from_slice(tail);
            self.add(u64::from_le_bytes(word));
        }
        // The length keeps "a" and "a\0" apart.
        self.add(bytes.len() as u64);
    }

    fn write_u8(&mut self, word: u8) {
        self.add(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.add(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.add(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half is taken by itself")]
    fn write_u128(&mut self, word: u128) {
        self.add(word as u64);
        self.add((word >> 64) as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }
}

#[cfg(test)]
mod tests;
