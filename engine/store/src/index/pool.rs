//! Memory for runs of words: the buffers of leaves, and tables too long for them.
//!
//! An item is a run of words of one of about 200 sizes, its first word the leaf that owns it. The
//! items of a size fill pages without holes: when one goes, the last of its size takes its place,
//! and the leaf it names is told. So memory follows the content, whatever came and went before.
//!
//! Invariants
//!   E118  the items of a size fill its pages but for the end of the last one; every item is owned
//!         by exactly one leaf or entry, whose leaf it names

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::chunked::{ALLOCATION_BYTES, Chunked};

/// Bytes of the first pages of a size, about, or one item. Few pages of many sizes are partly used,
/// so they begin small: sizes are many and a store may hold little.
const PAGE_BYTES_MIN: usize = 4 << 10;
/// Bytes of the largest pages, about: few pages make a short list, which stays in the cache.
const PAGE_BYTES_MAX: usize = 256 << 10;
/// After so many pages of a size further ones hold twice as much. The one that is partly used is
/// then a sixteenth of them on average.
const DOUBLE_AFTER: usize = 8;
/// Bits of a handle that count items within a page.
const ITEM_BITS: u32 = 13;
/// Pages there can be: 2^19 of mostly 256 KiB, about 128 GiB. The last number is never given out,
/// so that no handle is `Handle::NONE`.
const PAGES_MAX: u32 = (1 << (32 - ITEM_BITS)) - 1;
/// Growth of the list of a size's pages.
const LIST_STEP: usize = 16;

/// Names an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Handle(u32);

/// An item got another handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// The leaf it names.
    pub(super) owner: u32,
    /// Its old handle.
    pub(super) from: Handle,
    /// Its new handle.
    pub(super) to: Handle,
}

/// How sizes are spaced: steps of `size >> shift` rounded down to a power of two, at least
/// `step_min`. Fine steps waste less of each item, coarse ones have fewer last pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Words of the smallest item, with its owner.
    pub(super) first: usize,
    /// Words that the largest item holds at least, without its owner.
    pub(super) max: usize,
    /// Words of the smallest step.
    pub(super) step_min: usize,
    /// See above.
    pub(super) shift: u32,
}

/// Items of all sizes.
#[derive(Debug)]
pub(super) struct Pool {
    pages: Chunked<Page, 6>,
    classes: Vec<Class>,
    /// First of the page numbers without a page; each names the next, `PAGES_MAX` is none.
    vacant: u32,
    /// Bytes of pages and of the lists in `classes`.
    bytes: u64,
    /// Bytes of the largest page that may be added next.
    page_bytes_max: u64,
}

#[derive(Debug, Default)]
struct Page {
    /// Nothing when the number is vacant.
    words: Box<[u32]>,
    item_words: u32,
    /// Its size; when the number is vacant, the next vacant one.
    class: u32,
}

#[derive(Debug, Default)]
struct Class {
    item_words: usize,
    count: u32,
    /// Items of the last page.
    in_last: u32,
    pages: Vec<u32>,
}

impl Handle {
    /// No item.
    pub(super) const NONE: Self = Self(u32::MAX);

    /// From a word of a buffer.
    pub(super) const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// As a word of a buffer.
    pub(super) const fn word(self) -> u32 {
        self.0
    }

    /// Whether there is no item.
    pub(super) const fn is_none(self) -> bool {
        self.0 == Self::NONE.0
    }

    const fn new(page: u32, item: u32) -> Self {
        assert!(page < PAGES_MAX && item < 1 << ITEM_BITS, "E118: handles name every item");
        Self(page << ITEM_BITS | item)
    }

    const fn page(self) -> u32 {
        self.0 >> ITEM_BITS
    }

    const fn item(self) -> u32 {
        self.0 & ((1 << ITEM_BITS) - 1)
    }
}

impl Pool {
    /// None, of these sizes.
    pub(super) fn new(sizes: Sizes) -> Self {
        let mut classes = Vec::new();
        let mut size = sizes.first;
        while classes.last().is_none_or(|class: &Class| class.item_words <= sizes.max) {
            classes.push(Class::new(size));
            let step = (1 << size.ilog2()) >> sizes.shift;
            size += step.max(sizes.step_min);
        }
        classes.shrink_to_fit();
        let ahead = classes.iter().map(Class::page_bytes_ahead).max();
        let page_bytes_max = ahead.expect("there is a size");
        Self { pages: Chunked::new(), classes, vacant: PAGES_MAX, bytes: 0, page_bytes_max }
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> u64 {
        let classes = self.classes.capacity() * size_of::<Class>();
        self.bytes + self.pages.bytes() + classes as u64
    }

    /// The most by which `bytes` grows with each of up to `DOUBLE_AFTER` items to come.
    pub(super) const fn growth_bytes(&self) -> u64 {
        let list = (LIST_STEP * size_of::<u32>()) as u64;
        self.page_bytes_max + list + Chunked::<Page, 6>::GROWTH_BYTES
    }

    /// Which size holds `words`.
    pub(super) fn class_for(&self, words: usize) -> usize {
        self.classes.partition_point(|class| class.item_words <= words)
    }

    /// Which size an item has.
    pub(super) fn class_of(&self, handle: Handle) -> usize {
        self.pages[handle.page()].class as usize
    }

    /// Words that an item holds, at least those asked for.
    pub(super) fn words(&self, handle: Handle) -> &[u32] {
        let (_, words) = self.item(handle).split_first().expect("an item has an owner");
        words
    }

    /// As `words`, to be changed.
    pub(super) fn words_mut(&mut self, handle: Handle) -> &mut [u32] {
        let (_, words) = self.item_mut(handle).split_first_mut().expect("an item has an owner");
        words
    }

    /// The leaf that an item names.
    pub(super) fn owner(&self, handle: Handle) -> u32 {
        self.item(handle)[0]
    }

    /// Names another leaf.
    pub(super) fn set_owner(&mut self, handle: Handle, owner: u32) {
        self.item_mut(handle)[0] = owner;
    }

    /// Items there are.
    pub(super) fn count(&self) -> u64 {
        self.classes.iter().map(|class| u64::from(class.count)).sum()
    }

    /// A new item for `words`, with any content.
    pub(super) fn take(&mut self, words: usize, owner: u32) -> Handle {
        let number = self.class_for(words);
        if self.classes[number].is_full() {
            self.add_page(number);
        }
        let class = &mut self.classes[number];
        let page = *class.pages.last().expect("a page was added when there was none");
        let handle = Handle::new(page, class.in_last);
        class.in_last += 1;
        class.count += 1;
        self.set_owner(handle, owner);
        handle
    }

    /// Gives an item back. The last of its size gets its handle: its owner must be told.
    #[must_use]
    pub(super) fn give_back(&mut self, handle: Handle) -> Option<Moved> {
        assert!(self.is_item(handle), "E118: an item that is there goes");
        let number = self.class_of(handle);
        let class = &mut self.classes[number];
        class.count -= 1;
        class.in_last -= 1;
        let page = *class.pages.last().expect("E118: the last item lies in the last page");
        let last = Handle::new(page, class.in_last);
        let moved = (last != handle).then(|| self.move_item(last, handle));
        if last.item() == 0 {
            self.drop_page(number);
        }
        moved
    }

    fn move_item(&mut self, from: Handle, to: Handle) -> Moved {
        let words = self.pages[from.page()].item_words as usize;
        let (source, target) = (from.item() as usize * words, to.item() as usize * words);
        if from.page() == to.page() {
            self.pages[to.page()].words.copy_within(source..source + words, target);
        } else {
            // Taken out for the moment, because both pages lie in one list.
            let page = core::mem::take(&mut self.pages[from.page()].words);
            self.pages[to.page()].words[target..target + words]
                .copy_from_slice(&page[source..source + words]);
            self.pages[from.page()].words = page;
        }
        Moved { owner: self.owner(to), from, to }
    }

    fn add_page(&mut self, number: usize) {
        let class = &mut self.classes[number];
        let items = class.capacity(class.pages.len()) as usize;
        let page = Page {
            words: alloc::vec![0; class.item_words * items].into_boxed_slice(),
            item_words: u32::try_from(class.item_words).expect("sizes are small"),
            class: u32::try_from(number).expect("sizes are few"),
        };
        if class.pages.len() == class.pages.capacity() {
            class.pages.reserve_exact(LIST_STEP);
            self.bytes += (LIST_STEP * size_of::<u32>()) as u64;
        }
        self.bytes += class.page_bytes(class.pages.len());
        let place = self.vacant;
        if place == PAGES_MAX {
            class.pages.push(self.pages.push(page));
        } else {
            let vacant = core::mem::replace(&mut self.pages[place], page);
            self.vacant = vacant.class;
            class.pages.push(place);
        }
        class.in_last = 0;
        self.page_bytes_max = self.page_bytes_max.max(class.page_bytes_ahead());
    }

    fn drop_page(&mut self, number: usize) {
        let class = &mut self.classes[number];
        let place = class.pages.pop().expect("E118: the page of the last item is listed");
        self.bytes -= class.page_bytes(class.pages.len());
        if let Some(last) = class.pages.len().checked_sub(1) {
            class.in_last = class.capacity(last);
        } else {
            self.bytes -= (class.pages.capacity() * size_of::<u32>()) as u64;
            class.pages = Vec::new();
        }
        self.pages[place] = Page { class: self.vacant, ..Page::default() };
        self.vacant = place;
    }

    fn item(&self, handle: Handle) -> &[u32] {
        let page = &self.pages[handle.page()];
        let start = handle.item() as usize * page.item_words as usize;
        &page.words[start..start + page.item_words as usize]
    }

    fn item_mut(&mut self, handle: Handle) -> &mut [u32] {
        let page = &mut self.pages[handle.page()];
        let start = handle.item() as usize * page.item_words as usize;
        &mut page.words[start..start + page.item_words as usize]
    }

    /// Whether a handle names an item.
    pub(super) fn is_item(&self, handle: Handle) -> bool {
        if self.pages.count() <= handle.page() || self.pages[handle.page()].words.is_empty() {
            return false;
        }
        let page = &self.pages[handle.page()];
        let class = &self.classes[page.class as usize];
        let is_last = class.pages.last() == Some(&handle.page());
        let all = page.words.len() / page.item_words as usize;
        (handle.item() as usize) < if is_last { class.in_last as usize } else { all }
    }

    /// Makes the account wrong.
    #[cfg(test)]
    pub(super) fn miscount(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// `bytes`, counted from what is there.
    pub(super) fn recount(&self) -> u64 {
        let pages = self.pages.iter().filter(|(_, page)| !page.words.is_empty());
        let pages: u64 =
            pages.map(|(_, page)| size_of_val(&*page.words) as u64 + ALLOCATION_BYTES).sum();
        let lists = self.classes.iter().map(|class| class.pages.capacity() * size_of::<u32>());
        let classes = self.classes.capacity() * size_of::<Class>();
        pages + self.pages.bytes() + (lists.sum::<usize>() + classes) as u64
    }
}

impl Class {
    const fn new(item_words: usize) -> Self {
        Self { item_words, count: 0, in_last: 0, pages: Vec::new() }
    }

    /// Whether the last page has no room, or is none.
    fn is_full(&self) -> bool {
        let last = self.pages.len().checked_sub(1);
        last.is_none_or(|last| self.in_last == self.capacity(last))
    }

    /// Items of the page at a place of the list.
    fn capacity(&self, place: usize) -> u32 {
        let item_bytes = self.item_words * size_of::<u32>();
        let (first, most) = (PAGE_BYTES_MIN / item_bytes, PAGE_BYTES_MAX / item_bytes);
        let doublings = (place / DOUBLE_AFTER).min(ITEM_BITS as usize);
        let items = (first.max(1) << doublings).min(most);
        u32::try_from(items).expect("a page has some thousand items at most")
    }

    fn page_bytes(&self, place: usize) -> u64 {
        let words = self.item_words as u64 * u64::from(self.capacity(place));
        words * size_of::<u32>() as u64 + ALLOCATION_BYTES
    }

    /// Bytes of a page that is added soon, at most.
    fn page_bytes_ahead(&self) -> u64 {
        self.page_bytes(self.pages.len() + DOUBLE_AFTER)
    }
}

#[cfg(test)]
mod tests;
