//! All chunks of a file behind some point: how far they reach, and their removal.
//!
//! A file's chunks lie on the chains of its stripe, chunk `i` on the chain of slot `i % stripe`.
//! Which chunks there are is asked of the chains, never computed from a length: writers that have
//! not told their length yet may have made any.

use engine_runtime::all;
use engine_types::{ChainId, ChunkId, ChunkSize, InodeId, Instant};

use meta_schema::Layout;

use super::{At, Chunks, ChunksError, REMOVE_BATCH_MAX};

#[cfg(test)]
mod tests;

/// Chains that are asked at the same time for one file: a stripe of 1,024 takes 64 round trips,
/// and one file takes a part of the windows only.
const CHAINS_AT_ONCE: usize = 16;
/// Behind the last chunk that a file can have.
pub(crate) const INDEX_END: u32 = u32::MAX;

/// Where the chunks of a file lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) inode: InodeId,
    /// Size of its chunks.
    pub(crate) size: ChunkSize,
    /// The chain of each slot of its stripe.
    pub(crate) chains: Vec<ChainId>,
}

/// What is cut from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bytes that stay.
    pub(crate) length: u64,
    /// Behind the last byte that chunks may hold; `u64::MAX` when that is not known.
    pub(crate) end: u64,
    /// Chunks of an older epoch are cut (M1).
    pub(crate) epoch: u32,
}

/// How long and how fast chunks are removed.
pub(crate) trait Pace {
    /// Until when the next call may take.
    fn by(&self) -> Instant;

    /// Waits for leave to remove `count` chunks.
    fn leave(&self, count: u64) -> impl Future<Output = ()>;
}

impl Place {
    /// Of a file with this layout.
    ///
    /// # Errors
    /// [`ChunksError::Table`].
    pub(crate) fn of<C: Chunks>(
        chunks: &C,
        inode: InodeId,
        layout: &Layout,
    ) -> Result<Self, ChunksError> {
        let (table, stripe) = (layout.table, layout.stripe);
        let chains = chunks.with_table(table, |all| {
            let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
            if layout.template().check_in(count).is_err() {
                return Err(ChunksError::Table { table, chains: all.len(), stripe });
            }
            Ok((0..stripe).map(|slot| all[layout.chain_index(slot, count) as usize]).collect())
        })?;
        Ok(Self { inode, size: layout.chunk_size, chains })
    }

    fn stripe(&self) -> u32 {
        u32::try_from(self.chains.len()).expect("a stripe has 1,024 chains at most")
    }

    fn chain(&self, slot: u32) -> ChainId {
        self.chains[slot as usize]
    }

    pub(crate) fn at(&self, index: u32, epoch: u32) -> At {
        let chunk = ChunkId { inode: self.inode, index };
        At { chain: self.chain(index % self.stripe()), chunk, size: self.size, epoch }
    }

    /// The chunk that holds byte `offset`, and where in it that is.
    pub(crate) fn split(&self, offset: u64) -> (u32, u32) {
        let size = u64::from(self.size.bytes());
        let index = u32::try_from(offset / size).unwrap_or(INDEX_END);
        (index, u32::try_from(offset % size).expect("below the size of a chunk"))
    }

    /// The first chunk that lies whole behind `offset`.
    fn whole_behind(&self, offset: u64) -> u32 {
        let (index, inside) = self.split(offset);
        if inside == 0 { index } else { index.saturating_add(1) }
    }

    /// Slots with chunks from `first` to before `end`, that of `first` first.
    fn slots(&self, first: u32, end: u32) -> impl Iterator<Item = u32> + use<> {
        let stripe = self.stripe();
        let count = end.saturating_sub(first).min(stripe);
        (0..count).map(move |step| (first % stripe + step) % stripe)
    }
}

/// Behind the last byte that chunks of a file hold.
///
/// # Errors
/// [`ChunksError`], of any chain of the stripe.
pub(crate) async fn reach<C: Chunks>(
    chunks: &C,
    place: &Place,
    by: Instant,
) -> Result<u64, ChunksError> {
    let mut end = 0;
    for group in place.chains.chunks(CHAINS_AT_ONCE) {
        let asked =
            group.iter().map(|&chain| chunks.holding(chain, place.inode, 0..INDEX_END, false, by));
        for holding in all(asked).await {
            if let Some((index, len)) = holding?.last {
                end = end.max(u64::from(index) * u64::from(place.size.bytes()) + u64::from(len));
            }
        }
    }
    Ok(end)
}

/// Cuts a file: the chunk that holds the new end first, since it is the one that writers of the
/// new epoch meet first (M2); then what lies behind goes. Done means that nothing of this is under
/// way any more.
///
/// # Errors
/// [`ChunksError`]; to be repeated, whatever was done.
pub(crate) async fn cut<C: Chunks>(
    chunks: &C,
    place: &Place,
    cut: &Cut,
    pace: &impl Pace,
) -> Result<(), ChunksError> {
    let (boundary, keep) = place.split(cut.length);
    if keep != 0 {
        let at = place.at(boundary, cut.epoch);
        let range = boundary..boundary.saturating_add(1);
        let found = chunks.holding(at.chain, place.inode, range, false, pace.by()).await?;
        // A chunk that is not there must not be made: truncating would make it.
        if found.last.is_some_and(|(_, len)| keep < len) {
            chunks.cut(at, keep, pace.by()).await?;
        }
    }
    let first = place.whole_behind(cut.length);
    let end = if cut.end == u64::MAX { INDEX_END } else { place.whole_behind(cut.end) };
    let slots: Vec<u32> = place.slots(first, end).collect();
    for group in slots.chunks(CHAINS_AT_ONCE) {
        let swept = group.iter().map(|&slot| sweep(chunks, place, slot, first, cut.epoch, pace));
        all(swept).await.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(())
}

/// Removes the chunks from `first` on that lie on the chain of one slot.
async fn sweep<C: Chunks>(
    chunks: &C,
    place: &Place,
    slot: u32,
    first: u32,
    epoch: u32,
    pace: &impl Pace,
) -> Result<(), ChunksError> {
    let chain = place.chain(slot);
    let mut next = first;
    loop {
        let page = chunks.holding(chain, place.inode, next..INDEX_END, true, pace.by()).await?;
        for batch in page.list.chunks(REMOVE_BATCH_MAX) {
            pace.leave(batch.len() as u64).await;
            // The chain says what it has, wherever the layout would look for it.
            let at = |index| At { chain, ..place.at(index, epoch) };
            let batch = batch.iter().map(|listed| at(listed.index)).collect();
            chunks.remove(batch, pace.by()).await?;
        }
        match page.resume {
            Some(resume) => next = resume,
            None => return Ok(()),
        }
    }
}

/// Removes `count` chunks from the first on without asking which there are: for files whose length
/// is exact and small.
///
/// # Errors
/// [`ChunksError`]; to be repeated, whatever was done.
pub(crate) async fn remove_first<C: Chunks>(
    chunks: &C,
    place: &Place,
    count: u32,
    epoch: u32,
    by: Instant,
) -> Result<(), ChunksError> {
    let all: Vec<At> = (0..count).map(|index| place.at(index, epoch)).collect();
    for batch in all.chunks(REMOVE_BATCH_MAX) {
        chunks.remove(batch.to_vec(), by).await?;
    }
    Ok(())
}
