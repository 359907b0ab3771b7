//! Bugs planted between the metadata service that ships and its store: the checks of the scenario
//! `meta` find them, and find nothing in the same worlds without a bug.
//!
//! `cargo test` plants those that are found soon; `EMBERFS_PLANTED_BUG=all`, or the name of one,
//! plants others, each in up to `EMBERFS_SIM_SEEDS` worlds, and prints the seed that found it: the
//! table of tools/docs/PLANTED.md.

use tools_sim::commit::commit;
use tools_sim::scenario::{FailureReport, Run, Scenario};
use tools_sim::scenarios::meta::{Bug, play};
use tools_sim::sweep;

/// Names the bug to plant, or all of them.
const BUG_VARIABLE: &str = "EMBERFS_PLANTED_BUG";
/// Says how many worlds are enough.
const SEEDS_VARIABLE: &str = "EMBERFS_SIM_SEEDS";
/// Worlds of each bug that `cargo test` plants.
const SEEDS: u64 = 60;
/// Worlds that services without a bug pass.
const CORRECT_SEEDS: u64 = 12;

/// The scenario with a bug, and the checks that may find it.
fn finder(bug: Bug) -> (&'static Scenario, &'static [&'static str]) {
    macro_rules! planted {
        ($bug:ident) => {{
            static SCENARIO: Scenario = Scenario {
                name: concat!("meta, ", stringify!($bug)),
                about: "a planted bug",
                play: |seed| play(seed, Some(Bug::$bug)),
            };
            &SCENARIO
        }};
    }
    match bug {
        Bug::RecordNotWritten => (planted!(RecordNotWritten), &["T111", "T112", "T113", "T117"]),
        Bug::RecordNotRead => (planted!(RecordNotRead), &["T112", "T113", "T117"]),
        Bug::FenceNotRead => (planted!(FenceNotRead), &["T114", "T116", "no panic"]),
        Bug::FenceNotWritten => (planted!(FenceNotWritten), &["T114", "T116", "no panic"]),
        Bug::SlotsSnapshot => (planted!(SlotsSnapshot), &["T115", "T117"]),
        Bug::EmptySnapshot => (planted!(EmptySnapshot), &["T115", "T116", "T117"]),
        Bug::InodeSnapshot => (planted!(InodeSnapshot), &["T115", "T116", "T117", "T118", "T119"]),
        Bug::ParentsSnapshot => (planted!(ParentsSnapshot), &["T115", "T117"]),
        Bug::IdsNotReserved => (planted!(IdsNotReserved), &["T115", "T117"]),
        Bug::CountsNotAdded => (planted!(CountsNotAdded), &["T115", "T117"]),
        Bug::TimesNotRaised => (planted!(TimesNotRaised), &["T117"]),
        Bug::SideNotCleared => (planted!(SideNotCleared), &["T116", "T114", "T117"]),
        Bug::NotQueued => (planted!(NotQueued), &["T116"]),
        Bug::SessionsNotSeen => {
            (planted!(SessionsNotSeen), &["T115", "T116", "T117", "T118", "T120"])
        }
        Bug::SessionLocksNotWritten => (planted!(SessionLocksNotWritten), &["T116"]),
        Bug::LocksSnapshot => (planted!(LocksSnapshot), &["T117"]),
        Bug::CutNotWritten => (planted!(CutNotWritten), &["T116", "T117", "T119"]),
        Bug::CutNotDone => (planted!(CutNotDone), &["T119"]),
        Bug::OldHintRaises => (planted!(OldHintRaises), &["T117", "T118", "T119"]),
        Bug::MarkNotWritten => (planted!(MarkNotWritten), &["T116", "T120"]),
    }
}

/// Those that `cargo test` plants: each found within a few worlds.
const SOON: &[Bug] = &[
    Bug::RecordNotWritten,
    Bug::SlotsSnapshot,
    Bug::CountsNotAdded,
    Bug::NotQueued,
    Bug::LocksSnapshot,
    Bug::CutNotDone,
];

/// How many worlds were run, and the one that failed.
fn search(scenario: &'static Scenario, mut seeds: core::ops::Range<u64>) -> (u64, Option<Run>) {
    let next = || seeds.next().map(|seed| (scenario, seed));
    let mut tally = sweep::sweep(sweep::threads(), next, |_, _| {});
    (tally.runs, tally.failures.pop())
}

#[test]
fn planted_bugs_are_found() {
    let number = std::env::var(SEEDS_VARIABLE).ok();
    let seeds = number.map_or(SEEDS, |number| number.parse().expect("a number of worlds"));
    let wanted: Vec<Bug> = match std::env::var(BUG_VARIABLE) {
        Err(_) => SOON.to_vec(),
        Ok(name) => {
            let named = |bug: &Bug| name == "all" || format!("{bug:?}") == name;
            Bug::ALL.iter().copied().filter(named).collect()
        }
    };
    assert!(!wanted.is_empty(), "{BUG_VARIABLE} names no bug; there are {:?}", Bug::ALL);
    let mut missed = Vec::new();
    for bug in wanted {
        let (scenario, by) = finder(bug);
        let (runs, found) = search(scenario, 0..seeds);
        let seed = found.as_ref().map(|run| run.seed);
        let failure = found.and_then(|run| run.failure);
        let failure = failure.map(|failure| failure.to_string()).unwrap_or_default();
        let shown: String = failure.chars().take(160).collect();
        println!("{bug:?}: {runs} worlds, seed {seed:?}: {shown:?}");
        if !by.iter().any(|check| failure.contains(check)) {
            missed.push((bug, shown));
        }
    }
    assert!(missed.is_empty(), "not found by its checks in {seeds} worlds: {missed:?}");
}

#[test]
fn nothing_is_found_without_a_bug() {
    let scenario = Scenario::named("meta").expect("it is registered");
    if let (_, Some(run)) = search(scenario, 0..CORRECT_SEEDS) {
        panic!("{}", FailureReport { run: &run, commit: &commit(), replay: &run.replay() });
    }
}
