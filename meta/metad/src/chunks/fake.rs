//! Chunks in memory, for tests: epochs as the stores judge them, delays, chains that answer
//! nothing, requests that land after whoever sent them has gone.
//!
//! Clones share the chunks; [`FakeChunks::of`] gives another process its own session.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use client_storage::Listed;
use engine_runtime::Env;
use engine_types::ChunkVersion;

use super::*;

/// Chains of table 1, the only one.
pub(crate) const TABLE_CHAINS: u32 = 12;
/// Chunks of one page of a list, to meet every seam.
const LIST_MAX: usize = 3;

/// A call of the metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Holding { chain: ChainId, inode: InodeId, first: u32 },
    Cut { chunk: At, len: u32 },
    Remove { chunk: At },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chunk {
    epoch: u32,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    chunks: RefCell<BTreeMap<(ChainId, InodeId, u32), Chunk>>,
    calls: RefCell<Vec<Called>>,
    dead: RefCell<BTreeSet<ChainId>>,
    fenced: RefCell<BTreeSet<SessionId>>,
    delay_max: Cell<Duration>,
}

/// The chunks of a test, as one process sees them.
pub(crate) struct FakeChunks<E: Env> {
    env: E,
    session: SessionId,
    shared: Rc<Shared>,
}

impl<E: Env> Clone for FakeChunks<E> {
    fn clone(&self) -> Self {
        self.of(self.session)
    }
}

impl<E: Env> FakeChunks<E> {
    pub(crate) fn new(env: &E, session: SessionId) -> Self {
        Self { env: env.clone(), session, shared: Rc::default() }
    }

    /// The same chunks under another session.
    pub(crate) fn of(&self, session: SessionId) -> Self {
        Self { env: self.env.clone(), session, shared: self.shared.clone() }
    }

    /// Calls so far; forgotten afterwards.
    pub(crate) fn calls(&self) -> Vec<Called> {
        self.shared.calls.take()
    }

    /// Most time by which a request lands late.
    pub(crate) fn set_delay(&self, longest: Duration) {
        self.shared.delay_max.set(longest);
    }

    /// Makes a chain answer nothing, or well again.
    pub(crate) fn set_dead(&self, chain: ChainId, dead: bool) {
        let mut all = self.shared.dead.borrow_mut();
        if dead {
            all.insert(chain)
        } else {
            all.remove(&chain)
        };
    }

    /// Nothing of `session` happens any more.
    pub(crate) fn fence(&self, session: SessionId) {
        self.shared.fenced.borrow_mut().insert(session);
    }

    /// What a client writes: false when the file was truncated since it learnt `at.epoch`.
    pub(crate) fn write(&self, at: At, offset: u32, bytes: &[u8]) -> bool {
        let mut chunks = self.shared.chunks.borrow_mut();
        let key = (at.chain, at.chunk.inode, at.chunk.index);
        if chunks.get(&key).is_some_and(|chunk| at.epoch < chunk.epoch) {
            return false;
        }
        let chunk = chunks.entry(key).or_default();
        let end = offset as usize + bytes.len();
        assert!(end <= at.size.bytes() as usize, "a write of a test leaves its chunk");
        chunk.bytes.resize(chunk.bytes.len().max(end), 0);
        chunk.bytes[offset as usize..end].copy_from_slice(bytes);
        chunk.epoch = at.epoch;
        true
    }

    /// The bytes of a chunk.
    pub(crate) fn bytes(&self, chain: ChainId, inode: InodeId, index: u32) -> Vec<u8> {
        let chunks = self.shared.chunks.borrow();
        chunks.get(&(chain, inode, index)).map(|chunk| chunk.bytes.clone()).unwrap_or_default()
    }

    /// Chunks of a file.
    pub(crate) fn count(&self, inode: InodeId) -> usize {
        self.shared.chunks.borrow().keys().filter(|(_, of, _)| *of == inode).count()
    }

    async fn delay(&self) {
        let nanos = u64::try_from(self.shared.delay_max.get().as_nanos()).unwrap_or(u64::MAX);
        if let Some(wait) = self.env.random().checked_rem(nanos) {
            self.env.sleep_until(self.env.now() + Duration::from_nanos(wait)).await;
        }
    }

    /// Runs `work` as a request: it lands even if nobody waits any more, unless the session was
    /// fenced before. A dead chain answers nothing until the deadline.
    async fn request<T: 'static>(
        &self,
        chain: ChainId,
        by: Instant,
        work: impl FnOnce(&Shared) -> T + 'static,
    ) -> Result<T, ChunksError> {
        if self.shared.dead.borrow().contains(&chain) {
            self.env.sleep_until(by).await;
            return Err(ChunksError::Chain { chain, why: "it answers nothing".to_owned() });
        }
        let this = self.clone();
        let landed = self.env.spawn(async move {
            this.delay().await;
            if this.shared.fenced.borrow().contains(&this.session) {
                return Err(ChunksError::Chain { chain, why: "fenced".to_owned() });
            }
            Ok(work(&this.shared))
        });
        let answer = landed.await;
        self.delay().await;
        answer
    }
}

/// Whether a cut or removal of `epoch` acts on `chunk` (M1).
fn acts(epoch: u32, chunk: &Chunk) -> bool {
    chunk.epoch < epoch || (epoch == 0 && chunk.epoch == 0)
}

impl<E: Env> Chunks for FakeChunks<E> {
    fn session(&self) -> SessionId {
        self.session
    }

    fn with_table<T>(&self, table: ChainTableId, read: impl FnOnce(&[ChainId]) -> T) -> T {
        let chains: Vec<_> = (1..=TABLE_CHAINS).filter_map(ChainId::new).collect();
        read(if table == ChainTableId::new(1) { &chains } else { &[] })
    }

    fn all_chains(&self) -> Vec<ChainId> {
        (1..=TABLE_CHAINS).filter_map(ChainId::new).collect()
    }

    async fn listed(
        &self,
        chain: ChainId,
        behind: Option<ChunkId>,
        by: Instant,
    ) -> Result<Vec<ListedChunk>, ChunksError> {
        let listed = move |shared: &Shared| {
            let chunks = shared.chunks.borrow();
            let first = behind.map_or((InodeId::new(0), 0), |chunk| (chunk.inode, chunk.index));
            let own =
                chunks.range((chain, first.0, first.1)..).take_while(|(key, _)| key.0 == chain);
            let own = own.map(|(&(_, inode, index), chunk)| ListedChunk {
                chunk: ChunkId { inode, index },
                len: u32::try_from(chunk.bytes.len()).unwrap(),
            });
            own.filter(|listed| Some(listed.chunk) != behind).take(LIST_MAX).collect()
        };
        self.request(chain, by, listed).await
    }

    async fn holding(
        &self,
        chain: ChainId,
        inode: InodeId,
        range: Range<u32>,
        list: bool,
        by: Instant,
    ) -> Result<Holding, ChunksError> {
        let first = range.start;
        self.shared.calls.borrow_mut().push(Called::Holding { chain, inode, first });
        let span = (chain, inode, range.start)..(chain, inode, range.end);
        let limit = if list { LIST_MAX } else { usize::MAX };
        let listed = move |shared: &Shared| {
            let mut found = Holding::default();
            let chunks = shared.chunks.borrow();
            for (&(_, _, index), chunk) in chunks.range(span) {
                if found.list.len() == limit {
                    found.resume = Some(index);
                    break;
                }
                let chunk_len = u32::try_from(chunk.bytes.len()).unwrap();
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
        self.shared.calls.borrow_mut().push(Called::Cut { chunk, len });
        let cut = move |shared: &Shared| {
            let key = (chunk.chain, chunk.chunk.inode, chunk.chunk.index);
            let mut chunks = shared.chunks.borrow_mut();
            if let Some(found) = chunks.get_mut(&key).filter(|found| acts(chunk.epoch, found)) {
                found.bytes.resize(len as usize, 0);
                found.epoch = chunk.epoch;
            }
        };
        self.request(chunk.chain, by, cut).await
    }

    async fn remove(&self, chunks: Vec<At>, by: Instant) -> Result<(), ChunksError> {
        assert!(chunks.len() <= REMOVE_BATCH_MAX, "removals come in batches");
        for chunk in chunks {
            self.shared.calls.borrow_mut().push(Called::Remove { chunk });
            let remove = move |shared: &Shared| {
                let key = (chunk.chain, chunk.chunk.inode, chunk.chunk.index);
                let mut all = shared.chunks.borrow_mut();
                if all.get(&key).is_some_and(|found| acts(chunk.epoch, found)) {
                    all.remove(&key);
                }
            };
            self.request(chunk.chain, by, remove).await?;
        }
        Ok(())
    }

    async fn is_over(&self, session: SessionId, _by: Instant) -> Result<bool, ChunksError> {
        Ok(self.shared.fenced.borrow().contains(&session))
    }
}
