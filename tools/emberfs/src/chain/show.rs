//! `emberfs chain show`: one chain, and what keeps it from being whole.

use engine_runtime::Env;
use engine_types::ChainId;
use mgmt_protocol::ChainRow;

use super::list::{Report, health_cell};
use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Table, facts};
use crate::{ids, words};

const EXAMPLES: &str = "\
Examples:
  emberfs chain show chain-5
  emberfs chain show 5 --json

Reasons say what keeps the chain from being whole, the most important first, and what each member
waits for. Column node says: what the member's node said last; column leaves: whether the operator
wants it out.";

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The chain: chain-5 or 5.
    #[arg(value_name = "CHAIN", value_parser = ids::parse::<ChainId>)]
    chain: ChainId,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let row = access.chain(args.chain).await?;
    if out.json {
        out.document(&Report::of(&row))?;
        return Ok(Exit::Ok);
    }
    print(out, &row)?;
    Ok(Exit::Ok)
}

fn list(words: impl Iterator<Item = impl ToString>) -> String {
    let words: Vec<String> = words.map(|word| word.to_string()).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn print(out: &mut Output, row: &ChainRow) -> Result<(), Failure> {
    let mut rows: Vec<(&str, Cell)> = vec![
        ("chain", row.chain.into()),
        ("version", row.info.version.into()),
        ("state", health_cell(row)),
        ("served last", list(row.last_serving.iter().map(|last| last.target)).into()),
        ("preferred order", list(row.preferred.iter()).into()),
    ];
    rows.extend(row.reasons.iter().map(|reason| ("reason", reason.as_str().into())));
    facts(out, &rows)?;
    out.line("")?;
    let columns = ["target", "state", "node says", "node", "disk", "store", "leaves"];
    let mut table = Table::new(&columns.map(|title| (title, Align::Left)));
    for (member, known) in row.info.members.iter().zip(&row.members) {
        let state = words::public_state(member.state);
        let state = match state {
            "serving" => Cell::coloured(state, Colour::Green),
            _ => state.into(),
        };
        let cells = vec![
            member.target.into(),
            state,
            words::local_state(known.local).into(),
            known.node.into(),
            known.disk.into(),
            known.store.into(),
            words::leaving(known.leaving).into(),
        ];
        table.row(out, cells)?;
    }
    Ok(table.finish(out)?)
}
