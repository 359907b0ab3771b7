//! Opening: superblock, checkpoint, journal, and the state that comes of them.
//!
//! ```text
//! newest superblock -> checkpoint -> ring from its tail on -> higher mount generation, in both
//! superblocks -> data of the last group verified (else again, without it) -> blocks adopted
//! -> images in memory -> tasks -> first group of this opening, durable -> served
//! ```
//!
//! Both copies of the superblock carry the generation before a group does, so that the loss of one
//! takes nothing away (E157). A higher generation in the ring than in the superblock is believed:
//! such a group was written after a superblock that is lost.
//!
//! The first group makes final what was dropped: a later recovery finds it in the chain instead of
//! the group that was given up (S7).

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::path::Path;
use std::rc::Rc;

use engine_runtime::{Env, File, FileKind, Gate, Geometry, Notify, OpenOptions};
use engine_store::allocator::Allocator;
use engine_store::format::superblock::SUPERBLOCK_BYTES;
use engine_store::format::superblock::{is_sealed, newest};
use engine_store::format::{Access, GROUP_BYTES_MAX, Layout, PAGE_BYTES, StoreFlags, Superblock};
use engine_store::planted;
use engine_store::store::{Parts, Store};
use engine_store::{ChunkKey, Entry, Lsn, SEGMENT_BYTES};
use engine_types::{ChunkVersion, Incarnation, Map, SECTOR_BYTES, Set};

use crate::config::StoreConfig;
use crate::device::Device;
use crate::error::StoreError;
use crate::metrics::Io;
use crate::reserve::Reserve;
use crate::store::{ChunkStore, Image, Inner, write_superblock};
use crate::waiters::Waiters;

mod adopt;
mod images;
mod load;
mod scan;
mod verify;

pub use adopt::{CLASH_LIST_MAX, Clash};

use load::Loaded;

/// What an opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Committed chunks.
    pub chunks: u64,
    /// Pending versions: to be committed or aborted by the caller.
    pub pendings: Vec<(ChunkKey, ChunkVersion)>,
    /// Groups replayed.
    pub groups: u64,
    /// Images that were not home.
    pub images: u64,
    /// Acknowledged updates may be missing (S8): the store is not eligible as last server and has
    /// to be resynced. When the journal is damaged, pending versions were dropped.
    pub damaged: bool,
    /// A group in the middle of the journal is damaged.
    pub journal_damaged: bool,
    /// Chunks, or pending versions of chunks, that were given up because their records name blocks
    /// of others.
    pub lost: u64,
    /// The first of them, at most `CLASH_LIST_MAX`.
    pub clashes: Vec<Clash>,
    /// A last group was given up because its data was not whole.
    pub dropped_group: bool,
    /// The copy of the superblock that was not whole, if one was. An opening for use has written
    /// it anew.
    pub lost_superblock: Option<usize>,
    /// Time for the checkpoint, the journal, and everything.
    pub checkpoint_time: Duration,
    /// See `checkpoint_time`.
    pub journal_time: Duration,
    /// See `checkpoint_time`.
    pub total_time: Duration,
    /// Bytes of index memory.
    pub index_bytes: u64,
}

/// Memory that updates may take at least: one merge of the largest size fits.
const UPDATE_MEMORY_MIN: u64 = 16 << 20;
/// Bytes that holes are read from.
const ZEROS_BYTES: usize = 64 << 10;

impl<E: Env> ChunkStore<E> {
    /// Opens a store for use, or for reading alone.
    ///
    /// # Errors
    /// See [`StoreError`]; at most the mount generation has changed then, and images went home.
    pub async fn open(
        env: &E,
        path: &Path,
        config: StoreConfig,
    ) -> Result<(Self, Opened), StoreError> {
        let began = env.now();
        config.check(env.pool().limit())?;
        let write = !config.read_only;
        // Also for reading alone: a store in service changes under the eyes of who looks.
        let lock = !config.locked_by_caller;
        let options = OpenOptions { write, create: false, truncate: false, lock };
        let file = env.open(path, options).await?;
        let geometry = file.geometry();
        if geometry.align != SECTOR_BYTES {
            return Err(StoreError::Alignment { found: geometry.align });
        }
        let device = Rc::new(Device::new(env, file, config.slow_io, config.always_flush));
        let (found, lost) = read_superblock(&device).await?;
        if geometry.size < found.layout.size {
            let expected = found.layout.size;
            return Err(StoreError::TooShort { found: geometry.size, expected });
        }
        refuse(&found, &config)?;
        let mut opened = Opened { lost_superblock: lost, ..Opened::default() };
        let mut mounted = None;
        let mut stop = None;
        let (inner, broken) = loop {
            let loaded = load::load(env, &device, &found, &config, stop).await?;
            opened.groups = loaded.groups;
            opened.checkpoint_time = loaded.checkpoint_time;
            opened.journal_time = loaded.journal_time;
            opened.damaged = loaded.damaged || found.flags.has(StoreFlags::DAMAGED);
            let broken = loaded.damaged;
            opened.journal_damaged = broken;
            if write && mounted.is_none() {
                mounted = Some(mount(env, &device, &found, lost, loaded.generation).await?);
            }
            if write {
                // What was read is durable from here on, so that anything may be built on it.
                device.flush().await?;
            }
            let last = loaded.last_group.clone();
            let superblock = mounted.unwrap_or(found);
            let inner =
                build(env, device.clone(), &config, &superblock, loaded, &mut opened).await?;
            match last {
                // After one group was given up, the one before it is known to be durable: groups
                // are written one after the other.
                Some(group)
                    if stop.is_none()
                        && !planted!(LastGroupNotVerified)
                        && !verify::is_whole(&inner, &group).await? =>
                {
                    engine_types::reached!("S11: the last group was given up");
                    opened.dropped_group = true;
                    stop = Some(group.lsn);
                }
                _ => break (inner, broken || 0 < opened.lost),
            }
        };
        let store = Self { inner };
        store.start(&mut opened, broken).await?;
        opened.total_time = env.now().saturating_since(began);
        Ok((store, opened))
    }

    /// Starts the tasks and makes the opening final.
    async fn start(&self, opened: &mut Opened, broken: bool) -> Result<(), StoreError> {
        let inner = &self.inner;
        {
            let state = inner.state.borrow();
            opened.chunks = state.index().len();
            opened.index_bytes = state.index().bytes();
            opened.pendings = state.pendings();
        }
        if inner.config.read_only {
            return Ok(());
        }
        inner.spawn(inner.clone().watch());
        inner.spawn(crate::journal::run(inner.clone()));
        inner.spawn(crate::applier::run(inner.clone()));
        inner.spawn(crate::checkpoint::run(inner.clone()));
        inner.spawn(crate::space::run(inner.clone()));
        if broken {
            inner
                .write_superblock(|superblock| {
                    superblock.flags = superblock.flags.with(StoreFlags::DAMAGED);
                })
                .await?;
            crate::checkpoint::checkpoint(inner, false).await?;
            // The other copy would begin where the damage is.
            inner.write_superblock(|_| {}).await?;
        }
        let token = inner.state.borrow_mut().queue_marker();
        inner
            .durable(token)
            .await
            .map_err(|_| StoreError::OutOfService(inner.device.failure().unwrap_or_default()))
    }
}

/// Refuses a store that must not be opened like this.
fn refuse(found: &Superblock, config: &StoreConfig) -> Result<(), StoreError> {
    let cluster = found.cluster;
    if let Some(expected) = config.cluster.filter(|expected| *expected != cluster) {
        return Err(StoreError::OtherCluster { found: cluster, expected });
    }
    if config.read_only {
        return Ok(());
    }
    if found.flags.has(StoreFlags::RETIRED) {
        return Err(StoreError::Retired { cluster });
    }
    match found.access() {
        Access::ReadWrite => Ok(()),
        Access::ReadOnly { unknown: bits } => Err(StoreError::ReadOnly { bits }),
    }
}

/// Times that something is read before it counts as torn or damaged: a bit that flips on the way
/// is gone at the next reading, rot stays.
const READINGS: usize = 3;
const _: () = assert!(1 < READINGS);

/// The newest superblock, and the copy that is not whole, if one is.
pub(crate) async fn read_superblock<E: Env>(
    device: &Device<E>,
) -> Result<(Superblock, Option<usize>), StoreError> {
    let mut copies = Vec::with_capacity(2);
    let mut lost = None;
    for (copy, offset) in engine_store::format::limits::SUPERBLOCK_OFFSETS.into_iter().enumerate() {
        // A copy that cannot be read may be the newer one: nothing is concluded from the other.
        let mut bytes = device.read_again(Io::Checkpoint, offset, SUPERBLOCK_BYTES).await?;
        for _ in 1..READINGS {
            if is_sealed(&bytes) {
                break;
            }
            bytes = device.read_again(Io::Checkpoint, offset, SUPERBLOCK_BYTES).await?;
        }
        if !is_sealed(&bytes) {
            lost = Some(copy);
        }
        copies.push(bytes);
    }
    let (_, found) = newest(&copies[0], &copies[1])?;
    if let Some(copy) = lost {
        tracing::warn!(copy, "a copy of the superblock is not whole");
    }
    Ok((found, lost))
}

/// Raises the mount generation in both copies of the superblock, durably, before anything else is
/// written (S7, E157). `seen` is the highest generation of a group in the ring.
async fn mount<E: Env>(
    env: &E,
    device: &Device<E>,
    found: &Superblock,
    lost: Option<usize>,
    seen: Incarnation,
) -> Result<Superblock, StoreError> {
    const NEVER: &str = "2^64 openings never happen";
    let mut mounted = *found;
    mounted.mount_gen = mounted.mount_gen.max(seen).next().expect(NEVER);
    if lost.is_some() {
        // The lost copy may have been that of the next opening, interrupted before the other one.
        mounted.mount_gen = mounted.mount_gen.next().expect(NEVER);
    }
    mounted.flags = mounted.flags.without(StoreFlags::CLEAN);
    // The newest copy may be of an opening whose flush failed: readable, and not durable. The other
    // one is all there is then, and must not be written over.
    device.flush().await?;
    for _ in 0..2 {
        mounted.sequence += 1;
        write_superblock(env, device, &mounted).await?;
    }
    Ok(mounted)
}

/// The state of what was loaded, without tasks.
async fn build<E: Env>(
    env: &E,
    device: Rc<Device<E>>,
    config: &StoreConfig,
    superblock: &Superblock,
    loaded: Loaded,
    opened: &mut Opened,
) -> Result<Rc<Inner<E>>, StoreError> {
    let Loaded { mut recovered, mut ring, last_group, .. } = loaded;
    let layout = superblock.layout;
    let adopted = adopt::adopt(&layout, config, &device, &mut recovered).await?;
    let allocator = adopted.told(opened);
    claim_again(&layout, config, &device, &allocator).await?;
    opened.images = (recovered.homeward.len() + recovered.overlaid.len()) as u64;
    let images = images::Images {
        device: &device,
        layout: &layout,
        images_max: images_max(env, config),
        read_only: config.read_only,
        undecided: last_group.map(|group| group.chunks()).unwrap_or_default(),
    };
    let overlay = images.load(&recovered, &mut ring).await?;
    let engine_store::recover::Recovered { index, targets, fences, dedup, pending, .. } = recovered;
    let [group_memory, page_memory, superblock_memory] = own_memory(env, config, &ring).await?;
    let parts = Parts { index, allocator, overlay, ring, targets, fences, dedup, pending };
    let state: Store<Image<E>> = Store::new(parts);
    let update_memory_max = (env.pool().limit() as u64 / 4).max(UPDATE_MEMORY_MIN);
    let zeros = zeros(env).await?;
    Ok(Rc::new(Inner {
        env: env.clone(),
        device,
        config: config.clone(),
        layout,
        state: RefCell::new(state),
        superblock: RefCell::new(*superblock),
        superblock_turn: Gate::new(1),
        checkpoint_turn: Gate::new(1),
        waiters: Waiters::default(),
        data_writes: RefCell::new(Map::default()),
        update_memory: Gate::new(update_memory_max),
        update_memory_max,
        journal_wanted: Notify::default(),
        apply_wanted: Notify::default(),
        keeper_wanted: Notify::default(),
        space_wanted: Notify::default(),
        progress: Notify::default(),
        snapshot_taken: Notify::default(),
        task_ended: Notify::default(),
        flush_wanted: Cell::new(false),
        snapshot_wanted: Cell::new(false),
        snapshot: RefCell::new(None),
        ring_pressed: Cell::new(false),
        overlay_pressed: Cell::new(false),
        draining: Cell::new(false),
        compaction: crate::compaction::Compaction::default(),
        release_wanted: Cell::new(false),
        undecided: Cell::new(0),
        closing: Cell::new(false),
        closed: Cell::new(false),
        stopping: Cell::new(false),
        journal_ended: Cell::new(false),
        tasks: Cell::new(0),
        pieces: RefCell::default(),
        group_memory,
        page_memory,
        superblock_memory,
        entry_bytes: RefCell::new(Vec::new()),
        zeros,
    }))
}

/// Memory for a group, a checkpoint page and a superblock that nobody else gets (E154).
async fn own_memory<E: Env>(
    env: &E,
    config: &StoreConfig,
    ring: &engine_store::ring::Ring,
) -> Result<[Reserve<E::Memory>; 3], StoreError> {
    let group = usize::try_from(ring.group_bytes_max()).unwrap_or(usize::MAX).min(GROUP_BYTES_MAX);
    let own = |len: usize| if config.read_only { SUPERBLOCK_BYTES } else { len };
    let pool = env.pool();
    Ok([
        Reserve::new(pool, own(group)).await?,
        Reserve::new(pool, own(PAGE_BYTES)).await?,
        Reserve::new(pool, SUPERBLOCK_BYTES).await?,
    ])
}

/// Images that memory is for. They live in the core's pool, beside everything else: waiting for
/// memory that only their release would free must not happen.
fn images_max<E: Env>(env: &E, config: &StoreConfig) -> usize {
    config.overlay_bytes(env.pool().limit()) / SECTOR_BYTES as usize
}

/// What holes are read from.
async fn zeros<E: Env>(env: &E) -> Result<Image<E>, StoreError> {
    let mut zeros = env.pool().alloc_wait(ZEROS_BYTES).await?;
    zeros.set_len(ZEROS_BYTES);
    zeros.fill(0);
    Ok(zeros.freeze())
}

/// Segments that one call claims at most: 16 GiB.
const CLAIM_COUNT_MAX: u32 = 256;

/// Claims what a file must have: a copy of it may have become sparse, and a store that meets a full
/// host where it counts on its space leaves service (V9). Costs little where the space is there.
/// A file that is so sparse that the host could not give what is missing is opened all the same:
/// what it holds can be read, and the log is told.
async fn claim_again<E: Env>(
    layout: &Layout,
    config: &StoreConfig,
    device: &Device<E>,
    allocator: &Allocator,
) -> Result<(), StoreError> {
    if config.read_only || device.geometry().kind != FileKind::Regular {
        return Ok(());
    }
    let bytes = |segments: u32| u64::from(segments) * u64::from(SEGMENT_BYTES);
    let mut runs = Vec::new();
    let mut next = 0;
    while let Some(run) = allocator.adopted_run(next, CLAIM_COUNT_MAX) {
        next = run.end;
        runs.push(run);
    }
    let used: u64 = runs.iter().map(|run| bytes(run.end - run.start)).sum();
    let Geometry { allocated, available, .. } = device.geometry();
    let missing = (layout.data_offset + used).saturating_sub(allocated);
    if available < missing {
        tracing::warn!(used, missing, available, "a store file is sparse, its host is too small");
        return Ok(());
    }
    device.preallocate(0, layout.data_offset).await?;
    for run in runs {
        let position = layout.data_offset + bytes(run.start);
        device.preallocate(position, bytes(run.end - run.start)).await?;
    }
    Ok(())
}

/// A group that recovery has to judge by its data.
#[derive(Clone, Debug)]
pub(crate) struct LastGroup {
    pub(crate) lsn: Lsn,
    pub(crate) entries: Vec<Entry>,
}

impl LastGroup {
    /// Chunks that it says something about.
    fn chunks(&self) -> Set<ChunkKey> {
        let keys = self.entries.iter().filter_map(|entry| match entry {
            Entry::Put(put) => Some(put.key),
            Entry::Commit { key, .. }
            | Entry::Abort { key, .. }
            | Entry::Move { key, .. }
            | Entry::Erase { key } => Some(*key),
            _ => None,
        });
        keys.collect()
    }
}
