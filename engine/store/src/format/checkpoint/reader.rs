//! Reads pages back.

use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::{Crc32c, StoreId, crc32c};

use super::{
    CheckpointError, CheckpointRef, Counts, END_BYTES, Item, PAGE_HEADER_BYTES, PAGE_MAGIC,
    PENDING_HEAD_BYTES, Section, next_digest,
};
use crate::address::{ChunkKey, Lsn};
use crate::entry::Entry;
use crate::format::bytes::{u32_at, u64_at, u128_at};
use crate::format::entry::{decode, decode_put};
use crate::format::error::FormatError;
use crate::format::item::{Frame, Kind, read_record};
use crate::record::{RECORD_WORDS_MAX, RecordRef};

/// Reads the checkpoint that a superblock names, page by page, in their order.
#[derive(Debug)]
pub struct PageReader {
    store: StoreId,
    reference: CheckpointRef,
    dedup_max: u32,
    /// The next page.
    page: u32,
    section: Section,
    last_key: Option<ChunkKey>,
    counts: Counts,
    digest: u64,
    end: Option<Counts>,
    words: Vec<u32>,
}

/// What was found about a page that is as it was written.
#[derive(Clone, Copy, Debug)]
pub struct CheckedPage {
    page: u32,
    item_bytes: usize,
    count: u32,
    crc: Crc32c,
}

/// The items of one page whose checksum matched.
#[derive(Debug)]
pub struct Page<'r> {
    reader: &'r mut PageReader,
    number: u32,
    rest: &'r [u8],
    left: u32,
    /// Digest of the pages before it.
    digest: u64,
}

impl PageReader {
    /// Begins at the first page. `dedup_channels` is the layout's.
    pub fn new(store: StoreId, reference: CheckpointRef, dedup_channels: u32) -> Self {
        Self {
            store,
            reference,
            dedup_max: dedup_channels,
            page: 0,
            section: Section::Targets,
            last_key: None,
            counts: Counts::default(),
            digest: 0,
            end: None,
            words: Vec::with_capacity(RECORD_WORDS_MAX),
        }
    }

    /// Place in the half and bytes of the next page; nothing after the last.
    pub fn wants(&self) -> Option<(u64, usize)> {
        self.reference.page(self.page)
    }

    /// Verifies the next page and lends its items. All of them are to be taken before the next.
    ///
    /// # Errors
    /// When it is not the page that was written.
    pub fn page<'r>(&'r mut self, bytes: &'r [u8]) -> Result<Page<'r>, CheckpointError> {
        let sealed = self.check(bytes)?;
        Ok(self.open(bytes, sealed))
    }

    /// Whether `bytes` are the next page as it was written; nothing changes, so that it can be read
    /// again when it is not.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, bytes: &[u8]) -> Result<CheckedPage, CheckpointError> {
        let page = self.page;
        let Some((_, expected)) = self.wants() else {
            let last = self.reference.pages;
            return Err(CheckpointError::PageNumber { found: page, expected: last });
        };
        if bytes.len() != expected || expected < PAGE_HEADER_BYTES {
            return Err(CheckpointError::Length { page, found: bytes.len(), expected });
        }
        self.check_header(bytes)
    }

    /// Lends the items of the page that was checked.
    ///
    /// # Panics
    /// When another page was checked.
    pub fn open<'r>(&'r mut self, bytes: &'r [u8], sealed: CheckedPage) -> Page<'r> {
        let CheckedPage { page, item_bytes, count, crc } = sealed;
        assert_eq!(page, self.page, "E109: pages are opened in their order");
        let digest = self.digest;
        self.digest = next_digest(digest, crc);
        self.page += 1;
        let rest = &bytes[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + item_bytes];
        Page { reader: self, number: page, rest, left: count, digest }
    }

    fn check_header(&self, bytes: &[u8]) -> Result<CheckedPage, CheckpointError> {
        let page = self.page;
        let max = bytes.len() - PAGE_HEADER_BYTES;
        let magic = u32_at(bytes, 0);
        if magic != PAGE_MAGIC {
            return Err(CheckpointError::Magic { page, found: magic });
        }
        let item_bytes = u32_at(bytes, 12);
        let Some(items) = bytes[PAGE_HEADER_BYTES..].get(..item_bytes as usize) else {
            return Err(CheckpointError::ItemBytes { page, found: item_bytes, max });
        };
        let found = crc32c(&bytes[8..PAGE_HEADER_BYTES + items.len()]);
        let expected = Crc32c::new(u32_at(bytes, 4));
        if found != expected {
            return Err(CheckpointError::Checksum { page, found, expected });
        }
        let store = StoreId::new(u128_at(bytes, 16));
        if store != self.store {
            let expected = self.store;
            return Err(CheckpointError::OtherStore { page, found: store, expected });
        }
        let generation = u64_at(bytes, 32);
        if generation != self.reference.generation {
            let (found, expected) = (generation, self.reference.generation);
            return Err(CheckpointError::OtherGeneration { page, found, expected });
        }
        let number = u32_at(bytes, 8);
        if number != page {
            return Err(CheckpointError::PageNumber { found: number, expected: page });
        }
        Ok(CheckedPage { page, item_bytes: items.len(), count: u32_at(bytes, 40), crc: expected })
    }

    /// Whether everything was read and belongs together.
    ///
    /// # Errors
    /// What is missing or differs.
    pub fn finish(self) -> Result<Counts, CheckpointError> {
        let Some(expected) = self.end else {
            return Err(CheckpointError::NoEnd { pages: self.page });
        };
        let (found, items) = (self.counts, self.reference.items);
        if found != expected {
            return Err(CheckpointError::Counts { found, expected });
        }
        if found.sum() != items {
            return Err(CheckpointError::Items { found: found.sum(), expected: items });
        }
        let (found, expected) = (self.digest, self.reference.digest);
        if found != expected || self.page != self.reference.pages {
            return Err(CheckpointError::Digest { found, expected });
        }
        Ok(self.counts)
    }

    /// Counts an item and keeps sections in order.
    #[inline]
    fn enter(&mut self, page: u32, section: Section) -> Result<(), CheckpointError> {
        if section != self.section {
            if section < self.section {
                let after = self.section;
                return Err(CheckpointError::Order { page, found: section, after });
            }
            self.section = section;
            self.last_key = None;
        } else if section == Section::End {
            return Err(CheckpointError::Order { page, found: section, after: section });
        }
        let added = self.counts.add(section, self.dedup_max);
        added.map_err(|max| CheckpointError::TooMany { page, section, max })
    }

    #[inline]
    fn ascend(&mut self, page: u32, found: ChunkKey) -> Result<(), CheckpointError> {
        match self.last_key.replace(found) {
            Some(after) if found <= after => Err(CheckpointError::Keys { page, found, after }),
            _ => Ok(()),
        }
    }

    fn small_item<'i>(
        &mut self,
        page: u32,
        frame: &Frame<'_>,
    ) -> Result<Item<'i>, CheckpointError> {
        let fail = |why| CheckpointError::Item { page, why };
        let item = match frame.kind {
            Kind::Pending => {
                let fixed: &[u8; PENDING_HEAD_BYTES] = frame.fixed().map_err(fail)?;
                let inner = Frame::open(&frame.bytes[PENDING_HEAD_BYTES..]).map_err(fail)?;
                if inner.kind != Kind::Put {
                    return Err(fail(FormatError::Misplaced { found: inner.kind }));
                }
                let put = Rc::new(decode_put(&inner).map_err(fail)?);
                Item::Pending { lsn: Lsn::new(u64_at(fixed, 4)), put }
            }
            found => match decode(frame.bytes).map_err(fail)?.0 {
                Entry::Target { slot, record: Some(record) } => Item::Target { slot, record },
                Entry::Fence(fence) => Item::Fence(fence),
                Entry::Dedup { slot, tag, outcome } => Item::Dedup { slot, tag, outcome },
                _ => return Err(fail(FormatError::Misplaced { found })),
            },
        };
        self.enter(page, item.section())?;
        if let Item::Target { slot, .. } = item {
            self.ascend(page, ChunkKey::new(slot, 0, 0))?;
        }
        Ok(item)
    }

    fn end(&mut self, page: u32, digest: u64, frame: &Frame<'_>) -> Result<(), CheckpointError> {
        let fixed: Result<&[u8; END_BYTES], _> = frame.fixed();
        let fixed = fixed.map_err(|why| CheckpointError::Item { page, why })?;
        self.enter(page, Section::End)?;
        self.end = Some(Counts {
            targets: u32_at(fixed, 4),
            fences: u32_at(fixed, 8),
            pendings: u32_at(fixed, 12),
            dedup: u32_at(fixed, 16),
            chunks: u64_at(fixed, 24),
        });
        let (found, expected) = (digest, u64_at(fixed, 32));
        if found == expected { Ok(()) } else { Err(CheckpointError::Digest { found, expected }) }
    }
}

impl Page<'_> {
    /// The next item; nothing after the last one of the page. A record is lent until the next
    /// call. After an error the checkpoint is of no use.
    pub fn next_item(&mut self) -> Option<Result<Item<'_>, CheckpointError>> {
        loop {
            let Some(left) = self.left.checked_sub(1) else {
                let left = core::mem::take(&mut self.rest).len();
                let page = self.number;
                return (0 < left).then_some(Err(CheckpointError::LeftOver { page, left }));
            };
            self.left = left;
            let page = self.number;
            let frame = match Frame::open(self.rest) {
                Ok(frame) => frame,
                Err(why) => return Some(Err(self.give_up(CheckpointError::Item { page, why }))),
            };
            self.rest = &self.rest[frame.bytes.len()..];
            match frame.kind {
                Kind::Chunk => return Some(self.chunk(&frame)),
                Kind::End => {
                    if let Err(why) = self.reader.end(page, self.digest, &frame) {
                        return Some(Err(self.give_up(why)));
                    }
                }
                _ => {
                    let item = self.reader.small_item(page, &frame);
                    return Some(item.map_err(|why| self.give_up(why)));
                }
            }
        }
    }

    #[inline]
    fn chunk(&mut self, frame: &Frame<'_>) -> Result<Item<'_>, CheckpointError> {
        let page = self.number;
        let reader = &mut *self.reader;
        let (key, head, block, _) = read_record(frame, &mut reader.words)
            .map_err(|why| CheckpointError::Item { page, why })?;
        reader.enter(page, Section::Chunks)?;
        reader.ascend(page, key)?;
        Ok(Item::Chunk { key, record: RecordRef { head, block, words: &reader.words } })
    }

    /// Nothing more comes of this page.
    fn give_up(&mut self, why: CheckpointError) -> CheckpointError {
        (self.rest, self.left) = (&[], 0);
        why
    }
}
