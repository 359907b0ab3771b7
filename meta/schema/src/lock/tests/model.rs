//! The table against a map of bytes: who has which byte how, and who waits.

use std::collections::BTreeMap;
use std::vec::Vec;

use engine_types::Rng;

use super::*;

/// Bytes that locks are about: few, so that all borders meet.
const BYTES: u64 = 12;

type Held = BTreeMap<(LockFamily, u64, LockOwner), LockKind>;

fn bytes_of(table: &LockTable) -> Held {
    let mut held = Held::new();
    for lock in table.held() {
        let last = lock.range.end().min(BYTES);
        for byte in lock.range.start()..=last {
            let twice = held.insert((lock.family, byte, lock.owner), lock.kind);
            assert_eq!(twice, None, "E403: two locks of one owner on byte {byte}");
        }
    }
    held
}

/// What a lock does to the bytes.
fn put(held: &mut Held, lock: &Lock) {
    for byte in lock.range.start()..=lock.range.end().min(BYTES) {
        held.insert((lock.family, byte, lock.owner), lock.kind);
    }
}

fn clear(held: &mut Held, gone: impl Fn(LockFamily, u64, LockOwner) -> bool) {
    held.retain(|&(family, byte, owner), _| !gone(family, byte, owner));
}

fn is_free(held: &Held, lock: &Lock) -> bool {
    held.iter().all(|(&(family, byte, owner), &kind)| {
        let there = lock.range.start() <= byte && byte <= lock.range.end();
        let apart = family != lock.family || owner == lock.owner || !there;
        apart || (kind == Read && lock.kind == Read)
    })
}

fn check(table: &LockTable) {
    let held = bytes_of(table);
    for (&(family, byte, owner), &kind) in &held {
        for (&(other_family, other_byte, other), &other_kind) in &held {
            let same = family == other_family && byte == other_byte && owner != other;
            assert!(!same || (kind == Read && other_kind == Read), "E403: byte {byte}");
        }
    }
    for pair in table.held().windows(2) {
        assert!(pair[0].range <= pair[1].range, "locks are in the order of bytes");
    }
    let waiters = table.waiters();
    for (at, waiter) in waiters.iter().enumerate() {
        let wanted = &waiter.lock;
        let owns = |earlier: &Lock| {
            table.held().iter().any(|held| held.owner == wanted.owner && held.conflicts(earlier))
        };
        let behind = waiters[..at]
            .iter()
            .any(|earlier| wanted.conflicts(&earlier.lock) && !owns(&earlier.lock));
        assert!(behind || !is_free(&held, wanted), "E404: {waiter:?} could be granted");
        assert!(!table.blockers(waiter.ticket).is_empty(), "{waiter:?} waits for nobody");
    }
    let again = crate::codec::Record::decode(&crate::codec::Record::encode(table));
    assert_eq!(again.as_ref(), Ok(table));
}

fn some_lock(rng: &mut Rng) -> Lock {
    let start = rng.below(BYTES);
    let end = if rng.chance(100) { LockRange::LAST } else { rng.range(start..=BYTES - 1) };
    let family = if rng.chance(250) { LockFamily::Flock } else { LockFamily::Posix };
    let range = if family == LockFamily::Flock { LockRange::ALL } else { range(start, end) };
    let session = SessionId::new(rng.below(2));
    let owner = LockOwner { session, owner: rng.below(3) };
    Lock { family, owner, pid: 1, kind: *rng.pick(&[Read, Write]).unwrap(), range }
}

/// Asks for a lock, on both; who has got one by it and is not in the bytes yet.
fn ask(
    table: &mut LockTable,
    held: &mut Held,
    tickets: &mut Vec<(LockOwner, u64)>,
    (lock, waits): (&Lock, bool),
) -> Vec<Waiter> {
    let own = table.held().iter().copied().find(|own| {
        own.family == LockFamily::Flock && lock.family == own.family && own.owner == lock.owner
    });
    let locked = table.set(*lock, waits).unwrap();
    if own.is_some_and(|own| own.kind != lock.kind) {
        clear(held, |family, _, owner| family == lock.family && owner == lock.owner);
    }
    match locked.outcome {
        // What it lets in comes behind it, unless it was a flock that was given up.
        LockOutcome::Granted if own.is_none() => put(held, lock),
        LockOutcome::Granted => {
            locked.granted.iter().for_each(|waiter| put(held, &waiter.lock));
            assert!(is_free(held, lock));
            put(held, lock);
            return Vec::new();
        }
        LockOutcome::Waiting(ticket) => {
            assert!(waits);
            tickets.push((lock.owner, ticket));
        }
        LockOutcome::Busy(other) => {
            assert!(!waits && other.conflicts(lock) && table.held().contains(&other));
        }
    }
    locked.granted
}

/// One step of both; what the table says was granted is put into the bytes in its order.
fn step(
    table: &mut LockTable,
    held: &mut Held,
    tickets: &mut Vec<(LockOwner, u64)>,
    rng: &mut Rng,
) {
    let lock = some_lock(rng);
    let mine = |family, byte, owner| {
        let there = lock.range.start() <= byte && byte <= lock.range.end();
        family == lock.family && owner == lock.owner && there
    };
    let granted = match rng.below(10) {
        0..=5 => ask(table, held, tickets, (&lock, rng.chance(600))),
        6 | 7 => {
            clear(held, mine);
            table.unlock(lock.family, lock.owner, lock.range).unwrap()
        }
        8 => match rng.pick(tickets).copied() {
            None => Vec::new(),
            Some((owner, ticket)) => {
                let waits = table.is_waiting(owner, ticket);
                if rng.chance(500) {
                    table.overtake(ticket).1
                } else {
                    let (found, granted) = table.cancel(owner, ticket);
                    assert_eq!(found, waits);
                    granted
                }
            }
        },
        _ if rng.chance(300) => {
            let session = lock.owner.session;
            clear(held, |_, _, owner| owner.session == session);
            table.release_session(session)
        }
        _ => {
            clear(held, |family, _, owner| family == lock.family && owner == lock.owner);
            table.release_owner(lock.family, lock.owner)
        }
    };
    for waiter in granted {
        assert!(is_free(held, &waiter.lock), "E403: {waiter:?} was granted");
        assert!(!table.is_waiting(waiter.lock.owner, waiter.ticket));
        put(held, &waiter.lock);
    }
}

#[test]
fn e403_e404_the_table_is_what_bytes_say() {
    for seed in 0..60 {
        let rng = &mut Rng::new(seed);
        let (mut table, mut held) = (LockTable::new(1), Held::new());
        let mut tickets = Vec::new();
        for round in 0..150 {
            step(&mut table, &mut held, &mut tickets, rng);
            assert_eq!(bytes_of(&table), held, "seed {seed}, round {round}: {table:?}");
            check(&table);
        }
        for session in 0..2 {
            table.release_session(SessionId::new(session));
        }
        assert!(table.is_empty(), "seed {seed}");
    }
}
