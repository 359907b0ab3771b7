//! What the journal says: one entry per decision, each a blind overwrite of what it names, so that
//! replay from any earlier moment ends in the same state (S-d of the store's design).

use alloc::rc::Rc;
use alloc::vec::Vec;

use engine_types::{ChainVersion, ChunkVersion, SessionId};

use crate::address::{ChunkKey, Slot};
use crate::record::{Record, removal_digest};
use crate::request::{Outcome, Tag, TargetRecord};

/// Sectors of one chunk, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectorRange {
    /// The first, from the start of the chunk.
    pub first: u16,
    /// How many.
    pub count: u16,
}

impl SectorRange {
    /// The sector behind the last.
    pub const fn end(self) -> u32 {
        self.first as u32 + self.count as u32
    }

    /// Whether `sector` is one of them.
    pub const fn contains(self, sector: u16) -> bool {
        self.first <= sector && (sector as u32) < self.end()
    }
}

/// A version that is pending from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The chunk.
    pub key: ChunkKey,
    /// The version.
    pub version: ChunkVersion,
    /// Chain version under which it was admitted.
    pub chain_version: ChainVersion,
    /// The whole record, or nothing for a removal.
    pub record: Option<Record>,
    /// Sectors that were written to their home blocks for this version, ascending: their older
    /// images are dead once it is committed, and recovery checks them in the last group.
    pub direct: Vec<SectorRange>,
    /// Sectors whose new content is an image in the same group, ascending.
    pub images: Vec<u16>,
    /// The request that asked for it (R15).
    pub tag: Option<Tag>,
}

impl Put {
    /// The digest of the version that it makes (R13): of its record, or of the removal.
    pub fn digest(&self) -> u64 {
        let removal = || removal_digest(self.key.chunk, self.version);
        self.record.as_ref().map_or_else(removal, |record| record.as_ref().digest(self.key.chunk))
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A version is pending.
    Put(Rc<Put>),
    /// The pending version is the committed one.
    Commit {
        /// The chunk.
        key: ChunkKey,
        /// The version.
        version: ChunkVersion,
    },
    /// The pending version is no more (R17).
    Abort {
        /// The chunk.
        key: ChunkKey,
        /// The version.
        version: ChunkVersion,
    },
    /// The committed version lies elsewhere: moved or repaired.
    Move {
        /// The chunk.
        key: ChunkKey,
        /// Its record with the new places.
        record: Rc<Record>,
        /// Sectors that were written there.
        direct: Vec<SectorRange>,
    },
    /// The chunk goes with all its versions, at once.
    Erase {
        /// The chunk.
        key: ChunkKey,
    },
    /// A slot holds this target from here on, or none.
    Target {
        /// The slot.
        slot: Slot,
        /// The target.
        record: Option<TargetRecord>,
    },
    /// A session is revoked (L6).
    Fence(Fence),
    /// The newest request of a channel, shipped by another replica (R15).
    Dedup {
        /// The target.
        slot: Slot,
        /// The request.
        tag: Tag,
        /// What it did.
        outcome: Outcome,
    },
    /// What is remembered of a fenced session is dropped (R16).
    DedupDrop {
        /// The session.
        session: SessionId,
    },
}

/// Which sessions are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// One.
    One(SessionId),
    /// All below; ids ascend.
    Below(SessionId),
}
