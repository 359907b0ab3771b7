//! `emberfs node show`: all that is known of one node.

use engine_runtime::Env;
use engine_types::NodeId;
use mgmt_cluster::explain::DrainProgress;
use mgmt_protocol::{ChainRow, NodeRow};
use serde::Serialize;

use super::drain;
use super::list::{Report as NodeReport, state};
use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::Output;
use crate::table::{Align, Cell, Table, facts};
use crate::{ids, text, words};

const EXAMPLES: &str = "\
Examples:
  emberfs node show node-3
  emberfs node show 3 --targets              with its replicas; reads all chains
  emberfs node show 3 --json";

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The node: node-3 or 3.
    #[arg(value_name = "NODE", value_parser = ids::parse::<NodeId>)]
    node: NodeId,

    /// Show its replicas as well.
    #[arg(long)]
    targets: bool,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// A replica of the node.
#[derive(Serialize)]
struct TargetReport {
    target: String,
    chain: String,
    state: &'static str,
    store: String,
    disk: u16,
    leaving: String,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    node: NodeReport,
    /// If it is drained.
    drain: Option<drain::Report>,
    /// If they were asked for.
    replicas: Option<Vec<TargetReport>>,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let row = access.node(args.node).await?;
    let progress = match row.record.draining {
        true => Some(access.drain(args.node).await?),
        false => None,
    };
    let mut replicas = Vec::new();
    if args.targets {
        let each = |chain: ChainRow| {
            replicas.extend(of_node(&chain, args.node));
            Ok(())
        };
        access.chains(false, each).await?;
    }
    if out.json {
        let drain = progress.as_ref().map(drain::Report::of);
        let replicas = args.targets.then_some(replicas);
        out.document(&Report { node: NodeReport::of(&row), drain, replicas })?;
        return Ok(Exit::Ok);
    }
    print(out, &row, progress.as_ref())?;
    if args.targets {
        table(out, replicas)?;
    }
    Ok(Exit::Ok)
}

fn of_node(chain: &ChainRow, node: NodeId) -> impl Iterator<Item = TargetReport> {
    let both = chain.info.members.iter().zip(&chain.members);
    both.filter(move |(_, known)| known.node == node).map(|(member, known)| TargetReport {
        target: member.target.to_string(),
        chain: chain.chain.to_string(),
        state: words::public_state(member.state),
        store: known.store.to_string(),
        disk: known.disk,
        leaving: words::leaving(known.leaving),
    })
}

fn print(out: &mut Output, row: &NodeRow, drain: Option<&DrainProgress>) -> Result<(), Failure> {
    let record = &row.record;
    let heard = format!("{} ago", text::duration(row.silent));
    let targets = format!("{}, of them {} serve", row.targets, row.serving);
    let mut rows: Vec<(&str, Cell)> = vec![
        ("node", row.node.into()),
        ("role", words::role(record.role).into()),
        ("state", state(row)),
        ("heard", heard.into()),
        ("addresses", record.addresses.join(", ").into()),
        ("domain", if record.domain.is_empty() { "-" } else { &record.domain }.into()),
        ("start", record.incarnation.into()),
        ("targets", targets.into()),
    ];
    if let Some(ppm) = row.clock_away {
        let text = format!("runs away by {ppm} ppm: refused until the process starts anew");
        rows.push(("clock", text.into()));
    }
    if let Some(progress) = drain {
        rows.push(("draining", drain::said(progress).into()));
    }
    for (key, value) in &record.tags {
        rows.push(("tag", format!("{key}={value}").into()));
    }
    Ok(facts(out, &rows)?)
}

fn table(out: &mut Output, replicas: Vec<TargetReport>) -> Result<(), Failure> {
    let columns = ["target", "chain", "state", "disk", "store", "leaves"];
    let mut table = Table::new(&columns.map(|title| (title, Align::Left)));
    out.line("")?;
    for TargetReport { target, chain, state, store, disk, leaving } in replicas {
        let cells = vec![
            target.into(),
            chain.into(),
            state.into(),
            disk.into(),
            store.into(),
            leaving.into(),
        ];
        table.row(out, cells)?;
    }
    Ok(table.finish(out)?)
}
