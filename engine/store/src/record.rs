//! What a store knows of one version of a chunk: its length, its blocks, its checksums.
//!
//! A record is a fixed [`Head`], the first block, and a table of words: the further blocks (chunks
//! above 4 MiB only), then one word per checksum block up to `data_end`. The index keeps the three
//! parts in its own memory and lends them as [`RecordRef`]; plans and the journal own a [`Record`].
//!
//! Invariants (`RecordRef::check`, run on everything read from disk)
//!   E100  data_end <= len <= size; bytes from data_end to len are zeros and have no home
//!   E101  a checksum block is a hole (word 0) or valid from its start to
//!         min(its end, data_end): only the one that contains data_end may be partly valid (S13),
//!         and that one is no hole
//!   E102  there is a block exactly where a checksum block of it is no hole
//!   E103  the class is the one of all blocks; below 4 MiB there is at most the first block, and it
//!         holds everything up to data_end
//!   E104  a chunk up to 4 MiB has one block place, a larger one a place per 4 MiB begun

use alloc::vec::Vec;

use engine_types::checksum::mix64;
use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChainVersion, ChecksumBlock, ChunkId, ChunkSize, ChunkVersion, Crc32c};

use crate::address::{BlockAddress, BlockClass, TruncateEpoch};
use crate::planted;

/// Block places of the largest chunk.
pub const BLOCKS_PER_CHUNK_MAX: usize = 16;
/// Words of the largest record: 15 further blocks and 1,024 checksum blocks.
pub const RECORD_WORDS_MAX: usize = 15 + 1024;

/// Words of the record of a chunk whose data ends at `data_end`.
pub(crate) const fn words_to(size: ChunkSize, data_end: u32) -> usize {
    let places = data_end.div_ceil(BLOCK_BYTES_MAX) as usize;
    let checksums = data_end.div_ceil(size.checksum_block_bytes()) as usize;
    checksums + places.saturating_sub(1)
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the chunk; reads end here.
    pub len: u32,
    /// End of the last checksum block's valid bytes; zeros from here to `len`.
    pub data_end: u32,
    /// Version of the chunk that these bytes are.
    pub version: ChunkVersion,
    /// Chain version under which it was written.
    pub chain_version: ChainVersion,
    /// Truncate epoch of the newest write (M1).
    pub epoch: TruncateEpoch,
    /// Size of the chunk when full.
    pub size: ChunkSize,
    /// Size of its blocks.
    pub class: BlockClass,
}

/// A record that somebody else keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The fixed part.
    pub head: Head,
    /// The first block.
    pub block: BlockAddress,
    /// Further blocks, then one bound checksum per checksum block; see the module.
    pub words: &'a [u32],
}

/// A record of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The fixed part.
    pub head: Head,
    /// The first block.
    pub block: BlockAddress,
    /// Further blocks, then one bound checksum per checksum block; see the module.
    pub words: Vec<u32>,
}

/// A record that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// E100.
    #[error("data end {data_end}, length {len} and chunk size {size} do not ascend")]
    Lengths {
        /// As found.
        data_end: u32,
        /// As found.
        len: u32,
        /// As found.
        size: ChunkSize,
    },
    /// The table has another number of words than its head says.
    #[error("{found} words, expected {expected}")]
    Words {
        /// In the table.
        found: usize,
        /// By `data_end` and size.
        expected: usize,
    },
    /// E101: the checksum block that contains `data_end` is a hole.
    #[error("data end {data_end} lies in a hole")]
    EndInHole {
        /// As found.
        data_end: u32,
    },
    /// E102.
    #[error("place {place}: {block}, but its checksum blocks say otherwise")]
    Block {
        /// Which block of the chunk.
        place: usize,
        /// As found.
        block: BlockAddress,
    },
    /// E103.
    #[error("blocks of {class} do not fit a chunk of {size} with data end {data_end}")]
    Class {
        /// As found.
        class: BlockClass,
        /// As found.
        size: ChunkSize,
        /// As found.
        data_end: u32,
    },
    /// A block that is not aligned to its class.
    #[error("{block} is not aligned to {class}")]
    Unaligned {
        /// As found.
        block: BlockAddress,
        /// As found.
        class: BlockClass,
    },
}

impl Head {
    /// Block places: at least one (E104).
    pub const fn place_count(&self) -> usize {
        let places = self.data_end.div_ceil(BLOCK_BYTES_MAX);
        if places == 0 { 1 } else { places as usize }
    }

    /// Checksum blocks up to `data_end`.
    pub const fn checksum_count(&self) -> usize {
        self.data_end.div_ceil(self.size.checksum_block_bytes()) as usize
    }

    /// Words of the table.
    pub const fn word_count(&self) -> usize {
        words_to(self.size, self.data_end)
    }

    /// Valid bytes of checksum block `index` if it is no hole: all of it, or up to `data_end`.
    pub const fn valid_bytes(&self, index: u32) -> u32 {
        let whole = self.size.checksum_block_bytes();
        let left = self.data_end.saturating_sub(index * whole);
        if left < whole { left } else { whole }
    }
}

impl<'a> RecordRef<'a> {
    /// The block of a place; no block beyond the last place.
    pub fn block(&self, place: usize) -> BlockAddress {
        if place == 0 {
            return self.block;
        }
        if place < self.head.place_count() {
            return BlockAddress::new(self.words[place - 1]);
        }
        BlockAddress::NONE
    }

    /// Every block that is there, with its place.
    pub fn blocks(self) -> impl Iterator<Item = (usize, BlockAddress)> + 'a {
        let places = (0..self.head.place_count()).map(move |place| (place, self.block(place)));
        places.filter(|(_, block)| block.is_some())
    }

    /// The words of the checksum blocks; 0 is a hole.
    pub fn checksums(&self) -> &'a [u32] {
        &self.words[self.head.place_count() - 1..]
    }

    /// Whether checksum block `index` is a hole; all beyond `data_end` are.
    pub fn is_hole(&self, index: u32) -> bool {
        self.checksums().get(index as usize).is_none_or(|&word| word == HOLE)
    }

    /// Bytes of the blocks it holds.
    pub fn allocated_bytes(&self) -> u64 {
        self.blocks().count() as u64 * u64::from(self.head.class.bytes())
    }

    /// Whether `data`, the valid bytes of checksum block `index`, are what was written (S14).
    pub fn matches(&self, chunk: ChunkId, index: u32, data: &[u8]) -> bool {
        let found = checksum_word(chunk, index, engine_types::crc32c(data));
        self.checksums().get(index as usize) == Some(&found)
    }

    /// Content digest (S14, R13): a sum over the checksum blocks, so that an update costs only the
    /// blocks it touches; with id, version and length, without the chain version.
    pub fn digest(&self, chunk: ChunkId) -> u64 {
        let mut sum = named(chunk);
        sum = sum.wrapping_add(mix64(
            u64::from(self.head.version.get()) << 32 | u64::from(self.head.len),
        ));
        for (index, &word) in (0u32..).zip(self.checksums()) {
            if word != HOLE {
                let valid = self.head.valid_bytes(index);
                sum = sum.wrapping_add(mix64(
                    mix64(u64::from(index) << 32 | u64::from(valid)) ^ u64::from(word),
                ));
            }
        }
        sum
    }

    /// A copy of one's own.
    pub fn to_owned(&self) -> Record {
        Record { head: self.head, block: self.block, words: self.words.to_vec() }
    }

    /// E100 to E104.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), RecordError> {
        let Head { len, data_end, size, class, .. } = self.head;
        if len < data_end || size.bytes() < len {
            return Err(RecordError::Lengths { data_end, len, size });
        }
        let expected = self.head.word_count();
        if self.words.len() != expected {
            return Err(RecordError::Words { found: self.words.len(), expected });
        }
        if 0 < data_end && self.checksums().last() == Some(&HOLE) {
            return Err(RecordError::EndInHole { data_end });
        }
        let fits_all = class == BlockClass::MAX || data_end <= class.bytes();
        if !fits_all || size.bytes() < class.bytes() {
            return Err(RecordError::Class { class, size, data_end });
        }
        (0..self.head.place_count()).try_for_each(|place| self.check_place(place))
    }

    fn check_place(&self, place: usize) -> Result<(), RecordError> {
        let block = self.block(place);
        let per_place = (BLOCK_BYTES_MAX / self.head.size.checksum_block_bytes()) as usize;
        let mut words = self.checksums().iter().skip(place * per_place).take(per_place);
        if block.is_some() != words.any(|&word| word != HOLE) {
            return Err(RecordError::Block { place, block });
        }
        if block.is_some() && !block.get().is_multiple_of(self.head.class.sectors()) {
            return Err(RecordError::Unaligned { block, class: self.head.class });
        }
        Ok(())
    }
}

impl Record {
    /// It, lent.
    pub fn as_ref(&self) -> RecordRef<'_> {
        RecordRef { head: self.head, block: self.block, words: &self.words }
    }
}

/// The digest that stands for the removal of a chunk, made of id and version (R6, R13). No record
/// has it by its length: a chunk is shorter.
pub const fn removal_digest(chunk: ChunkId, version: ChunkVersion) -> u64 {
    named(chunk).wrapping_add(mix64((version.get() as u64) << 32 | u32::MAX as u64))
}

/// What the id of a chunk adds to digests.
const fn named(chunk: ChunkId) -> u64 {
    mix64(chunk.inode.get() ^ mix64(chunk.index as u64))
}

/// The word of a checksum block that is a hole.
pub const HOLE: u32 = 0;

/// The word kept for a checksum block: its checksum bound to its place (S14). 0 means hole, so the
/// one value that would be 0 is kept as 1; verification maps it the same way, which costs one
/// undetected error in 2^32 of those that hit this value.
pub fn checksum_word(chunk: ChunkId, index: u32, plain: Crc32c) -> u32 {
    let bound = plain.bind(chunk, ChecksumBlock::new(index));
    match if planted!(ChecksumNotBound) { plain } else { bound }.get() {
        HOLE => 1,
        word => word,
    }
}
