//! Typed reads and writes of one transaction.
//!
//! Every read says its mode. What decides a mutating operation is read in conflict mode (E421), so
//! a commit of an earlier attempt that comes late cannot land behind a refusal of a later one: it
//! would have had to see the same, or conflict. That is why refusals are not recorded.
//!
//! Invariants
//!   E420  an operation reads everything before it writes anything: a read never depends on own
//!         writes, and no conflict range is added behind one, where it would be left out
//!   E421  what decides whether a mutating operation succeeds, and what it writes over, is read in
//!         conflict mode; only sums and times of directories (M6) are not
//!   E422  an entry is at one of the eight slots of its name, and its name at no other
//!   E423  an entry names an inode that exists; what is found otherwise is damage, answered EIO
//!   E424  an inode's own key is never written because entries of it changed (M6): creates in one
//!         directory do not conflict

use core::cell::Cell;

use engine_types::InodeId;
use meta_kv::{AtomicOp, KeyRange, Page, RangeRead, ReadMode, Transaction};
use meta_schema::codec::Record;
use meta_schema::slot::PROBES;
use meta_schema::{
    Dirent, Errno, FileType, INODE_ROOT, Inode, Key, SideCounts, SideTimes, Slot, Superblock,
    Timestamp, key,
};

use crate::halt::{Stop, damaged, refused};
use crate::loaded::Loaded;

#[cfg(test)]
mod tests;

/// The namespace as one transaction sees it.
pub(crate) struct View<'t, T> {
    transaction: &'t T,
    superblock: &'t Superblock,
    /// Whether anything was written (E420).
    written: Cell<bool>,
}

/// What the eight slots of a name hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    /// The entry of the name.
    pub(crate) found: Option<(Slot, Dirent)>,
    /// The first slot without an entry.
    pub(crate) free: Option<Slot>,
}

impl<'t, T: Transaction> View<'t, T> {
    /// Of `transaction`, in the file system of `superblock`.
    pub(crate) fn new(transaction: &'t T, superblock: &'t Superblock) -> Self {
        Self { transaction, superblock, written: Cell::new(false) }
    }

    /// The file system.
    pub(crate) fn superblock(&self) -> &Superblock {
        self.superblock
    }

    fn reads(&self) {
        assert!(!self.written.get(), "E420: an operation reads before it writes");
    }

    /// The transaction, to be written to.
    fn writes(&self) -> &T {
        self.written.set(true);
        self.transaction
    }

    /// The record at `key`.
    pub(crate) async fn get<R: Record>(
        &self,
        key: &Key,
        mode: ReadMode,
    ) -> Result<Option<R>, Stop> {
        let raw = self.get_raw(key, mode).await?;
        let record = raw.map(|raw| R::decode(&raw)).transpose();
        record.map_err(|error| damaged(format_args!("{key:?}"), error))
    }

    /// The bytes at `key`.
    pub(crate) async fn get_raw(&self, key: &Key, mode: ReadMode) -> Result<Option<Vec<u8>>, Stop> {
        self.reads();
        Ok(Box::pin(self.transaction.get(&key.encode(), mode)).await?)
    }

    /// A page of a range. Its future, and that of a single read, is on the heap: a transaction's
    /// are some kilobytes, and an operation asks several things at the same time, each a part of
    /// it. A read is a message or two; an allocation beside it is not seen.
    async fn page(&self, read: RangeRead, mode: ReadMode) -> Result<Page, Stop> {
        Ok(Box::pin(self.transaction.range(read, mode)).await?)
    }

    /// All entries of `range`, at most `limit`, page by page.
    pub(crate) async fn entries(
        &self,
        range: KeyRange,
        limit: usize,
        mode: ReadMode,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Stop> {
        let mut read = RangeRead::new(range).limit(limit);
        let mut entries = Vec::new();
        loop {
            self.reads();
            let page = self.page(read.clone(), mode).await?;
            let last = page.entries.last().map(|(key, _)| key.clone());
            entries.extend(page.entries);
            match last.filter(|_| page.more && entries.len() < limit) {
                Some(last) => read = read.behind(&last).limit(limit - entries.len()),
                None => return Ok(entries),
            }
        }
    }

    /// Sets the record at `key`.
    pub(crate) fn put(&self, key: &Key, record: &impl Record) -> Result<(), Stop> {
        self.put_raw(key, &record.encode())
    }

    /// Sets the bytes at `key`.
    pub(crate) fn put_raw(&self, key: &Key, value: &[u8]) -> Result<(), Stop> {
        Ok(self.writes().set(&key.encode(), value)?)
    }

    /// Clears `key`.
    pub(crate) fn clear(&self, key: &Key) -> Result<(), Stop> {
        Ok(self.writes().clear(&key.encode())?)
    }

    /// Clears all keys of `range`.
    pub(crate) fn clear_range(&self, range: KeyRange) -> Result<(), Stop> {
        Ok(self.writes().clear_range(range)?)
    }

    /// An inode with its side keys: one read. In conflict mode the inode's own key conflicts, and
    /// never the side keys, which every create in the directory changes.
    pub(crate) async fn inode(&self, ino: InodeId, mode: ReadMode) -> Result<Option<Loaded>, Stop> {
        self.reads();
        if mode == ReadMode::Conflict {
            self.transaction.add_read_conflict(KeyRange::single(&key::inode(ino)))?;
        }
        let read = RangeRead::new(inode_range(ino)).limit(3);
        let page = self.page(read, ReadMode::Snapshot).await?;
        let (mut inode, mut counts, mut times) = (None, None, None);
        for (key, value) in page.entries {
            match Key::parse(&key) {
                Ok(Key::Inode(_)) => inode = Some(value),
                Ok(Key::SideCounts(_)) => counts = Some(value),
                Ok(Key::SideTimes(_)) => times = Some(value),
                other => return Err(damaged(ino, format_args!("a key behind it: {other:?}"))),
            }
        }
        let Some(inode) = inode else { return Ok(None) };
        let inode = Inode::decode(&inode).map_err(|error| damaged(ino, error))?;
        let counts = SideCounts::decode(counts.as_deref()).map_err(|e| damaged(ino, e))?;
        let times = SideTimes::decode(times.as_deref()).map_err(|e| damaged(ino, e))?;
        Ok(Some(Loaded { ino, inode, counts, times }))
    }

    /// An inode that a caller names: ESTALE when it is gone, so that the kernel looks its name up
    /// again.
    pub(crate) async fn known(&self, ino: InodeId, mode: ReadMode) -> Result<Loaded, Stop> {
        let found = self.inode(ino, mode).await?;
        found.ok_or_else(|| refused(Errno::ESTALE, format_args!("{ino} does not exist any more")))
    }

    /// The inode of an entry (E423).
    pub(crate) async fn child(
        &self,
        dir: InodeId,
        entry: &Dirent,
        mode: ReadMode,
    ) -> Result<Loaded, Stop> {
        let found = self.inode(entry.ino, mode).await?;
        found.ok_or_else(|| {
            damaged(dir, format_args!("an entry names {}, which is gone", entry.ino))
        })
    }

    /// Sets an inode's own key. Side keys of a directory stay as they are.
    pub(crate) fn put_inode(&self, ino: InodeId, inode: &Inode) -> Result<(), Stop> {
        self.put(&Key::Inode(ino), inode)
    }

    /// Removes an inode: its keys, its place in the tree, its extended attributes.
    pub(crate) fn remove_inode(&self, ino: InodeId, inode: &Inode) -> Result<(), Stop> {
        self.clear_range(inode_range(ino))?;
        self.clear_range(prefix(&key::xattrs(ino)))?;
        if inode.file_type().is_directory() {
            self.clear(&Key::Parent(ino))?;
        }
        Ok(())
    }

    /// Where `name` is in `dir`, or may be put: one read of its eight slots. In conflict mode all
    /// of them conflict, so that a name comes into a directory once.
    pub(crate) async fn slots(
        &self,
        dir: InodeId,
        name: &[u8],
        mode: ReadMode,
    ) -> Result<Slots, Stop> {
        self.reads();
        let first = Slot::first_of(self.superblock.hash_key, name);
        let range = KeyRange::new(key::dirent(dir, first.probe(0)), key::dirent_end(dir, first));
        let read = RangeRead::new(range).limit(PROBES.into());
        let page = self.page(read, mode).await?;
        let mut slots = Slots { found: None, free: None };
        let mut taken = [false; PROBES as usize];
        for (key, value) in page.entries {
            let (slot, entry) = decoded_entry(&key, &value)?;
            taken[probe_of(slot)] = true;
            if entry.name == name {
                slots.found = Some((slot, entry));
            }
        }
        let free = (0..PROBES).find(|&probe| !taken[usize::from(probe)]);
        slots.free = free.map(|probe| first.probe(probe));
        Ok(slots)
    }

    /// Whether `dir` has no entries; a create in it conflicts (M8). What is no directory has none,
    /// without a read.
    pub(crate) async fn is_empty(&self, dir: InodeId, kind: FileType) -> Result<bool, Stop> {
        if !kind.is_directory() {
            return Ok(true);
        }
        let range = prefix(&key::dirents(dir));
        Ok(self.entries(range, 1, ReadMode::Conflict).await?.is_empty())
    }

    /// The directory that `dir` is in; the root is in itself. Nothing if it is no directory, or
    /// gone.
    pub(crate) async fn parent(
        &self,
        dir: InodeId,
        mode: ReadMode,
    ) -> Result<Option<InodeId>, Stop> {
        if dir == INODE_ROOT {
            return Ok(Some(INODE_ROOT));
        }
        let Some(raw) = self.get_raw(&Key::Parent(dir), mode).await? else { return Ok(None) };
        let parent = key::decode_inode(&raw);
        parent.map(Some).ok_or_else(|| damaged(dir, "its parent is not 8 bytes"))
    }

    /// Says which directory `dir` is in.
    pub(crate) fn put_parent(&self, dir: InodeId, parent: InodeId) -> Result<(), Stop> {
        self.put_raw(&Key::Parent(dir), &key::encode_inode(parent))
    }

    /// Puts an entry into a slot.
    pub(crate) fn put_entry(&self, dir: InodeId, slot: Slot, entry: &Dirent) -> Result<(), Stop> {
        self.put(&Key::Dirent { dir, slot }, entry)
    }

    /// Takes the entry out of a slot.
    pub(crate) fn clear_entry(&self, dir: InodeId, slot: Slot) -> Result<(), Stop> {
        self.clear(&Key::Dirent { dir, slot })
    }

    /// Notes that entries of `dir` changed at `now`, and by how many its subdirectories became
    /// more: sums and times that conflict with nothing (M6, E424).
    pub(crate) fn touch(&self, dir: &Loaded, now: Timestamp, nlink: i64) -> Result<(), Stop> {
        let epoch = dir.inode.directory().map_or(0, |directory| directory.time_epoch);
        // Not before what was seen: another service's clock may be ahead.
        let event = SideTimes::event(epoch, now.touched(dir.stat().ctime));
        let (counts, times) = (key::side_counts(dir.ino), key::side_times(dir.ino));
        self.writes().atomic(AtomicOp::Add, &counts, &SideCounts::event(nlink).encode())?;
        Ok(self.writes().atomic(AtomicOp::Max, &times, &event.encode())?)
    }
}

/// An entry as the KV has it.
pub(crate) fn decoded_entry(key: &[u8], value: &[u8]) -> Result<(Slot, Dirent), Stop> {
    let (dir, slot) = match Key::parse(key) {
        Ok(Key::Dirent { dir, slot }) => (dir, slot),
        other => return Err(damaged("directory entries", format_args!("a key: {other:?}"))),
    };
    let entry = Dirent::decode(value);
    let entry = entry.map_err(|error| damaged(dir, format_args!("{slot}: {error}")))?;
    Ok((slot, entry))
}

/// Which of the eight slots of its name.
fn probe_of(slot: Slot) -> usize {
    usize::try_from(slot.get() % u64::from(PROBES)).expect("below eight")
}

/// The keys of an inode: its own, and those at its side.
fn inode_range(ino: InodeId) -> KeyRange {
    KeyRange::new(key::inode(ino), key::inode_end(ino))
}

/// Every key that starts with `key`.
pub(crate) fn prefix(key: &[u8]) -> KeyRange {
    KeyRange::prefix(key).expect("keys begin with letters, which are below 0xff")
}
