//! `emberfs cluster stop`, `start` and `raise-timeline`: what concerns all chains at once.

use anyhow::anyhow;
use engine_runtime::Env;
use mgmt_cluster::command::Command;
use mgmt_protocol::Operation;

use crate::exit::{Exit, Failure};
use crate::manager::{Managers, did};
use crate::output::Output;

pub(super) const STOP_EXAMPLES: &str = "\
Examples:
  emberfs cluster stop
  emberfs cluster stop --managers 10.0.0.1:7200 --cluster cluster.toml --json

For a planned shutdown of everything. All chains stop serving, which interrupts all clients; who
served is remembered, so that nothing is resynced after the start. `emberfs mgmt status` shows when
no target serves any more: then storage nodes can be switched off in any order.";

pub(super) const START_EXAMPLES: &str = "\
Examples:
  emberfs cluster start
  emberfs cluster start --managers 10.0.0.1:7200 --cluster cluster.toml --json

Chains serve again as soon as the nodes of those who served last are back. Changes nothing in a
cluster that is not stopped.";

pub(super) const RAISE_EXAMPLES: &str = "\
Examples:
  emberfs cluster raise-timeline             says what it means, and does nothing
  emberfs cluster raise-timeline --yes

For a key-value store that came back from a backup, when all stores that exist have been heard: see
`emberfs node list`. Chains are frozen until then, as their stores know more than the backup does.";

/// What is told before it is done.
const MEANING: &str = "raising the timeline says that the key-value store came back from a backup:
  - every chain is lifted above all versions that its stores report
  - a store that has installed less than another of its chain leaves those who may serve; it is
    synced again
  - all sessions of clients end; clients open new ones and lose locks and open files
  - stores that have not been heard by now are judged without being asked: wait for them first
There is no way back.";

/// Arguments of `stop` and `start`.
#[derive(Debug, clap::Args)]
pub(super) struct ControlArgs {
    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Arguments of `raise-timeline`.
#[derive(Debug, clap::Args)]
#[command(after_help = RAISE_EXAMPLES)]
pub(super) struct RaiseArgs {
    /// Do it.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Runs `stop`, or `start` if not `stop`.
pub(super) async fn stop<E: Env>(env: E, args: ControlArgs, stop: bool) -> Result<Exit, Failure> {
    let said = match stop {
        true => "all chains stop; `emberfs mgmt status` shows when no target serves any more",
        false => "all chains start; they serve when the nodes of their last servers are back",
    };
    operate(&env, &args.managers, Command::StopChains(stop), said).await
}

/// Runs `raise-timeline`.
pub(super) async fn raise<E: Env>(env: E, args: RaiseArgs) -> Result<Exit, Failure> {
    if !args.yes {
        return Err(Failure::usage(anyhow!("{MEANING}")).hint("--yes does it"));
    }
    let said = "the timeline is raised; `emberfs chain list --unwhole` shows who is synced";
    operate(&env, &args.managers, Command::RaiseTimeline, said).await
}

async fn operate<E: Env>(
    env: &E,
    managers: &Managers,
    command: Command,
    said: &str,
) -> Result<Exit, Failure> {
    let mut out = Output::standard(managers.json);
    let access = managers.access(env).await?;
    let done = access.operate(Operation::Cluster(command), "emberfs mgmt status").await?;
    did(&mut out, &done, said)?;
    out.flush()?;
    Ok(Exit::Ok)
}
