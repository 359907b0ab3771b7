//! fcntl()'s record locks and flock(), across clients; and what a session leaves when it ends.

use meta_protocol::LockTold;
use meta_schema::lock::Lock;
use meta_schema::{Errno, LockFamily, LockKind, LockRange};

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::expect::Expect;
use crate::lock::{Held, Outcome, Owner};
use crate::run::{Errors, Run};
use crate::world::{NodeId, World};

/// How a request of a lock may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Granted,
    /// Under a ticket that is told now.
    Queued(NodeId),
    /// Under this ticket, as before.
    Waiting(u64),
    Busy,
    Cancelled,
    /// Nobody waited: whatever is said.
    Anything,
}

/// A lock that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) family: LockFamily,
    pub(crate) owner: u64,
    /// Nothing unlocks.
    pub(crate) kind: Option<LockKind>,
    pub(crate) range: LockRange,
}

/// Whether it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Queue,
    Ticket(u64),
}

impl Run<'_> {
    fn held(&self, wanted: Wanted) -> Held {
        let Wanted { family, owner, kind, range } = wanted;
        let all = family == LockFamily::Flock;
        Held {
            family,
            owner: (self.session, owner),
            write: kind == Some(LockKind::Write),
            start: if all { 0 } else { range.start() },
            end: if all { LockRange::LAST } else { range.end() },
        }
    }

    /// F_GETLK: any lock in the way, or none if there is none.
    pub(crate) fn get_lock(&mut self, ino: u64, wanted: Wanted) -> Result<Expect, Errors> {
        let id = self.find(ino)?;
        if wanted.kind.is_none() {
            return Err(Errors::one(Errno::EINVAL));
        }
        let against = self.world.locks.against(id, &self.held(wanted));
        Ok(Expect::Conflict { node: id, against })
    }

    /// F_SETLK, F_SETLKW and flock().
    pub(crate) fn set_lock(
        &mut self,
        ino: u64,
        wanted: Wanted,
        wait: Wait,
    ) -> Result<Expect, Errors> {
        let found = self.find(ino);
        let held = self.held(wanted);
        if let (Wait::Ticket(_), Err(gone)) = (wait, &found) {
            // Nobody waits there.
            self.allowed.join(Err(gone.clone()));
            return Ok(Expect::Lock(self.anything()));
        }
        let id = found?;
        if let Wait::Ticket(ticket) = wait {
            return Ok(Expect::Lock(match self.world.locks.waits(id, held.owner, ticket) {
                Some(true) => Told::Waiting(ticket),
                Some(false) if wanted.kind.is_some() && self.world.locks.covers(id, &held) => {
                    Told::Granted
                }
                // It was given back since, or another one is asked for than was waited for.
                Some(false) | None => self.anything(),
            }));
        }
        if wanted.kind.is_none() {
            self.world.locks.unlock(id, &held);
            return Ok(Expect::Lock(Told::Granted));
        }
        let waits = wait == Wait::Queue;
        let queues = waits && self.world.locks.deadlocks(id, &held, true);
        let deadlock = Errors::one(Errno::EDEADLK);
        match self.world.locks.set(id, held, waits) {
            Outcome::Granted => Ok(Expect::Lock(Told::Granted)),
            // Linux looks for deadlocks among record locks only.
            Outcome::Deadlock => Err(deadlock),
            Outcome::Queued => {
                if queues {
                    self.allowed.join(Err(deadlock));
                }
                Ok(Expect::Lock(Told::Queued(id)))
            }
            Outcome::Busy => {
                self.allowed.when(true, Errno::EAGAIN);
                Ok(Expect::Lock(Told::Busy))
            }
        }
    }

    pub(crate) fn cancel_lock(
        &mut self,
        ino: u64,
        owner: u64,
        ticket: u64,
    ) -> Result<Expect, Errors> {
        let Ok(id) = self.find(ino) else {
            // Nobody waits there.
            self.allowed.join(Err(Errors::any(&[Errno::ENOENT, Errno::ESTALE])));
            return Ok(Expect::Lock(self.anything()));
        };
        let owner: Owner = (self.session, owner);
        Ok(Expect::Lock(match self.world.locks.waits(id, owner, ticket) {
            Some(true) => {
                self.world.locks.cancel(id, ticket);
                Told::Cancelled
            }
            Some(false) if self.world.locks.keeps(id, ticket) => Told::Granted,
            // It was given back since.
            Some(false) | None => self.anything(),
        }))
    }

    /// About a ticket that nobody has: said or refused, it changes nothing.
    fn anything(&mut self) -> Told {
        self.allowed.join(Err(Errors::any(&[Errno::EINVAL, Errno::ENOENT, Errno::EINTR])));
        Told::Anything
    }

    pub(crate) fn release_locks(
        &mut self,
        ino: u64,
        family: LockFamily,
        owner: u64,
    ) -> Result<Expect, Errors> {
        let Ok(id) = self.find(ino) else {
            // Nobody holds anything there.
            self.allowed.join(Err(Errors::any(&[Errno::ENOENT, Errno::ESTALE])));
            return Ok(Expect::Done);
        };
        let owner: Owner = (self.session, owner);
        self.world
            .locks
            .release(|at, held| at == id && held.family == family && held.owner == owner);
        Ok(Expect::Done)
    }

    /// See [`crate::dispatch::told_of_going`].
    pub(crate) fn lock_told_of_going(
        &mut self,
        ino: u64,
        wanted: Wanted,
        ticket: Option<u64>,
        told: LockTold,
    ) {
        let Some(&id) = self.world.inos.get(&ino) else { return };
        let held = self.held(wanted);
        if let Some(ticket) = ticket.filter(|_| told == LockTold::Granted) {
            self.wait_ends_of_going(ino, wanted.owner, ticket, LockTold::Cancelled);
        }
        match told {
            LockTold::Granted if wanted.kind.is_none() => self.world.locks.unlock(id, &held),
            LockTold::Granted => self.world.locks.impose(id, held),
            LockTold::Waiting { ticket } => self.world.locks.impose_wait(id, held, ticket),
            LockTold::Busy | LockTold::Cancelled => {}
        }
        self.world.locks.go(id);
    }

    /// The owner no longer waits; what is said of a ticket of somebody else means nothing.
    pub(crate) fn wait_ends_of_going(&mut self, ino: u64, owner: u64, ticket: u64, told: LockTold) {
        let Some(&id) = self.world.inos.get(&ino) else { return };
        let locks = &mut self.world.locks;
        let Some(lock) = locks.wait_of(id, (self.session, owner), ticket) else { return };
        locks.cancel(id, ticket);
        if told == LockTold::Granted {
            locks.impose(id, lock);
        }
    }

    /// See [`crate::dispatch::told_of_going`].
    pub(crate) fn release_of_going(&mut self, ino: u64, family: LockFamily, owner: u64) {
        let Some(&id) = self.world.inos.get(&ino) else { return };
        let owner: Owner = (self.session, owner);
        let gone = |held: &Held| held.family == family && held.owner == owner;
        self.world.locks.release(|at, held| at == id && gone(held));
    }

    /// A session has ended: what it kept goes, if all of it was done.
    pub(crate) fn prune(&mut self, session: u64) -> Result<Expect, Errors> {
        self.world.locks.release(|_, held| held.owner.0 == session);
        for node in self.world.nodes.values_mut() {
            node.writers.remove(&session);
            node.holders.remove(&session);
        }
        // Only of a session that was fenced.
        self.allowed.join(Err(Errors::any(&[Errno::EINVAL, Errno::EBUSY, Errno::EPERM])));
        Ok(Expect::Pruned)
    }
}

impl World {
    /// The lock that is said to be in the way is held, and is in the way.
    pub(crate) fn judge_conflict(
        &self,
        id: NodeId,
        against: &[Held],
        found: Option<&Lock>,
    ) -> Result<(), String> {
        let Some(found) = found else {
            let first = against.first();
            return first.map_or(Ok(()), |lock| Err(format!("expected {lock:?}, found no lock")));
        };
        let held = Held {
            family: found.family,
            owner: (found.owner.session.get(), found.owner.owner),
            write: found.kind == LockKind::Write,
            start: found.range.start(),
            end: found.range.end(),
        };
        let touches: Vec<&Held> = against
            .iter()
            .filter(|lock| lock.owner == held.owner && lock.write == held.write)
            .filter(|lock| lock.start <= held.end && held.start <= lock.end)
            .collect();
        if touches.is_empty() || !self.locks.covers(id, &held) {
            return Err(format!("expected one of {against:?}, found {held:?}"));
        }
        Ok(())
    }

    /// What was told of a request of a lock.
    pub(crate) fn judge_lock(&mut self, expect: Told, told: LockTold) -> Result<(), String> {
        let fits = match (expect, told) {
            (Told::Granted, LockTold::Granted)
            | (Told::Busy, LockTold::Busy)
            | (Told::Cancelled, LockTold::Cancelled)
            | (Told::Anything, _) => true,
            (Told::Waiting(ticket), LockTold::Waiting { ticket: found }) => ticket == found,
            (Told::Queued(id), LockTold::Waiting { ticket }) => self.locks.name(id, ticket),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("lock: expected {expect:?}, found {told:?}")) }
    }
}
