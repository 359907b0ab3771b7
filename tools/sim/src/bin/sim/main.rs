//! `sim`: runs scenarios over seeds, replays one, prints trace hashes.
//!
//! Exit codes: 0 nothing was found, 1 a check failed, 2 wrong arguments.

mod explore;
mod hash;
mod log;
mod print;
mod replay;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use tools_sim::scenario::Scenario;

const EXAMPLES: &str = "Examples:\n  cargo x sim --minutes 10\n  \
    cargo x sim --seed 42 --scenario disk\n  \
    cargo x sim --seed 42 --scenario storage --log info\n  cargo x sim hash --seeds 0..8\n\n\
    Exit codes: 0 nothing was found, 1 a check failed, 2 wrong arguments.";

/// Runs whole clusters under simulated faults, from seeds.
#[derive(Parser)]
#[command(name = "sim", bin_name = "cargo x sim", after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Run this seed only, and print the end of its trace
    #[arg(long, conflicts_with = "minutes")]
    seed: Option<u64>,
    /// With a seed: print on standard error what its processes say, from this level on
    #[arg(long, value_name = "LEVEL", requires = "seed")]
    log: Option<tracing::level_filters::LevelFilter>,
    /// Run fresh seeds on all processors for so many minutes of real time
    #[arg(long, default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// Run so many fresh seeds, however long it takes
    #[arg(long, conflicts_with_all = ["seed", "minutes"])]
    worlds: Option<u64>,
    /// Run these seeds, however long it takes
    #[arg(long, value_name = "A..B", value_parser = range)]
    #[arg(conflicts_with_all = ["seed", "minutes", "worlds"])]
    seeds: Option<(u64, u64)>,
    /// End after so many failures
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Run this scenario only
    #[arg(long, value_parser = scenario)]
    scenario: Option<&'static Scenario>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// List the scenarios
    #[arg(long)]
    list: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print the trace hash of every seed of a range
    Hash(hash::Args),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// `Ok(false)` when a check failed.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    let chosen = chosen(cli.scenario);
    match (&cli.command, cli.seed) {
        (Some(Command::Hash(args)), _) => hash::run(args),
        (None, _) if cli.list => print::list(cli.json),
        (None, Some(seed)) => {
            if let Some(level) = cli.log {
                log::begin(level)?;
            }
            replay::run(seed, chosen, cli.json)
        }
        (None, None) => {
            let search = match (cli.worlds, cli.seeds) {
                (_, Some((first, end))) => explore::Search::Seeds(first..end),
                (Some(worlds), None) => explore::Search::Worlds(worlds),
                (None, None) => explore::Search::Minutes(cli.minutes),
            };
            explore::run(search, cli.failures, chosen, cli.json)
        }
    }
}

fn range(text: &str) -> anyhow::Result<(u64, u64)> {
    let (first, end) = text.split_once("..").context("a range is written as 0..16")?;
    let range = (first.parse()?, end.parse()?);
    anyhow::ensure!(range.0 < range.1, "the range {text} is empty");
    Ok(range)
}

fn chosen(scenario: Option<&'static Scenario>) -> &'static [Scenario] {
    match scenario {
        Some(scenario) => core::slice::from_ref(scenario),
        None => Scenario::all(),
    }
}

fn scenario(name: &str) -> anyhow::Result<&'static Scenario> {
    match Scenario::named(name) {
        Some(scenario) => Ok(scenario),
        None => {
            let names: Vec<&str> = Scenario::all().iter().map(|scenario| scenario.name).collect();
            bail!("no scenario {name:?}, there are: {}", names.join(", "))
        }
    }
}

fn minutes(text: &str) -> anyhow::Result<f64> {
    let minutes: f64 = text.parse()?;
    if minutes.is_finite() && 0.0 < minutes {
        Ok(minutes)
    } else {
        bail!("a positive number of minutes is needed")
    }
}
