//! Tables and single steps; random operations against a naive allocator are in `model`, damage
//! that `check` and the assertions must see in `panics`.

mod audits;
mod marks;
mod model;
mod panics;

use std::vec::Vec;

use engine_types::Rng;

use super::{AdoptError, Allocator, AllocatorConfig, BlockState, Candidate, Purpose, SegmentState};
use crate::address::{BlockAddress, BlockClass, Lsn, SegmentId};

/// 4 MiB: 16 blocks per segment.
const BIG: BlockClass = BlockClass::MAX;
/// 4 KiB: 16,384 blocks per segment.
const SMALL: BlockClass = BlockClass::MIN;

/// Of a block device: all segments are in the pool; no reserve, no mark.
fn dense(segments: u32) -> Allocator {
    let config = AllocatorConfig::new(segments, false);
    Allocator::new(AllocatorConfig { reserve_segments: 0, full_permille: 1000, ..config }).unwrap()
}

/// A number below `bound`.
pub(super) fn below(rng: &mut Rng, bound: u32) -> u32 {
    u32::try_from(rng.below(bound.into())).unwrap()
}

fn class(raw: u8) -> BlockClass {
    BlockClass::new(raw).unwrap()
}

fn segment(raw: u32) -> SegmentId {
    SegmentId::new(raw)
}

/// Block `index` of a segment of 4 MiB blocks.
fn big(segment: u32, index: u32) -> BlockAddress {
    BlockAddress::new(segment * 16_384 + index * 1_024)
}

/// `count` live blocks.
fn fill(store: &mut Allocator, class: BlockClass, count: u32) -> Vec<BlockAddress> {
    let mut blocks = Vec::new();
    for _ in 0..count {
        let block = store.reserve(class, Purpose::Write).unwrap();
        store.publish(block);
        blocks.push(block);
    }
    blocks
}

/// Live blocks become free at once.
fn drop_now(store: &mut Allocator, blocks: impl IntoIterator<Item = BlockAddress>) {
    let mut count = 0;
    for block in blocks {
        store.quarantine(block, Lsn::ZERO, 0);
        count += 1;
    }
    assert_eq!(store.release(Lsn::ZERO, 0), count);
}

#[test]
fn e110_a_block_goes_through_its_states() {
    let mut store = dense(2);
    let block = store.reserve(BIG, Purpose::Write).unwrap();
    assert_eq!(store.state(block), BlockState::Reserved);
    store.publish(block);
    assert_eq!(store.state(block), BlockState::Live);
    assert!(store.is_live(block));
    store.quarantine(block, Lsn::new(3), 5);
    assert_eq!(store.state(block), BlockState::Quarantined);
    assert_eq!(store.release(Lsn::new(3), 5), 1);
    assert_eq!(store.state(block), BlockState::Free);
    let block = store.reserve(BIG, Purpose::Write).unwrap();
    store.unreserve(block);
    assert_eq!(store.state(block), BlockState::Free);
    assert_eq!(store.state(BlockAddress::NONE), BlockState::Free);
    store.check();
}

#[test]
fn e112_both_the_group_and_the_plans_must_have_passed() {
    let mut store = dense(1);
    let blocks = fill(&mut store, BIG, 4);
    // Neither number ascends: nothing may depend on the order in which blocks come in.
    let held = [(7, 2), (5, 9), (6, 1), (5, 4)];
    for (&block, (lsn, pin)) in blocks.iter().zip(held) {
        store.quarantine(block, Lsn::new(lsn), pin);
    }
    #[rustfmt::skip]
    let rows = [
        // durable, passed, blocks that become free
        (4, 99, &[][..]),
        (5,  3, &[]),
        (6,  3, &[2]),
        (6,  4, &[3]),
        (99, 1, &[]),
        (99, 8, &[0]),
        (99, 9, &[1]),
    ];
    for (durable, passed, freed) in rows {
        let count = store.release(Lsn::new(durable), passed);
        assert_eq!(count, freed.len() as u64, "durable {durable}, passed {passed}");
        for &index in freed {
            assert_eq!(store.state(blocks[index]), BlockState::Free, "block {index}");
        }
        store.check();
    }
}

#[test]
fn a_plan_given_up_late_waits_in_quarantine() {
    let mut store = dense(1);
    let block = store.reserve(BIG, Purpose::Write).unwrap();
    store.quarantine_reserved(block, Lsn::new(2), 0);
    assert_eq!(store.state(block), BlockState::Quarantined);
    assert_eq!(store.release(Lsn::new(1), 0), 0);
    assert_eq!(store.release(Lsn::new(2), 0), 1);
    store.check();
}

#[test]
fn the_fullest_segment_is_filled_first() {
    let mut store = dense(4);
    fill(&mut store, BIG, 64);
    drop_now(&mut store, [big(0, 3), big(0, 4), big(0, 5), big(1, 9), big(3, 0), big(3, 7)]);
    let next = fill(&mut store, BIG, 6);
    let expected = [big(1, 9), big(3, 0), big(3, 7), big(0, 3), big(0, 4), big(0, 5)];
    assert_eq!(next, expected, "1 free, then 2, then 3; the lowest block first");
    store.check();
}

#[test]
fn the_current_segment_stays_until_it_is_full() {
    let mut store = dense(3);
    fill(&mut store, BIG, 18); // segment 1 is current with two blocks
    drop_now(&mut store, [big(0, 5)]);
    let next = fill(&mut store, BIG, 15);
    assert!(next[..14].iter().all(|block| block.segment() == segment(1)));
    assert_eq!(next[14], big(0, 5));
    store.check();
}

#[test]
fn small_blocks_are_ordered_by_64ths_of_fill() {
    let mut store = dense(2);
    let blocks = fill(&mut store, SMALL, 32_768);
    drop_now(&mut store, blocks[..257].iter().copied());
    drop_now(&mut store, blocks[16_384..16_384 + 600].iter().copied());
    assert_eq!(store.reserve(SMALL, Purpose::Write), Ok(blocks[0]));
    store.check();
}

#[test]
fn e114_an_empty_segment_drains_is_discarded_and_serves_another_class() {
    let mut store = dense(1);
    let blocks = fill(&mut store, BIG, 3);
    assert_eq!(store.next_discard(), None);
    drop_now(&mut store, blocks);
    assert_eq!(store.segment_state(segment(0)), Some(SegmentState::Draining));
    assert_eq!(store.next_discard(), Some(segment(0)));
    assert_eq!(store.segment_state(segment(0)), Some(SegmentState::Discarding));
    assert_eq!(store.next_discard(), None);
    store.discarded(segment(0));
    assert_eq!(store.segment_state(segment(0)), Some(SegmentState::Pool));
    fill(&mut store, SMALL, 1);
    assert_eq!(store.segment_state(segment(0)), Some(SegmentState::Open(SMALL)));
    assert_eq!(store.segment_state(segment(1)), None);
    store.check();
}

#[test]
fn an_empty_segment_is_taken_again_before_the_pool() {
    let mut store = dense(3);
    let first = fill(&mut store, BIG, 16);
    let second = fill(&mut store, BIG, 1);
    drop_now(&mut store, second);
    let next = fill(&mut store, SMALL, 1);
    assert_eq!(next[0].segment(), segment(1));
    drop_now(&mut store, first);
    assert_eq!(fill(&mut store, BIG, 1)[0].segment(), segment(0));
    assert_eq!(store.usage().pool_segments, 1);
    store.check();
}

#[test]
fn adoption_finds_contradictions() {
    let mut store = dense(3);
    store.adopt(big(1, 2), BIG).unwrap();
    store.adopt(big(2, 0), SMALL).unwrap();
    let before = store.usage();
    let none = BlockAddress::NONE;
    let odd = BlockAddress::new(1_023);
    #[rustfmt::skip]
    let rows = [
        (big(1, 2), BIG, AdoptError::Shared { block: big(1, 2), class: BIG }),
        (big(2, 0), SMALL, AdoptError::Shared { block: big(2, 0), class: SMALL }),
        (big(2, 1), BIG, AdoptError::Class { block: big(2, 1), found: BIG, expected: SMALL }),
        (big(1, 3), SMALL, AdoptError::Class { block: big(1, 3), found: SMALL, expected: BIG }),
        (odd, BIG, AdoptError::Unaligned { block: odd, class: BIG }),
        (big(3, 0), BIG, AdoptError::OutOfRange { block: big(3, 0), segments: 3 }),
        (none, SMALL, AdoptError::OutOfRange { block: none, segments: 3 }),
    ];
    for (block, class, expected) in rows {
        assert_eq!(store.adopt(block, class), Err(expected));
    }
    assert_eq!(store.usage(), before, "nothing has changed");
    store.check();
    let reserved = store.reserve(BIG, Purpose::Recover).unwrap();
    assert_eq!(store.adopt(reserved, BIG), Err(AdoptError::Shared { block: reserved, class: BIG }));
}

#[test]
fn what_was_loaded_is_listed_once_and_what_was_unloaded_is_free() {
    let mut store = Allocator::new(AllocatorConfig::new(4, true)).unwrap();
    for index in [0, 1, 2] {
        store.load(big(0, index), BIG).unwrap();
    }
    store.load(big(1, 0), BIG).unwrap();
    assert_eq!(
        store.load(big(0, 2), BIG),
        Err(AdoptError::Shared { block: big(0, 2), class: BIG })
    );
    store.unload(big(0, 1));
    store.unload(big(1, 0));
    store.loaded();
    store.check();
    let live: Vec<_> = store.live_blocks(segment(0)).collect();
    assert_eq!(live, [big(0, 0), big(0, 2)]);
    assert_eq!(store.segment_state(segment(1)), Some(SegmentState::Draining));
    assert_eq!(store.reserve(BIG, Purpose::Write), Ok(big(0, 1)));
}

#[test]
fn a_segment_can_be_adopted_until_it_is_full_whatever_it_was() {
    // Current, frozen, draining and unclaimed segments.
    let mut store = Allocator::new(AllocatorConfig::new(8, true)).unwrap();
    store.adopt(big(0, 0), BIG).unwrap();
    assert_eq!(store.reserve(BIG, Purpose::Write), Ok(big(0, 1)));
    for index in 2..16 {
        store.adopt(big(0, index), BIG).unwrap();
        store.check();
    }
    store.adopt(big(5, 0), BIG).unwrap();
    store.freeze(segment(5));
    store.adopt(big(5, 1), BIG).unwrap();
    store.check();
    drop_now(&mut store, [big(5, 0), big(5, 1)]);
    store.adopt(big(5, 4), class(9)).unwrap();
    store.check();
    assert_eq!(store.usage().unclaimed_segments, 6);
}

#[test]
fn a_frozen_segment_gives_nothing_and_empties() {
    let mut store = dense(3);
    fill(&mut store, BIG, 20);
    drop_now(&mut store, (4..16).map(|index| big(0, index)));
    let candidate = store.compaction_candidate();
    let expected = Candidate { segment: segment(0), class: BIG, live: 4, free: 12 };
    assert_eq!(candidate, Some(expected));
    assert_eq!(expected.live_bytes(), 16 << 20);
    let free = store.usage().free_for_writes;
    store.freeze(segment(0));
    assert_eq!(store.segment_state(segment(0)), Some(SegmentState::Frozen(BIG)));
    assert_eq!(store.usage().free_for_writes, free - (48 << 20));
    assert_eq!(store.compaction_candidate(), None, "it is being emptied");
    store.check();
    for from in store.live_blocks(segment(0)).collect::<Vec<_>>() {
        let to = store.reserve(BIG, Purpose::Compact).unwrap();
        assert_eq!(to.segment(), segment(1));
        store.publish(to);
        store.quarantine(from, Lsn::new(1), 0);
        assert!(!store.live_blocks(segment(0)).any(|block| block == from));
    }
    store.check();
    assert_eq!(store.release(Lsn::new(1), 0), 4);
    assert_eq!(store.segment_state(segment(0)), Some(SegmentState::Draining));
    assert!(!store.thaw(segment(0)), "it is empty, so there is nothing to thaw");
    store.check();
}

#[test]
fn a_thawed_segment_gives_blocks_again() {
    let mut store = dense(1);
    fill(&mut store, BIG, 4);
    store.freeze(segment(0));
    assert!(store.reserve(BIG, Purpose::Compact).is_err());
    assert!(store.thaw(segment(0)));
    assert!(!store.thaw(segment(0)));
    assert_eq!(store.reserve(BIG, Purpose::Compact), Ok(big(0, 4)));
    store.check();
    // A full one, too.
    fill(&mut store, BIG, 11);
    store.freeze(segment(0));
    assert!(store.thaw(segment(0)));
    store.check();
}

#[test]
fn candidates_are_worth_their_copies() {
    let mut store = dense(4);
    fill(&mut store, BIG, 32);
    assert_eq!(store.compaction_candidate(), None, "full segments cannot be moved anywhere");
    drop_now(&mut store, (0..8).map(|index| big(0, index)));
    assert_eq!(store.compaction_candidate(), None, "8 blocks do not fit 0 free ones");
    drop_now(&mut store, (0..9).map(|index| big(1, index)));
    let expected = Candidate { segment: segment(1), class: BIG, live: 7, free: 9 };
    assert_eq!(store.compaction_candidate(), Some(expected), "the emptiest");
    for index in 9..16 {
        store.quarantine(big(1, index), Lsn::new(1), 0);
    }
    let expected = Candidate { segment: segment(0), class: BIG, live: 8, free: 8 };
    assert_eq!(store.compaction_candidate(), Some(expected), "the other empties by itself");
    assert_eq!(store.live_blocks(segment(1)).count(), 0);
    assert_eq!(store.live_blocks(segment(2)).count(), 0, "not carved");
}

#[test]
fn the_candidate_with_the_fewest_bytes_wins_across_classes() {
    let mut store = dense(4);
    for (at, raw) in [(0, 10), (1, 10), (2, 0), (3, 0)] {
        for index in 0..7 {
            let sector = at * 16_384 + index * class(raw).sectors();
            store.adopt(BlockAddress::new(sector), class(raw)).unwrap();
        }
    }
    let candidate = store.compaction_candidate().unwrap();
    assert_eq!((candidate.class, candidate.live), (SMALL, 7));
}

#[test]
fn the_smallest_and_the_largest_store() {
    let mut store = dense(1);
    assert_eq!(fill(&mut store, class(4), 1_024).len(), 1_024);
    assert!(store.reserve(class(4), Purpose::Recover).is_err());
    store.check();
    let segments = super::SEGMENTS_MAX;
    let mut store = Allocator::new(AllocatorConfig::new(segments, false)).unwrap();
    let last = big(segments - 1, 15);
    store.adopt(last, BIG).unwrap();
    store.adopt(BlockAddress::new(16_383), SMALL).unwrap();
    assert!(store.is_live(last));
    assert_eq!(store.usage().pool_segments, segments - 2);
    assert_eq!(store.reserve(BIG, Purpose::Write), Ok(big(segments - 1, 0)));
}

#[test]
fn adopted_segments_are_listed_in_runs() {
    let mut allocator = Allocator::new(AllocatorConfig::new(20, true)).unwrap();
    let class = BlockClass::new(0).unwrap();
    for segment in [2, 3, 4, 9, 19] {
        let block = BlockAddress::new(segment * crate::address::SEGMENT_SECTORS);
        allocator.adopt(block, class).unwrap();
    }
    let runs = |max| {
        let mut found = Vec::new();
        let mut next = 0;
        while let Some(run) = allocator.adopted_run(next, max) {
            next = run.end;
            found.push(run);
        }
        found
    };
    assert_eq!(runs(100), [2..5, 9..10, 19..20]);
    assert_eq!(runs(2), [2..4, 4..5, 9..10, 19..20]);
}
