//! What can go wrong with a transaction, and what its owner does then.

use crate::key::Shown;

/// Why a read or a commit did not succeed. The numbers in brackets are FoundationDB's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// Something that was read has been written since (1020). Nothing was committed.
    #[error("conflict: what the transaction read was written since")]
    Conflict,
    /// The read version is older than what is remembered (1007). Nothing was committed.
    #[error("transaction too old: its read version is no longer kept")]
    TooOld,
    /// The commit may or may not have happened, or happen soon (1021).
    #[error("the result of the commit is unknown: {reason}")]
    UnknownResult {
        /// What was lost: connection, answer, time.
        reason: String,
    },
    /// The transaction's own time limit has passed (1031); a commit under way is unknown.
    #[error("the transaction took longer than its limit of {limit_ms} ms")]
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// The store cannot be reached or has failed; nothing was committed.
    #[error("the key-value store is unavailable: {reason}")]
    Unavailable {
        /// What is wrong.
        reason: String,
    },
    /// Too many commits or reads wait; nothing was done.
    #[error("the key-value store is overloaded: {reason}")]
    Overloaded {
        /// Which limit.
        reason: String,
    },
    /// Larger than a transaction may be (2101).
    #[error("the transaction has {found} bytes, at most {limit}")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A key is too long (2102).
    #[error("a key has {found} bytes, at most {limit}")]
    KeyTooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A value is too long (2103).
    #[error("a value has {found} bytes, at most {limit}")]
    ValueTooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A key that belongs to the store itself (2004).
    #[error("key {key} is outside the legal range")]
    OutsideLegalRange {
        /// The key.
        key: Shown,
    },
    /// A range whose end is before its begin (2005).
    #[error("inverted range: begins at {begin}, ends at {end}")]
    InvertedRange {
        /// Its begin.
        begin: Shown,
        /// Its end.
        end: Shown,
    },
    /// What the transaction itself wrote is known only after its commit: a key or value with a
    /// versionstamp (1036).
    #[error("key {key} cannot be read: it depends on the versionstamp of this transaction")]
    Unreadable {
        /// The key.
        key: Shown,
    },
    /// A versionstamp does not fit where it was asked for (2000).
    #[error("a versionstamp of 10 bytes at offset {offset} does not fit into {length} bytes")]
    StampPosition {
        /// The offset asked for.
        offset: usize,
        /// Bytes of the key or value.
        length: usize,
    },
    /// A read conflict range over what the transaction has written: it has to be added before.
    #[error("a read conflict range was added after the transaction had written {key} in it")]
    ConflictAfterWrite {
        /// The key, or the begin of a cleared range.
        key: Shown,
    },
    /// A fault of the backend that is none of the above.
    #[error("the key-value store failed: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
}

/// What the owner of a transaction does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvRetry {
    /// Run the whole transaction again, after a pause: nothing was committed.
    Again,
    /// It may have been committed. Only a transaction that recognises itself (M9, M11) runs again.
    IfIdempotent,
    /// It will fail again.
    Never,
}

impl KvError {
    /// What the owner does; loops are written against this.
    pub fn retry(&self) -> KvRetry {
        match self {
            Self::Conflict | Self::TooOld | Self::Unavailable { .. } | Self::Overloaded { .. } => {
                KvRetry::Again
            }
            Self::UnknownResult { .. } => KvRetry::IfIdempotent,
            Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::KeyTooLong { .. }
            | Self::ValueTooLong { .. }
            | Self::OutsideLegalRange { .. }
            | Self::InvertedRange { .. }
            | Self::Unreadable { .. }
            | Self::StampPosition { .. }
            | Self::ConflictAfterWrite { .. }
            | Self::Failed { .. } => KvRetry::Never,
        }
    }
}
