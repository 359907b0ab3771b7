//! Replicated storage as it ships, under faults: the scenario `storage` over many worlds, and what
//! they have reached.
//!
//! Worlds run in portions, each a process of the simulator, so that a campaign that is cut short
//! has lost little: `--sums FILE` keeps what was found so far, one line per campaign, and is judged
//! as a whole. A campaign has found something when a world fails; marks that are still rare are
//! printed, for they ask for more worlds, or for other ones.

mod marks;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::SIMULATOR_IN_SIM_PROFILE;
use super::row::{self, Columns, Row, Sums, date};
use super::store::KEEP_MEMORY;
use crate::{child, tree};

const COLUMNS: Columns =
    &[("worlds", "worlds"), ("operations", "operations"), ("faults", "faults")];

/// Worlds of one process: a minute or two.
const PORTION: u64 = 200;
/// Failures of one portion that are all printed; one is a bug, many are mostly the same one.
const FAILURES: &str = "5";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Worlds; 0 prints the sums only
    #[arg(long, default_value_t = 20_000)]
    worlds: u64,
    /// End with the portion in which so many minutes have passed
    #[arg(long)]
    minutes: Option<f64>,
    /// Run this seed and those that follow, instead of fresh ones
    #[arg(long, value_name = "SEED")]
    first: Option<u64>,
    /// Keep what was found in this file, and judge all that is in it
    #[arg(long, value_name = "FILE")]
    sums: Option<PathBuf>,
    /// Run this simulator instead of the one of this tree
    #[arg(long, value_name = "FILE", requires = "commit")]
    simulator: Option<PathBuf>,
    /// The commit that it is of
    #[arg(long, value_name = "HASH", requires = "simulator")]
    commit: Option<String>,
    /// Print the sums as JSON
    #[arg(long)]
    json: bool,
}

/// `Ok(false)` when a world failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = tree::root()?;
    let mut sums = Sums::read(COLUMNS, args.sums.as_deref())?;
    if 0 < args.worlds {
        let commit = args.commit.as_deref().unwrap_or_default();
        sums.rows.push(Row::new(COLUMNS, commit, &date()?, &args.command()));
    }
    let mut left = args.worlds;
    while 0 < left {
        let portion = left.min(PORTION);
        let done = args.worlds - left;
        let found = args.portion(&root, done..done + portion)?;
        let row = sums.rows.last_mut().context("a row was begun above")?;
        add(row, &found, args.commit.is_some())?;
        left -= portion;
        if !args.json {
            println!("{row}");
            stdout().flush().ok(); // progress is a courtesy
        }
        let over = args.minutes.is_some_and(|minutes| minutes * 60.0 <= row.seconds);
        if let Some(path) = &args.sums {
            sums.write(path)?;
        }
        if over {
            break;
        }
    }
    let judged = marks::judge(&sums.total().marks, &marks::of_tree(&root)?);
    if args.json {
        println!("{:#}", sums.to_json(Some(("rare", serde_json::json!(judged.rare)))));
    } else {
        print!("{}{judged}", sums.table());
    }
    Ok(sums.failures().next().is_none())
}

impl Args {
    /// What a person would type.
    fn command(&self) -> String {
        let seeds = self.first.map_or(String::new(), |first| format!(" --first {first}"));
        let time = self.minutes.map_or(String::new(), |minutes| format!(" --minutes {minutes}"));
        format!("cargo x campaign storage --worlds {}{seeds}{time}", self.worlds)
    }

    /// What one process of the simulator found, as it prints it.
    fn portion(&self, root: &Path, worlds: core::ops::Range<u64>) -> anyhow::Result<String> {
        let mut command = match &self.simulator {
            Some(path) => Command::new(path),
            None => child::cargo(SIMULATOR_IN_SIM_PROFILE),
        };
        command.args(["--scenario", "storage", "--json", "--failures", FAILURES]);
        match self.first {
            Some(first) => {
                let of = |done: u64| first.checked_add(done).context("seeds end at 2^64");
                let range = format!("{}..{}", of(worlds.start)?, of(worlds.end)?);
                command.args(["--seeds", &range]);
            }
            None => {
                command.args(["--worlds", &(worlds.end - worlds.start).to_string()]);
            }
        }
        command.env(KEEP_MEMORY.0, KEEP_MEMORY.1).current_dir(root);
        command.stderr(std::process::Stdio::inherit());
        let done = command.output().with_context(|| child::shown(&command))?;
        let printed = String::from_utf8(done.stdout).context("what the simulator printed")?;
        // It ends with 1 when it found something, and has printed what.
        ensure!(!printed.is_empty(), "`{}` ended with {}", child::shown(&command), done.status);
        Ok(printed)
    }
}

/// Adds what the simulator printed; it says of which commit the tree is, unless somebody knows
/// better.
fn add(row: &mut Row, printed: &str, is_named: bool) -> anyhow::Result<()> {
    let found = serde_json::from_str(printed).context("reading the simulator's JSON")?;
    if !is_named {
        let commit = row::text(&found, "commit")?;
        let same = row.commit.is_empty() || row.commit == commit;
        ensure!(same, "the tree is at {commit} now, not {}", row.commit);
        row.commit = commit;
    }
    let counts = [("worlds", "worlds"), ("operations", "operations"), ("faults_begun", "faults")];
    row.add_worlds(&found, &counts)?;
    row.seconds += found["real_seconds"].as_f64().context("no `real_seconds`")?;
    row.add_marks(&row::marks(&found)?);
    Ok(())
}

#[cfg(test)]
mod tests;
