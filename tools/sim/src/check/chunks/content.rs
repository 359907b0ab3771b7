//! The bytes of one version, as runs that one write left; zeros between them.

use core::hash::Hasher;
use core::ops::Range;

use engine_types::FixedHasher;

use super::{Change, Shown, Stamp};

const WORD: u32 = 8;
/// Odd: words at different places differ, whatever their stamp.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The word of a write at one place: bytes that are moved elsewhere are not the same bytes.
fn word(stamp: Stamp, index: u32) -> u64 {
    stamp ^ u64::from(index).wrapping_mul(STEP)
}

/// The bytes of a write, from `offset` of the chunk on.
pub fn fill(stamp: Stamp, offset: u32, bytes: &mut [u8]) {
    for (at, byte) in (offset..).zip(bytes) {
        *byte = word(stamp, at / WORD).to_le_bytes()[(at % WORD) as usize];
    }
}

/// 64 bits that stand for bytes.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = FixedHasher::default();
    hasher.write(bytes);
    hasher.write_u64(bytes.len() as u64);
    hasher.finish()
}

/// Whose bytes are shown, by whole words; zeros are nobody's.
pub(super) fn shown(offset: u32, bytes: &[u8]) -> Vec<Shown> {
    let skip = (offset.next_multiple_of(WORD) - offset) as usize;
    let (words, _) = bytes.get(skip..).unwrap_or_default().as_chunks::<8>();
    let mut all: Vec<Shown> = Vec::new();
    for (index, found) in (offset.div_ceil(WORD)..).zip(words) {
        let found = u64::from_le_bytes(*found);
        if found == 0 {
            continue;
        }
        let stamp = found ^ word(0, index);
        let range = index * WORD..(index + 1) * WORD;
        match all.last_mut() {
            Some(last) if last.stamp == stamp && last.range.end == range.start => {
                last.range.end = range.end;
            }
            _ => all.push(Shown { range, stamp }),
        }
    }
    all
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

    /// What a read brings.
    pub(super) fn bytes(&self, offset: u32, len: u32) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.len);
        let mut bytes = vec![0; end.saturating_sub(offset) as usize];
        for &(start, until, stamp) in &self.runs {
            let (start, until) = (start.max(offset), until.min(end));
            if start < until {
                let place = (start - offset) as usize..(until - offset) as usize;
                fill(stamp, start, &mut bytes[place]);
            }
        }
        bytes
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
