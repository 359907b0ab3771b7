//! Inode ids: batches reserved by transactions ahead of need, handed out one by one.
//!
//! 32 counters in the KV (shards), so that processes do not meet at one. Counter n of shard s
//! stands for the ids `(n * 32 + s) << 10` and the 1,023 behind it.
//!
//! Owner: one core of one process. A transaction raises one counter by some batches; what it
//! raised it by belongs to this process alone, whatever becomes of others.
//!
//! Invariants
//!   E440  an id is handed out once: a batch is used only after the transaction that reserved it
//!         was acknowledged. One whose result is unknown is left alone: its ids are lost, not
//!         used twice
//!   E441  ids are from 1,024 (the first ones are the root and what may come) to below 2^56
//!
//! Crash: what was reserved and not handed out is lost. 2^56 ids are 2^46 batches: a process that
//! restarts every second and loses its batches each time uses a millionth of them in a year.

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use engine_runtime::{Env, Notify};
use engine_types::InodeId;
use meta_kv::{Abort, Kv, KvError, Policy, ReadMode, Transaction, transact};
use meta_schema::limits::{INODE_END, INODE_SHARDS};
use meta_schema::{InodeIds, key};

#[cfg(test)]
mod tests;

/// Batches of one transaction: 4,096 ids, so that 50,000 creates a second cost 12 reservations.
const BATCHES_PER_TRANSACTION: u64 = 4;
/// Ids left at which more are reserved: at 50,000 creates a second they last for 40 ms, several
/// times what a transaction takes.
const LOW_WATER: u64 = 2048;

/// Why there is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdsError {
    /// The counters have come to their end.
    #[error("no inode ids are left: counter {shard} is at {next}, ids end at 2^56")]
    Exhausted {
        /// The counter that was tried last.
        shard: u8,
        /// Its next batch.
        next: u64,
    },
    /// A counter is not a number of 8 bytes.
    #[error("counter {shard} of inode ids has {found} bytes, expected 8")]
    Corrupt {
        /// Which.
        shard: u8,
        /// Its length.
        found: usize,
    },
    /// The store did not reserve any.
    #[error("no inode ids could be reserved: {0}")]
    Kv(KvError),
}

/// Ids that are reserved and not handed out.
#[derive(Debug, Default)]
struct Reserve {
    batches: VecDeque<InodeIds>,
    left: u64,
}

impl Reserve {
    fn add(&mut self, batch: InodeIds) {
        self.left += batch.left();
        self.batches.push_back(batch);
    }

    fn take(&mut self) -> Option<InodeId> {
        let batch = self.batches.front_mut()?;
        let id = batch.next().expect("a batch without ids is dropped");
        self.left -= 1;
        if batch.left() == 0 {
            self.batches.pop_front();
        }
        assert!(1024 <= id.get() && id.get() < INODE_END, "E441: {id}");
        Some(id)
    }
}

struct Inner<E, K> {
    env: E,
    kv: K,
    reserve: RefCell<Reserve>,
    reserving: Cell<bool>,
    /// What the last reservation that failed said; of no meaning while one is under way.
    failed: RefCell<Option<IdsError>>,
    ended: Notify,
}

/// The ids of one core. Clones share them.
pub struct Ids<E, K>(Rc<Inner<E, K>>);

impl<E, K> Clone for Ids<E, K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Env, K: Kv> Ids<E, K> {
    /// Nothing is reserved before the first id is asked for.
    pub fn new(env: &E, kv: &K) -> Self {
        Self(Rc::new(Inner {
            env: env.clone(),
            kv: kv.clone(),
            reserve: RefCell::default(),
            reserving: Cell::new(false),
            failed: RefCell::default(),
            ended: Notify::default(),
        }))
    }

    /// An id that nobody else ever gets (E440). It waits only when none are left.
    ///
    /// # Errors
    /// [`IdsError`].
    pub async fn take(&self) -> Result<InodeId, IdsError> {
        loop {
            let ended = self.0.ended.notified();
            let taken = self.0.reserve.borrow_mut().take();
            if self.0.reserve.borrow().left < LOW_WATER {
                self.reserve();
            }
            if let Some(id) = taken {
                return Ok(id);
            }
            ended.await;
            let has_none = self.0.reserve.borrow().left == 0;
            if let Some(error) = self.0.failed.borrow().clone().filter(|_| has_none) {
                return Err(error);
            }
        }
    }

    /// Ids that can be taken without a wait.
    #[cfg(test)]
    pub(crate) fn left(&self) -> u64 {
        self.0.reserve.borrow().left
    }

    /// Starts a reservation, unless one is under way.
    fn reserve(&self) {
        if self.0.reserving.replace(true) {
            return;
        }
        let inner = self.0.clone();
        drop(self.0.env.spawn(async move {
            let outcome = inner.reserve_some().await;
            let failed = match outcome {
                Ok(batches) => {
                    batches.into_iter().for_each(|batch| inner.reserve.borrow_mut().add(batch));
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, "inode ids");
                    Some(error)
                }
            };
            *inner.failed.borrow_mut() = failed;
            inner.reserving.set(false);
            inner.ended.notify();
        }));
    }
}

impl<E: Env, K: Kv> Inner<E, K> {
    /// Some batches of a counter drawn at random, or of the next one that has any. An unknown
    /// result is followed by another reservation: what the first one took is left alone (E440).
    async fn reserve_some(&self) -> Result<Vec<InodeIds>, IdsError> {
        let policy = Policy::default();
        let began = self.kv.now();
        let mut tried = self.kv.random() % u64::from(INODE_SHARDS);
        let end = tried + u64::from(INODE_SHARDS);
        loop {
            let shard = u8::try_from(tried % u64::from(INODE_SHARDS)).expect("a remainder of 32");
            let body = async |transaction: &K::Transaction| raise(transaction, shard).await;
            match transact(&self.kv, &policy, body).await {
                Ok(batches) => return Ok(batches),
                Err(Abort::Own(IdsError::Exhausted { .. })) if tried + 1 < end => tried += 1,
                Err(Abort::Own(error)) => return Err(error),
                Err(Abort::Kv(KvError::UnknownResult { reason }))
                    if self.kv.now().saturating_since(began) < policy.time_max =>
                {
                    tracing::info!(shard, reason, "a reservation of inode ids is left alone");
                }
                Err(Abort::Kv(error)) => return Err(IdsError::Kv(error)),
            }
        }
    }
}

/// Raises a counter by some batches, and gives these.
async fn raise<T: Transaction>(
    transaction: &T,
    shard: u8,
) -> Result<Vec<InodeIds>, Abort<IdsError>> {
    let key = key::inode_ids(shard);
    let stored = transaction.get(&key, ReadMode::Conflict).await?;
    let found = stored.as_ref().map_or(0, Vec::len);
    let stored = match stored.map(<[u8; 8]>::try_from) {
        None => 0,
        Some(Ok(bytes)) => u64::from_le_bytes(bytes),
        Some(Err(_)) => return Err(Abort::Own(IdsError::Corrupt { shard, found })),
    };
    let next = stored.max(InodeIds::first_counter(shard));
    let batches: Vec<_> = (0..BATCHES_PER_TRANSACTION)
        .map_while(|more| InodeIds::batch(shard, next.checked_add(more)?))
        .collect();
    if batches.is_empty() {
        return Err(Abort::Own(IdsError::Exhausted { shard, next }));
    }
    transaction.set(&key, &(next + batches.len() as u64).to_le_bytes())?;
    Ok(batches)
}
