//! What the processes of one world share with its checks.
//!
//! Owned by the world's thread. Nothing here is borrowed across a wait.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use engine_runtime::sim::SimEnv;
use engine_types::{ChainId, ChunkId, InodeId, NodeId, RoutingInfo, SessionId, StoreId};
use mgmt_client::Follower;

use super::super::manager::cluster::Cluster;
use super::audit::Audit;
use super::setting::Setting;
use crate::check::chunks::{Answer, Call, ChunkOperation, Epoch};
use crate::history::{End, History};
use crate::world::World;

/// File of the first chunk; each chunk is of a file of its own.
const FIRST_INODE: u64 = 1_000;
/// How processes have ended, at most; more say nothing new.
const ENDED_MAX: usize = 20;
/// The last things that operators did that are shown.
const ORDERS_MAX: usize = 30;
/// The last failed operations that are shown.
const REFUSALS_MAX: usize = 6;

/// See the module.
pub(super) struct Ground {
    pub(super) cluster: Rc<Cluster>,
    pub(super) setting: Setting,
    /// Where managers listen.
    pub(super) managers: Vec<SocketAddr>,
    /// The machines of storage nodes.
    pub(super) machines: Vec<NodeId>,
    /// Stores that were formatted, by node and number.
    pub(super) stores: RefCell<BTreeMap<(usize, usize), StoreId>>,
    /// Of the operator, who never fails.
    pub(super) follower: RefCell<Option<Rc<Follower<SimEnv>>>>,
    /// In the order in which they were created.
    pub(super) chains: RefCell<Vec<ChainId>>,
    /// One per chunk.
    pub(super) histories: Vec<History<Call, Answer>>,
    epochs: Cell<u32>,
    stamps: Cell<u64>,
    /// The newest truncate epoch of each chunk.
    truncated: Vec<Cell<Epoch>>,
    /// Sessions in the order in which clients opened them.
    pub(super) sessions: RefCell<Vec<SessionId>>,
    /// Faults happen: operators operate.
    pub(super) suffers: Cell<bool>,
    /// Faults have stopped: operators undo what they did.
    pub(super) heals: Cell<bool>,
    /// They have.
    pub(super) undone: Cell<bool>,
    /// How often the KV came back from a backup, and how often the operator has seen to that.
    pub(super) restored: Cell<u32>,
    pub(super) raised: Cell<u32>,
    /// Nodes that are to end because a store of them was taken away.
    ending: RefCell<BTreeSet<usize>>,
    /// Stores that were taken away: faults, too.
    pub(super) taken: Cell<u64>,
    /// Faults have stopped and chains are whole: a few operations more.
    pub(super) quiet: Cell<bool>,
    /// Clients that have come to their end.
    pub(super) finished: Cell<usize>,
    /// Nodes end, and their stores are looked at.
    pub(super) is_over: Cell<bool>,
    /// What was found, by node.
    pub(super) audits: RefCell<BTreeMap<usize, Audit>>,
    /// What does not come back, the first that was seen (T99).
    found: RefCell<Option<String>>,
    ended: RefCell<Vec<String>>,
    /// What operators did, and why chains are not whole, in the words of the primary.
    orders: RefCell<VecDeque<String>>,
    pub(super) reasons: RefCell<Vec<String>>,
    /// The primary said last, since faults have stopped, that all chains are whole.
    pub(super) confirmed: Cell<bool>,
    /// The last operations that failed, and why.
    refusals: RefCell<VecDeque<String>>,
}

impl Ground {
    pub(super) fn new(world: &World, cluster: Rc<Cluster>, setting: Setting) -> Self {
        let managers = world.role("manager");
        Self {
            managers: managers.into_iter().map(|node| cluster.address_of(node)).collect(),
            cluster,
            machines: world.role("storage"),
            stores: RefCell::default(),
            follower: RefCell::default(),
            chains: RefCell::default(),
            histories: (0..setting.chunks).map(|_| History::default()).collect(),
            truncated: (0..setting.chunks).map(|_| Cell::new(1)).collect(),
            setting,
            epochs: Cell::new(0),
            stamps: Cell::new(world.seed()),
            sessions: RefCell::default(),
            suffers: Cell::new(false),
            heals: Cell::new(false),
            undone: Cell::new(false),
            restored: Cell::new(0),
            raised: Cell::new(0),
            ending: RefCell::default(),
            taken: Cell::new(0),
            quiet: Cell::new(false),
            finished: Cell::new(0),
            is_over: Cell::new(false),
            audits: RefCell::default(),
            found: RefCell::default(),
            ended: RefCell::default(),
            orders: RefCell::default(),
            reasons: RefCell::default(),
            confirmed: Cell::new(false),
            refusals: RefCell::default(),
        }
    }

    /// The name of a chunk.
    pub(super) fn chunk(&self, index: usize) -> ChunkId {
        ChunkId { inode: InodeId::new(FIRST_INODE + index as u64), index: 0 }
    }

    /// Which chunk has this name.
    pub(super) fn index_of(&self, chunk: ChunkId) -> Option<usize> {
        (0..self.histories.len()).find(|&index| self.chunk(index) == chunk)
    }

    /// Where a chunk lies.
    pub(super) fn chain_of(&self, index: usize) -> ChainId {
        let chains = self.chains.borrow();
        chains[index % chains.len()]
    }

    /// No two sessions of a client are of one epoch.
    pub(super) fn next_epoch(&self) -> u32 {
        self.epochs.set(self.epochs.get() + 1);
        self.epochs.get()
    }

    /// The newest truncate epoch of a chunk.
    pub(super) fn epoch(&self, index: usize) -> Epoch {
        self.truncated[index].get()
    }

    /// Somebody cuts the chunk.
    pub(super) fn raise_epoch(&self, index: usize) -> Epoch {
        self.truncated[index].set(self.epoch(index) + 1);
        self.epoch(index)
    }

    /// No two writes have one stamp.
    pub(super) fn next_stamp(&self) -> u64 {
        self.stamps.set(self.stamps.get().wrapping_add(1));
        engine_types::Rng::new(self.stamps.get()).next_u64().max(1)
    }

    /// The newest routing info of the operator.
    pub(super) fn routing(&self) -> Option<Rc<RoutingInfo>> {
        Some(self.follower.borrow().as_ref()?.routing())
    }

    /// The store goes with all that is in it. Its node ends, and makes a new one when it starts.
    pub(super) fn take_away(&self, index: usize, number: usize) {
        self.stores.borrow_mut().remove(&(index, number));
        self.ending.borrow_mut().insert(index);
        self.taken.set(self.taken.get() + 1);
    }

    /// Whether the process of a node has to end.
    pub(super) fn is_to_end(&self, index: usize) -> bool {
        self.ending.borrow().contains(&index)
    }

    /// It starts.
    pub(super) fn starts(&self, index: usize) {
        self.ending.borrow_mut().remove(&index);
    }

    /// How many members a chain has when nobody changes it.
    pub(super) fn members_of(&self, chain: ChainId) -> Option<usize> {
        let position = self.chains.borrow().iter().position(|one| *one == chain)?;
        self.setting.chains.get(position).copied()
    }

    /// Memory or room in a queue has not come back.
    pub(super) fn find(&self, what: String) {
        self.found.borrow_mut().get_or_insert(what);
    }

    pub(super) fn found(&self) -> Option<String> {
        self.found.borrow().clone()
    }

    /// A process has ended.
    pub(super) fn tell_end(&self, how: String) {
        let mut ended = self.ended.borrow_mut();
        if ended.len() < ENDED_MAX {
            ended.push(how);
        }
    }

    pub(super) fn ended(&self) -> Vec<String> {
        self.ended.borrow().clone()
    }

    /// An operator did something.
    pub(super) fn tell_order(&self, what: String) {
        let mut orders = self.orders.borrow_mut();
        if ORDERS_MAX <= orders.len() {
            orders.pop_front();
        }
        orders.push_back(what);
    }

    /// Why chains are not whole, and what operators did.
    pub(super) fn reasons(&self) -> String {
        format!("{:?}; orders: {:?}", self.reasons.borrow(), self.orders.borrow())
    }

    /// An operation of a client has failed.
    pub(super) fn tell_refusal(&self, why: String) {
        let mut refusals = self.refusals.borrow_mut();
        if REFUSALS_MAX <= refusals.len() {
            refusals.pop_front();
        }
        refusals.push_back(why);
    }

    /// What clients wait for, and how processes have ended.
    pub(super) fn waiting(&self) -> String {
        let all = self.histories.iter().enumerate().flat_map(|(index, history)| {
            history.with(|operations| {
                let last = operations.iter().rev().find(|one| one.end == End::Pending)?;
                let (client, since) = (last.client, last.invoked);
                Some(format!("chunk {index}: client {client} {:?} since {since}", last.call))
            })
        });
        let all: Vec<String> = all.collect();
        let refusals = self.refusals.borrow();
        format!("under way: {all:?}; failed: {refusals:?}; ended: {:?}", self.ended())
    }

    /// Operations that clients were answered.
    pub(super) fn operations(&self) -> u64 {
        let answered = |one: &ChunkOperation| one.result().is_some();
        let each = self.histories.iter().map(|history| {
            let answered = |all: &[_]| all.iter().filter(|one| answered(one)).count() as u64;
            history.with(answered)
        });
        each.sum()
    }

    /// Lets go of processes, whose environments hold the world.
    pub(super) fn clear(&self) {
        *self.follower.borrow_mut() = None;
        self.cluster.clear();
    }
}
