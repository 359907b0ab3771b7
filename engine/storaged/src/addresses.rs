//! Where the shards of other nodes listen: asked of each node once in each of its starts.

use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine_links::ShardId;
use engine_net::{Call, Client, NetConfig};
use engine_runtime::{Env, all};
use engine_types::{CoreId, Incarnation, NodeId, RoutingInfo};
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
    env: E,
    net: Rc<NetConfig>,
    known: RefCell<BTreeMap<NodeId, Known>>,
}

impl<E: Env> Addresses<E> {
    pub(crate) fn new(env: &E, net: Rc<NetConfig>) -> Self {
        Self { env: env.clone(), net, known: RefCell::default() }
    }

    /// Addresses of shards, and whether those are all.
    pub(crate) async fn find(
        &self,
        routing: &RoutingInfo,
        wanted: &BTreeSet<ShardId>,
    ) -> (BTreeMap<ShardId, SocketAddr>, bool) {
        let nodes: BTreeSet<NodeId> = wanted.iter().map(|shard| shard.node).collect();
        let asks = nodes.into_iter().map(|node| self.look(routing, node));
        all(asks).await;
        let known = self.known.borrow();
        let mut found = BTreeMap::new();
        for shard in wanted {
            let Some(node) = known.get(&shard.node) else { continue };
            let at = node.shards.iter().find(|at| CoreId::new(at.core) == shard.core);
            if let Some(at) = at {
                found.insert(*shard, SocketAddr::new(node.address.ip(), at.port));
            }
        }
        let whole = found.len() == wanted.len();
        (found, whole)
    }

    async fn look(&self, routing: &RoutingInfo, node: NodeId) {
        let Some(info) = routing.nodes.get(&node) else { return };
        let current = |known: &Known| known.incarnation == info.incarnation;
        if self.known.borrow().get(&node).is_some_and(current) {
            return;
        }
        let parsed = info.addresses.iter().find_map(|address| address.parse().ok());
        let Some(address): Option<SocketAddr> = parsed else {
            return tracing::warn!(%node, addresses = ?info.addresses, "no address can be used");
        };
        match self.ask(address).await {
            Ok(shards) => {
                let incarnation = info.incarnation;
                self.known.borrow_mut().insert(node, Known { incarnation, address, shards });
            }
            Err(why) => tracing::debug!(%node, %address, why, "does not say where its shards are"),
        }
    }

    async fn ask(&self, address: SocketAddr) -> Result<Vec<ShardAt>, String> {
        let client = Client::new(&self.env, self.net.clone(), address);
        let body = StorageShardsRequest::default();
        let call = Call::new(&body, self.env.now() + ASK_TIME);
        let reply = client.call(call).await.map_err(|error| error.to_string())?;
        let told = reply.body::<StorageShardsReply>().map_err(|error| error.to_string())?;
        let told = bodies::to_owned::<StorageShardsReply>(told).map_err(|e| e.to_string())?;
        Ok(told.shards)
    }
}
