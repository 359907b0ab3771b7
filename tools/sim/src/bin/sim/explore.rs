//! Fresh seeds on all processors until time is up or a check fails.

use core::ops::Range;
use core::time::Duration;
use std::io::{IsTerminal, Write, stderr};

use tools_sim::scenario::Scenario;
use tools_sim::{seeds, sweep};

use crate::print;

/// Seeds that are drawn from the system at once: a second's worth.
const BATCH: usize = 256;
/// Time between two lines of progress: readable, and cheap.
const PROGRESS_PERIOD: Duration = Duration::from_millis(500);

/// Which seeds, and when to end.
pub(crate) enum Search {
    /// Fresh ones for so long in real time.
    Minutes(f64),
    /// So many fresh ones, each with every scenario.
    Worlds(u64),
    /// These.
    Seeds(Range<u64>),
}

/// Seeds one after the other, each with every scenario, until the search ends.
struct Source {
    search: Search,
    watch: Stopwatch,
    scenarios: Vec<&'static Scenario>,
    stock: Vec<u64>,
    /// Scenarios that the seed at hand was given to.
    given: usize,
    seed: Option<u64>,
    first: Option<u64>,
}

impl Source {
    fn new(search: Search, scenarios: Vec<&'static Scenario>) -> Self {
        let watch = Stopwatch::start();
        Self { search, watch, scenarios, stock: Vec::new(), given: 0, seed: None, first: None }
    }

    fn next(&mut self) -> Option<(&'static Scenario, u64)> {
        if let Search::Minutes(minutes) = self.search
            && Duration::from_secs_f64(minutes * 60.0) <= self.watch.elapsed()
        {
            return None;
        }
        if self.seed.is_none() || self.given == self.scenarios.len() {
            (self.seed, self.given) = (self.next_seed(), 0);
            self.first = self.first.or(self.seed);
        }
        self.given += 1;
        Some((self.scenarios[self.given - 1], self.seed?))
    }

    fn next_seed(&mut self) -> Option<u64> {
        match &mut self.search {
            Search::Minutes(_) => {}
            Search::Worlds(left) => *left = left.checked_sub(1)?,
            Search::Seeds(seeds) => return seeds.next(),
        }
        if self.stock.is_empty() {
            // A system without random bytes ends the search.
            self.stock = seeds::fresh(BATCH).ok()?;
        }
        self.stock.pop()
    }
}

/// Runs until the search ends or so many runs have failed; `Ok(false)` when one has.
pub(crate) fn run(
    search: Search,
    failures: usize,
    scenarios: &[Scenario],
    as_json: bool,
) -> anyhow::Result<bool> {
    let watch = Stopwatch::start();
    let scenarios: Vec<&'static Scenario> =
        scenarios.iter().filter_map(|scenario| Scenario::named(scenario.name)).collect();
    let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
    let mut source = Source::new(search, scenarios);
    let mut shown = Duration::ZERO;
    let visible = stderr().is_terminal() && !as_json;
    let tally = sweep::sweep_until(
        failures,
        sweep::threads(),
        || source.next(),
        |tally, _| {
            let now = watch.elapsed();
            if visible && shown + PROGRESS_PERIOD <= now {
                shown = now;
                let hours = tally.report.elapsed.as_secs_f64() / 3600.0;
                eprint!("\r{:>6.0} s  {} worlds  {hours:.2} hours", now.as_secs_f64(), tally.runs);
                stderr().flush().ok(); // progress is a courtesy
            }
        },
    );
    if visible {
        eprintln!();
    }
    anyhow::ensure!(0 < tally.runs, "no seed was run: has the system random bytes?");
    print::tally(&tally, &names, source.first, watch.elapsed(), as_json)?;
    Ok(tally.failures.is_empty())
}

/// Real time: how long to search is a matter of the person who waits.
struct Stopwatch(
    #[expect(clippy::disallowed_types, reason = "no Env here: the person at the terminal waits")]
    std::time::Instant,
);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "no Env here: the person at the terminal waits"
    )]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
