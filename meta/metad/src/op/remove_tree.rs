//! RemoveTree: takes a directory with everything below it out of the namespace, at once.
//!
//! The caller pays for one transaction; what was below goes in the background
//! ([`crate::deletion`], class trees). Nothing is left in between: the name is gone, the directory
//! has no links, and nothing can be created in it (E453).
//!
//! Permission is that of rmdir(2) for the directory, and for what is below it what `rm -r` would
//! need: every directory that has entries must be one that the caller may search, read and write,
//! and in a sticky one the entries must be the caller's. That is looked at before, as of the moment
//! of the transaction, for trees of up to 1,024 directories and 65,536 entries ([`Limits`]); a
//! larger one is E2BIG for everybody but root, and the client walks it as `rm -r` does. Root is
//! asked for nothing.
//!
//! Conflict set: inode of the parent, the eight slots, inode of the directory. What is below is
//! read as it is. Written: the entry, the directory, sums and times of the parent, the deletion
//! queue. Round trips: 2; for others than root also 2 for each level of the tree and page of it.

use engine_runtime::all;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, op as ask};
use meta_schema::access::{self, Victim};
use meta_schema::{AccessMask, Dirent, Errno, FileType, Mode, key};

use crate::ctx::{Ctx, Limits};
use crate::deletion;
use crate::halt::{Stop, refused};
use crate::loaded::Loaded;
use crate::op::place::place;
use crate::view::{View, decoded_entry, prefix};

/// Directories that are read at the same time.
const AT_ONCE: usize = 16;

/// Removes the directory `name` of `parent` with what is below it.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    asked: &ask::RemoveTree,
) -> Result<Answer, Stop> {
    let place = place(view, ctx, asked.parent, &asked.name, ReadMode::Conflict).await?;
    let (slot, entry) = place.existing()?;
    let mut victim = view.child(asked.parent, entry, ReadMode::Conflict).await?;
    access::check_remove(&place.dir.inode, &victim.inode, ctx.caller, Victim::Directory)
        .map_err(|errno| place.refused(errno))?;
    if !ctx.caller.is_root() {
        check_below(view, ctx, &victim).await?;
    }
    view.clear_entry(asked.parent, *slot)?;
    view.touch(&place.dir, ctx.now, -1)?;
    victim.inode.nlink = 0;
    deletion::enqueue(view, victim.ino, &victim.inode, ctx.now)?;
    view.put_inode(victim.ino, &victim.inode)?;
    Ok(Answer::Done)
}

/// Refuses a tree of which the caller may not remove everything.
async fn check_below<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    top: &Loaded,
) -> Result<(), Stop> {
    let Limits { tree_directories, tree_entries, .. } = ctx.limits;
    let mut waiting = vec![top.clone()];
    let (mut directories, mut entries) = (1, 0);
    while !waiting.is_empty() {
        let count = waiting.len().min(AT_ONCE);
        let group: Vec<Loaded> = waiting.drain(..count).collect();
        let room = tree_entries.saturating_sub(entries);
        let read = group.iter().map(|dir| children(view, ctx, dir, room));
        for found in all(read).await {
            let (count, below) = found?;
            entries += count;
            directories += below.len();
            waiting.extend(below);
        }
        if tree_directories < directories || tree_entries < entries {
            let why = format_args!(
                "{} has more than {tree_directories} directories or {tree_entries} entries below \
                 it: remove them one by one",
                top.ino
            );
            return Err(refused(Errno::E2BIG, why));
        }
    }
    Ok(())
}

/// How many entries `dir` has, as far as `room` goes, and its subdirectories; refuses what the
/// caller may not remove.
async fn children<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    dir: &Loaded,
    room: usize,
) -> Result<(usize, Vec<Loaded>), Stop> {
    let range = prefix(&key::dirents(dir.ino));
    let page = view.entries(range, room + 1, ReadMode::Snapshot).await?;
    if page.is_empty() {
        return Ok((0, Vec::new()));
    }
    access::check(&dir.inode, ctx.caller, AccessMask::ALL)
        .map_err(|errno| refused(errno, format_args!("{} has entries", dir.ino)))?;
    let sticky = dir.inode.mode.has(Mode::STICKY);
    let mut wanted: Vec<Dirent> = Vec::new();
    for (key, value) in &page {
        let (_, entry) = decoded_entry(key, value)?;
        if entry.kind == FileType::Directory || sticky {
            wanted.push(entry);
        }
    }
    let mut below = Vec::new();
    for group in wanted.chunks(AT_ONCE) {
        let read = group.iter().map(|entry| view.child(dir.ino, entry, ReadMode::Snapshot));
        for child in all(read).await {
            let child = child?;
            if access::is_sticky_for(&dir.inode, &child.inode, ctx.caller) {
                return Err(refused(Errno::EPERM, format_args!("{} is not yours", child.ino)));
            }
            if child.inode.directory().is_some() {
                below.push(child);
            }
        }
    }
    Ok((page.len(), below))
}
