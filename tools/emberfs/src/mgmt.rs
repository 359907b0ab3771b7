//! `emberfs mgmt`: the cluster managers as processes.
//!
//! Any number of managers run; one of them is primary by a lease in the key-value store. What they
//! manage has nouns of its own: node, chain, target, table, session, settings, routing.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use mgmt_protocol::Operation;

use crate::config::{HostPort, Label};
use crate::exit::{Exit, Failure};
use crate::manager::{Managers, did};
use crate::output::Output;
use crate::run;

mod kv;
mod serve;
mod status;

pub(crate) use kv::watch as watch_kv;

/// The number of a manager when nobody says.
pub(crate) const NODE_DEFAULT: u32 = 1;

/// Where a manager listens when nobody says: for this machine alone.
pub(crate) fn listen_default() -> HostPort {
    "127.0.0.1:7200".parse().expect("a host and a port")
}

/// What a cluster is called when nobody says.
pub(crate) fn name_default() -> Label {
    "emberfs".parse().expect("it can be printed")
}

const HANDOVER_EXAMPLES: &str = "\
Examples:
  emberfs mgmt handover
  emberfs mgmt handover --managers 10.0.0.1:7200,10.0.0.2:7200 --cluster cluster.toml --json

The next manager to look takes over within a second; if only one runs, it takes over again itself.
Nobody pauses: leases of replicas run on. Stopping a manager with SIGTERM hands over as well.";

/// What to do with managers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve as a cluster manager until told to stop.
    Serve(serve::Args),
    /// Ask all managers how they are, and the primary how its cluster is.
    Status(status::Args),
    /// Let another manager become primary.
    #[command(after_help = HANDOVER_EXAMPLES)]
    Handover(HandoverArgs),
}

/// Arguments of `handover`.
#[derive(Debug, clap::Args)]
struct HandoverArgs {
    #[command(flatten)]
    managers: Managers,
}

impl Verb {
    const fn json(&self) -> bool {
        match self {
            Self::Serve(args) => args.json,
            Self::Status(args) => args.managers.json,
            Self::Handover(args) => args.managers.json,
        }
    }
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    run::on_core(args.verb.json(), CoreSpec::new("emberfs-mgmt"), |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.json());
    let done = match verb {
        Verb::Serve(args) => serve::run(&env, &args, &mut out).await,
        Verb::Status(args) => status::run(&env, &args, &mut out).await,
        Verb::Handover(args) => handover(&env, &args, &mut out).await,
    };
    out.flush()?;
    done
}

async fn handover<E: Env>(env: &E, args: &HandoverArgs, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let done = access.operate(Operation::HandOver, "emberfs mgmt status").await?;
    did(
        out,
        &done,
        "the primary has given its lease away; `emberfs mgmt status` shows who has it",
    )?;
    Ok(Exit::Ok)
}
