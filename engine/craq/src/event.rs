//! What a replica is told. Facts that time decides are the lease alone, which `step` takes beside
//! each event (R8); facts of the store come along as [`Local`], read in the same turn.

use alloc::vec::Vec;

use engine_store::tables::Known;
use engine_store::{Fence, Tag};
use engine_types::{ChainInfo, ChainVersion, ChunkId, ChunkVersion, SessionId, Timeline};

use crate::message::{Message, Refusal};
use crate::replica::Cursor;
use crate::standing::Peer;
use crate::words::{Digest, Payload, ReadId, UpdateId, Walk};

/// Room on a store, or what an update takes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of blocks.
    pub bytes: u64,
    /// Bytes of index records.
    pub records: u64,
}

/// What the store knows of a chunk and of the request that names it, at the moment of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The committed version and its digest; nothing for an absent chunk.
    pub committed: Option<(ChunkVersion, Digest)>,
    /// What is remembered of the request's channel (R14).
    pub known: Known,
    /// Whether the request's session is revoked here (L6).
    pub fenced: bool,
}

/// An update of a client, or the part of it that decides. What it does, and its bytes, are behind
/// the payload token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// To be answered.
    pub id: UpdateId,
    /// The chain version that the client knows.
    pub chain: ChainVersion,
    /// The chunk.
    pub chunk: ChunkId,
    /// Whether the chunk goes.
    pub removal: bool,
    /// Its exactly-once channel.
    pub tag: Tag,
    /// What it takes at most; zero for what frees space (R18).
    pub growth: Space,
    /// Its description and bytes.
    pub payload: Payload,
}

/// A message of another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who: as the connection has authenticated it.
    pub from: Peer,
    /// Its chain version.
    pub chain: ChainVersion,
    /// What.
    pub message: Message,
    /// What follows a `Forward`, and nothing else.
    pub payload: Option<Payload>,
    /// Of the chunk and tag of a `Forward` or the chunk of a `Query`; ignored otherwise.
    pub local: Local,
}

/// What the two sides of a resync hold of the chunks behind a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// As asked.
    pub walk: Walk,
    /// As asked: where the range begins.
    pub after: Cursor,
    /// The last chunk of the range; nothing when it has no end.
    pub upto: Option<ChunkId>,
    /// The successor's committed chunks, ascending.
    pub theirs: Vec<(ChunkId, ChunkVersion, Digest)>,
    /// The own ones, ascending, read in the turn of this event.
    pub ours: Vec<(ChunkId, ChunkVersion, Digest)>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A version of the chain arrived with the routing info.
    ChainArrived {
        /// Of the routing info.
        timeline: Timeline,
        /// The chain.
        chain: ChainInfo,
    },
    /// A connection to a peer stands. Nothing of an earlier one to it arrives from here on.
    LinkUp {
        /// The peer.
        peer: Peer,
    },
    /// The connection to a peer is gone. Payloads that were arriving over it have ended before.
    LinkDown {
        /// The peer.
        peer: Peer,
    },
    /// The lease of the installed chain version is valid, or lasts longer.
    LeaseRenewed,
    /// A client asks for an update.
    UpdateAsked {
        /// What.
        update: Update,
        /// Of its chunk and tag.
        local: Local,
    },
    /// All bytes of a payload have arrived, or its sender gave it up (R3).
    PayloadEnded {
        /// Which.
        payload: Payload,
        /// Whether it is all there.
        complete: bool,
    },
    /// The store has done what `Effect::Store` asked.
    Stored {
        /// The chunk.
        chunk: ChunkId,
        /// The version.
        version: ChunkVersion,
        /// The digest of the durable record, or why there is none.
        result: Result<Digest, Refusal>,
    },
    /// The abort that `Effect::Abort` asked for is durable.
    AbortStored {
        /// The chunk.
        chunk: ChunkId,
        /// The version.
        version: ChunkVersion,
    },
    /// Another replica says something.
    Received(Received),
    /// A client asks for bytes of a chunk.
    ReadAsked {
        /// To be answered.
        id: ReadId,
        /// The chain version that the client knows.
        chain: ChainVersion,
        /// The chunk.
        chunk: ChunkId,
    },
    /// What `Effect::Erase` asked for is durable.
    Erased {
        /// The chunk.
        chunk: ChunkId,
    },
    /// The answer to `Effect::Compare`.
    Compared(Compared),
    /// What `Effect::ShipOutcomes` asked for is durable at the successor.
    OutcomesShipped {
        /// As asked.
        walk: Walk,
    },
    /// Room on the own store.
    SpaceMeasured(Space),
    /// Time to tell the predecessor how much room there is, if that is not what it was told last
    /// (R18). The caller paces it: what acknowledgements say in between is as new.
    SpaceDue,
    /// Sessions are revoked, and the store has noted it durably (L6).
    Revoked(Fence),
    /// Every node has confirmed the revocation: what is remembered of the session may go (R16).
    Forgotten {
        /// The session.
        session: SessionId,
        /// Whether the store knows it as fenced.
        fenced: bool,
    },
}

impl Space {
    /// Nothing.
    pub const ZERO: Self = Self { bytes: 0, records: 0 };

    /// The smaller of each.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        let bytes = self.bytes.min(other.bytes);
        Self { bytes, records: self.records.min(other.records) }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { bytes, records: self.records.saturating_add(other.records) }
    }

    /// What is left of it.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_sub(other.bytes);
        Self { bytes, records: self.records.saturating_sub(other.records) }
    }

    /// Whether `part` fits into it.
    pub const fn holds(self, part: Self) -> bool {
        part.bytes <= self.bytes && part.records <= self.records
    }
}

impl Local {
    /// The committed version.
    pub fn version(&self) -> Option<ChunkVersion> {
        self.committed.map(|(version, _)| version)
    }
}

impl Default for Local {
    /// An absent chunk and a request that was never seen.
    fn default() -> Self {
        Self { committed: None, known: Known::Fresh, fenced: false }
    }
}
