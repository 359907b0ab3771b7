//! Places in a store and in time: slots, segments, blocks, journal groups.
//!
//! Invariants
//!   a block is aligned to its own size and lies inside one segment
//!   a segment is carved into blocks of one class

use core::fmt;

pub use engine_types::TruncateEpoch;
use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{BlockSize, ChunkId, SECTOR_BYTES};

/// Bytes of a segment, the unit in which space is given to a class, claimed and discarded.
pub const SEGMENT_BYTES: u32 = 64 << 20;
/// Sectors of a segment.
pub const SEGMENT_SECTORS: u32 = SEGMENT_BYTES / SECTOR_BYTES;
/// Sectors of the largest block.
pub const BLOCK_SECTORS_MAX: u32 = BLOCK_BYTES_MAX / SECTOR_BYTES;

/// A target's place in a store: which of the store's targets a chunk belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

/// Number of a journal group, from 1: the order in which things became durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

/// A segment of the data area, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(u32);

/// First sector of a block, counted from the start of the data area; or no block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockAddress(u32);

/// Size of a block as a power of two: 4 KiB << class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockClass(u8);

/// A chunk of one target. Order: slot, inode, index, so that a file's chunks lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    /// The target's slot.
    pub slot: Slot,
    /// The chunk.
    pub chunk: ChunkId,
}

impl Slot {
    /// Wraps the raw number.
    pub const fn new(raw: u16) -> Self {
        Self(raw)
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Lsn {
    /// Before the first group.
    pub const ZERO: Self = Self(0);

    /// Wraps the raw number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The group after it.
    ///
    /// # Panics
    /// After 2^64 groups: a million a second for half a million years.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("2^64 groups are never written"))
    }
}

impl SegmentId {
    /// Wraps the raw number.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Byte of the data area at which it starts.
    pub const fn start(self) -> u64 {
        self.0 as u64 * SEGMENT_BYTES as u64
    }
}

impl BlockAddress {
    /// No block: a hole.
    pub const NONE: Self = Self(u32::MAX);

    /// The block whose first sector this is.
    pub const fn new(sector: u32) -> Self {
        Self(sector)
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether there is no block.
    pub const fn is_none(self) -> bool {
        self.0 == u32::MAX
    }

    /// Whether there is a block.
    pub const fn is_some(self) -> bool {
        !self.is_none()
    }

    /// The segment it lies in.
    pub const fn segment(self) -> SegmentId {
        SegmentId(self.0 / SEGMENT_SECTORS)
    }

    /// Byte of the data area at which it starts.
    pub const fn start(self) -> u64 {
        self.0 as u64 * SECTOR_BYTES as u64
    }
}

impl fmt::Debug for BlockAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl BlockClass {
    /// 4 KiB.
    pub const MIN: Self = Self(0);
    /// 4 MiB (S18).
    pub const MAX: Self = Self(10);
    /// Number of classes.
    pub const COUNT: usize = 11;

    /// Nothing above the largest class.
    pub const fn new(raw: u8) -> Option<Self> {
        if raw <= Self::MAX.0 { Some(Self(raw)) } else { None }
    }

    /// The raw number, for encoding.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The smallest class that holds `bytes`; nothing above 4 MiB.
    pub const fn holding(bytes: u32) -> Option<Self> {
        let mut raw = 0;
        while raw <= Self::MAX.0 {
            if bytes <= SECTOR_BYTES << raw {
                return Some(Self(raw));
            }
            raw += 1;
        }
        None
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> u32 {
        SECTOR_BYTES << self.0
    }

    /// Sectors of a block.
    pub const fn sectors(self) -> u32 {
        1 << self.0
    }

    /// Blocks of a segment.
    pub const fn per_segment(self) -> u32 {
        SEGMENT_SECTORS >> self.0
    }

    /// Its size.
    pub const fn size(self) -> BlockSize {
        BlockSize::new(self.bytes()).expect("every class is a block size")
    }
}

impl ChunkKey {
    /// The smallest key.
    pub const MIN: Self = Self::new(Slot(0), 0, 0);
    /// The largest key.
    pub const MAX: Self = Self::new(Slot(u16::MAX), u64::MAX, u32::MAX);

    /// Chunk `index` of `inode` on the target of `slot`.
    pub const fn new(slot: Slot, inode: u64, index: u32) -> Self {
        Self { slot, chunk: ChunkId { inode: engine_types::InodeId::new(inode), index } }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot-{}", self.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lsn-{}", self.0)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment-{}", self.0)
    }
}

impl fmt::Display for BlockAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("no block");
        }
        write!(f, "block-{}", self.0)
    }
}

impl fmt::Display for BlockClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.size().fmt(f)
    }
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.slot, self.chunk)
    }
}

const _: () = assert!(BlockClass::MAX.bytes() == BLOCK_BYTES_MAX);
const _: () = assert!(BlockClass::COUNT == BlockClass::MAX.0 as usize + 1);
const _: () = assert!(SEGMENT_BYTES.is_multiple_of(BLOCK_BYTES_MAX));
const _: () = assert!(engine_types::limits::CHUNK_BYTES_MAX <= SEGMENT_BYTES);
