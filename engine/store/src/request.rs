//! What callers ask of a store, and why it may refuse.

use engine_types::{
    ChainId, ChainVersion, ChannelId, ChunkSize, ChunkVersion, Incarnation, Retry, SessionId,
    TargetId, Timeline,
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
    /// Timeline of the routing info that named it last, if it is known: where the chain has gone on
    /// in the same one without it, it was removed (R20).
    pub named: Option<Timeline>,
    /// In use or going.
    pub phase: TargetPhase,
}

/// Why an update, commit or abort was not done. Nothing has changed, but see `OutOfService`.
///
/// Only `OutOfService` says that the store has failed ([`Self::is_failure`]). What the others say
/// of the replica is with each: most of them would be the answer of every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// No target has this slot, or it is being dropped. The store is well; this replica is none.
    #[error("{slot} holds no active target")]
    NoTarget {
        /// As asked.
        slot: Slot,
    },
    /// The chain version is below the installed one. The store is well; who asked is late.
    #[error("{key}: chain {found} is older than the installed {installed}")]
    StaleChain {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: ChainVersion,
        /// By the target's record.
        installed: ChainVersion,
    },
    /// The session was revoked (L6). The store is well; other replicas learn of it too.
    #[error("{session} is fenced")]
    Fenced {
        /// As asked.
        session: SessionId,
    },
    /// The session has too many channels here (R14). The store is well; a client that keeps to its
    /// limit is not refused.
    #[error("{session} has {max} channels on {slot} already")]
    TooManyChannels {
        /// As asked.
        session: SessionId,
        /// The target.
        slot: Slot,
        /// The limit.
        max: u32,
    },
    /// The store's memory of requests is full, until sessions are dropped. The store is well; other
    /// replicas, with other targets beside this one, may have room.
    #[error("{max} channels are remembered, no more fit")]
    TooManySessions {
        /// The limit.
        max: u32,
    },
    /// A newer request of the channel was done; this one is an old duplicate. The store is well.
    #[error("{tag:?} is older than {newest}, the newest of its channel")]
    OldRequest {
        /// As asked.
        tag: Tag,
        /// Its newest number.
        newest: u64,
    },
    /// The file was truncated since the writer learnt its epoch (M1). The store is well, and every
    /// replica with this content says the same.
    #[error("{key}: {found} is older than the chunk's {current}")]
    StaleEpoch {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: TruncateEpoch,
        /// Of the chunk.
        current: TruncateEpoch,
    },
    /// The version is not the next one. The store is well; a replica that is told so of what its
    /// predecessor has admitted lacks a version.
    #[error("{key}: version {found}, expected {expected}")]
    WrongVersion {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: ChunkVersion,
        /// One above the committed version.
        expected: ChunkVersion,
    },
    /// Another version is pending, or an operation on the chunk is under way. The store is well,
    /// and the chunk is free again when those have ended.
    #[error("{key}: {pending} is pending or under way")]
    Busy {
        /// As asked.
        key: ChunkKey,
        /// That version.
        pending: ChunkVersion,
    },
    /// Nothing of this version is pending, or it is not durable yet. The store is well; the caller
    /// has lost count.
    #[error("{key}: version {version} is not pending")]
    NotPending {
        /// As asked.
        key: ChunkKey,
        /// As asked.
        version: ChunkVersion,
    },
    /// The chunk has another size. The store is well, and every replica with this content says
    /// the same.
    #[error("{key}: chunk size {found}, expected {expected}")]
    SizeMismatch {
        /// As asked.
        key: ChunkKey,
        /// In the request.
        found: ChunkSize,
        /// Of the chunk.
        expected: ChunkSize,
    },
    /// A range beyond the chunk, empty, or above the limit. The store is well, and every replica
    /// says the same.
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
    /// Data and checksums of the request do not belong together: they were damaged on their way.
    /// The store is well.
    #[error("{key}: the data of checksum block {block} does not match its checksum")]
    BadPayload {
        /// As asked.
        key: ChunkKey,
        /// The first that does not match.
        block: u32,
    },
    /// A merge met bytes that are not what was written, or cannot be read (S16). The store serves
    /// on, but this chunk of it is lost: it has to be replaced from another replica. A comparison
    /// of digests does not show that, as they are those of the record.
    #[error("{key}: checksum block {block} of version {version} is damaged")]
    Corrupt {
        /// As asked.
        key: ChunkKey,
        /// The checksum block.
        block: u32,
        /// The committed version.
        version: ChunkVersion,
    },
    /// No space for data. The store is well, but full: other replicas may have room.
    #[error("no space: {free} bytes free, {needed} needed, the rest is reserved")]
    NoSpace {
        /// Bytes of blocks that updates may take.
        free: u64,
        /// Bytes of blocks that this one needs.
        needed: u64,
    },
    /// No memory for records (S17). The store is well, but full: other replicas may have room.
    #[error("no room for records: the index holds {bytes} bytes of {max}")]
    NoRecords {
        /// Bytes in use.
        bytes: u64,
        /// The budget.
        max: u64,
    },
    /// Too many versions are neither committed nor aborted yet. The store is well; their chains are
    /// slow.
    #[error("{max} versions are pending, no more fit")]
    TooManyPending {
        /// The limit.
        max: usize,
    },
    /// Too many reads and updates are under way, and do not end. The store has not failed, but its
    /// device hangs, or somebody keeps what he began.
    #[error("{max} reads and updates are under way, no more fit")]
    TooManyPlans {
        /// The limit.
        max: usize,
    },
    /// The core's buffers are smaller than what this update needs. The store is well.
    #[error("{key}: no memory for its buffers")]
    OutOfMemory {
        /// As asked.
        key: ChunkKey,
    },
    /// The store has left service: a write or flush failed, or it was closed or opened for reading
    /// alone. It takes no update any more. Whether what was under way is durable is unknown.
    #[error("the store is out of service")]
    OutOfService,
}

impl UpdateError {
    /// Whether the store has failed, or serves no updates by its caller's will: the replica's part
    /// in its chain is over.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::OutOfService)
    }

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
