//! `emberfs store`: disks, partitions and files that hold chunks.
//!
//! Each verb is an async function over any `Env`; the program runs them on one core. Looking
//! (`check`, `dump`) opens read-only and locks, so that what is looked at neither changes nor is
//! changed.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::run;

mod check;
mod device;
mod dump;
mod format;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

/// What to do with a store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a store of a disk, a partition or a file.
    Format(format::Args),
    /// Verify that a store is whole, without changing it.
    Check(check::Args),
    /// Print what stands in a store, without changing it.
    Dump(dump::Args),
}

impl Verb {
    fn json(&self) -> bool {
        match self {
            Self::Format(args) => args.json,
            Self::Check(args) => args.json,
            Self::Dump(args) => args.json,
        }
    }
}

/// Most memory for I/O: the images of a full overlay, which are loaded with a store, and reads.
const POOL_BYTES: usize = 1 << 30;

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let spec = CoreSpec { pool_bytes: POOL_BYTES, ..CoreSpec::new("emberfs") };
    run::on_core(args.verb.json(), spec, |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.json());
    let done = match verb {
        Verb::Format(args) => format::run(&env, &args, &mut out).await,
        Verb::Check(args) => check::run(&env, &args, &mut out).await,
        Verb::Dump(args) => dump::run(&env, &args, &mut out).await,
    };
    out.flush()?;
    done
}
