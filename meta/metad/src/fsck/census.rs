//! The census: what all keys say of each inode, in one pass, and what of it does not fit. Pure.
//!
//! Keys are read page by page while the system is in use, so they are of different moments. What
//! decides is therefore only what cannot come of that: an inode is judged by its names if its
//! inode was the same before and behind the pass over the names (whoever makes, moves or removes
//! a name raises `change` of its inode, E491), and everything else is looked at again in one
//! transaction.
//!
//! Memory: some 100 bytes per inode, some 150 while the table grows; beside it what is open for
//! writing, locked, or waits for its removal, at 100 bytes each.

use std::collections::{BTreeMap, BTreeSet};

use engine_types::{InodeId, Map, SessionId};
use meta_schema::codec::Record;
use meta_schema::delete::deletion_shard;
use meta_schema::{
    Deletion, Dirent, FileType, HashKey, Inode, InodeKind, Key, LockFamily, LockTable,
    RequestRecord, Shrink, SideCounts, SideTimes, Slot, WriteSession, key, name,
};

use super::finding::Finding;
use crate::marks;

mod judge;

/// An inode as it was before the pass over the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Guard {
    pub(crate) ino: InodeId,
    /// `change` of the inode and of its side key together: both only rise.
    pub(crate) change: u64,
    pub(crate) nlink: u32,
}

/// Something that seems to be wrong, to be looked at in a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Suspect {
    pub(crate) finding: Finding,
    /// What it is true of.
    pub(crate) guard: Option<Guard>,
    /// An entry that belongs to it: of a directory its name.
    pub(crate) entry: Option<(InodeId, Slot)>,
}

impl From<Finding> for Suspect {
    fn from(finding: Finding) -> Self {
        Self { finding, guard: None, entry: None }
    }
}

/// What is known of an inode.
#[derive(Clone, Copy, Debug)]
struct Known {
    change: u64,
    /// The same behind the pass.
    again: u64,
    /// Added to the links of a directory.
    delta: i64,
    nlink: u32,
    nlink_again: u32,
    names: u32,
    subdirectories: u32,
    /// The last name that was seen.
    entry: Option<(InodeId, Slot)>,
    parent: Option<InodeId>,
    kind: FileType,
    flags: u8,
}

/// Its key was there before the pass.
const SEEN: u8 = 1;
/// It was there behind it, too.
const SEEN_AGAIN: u8 = 2;
/// It waits for its removal.
const QUEUED: u8 = 4;
/// It has entries.
const ENTRIES: u8 = 8;
/// Its value cannot be decoded: nothing else is said about it.
const UNREADABLE: u8 = 16;
/// Its chunks took room when they were last asked for, and it did not change since.
const BLOCKS: u8 = 32;
/// A chain has chunks of it.
const CHUNKS: u8 = 64;

impl Default for Known {
    fn default() -> Self {
        Self {
            change: 0,
            again: 0,
            delta: 0,
            nlink: 0,
            nlink_again: 0,
            names: 0,
            subdirectories: 0,
            entry: None,
            parent: None,
            kind: FileType::Regular,
            flags: 0,
        }
    }
}

impl Known {
    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Names of one hash in one directory.
#[derive(Default)]
struct Hash {
    dir: Option<InodeId>,
    base: u64,
    names: Vec<Vec<u8>>,
}

/// One of two keys that belong together.
const FRONT: u8 = 1;
/// The other.
const BACK: u8 = 2;

/// What all keys say.
pub(crate) struct Census {
    hash_key: HashKey,
    inodes: Map<InodeId, Known>,
    queue: BTreeMap<InodeId, Key>,
    sessions: BTreeMap<(InodeId, SessionId), u8>,
    locks: BTreeMap<(InodeId, SessionId), u8>,
    /// By owner: the inode that `LOCW` names, and one in whose table it waits.
    waits: BTreeMap<(SessionId, u64), (Option<InodeId>, Option<InodeId>)>,
    /// Sessions that anything is kept of.
    pub(crate) live: BTreeSet<SessionId>,
    /// Names of directories with more than one.
    doubles: BTreeMap<InodeId, Vec<(InodeId, Slot)>>,
    hash: Hash,
    /// About inodes that are not there, unless they come back.
    strays: Vec<(InodeId, Finding)>,
    suspects: Vec<Suspect>,
}

/// Whether the value at `key` is what it should be.
pub(crate) fn is_readable(key: &Key, value: &[u8]) -> bool {
    match key {
        Key::Superblock => meta_schema::Superblock::decode(value).is_ok(),
        Key::Inode(_) => Inode::decode(value).is_ok(),
        Key::SideCounts(_) => SideCounts::decode(Some(value)).is_ok(),
        Key::SideTimes(_) => SideTimes::decode(Some(value)).is_ok(),
        Key::Parent(_) | Key::LockWait { .. } => key::decode_inode(value).is_some(),
        Key::Dirent { .. } => Dirent::decode(value).is_ok(),
        Key::WriteSession { .. } => WriteSession::decode(value).is_ok(),
        Key::Request { .. } => RequestRecord::decode(value).is_ok(),
        Key::Locks(_) => LockTable::decode(value).is_ok(),
        Key::Deletion { .. } => Deletion::decode(value).is_ok(),
        Key::Shrink(_) => Shrink::decode(value).is_ok(),
        Key::Claim(_) => marks::decode_claim(value).is_some(),
        Key::LengthQuery(_) | Key::InodeIds(_) | Key::FencedBelow => {
            key::decode_number(value).is_some()
        }
        Key::Fenced(_)
        | Key::SessionInode { .. }
        | Key::SessionLocks { .. }
        | Key::Xattr { .. }
        | Key::ServiceStarts(_) => true,
    }
}

impl Census {
    pub(crate) fn new(hash_key: HashKey) -> Self {
        Self {
            hash_key,
            inodes: Map::default(),
            queue: BTreeMap::new(),
            sessions: BTreeMap::new(),
            locks: BTreeMap::new(),
            waits: BTreeMap::new(),
            live: BTreeSet::new(),
            doubles: BTreeMap::new(),
            hash: Hash::default(),
            strays: Vec::new(),
            suspects: Vec::new(),
        }
    }

    /// Inodes that were seen.
    pub(crate) fn inodes(&self) -> u64 {
        self.inodes.values().filter(|known| known.has(SEEN)).count() as u64
    }

    fn of(&mut self, ino: InodeId) -> &mut Known {
        self.inodes.entry(ino).or_default()
    }

    /// The key, if it and its value are well; a suspect else.
    fn parse(&mut self, raw: &[u8], value: &[u8]) -> Option<Key> {
        let Ok(key) = Key::parse(raw) else {
            self.suspects.push(Finding::UnknownKey { key: raw.to_vec() }.into());
            return None;
        };
        if is_readable(&key, value) {
            return Some(key);
        }
        if let Key::Inode(ino) | Key::SideCounts(ino) | Key::SideTimes(ino) = key {
            self.of(ino).flags |= UNREADABLE | SEEN | SEEN_AGAIN;
        }
        self.suspects.push(Finding::BadValue { key }.into());
        None
    }

    /// First pass: a key of `INOD`.
    pub(crate) fn before(&mut self, raw: &[u8], value: &[u8]) {
        match self.parse(raw, value) {
            Some(Key::Inode(ino)) => {
                let Ok(inode) = Inode::decode(value) else { return };
                let known = self.of(ino);
                known.flags |= SEEN;
                (known.change, known.nlink) = (inode.change, inode.nlink);
                known.kind = inode.file_type();
                if let InodeKind::File(file) = &inode.kind
                    && file.allocated.is_some_and(|a| a.at_change == inode.change && a.bytes != 0)
                {
                    known.flags |= BLOCKS;
                }
            }
            Some(Key::SideCounts(ino)) => {
                let Ok(counts) = SideCounts::decode(Some(value)) else { return };
                let known = self.of(ino);
                known.change = known.change.saturating_add(counts.change);
                known.delta = counts.nlink;
                self.about_directory(Key::SideCounts(ino), ino);
            }
            Some(Key::SideTimes(ino)) => self.about_directory(Key::SideTimes(ino), ino),
            _ => {}
        }
    }

    /// Last pass: a key of `INOD` once more.
    pub(crate) fn behind(&mut self, raw: &[u8], value: &[u8]) {
        match (Key::parse(raw), Inode::decode(value)) {
            (Ok(Key::Inode(ino)), Ok(inode)) => {
                let Some(known) = self.inodes.get_mut(&ino) else { return };
                known.flags |= SEEN_AGAIN;
                (known.again, known.nlink_again) = (inode.change, inode.nlink);
            }
            (Ok(Key::SideCounts(ino)), _) => {
                let Some(known) = self.inodes.get_mut(&ino) else { return };
                let change = SideCounts::decode(Some(value)).map_or(0, |counts| counts.change);
                known.again = known.again.saturating_add(change);
            }
            _ => {}
        }
    }

    /// The pass between: any other key.
    pub(crate) fn saw(&mut self, raw: &[u8], value: &[u8]) {
        let Some(key) = self.parse(raw, value) else { return };
        match key.clone() {
            Key::Dirent { dir, slot } => self.entry(dir, slot, value),
            Key::Parent(dir) => {
                self.of(dir).parent = key::decode_inode(value);
                self.about_directory(key, dir);
            }
            Key::Xattr { ino, .. } | Key::Shrink(ino) | Key::LengthQuery(ino) => {
                self.about(key, ino);
            }
            Key::WriteSession { ino, session } => {
                *self.sessions.entry((ino, session)).or_default() |= FRONT;
                self.live.insert(session);
                self.about(key, ino);
            }
            Key::SessionInode { session, ino } => {
                *self.sessions.entry((ino, session)).or_default() |= BACK;
                self.live.insert(session);
            }
            Key::Request { session, .. } => drop(self.live.insert(session)),
            Key::Locks(ino) => self.table(ino, value),
            Key::SessionLocks { session, ino } => {
                *self.locks.entry((ino, session)).or_default() |= BACK;
                self.live.insert(session);
            }
            Key::LockWait { session, owner } => {
                self.waits.entry((session, owner)).or_default().0 = key::decode_inode(value);
                self.live.insert(session);
            }
            Key::Deletion { shard, ino, .. } => {
                self.of(ino).flags |= QUEUED;
                if shard != deletion_shard(ino) {
                    self.suspects.push(Finding::Misfiled { key: key.clone() }.into());
                }
                if let Some(first) = self.queue.get(&ino) {
                    let first = first.clone();
                    let twice = Finding::QueuedTwice { key: key.clone(), first };
                    self.suspects.push(twice.into());
                } else {
                    self.queue.insert(ino, key.clone());
                }
                self.about(key, ino);
            }
            _ => {}
        }
    }

    /// A key about an inode that was not there before is looked at.
    fn about(&mut self, key: Key, ino: InodeId) {
        if !self.inodes.get(&ino).is_some_and(|known| known.has(SEEN)) {
            self.strays.push((ino, Finding::Stray { key }));
        }
    }

    /// So is one that only directories have.
    fn about_directory(&mut self, key: Key, dir: InodeId) {
        let known = self.inodes.get(&dir).copied().unwrap_or_default();
        let is_well = known.has(SEEN) && known.kind.is_directory();
        if !is_well && !known.has(UNREADABLE) {
            self.strays.push((dir, Finding::Stray { key }));
        }
    }

    fn entry(&mut self, dir: InodeId, slot: Slot, value: &[u8]) {
        let Ok(entry) = Dirent::decode(value) else { return };
        self.of(dir).flags |= ENTRIES;
        let base = slot.probe(0);
        if name::check(&entry.name).is_err() || Slot::first_of(self.hash_key, &entry.name) != base {
            self.suspects.push(Finding::Misplaced { dir, slot }.into());
        }
        if self.hash.dir != Some(dir) || self.hash.base != base.get() {
            self.hash = Hash { dir: Some(dir), base: base.get(), names: Vec::new() };
        }
        if self.hash.names.contains(&entry.name) {
            self.suspects.push(Finding::NamedTwice { dir, slot }.into());
        }
        self.hash.names.push(entry.name);
        let is_directory = entry.kind.is_directory();
        if is_directory {
            self.of(dir).subdirectories += 1;
        }
        let known = self.of(entry.ino);
        let (seen, kind, former) = (known.has(SEEN), known.kind, known.entry);
        known.names = known.names.saturating_add(1);
        known.entry = Some((dir, slot));
        if seen && !known.has(UNREADABLE) && kind != entry.kind {
            self.suspects.push(Finding::WrongKind { dir, slot }.into());
        }
        if !seen {
            self.strays.push((entry.ino, Finding::Dangling { dir, slot }));
        }
        if let Some(former) = former.filter(|_| is_directory) {
            let all = self.doubles.entry(entry.ino).or_insert_with(|| vec![former]);
            all.push((dir, slot));
        }
    }

    fn table(&mut self, ino: InodeId, value: &[u8]) {
        let Ok(table) = LockTable::decode(value) else { return };
        let waiting = table.waiters().iter().map(|waiter| &waiter.lock);
        for lock in table.held().iter().chain(waiting) {
            *self.locks.entry((ino, lock.owner.session)).or_default() |= FRONT;
            self.live.insert(lock.owner.session);
        }
        for waiter in table.waiters().iter().filter(|w| w.lock.family == LockFamily::Posix) {
            let owner = waiter.lock.owner;
            self.waits.entry((owner.session, owner.owner)).or_default().1 = Some(ino);
        }
        self.about(Key::Locks(ino), ino);
    }

    /// A chain has a chunk of `ino`.
    pub(crate) fn has_chunks(&mut self, ino: InodeId) {
        if let Some(known) = self.inodes.get_mut(&ino) {
            known.flags |= CHUNKS;
        }
    }

    /// Files that had chunks, and of which no chain has any.
    pub(crate) fn without_chunks(&self) -> impl Iterator<Item = InodeId> {
        let missing = |known: &Known| known.has(BLOCKS) && !known.has(CHUNKS);
        self.inodes.iter().filter(move |(_, known)| missing(known)).map(|(ino, _)| *ino)
    }
}
