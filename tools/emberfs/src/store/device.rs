//! Opening what an operator names, for looking only.

use std::path::Path;

use anyhow::anyhow;
use engine_runtime::{Bytes, Env, File, FileError, OpenOptions};
use engine_shard::probe;
use engine_shard::{ChunkStore, Opened, StoreConfig, StoreError};
use engine_store::format::limits::{SLOTS_MAX, SUPERBLOCK_OFFSETS};
use engine_store::format::superblock::{MAGIC, SUPERBLOCK_BYTES, is_sealed, newest};
use engine_store::format::{NoSuperblock, Superblock, SuperblockError};
use engine_store::{Slot, TargetRecord};

use crate::exit::Failure;

/// What operators call the copies of the superblock.
pub(super) const COPY_NAMES: [&str; 2] = ["superblock A", "superblock B"];

/// Read-only, and nobody else has it: a store in use changes under the eyes of whoever looks.
const LOOK: OpenOptions = OpenOptions { write: false, create: false, truncate: false, lock: true };

/// Opens a file or device for reading.
pub(super) async fn open<E: Env>(env: &E, path: &Path) -> Result<E::File, FileError> {
    env.open(path, LOOK).await
}

/// Both copies of a superblock, and which of them counts.
pub(super) struct Superblocks {
    /// What stands at each place.
    pub(super) copies: [Result<Superblock, SuperblockError>; 2],
    /// The one to go by, with its place.
    pub(super) newest: Result<(usize, Superblock), NoSuperblock>,
}

impl Superblocks {
    /// What is wrong with a copy. A store that was never opened has only its first one.
    pub(super) fn problem(&self, copy: usize) -> Option<&SuperblockError> {
        let why = self.copies[copy].as_ref().err()?;
        let is_blank = matches!(why, SuperblockError::Magic { found } if *found == [0; 8]);
        let is_new = self.newest.as_ref().is_ok_and(|(_, newest)| newest.sequence == 0);
        Some(why).filter(|_| !(is_blank && is_new))
    }

    /// Whether a copy is damaged: it may have been the newer one.
    pub(super) fn is_one_lost(&self) -> bool {
        (0..2).any(|copy| self.problem(copy).is_some())
    }
}

/// Opens a store for reading; what is none is refused with what it is instead.
pub(super) async fn open_store<E: Env>(
    env: &E,
    path: &Path,
) -> Result<(E::File, Superblocks), Failure> {
    let file = open(env, path).await?;
    let [a, b] = SUPERBLOCK_OFFSETS;
    let a = read_copy::<E>(&file, a).await?;
    let b = read_copy::<E>(&file, b).await?;
    if ![&a, &b].iter().any(|copy| copy.starts_with(&MAGIC)) {
        let content = probe::look::<E>(&file).await?;
        let why = anyhow!("{} is no store: it holds {content}", path.display());
        return Err(Failure::problem(why));
    }
    let copies = [Superblock::decode(&a), Superblock::decode(&b)];
    Ok((file, Superblocks { copies, newest: newest(&a, &b) }))
}

/// Times that a copy is read before it counts as damaged, as an opening does it.
const READINGS: usize = 3;

async fn read_copy<E: Env>(file: &E::File, position: u64) -> Result<Bytes<E::Memory>, FileError> {
    let mut bytes = read_at_most::<E>(file, position, SUPERBLOCK_BYTES).await?;
    for _ in 1..READINGS {
        if is_sealed(&bytes) {
            break;
        }
        bytes = read_at_most::<E>(file, position, SUPERBLOCK_BYTES).await?;
    }
    Ok(bytes)
}

/// The store itself, for reading alone: checkpoint, journal and what follows from them. The file
/// that [`open_store`] gave is kept meanwhile, because its lock is the one that counts.
pub(super) async fn load<E: Env>(
    env: &E,
    path: &Path,
) -> Result<(ChunkStore<E>, Opened), StoreError> {
    let config = StoreConfig { read_only: true, locked_by_caller: true, ..StoreConfig::default() };
    ChunkStore::open(env, path, config).await
}

/// Every slot that holds a target.
pub(super) fn targets<E: Env>(store: &ChunkStore<E>) -> impl Iterator<Item = (Slot, TargetRecord)> {
    let slots = (0..SLOTS_MAX).map(|slot| Slot::new(u16::try_from(slot).expect("4,096 slots")));
    slots.filter_map(|slot| store.target(slot).map(|record| (slot, record)))
}

/// The superblock to go by, or the reason that there is none.
pub(super) fn usable(path: &Path, superblocks: &Superblocks) -> Result<Superblock, Failure> {
    match &superblocks.newest {
        Ok((_, superblock)) => Ok(*superblock),
        Err(why) => Err(Failure::problem(anyhow!("{}: {why}", path.display()))),
    }
}

/// Reads up to `len` bytes; fewer at the end.
pub(super) async fn read_at_most<E: Env>(
    file: &E::File,
    position: u64,
    len: usize,
) -> Result<Bytes<E::Memory>, FileError> {
    file.read(position, len).await
}
