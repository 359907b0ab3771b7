//! The content of one version, as naively as possible: its bytes, and which checksum blocks are
//! holes.
//!
//! Holes follow from what was asked, not from the bytes: two replicas that did the same have the
//! same holes (R13), so that the map is a part of what a store has to keep. Bytes are kept per
//! checksum block and shared between versions, so that a sparse chunk costs what it holds.

use core::ops::Range;
use std::rc::Rc;

use engine_store::{BlockAddress, BlockClass, Head, RecordRef, TruncateEpoch};
use engine_types::limits::BLOCK_BYTES_MAX;
use engine_types::{ChainVersion, ChecksumBlock, ChunkId, ChunkSize, ChunkVersion, crc32c};

/// Bytes of a chunk at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    size: ChunkSize,
    len: u32,
    data_end: u32,
    /// Per checksum block up to the end of the data: all its bytes, zeros behind that end; or a
    /// hole.
    blocks: Vec<Option<Rc<Vec<u8>>>>,
}

impl Body {
    /// A chunk without bytes.
    pub fn new(size: ChunkSize) -> Self {
        Self { size, len: 0, data_end: 0, blocks: Vec::new() }
    }

    /// Size of the chunk when full.
    pub fn size(&self) -> ChunkSize {
        self.size
    }

    /// Bytes of the chunk.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the last data ends.
    pub fn data_end(&self) -> u32 {
        self.data_end
    }

    /// What a read of a range brings.
    pub fn range(&self, offset: u32, len: u32) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.len);
        let mut bytes = vec![0; end.saturating_sub(offset) as usize];
        let mut at = 0;
        for (block, within) in self.places(offset..end.max(offset)) {
            let here = &mut bytes[at..at + within.len()];
            at += within.len();
            if let Some(block) = self.block_of(block) {
                here.copy_from_slice(&block[within]);
            }
        }
        bytes
    }

    /// The first of `found`, the bytes from `offset` on, that is not what it must be.
    pub fn differs(&self, offset: u32, found: &[u8]) -> Option<usize> {
        let len = u32::try_from(found.len()).expect("at most 64 MiB");
        let mut at = 0;
        for (block, within) in self.places(offset..offset + len) {
            let here = &found[at..at + within.len()];
            let same = match self.block_of(block) {
                Some(block) => here == &block[within.clone()],
                None => is_zero(here),
            };
            if !same {
                let right = self.block_of(block).map(|block| &block[within]);
                let wrong = |(n, byte): (usize, &u8)| *byte != right.map_or(0, |right| right[n]);
                return here.iter().enumerate().position(wrong).map(|n| at + n);
            }
            at += within.len();
        }
        None
    }

    /// `Change::Write`.
    pub fn write(&mut self, offset: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).expect("payloads are small");
        let end = offset + len;
        self.len = self.len.max(end);
        self.data_end = self.data_end.max(end);
        self.blocks.resize(self.block_count(self.data_end), None);
        self.fill(offset..end, payload);
    }

    /// `Change::Truncate`.
    pub fn truncate(&mut self, len: u32) {
        self.cut(len);
        self.len = len;
    }

    /// `Change::Extend`.
    pub fn extend(&mut self, len: u32) {
        self.len = self.len.max(len);
    }

    /// `Change::Zero`.
    pub fn zero(&mut self, offset: u32, len: u32) {
        let end = offset + len;
        if self.data_end <= end {
            return self.cut(offset);
        }
        for (block, within) in self.places(offset..end) {
            let bytes = &mut self.blocks[block as usize];
            match bytes {
                Some(_) if within.len() == self.size.checksum_block_bytes() as usize => {
                    *bytes = None;
                }
                Some(bytes) => Rc::make_mut(bytes)[within].fill(0),
                None => {}
            }
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
        self.blocks.truncate(self.block_count(at));
        while self.blocks.last() == Some(&None) {
            self.blocks.pop();
        }
        let whole = self.size.checksum_block_bytes();
        let end = u32::try_from(self.blocks.len()).expect("at most 1,024") * whole;
        self.data_end = at.min(end);
        if let Some(Some(last)) = self.blocks.last_mut() {
            let valid = (self.data_end - (end - whole)) as usize;
            Rc::make_mut(last)[valid..].fill(0);
        }
    }

    fn fill(&mut self, range: Range<u32>, mut payload: &[u8]) {
        let whole = self.size.checksum_block_bytes() as usize;
        for (block, within) in self.places(range) {
            let (here, rest) = payload.split_at(within.len());
            payload = rest;
            let empty = || Rc::new(vec![0; whole]);
            let bytes = self.blocks[block as usize].get_or_insert_with(empty);
            Rc::make_mut(bytes)[within].copy_from_slice(here);
        }
    }

    /// The checksum blocks of a range, with the part of each.
    fn places(&self, range: Range<u32>) -> impl Iterator<Item = (u32, Range<usize>)> + use<> {
        let whole = self.size.checksum_block_bytes();
        let mut at = range.start;
        core::iter::from_fn(move || {
            let block = at / whole;
            let (start, until) = (at, ((block + 1) * whole).min(range.end));
            at = until;
            let within = (start - block * whole) as usize..(until - block * whole) as usize;
            (start < until).then_some((block, within))
        })
    }

    fn block_of(&self, block: u32) -> Option<&Vec<u8>> {
        self.blocks.get(block as usize)?.as_deref()
    }

    fn block_count(&self, end: u32) -> usize {
        end.div_ceil(self.size.checksum_block_bytes()) as usize
    }

    /// What of a range is data, in order, joined, up to the length.
    pub fn data_map(&self, range: Range<u32>) -> Vec<(Range<u32>, bool)> {
        let mut map: Vec<(Range<u32>, bool)> = Vec::new();
        let end = range.end.min(self.len);
        let whole = self.size.checksum_block_bytes();
        let mut at = range.start;
        while at < end {
            let data = at < self.data_end && self.block_of(at / whole).is_some();
            let until = match () {
                () if self.data_end <= at => end,
                () => ((at / whole + 1) * whole).min(self.data_end).min(end),
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
        let map = self.data_map(0..self.len);
        let data = map.into_iter().filter(|(_, data)| *data).map(|(range, _)| range);
        data.map(|range| (range.start, self.range(range.start, range.end - range.start))).collect()
    }

    /// The digest that the store must give (S14): its own sum, over checksums computed and bound
    /// here.
    pub fn digest(&self, chunk: ChunkId, version: ChunkVersion) -> u64 {
        let places = self.data_end.div_ceil(BLOCK_BYTES_MAX).max(1);
        let mut words = vec![BlockAddress::NONE.get(); places as usize - 1];
        let whole = self.size.checksum_block_bytes();
        for (index, bytes) in (0..).zip(&self.blocks) {
            let valid = whole.min(self.data_end - index * whole) as usize;
            words.push(bytes.as_ref().map_or(0, |bytes| {
                let bound = crc32c(&bytes[..valid]).bind(chunk, ChecksumBlock::new(index));
                bound.get().max(1) // 0 is the word of a hole
            }));
        }
        let head = Head {
            len: self.len,
            data_end: self.data_end,
            version,
            chain_version: ChainVersion::default(),
            epoch: TruncateEpoch::default(),
            size: self.size,
            class: BlockClass::MIN,
        };
        RecordRef { head, block: BlockAddress::NONE, words: &words }.digest(chunk)
    }
}

/// Whether all bytes are zeros.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|piece| piece == &ZEROS[..piece.len()])
}

#[cfg(test)]
mod tests;
