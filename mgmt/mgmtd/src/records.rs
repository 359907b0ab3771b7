//! The records of the cluster in the KV: read by a primary that takes over, written by the primary
//! alone. Grants of standbys (L5) are the exception: standbys write them, and the primary reads
//! them in the transactions whose decisions depend on them.
//!
//! Invariants
//!   E322 a transaction that writes records reads the lease with conflict and passes the guard of
//!        the holder: after a takeover no write of a former primary takes effect, whatever its
//!        clock says
//!   E323 records are loaded after the lease was taken, so nobody else writes them meanwhile, and
//!        several transactions read one state
//!   E324 a transaction that stops a replica from serving, or declares sessions fenced, reads with
//!        conflict what standbys granted to the nodes concerned, and does not commit if that is
//!        not what the primary knows

use core::time::Duration;
use std::collections::BTreeMap;

use engine_runtime::all;
use engine_types::{NodeId, SessionId};
use meta_kv::{
    Abort, KeyRange, Kv, KvError, KvRetry, Policy, RangeRead, ReadMode, Transaction,
    TransactionOptions,
};
use mgmt_cluster::cluster::Change;
use mgmt_cluster::config::{ConfigChange, ConfigEntry};
use mgmt_cluster::fields::DecodeError;
use mgmt_cluster::lease::{Holder, LeaseConflict, PrimaryLease};
use mgmt_cluster::record::codec::{KEY_PREFIX, KeyError};
use mgmt_cluster::record::{Record, RecordKey};
use mgmt_cluster::session::{SessionChange, SessionRecord, SessionSummary};

use crate::keys::{self, LEASE_KEY};

#[cfg(test)]
mod tests;

/// Time for one attempt to write a change.
const TRANSACTION_TIME: Duration = Duration::from_secs(5);

/// Records that a transaction reads at once.
pub(crate) const READS_AT_ONCE: usize = 64;

/// Grants of standbys by node, as they are stored: only whether they have changed is of interest.
pub type Grants = BTreeMap<NodeId, Vec<u8>>;

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The KV's answer.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A key below the prefix that names no record.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key of a session, of settings or of a grant without an id.
    #[error("{what}: no key of one: {key:?}")]
    OtherKey {
        /// What is kept there.
        what: &'static str,
        /// The key.
        key: Vec<u8>,
    },
    /// A record that makes no sense.
    #[error("record {key:?}: {error}")]
    Record {
        /// Its key.
        key: RecordKey,
        /// What is wrong.
        error: DecodeError,
    },
    /// A session or its summary makes no sense.
    #[error("sessions, key {key:?}: {error}")]
    Session {
        /// Its key.
        key: Vec<u8>,
        /// What is wrong.
        error: DecodeError,
    },
    /// What standbys granted to a node makes no sense.
    #[error("the grant record of {node}: {error}")]
    Grant {
        /// The node.
        node: NodeId,
        /// What is wrong.
        error: DecodeError,
    },
    /// A version of settings makes no sense.
    #[error("settings, key {key:?}: {error}")]
    Settings {
        /// Its key.
        key: Vec<u8>,
        /// What is wrong.
        error: DecodeError,
    },
    /// The lease record makes no sense.
    #[error("the lease record: {0}")]
    Lease(DecodeError),
    /// Somebody else holds the lease.
    #[error(transparent)]
    Conflict(#[from] LeaseConflict),
    /// Standbys have granted leases that the primary did not know of (E324).
    #[error("standbys have granted leases to {} nodes", .0.len())]
    Granted(Grants),
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
    /// It was not written: standbys have granted leases meanwhile, these (E324).
    #[error("standbys have granted leases to {} nodes", .0.len())]
    Granted(Grants),
    /// Another manager is primary, or the records make no sense.
    #[error(transparent)]
    NotPrimary(RecordsError),
}

/// Everything a primary takes over.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Records of the cluster; none of a cluster that was not founded yet.
    pub records: Vec<(RecordKey, Record)>,
    /// Summary of the sessions.
    pub summary: Option<SessionSummary>,
    /// Sessions, in the order of ids.
    pub sessions: Vec<(SessionId, SessionRecord)>,
    /// Settings, by role in the order of versions.
    pub settings: Vec<ConfigEntry>,
    /// Grants of standbys.
    pub grants: Grants,
}

/// The lease record of a read.
pub(crate) fn decode_lease(bytes: Option<Vec<u8>>) -> Result<Option<PrimaryLease>, RecordsError> {
    bytes.map(|bytes| PrimaryLease::decode(&bytes)).transpose().map_err(RecordsError::Lease)
}

/// Everything. To be called by the holder of the lease (E323); the clock that leases are counted
/// from is read after it.
///
/// # Errors
/// The KV's, and records that make no sense, by their keys.
pub async fn load<K: Kv>(kv: &K) -> Result<Loaded, RecordsError> {
    let mut loaded = Loaded::default();
    for (key, value) in scan(kv, KEY_PREFIX).await? {
        let key = RecordKey::decode(&key)?;
        let record = Record::decode(&key, &value);
        let record = record.map_err(|error| RecordsError::Record { key, error })?;
        loaded.records.push((key, record));
    }
    for (key, value) in scan(kv, keys::SUMMARY_KEY).await? {
        let summary = SessionSummary::decode(&value);
        loaded.summary = Some(summary.map_err(|error| RecordsError::Session { key, error })?);
    }
    for (key, value) in scan(kv, keys::SESSIONS).await? {
        let other = || RecordsError::OtherKey { what: "sessions", key: key.clone() };
        let id = keys::to_session(&key).ok_or_else(other)?;
        let record = SessionRecord::decode(&value);
        let record = record.map_err(|error| RecordsError::Session { key, error })?;
        loaded.sessions.push((id, record));
    }
    for (key, value) in scan(kv, keys::SETTINGS).await? {
        let entry = ConfigEntry::decode(&value);
        let entry = entry.map_err(|error| RecordsError::Settings { key, error })?;
        loaded.settings.push(entry);
    }
    for (key, value) in scan(kv, keys::GRANTS).await? {
        let other = || RecordsError::OtherKey { what: "grants", key: key.clone() };
        let node = keys::to_grant(&key).ok_or_else(other)?;
        loaded.grants.insert(node, value);
    }
    Ok(loaded)
}

/// All keys and values below a prefix.
async fn scan<K: Kv>(kv: &K, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RecordsError> {
    let range = KeyRange::prefix(prefix).expect("letters have keys behind them");
    let mut rest = Some(RangeRead::new(range));
    let mut entries = Vec::new();
    while let Some(read) = rest {
        let body = async |t: &K::Transaction| -> Result<_, Abort<RecordsError>> {
            Ok(t.range(read.clone(), ReadMode::Snapshot).await?)
        };
        let page = match meta_kv::transact(kv, &Policy::default(), body).await {
            Ok(page) => page,
            Err(Abort::Kv(error)) => return Err(error.into()),
            Err(Abort::Own(error)) => return Err(error),
        };
        rest = page.entries.last().filter(|_| page.more).map(|(last, _)| read.behind(last));
        entries.extend(page.entries);
    }
    Ok(entries)
}

/// Writes a change in one transaction (E322, E324). A conflict, which a renewal of the own lease
/// causes too, is tried again; an unknown result is not.
///
/// # Errors
/// [`WriteError`].
pub async fn write<K: Kv>(
    kv: &K,
    holder: &Holder,
    change: &Change,
    known: &Grants,
) -> Result<(), WriteError> {
    write_guarded(kv, holder, async |t: &K::Transaction| {
        let mut moved = Grants::new();
        let demoted: Vec<NodeId> = change.demoted.iter().copied().collect();
        for some in demoted.chunks(READS_AT_ONCE) {
            let reads = some.iter().map(|&node| async move {
                (node, t.get(&keys::grant(node), ReadMode::Conflict).await)
            });
            for (node, stored) in all(reads).await {
                let stored = stored?;
                if stored.as_ref() != known.get(&node) {
                    moved.insert(node, stored.unwrap_or_default());
                }
            }
        }
        if !moved.is_empty() {
            return Err(Abort::Own(RecordsError::Granted(moved)));
        }
        for (key, record) in &change.writes {
            match record {
                Some(record) => t.set(&key.encode(), &record.encode())?,
                None => t.clear(&key.encode())?,
            }
            if let (RecordKey::Node(node), None) = (key, record) {
                t.clear(&keys::grant(*node))?;
            }
        }
        Ok(())
    })
    .await
}

/// Writes a change of sessions; one that raises `fenced_to` above `fenced` reads what standbys
/// granted to all nodes (E324).
///
/// # Errors
/// [`WriteError`].
pub async fn write_sessions<K: Kv>(
    kv: &K,
    holder: &Holder,
    change: &SessionChange,
    fences: bool,
    known: &Grants,
) -> Result<(), WriteError> {
    write_guarded(kv, holder, async |t: &K::Transaction| {
        if fences {
            let moved = changed_grants(t, known).await?;
            if !moved.is_empty() {
                return Err(Abort::Own(RecordsError::Granted(moved)));
            }
        }
        for (session, record) in &change.put {
            t.set(&keys::session(*session), &record.encode())?;
        }
        for session in &change.remove {
            t.clear(&keys::session(*session))?;
        }
        Ok(t.set(keys::SUMMARY_KEY, &change.summary.encode())?)
    })
    .await
}

/// Grants that are not as the primary knows them; all of them conflict.
async fn changed_grants<T: Transaction>(t: &T, known: &Grants) -> Result<Grants, KvError> {
    let range = KeyRange::prefix(keys::GRANTS).expect("letters have keys behind them");
    let mut rest = Some(RangeRead::new(range));
    let mut moved = Grants::new();
    while let Some(read) = rest {
        let page = t.range(read.clone(), ReadMode::Conflict).await?;
        rest = page.entries.last().filter(|_| page.more).map(|(last, _)| read.behind(last));
        for (key, value) in page.entries {
            let node = keys::to_grant(&key);
            if let Some(node) = node.filter(|node| known.get(node) != Some(&value)) {
                moved.insert(node, value);
            }
        }
    }
    Ok(moved)
}

/// Writes a version of settings, and deletes the one that is not kept any more.
///
/// # Errors
/// [`WriteError`].
pub async fn write_settings<K: Kv>(
    kv: &K,
    holder: &Holder,
    change: &ConfigChange,
) -> Result<(), WriteError> {
    write_guarded(kv, holder, async |t: &K::Transaction| {
        t.set(&keys::settings(&change.put), &change.put.encode())?;
        if let Some(gone) = change.remove {
            t.clear(&keys::settings_of(change.put.role.code(), gone.get()))?;
        }
        Ok(())
    })
    .await
}

/// Writes the first records of a cluster.
///
/// # Errors
/// [`WriteError`].
pub async fn write_first<K: Kv>(
    kv: &K,
    holder: &Holder,
    records: &[(RecordKey, Record)],
    summary: &SessionSummary,
) -> Result<(), WriteError> {
    write_guarded(kv, holder, async |t: &K::Transaction| {
        for (key, record) in records {
            t.set(&key.encode(), &record.encode())?;
        }
        Ok(t.set(keys::SUMMARY_KEY, &summary.encode())?)
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
    body: impl AsyncFn(&K::Transaction) -> Result<(), Abort<RecordsError>>,
) -> Result<(), WriteError> {
    let options = TransactionOptions { timeout: TRANSACTION_TIME, ..TransactionOptions::default() };
    let policy = Policy { options, time_max: TRANSACTION_TIME * 2, ..Policy::default() };
    let guarded = async |t: &K::Transaction| -> Result<(), Abort<RecordsError>> {
        let stored = t.get(LEASE_KEY, ReadMode::Conflict).await?;
        let stored = decode_lease(stored).map_err(Abort::Own)?;
        holder.guard(stored.as_ref()).map_err(|conflict| Abort::Own(conflict.into()))?;
        body(t).await
    };
    match meta_kv::transact(kv, &policy, guarded).await {
        Ok(()) => Ok(()),
        Err(Abort::Own(RecordsError::Granted(grants))) => Err(WriteError::Granted(grants)),
        Err(Abort::Own(error)) => Err(WriteError::NotPrimary(error)),
        Err(Abort::Kv(error)) if error.retry() == KvRetry::IfIdempotent => {
            Err(WriteError::Unknown(error))
        }
        Err(Abort::Kv(error)) => Err(WriteError::Failed(error)),
    }
}
