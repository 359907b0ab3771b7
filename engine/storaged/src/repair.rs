//! Damaged checksum blocks are replaced by what another replica has (S16).
//!
//! Whatever finds damage asks for a repair: an update that has to merge with old bytes waits for
//! it, reads are answered `Corrupt` at once, so that their clients go elsewhere. The store accepts
//! only bytes that match the checksum it holds, whoever they come from, so a replica that is
//! behind, or damaged itself, harms nothing.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine_links::ShardId;
use engine_net::{Call, Client};
use engine_runtime::{Env, yield_now};
use engine_shard::{ReadError, RepairError};
use engine_types::{ChunkId, ChunkVersion, Status, TargetId};
use engine_wire::Priority;
use engine_wire::bodies;
use engine_wire::bodies::storage::{READ_BYTES, ReadItem, StorageReadReply, StorageReadRequest};

use crate::shard::Shard;
use crate::target::{Target, add};

/// Time for the bytes of one block: an update waits for it, and its client for five seconds.
const FETCH_TIME: Duration = Duration::from_secs(2);
/// Repairs that are asked for and not done; more are found again by the next read or scrub.
const REPAIRS_MAX: usize = 64;
/// Damaged blocks of one chunk that are replaced together: a place of a chunk is 4 MiB.
const BLOCKS_MAX: usize = 64;

/// Repairs that wait, and the connections that bring blocks.
pub(crate) struct Repairs<E: Env> {
    clients: RefCell<BTreeMap<ShardId, Client<E>>>,
    waiting: RefCell<BTreeSet<(TargetId, ChunkId)>>,
}

impl<E: Env> Default for Repairs<E> {
    fn default() -> Self {
        Self { clients: RefCell::default(), waiting: RefCell::default() }
    }
}

impl<E: Env> Shard<E> {
    /// Has a block repaired, if not too many wait.
    pub(crate) fn repair_soon(
        self: &Rc<Self>,
        target: TargetId,
        (chunk, version): (ChunkId, ChunkVersion),
        block: u32,
    ) {
        let Some(target) = self.target(target) else { return };
        let name = (target.own.target, chunk);
        {
            let mut waiting = self.repairs.waiting.borrow_mut();
            if REPAIRS_MAX <= waiting.len() || !waiting.insert(name) {
                return;
            }
        }
        let shard = self.clone();
        drop(self.env.spawn(async move {
            yield_now().await;
            shard.repair(&target, (chunk, version), block).await;
            shard.repairs.waiting.borrow_mut().remove(&name);
        }));
    }

    /// Replaces a block of a committed version; true when it is whole again.
    pub(crate) async fn repair(
        self: &Rc<Self>,
        target: &Rc<Target<E>>,
        (chunk, version): (ChunkId, ChunkVersion),
        block: u32,
    ) -> bool {
        let mut blocks = BTreeSet::from([block]);
        loop {
            let outcome = self.replace(target, (chunk, version), &blocks).await;
            match outcome {
                Ok(()) => {
                    engine_types::reached!("S16: a damaged block is repaired from a replica");
                    add(&target.home.verified.repaired, blocks.len() as u64);
                    let (target, blocks) = (target.own.target, blocks.len());
                    tracing::warn!(%target, ?chunk, %version, blocks, "repaired from a replica");
                    return true;
                }
                Err(Some(RepairError::Read(ReadError::Corrupt { block, .. })))
                    if blocks.len() < BLOCKS_MAX && blocks.insert(block) => {}
                Err(why) => {
                    let why = why.map_or("nobody has it".to_owned(), |why| why.to_string());
                    add(&target.home.verified.failed, blocks.len() as u64);
                    let target = target.own.target;
                    tracing::error!(%target, ?chunk, %version, block, why, "not repaired");
                    return false;
                }
            }
        }
    }

    /// Asks one serving member after the other.
    async fn replace(
        self: &Rc<Self>,
        target: &Rc<Target<E>>,
        (chunk, version): (ChunkId, ChunkVersion),
        blocks: &BTreeSet<u32>,
    ) -> Result<(), Option<RepairError>> {
        let routing = self.routing();
        let Some(chain) = routing.chains.get(&target.chain) else { return Err(None) };
        let mut last = None;
        for member in chain.serving().filter(|member| member.target != target.own.target) {
            let Some(there) = self.shard_of(member.target) else { continue };
            let (found, _) = self.find_shards(&routing, &BTreeSet::from([there]));
            let Some(address) = found.get(&there) else { continue };
            let client = self.client_of(there, *address);
            let mut replacements = Vec::new();
            for &block in blocks {
                let place = (chain.version.get(), member.target);
                match self.fetch(&client, target, chunk, place, block).await {
                    Some(bytes) => replacements.push((block, bytes)),
                    None => break,
                }
            }
            if replacements.len() < blocks.len() {
                continue;
            }
            let lent: Vec<(u32, &[u8])> =
                replacements.iter().map(|(block, bytes)| (*block, &bytes[..])).collect();
            match target.home.store.repair(target.key(chunk), version, &lent).await {
                Ok(()) => return Ok(()),
                Err(RepairError::Mismatch { .. }) => {} // another version; somebody else may do
                Err(why) => last = Some(why),
            }
        }
        Err(last)
    }

    fn client_of(&self, there: ShardId, address: core::net::SocketAddr) -> Client<E> {
        let mut clients = self.repairs.clients.borrow_mut();
        let known = clients.get(&there).filter(|client| client.peer() == address).cloned();
        known.unwrap_or_else(|| {
            let client = Client::new(&self.env, self.net.clone(), address);
            clients.insert(there, client.clone());
            client
        })
    }

    /// The valid bytes of a checksum block, as a member has them.
    async fn fetch(
        &self,
        client: &Client<E>,
        target: &Target<E>,
        chunk: ChunkId,
        (chain_version, member): (u32, TargetId),
        block: u32,
    ) -> Option<Vec<u8>> {
        let head = target.head(chunk)?;
        let bytes = head.size.checksum_block_bytes();
        let (offset, len) = (block.checked_mul(bytes)?, head.valid_bytes(block));
        let item = ReadItem {
            target: member.get(),
            inode: chunk.inode.get(),
            chain_version,
            index: chunk.index,
            offset,
            len,
            what: READ_BYTES,
            reserved: [0; 7],
        };
        let body = StorageReadRequest { items: vec![item] };
        let call = Call::new(&body, self.env.now() + FETCH_TIME)
            .with_reply_room(len)
            .with_class(Priority::Scrub);
        let reply = client.call(call).await.ok()?;
        let told = bodies::to_owned::<StorageReadReply>(reply.body::<StorageReadReply>().ok()?);
        let answer = *told.ok()?.items.first()?;
        let whole =
            Status::from_code(answer.status).is_ok() && reply.payload().len() == len as usize;
        whole.then(|| reply.payload().to_vec())
    }
}
