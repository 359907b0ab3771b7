//! What the processes of one world share with its checks: stores that outlive processes, addresses,
//! and what was found wrong.
//!
//! Owned by the world's thread. Nothing here is borrowed across a wait.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine_net::{NetConfig, NetLimits};
use engine_runtime::sim::SimEnv;
use engine_types::{
    ChainId, ChainInfo, ChainVersion, Instant, NodeId, NodeRole, RoutingInfo, SessionId,
};

use super::super::kv::net_config;
use super::bug::Bug;
use super::check::Followers;
use super::node::Node;
use super::operator::Facts;
use super::roles::{PORT, Store};
use crate::check::{Verdict, fail};
use crate::world::World;

/// How a world goes.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::scenarios) struct Style {
    /// A mistake that model nodes make.
    pub(in crate::scenarios) bug: Option<Bug>,
    /// Stores fail and are damaged, shards get stuck, nodes forget their ids.
    pub(in crate::scenarios) trouble: bool,
    /// The operator creates chains and does nothing else.
    pub(in crate::scenarios) calm: bool,
    /// Connections have the times that ship, not the short ones of small worlds.
    pub(in crate::scenarios) patient: bool,
}

/// Everything that outlives a process.
pub(in crate::scenarios) struct Cluster {
    pub(super) style: Style,
    pub(in crate::scenarios) store: Store,
    pub(super) manager_starts: Cell<u64>,
    /// Where managers listen.
    pub(super) managers: Vec<SocketAddr>,
    pub(super) addresses: BTreeMap<NodeId, SocketAddr>,
    /// The model nodes, in the order of the topology.
    pub(in crate::scenarios) nodes: Vec<Rc<Node>>,
    /// Each version of each chain that any node has installed.
    pub(super) versions: RefCell<BTreeMap<(ChainId, ChainVersion), ChainInfo>>,
    /// Sessions that were opened, and those of which a manager said that they are fenced.
    pub(super) sessions: RefCell<Vec<SessionId>>,
    pub(super) fenced: RefCell<BTreeSet<SessionId>>,
    /// Followers of all processes.
    pub(super) followers: RefCell<Followers>,
    epochs: Cell<u32>,
    /// What operators were told is done.
    pub(super) facts: RefCell<Facts>,
    /// Chains exist.
    pub(in crate::scenarios) created: Cell<bool>,
    /// Faults have stopped: operators undo what they did.
    pub(in crate::scenarios) quiet: Cell<bool>,
    /// A last change is wanted, and when it was answered as done.
    pub(super) last_change: Cell<Option<Instant>>,
    pub(super) last_wanted: Cell<bool>,
    /// All facts were asked for after the last change.
    pub(super) facts_hold: Cell<bool>,
    /// Why chains are not whole, as the primary said last.
    pub(super) reasons: RefCell<Vec<String>>,
    broken: RefCell<Option<String>>,
    operations: Cell<u64>,
}

impl Cluster {
    pub(in crate::scenarios) fn new(world: &World, style: Style) -> Rc<Self> {
        let address = |&node: &NodeId| world.sim().address(node, PORT);
        let machines = world.role("node");
        Rc::new(Self {
            style,
            store: Store::default(),
            manager_starts: Cell::new(0),
            managers: world.role("manager").iter().map(address).collect(),
            addresses: world.nodes().iter().map(|node| (*node, address(node))).collect(),
            nodes: machines.iter().map(|&machine| Rc::new(Node::new(machine))).collect(),
            versions: RefCell::default(),
            sessions: RefCell::default(),
            fenced: RefCell::default(),
            followers: RefCell::default(),
            epochs: Cell::new(0),
            facts: RefCell::default(),
            created: Cell::new(false),
            quiet: Cell::new(false),
            last_change: Cell::new(None),
            last_wanted: Cell::new(false),
            facts_hold: Cell::new(false),
            reasons: RefCell::default(),
            broken: RefCell::default(),
            operations: Cell::new(0),
        })
    }

    pub(in crate::scenarios) fn address_of(&self, node: NodeId) -> SocketAddr {
        self.addresses[&node]
    }

    /// What a process of `role` connects with.
    pub(in crate::scenarios) fn net(&self, env: &SimEnv, role: NodeRole) -> Rc<NetConfig> {
        let quick = net_config(env, role);
        if !self.style.patient {
            return quick;
        }
        Rc::new(NetConfig { local: quick.local.clone(), limits: NetLimits::default() })
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.style.bug == Some(bug)
    }

    /// Something must not be; the first one counts.
    pub(super) fn found(&self, what: impl Into<String>) {
        self.broken.borrow_mut().get_or_insert_with(|| what.into());
    }

    pub(super) fn count(&self) {
        self.operations.set(self.operations.get() + 1);
    }

    /// What processes have found wrong.
    pub(in crate::scenarios) fn verdict(&self) -> Verdict {
        match &*self.broken.borrow() {
            Some(what) => fail("what processes see", what.clone()),
            None => Ok(()),
        }
    }

    /// A node has installed a version: one number names one membership.
    pub(super) fn installed(&self, chain: ChainId, info: &ChainInfo) {
        let mut versions = self.versions.borrow_mut();
        let known = versions.entry((chain, info.version)).or_insert_with(|| info.clone());
        if known != info {
            self.found(format!("T80: {chain} was installed as {known:?} and as {info:?}"));
        }
    }

    /// How many chains there are.
    pub(super) fn chains(&self) -> usize {
        self.followers.borrow().newest().map_or(0, |(routing, _)| routing.chains.len())
    }

    /// The newest routing info that anybody shows.
    ///
    /// # Panics
    /// If nobody follows.
    pub(in crate::scenarios) fn newest(&self) -> Rc<RoutingInfo> {
        self.followers.borrow().newest().expect("somebody follows").0
    }

    /// Whether every follower shows what `holds` holds of.
    pub(in crate::scenarios) fn all_show(&self, holds: impl Fn(&RoutingInfo) -> bool) -> bool {
        self.followers.borrow().behind(holds).is_none()
    }

    /// What clients did.
    pub(in crate::scenarios) fn operations(&self) -> u64 {
        self.operations.get()
    }

    /// No two sessions of a client are of one epoch.
    pub(super) fn next_epoch(&self) -> u32 {
        self.epochs.set(self.epochs.get() + 1);
        self.epochs.get()
    }

    /// Stores of chains that nobody serves are found to have lost nothing: somebody looked at them.
    pub(super) fn mend_unserved(&self) {
        let Some((routing, _)) = self.followers.borrow().newest() else { return };
        for node in &self.nodes {
            for durable in node.disk.borrow_mut().targets.values_mut() {
                let chain = routing.chains.get(&durable.chain);
                if chain.is_some_and(|info| info.head().is_none()) {
                    durable.damaged = false;
                }
            }
        }
    }

    /// Lets go of processes, whose environments hold the world.
    pub(in crate::scenarios) fn clear(&self) {
        for node in &self.nodes {
            node.ended();
        }
    }
}
