//! `cargo x campaign`: long test runs, as data. What runs in `cargo test` in seconds runs here for
//! as long as it takes to believe it.

mod figures;
mod fuzz;
mod meta;
mod meta_processes;
mod row;
mod storage;
mod storage_processes;
mod store;
mod takeover;
mod trace_hash;

use std::io::{Write, stdout};

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;

use crate::finding::Paint;
use crate::{child, tree};

/// Cargo's words before the simulator's own: release speed with assertions.
pub(crate) const SIMULATOR_IN_SIM_PROFILE: &[&str] =
    &["run", "--profile", "sim", "-p", "tools-sim", "--bin", "sim", "--"];

/// Arguments of `cargo x campaign`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    which: Option<Which>,
    /// List the campaigns as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Which {
    /// Coverage-guided fuzzing of every decoder; needs a nightly toolchain and cargo-fuzz
    Fuzz(fuzz::Args),
    /// The metadata service beside its reference, over 10,000,000 operations
    Meta(meta::Args),
    /// What removal of a big tree and deaths under load cost, with processes
    MetaProcesses(meta_processes::Args),
    /// Every planted bug is found, the correct version survives 20,000 seeds
    PlantedBugs,
    /// Replicated storage under faults, over 20,000 worlds, with what they have reached
    Storage(storage::Args),
    /// What failures of storage nodes cost, with processes: stalls, catch-up, balance of reads
    StorageProcesses(storage_processes::Args),
    /// The chunk store keeps what it acknowledged through 100,000 crashes
    StoreCrash(store::CrashArgs),
    /// Processes that write to a chunk store are killed 100 times
    StoreKill(store::KillArgs),
    /// The chunk store and a reference agree over 10,000,000 operations
    StoreModel(store::ModelArgs),
    /// A cluster gets over a death within its bounds; prints how long it takes
    Takeover(takeover::Args),
    /// The same seed gives the same trace in every build profile
    TraceHash(trace_hash::Args),
}

/// What a campaign is for and what it costs.
struct Campaign {
    name: &'static str,
    proves: &'static str,
    takes: &'static str,
}

/// In the order of the list that `cargo x campaign` prints.
const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "fuzz",
        proves: "no input makes a decoder panic, hang or allocate beyond its limits",
        takes: "60 s per target, or --seconds",
    },
    Campaign {
        name: "meta",
        proves: "the metadata service does as its reference over 10,000,000 operations, in trouble",
        takes: "an hour or two on two cores, or --operations, --minutes; sums of runs with --sums",
    },
    Campaign {
        name: "meta-processes",
        proves: "a big tree goes with all its space, and deaths under load lose no operation",
        takes: "half an hour on two cores, or --files, --kills",
    },
    Campaign {
        name: "planted-bugs",
        proves: "checkers find every planted bug and accept the correct version on 20,000 seeds",
        takes: "three minutes on two cores",
    },
    Campaign {
        name: "storage",
        proves: "replicated storage keeps its promises in 20,000 worlds, and all rare paths ran",
        takes: "two hours on two cores, or --worlds, --minutes; sums of runs with --sums",
    },
    Campaign {
        name: "storage-processes",
        proves: "storage nodes that die or restart lose nothing and fail nobody; prints the cost",
        takes: "four minutes on two cores, or --kills",
    },
    Campaign {
        name: "store-crash",
        proves: "a chunk store keeps what it acknowledged through 100,000 crashes",
        takes: "five to ten minutes on two cores, or --cycles",
    },
    Campaign {
        name: "store-kill",
        proves: "what a killed process had acknowledged is in the store, 100 times",
        takes: "half a minute, or --cycles",
    },
    Campaign {
        name: "store-model",
        proves: "a chunk store and a reference agree over 10,000,000 operations",
        takes: "four to ten minutes on two cores, or --operations",
    },
    Campaign {
        name: "takeover",
        proves: "a cluster gets over a death within its bounds in 1,000 worlds; prints the times",
        takes: "five minutes on two cores, or --seeds",
    },
    Campaign {
        name: "trace-hash",
        proves: "a seed replays to the byte in the dev, sim and release profiles",
        takes: "three builds, then seconds per seed",
    },
];

/// The suite of planted bugs, in the profile of the simulator: release refuses planted bugs.
const PLANTED_BUGS: &[&str] =
    &["test", "--profile", "sim", "-p", "tools-sim", "--test", "planted", "--", "--nocapture"];
/// Seeds of the correct version: the variable that the suite reads, and the full number.
const PLANTED_BUGS_SEEDS: (&str, &str) = ("EMBERFS_SIM_SEEDS", "20000");
/// Would make the suite run one seed only, and the campaign prove nothing.
const PLANTED_BUGS_ONE_SEED: &str = "EMBERFS_SIM_SEED";

/// Every campaign, for the check of documents.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CAMPAIGNS.iter().map(|campaign| campaign.name)
}

/// Runs one, or lists all; `Ok(false)` when it found something.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    match &args.which {
        None => list(args.json),
        Some(Which::Fuzz(args)) => fuzz::run(args),
        Some(Which::Meta(args)) => meta::run(args),
        Some(Which::MetaProcesses(args)) => meta_processes::run(args),
        Some(Which::PlantedBugs) => {
            let (variable, seeds) = PLANTED_BUGS_SEEDS;
            let mut command = child::cargo(PLANTED_BUGS);
            command.env(variable, seeds).env_remove(PLANTED_BUGS_ONE_SEED);
            child::succeeds(command.current_dir(tree::root()?))
        }
        Some(Which::Storage(args)) => storage::run(args),
        Some(Which::StorageProcesses(args)) => storage_processes::run(args),
        Some(Which::StoreCrash(args)) => store::crash(args),
        Some(Which::StoreKill(args)) => store::kill(args),
        Some(Which::StoreModel(args)) => store::model(args),
        Some(Which::Takeover(args)) => takeover::run(args),
        Some(Which::TraceHash(args)) => trace_hash::run(args),
    }
}

fn list(as_json: bool) -> anyhow::Result<bool> {
    let mut out = stdout().lock();
    if as_json {
        let rows = CAMPAIGNS.iter().map(|Campaign { name, proves, takes }| {
            json!({ "name": name, "proves": proves, "takes": takes })
        });
        let rows: Vec<_> = rows.collect();
        writeln!(out, "{:#}", json!(rows)).context("printing the list")?;
        return Ok(true);
    }
    for Campaign { name, proves, takes } in CAMPAIGNS {
        let name = Paint::stdout().bold(name);
        writeln!(out, "{name}\n    proves: {proves}\n    takes:  {takes}")
            .context("printing the list")?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
