//! `emberfs storage scrub`: has stores of a node verified now.

use engine_runtime::Env;
use engine_types::{ParseIdError, StoreId};
use engine_wire::bodies::storage::{StorageScrubReply, StorageScrubRequest, StoreScrub};
use serde::Serialize;

use super::ask::{Line, NodeArgs, Shard};
use crate::exit::{Exit, Failure};
use crate::output::{Output, warn};
use crate::size::ByteSize;
use crate::table::{Align, Cell, Column, Table};

const EXAMPLES: &str = "\
Examples:
  emberfs storage scrub 10.0.0.1:7300 --cluster cluster.toml
  emberfs storage scrub 10.0.0.1:7300 --store 01234567-89ab-cdef-0123-456789abcdef
  emberfs storage scrub --config /etc/emberfs/storage.toml --json

A pass over each store begins, from its first chunk on, at the rate of `scrub_rate` in [storage];
where that is 0, at its default. What is damaged is replaced by what another replica has. The
command does not wait for it: `emberfs storage status` shows how far it is. Counts are since the
shard has started.

Exit code 1 if a shard does not answer or no store has the id; 3 if the node does not answer.";

/// Arguments of `scrub`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Args {
    /// Verify this store only; by default all stores of the node.
    #[arg(long, value_name = "ID", value_parser = store)]
    store: Option<StoreId>,

    #[command(flatten)]
    pub(super) node: NodeArgs,
}

fn store(text: &str) -> Result<StoreId, ParseIdError> {
    text.parse()
}

/// A store, for programs.
#[derive(Serialize)]
struct Report {
    store: String,
    /// Nothing where an address answers for one shard alone.
    core: Option<u16>,
    /// Of its shard.
    address: String,
    running: bool,
    passes: u64,
    scrubbed_bytes: u64,
    scrubbed_chunks: u64,
    /// Checksum blocks.
    damaged_blocks: u64,
    repaired_blocks: u64,
    unrepaired_blocks: u64,
}

impl Report {
    fn of<T>(shard: &Shard<T>, scrub: &StoreScrub) -> Self {
        Self {
            store: StoreId::new(scrub.store).to_string(),
            core: shard.core,
            address: shard.address.to_string(),
            running: scrub.running == 1,
            passes: scrub.passes,
            scrubbed_bytes: scrub.bytes,
            scrubbed_chunks: scrub.chunks,
            damaged_blocks: scrub.damaged,
            repaired_blocks: scrub.repaired,
            unrepaired_blocks: scrub.failed,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.store.as_str().into(),
            self.core.map_or_else(|| "-".to_owned(), |core| core.to_string()).into(),
            if self.running { "begun" } else { "not begun" }.into(),
            self.passes.into(),
            ByteSize(self.scrubbed_bytes).into(),
            self.damaged_blocks.into(),
            self.repaired_blocks.into(),
        ]
    }
}

const COLUMNS: &[Column] = &[
    ("store", Align::Left),
    ("core", Align::Right),
    ("pass", Align::Left),
    ("passes before", Align::Right),
    ("scrubbed", Align::Right),
    ("damaged", Align::Right),
    ("repaired", Align::Right),
];

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let store = args.store.map_or(0, StoreId::get);
    let begin = move |line: Line<E>| async move {
        let wanted = StorageScrubRequest { store, begin: 1, ..StorageScrubRequest::default() };
        let told: StorageScrubReply = line.ask(&wanted).await?;
        Ok(told.stores)
    };
    print(out, &args.node.each(env, begin).await?, args.store)
}

fn print(
    out: &mut Output,
    shards: &[Shard<Vec<StoreScrub>>],
    wanted: Option<StoreId>,
) -> Result<Exit, Failure> {
    let mut table = Table::new(COLUMNS);
    let mut exit = Exit::Ok;
    let mut count = 0;
    for shard in shards {
        let stores = match &shard.told {
            Ok(stores) => stores,
            Err(why) => {
                warn(&format!("the shard at {}: {why}", shard.address));
                exit = Exit::Problem;
                continue;
            }
        };
        for report in stores.iter().map(|scrub| Report::of(shard, scrub)) {
            count += 1;
            match out.json {
                true => out.document(&report)?,
                false => table.row(out, report.cells())?,
            }
        }
    }
    if let (Some(store), 0) = (wanted, count) {
        warn(&format!("no shard that answered has store {store}"));
        return Ok(Exit::Problem);
    }
    if !out.json {
        table.finish(out)?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests;
