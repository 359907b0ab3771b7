//! The superblock: what a store is, where its parts lie, where recovery begins.
//!
//! ```text
//!   0  magic "EMBFSTOR"       8 bytes     136  half A: offset, length      u64 u64
//!   8  format version         u32         152  half B: offset, length      u64 u64
//!  12  flags                  u32         168  start of the data           u64
//!  16  sequence               u64         176  index bytes                 u64
//!  24  compat features        u64         184  channels                    u32
//!  32  ro_compat features     u64         188  zero                        4
//!  40  incompat features      u64         192  tail: LSN, offset, hash     u64 u64 u64
//!  48  cluster id             u128        216  checkpoint generation       u64, 0: none
//!  64  store id               u128        224  LSN from which on to replay u64
//!  80  created, wall ns       u64         232  bytes                       u64
//!  88  salt                   u64         240  items                       u64
//!  96  mount generation       u64         248  digest                      u64
//! 104  timeline               u32         256  pages                       u32
//! 108  segments               u32         260  half, 0 or 1                u32
//! 112  size                   u64         264  zero                        3828
//! 120  ring: offset, length   u64 u64    4092  CRC32C of 0..4092           u32
//! ```
//!
//! Magic, version, sequence and checksum keep their places in all versions. Writes go to the two
//! copies in turn, one at a time; the newest copy decides even where this release cannot read it
//! (E106): an older copy beside it describes a store that no longer exists. What neither the ring
//! nor a checkpoint brings back (generation, timeline, marks) is written to both copies (E157).

use engine_types::checksum::mix64;
use engine_types::{ClusterId, Crc32c, Incarnation, StoreId, Timeline, WallTime, crc32c, reached};

use crate::address::Lsn;
use crate::format::bytes::{array_at, put, u32_at, u64_at, u128_at};
use crate::format::checkpoint::{CheckpointRef, ITEM_BYTES_MIN, PAGE_BYTES};
use crate::format::group::first_hash;
use crate::format::layout::{Extent, Layout, LayoutError, aligned, in_range};
use crate::format::limits::{SECTOR, SUPERBLOCK_OFFSETS};
use crate::ring::Position;

/// Bytes of a superblock.
pub const SUPERBLOCK_BYTES: usize = 4096;
/// What a superblock begins with.
pub const MAGIC: [u8; 8] = *b"EMBFSTOR";
/// The version of this release; another one is refused.
pub const FORMAT_VERSION: u32 = 1;

const CRC_AT: usize = SUPERBLOCK_BYTES - 4;

/// Features that stores may use beyond version 1, as three sets of bits (W6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Whoever does not know one may do everything.
    pub compat: u64,
    /// Whoever does not know one may read.
    pub ro_compat: u64,
    /// Whoever does not know one must not touch the store.
    pub incompat: u64,
}

/// What this release may do with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// Read without writing anything, superblock included.
    ReadOnly {
        /// The features that this release does not know.
        unknown: u64,
    },
}

/// Marks on a store. Bits without a name are kept as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFlags(u32);

/// A superblock; `encode` asserts what `decode` checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// What it takes to use it.
    pub features: Features,
    /// Marks.
    pub flags: StoreFlags,
    /// Raised by every write; the higher one is the newer copy.
    pub sequence: u64,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The store.
    pub store: StoreId,
    /// Timeline of the routing info that it has seen (R20).
    pub timeline: Timeline,
    /// When it was formatted.
    pub created: WallTime,
    /// Keys the hashes of groups; random, anew with every format.
    pub salt: u64,
    /// Raised durably by every opening (S7).
    pub mount_gen: Incarnation,
    /// Where everything is.
    pub layout: Layout,
    /// Where the scan of the journal begins.
    pub tail: Position,
    /// The newest complete checkpoint; none before the first.
    pub checkpoint: Option<CheckpointRef>,
}

/// Why bytes are no superblock that this release can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Fewer bytes than a superblock.
    #[error("{found} bytes, expected {SUPERBLOCK_BYTES}")]
    Length {
        /// Bytes given.
        found: usize,
    },
    /// Something else stands there.
    #[error("no store magic")]
    Magic {
        /// As found.
        found: [u8; 8],
    },
    /// Torn or damaged.
    #[error("checksum {found}, expected {expected}")]
    Checksum {
        /// Of the bytes.
        found: Crc32c,
        /// As stored.
        expected: Crc32c,
    },
    /// Written by another release.
    #[error("format version {found}, this release knows {FORMAT_VERSION}")]
    Version {
        /// As found.
        found: u32,
    },
    /// It uses what this release does not know.
    #[error("incompatible features {found:#x}, this release knows {known:#x}")]
    Incompatible {
        /// As found.
        found: u64,
        /// All that this release knows.
        known: u64,
    },
    /// Its numbers contradict each other or the limits.
    #[error(transparent)]
    Geometry(#[from] LayoutError),
}

/// There is no superblock to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuperblock {
    /// Neither copy is whole.
    #[error("no superblock: copy A: {a}; copy B: {b}")]
    Neither {
        /// What is wrong with copy A.
        a: SuperblockError,
        /// What is wrong with copy B.
        b: SuperblockError,
    },
    /// The newer copy is whole, and nothing for this release; the older one says what is over.
    #[error("superblock copy {copy}, the newest: {why}")]
    Newest {
        /// 0 or 1.
        copy: usize,
        /// Why not.
        why: SuperblockError,
    },
}

impl Features {
    /// What this release knows.
    pub const KNOWN: Self = Self { compat: 0, ro_compat: 0, incompat: 0 };
}

impl StoreFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// Acknowledged updates may be missing (S8): not eligible as last server, resyncs.
    pub const DAMAGED: Self = Self(1);
    /// Closed in order: no group follows the tail.
    pub const CLEAN: Self = Self(2);
    /// Taken out of its cluster by an operator (W10): serves nothing, may be formatted again.
    pub const RETIRED: Self = Self(4);

    /// Wraps the raw bits.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The raw bits, for encoding.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether all marks of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Superblock {
    /// The first superblock of a new store, copy A; copy B is the same with sequence 1. `entropy`
    /// is random.
    pub const fn fresh(
        cluster: ClusterId,
        store: StoreId,
        created: WallTime,
        layout: Layout,
        entropy: u64,
    ) -> Self {
        let salt = mix64(entropy);
        Self {
            features: Features { compat: 0, ro_compat: 0, incompat: 0 },
            flags: StoreFlags::CLEAN,
            sequence: 0,
            cluster,
            store,
            timeline: Timeline::new(0),
            created,
            salt,
            mount_gen: Incarnation::new(0),
            layout,
            tail: Position { lsn: Lsn::new(1), offset: 0, prev_hash: first_hash(salt) },
            checkpoint: None,
        }
    }

    /// Which copy this one is: they are written in turn.
    pub const fn copy(&self) -> usize {
        if self.sequence.is_multiple_of(2) { 0 } else { 1 }
    }

    /// Byte of the store at which it is written.
    pub const fn offset(&self) -> u64 {
        SUPERBLOCK_OFFSETS[self.copy()]
    }

    /// What this release may do with the store.
    pub const fn access(&self) -> Access {
        match self.features.ro_compat & !Features::KNOWN.ro_compat {
            0 => Access::ReadWrite,
            unknown => Access::ReadOnly { unknown },
        }
    }

    /// Writes it.
    ///
    /// # Panics
    /// If `decode` would refuse it (E106).
    pub fn encode(&self, page: &mut [u8; SUPERBLOCK_BYTES]) {
        if let Err(why) = self.check() {
            panic!("E106: a superblock breaks its own rules: {why}");
        }
        page.fill(0);
        put(page, 0, MAGIC);
        put(page, 8, FORMAT_VERSION.to_le_bytes());
        put(page, 12, self.flags.get().to_le_bytes());
        put(page, 16, self.sequence.to_le_bytes());
        put(page, 24, self.features.compat.to_le_bytes());
        put(page, 32, self.features.ro_compat.to_le_bytes());
        put(page, 40, self.features.incompat.to_le_bytes());
        put(page, 48, self.cluster.get().to_le_bytes());
        put(page, 64, self.store.get().to_le_bytes());
        put(page, 80, self.created.nanos().to_le_bytes());
        put(page, 88, self.salt.to_le_bytes());
        put(page, 96, self.mount_gen.get().to_le_bytes());
        put(page, 104, self.timeline.get().to_le_bytes());
        encode_layout(&self.layout, page);
        put(page, 192, self.tail.lsn.get().to_le_bytes());
        put(page, 200, self.tail.offset.to_le_bytes());
        put(page, 208, self.tail.prev_hash.to_le_bytes());
        if let Some(checkpoint) = &self.checkpoint {
            encode_checkpoint(checkpoint, page);
        }
        let crc = crc32c(&page[..CRC_AT]);
        put(page, CRC_AT, crc.get().to_le_bytes());
    }

    /// Reads one.
    ///
    /// # Errors
    /// Why this release cannot use it.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let page = sealed(bytes)?;
        let version = u32_at(page, 8);
        if version != FORMAT_VERSION {
            return Err(SuperblockError::Version { found: version });
        }
        let features = Features {
            compat: u64_at(page, 24),
            ro_compat: u64_at(page, 32),
            incompat: u64_at(page, 40),
        };
        let (found, known) = (features.incompat, Features::KNOWN.incompat);
        if found & !known != 0 {
            return Err(SuperblockError::Incompatible { found, known });
        }
        let superblock = Self {
            features,
            flags: StoreFlags::new(u32_at(page, 12)),
            sequence: u64_at(page, 16),
            cluster: ClusterId::new(u128_at(page, 48)),
            store: StoreId::new(u128_at(page, 64)),
            created: WallTime::from_nanos(u64_at(page, 80)),
            salt: u64_at(page, 88),
            mount_gen: Incarnation::new(u64_at(page, 96)),
            timeline: Timeline::new(u32_at(page, 104)),
            layout: decode_layout(page),
            tail: Position {
                lsn: Lsn::new(u64_at(page, 192)),
                offset: u64_at(page, 200),
                prev_hash: u64_at(page, 208),
            },
            checkpoint: decode_checkpoint(page)?,
        };
        superblock.check()?;
        Ok(superblock)
    }

    /// E106.
    fn check(&self) -> Result<(), LayoutError> {
        let Self { layout, tail, .. } = self;
        layout.check()?;
        in_range("LSN of the tail", tail.lsn.get(), 1, u64::MAX)?;
        in_range("place of the tail", tail.offset, 0, layout.ring.len - SECTOR)?;
        aligned("place of the tail", tail.offset, SECTOR)?;
        let Some(checkpoint) = &self.checkpoint else { return Ok(()) };
        in_range("checkpoint generation", checkpoint.generation, 1, u64::MAX)?;
        in_range("checkpoint half", checkpoint.half.into(), 0, 1)?;
        let half = layout.halves[usize::from(checkpoint.half)];
        in_range("checkpoint size", checkpoint.bytes, SECTOR, half.len)?;
        aligned("checkpoint size", checkpoint.bytes, SECTOR)?;
        let pages = checkpoint.bytes.div_ceil(PAGE_BYTES as u64);
        in_range("number of checkpoint pages", checkpoint.pages.into(), pages, pages)?;
        let items_max = checkpoint.bytes / ITEM_BYTES_MIN as u64;
        in_range("number of checkpoint items", checkpoint.items, 0, items_max)?;
        in_range("LSN of the checkpoint", checkpoint.start.get(), tail.lsn.get(), u64::MAX)
    }
}

/// A page with magic and matching checksum: what every version has in common.
fn sealed(bytes: &[u8]) -> Result<&[u8; SUPERBLOCK_BYTES], SuperblockError> {
    let page = bytes.first_chunk().ok_or(SuperblockError::Length { found: bytes.len() })?;
    let found: [u8; 8] = array_at(page, 0);
    if found != MAGIC {
        return Err(SuperblockError::Magic { found });
    }
    let (found, expected) = (crc32c(&page[..CRC_AT]), Crc32c::new(u32_at(page, CRC_AT)));
    if found == expected { Ok(page) } else { Err(SuperblockError::Checksum { found, expected }) }
}

/// Whether `bytes` are a superblock as it was written, by whichever release.
pub fn is_sealed(bytes: &[u8]) -> bool {
    sealed(bytes).is_ok()
}

/// Of two copies, the one that is whole and has the higher sequence, and which of the two it is.
///
/// # Errors
/// When neither is whole, or the newer one is whole and cannot be used by this release.
pub fn newest(a: &[u8], b: &[u8]) -> Result<(usize, Superblock), NoSuperblock> {
    let copies = [a, b];
    let sequences = copies.map(|copy| sealed(copy).map(|page| u64_at(page, 16)));
    let copy = match sequences {
        [Err(a), Err(b)] => return Err(NoSuperblock::Neither { a, b }),
        [Ok(a), Ok(b)] => usize::from(a < b),
        [Ok(_), Err(_)] => lone(0),
        [Err(_), Ok(_)] => lone(1),
    };
    match Superblock::decode(copies[copy]) {
        Ok(superblock) => Ok((copy, superblock)),
        Err(why) => Err(NoSuperblock::Newest { copy, why }),
    }
}

/// Copy `copy` is the only whole one.
fn lone(copy: usize) -> usize {
    reached!("E106: one copy of the superblock is torn");
    copy
}

fn encode_layout(layout: &Layout, page: &mut [u8; SUPERBLOCK_BYTES]) {
    put(page, 108, layout.segment_count.to_le_bytes());
    put(page, 112, layout.size.to_le_bytes());
    for (at, extent) in [(120, layout.ring), (136, layout.halves[0]), (152, layout.halves[1])] {
        put(page, at, extent.offset.to_le_bytes());
        put(page, at + 8, extent.len.to_le_bytes());
    }
    put(page, 168, layout.data_offset.to_le_bytes());
    put(page, 176, layout.index_bytes_max.to_le_bytes());
    put(page, 184, layout.dedup_channels.to_le_bytes());
}

fn decode_layout(page: &[u8; SUPERBLOCK_BYTES]) -> Layout {
    let extent = |at| Extent { offset: u64_at(page, at), len: u64_at(page, at + 8) };
    Layout {
        size: u64_at(page, 112),
        ring: extent(120),
        halves: [extent(136), extent(152)],
        data_offset: u64_at(page, 168),
        segment_count: u32_at(page, 108),
        index_bytes_max: u64_at(page, 176),
        dedup_channels: u32_at(page, 184),
    }
}

fn encode_checkpoint(checkpoint: &CheckpointRef, page: &mut [u8; SUPERBLOCK_BYTES]) {
    put(page, 216, checkpoint.generation.to_le_bytes());
    put(page, 224, checkpoint.start.get().to_le_bytes());
    put(page, 232, checkpoint.bytes.to_le_bytes());
    put(page, 240, checkpoint.items.to_le_bytes());
    put(page, 248, checkpoint.digest.to_le_bytes());
    put(page, 256, checkpoint.pages.to_le_bytes());
    put(page, 260, u32::from(checkpoint.half).to_le_bytes());
}

fn decode_checkpoint(page: &[u8; SUPERBLOCK_BYTES]) -> Result<Option<CheckpointRef>, LayoutError> {
    let generation = u64_at(page, 216);
    if generation == 0 {
        return Ok(None);
    }
    let half = u32_at(page, 260);
    in_range("checkpoint half", half.into(), 0, 1)?;
    Ok(Some(CheckpointRef {
        generation,
        half: u8::from(half == 1),
        start: Lsn::new(u64_at(page, 224)),
        bytes: u64_at(page, 232),
        items: u64_at(page, 240),
        digest: u64_at(page, 248),
        pages: u32_at(page, 256),
    }))
}

#[cfg(test)]
mod tests;
