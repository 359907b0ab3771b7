//! `emberfs chain list`: all chains, or those that need something.

use engine_runtime::Env;
use engine_types::PublicState;
use mgmt_protocol::ChainRow;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Column, Table};
use crate::words;

const EXAMPLES: &str = "\
Examples:
  emberfs chain list --unwhole               what needs attention, and why
  emberfs chain list --json                  one document per chain

Members stand in the order in which writes pass. A chain is whole when all of them serve, degraded
when some do, and unserved when none does. The reason is the most important one; `emberfs chain
show` has all. Exit code 0, whatever the chains do; `emberfs mgmt status` judges them.";

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Leave out chains whose members all serve.
    #[arg(long)]
    unwhole: bool,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// A member, for programs.
#[derive(Serialize)]
struct Member {
    target: String,
    state: &'static str,
    node: String,
    store: String,
    disk: u16,
    /// What its node said last.
    local: Option<&'static str>,
    leaving: String,
    /// The start of its store that its state belongs to.
    incarnation: u64,
}

/// A chain, for programs.
#[derive(Serialize)]
pub(super) struct Report {
    chain: String,
    version: u32,
    state: &'static str,
    members: Vec<Member>,
    last_serving: Vec<String>,
    preferred: Vec<String>,
    reasons: Vec<String>,
}

impl Report {
    pub(super) fn of(row: &ChainRow) -> Self {
        let both = row.info.members.iter().zip(&row.members);
        let members = both.map(|(member, known)| Member {
            target: member.target.to_string(),
            state: words::public_state(member.state),
            node: known.node.to_string(),
            store: known.store.to_string(),
            disk: known.disk,
            local: known.local.map(|local| words::local_state(Some(local))),
            leaving: words::leaving(known.leaving),
            incarnation: member.incarnation.get(),
        });
        Self {
            chain: row.chain.to_string(),
            version: row.info.version.get(),
            state: health(row).0,
            members: members.collect(),
            last_serving: row.last_serving.iter().map(|last| last.target.to_string()).collect(),
            preferred: row.preferred.iter().map(ToString::to_string).collect(),
            reasons: row.reasons.clone(),
        }
    }
}

/// How much of it serves, and in which colour to say so.
fn health(row: &ChainRow) -> (&'static str, Option<Colour>) {
    let all = row.info.members.len();
    match row.info.members.iter().filter(|m| m.state == PublicState::Serving).count() {
        0 => ("unserved", Some(Colour::Red)),
        serving if serving == all => ("whole", Some(Colour::Green)),
        _ => ("degraded", None),
    }
}

/// The same for a table.
pub(super) fn health_cell(row: &ChainRow) -> Cell {
    match health(row) {
        (word, Some(colour)) => Cell::coloured(word, colour),
        (word, None) => word.into(),
    }
}

const COLUMNS: &[Column] = &[
    ("chain", Align::Left),
    ("version", Align::Left),
    ("state", Align::Left),
    ("members", Align::Left),
    ("reason", Align::Left),
];

fn cells(row: &ChainRow) -> Vec<Cell> {
    let member = |(at, member): (usize, &engine_types::Member)| {
        let node = row.members.get(at).map(|known| format!(" on {}", known.node));
        let node = node.unwrap_or_default();
        match member.state {
            PublicState::Serving => format!("{}{node}", member.target),
            state => format!("{}{node} {}", member.target, words::public_state(state)),
        }
    };
    let members: Vec<String> = row.info.members.iter().enumerate().map(member).collect();
    let whole = health(row).0 == "whole";
    let reason = row.reasons.first().filter(|_| !whole || 1 < row.reasons.len());
    vec![
        row.chain.into(),
        row.info.version.into(),
        health_cell(row),
        members.join(", ").into(),
        reason.map_or("", String::as_str).into(),
    ]
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let mut table = Table::new(COLUMNS);
    let each = |row: ChainRow| {
        if out.json {
            return Ok(out.document(&Report::of(&row))?);
        }
        Ok(table.row(out, cells(&row))?)
    };
    access.chains(args.unwhole, each).await?;
    if !out.json {
        table.finish(out)?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests;
