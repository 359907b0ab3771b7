//! The name of a node and the count of its starts, kept in a file of two sectors.
//!
//! ```text
//!   0  "EMBRNODE"   8  version u32 = 1  12  zero u32   16  uuid u128   32  starts u64
//!  40  node u32     44 1 if it is known, u32           48  sequence u64
//!  56  crc32c u32 of bytes 0 to 56
//! ```
//! One copy is written after the other, so that one is whole whenever the power fails; the higher
//! sequence counts. Both are written before anything is built on it: the loss of one takes no start
//! back.
//!
//! Invariants
//!   E385  a start is counted durably before anybody hears of it (R5)

use std::path::Path;

use engine_runtime::{Buf, Env, File, FileError, OpenOptions};
use engine_types::{Incarnation, NodeId, SECTOR_BYTES, StoreId, crc32c};

const MAGIC: [u8; 8] = *b"EMBRNODE";
const VERSION: u32 = 1;
const SECTOR: usize = SECTOR_BYTES as usize;
/// Bytes that mean something.
const BYTES: usize = 60;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    uuid: StoreId,
    starts: u64,
    node: Option<NodeId>,
    sequence: u64,
}

impl Kept {
    fn encode(&self, page: &mut [u8]) {
        page[0..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[16..32].copy_from_slice(&self.uuid.get().to_le_bytes());
        page[32..40].copy_from_slice(&self.starts.to_le_bytes());
        page[40..44].copy_from_slice(&self.node.map_or(0, NodeId::get).to_le_bytes());
        page[44..48].copy_from_slice(&u32::from(self.node.is_some()).to_le_bytes());
        page[48..56].copy_from_slice(&self.sequence.to_le_bytes());
        let crc = crc32c(&page[..56]);
        page[56..60].copy_from_slice(&crc.get().to_le_bytes());
    }

    /// Nothing unless a whole copy is there.
    fn decode(page: &[u8]) -> Option<Self> {
        let page = page.get(..BYTES)?;
        let u32_at = |at: usize| page[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let u64_at = |at: usize| page[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let whole = page[..8] == MAGIC && u32_at(8)? == VERSION;
        if !whole || u32_at(56)? != crc32c(&page[..56]).get() {
            return None;
        }
        let uuid = page[16..].first_chunk().map(|bytes| u128::from_le_bytes(*bytes))?;
        let node = (u32_at(44)? == 1).then_some(NodeId::new(u32_at(40)?));
        let (starts, sequence) = (u64_at(32)?, u64_at(48)?);
        Some(Self { uuid: StoreId::new(uuid), starts, node, sequence })
    }
}

/// The identity of this start, and the file behind it.
pub(crate) struct Identity<E: Env> {
    env: E,
    file: E::File,
    kept: Kept,
}

impl<E: Env> Identity<E> {
    /// Reads the file, or makes it, and counts a start.
    ///
    /// # Errors
    /// The file cannot be had; another process has it; or it holds something else.
    pub(crate) async fn open(env: &E, path: &Path) -> Result<Self, std::io::Error> {
        let options = OpenOptions { write: true, create: true, truncate: false, lock: true };
        let file = env.open(path, options).await.map_err(of_file)?;
        let fresh = file.geometry().size == 0;
        if fresh {
            file.set_len(2 * u64::from(SECTOR_BYTES)).await.map_err(of_file)?;
        }
        let mut newest: Option<Kept> = None;
        let mut empty = true;
        for copy in 0..2 {
            let at = copy * u64::from(SECTOR_BYTES);
            let page = file.read(at, SECTOR).await.map_err(of_file)?;
            empty &= page.iter().all(|byte| *byte == 0);
            let found = Kept::decode(&page);
            newest = match (newest, found) {
                (Some(one), Some(other)) if one.sequence < other.sequence => Some(other),
                (one, other) => one.or(other),
            };
        }
        let former = match newest {
            Some(kept) => kept,
            // Made, and the power failed before it was written: nobody has heard of it.
            None if empty => {
                let mut uuid = [0; 16];
                env.random_secret(&mut uuid);
                let uuid = StoreId::new(u128::from_le_bytes(uuid).max(1));
                Kept { uuid, starts: 0, node: None, sequence: 0 }
            }
            None => {
                let what = format!("{} is not the identity of a node", path.display());
                return Err(std::io::Error::other(what));
            }
        };
        let mut identity = Self { env: env.clone(), file, kept: former };
        identity.kept.starts += 1;
        identity.write().await?; // E385
        Ok(identity)
    }

    pub(crate) fn uuid(&self) -> StoreId {
        self.kept.uuid
    }

    pub(crate) fn node(&self) -> Option<NodeId> {
        self.kept.node
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation::new(self.kept.starts)
    }

    /// Notes the id that the manager gave.
    pub(crate) async fn named(&mut self, node: NodeId) -> Result<(), std::io::Error> {
        if self.kept.node == Some(node) {
            return Ok(());
        }
        self.kept.node = Some(node);
        self.write().await
    }

    /// Both copies.
    async fn write(&mut self) -> Result<(), std::io::Error> {
        self.write_one().await?;
        self.write_one().await
    }

    async fn write_one(&mut self) -> Result<(), std::io::Error> {
        self.kept.sequence += 1;
        let page = self.env.pool().alloc_wait(SECTOR).await.map_err(std::io::Error::other)?;
        let mut page: Buf<E::Memory> = page;
        page.set_len(SECTOR);
        page.fill(0);
        self.kept.encode(&mut page);
        let at = (self.kept.sequence % 2) * u64::from(SECTOR_BYTES);
        self.file.write(at, page.freeze()).await.map_err(of_file)?;
        self.file.flush().await.map_err(of_file)
    }
}

fn of_file(error: FileError) -> std::io::Error {
    std::io::Error::new(error.source.kind(), error.to_string())
}

#[cfg(test)]
mod tests;
