//! A crash after every step of a store's life: each beginning, carrying out and end of an operation
//! of its device, under each way in which a crash can treat what was not flushed.
//!
//! The names of the steps show that the sequences which matter are among them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine_runtime::sim::CrashMode;
use tools_sim::scenarios::store::setting::Flavour;
use tools_sim::scenarios::store::steps::{End, History, crash, names};
use tools_sim::sweep;

/// Histories that are run: the variable that sets how many, and how many `cargo test` runs.
const HISTORIES: (&str, u64) = ("EMBERFS_STORE_HISTORIES", 2);
const MODES: [CrashMode; 3] = [CrashMode::LoseAll, CrashMode::KeepAll, CrashMode::PerSector];
/// Every so many steps the recovery is crashed after each of its first steps.
const AGAIN_EVERY: usize = 29;
/// Steps of a recovery.
const AGAIN_STEPS: usize = 25;

/// Steps that histories must have among them.
#[rustfmt::skip]
const NAMED: [&str; 25] = [
    // A store is opened: the mount generation, images of the life before, the first group.
    "opening: superblock begins", "opening: superblock ends", "opening: flush begins",
    "opening: flush is carried out", "opening: flush ends", "opening: group begins",
    "opening: group ends",
    // An update: data and group, one flush for both, then the caller is told.
    "working: data begins", "working: data ends", "working: group begins", "working: group ends",
    "working: write is carried out", "working: flush begins", "working: flush is carried out",
    "working: flush ends", "working: claim ends",
    // Commits that ride alone, and images that go home.
    "resting: group begins", "resting: group ends", "resting: flush ends",
    // A checkpoint, its flush, its superblock.
    "closing: checkpoint page begins", "closing: checkpoint page ends",
    "closing: flush is carried out",
    "closing: superblock begins", "closing: superblock ends", "closing: flush ends",
];

/// Chunks of all sizes, and many images, in turns; what the store lies on is for the seed to say.
fn histories() -> Vec<History> {
    let count =
        std::env::var(HISTORIES.0).map_or(HISTORIES.1, |text| text.parse().expect("a number"));
    let history = |seed: u64| match seed % 2 {
        1 => History { seed, flavour: Flavour::Mixed, requests: 24 },
        _ => History { seed, flavour: Flavour::Images, requests: 30 },
    };
    (1..=count).map(history).collect()
}

/// Every end of a history.
fn ends(steps: usize) -> Vec<End> {
    let mut ends = Vec::new();
    for step in 1..=steps {
        ends.extend(MODES.map(|mode| End { step, mode, again: None }));
        if step % AGAIN_EVERY == 0 {
            let mode = MODES[step / AGAIN_EVERY % MODES.len()];
            ends.extend((1..=AGAIN_STEPS).map(|again| End { step, mode, again: Some(again) }));
        }
    }
    ends
}

#[test]
fn a_crash_after_any_step_takes_nothing() {
    let mut found = Vec::new();
    let mut jobs = Vec::new();
    for history in histories() {
        let names = names(&history).unwrap_or_else(|why| panic!("{history:?}: {why}"));
        println!("{history:?}: {} steps", names.len());
        jobs.extend(ends(names.len()).into_iter().map(|end| (history, end)));
        found.extend(names);
    }
    for name in NAMED {
        let (phase, what) = name.split_once(": ").expect("a phase and a step");
        let is = |found: &&String| found.starts_with(phase) && found.contains(what);
        assert!(found.iter().any(|found| is(&found)), "no history has the step {name:?}");
    }
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((history, end)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let played = crash(history, *end);
            if let Err(why) = played.verdict {
                let tail = played.world.sim().trace_tail();
                failed.lock().expect("no thread panics").push((*history, *end, why, tail));
                next.store(jobs.len(), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..sweep::threads() {
            scope.spawn(work);
        }
    });
    if let Some((history, end, why, tail)) = failed.into_inner().expect("no thread panics").pop() {
        panic!("{history:?} {end:?}: {why}\n{tail}");
    }
    println!("{} crashes", jobs.len());
}
