//! What callers ask of a store, and why it may refuse.

use engine_types::{
    ChainId, ChainVersion, ChannelId, ChunkSize, ChunkVersion, Incarnation, Retry, SessionId,
    TargetId,
};

use crate::address::{ChunkKey, Slot, TruncateEpoch};

/// What happens to a chunk. Ranges are bytes from its start and lie inside its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes are written; a gap behind the old length becomes zeros.
    Write {
        /// First byte.
        offset: u32,
        /// Bytes, at least 1, at most `PAYLOAD_BYTES_MAX`.
        len: u32,
    },
    /// The length becomes `len`, shorter or longer.
    Truncate {
        /// Bytes.
        len: u32,
    },
    /// The length becomes at least `len`.
    Extend {
        /// Bytes.
        len: u32,
    },
    /// The range reads as zeros; the length stays. Whole checksum blocks become holes, whole
    /// blocks are freed.
    Zero {
        /// First byte.
        offset: u32,
        /// Bytes, at least 1.
        len: u32,
    },
    /// The whole content is replaced by that of another replica: extents of data, ascending, each
    /// aligned to a checksum block at its start, zeros elsewhere. Any version is accepted.
    Replace {
        /// Length of the chunk.
        len: u32,
    },
    /// The chunk goes.
    Remove,
}

/// An update of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The chunk.
    pub key: ChunkKey,
    /// The version it becomes: one above the committed one (1 for a new chunk), except `Replace`.
    pub version: ChunkVersion,
    /// Version of the chain under which it was admitted.
    pub chain_version: ChainVersion,
    /// Truncate epoch that the writer holds (M1).
    pub epoch: TruncateEpoch,
    /// Size of the file's chunks.
    pub size: ChunkSize,
    /// What happens.
    pub change: Change,
    /// The client's exactly-once channel, when a client asked.
    pub tag: Option<Tag>,
}

/// Names one request of a client for ever (R14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The client's session.
    pub session: SessionId,
    /// The channel.
    pub channel: ChannelId,
    /// Number of the request on its channel; one is in flight at a time, numbers ascend.
    pub seq: u64,
}

/// What the store remembers of the newest request of a channel (R15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Number of the request.
    pub seq: u64,
    /// The chunk it changed.
    pub key: ChunkKey,
    /// The version it made.
    pub version: ChunkVersion,
    /// Length of the chunk at that version; 0 after a removal.
    pub len: u32,
}

/// How far a target's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetPhase {
    /// In use.
    Active,
    /// Its chunks are being removed; nothing is served.
    Dropping,
}

/// A target and what it must not forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetRecord {
    /// Its name.
    pub target: TargetId,
    /// The chain it is a replica of.
    pub chain: ChainId,
    /// Highest chain version it has installed; lower ones are refused (R20).
    pub chain_version: ChainVersion,
    /// Raised at every start (R5).
    pub incarnation: Incarnation,
    /// In use or going.
    pub phase: TargetPhase,
}

/// Why an update, commit or abort was not done. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// No target has this slot, or it is being dropped.
    #[error("{slot} holds no active target")]
    NoTarget {
        /// As asked.
        slot: Slot,
    },
    /// The chain version is below the installed one.
    #[error("{key}: chain {found} is older than the installed {installed}")]
    StaleChain {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: ChainVersion,
        /// By the target's record.
        installed: ChainVersion,
    },
    /// The session was revoked (L6).
    #[error("{session} is fenced")]
    Fenced {
        /// As asked.
        session: SessionId,
    },
    /// The session has too many channels here (R14).
    #[error("{session} has {max} channels on {slot} already")]
    TooManyChannels {
        /// As asked.
        session: SessionId,
        /// The target.
        slot: Slot,
        /// The limit.
        max: u32,
    },
    /// The store's memory of requests is full.
    #[error("{max} channels are remembered, no more fit")]
    TooManySessions {
        /// The limit.
        max: u32,
    },
    /// A newer request of the channel was done; this one is an old duplicate.
    #[error("{tag:?} is older than {newest}, the newest of its channel")]
    OldRequest {
        /// As asked.
        tag: Tag,
        /// Its newest number.
        newest: u64,
    },
    /// The file was truncated since the writer learnt its epoch (M1).
    #[error("{key}: {found} is older than the chunk's {current}")]
    StaleEpoch {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: TruncateEpoch,
        /// Of the chunk.
        current: TruncateEpoch,
    },
    /// The version is not the next one.
    #[error("{key}: version {found}, expected {expected}")]
    WrongVersion {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: ChunkVersion,
        /// One above the committed version.
        expected: ChunkVersion,
    },
    /// Another version is pending, or an operation on the chunk is under way.
    #[error("{key}: {pending} is pending or under way")]
    Busy {
        /// As asked.
        key: ChunkKey,
        /// That version.
        pending: ChunkVersion,
    },
    /// Nothing of this version is pending.
    #[error("{key}: version {version} is not pending")]
    NotPending {
        /// As asked.
        key: ChunkKey,
        /// As asked.
        version: ChunkVersion,
    },
    /// The chunk has another size.
    #[error("{key}: chunk size {found}, expected {expected}")]
    SizeMismatch {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: ChunkSize,
        /// Of the chunk.
        expected: ChunkSize,
    },
    /// A range beyond the chunk, empty, or above the limit.
    #[error(
        "{key}: bytes {offset}+{len} do not lie inside a chunk of {size}, or are none, or too many"
    )]
    OutOfRange {
        /// As asked.
        key: ChunkKey,
        /// As asked.
        offset: u32,
        /// As asked.
        len: u32,
        /// Of the chunk.
        size: ChunkSize,
    },
    /// Data and checksums of the request do not belong together.
    #[error("{key}: the data of checksum block {block} does not match its checksum")]
    BadPayload {
        /// As asked.
        key: ChunkKey,
        /// The first that does not match.
        block: u32,
    },
    /// A merge met bytes that are not what was written (S16).
    #[error("{key}: checksum block {block} of version {version} is damaged")]
    Corrupt {
        /// As asked.
        key: ChunkKey,
        /// The checksum block.
        block: u32,
        /// The committed version.
        version: ChunkVersion,
    },
    /// No space for data.
    #[error("no space: {free} bytes free, {needed} needed, the rest is reserved")]
    NoSpace {
        /// Bytes of blocks that updates may take.
        free: u64,
        /// Bytes of blocks that this one needs.
        needed: u64,
    },
    /// No memory for records (S17).
    #[error("no room for records: the index holds {bytes} bytes of {max}")]
    NoRecords {
        /// Bytes in use.
        bytes: u64,
        /// The budget.
        max: u64,
    },
    /// Too many versions are neither committed nor aborted yet.
    #[error("{max} versions are pending, no more fit")]
    TooManyPending {
        /// The limit.
        max: usize,
    },
    /// Too many reads and updates are under way, and do not end.
    #[error("{max} reads and updates are under way, no more fit")]
    TooManyPlans {
        /// The limit.
        max: usize,
    },
    /// The core's buffers are smaller than what this update needs.
    #[error("{key}: no memory for its buffers")]
    OutOfMemory {
        /// As asked.
        key: ChunkKey,
    },
    /// The store has left service.
    #[error("the store is out of service")]
    OutOfService,
}

impl UpdateError {
    /// What a caller does next.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NoTarget { .. } | Self::StaleChain { .. } => Retry::RefreshRouting,
            Self::Busy { .. } => Retry::SameTarget,
            Self::NoSpace { .. } | Self::NoRecords { .. } | Self::TooManySessions { .. } => {
                Retry::AfterBackoff
            }
            Self::Corrupt { .. } | Self::OutOfService => Retry::OtherTarget,
            Self::BadPayload { .. }
            | Self::OutOfMemory { .. }
            | Self::TooManyPending { .. }
            | Self::TooManyPlans { .. } => Retry::AfterBackoff,
            Self::Fenced { .. }
            | Self::TooManyChannels { .. }
            | Self::OldRequest { .. }
            | Self::StaleEpoch { .. }
            | Self::WrongVersion { .. }
            | Self::NotPending { .. }
            | Self::SizeMismatch { .. }
            | Self::OutOfRange { .. } => Retry::Never,
        }
    }
}
