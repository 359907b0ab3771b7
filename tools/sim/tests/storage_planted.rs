//! Bugs planted in the storage nodes that ship: the checks of the scenario `storage` find them, and
//! find nothing in the same worlds without a bug.
//!
//! A planted bug takes one step of a rule away (`engine_craq::planted`, and for managers
//! `mgmt_cluster::cluster::planted`) and holds for the whole process, so that tests take turns.
//! `cargo test` plants those that are found soon; `EMBERFS_PLANTED_BUG=all`, or the name of one,
//! plants others, each in up to `EMBERFS_SIM_SEEDS` worlds, and prints the seeds that found it: the
//! table of tools/docs/PLANTED.md, which also says why some are not found.

#[cfg(not(debug_assertions))]
compile_error!("planted bugs are refused by builds without debug assertions");

use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine_craq::planted::{self, Bug};
use mgmt_cluster::cluster::planted::{self as mistakes, Planted as Mistake};
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

/// Where a step is missing.
#[derive(Clone, Copy)]
enum Wrong {
    /// In storage nodes, or in their clients.
    Storage(Bug),
    /// In managers.
    Manager(Mistake),
}

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(bug) => bug.fmt(f),
            Self::Manager(mistake) => mistake.fmt(f),
        }
    }
}

/// All that can be planted.
fn all() -> impl Iterator<Item = Wrong> {
    let storage = Bug::SHIPPED.iter().copied().map(Wrong::Storage);
    storage.chain(Mistake::SHIPPED.iter().copied().map(Wrong::Manager))
}

/// Those that worlds have not shown, each with its reason in tools/docs/PLANTED.md: planted by name
/// alone.
const HIDDEN: &[Bug] = &[
    Bug::AbortedStreamStored,
    Bug::StartInherits,
    Bug::PendingsKept,
    Bug::AnyChainVersion,
    Bug::InheritedServed,
    Bug::AbortNotSent,
    Bug::NoLastOutcomes,
    Bug::OutcomesNotStored,
    Bug::ReportedBeforeDurable,
    Bug::RemovalForgotten,
    Bug::DroppedAfterSyncDone,
    Bug::ExtraChunksKept,
    Bug::DigestsIgnored,
    Bug::OldExecuted,
    Bug::ReserveNotKept,
    Bug::FencedAdmitted,
    Bug::LeaseFromReceipt,
    Bug::LeaseOfAnyVersion,
    Bug::DamageHidden,
    Bug::UpToDateRepeated,
    Bug::FenceNotAwaited,
    Bug::NotOvertaken,
];
/// The same of managers; their model test finds them.
const HIDDEN_MISTAKES: &[Mistake] = &[
    Mistake::PublishAtOnce,
    Mistake::RenewDemoted,
    Mistake::RenewInFlight,
    Mistake::InheritServing,
    Mistake::OldUpToDate,
];

fn is_hidden(wrong: &Wrong) -> bool {
    match wrong {
        Wrong::Storage(bug) => HIDDEN.contains(bug),
        Wrong::Manager(mistake) => HIDDEN_MISTAKES.contains(mistake),
    }
}

/// Those that `cargo test` plants: of chain changes, reads, resync and retries, each found within a
/// few worlds, by what was done and not by a chain that never becomes whole, which takes long.
const SOON: &[Bug] = &[
    Bug::PendingsGivenUp,
    Bug::PendingServed,
    Bug::ResyncNotFollowed,
    Bug::RequestNotForwarded,
    Bug::RetriedAnew,
];

/// Plants a bug for as long as it lives.
struct Planted(#[expect(dead_code, reason = "its end is what counts")] MutexGuard<'static, ()>);

impl Planted {
    fn new(wrong: Option<Wrong>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong {
            Some(Wrong::Storage(bug)) => planted::plant(Some(bug)),
            Some(Wrong::Manager(mistake)) => mistakes::plant(Some(mistake)),
            None => {}
        }
        Self(turn)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        planted::plant(None);
        mistakes::plant(None);
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
fn is_found(bug: Wrong, (ranges, seeds): (u64, u64)) -> bool {
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
    // A range without a find takes more worlds than all others.
    let median = usize::try_from(ranges / 2).ok().and_then(|middle| took.get(middle));
    println!("{bug:?}: found {} times of {ranges}, median {median:?}", took.len());
    !took.is_empty()
}

#[test]
fn planted_bugs_are_found() {
    let number = std::env::var(SEEDS_VARIABLE).ok();
    let seeds = number.map_or(SEEDS, |number| number.parse().expect("a number of worlds"));
    let (wanted, ranges): (Vec<Wrong>, u64) = match std::env::var(BUG_VARIABLE) {
        Err(_) => (SOON.iter().copied().map(Wrong::Storage).collect(), 1),
        Ok(name) => {
            let named = |wrong: &Wrong| match name.as_str() {
                "all" => !is_hidden(wrong),
                name => format!("{wrong:?}") == name,
            };
            (all().filter(named).collect(), RANGES)
        }
    };
    let known: Vec<Wrong> = all().collect();
    assert!(!wanted.is_empty(), "{BUG_VARIABLE} names no bug; there are {known:?}");
    let missed: Vec<Wrong> =
        wanted.into_iter().filter(|wrong| !is_found(*wrong, (ranges, seeds))).collect();
    assert!(missed.is_empty(), "not found in {seeds} worlds: {missed:?}");
}

#[test]
fn nothing_is_found_without_a_bug() {
    let _planted = Planted::new(None);
    if let (_, Some(run)) = search(0..CORRECT_SEEDS) {
        panic!("{}", FailureReport { run: &run, commit: &commit(), replay: &run.replay() });
    }
}
