//! Which blocks belong to whom after recovery, and what becomes of records that contradict each
//! other (S-a).
//!
//! A block named twice is damage: a record rotted unseen, or a bug wrote it. The first chunk in key
//! order keeps the block; the later one is given up as a whole, as if it had never been there, for
//! nobody can say which of its versions was whole. The store opens as damaged (S8): it serves
//! nobody before other replicas have brought back what is missing. Nothing else is given up.

use core::fmt;

use engine_runtime::{Env, FileKind, yield_now};
use engine_store::allocator::{AdoptError, Allocator, AllocatorConfig};
use engine_store::format::Layout;
use engine_store::recover::Recovered;
use engine_store::{BlockAddress, ChunkKey, RecordRef, SegmentId};
use engine_types::{Map, Set, reached};

use crate::config::StoreConfig;
use crate::device::Device;
use crate::error::StoreError;

/// Records whose blocks are adopted between two yields.
const ADOPT_COUNT: usize = 4096;
/// Chunks given up that an opening names; more are counted only.
pub const CLASH_LIST_MAX: usize = 1024;

/// A chunk that was given up, because its record names what it cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The chunk.
    pub key: ChunkKey,
    /// Whether only its pending version is gone.
    pub pending: bool,
    /// What is wrong with its first such block.
    pub why: AdoptError,
    /// The chunk that has the block, or the segment; itself when it names a block twice.
    pub other: Option<ChunkKey>,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.pending { "its pending version" } else { "it" };
        write!(f, "{what} was given up: {}", self.why)?;
        match self.other {
            Some(other) => write!(f, " by {other}"),
            None => Ok(()),
        }
    }
}

/// What adoption yields.
pub(super) struct Adopted {
    pub(super) allocator: Allocator,
    /// Chunks and pending versions that were given up.
    pub(super) lost: u64,
    /// The first of them.
    pub(super) clashes: Vec<Clash>,
}

impl Adopted {
    /// The allocator; what was given up is told.
    pub(super) fn told(self, opened: &mut super::Opened) -> Allocator {
        opened.damaged |= 0 < self.lost;
        (opened.lost, opened.clashes) = (self.lost, self.clashes);
        self.allocator
    }
}

/// The allocator that belongs to the records: what they name is live, everything else free. Records
/// that cannot have what they name are taken out.
pub(super) async fn adopt<E: Env>(
    layout: &Layout,
    config: &StoreConfig,
    device: &Device<E>,
    recovered: &mut Recovered,
) -> Result<Adopted, StoreError> {
    let sparse = device.geometry().kind == FileKind::Regular;
    let mut settings = AllocatorConfig::new(layout.segment_count, sparse);
    settings.full_permille = config.full_permille;
    let mut allocator =
        Allocator::new(settings).map_err(|why| StoreError::Recovery(why.to_string()))?;
    let mut clashes = Vec::new();
    let mut after = None;
    loop {
        let mut count = 0;
        for (key, record) in recovered.index.after(after).take(ADOPT_COUNT) {
            if let Err(why) = load(&mut allocator, record, None) {
                clashes.push(Clash { key, pending: false, why, other: None });
            }
            after = Some(key);
            count += 1;
        }
        if count < ADOPT_COUNT {
            break;
        }
        yield_now().await;
    }
    let gone: Set<ChunkKey> = clashes.iter().map(|clash| clash.key).collect();
    for key in &gone {
        recovered.index.remove(key);
    }
    let Recovered { index, pending, .. } = &mut *recovered;
    pending.retain(|(put, _)| {
        let key = put.key;
        if gone.contains(&key) {
            return false; // it was made of what is gone
        }
        let Some(record) = &put.record else { return true };
        let loaded = load(&mut allocator, record.as_ref(), index.get(&key));
        loaded.map_err(|why| clashes.push(Clash { key, pending: true, why, other: None })).is_ok()
    });
    allocator.loaded();
    let lost = clashes.len() as u64;
    if 0 < lost {
        reached!("S-a: a chunk that names another one's block was given up");
        let pending_gone: Set<ChunkKey> = clashes.iter().map(|clash| clash.key).collect();
        recovered.homeward.retain(|(key, _)| !gone.contains(key));
        recovered.overlaid.retain(|(key, _)| !pending_gone.contains(key));
        clashes.truncate(CLASH_LIST_MAX);
        name_others(recovered, &mut clashes);
        for clash in &clashes {
            tracing::error!(key = %clash.key, %clash, "records contradict each other");
        }
    }
    Ok(Adopted { allocator, lost, clashes })
}

/// Blocks of `record` beyond those of `base` become live, all or none.
fn load(
    allocator: &mut Allocator,
    record: RecordRef<'_>,
    base: Option<RecordRef<'_>>,
) -> Result<(), AdoptError> {
    let shared = |block| base.is_some_and(|base| base.blocks().any(|(_, other)| other == block));
    let class = record.head.class;
    for (place, block) in record.blocks() {
        if shared(block) {
            continue;
        }
        if let Err(why) = allocator.load(block, class) {
            let before = record.blocks().take_while(|&(earlier, _)| earlier < place);
            before.filter(|&(_, block)| !shared(block)).for_each(|(_, b)| allocator.unload(b));
            return Err(why);
        }
    }
    Ok(())
}

/// Looks for the chunks that have what others named as well.
fn name_others(recovered: &Recovered, clashes: &mut [Clash]) {
    let mut segments: Map<SegmentId, Vec<usize>> = Map::default();
    for (index, clash) in clashes.iter().enumerate() {
        if let Some(block) = contested(&clash.why) {
            segments.entry(block.segment()).or_default().push(index);
        }
    }
    let mut look = |key: ChunkKey, record: RecordRef<'_>| {
        for (_, block) in record.blocks() {
            for &index in segments.get(&block.segment()).into_iter().flatten() {
                let clash = &mut clashes[index];
                let same = match clash.why {
                    AdoptError::Shared { block: other, .. } => other == block,
                    _ => true,
                };
                if same && clash.other.is_none() {
                    clash.other = Some(key);
                }
            }
        }
    };
    recovered.index.after(None).for_each(|(key, record)| look(key, record));
    for (put, _) in &recovered.pending {
        if let Some(record) = &put.record {
            look(put.key, record.as_ref());
        }
    }
    for clash in clashes {
        if clash.other.is_none() && contested(&clash.why).is_some() {
            clash.other = Some(clash.key);
        }
    }
}

/// The block that somebody else has, or whose segment somebody else has.
fn contested(why: &AdoptError) -> Option<BlockAddress> {
    match *why {
        AdoptError::Shared { block, .. } | AdoptError::Class { block, .. } => Some(block),
        AdoptError::OutOfRange { .. } | AdoptError::Unaligned { .. } => None,
    }
}
