//! What becomes of an inode, not a directory, when a name of it goes.

use engine_types::InodeId;
use meta_kv::Transaction;
use meta_schema::{InodeKind, TruncateEpoch, WriteSession};

use crate::ctx::Ctx;
use crate::halt::Stop;
use crate::loaded::Loaded;
use crate::view::View;
use crate::{deletion, session};

/// The caller's mount has the inode open (C5); its session's record, if it writes it, too.
pub(crate) struct Held(Option<WriteSession>);

/// Reads the record of a caller that holds `ino`.
pub(crate) async fn held<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
) -> Result<Held, Stop> {
    session::own(view, ino, ctx.session).await.map(Held)
}

/// A name of `inode` is gone. With the last one a file waits for its removal (its chunks are given
/// back in the background, and not before every session has let go of it); what has no chunks goes
/// at once, unless the caller holds it. Writes only.
pub(crate) fn taken<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    mut inode: Loaded,
    held: Option<Held>,
) -> Result<(), Stop> {
    let now = inode.stamp(ctx.now);
    assert!(0 < inode.inode.nlink, "E428: {} had a name and has no link", inode.ino);
    inode.inode.nlink -= 1;
    inode.inode.changed(now);
    if inode.inode.nlink == 0 {
        let has_chunks = matches!(inode.inode.kind, InodeKind::File(_));
        if held.is_none() && !has_chunks {
            return view.remove_inode(inode.ino, &inode.inode);
        }
        if let Some(Held(own)) = held {
            let file = inode.inode.file();
            let epoch = file.map_or(TruncateEpoch::FIRST, |file| file.truncate_epoch);
            session::hide(view, (inode.ino, ctx.session), epoch, own.as_ref(), ctx.now)?;
        }
        deletion::enqueue(view, inode.ino, &inode.inode, ctx.now)?;
    }
    view.put_inode(inode.ino, &inode.inode)
}
