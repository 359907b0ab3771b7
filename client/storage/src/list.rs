//! All chunks of a chain, page by page: what a check of the whole file system compares with inodes.

use core::time::Duration;

use engine_net::{Call, Client};
use engine_runtime::Env;
use engine_types::{ChainId, ChainVersion, ChunkId, InodeId, Instant, Status};
use engine_wire::bodies;
use engine_wire::bodies::storage::{StorageQueryReply, StorageQueryRequest};

use crate::config::StorageConfig;
use crate::drive::{Failed, Item, Operation, Said};
use crate::error::{Op, Subject};
use crate::place::Whom;

/// Bytes of one chunk: inode, index, length.
const ENTRY_BYTES: usize = 16;
/// Room for a page: a shard lists 1,024 chunks in one turn at most.
const PAGE_BYTES_MAX: u32 = 1024 * 16;

pub(crate) struct ListOp {
    pub(crate) chain: ChainId,
    /// The chunk behind which the page begins.
    pub(crate) behind: ChunkId,
}

impl<E: Env> Operation<E> for ListOp {
    type Answer = Vec<(ChunkId, u32)>;

    const WHOM: Whom = Whom::Tail;
    const ITEMS_MAX: usize = 1;

    fn subject(&self) -> Subject {
        Subject { op: Op::Query, chain: self.chain, chunk: self.behind }
    }

    fn bytes(&self) -> u32 {
        PAGE_BYTES_MAX
    }

    fn patience(config: &StorageConfig) -> Duration {
        config.read_patience
    }

    async fn send(
        client: &Client<E>,
        items: &[Item<E, Self>],
        by: Instant,
    ) -> Result<Vec<Said<Self::Answer>>, Failed> {
        let (place, op) = (items[0].place(), &items[0].op);
        let body = StorageQueryRequest {
            target: place.target.get(),
            inode: op.behind.inode.get(),
            chain_version: place.chain_version.get(),
            first: op.behind.index,
            end: u32::MAX,
            list: 2,
        };
        let call = Call::new(&body, by).with_reply_room(PAGE_BYTES_MAX);
        let reply = client.call(call).await?;
        let told =
            reply.body::<StorageQueryReply>().and_then(bodies::to_owned::<StorageQueryReply>);
        let told = told.map_err(Failed::malformed)?;
        let status = Status::from_code(told.status);
        let installed = ChainVersion::new(told.chain_version);
        let answer = if status.is_ok() { Some(page(op.behind, reply.payload())?) } else { None };
        Ok(vec![Said { status, installed, answer }])
    }
}

/// The chunks of a page; they ascend behind `behind`, or a caller would not come to an end.
fn page(behind: ChunkId, payload: &[u8]) -> Result<Vec<(ChunkId, u32)>, Failed> {
    let (entries, rest) = payload.as_chunks::<ENTRY_BYTES>();
    let listed = |entry: &[u8; ENTRY_BYTES]| {
        let [inode, rest] = entry.as_chunks::<8>().0 else {
            unreachable!("16 bytes are two words")
        };
        let (words, _) = rest.as_chunks::<4>();
        let inode = InodeId::new(u64::from_le_bytes(*inode));
        (ChunkId { inode, index: u32::from_le_bytes(words[0]) }, u32::from_le_bytes(words[1]))
    };
    let page: Vec<_> = entries.iter().map(listed).collect();
    let ascends = page.is_sorted_by(|one, next| one.0 < next.0);
    if !rest.is_empty() || !ascends || page.first().is_some_and(|first| first.0 <= behind) {
        let found = payload.len();
        return Err(Failed::malformed(format!("a page of {found} bytes behind {behind}")));
    }
    Ok(page)
}
