//! Lists that travel as payload, little-endian, without padding.
//!
//! extents    offset u32, length u32
//! chunks     [last chunk of the range: inode u64, index u32] inode u64, index u32, version u32,
//!            digest u64
//! outcomes   session u64, channel u32, its seq u64, seq u64, inode u64, index u32, version u32,
//!            length u32

use engine_craq::Digest;
use engine_store::Tag;
use engine_types::{ChannelId, ChunkId, ChunkSize, ChunkVersion, InodeId, SessionId};

use super::CodecError;
use crate::item::OutcomeSaid;
use crate::limits::EXTENTS_MAX;

const EXTENT_BYTES: usize = 8;
const CHUNK_BYTES: usize = 12;
const LISTED_BYTES: usize = 24;
const OUTCOME_BYTES: usize = 48;

pub(super) type Listed = (ChunkId, ChunkVersion, Digest);

/// Reads numbers; whoever makes one has checked that there are enough bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk::<N>().expect("entries were counted");
        self.0 = rest;
        *head
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn chunk(&mut self) -> ChunkId {
        ChunkId { inode: InodeId::new(self.u64()), index: self.u32() }
    }
}

fn put_chunk(out: &mut Vec<u8>, chunk: ChunkId) {
    out.extend_from_slice(&chunk.inode.get().to_le_bytes());
    out.extend_from_slice(&chunk.index.to_le_bytes());
}

/// As many entries as `bytes` holds.
fn entries<T>(
    bytes: &[u8],
    entry: usize,
    mut read: impl FnMut(&mut Reader<'_>) -> T,
) -> Result<Vec<T>, CodecError> {
    let found = bytes.len();
    if !found.is_multiple_of(entry) {
        return Err(CodecError::List { found, entry });
    }
    let mut reader = Reader(bytes);
    Ok((0..found / entry).map(|_| read(&mut reader)).collect())
}

pub(super) fn extents(extents: &[(u32, u32)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(extents.len() * EXTENT_BYTES);
    for (offset, len) in extents {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
    }
    out
}

/// Ascending, apart, and inside a chunk of `size`.
pub(super) fn to_extents(size: ChunkSize, bytes: &[u8]) -> Result<Vec<(u32, u32)>, CodecError> {
    let extents = entries(bytes, EXTENT_BYTES, |reader| (reader.u32(), reader.u32()))?;
    let (found, limit) = (extents.len(), EXTENTS_MAX);
    if limit < found {
        return Err(CodecError::Extents { found, limit });
    }
    let (mut after, size) = (0, size.bytes());
    for &(offset, len) in &extents {
        let end = offset.checked_add(len).filter(|end| *end <= size);
        match end {
            Some(end) if after <= offset && 0 < len => after = end,
            _ => return Err(CodecError::Extent { offset, len, after, size }),
        }
    }
    Ok(extents)
}

pub(super) fn chunks(upto: Option<ChunkId>, entries: &[Listed]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHUNK_BYTES + entries.len() * LISTED_BYTES);
    if let Some(upto) = upto {
        put_chunk(&mut out, upto);
    }
    for (chunk, version, digest) in entries {
        put_chunk(&mut out, *chunk);
        out.extend_from_slice(&version.get().to_le_bytes());
        out.extend_from_slice(&digest.0.to_le_bytes());
    }
    out
}

pub(super) fn to_chunks(
    bounded: bool,
    bytes: &[u8],
) -> Result<(Option<ChunkId>, Vec<Listed>), CodecError> {
    let (upto, rest) = match (bounded, bytes.split_at_checked(CHUNK_BYTES)) {
        (false, _) => (None, bytes),
        (true, Some((upto, rest))) => (Some(Reader(upto).chunk()), rest),
        (true, None) => {
            return Err(CodecError::List { found: bytes.len(), entry: CHUNK_BYTES });
        }
    };
    let listed = entries(rest, LISTED_BYTES, |reader| {
        (reader.chunk(), ChunkVersion::new(reader.u32()), Digest(reader.u64()))
    })?;
    Ok((upto, listed))
}

pub(super) fn outcomes(entries: &[(Tag, OutcomeSaid)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * OUTCOME_BYTES);
    for (tag, said) in entries {
        out.extend_from_slice(&tag.session.get().to_le_bytes());
        out.extend_from_slice(&tag.channel.get().to_le_bytes());
        out.extend_from_slice(&tag.seq.to_le_bytes());
        out.extend_from_slice(&said.seq.to_le_bytes());
        put_chunk(&mut out, said.chunk);
        out.extend_from_slice(&said.version.get().to_le_bytes());
        out.extend_from_slice(&said.len.to_le_bytes());
    }
    out
}

pub(super) fn to_outcomes(bytes: &[u8]) -> Result<Vec<(Tag, OutcomeSaid)>, CodecError> {
    entries(bytes, OUTCOME_BYTES, |reader| {
        let session = SessionId::new(reader.u64());
        let channel = ChannelId::new(reader.u32());
        let tag = Tag { session, channel, seq: reader.u64() };
        let (seq, chunk) = (reader.u64(), reader.chunk());
        let version = ChunkVersion::new(reader.u32());
        (tag, OutcomeSaid { seq, chunk, version, len: reader.u32() })
    })
}
