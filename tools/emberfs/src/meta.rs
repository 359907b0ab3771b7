//! `emberfs meta`: the metadata services as processes.
//!
//! Any number of them serve one namespace, which lies in the key-value store; none has anything of
//! its own. Clients find them by the managers.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};

use crate::config::HostPort;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::run;

mod df;
mod serve;
mod status;

/// The number of a service when nobody says.
pub(crate) const NODE_DEFAULT: u32 = 1;

/// Where it listens when nobody says: for this machine alone.
pub(crate) fn listen_default() -> HostPort {
    "127.0.0.1:7400".parse().expect("a host and a port")
}

/// What to do with metadata services.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve metadata until told to stop.
    Serve(serve::Args),
    /// Ask services how they are and what they do.
    Status(status::Args),
    /// Show how much room the file system has, as statfs tells it.
    Df(df::Args),
}

impl Verb {
    const fn json(&self) -> bool {
        match self {
            Self::Serve(args) => args.json,
            Self::Status(args) => args.managers.json,
            Self::Df(args) => args.managers.json,
        }
    }
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    run::on_core(args.verb.json(), CoreSpec::new("emberfs-meta"), |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.json());
    let done = match verb {
        Verb::Serve(args) => serve::run(&env, &args, &mut out).await,
        Verb::Status(args) => status::run(&env, &args, &mut out).await,
        Verb::Df(args) => df::run(&env, &args, &mut out).await,
    };
    out.flush()?;
    done
}
