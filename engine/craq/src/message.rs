//! What replicas of a chain tell each other. Messages of one link arrive in order or not at all;
//! each travels with its sender, the sender's start and its chain version (R7).
//!
//! Down the chain: `Hello`, `Forward` with its payload, `Stored`, `Abort`, `Walked`.
//! Up the chain: `Ask`, `Ready`, `Ack`, `Refused`, `Aborted`. To and from the tail: `Query`,
//! `Answer`. To whoever is behind: `Retry`.

use engine_store::Tag;
use engine_types::{ChunkId, ChunkVersion, Retry, Status};

use crate::event::Space;
use crate::words::{Digest, QueryId, Walk};

/// A version of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: ChunkVersion,
}

/// Why an update was not done, or a read not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The chain version differs, or this replica has another place than the sender believes. An
    /// update that was under way may still be done (R17).
    StaleChain,
    /// No valid lease (R8).
    NotLeased,
    /// The session is revoked (L6).
    Fenced,
    /// The channel has done a newer request, or has one under way.
    OldRequest,
    /// The session has too many channels here (R14).
    TooManyChannels,
    /// A table is full, or the channel has an older request under way; nothing was done.
    Busy,
    /// No room, here or further down (R18).
    NoSpace,
    /// The sender of the payload gave it up; nothing was done (R3).
    StreamEnded,
    /// The store refuses the update for what it asks (epoch, size, range, checksum).
    Invalid(Status),
    /// The store failed: this replica leaves its chain.
    StoreFailed,
}

/// What one replica tells another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The predecessor begins a dialogue.
    Hello {
        /// Its number.
        walk: Walk,
    },
    /// A version to be stored.
    Forward {
        /// The dialogue.
        walk: Walk,
        /// Which.
        at: Version,
        /// Whether the chunk goes.
        removal: bool,
        /// The request that asked for it (R15).
        tag: Option<Tag>,
        /// Of the sender's durable record: it repeats what the receiver may have. None while the
        /// bytes pass through the sender.
        digest: Option<Digest>,
    },
    /// The sender and all before it hold the version durably (R1).
    Stored {
        /// The dialogue.
        walk: Walk,
        /// Which.
        at: Version,
        /// Of the sender's record.
        digest: Digest,
    },
    /// The version is given up (R17).
    Abort {
        /// The dialogue.
        walk: Walk,
        /// Which.
        at: Version,
    },
    /// Everything in flight at the sender was named in this dialogue, or will be sent again from
    /// its beginning: whatever else the receiver holds is given up.
    Walked {
        /// The dialogue.
        walk: Walk,
    },
    /// The successor has installed the chain version and waits for a `Hello`.
    Ask,
    /// The successor is ready for the dialogue.
    Ready {
        /// Its number.
        walk: Walk,
        /// Least room from it on.
        space: Space,
    },
    /// The version is committed at the sender and all behind it.
    Ack {
        /// The dialogue.
        walk: Walk,
        /// Which.
        at: Version,
        /// Least room from it on (R18).
        space: Space,
    },
    /// Room has changed without an update that would tell it (R18).
    Room {
        /// The dialogue.
        walk: Walk,
        /// Least room from the sender on.
        space: Space,
    },
    /// The version cannot be stored; an abort is wanted.
    Refused {
        /// The dialogue.
        walk: Walk,
        /// Which.
        at: Version,
        /// Why.
        why: Refusal,
    },
    /// The sender and all behind it hold nothing of the version any more.
    Aborted {
        /// The dialogue.
        walk: Walk,
        /// Which.
        at: Version,
    },
    /// The receiver's chain version is behind the one that this travels with.
    Retry,
    /// A chunk as it is committed at the sender; it replaces what the syncing receiver has (R12).
    Ship {
        /// The dialogue.
        walk: Walk,
        /// Which.
        at: Version,
    },
    /// The sender holds no such chunk; the syncing receiver removes it.
    Erase {
        /// The dialogue.
        walk: Walk,
        /// Which.
        chunk: ChunkId,
    },
    /// What `Ship` or `Erase` asked for is durable.
    Shipped {
        /// The dialogue.
        walk: Walk,
        /// Which.
        chunk: ChunkId,
    },
    /// The syncing receiver holds everything; from here on it is asked for every commit (R11).
    SyncDone {
        /// The dialogue.
        walk: Walk,
    },
    /// Which version is committed at the tail? (R9)
    Query {
        /// To be answered.
        query: QueryId,
        /// The chunk.
        chunk: ChunkId,
    },
    /// That one.
    Answer {
        /// The question.
        query: QueryId,
        /// The committed version, none for an absent chunk; no answer without a lease.
        committed: Option<Option<ChunkVersion>>,
    },
}

impl Refusal {
    /// The code that a client is answered.
    pub const fn status(self) -> Status {
        match self {
            Self::StaleChain => Status::StaleChain,
            Self::NotLeased => Status::NotLeased,
            Self::Fenced => Status::Fenced,
            Self::OldRequest => Status::OldRequest,
            Self::TooManyChannels | Self::Busy => Status::Busy,
            Self::NoSpace => Status::NoSpace,
            Self::StreamEnded => Status::Aborted,
            Self::Invalid(status) => status,
            Self::StoreFailed => Status::Internal,
        }
    }

    /// What the client does next.
    pub const fn retry(self) -> Retry {
        self.status().retry()
    }
}
