//! What each segment is.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::address::{BlockAddress, BlockClass, SEGMENT_SECTORS, SegmentId};

use super::bits::Bits;

/// A segment as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Of a sparse file, without space yet.
    Unclaimed,
    /// The driver is claiming its space.
    Claiming,
    /// Claimed, without a class.
    Pool,
    /// Carved into blocks of a class.
    Open(BlockClass),
    /// Carved, and being emptied: it gives no blocks.
    Frozen(BlockClass),
    /// Empty again.
    Draining,
    /// The driver is discarding its space.
    Discarding,
}

/// A segment, 16 bytes unless it is carved.
pub(super) enum Segment {
    Unclaimed,
    Claiming,
    Pool,
    Draining,
    Discarding,
    Carved(Box<Carved>),
}

/// A segment of a class. It has a block that is not free, or is about to.
pub(super) struct Carved {
    pub(super) bits: Bits,
    pub(super) class: BlockClass,
    pub(super) place: Place,
    /// Blocks that are not free.
    pub(super) taken: u16,
    /// Of those, held by write plans.
    pub(super) reserved: u16,
    /// Of those, in quarantine.
    pub(super) quarantined: u16,
    /// Neighbours in the list of its level; raw numbers of segments or `END`.
    pub(super) previous: u32,
    pub(super) next: u32,
}

/// Who gives out the free blocks of a carved segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the one that its class takes blocks from; it has a free one.
    Current,
    /// It waits in the list of a level; it has a free block.
    Listed(u8),
    /// It has no free block.
    Full,
    /// Compaction empties it.
    Frozen,
}

/// The end of a list.
pub(super) const END: u32 = u32::MAX;

const _: () = assert!(size_of::<Segment>() == 16);
const _: () = assert!(size_of::<Carved>() <= 40);

/// All segments, by number.
pub(super) struct Table(Vec<Segment>);

impl Carved {
    /// Without a taken block, in no list.
    pub(super) fn new(class: BlockClass) -> Self {
        Self {
            bits: Bits::new(class),
            class,
            place: Place::Full,
            taken: 0,
            reserved: 0,
            quarantined: 0,
            previous: END,
            next: END,
        }
    }

    pub(super) fn free(&self) -> u32 {
        self.class.per_segment() - u32::from(self.taken)
    }

    pub(super) fn is_full(&self) -> bool {
        self.free() == 0
    }

    pub(super) fn live(&self) -> u32 {
        u32::from(self.taken - self.reserved - self.quarantined)
    }

    /// Number of `block` in this segment.
    pub(super) const fn index(&self, block: BlockAddress) -> u32 {
        block.get() % SEGMENT_SECTORS / self.class.sectors()
    }

    /// Whether a block that is not free starts here.
    pub(super) fn holds(&self, block: BlockAddress) -> bool {
        block.get().is_multiple_of(self.class.sectors()) && self.bits.get(self.index(block))
    }
}

impl Segment {
    pub(super) fn carved(carved: Carved) -> Self {
        Self::Carved(Box::new(carved))
    }

    pub(super) fn state(&self) -> SegmentState {
        match self {
            Self::Unclaimed => SegmentState::Unclaimed,
            Self::Claiming => SegmentState::Claiming,
            Self::Pool => SegmentState::Pool,
            Self::Draining => SegmentState::Draining,
            Self::Discarding => SegmentState::Discarding,
            Self::Carved(carved) if carved.place == Place::Frozen => {
                SegmentState::Frozen(carved.class)
            }
            Self::Carved(carved) => SegmentState::Open(carved.class),
        }
    }
}

impl Table {
    pub(super) fn new(count: u32, sparse: bool) -> Self {
        let segment = || if sparse { Segment::Unclaimed } else { Segment::Pool };
        Self((0..count).map(|_| segment()).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SegmentId, &Segment)> {
        (0..).map(SegmentId::new).zip(&self.0)
    }

    /// Nothing beyond the data area.
    pub(super) fn get(&self, segment: SegmentId) -> Option<&Segment> {
        self.0.get(segment.get() as usize)
    }

    pub(super) fn get_mut(&mut self, segment: SegmentId) -> &mut Segment {
        &mut self.0[segment.get() as usize]
    }

    pub(super) fn carved(&self, segment: SegmentId) -> &Carved {
        match self.get(segment) {
            Some(Segment::Carved(carved)) => carved,
            other => panic!("E114: {segment} is {:?}, not carved", other.map(Segment::state)),
        }
    }

    pub(super) fn carved_mut(&mut self, segment: SegmentId) -> &mut Carved {
        match &mut self.0[segment.get() as usize] {
            Segment::Carved(carved) => carved,
            other => panic!("E114: {segment} is {:?}, not carved", other.state()),
        }
    }

    /// Moves a segment that is not carved from one state to the next.
    pub(super) fn advance(&mut self, segment: SegmentId, from: SegmentState, to: Segment) {
        let found = self.get(segment).map(Segment::state);
        assert!(found == Some(from), "E114: {segment} is {found:?}, expected {from:?}");
        *self.get_mut(segment) = to;
    }
}
