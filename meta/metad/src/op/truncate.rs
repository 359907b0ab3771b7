//! Setting the length of a file: truncate(2), ftruncate(2), `O_TRUNC`.
//!
//! A cut raises the epoch and leaves a work item in the same transaction (M1, M2); the caller is
//! answered when the item is gone (`crate::shrink`). A growing length needs no work on chunks:
//! what was there was removed by the cut that made it short, and what is not there reads as zeros.
//!
//! Conflict set: inode, work item, the first session, the mark of an inexact length. Written: the
//! work item; the inode by the caller. Round trips: 1, beside the inode's.

use engine_types::InodeId;
use meta_kv::{Abort, KeyRange, ReadMode, Transaction};
use meta_schema::{Key, Shrink, key};

use crate::halt::{Halt, Stop, refused};
use crate::join::three;
use crate::loaded::Loaded;
use crate::view::View;
use crate::{length, session};

/// What a cut depends on beside the inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// A cut is not finished.
    is_unsettled: bool,
    /// No session may have written more than it told, and none has ended without telling (M4).
    is_exact: bool,
}

/// Reads them.
pub(crate) async fn facts<T: Transaction>(view: &View<'_, T>, ino: InodeId) -> Result<Facts, Stop> {
    let cut = Key::Shrink(ino);
    let mark = KeyRange::single(&key::length_query(ino));
    let reads = three(
        view.get::<Shrink>(&cut, ReadMode::Conflict),
        session::any(view, ino),
        view.entries(mark, 1, ReadMode::Conflict),
    );
    let (shrink, has_sessions, mark) = reads.await?;
    Ok(Facts { is_unsettled: shrink.is_some(), is_exact: !has_sessions && mark.is_empty() })
}

impl Facts {
    /// Nobody writes it, its length is exact, and no cut is unfinished.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_exact && !self.is_unsettled
    }

    /// Stops what has to wait for the end of a cut (E444).
    pub(crate) fn check_settled(&self, ino: InodeId) -> Result<(), Stop> {
        if self.is_unsettled { Err(Abort::Own(Halt::Unsettled(ino))) } else { Ok(()) }
    }
}

/// Sets the length of a file and nothing else of it; writes the work item, if there has to be one.
/// The inode is for the caller to write.
pub(crate) fn to<T: Transaction>(
    view: &View<'_, T>,
    file: &mut Loaded,
    size: u64,
    facts: &Facts,
) -> Result<(), Stop> {
    let shrink = resize(file, size, facts)?;
    shrink.map_or(Ok(()), |shrink| view.put(&Key::Shrink(file.ino), &shrink))
}

/// The same without writing: the work item is the caller's, too.
pub(crate) fn resize(file: &mut Loaded, size: u64, facts: &Facts) -> Result<Option<Shrink>, Stop> {
    facts.check_settled(file.ino)?;
    let resized = length::resize(&mut file.inode, size, facts.is_exact);
    resized.map_err(|errno| refused(errno, format_args!("{} to {size} bytes", file.ino)))
}
