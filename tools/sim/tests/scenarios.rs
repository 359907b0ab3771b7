//! Every scenario on fixed and on fresh seeds, and the promise that a seed is all there is.

use std::process::Command;

use tools_sim::commit::commit;
use tools_sim::scenario::{FailureReport, Scenario};
use tools_sim::{seeds, sweep};

/// Seeds that every change runs.
const FIXED: core::ops::Range<u64> = 0..20;
/// Seeds that nobody has run before.
const FRESH: usize = 10;

/// Runs all seeds of every scenario and prints what anyone needs to see a failure again.
fn all_pass(list: &[u64]) {
    let jobs = list.iter().flat_map(|&seed| Scenario::all().iter().map(move |s| (s, seed)));
    let mut jobs: Vec<_> = jobs.collect();
    let tally = sweep::sweep(sweep::threads(), || jobs.pop(), |_, _| {});
    if let Some(run) = tally.failures.first() {
        let report = FailureReport { run, commit: &commit(), replay: &run.replay() };
        panic!("a check failed\n{report}");
    }
    assert_eq!(usize::try_from(tally.runs), Ok(list.len() * Scenario::all().len()));
    println!("{} worlds, {} operations", tally.runs, tally.operations);
}

#[test]
fn fixed_seeds_pass() {
    all_pass(&FIXED.collect::<Vec<_>>());
}

#[test]
fn fresh_seeds_pass() {
    let fresh = seeds::fresh(FRESH).expect("the system has random bytes");
    println!("fresh seeds: {fresh:?}; replay: cargo x sim --seed SEED");
    all_pass(&fresh);
}

fn hashes(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output();
    let done = done.expect("the simulator starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("plain text")
}

#[test]
fn a_seed_gives_the_same_trace_in_every_process() {
    let range = ["hash", "--seeds", "0..4"];
    let (one, two) = (hashes(&range), hashes(&range));
    assert_eq!(one, two, "T10: nothing but the seed reaches a world");
    for scenario in Scenario::all() {
        let of = |seed| {
            format!(
                "seed {seed} {} trace hash {:016x}",
                scenario.name,
                scenario.run(seed).trace_hash
            )
        };
        assert!(one.contains(&of(0)) && one.contains(&of(3)), "T10: {one}");
    }
    let mut lines: Vec<&str> = one.lines().filter_map(|line| line.split(' ').next_back()).collect();
    let count = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), count, "different seeds and scenarios differ: {one}");
}

#[test]
fn wrong_arguments_end_with_2() {
    let wrong: [&[&str]; 4] =
        [&["--scenario", "none"], &["--minutes", "0"], &["hash", "--seeds", "4..4"], &["--what"]];
    for arguments in wrong {
        let done = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output();
        assert_eq!(done.expect("the simulator starts").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_replay_prints_what_is_needed() {
    let printed = hashes(&["--seed", "3", "--scenario", "disk"]);
    let replay = "replay      cargo x sim --seed 3 --scenario disk";
    for part in ["commit", "seed        3", "trace hash", "faults", "end of the trace", replay] {
        assert!(printed.contains(part), "{part} is missing: {printed}");
    }
}
