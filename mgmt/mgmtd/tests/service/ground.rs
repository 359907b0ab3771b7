//! A world: one KV, two managers, three storage nodes, and a machine for operators and clients.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use engine_net::{NetConfig, NetLimits};
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_runtime::{CancelToken, Env, Signal};
use engine_types::{
    ChainId, ChainVersion, ClusterId, CoreId, Incarnation, Instant, NodeId, NodeRole, PublicState,
    RoutingVersion, StoreId, TargetId, Timeline, WallTime,
};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};
use meta_kv::OwnKv;
use meta_kv::engine::memory::MemoryEngine;
use meta_kvd::{Remote, ServedEngine};
use mgmt_client::{Agent, AgentEnd, Follower, ManagerError, Managers, NodeState, Report};
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_cluster::heartbeat::{Move, ShardReport, TargetReport};
use mgmt_cluster::lease::{Grant, LeaseTimes, StorageLease};
use mgmt_cluster::registry::Registration;
use mgmt_mgmtd::role::{Role, run};
use mgmt_protocol::{ClusterSummary, Done, Operation, StatusAsk};

pub(crate) const CLUSTER: ClusterId = ClusterId::new(7);
const KV: NodeId = NodeId::new(0);
pub(crate) const MANAGERS: [NodeId; 2] = [NodeId::new(1), NodeId::new(2)];
const NODES: [NodeId; 3] = [NodeId::new(3), NodeId::new(4), NodeId::new(5)];
const OPERATOR: NodeId = NodeId::new(6);
const PORT: u16 = 7000;
/// Versions of the KV jump by this at each start.
const JUMP: u64 = 1 << 20;

pub(crate) fn net(role: NodeRole, node: NodeId, secret: u8) -> Rc<NetConfig> {
    let process = StoreId::new(u128::from(node.get()) + 1);
    let identity = Identity { role, node, process, incarnation: Incarnation::new(1) };
    let secret = ClusterSecret::new([secret; 32]).unwrap();
    let local = Local { cluster: CLUSTER, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}

pub(crate) struct Ground {
    pub(crate) sim: Sim,
    disk: Rc<RefCell<Arc<MemoryEngine>>>,
    starts: Cell<u64>,
    pub(crate) times: Option<LeaseTimes>,
    nodes: RefCell<BTreeMap<NodeId, Rc<Model>>>,
}

impl Ground {
    /// The KV and both managers run.
    pub(crate) fn new(seed: u64) -> Self {
        let ground = Self::without_managers(seed);
        for manager in MANAGERS {
            ground.manage(manager, CLUSTER);
        }
        ground
    }

    pub(crate) fn without_managers(seed: u64) -> Self {
        let sim = Sim::new(SimConfig::new(seed));
        let names = ["kv", "manager-1", "manager-2", "node-1", "node-2", "node-3", "operator"];
        for name in names {
            sim.add_node(NodeSpec::new(name));
        }
        let ground = Self {
            sim,
            disk: Rc::default(),
            starts: Cell::new(0),
            times: None,
            nodes: RefCell::default(),
        };
        ground.serve_kv();
        ground
    }

    /// Starts the KV on what its disk holds.
    pub(crate) fn serve_kv(&self) {
        let engine = Arc::new(self.disk.borrow().restarted(JUMP));
        *self.disk.borrow_mut() = engine.clone();
        self.starts.set(self.starts.get() + 1);
        let served = ServedEngine {
            store: 5,
            created: WallTime::from_nanos(1),
            starts: self.starts.get(),
            restores: 0,
        };
        let role = meta_kvd::Role {
            listen: self.sim.address(KV, PORT),
            net: net(NodeRole::Kv, KV, 1),
            engine,
            served,
            bytes: Box::new(|| 0),
        };
        self.sim.start(KV, move |env| async move {
            let never = core::future::pending();
            meta_kvd::run(&env, role, |_| (), never).await.unwrap();
        });
    }

    pub(crate) fn crash_kv(&self) {
        self.sim.crash(KV);
    }

    /// Starts a manager; what it ends with is kept.
    pub(crate) fn manage(&self, node: NodeId, cluster: ClusterId) -> Rc<RefCell<Option<String>>> {
        let (listen, kv) = (self.sim.address(node, PORT), self.sim.address(KV, PORT));
        let ended = Rc::new(RefCell::new(None));
        let (told, times) = (ended.clone(), self.times);
        self.sim.start(node, move |env| async move {
            let remote = Remote::new(&env, net(NodeRole::Manager, node, 1), kv);
            let signals = env.signals().unwrap();
            let mut net = NetConfig::clone(&net(NodeRole::Manager, node, 1));
            let other = cluster != CLUSTER;
            if other {
                net.local.cluster = cluster;
            }
            let role = Role {
                listen,
                net: Rc::new(net),
                kv: OwnKv::new(env.clone(), remote),
                me: node,
                incarnation: Incarnation::new(1 + env.now().nanos()),
                addresses: Vec::new(),
                name: "test".to_owned(),
                times,
            };
            let stop = async move { while signals.recv().await != Some(Signal::Terminate) {} };
            let result = run(&env, role, |_| (), stop).await;
            *told.borrow_mut() = Some(format!("{result:?}"));
        });
        ended
    }

    pub(crate) fn managers(&self) -> Vec<SocketAddr> {
        MANAGERS.iter().map(|&node| self.sim.address(node, PORT)).collect()
    }

    /// Starts a storage node, again with what it knows if it ran before.
    pub(crate) fn node(&self, index: usize) -> Rc<Model> {
        let node = NODES[index];
        let mut nodes = self.nodes.borrow_mut();
        let known = nodes.entry(node).or_insert_with(|| Rc::new(Model::new(index))).clone();
        let seeds = self.managers();
        let model = Rc::new(known.restarted());
        *nodes.get_mut(&node).unwrap() = model.clone();
        let state = model.clone();
        self.sim.start(node, move |env| async move {
            let managers = Managers::new(&env, net(NodeRole::Storage, node, 1), seeds);
            let wanted = Registration {
                node: state.id.get(),
                uuid: StoreId::new(u128::from(node.get()) << 64),
                role: NodeRole::Storage,
                addresses: vec![format!("{node}:9000")],
                incarnation: Incarnation::new(state.starts.get()),
                domain: format!("rack-{index}"),
            };
            *state.env.borrow_mut() = Some(env.clone());
            let agent = Agent::new(&managers, wanted, state.clone());
            let follower = Follower::start(&managers);
            *state.follower.borrow_mut() = Some(follower);
            let (told, known) = (agent.clone(), state.clone());
            drop(env.spawn(async move {
                known.id.set(Some(told.until_registered().await));
            }));
            let end = agent.run(CancelToken::default()).await;
            *state.end.borrow_mut() = Some(end);
        });
        model
    }

    pub(crate) fn crash_node(&self, index: usize) {
        self.sim.crash(NODES[index]);
    }

    /// Runs `main` on the operator's machine to its end.
    pub(crate) fn operate<F: Future<Output = ()> + 'static>(
        &self,
        main: impl FnOnce(SimEnv, Managers<SimEnv>) -> F + 'static,
    ) {
        self.act_as(NodeRole::Operator, 1, main);
    }

    /// The same in another role, with another secret perhaps.
    pub(crate) fn act_as<F: Future<Output = ()> + 'static>(
        &self,
        role: NodeRole,
        secret: u8,
        main: impl FnOnce(SimEnv, Managers<SimEnv>) -> F + 'static,
    ) {
        let seeds = self.managers();
        let done = Rc::new(Cell::new(false));
        let seen = done.clone();
        self.sim.start(OPERATOR, move |env| async move {
            let managers = Managers::new(&env, net(role, OPERATOR, secret), seeds);
            main(env, managers).await;
            seen.set(true);
        });
        let over = self.sim.run_while(Duration::from_secs(300), |_| !done.get());
        assert!(over.unwrap(), "the operator does not come to an end");
        self.sim.run_for(Duration::from_millis(1)).unwrap();
    }

    pub(crate) fn run(&self, duration: Duration) {
        self.sim.run_for(duration).unwrap();
    }

    /// Three nodes are registered, and `chains` chains have a replica on each.
    pub(crate) fn with_chains(&self, chains: usize) -> Vec<Rc<Model>> {
        let models: Vec<_> = (0..3).map(|index| self.node(index)).collect();
        let registered = models.clone();
        let all = || registered.iter().all(|model| model.id.get().is_some());
        let over = self.sim.run_while(Duration::from_secs(30), |_| !all());
        assert!(over.unwrap(), "the nodes are not registered");
        let ids: Vec<NodeId> = models.iter().map(|model| model.id.get().unwrap()).collect();
        self.operate(move |env, managers| async move {
            let chain = |number: usize| {
                let members = ids.iter().map(|&node| new_target(node, number));
                members.collect::<Vec<_>>()
            };
            let wanted = Command::CreateChains((1..=chains).map(chain).collect());
            let done = command(&env, &managers, wanted).await.unwrap();
            assert_eq!(done.chains.len(), chains);
        });
        let over = self.sim.run_while(Duration::from_secs(30), |_| {
            models.iter().any(|model| model.serving() < chains)
        });
        assert!(over.unwrap(), "the chains do not serve");
        models
    }
}

pub(crate) fn new_target(node: NodeId, store: usize) -> NewTarget {
    let store = StoreId::new((u128::from(node.get()) << 32) + store as u128);
    NewTarget { node, core: CoreId::new(0), store, disk: 0 }
}

pub(crate) async fn command(
    env: &SimEnv,
    managers: &Managers<SimEnv>,
    command: Command,
) -> Result<Done, ManagerError> {
    operation(env, managers, Operation::Cluster(command)).await
}

pub(crate) async fn operation(
    env: &SimEnv,
    managers: &Managers<SimEnv>,
    operation: Operation,
) -> Result<Done, ManagerError> {
    managers.call(&operation, env.now() + Duration::from_secs(30)).await
}

/// A storage node that holds states only: always up to date, as long as it is told so.
#[derive(Default)]
pub(crate) struct Model {
    index: usize,
    pub(crate) id: Cell<Option<NodeId>>,
    starts: Cell<u64>,
    env: RefCell<Option<SimEnv>>,
    pub(crate) follower: RefCell<Option<Rc<Follower<SimEnv>>>>,
    pub(crate) end: RefCell<Option<AgentEnd>>,
    targets: RefCell<BTreeMap<TargetId, Held>>,
    timeline: Cell<Timeline>,
    /// Drains nothing while set.
    pub(crate) holds_writes: Cell<bool>,
    drained: Cell<RoutingVersion>,
    /// Renewals of the node's leases by standbys, and grants in all.
    pub(crate) grants: Cell<u64>,
}

struct Held {
    lease: StorageLease,
    version: ChainVersion,
    serves: bool,
}

impl Model {
    fn new(index: usize) -> Self {
        Self { index, ..Self::default() }
    }

    /// The next start of the process; installed versions are durable.
    fn restarted(&self) -> Self {
        let starts = self.starts.get() + 1;
        let held = |(&target, held): (&TargetId, &Held)| {
            let lease = StorageLease::new(target, Incarnation::new(starts));
            (target, Held { lease, version: held.version, serves: false })
        };
        let targets = self.targets.borrow().iter().map(held).collect();
        Self {
            index: self.index,
            id: self.id.clone(),
            starts: Cell::new(starts),
            targets: RefCell::new(targets),
            timeline: self.timeline.clone(),
            ..Self::default()
        }
    }

    fn now(&self) -> Option<Instant> {
        self.env.borrow().as_ref().map(Env::now)
    }

    /// Targets that may serve at this moment.
    pub(crate) fn serving(&self) -> usize {
        let Some(now) = self.now() else { return 0 };
        let incarnation = Incarnation::new(self.starts.get());
        let targets = self.targets.borrow();
        let serves = |held: &&Held| held.lease.serves(now, held.version, incarnation);
        targets.values().filter(serves).count()
    }

    /// Routing info that the node follows.
    pub(crate) fn routing(&self) -> RoutingVersion {
        let follower = self.follower.borrow();
        follower.as_ref().map_or(RoutingVersion::new(0), |f| f.routing().version)
    }
}

impl NodeState for Model {
    fn report(&self) -> Report {
        let routing = self.follower.borrow().as_ref().map(|f| f.routing());
        let Some(routing) = routing else { return Report::default() };
        if !self.holds_writes.get() {
            self.drained.set(routing.version);
        }
        let me = self.id.get();
        let incarnation = Incarnation::new(self.starts.get());
        let mut targets = self.targets.borrow_mut();
        let mine = routing.targets.iter().filter(|(_, info)| Some(info.node) == me);
        let reports = mine.map(|(&target, info)| {
            let held = targets.entry(target).or_insert_with(|| Held {
                lease: StorageLease::new(target, incarnation),
                version: ChainVersion::new(0),
                serves: true,
            });
            TargetReport {
                target,
                incarnation,
                store: info.store,
                core: CoreId::new(0),
                local: if held.serves { LocalState::UpToDate } else { LocalState::Online },
                damaged: false,
                version: held.version,
                timeline: routing.timeline,
                chain: Some(info.chain),
            }
        });
        let progress = self.now().map_or(0, Instant::nanos);
        Report {
            timeline: routing.timeline,
            drained: self.drained.get(),
            shards: vec![ShardReport { core: CoreId::new(0), progress }],
            targets: reports.collect(),
        }
    }

    fn granted(&self, grant: Grant, now: Instant) {
        self.grants.set(self.grants.get() + 1);
        if let Some(held) = self.targets.borrow_mut().get_mut(&grant.target) {
            held.lease.granted(now, grant);
        }
    }

    async fn install(&self, timeline: Timeline, moves: Vec<Move>) -> bool {
        self.timeline.set(timeline);
        let mut installed = false;
        for Move { target, info, .. } in moves {
            let mut targets = self.targets.borrow_mut();
            let Some(held) = targets.get_mut(&target) else { continue };
            if info.version <= held.version {
                continue;
            }
            held.version = info.version;
            held.lease.give_up_before(info.version);
            let member = info.members.iter().find(|member| member.target == target);
            let state = member.map(|member| member.state);
            // A resync takes no time here.
            held.serves = matches!(state, Some(PublicState::Serving | PublicState::Syncing));
            installed = true;
        }
        installed
    }
}

pub(crate) fn chain(raw: u32) -> ChainId {
    ChainId::new(raw).unwrap()
}

/// What the primary says of its cluster.
pub(crate) async fn summary(env: &SimEnv, managers: &Managers<SimEnv>) -> ClusterSummary {
    for address in managers.addresses() {
        let deadline = env.now() + Duration::from_millis(500);
        if let Ok(status) = managers.call_at(address, &StatusAsk { summary: true }, deadline).await
            && let Some(summary) = status.summary
        {
            return summary;
        }
    }
    panic!("nobody is primary")
}
