//! `emberfs node drain`: takes a node's targets out of service, and waits for it if asked to.

use core::time::Duration;

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::{Instant, NodeId};
use mgmt_cluster::command::Command;
use mgmt_cluster::explain::DrainProgress;
use mgmt_protocol::Operation;
use serde::Serialize;

use crate::config::duration;
use crate::exit::{Exit, Failure};
use crate::ids;
use crate::manager::{Access, Managers, did};
use crate::output::Output;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  emberfs node drain node-3
  emberfs node drain 3 --wait               until nothing of it serves any more
  emberfs node drain 3 --wait=10m --json

Each target of the node stops serving as soon as another member of its chain serves. Nothing is
interrupted; chains have one replica less until the node returns (emberfs node undrain) or its
targets are replaced (emberfs target replace). The last replica of a chain is not drained.

With --wait the exit code is 0 when the node may be switched off without a pause for anybody, and 1
when the time is over before that. Ctrl-C ends the waiting, not the draining.";

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long no manager may answer before waiting ends: a takeover takes 12 s, a restart of the
/// KV some more.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Arguments of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The node: node-3 or 3.
    #[arg(value_name = "NODE", value_parser = ids::parse::<NodeId>)]
    node: NodeId,

    /// Wait until nothing of it serves any more, for this long at most if a time is given.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    #[arg(value_parser = duration)]
    wait: Option<Option<Duration>>,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// How far it is, for programs.
#[derive(Serialize)]
pub(super) struct Report {
    targets: usize,
    /// Targets that still serve.
    serving: usize,
    /// Of them, those that nobody else could relieve.
    last_servers: usize,
    /// Targets that serve no longer, but may still hold a lease.
    waiting_for_leases: usize,
    /// The node may be switched off.
    finished: bool,
}

impl Report {
    pub(super) fn of(progress: &DrainProgress) -> Self {
        let &DrainProgress { targets, serving, last_servers, waiting_for_leases } = progress;
        let finished = is_finished(progress);
        Self { targets, serving, last_servers, waiting_for_leases, finished }
    }
}

/// Whether the node may be switched off.
const fn is_finished(progress: &DrainProgress) -> bool {
    progress.serving == 0 && progress.waiting_for_leases == 0
}

/// How far it is, for people.
pub(super) fn said(progress: &DrainProgress) -> String {
    let DrainProgress { targets, serving, last_servers, waiting_for_leases } = progress;
    if is_finished(progress) {
        return format!("none of {targets} targets serves: it may be switched off");
    }
    let mut text = format!("{serving} of {targets} targets still serve");
    if 0 < *last_servers {
        text += &format!(", {last_servers} of them as the last of their chains");
    }
    if 0 < *waiting_for_leases {
        text += &format!("; {waiting_for_leases} leases run out");
    }
    text
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let look = format!("emberfs node show {}", args.node);
    let asked = Operation::Cluster(Command::DrainNode(args.node, true));
    let done = access.operate(asked, &look).await?;
    let Some(limit) = args.wait else {
        did(out, &done, &format!("{} is being drained; `{look}` shows how far it is", args.node))?;
        return Ok(Exit::Ok);
    };
    let until = limit.map(|limit| env.now() + limit);
    let progress = wait(&access, args.node, until).await?;
    if out.json {
        out.document(&Report::of(&progress))?;
    } else {
        out.line(&format!("{}: {}", args.node, said(&progress)))?;
    }
    if is_finished(&progress) {
        return Ok(Exit::Ok);
    }
    out.flush()?;
    let limit = limit.unwrap_or_default();
    let why = anyhow!("{} is not drained after {limit:?}; it goes on", args.node);
    Err(Failure::problem(why).hint(
        "emberfs chain list --unwhole shows what its chains wait for; the last replica of a chain \
         is drained when another one serves",
    ))
}

/// Looks until it is drained, or until the time is over. A change of the primary is waited for.
async fn wait<E: Env>(
    access: &Access<E>,
    node: NodeId,
    until: Option<Instant>,
) -> Result<DrainProgress, Failure> {
    let env = &access.env;
    let mut progress = Progress::new("draining");
    let mut heard = env.now();
    loop {
        match access.drain(node).await {
            Ok(found) => {
                heard = env.now();
                progress.say(heard, &format!("{node}: {}", said(&found)));
                let late = until.is_some_and(|until| until <= heard);
                if is_finished(&found) || late {
                    return Ok(found);
                }
            }
            Err(failure) => {
                let now = env.now();
                let late = until.is_some_and(|until| until <= now);
                let silent = SILENCE_MAX < now.saturating_since(heard);
                if failure.exit != Exit::Environment || late || silent {
                    return Err(failure);
                }
                progress.say(now, &format!("{node}: no manager answers, trying on"));
            }
        }
        env.sleep_until(env.now() + LOOK_EVERY).await;
    }
}
