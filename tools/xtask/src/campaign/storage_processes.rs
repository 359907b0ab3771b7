//! What failures of storage nodes cost, with processes and files: the tests of `tools-emberfs` that
//! take figures, in full length, and their figures as a table.
//!
//! The tests fail when something that was acknowledged is lost, or an operation fails; that fails
//! the campaign. A goal that is a matter of speed is reported: the machine may be busy.

use serde_json::Value;

use super::figures::{self, Figures, Kind, Row, numbers};

#[cfg(test)]
mod tests;

/// Tells the tests how often they kill a head, and that all cases are wanted.
const KILLS: &str = "EMBERFS_STORAGE_KILLS";
/// One at a time: nothing else is to take the time of what is measured.
const TEST: &[&str] = &[
    "test",
    "-p",
    "tools-emberfs",
    "--test",
    "storage",
    "--",
    "--nocapture",
    "--test-threads",
    "1",
    "figures::",
    "balance::",
    "kills::a_rolling_restart",
];
/// Longest time that one write may take when the head of its chain dies, ms.
const STALL_MS_MAX: u64 = 5_000;
/// How far the share of a replica may be from an even one, % of that.
const BALANCE_PERCENT_MAX: u64 = 5;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the head of a chain is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    kills: u64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// `Ok(false)` when something was lost, or an operation failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let set = |command: &mut std::process::Command| {
        command.env(KILLS, args.kills.to_string());
    };
    figures::run(&KIND, set, args.json)
}

static KIND: Kind = Kind {
    name: "storage-processes",
    test: TEST,
    report: "EMBERFS_STORAGE_REPORT",
    figures: &["head", "catch_up", "balance", "rolling"],
    held: "nothing_lost_no_operation_failed",
    said: [
        "nothing was lost, and no operation failed",
        "something was lost, or an operation failed: see the tests above",
    ],
    rows,
};

fn rows(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    for (field, name) in [("write_ms", "write"), ("read_ms", "read")] {
        let mut times = numbers(figures.of("head"), field);
        times.sort_unstable();
        let (Some(worst), Some(median)) = (times.last(), times.get(times.len() / 2)) else {
            continue;
        };
        let goal = (format!("worst below {STALL_MS_MAX} ms"), *worst < STALL_MS_MAX);
        rows.push(Row {
            what: format!("death of the head, longest {name}, {} times", times.len()),
            found: format!("median {median} ms, worst {worst} ms"),
            goal: (name == "write").then_some(goal),
        });
    }
    for figure in figures.of("catch_up") {
        let count = |field: &str| figure[field].as_u64().unwrap_or_default();
        let (changed, shipped) = (count("changed_bytes"), count("shipped_bytes"));
        rows.push(Row {
            what: format!("catch-up: {}", figure["changed"].as_str().unwrap_or("?")),
            found: format!(
                "{} KiB changed in {} chunks, {} KiB shipped in {}",
                changed >> 10,
                count("changed_chunks"),
                shipped >> 10,
                count("shipped_chunks")
            ),
            goal: None,
        });
    }
    rows.extend(figures.of("balance").iter().map(balance));
    for figure in figures.of("rolling") {
        let ms = |field: &str| figure[field].as_u64().unwrap_or_default();
        rows.push(Row {
            what: "rolling restart of three nodes, longest operation".to_owned(),
            found: format!("write {} ms, read {} ms", ms("write_ms"), ms("read_ms")),
            goal: None,
        });
    }
    rows
}

/// Shares of the replicas, and how far the worst of them is from an even one.
fn balance(figure: &Value) -> Row {
    let reads = figure["reads"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reads: Vec<u64> = reads.iter().filter_map(Value::as_u64).collect();
    let (all, count) = (reads.iter().sum::<u64>(), reads.len() as u64);
    // In 1/1000, rounded up: what misses the goal is not rounded into it.
    let off = |reads: &u64| ((reads * count).abs_diff(all) * 1_000).div_ceil(all.max(1));
    let worst = reads.iter().map(off).max().unwrap_or(0);
    let written = if figure["written"] == true { ", while written" } else { "" };
    let reads: Vec<String> = reads.iter().map(u64::to_string).collect();
    Row {
        what: format!("reads of each replica, {} readers{written}", figure["readers"]),
        found: format!("{}: {}.{} % off", reads.join(", "), worst / 10, worst % 10),
        goal: Some((format!("within {BALANCE_PERCENT_MAX} %"), worst <= 10 * BALANCE_PERCENT_MAX)),
    }
}
