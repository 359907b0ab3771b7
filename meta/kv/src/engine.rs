//! What the embedded store needs of an engine: an ordered map, one atomic durable write at a time,
//! cheap snapshots. Conflicts, versions and group commit are ours (`sequencer`).
//!
//! An engine is called from threads that may block. It never sees a versionstamp unresolved.

use crate::api::{Page, RangeRead};
use crate::error::KvError;
use crate::mutation::Mutation;

/// Writes of one group of commits, in commit order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Version of the group; above that of every earlier one.
    pub version: u64,
    /// The writes; [`Mutation::StampedKey`] and [`Mutation::StampedValue`] do not occur.
    pub mutations: Vec<Mutation>,
}

/// Why an engine failed. Nothing is retried inside: the store is closed and opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No room on the disk. The batch was not applied, and the engine remains usable.
    #[error("the disk is full: {reason}")]
    Full {
        /// What the operating system said, with the path.
        reason: String,
    },
    /// What is stored does not make sense.
    #[error("the store is damaged: {reason}")]
    Damaged {
        /// What was found where.
        reason: String,
    },
    /// Reading or writing failed; what a write left is unknown.
    #[error("input or output failed: {reason}")]
    Io {
        /// What the operating system said, with the path.
        reason: String,
    },
}

impl From<EngineError> for KvError {
    fn from(error: EngineError) -> Self {
        Self::Unavailable { reason: error.to_string() }
    }
}

/// An ordered map with durable batches and snapshots.
pub trait KvEngine: Send + Sync + 'static {
    /// A consistent view.
    type Snapshot: EngineSnapshot;

    /// Whether reads may wait for a disk. Then they run outside the executor.
    const BLOCKS: bool;

    /// Version of the newest batch that was applied; 0 in a new store.
    fn version(&self) -> u64;

    /// The state after the newest applied batch.
    ///
    /// # Errors
    /// When the engine has failed.
    fn snapshot(&self) -> Result<Self::Snapshot, EngineError>;

    /// Applies a batch: all of it or nothing, durable on return (E203). Called by one thread at a
    /// time. After [`EngineError::Full`] nothing of it is there; after any other error that is
    /// unknown, and the engine refuses all further calls.
    ///
    /// # Errors
    /// As said.
    fn apply(&self, batch: &Batch) -> Result<(), EngineError>;

    /// Whether it has failed and refuses all further calls, before doing anything.
    fn failed(&self) -> bool {
        false
    }
}

impl<G: KvEngine> KvEngine for std::sync::Arc<G> {
    type Snapshot = G::Snapshot;
    const BLOCKS: bool = G::BLOCKS;

    fn version(&self) -> u64 {
        (**self).version()
    }

    fn snapshot(&self) -> Result<Self::Snapshot, EngineError> {
        (**self).snapshot()
    }

    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        (**self).apply(batch)
    }

    fn failed(&self) -> bool {
        (**self).failed()
    }
}

/// A consistent view of an engine's keys. Dropping the last clone frees it.
pub trait EngineSnapshot: Clone + Send + Sync + 'static {
    /// The value of `key`.
    ///
    /// # Errors
    /// When the engine has failed.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Entries of a range. The page ends with the range, at `read.limit` entries, or with the
    /// entry that reaches [`PAGE_BYTES_MAX`](crate::limits::PAGE_BYTES_MAX).
    ///
    /// # Errors
    /// When the engine has failed.
    fn range(&self, read: &RangeRead) -> Result<Page, EngineError>;
}

pub mod directory;
pub mod file;
#[cfg(feature = "fjall")]
pub mod fjall;
pub mod memory;
mod page;
pub mod redb;
pub mod seam;
pub mod simdisk;

#[cfg(test)]
pub(crate) mod tests;
