//! `emberfs settings set`, `unset` and `rollback`: a new version of a role's settings.

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::NodeRole;
use mgmt_cluster::config::{ConfigEntry, ConfigVersion};
use mgmt_protocol::{Done, Operation};
use serde::Serialize;

use super::value::{pair, written};
use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::Output;
use crate::{ids, words};

const SET_EXAMPLES: &str = "\
Examples:
  emberfs settings set manager lease.storage=3s --note 'slow network'
  emberfs settings set manager syncing.node_max=8 chain.restore_order=true
  emberfs settings set manager session.timeout='2 min' --based-on config-4 --json

All of them are changed, or none. Values are checked against their bounds and against each other. A
change of lease times counts for leases that are granted from then on.";

const UNSET_EXAMPLES: &str = "\
Examples:
  emberfs settings unset manager lease.storage
  emberfs settings unset manager syncing.node_max syncing.cluster_max --note 'disks exchanged'";

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  emberfs settings rollback manager config-3
  emberfs settings rollback manager 0 --json         all defaults

The settings of that version are written as a new one; nothing of the history is lost. Refused when
somebody else changes them at the same time.";

/// What all of them have.
#[derive(Debug, clap::Args)]
struct Common {
    /// Whose settings: manager is the role that has some.
    #[arg(value_name = "ROLE", value_parser = words::parse_role)]
    role: NodeRole,

    /// Why: kept with the version.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

/// Arguments of `set`.
#[derive(Debug, clap::Args)]
#[command(after_help = SET_EXAMPLES)]
pub(super) struct SetArgs {
    #[command(flatten)]
    common: Common,

    /// What to set; times need a unit (us, ms, s, min, h, d).
    #[arg(value_name = "NAME=VALUE", value_parser = pair, required = true)]
    changes: Vec<(String, String)>,

    /// Refuse if another version is in force by now: config-4 or 4.
    #[arg(long, value_name = "VERSION", value_parser = ids::parse::<ConfigVersion>)]
    based_on: Option<ConfigVersion>,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Arguments of `unset`.
#[derive(Debug, clap::Args)]
#[command(after_help = UNSET_EXAMPLES)]
pub(super) struct UnsetArgs {
    #[command(flatten)]
    common: Common,

    /// What to return to its default.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Refuse if another version is in force by now: config-4 or 4.
    #[arg(long, value_name = "VERSION", value_parser = ids::parse::<ConfigVersion>)]
    based_on: Option<ConfigVersion>,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = ROLLBACK_EXAMPLES)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    common: Common,

    /// The version to return to: config-3 or 3; 0 means the defaults.
    #[arg(value_name = "VERSION", value_parser = ids::parse::<ConfigVersion>)]
    to: ConfigVersion,

    #[command(flatten)]
    pub(super) managers: Managers,
}

#[derive(Serialize)]
struct Report {
    role: &'static str,
    /// False if everything was so already.
    changed: bool,
    /// The version in force now.
    version: u64,
}

/// Runs `set`.
pub(super) async fn set<E: Env>(
    env: &E,
    args: &SetArgs,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let role = args.common.role;
    let changes = args.changes.iter();
    let changes = changes.map(|(name, value)| (name.clone(), Some(written(role, name, value))));
    let asked = Operation::SetConfig {
        role,
        based_on: args.based_on,
        changes: changes.collect(),
        note: args.common.note.clone(),
    };
    change(env, &args.managers, role, asked, out).await
}

/// Runs `unset`.
pub(super) async fn unset<E: Env>(
    env: &E,
    args: &UnsetArgs,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let role = args.common.role;
    let asked = Operation::SetConfig {
        role,
        based_on: args.based_on,
        changes: args.names.iter().map(|name| (name.clone(), None)).collect(),
        note: args.common.note.clone(),
    };
    change(env, &args.managers, role, asked, out).await
}

async fn change<E: Env>(
    env: &E,
    managers: &Managers,
    role: NodeRole,
    asked: Operation,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let access = managers.access(env).await?;
    let look = format!("emberfs settings show {}", words::role(role));
    let done = access.operate(asked, &look).await?;
    said(out, role, &done)
}

fn said(out: &mut Output, role: NodeRole, done: &Done) -> Result<Exit, Failure> {
    let Done { changed, config, .. } = *done;
    let role = words::role(role);
    if out.json {
        out.document(&Report { role, changed, version: config.get() })?;
    } else if changed {
        out.line(&format!("settings of {role}: {config} is in force"))?;
    } else {
        out.line(&format!("settings of {role}: nothing to do, {config} says so already"))?;
    }
    Ok(Exit::Ok)
}

/// Runs `rollback`.
pub(super) async fn rollback<E: Env>(
    env: &E,
    args: &RollbackArgs,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let role = args.common.role;
    let access = args.managers.access(env).await?;
    let entries = access.config_history(role).await?;
    let asked = former(args, &entries)?;
    let look = format!("emberfs settings history {}", words::role(role));
    let done = access.operate(asked, &look).await?;
    said(out, role, &done)
}

/// What makes an older version the newest one.
fn former(args: &RollbackArgs, entries: &[ConfigEntry]) -> Result<Operation, Failure> {
    let Common { role, note } = &args.common;
    let newest = entries.last().map(|entry| entry.version).unwrap_or_default();
    let found = entries.iter().find(|entry| entry.version == args.to);
    let text = match found {
        Some(entry) => entry.text.clone(),
        None if args.to == ConfigVersion::default() => String::new(),
        None => {
            let (version, role) = (args.to, words::role(*role));
            let why = anyhow!("{version} of the settings of {role} is not kept");
            return Err(Failure::usage(why).hint(format!(
                "emberfs settings history {role} shows what is; 0 means the defaults"
            )));
        }
    };
    let note = match note.is_empty() {
        true => format!("back to {}", args.to),
        false => note.clone(),
    };
    Ok(Operation::ReplaceConfig { role: *role, based_on: newest, text, note })
}

#[cfg(test)]
mod tests;
