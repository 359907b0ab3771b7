//! What is on a file or device before it is formatted, by the magic numbers of others and our own.
//!
//! [`identify`] is a pure function of the bytes at both ends; [`look`] reads them, and samples of a
//! file's inside; [`wipe`] clears them. The question is never "may this be used" but "would
//! somebody miss it", so everything that is not surely empty or our own counts as somebody's: bytes
//! that nothing here knows are [`Content::Unknown`], and only zeros are [`Content::Empty`]. A wrong
//! name costs a puzzled operator, a wrong `Empty` costs data. A disk is judged by its ends alone:
//! what is left inside one whose ends were cleared is what its former owner threw away.
//!
//! Order of judgement
//!   1. superblocks at the end that say what the whole device belongs to: a mirror shows the
//!      content of its array at the start, perhaps a store
//!   2. our superblock at the start
//!   3. what else is known at the start: members and volumes, then file systems, then partition
//!      tables, because boot sectors of file systems look like partition tables
//!   4. what may be left at the end of a device that changed hands: a backup table, old labels
//!   5. our second superblock alone, which may be left below a younger file system
//!   6. anything but zeros

use core::fmt;
use core::ops::Range;

use engine_runtime::{Env, File, FileError, FileKind};
use engine_store::format::StoreFlags;
use engine_store::format::superblock::{MAGIC, SUPERBLOCK_BYTES, newest};
use engine_types::{ClusterId, StoreId};

use crate::error::StoreError;

mod signatures;
#[cfg(test)]
mod tests;

use signatures::{Kind, SIGNATURES, Signature};

/// Bytes from the start that are looked at. Partitions begin at 1 MiB, so that the first file
/// system of a disk whose table was wiped is still seen.
pub const FIRST_BYTES: usize = 2 << 20;
/// Bytes up to the end that are looked at: room for two labels of ZFS and their alignment.
pub const LAST_BYTES: usize = 1 << 20;
/// A file is read at so many places between its ends ...
const SAMPLES: u64 = 1024;
/// ... so many bytes each: files up to 67 MiB as a whole, and nothing that is dense is missed.
const SAMPLE_BYTES: usize = 64 << 10;
/// Zeros written at once.
const WIPE_BYTES: usize = 256 << 10;

/// Where our superblocks stand.
const OWN_PLACES: [u64; 2] = [0, 64 << 10];

/// What a file or device holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Zeros, as far as was looked.
    Empty,
    /// A store of EmberFS.
    EmberStore {
        /// The cluster it belongs to.
        cluster: ClusterId,
        /// Its name.
        store: StoreId,
        /// Whether an operator took it out of its cluster: nobody needs it any more (W10).
        retired: bool,
    },
    /// A store of EmberFS whose superblocks are damaged, or of a release that this one cannot read.
    UnreadableStore,
    /// A file system.
    FileSystem(&'static str),
    /// A part of an array, a pool, a volume group, or another raw use of the whole device.
    Volume(&'static str),
    /// A partition table.
    PartitionTable(&'static str),
    /// Something else than zeros.
    Unknown,
}

/// Why something is not formatted unless the operator insists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds {content}")]
pub struct Foreign {
    /// What was found.
    pub content: Content,
}

impl Content {
    /// The reason not to format this for `cluster`; nothing when it is empty, a retired store, or
    /// a store of that cluster.
    pub fn blocks_format(self, cluster: ClusterId) -> Option<Foreign> {
        match self {
            Self::Empty => None,
            Self::EmberStore { cluster: found, retired, .. } if retired || found == cluster => None,
            content => Some(Foreign { content }),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing"),
            Self::EmberStore { cluster, store, retired } => {
                let retired = if *retired { "the retired " } else { "" };
                write!(f, "{retired}store {store} of EmberFS cluster {cluster}")
            }
            Self::UnreadableStore => {
                f.write_str("a store of EmberFS that is damaged, or of a newer release")
            }
            Self::FileSystem(name) => write!(f, "a file system ({name})"),
            Self::Volume(name) => write!(f, "a raw volume ({name})"),
            Self::PartitionTable(name) => write!(f, "a partition table ({name})"),
            Self::Unknown => f.write_str("data of an unknown kind"),
        }
    }
}

/// Reads both ends of an open file or device and says what is there.
///
/// # Errors
/// When it cannot be read.
pub async fn look<E: Env>(file: &E::File) -> Result<Content, FileError> {
    let geometry = file.geometry();
    let align = u64::from(geometry.align);
    let first = file.read(0, FIRST_BYTES).await?;
    let position = geometry.size.saturating_sub(LAST_BYTES as u64) / align * align;
    // One unit more: rounding the position down must not lose the end.
    let last = file.read(position, LAST_BYTES + geometry.align as usize).await?;
    let found = identify(&first, position + last.len() as u64, &last);
    let inside = first.len() as u64..position;
    let is_file = geometry.kind == FileKind::Regular;
    if found == Content::Empty && is_file && holds_data::<E>(file, inside).await? {
        return Ok(Content::Unknown);
    }
    Ok(found)
}

/// Whether something else than zeros was found in samples of a range.
async fn holds_data<E: Env>(file: &E::File, range: Range<u64>) -> Result<bool, FileError> {
    let align = u64::from(file.geometry().align);
    let len = range.end.saturating_sub(range.start);
    let stride = (len.div_ceil(SAMPLES)).next_multiple_of(align).max(SAMPLE_BYTES as u64);
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(SAMPLE_BYTES);
        let sample = file.read(at, left.min(SAMPLE_BYTES)).await?;
        if !is_zero(&sample) {
            return Ok(true);
        }
        at += stride;
    }
    Ok(false)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// Writes zeros over both ends of a device, as far as [`look`] looks, and makes them durable. What
/// was forced to become a store must not be taken for what it was: a superblock at its end is
/// enough for a software RAID to take the disk back at the next start of the machine.
///
/// # Errors
/// When it cannot be written. Some of it may be gone then.
pub async fn wipe<E: Env>(env: &E, file: &E::File) -> Result<(), StoreError> {
    let geometry = file.geometry();
    let align = u64::from(geometry.align);
    let end = geometry.size / align * align; // less than a unit stays: nothing writes it
    let last = end.saturating_sub(LAST_BYTES as u64).max(FIRST_BYTES as u64);
    let mut zeros = env.pool().alloc_wait(WIPE_BYTES).await?;
    zeros.set_len(WIPE_BYTES);
    zeros.fill(0);
    let zeros = zeros.freeze();
    for range in [0..end.min(FIRST_BYTES as u64), last..end] {
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(WIPE_BYTES).min(WIPE_BYTES);
            file.write(at, zeros.slice(0..len)).await?;
            at += len as u64;
        }
    }
    Ok(file.flush().await?)
}

/// What is on something of `size` bytes that begins with `first` and ends with `last`; each may be
/// shorter or longer than asked for, and they may overlap.
pub fn identify(first: &[u8], size: u64, last: &[u8]) -> Content {
    let view = View { first, last, size };
    view.member_at_end()
        .or_else(|| view.own(&OWN_PLACES[..1]))
        .or_else(|| view.at_start())
        .or_else(|| view.left_at_end())
        .or_else(|| view.own(&OWN_PLACES))
        .unwrap_or_else(|| match is_zero(first) && is_zero(last) {
            true => Content::Empty,
            false => Content::Unknown,
        })
}

/// Both ends of what is looked at.
struct View<'a> {
    first: &'a [u8],
    last: &'a [u8],
    size: u64,
}

impl View<'_> {
    /// `len` bytes at `position`, if they were read.
    fn bytes(&self, position: u64, len: usize) -> Option<&[u8]> {
        let within = |bytes: &'_ [u8], start: u64| {
            let from = usize::try_from(position.checked_sub(start)?).ok()?;
            let until = from.checked_add(len)?;
            (until <= bytes.len()).then_some((from, until))
        };
        if let Some((from, until)) = within(self.first, 0) {
            return Some(&self.first[from..until]);
        }
        let start = self.size.checked_sub(self.last.len() as u64)?;
        within(self.last, start).map(|(from, until)| &self.last[from..until])
    }

    fn has(&self, position: u64, expected: &[u8]) -> bool {
        self.bytes(position, expected.len()) == Some(expected)
    }

    fn byte(&self, position: u64) -> u8 {
        self.bytes(position, 1).map_or(0, |bytes| bytes[0])
    }

    /// A little-endian number; 0 where nothing was read.
    fn number(&self, position: u64) -> u32 {
        let bytes = self.bytes(position, 4).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Our own superblocks at `places`, one of which is enough. Magic without a superblock that can
    /// be read is a store as well, only nobody knows whose.
    fn own(&self, places: &[u64]) -> Option<Content> {
        if !places.iter().any(|&at| self.has(at, &MAGIC)) {
            return None;
        }
        let [a, b] = OWN_PLACES.map(|at| self.bytes(at, SUPERBLOCK_BYTES).unwrap_or(&[]));
        let Ok((_, found)) = newest(a, b) else { return Some(Content::UnreadableStore) };
        let retired = found.flags.has(StoreFlags::RETIRED);
        Some(Content::EmberStore { cluster: found.cluster, store: found.store, retired })
    }

    /// Members whose superblock stands behind the data.
    fn member_at_end(&self) -> Option<Content> {
        let size = self.size;
        let md_old = (size & !0xffff).checked_sub(64 << 10);
        let md_new = (size & !0xfff).checked_sub(8 << 10);
        let is_old = md_old.is_some_and(|at| {
            let little = self.has(at, &MD_MAGIC) && self.number(at + 4) == 0;
            little || self.has(at, &MD_MAGIC_BIG)
        });
        if is_old || md_new.is_some_and(|at| self.is_md(at)) {
            return Some(Content::Volume("Linux software RAID member"));
        }
        let drbd = size.checked_sub(4 << 10).filter(|_| 64 << 10 <= size)? + DRBD_MAGIC_AT;
        let magics = DRBD_MAGICS.iter().any(|magic| self.has(drbd, magic));
        magics.then_some(Content::Volume("DRBD device"))
    }

    /// A superblock of version 1 of Linux software RAID.
    fn is_md(&self, at: u64) -> bool {
        self.has(at, &MD_MAGIC) && self.number(at + 4) == 1
    }

    fn at_start(&self) -> Option<Content> {
        self.by_table(Kind::Volume)
            .or_else(|| self.zfs([0, ZFS_LABEL_BYTES]))
            .or_else(|| self.by_table(Kind::FileSystem))
            .or_else(|| self.ext())
            .or_else(|| self.gpt([512, 4096]))
            .or_else(|| self.mbr())
    }

    fn left_at_end(&self) -> Option<Content> {
        let end = self.size;
        let backup = [512, 4096].map(|back| end.checked_sub(back).unwrap_or(u64::MAX));
        let labels_end = end - end % ZFS_LABEL_BYTES;
        let labels = [1, 2].map(|n| labels_end.checked_sub(n * ZFS_LABEL_BYTES).unwrap_or(end));
        self.gpt(backup).or_else(|| self.zfs(labels))
    }

    fn by_table(&self, kind: Kind) -> Option<Content> {
        let matches = |signature: &&Signature| {
            signature.kind == kind
                && signature.parts.iter().all(|(position, magic)| self.has(*position, magic))
        };
        SIGNATURES.iter().find(matches).map(|signature| match kind {
            Kind::Volume => Content::Volume(signature.name),
            Kind::FileSystem => Content::FileSystem(signature.name),
        })
    }

    /// ext2 to ext4 share a magic number; features tell them apart.
    fn ext(&self) -> Option<Content> {
        if !self.has(1024 + 56, &[0x53, 0xef]) {
            return None;
        }
        let (compatible, incompatible) = (self.number(1024 + 92), self.number(1024 + 96));
        Some(Content::FileSystem(match () {
            () if incompatible & EXT_JOURNAL_DEVICE != 0 => "journal of ext3 or ext4",
            () if incompatible & EXT4_FEATURES != 0 => "ext4",
            () if compatible & EXT_HAS_JOURNAL != 0 => "ext3",
            () => "ext2",
        }))
    }

    /// Uberblocks in either byte order in the second half of a label.
    fn zfs(&self, labels: [u64; 2]) -> Option<Content> {
        let blocks = |label: u64| (0..128).map(move |n| label.saturating_add((128 + n) << 10));
        let is_block = |at: u64| self.has(at, &ZFS_UBERBLOCK) || self.has(at, &ZFS_UBERBLOCK_BIG);
        let found = labels.into_iter().flat_map(blocks).any(is_block);
        found.then_some(Content::Volume("ZFS pool member"))
    }

    fn gpt(&self, headers: [u64; 2]) -> Option<Content> {
        let found = headers.iter().any(|&at| self.has(at, b"EFI PART"));
        found.then_some(Content::PartitionTable("GPT"))
    }

    /// The mark of a boot sector is everywhere; what makes it a table are plausible entries.
    fn mbr(&self) -> Option<Content> {
        let sectors = self.size / 512;
        let mut used = 0;
        for at in [446, 462, 478, 494] {
            let (status, kind) = (self.byte(at), self.byte(at + 4));
            let (start, len) = (self.number(at + 8), self.number(at + 12));
            if status & 0x7f != 0 {
                return None;
            }
            if kind != 0 && len != 0 {
                if sectors <= u64::from(start) {
                    return None;
                }
                used += 1;
            }
        }
        let is_table = 0 < used && self.has(510, &[0x55, 0xaa]);
        is_table.then_some(Content::PartitionTable("MBR"))
    }
}

/// Linux software RAID, in the byte order of version 1 and of most hosts.
const MD_MAGIC: [u8; 4] = [0xfc, 0x4e, 0x2b, 0xa9];
/// Version 0.90 of a big-endian host.
const MD_MAGIC_BIG: [u8; 4] = [0xa9, 0x2b, 0x4e, 0xfc];
/// In the last 4 KiB.
const DRBD_MAGIC_AT: u64 = 60;
/// Versions 8, 8.4 after an unclean stop, and 9.
const DRBD_MAGICS: [[u8; 4]; 3] =
    [[0x83, 0x74, 0x02, 0x6b], [0x83, 0x74, 0x02, 0x6c], [0x83, 0x74, 0x02, 0x6d]];
/// Two labels at the start, two at the end.
const ZFS_LABEL_BYTES: u64 = 256 << 10;
const ZFS_UBERBLOCK: [u8; 8] = [0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0];
const ZFS_UBERBLOCK_BIG: [u8; 8] = [0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c];
/// Bits of the features of ext2 to ext4.
const EXT_HAS_JOURNAL: u32 = 0x4;
const EXT_JOURNAL_DEVICE: u32 = 0x8;
/// Extents, 64 bit, multiple mount protection, flexible groups, inline data.
const EXT4_FEATURES: u32 = 0x40 | 0x80 | 0x100 | 0x200 | 0x8000;

const _: () = assert!(3 * ZFS_LABEL_BYTES <= LAST_BYTES as u64);
