//! Why pages are no checkpoint, or not the one that was looked for.

use engine_types::{Crc32c, StoreId};

use super::{Counts, PAGE_MAGIC, Section};
use crate::address::ChunkKey;
use crate::format::error::FormatError;

/// Why pages are not the checkpoint that the superblock names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Bytes given for a page.
    #[error("page {page}: {found} bytes, expected {expected}")]
    Length {
        /// The page.
        page: u32,
        /// Bytes given.
        found: usize,
        /// Bytes of that page.
        expected: usize,
    },
    /// No page of a checkpoint.
    #[error("page {page}: magic {found:#010x}, expected {PAGE_MAGIC:#010x}")]
    Magic {
        /// The page.
        page: u32,
        /// As found.
        found: u32,
    },
    /// A header that says more than fits.
    #[error("page {page}: {found} bytes of items, at most {max} fit")]
    ItemBytes {
        /// The page.
        page: u32,
        /// As found.
        found: u32,
        /// What fits.
        max: usize,
    },
    /// Damaged.
    #[error("page {page}: checksum {found}, expected {expected}")]
    Checksum {
        /// The page.
        page: u32,
        /// Of the bytes.
        found: Crc32c,
        /// By the header.
        expected: Crc32c,
    },
    /// A page of another store.
    #[error("page {page}: store {found}, expected {expected}")]
    OtherStore {
        /// The page.
        page: u32,
        /// As found.
        found: StoreId,
        /// As asked.
        expected: StoreId,
    },
    /// A page of another checkpoint.
    #[error("page {page}: generation {found}, expected {expected}")]
    OtherGeneration {
        /// The page.
        page: u32,
        /// As found.
        found: u64,
        /// By the superblock.
        expected: u64,
    },
    /// A page at another place, or read beyond the last.
    #[error("page {found}, expected {expected}")]
    PageNumber {
        /// As found.
        found: u32,
        /// As asked.
        expected: u32,
    },
    /// An item that cannot be read.
    #[error("page {page}: {why}")]
    Item {
        /// The page.
        page: u32,
        /// Why.
        why: FormatError,
    },
    /// An item of a section that is over, or anything behind END.
    #[error("page {page}: an item of {found:?} behind {after:?}")]
    Order {
        /// The page.
        page: u32,
        /// Its section.
        found: Section,
        /// The section before.
        after: Section,
    },
    /// Chunks or slots that do not ascend.
    #[error("page {page}: {found} behind {after}")]
    Keys {
        /// The page.
        page: u32,
        /// As found; a slot as its smallest chunk.
        found: ChunkKey,
        /// The one before.
        after: ChunkKey,
    },
    /// More than a store can have.
    #[error("page {page}: more than {max} items of {section:?}")]
    TooMany {
        /// The page.
        page: u32,
        /// Of which section.
        section: Section,
        /// The limit.
        max: u32,
    },
    /// Items of another number than the header says.
    #[error("page {page}: {left} bytes behind its last item")]
    LeftOver {
        /// The page.
        page: u32,
        /// Bytes.
        left: usize,
    },
    /// END says other numbers than were read.
    #[error("{found:?}, expected {expected:?}")]
    Counts {
        /// As read.
        found: Counts,
        /// By END.
        expected: Counts,
    },
    /// The superblock says another number of items than were read.
    #[error("{found} items, expected {expected}")]
    Items {
        /// As read.
        found: u64,
        /// By the superblock.
        expected: u64,
    },
    /// Pages of different checkpoints.
    #[error("digest {found:#018x}, expected {expected:#018x}")]
    Digest {
        /// Of what was read.
        found: u64,
        /// By END or the superblock.
        expected: u64,
    },
    /// The pages end before END.
    #[error("no end after {pages} pages")]
    NoEnd {
        /// Pages read.
        pages: u32,
    },
}
