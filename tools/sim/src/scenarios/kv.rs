//! The kv role that ships, on redb over a simulated disk, and clients that run transactions
//! against it under every fault of network, process, clock and disk.
//!
//! A client reads and overwrites a few of some registers, with a conflict on all it reads, and
//! keeps a record of its last transaction (M11), which holds the versionstamp of the commit. So an
//! unknown result is settled by reading the record, and every transaction that happened has a place
//! in one order. There are two parts: faults; and quiet, when everything must succeed.
//!
//! Checks
//!   T60  what was acknowledged is there in the end, once, and what was refused is not
//!   T61  serialisable: replayed in the order of stamps, every read finds what it saw (E200)
//!   T62  in real time: a transaction that began after another was acknowledged comes behind it
//!        (E201)
//!   T63  once faults have stopped, every client finishes its transactions

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use engine_types::Rng;
use meta_kv::engine::simdisk::SimDisk;

use crate::check::{Verdict, fail};
use crate::fault::{Draw, FaultPlan, Kind};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

mod client;
mod order;
mod server;

use order::Done;
pub(super) use server::net_config;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "kv",
    about: "served transactions are serialisable, in real time, durable and happen once",
    play,
};

const CLIENTS: usize = 3;
const PORT: u16 = 7000;
/// Few, so that clients meet.
const REGISTERS: u64 = 6;
const FAULTS_FOR: Duration = Duration::from_millis(1_500);
/// Many times what connecting again, and a transaction that was too old, take.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// Transactions of each client after faults have stopped.
const QUIET_TRANSACTIONS: u32 = 5;

/// What server, clients and checks share.
struct Shared {
    /// The server's disk, which outlives it.
    disk: RefCell<SimDisk>,
    starts: Cell<u64>,
    /// Chance of the disk's faults, and of what a crash keeps.
    rng: RefCell<Rng>,
    faults: Cell<bool>,
    finished: Cell<usize>,
    done: RefCell<Vec<Done>>,
    moments: Cell<u64>,
}

impl Shared {
    /// A moment of the world, which no node's clock knows.
    fn moment(&self) -> u64 {
        self.moments.set(self.moments.get() + 1);
        self.moments.get()
    }
}

fn play(seed: u64) -> Played {
    let mut world = World::new(seed, Topology::of(&[("server", 1), ("client", CLIENTS)]));
    let plan = plan(&world);
    world.set_plan(plan.clone());
    let shared = Rc::new(Shared {
        disk: RefCell::new(SimDisk::new()),
        starts: Cell::new(0),
        rng: RefCell::new(world.sim().random("disk")),
        faults: Cell::new(true),
        finished: Cell::new(0),
        done: RefCell::default(),
        moments: Cell::new(0),
    });
    let verdict = run(&mut world, &shared);
    let operations = shared.done.borrow().len() as u64;
    Played { world, plan, operations, verdict }
}

fn plan(world: &World) -> FaultPlan {
    let (server, all) = (world.role("server"), world.nodes());
    FaultPlan::draw(
        &world.sim().random("faults"),
        FAULTS_FOR,
        &[
            Draw::new(Kind::CrashAndReturn, &server).count(0..=4).lasts_ms(1..=200),
            Draw::new(Kind::KillAndRestart, &server).lasts_ms(1..=200),
            Draw::new(Kind::FreezeAndWake, all).lasts_ms(10..=600),
            Draw::new(Kind::ClockDrift { ppm_max: 10_000 }, all).count(0..=3),
            Draw::new(Kind::Partition, all).lasts_ms(20..=400),
            Draw::new(Kind::OneWayCut, all).lasts_ms(20..=400),
            Draw::new(Kind::SlowLink, all).permille(1..=40),
            Draw::new(Kind::LossyLink, all).count(0..=3).permille(10..=200),
        ],
    )
}

fn run(world: &mut World, shared: &Rc<Shared>) -> Verdict {
    let (server, clients) = (world.role("server"), world.role("client"));
    let kept = shared.clone();
    world.start_supervised(server[0], move |env| server::run(env, kept.clone()));
    let address = world.sim().address(server[0], PORT);
    for (number, &node) in (0u8..).zip(&clients) {
        let shared = shared.clone();
        world.start(node, move |env| client::run(env, number, address, shared.clone()));
    }
    world.run(FAULTS_FOR)?;
    world.stop_faults();
    shared.faults.set(false);
    if !world.run_while(QUIET_MAX, |_| shared.finished.get() < CLIENTS)? {
        let waiting = CLIENTS - shared.finished.get();
        return fail("T63 every client finishes", format!("{waiting} clients are stuck"));
    }
    order::check(&shared.done.borrow())
}
