//! A cluster in this process: key-value store and manager on one core, a core per storage node.
//!
//! The roles are those that `emberfs` serves, with a runtime of their own each; they talk through
//! loopback TCP as processes do. The key-value store is in memory: it has nothing to do while
//! nothing happens to the cluster.
//!
//! Owner: the main thread holds their endpoints. Failure: a role that ends fails its rows.

use core::future::pending;
use core::net::{Ipv4Addr, SocketAddr};
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, mpsc};

use engine_runtime::{Env, First, Sender, first};
use engine_shard::{ChunkStore, CreateOptions, StoreConfig};
use engine_storaged::{Role, ShardSpec};
use engine_types::{Incarnation, NodeId, NodeRole, StoreId};
use meta_kv::OwnKv;
use meta_kv::engine::memory::MemoryEngine;
use meta_kvd::{Remote, ServedEngine};

use crate::loopback::{CLUSTER, config, config_of};
use crate::runtime::Main;
use crate::store::device::Place;

/// The number of the manager.
const MANAGER: NodeId = NodeId::new(1);

/// Where a role is reached. Dropping it ends the role.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// The store of a node.
    pub(crate) store: StoreId,
    /// Nothing is ever sent: the role waits for its end.
    _alive: Sender<()>,
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A folder for the identity files of nodes, which goes with its owner.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// One for a suite.
    pub(crate) fn new(suite: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("bench-{suite}-{}", process::id()));
        let failed = |error| format!("{}: {error}", path.display());
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self(path))
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it says nothing and is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The key-value store and the manager.
pub(crate) struct Control {
    pub(crate) ready: mpsc::Sender<Endpoint>,
}

impl Main for Control {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let (found, kv_address) = env.mailbox::<SocketAddr>(1);
        let role = meta_kvd::Role {
            listen: any_port(),
            net: config(NodeRole::Kv),
            engine: Arc::new(MemoryEngine::default()),
            served: ServedEngine { store: 1, created: env.wall(), starts: 1, restores: 0 },
            bytes: Box::new(|| 0),
        };
        let kv = env.spawn({
            let env = env.clone();
            async move {
                let ready = |address| drop(found.try_send(address));
                meta_kvd::run(&env, role, ready, pending()).await
            }
        });
        let Some(kv_address) = kv_address.recv().await else {
            return Err(format!("key-value store: {:?}", kv.await));
        };
        let (alive, ended) = env.mailbox::<()>(1);
        let remote = Remote::new(&env, config(NodeRole::Manager), kv_address);
        let role = mgmt_mgmtd::role::Role {
            listen: any_port(),
            net: config(NodeRole::Manager),
            kv: OwnKv::new(env.clone(), remote),
            me: MANAGER,
            incarnation: Incarnation::new(1),
            addresses: Vec::new(),
            name: "bench".to_owned(),
            times: None,
        };
        let ready = |address| {
            // Without anybody to reach it, the role ends at once.
            let told = Endpoint { address, store: StoreId::new(0), _alive: alive };
            drop(self.ready.send(told));
        };
        let stop = async move {
            let _nothing_is_sent = ended.recv().await;
        };
        let managing = mgmt_mgmtd::role::run(&env, role, ready, stop);
        match first(core::pin::pin!(managing), kv).await {
            First::Left(ended) => ended.map_err(|error| format!("manager: {error}")),
            First::Right(ended) => Err(format!("key-value store: {ended:?}")),
        }
    }
}

/// A storage node with one shard on its own core, and one store, which it formats.
pub(crate) struct Node {
    pub(crate) number: u32,
    pub(crate) place: Arc<Place>,
    pub(crate) manager: SocketAddr,
    pub(crate) identity: PathBuf,
    pub(crate) ready: mpsc::Sender<Endpoint>,
}

impl Main for Node {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let options = CreateOptions {
            cluster: CLUSTER,
            size: Some(self.place.bytes),
            journal_bytes: None,
            index_bytes: None,
            dedup_channels: None,
            force: true,
        };
        let made = ChunkStore::format(&env, &self.place.path, &options).await;
        let store = made.map_err(|error| error.to_string())?.store;
        let role = Role {
            shards: vec![ShardSpec {
                core: None,
                listen: any_port(),
                stores: vec![self.place.path.clone()],
            }],
            net: config_of(NodeRole::Storage, self.number),
            managers: vec![self.manager],
            identity: self.identity,
            addresses: Vec::new(),
            domain: format!("bench-{}", self.number),
            // A discard would punch a hole into the file behind the loop device.
            store: StoreConfig { cluster: Some(CLUSTER), discard: false, ..StoreConfig::default() },
        };
        let (alive, ended) = env.mailbox::<()>(1);
        let ready = |address| drop(self.ready.send(Endpoint { address, store, _alive: alive }));
        let stop = async move {
            let _nothing_is_sent = ended.recv().await;
        };
        let served = engine_storaged::run(&env, role, ready, stop).await;
        served.map_err(|error| format!("node {}: {error}", self.number))
    }
}
