//! `emberfs table plan`: a table for nodes and disks, and how even it is.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::{NodeId, NodeRole};
use mgmt_placement::{
    Disk, Node, Positions, Report, Share, Solution, SolveError, Spread, Topology, solve, verify,
};
use mgmt_protocol::NodeRow;
use serde::Serialize;

use crate::config::read_text;
use crate::exit::{Exit, Failure};
use crate::ids;
use crate::manager::Managers;
use crate::output::Output;
use crate::table::{Align, Cell, Table, facts};

const EXAMPLES: &str = "\
Examples:
  emberfs table plan --nodes nodes.txt                    needs no cluster
  emberfs table plan --disks 4 --targets 6 --replicas 2   the storage nodes of the cluster
  emberfs table plan --nodes nodes.txt --seed 7 --chains --json

nodes.txt has a line for each node: number, failure domain (- if it is one by itself), disks,
targets of each disk:
  node-1  rack-a  4  6
  node-2  rack-b  4  6

When a disk or node fails, its reads fall on the other members of its chains. The report says how
much of them the busiest other disk or node takes, beside the least that is possible. The same
nodes, replicas and seed give the same table. Nothing is changed.";

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// File that describes the nodes; else the storage nodes that the cluster knows are taken.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["disks", "targets"])]
    nodes: Option<PathBuf>,

    /// Disks of each storage node of the cluster.
    #[arg(long, value_name = "N", default_value = "1")]
    disks: u16,

    /// Targets of each of these disks.
    #[arg(long, value_name = "N", default_value = "6")]
    targets: u16,

    /// Members of each chain.
    #[arg(long, value_name = "N", default_value = "3")]
    replicas: usize,

    /// Another seed gives another table of the same quality, or nearly so.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,

    /// Print the chains as well.
    #[arg(long)]
    chains: bool,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Where a member of a chain is.
#[derive(Serialize)]
struct SeatReport {
    node: String,
    disk: u16,
    slot: u16,
}

/// What the busiest peer takes of the reads of what fails.
#[derive(Serialize)]
struct ShareReport {
    failed: String,
    parts: u32,
    slots: u32,
    /// The least that the busiest peer can take.
    bound: u32,
    share: f64,
    bound_share: f64,
}

impl ShareReport {
    fn of(share: &Share) -> Self {
        let &Share { parts, slots, bound, .. } = share;
        let (whole, bound_share) = (share.share(), share.bound_share());
        Self { failed: failed(share), parts, slots, bound, share: whole, bound_share }
    }
}

#[derive(Serialize)]
struct PlanReport {
    nodes: usize,
    replicas: usize,
    seed: u64,
    chains: usize,
    used: usize,
    unused_by_domain: usize,
    unused_by_count: usize,
    disk_on_disk: Option<ShareReport>,
    disk_on_node: Option<ShareReport>,
    node_on_disk: Option<ShareReport>,
    node_on_node: Option<ShareReport>,
    /// If they were asked for: members, the head first.
    table: Option<Vec<Vec<SeatReport>>>,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let topology = match &args.nodes {
        Some(path) => parse(path, &read_text(path)?)?,
        None => of_cluster(env, args).await?,
    };
    let (replicas, seed) = (args.replicas, args.seed);
    let given = topology.clone();
    let solved = env.blocking(move || solve(&given, replicas, seed)).await;
    let solution = solved.map_err(|error: SolveError| Failure::usage(error))?;
    // What is printed was checked by other code than that which made it.
    let checked = verify(&topology, &solution.table);
    checked.map_err(|error| Failure::problem(error).hint("this is a mistake in EmberFS"))?;
    if out.json {
        document(out, args, &topology, &solution)?;
    } else {
        print(out, args, &topology, &solution)?;
    }
    Ok(Exit::Ok)
}

async fn of_cluster<E: Env>(env: &E, args: &Args) -> Result<Topology, Failure> {
    let access = args.managers.access(env).await?;
    let disks: Vec<Disk> =
        (0..args.disks).map(|index| Disk { index, targets: args.targets }).collect();
    let mut nodes = Vec::new();
    let each = |row: NodeRow| {
        // Who is to leave gets nothing new.
        let record = row.record;
        if record.role == NodeRole::Storage && record.enabled && !record.draining {
            let domain = Some(record.domain).filter(|domain| !domain.is_empty());
            nodes.push(Node { id: row.node, domain, disks: disks.clone() });
        }
        Ok(())
    };
    access.nodes(each).await?;
    if nodes.is_empty() {
        return Err(Failure::usage(anyhow!("the cluster has no storage nodes"))
            .hint("describe the nodes that it will have in a file: --nodes"));
    }
    Ok(Topology { nodes })
}

fn parse(path: &Path, text: &str) -> Result<Topology, Failure> {
    let mut nodes = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let node = node(line).map_err(|why| {
            Failure::usage(anyhow!("{}:{number}: {why}", path.display()))
                .hint("write it as: node-1 rack-a 4 6")
        });
        nodes.push(node?);
    }
    Ok(Topology { nodes })
}

fn node(line: &str) -> Result<Node, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, domain, disks, targets] = *words else {
        let found = words.len();
        return Err(format!("found {found} words, expected node, domain, disks, targets"));
    };
    let id: NodeId = ids::parse(id).map_err(|why| format!("{id:?}: {why}"))?;
    let domain = Some(domain).filter(|domain| *domain != "-").map(str::to_owned);
    let number = |text: &str, what: &str| {
        let number: Result<u16, _> = text.parse();
        number.map_err(|_| format!("found {text:?}, expected a number of {what}"))
    };
    let targets = number(targets, "targets")?;
    let disks = (0..number(disks, "disks")?).map(|index| Disk { index, targets }).collect();
    Ok(Node { id, domain, disks })
}

fn failed(share: &Share) -> String {
    match share.disk {
        Some(disk) => format!("{} disk {disk}", share.node),
        None => share.node.to_string(),
    }
}

/// The spreads with what they are called.
fn spreads(report: &Report) -> [(&'static str, Option<&Spread>); 4] {
    [
        ("a disk fails: busiest disk", report.disk_on_disk.as_ref()),
        ("a disk fails: busiest node", report.disk_on_node.as_ref()),
        ("a node fails: busiest disk", report.node_on_disk.as_ref()),
        ("a node fails: busiest node", report.node_on_node.as_ref()),
    ]
}

fn document(
    out: &mut Output,
    args: &Args,
    topology: &Topology,
    solution: &Solution,
) -> Result<(), Failure> {
    let Solution { table, report } = solution;
    let worst = |spread: &Option<Spread>| spread.as_ref().map(|s| ShareReport::of(&s.worst));
    let seats = |chain: &mgmt_placement::Chain| {
        let seat = |seat: &mgmt_placement::Seat| SeatReport {
            node: seat.node.to_string(),
            disk: seat.disk,
            slot: seat.slot,
        };
        chain.members.iter().map(seat).collect()
    };
    Ok(out.document(&PlanReport {
        nodes: topology.nodes.len(),
        replicas: args.replicas,
        seed: args.seed,
        chains: report.chains,
        used: report.used,
        unused_by_domain: report.unused.by_domain,
        unused_by_count: report.unused.by_count,
        disk_on_disk: worst(&report.disk_on_disk),
        disk_on_node: worst(&report.disk_on_node),
        node_on_disk: worst(&report.node_on_disk),
        node_on_node: worst(&report.node_on_node),
        table: args.chains.then(|| table.chains.iter().map(seats).collect()),
    })?)
}

fn print(
    out: &mut Output,
    args: &Args,
    topology: &Topology,
    solution: &Solution,
) -> Result<(), Failure> {
    let Solution { table, report } = solution;
    let (by_domain, by_count) = (report.unused.by_domain, report.unused.by_count);
    let unused = format!(
        "{by_domain} in domains with more slots than chains, {by_count} as they make no chain"
    );
    let often = |positions: &Positions| match (positions.min, positions.max) {
        (min, max) if min == max => format!("{min} times each disk"),
        (min, max) => format!("{min} to {max} times each disk"),
    };
    let rows: [(&str, Cell); 7] = [
        ("nodes", topology.nodes.len().into()),
        ("replicas", args.replicas.into()),
        ("chains", report.chains.into()),
        ("targets", report.used.into()),
        ("unused slots", unused.into()),
        ("heads", often(&report.heads).into()),
        ("tails", often(&report.tails).into()),
    ];
    facts(out, &rows)?;
    out.line("")?;
    let titles = ["worst case", "takes of its reads", "at best", "example"];
    let mut shown = Table::new(&titles.map(|title| (title, Align::Left)));
    for (name, spread) in spreads(report) {
        let Some(Spread { worst, .. }) = spread else { continue };
        let share = |parts: u32, share: f64| format!("{parts}/{} = {share:.3}", worst.slots);
        let taken = share(worst.parts, worst.share());
        let bound = share(worst.bound, worst.bound_share());
        shown.row(out, vec![name.into(), taken.into(), bound.into(), failed(worst).into()])?;
    }
    shown.finish(out)?;
    if args.chains {
        out.line("")?;
        let mut shown = Table::new(&[("chain", Align::Left), ("members", Align::Left)]);
        for chain in &table.chains {
            let seat = |seat: &mgmt_placement::Seat| {
                format!("{}/disk {}/slot {}", seat.node, seat.disk, seat.slot)
            };
            let members: Vec<String> = chain.members.iter().map(seat).collect();
            shown.row(out, vec![chain.id.into(), members.join(", ").into()])?;
        }
        shown.finish(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
