//! Rmdir: removes an empty directory.
//!
//! rmdir(2), fs/namei.c `may_delete`: search permission, ENOENT, write permission of the parent
//! (EACCES), the sticky bit (EPERM), ENOTDIR, ENOTEMPTY. The root has no name.
//!
//! Conflict set: inode of the parent, the eight slots, inode of the directory, all its entries
//! (M8), its locks. Written: the entry, all keys of the directory, sums and times of the parent. A
//! create in the directory reads its inode in conflict mode, so that one of the two fails.
//! Round trips: 2 (parent and slots; the inode and its first entry).

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::Answer;
use meta_schema::access::{self, Victim};

use crate::ctx::Ctx;
use crate::halt::Stop;
use crate::join::three;
use crate::op::place::place;
use crate::op::{last_link, locks};
use crate::view::View;

/// Removes the directory `name` of `parent`.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    parent: InodeId,
    name: &[u8],
) -> Result<Answer, Stop> {
    let place = place(view, ctx, parent, name, ReadMode::Conflict).await?;
    let (slot, entry) = place.existing()?;
    let reads = three(
        view.child(parent, entry, ReadMode::Conflict),
        view.is_empty(entry.ino, entry.kind),
        last_link::around(view, ctx, (entry.ino, entry.kind), false),
    );
    let (victim, empty, around) = reads.await?;
    access::check_remove(&place.dir.inode, &victim.inode, ctx.caller, Victim::Directory)
        .map_err(|errno| place.refused(errno))?;
    if !empty {
        return Err(place.refused(meta_schema::Errno::ENOTEMPTY));
    }
    view.clear_entry(parent, *slot)?;
    view.touch(&place.dir, ctx.now, -1)?;
    view.remove_inode(victim.ino, &victim.inode)?;
    locks::forget(view, victim.ino, around.locks())?;
    Ok(Answer::Done)
}
