//! Each assertion can fail: wrong calls, and damage that `check` must see.

use super::super::Allocator;
use super::super::lists::Counts;
use super::super::table::{Place, Segment};
use super::{BIG, Purpose, big, dense, drop_now, fill, segment};
use crate::address::{BlockAddress, Lsn};

/// Two segments of 4 MiB blocks: the first full, the second current; block (1, 1) is reserved and
/// block (1, 0) quarantined.
fn store() -> Allocator {
    let mut store = dense(4);
    let blocks = fill(&mut store, BIG, 17);
    store.quarantine(blocks[16], Lsn::new(1), 0);
    assert_eq!(store.reserve(BIG, Purpose::Write), Ok(big(1, 1)));
    store.check();
    store
}

/// Like `rows!`: a name, the message, and what is done to `store()`.
macro_rules! panics {
    ($($name:ident, $message:literal, $act:expr;)*) => {$(
        #[test]
        #[should_panic(expected = $message)]
        fn $name() {
            let mut store = store();
            let act: fn(&mut Allocator) = $act;
            act(&mut store);
        }
    )*};
}

panics! {
    e110_a_live_block_is_not_published, "E110: block-0 becomes Live, but it is None, not Reserved",
        |store| store.publish(big(0, 0));
    e110_a_free_block_is_not_published, "E110: block-32768 becomes Live, but it is None",
        |store| store.publish(big(2, 0));
    e110_a_quarantined_block_is_not_published, "but it is Some(Quarantined), not Reserved",
        |store| store.publish(big(1, 0));
    e110_a_block_is_published_once, "E110: block-17408 becomes Live, but it is None",
        |store| { store.publish(big(1, 1)); store.publish(big(1, 1)); };
    e110_a_live_block_is_not_unreserved, "E110: block-0 becomes Free, but it is None",
        |store| store.unreserve(big(0, 0));
    e110_a_block_is_unreserved_once, "E110: block-17408 becomes Free, but it is None",
        |store| { store.unreserve(big(1, 1)); store.unreserve(big(1, 1)); };
    e110_a_block_is_quarantined_once, "E110: block-16384 becomes quarantined, but it is Quar",
        |store| store.quarantine(big(1, 0), Lsn::new(2), 0);
    e110_a_reserved_block_is_not_dropped, "E110: block-17408 becomes quarantined, but it is Res",
        |store| store.quarantine(big(1, 1), Lsn::new(2), 0);
    e110_a_free_block_is_not_dropped, "E110: block-18432 becomes quarantined, but it is Free",
        |store| store.quarantine(big(1, 2), Lsn::new(2), 0);
    e110_no_block_is_not_dropped, "E110: no block becomes quarantined, but it is Free",
        |store| store.quarantine(BlockAddress::NONE, Lsn::new(2), 0);
    e110_the_middle_of_a_block_is_not_dropped, "E110: block-1 becomes quarantined, but it is Free",
        |store| store.quarantine(BlockAddress::new(1), Lsn::new(2), 0);
    e110_a_live_block_is_no_given_up_plan, "E110: block-0 becomes Quarantined, but it is None",
        |store| store.quarantine_reserved(big(0, 0), Lsn::new(2), 0);
    e114_nobody_asked_for_a_claim, "E114: segment-2 is Some(Pool), expected Claiming",
        |store| store.claimed(segment(2));
    e114_nobody_asked_for_a_discard, "E114: segment-0 is Some(Open(BlockClass(10))), expected Disc",
        |store| store.discarded(segment(0));
    e114_no_such_segment, "E114: segment-9 is None, expected Discarding",
        |store| store.discarded(segment(9));
    e114_a_failed_claim_was_asked_for, "E114: segment-2 is Some(Pool), expected Claiming",
        |store| store.claim_failed(segment(2));
    e114_only_sparse_stores_give_back, "but the store is not sparse",
        |store| store.unclaimed(segment(2));
    e114_a_segment_freezes_once, "E114: segment-0 is frozen already",
        |store| { store.freeze(segment(0)); store.freeze(segment(0)); };
    e114_an_empty_segment_does_not_freeze, "E114: segment-2 is Some(Pool), not carved",
        |store| store.freeze(segment(2));
    e114_no_block_appears_during_a_discard, "E114: segment-2 gets a block, but it is Some(Discard",
        |store| {
            store.adopt(big(2, 0), BIG).unwrap();
            drop_now_one(store);
            assert_eq!(store.next_discard(), Some(segment(2)));
            let _ = store.adopt(big(2, 0), BIG);
        };
    e113_bits, "E113: blocks of segment-1",
        |store| { store.table.carved_mut(segment(1)).bits.set(9); store.check(); };
    e113_taken, "E113: blocks of segment-0",
        |store| { store.table.carved_mut(segment(0)).taken -= 1; store.check(); };
    e113_counts, "E113: counts of 4 MiB",
        |store| { store.classes[10].counts.quarantined += 1; store.check(); };
    e113_counts_of_no_segment, "E113: counts of 1 MiB",
        |store| {
            store.classes[8].counts = Counts { segments: 1, ..Counts::default() };
            store.check();
        };
    e113_bytes, "E113: bytes taken",
        |store| { store.taken_bytes += 1; store.check(); };
    e113_current, "E113: segment-1 is current or not",
        |store| { store.classes[10].current = None; store.check(); };
    e113_place, "E113: segment-0 with 16 of 4 MiB taken is at Listed(3)",
        |store| { store.table.carved_mut(segment(0)).place = Place::Listed(3); store.check(); };
    e113_a_segment_missing_in_its_list, "E113: segments in the lists of 4 MiB",
        |store| {
            store.classes[10].current = None;
            store.table.carved_mut(segment(1)).place = Place::Listed(8);
            store.check();
        };
    e110_kept_aside_without_a_bit, "E110: blocks kept aside",
        |store| { store.held.insert(big(2, 0), super::super::Held::Reserved); store.check(); };
    e112_kept_aside_without_a_place_in_line, "E112: blocks in quarantine",
        |store| { store.quarantine.pop(Lsn::new(1), 0); store.check(); };
    e114_sets, "E114: sets of segment-2",
        |store| { store.supply.pool.remove(segment(2)); store.check(); };
    e114_states, "E114: sets of segment-3",
        |store| { *store.table.get_mut(segment(3)) = Segment::Draining; store.check(); };
    e113_claims, "E113: segments being claimed",
        |store| { store.supply.claiming = 1; store.check(); };
    e113_discards, "E113: segments being discarded",
        |store| { store.supply.discarding = 1; store.check(); };
}

/// The block of segment 2, adopted before.
fn drop_now_one(store: &mut Allocator) {
    store.quarantine(big(2, 0), Lsn::ZERO, 0);
    store.release(Lsn::ZERO, 0);
}

#[test]
fn nothing_above_panics_by_accident() {
    let mut store = store();
    store.publish(big(1, 1));
    store.quarantine(big(1, 1), Lsn::new(2), 0);
    assert_eq!(store.release(Lsn::new(2), 0), 2);
    drop_now(&mut store, (0..16).map(|index| big(0, index)));
    store.check();
}
