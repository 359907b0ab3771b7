//! Segments without blocks: where classes get new ones, what is claimed and discarded.
//!
//! An empty segment is taken again before anything else, and without its discard: an overwrite
//! tells a device as much. That keeps a small working set in few segments, and a store that fills
//! and empties one segment does not discard 64 MiB each time.
//!
//! The reserve counts what could still be claimed, so a sparse file does not grow by its reserve.
//! One claimed segment is always left by writes, so compaction can move even when the host turns
//! out to be full.

use engine_types::reached;

use crate::address::{BlockClass, SegmentId};

use super::set::SegmentSet;
use super::table::{Place, Segment, SegmentState};
use super::{Allocator, NoBlock, Purpose, all_classes};

/// Claimed segments that writes leave: compaction needs one to begin with, and gives one back.
const CLAIMED_RESERVE: u32 = 1;

/// The segments without blocks, by state.
pub(super) struct Supply {
    pub(super) unclaimed: SegmentSet,
    pub(super) pool: SegmentSet,
    pub(super) draining: SegmentSet,
    pub(super) claiming: u32,
    pub(super) discarding: u32,
    /// The host refused a claim.
    pub(super) host_full: bool,
}

impl Supply {
    pub(super) fn new(count: u32, sparse: bool) -> Self {
        let (all, none) = (SegmentSet::full(count), SegmentSet::empty(count));
        let (unclaimed, pool) = if sparse { (all, none) } else { (none, all) };
        let draining = SegmentSet::empty(count);
        Self { unclaimed, pool, draining, claiming: 0, discarding: 0, host_full: false }
    }

    /// Segments that can be carved at once.
    pub(super) const fn ready(&self) -> u32 {
        self.pool.len() + self.draining.len()
    }

    /// Segments that can be carved now or after some work of the driver.
    pub(super) const fn spare(&self) -> u32 {
        self.ready() + self.claiming + self.discarding + self.claimable()
    }

    const fn claimable(&self) -> u32 {
        if self.host_full { 0 } else { self.unclaimed.len() }
    }
}

impl Allocator {
    /// A segment whose space the driver shall claim, and then call `claimed` or `claim_failed`.
    /// Nothing while enough is claimed, all is, or the host is full.
    pub fn next_claim(&mut self) -> Option<SegmentId> {
        if !self.wants_claim() {
            return None;
        }
        let segment = self.supply.unclaimed.pop_first()?;
        self.supply.claiming += 1;
        self.table.advance(segment, SegmentState::Unclaimed, Segment::Claiming);
        Some(segment)
    }

    /// The space of a segment is claimed.
    ///
    /// # Panics
    /// E114: nobody was asked to claim it.
    pub fn claimed(&mut self, segment: SegmentId) {
        self.table.advance(segment, SegmentState::Claiming, Segment::Pool);
        self.supply.claiming -= 1;
        self.supply.pool.insert(segment);
    }

    /// The host gave no space for a segment: it counts as full until `retry_claims`.
    ///
    /// # Panics
    /// E114: nobody was asked to claim it.
    pub fn claim_failed(&mut self, segment: SegmentId) {
        reached!("E114: the host gave no space for a segment");
        self.table.advance(segment, SegmentState::Claiming, Segment::Unclaimed);
        self.supply.claiming -= 1;
        self.supply.unclaimed.insert(segment);
        self.supply.host_full = true;
    }

    /// The host may have space again.
    pub fn retry_claims(&mut self) {
        self.supply.host_full = false;
    }

    /// An empty segment whose space the driver shall discard, and then call `discarded`, or
    /// `unclaimed` if it gave the space back to the host. A sparse store keeps as many as it would
    /// have to claim again.
    pub fn next_discard(&mut self) -> Option<SegmentId> {
        if !self.wants_discard() {
            return None;
        }
        let segment = self.supply.draining.pop_first()?;
        self.supply.discarding += 1;
        self.table.advance(segment, SegmentState::Draining, Segment::Discarding);
        Some(segment)
    }

    /// The discard of a segment has completed, or was not possible: it is in the pool.
    ///
    /// # Panics
    /// E114: nobody was asked to discard it.
    pub fn discarded(&mut self, segment: SegmentId) {
        self.table.advance(segment, SegmentState::Discarding, Segment::Pool);
        self.supply.discarding -= 1;
        self.supply.pool.insert(segment);
    }

    /// The discard of a segment gave its space back to the host, which so has some to give.
    ///
    /// # Panics
    /// E114: nobody was asked to discard it, or the store is not sparse.
    pub fn unclaimed(&mut self, segment: SegmentId) {
        assert!(self.config.sparse, "E114: {segment} was given back, but the store is not sparse");
        self.table.advance(segment, SegmentState::Discarding, Segment::Unclaimed);
        self.supply.discarding -= 1;
        self.supply.unclaimed.insert(segment);
        self.supply.host_full = false;
    }

    /// Whether `next_claim` or `next_discard` has a segment.
    pub fn wants_work(&self) -> bool {
        self.wants_claim() || self.wants_discard()
    }

    /// Whether space is being given back to the host, or will be.
    pub fn is_discarding(&self) -> bool {
        0 < self.supply.discarding || self.wants_discard()
    }

    fn wants_claim(&self) -> bool {
        let supply = &self.supply;
        0 < supply.claimable() && supply.ready() + supply.claiming < self.claimed_wanted()
    }

    fn wants_discard(&self) -> bool {
        let supply = &self.supply;
        let spared =
            !self.config.sparse || self.claimed_wanted() < supply.ready() + supply.claiming;
        0 < supply.draining.len() && spared
    }

    /// Claimed segments without blocks that a sparse store likes to have.
    fn claimed_wanted(&self) -> u32 {
        self.config.claim_ahead + self.config.reserve_segments.min(CLAIMED_RESERVE)
    }

    /// Segments of the supply that a purpose leaves alone.
    pub(super) fn kept(&self, purpose: Purpose) -> u32 {
        if purpose != Purpose::Write {
            return 0;
        }
        let reserve = self.config.reserve_segments;
        let (count, unclaimed) = (self.config.segments, self.supply.unclaimed.len());
        if !self.supply.host_full {
            return reserve;
        }
        // What the host refuses is not there: the reserve of a store of the claimed segments.
        let share = (u64::from(reserve) * u64::from(count - unclaimed)).div_ceil(count.into());
        u32::try_from(share).expect("a share of the reserve, a u32")
    }

    /// Takes a segment out of the supply for `class`; the caller carves it.
    pub(super) fn take_segment(
        &mut self,
        class: BlockClass,
        purpose: Purpose,
    ) -> Result<SegmentId, NoBlock> {
        let kept = self.kept(purpose);
        let supply = &mut self.supply;
        if supply.spare() <= kept {
            return Err(self.exhausted(class));
        }
        if supply.ready() <= kept.min(CLAIMED_RESERVE) {
            let claims = 0 < supply.claiming + supply.claimable();
            return Err(if claims { NoBlock::Unclaimed } else { NoBlock::Discarding });
        }
        if let Some(segment) = supply.draining.pop_first() {
            reached!("E114: an empty segment was taken again before its discard");
            return Ok(segment);
        }
        Ok(supply.pool.pop_first().expect("E113: a segment is ready"))
    }

    /// Why the supply has no segment for `class`.
    fn exhausted(&self, class: BlockClass) -> NoBlock {
        if all_classes().any(|class| 0 < self.class(class).counts.frozen) {
            return NoBlock::Starved { class }; // one is being emptied
        }
        if self.supply.host_full && 0 < self.supply.unclaimed.len() {
            // What is claimed already can still be put to another use.
            if self.compaction_candidate().is_some() {
                reached!("E114: a class starved while the host was full");
                return NoBlock::Starved { class };
            }
            return NoBlock::HostFull;
        }
        let mut free = all_classes().map(|class| self.class(class).counts.free(class));
        if free.any(|blocks| 0 < blocks) {
            reached!("E114: a class starved while blocks were free elsewhere");
            return NoBlock::Starved { class };
        }
        NoBlock::Full { free: self.free_for_writes(), needed: class.bytes().into() }
    }

    /// A carved segment whose last block became free leaves its class.
    pub(super) fn drain(&mut self, segment: SegmentId) {
        let carved = self.table.carved(segment);
        let (class, place) = (carved.class, carved.place);
        assert!(
            (carved.taken, carved.reserved, carved.quarantined) == (0, 0, 0),
            "E114: {segment} drains with {} blocks taken",
            carved.taken
        );
        let state = &mut self.classes[usize::from(class.get())];
        state.unlist(&mut self.table, segment);
        if place == Place::Current {
            state.current = None;
        }
        state.counts.segments -= 1;
        if place == Place::Frozen {
            state.counts.frozen -= 1;
            state.counts.frozen_free -= u64::from(class.per_segment());
        }
        *self.table.get_mut(segment) = Segment::Draining;
        self.supply.draining.insert(segment);
    }
}
