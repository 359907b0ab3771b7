//! Where the shards of other nodes listen: asked of each node once in each of its starts.

use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine_links::ShardId;
use engine_net::{Call, Client, NetConfig};
use engine_runtime::{Env, Notify, yield_now};
use engine_types::{CoreId, Incarnation, NodeId, NodeInfo, RoutingInfo};
use engine_wire::bodies;
use engine_wire::bodies::storage::{ShardAt, StorageShardsReply, StorageShardsRequest};

/// Time for the answer of a node.
const ASK_TIME: Duration = Duration::from_secs(2);

/// The shards of a node in one of its starts.
struct Known {
    incarnation: Incarnation,
    address: SocketAddr,
    shards: Vec<ShardAt>,
}

/// See the module.
pub(crate) struct Addresses<E: Env> {
    inner: Rc<Inner<E>>,
}

struct Inner<E: Env> {
    env: E,
    net: Rc<NetConfig>,
    known: RefCell<BTreeMap<NodeId, Known>>,
    asking: RefCell<BTreeSet<NodeId>>,
    learned: Notify,
}

impl<E: Env> Addresses<E> {
    pub(crate) fn new(env: &E, net: Rc<NetConfig>) -> Self {
        let inner = Inner {
            env: env.clone(),
            net,
            known: RefCell::default(),
            asking: RefCell::default(),
            learned: Notify::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Told when a node has said where its shards are.
    pub(crate) fn learned(&self) -> &Notify {
        &self.inner.learned
    }

    /// Addresses of shards as far as they are known; the other nodes are asked, without anybody
    /// waiting for them. Also whether those are all, and of the present starts of the nodes.
    ///
    /// `own` is the own node and its shards: the one that listens at the node's address is refused
    /// when it asks itself.
    pub(crate) fn find(
        &self,
        routing: &RoutingInfo,
        wanted: &BTreeSet<ShardId>,
        own: Option<(NodeId, &[ShardAt])>,
    ) -> (BTreeMap<ShardId, SocketAddr>, bool) {
        let mut found = BTreeMap::new();
        let mut whole = true;
        for shard in wanted {
            if let Some((_, shards)) = own.filter(|(node, _)| *node == shard.node) {
                let address = routing.nodes.get(&shard.node).and_then(parsed);
                let address = address.and_then(|address| place(address, shards, shard.core));
                whole &= address.is_some();
                found.extend(address.map(|address| (*shard, address)));
                continue;
            }
            let known = self.inner.known.borrow();
            let node = known.get(&shard.node);
            let address = node.and_then(|known| place(known.address, &known.shards, shard.core));
            found.extend(address.map(|address| (*shard, address)));
            let Some(info) = routing.nodes.get(&shard.node) else { continue };
            let present = node.is_some_and(|known| known.incarnation == info.incarnation);
            drop(known);
            whole &= present && address.is_some();
            if !present {
                self.ask_for(shard.node, info);
            }
        }
        (found, whole)
    }

    fn ask_for(&self, node: NodeId, info: &NodeInfo) {
        if !self.inner.asking.borrow_mut().insert(node) {
            return;
        }
        let parsed = parsed(info);
        let (inner, incarnation) = (self.inner.clone(), info.incarnation);
        let addresses = info.addresses.clone();
        drop(self.inner.env.spawn(async move {
            yield_now().await;
            let answer = match parsed {
                Some(address) => inner.ask(address).await.map(|shards| (address, shards)),
                None => Err(format!("none of {addresses:?} can be used")),
            };
            inner.asking.borrow_mut().remove(&node);
            match answer {
                Ok((address, shards)) => {
                    let known = Known { incarnation, address, shards };
                    inner.known.borrow_mut().insert(node, known);
                    inner.learned.notify();
                }
                Err(why) => tracing::debug!(%node, why, "does not say where its shards are"),
            }
        }));
    }
}

/// The first address of a node that can be used.
fn parsed(info: &NodeInfo) -> Option<SocketAddr> {
    info.addresses.iter().find_map(|address| address.parse().ok())
}

/// Where a core of the node at `address` listens.
fn place(address: SocketAddr, shards: &[ShardAt], core: CoreId) -> Option<SocketAddr> {
    let at = shards.iter().find(|at| CoreId::new(at.core) == core)?;
    Some(SocketAddr::new(address.ip(), at.port))
}

impl<E: Env> Inner<E> {
    async fn ask(&self, address: SocketAddr) -> Result<Vec<ShardAt>, String> {
        let client = Client::new(&self.env, self.net.clone(), address);
        let body = StorageShardsRequest::default();
        let deadline = self.env.now() + ASK_TIME;
        // Who asks looks again after a pause: by then routing info may name another start.
        client.ready(deadline).await.map_err(|error| error.to_string())?;
        let reply = client.call(Call::new(&body, deadline)).await.map_err(|e| e.to_string())?;
        let told = reply.body::<StorageShardsReply>().map_err(|error| error.to_string())?;
        let told = bodies::to_owned::<StorageShardsReply>(told).map_err(|e| e.to_string())?;
        Ok(told.shards)
    }
}
