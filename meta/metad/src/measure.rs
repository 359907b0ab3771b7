//! Lengths that only chunks can tell: a session ended without a close (M4), a writer of an older
//! epoch reported (M3), a write has an unknown result.
//!
//! The transaction that meets such a thing leaves a mark (`LENQ`). Whoever needs the length exact,
//! else a collector in the background, asks the chains of the file how far its chunks reach and
//! takes the mark away. So a chain that answers nothing delays the length of files striped over it,
//! and no close of any file (M4).
//!
//! Invariants
//!   E449  a mark is taken away by a transaction that finds the file at the epoch, and the mark at
//!         the value, from before the chains were asked
//!
//! Crash: the mark stays.

use engine_runtime::Env;
use engine_types::{InodeId, Instant};
use meta_kv::{Abort, Kv, KvError, Policy, ReadMode, Transaction, transact};
use meta_schema::codec::Record;
use meta_schema::{Inode, Timestamp, TruncateEpoch, key};

use crate::chunks::sweep::{Place, reach};
use crate::chunks::{Chunks, ChunksError};
use crate::length;
use crate::shrink::{SettleError, Shrinks};

/// Why a length is not exact yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// Chains did not say in time how far chunks reach.
    #[error("the length of {ino} is not known yet: {error}")]
    Chunks {
        /// The file.
        ino: InodeId,
        /// What failed.
        error: ChunksError,
    },
    /// A cut before it is not finished.
    #[error("the length of {ino} is not known yet: {error}")]
    Settle {
        /// The file.
        ino: InodeId,
        /// Why.
        error: SettleError,
    },
    /// The store did not answer.
    #[error("the length of {ino} is not known: {error}")]
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

/// A mark, and the file it is on; `None` when that is gone, or is no file.
struct Marked {
    mark: Vec<u8>,
    file: Option<(Place, TruncateEpoch)>,
}

/// The task of making lengths exact, of one core.
pub(crate) struct Measures<E, K, C> {
    env: E,
    kv: K,
    chunks: C,
    shrinks: Shrinks<E, K, C>,
}

impl<E: Clone, K: Clone, C: Clone> Clone for Measures<E, K, C> {
    fn clone(&self) -> Self {
        let Self { env, kv, chunks, shrinks } = self;
        Self { env: env.clone(), kv: kv.clone(), chunks: chunks.clone(), shrinks: shrinks.clone() }
    }
}

impl<E: Env, K: Kv, C: Chunks> Measures<E, K, C> {
    pub(crate) fn new(env: &E, kv: &K, chunks: &C, shrinks: &Shrinks<E, K, C>) -> Self {
        let (env, kv, chunks) = (env.clone(), kv.clone(), chunks.clone());
        Self { env, kv, chunks, shrinks: shrinks.clone() }
    }

    /// Returns when the length of `ino` is exact.
    ///
    /// # Errors
    /// [`MeasureError`], by `by` at the latest.
    pub(crate) async fn settle(&self, ino: InodeId, by: Instant) -> Result<(), MeasureError> {
        loop {
            let Some(marked) = self.find(ino).await? else { return Ok(()) };
            let Some((place, epoch)) = &marked.file else {
                return self.clear(ino, &marked.mark).await;
            };
            // Old chunks would be taken for new bytes.
            let cut = self.shrinks.settle(ino, by).await;
            cut.map_err(|error| MeasureError::Settle { ino, error })?;
            let asked = reach(&self.chunks, place, by).await;
            let end = asked.map_err(|error| MeasureError::Chunks { ino, error })?;
            let now = Timestamp::from_wall(self.env.wall());
            if self.learn(ino, &marked.mark, *epoch, end, now).await? {
                return Ok(());
            }
        }
    }

    async fn find(&self, ino: InodeId) -> Result<Option<Marked>, MeasureError> {
        let read = async |transaction: &K::Transaction| {
            let mark = transaction.get(&key::length_query(ino), ReadMode::Snapshot).await?;
            let Some(mark) = mark else { return Ok((None, None)) };
            let inode = transaction.get(&key::inode(ino), ReadMode::Snapshot).await?;
            Ok((Some(mark), inode))
        };
        let policy = Policy { idempotent: true, ..Policy::default() };
        let (mark, inode) = transact(&self.kv, &policy, read).await.map_err(abort(ino))?;
        let Some(mark) = mark else { return Ok(None) };
        let inode = decode(ino, inode)?;
        let file = inode.as_ref().and_then(Inode::file);
        let file = match file {
            Some(file) => {
                let place = Place::of(&self.chunks, ino, &file.layout);
                let place = place.map_err(|error| MeasureError::Chunks { ino, error })?;
                Some((place, file.truncate_epoch))
            }
            None => None,
        };
        Ok(Some(Marked { mark, file }))
    }

    /// Takes the mark away, and the length that chunks told over (E449). False when something
    /// changed since they were asked.
    async fn learn(
        &self,
        ino: InodeId,
        mark: &[u8],
        epoch: TruncateEpoch,
        end: u64,
        now: Timestamp,
    ) -> Result<bool, MeasureError> {
        let write = async |transaction: &K::Transaction| {
            let (mark_key, ino_key) = (key::length_query(ino), key::inode(ino));
            let (found, inode) = futures_lite::future::zip(
                transaction.get(&mark_key, ReadMode::Conflict),
                transaction.get(&ino_key, ReadMode::Conflict),
            )
            .await;
            let (found, inode) = (found?, decode(ino, inode?).map_err(Abort::Own)?);
            let current = |inode: &Inode| inode.file().map(|file| file.truncate_epoch);
            let Some(mut inode) = inode.filter(|inode| current(inode) == Some(epoch)) else {
                return Ok(false);
            };
            if found.as_deref() != Some(mark) {
                return Ok(found.is_none());
            }
            if length::asked(&mut inode, epoch, end, now) {
                engine_types::reached!("E449: chunks told a length that no session told");
                transaction.set(&ino_key, &inode.encode())?;
            }
            transaction.clear(&mark_key)?;
            Ok(true)
        };
        let policy = Policy { idempotent: true, ..Policy::default() };
        transact(&self.kv, &policy, write).await.map_err(abort(ino))
    }

    /// Takes away the mark of what is no file with links.
    async fn clear(&self, ino: InodeId, mark: &[u8]) -> Result<(), MeasureError> {
        let write = async |transaction: &K::Transaction| {
            let key = key::length_query(ino);
            if transaction.get(&key, ReadMode::Conflict).await?.as_deref() == Some(mark) {
                transaction.clear(&key)?;
            }
            Ok(())
        };
        let policy = Policy { idempotent: true, ..Policy::default() };
        transact(&self.kv, &policy, write).await.map_err(abort(ino))
    }
}

fn decode(ino: InodeId, bytes: Option<Vec<u8>>) -> Result<Option<Inode>, MeasureError> {
    let decoded = bytes.map(|bytes| Inode::decode(&bytes)).transpose();
    decoded.map_err(|error| MeasureError::Damaged { ino, why: error.to_string() })
}

fn abort(ino: InodeId) -> impl Fn(Abort<MeasureError>) -> MeasureError {
    move |abort| match abort {
        Abort::Kv(error) => MeasureError::Kv { ino, error },
        Abort::Own(error) => error,
    }
}
