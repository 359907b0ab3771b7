//! Why bytes are no entry.

use crate::address::{ChunkKey, Slot};
use crate::format::item::Kind;
use crate::record::RecordError;

/// Bytes that are no entry. Their checksum matched, so this is no torn write: the store was
/// written by something else than this release, or memory failed before the checksum was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end before the entry does, or the entry before its fields.
    #[error("kind {kind:#04x} ends after {found} bytes, {needed} are needed")]
    Truncated {
        /// Of the entry; 0 when not even its head is there.
        kind: u8,
        /// Bytes.
        needed: usize,
        /// Bytes.
        found: usize,
    },
    /// Its length is not a multiple of 4, or less than its head.
    #[error("kind {kind:#04x} has a length of {found}, expected a multiple of 4 from 4 on")]
    Length {
        /// Of the entry.
        kind: u8,
        /// Bytes.
        found: usize,
    },
    /// No entry of this release; `incompat` bits keep such stores away.
    #[error("kind {kind:#04x} is not known to this release")]
    UnknownKind {
        /// As found.
        kind: u8,
    },
    /// A known entry where it does not belong.
    #[error("{found} stands where it does not belong")]
    Misplaced {
        /// As found.
        found: Kind,
    },
    /// Flags say how the rest is read, so an unknown one is not passed over.
    #[error("{kind} has flags {found:#04x}, of which this release knows {known:#04x}")]
    UnknownFlags {
        /// Of the entry.
        kind: Kind,
        /// As found.
        found: u8,
        /// All that have a meaning.
        known: u8,
    },
    /// No chunk has this size.
    #[error("{key}: chunk size 1 << {shift}, expected 1 << 12 to 1 << 26")]
    ChunkSize {
        /// The chunk.
        key: ChunkKey,
        /// Binary logarithm of its size.
        shift: u8,
    },
    /// No block has this class.
    #[error("{key}: block class {class}, expected at most 10")]
    Class {
        /// The chunk.
        key: ChunkKey,
        /// As found.
        class: u8,
    },
    /// A record that contradicts itself.
    #[error("{key}: {why}")]
    Record {
        /// The chunk.
        key: ChunkKey,
        /// How.
        why: RecordError,
    },
    /// Direct sectors or images that do not ascend, are none, or leave the chunk.
    #[error("{key}: sectors {first}..{end} do not lie in {from}..{to}, or are none")]
    Sectors {
        /// The chunk.
        key: ChunkKey,
        /// The first one.
        first: u32,
        /// The one behind the last.
        end: u32,
        /// End of those before.
        from: u32,
        /// End of the chunk.
        to: u32,
    },
    /// More than the format allows.
    #[error("{found} {what}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// As found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A target of chain 0, which names none.
    #[error("{slot}: its target is of chain 0")]
    NoChain {
        /// The slot.
        slot: Slot,
    },
    /// No phase of a target has this number.
    #[error("{slot}: target phase {found}, expected 0 or 1")]
    Phase {
        /// The slot.
        slot: Slot,
        /// As found.
        found: u16,
    },
}
