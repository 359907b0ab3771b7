//! One seed again, with its faults and the end of its trace.

use anyhow::Context;
use serde_json::json;
use tools_sim::scenario::Scenario;

use crate::print;

/// Runs `seed` once in each scenario; `Ok(false)` when a check failed.
pub(crate) fn run(seed: u64, scenarios: &[Scenario], as_json: bool) -> anyhow::Result<bool> {
    let mut passed = true;
    let mut rows = Vec::new();
    for scenario in scenarios {
        let run = scenario.run(seed);
        passed &= run.failure.is_none();
        if as_json {
            rows.push(print::run_as_json(&run));
        } else {
            print::failure(&run);
            let verdict = if run.failure.is_none() { "passed" } else { "FAILED" };
            println!("result      {verdict}, {} operations\n", run.operations);
        }
    }
    if as_json {
        let text = serde_json::to_string_pretty(&json!({ "runs": rows, "passed": passed }));
        println!("{}", text.context("writing JSON")?);
    }
    Ok(passed)
}
