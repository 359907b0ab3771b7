//! The nodes of the tree. Searching touches keys only; heads lie behind them, 24 bytes together,
//! because who finds a key wants all of its head.

use super::packed::{PLACES, PackedHead, START, UNUSED, count_below, start, with_start};
use super::pool::Handle;

/// Records that came in ascending order, one behind the other, from which on a leaf expects more:
/// by chance this happens once in some million records.
const STREAK_MIN: u16 = 3;

/// Records in the order of their keys.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Each with the start of its words in the buffer.
    pub(super) keys: [u128; PLACES],
    pub(super) heads: [PackedHead; PLACES],
    /// The words of its records, in the same order, without gaps (E117).
    pub(super) buffer: Handle,
    words: u16,
    count: u16,
    /// Place of the newest record.
    newest: u16,
    /// How many records before it came each behind the one before.
    streak: u16,
}

/// Nodes below this one, leaves or inner ones, each with a fence: a key that is not above any key
/// of that node, and above every key of the node before it.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) keys: [u128; PLACES],
    pub(super) children: [u32; PLACES],
    count: u32,
}

impl Leaf {
    /// Without records.
    pub(super) const EMPTY: Self = Self {
        keys: [UNUSED; PLACES],
        heads: [PackedHead::EMPTY; PLACES],
        buffer: Handle::NONE,
        words: 0,
        count: 0,
        newest: 0,
        streak: 0,
    };

    /// Records in it.
    pub(super) const fn count(&self) -> usize {
        self.count as usize
    }

    /// Words of its buffer that are in use.
    pub(super) const fn words(&self) -> usize {
        self.words as usize
    }

    /// Sets the number of words in use.
    pub(super) fn set_words(&mut self, words: usize) {
        self.words = u16::try_from(words).expect("E117: 64 records of 64 words at most");
    }

    /// The place of a key, or the one where it would stand.
    #[inline]
    pub(super) fn find(&self, packed: u128) -> Result<usize, usize> {
        let at = count_below(&self.keys, packed);
        // They differ in the start only; in an unused place all bits of it are set.
        let found = self.keys.get(at).is_some_and(|&key| key ^ packed < START);
        if found { Ok(at) } else { Err(at) }
    }

    /// Where the words of the record at a place start, or would start.
    pub(super) fn start(&self, at: usize) -> usize {
        if at < self.count() { start(self.keys[at]) } else { self.words() }
    }

    /// Adds a record; its words are in the buffer already.
    pub(super) fn insert(&mut self, at: usize, packed: u128, head: PackedHead, start: usize) {
        let count = self.count();
        assert!(count < PLACES && at <= count, "E116: a leaf with room takes a record");
        self.keys.copy_within(at..count, at + 1);
        self.heads.copy_within(at..count, at + 1);
        self.keys[at] = with_start(packed, start);
        self.heads[at] = head;
        self.count += 1;
        self.note(at);
        self.move_starts(at + 1, 0, head.stored_words());
    }

    #[expect(clippy::cast_possible_truncation, reason = "places are below 64")]
    fn note(&mut self, at: usize) {
        let follows = at == self.newest as usize + 1;
        self.streak = if follows { self.streak.saturating_add(1) } else { 0 };
        self.newest = at as u16;
    }

    /// Whether a record at a place goes on with keys that came in ascending order.
    pub(super) const fn ascends(&self, at: usize) -> bool {
        STREAK_MIN <= self.streak && at == self.newest as usize + 1
    }

    /// Takes a record out; its words are out of the buffer already.
    pub(super) fn remove(&mut self, at: usize) {
        let count = self.count();
        assert!(at < count, "E116: a record that is there goes");
        self.move_starts(at + 1, self.heads[at].stored_words(), 0);
        self.keys.copy_within(at + 1..count, at);
        self.heads.copy_within(at + 1..count, at);
        self.keys[count - 1] = UNUSED;
        self.count -= 1;
    }

    /// The record before `from` has `new` words in the buffer instead of `old`.
    pub(super) fn move_starts(&mut self, from: usize, old: usize, new: usize) {
        let count = self.count();
        if old != new {
            for key in &mut self.keys[from..count] {
                // The start is the lowest part of the key, and at least `old` here.
                *key = *key - old as u128 + new as u128;
            }
        }
    }

    /// Keeps the records before a place. The words are put into the buffer by the caller.
    pub(super) fn truncate(&mut self, at: usize) {
        self.set_words(self.start(at));
        self.keys[at..].fill(UNUSED);
        self.count = u16::try_from(at).expect("E116: at most 64");
    }

    /// Replaces all records. The words are put into the buffer by the caller.
    pub(super) fn fill(&mut self, keys: &[u128], heads: &[PackedHead]) {
        let mut words = 0;
        for (at, (&key, head)) in keys.iter().zip(heads).enumerate() {
            self.keys[at] = with_start(key, words);
            words += head.stored_words();
        }
        self.keys[keys.len()..].fill(UNUSED);
        self.heads[..heads.len()].copy_from_slice(heads);
        self.count = u16::try_from(keys.len()).expect("E116: at most 64");
        self.streak = 0;
        self.set_words(words);
    }

    /// Places of the records whose table is on its own, with the word that names it.
    pub(super) fn tables(&self) -> impl Iterator<Item = usize> {
        let heads = self.heads[..self.count()].iter().zip(&self.keys);
        heads.filter(|(head, _)| head.has_table()).map(|(_, &key)| start(key))
    }
}

impl Inner {
    /// Without children.
    pub(super) const EMPTY: Self = Self { keys: [UNUSED; PLACES], children: [0; PLACES], count: 0 };

    /// Children of it.
    pub(super) const fn count(&self) -> usize {
        self.count as usize
    }

    /// The place of the child in whose range a key lies.
    #[inline]
    pub(super) fn place(&self, packed: u128) -> usize {
        let fences = count_below(&self.keys, packed | START);
        fences.checked_sub(1).expect("E115: a key is not below the node's first fence")
    }

    /// Adds a child.
    pub(super) fn insert(&mut self, at: usize, fence: u128, child: u32) {
        let count = self.count();
        assert!(count < PLACES && at <= count, "E116: a node with room takes a child");
        self.keys.copy_within(at..count, at + 1);
        self.children.copy_within(at..count, at + 1);
        self.keys[at] = fence;
        self.children[at] = child;
        self.count += 1;
    }

    /// Takes a child out. Its range falls to the child before it; that of the first to the second,
    /// so that the first fence stays what the node above knows.
    pub(super) fn remove(&mut self, at: usize) -> u32 {
        let count = self.count();
        assert!(at < count, "E116: a child that is there goes");
        let child = self.children[at];
        let fence = at.max(1);
        if fence < count {
            self.keys.copy_within(fence + 1..count, fence);
        }
        self.children.copy_within(at + 1..count, at);
        self.keys[count - 1] = UNUSED;
        self.count -= 1;
        child
    }

    /// Replaces all children.
    pub(super) fn fill(&mut self, keys: &[u128], children: &[u32]) {
        self.keys[..keys.len()].copy_from_slice(keys);
        self.keys[keys.len()..].fill(UNUSED);
        self.children[..children.len()].copy_from_slice(children);
        self.count = u32::try_from(keys.len()).expect("E116: at most 64");
    }

    /// Fences and children.
    pub(super) fn entries(&self) -> (&[u128], &[u32]) {
        (&self.keys[..self.count()], &self.children[..self.count()])
    }
}
