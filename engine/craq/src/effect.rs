//! What a replica wants done, in order and before the next event.

use engine_store::Tag;
use engine_types::{ChainVersion, ChunkId, ChunkVersion, SessionId, Timeline};

use crate::message::{Message, Refusal, Version};
use crate::replica::Cursor;
use crate::standing::Peer;
use crate::words::{Digest, Payload, ReadId, UpdateId, Walk};

/// Where the bytes of a `Forward` come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The message has none.
    Nothing,
    /// They pass through while they arrive: what has arrived, then the rest, then its terminator.
    /// A payload that is discarded or given up ends `aborted` here too (R3).
    Payload(Payload),
    /// The committed version of the store, as a whole; its blocks are pinned in this turn. If it
    /// cannot be read, the link is cut.
    Committed,
    /// The durable pending version of the store, as a whole. The receiver may cut it short.
    Store,
}

/// Why a replica leaves its chain. It serves nothing from then on; the manager is to be told that
/// it is offline, and it returns by resync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The predecessor has another content of this version: it wins (R6, R13).
    Diverged {
        /// Of which.
        at: Version,
        /// The own digest.
        own: Digest,
        /// The predecessor's.
        theirs: Digest,
    },
    /// The predecessor is at a version that does not follow on the committed one.
    Missing {
        /// What it forwarded.
        at: Version,
        /// What is committed here.
        committed: Option<ChunkVersion>,
    },
    /// A neighbour broke the protocol.
    PeerBroke {
        /// At which version.
        at: Version,
    },
    /// The store failed.
    StoreFailed {
        /// At which version.
        at: Version,
    },
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Note the chain version with the target, durably (R20), and give up the leases of older
    /// ones. The manager may be told once both are done.
    Install {
        /// Of the routing info.
        timeline: Timeline,
        /// The version.
        version: ChainVersion,
    },
    /// Ask for routing info with at least this version of the chain.
    FetchRouting {
        /// The version.
        version: ChainVersion,
    },
    /// Make a version durable and pending; `Event::Stored` follows.
    Store {
        /// Which.
        at: Version,
        /// The chain version it belongs to.
        chain: ChainVersion,
        /// The request (R15).
        tag: Option<Tag>,
        /// Whether it replaces the chunk, whatever version is committed (R12).
        replace: bool,
        /// Its description and bytes, all there.
        payload: Payload,
    },
    /// Make the durable pending version the committed one, at once.
    Commit(Version),
    /// Journal the end of the durable pending version, in memory at once; `Event::AbortStored`
    /// follows when it is durable.
    Abort(Version),
    /// The payload is of no use: what arrives of it is thrown away.
    Discard(Payload),
    /// Tell another replica. Without a link it is dropped: `Event::LinkUp` makes up for it.
    Send {
        /// Whom.
        to: Peer,
        /// The own chain version.
        chain: ChainVersion,
        /// What.
        message: Message,
        /// Bytes that follow.
        source: Source,
    },
    /// Answer an update: the version it made, or why not.
    AnswerUpdate {
        /// Which.
        id: UpdateId,
        /// What came of it.
        result: Result<ChunkVersion, Refusal>,
    },
    /// Answer a read from the version that is committed now; its blocks are pinned in this turn.
    Serve(ReadId),
    /// Refuse a read.
    RefuseRead {
        /// Which.
        id: ReadId,
        /// Why.
        why: Refusal,
    },
    /// Remove a chunk with all its versions; `Event::Erased` follows when that is durable.
    Erase(ChunkId),
    /// Ask the syncing successor for its committed chunks of the range behind a place, and bring
    /// them together with the own ones: `Event::Compared`.
    Compare {
        /// Whom.
        to: Peer,
        /// The dialogue.
        walk: Walk,
        /// Where the range begins; its end is the owner's choice.
        after: Cursor,
    },
    /// Send the syncing successor all that is remembered of requests (R15);
    /// `Event::OutcomesShipped` follows when that is durable there.
    ShipOutcomes {
        /// Whom.
        to: Peer,
        /// The dialogue.
        walk: Walk,
    },
    /// Tell the manager that this syncing replica holds everything, in this chain version (R11).
    UpToDate {
        /// The chain version.
        version: ChainVersion,
    },
    /// Drop what is remembered of a fenced session (R16).
    DropSession(SessionId),
    /// Stop serving and tell the manager.
    Leave(Left),
}
