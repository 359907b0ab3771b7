//! Requests from outside: what of them is more than one transaction.
//!
//! ```text
//!   request ──┬─ Sync · Close · Append · SetAttr ──> Merge: those of one inode together ─┐
//!             ├─ PruneSession · FinishShrink · StatFs ──> none, or many transactions     │
//!             └─ others ──> Store::call                                                  │
//!                             │                                                          │
//!       Unsettled: a cut comes first ──> Shrinks, and again                              │
//!       done: cut begun ──> Shrinks · length not told ──> Measures · wait for a lock <───┘
//! ```
//! What has to happen behind a commit before its caller may be answered happens here, also when the
//! commit was that of an earlier attempt on another service: the answer that was recorded says that
//! a cut is committed, not that its chunks are gone.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Env, Notify, first};
use engine_types::checksum::mix64;
use engine_types::{InodeId, Instant, SessionId};
use futures_lite::future::zip;
use meta_kv::{Abort, Kv, KvError, Policy, Transaction, transact};
use meta_protocol::op::{LockWait, SetLock, Stat};
use meta_protocol::{Answer, FsSpace, LockTold, Operation, Refusal, Request};
use meta_schema::{Errno, Timestamp};

use crate::call::{CallError, Store};
use crate::chunks::Chunks;
use crate::halt::{Halt, Stop};
use crate::ids::{Ids, IdsError};
use crate::measure::{MeasureError, Measures};
use crate::merge::Merge;
use crate::op::{self, locks, merged, prune};
use crate::shrink::{SettleError, Shrinks};
use crate::space::census;
use crate::view::View;

#[cfg(test)]
pub(crate) mod tests;

/// Time that a close waits for a length which chunks have to tell. It is told later otherwise; a
/// chain that answers nothing delays no close by more (M4).
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Time that a request for a lock waits here before its caller is told to ask again: below the
/// silence after which connections are doubted, and long enough that idle waits cost little.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// First pause between looks at a lock that another service may have given back; it doubles. What
/// is given back here wakes the waiter at once.
const LOCK_LOOK_MIN: Duration = Duration::from_millis(10);
/// Longest pause.
const LOCK_LOOK_MAX: Duration = Duration::from_millis(500);

/// Time for which a count of inodes is told again: as long as figures of stores.
const COUNT_AGE: Duration = Duration::from_secs(5);

/// Places of waiters: who waits for an inode of the same place looks once more in vain.
const LOCK_WAKES: usize = 64;

type Merged = Result<merged::Outcome, KvError>;

struct Inner<E, K, C> {
    env: E,
    store: Store<E, K>,
    chunks: C,
    ids: Ids<E, K>,
    shrinks: Shrinks<E, K, C>,
    measures: Measures<E, K, C>,
    merge: Merge<Request, Merged>,
    /// Told when locks change here, of the inodes that share a place.
    locks: [Notify; LOCK_WAKES],
    /// Inodes, and when they were counted.
    counted: Cell<Option<(u64, Instant)>>,
}

/// The namespace with its files, on one core. Clones share everything.
pub struct Files<E, K, C>(Rc<Inner<E, K, C>>);

impl<E, K, C> Clone for Files<E, K, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Env, K: Kv, C: Chunks> Files<E, K, C> {
    /// Over `store`, with the chunks of its files.
    pub fn new(env: &E, store: Store<E, K>, chunks: &C) -> Self {
        let kv = store.kv().clone();
        let shrinks = Shrinks::new(env, &kv, chunks);
        Self(Rc::new(Inner {
            env: env.clone(),
            chunks: chunks.clone(),
            ids: Ids::new(env, &kv),
            measures: Measures::new(env, &kv, chunks, &shrinks),
            shrinks,
            merge: Merge::default(),
            locks: core::array::from_fn(|_| Notify::default()),
            counted: Cell::default(),
            store,
        }))
    }

    /// The namespace.
    pub fn store(&self) -> &Store<E, K> {
        &self.0.store
    }

    pub(crate) fn shrinks(&self) -> &Shrinks<E, K, C> {
        &self.0.shrinks
    }

    pub(crate) fn measures(&self) -> &Measures<E, K, C> {
        &self.0.measures
    }

    pub(crate) fn chunks(&self) -> &C {
        &self.0.chunks
    }

    pub(crate) fn env(&self) -> &E {
        &self.0.env
    }

    /// Does `request`, with all that has to happen before it may be answered.
    ///
    /// # Errors
    /// Why it is not done, or that it is not known whether it was. [`Halt::Unsettled`]: not in
    /// time, to be asked again with the same tag.
    pub async fn call(&self, request: &Request, time_max: Duration) -> Result<Answer, CallError> {
        let by = self.0.env.now() + time_max;
        let fresh = match op::creates(&request.operation) {
            true => Some(self.0.ids.take().await.map_err(|error| no_id(&error))?),
            false => None,
        };
        loop {
            match self.once(request, fresh, by).await {
                Err(CallError::Halted(Halt::Unsettled(ino))) => self.settle(ino, by).await?,
                Err(error) => return Err(error),
                Ok((answer, asks_chunks)) => {
                    return self.after(request, answer, asks_chunks, by).await;
                }
            }
        }
    }

    /// One attempt. True when the chunks have to be asked for the length, or may have to be: it
    /// was done before.
    async fn once(
        &self,
        request: &Request,
        fresh: Option<InodeId>,
        by: Instant,
    ) -> Result<(Answer, bool), CallError> {
        if let Some(ino) = merged::inode_of(&request.operation) {
            return self.merged(ino, request).await;
        }
        match &request.operation {
            Operation::PruneSession(ask) => {
                self.prune(ask.session, by).await?;
                Ok((Answer::Pruned { more: false }, false))
            }
            Operation::FinishShrink(ask) => {
                self.settle(ask.ino, by).await?;
                Ok((self.stat(request, ask.ino, by).await?, false))
            }
            Operation::StatFs(_) => Ok((Answer::Space(self.space(by).await?), false)),
            Operation::SetLock(ask) if matches!(ask.wait, LockWait::Ticket { .. }) => {
                Ok((Answer::Lock(self.look(request.session, ask).await?), false))
            }
            _ => {
                let left = by.saturating_since(self.0.env.now());
                Ok((self.0.store.call(request, fresh, left).await?, false))
            }
        }
    }

    async fn settle(&self, ino: InodeId, by: Instant) -> Result<(), CallError> {
        match self.0.shrinks.settle(ino, by).await {
            Ok(()) => Ok(()),
            Err(SettleError::Kv { error, .. }) => Err(CallError::Store(error)),
            Err(error @ SettleError::NotYet { .. }) => {
                tracing::info!(%error, "a request waits for a cut");
                Err(CallError::Halted(Halt::Unsettled(ino)))
            }
            Err(error @ SettleError::Damaged { .. }) => Err(refusal(Errno::EIO, &error)),
        }
    }

    /// What is due between the commit and the answer.
    async fn after(
        &self,
        request: &Request,
        answer: Answer,
        asks_chunks: bool,
        by: Instant,
    ) -> Result<Answer, CallError> {
        match (&request.operation, &answer) {
            (Operation::Open(ask), Answer::Opened { attr, .. }) if ask.mode.truncate => {
                self.settle(attr.ino, by).await?;
            }
            (Operation::Create(ask), Answer::Opened { attr, .. })
                if ask.open.is_some_and(|mode| mode.truncate) =>
            {
                self.settle(attr.ino, by).await?;
            }
            (Operation::SetAttr(ask), _) if ask.change.size.is_some() => {
                self.settle(ask.ino, by).await?;
            }
            (Operation::Sync(ask), _) if asks_chunks => {
                return self.measured(request, ask.ino, by).await;
            }
            (Operation::Close(ask), _) if asks_chunks => {
                let soon = by.min(self.0.env.now() + CLOSE_WAIT);
                if let Err(error) = self.0.measures.settle(ask.ino, soon).await {
                    tracing::warn!(%error, "a file is closed before its length is known");
                }
            }
            // Who asks with a ticket has waited already.
            (Operation::SetLock(ask), _) if matches!(ask.wait, LockWait::Ticket { .. }) => {}
            (Operation::SetLock(ask), Answer::Lock(LockTold::Waiting { ticket })) => {
                self.changed_locks(ask.ino);
                return self.wait_lock(request.session, ask, *ticket, by).await;
            }
            (Operation::SetLock(SetLock { ino, .. }), _) => self.changed_locks(*ino),
            (Operation::CancelLock(ask), _) => self.changed_locks(ask.ino),
            (Operation::ReleaseLocks(ask), _) => self.changed_locks(ask.ino),
            _ => {}
        }
        Ok(answer)
    }
}

/// For each request the first one of the same channel with the highest number there: itself, if it
/// has no tag.
fn newest(requests: &[Request]) -> Vec<usize> {
    let channel = |at: usize| requests[at].tag.map(|tag| (requests[at].session, tag.channel));
    let seq = |at: usize| requests[at].tag.map(|tag| tag.seq);
    let best = |at: usize| {
        let same = (0..requests.len()).filter(|&other| channel(other) == channel(at));
        same.fold(at, |best, other| match (seq(other), seq(best)) {
            (Some(one), Some(two)) if two < one || (one == two && other < best) => other,
            _ => best,
        })
    };
    (0..requests.len()).map(best).collect()
}

fn no_id(error: &IdsError) -> CallError {
    match error {
        IdsError::Kv(error) => CallError::Store(error.clone()),
        IdsError::Exhausted { .. } => refusal(Errno::ENOSPC, error),
        IdsError::Corrupt { .. } => refusal(Errno::EIO, error),
    }
}

fn refusal(errno: Errno, why: &impl core::fmt::Display) -> CallError {
    CallError::Halted(Halt::Refused(Refusal::new(errno, why.to_string())))
}

/// Lengths.
impl<E: Env, K: Kv, C: Chunks> Files<E, K, C> {
    async fn merged(&self, ino: InodeId, request: &Request) -> Result<(Answer, bool), CallError> {
        let this = self.clone();
        let run = move |requests: Vec<Request>| {
            let this = this.clone();
            async move { this.batch(ino, requests).await }
        };
        match self.0.merge.run(&self.0.env, ino, request.clone(), run).await? {
            merged::Outcome::Before(answer) => Ok((answer, true)),
            merged::Outcome::Done { answer, asks_chunks } => Ok((answer, asks_chunks)),
            merged::Outcome::Halted(halt) => Err(CallError::Halted(halt)),
        }
    }

    /// Requests of one inode in one transaction. A request that is there twice, because its client
    /// asked again, is done once, and of one channel only the newest: none of them could see the
    /// records of the others (E426).
    async fn batch(&self, ino: InodeId, requests: Vec<Request>) -> Vec<Merged> {
        let newest = newest(&requests);
        let chosen = |(at, request): (usize, &Request)| (newest[at] == at).then(|| request.clone());
        let single: Vec<Request> = requests.iter().enumerate().filter_map(chosen).collect();
        let mut outcomes = self.batch_of(ino, single).await.into_iter();
        let mut done: Vec<Option<Merged>> = vec![None; requests.len()];
        for at in (0..requests.len()).filter(|&at| newest[at] == at) {
            done[at] = outcomes.next();
        }
        let outcome = |at: usize| match &done[newest[at]] {
            Some(outcome) if requests[at].tag == requests[newest[at]].tag => outcome.clone(),
            _ => {
                let why =
                    format!("{:?} of {}: a newer one", requests[at].tag, requests[at].session);
                Ok(merged::Outcome::Halted(Halt::Refused(Refusal::old_request(why))))
            }
        };
        (0..requests.len()).map(outcome).collect()
    }

    /// The same of requests of different channels. Their attempts have a time of their own: each
    /// of the callers has another.
    async fn batch_of(&self, ino: InodeId, requests: Vec<Request>) -> Vec<Merged> {
        let runs = Cell::new(0);
        let body = async |transaction: &K::Transaction| {
            runs.set(runs.get() + 1);
            transaction.read_version().await?;
            let view = View::new(transaction, self.0.store.superblock());
            merged::run((&view, transaction), ino, &requests, self.now()).await
        };
        let policy = Policy { idempotent: true, ..Policy::default() };
        let done = transact(self.0.store.kv(), &policy, body).await;
        self.0.store.ran(runs.get(), false);
        match done {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(Abort::Kv(error)) => requests.iter().map(|_| Err(error.clone())).collect(),
            Err(Abort::Own(halt)) => {
                let halted = |_| Ok(merged::Outcome::Halted(halt.clone()));
                requests.iter().map(halted).collect()
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_wall(self.0.env.wall())
    }

    /// The attributes after the chunks were asked: fsync says nothing that is not so.
    async fn measured(
        &self,
        request: &Request,
        ino: InodeId,
        by: Instant,
    ) -> Result<Answer, CallError> {
        match self.0.measures.settle(ino, by).await {
            Ok(()) => self.stat(request, ino, by).await,
            Err(MeasureError::Kv { error, .. }) => Err(CallError::Store(error)),
            Err(error) => Err(refusal(Errno::EIO, &error)),
        }
    }

    async fn stat(
        &self,
        request: &Request,
        ino: InodeId,
        by: Instant,
    ) -> Result<Answer, CallError> {
        let operation = Operation::Stat(Stat { ino });
        let asked = Request { tag: None, operation, ..request.clone() };
        let left = by.saturating_since(self.0.env.now());
        self.0.store.call(&asked, None, left).await
    }
}

/// Room.
impl<E: Env, K: Kv, C: Chunks> Files<E, K, C> {
    /// As df shows it, by `by`.
    async fn space(&self, by: Instant) -> Result<FsSpace, CallError> {
        let (inodes, space) = zip(self.inodes(), Box::pin(self.0.chunks.space(by))).await;
        Ok(space.told(inodes?, self.0.env.now()))
    }

    /// How many inodes there are, or were a moment ago.
    async fn inodes(&self) -> Result<u64, CallError> {
        let now = self.0.env.now();
        if let Some((inodes, at)) = self.0.counted.get()
            && now < at + COUNT_AGE
        {
            return Ok(inodes);
        }
        let starts = core::array::from_fn(|_| self.0.env.random());
        let counted = self.transact(async |_, transaction: &K::Transaction| {
            Ok(census::count(transaction, starts).await?)
        });
        let inodes = counted.await?;
        self.0.counted.set(Some((inodes, self.0.env.now())));
        Ok(inodes)
    }
}

/// Locks.
impl<E: Env, K: Kv, C: Chunks> Files<E, K, C> {
    fn lock_wake(&self, ino: InodeId) -> &Notify {
        let place = usize::try_from(mix64(ino.get()) % LOCK_WAKES as u64);
        &self.0.locks[place.expect("a remainder of 64")]
    }

    fn changed_locks(&self, ino: InodeId) {
        self.lock_wake(ino).notify();
    }

    async fn look(&self, session: SessionId, ask: &SetLock) -> Result<LockTold, CallError> {
        let LockWait::Ticket { ticket } = ask.wait else {
            unreachable!("E454: a look is for a ticket")
        };
        let by = self.0.env.now() + LOCK_WAIT;
        let told = self.wait_lock(session, ask, ticket, by).await?;
        let Answer::Lock(told) = told else { unreachable!("E454: a wait ends with what was told") };
        Ok(told)
    }

    /// Waits until the waiter of `ticket` has its lock, for some time.
    async fn wait_lock(
        &self,
        session: SessionId,
        ask: &SetLock,
        ticket: u64,
        by: Instant,
    ) -> Result<Answer, CallError> {
        let by = by.min(self.0.env.now() + LOCK_WAIT);
        let mut pause = LOCK_LOOK_MIN;
        let told = loop {
            let changed = self.lock_wake(ask.ino).notified();
            let told = self.transact(async |view: &View<'_, K::Transaction>, _| {
                locks::look(view, ask.ino, (&ask.lock, session, ticket)).await
            });
            let told = told.await?;
            let now = self.0.env.now();
            if !matches!(told, LockTold::Waiting { .. }) || by <= now {
                break told;
            }
            first(changed, self.0.env.sleep_until(by.min(now + pause))).await;
            pause = (pause * 2).min(LOCK_LOOK_MAX);
        };
        Ok(Answer::Lock(told))
    }
}

/// Sessions.
impl<E: Env, K: Kv, C: Chunks> Files<E, K, C> {
    /// Runs a transaction of this service's own, which may be repeated.
    pub(crate) async fn transact<T>(
        &self,
        body: impl AsyncFn(&View<'_, K::Transaction>, &K::Transaction) -> Result<T, Stop>,
    ) -> Result<T, CallError> {
        let policy = Policy { idempotent: true, ..Policy::default() };
        let done = transact(self.0.store.kv(), &policy, async |transaction: &K::Transaction| {
            transaction.read_version().await?;
            body(&View::new(transaction, self.0.store.superblock()), transaction).await
        });
        done.await.map_err(|abort| match abort {
            Abort::Kv(error) => CallError::Store(error),
            Abort::Own(halt) => CallError::Halted(halt),
        })
    }

    /// Ends all that a session has left (L6).
    ///
    /// # Errors
    /// EBUSY while something of it can still happen on a storage node.
    pub async fn prune(&self, session: SessionId, by: Instant) -> Result<(), CallError> {
        let over = self.0.chunks.is_over(session, by).await;
        if !over.map_err(|error| refusal(Errno::EIO, &error))? {
            return Err(refusal(Errno::EBUSY, &format_args!("{session} is not over everywhere")));
        }
        self.transact(async |view, _| prune::fence(view, session).await).await?;
        let page = async |view: &View<'_, K::Transaction>, transaction: &K::Transaction| {
            prune::files((view, transaction), session, self.now()).await
        };
        while self.transact(page).await? {}
        loop {
            let read = self.transact(async |view, _| prune::locked(view, session).await);
            let (inodes, more) = read.await?;
            for ino in inodes {
                self.transact(async |view, _| prune::unlock(view, ino, session).await).await?;
                self.changed_locks(ino);
            }
            if !more {
                break;
            }
        }
        self.transact(async |view, _| prune::rest(view, session)).await
    }

    /// Fences all sessions below `live`, the lowest one that managers have not revoked, with one
    /// number, and forgets their single fences.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn fence_below(&self, live: SessionId) -> Result<(), CallError> {
        self.transact(async |view, _| prune::raise_floor(view, live).await).await
    }
}
