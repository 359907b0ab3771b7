//! What an update takes at most, before it is asked for: the head of a chain admits growth against
//! the smallest room of its replicas (R18).

use engine_types::ChunkSize;
use engine_types::limits::BLOCK_BYTES_MAX;

use super::Store;
use super::admit::{TABLE_COST, entry_cost, growth_cost};
use crate::address::{BlockClass, ChunkKey};
use crate::plan::IMAGE_BYTES_MAX;
use crate::record::{RecordRef, words_to};
use crate::request::Change;

impl<T: Clone> Store<T> {
    /// Most bytes of blocks and of index records that an update takes until what it replaces is
    /// free; nothing for a removal, and for a truncation that shrinks.
    ///
    /// It holds for every replica with this content, however its blocks came about: a block that
    /// may be copied counts as one of the whole chunk's class, up to 4 MiB, and a replacement as if
    /// it had no holes. Exact are the first data of a chunk, and the overwriting of less than half
    /// of a block with less than 256 KiB, which takes none. While the chunk has another version
    /// under way, nothing is assumed about what this one will find.
    pub fn growth(&self, key: &ChunkKey, size: ChunkSize, change: &Change) -> (u64, u64) {
        let known = self.busy(key).is_none();
        let base = self.index.get(key);
        let end_of = |offset: u32, len: u32| offset.saturating_add(len).min(size.bytes());
        let (bytes, data_end) = match *change {
            Change::Remove => return (0, 0),
            Change::Truncate { len } if base.is_some_and(|base| len <= base.head.len) => {
                return (0, 0);
            }
            Change::Truncate { .. } | Change::Extend { .. } => (0, 0),
            Change::Zero { offset, len } => {
                (zero_bytes(base.filter(|_| known), size, offset, end_of(offset, len)), 0)
            }
            Change::Write { offset, len } => {
                let end = end_of(offset, len);
                let bytes = match known {
                    true => write_bytes(base, size, offset, end),
                    false => whole_block(size) * (place_count(offset, end) + 1),
                };
                (bytes, end)
            }
            Change::Replace { len } => {
                let len = len.min(size.bytes());
                (block_to(len) * place_count(0, len), len)
            }
        };
        (bytes, record_bytes(base, known, size, data_end))
    }
}

/// Index bytes of a record whose data ends no earlier than at `data_end`.
fn record_bytes(
    base: Option<RecordRef<'_>>,
    is_known: bool,
    size: ChunkSize,
    data_end: u32,
) -> u64 {
    if !is_known {
        return entry_cost(words_to(size, size.bytes())) + TABLE_COST;
    }
    let base_end = base.map_or(0, |base| base.head.data_end);
    let old = base.map(|base| base.words.len());
    growth_cost(old, Some(words_to(size, data_end.max(base_end))))
}

/// Blocks for a write to a known chunk.
fn write_bytes(base: Option<RecordRef<'_>>, size: ChunkSize, offset: u32, end: u32) -> u64 {
    let Some(base) = base.filter(|base| 0 < base.head.data_end) else {
        return block_to(end) * place_count(offset, end);
    };
    if is_overlaid(base, offset, end) {
        return 0;
    }
    // The block in which the data ended is copied when it grows, and may be when it is completed.
    let last = (base.head.data_end - 1) / BLOCK_BYTES_MAX;
    let completed = u64::from(last < offset / BLOCK_BYTES_MAX);
    whole_block(size) * (place_count(offset, end) + completed)
}

/// Blocks for zeros: only the checksum blocks that are zeroed in part are written.
fn zero_bytes(base: Option<RecordRef<'_>>, size: ChunkSize, offset: u32, end: u32) -> u64 {
    let block = size.checksum_block_bytes();
    let is_partial = !offset.is_multiple_of(block) || !end.is_multiple_of(block);
    let behind = base.is_some_and(|base| base.head.data_end <= offset);
    if !is_partial || behind {
        return 0;
    }
    whole_block(size) * place_count(offset, end).min(2)
}

/// Whether a write only overwrites, so little of one block that images take it all (`plan::place`).
fn is_overlaid(base: RecordRef<'_>, offset: u32, end: u32) -> bool {
    let head = base.head;
    let place = offset / BLOCK_BYTES_MAX;
    if end <= offset || head.data_end < end || (end - 1) / BLOCK_BYTES_MAX != place {
        return false;
    }
    let shift = head.size.checksum_block_shift();
    // A hole that is written in part is completed with zeros.
    let blocks = (end.div_ceil(1 << shift)) - (offset >> shift);
    let images = blocks << shift;
    let first = (place * BLOCK_BYTES_MAX) >> shift;
    let behind = first + (BLOCK_BYTES_MAX >> shift);
    let data = (first..behind).filter(|&block| !base.is_hole(block));
    let valid: u32 = data.map(|block| head.valid_bytes(block)).sum();
    images <= IMAGE_BYTES_MAX && 2 * images < valid
}

/// Block places that a range touches.
fn place_count(start: u32, end: u32) -> u64 {
    if end <= start {
        return 0;
    }
    u64::from((end - 1) / BLOCK_BYTES_MAX - start / BLOCK_BYTES_MAX + 1)
}

/// Bytes of the blocks of a chunk whose first data ends at `end` (S19).
fn block_to(end: u32) -> u64 {
    BlockClass::holding(end).unwrap_or(BlockClass::MAX).bytes().into()
}

/// Bytes of a block of the whole chunk's class.
fn whole_block(size: ChunkSize) -> u64 {
    block_to(size.bytes())
}
