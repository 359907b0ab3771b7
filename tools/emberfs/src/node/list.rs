//! `emberfs node list`: all nodes.

use engine_runtime::Env;
use engine_types::{NodeRole, NodeState};
use mgmt_protocol::NodeRow;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Column, Table};
use crate::{text, words};

const EXAMPLES: &str = "\
Examples:
  emberfs node list
  emberfs node list --role storage --managers 10.0.0.1:7200,10.0.0.2:7200 --cluster cluster.toml
  emberfs node list --json

A node is alive while its heartbeats arrive, and dead when it was silent for a lease (2 s). Column
targets: replicas that serve, of all that it has. Exit code 0, whatever the nodes do.";

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only nodes of this role: storage, meta, manager, kv, client, operator.
    #[arg(long, value_name = "ROLE", value_parser = words::parse_role)]
    role: Option<NodeRole>,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// A node, for programs.
#[derive(Serialize)]
pub(super) struct Report {
    node: String,
    role: &'static str,
    state: &'static str,
    enabled: bool,
    draining: bool,
    /// How long ago it was heard.
    silent_ms: u64,
    /// By how much its clock runs away, if it was found to.
    clock_away_ppm: Option<i64>,
    targets: u32,
    serving: u32,
    domain: String,
    addresses: Vec<String>,
    incarnation: u64,
    tags: std::collections::BTreeMap<String, String>,
}

impl Report {
    pub(super) fn of(row: &NodeRow) -> Self {
        let record = row.record.clone();
        Self {
            node: row.node.to_string(),
            role: words::role(record.role),
            state: words::node_state(row.state),
            enabled: record.enabled,
            draining: record.draining,
            silent_ms: u64::try_from(row.silent.as_millis()).unwrap_or(u64::MAX),
            clock_away_ppm: row.clock_away,
            targets: row.targets,
            serving: row.serving,
            domain: record.domain,
            addresses: record.addresses,
            incarnation: record.incarnation.get(),
            tags: record.tags,
        }
    }
}

/// Its state in words: what keeps it from being alive comes first.
pub(super) fn state(row: &NodeRow) -> Cell {
    let word = words::node_state(row.state);
    if !row.record.enabled {
        return Cell::coloured("disabled", Colour::Red);
    }
    match row.state {
        NodeState::Dead => Cell::coloured(word, Colour::Red),
        NodeState::Alive if row.clock_away.is_some() => Cell::coloured("bad clock", Colour::Red),
        NodeState::Alive => Cell::coloured(word, Colour::Green),
        NodeState::Draining => word.into(),
    }
}

const COLUMNS: &[Column] = &[
    ("node", Align::Left),
    ("role", Align::Left),
    ("state", Align::Left),
    ("heard", Align::Right),
    ("targets", Align::Right),
    ("domain", Align::Left),
    ("address", Align::Left),
];

fn cells(row: &NodeRow) -> Vec<Cell> {
    let record = &row.record;
    let targets = match row.targets {
        0 => "-".to_owned(),
        all => format!("{}/{all}", row.serving),
    };
    let domain = if record.domain.is_empty() { "-" } else { &record.domain };
    vec![
        row.node.into(),
        words::role(record.role).into(),
        state(row),
        text::duration(row.silent).into(),
        targets.into(),
        domain.into(),
        record.addresses.first().map_or("-", String::as_str).into(),
    ]
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let mut table = Table::new(COLUMNS);
    let each = |row: NodeRow| {
        if args.role.is_some_and(|role| role != row.record.role) {
            return Ok(());
        }
        if out.json {
            return Ok(out.document(&Report::of(&row))?);
        }
        Ok(table.row(out, cells(&row))?)
    };
    access.nodes(each).await?;
    if !out.json {
        table.finish(out)?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests;
