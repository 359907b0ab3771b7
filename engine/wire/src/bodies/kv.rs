//! Bodies of the served key-value store: views, reads and commits of transactions, and what its
//! operator asks. Keys, values and lists travel as payload, in the encoding of `meta-kvd`.

use super::{Archive, Body, Deserialize, Kind, Serialize};

/// Asks for the newest version to read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvViewRequest {
    /// 0.
    pub reserved: u64,
}

/// A version, readable for as long as a transaction may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvViewReply {
    /// Names this start of the store: versions of another one mean nothing (M10).
    pub epoch: u64,
    /// The version.
    pub version: u64,
    /// 0, or why there is none; the payload says more then.
    pub outcome: u16,
    /// 0.
    pub reserved: [u8; 6],
}

/// Reads one key, or a page of a range. Payload: the key, or begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvReadRequest {
    /// Of the view.
    pub epoch: u64,
    /// Of the view.
    pub version: u64,
    /// Entries at most; 0 reads one key.
    pub limit: u32,
    /// Bytes of the payload that are the begin.
    pub begin_bytes: u32,
    /// 1: last key first.
    pub reverse: u8,
    /// 0.
    pub reserved: [u8; 7],
}

/// Answers a read. Payload: the value, or the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvReadReply {
    /// Entries; 1 for a key that has a value.
    pub count: u32,
    /// 0, or why there is no answer; the payload says more then.
    pub outcome: u16,
    /// 1: the range may hold further entries.
    pub more: u8,
    /// 0.
    pub reserved: u8,
}

/// A part of a commit that is larger than one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvStageRequest {
    /// Chosen by the sender; not 0.
    pub upload: u64,
    /// Where the payload belongs; parts come in order.
    pub offset: u32,
    /// Bytes of all parts.
    pub total: u32,
}

/// Answers a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvStageReply {
    /// Bytes held so far.
    pub held: u32,
    /// 0, or why the part was not taken; the payload says more then.
    pub outcome: u16,
    /// 0.
    pub reserved: u16,
}

/// Commits. Payload: the request, or nothing if it was staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvCommitRequest {
    /// Of the view that was read.
    pub epoch: u64,
    /// The staged request, or 0.
    pub upload: u64,
}

/// Answers a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvCommitReply {
    /// Version of the commit.
    pub version: u64,
    /// Place in its group.
    pub order: u16,
    /// 0, or why it failed; the payload says more then.
    pub outcome: u16,
    /// 0.
    pub reserved: u32,
}

/// Asks how the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvStatusRequest {
    /// 0.
    pub reserved: u64,
}

/// How the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvStatusReply {
    /// Its UUID.
    pub store: u128,
    /// Version of the newest commit.
    pub version: u64,
    /// How often it was opened.
    pub starts: u64,
    /// How often it was restored from a backup.
    pub restores: u64,
    /// Bytes it takes on its disk.
    pub bytes: u64,
    /// Commits since it was opened.
    pub commits: u64,
    /// Groups they were written in, with one flush each.
    pub groups: u64,
    /// Commits refused because of a conflict.
    pub conflicts: u64,
    /// Commits refused as too old.
    pub too_old: u64,
    /// Keys and ranges remembered to find conflicts.
    pub remembered: u64,
    /// Versions kept for readers.
    pub views: u64,
}

/// Asks for the next piece of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvBackupRequest {
    /// The backup under way; 0 begins one.
    pub session: u64,
    /// Counts the pieces, from 0; the same number again repeats the piece.
    pub sequence: u64,
}

/// A piece of a backup, as payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KvBackupReply {
    /// The backup.
    pub session: u64,
    /// That of the request.
    pub sequence: u64,
    /// Keys so far.
    pub keys: u64,
    /// 0, or why it failed; the payload says more then.
    pub outcome: u16,
    /// 1: nothing follows.
    pub last: u8,
    /// 0.
    pub reserved: [u8; 5],
}

bodies! {
    KvViewRequest = KV_VIEW, 1;
    KvViewReply = KV_VIEW, 1;
    KvReadRequest = KV_READ, 1;
    KvReadReply = KV_READ, 1;
    KvStageRequest = KV_STAGE, 1;
    KvStageReply = KV_STAGE, 1;
    KvCommitRequest = KV_COMMIT, 1;
    KvCommitReply = KV_COMMIT, 1;
    KvStatusRequest = KV_STATUS, 1;
    KvStatusReply = KV_STATUS, 1;
    KvBackupRequest = KV_BACKUP, 1;
    KvBackupReply = KV_BACKUP, 1;
}
