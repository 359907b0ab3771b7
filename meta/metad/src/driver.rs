//! Ends what sessions have left that are over: finds them, waits for their turn, prunes them.
//!
//! ```text
//!   routing info: revoked sessions ──> which have something in the KV? (a scan that skips)
//!        │ a change wakes the driver            │
//!        │                                      v
//!        └── floor: one fence for all    turn of this service ──> Files::prune: over? fence,
//!            below it (SESX)                                      files, locks, records
//! ```
//! Owner: one core of one service; any number of services do the same, mostly each for other
//! sessions ([`turn`]). Removal, unfinished cuts and lengths are the collector's.
//!
//! Invariants
//!   E459  what is pruned was revoked by the managers: a session that lives is never touched
//!
//! Crash: nothing is kept here. The next start, or another service, finds what is left.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use client_storage::Routing;
use engine_runtime::{CancelToken, Env, all, first};
use engine_types::{NodeId, RoutingInfo, SessionId, reached};
use meta_kv::{KeyRange, Kv, RangeRead, ReadMode, Transaction};
use meta_schema::{Errno, Key, key};

use crate::call::CallError;
use crate::chunks::Chunks;
use crate::files::Files;
use crate::halt::Halt;
use crate::view::prefix;

#[cfg(test)]
mod tests;
pub(crate) mod turn;

use turn::Turns;

/// Between two rounds while something is left to do: as often as storage nodes say in heartbeats
/// that they have drained a session.
const ROUND_MIN: Duration = Duration::from_secs(1);
/// Between two rounds if nothing changes. A change of the routing info wakes the driver.
const ROUND_MAX: Duration = Duration::from_secs(15);
/// Sessions that are found in one round: each is a read of the KV.
const FOUND_MAX: usize = 256;
/// Sessions that are pruned at the same time.
const AT_ONCE: usize = 4;
/// Time to prune one: a thousand files and locks are some hundred transactions.
const PRUNE_TIME: Duration = Duration::from_secs(60);

/// What a driver has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driven {
    /// Rounds.
    pub rounds: u64,
    /// Sessions that were pruned here.
    pub pruned: u64,
    /// Times that one was not over yet, or could not be pruned.
    pub put_off: u64,
}

struct Inner<E, K, C> {
    files: Files<E, K, C>,
    routing: Box<dyn Routing>,
    me: Rc<Cell<Option<NodeId>>>,
    stop: CancelToken,
    driven: Cell<Driven>,
}

/// See the module. Dropping it stops it after what it is at.
pub struct Driver<E: Env, K: Kv, C: Chunks>(Rc<Inner<E, K, C>>);

impl<E: Env, K: Kv, C: Chunks> Drop for Driver<E, K, C> {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl<E: Env, K: Kv, C: Chunks> Driver<E, K, C> {
    /// Begins. `me` is what the managers call this service, once they have said so.
    pub fn start(
        files: &Files<E, K, C>,
        routing: impl Routing,
        me: Rc<Cell<Option<NodeId>>>,
    ) -> Self {
        let (files, routing) = (files.clone(), Box::new(routing));
        let (stop, driven) = (CancelToken::default(), Cell::default());
        let inner = Rc::new(Inner { files, routing, me, stop, driven });
        let runs = inner.clone();
        drop(inner.files.env().spawn(async move { runs.run().await }));
        Self(inner)
    }

    /// What was done.
    pub fn driven(&self) -> Driven {
        self.0.driven.get()
    }
}

impl<E: Env, K: Kv, C: Chunks> Inner<E, K, C> {
    async fn run(&self) {
        let env = self.files.env();
        let mut turns = Turns::default();
        let mut floor = SessionId::new(0);
        while !self.stop.is_cancelled() {
            let changed = self.routing.changed().notified();
            let routing = self.routing.current();
            let pause = match self.round(&routing, &mut turns, &mut floor).await {
                Ok(0) => jittered(ROUND_MAX, env.random()),
                Ok(_) => ROUND_MIN,
                Err(error) => {
                    tracing::warn!(%error, "what ended sessions have left is not known");
                    ROUND_MIN
                }
            };
            drop(routing);
            self.count(|driven| driven.rounds += 1);
            let soon = env.now() + ROUND_MIN;
            let woken = first(changed, env.sleep_until(env.now() + pause));
            first(self.stop.cancelled(), woken).await;
            first(self.stop.cancelled(), env.sleep_until(soon)).await;
        }
    }

    fn count(&self, change: impl FnOnce(&mut Driven)) {
        let mut driven = self.driven.get();
        change(&mut driven);
        self.driven.set(driven);
    }

    /// Sees to all sessions that are revoked and have something left; how many still have.
    async fn round(
        &self,
        routing: &RoutingInfo,
        turns: &mut Turns<SessionId>,
        floor: &mut SessionId,
    ) -> Result<usize, CallError> {
        let found = self.left_behind(routing).await?;
        let now = self.files.env().now();
        let me = self.me.get();
        let due =
            turns.due(&found, now, |session: SessionId| turn::rank(routing, me, session.get()));
        let mut pruned = 0;
        for group in due.chunks(AT_ONCE) {
            let done = all(group.iter().map(|&session| self.prune(routing, session))).await;
            pruned += done.into_iter().filter(|done| *done).count();
        }
        if *floor < routing.revoked_below {
            self.files.fence_below(routing.revoked_below).await?;
            *floor = routing.revoked_below;
        }
        Ok(found.len() - pruned)
    }

    async fn prune(&self, routing: &RoutingInfo, session: SessionId) -> bool {
        assert!(routing.is_revoked(session), "E459: {session} lives");
        let by = self.files.env().now() + PRUNE_TIME;
        match self.files.prune(session, by).await {
            Ok(()) => {
                reached!("E459: a service ends what a session has left");
                tracing::info!(%session, "pruned");
                self.count(|driven| driven.pruned += 1);
                return true;
            }
            Err(CallError::Halted(Halt::Refused(refusal))) if refusal.errno == Errno::EBUSY => {
                tracing::debug!(%session, "is not over everywhere");
            }
            Err(error) => tracing::warn!(%session, %error, "is not pruned"),
        }
        self.count(|driven| driven.put_off += 1);
        false
    }

    /// Revoked sessions that have something in the KV, some of them if they are many.
    async fn left_behind(&self, routing: &RoutingInfo) -> Result<Vec<SessionId>, CallError> {
        let mut found = Vec::new();
        let first = SessionId::new(0);
        // What a session that was cut short by a crash has left is found by any of the four.
        for front in [key::session_inodes, key::session_locks, key::lock_waits, key::requests] {
            let end = prefix(&front(SessionId::new(u64::MAX))).end;
            let mut next = Some(first);
            while let Some(from) = next.filter(|_| found.len() < FOUND_MAX) {
                let range = KeyRange::new(front(from), end.clone());
                let Some(session) = self.first_session(range).await? else { break };
                if routing.is_revoked(session) && !found.contains(&session) {
                    found.push(session);
                }
                next = next_revoked(routing, session);
            }
        }
        Ok(found)
    }

    async fn first_session(&self, range: KeyRange) -> Result<Option<SessionId>, CallError> {
        let read = RangeRead::new(range).limit(1);
        self.files
            .transact(async |_, transaction: &K::Transaction| {
                let page = transaction.range(read.clone(), ReadMode::Snapshot).await?;
                Ok(page.entries.first().and_then(|(key, _)| session_of(key)))
            })
            .await
    }
}

/// The session that a key is about.
fn session_of(key: &[u8]) -> Option<SessionId> {
    match Key::parse(key) {
        Ok(
            Key::SessionInode { session, .. }
            | Key::SessionLocks { session, .. }
            | Key::LockWait { session, .. }
            | Key::Request { session, .. },
        ) => Some(session),
        other => {
            tracing::error!(?other, "a key is not of a session: fsck");
            None
        }
    }
}

/// The lowest session above `session` that is revoked, or may be.
fn next_revoked(routing: &RoutingInfo, session: SessionId) -> Option<SessionId> {
    let next = SessionId::new(session.get().checked_add(1)?);
    if next < routing.revoked_below {
        return Some(next);
    }
    routing.revoked.range(next..).next().copied()
}

/// `time`, or up to a quarter less.
pub(crate) fn jittered(time: Duration, random: u64) -> Duration {
    let quarter = u64::try_from(time.as_nanos() / 4).unwrap_or(u64::MAX);
    time - Duration::from_nanos(random % quarter.max(1))
}
