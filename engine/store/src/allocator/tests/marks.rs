//! Where space ends: marks, the reserve, claims, fragmentation.

use super::super::{Allocator, AllocatorConfig, ConfigError, NoBlock, Purpose, SEGMENTS_MAX};
use super::{BIG, SMALL, big, class, dense, drop_now, fill, segment};
use crate::address::{Lsn, SEGMENT_BYTES};

const SEGMENT: u64 = SEGMENT_BYTES as u64;
const BLOCK: u64 = 4 << 20;

fn sparse(segments: u32) -> Allocator {
    Allocator::new(AllocatorConfig::new(segments, true)).unwrap()
}

fn claim(store: &mut Allocator) -> usize {
    let mut count = 0;
    while let Some(segment) = store.next_claim() {
        store.claimed(segment);
        count += 1;
    }
    count
}

#[test]
fn configurations_are_checked() {
    use {AllocatorConfig as C, ConfigError as E};
    let good = C::new(10, false);
    let (max, segments) = (SEGMENTS_MAX, 10);
    #[rustfmt::skip]
    let rows = [
        (C { segments: 0, ..good }, E::Segments { found: 0, max }),
        (C { segments: max + 1, ..good }, E::Segments { found: max + 1, max }),
        (C { reserve_segments: 10, ..good }, E::Reserve { reserve: 10, segments }),
        (C { full_permille: 0, ..good }, E::Mark { found: 0 }),
        (C { full_permille: 1001, ..good }, E::Mark { found: 1001 }),
        (C { claim_ahead: 0, ..good }, E::ClaimAhead),
    ];
    for (config, expected) in rows {
        assert_eq!(Allocator::new(config).err(), Some(expected));
    }
    #[rustfmt::skip]
    let rows = [(1, 0), (2, 1), (3, 2), (200, 2), (299, 2), (300, 3), (229_376, 2_293)];
    for (segments, reserve) in rows {
        let config = AllocatorConfig::new(segments, true);
        assert_eq!(config.reserve_segments, reserve, "{segments} segments");
        assert_eq!(config.check(), Ok(()), "{segments} segments");
    }
}

#[test]
fn writes_stop_at_the_mark_and_others_go_on() {
    let config = AllocatorConfig::new(4, false);
    let config = AllocatorConfig { full_permille: 500, reserve_segments: 0, ..config };
    let mut store = Allocator::new(config).unwrap();
    assert_eq!(store.usage().free_for_writes, 2 * SEGMENT);
    let blocks = fill(&mut store, BIG, 32);
    let full = NoBlock::Full { free: 0, needed: BLOCK };
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(full));
    let full = NoBlock::Full { free: 0, needed: 4096 };
    assert_eq!(store.reserve(SMALL, Purpose::Write), Err(full));
    let moved = store.reserve(BIG, Purpose::Compact).unwrap();
    assert!(store.reserve(SMALL, Purpose::Recover).is_ok());
    store.unreserve(moved);
    // Quarantined blocks are not free yet.
    store.quarantine(blocks[0], Lsn::new(1), 0);
    let full = NoBlock::Full { free: 0, needed: BLOCK };
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(full));
    store.release(Lsn::new(1), 0);
    let full = NoBlock::Full { free: BLOCK - 4096, needed: BLOCK };
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(full));
    assert!(store.reserve(class(9), Purpose::Write).is_ok());
    store.check();
}

#[test]
fn writes_leave_the_reserve_alone() {
    let config = AllocatorConfig { full_permille: 1000, ..AllocatorConfig::new(5, false) };
    let mut store = Allocator::new(config).unwrap();
    assert_eq!(store.usage().free_for_writes, 3 * SEGMENT);
    fill(&mut store, BIG, 48);
    let full = NoBlock::Full { free: 0, needed: BLOCK };
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(full));
    assert_eq!(store.usage().pool_segments, 2);
    assert_eq!(store.reserve(BIG, Purpose::Compact), Ok(big(3, 0)));
    // What the compaction left in its segment is for everyone.
    assert_eq!(store.usage().free_for_writes, SEGMENT - BLOCK);
    assert_eq!(store.reserve(BIG, Purpose::Write), Ok(big(3, 1)));
    assert_eq!(store.reserve(SMALL, Purpose::Recover).unwrap().segment(), segment(4));
    store.check();
}

#[test]
fn free_blocks_of_another_class_starve_this_one() {
    let mut store = dense(3);
    fill(&mut store, BIG, 48);
    let full = NoBlock::Full { free: 0, needed: 4096 };
    assert_eq!(store.reserve(SMALL, Purpose::Write), Err(full));
    // Fragments: 24 of 48 blocks are free, but each segment has some.
    drop_now(&mut store, (0..3).flat_map(|at| (0..8).map(move |index| big(at, 2 * index))));
    assert_eq!(store.usage().free_for_writes, 24 * BLOCK);
    for purpose in [Purpose::Write, Purpose::Compact, Purpose::Recover] {
        assert_eq!(store.reserve(SMALL, purpose), Err(NoBlock::Starved { class: SMALL }));
    }
    // Compaction helps.
    let from = store.compaction_candidate().unwrap();
    store.freeze(from.segment);
    for old in store.live_blocks(from.segment).collect::<std::vec::Vec<_>>() {
        let new = store.reserve(BIG, Purpose::Compact).unwrap();
        store.publish(new);
        store.quarantine(old, Lsn::new(1), 0);
    }
    assert_eq!(store.reserve(SMALL, Purpose::Write), Err(NoBlock::Starved { class: SMALL }));
    store.release(Lsn::new(1), 0);
    assert_eq!(store.reserve(SMALL, Purpose::Write).unwrap().segment(), from.segment);
    store.check();
}

#[test]
fn the_last_segments_being_discarded_are_worth_waiting_for() {
    let mut store = dense(1);
    let blocks = fill(&mut store, BIG, 1);
    drop_now(&mut store, blocks);
    let last = store.next_discard().unwrap();
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(NoBlock::Discarding));
    store.discarded(last);
    assert!(store.reserve(BIG, Purpose::Write).is_ok());
}

#[test]
fn a_sparse_store_claims_ahead() {
    let mut store = sparse(100);
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(NoBlock::Unclaimed));
    assert_eq!(store.reserve(BIG, Purpose::Recover), Err(NoBlock::Unclaimed));
    // Two for writes, and one that writes leave.
    let asked = [store.next_claim(), store.next_claim(), store.next_claim()];
    assert_eq!(asked, [Some(segment(0)), Some(segment(1)), Some(segment(2))]);
    assert_eq!(store.next_claim(), None);
    assert_eq!(store.usage().unclaimed_segments, 100);
    store.claimed(segment(1));
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(NoBlock::Unclaimed), "claims under way");
    store.claimed(segment(0));
    store.claimed(segment(2));
    assert_eq!(store.next_claim(), None);
    fill(&mut store, BIG, 16);
    fill(&mut store, SMALL, 1);
    assert_eq!(store.reserve(class(5), Purpose::Write), Err(NoBlock::Unclaimed));
    assert_eq!(store.reserve(class(5), Purpose::Compact).unwrap().segment(), segment(2));
    assert_eq!(claim(&mut store), 3);
    assert_eq!(store.usage().unclaimed_segments, 94);
    store.check();
}

#[test]
fn an_empty_segment_makes_a_claim_unnecessary_and_may_go_back_to_the_host() {
    let mut store = sparse(100);
    claim(&mut store);
    let blocks = fill(&mut store, BIG, 1);
    assert_eq!(claim(&mut store), 1);
    drop_now(&mut store, blocks);
    assert_eq!(claim(&mut store), 0);
    let gone = store.next_discard().unwrap();
    store.unclaimed(gone);
    assert!(!store.wants_work());
    assert_eq!(store.usage().unclaimed_segments, 97);
    store.check();
}

#[test]
fn a_sparse_store_does_not_give_back_what_it_would_claim_again() {
    let mut store = sparse(100);
    claim(&mut store);
    let blocks = fill(&mut store, BIG, 1);
    drop_now(&mut store, blocks);
    assert_eq!(store.next_discard(), None, "3 segments are wanted, and there are 3");
    assert!(!store.wants_work());
    assert_eq!(fill(&mut store, SMALL, 1)[0].segment(), segment(0));
    assert!(store.wants_work());
}

#[test]
fn a_full_host_stops_writes_and_leaves_a_segment_to_compaction() {
    let mut store = sparse(100);
    claim(&mut store);
    let written = fill(&mut store, BIG, 32);
    let asked = store.next_claim().unwrap();
    let other = store.next_claim().unwrap();
    store.claim_failed(other);
    assert_eq!(store.next_claim(), None);
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(NoBlock::Unclaimed), "one is under way");
    store.claim_failed(asked);
    assert_eq!(store.reserve(BIG, Purpose::Write), Err(NoBlock::HostFull));
    assert_eq!(store.usage().free_for_writes, 0);
    let moved = store.reserve(BIG, Purpose::Compact).unwrap();
    assert_eq!(store.reserve(SMALL, Purpose::Compact), Err(NoBlock::HostFull));
    store.unreserve(moved);
    // What is freed can be used: the reserve is that of a store of 3 segments, which is 1.
    drop_now(&mut store, written);
    assert_eq!(store.usage().free_for_writes, 2 * SEGMENT);
    assert!(store.reserve(BIG, Purpose::Write).is_ok());
    store.retry_claims();
    assert_eq!(store.usage().free_for_writes, 98 * SEGMENT - BLOCK);
    assert_eq!(store.next_claim(), Some(segment(3)));
    store.check();
}

/// Segments that are claimed can be emptied for another class while the host gives no more.
#[test]
fn a_class_starves_on_a_full_host_while_a_segment_can_be_emptied() {
    let mut store = sparse(100);
    claim(&mut store);
    let written = fill(&mut store, BIG, 32);
    while let Some(asked) = store.next_claim() {
        store.claim_failed(asked);
    }
    assert_eq!(store.reserve(SMALL, Purpose::Write), Err(NoBlock::HostFull), "both are full");
    drop_now(&mut store, written[1..16].iter().chain(&written[20..32]).copied());
    let starved = Err(NoBlock::Starved { class: SMALL });
    assert_eq!(store.reserve(SMALL, Purpose::Write), starved, "one block is in the way");
    store.freeze(segment(0));
    assert_eq!(store.reserve(SMALL, Purpose::Write), starved, "it is being emptied");
    let moved = store.reserve(BIG, Purpose::Compact).unwrap();
    store.publish(moved);
    store.quarantine(written[0], Lsn::new(1), 0);
    assert!(store.is_vacating(segment(0)));
    assert_eq!(store.reserve(SMALL, Purpose::Write), starved, "it is about to be empty");
    assert_eq!(store.release(Lsn::new(1), 0), 1);
    assert!(!store.is_vacating(segment(0)));
    assert!(store.reserve(SMALL, Purpose::Write).is_ok());
    store.check();
}

#[test]
fn usage_counts_by_state_and_class() {
    let mut store = dense(8);
    let blocks = fill(&mut store, BIG, 5);
    fill(&mut store, SMALL, 3);
    store.reserve(SMALL, Purpose::Write).unwrap();
    store.quarantine(blocks[0], Lsn::new(9), 0);
    store.freeze(segment(0));
    let usage = store.usage();
    assert_eq!(usage.bytes, 8 * SEGMENT);
    assert_eq!(usage.live, 4 * BLOCK + 3 * 4096);
    assert_eq!((usage.reserved, usage.quarantined), (4096, BLOCK));
    assert_eq!(usage.free_for_writes, 7 * SEGMENT - 4 * 4096);
    assert_eq!((usage.pool_segments, usage.frozen_segments), (6, 1));
    let big = usage.classes[10];
    assert_eq!((big.segments, big.live, big.free), (1, 4, 11));
    let small = usage.classes[0];
    assert_eq!((small.segments, small.live, small.free), (1, 3, 16_380));
}
