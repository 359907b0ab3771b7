//! A second engine, measured beside the one that ships: fjall, a log-structured merge tree.
//!
//! It commits faster (one sequential write for a group) and reads more slowly; it brings 48 crates,
//! and threads of its own. Nothing but the benches uses it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use crate::api::{Page, RangeRead};
use crate::engine::page::PageBuilder;
use crate::engine::{Batch, EngineError, EngineSnapshot, KvEngine};
use crate::key::KeyRange;
use crate::mutation::Mutation;

/// A store of fjall's in a directory.
pub struct FjallEngine {
    database: Database,
    data: Keyspace,
    meta: Keyspace,
    version: AtomicU64,
}

/// A consistent view.
#[derive(Clone)]
pub struct FjallSnapshot {
    snapshot: Snapshot,
    data: Keyspace,
}

const VERSION: &[u8] = b"version";

fn failed(error: ::fjall::Error) -> EngineError {
    EngineError::Io { reason: error.to_string() }
}

/// fjall has no empty key, so each gets a byte in front.
fn stored(key: &[u8]) -> Vec<u8> {
    [&[0], key].concat()
}

impl FjallEngine {
    /// Opens or creates the store in `directory`.
    ///
    /// # Errors
    /// fjall's.
    pub fn open(directory: &Path) -> Result<Self, EngineError> {
        let database = Database::builder(directory).open().map_err(failed)?;
        let data = database.keyspace("data", KeyspaceCreateOptions::default).map_err(failed)?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).map_err(failed)?;
        let version = match meta.get(VERSION).map_err(failed)? {
            None => 0,
            Some(bytes) => u64::from_le_bytes(bytes[..].try_into().map_err(|_| {
                EngineError::Damaged { reason: format!("a version of {} bytes", bytes.len()) }
            })?),
        };
        Ok(Self { database, data, meta, version: AtomicU64::new(version) })
    }

    /// What a batch makes of the keys it touches.
    fn resolved(&self, batch: &Batch) -> Result<Changes, EngineError> {
        let mut changes = Changes::new();
        for mutation in &batch.mutations {
            match mutation {
                Mutation::Set { key, value } => {
                    changes.insert(stored(key), Some(value.clone()));
                }
                Mutation::Clear { range } => self.clear(&mut changes, range)?,
                Mutation::Atomic { op, key, operand } => {
                    let key = stored(key);
                    let old = match changes.get(&key) {
                        Some(changed) => changed.clone(),
                        None => self.data.get(&key).map_err(failed)?.map(|old| old.to_vec()),
                    };
                    changes.insert(key, op.apply(old.as_deref(), operand));
                }
                Mutation::StampedKey { .. } | Mutation::StampedValue { .. } => {
                    unreachable!("an engine never sees a versionstamp unresolved")
                }
            }
        }
        Ok(changes)
    }

    fn clear(&self, changes: &mut Changes, range: &KeyRange) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let (begin, end) = (stored(&range.begin), stored(&range.end));
        for entry in self.data.range(begin.clone()..end.clone()) {
            changes.insert(entry.key().map_err(failed)?.to_vec(), None);
        }
        for (_, value) in changes.range_mut(begin..end) {
            *value = None;
        }
        Ok(())
    }
}

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl KvEngine for FjallEngine {
    type Snapshot = FjallSnapshot;

    const BLOCKS: bool = true;

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    fn snapshot(&self) -> Result<FjallSnapshot, EngineError> {
        Ok(FjallSnapshot { snapshot: self.database.snapshot(), data: self.data.clone() })
    }

    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in self.resolved(batch)? {
            match value {
                Some(value) => writes.insert(&self.data, key, value),
                None => writes.remove(&self.data, key),
            }
        }
        writes.insert(&self.meta, VERSION, batch.version.to_le_bytes());
        writes.commit().map_err(failed)?;
        self.version.store(batch.version, Ordering::SeqCst);
        Ok(())
    }
}

impl EngineSnapshot for FjallSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let found = self.snapshot.get(&self.data, stored(key)).map_err(failed)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn range(&self, read: &RangeRead) -> Result<Page, EngineError> {
        let mut page = PageBuilder::new(read);
        if read.range.is_empty() {
            return Ok(page.finish());
        }
        let bounds = stored(&read.range.begin)..stored(&read.range.end);
        let mut entries = self.snapshot.range(&self.data, bounds);
        loop {
            let entry = if read.reverse { entries.next_back() } else { entries.next() };
            let Some(entry) = entry else { break };
            let (key, value) = entry.into_inner().map_err(failed)?;
            if !page.push(&key[1..], &value) {
                break;
            }
        }
        Ok(page.finish())
    }
}
