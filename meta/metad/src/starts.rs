//! Who a service is, and which of its starts this is, kept in the KV: a service has no disk.
//!
//! ```text
//! METS le32(number)     le128 uuid, le64 starts
//! ```
//! Managers know a service by its uuid and tell its starts apart by their count, and a session of a
//! higher count ends that of a lower one, so that its unfinished cuts pass on within seconds.
//!
//! Invariants
//!   E457  two starts of one number never have the same count: it is raised by the transaction that
//!         gives it, and one whose result is unknown is followed by another one
//!
//! Crash: a count that nobody has heard of is left out.

use engine_runtime::Env;
use engine_types::StoreId;
use meta_kv::{Abort, Kv, KvError, Policy, ReadMode, Transaction, transact};

#[cfg(test)]
mod tests;

/// A start of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The service, for life.
    pub uuid: StoreId,
    /// From 1.
    pub count: u64,
}

/// Why a start is not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// What is kept is not 24 bytes.
    #[error("the record of service {number} has {found} bytes, expected 24")]
    Corrupt {
        /// The service.
        number: u32,
        /// Its length.
        found: usize,
    },
    /// All counts were used.
    #[error("service {number} has started {starts} times, and sessions count no further")]
    RunOut {
        /// The service.
        number: u32,
        /// Starts so far.
        starts: u64,
    },
    /// The store did not answer.
    #[error("the start of a service cannot be counted: {0}")]
    Store(#[from] KvError),
}

fn key(number: u32) -> Vec<u8> {
    [b"METS".as_slice(), &number.to_le_bytes()].concat()
}

fn decode(value: &[u8]) -> Option<Start> {
    let (uuid, count) = value.split_first_chunk::<16>()?;
    let count = count.try_into().ok()?;
    let uuid = StoreId::new(u128::from_le_bytes(*uuid));
    Some(Start { uuid, count: u64::from_le_bytes(count) })
}

fn encode(start: Start) -> Vec<u8> {
    [start.uuid.get().to_le_bytes().as_slice(), &start.count.to_le_bytes()].concat()
}

/// Counts a start of service `number` (E457), which gets its name with the first one.
///
/// # Errors
/// [`StartError`].
pub async fn count<E: Env, K: Kv>(env: &E, kv: &K, number: u32) -> Result<Start, StartError> {
    let mut uuid = [0; 16];
    env.random_secret(&mut uuid);
    let fresh = Start { uuid: StoreId::new(u128::from_le_bytes(uuid).max(1)), count: 0 };
    // A count that was given without anybody hearing of it is as good as a start that failed.
    let policy = Policy { idempotent: true, ..Policy::default() };
    let counted = transact(kv, &policy, async |transaction: &K::Transaction| {
        let stored = transaction.get(&key(number), ReadMode::Conflict).await?;
        let former = match &stored {
            None => fresh,
            Some(bytes) => decode(bytes)
                .ok_or(Abort::Own(StartError::Corrupt { number, found: bytes.len() }))?,
        };
        // Epochs of sessions have 32 bits.
        if u64::from(u32::MAX) <= former.count {
            return Err(Abort::Own(StartError::RunOut { number, starts: former.count }));
        }
        let start = Start { count: former.count + 1, ..former };
        transaction.set(&key(number), &encode(start))?;
        Ok(start)
    });
    counted.await.map_err(|abort| match abort {
        Abort::Own(error) => error,
        Abort::Kv(error) => StartError::Store(error),
    })
}
