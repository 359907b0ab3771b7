//! Command line: arguments to a [`Plan`], events of a suite to table, progress and JSON.

use core::time::Duration;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::json::Document;
use crate::kv;
use crate::machine::Machine;
use crate::progress::Progress;
use crate::suite::{Event, Keys, Plan, Row, SUITES, Storage, Suite};
use crate::table::Table;

#[cfg(test)]
mod tests;

/// A measurement failed; the others are reported.
const EXIT_FAILED: u8 = 1;
/// `--require-goals` was given and a row is below its goal.
const EXIT_BELOW_GOAL: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  bench rpc                                    every row, 2 seconds each
  bench rpc --filter glommio-monoio            one pair of runtimes
  bench rpc --filter 4k/c1/q64 --seconds 20    one shape, longer
  bench rpc --json rpc.json                    also write what was measured as JSON
  bench store                                  the chunk store beside fio; 12 GiB of disk and memory
  bench store --filter loop/file --size 512M   the runtimes alone, on a loop device, little data
  bench kv --filter embedded --seconds 10      transactions in this process, longer
  bench kv --filter reopen --reopen-keys 1000000   opening a killed store, fewer keys
  bench --list                                 names of all rows

Exit codes: 0 measured; 1 a row could not be measured or a file not written;
            2 wrong arguments; 3 a row is below its goal (with --require-goals)";

/// Measures a layer beside its limit: both in the same run, in turns, medians of pairs.
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to measure.
    #[arg(value_name = "SUITE", required_unless_present_any = ["list", "kv_victim"],
        value_parser = suite_names())]
    suite: Option<String>,

    /// Seconds per row, shared by the subject and its limit; warm-up comes on top.
    #[arg(long, value_name = "N", default_value = "2", value_parser = seconds)]
    seconds: Duration,

    /// Write the results to FILE as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Only rows whose name contains SUBSTR.
    #[arg(long, value_name = "SUBSTR", default_value = "", hide_default_value = true)]
    filter: String,

    /// Folder on the disk to measure; files there have no name and vanish with the process
    /// [default: target, where there is one, else the folder for temporary files].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Folder in memory (tmpfs) for the files behind loop devices.
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    memory_dir: PathBuf,

    /// Data to write before it is read: a number with K, M or G.
    #[arg(long, value_name = "BYTES", default_value = "4G", value_parser = bytes)]
    size: u64,

    /// Most tasks at the same time (suite kv).
    #[arg(long, value_name = "N", default_value_t = Keys::default().tasks,
        value_parser = clap::value_parser!(u64).range(1..=TASKS_MAX))]
    tasks: u64,

    /// Keys of a store whose rate is measured (suite kv).
    #[arg(long, value_name = "N", default_value_t = Keys::default().stored,
        value_parser = clap::value_parser!(u64).range(KEYS_MIN..=KEYS_MAX))]
    keys: u64,

    /// Keys of a store that is opened again after its process was killed (suite kv).
    #[arg(long, value_name = "N", default_value_t = Keys::default().reopened,
        value_parser = clap::value_parser!(u64).range(KEYS_MIN..=KEYS_MAX))]
    reopen_keys: u64,

    /// Commit to the store in FILE until killed: what suite kv starts.
    #[arg(long, value_name = "FILE", hide = true)]
    kv_victim: Option<PathBuf>,

    /// Print the names of the rows and measure nothing.
    #[arg(long)]
    list: bool,

    /// End with exit code 3 when a row is below its goal.
    #[arg(long)]
    require_goals: bool,
}

/// Most tasks: a commit each in two full groups.
const TASKS_MAX: u64 = 2_048;
/// Fewest keys: every one of the most tasks has some of its own.
const KEYS_MIN: u64 = 10_000;
/// Most keys: some 40 GB of disk.
const KEYS_MAX: u64 = 100_000_000;

/// Shortest time per row: three pairs of slices that are longer than a connection's round trips.
const SECONDS_MIN: f64 = 0.1;
/// Longest time per row: an hour is enough for every drift of a machine to show.
const SECONDS_MAX: f64 = 3600.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{seconds} is not between {SECONDS_MIN} and {SECONDS_MAX}"))
    }
}

/// Fewest bytes of data: random reads of less say nothing about anything.
const SIZE_MIN: u64 = 64 << 20;
/// Most bytes of data: what a test disk may be asked for.
const SIZE_MAX: u64 = 1 << 40;
/// Data comes in whole chunks of the largest size.
const SIZE_UNIT: u64 = 64 << 20;

fn bytes(text: &str) -> Result<u64, String> {
    let shift = match text.as_bytes().last() {
        Some(b'k' | b'K') => 10,
        Some(b'm' | b'M') => 20,
        Some(b'g' | b'G') => 30,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no number of bytes"))?;
    let bytes = number.saturating_mul(1 << shift);
    if !(SIZE_MIN..=SIZE_MAX).contains(&bytes) {
        return Err(format!("{bytes} is not between {SIZE_MIN} and {SIZE_MAX}"));
    }
    Ok(bytes.next_multiple_of(SIZE_UNIT))
}

/// Built things are on the disk that somebody works with; elsewhere there may be no such folder.
fn default_dir() -> PathBuf {
    let target = PathBuf::from("target");
    if target.is_dir() { target } else { std::env::temp_dir() }
}

fn suite_names() -> PossibleValuesParser {
    PossibleValuesParser::new(
        SUITES.iter().map(|suite| clap::builder::PossibleValue::new(suite.name).help(suite.about)),
    )
}

/// Parses the arguments, runs what they say, and gives the exit code.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.kv_victim {
        return Err(anyhow::Error::msg(kv::victim(file, args.reopen_keys)));
    }
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| args.suite.as_deref().is_none_or(|name| name == suite.name))
        .collect();
    let storage = Storage {
        dir: args.dir.clone().unwrap_or_else(default_dir),
        memory_dir: args.memory_dir.clone(),
        bytes: args.size,
    };
    let keys = Keys { tasks: args.tasks, stored: args.keys, reopened: args.reopen_keys };
    let plan = Plan { seconds: args.seconds, filter: args.filter.clone(), storage, keys };
    if args.list {
        return list(&chosen, &plan);
    }
    let suite = chosen.first().context("clap accepts only names of suites")?;
    let names = plan.names(suite);
    anyhow::ensure!(
        !names.is_empty(),
        "no row of suite {} contains {:?}; see bench --list",
        suite.name,
        plan.filter
    );
    measure(args, suite, &plan, &names)
}

fn list(suites: &[&Suite], plan: &Plan) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for suite in suites {
        for name in plan.names(suite) {
            writeln!(out, "{} {name}", suite.name).context("standard output")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, suite: &Suite, plan: &Plan, names: &[String]) -> anyhow::Result<ExitCode> {
    let machine = Machine::read();
    if cfg!(debug_assertions) {
        eprintln!("bench: built without optimisation; these figures say nothing (use --release)");
    }
    let table = Table::new(names, suite.shown);
    println!("{}: {}", suite.name, suite.about);
    println!("{machine}; limit: {}\n", suite.limit);
    println!("{}", table.header());

    let mut rows: Vec<Row> = Vec::with_capacity(names.len());
    let mut failures: Vec<(String, String)> = Vec::new();
    let mut progress = Progress::new(names.len());
    (suite.run)(plan, &mut |event| match event {
        Event::Preparing(what) => progress.prepare(&what),
        Event::Starting(name) => progress.show(&name),
        Event::Measured(row) => {
            progress.clear();
            println!("{}", table.row(&row));
            rows.push(row);
        }
        Event::Failed { name, reason } => {
            progress.clear();
            eprintln!("bench: {name}: {reason}");
            failures.push((name, reason));
        }
    });
    progress.clear();

    let below: Vec<&Row> = rows.iter().filter(|row| row.goal_met() == Some(false)).collect();
    println!("\n{}", summary(&rows, below.len(), failures.len()));
    let mut code = ExitCode::SUCCESS;
    if args.require_goals && !below.is_empty() {
        code = ExitCode::from(EXIT_BELOW_GOAL);
    }
    if !failures.is_empty() {
        code = ExitCode::from(EXIT_FAILED);
    }
    if let Some(file) = &args.json {
        Document::new(suite, plan, &machine, &rows, &failures)
            .write(file)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(code)
}

fn summary(rows: &[Row], below: usize, failed: usize) -> String {
    let goals = rows.iter().filter(|row| row.goal_met().is_some()).count();
    let mut text = format!("{} rows; {} of {goals} goals met", rows.len(), goals - below);
    if below != 0 {
        text.push_str("; rows below their goal are marked with <");
    }
    if failed != 0 {
        text.push_str(&format!("; {failed} could not be measured"));
    }
    text
}
