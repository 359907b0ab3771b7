//! Clients and servers of the RPC layer that ships, under every fault that a network, a process and
//! a clock can show.
//!
//! Each request has a number of its own, and its payload and answer are patterns of that number, so
//! a mix-up shows. The server counts executions. There are four parts: faults; quiet, while one
//! server drains and restarts; quiet, when everything must succeed; and the end, when all that was
//! held must have been given back.
//!
//! Checks
//!   T30  a call ends by its deadline, give or take the lateness of timers
//!   T31  an answer is the one to its request, payload included, on both sides
//!   T32  what the client was told was not sent or not taken is never executed
//!   T33  nothing is executed twice: the RPC layer never retries (M9); an answered request was
//!        executed once
//!   T34  once faults have stopped, every call succeeds
//!   T35  a draining server answers what it has begun (E57)
//!   T36  at rest no buffer is held and no connection is left behind (E51, S5)

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Signal;
use engine_types::NodeId;

use crate::check::{Verdict, fail};
use crate::fault::{Draw, FaultPlan, Kind};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

mod client;
mod ledger;
mod server;

use ledger::Ledger;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "rpc",
    about: "calls end in time, answers match, nothing runs twice, nothing leaks",
    play,
};

const SERVERS: usize = 2;
const CLIENTS: usize = 3;
const PORT: u16 = 6000;
const FAULTS_FOR: Duration = Duration::from_millis(800);
/// Twice what a dead connection is noticed in, and many times what connecting again takes.
const SETTLE_FOR: Duration = Duration::from_millis(1_000);
/// Far more than a few calls without faults take.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// Small, so that a leak of a few calls shows.
const POOL_BYTES: usize = 16 << 20;

/// Which part of the scenario the world is in; clients look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Faults,
    /// Faults have stopped, connections recover.
    Settling,
    Draining,
    Quiet,
    Closing,
}

/// What clients, servers and checks share.
pub(crate) struct Shared {
    pub(crate) part: Cell<Part>,
    /// Clients that are done with the part.
    pub(crate) done: Cell<usize>,
    pub(crate) ledger: Ledger,
}

fn play(seed: u64) -> Played {
    let mut topology = Topology::of(&[("server", SERVERS), ("client", CLIENTS)]);
    topology.net.accept_abort_permille = 20;
    for machine in &mut topology.nodes {
        machine.pool_bytes = Some(POOL_BYTES);
    }
    let mut world = World::new(seed, topology);
    let plan = plan(&world);
    world.set_plan(plan.clone());
    let shared = Rc::new(Shared {
        part: Cell::new(Part::Faults),
        done: Cell::new(0),
        ledger: Ledger::default(),
    });
    let verdict = run(&mut world, &shared);
    Played { world, plan, operations: shared.ledger.len() as u64, verdict }
}

fn plan(world: &World) -> FaultPlan {
    let (servers, clients) = (world.role("server"), world.role("client"));
    let all = world.nodes();
    let mortal = [&servers[..], &clients[CLIENTS - 1..]].concat();
    FaultPlan::draw(
        &world.sim().random("faults"),
        FAULTS_FOR,
        &[
            Draw::new(Kind::CrashAndReturn, &mortal).lasts_ms(1..=300),
            Draw::new(Kind::KillAndRestart, &mortal).lasts_ms(1..=300),
            Draw::new(Kind::FreezeAndWake, &servers).lasts_ms(10..=400),
            Draw::new(Kind::ClockDrift { ppm_max: 10_000 }, all).count(0..=3),
            Draw::new(Kind::ClockJump, &servers).count(0..=1),
            Draw::new(Kind::WallSkew { max: Duration::from_secs(3_600) }, all),
            Draw::new(Kind::Partition, all).lasts_ms(20..=500),
            Draw::new(Kind::OneWayCut, all).lasts_ms(20..=500),
            Draw::new(Kind::SlowLink, all).permille(1..=40),
            Draw::new(Kind::LossyLink, all).count(0..=4).permille(10..=300),
        ],
    )
}

fn run(world: &mut World, shared: &Rc<Shared>) -> Verdict {
    let (servers, clients) = (world.role("server"), world.role("client"));
    for &node in &servers {
        let shared = shared.clone();
        world.start_supervised(node, move |env| server::run(env, shared.clone()));
    }
    let address = |node: &NodeId| world.sim().address(*node, PORT);
    let addresses: Vec<_> = servers.iter().map(address).collect();
    for (number, &node) in clients.iter().enumerate() {
        let (shared, addresses) = (shared.clone(), addresses.clone());
        world.start(node, move |env| client::run(env, number, addresses.clone(), shared.clone()));
    }
    world.run(FAULTS_FOR)?;
    world.stop_faults();
    shared.part.set(Part::Settling);
    world.run(SETTLE_FOR)?;
    everybody(world, shared, Part::Draining, Some(servers[0]))?;
    world.run(SETTLE_FOR)?;
    everybody(world, shared, Part::Quiet, None)?;
    everybody(world, shared, Part::Closing, None)?;
    world.run(SETTLE_FOR)?;
    shared.ledger.check()?;
    shared.ledger.check_rest()
}

/// Lets every client do its calls of `part`, while `drained` is asked to stop.
fn everybody(
    world: &mut World,
    shared: &Rc<Shared>,
    part: Part,
    drained: Option<NodeId>,
) -> Verdict {
    shared.done.set(0);
    shared.part.set(part);
    if let Some(node) = drained {
        world.run(client::DRAIN_AFTER)?;
        world.sim().signal(node, Signal::Terminate);
    }
    if world.run_while(QUIET_MAX, |_| shared.done.get() < CLIENTS)? {
        return Ok(());
    }
    let waiting = CLIENTS - shared.done.get();
    fail("T34 every call succeeds", format!("{waiting} clients are stuck in part {part:?}"))
}
