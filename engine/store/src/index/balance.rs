//! How the tree grows and shrinks: up to five neighbours share what they hold before a node is
//! added to them or taken from them.
//!
//! A node that is full first gives to its neighbours; only when the five together are nearly full
//! a sixth is added, so that each holds at least 50 of 64 afterwards: 40 bytes of a record take 51
//! then. A node that has become emptier makes four of five when each of them then holds at most
//! 56. In between nothing happens, so nodes do not split and merge in turns. One step copies six
//! leaves at most: 25 KiB with 8 words per record, 90 KiB with 64.
//!
//! Keys that ascend, at the end of the key space or of a file, leave full leaves behind them: a
//! full leaf whose newest records came in order gives what is behind them to a new leaf.

use engine_types::reached;

use super::node::{Inner, Leaf};
use super::packed::{PLACES, START};
use super::pool::{Handle, Moved};
use super::{HEIGHT_MAX, Index};

/// Neighbours that share. With three, records that come in descending order took 58 bytes instead
/// of 51, and random ones 48.7 instead of 46.1; the time per insertion was the same.
pub(super) const RUN: usize = 5;
/// Free places per node below which neighbours get a further node instead of sharing: sharing more
/// often fills nodes better, and costs a copy of all five each time.
const FREE_MIN: usize = 3;
/// Places that are used on average after a merge, at most.
const MERGED_MAX: usize = 56;
/// Leaves of which the smallest holds more than this cannot become one fewer.
const MERGE_BELOW: usize = MERGED_MAX * (RUN - 1) / RUN;
/// Children of an inner node that is not the root, at least.
pub(super) const CHILDREN_MIN: usize = 16;

/// The way from the root to a leaf.
pub(super) struct Path {
    steps: [Step; HEIGHT_MAX],
    depth: usize,
    pub(super) leaf: u32,
}

/// An inner node and the place of the child taken there.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) node: u32,
    pub(super) at: usize,
}

impl Path {
    pub(super) fn parent(&self) -> Option<Step> {
        self.steps[..self.depth].last().copied()
    }
}

/// First place and number of the neighbours around a place.
fn run(count: usize, at: usize) -> (usize, usize) {
    let len = count.min(RUN);
    (at.saturating_sub(RUN / 2).min(count - len), len)
}

/// Whether `len` nodes with so many used places have enough free ones to share.
fn can_share(len: usize, used: usize) -> bool {
    len * FREE_MIN <= len * PLACES - used
}

impl Index {
    pub(super) fn path(&self, packed: u128) -> Path {
        let mut path = Path { steps: [Step::default(); HEIGHT_MAX], depth: 0, leaf: self.root };
        for step in &mut path.steps[..self.height] {
            let inner = &self.inners[path.leaf];
            let at = inner.place(packed);
            *step = Step { node: path.leaf, at };
            path.leaf = inner.children[at];
        }
        path.depth = self.height;
        path
    }

    /// Makes room in the full leaf at the end of the path, or prepares it: the caller follows the
    /// path of `packed` again, until the leaf at its end has room. `at` is the key's place there.
    pub(super) fn relieve(&mut self, path: &Path, packed: u128, at: usize) {
        let Some(parent) = path.parent() else { return self.raise() };
        let (first, len) = run(self.inners[parent.node].count(), parent.at);
        let used = self.used_by_leaves(parent.node, first, len);
        let ascends = self.leaves[path.leaf].ascends(at);
        let begins = at == PLACES && ascends;
        if !begins && can_share(len, used) {
            self.spread_leaves(parent.node, first, len, len);
        } else if self.inners[parent.node].count() == PLACES {
            self.relieve_inner(path, path.depth - 1);
        } else if ascends {
            self.split_leaf(parent, packed, at);
        } else {
            self.spread_leaves(parent.node, first, len, len + 1);
        }
    }

    /// Makes room in the full inner node at a level of the path, or prepares it.
    pub(super) fn relieve_inner(&mut self, path: &Path, level: usize) {
        if level == 0 {
            return self.raise();
        }
        let parent = path.steps[level - 1];
        let (first, len) = run(self.inners[parent.node].count(), parent.at);
        let used = self.used_by_inners(parent.node, first, len);
        if can_share(len, used) {
            self.spread_inners(parent.node, first, len, len);
        } else if self.inners[parent.node].count() == PLACES {
            self.relieve_inner(path, level - 1);
        } else {
            self.spread_inners(parent.node, first, len, len + 1);
        }
    }

    /// Puts a root above the root. It has one child only until the caller goes on.
    pub(super) fn raise(&mut self) {
        reached!("E116: the index grows by a level");
        assert!(self.height < HEIGHT_MAX, "E116: nodes are at least a quarter full");
        let mut root = Inner::EMPTY;
        root.insert(0, 0, self.root);
        self.root = self.inners.push(root);
        self.height += 1;
    }

    /// Moves the records from a place on into a new leaf behind, so that a run of ascending keys
    /// goes on in its leaf, or behind it when that is full.
    fn split_leaf(&mut self, parent: Step, packed: u128, at: usize) {
        let behind = self.leaves.push(Leaf::EMPTY);
        let inner = &mut self.inners[parent.node];
        let number = inner.children[parent.at];
        let leaf = &self.leaves[number];
        let fence = leaf.keys.get(at).map_or(packed, |&key| key & !START);
        inner.insert(parent.at + 1, fence, behind);
        if at == PLACES {
            return;
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.gather(leaf, self.leaf_words(leaf));
        let (before, rest) = scratch.words.split_at(leaf.start(at));
        self.leaves[number].truncate(at);
        self.fit(number, before);
        self.leaves[behind].fill(&scratch.keys[at..], &scratch.heads[at..]);
        self.fit(behind, rest);
        self.own_tables(behind);
        self.scratch = scratch;
    }

    fn used_by_leaves(&self, parent: u32, first: usize, len: usize) -> usize {
        let children = &self.inners[parent].children[first..first + len];
        children.iter().map(|&leaf| self.leaves[leaf].count()).sum()
    }

    fn used_by_inners(&self, parent: u32, first: usize, len: usize) -> usize {
        let children = &self.inners[parent].children[first..first + len];
        children.iter().map(|&inner| self.inners[inner].count()).sum()
    }

    /// After a record has gone from the leaf of `packed`: fewer nodes if they are nearly empty.
    pub(super) fn settle(&mut self, path: &Path, packed: u128) {
        let count = self.leaves[path.leaf].count();
        let Some(parent) = path.parent() else { return };
        if MERGE_BELOW < count {
            return;
        }
        let (first, len) = run(self.inners[parent.node].count(), parent.at);
        let used = self.used_by_leaves(parent.node, first, len);
        if count == 0 {
            let leaf = self.inners[parent.node].remove(parent.at);
            self.remove_leaf(leaf);
        } else if used <= (len - 1) * MERGED_MAX {
            self.spread_leaves(parent.node, first, len, len - 1);
        } else {
            return;
        }
        self.settle_inners(packed);
    }

    fn settle_inners(&mut self, packed: u128) {
        for level in (1..self.height).rev() {
            // Followed anew each time: the step before may have given nodes other numbers.
            let path = self.path(packed);
            if CHILDREN_MIN <= self.inners[path.steps[level].node].count() {
                break;
            }
            let parent = path.steps[level - 1];
            let (first, len) = run(self.inners[parent.node].count(), parent.at);
            let used = self.used_by_inners(parent.node, first, len);
            let merges = used <= (len - 1) * MERGED_MAX;
            self.spread_inners(parent.node, first, len, if merges { len - 1 } else { len });
        }
        while 0 < self.height && self.inners[self.root].count() == 1 {
            reached!("E116: the index shrinks by a level");
            let old = self.root;
            self.root = self.inners[old].children[0];
            self.height -= 1;
            self.remove_inner(old);
        }
    }

    /// Divides the records of `old` neighbouring leaves evenly among `new` ones.
    fn spread_leaves(&mut self, parent: u32, first: usize, old: usize, new: usize) {
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        for &leaf in &self.inners[parent].children[first..first + old] {
            let leaf = &self.leaves[leaf];
            let words = self.leaf_words(leaf);
            scratch.gather(leaf, words);
        }
        if old < new {
            let leaf = self.leaves.push(Leaf::EMPTY);
            self.inners[parent].insert(first + old, START, leaf);
        }
        let dead = (new < old).then(|| self.inners[parent].remove(first + new));
        if let Some(dead) = dead {
            self.fit(dead, &[]);
        }
        let (keys, heads) = (&scratch.keys, &scratch.heads);
        let mut words = &*scratch.words;
        let moves_tables = heads.iter().any(|head| head.has_table());
        for part in 0..new {
            let (from, to) = (keys.len() * part / new, keys.len() * (part + 1) / new);
            let inner = &mut self.inners[parent];
            if 0 < part {
                inner.keys[first + part] = keys[from] & !START;
            }
            let number = inner.children[first + part];
            let leaf = &mut self.leaves[number];
            leaf.fill(&keys[from..to], &heads[from..to]);
            let (mine, rest) = words.split_at(leaf.words());
            words = rest;
            self.fit(number, mine);
            if moves_tables {
                self.own_tables(number);
            }
        }
        self.scratch = scratch;
        if let Some(dead) = dead {
            self.remove_leaf(dead);
        }
    }

    /// Divides the children of `old` neighbouring inner nodes evenly among `new` ones.
    fn spread_inners(&mut self, parent: u32, first: usize, old: usize, new: usize) {
        let mut keys = [0; RUN * PLACES];
        let mut children = [0; RUN * PLACES];
        let mut count = 0;
        for &inner in &self.inners[parent].children[first..first + old] {
            let (some_keys, some) = self.inners[inner].entries();
            keys[count..count + some.len()].copy_from_slice(some_keys);
            children[count..count + some.len()].copy_from_slice(some);
            count += some.len();
        }
        if old < new {
            let inner = self.inners.push(Inner::EMPTY);
            self.inners[parent].insert(first + old, START, inner);
        }
        let dead = (new < old).then(|| self.inners[parent].remove(first + new));
        for part in 0..new {
            let (from, to) = (count * part / new, count * (part + 1) / new);
            let inner = &mut self.inners[parent];
            inner.keys[first + part] = keys[from];
            let number = inner.children[first + part];
            self.inners[number].fill(&keys[from..to], &children[from..to]);
        }
        if let Some(dead) = dead {
            self.remove_inner(dead);
        }
    }

    /// Takes out a leaf that no node names. The last leaf gets its number.
    fn remove_leaf(&mut self, number: u32) {
        assert!(self.leaves[number].buffer.is_none(), "E118: a leaf without words goes");
        let Some(last) = self.leaves.swap_remove(number) else { return };
        let leaf = &self.leaves[number];
        assert!(0 < leaf.count(), "E116: only the leaf that goes is empty");
        let (key, buffer) = (leaf.keys[0], leaf.buffer);
        let parent = self.path(key).parent().expect("E116: two leaves have a node above");
        let child = &mut self.inners[parent.node].children[parent.at];
        assert_eq!(*child, last, "E115: a leaf is found by its first key");
        *child = number;
        if !buffer.is_none() {
            self.buffers.set_owner(buffer, number);
            self.own_tables(number);
        }
    }

    /// Takes out an inner node that no node names. The last inner node gets its number.
    fn remove_inner(&mut self, number: u32) {
        let Some(last) = self.inners.swap_remove(number) else { return };
        if self.root == last && 0 < self.height {
            self.root = number;
            return;
        }
        // Its first fence is the one that the node above has for it.
        let fence = self.inners[number].keys[0];
        let mut node = self.root;
        for _ in 1..self.height {
            let at = self.inners[node].place(fence);
            let child = &mut self.inners[node].children[at];
            if *child == last {
                *child = number;
                return;
            }
            node = *child;
        }
        panic!("E115: an inner node is found by its first fence");
    }

    /// Gives the leaf a buffer for exactly these words, with them in it.
    pub(super) fn fit(&mut self, number: u32, words: &[u32]) {
        let old = self.leaves[number].buffer;
        let class = self.buffers.class_for(words.len());
        if words.is_empty() || old.is_none() || self.buffers.class_of(old) != class {
            self.give_back_buffer(number);
            if words.is_empty() {
                return;
            }
            self.leaves[number].buffer = self.buffers.take(words.len(), number);
        }
        let buffer = self.leaves[number].buffer;
        self.buffers.words_mut(buffer)[..words.len()].copy_from_slice(words);
    }

    pub(super) fn give_back_buffer(&mut self, number: u32) {
        let buffer = core::mem::replace(&mut self.leaves[number].buffer, Handle::NONE);
        if buffer.is_none() {
            return;
        }
        if let Some(Moved { owner, from, to }) = self.buffers.give_back(buffer) {
            let buffer = &mut self.leaves[owner].buffer;
            assert_eq!(*buffer, from, "E118: a buffer names its leaf");
            *buffer = to;
        }
    }

    /// Names the leaf in the tables of its records.
    pub(super) fn own_tables(&mut self, number: u32) {
        let leaf = &self.leaves[number];
        let words = if leaf.buffer.is_none() { &[] } else { self.buffers.words(leaf.buffer) };
        for start in leaf.tables() {
            self.tables.set_owner(Handle::from_word(words[start]), number);
        }
    }
}
