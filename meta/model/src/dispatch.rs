//! From messages to the operations of the model.

use alloc::vec::Vec;

use engine_types::InodeId;
use meta_protocol::op::{Hint, LockAsk, LockWait};
use meta_protocol::{Answer, AttrChange, OpenMode, Operation as O, TimeChange};
use meta_schema::xattr::XattrSet;
use meta_schema::{FileType, Mode};

use crate::expect::Expect;
use crate::op::attr::{Stamp, Wish};
use crate::op::file::{Opening, Told};
use crate::op::lock::{Wait, Wanted};
use crate::op::rename::Flags;
use crate::op::xattr::XattrFlags;
use crate::run::{Asked, Errors, Run};

/// Does `operation`; the run's world changes if it succeeds.
pub(crate) fn apply(run: &mut Run<'_>, operation: &O) -> Result<Expect, Errors> {
    match operation {
        O::Lookup(a) => run.lookup(a.parent.get(), &a.name),
        O::Walk(a) => run.walk(a.start.get(), &a.path, a.follow),
        O::Stat(a) => run.stat(a.ino.get()),
        O::StatBatch(a) => Ok(run.stat_batch(&a.inos)),
        O::Access(a) => run.access(a.ino.get(), a.wanted.bits().into()),
        O::Readlink(a) => run.readlink(a.ino.get()),
        O::Readdir(a) => run.readdir(a.dir.get(), a.cookie, a.limit, a.plus),
        O::Create(a) => {
            let opening = opening(a.open.unwrap_or_default());
            let at = (a.parent.get(), a.name.as_slice());
            run.create(at, asked(a.mode, a.umask), a.exclusive, opening, a.layout)
        }
        O::Open(a) => run.open(a.ino.get(), opening(a.mode)),
        O::Mkdir(a) => run.mkdir((a.parent.get(), &a.name), asked(a.mode, a.umask), a.layout),
        O::Mknod(a) => {
            let no_type = a.mode & !0o7777 == 0;
            let kind = FileType::from_mode_bits(a.mode).or(no_type.then_some(FileType::Regular));
            let asked = asked(Mode::new(a.mode), a.umask);
            run.mknod((a.parent.get(), &a.name), asked, kind, a.rdev)
        }
        O::Symlink(a) => run.symlink((a.parent.get(), &a.name), &a.target),
        O::Link(a) => run.link(a.ino.get(), (a.parent.get(), &a.name)),
        O::Unlink(a) => run.unlink(a.parent.get(), &a.name, a.hold),
        O::Rmdir(a) => run.rmdir(a.parent.get(), &a.name),
        O::Rename(a) => {
            let flags = Flags { noreplace: a.no_replace, exchange: a.exchange };
            let (from, to) = ((a.from.get(), &a.from_name[..]), (a.to.get(), &a.to_name[..]));
            run.rename(from, to, flags, a.hold)
        }
        O::RemoveTree(a) => run.remove_tree(a.parent.get(), &a.name),
        O::SetAttr(a) => run.setattr(a.ino.get(), &wish(&a.change)),
        O::GetXattr(a) => run.get_xattr(a.ino.get(), &a.name),
        O::SetXattr(a) => {
            let flags = XattrFlags {
                create: a.set == XattrSet::Create,
                replace: a.set == XattrSet::Replace,
            };
            run.set_xattr(a.ino.get(), &a.name, &a.value, flags)
        }
        O::ListXattr(a) => run.list_xattr(a.ino.get()),
        O::RemoveXattr(a) => run.remove_xattr(a.ino.get(), &a.name),
        other => apply_open(run, other),
    }
}

/// Operations on files that are open, locks and sessions.
fn apply_open(run: &mut Run<'_>, operation: &O) -> Result<Expect, Errors> {
    match operation {
        O::Fallocate(a) => run.fallocate(a.ino.get(), a.mode.get(), a.offset, a.length),
        O::Close(a) => {
            run.told(a.ino.get(), a.hint.map(told), a.atime.map(|time| time.nanos()), true)
        }
        O::Sync(a) => {
            run.told(a.ino.get(), a.hint.map(told), a.atime.map(|time| time.nanos()), false)
        }
        O::Append(a) => run.append(a.ino.get(), a.length),
        O::SetBlocks(a) => run.set_blocks(a.ino.get(), a.at_change, a.bytes),
        O::GetLayout(a) => run.get_layout(a.ino.get()),
        O::SetLayout(a) => run.set_layout(a.ino.get(), a.layout),
        O::GetLock(a) => run.get_lock(a.ino.get(), wanted(&a.lock)),
        O::SetLock(a) => {
            let wait = match a.wait {
                LockWait::No => Wait::No,
                LockWait::Queue => Wait::Queue,
                LockWait::Ticket { ticket } => Wait::Ticket(ticket),
            };
            run.set_lock(a.ino.get(), wanted(&a.lock), wait)
        }
        O::CancelLock(a) => run.cancel_lock(a.ino.get(), a.owner, a.ticket),
        O::ReleaseLocks(a) => run.release_locks(a.ino.get(), a.family, a.owner),
        O::PruneSession(a) => run.prune(a.session.get()),
        O::FinishShrink(a) => run.finish_shrink(a.ino.get()),
        // Of room the namespace knows nothing.
        _ => Ok(Expect::Space),
    }
}

/// What a lock's owner was told of an inode that is going, while it is still there: others may be
/// found to wait for each other through it.
pub(crate) fn told_of_going(run: &mut Run<'_>, operation: &O, answer: &Answer) {
    match (operation, answer) {
        (O::SetLock(a), Answer::Lock(told)) => {
            let ticket = match a.wait {
                LockWait::Ticket { ticket } => Some(ticket),
                LockWait::No | LockWait::Queue => None,
            };
            run.lock_told_of_going(a.ino.get(), wanted(&a.lock), ticket, *told);
        }
        (O::CancelLock(a), Answer::Lock(told)) => {
            run.wait_ends_of_going(a.ino.get(), a.owner, a.ticket, *told);
        }
        (O::ReleaseLocks(a), _) => run.release_of_going(a.ino.get(), a.family, a.owner),
        _ => {}
    }
}

/// Inodes that an operation names.
pub(crate) fn inodes(operation: &O) -> Vec<InodeId> {
    match operation {
        O::Lookup(a) => [a.parent].into(),
        O::Walk(a) => [a.start].into(),
        O::Stat(a) => [a.ino].into(),
        // Each by itself.
        O::StatBatch(_) | O::PruneSession(_) | O::StatFs(_) => Vec::new(),
        O::Access(a) => [a.ino].into(),
        O::Readlink(a) => [a.ino].into(),
        O::Readdir(a) => [a.dir].into(),
        O::Create(a) => [a.parent].into(),
        O::Open(a) => [a.ino].into(),
        O::Mkdir(a) => [a.parent].into(),
        O::Mknod(a) => [a.parent].into(),
        O::Symlink(a) => [a.parent].into(),
        O::Link(a) => [a.ino, a.parent].into(),
        O::Unlink(a) => [a.parent].into(),
        O::Rmdir(a) => [a.parent].into(),
        O::Rename(a) => [a.from, a.to].into(),
        O::SetAttr(a) => [a.ino].into(),
        O::Fallocate(a) => [a.ino].into(),
        O::GetXattr(a) => [a.ino].into(),
        O::SetXattr(a) => [a.ino].into(),
        O::ListXattr(a) => [a.ino].into(),
        O::RemoveXattr(a) => [a.ino].into(),
        O::GetLock(a) => [a.ino].into(),
        O::SetLock(a) => [a.ino].into(),
        O::CancelLock(a) => [a.ino].into(),
        O::ReleaseLocks(a) => [a.ino].into(),
        O::GetLayout(a) => [a.ino].into(),
        O::SetLayout(a) => [a.ino].into(),
        O::Close(a) => [a.ino].into(),
        O::Sync(a) => [a.ino].into(),
        O::Append(a) => [a.ino].into(),
        O::SetBlocks(a) => [a.ino].into(),
        O::RemoveTree(a) => [a.parent].into(),
        O::FinishShrink(a) => [a.ino].into(),
    }
}

fn asked(mode: Mode, umask: Mode) -> Asked {
    Asked { mode: mode.bits(), umask: umask.bits() }
}

const fn opening(mode: OpenMode) -> Opening {
    let OpenMode { read, write, truncate, append: _ } = mode;
    Opening { read, write, truncate }
}

fn wish(change: &AttrChange) -> Wish {
    let stamp = |time| match time {
        TimeChange::Keep => Stamp::Keep,
        TimeChange::Now => Stamp::Now,
        TimeChange::At(time) => Stamp::At(time.nanos()),
    };
    Wish {
        mode: change.mode.map(Mode::bits),
        uid: change.uid.map(|uid| uid.get()),
        gid: change.gid.map(|gid| gid.get()),
        size: change.size,
        atime: stamp(change.atime),
        mtime: stamp(change.mtime),
        open: change.by_open_handle,
    }
}

fn told(hint: Hint) -> Told {
    let Hint { truncate_epoch, end, modified, in_doubt } = hint;
    Told { epoch: truncate_epoch.get().into(), end, modified, in_doubt }
}

const fn wanted(lock: &LockAsk) -> Wanted {
    let LockAsk { family, owner, pid: _, kind, range } = *lock;
    Wanted { family, owner, kind, range }
}
