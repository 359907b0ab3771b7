//! The naive allocator: a list of segments, each a list of blocks.

use std::vec;
use std::vec::Vec;

use super::super::super::{Allocator, AllocatorConfig, BlockState, NoBlock, Purpose, SegmentState};
use crate::address::{BlockAddress, BlockClass, Lsn, SEGMENT_BYTES, SEGMENT_SECTORS, SegmentId};

pub(super) struct Naive {
    pub(super) config: AllocatorConfig,
    pub(super) is_host_full: bool,
    segments: Vec<Segment>,
    /// In no order.
    quarantine: Vec<(Lsn, u64, BlockAddress)>,
}

struct Segment {
    state: SegmentState,
    is_current: bool,
    blocks: Vec<BlockState>,
    /// Blocks by state; `compare` counts them anew.
    counts: [u32; 4],
}

impl Segment {
    fn count(&self, state: BlockState) -> u32 {
        self.counts[state as usize]
    }

    fn recount(&self, state: BlockState) -> u32 {
        number(self.blocks.iter().filter(|&&it| it == state).count())
    }

    /// Its class, if its free blocks may be taken.
    fn open(&self) -> Option<BlockClass> {
        match self.state {
            SegmentState::Open(class) => Some(class),
            _ => None,
        }
    }

    fn class(&self) -> Option<BlockClass> {
        match self.state {
            SegmentState::Open(class) | SegmentState::Frozen(class) => Some(class),
            _ => None,
        }
    }

    fn bytes(&self, state: BlockState) -> u64 {
        self.class().map_or(0, |class| u64::from(self.count(state)) * u64::from(class.bytes()))
    }
}

impl Naive {
    pub(super) fn new(config: AllocatorConfig) -> Self {
        let state = if config.sparse { SegmentState::Unclaimed } else { SegmentState::Pool };
        let segment = || Segment { state, is_current: false, blocks: Vec::new(), counts: [0; 4] };
        Self {
            config,
            is_host_full: false,
            segments: (0..config.segments).map(|_| segment()).collect(),
            quarantine: Vec::new(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = (SegmentId, &Segment)> {
        (0..).map(SegmentId::new).zip(&self.segments)
    }

    fn at(&mut self, segment: SegmentId) -> &mut Segment {
        &mut self.segments[segment.get() as usize]
    }

    fn put(&mut self, block: BlockAddress, state: BlockState) {
        let segment = self.at(block.segment());
        let sectors = segment.class().unwrap().sectors();
        let old = &mut segment.blocks[(block.get() % SEGMENT_SECTORS / sectors) as usize];
        segment.counts[*old as usize] -= 1;
        segment.counts[state as usize] += 1;
        *old = state;
    }

    fn number(&self, state: SegmentState) -> u32 {
        number(self.segments.iter().filter(|it| it.state == state).count())
    }

    fn first(&self, state: SegmentState) -> Option<SegmentId> {
        self.ids().find(|(_, it)| it.state == state).map(|(segment, _)| segment)
    }

    fn taken_bytes(&self) -> u64 {
        let states = [BlockState::Reserved, BlockState::Live, BlockState::Quarantined];
        self.segments.iter().map(|it| states.map(|state| it.bytes(state)).iter().sum::<u64>()).sum()
    }

    fn ready(&self) -> u32 {
        self.number(SegmentState::Pool) + self.number(SegmentState::Draining)
    }

    fn claimable(&self) -> u32 {
        if self.is_host_full { 0 } else { self.number(SegmentState::Unclaimed) }
    }

    fn spare(&self) -> u32 {
        let coming = self.number(SegmentState::Claiming) + self.number(SegmentState::Discarding);
        self.ready() + coming + self.claimable()
    }

    fn kept(&self) -> u32 {
        let Self { config, .. } = self;
        if !self.is_host_full {
            return config.reserve_segments;
        }
        let claimed = config.segments - self.number(SegmentState::Unclaimed);
        (config.reserve_segments * claimed).div_ceil(config.segments)
    }

    fn full_bytes(&self) -> u64 {
        self.config.bytes() * u64::from(self.config.full_permille) / 1000
    }

    fn free_for_writes(&self) -> u64 {
        let open = self.segments.iter().filter(|it| it.open().is_some());
        let free: u64 = open.map(|it| it.bytes(BlockState::Free)).sum();
        let whole = u64::from(self.spare().saturating_sub(self.kept()));
        let free = free + whole * u64::from(SEGMENT_BYTES);
        free.min(self.full_bytes().saturating_sub(self.taken_bytes()))
    }

    /// The segments that may give the next block, or why none does.
    pub(super) fn choices(
        &self,
        class: BlockClass,
        purpose: Purpose,
    ) -> Result<Vec<SegmentId>, NoBlock> {
        let is_write = purpose == Purpose::Write;
        let needed = u64::from(class.bytes());
        let full = NoBlock::Full { free: self.free_for_writes(), needed };
        if is_write && self.full_bytes() < self.taken_bytes() + needed {
            return Err(full);
        }
        let open = self.ids().filter(|(_, it)| it.open() == Some(class));
        let open = open.filter(|(_, it)| 0 < it.count(BlockState::Free)).collect::<Vec<_>>();
        if let Some((segment, _)) = open.iter().find(|(_, it)| it.is_current) {
            return Ok(vec![*segment]);
        }
        let level = |it: &Segment| {
            (class.per_segment() - it.count(BlockState::Free)) * 64 / class.per_segment()
        };
        if let Some(top) = open.iter().map(|(_, it)| level(it)).max() {
            let fullest = open.iter().filter(|(_, it)| level(it) == top);
            return Ok(fullest.map(|(segment, _)| *segment).collect());
        }
        let kept = if is_write { self.kept() } else { 0 };
        if self.spare() <= kept {
            let is_free = |it: &Segment| 0 < it.bytes(BlockState::Free);
            let is_frozen = |it: &Segment| matches!(it.state, SegmentState::Frozen(_));
            return Err(match () {
                () if self.segments.iter().any(is_frozen) => NoBlock::Starved { class },
                () if self.is_host_full && 0 < self.number(SegmentState::Unclaimed) => {
                    match self.candidate() {
                        Some(_) => NoBlock::Starved { class },
                        None => NoBlock::HostFull,
                    }
                }
                () if self.segments.iter().any(is_free) => NoBlock::Starved { class },
                () => full,
            });
        }
        if self.ready() <= kept.min(1) {
            let claims = self.number(SegmentState::Claiming) + self.claimable();
            return Err(if 0 < claims { NoBlock::Unclaimed } else { NoBlock::Discarding });
        }
        let next = self.first(SegmentState::Draining).or_else(|| self.first(SegmentState::Pool));
        Ok(vec![next.unwrap()])
    }

    pub(super) fn reserve(&mut self, block: BlockAddress, class: BlockClass) {
        for it in &mut self.segments {
            it.is_current &= it.open() != Some(class);
        }
        self.carve(block.segment(), class);
        let segment = self.at(block.segment());
        let lowest = segment.blocks.iter().position(|&it| it == BlockState::Free).unwrap();
        segment.is_current = segment.count(BlockState::Free) != 1;
        let lowest = number(lowest) * class.sectors();
        let expected = block.segment().get() * SEGMENT_SECTORS + lowest;
        assert_eq!(block.get(), expected, "the lowest free block");
        self.put(block, BlockState::Reserved);
    }

    fn carve(&mut self, segment: SegmentId, class: BlockClass) {
        let segment = self.at(segment);
        if segment.class().is_none() {
            segment.state = SegmentState::Open(class);
            segment.blocks = vec![BlockState::Free; class.per_segment() as usize];
            segment.counts = [class.per_segment(), 0, 0, 0];
        }
    }

    pub(super) fn adopt(&mut self, block: BlockAddress, class: BlockClass) {
        self.carve(block.segment(), class);
        self.put(block, BlockState::Live);
    }

    pub(super) fn publish(&mut self, block: BlockAddress) {
        self.put(block, BlockState::Live);
    }

    pub(super) fn quarantine(&mut self, block: BlockAddress, lsn: Lsn, pin: u64) {
        self.put(block, BlockState::Quarantined);
        self.quarantine.push((lsn, pin, block));
    }

    pub(super) fn release(&mut self, durable: Lsn, passed: u64) -> u64 {
        let all = core::mem::take(&mut self.quarantine);
        let (free, rest) = all.into_iter().partition(|it| it.0 <= durable && it.1 <= passed);
        self.quarantine = rest;
        let free: Vec<_> = free;
        free.iter().for_each(|it| self.free(it.2));
        free.len() as u64
    }

    pub(super) fn free(&mut self, block: BlockAddress) {
        self.put(block, BlockState::Free);
        let segment = self.at(block.segment());
        if segment.count(BlockState::Free) as usize == segment.blocks.len() {
            segment.state = SegmentState::Draining;
            segment.is_current = false;
            segment.blocks.clear();
            segment.counts = [0; 4];
        }
    }

    pub(super) fn next_claim(&mut self) -> Option<SegmentId> {
        let claimed = self.ready() + self.number(SegmentState::Claiming);
        if self.is_host_full || self.claimed_wanted() <= claimed {
            return None;
        }
        let segment = self.first(SegmentState::Unclaimed)?;
        self.set(segment, SegmentState::Claiming);
        Some(segment)
    }

    fn claimed_wanted(&self) -> u32 {
        self.config.claim_ahead + self.config.reserve_segments.min(1)
    }

    pub(super) fn claim_failed(&mut self, segment: SegmentId) {
        self.set(segment, SegmentState::Unclaimed);
        self.is_host_full = true;
    }

    pub(super) fn next_discard(&mut self) -> Option<SegmentId> {
        let claimed = self.ready() + self.number(SegmentState::Claiming);
        if self.config.sparse && claimed <= self.claimed_wanted() {
            return None;
        }
        let segment = self.first(SegmentState::Draining)?;
        self.set(segment, SegmentState::Discarding);
        Some(segment)
    }

    pub(super) fn set(&mut self, segment: SegmentId, state: SegmentState) {
        self.at(segment).state = state;
    }

    pub(super) fn state(&self, segment: SegmentId) -> SegmentState {
        self.segments[segment.get() as usize].state
    }

    pub(super) fn freeze(&mut self, segment: SegmentId) {
        let it = self.at(segment);
        it.state = SegmentState::Frozen(it.class().unwrap());
        it.is_current = false;
    }

    pub(super) fn thaw(&mut self, segment: SegmentId) {
        let it = self.at(segment);
        if let SegmentState::Frozen(class) = it.state {
            it.state = SegmentState::Open(class);
        }
    }

    pub(super) fn live_and_free(&self, segment: SegmentId) -> (u32, u32) {
        let it = &self.segments[segment.get() as usize];
        (it.count(BlockState::Live), it.count(BlockState::Free))
    }

    /// Fewest bytes that have to be moved to empty a segment, and their blocks.
    pub(super) fn candidate(&self) -> Option<(u64, u32)> {
        let open = self.segments.iter().filter(|it| it.open().is_some());
        let candidates = open.clone().filter(|it| {
            let others = open.clone().filter(|other| other.open() == it.open());
            let free: u32 = others.map(|other| other.count(BlockState::Free)).sum();
            let own = it.count(BlockState::Free);
            let live = it.count(BlockState::Live);
            !it.is_current && 0 < own && 0 < live && live <= free - own
        });
        let costs = candidates.map(|it| (it.bytes(BlockState::Live), it.count(BlockState::Live)));
        // Of equal costs the lower class comes first, which has more blocks.
        costs.min_by_key(|&(bytes, blocks)| (bytes, u32::MAX - blocks))
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (BlockAddress, BlockClass)> {
        self.blocks().filter(|it| it.2 == BlockState::Live).map(|it| (it.0, it.1))
    }

    fn blocks(&self) -> impl Iterator<Item = (BlockAddress, BlockClass, BlockState)> {
        self.ids().flat_map(|(segment, it)| {
            (0..).zip(&it.blocks).map(move |(index, &state)| {
                let class = it.class().unwrap();
                let sector = segment.get() * SEGMENT_SECTORS + index * class.sectors();
                (BlockAddress::new(sector), class, state)
            })
        })
    }

    pub(super) fn compare(&self, store: &Allocator) {
        for (segment, it) in self.ids() {
            assert_eq!(store.segment_state(segment), Some(it.state), "{segment}");
            let states =
                [BlockState::Free, BlockState::Reserved, BlockState::Live, BlockState::Quarantined];
            assert!(states.iter().all(|&state| it.count(state) == it.recount(state)));
            let live = self.live().map(|it| it.0).filter(|it| it.segment() == segment);
            assert!(store.live_blocks(segment).eq(live), "live blocks of {segment}");
        }
        for (block, _, state) in self.blocks() {
            assert_eq!(store.state(block), state, "{block}");
        }
        let usage = store.usage();
        let bytes = |state| self.segments.iter().map(|it| it.bytes(state)).sum::<u64>();
        let found = [usage.live, usage.reserved, usage.quarantined, usage.free_for_writes];
        let expected = [
            bytes(BlockState::Live),
            bytes(BlockState::Reserved),
            bytes(BlockState::Quarantined),
            self.free_for_writes(),
        ];
        assert_eq!(found, expected, "live, reserved, quarantined, free for writes");
        let count = |state| self.number(state);
        let found = [usage.pool_segments, usage.unclaimed_segments, usage.draining_segments];
        let expected = [
            count(SegmentState::Pool),
            count(SegmentState::Unclaimed) + count(SegmentState::Claiming),
            count(SegmentState::Draining) + count(SegmentState::Discarding),
        ];
        assert_eq!(found, expected, "pool, unclaimed, draining");
        for (raw, found) in (0..).zip(usage.classes) {
            let of_class = |it: &&Segment| it.class() == BlockClass::new(raw);
            let segments = self.segments.iter().filter(of_class);
            let free: u64 = segments.clone().map(|it| u64::from(it.count(BlockState::Free))).sum();
            let live: u64 = segments.clone().map(|it| u64::from(it.count(BlockState::Live))).sum();
            let expected = (number(segments.count()), live, free);
            assert_eq!((found.segments, found.live, found.free), expected, "class {raw}");
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}
