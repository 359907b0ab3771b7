//! Names of owners and inodes.

use engine_types::{InodeId, id};

pub use engine_types::TruncateEpoch;

use crate::limits::{INODE_END, INODE_SHARDS, INODES_PER_BATCH};

/// The root of the file system. It is its own parent.
pub const INODE_ROOT: InodeId = InodeId::new(1);
/// What no inode is named; programs take it for "none".
pub const INODE_NONE: InodeId = InodeId::new(u64::MAX);

id!(/// A user. All ones means "nobody in particular" (`(uid_t)-1`) and is never an owner.
    Uid(u32), "user-");
id!(/// A group. All ones means "nobody in particular" (`(gid_t)-1`) and is never an owner.
    Gid(u32), "group-");

impl Uid {
    /// Root, whom modes and ACLs do not bind.
    pub const ROOT: Self = Self(0);

    /// False for `(uid_t)-1`, which chown(2) takes for "leave it".
    pub const fn is_valid(self) -> bool {
        self.0 != u32::MAX
    }
}

impl Gid {
    /// The group of root.
    pub const ROOT: Self = Self(0);

    /// False for `(gid_t)-1`, which chown(2) takes for "leave it".
    pub const fn is_valid(self) -> bool {
        self.0 != u32::MAX
    }
}

/// A batch of inode ids that a process has taken from one shard of the allocator.
///
/// Shard `s` at counter `n` gives the ids from `(32 n + s) * 1024`: batches of different shards
/// and counters never share an id. Ids below 1,024 belong to the root and to later uses, so shard
/// 0 starts at counter 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InodeIds {
    next: u64,
    end: u64,
}

impl InodeIds {
    /// The counter with which a shard begins.
    pub const fn first_counter(shard: u8) -> u64 {
        if shard == 0 { 1 } else { 0 }
    }

    /// The ids of batch `counter` of `shard`, or nothing when all were given out or there is no
    /// such shard.
    pub fn batch(shard: u8, counter: u64) -> Option<Self> {
        if INODE_SHARDS <= shard || counter < Self::first_counter(shard) {
            return None;
        }
        let batch = counter.checked_mul(INODE_SHARDS.into())?.checked_add(shard.into())?;
        let next = batch.checked_mul(INODES_PER_BATCH)?;
        let end = next.checked_add(INODES_PER_BATCH)?;
        (end <= INODE_END).then_some(Self { next, end })
    }

    /// Ids that are left.
    pub const fn left(&self) -> u64 {
        self.end - self.next
    }
}

impl Iterator for InodeIds {
    type Item = InodeId;

    fn next(&mut self) -> Option<InodeId> {
        let id = self.next;
        (id < self.end).then(|| {
            self.next += 1;
            InodeId::new(id)
        })
    }
}

/// True for what may name an inode: from 1 on, below 2^56.
pub const fn is_inode(ino: InodeId) -> bool {
    0 < ino.get() && ino.get() < INODE_END
}

#[cfg(test)]
mod tests;
