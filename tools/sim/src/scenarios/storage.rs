//! Replicated chunks as they ship: KV, managers, storage nodes on simulated disks, and storage
//! clients that read and write the same few chunks, under every fault.
//!
//! A world has three parts. First chains are created and nothing fails. Then faults happen while
//! clients go on. Then faults stop, all chains become whole, clients do a few operations more,
//! nodes end in order, and their stores are opened and compared.
//!
//! Checks: of each chunk T90 to T95 and T100 (`check::chunks`), and
//!   T96  chains are created, and whole again within [`WHOLE_MAX`] after faults have stopped
//!   T97  every operation ends by its deadline, and once faults have stopped, operations succeed
//!   T98  in the end stores hold nothing but the chunks, and no version is pending
//!   T99  buffers, and with them queues and windows, have come back when nobody asks any more
//!   T101 what each process held at any moment is below a bound of its role ([`bounds`])

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::Signal;
use engine_types::{ChainId, ChainVersion, Member, NodeId, NodeState, PublicState, Rng};
use meta_kv::engine::memory::MemoryEngine;

use super::manager::{cluster, start};
use crate::check::{Verdict, chunks, fail};
use crate::fault::{Fault, FaultEvent, FaultPlan};
use crate::history::End;
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

mod audit;
mod bounds;
mod chunks_of;
mod faults;
mod ground;
mod node;
mod operator;
mod setting;
#[cfg(test)]
mod tests;
mod user;

use ground::Ground;
use setting::Setting;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "storage",
    about: "chunks are linearizable, acknowledged writes stay, replicas are identical, all heals",
    play,
};

const MANAGERS: usize = 3;
/// Time in which nodes register, chains are created, and leases granted.
const CREATED_MAX: Duration = Duration::from_secs(60);
/// A takeover, the detection of dead nodes, and the resync of one member after the other.
const WHOLE_MAX: Duration = Duration::from_secs(120);
/// Longer than it takes to detect a dead node, and to hear of it: what was seen last may be old.
const WHOLE_FOR: Duration = Duration::from_secs(4);
/// Time for which there are no managers when a KV is restored.
const RESTORED_AFTER: Duration = Duration::from_secs(4);
/// Time in which managers start on a restored KV, hear all nodes, and raise the timeline.
const RAISED_MAX: Duration = Duration::from_secs(60);
/// Nobody has died since: long enough to hear of who left its chain.
const STILL_WHOLE_FOR: Duration = Duration::from_secs(1);
/// Operations of each client that must succeed in the end.
const QUIET_OPERATIONS: u64 = 10;
/// Time in which they do, beside the time of one operation that is under way.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// Longer than it takes a scrub to begin anew and to read a store.
const SCRUBBED_AFTER: Duration = Duration::from_secs(80);
/// Time in which nodes end in order, and their stores are read.
const AUDIT_MAX: Duration = Duration::from_secs(60);

const T96: &str = "T96 chains become whole";
const T97: &str = "T97 operations end";
const T98: &str = "T98 nothing is left over";
const T99: &str = "T99 memory comes back";
const T101: &str = "T101 memory and tasks are bounded";

/// Plays a world. Bugs are planted in the code that ships: `tests/storage_planted.rs`.
pub fn play(seed: u64) -> Played {
    let mut rng = Rng::new(seed).fork("storage");
    let setting = Setting::draw(&mut rng);
    let roles = [
        ("kv", 1),
        ("manager", MANAGERS),
        ("storage", setting.nodes),
        ("user", setting.users),
        ("operator", 1),
    ];
    let mut topology = Topology::of(&roles);
    let storage = topology.nodes.iter_mut().filter(|machine| machine.name.starts_with("storage"));
    if setting.is_tight {
        storage.for_each(|machine| machine.pool_bytes = Some(setting::TIGHT_POOL));
    }
    let mut world = World::new(seed, topology);
    let plan = faults::plan(&world, &setting);
    let style = cluster::Style { calm: true, patient: setting.patient, ..Default::default() };
    let cluster = cluster::Cluster::new(&world, style);
    let ground = Rc::new(Ground::new(&world, cluster, setting));
    let verdict = run(&mut world, &ground, &plan);
    ground.clear();
    Played { world, plan, operations: ground.operations(), verdict }
}

fn run(world: &mut World, ground: &Rc<Ground>, plan: &FaultPlan) -> Verdict {
    start(world, &ground.cluster);
    for (index, node) in world.role("storage").into_iter().enumerate() {
        let ground = ground.clone();
        world.start_supervised(node, move |env| node::run(env, ground.clone(), index));
    }
    for node in world.role("operator") {
        let ground = ground.clone();
        world.start(node, move |env| operator::run(env, ground.clone()));
    }
    if !world.run_while(CREATED_MAX, |_| unwhole(ground).is_some())? {
        return fail(T96, format!("no chains yet: {:?}", unwhole(ground)));
    }
    for (number, node) in (0..).zip(world.role("user")) {
        let ground = ground.clone();
        world.start_supervised(node, move |env| user::run(env, ground.clone(), number));
    }
    let backup = ground.cluster.store.backup();
    world.set_plan(plan.clone());
    ground.suffers.set(true);
    world.run(ground.setting.faults_for)?;
    world.stop_faults();
    (0..ground.taken.get()).for_each(|_| world.count_fault());
    bounds::judge(world, &ground.setting)?;
    ground.heals.set(true);
    mend(world, plan);
    settle(world, ground, WHOLE_FOR)?;
    for _ in 0..ground.setting.restores {
        restore(world, ground, &backup)?;
    }
    quiet(world, ground)?;
    // What is at rest is checked together with all that led to it. What was wrong before that says
    // more about why.
    audit(world, ground).or_else(|failure| judge(ground).and(Err(failure)))?;
    in_time(ground)?;
    bounds::judge(world, &ground.setting)
}

/// R20, as operators do it: clients and managers stand still while the KV is restored and all
/// storage nodes run, so that each of them is heard before anything is written; clients return in
/// the new timeline. Whole chains have the same data in all members, whichever of them the backup
/// takes for those that served.
fn restore(world: &mut World, ground: &Ground, backup: &MemoryEngine) -> Verdict {
    let users = world.role("user");
    let still = [world.role("kv"), world.role("manager"), users.clone()].concat();
    let stop = |node| FaultEvent {
        at: Duration::ZERO,
        lasts: if users.contains(&node) { RAISED_MAX } else { RESTORED_AFTER },
        fault: Fault::Kill(node),
    };
    world.set_plan(FaultPlan::of(still.into_iter().map(stop).collect()));
    world.run(RESTORED_AFTER / 2)?;
    ground.cluster.store.restore(backup);
    ground.confirmed.set(false);
    if 0 < ground.restored.get() {
        // Whoever starts now hears of an older timeline than its stores know.
        let node = world.role("storage")[0];
        world.crash_and_return(node);
    }
    world.run(RESTORED_AFTER / 2)?;
    ground.restored.set(ground.restored.get() + 1);
    if !world.run_while(RAISED_MAX, |_| ground.raised.get() < ground.restored.get())? {
        return fail(T96, format!("the timeline is not raised; {}", ground.reasons()));
    }
    world.stop_faults();
    settle(world, ground, WHOLE_FOR)
}

/// What a store refused to go on with stays refused until the node starts again.
fn mend(world: &mut World, plan: &FaultPlan) {
    for node in world.role("storage") {
        let failed = plan.events.iter().any(|event| match &event.fault {
            Fault::Disk(of, _) | Fault::Space(of, _) => *of == node,
            _ => false,
        });
        if failed {
            world.crash_and_return(node);
        }
    }
}

/// T96 and T97.
fn quiet(world: &mut World, ground: &Ground) -> Verdict {
    ground.quiet.set(true);
    let most = QUIET_MAX + ground.setting.operation_time;
    if !world.run_while(most, |_| ground.finished.get() < ground.setting.users)? {
        let waiting = ground.setting.users - ground.finished.get();
        return fail(T97, format!("{waiting} clients do not come to an end; {}", ground.waiting()));
    }
    if ground.setting.rots.is_some() {
        // A scrub finds what nobody has read, and repairs it.
        world.run(SCRUBBED_AFTER)?;
    }
    settle(world, ground, STILL_WHOLE_FOR)?;
    ground.found().map_or(Ok(()), |found| fail(T99, found))
}

/// All chains are whole for a while.
fn settle(world: &mut World, ground: &Ground, lasts: Duration) -> Verdict {
    let end = world.sim().now() + WHOLE_MAX;
    loop {
        if !world
            .run_while(end.saturating_since(world.sim().now()), |_| unwhole(ground).is_some())?
        {
            let why = unwhole(ground);
            let reasons = ground.reasons();
            let what = format!("{why:?} after {WHOLE_MAX:?}: {reasons}; {}", ground.waiting());
            return fail(T96, what);
        }
        if !world.run_while(lasts, |_| unwhole(ground).is_none())? {
            return Ok(());
        }
    }
}

/// Why not all chains are served by all of their members. Looked at at every step of a world, so
/// that it is short.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "for people, by its `Debug`")]
enum Unwhole {
    NobodyFollows,
    Chains(usize),
    /// An operator still undoes what it did.
    Undoes,
    /// No primary says that they are, since faults have stopped.
    Unconfirmed,
    Node(NodeId, NodeState),
    Members(ChainId, ChainVersion, usize),
    Member(ChainId, ChainVersion, Member),
}

fn unwhole(ground: &Ground) -> Option<Unwhole> {
    let Some(routing) = ground.routing() else { return Some(Unwhole::NobodyFollows) };
    if routing.chains.len() < ground.setting.chains.len() {
        return Some(Unwhole::Chains(routing.chains.len()));
    }
    if ground.heals.get() && !ground.undone.get() {
        return Some(Unwhole::Undoes);
    }
    // What the follower shows may be from before.
    if ground.heals.get() && !ground.confirmed.get() {
        return Some(Unwhole::Unconfirmed);
    }
    let mut nodes = routing.nodes.iter();
    if let Some((node, info)) = nodes.find(|(_, info)| info.state != NodeState::Alive) {
        return Some(Unwhole::Node(*node, info.state));
    }
    routing.chains.iter().find_map(|(&chain, info)| {
        let count = info.members.len();
        if ground.members_of(chain).is_some_and(|expected| count != expected) {
            return Some(Unwhole::Members(chain, info.version, count));
        }
        let member = info.members.iter().find(|member| member.state != PublicState::Serving);
        member.map(|member| Unwhole::Member(chain, info.version, *member))
    })
}

/// T90 to T93, and T97.
fn judge(ground: &Ground) -> Verdict {
    ground.cluster.verdict()?;
    for (index, history) in ground.histories.iter().enumerate() {
        named(index, history.with(chunks::chunk_linearizable))?;
    }
    in_time(ground)
}

/// T97. Operations of killed clients have nobody to end them, and a frozen client ends nothing.
fn in_time(ground: &Ground) -> Verdict {
    let most = ground.setting.operation_time + user::LATE_MAX;
    let is_late = |operation: &&chunks::ChunkOperation| match operation.end {
        End::Returned { at, .. } | End::Failed { at } | End::Unknown { at } => {
            most < at.saturating_since(operation.invoked)
        }
        End::Pending => false,
    };
    for (index, history) in ground.histories.iter().enumerate() {
        let late = |all: &[chunks::ChunkOperation]| all.iter().find(is_late).cloned();
        if let Some(late) = history.with(late) {
            return fail(T97, format!("chunk {index}: {:?} took too long", late.call));
        }
    }
    Ok(())
}

fn named(index: usize, verdict: Verdict) -> Verdict {
    verdict.map_err(|mut failure| {
        failure.what = format!("chunk {index}: {}", failure.what);
        failure
    })
}

/// T94, T95 and T98.
fn audit(world: &mut World, ground: &Rc<Ground>) -> Verdict {
    ground.is_over.set(true);
    for node in world.role("storage") {
        world.sim().signal(node, Signal::Terminate);
    }
    if !world.run_while(AUDIT_MAX, |_| ground.audits.borrow().len() < ground.setting.nodes)? {
        let done = ground.audits.borrow().len();
        let ended = ground.ended();
        return fail(T98, format!("{done} nodes were looked at; ended: {ended:?}"));
    }
    ground.cluster.verdict()?;
    if let Some(found) = ground.found() {
        return fail(T99, found);
    }
    audit::judge(ground)
}
