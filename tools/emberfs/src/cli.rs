//! The command line as a whole: nouns, and how the program ends.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};
use crate::output::{Colour, Style};
use crate::{cluster, config, kv, store};

#[cfg(test)]
mod tests;

const EXAMPLES: &str = "\
Examples:
  emberfs cluster create cluster.toml          what makes processes members of a cluster
  emberfs kv create --dir kv --cluster cluster.toml
  emberfs kv serve --dir kv --cluster cluster.toml
  emberfs store format /dev/nvme1n1            make a store of a whole disk
  emberfs store check /dev/nvme1n1 --deep      read all of it and verify every checksum
  emberfs store dump /dev/nvme1n1 --targets    what it holds replicas of

Exit codes: 0 done, nothing found wrong; 1 a problem was found (damage, foreign data, no store);
            2 wrong arguments or configuration; 3 the machine is in the way (no such file, in use,
            I/O error, nobody answers)";

/// EmberFS: a distributed file system for flash.
#[derive(Debug, Parser)]
#[command(name = "emberfs", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// The file that makes processes members of one cluster.
    Cluster(cluster::Args),
    /// Configuration files.
    Config(config::Args),
    /// The embedded key-value store, which keeps the metadata.
    Kv(kv::Args),
    /// Disks, partitions and files that hold chunks.
    Store(store::Args),
}

/// Parses the arguments, does what they say, and gives the exit code.
pub(crate) fn main() -> ExitCode {
    let done = match Args::parse().noun {
        Noun::Cluster(args) => cluster::run(args),
        Noun::Config(args) => config::run(&args),
        Noun::Kv(args) => kv::run(args),
        Noun::Store(args) => store::run(args),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_unheard() => Exit::Ok.into(),
        Err(failure) => {
            eprintln!("{}", message(&failure, Style::of(&io::stderr())));
            failure.exit.into()
        }
    }
}

/// What is said of a failure: the error with its causes, and what can be done.
fn message(failure: &Failure, style: Style) -> String {
    let name = style.paint(Some(Colour::Red), "emberfs:");
    let mut text = format!("{name} {:#}", failure.error);
    if let Some(hint) = &failure.hint {
        text.push_str("\n  hint: ");
        text.push_str(hint);
    }
    text
}
