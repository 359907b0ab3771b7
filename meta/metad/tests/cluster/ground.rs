//! A world: one KV, a manager, three storage nodes with a store each, two metadata services, and
//! two machines for clients.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use client_storage::{Storage, StorageConfig};
use engine_net::{Call, Client, NetConfig, NetLimits};
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{Env, Signal};
use engine_shard::{ChunkStore, CreateOptions, StoreConfig};
use engine_storaged::ShardSpec;
use engine_types::{
    ChainId, ChainTableId, ChunkSize, ClusterId, CoreId, Incarnation, NodeId, NodeRole,
    RoutingInfo, StoreId, WallTime,
};
use engine_wire::bodies;
use engine_wire::bodies::storage::{StorageSpaceReply, StorageSpaceRequest};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use meta_client::{MetaClient, MetaConfig};
use meta_kv::OwnKv;
use meta_kv::engine::memory::MemoryEngine;
use meta_kvd::{Remote, ServedEngine};
use meta_metad::{DeletionSettings, Settings};
use meta_schema::LayoutTemplate;
use mgmt_client::{Follower, Managers, Session};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_protocol::Operation;

const CLUSTER: ClusterId = ClusterId::new(7);
const KV: NodeId = NodeId::new(0);
const MANAGER: NodeId = NodeId::new(1);
/// Machines of the storage nodes.
pub(crate) const NODES: [NodeId; 3] = [NodeId::new(2), NodeId::new(3), NodeId::new(4)];
/// Machines of the metadata services.
pub(crate) const META: [NodeId; 2] = [NodeId::new(5), NodeId::new(6)];
/// Machines of clients.
const CLIENTS: [NodeId; 2] = [NodeId::new(7), NodeId::new(8)];
const PORT: u16 = 7000;
const STORE: &str = "/store";
pub(crate) const STORE_BYTES: u64 = 1 << 30;
/// Chunks of files.
pub(crate) const CHUNK: u32 = 64 << 10;
const TABLE: ChainTableId = ChainTableId::new(1);
/// Chains of the table.
const CHAINS: usize = 4;

fn net(role: NodeRole, node: NodeId, process: u64) -> Rc<NetConfig> {
    let process = StoreId::new(u128::from(node.get()) << 64 | u128::from(process));
    let identity = Identity { role, node, process, incarnation: Incarnation::new(1) };
    let secret = ClusterSecret::new([1; 32]).unwrap();
    let local = Local { cluster: CLUSTER, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

/// See the module.
pub(crate) struct Ground {
    pub(crate) sim: Sim,
    ended: Rc<RefCell<Vec<String>>>,
}

impl Ground {
    /// Everything runs, and files can be made.
    pub(crate) fn new(seed: u64) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        for name in ["kv", "manager", "s-1", "s-2", "s-3", "m-1", "m-2", "c-1", "c-2"] {
            sim.add_node(NodeSpec::new(name));
        }
        let ground = Self { sim, ended: Rc::default() };
        ground.serve_kv();
        ground.manage();
        let stores: Vec<StoreId> = NODES.iter().map(|node| ground.storage(*node)).collect();
        ground.act(0, async move |user| user.lay_out(&stores).await);
        META.into_iter().for_each(|node| ground.meta(node));
        ground.act(0, async |user| {
            let serving = |routing: &RoutingInfo| {
                let all = routing.nodes.values();
                all.filter(|info| info.role == NodeRole::Meta).count() == META.len()
            };
            user.follower.until(serving).await;
        });
        ground
    }

    fn serve_kv(&self) {
        let served =
            ServedEngine { store: 5, created: WallTime::from_nanos(1), starts: 1, restores: 0 };
        let role = meta_kvd::Role {
            listen: self.sim.address(KV, PORT),
            net: net(NodeRole::Kv, KV, 1),
            engine: Arc::new(MemoryEngine::default()),
            served,
            bytes: Box::new(|| 0),
        };
        self.sim.start(KV, move |env| async move {
            let never = core::future::pending();
            meta_kvd::run(&env, role, |_| (), never).await.unwrap();
        });
    }

    fn manage(&self) {
        let (listen, kv) = (self.sim.address(MANAGER, PORT), self.sim.address(KV, PORT));
        self.sim.start(MANAGER, move |env| async move {
            let remote = Remote::new(&env, net(NodeRole::Manager, MANAGER, 1), kv);
            let role = mgmt_mgmtd::Role {
                listen,
                net: net(NodeRole::Manager, MANAGER, 1),
                kv: OwnKv::new(env.clone(), remote),
                me: MANAGER,
                incarnation: Incarnation::new(1 + env.now().nanos()),
                addresses: Vec::new(),
                name: "test".to_owned(),
                times: None,
            };
            let never = core::future::pending();
            mgmt_mgmtd::run(&env, role, |_| (), never).await.unwrap();
        });
    }

    /// Formats a store, and starts the node that serves it.
    fn storage(&self, node: NodeId) -> StoreId {
        let made = Rc::new(Cell::new(None));
        let told = made.clone();
        self.sim.start(node, move |env| async move {
            let options = CreateOptions {
                cluster: CLUSTER,
                size: Some(STORE_BYTES),
                journal_bytes: None,
                index_bytes: None,
                dedup_channels: None,
                force: true,
            };
            let made = ChunkStore::format(&env, Path::new(STORE), &options).await.unwrap();
            told.set(Some(made.store));
        });
        let over = self.sim.run_while(Duration::from_secs(30), |_| made.get().is_none());
        assert!(over.unwrap(), "the store is not formatted");
        self.sim.run_for(Duration::from_millis(1)).unwrap();
        let (listen, manager) = (self.sim.address(node, PORT), self.sim.address(MANAGER, PORT));
        self.sim.start(node, move |env| async move {
            let role = engine_storaged::Role {
                shards: vec![ShardSpec { core: None, listen, stores: vec![PathBuf::from(STORE)] }],
                net: net(NodeRole::Storage, node, 1),
                managers: vec![manager],
                identity: PathBuf::from("/identity"),
                addresses: Vec::new(),
                domain: format!("rack-{node}"),
                store: StoreConfig { cluster: Some(CLUSTER), ..StoreConfig::default() },
            };
            let never = core::future::pending();
            engine_storaged::run(&env, role, |_| (), never).await.unwrap();
        });
        made.get().unwrap()
    }

    /// Starts a metadata service; SIGTERM ends it in order.
    pub(crate) fn meta(&self, node: NodeId) {
        let (listen, kv) = (self.sim.address(node, PORT), self.sim.address(KV, PORT));
        let manager = self.sim.address(MANAGER, PORT);
        let ended = self.ended.clone();
        self.sim.start(node, move |env| async move {
            let signals = env.signals().unwrap();
            let net = net(NodeRole::Meta, node, env.now().nanos());
            let chunk_size = ChunkSize::new(CHUNK).unwrap();
            let root_layout = LayoutTemplate { chunk_size, stripe: 2, table: TABLE };
            let deletion = DeletionSettings::default();
            let role = meta_metad::Role {
                listen,
                net: net.clone(),
                kv: OwnKv::new(env.clone(), Remote::new(&env, net, kv)),
                managers: vec![manager],
                number: node.get(),
                process: 1,
                host: "simulated".to_owned(),
                addresses: Vec::new(),
                settings: Settings { root_layout, deletion, ..Settings::default() },
            };
            let stop = async move { while signals.recv().await != Some(Signal::Terminate) {} };
            let end = meta_metad::run(&env, role, |_| (), stop).await;
            ended.borrow_mut().push(format!("{node}: {end:?}"));
        });
    }

    /// How services have ended.
    pub(crate) fn ended(&self) -> Vec<String> {
        self.ended.borrow().clone()
    }

    pub(crate) fn run(&self, time: Duration) {
        self.sim.run_for(time).unwrap();
    }

    /// Starts `main` on a client's machine; the cell holds its result when it has ended. It ends
    /// when something else is started there.
    pub(crate) fn spawn<T: 'static>(
        &self,
        machine: usize,
        main: impl AsyncFnOnce(Rc<User>) -> T + 'static,
    ) -> Rc<RefCell<Option<T>>> {
        let manager = self.sim.address(MANAGER, PORT);
        let done: Rc<RefCell<Option<T>>> = Rc::default();
        let told = done.clone();
        let node = CLIENTS[machine];
        self.sim.start(node, move |env| async move {
            let result = main(User::new(&env, node, manager)).await;
            *told.borrow_mut() = Some(result);
        });
        done
    }

    /// Runs until `done` holds a result.
    pub(crate) fn finish<T>(&self, done: &RefCell<Option<T>>) -> T {
        let over = self.sim.run_while(Duration::from_secs(600), |_| done.borrow().is_none());
        assert!(over.unwrap(), "a client does not come to its end; {:?}", self.ended());
        self.sim.run_for(Duration::from_millis(1)).unwrap();
        done.take().unwrap()
    }

    /// Runs `main` on a client's machine to its end.
    pub(crate) fn act<T: 'static>(
        &self,
        machine: usize,
        main: impl AsyncFnOnce(Rc<User>) -> T + 'static,
    ) -> T {
        self.finish(&self.spawn(machine, main))
    }
}

/// A process on a client's machine.
pub(crate) struct User {
    pub(crate) env: SimEnv,
    node: NodeId,
    net: Rc<NetConfig>,
    pub(crate) managers: Managers<SimEnv>,
    pub(crate) follower: Rc<Follower<SimEnv>>,
}

impl User {
    fn new(env: &SimEnv, node: NodeId, manager: SocketAddr) -> Rc<Self> {
        let net = net(NodeRole::Operator, node, env.now().nanos());
        let managers = Managers::new(env, net.clone(), vec![manager]);
        let follower = Follower::start(&managers);
        Rc::new(Self { env: env.clone(), node, net, managers, follower })
    }

    /// A session of its own; those of former processes of the machine go on.
    pub(crate) async fn session(&self) -> Rc<Session<SimEnv>> {
        let client = mgmt_cluster::session::Client {
            uuid: StoreId::new(u128::from(self.env.random()) | 1),
            epoch: 1,
            process: 1,
            name: format!("client-{}", self.node),
            host: String::new(),
        };
        let deadline = self.env.now() + Duration::from_secs(30);
        Session::open(&self.managers, client, deadline).await.unwrap()
    }

    pub(crate) fn meta(&self, session: &Rc<Session<SimEnv>>, config: MetaConfig) -> Meta {
        MetaClient::new(&self.env, self.net.clone(), self.follower.clone(), session.clone(), config)
    }

    /// A client of the metadata services, with a session of its own.
    pub(crate) async fn mount(&self) -> Meta {
        self.meta(&self.session().await, MetaConfig::default())
    }

    /// A client of the storage nodes.
    pub(crate) fn storage(&self, session: &Rc<Session<SimEnv>>) -> Storage<SimEnv> {
        let (net, follower) = (self.net.clone(), self.follower.clone());
        Storage::new(&self.env, net, follower, session.id(), StorageConfig::default())
    }

    pub(crate) async fn pause(&self, time: Duration) {
        self.env.sleep_until(self.env.now() + time).await;
    }

    /// Has an operator's command done.
    pub(crate) async fn operate(&self, wanted: Operation) -> mgmt_protocol::Done {
        loop {
            let deadline = self.env.now() + Duration::from_secs(5);
            if let Ok(done) = self.managers.call(&wanted, deadline).await {
                return done;
            }
            self.pause(Duration::from_millis(200)).await;
        }
    }

    /// Chains of three replicas, and the table.
    async fn lay_out(&self, stores: &[StoreId]) {
        self.follower.until(|routing| routing.nodes.len() == NODES.len()).await;
        let nodes = self.follower.routing();
        // Nodes register in any order: each is found by its address.
        let of = |node: NodeId| {
            let expected = format!("10.0.0.{}:{PORT}", node.get());
            *nodes.nodes.iter().find(|(_, info)| info.addresses[0] == expected).unwrap().0
        };
        let chain = |first: usize| {
            let at = |step: usize| (first + step) % NODES.len();
            let target = |at: usize| NewTarget {
                node: of(NODES[at]),
                core: CoreId::new(0),
                store: stores[at],
                disk: 0,
            };
            (0..NODES.len()).map(|step| target(at(step))).collect()
        };
        let wanted = Command::CreateChains((0..CHAINS).map(chain).collect());
        drop(nodes);
        let chains: Vec<ChainId> = self.operate(Operation::Cluster(wanted)).await.chains;
        self.operate(Operation::Cluster(Command::SetTable(TABLE, chains.clone()))).await;
        let whole = |routing: &RoutingInfo| {
            let of = |chain| routing.chains.get(chain).map_or(0, |info| info.serving().count());
            routing.tables.contains_key(&TABLE) && chains.iter().all(|chain| of(chain) == 3)
        };
        self.follower.until(whole).await;
    }

    /// Chunks on all storage nodes together.
    pub(crate) async fn chunks(&self) -> u64 {
        let routing = self.follower.routing();
        let storage = routing.nodes.values().filter(|info| info.role == NodeRole::Storage);
        let mut sum = 0;
        for info in storage {
            let address = info.addresses[0].parse().unwrap();
            let client = Client::new(&self.env, self.net.clone(), address);
            let body = StorageSpaceRequest::default();
            let call = Call::new(&body, self.env.now() + Duration::from_secs(10));
            let reply = client.call(call).await.unwrap();
            let told = reply.body::<StorageSpaceReply>().unwrap();
            let told = bodies::to_owned::<StorageSpaceReply>(told).unwrap();
            sum += told.stores.iter().map(|store| store.chunks).sum::<u64>();
        }
        sum
    }
}

/// The client that ships.
pub(crate) type Meta = MetaClient<SimEnv>;
