//! The bytes of one version, as runs that one write left; zeros between them.

use core::hash::{BuildHasher, BuildHasherDefault};
use core::ops::Range;

use engine_types::FixedHasher;

use super::{Change, Shown, Stamp};

#[cfg(test)]
mod tests;

const WORD: u32 = 8;
/// Odd: words at different places differ, whatever their stamp.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The word of a write at one place: bytes that are moved elsewhere are not the same bytes.
fn word(stamp: Stamp, index: u32) -> u64 {
    stamp ^ u64::from(index).wrapping_mul(STEP)
}

/// The bytes of a write, from `offset` of the chunk on.
pub fn fill(stamp: Stamp, offset: u32, bytes: &mut [u8]) {
    let (head, words, tail) = split(offset, bytes.len());
    let whole = head + words as usize * WORD as usize;
    for (at, byte) in (offset..).zip(&mut bytes[..head]) {
        *byte = byte_of(stamp, at);
    }
    for (index, place) in (offset.div_ceil(WORD)..).zip(bytes[head..whole].as_chunks_mut().0) {
        *place = word(stamp, index).to_le_bytes();
    }
    let end = offset + u32::try_from(bytes.len()).expect("chunks are small");
    for (at, byte) in (end - tail..).zip(&mut bytes[whole..]) {
        *byte = byte_of(stamp, at);
    }
}

fn byte_of(stamp: Stamp, at: u32) -> u8 {
    word(stamp, at / WORD).to_le_bytes()[(at % WORD) as usize]
}

/// Bytes before the first whole word, whole words, and bytes behind them.
fn split(offset: u32, len: usize) -> (usize, u32, u32) {
    let len = u32::try_from(len).expect("chunks are small");
    let head = (offset.next_multiple_of(WORD) - offset).min(len);
    (head as usize, (len - head) / WORD, (len - head) % WORD)
}

/// Bytes in the one form that stands for them and for nothing else, however they came about: what
/// each whole word seems to be of, beside each other if it is the same, zeros left out; and the
/// bytes before and behind whole words. Two reads show the same bytes if and only if these are
/// equal.
#[derive(Default, PartialEq, Eq, Hash)]
struct Form {
    len: u32,
    shown: Vec<Shown>,
    edges: Vec<u8>,
}

impl Form {
    fn push(&mut self, first: u32, words: u32, stamp: Stamp) {
        let range = first * WORD..(first + words) * WORD;
        match self.shown.last_mut() {
            Some(last) if last.stamp == stamp && last.range.end == range.start => {
                last.range.end = range.end;
            }
            _ => self.shown.push(Shown { range, stamp }),
        }
    }

    /// A word that was written by nobody, or by several.
    fn push_word(&mut self, index: u32, found: u64) {
        if found != 0 {
            self.push(index, 1, found ^ word(0, index));
        }
    }

    fn of(offset: u32, bytes: &[u8]) -> Self {
        let (head, words, _) = split(offset, bytes.len());
        let (words, tail) = bytes[head..].split_at(words as usize * WORD as usize);
        let len = u32::try_from(bytes.len()).expect("chunks are small");
        let mut form = Self { len, edges: [&bytes[..head], tail].concat(), ..Self::default() };
        for (index, found) in (offset.div_ceil(WORD)..).zip(words.as_chunks().0) {
            form.push_word(index, u64::from_le_bytes(*found));
        }
        form
    }

    fn print(&self) -> u64 {
        BuildHasherDefault::<FixedHasher>::default().hash_one(self)
    }
}

/// 64 bits that stand for the bytes of a read from `offset` on, and whose bytes they seem to be.
pub(super) fn seen(offset: u32, bytes: &[u8]) -> (u64, Vec<Shown>) {
    let form = Form::of(offset, bytes);
    (form.print(), form.shown)
}

/// A chunk that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Body {
    pub(super) len: u32,
    /// Ascending, apart from each other, none empty.
    runs: Vec<(u32, u32, Stamp)>,
}

impl Body {
    /// The chunk after a change that leaves it there.
    pub(super) fn changed(&mut self, change: &Change) {
        match *change {
            Change::Write { offset, len, stamp } => {
                self.clear(offset..offset + len);
                let place = self.runs.partition_point(|run| run.0 < offset);
                self.runs.insert(place, (offset, offset + len, stamp));
                self.len = self.len.max(offset + len);
            }
            Change::Truncate { len } => {
                self.clear(len..u32::MAX);
                self.len = len;
            }
            Change::Extend { len } => self.len = self.len.max(len),
            Change::Zero { offset, len } => self.clear(offset..offset + len),
            Change::Remove => unreachable!("a removal leaves no body"),
        }
    }

    fn clear(&mut self, range: Range<u32>) {
        let mut left = Vec::with_capacity(self.runs.len() + 2);
        for &(start, end, stamp) in &self.runs {
            let before = (start, end.min(range.start), stamp);
            let behind = (start.max(range.end), end, stamp);
            left.extend([before, behind].into_iter().filter(|run| run.0 < run.1));
        }
        self.runs = left;
    }

    /// What stands for the bytes that a read brings: what [`seen`] would say of them, without
    /// making them.
    pub(super) fn print(&self, offset: u32, len: u32) -> u64 {
        let end = offset.saturating_add(len).min(self.len);
        let len = end.saturating_sub(offset);
        let (head, words, tail) = split(offset, len as usize);
        let first = offset.div_ceil(WORD);
        let mut form = Form { len, ..Form::default() };
        form.edges.extend((offset..).take(head).map(|at| self.byte(at)));
        // Parts of several runs may meet in one word, which is told once: this one is next.
        let mut next = first;
        for &(start, until, stamp) in &self.runs {
            let (start, until) = (start.max(first * WORD), until.min((first + words) * WORD));
            if until <= start {
                continue;
            }
            let (whole, past) = (start.div_ceil(WORD), until / WORD);
            if !start.is_multiple_of(WORD) && next <= start / WORD {
                form.push_word(start / WORD, self.word(start / WORD));
                next = start / WORD + 1;
            }
            if whole < past {
                form.push(whole, past - whole, stamp);
                next = past;
            }
            if !until.is_multiple_of(WORD) && next <= past {
                form.push_word(past, self.word(past));
                next = past + 1;
            }
        }
        form.edges.extend((end - tail..end).map(|at| self.byte(at)));
        form.print()
    }

    fn byte(&self, at: u32) -> u8 {
        let place = self.runs.partition_point(|run| run.1 <= at);
        match self.runs.get(place) {
            Some(&(start, _, stamp)) if start <= at => byte_of(stamp, at),
            _ => 0,
        }
    }

    fn word(&self, index: u32) -> u64 {
        let mut bytes = [0; WORD as usize];
        for (at, byte) in (index * WORD..).zip(&mut bytes) {
            *byte = self.byte(at);
        }
        u64::from_le_bytes(bytes)
    }
}

/// Where a change leaves nothing of what was there.
pub(super) fn cleared(change: &Change) -> Range<u32> {
    match *change {
        Change::Write { offset, len, .. } | Change::Zero { offset, len } => offset..offset + len,
        Change::Truncate { len } => len..u32::MAX,
        Change::Extend { .. } => 0..0,
        Change::Remove => 0..u32::MAX,
    }
}
