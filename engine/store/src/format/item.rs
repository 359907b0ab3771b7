//! What entries of the journal and items of a checkpoint have in common: a head, and how a record
//! is laid out behind it.
//!
//! ```text
//! head, 4 bytes                               record part (PUT, MOVE, CHUNK)
//!  0  kind    u8                               0  head                              4 bytes
//!  1  flags   u8                               4  slot                              u16
//!  2  length  u16, with head, multiple of 4    6  block class: 4 KiB << class       u8
//!                                              7  chunk size: 1 << size             u8
//! what names a chunk (COMMIT, ABORT, ERASE)    8  inode                             u64
//!  0  head    4 bytes                         16  chunk index                       u32
//!  4  slot    u16                             20  version                           u32
//!  6  zero    u16                             24  chain version                     u32
//!  8  inode   u64                             28  truncate epoch                    u32
//! 16  index   u32                             32  length of the chunk               u32
//!                                             36  data end                          u32
//!                                             40  first block                       u32
//!                                             44  words: further blocks (chunks     u32 each
//!                                                 above 4 MiB), one per checksum
//!                                                 block up to data end
//! ```
//!
//! The number of words is not stored: data end and chunk size say it.

use core::fmt;

use alloc::vec::Vec;

use engine_types::{ChainVersion, ChunkSize, ChunkVersion};

use crate::address::{BlockAddress, BlockClass, ChunkKey, Slot, TruncateEpoch};
use crate::format::bytes::{put, u16_at, u32_at, u64_at};
use crate::format::error::FormatError;
use crate::record::{Head, RecordRef};

/// Bytes of an entry's head.
pub(super) const HEAD_BYTES: usize = 4;
/// Bytes up to and with the chunk's index.
pub(super) const KEYED_BYTES: usize = 20;
/// Bytes of a record part without its words.
pub(super) const RECORD_BYTES: usize = 44;

/// What an entry or item says. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A version is pending.
    Put = 1,
    /// The pending version is committed.
    Commit = 2,
    /// The pending version is dropped.
    Abort = 3,
    /// The committed record has other places.
    Move = 4,
    /// A chunk goes.
    Erase = 5,
    /// What a slot holds.
    Target = 6,
    /// Sessions are revoked.
    Fence = 7,
    /// The newest request of a channel.
    Dedup = 8,
    /// The requests of a session are forgotten.
    DedupDrop = 9,
    /// In a checkpoint: a PUT and the group it stands in.
    Pending = 32,
    /// In a checkpoint: a committed record.
    Chunk = 33,
    /// In a checkpoint: nothing follows.
    End = 34,
}

impl Kind {
    /// Every kind of this release.
    pub const ALL: [Self; 12] = [
        Self::Put,
        Self::Commit,
        Self::Abort,
        Self::Move,
        Self::Erase,
        Self::Target,
        Self::Fence,
        Self::Dedup,
        Self::DedupDrop,
        Self::Pending,
        Self::Chunk,
        Self::End,
    ];

    /// The number on the device.
    pub const fn code(self) -> u8 {
        self as u8
    }

    #[inline]
    fn from_code(kind: u8) -> Result<Self, FormatError> {
        Ok(match kind {
            1 => Self::Put,
            2 => Self::Commit,
            3 => Self::Abort,
            4 => Self::Move,
            5 => Self::Erase,
            6 => Self::Target,
            7 => Self::Fence,
            8 => Self::Dedup,
            9 => Self::DedupDrop,
            32 => Self::Pending,
            33 => Self::Chunk,
            34 => Self::End,
            kind => return Err(FormatError::UnknownKind { kind }),
        })
    }

    /// Flags of this kind that have a meaning.
    const fn known_flags(self) -> u8 {
        match self {
            Self::Put => FLAG_TOMBSTONE | FLAG_TAG,
            Self::Target => FLAG_EMPTY | FLAG_NAMED,
            Self::Fence => FLAG_BELOW,
            _ => 0,
        }
    }
}

/// PUT of a removal: the entry ends after the chain version, but for its tag.
pub(super) const FLAG_TOMBSTONE: u8 = 1;
/// PUT with a tag at its end.
pub(super) const FLAG_TAG: u8 = 2;
/// TARGET: the slot is empty.
pub(super) const FLAG_EMPTY: u8 = 1;
/// TARGET: a timeline follows.
pub(super) const FLAG_NAMED: u8 = 2;
/// FENCE: all sessions below.
pub(super) const FLAG_BELOW: u8 = 1;

/// As in a dump: `PUT`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put => "PUT",
            Self::Commit => "COMMIT",
            Self::Abort => "ABORT",
            Self::Move => "MOVE",
            Self::Erase => "ERASE",
            Self::Target => "TARGET",
            Self::Fence => "FENCE",
            Self::Dedup => "DEDUP",
            Self::DedupDrop => "DEDUPDROP",
            Self::Pending => "PENDING",
            Self::Chunk => "CHUNK",
            Self::End => "END",
        })
    }
}

/// The bytes of one entry, head included, found to lie inside the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The entry at the front of `input`.
    #[inline]
    pub(super) fn open(input: &'a [u8]) -> Result<Self, FormatError> {
        let Some(&[kind, flags, low, high]) = input.first_chunk::<HEAD_BYTES>() else {
            let (needed, found) = (HEAD_BYTES, input.len());
            return Err(FormatError::Truncated { kind: 0, needed, found });
        };
        let len = usize::from(u16::from_le_bytes([low, high]));
        if len < HEAD_BYTES || !len.is_multiple_of(4) {
            return Err(FormatError::Length { kind, found: len });
        }
        let Some(bytes) = input.get(..len) else {
            return Err(FormatError::Truncated { kind, needed: len, found: input.len() });
        };
        let kind = Kind::from_code(kind)?;
        let known = kind.known_flags();
        if flags & !known != 0 {
            return Err(FormatError::UnknownFlags { kind, found: flags, known });
        }
        Ok(Self { kind, flags, bytes })
    }

    /// Its first `N` bytes.
    #[inline]
    pub(super) fn fixed<const N: usize>(&self) -> Result<&'a [u8; N], FormatError> {
        self.bytes.first_chunk().ok_or_else(|| self.truncated(N))
    }

    /// `len` bytes from `at`.
    #[inline]
    pub(super) fn part(&self, at: usize, len: usize) -> Result<&'a [u8], FormatError> {
        self.bytes.get(at..at + len).ok_or_else(|| self.truncated(at + len))
    }

    #[cold]
    fn truncated(&self, needed: usize) -> FormatError {
        FormatError::Truncated { kind: self.kind.code(), needed, found: self.bytes.len() }
    }
}

/// Begins an entry; `close` with the returned place ends it.
#[inline]
pub(super) fn begin(out: &mut Vec<u8>, kind: Kind, flags: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[kind.code(), flags, 0, 0]);
    start
}

/// Ends an entry: whole words, and its length.
#[inline]
pub(super) fn close(out: &mut Vec<u8>, start: usize) {
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
    let len = u16::try_from(out.len() - start).expect("E107: the largest entry is below 64 KiB");
    put(out, start + 2, len.to_le_bytes());
}

/// The chunk named by the first bytes of an entry.
#[inline]
pub(super) fn key_of(bytes: &[u8]) -> ChunkKey {
    ChunkKey::new(Slot::new(u16_at(bytes, 4)), u64_at(bytes, 8), u32_at(bytes, 16))
}

/// Writes the chunk into the first bytes of an entry.
#[inline]
pub(super) fn put_key(out: &mut [u8], key: &ChunkKey) {
    put(out, 4, key.slot.get().to_le_bytes());
    put(out, 8, key.chunk.inode.get().to_le_bytes());
    put(out, 16, key.chunk.index.to_le_bytes());
}

/// Bytes of a record part with `words` words.
pub(super) const fn record_bytes(words: usize) -> usize {
    RECORD_BYTES + 4 * words
}

/// Appends a record part; its length is that of an entry which ends here.
#[inline]
pub(super) fn push_record(
    out: &mut Vec<u8>,
    (kind, flags): (Kind, u8),
    key: &ChunkKey,
    record: RecordRef<'_>,
) {
    let Head { len, data_end, version, chain_version, epoch, size, class } = record.head;
    let bytes = record_bytes(record.words.len());
    let entry_len = u16::try_from(bytes).expect("E107: the largest record is below 64 KiB");
    let shift = u8::try_from(size.bytes().trailing_zeros()).expect("a shift of u32");
    let mut fixed = [0; RECORD_BYTES];
    put(&mut fixed, 0, [kind.code(), flags]);
    put(&mut fixed, 2, entry_len.to_le_bytes());
    put_key(&mut fixed, key);
    put(&mut fixed, 6, [class.get(), shift]);
    put(&mut fixed, 20, version.get().to_le_bytes());
    put(&mut fixed, 24, chain_version.get().to_le_bytes());
    put(&mut fixed, 28, epoch.get().to_le_bytes());
    put(&mut fixed, 32, len.to_le_bytes());
    put(&mut fixed, 36, data_end.to_le_bytes());
    put(&mut fixed, 40, record.block.get().to_le_bytes());
    out.extend_from_slice(&fixed);
    let start = out.len();
    out.resize(start + 4 * record.words.len(), 0);
    let places = out[start..].as_chunks_mut::<4>().0;
    for (place, word) in places.iter_mut().zip(record.words) {
        *place = word.to_le_bytes();
    }
}

/// Reads a record part into `words`, which is cleared before; returns what is beside the words,
/// and the bytes read. The record passes its check.
#[inline]
pub(super) fn read_record(
    frame: &Frame<'_>,
    words: &mut Vec<u32>,
) -> Result<(ChunkKey, Head, BlockAddress, usize), FormatError> {
    let fixed: &[u8; RECORD_BYTES] = frame.fixed()?;
    let key = key_of(fixed);
    let head = read_head(&key, fixed)?;
    let block = BlockAddress::new(u32_at(fixed, 40));
    let count = head.word_count();
    let table = frame.part(RECORD_BYTES, 4 * count)?;
    words.clear();
    words.extend(table.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)));
    RecordRef { head, block, words }.check().map_err(|why| FormatError::Record { key, why })?;
    Ok((key, head, block, record_bytes(count)))
}

#[inline]
fn read_head(key: &ChunkKey, fixed: &[u8; RECORD_BYTES]) -> Result<Head, FormatError> {
    let [class, shift] = [fixed[6], fixed[7]];
    let size = 1u32.checked_shl(shift.into()).and_then(ChunkSize::new);
    Ok(Head {
        len: u32_at(fixed, 32),
        data_end: u32_at(fixed, 36),
        version: ChunkVersion::new(u32_at(fixed, 20)),
        chain_version: ChainVersion::new(u32_at(fixed, 24)),
        epoch: TruncateEpoch::new(u32_at(fixed, 28)),
        size: size.ok_or(FormatError::ChunkSize { key: *key, shift })?,
        class: BlockClass::new(class).ok_or(FormatError::Class { key: *key, class })?,
    })
}
