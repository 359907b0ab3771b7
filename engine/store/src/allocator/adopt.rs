//! Recovery: what the records name becomes live.

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
        let (place, is_full) = (carved.place, carved.is_full());
        let state = &mut self.classes[usize::from(class.get())];
        state.counts.taken += 1;
        self.taken_bytes += u64::from(class.bytes());
        match place {
            Place::Frozen => state.counts.frozen_free -= 1,
            Place::Current if !is_full => {}
            Place::Current => {
                state.current = None;
                state.settle(&mut self.table, segment);
            }
            Place::Listed(_) | Place::Full => state.settle(&mut self.table, segment),
        }
        Ok(())
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
