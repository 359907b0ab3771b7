//! The transactions of removal.

use std::collections::BTreeMap;

use engine_runtime::all;
use engine_types::InodeId;
use meta_kv::{KeyRange, ReadMode, Transaction};
use meta_schema::{
    Deletion, DeletionClass, FileType, Inode, InodeKind, Key, LockTable, Shrink, Timestamp, key,
};

use super::judge::{Facts, Verdict, judge};
use super::{enqueue, put};
use crate::halt::Stop;
use crate::join::{both, wanted};
use crate::loaded::Loaded;
use crate::op::locks;
use crate::session;
use crate::view::{View, decoded_entry, prefix};

/// Entries of a directory that one transaction takes: each is a read and up to four writes, some
/// 500 bytes.
pub(crate) const TREE_PAGE: usize = 128;

/// An entry of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) class: DeletionClass,
    pub(crate) shard: u8,
    pub(crate) due_ms: u64,
    pub(crate) ino: InodeId,
    pub(crate) entry: Deletion,
}

impl Item {
    fn key(&self) -> Key {
        let &Self { class, shard, due_ms, ino, .. } = self;
        Key::Deletion { class, shard, due_ms, ino }
    }
}

/// What stands about an inode that is to go.
struct Read {
    loaded: Option<Loaded>,
    has_sessions: bool,
    shrink: Option<Shrink>,
    is_exact: bool,
}

async fn read<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    mode: ReadMode,
) -> Result<Read, Stop> {
    let cut = Key::Shrink(ino);
    let first = both(view.inode(ino, mode), view.entries(session::all_of(ino), 1, mode));
    let second = both(
        view.get::<Shrink>(&cut, mode),
        view.entries(KeyRange::single(&key::length_query(ino)), 1, mode),
    );
    let ((loaded, sessions), (shrink, mark)) = both(first, second).await?;
    Ok(Read { loaded, has_sessions: !sessions.is_empty(), shrink, is_exact: mark.is_empty() })
}

impl Read {
    fn verdict(&self) -> Verdict {
        judge(&Facts {
            inode: self.loaded.as_ref().map(|loaded| &loaded.inode),
            has_sessions: self.has_sessions,
            shrink: self.shrink.as_ref(),
            is_exact: self.is_exact,
        })
    }
}

/// What is to be done about an entry, and the inode. Reads only.
pub(crate) async fn look<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
) -> Result<(Verdict, Option<Inode>), Stop> {
    let read = read(view, ino, ReadMode::Snapshot).await?;
    Ok((read.verdict(), read.loaded.map(|loaded| loaded.inode)))
}

/// Removes inodes whose chunks or entries are gone, with everything that is kept of them; an item
/// that has come to be kept stays (E451, E453). Conflicts with all that is read.
pub(crate) async fn finish<T: Transaction>(view: &View<'_, T>, items: &[Item]) -> Result<(), Stop> {
    let reads = items.iter().map(async |item| {
        let ino = item.ino;
        let table = Key::Locks(ino);
        let locks = view.get::<LockTable>(&table, ReadMode::Conflict);
        let entries = view.entries(prefix(&key::dirents(ino)), 1, ReadMode::Conflict);
        let rest = both(locks, entries);
        both(read(view, ino, ReadMode::Conflict), rest).await
    });
    let reads = all(reads).await.into_iter().collect::<Result<Vec<_>, Stop>>()?;
    for (item, (read, (table, entries))) in items.iter().zip(reads) {
        match (read.verdict(), &read.loaded) {
            (Verdict::Kept | Verdict::Cut, _) => continue,
            (Verdict::Entries, Some(_)) if !entries.is_empty() => continue,
            (Verdict::Linked, _) => {
                tracing::error!(ino = %item.ino, "an inode with links was to be removed: fsck");
            }
            (_, None) => {}
            (_, Some(loaded)) => {
                view.remove_inode(item.ino, &loaded.inode)?;
                view.clear_range(KeyRange::single(&key::length_query(item.ino)))?;
                locks::forget(view, item.ino, table.as_ref())?;
            }
        }
        view.clear(&item.key())?;
    }
    Ok(())
}

/// Puts an entry off until `due_ms`, unless somebody has done something about it.
pub(crate) async fn postpone<T: Transaction>(
    view: &View<'_, T>,
    item: &Item,
    due_ms: u64,
) -> Result<(), Stop> {
    if view.get_raw(&item.key(), ReadMode::Conflict).await?.is_none() {
        return Ok(());
    }
    let attempts = item.entry.attempts.saturating_add(1);
    view.clear(&item.key())?;
    put(view, item.class, item.ino, due_ms, &Deletion { attempts, ..item.entry })
}

/// Takes a page of entries out of a directory in removal: files lose a link, directories come into
/// the queue themselves. Gives the number of entries; 0 when none are left.
pub(crate) async fn tree_page<T: Transaction>(
    view: &View<'_, T>,
    dir: InodeId,
    now: Timestamp,
) -> Result<usize, Stop> {
    let page = view.entries(prefix(&key::dirents(dir)), TREE_PAGE, ReadMode::Conflict).await?;
    let mut entries = Vec::with_capacity(page.len());
    for (key, value) in &page {
        entries.push(decoded_entry(key, value)?);
    }
    // Several names in one page may be of one inode.
    let mut links: BTreeMap<InodeId, u32> = BTreeMap::new();
    for (_, entry) in &entries {
        *links.entry(entry.ino).or_default() += 1;
    }
    let at_once = |ino: InodeId| {
        let mut kinds = entries.iter().filter(|(_, entry)| entry.ino == ino);
        !kinds.any(|(_, entry)| matches!(entry.kind, FileType::Directory | FileType::Regular))
    };
    let children = links.keys().map(async |&ino| {
        let table = Key::Locks(ino);
        let locks = wanted(at_once(ino).then(|| view.get::<LockTable>(&table, ReadMode::Conflict)));
        both(view.inode(ino, ReadMode::Conflict), locks).await
    });
    let children = all(children).await.into_iter().collect::<Result<Vec<_>, Stop>>()?;
    for (slot, _) in &entries {
        view.clear_entry(dir, *slot)?;
    }
    for ((ino, gone), (child, table)) in links.into_iter().zip(children) {
        match child {
            Some(child) => unlink(view, child, (gone, table.flatten()), now)?,
            None => tracing::error!(%dir, %ino, "an entry names an inode that is gone: fsck"),
        }
    }
    Ok(entries.len())
}

/// Takes `gone` links from an inode; what has no chunks goes with its locks. Writes only.
fn unlink<T: Transaction>(
    view: &View<'_, T>,
    mut child: Loaded,
    (gone, table): (u32, Option<LockTable>),
    now: Timestamp,
) -> Result<(), Stop> {
    let is_directory = matches!(child.inode.kind, InodeKind::Directory(_));
    child.inode.nlink = if is_directory { 0 } else { child.inode.nlink.saturating_sub(gone) };
    if !is_directory {
        child.inode.changed(child.stamp(now));
    }
    if child.inode.nlink == 0 {
        if !matches!(child.inode.kind, InodeKind::Directory(_) | InodeKind::File(_)) {
            view.remove_inode(child.ino, &child.inode)?;
            return locks::forget(view, child.ino, table.as_ref());
        }
        enqueue(view, child.ino, &child.inode, now)?;
    }
    view.put_inode(child.ino, &child.inode)
}
