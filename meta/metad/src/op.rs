//! The operations: each is a function over one transaction, in a file of its own that says which
//! rules it follows, what conflicts with it and how many round trips it takes.

use core::pin::Pin;

use meta_kv::Transaction;
use meta_protocol::{Answer, Operation};
use meta_schema::Errno;

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::view::View;

mod blocks;
mod born;
mod create;
mod fallocate;
mod last_link;
mod layout;
mod link;
pub(crate) mod locks;
mod lookup;
pub(crate) mod merged;
mod mkdir;
pub(crate) mod open;
pub(crate) mod place;
pub(crate) mod prune;
mod readdir;
mod remove_tree;
mod rename;
mod rmdir;
mod setattr;
mod stat;
pub(crate) mod truncate;
mod unlink;
mod walk;
mod xattr;

#[cfg(test)]
pub(crate) mod tests;

/// Whether `operation` may create an inode, and has to be given a number for it (E425).
pub(crate) const fn creates(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Create(_) | Operation::Mkdir(_) | Operation::Mknod(_) | Operation::Symlink(_)
    )
}

/// Bytes of the future of one operation at most, whatever the store. It is allocated for each
/// request, and threads have 2 MiB of stack, which frames of unoptimised builds share.
const OPERATION_BYTES_MAX: usize = 4 << 10;

/// An operation in memory of its own. A frame that could begin or go on with any of them has room
/// for all: so it is made and polled elsewhere.
#[inline(never)]
fn heap<'a, F: Future + 'a>(
    make: impl FnOnce() -> F,
) -> Pin<Box<dyn Future<Output = F::Output> + 'a>> {
    const { assert!(size_of::<F>() <= OPERATION_BYTES_MAX, "an operation's future is too large") };
    Box::pin(make())
}

/// Does `operation`.
///
/// Its future is on the heap: that of the largest operation has some kilobytes, is a part of every
/// future above it, and without optimisation a frame has room for each of its parts once more.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    operation: &Operation,
) -> Result<Answer, Stop> {
    Box::pin(read(view, ctx, operation)).await
}

/// Does an operation that changes nothing.
async fn read<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    operation: &Operation,
) -> Result<Answer, Stop> {
    match operation {
        Operation::Lookup(ask) => heap(|| lookup::run(view, ctx, ask.parent, &ask.name)).await,
        Operation::Walk(ask) => {
            heap(|| walk::run(view, ctx, ask.start, &ask.path, ask.follow)).await
        }
        Operation::Stat(ask) => heap(|| stat::run(view, ask.ino)).await,
        Operation::StatBatch(ask) => heap(|| stat::many(view, &ask.inos)).await,
        Operation::Access(ask) => heap(|| stat::may(view, ctx, ask.ino, ask.wanted)).await,
        Operation::Readlink(ask) => heap(|| stat::readlink(view, ask.ino)).await,
        Operation::Readdir(ask) => heap(|| readdir::run(view, ctx, ask)).await,
        Operation::GetXattr(ask) => heap(|| xattr::get(view, ctx, ask.ino, &ask.name)).await,
        Operation::ListXattr(ask) => heap(|| xattr::list(view, ctx, ask.ino)).await,
        Operation::GetLayout(ask) => heap(|| layout::get(view, ask.ino)).await,
        Operation::GetLock(ask) => heap(|| locks::get(view, ctx, ask)).await,
        Operation::Open(ask) => heap(|| open::run(view, ctx, ask.ino, ask.mode)).await,
        changes => Box::pin(change(view, ctx, changes)).await,
    }
}

/// Does an operation that changes something.
async fn change<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    operation: &Operation,
) -> Result<Answer, Stop> {
    match operation {
        Operation::Create(ask) => heap(|| create::run(view, ctx, ask)).await,
        Operation::Mkdir(ask) => heap(|| mkdir::run(view, ctx, ask)).await,
        Operation::Mknod(ask) => heap(|| mkdir::node(view, ctx, ask)).await,
        Operation::Symlink(ask) => heap(|| mkdir::symlink(view, ctx, ask)).await,
        Operation::Link(ask) => heap(|| link::run(view, ctx, ask.ino, ask.parent, &ask.name)).await,
        Operation::Unlink(ask) => {
            heap(|| unlink::run(view, ctx, ask.parent, &ask.name, ask.hold)).await
        }
        Operation::Rmdir(ask) => heap(|| rmdir::run(view, ctx, ask.parent, &ask.name)).await,
        Operation::Rename(ask) => heap(|| rename::run(view, ctx, ask)).await,
        Operation::SetAttr(ask) => heap(|| setattr::run(view, ctx, ask.ino, &ask.change)).await,
        Operation::SetXattr(ask) => heap(|| xattr::set(view, ctx, ask)).await,
        Operation::Fallocate(ask) => heap(|| fallocate::run(view, ctx, ask)).await,
        Operation::SetLock(ask) => heap(|| locks::set(view, ctx, ask)).await,
        Operation::CancelLock(ask) => heap(|| locks::cancel(view, ctx, ask)).await,
        Operation::ReleaseLocks(ask) => heap(|| locks::release(view, ctx, ask)).await,
        Operation::SetBlocks(ask) => heap(|| blocks::run(view, ask)).await,
        Operation::RemoveTree(ask) => heap(|| remove_tree::run(view, ctx, ask)).await,
        Operation::RemoveXattr(ask) => heap(|| xattr::remove(view, ctx, ask.ino, &ask.name)).await,
        Operation::SetLayout(ask) => {
            heap(|| layout::set(view, ctx, ask.ino, ask.layout.as_ref())).await
        }
        other => {
            let why = format_args!("{} is not done in a transaction of its own", other.name());
            Err(refused(Errno::ENOSYS, why))
        }
    }
}
