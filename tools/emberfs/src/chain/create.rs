//! `emberfs chain create`: new chains, from places on the command line or in a file.

use core::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use engine_runtime::Env;
use mgmt_cluster::cluster::CHANGE_WRITES_MAX;
use mgmt_cluster::command::{Command, NewTarget};
use mgmt_protocol::{Done, Operation};

use crate::config::read_text;
use crate::exit::{Exit, Failure};
use crate::manager::{Managers, did_all};
use crate::output::Output;
use crate::place::{self, PLACE_HELP};

const EXAMPLES: &str = "\
Examples:
  emberfs chain create 1/STORE 2/STORE 3/STORE            one chain, the head on node-1
  emberfs chain create 1/STORE/2/0                        of a shard on core 2, on disk 0
  emberfs chain create --file chains.txt --json           many chains, one in each line

STORE is the UUID that `emberfs store format` printed. In a file the places of a chain are separated
by blanks; lines that begin with # are skipped. The members of a new chain are empty and serve as
soon as their nodes have created them. A store holds one member of a chain at most. A chain cannot
be removed again. A file is sent in parts of some thousand targets; when one of them is refused,
what was created before is kept, and said.";

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[arg(value_name = "PLACE", value_parser = place::parse, help = PLACE_HELP)]
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    places: Vec<NewTarget>,

    /// File with the places of one chain in each line.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let chains = match &args.file {
        Some(path) => parse(path, &read_text(path)?)?,
        None => vec![args.places.clone()],
    };
    let access = args.managers.access(env).await?;
    let mut all: Vec<Done> = Vec::new();
    for part in parts(&chains) {
        let asked = Operation::Cluster(Command::CreateChains(part.to_vec()));
        match access.operate(asked, "emberfs chain list").await {
            Ok(done) => all.push(done),
            Err(failure) => {
                if !all.is_empty() {
                    did_all(out, &all, &said(&all))?;
                    out.flush()?;
                }
                return Err(failure);
            }
        }
    }
    did_all(out, &all, &said(&all))?;
    Ok(Exit::Ok)
}

/// Parts of a size that one change can have: a record for each chain and target, one for the
/// cluster.
fn parts(mut chains: &[Vec<NewTarget>]) -> Vec<&[Vec<NewTarget>]> {
    let mut parts = Vec::new();
    while !chains.is_empty() {
        let mut records = 1;
        let fits = |chain: &&Vec<NewTarget>| {
            records += 1 + chain.len();
            records <= CHANGE_WRITES_MAX
        };
        // A chain that is too long by itself goes alone, and is refused.
        let count = chains.iter().take_while(fits).count().max(1);
        let (part, rest) = chains.split_at(count);
        parts.push(part);
        chains = rest;
    }
    parts
}

fn parse(path: &Path, text: &str) -> Result<Vec<Vec<NewTarget>>, Failure> {
    let mut chains = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let places = line.split_whitespace().map(|word| {
            place::parse(word).map_err(|why| {
                let path = path.display();
                Failure::usage(anyhow!("{path}:{number}: found {word:?}, {why}"))
            })
        });
        chains.push(places.collect::<Result<_, _>>()?);
    }
    if chains.is_empty() {
        return Err(Failure::usage(anyhow!("{} names no chain", path.display())));
    }
    Ok(chains)
}

/// What was created, for people.
fn said(all: &[Done]) -> String {
    let chains: Vec<_> = all.iter().flat_map(|done| &done.chains).collect();
    let targets: Vec<_> = all.iter().flat_map(|done| &done.targets).collect();
    let mut text = "created ".to_owned();
    match (&*chains, &*targets) {
        ([chain], targets) => {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            write!(text, "{chain} of {}", targets.join(", "))
        }
        ([first, .., last], targets) => {
            let count = chains.len();
            write!(text, "{count} chains, {first} to {last}, of {} targets", targets.len())
        }
        ([], _) => write!(text, "nothing"),
    }
    .expect("a String takes everything");
    text
}

#[cfg(test)]
mod tests;
