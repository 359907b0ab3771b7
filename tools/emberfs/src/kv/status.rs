//! `emberfs kv status`: how a served store is.

use engine_runtime::Env;
use engine_types::StoreId;
use serde::Serialize;

use super::connect::{Connected, Served};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::size::ByteSize;
use crate::table::facts;

const EXAMPLES: &str = "\
Examples:
  emberfs kv status --cluster cluster.toml                   at 127.0.0.1:7100
  emberfs kv status --config /etc/emberfs/kv.toml --json
  emberfs kv status --address kv.example:7100 --cluster cluster.toml --timeout 500ms";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    served: Served,

    /// Print it as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    address: String,
    cluster: String,
    store: String,
    version: u64,
    starts: u64,
    restores: u64,
    bytes: u64,
    /// From here on since the store was opened.
    commits: u64,
    groups: u64,
    conflicts: u64,
    too_old: u64,
    /// Keys and ranges remembered to find conflicts.
    remembered: u64,
    /// Versions kept for readers.
    views: u64,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let Connected { address, cluster, status, .. } = args.served.connect(env).await?;
    let report = Report {
        address: address.to_string(),
        cluster: cluster.to_string(),
        store: StoreId::new(status.store).to_string(),
        version: status.version,
        starts: status.starts,
        restores: status.restores,
        bytes: status.bytes,
        commits: status.commits,
        groups: status.groups,
        conflicts: status.conflicts,
        too_old: status.too_old,
        remembered: status.remembered,
        views: status.views,
    };
    if out.json {
        out.document(&report)?;
        return Ok(Exit::Ok);
    }
    let commits = format!("{} in {} groups since the start", report.commits, report.groups);
    let refused = format!("{} for conflicts, {} as too old", report.conflicts, report.too_old);
    let memory = format!("{} keys to find conflicts, {} versions", report.remembered, report.views);
    let rows = [
        ("address", report.address.into()),
        ("cluster", report.cluster.into()),
        ("store", report.store.into()),
        ("version", report.version.into()),
        ("starts", report.starts.into()),
        ("restores", report.restores.into()),
        ("size", ByteSize(report.bytes).into()),
        ("commits", commits.into()),
        ("refused", refused.into()),
        ("remembers", memory.into()),
    ];
    facts(out, &rows)?;
    Ok(Exit::Ok)
}
