//! `emberfs node`: the registered nodes of a cluster.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use engine_types::NodeId;
use mgmt_cluster::command::Command;
use mgmt_protocol::Operation;

use crate::exit::{Exit, Failure};
use crate::manager::{Managers, did};
use crate::output::Output;
use crate::{ids, run};

mod drain;
mod list;
mod show;
mod tag;

const UNDRAIN_EXAMPLES: &str = "\
Examples:
  emberfs node undrain node-3
  emberfs node undrain 3 --json

Its targets are synced and serve again, as many at once as the settings syncing.node_max and
syncing.cluster_max allow.";

const ENABLE_EXAMPLES: &str = "\
Examples:
  emberfs node enable node-3
  emberfs node enable 3 --json

Its heartbeats are accepted again; its targets are synced and serve then.";

const DISABLE_EXAMPLES: &str = "\
Examples:
  emberfs node disable node-3
  emberfs node disable 3 --json

Its heartbeats are refused from now on: it counts as dead when its leases have run out (2 s), and
stays so until `emberfs node enable`. Chains that it alone serves are not served then. Drain it
first if it still works: emberfs node drain.";

const UNREGISTER_EXAMPLES: &str = "\
Examples:
  emberfs node unregister node-3
  emberfs node unregister 3 --json

The node is forgotten, its number is not given out again. Nodes with targets are refused: remove or
replace those first (emberfs target replace). A process that still runs there cannot take part until
it registers as a new node.";

/// What to do with nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List all nodes, or those of one role.
    List(list::Args),
    /// Show one node: addresses, tags, and how its draining is.
    Show(show::Args),
    /// Take all targets of a node out of service, one by one, without interrupting anything.
    Drain(drain::Args),
    /// Let the targets of a drained node return.
    #[command(after_help = UNDRAIN_EXAMPLES)]
    Undrain(NodeArgs),
    /// Accept the heartbeats of a disabled node again.
    #[command(after_help = ENABLE_EXAMPLES)]
    Enable(NodeArgs),
    /// Refuse the heartbeats of a node: at once it can do nothing any more.
    #[command(after_help = DISABLE_EXAMPLES)]
    Disable(NodeArgs),
    /// Forget a node that has no targets.
    #[command(after_help = UNREGISTER_EXAMPLES)]
    Unregister(NodeArgs),
    /// Set or remove tags of a node.
    Tag(tag::Args),
}

/// Arguments of the verbs that name a node and nothing else.
#[derive(Debug, clap::Args)]
struct NodeArgs {
    /// The node: node-3 or 3.
    #[arg(value_name = "NODE", value_parser = ids::parse::<NodeId>)]
    node: NodeId,

    #[command(flatten)]
    managers: Managers,
}

impl Verb {
    const fn json(&self) -> bool {
        match self {
            Self::List(args) => args.managers.json,
            Self::Show(args) => args.managers.json,
            Self::Drain(args) => args.managers.json,
            Self::Undrain(args)
            | Self::Enable(args)
            | Self::Disable(args)
            | Self::Unregister(args) => args.managers.json,
            Self::Tag(args) => args.managers.json,
        }
    }
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    run::on_core(args.verb.json(), CoreSpec::new("emberfs"), |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.json());
    let out = &mut out;
    let done = match verb {
        Verb::List(args) => list::run(&env, &args, out).await,
        Verb::Show(args) => show::run(&env, &args, out).await,
        Verb::Drain(args) => drain::run(&env, &args, out).await,
        Verb::Undrain(args) => {
            let said = "is not drained any more: its targets return";
            change(&env, &args, Command::DrainNode(args.node, false), said, out).await
        }
        Verb::Enable(args) => {
            let said = "is enabled";
            change(&env, &args, Command::EnableNode(args.node, true), said, out).await
        }
        Verb::Disable(args) => {
            let said = "is disabled: it counts as dead in about 2 s";
            change(&env, &args, Command::EnableNode(args.node, false), said, out).await
        }
        Verb::Unregister(args) => {
            let command = Command::UnregisterNode(args.node);
            change(&env, &args, command, "is forgotten", out).await
        }
        Verb::Tag(args) => tag::run(&env, &args, out).await,
    };
    out.flush()?;
    done
}

async fn change<E: Env>(
    env: &E,
    args: &NodeArgs,
    command: Command,
    said: &str,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let look = format!("emberfs node show {}", args.node);
    let done = access.operate(Operation::Cluster(command), &look).await?;
    did(out, &done, &format!("{} {said}", args.node))?;
    Ok(Exit::Ok)
}
