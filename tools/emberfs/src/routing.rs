//! `emberfs routing`: what the primary publishes and everybody else follows.

use core::num::NonZeroU64;
use std::rc::Rc;

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env, until};
use engine_types::{NodeState, PublicState, RoutingInfo, RoutingVersion, Timeline};
use mgmt_client::Follower;

use crate::exit::{Exit, Failure};
use crate::manager::{Access, Managers};
use crate::output::Output;
use crate::run;
use crate::table::{Cell, facts};
use change::Change;

mod change;
mod report;

const SHOW_EXAMPLES: &str = "\
Examples:
  emberfs routing show
  emberfs routing show --json                all of it: nodes, targets, chains, tables";

const WATCH_EXAMPLES: &str = "\
Examples:
  emberfs routing watch                      until Ctrl-C
  emberfs routing watch --count 10 --json

One line for each version that arrives, the first at once: what differs from the one before. Several
versions in quick succession may be told as one. While no manager answers nothing is printed.";

/// What to do with routing info.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the newest routing info.
    Show(ShowArgs),
    /// Print a line for each new version.
    Watch(WatchArgs),
}

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = WATCH_EXAMPLES)]
struct WatchArgs {
    /// End after this many lines.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,

    #[command(flatten)]
    managers: Managers,
}

impl Verb {
    const fn managers(&self) -> &Managers {
        match self {
            Self::Show(args) => &args.managers,
            Self::Watch(args) => &args.managers,
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
    let access = verb.managers().access(&env).await?;
    let follower = Follower::start(&access.client);
    let first = newest(&access, &follower).await?;
    let done = match verb {
        Verb::Show(_) => show(&first, &mut out),
        Verb::Watch(args) => watch(&follower, first, args.count, &mut out).await,
    };
    out.flush()?;
    done
}

/// Where a version stands among all.
fn place(info: &RoutingInfo) -> (Timeline, RoutingVersion) {
    (info.timeline, info.version)
}

/// The first routing info that arrives. Version 0 is what a follower begins with.
async fn newest<E: Env>(
    access: &Access<E>,
    follower: &Follower<E>,
) -> Result<Rc<RoutingInfo>, Failure> {
    let nothing = RoutingVersion::default();
    let arrives = follower.until(|info| info.version != nothing);
    if until(&access.env, access.deadline(), core::pin::pin!(arrives)).await.is_err() {
        // A question says why; if it is answered, there is nothing to publish yet.
        access.node_count().await?;
        let why = anyhow::anyhow!("the primary has published nothing in {:?}", access.timeout());
        return Err(Failure::environment(why).hint("it may have just taken over; repeat it"));
    }
    Ok(follower.routing())
}

fn show(info: &RoutingInfo, out: &mut Output) -> Result<Exit, Failure> {
    if out.json {
        out.document(&report::Report::of(info))?;
        return Ok(Exit::Ok);
    }
    let of = |count: usize, all: usize, what: &str| format!("{all}, of them {count} {what}");
    let alive = info.nodes.values().filter(|node| node.state == NodeState::Alive).count();
    let members = info.chains.values().flat_map(|chain| &chain.members);
    let serving = members.filter(|member| member.state == PublicState::Serving).count();
    let served = info.chains.values().filter(|chain| chain.head().is_some()).count();
    let tables: Vec<String> =
        info.tables.iter().map(|(id, table)| format!("{id} {}", table.version)).collect();
    let tables = if tables.is_empty() { "-".to_owned() } else { tables.join(", ") };
    let revoked = format!("all below {}, and {} above", info.revoked_below, info.revoked.len());
    let rows: [(&str, Cell); 8] = [
        ("cluster", info.cluster.into()),
        ("version", info.version.into()),
        ("timeline", info.timeline.into()),
        ("nodes", of(alive, info.nodes.len(), "alive").into()),
        ("targets", of(serving, info.targets.len(), "serving").into()),
        ("chains", of(served, info.chains.len(), "served").into()),
        ("tables", tables.into()),
        ("revoked sessions", revoked.into()),
    ];
    facts(out, &rows)?;
    Ok(Exit::Ok)
}

async fn watch<E: Env>(
    follower: &Follower<E>,
    first: Rc<RoutingInfo>,
    count: Option<NonZeroU64>,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let mut shown = first;
    Change::first(&shown).print(out)?;
    let mut lines = 1;
    while count.is_none_or(|count| lines < count.get()) {
        out.flush()?;
        let last = place(&shown);
        follower.until(|info| last < place(info)).await;
        let next = follower.routing();
        Change::between(&shown, &next).print(out)?;
        shown = next;
        lines += 1;
    }
    Ok(Exit::Ok)
}
