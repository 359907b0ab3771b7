//! One world: an arbiter, two replicas, three clients, faults of all kinds, and the checks.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use engine_runtime::sim::{ClockSpec, DiskFaults};
use engine_types::{NodeId, Rng};
use tools_sim::check::{self, AppendLog, LogCall, Verdict};
use tools_sim::fault::{Draw, FaultPlan, Kind};
use tools_sim::history::Operation;
use tools_sim::scenario::Played;
use tools_sim::topology::Topology;
use tools_sim::world::World;

use crate::arbiter::{self, ArbiterConfig};
use crate::bug::Bug;
use crate::client::{self, ClientConfig, Findings, ListHistory};
use crate::message::Entry;
use crate::replica::{self, PORT, ReplicaConfig};

/// An operation on one list.
type ListOperation = Operation<LogCall, Option<Vec<u64>>>;

const REPLICAS: u32 = 2;
const CLIENTS: u32 = 3;
const OPERATIONS: u64 = 20;
/// A cluster without faults rules itself after this.
const FIRST_ELECTION: Duration = Duration::from_millis(220);
/// Faults begin within this,
const FAULTS_BEGIN_WITHIN: Duration = Duration::from_millis(600);
/// and have their full time: an election takes a good part of it.
const FAULTS_FOR: Duration = Duration::from_millis(1_200);
/// Far more than an election and a settlement take: a cluster that is not well by then never is.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// The bound on drift that leases assume, parts per million.
const DRIFT_PPM_MAX: u64 = 10_000;
/// Nobody may rely on the time of day.
const WALL_SKEW_MAX: Duration = Duration::from_secs(2);

pub(crate) fn play(seed: u64, bug: Option<Bug>) -> Played {
    let mut topology = Topology::of(&[
        ("arbiter", 1),
        ("replica", REPLICAS as usize),
        ("client", CLIENTS as usize),
        ("auditor", 1),
    ]);
    topology.disk = DiskFaults {
        write: (Duration::from_micros(50), Duration::from_millis(2)),
        flush: (Duration::from_micros(500), Duration::from_millis(6)),
        ..DiskFaults::default()
    };
    let mut rng = Rng::new(seed).fork("clocks");
    for machine in &mut topology.nodes {
        machine.clock = clock(&mut rng);
    }
    let mut world = World::new(seed, topology);
    let plan = plan(&world);
    let history = ListHistory::default();
    let verdict = run(&mut world, &plan, bug, &history);
    Played { world, plan, operations: history.len() as u64, verdict }
}

/// Rates differ within the bound; the time of day is right until a fault makes it wrong.
fn clock(rng: &mut Rng) -> ClockSpec {
    let drift = i32::try_from(rng.range(0..=2 * DRIFT_PPM_MAX)).expect("small");
    let most = i32::try_from(DRIFT_PPM_MAX).expect("small");
    ClockSpec { drift_ppm: drift - most, ..ClockSpec::default() }
}

fn plan(world: &World) -> FaultPlan {
    let (arbiter, replicas) = (world.role("arbiter"), world.role("replica"));
    let servers: Vec<NodeId> = arbiter.iter().chain(&replicas).copied().collect();
    let all: Vec<NodeId> = servers.iter().copied().chain(world.role("client")).collect();
    let draw = Draw::new;
    let rng = world.sim().random("faults");
    // Nobody may look at the time of day, so it is always wrong somewhere.
    let skew = draw(Kind::WallSkew { max: WALL_SKEW_MAX }, &servers).count(2..=4);
    let skews = FaultPlan::draw(&rng, FAULTS_BEGIN_WITHIN, &[skew.lasts_ms(400..=1_200)]);
    FaultPlan::draw_some(
        &rng,
        FAULTS_BEGIN_WITHIN,
        &[
            draw(Kind::CrashAndReturn, &replicas).count(1..=5).lasts_ms(1..=200),
            draw(Kind::KillAndRestart, &replicas).count(1..=2).lasts_ms(1..=200),
            draw(Kind::CrashAndReturn, &arbiter).count(1..=1).lasts_ms(1..=100),
            draw(Kind::FreezeAndWake, &servers).count(1..=3).lasts_ms(20..=500),
            draw(Kind::Partition, &all).count(1..=2).lasts_ms(100..=700),
            draw(Kind::Partition, &servers).count(1..=2).lasts_ms(400..=900),
            draw(Kind::OneWayCut, &all).count(1..=2).lasts_ms(100..=500),
            draw(Kind::SlowLink, &servers).count(1..=3).permille(1..=60),
            draw(Kind::LossyLink, &all).count(1..=4),
            draw(Kind::SlowDisk, &replicas).count(1..=3).lasts_ms(50..=500),
            draw(Kind::DiskErrors, &servers).count(1..=3).permille(5..=100),
            draw(Kind::WallSkew { max: WALL_SKEW_MAX }, &servers).count(1..=4).lasts_ms(300..=900),
        ],
    )
    .and(skews)
}

fn run(world: &mut World, plan: &FaultPlan, bug: Option<Bug>, history: &ListHistory) -> Verdict {
    let address = |node: &NodeId| world.sim().address(*node, PORT);
    let replicas: Vec<_> = world.role("replica").iter().map(address).collect();
    let arbiter = address(&world.role("arbiter")[0]);
    let config = ArbiterConfig { number: 100, replicas: REPLICAS, bug };
    world.start_supervised(world.role("arbiter")[0], move |env| arbiter::run(env, config.clone()));
    for (number, node) in (0..).zip(world.role("replica")) {
        let config = ReplicaConfig { number, replicas: replicas.clone(), arbiter, bug };
        world.start_supervised(node, move |env| replica::run(env, config.clone()));
    }
    world.run(FIRST_ELECTION)?;
    world.set_plan(plan.clone());
    let ended = Rc::new(Cell::new(0));
    let config = |number| ClientConfig {
        number,
        replicas: replicas.clone(),
        operations: OPERATIONS,
        bug,
        history: history.clone(),
        ended: ended.clone(),
    };
    for (number, node) in (0..).zip(world.role("client")) {
        let config = config(number);
        world.start(node, move |env| client::run(env, config.clone()));
    }
    world.run(FAULTS_FOR)?;
    world.stop_faults();
    world.run_while(RECOVERY_MAX, |_| ended.get() < CLIENTS)?;

    // Power loss everywhere: what counts from here on is what the disks hold.
    for server in world.role("arbiter").into_iter().chain(world.role("replica")) {
        world.crash_and_return(server);
    }
    let findings = Findings::default();
    let (config, shared) = (config(CLIENTS), findings.clone());
    world.start(world.role("auditor")[0], move |env| {
        client::audit(env, config.clone(), shared.clone())
    });
    world.run_while(RECOVERY_MAX, |_| findings.borrow().is_empty())?;
    judge(history, &findings.borrow())
}

fn judge(history: &ListHistory, findings: &[(String, Vec<Entry>)]) -> Verdict {
    let operations = history.operations();
    check::every_call_ends(&operations)?;
    let Some((_, log)) = findings.first() else {
        return check::fail("converges", "the replicas did not come together after the faults");
    };
    let appends = |operation: &&Operation<_, _>| match operation.call {
        (key, LogCall::Append(value)) => Some((key, value)),
        (_, LogCall::Read) => None,
    };
    let asked: BTreeSet<(u32, u64)> = operations.iter().filter_map(|op| appends(&op)).collect();
    let acknowledged = operations.iter().filter(|operation| operation.result().is_some());
    let acknowledged = acknowledged.filter_map(|operation| appends(&operation)).collect();
    let found: Vec<(u32, u64)> = log.iter().map(|entry| (entry.key, entry.value)).collect();
    check::exactly_once(&asked, &found)?;
    check::durable(&acknowledged, &found)?;
    check::replicas_equal(findings)?;
    let reads = operations.iter().filter_map(|operation| {
        let list = operation.result()?.clone()?;
        Some((operation.client, operation.call.0, list))
    });
    check::monotonic_reads(reads)?;
    let mut per_key: BTreeMap<u32, Vec<ListOperation>> = BTreeMap::new();
    for Operation { client, invoked, call: (key, call), end } in operations {
        per_key.entry(key).or_default().push(Operation { client, invoked, call, end });
    }
    per_key.values().try_for_each(|operations| check::linearizable::<AppendLog>(operations))
}
