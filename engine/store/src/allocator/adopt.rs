//! Recovery: what the records name becomes live.

use core::ops::Range;

use crate::address::{BlockAddress, BlockClass, SegmentId};

use super::Allocator;
use super::table::{Place, Segment};

/// A block that a record names and cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// It lies beyond the data area.
    #[error("{block} lies beyond the last of {segments} segments")]
    OutOfRange {
        /// As named.
        block: BlockAddress,
        /// Of the data area.
        segments: u32,
    },
    /// It is not aligned to its class.
    #[error("{block} is not aligned to {class}")]
    Unaligned {
        /// As named.
        block: BlockAddress,
        /// As named.
        class: BlockClass,
    },
    /// Its segment holds blocks of another class.
    #[error("{block} of {found} lies in a segment of {expected}")]
    Class {
        /// As named.
        block: BlockAddress,
        /// As named.
        found: BlockClass,
        /// By the blocks adopted before.
        expected: BlockClass,
    },
    /// Another record has it (E110).
    #[error("{block} of {class} is named twice")]
    Shared {
        /// As named.
        block: BlockAddress,
        /// As named.
        class: BlockClass,
    },
}

impl Allocator {
    /// A free block becomes live, because a record found on disk names it. Its segment counts as
    /// claimed and of its class from the first block on.
    ///
    /// # Errors
    /// The records contradict each other, or the data area. Nothing has changed.
    ///
    /// # Panics
    /// E114: its segment is being claimed or discarded; recovery comes before both.
    pub fn adopt(&mut self, block: BlockAddress, class: BlockClass) -> Result<(), AdoptError> {
        let segment = self.take_named(block, class)?;
        let carved = self.table.carved(segment);
        let (place, is_full) = (carved.place, carved.is_full());
        let state = &mut self.classes[usize::from(class.get())];
        match place {
            Place::Current if is_full => {
                state.current = None;
                state.settle(&mut self.table, segment);
            }
            Place::Current | Place::Frozen => {}
            Place::Listed(_) | Place::Full => state.settle(&mut self.table, segment),
        }
        Ok(())
    }

    /// As [`Self::adopt`], for an allocator that gives no blocks yet: segments are put where their
    /// fill says once, by [`Self::loaded`], and not with every block.
    ///
    /// # Errors
    /// As `adopt`.
    pub fn load(&mut self, block: BlockAddress, class: BlockClass) -> Result<(), AdoptError> {
        self.take_named(block, class).map(|_| ())
    }

    /// A block that was loaded is nobody's after all.
    ///
    /// # Panics
    /// E110: it is not live. E113: blocks were given out already.
    pub fn unload(&mut self, block: BlockAddress) {
        let carved = self.table.carved_mut(block.segment());
        assert_eq!(carved.place, Place::Full, "E113: {block} is unloaded before all is loaded");
        let was_live = carved.bits.clear(carved.index(block));
        assert!(was_live, "E110: {block} is unloaded, but it is free");
        carved.taken -= 1;
        let class = carved.class;
        self.class_mut(class).counts.taken -= 1;
        self.taken_bytes -= u64::from(class.bytes());
    }

    /// All records are loaded: blocks may be given out.
    pub fn loaded(&mut self) {
        for raw in 0..self.config.segments {
            let segment = SegmentId::new(raw);
            let Some(Segment::Carved(carved)) = self.table.get(segment) else { continue };
            let (class, is_empty) = (carved.class, carved.taken == 0);
            if is_empty {
                self.drain(segment); // all of it was unloaded again
            } else if carved.place == Place::Full {
                self.classes[usize::from(class.get())].settle(&mut self.table, segment);
            }
        }
    }

    /// A free block becomes live, wherever its segment stands.
    fn take_named(
        &mut self,
        block: BlockAddress,
        class: BlockClass,
    ) -> Result<SegmentId, AdoptError> {
        let segment = self.locate(block, class)?;
        if !matches!(self.table.get(segment), Some(Segment::Carved(_))) {
            self.adopt_segment(segment, class);
        }
        let carved = self.table.carved_mut(segment);
        if carved.class != class {
            return Err(AdoptError::Class { block, found: class, expected: carved.class });
        }
        if !carved.bits.set(carved.index(block)) {
            return Err(AdoptError::Shared { block, class });
        }
        carved.taken += 1;
        let is_frozen = carved.place == Place::Frozen;
        let counts = &mut self.class_mut(class).counts;
        counts.taken += 1;
        counts.frozen_free -= u64::from(is_frozen);
        self.taken_bytes += u64::from(class.bytes());
        Ok(segment)
    }

    /// The first segments with blocks from number `from` on, one behind the other, `max` at most:
    /// their space has to be there.
    pub fn adopted_run(&self, from: u32, max: u32) -> Option<Range<u32>> {
        let is_adopted = |number: &u32| {
            let segment = self.table.get(SegmentId::new(*number));
            matches!(segment, Some(Segment::Carved(_)))
        };
        let start = (from..self.config.segments).find(is_adopted)?;
        let end = (start..self.config.segments).take(max as usize).find(|n| !is_adopted(n));
        let limit = self.config.segments.min(start.saturating_add(max));
        Some(start..end.unwrap_or(limit))
    }

    /// The segment of a block, if the data area can have such a block.
    pub(super) fn locate(
        &self,
        block: BlockAddress,
        class: BlockClass,
    ) -> Result<SegmentId, AdoptError> {
        let segments = self.config.segments;
        if segments <= block.segment().get() {
            return Err(AdoptError::OutOfRange { block, segments });
        }
        if !block.get().is_multiple_of(class.sectors()) {
            return Err(AdoptError::Unaligned { block, class });
        }
        Ok(block.segment())
    }

    fn adopt_segment(&mut self, segment: SegmentId, class: BlockClass) {
        match self.table.get(segment) {
            Some(Segment::Unclaimed) => self.supply.unclaimed.remove(segment),
            Some(Segment::Pool) => self.supply.pool.remove(segment),
            Some(Segment::Draining) => self.supply.draining.remove(segment),
            other => {
                panic!("E114: {segment} gets a block, but it is {:?}", other.map(Segment::state))
            }
        }
        self.carve(segment, class);
    }
}
