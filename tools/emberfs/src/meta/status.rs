//! `emberfs meta status`: how the registered metadata services are, and what they have done.

use core::net::SocketAddr;
use std::rc::Rc;

use engine_net::NetConfig;
use engine_runtime::Env;
use engine_types::{Instant, NodeRole, NodeState};
use meta_protocol::{Operation, OperationCount, ServiceStatus};
use mgmt_protocol::NodeRow;
use serde::Serialize;

use crate::config::HostPort;
use crate::exit::{Exit, Failure};
use crate::manager::{Access, Managers};
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Column, Table};
use crate::words;

const EXAMPLES: &str = "\
Examples:
  emberfs meta status --cluster cluster.toml
  emberfs meta status --managers 10.0.0.6:7200 --cluster cluster.toml --operations
  emberfs meta status --config /etc/emberfs/mgmt.toml --json

One row per service that the managers know. Counts are since it started; retries are transactions
that were run again, lost are commits whose answer was lost and that were found done. Exit code 1 if
no service is ready; one that is not, and is not missed by others, is no reason.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A row for each operation of each service instead, with its times.
    #[arg(long)]
    operations: bool,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// A service and what it said.
struct Found {
    row: NodeRow,
    told: Result<ServiceStatus, String>,
}

/// One operation of a service, for programs.
#[derive(Serialize)]
struct OperationReport {
    operation: &'static str,
    done: u64,
    refused: u64,
    failed: u64,
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
}

/// A service, for programs.
#[derive(Serialize)]
struct Report {
    node: u32,
    address: String,
    state: &'static str,
    ready: bool,
    /// Why it did not answer; what stands below is 0 then.
    error: Option<String>,
    in_flight: u32,
    done: u64,
    refused: u64,
    failed: u64,
    retries: u64,
    unknown: u64,
    /// Those that were asked for.
    operations: Vec<OperationReport>,
}

/// Operations that were asked for, in their order.
fn operations(status: &ServiceStatus) -> Vec<OperationReport> {
    let named = Operation::NAMES.iter().zip(&status.operations);
    let report = |(operation, count): (&&'static str, &OperationCount)| {
        let OperationCount { done, refused, failed, p50_us, p99_us, max_us } = *count;
        OperationReport { operation, done, refused, failed, p50_us, p99_us, max_us }
    };
    let asked = |one: &OperationReport| 0 < one.done + one.refused + one.failed;
    named.map(report).filter(asked).collect()
}

impl Report {
    fn of(found: &Found) -> Self {
        let node = found.row.node.get();
        let address = found.row.record.addresses.first().cloned().unwrap_or_default();
        let state = words::node_state(found.row.state);
        let error = found.told.as_ref().err().cloned();
        let empty = ServiceStatus {
            fs: None,
            ready: false,
            in_flight: 0,
            retries: 0,
            unknown: 0,
            operations: Vec::new(),
        };
        let status = found.told.as_ref().unwrap_or(&empty);
        let sum = |of: fn(&OperationCount) -> u64| status.operations.iter().map(of).sum();
        Self {
            node,
            address,
            state,
            ready: status.ready,
            error,
            in_flight: status.in_flight,
            done: sum(|count| count.done),
            refused: sum(|count| count.refused),
            failed: sum(|count| count.failed),
            retries: status.retries,
            unknown: status.unknown,
            operations: operations(status),
        }
    }

    fn state(&self) -> Cell {
        match (&self.error, self.ready) {
            (Some(why), _) => Cell::coloured(why.as_str(), Colour::Red),
            (None, true) => Cell::coloured("ready", Colour::Green),
            (None, false) => Cell::coloured("not ready", Colour::Red),
        }
    }
}

const COLUMNS: &[Column] = &[
    ("node", Align::Left),
    ("address", Align::Left),
    ("heard", Align::Left),
    ("under way", Align::Right),
    ("done", Align::Right),
    ("refused", Align::Right),
    ("failed", Align::Right),
    ("retries", Align::Right),
    ("lost", Align::Right),
    ("state", Align::Left),
];

const OPERATION_COLUMNS: &[Column] = &[
    ("node", Align::Left),
    ("operation", Align::Left),
    ("done", Align::Right),
    ("refused", Align::Right),
    ("failed", Align::Right),
    ("p50 us", Align::Right),
    ("p99 us", Align::Right),
    ("max us", Align::Right),
];

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let rows = services(&access).await?;
    let net = access.cluster.operator(env);
    let by = access.deadline();
    let tasks: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let (env, net) = (env.clone(), net.clone());
            access.env.spawn(async move {
                let told = ask(&env, net, &row, by).await;
                Found { row, told }
            })
        })
        .collect();
    let mut found = Vec::new();
    for task in tasks {
        found.push(task.await);
    }
    print(out, args.operations, &found)
}

/// The services that are registered.
pub(super) async fn services<E: Env>(access: &Access<E>) -> Result<Vec<NodeRow>, Failure> {
    let mut rows = Vec::new();
    let each = |row: NodeRow| {
        if row.record.role == NodeRole::Meta {
            rows.push(row);
        }
        Ok(())
    };
    access.nodes(each).await?;
    Ok(rows)
}

/// Where a service listens. One that the managers do not hear of is not waited for.
pub(super) fn address(row: &NodeRow) -> Result<SocketAddr, String> {
    if row.state == NodeState::Dead {
        return Err("the managers do not hear of it".to_owned());
    }
    let named = row.record.addresses.first().ok_or("it has no address")?;
    let named: HostPort = named.parse().map_err(|why| format!("{named}: {why}"))?;
    let found: Vec<SocketAddr> = named.resolve().map_err(|error| error.to_string())?;
    Ok(*found.first().ok_or("its host has no address")?)
}

async fn ask<E: Env>(
    env: &E,
    net: Rc<NetConfig>,
    row: &NodeRow,
    by: Instant,
) -> Result<ServiceStatus, String> {
    meta_client::status(env, net, address(row)?, by).await.map_err(|error| error.to_string())
}

fn print(out: &mut Output, by_operation: bool, found: &[Found]) -> Result<Exit, Failure> {
    let reports: Vec<Report> = found.iter().map(Report::of).collect();
    let ready = reports.iter().any(|report| report.ready);
    let columns = if by_operation { OPERATION_COLUMNS } else { COLUMNS };
    let mut table = Table::new(columns);
    for report in &reports {
        if out.json {
            out.document(report)?;
        } else if by_operation {
            for one in &report.operations {
                table.row(out, cells_of(report.node, one))?;
            }
        } else {
            table.row(out, cells(report))?;
        }
    }
    if !out.json {
        table.finish(out)?;
    }
    Ok(if ready { Exit::Ok } else { Exit::Problem })
}

fn cells(report: &Report) -> Vec<Cell> {
    vec![
        format!("node-{}", report.node).into(),
        report.address.as_str().into(),
        report.state.into(),
        report.in_flight.into(),
        report.done.into(),
        report.refused.into(),
        report.failed.into(),
        report.retries.into(),
        report.unknown.into(),
        report.state(),
    ]
}

fn cells_of(node: u32, one: &OperationReport) -> Vec<Cell> {
    vec![
        format!("node-{node}").into(),
        one.operation.into(),
        one.done.into(),
        one.refused.into(),
        one.failed.into(),
        one.p50_us.into(),
        one.p99_us.into(),
        one.max_us.into(),
    ]
}
