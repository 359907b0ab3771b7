//! `emberfs mgmt status`: all managers, and the cluster as the primary sees it.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::TcpStream;

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::Instant;
use mgmt_client::{ManagerError, Managers as Client};
use mgmt_protocol::{ManagerStatus, StandingSaid, StatusAsk};

use crate::config::HostPort;
use crate::exit::{Exit, Failure};
use crate::manager::{Access, Managers};
use crate::output::Output;

mod report;

const EXAMPLES: &str = "\
Examples:
  emberfs mgmt status
  emberfs mgmt status --managers 10.0.0.1:7200,10.0.0.2:7200 --cluster cluster.toml
  emberfs mgmt status --config /etc/emberfs/mgmt.toml --json

Asks the managers that are named, and the primary that they name. Exit code 0 if there is a primary
and every chain is served; 1 if there is no primary, or a chain is not served, also while all are
stopped; 3 if no manager answers. Chains that are served by fewer members than they have are counted
and are no reason for 1.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) managers: Managers,
}

/// What came of asking one manager.
struct Found {
    address: SocketAddr,
    told: Result<ManagerStatus, String>,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.open(env)?;
    let found = ask_all(&access).await;
    if found.iter().all(|found| found.told.is_err()) {
        let mut text = "no manager answers".to_owned();
        for Found { address, told } in &found {
            let why = told.as_ref().err().map_or("", String::as_str);
            text += &format!("\n  {address}: {why}");
        }
        let hint = "is `emberfs mgmt serve` running there, with the same cluster file?";
        return Err(Failure::environment(anyhow!("{text}")).hint(hint));
    }
    report::print(out, &access, &found)?;
    Ok(judge(&found))
}

/// The primary, of the latest term if two still think that they are.
fn primary(found: &[Found]) -> Option<(SocketAddr, &ManagerStatus)> {
    let told = found.iter().filter_map(|found| Some((found.address, found.told.as_ref().ok()?)));
    let primaries = told.filter(|(_, status)| status.standing == StandingSaid::Primary);
    primaries.max_by_key(|(_, status)| status.lease.as_ref().map(|lease| lease.term))
}

/// Whether all is as it should be.
fn judge(found: &[Found]) -> Exit {
    let summary = primary(found).and_then(|(_, status)| status.summary.as_ref());
    match summary {
        Some(summary) if summary.chains_unserved == 0 => Exit::Ok,
        _ => Exit::Problem,
    }
}

/// Asks who is named, all at once, and then whom they name as primary. A manager with several
/// addresses is there once.
async fn ask_all<E: Env>(access: &Access<E>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut asked: BTreeSet<SocketAddr> = BTreeSet::new();
    let mut wave = access.seeds.clone();
    while !wave.is_empty() {
        let deadline = access.deadline();
        asked.extend(&wave);
        let ask = |address| {
            let (env, client) = (access.env.clone(), access.client.clone());
            access.env.spawn(ask(env, client, address, deadline, access.timeout()))
        };
        let tasks: Vec<_> = wave.into_iter().map(ask).collect();
        for task in tasks {
            found.push(task.await);
        }
        wave = named(&found).into_iter().filter(|address| !asked.contains(address)).collect();
    }
    let mut seen = BTreeSet::new();
    found.retain(|found| match &found.told {
        Ok(status) => seen.insert((status.me.node, status.me.incarnation)),
        Err(_) => true,
    });
    found
}

async fn ask<E: Env>(
    env: E,
    client: Client<E>,
    address: SocketAddr,
    deadline: Instant,
    timeout: Duration,
) -> Found {
    // The client would try on until the deadline where nobody listens.
    let tried = env.blocking(move || TcpStream::connect_timeout(&address, timeout).map(drop)).await;
    let told = match tried {
        Err(error) => Err(error.to_string()),
        Ok(()) => {
            let told = client.call_at(address, &StatusAsk { summary: true }, deadline).await;
            told.map_err(|error| reason(address, error))
        }
    };
    Found { address, told }
}

/// Why there is no answer, without the address, which stands beside it.
fn reason(address: SocketAddr, error: ManagerError) -> String {
    let why = match error {
        ManagerError::Unreachable { mut tried } => tried.pop().map(|(_, why)| why),
        ManagerError::Unknown { why, .. } | ManagerError::Malformed { why, .. } => Some(why),
        error => Some(error.to_string()),
    };
    let why = why.unwrap_or_else(|| "no answer".to_owned());
    let named = format!("{address} cannot be reached: ");
    why.strip_prefix(&named).map_or(why.clone(), str::to_owned)
}

/// Addresses of primaries that are named and have not answered themselves.
fn named(found: &[Found]) -> Vec<SocketAddr> {
    let told = || found.iter().filter_map(|found| found.told.as_ref().ok());
    let mut named = Vec::new();
    for holder in told().filter_map(|status| status.lease.as_ref()).map(|lease| &lease.holder) {
        if told().any(|status| status.me.node == holder.node) {
            continue;
        }
        let addresses = holder.addresses.iter().filter_map(|text| text.parse::<HostPort>().ok());
        named.extend(addresses.filter_map(|address| address.resolve().ok()?.first().copied()));
    }
    named.sort_unstable();
    named.dedup();
    named
}

#[cfg(test)]
mod tests;
