//! What each byte of a new version is made of: bytes of the base version, zeros, or payload.

use core::ops::Range;

use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChunkSize, SECTOR_BYTES};

use crate::record::{HOLE, RecordRef};

/// A piece of payload, at its place in the chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// First byte.
    pub(super) start: u32,
    /// Behind the last byte.
    pub(super) end: u32,
    /// Pieces of the extents before it, when each is cut at the checksum blocks.
    pub(super) piece: usize,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The same bytes of the base version.
    Base,
    /// Nowhere: they are zeros.
    Zero,
    /// This extent of the payload.
    Payload(usize),
}

/// Neighbouring bytes of one source, inside one checksum block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) range: Range<u32>,
    pub(super) source: Source,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    /// Whose bytes are kept where nothing else is said; nothing for a replacement.
    pub(super) base: Option<RecordRef<'a>>,
    /// Size of the chunk when full.
    pub(super) size: ChunkSize,
    /// End of the data of the new version.
    pub(super) data_end: u32,
    /// The payload, ascending, without overlap.
    pub(super) extents: &'a [Extent],
    /// Bytes that become zeros, or an empty range; they end before `data_end`.
    pub(super) zeroed: &'a Range<u32>,
}

impl Content<'_> {
    /// The checksum block that holds a byte.
    pub(super) fn checksum_block(&self, byte: u32) -> u32 {
        byte >> self.size.checksum_block_shift()
    }

    /// First byte of a checksum block.
    pub(super) fn start(&self, block: u32) -> u32 {
        block << self.size.checksum_block_shift()
    }

    /// Checksum blocks up to the end of the data.
    pub(super) fn count(&self) -> u32 {
        self.data_end.div_ceil(self.size.checksum_block_bytes())
    }

    /// Checksum blocks of a block place.
    pub(super) fn of_place(&self, place: u32) -> Range<u32> {
        let per_place = BLOCK_BYTES_MAX >> self.size.checksum_block_shift();
        place * per_place..self.count().min((place + 1) * per_place)
    }

    /// Valid bytes of a checksum block, unless it is a hole.
    pub(super) fn valid(&self, block: u32) -> Range<u32> {
        self.start(block)..self.data_end.min(self.start(block + 1))
    }

    /// Valid bytes of a checksum block of the base; none when it is a hole.
    pub(super) fn base_valid(&self, block: u32) -> Range<u32> {
        let start = self.start(block);
        let base = self.base.as_ref().filter(|base| !base.is_hole(block));
        start..start + base.map_or(0, |base| base.head.valid_bytes(block))
    }

    /// Whether a checksum block is a hole in the new version.
    pub(super) fn is_hole(&self, block: u32) -> bool {
        let Range { start, end } = self.valid(block);
        if end <= start {
            return true;
        }
        let next = self.extents.partition_point(|extent| extent.end <= start);
        let written = self.extents.get(next).is_some_and(|extent| extent.start < end);
        let emptied = self.zeroed.start <= start && end <= self.zeroed.end;
        !written && (emptied || self.base_valid(block).is_empty())
    }

    /// The longest segment that starts at a byte of a checksum block that is no hole. What lies
    /// behind the valid bytes is zeros, so that a whole sector can be asked for (S13).
    fn segment(&self, at: u32) -> Segment {
        let block = self.checksum_block(at);
        let valid_end = self.valid(block).end;
        if valid_end <= at {
            return Segment { range: at..self.start(block + 1), source: Source::Zero };
        }
        let mut until = valid_end;
        let next = self.extents.partition_point(|extent| extent.end <= at);
        if let Some(extent) = self.extents.get(next) {
            if extent.start <= at {
                let range = at..extent.end.min(until);
                return Segment { range, source: Source::Payload(next) };
            }
            until = until.min(extent.start);
        }
        if self.zeroed.contains(&at) {
            return Segment { range: at..until.min(self.zeroed.end), source: Source::Zero };
        }
        if at < self.zeroed.start {
            until = until.min(self.zeroed.start);
        }
        let base_end = self.base_valid(block).end;
        if at < base_end {
            return Segment { range: at..until.min(base_end), source: Source::Base };
        }
        Segment { range: at..until, source: Source::Zero }
    }

    /// The segments of a range, in order.
    pub(super) fn segments(self, range: Range<u32>) -> impl Iterator<Item = Segment> {
        let mut at = range.start;
        core::iter::from_fn(move || {
            if range.end <= at {
                return None;
            }
            let mut segment = self.segment(at);
            segment.range.end = segment.range.end.min(range.end);
            at = segment.range.end;
            Some(segment)
        })
    }

    /// Whether a checksum block that is no hole differs from the base's, by its bytes or by where
    /// its valid bytes end.
    pub(super) fn is_changed(&self, block: u32) -> bool {
        let valid = self.valid(block);
        let kept = Segment { range: valid.clone(), source: Source::Base };
        self.base_valid(block) != valid || self.segments(valid).next() != Some(kept)
    }

    /// Whether bytes of the base are needed to write a checksum block and to know its checksum.
    /// `copied` says that all its sectors are written.
    pub(super) fn needs_base(&self, block: u32, copied: bool) -> bool {
        self.segments(self.valid(block)).filter(|segment| segment.source == Source::Base).any(
            |segment| copied || !self.is_continued(block, &segment) || is_inside_sector(&segment),
        )
    }

    /// Whether the checksum of a checksum block is continued behind `segment`, its first one, from
    /// a checksum that is known: it is all that the base has of it.
    pub(super) fn is_continued(&self, block: u32, segment: &Segment) -> bool {
        segment.source == Source::Base
            && segment.range == self.base_valid(block)
            && self.known(block).is_some()
    }

    /// The base's word of a checksum block, where it can be taken back to the plain checksum.
    pub(super) fn known(&self, block: u32) -> Option<u32> {
        let word = self.base?.checksums().get(block as usize).copied();
        word.filter(|&word| word != HOLE && word != AMBIGUOUS)
    }
}

/// The word that stands for two checksums (`record::checksum_word`): it can be compared with, but
/// not taken back to the plain checksum.
pub(super) const AMBIGUOUS: u32 = 1;

/// Whether a segment of the base ends inside a sector, which is then written with other bytes.
fn is_inside_sector(segment: &Segment) -> bool {
    !segment.range.end.is_multiple_of(SECTOR_BYTES)
}
