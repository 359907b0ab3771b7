//! The client's core: the storage client, and the limits that a client calls.

use core::cell::Cell;
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use client_storage::{At, Change, Storage, StorageConfig};
use engine_net::Client;
use engine_runtime::{Bytes, Env, until};
use engine_types::{
    ChainId, ChunkId, ChunkSize, CoreId, InodeId, NodeRole, Rng, RoutingInfo, SessionId, StoreId,
};
use mgmt_client::{Follower, Managers};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_protocol::Operation;

use super::shape::{LARGE_BYTES, SMALL_BYTES, Shape, Work};
use crate::loopback::config;
use crate::meter::Meter;
use crate::store::fill::random_bytes;

/// The file that is read, and overwritten in part.
const DATA_FILE: InodeId = InodeId::new(1);
/// The file whose chunks have a length and no data.
const HOLE_FILE: InodeId = InodeId::new(2);
/// The file that is written chunk by chunk.
const WRITE_FILE: InodeId = InodeId::new(3);
/// Chunks without data.
const HOLES: u32 = 64;
/// Writes in flight while the data is made.
const FILL_DEPTH: u32 = 16;
/// Payloads that writes take turns with.
const PAYLOADS: u32 = 4;
/// Chunks of [`WRITE_FILE`]: more than are in flight, so that two writes do not meet in one.
const WRITE_CHUNKS: u32 = 128;
/// Registering, making a chain and serving it take seconds on a busy machine.
const READY_TIME_MAX: Duration = Duration::from_secs(60);

/// Who is to be called.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    pub(super) manager: SocketAddr,
    /// Nodes and their stores.
    pub(super) nodes: Vec<(SocketAddr, StoreId)>,
    pub(super) rpc: SocketAddr,
    pub(super) tcp: SocketAddr,
}

/// A client of one chain.
pub(super) struct Caller<E: Env> {
    env: E,
    storage: Storage<E>,
    chain: ChainId,
    /// Chunks of [`DATA_FILE`].
    count: Cell<u32>,
    next_write: Cell<u32>,
    small: Vec<Bytes<E::Memory>>,
    large: Vec<Bytes<E::Memory>>,
    pub(super) rpc: Client<E>,
}

impl<E: Env> Caller<E> {
    /// Makes a chain over all nodes, and waits until every one of them serves it.
    pub(super) async fn new(env: &E, peers: &Peers) -> Result<Rc<Self>, String> {
        let managers = Managers::new(env, config(NodeRole::Operator), vec![peers.manager]);
        let follower = Follower::start(&managers);
        let chain = chain_over(&managers, &follower, &peers.nodes).await?;
        let (net, session) = (config(NodeRole::Client), SessionId::new(1));
        let storage = Storage::new(env, net.clone(), follower, session, StorageConfig::default());
        let mut random = Rng::new(env.random());
        let mut payloads = |len| -> Result<Vec<_>, String> {
            (0..PAYLOADS).map(|_| random_bytes(env, &mut random, len)).collect()
        };
        let (small, large) = (payloads(SMALL_BYTES)?, payloads(LARGE_BYTES)?);
        Ok(Rc::new(Self {
            env: env.clone(),
            storage,
            chain,
            count: Cell::new(0),
            next_write: Cell::new(0),
            small,
            large,
            rpc: Client::new(env, net, peers.rpc),
        }))
    }

    /// Writes every chunk that is read, and makes those without data.
    pub(super) async fn fill(self: &Rc<Self>, bytes: u64) -> Result<(), String> {
        let count = u32::try_from(bytes / u64::from(LARGE_BYTES)).map_err(|_| "too much data")?;
        let next = Rc::new(Cell::new(0));
        let worker = |_| {
            let (this, next) = (self.clone(), next.clone());
            self.env.spawn(async move {
                while next.get() < count {
                    let index = next.replace(next.get() + 1);
                    let data = this.large[index as usize % this.large.len()].clone();
                    this.write(DATA_FILE, index, 0, data).await?;
                }
                Ok::<(), String>(())
            })
        };
        let workers: Vec<_> = (0..FILL_DEPTH).map(worker).collect();
        for worker in workers {
            worker.await?;
        }
        for index in 0..HOLES {
            let made = self.storage.extend(self.at(HOLE_FILE, index), LARGE_BYTES).await;
            made.map_err(|error| error.to_string())?;
        }
        self.count.set(count);
        Ok(())
    }

    /// A payload of what the shape writes.
    pub(super) fn payload(&self, shape: Shape) -> Bytes<E::Memory> {
        let payloads = if shape.work.bytes() == SMALL_BYTES { &self.small } else { &self.large };
        payloads[0].clone()
    }

    fn at(&self, inode: InodeId, index: u32) -> At {
        let size = ChunkSize::new(LARGE_BYTES).expect("1 MiB is a size");
        At { chain: self.chain, chunk: ChunkId { inode, index }, size, epoch: 0 }
    }

    async fn write(
        &self,
        inode: InodeId,
        index: u32,
        offset: u32,
        data: Bytes<E::Memory>,
    ) -> Result<(), String> {
        let change = Change::Write { offset, parts: vec![data] };
        let written = self.storage.update(self.at(inode, index).update(change)).await;
        written.map(drop).map_err(|error| error.to_string())
    }

    async fn read(&self, inode: InodeId, place: (u32, u32), len: u32) -> Result<(), String> {
        let (index, offset) = place;
        let content = self.storage.read(self.chain, ChunkId { inode, index }, offset, len).await;
        let found = content.map_err(|error| error.to_string())?.bytes().len();
        if found != len as usize {
            return Err(format!("{found} bytes read of {len}"));
        }
        Ok(())
    }

    /// One operation of the task with this number.
    async fn operate(&self, shape: Shape, task: u32, random: &mut Rng) -> Result<(), String> {
        let count = self.count.get();
        let mut below =
            |count: u32| u32::try_from(random.below(u64::from(count.max(1)))).expect("below a u32");
        let sectors = LARGE_BYTES / SMALL_BYTES;
        match shape.work {
            Work::SmallRead => {
                let place = (below(count), below(sectors) * SMALL_BYTES);
                self.read(DATA_FILE, place, SMALL_BYTES).await
            }
            Work::HoleRead => {
                let place = (below(HOLES), below(sectors) * SMALL_BYTES);
                self.read(HOLE_FILE, place, SMALL_BYTES).await
            }
            Work::LargeRead => self.read(DATA_FILE, (below(count), 0), LARGE_BYTES).await,
            Work::SmallWrite => {
                // Tasks have chunks of their own: writes to one would wait for each other.
                let index = below(count / shape.depth) * shape.depth + task;
                let offset = below(sectors) * SMALL_BYTES;
                let data = self.small[below(PAYLOADS) as usize].clone();
                self.write(DATA_FILE, index, offset, data).await
            }
            Work::LargeWrite => {
                let index = self.next_write.get();
                self.next_write.set((index + 1) % WRITE_CHUNKS);
                let data = self.large[below(PAYLOADS) as usize].clone();
                self.write(WRITE_FILE, index, 0, data).await
            }
        }
    }
}

/// Makes a chain over nodes and their stores, and waits until every one of them serves it.
pub(crate) async fn chain_over<E: Env>(
    managers: &Managers<E>,
    follower: &Rc<Follower<E>>,
    nodes: &[(SocketAddr, StoreId)],
) -> Result<ChainId, String> {
    let env = managers.env();
    let give_up_at = env.now() + READY_TIME_MAX;
    let all = |routing: &RoutingInfo| {
        nodes.iter().all(|(address, _)| node_at(routing, *address).is_some())
    };
    let late = |_| "the nodes do not register".to_owned();
    until(env, give_up_at, core::pin::pin!(follower.until(all))).await.map_err(late)?;
    let routing = follower.routing();
    let member = |(address, store): &(SocketAddr, StoreId)| {
        let node = node_at(&routing, *address).ok_or("a node has gone")?;
        Ok(NewTarget { node, core: CoreId::new(0), store: *store, disk: 0 })
    };
    let members: Result<Vec<_>, String> = nodes.iter().map(member).collect();
    drop(routing);
    let wanted = Operation::Cluster(Command::CreateChains(vec![members?]));
    let done = managers.call(&wanted, give_up_at).await.map_err(|error| error.to_string())?;
    let chain = *done.chains.first().ok_or("the manager made no chain")?;
    let whole = |routing: &RoutingInfo| {
        let chain = routing.chains.get(&chain);
        chain.is_some_and(|chain| chain.serving().count() == nodes.len())
    };
    let late = |_| "the chain is not served".to_owned();
    until(env, give_up_at, core::pin::pin!(follower.until(whole))).await.map_err(late)?;
    Ok(chain)
}

fn node_at(routing: &RoutingInfo, address: SocketAddr) -> Option<engine_types::NodeId> {
    let address = address.to_string();
    let here = routing.nodes.iter().find(|(_, node)| node.addresses.contains(&address));
    here.map(|(id, _)| *id)
}

/// Keeps the shape's operations in flight for one slice, a task for each.
pub(super) async fn flood<E: Env>(caller: Rc<Caller<E>>, shape: Shape, meter: Rc<Meter<E>>) {
    let env = meter.env();
    let worker = |task| {
        let random = Rng::new(env.random());
        env.spawn(work(caller.clone(), shape, (task, random), meter.clone()))
    };
    let workers: Vec<_> = (0..shape.depth).map(worker).collect();
    for worker in workers {
        worker.await;
    }
}

/// One operation after the other.
async fn work<E: Env>(
    caller: Rc<Caller<E>>,
    shape: Shape,
    (task, mut random): (u32, Rng),
    meter: Rc<Meter<E>>,
) {
    while !meter.stopping() {
        let start = meter.env().now();
        if let Err(reason) = caller.operate(shape, task, &mut random).await {
            return meter.fail(reason);
        }
        meter.completed(1);
        meter.answered(start);
    }
}
