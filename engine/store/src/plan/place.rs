//! Per block place: is its block kept, and which sectors are written to it and which are logged as
//! images; or does a fresh block take its content?

use alloc::vec::Vec;
use core::ops::Range;

use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{SECTOR_BYTES, reached};

use super::Facts;
use super::content::{Content, Source};
use super::output::{self, Output, Run, sectors};
use crate::address::{BlockAddress, BlockClass};
use crate::planted;

/// Most bytes of images that one update logs for one block. A quarter of a MiB is one segment of a
/// payload; above it the journal would carry what fresh blocks carry better.
pub const IMAGE_BYTES_MAX: u32 = 256 << 10;

/// What is at a block place in the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// No data.
    Empty,
    /// The base's block.
    Kept(BlockAddress),
    /// A block to be reserved.
    Fresh,
}

/// Everything that is decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    /// One per place.
    pub(super) places: Vec<Place>,
    /// What is written, by ascending sector.
    pub(super) outputs: Vec<Output>,
    /// Checksum blocks of the base whose bytes are needed, ascending.
    pub(super) fetches: Vec<u32>,
    /// Checksum blocks whose word is computed, ascending.
    pub(super) changed: Vec<u32>,
    /// Whether a kept block is written to.
    pub(super) in_place: bool,
}

/// Size of the blocks (S19): the smallest that holds the data at the first allocation; at the next
/// growth that of the whole chunk, so that an appended chunk is copied once.
pub(super) fn class(content: &Content<'_>) -> BlockClass {
    let data_end = content.data_end;
    let held = content.base.map(|base| base.head).filter(|head| 0 < head.data_end);
    match held.map(|head| head.class) {
        _ if data_end == 0 => BlockClass::MIN,
        None => BlockClass::holding(data_end).unwrap_or(BlockClass::MAX),
        Some(class) if class == BlockClass::MAX || data_end <= class.bytes() => class,
        Some(_) if planted!(GrowsByClasses) => BlockClass::holding(data_end).expect("it has grown"),
        Some(_) => {
            reached!("S19: the blocks of a chunk grow to the size of the chunk");
            let whole = content.size.bytes().min(BLOCK_BYTES_MAX);
            BlockClass::holding(whole).expect("at most the largest block")
        }
    }
}

/// Decides all places of the new version. `touched` are the bytes outside of which nothing differs
/// from the base.
pub(super) fn decide(
    content: Content<'_>,
    class: BlockClass,
    touched: &Range<u32>,
    facts: &Facts<'_>,
) -> Decisions {
    let mut found = Decisions::default();
    if !touched.is_empty() {
        let last = content.checksum_block(touched.end - 1);
        let blocks = content.checksum_block(touched.start)..=last;
        let data = blocks.filter(|&block| !content.is_hole(block));
        found.changed = data.filter(|&block| content.is_changed(block)).collect();
    }
    let mut planner = Planner { content, class, facts, found, runs: Vec::new() };
    // A chunk without data has one place, which is empty.
    for place in 0..content.data_end.div_ceil(BLOCK_BYTES_MAX).max(1) {
        let what = planner.place(place);
        planner.found.places.push(what);
    }
    planner.found
}

struct Planner<'a> {
    content: Content<'a>,
    class: BlockClass,
    facts: &'a Facts<'a>,
    found: Decisions,
    /// Sectors of the current place that are written.
    runs: Vec<Run>,
}

impl Planner<'_> {
    fn place(&mut self, place: u32) -> Place {
        let content = self.content;
        let held = content.base.map_or(BlockAddress::NONE, |base| base.block(place as usize));
        let changed = self.changed_of(place);
        if changed.is_empty() && (held.is_none() || self.is_emptied(place)) {
            return Place::Empty;
        }
        let same_class = content.base.is_some_and(|base| base.head.class == self.class);
        if held.is_none() || !same_class {
            self.copy(place);
            return Place::Fresh;
        }
        if changed.is_empty() {
            return Place::Kept(held);
        }
        if !self.write_in_place(place, changed.clone()) {
            reached!("E122: a block is copied because too much of it changes");
            self.copy(place);
            return Place::Fresh;
        }
        let changed = self.found.changed[changed].iter().copied();
        self.found.fetches.extend(changed.filter(|&block| content.needs_base(block, false)));
        self.found.in_place |= self.runs.iter().any(|run| !run.image);
        output::split(&content, &self.runs, &mut self.found.outputs);
        Place::Kept(held)
    }

    /// The changed checksum blocks of a place, as a range of `changed`.
    fn changed_of(&self, place: u32) -> Range<usize> {
        let Range { start, end } = self.content.of_place(place);
        let changed = &self.found.changed;
        changed.partition_point(|&block| block < start)
            ..changed.partition_point(|&block| block < end)
    }

    /// Whether a place with a block in the base has no data in the new version (E102).
    fn is_emptied(&self, place: u32) -> bool {
        let Content { zeroed, .. } = self.content;
        let start = place * BLOCK_BYTES_MAX;
        let touched = zeroed.start < start + BLOCK_BYTES_MAX && start < zeroed.end;
        let mut blocks = self.content.of_place(place);
        blocks.is_empty() || (touched && blocks.all(|block| self.content.is_hole(block)))
    }

    /// Everything valid of a place is written to a fresh block.
    fn copy(&mut self, place: u32) {
        let content = self.content;
        self.runs.clear();
        for block in content.of_place(place).filter(|&block| !content.is_hole(block)) {
            output::push(&mut self.runs, sectors(&content.valid(block)), false);
            if content.needs_base(block, true) {
                self.found.fetches.push(block);
            }
        }
        output::split(&content, &self.runs, &mut self.found.outputs);
    }

    /// Finds how the sectors that differ from the base are written while its block is kept; whether
    /// that is worth it.
    fn write_in_place(&mut self, place: u32, changed: Range<usize>) -> bool {
        let content = self.content;
        self.runs.clear();
        for &block in &self.found.changed[changed] {
            for segment in content.segments(content.valid(block)) {
                if segment.source == Source::Base {
                    continue;
                }
                for sector in sectors(&segment.range) {
                    let image = !self.may_write(sector);
                    output::push(&mut self.runs, sector..sector + 1, image);
                }
            }
        }
        let images = self.runs.iter().filter(|run| run.image);
        let bytes: u32 = images.map(|run| run.sectors.end - run.sectors.start).sum();
        let bytes = bytes * SECTOR_BYTES;
        bytes == 0 || (bytes <= IMAGE_BYTES_MAX && 2 * bytes < self.valid_bytes(place))
    }

    /// Bytes that a copy of the place would write.
    fn valid_bytes(&self, place: u32) -> u32 {
        let data = self.content.of_place(place).filter(|&block| !self.content.is_hole(block));
        data.map(|block| self.content.valid(block)).map(|valid| valid.end - valid.start).sum()
    }

    /// E122: whether a sector of a kept block may be written to now.
    fn may_write(&self, sector: u32) -> bool {
        let block = self.content.checksum_block(sector * SECTOR_BYTES);
        let in_hole = || self.content.base.is_some_and(|base| base.is_hole(block));
        let named_end = self.facts.named_end;
        let partial = if planted!(PartialSectorInPlace) { named_end % SECTOR_BYTES } else { 0 };
        let unnamed = named_end - partial <= sector * SECTOR_BYTES
            || (self.facts.holes_in_place && in_hole());
        unnamed && !(self.facts.live_image)(super::short(sector))
    }
}
