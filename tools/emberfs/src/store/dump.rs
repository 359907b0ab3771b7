//! `emberfs store dump`: prints what stands in a store, without changing it.
//!
//! Superblock and journal are printed as they stand on the device, also those of a store that
//! does not open any more. Targets and chunks are those of the opened store: the checkpoint with
//! the journal on top.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine_runtime::{Env, yield_now};
use engine_shard::{ChunkStore, LIST_COUNT_MAX};
use engine_store::format::limits::SLOTS_MAX;
use engine_store::{ChunkKey, Slot};
use engine_types::ChunkVersion;

use super::device::{self, COPY_NAMES};
use crate::exit::{Exit, Failure};
use crate::output::{Output, warn};

mod journal;
mod rows;
mod superblock;
#[cfg(test)]
mod tests;

use rows::{ChunkRow, Rows, TargetRow};

const EXAMPLES: &str = "\
Examples:
  emberfs store dump /dev/nvme1n1                          both copies of the superblock
  emberfs store dump /dev/nvme1n1 --targets                slots and what they hold
  emberfs store dump store.img --chunks --inode 4711       records of one file
  emberfs store dump store.img --chunks --slot 2 --limit 20
  emberfs store dump store.img --journal --limit 5 --json  the oldest groups still in the ring

The store must not be in use. Nothing is written. A damaged store is printed as far as it can be
read, with a warning and exit code 1. With --json every row is a document on a line
of its own.";

/// What has neither slots nor files to choose from.
const OTHERS: [&str; 3] = ["superblock", "targets", "journal"];

/// Arguments of `dump`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Block device or file that holds a store.
    #[arg(value_name = "PATH")]
    path: PathBuf,

    #[command(flatten)]
    what: What,

    /// Only chunks of the target in this slot.
    #[arg(long, value_name = "N", requires = "chunks", conflicts_with_all = OTHERS)]
    slot: Option<u16>,

    /// Only chunks of this file.
    #[arg(long, value_name = "N", requires = "chunks", conflicts_with_all = OTHERS)]
    inode: Option<u64>,

    /// Print at most so many rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Which part.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
struct What {
    /// Both copies of the superblock; the default.
    #[arg(long)]
    superblock: bool,

    /// Slots and the targets they hold.
    #[arg(long)]
    targets: bool,

    /// Records of chunks, in order.
    #[arg(long)]
    chunks: bool,

    /// Groups of the journal with their entries, from the oldest that is still needed.
    #[arg(long)]
    journal: bool,
}

/// Which chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Filter {
    slot: Option<u16>,
    inode: Option<u64>,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let (file, superblocks) = device::open_store(env, &args.path).await?;
    let What { targets, chunks, journal, superblock: _ } = args.what;
    if !(targets || chunks || journal) {
        return superblock::print(out, &args.path, &superblocks);
    }
    let superblock = device::usable(&args.path, &superblocks)?;
    // What is printed may be the state of an older superblock: nobody shall take it for all.
    let mut doubts = Vec::new();
    for (copy, name) in COPY_NAMES.iter().enumerate() {
        let why = superblocks.problem(copy);
        doubts.extend(why.map(|why| format!("{name}: {why}; what it told may be missing")));
    }
    if journal {
        let printed = journal::print::<E>(out, &file, &superblock, args.limit).await?;
        return Ok(warn_of(&doubts, printed));
    }
    let (store, opened) = device::load(env, &args.path).await?;
    if opened.damaged {
        doubts.push("the store is damaged: acknowledged updates may be missing".to_owned());
    }
    if targets {
        list_targets(&store, Rows::new(out, args.limit))?;
    } else {
        let filter = Filter { slot: args.slot, inode: args.inode };
        list_chunks(&store, filter, Rows::new(out, args.limit)).await?;
    }
    drop(file); // and its lock
    Ok(warn_of(&doubts, Exit::Ok))
}

/// Tells what is doubtful about what was printed, which is a problem then.
fn warn_of(doubts: &[String], printed: Exit) -> Exit {
    doubts.iter().for_each(|doubt| warn(doubt));
    if doubts.is_empty() { printed } else { Exit::Problem }
}

/// Every slot that holds a target.
fn list_targets<E: Env>(
    store: &ChunkStore<E>,
    mut rows: Rows<'_, TargetRow>,
) -> Result<(), Failure> {
    for (slot, record) in device::targets(store) {
        if !rows.put(&TargetRow::new(slot, &record))? {
            break;
        }
    }
    Ok(rows.finish()?)
}

/// Every chunk that passes the filter, in order: its committed record, its pending version, or
/// both.
async fn list_chunks<E: Env>(
    store: &ChunkStore<E>,
    filter: Filter,
    mut rows: Rows<'_, ChunkRow>,
) -> Result<(), Failure> {
    let mut pendings: BTreeMap<_, _> = store.pendings().into_iter().collect();
    pendings.retain(|key, _| filter.passes(key));
    for slot in filter.slots() {
        let (mut after, end) = filter.range(slot);
        loop {
            let listed = store.list(slot, after, LIST_COUNT_MAX);
            let more = !listed.is_empty();
            for chunk in listed.iter().filter(|chunk| filter.passes(&chunk.key)) {
                let later = pendings.split_off(&chunk.key);
                let new = core::mem::replace(&mut pendings, later);
                if !put_new(&mut rows, new)? {
                    return Ok(rows.finish()?);
                }
                let pending = pendings.remove(&chunk.key);
                if !rows.put(&ChunkRow::new(chunk, pending))? {
                    return Ok(rows.finish()?);
                }
            }
            after = listed.last().map(|chunk| chunk.key);
            if !more || end < after {
                break;
            }
            yield_now().await;
        }
    }
    put_new(&mut rows, pendings)?;
    Ok(rows.finish()?)
}

/// Chunks without a committed record. False: no more are wanted.
fn put_new(
    rows: &mut Rows<'_, ChunkRow>,
    pendings: BTreeMap<ChunkKey, ChunkVersion>,
) -> Result<bool, Failure> {
    for (key, version) in pendings {
        if !rows.put(&ChunkRow::of_new(&key, version))? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Filter {
    fn passes(&self, key: &ChunkKey) -> bool {
        self.slot.is_none_or(|slot| slot == key.slot.get())
            && self.inode.is_none_or(|inode| inode == key.chunk.inode.get())
    }

    /// Slots to look into.
    fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        let all = 0..u16::try_from(SLOTS_MAX).expect("4,096 slots");
        let chosen = self.slot.map_or(all, |slot| slot..slot.saturating_add(1));
        chosen.map(Slot::new)
    }

    /// The key behind which chunks of a slot may pass, and the last one that may.
    fn range(&self, slot: Slot) -> (Option<ChunkKey>, Option<ChunkKey>) {
        let last = |inode| ChunkKey::new(slot, inode, u32::MAX);
        let before = self.inode.and_then(|inode| inode.checked_sub(1));
        (before.map(last), Some(last(self.inode.unwrap_or(u64::MAX))))
    }
}
