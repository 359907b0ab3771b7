//! How a range read becomes a page; the same for every engine.

use crate::api::{Page, RangeRead};
use crate::limits::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX};

/// Collects entries until the page is full.
pub(super) struct PageBuilder {
    page: Page,
    limit: usize,
    bytes: usize,
}

impl PageBuilder {
    /// An empty page of `read`.
    pub(super) fn new(read: &RangeRead) -> Self {
        let limit = read.limit.clamp(1, PAGE_ENTRIES_MAX);
        Self { page: Page::default(), limit, bytes: 0 }
    }

    /// Whether another entry is taken. With one at hand the page has to end, and more is behind.
    fn is_full(&self) -> bool {
        self.limit <= self.page.entries.len() || PAGE_BYTES_MAX <= self.bytes
    }

    /// Whether `key` comes behind all entries of the page, in its direction.
    pub(super) fn is_next(&self, key: &[u8], reverse: bool) -> bool {
        self.page.entries.last().is_none_or(|(last, _)| {
            if reverse { key < last.as_slice() } else { last.as_slice() < key }
        })
    }

    /// Adds an entry of the range, in order. Says whether to go on.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        if self.is_full() {
            self.page.more = true;
            return false;
        }
        self.bytes += key.len() + value.len();
        self.page.entries.push((key.to_vec(), value.to_vec()));
        true
    }

    /// The page; `more` is true only if an entry behind it was seen.
    pub(super) fn finish(self) -> Page {
        self.page
    }
}
