//! From a change to the extent of the new version: its length, where its data ends, what is
//! touched.

use alloc::vec::Vec;
use core::ops::Range;

use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::reached;

use super::content::Extent;
use crate::planted;
use crate::record::RecordRef;
use crate::request::{Change, Update, UpdateError};

/// The new version, seen from afar.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    /// Bytes of the chunk.
    pub(super) len: u32,
    /// End of its data.
    pub(super) data_end: u32,
    /// Bytes below `data_end` that become zeros.
    pub(super) zeroed: Range<u32>,
    /// Bytes outside of which nothing differs from the base.
    pub(super) touched: Range<u32>,
    /// The payload.
    pub(super) extents: Vec<Extent>,
}

/// Checks the ranges of an update and finds what it makes of the base. `Remove` makes nothing.
///
/// # Errors
/// `OutOfRange` for the first range that is empty, too long or at a wrong place.
pub(super) fn outline(
    base: Option<RecordRef<'_>>,
    update: &Update,
    extents: &[(u32, u32)],
) -> Result<Outline, UpdateError> {
    let (base_len, base_end) = base.map_or((0, 0), |base| (base.head.len, base.head.data_end));
    let kept = |len, data_end: u32, zeroed: Range<u32>| {
        // A cut touches the checksum block that becomes the last one.
        let cut = data_end.saturating_sub(1)..data_end;
        let touched = if data_end < base_end { cut } else { zeroed.clone() };
        Outline { len, data_end, zeroed, touched, extents: Vec::new() }
    };
    if !matches!(update.change, Change::Write { .. } | Change::Replace { .. }) {
        // No other change has data.
        extents.first().map_or(Ok(()), |&(offset, len)| Err(out_of_range(update, offset, len)))?;
    }
    match update.change {
        Change::Write { offset, len } => {
            let range = checked(update, offset, len, PAYLOAD_BYTES_MAX)?;
            let extents = placed(update, extents)?;
            is_contiguous(&extents, &range)
                .then_some(())
                .ok_or_else(|| out_of_range(update, offset, len))?;
            Ok(Outline {
                len: base_len.max(range.end),
                data_end: base_end.max(range.end),
                zeroed: 0..0,
                // The old end is completed with zeros when it becomes an inner one (S13).
                touched: if planted!(GapNotZeroed) { offset } else { base_end.min(offset) }
                    ..range.end,
                extents,
            })
        }
        Change::Truncate { len } => {
            checked_len(update, len)?;
            let data_end = base.map_or(0, |base| cut(base, len));
            Ok(kept(len, data_end, 0..0))
        }
        Change::Extend { len } => {
            checked_len(update, len)?;
            Ok(kept(base_len.max(len), base_end, 0..0))
        }
        Change::Zero { offset, len } => {
            let range = checked(update, offset, len, update.size.bytes())?;
            if range.end < base_end {
                return Ok(kept(base_len, base_end, range));
            }
            // Zeros up to the end of the data need no home: the data ends before them.
            reached!("E121: zeroed up to the end of the data");
            let data_end = base.map_or(0, |base| cut(base, offset));
            Ok(kept(base_len, data_end, 0..0))
        }
        Change::Replace { len } => {
            checked_len(update, len)?;
            let extents = placed(update, extents)?;
            let unaligned = |extent: &&Extent| {
                !extent.start.is_multiple_of(update.size.checksum_block_bytes()) || len < extent.end
            };
            if let Some(extent) = extents.iter().find(unaligned) {
                return Err(out_of_range(update, extent.start, extent.end - extent.start));
            }
            let data_end = extents.last().map_or(0, |extent| extent.end);
            Ok(Outline { len, data_end, zeroed: 0..0, touched: 0..data_end, extents })
        }
        Change::Remove => Ok(kept(0, 0, 0..0)),
    }
}

/// Where data ends when everything from `at` on is zeros: there, or at the end of the last
/// checksum block before it that is no hole (E101).
fn cut(base: RecordRef<'_>, at: u32) -> u32 {
    if base.head.data_end <= at {
        return base.head.data_end;
    }
    let bytes = base.head.size.checksum_block_bytes();
    let last = (0..at.div_ceil(bytes)).rev().find(|&block| !base.is_hole(block));
    last.map_or(0, |last| at.min((last + 1) * bytes))
}

/// The extents with their pieces counted, when they ascend inside the chunk and none is empty.
fn placed(update: &Update, extents: &[(u32, u32)]) -> Result<Vec<Extent>, UpdateError> {
    let shift = update.size.checksum_block_shift();
    let mut placed: Vec<Extent> = Vec::with_capacity(extents.len());
    let mut piece = 0;
    for &(offset, len) in extents {
        let Range { start, end } = checked(update, offset, len, update.size.bytes())?;
        if placed.last().is_some_and(|last| start < last.end) {
            return Err(out_of_range(update, offset, len));
        }
        placed.push(Extent { start, end, piece });
        piece += (((end - 1) >> shift) - (start >> shift) + 1) as usize;
    }
    Ok(placed)
}

fn is_contiguous(extents: &[Extent], range: &Range<u32>) -> bool {
    let end = extents.iter().try_fold(range.start, |end, extent| {
        if extent.start == end { Some(extent.end) } else { None }
    });
    end == Some(range.end)
}

fn checked(update: &Update, offset: u32, len: u32, max: u32) -> Result<Range<u32>, UpdateError> {
    match offset.checked_add(len) {
        Some(end) if 0 < len && len <= max && end <= update.size.bytes() => Ok(offset..end),
        _ => Err(out_of_range(update, offset, len)),
    }
}

fn checked_len(update: &Update, len: u32) -> Result<(), UpdateError> {
    if len <= update.size.bytes() { Ok(()) } else { Err(out_of_range(update, 0, len)) }
}

fn out_of_range(update: &Update, offset: u32, len: u32) -> UpdateError {
    UpdateError::OutOfRange { key: update.key, offset, len, size: update.size }
}
