//! Keys and heads in the form in which leaves keep them: 16 and 24 bytes.
//!
//! A key is one number, in the order of [`ChunkKey`]: slot, inode, index from the highest bits
//! down. Its lowest 16 bits are no part of it: in a leaf they say where the record's words start
//! in the leaf's buffer, which costs a comparison nothing.

use engine_types::limits::{BLOCK_BYTES_MAX, CHUNK_BYTES_MAX};
use engine_types::{ChainVersion, ChunkSize, ChunkVersion};

use crate::address::{BlockAddress, BlockClass, ChunkKey, Slot, TruncateEpoch};
use crate::record::{Head, RecordRef};

/// Places of a node of the tree, leaf or not.
pub(super) const PLACES: usize = 64;
/// The bits of a packed key that are no key.
pub(super) const START: u128 = 0xffff;
/// Stands in places of a node that are not in use: above every key, whatever its start.
pub(super) const UNUSED: u128 = u128::MAX;
/// Words of a record that still lie in its leaf's buffer; a longer table is on its own. 64 is a
/// chunk of 4 MiB: moving 64 such tables when a leaf splits takes about 2 us.
pub(super) const LEAF_WORDS_MAX: usize = 64;

/// Bits of a length: one more than the largest chunk needs for its offsets.
const LENGTH_BITS: u32 = 27;
const LENGTH: u32 = (1 << LENGTH_BITS) - 1;
/// Binary logarithm of the smallest chunk.
const SIZE_SHIFT_MIN: u32 = ChunkSize::MIN.bytes().trailing_zeros();
const BLOCK_SHIFT: u32 = BLOCK_BYTES_MAX.trailing_zeros();

/// The fixed part of a record and its first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedHead {
    /// Below: length. Above: binary logarithm of the chunk size, less that of the smallest.
    len_and_size: u32,
    /// Below: end of the data. Above: class of the blocks.
    end_and_class: u32,
    version: u32,
    chain_version: u32,
    epoch: u32,
    block: u32,
}

/// The key as a number, start 0.
pub(super) const fn pack(key: ChunkKey) -> u128 {
    let ChunkKey { slot, chunk } = key;
    (slot.get() as u128) << 112 | (chunk.inode.get() as u128) << 48 | (chunk.index as u128) << 16
}

/// The key of a number, whatever its start.
#[expect(clippy::cast_possible_truncation, reason = "each part is cut out of the number")]
pub(super) const fn unpack(packed: u128) -> ChunkKey {
    ChunkKey::new(Slot::new((packed >> 112) as u16), (packed >> 48) as u64, (packed >> 16) as u32)
}

/// The start that a number carries.
#[expect(clippy::cast_possible_truncation, reason = "only the lowest 16 bits are wanted")]
pub(super) const fn start(packed: u128) -> usize {
    packed as u16 as usize
}

/// The number with another start.
pub(super) const fn with_start(packed: u128, start: usize) -> u128 {
    assert!(start < START as usize, "E117: a buffer holds fewer words than a start can say");
    packed & !START | start as u128
}

/// How many of `keys` are below `bound`: the place of the first that is not. `keys` ascend, unused
/// places included. The eight samples are independent loads, so a node outside the cache costs
/// about two waits for memory, where a binary search costs one per step.
#[inline]
pub(super) fn count_below(keys: &[u128; PLACES], bound: u128) -> usize {
    const GROUP: usize = 4;
    let (groups, _) = keys.as_chunks::<GROUP>();
    let whole: usize = groups.iter().map(|group| usize::from(group[GROUP - 1] < bound)).sum();
    let Some(group) = groups.get(whole) else { return PLACES };
    whole * GROUP + group.iter().map(|&key| usize::from(key < bound)).sum::<usize>()
}

impl PackedHead {
    /// What unused places hold.
    pub(super) const EMPTY: Self = Self {
        len_and_size: 0,
        end_and_class: 0,
        version: 0,
        chain_version: 0,
        epoch: 0,
        block: 0,
    };

    /// Packs what `RecordRef::check` has passed.
    pub(super) const fn new(record: &RecordRef<'_>) -> Self {
        let Head { len, data_end, version, chain_version, epoch, size, class } = record.head;
        assert!(data_end <= len && len <= size.bytes(), "E100: the record passed its check");
        let exponent = size.bytes().trailing_zeros() - SIZE_SHIFT_MIN;
        Self {
            len_and_size: len | exponent << LENGTH_BITS,
            end_and_class: data_end | (class.get() as u32) << LENGTH_BITS,
            version: version.get(),
            chain_version: chain_version.get(),
            epoch: epoch.get(),
            block: record.block.get(),
        }
    }

    /// The fixed part.
    pub(super) fn head(&self) -> Head {
        let size = ChunkSize::new(ChunkSize::MIN.bytes() << (self.len_and_size >> LENGTH_BITS));
        let class = BlockClass::new((self.end_and_class >> LENGTH_BITS) as u8);
        Head {
            len: self.len(),
            data_end: self.data_end(),
            version: ChunkVersion::new(self.version),
            chain_version: ChainVersion::new(self.chain_version),
            epoch: TruncateEpoch::new(self.epoch),
            size: size.expect("the size of a chunk was packed"),
            class: class.expect("a class was packed"),
        }
    }

    /// The first block.
    pub(super) const fn block(&self) -> BlockAddress {
        BlockAddress::new(self.block)
    }

    /// Bytes of the chunk.
    pub(super) const fn len(&self) -> u32 {
        self.len_and_size & LENGTH
    }

    const fn data_end(&self) -> u32 {
        self.end_and_class & LENGTH
    }

    /// `Head::word_count`, by shifts: this runs for every record that is looked at.
    pub(super) const fn word_count(&self) -> usize {
        let exponent = self.len_and_size >> LENGTH_BITS;
        // An eighth of the chunk, between 4 KiB and 64 KiB (ChunkSize::checksum_block_bytes).
        let eighth = exponent.saturating_sub(3);
        let shift = SIZE_SHIFT_MIN + if eighth < 4 { eighth } else { 4 };
        let checksums = (self.data_end() + (1 << shift) - 1) >> shift;
        let places = (self.data_end() + BLOCK_BYTES_MAX - 1) >> BLOCK_SHIFT;
        (places.saturating_sub(1) + checksums) as usize
    }

    /// Whether its table is on its own, and the leaf holds only the table's handle.
    pub(super) const fn has_table(&self) -> bool {
        LEAF_WORDS_MAX < self.word_count()
    }

    /// Words in the leaf's buffer.
    pub(super) const fn stored_words(&self) -> usize {
        stored_words(self.word_count())
    }
}

/// Words in the leaf's buffer for a record of `words`.
pub(super) const fn stored_words(words: usize) -> usize {
    if words <= LEAF_WORDS_MAX { words } else { 1 }
}

const _: () = assert!(CHUNK_BYTES_MAX <= LENGTH);
const _: () = assert!(PLACES * LEAF_WORDS_MAX < START as usize);
const _: () = assert!(size_of::<PackedHead>() == 24);

#[cfg(test)]
mod tests;
