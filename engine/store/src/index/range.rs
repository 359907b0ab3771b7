//! Records in the order of their keys, from both ends.

use core::iter::FusedIterator;
use core::ops::{Bound, RangeBounds};

use super::packed::{START, UNUSED, pack, start, unpack};
use super::{Index, RecordRef};
use crate::address::{ChunkKey, Slot};

/// Records of a range of keys. Beginning at a key costs as much as finding it.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    index: &'a Index,
    /// What is still to come: keys from `from` to before `to`.
    from: u128,
    to: u128,
    front: Option<Spot>,
    back: Option<Spot>,
}

/// A place between two records of a leaf, and the range of keys that the leaf is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    leaf: u32,
    at: usize,
    low: u128,
    high: u128,
}

/// Bounds as packed numbers, the second exclusive. A key with a start lies above its own number
/// and below it with all bits of the start.
fn bounds(range: &impl RangeBounds<ChunkKey>) -> (u128, u128) {
    let from = match range.start_bound() {
        Bound::Included(&key) => pack(key),
        Bound::Excluded(&key) => pack(key) | START,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&key) => pack(key) | START,
        Bound::Excluded(&key) => pack(key),
        Bound::Unbounded => UNUSED,
    };
    (from, to)
}

impl Index {
    /// Records of keys of a range.
    pub fn range_keys(&self, range: impl RangeBounds<ChunkKey>) -> Records<'_> {
        let (from, to) = bounds(&range);
        Records { index: self, from, to, front: None, back: None }
    }

    /// Records of the chunks of a file, by their index in it. `next_back` is the file's last.
    pub fn range(&self, slot: Slot, inode: u64, indices: impl RangeBounds<u32>) -> Records<'_> {
        let key = |index| ChunkKey::new(slot, inode, index);
        let start = match indices.start_bound() {
            Bound::Unbounded => Bound::Included(key(0)),
            bound => bound.map(|&index| key(index)),
        };
        let end = match indices.end_bound() {
            Bound::Unbounded => Bound::Included(key(u32::MAX)),
            bound => bound.map(|&index| key(index)),
        };
        self.range_keys((start, end))
    }

    /// Records of all keys above one, or of all keys: what is resumed at a key, however the index
    /// has changed since.
    pub fn after(&self, key: Option<ChunkKey>) -> Records<'_> {
        self.range_keys((key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    /// The spot before the first key that is not below `bound`, in the leaf for `bound`: at the
    /// leaf's end, that key is the first of the next leaf.
    fn spot(&self, bound: u128) -> Spot {
        let (mut low, mut high) = (0, UNUSED);
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = &self.inners[node];
            let at = inner.place(bound & !START);
            let (keys, children) = inner.entries();
            low = keys[at];
            high = keys.get(at + 1).copied().unwrap_or(high);
            node = children[at];
        }
        let at = super::packed::count_below(&self.leaves[node].keys, bound);
        Spot { leaf: node, at, low, high }
    }
}

impl<'a> Records<'a> {
    fn end(&mut self) -> Option<(ChunkKey, RecordRef<'a>)> {
        self.to = self.from;
        None
    }

    fn lend(&self, spot: Spot) -> (ChunkKey, RecordRef<'a>) {
        let leaf = &self.index.leaves[spot.leaf];
        (unpack(leaf.keys[spot.at]), self.index.record(leaf, spot.at))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (ChunkKey, RecordRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.to <= self.from {
            return None;
        }
        let mut spot = self.front.unwrap_or_else(|| self.index.spot(self.from));
        while spot.at == self.index.leaves[spot.leaf].count() {
            if self.to <= spot.high {
                return self.end();
            }
            spot = self.index.spot(spot.high);
        }
        let key = self.index.leaves[spot.leaf].keys[spot.at];
        if self.to <= key {
            return self.end();
        }
        let item = self.lend(spot);
        self.from = key | START;
        self.front = Some(Spot { at: spot.at + 1, ..spot });
        Some(item)
    }
}

impl DoubleEndedIterator for Records<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.to <= self.from {
            return None;
        }
        let mut spot = self.back.unwrap_or_else(|| self.index.spot(self.to));
        while spot.at == 0 {
            if spot.low <= self.from {
                return self.end();
            }
            // Fences have no start, so this is above every key of the leaf before.
            spot = self.index.spot(spot.low - 1);
        }
        let spot = Spot { at: spot.at - 1, ..spot };
        let key = self.index.leaves[spot.leaf].keys[spot.at];
        if key < self.from {
            return self.end();
        }
        let item = self.lend(spot);
        // The key without its start, so that neither end finds it again.
        self.to = key - start(key) as u128;
        self.back = Some(spot);
        Some(item)
    }
}

impl FusedIterator for Records<'_> {}
