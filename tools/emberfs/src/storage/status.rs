//! `emberfs storage status`: how the shards of a node are.

use engine_runtime::Env;
use engine_wire::bodies::storage::{
    StorageScrubReply, StorageScrubRequest, StorageSpaceReply, StorageSpaceRequest, StoreScrub,
    StoreSpace,
};
use serde::Serialize;

use super::ask::{Line, NodeArgs, Shard};
use super::space::state;
use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output};
use crate::size::ByteSize;
use crate::table::{Align, Cell, Column, Table};

const EXAMPLES: &str = "\
Examples:
  emberfs storage status 10.0.0.1:7300 --cluster cluster.toml
  emberfs storage status --config /etc/emberfs/storage.toml --json

One row per shard; `emberfs storage space` has one per store, and `emberfs node show` what the node
is for the cluster. Scrubbed: what was read and verified since the shard has started; damaged:
checksum blocks that did not match; repaired: those that another replica replaced, also where a read
or a write found the damage. `emberfs storage scrub` begins a pass.

Exit code 1 if a store has failed or is damaged, or a shard does not answer; 3 if the node does
not.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) node: NodeArgs,
}

/// A shard, for programs.
#[derive(Default, Serialize)]
struct Report {
    /// Nothing where an address answers for one shard alone.
    core: Option<u16>,
    address: String,
    stores: usize,
    failed: usize,
    damaged: usize,
    total: u64,
    live: u64,
    free: u64,
    chunks: u64,
    targets: u64,
    scrubbed_bytes: u64,
    scrubbed_chunks: u64,
    /// Passes that reached the end, of all stores together.
    scrub_passes: u64,
    /// Stores with a pass under way.
    scrubbing: usize,
    /// Checksum blocks.
    damaged_blocks: u64,
    repaired_blocks: u64,
    unrepaired_blocks: u64,
    /// Why it did not answer; what stands above is 0 then.
    error: Option<String>,
}

/// Room and care of the stores of a shard.
type Told = (Vec<StoreSpace>, Vec<StoreScrub>);

impl Report {
    fn of(shard: &Shard<Told>) -> Self {
        let (core, address) = (shard.core, shard.address.to_string());
        let (stores, scrubs) = match &shard.told {
            Ok(told) => told,
            Err(why) => return Self { core, address, error: Some(why.clone()), ..Self::default() },
        };
        let sum = |of: fn(&StoreSpace) -> u64| stores.iter().map(of).fold(0, u64::saturating_add);
        let all = |of: fn(&StoreScrub) -> u64| scrubs.iter().map(of).fold(0, u64::saturating_add);
        let count = |word: &str| stores.iter().filter(|space| state(space) == word).count();
        Self {
            core,
            address,
            stores: stores.len(),
            failed: count("failed"),
            damaged: count("damaged"),
            total: sum(|space| space.total),
            live: sum(|space| space.live),
            free: sum(|space| space.free),
            chunks: sum(|space| space.chunks),
            targets: sum(|space| space.targets.into()),
            scrubbed_bytes: all(|scrub| scrub.bytes),
            scrubbed_chunks: all(|scrub| scrub.chunks),
            scrub_passes: all(|scrub| scrub.passes),
            scrubbing: scrubs.iter().filter(|scrub| scrub.running == 1).count(),
            damaged_blocks: all(|scrub| scrub.damaged),
            repaired_blocks: all(|scrub| scrub.repaired),
            unrepaired_blocks: all(|scrub| scrub.failed),
            error: None,
        }
    }

    fn state(&self) -> Cell {
        if let Some(why) = &self.error {
            return Cell::coloured(why.as_str(), Colour::Red);
        }
        match (self.failed, self.damaged) {
            (0, 0) => Cell::coloured("good", Colour::Green),
            (failed, 0) => Cell::coloured(format!("{failed} failed"), Colour::Red),
            (0, damaged) => Cell::coloured(format!("{damaged} damaged"), Colour::Red),
            (failed, damaged) => {
                Cell::coloured(format!("{failed} failed, {damaged} damaged"), Colour::Red)
            }
        }
    }

    const fn is_good(&self) -> bool {
        self.error.is_none() && self.failed == 0 && self.damaged == 0
    }
}

const COLUMNS: &[Column] = &[
    ("core", Align::Right),
    ("address", Align::Left),
    ("stores", Align::Right),
    ("targets", Align::Right),
    ("chunks", Align::Right),
    ("total", Align::Right),
    ("live", Align::Right),
    ("free", Align::Right),
    ("scrubbed", Align::Right),
    ("damaged", Align::Right),
    ("repaired", Align::Right),
    ("state", Align::Left),
];

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let ask = async |line: Line<E>| {
        let room: StorageSpaceReply = line.ask(&StorageSpaceRequest::default()).await?;
        let care: StorageScrubReply = line.ask(&StorageScrubRequest::default()).await?;
        Ok((room.stores, care.stores))
    };
    print(out, &args.node.each(env, ask).await?)
}

fn print(out: &mut Output, shards: &[Shard<Told>]) -> Result<Exit, Failure> {
    let mut table = Table::new(COLUMNS);
    let mut exit = Exit::Ok;
    for report in shards.iter().map(Report::of) {
        if !report.is_good() {
            exit = Exit::Problem;
        }
        if out.json {
            out.document(&report)?;
            continue;
        }
        let bytes = |bytes: u64| ByteSize(bytes).into();
        let cells = vec![
            report.core.map_or_else(|| "-".to_owned(), |core| core.to_string()).into(),
            report.address.as_str().into(),
            report.stores.into(),
            report.targets.into(),
            report.chunks.into(),
            bytes(report.total),
            bytes(report.live),
            bytes(report.free),
            bytes(report.scrubbed_bytes),
            report.damaged_blocks.into(),
            report.repaired_blocks.into(),
            report.state(),
        ];
        table.row(out, cells)?;
    }
    if !out.json {
        table.finish(out)?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests;
