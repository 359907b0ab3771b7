//! What becomes of an inode, not a directory, when a name of it goes.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_schema::{FileType, InodeKind, Key, LockTable, TruncateEpoch, WriteSession};

use crate::ctx::Ctx;
use crate::halt::Stop;
use crate::join::{both, wanted};
use crate::loaded::Loaded;
use crate::op::locks;
use crate::view::View;
use crate::{deletion, session};

/// What is read beside an inode that may lose its last name.
pub(crate) struct Around {
    /// The caller's mount has it open (C5); its session's record, if it writes it, too.
    held: Option<Option<WriteSession>>,
    /// Its locks, where it would go at once.
    locks: Option<LockTable>,
}

/// Reads that of `ino`, which is a `kind`. `hold`: the caller's mount has it open.
///
/// What has no chunks goes in the transaction that takes its last name, and its locks go with it;
/// those of a file, and of what is held, go with its record. A directory goes whoever holds it.
pub(crate) async fn around<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    (ino, kind): (InodeId, FileType),
    hold: bool,
) -> Result<Around, Stop> {
    let at_once = kind.is_directory() || (!hold && kind != FileType::Regular);
    let table = Key::Locks(ino);
    let reads = both(
        wanted(hold.then(|| session::own(view, ino, ctx.session))),
        wanted(at_once.then(|| view.get::<LockTable>(&table, ReadMode::Conflict))),
    );
    let (held, locks) = reads.await?;
    Ok(Around { held, locks: locks.flatten() })
}

impl Around {
    /// The locks of what goes at once.
    pub(crate) fn locks(&self) -> Option<&LockTable> {
        self.locks.as_ref()
    }
}

/// A name of `inode` is gone. With the last one a file waits for its removal (its chunks are given
/// back in the background, and not before every session has let go of it); what has no chunks goes
/// at once, unless the caller holds it. Writes only.
pub(crate) fn taken<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    mut inode: Loaded,
    around: Around,
) -> Result<(), Stop> {
    let now = inode.stamp(ctx.now);
    assert!(0 < inode.inode.nlink, "E428: {} had a name and has no link", inode.ino);
    inode.inode.nlink -= 1;
    inode.inode.changed(now);
    if inode.inode.nlink == 0 {
        let has_chunks = matches!(inode.inode.kind, InodeKind::File(_));
        if around.held.is_none() && !has_chunks {
            view.remove_inode(inode.ino, &inode.inode)?;
            return locks::forget(view, inode.ino, around.locks.as_ref());
        }
        if let Some(own) = around.held {
            let file = inode.inode.file();
            let epoch = file.map_or(TruncateEpoch::FIRST, |file| file.truncate_epoch);
            session::hide(view, (inode.ino, ctx.session), epoch, own.as_ref(), ctx.now)?;
        }
        deletion::enqueue(view, inode.ino, &inode.inode, ctx.now)?;
    }
    view.put_inode(inode.ino, &inode.inode)
}
