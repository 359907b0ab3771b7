//! How long it takes until a cluster has got over a death, with the settings that ship: one thing
//! dies at a time, everything else is well.
//!
//! Messages between nodes and managers take up to 200 ms each way in half of the worlds, and up to
//! 5 ms in the others; managers and the KV stand near each other. Clocks are off by up to 800 ppm:
//! two of them then differ by a sixth of the drift bound at most, within which none is accused
//! (E290).
//!
//! Checks
//!   T86  nothing happens while nothing fails: nobody is declared dead, no chain changes, no target
//!        is without a lease
//!   T87  a dead node is out of its chains, for every follower, within [`DEATH_MAX`]
//!   T88  a dead primary stops no target for longer than [`PAUSE_MAX`], a restart of the KV stops
//!        none, nor does a planned handover to a node that is near; one that is far may be stopped
//!        for [`HANDOVER_MAX`]
//!   T89  node and primary die together: the node is out within [`BOTH_MAX`]

use core::cell::Cell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use engine_runtime::sim::{Link, SimEnv};
use engine_runtime::{Env, Signal};
use engine_types::{Instant, NodeId, NodeRole, NodeState, PublicState, Rng, TargetId, limits};
use mgmt_client::Managers;
use mgmt_cluster::lease::Term;
use mgmt_protocol::{StandingSaid, StatusAsk};

use super::manager::check::{Moment, unwhole};
use super::manager::cluster::{Cluster, Style};
use super::manager::{Driver, operator, start};
use crate::check::{CheckFailure, Verdict, fail};
use crate::fault::{Fault, FaultEvent, FaultPlan};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

mod times;

pub use times::{Times, table};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "takeover",
    about: "a dead node is out in 3 s, a dead primary is replaced, a planned handover stops nobody",
    play: |seed| measure(seed).1,
};

/// A dead node is out of its chains.
pub const DEATH_MAX: Duration = Duration::from_secs(3);
/// No target is without a lease for longer because the primary died: standbys renew leases in its
/// stead (L5) once its record has stood still for longer than a renewal takes. Without them it
/// would be the takeover, 10.3 s, and the first heartbeat there and back.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A node that died together with the primary is out of its chains.
pub const BOTH_MAX: Duration = Duration::from_secs(15);
/// No far target is without a lease for longer because of a planned handover: its heartbeat may
/// reach the former primary just after the release, and then one standby after the other, each of
/// which takes a round trip, while its lease has one second left.
pub const HANDOVER_MAX: Duration = Duration::from_secs(1);
/// How long the KV is away.
const KV_AWAY: Duration = Duration::from_secs(5);
/// How long nothing fails.
const QUIET: Duration = Duration::from_secs(60);
/// What died is away for so long, which is longer than any bound.
const AWAY: Duration = Duration::from_secs(20);
/// Time for everything to be whole again.
const WHOLE_MAX: Duration = Duration::from_secs(40);
/// A connection that was begun while a machine was away is given up after its time, and begun anew
/// after a pause: until then who came back may be out of reach for one node or another, and what
/// dies meanwhile is a second failure.
const RECONNECTED: Duration =
    limits::HANDSHAKE_TIME_MAX.saturating_add(limits::RECONNECT_BACKOFF_MAX);
/// Most that a message between a node and a manager takes, in worlds where they are far.
const JITTER_MS: u64 = 200;
/// The same where they are near.
const NEAR_JITTER_MS: u64 = 5;
/// Clocks differ from the world's by one of these.
const DRIFTS_PPM: [i32; 3] = [-800, 0, 800];
/// Longest time between two looks, in microseconds.
const LOOK_US_MAX: u64 = 5_000;
/// How often each manager is asked whether it is primary.
const PROBE_EVERY: Duration = Duration::from_millis(20);
const PROBE_TIME: Duration = Duration::from_millis(500);

const MANAGERS: usize = 3;
const NODES: usize = 4;

/// Who answers as primary, in which term, and since when.
#[derive(Default)]
struct Probe {
    primary: Cell<Option<(NodeId, Term)>>,
    since: Cell<Instant>,
}

/// Measures one world; what it took is complete unless a check failed.
pub fn measure(seed: u64) -> (Times, Played) {
    let roles = [("kv", 1), ("manager", MANAGERS), ("node", NODES), ("operator", 1)];
    let mut topology = Topology::of(&roles);
    let mut rng = Rng::new(seed).fork("takeover");
    for machine in &mut topology.nodes {
        machine.clock.drift_ppm = *rng.pick(&DRIFTS_PPM).expect("there are some");
    }
    let world = World::new(seed, topology);
    let style = Style { calm: true, patient: true, ..Style::default() };
    let cluster = Cluster::new(&world, style);
    let driver = Driver::new(&world, LOOK_US_MAX);
    let times = Times { far: seed.is_multiple_of(2), ..Times::default() };
    let mut stage = Stage { world, cluster, driver, probe: Rc::default(), rng, times };
    let verdict = stage.run();
    stage.cluster.clear();
    let operations = stage.cluster.operations();
    let plan = FaultPlan::none();
    (stage.times, Played { world: stage.world, plan, operations, verdict })
}

struct Stage {
    world: World,
    cluster: Rc<Cluster>,
    driver: Driver,
    probe: Rc<Probe>,
    rng: Rng,
    times: Times,
}

/// Targets that may not serve, and since when.
#[derive(Default)]
struct Pauses {
    since: BTreeMap<TargetId, Instant>,
    longest: Duration,
}

impl Pauses {
    fn look(&mut self, moment: &Moment) {
        for &target in moment.places.keys() {
            if moment.able.iter().any(|able| able.target == target) {
                self.since.remove(&target);
            } else {
                let since = *self.since.entry(target).or_insert(moment.now);
                self.longest = self.longest.max(moment.now.saturating_since(since));
            }
        }
    }
}

type Step<T> = Result<T, CheckFailure>;

impl Stage {
    fn run(&mut self) -> Verdict {
        self.lay_links();
        start(&mut self.world, &self.cluster);
        let operator = self.world.role("operator")[0];
        let (cluster, probe) = (self.cluster.clone(), self.probe.clone());
        let managers = self.world.role("manager");
        self.world.start(operator, move |env| {
            for &manager in &managers {
                drop(env.spawn(watch(env.clone(), cluster.clone(), manager, probe.clone())));
            }
            operator::run(env, cluster.clone())
        });
        self.settle()?;
        self.quiet()?;
        self.node_dies()?;
        self.settle()?;
        self.primary_dies()?;
        self.settle()?;
        self.primary_hands_over()?;
        self.settle()?;
        self.both_die()?;
        self.settle()?;
        self.kv_restarts()?;
        self.cluster.verdict()?;
        self.judge()
    }

    /// T87, T88 and T89.
    fn judge(&self) -> Verdict {
        let times = &self.times;
        let handover = if times.far { HANDOVER_MAX } else { Duration::ZERO };
        for (check, found, most) in [
            ("T87 a dead node is out of its chains", times.node_out, DEATH_MAX),
            ("T88 pause because the primary died", times.primary_pause, PAUSE_MAX),
            ("T88 pause because of a planned handover", times.handover_pause, handover),
            ("T88 pause because the KV restarts", times.kv_pause, Duration::ZERO),
            ("T89 node and primary die together", times.both_out, BOTH_MAX),
        ] {
            if most < found {
                return fail(check, format!("{found:?}, at most {most:?}"));
            }
        }
        Ok(())
    }

    fn lay_links(&self) {
        let (nodes, managers) = (self.world.role("node"), self.world.role("manager"));
        let jitter = if self.times.far { JITTER_MS } else { NEAR_JITTER_MS };
        let far = Link { jitter: Duration::from_millis(jitter), ..Link::default() };
        for &node in &nodes {
            for &manager in &managers {
                self.world.sim().set_link(node, manager, far);
                self.world.sim().set_link(manager, node, far);
            }
        }
    }

    fn step(&mut self) -> Step<Moment> {
        self.driver.step(&mut self.world, &self.cluster)
    }

    fn now(&self) -> Instant {
        self.world.sim().now()
    }

    /// Everything is as good as new, all can be connected, and a random time passes.
    fn settle(&mut self) -> Verdict {
        self.world.stop_faults();
        let end = self.now() + WHOLE_MAX;
        while let Some(why) = {
            let moment = self.step()?;
            unwhole(&self.cluster, &moment)
        } {
            if end < self.now() {
                return fail("T84 all heals", format!("after {WHOLE_MAX:?}: {why}"));
            }
        }
        let random = Duration::from_millis(self.rng.range(0..=4_000));
        let end = self.now() + RECONNECTED + random;
        while self.now() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Everything runs for `time`; the longest time that any target was without a lease.
    fn pauses(&mut self, time: Duration) -> Step<Duration> {
        let end = self.now() + time;
        let mut pauses = Pauses::default();
        while self.now() < end {
            let moment = self.step()?;
            pauses.look(&moment);
        }
        Ok(pauses.longest)
    }

    /// T86.
    fn quiet(&mut self) -> Verdict {
        const T86: &str = "T86 nothing happens while nothing fails";
        let before = self.cluster.newest();
        let starts = self.starts();
        let (end, mut pauses) = (self.now() + QUIET, Pauses::default());
        while self.now() < end {
            let moment = self.step()?;
            pauses.look(&moment);
            let now = self.cluster.newest();
            let dead = now.nodes.iter().find(|(_, node)| node.state != NodeState::Alive);
            if now.chains != before.chains || dead.is_some() || starts != self.starts() {
                let what = format!("{dead:?}, from {:?} to {:?}", before.chains, now.chains);
                return fail(T86, what);
            }
        }
        if Duration::ZERO < pauses.longest {
            return fail(T86, format!("a target is without a lease for {:?}", pauses.longest));
        }
        Ok(())
    }

    fn starts(&self) -> Vec<u64> {
        let nodes = self.world.nodes().iter();
        nodes.map(|&node| self.world.sim().starts(node)).collect()
    }

    fn lose(&mut self, dying: &[NodeId], lasts: Duration) {
        let each = dying.iter().map(|&node| {
            let fault = Fault::Crash(node);
            FaultEvent { at: Duration::ZERO, lasts, fault }
        });
        self.world.set_plan(FaultPlan::of(each.collect()));
    }

    /// Time until every follower shows the chains of node `index` without it.
    fn until_out(&mut self, index: usize) -> Step<Duration> {
        let died = self.now();
        let mine: Vec<TargetId> = {
            let moment = Moment::look(&self.world, &self.cluster);
            let places = moment.places.iter();
            places.filter(|(_, place)| **place == index).map(|(target, _)| *target).collect()
        };
        loop {
            self.step()?;
            let serves = |m: &engine_types::Member| {
                m.state == PublicState::Serving && mine.contains(&m.target)
            };
            let out = self
                .cluster
                .all_show(|info| !info.chains.values().any(|c| c.members.iter().any(serves)));
            let took = self.now().saturating_since(died);
            if out || AWAY < took {
                return Ok(took);
            }
        }
    }

    /// A node with targets.
    fn a_node(&mut self) -> (usize, NodeId) {
        let moment = Moment::look(&self.world, &self.cluster);
        let places: Vec<usize> = moment.places.values().copied().collect();
        let index = *self.rng.pick(&places).expect("there are chains");
        (index, self.cluster.nodes[index].machine)
    }

    fn node_dies(&mut self) -> Verdict {
        let (index, node) = self.a_node();
        self.lose(&[node], AWAY);
        self.times.node_out = self.until_out(index)?;
        Ok(())
    }

    fn primary(&self) -> Step<NodeId> {
        let primary = self.probe.primary.get().map(|(manager, _)| manager);
        primary.ok_or(CheckFailure { check: "T88", what: "nobody answers as primary".to_owned() })
    }

    fn primary_dies(&mut self) -> Verdict {
        let primary = self.primary()?;
        self.lose(&[primary], AWAY);
        let died = self.now();
        self.times.primary_pause = self.pauses(AWAY)?;
        self.times.primary_answers = self.answered_after(died)?;
        Ok(())
    }

    /// From `gone` until somebody answered as primary of a new term.
    fn answered_after(&self, gone: Instant) -> Step<Duration> {
        let since = self.probe.since.get();
        if since < gone {
            fail("T88 a primary is replaced", format!("nobody since {gone}"))?;
        }
        Ok(since.saturating_since(gone))
    }

    fn primary_hands_over(&mut self) -> Verdict {
        let primary = self.primary()?;
        let asked = self.now();
        self.world.sim().signal(primary, Signal::Terminate);
        self.times.handover_pause = self.pauses(QUIET / 6)?;
        self.times.handover_answers = self.answered_after(asked)?;
        Ok(())
    }

    fn both_die(&mut self) -> Verdict {
        let (index, node) = self.a_node();
        let primary = self.primary()?;
        self.lose(&[node, primary], AWAY);
        self.times.both_out = self.until_out(index)?;
        Ok(())
    }

    fn kv_restarts(&mut self) -> Verdict {
        let kv = self.world.role("kv");
        self.lose(&kv, KV_AWAY);
        self.times.kv_pause = self.pauses(2 * KV_AWAY)?;
        Ok(())
    }
}

/// Asks one manager all the time whether it is primary.
async fn watch(env: SimEnv, cluster: Rc<Cluster>, manager: NodeId, probe: Rc<Probe>) {
    let address = cluster.address_of(manager);
    let managers = Managers::new(&env, cluster.net(&env, NodeRole::Operator), vec![address]);
    loop {
        env.sleep_until(env.now() + PROBE_EVERY).await;
        let told =
            managers.call_at(address, &StatusAsk { summary: true }, env.now() + PROBE_TIME).await;
        let Ok(status) = told else { continue };
        let term = status.lease.map(|lease| lease.term);
        let acts = status.standing == StandingSaid::Primary && status.summary.is_some();
        let Some(term) = term.filter(|_| acts) else { continue };
        if probe.primary.get().is_none_or(|(_, known)| known < term) {
            probe.primary.set(Some((manager, term)));
            probe.since.set(env.world_now());
        }
    }
}
