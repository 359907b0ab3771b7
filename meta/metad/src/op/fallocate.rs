//! Fallocate: makes sure of a range, makes a hole, makes zeros.
//!
//! fallocate(2); `meta_schema::fallocate::plan` says what each mode means. Collapsing, inserting
//! and unsharing are EOPNOTSUPP.
//!
//! The client makes the zeros, not this service: they are an update of chunks like any other, under
//! the client's session, window, channels and epoch, ordered with its own writes; a service that
//! made them would need all of that for each caller, and a range of terabytes would keep it from
//! everybody else. So the client first zeroes the part of the range below the length which it
//! knows, then sends this, and zeroes what the plan names beyond that. A cut waits for no hole: an
//! update of an older epoch is refused by the store, and the client opens the file again.
//!
//! Space is not reserved: chunks are written beside old ones, so a reservation would promise what
//! the next overwrite takes (as on every file system that copies on write). A store that is full is
//! told of by the write.
//!
//! Conflict set: inode, the caller's session, work item of a cut. Written: the inode.
//! Round trips: 1.

use meta_kv::{ReadMode, Transaction};
use meta_protocol::{Answer, op as ask};
use meta_schema::{Errno, FileType, fallocate};

use crate::ctx::Ctx;
use crate::halt::{Stop, refused};
use crate::join::three;
use crate::op::truncate;
use crate::view::View;
use crate::{length, session};

/// Changes length and times as the mode says, and tells what is to be done to chunks.
pub(crate) async fn run<T: Transaction>(
    view: &View<'_, T>,
    ctx: &Ctx<'_>,
    asked: &ask::Fallocate,
) -> Result<Answer, Stop> {
    let ino = asked.ino;
    let reads = three(
        view.known(ino, ReadMode::Conflict),
        session::own(view, ino, ctx.session),
        truncate::facts(view, ino),
    );
    let (mut found, own, facts) = reads.await?;
    let Some(file) = found.inode.file().copied() else {
        let directory = found.inode.file_type() == FileType::Directory;
        let errno = if directory { Errno::EISDIR } else { Errno::ENODEV };
        return Err(refused(errno, format_args!("{ino} is no file")));
    };
    if own.is_none() {
        let why = format_args!("{} has not opened {ino} for writing", ctx.session);
        return Err(refused(Errno::EBADF, why));
    }
    facts.check_settled(ino)?;
    let plan = fallocate::plan(asked.mode, asked.offset, asked.length, &file.layout, file.length);
    let plan = plan.map_err(|errno| refused(errno, format_args!("{asked:?}")))?;
    let now = found.stamp(ctx.now);
    if let Some(file) = found.inode.file_mut() {
        file.length = plan.length;
    }
    length::wrote(&mut found.inode, ctx.caller, now);
    view.put_inode(ino, &found.inode)?;
    Ok(Answer::Fallocated { attr: found.attr(), plan })
}
