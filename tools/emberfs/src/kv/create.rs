//! `emberfs kv create`: an empty store in a directory.

use std::path::PathBuf;

use engine_runtime::Env;
use engine_types::StoreId;
use meta_kv::engine::redb::{Birth, RedbEngine};
use serde::Serialize;

use super::directory;
use crate::cluster::ClusterFile;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::table::facts;

const EXAMPLES: &str = "\
Examples:
  emberfs cluster create cluster.toml
  emberfs kv create --dir /var/lib/emberfs/kv --cluster cluster.toml
  emberfs kv create --dir kv --cluster cluster.toml --json

The directory is made if it is missing; one that holds anything is refused.";

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Directory of the new store.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Cluster file of the cluster that it belongs to.
    #[arg(long, value_name = "FILE")]
    cluster: PathBuf,

    /// Print what was made as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What was made.
#[derive(Serialize)]
struct Report {
    store: String,
    cluster: String,
    dir: String,
    bytes: u64,
}

/// Runs the verb.
pub(super) fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let cluster = ClusterFile::read(&args.cluster)?;
    directory::check_new(&args.dir)?;
    let mut store = [0; 16];
    env.random_secret(&mut store);
    let store = u128::from_le_bytes(store);
    RedbEngine::create(&args.dir, Birth { store, created: env.wall() })?;
    directory::claim(&args.dir, &cluster)?;
    let dir = args.dir.display().to_string();
    let (store, cluster) = (StoreId::new(store).to_string(), cluster.id.to_string());
    if out.json {
        let bytes = directory::disk_bytes(&args.dir);
        out.document(&Report { store, cluster, dir, bytes })?;
        return Ok(Exit::Ok);
    }
    let serve = format!("emberfs kv serve --dir {dir} --cluster {}", args.cluster.display());
    facts(
        out,
        &[
            ("store", store.into()),
            ("cluster", cluster.into()),
            ("dir", dir.into()),
            ("serve it", serve.into()),
        ],
    )?;
    Ok(Exit::Ok)
}
