//! How full a store is, for metrics and `df`.

use crate::address::{BlockClass, SEGMENT_BYTES};

use super::{Allocator, Purpose, all_classes};

/// Space of a store. Bytes, unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The data area.
    pub bytes: u64,
    /// Blocks that records name.
    pub live: u64,
    /// Blocks that write plans hold.
    pub reserved: u64,
    /// Blocks that are about to become free.
    pub quarantined: u64,
    /// What writes may still take: free blocks and segments, without the reserve, up to the mark,
    /// and without what the host refuses. A single class may get less.
    pub free_for_writes: u64,
    /// Segments in the pool.
    pub pool_segments: u32,
    /// Segments without space, or being claimed.
    pub unclaimed_segments: u32,
    /// Empty segments, waiting for their discard or being discarded.
    pub draining_segments: u32,
    /// Segments that compaction empties.
    pub frozen_segments: u32,
    /// By class.
    pub classes: [ClassUsage; BlockClass::COUNT],
}

/// Space of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassUsage {
    /// Segments carved into its blocks.
    pub segments: u32,
    /// Its live blocks.
    pub live: u64,
    /// Its blocks that are about to become free.
    pub quarantined: u64,
    /// Its free blocks, those of frozen segments included.
    pub free: u64,
}

impl Allocator {
    /// How full the store is.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            bytes: self.config.bytes(),
            live: 0,
            reserved: 0,
            quarantined: 0,
            free_for_writes: self.free_for_writes(),
            pool_segments: self.supply.pool.len(),
            unclaimed_segments: self.supply.unclaimed.len() + self.supply.claiming,
            draining_segments: self.supply.draining.len() + self.supply.discarding,
            frozen_segments: 0,
            classes: [ClassUsage::default(); BlockClass::COUNT],
        };
        for class in all_classes() {
            let counts = &self.class(class).counts;
            let bytes = u64::from(class.bytes());
            usage.live += counts.live() * bytes;
            usage.reserved += counts.reserved * bytes;
            usage.quarantined += counts.quarantined * bytes;
            usage.frozen_segments += counts.frozen;
            usage.classes[usize::from(class.get())] = ClassUsage {
                segments: counts.segments,
                quarantined: counts.quarantined,
                live: counts.live(),
                free: counts.free(class),
            };
        }
        usage
    }

    /// Bytes that writes may still take.
    pub(super) fn free_for_writes(&self) -> u64 {
        let carved: u64 = all_classes()
            .map(|class| self.class(class).counts.open_free(class) * u64::from(class.bytes()))
            .sum();
        let segments = self.supply.spare().saturating_sub(self.kept(Purpose::Write));
        let whole = u64::from(segments) * u64::from(SEGMENT_BYTES);
        self.config.full_bytes().saturating_sub(self.taken_bytes).min(carved + whole)
    }
}
