//! The content of one version, as naively as possible: its bytes, and which checksum blocks are
//! holes.
//!
//! Holes follow from what was asked, not from the bytes: two replicas that did the same have the
//! same holes (R13), so that the map is a part of what a store has to keep.

use core::ops::Range;

use engine_store::record::checksum_word;
use engine_store::{BlockAddress, BlockClass, Head, RecordRef, TruncateEpoch};
use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChainVersion, ChunkId, ChunkSize, ChunkVersion, crc32c};

/// Bytes of a chunk at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    size: ChunkSize,
    bytes: Vec<u8>,
    /// Per checksum block up to the end of the data: whether it has a home.
    data: Vec<bool>,
    data_end: u32,
}

impl Body {
    /// A chunk without bytes.
    pub fn new(size: ChunkSize) -> Self {
        Self { size, bytes: Vec::new(), data: Vec::new(), data_end: 0 }
    }

    /// Size of the chunk when full.
    pub fn size(&self) -> ChunkSize {
        self.size
    }

    /// Bytes of the chunk.
    pub fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a chunk has at most 64 MiB")
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a read of a range brings.
    pub fn range(&self, offset: u32, len: u32) -> &[u8] {
        let end = offset.saturating_add(len).min(self.len());
        &self.bytes[offset.min(end) as usize..end as usize]
    }

    /// Where the last data ends.
    pub fn data_end(&self) -> u32 {
        self.data_end
    }

    /// `Change::Write`.
    pub fn write(&mut self, offset: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).expect("payloads are small");
        let end = offset + len;
        self.extend(end);
        self.bytes[offset as usize..end as usize].copy_from_slice(payload);
        self.data_end = self.data_end.max(end);
        self.data.resize(self.block_of_end(self.data_end), false);
        let touched = (offset / self.block()) as usize..self.block_of_end(end);
        self.data[touched].fill(true);
    }

    /// `Change::Truncate`.
    pub fn truncate(&mut self, len: u32) {
        self.cut(len);
        self.bytes.resize(len as usize, 0);
    }

    /// `Change::Extend`.
    pub fn extend(&mut self, len: u32) {
        self.bytes.resize(self.len().max(len) as usize, 0);
    }

    /// `Change::Zero`.
    pub fn zero(&mut self, offset: u32, len: u32) {
        let (end, here) = (offset + len, self.len());
        self.bytes[offset.min(here) as usize..end.min(here) as usize].fill(0);
        if self.data_end <= end {
            return self.cut(offset);
        }
        let whole = offset.div_ceil(self.block())..end / self.block();
        if whole.start < whole.end {
            self.data[whole.start as usize..whole.end as usize].fill(false);
        }
    }

    /// `Change::Replace`, of anything that was there before.
    pub fn replaced(size: ChunkSize, len: u32, extents: &[(u32, Vec<u8>)]) -> Self {
        let mut body = Self::new(size);
        extents.iter().for_each(|(offset, bytes)| body.write(*offset, bytes));
        body.extend(len);
        body
    }

    /// Data ends at `at` at the latest, and never in a hole.
    fn cut(&mut self, at: u32) {
        if self.data_end <= at {
            return;
        }
        self.data.truncate(self.block_of_end(at));
        while self.data.last() == Some(&false) {
            self.data.pop();
        }
        let end = u32::try_from(self.data.len()).expect("at most 1,024") * self.block();
        self.data_end = at.min(end);
    }

    /// What of a range is data, in order, joined, up to the length.
    pub fn data_map(&self, range: Range<u32>) -> Vec<(Range<u32>, bool)> {
        let mut map: Vec<(Range<u32>, bool)> = Vec::new();
        let end = range.end.min(self.len());
        let mut at = range.start;
        while at < end {
            let index = at / self.block();
            let data = at < self.data_end && self.data[index as usize];
            let until = match () {
                () if self.data_end <= at => end,
                () => ((index + 1) * self.block()).min(self.data_end).min(end),
            };
            match map.last_mut() {
                Some((last, same)) if *same == data => last.end = until,
                _ => map.push((at..until, data)),
            }
            at = until;
        }
        map
    }

    /// Places and bytes of the data, as a replica sends them.
    pub fn extents(&self) -> Vec<(u32, Vec<u8>)> {
        let map = self.data_map(0..self.len());
        let data = map.into_iter().filter(|(_, data)| *data).map(|(range, _)| range);
        data.map(|range| {
            (range.start, self.bytes[range.start as usize..range.end as usize].to_vec())
        })
        .collect()
    }

    /// The digest that the store must give (S14), computed from the bytes.
    pub fn digest(&self, chunk: ChunkId, version: ChunkVersion) -> u64 {
        let places = self.data_end.div_ceil(BLOCK_BYTES_MAX).max(1);
        let mut words = vec![BlockAddress::NONE.get(); places as usize - 1];
        for (index, data) in (0..).zip(&self.data) {
            let start = index * self.block();
            let valid = start as usize..(start + self.block()).min(self.data_end) as usize;
            let word = || checksum_word(chunk, index, crc32c(&self.bytes[valid.clone()]));
            words.push(if *data { word() } else { engine_store::record::HOLE });
        }
        let head = Head {
            len: self.len(),
            data_end: self.data_end,
            version,
            chain_version: ChainVersion::default(),
            epoch: TruncateEpoch::default(),
            size: self.size,
            class: BlockClass::MIN,
        };
        RecordRef { head, block: BlockAddress::NONE, words: &words }.digest(chunk)
    }

    /// First byte in which two contents differ, for messages.
    pub fn difference(one: &[u8], other: &[u8]) -> Option<usize> {
        let at = one.iter().zip(other).position(|(one, other)| one != other);
        at.or_else(|| (one.len() != other.len()).then_some(one.len().min(other.len())))
    }

    fn block(&self) -> u32 {
        self.size.checksum_block_bytes()
    }

    fn block_of_end(&self, end: u32) -> usize {
        end.div_ceil(self.block()) as usize
    }
}

#[cfg(test)]
mod tests;
