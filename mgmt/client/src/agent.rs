//! The agent of a node: registers it with the primary, and sends its heartbeats.
//!
//! Owner: one core, best one that does nothing else: a heartbeat that is late costs leases. One
//! loop decides when a heartbeat leaves and where to; each one on its way is a task.
//!
//! Managers that get no heartbeats are asked how they are now and then, so that a connection stands
//! when one of them is needed.
//!
//! Heartbeats leave on a schedule, whether or not the last one was answered (E336), and each
//! begins with the known primary. If that says nothing for a quarter of the interval, or that it
//! cannot, the other managers get one, too, in turn: a new primary, or a standby that renews the
//! leases of unchanged targets in the stead of a dead one (L5). Each is a heartbeat of its own,
//! with a report and a time of its own, so that its lease is as long as any (E331). Late answers
//! count, as each grant stands for itself.
//!
//! A manager that says "another start of the node is registered" may speak of an older one: a
//! restored KV forgets registrations (R20). So the node registers again, which only a later start
//! makes fail (E337).
//!
//! Crash: nothing is durable here. A process that starts again registers with a higher incarnation.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_runtime::{CancelToken, Env, First, Notify, all, first, until};
use engine_types::{Instant, NodeId, RoutingVersion, Timeline};
use mgmt_cluster::config::ConfigVersion;
use mgmt_cluster::heartbeat::{Move, ShardReport, TargetReport};
use mgmt_cluster::lease::{BEAT_MAX, BEAT_MIN, Grant, LeaseTimes};
use mgmt_cluster::registry::Registration;
use mgmt_protocol::{Refusal, RefusalCode, Register, StatusAsk};

use crate::managers::{ManagerError, Managers, jittered};

mod flight;
mod round;

use round::{Known, Round, Verdict};

/// A heartbeat waits for its answer this part of the interval before another manager gets one: a
/// lease covers two intervals at least, so that there is time for all managers.
const PATIENCE_PARTS: u32 = 4;
/// Between two heartbeats that are sent at once: a node with many stores asks for one for each
/// that has installed something.
const BEAT_NOW_PAUSE: Duration = Duration::from_millis(5);
/// Time after which the search for a manager that registers begins anew.
const REGISTER_TIME: Duration = Duration::from_secs(10);
/// Pause before registering again, with jitter.
const REGISTER_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at managers that get no heartbeats, with jitter: a fifth of a question per
/// second and node. Whoever becomes primary is connected to already then; connecting and proving
/// take three round trips, which at 400 ms is more than a lease has left when it is needed.
const WARM_EVERY: Duration = Duration::from_secs(5);
/// Time for such a look.
const WARM_TIME: Duration = Duration::from_secs(2);

/// What a node says in a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Timeline of `drained`.
    pub timeline: Timeline,
    /// Routing info that is installed, and nothing of the sessions revoked in it is left (E294).
    pub drained: RoutingVersion,
    /// The shards.
    pub shards: Vec<ShardReport>,
    /// All targets; one that is missing counts as offline.
    pub targets: Vec<TargetReport>,
}

/// What a node that holds replicas says and does.
pub trait NodeState: 'static {
    /// How it is. It may lag behind, but it calls no target offline whose lease is not dropped yet,
    /// and names no version before it is installed, or drained.
    fn report(&self) -> Report;

    /// A lease was granted; `StorageLease::granted` decides what it is worth. `now` is the node's
    /// clock.
    fn granted(&self, grant: Grant, now: Instant);

    /// Versions to install, durably and with the timeline; a lower one than what is installed is
    /// left out. True if something was installed: then a heartbeat leaves at once. It runs to its
    /// end also if the agent ends.
    fn install(&self, timeline: Timeline, moves: Vec<Move>) -> impl Future<Output = bool>;

    /// The settings of the role have this version now.
    fn configured(&self, _version: ConfigVersion) {}
}

/// Why an agent has ended. But for the first one, the process has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEnd {
    /// It was asked to, or the connections were closed.
    Stopped,
    /// A later start of the node is registered (E337).
    Replaced {
        /// What the manager said.
        why: String,
    },
    /// The node is not registered, or not any more.
    Unregistered,
    /// The clock of this machine runs away from the manager's (E290).
    ClockAway {
        /// What the manager said.
        why: String,
    },
    /// The registration is refused.
    Refused(Refusal),
}

/// What ends the sending of heartbeats.
#[derive(Clone, Debug)]
enum Concern {
    End(AgentEnd),
    /// A manager knows another start of the node.
    OtherStart,
}

/// Registers a node and sends its heartbeats.
pub struct Agent<E: Env, S: NodeState> {
    managers: Managers<E>,
    wanted: Registration,
    state: Rc<S>,
    node: Cell<Option<NodeId>>,
    registered: Notify,
    beat: Cell<Duration>,
    /// Length of the leases granted last.
    lease: Cell<Duration>,
    /// Of the last heartbeat.
    sequence: Cell<u64>,
    last_sent: Cell<Instant>,
    flights: RefCell<BTreeMap<u64, CancelToken>>,
    verdicts: RefCell<Vec<(u64, Verdict)>>,
    concern: RefCell<Option<Concern>>,
    /// A heartbeat is wanted at once.
    asked: Cell<bool>,
    /// Told when one of the three before has changed.
    event: Notify,
    /// Who answered heartbeats last, as primary and in its stead.
    primary: Cell<Option<SocketAddr>>,
    standby: Cell<Option<SocketAddr>>,
    cursor: Cell<usize>,
    /// The newest heartbeat that the primary answered.
    heard: Cell<u64>,
    heard_changed: Notify,
    config: Cell<Option<ConfigVersion>>,
    to_install: RefCell<Option<(Timeline, Vec<Move>)>>,
    installing: Cell<bool>,
    running: Cell<bool>,
}

/// While an agent runs; ends what it has on the way.
struct Running<'a, E: Env, S: NodeState>(&'a Agent<E, S>);

impl<E: Env, S: NodeState> Drop for Running<'_, E, S> {
    fn drop(&mut self) {
        self.0.running.set(false);
        self.0.give_up_flights();
    }
}

impl<E: Env, S: NodeState> Agent<E, S> {
    /// An agent that will register as `wanted`. Nothing is sent before [`run`](Self::run).
    pub fn new(managers: &Managers<E>, wanted: Registration, state: Rc<S>) -> Rc<Self> {
        let times = LeaseTimes::DEFAULT;
        // Sequences rise over all agents of one start of the node.
        let sequence = managers.env().now().nanos();
        Rc::new(Self {
            managers: managers.clone(),
            wanted,
            state,
            node: Cell::new(None),
            registered: Notify::default(),
            beat: Cell::new(times.beat()),
            lease: Cell::new(times.storage()),
            sequence: Cell::new(sequence),
            last_sent: Cell::new(Instant::ZERO),
            flights: RefCell::default(),
            verdicts: RefCell::default(),
            concern: RefCell::default(),
            asked: Cell::new(false),
            event: Notify::default(),
            primary: Cell::new(None),
            standby: Cell::new(None),
            cursor: Cell::new(0),
            heard: Cell::new(sequence),
            heard_changed: Notify::default(),
            config: Cell::new(None),
            to_install: RefCell::default(),
            installing: Cell::new(false),
            running: Cell::new(false),
        })
    }

    /// The node's id, once it is registered.
    pub fn node(&self) -> Option<NodeId> {
        self.node.get()
    }

    /// Told when the node was registered.
    pub fn registered(&self) -> &Notify {
        &self.registered
    }

    /// Waits until the node is registered.
    pub async fn until_registered(&self) -> NodeId {
        self.registered.until(|| self.node.get().is_some()).await;
        self.node.get().expect("waited for above")
    }

    /// Sends a heartbeat at once, to whom the last one went.
    pub fn beat_now(&self) {
        self.asked.set(true);
        self.event.notify();
    }

    /// Sends a heartbeat at once, and waits until the primary has answered it or a later one; false
    /// if the deadline came first. A node that stops drops its leases, says so by this, and only
    /// then cancels the token of [`run`](Self::run).
    pub async fn beat_heard(&self, deadline: Instant) -> bool {
        let before = self.sequence.get();
        self.beat_now();
        let heard = self.heard_changed.until(|| before < self.heard.get());
        until(self.managers.env(), deadline, heard).await.is_ok()
    }

    /// Registers the node, until that succeeds, then sends heartbeats until `stop` or until it must
    /// not go on. Afterwards nothing is granted to the node any more.
    ///
    /// # Panics
    /// If it runs already.
    pub async fn run(self: Rc<Self>, stop: CancelToken) -> AgentEnd {
        assert!(!self.running.replace(true), "E336: an agent runs once at a time");
        let _running = Running(&self);
        let stopped = first(stop.cancelled(), self.keep_warm());
        match first(stopped, self.register_and_beat()).await {
            First::Left(_) => AgentEnd::Stopped,
            First::Right(end) => end,
        }
    }

    /// Keeps connections to the managers that get no heartbeats; never ends.
    async fn keep_warm(&self) {
        let env = self.managers.env();
        loop {
            let primary = self.managers.primary();
            let others = self.managers.addresses();
            let others = others.into_iter().filter(|address| Some(*address) != primary);
            let looks = others.map(|address| async move {
                let deadline = env.now() + WARM_TIME;
                // What it says does not matter, nor whether it is there.
                let _ = self.managers.call_at(address, &StatusAsk::default(), deadline).await;
            });
            let _: Vec<()> = all(looks).await;
            env.sleep_until(env.now() + jittered(WARM_EVERY, env.random())).await;
        }
    }

    async fn register_and_beat(self: &Rc<Self>) -> AgentEnd {
        let env = self.managers.env();
        loop {
            if let Err(end) = self.register().await {
                return end;
            }
            match self.send_beats().await {
                Concern::End(end) => return end,
                Concern::OtherStart => {
                    engine_types::reached!("E337: a node registers again");
                    tracing::warn!(node = ?self.node.get(), "another start is registered");
                    self.give_up_flights();
                    // Managers that disagree about it are not asked all the time.
                    let pause = jittered(self.beat.get(), env.random());
                    env.sleep_until(env.now() + pause).await;
                }
            }
        }
    }

    async fn register(&self) -> Result<(), AgentEnd> {
        let env = self.managers.env();
        let mut wanted = self.wanted.clone();
        wanted.node = self.node.get().or(wanted.node);
        let asked = Register { wanted };
        loop {
            let error = match self.managers.call(&asked, env.now() + REGISTER_TIME).await {
                Ok(registered) => {
                    tracing::info!(node = %registered.node, "registered");
                    self.node.set(Some(registered.node));
                    self.set_beat(registered.beat);
                    self.registered.notify();
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(end) = end_of_registering(&error) {
                return Err(end);
            }
            tracing::warn!(%error, "not registered yet");
            let pause = jittered(REGISTER_PAUSE, env.random());
            env.sleep_until(env.now() + pause).await;
        }
    }

    /// Sends heartbeats until one of them is answered with what ends that.
    async fn send_beats(self: &Rc<Self>) -> Concern {
        let env = self.managers.env();
        let mut due = env.now();
        let mut round = None;
        loop {
            let now = env.now();
            for (sequence, verdict) in self.verdicts.take() {
                let ended = |round: &mut Round| round.judge(sequence, verdict, now);
                round.take_if(|round| ended(round));
            }
            if let Some(concern) = self.concern.take() {
                return concern;
            }
            if due <= now {
                // One that is late by more than an interval is not made up for.
                due += self.beat.get();
                due = if due <= now { now + self.beat.get() } else { due };
                self.asked.set(false);
                round = Some(self.begin_round());
                continue;
            }
            let ask_at = self.last_sent.get() + BEAT_NOW_PAUSE;
            if self.asked.get() && ask_at <= now {
                self.asked.set(false);
                match &round {
                    Some(round) => drop(self.send(round.address())),
                    None => round = Some(self.begin_round()),
                }
                continue;
            }
            if let Some(round) = round.as_mut().filter(|round| round.step_at() <= now) {
                self.go_on(round);
                continue;
            }
            let asked = if self.asked.get() { ask_at } else { Instant::NEVER };
            let step = round.as_ref().map_or(Instant::NEVER, Round::step_at);
            let wake = due.min(asked).min(step);
            let _event_or_due = until(env, wake, self.event.notified()).await;
        }
    }

    fn begin_round(self: &Rc<Self>) -> Round {
        let list = self.managers.addresses();
        let address = Round::first_address(&self.known(&list));
        let sequence = self.send(address);
        Round::begin(sequence, address, self.last_sent.get() + self.patience())
    }

    fn go_on(self: &Rc<Self>, round: &mut Round) {
        let list = self.managers.addresses();
        let Some((address, cursor)) = round.next(&self.known(&list)) else { return };
        engine_types::reached!("L5: a heartbeat goes to another manager");
        self.cursor.set(cursor);
        let sequence = self.send(address);
        round.went_on(sequence, address, self.last_sent.get() + self.patience());
    }

    fn known<'a>(&self, list: &'a [SocketAddr]) -> Known<'a> {
        let primary = self.managers.primary().or(self.primary.get());
        Known { favourites: [primary, self.standby.get()], list, cursor: self.cursor.get() }
    }

    fn patience(&self) -> Duration {
        self.beat.get() / PATIENCE_PARTS
    }

    fn set_beat(&self, told: Duration) {
        self.beat.set(told.clamp(BEAT_MIN, BEAT_MAX));
    }

    fn concern(&self, concern: Concern) {
        self.concern.replace(Some(concern));
        self.event.notify();
    }
}

/// Whether registering is over with this error.
fn end_of_registering(error: &ManagerError) -> Option<AgentEnd> {
    match error {
        ManagerError::Refused(refusal) => match refusal.code {
            RefusalCode::OtherStart => Some(AgentEnd::Replaced { why: refusal.message.clone() }),
            RefusalCode::Unregistered => Some(AgentEnd::Unregistered),
            RefusalCode::ClockAway => Some(AgentEnd::ClockAway { why: refusal.message.clone() }),
            RefusalCode::UnknownResult => None,
            code if code.is_transient() => None,
            _ => Some(AgentEnd::Refused(refusal.clone())),
        },
        ManagerError::Closed => Some(AgentEnd::Stopped),
        ManagerError::TooLarge { .. } => {
            let why = error.to_string();
            Some(AgentEnd::Refused(Refusal::new(RefusalCode::InvalidArgument, why)))
        }
        ManagerError::Unknown { .. }
        | ManagerError::Unreachable { .. }
        | ManagerError::Malformed { .. } => None,
    }
}

#[cfg(test)]
mod tests;
