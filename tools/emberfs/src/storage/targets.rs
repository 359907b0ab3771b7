//! `emberfs storage targets`: what the targets of a node are, do and ship.

use core::cmp::Ordering;

use engine_runtime::Env;
use engine_types::{ChainId, PublicState, StoreId, TargetId};
use engine_wire::bodies::storage::{StorageTargetsReply, StorageTargetsRequest, TargetStatus};
use mgmt_cluster::chain::LocalState;
use serde::Serialize;

use super::ask::{Line, NodeArgs, Shard};
use crate::exit::{Exit, Failure};
use crate::output::{Colour, Output, warn};
use crate::size::ByteSize;
use crate::table::{Align, Cell, Column, Table};
use crate::words;

const EXAMPLES: &str = "\
Examples:
  emberfs storage targets 10.0.0.1:7300 --cluster cluster.toml
  emberfs storage targets --unwhole                       at 127.0.0.1:7300, by EMBERFS_CLUSTER
  watch -n 1 emberfs storage targets 10.0.0.1:7300 --unwhole          while replicas catch up
  emberfs storage targets --config /etc/emberfs/storage.toml --json

State: what the target is in its chain, by the chain version that it goes by. Local: what it knows
of its own content; \"no room\": it cannot go on until clients' sessions have ended, because its
store has no room to remember more of their requests. Lease: whether it may serve now. Counts are
since its shard has started: reads answered, updates of clients done, both refused. Shipped: what it
gave to a replica that catches up behind it in its chain, in chunks (also those removed there) and
bytes; received: chunks that it was given so itself. While a replica catches up, its `received` and
its predecessor's `shipped` grow; when it has everything, its state becomes serving.

Exit code 1 if a target does not serve, has no lease or misses something, or if a shard does not
answer; 3 if the node does not.";

/// Arguments of `targets`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Args {
    /// Leave out targets that serve and have everything.
    #[arg(long)]
    unwhole: bool,

    #[command(flatten)]
    pub(super) node: NodeArgs,
}

/// A target, for programs.
#[derive(Serialize)]
struct Report {
    target: String,
    chain: String,
    /// Of its shard; nothing where an address answers for one shard alone.
    core: Option<u16>,
    /// Of its shard.
    address: String,
    store: String,
    /// The start of its store.
    incarnation: u64,
    chain_version: u32,
    state: String,
    local: String,
    leased: bool,
    /// It catches up, and its store has no room for remembered requests (`storage space`).
    waits_for_room: bool,
    in_flight: u32,
    reads: u64,
    updates: u64,
    refused: u64,
    shipped_chunks: u64,
    shipped_bytes: u64,
    received_chunks: u64,
}

/// A word for a number that this program may be too old for.
fn word<T>(number: u8, known: Option<T>, say: impl Fn(T) -> &'static str) -> String {
    known.map_or_else(|| format!("unknown-{number}"), |known| say(known).to_owned())
}

fn public_state(number: u8) -> String {
    let known = match number {
        1 => Some(PublicState::Serving),
        2 => Some(PublicState::Syncing),
        3 => Some(PublicState::Waiting),
        4 => Some(PublicState::LastServing),
        5 => Some(PublicState::Offline),
        _ => None,
    };
    word(number, known, words::public_state)
}

fn local_state(number: u8) -> String {
    let known = match number {
        1 => Some(LocalState::UpToDate),
        2 => Some(LocalState::Online),
        3 => Some(LocalState::Offline),
        _ => None,
    };
    word(number, known, |state| words::local_state(Some(state)))
}

/// Whether it serves, may serve, and has everything.
const fn is_whole(status: &TargetStatus) -> bool {
    status.state == 1 && status.leased == 1 && status.local == 1
}

impl Report {
    fn of<T>(shard: &Shard<T>, status: &TargetStatus) -> Self {
        Self {
            target: TargetId::new(status.target).to_string(),
            chain: ChainId::new(status.chain).map_or("-".to_owned(), |chain| chain.to_string()),
            core: shard.core,
            address: shard.address.to_string(),
            store: StoreId::new(status.store).to_string(),
            incarnation: status.incarnation,
            chain_version: status.chain_version,
            state: public_state(status.state),
            local: local_state(status.local),
            leased: status.leased == 1,
            waits_for_room: status.waits == 1,
            in_flight: status.in_flight,
            reads: status.reads,
            updates: status.updates,
            refused: status.refused,
            shipped_chunks: status.shipped_chunks,
            shipped_bytes: status.shipped_bytes,
            received_chunks: status.received_chunks,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let good = |text: &str, good: bool| {
            Cell::coloured(text, if good { Colour::Green } else { Colour::Red })
        };
        let lease = if self.leased { "valid" } else { "none" };
        let local = match self.waits_for_room {
            true => Cell::coloured(format!("{}, no room", self.local), Colour::Red),
            false => {
                good(&self.local, self.local == words::local_state(Some(LocalState::UpToDate)))
            }
        };
        vec![
            self.target.as_str().into(),
            self.chain.as_str().into(),
            self.chain_version.into(),
            self.core.map_or_else(|| "-".to_owned(), |core| core.to_string()).into(),
            good(&self.state, self.state == words::public_state(PublicState::Serving)),
            local,
            good(lease, self.leased),
            self.in_flight.into(),
            self.reads.into(),
            self.updates.into(),
            self.refused.into(),
            self.shipped_chunks.into(),
            ByteSize(self.shipped_bytes).into(),
            self.received_chunks.into(),
        ]
    }
}

const COLUMNS: &[Column] = &[
    ("target", Align::Left),
    ("chain", Align::Left),
    ("version", Align::Right),
    ("core", Align::Right),
    ("state", Align::Left),
    ("local", Align::Left),
    ("lease", Align::Left),
    ("in flight", Align::Right),
    ("reads", Align::Right),
    ("updates", Align::Right),
    ("refused", Align::Right),
    ("shipped", Align::Right),
    ("bytes", Align::Right),
    ("received", Align::Right),
];

/// All targets of a shard, page by page.
async fn listed<E: Env>(line: Line<E>) -> Result<Vec<TargetStatus>, String> {
    let mut all: Vec<TargetStatus> = Vec::new();
    loop {
        let after = all.last().map_or(0, |last| last.target);
        let page: StorageTargetsReply = line.ask(&StorageTargetsRequest { after }).await?;
        let last = page.targets.last().map_or(after, |last| last.target);
        all.extend(page.targets);
        match (page.more, last.cmp(&after)) {
            (0, _) => return Ok(all),
            (_, Ordering::Greater) => {}
            (..) => return Err(format!("it has more targets behind {after}, and lists none")),
        }
    }
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    print(out, &args.node.each(env, listed).await?, args.unwhole)
}

fn print(
    out: &mut Output,
    shards: &[Shard<Vec<TargetStatus>>],
    unwhole: bool,
) -> Result<Exit, Failure> {
    let mut table = Table::new(COLUMNS);
    let mut exit = Exit::Ok;
    for shard in shards {
        let targets = match &shard.told {
            Ok(targets) => targets,
            Err(why) => {
                warn(&format!("the shard at {}: {why}", shard.address));
                exit = Exit::Problem;
                continue;
            }
        };
        for status in targets {
            if !is_whole(status) {
                exit = Exit::Problem;
            } else if unwhole {
                continue;
            }
            let report = Report::of(shard, status);
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
