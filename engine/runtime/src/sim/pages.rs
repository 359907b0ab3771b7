//! The content of a disk or file: sparse pages, and what of them a crash may take away.
//!
//! A page has a durable content and the contents of the writes that completed since, oldest first.
//! What is read is the newest. A flush makes the newest version it covers durable; a crash picks
//! for every sector one of those it may hold.
//!
//! Invariants
//!   E44  after a crash a sector holds its durable content or that of a write which no flush had
//!        covered; a version that a flush covered is never taken away

use std::collections::BTreeMap;

use engine_types::Rng;

/// Unit of storage, and of alignment of requests.
pub(super) const PAGE: usize = 4096;
/// Unit in which writes tear and mix.
pub(super) const SECTOR: usize = 512;
/// Sectors of a page.
pub(super) const SECTORS: usize = PAGE / SECTOR;
/// Every sector of a page.
pub(super) const WHOLE: u8 = u8::MAX;
/// Versions of a page that are remembered while no flush is under way: enough that a crash can
/// bring back a content which was neither the last nor the first.
const VERSIONS_MAX: usize = 8;
/// Pages kept for reuse, 4 MiB per world.
const FREE_PAGES_MAX: usize = 1024;

const _: () = assert!(SECTORS == u8::BITS as usize, "a mask has a bit per sector");

pub(super) type Page = Box<[u8; PAGE]>;

struct Version {
    seq: u64,
    /// `None` is all zeros.
    data: Option<Page>,
}

#[derive(Default)]
struct Entry {
    durable: Option<Page>,
    versions: Vec<Version>,
}

impl Entry {
    fn newest(&self) -> Option<&[u8; PAGE]> {
        match self.versions.last() {
            Some(version) => version.data.as_deref(),
            None => self.durable.as_deref(),
        }
    }

    fn newest_mut(&mut self) -> Option<&mut [u8; PAGE]> {
        match self.versions.last_mut() {
            Some(version) => version.data.as_deref_mut(),
            None => self.durable.as_deref_mut(),
        }
    }

    /// The content that `choice` stands for: 0 is the durable one.
    fn choice(&self, choice: usize) -> Option<&[u8; PAGE]> {
        match choice.checked_sub(1) {
            None => self.durable.as_deref(),
            Some(version) => self.versions[version].data.as_deref(),
        }
    }
}

/// The write, discard or change of length that a version comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Its number, ascending in the order of completion.
    pub(super) seq: u64,
    /// No flush is under way, so versions between the first and the last may be dropped: every
    /// later flush covers them all.
    pub(super) forget: bool,
}

/// How much a crash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// Everything that was written survives, flushed or not.
    KeepAll,
    /// Everything that was not flushed is gone.
    LoseAll,
    /// Every sector is decided by itself.
    PerSector,
}

#[derive(Default)]
pub(super) struct Pages {
    map: BTreeMap<u64, Entry>,
    /// Pages with versions, each once.
    dirty: Vec<u64>,
}

fn fresh(free: &mut Vec<Page>) -> Page {
    free.pop().unwrap_or_else(|| Box::new([0; PAGE]))
}

fn recycle(free: &mut Vec<Page>, page: Option<Page>) {
    if let Some(page) = page
        && free.len() < FREE_PAGES_MAX
    {
        free.push(page);
    }
}

fn sector(index: usize) -> core::ops::Range<usize> {
    index * SECTOR..(index + 1) * SECTOR
}

impl Pages {
    /// Fills `out` with what is stored from page `first` on.
    pub(super) fn read(&self, first: u64, out: &mut [u8]) {
        for (number, out) in (first..).zip(out.chunks_mut(PAGE)) {
            match self.map.get(&number).and_then(Entry::newest) {
                Some(page) => out.copy_from_slice(&page[..out.len()]),
                None => out.fill(0),
            }
        }
    }

    /// A write of the sectors in `mask` of one page has completed.
    pub(super) fn write(
        &mut self,
        number: u64,
        stamp: Stamp,
        data: &[u8],
        mask: u8,
        free: &mut Vec<Page>,
    ) {
        let mut page = fresh(free);
        let entry = self.map.entry(number).or_default();
        if mask == WHOLE {
            page.copy_from_slice(data);
        } else {
            match entry.newest() {
                Some(newest) => page.copy_from_slice(newest),
                None => page.fill(0),
            }
            for index in (0..SECTORS).filter(|index| mask & 1 << index != 0) {
                page[sector(index)].copy_from_slice(&data[sector(index)]);
            }
        }
        self.push(number, stamp, Some(page), free);
    }

    /// A page became zeros.
    pub(super) fn zero(&mut self, number: u64, stamp: Stamp, free: &mut Vec<Page>) {
        if self.map.contains_key(&number) {
            self.push(number, stamp, None, free);
        }
    }

    fn push(&mut self, number: u64, stamp: Stamp, data: Option<Page>, free: &mut Vec<Page>) {
        let Stamp { seq, forget } = stamp;
        let entry = self.map.entry(number).or_default();
        if entry.versions.is_empty() {
            self.dirty.push(number);
        }
        if forget && VERSIONS_MAX <= entry.versions.len() {
            recycle(free, entry.versions.remove(1).data);
        }
        debug_assert!(entry.versions.last().is_none_or(|last| last.seq <= seq));
        entry.versions.push(Version { seq, data });
    }

    /// Numbers of the pages that were ever written, from `first` up to `end`.
    pub(super) fn numbers(&self, first: u64, end: u64) -> Vec<u64> {
        self.map.range(first..end).map(|(number, _)| *number).collect()
    }

    /// Flips one bit of what is stored; false where nothing is.
    pub(super) fn flip(&mut self, number: u64, byte: usize, bit: u8) -> bool {
        match self.map.get_mut(&number).and_then(Entry::newest_mut) {
            Some(page) => {
                page[byte] ^= 1 << (bit % 8);
                true
            }
            None => false,
        }
    }

    /// A flush that covers every write up to number `covered` has completed.
    pub(super) fn flushed(&mut self, covered: u64, free: &mut Vec<Page>) {
        let Self { map, dirty } = self;
        dirty.retain(|number| {
            let entry = map.get_mut(number).expect("a dirty page has an entry");
            let count = entry.versions.partition_point(|version| version.seq <= covered);
            for version in entry.versions.drain(..count) {
                recycle(free, core::mem::replace(&mut entry.durable, version.data));
            }
            !entry.versions.is_empty()
        });
    }

    /// The newest version of one page is durable: the device wrote it through.
    pub(super) fn settle(&mut self, number: u64, free: &mut Vec<Page>) {
        let Some(entry) = self.map.get_mut(&number) else { return };
        if entry.versions.is_empty() {
            return;
        }
        for version in entry.versions.drain(..) {
            recycle(free, core::mem::replace(&mut entry.durable, version.data));
        }
        self.dirty.retain(|other| *other != number);
    }

    /// The power is gone; returns how many sectors lost their newest content (E44).
    pub(super) fn crash(&mut self, mode: CrashMode, rng: &mut Rng, free: &mut Vec<Page>) -> u64 {
        let mut lost = 0;
        for number in core::mem::take(&mut self.dirty) {
            let entry = self.map.get_mut(&number).expect("a dirty page has an entry");
            let newest = entry.versions.len();
            if mode == CrashMode::PerSector {
                let mut page = fresh(free);
                for index in 0..SECTORS {
                    let choice = usize::try_from(rng.below(newest as u64 + 1)).expect("an index");
                    lost += u64::from(choice != newest);
                    match entry.choice(choice) {
                        Some(data) => page[sector(index)].copy_from_slice(&data[sector(index)]),
                        None => page[sector(index)].fill(0),
                    }
                }
                recycle(free, entry.durable.replace(page));
            } else if mode == CrashMode::KeepAll {
                let last = entry.versions.pop().expect("a dirty page has a version");
                recycle(free, core::mem::replace(&mut entry.durable, last.data));
            } else {
                lost += SECTORS as u64;
            }
            for version in entry.versions.drain(..) {
                recycle(free, version.data);
            }
        }
        lost
    }

    /// Forgets everything from page `first` on.
    pub(super) fn cut(&mut self, first: u64) {
        self.map.split_off(&first);
        self.dirty.retain(|number| *number < first);
    }
}

/// Ranges of bytes for which a file has space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// End by start; neither overlapping nor touching.
    map: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Bytes of `start..end` that are not inside.
    pub(super) fn missing(&self, start: u64, end: u64) -> u64 {
        let mut missing = end - start;
        for (from, to) in self.overlapping(start, end) {
            missing -= to.min(end) - from.max(start);
        }
        missing
    }

    fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = self.map.range(..start).next_back();
        let rest = self.map.range(start..end);
        before
            .into_iter()
            .chain(rest)
            .map(|(from, to)| (*from, *to))
            .filter(move |(_, to)| start < *to)
    }

    pub(super) fn insert(&mut self, mut start: u64, mut end: u64) {
        if start == end || self.missing(start, end) == 0 {
            return;
        }
        let touching = |map: &BTreeMap<u64, u64>| {
            let (from, to) = map.range(..=end).next_back()?;
            (start <= *to).then_some((*from, *to))
        };
        if let Some((from, to)) = touching(&self.map) {
            // Rare enough to do one by one: ranges grow at their end.
            self.map.remove(&from);
            start = start.min(from);
            end = end.max(to);
            return self.insert(start, end);
        }
        self.map.insert(start, end);
    }

    pub(super) fn remove(&mut self, start: u64, end: u64) {
        if start == end {
            return;
        }
        let hit: Vec<_> = self.overlapping(start, end).collect();
        for (from, to) in hit {
            self.map.remove(&from);
            if from < start {
                self.map.insert(from, start);
            }
            if end < to {
                self.map.insert(end, to);
            }
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.map.iter().map(|(from, to)| to - from).sum()
    }
}

#[cfg(test)]
mod tests;
