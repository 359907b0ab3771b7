//! An engine without a disk, for simulation: a treap whose nodes are shared between states.
//!
//! A state is a root; a change copies the path to what it changes, some 2 log2(n) nodes, so a
//! snapshot is one counted reference and old ones cost what has changed since. Clearing a range is
//! two splits. The order of priorities comes from the keys, so the same history makes the same
//! tree everywhere.
//!
//! Invariants
//!   E218 a node never changes once a state holds it; a state is what its batches made of it
//!   E219 keys rise from left to right, priorities fall from root to leaf (`check`)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_types::checksum::mix64;

use crate::api::{Page, RangeRead};
use crate::engine::page::PageBuilder;
use crate::engine::{Batch, EngineError, EngineSnapshot, KvEngine};
use crate::key::KeyRange;
use crate::mutation::Mutation;

type Link = Option<Arc<Node>>;

#[derive(Debug)]
struct Node {
    key: Arc<[u8]>,
    value: Arc<[u8]>,
    priority: u64,
    left: Link,
    right: Link,
}

impl Node {
    fn with(&self, left: Link, right: Link) -> Arc<Self> {
        let (key, value) = (Arc::clone(&self.key), Arc::clone(&self.value));
        Arc::new(Self { key, value, priority: self.priority, left, right })
    }
}

/// A store in memory; it ends with its owner.
#[derive(Debug, Default)]
pub struct MemoryEngine(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    root: Link,
    version: u64,
}

/// One state.
#[derive(Clone, Debug)]
pub struct MemorySnapshot {
    root: Link,
    version: u64,
}

impl MemoryEngine {
    /// An empty store at version 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store as a restart finds it: its keys, and a version above every one of this start.
    #[must_use]
    pub fn restarted(&self, jump: u64) -> Self {
        let state = self.state();
        let version = state.version.checked_add(jump).expect("versions do not end in a test");
        Self(Mutex::new(State { root: state.root.clone(), version }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A batch replaces the state in one assignment, so a panic leaves the former one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KvEngine for MemoryEngine {
    type Snapshot = MemorySnapshot;

    const BLOCKS: bool = false;

    fn version(&self) -> u64 {
        self.state().version
    }

    fn snapshot(&self) -> Result<MemorySnapshot, EngineError> {
        let state = self.state();
        Ok(MemorySnapshot { root: state.root.clone(), version: state.version })
    }

    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut state = self.state();
        assert!(state.version < batch.version, "E201: {} follows {}", batch.version, state.version);
        let root = batch.mutations.iter().fold(state.root.clone(), applied);
        *state = State { root, version: batch.version };
        Ok(())
    }
}

impl MemorySnapshot {
    /// Version of the newest batch in it.
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl EngineSnapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(find(&self.root, key).map(<[u8]>::to_vec))
    }

    fn range(&self, read: &RangeRead) -> Result<Page, EngineError> {
        let mut page = PageBuilder::new(read);
        visit(&self.root, &read.range, read.reverse, &mut page);
        Ok(page.finish())
    }
}

fn applied(root: Link, mutation: &Mutation) -> Link {
    match mutation {
        Mutation::Set { key, value } => put(&root, key, Some(value)),
        Mutation::Clear { range } if range.is_empty() => root,
        Mutation::Clear { range } => {
            let (before, rest) = split(&root, &range.begin);
            let (_, behind) = split(&rest, &range.end);
            merge(before, behind)
        }
        Mutation::Atomic { op, key, operand } => {
            let value = op.apply(find(&root, key), operand);
            put(&root, key, value.as_deref())
        }
        Mutation::StampedKey { .. } | Mutation::StampedValue { .. } => {
            unreachable!("an engine never sees a versionstamp unresolved")
        }
    }
}

fn put(root: &Link, key: &[u8], value: Option<&[u8]>) -> Link {
    let (before, rest) = split(root, key);
    let (_, behind) = split(&rest, &crate::key::after(key));
    let node = value.map(|value| {
        let (left, right) = (None, None);
        Arc::new(Node {
            key: key.into(),
            value: value.into(),
            priority: priority(key),
            left,
            right,
        })
    });
    merge(merge(before, node), behind)
}

fn priority(key: &[u8]) -> u64 {
    key.iter().fold(key.len() as u64, |sum, &byte| mix64(sum ^ u64::from(byte)))
}

fn find<'a>(root: &'a Link, key: &[u8]) -> Option<&'a [u8]> {
    let mut link = root;
    while let Some(node) = link {
        link = match key.cmp(&node.key) {
            core::cmp::Ordering::Less => &node.left,
            core::cmp::Ordering::Equal => return Some(&node.value),
            core::cmp::Ordering::Greater => &node.right,
        };
    }
    None
}

/// Keys below `key`, and the others.
fn split(link: &Link, key: &[u8]) -> (Link, Link) {
    let Some(node) = link else { return (None, None) };
    if *node.key < *key {
        let (inner, behind) = split(&node.right, key);
        (Some(node.with(node.left.clone(), inner)), behind)
    } else {
        let (before, inner) = split(&node.left, key);
        (before, Some(node.with(inner, node.right.clone())))
    }
}

/// Joins two trees, the keys of the first below those of the second.
fn merge(first: Link, second: Link) -> Link {
    match (first, second) {
        (None, link) | (link, None) => link,
        (Some(first), Some(second)) if second.priority <= first.priority => {
            let right = merge(first.right.clone(), Some(second));
            Some(first.with(first.left.clone(), right))
        }
        (Some(first), Some(second)) => {
            let left = merge(Some(first), second.left.clone());
            Some(second.with(left, second.right.clone()))
        }
    }
}

/// Adds the entries of `range` to `page`; false when it is full.
fn visit(link: &Link, range: &KeyRange, reverse: bool, page: &mut PageBuilder) -> bool {
    let Some(node) = link else { return true };
    let (left, right) = (*range.begin < *node.key, *node.key < *range.end);
    let inside = range.contains(&node.key);
    let (first, second) =
        if reverse { (&node.right, &node.left) } else { (&node.left, &node.right) };
    let (go_first, go_second) = if reverse { (right, left) } else { (left, right) };
    (!go_first || visit(first, range, reverse, page))
        && (!inside || page.push(&node.key, &node.value))
        && (!go_second || visit(second, range, reverse, page))
}

#[cfg(test)]
mod tests;
