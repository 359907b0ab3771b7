//! What a client of the workload does chunks with: the storage client that ships, or, in tests of
//! the scenario itself, a thing in memory.

use std::rc::Rc;

use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, ChunkId, ChunkSize, Instant};

use super::ground::Ground;
use crate::check::chunks::{Change, Epoch, Saw, fill};

/// What came of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It made this version, of this length.
    Done { version: u32, len: u32 },
    /// It has no effect, and will have none.
    Never,
    /// Nobody knows.
    Unknown,
}

/// A chunk to be read or updated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) chain: ChainId,
    pub(super) chunk: ChunkId,
    pub(super) size: ChunkSize,
    /// Of updates.
    pub(super) epoch: Epoch,
}

/// Chunks, wherever they are.
pub(super) trait Chunks {
    /// Bytes of a chunk; nothing if it cannot be read by `deadline`.
    async fn read(&self, place: Place, offset: u32, len: u32, deadline: Instant) -> Option<Saw>;

    /// Changes a chunk.
    async fn update(&self, place: Place, change: Change, deadline: Instant) -> Came;

    /// Whether its session is over and nothing can be updated any more.
    fn is_over(&self) -> bool;
}

/// The client that ships.
pub(super) struct Shipped {
    pub(super) env: SimEnv,
    pub(super) ground: Rc<Ground>,
    pub(super) storage: client_storage::Storage<SimEnv>,
}

impl Chunks for Shipped {
    async fn read(&self, place: Place, offset: u32, len: u32, deadline: Instant) -> Option<Saw> {
        let storage = self.storage.by(deadline);
        let content = match storage.read(place.chain, place.chunk, offset, len).await {
            Ok(content) => content,
            Err(error) => {
                self.ground.tell_refusal(format!("at {}: {error}", self.env.world_now()));
                return None;
            }
        };
        let (version, chunk_len) = (content.version.get(), content.chunk_len);
        Some(Saw::of(version, chunk_len, offset, content.bytes()))
    }

    async fn update(&self, place: Place, change: Change, deadline: Instant) -> Came {
        use client_storage::Change as Shipped;
        let change = match change {
            Change::Write { offset, len, stamp } => {
                let mut bytes = vec![0; len as usize];
                fill(stamp, offset, &mut bytes);
                let Some(bytes) = engine_net::pooled(&self.env, &bytes).await else {
                    return Came::Never;
                };
                Shipped::Write { offset, parts: vec![bytes] }
            }
            Change::Truncate { len } => Shipped::Truncate { len },
            Change::Extend { len } => Shipped::Extend { len },
            Change::Zero { offset, len } => Shipped::Zero { offset, len },
            Change::Remove => Shipped::Remove,
        };
        let at = client_storage::At {
            chain: place.chain,
            chunk: place.chunk,
            size: place.size,
            epoch: place.epoch,
        };
        match self.storage.by(deadline).update(at.update(change)).await {
            Ok(done) => Came::Done { version: done.version.get(), len: done.chunk_len },
            Err(error) if error.may_have_happened() => Came::Unknown,
            Err(error) => {
                self.ground.tell_refusal(format!("at {}: {error}", self.env.world_now()));
                Came::Never
            }
        }
    }

    fn is_over(&self) -> bool {
        self.storage.is_fenced()
    }
}
