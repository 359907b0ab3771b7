//! Lookup: what a name in a directory is.
//!
//! POSIX.1-2017 4.13: search permission of the directory. Reads only.
//!
//! Round trips: 2 (directory and slots; the inode).

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::Answer;

use crate::ctx::Ctx;
use crate::halt::Stop;
use crate::op::place::place;
use crate::view::View;

/// What `name` in `parent` is.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    parent: InodeId,
    name: &[u8],
) -> Result<Answer, Stop> {
    let place = place(view, ctx, parent, name, ReadMode::Snapshot).await?;
    let (_, entry) = place.existing()?;
    let found = view.child(parent, entry, ReadMode::Snapshot).await?;
    Ok(Answer::Attr(found.attr()))
}
