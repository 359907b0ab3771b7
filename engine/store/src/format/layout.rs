//! Where the regions of a store lie.
//!
//! Sizes that nobody asked for follow from the store's. Where metadata would take more than a
//! quarter of it or leave no room for two segments, they are halved together until it does not, or
//! until they are at their minimum:
//!
//! ```text
//! store     ring      index     channels   half      metadata
//! 145 MiB     2 MiB     1 MiB     4,096      7 MiB   17 MiB   the smallest
//! 256 MiB     8 MiB     8 MiB    32,768     17 MiB   43 MiB
//!   1 GiB    32 MiB    32 MiB   131,072     51 MiB  135 MiB
//!   2 GiB    64 MiB    64 MiB   262,144     97 MiB  259 MiB   nothing shrinks from here on
//!   1 TiB   512 MiB     1 GiB   262,144    1.3 GiB  3.0 GiB
//!  14 TiB   7.0 GiB   4.0 GiB   262,144    5.0 GiB   17 GiB
//! ```

use engine_types::SECTOR_BYTES;

use crate::address::{BlockAddress, SEGMENT_BYTES, SegmentId};
use crate::format::checkpoint::{PAGE_BYTES, half_bytes};
use crate::format::limits::{
    DEDUP_CHANNELS_DEFAULT, DEDUP_CHANNELS_MAX, DEDUP_CHANNELS_MIN, GROUP_BYTES_MAX,
    INDEX_BYTES_MAX, INDEX_BYTES_MIN, INDEX_DEFAULT_MAX, INDEX_DEFAULT_MIN, INDEX_PART,
    JOURNAL_BYTES_MAX, JOURNAL_BYTES_MIN, JOURNAL_DEFAULT_MAX, JOURNAL_DEFAULT_MIN, JOURNAL_PART,
    METADATA_PART, MIB, PENDINGS_MAX, RESERVED_BYTES, SECTOR, SEGMENTS_MAX, SEGMENTS_MIN,
};

const SEGMENT: u64 = SEGMENT_BYTES as u64;

/// What a store is to be like; `None` leaves a size to the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatOptions {
    /// Bytes of the device, slice or file.
    pub size: u64,
    /// Bytes of the ring: a multiple of 4 KiB.
    pub journal_bytes: Option<u64>,
    /// Memory budget of records.
    pub index_bytes: Option<u64>,
    /// Channels whose newest request is remembered (R14).
    pub dedup_channels: Option<u32>,
}

/// Bytes of a store that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first, from the start of the store.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the store.
    pub size: u64,
    /// The journal.
    pub ring: Extent,
    /// The two places of checkpoints.
    pub halves: [Extent; 2],
    /// Start of the first segment.
    pub data_offset: u64,
    /// Segments.
    pub segment_count: u32,
    /// Memory budget of records.
    pub index_bytes_max: u64,
    /// Channels whose newest request is remembered.
    pub dedup_channels: u32,
}

/// Why there is no such layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No room for two segments.
    #[error("a store of {size} bytes is too small: with these sizes {needed} are needed")]
    TooSmall {
        /// As asked.
        size: u64,
        /// Metadata and two segments.
        needed: u64,
    },
    /// Block addresses do not reach its end.
    #[error("a store of {size} bytes is too large: slice the device, at most {max} bytes each")]
    TooLarge {
        /// As asked.
        size: u64,
        /// The largest with these sizes.
        max: u64,
    },
    /// A number outside its limits.
    #[error("{field} is {found}, expected {min} to {max}")]
    OutOfRange {
        /// Which.
        field: &'static str,
        /// As found.
        found: u64,
        /// The limit.
        min: u64,
        /// The limit.
        max: u64,
    },
    /// A number that is no multiple of its unit.
    #[error("{field} is {found}, expected a multiple of {unit}")]
    Unaligned {
        /// Which.
        field: &'static str,
        /// As found.
        found: u64,
        /// Its unit.
        unit: u64,
    },
    /// Two regions share bytes.
    #[error("{first} ends at {end}, {second} starts at {start}")]
    Overlap {
        /// The one that starts first.
        first: &'static str,
        /// Its end.
        end: u64,
        /// The other.
        second: &'static str,
        /// Its start.
        start: u64,
    },
}

impl FormatOptions {
    /// Everything by default.
    pub const fn new(size: u64) -> Self {
        Self { size, journal_bytes: None, index_bytes: None, dedup_channels: None }
    }
}

impl Extent {
    /// The byte behind the last.
    ///
    /// # Panics
    /// If that is beyond 2^64; extents of a checked layout are not.
    pub const fn end(&self) -> u64 {
        self.offset.checked_add(self.len).expect("E106: extents lie inside the store")
    }
}

/// The three sizes on which the place of everything depends.
#[derive(Clone, Copy)]
struct Sizes {
    ring: u64,
    index: u64,
    dedup: u32,
}

impl Sizes {
    /// As asked; where nothing was asked, the default halved `shift` times.
    fn choose(options: &FormatOptions, shift: u32) -> Self {
        let ring =
            (options.size / JOURNAL_PART).clamp(JOURNAL_DEFAULT_MIN, JOURNAL_DEFAULT_MAX) >> shift;
        let index =
            (options.size / INDEX_PART).clamp(INDEX_DEFAULT_MIN, INDEX_DEFAULT_MAX) >> shift;
        let ring = ring.max(JOURNAL_BYTES_MIN).next_multiple_of(SECTOR);
        let index = index.max(INDEX_BYTES_MIN).next_multiple_of(SECTOR);
        Self {
            ring: options.journal_bytes.unwrap_or(ring),
            index: options.index_bytes.unwrap_or(index),
            dedup: options
                .dedup_channels
                .unwrap_or((DEDUP_CHANNELS_DEFAULT >> shift).max(DEDUP_CHANNELS_MIN)),
        }
    }

    fn half(&self) -> u64 {
        half_bytes(self.index, self.dedup)
    }

    fn data_offset(&self) -> u64 {
        (RESERVED_BYTES + self.ring + 2 * self.half()).next_multiple_of(MIB)
    }

    /// The smallest store with these.
    fn needed(&self) -> u64 {
        self.data_offset() + u64::from(SEGMENTS_MIN) * SEGMENT
    }
}

impl Layout {
    /// The layout of a new store.
    ///
    /// # Errors
    /// When the size is too small or too large, or an option is outside its limits.
    pub fn plan(options: &FormatOptions) -> Result<Self, LayoutError> {
        let size = options.size;
        // After the last halving everything is at its minimum.
        let halvings = JOURNAL_DEFAULT_MAX.ilog2() - JOURNAL_BYTES_MIN.ilog2();
        let mut sizes = Sizes::choose(options, 0);
        check_sizes(sizes.ring, sizes.index, sizes.dedup)?;
        for shift in 1..=halvings {
            if sizes.data_offset() <= size / METADATA_PART && sizes.needed() <= size {
                break;
            }
            sizes = Sizes::choose(options, shift);
        }
        let data_offset = sizes.data_offset();
        let needed = sizes.needed();
        if size < needed {
            return Err(LayoutError::TooSmall { size, needed });
        }
        let segments = (size - data_offset) / SEGMENT;
        let Some(segment_count) = u32::try_from(segments).ok().filter(|&n| n <= SEGMENTS_MAX)
        else {
            let max = data_offset + u64::from(SEGMENTS_MAX) * SEGMENT;
            return Err(LayoutError::TooLarge { size, max });
        };
        let ring = Extent { offset: RESERVED_BYTES, len: sizes.ring };
        let half = sizes.half();
        let start = ring.end().next_multiple_of(MIB);
        let layout = Self {
            size,
            ring,
            halves: [start, start + half].map(|offset| Extent { offset, len: half }),
            data_offset,
            segment_count,
            index_bytes_max: sizes.index,
            dedup_channels: sizes.dedup,
        };
        let checked = layout.check();
        assert!(checked.is_ok(), "E106: a planned layout is a good one: {checked:?}");
        Ok(layout)
    }

    /// Whether everything lies inside the store and apart from the rest, and is as large as the
    /// limits ask (E106).
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), LayoutError> {
        check_sizes(self.ring.len, self.index_bytes_max, self.dedup_channels)?;
        let segments = u64::from(self.segment_count);
        in_range("segment count", segments, SEGMENTS_MIN.into(), SEGMENTS_MAX.into())?;
        aligned("start of the ring", self.ring.offset, SECTOR)?;
        aligned("start of the data", self.data_offset, MIB)?;
        let half_min = half_bytes(self.index_bytes_max, self.dedup_channels);
        for half in self.halves {
            aligned("start of a checkpoint half", half.offset, MIB)?;
            aligned("length of a checkpoint half", half.len, PAGE_BYTES as u64)?;
            in_range("length of a checkpoint half", half.len, half_min, self.size)?;
        }
        self.check_apart()
    }

    fn check_apart(&self) -> Result<(), LayoutError> {
        let data = Extent { offset: self.data_offset, len: self.data_bytes() };
        let mut regions = [
            ("the reserved start", Extent { offset: 0, len: RESERVED_BYTES }),
            ("the ring", self.ring),
            ("checkpoint half A", self.halves[0]),
            ("checkpoint half B", self.halves[1]),
            ("the data area", data),
        ];
        regions.sort_unstable_by_key(|(_, extent)| extent.offset);
        let mut last = ("the reserved start", 0);
        for (second, extent) in regions {
            let (first, end) = last;
            if extent.offset < end {
                return Err(LayoutError::Overlap { first, end, second, start: extent.offset });
            }
            let end = extent.offset.saturating_add(extent.len);
            if self.size < end {
                return Err(LayoutError::TooSmall { size: self.size, needed: end });
            }
            last = (second, end);
        }
        Ok(())
    }

    /// Most requests in a checkpoint: those that were under way when the table of channels became
    /// full are remembered beyond its limit (E109).
    pub const fn requests_max(&self) -> u32 {
        self.dedup_channels.saturating_add(PENDINGS_MAX)
    }

    /// Bytes of the data area.
    pub const fn data_bytes(&self) -> u64 {
        self.segment_count as u64 * SEGMENT
    }

    /// Byte of the store at which a block starts.
    ///
    /// # Panics
    /// If it lies behind the data area, or is no block: nothing is written outside (E106).
    pub const fn block_offset(&self, block: BlockAddress) -> u64 {
        assert!(block.start() < self.data_bytes(), "E106: the block is inside the data area");
        self.data_offset + block.start()
    }

    /// Byte of the store at which a segment starts.
    ///
    /// # Panics
    /// If there is no such segment.
    pub const fn segment_offset(&self, segment: SegmentId) -> u64 {
        assert!(segment.get() < self.segment_count, "E106: the segment is inside the data area");
        self.data_offset + segment.start()
    }

    /// Bytes of the largest group: half of a small ring, so that an empty one has room for it
    /// wherever the last group ended.
    pub fn group_bytes_max(&self) -> usize {
        let most = self.ring.len / 2 / SECTOR * SECTOR;
        usize::try_from(most).map_or(GROUP_BYTES_MAX, |most| most.min(GROUP_BYTES_MAX))
    }
}

fn check_sizes(ring: u64, index: u64, dedup: u32) -> Result<(), LayoutError> {
    in_range("journal size", ring, JOURNAL_BYTES_MIN, JOURNAL_BYTES_MAX)?;
    aligned("journal size", ring, SECTOR_BYTES.into())?;
    in_range("index size", index, INDEX_BYTES_MIN, INDEX_BYTES_MAX)?;
    let (min, max) = (DEDUP_CHANNELS_MIN.into(), DEDUP_CHANNELS_MAX.into());
    in_range("number of channels", dedup.into(), min, max)
}

pub(super) fn in_range(
    field: &'static str,
    found: u64,
    min: u64,
    max: u64,
) -> Result<(), LayoutError> {
    if min <= found && found <= max {
        return Ok(());
    }
    Err(LayoutError::OutOfRange { field, found, min, max })
}

pub(super) fn aligned(field: &'static str, found: u64, unit: u64) -> Result<(), LayoutError> {
    if found.is_multiple_of(unit) {
        Ok(())
    } else {
        Err(LayoutError::Unaligned { field, found, unit })
    }
}

#[cfg(test)]
mod tests;
