//! Checkpoints: everything a store knows, in pages of 1 MiB.
//!
//! ```text
//! page  = | header 64 | items | zeros |           all pages are 1 MiB, the last one whole sectors
//! half  = targets, fences, pendings, requests of channels (a snapshot of the instant s),
//!         committed records in ascending key order (dumped while they change), END
//!
//! header                                          items, each with an entry's head
//!  0  magic "EMBC"     u32                        TARGET, FENCE, DEDUP as in the journal
//!  4  CRC32C of 8 to the end of the items  u32    PENDING  | head | LSN u64 | PUT |
//!  8  page number      u32                        CHUNK    | record part: 44 + 4 per word |
//! 12  bytes of items   u32                        END      | head | targets u32 | fences u32 |
//! 16  store id         u128                                | pendings u32 | requests u32 |
//! 32  generation       u64                                 | zero u32 | chunks u64 | digest u64 |
//! 40  items            u32
//! 44  zero             20
//! ```
//!
//! A digest is over the checksums of pages: that of END over all pages before it, that of the
//! superblock over the last one too, so the half it names is exactly the one that was flushed.
//!
//! How large a half is (E109): a CHUNK takes 44 bytes and 4 per word, its record in memory at least
//! 40 and 4 per word, so the records at one instant take at most 44 / 40 of `index_bytes_max`; the
//! other tables have limits of their own. A page ends when the next item does not fit beside an
//! END, so all pages but the last hold at least `PAGE_FILL_MIN` bytes. What changes during the dump
//! can make it longer: see `INDEX_SLACK_PART`. [`PageWriter::push`] says when a half is full, and
//! never writes beyond it.

use alloc::rc::Rc;

use engine_types::Crc32c;
use engine_types::checksum::mix64;

use crate::address::{ChunkKey, Lsn, Slot};
use crate::entry::{Fence, Put};
use crate::format::entry::{DEDUP_BYTES, ENTRY_BYTES_MAX, FENCE_BYTES, TARGET_BYTES, put_len};
use crate::format::item::{HEAD_BYTES, RECORD_BYTES};
use crate::format::limits::{
    FENCES_MAX, INDEX_SLACK_PART, PENDING_BYTES_MAX, PENDINGS_MAX, RECORD_MEMORY_BYTES_MIN, SECTOR,
    SLOTS_MAX,
};
use crate::record::RecordRef;
use crate::request::{Outcome, Tag, TargetRecord};

mod error;
mod reader;
mod writer;

pub use error::CheckpointError;
pub use reader::{CheckedPage, Page, PageReader};
pub use writer::{PageWriter, Pushed, Sealed};

/// Bytes of a page: a millisecond of a device's time, and few enough to verify in one turn.
pub const PAGE_BYTES: usize = 1 << 20;
/// Bytes of a page's header.
pub const PAGE_HEADER_BYTES: usize = 64;
/// "EMBC" in memory order.
pub const PAGE_MAGIC: u32 = u32::from_le_bytes(*b"EMBC");

/// Bytes of the smallest item.
pub const ITEM_BYTES_MIN: usize = FENCE_BYTES;
/// Bytes of a CHUNK without its words.
pub const CHUNK_BYTES: usize = RECORD_BYTES;
/// Bytes of a PENDING before its PUT.
const PENDING_HEAD_BYTES: usize = HEAD_BYTES + 8;
/// Bytes of an END.
const END_BYTES: usize = 40;
/// Bytes of the largest item.
const ITEM_BYTES_MAX: usize = PENDING_HEAD_BYTES + ENTRY_BYTES_MAX;
/// Least bytes of items in a page that is not the last.
const PAGE_FILL_MIN: usize = PAGE_BYTES - PAGE_HEADER_BYTES - END_BYTES - ITEM_BYTES_MAX;

/// What a superblock says of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointRef {
    /// Its number, from 1.
    pub generation: u64,
    /// In which half it stands.
    pub half: u8,
    /// First group whose entries are not all in it.
    pub start: Lsn,
    /// Bytes of all pages, whole sectors.
    pub bytes: u64,
    /// Pages.
    pub pages: u32,
    /// Items, without END.
    pub items: u64,
    /// Of the checksums of its pages.
    pub digest: u64,
}

/// One thing that a store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A slot and its target.
    Target {
        /// The slot.
        slot: Slot,
        /// What it holds.
        record: TargetRecord,
    },
    /// Revoked sessions.
    Fence(Fence),
    /// A pending version.
    Pending {
        /// The group its PUT stands in.
        lsn: Lsn,
        /// The PUT.
        put: Rc<Put>,
    },
    /// The newest request of a channel.
    Dedup {
        /// The target.
        slot: Slot,
        /// The request.
        tag: Tag,
        /// What it did.
        outcome: Outcome,
    },
    /// A committed record.
    Chunk {
        /// The chunk.
        key: ChunkKey,
        /// Its record.
        record: RecordRef<'a>,
    },
}

/// How many items of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Targets.
    pub targets: u32,
    /// Fences.
    pub fences: u32,
    /// Pending versions.
    pub pendings: u32,
    /// Requests of channels.
    pub dedup: u32,
    /// Committed records.
    pub chunks: u64,
}

/// The parts of a checkpoint, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Targets.
    Targets,
    /// Fences.
    Fences,
    /// Pending versions.
    Pendings,
    /// Requests of channels.
    Dedup,
    /// Committed records.
    Chunks,
    /// Nothing more.
    End,
}

impl Item<'_> {
    const fn section(&self) -> Section {
        match self {
            Self::Target { .. } => Section::Targets,
            Self::Fence(_) => Section::Fences,
            Self::Pending { .. } => Section::Pendings,
            Self::Dedup { .. } => Section::Dedup,
            Self::Chunk { .. } => Section::Chunks,
        }
    }
}

impl Counts {
    /// All of them.
    pub const fn sum(&self) -> u64 {
        self.targets as u64
            + self.fences as u64
            + self.pendings as u64
            + self.dedup as u64
            + self.chunks
    }

    /// Counts one more; nothing, and the limit, when there are `max` already.
    fn add(&mut self, section: Section, dedup_max: u32) -> Result<(), u32> {
        let (count, max) = match section {
            Section::Targets => (&mut self.targets, SLOTS_MAX),
            Section::Fences => (&mut self.fences, FENCES_MAX + 1),
            Section::Pendings => (&mut self.pendings, PENDINGS_MAX),
            Section::Dedup => (&mut self.dedup, dedup_max),
            Section::Chunks => {
                self.chunks += 1;
                return Ok(());
            }
            Section::End => return Ok(()),
        };
        if max <= *count {
            return Err(max);
        }
        *count += 1;
        Ok(())
    }
}

impl CheckpointRef {
    /// Where a page lies in its half, and its bytes; nothing behind the last.
    pub fn page(&self, page: u32) -> Option<(u64, usize)> {
        let offset = u64::from(page) * PAGE_BYTES as u64;
        let left = self.bytes.checked_sub(offset).filter(|left| 0 < *left)?;
        Some((offset, usize::try_from(left).map_or(PAGE_BYTES, |left| left.min(PAGE_BYTES))))
    }
}

/// Bytes that a pending version takes of `PENDING_BYTES_MAX`.
pub fn pending_bytes(put: &Put) -> usize {
    PENDING_HEAD_BYTES + put_len(put)
}

/// Bytes of a half that holds every checkpoint of a store (E109).
pub const fn half_bytes(index_bytes_max: u64, dedup_channels: u32) -> u64 {
    let items = index_bytes_max.div_ceil(RECORD_MEMORY_BYTES_MIN) * CHUNK_BYTES as u64
        + index_bytes_max / INDEX_SLACK_PART
        + dedup_channels as u64 * DEDUP_BYTES as u64
        + SLOTS_MAX as u64 * TARGET_BYTES as u64
        + (FENCES_MAX as u64 + 1) * FENCE_BYTES as u64
        + PENDING_BYTES_MAX;
    (items / PAGE_FILL_MIN as u64 + 1) * PAGE_BYTES as u64
}

/// The digest of pages, continued by the checksum of one more.
const fn next_digest(digest: u64, crc: Crc32c) -> u64 {
    mix64(digest ^ crc.get() as u64)
}

const _: () = assert!(END_BYTES <= ITEM_BYTES_MAX && ITEM_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!((PAGE_BYTES as u64).is_multiple_of(SECTOR));
const _: () = assert!(ITEM_BYTES_MIN <= END_BYTES && ITEM_BYTES_MIN <= CHUNK_BYTES);

#[cfg(test)]
mod tests;
