//! Why bytes are no group, or not the one that was looked for.

use engine_types::{Crc32c, Incarnation, StoreId};

use crate::address::Lsn;
use crate::format::error::FormatError;

/// Why bytes are not the group that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// No group was ever written here, or its header is torn.
    #[error("no group header")]
    NoHeader,
    /// A group of another store.
    #[error("a group of store {found}, expected {expected}")]
    OtherStore {
        /// As found.
        found: StoreId,
        /// As asked.
        expected: StoreId,
    },
    /// Written with another salt: before this store was formatted, or by somebody else.
    #[error("a group with hash {found:#018x}, expected {expected:#018x} by the salt of this store")]
    OtherSalt {
        /// In the header.
        found: u64,
        /// By its content.
        expected: u64,
    },
    /// An older group, of an earlier lap of the ring, or a ghost.
    #[error("group {found}, expected {expected}")]
    OtherLsn {
        /// As found.
        found: Lsn,
        /// As asked.
        expected: Lsn,
    },
    /// A ghost of an earlier opening.
    #[error("a group of {found}, expected {min} or later")]
    OtherGeneration {
        /// As found.
        found: Incarnation,
        /// As asked.
        min: Incarnation,
    },
    /// A ghost: it follows another group than the last one.
    #[error("a group behind {found:#018x}, expected {expected:#018x}")]
    OtherChain {
        /// As found.
        found: u64,
        /// As asked.
        expected: u64,
    },
    /// The header is the expected one; more bytes are needed to judge the body.
    #[error("{found} bytes of a group of {needed}")]
    Short {
        /// Bytes of the group.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// The header is the expected one, the body is not what was written with it.
    #[error("torn: body checksum {found}, expected {expected}")]
    Torn {
        /// Of the bytes.
        found: Crc32c,
        /// By the header.
        expected: Crc32c,
    },
    /// The bytes are what was written, and cannot be read.
    #[error("entry {index}: {why}")]
    Entry {
        /// Which entry, from 0.
        index: u32,
        /// Why.
        why: FormatError,
    },
    /// The entries take another number of bytes than the header says.
    #[error("entries take {found} bytes, expected {expected}")]
    EntryBytes {
        /// As decoded.
        found: usize,
        /// By the header.
        expected: u32,
    },
    /// The PUTs name another number of images than the header.
    #[error("PUTs name {found} images, expected {expected}")]
    ImageCount {
        /// As decoded.
        found: usize,
        /// By the header.
        expected: u32,
    },
}

impl GroupError {
    /// Whether the expected group begins here but did not reach the device whole.
    pub const fn is_torn(&self) -> bool {
        matches!(self, Self::Torn { .. })
    }

    /// Whether the bytes are as written and cannot be read: neither a torn write nor another
    /// group, but a store that this release must not touch.
    pub const fn is_unreadable(&self) -> bool {
        matches!(self, Self::Entry { .. } | Self::EntryBytes { .. } | Self::ImageCount { .. })
    }
}
