//! The keys and values of this suite, and which of them a transaction touches.

use engine_types::Rng;
use engine_types::checksum::mix64;
use meta_kv::Mutation;
use meta_kv::engine::Batch;

/// Bytes of a key: a prefix and two ids.
pub(super) const KEY_BYTES: usize = 24;
/// Bytes of a value: an inode of a small file.
pub(super) const VALUE_BYTES: usize = 64;
/// Bytes of both.
pub(super) const ENTRY_BYTES: usize = KEY_BYTES + VALUE_BYTES;
/// Keys that a transaction sets: dirent, inode, and the parent's inode.
pub(super) const KEYS_PER_COMMIT: usize = 3;
/// Entries of a page.
pub(super) const PAGE_ENTRIES: usize = 100;

/// Keys of one batch while a store is filled: few flushes, little memory.
const FILL_BATCH: u64 = 20_000;

/// Where the keys of a transaction lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// Side by side, in a part of the store that belongs to the task, behind those of its last
    /// transaction: somebody fills a directory.
    Near,
    /// Each anywhere: no two in one page of a large store.
    Spread,
}

/// The key of a number; keys are in the order of their numbers.
pub(super) fn key(index: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    #[expect(clippy::big_endian_bytes, reason = "keys are compared bytewise")]
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..16].copy_from_slice(&mix64(index).to_le_bytes());
    key[16..].copy_from_slice(&mix64(!index).to_le_bytes());
    key
}

/// A value that no disk can shorten.
pub(super) fn value(random: &mut Rng) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    random.fill_bytes(&mut value);
    value
}

/// Batches that fill a store with keys 0 to `keys`, in order, from `version` on.
pub(super) fn fill(keys: u64, version: u64) -> impl Iterator<Item = Batch> {
    let mut random = Rng::new(keys);
    let batch = move |nth: u64| {
        let from = nth * FILL_BATCH;
        let mutations = (from..keys.min(from + FILL_BATCH)).map(|index| set(index, &mut random));
        Batch { version: version + nth, mutations: mutations.collect() }
    };
    (0..keys.div_ceil(FILL_BATCH)).map(batch)
}

fn set(index: u64, random: &mut Rng) -> Mutation {
    Mutation::Set { key: key(index).to_vec(), value: value(random).to_vec() }
}

/// One of several that work at the same time, each on keys of its own.
#[derive(Clone, Debug)]
pub(super) struct Task {
    keys: u64,
    number: u64,
    of: u64,
    at: u64,
    random: Rng,
}

impl Task {
    /// The `number`th `of` so many on a store of `keys`.
    pub(super) fn new(keys: u64, number: u64, of: u64, seed: u64) -> Self {
        assert!(number < of && of <= keys / KEYS_PER_COMMIT as u64, "every task has own keys");
        let mut random = Rng::new(seed);
        let at = random.range(0..=keys / of - 1);
        Self { keys, number, of, at, random }
    }

    /// Numbers of the keys of its next transaction.
    pub(super) fn next(&mut self, place: Where) -> [u64; KEYS_PER_COMMIT] {
        let own = self.keys / self.of;
        let random = &mut self.random;
        match place {
            Where::Near => {
                let first = self.at;
                self.at = (first + KEYS_PER_COMMIT as u64) % own;
                [0, 1, 2].map(|nth| self.number * own + (first + nth) % own)
            }
            Where::Spread => [(); 3].map(|()| random.range(0..=own - 1) * self.of + self.number),
        }
    }

    /// The writes of its next transaction.
    pub(super) fn next_sets(&mut self, place: Where) -> [Mutation; KEYS_PER_COMMIT] {
        let indexes = self.next(place);
        indexes.map(|index| set(index, &mut self.random))
    }

    /// The same with other random numbers.
    pub(super) fn reseeded(self, seed: u64) -> Self {
        Self { random: Rng::new(seed), ..self }
    }

    /// A random key with `behind` keys after it.
    pub(super) fn any(&mut self, behind: usize) -> u64 {
        self.random.range(0..=self.keys - 1 - behind as u64)
    }

    /// A new value.
    pub(super) fn value(&mut self) -> [u8; VALUE_BYTES] {
        value(&mut self.random)
    }
}

#[cfg(test)]
mod tests;
