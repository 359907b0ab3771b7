//! Open: permission to read or write a file, and a session for whoever writes.
//!
//! open(2), fs/namei.c `may_open`: ELOOP, EISDIR, ENXIO, EACCES, in this order. `O_TRUNC` needs
//! permission to write, and changes times even of an empty file. Opening for reading alone writes
//! nothing; a file without links is opened by whoever keeps it, others get ESTALE.
//!
//! Whoever may write is told the truncate epoch, so an open for writing waits for the end of a cut
//! (E444).
//!
//! Conflict set: for writing the inode, the caller's session, the work item of a cut; with
//! `O_TRUNC` the first session and the mark of an inexact length. Written: the session; with
//! `O_TRUNC` inode and work item.
//! Round trips: 1.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, OpenMode};
use meta_schema::{WriteSession, access};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::{both, wanted};
use crate::loaded::Loaded;
use crate::op::truncate::{self, Facts};
use crate::view::View;
use crate::{length, session};

/// What an open depends on beside the inode.
pub(crate) struct Around {
    own: Option<WriteSession>,
    facts: Option<Facts>,
}

/// Whether it leaves a session.
const fn writes(mode: OpenMode) -> bool {
    mode.write || mode.truncate || mode.append
}

/// Opens `ino`.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    mode: OpenMode,
) -> Result<Answer, Stop> {
    let read = if writes(mode) { ReadMode::Conflict } else { ReadMode::Snapshot };
    let (found, around) = both(view.known(ino, read), around(view, ctx, ino, mode)).await?;
    opened(view, ctx, found, mode, &around)
}

/// Reads what an open of `ino` depends on beside the inode.
pub(crate) async fn around<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    mode: OpenMode,
) -> Result<Around, Stop> {
    let own = session::own(view, ino, ctx.session);
    let facts = wanted(writes(mode).then(|| truncate::facts(view, ino)));
    let (own, facts) = both(own, facts).await?;
    Ok(Around { own, facts })
}

/// Opens what was read. Writes only.
pub(crate) fn opened<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    mut found: Loaded,
    mode: OpenMode,
    around: &Around,
) -> Result<Answer, Stop> {
    let ino = found.ino;
    access::check_open(&found.inode, ctx.caller, mode).map_err(|errno| refused(errno, ino))?;
    session::check_kept(ino, &found.inode, around.own.as_ref())?;
    let Some(file) = found.inode.file().copied() else {
        return Ok(Answer::Opened { attr: found.attr(), created: false });
    };
    if let Some(facts) = &around.facts {
        facts.check_settled(ino)?;
        if mode.truncate {
            let now = found.stamp(ctx.now);
            truncate::to(view, &mut found, 0, facts)?;
            length::wrote(&mut found.inode, ctx.caller, now);
            view.put_inode(ino, &found.inode)?;
        }
        let epoch = found.inode.file().map_or(file.truncate_epoch, |file| file.truncate_epoch);
        session::begin(view, (ino, ctx.session), epoch, around.own.as_ref(), ctx.now)?;
    }
    Ok(Answer::Opened { attr: found.attr(), created: false })
}
