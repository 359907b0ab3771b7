//! The segments of one class, by how full they are.
//!
//! Segments with room stand in 64 lists, one per 64th of fill: exact for blocks of 1 MiB and more,
//! within 1.6 % below. A list order would have to be kept at every free; a level changes rarely.

use crate::address::{BlockClass, SegmentId};

use super::table::{END, Place, Table};

/// Levels of fill.
pub(super) const LEVELS: u32 = u64::BITS;

/// What is known of a class.
#[derive(Default)]
pub(super) struct ClassState {
    pub(super) lists: Lists,
    /// Blocks are taken from it until it is full.
    pub(super) current: Option<SegmentId>,
    pub(super) counts: Counts,
}

/// Segments and blocks of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) segments: u32,
    /// Of those, frozen.
    pub(super) frozen: u32,
    /// Blocks that are not free.
    pub(super) taken: u64,
    pub(super) reserved: u64,
    pub(super) quarantined: u64,
    /// Free blocks of frozen segments, which nobody may take.
    pub(super) frozen_free: u64,
}

/// Segments with room, neither current nor frozen.
pub(super) struct Lists {
    heads: [u32; LEVELS as usize],
    /// A bit per level that has a segment.
    filled: u64,
}

impl Default for Lists {
    fn default() -> Self {
        Self { heads: [END; LEVELS as usize], filled: 0 }
    }
}

impl Counts {
    pub(super) fn live(&self) -> u64 {
        self.taken - self.reserved - self.quarantined
    }

    pub(super) fn free(&self, class: BlockClass) -> u64 {
        u64::from(self.segments) * u64::from(class.per_segment()) - self.taken
    }

    /// Free blocks that may be taken.
    pub(super) fn open_free(&self, class: BlockClass) -> u64 {
        self.free(class) - self.frozen_free
    }
}

impl ClassState {
    /// Puts a segment that is neither current nor frozen where its fill says.
    pub(super) fn settle(&mut self, table: &mut Table, segment: SegmentId) {
        let carved = table.carved(segment);
        let found = carved.place;
        let next = match carved.is_full() {
            true => Place::Full,
            false => Place::Listed(level(carved.class, carved.taken)),
        };
        if found == next {
            return;
        }
        self.unlist(table, segment);
        if let Place::Listed(level) = next {
            self.lists.push(table, segment, level);
        }
        table.carved_mut(segment).place = next;
    }

    /// Takes a segment out of its list, if it stands in one; the caller gives it a new place.
    pub(super) fn unlist(&mut self, table: &mut Table, segment: SegmentId) {
        if let Place::Listed(level) = table.carved(segment).place {
            self.lists.remove(table, segment, level);
        }
    }
}

impl Lists {
    /// A segment of the highest level.
    pub(super) fn fullest(&self) -> Option<SegmentId> {
        let level = self.filled.checked_ilog2()?;
        Some(SegmentId::new(self.heads[level as usize]))
    }

    /// Every segment with its level, from the lowest level up.
    pub(super) fn ascending<'a>(
        &'a self,
        table: &'a Table,
    ) -> impl Iterator<Item = (u32, SegmentId)> + 'a {
        (0..LEVELS).flat_map(move |level| {
            let first = link(self.heads[level as usize]);
            core::iter::successors(first, |&at| link(table.carved(at).next))
                .map(move |segment| (level, segment))
        })
    }

    fn push(&mut self, table: &mut Table, segment: SegmentId, level: u8) {
        let head = &mut self.heads[usize::from(level)];
        if let Some(next) = link(*head) {
            table.carved_mut(next).previous = segment.get();
        }
        let carved = table.carved_mut(segment);
        (carved.previous, carved.next) = (END, *head);
        *head = segment.get();
        self.filled |= 1 << level;
    }

    fn remove(&mut self, table: &mut Table, segment: SegmentId, level: u8) {
        let carved = table.carved_mut(segment);
        let (previous, next) = (carved.previous, carved.next);
        (carved.previous, carved.next) = (END, END);
        if let Some(next) = link(next) {
            table.carved_mut(next).previous = previous;
        }
        match link(previous) {
            Some(previous) => table.carved_mut(previous).next = next,
            None => self.heads[usize::from(level)] = next,
        }
        if self.heads[usize::from(level)] == END {
            self.filled &= !(1 << level);
        }
    }
}

/// The level of a segment with room.
#[expect(clippy::cast_possible_truncation, reason = "below 64, as there is room")]
pub(super) const fn level(class: BlockClass, taken: u16) -> u8 {
    let level = taken as u32 * LEVELS / class.per_segment();
    assert!(level < LEVELS, "E113: a full segment has no level");
    level as u8
}

const fn link(raw: u32) -> Option<SegmentId> {
    if raw == END { None } else { Some(SegmentId::new(raw)) }
}
