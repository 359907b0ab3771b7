//! `emberfs settings`: what holds for the whole cluster and changes while it runs.
//!
//! What a process needs to find the cluster at all is in its own file: `emberfs config`.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use engine_types::NodeRole;
use mgmt_cluster::config::{ClusterConfig, ConfigEntry, Schema, manager};

use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::Output;
use crate::run;

mod change;
mod history;
mod show;
mod value;

/// What to do with settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the settings of a role: values, defaults, and what they mean.
    Show(show::Args),
    /// Change settings of a role.
    Set(change::SetArgs),
    /// Return settings of a role to their defaults.
    Unset(change::UnsetArgs),
    /// List the versions of a role's settings.
    History(history::HistoryArgs),
    /// Show what differs between two versions.
    Diff(history::DiffArgs),
    /// Make an older version the newest one.
    Rollback(change::RollbackArgs),
}

impl Verb {
    const fn managers(&self) -> &Managers {
        match self {
            Self::Show(args) => &args.managers,
            Self::Set(args) => &args.managers,
            Self::Unset(args) => &args.managers,
            Self::History(args) => &args.managers,
            Self::Diff(args) => &args.managers,
            Self::Rollback(args) => &args.managers,
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
        Verb::Show(args) => show::run(&env, &args, &mut out).await,
        Verb::Set(args) => change::set(&env, &args, &mut out).await,
        Verb::Unset(args) => change::unset(&env, &args, &mut out).await,
        Verb::History(args) => history::history(&env, &args, &mut out).await,
        Verb::Diff(args) => history::diff(&env, &args, &mut out).await,
        Verb::Rollback(args) => change::rollback(&env, &args, &mut out).await,
    };
    out.flush()?;
    done
}

/// The settings that a role has, as far as this binary knows.
fn schema(role: NodeRole) -> Option<Schema> {
    (role == NodeRole::Manager).then(manager::schema)
}

/// The versions of a role's settings, read with the schema that this binary has for it; nothing
/// for a role whose settings it does not know.
fn load(role: NodeRole, entries: &[ConfigEntry]) -> Result<Option<ClusterConfig>, Failure> {
    let Some(schema) = schema(role) else { return Ok(None) };
    let mut config = ClusterConfig::new();
    config.register(schema).expect("it is the first of its role");
    for entry in entries {
        // The manager has judged them; what it knows and we do not is kept as ignored.
        config.load(entry.clone()).map_err(Failure::environment)?;
    }
    Ok(Some(config))
}
