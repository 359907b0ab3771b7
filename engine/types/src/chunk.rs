//! Geometry of a chunk: its size, places inside it, and the blocks its checksums cover.
//!
//! Invariants
//!   a chunk is a power of two of 4 KiB to 64 MiB, a whole number of checksum blocks
//!   a checksum block is a whole number of sectors: 4 KiB to 64 KiB, an eighth of the chunk between

use core::fmt;

use crate::limits::{CHECKSUM_BLOCK_BYTES_MAX, CHECKSUM_BLOCK_BYTES_MIN, CHUNK_BYTES_MAX};
use crate::units::{SECTOR_BYTES, write_binary};

/// Bytes from the start of a chunk. At most `CHUNK_BYTES_MAX`, so sums of two offsets fit in u32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkOffset(u32);

/// A sector of a chunk, counted from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectorIndex(u32);

/// A checksum block of a chunk, counted from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChecksumBlock(u32);

/// Bytes of a chunk when full, chosen once per file layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(u32);

impl ChunkOffset {
    /// The first byte.
    pub const ZERO: Self = Self(0);

    /// Nothing beyond `CHUNK_BYTES_MAX`.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes <= CHUNK_BYTES_MAX { Some(Self(bytes)) } else { None }
    }

    /// Bytes from the start of the chunk.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The offset `bytes` further, or nothing beyond `CHUNK_BYTES_MAX`.
    pub const fn checked_add(self, bytes: u32) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Self::new(sum),
            None => None,
        }
    }

    /// The 4 KiB sector holding this byte: the unit of logging (S2). An offset equal to the chunk
    /// size names the sector after the last.
    pub const fn sector_index(self) -> SectorIndex {
        SectorIndex(self.0 / SECTOR_BYTES)
    }

    /// The checksum block holding this byte, in a chunk of `size`.
    pub const fn checksum_block(self, size: ChunkSize) -> ChecksumBlock {
        ChecksumBlock(self.0 >> size.checksum_block_shift())
    }

    /// Bytes from the start of that checksum block: the phase a segment carries (W5).
    pub const fn checksum_phase(self, size: ChunkSize) -> u32 {
        self.0 & (size.checksum_block_bytes() - 1)
    }
}

impl SectorIndex {
    /// Counted from the start of the chunk.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl ChecksumBlock {
    /// Wraps an index counted from the start of the chunk.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Counted from the start of the chunk.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl ChunkSize {
    /// One sector.
    pub const MIN: Self = Self(SECTOR_BYTES);
    /// 64 MiB.
    pub const MAX: Self = Self(CHUNK_BYTES_MAX);

    /// Nothing unless `bytes` is a power of two of 4 KiB to 64 MiB.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && Self::MIN.0 <= bytes && bytes <= Self::MAX.0 {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// Its bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Bytes that one checksum covers: an eighth of the chunk, within 4 KiB and 64 KiB. Eight
    /// checksums per chunk keep the index small, and 64 KiB keeps a verified small read cheap.
    pub const fn checksum_block_bytes(self) -> u32 {
        let eighth = self.0 / 8;
        if eighth < CHECKSUM_BLOCK_BYTES_MIN {
            CHECKSUM_BLOCK_BYTES_MIN
        } else if CHECKSUM_BLOCK_BYTES_MAX < eighth {
            CHECKSUM_BLOCK_BYTES_MAX
        } else {
            eighth
        }
    }

    /// Binary logarithm of `checksum_block_bytes`: 12 to 16.
    pub const fn checksum_block_shift(self) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        let shift = self.checksum_block_bytes().trailing_zeros() as u8;
        shift
    }

    /// Checksum blocks of a full chunk.
    pub const fn checksum_block_count(self) -> u32 {
        self.0 / self.checksum_block_bytes()
    }
}

impl fmt::Display for ChunkOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Display for SectorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sector-{}", self.0)
    }
}

impl fmt::Display for ChecksumBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block-{}", self.0)
    }
}

/// With a binary unit, as `512 KiB`.
impl fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_binary(self.0, f)
    }
}

const _: () = assert!(CHUNK_BYTES_MAX.is_multiple_of(SECTOR_BYTES));
const _: () = assert!(CHUNK_BYTES_MAX <= u32::MAX / 2);
const _: () = assert!(CHECKSUM_BLOCK_BYTES_MIN.is_multiple_of(SECTOR_BYTES));

#[cfg(test)]
mod tests;
