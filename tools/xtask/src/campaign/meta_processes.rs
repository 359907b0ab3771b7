//! What removal of a big tree and deaths under load cost, with processes and files: the tests of
//! `tools-emberfs` that take figures, in full length, and their figures as a table.
//!
//! The tests fail when space does not come back to the byte, or an operation is lost or done twice;
//! that fails the campaign. A goal that is a matter of speed is reported: the machine may be busy.

use std::fs;
use std::io::{Write, stdout};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::finding::Paint;
use crate::{child, tree};

#[cfg(test)]
mod tests;

/// Tells the tests how many files a tree has.
const FILES: &str = "EMBERFS_META_TREE_FILES";
/// Tells them how often each kind of process is killed under load.
const KILLS: &str = "EMBERFS_META_KILLS";
/// Tells them where figures go, a document per line.
const REPORT: &str = "EMBERFS_META_REPORT";
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
    let report = std::env::temp_dir();
    let report = report.join(format!("emberfs-meta-processes-{}", std::process::id()));
    remove(&report)?;
    let mut command = child::cargo(TEST);
    command.env(FILES, args.files.to_string()).env(KILLS, args.kills.to_string());
    command.env(REPORT, &report).current_dir(tree::root()?);
    if args.json {
        // Standard output is for the document alone.
        command.stdout(std::io::stderr());
    }
    let held = child::succeeds(&mut command)?;
    let told = match fs::read_to_string(&report) {
        Ok(told) => told,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context(format!("reading {}", report.display())),
    };
    remove(&report)?;
    let figures = Figures::read(&told)?;
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{:#}", figures.document(held)).context("printing the figures")?;
    } else {
        write!(out, "{}", figures.table(held)).context("printing the figures")?;
    }
    Ok(held)
}

fn remove(report: &Path) -> anyhow::Result<()> {
    match fs::remove_file(report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format!("removing {}", report.display()))
        }
        _ => Ok(()),
    }
}

/// Figures of one kind each, in the order in which they were taken.
#[derive(Debug, Default)]
struct Figures {
    trees: Vec<Value>,
    deaths: Vec<Value>,
    loads: Vec<Value>,
}

/// A row of the table: what was measured, what came of it, and whether it is as it should be where
/// there is a goal.
struct Row {
    what: String,
    found: String,
    goal: Option<(String, bool)>,
}

impl Figures {
    /// Reads documents, one per line.
    fn read(text: &str) -> anyhow::Result<Self> {
        let mut figures = Self::default();
        for line in text.lines() {
            let figure: Value =
                serde_json::from_str(line).with_context(|| format!("a figure: {line}"))?;
            for (kind, into) in [
                ("tree", &mut figures.trees),
                ("death", &mut figures.deaths),
                ("load", &mut figures.loads),
            ] {
                if !figure[kind].is_null() {
                    into.push(figure[kind].clone());
                }
            }
        }
        Ok(figures)
    }

    fn document(&self, held: bool) -> Value {
        let met = self.rows().iter().all(|row| row.goal.as_ref().is_none_or(|goal| goal.1));
        json!({
            "nothing_lost_space_back": held,
            "goals_met": met,
            "tree": self.trees,
            "death": self.deaths,
            "load": self.loads,
        })
    }

    fn table(&self, held: bool) -> String {
        let rows = self.rows();
        let width = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
        let (what, found) =
            (width(|row| row.what.chars().count()), width(|row| row.found.chars().count()));
        let paint = Paint::stdout();
        let mut text = String::new();
        for row in &rows {
            let goal = row.goal.as_ref().map(|(goal, met)| match met {
                true => format!("  goal {goal}: met"),
                false => format!("  goal {goal}: {}", paint.bold("missed")),
            });
            let line = format!("{:<what$}  {:>found$}", row.what, row.found);
            text += &format!("{line}{}\n", goal.unwrap_or_default());
        }
        text += match held {
            true => "no operation was lost or done twice, and all space came back\n",
            false => "something was lost, or did not come back: see the tests above\n",
        };
        text
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.trees.iter().flat_map(tree_rows).collect();
        for (kind, name) in [("service", "a service"), ("kv", "the key-value store")] {
            let of = |figures: &[Value], field: &str| -> Vec<u64> {
                let own = figures.iter().filter(|figure| figure["of"] == kind);
                own.filter_map(|figure| figure[field].as_u64()).collect()
            };
            let mut times = of(&self.deaths, "longest_ms");
            times.sort_unstable();
            let (Some(worst), Some(median)) = (times.last(), times.get(times.len() / 2)) else {
                continue;
            };
            let operations: u64 = of(&self.loads, "operations").iter().sum();
            rows.push(Row {
                what: format!("death of {name}, longest operation, {} times", times.len()),
                found: format!("median {median} ms, worst {worst} ms; {operations} operations"),
                goal: None,
            });
        }
        rows
    }
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
