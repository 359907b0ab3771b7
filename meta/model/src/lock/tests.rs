//! Who gets a lock, and who waits.

use meta_schema::LockFamily;

use super::{Held, Locks, Outcome};
use crate::world::ROOT;

fn lock(owner: u64, write: bool, start: u64, end: u64) -> Held {
    Held { family: LockFamily::Posix, owner: (1, owner), write, start, end }
}

#[test]
fn e467_own_locks_are_split_and_replaced_byte_by_byte() {
    let mut locks = Locks::default();
    assert_eq!(locks.set(ROOT, lock(1, true, 0, 9), false), Outcome::Granted);
    assert_eq!(locks.set(ROOT, lock(1, false, 3, 5), false), Outcome::Granted);
    for (start, end, free) in [(0, 0, false), (3, 5, true), (2, 3, false), (6, 6, false)] {
        let against = locks.against(ROOT, &lock(2, false, start, end));
        assert_eq!(against.is_empty(), free, "{start} {end}");
    }
    locks.unlock(ROOT, &lock(1, false, 1, 8));
    assert_eq!(locks.against(ROOT, &lock(2, true, 0, 9)).len(), 2);
    assert!(locks.covers(ROOT, &lock(1, true, 9, 9)));
    assert!(!locks.covers(ROOT, &lock(1, true, 8, 9)));
}

#[test]
fn e467_who_waits_is_next_in_the_order_of_arrival() {
    let mut locks = Locks::default();
    assert_eq!(locks.set(ROOT, lock(1, true, 0, 9), true), Outcome::Granted);
    for (owner, ticket) in [(2, 20), (3, 30)] {
        assert_eq!(locks.set(ROOT, lock(owner, true, 0, 0), true), Outcome::Queued);
        assert!(locks.name(ROOT, ticket));
    }
    assert_eq!(locks.set(ROOT, lock(4, true, 5, 5), false), Outcome::Busy);
    locks.unlock(ROOT, &lock(1, true, 0, 9));
    assert_eq!(locks.waits(ROOT, (1, 2), 20), Some(false));
    assert_eq!(locks.waits(ROOT, (1, 3), 30), Some(true));
    assert!(locks.keeps(ROOT, 20) && !locks.keeps(ROOT, 30));
    // Who does not wait overtakes; who does goes behind.
    assert_eq!(locks.set(ROOT, lock(5, true, 0, 0), true), Outcome::Queued);
    locks.cancel(ROOT, 30);
    locks.unlock(ROOT, &lock(2, true, 0, 0));
    assert_eq!(locks.set(ROOT, lock(4, false, 0, 0), false), Outcome::Busy);
}

#[test]
fn waits_that_would_never_end_are_refused() {
    let mut locks = Locks::default();
    assert_eq!(locks.set(ROOT, lock(1, true, 0, 0), true), Outcome::Granted);
    assert_eq!(locks.set(ROOT, lock(2, true, 1, 1), true), Outcome::Granted);
    assert_eq!(locks.set(ROOT, lock(1, true, 1, 1), true), Outcome::Queued);
    assert_eq!(locks.set(ROOT, lock(2, true, 0, 0), true), Outcome::Deadlock);
}

#[test]
fn what_was_granted_to_a_waiter_may_be_given_back() {
    let mut locks = Locks::default();
    assert_eq!(locks.set(ROOT, lock(1, false, 2, 4), true), Outcome::Granted);
    assert_eq!(locks.set(ROOT, lock(2, true, 2, 4), true), Outcome::Queued);
    assert!(locks.name(ROOT, 20));
    locks.unlock(ROOT, &lock(1, false, 2, 4));
    assert!(locks.keeps(ROOT, 20));
    locks.unlock(ROOT, &lock(2, false, 4, 4));
    assert_eq!(locks.waits(ROOT, (1, 2), 20), Some(false), "he was granted it");
    assert!(!locks.keeps(ROOT, 20), "and has only a part of it");
}

#[test]
fn waits_for_what_is_going_may_be_over() {
    let other = crate::world::NodeId(7);
    let mut locks = Locks::default();
    assert_eq!(locks.set(other, lock(1, true, 0, 9), true), Outcome::Granted);
    assert_eq!(locks.set(ROOT, lock(2, true, 0, 9), true), Outcome::Granted);
    assert_eq!(locks.set(other, lock(2, true, 0, 9), true), Outcome::Queued);
    let wanted = lock(1, true, 0, 9);
    assert_eq!(locks.without_going(), None);
    locks.go(other);
    assert!(locks.deadlocks(ROOT, &wanted, false), "nobody has seen it go");
    let mut rest = locks.without_going().unwrap();
    assert!(!rest.deadlocks(ROOT, &wanted, false));
    assert_eq!(rest.set(ROOT, wanted, true), Outcome::Queued);
    assert_eq!(rest.without_going(), None);
}
