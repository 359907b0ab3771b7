//! A world: one KV, a manager, four storage nodes with a store each, and a machine for clients.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use engine_net::{Call, Client, NetConfig, NetLimits, Part};
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{Env, Signal};
use engine_shard::{ChunkStore, CreateOptions, StoreConfig};
use engine_storaged::{Role, Settings, ShardSpec};
use engine_types::{
    ChainId, ClusterId, CoreId, Incarnation, NodeId, NodeRole, PublicState, RoutingInfo, Status,
    StoreId, TargetId, WallTime,
};
use engine_wire::bodies;
use engine_wire::bodies::storage::{
    ReadAnswer, ReadItem, StorageReadReply, StorageReadRequest, StorageScrubReply,
    StorageScrubRequest, StorageSpaceReply, StorageSpaceRequest, StorageTargetsReply,
    StorageTargetsRequest, StorageUpdateReply, StorageUpdateRequest, StoreScrub, StoreSpace,
    TargetStatus, UpdateAnswer, UpdateItem,
};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use meta_kv::OwnKv;
use meta_kv::engine::memory::MemoryEngine;
use meta_kvd::{Remote, ServedEngine};
use mgmt_client::{Follower, Managers};
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_protocol::Operation;

const CLUSTER: ClusterId = ClusterId::new(7);
const KV: NodeId = NodeId::new(0);
const MANAGER: NodeId = NodeId::new(1);
/// Machines of the storage nodes.
pub(crate) const NODES: [NodeId; 4] =
    [NodeId::new(2), NodeId::new(3), NodeId::new(4), NodeId::new(5)];
pub(crate) const CLIENT: NodeId = NodeId::new(6);
pub(crate) const PORT: u16 = 7000;
pub(crate) const STORE: &str = "/store";
pub(crate) const STORE_BYTES: u64 = 1 << 30;

pub(crate) fn net(role: NodeRole, node: NodeId) -> Rc<NetConfig> {
    let process = StoreId::new(u128::from(node.get()) + 1);
    let identity = Identity { role, node, process, incarnation: Incarnation::new(1) };
    let secret = ClusterSecret::new([1; 32]).unwrap();
    let local = Local { cluster: CLUSTER, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

/// See the module.
pub(crate) struct Ground {
    pub(crate) sim: Sim,
    /// Of the storage nodes.
    limits: NetLimits,
    settings: Settings,
    store_bytes: u64,
    stores: RefCell<Vec<StoreId>>,
    ended: Rc<RefCell<Vec<String>>>,
}

impl Ground {
    /// KV, manager and `nodes` storage nodes run.
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self::with_tables(seed, &vec![None; nodes])
    }

    /// The same with one storage node for each of `channels`: how many channels its store
    /// remembers.
    pub(crate) fn with_tables(seed: u64, channels: &[Option<u32>]) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        let settings = Settings::default();
        Self::on(sim, channels, (&NetLimits::default(), settings), None, STORE_BYTES)
    }

    /// The same with `nodes` storage nodes of other settings.
    pub(crate) fn with_settings(seed: u64, nodes: usize, settings: Settings) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        let limits = NetLimits::default();
        Self::on(sim, &vec![None; nodes], (&limits, settings), None, STORE_BYTES)
    }

    /// The same with `nodes` storage nodes that have a pool of so many bytes, half of it for bulk.
    pub(crate) fn with_pools(seed: u64, nodes: usize, pool_bytes: usize) -> Self {
        let credit_bytes = pool_bytes as u64 / 2;
        let limits = NetLimits { credit_bytes, ..NetLimits::default() };
        let sim = Sim::new(SimConfig::new(seed));
        let given = (&limits, Settings::default());
        Self::on(sim, &vec![None; nodes], given, Some(pool_bytes), STORE_BYTES)
    }

    /// The same with `nodes` storage nodes that have stores of so many bytes.
    pub(crate) fn with_stores(seed: u64, nodes: usize, store_bytes: u64) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        let given = (&NetLimits::default(), Settings::default());
        Self::on(sim, &vec![None; nodes], given, None, store_bytes)
    }

    fn on(
        sim: Sim,
        channels: &[Option<u32>],
        (limits, settings): (&NetLimits, Settings),
        pool_bytes: Option<usize>,
        store_bytes: u64,
    ) -> Self {
        for name in ["kv", "manager", "node-1", "node-2", "node-3", "node-4", "client"] {
            let mut spec = NodeSpec::new(name);
            if let Some(bytes) = pool_bytes.filter(|_| name.starts_with("node")) {
                spec.core.pool_bytes = bytes;
            }
            sim.add_node(spec);
        }
        let (limits, stores) = (limits.clone(), RefCell::default());
        let ended = Rc::default();
        let ground = Self { sim, limits, settings, store_bytes, stores, ended };
        ground.serve_kv();
        ground.manage();
        for (index, &channels) in channels.iter().enumerate() {
            ground.format_with(index, channels);
            ground.node(index);
        }
        ground
    }

    fn serve_kv(&self) {
        let served =
            ServedEngine { store: 5, created: WallTime::from_nanos(1), starts: 1, restores: 0 };
        let role = meta_kvd::Role {
            listen: self.sim.address(KV, PORT),
            net: net(NodeRole::Kv, KV),
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
            let remote = Remote::new(&env, net(NodeRole::Manager, MANAGER), kv);
            let role = mgmt_mgmtd::role::Role {
                listen,
                net: net(NodeRole::Manager, MANAGER),
                kv: OwnKv::new(env.clone(), remote),
                me: MANAGER,
                incarnation: Incarnation::new(1 + env.now().nanos()),
                addresses: Vec::new(),
                name: "test".to_owned(),
                times: None,
            };
            let never = core::future::pending();
            mgmt_mgmtd::role::run(&env, role, |_| (), never).await.unwrap();
        });
    }

    /// Formats the store of a node.
    pub(crate) fn format(&self, index: usize) {
        self.format_with(index, None);
    }

    pub(crate) fn format_with(&self, index: usize, dedup_channels: Option<u32>) {
        let made = Rc::new(Cell::new(None));
        let told = made.clone();
        let size = self.store_bytes;
        self.sim.start(NODES[index], move |env| async move {
            let options = CreateOptions {
                cluster: CLUSTER,
                size: Some(size),
                journal_bytes: None,
                index_bytes: None,
                dedup_channels,
                force: true,
            };
            let made = ChunkStore::format(&env, Path::new(STORE), &options).await.unwrap();
            told.set(Some(made.store));
        });
        let over = self.sim.run_while(Duration::from_secs(30), |_| made.get().is_none());
        assert!(over.unwrap(), "the store is not formatted");
        self.sim.run_for(Duration::from_millis(1)).unwrap();
        let mut stores = self.stores.borrow_mut();
        let id = made.get().unwrap();
        match stores.get_mut(index) {
            Some(store) => *store = id,
            None => stores.push(id),
        }
    }

    /// Starts a storage node.
    pub(crate) fn node(&self, index: usize) {
        let node = NODES[index];
        let (listen, manager) = (self.sim.address(node, PORT), self.sim.address(MANAGER, PORT));
        let (ended, settings) = (self.ended.clone(), self.settings);
        let mut net = NetConfig::clone(&net(NodeRole::Storage, node));
        net.limits = self.limits.clone();
        self.sim.start(node, move |env| async move {
            let signals = env.signals().unwrap();
            let role = Role {
                shards: vec![ShardSpec { core: None, listen, stores: vec![PathBuf::from(STORE)] }],
                net: Rc::new(net),
                managers: vec![manager],
                identity: PathBuf::from("/identity"),
                addresses: Vec::new(),
                domain: format!("rack-{index}"),
                store: StoreConfig { cluster: Some(CLUSTER), ..StoreConfig::default() },
            };
            let stop = async move { while signals.recv().await != Some(Signal::Terminate) {} };
            let end = engine_storaged::run_with(&env, role, settings, |_| (), stop).await;
            ended.borrow_mut().push(format!("node {index}: {end:?}"));
        });
    }

    /// How nodes have ended.
    pub(crate) fn ended(&self) -> Vec<String> {
        self.ended.borrow().clone()
    }

    pub(crate) fn run(&self, time: Duration) {
        self.sim.run_for(time).unwrap();
    }

    /// Runs `main` on the client's machine to its end.
    pub(crate) fn act<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        main: impl FnOnce(Rc<Caller>) -> F + 'static,
    ) -> T {
        let manager = self.sim.address(MANAGER, PORT);
        let done: Rc<RefCell<Option<T>>> = Rc::default();
        let told = done.clone();
        self.sim.start(CLIENT, move |env| async move {
            let caller = Caller::new(&env, manager);
            let result = main(caller).await;
            *told.borrow_mut() = Some(result);
        });
        let over = self.sim.run_while(Duration::from_secs(120), |_| done.borrow().is_none());
        assert!(over.unwrap(), "the client does not come to an end; {:?}", self.ended());
        self.sim.run_for(Duration::from_millis(1)).unwrap();
        done.take().unwrap()
    }

    /// The operator says that the store of a node was exchanged on purpose.
    pub(crate) fn adopt(&self, index: usize, chain: ChainId) {
        let store = self.stores.borrow()[index];
        self.act(move |caller| async move {
            caller.follower.until(|routing| routing.chains.contains_key(&chain)).await;
            let routing = caller.follower.routing();
            let expected = format!("{}:{PORT}", caller.env_ip(NODES[index]));
            let lives = |target: &TargetId| {
                routing.nodes[&routing.targets[target].node].addresses[0] == expected
            };
            let members = routing.chains[&chain].members.iter();
            let target = members.map(|member| member.target).find(lives).unwrap();
            caller.command(Command::AdoptStore(target, store)).await;
        });
    }

    /// Starts `main` on the client's machine; it ends when something else is started there.
    pub(crate) fn in_background<F: Future<Output = ()> + 'static>(
        &self,
        main: impl FnOnce(Rc<Caller>) -> F + 'static,
    ) {
        let manager = self.sim.address(MANAGER, PORT);
        self.sim.start(CLIENT, move |env| async move { main(Caller::new(&env, manager)).await });
    }

    /// One chain with a replica on each of the first `replicas` nodes, all of them serving.
    pub(crate) fn chain(&self, replicas: usize) -> ChainId {
        self.chain_of(&(0..replicas).collect::<Vec<_>>())
    }

    /// One chain with replicas on these nodes, head first.
    pub(crate) fn chain_of(&self, order: &[usize]) -> ChainId {
        let all = self.stores.borrow();
        let stores = order.iter().map(|&index| (index, all[index])).collect();
        drop(all);
        self.act(move |caller| async move { caller.create_chain(stores).await })
    }
}

/// A client, an operator and whoever else asks.
pub(crate) struct Caller {
    pub(crate) env: SimEnv,
    pub(crate) managers: Managers<SimEnv>,
    pub(crate) follower: Rc<Follower<SimEnv>>,
}

impl Caller {
    fn new(env: &SimEnv, manager: SocketAddr) -> Rc<Self> {
        let managers = Managers::new(env, net(NodeRole::Operator, CLIENT), vec![manager]);
        let follower = Follower::start(&managers);
        Rc::new(Self { env: env.clone(), managers, follower })
    }

    async fn create_chain(&self, stores: Vec<(usize, StoreId)>) -> ChainId {
        let count = stores.len();
        let last = stores.iter().map(|(index, _)| *index).max().unwrap();
        let all = |routing: &RoutingInfo| last < routing.nodes.len();
        self.follower.until(all).await;
        let nodes = self.follower.routing();
        // Nodes register in any order: each is found by its address.
        let of = |index: usize| {
            let expected = format!("{}:{PORT}", self.env_ip(NODES[index]));
            let mut all = nodes.nodes.iter();
            *all.find(|(_, info)| info.addresses[0] == expected).unwrap().0
        };
        let members = stores.iter().map(|(index, store)| NewTarget {
            node: of(*index),
            core: CoreId::new(0),
            store: *store,
            disk: 0,
        });
        let wanted = Command::CreateChains(vec![members.collect()]);
        let wanted = Operation::Cluster(wanted);
        let deadline = self.env.now() + Duration::from_secs(30);
        let done = self.managers.call(&wanted, deadline).await.unwrap();
        let chain = done.chains[0];
        self.until_serving(chain, count).await;
        chain
    }

    fn env_ip(&self, node: NodeId) -> core::net::Ipv4Addr {
        core::net::Ipv4Addr::new(10, 0, 0, u8::try_from(node.get()).unwrap())
    }

    pub(crate) async fn until_serving(&self, chain: ChainId, count: usize) {
        let serving = |routing: &RoutingInfo| {
            routing.chains.get(&chain).is_some_and(|info| info.serving().count() == count)
        };
        self.follower.until(serving).await;
    }

    /// Serving members, head first, and the version.
    pub(crate) fn members(&self, chain: ChainId) -> (Vec<TargetId>, u32) {
        let routing = self.follower.routing();
        let info = &routing.chains[&chain];
        let serving = info.members.iter().filter(|m| m.state == PublicState::Serving);
        (serving.map(|member| member.target).collect(), info.version.get())
    }

    /// The same update until it is done, wherever the head is.
    pub(crate) async fn update_surely(
        &self,
        chain: ChainId,
        item: UpdateItem,
        data: &[u8],
    ) -> UpdateAnswer {
        loop {
            let (members, version) = self.members(chain);
            if let Some(head) = members.first() {
                let item = UpdateItem { target: head.get(), chain_version: version, ..item };
                let told = self.update(item, data).await;
                if ok(told.status) {
                    return told;
                }
            }
            self.env.sleep_until(self.env.now() + Duration::from_millis(50)).await;
        }
    }

    /// The same read of one replica until it answers.
    pub(crate) async fn read_surely(
        &self,
        chain: ChainId,
        target: TargetId,
        item: ReadItem,
    ) -> (ReadAnswer, Vec<u8>) {
        loop {
            let (_, version) = self.members(chain);
            let item = ReadItem { target: target.get(), chain_version: version, ..item };
            let found = self.read(item).await;
            if ok(found.0.status) {
                return found;
            }
            self.env.sleep_until(self.env.now() + Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn address(&self, target: TargetId) -> SocketAddr {
        let routing = self.follower.routing();
        let node = &routing.nodes[&routing.targets[&target].node];
        node.addresses[0].parse().unwrap()
    }

    /// The address of a storage node by its machine.
    pub(crate) fn machine(&self, machine: NodeId) -> SocketAddr {
        (self.env_ip(machine), PORT).into()
    }

    pub(crate) fn client(&self, target: TargetId) -> Client<SimEnv> {
        Client::new(&self.env, net(NodeRole::Client, CLIENT), self.address(target))
    }

    /// An operator's command, until it is done.
    pub(crate) async fn command(&self, command: Command) {
        let wanted = Operation::Cluster(command);
        loop {
            let deadline = self.env.now() + Duration::from_secs(5);
            match self.managers.call(&wanted, deadline).await {
                Ok(_) => return,
                Err(error) => println!("not yet: {error}"),
            }
            self.env.sleep_until(self.env.now() + Duration::from_millis(200)).await;
        }
    }

    /// Chunks on the store of the node at `address`.
    pub(crate) async fn chunks_at(&self, address: SocketAddr) -> u64 {
        self.space_at(address).await.chunks
    }

    /// Room and tables of the store of the node at `address`.
    pub(crate) async fn space_at(&self, address: SocketAddr) -> StoreSpace {
        let client = Client::new(&self.env, net(NodeRole::Client, CLIENT), address);
        let body = StorageSpaceRequest::default();
        let call = Call::new(&body, self.env.now() + Duration::from_secs(10));
        let reply = client.call(call).await.unwrap();
        let told = reply.body::<StorageSpaceReply>().unwrap();
        bodies::to_owned::<StorageSpaceReply>(told).unwrap().stores[0]
    }

    /// What the node at `address` has verified, by who asks in this role; `begin` begins a pass.
    pub(crate) async fn scrub_at(
        &self,
        address: SocketAddr,
        role: NodeRole,
        begin: bool,
    ) -> Result<StoreScrub, Status> {
        let client = Client::new(&self.env, net(role, CLIENT), address);
        let body = StorageScrubRequest { begin: begin.into(), ..StorageScrubRequest::default() };
        let call = Call::new(&body, self.env.now() + Duration::from_secs(10));
        let reply = client.call(call).await.map_err(|error| error.status())?;
        let told = reply.body::<StorageScrubReply>().unwrap();
        Ok(bodies::to_owned::<StorageScrubReply>(told).unwrap().stores[0])
    }

    /// Targets of the node at `address`.
    pub(crate) async fn targets_at(&self, address: SocketAddr) -> Vec<TargetStatus> {
        let client = Client::new(&self.env, net(NodeRole::Client, CLIENT), address);
        let body = StorageTargetsRequest::default();
        let call = Call::new(&body, self.env.now() + Duration::from_secs(10));
        let reply = client.call(call).await.unwrap();
        let told = reply.body::<StorageTargetsReply>().unwrap();
        bodies::to_owned::<StorageTargetsReply>(told).unwrap().targets
    }

    /// One update, once.
    pub(crate) async fn update(&self, item: UpdateItem, data: &[u8]) -> UpdateAnswer {
        self.updates(vec![item], data).await[0]
    }

    /// Updates of one target in one message, once. Like the client that ships, it does not go on
    /// dialling a node that refuses: routing info may name another head by then.
    pub(crate) async fn updates(&self, items: Vec<UpdateItem>, data: &[u8]) -> Vec<UpdateAnswer> {
        let (target, count) = (TargetId::new(items[0].target), items.len());
        let sizes: Vec<usize> = items.iter().map(|item| item.bytes as usize).collect();
        let body = StorageUpdateRequest { items };
        let deadline = self.env.now() + Duration::from_secs(10);
        let call = Call::new(&body, deadline);
        let mut parts = Vec::new();
        let mut left = data;
        for size in sizes.into_iter().filter(|size| *size != 0) {
            let (own, others) = left.split_at(size);
            left = others;
            let bytes = engine_net::pooled(&self.env, own).await.unwrap();
            parts.push(Part::plain(bytes));
        }
        let client = self.client(target);
        let reply = match client.ready(deadline).await {
            Ok(()) => client.call(call.with_parts(&parts)).await,
            Err(error) => Err(error),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let status = error.status().code();
                return vec![UpdateAnswer { status, ..UpdateAnswer::default() }; count];
            }
        };
        let told =
            bodies::to_owned::<StorageUpdateReply>(reply.body::<StorageUpdateReply>().unwrap());
        told.unwrap().items
    }

    /// One read, once.
    pub(crate) async fn read(&self, item: ReadItem) -> (ReadAnswer, Vec<u8>) {
        let target = TargetId::new(item.target);
        let body = StorageReadRequest { items: vec![item] };
        let call = Call::new(&body, self.env.now() + Duration::from_secs(10));
        let reply = self.client(target).call(call.with_reply_room(4 << 20)).await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let status = error.status().code();
                return (ReadAnswer { status, ..ReadAnswer::default() }, Vec::new());
            }
        };
        let told = bodies::to_owned::<StorageReadReply>(reply.body::<StorageReadReply>().unwrap());
        (told.unwrap().items[0], reply.payload().to_vec())
    }
}

fn ok(status: u16) -> bool {
    Status::from_code(status).is_ok()
}
