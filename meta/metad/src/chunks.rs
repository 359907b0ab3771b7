//! What the metadata service needs of storage nodes: which chunks a file has, cutting one, removing
//! many, and whether a session can still do anything.
//!
//! Everything else that happens to chunks is the clients' business. Operations are written against
//! [`Chunks`]; what ships is [`NodeChunks`], over `client_storage`.
//!
//! Rules that implementations keep and callers rely on
//!   - cuts and removals act only on chunks of an older epoch (M1); of a chunk that is absent, or
//!     of a newer epoch, they are done as wanted
//!   - an answer is definite: after `Ok` nothing of the call is under way. After an error it may
//!     still happen; a later call for the same chunk waits for that, or is refused (E373)
//!   - no call outlives its deadline

use core::future::Future;
use core::ops::Range;
use std::rc::Rc;

use client_storage::{At, Change, Holding, Storage, StorageError};
use engine_runtime::Env;
use engine_types::{ChainId, ChainTableId, ChunkId, InodeId, Instant, SessionId, Status};
use mgmt_client::{Follower, Managers};

use crate::space::Space;

#[cfg(test)]
pub(crate) mod fake;
mod rooms;
pub(crate) mod sweep;

use rooms::Rooms;

/// Chunks of one request of removals, so that one message never holds up another file's for long:
/// what one message of the storage client carries.
pub(crate) const REMOVE_BATCH_MAX: usize = 256;

/// Why chunks could not be asked for or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunksError {
    /// A chain did not do it in time, or refused it.
    #[error("{chain}: {why}")]
    Chain {
        /// Which.
        chain: ChainId,
        /// In words of the storage client.
        why: String,
    },
    /// A chain has a chunk in another size: nothing was done to that one.
    #[error("{chain}: {why}")]
    Size {
        /// Which.
        chain: ChainId,
        /// In words of the storage client.
        why: String,
    },
    /// A layout names a table that the routing info does not have, or not as long.
    #[error("{table} has {chains} chains, a file of it is striped over {stripe}")]
    Table {
        /// The table.
        table: ChainTableId,
        /// Its chains; 0 when it is not known.
        chains: usize,
        /// Chains of the file's stripe.
        stripe: u32,
    },
    /// Managers did not say whether a session is over.
    #[error("whether {session} is over is not known: {why}")]
    Session {
        /// Which.
        session: SessionId,
        /// In words of the manager's client.
        why: String,
    },
}

/// A chunk that a chain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedChunk {
    /// Which.
    pub chunk: ChunkId,
    /// Its bytes.
    pub len: u32,
}

/// Chunks of a cluster, as the metadata service sees them.
pub trait Chunks: Clone + 'static {
    /// The session under which this process cuts and removes.
    fn session(&self) -> SessionId;

    /// The chains of a table; none when it is not known.
    fn with_table<T>(&self, table: ChainTableId, read: impl FnOnce(&[ChainId]) -> T) -> T;

    /// All chains of the newest routing info; none where nobody checks file systems.
    fn all_chains(&self) -> Vec<ChainId> {
        Vec::new()
    }

    /// A page of the chunks that a chain has, of whatever files, behind one of them; in the order
    /// of inodes and indices. None is the end.
    ///
    /// # Errors
    /// [`ChunksError::Chain`].
    fn listed(
        &self,
        _chain: ChainId,
        _behind: Option<ChunkId>,
        _by: Instant,
    ) -> impl Future<Output = Result<Vec<ListedChunk>, ChunksError>> {
        core::future::ready(Ok(Vec::new()))
    }

    /// What a chain has of some chunks of a file; with the chunks themselves when `list` says so.
    ///
    /// # Errors
    /// [`ChunksError::Chain`].
    fn holding(
        &self,
        chain: ChainId,
        inode: InodeId,
        range: Range<u32>,
        list: bool,
        by: Instant,
    ) -> impl Future<Output = Result<Holding, ChunksError>>;

    /// Sets the length of a chunk.
    ///
    /// # Errors
    /// [`ChunksError::Chain`].
    fn cut(
        &self,
        chunk: At,
        len: u32,
        by: Instant,
    ) -> impl Future<Output = Result<(), ChunksError>>;

    /// Removes chunks, at most [`REMOVE_BATCH_MAX`]; nothing is known of which when it fails.
    ///
    /// # Errors
    /// [`ChunksError::Chain`] or [`ChunksError::Size`], of one that failed.
    fn remove(&self, chunks: Vec<At>, by: Instant)
    -> impl Future<Output = Result<(), ChunksError>>;

    /// Whether nothing of `session` can happen any more on any storage node (L6).
    ///
    /// # Errors
    /// [`ChunksError::Session`].
    fn is_over(
        &self,
        session: SessionId,
        by: Instant,
    ) -> impl Future<Output = Result<bool, ChunksError>>;

    /// Room for chunks, as far as it is known; by `by`. None where nobody asks for it.
    fn space(&self, _by: Instant) -> impl Future<Output = Space> {
        core::future::ready(Space::default())
    }
}

/// Chunks on storage nodes.
pub struct NodeChunks<E: Env> {
    storage: Storage<E>,
    routing: Rc<Follower<E>>,
    managers: Managers<E>,
    rooms: Rc<Rooms<E>>,
}

impl<E: Env> Clone for NodeChunks<E> {
    fn clone(&self) -> Self {
        let (storage, routing) = (self.storage.clone(), self.routing.clone());
        Self { storage, routing, managers: self.managers.clone(), rooms: self.rooms.clone() }
    }
}

impl<E: Env> NodeChunks<E> {
    /// `storage` has a session of this process's own.
    pub fn new(storage: Storage<E>, routing: Rc<Follower<E>>, managers: Managers<E>) -> Self {
        let rooms = Rc::new(Rooms::new(storage.env(), storage.clone(), routing.clone()));
        Self { storage, routing, managers, rooms }
    }
}

fn failed(chain: ChainId, error: &StorageError) -> ChunksError {
    ChunksError::Chain { chain, why: error.to_string() }
}

/// A cut or removal that a newer epoch refuses is done, or overtaken; a chunk that is not there
/// needs none (M1).
fn done<T>(chain: ChainId, outcome: Result<T, StorageError>) -> Result<(), ChunksError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(StorageError::Refused {
            status: Status::StaleEpoch | Status::NotFound,
            may_have_happened: false,
            ..
        }) => Ok(()),
        Err(
            error @ StorageError::Refused {
                status: Status::InvalidArgument,
                may_have_happened: false,
                ..
            },
        ) => Err(ChunksError::Size { chain, why: error.to_string() }),
        Err(error) => Err(failed(chain, &error)),
    }
}

impl<E: Env> Chunks for NodeChunks<E> {
    fn session(&self) -> SessionId {
        self.storage.session()
    }

    fn with_table<T>(&self, table: ChainTableId, read: impl FnOnce(&[ChainId]) -> T) -> T {
        let routing = self.routing.routing();
        read(routing.tables.get(&table).map_or(&[], |table| &table.chains))
    }

    fn all_chains(&self) -> Vec<ChainId> {
        self.routing.routing().chains.keys().copied().collect()
    }

    async fn listed(
        &self,
        chain: ChainId,
        behind: Option<ChunkId>,
        by: Instant,
    ) -> Result<Vec<ListedChunk>, ChunksError> {
        let page = self.storage.by(by).list(chain, behind).await;
        let page = page.map_err(|error| failed(chain, &error))?;
        Ok(page.into_iter().map(|(chunk, len)| ListedChunk { chunk, len }).collect())
    }

    async fn holding(
        &self,
        chain: ChainId,
        inode: InodeId,
        range: Range<u32>,
        list: bool,
        by: Instant,
    ) -> Result<Holding, ChunksError> {
        let asked = self.storage.by(by).query(chain, inode, range, list).await;
        asked.map_err(|error| failed(chain, &error))
    }

    async fn cut(&self, chunk: At, len: u32, by: Instant) -> Result<(), ChunksError> {
        done(chunk.chain, self.storage.by(by).truncate(chunk, len).await)
    }

    async fn remove(&self, chunks: Vec<At>, by: Instant) -> Result<(), ChunksError> {
        assert!(chunks.len() <= REMOVE_BATCH_MAX, "removals come in batches");
        let updates = chunks.iter().map(|chunk| chunk.update(Change::Remove)).collect();
        let outcomes = self.storage.by(by).update_batch(updates).await;
        chunks.iter().zip(outcomes).try_for_each(|(chunk, outcome)| done(chunk.chain, outcome))
    }

    async fn is_over(&self, session: SessionId, by: Instant) -> Result<bool, ChunksError> {
        let asked = self.managers.ended(&[session], by).await;
        let why = |error: mgmt_client::ManagerError| error.to_string();
        let ended = asked.map_err(|error| ChunksError::Session { session, why: why(error) })?;
        Ok(ended.contains(&session))
    }

    async fn space(&self, by: Instant) -> Space {
        self.rooms.space(by).await
    }
}
