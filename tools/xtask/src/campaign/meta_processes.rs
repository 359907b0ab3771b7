//! What removal of a big tree and deaths under load cost, with processes and files: the tests of
//! `tools-emberfs` that take figures, in full length, and their figures as a table.
//!
//! The tests fail when space does not come back to the byte, or an operation is lost or done twice;
//! that fails the campaign. A goal that is a matter of speed is reported: the machine may be busy.

use serde_json::Value;

use super::figures::{self, Figures, Kind, Row, numbers};

#[cfg(test)]
mod tests;

/// Tells the tests how many files a tree has.
const FILES: &str = "EMBERFS_META_TREE_FILES";
/// Tells them how often each kind of process is killed under load.
const KILLS: &str = "EMBERFS_META_KILLS";
/// One at a time: nothing else is to take the time of what is measured.
const TEST: &[&str] = &[
    "test",
    "-p",
    "tools-emberfs",
    "--test",
    "meta",
    "--",
    "--nocapture",
    "--test-threads",
    "1",
    "figures::",
];
/// Longest time that the call may take which removes a tree, ms.
const REMOVE_MS_MAX: u64 = 1_000;
/// Longest time until the space of a tree is back, by the limits of removal, seconds.
const BACK_SECONDS_MAX: [(&str, f64); 2] = [("default", 600.0), ("off", 120.0)];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files of a tree
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// How often a service is killed under load, and the key-value store likewise
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// `Ok(false)` when something was lost, or did not come back.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let set = |command: &mut std::process::Command| {
        command.env(FILES, args.files.to_string()).env(KILLS, args.kills.to_string());
    };
    figures::run(&KIND, set, args.json)
}

static KIND: Kind = Kind {
    name: "meta-processes",
    test: TEST,
    report: "EMBERFS_META_REPORT",
    figures: &["tree", "death", "load"],
    held: "nothing_lost_space_back",
    said: [
        "no operation was lost or done twice, and all space came back",
        "something was lost, or did not come back: see the tests above",
    ],
    rows,
};

fn rows(figures: &Figures) -> Vec<Row> {
    let mut rows: Vec<Row> = figures.of("tree").iter().flat_map(tree_rows).collect();
    for (kind, name) in [("service", "a service"), ("kv", "the key-value store")] {
        let of = |figure: &&Value| figure["of"] == kind;
        let mut times = numbers(figures.of("death").iter().filter(of), "longest_ms");
        times.sort_unstable();
        let (Some(worst), Some(median)) = (times.last(), times.get(times.len() / 2)) else {
            continue;
        };
        let loads = figures.of("load").iter().filter(of);
        let operations: u64 = numbers(loads, "operations").iter().sum();
        rows.push(Row {
            what: format!("death of {name}, longest operation, {} times", times.len()),
            found: format!("median {median} ms, worst {worst} ms; {operations} operations"),
            goal: None,
        });
    }
    rows
}

/// How long a tree took to go, for its caller and for its space.
fn tree_rows(figure: &Value) -> [Row; 2] {
    let limits = figure["limits"].as_str().unwrap_or("?");
    let count = |field: &str| figure[field].as_u64().unwrap_or_default();
    let kills = match count("kills") {
        0 => String::new(),
        kills => format!(", killed {kills} times"),
    };
    let what = format!("tree of {} files, limits {limits}{kills}", count("files"));
    let remove_ms = count("remove_ms");
    let back = figure["back_s"].as_f64().unwrap_or(f64::INFINITY);
    let back_goal = BACK_SECONDS_MAX.iter().find(|(name, _)| *name == limits);
    [
        Row {
            what: format!("{what}: removal returns"),
            found: format!("{remove_ms} ms"),
            goal: Some((format!("below {REMOVE_MS_MAX} ms"), remove_ms < REMOVE_MS_MAX)),
        },
        Row {
            what: format!("{what}: space is back"),
            found: format!("{} MiB after {back:.1} s", count("bytes") >> 20),
            goal: back_goal.map(|(_, max)| (format!("within {max:.0} s"), back <= *max)),
        },
    ]
}
