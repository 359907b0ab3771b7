//! The metadata service beside its reference, in two ways: histories of one client at a time on one
//! service (`meta/model`), and worlds of the scenario `meta`, with clients, services and a served
//! store that die. Most operations come from histories, which cost less; what can go wrong between
//! several at a time only from worlds.
//!
//! Both run in portions, each a process, so that a campaign that is cut short has lost little:
//! `--sums FILE` keeps what was found, a line of JSON per campaign.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::SIMULATOR_IN_SIM_PROFILE;
use super::row::{Columns, Row, Sums, date};
use super::store::KEEP_MEMORY;
use crate::{child, tree};

/// Operations of histories are judged, those of worlds are asked.
const COLUMNS: Columns = &[
    ("histories", "histories"),
    ("judged", "their operations"),
    ("worlds", "worlds"),
    ("asked", "their operations"),
    ("faults", "faults"),
];

/// Histories of one process.
const HISTORIES: u64 = 2_000;
/// Worlds beside them: about the same time.
const WORLDS: u64 = 60;
/// Failures of one portion of worlds that are all printed.
const FAILURES: &str = "5";
/// The test that plays histories, and the variable that says which.
const HISTORY_TEST: &[&str] = &[
    "test",
    "--profile",
    "sim",
    "-p",
    "meta-model",
    "--test",
    "metad",
    "histories_of_a_campaign",
    "--",
    "--nocapture",
];
const HISTORY_SEEDS: &str = "EMBERFS_META_SEEDS";
/// What the test says last.
const SAID: &str = "operations judged: ";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Operations that are judged, of histories and worlds; 0 prints the sums only
    #[arg(long, default_value_t = 10_000_000)]
    operations: u64,
    /// End with the portion in which so many minutes have passed
    #[arg(long)]
    minutes: Option<f64>,
    /// Begin with this seed, instead of a fresh one
    #[arg(long, value_name = "SEED")]
    first: Option<u64>,
    /// Keep what was found in this file, and judge all that is in it
    #[arg(long, value_name = "FILE")]
    sums: Option<PathBuf>,
    /// Print the sums as JSON
    #[arg(long)]
    json: bool,
}

/// `Ok(false)` when an answer was wrong, or a check failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = tree::root()?;
    let mut sums = Sums::read(COLUMNS, args.sums.as_deref())?;
    let began = seconds()?;
    let mut seed = match args.first {
        Some(first) => first,
        None => fresh()?,
    };
    if 0 < args.operations {
        let commit = child::output(Command::new("git").args(["rev-parse", "HEAD"]))?;
        sums.rows.push(Row::new(COLUMNS, commit.trim(), &date()?, &args.command()));
    }
    while let Some(row) = sums.rows.last_mut().filter(|row| operations(row) < args.operations) {
        histories(&root, seed, row)?;
        worlds(&root, seed, row)?;
        row.seconds = seconds()? - began;
        seed = seed.checked_add(HISTORIES).context("seeds end at 2^64")?;
        if !args.json {
            println!("{row}");
        }
        let over = args.minutes.is_some_and(|minutes| minutes * 60.0 <= row.seconds);
        let failed = !row.failures.is_empty();
        if let Some(path) = &args.sums {
            sums.write(path)?;
        }
        if over || failed {
            break;
        }
    }
    match args.json {
        true => println!("{:#}", sums.to_json(None)),
        false => print!("{}", sums.table()),
    }
    Ok(sums.failures().next().is_none())
}

/// Operations of both kinds.
fn operations(row: &Row) -> u64 {
    row.get("judged") + row.get("asked")
}

impl Args {
    /// What a person would type.
    fn command(&self) -> String {
        let seeds = self.first.map_or(String::new(), |first| format!(" --first {first}"));
        let time = self.minutes.map_or(String::new(), |minutes| format!(" --minutes {minutes}"));
        format!("cargo x campaign meta --operations {}{seeds}{time}", self.operations)
    }
}

/// A portion of histories; a wrong answer is told with its shrunk history.
fn histories(root: &Path, first: u64, row: &mut Row) -> anyhow::Result<()> {
    let end = first.checked_add(HISTORIES).context("seeds end at 2^64")?;
    let mut command = child::cargo(HISTORY_TEST);
    command.env(HISTORY_SEEDS, format!("{first}..{end}")).current_dir(root);
    let done = command.output().with_context(|| child::shown(&command))?;
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    match said(&printed) {
        Some(operations) if done.status.success() => {
            row.add("histories", HISTORIES);
            row.add("judged", operations);
            Ok(())
        }
        _ => {
            let errors = String::from_utf8_lossy(&done.stderr).into_owned();
            let wrong = printed.contains("FAILED") || errors.contains("FAILED");
            ensure!(wrong, "`{}` ended with {}: {errors}", child::shown(&command), done.status);
            print!("{printed}{errors}");
            let which = format!("{HISTORY_SEEDS}={first}..{end} cargo {}", HISTORY_TEST.join(" "));
            row.failures.push(which);
            Ok(())
        }
    }
}

/// The operations that a test has judged, of what it printed.
fn said(printed: &str) -> Option<u64> {
    let line = printed.lines().find_map(|line| line.split_once(SAID))?;
    line.1.trim().parse().ok()
}

/// A portion of worlds.
fn worlds(root: &Path, first: u64, row: &mut Row) -> anyhow::Result<()> {
    let end = first.checked_add(WORLDS).context("seeds end at 2^64")?;
    let mut command = child::cargo(SIMULATOR_IN_SIM_PROFILE);
    let range = format!("{first}..{end}");
    command.args(["--scenario", "meta", "--json", "--failures", FAILURES, "--seeds", &range]);
    command.env(KEEP_MEMORY.0, KEEP_MEMORY.1).current_dir(root);
    command.stderr(std::process::Stdio::inherit());
    let done = command.output().with_context(|| child::shown(&command))?;
    let printed = String::from_utf8(done.stdout).context("what the simulator printed")?;
    // It ends with 1 when it found something, and has printed what.
    ensure!(!printed.is_empty(), "`{}` ended with {}", child::shown(&command), done.status);
    add(row, &printed)
}

/// Adds what the simulator printed.
fn add(row: &mut Row, printed: &str) -> anyhow::Result<()> {
    let found = serde_json::from_str(printed).context("reading the simulator's JSON")?;
    let counts = [("worlds", "worlds"), ("operations", "asked"), ("faults_begun", "faults")];
    row.add_worlds(&found, &counts)
}

/// A seed that nobody has run before, with room for others behind it.
fn fresh() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    let mut source = std::fs::File::open("/dev/urandom").context("opening /dev/urandom")?;
    source.read_exact(&mut bytes).context("reading /dev/urandom")?;
    Ok(u64::from_le_bytes(bytes) >> 16)
}

/// Seconds since 1970: portions take minutes.
fn seconds() -> anyhow::Result<f64> {
    let text = child::output(Command::new("date").arg("+%s"))?;
    text.trim().parse().context("what `date` printed")
}

#[cfg(test)]
mod tests;
