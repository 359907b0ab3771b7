//! The mgmt role: what `emberfs mgmt serve` runs, and what simulation runs.

use core::future::Future;
use core::net::SocketAddr;
use std::io;
use std::rc::Rc;

use engine_net::{NetConfig, Server};
use engine_runtime::{CancelToken, Env, First, Listener as _, first};
use engine_types::limits::DRAIN_TIME_MAX;
use engine_types::{Incarnation, NodeId};
use meta_kv::Kv;
use mgmt_cluster::lease::{Contact, LeaseTimes};

use crate::manager::{Manager, ManagerConfig};

/// What the role is given.
pub struct Role<K> {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Who it is, and the cluster and secret that peers have to have.
    pub net: Rc<NetConfig>,
    /// The KV with the cluster's records.
    pub kv: K,
    /// Its number among the managers.
    pub me: NodeId,
    /// Its start; no two starts of one manager have the same.
    pub incarnation: Incarnation,
    /// `host:port` that others are told; empty for where it listens.
    pub addresses: Vec<String>,
    /// Name of the cluster, if this manager founds it.
    pub name: String,
    /// Lease times instead of the stored settings: for tests that do not want to wait.
    pub times: Option<LeaseTimes>,
}

/// Takes part as a manager until `stop` ends; `ready` is told where it listens. A primary hands its
/// lease over before it returns, and requests in flight are answered.
///
/// # Errors
/// When it cannot listen, or the KV belongs to another cluster.
pub async fn run<E: Env, K: Kv>(
    env: &E,
    role: Role<K>,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = env.listen(role.listen)?;
    let addresses = match role.addresses.is_empty() {
        true => vec![listener.address().to_string()],
        false => role.addresses,
    };
    let config = ManagerConfig {
        cluster: role.net.local.cluster,
        name: role.name,
        me: Contact { node: role.me, incarnation: role.incarnation, addresses },
        times: role.times,
    };
    let manager = Manager::new(env, role.kv, config);
    let server = Server::start(env, role.net, listener, manager.clone());
    tracing::info!(address = %server.address(), "mgmt serves");
    ready(server.address());
    let stopping = CancelToken::default();
    let mut manages = env.spawn(manager.clone().run(stopping.clone()));
    let ended = match first(stop, &mut manages).await {
        First::Left(()) => {
            tracing::info!("mgmt hands over and drains");
            stopping.cancel();
            manages.await
        }
        First::Right(ended) => ended,
    };
    server.drain(env.now() + DRAIN_TIME_MAX).await;
    ended.map_err(io::Error::other)
}
