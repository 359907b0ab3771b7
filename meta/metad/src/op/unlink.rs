//! Unlink: takes a name from anything but a directory.
//!
//! unlink(2), fs/namei.c `may_delete`: search permission, then ENOENT, then write permission of the
//! directory (EACCES), the sticky bit (EPERM), EISDIR. The caller's time is constant however large
//! the file is: what its chunks take is given back later, when no session holds it any more.
//!
//! Conflict set: inode of the directory, the eight slots, inode of the file; with `hold` the
//! caller's session on it; of a special file or link its locks. Written: the entry, the inode, sums
//! and times of the directory; of a last link the deletion queue, with `hold` the session.
//! Round trips: 2 (directory and slots; the inode).

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::Answer;
use meta_schema::access::{self, Victim};

use crate::ctx::Ctx;
use crate::halt::Stop;
use crate::join::both;
use crate::op::last_link;
use crate::op::place::place;
use crate::view::View;

/// Takes `name` from `parent`. `hold`: the caller's mount has the file open (C5).
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    parent: InodeId,
    name: &[u8],
    hold: bool,
) -> Result<Answer, Stop> {
    let place = place(view, ctx, parent, name, ReadMode::Conflict).await?;
    let (slot, entry) = place.existing()?;
    let reads = both(
        view.child(parent, entry, ReadMode::Conflict),
        last_link::around(view, ctx, (entry.ino, entry.kind), hold),
    );
    let (victim, around) = reads.await?;
    access::check_remove(&place.dir.inode, &victim.inode, ctx.caller, Victim::NoDirectory)
        .map_err(|errno| place.refused(errno))?;
    view.clear_entry(parent, *slot)?;
    view.touch(&place.dir, ctx.now, 0)?;
    last_link::taken(view, ctx, victim, around)?;
    Ok(Answer::Done)
}
