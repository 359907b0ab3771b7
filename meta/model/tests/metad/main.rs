//! Random histories of the metadata service against the model, in simulation, on the store in
//! memory, with and without trouble of the store, and on redb through crashes.
//!
//! `EMBERFS_SIM_SEEDS` says how many seeds run besides those of every build.
#![expect(clippy::unwrap_used, reason = "a test")]

use core::cell::RefCell;
use core::fmt::Write as _;
use core::num::NonZero;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig};
use meta_kv::Faults;
use meta_kv::engine::memory::MemoryEngine;
use meta_model::{Step, Weights, generate, shrink, simpler};
use meta_protocol::Caller;

mod ground;
mod restarts;

use ground::{ROOT, Service, Stop, Story};

/// Steps of a history.
const STEPS: u32 = 250;
/// Attempts of a request in trouble.
const ATTEMPTS: u32 = 100;

/// Runs a history on a store in memory; what is wrong with it.
fn play(seed: u64, steps: &[Step], faults: Faults) -> Result<(), String> {
    let sim = Sim::new(SimConfig::new(seed));
    let node = sim.add_node(NodeSpec::new("metad"));
    let end = Rc::new(RefCell::new(None));
    let (told, mut story) = (end.clone(), Story::new(steps));
    sim.start(node, move |env| async move {
        let service = Service::open(&env, MemoryEngine::new(), faults, ATTEMPTS).await.unwrap();
        *told.borrow_mut() = Some(story.play(&service).await);
    });
    match sim.run_for(Duration::from_secs(24 * 3600)) {
        Ok(()) => {}
        Err(failure) => return Err(format!("{failure:?}")),
    }
    match end.take() {
        Some(Ok(())) => Ok(()),
        Some(Err(Stop::Wrong(why))) => Err(why),
        Some(Err(Stop::Dead)) => Err("a request has no answer".into()),
        None => Err("the history did not end".into()),
    }
}

/// Fails with the smallest history found.
fn shrunk(
    name: &str,
    seed: u64,
    weights: Weights,
    play: impl Fn(u64, &[Step]) -> Result<(), String>,
) {
    let steps = generate(seed, STEPS, weights, &ROOT);
    let Err(first) = play(seed, &steps) else { return };
    let small = shrink(&steps, simpler, |steps| play(seed, steps).is_err());
    let why = play(seed, &small).expect_err("what shrank still fails");
    let mut text = String::new();
    for Step { id, client, request } in &small {
        let Caller { uid, gid, groups, .. } = &request.caller;
        let operation = &request.operation;
        writeln!(text, "  {id}: client {client}, {uid} {gid} {groups:?}: {operation:?}").unwrap();
    }
    panic!("seed {seed}, {weights:?}, {name}\n{text}{why}\n--- at first: {first}");
}

fn check(seed: u64, weights: Weights, faults: Faults) {
    shrunk(&format!("{faults:?}"), seed, weights, |seed, steps| play(seed, steps, faults));
}

/// Seeds of every build, and those that were asked for.
fn seeds(fixed: u64) -> Range<u64> {
    let more = std::env::var("EMBERFS_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    0..fixed + more.unwrap_or(0)
}

const NO_FAULTS: Faults = Faults {
    conflict: 0,
    too_old: 0,
    lost_applied: 0,
    lost_dropped: 0,
    lost_late: 0,
    unavailable: 0,
    late_max: Duration::ZERO,
    latency_max: Duration::ZERO,
};

#[test]
fn names_are_as_posix_says() {
    let weights = Weights { names: 1, attributes: 0, files: 0, locks: 0 };
    seeds(60).for_each(|seed| check(seed, weights, NO_FAULTS));
}

#[test]
fn attributes_are_as_posix_says() {
    let weights = Weights { names: 40, attributes: 60, files: 0, locks: 0 };
    seeds(60).for_each(|seed| check(seed, weights, NO_FAULTS));
}

#[test]
fn files_are_as_posix_says() {
    let weights = Weights { names: 30, attributes: 10, files: 60, locks: 0 };
    seeds(60).for_each(|seed| check(seed, weights, NO_FAULTS));
}

#[test]
fn locks_are_as_linux_says() {
    let weights = Weights { names: 15, attributes: 0, files: 5, locks: 80 };
    seeds(40).for_each(|seed| check(seed, weights, NO_FAULTS));
}

const TROUBLE: Faults = Faults {
    conflict: 60,
    too_old: 20,
    lost_applied: 30,
    lost_dropped: 30,
    lost_late: 20,
    unavailable: 20,
    late_max: Duration::from_millis(300),
    latency_max: Duration::from_millis(5),
};

#[test]
fn trouble_of_the_store_is_not_seen() {
    seeds(40).for_each(|seed| check(seed, Weights::ALL, TROUBLE));
}

/// A history of a campaign: every third on redb through crashes, every third in trouble.
fn campaign_history(seed: u64) {
    let kinds = [
        Weights::ALL,
        Weights { names: 1, attributes: 0, files: 0, locks: 0 },
        Weights { names: 40, attributes: 60, files: 0, locks: 0 },
        Weights { names: 30, attributes: 10, files: 60, locks: 0 },
        Weights { names: 15, attributes: 0, files: 5, locks: 80 },
    ];
    let weights = kinds[usize::try_from(seed / 3 % 5).expect("few")];
    match seed % 3 {
        0 => shrunk("on redb", seed, weights, |seed, steps| restarts::play(seed, steps).map(drop)),
        1 => check(seed, weights, TROUBLE),
        _ => check(seed, weights, NO_FAULTS),
    }
}

/// `cargo x campaign meta` says by `EMBERFS_META_SEEDS` which ones, as `A..B`.
#[test]
fn histories_of_a_campaign() {
    let chosen = std::env::var("EMBERFS_META_SEEDS").ok();
    let range = chosen.as_deref().map(|text| text.split_once("..").expect("a range: A..B"));
    let number = |text: &str| text.parse::<u64>().expect("a seed");
    let range = range.map_or(0..15, |(first, end)| number(first)..number(end));
    let next = AtomicU64::new(range.start);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if range.end <= seed {
                        return;
                    }
                    campaign_history(seed);
                }
            });
        }
    });
    println!("operations judged: {}", (range.end - range.start) * u64::from(STEPS));
}
