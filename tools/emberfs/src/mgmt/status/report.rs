//! What is told of managers and their cluster.

use engine_runtime::Env;
use mgmt_protocol::{ClusterSummary, ManagerStatus, StandingSaid};
use serde::Serialize;

use super::{Found, primary};
use crate::exit::Failure;
use crate::manager::Access;
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Table, facts};
use crate::{text, words};

#[derive(Serialize)]
struct ManagerReport {
    address: String,
    /// Nothing of one that did not answer.
    node: Option<String>,
    incarnation: Option<u64>,
    standing: Option<&'static str>,
    since_ms: Option<u64>,
    /// Of the lease record that it read or wrote last.
    term: Option<u64>,
    /// Whom that record names.
    holder: Option<String>,
    /// Why it did not answer.
    error: Option<String>,
}

#[derive(Serialize)]
struct ClusterReport {
    name: String,
    timeline: u32,
    stopped: bool,
    routing: u64,
    nodes: u32,
    nodes_alive: u32,
    targets: u32,
    targets_serving: u32,
    targets_syncing: u32,
    chains: u32,
    chains_whole: u32,
    chains_unserved: u32,
    sessions: u32,
    /// Changes written in this term.
    changes: u64,
    /// How long nobody is demoted yet, after a takeover.
    grace_ms: u64,
}

#[derive(Serialize)]
struct Report {
    cluster: String,
    /// Where the primary answered.
    primary: Option<String>,
    managers: Vec<ManagerReport>,
    summary: Option<ClusterReport>,
}

fn millis(time: core::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl ManagerReport {
    fn of(found: &Found) -> Self {
        let (status, error) = match &found.told {
            Ok(status) => (Some(status), None),
            Err(why) => (None, Some(why.clone())),
        };
        let lease = status.and_then(|status| status.lease.as_ref());
        Self {
            address: found.address.to_string(),
            node: status.map(|status| status.me.node.to_string()),
            incarnation: status.map(|status| status.me.incarnation.get()),
            standing: status.map(|status| words::standing(status.standing)),
            since_ms: status.map(|status| millis(status.since)),
            term: lease.map(|lease| lease.term.get()),
            holder: lease.map(|lease| lease.holder.node.to_string()),
            error,
        }
    }
}

impl ClusterReport {
    fn of(summary: &ClusterSummary) -> Self {
        Self {
            name: summary.name.clone(),
            timeline: summary.timeline.get(),
            stopped: summary.stopped,
            routing: summary.routing.get(),
            nodes: summary.nodes,
            nodes_alive: summary.nodes_alive,
            targets: summary.targets,
            targets_serving: summary.targets_serving,
            targets_syncing: summary.targets_syncing,
            chains: summary.chains,
            chains_whole: summary.chains_whole,
            chains_unserved: summary.chains_unserved,
            sessions: summary.sessions,
            changes: summary.changes,
            grace_ms: millis(summary.grace),
        }
    }
}

/// Prints what was found; at least one manager has answered.
pub(super) fn print<E: Env>(
    out: &mut Output,
    access: &Access<E>,
    found: &[Found],
) -> Result<(), Failure> {
    write(out, &access.cluster.id.to_string(), found)
}

pub(super) fn write(out: &mut Output, cluster: &str, found: &[Found]) -> Result<(), Failure> {
    let first = primary(found);
    let summary = first.and_then(|(_, status)| status.summary.as_ref());
    if out.json {
        return Ok(out.document(&Report {
            cluster: cluster.to_owned(),
            primary: first.map(|(address, _)| address.to_string()),
            managers: found.iter().map(ManagerReport::of).collect(),
            summary: summary.map(ClusterReport::of),
        })?);
    }
    managers(out, found)?;
    out.line("")?;
    match summary {
        Some(summary) => totals(out, cluster, summary),
        None => {
            let none = "none: one takes over when the kv answers and the former lease has run out";
            let rows = [
                ("cluster", cluster.into()),
                ("primary", Cell::coloured(none, Colour::Red)),
                ("look", "emberfs kv status".into()),
            ];
            Ok(facts(out, &rows)?)
        }
    }
}

fn managers(out: &mut Output, found: &[Found]) -> Result<(), Failure> {
    let columns = [
        ("manager", Align::Left),
        ("address", Align::Left),
        ("standing", Align::Left),
        ("term", Align::Right),
        ("since", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for Found { address, told } in found {
        let cells = match told {
            Ok(status) => cells(*address, status),
            Err(why) => vec![
                "-".into(),
                address.into(),
                Cell::coloured(why.as_str(), Colour::Red),
                "-".into(),
                "-".into(),
            ],
        };
        table.row(out, cells)?;
    }
    Ok(table.finish(out)?)
}

fn cells(address: core::net::SocketAddr, status: &ManagerStatus) -> Vec<Cell> {
    let word = words::standing(status.standing);
    let standing = match status.standing {
        StandingSaid::Primary => Cell::coloured(word, Colour::Green),
        StandingSaid::Standby | StandingSaid::TakingOver => word.into(),
    };
    let term = status.lease.as_ref().map(|lease| lease.term.get().to_string());
    let term = term.unwrap_or_else(|| "-".to_owned());
    let since = text::duration(status.since);
    vec![status.me.node.into(), address.into(), standing, term.into(), since.into()]
}

fn totals(out: &mut Output, cluster: &str, summary: &ClusterSummary) -> Result<(), Failure> {
    let s = summary;
    let chains = format!(
        "{}: {} whole, {} degraded, {} unserved",
        s.chains,
        s.chains_whole,
        s.chains.saturating_sub(s.chains_whole).saturating_sub(s.chains_unserved),
        s.chains_unserved
    );
    let state = match (s.stopped, s.chains_unserved) {
        (true, _) => Cell::coloured("stopped: `emberfs cluster start` starts it", Colour::Red),
        (false, 0) if s.chains == 0 => "there are no chains yet".into(),
        (false, 0) => Cell::coloured("every chain is served", Colour::Green),
        (false, _) => Cell::coloured("not every chain is served", Colour::Red),
    };
    let mut rows: Vec<(&str, Cell)> = vec![
        ("cluster", cluster.into()),
        ("name", s.name.as_str().into()),
        ("state", state),
        ("nodes", format!("{}, of them {} alive", s.nodes, s.nodes_alive).into()),
        ("chains", chains.into()),
        (
            "targets",
            format!("{}: {} serve, {} are synced", s.targets, s.targets_serving, s.targets_syncing)
                .into(),
        ),
        ("sessions", s.sessions.into()),
        ("routing", s.routing.into()),
        ("timeline", s.timeline.into()),
        ("changes", format!("{} in this term", s.changes).into()),
    ];
    if !s.grace.is_zero() {
        let left = text::duration(s.grace);
        rows.push(("takeover", format!("nobody is demoted for another {left}").into()));
    }
    if s.chains_whole < s.chains {
        rows.push(("look", "emberfs chain list --unwhole".into()));
    }
    Ok(facts(out, &rows)?)
}
