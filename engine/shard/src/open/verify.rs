//! Whether the data of the last group reached the device (S11): its flush may never have happened.

use std::rc::Rc;

use engine_runtime::Env;
use engine_store::overlay::{Kills, View};
use engine_store::read::whole_blocks;
use engine_store::store::is_dead;
use engine_store::{ChunkKey, Entry, RecordRef, SectorRange};
use engine_types::SECTOR_BYTES;

use super::{LastGroup, READINGS};
use crate::error::StoreError;
use crate::fetch::{Fetch, FetchError};
use crate::metrics::Io;
use crate::store::Inner;

/// Whether every checksum block that the group wrote directly is as its record says. Rot of such a
/// block cannot be told from data that never arrived; a bit that flips on the way can.
pub(crate) async fn is_whole<E: Env>(
    inner: &Rc<Inner<E>>,
    group: &LastGroup,
) -> Result<bool, StoreError> {
    for entry in &group.entries {
        let mut readings = 0;
        loop {
            let Some(fetch) = fetch(inner, entry) else { break };
            match fetch.finish().await {
                Ok(_) => break,
                Err(FetchError::Corrupt { .. }) => readings += 1,
                Err(FetchError::Io(why)) => return Err(why.into()),
                Err(FetchError::Memory(why)) => return Err(why.into()),
            }
            if readings == READINGS {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Reads what an entry wrote directly; nothing when nothing is to be judged.
fn fetch<E: Env>(inner: &Rc<Inner<E>>, entry: &Entry) -> Option<Fetch<E>> {
    let state = inner.state.borrow();
    match entry {
        Entry::Put(put) if !put.direct.is_empty() => {
            // Otherwise a checkpoint holds it: it was durable.
            let put = state.pending(&put.key).filter(|found| found.version == put.version)?;
            let record = put.record.as_ref().map(|record| record.as_ref())?;
            let is_dead = |sector| is_dead(&record, sector);
            let kills = Kills::new(&put.direct, &is_dead);
            let view = View::Pending(put.version, kills);
            Some(start(inner, &put.key, record, &put.direct, view))
        }
        Entry::Move { key, record: moved, direct } => {
            let record = state.committed(key).filter(|found| *found == moved.as_ref().as_ref())?;
            Some(start(inner, key, record, direct, View::Committed))
        }
        _ => None,
    }
}

fn start<E: Env>(
    inner: &Rc<Inner<E>>,
    key: &ChunkKey,
    record: RecordRef<'_>,
    direct: &[SectorRange],
    view: View<'_>,
) -> Fetch<E> {
    let per_block = record.head.size.checksum_block_bytes() / SECTOR_BYTES;
    let mut blocks: Vec<u32> = Vec::new();
    for range in direct {
        let touched = u32::from(range.first) / per_block..=(range.end() - 1) / per_block;
        blocks.extend(touched.filter(|&block| !record.is_hole(block)));
    }
    blocks.dedup();
    let mut pieces = Vec::new();
    whole_blocks(record, &blocks, &mut pieces);
    Fetch::start(inner, Io::Journal, *key, record, view, pieces)
}
