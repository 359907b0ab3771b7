//! Fresh seeds on all processors until time is up or a check fails.

use core::time::Duration;
use std::io::{IsTerminal, Write, stderr};

use anyhow::Context;
use tools_sim::scenario::Scenario;
use tools_sim::{seeds, sweep};

use crate::print;

/// Seeds that are drawn from the system at once: a second's worth.
const BATCH: usize = 256;
/// Time between two lines of progress: readable, and cheap.
const PROGRESS_PERIOD: Duration = Duration::from_millis(500);

/// Runs for `minutes` of real time; `Ok(false)` when a check failed.
pub(crate) fn run(minutes: f64, scenarios: &[Scenario], as_json: bool) -> anyhow::Result<bool> {
    let watch = Stopwatch::start();
    let limit = Duration::from_secs_f64(minutes * 60.0);
    let scenarios: Vec<&'static Scenario> =
        scenarios.iter().filter_map(|scenario| Scenario::named(scenario.name)).collect();
    let mut stock = seeds::fresh(BATCH).context("drawing seeds")?;
    let first = stock.clone();
    let mut turn = 0;
    let next = || {
        if limit <= watch.elapsed() {
            return None;
        }
        if turn % scenarios.len() == 0 && turn != 0 {
            stock.pop();
        }
        if stock.is_empty() {
            stock = seeds::fresh(BATCH).ok()?;
        }
        turn += 1;
        Some((scenarios[(turn - 1) % scenarios.len()], *stock.last()?))
    };
    let mut shown = Duration::ZERO;
    let visible = stderr().is_terminal() && !as_json;
    let tally = sweep::sweep(sweep::threads(), next, |tally, _| {
        let now = watch.elapsed();
        if visible && shown + PROGRESS_PERIOD <= now {
            shown = now;
            let hours = tally.report.elapsed.as_secs_f64() / 3600.0;
            eprint!("\r{:>6.0} s  {} worlds  {hours:.2} hours", now.as_secs_f64(), tally.runs);
            stderr().flush().ok(); // progress is a courtesy
        }
    });
    if visible {
        eprintln!();
    }
    let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
    print::tally(&tally, &names, first.last().copied(), watch.elapsed(), as_json)?;
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
