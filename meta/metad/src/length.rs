//! Decisions about the length of a file: what a hint, a cut, an extension and an append make of its
//! inode. No reads and no writes happen here; [`crate::op`] does them.
//!
//! Rules M1 to M5. The length is exact as of the last close, sync, append or cut. Writers tell how
//! far they wrote (a hint) with the truncate epoch under which they did; chunks are asked only when
//! that says too little: a hint of an older epoch speaks of bytes that a cut has taken, or not
//! (M3), and a write with an unknown result has made some, or not.
//!
//! Invariants
//!   E442  the epoch of a file rises by one with every cut that takes bytes, and never wraps: the
//!         last epoch is for the removal of the whole file
//!   E443  a hint, an append and an extension only raise the length; a cut sets it and says so in
//!         its work item
//!   E444  nobody is told of an epoch, and no length is raised, while the work item of a cut is
//!         there: old bytes are gone before anything may be laid over them (M2)

use engine_types::SessionId;
use meta_protocol::op::Hint;
use meta_schema::{Caller, Errno, Inode, Shrink, Timestamp, TruncateEpoch, change};

#[cfg(test)]
mod tests;

/// Whoever is asked first executes a cut: it is nobody's before.
pub(crate) const NOBODY: SessionId = SessionId::new(0);

/// What follows from a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The inode says everything.
    All,
    /// The chunks have to be asked.
    AskChunks,
}

/// Bytes of a file were changed by `caller`: times, and privileges that go (chmod(2)).
pub(crate) fn wrote(inode: &mut Inode, caller: &Caller, now: Timestamp) {
    inode.mode = change::mode_after_write(inode, caller);
    inode.modified(now);
}

/// What a hint makes of a file.
///
/// # Errors
/// EINVAL for an epoch that the file has not come to; EFBIG.
///
/// # Panics
/// For what is no file: the caller has looked.
pub(crate) fn hint(
    inode: &mut Inode,
    hint: &Hint,
    caller: &Caller,
    now: Timestamp,
) -> Result<Told, Errno> {
    let file = inode.file_mut().expect("E443: hints are about files");
    if file.truncate_epoch < hint.truncate_epoch {
        return Err(Errno::EINVAL);
    }
    if file.layout.file_bytes_max() < hint.end {
        return Err(Errno::EFBIG);
    }
    let is_current = hint.truncate_epoch == file.truncate_epoch;
    let grows = is_current && file.length < hint.end;
    if grows {
        file.length = hint.end;
    }
    if grows || hint.modified || hint.in_doubt {
        wrote(inode, caller, now);
    }
    // Whoever wrote nothing since the cut need not be asked about.
    let silent = is_current || (hint.end == 0 && !hint.modified);
    Ok(if silent && !hint.in_doubt { Told::All } else { Told::AskChunks })
}

/// What the chunks said about a file of `epoch`; true if that changed it.
pub(crate) fn asked(inode: &mut Inode, epoch: TruncateEpoch, end: u64, now: Timestamp) -> bool {
    let Some(file) = inode.file_mut().filter(|file| file.truncate_epoch == epoch) else {
        return false;
    };
    let end = end.min(file.layout.file_bytes_max());
    if end <= file.length {
        return false;
    }
    file.length = end;
    inode.modified(now);
    true
}

/// Where an append of `bytes` goes; the range is the caller's (M5).
///
/// # Errors
/// EFBIG.
///
/// # Panics
/// For what is no file.
pub(crate) fn append(
    inode: &mut Inode,
    bytes: u64,
    caller: &Caller,
    now: Timestamp,
) -> Result<u64, Errno> {
    let file = inode.file_mut().expect("E443: appends are to files");
    let offset = file.length;
    let end = offset.checked_add(bytes).filter(|&end| end <= file.layout.file_bytes_max());
    file.length = end.ok_or(Errno::EFBIG)?;
    wrote(inode, caller, now);
    Ok(offset)
}

/// Sets the length, and nothing else. Where bytes go, the epoch rises and a work item says what has
/// to be removed: from `length` on, to the old length when that was exact, else wherever chunks
/// are.
///
/// # Errors
/// EFBIG; also when the epochs of the file have run out (2^32 - 2 cuts).
///
/// # Panics
/// For what is no file.
pub(crate) fn resize(
    inode: &mut Inode,
    length: u64,
    is_exact: bool,
) -> Result<Option<Shrink>, Errno> {
    let file = inode.file_mut().expect("E443: lengths are of files");
    if file.layout.file_bytes_max() < length {
        return Err(Errno::EFBIG);
    }
    // Writers that told nothing yet may have made chunks behind the length, so a cut to the very
    // length, or of an empty file, takes these.
    let shrink = if length < file.length || (!is_exact && length == file.length) {
        let next = file.truncate_epoch.next().filter(|next| next.get() != u32::MAX);
        let epoch = next.ok_or(Errno::EFBIG)?;
        let old_length = if is_exact { file.length } else { u64::MAX };
        file.truncate_epoch = epoch;
        Some(Shrink { epoch, new_length: length, old_length, owner: NOBODY })
    } else {
        None
    };
    file.length = length;
    Ok(shrink)
}
