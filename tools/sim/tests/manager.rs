//! Mistakes planted into the model nodes of the scenario `manager`: its checks find each of them,
//! and find nothing in the same worlds without a mistake.

use tools_sim::commit::commit;
use tools_sim::scenario::{FailureReport, Run, Scenario};
use tools_sim::scenarios::manager::{Bug, play};
use tools_sim::{seeds, sweep};

/// Within so many seeds a mistake must be found.
const SEEDS: u64 = 60;

/// The scenario with a mistake, and the checks that may find it.
const fn finder(bug: Bug) -> (&'static Scenario, &'static [&'static str]) {
    macro_rules! planted {
        ($bug:ident) => {{
            static SCENARIO: Scenario = Scenario {
                name: concat!("manager, ", stringify!($bug)),
                about: "a planted mistake",
                play: |seed| play(seed, Some(Bug::$bug)),
            };
            &SCENARIO
        }};
    }
    match bug {
        Bug::LeaseAfterEnd => (planted!(LeaseAfterEnd), &["T80", "T81", "T83"]),
        Bug::OldVersion => (planted!(OldVersion), &["T80", "T81"]),
        Bug::EarlyUpToDate => (planted!(EarlyUpToDate), &["T81"]),
        Bug::LeaseKeptOffline => (planted!(LeaseKeptOffline), &["T80", "T81"]),
        Bug::LeaseFromAnswer => (planted!(LeaseFromAnswer), &["T80", "T81", "T83"]),
        Bug::StartForgotten => (planted!(StartForgotten), &["T80", "T81"]),
        Bug::DrainedTooEarly => (planted!(DrainedTooEarly), &["T83"]),
        Bug::RevokedAdmitted => (planted!(RevokedAdmitted), &["T83"]),
    }
}

/// How many seeds were run, and the one that failed.
fn search(scenario: &'static Scenario, seeds: core::ops::Range<u64>) -> (u64, Option<Run>) {
    let mut seeds = seeds;
    let next = || seeds.next().map(|seed| (scenario, seed));
    let mut tally = sweep::sweep(sweep::threads(), next, |_, _| {});
    (tally.runs, tally.failures.pop())
}

#[test]
fn every_planted_mistake_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let (scenario, by) = finder(bug);
        let (runs, found) = search(scenario, 0..SEEDS);
        let failure = found.and_then(|run| run.failure);
        let failure = failure.map(|failure| failure.to_string()).unwrap_or_default();
        let shown: String = failure.chars().take(160).collect();
        println!("{bug:?}: {runs} worlds, found: {shown:?}");
        if !by.iter().any(|check| failure.contains(check)) {
            missed.push((bug, shown));
        }
    }
    assert!(missed.is_empty(), "not found by its checks: {missed:?}");
}

/// A campaign says by `EMBERFS_SIM_SEEDS` how many are enough; the two suites of all scenarios run
/// further ones.
#[test]
fn nothing_is_found_without_a_mistake() {
    let chosen = seeds::chosen(12);
    let scenario = Scenario::named("manager").expect("it is registered");
    if let (_, Some(run)) = search(scenario, *chosen.start()..*chosen.end() + 1) {
        panic!("{}", FailureReport { run: &run, commit: &commit(), replay: &run.replay() });
    }
}
