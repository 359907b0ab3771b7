//! What compaction needs: the segment that is emptied most cheaply, and to keep it from filling.

use engine_types::reached;

use crate::address::{BlockAddress, BlockClass, SegmentId};

use super::table::{Place, Segment};
use super::{Allocator, all_classes, block_of};

/// Segments of a class looked at for a candidate, so that a class of 200,000 does not stop a shard.
/// They come from the emptiest level up; only segments whose blocks all wait in quarantine, and
/// those that the caller could not empty before, are passed over.
const CANDIDATES_SEEN_MAX: usize = 64;

/// A segment worth emptying: its live blocks fit the free blocks of other segments of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The segment.
    pub segment: SegmentId,
    /// Its class.
    pub class: BlockClass,
    /// Blocks to move.
    pub live: u32,
    /// Blocks that are free.
    pub free: u32,
}

impl Candidate {
    /// Bytes to move.
    pub const fn live_bytes(&self) -> u64 {
        self.live as u64 * self.class.bytes() as u64
    }
}

impl Allocator {
    /// The segment of which fewest bytes have to be moved, if moving them empties a segment
    /// without filling another one anew. Never one that is current, full or frozen, nor one
    /// without a live block, which empties by itself.
    pub fn compaction_candidate(&self) -> Option<Candidate> {
        self.compaction_candidate_where(|_| true)
    }

    /// The same among the segments that `is_eligible` names: the caller leaves out those that it
    /// could not empty.
    pub fn compaction_candidate_where(
        &self,
        is_eligible: impl Fn(SegmentId) -> bool,
    ) -> Option<Candidate> {
        let candidates = all_classes().filter_map(|class| self.candidate_of(class, &is_eligible));
        candidates.min_by_key(Candidate::live_bytes)
    }

    /// Whether a frozen segment becomes empty by itself: no record and no plan holds a block of it
    /// any more, and those in quarantine only wait for their time.
    pub fn is_vacating(&self, segment: SegmentId) -> bool {
        match self.table.get(segment) {
            Some(Segment::Carved(carved)) => {
                carved.place == Place::Frozen && carved.live() == 0 && carved.reserved == 0
            }
            _ => false,
        }
    }

    /// From now on no block of a segment is given out.
    ///
    /// # Panics
    /// E114: it is not carved, or frozen already.
    pub fn freeze(&mut self, segment: SegmentId) {
        let carved = self.table.carved(segment);
        let (class, place, free) = (carved.class, carved.place, carved.free());
        assert!(place != Place::Frozen, "E114: {segment} is frozen already");
        let state = &mut self.classes[usize::from(class.get())];
        state.unlist(&mut self.table, segment);
        if place == Place::Current {
            state.current = None;
        }
        state.counts.frozen += 1;
        state.counts.frozen_free += u64::from(free);
        self.table.carved_mut(segment).place = Place::Frozen;
    }

    /// Blocks of a segment may be given out again. False if it is not frozen: it has become empty.
    pub fn thaw(&mut self, segment: SegmentId) -> bool {
        let Some(Segment::Carved(carved)) = self.table.get(segment) else {
            reached!("E114: a frozen segment became empty before it was thawed");
            return false;
        };
        let (class, free) = (carved.class, carved.free());
        if carved.place != Place::Frozen {
            return false;
        }
        let state = &mut self.classes[usize::from(class.get())];
        state.counts.frozen -= 1;
        state.counts.frozen_free -= u64::from(free);
        self.table.carved_mut(segment).place = Place::Full;
        state.settle(&mut self.table, segment);
        true
    }

    /// The live blocks of a segment, ascending.
    pub fn live_blocks(&self, segment: SegmentId) -> impl Iterator<Item = BlockAddress> + '_ {
        let carved = match self.table.get(segment) {
            Some(Segment::Carved(carved)) => Some(carved),
            _ => None,
        };
        let taken = carved.into_iter().flat_map(move |carved| {
            let class = carved.class;
            carved.bits.taken(class).map(move |index| block_of(segment, class, index))
        });
        taken.filter(|block| !self.held.contains_key(block))
    }

    fn candidate_of(
        &self,
        class: BlockClass,
        is_eligible: &impl Fn(SegmentId) -> bool,
    ) -> Option<Candidate> {
        let state = self.class(class);
        let open_free = state.counts.open_free(class);
        let eligible =
            state.lists.ascending(&self.table).filter(|&(_, segment)| is_eligible(segment));
        let seen = eligible.take(CANDIDATES_SEEN_MAX);
        let candidates = seen.map(|(_, segment)| {
            let carved = self.table.carved(segment);
            Candidate { segment, class, live: carved.live(), free: carved.free() }
        });
        candidates
            .filter(|it| 0 < it.live && u64::from(it.live) <= open_free - u64::from(it.free))
            .min_by_key(|it| it.live)
    }
}
