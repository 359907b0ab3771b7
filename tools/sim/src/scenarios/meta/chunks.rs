//! Chunks in plain maps, as the stores judge them: epochs, fences, requests that land late, also of
//! processes that died meanwhile. A cell of 64 bytes holds one tag, so that content says who wrote
//! it.

use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use client_storage::{At, Holding, Listed};
use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, ChainTableId, ChunkVersion, InodeId, Instant, SessionId, reached};
use meta_metad::chunks::{Chunks, ChunksError};

use super::bug::Bug;

/// The only table, and its chains.
pub(super) const TABLE: ChainTableId = ChainTableId::new(1);
pub(super) const CHAINS: u32 = 6;
/// Bytes of a cell.
pub(super) const CELL: u64 = 64;
/// Chunks of one page of a list, to meet every seam.
const LIST_MAX: usize = 3;

type Key = (ChainId, InodeId, u32);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chunk {
    epoch: u32,
    /// Tags; 0 is zeros.
    cells: Vec<u64>,
}

impl Chunk {
    fn len(&self) -> u32 {
        u32::try_from(self.cells.len() as u64 * CELL).expect("chunks are small")
    }
}

/// All chunks of a world. They live on a node of their own, which never dies.
#[derive(Default)]
pub(super) struct Shelf {
    chunks: RefCell<BTreeMap<Key, Chunk>>,
    fenced: RefCell<BTreeSet<SessionId>>,
    /// Chains that answer nothing now.
    dead: RefCell<BTreeSet<ChainId>>,
    home: RefCell<Option<SimEnv>>,
    /// Most time under way.
    pub(super) delay_max: Cell<Duration>,
    pub(super) bug: Cell<Option<Bug>>,
}

impl Shelf {
    /// The node on which requests land.
    pub(super) fn open(&self, env: SimEnv) {
        *self.home.borrow_mut() = Some(env);
    }

    /// For the end of the world: nothing of it keeps the world.
    pub(super) fn close(&self) {
        *self.home.borrow_mut() = None;
    }

    /// Nothing of `session` lands any more.
    pub(super) fn fence(&self, session: SessionId) {
        self.fenced.borrow_mut().insert(session);
    }

    /// Chains that answer nothing from now on.
    pub(super) fn set_dead(&self, chains: BTreeSet<ChainId>) {
        *self.dead.borrow_mut() = chains;
    }

    /// Inodes that have chunks.
    pub(super) fn inodes(&self) -> BTreeSet<InodeId> {
        self.chunks.borrow().keys().map(|(_, ino, _)| *ino).collect()
    }

    /// The tag of a cell of a file; 0 where nothing is.
    pub(super) fn cell(&self, chain: ChainId, ino: InodeId, index: u32, cell: usize) -> u64 {
        let chunks = self.chunks.borrow();
        let chunk = chunks.get(&(chain, ino, index));
        chunk.and_then(|chunk| chunk.cells.get(cell)).copied().unwrap_or(0)
    }

    pub(super) fn chains() -> Vec<ChainId> {
        (1..=CHAINS).filter_map(ChainId::new).collect()
    }
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    Done,
    /// The file was cut since.
    Stale,
    /// It may land or not.
    Unknown,
}

/// The chunks, as one process sees them.
#[derive(Clone)]
pub(super) struct MapChunks {
    env: SimEnv,
    session: SessionId,
    shelf: Rc<Shelf>,
}

impl MapChunks {
    pub(super) fn new(env: &SimEnv, session: SessionId, shelf: &Rc<Shelf>) -> Self {
        Self { env: env.clone(), session, shelf: shelf.clone() }
    }

    /// Writes `tag` into a cell.
    pub(super) async fn write(&self, at: At, cell: usize, tag: u64, by: Instant) -> Wrote {
        let write = move |shelf: &Shelf| {
            let mut chunks = shelf.chunks.borrow_mut();
            let key = (at.chain, at.chunk.inode, at.chunk.index);
            if chunks.get(&key).is_some_and(|chunk| at.epoch < chunk.epoch) {
                reached!("M1: a write of an older epoch was refused");
                return false;
            }
            let chunk = chunks.entry(key).or_default();
            chunk.epoch = at.epoch;
            if chunk.cells.len() <= cell {
                chunk.cells.resize(cell + 1, 0);
            }
            chunk.cells[cell] = tag;
            true
        };
        match self.request(at.chain, by, write).await {
            Ok(true) => Wrote::Done,
            Ok(false) => Wrote::Stale,
            Err(_) => Wrote::Unknown,
        }
    }

    /// Runs `work` as a request: it lands even if who sent it has died, unless the session was
    /// fenced before.
    async fn request<T: 'static>(
        &self,
        chain: ChainId,
        by: Instant,
        work: impl FnOnce(&Shelf) -> T + 'static,
    ) -> Result<T, ChunksError> {
        let failed = |why: &str| ChunksError::Chain { chain, why: why.to_owned() };
        let home = self.shelf.home.borrow().clone();
        let Some(home) = home else { return Err(failed("the world ends")) };
        if self.shelf.dead.borrow().contains(&chain) {
            self.env.sleep_until(by).await;
            return Err(failed("it answers nothing"));
        }
        let (shelf, session) = (self.shelf.clone(), self.session);
        let nanos = u64::try_from(shelf.delay_max.get().as_nanos()).unwrap_or(u64::MAX).max(1);
        let (there, back) = (home.random() % nanos, home.random() % nanos);
        let landed = home.spawn({
            let home = home.clone();
            async move {
                home.sleep_until(home.now() + Duration::from_nanos(there)).await;
                if shelf.fenced.borrow().contains(&session) {
                    reached!("L6: a request of a fenced session came to the chunks");
                    return None;
                }
                Some(work(&shelf))
            }
        });
        let answer = landed.await.ok_or_else(|| failed("fenced"))?;
        self.env.sleep_until(self.env.now() + Duration::from_nanos(back)).await;
        if by < self.env.now() {
            return Err(failed("the answer comes late"));
        }
        Ok(answer)
    }
}

/// Whether a cut or removal of `epoch` acts on `chunk` (M1).
fn acts(epoch: u32, chunk: &Chunk) -> bool {
    chunk.epoch < epoch || (epoch == 0 && chunk.epoch == 0)
}

impl Chunks for MapChunks {
    fn session(&self) -> SessionId {
        self.session
    }

    fn with_table<T>(&self, table: ChainTableId, read: impl FnOnce(&[ChainId]) -> T) -> T {
        let chains = Shelf::chains();
        read(if table == TABLE { &chains } else { &[] })
    }

    async fn holding(
        &self,
        chain: ChainId,
        inode: InodeId,
        range: Range<u32>,
        list: bool,
        by: Instant,
    ) -> Result<Holding, ChunksError> {
        let span = (chain, inode, range.start)..(chain, inode, range.end);
        let limit = if list { LIST_MAX } else { usize::MAX };
        let listed = move |shelf: &Shelf| {
            let mut found = Holding::default();
            for (&(_, _, index), chunk) in shelf.chunks.borrow().range(span) {
                if found.list.len() == limit {
                    found.resume = Some(index);
                    break;
                }
                let chunk_len = chunk.len();
                found.chunks += 1;
                found.bytes += u64::from(chunk_len);
                found.allocated += u64::from(chunk_len.next_multiple_of(4096));
                found.last = Some((index, chunk_len));
                if list {
                    let version = ChunkVersion::new(1);
                    found.list.push(Listed { index, version, chunk_len, allocated: chunk_len });
                }
            }
            found
        };
        self.request(chain, by, listed).await
    }

    async fn cut(&self, chunk: At, len: u32, by: Instant) -> Result<(), ChunksError> {
        if self.shelf.bug.get() == Some(Bug::CutNotDone) {
            return Ok(());
        }
        let cut = move |shelf: &Shelf| {
            let key = (chunk.chain, chunk.chunk.inode, chunk.chunk.index);
            let mut chunks = shelf.chunks.borrow_mut();
            if let Some(found) = chunks.get_mut(&key).filter(|found| acts(chunk.epoch, found)) {
                let cells = usize::try_from(u64::from(len) / CELL).expect("chunks are small");
                found.cells.resize(cells, 0);
                found.epoch = chunk.epoch;
            }
        };
        self.request(chunk.chain, by, cut).await
    }

    async fn remove(&self, chunks: Vec<At>, by: Instant) -> Result<(), ChunksError> {
        for chunk in chunks {
            if self.shelf.bug.get() == Some(Bug::CutNotDone) && chunk.epoch != u32::MAX {
                continue;
            }
            let remove = move |shelf: &Shelf| {
                let key = (chunk.chain, chunk.chunk.inode, chunk.chunk.index);
                let mut all = shelf.chunks.borrow_mut();
                if all.get(&key).is_some_and(|found| acts(chunk.epoch, found)) {
                    all.remove(&key);
                }
            };
            self.request(chunk.chain, by, remove).await?;
        }
        Ok(())
    }

    async fn is_over(&self, session: SessionId, _by: Instant) -> Result<bool, ChunksError> {
        Ok(self.shelf.fenced.borrow().contains(&session))
    }
}
