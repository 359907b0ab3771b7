//! Reads: which device ranges hold the bytes of a record, and what of them is verified.
//!
//! Invariants
//!   E126  the pieces of a range are in order, without overlap, and cover it up to the length of
//!         the chunk; a checksum block whose valid bytes are wanted as a whole is verified, and one
//!         that is wanted in part when the caller asks for it (then it is read as a whole)

use alloc::vec::Vec;
use core::ops::Range;

use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChunkId, SECTOR_BYTES};

use crate::address::{BLOCK_SECTORS_MAX, BlockAddress};
use crate::entry::SectorRange;
use crate::record::RecordRef;

/// Neighbouring bytes of a chunk that one device read brings, or that are zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the chunk that are wanted.
    pub wanted: Range<u32>,
    /// Where they are.
    pub source: Source,
}

/// Where the bytes of a piece are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// They are zeros.
    Hole,
    /// In a block, under the overlay's images.
    Home(Home),
}

/// Sectors of a block to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The block.
    pub block: BlockAddress,
    /// Sectors of the chunk to be read; they hold the wanted bytes and all that is verified.
    pub sectors: SectorRange,
    /// Checksum blocks whose valid bytes are in these sectors as a whole and must be verified.
    pub verify: Range<u32>,
}

impl Home {
    /// First byte in the block.
    pub const fn at(&self) -> u32 {
        self.sectors.first as u32 % BLOCK_SECTORS_MAX * SECTOR_BYTES
    }

    /// Bytes to read.
    pub const fn bytes(&self) -> u32 {
        self.sectors.count as u32 * SECTOR_BYTES
    }

    /// Where bytes of the chunk lie in what is read.
    ///
    /// # Panics
    /// When they are not read.
    pub fn within(&self, bytes: &Range<u32>) -> Range<usize> {
        let start = u32::from(self.sectors.first) * SECTOR_BYTES;
        let read = start..start + self.bytes();
        let inside = read.start <= bytes.start && bytes.end <= read.end;
        assert!(inside, "E126: bytes {bytes:?} are not among {read:?}, which are read");
        (bytes.start - start) as usize..(bytes.end - start) as usize
    }
}

/// Appends the pieces of a range to `out`. With `verify`, every checksum block that is touched is
/// read as a whole and verified.
pub fn pieces(record: RecordRef<'_>, range: Range<u32>, verify: bool, out: &mut Vec<Piece>) {
    let first = out.len();
    for Stretch { bytes, block } in stretches(record, range) {
        let last = out[first..].last_mut();
        match block {
            Some(block) => match last {
                Some(Piece { wanted, source: Source::Home(home) }) if joins(&bytes, home) => {
                    let more = home_of(&record, block, &bytes, verify);
                    assert_eq!(u32::from(more.sectors.first), home.sectors.end(), "E126: a gap");
                    home.sectors.count += more.sectors.count;
                    home.verify = join(&home.verify, &more.verify);
                    wanted.end = bytes.end;
                }
                _ => {
                    let source = Source::Home(home_of(&record, block, &bytes, verify));
                    out.push(Piece { wanted: bytes, source });
                }
            },
            None => match last {
                Some(Piece { wanted, source: Source::Hole }) => wanted.end = bytes.end,
                _ => out.push(Piece { wanted: bytes, source: Source::Hole }),
            },
        }
    }
}

/// Appends the pieces that bring the valid bytes of whole checksum blocks, ascending, none of them
/// a hole; all are verified. Plans fetch with it.
pub fn whole_blocks(record: RecordRef<'_>, blocks: &[u32], out: &mut Vec<Piece>) {
    for neighbours in blocks.chunk_by(|one, next| one + 1 == *next) {
        let (first, last) = (neighbours[0], neighbours[neighbours.len() - 1]);
        pieces(record, valid(&record, first).start..valid(&record, last).end, true, out);
    }
}

/// Valid bytes of a checksum block that is no hole, in the chunk.
pub fn valid(record: &RecordRef<'_>, block: u32) -> Range<u32> {
    let start = block << record.head.size.checksum_block_shift();
    start..start + record.head.valid_bytes(block)
}

/// Verifies the valid bytes of one checksum block (S14).
///
/// # Errors
/// The checksum block, when `bytes` are not what was written.
pub fn verify_piece(
    chunk: ChunkId,
    record: &RecordRef<'_>,
    block: u32,
    bytes: &[u8],
) -> Result<(), u32> {
    let whole = bytes.len() == record.head.valid_bytes(block) as usize;
    if whole && record.matches(chunk, block, bytes) { Ok(()) } else { Err(block) }
}

/// Neighbouring bytes that are all data or all hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of the chunk.
    pub range: Range<u32>,
    /// Whether they have a home; otherwise they are zeros.
    pub data: bool,
}

/// What of a range is data, in order, up to the length of the chunk; by checksum blocks. The space
/// that is taken is [`RecordRef::allocated_bytes`].
pub fn data_map(record: RecordRef<'_>, range: Range<u32>) -> Vec<Extent> {
    let mut map: Vec<Extent> = Vec::new();
    for Stretch { bytes, block } in stretches(record, range) {
        let data = block.is_some();
        match map.last_mut() {
            Some(last) if last.data == data => last.range.end = bytes.end,
            _ => map.push(Extent { range: bytes, data }),
        }
    }
    map
}

/// Bytes inside one checksum block: data of that block, or hole.
struct Stretch {
    bytes: Range<u32>,
    block: Option<u32>,
}

/// A range up to the length of the chunk, cut at checksum blocks and at the end of the data.
fn stretches(record: RecordRef<'_>, range: Range<u32>) -> impl Iterator<Item = Stretch> {
    let end = range.end.min(record.head.len);
    let mut at = range.start;
    core::iter::from_fn(move || {
        if end <= at {
            return None;
        }
        let block = at >> record.head.size.checksum_block_shift();
        let (until, block) = if record.head.data_end <= at {
            (end, None)
        } else if record.is_hole(block) {
            (valid(&record, block).end, None)
        } else {
            (valid(&record, block).end, Some(block))
        };
        let bytes = at..until.min(end);
        at = bytes.end;
        Some(Stretch { bytes, block })
    })
}

/// The sectors that bring `bytes` of a checksum block.
fn home_of(record: &RecordRef<'_>, block: u32, bytes: &Range<u32>, verify: bool) -> Home {
    let valid = valid(record, block);
    let verify = verify || *bytes == valid;
    let read = if verify { valid } else { bytes.clone() };
    let first = short(read.start / SECTOR_BYTES);
    let count = short(read.end.div_ceil(SECTOR_BYTES)) - first;
    let home = record.block((read.start / BLOCK_BYTES_MAX) as usize);
    assert!(home.is_some(), "E102: checksum block {block} has data but no block");
    let verify = if verify { block..block + 1 } else { 0..0 };
    Home { block: home, sectors: SectorRange { first, count }, verify }
}

/// Whether `bytes`, which follow what `home` brings, come from the same block.
fn joins(bytes: &Range<u32>, home: &Home) -> bool {
    bytes.start / BLOCK_BYTES_MAX == u32::from(home.sectors.first) / BLOCK_SECTORS_MAX
}

/// Joins neighbouring ranges of checksum blocks; either may be empty.
fn join(one: &Range<u32>, next: &Range<u32>) -> Range<u32> {
    match (one.is_empty(), next.is_empty()) {
        (true, _) => next.clone(),
        (false, true) => one.clone(),
        (false, false) => one.start..next.end,
    }
}

fn short(sector: u32) -> u16 {
    u16::try_from(sector).expect("a chunk has 16,384 sectors at most")
}

#[cfg(test)]
mod tests;
