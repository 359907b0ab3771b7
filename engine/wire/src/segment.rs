//! Segments of a payload: pieces of at most 256 KiB with the checksums of what they carry (R3).
//!
//! ```text
//!  0        4        8         16       20      24      25      26     28    32       32 + 4 n
//!  | marker | length | request | offset | phase | flags | shift | zero | CRC | table … | data
//! ```
//!
//! The table holds one CRC32C per checksum block that the data touches. Blocks are `1 << shift`
//! bytes and aligned to the chunk, not to the segment: `phase` is the offset of the first byte
//! within its block. So the checksums a client computed are stored as they are (W5). The segment's
//! CRC covers bytes 0 to 28 and the table. Flags: 1 = FINAL, 2 = ABORTED.
//!
//! A segment names its request, because segments of different requests interleave: one payload may
//! trickle while others pass. `offset` is its place in the payload.

use engine_types::limits::{SEGMENT_BYTES_MAX, SEGMENT_CRC_COUNT_MAX};
use engine_types::{Crc32c, RequestId, crc32c};

use crate::error::{Part, WireError};
use crate::header::{at_most, le_u16, le_u32, le_u64, not_zero};

/// Bytes of a segment header without its table.
pub const SEGMENT_HEADER_BYTES: usize = 32;
/// "EMBS" in memory order: tells a segment from a frame.
pub const SEGMENT_MARKER: u32 = u32::from_le_bytes(*b"EMBS");
/// Bytes of the longest segment header with its table.
pub const SEGMENT_HEAD_BYTES_MAX: usize = SEGMENT_HEADER_BYTES + SEGMENT_CRC_COUNT_MAX * 4;
/// Smallest checksum blocks: 4 KiB.
pub const BLOCK_SHIFT_MIN: u8 = 12;
/// Largest checksum blocks: 64 KiB.
pub const BLOCK_SHIFT_MAX: u8 = 16;

/// Where the segment's own CRC stands; it covers what is before it, and the table behind it.
const CRC_AT: usize = 28;

/// What follows a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ending {
    /// More segments.
    More = 0,
    /// Nothing: the payload is complete.
    Final = 1,
    /// Nothing: the sender has given the payload up.
    Aborted = 2,
}

/// The header of a segment, decoded; its CRC table is kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The frame it belongs to.
    pub request: RequestId,
    /// Its place in the payload; for a segment without data, the bytes before it.
    pub offset: u32,
    /// Bytes of data.
    pub length: u32,
    /// What follows.
    pub ending: Ending,
    /// Checksum blocks are `1 << block_shift` bytes; 0 if there is no data.
    pub block_shift: u8,
    /// Offset of the first byte within its checksum block; 0 if there is no data.
    pub phase: u32,
}

impl SegmentHeader {
    /// A segment without data that ends the payload of `request` after `offset` bytes.
    pub const fn terminator(request: RequestId, offset: u32, ending: Ending) -> Self {
        Self { request, offset, length: 0, ending, block_shift: 0, phase: 0 }
    }

    /// Entries of its CRC table.
    pub const fn crc_count(&self) -> usize {
        if self.length == 0 {
            return 0;
        }
        (self.phase + self.length).div_ceil(1 << self.block_shift) as usize
    }

    /// Bytes of the header with its table.
    pub const fn head_bytes(&self) -> usize {
        SEGMENT_HEADER_BYTES + self.crc_count() * 4
    }

    /// Writes the header and the table `crcs` to the front of `out`; returns the bytes written.
    ///
    /// # Panics
    /// If the header breaks a rule, the table does not fit the data, or `out` is shorter than
    /// `head_bytes`.
    pub fn encode(&self, crcs: &[u32], out: &mut [u8]) -> usize {
        if let Err(error) = self.check() {
            panic!("E7: a segment breaks its own rules: {error}");
        }
        assert_eq!(crcs.len(), self.crc_count(), "E7: one CRC per checksum block");
        let out = &mut out[..self.head_bytes()];
        out[0..4].copy_from_slice(&SEGMENT_MARKER.to_le_bytes());
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.request.to_u64().to_le_bytes());
        out[16..20].copy_from_slice(&self.offset.to_le_bytes());
        out[20..24].copy_from_slice(&self.phase.to_le_bytes());
        out[24] = self.ending as u8;
        out[25] = self.block_shift;
        out[26..28].fill(0);
        let (head, table) = out.split_at_mut(SEGMENT_HEADER_BYTES);
        for (slot, crc) in table.as_chunks_mut::<4>().0.iter_mut().zip(crcs) {
            *slot = crc.to_le_bytes();
        }
        let crc = head_crc(head, table);
        head[CRC_AT..].copy_from_slice(&crc.get().to_le_bytes());
        out.len()
    }

    /// Reads the fixed part. Its fields are bounded, but not to be believed before `verify`.
    pub(crate) fn parse(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, WireError> {
        not_zero("reserved bytes 26 to 27 of a segment", le_u16(bytes, 26).into())?;
        let header = Self {
            request: RequestId::from_u64(le_u64(bytes, 8)),
            offset: le_u32(bytes, 16),
            length: le_u32(bytes, 4),
            ending: match bytes[24] {
                0 => Ending::More,
                1 => Ending::Final,
                2 => Ending::Aborted,
                found => return Err(WireError::SegmentFlags { found }),
            },
            block_shift: bytes[25],
            phase: le_u32(bytes, 20),
        };
        header.check()?;
        Ok(header)
    }

    /// Checks the segment's CRC over the fixed part and the table.
    pub(crate) fn verify(head: &[u8; SEGMENT_HEADER_BYTES], table: &[u8]) -> Result<(), WireError> {
        let (found, expected) = (head_crc(head, table), Crc32c::new(le_u32(head, CRC_AT)));
        if found == expected { Ok(()) } else { Err(WireError::SegmentChecksum { found, expected }) }
    }

    /// What the header alone can show. Afterwards `crc_count` is at most `SEGMENT_CRC_COUNT_MAX`.
    fn check(&self) -> Result<(), WireError> {
        at_most(Part::Segment, self.length, SEGMENT_BYTES_MAX)?;
        let (min, max) = if self.length == 0 { (0, 0) } else { (BLOCK_SHIFT_MIN, BLOCK_SHIFT_MAX) };
        let found = self.block_shift;
        if found < min || max < found {
            return Err(WireError::BlockShift { found, min, max });
        }
        let limit = (1 << self.block_shift) - 1;
        if limit < self.phase {
            return Err(WireError::Phase { found: self.phase, limit });
        }
        assert!(self.crc_count() <= SEGMENT_CRC_COUNT_MAX, "E3: the table fits its array");
        Ok(())
    }
}

/// The two parts lie side by side on the wire, with the CRC itself between them.
fn head_crc(head: &[u8], table: &[u8]) -> Crc32c {
    let mut covered = [0; SEGMENT_HEAD_BYTES_MAX];
    let end = CRC_AT + table.len();
    covered[..CRC_AT].copy_from_slice(&head[..CRC_AT]);
    covered[CRC_AT..end].copy_from_slice(table);
    crc32c(&covered[..end])
}

/// Calls `out` with the CRC32C of each checksum block (or part of one) that `data` touches, in
/// order. Blocks are `1 << shift` bytes; `data` begins `phase` bytes into the first.
///
/// # Panics
/// If `shift` or `phase` are not those of a segment.
pub fn checksum_blocks(data: &[u8], shift: u8, phase: u32, out: &mut impl FnMut(u32)) {
    assert!((BLOCK_SHIFT_MIN..=BLOCK_SHIFT_MAX).contains(&shift), "shift {shift}");
    assert!(phase < 1 << shift, "phase {phase} of blocks of 1 << {shift} bytes");
    let block = 1usize << shift;
    let first = block - phase as usize;
    let (head, rest) = data.split_at(first.min(data.len()));
    if !head.is_empty() {
        out(crc32c(head).get());
    }
    for block in rest.chunks(block) {
        out(crc32c(block).get());
    }
}

/// Whether a payload goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More segments follow.
    More,
    /// All declared bytes are there, and the sender says so.
    Complete,
    /// The sender has given it up.
    Aborted,
}

/// The rules that tie the segments of one payload together (E6). Whoever receives payloads keeps
/// one per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assembly {
    declared: u32,
    received: u32,
}

impl Assembly {
    /// Expects `payload_len` bytes, as the frame header declares.
    pub const fn new(payload_len: u32) -> Self {
        Self { declared: payload_len, received: 0 }
    }

    /// Bytes declared.
    pub const fn len(&self) -> u32 {
        self.declared
    }

    /// True if no bytes were declared.
    pub const fn is_empty(&self) -> bool {
        self.declared == 0
    }

    /// Bytes of the segments accepted so far: the place of the next one in the payload.
    pub const fn received(&self) -> u32 {
        self.received
    }

    /// Whether the next segment may be received: its place and length, before its data.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, segment: &SegmentHeader) -> Result<(), WireError> {
        // Who gives up does not say after how much: it may not know what was sent.
        let gives_up = segment.length == 0 && segment.ending == Ending::Aborted;
        if segment.offset != self.received && !gives_up {
            let (found, expected) = (segment.offset, self.received);
            return Err(WireError::SegmentOffset { found, expected });
        }
        if segment.length == 0 && segment.ending == Ending::More {
            return Err(WireError::EmptySegment { received: self.received });
        }
        let found = u64::from(self.received) + u64::from(segment.length);
        let expected = self.declared;
        if u64::from(expected) < found {
            return Err(WireError::PayloadOverrun { found, expected });
        }
        if segment.ending == Ending::Final && found < u64::from(expected) {
            let found = self.received + segment.length;
            return Err(WireError::PayloadShort { found, expected });
        }
        Ok(())
    }

    /// Takes the next segment of the payload.
    ///
    /// # Errors
    /// The rule that it breaks; the assembly is unchanged then.
    pub fn accept(&mut self, segment: &SegmentHeader) -> Result<Progress, WireError> {
        self.check(segment)?;
        self.received += segment.length;
        Ok(match segment.ending {
            Ending::More => Progress::More,
            Ending::Final => Progress::Complete,
            Ending::Aborted => Progress::Aborted,
        })
    }
}

const _: () = assert!(1 << BLOCK_SHIFT_MIN == engine_types::limits::CHECKSUM_BLOCK_BYTES_MIN);
const _: () = assert!(1 << BLOCK_SHIFT_MAX == engine_types::limits::CHECKSUM_BLOCK_BYTES_MAX);

#[cfg(test)]
mod tests;
