//! `emberfs kv`: the embedded key-value store, which keeps metadata where no FoundationDB is.
//!
//! Verbs either go to a served store (`--address`), or open the directory of one that nobody
//! serves (`--dir`). Opening counts as a start of the store: its version rises (E216).

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};

use crate::config::HostPort;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::run;
use crate::size::ByteSize;

mod backup;
mod check;
pub(crate) mod connect;
mod create;
mod directory;
mod failure;
mod get;
mod key;
mod place;
mod restore;
mod serve;
mod status;
mod verify;

/// Memory for pages when nobody says.
pub(crate) const CACHE_DEFAULT: ByteSize =
    ByteSize(meta_kv::engine::redb::CACHE_BYTES_DEFAULT as u64);
/// The node of the kv role when nobody says: there is one of its kind.
pub(crate) const NODE_DEFAULT: u32 = 1;

/// Where it listens when nobody says: for this machine alone.
pub(crate) fn listen_default() -> HostPort {
    "127.0.0.1:7100".parse().expect("a host and a port")
}

/// What to do with a key-value store.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an empty store in a directory.
    Create(create::Args),
    /// Serve a store until told to stop.
    Serve(serve::Args),
    /// Ask a served store how it is.
    Status(status::Args),
    /// Verify a store that nobody serves: every page and every key.
    Check(check::Args),
    /// Write all keys to a file, from a served store or from a directory.
    Backup(backup::Args),
    /// Make a store of a backup.
    Restore(restore::Args),
    /// Verify the file of a backup.
    Verify(verify::Args),
    /// Print the value of one key.
    Get(get::GetArgs),
    /// Print keys and values from a prefix on.
    Range(get::RangeArgs),
}

impl Verb {
    fn json(&self) -> bool {
        match self {
            Self::Create(args) => args.json,
            Self::Serve(args) => args.json,
            Self::Status(args) => args.json,
            Self::Check(args) => args.json,
            Self::Backup(args) => args.json,
            Self::Restore(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Get(args) => args.json,
            Self::Range(args) => args.json,
        }
    }
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    run::on_core(args.verb.json(), CoreSpec::new("emberfs-kv"), |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.json());
    let done = match verb {
        Verb::Create(args) => create::run(&env, &args, &mut out),
        Verb::Serve(args) => serve::run(&env, &args, &mut out).await,
        Verb::Status(args) => status::run(&env, &args, &mut out).await,
        Verb::Check(args) => check::run(&env, &args, &mut out),
        Verb::Backup(args) => backup::run(&env, &args, &mut out).await,
        Verb::Restore(args) => restore::run(&env, &args, &mut out),
        Verb::Verify(args) => verify::run(&env, &args, &mut out),
        Verb::Get(args) => get::get(&env, &args, &mut out).await,
        Verb::Range(args) => get::range(&env, &args, &mut out).await,
    };
    out.flush()?;
    done
}
