//! Link: another name for what is no directory.
//!
//! link(2): search permission, EEXIST, write permission of the directory, EPERM for directories,
//! ENOENT when the last name is gone, EMLINK. A symbolic link is linked itself.
//!
//! Conflict set: inode of the directory, the eight slots, inode of the file. Written: the entry,
//! the inode, sums and times of the directory.
//! Round trips: 1.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::Answer;
use meta_schema::{Dirent, access};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::both;
use crate::op::place::place;
use crate::view::View;

/// Names `ino` `name` in `parent`, too.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    parent: InodeId,
    name: &[u8],
) -> Result<Answer, Stop> {
    let reads = both(
        place(view, ctx, parent, name, ReadMode::Conflict),
        view.known(ino, ReadMode::Conflict),
    );
    let (place, mut linked) = reads.await?;
    let slot = place.vacant(ctx)?;
    access::check_link(&linked.inode).map_err(|errno| refused(errno, ino))?;
    linked.inode.nlink += 1;
    linked.inode.changed(ctx.now);
    let kind = linked.inode.file_type();
    view.put_entry(parent, slot, &Dirent { ino, kind, name: name.to_vec() })?;
    view.touch(&place.dir, ctx.now, 0)?;
    view.put_inode(ino, &linked.inode)?;
    Ok(Answer::Attr(linked.attr()))
}
