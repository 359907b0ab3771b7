//! Whether the allocator is right: against the records (E110, E111) and against itself (E113).

use alloc::vec::Vec;

use crate::address::{BlockAddress, BlockClass, SegmentId};

use super::bits::Bits;
use super::lists::{Counts, level};
use super::table::{Carved, Place, Segment};
use super::{AdoptError, Allocator, BlockState, Held, all_classes, block_of};

/// Records and allocator disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A record names what cannot be a block.
    #[error(transparent)]
    Misplaced(#[from] AdoptError),
    /// A record names a block that is not live (E110).
    #[error("{block} of {class} is named by a record, but it is {state:?}")]
    NotLive {
        /// As named.
        block: BlockAddress,
        /// As named.
        class: BlockClass,
        /// By the allocator.
        state: BlockState,
    },
    /// No record names a live block (E111).
    #[error("{found} live blocks, {named} named by records; {block} of {class} is not")]
    Leaked {
        /// The first of them.
        block: BlockAddress,
        /// Its class.
        class: BlockClass,
        /// Live blocks by the allocator.
        found: u64,
        /// Blocks that records name.
        named: u64,
    },
}

impl Allocator {
    /// Compares with `live`, the blocks of all committed and pending records, each as often as
    /// records name it. It takes as much memory as the bitmaps, until it returns.
    ///
    /// # Errors
    /// The first block that is shared, leaked, or named without being live.
    pub fn audit(
        &self,
        live: impl Iterator<Item = (BlockAddress, BlockClass)>,
    ) -> Result<(), AuditError> {
        let mut seen: Vec<Option<Bits>> = Vec::new();
        seen.resize_with(self.config.segments as usize, || None);
        let mut named = 0;
        for (block, class) in live {
            let segment = self.locate(block, class)?;
            let carved = match self.table.get(segment) {
                Some(Segment::Carved(carved)) if carved.class != class => {
                    let expected = carved.class;
                    return Err(AdoptError::Class { block, found: class, expected }.into());
                }
                Some(Segment::Carved(carved)) if self.is_live(block) => carved,
                _ => {
                    let state = self.state(block);
                    return Err(AuditError::NotLive { block, class, state });
                }
            };
            let bits = seen[segment.get() as usize].get_or_insert_with(|| Bits::new(class));
            if !bits.set(carved.index(block)) {
                return Err(AdoptError::Shared { block, class }.into());
            }
            named += 1;
        }
        // What was named is live and distinct, so equal counts mean equal sets.
        let found = self.classes.iter().map(|state| state.counts.live()).sum();
        if named == found {
            return Ok(());
        }
        let (block, class) = self.leaked(&seen).expect("E113: fewer are named than live");
        Err(AuditError::Leaked { block, class, found, named })
    }

    fn leaked(&self, seen: &[Option<Bits>]) -> Option<(BlockAddress, BlockClass)> {
        self.table.iter().zip(seen).find_map(|((segment, it), seen)| {
            let Segment::Carved(carved) = it else {
                return None;
            };
            let is_seen = |&block: &BlockAddress| {
                seen.as_ref().is_some_and(|seen| seen.get(carved.index(block)))
            };
            let block = self.live_blocks(segment).find(|block| !is_seen(block))?;
            Some((block, carved.class))
        })
    }

    /// Counts everything anew, in time that grows with the store: for tests, simulation, and
    /// operators who ask.
    ///
    /// # Panics
    /// E113, E114: a count, list or set is wrong.
    pub fn check(&self) {
        let mut counts = [Counts::default(); BlockClass::COUNT];
        let (mut claiming, mut discarding) = (0, 0);
        for (segment, it) in self.table.iter() {
            self.check_sets(segment, it);
            match it {
                Segment::Claiming => claiming += 1,
                Segment::Discarding => discarding += 1,
                Segment::Carved(carved) => {
                    self.check_carved(segment, carved);
                    count(&mut counts[usize::from(carved.class.get())], carved);
                }
                Segment::Unclaimed | Segment::Pool | Segment::Draining => {}
            }
        }
        assert_eq!(claiming, self.supply.claiming, "E113: segments being claimed");
        assert_eq!(discarding, self.supply.discarding, "E113: segments being discarded");
        let mut taken_bytes = 0;
        for (class, counts) in all_classes().zip(counts) {
            assert_eq!(counts, self.class(class).counts, "E113: counts of {class}");
            taken_bytes += counts.taken * u64::from(class.bytes());
            self.check_lists(class);
        }
        assert_eq!(taken_bytes, self.taken_bytes, "E113: bytes taken");
        self.check_held(&counts);
    }

    fn check_sets(&self, segment: SegmentId, it: &Segment) {
        let supply = &self.supply;
        let found =
            [&supply.unclaimed, &supply.pool, &supply.draining].map(|set| set.contains(segment));
        let expected = [
            matches!(it, Segment::Unclaimed),
            matches!(it, Segment::Pool),
            matches!(it, Segment::Draining),
        ];
        assert_eq!(found, expected, "E114: sets of {segment}, {:?}", it.state());
    }

    fn check_carved(&self, segment: SegmentId, carved: &Carved) {
        let Carved { class, place, taken, reserved, quarantined, .. } = *carved;
        assert!(carved.bits.is_consistent(), "E113: full words of {segment}");
        let mut found = (0u16, 0u16, 0u16);
        for index in carved.bits.taken(class) {
            found.0 += 1;
            match self.held.get(&block_of(segment, class, index)) {
                None => {}
                Some(Held::Reserved) => found.1 += 1,
                Some(Held::Quarantined) => found.2 += 1,
            }
        }
        assert_eq!(found, (taken, reserved, quarantined), "E113: blocks of {segment}");
        assert!(0 < taken, "E114: {segment} is empty and of {class}");
        let is_current = self.class(class).current == Some(segment);
        assert_eq!(place == Place::Current, is_current, "E113: {segment} is current or not");
        let fits = match place {
            Place::Current => !carved.is_full(),
            Place::Listed(found) => !carved.is_full() && found == level(class, taken),
            Place::Full => carved.is_full(),
            Place::Frozen => true,
        };
        assert!(fits, "E113: {segment} with {taken} of {class} taken is at {place:?}");
    }

    fn check_lists(&self, class: BlockClass) {
        let state = self.class(class);
        let mut listed = 0;
        for (level, segment) in state.lists.ascending(&self.table) {
            let carved = self.table.carved(segment);
            let found = (carved.class, carved.place);
            let is_here = matches!(carved.place, Place::Listed(at) if u32::from(at) == level);
            assert!(
                carved.class == class && is_here,
                "E113: {segment} is {found:?} in level {level} of {class}"
            );
            listed += 1;
        }
        let expected = self.table.iter().filter(|(_, it)| match it {
            Segment::Carved(it) => it.class == class && matches!(it.place, Place::Listed(_)),
            _ => false,
        });
        assert_eq!(listed, expected.count(), "E113: segments in the lists of {class}");
        let top = state.lists.ascending(&self.table).last().map(|(level, _)| level);
        let fullest = state.lists.fullest().map(|segment| self.table.carved(segment).place);
        let expected = top.map(|level| Place::Listed(u8::try_from(level).expect("below 64")));
        assert_eq!(fullest, expected, "E113: the fullest segment of {class}");
    }

    fn check_held(&self, counts: &[Counts; BlockClass::COUNT]) {
        let quarantined: u64 = counts.iter().map(|counts| counts.quarantined).sum();
        let reserved: u64 = counts.iter().map(|counts| counts.reserved).sum();
        // Every bit was looked up above, so what is kept aside beyond that has no bit.
        assert_eq!(self.held.len() as u64, reserved + quarantined, "E110: blocks kept aside");
        assert_eq!(self.quarantine.len() as u64, quarantined, "E112: blocks in quarantine");
    }
}

fn count(counts: &mut Counts, carved: &Carved) {
    counts.segments += 1;
    counts.taken += u64::from(carved.taken);
    counts.reserved += u64::from(carved.reserved);
    counts.quarantined += u64::from(carved.quarantined);
    if carved.place == Place::Frozen {
        counts.frozen += 1;
        counts.frozen_free += u64::from(carved.free());
    }
}
