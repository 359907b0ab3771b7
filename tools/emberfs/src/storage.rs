//! `emberfs storage`: storage nodes as processes.
//!
//! A node has a shard per core, each with its stores and its listener; where the first one listens
//! is where the node is found. What nodes hold for the cluster has nouns of its own: node, target,
//! chain; a store that nobody serves is looked at with `emberfs store`.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};

use crate::config::HostPort;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::run;
use crate::size::ByteSize;

mod ask;
mod scrub;
mod serve;
mod space;
mod status;
mod targets;

/// Memory for I/O of each shard when nobody says.
pub(crate) const POOL_DEFAULT: ByteSize = ByteSize(CoreSpec::POOL_BYTES as u64);

/// Where it listens when nobody says: for this machine alone.
pub(crate) fn listen_default() -> HostPort {
    "127.0.0.1:7300".parse().expect("a host and a port")
}

/// What to do with storage nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve stores as a node of a cluster until told to stop.
    Serve(serve::Args),
    /// Ask a node how its shards are.
    Status(status::Args),
    /// Ask a node how much room each of its stores has.
    Space(space::Args),
    /// Ask a node what its targets do, and how far those are that catch up.
    Targets(targets::Args),
    /// Have the stores of a node verified now.
    Scrub(scrub::Args),
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let operator = || CoreSpec::new("emberfs");
    match args.verb {
        Verb::Serve(args) => run::told(args.json, serve::run(args)),
        Verb::Status(args) => run::on_core(args.node.json, operator(), |env| status(env, args)),
        Verb::Space(args) => run::on_core(args.node.json, operator(), |env| space(env, args)),
        Verb::Targets(args) => run::on_core(args.node.json, operator(), |env| targets(env, args)),
        Verb::Scrub(args) => run::on_core(args.node.json, operator(), |env| scrub(env, args)),
    }
}

async fn status<E: Env>(env: E, args: status::Args) -> Result<Exit, Failure> {
    let mut out = Output::standard(args.node.json);
    let done = status::run(&env, &args, &mut out).await;
    out.flush()?;
    done
}

async fn space<E: Env>(env: E, args: space::Args) -> Result<Exit, Failure> {
    let mut out = Output::standard(args.node.json);
    let done = space::run(&env, &args, &mut out).await;
    out.flush()?;
    done
}

async fn targets<E: Env>(env: E, args: targets::Args) -> Result<Exit, Failure> {
    let mut out = Output::standard(args.node.json);
    let done = targets::run(&env, &args, &mut out).await;
    out.flush()?;
    done
}

async fn scrub<E: Env>(env: E, args: scrub::Args) -> Result<Exit, Failure> {
    let mut out = Output::standard(args.node.json);
    let done = scrub::run(&env, &args, &mut out).await;
    out.flush()?;
    done
}
