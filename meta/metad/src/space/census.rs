//! How many inodes there are, counted by samples.
//!
//! Their keys are little-endian, so those of consecutive ids lie spread over all keys: how far one
//! has to go from anywhere for so many inodes says how many there are. A sample that went round is
//! a count. No counter is kept for it: every create and every removal would write one.
//!
//! Costs four reads at the same time, some 150 kB; the estimate is within some per cent, and exact
//! below 256 keys.

use engine_runtime::all;
use engine_types::InodeId;
use meta_kv::{KeyRange, KvError, Page, RangeRead, ReadMode, Transaction};
use meta_schema::{Key, key};

use crate::view::prefix;

/// Places where counting begins.
pub(crate) const SAMPLES: usize = 4;
/// Keys that each counts.
const SAMPLE_KEYS: usize = 256;

/// Inodes from some key on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    inodes: u64,
    /// How much of all keys was gone through, of 2^64; nothing if that was all.
    gone: Option<u64>,
}

/// Where the key of an inode lies among all of them.
const fn position(ino: InodeId) -> u64 {
    ino.get().swap_bytes()
}

/// Inodes of the store, from samples that begin at `starts`.
///
/// # Errors
/// What the store answers.
pub(crate) async fn count<T: Transaction>(
    transaction: &T,
    starts: [u64; SAMPLES],
) -> Result<u64, KvError> {
    let samples = all(starts.into_iter().map(|start| sample(transaction, start))).await;
    Ok(estimate(&samples.into_iter().collect::<Result<Vec<_>, _>>()?))
}

async fn sample<T: Transaction>(transaction: &T, start: u64) -> Result<Sample, KvError> {
    let whole = prefix(&key::inodes());
    let begin = key::inode(InodeId::new(start.swap_bytes()));
    let behind = RangeRead::new(KeyRange::new(begin, whole.end)).limit(SAMPLE_KEYS);
    let behind = transaction.range(behind, ReadMode::Snapshot).await?;
    if let Some(last) = last_of(&behind) {
        let gone = Some(position(last).saturating_sub(start).saturating_add(1));
        return Ok(Sample { inodes: inodes(&behind), gone });
    }
    let before = RangeRead::new(KeyRange::new(whole.begin, begin)).limit(SAMPLE_KEYS);
    let before = transaction.range(before, ReadMode::Snapshot).await?;
    let gone = last_of(&before).map(|last| {
        // From the start to the end of all keys, and from their begin to here.
        position(last).saturating_add(1).saturating_add(start.wrapping_neg())
    });
    Ok(Sample { inodes: inodes(&behind) + inodes(&before), gone })
}

/// The inode of the last key of a page behind which there are others.
fn last_of(page: &Page) -> Option<InodeId> {
    let last = page.entries.last().filter(|_| page.more)?;
    match Key::parse(&last.0) {
        Ok(Key::Inode(ino) | Key::SideCounts(ino) | Key::SideTimes(ino)) => Some(ino),
        _ => None,
    }
}

fn inodes(page: &Page) -> u64 {
    let is_inode = |(key, _): &&(Vec<u8>, Vec<u8>)| matches!(Key::parse(key), Ok(Key::Inode(_)));
    page.entries.iter().filter(is_inode).count() as u64
}

/// Inodes of all keys.
fn estimate(samples: &[Sample]) -> u64 {
    if let Some(whole) = samples.iter().find(|sample| sample.gone.is_none()) {
        return whole.inodes;
    }
    let inodes: u128 = samples.iter().map(|sample| u128::from(sample.inodes)).sum();
    let gone: u128 = samples.iter().map(|sample| u128::from(sample.gone.unwrap_or(0))).sum();
    let all = (inodes << u64::BITS) / gone.max(1);
    u64::try_from(all).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
