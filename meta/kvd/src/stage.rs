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
/// Time from the first part to the commit: the transaction is too old by then.
const STAGED_TIME_MAX: Duration = Duration::from_secs(10);

/// Uploads under way, of all peers: many small ones cost more than their bytes.
const UPLOADS_MAX: usize = 64;

/// Who stages what: the process and its number for it.
pub(crate) type StageKey = (StoreId, u64);

struct Staged {
    bytes: Vec<u8>,
    total: usize,
    /// When its first part came: later ones do not prolong it.
    began: Instant,
}

/// What is staged now.
#[derive(Default)]
pub(crate) struct Stage {
    held: BTreeMap<StageKey, Staged>,
    /// Bytes announced by all that is held.
    announced: usize,
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
        let (found, limit) = (total, COMMIT_BYTES_MAX);
        if limit < found {
            return Err(KvError::TooLarge { found, limit });
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length == 0 {
            let reason = format!("an empty part of upload {}", key.1);
            return Err(KvError::Failed { reason });
        }
        if offset == 0 {
            self.open(key, total, now)?;
        }
        let Some(staged) = self.held.get_mut(&key) else {
            let reason = format!("upload {} is not known, or was dropped", key.1);
            return Err(KvError::Overloaded { reason });
        };
        if staged.bytes.len() != offset || staged.total != total || total < offset + length {
            let held = staged.bytes.len();
            self.remove(key);
            let reason = format!("part at {offset} of {total} bytes after {held}");
            return Err(KvError::Failed { reason });
        }
        parts.iter().for_each(|part| staged.bytes.extend_from_slice(part));
        Ok(staged.bytes.len())
    }

    fn open(&mut self, key: StageKey, total: usize, now: Instant) -> Result<(), KvError> {
        self.forget(now);
        self.remove(key);
        let (uploads, announced) = (self.held.len(), self.announced);
        if UPLOADS_MAX <= uploads || STAGED_BYTES_MAX < announced + total {
            let reason = format!("{uploads} large commits of {announced} bytes are on their way");
            return Err(KvError::Overloaded { reason });
        }
        self.announced += total;
        self.held.insert(key, Staged { bytes: Vec::new(), total, began: now });
        Ok(())
    }

    fn remove(&mut self, key: StageKey) -> Option<Staged> {
        let staged = self.held.remove(&key)?;
        self.announced -= staged.total;
        Some(staged)
    }

    /// Bytes of an upload so far.
    pub(crate) fn held(&self, key: StageKey) -> usize {
        self.held.get(&key).map_or(0, |staged| staged.bytes.len())
    }

    /// Takes a whole commit out.
    pub(crate) fn take(&mut self, key: StageKey) -> Result<Vec<u8>, KvError> {
        let staged = self.remove(key).filter(|staged| staged.bytes.len() == staged.total);
        staged.map(|staged| staged.bytes).ok_or_else(|| {
            let reason = format!("upload {} is not whole, or was dropped", key.1);
            KvError::Overloaded { reason }
        })
    }

    /// Drops what has taken too long.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.held.retain(|_, staged| {
            let kept = now.saturating_since(staged.began) <= STAGED_TIME_MAX;
            if !kept {
                self.announced -= staged.total;
            }
            kept
        });
    }
}
