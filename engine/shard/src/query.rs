//! Questions about many chunks, answered in short turns.

use core::ops::Range;

use engine_runtime::{Env, yield_now};
use engine_store::index::{QueryAnswer, RangeDigest};
use engine_store::{ChunkKey, Head, Slot};

use crate::store::ChunkStore;

/// A chunk in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The chunk.
    pub key: ChunkKey,
    /// Its committed record, without places and checksums.
    pub head: Head,
    /// Its digest (R13).
    pub digest: u64,
    /// Bytes of blocks it holds.
    pub allocated: u64,
}

/// Most chunks of one list: a turn of well below a millisecond.
pub const LIST_COUNT_MAX: usize = 1024;
/// Words of one list, whose digests mix them all: 0.4 ms. The last record may pass it.
pub const LIST_WORDS_MAX: usize = 128 << 10;

impl<E: Env> ChunkStore<E> {
    /// Count, bytes and last chunk of a range of a file's chunks.
    pub async fn query(&self, slot: Slot, inode: u64, indices: Range<u32>) -> QueryAnswer {
        let step = |indices| self.inner.state.borrow().index().query(slot, inode, indices);
        let mut answer = step(indices.clone());
        while let Some(resume) = answer.resume {
            yield_now().await;
            answer.join(&step(resume..indices.end));
        }
        answer
    }

    /// The chunks of a target behind `after`, in order: at most `LIST_COUNT_MAX`, and as few as 128
    /// when they are large (`LIST_WORDS_MAX`). The end is where there are none.
    pub fn list(&self, slot: Slot, after: Option<ChunkKey>, limit: usize) -> Vec<Listed> {
        let state = self.inner.state.borrow();
        // Behind everything of the slot before.
        let first = slot
            .get()
            .checked_sub(1)
            .map(|before| ChunkKey::new(Slot::new(before), u64::MAX, u32::MAX));
        let behind = state.index().after(after.max(first));
        let own = behind.take_while(|(key, _)| key.slot == slot);
        let mut words = 0;
        let short = own.take_while(|(_, record)| {
            let fits = words < LIST_WORDS_MAX;
            words += record.words.len();
            fits
        });
        short
            .take(limit.min(LIST_COUNT_MAX))
            .map(|(key, record)| Listed {
                key,
                head: record.head,
                digest: record.digest(key.chunk),
                allocated: record.allocated_bytes(),
            })
            .collect()
    }

    /// Adds chunks of a range of keys to a digest, in one turn (R12, R13). Returns the key at which
    /// the next step begins; nothing when the range is done.
    pub fn digest_step(
        &self,
        range: Range<ChunkKey>,
        digest: &mut RangeDigest,
    ) -> Option<ChunkKey> {
        self.inner.state.borrow().index().digest_step(range, digest)
    }
}
