//! Checkpoint and journal into records, tables and a list of images.

use core::time::Duration;

use engine_runtime::{Env, yield_now};
use engine_store::format::{self, Item, PageReader, Superblock};
use engine_store::planted;
use engine_store::recover::{Recovered, Replay};
use engine_store::ring::{Position, Ring};
use engine_store::tables::Dedup;
use engine_store::{Entry, Lsn};
use engine_types::{Incarnation, SECTOR_BYTES, reached};

use super::scan::Scanner;
use super::{LastGroup, READINGS};
use crate::config::StoreConfig;
use crate::device::Device;
use crate::error::StoreError;
use crate::metrics::Io;

/// Chunks with images that are settled between two yields: a few microseconds each at most.
const SETTLE_COUNT: usize = 256;

/// What was read.
pub(crate) struct Loaded {
    pub(crate) recovered: Recovered,
    pub(crate) ring: Ring,
    /// The last group, when only its data can tell whether it is durable.
    pub(crate) last_group: Option<LastGroup>,
    pub(crate) damaged: bool,
    pub(crate) groups: u64,
    /// Highest generation of any group that was seen.
    pub(crate) generation: Incarnation,
    pub(crate) checkpoint_time: Duration,
    pub(crate) journal_time: Duration,
}

/// Reads checkpoint and journal; groups from `stop` on are left out.
pub(crate) async fn load<E: Env>(
    env: &E,
    device: &Device<E>,
    superblock: &Superblock,
    config: &StoreConfig,
    stop: Option<Lsn>,
) -> Result<Loaded, StoreError> {
    let began = env.now();
    let layout = &superblock.layout;
    let start = superblock.checkpoint.map_or(superblock.tail.lsn, |checkpoint| checkpoint.start);
    // A half of the checkpoint holds what the layout allows, not more.
    let budget = config.index_bytes_max.unwrap_or(u64::MAX).min(layout.index_bytes_max);
    let dedup = Dedup::new(config.channels_per_session_max, layout.dedup_channels);
    let mut replay = Replay::new(start, Lsn::ZERO, budget, dedup);
    checkpoint(device, superblock, &mut replay).await?;
    replay.loaded();
    let checkpoint_time = env.now().saturating_since(began);
    let mut ring = Ring::recovered(layout.ring.len, superblock.tail, start);
    let scanned = journal(device, superblock, &mut ring, &mut replay, stop).await?;
    let Scanned { groups, last_group, later, generation } = scanned;
    let damaged = later.is_some() || ring.next_lsn() < start;
    let damaged = damaged && !planted!(RotTakenForTornTail);
    while replay.settle(SETTLE_COUNT)? {
        yield_now().await;
    }
    let mut recovered = replay.finish()?;
    if damaged {
        reached!("S8: damage in the ring was told from a torn tail");
        tracing::error!(after = %ring.last(), ?later, %start, "the journal is damaged");
        // A new chain begins with a number that no group in the ring can have: those behind the
        // highest one seen are at most as many as sectors. It leaves what was read just now in
        // place, so that a crash before the next checkpoint finds as much again.
        let seen = later.unwrap_or(Lsn::ZERO).max(start).max(ring.next_lsn());
        let lsn = Lsn::new(seen.get() + layout.ring.len / u64::from(SECTOR_BYTES) + 1);
        let prev_hash = format::group::first_hash(superblock.salt);
        let (end, _) = ring.expected();
        ring = Ring::recovered(layout.ring.len, Position { lsn, prev_hash, ..end }, lsn);
        recovered.pending.clear();
        recovered.overlaid.clear();
    }
    let last_group = last_group.filter(|group| start <= group.lsn && !damaged);
    let total = env.now().saturating_since(began);
    Ok(Loaded {
        recovered,
        ring,
        last_group,
        damaged,
        groups,
        generation,
        checkpoint_time,
        journal_time: total.saturating_sub(checkpoint_time),
    })
}

async fn checkpoint<E: Env>(
    device: &Device<E>,
    superblock: &Superblock,
    replay: &mut Replay,
) -> Result<(), StoreError> {
    let Some(reference) = superblock.checkpoint else { return Ok(()) };
    let fail = |why: &dyn core::fmt::Display| StoreError::Checkpoint {
        generation: reference.generation,
        why: why.to_string(),
    };
    let layout = &superblock.layout;
    let region = layout.halves[usize::from(reference.half)].offset;
    let mut reader = PageReader::new(superblock.store, reference, layout.requests_max());
    // The next page is read while this one is decoded.
    let start =
        |(offset, len): (u64, usize)| device.start_read(Io::Checkpoint, region + offset, len);
    let mut reading = reader.wants().map(start);
    let mut ahead = 0;
    while let Some(read) = reading.take() {
        let (offset, len) = reference.page(ahead).expect("it is being read");
        let mut bytes = match device.finish(read).await {
            Ok(bytes) => bytes,
            Err(_) => device.read_again(Io::Checkpoint, region + offset, len).await?,
        };
        ahead += 1;
        reading = reference.page(ahead).map(start);
        let mut sealed = reader.check(&bytes);
        for _ in 1..READINGS {
            if sealed.is_ok() {
                break;
            }
            reached!("E109: a page of a checkpoint is read again");
            bytes = device.read_again(Io::Checkpoint, region + offset, len).await?;
            sealed = reader.check(&bytes);
        }
        let mut page = reader.open(&bytes, sealed.map_err(|why| fail(&why))?);
        while let Some(item) = page.next_item() {
            take(replay, item.map_err(|why| fail(&why))?)?;
        }
        yield_now().await;
    }
    reader.finish().map_err(|why| fail(&why))?;
    Ok(())
}

fn take(replay: &mut Replay, item: Item<'_>) -> Result<(), StoreError> {
    match item {
        Item::Target { slot, record } => replay.load_target(slot, record),
        Item::Fence(fence) => replay.load_fence(fence),
        Item::Pending { lsn, put } => replay.load_pending(put, lsn),
        Item::Dedup { slot, tag, outcome } => replay.load_outcome(slot, tag, outcome),
        Item::Chunk { key, record } => replay.load_chunk(key, record)?,
    }
    Ok(())
}

struct Scanned {
    groups: u64,
    last_group: Option<LastGroup>,
    /// A group behind the end of the chain.
    later: Option<Lsn>,
    generation: Incarnation,
}

async fn journal<E: Env>(
    device: &Device<E>,
    superblock: &Superblock,
    ring: &mut Ring,
    replay: &mut Replay,
    stop: Option<Lsn>,
) -> Result<Scanned, StoreError> {
    let mut scanner = Scanner::new(device, superblock);
    let generation = Incarnation::new(0);
    let mut scanned = Scanned { groups: 0, last_group: None, later: None, generation };
    while stop != Some(ring.next_lsn()) {
        let Some(found) = scanner.next(ring).await? else {
            scanned.later = scanner.later_group(ring).await?;
            if scanner.is_next_begun() {
                reached!("S11: a torn group proves the one before it");
                scanned.last_group = None;
            }
            break;
        };
        let lsn = ring
            .found(found.offset, found.bytes, found.hash)
            .map_err(|why| StoreError::Recovery(why.to_string()))?;
        replay.applied(found.applied);
        let (mut image, mut sums) = (found.images, &found.image_sums[..]);
        for entry in &found.entries {
            let images = if let Entry::Put(put) = entry { put.images.len() } else { 0 };
            let (of_entry, rest) = sums.split_at(images);
            replay.entry(lsn, entry, image, of_entry)?;
            image += images as u64 * u64::from(SECTOR_BYTES);
            sums = rest;
        }
        scanned.groups += 1;
        scanned.last_group = Some(LastGroup { lsn, entries: found.entries });
        yield_now().await;
    }
    scanned.generation = scanner.generation_seen();
    Ok(scanned)
}
