//! What is still to be removed: the deletion queue (`DELQ`) and unfinished shrinks (`TRUN`, M2).
//!
//! ```text
//! Deletion   queued at u64, attempts u32, length u64
//! Shrink     epoch u32, new length u64, old length u64, owner u64
//! ```

use engine_types::checksum::mix64;
use engine_types::{InodeId, SessionId};

use crate::id::TruncateEpoch;
use crate::layout::Layout;
use crate::limits::DELETION_SHARDS;
use crate::time::Timestamp;
use crate::{fields, records};

/// Which queue it waits in, so that small files do not wait behind big ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeletionClass {
    /// At most one chunk on each chain of its stripe.
    Small,
    /// A larger file.
    Large,
    /// A directory with what is below it.
    Tree,
}

impl DeletionClass {
    /// All of them, in the order of numbers.
    pub const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Tree];

    /// Of a file of `length` bytes.
    pub fn of_file(layout: &Layout, length: u64) -> Self {
        if layout.chunk_count(length) <= layout.stripe.into() { Self::Small } else { Self::Large }
    }

    /// The byte in its key.
    pub const fn code(self) -> u8 {
        match self {
            Self::Small => 0,
            Self::Large => 1,
            Self::Tree => 2,
        }
    }

    /// The inverse of `code`.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Small),
            1 => Some(Self::Large),
            2 => Some(Self::Tree),
            _ => None,
        }
    }
}

/// The shard of the queue in which an inode waits.
pub const fn deletion_shard(ino: InodeId) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below 16")]
    let shard = (mix64(ino.get()) % DELETION_SHARDS as u64) as u8;
    shard
}

/// An inode without links whose chunks or entries are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When its last link went.
    pub queued_at: Timestamp,
    /// How often its removal was given up for later.
    pub attempts: u32,
    /// Bytes of the file when it was queued, for reports and rates.
    pub length: u64,
}

/// A file that was cut, and whose chunks may still be as they were (M2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// The epoch that began with it: chunks of this epoch and later are not touched (M1).
    pub epoch: TruncateEpoch,
    /// Where the file was cut.
    pub new_length: u64,
    /// Up to where there may be old bytes.
    pub old_length: u64,
    /// The session, towards storage, of the service that removes them.
    pub owner: SessionId,
}

fields! {
    Deletion { queued_at, attempts, length }
    Shrink { epoch, new_length, old_length, owner }
}

records! {
    Deletion = "deletion";
    Shrink = "unfinished shrink";
}

#[cfg(test)]
mod tests;
