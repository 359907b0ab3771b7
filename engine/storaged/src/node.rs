//! The node as managers know it: its agent, and what its shards are told of routing and leases.
//!
//! Owner: the core of the role. Shards are reached by mailboxes; what they say last is what
//! heartbeats report.

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use engine_runtime::{Env, Notify, Sender};
use engine_types::{CoreId, Instant, NodeId, RoutingVersion, Timeline};
use mgmt_client::{Agent, Follower, NodeState, Report};
use mgmt_cluster::heartbeat::{Move, ShardReport};
use mgmt_cluster::lease::Grant;

use crate::life::Control;
use crate::shard::ShardState;

/// What is known of a shard.
#[derive(Default)]
struct Known {
    state: ShardState,
    /// Counts what it said (L5b).
    said: u64,
}

/// See the module.
pub(crate) struct Node<E: Env> {
    follower: Rc<Follower<E>>,
    controls: RefCell<BTreeMap<CoreId, Sender<Control>>>,
    known: RefCell<BTreeMap<CoreId, Known>>,
    agent: RefCell<Weak<Agent<E, Self>>>,
    name: Cell<Option<NodeId>>,
    /// Messages that did not fit into a mailbox.
    backlog: RefCell<Vec<(CoreId, Control)>>,
    backlogged: Notify,
}

impl<E: Env> Node<E> {
    pub(crate) fn new(follower: &Rc<Follower<E>>) -> Rc<Self> {
        Rc::new(Self {
            follower: follower.clone(),
            controls: RefCell::default(),
            known: RefCell::default(),
            agent: RefCell::default(),
            name: Cell::new(None),
            backlog: RefCell::default(),
            backlogged: Notify::default(),
        })
    }

    pub(crate) fn add_shard(&self, core: CoreId, control: Sender<Control>) {
        self.controls.borrow_mut().insert(core, control);
        self.known.borrow_mut().insert(core, Known::default());
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.controls.borrow().len()
    }

    pub(crate) fn set_agent(&self, agent: &Rc<Agent<E, Self>>) {
        *self.agent.borrow_mut() = Rc::downgrade(agent);
    }

    /// To every shard, in order with whatever else it is told.
    pub(crate) fn tell_all(&self, make: impl Fn() -> Control) {
        let cores: Vec<CoreId> = self.controls.borrow().keys().copied().collect();
        for core in cores {
            self.tell(core, make());
        }
    }

    fn tell(&self, core: CoreId, control: Control) {
        self.backlog.borrow_mut().push((core, control));
        self.backlogged.notify();
    }

    /// Carries messages to the shards; never ends.
    pub(crate) async fn carry(self: Rc<Self>) {
        loop {
            self.backlogged.until(|| !self.backlog.borrow().is_empty()).await;
            let waiting = self.backlog.take();
            for (core, control) in waiting {
                let sender = self.controls.borrow().get(&core).cloned();
                if let Some(sender) = sender {
                    let _ = sender.send(control).await;
                }
            }
        }
    }

    /// A shard says how it is.
    pub(crate) fn heard(&self, core: CoreId, state: ShardState) {
        if state.nudge {
            self.follower.nudge();
        }
        let mut all = self.known.borrow_mut();
        let Some(known) = all.get_mut(&core) else { return };
        let changed = known.state.targets != state.targets
            || (known.state.timeline, known.state.drained) != (state.timeline, state.drained);
        known.state = state;
        known.said += 1;
        drop(all);
        let agent = self.agent.borrow().upgrade();
        if let (true, Some(agent)) = (changed, agent) {
            agent.beat_now();
        }
    }

    /// The node has its name.
    pub(crate) fn named(&self, node: NodeId) {
        self.name.set(Some(node));
        self.tell_all(|| Control::Registered(node));
        self.tell_routing();
    }

    fn tell_routing(&self) {
        let routing = Arc::new((*self.follower.routing()).clone());
        self.tell_all(|| Control::Routing(routing.clone()));
    }

    /// Hands newer routing info on; never ends.
    pub(crate) async fn follow(self: Rc<Self>) {
        let mut last = (Timeline::default(), RoutingVersion::default());
        loop {
            self.follower.until(|routing| (routing.timeline, routing.version) != last).await;
            let routing = self.follower.routing();
            last = (routing.timeline, routing.version);
            self.tell_routing();
        }
    }
}

impl<E: Env> NodeState for Node<E> {
    fn report(&self) -> Report {
        let known = self.known.borrow();
        let drained = known.values().map(|known| (known.state.timeline, known.state.drained)).min();
        let (timeline, drained) = drained.unwrap_or_default();
        let shard = |(&core, known): (&CoreId, &Known)| ShardReport { core, progress: known.said };
        let shards = known.iter().map(shard).collect();
        let targets = known.values().flat_map(|known| known.state.targets.iter().copied());
        Report { timeline, drained, shards, targets: targets.collect() }
    }

    fn granted(&self, grant: Grant, _now: Instant) {
        let known = self.known.borrow();
        let holds = |known: &Known| known.state.targets.iter().any(|t| t.target == grant.target);
        let core = known.iter().find(|(_, known)| holds(known)).map(|(core, _)| *core);
        drop(known);
        if let Some(core) = core {
            self.tell(core, Control::Granted(grant));
        }
    }

    async fn install(&self, timeline: Timeline, moves: Vec<Move>) -> bool {
        self.tell_all(|| Control::Moved { timeline, moves: moves.clone() });
        // Each shard says by itself, at once, what it has installed.
        false
    }
}
