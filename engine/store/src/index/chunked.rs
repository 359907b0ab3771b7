//! A row of items in chunks of memory: it grows without moving what it holds, so that no insertion
//! ever waits for a copy of the whole.
//!
//! Items are dense: the last takes the place of one that goes, and memory follows the number of
//! items in both directions.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// What the allocator keeps for each piece of memory beside the piece.
pub(super) const ALLOCATION_BYTES: u64 = 16;
/// The list of chunks grows by this many, so that it is never copied for one more only, and its
/// growth has a bound that `room_for` can count on.
const LIST_STEP: usize = 64;

/// Items in chunks of `1 << SHIFT`.
#[derive(Debug)]
pub(super) struct Chunked<T, const SHIFT: u32> {
    chunks: Vec<Vec<T>>,
    count: u32,
}

impl<T, const SHIFT: u32> Chunked<T, SHIFT> {
    const PER_CHUNK: usize = 1 << SHIFT;
    const MASK: usize = Self::PER_CHUNK - 1;
    const CHUNK_BYTES: u64 = (Self::PER_CHUNK * size_of::<T>()) as u64 + ALLOCATION_BYTES;
    /// The most by which `bytes` grows when up to `PER_CHUNK` items are added.
    pub(super) const GROWTH_BYTES: u64 =
        Self::CHUNK_BYTES + (LIST_STEP * size_of::<Vec<T>>()) as u64;

    /// None.
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), count: 0 }
    }

    /// Number of items.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes in use, allocated ahead included.
    pub(super) fn bytes(&self) -> u64 {
        let list = self.chunks.capacity() * size_of::<Vec<T>>();
        list as u64 + self.chunks.len() as u64 * Self::CHUNK_BYTES
    }

    /// Adds an item and returns its number.
    pub(super) fn push(&mut self, item: T) -> u32 {
        let number = self.count;
        let chunk = number as usize >> SHIFT;
        if chunk == self.chunks.len() {
            if self.chunks.len() == self.chunks.capacity() {
                self.chunks.reserve_exact(LIST_STEP);
            }
            self.chunks.push(Vec::with_capacity(Self::PER_CHUNK));
        }
        self.chunks[chunk].push(item);
        self.count = number.checked_add(1).expect("the index is smaller than 2^32 nodes");
        number
    }

    /// Takes an item out; the last item gets its number. Returns the number that the last one had,
    /// unless it was the one that went.
    pub(super) fn swap_remove(&mut self, number: u32) -> Option<u32> {
        let last = self.count.checked_sub(1).expect("an item that is there goes");
        let item = self.chunks[last as usize >> SHIFT].pop().expect("the last chunk has it");
        self.count = last;
        self.drop_empty_chunk();
        if number == last {
            return None;
        }
        self[number] = item;
        Some(last)
    }

    /// An empty chunk stays until the one before it is half empty, so that an item that comes and
    /// goes does not allocate each time.
    fn drop_empty_chunk(&mut self) {
        let used = (self.count as usize).div_ceil(Self::PER_CHUNK);
        let in_last = self.count as usize & Self::MASK;
        if used + 1 < self.chunks.len() || in_last != 0 && in_last <= Self::PER_CHUNK / 2 {
            self.chunks.truncate(used);
        }
        if self.count == 0 {
            self.chunks = Vec::new();
        } else if self.chunks.len() + 2 * LIST_STEP < self.chunks.capacity() {
            self.chunks.shrink_to(self.chunks.len() + LIST_STEP);
        }
    }

    /// All of them, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(self.chunks.iter().flatten())
    }
}

impl<T, const SHIFT: u32> Index<u32> for Chunked<T, SHIFT> {
    type Output = T;

    #[inline]
    fn index(&self, number: u32) -> &T {
        &self.chunks[number as usize >> SHIFT][number as usize & Self::MASK]
    }
}

impl<T, const SHIFT: u32> IndexMut<u32> for Chunked<T, SHIFT> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.chunks[number as usize >> SHIFT][number as usize & Self::MASK]
    }
}

#[cfg(test)]
mod tests;
