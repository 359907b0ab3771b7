//! What goes wrong in a world: a little of many things, and what only shows when several of them
//! come together.

use core::time::Duration;

use engine_types::{NodeId, Rng};

use super::setting::Setting;
use crate::fault::{Draw, Fault, FaultEvent, FaultPlan, Kind, LinkTrouble};
use crate::world::World;

/// Worlds in which a storage node and some clients are cut off together, permille.
const ISLANDS: u32 = 400;
/// Longer than a lease of 2 s, in milliseconds: who still serves then has none.
const ISLAND_MS: core::ops::RangeInclusive<u64> = 2_500..=8_000;
/// Shorter than a lease: what was sent before is taken up by a node that seems to be well.
const ISLAND_FROZEN_MS: core::ops::RangeInclusive<u64> = 500..=1_900;
/// Worlds in which payloads of clients take long, permille.
const NARROW: u32 = 300;
/// Bytes per second of such a link: a chunk of 64 KiB takes from 30 ms to a second.
const NARROW_BANDWIDTH: core::ops::RangeInclusive<u64> = 64 << 10..=2 << 20;

/// Connections that end in a world of clients that come and go: with answers under way, and with
/// payloads that are passed on.
const SEVERED: core::ops::RangeInclusive<u64> = 10..=40;
/// Bytes per second of clients there: a chunk of a MiB takes from a quarter of a second to 4.
const SLOW_BANDWIDTH: core::ops::RangeInclusive<u64> = 256 << 10..=4 << 20;
/// What an answer of a manager takes there, in milliseconds.
const FAR_MS: core::ops::RangeInclusive<u64> = 5..=120;

pub(super) fn plan(world: &World, setting: &Setting) -> FaultPlan {
    let random = world.sim().random("faults");
    let lasts = setting.faults_for;
    let nodes = world.role("storage");
    if let Some(rots) = setting.rots {
        return rot(world, &random, lasts, nodes[rots]);
    }
    let (kv, managers) = (world.role("kv"), world.role("manager"));
    let (all, users) = (world.nodes(), world.role("user"));
    let data = [nodes.clone(), users.clone()].concat();
    let asking = [managers.clone(), users.clone()].concat();
    let plan = FaultPlan::draw_some(
        &random,
        lasts,
        &[
            Draw::new(Kind::CrashAndReturn, &nodes).count(1..=6).lasts_ms(1..=6_000),
            Draw::new(Kind::KillAndRestart, &nodes).count(1..=6).lasts_ms(1..=2_000),
            Draw::new(Kind::FreezeAndWake, &nodes).count(1..=5).lasts_ms(10..=6_000),
            Draw::new(Kind::CrashAndReturn, &managers).lasts_ms(1..=15_000),
            Draw::new(Kind::FreezeAndWake, &managers).lasts_ms(10..=15_000),
            Draw::new(Kind::CrashAndReturn, &kv).lasts_ms(1..=5_000),
            Draw::new(Kind::KillAndRestart, &users).count(0..=4).lasts_ms(1..=2_000),
            Draw::new(Kind::FreezeAndWake, &users).lasts_ms(10..=8_000),
            Draw::new(Kind::OneWayCut, &asking).count(0..=6).lasts_ms(100..=3_000),
            Draw::new(Kind::ClockDrift { ppm_max: 4_900 }, all)
                .count(0..=6)
                .lasts_ms(5_000..=30_000),
            Draw::new(Kind::Partition, all).lasts_ms(20..=8_000),
            Draw::new(Kind::Partition, &data).lasts_ms(20..=8_000),
            Draw::new(Kind::OneWayCut, all).count(0..=6).lasts_ms(20..=8_000),
            Draw::new(Kind::OneWayCut, &nodes).count(1..=5).lasts_ms(20..=6_000),
            Draw::new(Kind::SlowLink, &data).count(0..=6).lasts_ms(50..=8_000).permille(1..=400),
            Draw::new(Kind::LossyLink, &data).count(0..=6).lasts_ms(50..=8_000).permille(10..=200),
            Draw::new(Kind::SlowDisk, &nodes).lasts_ms(50..=8_000),
            Draw::new(Kind::DiskErrors, &nodes).lasts_ms(20..=3_000).permille(1..=100),
            Draw::new(Kind::FlushErrors, &nodes).count(0..=1).lasts_ms(20..=3_000),
            Draw::new(Kind::DiskFull, &nodes).lasts_ms(50..=5_000),
            Draw::new(Kind::DiskGone, &nodes).count(0..=1).lasts_ms(100..=3_000),
        ],
    );
    plan.and(all_at_once(&random, &nodes, lasts))
        .and(islands(&random, (&nodes, &users), world.nodes(), lasts))
        .and(narrow_links(&random, (&nodes, &users), lasts))
        .and(if setting.comes_and_goes {
            severed(&random, (&nodes, &managers, &users), lasts)
        } else {
            FaultPlan::none()
        })
        .and(if setting.loses_resync { lost_resync(&random, &nodes) } else { FaultPlan::none() })
}

/// Bits rot in one node while it runs: other nodes with data do not fail, or what is left of a
/// chunk could be what is damaged. It does not start anew meanwhile: a store that finds its own
/// records damaged does not open, and is exchanged.
fn rot(world: &World, random: &Rng, lasts: Duration, node: NodeId) -> FaultPlan {
    let (managers, users) = (world.role("manager"), world.role("user"));
    let rots = [Draw::new(Kind::Rot, &[node]).count(1..=4).lasts_ms(200..=3_000).permille(2..=60)];
    let others = [
        Draw::new(Kind::FreezeAndWake, &[node]).count(0..=2).lasts_ms(10..=6_000),
        Draw::new(Kind::SlowDisk, &[node]).lasts_ms(50..=8_000),
        Draw::new(Kind::CrashAndReturn, &managers).lasts_ms(1..=15_000),
        Draw::new(Kind::FreezeAndWake, &managers).lasts_ms(10..=15_000),
        Draw::new(Kind::KillAndRestart, &users).lasts_ms(1..=2_000),
        Draw::new(Kind::FreezeAndWake, &users).lasts_ms(10..=8_000),
        Draw::new(Kind::Partition, &users).lasts_ms(20..=8_000),
    ];
    FaultPlan::draw(random, lasts, &rots).and(FaultPlan::draw_some(random, lasts, &others))
}

/// All storage nodes lose power or their processes together, now and then, and return one after
/// the other; killed processes at once, when nobody has noticed yet.
fn all_at_once(random: &Rng, nodes: &[NodeId], lasts: Duration) -> FaultPlan {
    let mut rng = random.fork("all at once");
    let mut events = Vec::new();
    if rng.chance(400) {
        let at = within(&mut rng, lasts);
        let killed = rng.chance(500);
        for &node in nodes {
            let ms = rng.range(1..=if killed { 400 } else { 4_000 });
            let lasts = Duration::from_millis(ms);
            let fault = if killed { Fault::Kill(node) } else { Fault::Crash(node) };
            events.push(FaultEvent { at, lasts, fault });
        }
    }
    FaultPlan::of(events)
}

/// A storage node and clients that it serves are cut off from everybody else for longer than a
/// lease, and the chain goes on without them; in half of the islands the node also freezes.
fn islands(
    random: &Rng,
    (nodes, users): (&[NodeId], &[NodeId]),
    all: &[NodeId],
    lasts: Duration,
) -> FaultPlan {
    let mut rng = random.fork("islands");
    let mut events = Vec::new();
    let count = if rng.chance(ISLANDS) { rng.range(1..=2) } else { 0 };
    for _ in 0..count {
        let node = *rng.pick(nodes).expect("there are some");
        let mut some = users.to_vec();
        rng.shuffle(&mut some);
        some.truncate(usize::try_from(rng.range(1..=2)).expect("small"));
        let island = [some, vec![node]].concat();
        let rest = all.iter().copied().filter(|other| !island.contains(other)).collect();
        // They begin early: what is cut off for less than a lease shows nothing.
        let at = within(&mut rng, lasts / 2);
        let cut_for = Duration::from_millis(rng.range(ISLAND_MS));
        if rng.chance(500) {
            let lasts = Duration::from_millis(rng.range(ISLAND_FROZEN_MS));
            events.push(FaultEvent { at, lasts, fault: Fault::Freeze(node) });
        }
        let fault = Fault::Partition(island, rest);
        events.push(FaultEvent { at, lasts: cut_for, fault });
    }
    FaultPlan::of(events)
}

/// Payloads of clients take long, so that they are given up half-way, and what passes them on goes
/// through the ends of links.
fn narrow_links(
    random: &Rng,
    (nodes, users): (&[NodeId], &[NodeId]),
    lasts: Duration,
) -> FaultPlan {
    let mut rng = random.fork("narrow links");
    let mut events = Vec::new();
    let count = if rng.chance(NARROW) { rng.range(2..=8) } else { 0 };
    for _ in 0..count {
        let from = *rng.pick(users).expect("there are some");
        let to = *rng.pick(nodes).expect("there are some");
        let bandwidth = rng.range(NARROW_BANDWIDTH);
        let fault = Fault::Link(from, to, LinkTrouble { bandwidth, ..LinkTrouble::default() });
        let at = within(&mut rng, lasts);
        let lasts = Duration::from_millis(rng.range(300..=6_000));
        events.push(FaultEvent { at, lasts, fault });
    }
    FaultPlan::of(events)
}

/// Connections end again and again and are made anew at once: those of clients to managers, which
/// are slow to answer, and those between storage nodes, to which clients are slow to send.
fn severed(
    random: &Rng,
    (nodes, managers, users): (&[NodeId], &[NodeId], &[NodeId]),
    lasts: Duration,
) -> FaultPlan {
    let mut rng = random.fork("severed");
    let mut events = Vec::new();
    let mut slow = |from, to, trouble| {
        events.push(FaultEvent {
            at: Duration::ZERO,
            lasts,
            fault: Fault::Link(from, to, trouble),
        });
    };
    for &user in users {
        let far = Duration::from_millis(rng.range(FAR_MS));
        for &manager in managers {
            slow(manager, user, LinkTrouble { latency: far, ..LinkTrouble::default() });
        }
        let bandwidth = rng.range(SLOW_BANDWIDTH);
        for &node in nodes {
            slow(user, node, LinkTrouble { bandwidth, ..LinkTrouble::default() });
        }
    }
    for _ in 0..rng.range(SEVERED) {
        let at = within(&mut rng, lasts);
        let (one, other) = (*rng.pick(nodes).expect("some"), *rng.pick(nodes).expect("some"));
        let user = *rng.pick(users).expect("there are some");
        let mut ends = |a, b| {
            events.push(FaultEvent { at, lasts: Duration::ZERO, fault: Fault::Sever(a, b) });
        };
        if one != other {
            ends(one, other);
        }
        managers.iter().for_each(|&manager| ends(user, manager));
    }
    FaultPlan::of(events)
}

/// A node starts anew, and while it is brought up to date the other nodes do not reach it, for
/// longer than it takes to give a link up; managers hear all of them: the chain stays as it is.
fn lost_resync(random: &Rng, nodes: &[NodeId]) -> FaultPlan {
    let mut rng = random.fork("lost resync");
    let node = *rng.pick(nodes).expect("there are some");
    let others = nodes.iter().copied().filter(|other| *other != node).collect();
    let ms = Duration::from_millis;
    let (killed, cut) = (rng.range(100..=800), rng.range(200..=1_500));
    FaultPlan::of(vec![
        FaultEvent { at: ms(killed), lasts: ms(rng.range(1..=200)), fault: Fault::Kill(node) },
        FaultEvent {
            at: ms(killed + cut),
            lasts: ms(rng.range(3_000..=4_500)),
            fault: Fault::Partition(vec![node], others),
        },
    ])
}

/// A moment of the time in which faults begin.
fn within(rng: &mut Rng, lasts: Duration) -> Duration {
    let ms = u64::try_from(lasts.as_millis()).expect("short");
    Duration::from_millis(rng.range(0..=ms))
}
