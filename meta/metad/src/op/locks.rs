//! Locks: fcntl(2) ranges and flock(2) whole files, kept in the KV, so that they exclude across
//! services, outlive each of them, and go with the client's session.
//!
//! `LOCK` holds all locks of an inode and who waits for them, and decides ([`LockTable`]): waiters
//! are granted theirs in order of arrival by the change that makes it possible, whichever service
//! that ran on. Who waits is told a ticket and asks until it is not in the table any more.
//!
//! EDEADLK (fcntl alone, as in Linux): `LOCW` says for which inode an owner waits; a request that
//! would wait follows from owner to owner for whom they wait, reading in conflict mode, and is
//! refused when it comes back to itself. An owner whose threads wait for several inodes at once is
//! followed to the last of them only, as the kernel's numbers name owners and not threads.
//!
//! Invariants
//!   E454  an owner that waits in `LOCK` of an inode by fcntl has a `LOCW`, and every session with
//!         locks or waits has a `LOCS`, written by the transaction that made them
//!
//! Conflict set: the lock table; for deadlocks every table and wait on the way. The inode is read
//! as it is: its removal reads and clears the table. Written: table, `LOCS`, `LOCW`.
//! Round trips: 1; to wait by fcntl 1 and two for each step of the search.

use std::collections::BTreeSet;

use engine_types::{InodeId, SessionId};
use meta_kv::{ReadMode, Transaction};
use meta_protocol::op::{LockAsk, LockWait};
use meta_protocol::{Answer, LockTold, op as ask};
use meta_schema::lock::{Lock, LockOutcome, Locked, Waiter};
use meta_schema::{Errno, Key, LockFamily, LockKind, LockOwner, LockTable, key};

use crate::ctx::Ctx;
use crate::halt::{Stop, damaged, refused};
use crate::join::both;
use crate::view::View;

async fn table<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    mode: ReadMode,
) -> Result<Option<LockTable>, Stop> {
    view.get(&Key::Locks(ino), mode).await
}

/// The table of an inode that has to exist.
async fn table_of<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    mode: ReadMode,
) -> Result<Option<LockTable>, Stop> {
    let (found, table) = both(view.known(ino, ReadMode::Snapshot), table(view, ino, mode)).await?;
    match found.inode.nlink == 0 && found.inode.directory().is_some() {
        true => Err(refused(Errno::ESTALE, format_args!("{ino} was removed"))),
        false => Ok(table),
    }
}

/// Tickets of a new table: times, so that those of a dropped one do not come again.
fn fresh(ctx: &Ctx<'_>) -> LockTable {
    LockTable::new(u64::try_from(ctx.now.nanos()).unwrap_or(0))
}

/// What would keep a lock from being granted.
pub(crate) async fn get<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    asked: &ask::GetLock,
) -> Result<Answer, Stop> {
    let table = table_of(view, asked.ino, ReadMode::Snapshot).await?;
    let lock = asked.lock.lock(ctx.session);
    let Some(lock) = lock else {
        return Err(refused(Errno::EINVAL, "nothing keeps an unlock from being done"));
    };
    let conflict = table.and_then(|table| table.conflict(&lock).copied());
    Ok(Answer::Conflict { lock: conflict })
}

/// Locks, unlocks, or asks how a wait is.
pub(crate) async fn set<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    asked: &ask::SetLock,
) -> Result<Answer, Stop> {
    let ino = asked.ino;
    let found = table_of(view, ino, ReadMode::Conflict).await?;
    if let LockWait::Ticket { ticket } = asked.wait {
        return Ok(Answer::Lock(waits(found.as_ref(), &asked.lock, ctx.session, ticket)));
    }
    let mut table = found.unwrap_or_else(|| fresh(ctx));
    let Some(wanted) = asked.lock.lock(ctx.session) else {
        let owner = asked.lock.owner(ctx.session);
        let granted = table.unlock(asked.lock.family, owner, asked.lock.range);
        let granted = granted.map_err(|errno| refused(errno, ino))?;
        keep(view, ino, &table, ctx.session, &granted)?;
        return Ok(Answer::Lock(LockTold::Granted));
    };
    let Locked { outcome, mut granted } =
        table.set(wanted, asked.wait == LockWait::Queue).map_err(|errno| refused(errno, ino))?;
    let told = match outcome {
        LockOutcome::Granted => LockTold::Granted,
        LockOutcome::Busy(_) => LockTold::Busy,
        LockOutcome::Waiting(ticket) => {
            let most = ctx.limits.search_owners;
            let search = Search { view, ino, ticket, wanted: &wanted, most };
            granted.extend(search.pass_deadlock(&mut table).await?);
            match granted.iter().any(|waiter| waiter.ticket == ticket) {
                true => LockTold::Granted,
                false => LockTold::Waiting { ticket },
            }
        }
    };
    keep(view, ino, &table, ctx.session, &granted)?;
    if matches!(told, LockTold::Waiting { .. }) && wanted.family == LockFamily::Posix {
        let key = Key::LockWait { session: ctx.session, owner: wanted.owner.owner };
        view.put_raw(&key, &key::encode_inode(ino))?;
    }
    Ok(Answer::Lock(told))
}

/// How a wait under `ticket` is.
pub(crate) fn waits(
    table: Option<&LockTable>,
    asked: &LockAsk,
    session: SessionId,
    ticket: u64,
) -> LockTold {
    let owner = asked.owner(session);
    let Some(table) = table else { return LockTold::Cancelled };
    if table.is_waiting(owner, ticket) {
        return LockTold::Waiting { ticket };
    }
    let has = |lock: &Lock| {
        lock.owner == owner
            && lock.family == asked.family
            && lock.range.overlaps(asked.range)
            && (lock.kind == LockKind::Write || asked.kind == Some(LockKind::Read))
    };
    if table.held().iter().any(has) { LockTold::Granted } else { LockTold::Cancelled }
}

/// Reads how a wait is, outside of any request.
pub(crate) async fn look<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    (asked, session, ticket): (&LockAsk, SessionId, u64),
) -> Result<LockTold, Stop> {
    let table = table(view, ino, ReadMode::Snapshot).await?;
    Ok(waits(table.as_ref(), asked, session, ticket))
}

/// Gives up a wait.
pub(crate) async fn cancel<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    asked: &ask::CancelLock,
) -> Result<Answer, Stop> {
    let (ino, owner) = (asked.ino, LockOwner { session: ctx.session, owner: asked.owner });
    let reads = both(table(view, ino, ReadMode::Conflict), waits_for(view, owner, ino));
    let (Some(mut table), is_last) = reads.await? else {
        return Ok(Answer::Lock(LockTold::Cancelled));
    };
    let (waited, granted) = table.cancel(owner, asked.ticket);
    keep(view, ino, &table, ctx.session, &granted)?;
    if waited && is_last {
        view.clear(&Key::LockWait { session: ctx.session, owner: asked.owner })?;
    }
    Ok(Answer::Lock(if waited { LockTold::Cancelled } else { LockTold::Granted }))
}

/// Gives back all locks of an owner in one family.
pub(crate) async fn release<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    asked: &ask::ReleaseLocks,
) -> Result<Answer, Stop> {
    let owner = LockOwner { session: ctx.session, owner: asked.owner };
    let reads = both(table(view, asked.ino, ReadMode::Conflict), waits_for(view, owner, asked.ino));
    let (Some(mut table), is_last) = reads.await? else {
        return Ok(Answer::Done);
    };
    let granted = table.release_owner(asked.family, owner);
    keep(view, asked.ino, &table, ctx.session, &granted)?;
    if is_last && asked.family == LockFamily::Posix {
        view.clear(&Key::LockWait { session: ctx.session, owner: asked.owner })?;
    }
    Ok(Answer::Done)
}

/// Whether what `owner` waits for by fcntl is `ino`: giving up a wait, or locks, of one inode says
/// nothing about a wait for another.
async fn waits_for<T: Transaction>(
    view: &View<'_, T>,
    owner: LockOwner,
    ino: InodeId,
) -> Result<bool, Stop> {
    let wait = Key::LockWait { session: owner.session, owner: owner.owner };
    let raw = view.get_raw(&wait, ReadMode::Conflict).await?;
    Ok(raw.is_some_and(|raw| key::decode_inode(&raw) == Some(ino)))
}

/// Drops everything that `session` has or wants of `ino`: it is fenced.
pub(crate) async fn drop_session<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    session: SessionId,
) -> Result<(), Stop> {
    match table(view, ino, ReadMode::Conflict).await? {
        Some(mut table) => {
            let granted = table.release_session(session);
            keep(view, ino, &table, session, &granted)
        }
        None => view.clear(&Key::SessionLocks { session, ino }),
    }
}

/// Removes the table of an inode that goes. Writes only.
pub(crate) fn forget<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    table: Option<&LockTable>,
) -> Result<(), Stop> {
    let held = table.map(LockTable::held).unwrap_or_default().iter();
    let waiting = table.map(LockTable::waiters).unwrap_or_default().iter();
    for lock in held.chain(waiting.map(|waiter| &waiter.lock)) {
        view.clear(&Key::SessionLocks { session: lock.owner.session, ino })?;
    }
    // Even where there is none: whoever makes one now conflicts.
    view.clear(&Key::Locks(ino))
}

/// Writes a table and what points to it (E454). `session` is the one that changed it.
fn keep<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    table: &LockTable,
    session: SessionId,
    granted: &[Waiter],
) -> Result<(), Stop> {
    match table.is_empty() {
        true => view.clear(&Key::Locks(ino))?,
        false => view.put(&Key::Locks(ino), table)?,
    }
    let side = Key::SessionLocks { session, ino };
    match table.involves(session) {
        true => view.put_raw(&side, &[])?,
        false => view.clear(&side)?,
    }
    for waiter in granted.iter().filter(|waiter| waiter.lock.family == LockFamily::Posix) {
        let LockOwner { session, owner } = waiter.lock.owner;
        view.clear(&Key::LockWait { session, owner })?;
    }
    Ok(())
}

/// The search for waits that would never end.
struct Search<'a, T> {
    view: &'a View<'a, T>,
    ino: InodeId,
    ticket: u64,
    wanted: &'a Lock,
    /// Owners that are followed.
    most: usize,
}

impl<T: Transaction> Search<'_, T> {
    /// Refuses a wait that would never end. One that would only because of its place in the queue
    /// goes to the front of it instead, and who has a lock by that is returned.
    async fn pass_deadlock(&self, table: &mut LockTable) -> Result<Vec<Waiter>, Stop> {
        if self.wanted.family != LockFamily::Posix || !self.waits_for_itself(table).await? {
            return Ok(Vec::new());
        }
        let (_, granted) = table.overtake(self.ticket);
        let is_granted = granted.iter().any(|waiter| waiter.ticket == self.ticket);
        if !is_granted && self.waits_for_itself(table).await? {
            engine_types::reached!("E454: a wait for locks would never end");
            let why = format_args!("{:?} of {} waits for itself", self.wanted.owner, self.ino);
            return Err(refused(Errno::EDEADLK, why));
        }
        Ok(granted)
    }

    /// Whether following who waits for whom comes back to the owner of `wanted`.
    async fn waits_for_itself(&self, own: &LockTable) -> Result<bool, Stop> {
        let mut next: Vec<LockOwner> = own.blockers(self.ticket);
        let mut seen: BTreeSet<LockOwner> = BTreeSet::new();
        while let Some(owner) = next.pop() {
            if owner == self.wanted.owner {
                return Ok(true);
            }
            if !seen.insert(owner) {
                continue;
            }
            if self.most < seen.len() {
                return Ok(false);
            }
            let wait = Key::LockWait { session: owner.session, owner: owner.owner };
            let raw = self.view.get_raw(&wait, ReadMode::Conflict).await?;
            let Some(raw) = raw else { continue };
            let at = key::decode_inode(&raw);
            let at = at.ok_or_else(|| damaged("a wait for locks", format_args!("{wait:?}")))?;
            let is_own = at == self.ino;
            let other =
                if is_own { None } else { table(self.view, at, ReadMode::Conflict).await? };
            let there = if is_own { Some(own) } else { other.as_ref() };
            let Some(there) = there else { continue };
            let waiters = there.waiters().iter().filter(|waiter| {
                waiter.lock.owner == owner && waiter.lock.family == LockFamily::Posix
            });
            next.extend(waiters.flat_map(|waiter| there.blockers(waiter.ticket)));
        }
        Ok(false)
    }
}
