//! Layouts: of a file, and what a directory gives to the files that are created in it.
//!
//! A directory's layout is set by whoever may chmod it, and counts for what is created from then
//! on, in directories that are created, too. A file's own layout is where its chunks are: it
//! changes only while no chunk can be there, that is never written, never cut, and open for
//! writing by nobody.
//!
//! Conflict set: the inode; of a file all its sessions. Written: the inode. Round trips: 1.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, LayoutTold};
use meta_schema::{Errno, InodeKind, LayoutTemplate, TruncateEpoch};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::both;
use crate::session;
use crate::view::View;

/// The layout of `ino`.
pub(crate) async fn get<T: Transaction>(view: &View<'_, T>, ino: InodeId) -> Result<Answer, Stop> {
    let found = view.known(ino, ReadMode::Snapshot).await?;
    Ok(Answer::Layout(told(view, &found.inode.kind).ok_or_else(|| no_layout(ino))?))
}

/// Sets the layout of `ino`; none is that of the file system.
pub(crate) async fn set<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    wanted: Option<&LayoutTemplate>,
) -> Result<Answer, Stop> {
    if let Some(wanted) = wanted {
        ctx.check_template(wanted)?;
    }
    let reads = both(view.known(ino, ReadMode::Conflict), session::any(view, ino));
    let (mut found, written) = reads.await?;
    if !ctx.caller.owns(&found.inode) {
        return Err(refused(Errno::EPERM, format_args!("{ino}: its layout is for its owner")));
    }
    match &mut found.inode.kind {
        InodeKind::Directory(directory) => directory.layout = wanted.copied(),
        InodeKind::File(file) => {
            let fresh = file.length == 0 && file.truncate_epoch == TruncateEpoch::FIRST;
            if written || !fresh {
                let why = format_args!("{ino}: a file that was written keeps its layout");
                return Err(refused(Errno::EBUSY, why));
            }
            file.layout = ctx.layout(wanted, &view.superblock().root_layout)?;
        }
        _ => return Err(no_layout(ino)),
    }
    let now = found.stamp(ctx.now);
    found.inode.changed(now);
    view.put_inode(ino, &found.inode)?;
    Ok(Answer::Layout(told(view, &found.inode.kind).ok_or_else(|| no_layout(ino))?))
}

fn told<T: Transaction>(view: &View<'_, T>, kind: &InodeKind) -> Option<LayoutTold> {
    match kind {
        InodeKind::File(file) => Some(LayoutTold::File(file.layout)),
        InodeKind::Directory(directory) => {
            let template = directory.layout.unwrap_or(view.superblock().root_layout);
            Some(LayoutTold::Directory(template))
        }
        _ => None,
    }
}

fn no_layout(ino: InodeId) -> Stop {
    refused(Errno::EINVAL, format_args!("{ino} is neither a file nor a directory"))
}
