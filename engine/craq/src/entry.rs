//! A version in flight: what is known of it here, above and below.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use engine_store::Tag;
use engine_types::{ChunkId, ChunkVersion};

use crate::event::Space;
use crate::message::{Refusal, Version};
use crate::planted::{Bug, is};
use crate::words::{Digest, Payload, UpdateId, Walk};

/// The own record of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// Its bytes arrive. `again` after the store had refused it once.
    Receiving { payload: Payload, again: bool },
    /// The store works at it.
    Storing,
    /// It is durable and pending.
    Durable(Digest),
    /// There is none: the store refused it, or it was given up.
    None,
}

/// What the successor was told of a version in the present dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    Nothing,
    Forward,
    Trailer,
}

/// How far the own part of an abort has come (R17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journal {
    /// The store is still making the record.
    AfterStore,
    /// The abort is not durable yet.
    UnderWay,
    /// Nothing of the version is durable here.
    Done,
}

/// A version that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) journal: Journal,
    /// Nobody behind holds it any more.
    pub(crate) below: bool,
    /// The dialogue in which the predecessor wants to be told.
    pub(crate) above: Option<Walk>,
    pub(crate) why: Refusal,
}

/// A version that wants to be in flight: from a client at the head, from the predecessor elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The predecessor's choice; the head takes the next one.
    pub(crate) version: Option<ChunkVersion>,
    pub(crate) removal: bool,
    pub(crate) tag: Option<Tag>,
    pub(crate) joined: Vec<UpdateId>,
    pub(crate) growth: Space,
    pub(crate) payload: Payload,
    /// All its bytes are there.
    pub(crate) ended: bool,
    /// The predecessor's digest, if it said one, and whether that was a trailer.
    pub(crate) expected: Option<Digest>,
    pub(crate) trailer: bool,
}

/// A version in flight, and what waits for the same chunk.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Counts versions in flight of this replica: tells one from another of the same number.
    pub(crate) serial: u64,
    pub(crate) version: ChunkVersion,
    /// What is committed here.
    pub(crate) base: Option<ChunkVersion>,
    pub(crate) removal: bool,
    pub(crate) tag: Option<Tag>,
    pub(crate) own: Own,
    /// A chunk that is shipped or erased while this replica syncs (R12).
    pub(crate) ship: bool,
    /// Clients to be answered.
    pub(crate) joined: Vec<UpdateId>,
    pub(crate) growth: Space,
    /// The predecessor named it in the present dialogue.
    pub(crate) covered: bool,
    /// It was in flight before the present chain version: a former tail may have committed it.
    pub(crate) inherited: bool,
    /// Its trailer has arrived in the present dialogue.
    pub(crate) trailer: bool,
    /// The digest it named.
    pub(crate) expected: Option<Digest>,
    pub(crate) told: Told,
    /// Somebody behind, or the own store, cannot store it.
    pub(crate) refused: Option<Refusal>,
    pub(crate) ending: Option<Ending>,
    pub(crate) queue: VecDeque<Offer>,
}

/// A pending version that a start of the store has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Which.
    pub at: Version,
    /// The committed version beside it.
    pub base: Option<ChunkVersion>,
    /// Whether the chunk goes.
    pub removal: bool,
    /// The request.
    pub tag: Option<Tag>,
    /// Its digest.
    pub digest: Digest,
}

impl Entry {
    pub(crate) fn recovered(serial: u64, found: &Recovered) -> Self {
        let Recovered { at, base, removal, tag, digest } = *found;
        let removal = removal && !is(Bug::RemovalForgotten);
        Self {
            serial,
            version: at.version,
            base,
            removal,
            tag,
            own: Own::Durable(digest),
            ship: false,
            joined: Vec::new(),
            growth: Space::ZERO,
            covered: false,
            inherited: true,
            trailer: false,
            expected: None,
            told: Told::Nothing,
            refused: None,
            ending: None,
            queue: VecDeque::new(),
        }
    }

    pub(crate) fn at(&self, chunk: ChunkId) -> Version {
        Version { chunk, version: self.version }
    }

    /// What is committed once this one is.
    pub(crate) fn result(&self) -> Option<ChunkVersion> {
        (!self.removal).then_some(self.version)
    }

    /// A new dialogue above, or a new chain version: what was said before counts no more.
    pub(crate) fn forget_above(&mut self) {
        self.covered = false;
        self.trailer = false;
        self.expected = None;
        if let Some(ending) = &mut self.ending {
            ending.above = None;
        }
    }
}

/// The version after `base`: 1 for a new chunk.
pub(crate) fn next(base: Option<ChunkVersion>) -> Option<ChunkVersion> {
    base.unwrap_or_default().next()
}
