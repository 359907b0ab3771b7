//! Managers that run for primary over the served KV that ships, while processes die, freeze and
//! return, clocks drift to their bound, links break, and the KV restarts.
//!
//! A primary acts every few milliseconds, each time after asking whether its lease is valid, and
//! now and then writes a guarded record with its term.
//!
//! Checks
//!   T70  after a term has acted, no earlier one acts: never two primaries (E287)
//!   T71  guarded writes take effect in the order of terms, whatever clocks say (E322)
//!   T72  once faults have stopped, somebody is primary within a lease and its drift, and a planned
//!        handover then takes a second at most

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use engine_runtime::sim::SimEnv;
use engine_runtime::{CancelToken, Env, Signal};
use engine_types::{Incarnation, NodeRole, reached};
use meta_kv::engine::memory::MemoryEngine;
use meta_kv::{OwnKv, ReadMode, Transaction};
use meta_kvd::{Remote, Role, ServedEngine};
use mgmt_cluster::lease::{Contact, Holder, LeaseTimes};
use mgmt_mgmtd::Election;
use mgmt_mgmtd::records::write_guarded;

use super::kv::net_config;
use crate::check::{Verdict, fail};
use crate::fault::{Draw, FaultPlan, Kind};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "election",
    about: "never two primaries act, guarded writes keep the order of terms, one is found again",
    play,
};

const MANAGERS: usize = 3;
const PORT: u16 = 7000;
const FAULTS_FOR: Duration = Duration::from_secs(40);
/// A lease of ten seconds, its drift, polls, and transactions that had to wait for the KV.
const TAKEOVER_MAX: Duration = Duration::from_millis(10_101 + 2_000);
/// Release, read, take, on a quiet network; and a KV connection that may have to be made.
const HANDOVER_MAX: Duration = Duration::from_secs(1);
/// Above every version of a former start of the store.
const START_JUMP: u64 = 1 << 20;
const RECORD: &[u8] = b"terms";

#[derive(Default)]
struct Shared {
    disk: RefCell<Arc<MemoryEngine>>,
    starts: Cell<u64>,
    acts: Cell<u64>,
    term: Cell<u64>,
    /// What T70 found.
    broken: RefCell<Option<String>>,
    /// Which node acted last.
    actor: Cell<Option<u32>>,
}

fn play(seed: u64) -> Played {
    let mut world = World::new(seed, Topology::of(&[("kv", 1), ("manager", MANAGERS)]));
    let plan = plan(&world);
    world.set_plan(plan.clone());
    let shared = Rc::new(Shared::default());
    let verdict = run(&mut world, &shared);
    Played { world, plan, operations: shared.acts.get(), verdict }
}

fn plan(world: &World) -> FaultPlan {
    let (kv, managers, all) = (world.role("kv"), world.role("manager"), world.nodes());
    FaultPlan::draw(
        &world.sim().random("faults"),
        FAULTS_FOR,
        &[
            Draw::new(Kind::CrashAndReturn, &managers).lasts_ms(1..=15_000),
            Draw::new(Kind::KillAndRestart, &managers).lasts_ms(1..=5_000),
            Draw::new(Kind::FreezeAndWake, &managers).count(0..=4).lasts_ms(10..=15_000),
            Draw::new(Kind::CrashAndReturn, &kv).count(0..=2).lasts_ms(1..=6_000),
            Draw::new(Kind::ClockDrift { ppm_max: 4_900 }, all).count(0..=4),
            Draw::new(Kind::WallSkew { max: Duration::from_secs(3_600) }, all),
            Draw::new(Kind::Partition, all).lasts_ms(20..=15_000),
            Draw::new(Kind::OneWayCut, all).lasts_ms(20..=12_000),
            Draw::new(Kind::SlowLink, all).permille(1..=40),
            Draw::new(Kind::LossyLink, all).count(0..=3).permille(10..=200),
        ],
    )
}

fn run(world: &mut World, shared: &Rc<Shared>) -> Verdict {
    let (kv, managers) = (world.role("kv")[0], world.role("manager"));
    let kept = shared.clone();
    world.start_supervised(kv, move |env| serve(env, kept.clone()));
    let address = world.sim().address(kv, PORT);
    for &node in &managers {
        let shared = shared.clone();
        world.start_supervised(node, move |env| manage(env, address, shared.clone()));
    }
    world.run(FAULTS_FOR)?;
    shared.verdict()?;
    world.stop_faults();
    found_again(world, shared, TAKEOVER_MAX, "takeover")?;
    // Handed over by the one that acts; it returns at once as another start.
    let acting = shared.actor.get().expect("somebody acted");
    let node = managers.iter().find(|node| node.get() == acting).expect("a manager");
    world.sim().signal(*node, Signal::Terminate);
    world.run(Duration::from_millis(1))?;
    found_again(world, shared, HANDOVER_MAX, "handover")?;
    world.run(Duration::from_secs(3))?;
    shared.verdict()
}

/// T72.
fn found_again(
    world: &mut World,
    shared: &Rc<Shared>,
    within: Duration,
    what: &'static str,
) -> Verdict {
    let before = shared.acts.get();
    if world.run_while(within, |_| shared.acts.get() == before)? {
        return shared.verdict();
    }
    fail("T72 somebody is primary", format!("nobody within {within:?}, {what}"))
}

impl Shared {
    fn verdict(&self) -> Verdict {
        match &*self.broken.borrow() {
            Some(what) => fail("T70 never two primaries", what.clone()),
            None => Ok(()),
        }
    }

    /// A primary acts at this moment of the world.
    fn act(&self, node: u32, term: u64) {
        self.acts.set(self.acts.get() + 1);
        self.actor.set(Some(node));
        if term < self.term.get() {
            let what = format!("node-{node} acts in term {term} after {}", self.term.get());
            self.broken.borrow_mut().get_or_insert(what);
        }
        self.term.set(self.term.get().max(term));
    }
}

async fn serve(env: SimEnv, shared: Rc<Shared>) {
    let engine = Arc::new(shared.disk.borrow().restarted(START_JUMP));
    *shared.disk.borrow_mut() = engine.clone();
    shared.starts.set(shared.starts.get() + 1);
    let role = Role {
        listen: ([0, 0, 0, 0], PORT).into(),
        net: net_config(&env, NodeRole::Kv),
        engine,
        served: ServedEngine {
            store: 1,
            created: env.wall(),
            starts: shared.starts.get(),
            restores: 0,
        },
        bytes: Box::new(|| 0),
    };
    let never = core::future::pending();
    meta_kvd::run(&env, role, |_| (), never).await.expect("memory does not fail");
}

async fn manage(env: SimEnv, kv: core::net::SocketAddr, shared: Rc<Shared>) {
    let signals = env.signals().expect("simulation always has them");
    let remote = Remote::new(&env, net_config(&env, NodeRole::Manager), kv);
    let kv = OwnKv::new(env.clone(), remote);
    let me = Contact {
        node: env.node(),
        incarnation: Incarnation::new(1 + shared.acts.get() + env.now().nanos()),
        addresses: vec!["manager:7000".to_owned()],
    };
    let election = Election::new(&env, kv.clone(), me, LeaseTimes::DEFAULT);
    let stop = CancelToken::default();
    let stopped = stop.clone();
    drop(env.spawn(async move {
        while signals.recv().await != Some(Signal::Terminate) {}
        stopped.cancel();
    }));
    drop(env.spawn(act(env.clone(), kv, election.clone(), shared)));
    election.run(stop).await;
}

type Manager = Rc<Election<SimEnv, OwnKv<SimEnv, Remote<SimEnv>>>>;

async fn act(
    env: SimEnv,
    kv: OwnKv<SimEnv, Remote<SimEnv>>,
    election: Manager,
    shared: Rc<Shared>,
) {
    loop {
        env.sleep_until(env.now() + Duration::from_micros(1 + env.random() % 20_000)).await;
        if !election.valid() {
            continue;
        }
        let Some(holder) = election.with_holder(Holder::clone) else { continue };
        shared.act(env.node().get(), holder.term().get());
        if env.random().is_multiple_of(10) {
            write_term(&kv, &holder, &shared).await;
        }
    }
}

/// T71: appends the term to what is stored, which may not fall.
async fn write_term(kv: &OwnKv<SimEnv, Remote<SimEnv>>, holder: &Holder, shared: &Shared) {
    let term = holder.term().get();
    let written = write_guarded(kv, holder, async |t| {
        let stored = t.get(RECORD, ReadMode::Conflict).await?;
        let last = stored.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight")));
        if term < last {
            let what = format!("T71: term {term} may write after term {last}");
            shared.broken.borrow_mut().get_or_insert(what);
        }
        Ok(t.set(RECORD, &term.to_le_bytes())?)
    });
    if written.await.is_err() {
        reached!("E322: a guarded write did not take effect");
    }
}
