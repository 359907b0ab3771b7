//! The table: who gets a lock, who waits, and who is next.

use alloc::vec::Vec;
use core::mem::take;

use engine_types::SessionId;

use super::{Lock, LockFamily, LockKind, LockOwner, LockRange, LockTable, Waiter};
use crate::errno::Errno;
use crate::limits::{LOCK_WAITERS_MAX, LOCKS_MAX};

/// Names all waits of an owner, for one who has not been told a ticket: none is ever given out so
/// high, as they begin with nanoseconds since 1970.
pub const TICKET_ANY: u64 = u64::MAX;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOutcome {
    /// The owner has the lock.
    Granted,
    /// The owner waits under this ticket.
    Waiting(u64),
    /// Somebody has this lock, and the request does not wait (EAGAIN). The table may have changed:
    /// a flock that was to be converted is gone (flock(2)).
    Busy(Lock),
}

/// What became of a request, and of others by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// Of the request.
    pub outcome: LockOutcome,
    /// Who waited and has a lock now.
    pub granted: Vec<Waiter>,
}

impl LockTable {
    /// Without locks. Tickets begin at `first_ticket`; with a time for it, tickets of a table that
    /// was dropped do not come again.
    pub const fn new(first_ticket: u64) -> Self {
        Self { next_ticket: first_ticket, held: Vec::new(), waiters: Vec::new() }
    }

    /// True if nobody has or wants a lock: then it need not be kept.
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiters.is_empty()
    }

    /// The locks that are held.
    pub fn held(&self) -> &[Lock] {
        &self.held
    }

    /// Who waits, first in front.
    pub fn waiters(&self) -> &[Waiter] {
        &self.waiters
    }

    /// True if `session` has or wants a lock.
    pub fn involves(&self, session: SessionId) -> bool {
        let waiting = self.waiters.iter().map(|waiter| &waiter.lock);
        self.held.iter().chain(waiting).any(|lock| lock.owner.session == session)
    }

    /// True if `owner` waits under `ticket`. It has its lock when it no longer does, unless it was
    /// the one to give up.
    pub fn is_waiting(&self, owner: LockOwner, ticket: u64) -> bool {
        self.waiters.iter().any(|waiter| waiter.ticket == ticket && waiter.lock.owner == owner)
    }

    /// The lock that keeps `wanted` from being granted, the one that begins first: `F_GETLK`.
    pub fn conflict(&self, wanted: &Lock) -> Option<&Lock> {
        let conflicts = self.held.iter().filter(|held| held.conflicts(wanted));
        conflicts.min_by_key(|held| (held.range, held.owner))
    }

    /// Asks for a lock: `F_SETLK` without `wait`, `F_SETLKW` with it, or flock.
    ///
    /// An owner that has a flock of the other kind loses it first, and may wait behind others for
    /// the new one (flock(2)).
    ///
    /// # Errors
    /// ENOLCK: too many locks or waiters; the table is not to be kept then.
    pub fn set(&mut self, wanted: Lock, wait: bool) -> Result<Locked, Errno> {
        let mut wanted = wanted;
        let mut granted = Vec::new();
        if wanted.family == LockFamily::Flock {
            wanted.range = LockRange::ALL;
            let own = self.own(wanted.family, wanted.owner).next().copied();
            if let Some(own) = own {
                if own.kind == wanted.kind {
                    return Ok(Locked { outcome: LockOutcome::Granted, granted });
                }
                self.take_range(wanted.family, wanted.owner, LockRange::ALL);
                granted = self.grant();
            }
        }
        if let Some(conflict) = self.conflict(&wanted) {
            if !wait {
                return Ok(Locked { outcome: LockOutcome::Busy(*conflict), granted });
            }
        } else if !(wait && self.is_behind(&wanted, &self.waiters)) {
            self.place(wanted)?;
            granted.extend(self.grant());
            return Ok(Locked { outcome: LockOutcome::Granted, granted });
        }
        if LOCK_WAITERS_MAX <= self.waiters.len() {
            return Err(Errno::ENOLCK);
        }
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.waiters.push(Waiter { ticket, lock: wanted });
        Ok(Locked { outcome: LockOutcome::Waiting(ticket), granted })
    }

    /// Gives a range back, held or not. Who gets a lock by it is returned.
    ///
    /// # Errors
    /// ENOLCK: a lock is split, and there are too many; the table is not to be kept then.
    pub fn unlock(
        &mut self,
        family: LockFamily,
        owner: LockOwner,
        range: LockRange,
    ) -> Result<Vec<Waiter>, Errno> {
        let range = if family == LockFamily::Flock { LockRange::ALL } else { range };
        self.take_range(family, owner, range);
        if LOCKS_MAX < self.held.len() {
            return Err(Errno::ENOLCK);
        }
        Ok(self.grant())
    }

    /// Gives up waiting. True if `owner` waited under `ticket`, or under any with [`TICKET_ANY`];
    /// if not, it has its lock.
    pub fn cancel(&mut self, owner: LockOwner, ticket: u64) -> (bool, Vec<Waiter>) {
        let before = self.waiters.len();
        let is_other = |waiter: &Waiter| ticket != TICKET_ANY && waiter.ticket != ticket;
        self.waiters.retain(|waiter| is_other(waiter) || waiter.lock.owner != owner);
        (self.waiters.len() < before, self.grant())
    }

    /// Drops all locks and waits of an owner in one family: its file was closed.
    pub fn release_owner(&mut self, family: LockFamily, owner: LockOwner) -> Vec<Waiter> {
        self.release(|lock| lock.family == family && lock.owner == owner)
    }

    /// Drops all locks and waits of a session: it has ended.
    pub fn release_session(&mut self, session: SessionId) -> Vec<Waiter> {
        self.release(|lock| lock.owner.session == session)
    }

    fn release(&mut self, gone: impl Fn(&Lock) -> bool) -> Vec<Waiter> {
        self.held.retain(|lock| !gone(lock));
        self.waiters.retain(|waiter| !gone(&waiter.lock));
        self.grant()
    }

    /// For whom the waiter of `ticket` waits: who has what it wants, or is before it in the queue.
    /// What the search for deadlocks follows; each is named once.
    pub fn blockers(&self, ticket: u64) -> Vec<LockOwner> {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.ticket == ticket) else {
            return Vec::new();
        };
        let wanted = &self.waiters[at].lock;
        let held = self.held.iter().filter(|held| held.conflicts(wanted));
        let before = self.waiters[..at].iter().map(|waiter| &waiter.lock);
        let before = before.filter(|earlier| self.yields(wanted, earlier));
        let mut owners: Vec<LockOwner> = held.chain(before).map(|lock| lock.owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Lets the waiter of `ticket` pass all others: for one that would wait for ever behind them,
    /// as they wait for what it has of another inode. False if nobody waits under it.
    pub fn overtake(&mut self, ticket: u64) -> (bool, Vec<Waiter>) {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.ticket == ticket) else {
            return (false, Vec::new());
        };
        self.waiters[..=at].rotate_right(1);
        (true, self.grant())
    }

    fn own(&self, family: LockFamily, owner: LockOwner) -> impl Iterator<Item = &Lock> {
        self.held.iter().filter(move |lock| lock.family == family && lock.owner == owner)
    }

    /// True if `wanted` has to let `earlier` pass, which waits: not if `earlier` waits for a lock
    /// of its owner, as then neither would ever get anything.
    fn yields(&self, wanted: &Lock, earlier: &Lock) -> bool {
        wanted.conflicts(earlier)
            && !self.own(wanted.family, wanted.owner).any(|own| own.conflicts(earlier))
    }

    fn is_behind(&self, wanted: &Lock, earlier: &[Waiter]) -> bool {
        earlier.iter().any(|waiter| self.yields(wanted, &waiter.lock))
    }

    /// Gives every waiter its lock that can have it (E404), first come, first served. One pass in
    /// the order of the queue does, unless a lock became a lesser one by it.
    fn grant(&mut self) -> Vec<Waiter> {
        let mut granted = Vec::new();
        let mut again = !self.waiters.is_empty();
        while take(&mut again) {
            let mut left = Vec::with_capacity(self.waiters.len());
            for waiter in take(&mut self.waiters) {
                let wanted = &waiter.lock;
                let blocked = self.conflict(wanted).is_some() || self.is_behind(wanted, &left);
                let lesser = wanted.kind == LockKind::Read
                    && self.own(wanted.family, wanted.owner).any(|own| own.kind != wanted.kind);
                if blocked || self.place(*wanted).is_err() {
                    left.push(waiter);
                } else {
                    granted.push(waiter);
                    again |= lesser;
                }
            }
            self.waiters = left;
        }
        granted
    }

    /// Takes `range` away from what `owner` holds.
    fn take_range(&mut self, family: LockFamily, owner: LockOwner, range: LockRange) {
        let mut held = Vec::with_capacity(self.held.len() + 1);
        for lock in &self.held {
            if lock.family != family || lock.owner != owner || !lock.range.overlaps(range) {
                held.push(*lock);
                continue;
            }
            let left = lock.range.without(range).into_iter().flatten();
            held.extend(left.map(|range| Lock { range, ..*lock }));
        }
        // What was behind the range now begins later than others do.
        held.sort_by_key(|lock| lock.range);
        self.held = held;
    }

    /// Puts a lock in, which nobody else's conflicts with: over what its owner has there, in one
    /// with what it has of the same kind beside it.
    fn place(&mut self, lock: Lock) -> Result<(), Errno> {
        assert!(self.conflict(&lock).is_none(), "E403: {lock:?} was granted over another");
        let before = self.held.clone();
        self.take_range(lock.family, lock.owner, lock.range);
        let mut whole = lock.range;
        self.held.retain(|held| {
            let touches = held.family == lock.family
                && held.owner == lock.owner
                && held.kind == lock.kind
                && (held.range.end.checked_add(1) == Some(lock.range.start)
                    || lock.range.end.checked_add(1) == Some(held.range.start));
            if touches {
                whole.start = whole.start.min(held.range.start);
                whole.end = whole.end.max(held.range.end);
            }
            !touches
        });
        let at = self.held.partition_point(|held| held.range < whole);
        self.held.insert(at, Lock { range: whole, ..lock });
        if LOCKS_MAX < self.held.len() {
            self.held = before;
            return Err(Errno::ENOLCK);
        }
        Ok(())
    }
}
