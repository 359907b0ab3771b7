//! Bugs planted in the chunk store that ships: the checks that guard it find each of them, and find
//! nothing in the same worlds without a bug.
//!
//! A planted bug takes one step of a rule away (`engine_store::planted`) and holds for the whole
//! process, so that tests here take turns.
//!
//! | rule | planted as |
//! | --- | --- |
//! | S1 | `FreedBeforeDurable` |
//! | S2 | `PartialSectorInPlace` |
//! | S3 | `ReleasedBeforeFlush` |
//! | S4 | `AppliedUnderReads`, `FreedUnderReads` |
//! | S5 | `MovedBeforeCopied`: what a write still under way needs is taken for done |
//! | S6 | `BlindRedo` |
//! | S7 | `GhostsTaken` |
//! | S8 | `RotTakenForTornTail` |
//! | S9 | `NotLoggedAgain`, `TargetsNotDumped`, `FencesNotDumped`, `RequestsNotDumped` |
//! | S10 | `CommitsNotLogged` |
//! | S11 | `ToldBeforeFlush`, `DataNotAwaited`, `LastGroupNotVerified` |
//! | S12 | `InPlaceOverUndurable` |
//! | S13 | `GapNotZeroed` |
//! | S14 | `ChecksumNotBound` |
//! | S15 | `ScrubIgnoresImages` |
//! | S16 | `MergeNotVerified`; fetching from another replica is not the store's |
//! | S17 | `RecordsUnbounded` |
//! | S18 | none: the type of a block's class ends at 4 MiB |
//! | S19 | `GrowsByClasses`; trimming the last chunk is not the store's |
//! | S20 | `TargetsNotDumped`: a store of many targets keeps the table of them |
//! | S-a | `AbortKeepsBlocks` |
//! | S-b | `AppliedBeforeDurable` |
//! | S-c | `BlindRedo`, `ScrubIgnoresImages` |
//! | S-d | `CheckpointNotFlushed`, `TailPassesImages` |
//! | S-e | `ToldBeforeFlush`, `FreedBeforeDurable` |
//! | S-f | `FreedUnderReads`, `MovedBeforeCopied` |
//! | R15, R17 | `RequestNotReplayed`, `AbortsNotLogged` |

#[cfg(not(debug_assertions))]
compile_error!("planted bugs are refused by builds without debug assertions");

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine_runtime::sim::CrashMode;
use engine_store::planted::{Bug, plant};
use tools_sim::commit::commit;
use tools_sim::scenario::{FailureReport, Run, Scenario};
use tools_sim::scenarios::store::setting::Flavour;
use tools_sim::scenarios::store::steps::{End, History, crash, names};
use tools_sim::scenarios::store::{self, Shape, play_shape};
use tools_sim::sweep;

/// Names the one bug to plant, by its name in [`Bug`].
const BUG_VARIABLE: &str = "EMBERFS_PLANTED_BUG";
/// Within so many seeds a bug must be found.
const SEEDS: u64 = 400;
/// Seeds of every finder that the store without a bug passes.
const CORRECT_SEEDS: u64 = 12;

static CRASHES: Scenario = store::SCENARIO;
static DAMAGE: Scenario = store::damage::SCENARIO;
static RING: Scenario = store::ring::SCENARIO;
static LIMITS: Scenario = store::limits::SCENARIO;
/// Lives long enough for the ring to turn several times.
static IMAGES: Scenario = Scenario {
    name: "store, many images",
    about: "the journal wraps around",
    play: |seed| {
        let flavour = Some(Flavour::Images);
        play_shape(seed, &Shape { cycles: 1, requests: 1200, flavour, ..Shape::USUAL })
    },
};
/// Crashes among many checkpoints.
static CHECKPOINTS: Scenario = Scenario {
    name: "store, checkpoints",
    about: "lives of a store that writes many images end badly",
    play: |seed| {
        let flavour = Some(Flavour::Images);
        play_shape(seed, &Shape { cycles: 10, requests: 100, flavour, ..Shape::USUAL })
    },
};
/// Segments are emptied for others.
static CROWDED: Scenario = Scenario {
    name: "store, crowded",
    about: "classes starve",
    play: |seed| {
        let flavour = Some(Flavour::Crowded);
        play_shape(seed, &Shape { cycles: 3, requests: 500, flavour, ..Shape::USUAL })
    },
};

static FINDERS: [&Scenario; 7] =
    [&CRASHES, &DAMAGE, &RING, &LIMITS, &IMAGES, &CHECKPOINTS, &CROWDED];

/// The scenario that finds a bug first.
const fn finder(bug: Bug) -> &'static Scenario {
    match bug {
        Bug::GhostsTaken | Bug::RotTakenForTornTail => &RING,
        Bug::MergeNotVerified => &DAMAGE,
        Bug::RecordsUnbounded | Bug::GrowsByClasses => &LIMITS,
        Bug::NotLoggedAgain | Bug::AppliedUnderReads | Bug::TailPassesImages => &IMAGES,
        Bug::CheckpointNotFlushed | Bug::InPlaceOverUndurable => &CHECKPOINTS,
        Bug::MovedBeforeCopied => &CROWDED,
        _ => &CRASHES,
    }
}

/// A bug for as long as this lives; the next test waits.
struct Planted(#[expect(dead_code, reason = "held for its turn")] MutexGuard<'static, ()>);

impl Planted {
    fn turn() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        Self(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// How many seeds were run, and the one that failed.
fn search(scenario: &'static Scenario, count: u64) -> (u64, Option<Run>) {
    let mut seeds = 0..count;
    let next = || seeds.next().map(|seed| (scenario, seed));
    let mut tally = sweep::sweep(sweep::threads(), next, |_, _| {});
    (tally.runs, tally.failures.pop())
}

#[test]
fn every_planted_bug_is_found() {
    let _turn = Planted::turn();
    let mut missed = Vec::new();
    let only = std::env::var(BUG_VARIABLE).ok();
    let wanted = |bug: &&Bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"));
    for &bug in Bug::ALL.iter().filter(wanted) {
        plant(Some(bug));
        let scenario = finder(bug);
        match search(scenario, SEEDS) {
            (runs, Some(run)) => {
                let failure = run.failure.expect("a failed run says why").to_string();
                let failure: String = failure.chars().take(100).collect();
                println!("{bug:?}: found after {runs} worlds of {}: {failure}", scenario.name);
            }
            (runs, None) => {
                println!("{bug:?}: NOT FOUND in {runs} worlds of {}", scenario.name);
                missed.push(bug);
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// A crash after each step of one history finds bugs that a crash at random finds in some worlds.
#[test]
fn a_crash_after_each_step_finds_bugs() {
    let _turn = Planted::turn();
    let histories = [1, 2, 3, 4].map(|seed| {
        let history = History { seed, flavour: Flavour::Mixed, requests: 24 };
        (history, names(&history).expect("it passes without a bug").len())
    });
    for (bug, mode) in [
        (Bug::ToldBeforeFlush, CrashMode::LoseAll),
        (Bug::LastGroupNotVerified, CrashMode::PerSector),
        (Bug::CommitsNotLogged, CrashMode::KeepAll),
        (Bug::CheckpointNotFlushed, CrashMode::PerSector),
    ] {
        plant(Some(bug));
        let all = histories.iter().flat_map(|&(history, steps)| {
            (1..=steps).map(move |step| (history, End { step, mode, again: None }))
        });
        let found = all.into_iter().find(|(history, end)| crash(history, *end).verdict.is_err());
        println!("{bug:?}: found by {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

#[test]
fn the_same_worlds_pass_without_a_bug() {
    let _turn = Planted::turn();
    for scenario in FINDERS {
        if let (_, Some(run)) = search(scenario, CORRECT_SEEDS) {
            let replay = format!("this test; {} of {}", run.seed, scenario.name);
            let report = FailureReport { run: &run, commit: &commit(), replay: &replay };
            panic!("{report}");
        }
    }
}
