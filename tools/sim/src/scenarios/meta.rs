//! The metadata service that ships, one to three of it over the served KV, and clients that ask
//! them at the same time, under every fault: services and KV die and freeze, their disk forgets,
//! links break, answers of commits are lost or come late, chains answer nothing, clients die.
//!
//! Every request that changes something leaves a line in the store, in the transaction that does
//! it (`desk`), and the version that a request has read is known. So in the end there is one order
//! of all that happened, and no search for one. In some worlds clients do random operations, and
//! the reference (`meta_model`) judges every answer in that order: a history of clients at the same
//! time is judged as exactly as that of one. In others they write the content of a few files in
//! chunks of plain maps, which obey epochs and fences and hold tags.
//!
//! Checks
//!   T110  processes go on; once faults have stopped, every client comes to its end (T121)
//!   T111  what was acknowledged is in the store
//!   T112  a request is done once, and answered as it was recorded
//!   T113  what was refused was not done; nobody alive is refused as old or fenced
//!   T114  nothing of a session is done behind its fence, or pruned before it
//!   T115  the tree is one: entries, inodes, links, parents, slots
//!   T116  when all sessions have ended, nothing is left: sessions, locks, records, cuts, marks,
//!         queue, inodes without links, chunks of files that are gone
//!   T117  the order of the store explains every answer; also of listings that go on at another
//!         service: an entry is on exactly one page
//!   T118  appends have ranges of their own
//!   T119  a byte that a cut took is not seen again
//!   T120  what was written and synced is seen

use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use engine_types::{Instant, NodeId, Rng};
use meta_model::{Root, Step, generate};
use meta_schema::{INODE_ROOT, LayoutTemplate};

use crate::check::{CheckFailure, Verdict, fail};
use crate::fault::{Draw, FaultPlan, Kind};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

mod audit;
mod bug;
mod chunks;
mod content;
mod desk;
mod ground;
mod judge;
mod service;
mod setting;
mod store;
mod user;
mod writer;

use audit::Held;
pub use bug::Bug;
use ground::Ground;
use setting::{Setting, Work};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "meta",
    about: "the namespace is POSIX' in one order, done once, durable; content, locks, removal",
    play: |seed| play(seed, None),
};

/// Many times what a restart, a cut and an idle wait take.
const QUIET_MAX: Duration = Duration::from_secs(120);
/// Waits for removal double six times, and a claim of a dead collector is respected for 15 s.
const DRAIN_MAX: Duration = Duration::from_secs(240);
/// How often it is looked whether everything has gone.
const DRAIN_STEP: Duration = Duration::from_millis(500);

const T116: &str = "T116 nothing is left over";
const T121: &str = "T121 clients come to their end";

/// Plays a world with a planted bug, if one is given.
pub fn play(seed: u64, bug: Option<Bug>) -> Played {
    let mut rng = Rng::new(seed).fork("meta");
    let setting = Setting::draw(&mut rng);
    let clients = setting.clients as usize;
    let roles =
        [("kv", 1), ("meta", setting.services), ("user", clients), ("shelf", 1), ("audit", 1)];
    let mut world = World::new(seed, Topology::of(&roles));
    let plan = plan(&world, &setting);
    let steps = steps(&mut rng, &setting);
    let ground = Rc::new(Ground::new(&world, setting, bug, steps));
    let verdict = run(&mut world, &ground, &plan);
    ground.clear();
    let operations = ground.asked.borrow().len() as u64;
    Played { world, plan, operations, verdict }
}

/// The steps of each client.
fn steps(rng: &mut Rng, setting: &Setting) -> Vec<VecDeque<Step>> {
    let mut all = vec![VecDeque::new(); setting.clients as usize];
    if let Work::Names { steps, weights } = setting.work {
        for step in generate(rng.next_u64(), steps, weights, &root(ground::layout())) {
            all[usize::from(step.client)].push_back(step);
        }
    }
    all
}

/// What mkfs makes.
fn root(layout: LayoutTemplate) -> Root {
    Root { ino: INODE_ROOT.get(), mode: 0o755, uid: 0, gid: 0, layout }
}

fn plan(world: &World, setting: &Setting) -> FaultPlan {
    let random = world.sim().random("faults");
    let (kv, services, users) = (world.role("kv"), world.role("meta"), world.role("user"));
    let all: Vec<NodeId> = [kv.clone(), services.clone(), users.clone()].concat();
    let mut draws = vec![
        Draw::new(Kind::KillAndRestart, &services).count(0..=4).lasts_ms(1..=400),
        Draw::new(Kind::CrashAndReturn, &services).count(0..=2).lasts_ms(1..=1_000),
        Draw::new(Kind::FreezeAndWake, &services).count(0..=3).lasts_ms(10..=2_000),
        Draw::new(Kind::CrashAndReturn, &kv).count(0..=3).lasts_ms(1..=300),
        Draw::new(Kind::KillAndRestart, &kv).count(0..=2).lasts_ms(1..=300),
        Draw::new(Kind::FreezeAndWake, &kv).lasts_ms(10..=600),
        Draw::new(Kind::Partition, &all).lasts_ms(20..=1_000),
        Draw::new(Kind::OneWayCut, &all).lasts_ms(20..=1_000),
        Draw::new(Kind::SlowLink, &all).lasts_ms(50..=2_000).permille(1..=100),
        Draw::new(Kind::LossyLink, &all).lasts_ms(50..=2_000).permille(10..=200),
    ];
    if setting.clients_die {
        draws.push(Draw::new(Kind::KillAndRestart, &users).count(1..=4).lasts_ms(1..=500));
    }
    FaultPlan::draw_some(&random, setting.faults_for, &draws)
}

fn run(world: &mut World, ground: &Rc<Ground>, plan: &FaultPlan) -> Verdict {
    for node in world.role("shelf") {
        let ground = ground.clone();
        world.start(node, move |env| {
            ground.shelf.open(env.clone());
            async move { engine_runtime::Env::sleep_until(&env, Instant::NEVER).await }
        });
    }
    for node in world.role("kv") {
        let ground = ground.clone();
        world.start_supervised(node, move |env| store::run(env, ground.clone()));
    }
    for (number, node) in world.role("meta").into_iter().enumerate() {
        let ground = ground.clone();
        world.start_supervised(node, move |env| service::run(env, ground.clone(), number));
    }
    for node in world.role("audit") {
        let ground = ground.clone();
        world.start(node, move |env| audit::run(env, ground.clone()));
    }
    for (number, node) in (0u32..).zip(world.role("user")) {
        let ground = ground.clone();
        match ground.setting.work {
            Work::Names { .. } => {
                world.start(node, move |env| user::run(env, ground.clone(), number));
            }
            Work::Data { .. } => {
                world.start(node, move |env| writer::run(env, ground.clone(), number));
            }
        }
    }
    world.set_plan(plan.clone());
    ground.suffer(true);
    world.run(ground.setting.faults_for)?;
    world.stop_faults();
    ground.suffer(false);
    let clients = ground.setting.clients as usize;
    if !world.run_while(QUIET_MAX, |_| ground.finished.borrow().len() < clients)? {
        ground.verdict()?;
        let waiting = ground.asked.borrow().iter().rev().find(|a| a.ended.is_none()).cloned();
        let done = ground.finished.borrow().clone();
        return fail(T121, format!("of {clients} clients ended {done:?}; {waiting:?}"));
    }
    ground.verdict()?;
    let held = drain(world, ground);
    if ground.looks.get() == 0 {
        return held.map(drop);
    }
    let lines = lines(ground);
    // What was told says more about why something is left over.
    judge::judge(ground, &lines)?;
    let held = held?;
    held.tree()?;
    let judged = content::judge(&ground.deeds.borrow());
    judged.map_err(|(ino, mut failure)| {
        failure.what += &judge::story(ground, ino);
        failure
    })
}

/// Everything that the store says has happened.
fn lines(ground: &Ground) -> Vec<desk::Line> {
    let dump = ground.dump.borrow();
    dump.iter().filter_map(|(key, value)| desk::line(key, value)).collect()
}

/// All sessions end, and what is left of them goes; then a last look at the content.
fn drain(world: &mut World, ground: &Rc<Ground>) -> Result<Held, CheckFailure> {
    ground.all_end();
    ground.wants_dump.set(true);
    let end = world.sim().now() + DRAIN_MAX;
    let mut why = "nobody has looked at the store".to_owned();
    let mut left = None;
    loop {
        let seen = ground.looks.get();
        let time = end.saturating_since(world.sim().now());
        if !world.run_while(time, |_| ground.looks.get() == seen)? {
            let waiting = ground.unpruned();
            let story = left.map_or(String::new(), |ino| judge::story(ground, ino));
            let what = format!("{why}; sessions not pruned: {waiting:?}{story}");
            return Err(CheckFailure { check: T116, what });
        }
        let dump = ground.dump.borrow().clone();
        let held = Held::of(&dump)?;
        match held.left_over(&ground.shelf) {
            None => {
                look(ground, &held);
                return Ok(held);
            }
            Some((ino, what)) => {
                why = what;
                left = ino;
            }
        }
        world.run(DRAIN_STEP)?;
    }
}

/// What readers would see now.
fn look(ground: &Ground, held: &Held) {
    for (ino, inode) in &held.inodes {
        let Some(file) = inode.file() else { continue };
        let seen = writer::see(ground, *ino, &file.layout, inode.size(), (i64::MAX - 1, i64::MAX));
        ground.deeds.borrow_mut().seen.push(seen);
    }
}
