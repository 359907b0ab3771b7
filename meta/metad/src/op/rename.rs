//! Rename: moves a name, over another one if there is one, or exchanges two.
//!
//! rename(2), POSIX.1-2017 rename(), in the order of fs/namei.c: ENOENT; NOREPLACE and a taken
//! name: EEXIST; a directory below itself: EINVAL; two names of one inode: nothing, success; then
//! write permission (EACCES) and sticky bit (EPERM) of both directories, ENOTDIR, EISDIR, write
//! permission of a directory that gets another parent (its ".." changes), ENOTEMPTY.
//!
//! Conflict set: inodes of both directories, the slots of both names, inodes of what moves and of
//! what is replaced, all entries of a replaced directory (M8); if a directory gets another parent,
//! the parents from there to the root (M7), both ways for an exchange; with `hold` the caller's
//! session on what is replaced, of a special file or link its locks. Written: both entries, the
//! inodes of what moves and what is replaced, sums and times of both directories, the parent of a
//! directory only if it changes. Two renames that together would make a loop read what the other
//! writes, so one of them fails (E429).
//! Round trips: 2 (directories and slots; inodes); for a directory that gets another parent
//! 1 + the depth of where it goes, if that is more.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, op as ask};
use meta_schema::access::{self, Renamed};
use meta_schema::{Dirent, Errno, FileType, INODE_ROOT, Slot};

use crate::ctx::Ctx;
use crate::halt::{Stop, damaged, refused};
use crate::join::{both, three, wanted};
use crate::loaded::Loaded;
use crate::op::last_link::{self, Around};
use crate::op::locks;
use crate::op::place::{Place, place};
use crate::view::View;

/// Directories above each other that the loop check goes up: far beyond what paths of 4,095 bytes
/// reach, and some hundred milliseconds of reads.
const DEPTH_MAX: usize = 4096;

/// Everything that is read.
struct Seen<'a> {
    from: Place<'a>,
    to: Place<'a>,
    moved: Loaded,
    replaced: Option<Loaded>,
    /// Whether what is replaced has no entries.
    empty: bool,
    /// What goes with what is replaced; nothing in an exchange.
    around: Option<Around>,
    exchange: bool,
}

/// Moves a name.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ask: &ask::Rename,
) -> Result<Answer, Stop> {
    let ask::Rename { no_replace, exchange, hold, .. } = *ask;
    if no_replace && exchange {
        return Err(refused(Errno::EINVAL, "NOREPLACE and EXCHANGE"));
    }
    let places = both(
        place(view, ctx, ask.from, &ask.from_name, ReadMode::Conflict),
        place(view, ctx, ask.to, &ask.to_name, ReadMode::Conflict),
    );
    let (from, to) = places.await?;
    let (_, source) = from.existing()?;
    let target = to.entry().map(|(_, target)| target);
    match target {
        Some(_) if no_replace => return Err(to.refused(Errno::EEXIST)),
        None if exchange => return Err(to.refused(Errno::ENOENT)),
        Some(target) if target.ino == source.ino => return Ok(Answer::Done),
        _ => {}
    }
    let gone = target.filter(|_| !exchange);
    let reads = three(
        both(
            view.child(from.dir.ino, source, ReadMode::Conflict),
            wanted(target.map(|target| view.child(to.dir.ino, target, ReadMode::Conflict))),
        ),
        both(
            wanted(gone.map(|target| view.is_empty(target.ino, target.kind))),
            wanted(
                gone.map(|target| last_link::around(view, ctx, (target.ino, target.kind), hold)),
            ),
        ),
        check_loops(view, &from, &to, exchange),
    );
    let ((moved, replaced), (empty, around), ()) = reads.await?;
    let empty = empty.unwrap_or(true);
    let seen = Seen { from, to, moved, replaced, empty, around, exchange };
    seen.check(ctx)?;
    seen.write(view, ctx)?;
    Ok(Answer::Done)
}

/// Refuses to move a directory below itself (M7). Directories that stay where they are need no
/// check.
async fn check_loops<T: Transaction>(
    view: &View<'_, T>,
    from: &Place<'_>,
    to: &Place<'_>,
    exchange: bool,
) -> Result<(), Stop> {
    if from.dir.ino == to.dir.ino {
        return Ok(());
    }
    let directory = |place: &Place<'_>| {
        let entry = place.entry().map(|(_, entry)| entry);
        entry.filter(|entry| entry.kind.is_directory()).map(|entry| entry.ino)
    };
    let down = directory(from).map(|moved| check_not_above(view, moved, to));
    let up = directory(to).filter(|_| exchange).map(|moved| check_not_above(view, moved, from));
    both(wanted(down), wanted(up)).await.map(drop)
}

/// Refuses if `moved` is the directory of `place`, or one above it.
async fn check_not_above<T: Transaction>(
    view: &View<'_, T>,
    moved: InodeId,
    place: &Place<'_>,
) -> Result<(), Stop> {
    let mut dir = place.dir.ino;
    for _ in 0..DEPTH_MAX {
        if dir == moved {
            let why = format_args!("{place:?}: it is below {moved}, which would move there");
            return Err(refused(Errno::EINVAL, why));
        }
        if dir == INODE_ROOT {
            return Ok(());
        }
        let above = view.parent(dir, ReadMode::Conflict).await?;
        dir = above.ok_or_else(|| damaged(dir, "a directory without a parent"))?;
    }
    let why = format_args!("{place:?} is more than {DEPTH_MAX} directories deep");
    Err(refused(Errno::ELOOP, why))
}

impl Seen<'_> {
    fn check(&self, ctx: &Ctx<'_>) -> Result<(), Stop> {
        let renamed = Renamed {
            from: &self.from.dir.inode,
            moved: &self.moved.inode,
            to: &self.to.dir.inode,
            replaced: self.replaced.as_ref().map(|replaced| &replaced.inode),
            same_directory: self.same_directory(),
            exchange: self.exchange,
        };
        let checked = access::check_rename(&renamed, ctx.caller);
        checked
            .map_err(|errno| refused(errno, format_args!("{:?} to {:?}", self.from, self.to)))?;
        if !self.empty {
            return Err(self.to.refused(Errno::ENOTEMPTY));
        }
        Ok(())
    }

    fn same_directory(&self) -> bool {
        self.from.dir.ino == self.to.dir.ino
    }

    fn write<T: Transaction>(self, view: &View<'_, T>, ctx: &Ctx<'_>) -> Result<(), Stop> {
        let same = self.same_directory();
        let Self { from, to, moved, replaced, around, exchange, .. } = self;
        let (from_slot, _) = from.existing()?;
        let to_slot = match to.entry() {
            Some((slot, _)) => *slot,
            None => to.free()?,
        };
        let links = |inode: &Loaded| i64::from(inode.inode.directory().is_some());
        let (comes, goes) = (links(&moved), replaced.as_ref().map_or(0, links));
        if exchange {
            touch_both(view, ctx, (&from, goes - comes), (&to, comes - goes))?;
        } else {
            touch_both(view, ctx, (&from, -comes), (&to, comes - goes))?;
            view.clear_entry(from.dir.ino, *from_slot)?;
        }
        enter(view, ctx, &to, to_slot, moved, !same)?;
        match (replaced, around) {
            (Some(other), None) => enter(view, ctx, &from, *from_slot, other, !same),
            (Some(gone), Some(around)) if gone.inode.file_type() == FileType::Directory => {
                view.remove_inode(gone.ino, &gone.inode)?;
                locks::forget(view, gone.ino, around.locks())
            }
            (Some(gone), Some(around)) => last_link::taken(view, ctx, gone, around),
            (None, _) => Ok(()),
        }
    }
}

/// Both directories changed, or the one that they are.
fn touch_both<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    (from, from_links): (&Place<'_>, i64),
    (to, to_links): (&Place<'_>, i64),
) -> Result<(), Stop> {
    if from.dir.ino == to.dir.ino {
        return view.touch(&to.dir, ctx.now, from_links + to_links);
    }
    view.touch(&from.dir, ctx.now, from_links)?;
    view.touch(&to.dir, ctx.now, to_links)
}

/// Puts what has moved into its slot, whatever is there. Its ctime is marked, as Linux does.
fn enter<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    place: &Place<'_>,
    slot: Slot,
    mut moved: Loaded,
    other_parent: bool,
) -> Result<(), Stop> {
    let (ino, kind) = (moved.ino, moved.inode.file_type());
    view.put_entry(place.dir.ino, slot, &Dirent { ino, kind, name: place.name.to_vec() })?;
    if other_parent && kind.is_directory() {
        view.put_parent(ino, place.dir.ino)?;
    }
    let now = moved.stamp(ctx.now);
    moved.inode.changed(now);
    view.put_inode(ino, &moved.inode)
}
