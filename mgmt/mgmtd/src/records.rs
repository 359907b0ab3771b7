//! The records of the cluster in the KV: read by a primary that takes over, written by the primary
//! alone.
//!
//! Invariants
//!   E322 a transaction that writes records reads the lease with conflict and passes the guard of
//!        the holder: after a takeover no write of a former primary takes effect, whatever its
//!        clock says
//!   E323 records are loaded after the lease was taken, so nobody else writes them meanwhile, and
//!        several transactions read one state

use core::time::Duration;

use meta_kv::{
    Abort, KeyRange, Kv, KvError, KvRetry, Policy, RangeRead, ReadMode, Transaction,
    TransactionOptions,
};
use mgmt_cluster::cluster::Change;
use mgmt_cluster::fields::DecodeError;
use mgmt_cluster::lease::{Holder, LeaseConflict, PrimaryLease};
use mgmt_cluster::record::codec::{KEY_PREFIX, KeyError};
use mgmt_cluster::record::{Record, RecordKey};

#[cfg(test)]
mod tests;

/// Key of the primary's lease; outside of the records' prefix, which the primary loads.
pub const LEASE_KEY: &[u8] = b"MGLEASE";
/// Time for one attempt to write a change.
const TRANSACTION_TIME: Duration = Duration::from_secs(5);

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The KV's answer.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A key below the prefix that names no record.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A record that makes no sense.
    #[error("record {key:?}: {error}")]
    Record {
        /// Its key.
        key: RecordKey,
        /// What is wrong.
        error: DecodeError,
    },
    /// The lease record makes no sense.
    #[error("the lease record: {0}")]
    Lease(DecodeError),
    /// Somebody else holds the lease.
    #[error(transparent)]
    Conflict(#[from] LeaseConflict),
}

/// What became of a change.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is not there and never will be: the cluster's `abort`.
    #[error("the change was not written: {0}")]
    Failed(KvError),
    /// It may be there, or may come: renew the lease, which it conflicts with, then load again.
    #[error("whether the change was written is unknown: {0}")]
    Unknown(KvError),
    /// Another manager is primary.
    #[error(transparent)]
    NotPrimary(RecordsError),
}

/// The lease record of a read.
pub(crate) fn decode_lease(bytes: Option<Vec<u8>>) -> Result<Option<PrimaryLease>, RecordsError> {
    bytes.map(|bytes| PrimaryLease::decode(&bytes)).transpose().map_err(RecordsError::Lease)
}

/// All records. To be called by the holder of the lease (E323).
///
/// # Errors
/// The KV's, and records that make no sense, by their keys.
pub async fn load<K: Kv>(kv: &K) -> Result<Vec<(RecordKey, Record)>, RecordsError> {
    let range = KeyRange::prefix(KEY_PREFIX).expect("letters have keys behind them");
    let mut rest = Some(RangeRead::new(range));
    let mut records = Vec::new();
    while let Some(read) = rest {
        let body = async |t: &K::Transaction| -> Result<_, Abort<RecordsError>> {
            Ok(t.range(read.clone(), ReadMode::Snapshot).await?)
        };
        let page = match meta_kv::transact(kv, &Policy::default(), body).await {
            Ok(page) => page,
            Err(Abort::Kv(error)) => return Err(error.into()),
            Err(Abort::Own(error)) => return Err(error),
        };
        for (key, value) in &page.entries {
            let key = RecordKey::decode(key)?;
            let record = Record::decode(&key, value);
            let record = record.map_err(|error| RecordsError::Record { key, error })?;
            records.push((key, record));
        }
        rest = page.entries.last().filter(|_| page.more).map(|(last, _)| read.behind(last));
    }
    Ok(records)
}

/// Writes a change in one transaction (E322). A conflict, which a renewal of the own lease causes
/// too, is tried again; an unknown result is not.
///
/// # Errors
/// [`WriteError`].
pub async fn write<K: Kv>(kv: &K, holder: &Holder, change: &Change) -> Result<(), WriteError> {
    write_guarded(kv, holder, async |t: &K::Transaction| {
        for (key, record) in &change.writes {
            match record {
                Some(record) => t.set(&key.encode(), &record.encode())?,
                None => t.clear(&key.encode())?,
            }
        }
        Ok(())
    })
    .await
}

/// Runs `body` in a transaction that only the holder of the lease commits (E322).
///
/// # Errors
/// [`WriteError`].
pub async fn write_guarded<K: Kv>(
    kv: &K,
    holder: &Holder,
    body: impl AsyncFn(&K::Transaction) -> Result<(), KvError>,
) -> Result<(), WriteError> {
    let options = TransactionOptions { timeout: TRANSACTION_TIME, ..TransactionOptions::default() };
    let policy = Policy { options, time_max: TRANSACTION_TIME * 2, ..Policy::default() };
    let guarded = async |t: &K::Transaction| -> Result<(), Abort<RecordsError>> {
        let stored = t.get(LEASE_KEY, ReadMode::Conflict).await?;
        let stored = decode_lease(stored).map_err(Abort::Own)?;
        holder.guard(stored.as_ref()).map_err(|conflict| Abort::Own(conflict.into()))?;
        Ok(body(t).await?)
    };
    match meta_kv::transact(kv, &policy, guarded).await {
        Ok(()) => Ok(()),
        Err(Abort::Own(error)) => Err(WriteError::NotPrimary(error)),
        Err(Abort::Kv(error)) if error.retry() == KvRetry::IfIdempotent => {
            Err(WriteError::Unknown(error))
        }
        Err(Abort::Kv(error)) => Err(WriteError::Failed(error)),
    }
}
