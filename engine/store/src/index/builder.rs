//! Loads an index from records in the order of their keys, as a checkpoint has them.

use alloc::vec::Vec;

use super::balance::Step;
use super::node::Leaf;
use super::packed::{LEAF_WORDS_MAX, PLACES, PackedHead, pack};
use super::{Index, Scratch};
use crate::address::ChunkKey;
use crate::record::RecordRef;

/// Keys that do not ascend: what they were read from is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} follows {last}, keys must ascend")]
pub struct NotAscending {
    /// The key before.
    pub last: ChunkKey,
    /// As found.
    pub found: ChunkKey,
}

/// Fills one leaf after the other, completely. The budget is not asked: what a store holds must be
/// loaded; a budget that was lowered since refuses growth afterwards.
#[derive(Debug)]
pub struct Builder {
    index: Index,
    last: Option<ChunkKey>,
    /// Records of the leaf to come, so that its buffer gets its final size at once.
    staged: Scratch,
    has_tables: bool,
}

impl Builder {
    /// Without records.
    pub fn new(budget_bytes: u64) -> Self {
        let staged = Scratch {
            keys: Vec::with_capacity(PLACES),
            heads: Vec::with_capacity(PLACES),
            words: Vec::with_capacity(PLACES * LEAF_WORDS_MAX),
        };
        Self { index: Index::new(budget_bytes), last: None, staged, has_tables: false }
    }

    /// Adds a record that has passed its check.
    ///
    /// # Errors
    /// The key is not above the last one.
    ///
    /// # Panics
    /// If the record has other words than its head says (E117).
    pub fn push(&mut self, key: ChunkKey, record: RecordRef<'_>) -> Result<(), NotAscending> {
        if let Some(last) = self.last.filter(|&last| key <= last) {
            return Err(NotAscending { last, found: key });
        }
        self.last = Some(key);
        let head = PackedHead::new(&record);
        let (count, words) = (head.word_count(), record.words);
        assert_eq!(words.len(), count, "E117: a record has the words its head asks for");
        if self.staged.keys.len() == PLACES {
            self.flush();
        }
        self.staged.keys.push(pack(key));
        self.staged.heads.push(head);
        if head.has_table() {
            // The leaf that owns it gets its number when it is complete.
            let table = self.index.tables.take(count, 0);
            self.index.tables.words_mut(table)[..count].copy_from_slice(words);
            self.staged.words.push(table.word());
            self.has_tables = true;
        } else {
            self.staged.words.extend_from_slice(words);
        }
        Ok(())
    }

    /// Number of records so far.
    pub fn len(&self) -> u64 {
        self.index.len + self.staged.keys.len() as u64
    }

    /// Whether there is none so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of all that was pushed.
    pub fn finish(mut self) -> Index {
        if !self.staged.keys.is_empty() {
            self.flush();
        }
        self.index
    }

    /// Makes a leaf of what is staged.
    fn flush(&mut self) {
        let (index, staged) = (&mut self.index, &mut self.staged);
        let number = index.last_leaf(staged.keys[0]);
        index.leaves[number].fill(&staged.keys, &staged.heads);
        index.fit(number, &staged.words);
        if self.has_tables {
            index.own_tables(number);
        }
        index.len += staged.keys.len() as u64;
        staged.clear();
        self.has_tables = false;
    }
}

impl Index {
    /// An empty leaf behind all others, for keys from `packed` on.
    fn last_leaf(&mut self, packed: u128) -> u32 {
        if self.is_empty() {
            return self.root;
        }
        loop {
            let path = self.path(packed);
            match path.parent() {
                None => self.raise(),
                Some(Step { node, .. }) if self.inners[node].count() == PLACES => {
                    self.relieve_inner(&path, self.height - 1);
                }
                Some(Step { node, at }) => {
                    let leaf = self.leaves.push(Leaf::EMPTY);
                    self.inners[node].insert(at + 1, packed, leaf);
                    return leaf;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
