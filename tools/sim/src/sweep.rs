//! Many seeds on all processors: each thread runs one world at a time, from beginning to end.
//!
//! Threads share nothing but the next seed and the sums; a world never leaves its thread, so a
//! sweep cannot change what a seed does (T10).

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use engine_runtime::sim::SimReport;

use crate::scenario::{Run, Scenario};

/// Sums over runs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Worlds that ended.
    pub runs: u64,
    /// Counters of all of them.
    pub report: SimReport,
    /// Operations of clients.
    pub operations: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// Runs that failed, in the order in which they were found.
    pub failures: Vec<Run>,
}

impl Tally {
    /// Adds one run.
    pub fn add(&mut self, run: Run) {
        self.runs += 1;
        self.report.add(&run.report);
        self.operations += run.operations;
        self.faults += run.faults;
        if run.failure.is_some() {
            self.failures.push(run);
        }
    }
}

/// Threads that this machine runs at once.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, core::num::NonZero::get)
}

/// Runs what `next` gives until it gives nothing or a run has failed; `done` hears of every run.
pub fn sweep(
    threads: usize,
    next: impl FnMut() -> Option<(&'static Scenario, u64)> + Send,
    done: impl FnMut(&Tally, &Run) + Send,
) -> Tally {
    sweep_until(1, threads, next, done)
}

/// Like [`sweep`], until so many runs have failed.
pub fn sweep_until(
    failures: usize,
    threads: usize,
    next: impl FnMut() -> Option<(&'static Scenario, u64)> + Send,
    done: impl FnMut(&Tally, &Run) + Send,
) -> Tally {
    let next = Mutex::new(next);
    let state = Mutex::new((Tally::default(), done));
    let failed = AtomicBool::new(false);
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            // Poisoned only when a thread died, which the scope reports after all have ended.
            let job = next.lock().unwrap_or_else(PoisonError::into_inner)();
            let Some((scenario, seed)) = job else { return };
            let run = scenario.run(seed);
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let (tally, done) = &mut *state;
            tally.add(run.clone());
            if failures <= tally.failures.len() {
                failed.store(true, Ordering::Relaxed);
            }
            done(tally, &run);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    state.into_inner().unwrap_or_else(PoisonError::into_inner).0
}
