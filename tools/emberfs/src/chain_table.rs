//! `emberfs table`: chain tables, which files are laid out over.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use engine_types::limits::CHAINS_MAX;
use engine_types::{ChainId, ChainTableId, ChainTableVersion};
use mgmt_cluster::command::Command;
use mgmt_protocol::Operation;
use serde::Serialize;

use crate::config::read_text;
use crate::exit::{Exit, Failure};
use crate::ids::{self, ChainSpan};
use crate::manager::{Managers, did};
use crate::output::Output;
use crate::run;
use crate::table::{Align, Table};

mod plan;

const SHOW_EXAMPLES: &str = "\
Examples:
  emberfs table show table-1
  emberfs table show 1 v3 --json

Layouts of files name a version of a table and positions in it, so all versions are kept.";

const SET_EXAMPLES: &str = "\
Examples:
  emberfs table set table-1 chain-1..chain-64
  emberfs table set 1 1..32 40 41 --json
  emberfs table set 1 --file chains.txt      chains or spans of chains, separated by blanks

The next version of the table is written: new files are laid out over it. Files that exist keep
their version, nothing moves. Chains must exist; the order is that of positions. A table cannot be
removed.";

/// What to do with chain tables.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the chains of a table.
    Show(ShowArgs),
    /// Write the next version of a table.
    Set(SetArgs),
    /// Compute a table for nodes and disks, and say how even it is. Nothing is changed.
    Plan(plan::Args),
}

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// The table: table-1 or 1.
    #[arg(value_name = "TABLE", value_parser = ids::parse::<ChainTableId>)]
    table: ChainTableId,

    /// Which version: v3 or 3; by default the newest.
    #[arg(value_name = "VERSION", value_parser = ids::parse::<ChainTableVersion>)]
    wanted: Option<ChainTableVersion>,

    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `set`.
#[derive(Debug, clap::Args)]
#[command(after_help = SET_EXAMPLES)]
struct SetArgs {
    /// The table: table-1 or 1.
    #[arg(value_name = "TABLE", value_parser = ids::parse::<ChainTableId>)]
    table: ChainTableId,

    /// Chains, one by one or as FIRST..LAST, both included.
    #[arg(value_name = "CHAIN", value_parser = ids::chain_span)]
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    chains: Vec<ChainSpan>,

    /// File with the chains.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    managers: Managers,
}

#[derive(Serialize)]
struct Report {
    table: String,
    version: u32,
    chains: Vec<String>,
}

impl Verb {
    const fn managers(&self) -> &Managers {
        match self {
            Self::Show(args) => &args.managers,
            Self::Set(args) => &args.managers,
            Self::Plan(args) => &args.managers,
        }
    }
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let json = args.verb.managers().json;
    run::on_core(json, CoreSpec::new("emberfs"), |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.managers().json);
    let done = match verb {
        Verb::Show(args) => show(&env, &args, &mut out).await,
        Verb::Set(args) => set(&env, &args, &mut out).await,
        Verb::Plan(args) => plan::run(&env, &args, &mut out).await,
    };
    out.flush()?;
    done
}

async fn show<E: Env>(env: &E, args: &ShowArgs, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let (version, chains) = access.table(args.table, args.wanted).await?;
    let table = args.table.to_string();
    if out.json {
        let chains = chains.iter().map(ChainId::to_string).collect();
        out.document(&Report { table, version: version.get(), chains })?;
        return Ok(Exit::Ok);
    }
    out.line(&format!("{table} {version}: {} chains", chains.len()))?;
    let mut shown = Table::new(&[("position", Align::Right), ("chain", Align::Left)]);
    for (position, chain) in chains.iter().enumerate() {
        shown.row(out, vec![position.into(), chain.into()])?;
    }
    shown.finish(out)?;
    Ok(Exit::Ok)
}

async fn set<E: Env>(env: &E, args: &SetArgs, out: &mut Output) -> Result<Exit, Failure> {
    let spans = match &args.file {
        None => args.chains.clone(),
        Some(path) => {
            let shown = path.display();
            let text = read_text(path)?;
            let words = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            let spans = words.flat_map(str::split_whitespace).map(|word| {
                ids::chain_span(word)
                    .map_err(|why| Failure::usage(anyhow!("{shown}: found {word:?}, {why}")))
            });
            spans.collect::<Result<Vec<_>, _>>()?
        }
    };
    let chains = expand(&spans)?;
    let access = args.managers.access(env).await?;
    let count = chains.len();
    let look = format!("emberfs table show {}", args.table);
    let asked = Operation::Cluster(Command::SetTable(args.table, chains));
    let done = access.operate(asked, &look).await?;
    did(out, &done, &format!("{} has {count} chains now; new files use them", args.table))?;
    Ok(Exit::Ok)
}

/// The chains of all spans. A span may be written that no memory holds.
fn expand(spans: &[ChainSpan]) -> Result<Vec<ChainId>, Failure> {
    let found = spans.iter().map(|span| span.count()).fold(0, u64::saturating_add);
    let limit = CHAINS_MAX as u64;
    if !(1..=limit).contains(&found) {
        return Err(Failure::usage(anyhow!("found {found} chains, expected 1 to {limit}")));
    }
    Ok(spans.iter().flat_map(|span| span.chains()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_become_chains_in_their_order() {
        let spans = |words: &[&str]| -> Vec<ChainSpan> {
            words.iter().map(|word| ids::chain_span(word).unwrap()).collect()
        };
        let chains = expand(&spans(&["4..5", "chain-1"])).unwrap();
        assert_eq!(chains.iter().map(|chain| chain.get()).collect::<Vec<_>>(), [4, 5, 1]);
        for words in [&["1..262145"] as &[&str], &["1..4294967295", "1..4294967295"], &[]] {
            assert_eq!(expand(&spans(words)).unwrap_err().exit, Exit::Usage, "{words:?}");
        }
        assert_eq!(expand(&spans(&["1..262144"])).unwrap().len(), CHAINS_MAX);
    }
}
