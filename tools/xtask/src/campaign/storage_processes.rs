//! What failures of storage nodes cost, with processes and files: the tests of `tools-emberfs` that
//! take figures, in full length, and their figures as a table.
//!
//! The tests fail when something that was acknowledged is lost, or an operation fails; that fails
//! the campaign. A goal that is a matter of speed is reported: the machine may be busy.

use std::fs;
use std::io::{Write, stdout};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::finding::Paint;
use crate::{child, tree};

#[cfg(test)]
mod tests;

/// Tells the tests how often they kill a head, and that all cases are wanted.
const KILLS: &str = "EMBERFS_STORAGE_KILLS";
/// Tells them where figures go, a document per line.
const REPORT: &str = "EMBERFS_STORAGE_REPORT";
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
    let report = std::env::temp_dir();
    let report = report.join(format!("emberfs-storage-processes-{}", std::process::id()));
    remove(&report)?;
    let mut command = child::cargo(TEST);
    command.env(KILLS, args.kills.to_string()).env(REPORT, &report);
    command.current_dir(tree::root()?);
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
    heads: Vec<Value>,
    catch_ups: Vec<Value>,
    balances: Vec<Value>,
    rollings: Vec<Value>,
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
                ("head", &mut figures.heads),
                ("catch_up", &mut figures.catch_ups),
                ("balance", &mut figures.balances),
                ("rolling", &mut figures.rollings),
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
            "nothing_lost_no_operation_failed": held,
            "goals_met": met,
            "head": self.heads,
            "catch_up": self.catch_ups,
            "balance": self.balances,
            "rolling": self.rollings,
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
            true => "nothing was lost, and no operation failed\n",
            false => "something was lost, or an operation failed: see the tests above\n",
        };
        text
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (field, name) in [("write_ms", "write"), ("read_ms", "read")] {
            let mut times = numbers(&self.heads, field);
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
        for figure in &self.catch_ups {
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
        rows.extend(self.balances.iter().map(balance));
        for figure in &self.rollings {
            let ms = |field: &str| figure[field].as_u64().unwrap_or_default();
            rows.push(Row {
                what: "rolling restart of three nodes, longest operation".to_owned(),
                found: format!("write {} ms, read {} ms", ms("write_ms"), ms("read_ms")),
                goal: None,
            });
        }
        rows
    }
}

fn numbers(figures: &[Value], field: &str) -> Vec<u64> {
    figures.iter().filter_map(|figure| figure[field].as_u64()).collect()
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
