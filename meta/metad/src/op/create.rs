//! Create: makes a file, or opens the one that has the name.
//!
//! open(2) with O_CREAT, in the order of fs/namei.c: search permission of the directory (EACCES); a
//! taken name: EEXIST if it is to be new, else as Open; write permission of the directory (EACCES).
//! A file that is made is open for whatever was asked, whatever its mode says.
//!
//! Conflict set: see `born`; of a taken name that of Open, with directory and slots. Written: as
//! `born`; for writing the session; of a taken name what Open writes.
//! Round trips: 1; of a taken name 1 and those of Open.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, OpenMode, op as ask};
use meta_schema::{
    Dirent, Errno, FileData, FileType, InodeKind, Layout, LayoutTemplate, TruncateEpoch,
};

use crate::ctx::Ctx;
use crate::halt::Stop;
use crate::join::both;
use crate::op::born::{Asked, born};
use crate::op::open;
use crate::op::place::{Place, place};
use crate::session;
use crate::view::View;

/// Creates or opens a file.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    asked: &ask::Create,
) -> Result<Answer, Stop> {
    let place = place(view, ctx, asked.parent, &asked.name, ReadMode::Conflict).await?;
    if let Some((_, entry)) = place.entry().filter(|_| !asked.exclusive) {
        return match asked.open {
            _ if entry.kind == FileType::Directory => Err(place.refused(Errno::EISDIR)),
            mode => existing(view, ctx, (asked.parent, entry), mode.unwrap_or_default()).await,
        };
    }
    let slot = place.vacant(ctx)?;
    let layout = layout(view, ctx, &place, asked.layout.as_ref())?;
    let modes = Asked { mode: asked.mode, umask: asked.umask };
    let made = born(view, ctx, (&place, slot), modes, file(layout))?;
    if asked.open.is_some_and(writes) {
        session::begin(view, (made.ino, ctx.session), TruncateEpoch::FIRST, None, ctx.now)?;
    }
    Ok(Answer::Opened { attr: made.attr(), created: true })
}

/// Opens the file that has the name.
async fn existing<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    (dir, entry): (InodeId, &Dirent),
    mode: OpenMode,
) -> Result<Answer, Stop> {
    let child = view.child(dir, entry, ReadMode::Conflict);
    let (found, around) = both(child, open::around(view, ctx, entry.ino, mode)).await?;
    open::opened(view, ctx, found, mode, &around)
}

const fn writes(mode: OpenMode) -> bool {
    mode.write || mode.truncate || mode.append
}

/// A file without bytes.
pub(crate) const fn file(layout: Layout) -> InodeKind {
    let truncate_epoch = TruncateEpoch::FIRST;
    InodeKind::File(FileData { length: 0, truncate_epoch, layout, allocated: None })
}

/// The layout of a file in `place`: the caller's, that of the directory, that of the file system.
pub(crate) fn layout<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    place: &Place<'_>,
    asked: Option<&LayoutTemplate>,
) -> Result<Layout, Stop> {
    let own = place.dir.inode.directory().and_then(|directory| directory.layout);
    ctx.layout(asked, &own.unwrap_or(view.superblock().root_layout))
}
