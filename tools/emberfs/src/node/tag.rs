//! `emberfs node tag`: words that operators give to nodes.

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::NodeId;
use mgmt_cluster::command::Command;
use mgmt_cluster::tags::parse_pair;
use mgmt_protocol::Operation;

use crate::exit::{Exit, Failure};
use crate::ids;
use crate::manager::{Managers, did_all};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  emberfs node tag node-3 rack=a7 owner=team-x
  emberfs node tag 3 --remove owner
  emberfs node tag 3 rack=a8 --remove owner --json

Tags are for people and for rules that select nodes; the cluster itself reads none. At most 32, keys
of a-z, 0-9 and ._-/ in up to 63 characters, values of printable ASCII without blanks in up to 127.
Each tag is set by itself: when one is refused, those before it are set.";

/// Arguments of `tag`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The node: node-3 or 3.
    #[arg(value_name = "NODE", value_parser = ids::parse::<NodeId>)]
    node: NodeId,

    /// Tags to set.
    #[arg(value_name = "KEY=VALUE", required_unless_present = "remove", value_parser = pair)]
    set: Vec<(String, String)>,

    /// Tags to remove.
    #[arg(long, value_name = "KEY,..", value_delimiter = ',')]
    remove: Vec<String>,

    #[command(flatten)]
    pub(super) managers: Managers,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = parse_pair(text).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    if let Some((key, _)) = args.set.iter().find(|(key, _)| args.remove.contains(key)) {
        return Err(Failure::usage(anyhow!("tag {key} is both set and removed")));
    }
    let access = args.managers.access(env).await?;
    let look = format!("emberfs node show {}", args.node);
    let set = args.set.iter().map(|(key, value)| (key, Some(value)));
    let removed = args.remove.iter().map(|key| (key, None));
    let mut all = Vec::new();
    for (key, value) in set.chain(removed) {
        let command = Command::TagNode(args.node, key.clone(), value.cloned());
        all.push(access.operate(Operation::Cluster(command), &look).await?);
    }
    did_all(out, &all, &format!("{}: tags changed", args.node))?;
    Ok(Exit::Ok)
}
