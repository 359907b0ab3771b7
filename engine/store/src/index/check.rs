//! Looks at everything: for tests and audits, not within a turn.

use alloc::vec::Vec;

use super::node::Leaf;
use super::packed::{PLACES, START, UNUSED, unpack};
use super::pool::Handle;
use super::{HEIGHT_MAX, Index, balance};
use crate::address::ChunkKey;

/// A broken promise of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexFault {
    /// E115.
    #[error("E115: {key} lies outside of the fences of its node, or does not ascend")]
    Order {
        /// The key, or the fence.
        key: ChunkKey,
    },
    /// E116.
    #[error("E116: node {node}, {level} levels above the leaves, holds {count} items")]
    Fill {
        /// Its number.
        node: u32,
        /// 0 for a leaf.
        level: usize,
        /// As found.
        count: usize,
    },
    /// E117.
    #[error("E117: words of {key} start at {found}, expected {expected}")]
    Words {
        /// The record; behind the last one, the last.
        key: ChunkKey,
        /// By the key, or by the leaf.
        found: usize,
        /// By the records before.
        expected: usize,
    },
    /// E118.
    #[error("E118: leaf {leaf} has a buffer or table that does not name it, or is none")]
    Owner {
        /// Its number.
        leaf: u32,
    },
    /// E118.
    #[error("E118: {found} {what} are owned, {expected} exist")]
    Lost {
        /// What they are.
        what: &'static str,
        /// By the leaves.
        found: u64,
        /// By the pool or the list of nodes.
        expected: u64,
    },
    /// E119.
    #[error("E119: {found} {what} are accounted, {counted} were counted")]
    Account {
        /// What they are.
        what: &'static str,
        /// By the account.
        found: u64,
        /// By the recount.
        counted: u64,
    },
}

/// What a walk has met.
#[derive(Default)]
struct Walk {
    leaves: u64,
    inners: u64,
    records: u64,
    buffers: u64,
    tables: Vec<Handle>,
}

impl Index {
    /// E115 to E119.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), IndexFault> {
        let mut walk = Walk::default();
        assert!(self.height <= HEIGHT_MAX, "E116: the height is bounded");
        self.check_node(&mut walk, self.root, self.height, 0..UNUSED)?;
        let tables = walk.tables.len() as u64;
        walk.tables.sort_unstable();
        walk.tables.dedup();
        let lost = |what, found, expected: u64| {
            if found == expected { Ok(()) } else { Err(IndexFault::Lost { what, found, expected }) }
        };
        lost("leaves", walk.leaves, self.leaves.count().into())?;
        lost("inner nodes", walk.inners, self.inners.count().into())?;
        lost("buffers", walk.buffers, self.buffers.count())?;
        lost("tables", tables, self.tables.count())?;
        lost("tables", walk.tables.len() as u64, self.tables.count())?;
        let account = |what, found, counted| {
            if found == counted {
                Ok(())
            } else {
                Err(IndexFault::Account { what, found, counted })
            }
        };
        account("records", self.len, walk.records)?;
        account("bytes of buffers", self.buffers.bytes(), self.buffers.recount())?;
        account("bytes of tables", self.tables.bytes(), self.tables.recount())
    }

    fn check_node(
        &self,
        walk: &mut Walk,
        node: u32,
        level: usize,
        range: core::ops::Range<u128>,
    ) -> Result<(), IndexFault> {
        if level == 0 {
            return self.check_leaf(walk, node, range);
        }
        walk.inners += 1;
        let inner = &self.inners[node];
        let (keys, children) = inner.entries();
        let min = if node == self.root { 2 } else { balance::CHILDREN_MIN };
        let marked = inner.keys[keys.len()..].iter().all(|&key| key == UNUSED);
        if keys.len() < min || !marked {
            return Err(IndexFault::Fill { node, level, count: keys.len() });
        }
        if keys[0] != range.start {
            return Err(IndexFault::Order { key: unpack(keys[0]) });
        }
        for (at, (&fence, &child)) in keys.iter().zip(children).enumerate() {
            let next = keys.get(at + 1).copied().unwrap_or(range.end);
            if next <= fence || fence & START != 0 {
                return Err(IndexFault::Order { key: unpack(fence) });
            }
            self.check_node(walk, child, level - 1, fence..next)?;
        }
        Ok(())
    }

    fn check_leaf(
        &self,
        walk: &mut Walk,
        number: u32,
        range: core::ops::Range<u128>,
    ) -> Result<(), IndexFault> {
        let leaf = &self.leaves[number];
        let count = leaf.count();
        let marked = count <= PLACES && leaf.keys[count..].iter().all(|&key| key == UNUSED);
        if !marked || count == 0 && 0 < self.height {
            return Err(IndexFault::Fill { node: number, level: 0, count });
        }
        let mut low = range.start;
        for &key in &leaf.keys[..count] {
            if key < low || range.end <= key {
                return Err(IndexFault::Order { key: unpack(key) });
            }
            low = key | START;
        }
        walk.leaves += 1;
        walk.records += count as u64;
        check_words(leaf)?;
        if !leaf.buffer.is_none() {
            walk.buffers += 1;
        }
        if !self.owns_its_words(walk, number) {
            return Err(IndexFault::Owner { leaf: number });
        }
        Ok(())
    }

    /// E118. Two leaves cannot both be named by one buffer, so none is counted twice.
    fn owns_its_words(&self, walk: &mut Walk, number: u32) -> bool {
        let leaf = &self.leaves[number];
        if leaf.buffer.is_none() || leaf.words() == 0 {
            return leaf.buffer.is_none() && leaf.words() == 0;
        }
        let owned = self.buffers.is_item(leaf.buffer) && self.buffers.owner(leaf.buffer) == number;
        if !owned || self.buffers.words(leaf.buffer).len() < leaf.words() {
            return false;
        }
        let words = self.leaf_words(leaf);
        leaf.tables().all(|start| {
            let table = Handle::from_word(words[start]);
            walk.tables.push(table);
            self.tables.is_item(table) && self.tables.owner(table) == number
        })
    }
}

/// E117.
fn check_words(leaf: &Leaf) -> Result<(), IndexFault> {
    let mut expected = 0;
    let fault = |at: usize, found, expected| {
        let key = unpack(leaf.keys[at]);
        Err(IndexFault::Words { key, found, expected })
    };
    for (at, head) in leaf.heads[..leaf.count()].iter().enumerate() {
        if leaf.start(at) != expected {
            return fault(at, leaf.start(at), expected);
        }
        expected += head.stored_words();
    }
    if leaf.words() != expected {
        return fault(leaf.count().saturating_sub(1), leaf.words(), expected);
    }
    Ok(())
}
