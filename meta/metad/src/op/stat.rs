//! Stat, stat of many, access, readlink: what an inode is.
//!
//! stat(2) asks for no permission of the inode itself; access(2) judges the ids of the caller as
//! they come. Reads only, of snapshots: what is answered was true at one moment.
//!
//! Round trips: 1; many: 1 for each 64.

use engine_types::InodeId;
use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, Attr};
use meta_schema::{AccessMask, Errno, InodeKind, access};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::loaded::Loaded;
use crate::view::View;

/// Inodes that are read at the same time: each is looked at whenever one of them arrives.
const AT_ONCE: usize = 64;

/// Attributes of `ino`.
pub(crate) async fn run<T: Transaction>(view: &View<'_, T>, ino: InodeId) -> Result<Answer, Stop> {
    Ok(Answer::Attr(view.known(ino, ReadMode::Snapshot).await?.attr()))
}

/// Attributes of each of `inos`, all at one moment; none for those that are gone.
pub(crate) async fn many<T: Transaction>(
    view: &View<'_, T>,
    inos: &[InodeId],
) -> Result<Answer, Stop> {
    let loaded = load_all(view, inos).await?;
    let attrs: Vec<Option<Attr>> =
        loaded.iter().map(|one| one.as_ref().map(Loaded::attr)).collect();
    Ok(Answer::Attrs(attrs))
}

/// All of `inos`, some of them at the same time.
pub(crate) async fn load_all<T: Transaction>(
    view: &View<'_, T>,
    inos: &[InodeId],
) -> Result<Vec<Option<Loaded>>, Stop> {
    let mut loaded = Vec::with_capacity(inos.len());
    for some in inos.chunks(AT_ONCE) {
        let reads = some.iter().map(|&ino| view.inode(ino, ReadMode::Snapshot));
        for read in engine_runtime::all(reads).await {
            loaded.push(read?);
        }
    }
    Ok(loaded)
}

/// Whether the caller may do all of `wanted` to `ino`.
pub(crate) async fn may<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    ino: InodeId,
    wanted: AccessMask,
) -> Result<Answer, Stop> {
    let found = view.known(ino, ReadMode::Snapshot).await?;
    access::check(&found.inode, ctx.caller, wanted).map_err(|errno| refused(errno, ino))?;
    Ok(Answer::Done)
}

/// Where a symbolic link leads.
pub(crate) async fn readlink<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
) -> Result<Answer, Stop> {
    match view.known(ino, ReadMode::Snapshot).await?.inode.kind {
        InodeKind::Symlink(link) => Ok(Answer::Target(link.target)),
        _ => Err(refused(Errno::EINVAL, format_args!("{ino} is no symbolic link"))),
    }
}
