//! `emberfs meta df`: room of the file system, as its services tell it to whoever mounts it.

use anyhow::anyhow;
use engine_runtime::Env;
use meta_protocol::FsSpace;
use serde::Serialize;

use super::status::{address, services};
use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::{Output, warn};
use crate::size::ByteSize;
use crate::table::{Align, Cell, Column, Table};

const EXAMPLES: &str = "\
Examples:
  emberfs meta df --cluster cluster.toml
  emberfs meta df --managers 10.0.0.6:7200 --cluster cluster.toml --json

Bytes are those of files: replicas are counted out, and so is what stores keep in reserve. A chain
has as much room as the least of its replicas. Used files are an estimate where they are many; free
ones are how many of one small chunk there is room for. Age is that of the oldest figure; stores
that do not answer count with their last figures. Exit code 1 if there are such, 3 if no service
answers.";

/// Arguments of `df`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Room, for programs. Bytes.
#[derive(Serialize)]
struct Report {
    size: u64,
    used: u64,
    available: u64,
    /// Inodes; an estimate where they are many.
    files_used: u64,
    files_free: u64,
    /// Of the oldest figure.
    age_ms: u32,
    /// Stores that count.
    stores: u32,
    /// Stores that did not answer last.
    stores_silent: u32,
}

impl Report {
    const fn of(space: &FsSpace) -> Self {
        let &FsSpace { bytes, bytes_free, bytes_available, files, files_free, .. } = space;
        let &FsSpace { age_ms, stores, stores_silent, .. } = space;
        Self {
            size: bytes,
            used: bytes.saturating_sub(bytes_free),
            available: bytes_available,
            files_used: files.saturating_sub(files_free),
            files_free,
            age_ms,
            stores,
            stores_silent,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let bytes = |bytes: u64| ByteSize(bytes).into();
        vec![
            bytes(self.size),
            bytes(self.used),
            bytes(self.available),
            format!("{} %", percent(self.used, self.available)).into(),
            self.files_used.into(),
            self.files_free.into(),
            format!("{}.{} s", self.age_ms / 1000, self.age_ms % 1000 / 100).into(),
            self.stores.into(),
            self.stores_silent.into(),
        ]
    }
}

/// What df(1) shows: of what can be used at all, rounded up.
fn percent(used: u64, available: u64) -> u64 {
    let all = u128::from(used) + u128::from(available);
    let share = (u128::from(used) * 100).div_ceil(all.max(1));
    u64::try_from(share).unwrap_or(100)
}

const COLUMNS: &[Column] = &[
    ("size", Align::Right),
    ("used", Align::Right),
    ("available", Align::Right),
    ("use", Align::Right),
    ("files", Align::Right),
    ("files free", Align::Right),
    ("age", Align::Right),
    ("stores", Align::Right),
    ("silent", Align::Right),
];

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let net = access.cluster.operator(env);
    let by = access.deadline();
    let mut asked = 0;
    for row in services(&access).await? {
        asked += 1;
        let told = match address(&row) {
            Ok(address) => meta_client::space(env, net.clone(), address, by).await,
            Err(why) => {
                warn(&format!("{}: {why}", row.node));
                continue;
            }
        };
        match told {
            Ok(space) => return print(out, &space),
            Err(error) => warn(&format!("{}: {error}", row.node)),
        }
    }
    let error = anyhow!("none of {asked} metadata services says how much room there is");
    Err(Failure::environment(error).hint("emberfs meta status shows them"))
}

fn print(out: &mut Output, space: &FsSpace) -> Result<Exit, Failure> {
    let report = Report::of(space);
    if out.json {
        out.document(&report)?;
    } else {
        let mut table = Table::new(COLUMNS);
        table.row(out, report.cells())?;
        table.finish(out)?;
    }
    Ok(if report.stores_silent == 0 { Exit::Ok } else { Exit::Problem })
}

#[cfg(test)]
mod tests;
