//! The committed records of one store, in memory, ordered by key.
//!
//! Owned by one shard. A B+tree of leaves with 64 records, 40 bytes each; the words of a leaf's
//! records lie together in one buffer as large as they need, tables above 64 words are on their
//! own. Everything is in pages that are numbered and dense: what goes is replaced by the last of
//! its kind, so memory follows the content; growth adds pages and moves none.
//!
//! A record takes at most 56 bytes and 4 per word. Measured with a million records of 8 words: 42
//! when loaded or in ascending order, 47 at random, 54 in the worst of 20 orders; at random with 1
//! word 46, with 64 words 52, with 129 words, in a table, 54. Beside that 0.3 MiB are always in
//! use. A call takes microseconds.
//!
//! Invariants (`Index::check`)
//!   E115  keys ascend; every key lies between the fences above it; the first fence of an inner
//!         node is the one that the node above it has for it
//!   E116  a leaf holds 1 to 64 records, an inner node 16 to 64 children; only the root may hold
//!         fewer: a leaf none, an inner node two; unused places are marked
//!   E117  the words of a leaf's records lie in its buffer in their order, without gaps, where the
//!         keys say
//!   E118  every buffer and table belongs to one leaf or record, and names its leaf (see `pool`)
//!   E119  `bytes` and `len` are what a recount finds
//!
//! Crash: nothing of it survives. Recovery builds it from the checkpoint with [`Builder`], which
//! fills leaves completely, and replays the journal by `insert` and `remove`.

mod balance;
mod builder;
mod check;
mod chunked;
mod node;
mod packed;
mod pool;
mod query;
mod range;

use alloc::vec::Vec;

use crate::address::{BlockAddress, ChunkKey};
use crate::record::{Head, RECORD_WORDS_MAX, RecordRef};

pub use builder::{Builder, NotAscending};
pub use check::IndexFault;
pub use query::{DIGEST_CHUNKS_MAX, QUERY_CHUNKS_MAX, QueryAnswer, RangeDigest};
pub use range::Records;

use chunked::Chunked;
use node::{Inner, Leaf};
use packed::{LEAF_WORDS_MAX, PLACES, PackedHead, pack, stored_words};
use pool::{Handle, Moved, Pool, Sizes};

/// Bytes that a record takes at least, beside 4 for each word: a store with a budget has no more
/// records than this allows, which bounds its checkpoints.
pub const RECORD_BYTES_MIN: u64 = (size_of::<u128>() + size_of::<PackedHead>()) as u64;
/// The largest budget that counts: handles name twice as much, so they do not run out.
pub const INDEX_BYTES_MAX: u64 = 64 << 30;

/// Levels of inner nodes: 16 children at least per node name more leaves than fit into memory.
const HEIGHT_MAX: usize = 8;
/// Buffers that change their size in one call at most: those of the leaves that share and of the
/// one added to them, and then that of one of them again.
const BUFFERS_PER_INSERT: u64 = balance::RUN as u64 + 2;

/// Records of all chunks of a store.
#[derive(Debug)]
pub struct Index {
    leaves: Chunked<Leaf, 5>,
    inners: Chunked<Inner, 5>,
    /// Words of the records of a leaf, together.
    buffers: Pool,
    /// Words of a record that are too many for a buffer.
    tables: Pool,
    /// A leaf when `height` is 0, else an inner node.
    root: u32,
    /// Levels of inner nodes.
    height: usize,
    len: u64,
    budget: u64,
    scratch: Scratch,
}

/// What was in the place of a record that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its fixed part.
    pub head: Head,
    /// Its first block.
    pub block: BlockAddress,
}

/// No memory for a record, or for a longer one (S17). Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for records: the index holds {bytes} bytes of {budget}")]
pub struct IndexFull {
    /// In use.
    pub bytes: u64,
    /// Allowed.
    pub budget: u64,
}

/// Records on their way from leaf to leaf.
#[derive(Debug, Default)]
struct Scratch {
    keys: Vec<u128>,
    heads: Vec<PackedHead>,
    words: Vec<u32>,
}

impl Index {
    /// Without records; `bytes` stays below `budget_bytes`, but see `remove`.
    pub fn new(budget_bytes: u64) -> Self {
        let buffers = Pool::new(Sizes::BUFFERS);
        let tables = Pool::new(Sizes::TABLES);
        let mut leaves = Chunked::new();
        let root = leaves.push(Leaf::EMPTY);
        Self {
            leaves,
            inners: Chunked::new(),
            buffers,
            tables,
            root,
            height: 0,
            len: 0,
            budget: budget_bytes,
            scratch: Scratch::new(),
        }
    }

    /// Number of records.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory in use, with everything that is allocated ahead (E119).
    pub fn bytes(&self) -> u64 {
        self.leaves.bytes()
            + self.inners.bytes()
            + self.buffers.bytes()
            + self.tables.bytes()
            + self.scratch.bytes()
            + size_of::<Self>() as u64
    }

    /// Bytes of memory allowed.
    pub const fn budget(&self) -> u64 {
        self.budget
    }

    /// Allows more or less from now on. Recovery sets the budget last: what a store holds must be
    /// loaded, even if leaves were packed more densely when the limit was checked.
    pub const fn set_budget(&mut self, budget_bytes: u64) {
        self.budget = budget_bytes;
    }

    /// Whether a new record with up to `words` words fits, or an old one may grow to that: if so,
    /// the next `insert` succeeds. It asks for what the worst insertion takes: 0.3 MiB when the
    /// index is small, 2 MiB when it is large.
    pub fn room_for(&self, words: usize) -> bool {
        let growth = Chunked::<Leaf, 5>::GROWTH_BYTES
            + Chunked::<Inner, 5>::GROWTH_BYTES
            + BUFFERS_PER_INSERT * self.buffers.growth_bytes()
            + self.tables.growth_bytes();
        let budget = self.budget.min(INDEX_BYTES_MAX);
        words <= RECORD_WORDS_MAX && self.bytes() + growth <= budget
    }

    /// The record of a chunk.
    #[inline]
    pub fn get(&self, key: &ChunkKey) -> Option<RecordRef<'_>> {
        let packed = pack(*key);
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = &self.inners[node];
            node = inner.children[inner.place(packed)];
        }
        let leaf = &self.leaves[node];
        let at = leaf.find(packed).ok()?;
        Some(self.record(leaf, at))
    }

    /// Keeps a record that has passed its check, in the place of the chunk's older one.
    ///
    /// # Errors
    /// No room. It never happens after `room_for`, nor when a record is replaced by one that has
    /// no more words.
    ///
    /// # Panics
    /// If the record has other words than its head says (E117).
    pub fn insert(
        &mut self,
        key: ChunkKey,
        record: RecordRef<'_>,
    ) -> Result<Option<Replaced>, IndexFull> {
        let head = PackedHead::new(&record);
        let count = head.word_count();
        assert_eq!(record.words.len(), count, "E117: a record has the words its head asks for");
        let packed = pack(key);
        let mut path = self.path(packed);
        let mut at = match self.leaves[path.leaf].find(packed) {
            Ok(at) => return self.replace(path.leaf, at, head, record.words).map(Some),
            Err(at) => at,
        };
        self.check_room(count)?;
        while self.leaves[path.leaf].count() == PLACES {
            self.relieve(&path, packed, at);
            path = self.path(packed);
            at = self.leaves[path.leaf].find(packed).expect_err("it is not there yet");
        }
        let start = self.leaves[path.leaf].start(at);
        self.resize(path.leaf, start, 0, head.stored_words());
        self.leaves[path.leaf].insert(at, packed, head, start);
        self.write_words(path.leaf, start, record.words);
        self.len += 1;
        Ok(None)
    }

    /// Forgets a chunk; says whether it was there. Memory shrinks, but a buffer that gets another
    /// size may be the first of that size in a new page: `bytes` may grow by a page per size
    /// before it falls, and pass a budget that is used up to its last page.
    pub fn remove(&mut self, key: &ChunkKey) -> bool {
        let packed = pack(*key);
        let path = self.path(packed);
        let leaf = &self.leaves[path.leaf];
        let Ok(at) = leaf.find(packed) else { return false };
        let (start, head) = (leaf.start(at), leaf.heads[at]);
        self.give_back_table(path.leaf, at);
        self.resize(path.leaf, start, head.stored_words(), 0);
        self.leaves[path.leaf].remove(at);
        self.len -= 1;
        self.settle(&path, packed);
        true
    }

    fn check_room(&self, words: usize) -> Result<(), IndexFull> {
        if self.room_for(words) {
            return Ok(());
        }
        Err(IndexFull { bytes: self.bytes(), budget: self.budget })
    }

    #[inline]
    fn record<'a>(&'a self, leaf: &'a Leaf, at: usize) -> RecordRef<'a> {
        let packed = &leaf.heads[at];
        let (start, count) = (leaf.start(at), packed.word_count());
        // Where the words are does not depend on the head, so both are fetched at the same time.
        let buffer = if leaf.buffer.is_none() { &[] } else { self.buffers.words(leaf.buffer) };
        let words = if count <= LEAF_WORDS_MAX {
            &buffer[start..start + count]
        } else {
            &self.tables.words(Handle::from_word(buffer[start]))[..count]
        };
        RecordRef { head: packed.head(), block: packed.block(), words }
    }

    /// The words in use of a leaf's buffer.
    fn leaf_words(&self, leaf: &Leaf) -> &[u32] {
        if leaf.buffer.is_none() {
            return &[];
        }
        &self.buffers.words(leaf.buffer)[..leaf.words()]
    }

    fn replace(
        &mut self,
        number: u32,
        at: usize,
        head: PackedHead,
        words: &[u32],
    ) -> Result<Replaced, IndexFull> {
        let leaf = &self.leaves[number];
        let (start, old) = (leaf.start(at), leaf.heads[at]);
        if old.word_count() < words.len() {
            self.check_room(words.len())?;
        }
        if old.has_table() && head.has_table() && self.fits_table(number, start, words.len()) {
            let table = Handle::from_word(self.leaf_words(&self.leaves[number])[start]);
            self.tables.words_mut(table)[..words.len()].copy_from_slice(words);
            self.leaves[number].heads[at] = head;
        } else {
            self.give_back_table(number, at);
            let (from, to) = (old.stored_words(), head.stored_words());
            self.resize(number, start, from, to);
            self.leaves[number].move_starts(at + 1, from, to);
            self.leaves[number].heads[at] = head;
            self.write_words(number, start, words);
        }
        Ok(Replaced { head: old.head(), block: old.block() })
    }

    /// Whether the table named at `start` has the right size for so many words.
    fn fits_table(&self, number: u32, start: usize, words: usize) -> bool {
        let table = Handle::from_word(self.leaf_words(&self.leaves[number])[start]);
        self.tables.class_of(table) == self.tables.class_for(words)
    }

    /// Makes `new` words of `old` ones at a place of a leaf's buffer, with any content.
    fn resize(&mut self, number: u32, at: usize, old: usize, new: usize) {
        if old == new {
            return;
        }
        let leaf = &mut self.leaves[number];
        let (words, buffer) = (leaf.words(), leaf.buffer);
        let wanted = words - old + new;
        leaf.set_words(wanted);
        if !buffer.is_none() && self.keeps_buffer(buffer, wanted) {
            self.buffers.words_mut(buffer).copy_within(at + old..words, at + new);
            return;
        }
        self.scratch.words.clear();
        if !buffer.is_none() {
            self.scratch.words.extend_from_slice(&self.buffers.words(buffer)[..words]);
        }
        self.give_back_buffer(number);
        if wanted == 0 {
            return;
        }
        let buffer = self.buffers.take(wanted, number);
        self.leaves[number].buffer = buffer;
        let (before, behind) = (&self.scratch.words[..at], &self.scratch.words[at + old..]);
        let target = self.buffers.words_mut(buffer);
        target[..at].copy_from_slice(before);
        target[at + new..at + new + behind.len()].copy_from_slice(behind);
    }

    /// One size too large is kept, so that a record that grows and shrinks does not copy each time.
    fn keeps_buffer(&self, buffer: Handle, words: usize) -> bool {
        let (class, wanted) = (self.buffers.class_of(buffer), self.buffers.class_for(words));
        0 < words && (wanted == class || wanted + 1 == class)
    }

    /// Puts the words of a record where its leaf's buffer has room for them, or into a table.
    fn write_words(&mut self, number: u32, start: usize, words: &[u32]) {
        if words.is_empty() {
            return;
        }
        let target = &mut self.buffers.words_mut(self.leaves[number].buffer)[start..];
        if stored_words(words.len()) == words.len() {
            target[..words.len()].copy_from_slice(words);
            return;
        }
        let table = self.tables.take(words.len(), number);
        target[0] = table.word();
        self.tables.words_mut(table)[..words.len()].copy_from_slice(words);
    }

    /// Gives back the table of a record that has one.
    fn give_back_table(&mut self, number: u32, at: usize) {
        let leaf = &self.leaves[number];
        if !leaf.heads[at].has_table() {
            return;
        }
        let table = Handle::from_word(self.leaf_words(leaf)[leaf.start(at)]);
        let Some(Moved { owner, from, to }) = self.tables.give_back(table) else { return };
        let leaf = &self.leaves[owner];
        let words = self.buffers.words_mut(leaf.buffer);
        let start = leaf.tables().find(|&start| words[start] == from.word());
        words[start.expect("E118: a table names the leaf of its record")] = to.word();
    }
}

impl Sizes {
    /// Buffers: a leaf wastes 1.5 % of its words on average, or 4 words.
    const BUFFERS: Self = Self { first: 8, max: PLACES * LEAF_WORDS_MAX, step_min: 8, shift: 5 };
    /// Tables: those of full chunks of 8 to 64 MiB waste nothing, others 0.4 % on average.
    const TABLES: Self =
        Self { first: LEAF_WORDS_MAX + 2, max: RECORD_WORDS_MAX, step_min: 2, shift: 7 };
}

impl Scratch {
    /// Room for the leaves that share, so that it never grows.
    fn new() -> Self {
        let places = balance::RUN * PLACES;
        Self {
            keys: Vec::with_capacity(places),
            heads: Vec::with_capacity(places),
            words: Vec::with_capacity(places * LEAF_WORDS_MAX),
        }
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.heads.clear();
        self.words.clear();
    }

    fn gather(&mut self, leaf: &Leaf, words: &[u32]) {
        self.keys.extend_from_slice(&leaf.keys[..leaf.count()]);
        self.heads.extend_from_slice(&leaf.heads[..leaf.count()]);
        self.words.extend_from_slice(words);
    }

    fn bytes(&self) -> u64 {
        let keys = self.keys.capacity() * size_of::<u128>();
        let heads = self.heads.capacity() * size_of::<PackedHead>();
        (keys + heads + self.words.capacity() * size_of::<u32>()) as u64
    }
}

#[cfg(test)]
mod tests;
