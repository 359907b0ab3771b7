//! Whether the state holds together: run by tests after every crash, and by the offline check.

use alloc::string::{String, ToString};

use engine_types::Map;

use super::Store;
use crate::address::BlockAddress;

/// Figures of an audit that found nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreAudit {
    /// Committed chunks.
    pub chunks: u64,
    /// Pending versions.
    pub pendings: u64,
    /// Blocks named by records.
    pub blocks: u64,
}

impl<T: Clone> Store<T> {
    /// Every record is sound (E100 to E104), every block named by exactly one chunk is live, and no
    /// other is (S-a). Costs a walk over the index; for stores at rest and tests.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self) -> Result<StoreAudit, String> {
        let mut audit = StoreAudit::default();
        let mut pending_blocks: Map<BlockAddress, ()> = Map::default();
        let mut named = alloc::vec::Vec::new();
        for (key, record) in self.index.after(None) {
            record.check().map_err(|why| alloc::format!("{key}: {why}"))?;
            audit.chunks += 1;
            named.extend(record.blocks().map(|(_, block)| (block, record.head.class)));
        }
        for pending in self.pending.values() {
            audit.pendings += 1;
            let Some(record) = &pending.put.record else { continue };
            let key = pending.put.key;
            record.as_ref().check().map_err(|why| alloc::format!("{key} pending: {why}"))?;
            let committed = self.index.get(&key);
            for (_, block) in record.as_ref().blocks() {
                if committed.is_some_and(|c| c.blocks().any(|(_, b)| b == block)) {
                    continue;
                }
                if pending_blocks.insert(block, ()).is_some() {
                    return Err(alloc::format!("{block} is named by two pending versions"));
                }
                named.push((block, record.head.class));
            }
        }
        if self.preparing.is_empty() {
            let counted: usize = self.pending.values().map(|p| p.put.images.len()).sum();
            assert_eq!(counted, self.undecided_images, "E149: images of undecided versions");
            let growth = self.pending.values().map(|p| {
                let now = self.index_growth(&p.put.key, p.put.record.as_ref());
                assert_eq!(now, p.index_bytes, "E144: {} grows otherwise", p.put.key);
                now
            });
            assert_eq!(growth.sum::<u64>(), self.promised.index_bytes, "E144: promised bytes");
        }
        audit.blocks = named.len() as u64;
        self.allocator.audit(named.into_iter()).map_err(|why| why.to_string())?;
        self.allocator.check();
        Ok(audit)
    }
}
