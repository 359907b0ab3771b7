//! Locks as fcntl(2) and flock(2) describe them, kept as plain lists of ranges; and who waits, in
//! the order of arrival.
//!
//! Neither standard says who gets a lock next. Ours is the first who waits (issue 6: "waits are
//! fair"): a later request that waits does so behind an earlier one with which it conflicts,
//! unless the earlier one waits for locks of the later's owner, directly or through others.
//!
//! Invariants
//!   E467  two owners never hold locks of one family that exclude each other; who waits is
//!         granted its lock by the change that makes it possible, in the order of arrival

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use meta_schema::LockFamily;

use crate::world::NodeId;

/// Who holds: session and its owner number.
pub(crate) type Owner = (u64, u64);

/// Bytes `start..=end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) family: LockFamily,
    pub(crate) owner: Owner,
    pub(crate) write: bool,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Held {
    /// Two owners may not have these at the same time.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        self.family == other.family
            && self.owner != other.owner
            && self.start <= other.end
            && other.start <= self.end
            && (self.write || other.write)
    }
}

/// Somebody who waits; the ticket is known once it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) ticket: Option<u64>,
    pub(crate) lock: Held,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted,
    /// It waits.
    Queued,
    Busy,
    /// EDEADLK: to wait would never end.
    Deadlock,
}

/// Locks of one inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    held: Vec<Held>,
    waiters: Vec<Waiter>,
    /// Tickets of those who waited and were granted their locks, and which.
    granted: BTreeMap<u64, Held>,
}

/// All locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    tables: BTreeMap<NodeId, Table>,
    /// Inodes that are going, with locks or waits that go with them, nobody knows when.
    going: BTreeSet<NodeId>,
}

impl Table {
    /// Locks that stand in the way of `wanted`.
    fn against(&self, wanted: &Held) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| held.excludes(wanted))
    }

    /// Earlier waiters behind whom `wanted` has to wait; `before` of them are earlier.
    fn ahead(&self, wanted: &Held, before: usize) -> impl Iterator<Item = &Waiter> {
        self.waiters[..before].iter().filter(|waiter| {
            let waits_for_us = self.against(&waiter.lock).any(|held| held.owner == wanted.owner);
            waiter.lock.excludes(wanted) && !waits_for_us
        })
    }

    /// Unlocks bytes.
    fn clear(&mut self, family: LockFamily, owner: Owner, start: u64, end: u64) {
        self.take(family, owner, start, end);
        self.grant();
    }

    /// Takes the bytes from whatever the owner has there.
    fn take(&mut self, family: LockFamily, owner: Owner, start: u64, end: u64) {
        let mut kept = Vec::new();
        for held in self.held.drain(..) {
            let is_own = held.owner == owner && held.family == family;
            if !is_own || held.end < start || end < held.start {
                kept.push(held);
                continue;
            }
            if held.start < start {
                kept.push(Held { end: start - 1, ..held });
            }
            if end < held.end {
                kept.push(Held { start: end + 1, ..held });
            }
        }
        self.held = kept;
    }

    /// Gives the owner the bytes.
    fn put(&mut self, wanted: Held) {
        self.take(wanted.family, wanted.owner, wanted.start, wanted.end);
        self.held.push(wanted);
        self.grant();
    }

    /// Grants what can be granted, first come first served.
    fn grant(&mut self) {
        let next = (0..self.waiters.len()).find(|index| {
            let lock = &self.waiters[*index].lock;
            self.against(lock).next().is_none() && self.ahead(lock, *index).next().is_none()
        });
        if let Some(index) = next {
            let waiter = self.waiters.remove(index);
            self.granted.extend(waiter.ticket.map(|ticket| (ticket, waiter.lock)));
            self.put(waiter.lock);
        }
    }
}

impl Locks {
    /// Locks that stand in the way of `wanted`.
    pub(crate) fn against(&self, id: NodeId, wanted: &Held) -> Vec<Held> {
        let table = self.tables.get(&id);
        table.map_or_else(Vec::new, |table| table.against(wanted).copied().collect())
    }

    /// Whether one owner holds every byte of `lock` in its kind.
    pub(crate) fn covers(&self, id: NodeId, lock: &Held) -> bool {
        let mut rest = Table { held: Vec::from([*lock]), ..Table::default() };
        for held in self.tables.get(&id).map_or(&[][..], |table| &table.held) {
            let same = held.owner == lock.owner && held.write == lock.write;
            if same && held.family == lock.family {
                rest.take(lock.family, lock.owner, held.start, held.end);
            }
        }
        rest.held.is_empty()
    }

    /// Asks for a lock.
    pub(crate) fn set(&mut self, id: NodeId, wanted: Held, waits: bool) -> Outcome {
        let table = self.tables.entry(id).or_default();
        if wanted.family == LockFamily::Flock {
            let own =
                table.held.iter().find(|h| h.owner == wanted.owner && h.family == wanted.family);
            match own {
                Some(own) if own.write == wanted.write => return Outcome::Granted,
                // flock(2): the old lock is gone before the new one is there.
                Some(_) => table.clear(wanted.family, wanted.owner, 0, u64::MAX),
                None => {}
            }
        }
        let is_free = table.against(&wanted).next().is_none();
        let is_behind = table.ahead(&wanted, table.waiters.len()).next().is_some();
        if is_free && !(waits && is_behind) {
            table.put(wanted);
            return Outcome::Granted;
        }
        if !waits {
            return Outcome::Busy;
        }
        // flock(2) knows no EDEADLK: such waits last until somebody gives up.
        let is_posix = wanted.family == LockFamily::Posix;
        if is_posix && self.deadlocks(id, &wanted, false) {
            return Outcome::Deadlock;
        }
        // Who would never be served because of his place in the queue goes to its front.
        let overtakes = is_posix && self.deadlocks(id, &wanted, true);
        let table = self.tables.entry(id).or_default();
        if overtakes && is_free {
            table.put(wanted);
            return Outcome::Granted;
        }
        let place = if overtakes { 0 } else { table.waiters.len() };
        table.waiters.insert(place, Waiter { ticket: None, lock: wanted });
        Outcome::Queued
    }

    /// Whether somebody for whom `wanted` would wait waits, directly or not, for its owner.
    /// `queues`: to be behind somebody counts as waiting for him.
    pub(crate) fn deadlocks(&self, id: NodeId, wanted: &Held, queues: bool) -> bool {
        let mut next = self.waits_for(id, wanted, usize::MAX, queues);
        let mut seen = BTreeSet::new();
        while let Some(owner) = next.pop() {
            if owner == wanted.owner {
                return true;
            }
            if !seen.insert(owner) {
                continue;
            }
            for (at, table) in &self.tables {
                for (index, waiter) in table.waiters.iter().enumerate() {
                    if waiter.lock.owner == owner && waiter.lock.family == wanted.family {
                        next.extend(self.waits_for(*at, &waiter.lock, index, queues));
                    }
                }
            }
        }
        false
    }

    /// An inode is going.
    pub(crate) fn go(&mut self, id: NodeId) {
        let has_any = |table: &Table| !table.held.is_empty() || !table.waiters.is_empty();
        if self.tables.get(&id).is_some_and(has_any) {
            self.going.insert(id);
        }
    }

    /// The locks once what is going is gone; nothing if nothing is.
    pub(crate) fn without_going(&self) -> Option<Self> {
        if self.going.is_empty() {
            return None;
        }
        let mut rest = self.clone();
        for id in core::mem::take(&mut rest.going) {
            rest.tables.remove(&id);
        }
        Some(rest)
    }

    /// Somebody has a lock of an inode that is going, whatever was known of it.
    pub(crate) fn impose(&mut self, id: NodeId, lock: Held) {
        let table = self.tables.entry(id).or_default();
        table.held.retain(|held| !held.excludes(&lock)); // they have given it back
        table.put(lock);
    }

    /// Somebody waits for such a lock.
    pub(crate) fn impose_wait(&mut self, id: NodeId, lock: Held, ticket: u64) {
        let table = self.tables.entry(id).or_default();
        if !table.waiters.iter().any(|waiter| waiter.ticket == Some(ticket)) {
            table.waiters.push(Waiter { ticket: Some(ticket), lock });
        }
    }

    /// Whether `owner` waits for a lock of any inode.
    pub(crate) fn is_waiting(&self, owner: Owner) -> bool {
        let mut waiters = self.tables.values().flat_map(|table| &table.waiters);
        waiters.any(|waiter| waiter.lock.owner == owner)
    }

    fn waits_for(&self, id: NodeId, lock: &Held, before: usize, queues: bool) -> Vec<Owner> {
        let Some(table) = self.tables.get(&id) else { return Vec::new() };
        let holders = table.against(lock).map(|held| held.owner);
        let before = before.min(table.waiters.len());
        let ahead = table.ahead(lock, before).filter(|_| queues).map(|waiter| waiter.lock.owner);
        holders.chain(ahead).collect()
    }

    /// The new waiter was told its ticket; false if somebody had it.
    pub(crate) fn name(&mut self, id: NodeId, ticket: u64) -> bool {
        let table = self.tables.entry(id).or_default();
        let known = table.waiters.iter().any(|waiter| waiter.ticket == Some(ticket));
        if let Some(new) = table.waiters.iter_mut().rfind(|waiter| waiter.ticket.is_none()) {
            new.ticket = Some(ticket);
        }
        !known && !table.granted.contains_key(&ticket)
    }

    /// For what somebody waits under `ticket`.
    pub(crate) fn wait_of(&self, id: NodeId, owner: Owner, ticket: u64) -> Option<Held> {
        let is_it = |w: &&Waiter| w.ticket == Some(ticket) && w.lock.owner == owner;
        Some(self.tables.get(&id)?.waiters.iter().find(is_it)?.lock)
    }

    /// Whether somebody waits under `ticket`, or was granted his lock; nothing if nobody had it.
    pub(crate) fn waits(&self, id: NodeId, owner: Owner, ticket: u64) -> Option<bool> {
        let table = self.tables.get(&id)?;
        if self.wait_of(id, owner, ticket).is_some() {
            return Some(true);
        }
        table.granted.contains_key(&ticket).then_some(false)
    }

    /// Whether somebody was granted his lock under `ticket`, and has all of it still.
    pub(crate) fn keeps(&self, id: NodeId, ticket: u64) -> bool {
        let granted = self.tables.get(&id).and_then(|table| table.granted.get(&ticket));
        granted.is_some_and(|lock| self.covers(id, lock))
    }

    /// Somebody no longer waits.
    pub(crate) fn cancel(&mut self, id: NodeId, ticket: u64) {
        if let Some(table) = self.tables.get_mut(&id) {
            table.waiters.retain(|waiter| waiter.ticket != Some(ticket));
            table.grant();
        }
    }

    /// Gives bytes back.
    pub(crate) fn unlock(&mut self, id: NodeId, of: &Held) {
        if let Some(table) = self.tables.get_mut(&id) {
            table.clear(of.family, of.owner, of.start, of.end);
        }
    }

    /// Drops locks and waits of those whom `gone` names.
    pub(crate) fn release(&mut self, gone: impl Fn(NodeId, &Held) -> bool) {
        for (id, table) in &mut self.tables {
            table.held.retain(|held| !gone(*id, held));
            table.waiters.retain(|waiter| !gone(*id, &waiter.lock));
            table.grant();
        }
    }
}

#[cfg(test)]
mod tests;
