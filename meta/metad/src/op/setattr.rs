//! SetAttr: chmod, chown, utimens, and with a size truncate.
//!
//! chmod(2), chown(2), utimensat(2), truncate(2); the rules are `change::check` and
//! `change::apply`. Of a directory the time epoch rises with its mtime, so that later events win
//! over a time in the future, and earlier ones do not come back (M6).
//!
//! Conflict set: the inode (not its side keys); with a size that of `truncate`. Written: the inode.
//! Round trips: 1.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::Answer;
use meta_schema::change::{self, AttrChange};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::{both, wanted};
use crate::op::truncate;
use crate::view::View;

/// Changes attributes of `ino`.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    change: &AttrChange,
) -> Result<Answer, Stop> {
    let facts = wanted(change.size.map(|_| truncate::facts(view, ino)));
    let (mut found, facts) = both(view.known(ino, ReadMode::Conflict), facts).await?;
    change::check(&found.inode, ctx.caller, change).map_err(|errno| refused(errno, ino))?;
    if change.is_empty() {
        return Ok(Answer::Attr(found.attr()));
    }
    let now = found.stamp(ctx.now);
    change::apply(&mut found.inode, ctx.caller, change, found.times, now)
        .map_err(|errno| refused(errno, ino))?;
    if let (Some(size), Some(facts)) = (change.size, &facts) {
        truncate::to(view, &mut found, size, facts)?;
    }
    view.put_inode(ino, &found.inode)?;
    Ok(Answer::Attr(found.attr()))
}
