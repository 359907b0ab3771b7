//! How written sectors leave: as images, as copies, or straight from the caller's memory.

use alloc::vec::Vec;
use core::ops::Range;

use engine_types::SECTOR_BYTES;

use super::content::Content;

/// Payload of at most this many sectors is copied beside its neighbours instead of being written on
/// its own: copying 64 KiB takes about as long as the submission of one more write.
pub(super) const COPY_SECTORS_MAX: u32 = 16;

/// Neighbouring sectors of one block place that are written in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) sectors: Range<u32>,
    /// Logged, instead of written to the block.
    pub(super) image: bool,
}

/// One thing to do. Sectors are counted from the start of the chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Each of the sectors is logged.
    Images(Range<u32>),
    /// A buffer is filled and written to the block.
    Copy(Range<u32>),
    /// Bytes of the extent are written to the block.
    Payload(Range<u32>, usize),
}

/// The sectors that hold a range of bytes.
pub(super) fn sectors(bytes: &Range<u32>) -> Range<u32> {
    bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES)
}

/// Adds sectors behind the last run, or to it. Sectors that are in it already are not added again.
pub(super) fn push(runs: &mut Vec<Run>, sectors: Range<u32>, image: bool) {
    let behind = runs.last().map_or(0, |run| run.sectors.end);
    let sectors = sectors.start.max(behind)..sectors.end;
    if sectors.is_empty() {
        return;
    }
    match runs.last_mut() {
        Some(run) if run.image == image && run.sectors.end == sectors.start => {
            run.sectors.end = sectors.end;
        }
        _ => runs.push(Run { sectors, image }),
    }
}

/// Turns the runs of one place into outputs.
pub(super) fn split(content: &Content<'_>, runs: &[Run], out: &mut Vec<Output>) {
    for Run { sectors, image } in runs {
        if *image {
            out.push(Output::Images(sectors.clone()));
        } else {
            split_direct(content, sectors.clone(), out);
        }
    }
}

/// Finds the maximal runs of whole sectors that come from one extent. They can be written from the
/// caller's memory when sectors of the chunk are sectors of that memory.
fn split_direct(content: &Content<'_>, run: Range<u32>, out: &mut Vec<Output>) {
    let mut group = Group::default();
    let mut at = run.start;
    let first = content.extents.partition_point(|extent| extent.end / SECTOR_BYTES <= run.start);
    for (index, extent) in content.extents.iter().enumerate().skip(first) {
        if run.end * SECTOR_BYTES <= extent.start {
            break;
        }
        let start = (extent.start / SECTOR_BYTES).max(run.start);
        let end = (extent.end / SECTOR_BYTES).min(run.end);
        if end <= start || !extent.start.is_multiple_of(SECTOR_BYTES) {
            continue;
        }
        group.add(at..start, None, out);
        group.add(start..end, Some(index), out);
        at = end;
    }
    group.add(at..run.end, None, out);
    group.end(out);
}

/// Neighbours that are copied together, unless it is a single piece of one extent.
#[derive(Default)]
struct Group {
    sectors: Range<u32>,
    extent: Option<usize>,
}

impl Group {
    fn add(&mut self, sectors: Range<u32>, extent: Option<usize>, out: &mut Vec<Output>) {
        if sectors.is_empty() {
            return;
        }
        if let Some(extent) = extent.filter(|_| COPY_SECTORS_MAX < sectors.end - sectors.start) {
            self.end(out);
            out.push(Output::Payload(sectors, extent));
        } else if self.sectors.is_empty() {
            *self = Self { sectors, extent };
        } else {
            *self = Self { sectors: self.sectors.start..sectors.end, extent: None };
        }
    }

    fn end(&mut self, out: &mut Vec<Output>) {
        let Self { sectors, extent } = core::mem::take(self);
        if sectors.is_empty() {
            return;
        }
        out.push(match extent {
            Some(extent) => Output::Payload(sectors, extent),
            None => Output::Copy(sectors),
        });
    }
}
