//! Reads and updates of chunks, wherever their replicas are.
//!
//! ```text
//!  read  write  truncate  copy  query  batches                         routing info (mgmt/client)
//!    │     │ a channel of the chain: (session, channel, seq)                    │
//!    v     v                                                                    v
//!  drive: place ──> group ──> window of the shard ──> message ──> judge ──> done, or wait, again
//!           │                      │
//!           │ any serving replica  │ one connection per shard: (node, core) -> port
//!           │ head · tail          │
//!           └────── health         └────── asked of the node, once per start
//! ```
//!
//! Owner: one core; clones share everything. Nothing is cached: a read is a read of a replica, and
//! every answer says which version of the chunk it is of.
//!
//! What is tried again, and how, follows from the class of the status ([`Status::retry`]):
//!
//! | class | what follows |
//! |---|---|
//! | stale routing | a newer version of the chain is waited for, at most `routing_wait`; |
//! | | a replica that is behind itself: reads go to another, updates pause |
//! | other target, | reads: another replica at once; when all were tried, a pause |
//! | unknown result | others: routing is asked for, a pause, and the same again, tag and all |
//! | busy, in flight | a pause |
//! | never | the end; an absent chunk is an answer to a read |
//!
//! Pauses are 10 ms, doubled up to 250 ms, with jitter; a new version of the chain ends them. An
//! attempt has a patience of its own, so that a replica that does not answer does not eat the time
//! of the whole operation.
//!
//! # Abandoned updates
//! An update whose deadline passes, or whose caller goes, while an attempt may be on its way has
//! an unknown effect, now *or later*: the message may lie in a buffer, or wait at a head. Doing
//! nothing would be wrong in practice: the caller is told of an error, writes the same range anew
//! with success, and then the old bytes arrive. Sending the old request until it is answered would
//! be right, but would make happen what the caller was told had failed, and keep its data.
//! So the request is overtaken: its channel does something newer, the removal of a chunk of a file
//! that never exists. Replicas know for each channel the newest request that was done, on the
//! record of every one of them (R15), and refuse older ones. While the old one is under way at the
//! head, the head answers `Busy` to the newer one. So once the newer one is answered, the old one
//! has happened or never will. Until then the channel is used for nothing else, and the chunk is
//! given no update of this client; afterwards both are free again. If many are abandoned, the
//! channels of the chain run out and updates wait (until their deadlines), as they should.
//!
//! Numbered invariants
//!   E370  an item is at one place at a time, and ends once
//!   E371  a channel is used by one update at a time, and its numbers ascend
//!   E372  attempts of one update have the same tag and the same bytes (R14)
//!   E373  an update of a chunk is sent only when every update of it that this client abandoned
//!         has happened or never will
//!   E374  what is under way to a shard stays within its window
//!   E375  an operation ends by its deadline, and waits for nothing without a bound
//!   E376  ports of a node's shards are asked for anew after one could not be reached
//!   E377  with a revoked session nothing is updated any more (L6)
//!
//! Crash: nothing here is durable. Updates that were under way are the business of whoever revokes
//! the session.
//!
//! [`Status::retry`]: engine_types::Status::retry

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use engine_net::NetConfig;
use engine_runtime::{Bytes, CancelToken, Env, until};
use engine_types::limits::PAYLOAD_BYTES_MAX;
use engine_types::{
    ChainId, ChunkId, ChunkSize, InodeId, Instant, Map, SessionId, Status, TargetId,
};

/// Whether a bug of `engine_craq::planted` holds; without the feature `planted` none does.
macro_rules! planted {
    ($name:ident) => {{
        #[cfg(feature = "planted")]
        let holds = engine_craq::planted::is(engine_craq::planted::Bug::$name);
        #[cfg(not(feature = "planted"))]
        let holds = false;
        holds
    }};
}

mod batch;
mod channels;
mod config;
mod data;
mod drive;
mod error;
mod health;
mod list;
mod metrics;
mod place;
mod query;
mod read;
mod routing;
mod shards;
mod space;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod update;

pub use config::{CHANNELS_MAX, SettingError, StorageConfig};
pub use error::{Op, StorageError, Subject, Tried};
pub use metrics::MetricsSnapshot;
pub use query::{Holding, Listed};
pub use read::{Content, DataMap, Head, Read};
pub use routing::Routing;
pub use space::{SpaceError, StoreRoom};
pub use update::{Change, FENCE_INODE, Update, Updated};

use channels::Channels;
use drive::{Ended, Item};
use list::ListOp;
use metrics::Metrics;
use place::TargetHealth;
use query::QueryOp;
use read::ReadOp;
use shards::Shards;

/// Shared by all handles of one storage client, and by what runs for it.
struct Inner<E: Env> {
    env: E,
    config: Rc<StorageConfig>,
    routing: Box<dyn Routing>,
    session: SessionId,
    shards: Shards<E>,
    channels: RefCell<BTreeMap<ChainId, Rc<Channels>>>,
    targets: RefCell<BTreeMap<TargetId, TargetHealth>>,
    turns: RefCell<Map<ChainId, u32>>,
    fenced: Cell<bool>,
    closed: CancelToken,
    metrics: Metrics,
}

/// What all handles hold, and tasks do not.
struct Handle<E: Env>(Rc<Inner<E>>);

impl<E: Env> Drop for Handle<E> {
    fn drop(&mut self) {
        self.0.closed.cancel();
    }
}

impl<E: Env> Inner<E> {
    /// Drops idle connections until the client is closed.
    async fn sweep(self: Rc<Self>) {
        let idle = self.config.idle_time;
        loop {
            let pause = self.env.now() + idle / 2;
            if until(&self.env, pause, self.closed.cancelled()).await.is_ok() {
                return;
            }
            self.shards.sweep(idle);
        }
    }
}

/// Chunks of a cluster. Clones share connections, windows and channels; when the last one is
/// dropped, its connections close.
pub struct Storage<E: Env> {
    handle: Rc<Handle<E>>,
    deadline: Option<Instant>,
}

impl<E: Env> Clone for Storage<E> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), deadline: self.deadline }
    }
}

/// A new storage client, and how operations end.
impl<E: Env> Storage<E> {
    /// Nothing is sent before the first operation. The channels of `config` belong to it alone for
    /// the life of `session`: another client with the same ones would be taken for this one. So a
    /// process that starts again opens a new session (it raises its epoch at the managers).
    ///
    /// # Panics
    /// When the settings fail [`StorageConfig::check`]: whoever reads a configuration checks it.
    pub fn new(
        env: &E,
        net: Rc<NetConfig>,
        routing: impl Routing,
        session: SessionId,
        config: StorageConfig,
    ) -> Self {
        if let Err(error) = config.check() {
            panic!("a storage client was given settings that nobody checked: {error}");
        }
        let config = Rc::new(config);
        let inner = Inner {
            env: env.clone(),
            shards: Shards::new(env, net, config.clone()),
            config,
            routing: Box::new(routing),
            session,
            channels: RefCell::default(),
            targets: RefCell::default(),
            turns: RefCell::default(),
            fenced: Cell::new(false),
            closed: CancelToken::default(),
            metrics: Metrics::default(),
        };
        let inner = Rc::new(inner);
        drop(env.spawn(inner.clone().sweep()));
        Self { handle: Rc::new(Handle(inner)), deadline: None }
    }

    /// The same client, whose operations end at `deadline`.
    #[must_use]
    pub fn by(&self, deadline: Instant) -> Self {
        Self { handle: self.handle.clone(), deadline: Some(deadline) }
    }

    /// What it runs in.
    pub fn env(&self) -> &E {
        &self.inner().env
    }

    /// The session whose channels are used.
    pub fn session(&self) -> SessionId {
        self.inner().session
    }

    /// Whether the session is revoked (E377).
    pub fn is_fenced(&self) -> bool {
        self.inner().is_fenced()
    }

    /// What was counted.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner().metrics.snapshot()
    }

    /// Ends all operations, and closes the connections after what is under way, or at `deadline`.
    pub async fn close(&self, deadline: Instant) {
        self.inner().closed.cancel();
        self.inner().shards.close(deadline).await;
    }

    fn inner(&self) -> &Rc<Inner<E>> {
        &self.handle.0
    }

    fn deadline(&self) -> Instant {
        let inner = self.inner();
        self.deadline.unwrap_or_else(|| inner.env.now() + inner.config.deadline)
    }
}

/// Reads.
impl<E: Env> Storage<E> {
    /// Bytes of a chunk, as many as it has of the range.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read(
        &self,
        chain: ChainId,
        chunk: ChunkId,
        offset: u32,
        len: u32,
    ) -> Result<Content<E>, StorageError> {
        self.read_one(Op::Read, Read { chain, chunk, offset, len }).await
    }

    /// Version and length of a chunk.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn head(&self, chain: ChainId, chunk: ChunkId) -> Result<Head, StorageError> {
        let content = self.read_one(Op::Head, Read { chain, chunk, offset: 0, len: 0 }).await?;
        Ok(Head { version: content.version, chunk_len: content.chunk_len })
    }

    /// Which parts of a range of a chunk are data.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn data_map(
        &self,
        chain: ChainId,
        chunk: ChunkId,
        offset: u32,
        len: u32,
    ) -> Result<DataMap, StorageError> {
        let content = self.read_one(Op::Map, Read { chain, chunk, offset, len }).await?;
        let head = Head { version: content.version, chunk_len: content.chunk_len };
        Ok(DataMap::new(head, content.bytes()))
    }

    /// Many reads, as few messages as there are shards to be asked; outcomes in the order of
    /// `reads`. Each is of one version of its chunk; together they are of no one moment.
    pub async fn read_batch(&self, reads: &[Read]) -> Vec<Result<Content<E>, StorageError>> {
        let mut ended = Vec::new();
        let mut items = Vec::with_capacity(reads.len());
        for (index, &read) in reads.iter().enumerate() {
            match fits(Op::Read, read) {
                Ok(op) => items.push(Item::new(index, op)),
                Err(error) => ended.push((index, Err(error))),
            }
        }
        let ops = vec![Op::Read; reads.len()];
        ended.extend(self.inner().clone().drive(items, self.deadline()).await);
        self.in_order(&ops, ended)
    }

    /// What the tail of a chain holds of a range of a file's chunks, and which chunks these are if
    /// `list` says so.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn query(
        &self,
        chain: ChainId,
        inode: InodeId,
        range: Range<u32>,
        list: bool,
    ) -> Result<Holding, StorageError> {
        let op = QueryOp { chain, inode, range, list };
        let ended = self.inner().clone().drive(vec![Item::new(0, op)], self.deadline()).await;
        self.only(Op::Query, ended)
    }

    /// A page of the chunks that the tail of a chain has, of whatever files, behind one of them
    /// (`None`: from the first on); with their lengths, in the order of inodes and indices. None
    /// is the end.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn list(
        &self,
        chain: ChainId,
        behind: Option<ChunkId>,
    ) -> Result<Vec<(ChunkId, u32)>, StorageError> {
        // No file has inode 0.
        let first = ChunkId { inode: InodeId::new(0), index: 0 };
        let op = ListOp { chain, behind: behind.unwrap_or(first) };
        let ended = self.inner().clone().drive(vec![Item::new(0, op)], self.deadline()).await;
        self.only(Op::Query, ended)
    }

    async fn read_one(&self, op: Op, read: Read) -> Result<Content<E>, StorageError> {
        let item = Item::new(0, fits(op, read)?);
        let ended = self.inner().clone().drive(vec![item], self.deadline()).await;
        self.only(op, ended)
    }
}

/// Updates. Each happens once or not at all, however often it is sent (R14).
impl<E: Env> Storage<E> {
    /// Does one update.
    ///
    /// # Errors
    /// [`StorageError`]; [`may_have_happened`](StorageError::may_have_happened) says whether the
    /// effect is unknown.
    pub async fn update(&self, update: Update<E>) -> Result<Updated, StorageError> {
        let op = update.change.op();
        let mut outcomes = self.update_batch(vec![update]).await;
        outcomes.pop().unwrap_or_else(|| unreachable!("E370: {op} ends once"))
    }

    /// Many updates, in any order; as few messages as there are shards to be sent to. Outcomes are
    /// in the order of `updates`.
    pub async fn update_batch(
        &self,
        updates: Vec<Update<E>>,
    ) -> Vec<Result<Updated, StorageError>> {
        let ops: Vec<Op> = updates.iter().map(|update| update.change.op()).collect();
        let mut ended = Vec::with_capacity(updates.len());
        let mut good = Vec::with_capacity(updates.len());
        for (index, update) in updates.into_iter().enumerate() {
            match update::check(&update) {
                Ok(()) => good.push((index, update)),
                Err(error) => ended.push((index, Err(error))),
            }
        }
        ended.extend(batch::updates(self.inner().clone(), good, self.deadline()).await);
        self.in_order(&ops, ended)
    }

    /// Writes bytes; a gap behind the old length becomes zeros.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn write(
        &self,
        chunk: At,
        offset: u32,
        parts: Vec<Bytes<E::Memory>>,
    ) -> Result<Updated, StorageError> {
        self.update(chunk.update(Change::Write { offset, parts })).await
    }

    /// Sets the length.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn truncate(&self, chunk: At, len: u32) -> Result<Updated, StorageError> {
        self.update(chunk.update(Change::Truncate { len })).await
    }

    /// Raises the length to `len`, if it is shorter.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn extend(&self, chunk: At, len: u32) -> Result<Updated, StorageError> {
        self.update(chunk.update(Change::Extend { len })).await
    }

    /// Makes a range zeros.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn zero(&self, chunk: At, offset: u32, len: u32) -> Result<Updated, StorageError> {
        self.update(chunk.update(Change::Zero { offset, len })).await
    }

    /// Removes the chunk.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn remove(&self, chunk: At) -> Result<Updated, StorageError> {
        self.update(chunk.update(Change::Remove)).await
    }

    /// Copies bytes `offset` to `offset + len` of `from`, a chunk of the same chain, to `to`.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn copy(
        &self,
        chunk: At,
        from: ChunkId,
        (offset, len): (u32, u32),
        to: u32,
    ) -> Result<Updated, StorageError> {
        self.update(chunk.update(Change::Copy { from, offset, len, to })).await
    }
}

impl<E: Env> Storage<E> {
    /// Counts outcomes and puts them into the order of what was asked.
    fn in_order<A>(&self, ops: &[Op], ended: Vec<Ended<A>>) -> Vec<Result<A, StorageError>> {
        let mut outcomes: Vec<Option<Result<A, StorageError>>> = ops.iter().map(|_| None).collect();
        for (index, outcome) in ended {
            let status = outcome.as_ref().map_or_else(StorageError::status, |_| Status::Ok);
            self.inner().metrics.ended(ops[index], status);
            let former = outcomes[index].replace(outcome);
            assert!(former.is_none(), "E370: item {index} ends once");
        }
        let ended = |outcome: Option<Result<A, StorageError>>| outcome.expect("E370: all end");
        outcomes.into_iter().map(ended).collect()
    }

    fn only<A>(&self, op: Op, ended: Vec<Ended<A>>) -> Result<A, StorageError> {
        self.in_order(&[op], ended).pop().expect("E370: one item was given")
    }
}

/// A chunk that is updated, and what its writer knows of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The chain of the chunk.
    pub chain: ChainId,
    /// The chunk.
    pub chunk: ChunkId,
    /// Size of the file's chunks.
    pub size: ChunkSize,
    /// Truncate epoch that the caller holds (M1).
    pub epoch: u32,
}

impl At {
    /// An update of it.
    pub fn update<E: Env>(self, change: Change<E>) -> Update<E> {
        let Self { chain, chunk, size, epoch } = self;
        Update { chain, chunk, size, epoch, change }
    }
}

/// A read that one message can answer.
fn fits(op: Op, read: Read) -> Result<ReadOp, StorageError> {
    let limit = u64::from(PAYLOAD_BYTES_MAX);
    let found = u64::from(read.len);
    if op == Op::Read && limit < found {
        let subject = Subject { op, chain: read.chain, chunk: read.chunk };
        return Err(StorageError::TooLarge { subject, what: "the length", found, limit });
    }
    Ok(ReadOp { read, op })
}
