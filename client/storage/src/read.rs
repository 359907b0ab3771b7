//! Reads: bytes, heads, and maps of what is data.

use core::time::Duration;

use engine_net::{Call, Client};
use engine_runtime::{Bytes, Env};
use engine_types::{ChainId, ChainVersion, ChunkId, ChunkVersion, Instant, Status};
use engine_wire::bodies;
use engine_wire::bodies::storage::{
    READ_BYTES, READ_HEAD, READ_MAP, ReadAnswer, ReadItem, StorageReadReply, StorageReadRequest,
};

use crate::config::StorageConfig;
use crate::drive::{Failed, ITEMS_MAX, Item, Operation, Said};
use crate::error::{Op, Subject};
use crate::place::Whom;

/// Bytes of the longest map: a chunk has 1,024 checksum blocks at most, and holes are whole ones,
/// so no more than 513 parts of it are data, of 8 bytes each.
pub(crate) const MAP_BYTES_MAX: u32 = 8 << 10;
/// Bytes that name one part in a map: offset and length.
const MAP_ENTRY_BYTES: usize = 8;

/// A read of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The chain of the chunk.
    pub chain: ChainId,
    /// The chunk.
    pub chunk: ChunkId,
    /// First byte.
    pub offset: u32,
    /// Bytes at most; no more than `PAYLOAD_BYTES_MAX`.
    pub len: u32,
}

/// What stands in a chunk. An absent chunk has version 0, and no bytes.
pub struct Content<E: Env> {
    /// The committed version that was read.
    pub version: ChunkVersion,
    /// Length of the chunk at that version.
    pub chunk_len: u32,
    bytes: Option<Bytes<E::Memory>>,
}

impl<E: Env> Content<E> {
    /// Whether there is such a chunk.
    pub fn exists(&self) -> bool {
        self.version != ChunkVersion::default()
    }

    /// What was read; as much as the chunk has of the range.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(&[])
    }

    /// The same as a buffer, to be passed on without a copy; nothing if it is empty.
    pub fn into_bytes(self) -> Option<Bytes<E::Memory>> {
        self.bytes
    }
}

impl<E: Env> core::fmt::Debug for Content<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (bytes, len) = (self.bytes().len(), self.chunk_len);
        write!(f, "Content({}, {bytes} bytes of a chunk of {len})", self.version)
    }
}

/// Version and length of a chunk; version 0 if it is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The committed version.
    pub version: ChunkVersion,
    /// Its length.
    pub chunk_len: u32,
}

impl Head {
    /// Whether there is such a chunk.
    pub fn exists(&self) -> bool {
        self.version != ChunkVersion::default()
    }
}

/// Which parts of a chunk are data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMap {
    /// Version and length of the chunk.
    pub head: Head,
    /// Offset and length of each part that is data, ascending; what lies between reads as zeros.
    pub parts: Vec<(u32, u32)>,
}

impl DataMap {
    /// From its form on the wire.
    pub(crate) fn new(head: Head, bytes: &[u8]) -> Self {
        let word = |word: &[u8]| u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let (entries, _) = bytes.as_chunks::<MAP_ENTRY_BYTES>();
        let parts = entries.iter().map(|entry| (word(&entry[..4]), word(&entry[4..]))).collect();
        Self { head, parts }
    }
}

pub(crate) struct ReadOp {
    pub(crate) read: Read,
    pub(crate) op: Op,
}

impl ReadOp {
    const fn what(&self) -> u8 {
        match self.op {
            Op::Head => READ_HEAD,
            Op::Map => READ_MAP,
            _ => READ_BYTES,
        }
    }

    /// Bytes that its answer may bring.
    const fn room(&self) -> u32 {
        match self.op {
            Op::Head => 0,
            Op::Map => MAP_BYTES_MAX,
            _ => self.read.len,
        }
    }
}

impl<E: Env> Operation<E> for ReadOp {
    type Answer = Content<E>;

    const WHOM: Whom = Whom::Any;
    const ITEMS_MAX: usize = ITEMS_MAX;

    fn subject(&self) -> Subject {
        Subject { op: self.op, chain: self.read.chain, chunk: self.read.chunk }
    }

    fn bytes(&self) -> u32 {
        self.room()
    }

    fn patience(config: &StorageConfig) -> Duration {
        config.read_patience
    }

    async fn send(
        client: &Client<E>,
        items: &[Item<E, Self>],
        by: Instant,
    ) -> Result<Vec<Said<Content<E>>>, Failed> {
        let wire = |item: &Item<E, Self>| {
            let (place, Read { chunk, offset, len, .. }) = (item.place(), item.op.read);
            ReadItem {
                target: place.target.get(),
                inode: chunk.inode.get(),
                chain_version: place.chain_version.get(),
                index: chunk.index,
                offset,
                len,
                what: item.op.what(),
                reserved: [0; 7],
            }
        };
        let body = StorageReadRequest { items: items.iter().map(wire).collect() };
        let room = items.iter().map(|item| item.op.room()).sum();
        let reply = client.call(Call::new(&body, by).with_reply_room(room)).await?;
        let told = reply.body::<StorageReadReply>().and_then(bodies::to_owned::<StorageReadReply>);
        let told = told.map_err(Failed::malformed)?.items;
        let payload = reply.into_payload();
        let found = payload.as_ref().map_or(0, |payload| payload.len());
        let expected: u64 = told.iter().map(|answer| u64::from(answer.bytes)).sum();
        if found as u64 != expected || told.len() != items.len() {
            let (answers, items) = (told.len(), items.len());
            let why = format!(
                "{answers} answers to {items} reads, with {found} bytes of {expected} announced"
            );
            return Err(Failed::malformed(why));
        }
        let mut at = 0;
        let said = items.iter().zip(told).map(|(item, answer)| {
            let range = at..at + answer.bytes as usize;
            at = range.end;
            let bytes = payload.as_ref().filter(|_| !range.is_empty());
            said::<E>(&item.op, &answer, bytes.map(|payload| payload.slice(range)))
        });
        Ok(said.collect())
    }
}

/// One answer, if it makes sense.
fn said<E: Env>(
    op: &ReadOp,
    answer: &ReadAnswer,
    bytes: Option<Bytes<E::Memory>>,
) -> Said<Content<E>> {
    let status = Status::from_code(answer.status);
    let installed = ChainVersion::new(answer.chain_version);
    let absent = status == Status::NotFound;
    if !status.is_ok() && !absent {
        return Said { status, installed, answer: None };
    }
    let whole = op.op != Op::Map || (answer.bytes as usize).is_multiple_of(MAP_ENTRY_BYTES);
    if op.room() < answer.bytes || !whole {
        let (found, limit) = (answer.bytes, op.room());
        tracing::warn!(found, limit, "an answer to a read makes no sense");
        return Said { status: Status::Internal, installed, answer: None };
    }
    let content = if absent {
        Content { version: ChunkVersion::default(), chunk_len: 0, bytes: None }
    } else {
        Content { version: ChunkVersion::new(answer.version), chunk_len: answer.chunk_len, bytes }
    };
    Said { status: Status::Ok, installed, answer: Some(content) }
}
