//! `cargo x`: every script of the project is a subcommand of this binary.
//!
//! It judges the tree (`tidy`), runs what continuous integration runs (`ci`), starts the simulator
//! (`sim`) and the long test campaigns (`campaign`). It owns no state beside `ratchet.txt` and
//! installs nothing.
//!
//! Failure: exit codes are part of the interface, see [`EXIT_CODES`].

mod campaign;
mod child;
mod ci;
mod finding;
mod manifest;
mod rust_source;
mod tidy;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// The last lines of every `--help`.
const EXIT_CODES: &str = "Exit codes: 0 clean, 1 findings or a failed step, 2 wrong arguments, \
3 something this command needs is missing on the machine. `sim` ends as the simulator ends.";

/// Exit code for a tool, toolchain or file that has to be there first.
const EXIT_MISSING: u8 = 3;

/// Every script of EmberFS.
#[derive(Parser)]
#[command(name = "cargo x", bin_name = "cargo x", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the rules of the tree that no compiler checks: layers, sizes, names, licences, text
    #[command(after_help = "Examples:\n  cargo x tidy\n  cargo x tidy --json\n  \
        cargo x tidy --bless                      lower or drop entries of ratchet.txt\n  \
        cargo x tidy --bless --grow \"one table\"   admit what is over a limit, with the reason")]
    Tidy(tidy::Args),
    /// Run the steps of continuous integration, each with its time
    #[command(after_help = "Examples:\n  cargo x ci              what .ci/run executes\n  \
        cargo x ci fmt tidy     only these steps")]
    Ci(ci::Args),
    /// Build the simulator (profile `sim`: release with assertions) and run it
    #[command(
        disable_help_flag = true,
        after_help = "All arguments go to the simulator; without any it gets `--minutes 1`.\n\n\
        Examples:\n  cargo x sim --minutes 10\n  cargo x sim --seed 42\n  \
        cargo x sim --help      the simulator's own help"
    )]
    Sim {
        /// Arguments of the simulator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run a long test campaign; without a name, list them
    #[command(after_help = "Examples:\n  cargo x campaign\n  cargo x campaign --json\n  \
        cargo x campaign fuzz --seconds 600\n  cargo x campaign trace-hash --seeds 64")]
    Campaign(campaign::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Tidy(args) => tidy::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Sim { args } => sim(&args),
        Command::Campaign(args) => campaign::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why:#}");
            let missing = why.downcast_ref::<child::Missing>().is_some();
            if missing { ExitCode::from(EXIT_MISSING) } else { ExitCode::FAILURE }
        }
    }
}

/// Becomes the simulator, so that signals and the exit code are its own.
fn sim(args: &[OsString]) -> anyhow::Result<bool> {
    use std::os::unix::process::CommandExt;
    let fallback = ["--minutes", "1"].map(OsString::from);
    let args = if args.is_empty() { &fallback } else { args };
    let failed = child::cargo(campaign::SIMULATOR_IN_SIM_PROFILE).args(args).exec();
    Err(failed).context("starting cargo for the simulator")
}

#[cfg(test)]
mod tests;
