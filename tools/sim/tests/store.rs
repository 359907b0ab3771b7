//! The chunk store in numbers: crash cycles, and the random-operation model without and with
//! crashes.
//!
//! `cargo test` runs fixed seeds and a few fresh ones; the campaigns `store-crash` and
//! `store-model` say by [`CYCLES`] and [`OPERATIONS`] how much is enough.

use std::sync::atomic::{AtomicU64, Ordering};

use engine_runtime::sim::{Count, SimReport};
use tools_sim::commit::commit;
use tools_sim::scenario::{FailureReport, Run, Scenario};
use tools_sim::scenarios::store::{Shape, play_shape};
use tools_sim::{marks, seeds, sweep};

/// Lives that end badly: the variable that sets how many, and how many `cargo test` runs.
const CYCLES: (&str, u64) = ("EMBERFS_STORE_CYCLES", 2_000);
/// Operations of the model, half of them with crashes.
const OPERATIONS: (&str, u64) = ("EMBERFS_STORE_OPERATIONS", 20_000);
/// Of the worlds of `cargo test` so many have seeds that nobody has run before.
const FRESH: usize = 20;
/// Seeds that campaigns draw at once.
const BATCH: usize = 256;
/// Worlds between two lines of progress.
const PROGRESS: u64 = 500;
/// Worlds whose averages are what they must be.
const MANY: u64 = 50;

const CYCLES_PER_WORLD: u32 = 10;

/// Power loss and killed processes, also during recovery, on devices that fail in all ways.
static CRASHES: Scenario = Scenario {
    name: "store-crash",
    about: "lives of a store that end badly",
    play: |seed| play_shape(seed, &Shape { cycles: CYCLES_PER_WORLD, ..Shape::USUAL }),
};
/// Long lives that nothing disturbs.
static CALM: Scenario = Scenario {
    name: "store-model, calm",
    about: "random operations against the reference",
    play: |seed| play_shape(seed, &Shape::CALM),
};
/// Long lives that end badly.
static ROUGH: Scenario = Scenario {
    name: "store-model, rough",
    about: "random operations against the reference, with crashes",
    play: |seed| play_shape(seed, &Shape { cycles: 5, requests: 200, ..Shape::USUAL }),
};

fn number((variable, default): (&str, u64)) -> u64 {
    let Ok(text) = std::env::var(variable) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, found {text:?}"))
}

/// The seed of a replay; else fixed seeds and fresh ones, for ever.
fn seeds_of(fixed: u64) -> Box<dyn Iterator<Item = u64> + Send> {
    if std::env::var_os(seeds::SEED_VARIABLE).is_some() {
        return Box::new(seeds::chosen(1));
    }
    let batch = || seeds::fresh(BATCH).expect("the system has random bytes");
    Box::new((0..fixed).chain(core::iter::repeat_with(batch).flatten()))
}

/// Runs worlds until `enough` holds of their number and their operations; what happened in them.
fn search(
    scenario: &'static Scenario,
    test: &str,
    fixed: u64,
    enough: impl Fn(u64, u64) -> bool + Sync + Send,
) -> SimReport {
    let done = (AtomicU64::new(0), AtomicU64::new(0));
    let mut seeds = seeds_of(fixed);
    let mut begun = 0;
    let jobs = || {
        if enough(begun, done.1.load(Ordering::Relaxed)) {
            return None;
        }
        begun += 1;
        seeds.next().map(|seed| (scenario, seed))
    };
    let tally = sweep::sweep(sweep::threads(), jobs, |tally, _| {
        done.0.store(tally.runs, Ordering::Relaxed);
        done.1.store(tally.operations, Ordering::Relaxed);
        if tally.runs.is_multiple_of(PROGRESS) {
            eprintln!("{}: {} worlds, {} operations", scenario.name, tally.runs, tally.operations);
        }
    });
    if let Some(run) = tally.failures.first() {
        panic!("after {} worlds\n{}", tally.runs, report(run, test));
    }
    let hours = tally.report.elapsed.as_secs_f64() / 3600.0;
    println!(
        "{}: {} worlds, {hours:.2} hours, {} operations",
        scenario.name, tally.runs, tally.operations
    );
    for (name, count) in tally.report.faults().filter(|(_, count)| 0 < *count) {
        println!("  {count:>10}  {name}");
    }
    tally.report
}

fn report(run: &Run, test: &str) -> String {
    let seed = seeds::SEED_VARIABLE;
    let replay = format!("{seed}={} cargo test -p tools-sim --test store {test}", run.seed);
    FailureReport { run, commit: &commit(), replay: &replay }.to_string()
}

/// Marks of this process that belong to the store.
fn print_marks() {
    println!("marks");
    for (mark, count) in marks::table() {
        println!("  {count:>10}  {mark}");
    }
}

#[test]
fn crash_cycles() {
    let (_, usual) = CYCLES;
    let cycles = number(CYCLES);
    let worlds = cycles.div_ceil(u64::from(CYCLES_PER_WORLD));
    let fixed = usual.div_ceil(u64::from(CYCLES_PER_WORLD)) - FRESH as u64;
    let report = search(&CRASHES, "crash_cycles", fixed, |begun, _| worlds <= begun);
    let crashes = report.count(Count::Crash) + report.count(Count::Kill);
    println!("{crashes} crashes in {} cycles", worlds * u64::from(CYCLES_PER_WORLD));
    print_marks();
    // Nine lives in ten end so, and a third of the openings; a single world may be another.
    if MANY <= worlds && std::env::var_os(seeds::SEED_VARIABLE).is_none() {
        assert!(cycles <= crashes, "{crashes} crashes are not {cycles}");
    }
}

#[test]
fn the_model_holds_without_crashes() {
    let operations = number(OPERATIONS) / 2;
    let test = "the_model_holds_without_crashes";
    search(&CALM, test, 3, |_, done| operations <= done);
}

#[test]
fn the_model_holds_with_crashes() {
    let operations = number(OPERATIONS) / 2;
    search(&ROUGH, "the_model_holds_with_crashes", 3, |_, done| operations <= done);
}
