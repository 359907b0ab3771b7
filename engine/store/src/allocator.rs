//! Blocks of one store: which are free, which a write plan holds, which carry data.
//!
//! Owner: one shard. Calls run to completion and touch numbers only, never buffers or files: the
//! driver claims and discards space, writes blocks, and says here what has become of them.
//!
//! The data area is cut into segments of 64 MiB. A segment is unclaimed (a sparse file has no
//! space for it yet), in the pool (claimed, without a class), carved into blocks of one class, or
//! draining (empty again, until the driver has discarded it). Only carved segments cost memory:
//! one bit per block. Reserved and quarantined blocks are few and kept aside; live is the rest.
//!
//! ```text
//!   unclaimed -> claiming -> pool -> carved -> draining -> discarding -> pool
//!                                       ^---------'  taken again before anything else
//!   free -> reserved -> live -> quarantined -> free
//! ```
//!
//! Invariants
//!   E110  a block is free, reserved, live or quarantined, and exactly one of them (S-a)
//!   E111  a live block is named by exactly one committed or pending record (`audit`)
//!   E112  a quarantined block becomes free when the entry that dropped it is durable and every
//!         plan older than the drop has completed, not before (S1, S4)
//!   E113  counts, lists and sets agree with the bitmaps (`check`)
//!   E114  a segment is in one state; it drains when its last block becomes free, is claimed and
//!         discarded without blocks only, and gives no block while it is frozen
//!
//! Crash: reservations and quarantine vanish, and nothing here is ever written to disk. Recovery
//! adopts what the records name; free is the complement, so a lost reservation costs nothing.

mod adopt;
mod audit;
mod bits;
mod compaction;
mod config;
mod lists;
mod quarantine;
mod set;
mod supply;
mod table;
mod usage;

#[cfg(test)]
mod tests;

use core::{array, fmt};

use engine_types::Map;

use crate::address::{BlockAddress, BlockClass, Lsn, SEGMENT_SECTORS, SegmentId};
pub use adopt::AdoptError;
pub use audit::AuditError;
pub use compaction::Candidate;
pub use config::{AllocatorConfig, ConfigError, SEGMENTS_MAX};
use lists::ClassState;
use quarantine::Quarantine;
use supply::Supply;
pub use table::SegmentState;
use table::{Carved, Place, Segment, Table};
pub use usage::{ClassUsage, Usage};

/// The blocks of one store.
pub struct Allocator {
    config: AllocatorConfig,
    table: Table,
    classes: [ClassState; BlockClass::COUNT],
    supply: Supply,
    /// Blocks that are neither free nor live.
    held: Map<BlockAddress, Held>,
    quarantine: Quarantine,
    /// Bytes of all blocks that are not free.
    taken_bytes: u64,
}

/// What a block is wanted for, which decides what may be used up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// New data: stops at the mark and leaves the reserve alone.
    Write,
    /// A block's new home: what it leaves behind becomes free, so it may use the reserve.
    Compact,
    /// What was accepted before a crash has to find room.
    Recover,
}

/// What a block is (E110).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Nobody's.
    Free,
    /// A write plan holds it.
    Reserved,
    /// A committed or pending record names it.
    Live,
    /// No record names it, but a crash could bring back one that does, or a plan still reads it.
    Quarantined,
}

/// Why there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBlock {
    /// The store is full as far as this purpose goes.
    #[error("no space: {free} bytes free for writes, {needed} needed")]
    Full {
        /// Bytes that writes may still take.
        free: u64,
        /// Bytes of the block.
        needed: u64,
    },
    /// There are free blocks, but none of this class and no segment to make some: compaction may
    /// help, or is at work.
    #[error("no segment is left for blocks of {class}, but blocks are free elsewhere")]
    Starved {
        /// The class asked for.
        class: BlockClass,
    },
    /// Space has to be claimed first: do what `next_claim` says, or wait for the claims under way,
    /// and ask again.
    #[error("space has to be claimed first")]
    Unclaimed,
    /// What is left is being discarded: ask again after the next `discarded`.
    #[error("the last segments are being discarded")]
    Discarding,
    /// The host gave no more space, which counts as full until `retry_claims`, and no segment can
    /// be emptied instead.
    #[error("the file system below gives no more space")]
    HostFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Reserved,
    Quarantined,
}

impl Allocator {
    /// An allocator without any block in use.
    ///
    /// # Errors
    /// A configuration that contradicts itself.
    pub fn new(config: AllocatorConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config,
            table: Table::new(config.segments, config.sparse),
            classes: array::from_fn(|_| ClassState::default()),
            supply: Supply::new(config.segments, config.sparse),
            held: Map::default(),
            quarantine: Quarantine::default(),
            taken_bytes: 0,
        })
    }

    /// A free block becomes reserved. The current segment of the class gives it; when that is full,
    /// the fullest one follows, so that the emptiest get a chance to become empty.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn reserve(
        &mut self,
        class: BlockClass,
        purpose: Purpose,
    ) -> Result<BlockAddress, NoBlock> {
        let needed = u64::from(class.bytes());
        if purpose == Purpose::Write && self.config.full_bytes() < self.taken_bytes + needed {
            return Err(NoBlock::Full { free: self.free_for_writes(), needed });
        }
        let segment = match self.class(class).current {
            Some(segment) => segment,
            None => self.next_current(class, purpose)?,
        };
        let carved = self.table.carved_mut(segment);
        let index = carved.bits.lowest_free().expect("E113: a current segment has a free block");
        carved.bits.set(index);
        carved.taken += 1;
        carved.reserved += 1;
        let is_full = carved.is_full();
        if is_full {
            carved.place = Place::Full;
        }
        let state = self.class_mut(class);
        state.counts.taken += 1;
        state.counts.reserved += 1;
        if is_full {
            state.current = None;
        }
        self.taken_bytes += needed;
        let block = block_of(segment, class, index);
        let was = self.held.insert(block, Held::Reserved);
        assert!(was.is_none(), "E110: {block} was free and {was:?}");
        Ok(block)
    }

    /// A reserved block becomes live: a record names it.
    ///
    /// # Panics
    /// E110: it is not reserved.
    pub fn publish(&mut self, block: BlockAddress) {
        self.unhold(block, Held::Reserved, BlockState::Live);
    }

    /// A reserved block becomes free: its plan failed before any record could name it, and no I/O
    /// on it is in flight (S5).
    ///
    /// # Panics
    /// E110: it is not reserved.
    pub fn unreserve(&mut self, block: BlockAddress) {
        self.unhold(block, Held::Reserved, BlockState::Free);
        self.free(block);
    }

    /// A live block becomes quarantined: the journal group `lsn` carries the entry that drops it,
    /// and plans with a number below `pin`, that of the next plan, may still use it.
    ///
    /// # Panics
    /// E110: it is not live.
    pub fn quarantine(&mut self, block: BlockAddress, lsn: Lsn, pin: u64) {
        let state = self.state(block);
        assert!(
            state == BlockState::Live,
            "E110: {block} becomes quarantined, but it is {state:?}, not live"
        );
        let class = {
            let carved = self.table.carved_mut(block.segment());
            carved.quarantined += 1;
            carved.class
        };
        self.class_mut(class).counts.quarantined += 1;
        self.held.insert(block, Held::Quarantined);
        self.quarantine.push(block, lsn, pin);
    }

    /// A reserved block becomes quarantined: its plan was given up, but a record that names it may
    /// be durable until the abort is.
    ///
    /// # Panics
    /// E110: it is not reserved.
    pub fn quarantine_reserved(&mut self, block: BlockAddress, lsn: Lsn, pin: u64) {
        self.unhold(block, Held::Reserved, BlockState::Quarantined);
        self.quarantine(block, lsn, pin);
    }

    /// Frees what may be freed now that groups up to `durable` are durable, for good, and no plan
    /// with a number below `oldest` is under way (E112). Returns how many blocks became free.
    pub fn release(&mut self, durable: Lsn, oldest: u64) -> u64 {
        self.release_some(durable, oldest, u64::MAX)
    }

    /// The same, but of `max` blocks at most: the rest is freed by the next call.
    pub fn release_some(&mut self, durable: Lsn, oldest: u64, max: u64) -> u64 {
        let mut count = 0;
        while count < max
            && let Some(block) = self.quarantine.pop(durable, oldest)
        {
            self.unhold(block, Held::Quarantined, BlockState::Free);
            self.free(block);
            count += 1;
        }
        count
    }

    /// What a block is. An address at which no block starts is free.
    pub fn state(&self, block: BlockAddress) -> BlockState {
        let Some(Segment::Carved(carved)) = self.table.get(block.segment()) else {
            return BlockState::Free;
        };
        if !carved.holds(block) {
            return BlockState::Free;
        }
        match self.held.get(&block) {
            None => BlockState::Live,
            Some(Held::Reserved) => BlockState::Reserved,
            Some(Held::Quarantined) => BlockState::Quarantined,
        }
    }

    /// Whether a committed or pending record names it.
    pub fn is_live(&self, block: BlockAddress) -> bool {
        self.state(block) == BlockState::Live
    }

    /// What a segment is; nothing beyond the data area.
    pub fn segment_state(&self, segment: SegmentId) -> Option<SegmentState> {
        self.table.get(segment).map(Segment::state)
    }

    /// Takes a block out of those kept aside, so that it counts as live; `next` is what the caller
    /// makes of it, for the message.
    fn unhold(&mut self, block: BlockAddress, expected: Held, next: BlockState) {
        let found = self.held.remove(&block);
        assert!(
            found == Some(expected),
            "E110: {block} becomes {next:?}, but it is {found:?}, not {expected:?}"
        );
        let carved = self.table.carved_mut(block.segment());
        let class = carved.class;
        match expected {
            Held::Reserved => carved.reserved -= 1,
            Held::Quarantined => carved.quarantined -= 1,
        }
        let counts = &mut self.class_mut(class).counts;
        match expected {
            Held::Reserved => counts.reserved -= 1,
            Held::Quarantined => counts.quarantined -= 1,
        }
    }

    /// A block that is not kept aside becomes free.
    fn free(&mut self, block: BlockAddress) {
        let segment = block.segment();
        let carved = self.table.carved_mut(segment);
        let (class, place) = (carved.class, carved.place);
        let was_taken = carved.bits.clear(carved.index(block));
        assert!(was_taken, "E110: {block} becomes free, but it is free");
        carved.taken -= 1;
        let is_empty = carved.taken == 0;
        let state = &mut self.classes[usize::from(class.get())];
        state.counts.taken -= 1;
        self.taken_bytes -= u64::from(class.bytes());
        if place == Place::Frozen {
            state.counts.frozen_free += 1;
        }
        if is_empty {
            self.drain(segment);
        } else if !matches!(place, Place::Current | Place::Frozen) {
            state.settle(&mut self.table, segment);
        }
    }

    /// Finds the class a current segment that has a free block.
    fn next_current(&mut self, class: BlockClass, purpose: Purpose) -> Result<SegmentId, NoBlock> {
        let segment = match self.class(class).lists.fullest() {
            Some(segment) => {
                self.classes[usize::from(class.get())].unlist(&mut self.table, segment);
                segment
            }
            None => {
                let segment = self.take_segment(class, purpose)?;
                self.carve(segment, class);
                segment
            }
        };
        self.table.carved_mut(segment).place = Place::Current;
        self.class_mut(class).current = Some(segment);
        Ok(segment)
    }

    /// Gives a segment without blocks to a class; it stands in no list yet.
    fn carve(&mut self, segment: SegmentId, class: BlockClass) {
        *self.table.get_mut(segment) = Segment::carved(Carved::new(class));
        self.class_mut(class).counts.segments += 1;
    }

    fn class(&self, class: BlockClass) -> &ClassState {
        &self.classes[usize::from(class.get())]
    }

    fn class_mut(&mut self, class: BlockClass) -> &mut ClassState {
        &mut self.classes[usize::from(class.get())]
    }
}

/// How full it is; bitmaps are for nobody's eyes.
impl fmt::Debug for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocator").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

fn all_classes() -> impl Iterator<Item = BlockClass> {
    (0..=BlockClass::MAX.get()).filter_map(BlockClass::new)
}

/// Block `index` of a segment of `class`.
const fn block_of(segment: SegmentId, class: BlockClass, index: u32) -> BlockAddress {
    BlockAddress::new(segment.get() * SEGMENT_SECTORS + index * class.sectors())
}
