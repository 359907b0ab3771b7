//! `emberfs settings history` and `diff`: who changed what.

use engine_runtime::Env;
use engine_types::NodeRole;
use mgmt_cluster::config::{Apply, ConfigEntry, ConfigVersion, Difference};
use serde::Serialize;

use super::{load, schema};
use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::Output;
use crate::table::{Align, Column, Table};
use crate::{ids, words};
use anyhow::anyhow;

const HISTORY_EXAMPLES: &str = "\
Examples:
  emberfs settings history manager
  emberfs settings history manager --json

The last 64 versions are kept. A version has all settings that were set then; `emberfs settings
diff` compares two of them.";

const DIFF_EXAMPLES: &str = "\
Examples:
  emberfs settings diff manager config-3             with the version in force
  emberfs settings diff manager 0 3 --json           0: the defaults

Exit code 0, whether anything differs or not.";

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
#[command(after_help = HISTORY_EXAMPLES)]
pub(super) struct HistoryArgs {
    /// Whose settings: manager is the role that has some.
    #[arg(value_name = "ROLE", value_parser = words::parse_role)]
    role: NodeRole,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub(super) struct DiffArgs {
    /// Whose settings: manager is the role that has some.
    #[arg(value_name = "ROLE", value_parser = words::parse_role)]
    role: NodeRole,

    /// The first version: config-3 or 3; 0 means the defaults.
    #[arg(value_name = "BEFORE", value_parser = ids::parse::<ConfigVersion>)]
    before: ConfigVersion,

    /// The second version; by default the one in force.
    #[arg(value_name = "AFTER", value_parser = ids::parse::<ConfigVersion>)]
    after: Option<ConfigVersion>,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// A version, for programs.
#[derive(Serialize)]
struct VersionReport<'a> {
    version: u64,
    note: &'a str,
    text: &'a str,
}

/// A setting that differs, for programs.
#[derive(Serialize)]
struct DifferenceReport {
    name: &'static str,
    before: String,
    after: String,
    /// `hot` or `restart`.
    takes_effect: &'static str,
}

/// Runs `history`.
pub(super) async fn history<E: Env>(
    env: &E,
    args: &HistoryArgs,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let entries = access.config_history(args.role).await?;
    let columns: &[Column] =
        &[("version", Align::Left), ("settings", Align::Right), ("note", Align::Left)];
    let mut table = Table::new(columns);
    for ConfigEntry { version, note, text, .. } in &entries {
        if out.json {
            out.document(&VersionReport { version: version.get(), note, text })?;
        } else {
            let count = text.lines().count();
            table.row(out, vec![version.into(), count.into(), note.into()])?;
        }
    }
    if !out.json {
        table.finish(out)?;
    }
    Ok(Exit::Ok)
}

/// Runs `diff`.
pub(super) async fn diff<E: Env>(
    env: &E,
    args: &DiffArgs,
    out: &mut Output,
) -> Result<Exit, Failure> {
    if schema(args.role).is_none() {
        let role = words::role(args.role);
        let why = anyhow!("the settings of {role} are not known here");
        return Err(Failure::usage(why).hint("emberfs settings history shows them as they are"));
    }
    let access = args.managers.access(env).await?;
    let entries = access.config_history(args.role).await?;
    print(out, &compare(args, &entries)?)?;
    Ok(Exit::Ok)
}

fn compare(args: &DiffArgs, entries: &[ConfigEntry]) -> Result<Vec<Difference>, Failure> {
    let config = load(args.role, entries)?.expect("it has a schema");
    let newest = entries.last().map(|entry| entry.version).unwrap_or_default();
    let after = args.after.unwrap_or(newest);
    config.diff(args.role, args.before, after).map_err(Failure::usage)
}

fn print(out: &mut Output, differences: &[Difference]) -> Result<(), Failure> {
    let columns = ["setting", "before", "after", "takes effect"];
    let mut table = Table::new(&columns.map(|title| (title, Align::Left)));
    for Difference { name, before, after, apply } in differences {
        let (word, code) = match apply {
            Apply::Hot => ("at once", "hot"),
            Apply::Restart => ("at the next start", "restart"),
        };
        let (before, after) = (before.to_string(), after.to_string());
        if out.json {
            out.document(&DifferenceReport { name, before, after, takes_effect: code })?;
        } else {
            table.row(out, vec![(*name).into(), before.into(), after.into(), word.into()])?;
        }
    }
    if !out.json && differences.is_empty() {
        out.line("no setting differs")?;
    } else if !out.json {
        table.finish(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
