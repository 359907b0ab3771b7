//! What people and programs are told.

use core::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tools_sim::commit::commit;
use tools_sim::marks;
use tools_sim::scenario::{FailureReport, Run, Scenario};
use tools_sim::sweep::{Tally, threads};

/// A run with everything needed to see it again.
pub(crate) fn failure(run: &Run) {
    print!("{}", FailureReport { run, commit: &commit(), replay: &run.replay() });
}

pub(crate) fn run_as_json(run: &Run) -> Value {
    json!({
        "commit": commit(),
        "scenario": run.scenario,
        "seed": run.seed,
        "trace_hash": format!("{:016x}", run.trace_hash),
        "operations": run.operations,
        "failed": run.failure.as_ref().map(ToString::to_string),
        "faults": run.plan.lines().map(str::trim).collect::<Vec<_>>(),
        "trace": run.trace.lines().collect::<Vec<_>>(),
        "replay": run.replay(),
    })
}

/// The scenarios with what each proves.
pub(crate) fn list(as_json: bool) -> anyhow::Result<bool> {
    let all = Scenario::all();
    if as_json {
        let rows: Vec<Value> =
            all.iter().map(|one| json!({ "name": one.name, "proves": one.about })).collect();
        println!("{}", serde_json::to_string_pretty(&rows).context("writing JSON")?);
    } else {
        for one in all {
            println!("{:<10} {}", one.name, one.about);
        }
    }
    Ok(true)
}

/// The sums of a search, and what it found.
pub(crate) fn tally(
    tally: &Tally,
    scenarios: &[&str],
    example: Option<u64>,
    took: Duration,
    as_json: bool,
) -> anyhow::Result<()> {
    let hours = tally.report.elapsed.as_secs_f64() / 3600.0;
    let seconds = took.as_secs_f64();
    let marks = marks::table();
    if as_json {
        let counts = |all: &mut dyn Iterator<Item = (&'static str, u64)>| -> Value {
            all.map(|(name, count)| (name.to_owned(), json!(count))).collect()
        };
        let text = serde_json::to_string_pretty(&json!({
            "scenarios": scenarios,
            "worlds": tally.runs,
            "threads": threads(),
            "real_seconds": seconds,
            "simulated_hours": hours,
            "commit": commit(),
            "operations": tally.operations,
            "faults_begun": tally.faults,
            "counts": counts(&mut tally.report.counts()),
            "faults": counts(&mut tally.report.faults()),
            "marks": marks,
            "failures": tally.failures.iter().map(run_as_json).collect::<Vec<_>>(),
        }));
        println!("{}", text.context("writing JSON")?);
        return Ok(());
    }
    let rate = tally.runs as f64 / seconds;
    println!("scenarios        {}", scenarios.join(", "));
    println!("seeds run        {} ({rate:.0} per second on {} threads)", tally.runs, threads());
    if let Some(seed) = example {
        println!("first seed       {seed}");
    }
    println!("simulated hours  {hours:.2}");
    println!("operations       {}", tally.operations);
    println!("faults begun     {}", tally.faults);
    rows("faults injected", tally.report.faults().filter(|(_, count)| 0 < *count));
    rows("marks reached", marks.iter().filter(|(_, n)| 0 < **n).map(|(m, n)| (m.as_str(), *n)));
    let never: Vec<&str> =
        marks.iter().filter(|(_, count)| **count == 0).map(|(mark, _)| mark.as_str()).collect();
    if !never.is_empty() {
        println!("marks never reached");
        never.iter().for_each(|mark| println!("  {mark}"));
    }
    println!("failures         {}", tally.failures.len());
    for run in &tally.failures {
        println!();
        failure(run);
    }
    Ok(())
}

fn rows<'a>(title: &str, rows: impl Iterator<Item = (&'a str, u64)>) {
    println!("{title}");
    for (name, count) in rows {
        println!("  {count:>12}  {name}");
    }
}
