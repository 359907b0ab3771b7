//! Which blocks of a segment are taken: a bit per block, and a bit per full word above them, so
//! that the lowest free block of 16,384 is found in two steps.

use alloc::boxed::Box;
use alloc::vec;

use crate::address::BlockClass;

/// The taken blocks of one segment.
pub(super) enum Bits {
    /// Up to 64 blocks. Bits beyond the last block are set: nobody finds them free.
    One(u64),
    /// A power of two of words, preceded by a bit for each that is full; bits of no word are set.
    Many(Box<[u64]>),
}

const WORD: u32 = u64::BITS;

impl Bits {
    /// No block of a segment of `class` is taken.
    pub(super) fn new(class: BlockClass) -> Self {
        let blocks = class.per_segment();
        if blocks <= WORD {
            return Self::One(beyond(blocks));
        }
        let words = blocks / WORD;
        let tops = words.div_ceil(WORD);
        let mut all = vec![0; (tops + words) as usize].into_boxed_slice();
        if words < WORD {
            all[0] = beyond(words);
        }
        Self::Many(all)
    }

    /// Whether block `index` is taken.
    pub(super) fn get(&self, index: u32) -> bool {
        match self {
            Self::One(word) => word & bit(index) != 0,
            Self::Many(all) => words(all)[(index / WORD) as usize] & bit(index) != 0,
        }
    }

    /// Takes block `index`; false if it is taken already.
    pub(super) fn set(&mut self, index: u32) -> bool {
        match self {
            Self::One(word) => {
                let was_free = *word & bit(index) == 0;
                *word |= bit(index);
                was_free
            }
            Self::Many(all) => {
                let (tops, words) = all.split_at_mut(top_count(all.len()));
                let at = index / WORD;
                let word = &mut words[at as usize];
                let was_free = *word & bit(index) == 0;
                *word |= bit(index);
                if *word == u64::MAX {
                    tops[(at / WORD) as usize] |= bit(at);
                }
                was_free
            }
        }
    }

    /// Frees block `index`; false if it is free already.
    pub(super) fn clear(&mut self, index: u32) -> bool {
        match self {
            Self::One(word) => {
                let was_taken = *word & bit(index) != 0;
                *word &= !bit(index);
                was_taken
            }
            Self::Many(all) => {
                let (tops, words) = all.split_at_mut(top_count(all.len()));
                let at = index / WORD;
                let word = &mut words[at as usize];
                let was_taken = *word & bit(index) != 0;
                *word &= !bit(index);
                tops[(at / WORD) as usize] &= !bit(at);
                was_taken
            }
        }
    }

    /// The free block with the lowest number: neighbours in time become neighbours on disk.
    pub(super) fn lowest_free(&self) -> Option<u32> {
        match self {
            Self::One(word) => first_zero(0, *word),
            Self::Many(all) => {
                let (tops, words) = all.split_at(top_count(all.len()));
                let at = (0..).zip(tops).find_map(|(top, &word)| first_zero(top, word))?;
                first_zero(at, words[at as usize])
            }
        }
    }

    /// The taken blocks, ascending.
    pub(super) fn taken(&self, class: BlockClass) -> impl Iterator<Item = u32> + '_ {
        let words = match self {
            Self::One(word) => core::slice::from_ref(word),
            Self::Many(all) => words(all),
        };
        let all = (0..).zip(words).flat_map(|(at, &word)| ones(word).map(move |i| at * WORD + i));
        all.take_while(move |&index| index < class.per_segment())
    }

    /// Whether the words above agree with those below (E113).
    pub(super) fn is_consistent(&self) -> bool {
        let Self::Many(all) = self else {
            return true;
        };
        let (tops, words) = all.split_at(top_count(all.len()));
        let mut full = (0u32..)
            .zip(words)
            .map(|(at, &word)| (tops[(at / WORD) as usize] & bit(at) != 0) == (word == u64::MAX));
        full.all(|agrees| agrees)
    }
}

/// With 64 words or fewer there is one above them, else one above each 64: 1 of 65.
const fn top_count(all: usize) -> usize {
    all.div_ceil(WORD as usize + 1)
}

fn words(all: &[u64]) -> &[u64] {
    &all[top_count(all.len())..]
}

const fn bit(index: u32) -> u64 {
    1 << (index % WORD)
}

/// The bits from `count` on.
const fn beyond(count: u32) -> u64 {
    if count < WORD { u64::MAX << count } else { 0 }
}

/// The first zero of word number `at`, counted from the first word.
const fn first_zero(at: u32, word: u64) -> Option<u32> {
    if word == u64::MAX { None } else { Some(at * WORD + word.trailing_ones()) }
}

fn ones(word: u64) -> impl Iterator<Item = u32> {
    let rest = core::iter::successors(Some(word), |&word| Some(word & (word.wrapping_sub(1))));
    rest.take_while(|&word| word != 0).map(u64::trailing_zeros)
}

#[cfg(test)]
mod tests;
