//! `emberfs storage space`: how much room each store of a node has.

use engine_runtime::Env;
use engine_types::StoreId;
use engine_wire::bodies::storage::StoreSpace;
use serde::Serialize;

use super::ask::{NodeArgs, Shard};
use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output, warn};
use crate::size::ByteSize;
use crate::table::{Align, Cell, Column, Table};

const EXAMPLES: &str = "\
Examples:
  emberfs storage space 10.0.0.1:7300 --cluster cluster.toml
  emberfs storage space --config /etc/emberfs/storage.toml --json

Free: what writes may still take; live: of blocks that hold data; both are less than total, because
blocks that were freed are held back until a crash cannot bring back who used them. A store that has
failed is out of service; one that is damaged has lost something, and is brought up to date from
other replicas. Remembered: requests of clients that a repetition would be compared with; when there
is no room for more, new clients are refused until sessions have ended. Exit code 1 if a store has
failed or is damaged, or a shard does not answer; 3 if the node does not.";

/// Arguments of `space`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) node: NodeArgs,
}

/// A store, for programs.
#[derive(Serialize)]
struct Report {
    store: String,
    /// Nothing where an address answers for one shard alone.
    core: Option<u16>,
    /// Of its shard.
    address: String,
    state: &'static str,
    total: u64,
    live: u64,
    free: u64,
    index: u64,
    index_max: u64,
    chunks: u64,
    targets: u32,
    /// Requests of clients that are remembered, so that a repeated one is not done again.
    remembered: u32,
    remembered_max: u32,
}

/// What is wrong with a store, if anything is.
pub(super) const fn state(space: &StoreSpace) -> &'static str {
    match (space.failed, space.damaged) {
        (0, 0) => "good",
        (0, _) => "damaged",
        _ => "failed",
    }
}

impl Report {
    fn of<T>(shard: &Shard<T>, space: &StoreSpace) -> Self {
        let &StoreSpace { store, total, live, free, index, index_max, chunks, targets, .. } = space;
        let &StoreSpace { remembered, remembered_max, .. } = space;
        Self {
            store: StoreId::new(store).to_string(),
            core: shard.core,
            address: shard.address.to_string(),
            state: state(space),
            total,
            live,
            free,
            index,
            index_max,
            chunks,
            targets,
            remembered,
            remembered_max,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let colour = if self.state == "good" { Colour::Green } else { Colour::Red };
        let bytes = |bytes: u64| ByteSize(bytes).into();
        vec![
            self.store.as_str().into(),
            self.core.map_or_else(|| "-".to_owned(), |core| core.to_string()).into(),
            Cell::coloured(self.state, colour),
            bytes(self.total),
            bytes(self.live),
            bytes(self.free),
            format!("{} of {}", ByteSize(self.index), ByteSize(self.index_max)).into(),
            self.chunks.into(),
            self.targets.into(),
            format!("{} of {}", self.remembered, self.remembered_max).into(),
        ]
    }
}

const COLUMNS: &[Column] = &[
    ("store", Align::Left),
    ("core", Align::Right),
    ("state", Align::Left),
    ("total", Align::Right),
    ("live", Align::Right),
    ("free", Align::Right),
    ("index", Align::Right),
    ("chunks", Align::Right),
    ("targets", Align::Right),
    ("remembered", Align::Right),
];

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    print(out, &args.node.stores(env).await?)
}

fn print(out: &mut Output, shards: &[Shard<Vec<StoreSpace>>]) -> Result<Exit, Failure> {
    let mut table = Table::new(COLUMNS);
    let mut exit = Exit::Ok;
    for shard in shards {
        let stores = match &shard.told {
            Ok(stores) => stores,
            Err(why) => {
                warn(&format!("the shard at {}: {why}", shard.address));
                exit = Exit::Problem;
                continue;
            }
        };
        for space in stores {
            let report = Report::of(shard, space);
            if report.state != "good" {
                exit = Exit::Problem;
            }
            if out.json {
                out.document(&report)?;
            } else {
                table.row(out, report.cells())?;
            }
        }
    }
    if !out.json {
        table.finish(out)?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests;
