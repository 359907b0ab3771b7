//! Questions about many records, answered in steps so that a turn of the shard stays short. Between
//! two steps records may come and go: an answer counts each as the step found it.

use core::ops::Range;

use engine_types::checksum::mix64;

use super::Index;
use crate::address::{ChunkKey, Slot};

/// Chunks per step of a query: about 0.1 ms, records outside of the cache included.
pub const QUERY_CHUNKS_MAX: u64 = 4096;
/// Chunks per step of a digest, the most that two replicas compare in one turn (R12).
pub const DIGEST_CHUNKS_MAX: u64 = 4096;
/// Words per step of a digest: mixing them takes about 0.4 ms. The last record may pass it.
const DIGEST_WORDS_MAX: usize = 128 << 10;

/// What a range of a file's chunks holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryAnswer {
    /// Chunks that are there.
    pub chunks: u64,
    /// Sum of their lengths.
    pub bytes: u64,
    /// Bytes of the blocks they hold.
    pub allocated: u64,
    /// Index and length of the last one.
    pub last: Option<(u32, u32)>,
    /// Where to go on; nothing when the range is done.
    pub resume: Option<u32>,
}

/// Digest of a range of keys: equal on two replicas when the same chunks with the same versions
/// and content lie in the range (R13), wherever their blocks and whatever their slots are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeDigest {
    /// Chunks that were there.
    pub chunks: u64,
    /// Sum over them.
    pub sum: u64,
}

impl QueryAnswer {
    /// Adds the answer for the part that follows.
    pub fn join(&mut self, later: &Self) {
        self.chunks += later.chunks;
        self.bytes += later.bytes;
        self.allocated += later.allocated;
        self.last = later.last.or(self.last);
        self.resume = later.resume;
    }
}

impl Index {
    /// Counts the chunks of a file, `QUERY_CHUNKS_MAX` at most: `resume` says where the next call
    /// begins, whose answer is joined to this one.
    pub fn query(&self, slot: Slot, inode: u64, indices: Range<u32>) -> QueryAnswer {
        let mut answer = QueryAnswer::default();
        for (key, record) in self.range(slot, inode, indices) {
            if answer.chunks == QUERY_CHUNKS_MAX {
                answer.resume = Some(key.chunk.index);
                break;
            }
            answer.chunks += 1;
            answer.bytes += u64::from(record.head.len);
            answer.allocated += record.allocated_bytes();
            answer.last = Some((key.chunk.index, record.head.len));
        }
        answer
    }

    /// Adds chunks of a range of keys to a digest. Returns the key at which the next step begins;
    /// nothing when the range is done.
    pub fn digest_step(
        &self,
        range: Range<ChunkKey>,
        digest: &mut RangeDigest,
    ) -> Option<ChunkKey> {
        let (mut chunks, mut words) = (0, 0);
        for (key, record) in self.range_keys(range) {
            if chunks == DIGEST_CHUNKS_MAX || DIGEST_WORDS_MAX <= words {
                return Some(key);
            }
            chunks += 1;
            words += record.words.len();
            digest.chunks += 1;
            // Mixed once more, so that no record's own sum cancels another's.
            digest.sum = digest.sum.wrapping_add(mix64(record.digest(key.chunk)));
        }
        None
    }
}

#[cfg(test)]
mod tests;
