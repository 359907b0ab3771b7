mod model;

use std::vec;
use std::vec::Vec;

use super::*;

fn owner(owner: u64) -> LockOwner {
    LockOwner { session: SessionId::new(1), owner }
}

fn range(start: u64, end: u64) -> LockRange {
    LockRange::new(start, end).unwrap()
}

fn posix(of: u64, kind: LockKind, start: u64, end: u64) -> Lock {
    let (family, owner) = (LockFamily::Posix, owner(of));
    Lock { family, owner, pid: 7, kind, range: range(start, end) }
}

fn flock(of: u64, kind: LockKind) -> Lock {
    let (family, owner) = (LockFamily::Flock, owner(of));
    Lock { family, owner, pid: 7, kind, range: LockRange::ALL }
}

/// Owner, kind and bytes of what is held.
fn held(table: &LockTable) -> Vec<(u64, LockKind, u64, u64)> {
    let row = |lock: &Lock| (lock.owner.owner, lock.kind, lock.range.start(), lock.range.end());
    table.held().iter().map(row).collect()
}

fn get(table: &mut LockTable, lock: Lock) -> Vec<u64> {
    let locked = table.set(lock, false).unwrap();
    assert_eq!(locked.outcome, LockOutcome::Granted, "{lock:?}");
    owners(&locked.granted)
}

fn wait(table: &mut LockTable, lock: Lock) -> u64 {
    match table.set(lock, true).unwrap().outcome {
        LockOutcome::Waiting(ticket) => ticket,
        other => panic!("{lock:?}: {other:?}"),
    }
}

fn busy(table: &mut LockTable, lock: Lock) -> Lock {
    match table.set(lock, false).unwrap().outcome {
        LockOutcome::Busy(held) => held,
        other => panic!("{lock:?}: {other:?}"),
    }
}

fn owners(granted: &[Waiter]) -> Vec<u64> {
    granted.iter().map(|waiter| waiter.lock.owner.owner).collect()
}

use LockKind::{Read, Write};

/// POSIX.1-2017 fcntl(): "If a lock is set within an existing one, it is split", and merged again.
#[test]
fn own_locks_are_split_replaced_and_merged() {
    let mut table = LockTable::new(1);
    get(&mut table, posix(1, Write, 10, 19));
    get(&mut table, posix(1, Read, 13, 15));
    assert_eq!(held(&table), [(1, Write, 10, 12), (1, Read, 13, 15), (1, Write, 16, 19)]);
    get(&mut table, posix(1, Write, 13, 15));
    assert_eq!(held(&table), [(1, Write, 10, 19)]);
    get(&mut table, posix(1, Write, 20, 24));
    get(&mut table, posix(1, Write, 0, 9));
    assert_eq!(held(&table), [(1, Write, 0, 24)]);
    get(&mut table, posix(1, Read, 25, LockRange::LAST));
    let freed = table.unlock(LockFamily::Posix, owner(1), range(5, 30)).unwrap();
    assert_eq!(freed, []);
    assert_eq!(held(&table), [(1, Write, 0, 4), (1, Read, 31, LockRange::LAST)]);
    table.unlock(LockFamily::Posix, owner(1), LockRange::ALL).unwrap();
    assert!(table.is_empty());
}

#[test]
fn readers_share_and_writers_do_not() {
    let mut table = LockTable::new(1);
    get(&mut table, posix(1, Read, 0, 9));
    get(&mut table, posix(2, Read, 5, 14));
    assert_eq!(busy(&mut table, posix(3, Write, 9, 20)), posix(1, Read, 0, 9));
    assert_eq!(busy(&mut table, posix(3, Write, 10, 20)), posix(2, Read, 5, 14));
    get(&mut table, posix(3, Write, 15, 20));
    assert_eq!(table.conflict(&posix(1, Read, 0, 30)), Some(&posix(3, Write, 15, 20)));
    assert_eq!(table.conflict(&posix(3, Write, 15, 30)), None);
    // An upgrade needs everybody else away, and the lock that there is stays meanwhile.
    assert_eq!(busy(&mut table, posix(1, Write, 0, 9)), posix(2, Read, 5, 14));
    assert_eq!(table.held().len(), 3);
    // The families do not see each other, nor does an owner see itself.
    get(&mut table, flock(4, Write));
    get(&mut table, posix(4, Read, 0, 4));
}

#[test]
fn ranges() {
    assert_eq!(LockRange::new(5, 4), Err(Errno::EINVAL));
    assert_eq!(LockRange::new(5, 1 << 63), Err(Errno::EOVERFLOW));
    assert_eq!(LockRange::new(0, LockRange::LAST), Ok(LockRange::ALL));
    assert_eq!(range(3, 9).without(range(5, 6)), [Some(range(3, 4)), Some(range(7, 9))]);
    assert_eq!(range(3, 9).without(range(0, 5)), [None, Some(range(6, 9))]);
    assert_eq!(range(3, 9).without(LockRange::ALL), [None, None]);
}

/// E404: first come, first served; readers together.
#[test]
fn e404_waiters_are_served_in_their_order() {
    let mut table = LockTable::new(100);
    get(&mut table, posix(1, Write, 0, 9));
    assert_eq!(wait(&mut table, posix(2, Read, 0, 4)), 100);
    assert_eq!(wait(&mut table, posix(3, Read, 2, 3)), 101);
    assert_eq!(wait(&mut table, posix(4, Write, 0, 0)), 102);
    assert_eq!(wait(&mut table, posix(5, Read, 0, 9)), 103, "behind the writer");
    let freed = table.unlock(LockFamily::Posix, owner(1), LockRange::ALL).unwrap();
    assert_eq!(owners(&freed), [2, 3]);
    assert!(table.is_waiting(owner(4), 102) && !table.is_waiting(owner(3), 101));
    // A reader that comes now would be admitted for ever before the writer: it waits, if it may.
    assert_eq!(wait(&mut table, posix(6, Read, 0, 0)), 104);
    get(&mut table, posix(7, Read, 0, 0));
    assert_eq!(owners(&table.release_owner(LockFamily::Posix, owner(2))), []);
    assert_eq!(owners(&table.release_owner(LockFamily::Posix, owner(7))), [4]);
    assert_eq!(owners(&table.unlock(LockFamily::Posix, owner(4), range(0, 0)).unwrap()), [5, 6]);
}

/// A lesser lock lets others in, also when a waiter gets it.
#[test]
fn e404_downgrades_let_others_in() {
    let mut table = LockTable::new(1);
    get(&mut table, posix(1, Write, 0, 9));
    wait(&mut table, posix(2, Read, 0, 4));
    assert_eq!(get(&mut table, posix(1, Read, 0, 9)), [2]);

    let mut table = LockTable::new(1);
    get(&mut table, posix(1, Write, 0, 4));
    get(&mut table, posix(2, Write, 5, 9));
    wait(&mut table, posix(3, Read, 0, 4));
    // Owner 1 waits for a read lock over both ranges, which makes its own one lesser.
    wait(&mut table, posix(1, Read, 0, 9));
    let freed = table.unlock(LockFamily::Posix, owner(2), LockRange::ALL).unwrap();
    assert_eq!(owners(&freed), [1, 3]);
}

/// Whoever holds what an earlier waiter wants need not wait behind it.
#[test]
fn holders_pass_those_that_wait_for_them() {
    let mut table = LockTable::new(1);
    get(&mut table, posix(1, Read, 0, 9));
    let ticket = wait(&mut table, posix(2, Write, 0, 19));
    assert_eq!(table.set(posix(1, Read, 10, 19), true).unwrap().outcome, LockOutcome::Granted);
    assert_eq!(table.set(posix(1, Write, 0, 9), true).unwrap().outcome, LockOutcome::Granted);
    assert_eq!(table.blockers(ticket), [owner(1)]);
    let other = wait(&mut table, posix(3, Read, 30, 39).with_range(15, 39));
    assert_eq!(table.blockers(other), [owner(2)], "behind a waiter");
    let (found, granted) = table.overtake(other);
    assert_eq!((found, owners(&granted)), (true, vec![3]));
    assert_eq!(table.overtake(99), (false, vec![]));
    assert_eq!(table.blockers(99), []);
}

impl Lock {
    fn with_range(self, start: u64, end: u64) -> Self {
        Self { range: range(start, end), ..self }
    }
}

#[test]
fn waiting_is_given_up() {
    let mut table = LockTable::new(1);
    get(&mut table, posix(1, Read, 0, 9));
    let writer = wait(&mut table, posix(2, Write, 0, 9));
    let reader = wait(&mut table, posix(3, Read, 0, 9));
    assert_eq!(table.cancel(owner(3), writer), (false, vec![]), "somebody else's ticket");
    let (found, granted) = table.cancel(owner(2), writer);
    assert_eq!((found, owners(&granted)), (true, vec![3]));
    assert_eq!(table.cancel(owner(3), reader), (false, vec![]), "it has its lock");
    // Who was not told its ticket gives up all of its waits, and no lock.
    get(&mut table, posix(2, Read, 20, 29));
    wait(&mut table, posix(2, Write, 0, 9));
    wait(&mut table, posix(2, Write, 5, 9));
    wait(&mut table, posix(4, Read, 0, 9));
    let (found, granted) = table.cancel(owner(2), TICKET_ANY);
    assert_eq!((found, owners(&granted)), (true, vec![4]));
    assert_eq!(table.cancel(owner(2), TICKET_ANY), (false, vec![]));
    assert!(table.held().contains(&posix(2, Read, 20, 29)));
}

/// flock(2): "Converting a lock ... is not guaranteed to be atomic: the existing lock is first
/// removed, and then a new lock is established", so it may be lost.
#[test]
fn flocks_are_converted_by_way_of_none() {
    let mut table = LockTable::new(1);
    get(&mut table, flock(1, Read));
    get(&mut table, flock(2, Read));
    get(&mut table, flock(2, Read));
    assert_eq!(busy(&mut table, flock(1, Write)), flock(2, Read));
    assert_eq!(held(&table), [(2, Read, 0, LockRange::LAST)], "the lock of 1 is gone");
    let ticket = wait(&mut table, flock(1, Write));
    assert_eq!(table.blockers(ticket), [owner(2)]);
    // A conversion gives way to whoever waits.
    let locked = table.set(flock(2, Write), true).unwrap();
    assert_eq!((owners(&locked.granted), locked.outcome), (vec![1], LockOutcome::Waiting(2)));
    let freed = table.unlock(LockFamily::Flock, owner(1), range(5, 5)).unwrap();
    assert_eq!(owners(&freed), [2], "a flock is unlocked as a whole");
}

#[test]
fn locks_go_with_their_session() {
    let mut table = LockTable::new(1);
    let other = LockOwner { session: SessionId::new(2), owner: 1 };
    get(&mut table, Lock { owner: other, ..posix(1, Write, 0, 9) });
    get(&mut table, Lock { owner: other, ..flock(1, Write) });
    wait(&mut table, posix(1, Write, 0, 9));
    wait(&mut table, flock(2, Read));
    wait(&mut table, Lock { owner: other, ..posix(1, Write, 0, 9) }.with_owner(3));
    assert!(table.involves(SessionId::new(2)) && !table.involves(SessionId::new(3)));
    assert_eq!(owners(&table.release_session(SessionId::new(2))), [1, 2]);
    assert!(!table.involves(SessionId::new(2)) && table.involves(SessionId::new(1)));
    assert_eq!(table.waiters(), []);
}

impl Lock {
    fn with_owner(self, owner: u64) -> Self {
        Self { owner: LockOwner { owner, ..self.owner }, ..self }
    }
}

#[test]
fn tables_are_bounded() {
    let mut table = LockTable::new(1);
    for at in 0..LOCKS_MAX as u64 {
        get(&mut table, posix(1, Write, 3 * at, 3 * at + 2).with_owner(at % 2));
    }
    assert_eq!(table.clone().set(posix(5, Write, 9999, 9999), false), Err(Errno::ENOLCK));
    assert_eq!(table.clone().unlock(LockFamily::Posix, owner(0), range(1, 1)), Err(Errno::ENOLCK));
    for _ in 0..LOCK_WAITERS_MAX {
        wait(&mut table, posix(5, Write, 0, 0));
    }
    assert_eq!(table.clone().set(posix(6, Write, 0, 0), true), Err(Errno::ENOLCK));
    // Room for one lock: the first of the waiters gets it, the others wait.
    assert_eq!(owners(&table.unlock(LockFamily::Posix, owner(0), range(0, 2)).unwrap()).len(), 512);
}
