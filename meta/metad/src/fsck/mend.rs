//! One suspect in one transaction: whether it is so, and its repair.
//!
//! Everything is read in conflict mode before anything is written, so a repair of what somebody
//! changes at the same time does not land (E492).

use engine_types::InodeId;
use meta_kv::{KeyRange, ReadMode, Transaction};
use meta_schema::delete::deletion_shard;
use meta_schema::slot::PROBES;
use meta_schema::{
    Deletion, DirectoryData, Dirent, Gid, INODE_ROOT, Inode, InodeKind, Key, LockFamily, LockTable,
    Mode, Shrink, SideCounts, Slot, Timestamp, TruncateEpoch, Uid, WriteSession, key, name,
};

use super::census::{Guard, Suspect, is_readable};
use super::finding::Finding;
use crate::halt::Stop;
use crate::length::NOBODY;
use crate::loaded::Loaded;
use crate::view::{View, prefix};
use crate::{deletion, marks};

/// Mode of a directory that is made anew: what it allowed is not known.
const LOST_MODE: Mode = Mode::new(0o700);
/// Mode of the root.
const ROOT_MODE: Mode = Mode::new(0o755);
/// Directories on a loop that are followed.
const LOOP_MAX: usize = 4096;

/// What became of a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not so, or not any more.
    Well,
    /// It is so.
    Wrong,
    /// It was so.
    Mended,
    /// What it is about has changed.
    Busy,
}

/// A transaction about one suspect.
pub(crate) struct Mend<'v, 't, T> {
    pub(crate) view: &'v View<'t, T>,
    pub(crate) transaction: &'t T,
    pub(crate) now: Timestamp,
    /// Whether what is wrong is repaired.
    pub(crate) repair: bool,
    /// The directory for what has no name; 0 if there is none yet.
    pub(crate) lost_found: Option<InodeId>,
}

impl<T: Transaction> Mend<'_, '_, T> {
    /// Looks at `suspect`, and repairs it if that is wanted.
    pub(crate) async fn look(&self, suspect: &Suspect) -> Result<Verdict, Stop> {
        if let Some(guard) = &suspect.guard {
            return self.guarded(suspect, guard).await;
        }
        match &suspect.finding {
            Finding::UnknownKey { key } => self.unknown(key).await,
            Finding::BadValue { key } => self.bad_value(key).await,
            Finding::LostDirectory { dir } => self.lost(*dir).await,
            Finding::Dangling { dir, slot } => self.dangling(*dir, *slot).await,
            Finding::Misplaced { dir, slot } => self.misplaced(*dir, *slot).await,
            Finding::NamedTwice { dir, slot } => self.twice(*dir, *slot).await,
            Finding::WrongKind { dir, slot } => self.kind(*dir, *slot).await,
            Finding::QueuedTwice { key, first } => self.queued_twice(key, first).await,
            Finding::Misfiled { key } => self.misfiled(key).await,
            Finding::Loop { dir } => self.on_loop(*dir, suspect.entry).await,
            Finding::Stray { key } => self.stray(key).await,
            Finding::HalfSession { ino, session } => {
                let front = Key::WriteSession { ino: *ino, session: *session };
                let back = Key::SessionInode { session: *session, ino: *ino };
                match (self.raw(&front).await?, self.raw(&back).await?) {
                    (Some(_), None) => self.so(|| self.view.put_raw(&back, &[])),
                    (None, Some(_)) => self.so(|| self.view.clear(&back)),
                    _ => Ok(Verdict::Well),
                }
            }
            Finding::LockIndex { key, ino } => self.lock_index(key, *ino).await,
            _ => Ok(Verdict::Well),
        }
    }

    /// It is so; `mend` writes the repair.
    fn so(&self, mend: impl FnOnce() -> Result<(), Stop>) -> Result<Verdict, Stop> {
        if !self.repair {
            return Ok(Verdict::Wrong);
        }
        mend().map(|()| Verdict::Mended)
    }

    async fn raw(&self, key: &Key) -> Result<Option<Vec<u8>>, Stop> {
        self.view.get_raw(key, ReadMode::Conflict).await
    }

    async fn inode(&self, ino: InodeId) -> Result<Option<Inode>, Stop> {
        let raw = self.raw(&Key::Inode(ino)).await?;
        Ok(raw.and_then(|raw| meta_schema::codec::Record::decode(&raw).ok()))
    }

    async fn entry(&self, dir: InodeId, slot: Slot) -> Result<Option<Dirent>, Stop> {
        let raw = self.raw(&Key::Dirent { dir, slot }).await?;
        Ok(raw.and_then(|raw| meta_schema::codec::Record::decode(&raw).ok()))
    }

    /// Clears an entry, and marks the directory as changed if that is there.
    fn clear_entry(&self, dir: InodeId, slot: Slot, found: Option<Inode>) -> Result<(), Stop> {
        self.view.clear_entry(dir, slot)?;
        match found {
            Some(inode) if inode.file_type().is_directory() => {
                self.view.touch(&Loaded::plain(dir, inode), self.now, 0)
            }
            _ => Ok(()),
        }
    }

    async fn unknown(&self, key: &[u8]) -> Result<Verdict, Stop> {
        let found = self.transaction.get(key, ReadMode::Conflict).await?;
        match found {
            Some(_) => self.so(|| Ok(self.transaction.clear(key)?)),
            None => Ok(Verdict::Well),
        }
    }

    async fn bad_value(&self, key: &Key) -> Result<Verdict, Stop> {
        let Some(raw) = self.raw(key).await? else { return Ok(Verdict::Well) };
        if is_readable(key, &raw) {
            return Ok(Verdict::Well);
        }
        let (view, now) = (self.view, self.now);
        match key {
            Key::InodeIds(_) | Key::FencedBelow | Key::Superblock => Ok(Verdict::Wrong),
            Key::WriteSession { .. } => self.so(|| {
                // Of the oldest epoch: whatever it tells, the chunks are asked (M3).
                let truncate_epoch = TruncateEpoch::FIRST;
                view.put(key, &WriteSession { truncate_epoch, opened_at: now, hidden: false })
            }),
            Key::LengthQuery(_) => self.so(|| view.put_raw(key, &marks::stamp(None, now))),
            Key::Deletion { .. } => {
                self.so(|| view.put(key, &Deletion { queued_at: now, attempts: 0, length: 0 }))
            }
            Key::Shrink(ino) => {
                let found = self.inode(*ino).await?;
                let file = found.as_ref().and_then(Inode::file);
                self.so(|| match file {
                    // Whatever is behind the end goes, wherever it was.
                    Some(file) => view.put(
                        key,
                        &Shrink {
                            epoch: file.truncate_epoch,
                            new_length: file.length,
                            old_length: u64::MAX,
                            owner: NOBODY,
                        },
                    ),
                    None => view.clear(key),
                })
            }
            _ => self.so(|| view.clear(key)),
        }
    }

    async fn lost(&self, dir: InodeId) -> Result<Verdict, Stop> {
        let below = self.view.entries(prefix(&key::dirents(dir)), 1, ReadMode::Conflict).await?;
        let found = self.raw(&Key::Inode(dir)).await?;
        if found.is_some() || (below.is_empty() && dir != INODE_ROOT) {
            return Ok(Verdict::Well);
        }
        let mode = if dir == INODE_ROOT { ROOT_MODE } else { LOST_MODE };
        let kind = InodeKind::Directory(DirectoryData::default());
        let inode = Inode::new(mode, Uid::ROOT, Gid::ROOT, self.now, kind);
        self.so(|| self.view.put_inode(dir, &inode))
    }

    async fn dangling(&self, dir: InodeId, slot: Slot) -> Result<Verdict, Stop> {
        let Some(entry) = self.entry(dir, slot).await? else { return Ok(Verdict::Well) };
        let found = self.raw(&Key::Inode(entry.ino)).await?;
        let directory = self.inode(dir).await?;
        match found {
            Some(_) => Ok(Verdict::Well),
            None => self.so(|| self.clear_entry(dir, slot, directory)),
        }
    }

    async fn misplaced(&self, dir: InodeId, slot: Slot) -> Result<Verdict, Stop> {
        let Some(entry) = self.entry(dir, slot).await? else { return Ok(Verdict::Well) };
        let is_name = name::check(&entry.name).is_ok();
        let right = Slot::first_of(self.view.superblock().hash_key, &entry.name);
        if is_name && right == slot.probe(0) {
            return Ok(Verdict::Well);
        }
        let slots = self.view.slots(dir, &entry.name, ReadMode::Conflict).await?;
        let directory = self.inode(dir).await?;
        let to = slots.free.filter(|_| is_name && slots.found.is_none());
        self.so(|| {
            self.clear_entry(dir, slot, directory)?;
            to.map_or(Ok(()), |to| self.view.put_entry(dir, to, &entry))
        })
    }

    async fn twice(&self, dir: InodeId, slot: Slot) -> Result<Verdict, Stop> {
        let range = KeyRange::new(key::dirent(dir, slot.probe(0)), key::dirent_end(dir, slot));
        let all = self.view.entries(range, PROBES.into(), ReadMode::Conflict).await?;
        let directory = self.inode(dir).await?;
        let mut names = Vec::new();
        for (key, value) in all {
            let entry: Result<Dirent, _> = meta_schema::codec::Record::decode(&value);
            let Ok(entry) = entry else { continue };
            if key == key::dirent(dir, slot) && names.contains(&entry.name) {
                return self.so(|| self.clear_entry(dir, slot, directory));
            }
            names.push(entry.name);
        }
        Ok(Verdict::Well)
    }

    async fn kind(&self, dir: InodeId, slot: Slot) -> Result<Verdict, Stop> {
        let Some(entry) = self.entry(dir, slot).await? else { return Ok(Verdict::Well) };
        let Some(inode) = self.inode(entry.ino).await? else { return Ok(Verdict::Well) };
        let kind = inode.file_type();
        if kind == entry.kind {
            return Ok(Verdict::Well);
        }
        self.so(|| self.view.put_entry(dir, slot, &Dirent { kind, ..entry }))
    }

    async fn queued_twice(&self, key: &Key, first: &Key) -> Result<Verdict, Stop> {
        match (self.raw(key).await?, self.raw(first).await?) {
            (Some(_), Some(_)) => self.so(|| self.view.clear(key)),
            _ => Ok(Verdict::Well),
        }
    }

    async fn misfiled(&self, key: &Key) -> Result<Verdict, Stop> {
        let found = self.raw(key).await?;
        match (found, key.clone()) {
            (Some(value), Key::Deletion { class, due_ms, ino, .. }) => {
                let to = Key::Deletion { class, shard: deletion_shard(ino), due_ms, ino };
                self.so(|| {
                    self.view.clear(key)?;
                    self.view.put_raw(&to, &value)
                })
            }
            _ => Ok(Verdict::Well),
        }
    }

    async fn on_loop(&self, dir: InodeId, entry: Option<(InodeId, Slot)>) -> Result<Verdict, Stop> {
        let mut at = dir;
        for _ in 0..LOOP_MAX {
            match self.view.parent(at, ReadMode::Conflict).await? {
                None | Some(INODE_ROOT) => return Ok(Verdict::Well),
                Some(parent) if parent == dir => break,
                Some(parent) => at = parent,
            }
        }
        let Some(found) = self.view.inode(dir, ReadMode::Conflict).await? else {
            return Ok(Verdict::Well);
        };
        let named = match entry {
            Some((above, slot)) => self.entry(above, slot).await?.map(|entry| (above, slot, entry)),
            None => None,
        };
        let named = named.filter(|(.., entry)| entry.ino == dir);
        let above = match &named {
            Some((above, ..)) => self.inode(*above).await?,
            None => None,
        };
        let place = self.lost_place(dir).await?;
        self.so(|| {
            if let Some((at, slot, _)) = named {
                self.view.clear_entry(at, slot)?;
                if let Some(above) = above {
                    self.view.touch(&Loaded::plain(at, above), self.now, -1)?;
                }
            }
            self.name_in_lost(found, place)
        })
    }

    async fn stray(&self, key: &Key) -> Result<Verdict, Stop> {
        let (ino, for_directories) = match key {
            Key::SideCounts(ino) | Key::SideTimes(ino) | Key::Parent(ino) => (*ino, true),
            Key::Xattr { ino, .. }
            | Key::Shrink(ino)
            | Key::LengthQuery(ino)
            | Key::WriteSession { ino, .. }
            | Key::Locks(ino)
            | Key::Deletion { ino, .. } => (*ino, false),
            _ => return Ok(Verdict::Well),
        };
        let value = self.raw(key).await?;
        let found = self.raw(&Key::Inode(ino)).await?;
        let is_directory = match (&found, for_directories) {
            (Some(_), true) => self.inode(ino).await?.is_none_or(|i| i.directory().is_some()),
            (found, _) => found.is_some(),
        };
        if value.is_none() || is_directory {
            return Ok(Verdict::Well);
        }
        self.so(|| {
            if let Key::WriteSession { ino, session } = *key {
                self.view.clear(&Key::SessionInode { session, ino })?;
            }
            self.view.clear(key)
        })
    }

    async fn lock_index(&self, key: &Key, ino: InodeId) -> Result<Verdict, Stop> {
        let table = self.view.get::<LockTable>(&Key::Locks(ino), ReadMode::Conflict).await?;
        let found = self.raw(key).await?;
        let (is_there, wanted, value) = match *key {
            Key::SessionLocks { session, .. } => {
                let wanted = table.is_some_and(|table| table.involves(session));
                (found.is_some(), wanted, Vec::new())
            }
            Key::LockWait { session, owner } => {
                let waits = |waiter: &meta_schema::lock::Waiter| {
                    let of = waiter.lock.owner;
                    waiter.lock.family == LockFamily::Posix
                        && (of.session, of.owner) == (session, owner)
                };
                let wanted = table.is_some_and(|table| table.waiters().iter().any(waits));
                let said = found.as_deref().and_then(key::decode_inode);
                // Who waits for two inodes has the later of them in the key.
                if wanted && said.is_some_and(|said| said != ino) {
                    return Ok(Verdict::Well);
                }
                (said.is_some(), wanted, key::encode_inode(ino).into())
            }
            _ => return Ok(Verdict::Well),
        };
        match (is_there, wanted) {
            (true, false) => self.so(|| self.view.clear(key)),
            (false, true) => self.so(|| self.view.put_raw(key, &value)),
            _ => Ok(Verdict::Well),
        }
    }
}

/// What is known by all names of an inode, and true while it does not change (E491).
impl<T: Transaction> Mend<'_, '_, T> {
    async fn guarded(&self, suspect: &Suspect, guard: &Guard) -> Result<Verdict, Stop> {
        let ino = guard.ino;
        let sides = KeyRange::single(&key::side_counts(ino));
        self.transaction.add_read_conflict(sides)?;
        let Some(found) = self.view.inode(ino, ReadMode::Conflict).await? else {
            return Ok(Verdict::Busy);
        };
        let change = found.inode.change.saturating_add(found.counts.change);
        if (change, found.inode.nlink) != (guard.change, guard.nlink) {
            return Ok(Verdict::Busy);
        }
        match &suspect.finding {
            Finding::WrongLinks { expected, .. } => self.links(found, *expected),
            Finding::WrongSum { dir, expected, .. } => self.sum(*dir, found, *expected),
            Finding::Nameless { .. } => {
                let place = self.lost_place(ino).await?;
                self.so(|| self.name_in_lost(found, place))
            }
            Finding::Unqueued { .. } => {
                self.so(|| deletion::enqueue(self.view, ino, &found.inode, self.now))
            }
            Finding::QueuedWithLinks { key } => match self.raw(key).await? {
                Some(_) => self.so(|| self.view.clear(key)),
                None => Ok(Verdict::Busy),
            },
            Finding::ManyNames { dir, slot, .. } => {
                let entry = self.entry(*dir, *slot).await?;
                let directory = self.inode(*dir).await?;
                match entry.filter(|entry| entry.ino == ino) {
                    Some(_) => self.so(|| self.clear_entry(*dir, *slot, directory)),
                    None => Ok(Verdict::Busy),
                }
            }
            Finding::WrongParent { dir, expected, .. } => {
                let said = self.raw(&Key::Parent(*dir)).await?;
                match said.as_deref().and_then(key::decode_inode) == Some(*expected) {
                    true => Ok(Verdict::Busy),
                    false => self.so(|| self.view.put_parent(*dir, *expected)),
                }
            }
            _ => Ok(Verdict::Well),
        }
    }

    fn links(&self, mut found: Loaded, expected: u32) -> Result<Verdict, Stop> {
        self.so(|| {
            found.inode.nlink = expected;
            found.inode.changed(found.stamp(self.now));
            self.view.put_inode(found.ino, &found.inode)
        })
    }

    fn sum(&self, dir: InodeId, mut found: Loaded, expected: i64) -> Result<Verdict, Stop> {
        self.so(|| {
            found.inode.nlink = 2;
            found.inode.changed(found.stamp(self.now));
            let counts = SideCounts { nlink: expected - 2, ..found.counts };
            self.view.put_raw(&Key::SideCounts(dir), &counts.encode())?;
            self.view.put_inode(dir, &found.inode)
        })
    }

    /// Where in lost+found an inode comes to be, if anything is to be repaired.
    async fn lost_place(&self, ino: InodeId) -> Result<Option<(Loaded, Slot, Vec<u8>)>, Stop> {
        let Some(lost) = self.lost_found.filter(|_| self.repair) else { return Ok(None) };
        let name = format!("#{}", ino.get()).into_bytes();
        let directory = self.view.known(lost, ReadMode::Conflict).await?;
        let slots = self.view.slots(lost, &name, ReadMode::Conflict).await?;
        let taken = || {
            let why = format_args!("{name:?} is taken in {lost}");
            crate::halt::refused(meta_schema::Errno::EEXIST, why)
        };
        let free = slots.free.filter(|_| slots.found.is_none()).ok_or_else(taken)?;
        Ok(Some((directory, free, name)))
    }

    fn name_in_lost(
        &self,
        mut found: Loaded,
        place: Option<(Loaded, Slot, Vec<u8>)>,
    ) -> Result<(), Stop> {
        let (directory, slot, name) = place.expect("E492: it was read, as this is a repair");
        let kind = found.inode.file_type();
        let is_directory = kind.is_directory();
        self.view.put_entry(directory.ino, slot, &Dirent { ino: found.ino, kind, name })?;
        self.view.touch(&directory, self.now, i64::from(is_directory))?;
        if is_directory {
            self.view.put_parent(found.ino, directory.ino)?;
        }
        found.inode.nlink = if is_directory { 2 } else { 1 };
        found.inode.changed(found.stamp(self.now));
        self.view.put_inode(found.ino, &found.inode)
    }
}
