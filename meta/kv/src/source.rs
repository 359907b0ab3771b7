//! What our own transactions stand on: views of one version, and commits of everything at once.
//!
//! [`OwnTransaction`](crate::transaction::OwnTransaction) keeps writes and conflict ranges on the
//! caller's side, so a transaction costs one round trip for its version, one per read and one for
//! its commit, wherever the store is.

use core::future::Future;

use crate::api::{Committed, Page, RangeRead};
use crate::error::KvError;
use crate::key::KeyRange;
use crate::limits::TRANSACTION_BYTES_MAX;
use crate::mutation::Mutation;

/// Everything a commit decides about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitRequest {
    /// Of the view that was read ([`View::epoch`]).
    pub epoch: u64,
    /// Version of the reads; nothing when nothing was read with conflict.
    pub read_version: Option<u64>,
    /// What was read.
    pub read_conflicts: Vec<KeyRange>,
    /// What counts as written beside the writes.
    pub write_conflicts: Vec<KeyRange>,
    /// The writes, in order.
    pub mutations: Vec<Mutation>,
}

impl CommitRequest {
    /// Bytes, as the size limit counts them.
    pub fn size(&self) -> usize {
        let ranges = self.read_conflicts.iter().chain(&self.write_conflicts);
        ranges.map(KeyRange::size).sum::<usize>()
            + self.mutations.iter().map(Mutation::size).sum::<usize>()
    }

    /// A request that a store may take, whoever sent it.
    ///
    /// # Errors
    /// Limits of keys, values, ranges and size; reads without a version.
    pub fn check(&self) -> Result<(), KvError> {
        let (found, limit) = (self.size(), TRANSACTION_BYTES_MAX);
        if limit < found {
            return Err(KvError::TooLarge { found, limit });
        }
        if self.read_version.is_none() && !self.read_conflicts.is_empty() {
            let reason = "read conflict ranges without a read version".to_owned();
            return Err(KvError::Failed { reason });
        }
        self.read_conflicts.iter().chain(&self.write_conflicts).try_for_each(KeyRange::check)?;
        self.mutations.iter().try_for_each(Mutation::check)
    }
}

/// A store that hands out views and takes commits. A clone is a handle of the same core.
pub trait Source: Clone + 'static {
    /// Its views.
    type View: View;

    /// The newest version (E201).
    ///
    /// # Errors
    /// When the store cannot be reached or has failed.
    fn view(&self) -> impl Future<Output = Result<Self::View, KvError>>;

    /// Commits, or says why not.
    ///
    /// # Errors
    /// As [`Transaction::commit`](crate::Transaction::commit).
    fn commit(&self, request: CommitRequest) -> impl Future<Output = Result<Committed, KvError>>;
}

/// One version of all keys. Dropping the last clone lets the store forget it.
pub trait View: Clone + 'static {
    /// Its version.
    fn version(&self) -> u64;

    /// Names the start of the store that counts this version, where it may be another one at the
    /// commit (M10). A store in this process has one.
    fn epoch(&self) -> u64 {
        0
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// When the version is no longer kept, or the store has failed.
    fn get(&self, key: Vec<u8>) -> impl Future<Output = Result<Option<Vec<u8>>, KvError>>;

    /// A page, as [`EngineSnapshot::range`](crate::EngineSnapshot::range).
    ///
    /// # Errors
    /// As for [`View::get`].
    fn range(&self, read: RangeRead) -> impl Future<Output = Result<Page, KvError>>;
}
