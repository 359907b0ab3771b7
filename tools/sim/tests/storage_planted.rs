//! Bugs planted in the storage nodes that ship: the checks of the scenario `storage` find them, and
//! find nothing in the same worlds without a bug.
//!
//! A planted bug takes one step of a rule away (`engine_craq::planted`) and holds for the whole
//! process, so that tests here take turns. `cargo test` plants those that are found soon;
//! `EMBERFS_PLANTED_BUG=all`, or the name of one, plants others, each in up to
//! `EMBERFS_SIM_SEEDS` worlds, and prints the seeds that found it: the table of tools/docs.
//!
//! Not planted yet: R2 forwarded before it is marked; R8 lease looked at on admission alone; R10 a
//! damaged store says that it is whole; R11 dropped after `SyncDone`; R13, R19 digests ignored;
//! R18 the reserve not kept; L1 a lease counted from the answer; L5b a stuck shard that reports; L6
//! an update of a revoked session; W2 one quota for all; W3 credit before the bytes are stored; W5
//! checksums computed anew; of the client an abandoned update not overtaken (E373), a number of its
//! own for each attempt (E372).

#[cfg(not(debug_assertions))]
compile_error!("planted bugs are refused by builds without debug assertions");

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine_craq::planted::{Bug, plant};
use tools_sim::commit::commit;
use tools_sim::scenario::{FailureReport, Run, Scenario};
use tools_sim::scenarios::storage;
use tools_sim::sweep;

/// Names the bug to plant, or all of them.
const BUG_VARIABLE: &str = "EMBERFS_PLANTED_BUG";
/// Says how many worlds are enough.
const SEEDS_VARIABLE: &str = "EMBERFS_SIM_SEEDS";
/// Worlds of each bug that `cargo test` plants.
const SEEDS: u64 = 60;
/// Worlds that nodes without a bug pass.
const CORRECT_SEEDS: u64 = 6;
/// Ranges of seeds in which a campaign looks for each bug, and the distance between two.
const RANGES: u64 = 5;
const RANGE: u64 = 100_000;

static STORAGE: Scenario = storage::SCENARIO;
static TURN: Mutex<()> = Mutex::new(());

/// Those that `cargo test` plants.
const SOON: &[Bug] = &[Bug::RepeatedExecuted, Bug::NeverAsk, Bug::PendingServed];

/// Plants a bug for as long as it lives.
struct Planted(#[expect(dead_code, reason = "its end is what counts")] MutexGuard<'static, ()>);

impl Planted {
    fn new(bug: Option<Bug>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        plant(bug);
        Self(turn)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// How many worlds were run, and the one that failed.
fn search(seeds: core::ops::Range<u64>) -> (u64, Option<Run>) {
    let mut seeds = seeds;
    let next = || seeds.next().map(|seed| (&STORAGE, seed));
    let mut tally = sweep::sweep(sweep::threads(), next, |_, _| {});
    (tally.runs, tally.failures.pop())
}

/// Whether the bug is found in each of some ranges of seeds; prints by what, and after how many.
fn is_found(bug: Bug, (ranges, seeds): (u64, u64)) -> bool {
    let _planted = Planted::new(Some(bug));
    let mut took = Vec::new();
    for range in 0..ranges {
        let first = range * RANGE;
        let (runs, found) = search(first..first + seeds);
        let Some(run) = found else {
            println!("{bug:?}: not in {runs} worlds from {first}");
            continue;
        };
        took.push(runs);
        let failure = run.failure.map(|failure| failure.to_string()).unwrap_or_default();
        let shown: String = failure.chars().take(120).collect();
        println!("{bug:?}: {runs} worlds from {first}, seed {}: {shown:?}", run.seed);
    }
    took.sort_unstable();
    let median = took.get(took.len() / 2);
    println!("{bug:?}: found {} times of {ranges}, median {median:?}", took.len());
    !took.is_empty()
}

#[test]
fn planted_bugs_are_found() {
    let number = std::env::var(SEEDS_VARIABLE).ok();
    let seeds = number.map_or(SEEDS, |number| number.parse().expect("a number of worlds"));
    let (wanted, ranges): (Vec<Bug>, u64) = match std::env::var(BUG_VARIABLE) {
        Err(_) => (SOON.to_vec(), 1),
        Ok(name) => {
            let named = |bug: &Bug| name == "all" || format!("{bug:?}") == name;
            (Bug::SHIPPED.iter().copied().filter(named).collect(), RANGES)
        }
    };
    assert!(!wanted.is_empty(), "{BUG_VARIABLE} names no bug; there are {:?}", Bug::SHIPPED);
    let missed = wanted.into_iter().filter(|bug| !is_found(*bug, (ranges, seeds)));
    let missed: Vec<Bug> = missed.collect();
    assert!(missed.is_empty(), "not found in {seeds} worlds: {missed:?}");
}

#[test]
fn nothing_is_found_without_a_bug() {
    let _planted = Planted::new(None);
    if let (_, Some(run)) = search(0..CORRECT_SEEDS) {
        panic!("{}", FailureReport { run: &run, commit: &commit(), replay: &run.replay() });
    }
}
