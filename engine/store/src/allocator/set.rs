//! A set of segments that knows its lowest member: a bit per segment, and two levels of bits above
//! that say which words are not empty. 33 KiB hold the segments of the largest store.

use alloc::vec;
use alloc::vec::Vec;

use crate::address::SegmentId;

/// Segments of one state.
#[derive(Default)]
pub(super) struct SegmentSet {
    words: Vec<u64>,
    middle: Vec<u64>,
    top: u64,
    len: u32,
}

const WORD: u32 = u64::BITS;

impl SegmentSet {
    /// No segment of `count`.
    pub(super) fn empty(count: u32) -> Self {
        let words = count.div_ceil(WORD);
        let middle = words.div_ceil(WORD);
        assert!(middle <= WORD, "E113: {count} segments do not fit three levels");
        Self { words: vec![0; words as usize], middle: vec![0; middle as usize], top: 0, len: 0 }
    }

    /// Every segment of `count`.
    pub(super) fn full(count: u32) -> Self {
        let mut set = Self::empty(count);
        for raw in 0..count {
            set.insert(SegmentId::new(raw));
        }
        set
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn contains(&self, segment: SegmentId) -> bool {
        self.words[(segment.get() / WORD) as usize] & bit(segment.get()) != 0
    }

    pub(super) fn first(&self) -> Option<SegmentId> {
        if self.len == 0 {
            return None;
        }
        let at = self.top.trailing_zeros();
        let at = at * WORD + self.middle[at as usize].trailing_zeros();
        Some(SegmentId::new(at * WORD + self.words[at as usize].trailing_zeros()))
    }

    pub(super) fn insert(&mut self, segment: SegmentId) {
        assert!(!self.contains(segment), "E114: {segment} enters a state that it is in");
        let raw = segment.get();
        self.words[(raw / WORD) as usize] |= bit(raw);
        self.middle[(raw / WORD / WORD) as usize] |= bit(raw / WORD);
        self.top |= bit(raw / WORD / WORD);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, segment: SegmentId) {
        assert!(self.contains(segment), "E114: {segment} leaves a state that it is not in");
        let raw = segment.get();
        let word = &mut self.words[(raw / WORD) as usize];
        *word &= !bit(raw);
        if *word == 0 {
            let middle = &mut self.middle[(raw / WORD / WORD) as usize];
            *middle &= !bit(raw / WORD);
            if *middle == 0 {
                self.top &= !bit(raw / WORD / WORD);
            }
        }
        self.len -= 1;
    }

    pub(super) fn pop_first(&mut self) -> Option<SegmentId> {
        let segment = self.first()?;
        self.remove(segment);
        Some(segment)
    }
}

const fn bit(index: u32) -> u64 {
    1 << (index % WORD)
}

#[cfg(test)]
mod tests;
