//! What a crash left: a checkpoint and the journal behind it become a state again.
//!
//! Two histories are replayed side by side (S6). *Records*: from the checkpoint's start on, each
//! entry overwrites what it names. *Images*: from the ring's tail on, because images older than
//! the checkpoint may not be home yet; an image stays only while its chunk's newest committed or
//! pending version still takes the sector from it. Nothing is written during replay.
//!
//! `position` of an image is the byte of the ring where it lies; the driver loads those that stay.
//!
//! Invariants
//!   E146  replay is blind: the last entry about a chunk decides, whatever the fuzzy dump held
//!   E147  a pending version whose record equals the committed one is committed: its COMMIT was in
//!         memory when the dump was taken, and was lost afterwards
//!   E148  a durable PUT of another version implies the commit of the pending one before it (S10)
//!   E158  only chunks that have images take memory for images

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::{ChunkVersion, Crc32c, Map, reached};

use crate::address::{ChunkKey, Lsn, Slot};
use crate::entry::{Entry, Fence, Put, SectorRange};
use crate::index::{Builder, INDEX_BYTES_MAX, Index, IndexFull, NotAscending};
use crate::planted;
use crate::record::RecordRef;
use crate::request::{Outcome, Tag, TargetRecord};
use crate::store::{is_dead, outcome};
use crate::tables::{Dedup, Fences, Targets};

/// An image that may still be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its sector of the chunk.
    pub sector: u16,
    /// Its group.
    pub lsn: Lsn,
    /// Where it lies: byte from the start of the ring.
    pub position: u64,
    /// Its checksum when its group was found whole: it is read again later.
    pub sum: Crc32c,
}

/// Images with their chunks.
pub type Placed = Vec<(ChunkKey, Image)>;

#[derive(Debug, Default)]
struct ChunkImages {
    committed: Vec<Image>,
    pending: Option<(Rc<Put>, Vec<Image>)>,
}

/// Images of the chunks that have any, by what the journal says from its tail on. Most entries are
/// about chunks without images, which take no memory here (E158). In key order, so that nothing is
/// left to sort at the end.
#[derive(Debug, Default)]
struct Images {
    chunks: BTreeMap<ChunkKey, ChunkImages>,
}

/// A state being rebuilt.
#[derive(Debug)]
pub struct Replay {
    start: Lsn,
    builder: Option<Builder>,
    index: Index,
    budget: u64,
    targets: Targets,
    fences: Fences,
    dedup: Dedup,
    pending: Map<ChunkKey, (Rc<Put>, Lsn)>,
    images: Images,
    applied: Lsn,
    /// Whether no more entries come.
    ended: bool,
    /// Images of chunks that were settled, see [`Recovered`].
    homeward: Placed,
    overlaid: Placed,
}

/// What recovery yields.
#[derive(Debug)]
pub struct Recovered {
    /// Committed records.
    pub index: Index,
    /// Targets.
    pub targets: Targets,
    /// Revoked sessions.
    pub fences: Fences,
    /// Newest requests.
    pub dedup: Dedup,
    /// Pending versions with the group of their PUT, in chunk order.
    pub pending: Vec<(Rc<Put>, Lsn)>,
    /// Images of committed versions, in chunk and sector order: they are still to be written home.
    pub homeward: Placed,
    /// Images of pending versions, in chunk and sector order: they stay in memory.
    pub overlaid: Placed,
}

impl Images {
    fn put(&mut self, lsn: Lsn, put: &Rc<Put>, images: Vec<Image>) {
        let chunk = match images.is_empty() {
            true => match self.chunks.get_mut(&put.key) {
                Some(chunk) => chunk,
                None => return,
            },
            false => self.chunks.entry(put.key).or_default(),
        };
        if chunk.pending.as_ref().is_some_and(|(old, _)| old.version != put.version) {
            commit_images(chunk); // E148
        }
        debug_assert!(images.iter().all(|image| image.lsn == lsn));
        chunk.pending = Some((put.clone(), images));
        self.forget_empty(&put.key);
    }

    fn commit(&mut self, key: &ChunkKey, version: ChunkVersion) {
        if let Some(chunk) = self.pending_chunk(key, version) {
            commit_images(chunk);
            self.forget_empty(key);
        }
    }

    fn abort(&mut self, key: &ChunkKey, version: ChunkVersion) {
        if let Some(chunk) = self.pending_chunk(key, version) {
            chunk.pending = None;
            self.forget_empty(key);
        }
    }

    /// E158. A pending version without images only matters to the images before it.
    fn forget_empty(&mut self, key: &ChunkKey) {
        let is_empty = |chunk: &ChunkImages| {
            let pending = chunk.pending.as_ref();
            chunk.committed.is_empty() && pending.is_none_or(|(_, images)| images.is_empty())
        };
        if self.chunks.get(key).is_some_and(is_empty) {
            self.chunks.remove(key);
        }
    }

    fn pending_chunk(&mut self, key: &ChunkKey, version: ChunkVersion) -> Option<&mut ChunkImages> {
        let pending = |chunk: &&mut ChunkImages| {
            chunk.pending.as_ref().is_some_and(|(put, _)| put.version == version)
        };
        self.chunks.get_mut(key).filter(pending)
    }

    fn moved(&mut self, key: &ChunkKey, direct: &[SectorRange]) {
        if let Some(chunk) = self.chunks.get_mut(key) {
            commit_images(chunk); // as for the record
            chunk.committed.retain(|image| !covers(direct, image.sector));
            self.forget_empty(key);
        }
    }
}

/// The pending version of a chunk is the committed one: its images join, what it wrote directly,
/// cut off or made a hole is dead.
fn commit_images(chunk: &mut ChunkImages) {
    let Some((put, images)) = chunk.pending.take() else { return };
    let Some(record) = &put.record else {
        chunk.committed.clear();
        return;
    };
    let record = record.as_ref();
    chunk.committed.retain(|old| {
        planted!(BlindRedo) && !images.iter().any(|new| new.sector == old.sector)
            || !covers(&put.direct, old.sector)
                && !is_dead(&record, old.sector)
                && images.iter().all(|new| new.sector != old.sector)
    });
    chunk.committed.extend(images);
}

/// E147.
fn is_committed(put: &Put, committed: Option<RecordRef<'_>>) -> bool {
    match (&put.record, committed) {
        // By content, not by place: it may have been moved since.
        (Some(pending), Some(committed)) => {
            let pending = pending.as_ref();
            pending.head == committed.head && pending.checksums() == committed.checksums()
        }
        // The removal of a chunk that was there: only one of an absent chunk has version 1.
        (None, None) => ChunkVersion::new(1) < put.version,
        _ => false,
    }
}

fn covers(ranges: &[SectorRange], sector: u16) -> bool {
    ranges.iter().any(|range| range.contains(sector))
}

impl Replay {
    /// Nothing yet. `start` is the checkpoint's, `applied` the newest group whose images, and those
    /// of all groups before it, are known to be home.
    pub fn new(start: Lsn, applied: Lsn, budget: u64, dedup: Dedup) -> Self {
        Self {
            start,
            builder: Some(Builder::new(budget)),
            index: Index::new(budget),
            budget,
            targets: Targets::new(),
            fences: Fences::new(),
            dedup,
            pending: Map::default(),
            images: Images::default(),
            applied,
            ended: false,
            homeward: Vec::new(),
            overlaid: Vec::new(),
        }
    }

    /// A target of the checkpoint.
    pub fn load_target(&mut self, slot: Slot, record: TargetRecord) {
        self.targets.replay(slot, Some(record));
    }

    /// A fence of the checkpoint.
    pub fn load_fence(&mut self, fence: Fence) {
        self.fences.replay(fence);
    }

    /// A pending version of the checkpoint.
    pub fn load_pending(&mut self, put: Rc<Put>, lsn: Lsn) {
        self.pending.insert(put.key, (put, lsn));
    }

    /// A request of the checkpoint.
    pub fn load_outcome(&mut self, slot: Slot, tag: Tag, outcome: Outcome) {
        self.dedup.learn(slot, tag, outcome);
    }

    /// A committed record of the checkpoint; keys ascend.
    ///
    /// # Errors
    /// When the keys do not ascend.
    pub fn load_chunk(&mut self, key: ChunkKey, record: RecordRef<'_>) -> Result<(), NotAscending> {
        self.builder.as_mut().expect("chunks come before the journal").push(key, record)
    }

    /// The checkpoint is loaded; the journal follows.
    pub fn loaded(&mut self) {
        if let Some(builder) = self.builder.take() {
            let budget = self.index.budget();
            self.index = builder.finish();
            // What was admitted once is loaded; the budget counts for growth afterwards.
            self.index.set_budget(INDEX_BYTES_MAX.max(budget));
            self.budget = budget;
        }
    }

    /// One entry of group `lsn`. `first_image` is the ring position of the entry's first image;
    /// they lie one behind the other. `sums` are their checksums.
    ///
    /// # Errors
    /// When the index has no room for a record that was admitted once: the budget was lowered.
    ///
    /// # Panics
    /// When a PUT comes with another number of checksums than it has images.
    pub fn entry(
        &mut self,
        lsn: Lsn,
        entry: &Entry,
        first_image: u64,
        sums: &[Crc32c],
    ) -> Result<(), IndexFull> {
        assert!(self.builder.is_none(), "the checkpoint is loaded first");
        assert!(!self.ended, "the journal has ended");
        self.replay_images(lsn, entry, first_image, sums);
        if lsn < self.start {
            return Ok(());
        }
        self.replay_record(lsn, entry)
    }

    /// The newest header says that images of groups up to `lsn` are home.
    pub fn applied(&mut self, lsn: Lsn) {
        self.applied = self.applied.max(lsn);
    }

    fn replay_images(&mut self, lsn: Lsn, entry: &Entry, first_image: u64, sums: &[Crc32c]) {
        match entry {
            Entry::Put(put) => {
                assert_eq!(put.images.len(), sums.len(), "each image has its checksum");
                let sector = u64::from(engine_types::SECTOR_BYTES);
                let places = (0..).map(|nth: u64| first_image + nth * sector).zip(sums);
                let images = put.images.iter().zip(places);
                let images =
                    images.map(|(&sector, (position, &sum))| Image { sector, lsn, position, sum });
                self.images.put(lsn, put, images.collect());
            }
            Entry::Commit { key, version } => self.images.commit(key, *version),
            Entry::Abort { key, version } => self.images.abort(key, *version),
            Entry::Move { key, direct, .. } => self.images.moved(key, direct),
            Entry::Erase { key } => {
                self.images.chunks.remove(key);
            }
            _ => {}
        }
    }

    fn replay_record(&mut self, lsn: Lsn, entry: &Entry) -> Result<(), IndexFull> {
        match entry {
            Entry::Put(put) => {
                let other = |(old, _): &(Rc<Put>, Lsn)| old.version != put.version;
                if self.pending.get(&put.key).is_some_and(other) {
                    self.commit(&put.key)?; // E148
                }
                self.pending.insert(put.key, (put.clone(), lsn));
            }
            Entry::Commit { key, version } => {
                if self.pending.get(key).is_some_and(|(put, _)| put.version == *version) {
                    self.commit(key)?;
                }
            }
            Entry::Abort { key, version } => {
                if self.pending.get(key).is_some_and(|(put, _)| put.version == *version) {
                    self.pending.remove(key);
                }
            }
            Entry::Move { key, record, .. } => {
                // No version is pending while a chunk moves: one that is was committed (E147).
                self.commit(key)?;
                self.index.insert(*key, record.as_ref().as_ref())?;
            }
            Entry::Erase { key } => {
                self.pending.remove(key);
                self.index.remove(key);
            }
            Entry::Target { slot, record } => {
                self.targets.replay(*slot, *record);
                if record.is_none() {
                    self.dedup.drop_slot(*slot, usize::MAX);
                }
            }
            Entry::Fence(fence) => self.fences.replay(*fence),
            Entry::Dedup { slot, tag, outcome } => {
                self.dedup.learn(*slot, *tag, *outcome);
            }
            Entry::DedupDrop { session } => {
                self.dedup.drop_session(*session, usize::MAX);
            }
        }
        Ok(())
    }

    fn commit(&mut self, key: &ChunkKey) -> Result<(), IndexFull> {
        let Some((put, _)) = self.pending.remove(key) else { return Ok(()) };
        match &put.record {
            Some(record) => {
                self.index.insert(*key, record.as_ref())?;
            }
            None => {
                self.index.remove(key);
            }
        }
        if let Some(tag) = put.tag.filter(|_| !planted!(RequestNotReplayed)) {
            self.dedup.learn(key.slot, tag, outcome(&put, tag));
        }
        Ok(())
    }

    /// The journal has ended; the next chunks that have images, `limit` of them, are settled.
    /// False: none is left.
    ///
    /// # Errors
    /// When the index has no room.
    pub fn settle(&mut self, limit: usize) -> Result<bool, IndexFull> {
        if !self.ended {
            self.loaded();
            self.settle_pendings()?;
            self.ended = true;
        }
        for _ in 0..limit {
            let Some((key, chunk)) = self.images.chunks.pop_first() else { return Ok(false) };
            self.settle_images(key, chunk);
        }
        Ok(!self.images.chunks.is_empty())
    }

    /// E147 of the pending versions; they are few.
    fn settle_pendings(&mut self) -> Result<(), IndexFull> {
        let mut keys: Vec<ChunkKey> = self.pending.keys().copied().collect();
        keys.sort_unstable();
        for key in &keys {
            let (put, _) = &self.pending[key];
            if is_committed(put, self.index.get(key)) {
                reached!("E147: a commit is known by the dump alone");
                self.commit(key)?;
            }
        }
        Ok(())
    }

    /// Images of a chunk that are still needed: of its committed version, of its pending one.
    fn settle_images(&mut self, key: ChunkKey, mut chunk: ChunkImages) {
        let record = self.index.get(&key);
        // The same for versions that were committed before the checkpoint's start.
        if chunk.pending.as_ref().is_some_and(|(put, _)| is_committed(put, record)) {
            commit_images(&mut chunk);
        }
        if let Some(record) = record {
            chunk.committed.sort_unstable_by_key(|image| image.sector);
            let alive = chunk
                .committed
                .into_iter()
                .filter(|image| self.applied < image.lsn && !is_dead(&record, image.sector));
            self.homeward.extend(alive.map(|image| (key, image)));
        }
        let Some((put, mut images)) = chunk.pending else { return };
        if self.pending.get(&key).is_some_and(|(kept, _)| kept.version == put.version) {
            images.sort_unstable_by_key(|image| image.sector);
            self.overlaid.extend(images.into_iter().map(|image| (key, image)));
        }
    }

    /// The journal has ended, and everything is settled.
    ///
    /// # Errors
    /// When the index has no room.
    pub fn finish(mut self) -> Result<Recovered, IndexFull> {
        while self.settle(usize::MAX)? {}
        let mut pending: Vec<_> = self.pending.into_values().collect();
        pending.sort_unstable_by_key(|(put, _)| put.key);
        let Self { mut index, budget, targets, fences, dedup, homeward, overlaid, .. } = self;
        index.set_budget(budget);
        Ok(Recovered { index, targets, fences, dedup, pending, homeward, overlaid })
    }
}

#[cfg(test)]
mod tests;
