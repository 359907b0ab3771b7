//! What a chain holds of a file.

use core::time::Duration;
use std::ops::Range;

use engine_net::{Call, Client};
use engine_runtime::Env;
use engine_types::{ChainId, ChainVersion, ChunkId, ChunkVersion, InodeId, Instant, Status};
use engine_wire::bodies;
use engine_wire::bodies::storage::{StorageQueryReply, StorageQueryRequest};

use crate::config::StorageConfig;
use crate::drive::{Failed, Item, Operation, Said};
use crate::error::{Op, Subject};
use crate::place::Whom;

/// Bytes of one chunk in a list: index, version, length, allocated bytes.
const ENTRY_BYTES: usize = 16;
/// Room for a list: 4,096 chunks, which a tail finds in well below a millisecond.
const LIST_BYTES_MAX: u32 = 4096 * 16;
const _: () = assert!((LIST_BYTES_MAX as usize).is_multiple_of(ENTRY_BYTES));

/// A chunk that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which chunk of the file.
    pub index: u32,
    /// Its committed version.
    pub version: ChunkVersion,
    /// Its length.
    pub chunk_len: u32,
    /// Bytes of the blocks it holds.
    pub allocated: u32,
}

/// What a chain holds of a range of a file's chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Chunks.
    pub chunks: u64,
    /// Sum of their lengths.
    pub bytes: u64,
    /// Bytes of the blocks they hold.
    pub allocated: u64,
    /// Index and length of the last one.
    pub last: Option<(u32, u32)>,
    /// The chunks, where they were asked for; ascending.
    pub list: Vec<Listed>,
    /// Where the list goes on: ask for the range from there.
    pub resume: Option<u32>,
}

pub(crate) struct QueryOp {
    pub(crate) chain: ChainId,
    pub(crate) inode: InodeId,
    pub(crate) range: Range<u32>,
    pub(crate) list: bool,
}

impl<E: Env> Operation<E> for QueryOp {
    type Answer = Holding;

    const WHOM: Whom = Whom::Tail;
    const ITEMS_MAX: usize = 1;

    fn subject(&self) -> Subject {
        let chunk = ChunkId { inode: self.inode, index: self.range.start };
        Subject { op: Op::Query, chain: self.chain, chunk }
    }

    fn bytes(&self) -> u32 {
        if self.list { LIST_BYTES_MAX } else { 0 }
    }

    fn patience(config: &StorageConfig) -> Duration {
        config.read_patience
    }

    async fn send(
        client: &Client<E>,
        items: &[Item<E, Self>],
        by: Instant,
    ) -> Result<Vec<Said<Holding>>, Failed> {
        let (place, op) = (items[0].place(), &items[0].op);
        let body = StorageQueryRequest {
            target: place.target.get(),
            inode: op.inode.get(),
            chain_version: place.chain_version.get(),
            first: op.range.start,
            end: op.range.end,
            list: op.list.into(),
        };
        let room = Operation::<E>::bytes(op);
        let reply = client.call(Call::new(&body, by).with_reply_room(room)).await?;
        let told =
            reply.body::<StorageQueryReply>().and_then(bodies::to_owned::<StorageQueryReply>);
        let told = told.map_err(Failed::malformed)?;
        let status = Status::from_code(told.status);
        let installed = ChainVersion::new(told.chain_version);
        let answer = if status.is_ok() { Some(holding(&told, reply.payload())?) } else { None };
        Ok(vec![Said { status, installed, answer }])
    }
}

fn holding(told: &StorageQueryReply, payload: &[u8]) -> Result<Holding, Failed> {
    let (entries, rest) = payload.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        let found = payload.len();
        return Err(Failed::malformed(format!("a list of {found} bytes, {ENTRY_BYTES} per chunk")));
    }
    let listed = |entry: &[u8; ENTRY_BYTES]| {
        let (words, _) = entry.as_chunks::<4>();
        let word = |index: usize| u32::from_le_bytes(words[index]);
        let version = ChunkVersion::new(word(1));
        Listed { index: word(0), version, chunk_len: word(2), allocated: word(3) }
    };
    Ok(Holding {
        chunks: told.chunks,
        bytes: told.bytes,
        allocated: told.allocated,
        last: (told.chunks != 0).then_some((told.last_index, told.last_len)),
        list: entries.iter().map(listed).collect(),
        resume: (told.resume != 0).then_some(told.resume),
    })
}
