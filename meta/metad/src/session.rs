//! Which client sessions have a file open for writing, or keep one whose last link went.
//!
//! ```text
//!   SESS ino session   WriteSession      from the file's side: deletion and cuts ask here
//!   SESI session ino   (nothing)         the same from the session's side: pruning walks here
//! ```
//! There is one record per file and client session: how many descriptors a client has is its own
//! business, it tells of the first and the last. A read-only open leaves none. A client that
//! removes the last link of a file which it has open, in whatever mode, leaves a hidden one (C5).
//!
//! Invariants
//!   E446  both keys of a session are written and cleared together
//!   E447  a file without links is removed when no session of it is left, and no session begins on
//!         it but of a client that has one already

use engine_types::{InodeId, SessionId};
use meta_kv::{KeyRange, ReadMode, Transaction};
use meta_schema::{Errno, Inode, Key, Timestamp, TruncateEpoch, WriteSession, key};

use crate::halt::{Stop, refused};
use crate::view::View;

fn of(ino: InodeId, session: SessionId) -> (Key, Key) {
    (Key::WriteSession { ino, session }, Key::SessionInode { session, ino })
}

/// The record of a session, with conflict.
pub(crate) async fn own<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    session: SessionId,
) -> Result<Option<WriteSession>, Stop> {
    view.get(&of(ino, session).0, ReadMode::Conflict).await
}

/// Whether any session has a record of the file: then its length may be longer than what is known.
/// One that begins or ends conflicts.
pub(crate) async fn any<T: Transaction>(view: &View<'_, T>, ino: InodeId) -> Result<bool, Stop> {
    let range = all_of(ino);
    Ok(!view.entries(range, 1, ReadMode::Conflict).await?.is_empty())
}

/// Keys of all sessions of a file.
pub(crate) fn all_of(ino: InodeId) -> KeyRange {
    KeyRange::prefix(&key::write_sessions(ino)).expect("keys begin with letters")
}

/// Refuses a file without links to whoever does not keep it (E447).
pub(crate) fn check_kept(
    ino: InodeId,
    inode: &Inode,
    own: Option<&WriteSession>,
) -> Result<(), Stop> {
    if inode.nlink == 0 && own.is_none() {
        return Err(refused(Errno::ESTALE, format_args!("{ino} has no name any more")));
    }
    Ok(())
}

/// Begins a write session. One that is there stays as it began; a hidden one becomes one that
/// writes.
pub(crate) fn begin<T: Transaction>(
    view: &View<'_, T>,
    (ino, session): (InodeId, SessionId),
    epoch: TruncateEpoch,
    own: Option<&WriteSession>,
    now: Timestamp,
) -> Result<(), Stop> {
    if own.is_some_and(|own| !own.hidden) {
        return Ok(());
    }
    put(
        view,
        (ino, session),
        &WriteSession { truncate_epoch: epoch, opened_at: now, hidden: false },
    )
}

/// Keeps an inode whose last link goes now (C5). A session that writes it keeps it anyway.
pub(crate) fn hide<T: Transaction>(
    view: &View<'_, T>,
    (ino, session): (InodeId, SessionId),
    epoch: TruncateEpoch,
    own: Option<&WriteSession>,
    now: Timestamp,
) -> Result<(), Stop> {
    if own.is_some() {
        return Ok(());
    }
    put(view, (ino, session), &WriteSession { truncate_epoch: epoch, opened_at: now, hidden: true })
}

fn put<T: Transaction>(
    view: &View<'_, T>,
    (ino, session): (InodeId, SessionId),
    record: &WriteSession,
) -> Result<(), Stop> {
    let (file, side) = of(ino, session);
    view.put(&file, record)?;
    view.put_raw(&side, &[])
}

/// Ends a session (E446).
pub(crate) fn end<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    session: SessionId,
) -> Result<(), Stop> {
    let (file, side) = of(ino, session);
    view.clear(&file)?;
    view.clear(&side)
}
