//! The cluster manager as it ships, with nodes, clients and operators, while processes die, freeze
//! and return, clocks drift to their bound, links break, and the KV restarts.
//!
//! Storage nodes are models that hold states only; what they use to take part is what ships: agent,
//! follower, the arithmetic of leases. The world is looked at from outside every few milliseconds,
//! and what clients and predecessors do with data happens then, too. A lease is judged by the clock
//! of its node; a frozen process does nothing, but may wake at any moment.
//!
//! Checks
//!   T80  whoever can serve a version of a chain serves in every later one that anybody was ever
//!        able to serve, as the same start; a version names one membership
//!   T81  no read misses an acknowledged write, none is lost, and nothing damaged is read
//!   T82  what a follower shows never goes back, two that show one version show the same, and it
//!        is valid
//!   T83  no node with a lease works on a write of a fenced session, or would admit one
//!   T84  once faults have stopped and operators have undone what they did, every chain is whole
//!        within [`WHOLE_MAX`], and a change reaches every follower within [`FOLLOW_MAX`]
//!   T85  what an operator was told is done is in the state; a node keeps its id

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Signal;
use engine_types::{Instant, NodeId, Rng, RoutingInfo, TargetId};

use crate::check::{CheckFailure, Verdict, fail};
use crate::fault::{Draw, Fault, FaultEvent, FaultPlan, Kind, LinkTrouble};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

mod bug;
pub(super) mod check;
mod client;
pub(super) mod cluster;
mod data;
mod node;
pub(super) mod operator;
mod roles;

pub use bug::Bug;
use check::{Checker, Moment, unwhole};
use cluster::{Cluster, Style};
use data::Data;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "manager",
    about: "who serves may, no acknowledged write is lost, fenced is fenced, all heals",
    play: |seed| play(seed, None),
};

const MANAGERS: usize = 3;
const FAULTS_FOR: Duration = Duration::from_secs(45);
/// Longest time between two looks, in microseconds; the shortest is a twentieth.
const LOOK_US_MAX: u64 = 20_000;
/// The longest lease of a primary that operators set, its drift, and the takeover's transactions
/// (14 s); the grace after it, which is also the detection of a dead node (3.03 s); then for each
/// of three members in turn a slot, a copy of 1.5 s and two heartbeats, and chains that wait for
/// the slots of other chains.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// A heartbeat interval, and transmission.
const FOLLOW_MAX: Duration = Duration::from_millis(1_200);
/// Chance that something happens to a store or a process at an instant, permille.
const TROUBLE: u32 = 4;

/// Plays a world in which model nodes make a mistake, if one is given.
pub fn play(seed: u64, bug: Option<Bug>) -> Played {
    let mut rng = Rng::new(seed).fork("manager");
    let nodes = usize::try_from(rng.range(4..=6)).expect("small");
    let clients = usize::try_from(rng.range(1..=2)).expect("small");
    let roles =
        [("kv", 1), ("manager", MANAGERS), ("node", nodes), ("client", clients), ("operator", 1)];
    let mut world = World::new(seed, Topology::of(&roles));
    let plan = plan(&world);
    world.set_plan(plan.clone());
    // With the limits that ship a connection outlives answers that are late by seconds, with short
    // ones it ends again and again.
    let patient = rng.chance(500);
    let cluster = Cluster::new(&world, Style { bug, trouble: true, patient, ..Style::default() });
    let verdict = run(&mut world, &cluster);
    cluster.clear();
    Played { world, plan, operations: cluster.operations(), verdict }
}

fn plan(world: &World) -> FaultPlan {
    let (kv, managers, nodes) = (world.role("kv"), world.role("manager"), world.role("node"));
    let (all, clients) = (world.nodes(), world.role("client"));
    let random = world.sim().random("faults");
    // In every world: answers to two nodes are late, and these freeze. It takes both, and in this
    // order, to see that a lease was counted from the wrong moment.
    let between = [managers.clone(), nodes[..2].to_vec()].concat();
    let weak = FaultPlan::draw(
        &random.fork("weak nodes"),
        FAULTS_FOR,
        &[
            Draw::new(Kind::SlowLink, &between)
                .count(2..=10)
                .lasts_ms(2_000..=10_000)
                .permille(100..=900),
            Draw::new(Kind::FreezeAndWake, &nodes[..2]).count(1..=4).lasts_ms(1_500..=5_000),
        ],
    );
    let others = FaultPlan::draw_some(
        &random,
        FAULTS_FOR,
        &[
            Draw::new(Kind::CrashAndReturn, &managers).lasts_ms(1..=15_000),
            Draw::new(Kind::KillAndRestart, &managers).lasts_ms(1..=5_000),
            Draw::new(Kind::FreezeAndWake, &managers).count(0..=3).lasts_ms(10..=15_000),
            Draw::new(Kind::CrashAndReturn, &nodes).count(0..=6).lasts_ms(1..=8_000),
            Draw::new(Kind::KillAndRestart, &nodes).count(0..=8).lasts_ms(1..=1_500),
            Draw::new(Kind::FreezeAndWake, &nodes).count(0..=6).lasts_ms(10..=6_000),
            Draw::new(Kind::KillAndRestart, &clients).lasts_ms(1..=3_000),
            Draw::new(Kind::CrashAndReturn, &kv).count(0..=2).lasts_ms(1..=6_000),
            Draw::new(Kind::ClockDrift { ppm_max: 4_900 }, all)
                .count(0..=8)
                .lasts_ms(5_000..=45_000),
            Draw::new(Kind::WallSkew { max: Duration::from_secs(3_600) }, all),
            Draw::new(Kind::Partition, all).lasts_ms(20..=12_000),
            Draw::new(Kind::OneWayCut, &between).count(0..=8).lasts_ms(500..=6_000),
            Draw::new(Kind::OneWayCut, all).count(0..=6).lasts_ms(20..=8_000),
            Draw::new(Kind::SlowLink, all).count(0..=8).lasts_ms(50..=8_000).permille(1..=400),
            Draw::new(Kind::LossyLink, all).count(0..=6).lasts_ms(50..=8_000).permille(10..=200),
        ],
    );
    weak.and(others).and(late_then_deaf(&random, &managers, nodes[0]))
}

/// Answers to a node come late, and then its heartbeats do not arrive: whoever counts a lease from
/// the answer believes in it longer than the manager does.
fn late_then_deaf(random: &Rng, managers: &[NodeId], node: NodeId) -> FaultPlan {
    let mut rng = random.fork("late answers, then no heartbeats");
    let mut events = Vec::new();
    for _ in 0..3 {
        let at = Duration::from_millis(rng.range(3_000..=38_000));
        let latency = Duration::from_millis(rng.range(700..=900));
        let late = LinkTrouble { latency, jitter: latency, ..LinkTrouble::default() };
        for &manager in managers {
            let slow = Fault::Link(manager, node, late);
            events.push(FaultEvent { at, lasts: Duration::from_secs(5), fault: slow });
            let (at, fault) = (at + Duration::from_secs(2), Fault::OneWayCut(node, manager));
            events.push(FaultEvent { at, lasts: Duration::from_secs(4), fault });
        }
    }
    FaultPlan::of(events)
}

fn run(world: &mut World, cluster: &Rc<Cluster>) -> Verdict {
    start(world, cluster);
    for node in world.role("operator") {
        let shared = cluster.clone();
        world.start(node, move |env| operator::run(env, shared.clone()));
    }
    let mut driver = Driver::new(world, LOOK_US_MAX);
    let end = world.sim().now() + FAULTS_FOR;
    while world.sim().now() < end {
        let moment = driver.step(world, cluster)?;
        driver.trouble(world, cluster, &moment);
    }
    world.stop_faults();
    cluster.quiet.set(true);
    driver.mend(cluster);
    heals(world, cluster, &mut driver)?;
    cluster.verdict()
}

/// All processes but the operator's.
pub(super) fn start(world: &mut World, cluster: &Rc<Cluster>) {
    let kv = world.role("kv")[0];
    let address = world.sim().address(kv, roles::PORT);
    let shared = cluster.clone();
    world.start_supervised(kv, move |env| roles::serve_kv(env, shared.clone()));
    for node in world.role("manager") {
        let shared = cluster.clone();
        world.start_supervised(node, move |env| roles::manage(env, address, shared.clone()));
    }
    for (index, node) in world.role("node").into_iter().enumerate() {
        let shared = cluster.clone();
        world.start_supervised(node, move |env| node::run(env, shared.clone(), index));
    }
    for (number, node) in (0..).zip(world.role("client")) {
        let shared = cluster.clone();
        world.start_supervised(node, move |env| client::run(env, shared.clone(), number));
    }
}

const T84: &str = "T84 all heals";

/// T84, and at the end T81 and T85 once more.
fn heals(world: &mut World, cluster: &Rc<Cluster>, driver: &mut Driver) -> Verdict {
    driver.until_whole(world, cluster)?;
    cluster.last_wanted.set(true);
    let asked = world.sim().now();
    while cluster.last_change.get().is_none() {
        driver.step(world, cluster)?;
        if asked + WHOLE_MAX < world.sim().now() {
            return fail(T84, "nothing can be changed");
        }
    }
    let twice = 2 * cluster.chains();
    let shows =
        |info: &RoutingInfo| info.tables.values().next().is_some_and(|t| t.chains.len() == twice);
    loop {
        let behind = cluster.followers.borrow().behind(shows);
        let Some(behind) = behind else { break };
        driver.step(world, cluster)?;
        let since = cluster.last_change.get().expect("waited for above");
        if since + FOLLOW_MAX < world.sim().now() {
            return fail(T84, format!("{FOLLOW_MAX:?} after a change {behind:?} is shown"));
        }
    }
    while !cluster.facts_hold.get() {
        driver.step(world, cluster)?;
        if asked + WHOLE_MAX < world.sim().now() {
            return fail(T84, "nobody answers what operators ask");
        }
    }
    driver.until_whole(world, cluster)
}

/// A closed store with its node, and when it returns.
type Closed = (usize, TargetId, Instant);

/// What happens from outside.
pub(super) struct Driver {
    rng: Rng,
    look_us_max: u64,
    data: Data,
    checker: Checker,
    /// Stores that are closed, and when they return.
    closed: Vec<Closed>,
    stuck: Vec<(usize, Instant)>,
}

impl Driver {
    pub(super) fn new(world: &World, look_us_max: u64) -> Self {
        let rng = world.sim().random("driver");
        let data = Data::new(rng.fork("data"));
        let checker = Checker::default();
        Self { rng, look_us_max, data, checker, closed: Vec::new(), stuck: Vec::new() }
    }

    /// Runs for a while, looks, and lets clients and predecessors act.
    pub(super) fn step(
        &mut self,
        world: &mut World,
        cluster: &Rc<Cluster>,
    ) -> Result<Moment, CheckFailure> {
        let us = self.rng.range(self.look_us_max / 20..=self.look_us_max);
        world.run(Duration::from_micros(us))?;
        let moment = Moment::look(world, cluster);
        self.checker.check(cluster, &moment)?;
        self.data.act(cluster, &moment)?;
        cluster.verdict()?;
        Ok(moment)
    }

    fn until_whole(&mut self, world: &mut World, cluster: &Rc<Cluster>) -> Verdict {
        let end = world.sim().now() + WHOLE_MAX;
        loop {
            let moment = self.step(world, cluster)?;
            self.mend(cluster);
            let Some(why) = unwhole(cluster, &moment) else { return Ok(()) };
            if end < world.sim().now() {
                let reasons = cluster.reasons.borrow();
                return fail(T84, format!("after {WHOLE_MAX:?}: {why}; {reasons:?}"));
            }
        }
    }

    /// Stores fail and return, shards get stuck, processes are asked to stop.
    fn trouble(&mut self, world: &World, cluster: &Rc<Cluster>, moment: &Moment) {
        let bug = cluster.style.bug;
        let now = moment.now;
        let returns = |&mut (node, _, at): &mut Closed| at <= now && moment.acts[node];
        for (node, target, _) in self.closed.extract_if(.., returns) {
            cluster.nodes[node].go_online(target, bug);
        }
        for (node, _) in self.stuck.extract_if(.., |(_, at)| *at <= now) {
            if let Some(host) = cluster.nodes[node].host() {
                host.stuck.set(false);
            }
        }
        if !self.rng.chance(TROUBLE) {
            return;
        }
        let until = now + Duration::from_millis(self.rng.range(50..=5_000));
        match self.rng.below(4) {
            0 | 1 => {
                let places: Vec<_> = moment.places.iter().map(|(t, n)| (*t, *n)).collect();
                let place = self.rng.pick(&places).copied();
                let Some((target, node)) = place.filter(|&(_, node)| moment.acts[node]) else {
                    return;
                };
                cluster.nodes[node].go_offline(target, bug);
                self.closed.push((node, target, until));
            }
            2 => {
                let node = usize::try_from(self.rng.below(cluster.nodes.len() as u64));
                let node = node.expect("small");
                if let Some(host) = cluster.nodes[node].host() {
                    host.stuck.set(true);
                    self.stuck.push((node, until));
                }
            }
            _ => {
                let processes = [world.role("node"), world.role("manager")].concat();
                let process = self.rng.pick(&processes).copied();
                if let Some(process) = process.filter(|p| world.sim().is_running(*p)) {
                    world.sim().signal(process, Signal::Terminate);
                }
            }
        }
    }

    /// Nothing fails any more, and what is damaged is mended: none of it had lost anything.
    fn mend(&mut self, cluster: &Rc<Cluster>) {
        for (node, target, _) in self.closed.drain(..) {
            cluster.nodes[node].go_online(target, cluster.style.bug);
        }
        for node in &cluster.nodes {
            if let Some(host) = node.host() {
                host.stuck.set(false);
            }
        }
        cluster.mend_unserved();
    }
}
