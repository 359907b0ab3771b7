//! Entries of the journal.
//!
//! ```text
//! PUT        | record part: 44 + 4 per word | direct count u16 | image count u16 |
//!            | direct: first sector u16, count u16 each | images: sector u16 each |
//!            | 0 or 2 zero bytes | with a tag: session u64, channel u32, seq u64 |
//! PUT        of a removal: | first 28 bytes of a record part, class and size zero | tag |
//! MOVE       | record part | direct count u16 | zero u16 | direct |
//! COMMIT, ABORT   | what names a chunk, 20 bytes | version u32 |
//! ERASE      | what names a chunk, 20 bytes |
//! TARGET     | head | slot u16 | phase u16 | target u64 | chain u32 | chain version u32 |
//!            | incarnation u64 | if flagged: timeline u32 |;
//!            of an empty slot: | head | slot u16 | zero u16 |
//! FENCE      | head | zero u32 | session u64 |
//! DEDUP      | what names a chunk, 20 bytes | channel u32 | session u64 | seq u64 | version u32 |
//!            | length of the chunk u32 |
//! DEDUPDROP  | head | zero u32 | session u64 |
//! ```
//!
//! A PUT of a chunk of 1 MiB takes 48 bytes, 64 for its checksums, 4 per direct range, and 20 for
//! its tag: 29 of them, or 34 without tags, share a page with the header of their group.

use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::{
    ChainId, ChainVersion, ChannelId, ChunkSize, ChunkVersion, Incarnation, SECTOR_BYTES,
    SessionId, TargetId, Timeline,
};

use crate::address::{ChunkKey, Slot};
use crate::entry::{Entry, Fence, Put, SectorRange};
use crate::format::bytes::{put, u16_at, u32_at, u64_at};
use crate::format::error::FormatError;
use crate::format::item::{
    FLAG_BELOW, FLAG_EMPTY, FLAG_NAMED, FLAG_TAG, FLAG_TOMBSTONE, Frame, KEYED_BYTES, Kind, close,
    key_of, push_record, put_key, read_record, record_bytes,
};
use crate::format::limits::{DIRECT_RANGES_MAX, IMAGES_PER_PUT_MAX};
use crate::record::{RECORD_WORDS_MAX, Record, RecordRef};
use crate::request::{Outcome, Tag, TargetPhase, TargetRecord};

/// Bytes of the PUT of a removal, without its tag.
const TOMBSTONE_BYTES: usize = 28;
/// Bytes of a tag.
const TAG_BYTES: usize = 20;
/// Bytes of a COMMIT or ABORT.
pub const COMMIT_BYTES: usize = KEYED_BYTES + 4;
/// Bytes of a TARGET of unknown timeline.
const TARGET_UNNAMED_BYTES: usize = 32;
/// Bytes of a TARGET at most.
pub const TARGET_BYTES: usize = TARGET_UNNAMED_BYTES + 4;
/// Bytes of a FENCE or DEDUPDROP.
pub const FENCE_BYTES: usize = 16;
/// Bytes of a DEDUP.
pub const DEDUP_BYTES: usize = 48;
/// Bytes of the smallest entry: a TARGET without target.
pub const ENTRY_BYTES_MIN: usize = 8;
/// Bytes of the largest entry: a PUT of a chunk of 64 MiB.
pub const ENTRY_BYTES_MAX: usize =
    put_bytes(RECORD_WORDS_MAX, DIRECT_RANGES_MAX, IMAGES_PER_PUT_MAX, true);

/// Bytes of the PUT of a record.
pub(super) const fn put_bytes(words: usize, direct: usize, images: usize, tag: bool) -> usize {
    let lists = 4 + 4 * direct + (2 * images).next_multiple_of(4);
    record_bytes(words) + lists + if tag { TAG_BYTES } else { 0 }
}

/// Bytes that [`encode`] appends.
pub fn encoded_len(entry: &Entry) -> usize {
    match entry {
        Entry::Put(put) => put_len(put),
        Entry::Move { record, direct, .. } => put_bytes(record.words.len(), direct.len(), 0, false),
        Entry::Commit { .. } | Entry::Abort { .. } => COMMIT_BYTES,
        Entry::Erase { .. } => KEYED_BYTES,
        Entry::Target { record: None, .. } => ENTRY_BYTES_MIN,
        Entry::Target { record: Some(record), .. } => target_len(record),
        Entry::Fence(_) | Entry::DedupDrop { .. } => FENCE_BYTES,
        Entry::Dedup { .. } => DEDUP_BYTES,
    }
}

/// Bytes of a PUT.
pub(super) fn put_len(put: &Put) -> usize {
    let tag = put.tag.is_some();
    match &put.record {
        Some(record) => put_bytes(record.words.len(), put.direct.len(), put.images.len(), tag),
        None => TOMBSTONE_BYTES + if tag { TAG_BYTES } else { 0 },
    }
}

/// Appends `entry`.
///
/// # Panics
/// If the entry would not pass the checks of [`decode`] (E107).
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let start = out.len();
    match entry {
        Entry::Put(put) => encode_put(put, out),
        Entry::Commit { key, version } => encode_decision(Kind::Commit, key, *version, out),
        Entry::Abort { key, version } => encode_decision(Kind::Abort, key, *version, out),
        Entry::Move { key, record, direct } => {
            let record = Record::as_ref(record);
            assert_encodable(key, record, direct, &[]);
            push_record(out, (Kind::Move, 0), key, record);
            push_lists(direct, &[], out);
            close(out, start);
        }
        Entry::Erase { key } => {
            let mut fixed = [0; KEYED_BYTES];
            put_key(&mut fixed, key);
            push_fixed(Kind::Erase, 0, fixed, out);
        }
        Entry::Target { slot, record } => encode_target(*slot, record.as_ref(), out),
        Entry::Fence(fence) => encode_fence(*fence, out),
        Entry::Dedup { slot, tag, outcome } => encode_dedup(*slot, tag, outcome, out),
        Entry::DedupDrop { session } => encode_session(Kind::DedupDrop, 0, *session, out),
    }
    assert_eq!(out.len() - start, encoded_len(entry), "E107: {entry:?}");
}

/// Appends an entry of known size, whose head is still to be filled in.
fn push_fixed<const N: usize>(kind: Kind, flags: u8, mut fixed: [u8; N], out: &mut Vec<u8>) {
    let len = u16::try_from(N).expect("fixed entries are short");
    put(&mut fixed, 0, [kind.code(), flags]);
    put(&mut fixed, 2, len.to_le_bytes());
    out.extend_from_slice(&fixed);
}

fn assert_encodable(key: &ChunkKey, record: RecordRef<'_>, direct: &[SectorRange], images: &[u16]) {
    let checked = record.check().map_err(|why| FormatError::Record { key: *key, why });
    let checked = checked.and_then(|()| check_lists(key, record.head.size, direct, images));
    if let Err(why) = checked {
        panic!("E107: a record to be logged breaks its own rules: {why}");
    }
}

/// Appends a PUT.
pub(super) fn encode_put(entry: &Put, out: &mut Vec<u8>) {
    let Put { key, version, chain_version, record, direct, images, tag } = entry;
    let start = out.len();
    let tag_flag = if tag.is_some() { FLAG_TAG } else { 0 };
    if let Some(record) = record {
        let said = (*version, *chain_version);
        let kept = (record.head.version, record.head.chain_version);
        assert_eq!(said, kept, "E107: {key}: a PUT and its record are of one version");
        assert_encodable(key, record.as_ref(), direct, images);
        push_record(out, (Kind::Put, tag_flag), key, record.as_ref());
        push_lists(direct, images, out);
    } else {
        assert!(direct.is_empty() && images.is_empty(), "E107: {key}: a removal writes nothing");
        let mut fixed = [0; TOMBSTONE_BYTES];
        put_key(&mut fixed, key);
        put(&mut fixed, 20, version.get().to_le_bytes());
        put(&mut fixed, 24, chain_version.get().to_le_bytes());
        push_fixed(Kind::Put, FLAG_TOMBSTONE | tag_flag, fixed, out);
    }
    if let Some(Tag { session, channel, seq }) = tag {
        out.extend_from_slice(&session.get().to_le_bytes());
        out.extend_from_slice(&channel.get().to_le_bytes());
        out.extend_from_slice(&seq.to_le_bytes());
    }
    close(out, start);
}

/// Appends the counts, direct ranges and images, to whole words.
fn push_lists(direct: &[SectorRange], images: &[u16], out: &mut Vec<u8>) {
    for count in [direct.len(), images.len()] {
        let count = u16::try_from(count).expect("E107: counts are checked before");
        out.extend_from_slice(&count.to_le_bytes());
    }
    for range in direct {
        out.extend_from_slice(&range.first.to_le_bytes());
        out.extend_from_slice(&range.count.to_le_bytes());
    }
    for sector in images {
        out.extend_from_slice(&sector.to_le_bytes());
    }
    if !images.len().is_multiple_of(2) {
        out.extend_from_slice(&[0; 2]);
    }
}

fn encode_decision(kind: Kind, key: &ChunkKey, version: ChunkVersion, out: &mut Vec<u8>) {
    let mut fixed = [0; COMMIT_BYTES];
    put_key(&mut fixed, key);
    put(&mut fixed, 20, version.get().to_le_bytes());
    push_fixed(kind, 0, fixed, out);
}

/// Bytes of a TARGET.
pub(super) const fn target_len(record: &TargetRecord) -> usize {
    if record.named.is_some() { TARGET_BYTES } else { TARGET_UNNAMED_BYTES }
}

/// Appends a TARGET.
pub(super) fn encode_target(slot: Slot, record: Option<&TargetRecord>, out: &mut Vec<u8>) {
    let Some(record) = record else {
        let mut fixed = [0; ENTRY_BYTES_MIN];
        put(&mut fixed, 4, slot.get().to_le_bytes());
        return push_fixed(Kind::Target, FLAG_EMPTY, fixed, out);
    };
    let phase: u16 = match record.phase {
        TargetPhase::Active => 0,
        TargetPhase::Dropping => 1,
    };
    let mut fixed = [0; TARGET_UNNAMED_BYTES];
    put(&mut fixed, 4, slot.get().to_le_bytes());
    put(&mut fixed, 6, phase.to_le_bytes());
    put(&mut fixed, 8, record.target.get().to_le_bytes());
    put(&mut fixed, 16, record.chain.get().to_le_bytes());
    put(&mut fixed, 20, record.chain_version.get().to_le_bytes());
    put(&mut fixed, 24, record.incarnation.get().to_le_bytes());
    let Some(named) = record.named else { return push_fixed(Kind::Target, 0, fixed, out) };
    let mut longer = [0; TARGET_BYTES];
    put(&mut longer, 0, fixed);
    put(&mut longer, TARGET_UNNAMED_BYTES, named.get().to_le_bytes());
    push_fixed(Kind::Target, FLAG_NAMED, longer, out);
}

/// Appends a FENCE.
pub(super) fn encode_fence(fence: Fence, out: &mut Vec<u8>) {
    match fence {
        Fence::One(session) => encode_session(Kind::Fence, 0, session, out),
        Fence::Below(session) => encode_session(Kind::Fence, FLAG_BELOW, session, out),
    }
}

fn encode_session(kind: Kind, flags: u8, session: SessionId, out: &mut Vec<u8>) {
    let mut fixed = [0; FENCE_BYTES];
    put(&mut fixed, 8, session.get().to_le_bytes());
    push_fixed(kind, flags, fixed, out);
}

/// Appends a DEDUP.
pub(super) fn encode_dedup(slot: Slot, tag: &Tag, outcome: &Outcome, out: &mut Vec<u8>) {
    let (said, kept) = ((slot, tag.seq), (outcome.key.slot, outcome.seq));
    assert_eq!(said, kept, "E107: {tag:?}: an outcome is of its request's slot and number");
    let mut fixed = [0; DEDUP_BYTES];
    put_key(&mut fixed, &outcome.key);
    put(&mut fixed, 20, tag.channel.get().to_le_bytes());
    put(&mut fixed, 24, tag.session.get().to_le_bytes());
    put(&mut fixed, 32, tag.seq.to_le_bytes());
    put(&mut fixed, 40, outcome.version.get().to_le_bytes());
    put(&mut fixed, 44, outcome.len.to_le_bytes());
    push_fixed(Kind::Dedup, 0, fixed, out);
}

/// The entry at the front of `bytes`, and how many of them it takes. What a longer entry of a
/// later release brings is skipped.
///
/// # Errors
/// The first rule that the bytes break.
pub fn decode(bytes: &[u8]) -> Result<(Entry, usize), FormatError> {
    let frame = Frame::open(bytes)?;
    let entry = match frame.kind {
        Kind::Put => Entry::Put(Rc::new(decode_put(&frame)?)),
        Kind::Commit | Kind::Abort => {
            let fixed: &[u8; COMMIT_BYTES] = frame.fixed()?;
            let (key, version) = (key_of(fixed), ChunkVersion::new(u32_at(fixed, 20)));
            if frame.kind == Kind::Commit {
                Entry::Commit { key, version }
            } else {
                Entry::Abort { key, version }
            }
        }
        Kind::Move => decode_move(&frame)?,
        Kind::Erase => Entry::Erase { key: key_of(frame.fixed::<KEYED_BYTES>()?) },
        Kind::Target => decode_target(&frame)?,
        Kind::Fence => {
            let session = decode_session(&frame)?;
            let below = frame.flags & FLAG_BELOW != 0;
            Entry::Fence(if below { Fence::Below(session) } else { Fence::One(session) })
        }
        Kind::Dedup => decode_dedup(&frame)?,
        Kind::DedupDrop => Entry::DedupDrop { session: decode_session(&frame)? },
        found @ (Kind::Pending | Kind::Chunk | Kind::End) => {
            return Err(FormatError::Misplaced { found });
        }
    };
    Ok((entry, frame.bytes.len()))
}

/// Reads a PUT.
pub(super) fn decode_put(frame: &Frame<'_>) -> Result<Put, FormatError> {
    let fixed: &[u8; TOMBSTONE_BYTES] = frame.fixed()?;
    let mut entry = Put {
        key: key_of(fixed),
        version: ChunkVersion::new(u32_at(fixed, 20)),
        chain_version: ChainVersion::new(u32_at(fixed, 24)),
        record: None,
        direct: Vec::new(),
        images: Vec::new(),
        tag: None,
    };
    let mut at = TOMBSTONE_BYTES;
    if frame.flags & FLAG_TOMBSTONE == 0 {
        let (record, end) = decode_record(frame)?;
        (entry.direct, entry.images, at) = decode_lists(frame, end)?;
        check_lists(&entry.key, record.head.size, &entry.direct, &entry.images)?;
        entry.record = Some(record);
    }
    if frame.flags & FLAG_TAG != 0 {
        let tag = frame.part(at, TAG_BYTES)?;
        entry.tag = Some(Tag {
            session: SessionId::new(u64_at(tag, 0)),
            channel: ChannelId::new(u32_at(tag, 8)),
            seq: u64_at(tag, 12),
        });
    }
    Ok(entry)
}

fn decode_move(frame: &Frame<'_>) -> Result<Entry, FormatError> {
    let (record, end) = decode_record(frame)?;
    // The place of the image count has no meaning here; images are of PUTs.
    let direct = decode_ranges(frame, end, frame.part(end, 4)?)?;
    let key = key_of(frame.fixed::<KEYED_BYTES>()?);
    check_lists(&key, record.head.size, &direct, &[])?;
    Ok(Entry::Move { key, record: Rc::new(record), direct })
}

/// The record, and where it ends.
fn decode_record(frame: &Frame<'_>) -> Result<(Record, usize), FormatError> {
    let mut words = Vec::new();
    let (_, head, block, end) = read_record(frame, &mut words)?;
    Ok((Record { head, block, words }, end))
}

/// Direct ranges and images, and where they end.
fn decode_lists(
    frame: &Frame<'_>,
    at: usize,
) -> Result<(Vec<SectorRange>, Vec<u16>, usize), FormatError> {
    let counts = frame.part(at, 4)?;
    let direct = decode_ranges(frame, at, counts)?;
    let at = at + 4 + 4 * direct.len();
    let images = frame.part(at, 2 * usize::from(u16_at(counts, 2)))?;
    let images: Vec<u16> = images.as_chunks().0.iter().map(|&s| u16::from_le_bytes(s)).collect();
    let end = at + (2 * images.len()).next_multiple_of(4);
    Ok((direct, images, end))
}

fn decode_ranges(
    frame: &Frame<'_>,
    at: usize,
    counts: &[u8],
) -> Result<Vec<SectorRange>, FormatError> {
    let ranges = frame.part(at + 4, 4 * usize::from(u16_at(counts, 0)))?;
    let ranges = ranges.as_chunks::<4>().0.iter();
    Ok(ranges.map(|r| SectorRange { first: u16_at(r, 0), count: u16_at(r, 2) }).collect())
}

/// Both lists ascend inside the chunk.
fn check_lists(
    key: &ChunkKey,
    size: ChunkSize,
    direct: &[SectorRange],
    images: &[u16],
) -> Result<(), FormatError> {
    for (what, found, max) in [
        ("direct ranges", direct.len(), DIRECT_RANGES_MAX),
        ("images", images.len(), IMAGES_PER_PUT_MAX),
    ] {
        if max < found {
            return Err(FormatError::TooMany { what, found, max });
        }
    }
    let ranges = direct.iter().map(|range| (u32::from(range.first), range.end()));
    let sectors = images.iter().map(|&sector| (u32::from(sector), u32::from(sector) + 1));
    check_ascending(key, size, ranges)?;
    check_ascending(key, size, sectors)
}

fn check_ascending(
    key: &ChunkKey,
    size: ChunkSize,
    ranges: impl Iterator<Item = (u32, u32)>,
) -> Result<(), FormatError> {
    let to = size.bytes() / SECTOR_BYTES;
    let mut from = 0;
    for (first, end) in ranges {
        if first < from || end <= first || to < end {
            return Err(FormatError::Sectors { key: *key, first, end, from, to });
        }
        from = end;
    }
    Ok(())
}

fn decode_target(frame: &Frame<'_>) -> Result<Entry, FormatError> {
    let slot = Slot::new(u16_at(frame.fixed::<ENTRY_BYTES_MIN>()?, 4));
    if frame.flags & FLAG_EMPTY != 0 {
        return Ok(Entry::Target { slot, record: None });
    }
    let fixed: &[u8; TARGET_UNNAMED_BYTES] = frame.fixed()?;
    let named = if frame.flags & FLAG_NAMED != 0 {
        let longer = frame.fixed::<TARGET_BYTES>()?;
        Some(Timeline::new(u32_at(longer, TARGET_UNNAMED_BYTES)))
    } else {
        None
    };
    let phase = match u16_at(fixed, 6) {
        0 => TargetPhase::Active,
        1 => TargetPhase::Dropping,
        found => return Err(FormatError::Phase { slot, found }),
    };
    let record = TargetRecord {
        target: TargetId::new(u64_at(fixed, 8)),
        chain: ChainId::new(u32_at(fixed, 16)).ok_or(FormatError::NoChain { slot })?,
        chain_version: ChainVersion::new(u32_at(fixed, 20)),
        incarnation: Incarnation::new(u64_at(fixed, 24)),
        named,
        phase,
    };
    Ok(Entry::Target { slot, record: Some(record) })
}

fn decode_session(frame: &Frame<'_>) -> Result<SessionId, FormatError> {
    Ok(SessionId::new(u64_at(frame.fixed::<FENCE_BYTES>()?, 8)))
}

fn decode_dedup(frame: &Frame<'_>) -> Result<Entry, FormatError> {
    let fixed: &[u8; DEDUP_BYTES] = frame.fixed()?;
    let key = key_of(fixed);
    let tag = Tag {
        session: SessionId::new(u64_at(fixed, 24)),
        channel: ChannelId::new(u32_at(fixed, 20)),
        seq: u64_at(fixed, 32),
    };
    let outcome = Outcome {
        seq: tag.seq,
        key,
        version: ChunkVersion::new(u32_at(fixed, 40)),
        len: u32_at(fixed, 44),
    };
    Ok(Entry::Dedup { slot: key.slot, tag, outcome })
}

const _: () = assert!(ENTRY_BYTES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests;
