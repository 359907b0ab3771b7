//! Advisory locks of one inode: byte ranges (fcntl(2), `F_SETLK`) and whole files (flock(2)), for
//! owners in many clients.
//!
//! ```text
//! LockTable  next ticket u64, held list of Held, waiters list of Waiter
//! Held       row: family u8, owner row (session u64, owner u64), pid u32, kind u8,
//!            range row (start u64, end u64)
//! Waiter     row: ticket u64, lock row Held
//! ```
//! The two families do not see each other (flock(2), "Notes"). Within one, locks of different
//! owners conflict where they overlap and not both are for reading; an owner's own locks are
//! replaced, split and merged byte by byte (POSIX.1-2017, `fcntl`).
//!
//! Who waits gets a ticket and is granted its lock by the change that makes it possible, in the
//! order of tickets (E404): a later request that conflicts with an earlier waiter waits behind it,
//! unless it belongs to an owner whose locks that waiter waits for, which would never end. A
//! request that does not wait looks at locks that are held, and at nothing else.

mod table;

use alloc::vec::Vec;

use engine_types::SessionId;
use engine_types::fields::{DecodeError, Reader, Writer};

use crate::codec::{Field, Fields};
use crate::errno::Errno;
use crate::limits::{LOCK_WAITERS_MAX, LOCKS_MAX};
use crate::{fields, numbered, records};

pub use table::{LockOutcome, Locked, TICKET_ANY};

/// Which calls a lock belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockFamily {
    /// flock(2): always the whole file.
    Flock,
    /// fcntl(2), lockf(3): a range of bytes.
    Posix,
}

/// What a lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKind {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
}

numbered! {
    LockFamily {
        1 = Flock,
        2 = Posix,
    }
    LockKind {
        1 = Read,
        2 = Write,
    }
}

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockOwner {
    /// The client's session: all its locks go with it.
    pub session: SessionId,
    /// Within it: a process or an open file, by the kernel's number.
    pub owner: u64,
}

/// Bytes of a file, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockRange {
    start: u64,
    end: u64,
}

impl LockRange {
    /// The last byte that can be locked, and the end of "to the end of the file".
    pub const LAST: u64 = i64::MAX.cast_unsigned();
    /// All bytes.
    pub const ALL: Self = Self { start: 0, end: Self::LAST };

    /// From `start` to `end`, both included.
    ///
    /// # Errors
    /// - EINVAL: it ends before it starts
    /// - EOVERFLOW: it ends beyond 2^63 - 1
    pub const fn new(start: u64, end: u64) -> Result<Self, Errno> {
        if end < start {
            return Err(Errno::EINVAL);
        }
        if Self::LAST < end {
            return Err(Errno::EOVERFLOW);
        }
        Ok(Self { start, end })
    }

    /// The first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The last byte.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// True if there is a byte in both.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// What is left of it in front of `other` and behind.
    fn without(self, other: Self) -> [Option<Self>; 2] {
        let front = (self.start < other.start)
            .then(|| Self { start: self.start, end: self.end.min(other.start - 1) });
        let back = (other.end < self.end)
            .then(|| Self { start: self.start.max(other.end + 1), end: self.end });
        [front, back]
    }
}

/// A lock that somebody has or wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lock {
    /// Of which calls.
    pub family: LockFamily,
    /// Whose.
    pub owner: LockOwner,
    /// The process, for `F_GETLK`.
    pub pid: u32,
    /// What for.
    pub kind: LockKind,
    /// Which bytes; those of a flock are all.
    pub range: LockRange,
}

impl Lock {
    /// True if both cannot be held.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.family == other.family
            && self.owner != other.owner
            && self.range.overlaps(other.range)
            && (self.kind == LockKind::Write || other.kind == LockKind::Write)
    }
}

/// A lock that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiter {
    /// Its place: lower ones came before.
    pub ticket: u64,
    /// What it waits for.
    pub lock: Lock,
}

/// All locks of an inode. Without any it is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockTable {
    next_ticket: u64,
    held: Vec<Lock>,
    waiters: Vec<Waiter>,
}

fields! {
    LockOwner { session, owner }
    Lock { family, owner, pid, kind, range }
    Waiter { ticket, lock }
    LockTable { next_ticket, held: list(LOCKS_MAX), waiters: list(LOCK_WAITERS_MAX) }
}

impl Fields for LockRange {
    const FIELDS_BYTES_MIN: usize = 16;

    fn write_fields(&self, out: &mut Writer) {
        self.start.write(out);
        self.end.write(out);
    }

    fn read_fields(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (start, end) = (from.u64("start")?, from.u64("end")?);
        Self::new(start, end).map_err(|_| from.bad_number("end", end, "start to 2^63 - 1"))
    }
}

records! {
    LockTable = "lock table";
}

#[cfg(test)]
mod tests;
