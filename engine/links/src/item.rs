//! What travels on a link, and who takes it.

use core::fmt;

use engine_craq::{Cursor, Digest, Message, Peer, Walk};
use engine_net::Segment;
use engine_runtime::{Bytes, Env};
use engine_store::address::TruncateEpoch;
use engine_store::{Change, Tag};
use engine_types::{ChainVersion, ChunkId, ChunkSize, ChunkVersion, CoreId, NodeId};

/// A shard of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// The node.
    pub node: NodeId,
    /// Its core.
    pub core: CoreId,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.core)
    }
}

/// Names a payload that travels in pieces. Chosen by the sender, never 0, and never used twice on
/// one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What an update does, as it travels beside `Forward` and `Ship`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What happens to the chunk.
    pub change: Change,
    /// Size of the file's chunks.
    pub size: ChunkSize,
    /// Truncate epoch of the writer (M1).
    pub epoch: TruncateEpoch,
    /// Offset and length of the bytes of a `Replace`, ascending; empty for all else.
    pub extents: Vec<(u32, u32)>,
}

/// What is remembered of a request (R15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeSaid {
    /// Number of the request.
    pub seq: u64,
    /// The chunk it changed.
    pub chunk: ChunkId,
    /// The version it made.
    pub version: ChunkVersion,
    /// Length of the chunk at that version.
    pub len: u32,
}

/// What is said of room for payloads (W2). The owners keep the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So much is wanted in all.
    Want,
    /// So much is given.
    Grant,
    /// So much that was given is not used.
    Back,
    /// This payload takes so much; its pieces follow.
    Begin(StreamId),
}

/// One thing that is said on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message of replication.
    Message {
        /// Who says it.
        from: Peer,
        /// To whom.
        to: Peer,
        /// The sender's chain version (R7).
        chain: ChainVersion,
        /// What.
        message: Message,
        /// Of `Forward` and `Ship`: what it does, and the stream whose pieces follow.
        payload: Option<(StreamId, Description)>,
    },
    /// The next bytes of a payload.
    Piece {
        /// Which.
        stream: StreamId,
        /// `Some(true)`: these are the last ones. `Some(false)`: it is given up (R3).
        end: Option<bool>,
    },
    /// Of room at the receiver, or for `Grant` at the sender.
    Room {
        /// The lane.
        lane: u8,
        /// What.
        said: Room,
        /// How much.
        bytes: u32,
    },
    /// Which chunks are committed behind this place? (R12)
    ListAsk {
        /// The predecessor.
        from: Peer,
        /// The syncing replica.
        to: Peer,
        /// The sender's chain version.
        chain: ChainVersion,
        /// The dialogue.
        walk: Walk,
        /// The place.
        after: Cursor,
    },
    /// Those.
    Listed {
        /// The syncing replica.
        from: Peer,
        /// The predecessor.
        to: Peer,
        /// The sender's chain version.
        chain: ChainVersion,
        /// As asked.
        walk: Walk,
        /// As asked.
        after: Cursor,
        /// The last chunk of the range; nothing when it has no end.
        upto: Option<ChunkId>,
        /// Ascending.
        entries: Vec<(ChunkId, ChunkVersion, Digest)>,
    },
    /// What is remembered of requests (R15).
    Outcomes {
        /// The predecessor.
        from: Peer,
        /// The syncing replica.
        to: Peer,
        /// The sender's chain version.
        chain: ChainVersion,
        /// The dialogue.
        walk: Walk,
        /// Nothing more follows.
        last: bool,
        /// Requests, and what came of them.
        entries: Vec<(Tag, OutcomeSaid)>,
    },
    /// All of it is durable at the sender.
    OutcomesStored {
        /// The syncing replica.
        from: Peer,
        /// The predecessor.
        to: Peer,
        /// The sender's chain version.
        chain: ChainVersion,
        /// The dialogue.
        walk: Walk,
    },
}

/// Bytes of a piece, as they are sent: what is known of their checksums goes along (W5).
pub struct Chunklet<E: Env> {
    /// The bytes, at most `PAYLOAD_BYTES_MAX`; kept until they are sent.
    pub bytes: Bytes<E::Memory>,
    /// Their place in the chunk. It does not travel: the description says where bytes belong.
    pub offset: u32,
    /// Checksum blocks are `1 << block_shift` bytes (12 to 16).
    pub block_shift: u8,
    /// Offset of the first byte within its checksum block.
    pub phase: u32,
    /// CRC32C of each (part of a) checksum block, when known; else computed while sending.
    pub crcs: Option<Vec<u32>>,
}

/// What has arrived.
pub struct Arrived<E: Env> {
    /// What is said.
    pub item: Item,
    /// The bytes of a `Piece`, in order. Their offsets count from the start of this piece.
    pub segments: Vec<Segment<E>>,
}

/// Whoever speaks and listens: the shard. Calls come one at a time and in order, never from
/// within a call of [`Links`](crate::Links) by the owner itself.
pub trait Owner<E: Env>: 'static {
    /// A link to the peer stands. Nothing of an earlier one arrives from here on.
    fn link_up(&self, peer: ShardId);

    /// The link is gone, and what arrived in part will not be continued.
    fn link_down(&self, peer: ShardId);

    /// The peer says something.
    fn arrived(&self, from: ShardId, arrived: Arrived<E>);
}
