//! What is to be done about one entry of the queue. Pure.

use core::time::Duration;

use meta_schema::{Inode, InodeKind, Shrink};

use super::DeletionSettings;

#[cfg(test)]
mod tests;

/// Chunks of a file that are removed without asking which there are: a message or two to each
/// chain, where asking would be as many before.
pub(crate) const DIRECT_CHUNKS_MAX: u64 = 64;
/// Waits double with each attempt, at most this many times: 10 s become 21 minutes.
const DOUBLINGS_MAX: u32 = 7;

/// What was read for an entry.
pub(crate) struct Facts<'a> {
    /// The inode.
    pub(crate) inode: Option<&'a Inode>,
    /// A session writes it or keeps it.
    pub(crate) has_sessions: bool,
    /// A cut of it is not finished.
    pub(crate) shrink: Option<&'a Shrink>,
    /// Its length is known to the byte: no mark is on it (M4).
    pub(crate) is_exact: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is left: the entry goes.
    Gone,
    /// It has links: the entry should not be there, and goes.
    Linked,
    /// A session keeps it.
    Kept,
    /// A cut comes first: its late updates could make chunks again.
    Cut,
    /// Its record goes.
    Record,
    /// These chunks go, then its record.
    Few(u32),
    /// All chunks that its chains have go, then its record. The bytes are where they end; `None`
    /// is not known.
    Many(Option<u64>),
    /// Its entries go, then its record.
    Entries,
}

/// What to do about an entry.
pub(crate) fn judge(facts: &Facts<'_>) -> Verdict {
    let Some(inode) = facts.inode else { return Verdict::Gone };
    if inode.nlink != 0 {
        return Verdict::Linked;
    }
    if facts.has_sessions {
        return Verdict::Kept;
    }
    match &inode.kind {
        InodeKind::Directory(_) => Verdict::Entries,
        InodeKind::File(_) if facts.shrink.is_some() => Verdict::Cut,
        InodeKind::File(file) => {
            let count = file.layout.chunk_count(file.length);
            match u32::try_from(count) {
                _ if !facts.is_exact => Verdict::Many(None),
                Ok(0) => Verdict::Record,
                Ok(few) if count <= DIRECT_CHUNKS_MAX => Verdict::Few(few),
                _ => Verdict::Many(Some(file.length)),
            }
        }
        _ => Verdict::Record,
    }
}

/// How long an entry waits that cannot be done now.
pub(crate) fn wait(settings: &DeletionSettings, verdict: Verdict, attempts: u32) -> Duration {
    let base = if verdict == Verdict::Kept { settings.session_wait } else { settings.chunk_wait };
    base * (1 << attempts.min(DOUBLINGS_MAX))
}
