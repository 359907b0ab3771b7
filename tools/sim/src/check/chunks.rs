//! Histories of one chunk: reads and updates of many clients, some of them with unknown outcome.
//!
//! A chunk has versions 1, 2, 3 and so on within a life; a removal takes the next version and ends
//! the life. An acknowledgement says which version the update made, a read which one it saw, so
//! that the order of what was acknowledged is given, and checking takes about as long as the
//! history is. What is searched for is which updates of unknown outcome made the versions that
//! nobody acknowledged; bytes that reads show lead the way.
//!
//! Checks
//!   T90  a version of a life is made by one update, and by one that was asked for
//!   T91  who returned before another was invoked has no higher place
//!   T92  what a read shows is what the updates up to its version make, in order
//!   T93  an update takes effect once, at the version that its acknowledgement says
//!   T94  after healing, every acknowledged update is in what is left
//!   T95  after healing, replicas are identical
//!   T100 an update of an epoch that is over has no effect (M1)

use core::fmt;
use core::ops::Range;

use super::{CheckFailure, Verdict, fail};
use crate::history::Operation;

mod content;
mod search;
#[cfg(test)]
mod tests;
mod why;

pub use content::fill;

/// T90.
pub const T90: &str = "T90 one update makes a version";
/// T91.
pub const T91: &str = "T91 places follow real time";
/// T92.
pub const T92: &str = "T92 a read shows what the updates make";
/// T93.
pub const T93: &str = "T93 an update takes effect once";
/// T94.
pub const T94: &str = "T94 no acknowledged update is lost";
/// T95.
pub const T95: &str = "T95 replicas are identical";

/// T100.
pub const T100: &str = "T100 an epoch that is over changes nothing";

/// Truncate epoch of an update (M1): a chunk has that of its last update. Updates of a lower one
/// have no effect, and neither have removals and truncations of the same one, unless it is 0.
pub type Epoch = u32;

/// Names the bytes of one write among those of all others: 64 random bits, not 0.
pub type Stamp = u64;

/// What an update does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes are written, those that [`fill`] makes of the stamp.
    Write {
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
        /// Whose.
        stamp: Stamp,
    },
    /// The length becomes `len`.
    Truncate {
        /// Bytes.
        len: u32,
    },
    /// The length becomes at least `len`.
    Extend {
        /// Bytes.
        len: u32,
    },
    /// A range becomes zeros; the length stays.
    Zero {
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
    },
    /// The chunk goes.
    Remove,
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Bytes of the chunk, as far as there are any.
    Read {
        /// First byte.
        offset: u32,
        /// Bytes at most.
        len: u32,
    },
    /// A change, of an epoch.
    Update(Change, Epoch),
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a read.
    Saw(Saw),
    /// Of an update: the version it made, and the length at it; 0 after a removal.
    Made {
        /// The version.
        version: u32,
        /// Bytes.
        len: u32,
    },
}

/// What a read saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saw {
    /// The version; 0 for an absent chunk.
    pub version: u32,
    /// Length of the chunk at that version.
    pub len: u32,
    /// Stands for the bytes: two reads of equal print from the same place show the same.
    pub print: u64,
    /// Whose bytes they seem to be. A hint: without it the search takes longer, with a wrong one
    /// it may not end in time; it never finds what is not there.
    pub shown: Vec<Shown>,
}

/// A part of a read that seems to come from one write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// Where in the chunk.
    pub range: Range<u32>,
    /// Whose.
    pub stamp: Stamp,
}

/// An operation on one chunk.
pub type ChunkOperation = Operation<Call, Answer>;

/// What a replica holds of a chunk at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Of the store; nothing for an absent chunk.
    pub digest: Option<u64>,
    /// The whole of it.
    pub saw: Saw,
}

impl Saw {
    /// What a read of the bytes from `offset` on saw.
    pub fn of(version: u32, len: u32, offset: u32, bytes: &[u8]) -> Self {
        let (print, shown) = content::seen(offset, bytes);
        Self { version, len, print, shown }
    }

    /// That there is no chunk.
    pub fn absent() -> Self {
        Self::of(0, 0, 0, &[])
    }
}

/// Checks all operations on one chunk, in the order in which they were invoked (T90 to T93).
///
/// # Errors
/// What cannot be in any order; or that the search did not end.
pub fn chunk_linearizable(operations: &[ChunkOperation]) -> Verdict {
    search::search(operations)
}

/// Checks what replicas hold of a chunk once everything has healed and nobody asks any more,
/// together with everything that was asked of it (T90 to T95).
///
/// # Errors
/// Like [`chunk_linearizable`]; two replicas that differ; or what is lost.
pub fn chunk_at_rest(operations: &[ChunkOperation], replicas: &[(String, Held)]) -> Verdict {
    let differ = replicas.windows(2).find(|pair| pair[0].1 != pair[1].1);
    if let Some([(one, a), (other, b)]) = differ {
        search::search(operations)?;
        return fail(T95, format!("{one} holds {a}, {other} holds {b}"));
    }
    let Some((name, held)) = replicas.first() else { return search::search(operations) };
    let last = search::last_read(operations, held.saw.clone());
    let all = [operations, core::slice::from_ref(&last)].concat();
    let Err(CheckFailure { what, .. }) = search::search(&all) else { return Ok(()) };
    // What was wrong before says more about why.
    search::search(operations)?;
    fail(T94, format!("{name} holds {held}, and {what}"))
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Saw { version, len, print, .. } = self.saw;
        match self.digest {
            None => f.write_str("nothing"),
            Some(digest) => {
                write!(f, "version {version} of {len} bytes {print:016x}, digest {digest:016x}")
            }
        }
    }
}
