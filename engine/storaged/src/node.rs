//! The node as managers know it: its agent, and what its shards are told of routing and leases.
//!
//! Owner: the core of the role. Shards are reached by mailboxes; what they say last is what
//! heartbeats report.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use engine_runtime::{Env, Notify, Sender};
use engine_types::{CoreId, Instant, NodeId, RoutingVersion, SessionId, Timeline};
use mgmt_client::{Agent, Follower, Managers, NodeState, Report};
use mgmt_cluster::heartbeat::{Move, ShardReport};
use mgmt_cluster::lease::Grant;

use crate::life::{Control, Told};
use crate::shard::ShardState;

/// Time for the answer which sessions have ended: it is memory of the primary, and a shard asks
/// once a second at most, so that few questions wait while there is no primary.
const ENDED_TIME: Duration = Duration::from_secs(5);

/// What is known of a shard.
#[derive(Default)]
struct Known {
    state: ShardState,
    /// Counts what it said (L5b).
    said: u64,
}

/// See the module.
pub(crate) struct Node<E: Env> {
    managers: Managers<E>,
    follower: Rc<Follower<E>>,
    known: RefCell<BTreeMap<CoreId, Known>>,
    agent: RefCell<Weak<Agent<E, Self>>>,
    name: Cell<Option<NodeId>>,
    lanes: RefCell<BTreeMap<CoreId, Rc<Lane>>>,
    /// Shards that have panicked, and what they said.
    panicked: RefCell<BTreeMap<CoreId, String>>,
}

/// What a shard is to be told, beside what is in its mailbox. A shard that hangs keeps nobody
/// waiting, and what is newer takes the place of what is older.
#[derive(Default)]
struct Lane {
    waiting: RefCell<VecDeque<Control>>,
    pushed: Notify,
}

impl Lane {
    fn push(&self, control: Control) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|old| !replaces(&control, old));
        waiting.push_back(control);
        drop(waiting);
        self.pushed.notify();
    }
}

/// Whether `new` says all that `old` says, and more.
fn replaces(new: &Control, old: &Control) -> bool {
    match (new, old) {
        (Control::Granted(new), Control::Granted(old)) => {
            new.target == old.target && old.version <= new.version && old.sent <= new.sent
        }
        (Control::Routing(_), Control::Routing(_))
        | (Control::Moved { .. }, Control::Moved { .. }) => true,
        _ => false,
    }
}

impl<E: Env> Node<E> {
    pub(crate) fn new(managers: &Managers<E>, follower: &Rc<Follower<E>>) -> Rc<Self> {
        Rc::new(Self {
            managers: managers.clone(),
            follower: follower.clone(),
            known: RefCell::default(),
            agent: RefCell::default(),
            name: Cell::new(None),
            lanes: RefCell::default(),
            panicked: RefCell::default(),
        })
    }

    pub(crate) fn add_shard(&self, env: &E, core: CoreId, control: Sender<Control>) {
        let lane = Rc::<Lane>::default();
        self.lanes.borrow_mut().insert(core, lane.clone());
        drop(env.spawn(async move {
            loop {
                lane.pushed.until(|| !lane.waiting.borrow().is_empty()).await;
                let Some(next) = lane.waiting.borrow_mut().pop_front() else { continue };
                if control.send(next).await.is_err() {
                    return; // the shard has ended
                }
            }
        }));
        self.known.borrow_mut().insert(core, Known::default());
    }

    /// Those that have not panicked.
    pub(crate) fn shards(&self) -> impl Iterator<Item = CoreId> {
        let panicked = self.panicked.borrow();
        let live = |core: &CoreId| !panicked.contains_key(core);
        let live: Vec<CoreId> = self.lanes.borrow().keys().copied().filter(live).collect();
        live.into_iter()
    }

    /// The first shard that has panicked, and what it said.
    pub(crate) fn panicked(&self) -> Option<(CoreId, String)> {
        self.panicked.borrow().first_key_value().map(|(core, why)| (*core, why.clone()))
    }

    /// A shard says something.
    pub(crate) fn told(self: &Rc<Self>, told: Told) {
        match told {
            Told::State { core, state } => self.heard(core, state),
            Told::Panicked { core, why } => {
                tracing::error!(%core, why, "a shard has panicked");
                self.panicked.borrow_mut().insert(core, why);
                // Nobody serves its targets, and no lease of theirs is used (E384): a target that
                // is not named counts as offline. The other shards go on.
                if let Some(known) = self.known.borrow_mut().get_mut(&core) {
                    known.state.targets.clear();
                }
                let agent = self.agent.borrow().upgrade();
                if let Some(agent) = agent {
                    agent.beat_now();
                }
            }
            Told::Started { .. } | Told::Failed(_) | Told::Closed { .. } | Told::Ended { .. } => {}
        }
    }

    pub(crate) fn set_agent(&self, agent: &Rc<Agent<E, Self>>) {
        *self.agent.borrow_mut() = Rc::downgrade(agent);
    }

    /// To every shard, in order with whatever else it is told.
    pub(crate) fn tell_all(&self, make: impl Fn() -> Control) {
        let cores: Vec<CoreId> = self.lanes.borrow().keys().copied().collect();
        for core in cores {
            self.tell(core, make());
        }
    }

    fn tell(&self, core: CoreId, control: Control) {
        if let Some(lane) = self.lanes.borrow().get(&core) {
            lane.push(control);
        }
    }

    /// A shard says how it is.
    pub(crate) fn heard(self: &Rc<Self>, core: CoreId, mut state: ShardState) {
        if state.nudge {
            self.follower.nudge();
        }
        let asks = core::mem::take(&mut state.asks);
        if !asks.is_empty() {
            self.ask_ended(core, asks);
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

    /// Asks the primary for a shard which sessions have ended everywhere (R16). Without an answer
    /// the shard asks again.
    fn ask_ended(self: &Rc<Self>, core: CoreId, sessions: Vec<SessionId>) {
        let env = self.managers.env().clone();
        let node = self.clone();
        drop(env.clone().spawn(async move {
            let ended = node.managers.ended(&sessions, env.now() + ENDED_TIME).await;
            match ended {
                Ok(ended) if ended.is_empty() => {}
                Ok(ended) => node.tell(core, Control::Ended(ended)),
                Err(error) => tracing::debug!(%error, "which sessions have ended is not known"),
            }
        }));
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
