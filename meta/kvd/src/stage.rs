//! Commits that arrive in parts, because they are larger than one payload (E244). Pure.

use core::time::Duration;
use std::collections::BTreeMap;

use engine_types::{Instant, StoreId};
use meta_kv::KvError;
use meta_kv::limits::TRANSACTION_BYTES_MAX;

#[cfg(test)]
mod tests;

/// Bytes of one encoded commit: the largest transaction, and as much again for lengths and tags,
/// which outweigh keys of a few bytes.
pub(crate) const COMMIT_BYTES_MAX: usize = TRANSACTION_BYTES_MAX * 2;
/// Bytes that all peers together may have staged: three largest commits. Such commits are rare;
/// FoundationDB advises a tenth of their size.
const STAGED_BYTES_MAX: usize = COMMIT_BYTES_MAX * 3;
/// Silence after which a part is dropped: the transaction is too old by then.
const STAGED_TIME_MAX: Duration = Duration::from_secs(10);

/// Who stages what: the process and its number for it.
pub(crate) type StageKey = (StoreId, u64);

struct Staged {
    bytes: Vec<u8>,
    total: usize,
    at: Instant,
}

/// What is staged now.
#[derive(Default)]
pub(crate) struct Stage {
    held: BTreeMap<StageKey, Staged>,
}

impl Stage {
    /// Takes a part; parts come in order, the first opens. Answers how much is held.
    pub(crate) fn add(
        &mut self,
        key: StageKey,
        offset: usize,
        total: usize,
        parts: &[&[u8]],
        now: Instant,
    ) -> Result<usize, KvError> {
        self.forget(now);
        let (found, limit) = (total, COMMIT_BYTES_MAX);
        if limit < found {
            return Err(KvError::TooLarge { found, limit });
        }
        if offset == 0 {
            self.held.remove(&key);
            let reserved: usize = self.held.values().map(|staged| staged.total).sum();
            if STAGED_BYTES_MAX < reserved + total {
                let reason = format!("{reserved} bytes of large commits are on their way");
                return Err(KvError::Overloaded { reason });
            }
            self.held.insert(key, Staged { bytes: Vec::new(), total, at: now });
        }
        let Some(staged) = self.held.get_mut(&key) else {
            let reason = format!("upload {} is not known, or was dropped", key.1);
            return Err(KvError::Overloaded { reason });
        };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if staged.bytes.len() != offset || staged.total != total || total < offset + length {
            let held = staged.bytes.len();
            self.held.remove(&key);
            let reason = format!("part at {offset} of {total} bytes after {held}");
            return Err(KvError::Failed { reason });
        }
        parts.iter().for_each(|part| staged.bytes.extend_from_slice(part));
        staged.at = now;
        Ok(staged.bytes.len())
    }

    /// Takes a whole commit out.
    pub(crate) fn take(&mut self, key: StageKey) -> Result<Vec<u8>, KvError> {
        let staged = self.held.remove(&key).filter(|staged| staged.bytes.len() == staged.total);
        staged.map(|staged| staged.bytes).ok_or_else(|| {
            let reason = format!("upload {} is not whole, or was dropped", key.1);
            KvError::Overloaded { reason }
        })
    }

    /// Drops what has fallen silent.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.held.retain(|_, staged| now.saturating_since(staged.at) <= STAGED_TIME_MAX);
    }
}
