//! A storage node that holds states only: what it keeps on disk, what it has in memory, and the
//! duties that `mgmt/DESIGN.md` names. Agent, follower and lease are those that ship.
//!
//! Crash: the disk stays. A process that starts again counts its start and those of its stores
//! before it says anything.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use engine_runtime::sim::SimEnv;
use engine_runtime::{CancelToken, Env, Signal};
use engine_types::{
    ChainId, ChainInfo, ChainVersion, CoreId, Incarnation, Instant, Member, NodeId, NodeRole,
    PublicState, RoutingInfo, RoutingVersion, SessionId, StoreId, TargetId, Timeline, reached,
};
use mgmt_client::{Agent, AgentEnd, Follower, Managers, NodeState, Report};
use mgmt_cluster::chain::LocalState;
use mgmt_cluster::heartbeat::{Move, ShardReport, TargetReport};
use mgmt_cluster::lease::{Grant, StorageLease};
use mgmt_cluster::registry::Registration;

use super::bug::Bug;
use super::cluster::Cluster;

/// Time that installing a version durably takes at most.
const INSTALL_MAX: Duration = Duration::from_millis(30);
/// Time that a node takes to look at new routing info.
const FOLLOW_MAX: Duration = Duration::from_millis(50);
/// A node that is asked to stop waits for so long to be heard.
const STOP_TIME: Duration = Duration::from_millis(800);
/// Of starts with trouble, permille: a store is found damaged, an id was not kept.
const DAMAGED: u64 = 60;
const ID_LOST: u64 = 200;

/// A target on its disk.
#[derive(Clone, Debug)]
pub(in crate::scenarios) struct Durable {
    pub(super) store: StoreId,
    /// Starts of the store.
    pub(super) starts: u64,
    pub(in crate::scenarios) chain: ChainId,
    pub(in crate::scenarios) installed: ChainInfo,
    pub(super) timeline: Timeline,
    /// How many acknowledged writes of its chain it has.
    pub(super) data: u64,
    pub(super) damaged: bool,
}

impl Durable {
    pub(in crate::scenarios) fn incarnation(&self) -> Incarnation {
        Incarnation::new(self.starts)
    }

    pub(super) fn member(&self, target: TargetId) -> Option<&Member> {
        self.installed.members.iter().find(|member| member.target == target)
    }
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Known once an answer to a registration arrived and was kept.
    id: Option<NodeId>,
    starts: u64,
    pub(super) targets: BTreeMap<TargetId, Durable>,
}

/// A machine.
pub(in crate::scenarios) struct Node {
    /// Its number in the world.
    pub(in crate::scenarios) machine: NodeId,
    pub(super) disk: RefCell<Disk>,
    pub(super) host: RefCell<Option<Rc<Host>>>,
    /// The id that it was given first, for T85.
    given: Cell<Option<NodeId>>,
}

/// A target in memory.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) lease: StorageLease,
    pub(super) offline: bool,
    /// It caught up in this version.
    pub(super) synced: Option<ChainVersion>,
    /// It told this target so, in this version, and needs its acknowledgements from then on (R11).
    pub(super) sync_done: Option<(TargetId, ChainVersion)>,
    /// The write that it has taken and that is not acknowledged.
    pub(super) pending: Option<u64>,
}

impl Live {
    fn new(target: TargetId, durable: &Durable) -> Self {
        let lease = StorageLease::new(target, durable.incarnation());
        Self { lease, offline: false, synced: None, sync_done: None, pending: None }
    }
}

/// A process.
pub(in crate::scenarios) struct Host {
    pub(super) env: SimEnv,
    pub(in crate::scenarios) follower: Rc<Follower<SimEnv>>,
    agent: RefCell<Weak<Agent<SimEnv, State>>>,
    id: Cell<Option<NodeId>>,
    pub(super) live: RefCell<BTreeMap<TargetId, Live>>,
    drained: Cell<(Timeline, RoutingVersion)>,
    /// Writes of sessions that it works on, and until when, by the world's clock.
    pub(super) admitted: RefCell<Vec<(SessionId, Instant)>>,
    progress: Cell<u64>,
    /// Its shard takes no turns (L5b).
    pub(super) stuck: Cell<bool>,
}

impl Host {
    pub(super) fn beat_now(&self) {
        if let Some(agent) = self.agent.borrow().upgrade() {
            agent.beat_now();
        }
    }
}

/// A store that may serve a version at a moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenarios) struct Able {
    /// Which of the nodes.
    pub(in crate::scenarios) node: usize,
    pub(in crate::scenarios) target: TargetId,
    pub(in crate::scenarios) chain: ChainId,
    pub(in crate::scenarios) incarnation: Incarnation,
    pub(in crate::scenarios) version: ChainVersion,
}

impl Node {
    pub(super) fn new(machine: NodeId) -> Self {
        Self { machine, disk: RefCell::default(), host: RefCell::default(), given: Cell::new(None) }
    }

    /// The process, if one runs.
    pub(in crate::scenarios) fn host(&self) -> Option<Rc<Host>> {
        self.host.borrow().clone()
    }

    pub(super) fn ended(&self) {
        *self.host.borrow_mut() = None;
    }

    /// Whoever could serve at `now` of its clock. A frozen process is among them: it may wake.
    pub(super) fn able(&self, index: usize, now: Instant, bug: Option<Bug>, out: &mut Vec<Able>) {
        let Some(host) = self.host() else { return };
        let disk = self.disk.borrow();
        let live = host.live.borrow();
        let now = match bug {
            Some(Bug::LeaseAfterEnd) => now.saturating_sub(Duration::from_millis(1_500)),
            _ => now,
        };
        for (&target, durable) in &disk.targets {
            let Some(live) = live.get(&target) else { continue };
            let version = match bug {
                Some(Bug::OldVersion) => live.lease.version().min(durable.installed.version),
                _ => durable.installed.version,
            };
            let (chain, incarnation) = (durable.chain, durable.incarnation());
            if live.lease.serves(now, version, incarnation) {
                out.push(Able { node: index, target, chain, incarnation, version });
            }
        }
    }

    /// A store fails, or closes.
    pub(super) fn go_offline(&self, target: TargetId, bug: Option<Bug>) {
        let Some(host) = self.host() else { return };
        if let Some(live) = host.live.borrow_mut().get_mut(&target) {
            if bug != Some(Bug::LeaseKeptOffline) {
                live.lease.drop_lease(host.env.now());
            }
            live.offline = true;
            (live.synced, live.sync_done, live.pending) = (None, None, None);
        }
        host.beat_now();
    }

    /// It is opened again.
    pub(super) fn go_online(&self, target: TargetId, bug: Option<Bug>) {
        let Some(host) = self.host() else { return };
        if let Some(durable) = self.disk.borrow_mut().targets.get_mut(&target) {
            durable.starts += u64::from(bug != Some(Bug::StartForgotten));
            host.live.borrow_mut().insert(target, Live::new(target, durable));
        }
        host.beat_now();
    }
}

/// What the agent sees.
pub(super) struct State {
    cluster: Rc<Cluster>,
    node: Rc<Node>,
    host: Rc<Host>,
}

impl NodeState for State {
    fn report(&self) -> Report {
        let host = &self.host;
        let live = host.live.borrow();
        let disk = self.node.disk.borrow();
        let reports = disk.targets.iter().filter_map(|(&target, durable)| {
            let live = live.get(&target)?;
            Some(TargetReport {
                target,
                incarnation: durable.incarnation(),
                store: durable.store,
                chain: Some(durable.chain),
                core: CoreId::new(0),
                local: self.local(target, durable, live),
                damaged: durable.damaged,
                version: durable.installed.version,
                timeline: durable.timeline,
            })
        });
        let targets = reports.collect();
        host.progress.set(host.progress.get() + u64::from(!host.stuck.get()));
        let shards = vec![ShardReport { core: CoreId::new(0), progress: host.progress.get() }];
        let (timeline, drained) = self.drained();
        Report { timeline, drained, shards, targets }
    }

    fn granted(&self, grant: Grant, now: Instant) {
        let sent = match self.cluster.has(Bug::LeaseFromAnswer) {
            true => now,
            false => grant.sent,
        };
        if let Some(live) = self.host.live.borrow_mut().get_mut(&grant.target) {
            live.lease.granted(now, Grant { sent, ..grant });
        }
    }

    async fn install(&self, timeline: Timeline, moves: Vec<Move>) -> bool {
        pause(&self.host.env, INSTALL_MAX).await;
        let each = moves.into_iter();
        let installed = each.map(|step| self.install_one(timeline, step.target, &step.info));
        installed.fold(false, |any, one| any | one)
    }
}

impl State {
    fn local(&self, target: TargetId, durable: &Durable, live: &Live) -> LocalState {
        let member = durable.member(target);
        let own = member.is_some_and(|member| member.incarnation == durable.incarnation());
        let early = self.cluster.has(Bug::EarlyUpToDate);
        match member.map(|member| member.state) {
            _ if live.offline => LocalState::Offline,
            Some(PublicState::Serving) if own => LocalState::UpToDate,
            Some(PublicState::Syncing)
                if early || live.synced == Some(durable.installed.version) =>
            {
                LocalState::UpToDate
            }
            _ => LocalState::Online,
        }
    }

    /// What is installed, and nothing of the sessions revoked in it is left.
    fn drained(&self) -> (Timeline, RoutingVersion) {
        let host = &self.host;
        let routing = host.follower.routing();
        let left = host.admitted.borrow().iter().any(|&(session, _)| routing.is_revoked(session));
        if !left || self.cluster.has(Bug::DrainedTooEarly) {
            host.drained.set((routing.timeline, routing.version));
        }
        host.drained.get()
    }

    fn install_one(&self, timeline: Timeline, target: TargetId, info: &ChainInfo) -> bool {
        let mut disk = self.node.disk.borrow_mut();
        let mut live = self.host.live.borrow_mut();
        let (Some(durable), Some(live)) = (disk.targets.get_mut(&target), live.get_mut(&target))
        else {
            return false;
        };
        let older = info.version <= durable.installed.version;
        if older || live.offline || self.host.stuck.get() {
            return false;
        }
        durable.installed = info.clone();
        durable.timeline = durable.timeline.max(timeline);
        if !self.cluster.has(Bug::OldVersion) {
            live.lease.give_up_before(info.version);
        }
        self.cluster.installed(durable.chain, info);
        true
    }

    /// Follows routing info: new targets are created, forgotten ones dropped, versions installed.
    async fn follow(self: Rc<Self>) {
        let host = &self.host;
        let mut last = (Timeline::default(), RoutingVersion::default());
        loop {
            host.follower.until(|routing| (routing.timeline, routing.version) != last).await;
            pause(&host.env, FOLLOW_MAX).await;
            let routing = host.follower.routing();
            last = (routing.timeline, routing.version);
            if self.adopt(&routing) {
                host.beat_now();
            }
        }
    }

    fn adopt(&self, routing: &RoutingInfo) -> bool {
        let Some(me) = self.host.id.get() else { return false };
        let mut changed = false;
        {
            let mut disk = self.node.disk.borrow_mut();
            let mut live = self.host.live.borrow_mut();
            disk.targets.retain(|target, _| routing.targets.contains_key(target));
            live.retain(|target, _| routing.targets.contains_key(target));
            for (&target, info) in routing.targets.iter().filter(|(_, info)| info.node == me) {
                let durable = disk.targets.entry(target).or_insert_with(|| Durable {
                    store: info.store,
                    starts: 1,
                    chain: info.chain,
                    installed: ChainInfo { version: ChainVersion::default(), members: Vec::new() },
                    timeline: Timeline::default(),
                    data: 0,
                    damaged: false,
                });
                live.entry(target).or_insert_with(|| {
                    changed = true;
                    Live::new(target, durable)
                });
            }
        }
        let mine: Vec<(TargetId, ChainId)> = {
            let disk = self.node.disk.borrow();
            disk.targets.iter().map(|(&target, durable)| (target, durable.chain)).collect()
        };
        for (target, chain) in mine {
            if let Some(info) = routing.chains.get(&chain) {
                changed |= self.install_one(routing.timeline, target, info);
            }
        }
        changed
    }
}

async fn pause(env: &SimEnv, most: Duration) {
    let most = u64::try_from(most.as_nanos()).expect("short");
    env.sleep_until(env.now() + Duration::from_nanos(env.random() % most)).await;
}

/// A process counts its start.
fn start(env: &SimEnv, cluster: &Cluster, node: &Node, managers: &Managers<SimEnv>) -> Rc<Host> {
    let mut disk = node.disk.borrow_mut();
    disk.starts += 1;
    let chance = |permille| cluster.style.trouble && env.random() % 1_000 < permille;
    if chance(ID_LOST) {
        disk.id = None;
    }
    let forgets = cluster.has(Bug::StartForgotten);
    let mut live = BTreeMap::new();
    for (&target, durable) in &mut disk.targets {
        durable.starts += u64::from(!forgets);
        durable.damaged |= !cluster.quiet.get() && chance(DAMAGED);
        live.insert(target, Live::new(target, durable));
    }
    Rc::new(Host {
        env: env.clone(),
        follower: Follower::start(managers),
        agent: RefCell::default(),
        id: Cell::new(None),
        live: RefCell::new(live),
        drained: Cell::default(),
        admitted: RefCell::default(),
        progress: Cell::new(0),
        stuck: Cell::new(false),
    })
}

/// Takes the process from its machine when it ends.
struct Ends(Rc<Node>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended();
    }
}

/// The process of node `index`.
pub(in crate::scenarios) async fn run(env: SimEnv, cluster: Rc<Cluster>, index: usize) {
    let signals = env.signals().expect("simulation always has them");
    let node = cluster.nodes[index].clone();
    let net = cluster.net(&env, NodeRole::Storage);
    let managers = Managers::new(&env, net, cluster.managers.clone());
    let host = start(&env, &cluster, &node, &managers);
    cluster.followers.borrow_mut().watch(&host.follower);
    let _ends = Ends(node.clone());
    *node.host.borrow_mut() = Some(host.clone());
    let wanted = {
        let disk = node.disk.borrow();
        Registration {
            node: disk.id,
            uuid: StoreId::new(index as u128 + 1),
            role: NodeRole::Storage,
            addresses: vec![cluster.address_of(env.node()).to_string()],
            incarnation: Incarnation::new(disk.starts),
            domain: String::new(),
        }
    };
    let state = State { cluster: cluster.clone(), node: node.clone(), host: host.clone() };
    let state = Rc::new(state);
    let agent = Agent::new(&managers, wanted, state.clone());
    *host.agent.borrow_mut() = Rc::downgrade(&agent);
    drop(env.spawn(lives(agent.clone(), state)));
    let stop = CancelToken::default();
    let (stopping, stopped) = (agent.clone(), stop.clone());
    let (its, bug, now) = (node.clone(), cluster.style.bug, env.clone());
    drop(env.spawn(async move {
        while signals.recv().await != Some(Signal::Terminate) {}
        let targets: Vec<TargetId> = its.disk.borrow().targets.keys().copied().collect();
        for target in targets {
            its.go_offline(target, bug);
        }
        stopping.beat_heard(now.now() + STOP_TIME).await;
        stopped.cancel();
    }));
    match agent.run(stop).await {
        AgentEnd::Stopped => {}
        AgentEnd::ClockAway { .. } => reached!("E290: a node ends because its clock ran away"),
        end => cluster.found(format!("T85: the agent of node {index} ended: {end:?}")),
    }
}

/// What a registered node does.
async fn lives(agent: Rc<Agent<SimEnv, State>>, state: Rc<State>) {
    let id = agent.until_registered().await;
    drop(agent);
    let node = &state.node;
    let first = node.given.get().unwrap_or(id);
    node.given.set(Some(first));
    if first != id {
        let machine = node.machine;
        state.cluster.found(format!("T85: {machine} was registered as {first} and as {id}"));
    }
    node.disk.borrow_mut().id = Some(id);
    state.host.id.set(Some(id));
    state.follow().await;
}
