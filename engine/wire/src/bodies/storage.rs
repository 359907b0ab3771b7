//! Bodies of the storage role: what clients ask of a shard, and what shards tell each other.
//!
//! Items of a batch are answered one by one, in order, in one message. Bytes travel as payload,
//! those of one item behind those of the item before. A replica says in every answer which version
//! of the chain it has installed, so that a client learns at once that its routing info is old.

use alloc::vec::Vec;

use super::{Archive, Body, Deserialize, Kind, Serialize};

/// What a read wants: bytes.
pub const READ_BYTES: u8 = 0;
/// What a read wants: version and length alone.
pub const READ_HEAD: u8 = 1;
/// What a read wants: which parts of a range are data; pairs of u32, offset and length, as payload.
pub const READ_MAP: u8 = 2;

/// One read of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReadItem {
    /// The replica.
    pub target: u64,
    /// The file.
    pub inode: u64,
    /// Version of the chain that the client knows.
    pub chain_version: u32,
    /// The chunk of the file.
    pub index: u32,
    /// First byte.
    pub offset: u32,
    /// Bytes at most.
    pub len: u32,
    /// `READ_BYTES`, `READ_HEAD` or `READ_MAP`.
    pub what: u8,
    /// 0.
    pub reserved: [u8; 7],
}

/// Reads of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageReadRequest {
    /// Most reads of one request are one.
    pub items: Vec<ReadItem>,
}

/// What came of one read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// Committed version that was read; 0 for an absent chunk.
    pub version: u32,
    /// Length of the chunk at that version.
    pub chunk_len: u32,
    /// Bytes of payload.
    pub bytes: u32,
    /// The chain version installed here.
    pub chain_version: u32,
    /// A status.
    pub status: u16,
    /// 0.
    pub reserved: [u8; 6],
}

/// Answers reads, in order. Payload: what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageReadReply {
    /// One per item.
    pub items: Vec<ReadAnswer>,
}

/// What an update does: bytes are written.
pub const UPDATE_WRITE: u8 = 1;
/// What an update does: the length becomes `len`.
pub const UPDATE_TRUNCATE: u8 = 2;
/// What an update does: the length becomes at least `len`.
pub const UPDATE_EXTEND: u8 = 3;
/// What an update does: a range becomes zeros.
pub const UPDATE_ZERO: u8 = 4;
/// What an update does: the chunk goes.
pub const UPDATE_REMOVE: u8 = 5;
/// What an update does: bytes of another chunk of the same chain are written; `offset` and `len`
/// name them there, and `to_offset` their place here.
pub const UPDATE_COPY: u8 = 6;
/// Between replicas only: the whole content is replaced; `len` is its length, and `extents` say
/// where its bytes lie.
pub const UPDATE_REPLACE: u8 = 7;

/// One update of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct UpdateItem {
    /// The head of the chain.
    pub target: u64,
    /// The file.
    pub inode: u64,
    /// The client's session.
    pub session: u64,
    /// Number of the request on its channel.
    pub seq: u64,
    /// File that is copied from.
    pub from_inode: u64,
    /// The channel.
    pub channel: u32,
    /// Version of the chain that the client knows.
    pub chain_version: u32,
    /// The chunk of the file.
    pub index: u32,
    /// First byte.
    pub offset: u32,
    /// Bytes, or the length.
    pub len: u32,
    /// Truncate epoch that the client holds (M1).
    pub epoch: u32,
    /// Bytes of payload.
    pub bytes: u32,
    /// Chunk that is copied from.
    pub from_index: u32,
    /// Where copied bytes go.
    pub to_offset: u32,
    /// One of `UPDATE_*`.
    pub change: u8,
    /// Binary logarithm of the size of the file's chunks.
    pub size_shift: u8,
    /// 0.
    pub reserved: [u8; 2],
}

/// Updates of chains that one shard is head of. Payload: what is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageUpdateRequest {
    /// They are done in any order, and each as a whole or not at all.
    pub items: Vec<UpdateItem>,
}

/// What came of one update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct UpdateAnswer {
    /// The version that it made.
    pub version: u32,
    /// Length of the chunk at it.
    pub chunk_len: u32,
    /// The chain version installed here.
    pub chain_version: u32,
    /// A status.
    pub status: u16,
    /// 0.
    pub reserved: u16,
}

/// Answers updates, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageUpdateReply {
    /// One per item.
    pub items: Vec<UpdateAnswer>,
}

/// Asks the tail what it holds of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageQueryRequest {
    /// The tail of the chain.
    pub target: u64,
    /// The file.
    pub inode: u64,
    /// Version of the chain that the client knows.
    pub chain_version: u32,
    /// First chunk of the range.
    pub first: u32,
    /// The chunk behind the range.
    pub end: u32,
    /// 1: list the chunks, too; u32 index, version, length, allocated bytes each, as payload.
    /// 2: list chunks of any files behind chunk `first` of `inode`, in the order of inodes and
    /// indices; u64 inode, u32 index, length each, as payload. None is the end.
    pub list: u32,
}

/// What is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageQueryReply {
    /// Chunks.
    pub chunks: u64,
    /// Sum of their lengths.
    pub bytes: u64,
    /// Bytes of the blocks they hold.
    pub allocated: u64,
    /// The last chunk; it counts if there are any.
    pub last_index: u32,
    /// Its length.
    pub last_len: u32,
    /// The chain version installed here.
    pub chain_version: u32,
    /// Where the list goes on; 0 if it is whole.
    pub resume: u32,
    /// A status.
    pub status: u16,
    /// 0.
    pub reserved: [u8; 6],
}

/// Asks a node where its shards listen, and what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageShardsRequest {
    /// 0.
    pub reserved: u64,
}

/// A shard of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ShardAt {
    /// Its core.
    pub core: u16,
    /// Where it listens, at the address of the node.
    pub port: u16,
}

/// All shards of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageShardsReply {
    /// Ascending by core.
    pub shards: Vec<ShardAt>,
}

/// Asks a shard how much room its stores have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageSpaceRequest {
    /// 0.
    pub reserved: u64,
}

/// Room of one store. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StoreSpace {
    /// The store.
    pub store: u128,
    /// Of the data area.
    pub total: u64,
    /// Of blocks that hold data.
    pub live: u64,
    /// That updates may still take.
    pub free: u64,
    /// Of index memory in use.
    pub index: u64,
    /// The index budget.
    pub index_max: u64,
    /// Chunks, not bytes.
    pub chunks: u64,
    /// Targets, not bytes.
    pub targets: u32,
    /// 1: out of service.
    pub failed: u8,
    /// 1: it has lost something and was not made whole since.
    pub damaged: u8,
    /// 0.
    pub reserved: [u8; 2],
    /// Requests that are remembered, so that a repeated one is not done again (R14).
    pub remembered: u32,
    /// Most of them; beyond, new clients are refused until sessions have ended (R16).
    pub remembered_max: u32,
}

/// Room of all stores of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageSpaceReply {
    /// Ascending by store.
    pub stores: Vec<StoreSpace>,
}

/// Asks a shard what its targets are and do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageTargetsRequest {
    /// Targets behind this one; 0 for the first.
    pub after: u64,
}

/// One target. Counts are since its shard has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its store.
    pub store: u128,
    /// The target.
    pub target: u64,
    /// The start of its store.
    pub incarnation: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Updates of clients that were done.
    pub updates: u64,
    /// Reads and updates that were refused.
    pub refused: u64,
    /// Chunks that were shipped to a replica that catches up, and removed there.
    pub shipped_chunks: u64,
    /// Bytes of them.
    pub shipped_bytes: u64,
    /// Chunks that this replica was shipped, and had to remove.
    pub received_chunks: u64,
    /// Its chain.
    pub chain: u32,
    /// The chain version it goes by.
    pub chain_version: u32,
    /// Versions in flight.
    pub in_flight: u32,
    /// Public state by that version: 1 serving, 2 syncing, 3 waiting, 4 last serving, 5 offline.
    pub state: u8,
    /// 1: its lease is valid.
    pub leased: u8,
    /// 1: it holds everything, 2: it may miss something, 3: it cannot be used.
    pub local: u8,
    /// 1: it catches up and waits for room for remembered requests, until sessions have ended.
    pub waits: u8,
}

/// Targets of a shard, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageTargetsReply {
    /// At most 1,000.
    pub targets: Vec<TargetStatus>,
    /// More are behind the last one.
    pub more: u8,
}

/// A shard opens a link to another one, or opens it anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageLinkRequest {
    /// Names this link at the sender; never used twice by a shard.
    pub generation: u128,
    /// The sender's node.
    pub node: u32,
    /// The sender's core.
    pub core: u16,
    /// 0.
    pub reserved: [u8; 10],
}

/// The receiver's name of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageLinkReply {
    /// Names this link at the receiver; 0 if it is not opened.
    pub generation: u128,
}

/// Asks a shard what it has verified and repaired; an operator begins a pass with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageScrubRequest {
    /// The store; 0 for all stores of the shard.
    pub store: u128,
    /// 1: a pass begins now, from the first chunk on; one that is under way begins anew.
    pub begin: u8,
    /// 0.
    pub reserved: [u8; 15],
}

/// What was verified and repaired of one store since its shard started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StoreScrub {
    /// The store.
    pub store: u128,
    /// Bytes that were verified.
    pub bytes: u64,
    /// Chunks, over all passes.
    pub chunks: u64,
    /// Passes that reached the last chunk.
    pub passes: u64,
    /// Checksum blocks that were found damaged by a pass.
    pub damaged: u64,
    /// Repairs from another replica that were done, whoever found the damage.
    pub repaired: u64,
    /// Repairs that were not.
    pub failed: u64,
    /// Chunks of the pass that is under way; 0 between two passes.
    pub under_way: u64,
    /// 1: a pass is under way, or was begun by this request.
    pub running: u8,
    /// 0.
    pub reserved: [u8; 7],
}

/// What was verified and repaired of the stores that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageScrubReply {
    /// Ascending by store.
    pub stores: Vec<StoreScrub>,
}

/// One message of one replica to another. `code` says which fields mean something; the others
/// are 0. `engine-storaged` lists them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RelayMessage {
    /// Who says it.
    pub from: u64,
    /// In which start.
    pub from_incarnation: u64,
    /// To whom.
    pub to: u64,
    /// In which start.
    pub to_incarnation: u64,
    /// The dialogue, or the number of a question.
    pub walk: u64,
    /// The chunk's file.
    pub inode: u64,
    /// Digest of a version.
    pub digest: u64,
    /// The session of a request.
    pub session: u64,
    /// Its number.
    pub seq: u64,
    /// Bytes of blocks.
    pub space_bytes: u64,
    /// Bytes of records.
    pub space_records: u64,
    /// Names a payload that follows in pieces; 0 if all of it is here.
    pub stream: u64,
    /// The sender's chain version.
    pub chain_version: u32,
    /// The channel of a request.
    pub channel: u32,
    /// The chunk of the file.
    pub index: u32,
    /// Its version.
    pub version: u32,
    /// As in an update.
    pub offset: u32,
    /// As in an update.
    pub len: u32,
    /// As in an update.
    pub epoch: u32,
    /// Bytes of payload of this message.
    pub bytes: u32,
    /// Bytes of payload, of those, that are a list of extents: pairs of u32, offset and length.
    pub extents: u32,
    /// What it is.
    pub code: u16,
    /// Why something is refused.
    pub why: u16,
    /// One of `UPDATE_*`.
    pub change: u8,
    /// Binary logarithm of the size of the file's chunks.
    pub size_shift: u8,
    /// Bits, by code.
    pub flags: u8,
    /// 0.
    pub reserved: [u8; 5],
}

/// Messages of one link, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageRelayRequest {
    /// The sender's name of the link.
    pub generation: u128,
    /// The receiver's name of the link.
    pub known: u128,
    /// Number of this request on the link, from 0.
    pub sequence: u64,
    /// The sender's node.
    pub node: u32,
    /// The sender's core.
    pub core: u16,
    /// 0.
    pub reserved: u16,
    /// The messages.
    pub messages: Vec<RelayMessage>,
}

/// They were taken in, and their payload is not needed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StorageRelayReply {
    /// 0, or 1 if there is no such link any more.
    pub unknown: u8,
    /// 0.
    pub reserved: [u8; 7],
}

bodies! {
    StorageQueryRequest = STORAGE_QUERY, 1;
    StorageQueryReply = STORAGE_QUERY, 1;
    StorageShardsRequest = STORAGE_SHARDS, 1;
    StorageSpaceRequest = STORAGE_SPACE, 1;
    StorageTargetsRequest = STORAGE_TARGETS, 1;
    StorageScrubRequest = STORAGE_SCRUB, 1;
    StorageLinkRequest = STORAGE_LINK, 1;
    StorageLinkReply = STORAGE_LINK, 1;
    StorageRelayReply = STORAGE_RELAY, 1;
}

macro_rules! listed {
    ($($name:ident = $kind:ident, $version:literal;)*) => {
        $(impl Body for $name {
            const KIND: Kind = Kind::$kind;
            const VERSION: u8 = $version;
            const FIXED: bool = false;
        })*
    };
}

listed! {
    StorageReadRequest = STORAGE_READ, 1;
    StorageReadReply = STORAGE_READ, 1;
    StorageUpdateRequest = STORAGE_UPDATE, 1;
    StorageUpdateReply = STORAGE_UPDATE, 1;
    StorageShardsReply = STORAGE_SHARDS, 1;
    StorageSpaceReply = STORAGE_SPACE, 1;
    StorageTargetsReply = STORAGE_TARGETS, 1;
    StorageScrubReply = STORAGE_SCRUB, 1;
    StorageRelayRequest = STORAGE_RELAY, 1;
}

#[cfg(test)]
mod tests;
