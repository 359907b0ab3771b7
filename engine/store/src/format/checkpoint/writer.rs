//! Fills pages.

use alloc::vec::Vec;

use engine_types::{StoreId, crc32c, reached};

use super::{
    CheckpointRef, Counts, END_BYTES, Item, PAGE_BYTES, PAGE_HEADER_BYTES, PAGE_MAGIC, Section,
    next_digest, pending_bytes,
};
use crate::address::{ChunkKey, Lsn};
use crate::format::bytes::{len_u32, put};
use crate::format::entry::{
    DEDUP_BYTES, FENCE_BYTES, encode_dedup, encode_fence, encode_put, encode_target, target_len,
};
use crate::format::item::{Kind, begin, close, push_record, record_bytes};
use crate::format::limits::{DEDUP_CHANNELS_MAX, SECTOR};
use crate::record::RecordRef;

/// Writes a checkpoint, page by page. It has one buffer of a page; the caller copies each sealed
/// page to where it is written from, so that the next one can be filled meanwhile.
#[derive(Debug)]
pub struct PageWriter {
    store: StoreId,
    reference: CheckpointRef,
    pages_max: u32,
    buffer: Vec<u8>,
    page_items: u32,
    sealed: bool,
    section: Section,
    last_key: Option<ChunkKey>,
    counts: Counts,
    dedup_max: u32,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It is in the page.
    Done,
    /// It did not fit: seal the page and push it again.
    PageFull,
    /// It did not fit, and neither does another page: give this checkpoint up.
    HalfFull,
}

/// A page to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// Its place in the half.
    pub offset: u64,
    /// Its bytes: 1 MiB, the last one whole sectors.
    pub bytes: &'a [u8],
}

impl PageWriter {
    /// Begins checkpoint `generation` of a store, in the half `half` of `half_len` bytes; `start`
    /// is the first group whose entries are not all in it.
    ///
    /// # Panics
    /// If there is no such half, or `generation` is 0, which says "none".
    pub fn new(store: StoreId, generation: u64, half: u8, half_len: u64, start: Lsn) -> Self {
        assert!(half < 2 && 0 < generation, "E109: generation {generation} in half {half}");
        let pages_max = half_len / PAGE_BYTES as u64;
        let pages_max = u32::try_from(pages_max).expect("E106: a half lies inside its store");
        assert!(0 < pages_max, "E109: a half of {half_len} bytes holds no page");
        let (bytes, items) = (0, 0);
        Self {
            store,
            reference: CheckpointRef { generation, half, start, bytes, pages: 0, items, digest: 0 },
            pages_max,
            buffer: empty_page(),
            page_items: 0,
            sealed: false,
            section: Section::Targets,
            last_key: None,
            counts: Counts::default(),
            dedup_max: DEDUP_CHANNELS_MAX,
        }
    }

    /// The same for a store that remembers at most `max` requests: what its reader takes (E109).
    #[must_use]
    pub fn with_requests_max(self, max: u32) -> Self {
        Self { dedup_max: max, ..self }
    }

    /// Appends an item. Requests beyond the limit do not fit either: the dump takes turns with
    /// decisions, so it may meet more of them than there ever were at one time.
    ///
    /// # Panics
    /// If it is out of order, beyond a limit, or breaks its own rules (E107, E109).
    pub fn push(&mut self, item: &Item<'_>) -> Pushed {
        let bytes = match item {
            Item::Chunk { key, record } => return self.push_chunk(key, *record),
            Item::Target { record, .. } => target_len(record),
            Item::Fence(_) => FENCE_BYTES,
            Item::Pending { put, .. } => pending_bytes(put),
            Item::Dedup { .. } => DEDUP_BYTES,
        };
        let pushed = self.make_room(bytes);
        if pushed != Pushed::Done {
            return pushed;
        }
        if item.section() == Section::Dedup && self.dedup_max <= self.counts.dedup {
            reached!("E109: a dump met more requests than a store remembers");
            return Pushed::HalfFull;
        }
        self.enter(item.section());
        let start = self.buffer.len();
        match item {
            Item::Target { slot, record } => {
                self.ascend(ChunkKey::new(*slot, 0, 0));
                encode_target(*slot, Some(record), &mut self.buffer);
            }
            Item::Fence(fence) => encode_fence(*fence, &mut self.buffer),
            Item::Pending { lsn, put } => {
                begin(&mut self.buffer, Kind::Pending, 0);
                self.buffer.extend_from_slice(&lsn.get().to_le_bytes());
                encode_put(put, &mut self.buffer);
                close(&mut self.buffer, start);
            }
            Item::Dedup { slot, tag, outcome } => {
                encode_dedup(*slot, tag, outcome, &mut self.buffer);
            }
            Item::Chunk { .. } => unreachable!("returned above"),
        }
        assert_eq!(self.buffer.len() - start, bytes, "E107: {item:?}");
        Pushed::Done
    }

    /// Appends a committed record; the same as `push` of an [`Item::Chunk`].
    ///
    /// # Panics
    /// As `push`. The record is not checked beyond what its encoding needs: it has been when it
    /// came into the index, and 10 million of them pass here.
    #[inline]
    pub fn push_chunk(&mut self, key: &ChunkKey, record: RecordRef<'_>) -> Pushed {
        let count = record.head.word_count();
        assert_eq!(record.words.len(), count, "E107: {key}: words of the record");
        let pushed = self.make_room(record_bytes(count));
        if pushed != Pushed::Done {
            return pushed;
        }
        self.enter(Section::Chunks);
        self.ascend(*key);
        push_record(&mut self.buffer, (Kind::Chunk, 0), key, record);
        Pushed::Done
    }

    /// Whether `bytes` more fit beside an END; begins a page when the last one was sealed.
    #[inline]
    fn make_room(&mut self, bytes: usize) -> Pushed {
        self.begin_page();
        if self.buffer.len() + bytes + END_BYTES <= PAGE_BYTES {
            return Pushed::Done;
        }
        if self.reference.pages + 1 < self.pages_max {
            return Pushed::PageFull;
        }
        reached!("E109: a dump is longer than its half");
        Pushed::HalfFull
    }

    fn begin_page(&mut self) {
        if self.sealed {
            self.sealed = false;
            self.buffer.clear();
            self.buffer.resize(PAGE_HEADER_BYTES, 0);
            self.page_items = 0;
        }
    }

    #[inline]
    fn enter(&mut self, section: Section) {
        if section != self.section {
            assert!(self.section < section, "E109: {section:?} behind {:?}", self.section);
            self.section = section;
            self.last_key = None;
        }
        let added = self.counts.add(section, self.dedup_max);
        assert!(added.is_ok(), "E109: more than {added:?} items of {section:?}");
        self.page_items += 1;
    }

    #[inline]
    fn ascend(&mut self, key: ChunkKey) {
        let last = self.last_key.replace(key);
        assert!(last.is_none_or(|last| last < key), "E109: {key} behind {last:?}");
    }

    /// Ends the full page; the next `push` begins another one.
    ///
    /// # Panics
    /// If the half has no other page, or the page was sealed already.
    pub fn seal(&mut self) -> Sealed<'_> {
        assert!(self.reference.pages + 1 < self.pages_max, "E109: the last page ends by `finish`");
        let offset = self.seal_page(PAGE_BYTES);
        Sealed { offset, bytes: &self.buffer }
    }

    /// Completes the buffer to a page of `bytes`; returns its place.
    fn seal_page(&mut self, bytes: usize) -> u64 {
        assert!(!self.sealed, "E109: a page is sealed once");
        self.sealed = true;
        let end = self.buffer.len();
        let number = self.reference.pages;
        put(&mut self.buffer, 0, PAGE_MAGIC.to_le_bytes());
        put(&mut self.buffer, 8, number.to_le_bytes());
        put(&mut self.buffer, 12, len_u32(end - PAGE_HEADER_BYTES).to_le_bytes());
        put(&mut self.buffer, 16, self.store.get().to_le_bytes());
        put(&mut self.buffer, 32, self.reference.generation.to_le_bytes());
        put(&mut self.buffer, 40, self.page_items.to_le_bytes());
        let crc = crc32c(&self.buffer[8..end]);
        put(&mut self.buffer, 4, crc.get().to_le_bytes());
        self.buffer.resize(bytes, 0);
        self.reference.pages += 1;
        self.reference.bytes += bytes as u64;
        self.reference.digest = next_digest(self.reference.digest, crc);
        u64::from(number) * PAGE_BYTES as u64
    }

    /// Ends the checkpoint: its last page, and what the superblock says of it once all pages are
    /// flushed.
    ///
    /// # Panics
    /// If it was ended already.
    pub fn finish(&mut self) -> (Sealed<'_>, CheckpointRef, Counts) {
        assert!(self.section < Section::End, "E109: a checkpoint ends once");
        self.section = Section::End;
        self.begin_page();
        let counts = self.counts;
        let start = begin(&mut self.buffer, Kind::End, 0);
        for count in [counts.targets, counts.fences, counts.pendings, counts.dedup, 0] {
            self.buffer.extend_from_slice(&count.to_le_bytes());
        }
        self.buffer.extend_from_slice(&counts.chunks.to_le_bytes());
        self.buffer.extend_from_slice(&self.reference.digest.to_le_bytes());
        close(&mut self.buffer, start);
        assert_eq!(self.buffer.len() - start, END_BYTES, "E107: END is of fixed size");
        self.page_items += 1;
        self.reference.items = counts.sum();
        let sector = usize::try_from(SECTOR).expect("4096");
        let offset = self.seal_page(self.buffer.len().next_multiple_of(sector));
        (Sealed { offset, bytes: &self.buffer }, self.reference, counts)
    }
}

fn empty_page() -> Vec<u8> {
    let mut buffer = Vec::with_capacity(PAGE_BYTES);
    buffer.resize(PAGE_HEADER_BYTES, 0);
    buffer
}
