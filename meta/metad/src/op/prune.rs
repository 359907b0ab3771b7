//! Prune: what a client's session has left when nothing of it can happen any more (L6).
//!
//! ```text
//!   managers say it is over ──> fence (SESX) ──> files it wrote, a page at a time: session ends,
//!                                    │           a mark where the length is not told (M4)
//!                                    ├──> locks, a page at a time: waiters are granted theirs
//!                                    └──> request records
//! ```
//! The fence comes first and stays: every request that changes something reads it in conflict mode
//! (E427), so nothing of the session follows what was pruned. Sessions below the lowest live one
//! are fenced by one number.
//!
//! Each transaction does nothing a second time that the first has done, so a crash, an unknown
//! result and another service that does the same change nothing.
//!
//! Invariants
//!   E455  nothing of a session is pruned before its fence is committed
//!   E456  a file loses the session of a client that did not close it together with its length:
//!         the same transaction leaves the mark

use engine_runtime::all;
use engine_types::{InodeId, SessionId};
use meta_kv::{KeyRange, ReadMode, Transaction};
use meta_schema::{Key, Timestamp, WriteSession, key};

use crate::halt::{Stop, damaged};
use crate::join::three;
use crate::op::locks;
use crate::view::{View, prefix};
use crate::{marks, session};

/// Files or locked inodes of one transaction: four reads and four writes each.
pub(crate) const PAGE: usize = 64;

/// Fences a session.
pub(crate) async fn fence<T: Transaction>(
    view: &View<'_, T>,
    session: SessionId,
) -> Result<(), Stop> {
    match is_fenced(view, session, ReadMode::Conflict).await? {
        true => Ok(()),
        false => view.put_raw(&Key::Fenced(session), &[]),
    }
}

/// Whether a session is fenced.
pub(crate) async fn is_fenced<T: Transaction>(
    view: &View<'_, T>,
    session: SessionId,
    mode: ReadMode,
) -> Result<bool, Stop> {
    let own = view.get_raw(&Key::Fenced(session), mode).await?;
    let below = view.get_raw(&Key::FencedBelow, mode).await?;
    let below = below.as_deref().and_then(key::decode_number).unwrap_or(0);
    Ok(own.is_some() || session.get() < below)
}

/// Makes one number of the fences of all sessions below `live`, the lowest that is not revoked.
pub(crate) async fn raise_floor<T: Transaction>(
    view: &View<'_, T>,
    live: SessionId,
) -> Result<(), Stop> {
    let below = view.get_raw(&Key::FencedBelow, ReadMode::Conflict).await?;
    let below = below.as_deref().and_then(key::decode_number).unwrap_or(0);
    if live.get() <= below {
        return Ok(());
    }
    let ones = KeyRange::new(key::fenced(SessionId::new(0)), key::fenced(live));
    view.put_raw(&Key::FencedBelow, &key::encode_number(live.get()))?;
    view.clear_range(ones)
}

/// Ends a page of the files that `session` writes or keeps; gives which, and true if there are
/// further ones.
pub(crate) async fn files<T: Transaction>(
    (view, transaction): (&View<'_, T>, &T),
    session: SessionId,
    now: Timestamp,
) -> Result<bool, Stop> {
    assert!(is_fenced(view, session, ReadMode::Conflict).await?, "E455: {session} is not fenced");
    let of = view.entries(prefix(&key::session_inodes(session)), PAGE, ReadMode::Conflict).await?;
    let files = of.iter().map(|(key, _)| inode_of(key)).collect::<Result<Vec<_>, Stop>>()?;
    let reads = files.iter().map(async |&ino| {
        let mark = key::length_query(ino);
        let record = Key::WriteSession { ino, session };
        three(
            view.inode(ino, ReadMode::Conflict),
            view.get::<WriteSession>(&record, ReadMode::Conflict),
            async { Ok(transaction.get(&mark, ReadMode::Conflict).await?) },
        )
        .await
    });
    let reads = all(reads).await.into_iter().collect::<Result<Vec<_>, Stop>>()?;
    for (&ino, (found, record, mark)) in files.iter().zip(reads) {
        // Without links, too: its removal has to know that there may be more chunks than it told.
        if found.is_some() && record.is_some_and(|record| !record.hidden) {
            engine_types::reached!("E456: a session ended without a close");
            transaction.set(&key::length_query(ino), &marks::stamp(mark.as_deref(), now))?;
        }
        session::end(view, ino, session)?;
    }
    Ok(of.len() == PAGE)
}

/// Gives back a page of the locks of `session`; the inodes, and true if there are further ones.
pub(crate) async fn locked<T: Transaction>(
    view: &View<'_, T>,
    session: SessionId,
) -> Result<(Vec<InodeId>, bool), Stop> {
    let range = prefix(&key::session_locks(session));
    let of = view.entries(range, PAGE, ReadMode::Snapshot).await?;
    let inodes = of.iter().map(|(key, _)| inode_of(key)).collect::<Result<Vec<_>, Stop>>()?;
    Ok((inodes, of.len() == PAGE))
}

/// Gives back the locks of `session` on one inode.
pub(crate) async fn unlock<T: Transaction>(
    view: &View<'_, T>,
    ino: InodeId,
    session: SessionId,
) -> Result<(), Stop> {
    locks::drop_session(view, ino, session).await
}

/// Drops what is left: waits for locks, and the records of requests, which nobody repeats any more.
pub(crate) fn rest<T: Transaction>(view: &View<'_, T>, session: SessionId) -> Result<(), Stop> {
    view.clear_range(prefix(&key::lock_waits(session)))?;
    view.clear_range(prefix(&key::requests(session)))
}

/// The inode at the end of a key of a session.
fn inode_of(key: &[u8]) -> Result<InodeId, Stop> {
    match Key::parse(key) {
        Ok(Key::SessionInode { ino, .. } | Key::SessionLocks { ino, .. }) => Ok(ino),
        other => Err(damaged("a session", format_args!("a key: {other:?}"))),
    }
}
