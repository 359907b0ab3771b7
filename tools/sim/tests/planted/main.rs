//! A small replicated store with planted bugs: shows that the simulator finds what it is for.
//!
//! The store lives in this test alone, over the RPC layer and the files that ship. Each planted bug
//! removes or reorders one step; the checks that find it also guard the correct version. Seeds of
//! the correct version: `EMBERFS_SIM_SEEDS` says how many, `EMBERFS_SIM_SEED` runs one again.

#[cfg(not(debug_assertions))]
compile_error!("planted bugs are refused by builds without debug assertions");

mod arbiter;
mod bug;
mod client;
mod cluster;
mod log;
mod message;
mod replica;

use core::ops::RangeInclusive;

use bug::Bug;
use tools_sim::commit::commit;
use tools_sim::scenario::{FailureReport, Run, Scenario};
use tools_sim::{seeds, sweep};

/// Within so many seeds a bug must be found.
const SEEDS_FOR_A_BUG: u64 = 1_000;
/// Seeds of the correct version in `cargo test`; the campaign `planted-bugs` runs 20,000.
const SEEDS_OF_THE_CORRECT: u64 = 4_000;

macro_rules! scenarios {
    ($($name:ident = $bug:expr;)*) => {
        $(const $name: Scenario = Scenario {
            name: stringify!($name),
            about: "the store of this test",
            play: |seed| cluster::play(seed, $bug),
        };)*
    };
}

scenarios! {
    CORRECT = None;
    MISSING_FLUSH = Some(Bug::MissingFlush);
    ACK_BEFORE_DURABLE = Some(Bug::AckBeforeDurable);
    ACK_BEFORE_REPLICATION = Some(Bug::AckBeforeReplication);
    DOUBLE_APPLY = Some(Bug::DoubleApply);
    VOLATILE_DEDUP = Some(Bug::VolatileDedup);
    STALE_REPLY = Some(Bug::StaleReply);
    PLACE_REUSED = Some(Bug::PlaceReusedBeforeCompletion);
    WALL_CLOCK = Some(Bug::LeaseByWallClock);
    NO_LEASE = Some(Bug::ReadWithoutLease);
    TORN_TAIL = Some(Bug::TornTailTaken);
    EXCLUDED_ELECTED = Some(Bug::ExcludedElected);
}

static CORRECT_VERSION: Scenario = CORRECT;
static PLANTED: [(Bug, Scenario); Bug::ALL.len()] = [
    (Bug::MissingFlush, MISSING_FLUSH),
    (Bug::AckBeforeDurable, ACK_BEFORE_DURABLE),
    (Bug::AckBeforeReplication, ACK_BEFORE_REPLICATION),
    (Bug::DoubleApply, DOUBLE_APPLY),
    (Bug::VolatileDedup, VOLATILE_DEDUP),
    (Bug::StaleReply, STALE_REPLY),
    (Bug::PlaceReusedBeforeCompletion, PLACE_REUSED),
    (Bug::LeaseByWallClock, WALL_CLOCK),
    (Bug::ReadWithoutLease, NO_LEASE),
    (Bug::TornTailTaken, TORN_TAIL),
    (Bug::ExcludedElected, EXCLUDED_ELECTED),
];

/// The first of `seeds` that fails, as far as threads tell.
fn search(scenario: &'static Scenario, mut seeds: RangeInclusive<u64>) -> (u64, Option<Run>) {
    let next = || seeds.next().map(|seed| (scenario, seed));
    let mut tally = sweep::sweep(sweep::threads(), next, |_, _| {});
    (tally.runs, tally.failures.pop())
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for (bug, scenario) in &PLANTED {
        match search(scenario, 0..=SEEDS_FOR_A_BUG - 1) {
            (runs, Some(run)) => {
                let failure = run.failure.expect("a failed run says why");
                println!("{bug:?}: found after {runs} seeds (seed {}) by {failure}", run.seed);
            }
            (runs, None) => {
                println!("{bug:?}: NOT FOUND in {runs} seeds");
                missed.push(bug);
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The command that runs `seed` of the correct version and nothing else; the name of the test is
/// taken from the test, so it cannot go stale.
fn replay(seed: u64) -> String {
    let path = core::any::type_name_of_val(&the_correct_version_passes);
    let test = path.rsplit("::").next().unwrap_or(path);
    format!("{}={seed} cargo test -p tools-sim --test planted {test}", seeds::SEED_VARIABLE)
}

#[test]
fn a_failure_names_the_command_that_replays_it() {
    let expected =
        "EMBERFS_SIM_SEED=7 cargo test -p tools-sim --test planted the_correct_version_passes";
    assert_eq!(replay(7), expected);
}

#[test]
fn the_correct_version_passes() {
    let (runs, failure) = search(&CORRECT_VERSION, seeds::chosen(SEEDS_OF_THE_CORRECT));
    if let Some(run) = failure {
        let report = FailureReport { run: &run, commit: &commit(), replay: &replay(run.seed) };
        panic!("the correct version failed after {runs} seeds\n{report}");
    }
    println!("the correct version passed {runs} seeds; {}=N sets N", seeds::SEEDS_VARIABLE);
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    for seed in 0..3 {
        let (one, two) = (CORRECT_VERSION.run(seed), CORRECT_VERSION.run(seed));
        assert_eq!(one.trace_hash, two.trace_hash, "seed {seed}");
        assert_ne!(one.trace_hash, CORRECT_VERSION.run(seed + 1).trace_hash, "seed {seed}");
    }
}
