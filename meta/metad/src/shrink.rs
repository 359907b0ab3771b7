//! Cuts that are not finished: the work item of a cut is there until old chunks are gone (M2).
//!
//! ```text
//!   transaction: epoch + 1, length, TRUN ──> boundary chunk cut ──> chunks behind it removed
//!                                                                          │
//!   caller answered <── transaction: TRUN cleared <────────────────────────┘
//! ```
//! One process executes an item: the one whose storage session is written in it, which is the
//! first one that was asked to. It may be taken over only when nothing of that session can happen
//! any more on any storage node (L6). Without that, a late removal of a process that others think
//! dead would meet a chunk that a writer of the old epoch, who does not know of the cut, has made
//! and synced since: epochs protect writers of the new one alone (M1). A process that starts again
//! opens a new session, which ends the old one, so this takes seconds.
//!
//! Invariants
//!   E448  an item is executed by its owner only, by one task of it; it is cleared after everything
//!         of its execution has had a definite answer
//!
//! Crash: the item stays. Whoever needs it gone, or the sweep of a collector, takes it over.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::{Env, Notify, until};
use engine_types::fields::DecodeError;
use engine_types::{InodeId, Instant, Map};
use meta_kv::{Abort, Kv, KvError, Policy, ReadMode, Transaction, transact};
use meta_schema::codec::Record;
use meta_schema::{Inode, Shrink, key};

use crate::chunks::sweep::{Cut, Pace, Place, cut};
use crate::chunks::{Chunks, ChunksError};
use crate::length::NOBODY;

/// Time for one call to a chain: what the storage client gives an operation. What is not done then
/// is begun again.
const CALL_TIME: Duration = Duration::from_secs(30);
/// First pause before an item of another process is looked at again; it doubles.
const LOOK_MIN: Duration = Duration::from_millis(5);
/// Longest pause: what the caller of a cut waits in vain at most.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Pause after a call that failed: the storage client has tried for all its time already.
const AGAIN: Duration = Duration::from_millis(200);

/// Why an item is still there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// It was not finished in time. Somebody goes on with it.
    #[error("{ino} was cut and its chunks are not gone yet: {why}")]
    NotYet {
        /// The file.
        ino: InodeId,
        /// What was waited for last.
        why: String,
    },
    /// The store did not answer.
    #[error("whether {ino} was cut is not known: {error}")]
    Kv {
        /// The file.
        ino: InodeId,
        /// What it said.
        error: KvError,
    },
    /// A record that cannot be read.
    #[error("{ino}: {why}; fsck is needed")]
    Damaged {
        /// The file.
        ino: InodeId,
        /// What is wrong.
        why: String,
    },
}

/// What is under way for one item.
#[derive(Default)]
struct Run {
    /// What the last pass that failed said.
    why: RefCell<String>,
    changed: Notify,
}

struct Inner<E, K, C> {
    env: E,
    kv: K,
    chunks: C,
    /// Items that a task of this process executes or watches (E448).
    runs: RefCell<Map<InodeId, Rc<Run>>>,
}

/// The unfinished cuts that one core deals with. Clones share them.
pub(crate) struct Shrinks<E, K, C>(Rc<Inner<E, K, C>>);

impl<E, K, C> Clone for Shrinks<E, K, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An unfinished cut.
struct Item {
    /// As it is in the KV: items of one file differ in their epochs.
    raw: Vec<u8>,
    shrink: Shrink,
    /// The file, unless it is gone.
    inode: Option<Inode>,
}

impl<E: Env, K: Kv, C: Chunks> Shrinks<E, K, C> {
    pub(crate) fn new(env: &E, kv: &K, chunks: &C) -> Self {
        let (env, kv, chunks) = (env.clone(), kv.clone(), chunks.clone());
        Self(Rc::new(Inner { env, kv, chunks, runs: RefCell::default() }))
    }

    /// Returns when no item of `ino` is there, or at `by`. Work that was begun goes on.
    ///
    /// # Errors
    /// [`SettleError`].
    pub(crate) async fn settle(&self, ino: InodeId, by: Instant) -> Result<(), SettleError> {
        // Another cut may have begun when the first one is finished.
        while self.0.find(ino).await?.is_some() {
            let run = self.start(ino);
            let gone = || !self.0.runs.borrow().get(&ino).is_some_and(|now| Rc::ptr_eq(now, &run));
            if until(&self.0.env, by, run.changed.until(gone)).await.is_err() {
                return Err(SettleError::NotYet { ino, why: run.why.borrow().clone() });
            }
        }
        Ok(())
    }

    /// The task that sees to the item of `ino`; there is one at a time (E448).
    fn start(&self, ino: InodeId) -> Rc<Run> {
        let mut runs = self.0.runs.borrow_mut();
        if let Some(run) = runs.get(&ino) {
            return run.clone();
        }
        let run = Rc::new(Run::default());
        runs.insert(ino, run.clone());
        let (inner, told) = (self.0.clone(), run.clone());
        drop(self.0.env.spawn(async move {
            inner.see_to(ino, &told).await;
            inner.runs.borrow_mut().remove(&ino);
            told.changed.notify();
        }));
        run
    }
}

impl<E: Env, K: Kv, C: Chunks> Inner<E, K, C> {
    /// Until the item is gone.
    async fn see_to(&self, ino: InodeId, run: &Run) {
        let mut pause = LOOK_MIN;
        loop {
            let step = self.step(ino).await;
            let wait = match step {
                Ok(true) => return,
                Ok(false) => {
                    pause = (pause * 2).min(LOOK_MAX);
                    pause
                }
                Err(error) => {
                    tracing::warn!(%ino, %error, "an unfinished cut");
                    *run.why.borrow_mut() = error.to_string();
                    AGAIN
                }
            };
            self.env.sleep_until(self.env.now() + wait).await;
        }
    }

    /// True when no item is there any more; false when somebody else has it.
    async fn step(&self, ino: InodeId) -> Result<bool, SettleError> {
        let Some(item) = self.find(ino).await? else { return Ok(true) };
        let owner = item.shrink.owner;
        if owner == NOBODY {
            return self.own(ino, &item).await;
        }
        if owner != self.chunks.session() {
            let over = self.chunks.is_over(owner, self.by()).await;
            if !over.map_err(|error| not_yet(ino, &error))? {
                return Ok(false);
            }
            engine_types::reached!("E448: the cut of a dead process is taken over");
            return self.own(ino, &item).await;
        }
        if let Some(file) = item.inode.as_ref().and_then(Inode::file) {
            let place = Place::of(&self.chunks, ino, &file.layout);
            let place = place.map_err(|error| not_yet(ino, &error))?;
            let Shrink { epoch, new_length, old_length, .. } = item.shrink;
            let work = Cut { length: new_length, end: old_length, epoch: epoch.get() };
            let done = cut(&self.chunks, &place, &work, self).await;
            done.map_err(|error| not_yet(ino, &error))?;
        }
        self.replace(ino, &item, None).await
    }

    async fn find(&self, ino: InodeId) -> Result<Option<Item>, SettleError> {
        let read = async |transaction: &K::Transaction| {
            let item = transaction.get(&key::shrink(ino), ReadMode::Snapshot).await?;
            let Some(item) = item else { return Ok(None) };
            let inode = transaction.get(&key::inode(ino), ReadMode::Snapshot).await?;
            Ok(Some((item, inode)))
        };
        let found = transact(&self.kv, &policy(), read).await.map_err(kv_error(ino))?;
        let Some((raw, inode)) = found else { return Ok(None) };
        let damaged = |error: DecodeError| SettleError::Damaged { ino, why: error.to_string() };
        let inode = inode.map(|bytes| Inode::decode(&bytes)).transpose().map_err(damaged)?;
        let shrink = Shrink::decode(&raw).map_err(damaged)?;
        Ok(Some(Item { raw, shrink, inode }))
    }

    /// Makes the item this process's, if nothing has changed about it. Never true: it is there.
    async fn own(&self, ino: InodeId, item: &Item) -> Result<bool, SettleError> {
        let mine = Shrink { owner: self.chunks.session(), ..item.shrink }.encode();
        self.replace(ino, item, Some(&mine)).await.map(|_| false)
    }

    /// Replaces the item if it is as it was; true when none is there then.
    async fn replace(
        &self,
        ino: InodeId,
        item: &Item,
        new: Option<&[u8]>,
    ) -> Result<bool, SettleError> {
        let key = key::shrink(ino);
        let write = async |transaction: &K::Transaction| {
            let found = transaction.get(&key, ReadMode::Conflict).await?;
            if found.as_ref() != Some(&item.raw) {
                return Ok(found.is_none());
            }
            match new {
                Some(new) => transaction.set(&key, new)?,
                None => transaction.clear(&key)?,
            }
            Ok(new.is_none())
        };
        transact(&self.kv, &policy(), write).await.map_err(kv_error(ino))
    }
}

/// Repeated after an unknown result, these find their own work and change nothing.
fn policy() -> Policy {
    Policy { idempotent: true, ..Policy::default() }
}

/// Somebody waits for a cut: as fast as it goes.
impl<E: Env, K: Kv, C: Chunks> Pace for Inner<E, K, C> {
    fn by(&self) -> Instant {
        self.env.now() + CALL_TIME
    }

    async fn leave(&self, _count: u64) {}
}

fn not_yet(ino: InodeId, error: &ChunksError) -> SettleError {
    SettleError::NotYet { ino, why: error.to_string() }
}

/// Transactions here decide nothing themselves.
fn kv_error(ino: InodeId) -> impl Fn(Abort<core::convert::Infallible>) -> SettleError {
    move |abort| match abort {
        Abort::Kv(error) => SettleError::Kv { ino, error },
        Abort::Own(never) => match never {},
    }
}
